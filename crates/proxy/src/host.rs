//! The engine as host of the pods that the node agent names.

use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;

use ambimesh_engine::{AddWorkload, Command, Engine, PodInfo};
use ambimesh_netns::Namespace;

use crate::config::WorkloadName;
use crate::ending::{Cause, EndSender};
use crate::zds::{Host, Pod, StartError};

/// Starts and stops pods in the engine.
pub(crate) struct EngineHost {
    /// The data path. It makes the listeners that the agent did not.
    pub(crate) engine: Arc<Engine>,
    /// Where to say that a newer generation has taken over.
    pub(crate) ending: EndSender,
}

impl Host for EngineHost {
    fn start(&mut self, pod: &Pod) -> Result<(), StartError> {
        let listeners = pod
            .listeners
            .iter()
            .map(|(kind, socket)| Ok((*kind, copy(socket)?)));
        let netns = Namespace::from_descriptor(copy(&pod.namespace)?)
            .map_err(|e| StartError(format!("cannot use the pod's network namespace: {e}")))?;
        let command = AddWorkload {
            uid: pod.uid.as_str().into(),
            pod: pod_info(&pod.name),
            netns: Some(netns),
            listeners: listeners.collect::<Result<_, StartError>>()?,
        };
        let started = self.engine.send(Command::AddWorkload(command));
        started.map_err(|error| StartError(error.to_string()))
    }

    fn stop(&mut self, uid: &str) {
        // An engine that is stopped serves nobody.
        let _ = self
            .engine
            .send(Command::RemoveWorkload { uid: uid.into() });
    }

    fn retire(&mut self) {
        let _ = self.engine.send(Command::Retire);
        self.ending.end(Cause::Retired);
    }
}

/// A workload's name as the engine wants it.
pub(crate) fn pod_info(name: &WorkloadName) -> PodInfo {
    PodInfo {
        name: name.name.as_str().into(),
        namespace: name.namespace.as_str().into(),
        service_account: name.service_account.as_str().into(),
    }
}

fn copy(descriptor: &impl AsFd) -> Result<OwnedFd, StartError> {
    let copied = descriptor.as_fd().try_clone_to_owned();
    copied.map_err(|e| StartError(format!("cannot copy a descriptor: {e}")))
}
