//! Blocks of 256 elements: 8 units with a scale for each 16 or 32 elements. Scales of any width become bytes; the numbers that
//! they are multiples of stand in the word before them.

use super::planes::{self, put_bytes};
use super::{Layout, Word};

pub(super) const Q2_K: Layout =
    Layout { run: 1, codes: 16, scales: 5, file: "blocks/q2_k.wgsl", split: q2_k };
pub(super) const Q3_K: Layout =
    Layout { run: 1, codes: 24, scales: 5, file: "blocks/q3_k.wgsl", split: q3_k };
pub(super) const Q4_K: Layout =
    Layout { run: 1, codes: 32, scales: 5, file: "blocks/q4_k.wgsl", split: q4_k };
pub(super) const Q5_K: Layout =
    Layout { run: 1, codes: 40, scales: 5, file: "blocks/q5_k.wgsl", split: q5_k };
pub(super) const Q6_K: Layout =
    Layout { run: 1, codes: 48, scales: 5, file: "blocks/q6_k.wgsl", split: q6_k };
pub(super) const IQ4_XS: Layout =
    Layout { run: 1, codes: 32, scales: 3, file: "blocks/iq4_xs.wgsl", split: iq4_xs };

fn q2_k(blocks: &[u8], codes: &mut [Word], scales: &mut [Word]) {
    let Some(block) = blocks.first_chunk::<84>() else { return };
    planes::put::<2>(&planes::quarters(planes::at(block, 16)), 0, codes);
    put_bytes(scales, 0, &block[80..]);
    put_bytes(scales, 4, &block[..16]);
}

fn q3_k(blocks: &[u8], codes: &mut [Word], scales: &mut [Word]) {
    let Some(block) = blocks.first_chunk::<110>() else { return };
    let mut q = planes::quarters(planes::at(block, 32));
    planes::add_bits(&mut q, planes::at(block, 0), 2);
    let (low, high) = codes.split_at_mut(16);
    planes::put::<2>(&q, 0, low);
    planes::put::<1>(&q, 2, high);
    // 16 low nibbles in bytes 0..8, then the two high bits of four scales to a byte.
    let s: &[u8; 12] = planes::at(block, 96);
    let scale = |j: usize| {
        let low = if j < 8 { s[j] & 15 } else { s[j - 8] >> 4 };
        (low | ((s[8 + j % 4] >> (2 * (j / 4))) & 3) << 4).wrapping_sub(32)
    };
    scales[0] = [block[108], block[109], 0, 0];
    put_bytes(scales, 4, &std::array::from_fn::<u8, 16, _>(scale));
}

fn q4_k(blocks: &[u8], codes: &mut [Word], scales: &mut [Word]) {
    let Some(block) = blocks.first_chunk::<144>() else { return };
    planes::put::<4>(&nibbles(planes::at(block, 16)), 0, codes);
    pairs(planes::at(block, 0), scales);
}

fn q5_k(blocks: &[u8], codes: &mut [Word], scales: &mut [Word]) {
    let Some(block) = blocks.first_chunk::<176>() else { return };
    let mut q = nibbles(planes::at(block, 48));
    planes::add_bits(&mut q, planes::at(block, 16), 4);
    let (low, high) = codes.split_at_mut(32);
    planes::put::<4>(&q, 0, low);
    planes::put::<1>(&q, 4, high);
    pairs(planes::at(block, 0), scales);
}

fn q6_k(blocks: &[u8], codes: &mut [Word], scales: &mut [Word]) {
    let Some(block) = blocks.first_chunk::<210>() else { return };
    // In each half of 128 the low bits are the low and then the high nibbles of 64 bytes.
    let mut q = [0; 256];
    for (q, ql) in q.as_chunks_mut::<128>().0.iter_mut().zip(block.as_chunks::<64>().0) {
        planes::halves::<64>(ql, q);
    }
    let (low, high) = codes.split_at_mut(32);
    planes::put::<4>(&q, 0, low);
    planes::put::<2>(&planes::quarters(planes::at(block, 128)), 0, high);
    scales[0] = [block[208], block[209], 0, 0];
    put_bytes(scales, 4, &block[192..208]);
}

fn iq4_xs(blocks: &[u8], codes: &mut [Word], scales: &mut [Word]) {
    let Some(block) = blocks.first_chunk::<136>() else { return };
    let mut q = [0; 256];
    for (q, qs) in q.as_chunks_mut::<32>().0.iter_mut().zip(block[8..].as_chunks::<16>().0) {
        planes::halves::<16>(qs, q);
    }
    planes::put::<4>(&q, 0, codes);
    // Low nibbles of the scales in bytes 4..8, the two high bits in bytes 2 and 3.
    let scale = |b: usize| {
        let low = (block[4 + b / 2] >> (4 * (b % 2))) & 15;
        (low | ((block[2 + b / 4] >> (2 * (b % 4))) & 3) << 4).wrapping_sub(32)
    };
    scales[0] = [block[0], block[1], 0, 0];
    put_bytes(scales, 4, &std::array::from_fn::<u8, 8, _>(scale));
}

/// The nibbles of Q4_K and Q5_K: each 32 bytes hold a group in their low nibbles and the next one in their high nibbles.
fn nibbles(qs: &[u8; 128]) -> [u8; 256] {
    let mut q = [0; 256];
    for (q, qs) in q.as_chunks_mut::<64>().0.iter_mut().zip(qs.as_chunks::<32>().0) {
        planes::halves::<32>(qs, q);
    }
    q
}

/// The scales of Q4_K and Q5_K: `d` and `dmin`, then for each group a byte of scale and a byte of minimum. In the file these are
/// 8 times 6 and 8 times 6 bits: four of each in the low bits of a byte, four of nibbles and the bits left over.
fn pairs(block: &[u8; 16], out: &mut [Word]) {
    let s: &[u8; 12] = planes::at(block, 4);
    let pair = |j: usize| match j {
        0..4 => [s[j] & 63, s[j + 4] & 63],
        _ => [s[j + 4] & 15 | (s[j - 4] >> 6) << 4, s[j + 4] >> 4 | (s[j] >> 6) << 4],
    };
    put_bytes(out, 0, &block[..4]);
    put_bytes(out, 4, std::array::from_fn::<_, 8, _>(pair).as_flattened());
}
