//! Flows that are not open yet: their connects, answers and deadlines.

use std::net::SocketAddr;

use ambimesh_netns as netns;
use ambimesh_types::CloseReason;
use rand::Rng;

use crate::flow::{Flow, Phase};
use crate::poll::Token;
use crate::slots::Key;
use crate::socket::Socket;
use crate::telemetry::Direction;
use crate::timer::TimerKind;
use crate::worker::{Target, Worker};

impl Worker {
    /// Starts to connect a flow's second socket from our own address.
    pub(crate) fn connect_plainly(&mut self, key: Key<Flow>, to: SocketAddr) {
        let Some(flow) = self.flows.get(key) else {
            return;
        };
        match self.connect_inside(flow.pod, |options| netns::connect(to, options)) {
            Ok(descriptor) => {
                self.watch_connecting(key, Socket::connecting(descriptor), Token::Far(key));
            }
            Err(error) => self.fail_connect(key, CloseReason::ConnectFailed, &error.to_string()),
        }
    }

    /// Starts to connect to the application from the caller's address.
    pub(crate) fn connect_to_application(&mut self, key: Key<Flow>, to: SocketAddr) {
        let draw = self.random.random();
        let Some(flow) = self.flows.get(key) else {
            return;
        };
        let source = flow.report.facts.source.ip();
        let token = match flow.report.facts.direction {
            Direction::InboundTunnel => Token::Near(key),
            _ => Token::Far(key),
        };
        let is_plain = self.shared.settings.original_source == netns::OriginalSource::Off;
        let connected = self.connect_inside(flow.pod, |options| {
            if is_plain {
                netns::connect(to, options)
            } else {
                netns::connect_from(source, to, options, draw)
            }
        });
        match connected {
            Ok(descriptor) => self.watch_connecting(key, Socket::connecting(descriptor), token),
            Err(error) => self.fail_connect(key, CloseReason::ConnectFailed, &error.to_string()),
        }
    }

    /// An event for a flow that is not open.
    pub(crate) fn drive_unopened(&mut self, key: Key<Flow>) {
        let Some(flow) = self.flows.get(key) else {
            return;
        };
        match flow.connecting() {
            Some(socket) if socket.is_writable() => match socket.connect_result() {
                Ok(()) => self.on_connected(key),
                Err(error) => {
                    self.fail_connect(key, CloseReason::ConnectFailed, &error.to_string());
                }
            },
            _ => self.check_caller(key),
        }
    }

    /// A caller that resets before anything was decided ends the flow.
    fn check_caller(&mut self, key: Key<Flow>) {
        let Some(flow) = self.flows.get(key) else {
            return;
        };
        let is_caller = flow.is_near_source();
        if is_caller && flow.near.as_ref().is_some_and(Socket::has_failed) {
            self.finish(key, CloseReason::SourceReset, Some("connection reset"));
        }
    }

    fn on_connected(&mut self, key: Key<Flow>) {
        let Some(flow) = self.flows.get_mut(key) else {
            return;
        };
        flow.phase = Phase::Open;
        if flow.report.facts.direction == Direction::InboundTunnel {
            self.answer_connected(key);
        }
        self.drive_flow(key);
    }

    /// A connect of our own came to nothing; a peer that asked for it is told why.
    pub(crate) fn fail_connect(&mut self, key: Key<Flow>, reason: CloseReason, error: &str) {
        let detail = format!("connection failed: {error}");
        let Some(flow) = self.flows.get(key) else {
            return;
        };
        if flow.report.facts.direction == Direction::InboundTunnel {
            self.refuse(key, 503, reason, &detail);
        } else {
            self.finish(key, reason, Some(&detail));
        }
    }

    pub(crate) fn on_flow_timer(&mut self, key: Key<Flow>, kind: TimerKind) {
        let Some(flow) = self.flows.get(key) else {
            return;
        };
        match (kind, &flow.phase) {
            (TimerKind::Workload, Phase::AwaitWorkload) => {
                let detail = "failed to fetch information about local workload: timed out";
                self.finish(key, CloseReason::WorkloadUnknown, Some(detail));
            }
            (TimerKind::Certificate, Phase::AwaitTunnel(_)) => {
                self.give_up_certificate(key);
            }
            (TimerKind::Connect, Phase::Connecting) => {
                self.fail_connect(key, CloseReason::ConnectFailed, "deadline has elapsed");
            }
            (TimerKind::Answer, Phase::AwaitAnswer(_)) => {
                let detail = "peer did not answer CONNECT in time";
                self.finish(key, CloseReason::TunnelFailure, Some(detail));
            }
            (TimerKind::HalfClosed, Phase::Open) => self.check_half_closed(key),
            _ => {}
        }
    }

    fn check_half_closed(&mut self, key: Key<Flow>) {
        let Some(flow) = self.flows.get_mut(key) else {
            return;
        };
        let bytes = flow.up.bytes + flow.down.bytes;
        if flow.half_closed_at == Some(bytes) {
            let detail = "one direction ended and the other is silent";
            return self.finish(key, CloseReason::Finished, Some(detail));
        }
        flow.half_closed_at = Some(bytes);
        self.timers
            .set(TimerKind::HalfClosed, self.now, Target::Flow(key));
    }
}
