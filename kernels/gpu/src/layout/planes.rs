//! The order of codes: planes of bits.
//!
//! A plane holds 4, 2 or 1 bits of each code. Nibble k of a word belongs to elements k, 8 + k, 16 + k...; a plane of 4 bits
//! has one of them in it, a plane of 2 bits two, the lower one first, a plane of single bits four. So the shader finds the
//! bits of four neighbours four places apart, whatever the plane, and puts the planes together where they are
//! (`blocks/common.wgsl`).

use super::Word;

/// Writes a plane of the `WIDTH` bits from bit `shift` up of the codes `q`, a multiple of 32 of them.
pub(super) fn put<const WIDTH: usize>(q: &[u8], shift: u32, out: &mut [Word]) {
    let mask = 0x0101_0101_0101_0101 * ((1 << WIDTH) - 1);
    let eights = q.as_chunks::<8>().0;
    for (eights, word) in eights.chunks_exact(4 / WIDTH).zip(out) {
        let mut bytes = 0;
        for (i, eight) in eights.iter().enumerate() {
            bytes |= ((u64::from_le_bytes(*eight) >> shift) & mask) << (WIDTH * i);
        }
        *word = nibbles(bytes).to_le_bytes();
    }
}

/// Brings the lower halves of eight bytes, whose upper halves are zero, together.
fn nibbles(x: u64) -> u32 {
    let x = (x | x >> 4) & 0x00ff_00ff_00ff_00ff;
    let x = (x | x >> 8) & 0x0000_ffff_0000_ffff;
    (x | x >> 16) as u32
}

/// The plane of single bits of 32 elements, which are given in order.
pub(super) fn put_ones(bits: &Word, out: &mut Word) {
    let word = bits.iter().enumerate().fold(0, |word, (w, byte)| {
        let x = u32::from(*byte);
        let x = (x | x << 12) & 0x000f_000f;
        let x = (x | x << 6) & 0x0303_0303;
        word | ((x | x << 3) & 0x1111_1111) << w
    });
    *out = word.to_le_bytes();
}

/// The plane of two bits of 16 elements, which are given in order.
pub(super) fn put_twos(bits: &Word, out: &mut Word) {
    let eight = |low, high| {
        let x = u32::from(u16::from_le_bytes([low, high]));
        let x = (x | x << 8) & 0x00ff_00ff;
        let x = (x | x << 4) & 0x0f0f_0f0f;
        (x | x << 2) & 0x3333_3333
    };
    *out = (eight(bits[0], bits[1]) | eight(bits[2], bits[3]) << 2).to_le_bytes();
}

/// The codes of `2 N` elements whose first half is the low nibbles of `qs` and whose second half the high ones.
pub(super) fn halves<const N: usize>(qs: &[u8], out: &mut [u8]) {
    let (low, high) = out.split_at_mut(N);
    for ((low, high), q) in low.iter_mut().zip(high).zip(qs) {
        (*low, *high) = (q & 15, q >> 4);
    }
}

/// The 2-bit codes of 256 elements: byte l of 32 holds the elements l, l + 32, l + 64 and l + 96 of a half.
pub(super) fn quarters(qs: &[u8; 64]) -> [u8; 256] {
    let mut q = [0; 256];
    for (half, qs) in q.as_chunks_mut::<128>().0.iter_mut().zip(qs.as_chunks::<32>().0) {
        for (g, quarter) in half.as_chunks_mut::<32>().0.iter_mut().enumerate() {
            *quarter = qs.map(|byte| (byte >> (2 * g)) & 3);
        }
    }
    q
}

/// Adds bit `j` of byte `l` of `bits` to the code of element 32 `j + l` as bit `place`.
pub(super) fn add_bits(q: &mut [u8; 256], bits: &[u8; 32], place: u32) {
    for (j, q) in q.as_chunks_mut::<32>().0.iter_mut().enumerate() {
        for (q, byte) in q.iter_mut().zip(bits) {
            *q |= ((byte >> j) & 1) << place;
        }
    }
}

/// Copies `bytes` to byte `at` of `words`.
pub(super) fn put_bytes(words: &mut [Word], at: usize, bytes: &[u8]) {
    words.as_flattened_mut()[at..at + bytes.len()].copy_from_slice(bytes);
}

/// The `N` bytes at `at` of a block, which has as many.
pub(super) fn at<const N: usize>(block: &[u8], at: usize) -> &[u8; N] {
    block[at..].first_chunk().expect("blocks are whole")
}
