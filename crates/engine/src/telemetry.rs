//! What workers report about flows.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use ambimesh_state::{Service, Workload};
use ambimesh_types::{Authority, CloseReason, Identity, OriginalDst, SourceAddr};

/// Which way a flow goes, seen from the local pod.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Direction {
    /// The pod's application opened it.
    Outbound,
    /// It arrived in a tunnel.
    InboundTunnel,
    /// It arrived as plaintext.
    InboundPlaintext,
}

/// What is known about one flow. Grows while the flow is set up, fixed once it is opened.
#[derive(Clone, Debug)]
pub struct Facts {
    /// Which way it goes.
    pub direction: Direction,
    /// The Kubernetes uid of the local pod.
    pub pod: Arc<str>,
    /// Who called, as the socket says.
    pub source: SourceAddr,
    /// Where the source wanted to go: before redirection, or the authority it asked for.
    pub original_destination: OriginalDst,
    /// The `dst.addr` of the access log: outbound the actual next hop, in a tunnel the pod's
    /// tunnel port, in plaintext the original destination.
    pub destination: SocketAddr,
    /// Inbound: the application's socket that we connect to.
    pub upstream: Option<SocketAddr>,
    /// The target of the CONNECT, in a tunnel.
    pub authority: Option<Authority>,
    /// The calling workload, where known by address or, outbound, by its namespace.
    pub source_workload: Option<Arc<Workload>>,
    /// The caller's identity, proven by TLS. Outbound: our own, in a tunnel.
    pub source_identity: Option<Identity>,
    /// What the caller says about itself, where its workload is not known.
    pub source_baggage: Option<Box<str>>,
    /// The workload that is called: outbound the hop (a waypoint, maybe), inbound the pod's.
    pub destination_workload: Option<Arc<Workload>>,
    /// Its identity, proven by TLS. Inbound: our own, in a tunnel.
    pub destination_identity: Option<Identity>,
    /// The service that was addressed.
    pub destination_service: Option<Arc<Service>>,
    /// The 32 hexadecimal digits that the logs of both proxies share.
    pub trace_id: u128,
}

/// Bytes that went through a flow. Directions as Istio's metrics have them, for both reporters.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Transferred {
    /// From the source to the destination.
    pub received: u64,
    /// From the destination to the source.
    pub sent: u64,
}

impl Transferred {
    pub(crate) fn since(self, earlier: Self) -> Self {
        Self {
            received: self.received.saturating_sub(earlier.received),
            sent: self.sent.saturating_sub(earlier.sent),
        }
    }
}

/// How a flow ended.
#[derive(Clone, Debug)]
pub struct End {
    /// Which of the closed set.
    pub reason: CloseReason,
    /// What the reason alone does not say; the `error` field of the access log.
    pub detail: Option<Box<str>>,
    /// Bytes over its whole life.
    pub transferred: Transferred,
    /// From accept, or from the request, to the end.
    pub duration: Duration,
}

/// The telemetry's own name for what [`Telemetry::opened`] counted; the engine only hands it back.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Series(pub u64);

/// Where reports go. Called on worker threads: must return at once and never block on I/O.
pub trait Telemetry: Send + Sync {
    /// A flow knows where it goes. Always followed by one [`Self::closed`].
    fn opened(&self, worker: usize, facts: &Facts) -> Series;

    /// Bytes since the last report of this flow; every few seconds and before the end.
    fn progressed(&self, worker: usize, series: Series, delta: Transferred);

    /// A flow that was opened ended.
    fn closed(&self, worker: usize, series: Series, facts: &Facts, end: &End);

    /// A connection ended before it was known where it goes. Log only.
    fn failed(&self, worker: usize, facts: &Facts, end: &End);
}

/// One open flow, for `/config_dump`.
#[derive(Clone, Debug)]
pub struct ConnectionSummary {
    /// What is known.
    pub facts: Facts,
    /// Bytes so far.
    pub transferred: Transferred,
}
