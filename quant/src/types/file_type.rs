//! `general.file_type`: a label for the mix of types in a file. Only a label: each tensor says its own type.

use super::TensorType;

/// A known label.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FileType {
    /// The number in the file.
    pub id: u32,
    /// The name, such as `Q4_K_M`.
    pub name: &'static str,
    /// The type of most of the tensors.
    pub base: TensorType,
}

/// All labels, in the order of their ids. Ids that are missing were retired.
pub const FILE_TYPES: [FileType; 36] = {
    use TensorType::*;
    const fn of(id: u32, name: &'static str, base: TensorType) -> FileType {
        FileType { id, name, base }
    }
    [
        of(0, "F32", F32),
        of(1, "F16", F16),
        of(2, "Q4_0", Q4_0),
        of(3, "Q4_1", Q4_1),
        of(7, "Q8_0", Q8_0),
        of(8, "Q5_0", Q5_0),
        of(9, "Q5_1", Q5_1),
        of(10, "Q2_K", Q2K),
        of(11, "Q3_K_S", Q3K),
        of(12, "Q3_K_M", Q3K),
        of(13, "Q3_K_L", Q3K),
        of(14, "Q4_K_S", Q4K),
        of(15, "Q4_K_M", Q4K),
        of(16, "Q5_K_S", Q5K),
        of(17, "Q5_K_M", Q5K),
        of(18, "Q6_K", Q6K),
        of(19, "IQ2_XXS", Iq2Xxs),
        of(20, "IQ2_XS", Iq2Xs),
        of(21, "Q2_K_S", Q2K),
        of(22, "IQ3_XS", Iq3S),
        of(23, "IQ3_XXS", Iq3Xxs),
        of(24, "IQ1_S", Iq1S),
        of(25, "IQ4_NL", Iq4Nl),
        of(26, "IQ3_S", Iq3S),
        of(27, "IQ3_M", Iq3S),
        of(28, "IQ2_S", Iq2Xs),
        of(29, "IQ2_M", Iq2S),
        of(30, "IQ4_XS", Iq4Xs),
        of(31, "IQ1_M", Iq1M),
        of(32, "BF16", Bf16),
        of(36, "TQ1_0", Tq1_0),
        of(37, "TQ2_0", Tq2_0),
        of(38, "MXFP4_MOE", Mxfp4),
        of(39, "NVFP4", Nvfp4),
        of(40, "Q1_0", Q1_0),
        of(41, "Q2_0", Q2_0),
    ]
};

impl FileType {
    /// The label with this id. Bit 1024, which says that a label was guessed, is ignored.
    pub fn from_id(id: u32) -> Option<Self> {
        FILE_TYPES.into_iter().find(|t| t.id == id & !1024)
    }

    /// The label with this name, in any mix of upper and lower case. `Q3_K`, `Q4_K` and `Q5_K` are the `_M` mixes.
    pub fn from_name(name: &str) -> Option<Self> {
        let alias = ["Q3_K_M", "Q4_K_M", "Q5_K_M"].into_iter().find(|m| m[..4].eq_ignore_ascii_case(name));
        let name = alias.unwrap_or(name);
        FILE_TYPES.into_iter().find(|t| t.name.eq_ignore_ascii_case(name))
    }
}
