//! Matrix times activations, with what comes before and after in the same kernel where that is possible.

use qwip_quant::TensorType;

use super::bits;
use super::moe::TILE_TOKENS;
use crate::buffer::Span;
use crate::matrix::{GpuMatrix, MatrixSlice};
use crate::preprocess::Define;
use crate::recording::Recording;
use crate::shaders::Kernel;

/// Up to so many tokens each row is read by a team of threads; more are multiplied in tiles.
pub const FEW: usize = 8;

/// Numbers of some tokens in a buffer.
#[derive(Clone, Copy, Debug)]
pub struct Rows<'a> {
    /// Where.
    pub span: &'a Span,
    /// The first number of the first token.
    pub at: usize,
    /// From token to token.
    pub stride: usize,
}

/// Buffers of what [`prepare`] finds.
#[derive(Clone, Copy, Debug)]
pub struct Prepared<'a> {
    /// `[tokens, cols]`: each number.
    pub plain: &'a Span,
    /// `[tokens, cols / 32, 9]` words: as quantized matrices are given them, 32 codes of 8 bits, in 127 steps of the largest
    /// magnitude, and the step.
    pub units: &'a Span,
}

impl<'a> Prepared<'a> {
    /// The input of products with tokens of `cols` numbers.
    pub fn input(self, cols: usize) -> Input<'a> {
        Input { x: Rows { span: self.plain, at: 0, stride: cols }, prepared: Some(self), norm: None }
    }
}

/// Words of the units of so many tokens.
pub fn unit_words(cols: usize, tokens: usize) -> usize {
    (tokens * (cols / 32) * 9).max(1)
}

impl<'a> Input<'a> {
    /// What a matrix is given of several tokens.
    fn of_several(self, matrix: &GpuMatrix) -> Rows<'a> {
        match self.prepared {
            Some(prepared) if matrix.ty.is_quantized() => {
                Rows { span: prepared.units, at: 0, stride: matrix.units() * 9 }
            }
            _ => self.x,
        }
    }
}

/// What a product is given.
#[derive(Clone, Copy, Debug)]
pub struct Input<'a> {
    /// `[tokens, cols]`; for few tokens at multiples of four numbers, unless the matrix is ragged.
    pub x: Rows<'a>,
    /// What [`prepare`] makes of it; needed for more than one token.
    pub prepared: Option<Prepared<'a>>,
    /// For a single token: the weights `[cols]` and epsilon of an RMS norm that it goes through first.
    pub norm: Option<(&'a Span, f32)>,
}

/// What becomes of a product.
#[derive(Clone, Copy, Debug)]
pub struct Output<'a> {
    /// `[tokens, rows]`.
    pub y: Rows<'a>,
    /// Multiplies it.
    pub scale: f32,
    /// Added then, `[rows]`.
    pub bias: Option<&'a Span>,
    /// Whether the result is added to what is there.
    pub add: bool,
}

/// Bindings behind the first ones, and the names of their numbers.
struct Optional<'a> {
    spans: Vec<&'a Span>,
    options: Vec<Define>,
}

impl<'a> Optional<'a> {
    fn new(spans: Vec<&'a Span>) -> Self {
        Optional { spans, options: Vec::new() }
    }

    /// Adds a binding, if there is one: a switch, and a name for its number.
    fn add(&mut self, switch: &'static str, number: &'static str, span: Option<&'a Span>) {
        if let Some(span) = span {
            self.options.push((switch, 1));
            self.options.push((number, self.spans.len() as u32));
            self.spans.push(span);
        }
    }
}

/// Adds `output = matrix * input` for so many tokens.
pub fn linear(rec: &mut Recording, matrix: &GpuMatrix, input: Input<'_>, output: Output<'_>, tokens: usize) {
    for slice in &matrix.slices {
        match tokens <= FEW {
            true => few(rec, matrix, slice, input, output, tokens, None),
            false => many(rec, matrix, slice, input, output, tokens),
        }
    }
}

/// Adds `y = silu(gate * input) * (up * input)` for a few tokens: the first half of the rows is the gate, which is
/// multiplied by `scales[0]`, the second is the other, multiplied by `scales[1]`. The matrix must be in one piece.
pub fn gated(
    rec: &mut Recording,
    matrix: &GpuMatrix,
    input: Input<'_>,
    y: Rows<'_>,
    scales: [f32; 2],
    tokens: usize,
) {
    let output = Output { y, scale: scales[0], bias: None, add: false };
    for slice in &matrix.slices {
        few(rec, matrix, slice, input, output, tokens, Some(scales[1]));
    }
}

/// The tokens that a thread multiplies with what it has unpacked.
fn shared_tokens(tokens: usize) -> usize {
    tokens.next_power_of_two().min(FEW)
}

/// Rows of a thread: more of them need fewer reads of the token, fewer of them make more workgroups.
fn thread_rows(rows: usize, tokens: usize, gated: bool) -> usize {
    let most = if tokens > 2 { 2 } else { 4 };
    let wanted = (rows / 2048).next_power_of_two().clamp(1, most);
    if gated { wanted.div_ceil(2) } else { wanted }
}

fn few<'a>(
    rec: &mut Recording,
    matrix: &'a GpuMatrix,
    slice: &'a MatrixSlice,
    input: Input<'a>,
    output: Output<'a>,
    tokens: usize,
    up_scale: Option<f32>,
) {
    let x = if tokens > 1 { input.of_several(matrix) } else { input.x };
    let rows = if up_scale.is_some() { slice.rows / 2 } else { slice.rows };
    let (shared, each) = (shared_tokens(tokens), thread_rows(rows, tokens, up_scale.is_some()));
    let mut bindings = Optional::new(vec![&slice.codes, &slice.scales, x.span, output.y.span]);
    bindings.add("NORM", "B_NORM", input.norm.map(|(weights, _)| weights));
    let bias = output.bias.map(|bias| slice.bias_of(bias));
    bindings.add("BIAS", "B_BIAS", bias.as_ref());
    bindings.add("GRID", "B_GRID", matrix.grid.as_ref());
    let mut options = bindings.options;
    options.extend(few_options(shared, each, up_scale.is_some(), output.add, matrix.ragged()));
    let params = [
        rows as u32,
        matrix.units() as u32,
        tokens as u32,
        x.at as u32,
        x.stride as u32,
        (output.y.at + slice.first_row) as u32,
        output.y.stride as u32,
        rows as u32,
        bits(output.scale),
        bits(up_scale.unwrap_or(1.0)),
        bits(input.norm.map_or(0.0, |(_, eps)| eps)),
        matrix.cols as u32,
    ];
    let groups = [rec.teams(rows, each), 1, tokens.div_ceil(shared) as u32];
    rec.dispatch(Kernel::Linear(matrix.ty), &options, &bindings.spans, &params, groups);
}

fn few_options(shared: usize, each: usize, gated: bool, add: bool, ragged: bool) -> Vec<Define> {
    let mut options = vec![("TOKENS", shared as u32), ("ROWS", each as u32)];
    let switches = [("ONE", shared == 1), ("SILU", gated), ("ADD", add), ("RAGGED", ragged)];
    options.extend(switches.into_iter().filter(|(_, on)| *on).map(|(name, _)| (name, 1)));
    options
}

fn many<'a>(
    rec: &mut Recording,
    matrix: &'a GpuMatrix,
    slice: &'a MatrixSlice,
    input: Input<'a>,
    output: Output<'a>,
    tokens: usize,
) {
    debug_assert!(input.prepared.is_some(), "the input of many tokens is prepared");
    let x = input.of_several(matrix);
    let mut bindings = Optional::new(vec![&slice.codes, &slice.scales, x.span, output.y.span]);
    let bias = output.bias.map(|bias| slice.bias_of(bias));
    bindings.add("BIAS", "B_BIAS", bias.as_ref());
    bindings.add("GRID", "B_GRID", matrix.grid.as_ref());
    let tile = rec.tile(matrix.ty, tokens);
    let mut options = bindings.options;
    options.extend(many_options(tile, output.add, matrix.ragged(), rec.integer_dot(matrix.ty)));
    let params = [
        slice.rows as u32,
        matrix.units() as u32,
        tokens as u32,
        x.at as u32,
        x.stride as u32,
        (output.y.at + slice.first_row) as u32,
        output.y.stride as u32,
        bits(output.scale),
        matrix.cols as u32,
        1,
    ];
    let groups = [slice.rows.div_ceil(64) as u32, tokens.div_ceil(tile) as u32, 1];
    rec.dispatch(Kernel::LinearTiled(matrix.ty), &options, &bindings.spans, &params, groups);
}

fn many_options(tile: usize, add: bool, ragged: bool, integers: bool) -> Vec<Define> {
    let mut options = vec![("TOKENS", tile as u32)];
    let switches = [("ADD", add), ("RAGGED", ragged), ("IDOT", integers)];
    options.extend(switches.into_iter().filter(|(_, on)| *on).map(|(name, _)| (name, 1)));
    options
}

/// Which experts' matrices a product is with.
#[derive(Clone, Copy, Debug)]
pub struct Chosen<'a> {
    /// For few tokens the expert of each slot, `[tokens, used]`; for many the blocks that [`sort`](super::moe::sort) makes
    /// of them, and behind them the order of the slots.
    pub ids: &'a Span,
    /// Words before the order of the slots.
    pub order_at: usize,
    /// A factor for each expert and each of two parts of its rows, `[2, experts]`.
    pub factors: &'a Span,
    /// Slots, or blocks of them.
    pub count: usize,
    /// Slots that share a row of the input; 1 where each has its own.
    pub used: usize,
    /// Experts.
    pub experts: usize,
    /// Which rows of an expert's: the first, and how many.
    pub rows: (usize, usize),
    /// Which part of the factors.
    pub part: usize,
}

/// Adds `y [slots, rows] = expert * input` for each of few slots; with `gated` as in [`gated`], from all rows of an expert.
/// The matrix has the rows of all experts, cut only between them.
pub fn experts(
    rec: &mut Recording,
    matrix: &GpuMatrix,
    input: Input<'_>,
    y: Rows<'_>,
    chosen: Chosen<'_>,
    gated: bool,
) {
    let expert_rows = matrix.rows / chosen.experts;
    let (first, all) = chosen.rows;
    debug_assert!(first == 0, "few slots take whole experts");
    let rows = if gated { all / 2 } else { all };
    let each = thread_rows(rows, 1, gated);
    for slice in &matrix.slices {
        let mut bindings = Optional::new(vec![&slice.codes, &slice.scales, input.x.span, y.span]);
        bindings.add("EXPERTS", "B_EXPERTS", Some(chosen.ids));
        bindings.add("EXPERTS", "B_FACTORS", Some(chosen.factors));
        bindings.add("GRID", "B_GRID", matrix.grid.as_ref());
        let mut options = bindings.options;
        options.extend(few_options(1, each, gated, false, matrix.ragged()));
        let params = [
            rows as u32,
            matrix.units() as u32,
            1,
            input.x.at as u32,
            input.x.stride as u32,
            y.at as u32,
            y.stride as u32,
            rows as u32,
            bits(1.0),
            bits(1.0),
            0,
            matrix.cols as u32,
            chosen.used as u32,
            expert_rows as u32,
            (slice.first_row / expert_rows) as u32,
            (slice.rows / expert_rows) as u32,
        ];
        let groups = [rec.teams(rows, each), 1, chosen.count as u32];
        rec.dispatch(Kernel::Linear(matrix.ty), &options, &bindings.spans, &params, groups);
    }
}

/// As [`experts`] for blocks of slots.
pub fn experts_tiled(
    rec: &mut Recording,
    matrix: &GpuMatrix,
    input: Input<'_>,
    y: Rows<'_>,
    chosen: Chosen<'_>,
) {
    debug_assert!(input.prepared.is_some(), "the input of many tokens is prepared");
    let x = input.of_several(matrix);
    let expert_rows = matrix.rows / chosen.experts;
    let (first, rows) = chosen.rows;
    for slice in &matrix.slices {
        let mut bindings = Optional::new(vec![&slice.codes, &slice.scales, x.span, y.span]);
        bindings.add("EXPERTS", "B_EXPERTS", Some(chosen.ids));
        bindings.add("EXPERTS", "B_FACTORS", Some(chosen.factors));
        bindings.add("GRID", "B_GRID", matrix.grid.as_ref());
        let mut options = bindings.options;
        options.extend(many_options(TILE_TOKENS, false, matrix.ragged(), rec.integer_dot(matrix.ty)));
        let params = [
            rows as u32,
            matrix.units() as u32,
            0,
            x.at as u32,
            x.stride as u32,
            y.at as u32,
            y.stride as u32,
            bits(1.0),
            matrix.cols as u32,
            chosen.used as u32,
            expert_rows as u32,
            first as u32,
            (slice.first_row / expert_rows) as u32,
            (slice.rows / expert_rows) as u32,
            (chosen.part * chosen.experts) as u32,
            chosen.order_at as u32,
        ];
        let groups = [rows.div_ceil(64) as u32, chosen.count as u32, 1];
        rec.dispatch(Kernel::LinearTiled(matrix.ty), &options, &bindings.spans, &params, groups);
    }
}

/// What [`prepare`] does to a token.
#[derive(Clone, Copy, Debug)]
pub enum Preparation<'a> {
    /// Nothing.
    Copy,
    /// RMS norm with weights `[cols]` and epsilon.
    Norm(&'a Span, f32),
    /// silu of the first `cols` numbers times those that follow them.
    Silu,
}

/// Adds: `out` has what becomes of `x [tokens, cols]`.
pub fn prepare(
    rec: &mut Recording,
    x: Rows<'_>,
    preparation: Preparation<'_>,
    out: Prepared<'_>,
    cols: usize,
    tokens: usize,
) {
    let mut bindings = vec![x.span, out.plain, out.units];
    let (options, eps) = match preparation {
        Preparation::Copy => (vec![], 0.0),
        Preparation::Norm(weights, eps) => {
            bindings.push(weights);
            (vec![("NORM", 1)], eps)
        }
        Preparation::Silu => (vec![("SILU", 1)], 0.0),
    };
    let params = [cols as u32, x.at as u32, x.stride as u32, bits(eps), tokens as u32];
    rec.dispatch(Kernel::Prepare, &options, &bindings, &params, [tokens as u32, 1, 1]);
}

/// Permutations of the kernels of this file.
pub(super) fn permutations() -> Vec<(Kernel, Vec<Define>)> {
    let mut all = vec![
        (Kernel::Prepare, vec![]),
        (Kernel::Prepare, vec![("NORM", 1)]),
        (Kernel::Prepare, vec![("SILU", 1)]),
    ];
    for ty in TensorType::ALL.into_iter().filter(|ty| ty.is_decodable()) {
        let ragged: &[bool] = if ty.is_quantized() { &[false] } else { &[false, true] };
        let integers: &[bool] = if ty.is_quantized() { &[false, true] } else { &[false] };
        let grid = crate::layout::Layout::grid(ty).is_some();
        let numbered = |first: u32, switches: &[(&'static str, &'static str, bool)]| {
            let on = switches.iter().filter(|(_, _, on)| *on);
            (first..)
                .zip(on)
                .flat_map(|(number, (switch, name, _))| [(*switch, 1), (*name, number)])
                .collect::<Vec<_>>()
        };
        for &ragged in ragged {
            for (norm, bias) in [(false, false), (true, false), (false, true), (true, true)] {
                let bindings = numbered(
                    4,
                    &[("NORM", "B_NORM", norm), ("BIAS", "B_BIAS", bias), ("GRID", "B_GRID", grid)],
                );
                for (shared, each) in [(1, 1), (1, 2), (1, 4), (2, 4), (4, 1), (4, 2), (8, 1), (8, 2)] {
                    if norm && shared > 1 {
                        continue;
                    }
                    for (gated, add) in [(false, false), (false, true), (true, false)] {
                        if gated && (bias || each > 2) || add && norm {
                            continue;
                        }
                        let options = few_options(shared, each, gated, add, ragged);
                        all.push((Kernel::Linear(ty), [bindings.clone(), options].concat()));
                    }
                }
            }
            for bias in [false, true] {
                let bindings = numbered(4, &[("BIAS", "B_BIAS", bias), ("GRID", "B_GRID", grid)]);
                for (tile, add) in [(32, false), (32, true), (64, false), (64, true)] {
                    for &integers in integers {
                        let options = many_options(tile, add, ragged, integers);
                        all.push((Kernel::LinearTiled(ty), [bindings.clone(), options].concat()));
                    }
                }
            }
            let experts = |first| {
                let names = [
                    ("EXPERTS", "B_EXPERTS", true),
                    ("EXPERTS", "B_FACTORS", true),
                    ("GRID", "B_GRID", grid),
                ];
                numbered(first, &names)
            };
            for (each, gated) in [(1, false), (2, false), (4, false), (1, true), (2, true)] {
                let options = few_options(1, each, gated, false, ragged);
                all.push((Kernel::Linear(ty), [experts(4), options].concat()));
            }
            for &integers in integers {
                let options = many_options(TILE_TOKENS, false, ragged, integers);
                all.push((Kernel::LinearTiled(ty), [experts(4), options].concat()));
            }
        }
    }
    all
}
