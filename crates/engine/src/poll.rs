//! The event queue of a worker.

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use rustix::event::Timespec;
use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};
use rustix::io::Errno;

use crate::flow::Flow;
use crate::pod::Listener;
use crate::slots::{GENERATION_BITS, Key};
use crate::tunnel::Tunnel;

/// What an event is about.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Token {
    Mailbox,
    Listener(Key<Listener>),
    /// The first socket of a flow.
    Near(Key<Flow>),
    /// The second socket of a flow without tunnel.
    Far(Key<Flow>),
    Tunnel(Key<Tunnel>),
}

/// Events taken with one system call.
const BATCH: usize = 256;

pub(crate) struct Poll {
    epoll: OwnedFd,
    /// What the last wait gave, last first.
    events: Vec<(Token, EventFlags)>,
}

impl Poll {
    pub(crate) fn new() -> io::Result<Self> {
        let epoll = epoll::create(CreateFlags::CLOEXEC)?;
        Ok(Self {
            epoll,
            events: Vec::with_capacity(BATCH),
        })
    }

    /// Watches a connection for everything, edge-triggered, until it is closed.
    pub(crate) fn watch(&self, socket: impl AsFd, token: Token) -> io::Result<()> {
        let everything = EventFlags::IN | EventFlags::OUT | EventFlags::RDHUP | EventFlags::ET;
        Ok(epoll::add(
            &self.epoll,
            socket,
            EventData::new_u64(token.into_bits()),
            everything,
        )?)
    }

    /// Watches what is never written to, level-triggered; of the workers that share it, one wakes.
    pub(crate) fn watch_shared(&self, source: impl AsFd, token: Token) -> io::Result<()> {
        let flags = EventFlags::IN | EventFlags::EXCLUSIVE;
        Ok(epoll::add(
            &self.epoll,
            source,
            EventData::new_u64(token.into_bits()),
            flags,
        )?)
    }

    /// Forgets a source that others keep open: closing our copy would not.
    pub(crate) fn forget(&self, source: impl AsFd) {
        // Fails only for what is not watched.
        let _ = epoll::delete(&self.epoll, source);
    }

    /// Waits for events, at most so long.
    pub(crate) fn wait(&mut self, at_most: Option<Duration>) -> io::Result<()> {
        let timeout = at_most.map(|time| Timespec {
            tv_sec: i64::try_from(time.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: i64::from(time.subsec_nanos()),
        });
        let mut raw = [const { MaybeUninit::uninit() }; BATCH];
        let ready = match epoll::wait(&self.epoll, &mut raw, timeout.as_ref()) {
            Ok((ready, _)) => ready,
            Err(Errno::INTR) => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        self.events.clear();
        self.events.extend(ready.iter().rev().map(|event| {
            let Event { flags, data, .. } = *event;
            (Token::from_bits(data.u64()), flags)
        }));
        Ok(())
    }

    /// The next event of the last wait.
    pub(crate) fn pop(&mut self) -> Option<(Token, EventFlags)> {
        self.events.pop()
    }
}

impl Token {
    fn into_bits(self) -> u64 {
        let (kind, (index, generation)) = match self {
            Self::Mailbox => (0, (0, 0)),
            Self::Listener(key) => (1, key.parts()),
            Self::Near(key) => (2, key.parts()),
            Self::Far(key) => (3, key.parts()),
            Self::Tunnel(key) => (4, key.parts()),
        };
        let generation = u64::from(generation) << 32;
        kind << (32 + GENERATION_BITS) | generation | u64::from(index)
    }

    fn from_bits(bits: u64) -> Self {
        let [index, upper] =
            [bits & 0xffff_ffff, bits >> 32].map(|half| u32::try_from(half).unwrap_or_default());
        let generation = upper & ((1 << GENERATION_BITS) - 1);
        match upper >> GENERATION_BITS {
            1 => Self::Listener(Key::from_parts(index, generation)),
            2 => Self::Near(Key::from_parts(index, generation)),
            3 => Self::Far(Key::from_parts(index, generation)),
            4 => Self::Tunnel(Key::from_parts(index, generation)),
            _ => Self::Mailbox,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What epoll keeps for us comes back as it was.
    #[test]
    fn tokens_survive_their_bits() {
        let largest = (u32::MAX, (1 << GENERATION_BITS) - 1);
        for (index, generation) in [(0, 0), (7, 3), largest] {
            for token in [
                Token::Mailbox,
                Token::Listener(Key::from_parts(index, generation)),
                Token::Near(Key::from_parts(index, generation)),
                Token::Far(Key::from_parts(index, generation)),
                Token::Tunnel(Key::from_parts(index, generation)),
            ] {
                assert_eq!(Token::from_bits(token.into_bits()), token);
            }
        }
    }
}
