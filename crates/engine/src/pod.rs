//! Local pods and their listeners.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use ambimesh_netns::Namespace;
use ambimesh_policy::PolicySet;
use ambimesh_state::Workload;
use ambimesh_types::Identity;

use crate::command::{ListenerKind, PodInfo};
use crate::slots::Key;

/// A pod that is served.
pub(crate) struct Pod {
    pub(crate) uid: Arc<str>,
    pub(crate) info: PodInfo,
    /// `None`: our own namespace.
    pub(crate) netns: Option<Arc<Namespace>>,
    pub(crate) listeners: Vec<Key<Listener>>,
    /// What discovery knows about it, with its policies.
    pub(crate) known: Option<Known>,
}

/// A pod that discovery knows.
#[derive(Clone)]
pub(crate) struct Known {
    pub(crate) workload: Arc<Workload>,
    pub(crate) identity: Identity,
    pub(crate) policies: Arc<PolicySet>,
}

/// A listening socket that all workers share.
pub(crate) struct Listener {
    pub(crate) descriptor: Arc<OwnedFd>,
    pub(crate) kind: ListenerKind,
    pub(crate) pod: Key<Pod>,
}

impl Pod {
    /// Makes a socket where the pod lives.
    pub(crate) fn inside<T>(
        &self,
        home: &Namespace,
        make: impl FnOnce() -> io::Result<T>,
    ) -> io::Result<T> {
        match &self.netns {
            Some(netns) => netns.enter_from(home, make)?,
            None => make(),
        }
    }
}

impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.descriptor.as_fd()
    }
}
