//! Choice of the polls of an actor that are timed.

/// Number of polls of which one is timed, and stands for all, because a clock read costs as much as
/// a message. Fixed: bounds one turn; it was measured, and the figures of docs/PERFORMANCE.md hold
/// with it.
pub(crate) const POLLS_PER_SAMPLE: u32 = 8;

/// Picks polls at irregular distances, so that work that recurs at every eighth poll is neither
/// always seen nor never.
pub(crate) struct Sampler {
    random: u32,
    /// Number of polls until the next sample.
    left: u32,
}

impl Sampler {
    pub(crate) fn new(seed: u64) -> Self {
        let seed = u32::try_from((seed ^ (seed >> 32)) & 0xffff_ffff).unwrap_or(0);
        let mut sampler = Self {
            random: seed.wrapping_mul(0x9e37_79b9) | 1,
            left: 0,
        };
        sampler.left = sampler.distance();
        sampler
    }

    /// Returns true if this poll is to be timed.
    #[inline]
    pub(crate) fn pick(&mut self) -> bool {
        self.left -= 1;
        if self.left > 0 {
            return false;
        }
        self.left = self.distance();
        true
    }

    /// Returns a number between 1 and 15, 8 on average.
    fn distance(&mut self) -> u32 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 17;
        self.random ^= self.random << 5;
        1 + self.random % (2 * POLLS_PER_SAMPLE - 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn periodic_work_is_sampled_in_proportion() {
        const POLLS: u32 = 200_000;
        for period in 1..=16 {
            let mut sampler = Sampler::new(u64::from(period) << 7);
            let mut picked = vec![0; period as usize];
            for poll in 0..POLLS {
                picked[(poll % period) as usize] += u32::from(sampler.pick());
            }
            let expected = POLLS / period / POLLS_PER_SAMPLE;
            for count in picked {
                assert!(
                    count.abs_diff(expected) < expected / 5,
                    "{count} of {expected} at period {period}"
                );
            }
        }
    }
}
