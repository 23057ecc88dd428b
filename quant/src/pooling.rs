//! What a model is for besides answers: how the states of a text's tokens become one vector (`{arch}.pooling_type`), and
//! how a document is judged.

/// `{arch}.pooling_type`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Pooling {
    /// Each token keeps its own.
    None = 0,
    /// Their mean.
    Mean = 1,
    /// That of the first token.
    Cls = 2,
    /// That of the last token.
    Last = 3,
    /// That of the last token, judged: a reranker.
    Rank = 4,
}

impl Pooling {
    /// All of them, in the order of their ids.
    pub const ALL: [Pooling; 5] = [Pooling::None, Pooling::Mean, Pooling::Cls, Pooling::Last, Pooling::Rank];

    /// The pooling with an id, if there is one.
    pub fn from_id(id: u64) -> Option<Pooling> {
        Self::ALL.into_iter().find(|pooling| *pooling as u64 == id)
    }

    /// The pooling with a name, as [`Pooling::name`] gives it.
    pub fn from_name(name: &str) -> Option<Pooling> {
        Self::ALL.into_iter().find(|pooling| pooling.name() == name)
    }

    /// What llama.cpp calls it.
    pub const fn name(self) -> &'static str {
        match self {
            Pooling::None => "none",
            Pooling::Mean => "mean",
            Pooling::Cls => "cls",
            Pooling::Last => "last",
            Pooling::Rank => "rank",
        }
    }
}

/// What a reranker answers, in the order of the rows of `cls.output.weight`.
pub const RERANK_LABELS: [&str; 2] = ["yes", "no"];

/// The task of [`RERANK_TEMPLATE`].
pub const RERANK_TASK: &str = "Given a web search query, retrieve relevant passages that answer the query";

/// What Qwen3-Reranker is asked: the prompt of its model card, without tokens of its own at either end.
/// `{query}` and `{document}` stand for the texts.
pub const RERANK_TEMPLATE: &str = "<|im_start|>system\nJudge whether the Document meets the requirements based on the Query \
    and the Instruct provided. Note that the answer can only be \"yes\" or \"no\".<|im_end|>\n<|im_start|>user\n<Instruct>: \
    Given a web search query, retrieve relevant passages that answer the query\n<Query>: {query}\n<Document>: \
    {document}<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\n";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_and_names() {
        for (id, pooling) in Pooling::ALL.into_iter().enumerate() {
            assert_eq!(Pooling::from_id(id as u64), Some(pooling));
            assert_eq!(Pooling::from_name(pooling.name()), Some(pooling));
        }
        assert_eq!((Pooling::from_id(5), Pooling::from_name("max")), (None, None));
    }

    #[test]
    fn the_task_is_part_of_the_template() {
        assert_eq!(RERANK_TEMPLATE.matches(RERANK_TASK).count(), 1);
        assert!(!RERANK_TEMPLATE.contains("  "));
    }
}
