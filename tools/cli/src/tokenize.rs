//! `qwip tokenize`: text to tokens with the vocabulary of a model, or a conversation to its prompt.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use anyhow::Context;
use qwip::chat::messages_from_openai;
use qwip::tokenizer::Special;
use qwip::{OpenOptions, Tokenizer};

use crate::args::TokenizeArgs;
use crate::output::{line, print, usage};
use crate::voice;
use crate::{input, model_arg};

pub(crate) fn run(args: &TokenizeArgs) -> anyhow::Result<()> {
    let (model, text) = words(args)?;
    let name = model_arg::pick(model.as_ref(), &args.hub)?;
    let shown = name.display().to_string();
    let text = match (text, &args.chat, &args.file) {
        (Some(_), Some(_), _) => return Err(usage("give a text or --chat, not both")),
        (Some(_), _, Some(_)) => return Err(usage("give a text or -f FILE, not both")),
        (Some(text), None, None) => text,
        (None, Some(path), _) => input::read(path)?,
        (None, None, Some(path)) => input::read(path)?,
        (None, None, None) if input::from_terminal() => {
            return Err(usage(
                "there is no text: give it after the model, with -f FILE or on standard input",
            ));
        }
        (None, None, None) => input::read_stdin()?,
    };
    let file = model_arg::open_file(&name, OpenOptions::default())?;
    let tokenizer = model_arg::tokenizer(&file).with_context(|| shown.clone())?;
    if let Some(path) = &args.chat {
        let voice = qwip::chat::Voice::new(&file, tokenizer).with_context(|| shown)?;
        return chat(args, &voice, &text, path);
    }
    let special = if args.special { Special::Parse } else { Special::Text };
    print_tokens(&tokenizer, &tokenizer.encode(&text, special), args.ids)
}

/// The model and the text among the arguments: with -m all that is given is text.
fn words(args: &TokenizeArgs) -> anyhow::Result<(Option<PathBuf>, Option<String>)> {
    let text =
        |word: &OsString| word.to_str().map(str::to_string).ok_or_else(|| usage("the text is not UTF-8"));
    match (&args.model, &args.first, &args.second) {
        (Some(_), _, Some(_)) => Err(usage("with -m MODEL there is at most one argument, the text")),
        (Some(model), first, None) => Ok((Some(model.clone()), first.as_ref().map(text).transpose()?)),
        (None, first, second) => {
            Ok((first.as_ref().map(PathBuf::from), second.as_ref().map(text).transpose()?))
        }
    }
}

fn chat(args: &TokenizeArgs, voice: &qwip::chat::Voice, text: &str, path: &Path) -> anyhow::Result<()> {
    let shown = || path.display().to_string();
    let json: serde_json::Value = serde_json::from_str(text).with_context(shown)?;
    // A whole request may be given: then its messages and tools count.
    let (messages, tools) = match &json {
        serde_json::Value::Object(_) => (&json["messages"], &json["tools"]),
        list => (list, &serde_json::Value::Null),
    };
    let messages = messages_from_openai(messages).with_context(shown)?;
    let tools = tools.as_array().map(Vec::as_slice).unwrap_or_default();
    let prompt = voice::prompt(voice, &messages, tools, args.think)?;
    match args.ids {
        true => print_tokens(voice.tokenizer(), &prompt.tokens, true),
        false => print(prompt.text),
    }
}

fn print_tokens(tokenizer: &Tokenizer, tokens: &[u32], ids_only: bool) -> anyhow::Result<()> {
    if ids_only {
        let ids: Vec<String> = tokens.iter().map(u32::to_string).collect();
        return line(ids.join(" "));
    }
    for &id in tokens {
        line(format_args!("{id:>7}  {}", quoted(&tokenizer.token_bytes(id))))?;
    }
    Ok(())
}

/// The bytes of a token in quotes; what is no text, or cannot be seen, is escaped.
fn quoted(bytes: &[u8]) -> String {
    let mut out = String::from("\"");
    for chunk in bytes.utf8_chunks() {
        out.extend(chunk.valid().chars().flat_map(char::escape_debug));
        out.extend(chunk.invalid().iter().map(|byte| format!("\\x{byte:02x}")));
    }
    out.push('"');
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_are_shown_with_escapes() {
        assert_eq!(quoted(b" a\n"), "\" a\\n\"");
        assert_eq!(quoted("日".as_bytes()), "\"日\"");
        assert_eq!(quoted(b"\xe6\x97x"), "\"\\xe6\\x97x\"");
    }
}
