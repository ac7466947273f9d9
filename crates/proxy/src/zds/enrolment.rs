//! Which pods run: the state machine of the node agent's protocol.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;
use std::time::{Duration, Instant};

use ambimesh_netns::NamespaceId;

use super::message::{Pod, Request};
use super::roster::Roster;

/// How long after a failed start all pending pods are tried again.
pub(super) const RETRY_EVERY: Duration = Duration::from_secs(5);

/// What enrolment makes happen.
pub trait Host {
    /// Starts serving a pod: all of its listeners accept when this returns.
    ///
    /// The descriptors stay the pod's; a host keeps copies. Blocking: must answer well within the
    /// node agent's five seconds.
    ///
    /// # Errors
    /// The pod is not served, and nothing of it is left behind.
    fn start(&mut self, pod: &Pod) -> Result<(), StartError>;

    /// Stops serving a pod at once, with its connections. Unknown pods are no error.
    fn stop(&mut self, uid: &str);

    /// Stops accepting for every pod and lets connections end by themselves.
    fn retire(&mut self);
}

/// Why a pod could not be started.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{0}")]
pub struct StartError(pub String);

/// The answer to one request.
#[derive(Debug, Eq, PartialEq)]
pub(super) enum Reply {
    /// It is as asked.
    Ack,
    /// It is not, and the text says why; the connection goes on.
    Nack(String),
    /// The agent broke the protocol: say so and connect again.
    NackAndReconnect(String),
}

/// What the agent has told us on this connection so far.
#[derive(Debug)]
enum Snapshot {
    /// No connection, or its snapshot is not complete: these pods were named.
    Partial(BTreeSet<String>),
    /// Everything was named; from now on there are changes.
    Complete,
}

/// Every pod of this node that we serve or would like to.
pub struct Enrolment<H> {
    host: H,
    running: HashMap<String, NamespaceId>,
    /// Pods whose start failed. They hold their descriptors, so they must go as soon as the pod does.
    pending: BTreeMap<String, Pod>,
    snapshot: Snapshot,
    retry_at: Option<Instant>,
    is_retired: bool,
    roster: Roster,
}

impl<H: Host> Enrolment<H> {
    /// Nothing runs yet.
    pub fn new(host: H, roster: Roster) -> Self {
        Self {
            host,
            running: HashMap::new(),
            pending: BTreeMap::new(),
            snapshot: Snapshot::Partial(BTreeSet::new()),
            retry_at: None,
            is_retired: false,
            roster,
        }
    }

    /// A new connection: the agent names every pod again. What runs keeps running.
    pub(super) fn connected(&mut self) {
        self.forget_pending();
        self.snapshot = Snapshot::Partial(BTreeSet::new());
    }

    /// The connection is gone. What runs keeps running.
    pub(super) fn disconnected(&mut self) {
        self.connected();
    }

    /// Does what one request asks.
    pub(super) fn handle(&mut self, request: Request, now: Instant) -> Reply {
        match request {
            Request::Add(pod) => self.add(pod, now),
            Request::Keep(uid) => match &mut self.snapshot {
                Snapshot::Partial(named) => {
                    named.insert(uid);
                    Reply::Ack
                }
                Snapshot::Complete => protocol_error("keep after the snapshot"),
            },
            Request::Remove(uid) => {
                self.remove(&uid);
                Reply::Ack
            }
            Request::SnapshotSent => self.complete_snapshot(),
            Request::Retire => {
                self.is_retired = true;
                self.forget_pending();
                self.host.retire();
                Reply::Ack
            }
        }
    }

    /// When [`Self::retry`] wants to be called.
    pub(super) fn retry_at(&self) -> Option<Instant> {
        self.retry_at
    }

    /// Tries every pending pod again.
    pub(super) fn retry(&mut self, now: Instant) {
        self.retry_at = None;
        for (_, pod) in std::mem::take(&mut self.pending) {
            let _ = self.start(pod, now);
        }
    }

    /// Whether every pod the agent named is served.
    pub fn is_ready(&self) -> bool {
        matches!(self.snapshot, Snapshot::Complete) && self.pending.is_empty() && !self.is_retired
    }

    /// Whether a newer generation has taken over.
    pub fn is_retired(&self) -> bool {
        self.is_retired
    }

    fn add(&mut self, pod: Pod, now: Instant) -> Reply {
        if self.is_retired {
            return Reply::Nack("failure to start proxy : this generation is retired".to_owned());
        }
        if let Snapshot::Partial(named) = &mut self.snapshot {
            named.insert(pod.uid.clone());
        }
        match self.start(pod, now) {
            Ok(()) => Reply::Ack,
            Err(error) => Reply::Nack(format!("failure to start proxy : {error}")),
        }
    }

    fn start(&mut self, pod: Pod, now: Instant) -> Result<(), StartError> {
        match self.running.get(&pod.uid) {
            Some(namespace) if *namespace == pod.namespace.id() => {
                self.pending.remove(&pod.uid);
                return Ok(());
            }
            // The same pod with a new sandbox: its old sockets are in a namespace nobody uses.
            Some(_) => self.stop(&pod.uid.clone()),
            None => {}
        }
        match self.host.start(&pod) {
            Ok(()) => {
                self.pending.remove(&pod.uid);
                self.roster.started(&pod.uid, &pod.name);
                self.running.insert(pod.uid, pod.namespace.id());
                Ok(())
            }
            Err(error) => {
                self.roster.pending(&pod.uid, &pod.name);
                self.pending.insert(pod.uid.clone(), pod);
                self.retry_at.get_or_insert(now + RETRY_EVERY);
                Err(error)
            }
        }
    }

    fn remove(&mut self, uid: &str) {
        if self.pending.remove(uid).is_some() && !self.running.contains_key(uid) {
            self.roster.forget(uid);
        }
        match &mut self.snapshot {
            // What is not named when the snapshot is complete is stopped then.
            Snapshot::Partial(named) if !self.is_retired => {
                named.remove(uid);
            }
            _ => self.stop(uid),
        }
    }

    fn complete_snapshot(&mut self) -> Reply {
        let Snapshot::Partial(named) = std::mem::replace(&mut self.snapshot, Snapshot::Complete)
        else {
            return protocol_error("a second snapshot sent on one connection");
        };
        let gone: Vec<String> = self
            .running
            .keys()
            .filter(|uid| !named.contains(*uid))
            .cloned()
            .collect();
        for uid in gone {
            self.stop(&uid);
        }
        Reply::Ack
    }

    fn stop(&mut self, uid: &str) {
        if self.running.remove(uid).is_some() {
            self.host.stop(uid);
            self.roster.stopped(uid);
        }
    }

    fn forget_pending(&mut self) {
        for uid in std::mem::take(&mut self.pending).into_keys() {
            self.roster.forget(&uid);
        }
        self.retry_at = None;
    }
}

impl<H> fmt::Debug for Enrolment<H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Enrolment")
            .field("running", &self.running.keys())
            .field("pending", &self.pending.keys())
            .field("snapshot", &self.snapshot)
            .finish_non_exhaustive()
    }
}

fn protocol_error(what: &str) -> Reply {
    Reply::NackAndReconnect(format!(
        "failure to process message : protocol error: {what}"
    ))
}
