//! What every block type can do, and the small pieces of layout that several of them share.

use half::f16;

/// A block of codes with the scales that belong to them, as it lies in a file.
///
/// Each type says what is its own: the fields, and how they spell codes, scales and minima. The value of an
/// element is always `scale * code - min`, computed in f32 in this order, with the scale and min of its group.
pub(crate) trait Block: Sized {
    /// Elements in a block, at most 256.
    const LEN: usize;
    /// Bytes of a block.
    const BYTES: usize;
    /// Elements in a group: 16 or 32.
    const GROUP: usize;
    /// Whether groups have a minimum.
    const HAS_MIN: bool = false;

    /// Reads the fields from `bytes` `[BYTES]`.
    fn read(bytes: &[u8]) -> Self;

    /// Spells out `codes` `[LEN]`, `scales` `[LEN / GROUP]` and, if the type has them, `mins` `[LEN / GROUP]`.
    fn unpack(&self, codes: &mut [i8], scales: &mut [f32], mins: &mut [f32]);

    /// Whether every scale in the block is a finite number.
    fn is_finite(&self) -> bool;
}

/// A block type that can also be made from numbers.
pub(crate) trait Encode: Block {
    /// A magnitude that no block can hold, small enough for the sums of products in the searches to stay finite.
    const LIMIT: f32 = (1u32 << 30) as f32;

    /// Writes the fields to `bytes` `[BYTES]`.
    fn write(&self, bytes: &mut [u8]);

    /// The block that is nearest to `x` `[LEN]`, all finite, by the plain rule of the format.
    fn encode(x: &[f32]) -> Self;

    /// What weighs the errors of [`Block::encode_weighted`]; `None` if there is no such way.
    const SPREAD: Option<Spread> = None;
    /// Whether it is better than [`Block::encode`] also when all columns are of equal importance.
    const PLAIN: bool = false;

    /// As `encode`, with a weight for the error of each element; `greedy` if the weights are to be trusted.
    fn encode_weighted(x: &[f32], _w: &[f32], _greedy: bool) -> Self {
        Self::encode(x)
    }
}

/// How the importance q of a column and an element x make the weight of an error (reference: llama.cpp's quantizers,
/// whose makers found that large elements should count for more than their column says).
#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) enum Spread {
    /// q * sqrt(mean square of the row + x^2).
    Row,
    /// q * sqrt(factor * mean square of the block + x^2).
    Block(f32),
    /// q.
    Flat,
}

/// The first `N` of some elements.
pub(crate) fn array<const N: usize>(x: &[f32]) -> [f32; N] {
    std::array::from_fn(|i| x[i])
}

/// The `N` bytes at `at`.
pub(crate) fn field<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    let mut field = [0; N];
    field.copy_from_slice(&bytes[at..at + N]);
    field
}

/// The half float at `at`.
pub(crate) fn half_at(bytes: &[u8], at: usize) -> f16 {
    f16::from_le_bytes(field(bytes, at))
}

/// The 4-bit codes of 32 elements: byte j holds element j below and element j + 16 above.
pub(crate) fn nibbles(qs: &[u8; 16]) -> [u8; 32] {
    let mut q = [0; 32];
    for j in 0..16 {
        q[j] = qs[j] & 15;
        q[j + 16] = qs[j] >> 4;
    }
    q
}

/// The inverse of [`nibbles`]; codes are at most 15.
pub(crate) fn pack_nibbles(q: &[u8; 32]) -> [u8; 16] {
    std::array::from_fn(|j| q[j] | q[j + 16] << 4)
}

/// Adds bit i of `qh` to code i as bit 4.
pub(crate) fn add_fifth_bits(q: &mut [u8; 32], qh: u32) {
    for (i, q) in q.iter_mut().enumerate() {
        *q |= (((qh >> i) & 1) as u8) << 4;
    }
}

/// Splits 5-bit codes into nibbles and a word of the fifth bits.
pub(crate) fn split_fifth_bits(q: &[u8; 32]) -> ([u8; 16], u32) {
    let high = q.iter().enumerate().fold(0, |word, (i, q)| word | u32::from(q >> 4) << i);
    (pack_nibbles(&q.map(|q| q & 15)), high)
}

/// The `N` little-endian words at `at`.
pub(crate) fn words_at<const N: usize>(bytes: &[u8], at: usize) -> [u16; N] {
    std::array::from_fn(|i| u16::from_le_bytes(field(bytes, at + 2 * i)))
}

/// The 2-bit codes of 256 elements in the order of Q2_K, Q3_K and TQ2_0: in each half of 128, byte l of 32 holds the
/// elements l, l + 32, l + 64 and l + 96, lowest bits first.
pub(crate) fn two_bit_codes(qs: &[u8; 64]) -> [u8; 256] {
    let mut q = [0; 256];
    for (half, qs) in q.chunks_exact_mut(128).zip(qs.chunks_exact(32)) {
        for (g, quarter) in half.chunks_exact_mut(32).enumerate() {
            for (q, byte) in quarter.iter_mut().zip(qs) {
                *q = (byte >> (2 * g)) & 3;
            }
        }
    }
    q
}

/// The inverse of [`two_bit_codes`]; codes are at most 3.
pub(crate) fn pack_two_bit_codes(q: &[u8; 256]) -> [u8; 64] {
    std::array::from_fn(|k| {
        let first = 128 * (k / 32) + k % 32;
        (0..4).fold(0, |byte, g| byte | q[first + 32 * g] << (2 * g))
    })
}
