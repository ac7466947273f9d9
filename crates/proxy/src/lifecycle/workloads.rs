//! Where the pods to serve come from: the node agent, or one fixed pod.

use std::io;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread::JoinHandle;

use ambimesh_engine::{AddWorkload, Command, CommandError, Engine, ListenerKind};
use ambimesh_netns::{ListenOptions, listen};

use super::{Control, LifeError, settings};
use crate::config::{Mode, WorkloadName};
use crate::ending::EndSender;
use crate::host::{EngineHost, pod_info};
use crate::zds::{Client, Enrolment, Roster, Wake};

/// The source of pods. Pods are served from the first complete state on: before that, connections
/// wait in the kernel's queue.
pub(super) enum Workloads {
    /// Pods that the node agent names.
    Agent(Agent),
    /// One pod, our own namespace.
    Fixed(Fixed),
}

/// The client of the node agent, before and while it runs.
pub(super) struct Agent {
    waiting: Option<Client<EngineHost>>,
    thread: Option<JoinHandle<()>>,
    wake: Wake,
}

/// The pod of dedicated mode, with its listeners until they are served.
pub(super) struct Fixed {
    workload: WorkloadName,
    listeners: Vec<(ListenerKind, OwnedFd)>,
    roster: Roster,
}

impl Workloads {
    /// Prepares the source. In dedicated mode this binds the listeners, so that connections wait
    /// instead of being refused.
    pub(super) fn start(control: &Control, ending: EndSender) -> Result<Self, LifeError> {
        match &control.config.mode {
            Mode::Shared { zds_socket } => {
                Agent::prepare(control, zds_socket.clone(), ending).map(Self::Agent)
            }
            Mode::Dedicated { workload } => {
                let listeners = listen_all(settings::listeners(&control.config.sockets))?;
                let roster = control.roster.clone();
                Ok(Self::Fixed(Fixed {
                    workload: workload.clone(),
                    listeners,
                    roster,
                }))
            }
        }
    }

    /// Begins to serve.
    pub(super) fn serve(&mut self, engine: &Engine) -> Result<(), LifeError> {
        match self {
            Self::Agent(agent) => agent.start(),
            Self::Fixed(fixed) => fixed.start(engine),
        }
    }

    /// Takes no more pods. Blocking: until the client's thread has seen it, which is at once.
    pub(super) fn finish(&mut self) {
        if let Self::Agent(agent) = self {
            agent.wake.wake();
            agent.waiting = None;
            if let Some(thread) = agent.thread.take() {
                // A client that panicked has said so by itself.
                let _ = thread.join();
            }
        }
    }
}

impl Agent {
    fn prepare(control: &Control, path: PathBuf, ending: EndSender) -> Result<Self, LifeError> {
        let starting = |source| LifeError::Start {
            what: "wake-up of the node agent's client",
            source,
        };
        let wake = Wake::new().map_err(starting)?;
        let host = EngineHost {
            engine: Arc::clone(&control.engine),
            ending,
        };
        let client = Client {
            path,
            enrolment: Enrolment::new(host, control.roster.clone()),
            readiness: control.readiness.clone(),
            log: control.log.clone(),
            wake: wake.clone(),
        };
        Ok(Self {
            waiting: Some(client),
            thread: None,
            wake,
        })
    }

    fn start(&mut self) -> Result<(), LifeError> {
        let Some(client) = self.waiting.take() else {
            return Ok(());
        };
        let thread = std::thread::Builder::new()
            .name("zds".to_owned())
            .spawn(|| client.run());
        self.thread = Some(thread.map_err(|source| LifeError::Start {
            what: "node agent's client",
            source,
        })?);
        Ok(())
    }
}

impl Fixed {
    fn start(&mut self, engine: &Engine) -> Result<(), LifeError> {
        let WorkloadName {
            namespace, name, ..
        } = &self.workload;
        let uid = format!("{namespace}/{name}");
        let command = AddWorkload {
            uid: uid.as_str().into(),
            pod: pod_info(&self.workload),
            netns: None,
            listeners: std::mem::take(&mut self.listeners),
        };
        let added = engine.send(Command::AddWorkload(command));
        added.map_err(|error| match error {
            CommandError::Stopped => LifeError::EngineStopped,
            error => LifeError::Workload(error.to_string()),
        })?;
        self.roster.started(&uid, &self.workload);
        Ok(())
    }
}

fn listen_all(options: ListenOptions) -> Result<Vec<(ListenerKind, OwnedFd)>, LifeError> {
    let one = |kind: ListenerKind| match listen(kind.port(), options) {
        Ok(listener) => Ok((kind, listener)),
        Err(source) => Err(bind_error(kind.port(), source)),
    };
    ListenerKind::ALL.into_iter().map(one).collect()
}

fn bind_error(port: u16, source: io::Error) -> LifeError {
    LifeError::Bind { port, source }
}
