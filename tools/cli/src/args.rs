//! What the command line looks like. Every flag `--some-name` is also `QWIP_SOME_NAME` in the environment.

use std::ffi::OsString;
use std::ops::RangeInclusive;
use std::path::PathBuf;

use clap::builder::FalseyValueParser;
use clap::{Args, Parser, Subcommand, ValueEnum};
use qwip::sample::SamplingChoice;
use qwip::{KvType, Session};

use crate::chat::ChatArgs;
use crate::device::{self, Device};
use crate::embed::EmbedArgs;
use crate::eval::EvalArgs;
use crate::imatrix::ImatrixArgs;
use crate::list::ListArgs;
use crate::manual::{CompletionsArgs, ManArgs};
use crate::ps::PsArgs;
use crate::pull::PullArgs;
use crate::quantize::QuantizeArgs;
use crate::rerank::RerankArgs;
use crate::rm::RmArgs;
use crate::rope::RopeArgs;
use crate::screen::LookArgs;
use crate::serve::ServeArgs;
use crate::split::SplitArgs;
use crate::stop::StopArgs;

const AFTER_HELP: &str = "\
MODEL is the path of a GGUF file, a name that `list` shows, OWNER/REPO[:QUANT] or a short name such as qwen3:4b for what \
`pull` has downloaded, or `builtin`: a very small demonstration model inside this program. It is the first argument or \
follows -m, or stands in QWIP_MODEL; otherwise it is the one that was used or downloaded last.

Every flag --some-name is also QWIP_SOME_NAME in the environment; \
QWIP_ISA=scalar|avx2|avxvnni|avx512vnni|neon|dotprod|i8mm forces a set of CPU kernels; QWIP_CACHE_DIR is where compiled \
GPU kernels, the choices of --device auto and the list of running processes are kept, QWIP_DATA_DIR where conversations and \
the name of the model used last.

Exit status: 0 done, 1 failed, 2 wrong call, 130 interrupted.";

/// Runs Qwen models from GGUF files on this computer.
#[derive(Parser, Debug)]
#[command(name = "qwip", version, after_help = AFTER_HELP, infer_long_args = false)]
pub(crate) struct Cli {
    /// Without a command, on a terminal: a chat with the built-in model.
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
}

#[derive(Subcommand, Debug)]
pub(crate) enum Command {
    /// Talk with a model
    Chat(ChatArgs),
    /// Answer one prompt
    Run(RunArgs),
    /// Turn texts into vectors
    Embed(EmbedArgs),
    /// Judge how well documents answer a query
    Rerank(RerankArgs),
    /// Serve models to other programs and to a page in the browser: the APIs of OpenAI, Anthropic and Ollama
    Serve(ServeArgs),
    /// Make a GGUF file of a Hugging Face checkpoint
    Convert(ConvertArgs),
    /// Make a smaller GGUF file of a GGUF file
    Quantize(QuantizeArgs),
    /// Find out which columns of a model's matrices matter for a text, for `quantize --imatrix`
    Imatrix(ImatrixArgs),
    /// Change the metadata or the chat template of a GGUF file
    Edit(EditArgs),
    /// Fetch a model from Hugging Face or ModelScope
    Pull(PullArgs),
    /// Say what is in a model file
    Show(ShowArgs),
    /// Turn text into tokens
    Tokenize(TokenizeArgs),
    /// Measure what a model computes
    Eval(EvalArgs),
    /// Measure how fast a model runs
    Bench(BenchArgs),
    /// Say which models are on this computer
    #[command(visible_alias = "ls")]
    List(ListArgs),
    /// Remove downloaded models
    Rm(RmArgs),
    /// Say which processes of qwip have a model loaded
    Ps(PsArgs),
    /// End a process of qwip that has a model loaded
    Stop(StopArgs),
    /// Say what this computer can do, and check that it computes correctly
    Doctor(DoctorArgs),
    /// Print what a shell needs to complete qwip's commands and flags
    Completions(CompletionsArgs),
    /// Print the manual page, or write the pages of all commands
    Man(ManArgs),
}

#[derive(Args, Debug, Default, Clone)]
pub(crate) struct ModelArgs {
    /// GGUF file, a name that `list` shows, OWNER/REPO[:QUANT] or `builtin` [env: QWIP_MODEL=]
    #[arg(value_name = "MODEL")]
    pub(crate) positional: Option<PathBuf>,
    /// The same
    #[arg(short = 'm', long = "model", value_name = "MODEL")]
    pub(crate) model: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) hub: HubArgs,
}

#[derive(Args, Debug, Default, Clone)]
pub(crate) struct HubArgs {
    /// Model on a hub (-hf), which is downloaded if it is not here
    #[arg(long = "hf-repo", env = "QWIP_HF_REPO", value_name = "OWNER/REPO[:QUANT]")]
    pub(crate) hf_repo: Option<String>,
    /// Download nothing
    #[arg(long, env = "QWIP_OFFLINE", value_parser = FalseyValueParser::new())]
    pub(crate) offline: bool,
}

/// How a model is opened and computed with.
#[derive(Args, Debug, Clone)]
#[command(next_help_heading = "Computing")]
pub(crate) struct ComputeArgs {
    /// Most tokens of prompt and answers together; 0: what the model was trained for [default: that, if the memory that is
    /// available suffices]
    #[arg(short = 'c', long, env = "QWIP_CTX_SIZE", value_name = "N", value_parser = parse_tokens)]
    pub(crate) ctx_size: Option<usize>,
    /// Tokens of the prompt that are evaluated in one slice [default: 512, fewer for wide models]
    #[arg(short = 'b', long, env = "QWIP_BATCH_SIZE", value_name = "N", value_parser = parse_batch)]
    pub(crate) batch_size: Option<usize>,
    /// Threads [default: one for each performance core that we may use]
    #[arg(short = 't', long, env = "QWIP_THREADS", value_name = "N", default_value_t = 0, hide_default_value = true,
          value_parser = parse_threads)]
    pub(crate) threads: usize,
    /// How keys are kept (-ctk): f16, f32 or q8_0
    #[arg(long, env = "QWIP_CACHE_TYPE_K", value_name = "TYPE", default_value = "f16", value_parser = parse_kv_type)]
    pub(crate) cache_type_k: KvType,
    /// How values are kept (-ctv): f16, f32 or q8_0
    #[arg(long, env = "QWIP_CACHE_TYPE_V", value_name = "TYPE", default_value = "f16", value_parser = parse_kv_type)]
    pub(crate) cache_type_v: KvType,
    /// Ask the system to keep the model in memory
    #[arg(long, env = "QWIP_MLOCK", value_parser = FalseyValueParser::new())]
    pub(crate) mlock: bool,
    /// Read the model file instead of mapping it
    #[arg(long, env = "QWIP_NO_MMAP", value_parser = FalseyValueParser::new())]
    pub(crate) no_mmap: bool,
    /// What computes: cpu, gpu, gpu:N (a number from `doctor`), or auto: a GPU if it is measured to be faster
    #[arg(long, env = "QWIP_DEVICE", value_name = "DEVICE", default_value = "auto", value_parser = device::parse)]
    pub(crate) device: Device,
    /// So many of the last layers on the GPU (-ngl), more than there are: the output too; 0: none [default: all]
    #[arg(long, env = "QWIP_N_GPU_LAYERS", value_name = "N", allow_negative_numbers = true)]
    pub(crate) n_gpu_layers: Option<i64>,
    #[command(flatten)]
    pub(crate) rope: RopeArgs,
}

/// How tokens are chosen; what is not given comes from the model file or its family's published settings.
#[derive(Args, Debug, Default, Clone)]
#[command(next_help_heading = "Sampling (defaults: the model's own)")]
pub(crate) struct SamplingArgs {
    /// Seed of the draw; the same seed gives the same answer [default: a new one each time]
    #[arg(short = 's', long, env = "QWIP_SEED", value_name = "N", allow_negative_numbers = true)]
    pub(crate) seed: Option<i64>,
    /// Temperature; 0 always takes the most probable token
    #[arg(long, env = "QWIP_TEMP", value_name = "T", allow_negative_numbers = true)]
    pub(crate) temp: Option<f32>,
    /// Choose among this many most probable tokens; 0: all
    #[arg(long, env = "QWIP_TOP_K", value_name = "N")]
    pub(crate) top_k: Option<usize>,
    /// Choose among the most probable tokens that hold this much probability together
    #[arg(long, env = "QWIP_TOP_P", value_name = "P", allow_negative_numbers = true)]
    pub(crate) top_p: Option<f32>,
    /// Leave out tokens below this share of the most probable one
    #[arg(long, env = "QWIP_MIN_P", value_name = "P", allow_negative_numbers = true)]
    pub(crate) min_p: Option<f32>,
    /// Makes tokens that occurred lately less probable; 1: off
    #[arg(long, env = "QWIP_REPEAT_PENALTY", value_name = "X", allow_negative_numbers = true)]
    pub(crate) repeat_penalty: Option<f32>,
    /// Taken off the logit of every token that occurred lately
    #[arg(long, env = "QWIP_PRESENCE_PENALTY", value_name = "X", allow_negative_numbers = true)]
    pub(crate) presence_penalty: Option<f32>,
    /// Taken off the logit of a token for each time it occurred lately
    #[arg(long, env = "QWIP_FREQUENCY_PENALTY", value_name = "X", allow_negative_numbers = true)]
    pub(crate) frequency_penalty: Option<f32>,
    /// How many tokens "lately" reaches back
    #[arg(long, env = "QWIP_REPEAT_LAST_N", value_name = "N")]
    pub(crate) repeat_last_n: Option<usize>,
}

impl SamplingArgs {
    /// What they leave to the model is none.
    pub(crate) fn choice(&self) -> SamplingChoice {
        SamplingChoice {
            temperature: self.temp,
            top_k: self.top_k,
            top_p: self.top_p,
            min_p: self.min_p,
            repeat_penalty: self.repeat_penalty,
            presence_penalty: self.presence_penalty,
            frequency_penalty: self.frequency_penalty,
            penalty_last_n: self.repeat_last_n,
        }
    }
}

/// What an answer may be.
#[derive(Args, Debug, Clone)]
pub(crate) struct AnswerArgs {
    /// System message (-sys)
    #[arg(
        long,
        env = "QWIP_SYSTEM",
        value_name = "TEXT",
        alias = "system-prompt",
        allow_hyphen_values = true
    )]
    pub(crate) system: Option<String>,
    /// Whether the model thinks before it answers, where it can do either
    #[arg(long, env = "QWIP_THINK", value_enum, default_value_t = Think::Auto)]
    pub(crate) think: Think,
    /// Most new tokens of an answer; 0 evaluates the prompt and stops [default: until the context is full]
    #[arg(
        short = 'n',
        long,
        env = "QWIP_PREDICT",
        value_name = "N",
        alias = "n-predict",
        allow_negative_numbers = true
    )]
    pub(crate) predict: Option<i64>,
    /// End the answer before this text (may be given several times)
    #[arg(long, env = "QWIP_STOP", value_name = "TEXT", allow_hyphen_values = true)]
    pub(crate) stop: Vec<String>,
    /// Most tokens of thinking; then it is ended and the model answers. 0: none, -1: no limit [default: -1]
    #[arg(long, env = "QWIP_THINK_BUDGET", value_name = "N", allow_negative_numbers = true)]
    pub(crate) think_budget: Option<i64>,
    /// Go on when the answer repeats itself without end: the same words for some 800 tokens, numbers and signs for 4000
    #[arg(long, env = "QWIP_NO_LOOP_GUARD", value_parser = FalseyValueParser::new())]
    pub(crate) no_loop_guard: bool,
    /// Go on when the model says that it is done, or repeats itself
    #[arg(long, env = "QWIP_IGNORE_EOS", value_parser = FalseyValueParser::new())]
    pub(crate) ignore_eos: bool,
    /// Say what was loaded and how long it took
    #[arg(short = 'v', long, env = "QWIP_VERBOSE", value_parser = FalseyValueParser::new())]
    pub(crate) verbose: bool,
}

#[derive(ValueEnum, Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Think {
    On,
    Off,
    Auto,
}

#[derive(Args, Debug)]
pub(crate) struct RunArgs {
    #[command(flatten)]
    pub(crate) model: ModelArgs,
    /// The prompt
    #[arg(short = 'p', long, env = "QWIP_PROMPT", value_name = "TEXT", allow_hyphen_values = true)]
    pub(crate) prompt: Option<String>,
    /// Take the prompt from a file (`-`: standard input); with -p, what that says about the file follows it
    #[arg(short = 'f', long, env = "QWIP_FILE", value_name = "FILE")]
    pub(crate) file: Option<PathBuf>,
    /// Continue the text as it is, without the model's chat template
    #[arg(long, env = "QWIP_RAW", value_parser = FalseyValueParser::new())]
    pub(crate) raw: bool,
    /// Print one JSON object: text, thinking, tokens, finish_reason, context_full, timings, seed, model, device, ...
    #[arg(long, env = "QWIP_JSON", value_parser = FalseyValueParser::new())]
    pub(crate) json: bool,
    /// Hold the answer, after any thinking, to this JSON schema: a file (`-`: standard input), or the schema itself
    #[arg(short = 'j', long, env = "QWIP_JSON_SCHEMA", value_name = "FILE|JSON")]
    pub(crate) json_schema: Option<String>,
    #[command(flatten)]
    pub(crate) answer: AnswerArgs,
    #[command(flatten)]
    pub(crate) look: LookArgs,
    #[command(flatten)]
    pub(crate) compute: ComputeArgs,
    #[command(flatten)]
    pub(crate) sampling: SamplingArgs,
}

#[derive(Args, Debug)]
pub(crate) struct ConvertArgs {
    /// Directory with config.json, tokenizer and *.safetensors
    #[arg(value_name = "CHECKPOINT_DIR")]
    pub(crate) checkpoint: PathBuf,
    /// The file to write [default: the directory's name and the type, in the current directory]
    #[arg(short = 'o', long, alias = "outfile", env = "QWIP_OUT", value_name = "OUT.gguf")]
    pub(crate) out: Option<PathBuf>,
    /// How matrices are stored: f32, f16, bf16, q8_0, q4_k_m, ...
    #[arg(long = "type", alias = "outtype", env = "QWIP_TYPE", value_name = "TYPE", default_value = "f16")]
    pub(crate) ty: String,
    /// The bytes of llama.cpp's quantizer, in place of codes with less error
    #[arg(long, env = "QWIP_REFERENCE", value_parser = FalseyValueParser::new())]
    pub(crate) reference: bool,
    /// Merge the PEFT adapter (LoRA, DoRA) in this directory
    #[arg(long, env = "QWIP_LORA", value_name = "ADAPTER_DIR")]
    pub(crate) lora: Option<PathBuf>,
    /// How strong the adapter is: 1 as it was trained
    #[arg(
        long,
        env = "QWIP_LORA_SCALE",
        value_name = "S",
        default_value_t = 1.0,
        allow_negative_numbers = true,
        value_parser = parse_scale
    )]
    pub(crate) lora_scale: f32,
    /// Weights that are infinite or not numbers become zero; otherwise they end the conversion
    #[arg(long, env = "QWIP_ALLOW_NAN", value_parser = FalseyValueParser::new())]
    pub(crate) allow_nan: bool,
    /// Read the result again and check it
    #[arg(long, env = "QWIP_VERIFY", value_parser = FalseyValueParser::new())]
    pub(crate) verify: bool,
    /// Threads [default: one a core]
    #[arg(short = 't', long, env = "QWIP_THREADS", value_name = "N", value_parser = parse_threads)]
    pub(crate) threads: Option<usize>,
    #[command(flatten)]
    pub(crate) split: SplitArgs,
}

#[derive(Args, Debug)]
pub(crate) struct EditArgs {
    /// The model; of a split one the first file
    #[arg(value_name = "IN.gguf")]
    pub(crate) input: PathBuf,
    /// The file to write
    #[arg(value_name = "OUT.gguf")]
    pub(crate) out: PathBuf,
    /// Set a key; a new one needs its type: KEY=str:VALUE, int:, float: or bool:
    #[arg(long, env = "QWIP_SET", value_name = "KEY=VALUE")]
    pub(crate) set: Vec<String>,
    /// Take a key out
    #[arg(long, env = "QWIP_REMOVE", value_name = "KEY")]
    pub(crate) remove: Vec<String>,
    /// File with the chat template to put in
    #[arg(long, env = "QWIP_CHAT_TEMPLATE", value_name = "FILE")]
    pub(crate) chat_template: Option<PathBuf>,
}

#[derive(Args, Debug)]
pub(crate) struct ShowArgs {
    #[command(flatten)]
    pub(crate) model: ModelArgs,
    /// Every metadata key
    #[arg(long, env = "QWIP_ALL", value_parser = FalseyValueParser::new())]
    pub(crate) all: bool,
    /// Every tensor
    #[arg(long, env = "QWIP_TENSORS", value_parser = FalseyValueParser::new())]
    pub(crate) tensors: bool,
    /// The sizes of a model of a real shape in a type or mix, for instance qwen3-235b-a22b:q4_k_m; no file is read
    #[arg(long, env = "QWIP_SYNTHETIC", value_name = "SHAPE:TYPE[:Nlayers]", conflicts_with_all = ["all", "tensors"])]
    pub(crate) synthetic: Option<String>,
    /// Print one JSON object
    #[arg(long, env = "QWIP_JSON", value_parser = FalseyValueParser::new())]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) compute: ComputeArgs,
}

#[derive(Args, Debug)]
pub(crate) struct TokenizeArgs {
    /// GGUF file, or `builtin`; left out where -m gives it
    #[arg(value_name = "MODEL")]
    pub(crate) first: Option<OsString>,
    /// The text; without one: standard input
    #[arg(value_name = "TEXT")]
    pub(crate) second: Option<OsString>,
    /// The same
    #[arg(short = 'm', long = "model", value_name = "MODEL")]
    pub(crate) model: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) hub: HubArgs,
    /// Take the text from a file (`-`: standard input)
    #[arg(short = 'f', long, env = "QWIP_FILE", value_name = "FILE")]
    pub(crate) file: Option<PathBuf>,
    /// Print the ids alone, on one line
    #[arg(long, env = "QWIP_IDS", value_parser = FalseyValueParser::new())]
    pub(crate) ids: bool,
    /// Print the prompt that the model's template makes of an OpenAI message list (with --ids: its tokens)
    #[arg(long, env = "QWIP_CHAT", value_name = "FILE.json", conflicts_with = "file")]
    pub(crate) chat: Option<PathBuf>,
    /// Read control tokens such as <|im_end|> in the text as tokens, not as text
    #[arg(long, env = "QWIP_SPECIAL", value_parser = FalseyValueParser::new())]
    pub(crate) special: bool,
    /// With --chat: whether the model is to think
    #[arg(long, env = "QWIP_THINK", value_enum, default_value_t = Think::Auto)]
    pub(crate) think: Think,
}

#[derive(Args, Debug)]
pub(crate) struct BenchArgs {
    #[command(flatten)]
    pub(crate) model: ModelArgs,
    /// A model of a real shape with random weights, for instance qwen2.5-0.5b:q4_0 or qwen3-4b:q4_k_m, or with fewer
    /// layers qwen3-30b-a3b:q4_0:4layers
    #[arg(long, env = "QWIP_SYNTHETIC", value_name = "SHAPE:TYPE[:Nlayers]")]
    pub(crate) synthetic: Option<String>,
    /// Keep the synthetic model in this file
    #[arg(long, env = "QWIP_SAVE", value_name = "FILE", requires = "synthetic")]
    pub(crate) save: Option<PathBuf>,
    /// Tokens of the prompt to measure; 0: none
    #[arg(short = 'p', long, env = "QWIP_N_PROMPT", value_name = "N", default_value_t = 512, value_parser = parse_tokens)]
    pub(crate) n_prompt: usize,
    /// New tokens to measure; 0: none
    #[arg(short = 'n', long, env = "QWIP_N_GEN", value_name = "N", default_value_t = 128, value_parser = parse_tokens)]
    pub(crate) n_gen: usize,
    /// Tokens that are in the context before each measurement
    #[arg(short = 'd', long, env = "QWIP_N_DEPTH", value_name = "N", default_value_t = 0, value_parser = parse_tokens)]
    pub(crate) n_depth: usize,
    /// How often each is measured; the median counts
    #[arg(short = 'r', long, env = "QWIP_REPETITIONS", value_name = "N", default_value_t = 5,
          value_parser = parse_repetitions)]
    pub(crate) repetitions: usize,
    /// Show too how long each step of the forward pass takes
    #[arg(long, env = "QWIP_VERBS", value_parser = FalseyValueParser::new())]
    pub(crate) verbs: bool,
    /// How the result is printed
    #[arg(short = 'o', long, env = "QWIP_OUTPUT", value_enum, default_value_t = Format::Md)]
    pub(crate) output: Format,
    #[command(flatten)]
    pub(crate) compute: ComputeArgs,
}

#[derive(ValueEnum, Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Format {
    Md,
    Json,
    Csv,
}

#[derive(Args, Debug)]
pub(crate) struct DoctorArgs {
    /// Check a model file: every tensor, every scale, and a short computation
    #[arg(long, env = "QWIP_CHECK", value_name = "MODEL")]
    pub(crate) check: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) compute: ComputeArgs,
}

fn bounded(text: &str, low: usize, high: usize) -> Result<usize, String> {
    match text.parse() {
        Ok(n) if (low..=high).contains(&n) => Ok(n),
        _ => Err(format!("expected a number from {low} to {high}")),
    }
}

fn parse_kv_type(text: &str) -> Result<KvType, String> {
    KvType::from_name(text).ok_or_else(|| "expected f16, f32 or q8_0".to_string())
}

pub(crate) fn parse_threads(text: &str) -> Result<usize, String> {
    bounded(text, 0, 1024)
}

fn parse_scale(text: &str) -> Result<f32, String> {
    text.parse().ok().filter(|scale: &f32| scale.is_finite()).ok_or_else(|| "expected a number".to_string())
}

pub(crate) fn within(text: &str, range: RangeInclusive<f32>) -> Result<f32, String> {
    let number = text.parse().ok().filter(|number| range.contains(number));
    number.ok_or_else(|| format!("expected a number from {} to {}", range.start(), range.end()))
}

pub(crate) fn parse_tokens(text: &str) -> Result<usize, String> {
    bounded(text, 0, Session::MAX_CONTEXT)
}

fn parse_batch(text: &str) -> Result<usize, String> {
    bounded(text, 1, Session::MAX_BATCH)
}

fn parse_repetitions(text: &str) -> Result<usize, String> {
    bounded(text, 1, 1000)
}

/// What is wrong with a call, on one line.
pub(crate) fn explained(error: &clap::Error) -> String {
    let text = error.render().to_string();
    let words: Vec<&str> = text
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty())
        .take_while(|line| !line.starts_with("Usage:") && !line.starts_with("For more information"))
        .collect();
    let text = words.join(" ").replace(" tip:", "; tip:");
    format!("{} (--help shows how it is called)", text.strip_prefix("error: ").unwrap_or(&text))
}

/// Gives llama.cpp's short words of several letters their long names, since `-ngl` would be read as `-n gl`.
/// The value of an option that takes free text is left alone, and so is everything after `--`.
pub(crate) fn rewrite(argv: impl IntoIterator<Item = OsString>) -> Vec<OsString> {
    const WORDS: [(&str, &str); 5] = [
        ("-ngl", "--n-gpu-layers"),
        ("-sys", "--system"),
        ("-ctk", "--cache-type-k"),
        ("-ctv", "--cache-type-v"),
        ("-hf", "--hf-repo"),
    ];
    const TAKES_TEXT: [&str; 8] =
        ["-p", "--prompt", "-q", "--query", "--task", "--system", "--system-prompt", "--stop"];
    let mut literal = false;
    let mut is_value = false;
    let mut out: Vec<OsString> = Vec::new();
    for word in argv {
        let name = word.to_str().unwrap_or_default();
        let (name, value) = name.split_once('=').map_or((name, None), |(name, value)| (name, Some(value)));
        let found = WORDS.iter().find(|(short, _)| *short == name && !literal && !is_value);
        let word = match (found, value) {
            (Some((_, long)), None) => OsString::from(long),
            (Some((_, long)), Some(value)) => OsString::from(format!("{long}={value}")),
            (None, _) => word,
        };
        literal |= word == "--" && !is_value;
        is_value = !is_value && TAKES_TEXT.iter().any(|option| word == *option);
        out.push(word);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    fn check_environment(command: &clap::Command) {
        for arg in command.get_arguments().filter(|a| !a.is_positional()) {
            let long = arg.get_long().unwrap_or_else(|| panic!("{} has no long name", arg.get_id()));
            if ["help", "version", "model"].contains(&long) {
                continue;
            }
            let want = format!("QWIP_{}", long.to_uppercase().replace('-', "_"));
            let found = arg.get_env().map(|name| name.to_string_lossy().into_owned());
            assert_eq!(found, Some(want), "{} --{long}", command.get_name());
        }
        command.get_subcommands().filter(|c| c.get_name() != "help").for_each(check_environment);
    }

    #[test]
    fn the_definition_is_sound_and_every_flag_is_in_the_environment() {
        let command = Cli::command();
        command.clone().debug_assert();
        check_environment(&command);
    }

    fn rewritten(words: &[&str]) -> Vec<String> {
        let words = words.iter().map(OsString::from);
        rewrite(words).into_iter().map(|w| w.into_string().unwrap()).collect()
    }

    #[test]
    fn words_of_several_letters_become_long_flags_but_values_stay() {
        assert_eq!(
            rewritten(&["qwip", "run", "-ngl", "99", "-ctk=q8_0", "-n", "4"]),
            ["qwip", "run", "--n-gpu-layers", "99", "--cache-type-k=q8_0", "-n", "4"]
        );
        assert_eq!(rewritten(&["-p", "-sys", "-sys", "-hf"]), ["-p", "-sys", "--system", "-hf"]);
        assert_eq!(rewritten(&["--", "-hf"]), ["--", "-hf"]);
        assert_eq!(rewritten(&["-p", "--", "-ctv"]), ["-p", "--", "--cache-type-v"]);
    }

    #[test]
    fn llama_cpp_letters_mean_what_they_mean_there() {
        let line =
            "qwip run m.gguf -p hi -n -1 -c 64 -t 2 -b 8 -s 7 --temp 0 --top-k 3 -ngl 99 -ctv f32 -sys x";
        let cli = Cli::try_parse_from(rewrite(line.split(' ').map(OsString::from))).unwrap();
        let Some(Command::Run(run)) = cli.command else { panic!("not run") };
        assert_eq!(run.model.positional, Some("m.gguf".into()));
        assert_eq!((run.answer.predict, run.compute.ctx_size, run.compute.threads), (Some(-1), Some(64), 2));
        assert_eq!((run.compute.n_gpu_layers, run.compute.cache_type_v), (Some(99), KvType::F32));
        assert_eq!((run.sampling.seed, run.answer.system.as_deref()), (Some(7), Some("x")));
    }
}
