//! What still has to happen before this process is ready.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

/// A part of the process that readiness waits for.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Part {
    /// Discovery has delivered every resource type once.
    StateManager,
    /// The data path serves.
    Proxy,
    /// The node agent's workloads are all running.
    WorkloadProxies,
}

impl Part {
    /// Its name in the answer of the readiness probe, as Istio has it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::StateManager => "state manager",
            Self::Proxy => "proxy",
            Self::WorkloadProxies => "workload proxy manager",
        }
    }
}

/// The set of parts that are not ready. Cheap to clone; all clones share it.
#[derive(Clone, Debug, Default)]
pub struct Readiness(Arc<Mutex<BTreeSet<Part>>>);

impl Readiness {
    /// Says whether `part` is ready.
    pub fn set(&self, part: Part, is_ready: bool) {
        let mut pending = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if is_ready {
            pending.remove(&part);
        } else {
            pending.insert(part);
        }
    }

    /// Names of what is missing, sorted; empty when ready.
    #[must_use]
    pub fn pending(&self) -> Vec<&'static str> {
        let pending = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut names: Vec<_> = pending.iter().map(|part| part.as_str()).collect();
        names.sort_unstable();
        names
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every part is named until it is ready, and again when it stops being so.
    #[test]
    fn parts_are_pending_until_they_are_ready() {
        let readiness = Readiness::default();
        readiness.set(Part::WorkloadProxies, false);
        readiness.set(Part::Proxy, false);
        assert_eq!(readiness.pending(), ["proxy", "workload proxy manager"]);

        readiness.set(Part::Proxy, true);
        readiness.set(Part::WorkloadProxies, true);

        assert!(readiness.pending().is_empty());
    }
}
