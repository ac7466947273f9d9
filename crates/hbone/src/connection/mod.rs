//! The protocol state of one tunnel.

mod receive;
mod send;

use crate::{ErrorCode, Settings, StreamId};

/// Which end of the tunnel this is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Role {
    /// Dialled the tunnel; opens streams.
    Client,
    /// Accepted the tunnel; answers them.
    Server,
}

/// The peer's announcement that it takes no new streams.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct GoingAway {
    /// The last stream the peer has, or will have, worked on.
    pub last_stream: u32,
    /// Why; NO_ERROR for an orderly shutdown.
    pub code: ErrorCode,
}

/// One end of one HTTP/2 connection that carries only CONNECT streams.
///
/// Shape: does no I/O, reads no clock; see the crate's page for how to drive it.
#[derive(Debug)]
pub struct Connection {
    role: Role,
    settings: Settings,
    control: Vec<u8>,
}

impl Connection {
    /// Starts a connection: preface, SETTINGS and the connection's credit are queued in `control()`.
    #[must_use]
    pub fn new(role: Role, settings: Settings) -> Self {
        Self { role, settings, control: Vec::new() }
    }

    /// Frames to write, in order. The caller takes them all: copy and `clear`, or swap.
    pub fn control(&mut self) -> &mut Vec<u8> {
        &mut self.control
    }

    /// Which end this is.
    #[must_use]
    pub fn role(&self) -> Role {
        self.role
    }

    /// Whether the peer's SETTINGS have arrived. Bound the wait for it: a silent peer is no peer.
    #[must_use]
    pub fn is_established(&self) -> bool {
        todo!()
    }

    /// How many streams the peer allows at once, now. Before its SETTINGS: what we assume.
    #[must_use]
    pub fn stream_limit(&self) -> u32 {
        todo!()
    }

    /// Streams that count towards a limit: not yet ended both ways, nor reset.
    #[must_use]
    pub fn open_streams(&self) -> usize {
        todo!()
    }

    /// Whether `open` would find room: the limit is not reached and nobody is going away.
    #[must_use]
    pub fn can_open(&self) -> bool {
        todo!()
    }

    /// Whether the stream exists: not reset, and not (ended both ways and wholly consumed).
    #[must_use]
    pub fn has_stream(&self, stream: StreamId) -> bool {
        todo!()
    }

    /// Whether the peer will send nothing more on this stream. True for a stream that is gone.
    #[must_use]
    pub fn has_peer_ended(&self, stream: StreamId) -> bool {
        todo!()
    }

    /// Whether we have ended our side of this stream. True for a stream that is gone.
    #[must_use]
    pub fn has_ended(&self, stream: StreamId) -> bool {
        todo!()
    }

    /// Whether the answer was sent (server) or has arrived (client).
    #[must_use]
    pub fn is_answered(&self, stream: StreamId) -> bool {
        todo!()
    }

    /// Bytes delivered in `Data` events of this stream and not yet `consumed`.
    #[must_use]
    pub fn unconsumed(&self, stream: StreamId) -> usize {
        todo!()
    }

    /// Whether no new streams will be opened: a GOAWAY was sent or received, or the tunnel failed.
    #[must_use]
    pub fn is_going_away(&self) -> bool {
        todo!()
    }

    /// The peer's GOAWAY, if it sent one.
    #[must_use]
    pub fn peer_going_away(&self) -> Option<GoingAway> {
        todo!()
    }

    /// Whether the tunnel may be closed: going away (for `drain`: the peer knows), no stream left.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        todo!()
    }
}
