//! What the discovery client does, for metrics, the log, readiness and the data path.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use ambimesh_engine::{Command, Engine};
use ambimesh_xds::{Observer, TYPES, Termination};
use tokio::sync::Notify;

use crate::log::{Log, Value};
use crate::metrics::{Exposition, Kind, push_label};
use crate::readiness::{Part, Readiness};

const TARGET: &str = "xds";

/// Counters of discovery.
#[derive(Debug, Default)]
pub(crate) struct DiscoveryCounters(Mutex<Counted>);

#[derive(Debug, Default)]
struct Counted {
    /// Messages and bytes by type URL; only types that we know.
    received: BTreeMap<String, (u64, u64)>,
    terminations: BTreeMap<&'static str, u64>,
    rejected_resources: u64,
}

impl DiscoveryCounters {
    /// Writes them. Names: specification §12.2.
    pub(crate) fn write(&self, page: &mut Exposition) {
        let counted = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let help = "The total number of completed connections to xds server (unstable)";
        let mut family = page.family("istio_xds_connection_terminations", help, Kind::Counter);
        for (reason, count) in &counted.terminations {
            family.sample(&label("reason", reason), count);
        }
        let help = "Total number of messages received (unstable)";
        let mut family = page.family("istio_xds_message", help, Kind::Counter);
        for (url, (messages, _)) in &counted.received {
            family.sample(&label("url", url), messages);
        }
        let help = "Total number of bytes received (unstable)";
        let mut family = page.family("istio_xds_message_bytes", help, Kind::Counter);
        for (url, (_, bytes)) in &counted.received {
            family.sample(&label("url", url), bytes);
        }
        let help = "Resources that discovery sent and this proxy refused";
        page.family("ambimesh_xds_resources_rejected", help, Kind::Counter)
            .sample("", counted.rejected_resources);
    }

    fn count(&self, change: impl FnOnce(&mut Counted)) {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

/// Passes on what the discovery client does.
pub(crate) struct DiscoveryObserver {
    /// Told of every new snapshot.
    pub(crate) engine: Arc<Engine>,
    /// Where to say that the state is complete.
    pub(crate) readiness: Readiness,
    /// Woken by every new snapshot, for prefetching.
    pub(crate) applied: Arc<Notify>,
    /// Woken once, by the first complete state.
    pub(crate) synced: Arc<Notify>,
    /// Metrics.
    pub(crate) counters: Arc<DiscoveryCounters>,
    /// The log.
    pub(crate) log: Log,
}

impl Observer for DiscoveryObserver {
    fn received(&self, type_url: &str, bytes: usize) {
        if TYPES.contains(&type_url) {
            self.counters.count(|counted| {
                let (messages, total) = counted.received.entry(type_url.to_owned()).or_default();
                *messages += 1;
                *total += bytes as u64;
            });
        }
    }

    fn applied(&self) {
        // An engine that is stopped needs no news; the process is about to end.
        let _ = self.engine.send(Command::StateChanged);
        self.applied.notify_one();
    }

    fn rejected(&self, resources: &[(String, String)]) {
        self.counters
            .count(|counted| counted.rejected_resources += resources.len() as u64);
        for (name, problem) in resources {
            let fields = [
                ("resource", Value::Text(name.as_str())),
                ("error", Value::Text(problem.as_str())),
            ];
            self.log.warn(
                TARGET,
                "resource refused; its old version stays in force",
                &fields,
            );
        }
    }

    fn synced(&self) {
        self.log
            .info(TARGET, "discovery has delivered everything once", &[]);
        self.readiness.set(Part::StateManager, true);
        self.synced.notify_one();
    }

    fn terminated(&self, why: Termination, text: &str) {
        self.counters
            .count(|counted| *counted.terminations.entry(why.as_str()).or_default() += 1);
        let fields = [
            ("reason", Value::Text(why.as_str())),
            ("error", Value::Text(text)),
        ];
        match why {
            Termination::Complete | Termination::Reconnect => {
                self.log
                    .info(TARGET, "connection to discovery ended", &fields);
            }
            _ => self
                .log
                .warn(TARGET, "connection to discovery lost", &fields),
        }
    }
}

fn label(name: &str, value: &str) -> String {
    let mut text = String::new();
    push_label(&mut text, name, value);
    text
}
