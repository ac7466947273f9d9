//! One TCP socket, and what edge-triggered events have told about it.

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::thread;

use ambimesh_netns as netns;
use rustix::event::epoll::EventFlags;
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, recv, send};

/// A non-blocking socket that remembers what it may be asked next.
///
/// Dropping it closes it in order, unless the thread panics; see [`Socket::reset`].
#[derive(Debug)]
pub(crate) struct Socket {
    descriptor: OwnedFd,
    is_readable: bool,
    is_writable: bool,
    fate: Fate,
}

/// What is known of a connection's end, in the order in which it gets worse.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
enum Fate {
    Alive,
    /// The far end has ended: a short read does not mean that nothing is left.
    HungUp,
    /// An error waits to be read.
    Failed,
}

/// What a read gave.
#[derive(Debug)]
pub(crate) enum Read {
    /// So many bytes; never zero.
    Bytes(usize),
    /// The far end sends no more.
    End,
    /// Nothing now; an event will tell.
    Blocked,
    /// The connection is gone.
    Failed(io::Error),
}

impl Socket {
    /// A socket that is connected already: worth trying at once.
    pub(crate) fn connected(descriptor: OwnedFd) -> Self {
        Self {
            descriptor,
            is_readable: true,
            is_writable: true,
            fate: Fate::Alive,
        }
    }

    /// A socket whose connect is under way.
    pub(crate) fn connecting(descriptor: OwnedFd) -> Self {
        let mut socket = Self::connected(descriptor);
        (socket.is_readable, socket.is_writable) = (false, false);
        socket
    }

    /// Takes note of an event.
    pub(crate) fn note(&mut self, event: EventFlags) {
        let ended = EventFlags::RDHUP | EventFlags::HUP;
        if event.intersects(EventFlags::IN | EventFlags::ERR | ended) {
            self.is_readable = true;
        }
        if event.intersects(EventFlags::OUT | EventFlags::ERR | EventFlags::HUP) {
            self.is_writable = true;
        }
        if event.contains(EventFlags::ERR) {
            self.fate = Fate::Failed;
        } else if event.intersects(ended) {
            self.fate = self.fate.max(Fate::HungUp);
        }
    }

    pub(crate) fn is_readable(&self) -> bool {
        self.is_readable
    }

    pub(crate) fn is_writable(&self) -> bool {
        self.is_writable
    }

    /// Whether an error waits, whatever else may still be read.
    pub(crate) fn has_failed(&self) -> bool {
        self.fate == Fate::Failed
    }

    /// Reads once.
    pub(crate) fn read(&mut self, buffer: &mut [u8]) -> Read {
        if !self.is_readable {
            return Read::Blocked;
        }
        let room = buffer.len();
        match recv(&self.descriptor, buffer, RecvFlags::empty()) {
            Ok((_, 0)) => Read::End,
            Ok((_, n)) => {
                // Edge-triggered: a short read has emptied the queue, the next byte is an event.
                self.is_readable = n == room || self.fate != Fate::Alive;
                Read::Bytes(n)
            }
            Err(Errno::AGAIN) => {
                self.is_readable = false;
                Read::Blocked
            }
            Err(Errno::INTR) => Read::Blocked,
            Err(error) => Read::Failed(error.into()),
        }
    }

    /// Writes once; returns how many bytes were taken, fewer when the socket is full.
    pub(crate) fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if !self.is_writable || bytes.is_empty() {
            return Ok(0);
        }
        match send(&self.descriptor, bytes, SendFlags::NOSIGNAL) {
            Ok(n) => {
                self.is_writable = n == bytes.len();
                Ok(n)
            }
            Err(Errno::AGAIN) => {
                self.is_writable = false;
                Ok(0)
            }
            Err(error) => Err(error.into()),
        }
    }

    /// How the connect went, once the socket is writable.
    pub(crate) fn connect_result(&self) -> io::Result<()> {
        netns::socket_error(self).map_or(Ok(()), Err)
    }

    /// Tells the far end that nothing more comes.
    pub(crate) fn shutdown_write(&self) {
        // A connection that is gone already has been told in another way.
        let _ = netns::shutdown_write(self);
    }

    /// Closes with a reset, so that the far end sees an error and not an end.
    pub(crate) fn reset(self) {
        netns::reset_on_close(&self);
    }

    pub(crate) fn local_address(&self) -> io::Result<SocketAddr> {
        netns::local_address(self)
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        // The worker has a bug: what was cut off must not look like an end.
        if thread::panicking() {
            netns::reset_on_close(&*self);
        }
    }
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.descriptor.as_fd()
    }
}
