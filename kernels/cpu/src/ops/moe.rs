//! A layer of experts: which tokens go to which of them, and the products with those that have any.
//!
//! Tokens are gathered by expert, so that the weights of an expert are read once for all its tokens, and those of an
//! expert without tokens never. The rows of all experts are one job list. What the number contract asks for, that the
//! answers of a token's experts are added in ascending order, comes from giving the same rows of all down projections
//! to one work item.

use super::linear::{chunk_rows, multiply, supports};
use super::{Activations, Cancel, Cpu, ITEM, SharedOut, rows_of};
use crate::acts::tiles;
use crate::pool::Cancelled;
use crate::scalar::math::exp;
use crate::{Matrix, Sink};

/// How a token's experts are chosen and weighed.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Routing {
    /// Experts that a token uses.
    pub used: usize,
    /// Divide their weights by the sum of them.
    pub normalise: bool,
    /// Multiplies the weights.
    pub scale: f32,
}

/// Which of the equal parts of each expert's rows is meant: the only one, or gate or up where they lie in one matrix.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Part {
    /// Its number, from 0.
    pub index: usize,
    /// How many there are.
    pub of: usize,
}

impl Part {
    /// All rows.
    pub const WHOLE: Part = Part { index: 0, of: 1 };
}

/// A matrix for each expert.
#[derive(Clone, Copy, Debug)]
pub struct Stack<'a> {
    /// The experts' rows, one expert below the other.
    pub all: Matrix<'a>, // [experts * parts * rows, cols]
    /// Which of them are the matrix.
    pub part: Part,
    /// The factor of each expert.
    pub scales: &'a [f32], // [experts]
}

impl<'a> Stack<'a> {
    /// Rows of each.
    fn rows(&self) -> usize {
        let (all, experts, parts) = (self.all.rows, self.scales.len(), self.part.of);
        let matrices = experts * parts;
        assert!(
            matrices > 0 && all.is_multiple_of(matrices),
            "{all} rows of {experts} experts in {parts} parts"
        );
        all / matrices
    }

    fn expert(&self, expert: usize) -> Matrix<'a> {
        let rows = self.rows();
        let (size, at) = (rows * self.all.row_bytes(), expert * self.part.of + self.part.index);
        Matrix { rows, bytes: &self.all.bytes[at * size..(at + 1) * size], ..self.all }
    }
}

/// The expert that all tokens use.
#[derive(Debug)]
pub struct Shared<'a> {
    /// What goes into its down projection.
    pub hidden: &'a Activations, // [n, width]
    /// The down projection.
    pub down: Matrix<'a>, // [embedding, width]
    /// Its factor.
    pub scale: f32,
    /// The weight of its answer for each token.
    pub weights: &'a [f32], // [n]
}

/// An expert that has tokens, and where they stand in the list of all.
#[derive(Clone, Copy, Debug)]
struct Group {
    expert: usize,
    first: usize,
    len: usize,
}

/// The experts of a batch of tokens and what they compute. Buffers are kept, so that what has been large enough before
/// is not allocated again.
#[derive(Default, Debug)]
pub struct Routed {
    choices: Vec<(usize, f32)>, // [n, used]: experts in ascending order, and their weights
    starts: Vec<usize>,         // [experts]: where tokens go while they are grouped
    groups: Vec<Group>,         // in ascending order of experts
    tokens: Vec<usize>,         // [n * used]: those of a group stand together, in ascending order
    weights: Vec<f32>,          // [n * used], as the tokens stand
    tiles: Vec<(usize, usize)>, // of the groups' rows: first and width
    gathered: Activations,      // [n * used, embedding]; a single token's are not gathered
    gate: Vec<f32>,             // [n * used, width]
    up: Vec<f32>,               // [n * used, width]
    hidden: Activations,        // [n * used, width], what goes into the down projections
}

impl Routed {
    /// Bytes that a token takes.
    pub fn bytes(experts: usize, used: usize, embedding: usize, width: usize) -> usize {
        let floats = 2 * width * size_of::<f32>();
        experts * size_of::<f32>()
            + used * (floats + Activations::bytes(embedding) + Activations::bytes(width))
    }

    /// Chooses the experts of each token by `logits [n, experts]`.
    ///
    /// # Errors
    /// If cancelled; what this holds is then of no use, and so for the other operations.
    pub fn route(
        &mut self,
        cpu: &Cpu,
        logits: &[f32],
        experts: usize,
        routing: Routing,
        cancel: Cancel,
    ) -> Result<(), Cancelled> {
        let (n, used) = (rows_of(logits.len(), experts), routing.used);
        assert!((1..=experts).contains(&used), "{used} of {experts} experts");
        self.choices.resize(n * used, (0, 0.0));
        let choices = SharedOut::new(&mut self.choices);
        // An exponential is worth some sixteen simple operations.
        let a_time = (ITEM / (16 * experts)).max(1);
        cpu.pool.run(n.div_ceil(a_time), cancel, &|worker, item| {
            let p = &mut worker.scratch.driver;
            p.resize(experts, 0.0);
            for t in item * a_time..n.min((item + 1) * a_time) {
                // SAFETY: each token belongs to one item, and each item is run once.
                let chosen = unsafe { choices.slice(t * used..(t + 1) * used) };
                choose(&logits[t * experts..(t + 1) * experts], routing, p, chosen);
            }
        })?;
        self.group(experts, used, cpu.kernels.tokens);
        Ok(())
    }

    /// Sorts the choices by expert.
    fn group(&mut self, experts: usize, used: usize, widest: usize) {
        let Routed { choices, starts, groups, tokens, weights, tiles: all_tiles, .. } = self;
        starts.clear();
        starts.resize(experts, 0);
        choices.iter().for_each(|(expert, _)| starts[*expert] += 1);
        groups.clear();
        all_tiles.clear();
        let mut first = 0;
        for (expert, start) in starts.iter_mut().enumerate() {
            let len = std::mem::replace(start, first);
            if len > 0 {
                groups.push(Group { expert, first, len });
                all_tiles.extend(tiles(len, widest).map(|(t, width)| (first + t, width)));
            }
            first += len;
        }
        tokens.resize(choices.len(), 0);
        weights.resize(choices.len(), 0.0);
        for (i, &(expert, weight)) in choices.iter().enumerate() {
            let at = starts[expert];
            starts[expert] += 1;
            (tokens[at], weights[at]) = (i / used, weight);
        }
    }

    /// The experts that have tokens, in ascending order: expert, its tokens in ascending order, and what went into its
    /// down projection, `[tokens, width]`.
    pub fn experts(&self) -> impl Iterator<Item = (usize, &[usize], &[f32])> {
        let width = self.hidden.cols();
        self.groups.iter().map(move |&Group { expert, first, len }| {
            let hidden = &self.hidden.x()[first * width..(first + len) * width];
            (expert, &self.tokens[first..first + len], hidden)
        })
    }

    /// Computes silu(gate x) * up x of each token's experts.
    ///
    /// # Errors
    /// As [`Routed::route`].
    pub fn gated(
        &mut self,
        cpu: &Cpu,
        x: &Activations,
        gate: &Stack,
        up: &Stack,
        cancel: Cancel,
    ) -> Result<(), Cancelled> {
        let Routed { groups, tokens, tiles, gathered, gate: gates, up: ups, hidden, .. } = self;
        let (cols, width, places) = (x.cols(), gate.rows(), tokens.len());
        for stack in [gate, up] {
            check(cpu, &stack.all, cols);
            assert_eq!(stack.rows(), width, "rows of gate and up");
        }
        let tile = |item: usize| tiles[item];
        // The only row of a single token is the input of all its experts.
        if x.n() > 1 {
            gathered.fill_tiles(cpu, [places, cols], tiles.len(), tile, cancel, |place, out| {
                let t = tokens[place];
                out.copy_from_slice(&x.x()[t * cols..(t + 1) * cols]);
            })?;
        }
        gates.resize(places * width, 0.0);
        ups.resize(places * width, 0.0);
        let share = (groups.len() * width).div_ceil(cpu.pool.threads() * 4);
        let chunk = chunk_rows(&gate.all, places.div_ceil(groups.len().max(1)), share).min(width.max(1));
        let chunks = width.div_ceil(chunk);
        let outs = [SharedOut::new(gates), SharedOut::new(ups)];
        cpu.pool.run(groups.len() * chunks, cancel, &|worker, item| {
            let Group { expert, first, len } = groups[item / chunks];
            let start = item % chunks * chunk;
            let rows = start..width.min(start + chunk);
            let input = if x.n() > 1 { gathered.part(first, len) } else { x.input() };
            for (stack, out) in [gate, up].into_iter().zip(&outs) {
                let scale = stack.scales[expert];
                let mut sink = |row: usize, t: usize, y: &[f32]| {
                    let at = (first + t) * width + row;
                    // SAFETY: each place and row belongs to one item, whose kernel hands it over once.
                    let out = unsafe { out.slice(at..at + y.len()) };
                    out.iter_mut().zip(y).for_each(|(out, y)| *out = scale * y);
                };
                multiply(cpu, &stack.expert(expert), rows.clone(), &input, &mut sink, worker.scratch);
            }
        })?;
        hidden.fill_tiles(cpu, [places, width], tiles.len(), tile, cancel, |place, out| {
            let row = place * width..(place + 1) * width;
            out.copy_from_slice(&gates[row.clone()]);
            (cpu.kernels.silu_mul)(out, &ups[row]);
        })
    }

    /// Adds the weighted answers of each token's experts, and of the shared one, to `out [n, embedding]`.
    ///
    /// # Errors
    /// If cancelled; some rows of `out` have then their sum and some have not.
    pub fn mix(
        &self,
        cpu: &Cpu,
        down: &Stack,
        shared: Option<&Shared>,
        out: &mut [f32],
        cancel: Cancel,
    ) -> Result<(), Cancelled> {
        let height = down.rows();
        let n = rows_of(out.len(), height);
        check(cpu, &down.all, self.hidden.cols());
        assert!(self.tokens.iter().all(|&t| t < n), "tokens of a batch of {n}");
        if let Some(Shared { hidden, down, weights, .. }) = shared {
            check(cpu, down, hidden.cols());
            assert_eq!((down.rows, hidden.n(), weights.len()), (height, n, n), "shape of the shared expert");
        }
        let chunk = mix_rows(n, height.div_ceil(cpu.pool.threads() * 4));
        let out = SharedOut::new(out);
        cpu.pool.run(height.div_ceil(chunk), cancel, &|worker, item| {
            let rows = item * chunk..height.min((item + 1) * chunk);
            // Taken out, because kernels get the rest of the scratch.
            let mut sums = std::mem::take(&mut worker.scratch.driver); // [n, rows]
            sums.clear();
            sums.resize(n * rows.len(), 0.0);
            let mut add = |row: usize, t: usize, weight: f32, scale: f32, y: &[f32]| {
                let at = t * rows.len() + row - rows.start;
                sums[at..at + y.len()].iter_mut().zip(y).for_each(|(sum, y)| *sum += weight * (scale * y));
            };
            for &Group { expert, first, len } in &self.groups {
                let sink: &mut Sink = &mut |row, t, y| {
                    let place = first + t;
                    add(row, self.tokens[place], self.weights[place], down.scales[expert], y);
                };
                let input = self.hidden.part(first, len);
                multiply(cpu, &down.expert(expert), rows.clone(), &input, sink, worker.scratch);
            }
            if let Some(Shared { hidden, down, scale, weights }) = shared {
                let sink: &mut Sink = &mut |row, t, y| add(row, t, weights[t], *scale, y);
                multiply(cpu, down, rows.clone(), &hidden.input(), sink, worker.scratch);
            }
            for (t, sums) in sums.chunks_exact(rows.len()).enumerate() {
                let at = t * height;
                // SAFETY: items have disjoint rows, and each item is run once.
                let out = unsafe { out.slice(at + rows.start..at + rows.end) };
                out.iter_mut().zip(sums).for_each(|(out, sum)| *out += sum);
            }
            worker.scratch.driver = sums;
        })
    }
}

/// Replaces each number by its sigmoid.
pub fn sigmoid(x: &mut [f32]) {
    x.iter_mut().for_each(|x| *x = 1.0 / (1.0 + exp(-*x)));
}

fn check(cpu: &Cpu, w: &Matrix, cols: usize) {
    assert!(supports(cpu, w.ty), "no kernel for {}", w.ty.name());
    assert_eq!(w.cols, cols, "columns of the matrix, activations");
}

/// Rows of the down projections that are a work item: for a few tokens long runs of bytes, for many so few that their
/// sums stay in the cache while the experts pass by.
fn mix_rows(n: usize, share: usize) -> usize {
    let most = if n <= 4 { usize::MAX } else { 128 };
    share.min(most).next_multiple_of(16).max(16)
}

/// See `reference::moe::route`; `p [experts]` is scratch.
fn choose(
    logits: &[f32],
    Routing { used, normalise, scale }: Routing,
    p: &mut [f32],
    chosen: &mut [(usize, f32)],
) {
    let largest = logits.iter().fold(f32::NEG_INFINITY, |m, &logit| if logit > m { logit } else { m });
    let mut sum = 0.0f32;
    for (p, logit) in p.iter_mut().zip(logits) {
        *p = exp(logit - largest);
        sum += *p;
    }
    let mut len = 0;
    for (expert, &logit) in logits.iter().enumerate() {
        // Behind those that are as large: of equal ones the lowest counts.
        let at = len - chosen[..len].iter().rev().take_while(|(other, _)| logit > logits[*other]).count();
        if at < used {
            chosen.copy_within(at..len.min(used - 1), at + 1);
            chosen[at] = (expert, 0.0);
            len = used.min(len + 1);
        }
    }
    chosen.sort_unstable_by_key(|(expert, _)| *expert);
    if normalise && !sum.is_nan() {
        sum = chosen.iter().fold(0.0, |sum, (expert, _)| sum + p[*expert]);
    }
    chosen.iter_mut().for_each(|(expert, weight)| *weight = p[*expert] / sum * scale);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reference::moe::route;

    #[test]
    fn experts_are_chosen_as_the_reference_does() {
        let mut state = 7u32;
        let mut next = move || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            state >> 16
        };
        for experts in [1, 2, 5, 60, 128] {
            for used in [1, 2, 3, 8].into_iter().filter(|used| *used <= experts) {
                for round in 0..200 {
                    // Few different ones in some rounds, so that there are ties.
                    let levels = if round % 2 == 0 { 4 } else { 1 << 16 };
                    let mut logits: Vec<f32> =
                        (0..experts).map(|_| (next() % levels) as f32 / 997.0 - 20.0).collect();
                    match round % 20 {
                        17 => logits[round % experts] = f32::NAN,
                        18 => logits[round % experts] = f32::INFINITY,
                        19 => logits[round % experts] = f32::NEG_INFINITY,
                        _ => {}
                    }
                    let routing = Routing { used, normalise: round % 4 < 2, scale: [1.0, 2.5][round % 2] };
                    let (mut p, mut found) = (vec![0.0; experts], vec![(usize::MAX, 0.0); used]);
                    choose(&logits, routing, &mut p, &mut found);
                    let want = route(&logits, used, routing.normalise, routing.scale);
                    if want.iter().all(|(_, weight)| weight.is_nan()) {
                        assert!(found.iter().all(|(expert, weight)| *expert < experts && weight.is_nan()));
                    } else {
                        assert_eq!(found, want, "{logits:?} {routing:?}");
                    }
                }
            }
        }
    }
}
