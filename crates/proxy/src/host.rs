//! The engine as host of the pods that the node agent names.

use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;

use ambimesh_engine::{AddWorkload, Command, Engine, ListenerKind, PodInfo};
use ambimesh_netns::{ListenOptions, Namespace, listen};

use crate::config::WorkloadName;
use crate::ending::{Cause, EndSender};
use crate::zds::{Host, Pod, StartError};

/// Starts and stops pods in the engine.
pub(crate) struct EngineHost {
    /// The data path.
    pub(crate) engine: Arc<Engine>,
    /// How to listen in a pod whose agent made no listeners.
    pub(crate) options: ListenOptions,
    /// Where to say that a newer generation has taken over.
    pub(crate) ending: EndSender,
}

impl Host for EngineHost {
    fn start(&mut self, pod: &Pod) -> Result<(), StartError> {
        let copy = |descriptor: &dyn AsFd| {
            descriptor
                .as_fd()
                .try_clone_to_owned()
                .map_err(|e| StartError(format!("cannot copy a descriptor: {e}")))
        };
        let listeners = if pod.listeners.is_empty() {
            listen_in(&pod.namespace, self.options)?
        } else {
            let listeners = pod.listeners.iter().map(|(kind, socket)| Ok((*kind, copy(socket)?)));
            listeners.collect::<Result<_, StartError>>()?
        };
        let netns = Namespace::from_descriptor(copy(&pod.namespace)?)
            .map_err(|e| StartError(format!("cannot use the pod's network namespace: {e}")))?;
        let command = AddWorkload {
            uid: pod.uid.as_str().into(),
            pod: pod_info(&pod.name),
            netns: Some(netns),
            listeners,
        };
        let started = self.engine.send(Command::AddWorkload(command));
        started.map_err(|error| StartError(error.to_string()))
    }

    fn stop(&mut self, uid: &str) {
        // An engine that is stopped serves nobody.
        let _ = self.engine.send(Command::RemoveWorkload { uid: uid.into() });
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

/// Makes every listener of a pod inside its namespace.
///
/// # Errors
/// The namespace cannot be entered, or a port is taken. Nothing stays bound then.
pub(crate) fn listen_in(
    namespace: &Namespace,
    options: ListenOptions,
) -> Result<Vec<(ListenerKind, OwnedFd)>, StartError> {
    let listen_all = || {
        let one = |kind: ListenerKind| match listen(kind.port(), options) {
            Ok(socket) => Ok((kind, socket)),
            Err(error) => Err(StartError(format!("failed to bind to address [::]:{}: {error}", kind.port()))),
        };
        ListenerKind::ALL.into_iter().map(one).collect()
    };
    let visited = namespace.enter(listen_all);
    visited.map_err(|e| StartError(format!("cannot enter the pod's network namespace: {e}")))?
}
