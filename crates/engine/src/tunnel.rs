//! One TLS and HTTP/2 connection to another proxy.

mod handshake;
mod life;
mod receive;
mod send;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use ambimesh_hbone::{Connection, StreamId};
use ambimesh_tls::{Handshake, Session};
use ambimesh_types::{Identity, SourceAddr};
use rustls::ClientConfig;

use crate::flow::Flow;
use crate::pod::Pod;
use crate::pool::PoolKey;
use crate::slots::Key;
use crate::socket::Socket;

/// A tunnel of either role.
pub(crate) struct Tunnel {
    pub(crate) pod: Key<Pod>,
    pub(crate) socket: Socket,
    pub(crate) stage: Stage,
    pub(crate) codec: Connection,
    pub(crate) side: Side,
    /// Flows by stream.
    pub(crate) streams: HashMap<StreamId, Key<Flow>>,
    /// Flows that wait to send, for the socket or for credit.
    blocked: Vec<Key<Flow>>,
    /// Sealed bytes that the socket did not take. While there are some, nothing else is sealed, so
    /// that a peer that does not read cannot make this grow.
    unsent: Vec<u8>,
    sent: usize,
    life: Life,
}

/// How far a tunnel is.
pub(crate) enum Stage {
    /// Client: TCP connect under way.
    Connecting(Arc<ClientConfig>),
    /// Server: until discovery knows the local workload, and it has a certificate.
    AwaitLocal,
    /// TLS handshake under way.
    Handshake(Box<Handshake>),
    /// Streams may flow.
    Open(Box<Session>),
    /// Between two stages, or broken: nothing can be done with it.
    Broken,
}

/// What only one role has.
pub(crate) enum Side {
    /// We dialed it, for flows of one key.
    Client {
        key: Arc<PoolKey>,
        openers: Vec<Key<Flow>>,
    },
    /// A peer dialed it.
    Server {
        source: SourceAddr,
        local: std::net::SocketAddr,
        peer: Option<Identity>,
    },
}

/// Signs of life.
struct Life {
    has_heard: bool,
    pinged: Option<Instant>,
    idle_since: Option<Instant>,
    is_retired: bool,
}

impl Tunnel {
    pub(crate) fn new(
        pod: Key<Pod>,
        socket: Socket,
        stage: Stage,
        codec: Connection,
        side: Side,
    ) -> Self {
        Self {
            pod,
            socket,
            stage,
            codec,
            side,
            streams: HashMap::new(),
            blocked: Vec::new(),
            unsent: Vec::new(),
            sent: 0,
            life: Life {
                has_heard: true,
                pinged: None,
                idle_since: None,
                is_retired: false,
            },
        }
    }

    pub(crate) fn is_server(&self) -> bool {
        matches!(self.side, Side::Server { .. })
    }

    pub(crate) fn is_open(&self) -> bool {
        matches!(self.stage, Stage::Open(_))
    }

    /// Whether one more flow may join: its streams and openers are below the limits.
    pub(crate) fn has_room(&self, most: u32) -> bool {
        let Side::Client { openers, .. } = &self.side else {
            return false;
        };
        if self.life.is_retired || self.codec.is_going_away() || matches!(self.stage, Stage::Broken)
        {
            return false;
        }
        let most = most.min(self.codec.stream_limit()) as usize;
        self.streams.len() + openers.len() < most
    }

    pub(crate) fn is_retired(&self) -> bool {
        self.life.is_retired
    }

    /// Whether sealed bytes wait for the socket.
    pub(crate) fn has_unsent(&self) -> bool {
        self.sent < self.unsent.len()
    }

    /// Remembers a flow that wants to send.
    pub(crate) fn wait(&mut self, flow: Key<Flow>) {
        self.blocked.push(flow);
    }
}
