//! Models of real shapes with random weights, so that speed can be measured without a download.
//!
//! Rows come from a pool of a few hundred for each width, drawn and encoded once: a 7B model takes as long as
//! writing the file. What the rows hold does not matter for speed.

mod shapes;
mod tensors;

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use qwip::quant::gguf::{DataWriter, Gguf, Writer};
use qwip::quant::{TensorType, encode_row};
use qwip::sample::Rng;
use qwip_convert::OutputFile;

use crate::output::Ending;
use crate::progress::{Meter, Unit};
use crate::{interrupt, output};
use shapes::{DeltaNet, Experts, Shape, Types, parse};
use tensors::Tensor;

/// Distinct rows of a width and type.
const POOL_ROWS: usize = 256;
const SEED: u64 = 1;

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
    let (shape, types) = parse(description)?;
    let made = match save {
        Some(path) => Synthetic { path: path.to_path_buf(), folder: None },
        None => {
            let folder = temporary_folder()?;
            Synthetic { path: folder.join("synthetic.gguf"), folder: Some(folder) }
        }
    };
    write(&shape, types, &made.path).with_context(|| format!("writing {}", made.path.display()))?;
    Ok(made)
}

/// The header of the model that `description` names, and the bytes of its file; nothing is written.
pub(crate) fn header(description: &str) -> anyhow::Result<(Gguf, u64)> {
    let (shape, types) = parse(description)?;
    parsed(planned(&shape, types, &tensors(&shape, types)?)?)
}

/// The header that `writer` would write, and the bytes of the file.
fn parsed(writer: Writer) -> anyhow::Result<(Gguf, u64)> {
    let (mut start, len) = (Vec::new(), writer.file_len()?);
    writer.start(&mut start)?;
    Ok((Gguf::parse_start(&start, len)?, len))
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

/// All tensors of a model.
fn tensors(s: &Shape, types: Types) -> anyhow::Result<Vec<Tensor>> {
    match types {
        Types::One(ty) => Ok(tensors::of_type(s, ty)),
        Types::Mix(mix) => {
            let mut all = tensors::plain(s);
            let (header, _) = parsed(planned(s, types, &all)?)?;
            let types = qwip_convert::quantize::types(&header, mix)?;
            all.iter_mut().zip(types).for_each(|(t, ty)| t.ty = ty);
            Ok(all)
        }
    }
}

/// The header of a model.
fn planned(s: &Shape, types: Types, tensors: &[Tensor]) -> anyhow::Result<Writer> {
    let mut writer = Writer::new();
    let key = |name: &str| format!("{}.{name}", s.arch);
    writer.set("general.architecture", s.arch);
    writer.set("general.name", format!("random {} {}", s.name, types.name()).as_str());
    // There is no vocabulary, which other programs want to be told.
    writer.set("tokenizer.ggml.model", "none");
    writer.set(&key("vocab_size"), s.vocab as u32);
    writer.set(&key("block_count"), s.layers as u32);
    writer.set(&key("context_length"), s.context);
    writer.set(&key("embedding_length"), s.embedding as u32);
    // First-generation Qwen counts gate and up projection together.
    writer.set(&key("feed_forward_length"), (s.ffn * if s.arch == "qwen" { 2 } else { 1 }) as u32);
    writer.set(&key("attention.head_count"), s.heads as u32);
    writer.set(&key("attention.head_count_kv"), s.kv_heads as u32);
    writer.set(&key("attention.key_length"), s.head_dim as u32);
    writer.set(&key("attention.value_length"), s.head_dim as u32);
    writer.set(&key("attention.layer_norm_rms_epsilon"), 1e-6f32);
    writer.set(&key("rope.freq_base"), s.theta);
    if s.arch == "qwen" || s.delta.is_some() {
        writer.set(&key("rope.dimension_count"), s.rotated() as u32);
    }
    if let Some(sections) = s.sections() {
        writer.set(&key("rope.dimension_sections"), sections.to_vec());
    }
    if s.arch.starts_with("qwen3vl") {
        writer.set(&key("n_deepstack_layers"), s.layers.min(3) as u32);
    }
    if let Some(delta) = s.delta {
        writer.set(&key("ssm.conv_kernel"), DeltaNet::KERNEL as u32);
        writer.set(&key("ssm.state_size"), delta.head_dim as u32);
        writer.set(&key("ssm.group_count"), delta.key_heads as u32);
        writer.set(&key("ssm.time_step_rank"), delta.value_heads as u32);
        writer.set(&key("ssm.inner_size"), delta.values() as u32);
        writer.set(&key("full_attention_interval"), DeltaNet::INTERVAL as u32);
    }
    if let Some(Experts { count, used, ffn }) = s.experts {
        writer.set(&key("expert_count"), count as u32);
        writer.set(&key("expert_used_count"), used as u32);
        writer.set(&key("expert_feed_forward_length"), ffn as u32);
    }
    if s.has_shared_expert() {
        writer.set(&key("expert_shared_feed_forward_length"), s.ffn as u32);
    }
    for t in tensors {
        writer.tensor(&t.name, &t.dims(), t.ty)?;
    }
    Ok(writer)
}

fn write(s: &Shape, types: Types, path: &Path) -> anyhow::Result<()> {
    let tensors = tensors(s, types)?;
    let matrix = |t: &&Tensor| t.ty != TensorType::F32;
    if let Types::One(ty) = types
        && let Some(other) = tensors.iter().filter(matrix).find(|t| t.ty != ty)
    {
        output::note(format_args!(
            "qwip: note: rows of {} values are not whole {} blocks: {} and the like are {}",
            other.cols, ty, other.name, other.ty
        ));
    }
    let writer = planned(s, types, &tensors)?;
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
    use super::shapes::shape;
    use super::*;

    #[test]
    fn what_is_written_is_a_model() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("m.gguf");
        let plain = ["qwen", "qwen2", "qwen3", "qwen2moe", "qwen3moe", "qwen2vl", "qwen3vl", "qwen3vlmoe"];
        for arch in plain.into_iter().chain(["qwen35", "qwen35moe", "qwen3next"]) {
            let hybrid = ["qwen35", "qwen35moe", "qwen3next"].contains(&arch);
            // Three delta nets and a layer of attention.
            let layers = if hybrid { 4 } else { 1 };
            let kv_heads = if arch == "qwen" { 4 } else { 2 };
            let mut tiny = shape("t", arch, 64, layers, [4, kv_heads, 32], 128, 64, false);
            if arch.ends_with("moe") || arch == "qwen3next" {
                tiny = tiny.of_experts(5, 2, 32);
            }
            if hybrid {
                tiny = tiny.of_delta_nets(32);
            }
            write(&tiny, Types::One(TensorType::Q4_0), &path).unwrap();
            let file = std::sync::Arc::new(qwip::ModelFile::open(&path, Default::default()).unwrap());
            let model = qwip::Model::load(file).unwrap();
            assert_eq!((model.config().layers, model.config().head_dim), (layers, 32));
            assert_eq!(
                model.config().experts.map(|e| (e.count, e.ffn)),
                tiny.experts.map(|e| (e.count, e.ffn))
            );
        }
    }

    #[test]
    fn a_mix_is_what_quantize_makes() {
        let dir = tempfile::tempdir().unwrap();
        let [plain, mixed, quantized] = ["f16", "mixed", "quantized"].map(|name| dir.path().join(name));
        let shape = shape("t", "qwen3moe", 256, 8, [8, 2, 32], 128, 64, true).of_experts(5, 2, 32);
        let mix = qwip_convert::file_type("q4_k_m").unwrap();
        write(&shape, Types::One(TensorType::F16), &plain).unwrap();
        write(&shape, Types::Mix(mix), &mixed).unwrap();
        let options = qwip_convert::quantize::Options { ty: Some(mix), ..Default::default() };
        qwip_convert::quantize::Plan::new(&plain, options).unwrap().write(&quantized, &mut ()).unwrap();
        let types = |path: &Path| {
            let file = qwip::ModelFile::open(path, Default::default()).unwrap();
            let mut types: Vec<_> = file.tensors().map(|t| (t.info.name.clone(), t.info.ty)).collect();
            types.sort();
            types
        };
        let found = types(&mixed);
        assert_eq!(found, types(&quantized));
        assert!(found.iter().any(|t| t.1 == TensorType::Q6K) && found.iter().any(|t| t.1 == TensorType::Q4K));
    }

    #[test]
    fn shapes_have_the_parameters_of_their_names() {
        for (shape, billions) in [
            ("qwen-1.8b", 1.84),
            ("qwen-72b", 72.3),
            ("qwen1.5-110b", 111.2),
            ("qwen2-57b-a14b", 57.4),
            ("qwen2.5-72b", 72.7),
            ("qwen3-0.6b", 0.596),
            ("qwen3-32b", 32.8),
            ("qwen3-235b-a22b", 235.1),
            ("qwen3-coder-480b-a35b", 480.2),
        ] {
            let (header, len) = header(&format!("{shape}:f16")).unwrap();
            let parameters: u64 = header.tensors.iter().map(|t| t.dims.iter().product::<u64>()).sum();
            assert!((parameters as f64 / 1e9 / billions - 1.0).abs() < 2e-3, "{shape}: {parameters}");
            assert!(len > 2 * parameters && len < 2 * parameters + parameters / 100, "{shape}: {len}");
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
