//! Commands, and what a change of state means for what is open.

use std::sync::Arc;
use std::time::Instant;

use ambimesh_types::{CloseReason, Identity};

use crate::flow::Flow;
use crate::inbound::decide;
use crate::letter::{Arrival, Finished, Letter};
use crate::pod::{Known, Listener, Pod};
use crate::slots::Key;
use crate::tunnel::{Side, Tunnel};
use crate::worker::{Waiter, Worker};

/// A graceful end under way.
pub(crate) struct Drain {
    pub(crate) deadline: Instant,
    /// Dropped when this worker has nothing left.
    _finished: Arc<Finished>,
}

impl Worker {
    pub(crate) fn on_letter(&mut self, letter: Letter) {
        match letter {
            Letter::Add(arrival) => self.add_pod(&arrival),
            Letter::Remove(uid) => self.remove_pod(&uid),
            Letter::StateChanged => self.on_state_changed(),
            Letter::CertificatesChanged => self.ask_waiting(),
            Letter::Retire => self.retire(),
            Letter::Drain { deadline, finished } => self.begin_drain(deadline, finished),
            // Whoever asked may have lost patience.
            Letter::Connections(reply) => drop(reply.send(self.summaries())),
            Letter::Stop => self.stop(),
        }
    }

    fn stop(&mut self) {
        self.retire();
        self.end_everything("the node proxy stops");
        self.is_stopped = true;
    }

    fn end_everything(&mut self, detail: &str) {
        for flow in self.flows.keys_where(|_| true) {
            self.finish(flow, CloseReason::Drained, Some(detail));
        }
        for tunnel in self.tunnels.keys_where(|_| true) {
            self.close_tunnel(tunnel, CloseReason::Drained, detail);
        }
    }

    fn add_pod(&mut self, arrival: &Arrival) {
        self.remove_pod(&arrival.uid);
        let key = self.pods.insert(Pod {
            uid: Arc::clone(&arrival.uid),
            info: arrival.pod.clone(),
            netns: arrival.netns.clone(),
            listeners: Vec::new(),
            known: None,
        });
        self.pod_by_uid.insert(Arc::clone(&arrival.uid), key);
        self.snapshot = self.shared.state.load();
        self.look_up(key);
        for (kind, descriptor) in &arrival.listeners {
            let descriptor = Arc::clone(descriptor);
            let listener = self.listeners.insert(Listener {
                descriptor,
                kind: *kind,
                pod: key,
            });
            if let Some(pod) = self.pods.get_mut(key) {
                pod.listeners.push(listener);
            }
            self.watch_listener(listener);
        }
    }

    fn remove_pod(&mut self, uid: &str) {
        let Some(key) = self.pod_by_uid.remove(uid) else {
            return;
        };
        self.close_listeners(key);
        let detail = Some("workload is no longer captured here");
        for flow in self.flows.keys_where(|flow| flow.pod == key) {
            self.finish(flow, CloseReason::WorkloadRemoved, detail);
        }
        for tunnel in self.tunnels.keys_where(|tunnel| tunnel.pod == key) {
            self.close_tunnel(tunnel, CloseReason::WorkloadRemoved, "");
        }
        self.pods.remove(key);
    }

    /// Closes our copies; never `shutdown`, which would end listening for other generations.
    fn close_listeners(&mut self, pod: Key<Pod>) {
        let Some(pod) = self.pods.get_mut(pod) else {
            return;
        };
        for key in std::mem::take(&mut pod.listeners) {
            if let Some(listener) = self.listeners.remove(key) {
                self.poll.forget(&listener);
            }
        }
    }

    fn retire(&mut self) {
        for pod in self.pods.keys_where(|_| true) {
            self.close_listeners(pod);
        }
    }

    fn begin_drain(&mut self, deadline: Instant, finished: Arc<Finished>) {
        self.retire();
        for key in self.tunnels.keys_where(Tunnel::is_server) {
            if let Some(tunnel) = self.tunnels.get_mut(key) {
                tunnel.codec.drain();
            }
            self.settle_tunnel(key);
        }
        self.drain = Some(Drain {
            deadline,
            _finished: finished,
        });
    }

    /// Ends a drain when nothing is left, or when its time is over.
    pub(crate) fn check_drain(&mut self) {
        let Some(drain) = &self.drain else { return };
        if self.now >= drain.deadline {
            self.end_everything("connection failed to drain within the timeout");
        }
        if self.flows.is_empty() && self.servers == 0 {
            self.publish_active();
            self.drain = None;
        }
    }

    fn on_state_changed(&mut self) {
        self.snapshot = self.shared.state.load();
        for pod in self.pods.keys_where(|_| true) {
            let has_changed = self.look_up(pod);
            if has_changed {
                self.enforce_policies(pod);
            }
        }
        self.retire_orphans();
        self.ask_waiting();
    }

    /// Looks a pod up in discovery; returns whether its policies are others than before.
    ///
    /// A pod that discovery has forgotten takes no new connections; those that are open stay
    /// under the policies that were last known.
    fn look_up(&mut self, key: Key<Pod>) -> bool {
        let Some(pod) = self.pods.get_mut(key) else {
            return false;
        };
        let info = &pod.info;
        let found =
            self.snapshot
                .local_workload(&info.namespace, &info.name, &info.service_account);
        let known = found.map(|workload| Known {
            workload: Arc::clone(workload),
            identity: Identity::new(
                &workload.trust_domain,
                &info.namespace,
                &info.service_account,
            ),
            policies: Arc::new(self.snapshot.policies_of(workload)),
        });
        let old = std::mem::replace(&mut pod.known, known);
        match (&old, &pod.known) {
            (Some(old), Some(new)) => old.policies != new.policies,
            (None, Some(_)) => true,
            (_, None) => false,
        }
    }

    /// Ends what the pod's policies no longer allow.
    fn enforce_policies(&mut self, pod_key: Key<Pod>) {
        let Some(known) = self.pods.get(pod_key).and_then(|pod| pod.known.clone()) else {
            return;
        };
        let is_denied = |flow: &Flow| {
            let decision = decide(&flow.report.facts, &known);
            flow.pod == pod_key && flow.is_inbound() && decision.is_some_and(|d| !d.is_allowed())
        };
        for key in self.flows.keys_where(is_denied) {
            let detail = Some("connection closed due to policy change");
            self.finish(key, CloseReason::PolicyChanged, detail);
        }
    }

    /// Takes tunnels out of use whose destination discovery has withdrawn: its address may belong
    /// to another workload soon (design D6).
    fn retire_orphans(&mut self) {
        let snapshot = Arc::clone(&self.snapshot);
        let is_orphan = |tunnel: &Tunnel| match &tunnel.side {
            Side::Client { key, .. } => {
                !tunnel.is_retired() && snapshot.workload_by_uid(&key.workload).is_none()
            }
            Side::Server { .. } => false,
        };
        for key in self.tunnels.keys_where(is_orphan) {
            self.retire_tunnel(key);
        }
    }

    /// Lets everybody who waits try again.
    fn ask_waiting(&mut self) {
        for waiter in std::mem::take(&mut self.waiting) {
            match waiter {
                Waiter::Flow(key) => self.admit_flow(key),
                Waiter::Tunnel(key) => self.admit_tunnel(key),
            }
        }
    }
}
