//! From a readable socket to events.

use ambimesh_hbone::{ErrorCode, Event, ResetCause, StreamId};
use ambimesh_types::CloseReason;

use super::{Stage, Tunnel};
use crate::buffers::Buffers;
use crate::flow::Phase;
use crate::slots::Key;
use crate::socket::Read;
use crate::worker::{Work, Worker};

/// Reads of one tunnel in a row, before others get their turn.
const READS_IN_A_ROW: usize = 4;

impl Worker {
    /// Does whatever the tunnel's socket allows now.
    pub(crate) fn drive_tunnel(&mut self, key: Key<Tunnel>) {
        self.resume_sending(key);
        let Some(tunnel) = self.tunnels.get_mut(key) else {
            return;
        };
        match &tunnel.stage {
            Stage::Connecting(_) if tunnel.socket.is_writable() => self.finish_dial(key),
            Stage::Handshake(_) if tunnel.socket.is_readable() => self.continue_handshake(key),
            Stage::Open(_) => self.receive(key),
            Stage::AwaitLocal if tunnel.socket.has_failed() => {
                self.close_tunnel(key, CloseReason::TlsFailure, "peer reset the connection");
            }
            _ => {}
        }
    }

    fn receive(&mut self, key: Key<Tunnel>) {
        for _ in 0..READS_IN_A_ROW {
            let Some(tunnel) = self.tunnels.get_mut(key) else {
                return;
            };
            let Stage::Open(session) = &tunnel.stage else {
                return;
            };
            if !tunnel.socket.is_readable() {
                return self.settle_tunnel(key);
            }
            let unread = session.unread();
            let start = unread.len();
            let Some(buffer) = self.buffers.read.get_mut(..start + Buffers::READ_BYTES) else {
                return self.break_tunnel(key, "peer sends a handshake message without end");
            };
            buffer[..start].copy_from_slice(unread);
            match tunnel.socket.read(&mut buffer[start..]) {
                Read::Bytes(length) => self.open_records(key, start + length),
                Read::Blocked => return self.settle_tunnel(key),
                Read::End => return self.on_tunnel_ended(key),
                Read::Failed(error) => return self.break_tunnel(key, &error.to_string()),
            }
        }
        self.settle_tunnel(key);
        self.agenda.push_back(Work::Tunnel(key));
    }

    /// Opens what arrived together with the end of the handshake.
    pub(super) fn open_leftover(&mut self, key: Key<Tunnel>) {
        let Some(Tunnel {
            stage: Stage::Open(session),
            ..
        }) = self.tunnels.get(key)
        else {
            return;
        };
        let length = session.unread().len();
        let Some(buffer) = self.buffers.read.get_mut(..length) else {
            return;
        };
        buffer.copy_from_slice(session.unread());
        self.open_records(key, length);
        self.settle_tunnel(key);
    }

    /// Opens the first `length` bytes of the read buffer and acts on the frames in them.
    fn open_records(&mut self, key: Key<Tunnel>, length: usize) {
        let Some(tunnel) = self.tunnels.get_mut(key) else {
            return;
        };
        let Stage::Open(session) = &mut tunnel.stage else {
            return;
        };
        let mut plain = std::mem::take(&mut self.buffers.plain);
        plain.clear();
        let mut reply = Vec::new();
        let opened = session.open(&mut self.buffers.read[..length], &mut plain, &mut reply);
        tunnel.life.has_heard = true;
        tunnel.life.pinged = None;
        let replied = tunnel.send_sealed(&reply);
        let framing = self.act_on_frames(key, &plain);
        self.buffers.plain = plain;
        match (opened, replied) {
            (Err(error), _) => self.close_tunnel(key, error.reason(), &error.to_string()),
            (_, Err(error)) => self.break_tunnel(key, &error.to_string()),
            _ if framing.is_some() => self.break_tunnel(key, &framing.unwrap_or_default()),
            (Ok(true), Ok(())) => self.on_tunnel_ended(key),
            (Ok(false), Ok(())) => {}
        }
    }

    /// Returns what was wrong with the frames, if something was.
    fn act_on_frames(&mut self, key: Key<Tunnel>, plain: &[u8]) -> Option<String> {
        let mut input = plain;
        loop {
            let tunnel = self.tunnels.get_mut(key)?;
            match tunnel.codec.next_event(&mut input) {
                Ok(Some(event)) => self.on_event(key, event),
                Ok(None) => return None,
                Err(error) => return Some(format!("h2 failed: {error}")),
            }
        }
    }

    fn on_event(&mut self, key: Key<Tunnel>, event: Event<'_>) {
        match event {
            Event::Data { stream, bytes } => self.on_data(key, stream, bytes),
            Event::End { stream } => self.on_end(key, stream),
            Event::Request { stream, request } => self.on_request(key, stream, &request),
            Event::BadRequest { stream, problem } => self.on_bad_request(key, stream, &problem),
            Event::Response { stream, response } => self.on_response(key, stream, &response),
            Event::Reset {
                stream,
                cause,
                code,
            } => {
                self.on_reset(key, stream, code, cause);
            }
            Event::Writable {
                stream: Some(stream),
            } => {
                if let Some(flow) = self.flow_of(key, stream) {
                    self.agenda.push_back(Work::Flow(flow));
                }
            }
            Event::Writable { stream: None } => self.wake_blocked(key),
            Event::GoAway { .. } => self.pool.forget(key, self.tunnels.get(key)),
            _ => {}
        }
    }

    fn on_end(&mut self, key: Key<Tunnel>, stream: StreamId) {
        let Some(flow_key) = self.flow_of(key, stream) else {
            return;
        };
        if let Some(flow) = self.flows.get_mut(flow_key) {
            flow.down.has_ended = true;
            self.agenda.push_back(Work::Flow(flow_key));
        }
    }

    fn on_reset(&mut self, key: Key<Tunnel>, stream: StreamId, code: ErrorCode, cause: ResetCause) {
        let Some(tunnel) = self.tunnels.get_mut(key) else {
            return;
        };
        let Some(flow_key) = tunnel.streams.remove(&stream) else {
            return;
        };
        let Some(flow) = self.flows.get_mut(flow_key) else {
            return;
        };
        let detail = format!("stream reset: {code}");
        if code == ErrorCode::NO_ERROR && flow.down.has_ended {
            // The peer has said all it wanted to say and needs no more of us (RFC 9113 §8.1).
            flow.up.has_ended = true;
            flow.up.is_closed = true;
            return self.agenda.push_back(Work::Flow(flow_key));
        }
        let was_answered = !matches!(flow.phase, Phase::AwaitAnswer(_));
        let was_untouched = code == ErrorCode::REFUSED_STREAM || cause == ResetCause::GoAway;
        if !was_answered && was_untouched {
            return self.rejoin(flow_key, &detail);
        }
        let reason = match cause {
            ResetCause::Violation(_) => CloseReason::TunnelFailure,
            _ if !was_answered => CloseReason::TunnelRefused,
            _ if flow.is_near_source() => CloseReason::DestinationReset,
            _ => CloseReason::SourceReset,
        };
        self.finish(flow_key, reason, Some(&detail));
    }
}
