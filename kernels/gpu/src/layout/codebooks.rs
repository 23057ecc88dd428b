//! The types whose codes are indices into a codebook. Of each unit of 32 elements the low bits of the indices are a word or
//! two, the signs another; the rest stands with the scales or behind the units.

use super::planes::put_bytes;
use super::{Layout, Word};

pub(super) const IQ1_S: Layout =
    Layout { run: 2, codes: 24, scales: 1, file: "blocks/iq1_s.wgsl", split: iq1_s };
pub(super) const IQ1_M: Layout =
    Layout { run: 1, codes: 12, scales: 3, file: "blocks/iq1_m.wgsl", split: iq1_m };
pub(super) const IQ2_XXS: Layout =
    Layout { run: 2, codes: 32, scales: 1, file: "blocks/iq2_xxs.wgsl", split: iq2_xxs };
pub(super) const IQ2_XS: Layout =
    Layout { run: 1, codes: 16, scales: 3, file: "blocks/iq2_xs.wgsl", split: iq2_xs };
pub(super) const IQ2_S: Layout =
    Layout { run: 1, codes: 16, scales: 5, file: "blocks/iq2_s.wgsl", split: iq2_s };
pub(super) const IQ3_XXS: Layout =
    Layout { run: 2, codes: 48, scales: 1, file: "blocks/iq3_xxs.wgsl", split: iq3_xxs };
pub(super) const IQ3_S: Layout =
    Layout { run: 1, codes: 24, scales: 5, file: "blocks/iq3_s.wgsl", split: iq3_s };

/// 8 words of indices, 4 of what else a unit has, half a word each.
fn iq1_s(blocks: &[u8], codes: &mut [Word], scales: &mut [Word]) {
    for (i, block) in blocks.as_chunks::<50>().0.iter().enumerate() {
        put_bytes(codes, 48 * i, &block[2..]);
        put_bytes(scales, 2 * i, &block[..2]);
    }
}

/// The codes as those of IQ1_S. In the file the scale of the scales is in the top nibbles of four numbers, below each of which
/// are 3 bits for 16 elements, four times; here a unit has its 6 bits in a byte.
fn iq1_m(block: &[u8], codes: &mut [Word], scales: &mut [Word]) {
    put_bytes(codes, 0, &block[..48]);
    let (words, _) = block[48..].as_chunks::<2>();
    let bits = |i: usize| u16::from_le_bytes(words[i]);
    let d = (0..4).fold(0, |d, i| d | (bits(i) >> 12) << (4 * i));
    put_bytes(scales, 0, &[d as u8, (d >> 8) as u8, 0, 0]);
    put_bytes(scales, 4, &std::array::from_fn::<u8, 8, _>(|u| (bits(u / 2) >> (6 * (u % 2))) as u8 & 63));
}

fn iq2_xxs(blocks: &[u8], codes: &mut [Word], scales: &mut [Word]) {
    for (i, block) in blocks.as_chunks::<66>().0.iter().enumerate() {
        put_bytes(codes, 64 * i, &block[2..]);
        put_bytes(scales, 2 * i, &block[..2]);
    }
}

fn iq2_xs(block: &[u8], codes: &mut [Word], scales: &mut [Word]) {
    put_bytes(codes, 0, &block[2..66]);
    put_bytes(scales, 0, &[block[0], block[1], 0, 0]);
    put_bytes(scales, 4, &block[66..]);
}

/// 8 words of indices, 8 of signs; with the scales, for each unit the upper bits of the indices and the two scales.
fn iq2_s(block: &[u8], codes: &mut [Word], scales: &mut [Word]) {
    put_bytes(codes, 0, &block[2..66]);
    put_bytes(scales, 0, &[block[0], block[1], 0, 0]);
    let units: [_; 8] = std::array::from_fn(|u| [block[66 + u], block[74 + u]]);
    put_bytes(scales, 4, units.as_flattened());
}

/// 16 words of indices, 8 of signs and scales.
fn iq3_xxs(blocks: &[u8], codes: &mut [Word], scales: &mut [Word]) {
    for (i, block) in blocks.as_chunks::<98>().0.iter().enumerate() {
        put_bytes(codes, 96 * i, &block[2..]);
        put_bytes(scales, 2 * i, &block[..2]);
    }
}

/// 16 words of indices, 8 of signs; with the scales, for each unit the ninth bits of the indices and the scale.
fn iq3_s(block: &[u8], codes: &mut [Word], scales: &mut [Word]) {
    put_bytes(codes, 0, &block[2..66]);
    put_bytes(codes, 64, &block[74..106]);
    put_bytes(scales, 0, &[block[0], block[1], 0, 0]);
    let units: [_; 8] = std::array::from_fn(|u| [block[66 + u], block[106 + u / 2] >> (4 * (u % 2)) & 15]);
    put_bytes(scales, 4, units.as_flattened());
}
