//! How weights lie in the memory of the GPU.
//!
//! The blocks of a file have sizes and orders that suit bytes: 18, 34 or 210 of them, an element's neighbour sixteen places
//! away. At upload they are split into two arrays of words, the codes and the scales, such that the 32 weights that a thread
//! takes at a time are neighbours, in order, and lie where whole vectors can be read. Both together take about the bytes
//! of the file. `wgsl/blocks/` has the other end: a shader file for each type that reads such a unit.

mod codebooks;
mod k_quants;
mod planes;
mod small;
mod thirty_twos;

use qwip_quant::TensorType;

/// A word of a buffer, the lowest byte first.
type Word = [u8; 4];

/// What becomes of the blocks of a type.
///
/// They are stored in runs of a few blocks, the fewest that fill whole words of both arrays; of the plain types 32 elements
/// are a run. What is missing in the last run is zero.
#[derive(Clone, Copy, Debug)]
pub struct Layout {
    /// Blocks in a run.
    run: usize,
    /// Words of codes in a run.
    codes: usize,
    /// Words of scales in a run.
    scales: usize,
    file: &'static str,
    /// Splits the blocks of a run, given the words that are the run's.
    split: fn(&[u8], &mut [Word], &mut [Word]),
}

impl Layout {
    /// The layout of a type; `None` if it cannot be decoded.
    pub fn of(ty: TensorType) -> Option<Self> {
        Some(match ty {
            TensorType::F32 => Self::floats(32, "blocks/f32.wgsl"),
            TensorType::F16 => Self::floats(16, "blocks/f16.wgsl"),
            TensorType::Bf16 => Self::floats(16, "blocks/bf16.wgsl"),
            TensorType::Q4_0 => thirty_twos::Q4_0,
            TensorType::Q4_1 => thirty_twos::Q4_1,
            TensorType::Q5_0 => thirty_twos::Q5_0,
            TensorType::Q5_1 => thirty_twos::Q5_1,
            TensorType::Q8_0 => thirty_twos::Q8_0,
            TensorType::Iq4Nl => thirty_twos::IQ4_NL,
            TensorType::Mxfp4 => thirty_twos::MXFP4,
            TensorType::Q2K => k_quants::Q2_K,
            TensorType::Q3K => k_quants::Q3_K,
            TensorType::Q4K => k_quants::Q4_K,
            TensorType::Q5K => k_quants::Q5_K,
            TensorType::Q6K => k_quants::Q6_K,
            TensorType::Iq4Xs => k_quants::IQ4_XS,
            TensorType::Nvfp4 => small::NVFP4,
            TensorType::Tq1_0 => small::TQ1_0,
            TensorType::Tq2_0 => small::TQ2_0,
            TensorType::Q1_0 => small::Q1_0,
            TensorType::Q2_0 => small::Q2_0,
            TensorType::Iq1S => codebooks::IQ1_S,
            TensorType::Iq1M => codebooks::IQ1_M,
            TensorType::Iq2Xxs => codebooks::IQ2_XXS,
            TensorType::Iq2Xs => codebooks::IQ2_XS,
            TensorType::Iq2S => codebooks::IQ2_S,
            TensorType::Iq3Xxs => codebooks::IQ3_XXS,
            TensorType::Iq3S => codebooks::IQ3_S,
            _ => return None,
        })
    }

    /// Plain numbers, 32 of which are `words` words.
    const fn floats(words: usize, file: &'static str) -> Self {
        let split = |elements: &[u8], codes: &mut [Word], _: &mut [Word]| {
            codes.as_flattened_mut()[..elements.len()].copy_from_slice(elements);
        };
        Self { run: 32, codes: words, scales: 0, file, split }
    }

    /// Blocks that are stored together: where a matrix is cut for upload, a multiple of them must lie before the cut.
    pub fn run(&self) -> usize {
        self.run
    }

    /// Bytes of the codes of some blocks.
    pub fn code_bytes(&self, blocks: usize) -> usize {
        blocks.div_ceil(self.run) * self.codes * 4
    }

    /// Bytes of the scales of some blocks; 0 for the plain types.
    pub fn scale_bytes(&self, blocks: usize) -> usize {
        blocks.div_ceil(self.run) * self.scales * 4
    }

    /// The shader file that reads the type.
    pub fn file(&self) -> &'static str {
        self.file
    }

    /// The words of the codebook that the codes of a type point into, if they do.
    pub fn grid(ty: TensorType) -> Option<Vec<u32>> {
        qwip_quant::types::codebook(ty)
    }
}

/// Splits whole blocks of `ty`, the first of which begins a run, into `codes` `[code_bytes]` and `scales` `[scale_bytes]`.
/// Whatever the bytes are, they are codes and scales.
///
/// # Panics
/// `codes` or `scales` is too short.
pub fn split(ty: TensorType, blocks: &[u8], codes: &mut [u8], scales: &mut [u8]) {
    let Some(layout) = Layout::of(ty) else { return };
    let (codes, scales) = (codes.as_chunks_mut().0, scales.as_chunks_mut().0);
    let bytes = layout.run * ty.block_bytes();
    for (i, run) in blocks.chunks(bytes).enumerate() {
        let codes = &mut codes[i * layout.codes..][..layout.codes];
        let scales = &mut scales[i * layout.scales..][..layout.scales];
        if run.len() < bytes {
            codes.fill([0; 4]);
            scales.fill([0; 4]);
        }
        (layout.split)(run, codes, scales);
    }
}
