//! `qwip doctor`: what this computer can do, whether it computes correctly, and whether a file is sound.

use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context, bail};
use qwip::backend::gpu::{AdapterReport, adapters};
use qwip::quant::types::check_row;
use qwip::{CONTRACT_VERSION, Isa, Kernels, Model, ModelFile, OpenOptions, Session, SessionOptions};

use crate::args::{ComputeArgs, DoctorArgs};
use crate::catalog::{self, hubs};
use crate::hub::hash;
use crate::kept::Kept;
use crate::output::{Ending, bytes, line};
use crate::progress::{Meter, Unit};
use crate::{device, interrupt, machine, model_arg, show, synthetic};

pub(crate) fn run(args: &DoctorArgs) -> anyhow::Result<()> {
    let _armed = interrupt::arm();
    if let Some(name) = &args.check {
        return check(name, args);
    }
    let cpu = qwip::cpu(args.compute.threads)?;
    let names = |sets: &mut dyn Iterator<Item = Isa>| sets.map(Isa::name).collect::<Vec<_>>().join(", ");
    let row = |what: &str, text: &str| line(format_args!("{what:<12} {text}"));
    row("qwip", &format!("{}, number contract {CONTRACT_VERSION}", env!("CARGO_PKG_VERSION")))?;
    row("system", &format!("{} {}", std::env::consts::OS, std::env::consts::ARCH))?;
    row("processor", &machine::processor())?;
    let logical = std::thread::available_parallelism().map_or_else(|_| "unknown".into(), |n| n.to_string());
    row("cores", &format!("{logical} logical, {} threads in use", cpu.pool.threads()))?;
    let available = names(&mut Kernels::available().iter().map(|k| k.isa));
    row("kernels", &format!("{} (of {available})", cpu.kernels.isa))?;
    let memory = machine::memory();
    if let (Some(total), Some(available)) = (memory.total, memory.available) {
        row("memory", &format!("{}, {} available", bytes(total), bytes(available)))?;
    }
    let bandwidth = machine::bandwidth(cpu.pool.threads())?;
    row("bandwidth", &format!("{:.1} GB/s over {}", bandwidth.rate / 1e9, bytes(bandwidth.region)))?;
    gpus(&row)?;
    if let Some(kept) = Kept::open(u64::MAX) {
        row("sessions", &format!("{} kept of what was read in conversations", bytes(kept.bytes())))?;
    }

    let mut wrong = Vec::new();
    for report in qwip::self_test() {
        let text = match report.wrong.as_slice() {
            [] => format!("{}: {} results equal the reference to the last bit", report.isa, report.compared),
            some => format!("{}: WRONG: {}", report.isa, some.join(", ")),
        };
        row("check", &text)?;
        if !report.wrong.is_empty() {
            wrong.push(report.isa.name());
        }
    }
    fits(memory.available.or(memory.total), bandwidth.rate, &args.compute)?;
    if !wrong.is_empty() {
        bail!(
            "this computer does not compute correctly with the kernels {}; QWIP_ISA chooses others",
            wrong.join(", ")
        );
    }
    Ok(())
}

/// What this computer's GPUs are, and what `--device auto` has found out about them.
fn gpus(row: &dyn Fn(&str, &str) -> anyhow::Result<()>) -> anyhow::Result<()> {
    let adapters = adapters();
    if adapters.is_empty() {
        row("GPU", "none that Vulkan, Metal or DX12 know of")?;
    }
    for (i, adapter) in adapters.iter().enumerate() {
        let AdapterReport { name, backend, kind, driver, subgroup, f16, .. } = adapter;
        row(&format!("GPU {i}"), &format!("{name} ({backend}, {kind}), driver {driver}"))?;
        let subgroup = match subgroup {
            Some((least, most)) if least == most => format!("subgroups of {least}"),
            Some((least, most)) => format!("subgroups of {least} to {most}"),
            None => "no subgroups".into(),
        };
        let half = if *f16 { "f16" } else { "no f16" };
        let (binding, buffer) = (bytes(adapter.binding_bytes), bytes(adapter.buffer_bytes));
        row("", &format!("bindings up to {binding}, buffers up to {buffer}, {subgroup}, {half}"))?;
        match (&adapter.unusable, device::open(Some(i)).and_then(|gpu| Ok(gpu.bandwidth()?))) {
            (Some(why), _) => row("", &format!("cannot be used: {why}"))?,
            (None, Err(why)) => row("", &format!("cannot be used: {why}"))?,
            (None, Ok(rate)) => row("", &format!("copies {:.1} GB/s, read and written", rate / 1e9))?,
        }
    }
    device::remembered().iter().try_for_each(|decision| row("auto", decision))
}

/// The sizes that people ask about.
const SIZES: [&str; 10] = [
    "qwen2.5-0.5b",
    "qwen3-0.6b",
    "qwen2.5-1.5b",
    "qwen3-1.7b",
    "qwen2.5-3b",
    "qwen3-4b",
    "qwen3-8b",
    "qwen3-14b",
    "qwen3-30b-a3b",
    "qwen3-32b",
];

/// A table of models, their memory with 4096 tokens of context, and the most tokens a second that memory allows.
fn fits(memory: Option<u64>, rate: f64, args: &ComputeArgs) -> anyhow::Result<()> {
    let args = ComputeArgs { ctx_size: Some(4096), ..args.clone() };
    line("")?;
    line("What fits, with 4096 tokens of context (tokens/s: what the bandwidth allows at most)")?;
    line("| model | Q4_K_M | tokens/s | Q8_0 | tokens/s |")?;
    line("|---|--:|--:|--:|--:|")?;
    for name in SIZES {
        let cell = |ty: &str| -> anyhow::Result<String> {
            let (header, _) = synthetic::header(&format!("{name}:{ty}"))?;
            let e = show::Sizes::of_header(&header, &args)?.estimate;
            Ok(match memory.is_some_and(|memory| e.total() > memory) {
                true => format!("{} (too large) | ", bytes(e.total())),
                false => format!("{} | {:.1}", bytes(e.total()), rate / e.weights_per_token as f64),
            })
        };
        line(format_args!("| {name} | {} | {} |", cell("q4_k_m")?, cell("q8_0")?))?;
    }
    Ok(())
}

/// Opens a file, scans every tensor and computes a few tokens twice in different slices.
fn check(name: &Path, args: &DoctorArgs) -> anyhow::Result<()> {
    let shown = name.display().to_string();
    let options = OpenOptions { mmap: !args.compute.no_mmap, ..Default::default() };
    // Bytes that changed can make the file unreadable: the hash says so first.
    if let Some(bytes) = check_hashes(name)? {
        line(format_args!("download     {} as the hub has them", self::bytes(bytes)))?;
    }
    let file = model_arg::open_file(name, options)?;
    let tensors = file.tensors().count();
    line(format_args!("container    sound, {} in {tensors} tensors", bytes(file.len())))?;
    let scanned = scan(&file).with_context(|| shown.clone())?;
    line(format_args!("weights      {} scanned, every scale is finite", bytes(scanned)))?;
    let model = Arc::new(Model::load(file.clone()).with_context(|| shown.clone())?);
    line(format_args!("model        {}, shapes fit", model.architecture()))?;
    let unusable = check_voice(&file)?;
    let started = Instant::now();
    let whole = short_forward(&model, args, 512)?;
    let sliced = short_forward(&model, args, 3)?;
    if whole.iter().map(|l| l.to_bits()).ne(sliced.iter().map(|l| l.to_bits())) {
        bail!("{shown}: the same tokens gave different logits in one slice and in several");
    }
    line(format_args!(
        "computation  finite and the same however it is cut ({:.1} s)",
        started.elapsed().as_secs_f64()
    ))?;
    match unusable {
        Some(error) => Err(error.context(shown)),
        None => Ok(()),
    }
}

/// Compares the files of a model in the cache of a hub with the hashes that the hub stated for them. Returns the bytes
/// that were read, or `None` where nothing is known about the file.
fn check_hashes(name: &Path) -> anyhow::Result<Option<u64>> {
    let Ok(path) = std::fs::canonicalize(catalog::resolve(name)?) else { return Ok(None) };
    let held = hubs::held();
    let Some(model) = held.iter().find(|model| model.used.iter().any(|file| file.data == path)) else {
        return Ok(None);
    };
    let mut seen = 0;
    let mut unknown = Vec::new();
    for file in &model.used {
        let Some(stated) = &file.sha256 else {
            unknown.push(file.file.as_str());
            continue;
        };
        let found = hash::of_file(&file.data, &file.file)?;
        if found != *stated {
            bail!(
                "{}: {} is damaged: the hub stated the SHA-256 {stated}, its bytes have {found}: `qwip rm {}`, then \
                 `qwip pull` again",
                name.display(),
                file.path.display(),
                model.name
            );
        }
        seen += file.size;
    }
    if !unknown.is_empty() {
        line(format_args!("download     not checked, no hash is on record: {}", unknown.join(", ")))?;
    }
    Ok((seen > 0).then_some(seen))
}

/// Whether tokenizer and template can be used; otherwise why not.
fn check_voice(file: &ModelFile) -> anyhow::Result<Option<anyhow::Error>> {
    let tokenizer = match model_arg::tokenizer(file) {
        Ok(tokenizer) => tokenizer,
        Err(error) => {
            line("tokenizer    NOT USABLE")?;
            return Ok(Some(error));
        }
    };
    line(format_args!("tokenizer    {} tokens", tokenizer.len()))?;
    let template = qwip::chat::Voice::new(file, tokenizer);
    line(if template.is_ok() { "template     usable" } else { "template     NOT USABLE" })?;
    Ok(template.err().map(Into::into))
}

/// Scans every row of every tensor that we could compute with. Returns the bytes seen.
fn scan(file: &ModelFile) -> anyhow::Result<u64> {
    let mut meter = Meter::new("scanning", file.tensors().map(|t| t.info.len).sum(), Unit::Bytes);
    let mut seen = 0;
    for tensor in file.tensors() {
        if interrupt::flag().is_cancelled() {
            return Err(Ending::Interrupted.into());
        }
        let info = tensor.info;
        if info.ty.is_decodable() {
            let cols = usize::try_from(info.cols())?;
            let row = info.ty.row_bytes(cols).with_context(|| format!("tensor '{}'", info.name))?;
            for (i, bytes) in file.tensor_bytes(tensor).chunks(row.max(1)).enumerate() {
                check_row(info.ty, bytes, cols)
                    .with_context(|| format!("tensor '{}', row {i}", info.name))?;
            }
            seen += info.len;
        }
        meter.advance(info.len, &info.name);
    }
    Ok(seen)
}

/// Logits after ten tokens, evaluated in slices of `batch`.
fn short_forward(model: &Arc<Model>, args: &DoctorArgs, batch: usize) -> anyhow::Result<Vec<f32>> {
    let options = SessionOptions {
        context: 16,
        batch,
        k_type: args.compute.cache_type_k,
        v_type: args.compute.cache_type_v,
        ..SessionOptions::default()
    };
    let mut session = Session::new(model.clone(), qwip::cpu(args.compute.threads)?, &options)?;
    let vocab = model.config().vocab as u32;
    let tokens: Vec<u32> = (0..10u32).map(|i| i.wrapping_mul(2_654_435_761) % vocab).collect();
    session.extend(&tokens, interrupt::flag(), &mut |_| {})?;
    Ok(session.logits().to_vec())
}
