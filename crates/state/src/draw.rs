//! The randomness of one connection, injected so that routes stay pure.

/// A draw that gives as many independent choices as are asked of it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Draw(u64);

impl Draw {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// A number below `total`; `None` if there is none. Each call draws anew: two choices made
    /// from one number would always fall together (first waypoint, then always its first endpoint).
    pub(crate) fn below(&mut self, total: u64) -> Option<u64> {
        // SplitMix64 (Steele, Lea, Flood 2014): every seed gives a full-period sequence.
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (mixed ^ (mixed >> 31)).checked_rem(total)
    }

    /// Picks one of `candidates` by weight; `None` if all weights are zero or nothing is there.
    pub(crate) fn weighted<T>(
        &mut self,
        candidates: impl Iterator<Item = T> + Clone,
        weight: impl Fn(&T) -> u32,
    ) -> Option<T> {
        let weight = |candidate: &T| u64::from(weight(candidate));
        let mut left = self.below(candidates.clone().map(|c| weight(&c)).sum())?;
        candidates.into_iter().find(|candidate| {
            let is_it = left < weight(candidate);
            left = left.saturating_sub(weight(candidate));
            is_it
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Weights decide the shares, and nothing with weight zero is ever picked.
    #[test]
    fn weights_decide_the_shares() {
        let mut counts = [0u32; 3];
        for seed in 0..10_000 {
            let picked = Draw::new(seed).weighted([(0, 1), (1, 3), (2, 0)].iter(), |c| c.1);
            counts[picked.unwrap().0] += 1;
        }

        assert!((2300..2700).contains(&counts[0]), "{counts:?}");
        assert_eq!(counts[2], 0);
        assert!(Draw::new(1).weighted([(0, 0)].iter(), |c| c.1).is_none());
    }

    /// A second choice does not follow from the first.
    #[test]
    fn second_choice_is_independent() {
        let mut seen = std::collections::HashSet::new();
        for seed in 0..100 {
            let mut draw = Draw::new(seed);
            seen.insert((draw.below(2), draw.below(2)));
        }

        assert_eq!(seen.len(), 4);
    }
}
