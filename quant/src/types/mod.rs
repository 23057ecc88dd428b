//! The element types of tensors: their sizes, and rows of them to and from f32.

mod affine;
mod block;
pub mod file_type;
mod floats;
#[cfg(test)]
mod golden_tests;
mod grids;
pub mod iq1_m;
pub mod iq1_s;
pub mod iq2_s;
pub mod iq2_xs;
pub mod iq2_xxs;
pub mod iq3_s;
pub mod iq3_xxs;
pub mod iq4_nl;
pub mod iq4_xs;
pub mod mxfp4;
pub mod nvfp4;
pub mod q1_0;
pub mod q2_0;
pub mod q2_k;
pub mod q3_k;
pub mod q4_0;
pub mod q4_1;
pub mod q4_k;
pub mod q5_0;
pub mod q5_1;
pub mod q5_k;
pub mod q6_k;
pub mod q8_0;
mod search;
mod six_bit;
#[cfg(test)]
mod small_tests;
mod tensor_type;
#[cfg(test)]
mod tests;
pub mod tq1_0;
pub mod tq2_0;

use block::{Block, Encode, Spread};
pub use file_type::{FILE_TYPES, FileType};
pub use grids::codebook;
pub use tensor_type::{REMOVED_IDS, TensorType};

/// Why a row cannot be read or written.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TypeError {
    /// The type is known, but not one that can be computed with.
    #[error("type {0} is not supported")]
    Unsupported(TensorType),
    /// Rows of the type can be read only: there is no encoder for it.
    #[error("type {0} can be decoded, but not encoded")]
    NotEncodable(TensorType),
    /// The type has no groups of codes.
    #[error("type {0} is not quantized")]
    NotQuantized(TensorType),
    /// A row must be a whole number of blocks.
    #[error("a row of {cols} elements is not a multiple of the {ty} block of {block}")]
    RowLength {
        /// The type.
        ty: TensorType,
        /// Elements in the row.
        cols: usize,
        /// Elements in a block.
        block: usize,
    },
    /// The bytes do not match the elements.
    #[error("a {ty} row of {cols} elements takes {expected} bytes, found {found}")]
    RowBytes {
        /// The type.
        ty: TensorType,
        /// Elements in the row.
        cols: usize,
        /// Bytes such a row takes.
        expected: usize,
        /// Bytes given.
        found: usize,
    },
    /// A buffer for scales or minima does not match the elements.
    #[error("a {ty} row of {cols} elements has {expected} groups, found room for {found} {what}")]
    Groups {
        /// The type.
        ty: TensorType,
        /// Elements in the row.
        cols: usize,
        /// "scales" or "mins".
        what: &'static str,
        /// Groups in such a row.
        expected: usize,
        /// Groups given.
        found: usize,
    },
    /// Importance must be known of every column.
    #[error("a row of {cols} elements came with the importance of {found}")]
    Importance {
        /// Elements in the row.
        cols: usize,
        /// Numbers given.
        found: usize,
    },
    /// A value, or a scale in the stored row, is infinite or not a number, or too large for the type.
    #[error("column {column} of a {ty} row is infinite, not a number or out of range")]
    NotFinite {
        /// The type.
        ty: TensorType,
        /// The element; for a scale, the first element of its block.
        column: usize,
    },
}

/// Calls `$body` with `$B` as the block type of a quantized type that can be decoded, or `$otherwise`.
macro_rules! with_block {
    ($ty:expr, $B:ident => $body:expr, $otherwise:expr) => {
        match $ty {
            TensorType::Iq2Xxs => with_block!(@ $B = iq2_xxs::Iq2Xxs, $body),
            TensorType::Iq2Xs => with_block!(@ $B = iq2_xs::Iq2Xs, $body),
            TensorType::Iq2S => with_block!(@ $B = iq2_s::Iq2S, $body),
            TensorType::Iq3Xxs => with_block!(@ $B = iq3_xxs::Iq3Xxs, $body),
            TensorType::Iq3S => with_block!(@ $B = iq3_s::Iq3S, $body),
            TensorType::Iq1S => with_block!(@ $B = iq1_s::Iq1S, $body),
            TensorType::Iq1M => with_block!(@ $B = iq1_m::Iq1M, $body),
            ty => with_encodable_block!(ty, $B => $body, $otherwise),
        }
    };
    (@ $B:ident = $block:ty, $body:expr) => {{
        type $B = $block;
        $body
    }};
}

/// The same for the quantized types that can be encoded, too.
macro_rules! with_encodable_block {
    ($ty:expr, $B:ident => $body:expr, $otherwise:expr) => {
        match $ty {
            TensorType::Q4_0 => with_block!(@ $B = q4_0::Q4_0, $body),
            TensorType::Q4_1 => with_block!(@ $B = q4_1::Q4_1, $body),
            TensorType::Q5_0 => with_block!(@ $B = q5_0::Q5_0, $body),
            TensorType::Q5_1 => with_block!(@ $B = q5_1::Q5_1, $body),
            TensorType::Q8_0 => with_block!(@ $B = q8_0::Q8_0, $body),
            TensorType::Q2K => with_block!(@ $B = q2_k::Q2K, $body),
            TensorType::Q3K => with_block!(@ $B = q3_k::Q3K, $body),
            TensorType::Q4K => with_block!(@ $B = q4_k::Q4K, $body),
            TensorType::Q5K => with_block!(@ $B = q5_k::Q5K, $body),
            TensorType::Q6K => with_block!(@ $B = q6_k::Q6K, $body),
            TensorType::Iq4Nl => with_block!(@ $B = iq4_nl::Iq4Nl, $body),
            TensorType::Iq4Xs => with_block!(@ $B = iq4_xs::Iq4Xs, $body),
            TensorType::Mxfp4 => with_block!(@ $B = mxfp4::Mxfp4, $body),
            TensorType::Nvfp4 => with_block!(@ $B = nvfp4::Nvfp4, $body),
            TensorType::Tq1_0 => with_block!(@ $B = tq1_0::Tq1_0, $body),
            TensorType::Tq2_0 => with_block!(@ $B = tq2_0::Tq2_0, $body),
            TensorType::Q1_0 => with_block!(@ $B = q1_0::Q1_0, $body),
            TensorType::Q2_0 => with_block!(@ $B = q2_0::Q2_0, $body),
            _ => $otherwise,
        }
    };
}

/// Decodes a row of `ty` into `out`, whose length is the number of columns. For a quantized type every value is
/// `scale * code - min` in f32, as [`unpack_groups`] gives them.
///
/// # Errors
/// `ty` is not decodable, or the lengths do not belong together.
pub fn decode_row(ty: TensorType, bytes: &[u8], out: &mut [f32]) -> Result<(), TypeError> {
    check_row_shape(ty, bytes.len(), out.len())?;
    match ty {
        TensorType::F32 => floats::decode_f32(bytes, out),
        TensorType::F16 => floats::decode_f16(bytes, out),
        TensorType::Bf16 => floats::decode_bf16(bytes, out),
        _ => with_block!(ty, B => decode_blocks::<B>(bytes, out), return Err(TypeError::Unsupported(ty))),
    }
    Ok(())
}

/// Encodes a row `x` as `ty` into `out`, by the plain rule of the format (no importance weights).
///
/// # Errors
/// `ty` is not encodable, the lengths do not belong together, or the type is quantized and a value is not finite
/// or so large that its scale is not. F16 turns what is too large into infinity.
pub fn encode_row(ty: TensorType, x: &[f32], out: &mut [u8]) -> Result<(), TypeError> {
    check_row_shape(ty, out.len(), x.len())?;
    match ty {
        TensorType::F32 => floats::encode_f32(x, out),
        TensorType::F16 => floats::encode_f16(x, out),
        TensorType::Bf16 => floats::encode_bf16(x, out),
        _ => with_encodable_block!(
            ty,
            B => encode_blocks::<B>(ty, x, out)?,
            return Err(TypeError::NotEncodable(ty))
        ),
    }
    Ok(())
}

/// Encodes a row `x` as `ty` into `out` with less error than [`encode_row`], where that can be done: with a search for
/// the best scales where the plain rule has none, and with `importance`, one mean square of the activations that meet each
/// column, so that columns that matter more lose less. In no block is the weighted error larger than by the plain rule.
///
/// # Errors
/// As [`encode_row`]; or `importance` has not one number for each column.
pub fn encode_row_searched(
    ty: TensorType,
    x: &[f32],
    importance: Option<&[f32]>,
    out: &mut [u8],
) -> Result<(), TypeError> {
    if let Some(found) = importance.map(<[f32]>::len).filter(|len| *len != x.len()) {
        return Err(TypeError::Importance { cols: x.len(), found });
    }
    encode_row(ty, x, out)?;
    with_encodable_block!(ty, B => search_blocks::<B>(x, importance, out), {});
    Ok(())
}

/// Spells out a row of a quantized type: one code per column, and for each group of [`TensorType::group_len`]
/// codes a scale and, if [`TensorType::has_min`], a minimum (otherwise `mins` is left alone and may be empty).
///
/// # Errors
/// `ty` is not a quantized type that can be decoded, or the lengths do not belong together.
pub fn unpack_groups(
    ty: TensorType,
    bytes: &[u8],
    codes: &mut [i8],
    scales: &mut [f32],
    mins: &mut [f32],
) -> Result<(), TypeError> {
    let cols = codes.len();
    check_row_shape(ty, bytes.len(), cols)?;
    let group = ty.group_len().ok_or(TypeError::NotQuantized(ty))?;
    let expected = cols / group;
    let check = |what, found| match found == expected {
        true => Ok(()),
        false => Err(TypeError::Groups { ty, cols, what, expected, found }),
    };
    check("scales", scales.len())?;
    if ty.has_min() {
        check("mins", mins.len())?;
    }
    with_block!(ty, B => unpack_blocks::<B>(bytes, codes, scales, mins), return Err(TypeError::Unsupported(ty)));
    Ok(())
}

/// Scans a stored row for scales, minima or plain numbers that are infinite or not numbers. Codes need no check:
/// every pattern of bits is a code.
///
/// # Errors
/// The first such place, `ty` is not decodable, or `bytes` is not a row of `cols` elements.
pub fn check_row(ty: TensorType, bytes: &[u8], cols: usize) -> Result<(), TypeError> {
    check_row_shape(ty, bytes.len(), cols)?;
    let bad = match ty {
        TensorType::F32 => bytes.as_chunks::<4>().0.iter().position(|b| !f32::from_le_bytes(*b).is_finite()),
        TensorType::F16 => {
            bytes.as_chunks::<2>().0.iter().position(|b| !half::f16::from_le_bytes(*b).is_finite())
        }
        TensorType::Bf16 => {
            bytes.as_chunks::<2>().0.iter().position(|b| !half::bf16::from_le_bytes(*b).is_finite())
        }
        _ => with_block!(ty, B => first_bad_block::<B>(bytes), return Err(TypeError::Unsupported(ty))),
    };
    bad.map_or(Ok(()), |column| Err(TypeError::NotFinite { ty, column }))
}

/// Checks that `ty` is decodable and that `found` bytes are a row of `cols` elements.
fn check_row_shape(ty: TensorType, found: usize, cols: usize) -> Result<(), TypeError> {
    if !ty.is_decodable() {
        return Err(TypeError::Unsupported(ty));
    }
    let expected = ty.row_bytes(cols).ok_or(TypeError::RowLength { ty, cols, block: ty.block_len() })?;
    if found != expected {
        return Err(TypeError::RowBytes { ty, cols, expected, found });
    }
    Ok(())
}

fn decode_blocks<B: Block>(bytes: &[u8], out: &mut [f32]) {
    for (bytes, out) in bytes.chunks_exact(B::BYTES).zip(out.chunks_exact_mut(B::LEN)) {
        decode_block(&B::read(bytes), out);
    }
}

fn decode_block<B: Block>(block: &B, out: &mut [f32]) {
    let mut codes = [0i8; 256];
    let mut scales = [0f32; 16];
    let mut mins = [0f32; 16];
    let codes = &mut codes[..B::LEN];
    block.unpack(codes, &mut scales[..B::LEN / B::GROUP], &mut mins[..B::LEN / B::GROUP]);
    let groups = out.chunks_exact_mut(B::GROUP).zip(codes.chunks_exact(B::GROUP));
    for (g, (out, codes)) in groups.enumerate() {
        for (x, &code) in out.iter_mut().zip(codes) {
            *x = scales[g] * f32::from(code);
            if B::HAS_MIN {
                *x -= mins[g];
            }
        }
    }
}

fn unpack_blocks<B: Block>(bytes: &[u8], codes: &mut [i8], scales: &mut [f32], mins: &mut [f32]) {
    let groups = B::LEN / B::GROUP;
    let mut no_mins = mins.chunks_exact_mut(groups);
    let blocks = bytes.chunks_exact(B::BYTES).zip(codes.chunks_exact_mut(B::LEN));
    for ((bytes, codes), scales) in blocks.zip(scales.chunks_exact_mut(groups)) {
        let mins = if B::HAS_MIN { no_mins.next().unwrap_or_default() } else { &mut [] };
        B::read(bytes).unpack(codes, scales, mins);
    }
}

fn encode_blocks<B: Encode>(ty: TensorType, x: &[f32], out: &mut [u8]) -> Result<(), TypeError> {
    if let Some(column) = x.iter().position(|v| !v.is_finite() || v.abs() > B::LIMIT) {
        return Err(TypeError::NotFinite { ty, column });
    }
    for (i, (x, out)) in x.chunks_exact(B::LEN).zip(out.chunks_exact_mut(B::BYTES)).enumerate() {
        let block = B::encode(x);
        if !block.is_finite() {
            return Err(TypeError::NotFinite { ty, column: i * B::LEN });
        }
        block.write(out);
    }
    Ok(())
}

/// Puts better blocks in the place of those that the plain rule has made.
fn search_blocks<B: Encode>(x: &[f32], importance: Option<&[f32]>, out: &mut [u8]) {
    let Some(spread) = B::SPREAD.filter(|_| B::PLAIN || importance.is_some()) else { return };
    let mean_square = |x: &[f32]| x.iter().map(|v| v * v).sum::<f32>() / x.len().max(1) as f32;
    let of_row = mean_square(x);
    let mut w = [0f32; 256];
    for (i, (x, out)) in x.chunks_exact(B::LEN).zip(out.chunks_exact_mut(B::BYTES)).enumerate() {
        let w = &mut w[..B::LEN];
        let sigma = match spread {
            Spread::Row => of_row,
            Spread::Block(factor) => factor * mean_square(x),
            Spread::Flat => 0.0,
        };
        for (j, w) in w.iter_mut().enumerate() {
            let q = importance.map_or(1.0, |q| q[i * B::LEN + j]);
            *w = if spread == Spread::Flat { q } else { q * (sigma + x[j] * x[j]).sqrt() };
        }
        let found = B::encode_weighted(x, w, importance.is_some());
        if found.is_finite() && error(&found, x, w) < error(&B::read(out), x, w) {
            found.write(out);
        }
    }
}

/// The weighted sum of the squares of a block's errors.
fn error<B: Block>(block: &B, x: &[f32], w: &[f32]) -> f32 {
    let mut decoded = [0f32; 256];
    decode_block(block, &mut decoded[..B::LEN]);
    let errors = x.iter().zip(&decoded).map(|(x, y)| x - y);
    errors.zip(w).map(|(e, w)| w * e * e).sum()
}

fn first_bad_block<B: Block>(bytes: &[u8]) -> Option<usize> {
    bytes.chunks_exact(B::BYTES).position(|b| !B::read(b).is_finite()).map(|i| i * B::LEN)
}
