//! One thread's event loop, and everything it owns.

use std::collections::{HashMap, VecDeque};
use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use ambimesh_netns::{ConnectOptions, Namespace};
use ambimesh_state::Snapshot;
use rand::SeedableRng;
use rand::rngs::SmallRng;
use rustix::event::epoll::EventFlags;

use crate::buffers::Buffers;
use crate::change::Drain;
use crate::engine::Shared;
use crate::flow::{Far, Flow};
use crate::letter::Letter;
use crate::mailbox::Mailbox;
use crate::pod::{Listener, Pod};
use crate::poll::{Poll, Token};
use crate::pool::Pool;
use crate::slots::{Key, Slots};
use crate::timer::{TimerKind, Timers};
use crate::tunnel::Tunnel;

/// One worker. Nothing of it is ever seen by another thread.
pub(crate) struct Worker {
    pub(crate) index: usize,
    /// Where this thread is whenever it does not visit a pod.
    home: Namespace,
    pub(crate) shared: Shared,
    pub(crate) mailbox: Arc<Mailbox<Letter>>,
    pub(crate) poll: Poll,
    pub(crate) timers: Timers<Target>,
    pub(crate) buffers: Buffers,
    /// When the current round began; good enough for deadlines.
    pub(crate) now: Instant,
    /// What discovery said at the last change.
    pub(crate) snapshot: Arc<Snapshot>,
    pub(crate) random: SmallRng,
    pub(crate) pods: Slots<Pod>,
    pub(crate) pod_by_uid: HashMap<Arc<str>, Key<Pod>>,
    pub(crate) listeners: Slots<Listener>,
    pub(crate) flows: Slots<Flow>,
    pub(crate) tunnels: Slots<Tunnel>,
    /// How many tunnels are arrived ones.
    pub(crate) servers: usize,
    pub(crate) pool: Pool,
    /// Whoever waits for discovery or a certificate; asked again after each change.
    pub(crate) waiting: Vec<Waiter>,
    /// What can go on without an event. Done in the next round, after whoever has events.
    pub(crate) agenda: VecDeque<Work>,
    pub(crate) drain: Option<Drain>,
    pub(crate) active: Arc<AtomicUsize>,
    pub(crate) is_stopped: bool,
}

/// Something to go on with.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Work {
    Flow(Key<Flow>),
    /// Find the flow a tunnel.
    Join(Key<Flow>),
    Tunnel(Key<Tunnel>),
}

/// Whose time passes.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Target {
    Flow(Key<Flow>),
    Tunnel(Key<Tunnel>),
    Listener(Key<Listener>),
    Worker,
}

/// Who waits for discovery or a certificate.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Waiter {
    Flow(Key<Flow>),
    Tunnel(Key<Tunnel>),
}

/// Waiters that are not worth clearing away.
const WAITING_SLACK: usize = 256;

impl Worker {
    /// Prepares a worker; the thread that runs it must be started from the calling one, so that
    /// it is in the same namespace.
    pub(crate) fn new(
        index: usize,
        shared: Shared,
        mailbox: Arc<Mailbox<Letter>>,
        active: Arc<AtomicUsize>,
    ) -> io::Result<Self> {
        let poll = Poll::new()?;
        poll.watch_shared(&*mailbox, Token::Mailbox)?;
        let timers = Timers::new(&shared.settings);
        let snapshot = shared.state.load();
        Ok(Self {
            index,
            home: Namespace::current()?,
            shared,
            mailbox,
            poll,
            timers,
            buffers: Buffers::new(),
            now: Instant::now(),
            snapshot,
            random: SmallRng::from_os_rng(),
            pods: Slots::new(),
            pod_by_uid: HashMap::new(),
            listeners: Slots::new(),
            flows: Slots::new(),
            tunnels: Slots::new(),
            servers: 0,
            pool: Pool::default(),
            waiting: Vec::new(),
            agenda: VecDeque::new(),
            drain: None,
            active,
            is_stopped: false,
        })
    }

    /// Runs until told to stop.
    ///
    /// # Errors
    /// The event queue is broken; nothing can go on then.
    pub(crate) fn run(&mut self) -> io::Result<()> {
        self.timers
            .set(TimerKind::Progress, self.now, Target::Worker);
        while !self.is_stopped {
            self.poll.wait(self.patience())?;
            self.now = Instant::now();
            while let Some((token, event)) = self.poll.pop() {
                self.on_event_of(token, event);
            }
            while let Some((kind, target)) = self.timers.take_due(self.now) {
                self.on_timer(kind, target);
            }
            self.work_agenda();
            self.check_drain();
            self.publish_active();
        }
        Ok(())
    }

    /// Lets others see how much is open.
    pub(crate) fn publish_active(&self) {
        self.active
            .store(self.flows.len() + self.servers, Ordering::Relaxed);
    }

    /// How long nothing needs to be done.
    fn patience(&self) -> Option<Duration> {
        if !self.agenda.is_empty() {
            return Some(Duration::ZERO);
        }
        let drain = self.drain.as_ref().map(|drain| drain.deadline);
        let next = self.timers.next().into_iter().chain(drain).min()?;
        Some(next.saturating_duration_since(Instant::now()))
    }

    fn on_event_of(&mut self, token: Token, event: EventFlags) {
        match token {
            Token::Mailbox => {
                for letter in self.mailbox.take() {
                    self.on_letter(letter);
                }
            }
            Token::Listener(key) => self.accept(key),
            Token::Tunnel(key) => {
                if let Some(tunnel) = self.tunnels.get_mut(key) {
                    tunnel.socket.note(event);
                    self.drive_tunnel(key);
                }
            }
            Token::Near(key) => {
                if let Some(Flow {
                    near: Some(near), ..
                }) = self.flows.get_mut(key)
                {
                    near.note(event);
                    self.drive_flow(key);
                }
            }
            Token::Far(key) => {
                if let Some(Flow {
                    far: Far::Socket(far),
                    ..
                }) = self.flows.get_mut(key)
                {
                    far.note(event);
                    self.drive_flow(key);
                }
            }
        }
    }

    fn on_timer(&mut self, kind: TimerKind, target: Target) {
        match target {
            Target::Flow(key) => self.on_flow_timer(key, kind),
            Target::Tunnel(key) => self.on_tunnel_timer(key, kind),
            Target::Listener(key) => self.watch_listener(key),
            Target::Worker => self.report_progress(),
        }
    }

    /// Remembers who waits for discovery or a certificate.
    pub(crate) fn wait_for_change(&mut self, waiter: Waiter) {
        // Without a change nobody takes out those whose time is over: do it when most are.
        let alive = self.flows.len() + self.tunnels.len();
        if self.waiting.len() > 2 * alive + WAITING_SLACK {
            let (flows, tunnels) = (&self.flows, &self.tunnels);
            self.waiting.retain(|waiter| match waiter {
                Waiter::Flow(key) => flows.get(*key).is_some(),
                Waiter::Tunnel(key) => tunnels.get(*key).is_some(),
            });
        }
        self.waiting.push(waiter);
    }

    /// Does what is on the agenda now; what comes meanwhile is for the next round.
    fn work_agenda(&mut self) {
        for work in std::mem::take(&mut self.agenda) {
            match work {
                Work::Flow(key) => self.drive_flow(key),
                Work::Join(key) => self.join_with_certificate(key),
                Work::Tunnel(key) => self.drive_tunnel(key),
            }
        }
    }

    /// Makes a socket in a pod's namespace, with the options of every socket of ours.
    pub(crate) fn connect_inside(
        &self,
        pod: Key<Pod>,
        connect: impl FnOnce(ConnectOptions) -> io::Result<OwnedFd>,
    ) -> io::Result<OwnedFd> {
        let pod = self.pods.get(pod).ok_or(io::ErrorKind::NotFound)?;
        let options = self.shared.settings.connect_options();
        pod.inside(&self.home, || connect(options))
    }
}
