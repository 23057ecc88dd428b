//! The generator behind sampling: SplitMix64 (Steele, Lea, Flood 2014), one step a token; and seeds for it.

use std::hash::{BuildHasher, Hasher, RandomState};

/// State of the generator; the same seed gives the same draws on every machine and in every version of the
/// number contract.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rng(u64);

impl Rng {
    /// Starts the sequence of `seed`.
    pub fn new(seed: u64) -> Rng {
        Rng(seed)
    }

    /// The next 64 bits.
    pub fn next_u64(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// Uniform in [0, 1): the top 24 bits of the next draw.
    pub fn uniform(&mut self) -> f32 {
        (self.next_u64() >> 40) as f32 / (1u64 << 24) as f32
    }
}

/// A seed that nobody chose, other each time; JSON's numbers hold it exactly.
pub fn random_seed() -> u64 {
    random_bits() >> 11
}

/// Bits for what must differ and need not be secret.
pub(crate) fn random_bits() -> u64 {
    // The hasher's keys come from the operating system and differ from one to the next.
    RandomState::new().build_hasher().finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seeds_differ_and_fit_into_numbers_of_json() {
        let seeds: std::collections::HashSet<u64> = (0..1000).map(|_| random_seed()).collect();
        assert!(seeds.len() == 1000 && seeds.iter().all(|&seed| seed as f64 as u64 == seed));
        assert!(seeds.iter().all(|&seed| seed < 1 << 53) && seeds.iter().any(|&seed| seed >= 1 << 50));
    }

    #[test]
    fn known_sequence() {
        let mut rng = Rng::new(1234567);
        assert_eq!(rng.next_u64(), 6457827717110365317);
        assert_eq!(rng.next_u64(), 3203168211198807973);
    }
}
