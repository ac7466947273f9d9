//! Openings and ends of flows, as telemetry sees them.

use std::sync::Arc;

use ambimesh_types::{CloseReason, OriginalDst, SourceAddr};

use crate::flow::{Far, Flow};
use crate::poll::Token;
use crate::slots::Key;
use crate::socket::Socket;
use crate::telemetry::{ConnectionSummary, Direction, End, Facts, Transferred};
use crate::timer::TimerKind;
use crate::tunnel::{Side, Tunnel};
use crate::worker::{Target, Worker};

impl Facts {
    /// What every flow knows from the start.
    pub(crate) fn new(pod: Arc<str>, source: SourceAddr, destination: OriginalDst) -> Self {
        Self {
            direction: Direction::Outbound,
            pod,
            source,
            original_destination: destination,
            destination: destination.socket_addr(),
            upstream: None,
            authority: None,
            source_workload: None,
            source_identity: None,
            source_baggage: None,
            destination_workload: None,
            destination_identity: None,
            destination_service: None,
            trace_id: 0,
        }
    }
}

impl Worker {
    /// The flow knows where it goes.
    pub(crate) fn report_opened(&mut self, key: Key<Flow>) {
        let Some(flow) = self.flows.get_mut(key) else {
            return;
        };
        if flow.report.series.is_none() {
            flow.report.series = Some(self.shared.telemetry.opened(self.index, &flow.report.facts));
        }
    }

    /// Ends a flow: both its ends are told, and telemetry.
    ///
    /// Anything but [`CloseReason::Finished`] is a reset at both ends, as it would be without us.
    pub(crate) fn finish(&mut self, key: Key<Flow>, reason: CloseReason, detail: Option<&str>) {
        let Some(mut flow) = self.flows.remove(key) else {
            return;
        };
        if let Far::Stream {
            tunnel: tunnel_key,
            stream,
        } = flow.far
        {
            if let Some(tunnel) = self.tunnels.get_mut(tunnel_key) {
                tunnel.streams.remove(&stream);
                tunnel
                    .codec
                    .reset(stream, ambimesh_hbone::ErrorCode::CANCEL);
            }
            self.settle_tunnel(tunnel_key);
        }
        let far = match std::mem::replace(&mut flow.far, Far::Unknown) {
            Far::Socket(socket) => Some(socket),
            _ => None,
        };
        if reason != CloseReason::Finished {
            flow.near
                .take()
                .into_iter()
                .chain(far)
                .for_each(Socket::reset);
        }
        self.report_end(&mut flow, reason, detail);
    }

    fn report_end(&self, flow: &mut Flow, reason: CloseReason, detail: Option<&str>) {
        let end = End {
            reason,
            detail: detail.filter(|text| !text.is_empty()).map(Into::into),
            transferred: flow.transferred(),
            duration: self.now.saturating_duration_since(flow.report.started),
        };
        let telemetry = &self.shared.telemetry;
        let Some(series) = flow.report.series else {
            return telemetry.failed(self.index, &flow.report.facts, &end);
        };
        let delta = end.transferred.since(flow.report.reported);
        if delta != Transferred::default() {
            telemetry.progressed(self.index, series, delta);
        }
        telemetry.closed(self.index, series, &flow.report.facts, &end);
    }

    /// A tunnel that arrived ended before it was one.
    pub(crate) fn report_failed_tunnel(&self, tunnel: &Tunnel, reason: CloseReason, detail: &str) {
        let Side::Server { source, local, .. } = &tunnel.side else {
            return;
        };
        let Some(pod) = self.pods.get(tunnel.pod) else {
            return;
        };
        let mut facts = Facts::new(Arc::clone(&pod.uid), *source, OriginalDst::new(*local));
        facts.direction = Direction::InboundTunnel;
        let end = End {
            reason,
            detail: Some(detail.into()),
            transferred: Transferred::default(),
            duration: std::time::Duration::ZERO,
        };
        self.shared.telemetry.failed(self.index, &facts, &end);
    }

    /// Tells telemetry what went through since the last time.
    pub(crate) fn report_progress(&mut self) {
        for key in self.flows.keys_where(|flow| flow.report.series.is_some()) {
            let Some(flow) = self.flows.get_mut(key) else {
                continue;
            };
            let total = flow.transferred();
            let delta = total.since(flow.report.reported);
            flow.report.reported = total;
            if let Some(series) = flow.report.series
                && delta != Transferred::default()
            {
                self.shared.telemetry.progressed(self.index, series, delta);
            }
        }
        self.timers
            .set(TimerKind::Progress, self.now, Target::Worker);
    }

    /// Every open flow.
    pub(crate) fn summaries(&self) -> Vec<ConnectionSummary> {
        let summary = |flow: &Flow| ConnectionSummary {
            facts: flow.report.facts.clone(),
            transferred: flow.transferred(),
        };
        self.flows.iter().map(|(_, flow)| summary(flow)).collect()
    }

    /// Bounds the time that one direction may be silent after the other has ended.
    pub(crate) fn watch_half_closed(&mut self, key: Key<Flow>) {
        let Some(flow) = self.flows.get_mut(key) else {
            return;
        };
        if flow.half_closed_at.is_none() && (flow.up.has_ended != flow.down.has_ended) {
            flow.half_closed_at = Some(flow.up.bytes + flow.down.bytes);
            self.timers
                .set(TimerKind::HalfClosed, self.now, Target::Flow(key));
        }
    }

    /// Registers a socket whose connect was started for a flow.
    pub(crate) fn watch_connecting(&mut self, key: Key<Flow>, socket: Socket, token: Token) {
        let watched = self.poll.watch(&socket, token);
        let Some(flow) = self.flows.get_mut(key) else {
            return;
        };
        match token {
            Token::Far(_) => flow.far = Far::Socket(socket),
            _ => flow.near = Some(socket),
        }
        if let Err(error) = watched {
            return self.fail_connect(key, CloseReason::ResourceLimit, &error.to_string());
        }
        flow.phase = crate::flow::Phase::Connecting;
        self.timers
            .set(TimerKind::Connect, self.now, Target::Flow(key));
    }
}
