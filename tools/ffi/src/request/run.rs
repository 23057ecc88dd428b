//! The thread that makes an answer.

use std::ops::ControlFlow;
use std::sync::Arc;

use runtime::chat::{AnswerSplitter, Delta};
use runtime::generate::Next;
use runtime::model::Task;
use runtime::tokenizer::Special;
use runtime::{FinishReason, Generation, IeeeDefaults, Sampler};
use serde_json::{Map, Value, json};

use super::asked::{Asked, Prepared};
use super::events::{
    Events, QWIP_EVENT_ERROR, QWIP_EVENT_FINISH, QWIP_EVENT_PROGRESS, QWIP_EVENT_REASONING, QWIP_EVENT_TEXT,
    QWIP_EVENT_TOOL_CALL, QWIP_EVENT_USAGE,
};
use crate::call::guarded;
use crate::log;
use crate::model::Engine;
use crate::session::{Lent, SessionThing};
use crate::status::{Fault, Outcome, QWIP_STATUS_CANCELLED, QWIP_STATUS_OUT_OF_MEMORY};

/// An answer on its way.
struct Answer<'a> {
    session: &'a Arc<SessionThing>,
    events: &'a Events,
    splitter: Option<AnswerSplitter>,
    message: Message,
    usage: Usage,
}

/// The answer so far, as a message of OpenAI's.
#[derive(Default)]
struct Message {
    content: String,
    reasoning: String,
    calls: Vec<Value>,
}

#[derive(Default)]
struct Usage {
    prompt: usize,
    cached: usize,
    answer: usize,
    reasoning: usize,
}

/// Makes the answer, tells its events, and gives the session back.
pub(super) fn run(session: &Arc<SessionThing>, events: &Events, asked: Asked, mut lent: Lent) {
    // A new thread has the word of the one that started it: callbacks, too, run with IEEE's.
    let _ieee = IeeeDefaults::enter();
    let engine = session.engine().clone();
    engine.threads().pin_this_thread();
    let mut answer =
        Answer { session, events, splitter: None, message: Message::default(), usage: Usage::default() };
    let made = guarded(|| answer.make(&engine, asked, &mut lent));
    let made = match made {
        Err(fault) if fault.status == QWIP_STATUS_CANCELLED => Ok(FinishReason::Cancelled),
        made => made,
    };
    // The next request may begin as soon as this one is known to be over.
    let over = guarded(|| {
        drop(lent);
        made
    });
    let end = over.and_then(|reason| guarded(|| Ok(answer.finish(reason))));
    let usage = &answer.usage;
    log::debug(format_args!(
        "request: {} tokens of prompt, {} of them computed before, {} of the answer: {}",
        usage.prompt,
        usage.cached,
        usage.answer,
        end.as_ref().map_or_else(|fault| fault.message.as_str(), |(_, reason)| reason),
    ));
    match end {
        Ok((result, reason)) => events.end(session, (QWIP_EVENT_FINISH, reason), Ok(result)),
        Err(fault) => events.end(session, (QWIP_EVENT_ERROR, &fault.message), Err(fault.clone())),
    }
}

impl Answer<'_> {
    fn make(&mut self, engine: &Arc<Engine>, asked: Asked, lent: &mut Lent) -> Outcome<FinishReason> {
        engine.model().allows(Task::Generate)?;
        // It computes as well, so it passes the gate.
        let mut asked = Some(asked);
        let prepared =
            engine.step(lent.activity(), |_| Ok(asked.take().map(|asked| asked.prepare(engine))))?;
        let prepared = prepared.unwrap_or_else(|| Err(Fault::cancelled()))?;
        let Prepared { prompt, tools, sampling, options, .. } = &prepared;
        let tokenizer = engine.voice().tokenizer();
        self.splitter = Some(AnswerSplitter::new(engine.voice(), prompt, tools, true));
        self.usage.prompt = prompt.tokens.len();
        self.read(lent, &prompt.tokens)?;
        // It looks back at the prompt.
        let mut generation =
            Generation::new(lent.ready()?, tokenizer, Sampler::new(sampling.clone()), options.clone())?;
        #[cfg(feature = "constrain")]
        if let Some(constraint) = prepared.constraint {
            generation.constrain(constraint);
        }
        let mut pieces = String::new();
        loop {
            pieces.clear();
            let next = {
                let session = lent.ready()?;
                generation.next(session, tokenizer, &mut |piece| {
                    pieces.push_str(piece.text);
                    ControlFlow::Continue(())
                })?
            };
            self.usage.answer = generation.tokens().len();
            self.take(&pieces, lent);
            if let Next::Done(reason) = next {
                return Ok(reason);
            }
            // What has been held back comes, even if it is broken off here.
            if let Err(fault) = lent.step(|session, cancel| generation.evaluate(session, cancel)) {
                if fault.status != QWIP_STATUS_CANCELLED {
                    return Err(fault);
                }
                pieces.clear();
                let reason = generation.finish(FinishReason::Cancelled, &mut |piece| {
                    pieces.push_str(piece.text);
                    ControlFlow::Continue(())
                });
                self.take(&pieces, lent);
                return Ok(reason);
            }
        }
    }

    /// Has the session read the prompt, slice by slice.
    fn read(&mut self, lent: &mut Lent, prompt: &[u32]) -> Outcome {
        let session = lent.ready()?;
        self.usage.cached = session.shares(prompt);
        let (total, mut held) = (prompt.len(), self.usage.cached);
        loop {
            let left = match lent.step(|session, cancel| session.prompt_step(prompt, 0, cancel)) {
                // What the session holds of another prompt is in the way: it would be forgotten in any case.
                Err(fault)
                    if fault.status == QWIP_STATUS_OUT_OF_MEMORY && held < lent.ready()?.tokens().len() =>
                {
                    lent.ready()?.truncate(held);
                    continue;
                }
                left => left?,
            };
            held = usize::MAX;
            let progress = json!({"done": total - left, "total": total});
            self.hear(QWIP_EVENT_PROGRESS, &progress.to_string(), lent);
            if lent.activity().is_stopped() {
                return Err(Fault::cancelled());
            }
            if left == 0 {
                return Ok(());
            }
        }
    }

    /// Takes more text of the model's.
    fn take(&mut self, text: &str, lent: &Lent) {
        let mut deltas = Vec::new();
        if let (Some(splitter), false) = (&mut self.splitter, text.is_empty()) {
            splitter.push(text, &mut deltas);
        }
        self.hand_out(deltas, Some(lent));
    }

    /// Tells what has come, call by call. Calls come whole: what begins one, then all its arguments.
    fn hand_out(&mut self, deltas: Vec<Delta>, lent: Option<&Lent>) {
        for delta in deltas {
            match delta {
                Delta::Content(text) => {
                    self.message.content.push_str(&text);
                    self.say(QWIP_EVENT_TEXT, &text, lent);
                }
                Delta::Reasoning(text) => {
                    self.message.reasoning.push_str(&text);
                    self.say(QWIP_EVENT_REASONING, &text, lent);
                }
                Delta::ToolCall { index, id, name } => {
                    let function = json!({"name": name, "arguments": ""});
                    let call = json!({"index": index, "id": id, "type": "function", "function": function});
                    self.message.calls.push(call);
                }
                Delta::Arguments { fragment, .. } => {
                    let Some(call) = self.message.calls.last_mut() else { continue };
                    call["function"]["arguments"] = fragment.into();
                    let call = call.to_string();
                    self.say(QWIP_EVENT_TOOL_CALL, &call, lent);
                }
            }
        }
    }

    fn say(&self, kind: i32, data: &str, lent: Option<&Lent>) {
        match lent {
            Some(lent) => self.hear(kind, data, lent),
            None => self.tell(kind, data),
        }
    }

    /// Hands out an event; the answer ends if the host wants no more.
    fn hear(&self, kind: i32, data: &str, lent: &Lent) {
        if !self.events.emit(self.session, kind, data) {
            self.session.engine().stop(lent.activity());
        }
    }

    /// Hands out an event behind the answer.
    fn tell(&self, kind: i32, data: &str) {
        self.events.emit(self.session, kind, data);
    }

    /// The end: what was held back, the usage; the whole, for who asks for it, and the reason.
    fn finish(&mut self, reason: FinishReason) -> (Value, &'static str) {
        let mut deltas = Vec::new();
        if let Some(splitter) = &mut self.splitter {
            splitter.finish(&mut deltas);
            let tokenizer = self.session.engine().voice().tokenizer();
            self.usage.reasoning = tokenizer.encode(splitter.thought(), Special::Text).len();
        }
        self.hand_out(deltas, None);
        let reason = match reason {
            FinishReason::Stop if !self.message.calls.is_empty() => "tool_calls",
            reason => reason.as_str(),
        };
        let usage = self.usage.as_json();
        self.tell(QWIP_EVENT_USAGE, &usage.to_string());
        let message = std::mem::take(&mut self.message).into_json();
        (json!({"message": message, "finish_reason": reason, "usage": usage}), reason)
    }
}

impl Message {
    fn into_json(self) -> Value {
        let Message { content, reasoning, calls } = self;
        let mut message = Map::new();
        message.insert("role".into(), "assistant".into());
        let silent = content.is_empty() && !calls.is_empty();
        message.insert("content".into(), if silent { Value::Null } else { content.into() });
        if !reasoning.is_empty() {
            message.insert("reasoning_content".into(), reasoning.into());
        }
        if !calls.is_empty() {
            let without_index = calls.into_iter().map(|mut call| {
                call.as_object_mut().and_then(|call| call.shift_remove("index"));
                call
            });
            message.insert("tool_calls".into(), without_index.collect());
        }
        message.into()
    }
}

impl Usage {
    fn as_json(&self) -> Value {
        json!({
            "prompt_tokens": self.prompt,
            "completion_tokens": self.answer,
            "total_tokens": self.prompt + self.answer,
            "prompt_tokens_details": {"cached_tokens": self.cached},
            "completion_tokens_details": {"reasoning_tokens": self.reasoning},
        })
    }
}
