//! `qwip convert`: a Hugging Face checkpoint becomes a GGUF file.

use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::bail;
use qwip_convert::{ConvertError, FileType, Lora, Options, Portion, Progress, Summary};

use crate::args::ConvertArgs;
use crate::output::{Ending, usage};
use crate::progress::{Meter, Unit};
use crate::{interrupt, output};

pub(crate) fn run(args: &ConvertArgs) -> anyhow::Result<()> {
    let ty = qwip_convert::file_type(&args.ty).map_err(|e| usage(format!("--type: {e}")))?;
    if !args.checkpoint.exists() {
        bail!("{}: there is no such directory", args.checkpoint.display());
    }
    let out = match &args.out {
        Some(out) => out.clone(),
        None => default_name(&args.checkpoint, ty)?,
    };
    let options = Options {
        ty,
        reference: args.reference,
        lora: args.lora.clone().map(|dir| Lora { dir, scale: args.lora_scale }),
        allow_nan: args.allow_nan,
        verify: args.verify,
        threads: args.threads,
        limits: args.split.limits(),
    };
    let started = Instant::now();
    let armed = interrupt::arm();
    let result = qwip_convert::convert(&args.checkpoint, &out, &options, &mut Reporter::new("converting"));
    drop(armed);
    let summary = uninterrupted(result)?;
    let (files, seconds) = (named(&summary.files), started.elapsed().as_secs_f64());
    let checked = if args.verify { ", checked" } else { "" };
    output::line(format_args!("{files}: {}, {seconds:.1} s{checked}", described(&summary)))
}

/// A conversion's result; one that was stopped ends the program as Ctrl-C does.
pub(crate) fn uninterrupted<T>(result: Result<T, ConvertError>) -> anyhow::Result<T> {
    result.map_err(|e| match e {
        ConvertError::Cancelled => Ending::Interrupted.into(),
        other => other.into(),
    })
}

/// The file that a command made, or the first of several and how many there are.
pub(crate) fn named(files: &[Portion]) -> String {
    match files {
        [] => String::new(),
        [one] => one.path.display().to_string(),
        [first, ..] => format!("{}, the first of {} files", first.path.display(), files.len()),
    }
}

/// What is in a file: parameters, tensors and bytes.
pub(crate) fn described(summary: &Summary) -> String {
    format!(
        "{} parameters in {} tensors, {} ({:.2} bits a weight)",
        output::count(summary.parameters),
        summary.tensors,
        output::bytes(summary.bytes),
        summary.bits_per_weight
    )
}

/// The name of the directory and the type, in the current directory: `Qwen3-0.6B-q8_0.gguf`.
fn default_name(checkpoint: &Path, ty: FileType) -> anyhow::Result<PathBuf> {
    let full = std::path::absolute(checkpoint)?;
    match full.file_name() {
        Some(name) => Ok(format!("{}-{}.gguf", name.to_string_lossy(), ty.name.to_lowercase()).into()),
        None => Err(usage("this directory has no name to call the file after: give one with -o OUT.gguf")),
    }
}

/// Shows the progress of a conversion.
pub(crate) struct Reporter {
    what: &'static str,
    meter: Option<Meter>,
}

impl Reporter {
    pub(crate) fn new(what: &'static str) -> Self {
        Self { what, meter: None }
    }
}

impl Progress for Reporter {
    fn start(&mut self, total_bytes: u64) {
        // The second time is what --verify does.
        let what = if self.meter.is_some() { "checking" } else { self.what };
        self.meter = Some(Meter::new(what, total_bytes, Unit::Bytes));
    }

    fn advance(&mut self, bytes: u64, tensor: &str) {
        if let Some(meter) = &mut self.meter {
            meter.advance(bytes, tensor);
        }
    }

    fn note(&mut self, text: &str) {
        let text = format!("qwip: note: {text}");
        match &self.meter {
            Some(meter) => meter.note(&text),
            None => output::note(text),
        }
    }

    fn cancelled(&self) -> bool {
        interrupt::flag().is_cancelled()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_name_follows_the_directory() {
        let name = default_name(Path::new("some/where/Qwen3-0.6B/"), qwip_convert::file_type("f16").unwrap())
            .unwrap();
        assert_eq!(name, Path::new("Qwen3-0.6B-f16.gguf"));
        assert!(default_name(Path::new("/"), qwip_convert::file_type("f16").unwrap()).is_err());
    }
}
