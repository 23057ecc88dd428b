//! The quantized linear.
//!
//! Weight rows lie in SIMD lanes: `R` rows advance together through 32 columns at a time, a [`Step`]. So an
//! activation is broadcast once for R rows, the scales of R rows are one vector, and no sum ever runs across
//! lanes, which is how the fixed order of the number contract comes for free.
//!
//! Few tokens: the blocks are unpacked into registers and multiplied at once, at memory speed. Many tokens: a
//! panel of rows is unpacked that stays in the second-level cache while tiles of tokens pass by, so every weight
//! is unpacked once. Long rows are cut, so that the panel has enough of them: the activations come from further
//! away for every panel. The chains of an earlier part of the columns are then kept, and go on in the next. In between, as
//! when several sequences answer together, unpacking takes most of the time: the panel then is R rows, which stay in the
//! first-level cache, and the rows that follow are asked for meanwhile.

use super::Simd;
use crate::acts::{ActStep, ActTile, Acts, STEP};
use crate::table::{Matrix, Scratch, Sink};
use std::ops::Range;

/// A panel of rows takes about this much: it must stay in the second-level cache with a tile of tokens.
const PANEL_BYTES: usize = 384 << 10;
/// Columns of a panel are at most this many steps: a tile of ten tokens then takes 19 KiB, which stay in the
/// first-level cache while the panel passes.
const PANEL_STEPS: usize = 32;
/// Up to so many tokens, which stay in the first-level cache, a panel is R rows.
const SMALL: usize = 16;

/// 32 columns of R rows, ready to multiply: G groups (1 or 2) per step, M of them (G or 0) with minimums.
#[derive(Clone, Copy)]
#[repr(C, align(64))]
pub(crate) struct Step<const R: usize, const G: usize, const M: usize> {
    /// Four neighbouring codes of every row, eight times.
    pub(crate) codes: [[[u8; 4]; R]; 8],
    pub(crate) scales: [[f32; R]; G],
    pub(crate) mins: [[f32; R]; M],
}

impl<const R: usize, const G: usize, const M: usize> Step<R, G, M> {
    const ZERO: Self = Step { codes: [[[0; 4]; R]; 8], scales: [[0.0; R]; G], mins: [[0.0; R]; M] };

    #[inline(always)]
    pub(crate) fn put_scale<S: Simd>(&mut self, s: S, group: usize, v: S::F) {
        const { assert!(R == S::LANES) };
        // SAFETY: R floats.
        unsafe { s.store(self.scales[group].as_mut_ptr(), v) };
    }

    #[inline(always)]
    pub(crate) fn put_min<S: Simd>(&mut self, s: S, group: usize, v: S::F) {
        const { assert!(R == S::LANES) };
        // SAFETY: R floats.
        unsafe { s.store(self.mins[group].as_mut_ptr(), v) };
    }
}

/// Neighbouring rows of a matrix, from a certain block on.
#[derive(Clone, Copy)]
pub(crate) struct Rows {
    /// The block of the first row.
    pub(crate) first: *const u8,
    /// Bytes from row to row.
    pub(crate) stride: usize,
}

impl Rows {
    /// The same rows, `bytes` further on.
    fn skip(self, bytes: usize) -> Rows {
        Rows { first: self.first.wrapping_add(bytes), ..self }
    }
}

/// How the codes of a type lie in a [`Step`].
pub(crate) trait Codes<S: Simd> {
    /// What was added to the codes to make them unsigned (as the dot product instructions want them): 0 or a
    /// power of two.
    const OFFSET: i32;
    /// How many products of two neighbouring codes with activations fit an i16 sum; 0 for 8-bit codes. For
    /// instruction sets that multiply into i16.
    #[cfg_attr(not(target_arch = "x86_64"), expect(dead_code, reason = "others have wider sums"))]
    const FOLD: usize;
}

/// Codes of BITS bits with an offset. Types whose codes are alike share what is compiled for them.
pub(crate) struct Narrow<const BITS: u32, const OFFSET: i32>;

impl<S: Simd, const BITS: u32, const OFFSET: i32> Codes<S> for Narrow<BITS, OFFSET> {
    const OFFSET: i32 = OFFSET;
    // Two products are at most 2 * (2^BITS - 1) * 127, and 8 vectors of codes make a group.
    const FOLD: usize = match BITS {
        0..=4 => 8,
        5 => 4,
        _ => 2,
    };
}

/// 8-bit codes.
pub(crate) struct Wide;

impl<S: Simd> Codes<S> for Wide {
    const OFFSET: i32 = S::SIGNED;
    const FOLD: usize = 0;
}

/// A quantized type. A block is unpacked in parts of L steps, so that loads, prefetches and multiplications
/// stay mixed.
pub(crate) trait Blocks<S: Simd, const R: usize, const G: usize, const M: usize, const L: usize> {
    /// What its codes are like.
    type Codes: Codes<S>;
    /// Bytes of a block.
    const BYTES: usize;
    /// Parts of a block.
    const PARTS: usize;
    /// Up to so many tokens (1 or 4) are multiplied with blocks as they are unpacked, more with a panel.
    const IN_PLACE: usize = 4;
    /// What all parts need.
    type Head;

    /// Reads the scales of one block of R rows.
    ///
    /// # Safety
    /// A whole block of each row is readable.
    unsafe fn head(s: S, rows: Rows) -> Self::Head;

    /// Unpacks a part of one block of R rows.
    ///
    /// # Safety
    /// As for `head`, of the same rows; `part < PARTS`.
    unsafe fn part(s: S, rows: Rows, head: &Self::Head, part: usize, out: &mut [Step<R, G, M>; L]);
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

impl Window {
    /// Hands the wanted rows of T tokens from `t0` on over.
    #[inline(always)]
    fn put<const R: usize, const T: usize>(&self, t0: usize, results: &[[f32; R]; T], sink: &mut Sink) {
        let (from, len) = (self.wanted.start - self.first, self.wanted.len());
        for t in 0..T {
            sink(self.wanted.start, t0 + t, &results[t][from..from + len]);
        }
    }
}

/// See `reference::linear::linear_q`.
pub(crate) fn linear_q<S, B, const R: usize, const G: usize, const M: usize, const L: usize>(
    s: S,
    w: &Matrix,
    rows: Range<usize>,
    x: &Acts,
    sink: &mut Sink,
    scratch: &mut Scratch,
) where
    S: Simd,
    B: Blocks<S, R, G, M, L>,
{
    assert!(rows.start <= rows.end && rows.end <= w.rows, "rows {rows:?} of {}", w.rows);
    assert!(x.cols() == w.cols, "{} columns times {} activations", w.cols, x.cols());
    if w.rows < R || w.cols == 0 {
        return crate::scalar::linear::linear_q(w, rows, x, sink, scratch);
    }
    let block = L * B::PARTS * STEP;
    assert!(w.cols.is_multiple_of(block), "{} columns in blocks of {block}", w.cols);
    let row_bytes = w.cols / block * B::BYTES;
    assert!(w.bytes.len() == w.rows * row_bytes, "{} bytes in blocks of {}", w.bytes.len(), B::BYTES);
    let job = Job::<S, B, R, G, M, L> { s, w, row_bytes, blocks: std::marker::PhantomData };
    let only = x.only_tile();
    if let Some(tile) = only.filter(|tile| tile.width == 1) {
        return job.few(rows, tile.steps::<1>(), sink);
    }
    if const { B::IN_PLACE >= 4 } {
        match only {
            Some(tile) if tile.width == 2 => return job.few(rows, tile.steps::<2>(), sink),
            Some(tile) if tile.width == 3 => return job.few(rows, tile.steps::<3>(), sink),
            Some(tile) if tile.width == 4 => return job.few(rows, tile.steps::<4>(), sink),
            _ => {}
        }
    }
    job.many(rows, x, sink, scratch);
}

/// A matrix whose sizes fit its bytes.
struct Job<'a, S, B, const R: usize, const G: usize, const M: usize, const L: usize> {
    s: S,
    w: &'a Matrix<'a>,
    row_bytes: usize,
    blocks: std::marker::PhantomData<B>,
}

impl<S, B, const R: usize, const G: usize, const M: usize, const L: usize> Job<'_, S, B, R, G, M, L>
where
    S: Simd,
    B: Blocks<S, R, G, M, L>,
{
    /// R rows from `first` on; panics if there are not so many.
    fn rows(&self, first: usize) -> Rows {
        let bytes = &self.w.bytes[first * self.row_bytes..(first + R) * self.row_bytes];
        Rows { first: bytes.as_ptr(), stride: self.row_bytes }
    }

    /// Where rows from `first` on are, if there are some: nothing is read there.
    fn first_columns(&self, first: usize) -> Rows {
        Rows { first: self.w.bytes.as_ptr().wrapping_add(first * self.row_bytes), stride: self.row_bytes }
    }

    /// All rows times T tokens, in place.
    fn few<const T: usize>(&self, rows: Range<usize>, acts: &[ActStep<T>], sink: &mut Sink) {
        let mut windows = windows::<R>(rows, self.w.rows).peekable();
        while let Some(window) = windows.next() {
            let next = windows.peek().map_or(std::ptr::null(), |next| self.rows(next.first).first);
            let rows = self.rows(window.first);
            let results: [[f32; R]; T] = self.s.run(
                #[inline(always)]
                || {
                    // SAFETY: the rows are as long as the activations.
                    unsafe { in_place::<S, B, R, G, M, L, T>(self.s, rows, acts, next) }
                },
            );
            window.put(0, &results, sink);
        }
    }

    /// All rows times all tokens, by way of panels.
    fn many(&self, rows: Range<usize>, x: &Acts, sink: &mut Sink, scratch: &mut Scratch) {
        let (steps, step_bytes) = (self.w.cols / STEP, size_of::<Step<R, G, M>>());
        let parts = steps.div_ceil(PANEL_STEPS);
        let part_steps = (steps / (L * B::PARTS)).div_ceil(parts) * L * B::PARTS;
        let small = x.n() <= SMALL;
        let most = if small { 1 } else { PANEL_BYTES / (part_steps * step_bytes) };
        let groups = most.clamp(1, rows.len().div_ceil(R).max(1));
        let sums = if parts > 1 { groups * x.n() * R } else { 0 };
        let (panel, sums) = scratch.panel_and_sums(groups * part_steps * step_bytes, sums);
        for first in rows.clone().step_by(groups * R) {
            let some_rows = first..rows.end.min(first + groups * R);
            for part in (0..steps).step_by(part_steps) {
                let columns = part..steps.min(part + part_steps);
                let panel = as_steps::<R, G, M>(&mut panel[..groups * columns.len() * step_bytes]);
                for (window, panel) in
                    windows::<R>(some_rows.clone(), self.w.rows).zip(panel.chunks_exact_mut(columns.len()))
                {
                    let rows = self.rows(window.first).skip(columns.start / (L * B::PARTS) * B::BYTES);
                    // What follows: further columns of these rows or, behind the last, the next rows.
                    let further = columns.len() / (L * B::PARTS) * B::BYTES;
                    let next = match (small, columns.end < steps) {
                        (false, _) => None,
                        (true, true) => Some(rows.skip(further)),
                        (true, false) => Some(self.first_columns(window.first + R)),
                    };
                    self.s.run(
                        #[inline(always)]
                        || {
                            // SAFETY: the rows are at least as long as the columns of the panel.
                            unsafe { unpack::<S, B, R, G, M, L>(self.s, rows, panel, next) }
                        },
                    );
                }
                for tile in x.tiles() {
                    for (group, (window, panel)) in windows::<R>(some_rows.clone(), self.w.rows)
                        .zip(panel.chunks_exact(columns.len()))
                        .enumerate()
                    {
                        // [groups, n, R]
                        let kept = (group * x.n() + tile.first) * R;
                        let chain = Chain {
                            sums: sums.get_mut(kept..kept + tile.width * R).unwrap_or_default(),
                            first: columns.start == 0,
                            last: columns.end == steps,
                        };
                        let factors = Factors { panel, steps: columns.clone(), tile: &tile };
                        multiply_tile::<S, B::Codes, R, G, M>(self.s, &window, factors, chain, sink);
                    }
                }
            }
        }
    }
}

/// Unpacked steps of rows, and the tokens that they are multiplied with.
struct Factors<'a, const R: usize, const G: usize, const M: usize> {
    panel: &'a [Step<R, G, M>],
    steps: Range<usize>, // of the columns
    tile: &'a ActTile<'a>,
}

/// Where chains come from and go.
struct Chain<'a> {
    sums: &'a mut [f32], // [T, R], of steps before the first and after the last
    first: bool,
    last: bool,
}

/// Unpacked rows times a tile of tokens. Not a method of [`Job`], so that it is compiled once for all types
/// with the same codes; nor for wider tiles than the instruction set asks for.
fn multiply_tile<S: Simd, C: Codes<S>, const R: usize, const G: usize, const M: usize>(
    s: S,
    window: &Window,
    factors: Factors<R, G, M>,
    chain: Chain,
    sink: &mut Sink,
) {
    match factors.tile.width {
        1 => multiply_tokens::<S, C, R, G, M, 1>(s, window, factors, chain, sink),
        2 => multiply_tokens::<S, C, R, G, M, 2>(s, window, factors, chain, sink),
        3 => multiply_tokens::<S, C, R, G, M, 3>(s, window, factors, chain, sink),
        4 => multiply_tokens::<S, C, R, G, M, 4>(s, window, factors, chain, sink),
        _ => {
            if const { S::TOKENS >= 8 } {
                match factors.tile.width {
                    8 => multiply_tokens::<S, C, R, G, M, 8>(s, window, factors, chain, sink),
                    _ => multiply_tokens::<S, C, R, G, M, 10>(s, window, factors, chain, sink),
                }
            } else {
                panic!("a tile of {} tokens", factors.tile.width);
            }
        }
    }
}

fn multiply_tokens<S: Simd, C: Codes<S>, const R: usize, const G: usize, const M: usize, const T: usize>(
    s: S,
    window: &Window,
    factors: Factors<R, G, M>,
    chain: Chain,
    sink: &mut Sink,
) {
    let acts = &factors.tile.steps::<T>()[factors.steps];
    let before = if chain.first { &[] } else { &chain.sums[..T * R] };
    let results: [[f32; R]; T] = s.run(
        #[inline(always)]
        || {
            let mut acc = [s.splat(0.0); T];
            for (acc, before) in acc.iter_mut().zip(before.chunks_exact(R)) {
                // SAFETY: R floats.
                *acc = unsafe { s.load(before.as_ptr()) };
            }
            for (step, acts) in factors.panel.iter().zip(acts) {
                s.multiply::<C, R, G, M, T>(s.plain_address(step), s.plain_address(acts), &mut acc);
            }
            results(s, &acc)
        },
    );
    if chain.last {
        window.put(factors.tile.first, &results, sink);
    } else {
        chain.sums.copy_from_slice(results.as_flattened());
    }
}

/// Multiplies R rows of `acts.len()` steps, whole blocks, with T tokens, and prefetches as many bytes as they
/// have from `next` on (null: nothing).
///
/// # Safety
/// That many steps of each row are readable.
#[inline(always)]
unsafe fn in_place<S, B, const R: usize, const G: usize, const M: usize, const L: usize, const T: usize>(
    s: S,
    rows: Rows,
    acts: &[ActStep<T>],
    next: *const u8,
) -> [[f32; R]; T]
where
    S: Simd,
    B: Blocks<S, R, G, M, L>,
{
    let mut acc = [s.splat(0.0); T];
    let mut steps = [Step::ZERO; L];
    let prefetched = R * B::BYTES / B::PARTS;
    for (b, acts) in acts.chunks_exact(B::PARTS * L).enumerate() {
        let rows = rows.skip(b * B::BYTES);
        // SAFETY: the caller's promise: as many blocks as there are activations.
        let head = unsafe { B::head(s, rows) };
        for (part, acts) in acts.as_chunks::<L>().0.iter().enumerate() {
            if !next.is_null() {
                let from = (b * B::PARTS + part) * prefetched;
                for line in 0..prefetched.div_ceil(64) {
                    s.prefetch(next.wrapping_add(from + line * 64));
                }
            }
            // SAFETY: as above.
            unsafe { B::part(s, rows, &head, part, &mut steps) };
            for (step, acts) in steps.iter().zip(acts) {
                s.multiply::<B::Codes, R, G, M, T>(step, s.plain_address(acts), &mut acc);
            }
        }
    }
    results(s, &acc)
}

/// Unpacks R rows of `panel.len()` steps, whole blocks, and prefetches as much of `next`.
///
/// # Safety
/// That many steps of each row are readable.
#[inline(always)]
unsafe fn unpack<S, B, const R: usize, const G: usize, const M: usize, const L: usize>(
    s: S,
    rows: Rows,
    panel: &mut [Step<R, G, M>],
    next: Option<Rows>,
) where
    S: Simd,
    B: Blocks<S, R, G, M, L>,
{
    for (b, block) in panel.chunks_exact_mut(B::PARTS * L).enumerate() {
        if let Some(next) = next {
            let (from, to) = (b * B::BYTES, (b + 1) * B::BYTES);
            // Lines that begin in this block, seen from the row's beginning.
            for line in (from.next_multiple_of(64)..to).step_by(64) {
                (0..R).for_each(|r| s.prefetch(next.first.wrapping_add(r * next.stride + line)));
            }
        }
        let rows = rows.skip(b * B::BYTES);
        // SAFETY: the caller's promise: as many blocks as the panel has.
        let head = unsafe { B::head(s, rows) };
        for (part, steps) in block.as_chunks_mut::<L>().0.iter_mut().enumerate() {
            // SAFETY: as above.
            unsafe { B::part(s, rows, &head, part, steps) };
        }
    }
}

#[inline(always)]
fn results<S: Simd, const R: usize, const T: usize>(s: S, acc: &[S::F; T]) -> [[f32; R]; T] {
    const { assert!(R == S::LANES) };
    let mut out = [[0.0; R]; T];
    for t in 0..T {
        // SAFETY: R floats.
        unsafe { s.store(out[t].as_mut_ptr(), acc[t]) };
    }
    out
}

/// Scratch memory as steps.
fn as_steps<const R: usize, const G: usize, const M: usize>(bytes: &mut [u8]) -> &mut [Step<R, G, M>] {
    let size = size_of::<Step<R, G, M>>();
    let aligned = bytes.as_ptr().addr().is_multiple_of(align_of::<Step<R, G, M>>());
    assert!(
        aligned && bytes.len().is_multiple_of(size),
        "scratch of {} bytes for steps of {size}",
        bytes.len()
    );
    // SAFETY: the bytes are initialised, exclusively borrowed, aligned and of the right size, and every bit
    // pattern is a value of a step.
    unsafe { std::slice::from_raw_parts_mut(bytes.as_mut_ptr().cast(), bytes.len() / size) }
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
