//! What a model is for besides answers: embeddings, or judging documents.

use qwip_quant::gguf::Gguf;
use qwip_quant::pooling::{Pooling, RERANK_LABELS};

use super::Model;
use super::config::Config;
use super::weights::{Linear, Loader};
use crate::error::{Error, Result};
use crate::file::ModelFile;

/// Something that one kind of model does and another cannot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Task {
    /// Continue a text.
    Generate,
    /// Turn a text into a vector.
    Embed,
    /// Judge a document by a query.
    Rerank,
}

/// The rows that stand in place of a reranker's output projection.
#[derive(Clone, Debug)]
pub struct Judge {
    /// One row for each answer.
    pub rows: Linear, // [2, embedding]
    /// Which of them is "yes", and which "no".
    pub yes_no: [usize; 2],
}

/// `{arch}.pooling_type`.
pub(super) fn read(header: &Gguf, arch: &str) -> Result<Option<Pooling>> {
    let key = format!("{arch}.pooling_type");
    let Some(id) = header.u64(&key)? else { return Ok(None) };
    match Pooling::from_id(id) {
        Some(pooling) => Ok(Some(pooling)),
        None => {
            let known = Pooling::ALL.map(|pooling| format!("{} ({})", pooling as u8, pooling.name()));
            Err(Error::BadValue { key, found: id.to_string(), want: format!("one of {}", known.join(", ")) })
        }
    }
}

impl Judge {
    /// The rows of `cls.output.weight`, if the file has them, with the labels that the metadata gives them.
    pub(super) fn load(
        loader: &Loader<'_>,
        file: &ModelFile,
        arch: &str,
        c: &Config,
    ) -> Result<Option<Judge>> {
        if !loader.has("cls.output.weight") {
            return Ok(None);
        }
        let rows = loader.linear("cls.output", RERANK_LABELS.len(), c.embedding)?;
        let key = format!("{arch}.classifier.output_labels");
        let Some(labels) = file.header().array(&key)? else {
            return Ok(Some(Judge { rows, yes_no: [0, 1] }));
        };
        let labels: Vec<&[u8]> = labels.strings((*file.parts()[0].bytes).as_ref())?.take(3).collect();
        let find = |label: &str| labels.iter().position(|found| *found == label.as_bytes());
        match RERANK_LABELS.map(find) {
            [Some(yes), Some(no)] if labels.len() == 2 => Ok(Some(Judge { rows, yes_no: [yes, no] })),
            _ => {
                let labels: Vec<_> = labels.into_iter().map(String::from_utf8_lossy).collect();
                let (found, want) = (format!("{labels:?}"), format!("{RERANK_LABELS:?} in either order"));
                Err(Error::BadValue { key, found, want })
            }
        }
    }
}

impl Model {
    /// Whether the model is for this task.
    ///
    /// # Errors
    /// [`Error::OtherTask`]: a reranker can do nothing else, an embedding model cannot judge, and where every token sees
    /// all others no text can be continued.
    pub fn allows(&self, task: Task) -> Result<()> {
        let asked = match task {
            Task::Generate => "answer",
            Task::Embed => "embed",
            Task::Rerank => "judge documents",
        };
        let other = |key: &str, value: String, kind| {
            Err(Error::OtherTask { key: format!("{}.{key}", self.architecture), value, kind, asked })
        };
        match (self.pooling, task) {
            (Some(Pooling::Rank), Task::Generate | Task::Embed) => {
                other("pooling_type", "4 (rank)".into(), "a reranker (for qwip rerank)")
            }
            (Some(pooling @ (Pooling::Mean | Pooling::Cls | Pooling::Last)), Task::Rerank) => {
                let value = format!("{} ({})", pooling as u8, pooling.name());
                other("pooling_type", value, "an embedding model (for qwip embed)")
            }
            (_, Task::Generate | Task::Rerank) if !self.config.causal => {
                other("attention.causal", "false".into(), "a model whose tokens see those behind them")
            }
            _ => Ok(()),
        }
    }
}
