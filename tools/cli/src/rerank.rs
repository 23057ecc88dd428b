//! `qwip rerank`: documents in the order in which they answer a query.

use std::path::PathBuf;

use anyhow::Context;
use clap::Args;
use clap::builder::FalseyValueParser;
use qwip::Reranker;
use serde_json::json;

use crate::args::{ComputeArgs, ModelArgs};
use crate::embed::texts;
use crate::interrupt;
use crate::model_arg::{self, Opened};
use crate::output::line;

#[derive(Args, Debug)]
pub(crate) struct RerankArgs {
    #[command(flatten)]
    pub(crate) model: ModelArgs,
    /// What is looked for
    #[arg(short = 'q', long, env = "QWIP_QUERY", value_name = "TEXT", allow_hyphen_values = true)]
    pub(crate) query: String,
    /// A document (may be given several times)
    #[arg(short = 'p', long, env = "QWIP_PROMPT", value_name = "TEXT", allow_hyphen_values = true)]
    pub(crate) prompt: Vec<String>,
    /// Take the documents from a file, one from each line (`-`: standard input)
    #[arg(short = 'f', long, env = "QWIP_FILE", value_name = "FILE", conflicts_with = "prompt")]
    pub(crate) file: Option<PathBuf>,
    /// What a document is good for, in place of finding passages that answer a web search
    #[arg(long, env = "QWIP_TASK", value_name = "TEXT", allow_hyphen_values = true)]
    pub(crate) task: Option<String>,
    /// Print one JSON object: model, results
    #[arg(long, env = "QWIP_JSON", value_parser = FalseyValueParser::new())]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) compute: ComputeArgs,
}

pub(crate) fn run(args: &RerankArgs) -> anyhow::Result<()> {
    let documents = texts(&args.prompt, args.file.as_deref(), "document")?;
    let opened = Opened::new(&model_arg::choose(&args.model)?, &args.compute)?;
    let (session, tokenizer) = (opened.session(None)?, opened.tokenizer()?);
    let mut reranker =
        Reranker::new(session, tokenizer, args.task.as_deref()).with_context(|| opened.name.clone())?;
    let armed = interrupt::arm();
    let mut scores = Vec::with_capacity(documents.len());
    for (i, document) in documents.iter().enumerate() {
        let score = reranker.score(&args.query, document, interrupt::flag());
        scores.push((i, score.with_context(|| format!("document {}", i + 1))?));
    }
    drop(armed);
    // Equals stay in the order in which they were given.
    scores.sort_by(|(_, a), (_, b)| b.score.total_cmp(&a.score));
    if args.json {
        let results = scores.iter().map(
            |(index, score)| json!({"index": index, "relevance_score": score.score, "tokens": score.tokens}),
        );
        return line(json!({"model": opened.name, "results": results.collect::<Vec<_>>()}));
    }
    for (index, score) in scores {
        line(format_args!("{:.6}  {}", score.score, documents[index]))?;
    }
    Ok(())
}
