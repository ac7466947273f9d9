//! Counters of connections: each worker writes its own, a scrape adds them up.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};

use ambimesh_types::CloseReason;

use super::exposition::{Exposition, Kind, push_label};
use super::labels::{Reporter, with_flags};

/// Counters of every worker.
#[derive(Debug)]
pub(crate) struct Traffic {
    workers: Vec<WorkerTraffic>,
}

/// Counters that one worker writes. Others only read them, so its lock is contended by a scrape only.
#[derive(Debug, Default)]
pub(crate) struct WorkerTraffic {
    counted: Mutex<Counted>,
}

#[derive(Debug, Default)]
struct Counted {
    /// Places in `sums` by label text. One per (source, destination, service) seen by this worker.
    places: HashMap<Box<str>, usize>,
    sums: Vec<Sums>,
    by_reason: [u64; REASONS],
}

const REASONS: usize = CloseReason::ALL.len();

/// Counters of all connections with one label set.
#[derive(Clone, Copy, Debug)]
struct Sums {
    reporter: Reporter,
    opened: u64,
    received_bytes: u64,
    sent_bytes: u64,
    /// By reason; reasons that share a response flag are added up at a scrape.
    closed: [u64; REASONS],
}

impl WorkerTraffic {
    /// Counts an opened connection and returns the place of its series, stable for good.
    pub(crate) fn opened(&self, labels: &str, reporter: Reporter) -> usize {
        let mut counted = self.lock();
        let place = counted.places.get(labels).copied().unwrap_or_else(|| {
            counted.sums.push(Sums::new(reporter));
            let place = counted.sums.len() - 1;
            counted.places.insert(labels.into(), place);
            place
        });
        if let Some(sums) = counted.sums.get_mut(place) {
            sums.opened += 1;
        }
        place
    }

    /// Adds what a connection of the series at `place` has carried since the last time.
    pub(crate) fn add_bytes(&self, place: usize, received: u64, sent: u64) {
        if let Some(sums) = self.lock().sums.get_mut(place) {
            sums.received_bytes += received;
            sums.sent_bytes += sent;
        }
    }

    /// Counts the end of a connection; one that failed before it was opened has no place.
    pub(crate) fn closed(&self, place: Option<usize>, reason: CloseReason) {
        let mut counted = self.lock();
        if let Some(count) = counted.by_reason.get_mut(reason as usize) {
            *count += 1;
        }
        let sums = place.and_then(|place| counted.sums.get_mut(place));
        if let Some(count) = sums.and_then(|sums| sums.closed.get_mut(reason as usize)) {
            *count += 1;
        }
    }

    fn lock(&self) -> MutexGuard<'_, Counted> {
        self.counted.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Sums {
    fn new(reporter: Reporter) -> Self {
        Self {
            reporter,
            opened: 0,
            received_bytes: 0,
            sent_bytes: 0,
            closed: [0; REASONS],
        }
    }

    fn add(&mut self, other: &Self) {
        self.opened += other.opened;
        self.received_bytes += other.received_bytes;
        self.sent_bytes += other.sent_bytes;
        for (sum, count) in self.closed.iter_mut().zip(other.closed) {
            *sum += count;
        }
    }

    fn by_flag(&self) -> BTreeMap<&'static str, u64> {
        let mut flags = BTreeMap::new();
        for (reason, count) in CloseReason::ALL
            .iter()
            .zip(self.closed)
            .filter(|(_, count)| *count > 0)
        {
            *flags.entry(reason.response_flag()).or_default() += count;
        }
        flags
    }

    fn open(&self) -> u64 {
        self.opened.saturating_sub(self.closed.iter().sum())
    }
}

impl Traffic {
    /// Counters for this many workers.
    pub(crate) fn new(workers: usize) -> Self {
        Self {
            workers: (0..workers).map(|_| WorkerTraffic::default()).collect(),
        }
    }

    /// The counters of one worker.
    pub(crate) fn worker(&self, index: usize) -> Option<&WorkerTraffic> {
        self.workers.get(index)
    }

    /// Writes every traffic metric. Names and labels: specification §12.1.
    pub(crate) fn write(&self, page: &mut Exposition) {
        let sums = self.sums();
        let mut write = |name: &str, help: &str, value: fn(&Sums) -> u64| {
            let mut family = page.family(name, help, Kind::Counter);
            for (labels, sums) in &sums {
                family.sample(&with_flags(labels, "-"), value(sums));
            }
        };
        write(
            "istio_tcp_connections_opened",
            "The total number of TCP connections opened",
            |s| s.opened,
        );
        write(
            "istio_tcp_received_bytes",
            "The size of total bytes received during request in case of a TCP connection",
            |s| s.received_bytes,
        );
        write(
            "istio_tcp_sent_bytes",
            "The size of total bytes sent during response in case of a TCP connection",
            |s| s.sent_bytes,
        );
        write_closed(page, &sums);
        let mut family = page.family(
            "istio_tcp_sockets_open",
            "The current number of open TCP connections (unstable)",
            Kind::Gauge,
        );
        for reporter in [Reporter::Source, Reporter::Destination] {
            let open: u64 = sums
                .values()
                .filter(|s| s.reporter == reporter)
                .map(Sums::open)
                .sum();
            family.sample(&label("reporter", reporter.as_str()), open);
        }
        self.write_reasons(page);
    }

    fn write_reasons(&self, page: &mut Exposition) {
        let mut family = page.family(
            "ambimesh_connections_closed",
            "Connections that ended, by reason",
            Kind::Counter,
        );
        for reason in CloseReason::ALL {
            let of_worker =
                |worker: &WorkerTraffic| worker.lock().by_reason.get(*reason as usize).copied();
            let total: u64 = self.workers.iter().filter_map(of_worker).sum();
            family.sample(&label("reason", reason.as_str()), total);
        }
    }

    fn sums(&self) -> BTreeMap<Box<str>, Sums> {
        let mut sums: BTreeMap<Box<str>, Sums> = BTreeMap::new();
        for worker in &self.workers {
            let counted = worker.lock();
            for (labels, place) in &counted.places {
                if let Some(counts) = counted.sums.get(*place) {
                    sums.entry(labels.clone())
                        .or_insert_with(|| Sums::new(counts.reporter))
                        .add(counts);
                }
            }
        }
        sums
    }
}

fn write_closed(page: &mut Exposition, sums: &BTreeMap<Box<str>, Sums>) {
    let mut family = page.family(
        "istio_tcp_connections_closed",
        "The total number of TCP connections closed",
        Kind::Counter,
    );
    for (labels, sums) in sums {
        for (flag, count) in sums.by_flag() {
            family.sample(&with_flags(labels, flag), count);
        }
    }
    let mut family = page.family(
        "istio_tcp_connections_failed",
        "The total number of TCP connections that failed (unstable)",
        Kind::Counter,
    );
    for (labels, sums) in sums {
        for (flag, count) in sums.by_flag().into_iter().filter(|(flag, _)| *flag != "-") {
            family.sample(&with_flags(labels, flag), count);
        }
    }
}

fn label(name: &str, value: &str) -> String {
    let mut text = String::new();
    push_label(&mut text, name, value);
    text
}

#[cfg(test)]
mod tests {
    use super::super::labels::{ConnectionLabels, ServiceLabels, Side};
    use super::*;

    fn labels(workload: &str) -> String {
        let source = Side {
            workload,
            ..Side::default()
        };
        let labels = ConnectionLabels {
            reporter: Reporter::Source,
            source,
            destination: Side::default(),
            service: ServiceLabels::default(),
            is_mutual_tls: false,
        };
        let mut text = String::new();
        labels.write(&mut text);
        text
    }

    fn samples(traffic: &Traffic, metric: &str) -> Vec<String> {
        let mut page = Exposition::default();
        traffic.write(&mut page);
        page.finish()
            .lines()
            .filter(|l| l.starts_with(metric))
            .map(str::to_owned)
            .collect()
    }

    /// Counters of all workers are added up; closed and failed carry the response flag.
    #[test]
    fn a_scrape_adds_up_the_workers() {
        let traffic = Traffic::new(2);
        let (first, second) = (traffic.worker(0).unwrap(), traffic.worker(1).unwrap());
        let a = first.opened(&labels("curl"), Reporter::Source);
        let b = second.opened(&labels("curl"), Reporter::Source);
        let _still_open = second.opened(&labels("other"), Reporter::Source);
        first.add_bytes(a, 10, 20);
        second.add_bytes(b, 1, 2);
        first.closed(Some(a), CloseReason::Finished);
        second.closed(Some(b), CloseReason::PolicyDenied);
        second.closed(None, CloseReason::Recursion);

        let opened = samples(&traffic, "istio_tcp_connections_opened_total");
        assert_eq!(opened.len(), 2);
        assert!(
            opened[0].contains("source_workload=\"curl\"") && opened[0].ends_with(" 2"),
            "{opened:?}"
        );
        assert!(samples(&traffic, "istio_tcp_received_bytes_total")[0].ends_with(" 11"));
        assert!(samples(&traffic, "istio_tcp_sent_bytes_total")[0].ends_with(" 22"));
        let closed = samples(&traffic, "istio_tcp_connections_closed_total");
        assert!(
            closed[0].contains("response_flags=\"-\"")
                && closed[1].contains("response_flags=\"DENY\"")
        );
        assert_eq!(
            samples(&traffic, "istio_tcp_connections_failed_total").len(),
            1
        );
        assert_eq!(
            samples(&traffic, "istio_tcp_sockets_open{"),
            [
                "istio_tcp_sockets_open{reporter=\"source\"} 1",
                "istio_tcp_sockets_open{reporter=\"destination\"} 0"
            ]
        );
        let reasons = samples(&traffic, "ambimesh_connections_closed_total");
        assert_eq!(reasons.len(), CloseReason::ALL.len());
        assert!(
            reasons
                .contains(&"ambimesh_connections_closed_total{reason=\"recursion\"} 1".to_owned())
        );
    }
}
