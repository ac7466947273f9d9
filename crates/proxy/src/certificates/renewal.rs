//! When to renew a certificate, seen from now.

use std::time::{Duration, SystemTime};

/// Two points in the life of a certificate, as waits from now.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Renewal {
    /// Until half of its life is over.
    pub refresh_after: Duration,
    /// Until it is worthless.
    pub expires_after: Duration,
}

impl Renewal {
    /// Works out both waits; times that make no sense give "now".
    #[must_use]
    pub fn of(not_before: SystemTime, not_after: SystemTime, now: SystemTime) -> Self {
        let life = not_after.duration_since(not_before).unwrap_or_default();
        let half = not_before.checked_add(life / 2).unwrap_or(now);
        Self {
            refresh_after: half.duration_since(now).unwrap_or_default(),
            expires_after: not_after.duration_since(now).unwrap_or_default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Half of the whole life, not of what is left; the past is "now".
    #[test]
    fn renewal_is_at_half_life() {
        let at = |seconds| SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
        let waits = |r: Renewal| (r.refresh_after.as_secs(), r.expires_after.as_secs());

        assert_eq!(
            waits(Renewal::of(at(1000), at(2000), at(1000))),
            (500, 1000)
        );
        assert_eq!(waits(Renewal::of(at(1000), at(2000), at(1100))), (400, 900));
        assert_eq!(waits(Renewal::of(at(1000), at(2000), at(1800))), (0, 200));
        assert_eq!(waits(Renewal::of(at(1000), at(2000), at(3000))), (0, 0));
        assert_eq!(waits(Renewal::of(at(2000), at(1000), at(3000))), (0, 0));
    }
}
