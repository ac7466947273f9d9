//! Keepalive, idleness, and ends of tunnels.

use ambimesh_hbone::ErrorCode;
use ambimesh_types::CloseReason;

use super::{Side, Stage, Tunnel};
use crate::flow::Flow;
use crate::slots::Key;
use crate::timer::TimerKind;
use crate::worker::{Target, Worker};

/// Content of our pings: one is under way at a time, so it need not differ.
const PING: [u8; 8] = *b"ambimesh";

impl Worker {
    /// The flow of a stream.
    pub(super) fn flow_of(
        &self,
        key: Key<Tunnel>,
        stream: ambimesh_hbone::StreamId,
    ) -> Option<Key<Flow>> {
        self.tunnels.get(key)?.streams.get(&stream).copied()
    }

    /// After a batch of frames: writes answers and credit, closes what is done.
    pub(crate) fn settle_tunnel(&mut self, key: Key<Tunnel>) {
        self.flush_tunnel(key);
        let Some(tunnel) = self.tunnels.get_mut(key) else {
            return;
        };
        if !tunnel.is_open() || !tunnel.streams.is_empty() {
            return;
        }
        if tunnel.codec.is_finished() || tunnel.life.is_retired {
            return self.close_tunnel(key, CloseReason::Finished, "");
        }
        if matches!(tunnel.side, Side::Client { .. }) && tunnel.life.idle_since.is_none() {
            tunnel.life.idle_since = Some(self.now);
            self.timers
                .set(TimerKind::IdleTunnel, self.now, Target::Tunnel(key));
        }
    }

    /// A flow joins or leaves: the tunnel is not idle.
    pub(crate) fn mark_busy(&mut self, key: Key<Tunnel>) {
        if let Some(tunnel) = self.tunnels.get_mut(key) {
            tunnel.life.idle_since = None;
        }
    }

    pub(crate) fn on_tunnel_timer(&mut self, key: Key<Tunnel>, kind: TimerKind) {
        let Some(tunnel) = self.tunnels.get_mut(key) else {
            return;
        };
        match kind {
            TimerKind::Connect if matches!(tunnel.stage, Stage::Connecting(_)) => {
                let detail = "connection timed out, maybe a NetworkPolicy is blocking HBONE port \
                              15008: deadline has elapsed";
                self.close_tunnel(key, CloseReason::TunnelConnectTimeout, detail);
            }
            TimerKind::Workload | TimerKind::Certificate
                if matches!(tunnel.stage, Stage::AwaitLocal) =>
            {
                self.give_up_waiting(key, kind);
            }
            TimerKind::Handshake if !tunnel.is_open() => {
                self.close_tunnel(key, CloseReason::TlsFailure, "tls handshake timed out");
            }
            TimerKind::Handshake if !tunnel.codec.is_established() => {
                self.close_tunnel(key, CloseReason::TunnelFailure, "http2 handshake timed out");
            }
            TimerKind::Ping => self.check_life(key),
            TimerKind::IdleTunnel => self.release_idle(key),
            _ => {}
        }
    }

    fn check_life(&mut self, key: Key<Tunnel>) {
        let Some(tunnel) = self.tunnels.get_mut(key) else {
            return;
        };
        let patience = self.shared.settings.timeouts.ping_answer;
        match tunnel.life.pinged {
            Some(at) if self.now.duration_since(at) >= patience => {
                return self.break_tunnel(key, "peer did not answer the keepalive ping");
            }
            None if !tunnel.life.has_heard => {
                tunnel.life.pinged = Some(self.now);
                tunnel.codec.ping(PING);
            }
            _ => {}
        }
        tunnel.life.has_heard = false;
        tunnel.codec.refill_limits();
        self.timers
            .set(TimerKind::Ping, self.now, Target::Tunnel(key));
        self.flush_tunnel(key);
    }

    fn release_idle(&mut self, key: Key<Tunnel>) {
        let Some(tunnel) = self.tunnels.get(key) else {
            return;
        };
        let release = self.shared.settings.idle_tunnel_release;
        let is_idle = |since| self.now.duration_since(since) >= release;
        if tunnel.life.idle_since.is_some_and(is_idle) && tunnel.streams.is_empty() {
            self.close_tunnel(key, CloseReason::Finished, "");
        }
    }

    /// Takes no new flows and closes when the last one has ended.
    pub(crate) fn retire_tunnel(&mut self, key: Key<Tunnel>) {
        self.pool.forget(key, self.tunnels.get(key));
        if let Some(tunnel) = self.tunnels.get_mut(key) {
            tunnel.life.is_retired = true;
            self.settle_tunnel(key);
        }
    }

    /// The peer closed the tunnel: an ordinary end, unless flows were on it.
    pub(super) fn on_tunnel_ended(&mut self, key: Key<Tunnel>) {
        let is_idle = self
            .tunnels
            .get(key)
            .is_some_and(|tunnel| tunnel.streams.is_empty());
        let reason = if is_idle {
            CloseReason::Finished
        } else {
            CloseReason::TunnelFailure
        };
        self.close_tunnel(key, reason, "peer closed the tunnel");
    }

    /// The tunnel failed beneath its flows.
    pub(crate) fn break_tunnel(&mut self, key: Key<Tunnel>, detail: &str) {
        self.close_tunnel(key, CloseReason::TunnelFailure, detail);
    }

    /// Closes a tunnel; every flow on it, and every one that waits for it, ends with `reason`.
    pub(crate) fn close_tunnel(&mut self, key: Key<Tunnel>, reason: CloseReason, detail: &str) {
        self.pool.forget(key, self.tunnels.get(key));
        let Some(mut tunnel) = self.tunnels.remove(key) else {
            return;
        };
        self.servers -= usize::from(tunnel.is_server());
        // Flows tell their own end; without one, this is the only report.
        if reason != CloseReason::Finished && tunnel.is_server() && tunnel.streams.is_empty() {
            self.report_failed_tunnel(&tunnel, reason, detail);
        }
        if tunnel.is_open() {
            tunnel.codec.close(ErrorCode::NO_ERROR);
            tunnel.say_goodbye(&mut self.buffers.sealed);
        }
        let openers = match &mut tunnel.side {
            Side::Client { openers, .. } => std::mem::take(openers),
            Side::Server { .. } => Vec::new(),
        };
        let streams = std::mem::take(&mut tunnel.streams);
        drop(tunnel);
        for flow in openers.into_iter().chain(streams.into_values()) {
            self.finish(flow, reason, Some(detail));
        }
    }
}
