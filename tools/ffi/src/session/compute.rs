//! The calls that compute on the caller's thread.

use std::ffi::c_char;

use runtime::Error;
use runtime::embed::{EmbedOptions, Embedder};
use runtime::quant::pooling::Pooling;
use runtime::rerank::Reranker;
use runtime::tokenizer::Special;

use super::qwip_session;
use crate::call::on;
use crate::status::{Fault, QWIP_STATUS_UNSUPPORTED, qwip_status};
use crate::values::{Out, array, hand_out, text, text_of};

/// Appends tokens, `[count]`, and computes; then `qwip_session_logits` gives the logits behind the last of them. If it fails or
/// is cancelled the session is as it was before, without logits.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qwip_session_decode(
    session: *mut qwip_session,
    tokens: *const u32,
    count: usize,
) -> qwip_status {
    on(session, |thing| {
        // SAFETY: the header asks for so many values.
        let tokens = unsafe { array(tokens, count, "the tokens") }?;
        let mut lent = thing.take()?;
        thing.engine().is_in_front()?;
        lent.step(|session, cancel| session.extend(tokens, cancel, &mut |_| {}))
    })
}

/// Copies the logits behind the last token: `[vocab]`, as many as "vocab" of `qwip_model_info` says. Array and count as in
/// `qwip_model_tokenize`. The same bits on every CPU, for any number of threads.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qwip_session_logits(
    session: *mut qwip_session,
    logits: *mut f32,
    capacity: usize,
    count: *mut usize,
) -> qwip_status {
    on(session, |thing| {
        let lent = thing.take()?;
        let found = lent.session.as_ref().map_or(&[][..], |session| session.logits());
        if found.is_empty() {
            return Err(Fault::state("there are no logits: decode a token first"));
        }
        // SAFETY: the header asks for so much room, and for a place of the count.
        unsafe { hand_out(found, logits, capacity, count, "the array of logits") }
    })
}

/// The vector of a text of `length` bytes, of length 1, cut to its first `dimensions` elements (0: all). Array and count as in
/// `qwip_model_tokenize`; nothing is computed if there is no room. A model for embeddings.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qwip_session_embed(
    session: *mut qwip_session,
    text: *const c_char,
    length: usize,
    dimensions: u32,
    vector: *mut f32,
    capacity: usize,
    count: *mut usize,
) -> qwip_status {
    on(session, |thing| {
        // SAFETY: the header asks for so many bytes.
        let text = unsafe { text_of(text, length, "the text") }?;
        let mut lent = thing.take()?;
        thing.engine().is_in_front()?;
        let options =
            EmbedOptions { pooling: None, dimensions: (dimensions > 0).then_some(dimensions as usize) };
        // Before the session goes in, which would not come out of what fails.
        Embedder::check(thing.engine().model(), &options).map_err(other_model)?;
        let tokens = thing.engine().voice().tokenizer().encode_sequence(text, Special::Text);
        lent.ready()?;
        let Some(session) = lent.session.take() else { return Err(Fault::cancelled()) };
        let mut embedder = Embedder::new(session, &options)?;
        let vectors = if embedder.pooling() == Pooling::None { tokens.len() } else { 1 };
        let needed = embedder.dimensions() * vectors;
        let result = match capacity < needed {
            true => Ok(vec![0.0; needed]),
            false => thing.engine().step(lent.activity(), |cancel| embedder.embed(&tokens, cancel)),
        };
        lent.session = Some(embedder.into_session());
        // SAFETY: the header asks for so much room, and for a place of the count.
        unsafe { hand_out(&result?, vector, capacity, count, "the array of the vector") }
    })
}

/// How well `document` answers `query`, 0 to 1. A model for reranking. With one query after the other, what their prompts share
/// is computed once.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qwip_session_rerank(
    session: *mut qwip_session,
    query: *const c_char,
    document: *const c_char,
    score: *mut f64,
) -> qwip_status {
    on(session, |thing| {
        // SAFETY: the header asks for a place to write to, and for texts.
        let (out, query, document) = unsafe {
            let out = Out::new(score, "the place of the score", 0.0)?;
            (out, text(query, "the query")?, text(document, "the document")?)
        };
        let mut lent = thing.take()?;
        thing.engine().is_in_front()?;
        let tokenizer = thing.engine().voice().shared_tokenizer();
        Reranker::check(thing.engine().model(), &tokenizer, None).map_err(other_model)?;
        lent.ready()?;
        let Some(session) = lent.session.take() else { return Err(Fault::cancelled()) };
        let mut reranker = Reranker::new(session, tokenizer, None)?;
        let result = thing.engine().step(lent.activity(), |cancel| reranker.score(query, document, cancel));
        lent.session = Some(reranker.into_session());
        out.set(result?.score);
        Ok(())
    })
}

/// A file that lacks what only models of another kind have is not damaged.
fn other_model(error: Error) -> Fault {
    match &error {
        Error::MissingKey { .. } | Error::BadValue { .. } => {
            Fault::new(QWIP_STATUS_UNSUPPORTED, format!("this model is made for something else: {error}"))
        }
        _ => error.into(),
    }
}
