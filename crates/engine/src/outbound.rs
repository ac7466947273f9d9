//! Connections that the pod's applications open.

use std::sync::Arc;

use ambimesh_hbone::{ConnectResponse, StreamId};
use ambimesh_state::Route;
use ambimesh_types::{Authority, CloseReason, Identity};
use rand::Rng;

use crate::certificates::SvidStatus;
use crate::flow::{Flow, Hop, Phase};
use crate::headers;
use crate::pool::PoolKey;
use crate::slots::Key;
use crate::timer::TimerKind;
use crate::tunnel::Tunnel;
use crate::worker::{Target, Waiter, Work, Worker};

impl Worker {
    /// Decides where an accepted flow goes, once its workload is known.
    pub(crate) fn route(&mut self, key: Key<Flow>) {
        let Some(flow) = self.flows.get(key) else {
            return;
        };
        let Some(known) = self.pods.get(flow.pod).and_then(|pod| pod.known.clone()) else {
            return self.wait_for_change(Waiter::Flow(key));
        };
        let destination = flow.report.facts.original_destination;
        let draw = self.random.random();
        let route = self
            .snapshot
            .outbound_route(&known.workload, destination, draw);
        let Some(flow) = self.flows.get_mut(key) else {
            return;
        };
        flow.report.facts.source_workload = Some(Arc::clone(&known.workload));
        match route {
            Err(error) => self.finish(key, error.reason, Some(&error.text)),
            Ok(Route::Passthrough { to }) => {
                self.report_opened(key);
                self.connect_plainly(key, to);
            }
            Ok(Route::Direct {
                to,
                workload,
                service,
            }) => {
                flow.report.facts.destination = to;
                flow.report.facts.destination_workload = Some(workload);
                flow.report.facts.destination_service = service;
                self.report_opened(key);
                self.connect_plainly(key, to);
            }
            Ok(Route::Tunnel {
                to,
                authority,
                expected,
                workload,
                service,
            }) => {
                let pool_key = PoolKey {
                    pod: flow.pod,
                    source: known.identity.clone(),
                    workload: workload.uid().clone(),
                    peer: to,
                    expected,
                };
                flow.report.facts.destination_workload = Some(workload);
                flow.report.facts.destination_service = service;
                self.ask_tunnel(key, pool_key, authority);
            }
        }
    }

    fn ask_tunnel(&mut self, key: Key<Flow>, pool_key: PoolKey, authority: Authority) {
        let Some(flow) = self.flows.get_mut(key) else {
            return;
        };
        let facts = &mut flow.report.facts;
        facts.destination = pool_key.peer;
        facts.authority = Some(authority.clone());
        facts.source_identity = Some(pool_key.source.clone());
        facts.destination_identity = facts
            .destination_workload
            .as_ref()
            .map(|workload| workload.identity().clone());
        let request = headers::connect_request(facts, authority, self.shared.settings.use_baggage);
        let hop = Hop {
            key: Arc::new(pool_key),
            request,
            refusals: 0,
        };
        flow.phase = Phase::AwaitTunnel(Box::new(hop));
        self.report_opened(key);
        self.timers
            .set(TimerKind::Certificate, self.now, Target::Flow(key));
        self.join_with_certificate(key);
    }

    /// Joins a tunnel, once there is a certificate for the source.
    pub(crate) fn join_with_certificate(&mut self, key: Key<Flow>) {
        let Some(Flow {
            phase: Phase::AwaitTunnel(hop),
            ..
        }) = self.flows.get(key)
        else {
            return;
        };
        match self.shared.certificates.svid(&hop.key.source) {
            SvidStatus::Ready(svid) => self.join(key, &svid),
            SvidStatus::Pending => self.wait_for_change(Waiter::Flow(key)),
            SvidStatus::Failed(detail) => {
                self.finish(key, CloseReason::NoCertificate, Some(&detail));
            }
        }
    }

    /// The time for a certificate has passed; whoever has a tunnel by now is not concerned.
    pub(crate) fn give_up_certificate(&mut self, key: Key<Flow>) {
        let Some(Flow {
            phase: Phase::AwaitTunnel(hop),
            ..
        }) = self.flows.get(key)
        else {
            return;
        };
        let source: Identity = hop.key.source.clone();
        if let SvidStatus::Pending = self.shared.certificates.svid(&source) {
            let detail = format!("no certificate for {source} in time");
            self.finish(key, CloseReason::NoCertificate, Some(&detail));
        }
    }

    /// The other proxy answered our CONNECT.
    pub(crate) fn on_response(
        &mut self,
        tunnel_key: Key<Tunnel>,
        stream: StreamId,
        response: &ConnectResponse,
    ) {
        let Some(tunnel) = self.tunnels.get(tunnel_key) else {
            return;
        };
        let Some(&key) = tunnel.streams.get(&stream) else {
            return;
        };
        if !response.is_success() {
            let said = headers::reason(&response.headers);
            let detail = match said {
                Some(reason) => format!("http status: {} ({reason})", response.status),
                None => format!("http status: {}", response.status),
            };
            return self.finish(key, CloseReason::TunnelRefused, Some(&detail));
        }
        if let Some(flow) = self.flows.get_mut(key) {
            flow.phase = Phase::Open;
            self.agenda.push_back(Work::Flow(key));
        }
    }
}
