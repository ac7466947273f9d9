//! What the rest of the node proxy tells the workers.

use std::fmt;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

use ambimesh_netns::Namespace;

/// Which of a pod's listeners a socket is.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum ListenerKind {
    /// 15001: connections that the pod's applications open.
    Outbound,
    /// 15006: plaintext connections that arrive for the pod.
    Plaintext,
    /// 15008: tunnels that arrive for the pod.
    Tunnel,
}

impl ListenerKind {
    /// Every kind, in the order in which sockets are made.
    pub const ALL: [Self; 3] = [Self::Tunnel, Self::Plaintext, Self::Outbound];

    /// The port that it listens on. Source: node-proxy specification §1.
    #[must_use]
    pub fn port(self) -> u16 {
        match self {
            Self::Outbound => 15001,
            Self::Plaintext => 15006,
            Self::Tunnel => 15008,
        }
    }
}

/// Which pod a workload is, as the node agent says.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct PodInfo {
    /// The pod's name.
    pub name: Arc<str>,
    /// Its Kubernetes namespace.
    pub namespace: Arc<str>,
    /// Its service account.
    pub service_account: Arc<str>,
}

/// A pod to serve from now on.
#[derive(Debug)]
pub struct AddWorkload {
    /// The Kubernetes uid of the pod: the key for [`Command::RemoveWorkload`].
    pub uid: Arc<str>,
    /// Which pod it is.
    pub pod: PodInfo,
    /// Its network namespace; `None` in dedicated mode: our own.
    pub netns: Option<Namespace>,
    /// Listening sockets that the agent made. Those of [`ListenerKind::ALL`] that are missing are
    /// made here.
    pub listeners: Vec<(ListenerKind, OwnedFd)>,
}

/// One thing to do for every worker.
#[non_exhaustive]
pub enum Command {
    /// Serve a pod. A pod that is served already under this uid is replaced.
    AddWorkload(AddWorkload),
    /// Stop serving a pod and end its connections.
    RemoveWorkload {
        /// The pod's uid.
        uid: Arc<str>,
    },
    /// A new snapshot was published.
    StateChanged,
    /// A certificate arrived, was renewed, or failed.
    CertificatesChanged,
    /// Another generation accepts now: close our listeners, keep everything open.
    Retire,
    /// [`Command::Retire`], ask peers to take their new streams elsewhere, and end what is left
    /// after a while.
    Drain {
        /// When to stop waiting.
        within: Duration,
        /// Called once, on any thread, after the last connection ended.
        finished: Box<dyn FnOnce() + Send>,
    },
}

impl fmt::Debug for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AddWorkload(add) => f.debug_tuple("AddWorkload").field(add).finish(),
            Self::RemoveWorkload { uid } => f.debug_tuple("RemoveWorkload").field(uid).finish(),
            Self::StateChanged => f.write_str("StateChanged"),
            Self::CertificatesChanged => f.write_str("CertificatesChanged"),
            Self::Retire => f.write_str("Retire"),
            Self::Drain { within, .. } => f.debug_tuple("Drain").field(within).finish(),
        }
    }
}

/// Why a command was not taken.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CommandError {
    /// A listener could not be made. Nothing of the pod is served.
    #[error("failed to bind to port {port}: {source}")]
    Bind {
        /// The port.
        port: u16,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
    /// The pod's network namespace cannot be entered.
    #[error("cannot enter the pod's network namespace: {0}")]
    Namespace(#[source] io::Error),
    /// The engine was stopped.
    #[error("engine is stopped")]
    Stopped,
}
