//! The codebooks of the IQ1, IQ2 and IQ3 types, and the signs that go with them.
//!
//! An entry is four or eight codes side by side in the bytes of an integer, the first one lowest: looking one up is
//! one load, and all of it gets its signs at once. The entries are the outcome of an optimisation that no formula
//! repeats. They are ggml's (MIT, see LICENSE beside this file), packed two or four bits to a code in files that
//! `make.py` writes, and spread out when this crate is compiled.

use super::TensorType;

/// Eight codes to an entry, each a pair of bits that says which of `values` it is, lowest bits first.
const fn eights<const N: usize>(packed: &[u8], values: [u8; 3]) -> [u64; N] {
    assert!(packed.len() == 2 * N);
    let mut entries = [0; N];
    let mut i = 0;
    while i < 8 * N {
        let which = (packed[i / 4] >> (2 * (i % 4))) & 3;
        entries[i / 8] |= (values[which as usize] as u64) << (8 * (i % 8));
        i += 1;
    }
    entries
}

/// Four codes to an entry, each a nibble that says which of `values` it is, low nibble first.
const fn fours<const N: usize>(packed: &[u8], values: [u8; 8]) -> [u32; N] {
    assert!(packed.len() == 2 * N);
    let mut entries = [0; N];
    let mut i = 0;
    while i < 4 * N {
        let which = (packed[i / 2] >> (4 * (i % 2))) & 15;
        entries[i / 4] |= (values[which as usize] as u32) << (8 * (i % 4));
        i += 1;
    }
    entries
}

/// The magnitudes of the IQ2 types.
const IQ2_VALUES: [u8; 3] = [8, 25, 43];

pub(crate) static IQ2_XXS: [u64; 256] = eights(include_bytes!("iq2_xxs.bin"), IQ2_VALUES);
pub(crate) static IQ2_XS: [u64; 512] = eights(include_bytes!("iq2_xs.bin"), IQ2_VALUES);
pub(crate) static IQ2_S: [u64; 1024] = eights(include_bytes!("iq2_s.bin"), IQ2_VALUES);
static IQ3_XXS: [u32; 256] = fours(include_bytes!("iq3_xxs.bin"), [4, 12, 20, 28, 36, 44, 52, 62]);
static IQ3_S: [u32; 512] = fours(include_bytes!("iq3_s.bin"), [1, 3, 5, 7, 9, 11, 13, 15]);
/// Eight times -1, 0 or 1, plus 8.
static IQ1: [u64; 2048] = eights(include_bytes!("iq1.bin"), [0, 8, 16]);

/// For eight signs, the lowest bit first: bytes of ones where a sign is negative.
pub(crate) static SIGNS: [u64; 256] = {
    let mut masks = [0; 256];
    let mut i = 0;
    while i < 8 * 256 {
        if (i / 8) >> (i % 8) & 1 == 1 {
            masks[i / 8] |= 0xff << (8 * (i % 8));
        }
        i += 1;
    }
    masks
};

/// The same for seven signs, and an eighth that makes the number of negative ones even.
pub(crate) static EVEN_SIGNS: [u64; 128] = {
    let mut masks = [0; 128];
    let mut i = 0;
    while i < 128 {
        masks[i] = SIGNS[i | (i.count_ones() as usize & 1) << 7];
        i += 1;
    }
    masks
};

/// Two entries of IQ3_XXS.
pub(crate) fn iq3_xxs(low: u8, high: u8) -> u64 {
    u64::from(IQ3_XXS[usize::from(low)]) | u64::from(IQ3_XXS[usize::from(high)]) << 32
}

/// Two entries of IQ3_S, by indices below 512.
pub(crate) fn iq3_s(low: usize, high: usize) -> u64 {
    u64::from(IQ3_S[low & 511]) | u64::from(IQ3_S[high & 511]) << 32
}

/// The words of the codebook of `ty`, four codes each: magnitudes of the IQ2 and IQ3 types; of the IQ1 types eight times
/// -1, 0 or 1, plus 8. An entry of eight codes is two words. `None` if the type has none.
pub fn codebook(ty: TensorType) -> Option<Vec<u32>> {
    let halves = |entries: &[u64]| entries.iter().flat_map(|&e| [e as u32, (e >> 32) as u32]).collect();
    Some(match ty {
        TensorType::Iq2Xxs => halves(&IQ2_XXS),
        TensorType::Iq2Xs => halves(&IQ2_XS),
        TensorType::Iq2S => halves(&IQ2_S),
        TensorType::Iq3Xxs => IQ3_XXS.to_vec(),
        TensorType::Iq3S => IQ3_S.to_vec(),
        TensorType::Iq1S | TensorType::Iq1M => halves(&IQ1),
        _ => return None,
    })
}

/// Gives eight magnitudes their signs.
pub(crate) fn signed(magnitudes: u64, signs: u64) -> [i8; 8] {
    // Minus a number is its bits inverted, plus one. No magnitude is zero, so nothing is carried to the next byte.
    let codes = (magnitudes ^ signs) + (signs & 0x0101_0101_0101_0101);
    codes.to_le_bytes().map(|code| code as i8)
}

/// An entry of IQ1, by an index below 2048: eight times its numbers, plus 1 or minus 1.
pub(crate) fn ternary(index: usize, minus: bool) -> [i8; 8] {
    // The sums are 8 g + 128 + 1 or - 1, which fit a byte; flipping the top bit takes the 128 away.
    let shift = if minus { 0x7777_7777_7777_7777 } else { 0x7979_7979_7979_7979 };
    let codes = (IQ1[index & 2047] + shift) ^ 0x8080_8080_8080_8080;
    codes.to_le_bytes().map(|code| code as i8)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_sign_and_every_shift_is_exact() {
        for (entry, bits) in IQ2_S.iter().chain(&IQ2_XS).chain(&IQ2_XXS).zip((0..256).cycle()) {
            for (k, code) in signed(*entry, SIGNS[bits]).into_iter().enumerate() {
                let magnitude = (entry >> (8 * k)) as u8 as i8;
                assert!([8, 25, 43].contains(&magnitude));
                assert_eq!(code, if bits >> k & 1 == 1 { -magnitude } else { magnitude });
            }
        }
        for bits in 0..128 {
            let (even, seven) = (EVEN_SIGNS[bits], SIGNS[bits]);
            assert_eq!(even << 8, seven << 8);
            assert_eq!(even.count_ones() % 16, 0);
        }
        for index in 0..2048 {
            for (k, (plus, minus)) in ternary(index, false).into_iter().zip(ternary(index, true)).enumerate()
            {
                let g = (IQ1[index] >> (8 * k)) as u8 as i8 - 8;
                assert!([-8, 0, 8].contains(&g));
                assert_eq!((plus, minus), (g + 1, g - 1));
            }
        }
    }

    #[test]
    fn entries_differ_and_are_in_range() {
        fn check<T: Ord + Copy>(entries: &[T]) {
            let mut sorted = entries.to_vec();
            sorted.sort_unstable();
            sorted.dedup();
            assert_eq!(sorted.len(), entries.len());
        }
        check(&IQ2_XXS);
        check(&IQ2_XS);
        check(&IQ2_S);
        check(&IQ3_XXS);
        check(&IQ3_S);
        check(&IQ1);
        for entry in IQ3_S.iter().chain(&IQ3_XXS) {
            assert!(entry.to_le_bytes().into_iter().all(|code| (1..=62).contains(&code)));
        }
    }
}
