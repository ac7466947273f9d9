//! Connections that arrive for a pod: in tunnels, and as plaintext.

use std::net::SocketAddr;
use std::sync::Arc;

use ambimesh_hbone::{
    BadRequest, ConnectRequest, ConnectResponse, ErrorCode, HeaderList, StreamId,
};
use ambimesh_policy as policy;
use ambimesh_tls::Handshake;
use ambimesh_types::{Authority, CloseReason, Identity, OriginalDst};

use crate::accept::is_own_port;
use crate::certificates::SvidStatus;
use crate::flow::{Far, Flow, Phase};
use crate::headers;
use crate::pod::Known;
use crate::slots::Key;
use crate::telemetry::{Direction, Facts};
use crate::timer::TimerKind;
use crate::tunnel::{Side, Stage, Tunnel};
use crate::worker::{Target, Waiter, Worker};

/// Why a connection may not go on.
pub(crate) struct Refusal {
    status: u16,
    reason: CloseReason,
    detail: String,
}

impl Worker {
    /// Starts TLS on an accepted tunnel, once workload and certificate are there.
    pub(crate) fn admit_tunnel(&mut self, key: Key<Tunnel>) {
        let Some(tunnel) = self.tunnels.get(key) else {
            return;
        };
        if !matches!(tunnel.stage, Stage::AwaitLocal) {
            return;
        }
        let Some(known) = self.pods.get(tunnel.pod).and_then(|pod| pod.known.as_ref()) else {
            return self.wait_for_change(Waiter::Tunnel(key));
        };
        match self.shared.certificates.svid(&known.identity) {
            SvidStatus::Ready(svid) => {
                self.begin_handshake(key, Handshake::server(svid.server_config()));
            }
            SvidStatus::Pending => {
                self.timers
                    .set(TimerKind::Certificate, self.now, Target::Tunnel(key));
                self.wait_for_change(Waiter::Tunnel(key));
            }
            SvidStatus::Failed(detail) => {
                self.close_tunnel(key, CloseReason::NoCertificate, &detail);
            }
        }
    }

    /// An accepted tunnel has waited long enough for what it needs.
    pub(crate) fn give_up_waiting(&mut self, key: Key<Tunnel>, kind: TimerKind) {
        let Some(tunnel) = self.tunnels.get(key) else {
            return;
        };
        let is_known = self
            .pods
            .get(tunnel.pod)
            .is_some_and(|pod| pod.known.is_some());
        match (kind, is_known) {
            (TimerKind::Workload, false) => {
                let detail = "failed to fetch information about local workload: timed out";
                self.close_tunnel(key, CloseReason::WorkloadUnknown, detail);
            }
            (TimerKind::Certificate, true) => {
                let detail = "no certificate for the local workload in time";
                self.close_tunnel(key, CloseReason::NoCertificate, detail);
            }
            _ => {}
        }
    }

    /// A peer asks for a connection to the pod.
    pub(crate) fn on_request(
        &mut self,
        tunnel_key: Key<Tunnel>,
        stream: StreamId,
        request: &ConnectRequest,
    ) {
        let Some((key, local)) = self.new_request(tunnel_key, stream, request) else {
            return;
        };
        match self.check_request(key, request, local) {
            Ok(upstream) => {
                self.timers
                    .set(TimerKind::Connect, self.now, Target::Flow(key));
                self.connect_to_application(key, upstream);
            }
            Err(refusal) => self.refuse(key, refusal.status, refusal.reason, &refusal.detail),
        }
    }

    /// A peer asks for something that is no connection.
    pub(crate) fn on_bad_request(
        &mut self,
        tunnel_key: Key<Tunnel>,
        stream: StreamId,
        problem: &BadRequest,
    ) {
        let Some(tunnel) = self.tunnels.get_mut(tunnel_key) else {
            return;
        };
        // Fails only when the stream is gone already.
        let _ = tunnel.codec.reject(stream, problem.status());
        let Some(tunnel) = self.tunnels.get(tunnel_key) else {
            return;
        };
        self.report_failed_tunnel(tunnel, CloseReason::BadRequest, &problem.to_string());
    }

    fn new_request(
        &mut self,
        tunnel_key: Key<Tunnel>,
        stream: StreamId,
        request: &ConnectRequest,
    ) -> Option<(Key<Flow>, SocketAddr)> {
        let tunnel = self.tunnels.get_mut(tunnel_key)?;
        let Side::Server {
            source,
            local,
            peer,
        } = &tunnel.side
        else {
            return None;
        };
        let pod = self.pods.get(tunnel.pod)?;
        let asked = match &request.authority {
            Authority::Address(address) => *address,
            Authority::Hostname(_, port) => SocketAddr::new(local.ip(), *port),
        };
        let facts = Facts {
            direction: Direction::InboundTunnel,
            destination: *local,
            authority: Some(request.authority.clone()),
            source_identity: peer.clone(),
            destination_identity: pod.known.as_ref().map(|known| known.identity.clone()),
            trace_id: headers::trace_id(&request.headers).unwrap_or_default(),
            ..Facts::new(Arc::clone(&pod.uid), *source, OriginalDst::new(asked))
        };
        let local = *local;
        let mut flow = Flow::new(tunnel.pod, Phase::Connecting, facts, self.now);
        flow.far = Far::Stream {
            tunnel: tunnel_key,
            stream,
        };
        let key = self.flows.insert(flow);
        tunnel.streams.insert(stream, key);
        Some((key, local))
    }

    /// Every check of a request, in the order of specification §8.2.
    fn check_request(
        &mut self,
        key: Key<Flow>,
        request: &ConnectRequest,
        local: SocketAddr,
    ) -> Result<SocketAddr, Refusal> {
        let known = self.known_of(key).ok_or_else(|| Refusal {
            status: 503,
            reason: CloseReason::WorkloadUnknown,
            detail: "failed to fetch information about local workload".to_owned(),
        })?;
        let target = self
            .snapshot
            .inbound_target(&known.workload, &request.authority, local.ip())
            .map_err(|error| Refusal {
                status: if error.reason == CloseReason::BadRequest {
                    400
                } else {
                    503
                },
                reason: error.reason,
                detail: error.text,
            })?;
        if is_own_port(target.address.port()) {
            return Err(recursion());
        }
        if known
            .workload
            .application_tunnel
            .is_some_and(|tunnel| tunnel.is_proxy_protocol)
        {
            // Without the header the application would take us for the caller.
            return Err(Refusal {
                status: 503,
                reason: CloseReason::NoRoute,
                detail: "application wants the PROXY protocol, which is not supported".to_owned(),
            });
        }
        let named = headers::forwarded_host(&request.headers);
        let service = target.service.or_else(|| {
            let port = target.address.port();
            self.snapshot
                .inbound_service_of(&known.workload, named.as_deref(), port)
                .cloned()
        });
        let from = headers::forwarded_network(&request.headers);
        let is_local =
            from.is_none_or(|from| from.eq_ignore_ascii_case(&self.shared.settings.network));
        self.describe_inbound(key, &known, target.address, is_local);
        if let Some(flow) = self.flows.get_mut(key) {
            let facts = &mut flow.report.facts;
            facts.destination_service = service;
            if self.shared.settings.use_baggage && facts.source_workload.is_none() {
                facts.source_baggage = headers::baggage_of(&request.headers);
            }
        }
        self.report_opened(key);
        self.check_policy(key, &known)?;
        Ok(target.address)
    }

    /// Decides about an accepted plaintext connection, once its workload is known.
    pub(crate) fn admit_plaintext(&mut self, key: Key<Flow>) {
        let Some(known) = self.known_of(key) else {
            return self.wait_for_change(Waiter::Flow(key));
        };
        let Some(flow) = self.flows.get(key) else {
            return;
        };
        let destination = flow.report.facts.original_destination.socket_addr();
        self.describe_inbound(key, &known, destination, true);
        let service = self
            .snapshot
            .inbound_service_of(&known.workload, None, destination.port())
            .cloned();
        if let Some(flow) = self.flows.get_mut(key) {
            flow.report.facts.destination_service = service;
        }
        self.report_opened(key);
        match self.check_policy(key, &known) {
            Ok(()) => self.connect_to_application(key, destination),
            Err(refusal) => self.finish(key, refusal.reason, Some(&refusal.detail)),
        }
    }

    fn known_of(&self, key: Key<Flow>) -> Option<Known> {
        self.pods.get(self.flows.get(key)?.pod)?.known.clone()
    }

    /// Names both ends. A source of another network is not looked up by its address.
    fn describe_inbound(
        &mut self,
        key: Key<Flow>,
        known: &Known,
        upstream: SocketAddr,
        is_local: bool,
    ) {
        let Some(flow) = self.flows.get_mut(key) else {
            return;
        };
        let facts = &mut flow.report.facts;
        let network = &self.shared.settings.network;
        let source = self
            .snapshot
            .workload_by_address(network, facts.source.ip());
        facts.source_workload = source.filter(|_| is_local).cloned();
        facts.destination_workload = Some(Arc::clone(&known.workload));
        facts.upstream = Some(upstream);
    }

    fn check_policy(&self, key: Key<Flow>, known: &Known) -> Result<(), Refusal> {
        let Some(flow) = self.flows.get(key) else {
            return Ok(());
        };
        let facts = &flow.report.facts;
        let Some(decision) = decide(facts, known) else {
            return Ok(());
        };
        if decision.is_allowed() {
            return Ok(());
        }
        Err(Refusal {
            status: 401,
            reason: CloseReason::PolicyDenied,
            detail: format!("connection closed due to policy rejection: {decision}"),
        })
    }

    /// The application accepted: tell the peer.
    pub(crate) fn answer_connected(&mut self, key: Key<Flow>) {
        let Some(flow) = self.flows.get(key) else {
            return;
        };
        let Far::Stream {
            tunnel: tunnel_key,
            stream,
        } = flow.far
        else {
            return;
        };
        let mut response = ConnectResponse::new(200);
        if self.shared.settings.use_baggage
            && let Some(workload) = &flow.report.facts.destination_workload
        {
            response
                .headers
                .push(headers::BAGGAGE, headers::baggage(workload));
        }
        let Some(tunnel) = self.tunnels.get_mut(tunnel_key) else {
            return;
        };
        if let Err(error) = tunnel.codec.respond(stream, &response, false) {
            return self.finish(key, CloseReason::TunnelFailure, Some(&error.to_string()));
        }
        self.flush_tunnel(tunnel_key);
    }

    /// Answers a request with a refusal, and says why.
    pub(crate) fn refuse(
        &mut self,
        key: Key<Flow>,
        status: u16,
        reason: CloseReason,
        detail: &str,
    ) {
        if let Some(Flow {
            far: Far::Stream { tunnel, stream },
            ..
        }) = self.flows.get(key)
            && let Some(tunnel) = self.tunnels.get_mut(*tunnel)
        {
            let headers = HeaderList::new().with(headers::REASON, reason.as_str());
            let response = ConnectResponse { status, headers };
            // Fails only when the stream is gone already. The reset after it tells a peer that
            // sends without waiting to stop; the answer itself stands.
            let _ = tunnel.codec.respond(*stream, &response, true);
            tunnel.codec.reset(*stream, ErrorCode::NO_ERROR);
        }
        self.finish(key, reason, Some(detail));
    }
}

fn recursion() -> Refusal {
    Refusal {
        status: 503,
        reason: CloseReason::Recursion,
        detail: "attempted recursive call to ourselves".to_owned(),
    }
}

/// What the pod's policies say about an inbound flow; `None` while it is not known where it goes.
pub(crate) fn decide(facts: &Facts, known: &Known) -> Option<policy::Decision> {
    let identity: Option<&Identity> = match facts.direction {
        Direction::InboundTunnel => facts.source_identity.as_ref(),
        Direction::InboundPlaintext => None,
        Direction::Outbound => return None,
    };
    let facts = policy::Facts {
        identity,
        source: facts.source,
        destination: facts.upstream?,
    };
    Some(known.policies.decide(&facts))
}
