//! The key/value cache's tiles: their sizes, and writing one token into one.
//!
//! A tile holds [`TILE`] positions of one kv head. Keys lie `[D, 64]`, so that a score kernel has positions
//! in its lanes; values lie `[64, D]`. See [`KvRef`](crate::KvRef).

use crate::TILE;
use half::f16;

/// How the cache stores a value.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum KvType {
    /// Single precision.
    F32,
    /// Half precision, rounded to nearest even.
    F16,
    /// 8-bit codes with a half precision scale per 32 dimensions of a position.
    Q8_0,
}

impl KvType {
    /// The name that flags take: `f32`, `f16`, `q8_0`.
    pub const fn name(self) -> &'static str {
        match self {
            KvType::F32 => "f32",
            KvType::F16 => "f16",
            KvType::Q8_0 => "q8_0",
        }
    }

    /// The type called `name`, in any case.
    pub fn from_name(name: &str) -> Option<KvType> {
        [KvType::F32, KvType::F16, KvType::Q8_0].into_iter().find(|ty| ty.name().eq_ignore_ascii_case(name))
    }

    /// Elements (floats or codes) in a tile of head dimension `d`.
    pub const fn tile_elements(self, d: usize) -> usize {
        d * TILE
    }

    /// Scales in a tile of head dimension `d`: none but for Q8_0.
    pub const fn tile_scales(self, d: usize) -> usize {
        match self {
            KvType::Q8_0 => d / 32 * TILE,
            _ => 0,
        }
    }

    /// Bytes in a tile of head dimension `d`, scales included.
    pub const fn tile_bytes(self, d: usize) -> usize {
        match self {
            KvType::F32 => self.tile_elements(d) * 4,
            KvType::F16 => self.tile_elements(d) * 2,
            KvType::Q8_0 => self.tile_elements(d) + self.tile_scales(d) * 2,
        }
    }

    /// Whether heads of dimension `d` can be stored so: Q8_0 needs whole groups of 32.
    pub const fn fits(self, d: usize) -> bool {
        !matches!(self, KvType::Q8_0) || d.is_multiple_of(32)
    }
}

/// One tile of the keys or of the values of one kv head, to write into. The layout is that of
/// [`KvRef`](crate::KvRef).
#[derive(Debug)]
pub enum KvMut<'a> {
    /// Single precision.
    F32(&'a mut [f32]),
    /// Half precision.
    F16(&'a mut [f16]),
    /// 8-bit codes; value = scale * code.
    Q8_0 {
        /// Codes, -127..=127.
        codes: &'a mut [i8],
        /// One scale per 32 dimensions of a position.
        scales: &'a mut [f16],
    },
}

/// Writes the key `x [D]` of one token at position `slot` (0..64) of a tile `[D, 64]`.
///
/// # Panics
/// If the tile is smaller than D says.
pub fn store_key(x: &[f32], slot: usize, tile: KvMut) {
    store(x, tile, |i| i * TILE + slot, |block| block * TILE + slot);
}

/// Writes the value `x [D]` of one token at position `slot` (0..64) of a tile `[64, D]`.
///
/// # Panics
/// If the tile is smaller than D says.
pub fn store_value(x: &[f32], slot: usize, tile: KvMut) {
    let d = x.len();
    store(x, tile, |i| slot * d + i, |block| slot * (d / 32) + block);
}

/// Writes element i of `x` at `at(i)`, the scale of block b at `scale_at(b)`.
///
/// Q8_0: with amax the largest magnitude of 32 values, code = round_ties_even(x * (127 / amax)) and the
/// scale is amax / 127 rounded to half precision; below 1e-30 all is 0; a value that is not finite makes the
/// scale NaN.
fn store(x: &[f32], tile: KvMut, at: impl Fn(usize) -> usize, scale_at: impl Fn(usize) -> usize) {
    match tile {
        KvMut::F32(tile) => x.iter().enumerate().for_each(|(i, &x)| tile[at(i)] = x),
        KvMut::F16(tile) => x.iter().enumerate().for_each(|(i, &x)| tile[at(i)] = f16::from_f32(x)),
        KvMut::Q8_0 { codes, scales } => {
            let mut block_codes = [0i8; 32];
            for (block, x) in x.as_chunks::<32>().0.iter().enumerate() {
                let (scale, _) = crate::scalar::quantize::quantize_block(x, &mut block_codes);
                scales[scale_at(block)] = f16::from_f32(scale);
                for (i, code) in block_codes.iter().enumerate() {
                    codes[at(block * 32 + i)] = *code;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::KvRef;
    use crate::reference::attend::{key, value};

    fn token(d: usize, seed: usize) -> Vec<f32> {
        (0..d).map(|i| ((i * 37 + seed * 101) % 211) as f32 / 50.0 - 2.0).collect()
    }

    #[test]
    fn what_is_stored_is_read_back_at_the_same_position() {
        for d in [32, 64, 96, 128] {
            let mut keys = vec![0.0f32; KvType::F32.tile_elements(d)];
            let mut halves = vec![f16::ZERO; KvType::F16.tile_elements(d)];
            let mut codes = vec![0i8; KvType::Q8_0.tile_elements(d)];
            let mut scales = vec![f16::ZERO; KvType::Q8_0.tile_scales(d)];
            let mut v_codes = codes.clone();
            let mut v_scales = scales.clone();
            for slot in 0..TILE {
                let x = token(d, slot);
                store_key(&x, slot, KvMut::F32(&mut keys));
                store_value(&x, slot, KvMut::F16(&mut halves));
                store_key(&x, slot, KvMut::Q8_0 { codes: &mut codes, scales: &mut scales });
                store_value(&x, slot, KvMut::Q8_0 { codes: &mut v_codes, scales: &mut v_scales });
            }
            for slot in 0..TILE {
                for (i, &x) in token(d, slot).iter().enumerate() {
                    assert_eq!(key(&KvRef::F32(&keys), i, slot), x);
                    assert_eq!(value(&KvRef::F16(&halves), d, i, slot), f16::from_f32(x).to_f32());
                    let k = key(&KvRef::Q8_0 { codes: &codes, scales: &scales }, i, slot);
                    assert_eq!(k, value(&KvRef::Q8_0 { codes: &v_codes, scales: &v_scales }, d, i, slot));
                    // Half a step of at most 2.3 / 127, and the rounding of the scale to half precision.
                    assert!((k - x).abs() < 0.5 * 2.3 / 127.0 + 2.3 / 2048.0, "{k} for {x}");
                }
            }
        }
    }

    #[test]
    fn values_that_are_not_finite_stay_visible() {
        let mut x = token(64, 0);
        x[40] = f32::INFINITY;
        let (mut codes, mut scales) = (vec![0i8; 64 * TILE], vec![f16::ZERO; 2 * TILE]);
        store_key(&x, 3, KvMut::Q8_0 { codes: &mut codes, scales: &mut scales });
        let tile = KvRef::Q8_0 { codes: &codes, scales: &scales };
        assert!(key(&tile, 40, 3).is_nan() && key(&tile, 33, 3).is_nan());
        assert!(!key(&tile, 0, 3).is_nan() && !key(&tile, 40, 2).is_nan());
    }

    #[test]
    fn sizes_and_names() {
        assert_eq!(KvType::F32.tile_bytes(128), 32768);
        assert_eq!(KvType::F16.tile_bytes(80), 10240);
        assert_eq!(KvType::Q8_0.tile_bytes(64), 64 * 64 + 2 * 64 * 2);
        assert!(KvType::Q8_0.fits(96) && !KvType::Q8_0.fits(80) && KvType::F16.fits(80));
        for ty in [KvType::F32, KvType::F16, KvType::Q8_0] {
            assert_eq!(KvType::from_name(ty.name()), Some(ty));
        }
        assert_eq!(KvType::from_name("Q8_0"), Some(KvType::Q8_0));
        assert_eq!(KvType::from_name("q4_0"), None);
    }
}
