//! Waiting longer after each failure.

use std::time::Duration;

/// Doubles from `first` to `cap`; [`Backoff::reset`] starts over. Pure: the caller waits.
#[derive(Clone, Debug)]
pub struct Backoff {
    first: Duration,
    cap: Duration,
    next: Duration,
}

/// Share of each wait that is random, so that proxies do not knock in step.
const JITTER: f64 = 0.2;

impl Backoff {
    /// Waits of `first`, twice that, and so on up to `cap`.
    #[must_use]
    pub fn new(first: Duration, cap: Duration) -> Self {
        Self {
            first,
            cap,
            next: first,
        }
    }

    /// The next wait; `draw` in `0.0..1.0` shortens it by up to a fifth.
    pub fn wait(&mut self, draw: f64) -> Duration {
        let wait = self.next.mul_f64(1.0 - JITTER * draw.clamp(0.0, 1.0));
        self.next = (self.next * 2).min(self.cap);
        wait
    }

    /// It worked: the next wait is the first one again.
    pub fn reset(&mut self) {
        self.next = self.first;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Waits double up to the cap, start over after a success, and jitter only shortens them.
    #[test]
    fn waits_double_up_to_the_cap() {
        let mut backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(5));

        let waits: Vec<u64> = (0..4).map(|_| backoff.wait(0.0).as_secs()).collect();
        assert_eq!(waits, [1, 2, 4, 5]);
        backoff.reset();
        assert_eq!(backoff.wait(1.0), Duration::from_millis(800));
    }
}
