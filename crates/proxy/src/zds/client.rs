//! The thread that talks to the node agent.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ambimesh_netns::Seqpacket;
use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec};
use rustix::io::Errno;

use super::enrolment::{Enrolment, Host, Reply};
use super::message;
use crate::backoff::Backoff;
use crate::log::{Log, Value};
use crate::readiness::{Part, Readiness};

const TARGET: &str = "zds";

/// The agent's messages are below 1024 bytes; ours leave room for longer names.
const BUFFER_BYTES: usize = 4096;

/// Ends a [`Client`] from another thread. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Wake(Arc<OwnedFd>);

impl Wake {
    /// One that nobody has used yet.
    ///
    /// # Errors
    /// No descriptor is left.
    pub fn new() -> io::Result<Self> {
        let flags = EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK;
        Ok(Self(Arc::new(rustix::event::eventfd(0, flags)?)))
    }

    /// Makes the client's loop end before it reads another message.
    pub fn wake(&self) {
        // Full means that it was woken already.
        let _ = rustix::io::write(&*self.0, &1_u64.to_ne_bytes());
    }
}

/// The connection to the node agent, made again whenever it ends.
pub struct Client<H> {
    /// The agent's socket.
    pub path: PathBuf,
    /// What to do with its requests.
    pub enrolment: Enrolment<H>,
    /// Where to say whether every pod is served.
    pub readiness: Readiness,
    /// Where to say what happens.
    pub log: Log,
    /// What ends it.
    pub wake: Wake,
}

/// Why a connection is no longer served.
#[derive(Debug, Eq, PartialEq)]
pub(super) enum End {
    /// We were told to end.
    Woken,
    /// The agent went away, or we no longer understand each other.
    Lost,
}

enum Event {
    Readable,
    Woken,
    Timeout,
}

impl<H: Host> Client<H> {
    /// Serves until woken, or until retired and disconnected. Blocking.
    pub fn run(mut self) {
        let mut backoff = Backoff::new(Duration::from_millis(20), Duration::from_secs(15));
        while !self.enrolment.is_retired() {
            match Seqpacket::connect(&self.path) {
                Ok(socket) => {
                    if self.serve(&socket, &mut backoff) == End::Woken {
                        return;
                    }
                }
                Err(error) => {
                    let path = self.path.display();
                    let fields = [("path", Value::Bare(&path)), ("error", Value::Bare(&error))];
                    self.log
                        .debug(TARGET, "node agent cannot be reached", &fields);
                }
            }
            let wait = backoff.wait(rand::random());
            if matches!(self.wait(None, Some(Instant::now() + wait)), Event::Woken) {
                return;
            }
        }
    }

    /// Serves one connection until it ends.
    pub(super) fn serve(&mut self, socket: &Seqpacket, backoff: &mut Backoff) -> End {
        self.enrolment.connected();
        self.log.info(TARGET, "connected to the node agent", &[]);
        let end = match socket.send(&message::hello(), &[]) {
            Ok(()) => self.answer_all(socket, backoff),
            Err(error) => {
                self.log.warn(
                    TARGET,
                    "hello could not be sent",
                    &[("error", Value::Bare(&error))],
                );
                End::Lost
            }
        };
        self.enrolment.disconnected();
        self.readiness.set(Part::WorkloadProxies, false);
        end
    }

    fn answer_all(&mut self, socket: &Seqpacket, backoff: &mut Backoff) -> End {
        loop {
            match self.wait(Some(socket), self.enrolment.retry_at()) {
                Event::Woken => return End::Woken,
                Event::Timeout => self.enrolment.retry(Instant::now()),
                Event::Readable => {
                    let Some(reply) = self.next_reply(socket) else {
                        return End::Lost;
                    };
                    if let Err(error) = socket.send(&message::encode(&reply), &[]) {
                        self.log.warn(
                            TARGET,
                            "answer could not be sent",
                            &[("error", Value::Bare(&error))],
                        );
                        return End::Lost;
                    }
                    match reply {
                        Reply::Ack => {}
                        Reply::Nack(text) => self.log.warn(
                            TARGET,
                            "request refused",
                            &[("error", Value::Text(&text))],
                        ),
                        Reply::NackAndReconnect(text) => {
                            self.log.error(
                                TARGET,
                                "request not understood",
                                &[("error", Value::Text(&text))],
                            );
                            return End::Lost;
                        }
                    }
                }
            }
            let is_ready = self.enrolment.is_ready();
            if is_ready {
                backoff.reset();
            }
            self.readiness.set(Part::WorkloadProxies, is_ready);
        }
    }

    /// Receives and handles one request; `None` at the end of the connection.
    fn next_reply(&mut self, socket: &Seqpacket) -> Option<Reply> {
        let mut buffer = [0; BUFFER_BYTES];
        let datagram = match socket.receive(&mut buffer) {
            Ok(datagram) if datagram.length == 0 => {
                self.log
                    .info(TARGET, "node agent closed the connection", &[]);
                return None;
            }
            Ok(datagram) => datagram,
            Err(error) => {
                self.log.warn(
                    TARGET,
                    "connection to the node agent lost",
                    &[("error", Value::Bare(&error))],
                );
                return None;
            }
        };
        let bytes = buffer.get(..datagram.length).unwrap_or_default();
        Some(match message::decode(datagram, bytes) {
            Ok(request) => {
                self.log.debug(
                    TARGET,
                    "request",
                    &[("request", Value::Text(&format!("{request:?}")))],
                );
                self.enrolment.handle(request, Instant::now())
            }
            Err(error) => Reply::NackAndReconnect(format!("failure to read message : {error}")),
        })
    }

    /// Waits for the socket, the end, or a point in time; the end comes first.
    fn wait(&self, socket: Option<&Seqpacket>, until: Option<Instant>) -> Event {
        loop {
            let mut polled = vec![PollFd::from_borrowed_fd(self.wake.0.as_fd(), PollFlags::IN)];
            polled.extend(socket.map(|s| PollFd::from_borrowed_fd(s.as_fd(), PollFlags::IN)));
            let timeout = until.map(|at| at.saturating_duration_since(Instant::now()));
            let timeout = timeout.and_then(|left| Timespec::try_from(left).ok());
            match rustix::event::poll(&mut polled, timeout.as_ref()) {
                Ok(0) => return Event::Timeout,
                Err(Errno::INTR) => {}
                Ok(_) if !polled[0].revents().is_empty() => return Event::Woken,
                // An error is lack of memory: reading the socket then says what is wrong.
                Ok(_) | Err(_) => return Event::Readable,
            }
        }
    }
}
