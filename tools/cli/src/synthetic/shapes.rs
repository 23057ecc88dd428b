//! The shapes of released models.

use qwip::quant::TensorType;
use qwip_convert::FileType;

use crate::output::usage;

#[derive(Clone, Copy)]
pub(super) struct Shape {
    pub(super) name: &'static str,
    pub(super) arch: &'static str,
    pub(super) embedding: usize,
    pub(super) layers: usize,
    pub(super) heads: usize,
    pub(super) kv_heads: usize,
    pub(super) head_dim: usize,
    pub(super) ffn: usize,
    pub(super) experts: Option<Experts>,
    /// Three of four layers are delta nets.
    pub(super) delta: Option<DeltaNet>,
    pub(super) vocab: usize,
    /// Whether the embedding is the output matrix too.
    pub(super) tied: bool,
    pub(super) context: u32,
    /// Base of the rotary frequencies.
    pub(super) theta: f32,
}

/// Of a layer: how many, how many a token uses, and their width; the shared one, where the architecture has it, is as wide
/// as `ffn`.
#[derive(Clone, Copy)]
pub(super) struct Experts {
    pub(super) count: usize,
    pub(super) used: usize,
    pub(super) ffn: usize,
}

/// Heads of a delta net.
#[derive(Clone, Copy)]
pub(super) struct DeltaNet {
    pub(super) key_heads: usize,
    pub(super) value_heads: usize,
    /// Elements of each of them.
    pub(super) head_dim: usize,
}

impl DeltaNet {
    /// Tokens that its convolution sees.
    pub(super) const KERNEL: usize = 4;
    /// The last of so many layers is full attention.
    pub(super) const INTERVAL: usize = 4;

    /// Elements of all values.
    pub(super) const fn values(self) -> usize {
        self.value_heads * self.head_dim
    }

    /// Elements of all queries, keys and values.
    pub(super) const fn convolved(self) -> usize {
        2 * self.key_heads * self.head_dim + self.values()
    }
}

#[rustfmt::skip]
const SHAPES: [Shape; 57] = [
    first("qwen-1.8b", 2048, 24, 16, 5504, 151936).with(8192, 1e4),
    first("qwen-7b", 4096, 32, 32, 11008, 151936).with(8192, 1e4),
    first("qwen-14b", 5120, 40, 40, 13696, 152064).with(2048, 1e4),
    first("qwen-72b", 8192, 80, 64, 24576, 152064),
    shape("qwen1.5-0.5b", "qwen2", 1024, 24, [16, 16, 64], 2816, 151936, true),
    shape("qwen1.5-1.8b", "qwen2", 2048, 24, [16, 16, 128], 5504, 151936, false),
    shape("qwen1.5-4b", "qwen2", 2560, 40, [20, 20, 128], 6912, 151936, false),
    shape("qwen1.5-7b", "qwen2", 4096, 32, [32, 32, 128], 11008, 151936, false),
    shape("qwen1.5-14b", "qwen2", 5120, 40, [40, 40, 128], 13696, 152064, false),
    shape("qwen1.5-32b", "qwen2", 5120, 64, [40, 8, 128], 27392, 152064, false),
    shape("qwen1.5-72b", "qwen2", 8192, 80, [64, 64, 128], 24576, 152064, false),
    shape("qwen1.5-110b", "qwen2", 8192, 80, [64, 8, 128], 49152, 152064, false),
    shape("qwen1.5-moe-a2.7b", "qwen2moe", 2048, 24, [16, 16, 128], 5632, 151936, false).of_experts(60, 4, 1408),
    shape("codeqwen1.5-7b", "qwen2", 4096, 32, [32, 4, 128], 13440, 92416, false).with(65536, 1e6),
    shape("qwen2-0.5b", "qwen2", 896, 24, [14, 2, 64], 4864, 151936, true),
    shape("qwen2-1.5b", "qwen2", 1536, 28, [12, 2, 128], 8960, 151936, true),
    shape("qwen2-7b", "qwen2", 3584, 28, [28, 4, 128], 18944, 152064, false),
    shape("qwen2-72b", "qwen2", 8192, 80, [64, 8, 128], 29568, 152064, false),
    shape("qwen2-57b-a14b", "qwen2moe", 3584, 28, [28, 4, 128], 20480, 151936, false).of_experts(64, 8, 2560),
    shape("qwen2-vl-2b", "qwen2vl", 1536, 28, [12, 2, 128], 8960, 151936, true),
    shape("qwen2-vl-7b", "qwen2vl", 3584, 28, [28, 4, 128], 18944, 152064, false),
    shape("qwen2-vl-72b", "qwen2vl", 8192, 80, [64, 8, 128], 29568, 152064, false),
    shape("qwen2.5-0.5b", "qwen2", 896, 24, [14, 2, 64], 4864, 151936, true),
    shape("qwen2.5-1.5b", "qwen2", 1536, 28, [12, 2, 128], 8960, 151936, true),
    shape("qwen2.5-3b", "qwen2", 2048, 36, [16, 2, 128], 11008, 151936, true),
    shape("qwen2.5-7b", "qwen2", 3584, 28, [28, 4, 128], 18944, 152064, false),
    shape("qwen2.5-14b", "qwen2", 5120, 48, [40, 8, 128], 13824, 152064, false),
    shape("qwen2.5-32b", "qwen2", 5120, 64, [40, 8, 128], 27648, 152064, false),
    shape("qwen2.5-72b", "qwen2", 8192, 80, [64, 8, 128], 29568, 152064, false),
    shape("qwen2.5-vl-3b", "qwen2vl", 2048, 36, [16, 2, 128], 11008, 151936, true).with(128_000, 1e6),
    shape("qwen2.5-vl-7b", "qwen2vl", 3584, 28, [28, 4, 128], 18944, 152064, false).with(128_000, 1e6),
    shape("qwen2.5-vl-32b", "qwen2vl", 5120, 64, [40, 8, 128], 27648, 152064, false).with(128_000, 1e6),
    shape("qwen2.5-vl-72b", "qwen2vl", 8192, 80, [64, 8, 128], 29568, 152064, false).with(128_000, 1e6),
    shape("qwen3-0.6b", "qwen3", 1024, 28, [16, 8, 128], 3072, 151936, true),
    shape("qwen3-1.7b", "qwen3", 2048, 28, [16, 8, 128], 6144, 151936, true),
    shape("qwen3-4b", "qwen3", 2560, 36, [32, 8, 128], 9728, 151936, true),
    shape("qwen3-8b", "qwen3", 4096, 36, [32, 8, 128], 12288, 151936, false),
    shape("qwen3-14b", "qwen3", 5120, 40, [40, 8, 128], 17408, 151936, false),
    shape("qwen3-32b", "qwen3", 5120, 64, [64, 8, 128], 25600, 151936, false),
    shape("qwen3-30b-a3b", "qwen3moe", 2048, 48, [32, 4, 128], 6144, 151936, false).of_experts(128, 8, 768),
    shape("qwen3-235b-a22b", "qwen3moe", 4096, 94, [64, 4, 128], 12288, 151936, false).of_experts(128, 8, 1536),
    shape("qwen3-coder-480b-a35b", "qwen3moe", 6144, 62, [96, 8, 128], 8192, 151936, false).of_experts(160, 8, 2560).with(262_144, 1e7),
    shape("qwen3-vl-2b", "qwen3vl", 2048, 28, [16, 8, 128], 6144, 151936, true).with(262_144, 5e6),
    shape("qwen3-vl-4b", "qwen3vl", 2560, 36, [32, 8, 128], 9728, 151936, true).with(262_144, 5e6),
    shape("qwen3-vl-8b", "qwen3vl", 4096, 36, [32, 8, 128], 12288, 151936, false).with(262_144, 5e6),
    shape("qwen3-vl-32b", "qwen3vl", 5120, 64, [64, 8, 128], 25600, 151936, false).with(262_144, 5e6),
    shape("qwen3-vl-30b-a3b", "qwen3vlmoe", 2048, 48, [32, 4, 128], 6144, 151936, false).of_experts(128, 8, 768).with(262_144, 5e6),
    shape("qwen3-vl-235b-a22b", "qwen3vlmoe", 4096, 94, [64, 4, 128], 12288, 151936, false).of_experts(128, 8, 1536).with(262_144, 5e6),
    shape("qwen3.5-0.8b", "qwen35", 1024, 24, [8, 2, 256], 3584, 248320, true).of_delta_nets(16),
    // Of this one only the value heads have been seen in a released file; the rest is by analogy.
    shape("qwen3.5-2b", "qwen35", 2048, 24, [8, 2, 256], 6144, 248320, true).of_delta_nets(16),
    shape("qwen3.5-4b", "qwen35", 2560, 32, [16, 4, 256], 9216, 248320, true).of_delta_nets(32),
    shape("qwen3.5-9b", "qwen35", 4096, 32, [16, 4, 256], 12288, 248320, false).of_delta_nets(32),
    shape("qwen3.5-27b", "qwen35", 5120, 64, [24, 4, 256], 17408, 248320, false).of_delta_nets(48),
    shape("qwen3.5-35b-a3b", "qwen35moe", 2048, 40, [16, 2, 256], 512, 248320, false).of_delta_nets(32).of_experts(256, 8, 512),
    shape("qwen3.5-122b-a10b", "qwen35moe", 3072, 48, [32, 2, 256], 1024, 248320, false).of_delta_nets(64).of_experts(256, 8, 1024),
    shape("qwen3.5-397b-a17b", "qwen35moe", 4096, 60, [32, 2, 256], 1024, 248320, false).of_delta_nets(64).of_experts(512, 10, 1024),
    shape("qwen3-next-80b-a3b", "qwen3next", 2048, 48, [16, 2, 256], 512, 151936, false).of_delta_nets(32).of_experts(512, 10, 512),
];

/// `heads` are query heads, key/value heads and the size of one.
pub(super) const fn shape(
    name: &'static str,
    arch: &'static str,
    embedding: usize,
    layers: usize,
    heads: [usize; 3],
    ffn: usize,
    vocab: usize,
    tied: bool,
) -> Shape {
    let context = if let [.., b'3'] | [.., b'3', b'm', b'o', b'e'] = arch.as_bytes() { 40960 } else { 32768 };
    let [heads, kv_heads, head_dim] = heads;
    Shape {
        name,
        arch,
        embedding,
        layers,
        heads,
        kv_heads,
        head_dim,
        ffn,
        experts: None,
        delta: None,
        vocab,
        tied,
        context,
        theta: 1e6,
    }
}

/// First-generation Qwen: every one of its `heads` of 128 has keys of its own.
const fn first(
    name: &'static str,
    embedding: usize,
    layers: usize,
    heads: usize,
    ffn: usize,
    vocab: usize,
) -> Shape {
    shape(name, "qwen", embedding, layers, [heads, heads, 128], ffn, vocab, false)
}

impl Shape {
    const fn with(self, context: u32, theta: f32) -> Shape {
        Shape { context, theta, ..self }
    }

    pub(super) const fn of_experts(self, count: usize, used: usize, ffn: usize) -> Shape {
        Shape { experts: Some(Experts { count, used, ffn }), ..self }
    }

    pub(super) const fn of_delta_nets(self, value_heads: usize) -> Shape {
        let delta = Some(DeltaNet { key_heads: 16, value_heads, head_dim: 128 });
        Shape { delta, context: 262_144, theta: 1e7, ..self }
    }

    /// Elements of a head that the rotary embedding turns.
    pub(super) fn rotated(&self) -> usize {
        if self.delta.is_some() { self.head_dim / 4 } else { self.head_dim }
    }

    /// Pairs of a head that turn by the position in time, by height and by width, where the model knows images: of 64
    /// pairs 16, 24, 24 or 24, 20, 20; of 32 of a hybrid 11, 11, 10.
    pub(super) fn sections(&self) -> Option<[i32; 4]> {
        let pairs = self.rotated() as i32 / 2;
        let [height, width] = match self.arch {
            "qwen2vl" => [pairs * 3 / 8; 2],
            "qwen3vl" | "qwen3vlmoe" => [pairs * 5 / 16; 2],
            "qwen35" | "qwen35moe" => [(pairs + 2) / 3, pairs / 3],
            _ => return None,
        };
        Some([pairs - height - width, height, width, 0])
    }

    /// The heads of layer `i` if it is a delta net.
    pub(super) fn delta_net(&self, i: usize) -> Option<DeltaNet> {
        self.delta.filter(|_| !(i + 1).is_multiple_of(DeltaNet::INTERVAL))
    }

    /// Whether one of the experts is for all tokens.
    pub(super) fn has_shared_expert(&self) -> bool {
        self.experts.is_some() && !["qwen3moe", "qwen3vlmoe"].contains(&self.arch)
    }
}

/// How the matrices are stored.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Types {
    /// All in one type.
    One(TensorType),
    /// As `qwip quantize` mixes them.
    Mix(FileType),
}

impl Types {
    pub(super) fn name(self) -> &'static str {
        match self {
            Types::One(ty) => ty.name(),
            Types::Mix(mix) => mix.name,
        }
    }
}

/// The shape, with as many layers as are asked for, and the type of SHAPE:TYPE or SHAPE:TYPE:Nlayers.
pub(super) fn parse(description: &str) -> anyhow::Result<(Shape, Types)> {
    let known = SHAPES.map(|s| s.name).join(", ");
    let (name, rest) = description.split_once(':').unwrap_or((description, ""));
    let (ty, layers) = rest.split_once(':').map_or((rest, None), |(ty, layers)| (ty, Some(layers)));
    let mut shape = SHAPES
        .into_iter()
        .find(|s| s.name.eq_ignore_ascii_case(name))
        .ok_or_else(|| usage(format!("--synthetic: there is no shape '{name}' (known: {known})")))?;
    let one = TensorType::from_name(ty).filter(|ty| ty.is_encodable()).map(Types::One);
    let types = one.or_else(|| qwip_convert::file_type(ty).ok().map(Types::Mix)).ok_or_else(|| {
        usage(format!(
            "--synthetic: '{ty}' is no type that weights can be written in (for instance {name}:q4_0 or {name}:q4_k_m)"
        ))
    })?;
    if let Some(layers) = layers {
        let most = shape.layers;
        let number = layers.strip_suffix("layers").and_then(|number| number.parse().ok());
        shape.layers = number.filter(|n| (1..=most).contains(n)).ok_or_else(|| {
            usage(format!("--synthetic: '{layers}' is no number of layers (1layers to {most}layers)"))
        })?;
    }
    Ok((shape, types))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn descriptions_name_a_shape_and_a_type() {
        let (shape, types) = parse("Qwen2.5-0.5B:q4_0").unwrap();
        assert_eq!((shape.embedding, shape.context, types), (896, 32768, Types::One(TensorType::Q4_0)));
        let mix = qwip_convert::file_type("q4_k_m").unwrap();
        assert_eq!(parse("qwen3-4b:Q4_K_M").unwrap().1, Types::Mix(mix));
        let sections = |name: &str| parse(&format!("{name}:q4_0")).unwrap().0.sections().unwrap();
        assert_eq!(sections("qwen2.5-vl-7b"), [16, 24, 24, 0]);
        assert_eq!(sections("qwen3-vl-30b-a3b"), [24, 20, 20, 0]);
        assert_eq!(sections("qwen3.5-0.8b"), [11, 11, 10, 0]);
        assert_eq!(parse("qwen3-4b:bf16").unwrap().0.context, 40960);
        assert_eq!(parse("qwen3-30b-a3b:bf16").unwrap().0.context, 40960);
        let old = parse("qwen-14b:q4_0").unwrap().0;
        assert_eq!((old.arch, old.context, old.theta, old.kv_heads), ("qwen", 2048, 1e4, 40));
        assert_eq!(parse("qwen3-4b:q8_0:2layers").unwrap().0.layers, 2);
        for wrong in [
            "qwen9:q4_0",
            "qwen3-4b",
            "qwen3-4b:",
            "qwen3-4b:q9",
            "qwen3-4b:i32",
            "qwen3-4b:q8_0:0layers",
            "qwen3-4b:q8_0:2",
        ] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }
}
