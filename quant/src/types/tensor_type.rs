//! The type ids a GGUF file may carry, and the size of a block of each.

/// How the elements of a tensor are stored. The discriminant is the id in the file.
///
/// All ids in use are listed, so that a file with a type that cannot be computed with gives an error that
/// names it; [`TensorType::is_decodable`] says which ones this crate can read, [`TensorType::is_encodable`] which ones
/// it can write.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[repr(u32)]
#[expect(missing_docs, reason = "the variants are the names of the format")]
pub enum TensorType {
    F32 = 0,
    F16 = 1,
    Q4_0 = 2,
    Q4_1 = 3,
    Q5_0 = 6,
    Q5_1 = 7,
    Q8_0 = 8,
    Q8_1 = 9,
    Q2K = 10,
    Q3K = 11,
    Q4K = 12,
    Q5K = 13,
    Q6K = 14,
    Q8K = 15,
    Iq2Xxs = 16,
    Iq2Xs = 17,
    Iq3Xxs = 18,
    Iq1S = 19,
    Iq4Nl = 20,
    Iq3S = 21,
    Iq2S = 22,
    Iq4Xs = 23,
    I8 = 24,
    I16 = 25,
    I32 = 26,
    I64 = 27,
    F64 = 28,
    Iq1M = 29,
    Bf16 = 30,
    Tq1_0 = 34,
    Tq2_0 = 35,
    Mxfp4 = 39,
    Nvfp4 = 40,
    Q1_0 = 41,
    Q2_0 = 42,
}

use TensorType::*;

/// Ids that once meant something and that no current file may use.
pub const REMOVED_IDS: [u32; 8] = [4, 5, 31, 32, 33, 36, 37, 38];

impl TensorType {
    /// Every type, in the order of the ids.
    pub const ALL: [Self; 35] = [
        F32, F16, Q4_0, Q4_1, Q5_0, Q5_1, Q8_0, Q8_1, Q2K, Q3K, Q4K, Q5K, Q6K, Q8K, Iq2Xxs, Iq2Xs, Iq3Xxs,
        Iq1S, Iq4Nl, Iq3S, Iq2S, Iq4Xs, I8, I16, I32, I64, F64, Iq1M, Bf16, Tq1_0, Tq2_0, Mxfp4, Nvfp4, Q1_0,
        Q2_0,
    ];

    /// The type with this id in a file; `None` for an unknown or a removed one.
    pub const fn from_id(id: u32) -> Option<Self> {
        let mut i = 0;
        while i < Self::ALL.len() {
            if Self::ALL[i].id() == id {
                return Some(Self::ALL[i]);
            }
            i += 1;
        }
        None
    }

    /// The id in a file.
    pub const fn id(self) -> u32 {
        self as u32
    }

    /// Name, elements per block, bytes per block.
    const fn layout(self) -> (&'static str, usize, usize) {
        match self {
            F32 => ("F32", 1, 4),
            F16 => ("F16", 1, 2),
            Q4_0 => ("Q4_0", 32, 18),
            Q4_1 => ("Q4_1", 32, 20),
            Q5_0 => ("Q5_0", 32, 22),
            Q5_1 => ("Q5_1", 32, 24),
            Q8_0 => ("Q8_0", 32, 34),
            Q8_1 => ("Q8_1", 32, 36),
            Q2K => ("Q2_K", 256, 84),
            Q3K => ("Q3_K", 256, 110),
            Q4K => ("Q4_K", 256, 144),
            Q5K => ("Q5_K", 256, 176),
            Q6K => ("Q6_K", 256, 210),
            Q8K => ("Q8_K", 256, 292),
            Iq2Xxs => ("IQ2_XXS", 256, 66),
            Iq2Xs => ("IQ2_XS", 256, 74),
            Iq3Xxs => ("IQ3_XXS", 256, 98),
            Iq1S => ("IQ1_S", 256, 50),
            Iq4Nl => ("IQ4_NL", 32, 18),
            Iq3S => ("IQ3_S", 256, 110),
            Iq2S => ("IQ2_S", 256, 82),
            Iq4Xs => ("IQ4_XS", 256, 136),
            I8 => ("I8", 1, 1),
            I16 => ("I16", 1, 2),
            I32 => ("I32", 1, 4),
            I64 => ("I64", 1, 8),
            F64 => ("F64", 1, 8),
            Iq1M => ("IQ1_M", 256, 56),
            Bf16 => ("BF16", 1, 2),
            Tq1_0 => ("TQ1_0", 256, 54),
            Tq2_0 => ("TQ2_0", 256, 66),
            Mxfp4 => ("MXFP4", 32, 17),
            Nvfp4 => ("NVFP4", 64, 36),
            Q1_0 => ("Q1_0", 128, 18),
            Q2_0 => ("Q2_0", 64, 18),
        }
    }

    /// The usual name, such as `Q4_K`, `BF16` or `IQ4_NL`.
    pub const fn name(self) -> &'static str {
        self.layout().0
    }

    /// The type with this name, in any mix of upper and lower case.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|ty| ty.name().eq_ignore_ascii_case(name))
    }

    /// Elements in a block; a row holds a whole number of blocks.
    pub const fn block_len(self) -> usize {
        self.layout().1
    }

    /// Bytes of a block.
    pub const fn block_bytes(self) -> usize {
        self.layout().2
    }

    /// Bytes of a row of `cols` elements; `None` if `cols` is not a multiple of [`Self::block_len`] or the
    /// result does not fit.
    pub fn row_bytes(self, cols: usize) -> Option<usize> {
        if !cols.is_multiple_of(self.block_len()) {
            return None;
        }
        (cols / self.block_len()).checked_mul(self.block_bytes())
    }

    /// Elements that share one scale (16 or 32), for the quantized types that can be decoded. Where a type has fewer
    /// scales, neighbouring groups have the same.
    pub const fn group_len(self) -> Option<usize> {
        match self {
            Q2K | Q3K | Q6K | Iq2Xs | Iq2S | Iq1M | Nvfp4 => Some(16),
            Q4_0 | Q4_1 | Q5_0 | Q5_1 | Q8_0 | Q4K | Q5K | Iq4Nl | Iq4Xs | Mxfp4 | Iq2Xxs | Iq3Xxs | Iq3S
            | Iq1S | Tq1_0 | Tq2_0 | Q1_0 | Q2_0 => Some(32),
            _ => None,
        }
    }

    /// Whether a group has a minimum that is subtracted, besides its scale.
    pub const fn has_min(self) -> bool {
        matches!(self, Q4_1 | Q5_1 | Q2K | Q4K | Q5K)
    }

    /// Whether blocks of codes share scales, as against one plain number per element.
    pub const fn is_quantized(self) -> bool {
        self.block_len() > 1
    }

    /// Whether rows of this type can be decoded here.
    pub const fn is_decodable(self) -> bool {
        self.group_len().is_some() || matches!(self, F32 | F16 | Bf16)
    }

    /// Whether rows of this type can be encoded here, too: all that can be decoded but those with codebooks.
    pub const fn is_encodable(self) -> bool {
        self.is_decodable() && !matches!(self, Iq2Xxs | Iq2Xs | Iq2S | Iq3Xxs | Iq3S | Iq1S | Iq1M)
    }
}

impl std::fmt::Display for TensorType {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.name())
    }
}
