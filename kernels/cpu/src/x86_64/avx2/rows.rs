//! Loads that turn eight neighbouring rows into eight lanes.

use crate::x86_64::linear_q::Rows;
use std::arch::x86_64::*;

/// Rows in lanes.
pub(super) const LANES: usize = 8;

/// Sixteen bytes at `offset` of every row: vector i has bytes 4i..4i + 4 of the rows in its lanes.
///
/// Two loads put rows 0 4, 1 5, ... side by side, then two rounds of interleaving inside the 128-bit parts
/// bring the rows into order; no shuffle crosses those parts.
///
/// # Safety
/// Those bytes of the eight rows are readable.
#[target_feature(enable = "avx2,fma,f16c")]
#[inline]
pub(super) unsafe fn words4(rows: Rows, offset: usize) -> [__m256i; 4] {
    let pair = |row: usize| {
        // SAFETY: the caller's promise.
        let part = |row: usize| unsafe { _mm_loadu_si128(rows.first.add(row * rows.stride + offset).cast()) };
        _mm256_inserti128_si256::<1>(_mm256_castsi128_si256(part(row)), part(row + 4))
    };
    let [a, b, c, d] = [pair(0), pair(1), pair(2), pair(3)];
    let (ab_low, ab_high) = (_mm256_unpacklo_epi32(a, b), _mm256_unpackhi_epi32(a, b));
    let (cd_low, cd_high) = (_mm256_unpacklo_epi32(c, d), _mm256_unpackhi_epi32(c, d));
    [
        _mm256_unpacklo_epi64(ab_low, cd_low),
        _mm256_unpackhi_epi64(ab_low, cd_low),
        _mm256_unpacklo_epi64(ab_high, cd_high),
        _mm256_unpackhi_epi64(ab_high, cd_high),
    ]
}

/// The half precision numbers in the lower halves of the lanes. (The scale of a block comes out of [`words4`]
/// too: that is cheaper than one load for every row.)
#[target_feature(enable = "avx2,fma,f16c")]
#[inline]
pub(super) fn lower_halves(v: __m256i) -> __m256 {
    let v = _mm256_and_si256(v, _mm256_set1_epi32(0xffff));
    let packed = _mm256_permute4x64_epi64::<0b1000>(_mm256_packus_epi32(v, v));
    _mm256_cvtph_ps(_mm256_castsi256_si128(packed))
}

/// Writes four codes of every row.
#[target_feature(enable = "avx2,fma,f16c")]
#[inline]
pub(super) fn put_codes(out: &mut [[u8; 4]; LANES], codes: __m256i) {
    // SAFETY: 32 bytes are written to 32 bytes.
    unsafe { _mm256_storeu_si256(out.as_mut_ptr().cast(), codes) };
}

/// Reads what [`put_codes`] wrote.
#[target_feature(enable = "avx2,fma,f16c")]
#[inline]
pub(super) fn get_codes(codes: &[[u8; 4]; LANES]) -> __m256i {
    // SAFETY: 32 bytes are read from 32 bytes.
    unsafe { _mm256_loadu_si256(codes.as_ptr().cast()) }
}

/// Writes one number of every row.
#[target_feature(enable = "avx2,fma,f16c")]
#[inline]
pub(super) fn put(out: &mut [f32; LANES], v: __m256) {
    // SAFETY: eight floats are written to eight floats.
    unsafe { _mm256_storeu_ps(out.as_mut_ptr(), v) };
}

/// Reads what [`put`] wrote.
#[target_feature(enable = "avx2,fma,f16c")]
#[inline]
pub(super) fn get(v: &[f32; LANES]) -> __m256 {
    // SAFETY: eight floats are read from eight floats.
    unsafe { _mm256_loadu_ps(v.as_ptr()) }
}
