//! `qwip quantize`: a GGUF file with its matrices in other types.

use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context, anyhow};
use clap::Args;
use clap::builder::FalseyValueParser;
use qwip_convert::quantize::{Imatrix, Options, Plan, Split, Step, tensor_type};
use qwip_convert::{ConvertError, FileType, Limits, OutputFile, Portion, file_type};

use crate::args::parse_threads;
use crate::convert::{Reporter, described, named, uninterrupted};
use crate::edit::edits;
use crate::interrupt;
use crate::output::{self, usage};
use crate::split::SplitArgs;

#[derive(Args, Debug)]
pub(crate) struct QuantizeArgs {
    /// The model (of a split one the first file), the file to write, its type (q4_k_m, q8_0, ... or copy), threads
    #[arg(value_name = "IN.gguf [OUT.gguf] TYPE [THREADS]", required = true, num_args = 1..)]
    pub(crate) words: Vec<String>,
    /// Type for tensors in whose name an expression is found; may be repeated, the first that fits counts
    #[arg(long, env = "QWIP_TENSOR_TYPE", value_name = "EXPRESSION=TYPE")]
    pub(crate) tensor_type: Vec<String>,
    /// Type of output.weight, or of the embeddings that stand in for it
    #[arg(long, env = "QWIP_OUTPUT_TENSOR_TYPE", value_name = "TYPE")]
    pub(crate) output_tensor_type: Option<String>,
    /// Type of token_embd.weight
    #[arg(long, env = "QWIP_TOKEN_EMBEDDING_TYPE", value_name = "TYPE")]
    pub(crate) token_embedding_type: Option<String>,
    /// Leave output.weight as it is
    #[arg(long, env = "QWIP_LEAVE_OUTPUT_TENSOR", value_parser = FalseyValueParser::new())]
    pub(crate) leave_output_tensor: bool,
    /// One type for every matrix
    #[arg(long, env = "QWIP_PURE", value_parser = FalseyValueParser::new())]
    pub(crate) pure: bool,
    /// Quantize what is quantized already, which loses more
    #[arg(long, env = "QWIP_ALLOW_REQUANTIZE", value_parser = FalseyValueParser::new())]
    pub(crate) allow_requantize: bool,
    /// Importance matrix: columns that matter more lose less
    #[arg(long, env = "QWIP_IMATRIX", value_name = "FILE")]
    pub(crate) imatrix: Option<PathBuf>,
    /// The bytes of llama.cpp's quantizer, in place of codes with less error
    #[arg(long, env = "QWIP_REFERENCE", value_parser = FalseyValueParser::new())]
    pub(crate) reference: bool,
    /// Weights that are infinite or not numbers become zero; otherwise they end the quantization
    #[arg(long, env = "QWIP_ALLOW_NAN", value_parser = FalseyValueParser::new())]
    pub(crate) allow_nan: bool,
    /// As many files as the model came in
    #[arg(long, env = "QWIP_KEEP_SPLIT", value_parser = FalseyValueParser::new())]
    pub(crate) keep_split: bool,
    #[command(flatten)]
    pub(crate) split: SplitArgs,
    /// Change the metadata as well: KEY=VALUE as `edit` takes it, or KEY=TYPE:VALUE
    #[arg(long, env = "QWIP_OVERRIDE_KV", value_name = "KEY=VALUE")]
    pub(crate) override_kv: Vec<String>,
    /// Print what would become of each tensor, and write nothing
    #[arg(long, env = "QWIP_DRY_RUN", value_parser = FalseyValueParser::new())]
    pub(crate) dry_run: bool,
    /// Read the result again and check it
    #[arg(long, env = "QWIP_VERIFY", value_parser = FalseyValueParser::new())]
    pub(crate) verify: bool,
    /// Threads [default: one a core]
    #[arg(short = 't', long, env = "QWIP_THREADS", value_name = "N", value_parser = parse_threads)]
    pub(crate) threads: Option<usize>,
}

/// The words of the call: `IN [OUT] TYPE [THREADS]`.
#[derive(PartialEq, Debug)]
struct Words {
    input: PathBuf,
    out: Option<PathBuf>,
    /// `None` is `copy`.
    ty: Option<FileType>,
    threads: Option<usize>,
}

pub(crate) fn run(args: &QuantizeArgs) -> anyhow::Result<()> {
    let Words { input, out, ty, threads } = words(&args.words)?;
    let of_type = |flag: &str, name: &Option<String>| match name {
        Some(name) => tensor_type(name).map(Some).map_err(|e| usage(format!("{flag}: {e}"))),
        None => Ok(None),
    };
    let by_name =
        |text: &String| text.parse().map_err(|e: ConvertError| usage(format!("--tensor-type: {e}")));
    // Not clap's to say: an environment variable that says no would count as given.
    if args.reference && args.imatrix.is_some() {
        return Err(usage("--reference is without an importance matrix: leave out --imatrix"));
    }
    if args.keep_split && args.split.limits() != Limits::default() {
        return Err(usage(
            "--keep-split has the files of the input: leave out --split-max-size and --split-max-tensors",
        ));
    }
    let options = Options {
        ty,
        tensor_types: args.tensor_type.iter().map(by_name).collect::<anyhow::Result<_>>()?,
        output_tensor: of_type("--output-tensor-type", &args.output_tensor_type)?,
        token_embedding: of_type("--token-embedding-type", &args.token_embedding_type)?,
        leave_output: args.leave_output_tensor,
        pure: args.pure,
        allow_requantize: args.allow_requantize,
        reference: args.reference,
        imatrix: args.imatrix.as_deref().map(imatrix).transpose()?,
        allow_nan: args.allow_nan,
        verify: args.verify,
        split: if args.keep_split { Split::Kept } else { Split::Within(args.split.limits()) },
        edits: edits(&args.override_kv, "--override-kv")?,
        threads: args.threads.or(threads),
    };
    let started = Instant::now();
    let plan = Plan::new(&input, options)?;
    let out = match out {
        Some(out) => out,
        None => default_name(&input, ty),
    };
    if let Some(imatrix) = &args.imatrix {
        OutputFile::check_beside(&out, &[imatrix])?;
    }
    if args.dry_run {
        return table(&plan, &out);
    }
    let armed = interrupt::arm();
    let result = plan.write(&out, &mut Reporter::new("quantizing"));
    drop(armed);
    let summary = uninterrupted(result)?;
    let (files, seconds) = (named(&summary.files), started.elapsed().as_secs_f64());
    let checked = if args.verify { ", checked" } else { "" };
    output::line(format_args!("{files}: {}, {seconds:.1} s{checked}", described(&summary)))
}

/// Reads the words. A type is a name or a number of digits only, so that `7b.gguf` is a file.
fn words(words: &[String]) -> anyhow::Result<Words> {
    let ty = |word: &str| match word {
        _ if word.eq_ignore_ascii_case("copy") => Some(None),
        _ => FileType::from_name(word).or_else(|| FileType::from_id(word.parse().ok()?)).map(Some),
    };
    let (input, out, word, threads) = match words {
        [input, word] => (input, None, word, None),
        [input, word, threads] if ty(word).is_some() && threads.parse::<usize>().is_ok() => {
            (input, None, word, Some(threads))
        }
        [input, out, word] => (input, Some(out), word, None),
        [input, out, word, threads] => (input, Some(out), word, Some(threads)),
        _ => return Err(usage("quantize takes IN.gguf [OUT.gguf] TYPE [THREADS]")),
    };
    let ty = match ty(word) {
        Some(Some(found)) => Some(file_type(found.name).map_err(|e| usage(e.to_string()))?),
        Some(None) => None,
        None => return Err(usage(file_type(word).map_or_else(|e| e.to_string(), |_| String::new()))),
    };
    let threads = match threads.map(|word| (word, parse_threads(word))) {
        None => None,
        Some((_, Ok(threads))) => Some(threads),
        Some((word, Err(e))) => return Err(usage(format!("{word:?} is no number of threads: {e}"))),
    };
    Ok(Words { input: input.into(), out: out.map(PathBuf::from), ty, threads })
}

/// Reads an importance matrix, of which the name goes into the output.
fn imatrix(path: &Path) -> anyhow::Result<(Imatrix, String)> {
    let bytes = std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    let imatrix = Imatrix::parse(&bytes).map_err(|e| anyhow!("{}: {e}", path.display()))?;
    Ok((imatrix, path.display().to_string()))
}

/// `ggml-model-TYPE.gguf` beside the input, as llama-quantize has it.
fn default_name(input: &Path, ty: Option<FileType>) -> PathBuf {
    input.with_file_name(format!("ggml-model-{}.gguf", ty.map_or("COPY", |ty| ty.name)))
}

/// What would be done.
fn table(plan: &Plan, out: &Path) -> anyhow::Result<()> {
    let longest = plan.steps().iter().map(|step| step.name.len()).max().unwrap_or(0);
    for Step { name, dims, from, to, bytes, .. } in plan.steps() {
        let dims: Vec<String> = dims.iter().map(u64::to_string).collect();
        let change = if from == to { format!("{from:>17}") } else { format!("{from:>7} -> {to:<6}") };
        output::line(format_args!(
            "{:longest$}  {:>16}  {change}  {:>10}",
            output::visible(name),
            dims.join(" x "),
            output::bytes(*bytes)
        ))?;
    }
    let summary = plan.summary(out);
    if summary.files.len() > 1 {
        for Portion { path, tensors, bytes } in &summary.files {
            output::line(format_args!("{}: {tensors} tensors, {}", path.display(), output::bytes(*bytes)))?;
        }
    }
    output::line(format_args!("{}: {}; nothing was written", named(&summary.files), described(&summary)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> anyhow::Result<Words> {
        words(&text.split(' ').map(String::from).collect::<Vec<_>>())
    }

    #[test]
    fn types_may_come_in_any_case_and_as_numbers() {
        let q4_k_m = FileType::from_name("Q4_K_M");
        for text in ["in.gguf q4_k_m", "in.gguf Q4_K_M", "in.gguf 15", "in.gguf q4_k"] {
            assert_eq!(read(text).unwrap().ty, q4_k_m, "{text}");
        }
        assert_eq!(read("in.gguf out.gguf COPY").unwrap().ty, None);
    }

    #[test]
    fn a_name_that_begins_with_a_digit_is_a_file() {
        let found = read("in.gguf 7b-chat.gguf q8_0 4").unwrap();
        assert_eq!((found.out, found.threads), (Some("7b-chat.gguf".into()), Some(4)));
        assert_eq!(read("in.gguf q8_0 4").unwrap().out, None);
    }

    #[test]
    fn wrong_words_are_named() {
        for (text, part) in [
            ("in.gguf", "takes IN.gguf"),
            ("in.gguf q4_z", "unknown output type \"q4_z\""),
            ("in.gguf out.gguf q8_0 many", "\"many\" is no number of threads"),
            ("in.gguf iq2_xxs", "unknown output type"),
        ] {
            let message = read(text).unwrap_err().to_string();
            assert!(message.contains(part), "{text}: {message}");
        }
    }
}
