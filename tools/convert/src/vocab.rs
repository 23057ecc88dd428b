//! The tokenizer: tokenizer.json, or vocab.json with merges.txt and the added tokens of their companions.

use crate::error::{Result, invalid};
use crate::json::{Object, kind, quote, read_text};
use crate::pre;
use qwip_quant::byte_map::char_of;
use qwip_quant::limits::MAX_MERGES;
use serde_json::Value;
use std::collections::HashMap;
use std::path::Path;

/// `tokenizer.ggml.token_type`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(i32)]
pub(crate) enum TokenType {
    Normal = 1,
    Control = 3,
    UserDefined = 4,
    Unused = 5,
}

/// A byte-level BPE vocabulary as GGUF stores it.
#[derive(Debug)]
pub(crate) struct Vocab {
    /// One a row of the embeddings; byte-mapped text, added tokens literally.
    pub tokens: Vec<String>,
    pub types: Vec<TokenType>,
    /// `"left right"`, in order of rank.
    pub merges: Vec<String>,
    /// `tokenizer.ggml.pre`.
    pub pre: &'static str,
    /// The token that the tokenizer puts behind every text.
    pub end: Option<u32>,
    pub notes: Vec<String>,
    ids: HashMap<String, u32>,
}

struct Added {
    id: u64,
    text: String,
    special: bool,
}

impl Vocab {
    /// `rows` is the number of embedding rows; ids without a token get a placeholder that is never sampled.
    pub(crate) fn read(dir: &Path, rows: u32) -> Result<Vocab> {
        let mut vocab = Vocab {
            tokens: vec![String::new(); rows as usize],
            types: vec![TokenType::Unused; rows as usize],
            merges: Vec::new(),
            // A vocabulary without tokenizer.json is of an age when there was only this one.
            pre: "qwen2",
            end: None,
            notes: Vec::new(),
            ids: HashMap::new(),
        };
        let mut end = None;
        let added = match Object::read(dir, "tokenizer.json")? {
            Some(t) => {
                end = pre::end(&t);
                vocab.read_tokenizer_json(&t)?
            }
            None => vocab.read_vocab_and_merges(dir)?,
        };
        for token in added {
            vocab.add(token)?;
        }
        if let Some(end) = end {
            vocab.end = match vocab.id(&end) {
                Some(id) => Some(id),
                None => {
                    let end = quote(&end);
                    return invalid(format!(
                        "tokenizer.json: post_processor: {end} is not in the vocabulary"
                    ));
                }
            };
        }
        vocab.check_merges()?;
        for (id, token) in vocab.tokens.iter_mut().enumerate() {
            if vocab.types[id] == TokenType::Unused {
                *token = format!("[PAD{id}]");
                if let Some(other) = vocab.ids.get(token.as_str()) {
                    return invalid(format!(
                        "token {other} is {}, the placeholder of id {id}, which has no token",
                        quote(token)
                    ));
                }
            }
        }
        Ok(vocab)
    }

    pub(crate) fn id(&self, text: &str) -> Option<u32> {
        self.ids.get(text).copied()
    }

    fn read_tokenizer_json(&mut self, t: &Object) -> Result<Vec<Added>> {
        let model = t.need("model", t.object("model"))?;
        let found = match model.str("type")?.unwrap_or("BPE") {
            "BPE" if model.bool("byte_fallback")? == Some(true) => "BPE with byte_fallback",
            found => found,
        };
        if found != "BPE" {
            return invalid(format!(
                "{}: only byte-level BPE is supported, found {}: take the tokenizer.json of the model that this one was \
                 made from",
                model.place,
                quote(found)
            ));
        }
        self.pre = pre::name(t)?;
        if !pre::normalizes(t)? {
            self.notes.push(format!("{} does not normalise text, but the model will get NFC", t.place));
        }
        self.add_base(&model.need("vocab", model.object("vocab"))?)?;
        for (i, merge) in model.need("merges", model.array("merges"))?.iter().enumerate() {
            let text = match merge {
                Value::String(text) => Some(text.clone()),
                Value::Array(pair) => match pair.as_slice() {
                    [Value::String(left), Value::String(right)] => Some(format!("{left} {right}")),
                    _ => None,
                },
                _ => None,
            };
            match text {
                Some(text) => self.merges.push(text),
                None => {
                    return invalid(format!("{}: merge {i} is not a pair: {}", model.place, kind(merge)));
                }
            }
        }
        let added = t.array("added_tokens")?.map_or(&[][..], Vec::as_slice);
        let place = format!("{}: added_tokens", t.place);
        added.iter().map(|v| added_token(&place, v.get("id").and_then(Value::as_u64), v)).collect()
    }

    fn read_vocab_and_merges(&mut self, dir: &Path) -> Result<Vec<Added>> {
        let (Some(base), Some(merges)) = (Object::read(dir, "vocab.json")?, read_text(dir, "merges.txt")?)
        else {
            return invalid(format!(
                "there is no tokenizer.json, nor vocab.json with merges.txt, in {}: copy them from the model that this one \
                 was made from",
                dir.display()
            ));
        };
        self.add_base(&base)?;
        // Only the first line can be a comment: "# #" is a merge.
        let lines = merges.lines().enumerate().filter(|(i, line)| *i > 0 || !line.starts_with("#version"));
        self.merges.extend(lines.map(|(_, line)| line.to_string()).filter(|line| !line.is_empty()));

        if let Some(config) = Object::read(dir, "tokenizer_config.json")?
            && let Some(added) = config.object("added_tokens_decoder")?
        {
            return added.entries().map(|(id, v)| added_token(&added.place, id.parse().ok(), v)).collect();
        }
        let Some(added) = Object::read(dir, "added_tokens.json")? else { return Ok(Vec::new()) };
        let one = |(text, id): (&String, &Value)| match id.as_u64() {
            Some(id) => Ok(Added { id, text: text.clone(), special: false }),
            None => invalid(format!("{}: {} has no id: {}", added.place, quote(text), kind(id))),
        };
        added.entries().map(one).collect()
    }

    /// The slot of an id that must not be beyond the embeddings.
    fn slot(&self, id: u64, text: &str) -> Result<usize> {
        match usize::try_from(id) {
            Ok(slot) if slot < self.tokens.len() => Ok(slot),
            _ => invalid(format!(
                "token {} has id {id}, but the embeddings have {} rows (vocab_size)",
                quote(text),
                self.tokens.len()
            )),
        }
    }

    fn add_base(&mut self, base: &Object) -> Result<()> {
        for (text, id) in base.entries() {
            let Some(id) = id.as_u64() else {
                return invalid(format!("{}: {} has no id: {}", base.place, quote(text), kind(id)));
            };
            if text.is_empty() {
                return invalid(format!("{}: the token {id} is empty", base.place));
            }
            let slot = self.slot(id, text)?;
            if self.types[slot] != TokenType::Unused {
                let first = quote(&self.tokens[slot]);
                return invalid(format!("{}: id {id} is both {first} and {}", base.place, quote(text)));
            }
            self.tokens[slot] = text.clone();
            self.types[slot] = TokenType::Normal;
            self.ids.insert(text.clone(), slot as u32);
        }
        // Without all 256 bytes there would be text that has no tokens.
        match (0..=255).find(|&byte| self.id(&char_of(byte).to_string()).is_none()) {
            None => Ok(()),
            Some(byte) => invalid(format!(
                "{}: byte {byte} ({:?}) has no token: not a byte-level vocabulary",
                base.place,
                char_of(byte)
            )),
        }
    }

    fn add(&mut self, token: Added) -> Result<()> {
        let slot = self.slot(token.id, &token.text)?;
        if self.types[slot] != TokenType::Unused && self.tokens[slot] != token.text {
            let first = quote(&self.tokens[slot]);
            return invalid(format!("added tokens: id {slot} is both {first} and {}", quote(&token.text)));
        }
        if let Some(other) = self.id(&token.text)
            && other as usize != slot
        {
            return invalid(format!("added tokens: {} has the ids {other} and {slot}", quote(&token.text)));
        }
        let marked = token.text.starts_with("<|") && token.text.ends_with("|>");
        self.types[slot] = if token.special || marked { TokenType::Control } else { TokenType::UserDefined };
        self.ids.insert(token.text.clone(), slot as u32);
        self.tokens[slot] = token.text;
        Ok(())
    }

    fn check_merges(&self) -> Result<()> {
        if self.merges.is_empty() {
            return invalid("the tokenizer has no merges");
        }
        if self.merges.len() > MAX_MERGES {
            return invalid(format!(
                "the tokenizer has {} merges, more than {MAX_MERGES}",
                self.merges.len()
            ));
        }
        let mut ranks = HashMap::with_capacity(self.merges.len());
        for (i, merge) in self.merges.iter().enumerate() {
            if let Some(first) = ranks.insert(merge.as_str(), i) {
                return invalid(format!("merge {i} repeats merge {first}: {}", quote(merge)));
            }
            let parts: Vec<&str> = merge.split(' ').collect();
            let &[left, right] = parts.as_slice() else {
                return invalid(format!("merge {i} is not two tokens: {}", quote(merge)));
            };
            for token in [left, right, &format!("{left}{right}")] {
                if self.id(token).is_none() {
                    return invalid(format!(
                        "merge {i} needs the token {}, which does not exist",
                        quote(token)
                    ));
                }
            }
        }
        Ok(())
    }
}

fn added_token(place: &str, id: Option<u64>, v: &Value) -> Result<Added> {
    let (Some(id), Some(text)) = (id, v.get("content").and_then(Value::as_str)) else {
        return invalid(format!("{place}: an entry has no id or no content"));
    };
    if text.is_empty() {
        return invalid(format!("{place}: the token {id} is empty"));
    }
    Ok(Added {
        id,
        text: text.to_string(),
        special: v.get("special").and_then(Value::as_bool).unwrap_or(false),
    })
}
