//! Which certificate to fetch next. Pure: the caller fetches, waits and publishes.

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use ambimesh_types::Identity;
use tokio::time::Instant;

use super::Renewal;
use crate::backoff::Backoff;

/// Fetches at one time. More only queue at the certificate authority.
const CONCURRENT_FETCHES: usize = 8;

const FIRST_RETRY: Duration = Duration::from_secs(1);
const LAST_RETRY: Duration = Duration::from_secs(150);

/// Share of the way to half-life by which a renewal may come early, so that a node's certificates
/// do not all renew in the same second.
const RENEWAL_JITTER: f64 = 0.1;

/// How urgent a fetch is; the first is the most urgent.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Priority {
    /// A connection waits for it.
    RealTime,
    /// A workload of this node will need it.
    Warmup,
    /// A renewal.
    Background,
}

impl Priority {
    const ALL: [Self; 3] = [Self::RealTime, Self::Warmup, Self::Background];
}

/// A fetch to make. Its generation tells a result that came too late from one that is awaited.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Job {
    pub(super) identity: Identity,
    generation: u64,
}

/// What to do with a result.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Verdict {
    /// Use the new certificate.
    Use,
    /// It failed, but the old certificate is still valid.
    KeepOld,
    /// It failed, and there is nothing to use.
    Unavailable,
    /// Nobody wants it any more.
    Discard,
}

#[derive(Debug)]
struct Entry {
    generation: u64,
    slot: Option<Slot>,
    expires_at: Option<Instant>,
    backoff: Backoff,
}

/// A place in the queue; the order of fields is the order of service within one priority.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
struct Slot {
    priority: Priority,
    due: Instant,
    sequence: u64,
    identity: Identity,
}

/// Every identity we speak for, and the queue of fetches.
#[derive(Debug, Default)]
pub(super) struct Schedule {
    entries: HashMap<Identity, Entry>,
    queue: BTreeSet<Slot>,
    sequence: u64,
    in_flight: usize,
}

impl Schedule {
    /// Wants a certificate. An identity that is queued for a first fetch can only become more
    /// urgent; one that has a certificate, or had its answer, is left alone.
    pub(super) fn request(&mut self, identity: &Identity, priority: Priority, now: Instant) {
        let Some(entry) = self.entries.get(identity) else {
            self.insert(identity);
            self.enqueue(identity, priority, now);
            return;
        };
        let is_first_fetch = entry
            .slot
            .as_ref()
            .is_some_and(|s| s.priority != Priority::Background);
        if is_first_fetch && entry.slot.as_ref().is_some_and(|s| priority < s.priority) {
            self.enqueue(identity, priority, now);
        }
    }

    /// Nobody speaks for this identity any more.
    pub(super) fn forget(&mut self, identity: &Identity) {
        if let Some(slot) = self.entries.remove(identity).and_then(|entry| entry.slot) {
            self.queue.remove(&slot);
        }
    }

    /// The next fetch to make now, if there is one and not too many run.
    pub(super) fn next_job(&mut self, now: Instant) -> Option<Job> {
        if self.in_flight >= CONCURRENT_FETCHES {
            return None;
        }
        let slot = Priority::ALL
            .into_iter()
            .filter_map(|p| self.first(p))
            .find(|slot| slot.due <= now)?
            .clone();
        self.queue.remove(&slot);
        let entry = self.entries.get_mut(&slot.identity)?;
        entry.slot = None;
        self.in_flight += 1;
        Some(Job {
            generation: entry.generation,
            identity: slot.identity,
        })
    }

    /// A fetch ended; `draw` in `0.0..1.0` is the jitter of what follows.
    pub(super) fn finish(
        &mut self,
        job: &Job,
        result: Option<Renewal>,
        now: Instant,
        draw: f64,
    ) -> Verdict {
        self.in_flight = self.in_flight.saturating_sub(1);
        let Some(entry) = self
            .entries
            .get_mut(&job.identity)
            .filter(|e| e.generation == job.generation)
        else {
            return Verdict::Discard;
        };
        let (due, verdict) = match (result, entry.expires_at) {
            (Some(renewal), _) => {
                entry.backoff.reset();
                entry.expires_at = Some(now + renewal.expires_after);
                // An authority whose certificates are born old must not be asked in a tight loop.
                let wait = renewal
                    .refresh_after
                    .mul_f64(1.0 - RENEWAL_JITTER * draw)
                    .max(FIRST_RETRY);
                (now + wait, Verdict::Use)
            }
            (None, Some(expires_at)) if expires_at > now => (
                (now + entry.backoff.wait(draw)).min(expires_at),
                Verdict::KeepOld,
            ),
            (None, _) => (now + entry.backoff.wait(draw), Verdict::Unavailable),
        };
        self.enqueue(&job.identity, Priority::Background, due);
        verdict
    }

    /// Identities whose certificate has just become worthless; each is named once.
    pub(super) fn take_expired(&mut self, now: Instant) -> Vec<Identity> {
        let mut expired = Vec::new();
        for (identity, entry) in &mut self.entries {
            if entry.expires_at.is_some_and(|at| at <= now) {
                entry.expires_at = None;
                expired.push(identity.clone());
            }
        }
        expired
    }

    /// When something is to be done next, unless a fetch ends before.
    pub(super) fn wake_at(&self) -> Option<Instant> {
        let expiries = self.entries.values().filter_map(|entry| entry.expires_at);
        let fetches = Priority::ALL
            .into_iter()
            .filter_map(|p| self.first(p).map(|slot| slot.due));
        let is_full = self.in_flight >= CONCURRENT_FETCHES;
        expiries.chain(fetches.filter(|_| !is_full)).min()
    }

    fn insert(&mut self, identity: &Identity) {
        self.sequence += 1;
        let entry = Entry {
            generation: self.sequence,
            slot: None,
            expires_at: None,
            backoff: Backoff::new(FIRST_RETRY, LAST_RETRY),
        };
        self.entries.insert(identity.clone(), entry);
    }

    fn enqueue(&mut self, identity: &Identity, priority: Priority, due: Instant) {
        let Some(entry) = self.entries.get_mut(identity) else {
            return;
        };
        self.sequence += 1;
        let slot = Slot {
            priority,
            due,
            sequence: self.sequence,
            identity: identity.clone(),
        };
        if let Some(old) = entry.slot.replace(slot.clone()) {
            self.queue.remove(&old);
        }
        self.queue.insert(slot);
    }

    fn first(&self, priority: Priority) -> Option<&Slot> {
        self.queue
            .iter()
            .find(|slot| slot.priority >= priority)
            .filter(|slot| slot.priority == priority)
    }
}
