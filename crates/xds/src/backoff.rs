//! How long to wait before the next connection. Source: node-proxy specification §4.3.

use std::time::Duration;

const FIRST: Duration = Duration::from_millis(10);
const LONGEST: Duration = Duration::from_secs(15);
/// Share of each wait that is random, so that the proxies of a mesh do not knock in step.
const JITTER: f64 = 0.2;

/// Doubles with each failure; an answer from the server starts it over. The caller waits.
#[derive(Debug)]
pub(crate) struct Backoff {
    next: Duration,
}

impl Backoff {
    pub(crate) fn new() -> Self {
        Self { next: FIRST }
    }

    /// The wait after a connection that failed; `draw` in `0.0..1.0` shortens it by up to a fifth.
    pub(crate) fn after_failure(&mut self, draw: f64) -> Duration {
        let wait = self.next.mul_f64(1.0 - JITTER * draw.clamp(0.0, 1.0));
        self.next = (self.next * 2).min(LONGEST);
        wait
    }

    /// The server answered: it is well.
    pub(crate) fn reset(&mut self) {
        self.next = FIRST;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Waits double up to 15 s, and start over after an answer.
    #[test]
    fn waits_double_up_to_the_longest() {
        let mut backoff = Backoff::new();

        let waits: Vec<u128> = (0..13)
            .map(|_| backoff.after_failure(0.0).as_millis())
            .collect();

        assert_eq!(waits[..4], [10, 20, 40, 80]);
        assert_eq!(waits[11..], [15_000, 15_000]);
        backoff.reset();
        assert_eq!(backoff.after_failure(1.0), Duration::from_millis(8));
    }
}
