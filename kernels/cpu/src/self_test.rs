//! A short check that this machine computes what [`reference`](mod@crate::reference) says: for users' reports
//! ("wrong answers on my phone"), not a replacement for the tests.

use crate::reference::linear::Quantized;
use crate::table::{DELTA_COLUMNS, Next};
use crate::{ActsBuffer, Isa, Kernels, KvRef, Matrix, Scratch, TILE, reference};
use half::f16;
use qwip_quant::types::check_row;
use qwip_quant::{TensorType, encode_row};

/// What came of checking one kernel set.
#[derive(Clone, Debug)]
pub struct Report {
    /// The kernel set.
    pub isa: Isa,
    /// How many results were compared.
    pub compared: usize,
    /// The operations whose result differs from the reference in at least one bit.
    pub wrong: Vec<String>,
}

/// Compares every kernel set of this machine with the reference on seeded random numbers. Takes some
/// milliseconds.
pub fn self_test() -> Vec<Report> {
    Kernels::available().into_iter().map(check).collect()
}

const ROWS: usize = 19;
const COLS: usize = 768;
const TOKENS: usize = 5;

fn check(kernels: &'static Kernels) -> Report {
    let mut report = Report { isa: kernels.isa, compared: 0, wrong: Vec::new() };
    let mut numbers = Numbers(0x5eed);
    linear(kernels, &mut numbers, &mut report);
    rows(kernels, &mut numbers, &mut report);
    attention(kernels, &mut numbers, &mut report);
    delta_net(kernels, &mut numbers, &mut report);
    report
}

impl Report {
    fn compare(&mut self, operation: &str, found: &[f32], want: &[f32]) {
        self.compared += want.len();
        let same = found.iter().map(|v| v.to_bits()).eq(want.iter().map(|v| v.to_bits()));
        if !same {
            self.wrong.push(operation.to_owned());
        }
    }
}

fn linear(kernels: &Kernels, numbers: &mut Numbers, report: &mut Report) {
    let x = numbers.take(TOKENS * COLS);
    let (mut codes, mut scales, mut sums) =
        (vec![0i8; x.len()], vec![0.0f32; x.len() / 32], vec![0i32; x.len() / 16]);
    // Rows are whole blocks, so all rows together are one long row.
    reference::quantize::quantize(&x, &mut codes, &mut scales, &mut sums);
    let plain = Quantized { n: TOKENS, cols: COLS, codes: &codes, scales: &scales };
    let mut buffer = ActsBuffer::default();
    buffer.resize(TOKENS, COLS, kernels.tokens);
    for (first, mut tile) in buffer.tiles_mut() {
        for t in 0..tile.width {
            (kernels.quantize)(&x[(first + t) * COLS..][..COLS], t, &mut tile);
        }
    }
    let acts = buffer.acts();
    let (mut found_scales, mut same_codes) = (vec![0.0; scales.len()], true);
    for tile in acts.tiles() {
        for (t, step) in (0..tile.width).flat_map(|t| (0..COLS / 32).map(move |step| (t, step))) {
            let block = (tile.first + t) * (COLS / 32) + step;
            found_scales[block] = tile.scale(step, t);
            same_codes &= tile.codes(step, t)[..] == codes[block * 32..][..32]
                && tile.half_sums(step, t)[..] == sums[block * 2..][..2];
        }
    }
    report.compare("quantize", &found_scales, &scales);
    if !same_codes {
        report.wrong.push("quantize codes".to_owned());
    }

    let weights = numbers.take(ROWS * COLS);
    let mut found = vec![0.0; TOKENS * ROWS];
    let mut want = found.clone();
    let mut scratch = Scratch::default();
    for ty in (0..64).filter_map(TensorType::from_id).filter(|ty| ty.is_decodable()) {
        let Some(size) = ty.row_bytes(COLS) else { continue };
        let mut bytes = vec![0; ROWS * size];
        let filled = weights.chunks_exact(COLS).zip(bytes.chunks_exact_mut(size)).all(|(row, out)| {
            if ty.is_encodable() { encode_row(ty, row, out).is_ok() } else { numbers.draw_row(ty, out) }
        });
        let Ok(w) = Matrix::new(ty, ROWS, COLS, &bytes) else { continue };
        if !filled {
            report.wrong.push(format!("making rows of {}", ty.name()));
        }
        match kernels.linear_q(ty) {
            Some(kernel) => {
                kernel(&w, 0..ROWS, &acts, &mut sink(&mut found), &mut scratch);
                reference::linear::linear_q(&w, 0..ROWS, &plain, &mut want);
            }
            None => {
                (kernels.linear_f)(&w, 0..ROWS, &x, TOKENS, &mut sink(&mut found));
                reference::linear::linear_f(&w, 0..ROWS, &x, TOKENS, &mut want);
            }
        }
        report.compare(&format!("matrix {}", ty.name()), &found, &want);
    }
}

/// Takes results into `out [TOKENS, ROWS]`.
fn sink(out: &mut [f32]) -> impl FnMut(usize, usize, &[f32]) {
    |row, t, y| out[t * ROWS + row..][..y.len()].copy_from_slice(y)
}

fn rows(kernels: &Kernels, numbers: &mut Numbers, report: &mut Report) {
    let (x, w) = (numbers.take(COLS), numbers.take(COLS));
    let (mut found, mut want) = (vec![0.0; COLS], vec![0.0; COLS]);
    (kernels.norm)(&x, &w, 1e-6, &mut found);
    reference::norm::rms_norm(&x, &w, 1e-6, &mut want);
    report.compare("norm", &found, &want);

    (found, want) = (x.clone(), x.clone());
    (kernels.silu_mul)(&mut found, &w);
    reference::silu::silu_mul(&mut want, &w);
    report.compare("silu", &found, &want);

    (found, want) = (x.clone(), x);
    let (cos, sin) = w.split_at(COLS / 2);
    (kernels.rope)(&mut found, cos, sin);
    reference::rope::rope(&mut want, cos, sin);
    report.compare("rope", &found, &want);
}

fn attention(kernels: &Kernels, numbers: &mut Numbers, report: &mut Report) {
    const GROUP: usize = 3;
    const D: usize = 128;
    let q = numbers.take(GROUP * D);
    let (k, v) = (numbers.take(D * TILE), numbers.take(D * TILE));
    let half = |x: &[f32]| -> Vec<f16> { x.iter().map(|&x| f16::from_f32(x)).collect() };
    let (k16, v16) = (half(&k), half(&v));
    let code = |x: &[f32]| -> Vec<i8> { x.iter().map(|&x| (x * 60.0) as i8).collect() };
    let (k8, v8) = (code(&k), code(&v));
    let scales = half(&numbers.take(D / 32 * TILE));
    let tiles = [
        ("attention f32", KvRef::F32(&k), KvRef::F32(&v)),
        ("attention f16", KvRef::F16(&k16), KvRef::F16(&v16)),
        (
            "attention q8_0",
            KvRef::Q8_0 { codes: &k8, scales: &scales },
            KvRef::Q8_0 { codes: &v8, scales: &scales },
        ),
    ];
    for (name, k, v) in tiles {
        let run = |tile: crate::table::AttendTileFn| {
            let (mut m, mut l, mut o) = ([f32::NEG_INFINITY; GROUP], [0.0; GROUP], vec![0.0; GROUP * D]);
            for valid in [TILE, 41] {
                tile(&q, D, k, v, valid, &mut m, &mut l, &mut o);
            }
            [&o[..], &m, &l].concat()
        };
        report.compare(name, &run(kernels.attend_tile), &run(reference::attend::attend_tile));
    }
}

fn delta_net(kernels: &Kernels, numbers: &mut Numbers, report: &mut Report) {
    const D: usize = 128;
    let (rows, taps) = (numbers.take(3 * D), numbers.take(4 * D));
    let before: Vec<&[f32]> = rows.chunks_exact(D).collect();
    let taps: Vec<&[f32]> = taps.chunks_exact(D).collect();
    let (mut found, gate) = (numbers.take(D), numbers.take(D));
    let mut want = found.clone();
    (kernels.conv_silu)(&mut found, &before, &taps);
    reference::delta::conv_silu(&mut want, &before, &taps);
    report.compare("convolution", &found, &want);
    (kernels.sigmoid_mul)(&mut found, &gate);
    reference::delta::sigmoid_mul(&mut want, &gate);
    report.compare("sigmoid", &found, &want);

    // Two tokens: the second is read while the first is written.
    let memory = numbers.take(D * DELTA_COLUMNS);
    let (q, k, v) = (numbers.take(2 * D), numbers.take(2 * D), numbers.take(2 * DELTA_COLUMNS));
    let (decay, beta) = ([0.75, 0.96875], [0.5, 0.8125]);
    let (mut want, mut state) = (v.clone(), memory.clone());
    for (t, v) in want.chunks_exact_mut(DELTA_COLUMNS).enumerate() {
        reference::delta::step(&mut state, &q[t * D..][..D], &k[t * D..][..D], v, decay[t], beta[t]);
    }
    want.extend(&state);
    let mut state: Vec<[f32; DELTA_COLUMNS]> = memory.as_chunks().0.to_vec();
    let mut found = Vec::new();
    let mut read = [0.0; DELTA_COLUMNS];
    let key = |t: usize| Next { decay: decay[t], k: &k[t * D..][..D] };
    (kernels.delta_read)(&mut state, key(0), &mut read);
    for t in 0..2 {
        let (mut delta, mut out) = ([0.0; DELTA_COLUMNS], [0.0; DELTA_COLUMNS]);
        for (j, delta) in delta.iter_mut().enumerate() {
            *delta = (v[t * DELTA_COLUMNS + j] - read[j]) * beta[t];
        }
        let next = (t == 0).then(|| (key(1), &mut read));
        (kernels.delta_step)(&mut state, &q[t * D..][..D], key(t).k, &delta, &mut out, next);
        found.extend(out);
    }
    found.extend(state.as_flattened());
    report.compare("delta net", &found, &want);
}

/// Seeded numbers between -2 and 2 (xorshift), a few of them zero.
struct Numbers(u64);

impl Numbers {
    fn take(&mut self, n: usize) -> Vec<f32> {
        let next = || {
            self.0 ^= self.0 << 13;
            self.0 ^= self.0 >> 7;
            self.0 ^= self.0 << 17;
            let value = (self.0 >> 40) as f32 / (1u64 << 22) as f32 - 2.0;
            if self.0.is_multiple_of(29) { 0.0 } else { value }
        };
        std::iter::repeat_with(next).take(n).collect()
    }

    /// Fills a row of COLS elements with any bytes in which the scales are numbers; tells whether that came about.
    fn draw_row(&mut self, ty: TensorType, row: &mut [u8]) -> bool {
        (0..1000).any(|_| {
            let bytes = self.take(row.len());
            row.iter_mut().zip(bytes).for_each(|(byte, number)| *byte = (number.to_bits() >> 8) as u8);
            check_row(ty, row, COLS).is_ok()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kernel_set_passes() {
        for report in self_test() {
            println!("kernel set {}: {} results compared", report.isa, report.compared);
            assert!(report.wrong.is_empty(), "{report:?}");
            assert!(report.compared > 1000);
        }
    }

    #[test]
    fn a_difference_is_reported() {
        let mut report = Report { isa: Isa::Scalar, compared: 0, wrong: Vec::new() };
        report.compare("norm", &[1.0, 0.0], &[1.0, -0.0]);
        report.compare("rope", &[1.0], &[1.0]);
        assert_eq!((report.compared, report.wrong), (3, vec!["norm".to_owned()]));
    }
}
