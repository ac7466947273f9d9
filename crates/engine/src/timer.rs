//! Deadlines, one queue per kind.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::settings::{Settings, Timeouts};

/// What a deadline is for. All deadlines of one kind are equally long.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum TimerKind {
    Workload,
    Certificate,
    Connect,
    Handshake,
    Answer,
    HalfClosed,
    Ping,
    IdleTunnel,
    /// A listener that ran into a local limit rests.
    ListenerRest,
    /// Bytes of open flows are reported.
    Progress,
}

const KINDS: [TimerKind; 10] = [
    TimerKind::Workload,
    TimerKind::Certificate,
    TimerKind::Connect,
    TimerKind::Handshake,
    TimerKind::Answer,
    TimerKind::HalfClosed,
    TimerKind::Ping,
    TimerKind::IdleTunnel,
    TimerKind::ListenerRest,
    TimerKind::Progress,
];

/// Long enough for others to close something, short enough not to be noticed in the queue.
const LISTENER_REST: Duration = Duration::from_millis(100);
/// Metrics of long connections are this fresh.
const PROGRESS: Duration = Duration::from_secs(5);

/// Deadlines of a worker.
///
/// Because all of one kind are equally long, each kind is a queue in order of time: setting and
/// taking cost the same however many there are. A deadline is never cancelled; whoever it was for
/// looks whether it still matters.
pub(crate) struct Timers<T> {
    queues: [(Duration, VecDeque<(Instant, T)>); KINDS.len()],
}

impl<T> Timers<T> {
    pub(crate) fn new(settings: &Settings) -> Self {
        Self {
            queues: KINDS.map(|kind| (duration(kind, settings), VecDeque::new())),
        }
    }

    /// Lets `kind`'s time pass for `target`, from `now` on.
    pub(crate) fn set(&mut self, kind: TimerKind, now: Instant, target: T) {
        let (duration, queue) = &mut self.queues[kind as usize];
        queue.push_back((now + *duration, target));
    }

    /// When the next deadline is.
    pub(crate) fn next(&self) -> Option<Instant> {
        self.queues
            .iter()
            .filter_map(|(_, queue)| queue.front())
            .map(|(due, _)| *due)
            .min()
    }

    /// Takes one deadline that has passed.
    pub(crate) fn take_due(&mut self, now: Instant) -> Option<(TimerKind, T)> {
        for (kind, (_, queue)) in KINDS.into_iter().zip(&mut self.queues) {
            if queue.front().is_some_and(|(due, _)| *due <= now) {
                return queue.pop_front().map(|(_, target)| (kind, target));
            }
        }
        None
    }
}

fn duration(kind: TimerKind, settings: &Settings) -> Duration {
    let Timeouts {
        workload,
        certificate,
        connect,
        handshake,
        answer,
        half_closed,
        ..
    } = settings.timeouts;
    match kind {
        TimerKind::Workload => workload,
        TimerKind::Certificate => certificate,
        TimerKind::Connect => connect,
        TimerKind::Handshake => handshake,
        TimerKind::Answer => answer,
        TimerKind::HalfClosed => half_closed,
        TimerKind::Ping => settings.timeouts.ping_interval,
        TimerKind::IdleTunnel => settings.idle_tunnel_release,
        TimerKind::ListenerRest => LISTENER_REST,
        TimerKind::Progress => PROGRESS,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Deadlines come due in order of time, whatever their kind.
    #[test]
    fn deadlines_come_due_by_time() {
        let start = Instant::now();
        let mut timers = Timers::new(&Settings::default());
        timers.set(TimerKind::Connect, start, "ten seconds");
        timers.set(TimerKind::Workload, start, "five seconds");

        assert_eq!(timers.take_due(start), None);
        assert_eq!(timers.next(), Some(start + Duration::from_secs(5)));
        let due = start + Duration::from_secs(6);
        assert_eq!(
            timers.take_due(due),
            Some((TimerKind::Workload, "five seconds"))
        );
        assert_eq!(timers.take_due(due), None);
        assert_eq!(timers.next(), Some(start + Duration::from_secs(10)));
    }

    /// Every kind has the queue that its number says.
    #[test]
    fn kinds_index_their_own_queue() {
        for (index, kind) in KINDS.into_iter().enumerate() {
            assert_eq!(kind as usize, index);
        }
    }
}
