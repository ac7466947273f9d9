//! The pods we were asked to serve, as metrics and `/config_dump` show them.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::Notify;

use crate::config::WorkloadName;

/// Whether a pod is being served.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum RunState {
    /// All its listeners accept.
    Up,
    /// It could not be started; tried again every few seconds.
    Pending,
}

impl RunState {
    /// Its spelling in `/config_dump`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Up => "Up",
            Self::Pending => "Pending",
        }
    }
}

/// One pod.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Entry {
    /// Who it is.
    pub name: WorkloadName,
    /// Whether it is served.
    pub state: RunState,
}

/// Written by the ZDS thread, read by metrics and admin. Cheap to clone; all clones share it.
#[derive(Clone, Debug, Default)]
pub struct Roster(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    pods: Mutex<BTreeMap<String, Entry>>,
    started: AtomicU64,
    stopped: AtomicU64,
    changed: Notify,
}

impl Roster {
    /// Every pod by its uid.
    #[must_use]
    pub fn pods(&self) -> BTreeMap<String, Entry> {
        self.0
            .pods
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Pods in this state.
    #[must_use]
    pub fn count(&self, state: RunState) -> usize {
        let pods = self.0.pods.lock().unwrap_or_else(PoisonError::into_inner);
        pods.values().filter(|entry| entry.state == state).count()
    }

    /// Pods started and stopped since the process began.
    #[must_use]
    pub fn totals(&self) -> (u64, u64) {
        (
            self.0.started.load(Ordering::Relaxed),
            self.0.stopped.load(Ordering::Relaxed),
        )
    }

    /// Waits for a change since the last wait. For one waiter.
    pub(crate) async fn wait_changed(&self) {
        self.0.changed.notified().await;
    }

    pub(crate) fn started(&self, uid: &str, name: &WorkloadName) {
        self.0.started.fetch_add(1, Ordering::Relaxed);
        self.put(uid, name, RunState::Up);
    }

    pub(crate) fn pending(&self, uid: &str, name: &WorkloadName) {
        self.put(uid, name, RunState::Pending);
    }

    pub(crate) fn stopped(&self, uid: &str) {
        self.0.stopped.fetch_add(1, Ordering::Relaxed);
        self.forget(uid);
    }

    pub(crate) fn forget(&self, uid: &str) {
        self.0
            .pods
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(uid);
        self.0.changed.notify_one();
    }

    fn put(&self, uid: &str, name: &WorkloadName, state: RunState) {
        let entry = Entry {
            name: name.clone(),
            state,
        };
        self.0
            .pods
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(uid.to_owned(), entry);
        self.0.changed.notify_one();
    }
}
