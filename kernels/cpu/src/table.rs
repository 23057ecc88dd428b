//! The kernel table of one instruction set, and the borrowed types that kernels take.
//!
//! Kernels are coarse: one call covers a range of weight rows for all tokens, a row, a head or a tile, never
//! a single dot product, so that the indirect call costs nothing. The pointers are safe functions; an
//! implementation that needs CPU features wraps its `target_feature` function, and is installed only after
//! detection.

use crate::acts::{ActTileMut, Acts};
use crate::isa::{ISA_VARIABLE, Isa, IsaError};
use crate::scalar;
use half::f16;
use qwip_quant::TensorType;
use std::fmt;
use std::ops::Range;
use std::sync::OnceLock;

/// Sizes that do not fit together, with what was found and what was needed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ShapeError {
    /// The columns do not fill whole blocks of the type (or their size overflows).
    Columns {
        /// The type of the matrix.
        ty: TensorType,
        /// The columns asked for.
        cols: usize,
    },
    /// The bytes are not rows x the size of a row.
    Bytes {
        /// Bytes given.
        found: usize,
        /// Bytes that the shape takes.
        expected: usize,
    },
}

impl fmt::Display for ShapeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ShapeError::Columns { ty, cols } => {
                write!(f, "{cols} columns do not fill whole {} blocks of {}", ty.name(), ty.block_len())
            }
            ShapeError::Bytes { found, expected } => {
                write!(f, "the matrix has {found} bytes, its shape takes {expected}")
            }
        }
    }
}

impl std::error::Error for ShapeError {}

/// A weight matrix where it lies, usually in a mapped file.
#[derive(Clone, Copy, Debug)]
pub struct Matrix<'a> {
    /// What the bytes mean.
    pub ty: TensorType,
    /// Rows: the length of an output vector.
    pub rows: usize,
    /// Columns: the length of an input vector.
    pub cols: usize,
    /// The blocks, row after row.
    pub bytes: &'a [u8], // [rows, row_bytes]
}

impl<'a> Matrix<'a> {
    /// A matrix of `rows` x `cols` over `bytes`.
    ///
    /// # Errors
    /// If the columns do not fill whole blocks of `ty`, or the bytes are not exactly those of the rows.
    pub fn new(ty: TensorType, rows: usize, cols: usize, bytes: &'a [u8]) -> Result<Self, ShapeError> {
        let row = ty.row_bytes(cols).ok_or(ShapeError::Columns { ty, cols })?;
        let expected = row.checked_mul(rows).ok_or(ShapeError::Columns { ty, cols })?;
        if bytes.len() != expected {
            return Err(ShapeError::Bytes { found: bytes.len(), expected });
        }
        Ok(Matrix { ty, rows, cols, bytes })
    }

    /// The size of one row in bytes.
    pub fn row_bytes(&self) -> usize {
        self.bytes.len().checked_div(self.rows).unwrap_or(0)
    }

    /// The bytes of row `r`; panics if there is no such row.
    pub fn row(&self, r: usize) -> &'a [u8] {
        let size = self.row_bytes();
        &self.bytes[r * size..(r + 1) * size]
    }
}

/// One tile ([`TILE`](crate::TILE) positions) of the keys or of the values of one kv head.
///
/// Keys lie `[D, 64]` (positions in SIMD lanes), values `[64, D]`. Q8_0 scales belong to 32 dimensions of
/// one position: `[D / 32, 64]` for keys, `[64, D / 32]` for values.
#[derive(Clone, Copy, Debug)]
pub enum KvRef<'a> {
    /// Single precision.
    F32(&'a [f32]),
    /// Half precision.
    F16(&'a [f16]),
    /// 8-bit codes; value = scale * code.
    Q8_0 {
        /// Codes, -127..=127.
        codes: &'a [i8],
        /// One scale per 32 dimensions of a position.
        scales: &'a [f16],
    },
}

/// Growable buffers of one worker, kept from call to call so that steady-state decode allocates nothing.
/// A kernel may resize and overwrite all but `driver`; contents mean nothing between calls.
#[derive(Default, Debug)]
pub struct Scratch {
    /// Unpacked weight codes.
    pub codes: Vec<i8>,
    /// Unpacked weight scales.
    pub scales: Vec<f32>,
    /// Unpacked weight minimums.
    pub mins: Vec<f32>,
    /// A panel of rows in whatever order a kernel multiplies best; see [`Scratch::panel_and_sums`].
    pub panel: Vec<u8>,
    /// What the columns so far have summed to.
    pub sums: Vec<f32>,
    /// Floats of the parallel drivers; kernels leave them alone.
    pub driver: Vec<f32>,
}

impl Scratch {
    /// `len` bytes of the panel that start at a 64-byte boundary, and so many sums; contents are arbitrary.
    pub fn panel_and_sums(&mut self, len: usize, sums: usize) -> (&mut [u8], &mut [f32]) {
        if self.panel.len() < len + 63 {
            self.panel.resize(len + 63, 0);
        }
        if self.sums.len() < sums {
            self.sums.resize(sums, 0.0);
        }
        let skip = self.panel.as_ptr().align_offset(64);
        (&mut self.panel[skip..skip + len], &mut self.sums[..sums])
    }
}

/// Takes results: those of neighbouring rows from a first one on, for one token.
pub type Sink<'a> = dyn FnMut(usize, usize, &[f32]) + 'a;

/// Quantizes one row `x [cols]` into token `t` of a tile.
pub type QuantizeFn = fn(x: &[f32], t: usize, tile: &mut ActTileMut);
/// Multiplies the given rows of a quantized matrix with all tokens; every result goes to the sink once.
pub type LinearQFn = fn(w: &Matrix, rows: Range<usize>, x: &Acts, sink: &mut Sink, scratch: &mut Scratch);
/// Multiplies the given rows of an F32, F16 or BF16 matrix with `x [n, cols]`; every result goes to the sink
/// once.
pub type LinearFFn = fn(w: &Matrix, rows: Range<usize>, x: &[f32], n: usize, sink: &mut Sink);
/// RMS norm of one row `x [cols]` with weights `w [cols]` into `out [cols]`.
pub type NormFn = fn(x: &[f32], w: &[f32], eps: f32, out: &mut [f32]);
/// Rotates one head `x [D]` in place; `cos`, `sin` `[n_rot / 2]`.
pub type RopeFn = fn(x: &mut [f32], cos: &[f32], sin: &[f32]);
/// `gate = silu(gate) * up`, element by element.
pub type SiluMulFn = fn(gate: &mut [f32], up: &[f32]);
/// Mixes each channel of `u` with that of the rows `before` (the oldest first) by the taps, then its silu.
pub type ConvSiluFn = fn(u: &mut [f32], before: &[&[f32]], taps: &[&[f32]]);
/// `x = sigmoid(gate) * x`, element by element.
pub type SigmoidMulFn = fn(x: &mut [f32], gate: &[f32]);

/// Columns of a delta net's memory that are worked on together: with 128 rows they fill half a first-level cache.
pub const DELTA_COLUMNS: usize = 32;

/// What the first half of a token's [`reference::delta::step`](crate::reference::delta::step) takes.
#[derive(Clone, Copy, Debug)]
pub struct Next<'a> {
    /// The factor of the memory.
    pub decay: f32,
    /// The key, `[D]`.
    pub k: &'a [f32],
}

/// The first half of a token's step: decays the memory `s [D, 32]` and reads what it holds for the key.
pub type DeltaReadFn = fn(s: &mut [[f32; DELTA_COLUMNS]], next: Next, read: &mut [f32; DELTA_COLUMNS]);
/// The second half: writes `delta` under the key `k [D]` and asks with `q [D]`; in the same sweep, if there is a next
/// token, its first half.
pub type DeltaStepFn = fn(
    s: &mut [[f32; DELTA_COLUMNS]],
    q: &[f32],
    k: &[f32],
    delta: &[f32; DELTA_COLUMNS],
    out: &mut [f32; DELTA_COLUMNS],
    next: Option<(Next, &mut [f32; DELTA_COLUMNS])>,
);

/// Merges one tile into the attention states of g query rows of one kv head: `q [g, D]` (scaled), `m [g]`,
/// `l [g]`, `o [g, D]`; `valid` (1..=64) positions of the tile are visible to all of them.
pub type AttendTileFn =
    fn(q: &[f32], d: usize, k: KvRef, v: KvRef, valid: usize, m: &mut [f32], l: &mut [f32], o: &mut [f32]);

/// Merges a finished tile, as `AttendTileFn` makes it of an empty state, into states: (`m`, `l`, `o`) of the
/// tile, then of the states.
pub type MergeFn = fn(part: (&[f32], &[f32], &[f32]), m: &mut [f32], l: &mut [f32], o: &mut [f32]);

/// Multiplies bytes in registers as fast as the instruction set can, for about a millisecond, and gives the number
/// of multiplications and additions.
pub type PeakFn = fn() -> u64;

/// Ids of tensor types are below this.
const TYPE_SLOTS: usize = 64;

/// The kernels of one instruction set. Holding a reference is the proof that this machine can run them.
pub struct Kernels {
    /// The instruction set.
    pub isa: Isa,
    /// Tokens of the widest tile of quantized activations that the matrix kernels take.
    pub tokens: usize,
    /// See [`QuantizeFn`].
    pub quantize: QuantizeFn,
    /// See [`LinearFFn`].
    pub linear_f: LinearFFn,
    /// See [`NormFn`].
    pub norm: NormFn,
    /// See [`RopeFn`].
    pub rope: RopeFn,
    /// See [`SiluMulFn`].
    pub silu_mul: SiluMulFn,
    /// See [`ConvSiluFn`].
    pub conv_silu: ConvSiluFn,
    /// See [`SigmoidMulFn`].
    pub sigmoid_mul: SigmoidMulFn,
    /// See [`DeltaReadFn`].
    pub delta_read: DeltaReadFn,
    /// See [`DeltaStepFn`].
    pub delta_step: DeltaStepFn,
    /// See [`AttendTileFn`].
    pub attend_tile: AttendTileFn,
    /// See [`MergeFn`].
    pub attend_merge: MergeFn,
    /// See [`PeakFn`]; `None` where the compiler chooses the instructions.
    pub integer_peak: Option<PeakFn>,
    linear_q: [Option<LinearQFn>; TYPE_SLOTS], // by type id
}

impl Kernels {
    /// The kernels of `isa`; `None` if this machine cannot run them or this build has none.
    pub fn new(isa: Isa) -> Option<&'static Kernels> {
        static TABLES: [OnceLock<Kernels>; Isa::ALL.len()] = [const { OnceLock::new() }; Isa::ALL.len()];
        let install = installer(isa)?;
        if !isa.is_supported() {
            return None;
        }
        Some(TABLES[isa as usize].get_or_init(|| {
            let mut kernels = Kernels::scalar();
            kernels.isa = isa;
            install(&mut kernels);
            kernels
        }))
    }

    /// The kernels to use: those that `QWIP_ISA` names, else the best that this machine can run.
    ///
    /// # Errors
    /// If `QWIP_ISA` names nothing that we know, or something that this machine cannot run.
    pub fn detect() -> Result<&'static Kernels, IsaError> {
        match std::env::var_os(ISA_VARIABLE) {
            Some(name) if !name.is_empty() => Kernels::named(&name.to_string_lossy()),
            _ => Ok(Kernels::available()
                .pop()
                .unwrap_or_else(|| unreachable!("scalar kernels run everywhere"))),
        }
    }

    /// The kernels of the instruction set called `name`.
    ///
    /// # Errors
    /// As for [`Kernels::detect`].
    pub fn named(name: &str) -> Result<&'static Kernels, IsaError> {
        let isa = Isa::from_name(name).ok_or_else(|| IsaError::Unknown(name.to_owned()))?;
        Kernels::new(isa).ok_or(IsaError::Unavailable(isa))
    }

    /// Every kernel set that this machine can run, the slowest first.
    pub fn available() -> Vec<&'static Kernels> {
        Isa::ALL.into_iter().filter_map(Kernels::new).collect()
    }

    /// The matrix kernel of a quantized type; `None` for F32, F16, BF16 (see `linear_f`) and for types that
    /// we do not compute with.
    pub fn linear_q(&self, ty: TensorType) -> Option<LinearQFn> {
        self.linear_q.get(ty.id() as usize).copied().flatten()
    }

    /// Replaces the matrix kernel of a quantized type.
    pub(crate) fn set_linear_q(&mut self, ty: TensorType, kernel: LinearQFn) {
        self.linear_q[ty.id() as usize] = Some(kernel);
    }

    fn scalar() -> Kernels {
        let mut linear_q = [None; TYPE_SLOTS];
        for (id, slot) in linear_q.iter_mut().enumerate() {
            let quantized = TensorType::from_id(id as u32).and_then(TensorType::group_len).is_some();
            *slot = quantized.then_some(scalar::linear::linear_q as LinearQFn);
        }
        Kernels {
            isa: Isa::Scalar,
            tokens: 8,
            quantize: scalar::quantize::quantize,
            linear_f: scalar::linear::linear_f,
            norm: scalar::norm::rms_norm,
            rope: scalar::rope::rope,
            silu_mul: scalar::silu::silu_mul,
            conv_silu: scalar::delta::conv_silu,
            sigmoid_mul: scalar::delta::sigmoid_mul,
            delta_read: scalar::delta::read,
            delta_step: scalar::delta::step,
            attend_tile: scalar::attend::attend_tile,
            attend_merge: scalar::attend::merge,
            integer_peak: None,
            linear_q,
        }
    }
}

/// What turns the scalar table into the table of `isa`; `None` if this build has no kernels for it.
fn installer(isa: Isa) -> Option<fn(&mut Kernels)> {
    match isa {
        Isa::Scalar => Some(|_| {}),
        // SAFETY: `Kernels::new` hands tables out only where the instruction set is supported.
        #[cfg(target_arch = "x86_64")]
        Isa::Avx2 => Some(|k| unsafe { crate::x86_64::install_avx2(k) }),
        // SAFETY: as above.
        #[cfg(target_arch = "x86_64")]
        Isa::AvxVnni => Some(|k| unsafe { crate::x86_64::install_avxvnni(k) }),
        // SAFETY: as above.
        #[cfg(target_arch = "x86_64")]
        Isa::Avx512Vnni => Some(|k| unsafe { crate::x86_64::install_avx512vnni(k) }),
        // SAFETY: as above.
        #[cfg(target_arch = "aarch64")]
        Isa::Neon => Some(|k| unsafe { crate::aarch64::install_neon(k) }),
        // SAFETY: as above.
        #[cfg(target_arch = "aarch64")]
        Isa::Dotprod => Some(|k| unsafe { crate::aarch64::install_dotprod(k) }),
        // SAFETY: as above.
        #[cfg(target_arch = "aarch64")]
        Isa::I8mm => Some(|k| unsafe { crate::aarch64::install_i8mm(k) }),
        _ => None,
    }
}

impl fmt::Debug for Kernels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Kernels({})", self.isa)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_matrix_needs_whole_blocks_and_exact_bytes() {
        let bytes = [0u8; 68];
        assert!(Matrix::new(TensorType::Q8_0, 2, 32, &bytes).is_ok());
        let error = Matrix::new(TensorType::Q8_0, 2, 33, &bytes).unwrap_err();
        assert_eq!(error.to_string(), "33 columns do not fill whole Q8_0 blocks of 32");
        let error = Matrix::new(TensorType::Q8_0, 3, 32, &bytes).unwrap_err();
        assert_eq!(error.to_string(), "the matrix has 68 bytes, its shape takes 102");
        assert!(Matrix::new(TensorType::F32, usize::MAX, 4, &bytes).is_err());
        assert!(Matrix::new(TensorType::F32, 4, usize::MAX, &bytes).is_err());
    }

    #[test]
    fn scalar_comes_first_and_every_set_has_its_own_name() {
        let sets = Kernels::available();
        assert_eq!(sets[0].isa, Isa::Scalar);
        for kernels in &sets {
            assert_eq!(Kernels::named(kernels.isa.name()).unwrap().isa, kernels.isa);
            assert!(kernels.linear_q(TensorType::Q4_0).is_some());
            assert!(kernels.linear_q(TensorType::F16).is_none());
        }
        assert_eq!(Kernels::named("mmx").unwrap_err(), IsaError::Unknown("mmx".into()));
    }

    #[test]
    fn panels_are_aligned() {
        let mut scratch = Scratch::default();
        for len in [1, 64, 1000, 10] {
            let panel = scratch.panel_and_sums(len, 0).0;
            assert_eq!((panel.len(), panel.as_ptr() as usize % 64), (len, 0));
        }
    }
}
