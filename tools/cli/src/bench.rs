//! `qwip bench`: tokens a second in the prompt (pp) and in the answer (tg), beside what memory could do.

use std::time::Instant;

use anyhow::{anyhow, bail};
use qwip::file::TensorRef;
use qwip::sample::Rng;
use qwip::{CONTRACT_VERSION, Session, VerbTimes};
use serde_json::{Map, json};

use crate::args::{BenchArgs, Format};
use crate::device::Device;
use crate::machine::Bandwidth;
use crate::model_arg::Opened;
use crate::output::{bytes, count, line, note, usage};
use crate::{device, interrupt, machine, model_arg, synthetic};

pub(crate) fn run(args: &BenchArgs) -> anyhow::Result<()> {
    if args.n_prompt == 0 && args.n_gen == 0 {
        return Err(usage("-p 0 -n 0 leaves nothing to measure"));
    }
    let needed = positions(args)?;
    let _armed = interrupt::arm();
    let made = match &args.synthetic {
        Some(_) if args.model.model.is_some() || args.model.positional.is_some() => {
            return Err(usage("give a MODEL or --synthetic, not both"));
        }
        Some(description) => Some(synthetic::make(description, args.save.as_deref())?),
        None => None,
    };
    let path = match &made {
        Some(made) => made.path.clone(),
        None => model_arg::choose(&args.model)?,
    };
    let mut compute = args.compute.clone();
    if args.verbs && compute.device == Device::Auto {
        // Only its steps are timed one by one.
        compute.device = Device::Cpu;
    }
    let mut opened = Opened::new(&path, &compute)?;
    if let Some(description) = &args.synthetic {
        opened.name = format!("synthetic {description}");
    }
    let report = measure(&opened, args, needed)?;
    match args.output {
        Format::Md => report.markdown(),
        Format::Json => line(report.json()),
        Format::Csv => report.csv(),
    }
}

/// Tokens a second of one test.
struct Rate {
    tokens: usize,
    runs: Vec<f64>,
    /// What the verbs took in all runs, if asked for.
    verbs: Option<VerbTimes>,
}

impl Rate {
    fn median(&self) -> f64 {
        let mut sorted = self.runs.clone();
        sorted.sort_by(f64::total_cmp);
        let middle = sorted.len() / 2;
        match sorted.len() % 2 {
            1 => sorted[middle],
            _ => (sorted[middle - 1] + sorted[middle]) / 2.0,
        }
    }

    /// Half the distance between the slowest and the fastest run.
    fn spread(&self) -> f64 {
        let fold = |start: f64, f: fn(f64, f64) -> f64| self.runs.iter().copied().fold(start, f);
        (fold(f64::MIN, f64::max) - fold(f64::MAX, f64::min)) / 2.0
    }
}

/// A line of the result.
struct Row<'a> {
    /// As llama-bench writes it: `pp512`, `tg128 @ d4096`.
    test: String,
    rate: &'a Rate,
    /// GB/s of weights while answering.
    speed: Option<f64>,
    /// Percent of what limits the test: the integer peak for a prompt, the memory bandwidth for an answer.
    percent: Option<f64>,
}

/// What bounds the speed, where one device does all.
#[derive(Default)]
struct Limits {
    /// Bytes of memory a second, and how that was measured.
    memory: Option<(f64, String)>,
    /// Byte multiplications and additions a second.
    integer: Option<f64>,
}

impl Limits {
    /// Those of what the session computes with.
    fn of(session: &Session) -> anyhow::Result<Limits> {
        let Some(layers) = session.device() else {
            let Bandwidth { rate, region, streams } = machine::bandwidth(session.cpu().pool.threads())?;
            let how = format!("{}, streams a thread: {streams}, best of 5", bytes(region));
            return Ok(Limits { memory: Some((rate, how)), integer: machine::integer_peak(session.cpu()) });
        };
        if layers.first_layer() > 0 || !layers.has_output() {
            return Ok(Limits::default());
        }
        let rate = layers.gpu().bandwidth().map_err(|error| anyhow!("{error}"))?;
        Ok(Limits { memory: Some((rate, "copies from buffer to buffer, best of 5".into())), integer: None })
    }
}

struct Report {
    model: String,
    title: String,
    parameters: u64,
    file_bytes: u64,
    /// Bytes of weights that every new token reads.
    weights: u64,
    threads: usize,
    isa: &'static str,
    /// Where it was computed.
    place: serde_json::Value,
    /// The GPU's programming interface, if layers are there.
    backend: Option<String>,
    cache: String,
    depth: usize,
    batch: usize,
    pp: Option<Rate>,
    tg: Option<Rate>,
    limits: Limits,
    /// Multiplications and additions of matrices that a token of a prompt takes.
    operations: u64,
}

/// Positions that the longest measurement reaches.
fn positions(args: &BenchArgs) -> anyhow::Result<usize> {
    // Each of them is at most the largest context, so the sum does not overflow.
    let tokens = args.n_prompt.max(args.n_gen);
    let needed = args.n_depth + tokens;
    let context = args.compute.ctx_size.filter(|&context| context != 0).unwrap_or(Session::MAX_CONTEXT);
    if needed > context {
        return Err(usage(format!("-d {} and {tokens} tokens do not fit -c {context}", args.n_depth)));
    }
    Ok(needed)
}

fn measure(opened: &Opened, args: &BenchArgs, needed: usize) -> anyhow::Result<Report> {
    let file = opened.model.file();
    let threads = opened.cpu.pool.threads();
    let mut session = opened.session(Some(needed))?;
    let limits = Limits::of(&session)?;
    let backend = session.device().map(|layers| layers.gpu().report().backend.clone());
    let mut place = json!({});
    device::add_to(&mut place, &session);
    if args.verbs && backend.is_some() {
        return Err(usage("--verbs is for the CPU alone: add --device cpu"));
    }
    let vocab = opened.model.config().vocab as u64;
    let mut rng = Rng::new(1);
    let tokens: Vec<u32> = (0..needed).map(|_| (rng.next_u64() % vocab) as u32).collect();
    let (depth, rest) = tokens.split_at(args.n_depth);
    extend(&mut session, depth)?;

    let pp = match args.n_prompt {
        0 => None,
        n => Some(rate(&mut session, &rest[..n], n, args)?),
    };
    let tg = match args.n_gen {
        0 => None,
        // Its tokens see those behind them, so they come together.
        _ if !opened.model.config().causal => {
            note(format_args!("qwip: note: {} gives no answers, so only prompts are measured", opened.name));
            None
        }
        n => Some(rate(&mut session, &rest[..n], 1, args)?),
    };
    if backend.is_some() && session.device().is_none() {
        bail!("the GPU failed while it was measured");
    }
    let elements = |dims: &[u64]| dims.iter().product::<u64>();
    // Of a tensor with a matrix for each expert, a token uses those of its experts.
    let used = |t: &TensorRef, all: u64| match (&t.info.dims[..], opened.model.config().experts) {
        (&[_, _, count], Some(experts)) => all / count.max(1) * experts.routing.used as u64,
        _ => all,
    };
    // Only the last token of a prompt goes through the output matrix.
    let in_layer = |t: &TensorRef| t.info.name.starts_with("blk.") && t.info.dims.len() >= 2;
    let layers = file.tensors().filter(in_layer).map(|t| used(&t, elements(&t.info.dims))).sum::<u64>();
    Ok(Report {
        model: opened.name.clone(),
        title: opened.title(),
        parameters: file.tensors().map(|t| elements(&t.info.dims)).sum(),
        file_bytes: file.len(),
        weights: opened.estimate(Some(needed))?.weights_per_token,
        threads,
        isa: opened.cpu.kernels.isa.name(),
        place,
        backend,
        cache: format!("{}/{}", args.compute.cache_type_k.name(), args.compute.cache_type_v.name()),
        depth: args.n_depth,
        batch: session.batch(),
        pp,
        tg,
        limits,
        operations: 2 * layers,
    })
}

fn extend(session: &mut Session, tokens: &[u32]) -> anyhow::Result<()> {
    match tokens {
        [] => Ok(()),
        // As in an answer: a GPU does not hand out all logits of each token.
        &[token] if session.device().is_some() => {
            Ok(session.extend_greedily(token, interrupt::flag()).map(drop)?)
        }
        tokens => Ok(session.extend(tokens, interrupt::flag(), &mut |_| {})?),
    }
}

/// Evaluates `tokens` in calls of `step` after what the session holds, once to warm up and then as often as asked.
fn rate(session: &mut Session, tokens: &[u32], step: usize, args: &BenchArgs) -> anyhow::Result<Rate> {
    let depth = session.tokens().len();
    let warm_up = if step == 1 { &tokens[..tokens.len().min(4)] } else { tokens };
    for part in warm_up.chunks(step) {
        extend(session, part)?;
    }
    if args.verbs {
        session.time_verbs();
    }
    let mut runs = Vec::with_capacity(args.repetitions);
    for _ in 0..args.repetitions {
        session.truncate(depth);
        let started = Instant::now();
        for part in tokens.chunks(step) {
            extend(session, part)?;
        }
        runs.push(tokens.len() as f64 / started.elapsed().as_secs_f64().max(1e-9));
    }
    session.truncate(depth);
    Ok(Rate { tokens: tokens.len(), runs, verbs: session.verb_times().copied() })
}

impl Report {
    /// Bytes of weights read in a second while answering.
    fn weight_rate(&self) -> Option<f64> {
        Some(self.tg.as_ref()?.median() * self.weights as f64)
    }

    fn memory_percent(&self) -> Option<f64> {
        Some(100.0 * self.weight_rate()? / self.limits.memory.as_ref()?.0)
    }

    fn integer_percent(&self) -> Option<f64> {
        Some(100.0 * self.pp.as_ref()?.median() * self.operations as f64 / self.limits.integer?)
    }

    /// The CPU's kernels, the GPU's programming interface, or both where they share the layers.
    fn kernels(&self) -> String {
        match (&self.backend, self.limits.memory.is_some()) {
            (None, _) => self.isa.into(),
            (Some(backend), true) => backend.clone(),
            (Some(backend), false) => format!("{} + {backend}", self.isa),
        }
    }

    /// Bytes a second that memory allows.
    fn memory_rate(&self) -> Option<f64> {
        self.limits.memory.as_ref().map(|(rate, _)| *rate)
    }

    fn rows(&self) -> Vec<Row<'_>> {
        let at = if self.depth > 0 { format!(" @ d{}", self.depth) } else { String::new() };
        let name = |kind: &str, rate: &Rate| format!("{kind}{}{at}", rate.tokens);
        let pp = self.pp.iter().map(|rate| {
            let percent = self.integer_percent();
            Row { test: name("pp", rate), rate, speed: None, percent }
        });
        let tg = self.tg.iter().map(|rate| {
            let (speed, percent) = (self.weight_rate().map(|rate| rate / 1e9), self.memory_percent());
            Row { test: name("tg", rate), rate, speed, percent }
        });
        pp.chain(tg).collect()
    }

    /// A table of milliseconds a token and percent for each verb.
    fn verbs(&self) -> anyhow::Result<()> {
        for (row, runs) in self.rows().iter().map(|row| (row, row.rate.runs.len())) {
            let Some(times) = &row.rate.verbs else { continue };
            let total: f64 = times.iter().map(|(_, seconds)| seconds).sum();
            line("")?;
            line(format_args!("| {} | ms a token | share |", row.test))?;
            line("|---|--:|--:|")?;
            for (verb, seconds) in times.iter() {
                let each = 1e3 * seconds / (row.rate.tokens * runs) as f64;
                line(format_args!("| {verb} | {each:.4} | {:.1} % |", 100.0 * seconds / total.max(1e-9)))?;
            }
        }
        Ok(())
    }

    fn markdown(&self) -> anyhow::Result<()> {
        line("| model | size | params | kernels | threads | cache | test | t/s | GB/s | of the limit |")?;
        line("|---|--:|--:|---|--:|---|---|--:|--:|--:|")?;
        for Row { test, rate, speed, percent } in self.rows() {
            let gb = speed.map_or(String::new(), |gb| format!("{gb:.2}"));
            let percent = percent.map_or(String::new(), |percent| format!("{percent:.0} %"));
            line(format_args!(
                "| {} | {} | {} | {} | {} | {} | {test} | {:.2} ± {:.2} | {gb} | {percent} |",
                self.title,
                bytes(self.file_bytes),
                count(self.parameters),
                self.kernels(),
                self.threads,
                self.cache,
                rate.median(),
                rate.spread()
            ))?;
        }
        let mut about = Vec::new();
        if self.backend.is_some() {
            let words = |key: &str| self.place[key].to_string().replace('"', "");
            about.push(format!("Computed on {}, layers there: {}.", words("device"), words("gpu_layers")));
        }
        if let Some((rate, how)) = &self.limits.memory {
            let peak = self.limits.integer;
            let products =
                peak.map_or(String::new(), |peak| format!(", byte products {:.0} Gop/s", peak / 1e9));
            about.push(format!("Limits: memory {:.2} GB/s ({how}){products}.", rate / 1e9));
        }
        about.push(format!("qwip {}, number contract {CONTRACT_VERSION}.", env!("CARGO_PKG_VERSION")));
        line("")?;
        line(about.join(" "))?;
        self.verbs()
    }

    fn json(&self) -> serde_json::Value {
        let median = |rate: &Option<Rate>| rate.as_ref().map(Rate::median);
        let runs = |rate: &Option<Rate>| rate.as_ref().map(|rate| rate.runs.clone());
        let tokens = |rate: &Option<Rate>| rate.as_ref().map_or(0, |rate| rate.tokens);
        let verbs = |rate: &Option<Rate>| {
            let times = rate.as_ref()?.verbs.as_ref()?;
            Some(
                times.iter().map(|(verb, seconds)| (verb.to_string(), seconds.into())).collect::<Map<_, _>>(),
            )
        };
        let mut object = json!({
            "model": self.model,
            "name": self.title,
            "parameters": self.parameters,
            "file_bytes": self.file_bytes,
            "weight_bytes": self.weights,
            "threads": self.threads,
            "processor": machine::processor(),
            "isa": self.isa,
            "version": env!("CARGO_PKG_VERSION"),
            "cache": self.cache,
            "batch": self.batch,
            "depth": self.depth,
            "n_prompt": tokens(&self.pp),
            "n_gen": tokens(&self.tg),
            "pp": median(&self.pp),
            "tg": median(&self.tg),
            "pp_runs": runs(&self.pp),
            "tg_runs": runs(&self.tg),
            "tg_gb_per_s": self.weight_rate().map(|rate| rate / 1e9),
            "memory_gb_per_s": self.memory_rate().map(|rate| rate / 1e9),
            "memory_percent": self.memory_percent(),
            "integer_gop_per_s": self.limits.integer.map(|peak| peak / 1e9),
            "integer_percent": self.integer_percent(),
            "pp_verbs": verbs(&self.pp),
            "tg_verbs": verbs(&self.tg),
        });
        for (key, value) in self.place.as_object().into_iter().flatten() {
            object[key] = value.clone();
        }
        object
    }

    fn csv(&self) -> anyhow::Result<()> {
        line(
            "model,isa,threads,cache,test,tokens_per_second,spread,weight_bytes,gb_per_s,memory_gb_per_s,integer_gop_per_s,percent_of_limit",
        )?;
        let number = |value: Option<f64>| value.map_or(String::new(), |value| format!("{value:.3}"));
        for Row { test, rate, speed, percent } in self.rows() {
            line(format_args!(
                "\"{}\",{},{},{},{test},{:.3},{:.3},{},{},{},{},{}",
                self.model.replace('"', "\"\""),
                self.kernels(),
                self.threads,
                self.cache,
                rate.median(),
                rate.spread(),
                self.weights,
                number(speed),
                number(self.memory_rate().map(|rate| rate / 1e9)),
                number(self.limits.integer.map(|peak| peak / 1e9)),
                number(percent),
            ))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_of_runs_counts() {
        let rate = |runs: &[f64]| Rate { tokens: 1, runs: runs.to_vec(), verbs: None };
        assert_eq!(rate(&[3.0, 1.0, 2.0]).median(), 2.0);
        assert_eq!(rate(&[4.0, 1.0, 2.0, 3.0]).median(), 2.5);
        assert_eq!(rate(&[4.0, 1.0, 2.0, 3.0]).spread(), 1.5);
    }
}
