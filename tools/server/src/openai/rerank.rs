//! `/v1/rerank`, in the shape that Jina and Cohere share.

use std::sync::Arc;

use axum::extract::State as Shared;
use axum::response::{IntoResponse, Response};
use qwip::chat::random_name;
use qwip::model::Task;
use serde_json::{Value, json};

use crate::chat::Usage;
use crate::engine::Failure;
use crate::fields::Fields;
use crate::http::{JsonBody, Record, State};

/// Most documents of one request.
const MOST_DOCUMENTS: usize = 2048;

struct Wanted {
    model: String,
    query: String,
    documents: Vec<String>,
    top_n: usize,
    return_documents: bool,
}

pub(super) async fn rerank(
    Shared(state): Shared<Arc<State>>,
    record: Record,
    body: JsonBody,
) -> Result<Response, Failure> {
    let Wanted { model, query, documents, top_n, return_documents } = parse(&body.value)?;
    drop(body);
    let lease = super::lease_for(&state.models, &model, Task::Rerank).await?;
    record.model(lease.name());
    let scores = lease.rerank(query, documents.clone()).await?;
    let prompt_tokens = scores.iter().map(|score| score.tokens).sum();
    record.usage(Usage { prompt_tokens, ..Usage::default() });
    let mut scores: Vec<(usize, f64)> = scores.iter().map(|score| score.score).enumerate().collect();
    // Equals stay in the order in which they were given.
    scores.sort_by(|(_, a), (_, b)| b.total_cmp(a));
    let result = |&(index, score): &(usize, f64)| {
        let mut result = json!({"index": index, "relevance_score": score});
        if return_documents {
            result["document"] = json!({"text": documents.get(index)});
        }
        result
    };
    let object = json!({
        "id": format!("rerank-{}", random_name(24)),
        "object": "list",
        "model": lease.name(),
        "results": scores.iter().take(top_n).map(result).collect::<Vec<_>>(),
        "usage": {"prompt_tokens": prompt_tokens, "total_tokens": prompt_tokens},
    });
    Ok(axum::Json(object).into_response())
}

fn parse(value: &Value) -> Result<Wanted, Failure> {
    let body = Fields::body(value)?;
    let query = body.need("query", body.text("query")?)?.to_owned();
    body.need("documents", body.get("documents"))?;
    let list = body.list("documents")?;
    if list.is_empty() {
        return Err(body.bad("documents", "is empty"));
    }
    if list.len() > MOST_DOCUMENTS {
        let count = list.len();
        return Err(
            body.bad("documents", format_args!("has {count} texts, at most {MOST_DOCUMENTS} are taken"))
        );
    }
    let document = |(i, document): (usize, &Value)| match document {
        Value::String(text) => Ok(text.clone()),
        other => {
            let document = body.entry("documents", i, other)?;
            Ok(document.need("text", document.text("text")?)?.to_owned())
        }
    };
    Ok(Wanted {
        model: body.text("model")?.unwrap_or_default().to_owned(),
        query,
        documents: list.iter().enumerate().map(document).collect::<Result<_, Failure>>()?,
        top_n: body.count("top_n")?.unwrap_or(usize::MAX),
        return_documents: body.flag("return_documents")?.unwrap_or(false),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn documents_are_texts_or_objects_with_one() {
        let wanted =
            parse(&json!({"query": "q", "documents": ["a", {"text": "b", "id": 1}], "top_n": 1})).unwrap();
        assert_eq!((wanted.documents, wanted.top_n), (vec!["a".to_owned(), "b".to_owned()], 1));
        for (body, param) in [
            (json!({"documents": ["a"]}), "query"),
            (json!({"query": "q"}), "documents"),
            (json!({"query": "q", "documents": []}), "documents"),
            (json!({"query": "q", "documents": "a"}), "documents"),
            (json!({"query": "q", "documents": [1]}), "documents[0]"),
            (json!({"query": "q", "documents": [{}]}), "documents[0].text"),
            (json!({"query": "q", "documents": ["a"], "top_n": -1}), "top_n"),
        ] {
            assert_eq!(parse(&body).err().and_then(|failure| failure.param).as_deref(), Some(param));
        }
    }
}
