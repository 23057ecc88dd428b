//! Test data: a small generator of numbers, weight bytes and activations, the same on every run.
#![allow(dead_code, reason = "each test program uses a part")]

pub(crate) mod delta;

use qwip_cpu::{ActsBuffer, Matrix, reference};
use qwip_quant::TensorType;
use qwip_quant::types::check_row;

/// The types whose rows are groups of codes.
pub(crate) const QUANTIZED: [TensorType; 25] = [
    TensorType::Q4_0,
    TensorType::Q4_1,
    TensorType::Q5_0,
    TensorType::Q5_1,
    TensorType::Q8_0,
    TensorType::Q2K,
    TensorType::Q3K,
    TensorType::Q4K,
    TensorType::Q5K,
    TensorType::Q6K,
    TensorType::Iq4Nl,
    TensorType::Iq4Xs,
    TensorType::Mxfp4,
    TensorType::Nvfp4,
    TensorType::Iq1S,
    TensorType::Iq1M,
    TensorType::Iq2Xxs,
    TensorType::Iq2Xs,
    TensorType::Iq2S,
    TensorType::Iq3Xxs,
    TensorType::Iq3S,
    TensorType::Tq1_0,
    TensorType::Tq2_0,
    TensorType::Q1_0,
    TensorType::Q2_0,
];

/// The types whose rows are plain floats.
pub(crate) const FLOATS: [TensorType; 3] = [TensorType::F32, TensorType::F16, TensorType::Bf16];

/// An xorshift generator.
pub(crate) struct Rng(pub(crate) u64);

impl Rng {
    pub(crate) fn bits(&mut self) -> u32 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 32) as u32
    }

    /// Below `n`.
    pub(crate) fn below(&mut self, n: usize) -> usize {
        self.bits() as usize % n
    }

    /// Between -1 and 1, in steps that fill the mantissa.
    pub(crate) fn float(&mut self) -> f32 {
        self.bits() as i32 as f32 / 2_147_483_648.0
    }

    pub(crate) fn floats(&mut self, n: usize) -> Vec<f32> {
        (0..n).map(|_| self.float()).collect()
    }

    /// Mostly small numbers, a few large, zeros of both signs.
    pub(crate) fn activations(&mut self, n: usize) -> Vec<f32> {
        (0..n)
            .map(|_| match self.below(20) {
                0 => self.float() * 300.0,
                1 => 0.0,
                2 => -0.0,
                _ => self.float(),
            })
            .collect()
    }

    pub(crate) fn bytes(&mut self, n: usize) -> Vec<u8> {
        (0..n).map(|_| self.bits() as u8).collect()
    }
}

/// How a matrix is filled.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Fill {
    /// Encoded from ordinary numbers; of types without an encoder any bytes in which the scales are numbers.
    Encoded,
    /// Random bytes: every code, and scales of every size and sign, infinities and NaNs among them.
    Bytes,
    /// Every byte the same: the extreme codes (0x00, 0xff) with scales that are 0 or NaN, and others.
    Constant(u8),
    /// Codes at an extreme (0x00, 0xff, 0x7f, 0x80...) and ordinary scales: the largest integer sums.
    Extreme(u8),
}

pub(crate) const FILLS: [Fill; 9] = [
    Fill::Encoded,
    Fill::Bytes,
    Fill::Constant(0x00),
    Fill::Constant(0xff),
    Fill::Constant(0x3b),
    Fill::Extreme(0x00),
    Fill::Extreme(0xff),
    Fill::Extreme(0x80),
    Fill::Extreme(0x7f),
];

/// The half precision fields of a block: scales that apply to all of it.
pub(crate) fn half_fields(ty: TensorType) -> &'static [usize] {
    match ty {
        TensorType::Q4_1 | TensorType::Q5_1 | TensorType::Q4K | TensorType::Q5K => &[0, 2],
        TensorType::Q2K => &[80, 82],
        TensorType::Q3K => &[108],
        TensorType::Q6K => &[208],
        TensorType::Tq1_0 => &[52],
        TensorType::Tq2_0 => &[64],
        TensorType::Mxfp4 | TensorType::Nvfp4 | TensorType::Iq1M => &[],
        _ => &[0],
    }
}

pub(crate) fn weights(rng: &mut Rng, ty: TensorType, rows: usize, cols: usize, fill: Fill) -> Vec<u8> {
    let row = ty.row_bytes(cols).unwrap();
    let mut bytes = vec![0u8; rows * row];
    match fill {
        Fill::Encoded if !ty.is_encodable() => {
            for out in bytes.chunks_exact_mut(ty.block_bytes()) {
                out.copy_from_slice(&rng.bytes(out.len()));
                while check_row(ty, out, ty.block_len()).is_err() {
                    out.copy_from_slice(&rng.bytes(out.len()));
                }
            }
        }
        Fill::Encoded => {
            for out in bytes.chunks_exact_mut(row) {
                let scale = 0.01 + rng.float().abs();
                let x: Vec<f32> = rng.floats(cols).iter().map(|x| x * scale).collect();
                qwip_quant::encode_row(ty, &x, out).unwrap();
            }
        }
        Fill::Bytes => bytes = rng.bytes(rows * row),
        Fill::Constant(byte) => bytes.fill(byte),
        Fill::Extreme(byte) => {
            bytes.fill(byte);
            for block in bytes.chunks_exact_mut(ty.block_bytes()) {
                // Zero, the smallest denormal, ordinary and large, of both signs.
                let scales =
                    [0x0000u16, 0x0001, 0x8001, 0x03ff, 0x2a00, 0xaa00, 0x3c00, 0xbc00, 0x7bff, 0x8000];
                for &at in half_fields(ty) {
                    block[at..at + 2].copy_from_slice(&scales[rng.below(scales.len())].to_le_bytes());
                }
                match ty {
                    TensorType::Mxfp4 => block[0] = [0, 1, 120, 127, 135, 254, 255][rng.below(7)],
                    TensorType::Nvfp4 => {
                        block[..4].fill_with(|| [0, 1, 7, 8, 0x38, 0x7e, 0x7f, 0x80, 0xff][rng.below(9)]);
                    }
                    TensorType::Iq1M => {
                        // A nibble of the scale at the top of each of the last four words.
                        let scale = scales[rng.below(scales.len())];
                        for i in 0..4 {
                            let nibble = (scale >> (4 * i)) as u8 & 15;
                            block[49 + 2 * i] = block[49 + 2 * i] & 15 | nibble << 4;
                        }
                    }
                    _ => {}
                }
            }
        }
    }
    bytes
}

/// Quantized rows, by the reference.
pub(crate) struct Quantized {
    pub(crate) n: usize,
    pub(crate) cols: usize,
    pub(crate) codes: Vec<i8>,
    pub(crate) scales: Vec<f32>,
    pub(crate) sums: Vec<i32>,
}

impl Quantized {
    pub(crate) fn new(x: &[f32], cols: usize) -> Quantized {
        let n = x.len() / cols;
        let (mut codes, mut scales, mut sums) =
            (vec![0; x.len()], vec![0.0; x.len() / 32], vec![0; x.len() / 16]);
        // Rows are whole blocks, so all rows together are one long row.
        reference::quantize::quantize(x, &mut codes, &mut scales, &mut sums);
        Quantized { n, cols, codes, scales, sums }
    }

    pub(crate) fn plain(&self) -> reference::linear::Quantized<'_> {
        reference::linear::Quantized { n: self.n, cols: self.cols, codes: &self.codes, scales: &self.scales }
    }

    /// The same in tiles of at most `widest` tokens.
    pub(crate) fn tiled(&self, widest: usize) -> ActsBuffer {
        let mut buffer = ActsBuffer::default();
        buffer.resize(self.n, self.cols, widest);
        let steps = self.cols / 32;
        for (first, mut tile) in buffer.tiles_mut() {
            for (t, step) in (0..tile.width).flat_map(|t| (0..steps).map(move |step| (t, step))) {
                let block = (first + t) * steps + step;
                let codes = self.codes[block * 32..].first_chunk().unwrap();
                tile.put(
                    step,
                    t,
                    codes,
                    self.scales[block],
                    [self.sums[2 * block], self.sums[2 * block + 1]],
                );
            }
        }
        buffer
    }
}

/// Takes results of some rows into `out [n, width]`.
pub(crate) fn sink(out: &mut [f32], first_row: usize, width: usize) -> impl FnMut(usize, usize, &[f32]) {
    move |row, t, y| out[t * width + (row - first_row)..][..y.len()].copy_from_slice(y)
}

pub(crate) fn matrix(ty: TensorType, rows: usize, cols: usize, bytes: &[u8]) -> Matrix<'_> {
    Matrix::new(ty, rows, cols, bytes).unwrap()
}

/// Equality of the contract: the same bits, or NaN in both.
pub(crate) fn same(a: f32, b: f32) -> bool {
    a.to_bits() == b.to_bits() || (a.is_nan() && b.is_nan())
}

pub(crate) fn assert_same(found: &[f32], expected: &[f32], what: &dyn std::fmt::Display) {
    assert_eq!(found.len(), expected.len(), "{what}");
    for (i, (&found, &expected)) in found.iter().zip(expected).enumerate() {
        assert!(same(found, expected), "{what}: element {i} is {found:e}, the reference says {expected:e}");
    }
}
