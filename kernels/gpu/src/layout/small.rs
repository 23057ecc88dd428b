//! Types with blocks of their own: NVFP4, and those of at most two bits with one scale.

use super::planes::{self, put_bytes};
use super::{Layout, Word};

pub(super) const NVFP4: Layout =
    Layout { run: 1, codes: 8, scales: 1, file: "blocks/nvfp4.wgsl", split: nvfp4 };
pub(super) const TQ1_0: Layout =
    Layout { run: 2, codes: 26, scales: 1, file: "blocks/tq1_0.wgsl", split: tq1_0 };
pub(super) const TQ2_0: Layout =
    Layout { run: 2, codes: 32, scales: 1, file: "blocks/tq2_0.wgsl", split: tq2_0 };
pub(super) const Q1_0: Layout = Layout { run: 2, codes: 8, scales: 1, file: "blocks/q1_0.wgsl", split: q1_0 };
pub(super) const Q2_0: Layout = Layout { run: 2, codes: 8, scales: 1, file: "blocks/q2_0.wgsl", split: q2_0 };

/// 4 scales, then 8 bytes for each 16 elements, whose halves are low and high nibbles.
fn nvfp4(block: &[u8], codes: &mut [Word], scales: &mut [Word]) {
    let mut q = [0; 64];
    for (q, qs) in q.as_chunks_mut::<16>().0.iter_mut().zip(block[4..].as_chunks::<8>().0) {
        planes::halves::<8>(qs, q);
    }
    planes::put::<4>(&q, 0, codes);
    put_bytes(scales, 0, &block[..4]);
}

/// Five digits of base 3 to a byte, which leave no better order: as in the file.
fn tq1_0(blocks: &[u8], codes: &mut [Word], scales: &mut [Word]) {
    for (i, block) in blocks.as_chunks::<54>().0.iter().enumerate() {
        put_bytes(codes, 52 * i, &block[..52]);
        put_bytes(scales, 2 * i, &block[52..]);
    }
}

fn tq2_0(blocks: &[u8], codes: &mut [Word], scales: &mut [Word]) {
    let blocks = blocks.as_chunks::<66>().0.iter();
    for (i, (block, codes)) in blocks.zip(codes.as_chunks_mut::<16>().0).enumerate() {
        planes::put::<2>(&planes::quarters(planes::at(block, 0)), 0, codes);
        put_bytes(scales, 2 * i, &block[64..]);
    }
}

/// A bit for each of 128 elements.
fn q1_0(blocks: &[u8], codes: &mut [Word], scales: &mut [Word]) {
    let blocks = blocks.as_chunks::<18>().0.iter();
    for (i, (block, codes)) in blocks.zip(codes.as_chunks_mut::<4>().0).enumerate() {
        for (bits, word) in block[2..].as_chunks::<4>().0.iter().zip(codes) {
            planes::put_ones(bits, word);
        }
        put_bytes(scales, 2 * i, &block[..2]);
    }
}

/// Two bits for each of 64 elements.
fn q2_0(blocks: &[u8], codes: &mut [Word], scales: &mut [Word]) {
    let blocks = blocks.as_chunks::<18>().0.iter();
    for (i, (block, codes)) in blocks.zip(codes.as_chunks_mut::<4>().0).enumerate() {
        for (bits, word) in block[2..].as_chunks::<4>().0.iter().zip(codes) {
            planes::put_twos(bits, word);
        }
        put_bytes(scales, 2 * i, &block[..2]);
    }
}
