//! `qwip rerank`: documents in the order in which they answer a query.

use anyhow::Context;
use qwip::Reranker;
use serde_json::json;

use crate::args::RerankArgs;
use crate::embed::texts;
use crate::interrupt;
use crate::model_arg::{self, Opened};
use crate::output::line;

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
