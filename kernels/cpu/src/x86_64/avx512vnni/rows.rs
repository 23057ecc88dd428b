//! Loads that turn sixteen neighbouring rows into sixteen lanes.

use crate::x86_64::linear_q::Rows;
use std::arch::x86_64::*;

/// The instructions of this kernel set, and 16 rows in lanes.
pub(super) const LANES: usize = 16;

/// Sixteen bytes at `offset` of every row: vector i has bytes 4i..4i + 4 of the rows in its lanes.
///
/// Four loads put rows 0 4 8 12, 1 5 9 13, ... side by side, then two rounds of interleaving inside the
/// 128-bit parts bring the rows into order; no shuffle crosses those parts.
///
/// # Safety
/// Those bytes of the sixteen rows are readable.
#[target_feature(enable = "avx2,fma,f16c,avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
#[inline]
pub(super) unsafe fn words4(rows: Rows, offset: usize) -> [__m512i; 4] {
    let quad = |row: usize| {
        // SAFETY: the caller's promise.
        let part = |row: usize| unsafe { _mm_loadu_si128(rows.first.add(row * rows.stride + offset).cast()) };
        let v = _mm512_castsi128_si512(part(row));
        let v = _mm512_inserti32x4::<1>(v, part(row + 4));
        let v = _mm512_inserti32x4::<2>(v, part(row + 8));
        _mm512_inserti32x4::<3>(v, part(row + 12))
    };
    let [a, b, c, d] = [quad(0), quad(1), quad(2), quad(3)];
    let (ab_low, ab_high) = (_mm512_unpacklo_epi32(a, b), _mm512_unpackhi_epi32(a, b));
    let (cd_low, cd_high) = (_mm512_unpacklo_epi32(c, d), _mm512_unpackhi_epi32(c, d));
    [
        _mm512_unpacklo_epi64(ab_low, cd_low),
        _mm512_unpackhi_epi64(ab_low, cd_low),
        _mm512_unpacklo_epi64(ab_high, cd_high),
        _mm512_unpackhi_epi64(ab_high, cd_high),
    ]
}

/// The half precision numbers in the lower halves of the lanes. (The scale of a block comes out of [`words4`]
/// too: that is cheaper than one load for every row.)
#[target_feature(enable = "avx2,fma,f16c,avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
#[inline]
pub(super) fn lower_halves(v: __m512i) -> __m512 {
    _mm512_cvtph_ps(_mm512_cvtepi32_epi16(v))
}

/// Writes four codes of every row.
#[target_feature(enable = "avx2,fma,f16c,avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
#[inline]
pub(super) fn put_codes(out: &mut [[u8; 4]; LANES], codes: __m512i) {
    // SAFETY: 64 bytes are written to 64 bytes.
    unsafe { _mm512_storeu_si512(out.as_mut_ptr().cast(), codes) };
}

/// Reads what [`put_codes`] wrote.
#[target_feature(enable = "avx2,fma,f16c,avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
#[inline]
pub(super) fn get_codes(codes: &[[u8; 4]; LANES]) -> __m512i {
    // SAFETY: 64 bytes are read from 64 bytes.
    unsafe { _mm512_loadu_si512(codes.as_ptr().cast()) }
}

/// Writes one number of every row.
#[target_feature(enable = "avx2,fma,f16c,avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
#[inline]
pub(super) fn put(out: &mut [f32; LANES], v: __m512) {
    // SAFETY: sixteen floats are written to sixteen floats.
    unsafe { _mm512_storeu_ps(out.as_mut_ptr(), v) };
}

/// Reads what [`put`] wrote.
#[target_feature(enable = "avx2,fma,f16c,avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
#[inline]
pub(super) fn get(v: &[f32; LANES]) -> __m512 {
    // SAFETY: sixteen floats are read from sixteen floats.
    unsafe { _mm512_loadu_ps(v.as_ptr()) }
}
