//! Bytes between a socket and a stream of a tunnel.

use ambimesh_hbone::StreamId;
use ambimesh_types::CloseReason;

use crate::buffers::Buffers;
use crate::flow::{Far, Flow};
use crate::slots::Key;
use crate::socket::{Read, Socket};
use crate::tunnel::Tunnel;
use crate::worker::{Work, Worker};

/// Reads of one flow in a row, before others get their turn.
const READS_IN_A_ROW: usize = 8;

/// How sending went.
enum Sent {
    /// Nothing more to read now, or nowhere to put it.
    Paused,
    /// More can be sent at once.
    More,
    /// The application's connection is gone.
    NearFailed(std::io::Error),
    /// The tunnel is gone.
    TunnelFailed(String),
}

impl Worker {
    /// Moves what can be moved between a flow's socket and its stream.
    pub(crate) fn drive_stream(
        &mut self,
        key: Key<Flow>,
        tunnel_key: Key<Tunnel>,
        stream: StreamId,
    ) {
        if !self.deliver_held(key, tunnel_key, stream) {
            return;
        }
        let sent = self.send_up(key, tunnel_key, stream);
        let is_paused = matches!(sent, Sent::Paused);
        match sent {
            Sent::Paused => {}
            Sent::More => self.agenda.push_back(Work::Flow(key)),
            Sent::NearFailed(error) => return self.near_failed(key, &error.to_string()),
            Sent::TunnelFailed(detail) => return self.break_tunnel(tunnel_key, &detail),
        }
        self.flush_tunnel(tunnel_key);
        let Some(flow) = self.flows.get(key) else {
            return;
        };
        if flow.is_finished() {
            return self.finish(key, CloseReason::Finished, None);
        }
        if is_paused && flow.near.as_ref().is_some_and(Socket::has_failed) {
            return self.near_failed(key, "connection reset");
        }
        self.watch_half_closed(key);
    }

    /// Payload arrived for a stream.
    pub(crate) fn on_data(&mut self, tunnel_key: Key<Tunnel>, stream: StreamId, bytes: &[u8]) {
        let Some(tunnel) = self.tunnels.get_mut(tunnel_key) else {
            return;
        };
        let flow_key = tunnel.streams.get(&stream).copied();
        let Some((flow_key, flow)) = flow_key.and_then(|key| Some((key, self.flows.get_mut(key)?)))
        else {
            // The flow is gone and its reset under way.
            return tunnel.codec.consumed(stream, bytes.len());
        };
        flow.down.bytes += bytes.len() as u64;
        let may_write = flow.is_open() && !flow.down.is_holding();
        let written = match &mut flow.near {
            Some(near) if may_write => near.write(bytes),
            _ => Ok(0),
        };
        match written {
            Ok(length) => {
                tunnel.codec.consumed(stream, length);
                flow.down.hold(bytes.get(length..).unwrap_or_default());
            }
            Err(error) => self.near_failed(flow_key, &error.to_string()),
        }
    }

    /// Passes on what waited for the application. Returns whether the flow goes on.
    fn deliver_held(&mut self, key: Key<Flow>, tunnel_key: Key<Tunnel>, stream: StreamId) -> bool {
        let Some(flow) = self.flows.get_mut(key) else {
            return false;
        };
        let Some(near) = &mut flow.near else {
            return true;
        };
        while flow.down.is_holding() && near.is_writable() {
            match near.write(flow.down.held()) {
                Ok(length) => {
                    flow.down.pass(length);
                    if let Some(tunnel) = self.tunnels.get_mut(tunnel_key) {
                        tunnel.codec.consumed(stream, length);
                    }
                }
                Err(error) => {
                    self.near_failed(key, &error.to_string());
                    return false;
                }
            }
        }
        if flow.down.has_ended && !flow.down.is_holding() && !flow.down.is_closed {
            near.shutdown_write();
            flow.down.is_closed = true;
        }
        true
    }

    /// Reads from the application, one frame per read, sealed and written at once.
    fn send_up(&mut self, key: Key<Flow>, tunnel_key: Key<Tunnel>, stream: StreamId) -> Sent {
        let Some(flow) = self.flows.get_mut(key) else {
            return Sent::Paused;
        };
        let Some(tunnel) = self.tunnels.get_mut(tunnel_key) else {
            return Sent::Paused;
        };
        let Some(near) = &mut flow.near else {
            return Sent::Paused;
        };
        for _ in 0..READS_IN_A_ROW {
            if flow.up.has_ended || !near.is_readable() {
                return Sent::Paused;
            }
            let room = tunnel.codec.sendable(stream).min(MAX_PAYLOAD_BYTES);
            if tunnel.has_unsent() || room == 0 {
                if !flow.is_blocked {
                    flow.is_blocked = true;
                    tunnel.wait(key);
                }
                return Sent::Paused;
            }
            let frame = &mut self.buffers.read[..Buffers::FRAME_HEADER_BYTES + room];
            let (header, payload) = frame.split_at_mut(Buffers::FRAME_HEADER_BYTES);
            match near.read(payload) {
                Read::Bytes(length) => {
                    let Ok(bytes) = tunnel.codec.data_header(stream, length, false) else {
                        return Sent::TunnelFailed("stream does not take what it said".to_owned());
                    };
                    header.copy_from_slice(&bytes);
                    flow.up.bytes += length as u64;
                    let frame = &self.buffers.read[..Buffers::FRAME_HEADER_BYTES + length];
                    if let Err(error) = tunnel.send(frame, &mut self.buffers.sealed) {
                        return Sent::TunnelFailed(error.to_string());
                    }
                }
                Read::End => {
                    flow.up.has_ended = true;
                    flow.up.is_closed = true;
                    tunnel.codec.end(stream);
                }
                Read::Blocked => return Sent::Paused,
                Read::Failed(error) => return Sent::NearFailed(error),
            }
        }
        Sent::More
    }

    /// The application's connection of a flow is gone; the other end is told by a reset.
    pub(crate) fn near_failed(&mut self, key: Key<Flow>, detail: &str) {
        let Some(flow) = self.flows.get(key) else {
            return;
        };
        let reason = if flow.is_near_source() {
            CloseReason::SourceReset
        } else {
            CloseReason::DestinationReset
        };
        self.finish(key, reason, Some(detail));
    }

    /// The flow that a socket event was for.
    pub(crate) fn drive_flow(&mut self, key: Key<Flow>) {
        let Some(flow) = self.flows.get(key) else {
            return;
        };
        match (flow.is_open(), &flow.far) {
            (true, Far::Socket(_)) => self.drive_pair(key),
            (true, Far::Stream { tunnel, stream }) => self.drive_stream(key, *tunnel, *stream),
            _ => self.drive_unopened(key),
        }
    }
}

/// A frame and its header fill whole records.
const MAX_PAYLOAD_BYTES: usize = Buffers::READ_BYTES - Buffers::FRAME_HEADER_BYTES;
