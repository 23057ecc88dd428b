//! The calls that compute on the caller's thread.

use std::ffi::c_char;

use runtime::embed::{EmbedOptions, Embedder};
use runtime::quant::pooling::Pooling;
use runtime::rerank::Reranker;
use runtime::tokenizer::Special;

use super::{Equipped, qwip_session};
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
        thing.engine().refuse_in_background()?;
        let session = lent.ready()?;
        let (before, batch) = (session.tokens().len(), session.batch());
        if tokens.is_empty() {
            return Err(runtime::Error::EmptyPrompt.into());
        }
        if tokens.len() > session.room() {
            let (tokens, context) = (before + tokens.len(), session.context());
            return Err(runtime::Error::PromptTooLong { tokens, context }.into());
        }
        // In slices, between which the device may cool down or the app go to the background.
        for part in tokens.chunks(batch) {
            let done = lent.step(|session, cancel| session.extend(part, cancel, &mut |_| {}));
            if let Err(fault) = done {
                lent.ready()?.truncate(before);
                return Err(fault);
            }
        }
        Ok(())
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
    // SAFETY: the header asks for a place to write to.
    let count = unsafe { Out::new(count, "the count", 0) };
    on(session, |thing| {
        let lent = thing.take()?;
        let found = lent.session().map_or(&[][..], |session| session.logits());
        if found.is_empty() {
            return Err(Fault::state("there are no logits: decode a token first"));
        }
        // SAFETY: the header asks for so much room, and for a place of the count.
        unsafe { hand_out(found, logits, capacity, &count?, "the array of logits") }
    })
}

/// The vector of a text of `length` bytes, of length 1, cut to its first `dimensions` elements (0: all). Array and count as in
/// `qwip_model_tokenize`; nothing is computed if there is no room. The tokens that the session holds stay. A model for
/// embeddings.
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
    // SAFETY: the header asks for a place to write to.
    let count = unsafe { Out::new(count, "the count", 0) };
    on(session, |thing| {
        // SAFETY: the header asks for so many bytes.
        let text = unsafe { text_of(text, length, "the text") }?;
        let mut lent = thing.take()?;
        thing.engine().refuse_in_background()?;
        let tokens = thing.engine().voice().tokenizer().encode_sequence(text, Special::Text);
        let Equipped { session, buffers } = lent.for_texts()?;
        let (dimensions, batch) = ((dimensions > 0).then_some(dimensions as usize), session.batch());
        let mut embedder =
            Embedder::new(session, &EmbedOptions { pooling: None, dimensions }).map_err(other_model)?;
        let vectors = if embedder.pooling() == Pooling::None { tokens.len() } else { 1 };
        let needed = embedder.dimensions() * vectors;
        let result = match capacity < needed {
            true => Ok(vec![0.0; needed]),
            false => embedder
                .begin(&tokens)
                .and_then(|()| thing.engine().steps(lent.activity(), |cancel| embedder.step(batch, cancel))),
        };
        lent.texts = Some(Equipped { session: embedder.into_session(), buffers });
        // SAFETY: the header asks for so much room, and for a place of the count.
        unsafe { hand_out(&result?, vector, capacity, &count?, "the array of the vector") }
    })
}

/// How well `document` answers `query`, 0 to 1. A model for reranking. What one prompt shares with the one before is
/// computed once. The tokens that the session holds stay.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qwip_session_rerank(
    session: *mut qwip_session,
    query: *const c_char,
    document: *const c_char,
    score: *mut f64,
) -> qwip_status {
    // SAFETY: the header asks for a place to write to.
    let out = unsafe { Out::new(score, "the place of the score", 0.0) };
    on(session, |thing| {
        // SAFETY: the header asks for texts.
        let (query, document) = unsafe { (text(query, "the query")?, text(document, "the document")?) };
        let out = out?;
        let mut lent = thing.take()?;
        thing.engine().refuse_in_background()?;
        let tokenizer = thing.engine().voice().shared_tokenizer();
        let Equipped { session, buffers } = lent.for_texts()?;
        let batch = session.batch();
        let mut reranker = Reranker::new(session, tokenizer, None).map_err(other_model)?;
        let result = reranker
            .begin(query, document)
            .and_then(|_| thing.engine().steps(lent.activity(), |cancel| reranker.step(batch, cancel)));
        lent.texts = Some(Equipped { session: reranker.into_session(), buffers });
        out.set(result?.score);
        Ok(())
    })
}

/// A file that lacks what only models of another kind have is not damaged.
fn other_model(error: runtime::Error) -> Fault {
    match &error {
        runtime::Error::MissingKey { .. } | runtime::Error::BadValue { .. } => {
            Fault::new(QWIP_STATUS_UNSUPPORTED, format!("this model is made for something else: {error}"))
        }
        _ => error.into(),
    }
}
