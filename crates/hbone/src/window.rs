//! Flow control. Source: RFC 9113 §5.2 and §6.9.

use crate::frame::MAX_31_BITS;

/// The window every connection and stream starts with, until SETTINGS say otherwise.
pub(crate) const DEFAULT_WINDOW: u32 = 65_535;

/// The most credit that is kept back to save frames.
const MAX_BATCH: u32 = 1 << 20;

/// What the peer lets us send. Negative after it lowered its initial window.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SendWindow(i64);

/// A window that would exceed 2^31-1.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Overflow;

impl SendWindow {
    pub(crate) fn new(bytes: u32) -> Self {
        Self(i64::from(bytes))
    }

    /// What may be sent now.
    pub(crate) fn available(self) -> u32 {
        u32::try_from(self.0).unwrap_or(0)
    }

    /// Uses part of what is available.
    pub(crate) fn take(&mut self, bytes: u32) {
        self.0 -= i64::from(bytes);
    }

    /// Adds credit; the window keeps its value when that would overflow it.
    pub(crate) fn grow(&mut self, bytes: i64) -> Result<(), Overflow> {
        let grown = self.0 + bytes;
        if grown > i64::from(MAX_31_BITS) {
            return Err(Overflow);
        }
        self.0 = grown;
        Ok(())
    }
}

/// What we let the peer send.
///
/// Invariants: `left` + bytes on loan + `owed` = the window we announced.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ReceiveWindow {
    /// What the peer may still send. Negative while a lowered announcement takes effect.
    left: i64,
    /// Credit to give back with the next `WINDOW_UPDATE`.
    owed: u32,
    /// Give back only this much at once, so that one frame pays for a quarter of the window.
    /// No more than [`MAX_BATCH`]: what is owed is missing to others when much is on loan.
    batch: u32,
}

impl ReceiveWindow {
    /// A window of `bytes`, of which the peer believes `left`: less is owed to it at once, more
    /// is what an announcement under way will take back.
    pub(crate) fn new(bytes: u32, left: u32) -> Self {
        let owed = bytes.saturating_sub(left);
        Self {
            left: i64::from(left),
            owed,
            batch: (bytes / 4).clamp(1, MAX_BATCH),
        }
    }

    /// Charges a frame; `false` when the peer sent more than it may.
    #[must_use]
    pub(crate) fn charge(&mut self, bytes: u32) -> bool {
        // An empty frame needs no credit: it may end a stream whose window is negative.
        let is_allowed = bytes == 0 || i64::from(bytes) <= self.left;
        if is_allowed {
            self.left -= i64::from(bytes);
        }
        is_allowed
    }

    /// Takes back an announcement that was larger than the one in force now.
    pub(crate) fn shrink(&mut self, bytes: u32) {
        self.left -= i64::from(bytes);
    }

    /// Notes credit to give back; returns the increment of a `WINDOW_UPDATE` that is due.
    #[must_use]
    pub(crate) fn give_back(&mut self, bytes: u32) -> Option<u32> {
        self.owed = self.owed.saturating_add(bytes);
        if self.owed < self.batch {
            return None;
        }
        let increment = std::mem::take(&mut self.owed);
        self.left += i64::from(increment);
        Some(increment)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A send window may be negative, and recovers by credit; it never overflows.
    #[test]
    fn send_window_goes_negative_and_recovers() {
        let mut window = SendWindow::new(100);
        window.take(100);
        window.grow(-60).unwrap();

        assert_eq!(window.available(), 0);
        window.grow(70).unwrap();
        assert_eq!(window.available(), 10);
        assert_eq!(window.grow(i64::from(MAX_31_BITS)), Err(Overflow));
        assert_eq!(window.available(), 10);
    }

    /// Credit goes back in quarters of the window, and all of it goes back.
    #[test]
    fn receive_window_batches_credit() {
        let mut window = ReceiveWindow::new(100, 100);
        assert!(window.charge(100));
        assert!(!window.charge(1));

        assert_eq!(window.give_back(24), None);
        assert_eq!(window.give_back(1), Some(25));
        assert!(window.charge(25));
        assert!(!window.charge(1));
    }

    /// The credit beyond what HTTP/2 starts with is announced at once.
    #[test]
    fn larger_connection_window_is_owed() {
        let mut window = ReceiveWindow::new(1 << 20, DEFAULT_WINDOW);

        assert_eq!(window.give_back(0), Some((1 << 20) - DEFAULT_WINDOW));
    }
}
