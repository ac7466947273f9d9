//! What is in a worker's mailbox.

use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::mpsc::Sender;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use ambimesh_netns::Namespace;

use crate::command::{ListenerKind, PodInfo};
use crate::telemetry::ConnectionSummary;

/// A command on its way to one worker.
pub(crate) enum Letter {
    Add(Arc<Arrival>),
    Remove(Arc<str>),
    StateChanged,
    CertificatesChanged,
    Retire,
    Drain {
        deadline: Instant,
        finished: Arc<Finished>,
    },
    Connections(Sender<Vec<ConnectionSummary>>),
    Stop,
}

/// A pod to serve, with all its listeners made.
pub(crate) struct Arrival {
    pub(crate) uid: Arc<str>,
    pub(crate) pod: PodInfo,
    pub(crate) netns: Option<Arc<Namespace>>,
    pub(crate) listeners: Vec<(ListenerKind, Arc<OwnedFd>)>,
}

/// Calls back when the last worker that holds it lets go.
pub(crate) struct Finished(Mutex<Option<Box<dyn FnOnce() + Send>>>);

impl Finished {
    pub(crate) fn new(finished: Box<dyn FnOnce() + Send>) -> Self {
        Self(Mutex::new(Some(finished)))
    }
}

impl Drop for Finished {
    fn drop(&mut self) {
        if let Some(finished) = self
            .0
            .get_mut()
            .unwrap_or_else(PoisonError::into_inner)
            .take()
        {
            finished();
        }
    }
}

impl Letter {
    /// Tells whether a waiting letter makes this one superfluous.
    pub(crate) fn same_change(&self) -> fn(&Self) -> bool {
        match self {
            Self::StateChanged => |waiting| matches!(waiting, Self::StateChanged),
            Self::CertificatesChanged => |waiting| matches!(waiting, Self::CertificatesChanged),
            _ => |_| false,
        }
    }
}
