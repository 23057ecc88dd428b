//! Which type each tensor of a file gets: the mixes behind names such as `Q4_K_M`, as llama.cpp makes them.
//!
//! What decides most for a model's answers gets more bits: the output matrix, the values and the down projections, and
//! of these the first and the last layers.

use std::cmp::Ordering;

use crate::types::{FileType, TensorType};

/// What a mix depends on, besides the tensor.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Facts {
    /// Layers.
    pub layers: u64,
    /// Query heads that share a key/value head in the first layer.
    pub shared_heads: u64,
    /// Tensors of values, [`is_value`].
    pub values: u64,
    /// The embeddings stand in for the output matrix, which the file lacks.
    pub tied: bool,
    /// Columns have importance weights.
    pub imatrix: bool,
}

/// Whether a tensor holds weights that may be quantized: a matrix that is no norm, no router, no convolution and no judge.
pub fn is_quantizable(name: &str, dims: &[u64]) -> bool {
    const KEPT: [&str; 7] = [
        "_norm.weight",
        "ffn_gate_inp.weight",
        "ssm_conv1d",
        "shortconv.conv",
        ".position_embd",
        ".patch_",
        // The two rows that judge documents.
        "cls.output.weight",
    ];
    dims.iter().skip(1).any(|&n| n > 1)
        && name.ends_with("weight")
        && !KEPT.iter().any(|part| name.contains(part))
}

/// Whether a tensor makes values (alone, or together with queries and keys).
pub fn is_value(name: &str) -> bool {
    ["attn_v.weight", "attn_qkv.weight", "attn_kv_b.weight"].iter().any(|part| name.contains(part))
}

/// The layer in a name such as `blk.12.attn_v.weight`.
fn layer(name: &str) -> Option<u64> {
    name.strip_prefix("blk.")?.split('.').next()?.parse().ok()
}

/// The order in which llama.cpp writes tensors, and in which [`Mix::choose`] wants them: those of no layer, then layer by
/// layer, by name.
pub fn order(a: &str, b: &str) -> Ordering {
    layer(a).cmp(&layer(b)).then_with(|| a.cmp(b))
}

/// Chooses types, tensor by tensor.
#[derive(Clone, Debug)]
pub struct Mix {
    file_type: FileType,
    facts: Facts,
    /// Tensors of values so far.
    values: u64,
}

impl Mix {
    /// The mix of `file_type` for a model.
    pub fn new(file_type: FileType, facts: Facts) -> Self {
        Self { file_type, facts, values: 0 }
    }

    /// The type for a tensor that [`is_quantizable`]; every such tensor must pass by once, in [`order`].
    pub fn choose(&mut self, name: &str, dims: &[u64]) -> TensorType {
        let wanted = self.wanted(name, dims);
        if is_value(name) {
            self.values += 1;
        }
        wanted
    }

    fn wanted(&self, name: &str, dims: &[u64]) -> TensorType {
        use TensorType::{Mxfp4, Q3K, Q4K, Q5K, Q6K, Q8_0};
        let FileType { name: mix, base, .. } = self.file_type;
        if !base.is_quantized() {
            return base;
        }
        if name == "output.weight" || (self.facts.tied && name == "token_embd.weight") {
            let fits = dims[0].is_multiple_of(base.block_len() as u64);
            return if !fits || matches!(base, Q8_0 | Mxfp4) { Q8_0 } else { Q6K };
        }
        if name == "token_embd.weight" && matches!(mix, "TQ1_0" | "TQ2_0" | "Q2_0") {
            return Q4K;
        }
        if mix == "MXFP4_MOE" {
            return if dims.len() > 2 { Mxfp4 } else { Q8_0 };
        }
        if is_value(name) {
            let many_share = self.facts.shared_heads >= 4;
            let wanted = match mix {
                "Q2_K" => {
                    if many_share {
                        Q4K
                    } else {
                        Q3K
                    }
                }
                "Q2_K_S" if many_share => Q4K,
                "Q3_K_M" => {
                    if self.values < 2 {
                        Q5K
                    } else {
                        Q4K
                    }
                }
                "Q3_K_L" => Q5K,
                "IQ4_NL" | "IQ4_XS" if many_share => Q5K,
                "Q4_K_S" if self.values < 4 => Q5K,
                "Q4_K_M" | "Q5_K_M" if matters(self.values, self.facts.values) => Q6K,
                _ => base,
            };
            // Models of 80 layers share these small matrices among so many heads that more bits cost next to nothing. The
            // one without heads that share, first-generation Qwen, has its values together with queries and keys.
            let shared = self.facts.layers == 80 && name.contains("attn_v.weight");
            return if shared && matches!(wanted, Q3K | Q4K) { Q5K } else { wanted };
        }
        if name.contains("ffn_down") {
            return self.down(layer(name).unwrap_or(0));
        }
        match mix {
            "Q2_K" if name.contains("attn_output.weight") => Q3K,
            "Q3_K_M" if name.contains("attn_output.weight") => Q4K,
            "Q3_K_L" if name.contains("attn_output.weight") => Q5K,
            _ => base,
        }
    }

    /// For the down projection of a layer.
    fn down(&self, layer: u64) -> TensorType {
        use TensorType::{Q3K, Q4_1, Q4K, Q5_1, Q5K, Q6K};
        let Facts { layers, imatrix, .. } = self.facts;
        let first = layer < layers / 8;
        match self.file_type.name {
            "Q2_K" => Q3K,
            "Q2_K_S" if first => Q4K,
            "Q3_K_M" => {
                if layer < layers / 16 {
                    Q5K
                } else {
                    Q4K
                }
            }
            "Q3_K_L" => Q5K,
            "Q4_K_M" | "Q5_K_M" if matters(layer, layers) => Q6K,
            "Q4_K_S" if first => Q5K,
            "IQ4_NL" | "IQ4_XS" if first && !imatrix => Q5K,
            // With few levels and importance weights, the first layers can go badly wrong.
            "Q4_0" if first && imatrix => Q4_1,
            "Q5_0" if first && imatrix => Q5_1,
            _ => self.file_type.base,
        }
    }
}

/// The first and the last eighth of n layers, and every third one between.
fn matters(i: u64, n: u64) -> bool {
    i < n / 8 || i >= 7 * n / 8 || (i - n / 8) % 3 == 2
}

/// What stands in for `ty` in rows of `cols` elements that its blocks do not divide; F16 if nothing else does.
pub fn fallback(ty: TensorType, cols: u64) -> TensorType {
    use TensorType::{
        F16, Iq4Nl, Iq4Xs, Q2_0, Q2K, Q3K, Q4_0, Q4K, Q5_0, Q5_1, Q5K, Q6K, Q8_0, Tq1_0, Tq2_0,
    };
    let fits = |ty: TensorType| cols.is_multiple_of(ty.block_len() as u64);
    if fits(ty) {
        return ty;
    }
    let smaller = match ty {
        Iq4Xs => Iq4Nl,
        Q2K | Q3K | Tq1_0 | Tq2_0 | Q2_0 => Q4_0,
        Q4K => Q5_0,
        Q5K => Q5_1,
        Q6K => Q8_0,
        _ => F16,
    };
    if fits(smaller) { smaller } else { F16 }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The types of one matrix in every layer.
    fn types(mix: &str, part: &str, layers: u64) -> Vec<TensorType> {
        let facts = Facts { layers, shared_heads: 7, values: layers, tied: true, imatrix: false };
        let mut mix = Mix::new(FileType::from_name(mix).unwrap(), facts);
        (0..layers).map(|i| mix.choose(&format!("blk.{i}.{part}.weight"), &[1024, 1024])).collect()
    }

    fn layers_with(ty: TensorType, types: &[TensorType]) -> Vec<usize> {
        (0..types.len()).filter(|&i| types[i] == ty).collect()
    }

    #[test]
    fn about_half_of_the_layers_of_q4_k_m_get_more_bits() {
        let want = [0, 1, 2, 5, 8, 11, 14, 17, 20, 23, 24, 25, 26, 27];
        for part in ["attn_v", "attn_qkv", "ffn_down"] {
            assert_eq!(layers_with(TensorType::Q6K, &types("Q4_K_M", part, 28)), want, "{part}");
        }
        assert!(types("Q4_K_M", "attn_q", 28).iter().all(|ty| *ty == TensorType::Q4K));
        assert_eq!(layers_with(TensorType::Q5K, &types("Q4_K_S", "attn_v", 28)), [0, 1, 2, 3]);
        assert_eq!(layers_with(TensorType::Q5K, &types("Q4_K_S", "ffn_down", 28)), [0, 1, 2]);
    }

    #[test]
    fn fused_projections_get_the_bits_of_values() {
        // What llama.cpp's quantizer chooses for `qwen`, also with the 80 layers of 72B.
        let facts = Facts { layers: 80, shared_heads: 1, values: 80, tied: false, imatrix: false };
        for (mix, first, eleventh) in [
            ("Q4_0", TensorType::Q4_0, TensorType::Q4_0),
            ("Q4_K_M", TensorType::Q6K, TensorType::Q4K),
            ("Q5_K_M", TensorType::Q6K, TensorType::Q5K),
            ("Q6_K", TensorType::Q6K, TensorType::Q6K),
            ("Q2_K", TensorType::Q3K, TensorType::Q3K),
            ("Q8_0", TensorType::Q8_0, TensorType::Q8_0),
        ] {
            let mut mix_of = Mix::new(FileType::from_name(mix).unwrap(), facts);
            let fused = |i| mix_of.choose(&format!("blk.{i}.attn_qkv.weight"), &[1024, 3072]);
            let types: Vec<TensorType> = (0..80).map(fused).collect();
            assert_eq!((types[0], types[10]), (first, eleventh), "{mix}");
        }
    }

    #[test]
    fn the_output_matrix_gets_more_bits_than_the_rest() {
        for (mix, cols, want) in [
            ("Q4_0", 1024, TensorType::Q6K),
            ("Q4_K_M", 1024, TensorType::Q6K),
            ("Q4_K_M", 896, TensorType::Q8_0),
            ("Q8_0", 1024, TensorType::Q8_0),
            ("F16", 1024, TensorType::F16),
        ] {
            let facts = Facts { layers: 28, shared_heads: 7, values: 28, tied: true, imatrix: false };
            let mut tied = Mix::new(FileType::from_name(mix).unwrap(), facts);
            assert_eq!(tied.choose("token_embd.weight", &[cols, 5000]), want, "{mix} {cols}");
            let mut untied = Mix::new(FileType::from_name(mix).unwrap(), Facts { tied: false, ..facts });
            let base = FileType::from_name(mix).unwrap().base;
            assert_eq!(untied.choose("token_embd.weight", &[cols, 5000]), base, "{mix} {cols}");
        }
    }

    #[test]
    fn rows_that_no_block_divides_fall_back() {
        assert_eq!(fallback(TensorType::Q4K, 896), TensorType::Q5_0);
        assert_eq!(fallback(TensorType::Q4K, 1024), TensorType::Q4K);
        assert_eq!(fallback(TensorType::Q6K, 896), TensorType::Q8_0);
        assert_eq!(fallback(TensorType::Q4_0, 100), TensorType::F16);
        assert_eq!(fallback(TensorType::Q4K, 100), TensorType::F16);
    }

    #[test]
    fn norms_routers_and_biases_are_left_alone() {
        assert!(is_quantizable("blk.0.attn_q.weight", &[64, 64]));
        for (name, dims) in [
            ("blk.0.attn_q.bias", &[64u64, 64][..]),
            ("blk.0.attn_norm.weight", &[64]),
            ("blk.0.ffn_gate_inp_shexp.weight", &[64, 1]),
            ("blk.0.ffn_gate_inp.weight", &[64, 8]),
            ("blk.0.ssm_conv1d.weight", &[4, 64]),
        ] {
            assert!(!is_quantizable(name, dims), "{name}");
        }
    }

    #[test]
    fn tensors_are_ordered_by_layer_and_name() {
        let mut names =
            ["token_embd.weight", "blk.10.a.weight", "blk.9.b.weight", "blk.9.a.weight", "output.weight"];
        names.sort_by(|a, b| order(a, b));
        assert_eq!(
            names,
            ["output.weight", "token_embd.weight", "blk.9.a.weight", "blk.9.b.weight", "blk.10.a.weight"]
        );
    }
}
