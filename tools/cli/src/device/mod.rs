//! Which device computes: what --device and -ngl ask for, and how `auto` finds out.

mod decisions;
mod measure;

use std::sync::Arc;

use anyhow::anyhow;
use qwip::backend::gpu::{AdapterReport, Gpu, GpuError, GpuModel, GpuOptions, adapters};
use qwip::{CONTRACT_VERSION, Cpu, Error, Model, Session, SessionOptions};
use serde_json::{Value, json};

use crate::args::ComputeArgs;
use crate::model_arg::Opened;
use crate::output::{bytes, note};
use crate::progress::{Meter, Unit};
use crate::{interrupt, machine, places};
pub(crate) use decisions::remembered;
use decisions::{Decisions, Key};
use measure::Choice;

/// What --device asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Device {
    /// A GPU if it computes the same and faster.
    Auto,
    Cpu,
    /// The adapter of that number, or the best.
    Gpu(Option<usize>),
}

/// The value of --device.
pub(crate) fn parse(text: &str) -> Result<Device, String> {
    match (text, text.strip_prefix("gpu:").map(str::parse)) {
        ("auto", _) => Ok(Device::Auto),
        ("cpu", _) => Ok(Device::Cpu),
        ("gpu", _) => Ok(Device::Gpu(None)),
        (_, Some(Ok(number))) => Ok(Device::Gpu(Some(number))),
        _ => Err("expected auto, cpu, gpu or gpu:N with a number from qwip doctor's list".into()),
    }
}

/// What the flags ask for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wish {
    device: Device,
    /// So many of the last layers; more than there are: the output projection, too.
    layers: usize,
}

impl Wish {
    pub(crate) fn of(args: &ComputeArgs) -> Wish {
        Wish {
            device: args.device,
            // Negative: all, as in llama.cpp.
            layers: args.n_gpu_layers.and_then(|layers| usize::try_from(layers).ok()).unwrap_or(usize::MAX),
        }
    }
}

/// Layers of a model on a GPU.
#[derive(Debug)]
pub(crate) struct Placed {
    layers: Arc<GpuModel>,
    /// Whose choice it was: then sessions go on with the CPU if it fails.
    chosen: Option<(Key, String)>,
}

impl Placed {
    /// The adapter.
    pub(crate) fn title(&self) -> String {
        title(self.layers.gpu().report())
    }

    /// An empty session, on the CPU if the GPU has failed and nobody insists on it.
    pub(crate) fn session(&self, cpu: &Cpu, options: &SessionOptions) -> anyhow::Result<Session> {
        self.try_session(cpu, options).map_err(|error| anyhow!(named(&error, self.layers.gpu().name())))
    }

    /// The same for who wants the error as it is.
    pub(crate) fn try_session(&self, cpu: &Cpu, options: &SessionOptions) -> qwip::Result<Session> {
        match Session::on_gpu(self.layers.clone(), cpu.clone(), options) {
            Ok(mut session) => {
                if let Some((key, name)) = self.chosen.clone() {
                    session.leave_failing_device(move |error| {
                        note(format_args!("qwip: note: going on with the CPU: {error}"));
                        // A device that was lost with this model would be lost again.
                        if let GpuError::Lost { .. } = error {
                            let choice = Choice { gpu: false, reason: error.to_string() };
                            Decisions::read(places::cache_dir()).add(&key, &name, &choice);
                        }
                    });
                }
                Ok(session)
            }
            Err(error) if self.chosen.is_some() => {
                on_the_cpu(&named(&error, self.layers.gpu().name()));
                Session::new(self.layers.model().clone(), cpu.clone(), options)
            }
            Err(error) => Err(error),
        }
    }
}

/// Puts layers of the model on a GPU if the flags say so; `None` leaves all to the CPU.
pub(crate) fn place(opened: &Opened, wish: &Wish) -> anyhow::Result<Option<Placed>> {
    match wish.device {
        _ if wish.layers == 0 => Ok(None),
        Device::Cpu => Ok(None),
        Device::Auto => auto(opened, wish),
        Device::Gpu(index) => {
            let gpu = open(index).map_err(|error| anyhow!("--device gpu: {error}"))?;
            let name = gpu.name().to_string();
            match load(gpu, &opened.model, wish.layers) {
                Ok(layers) => Ok(Some(Placed { layers, chosen: None })),
                Err(Error::Cancelled) => Err(Error::Cancelled.into()),
                Err(error) => Err(anyhow!(named(&error, &name))),
            }
        }
    }
}

/// What is wrong, with the adapter's name.
fn named(error: &Error, adapter: &str) -> String {
    let text = error.to_string();
    if text.contains(adapter) { text } else { format!("{adapter}: {text}") }
}

fn on_the_cpu(why: &str) {
    note(format_args!("qwip: note: computing on the CPU: {why}"));
}

/// An adapter by its name and how it is reached.
pub(crate) fn title(report: &AdapterReport) -> String {
    format!("{} ({})", report.name, report.backend)
}

/// The adapter that `auto` would take: discrete before integrated, and software only if it is allowed.
fn best(reports: &[AdapterReport], software: bool) -> Option<usize> {
    let rank = |report: &AdapterReport| {
        let kinds = ["discrete", "integrated", "virtual", "other"];
        kinds.iter().position(|kind| *kind == report.kind).unwrap_or(kinds.len())
    };
    let usable = |report: &AdapterReport| report.unusable.is_none() && (software || !report.software);
    let found = reports.iter().enumerate().filter(|(_, report)| usable(report));
    found.min_by_key(|(_, report)| rank(report)).map(|(index, _)| index)
}

/// Whether this computer can have a GPU at all: asking the drivers takes longer, and some of them print.
fn hardware_is_possible() -> bool {
    if !cfg!(target_os = "linux") {
        return true;
    }
    let begins = |folder: &str, words: &[&str]| {
        let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
        entries.map(|entry| entry.file_name()).any(|name| {
            let name = name.to_string_lossy();
            words.iter().any(|word| name.starts_with(word))
        })
    };
    begins("/dev/dri", &["render"]) || begins("/dev", &["nvidia", "nvhost", "nvgpu", "dxg", "mali", "kgsl"])
}

/// Why a GPU that shares the computer's memory, of which `available` bytes are free, is not to hold so many bytes of
/// weights: rather than refuse, the system might end a process.
fn too_much(report: &AdapterReport, weights: u64, available: Option<u64>) -> Option<String> {
    let shares = report.software || report.kind == "integrated";
    let available = available.filter(|&available| shares && weights > available)?;
    let (weights, available) = (bytes(weights), bytes(available));
    Some(format!(
        "{}: {weights} of weights are more than the {available} that are free of the memory it shares (-ngl takes fewer layers)",
        report.name
    ))
}

fn auto(opened: &Opened, wish: &Wish) -> anyhow::Result<Option<Placed>> {
    let software = std::env::var_os("QWIP_GPU_SOFTWARE").is_some_and(|value| value == "1");
    // The built-in model is answered before a GPU has woken up.
    if opened.is_builtin() || !(software || hardware_is_possible()) {
        return Ok(None);
    }
    let reports = adapters();
    let Some(index) = best(&reports, software) else { return Ok(None) };
    let adapter = title(&reports[index]);
    let key = Key::new(opened.model.file(), &reports[index], wish.layers);
    let mut decisions = Decisions::read(places::cache_dir());
    let known = decisions.find(&key);
    if known == Some(false) {
        return Ok(None);
    }
    let weights = uploaded_bytes(&opened.model, wish.layers);
    if let Some(why) = too_much(&reports[index], weights, machine::memory().available) {
        on_the_cpu(&why);
        return Ok(None);
    }
    let tried = open(Some(index)).and_then(|gpu| load(gpu, &opened.model, wish.layers)).and_then(|layers| {
        let measured = match known {
            Some(_) => None,
            None => Some(measure::measure(&layers, &opened.cpu, &opened.options(None))?),
        };
        Ok((layers, measured))
    });
    let (layers, measured) = match tried {
        Ok(tried) => tried,
        Err(Error::Cancelled) => return Err(Error::Cancelled.into()),
        Err(error) => {
            // Not remembered: another time there may be more memory.
            on_the_cpu(&named(&error, &reports[index].name));
            return Ok(None);
        }
    };
    if let Some(measured) = measured {
        let choice = measure::decide(&adapter, &measured);
        decisions.add(&key, &opened.name, &choice);
        if !choice.gpu {
            on_the_cpu(&format!("{} (--device gpu insists)", choice.reason));
            return Ok(None);
        }
        note(format_args!("qwip: note: computing on {adapter}: {} (--device cpu does not)", choice.reason));
    }
    Ok(Some(Placed { layers, chosen: Some((key, opened.name.clone())) }))
}

/// Opens a device, whose driver may keep compiled kernels in the cache folder.
pub(crate) fn open(index: Option<usize>) -> qwip::Result<Arc<Gpu>> {
    let cache_dir = places::cache_dir();
    if let Some(dir) = &cache_dir {
        // Without it kernels are compiled each time.
        let _ = std::fs::create_dir_all(dir);
    }
    Ok(Arc::new(Gpu::open(&GpuOptions { index, cache_dir, ..GpuOptions::default() })?))
}

fn load(gpu: Arc<Gpu>, model: &Arc<Model>, layers: usize) -> qwip::Result<Arc<GpuModel>> {
    let mut meter = Meter::new("uploading", uploaded_bytes(model, layers), Unit::Bytes);
    let mut before = 0;
    let mut progress = |done| {
        meter.advance(done - before, "");
        before = done;
        !interrupt::flag().is_cancelled()
    };
    Ok(Arc::new(GpuModel::load(gpu, model.clone(), layers, &mut progress)?))
}

/// About the bytes of the file that so many layers are.
fn uploaded_bytes(model: &Model, layers: usize) -> u64 {
    let file = model.file();
    let all = model.config().layers;
    let first = all - layers.min(all);
    let layer = |name: &str| name.strip_prefix("blk.")?.split_once('.')?.0.parse::<usize>().ok();
    let output = if file.tensor("output.weight").is_some() { "output.weight" } else { "token_embd.weight" };
    let here = |name: &str| match layer(name) {
        Some(layer) => layer >= first,
        None => layers > all && name == output,
    };
    file.tensors().filter(|t| here(&t.info.name)).map(|t| t.info.len).sum()
}

/// The GPU of a session, if it has one.
pub(crate) fn of(session: &Session) -> Option<String> {
    session.device().map(|layers| title(layers.gpu().report()))
}

/// Adds to a JSON object where a session computes.
pub(crate) fn add_to(object: &mut Value, session: &Session) {
    // The output projection counts as a layer, as in llama.cpp.
    let layers = session.device().map_or(0, |layers| layers.layers() + usize::from(layers.has_output()));
    object["device"] = json!(of(session).unwrap_or_else(|| "cpu".into()));
    object["gpu_layers"] = json!(layers);
    object["contract"] = json!(CONTRACT_VERSION);
    object["system_fingerprint"] = json!(session.system_fingerprint());
}

#[cfg(test)]
mod tests {
    use qwip::backend::gpu::GpuError;

    use super::*;

    #[test]
    fn devices_have_names_and_gpus_numbers() {
        assert_eq!(parse("auto"), Ok(Device::Auto));
        assert_eq!(parse("cpu"), Ok(Device::Cpu));
        assert_eq!(parse("gpu"), Ok(Device::Gpu(None)));
        assert_eq!(parse("gpu:3"), Ok(Device::Gpu(Some(3))));
        for text in ["", "gpu:", "gpu:x", "gpu:-1", "cuda", "GPU"] {
            assert!(parse(text).unwrap_err().contains("gpu:N"), "{text}");
        }
    }

    fn report(kind: &'static str) -> AdapterReport {
        AdapterReport {
            name: kind.into(),
            backend: "Vulkan".into(),
            kind,
            driver: "1".into(),
            software: kind == "software",
            binding_bytes: 0,
            buffer_bytes: 0,
            subgroup: None,
            f16: false,
            unusable: None,
        }
    }

    #[test]
    fn a_discrete_gpu_is_best_and_software_only_where_allowed() {
        let all = ["software", "integrated", "discrete", "discrete"].map(report);
        assert_eq!(best(&all, false), Some(2));
        assert_eq!(best(&all[..2], false), Some(1));
        assert_eq!(best(&all[..1], false), None);
        assert_eq!(best(&all[..1], true), Some(0));
        let broken = AdapterReport { unusable: Some("old".into()), ..report("discrete") };
        assert_eq!(best(&[broken, report("integrated")], false), Some(1));
        assert_eq!(best(&[], true), None);
    }

    #[test]
    fn memory_that_is_shared_must_hold_the_weights() {
        let integrated = report("integrated");
        assert_eq!(too_much(&integrated, 5 << 30, Some(6 << 30)), None);
        assert_eq!(too_much(&integrated, 5 << 30, None), None);
        assert_eq!(too_much(&report("discrete"), 5 << 30, Some(1 << 30)), None);
        let why = too_much(&integrated, 5 << 30, Some(4 << 30)).unwrap();
        assert!(why.starts_with("integrated: 5.37 GB of weights are more than the 4.29 GB"), "{why}");
    }

    #[test]
    fn an_error_has_the_adapters_name_once() {
        let option = Error::BadOption { what: "cache type", found: "x".into(), want: "y".into() };
        assert_eq!(named(&option, "X1"), "X1: cache type is x, expected y");
        let lost = GpuError::Lost { adapter: "X1".into(), message: "gone".into() };
        assert_eq!(named(&lost.into(), "X1"), "X1: the device was lost: gone");
    }
}
