//! Rows against the formulas of the format, written out element by element.

use half::{bf16, f16};

use super::iq4_nl::IQ4_VALUES;
use super::mxfp4::E2M1_DOUBLED;
use super::search::nearest_entries;
use super::*;
use TensorType::*;

/// The quantized types that can be decoded.
const QUANTIZED: [TensorType; 25] = [
    Q4_0, Q4_1, Q5_0, Q5_1, Q8_0, Q2K, Q3K, Q4K, Q5K, Q6K, Iq4Nl, Iq4Xs, Mxfp4, Nvfp4, Iq1S, Iq1M, Iq2Xxs,
    Iq2Xs, Iq2S, Iq3Xxs, Iq3S, Tq1_0, Tq2_0, Q1_0, Q2_0,
];

/// Those that can be encoded.
fn encodable() -> impl Iterator<Item = TensorType> {
    QUANTIZED.into_iter().filter(|ty| ty.is_encodable())
}

/// Numbers that look random and are the same in every run.
pub(super) struct Noise(pub(super) u64);

impl Noise {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }

    pub(super) fn bytes(&mut self, n: usize) -> Vec<u8> {
        (0..n).map(|_| (self.next() >> 56) as u8).collect()
    }

    /// In -1..1.
    fn float(&mut self) -> f32 {
        (self.next() >> 40) as f32 / (1 << 23) as f32 - 1.0
    }
}

pub(super) fn half(b: &[u8], at: usize) -> f32 {
    f16::from_le_bytes([b[at], b[at + 1]]).to_f32()
}

/// Scale and minimum of group j of Q4_K and Q5_K, by the rule of the format.
fn pair(s: &[u8], j: usize) -> (f32, f32) {
    let (sc, mn) = if j < 4 {
        (s[j] & 63, s[j + 4] & 63)
    } else {
        ((s[j + 4] & 15) | (s[j - 4] >> 6) << 4, (s[j + 4] >> 4) | (s[j] >> 6) << 4)
    };
    (sc.into(), mn.into())
}

/// Element i of a block, from the description of the format and nothing else.
fn element(ty: TensorType, b: &[u8], i: usize) -> f32 {
    // The code of element i in 16 bytes of nibbles.
    let nibble = |qs: &[u8], i: usize| if i < 16 { qs[i] & 15 } else { qs[i - 16] >> 4 };
    let two_bits = |qs: &[u8]| (qs[32 * (i / 128) + i % 32] >> (2 * (i % 128 / 32))) & 3;
    let fifth = |qh: &[u8]| ((qh[i / 8] >> (i % 8)) & 1) << 4;
    match ty {
        Q4_0 => half(b, 0) * (f32::from(nibble(&b[2..], i)) - 8.0),
        Q4_1 => half(b, 0) * f32::from(nibble(&b[4..], i)) + half(b, 2),
        Q5_0 => half(b, 0) * (f32::from(nibble(&b[6..], i) | fifth(&b[2..])) - 16.0),
        Q5_1 => half(b, 0) * f32::from(nibble(&b[8..], i) | fifth(&b[4..])) + half(b, 2),
        Q8_0 => half(b, 0) * f32::from(b[2 + i] as i8),
        Iq4Nl => half(b, 0) * f32::from(IQ4_VALUES[usize::from(nibble(&b[2..], i))]),
        Mxfp4 => {
            let scale = power_of_two(i32::from(b[0]) - 128) as f32;
            scale * f32::from(E2M1_DOUBLED[usize::from(nibble(&b[1..], i))])
        }
        Q2K => {
            let s = b[i / 16];
            let code = f32::from(two_bits(&b[16..]));
            half(b, 80) * f32::from(s & 15) * code - half(b, 82) * f32::from(s >> 4)
        }
        Q3K => {
            let (s, j) = (&b[96..108], i / 16);
            let low = if j < 8 { s[j] & 15 } else { s[j - 8] >> 4 };
            let scale = low | ((s[8 + j % 4] >> (2 * (j / 4))) & 3) << 4;
            let below = if (b[i % 32] >> (i / 32)) & 1 == 1 { 0.0 } else { 4.0 };
            half(b, 108) * (f32::from(scale) - 32.0) * (f32::from(two_bits(&b[32..])) - below)
        }
        Q4K | Q5K => {
            let j = i / 32;
            let (sc, mn) = pair(&b[4..16], j);
            let qs = if ty == Q4K { &b[16..] } else { &b[48..] };
            let mut q = qs[32 * (j / 2) + i % 32] >> (4 * (j % 2)) & 15;
            if ty == Q5K {
                q += 16 * ((b[16 + i % 32] >> j) & 1);
            }
            half(b, 0) * sc * f32::from(q) - half(b, 2) * mn
        }
        Q6K => {
            let (h, g, l) = (i / 128, i % 128 / 32, i % 32);
            let low = (b[64 * h + 32 * (g % 2) + l] >> (4 * (g / 2))) & 15;
            let high = (b[128 + 32 * h + l] >> (2 * g)) & 3;
            half(b, 208) * f32::from(b[192 + i / 16] as i8) * (f32::from(low | high << 4) - 32.0)
        }
        Iq4Xs => {
            let g = i / 32;
            let low = (b[4 + g / 2] >> (4 * (g % 2))) & 15;
            let high = (u16::from_le_bytes([b[2], b[3]]) >> (2 * g) & 3) as u8;
            let code = IQ4_VALUES[usize::from(nibble(&b[8 + 16 * g..], i % 32))];
            half(b, 0) * (f32::from(low | high << 4) - 32.0) * f32::from(code)
        }
        _ => small_tests::element(ty, b, i),
    }
}

/// The same number, to the bit; any NaN is as good as another.
fn same(a: f32, b: f32) -> bool {
    a.to_bits() == b.to_bits() || (a.is_nan() && b.is_nan())
}

#[test]
fn random_blocks_decode_to_the_formulas_and_to_their_groups() {
    let mut noise = Noise(1);
    for ty in QUANTIZED {
        let (len, group) = (ty.block_len(), ty.group_len().unwrap());
        let blocks = 300;
        let bytes = noise.bytes(blocks * ty.block_bytes());
        let mut out = vec![0.0; blocks * len];
        decode_row(ty, &bytes, &mut out).unwrap();
        let mut codes = vec![0; out.len()];
        let mut scales = vec![0.0; out.len() / group];
        let mut mins = vec![0.0; if ty.has_min() { scales.len() } else { 0 }];
        unpack_groups(ty, &bytes, &mut codes, &mut scales, &mut mins).unwrap();
        for (i, &x) in out.iter().enumerate() {
            let wanted = element(ty, &bytes[i / len * ty.block_bytes()..], i % len);
            assert!(same(x, wanted), "{ty} element {i}: decoded {x}, the formula says {wanted}");
            let mut grouped = scales[i / group] * f32::from(codes[i]);
            if ty.has_min() {
                grouped -= mins[i / group];
            }
            assert!(same(x, grouped), "{ty} element {i}: decoded {x}, its group says {grouped}");
        }
    }
}

#[test]
fn every_mxfp4_exponent_is_a_power_of_two() {
    for e in 0..=255u8 {
        let mut block = [0x11; 17];
        block[0] = e;
        let mut out = [0.0; 32];
        decode_row(Mxfp4, &block, &mut out).unwrap();
        assert_eq!(f64::from(out[0]), power_of_two(i32::from(e) - 128), "exponent {e}");
    }
}

/// 2 to the n by repeated doubling or halving.
pub(super) fn power_of_two(n: i32) -> f64 {
    (0..n.abs()).fold(1.0, |x, _| if n < 0 { x / 2.0 } else { x * 2.0 })
}

/// Where the half floats of a block lie.
pub(super) fn half_fields(ty: TensorType) -> &'static [usize] {
    match ty {
        Q4_0 | Q5_0 | Q8_0 | Iq4Nl | Iq4Xs => &[0],
        Q4_1 | Q5_1 | Q4K | Q5K => &[0, 2],
        Q2K => &[80, 82],
        Q3K => &[108],
        Q6K => &[208],
        Tq1_0 => &[52],
        Tq2_0 => &[64],
        Q1_0 | Q2_0 | Iq1S | Iq2Xxs | Iq2Xs | Iq2S | Iq3Xxs | Iq3S => &[0],
        _ => &[],
    }
}

#[test]
fn encoding_keeps_the_error_that_the_bits_allow() {
    let mut noise = Noise(7);
    // Sums of four are close enough to what weights look like.
    let x: Vec<f32> = (0..8192).map(|_| (0..4).map(|_| noise.float()).sum::<f32>() * 0.02).collect();
    // Root mean square error over root mean square value: measured, rounded up by about a twentieth.
    for (ty, limit) in [
        (Q4_0, 0.085),
        (Q4_1, 0.0785),
        (Q5_0, 0.0425),
        (Q5_1, 0.0383),
        (Q8_0, 0.00535),
        (Q2K, 0.3),
        (Q3K, 0.152),
        (Q4K, 0.0717),
        (Q5K, 0.0363),
        (Q6K, 0.0178),
        (Iq4Nl, 0.077),
        (Iq4Xs, 0.0775),
        (Mxfp4, 0.12),
        (Nvfp4, 0.106),
        (Tq1_0, 0.8),
        (Tq2_0, 0.8),
        (Q1_0, 0.61),
        (Q2_0, 0.72),
        (F16, 0.00022),
        (Bf16, 0.00175),
        (F32, 0.0),
    ] {
        let mut bytes = vec![0; ty.row_bytes(x.len()).unwrap()];
        encode_row(ty, &x, &mut bytes).unwrap();
        check_row(ty, &bytes, x.len()).unwrap();
        let mut y = vec![0.0; x.len()];
        decode_row(ty, &bytes, &mut y).unwrap();
        let error: f64 = x.iter().zip(&y).map(|(x, y)| f64::from(x - y) * f64::from(x - y)).sum();
        let power: f64 = x.iter().map(|x| f64::from(*x) * f64::from(*x)).sum();
        let relative = (error / power).sqrt();
        assert!(relative <= limit, "{ty}: relative error {relative:.5}, limit {limit}");
        assert!(
            relative >= limit * 0.9,
            "{ty}: relative error {relative:.5} makes the limit {limit} a poor test"
        );
    }
}

#[test]
fn constant_and_extreme_rows_encode_to_finite_blocks() {
    for ty in encodable() {
        let large = if ty == Nvfp4 { 2688.0 } else { 3e4 };
        for x in [0.0, -0.0, 1.0, -1.0, 1e-20, f32::MIN_POSITIVE / 2.0, large, -large] {
            let row = [x; 256];
            let mut bytes = vec![0xaa; ty.row_bytes(256).unwrap()];
            encode_row(ty, &row, &mut bytes).unwrap();
            check_row(ty, &bytes, 256).unwrap();
            let mut out = [f32::NAN; 256];
            decode_row(ty, &bytes, &mut out).unwrap();
            for y in out {
                assert!((y - x).abs() <= x.abs() * 0.26 + 1e-7, "{ty}: {x} became {y}");
            }
        }
    }
}

#[test]
fn values_that_cannot_be_encoded_are_refused() {
    for ty in encodable() {
        for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            let mut x = [0.5; 512];
            x[300] = bad;
            let mut out = vec![0; ty.row_bytes(512).unwrap()];
            let error = encode_row(ty, &x, &mut out).unwrap_err();
            assert_eq!(error, TypeError::NotFinite { ty, column: 300 });
        }
        // The first is refused before it can overflow a search, the second because its scale does (in NVFP4 it is
        // the largest element that does).
        let second = if ty == Nvfp4 { 300 } else { 300 / ty.block_len() * ty.block_len() };
        for (large, column) in [(1e30, 300), (1e9, second)] {
            let mut x = [0.5; 512];
            x[300] = large;
            let mut out = vec![0; ty.row_bytes(512).unwrap()];
            let result = encode_row(ty, &x, &mut out);
            let refused = Err(TypeError::NotFinite { ty, column });
            assert_eq!(result, if ty == Mxfp4 { Ok(()) } else { refused }, "{large}");
        }
    }
}

#[test]
fn plain_floats_keep_their_bits_or_round_to_even() {
    let x = [1.0, -2.5, 65504.0, 65520.0, 1e-8, f32::MAX, 1.003_906_2, 1.011_718_8, -0.0];
    let mut f = [0; 36];
    encode_row(F32, &x, &mut f).unwrap();
    let mut back = [0.0; 9];
    decode_row(F32, &f, &mut back).unwrap();
    assert_eq!(back.map(f32::to_bits), x.map(f32::to_bits));

    let mut h = [0; 18];
    encode_row(F16, &x, &mut h).unwrap();
    decode_row(F16, &h, &mut back).unwrap();
    let inf = f32::INFINITY;
    assert_eq!(back, [1.0, -2.5, 65504.0, inf, 0.0, inf, 1.003_906_2, 1.011_718_8, -0.0]);
    assert_eq!(check_row(F16, &h, 9), Err(TypeError::NotFinite { ty: F16, column: 3 }));

    encode_row(Bf16, &x, &mut h).unwrap();
    decode_row(Bf16, &h, &mut back).unwrap();
    assert_eq!(back, [1.0, -2.5, 65536.0, 65536.0, bf16::from_f32(1e-8).to_f32(), inf, 1.0, 1.015_625, -0.0]);
    let mut nan = [0; 2];
    encode_row(Bf16, &[f32::from_bits(0x7f80_0001)], &mut nan).unwrap();
    decode_row(Bf16, &nan, &mut back[..1]).unwrap();
    assert!(back[0].is_nan());
}

#[test]
fn long_rows_of_half_floats_convert_like_single_ones() {
    let mut noise = Noise(3);
    let bytes = noise.bytes(2 * 1000);
    let mut out = vec![0.0; 1000];
    decode_row(F16, &bytes, &mut out).unwrap();
    for (b, &x) in bytes.chunks(2).zip(&out) {
        assert!(same(x, half(b, 0)));
    }
    let x: Vec<f32> = (0..1001).map(|_| noise.float() * 10.0).collect();
    let mut bytes = vec![0; 2 * 1001];
    encode_row(F16, &x, &mut bytes).unwrap();
    for (b, &x) in bytes.chunks(2).zip(&x) {
        assert_eq!(f16::from_le_bytes([b[0], b[1]]), f16::from_f32(x));
    }
}

#[test]
fn scans_find_the_first_bad_block() {
    let mut noise = Noise(9);
    for ty in encodable() {
        let row: Vec<f32> = (0..1024).map(|_| noise.float()).collect();
        let good = {
            let mut bytes = vec![0; ty.row_bytes(1024).unwrap()];
            encode_row(ty, &row, &mut bytes).unwrap();
            bytes
        };
        let at = 2 * ty.block_bytes();
        let spoiled: Vec<usize> =
            if ty == Mxfp4 { vec![at] } else { half_fields(ty).iter().map(|f| at + f + 1).collect() };
        for place in spoiled {
            let mut bytes = good.clone();
            bytes[place] = if ty == Mxfp4 { 255 } else { 0x7c };
            let column = 2 * ty.block_len();
            assert_eq!(check_row(ty, &bytes, 1024), Err(TypeError::NotFinite { ty, column }));
        }
    }
}

#[test]
fn lengths_that_do_not_belong_together_are_errors() {
    let mut out = [0.0; 64];
    let bytes = TypeError::RowBytes { ty: Q4_0, cols: 64, expected: 36, found: 35 };
    assert_eq!(decode_row(Q4_0, &[0; 35], &mut out), Err(bytes));
    assert_eq!(bytes.to_string(), "a Q4_0 row of 64 elements takes 36 bytes, found 35");
    let cols = TypeError::RowLength { ty: Q4_0, cols: 33, block: 32 };
    assert_eq!(decode_row(Q4_0, &[0; 18], &mut out[..33]), Err(cols));
    assert_eq!(encode_row(Q4_0, &out[..33], &mut [0; 18]), Err(cols));
    assert_eq!(decode_row(I16, &[], &mut []), Err(TypeError::Unsupported(I16)));
    assert_eq!(encode_row(Q8K, &[], &mut []), Err(TypeError::Unsupported(Q8K)));
    let plain = unpack_groups(F16, &[], &mut [], &mut [], &mut []);
    assert_eq!(plain, Err(TypeError::NotQuantized(F16)));
    let groups = |what| TypeError::Groups { ty: Q4_1, cols: 64, what, expected: 2, found: 1 };
    let unpack = |s: &mut [f32], m: &mut [f32]| unpack_groups(Q4_1, &[0; 40], &mut [0; 64], s, m);
    assert_eq!(unpack(&mut [0.0], &mut [0.0; 2]), Err(groups("scales")));
    assert_eq!(unpack(&mut [0.0; 2], &mut [0.0]), Err(groups("mins")));
}

#[test]
fn tables_are_consistent() {
    for (i, ty) in TensorType::ALL.into_iter().enumerate() {
        assert!(i == 0 || TensorType::ALL[i - 1].id() < ty.id());
        assert_eq!(TensorType::from_id(ty.id()), Some(ty));
        assert_eq!(TensorType::from_name(&ty.name().to_lowercase()), Some(ty));
        assert!(!REMOVED_IDS.contains(&ty.id()));
        assert_eq!(ty.row_bytes(3 * ty.block_len()), Some(3 * ty.block_bytes()));
        assert!(ty.block_len() == 1 || ty.row_bytes(ty.block_len() + 1).is_none());
    }
    for id in (0..64).filter(|id| TensorType::from_id(*id).is_none()) {
        assert!(id >= 43 || REMOVED_IDS.contains(&id), "id {id} is neither known nor removed");
    }
    assert_eq!(F32.row_bytes(usize::MAX), None);
    for ty in QUANTIZED {
        assert!(ty.is_decodable() && ty.is_quantized());
    }
    assert_eq!(TensorType::ALL.into_iter().filter(|t| t.is_decodable()).count(), QUANTIZED.len() + 3);
}

#[test]
fn file_types_go_by_name_and_number() {
    assert_eq!(FileType::from_name("q4_k_m").unwrap().id, 15);
    assert_eq!(FileType::from_name("Q4_K").unwrap().id, 15);
    assert_eq!(FileType::from_name("Q3_K").unwrap().name, "Q3_K_M");
    assert_eq!(FileType::from_name("Q2_K").unwrap().id, 10);
    assert_eq!(FileType::from_id(1024 + 7).unwrap().base, Q8_0);
    assert!(FileType::from_id(5).is_none() && FileType::from_name("Q4_2").is_none());
    for t in FILE_TYPES {
        assert_eq!(FileType::from_id(t.id), Some(t));
        assert_eq!(FileType::from_name(t.name), Some(t));
    }
}

#[test]
fn the_nearest_entry_is_the_nearest() {
    let mut noise = Noise(5);
    for round in 0..2000 {
        let x: [f32; 32] = std::array::from_fn(|i| match round % 3 {
            0 => noise.float() * 150.0,
            // Around the middle between two entries, where it is close.
            1 => {
                let k = i % 15;
                let middle = (f32::from(IQ4_VALUES[k]) + f32::from(IQ4_VALUES[k + 1])) / 2.0;
                f32::from_bits(middle.to_bits().wrapping_add((noise.next() % 5) as u32).wrapping_sub(2))
            }
            _ => (noise.next() % 512) as f32 / 2.0 - 128.0,
        });
        for (x, found) in x.into_iter().zip(nearest_entries(&x, 1.0, &IQ4_VALUES)) {
            // In f64, where the differences are exact.
            let distance = |k: usize| (f64::from(IQ4_VALUES[k]) - f64::from(x)).abs();
            let wanted = (1..16).fold(0, |best, k| if distance(k) <= distance(best) { k } else { best });
            assert_eq!(usize::from(found), wanted, "{x}");
        }
    }
}

proptest::proptest! {
    #[test]
    fn any_bytes_decode_without_a_panic(bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..900)) {
        for ty in TensorType::ALL {
            let cols = bytes.len() / ty.block_bytes() * ty.block_len();
            let whole = &bytes[..cols / ty.block_len() * ty.block_bytes()];
            let mut out = vec![0.0; cols];
            assert_eq!(decode_row(ty, whole, &mut out).is_ok(), ty.is_decodable());
            if let Err(error) = check_row(ty, whole, cols) {
                assert!(matches!(error, TypeError::NotFinite { .. } | TypeError::Unsupported(_)));
            } else {
                // The largest exponents of MXFP4 are fine with small codes only.
                assert!(ty == Mxfp4 || out.iter().all(|x| x.is_finite()), "{ty}");
            }
        }
    }

    #[test]
    fn any_finite_values_encode_without_a_panic(bits in proptest::collection::vec(proptest::prelude::any::<u32>(), 256)) {
        let x: Vec<f32> = bits.into_iter().map(f32::from_bits).map(|x| if x.is_finite() { x } else { 0.0 }).collect();
        for ty in encodable() {
            let mut bytes = vec![0; ty.row_bytes(256).unwrap()];
            if encode_row(ty, &x, &mut bytes).is_ok() {
                check_row(ty, &bytes, 256).unwrap();
            }
        }
    }
}

/// Numbers with heavy tails, and every 37th column much larger.
fn rough(seed: u64, len: usize) -> Vec<f32> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut uniform = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 40) as f32 / (1 << 24) as f32
    };
    let mut value = |i: usize| {
        let (a, b) = (uniform() - 0.5, uniform());
        a / (0.05 + b) * if i % 37 == 5 { 10.0 } else { 0.3 }
    };
    (0..len).map(&mut value).collect()
}

/// Sums of squared errors as shares of those by the plain rule, means over rows: searched; weighted by importance, and
/// searched with it.
fn errors(ty: TensorType) -> [f64; 2] {
    const COLS: usize = 512;
    let importance: Vec<f32> = rough(99, COLS).iter().map(|v| v * v + 0.01).collect();
    const ROWS: u64 = 40;
    let mut sums = [0.0; 2];
    for seed in 0..ROWS {
        let x = rough(seed + 1, COLS);
        let mut bytes = vec![0; ty.row_bytes(COLS).unwrap()];
        let mut decoded = vec![0.0; COLS];
        let mut error = |bytes: &[u8], w: &dyn Fn(usize) -> f32| {
            decode_row(ty, bytes, &mut decoded).unwrap();
            (0..COLS)
                .map(|i| f64::from(w(i)) * f64::from(x[i] - decoded[i]) * f64::from(x[i] - decoded[i]))
                .sum::<f64>()
        };
        encode_row(ty, &x, &mut bytes).unwrap();
        let plain = [error(&bytes, &|_| 1.0), error(&bytes, &|i| importance[i])];
        encode_row_searched(ty, &x, None, &mut bytes).unwrap();
        sums[0] += error(&bytes, &|_| 1.0) / plain[0];
        encode_row_searched(ty, &x, Some(&importance), &mut bytes).unwrap();
        sums[1] += error(&bytes, &|i| importance[i]) / plain[1];
    }
    sums.map(|sum| sum / ROWS as f64)
}

#[test]
fn a_search_lowers_the_error_and_importance_lowers_it_more() {
    for ty in TensorType::ALL.into_iter().filter(|ty| ty.is_encodable() && ty.is_quantized()) {
        let [searched, with_importance] = errors(ty);
        println!("{ty}: {searched:.4} {with_importance:.4}");
        assert!(searched <= 1.0, "{ty}: {searched}");
        match ty {
            Q8_0 | Mxfp4 | Tq1_0 | Tq2_0 | Q1_0 | Q2_0 | Nvfp4 => {
                assert_eq!((searched, with_importance), (1.0, 1.0), "{ty}")
            }
            Q4_0 | Q4_1 | Q5_0 | Q5_1 => assert!(searched < 1.0 && with_importance < searched, "{ty}"),
            _ => assert!(searched == 1.0 && with_importance < 0.98, "{ty}: {with_importance}"),
        }
    }
    let wrong = encode_row_searched(Q4_0, &[0.0; 32], Some(&[1.0; 31]), &mut [0; 18]);
    assert_eq!(wrong, Err(TypeError::Importance { cols: 32, found: 31 }));
}
