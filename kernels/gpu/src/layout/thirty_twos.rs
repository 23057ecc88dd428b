//! Blocks of 32 elements, in runs of four, so that scales of a byte or two fill words and fifth bits stand behind the
//! low bits of the whole run.

use super::planes::{self, put_bytes};
use super::{Layout, Word};

pub(super) const Q4_0: Layout =
    Layout { run: 4, codes: 16, scales: 2, file: "blocks/q4_0.wgsl", split: nibbles::<18, 2> };
pub(super) const Q4_1: Layout =
    Layout { run: 4, codes: 16, scales: 4, file: "blocks/q4_1.wgsl", split: nibbles::<20, 4> };
pub(super) const IQ4_NL: Layout =
    Layout { run: 4, codes: 16, scales: 2, file: "blocks/iq4_nl.wgsl", split: nibbles::<18, 2> };
pub(super) const MXFP4: Layout =
    Layout { run: 4, codes: 16, scales: 1, file: "blocks/mxfp4.wgsl", split: nibbles::<17, 1> };
pub(super) const Q5_0: Layout =
    Layout { run: 4, codes: 20, scales: 2, file: "blocks/q5_0.wgsl", split: fives::<22, 2> };
pub(super) const Q5_1: Layout =
    Layout { run: 4, codes: 20, scales: 4, file: "blocks/q5_1.wgsl", split: fives::<24, 4> };
pub(super) const Q8_0: Layout =
    Layout { run: 4, codes: 32, scales: 2, file: "blocks/q8_0.wgsl", split: q8_0 };

/// Scales of `SCALES` bytes, then 32 nibbles.
fn nibbles<const BYTES: usize, const SCALES: usize>(blocks: &[u8], codes: &mut [Word], scales: &mut [Word]) {
    let blocks = blocks.as_chunks::<BYTES>().0.iter();
    for (i, (block, codes)) in blocks.zip(codes.as_chunks_mut::<4>().0).enumerate() {
        let mut q = [0; 32];
        planes::halves::<16>(&block[SCALES..], &mut q);
        planes::put::<4>(&q, 0, codes);
        put_bytes(scales, SCALES * i, &block[..SCALES]);
    }
}

/// Scales of `SCALES` bytes, 32 fifth bits, 32 nibbles.
fn fives<const BYTES: usize, const SCALES: usize>(blocks: &[u8], codes: &mut [Word], scales: &mut [Word]) {
    let (low, high) = codes.split_at_mut(16);
    let words = low.as_chunks_mut::<4>().0.iter_mut().zip(high);
    for (i, (block, (low, high))) in blocks.as_chunks::<BYTES>().0.iter().zip(words).enumerate() {
        let mut q = [0; 32];
        planes::halves::<16>(&block[SCALES + 4..], &mut q);
        planes::put::<4>(&q, 0, low);
        planes::put_ones(planes::at(block, SCALES), high);
        put_bytes(scales, SCALES * i, &block[..SCALES]);
    }
}

fn q8_0(blocks: &[u8], codes: &mut [Word], scales: &mut [Word]) {
    for (i, block) in blocks.as_chunks::<34>().0.iter().enumerate() {
        put_bytes(codes, 32 * i, &block[2..]);
        put_bytes(scales, 2 * i, &block[..2]);
    }
}
