//! How commands reach a worker.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Mutex, PoisonError};

use rustix::event::{EventfdFlags, eventfd};

/// Letters for one worker, and the descriptor that wakes it.
///
/// Bounded by its senders: pods come and go at the pace of the agent, changes are two flags.
pub(crate) struct Mailbox<T> {
    letters: Mutex<Vec<T>>,
    bell: OwnedFd,
}

impl<T> Mailbox<T> {
    pub(crate) fn new() -> io::Result<Self> {
        let bell = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        Ok(Self {
            letters: Mutex::default(),
            bell,
        })
    }

    /// Leaves a letter; one that `is_same` says is waiting already is not left again.
    pub(crate) fn post(&self, letter: T, is_same: impl Fn(&T) -> bool) {
        let mut letters = self.letters.lock().unwrap_or_else(PoisonError::into_inner);
        if !letters.iter().any(is_same) {
            letters.push(letter);
        }
        drop(letters);
        // Fails only when 2^64 letters wait; the bell rings already then.
        let _ = rustix::io::write(&self.bell, &1u64.to_ne_bytes());
    }

    /// Takes every letter, in order.
    pub(crate) fn take(&self) -> Vec<T> {
        let _ = rustix::io::read(&self.bell, &mut [0; 8]);
        std::mem::take(&mut *self.letters.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl<T> AsFd for Mailbox<T> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.bell.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Letters arrive once and in order; repeated changes coalesce.
    #[test]
    fn letters_arrive_in_order_and_coalesce() {
        let mailbox = Mailbox::new().unwrap();
        for letter in ["changed", "add", "changed"] {
            mailbox.post(letter, |waiting| *waiting == letter);
        }

        assert_eq!(mailbox.take(), ["changed", "add"]);
        assert!(mailbox.take().is_empty());
    }
}
