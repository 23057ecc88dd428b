//! The hash of the tokenizer's tables. Its keys are drawn anew for every tokenizer: a vocabulary comes out of a file,
//! and one whose texts all fall into the same slot would make loading quadratic. No result depends on the keys.

use std::hash::{BuildHasher, Hasher, RandomState};

/// 2^64 divided by the golden ratio.
const FACTOR: u64 = 0x9e37_79b9_7f4a_7c15;

#[derive(Clone, Copy)]
pub(super) struct HashKeys([u64; 2]);

impl HashKeys {
    /// Keys that nobody knows: those of the standard library's hasher come from the operating system.
    pub(super) fn random() -> HashKeys {
        HashKeys([(); 2].map(|()| RandomState::new().build_hasher().finish()))
    }

    /// A hash of short strings: two multiplications for up to 16 bytes.
    pub(super) fn text(self, text: &[u8]) -> u64 {
        let HashKeys([first, second]) = self;
        let mut state = first.wrapping_add(FACTOR.wrapping_mul(text.len() as u64));
        let mut rest = text;
        while let Some((pair, after)) = rest.split_first_chunk::<16>()
            && !after.is_empty()
        {
            state = mix(state ^ first_eight(pair), second ^ first_eight(&pair[8..]));
            rest = after;
        }
        // Words that overlap cover 8 to 16 bytes, and 4 to 7, without a loop.
        let (low, high) = match rest.len() {
            8.. => (first_eight(rest), first_eight(&rest[rest.len() - 8..])),
            4.. => (first_four(rest), first_four(&rest[rest.len() - 4..])),
            1.. => {
                (u64::from(rest[0]) | u64::from(rest[rest.len() / 2]) << 8, u64::from(rest[rest.len() - 1]))
            }
            0 => (0, 0),
        };
        mix(mix(state ^ low, second ^ high), FACTOR)
    }

    /// A hash of a number.
    pub(super) fn number(self, number: u64) -> u64 {
        mix(self.0[0] ^ number, self.0[1])
    }
}

/// Both halves of the product, so that every bit of it depends on every bit of the factors.
fn mix(a: u64, b: u64) -> u64 {
    let product = u128::from(a) * u128::from(b);
    product as u64 ^ (product >> 64) as u64
}

/// The first eight bytes as a number; 0 if there are fewer.
fn first_eight(bytes: &[u8]) -> u64 {
    bytes.first_chunk().map_or(0, |chunk| u64::from_le_bytes(*chunk))
}

/// The first four bytes as a number; 0 if there are fewer.
fn first_four(bytes: &[u8]) -> u64 {
    bytes.first_chunk().map_or(0, |chunk| u32::from_le_bytes(*chunk).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn distinct(mut hashes: Vec<u64>) -> usize {
        hashes.sort_unstable();
        hashes.dedup();
        hashes.len()
    }

    #[test]
    fn hashes_differ_where_texts_and_numbers_do() {
        let keys = HashKeys::random();
        let text: Vec<u8> = (0..=255).collect();
        let slices = (0..64).flat_map(|length| (0..100).map(move |start| start..start + length));
        // The hundred empty texts are one.
        assert_eq!(distinct(slices.map(|range| keys.text(&text[range])).collect()), 63 * 100 + 1);
        assert_eq!(distinct((0..10_000).map(|n| keys.number(n)).collect()), 10_000);
    }

    #[test]
    fn other_keys_give_other_hashes() {
        let (one, two) = (HashKeys::random(), HashKeys::random());
        assert_ne!(one.text(b"Hello"), two.text(b"Hello"));
        assert_ne!(one.number(7), two.number(7));
    }
}
