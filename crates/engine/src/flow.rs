//! One application connection, whichever way it goes.

use std::sync::Arc;
use std::time::Instant;

use ambimesh_hbone::{ConnectRequest, StreamId};

use crate::pod::Pod;
use crate::pool::PoolKey;
use crate::slots::Key;
use crate::socket::Socket;
use crate::telemetry::{Direction, Facts, Series, Transferred};
use crate::tunnel::Tunnel;

/// One application connection.
///
/// Its first socket (`near`) is the accepted one, or for a flow that arrived in a tunnel the one
/// to the application. Its other end (`far`) is a second socket or a stream of a tunnel.
pub(crate) struct Flow {
    pub(crate) pod: Key<Pod>,
    pub(crate) phase: Phase,
    pub(crate) near: Option<Socket>,
    pub(crate) far: Far,
    /// From near to far.
    pub(crate) up: Lane,
    /// From far to near.
    pub(crate) down: Lane,
    pub(crate) report: Box<Report>,
    /// Whether it is in its tunnel's list of those that wait to send.
    pub(crate) is_blocked: bool,
    /// Bytes at the moment when one direction had ended, once it has.
    pub(crate) half_closed_at: Option<u64>,
}

/// How far a flow is.
#[derive(Debug)]
pub(crate) enum Phase {
    /// Until discovery knows the local workload.
    AwaitWorkload,
    /// Until the source has a certificate and a tunnel takes it.
    AwaitTunnel(Box<Hop>),
    /// Until the other proxy has answered CONNECT.
    AwaitAnswer(Box<Hop>),
    /// Until the connect of our own has succeeded.
    Connecting,
    /// Bytes flow.
    Open,
}

/// The other end of a flow.
#[derive(Debug)]
pub(crate) enum Far {
    Unknown,
    Socket(Socket),
    Stream {
        tunnel: Key<Tunnel>,
        stream: StreamId,
    },
}

/// Which tunnel an outbound flow takes, and what it asks there.
#[derive(Debug)]
pub(crate) struct Hop {
    pub(crate) key: Arc<PoolKey>,
    pub(crate) request: ConnectRequest,
    /// Tunnels that would not take it; bounded.
    pub(crate) refusals: u8,
}

/// One direction of a flow.
#[derive(Debug, Default)]
pub(crate) struct Lane {
    /// Bytes that could not be passed on yet. Owns no memory otherwise.
    held: Vec<u8>,
    passed: usize,
    /// The reading side has ended.
    pub(crate) has_ended: bool,
    /// The end was passed on.
    pub(crate) is_closed: bool,
    /// Bytes read.
    pub(crate) bytes: u64,
}

/// What telemetry is told about a flow.
pub(crate) struct Report {
    pub(crate) facts: Facts,
    pub(crate) series: Option<Series>,
    pub(crate) started: Instant,
    pub(crate) reported: Transferred,
}

impl Flow {
    pub(crate) fn new(pod: Key<Pod>, phase: Phase, facts: Facts, started: Instant) -> Self {
        let report = Report {
            facts,
            series: None,
            started,
            reported: Transferred::default(),
        };
        Self {
            pod,
            phase,
            near: None,
            far: Far::Unknown,
            up: Lane::default(),
            down: Lane::default(),
            report: Box::new(report),
            is_blocked: false,
            half_closed_at: None,
        }
    }

    pub(crate) fn is_open(&self) -> bool {
        matches!(self.phase, Phase::Open)
    }

    pub(crate) fn is_inbound(&self) -> bool {
        self.report.facts.direction != Direction::Outbound
    }

    /// Whether the first socket is the caller's.
    pub(crate) fn is_near_source(&self) -> bool {
        self.report.facts.direction != Direction::InboundTunnel
    }

    /// The socket whose connect is under way.
    pub(crate) fn connecting(&self) -> Option<&Socket> {
        match (&self.phase, &self.far) {
            (Phase::Connecting, Far::Socket(far)) => Some(far),
            (Phase::Connecting, _) => self.near.as_ref(),
            _ => None,
        }
    }

    /// Both directions ended and passed on.
    pub(crate) fn is_finished(&self) -> bool {
        self.up.is_closed && self.down.is_closed
    }

    pub(crate) fn transferred(&self) -> Transferred {
        let (received, sent) = if self.is_near_source() {
            (self.up.bytes, self.down.bytes)
        } else {
            (self.down.bytes, self.up.bytes)
        };
        Transferred { received, sent }
    }
}

impl Lane {
    /// What waits to be passed on.
    pub(crate) fn held(&self) -> &[u8] {
        self.held.get(self.passed..).unwrap_or_default()
    }

    pub(crate) fn is_holding(&self) -> bool {
        self.passed < self.held.len()
    }

    /// Keeps bytes until they can be passed on.
    pub(crate) fn hold(&mut self, bytes: &[u8]) {
        self.held.extend_from_slice(bytes);
    }

    /// Takes note that so many held bytes were passed on; gives memory back with the last.
    pub(crate) fn pass(&mut self, bytes: usize) {
        self.passed += bytes;
        if self.passed >= self.held.len() {
            self.held = Vec::new();
            self.passed = 0;
        } else if self.passed > COMPACT_BYTES {
            self.held.drain(..self.passed);
            self.passed = 0;
        }
    }
}

/// How much passed memory a lane may carry along before it moves the rest to the front.
const COMPACT_BYTES: usize = 64 << 10;
