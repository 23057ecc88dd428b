//! The types for little memory against their formulas and against what ggml makes of the same blocks.

use half::f16;

use super::grids::{IQ2_S, IQ2_XS, IQ2_XXS, iq3_s, iq3_xxs, ternary};
use super::mxfp4::E2M1_DOUBLED;
use super::tests::{Noise, half, power_of_two};
use super::*;
use TensorType::*;

/// The types of this module's tests.
const SMALL: [TensorType; 12] =
    [Nvfp4, Iq1S, Iq1M, Iq2Xxs, Iq2Xs, Iq2S, Iq3Xxs, Iq3S, Tq1_0, Tq2_0, Q1_0, Q2_0];

fn word(b: &[u8], at: usize) -> u16 {
    u16::from_le_bytes([b[at], b[at + 1]])
}

fn bits(b: &[u8], first: usize, n: usize) -> usize {
    (0..n).map(|k| usize::from((b[(first + k) / 8] >> ((first + k) % 8)) & 1) << k).sum()
}

/// Element i of eight with signs; an eighth sign that is not stored makes their number even.
fn with_sign(magnitudes: u64, signs: usize, i: usize, seven: bool) -> f32 {
    let negative = if seven && i == 7 { signs.count_ones() % 2 == 1 } else { (signs >> i) & 1 == 1 };
    let magnitude = ((magnitudes >> (8 * i)) & 255) as f32;
    if negative { -magnitude } else { magnitude }
}

/// Element i of a block, from the description of the format.
pub(super) fn element(ty: TensorType, b: &[u8], i: usize) -> f32 {
    // Eight elements, their number, and the place among them; a group of 16 and of 32.
    let (k, at, j16, j32) = (i / 8, i % 8, i / 16, i / 32);
    let four_bits = |from: usize, j: usize| bits(&b[from..], 4 * j, 4) as f32;
    match ty {
        Nvfp4 => {
            let (exponent, mantissa) = (i32::from(b[j16] >> 3 & 15), f64::from(b[j16] & 7));
            let scale = match (b[j16], exponent) {
                (0x7f, _) => 0.0,
                (_, 0) => mantissa * power_of_two(-9) / 2.0,
                _ => (1.0 + mantissa / 8.0) * power_of_two(exponent - 7) / 2.0,
            };
            let byte = b[4 + 8 * j16 + at];
            let code = if i % 16 < 8 { byte & 15 } else { byte >> 4 };
            (scale * f64::from(E2M1_DOUBLED[usize::from(code)])) as f32
        }
        Q1_0 => half(b, 0) * if bits(&b[2..], i, 1) == 1 { 1.0 } else { -1.0 },
        Q2_0 => half(b, 0) * (bits(&b[2..], 2 * i, 2) as f32 - 1.0),
        Tq2_0 => {
            let code = (b[32 * (i / 128) + i % 32] >> (2 * (i % 128 / 32))) & 3;
            half(b, 64) * (f32::from(code) - 1.0)
        }
        Tq1_0 => {
            let (n, byte) = match i {
                0..160 => (i / 32, b[i % 32]),
                160..240 => ((i - 160) / 16, b[32 + i % 16]),
                _ => ((i - 240) / 4, b[48 + i % 4]),
            };
            let shifted = (0..n).fold(u32::from(byte), |v, _| v * 3 % 256);
            half(b, 52) * (((shifted * 3) >> 8) as f32 - 1.0)
        }
        Iq2Xxs => {
            let entry = IQ2_XXS[usize::from(b[2 + 8 * j32 + k % 4])];
            let signs = bits(&b[6 + 8 * j32..], 7 * (k % 4), 7);
            let s = bits(&b[6 + 8 * j32..], 28, 4) as f32;
            half(b, 0) * (0.5 + s) * 0.25 * with_sign(entry, signs, at, true)
        }
        Iq2Xs => {
            let q = usize::from(word(b, 2 + 2 * k));
            half(b, 0) * (0.5 + four_bits(66, j16)) * 0.25 * with_sign(IQ2_XS[q % 512], q / 512, at, true)
        }
        Iq2S => {
            let index = usize::from(b[2 + k]) + 256 * bits(&b[66..], 2 * k, 2);
            let code = with_sign(IQ2_S[index], b[34 + k].into(), at, false);
            half(b, 0) * (0.5 + four_bits(74, j16)) * 0.25 * code
        }
        Iq3Xxs => {
            let signs = bits(&b[66 + 4 * j32..], 7 * (k % 4), 7);
            let s = bits(&b[66 + 4 * j32..], 28, 4) as f32;
            let entries = iq3_xxs(b[2 + 2 * k], b[3 + 2 * k]);
            half(b, 0) * (0.5 + s) * 0.5 * with_sign(entries, signs, at, true)
        }
        Iq3S => {
            let index = |k: usize| usize::from(b[2 + k]) + 256 * bits(&b[66..], k, 1);
            let entries = iq3_s(index(2 * k), index(2 * k + 1));
            half(b, 0) * (1.0 + 2.0 * four_bits(106, j32)) * with_sign(entries, b[74 + k].into(), at, false)
        }
        Iq1S => {
            let qh = usize::from(word(b, 34 + 2 * j32));
            let index = usize::from(b[2 + k]) + 256 * (qh >> (3 * (k % 4)) & 7);
            // Entries are kept times eight and shifted.
            let g = f32::from(ternary(index, false)[at] - 1) / 8.0;
            let delta = if qh >> 15 == 1 { -0.125 } else { 0.125 };
            half(b, 0) * (2.0 * (qh >> 12 & 7) as f32 + 1.0) * (g + delta)
        }
        Iq1M => {
            let nibble = bits(&b[32..], 4 * k, 4);
            let g = f32::from(ternary(usize::from(b[k]) + 256 * (nibble & 7), false)[at] - 1) / 8.0;
            let delta = if nibble & 8 != 0 { -0.125 } else { 0.125 };
            let d = (0..4).map(|n| word(b, 48 + 2 * n) >> 12 << (4 * n)).sum();
            let s = bits(&b[48 + 2 * (j16 / 4)..], 3 * (j16 % 4), 3) as f32;
            f16::from_bits(d).to_f32() * (2.0 * s + 1.0) * (g + delta)
        }
        _ => panic!("{ty} has no blocks"),
    }
}

/// What ggml makes of 1000 blocks of random bytes, all bits of all values mixed into one number: see
/// tests/reference_values.py.
const REFERENCE_VALUES: [(TensorType, u64); 12] = [
    (Nvfp4, 0xd3b9_c43b_9c4c_ab25),
    (Iq1S, 0x6278_34e4_ce1d_fee5),
    (Iq1M, 0x605b_ed4e_3f05_c725),
    (Iq2Xxs, 0xaeb4_9a98_7034_3a9d),
    (Iq2Xs, 0x98d9_beb7_7a92_ab15),
    (Iq2S, 0x5928_3835_5d1c_03ad),
    (Iq3Xxs, 0xf0a0_f87f_042a_f69d),
    (Iq3S, 0xfbed_666f_eab5_c1b5),
    (Tq1_0, 0x551a_0a52_09df_0325),
    (Tq2_0, 0x3478_b9f0_0878_2325),
    (Q1_0, 0x8ea6_2b82_b09a_3325),
    (Q2_0, 0x7f7c_7b83_09dc_0b25),
];

#[test]
fn random_blocks_decode_to_the_bits_of_the_reference() {
    for (ty, wanted) in REFERENCE_VALUES {
        let bytes = Noise(u64::from(ty.id())).bytes(1000 * ty.block_bytes());
        let mut out = vec![0.0; 1000 * ty.block_len()];
        decode_row(ty, &bytes, &mut out).unwrap();
        let found = out.into_iter().fold(0xcbf2_9ce4_8422_2325, |hash, x| {
            let bits = if x.is_nan() { 0x7fc0_0000 } else { x.to_bits() };
            (hash ^ u64::from(bits)).wrapping_mul(0x0100_0000_01b3)
        });
        assert_eq!(found, wanted, "{ty}: {found:#x}");
    }
}

#[test]
fn codebooks_are_for_reading_only() {
    for ty in SMALL {
        let mut bytes = vec![0; ty.row_bytes(256).unwrap()];
        let result = encode_row(ty, &[0.5; 256], &mut bytes);
        assert_eq!(result.is_ok(), ty.is_encodable(), "{ty}");
        assert!(ty.is_encodable() || result == Err(TypeError::NotEncodable(ty)));
    }
    assert_eq!(TypeError::NotEncodable(Iq3S).to_string(), "type IQ3_S can be decoded, but not encoded");
    assert_eq!(
        encode_row(Iq3S, &[0.0; 32], &mut []),
        Err(TypeError::RowLength { ty: Iq3S, cols: 32, block: 256 })
    );
}

#[test]
fn nvfp4_rounds_scales_to_the_nearest() {
    for code in 0..=0x7eu8 {
        let mut block = [0x11; 36];
        block[0] = code;
        let mut out = [0.0; 64];
        decode_row(Nvfp4, &block, &mut out).unwrap();
        // Six times the scale as the largest element gives the scale back; between 240 and 448 there is none.
        let mut x = [0.0; 64];
        x[3] = out[0] * 2.0 * 6.0;
        encode_row(Nvfp4, &x, &mut block).unwrap();
        assert_eq!(block[0], if code >= 0x78 { 0x7e } else { code });
    }
}
