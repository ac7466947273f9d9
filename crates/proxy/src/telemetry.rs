//! What the engine reports, as metrics and access log lines.

mod access;
mod baggage;
mod labels;

use std::fmt;

use ambimesh_engine::{Direction, End, Facts, Series, Telemetry, Transferred};
use ambimesh_types::CloseReason;

use crate::log::Log;
use crate::metrics::{Reporter, Traffic};

/// Counts and logs flows. Nothing here runs per frame.
pub(crate) struct FlowTelemetry {
    traffic: Traffic,
    log: Log,
}

impl FlowTelemetry {
    /// For this many workers.
    pub(crate) fn new(workers: usize, log: Log) -> Self {
        Self {
            traffic: Traffic::new(workers),
            log,
        }
    }

    /// The counters, for the metrics page.
    pub(crate) fn traffic(&self) -> &Traffic {
        &self.traffic
    }
}

impl Telemetry for FlowTelemetry {
    fn opened(&self, worker: usize, facts: &Facts) -> Series {
        access::opened(&self.log, facts);
        let place = self.traffic.worker(worker).map_or(0, |counters| {
            counters.opened(&labels::text(facts), reporter(facts.direction))
        });
        Series(place as u64)
    }

    fn progressed(&self, worker: usize, series: Series, delta: Transferred) {
        if let (Some(counters), Some(place)) = (self.traffic.worker(worker), place(series)) {
            counters.add_bytes(place, delta.received, delta.sent);
        }
    }

    fn closed(&self, worker: usize, series: Series, facts: &Facts, end: &End) {
        if let Some(counters) = self.traffic.worker(worker) {
            counters.closed(place(series), end.reason);
        }
        access::complete(&self.log, facts, end);
    }

    fn failed(&self, worker: usize, facts: &Facts, end: &End) {
        if let Some(counters) = self.traffic.worker(worker) {
            counters.closed(None, end.reason);
        }
        access::failed(&self.log, facts, end);
    }
}

impl fmt::Debug for FlowTelemetry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FlowTelemetry").finish_non_exhaustive()
    }
}

fn place(series: Series) -> Option<usize> {
    usize::try_from(series.0).ok()
}

fn reporter(direction: Direction) -> Reporter {
    match direction {
        Direction::Outbound => Reporter::Source,
        Direction::InboundTunnel | Direction::InboundPlaintext => Reporter::Destination,
    }
}

/// Whether an end is one that both ends wanted.
fn is_failure(reason: CloseReason) -> bool {
    reason != CloseReason::Finished
}

#[cfg(test)]
mod tests;
