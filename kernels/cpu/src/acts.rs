//! Quantized activations in the order in which the matrix kernels read them.
//!
//! Tokens lie in tiles: as many of the kernel set's widest tile as there are, then smaller ones. Inside a
//! tile, 32 columns of all its tokens (a step) follow each other: the codes of each token, then the scales,
//! then the sums in the forms that kernels want them in:
//!
//! | words | what |
//! |---|---|
//! | `[W, 8]` | 32 codes, -127..=127, four to a word |
//! | `[W]` | f32 scale |
//! | `[W]` | minus the sum of the 32 codes, i32: corrects for weight codes that were made unsigned |
//! | `[W, 2]` | the same for each 16 codes |
//! | `[W]` | the sum of the 32 codes as f32: multiplies the minimums of the weights |
//! | `[W, 2]` | the same for each 16 codes |

/// Columns of a step.
pub const STEP: usize = 32;
/// Words that a token takes in a step.
pub(crate) const STEP_WORDS: usize = 15;

/// 32 columns of T tokens.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub(crate) struct ActStep<const T: usize> {
    pub(crate) codes: [[i32; 8]; T],
    pub(crate) scales: [f32; T],
    pub(crate) minus_sums: [i32; T],
    pub(crate) minus_half_sums: [[i32; 2]; T],
    pub(crate) sums: [f32; T],
    pub(crate) half_sums: [[f32; 2]; T],
}

/// The width of the tile that comes first among `rest` tokens.
fn width(rest: usize, widest: usize) -> usize {
    [widest, 8, 4, 3, 2].into_iter().find(|&w| w <= widest && w <= rest).unwrap_or(1)
}

/// The tiles of `n` tokens: first token and width.
pub(crate) fn tiles(n: usize, widest: usize) -> impl Iterator<Item = (usize, usize)> {
    let mut first = 0;
    std::iter::from_fn(move || {
        (first < n).then(|| {
            let tile = (first, width(n - first, widest));
            first += tile.1;
            tile
        })
    })
}

/// Words that `n` tokens of `cols` values take.
pub(crate) fn words(n: usize, cols: usize) -> usize {
    n * (cols / STEP) * STEP_WORDS
}

/// Quantized activations of some tokens; made by [`ops::Activations`](crate::ops::Activations).
#[derive(Clone, Copy, Debug)]
pub struct Acts<'a> {
    n: usize,
    cols: usize,
    widest: usize,
    words: &'a [i32],
}

impl<'a> Acts<'a> {
    pub(crate) fn new(n: usize, cols: usize, widest: usize, words: &'a [i32]) -> Acts<'a> {
        assert!(cols.is_multiple_of(STEP) && words.len() == self::words(n, cols), "{n} x {cols} activations");
        Acts { n, cols, widest, words }
    }

    /// Tokens.
    pub fn n(&self) -> usize {
        self.n
    }

    /// Values per token, a multiple of 32.
    pub fn cols(&self) -> usize {
        self.cols
    }

    /// The tile, if all tokens lie in one.
    pub(crate) fn only_tile(&self) -> Option<ActTile<'a>> {
        let mut tiles = self.tiles();
        tiles.next().filter(|tile| tile.width == self.n)
    }

    /// The tiles in ascending order.
    pub fn tiles(&self) -> impl Iterator<Item = ActTile<'a>> {
        let (words, token) = (self.words, self::words(1, self.cols));
        tiles(self.n, self.widest).map(move |(first, width)| ActTile {
            first,
            width,
            words: &words[first * token..(first + width) * token],
        })
    }
}

/// A few neighbouring tokens.
#[derive(Clone, Copy, Debug)]
pub struct ActTile<'a> {
    /// The first token.
    pub first: usize,
    /// How many there are.
    pub width: usize,
    words: &'a [i32],
}

impl<'a> ActTile<'a> {
    /// The steps of a tile of T tokens; panics if it has another width.
    pub(crate) fn steps<const T: usize>(&self) -> &'a [ActStep<T>] {
        assert_eq!(self.width, T, "tokens of a tile");
        let len = self.words.len() / (T * STEP_WORDS);
        // SAFETY: a step is T * STEP_WORDS words without padding, and any bits are a value of its fields.
        unsafe { std::slice::from_raw_parts(self.words.as_ptr().cast(), len) }
    }

    fn step(&self, step: usize) -> &'a [i32] {
        let len = self.width * STEP_WORDS;
        &self.words[step * len..(step + 1) * len]
    }

    /// The codes of token `t` of the tile.
    pub fn codes(&self, step: usize, t: usize) -> [i8; STEP] {
        let words: &[i32; 8] = self.step(step)[8 * t..].first_chunk().unwrap_or(&[0; 8]);
        bytemuck::cast(*words)
    }

    /// Their scale.
    pub fn scale(&self, step: usize, t: usize) -> f32 {
        f32::from_bits(self.step(step)[8 * self.width + t] as u32)
    }

    /// The sums of each 16 of them.
    pub fn half_sums(&self, step: usize, t: usize) -> [i32; 2] {
        let at = 10 * self.width + 2 * t;
        [-self.step(step)[at], -self.step(step)[at + 1]]
    }
}

/// A tile to be filled.
#[derive(Debug)]
pub struct ActTileMut<'a> {
    /// How many tokens it has.
    pub width: usize,
    words: &'a mut [i32],
}

impl<'a> ActTileMut<'a> {
    /// A tile of `width` tokens.
    pub(crate) fn new(width: usize, words: &'a mut [i32]) -> ActTileMut<'a> {
        ActTileMut { width, words }
    }

    /// Writes a step of token `t` of the tile.
    #[inline(always)]
    pub fn put(&mut self, step: usize, t: usize, codes: &[i8; STEP], scale: f32, sums: [i32; 2]) {
        let w = self.width;
        let words = &mut self.words[step * w * STEP_WORDS..(step + 1) * w * STEP_WORDS];
        let codes: [i32; 8] = bytemuck::cast(*codes);
        words[8 * t..8 * t + 8].copy_from_slice(&codes);
        words[8 * w + t] = scale.to_bits() as i32;
        words[9 * w + t] = -(sums[0] + sums[1]);
        words[12 * w + t] = ((sums[0] + sums[1]) as f32).to_bits() as i32;
        for (half, sum) in sums.into_iter().enumerate() {
            words[10 * w + 2 * t + half] = -sum;
            words[13 * w + 2 * t + half] = (sum as f32).to_bits() as i32;
        }
    }
}

/// A buffer of quantized activations. It keeps its memory, so one that has been large enough before does not
/// allocate again.
#[derive(Clone, Default, Debug)]
pub struct ActsBuffer {
    n: usize,
    cols: usize,
    widest: usize,
    words: Vec<i32>,
}

impl ActsBuffer {
    /// Makes room for `n` tokens of `cols` values (a multiple of 32) in tiles of at most `widest`; contents are
    /// arbitrary.
    pub fn resize(&mut self, n: usize, cols: usize, widest: usize) {
        assert!(cols.is_multiple_of(STEP) && widest > 0, "{cols} columns in tiles of {widest} tokens");
        (self.n, self.cols, self.widest) = (n, cols, widest);
        self.words.resize(words(n, cols), 0);
    }

    /// The activations.
    pub fn acts(&self) -> Acts<'_> {
        Acts::new(self.n, self.cols, self.widest, &self.words)
    }

    /// The tokens `first..first + n`, which have been filled as tiles of their own.
    pub(crate) fn part(&self, first: usize, n: usize) -> Acts<'_> {
        let token = words(1, self.cols);
        Acts::new(n, self.cols, self.widest, &self.words[first * token..(first + n) * token])
    }

    /// The tiles: first token, and the tile to fill.
    pub fn tiles_mut(&mut self) -> impl Iterator<Item = (usize, ActTileMut<'_>)> {
        let token = words(1, self.cols);
        let mut rest = &mut self.words[..];
        tiles(self.n, self.widest).map(move |(first, width)| {
            let (tile, after) = std::mem::take(&mut rest).split_at_mut(width * token);
            rest = after;
            (first, ActTileMut::new(width, tile))
        })
    }

    pub(crate) fn words_mut(&mut self) -> &mut [i32] {
        &mut self.words
    }
}

/// First token and width of tile `index` of `n` tokens.
pub(crate) fn nth_tile(n: usize, widest: usize, index: usize) -> Option<(usize, usize)> {
    tiles(n, widest).nth(index)
}

/// How many tiles `n` tokens make.
pub(crate) fn tile_count(n: usize, widest: usize) -> usize {
    tiles(n, widest).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tiles_cover_every_token_once() {
        for widest in [1, 4, 8, 10] {
            for n in 0..50 {
                let mut next = 0;
                for (i, (first, width)) in tiles(n, widest).enumerate() {
                    assert_eq!(first, next);
                    assert!(width >= 1 && width <= widest, "{width} of {n}");
                    assert_eq!(nth_tile(n, widest, i), Some((first, width)), "tile {i} of {n}, {widest}");
                    next += width;
                }
                assert_eq!(next, n);
            }
        }
    }

    #[test]
    fn what_is_put_is_read_back() {
        assert_eq!(size_of::<ActStep<3>>(), 3 * 4 * STEP_WORDS);
        let mut buffer = ActsBuffer::default();
        buffer.resize(7, 64, 4);
        let codes = |token: usize, step: usize| -> [i8; STEP] {
            std::array::from_fn(|i| ((token * 17 + step * 5 + i) % 255) as u8 as i8)
        };
        let sums = |c: [i8; STEP]| -> [i32; 2] {
            std::array::from_fn(|h| c[16 * h..16 * h + 16].iter().map(|&c| i32::from(c)).sum())
        };
        for (first, mut tile) in buffer.tiles_mut() {
            for t in 0..tile.width {
                for step in 0..2 {
                    let c = codes(first + t, step);
                    tile.put(step, t, &c, (first + t) as f32 + 0.5, sums(c));
                }
            }
        }
        for tile in buffer.acts().tiles() {
            for t in 0..tile.width {
                for step in 0..2 {
                    let c = codes(tile.first + t, step);
                    assert_eq!(tile.codes(step, t), c);
                    assert_eq!(tile.half_sums(step, t), sums(c));
                    assert_eq!(tile.scale(step, t), (tile.first + t) as f32 + 0.5);
                }
            }
            if tile.width == 4 {
                let step = &tile.steps::<4>()[1];
                let c = codes(tile.first + 2, 1);
                assert_eq!(step.codes[2], bytemuck::cast::<_, [i32; 8]>(c));
                assert_eq!(step.minus_sums[2], -(sums(c)[0] + sums(c)[1]));
                assert_eq!(step.half_sums[2], sums(c).map(|s| s as f32));
            }
        }
    }
}
