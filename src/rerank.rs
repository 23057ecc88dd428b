//! How well documents answer a query: a model that is asked and could only say "yes" or "no".

use std::sync::Arc;

use qwip_cpu::fpenv::IeeeDefaults;
use qwip_quant::decode_row;
use qwip_quant::pooling::{RERANK_LABELS, RERANK_TASK, RERANK_TEMPLATE};

use crate::backend::LogitRows;
use crate::chat::{Guarded, Message};
use crate::embed::end_of_step;
use crate::error::{Error, Result};
use crate::model::{Linear, Model, Task};
use crate::session::{Cancel, Session};
use crate::tokenizer::Tokenizer;

/// A session that judges one document after the other. What their prompts share is computed once.
pub struct Reranker {
    session: Session,
    tokenizer: Arc<Tokenizer>,
    template: Template,
    rows: [Row; 2],
    text: Vec<u32>,
}

/// How a document was judged.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Score {
    /// The share of "yes" of "yes" and "no": from 0 to 1.
    pub score: f64,
    /// Tokens of the prompt.
    pub tokens: usize,
}

/// What is computed of a state: a row of the output projection.
struct Row {
    weights: Vec<f32>, // [embedding]
    bias: f32,
}

impl Reranker {
    /// A reranker whose session has room for a prompt. With a `task` the prompt of Qwen3-Reranker names that; otherwise it
    /// is the file's own (`tokenizer.chat_template.rerank`), or that of Qwen3-Reranker.
    ///
    /// # Errors
    /// [`Error::OtherTask`] if the model is for embeddings, [`Error::BadValue`] if the file's template does not have
    /// `{query}` before `{document}`, or its vocabulary no "yes" or "no" where it needs them.
    pub fn new(
        session: Session,
        tokenizer: impl Into<Arc<Tokenizer>>,
        task: Option<&str>,
    ) -> Result<Reranker> {
        let _ieee = IeeeDefaults::enter();
        let tokenizer = tokenizer.into();
        let model = session.model();
        model.allows(Task::Rerank)?;
        let template = Template::of(model, task)?;
        let rows = match model.judge() {
            Some(judge) => judge.yes_no.map(|row| Row::read(model, &judge.rows, row)),
            None => {
                let [yes, no] = RERANK_LABELS.map(|label| token(model, &tokenizer, label));
                [yes?, no?].map(|id| Row::read(model, model.output(), id))
            }
        };
        let [yes, no] = rows;
        Ok(Reranker { rows: [yes?, no?], session, tokenizer, template, text: Vec::new() })
    }

    /// How well `document` answers `query`. Neither can spell control tokens.
    ///
    /// # Errors
    /// As [`Session::extend`]; [`Error::Chat`] if the texts leave no character to keep them apart with.
    pub fn score(&mut self, query: &str, document: &str, cancel: &Cancel) -> Result<Score> {
        self.begin(query, document)?;
        loop {
            if let Some(score) = self.step(usize::MAX, cancel)? {
                return Ok(score);
            }
        }
    }

    /// Begins with a document, which [`step`](Reranker::step) evaluates; one that is not done yet is given up. The tokens of
    /// the whole prompt: what they share with the one before is not evaluated again.
    ///
    /// # Errors
    /// [`Error::PromptTooLong`], [`Error::NotAtOnce`], [`Error::Chat`] if the texts leave no character to keep them apart
    /// with; there is no prompt then.
    pub fn begin(&mut self, query: &str, document: &str) -> Result<usize> {
        self.text.clear();
        let task = self.template.task.as_deref();
        let texts: Vec<Message> = task.into_iter().chain([query, document]).map(Message::user).collect();
        let guarded = Guarded::new(&self.tokenizer, &texts, &[])?;
        let mut fixed = self.template.fixed.iter();
        let mut prompt = fixed.next().cloned().unwrap_or_default();
        for (text, fixed) in guarded.messages().iter().zip(fixed) {
            prompt.push_str(text.content().unwrap_or_default());
            prompt.push_str(fixed);
        }
        let tokens = guarded.encode(&self.tokenizer, &prompt);

        self.session.fits(0, &tokens)?;
        let keep = self.session.shares(&tokens);
        self.session.truncate(keep);
        self.text = tokens;
        Ok(self.text.len())
    }

    /// Evaluates at most `most` tokens more of the prompt, at least one; all of it where every token sees all others. The
    /// score, once that is all; the same however it is cut.
    ///
    /// # Errors
    /// As [`Session::extend`], [`Error::EmptyPrompt`] if there is no prompt or no more of it. The step can be taken again.
    pub fn step(&mut self, most: usize, cancel: &Cancel) -> Result<Option<Score>> {
        let _ieee = IeeeDefaults::enter();
        let Reranker { session, text, rows: [yes, no], .. } = self;
        let (at, end) = (session.tokens().len(), end_of_step(session, text, most));
        let rows = if end < text.len() { LogitRows::None } else { LogitRows::Last };
        let mut answers = [0.0; 2];
        let tokens = text.get(at..end).unwrap_or_default();
        session.extend_with_states(tokens, rows, cancel, &mut |state| {
            answers = [yes.of(state), no.of(state)];
        })?;
        if end < text.len() {
            return Ok(None);
        }
        let [yes, no] = answers;
        if !(yes.is_finite() && no.is_finite()) {
            return Err(Error::NonFiniteLogits { position: end - 1 });
        }
        Ok(Some(Score { score: 1.0 / (1.0 + libm::exp(no - yes)), tokens: end }))
    }

    /// The session; it holds what has been evaluated of a prompt.
    pub fn session(&self) -> &Session {
        &self.session
    }

    /// The session, for something else.
    pub fn into_session(self) -> Session {
        self.session
    }
}

impl Row {
    fn read(model: &Model, linear: &Linear, row: usize) -> Result<Row> {
        let matrix = linear.weight.matrix(model.file());
        let mut weights = vec![0.0; matrix.cols];
        decode_row(matrix.ty, matrix.row(row), &mut weights)
            .map_err(|source| Error::TensorData { name: linear.weight.name.clone(), source })?;
        weights.iter_mut().for_each(|weight| *weight *= linear.scale);
        Ok(Row { weights, bias: linear.bias.as_ref().map_or(0.0, |bias| bias[row]) })
    }

    /// In ascending order, on one thread.
    fn of(&self, state: &[f32]) -> f64 {
        let products = self.weights.iter().zip(state).map(|(w, x)| f64::from(*w) * f64::from(*x));
        products.sum::<f64>() + f64::from(self.bias)
    }
}

/// The id of a word that a model without rows of its own must be able to say.
fn token(model: &Model, tokenizer: &Tokenizer, label: &str) -> Result<usize> {
    let vocab = model.config().vocab;
    match tokenizer.find(label) {
        Some(id) if (id as usize) < vocab => Ok(id as usize),
        _ => Err(Error::BadValue {
            key: "tokenizer.ggml.tokens".into(),
            found: format!("without '{label}'"),
            want: "the words that a reranker answers".into(),
        }),
    }
}

/// A prompt, taken apart where the texts go.
struct Template {
    /// What stands before, between and behind the texts.
    fixed: Vec<String>,
    /// The first of the texts, before query and document, where the prompt has a place for it.
    task: Option<String>,
}

impl Template {
    fn of(model: &Model, task: Option<&str>) -> Result<Template> {
        const KEY: &str = "tokenizer.chat_template.rerank";
        let (text, places) = match task {
            Some(_) => (RERANK_TEMPLATE, &[RERANK_TASK, "{query}", "{document}"][..]),
            None => {
                (model.file().header().str(KEY)?.unwrap_or(RERANK_TEMPLATE), &["{query}", "{document}"][..])
            }
        };
        let (mut fixed, mut rest) = (Vec::new(), text);
        for place in places {
            let Some((before, behind)) = rest.split_once(place) else {
                return Err(Error::BadValue {
                    key: KEY.into(),
                    found: format!("a template without {place}"),
                    want: "{query}, and behind it {document}".into(),
                });
            };
            fixed.push(before.to_string());
            rest = behind;
        }
        fixed.push(rest.to_string());
        Ok(Template { fixed, task: task.map(str::to_string) })
    }
}
