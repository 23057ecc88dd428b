//! The quantized linear without its instructions: what the kernel sets of this architecture share.
//!
//! Weight rows lie in SIMD lanes: `R` rows (8 or 16) advance together through 32 columns at a time, a
//! [`Step`]. So an activation is broadcast once for R rows, the scales of R rows are one vector, and no sum
//! ever runs across lanes, which is how the fixed order of the number contract comes for free.
//!
//! Few tokens: the blocks are unpacked into registers and multiplied at once, at memory speed. Many tokens:
//! whole rows are unpacked into a panel that stays in the second-level cache while tiles of tokens pass by,
//! so every weight is unpacked once.

use crate::table::{Acts, Matrix, Scratch};
use qwip_quant::unpack_groups;
use std::ops::Range;

/// Columns of a step.
const STEP: usize = 32;
/// A panel of rows takes about this much: it must stay in the second-level cache with a tile of tokens.
const PANEL_BYTES: usize = 384 << 10;

/// 32 columns of R rows, ready to multiply: G groups (1 or 2) per step, M of them (G or 0) with minimums.
#[derive(Clone, Copy)]
#[repr(C, align(64))]
pub(super) struct Step<const R: usize, const G: usize, const M: usize> {
    /// Four neighbouring codes of every row, eight times.
    pub(super) codes: [[[u8; 4]; R]; 8],
    pub(super) scales: [[f32; R]; G],
    pub(super) mins: [[f32; R]; M],
}

impl<const R: usize, const G: usize, const M: usize> Step<R, G, M> {
    pub(super) const ZERO: Self =
        Step { codes: [[[0; 4]; R]; 8], scales: [[0.0; R]; G], mins: [[0.0; R]; M] };
}

/// The same 32 columns of T tokens.
#[derive(Clone, Copy)]
#[repr(C)]
pub(super) struct ActStep<const T: usize, const G: usize> {
    /// Four neighbouring codes, eight times, as they lie in memory.
    pub(super) codes: [[i32; 8]; T],
    pub(super) scales: [f32; T],
    /// Per group: with minimums, the bits of the code sum as f32; else the integer that corrects for the
    /// offset of the weight codes, -offset * sum.
    pub(super) aux: [[i32; G]; T],
}

/// R neighbouring rows of a matrix, from a certain block on.
#[derive(Clone, Copy)]
pub(super) struct Rows {
    /// The block of the first row.
    pub(super) first: *const u8,
    /// Bytes from row to row.
    pub(super) stride: usize,
}

/// How the codes of a type lie in a [`Step`].
pub(super) trait Codes {
    /// What was added to the codes to make them unsigned (as the dot product instructions want them).
    const OFFSET: i32;
    /// How many products of two neighbouring codes with activations fit an i16 sum; 0 if the codes are
    /// signed. For instruction sets that multiply into i16.
    const FOLD: usize;
}

/// A type that is unpacked in registers. A block is unpacked in parts of S steps, so that loads, prefetches
/// and multiplications stay mixed.
pub(super) trait Blocks<const R: usize, const G: usize, const M: usize, const S: usize>:
    Codes
{
    /// Bytes of a block.
    const BYTES: usize;
    /// Parts of a block.
    const PARTS: usize;
    /// What all parts need.
    type Head: Copy;

    /// Reads the scales of one block of R rows.
    ///
    /// # Safety
    /// The CPU has the features of the kernel set; a whole block of each row is readable.
    unsafe fn head(rows: Rows) -> Self::Head;

    /// Unpacks a part of one block of R rows.
    ///
    /// # Safety
    /// As for `head`, of the same rows; `part < PARTS`.
    unsafe fn part(rows: Rows, head: &Self::Head, part: usize, out: &mut [Step<R, G, M>; S]);
}

/// The inner loops of an instruction set with R rows in lanes.
pub(super) trait Engine<const R: usize> {
    /// Tokens up to which the blocks are multiplied where they lie.
    const FEW: usize;
    /// Tokens of the widest tile: 4 or 8.
    const TILE: usize;

    /// Multiplies R rows of `acts.len()` steps, whole blocks, with T tokens, and prefetches as many bytes as
    /// they have from `next` on (null: nothing).
    ///
    /// # Safety
    /// The CPU has the features of the kernel set; that many steps of each row are readable.
    unsafe fn in_place<F, const G: usize, const M: usize, const S: usize, const T: usize>(
        rows: Rows,
        acts: &[ActStep<T, G>],
        next: *const u8,
    ) -> [[f32; R]; T]
    where
        F: Blocks<R, G, M, S>;

    /// Unpacks R rows of `panel.len()` steps, whole blocks.
    ///
    /// # Safety
    /// The CPU has the features of the kernel set; that many steps of each row are readable.
    unsafe fn unpack<F, const G: usize, const M: usize, const S: usize>(
        rows: Rows,
        panel: &mut [Step<R, G, M>],
    ) where
        F: Blocks<R, G, M, S>;

    /// Multiplies unpacked rows with T tokens.
    ///
    /// # Safety
    /// The CPU has the features of the kernel set.
    unsafe fn tile<F: Codes, const G: usize, const M: usize, const T: usize>(
        panel: &[Step<R, G, M>],
        acts: &[ActStep<T, G>],
    ) -> [[f32; R]; T];
}

/// R rows to compute at once, of which some belong to the output.
struct Window {
    first: usize,         // of R rows, all of which exist
    wanted: Range<usize>, // absolute rows
}

/// Covers `rows` with windows of R rows out of `all`, at least R. Where the last one would run over the
/// end it is moved back: rows computed twice give the same bits.
fn windows<const R: usize>(rows: Range<usize>, all: usize) -> impl Iterator<Item = Window> {
    let end = rows.end;
    let last = if rows.len() >= R { end - R } else { all - R };
    rows.step_by(R).map(move |r| Window { first: r.min(last), wanted: r..(r + R).min(end) })
}

/// Where the results go.
struct Output<'a> {
    out: &'a mut [f32], // [n, rows.len()]
    rows: Range<usize>,
}

impl Output<'_> {
    fn put<const R: usize, const T: usize>(&mut self, window: &Window, t0: usize, results: &[[f32; R]; T]) {
        let (from, len) = (window.wanted.start - window.first, window.wanted.len());
        let column = window.wanted.start - self.rows.start;
        for t in 0..T {
            let at = (t0 + t) * self.rows.len() + column;
            self.out[at..at + len].copy_from_slice(&results[t][from..from + len]);
        }
    }
}

/// The linear of a type with its own unpacking.
///
/// # Safety
/// The CPU has the features of engine `E`.
pub(super) unsafe fn linear_q<E, F, const R: usize, const G: usize, const M: usize, const S: usize>(
    w: &Matrix,
    rows: Range<usize>,
    x: &Acts,
    out: &mut [f32],
    scratch: &mut Scratch,
) where
    E: Engine<R>,
    F: Blocks<R, G, M, S>,
{
    check(w, &rows, x, out);
    if w.rows < R {
        return crate::scalar::linear::linear_q(w, rows, x, out, scratch);
    }
    let block = S * F::PARTS * STEP;
    assert!(w.cols.is_multiple_of(block), "{} columns in blocks of {block}", w.cols);
    assert!(
        w.bytes.len() == w.rows * (w.cols / block) * F::BYTES,
        "{} bytes in blocks of {}",
        w.bytes.len(),
        F::BYTES
    );
    let stride = w.row_bytes();
    let block_rows = |first: usize| Rows { first: w.bytes[first * stride..].as_ptr(), stride };
    if x.n > E::FEW {
        let unpack = |first: usize, panel: &mut [Step<R, G, M>]| {
            // SAFETY: the features are the caller's promise; `many` asks for rows that exist, in a panel as
            // long as they are.
            unsafe { E::unpack::<F, G, M, S>(block_rows(first), panel) };
        };
        // SAFETY: the caller's promise.
        return unsafe { many::<E, F, R, G, M>(w, rows, x, out, scratch, unpack) };
    }
    let mut output = Output { out, rows: rows.clone() };
    match x.n {
        // SAFETY: the caller's promise; windows only has rows that exist.
        1 => unsafe { few::<E, F, R, G, M, S, 1>(w, x, &mut output, scratch, block_rows) },
        // SAFETY: as above.
        2 => unsafe { few::<E, F, R, G, M, S, 2>(w, x, &mut output, scratch, block_rows) },
        // SAFETY: as above.
        3 => unsafe { few::<E, F, R, G, M, S, 3>(w, x, &mut output, scratch, block_rows) },
        // SAFETY: as above.
        4 => unsafe { few::<E, F, R, G, M, S, 4>(w, x, &mut output, scratch, block_rows) },
        _ => {}
    }
}

/// The linear of any other quantized type: the panel is filled from `unpack_groups`.
///
/// # Safety
/// The CPU has the features of engine `E`.
pub(super) unsafe fn linear_any<E, F, const R: usize, const G: usize, const M: usize>(
    w: &Matrix,
    rows: Range<usize>,
    x: &Acts,
    out: &mut [f32],
    scratch: &mut Scratch,
) where
    E: Engine<R>,
    F: Codes,
{
    check(w, &rows, x, out);
    let fits = w.ty.group_len() == Some(STEP / G) && w.ty.has_min() == (M > 0);
    if w.rows < R || !fits {
        return crate::scalar::linear::linear_q(w, rows, x, out, scratch);
    }
    let groups = w.cols * G / STEP;
    let mut codes = std::mem::take(&mut scratch.codes);
    let mut scales = std::mem::take(&mut scratch.scales);
    let mut mins = std::mem::take(&mut scratch.mins);
    codes.resize(w.cols, 0);
    scales.resize(groups, 0.0);
    mins.resize(groups, 0.0);
    let unpack = |first: usize, panel: &mut [Step<R, G, M>]| {
        for lane in 0..R {
            unpack_groups(w.ty, w.row(first + lane), &mut codes, &mut scales, &mut mins)
                .unwrap_or_else(|e| panic!("row {}: {e}", first + lane));
            for (s, step) in panel.iter_mut().enumerate() {
                for j in 0..8 {
                    for i in 0..4 {
                        let code = i32::from(codes[s * STEP + j * 4 + i]) + F::OFFSET;
                        step.codes[j][lane][i] = code as u8;
                    }
                }
                for g in 0..G {
                    step.scales[g][lane] = scales[s * G + g];
                }
                for g in 0..M {
                    step.mins[g][lane] = mins[s * G + g];
                }
            }
        }
    };
    // SAFETY: the caller's promise.
    unsafe { many::<E, F, R, G, M>(w, rows, x, out, scratch, unpack) };
    (scratch.codes, scratch.scales, scratch.mins) = (codes, scales, mins);
}

/// What safe callers may get wrong, and the loops below rely on.
fn check(w: &Matrix, rows: &Range<usize>, x: &Acts, out: &[f32]) {
    assert!(rows.start <= rows.end && rows.end <= w.rows, "rows {rows:?} of {}", w.rows);
    assert!(x.cols == w.cols, "{} columns times {} activations", w.cols, x.cols);
    assert!(out.len() == x.n * rows.len(), "{} results for {} x {}", out.len(), x.n, rows.len());
}

/// # Safety
/// The CPU has the features of engine `E`; `block_rows(r)` for r + R <= w.rows has whole rows.
unsafe fn few<E, F, const R: usize, const G: usize, const M: usize, const S: usize, const T: usize>(
    w: &Matrix,
    x: &Acts,
    output: &mut Output,
    scratch: &mut Scratch,
    block_rows: impl Fn(usize) -> Rows,
) where
    E: Engine<R>,
    F: Blocks<R, G, M, S>,
{
    let steps = w.cols / STEP;
    let bytes = scratch.aligned_panel(steps * size_of::<ActStep<T, G>>());
    let (acts, _) = carve::<ActStep<T, G>>(bytes, steps);
    pack::<T, G>(x, 0, F::OFFSET, M > 0, acts);
    let mut windows = windows::<R>(output.rows.clone(), w.rows).peekable();
    while let Some(window) = windows.next() {
        let next = windows.peek().map_or(std::ptr::null(), |next| block_rows(next.first).first);
        // SAFETY: the caller's promise.
        let results = unsafe { E::in_place::<F, G, M, S, T>(block_rows(window.first), acts, next) };
        output.put(&window, 0, &results);
    }
}

/// # Safety
/// The CPU has the features of engine `E`.
unsafe fn many<E, F, const R: usize, const G: usize, const M: usize>(
    w: &Matrix,
    rows: Range<usize>,
    x: &Acts,
    out: &mut [f32],
    scratch: &mut Scratch,
    mut unpack: impl FnMut(usize, &mut [Step<R, G, M>]),
) where
    E: Engine<R>,
    F: Codes,
{
    let steps = w.cols / STEP;
    if steps == 0 {
        return out.fill(0.0);
    }
    let row_group = steps * size_of::<Step<R, G, M>>();
    let groups = (PANEL_BYTES / row_group).clamp(1, rows.len().div_ceil(R).max(1));
    let tile_bytes = steps * E::TILE * size_of::<ActStep<1, G>>();
    let bytes = scratch.aligned_panel(groups * row_group + tile_bytes);
    let (panel, tile) = carve::<Step<R, G, M>>(bytes, groups * steps);
    let mut output = Output { out, rows: rows.clone() };
    let mut all = windows::<R>(rows, w.rows);
    loop {
        let windows: Vec<Window> = all.by_ref().take(groups).collect();
        if windows.is_empty() {
            return;
        }
        for (window, panel) in windows.iter().zip(panel.chunks_exact_mut(steps)) {
            unpack(window.first, panel);
        }
        let mut pass = Pass { x, panel, windows: &windows, output: &mut output, tile, t: 0 };
        // SAFETY: the caller's promise, for all four.
        unsafe {
            if E::TILE >= 8 {
                pass.tiles::<E, F, 8>();
            }
            pass.tiles::<E, F, 4>();
            pass.tiles::<E, F, 2>();
            pass.tiles::<E, F, 1>();
        }
    }
}

/// One pass of all tokens over a panel.
struct Pass<'a, 'o, const R: usize, const G: usize, const M: usize> {
    x: &'a Acts<'a>,
    panel: &'a [Step<R, G, M>],
    windows: &'a [Window],
    output: &'a mut Output<'o>,
    tile: &'a mut [u8],
    t: usize,
}

impl<const R: usize, const G: usize, const M: usize> Pass<'_, '_, R, G, M> {
    /// As many tiles of T tokens as are left.
    ///
    /// # Safety
    /// The CPU has the features of engine `E`.
    unsafe fn tiles<E: Engine<R>, F: Codes, const T: usize>(&mut self) {
        let steps = self.x.cols / STEP;
        while self.x.n - self.t >= T {
            let (acts, _) = carve::<ActStep<T, G>>(self.tile, steps);
            pack::<T, G>(self.x, self.t, F::OFFSET, M > 0, acts);
            for (window, panel) in self.windows.iter().zip(self.panel.chunks_exact(steps)) {
                // SAFETY: the caller's promise.
                let results = unsafe { E::tile::<F, G, M, T>(panel, acts) };
                self.output.put(window, self.t, &results);
            }
            self.t += T;
        }
    }
}

/// Copies the activations of T tokens from `t0` on into the order in which a tile reads them.
fn pack<const T: usize, const G: usize>(
    x: &Acts,
    t0: usize,
    offset: i32,
    as_float: bool,
    out: &mut [ActStep<T, G>],
) {
    let steps = out.len();
    for t in 0..T {
        let codes = x.codes[(t0 + t) * x.cols..][..x.cols].as_chunks::<STEP>().0;
        let scales = &x.scales[(t0 + t) * steps..][..steps];
        let sums = x.sums[(t0 + t) * steps * 2..][..steps * 2].as_chunks::<2>().0;
        for (((out, codes), scale), sums) in out.iter_mut().zip(codes).zip(scales).zip(sums) {
            out.codes[t] = bytemuck::cast(*codes);
            out.scales[t] = *scale;
            for g in 0..G {
                let sum = if G == 2 { sums[g] } else { sums[0] + sums[1] };
                out.aux[t][g] = if as_float { (sum as f32).to_bits() as i32 } else { -offset * sum };
            }
        }
    }
}

/// What scratch bytes may be read as: any bits are a value.
trait Plain {}
impl<const R: usize, const G: usize, const M: usize> Plain for Step<R, G, M> {}
impl<const T: usize, const G: usize> Plain for ActStep<T, G> {}

/// The first `len` values of scratch memory, and the bytes behind them.
fn carve<S: Plain>(bytes: &mut [u8], len: usize) -> (&mut [S], &mut [u8]) {
    let (head, tail) = bytes.split_at_mut(len * size_of::<S>());
    assert!(head.as_ptr().addr().is_multiple_of(align_of::<S>()), "scratch is not aligned");
    // SAFETY: the bytes are initialised, exclusively borrowed, aligned and of the right size, and every bit
    // pattern is a value of a plain type.
    (unsafe { std::slice::from_raw_parts_mut(head.as_mut_ptr().cast(), len) }, tail)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_cover_every_row_once_and_stay_inside() {
        for all in [16, 17, 40] {
            for start in 0..all {
                for end in start..=all {
                    let mut next = start;
                    for window in windows::<16>(start..end, all) {
                        assert!(window.first + 16 <= all, "{start}..{end} of {all}");
                        assert!(
                            window.first <= window.wanted.start && window.wanted.end <= window.first + 16
                        );
                        assert_eq!(window.wanted.start, next);
                        next = window.wanted.end;
                    }
                    assert_eq!(next, end);
                }
            }
        }
    }
}
