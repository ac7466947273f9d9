//! The handle that the rest of the node proxy holds.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use ambimesh_netns as netns;
use ambimesh_netns::Namespace;
use ambimesh_state::Published;

use crate::certificates::Certificates;
use crate::command::{AddWorkload, Command, CommandError, ListenerKind};
use crate::letter::{Arrival, Finished, Letter};
use crate::mailbox::Mailbox;
use crate::settings::Settings;
use crate::telemetry::{ConnectionSummary, Telemetry};
use crate::worker::Worker;

/// What all workers share.
#[derive(Clone)]
pub struct Shared {
    /// Settings.
    pub settings: Arc<Settings>,
    /// What discovery says.
    pub state: Arc<Published>,
    /// Certificates of local identities.
    pub certificates: Arc<dyn Certificates>,
    /// Where reports go.
    pub telemetry: Arc<dyn Telemetry>,
}

/// The running data path. Dropping it stops the workers and closes every connection.
pub struct Engine {
    shared: Shared,
    workers: Vec<Handle>,
}

struct Handle {
    mailbox: Arc<Mailbox<Letter>>,
    active: Arc<AtomicUsize>,
    thread: Option<JoinHandle<()>>,
}

/// How long the listing of connections waits for a worker.
const LISTING_PATIENCE: Duration = Duration::from_secs(1);

impl Engine {
    /// Starts the workers.
    ///
    /// # Errors
    /// No thread, or no descriptor for a worker's event queue.
    pub fn start(workers: usize, shared: &Shared) -> io::Result<Self> {
        let mut engine = Self {
            shared: shared.clone(),
            workers: Vec::new(),
        };
        for index in 0..workers.max(1) {
            engine.workers.push(Handle::start(index, shared.clone())?);
        }
        Ok(engine)
    }

    /// Gives every worker something to do.
    ///
    /// Blocking: makes missing listeners of an added pod on this thread, inside its namespace;
    /// never waits for workers.
    ///
    /// # Errors
    /// See [`CommandError`]; nothing was done then.
    pub fn send(&self, command: Command) -> Result<(), CommandError> {
        if !self.is_running() {
            return Err(CommandError::Stopped);
        }
        match command {
            Command::AddWorkload(add) => {
                let arrival = Arc::new(self.arrival(add)?);
                self.post(|| Letter::Add(Arc::clone(&arrival)));
            }
            Command::RemoveWorkload { uid } => self.post(|| Letter::Remove(Arc::clone(&uid))),
            Command::StateChanged => self.post(|| Letter::StateChanged),
            Command::CertificatesChanged => self.post(|| Letter::CertificatesChanged),
            Command::Retire => self.post(|| Letter::Retire),
            Command::Drain { within, finished } => {
                let deadline = Instant::now() + within;
                let finished = Arc::new(Finished::new(finished));
                self.post(|| Letter::Drain {
                    deadline,
                    finished: Arc::clone(&finished),
                });
            }
        }
        Ok(())
    }

    /// Whether every worker is there. One that is not has panicked: end the process, the agent
    /// starts another generation.
    #[must_use]
    pub fn is_running(&self) -> bool {
        !self.workers.iter().any(Handle::is_gone)
    }

    /// Every open flow of every worker.
    ///
    /// Blocking: until each worker has answered, at most a second; slower ones are left out.
    #[must_use]
    pub fn connections(&self) -> Vec<ConnectionSummary> {
        let (reply, answers) = mpsc::channel();
        self.post(|| Letter::Connections(reply.clone()));
        drop(reply);
        let deadline = Instant::now() + LISTING_PATIENCE;
        let next = || {
            answers
                .recv_timeout(deadline.saturating_duration_since(Instant::now()))
                .ok()
        };
        std::iter::from_fn(next).flatten().collect()
    }

    /// How many flows and arrived tunnels are open now.
    #[must_use]
    pub fn active(&self) -> usize {
        self.workers
            .iter()
            .map(|worker| worker.active.load(Ordering::Relaxed))
            .sum()
    }

    /// Stops the workers and waits for them. Connections still open are reset.
    pub fn stop(self) {
        drop(self);
    }

    fn post(&self, letter: impl Fn() -> Letter) {
        for worker in &self.workers {
            let letter = letter();
            let is_same_change = letter.same_change();
            worker.mailbox.post(letter, is_same_change);
        }
    }

    /// Makes the listeners that the agent did not send.
    fn arrival(&self, add: AddWorkload) -> Result<Arrival, CommandError> {
        let mut listeners: Vec<(ListenerKind, Arc<OwnedFd>)> = add
            .listeners
            .into_iter()
            .map(|(kind, fd)| (kind, Arc::new(fd)))
            .collect();
        let is_there = |kind| listeners.iter().any(|(there, _)| *there == kind);
        let missing: Vec<_> = ListenerKind::ALL
            .into_iter()
            .filter(|kind| !is_there(*kind))
            .collect();
        for (kind, made) in self.listen(add.netns.as_ref(), &missing)? {
            listeners.push((kind, Arc::new(made)));
        }
        let netns = add.netns.map(Arc::new);
        Ok(Arrival {
            uid: add.uid,
            pod: add.pod,
            netns,
            listeners,
        })
    }

    fn listen(
        &self,
        netns: Option<&Namespace>,
        kinds: &[ListenerKind],
    ) -> Result<Vec<(ListenerKind, OwnedFd)>, CommandError> {
        if kinds.is_empty() {
            return Ok(Vec::new());
        }
        let options = self.shared.settings.listen_options();
        let listen = || {
            let one = |kind: &ListenerKind| {
                let port = kind.port();
                let made = netns::listen(port, options);
                made.map(|fd| (*kind, fd))
                    .map_err(|source| CommandError::Bind { port, source })
            };
            kinds.iter().map(one).collect()
        };
        match netns {
            Some(netns) => netns.enter(listen).map_err(CommandError::Namespace)?,
            None => listen(),
        }
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        self.post(|| Letter::Stop);
        for worker in &mut self.workers {
            if let Some(thread) = worker.thread.take() {
                // A worker that panicked has said so on its own.
                let _ = thread.join();
            }
        }
    }
}

impl Handle {
    fn start(index: usize, shared: Shared) -> io::Result<Self> {
        let mailbox = Arc::new(Mailbox::new()?);
        let active = Arc::new(AtomicUsize::new(0));
        let mut worker = Worker::new(index, shared, Arc::clone(&mailbox), Arc::clone(&active))?;
        let run = move || {
            // Fails only when the event queue itself is broken; the handle sees the thread gone.
            let _ = worker.run();
        };
        let thread = thread::Builder::new()
            .name(format!("worker-{index}"))
            .spawn(run)?;
        Ok(Self {
            mailbox,
            active,
            thread: Some(thread),
        })
    }

    fn is_gone(&self) -> bool {
        self.thread.as_ref().is_none_or(JoinHandle::is_finished)
    }
}
