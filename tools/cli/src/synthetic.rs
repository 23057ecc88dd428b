//! Models of real shapes with random weights, so that speed can be measured without a download.
//!
//! Rows come from a pool of a few hundred for each width, drawn and encoded once: a 7B model takes as long as
//! writing the file. What the rows hold does not matter for speed.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use qwip::quant::gguf::{DataWriter, Writer};
use qwip::quant::{TensorType, encode_row};
use qwip::sample::Rng;
use qwip_convert::OutputFile;

use crate::output::{Ending, usage};
use crate::progress::{Meter, Unit};
use crate::{interrupt, output};

/// Distinct rows of a width and type.
const POOL_ROWS: usize = 256;
const SEED: u64 = 1;

#[derive(Clone, Copy)]
struct Shape {
    name: &'static str,
    arch: &'static str,
    embedding: usize,
    layers: usize,
    heads: usize,
    kv_heads: usize,
    head_dim: usize,
    ffn: usize,
    experts: Option<Experts>,
    vocab: usize,
    /// Whether the embedding is the output matrix too.
    tied: bool,
    context: u32,
}

/// Of a layer: how many, how many a token uses, and their width; the shared one, where the architecture has it, is as wide
/// as `ffn`.
#[derive(Clone, Copy)]
struct Experts {
    count: usize,
    used: usize,
    ffn: usize,
}

#[rustfmt::skip]
const SHAPES: [Shape; 23] = [
    shape("qwen2.5-0.5b", "qwen2", 896, 24, [14, 2, 64], 4864, 151936, true),
    shape("qwen2.5-1.5b", "qwen2", 1536, 28, [12, 2, 128], 8960, 151936, true),
    shape("qwen2.5-3b", "qwen2", 2048, 36, [16, 2, 128], 11008, 151936, true),
    shape("qwen2.5-7b", "qwen2", 3584, 28, [28, 4, 128], 18944, 152064, false),
    shape("qwen3-0.6b", "qwen3", 1024, 28, [16, 8, 128], 3072, 151936, true),
    shape("qwen3-1.7b", "qwen3", 2048, 28, [16, 8, 128], 6144, 151936, true),
    shape("qwen3-4b", "qwen3", 2560, 36, [32, 8, 128], 9728, 151936, true),
    shape("qwen3-8b", "qwen3", 4096, 36, [32, 8, 128], 12288, 151936, false),
    shape("qwen1.5-moe-a2.7b", "qwen2moe", 2048, 24, [16, 16, 128], 5632, 151936, false).of_experts(60, 4, 1408),
    shape("qwen3-30b-a3b", "qwen3moe", 2048, 48, [32, 4, 128], 6144, 151936, false).of_experts(128, 8, 768),
    shape("qwen2-vl-2b", "qwen2vl", 1536, 28, [12, 2, 128], 8960, 151936, true),
    shape("qwen2-vl-7b", "qwen2vl", 3584, 28, [28, 4, 128], 18944, 152064, false),
    shape("qwen2-vl-72b", "qwen2vl", 8192, 80, [64, 8, 128], 29568, 152064, false),
    shape("qwen2.5-vl-3b", "qwen2vl", 2048, 36, [16, 2, 128], 11008, 151936, true).with_context(128000),
    shape("qwen2.5-vl-7b", "qwen2vl", 3584, 28, [28, 4, 128], 18944, 152064, false).with_context(128000),
    shape("qwen2.5-vl-32b", "qwen2vl", 5120, 64, [40, 8, 128], 27648, 152064, false).with_context(128000),
    shape("qwen2.5-vl-72b", "qwen2vl", 8192, 80, [64, 8, 128], 29568, 152064, false).with_context(128000),
    shape("qwen3-vl-2b", "qwen3vl", 2048, 28, [16, 8, 128], 6144, 151936, true),
    shape("qwen3-vl-4b", "qwen3vl", 2560, 36, [32, 8, 128], 9728, 151936, true),
    shape("qwen3-vl-8b", "qwen3vl", 4096, 36, [32, 8, 128], 12288, 151936, false),
    shape("qwen3-vl-32b", "qwen3vl", 5120, 64, [64, 8, 128], 25600, 151936, false),
    shape("qwen3-vl-30b-a3b", "qwen3vlmoe", 2048, 48, [32, 4, 128], 6144, 151936, false).of_experts(128, 8, 768),
    shape("qwen3-vl-235b-a22b", "qwen3vlmoe", 4096, 94, [64, 4, 128], 12288, 151936, false).of_experts(128, 8, 1536),
];

/// `heads` are query heads, key/value heads and the size of one.
const fn shape(
    name: &'static str,
    arch: &'static str,
    embedding: usize,
    layers: usize,
    heads: [usize; 3],
    ffn: usize,
    vocab: usize,
    tied: bool,
) -> Shape {
    let context = match arch.as_bytes() {
        [b'q', b'w', b'e', b'n', b'3', b'v', ..] => 262144,
        [b'q', b'w', b'e', b'n', b'3', ..] => 40960,
        _ => 32768,
    };
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
        vocab,
        tied,
        context,
    }
}

impl Shape {
    const fn of_experts(self, count: usize, used: usize, ffn: usize) -> Shape {
        Shape { experts: Some(Experts { count, used, ffn }), ..self }
    }

    const fn with_context(self, context: u32) -> Shape {
        Shape { context, ..self }
    }

    /// Pairs of a head that turn by the position in time, by height and by width, where it is the text part of a vision
    /// model: of 64 pairs 16, 24, 24 or 24, 20, 20.
    fn sections(&self) -> Option<Vec<i32>> {
        let pairs = self.head_dim as i32 / 2;
        let each = match self.arch {
            "qwen2vl" => pairs * 3 / 8,
            "qwen3vl" | "qwen3vlmoe" => pairs * 5 / 16,
            _ => return None,
        };
        Some(vec![pairs - 2 * each, each, each, 0])
    }
}

/// A model file that disappears when this is dropped, unless it is to be kept.
pub(crate) struct Synthetic {
    pub(crate) path: PathBuf,
    /// What disappears together with it.
    folder: Option<PathBuf>,
}

impl Drop for Synthetic {
    fn drop(&mut self) {
        if let Some(folder) = &self.folder {
            let _ = std::fs::remove_dir_all(folder);
        }
    }
}

/// Writes the model that `description` (SHAPE:TYPE or SHAPE:TYPE:Nlayers) names, to `save` or to a temporary file.
pub(crate) fn make(description: &str, save: Option<&Path>) -> anyhow::Result<Synthetic> {
    let (shape, ty) = parse(description)?;
    let made = match save {
        Some(path) => Synthetic { path: path.to_path_buf(), folder: None },
        None => {
            let folder = temporary_folder()?;
            Synthetic { path: folder.join("synthetic.gguf"), folder: Some(folder) }
        }
    };
    write(&shape, ty, &made.path).with_context(|| format!("writing {}", made.path.display()))?;
    Ok(made)
}

/// A new folder of our own: names in the folder for temporary files can be foreseen, and what is there already may be
/// somebody's link to elsewhere.
fn temporary_folder() -> anyhow::Result<PathBuf> {
    const ATTEMPTS: usize = 1000;
    let parent = std::env::temp_dir();
    for attempt in 0..ATTEMPTS {
        let folder = parent.join(format!("qwip-{}-{attempt}", std::process::id()));
        match std::fs::create_dir(&folder) {
            Ok(()) => return Ok(folder),
            Err(e) if e.kind() == ErrorKind::AlreadyExists => {}
            Err(e) => return Err(e).with_context(|| folder.display().to_string()),
        }
    }
    bail!("{}: {ATTEMPTS} names for a temporary folder are taken", parent.display())
}

fn parse(description: &str) -> anyhow::Result<(Shape, TensorType)> {
    let known = SHAPES.map(|s| s.name).join(", ");
    let (name, rest) = description.split_once(':').unwrap_or((description, ""));
    let (ty, layers) = rest.split_once(':').map_or((rest, None), |(ty, layers)| (ty, Some(layers)));
    let mut shape = SHAPES
        .into_iter()
        .find(|s| s.name.eq_ignore_ascii_case(name))
        .ok_or_else(|| usage(format!("--synthetic: there is no shape '{name}' (known: {known})")))?;
    let ty = TensorType::from_name(ty).filter(|ty| ty.is_encodable()).ok_or_else(|| {
        usage(format!(
            "--synthetic: '{ty}' is no type that weights can be written in (for instance {name}:q4_0)"
        ))
    })?;
    if let Some(layers) = layers {
        let most = shape.layers;
        let number = layers.strip_suffix("layers").and_then(|number| number.parse().ok());
        shape.layers = number.filter(|n| (1..=most).contains(n)).ok_or_else(|| {
            usage(format!("--synthetic: '{layers}' is no number of layers (1layers to {most}layers)"))
        })?;
    }
    Ok((shape, ty))
}

/// The type for rows of `cols` values: `ty` where whole blocks fit, else the nearest that takes them.
fn fitting(ty: TensorType, cols: usize) -> TensorType {
    [ty, TensorType::Q8_0]
        .into_iter()
        .find(|ty| cols.is_multiple_of(ty.block_len()))
        .unwrap_or(TensorType::F16)
}

struct Tensor {
    name: String,
    /// Of all matrices together.
    rows: usize,
    cols: usize,
    /// Where there is one for each expert.
    matrices: Option<usize>,
    ty: TensorType,
    /// Norms are around one, everything else around zero.
    mean: f32,
    std: f32,
}

fn tensors(s: &Shape, ty: TensorType) -> Vec<Tensor> {
    let mut all = Vec::new();
    let random = |name: String, rows: usize, cols: usize, ty: TensorType, matrices: Option<usize>| Tensor {
        name,
        rows: rows * matrices.unwrap_or(1),
        cols,
        matrices,
        ty,
        mean: 0.0,
        std: 0.02,
    };
    let mut matrix = |name: String, rows: usize, cols: usize| {
        all.push(random(name, rows, cols, fitting(ty, cols), None));
    };
    let (q, kv) = (s.heads * s.head_dim, s.kv_heads * s.head_dim);
    matrix("token_embd.weight".into(), s.vocab, s.embedding);
    if !s.tied {
        matrix("output.weight".into(), s.vocab, s.embedding);
    }
    for i in 0..s.layers {
        matrix(format!("blk.{i}.attn_q.weight"), q, s.embedding);
        matrix(format!("blk.{i}.attn_k.weight"), kv, s.embedding);
        matrix(format!("blk.{i}.attn_v.weight"), kv, s.embedding);
        matrix(format!("blk.{i}.attn_output.weight"), s.embedding, q);
        let feed_forward = match (s.experts, s.arch) {
            (None, _) => Some(""),
            (Some(_), "qwen2moe") => Some("_shexp"),
            (Some(_), _) => None,
        };
        if let Some(kind) = feed_forward {
            matrix(format!("blk.{i}.ffn_gate{kind}.weight"), s.ffn, s.embedding);
            matrix(format!("blk.{i}.ffn_up{kind}.weight"), s.ffn, s.embedding);
            matrix(format!("blk.{i}.ffn_down{kind}.weight"), s.embedding, s.ffn);
        }
    }
    for (i, e) in s.experts.into_iter().flat_map(|e| (0..s.layers).map(move |i| (i, e))) {
        let mut stack = |name: &str, rows: usize, cols: usize| {
            let name = format!("blk.{i}.{name}.weight");
            all.push(random(name, rows, cols, fitting(ty, cols), Some(e.count)));
        };
        stack("ffn_gate_exps", e.ffn, s.embedding);
        stack("ffn_up_exps", e.ffn, s.embedding);
        stack("ffn_down_exps", s.embedding, e.ffn);
        let router = format!("blk.{i}.ffn_gate_inp.weight");
        all.push(random(router, e.count, s.embedding, TensorType::F32, None));
    }
    let mut vector = |name: String, cols: usize, mean: f32, std: f32| {
        all.push(Tensor { name, rows: 1, cols, matrices: None, ty: TensorType::F32, mean, std });
    };
    for i in 0..s.layers {
        vector(format!("blk.{i}.attn_norm.weight"), s.embedding, 1.0, 0.1);
        vector(format!("blk.{i}.ffn_norm.weight"), s.embedding, 1.0, 0.1);
        if s.arch == "qwen2moe" {
            vector(format!("blk.{i}.ffn_gate_inp_shexp.weight"), s.embedding, 0.0, 0.02);
        }
        if s.arch.starts_with("qwen2") {
            vector(format!("blk.{i}.attn_q.bias"), q, 0.0, 0.02);
            vector(format!("blk.{i}.attn_k.bias"), kv, 0.0, 0.02);
            vector(format!("blk.{i}.attn_v.bias"), kv, 0.0, 0.02);
        } else {
            vector(format!("blk.{i}.attn_q_norm.weight"), s.head_dim, 1.0, 0.1);
            vector(format!("blk.{i}.attn_k_norm.weight"), s.head_dim, 1.0, 0.1);
        }
    }
    vector("output_norm.weight".into(), s.embedding, 1.0, 0.1);
    all
}

fn write(s: &Shape, ty: TensorType, path: &Path) -> anyhow::Result<()> {
    let mut writer = Writer::new();
    let key = |name: &str| format!("{}.{name}", s.arch);
    writer.set("general.architecture", s.arch);
    writer.set("general.name", format!("random {} {}", s.name, ty.name()).as_str());
    writer.set(&key("block_count"), s.layers as u32);
    writer.set(&key("context_length"), s.context);
    writer.set(&key("embedding_length"), s.embedding as u32);
    writer.set(&key("feed_forward_length"), s.ffn as u32);
    writer.set(&key("attention.head_count"), s.heads as u32);
    writer.set(&key("attention.head_count_kv"), s.kv_heads as u32);
    writer.set(&key("attention.key_length"), s.head_dim as u32);
    writer.set(&key("attention.value_length"), s.head_dim as u32);
    writer.set(&key("attention.layer_norm_rms_epsilon"), 1e-6f32);
    writer.set(&key("rope.freq_base"), if s.arch.starts_with("qwen3vl") { 5e6f32 } else { 1e6f32 });
    if let Some(sections) = s.sections() {
        writer.set(&key("rope.dimension_sections"), sections);
    }
    if s.arch.starts_with("qwen3vl") {
        writer.set(&key("n_deepstack_layers"), s.layers.min(3) as u32);
    }
    if let Some(Experts { count, used, ffn }) = s.experts {
        writer.set(&key("expert_count"), count as u32);
        writer.set(&key("expert_used_count"), used as u32);
        writer.set(&key("expert_feed_forward_length"), ffn as u32);
    }
    if s.arch == "qwen2moe" {
        writer.set(&key("expert_shared_feed_forward_length"), s.ffn as u32);
    }
    // What llama.cpp asks of a file without a tokenizer, so that it can be measured on the same one.
    writer.set("tokenizer.ggml.model", "no_vocab");
    writer.set(&key("vocab_size"), s.vocab as u32);
    let tensors = tensors(s, ty);
    for t in &tensors {
        let (cols, rows) = (t.cols as u64, t.rows as u64);
        match t.matrices.map(|matrices| matrices as u64) {
            Some(matrices) => writer.tensor(&t.name, &[cols, rows / matrices, matrices], t.ty)?,
            None if t.ty == TensorType::F32 && t.rows == 1 => writer.tensor(&t.name, &[cols], t.ty)?,
            None => writer.tensor(&t.name, &[cols, rows], t.ty)?,
        };
    }
    if let Some(other) = tensors.iter().find(|t| t.ty != TensorType::F32 && t.ty != ty) {
        output::note(format_args!(
            "qwip: note: rows of {} values are not whole {} blocks: {} and the like are {}",
            other.cols, ty, other.name, other.ty
        ));
    }
    let total = writer.file_len()?;
    let mut out = writer.start(OutputFile::create(path)?)?;
    let mut meter = Meter::new("writing random weights", total, Unit::Bytes);
    let mut rng = Rng::new(SEED);
    let mut pools = HashMap::new();
    for t in &tensors {
        if interrupt::flag().is_cancelled() {
            return Err(Ending::Interrupted.into());
        }
        write_tensor(t, &mut out, &mut pools, &mut rng)?;
        meter.advance((t.rows * t.ty.row_bytes(t.cols).unwrap_or(0)) as u64, &t.name);
    }
    Ok(out.finish()?.finish()?)
}

/// Encoded rows of one width and type, one after the other.
type Pools = HashMap<(TensorType, usize), Vec<u8>>;

fn write_tensor<W: Write>(
    t: &Tensor,
    out: &mut DataWriter<W>,
    pools: &mut Pools,
    rng: &mut Rng,
) -> anyhow::Result<()> {
    let size = t.ty.row_bytes(t.cols).with_context(|| format!("{}: {} columns", t.name, t.cols))?;
    if t.rows == 1 {
        return Ok(out.write(&encoded_rows(1, t, rng)?)?);
    }
    let pool = match pools.entry((t.ty, t.cols)) {
        Entry::Occupied(pool) => pool.into_mut(),
        Entry::Vacant(place) => place.insert(encoded_rows(POOL_ROWS, t, rng)?),
    };
    for _ in 0..t.rows {
        let row = rng.next_u64() as usize % POOL_ROWS;
        out.write(&pool[row * size..(row + 1) * size])?;
    }
    Ok(())
}

fn encoded_rows(rows: usize, t: &Tensor, rng: &mut Rng) -> anyhow::Result<Vec<u8>> {
    let size = t.ty.row_bytes(t.cols).with_context(|| format!("{}: {} columns", t.name, t.cols))?;
    let mut bytes = vec![0; rows * size];
    let mut values = vec![0.0f32; t.cols];
    for row in bytes.chunks_exact_mut(size) {
        values.iter_mut().for_each(|v| *v = t.mean + t.std * normal(rng));
        encode_row(t.ty, &values, row)?;
    }
    Ok(bytes)
}

/// Close to a standard normal number: the sum of twelve uniform ones needs no function of the platform's.
fn normal(rng: &mut Rng) -> f32 {
    (0..12).map(|_| rng.uniform()).sum::<f32>() - 6.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn descriptions_name_a_shape_and_a_type() {
        let (shape, ty) = parse("Qwen2.5-0.5B:q4_0").unwrap();
        assert_eq!((shape.embedding, shape.context, ty), (896, 32768, TensorType::Q4_0));
        assert_eq!(parse("qwen3-4b:bf16").unwrap().0.context, 40960);
        assert_eq!(parse("qwen3-4b:q8_0:2layers").unwrap().0.layers, 2);
        let vision = |name: &str| {
            let shape = parse(&format!("{name}:q4_0")).unwrap().0;
            (shape.context, shape.sections().unwrap())
        };
        assert_eq!(vision("qwen2.5-vl-7b"), (128000, vec![16, 24, 24, 0]));
        assert_eq!(vision("qwen3-vl-30b-a3b"), (262144, vec![24, 20, 20, 0]));
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

    #[test]
    fn rows_that_are_no_whole_blocks_get_another_type() {
        assert_eq!(fitting(TensorType::Q4K, 1024), TensorType::Q4K);
        assert_eq!(fitting(TensorType::Q4K, 896), TensorType::Q8_0);
        assert_eq!(fitting(TensorType::Q4K, 40), TensorType::F16);
    }

    #[test]
    fn what_is_written_is_a_model() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("m.gguf");
        for arch in ["qwen3", "qwen2moe", "qwen3moe", "qwen2vl", "qwen3vl", "qwen3vlmoe"] {
            let mut tiny = shape("t", arch, 64, 1, [4, 2, 32], 128, 64, false);
            if arch.ends_with("moe") {
                tiny = tiny.of_experts(5, 2, 32);
            }
            write(&tiny, TensorType::Q4_0, &path).unwrap();
            let file = std::sync::Arc::new(qwip::ModelFile::open(&path, Default::default()).unwrap());
            let model = qwip::Model::load(file).unwrap();
            assert_eq!((model.config().layers, model.config().head_dim), (1, 32));
            assert_eq!(
                model.config().experts.map(|e| (e.count, e.ffn)),
                tiny.experts.map(|e| (e.count, e.ffn))
            );
        }
    }

    #[test]
    fn normal_numbers_have_mean_zero_and_variance_one() {
        let mut rng = Rng::new(3);
        let x: Vec<f32> = (0..10000).map(|_| normal(&mut rng)).collect();
        let mean = x.iter().sum::<f32>() / x.len() as f32;
        let variance = x.iter().map(|v| v * v).sum::<f32>() / x.len() as f32;
        assert!(mean.abs() < 0.05 && (variance - 1.0).abs() < 0.05, "{mean} {variance}");
    }
}
