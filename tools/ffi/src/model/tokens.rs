//! Text to tokens and back. All calls need a loaded model.

use std::ffi::c_char;

use runtime::chat::{RenderOptions, messages_from_openai};
use runtime::tokenizer::Special;

use super::qwip_model;
use crate::call::on;
use crate::status::{Fault, Outcome, qwip_status};
use crate::values::{self, Out, array, flag, hand_out, text, text_of};

/// Control tokens that the text spells, as "<|im_end|>", count as such; otherwise they are text like any other.
pub const QWIP_TOKENIZE_SPECIAL: u32 = 1;
/// The beginning-of-text token comes first, if the model has one and wants it.
pub const QWIP_TOKENIZE_BOS: u32 = 2;

/// The tokens of a text of `length` bytes: `*count` says how many, and they are written to `tokens` if there is room for
/// `capacity`; else `QWIP_STATUS_BUFFER_TOO_SMALL`. With `tokens` NULL and `capacity` 0 it only counts. `flags` are
/// `QWIP_TOKENIZE_` constants added up.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qwip_model_tokenize(
    model: *mut qwip_model,
    text: *const c_char,
    length: usize,
    flags: u32,
    tokens: *mut u32,
    capacity: usize,
    count: *mut usize,
) -> qwip_status {
    // SAFETY: the header asks for a place to write to.
    let count = unsafe { Out::new(count, "the count", 0) };
    on(model, |thing| {
        // SAFETY: the header asks for so many bytes.
        let text = unsafe { text_of(text, length, "the text") }?;
        if flags & !(QWIP_TOKENIZE_SPECIAL | QWIP_TOKENIZE_BOS) != 0 {
            return Err(Fault::argument(format!("the flags are {flags:#x}, expected 0 to 3")));
        }
        let engine = thing.engine()?;
        let tokenizer = engine.voice().tokenizer();
        let special = if flags & QWIP_TOKENIZE_SPECIAL == 0 { Special::Text } else { Special::Parse };
        let found = match flags & QWIP_TOKENIZE_BOS {
            0 => tokenizer.encode(text, special),
            _ => tokenizer.encode_with_bos(text, special),
        };
        // SAFETY: the header asks for so much room, and for a place of the count.
        unsafe { hand_out(&found, tokens, capacity, &count?, "the array of tokens") }
    })
}

/// The text of tokens, with control tokens spelled out if `show_special` is 1. Bytes that are no whole character become
/// U+FFFD: for an answer that comes token by token, join what `qwip_model_token_bytes` gives.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qwip_model_detokenize(
    model: *mut qwip_model,
    tokens: *const u32,
    count: usize,
    show_special: i32,
    text: *mut *mut c_char,
) -> qwip_status {
    // SAFETY: the header asks for a place to write to.
    let out = unsafe { Out::text(text, "the text") };
    on(model, |thing| {
        // SAFETY: the header asks for so many values.
        let (out, tokens) = (out?, unsafe { array(tokens, count, "the tokens") }?);
        let show = flag(show_special, "show_special")?;
        let engine = thing.engine()?;
        tokens.iter().try_for_each(|&token| exists(&engine, token))?;
        out.set_text(&engine.voice().tokenizer().decode(tokens, show));
        Ok(())
    })
}

/// The bytes of one token, none of a control token. Array and count as in `qwip_model_tokenize`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qwip_model_token_bytes(
    model: *mut qwip_model,
    token: u32,
    bytes: *mut u8,
    capacity: usize,
    count: *mut usize,
) -> qwip_status {
    // SAFETY: the header asks for a place to write to.
    let count = unsafe { Out::new(count, "the count", 0) };
    on(model, |thing| {
        let engine = thing.engine()?;
        exists(&engine, token)?;
        let mut found = Vec::new();
        engine.voice().tokenizer().write_token_bytes(token, false, &mut found);
        // SAFETY: the header asks for so much room, and for a place of the count.
        unsafe { hand_out(&found, bytes, capacity, &count?, "the array of bytes") }
    })
}

/// Whether a token ends an answer: 1 or 0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qwip_model_is_end(
    model: *mut qwip_model,
    token: u32,
    is_end: *mut i32,
) -> qwip_status {
    // SAFETY: the header asks for a place to write to.
    let out = unsafe { Out::new(is_end, "the place of the answer", 0) };
    on(model, |thing| {
        let out = out?;
        let engine = thing.engine()?;
        exists(&engine, token)?;
        out.set(engine.voice().tokenizer().is_end_of_generation(token).into());
        Ok(())
    })
}

/// The prompt that the model's template makes of OpenAI's message list (`messages`, JSON) and tools (`tools`, JSON or NULL),
/// up to where the answer begins. `thinking`: 1, 0, or -1 for what the template does by itself. Requests do this
/// themselves.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qwip_model_apply_template(
    model: *mut qwip_model,
    messages: *const c_char,
    tools: *const c_char,
    thinking: i32,
    prompt: *mut *mut c_char,
) -> qwip_status {
    // SAFETY: the header asks for a place to write to.
    let out = unsafe { Out::text(prompt, "the prompt") };
    on(model, |thing| {
        // SAFETY: the header asks for text.
        let (out, messages) = (out?, unsafe { text(messages, "messages") }?);
        let tools = match tools.is_null() {
            true => Vec::new(),
            // SAFETY: the header asks for text.
            false => values::tools(unsafe { text(tools, "tools") }?)?,
        };
        let messages = messages_from_openai(&values::json(messages, "messages")?)?;
        let options = RenderOptions { thinking: values::thinking(thinking)?, ..RenderOptions::default() };
        out.set_text(&thing.engine()?.voice().prompt(&messages, &tools, &options)?.text);
        Ok(())
    })
}

fn exists(engine: &super::Engine, token: u32) -> Outcome {
    let vocab = engine.model().config().vocab;
    match (token as usize) < vocab {
        true => Ok(()),
        false => Err(runtime::Error::TokenOutOfRange { token, vocab }.into()),
    }
}
