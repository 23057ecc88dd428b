//! The tokenizer: tokenizer.json, or vocab.json with merges.txt, qwen.tiktoken or tokenizer.model, and the added tokens of
//! their companions.

use crate::error::{Result, invalid};
use crate::json::{Object, kind, quote, read_bytes, read_text};
use crate::pre;
use crate::sentencepiece::{self, SentencePiece};
use crate::tiktoken::{self, Tiktoken};
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
    Unknown = 2,
    Control = 3,
    UserDefined = 4,
    Unused = 5,
    Byte = 6,
}

/// What a SentencePiece vocabulary has in place of merges.
#[derive(Debug)]
pub(crate) struct Pieces {
    /// One a token: the best makes the first merge.
    pub scores: Vec<f32>,
    /// Whether a text begins with a space of its own.
    pub space_prefix: bool,
}

/// A vocabulary as GGUF stores it.
#[derive(Debug)]
pub(crate) struct Vocab {
    /// One a row of the embeddings; byte-mapped text, unless it is SentencePiece's; added tokens literally.
    pub tokens: Vec<String>,
    pub types: Vec<TokenType>,
    /// Of a SentencePiece vocabulary; all others are byte-level BPE.
    pub pieces: Option<Pieces>,
    /// What ends a text where no other file says so.
    pub end: Option<&'static str>,
    /// `"left right"`, in order of rank.
    pub merges: Vec<String>,
    /// `tokenizer.ggml.pre`.
    pub pre: &'static str,
    /// The token that the tokenizer puts behind every text.
    pub appended: Option<u32>,
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
    /// `pre` is how words are split if there is no tokenizer.json to say it.
    pub(crate) fn read(dir: &Path, rows: u32, pre: &'static str) -> Result<Vocab> {
        let mut vocab = Vocab {
            tokens: vec![String::new(); rows as usize],
            types: vec![TokenType::Unused; rows as usize],
            pieces: None,
            end: None,
            merges: Vec::new(),
            appended: None,
            pre,
            notes: Vec::new(),
            ids: HashMap::new(),
        };
        let json = Object::read(dir, "tokenizer.json")?;
        let has = |name: &str| dir.join(name).is_file();
        let appended = json.as_ref().and_then(pre::end);
        let added = match &json {
            // The fast form of a SentencePiece model lacks the scores.
            Some(t) if is_sentencepiece(t)? && has(sentencepiece::FILE) => vocab.read_sentencepiece(dir)?,
            Some(t) => vocab.read_tokenizer_json(t)?,
            None if has("vocab.json") => vocab.read_vocab_and_merges(dir)?,
            None if has(tiktoken::FILE) => vocab.read_tiktoken(dir)?,
            None if has(sentencepiece::FILE) => vocab.read_sentencepiece(dir)?,
            None => vocab.read_vocab_and_merges(dir)?,
        };
        for token in added {
            vocab.add(token)?;
        }
        if let Some(appended) = appended {
            vocab.appended = match vocab.id(&appended) {
                Some(id) => Some(id),
                None => {
                    let appended = quote(&appended);
                    return invalid(format!(
                        "tokenizer.json: post_processor: {appended} is not in the vocabulary"
                    ));
                }
            };
        }
        match vocab.pieces {
            Some(_) => vocab.check_pieces()?,
            None => vocab.check_merges()?,
        }
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
                "there is no tokenizer.json, nor vocab.json with merges.txt, {} or {}, in {}: copy them from the model that \
                 this one was made from",
                tiktoken::FILE,
                sentencepiece::FILE,
                dir.display()
            ));
        };
        self.add_base(&base)?;
        // Only the first line can be a comment: "# #" is a merge.
        let lines = merges.lines().enumerate().filter(|(i, line)| *i > 0 || !line.starts_with("#version"));
        self.merges.extend(lines.map(|(_, line)| line.to_string()).filter(|line| !line.is_empty()));

        added_beside(dir)
    }

    /// First-generation Qwen's.
    fn read_tiktoken(&mut self, dir: &Path) -> Result<Vec<Added>> {
        let text = read_text(dir, tiktoken::FILE)?.unwrap_or_default();
        let vocabulary = Tiktoken::read(&text)?;
        let special = vocabulary.special(self.tokens.len());
        let added = special.map(|(id, text)| Added { id: id as u64, text, special: true }).collect();
        let place = tiktoken::FILE;
        for (id, token) in vocabulary.tokens.into_iter().enumerate() {
            self.place(place, id as u64, token, TokenType::Normal)?;
        }
        self.check_bytes(place)?;
        self.merges = vocabulary.merges;
        // Its code takes this where generation_config.json is silent.
        self.end = Some("<|endoftext|>");
        Ok(added)
    }

    /// CodeQwen1.5's.
    fn read_sentencepiece(&mut self, dir: &Path) -> Result<Vec<Added>> {
        // What llama.cpp's converter gives to padding and to added tokens; neither takes part in merges.
        const OF_PADDING: f32 = -10000.0;
        const OF_ADDED: f32 = -1000.0;
        let model = SentencePiece::read(&read_bytes(dir, sentencepiece::FILE)?.unwrap_or_default())?;
        let mut scores = vec![OF_PADDING; self.tokens.len()];
        for (id, piece) in model.pieces.into_iter().enumerate() {
            if piece.kind != TokenType::Unused {
                self.place(sentencepiece::FILE, id as u64, piece.text, piece.kind)?;
                scores[id] = piece.score;
            }
        }
        let added = added_beside(dir)?;
        for token in &added {
            let slot = self.slot(token.id, &token.text)?;
            if self.types[slot] != TokenType::Unused && self.tokens[slot] != token.text {
                // A model is trained with placeholders, which later get their names beside it.
                let old = std::mem::take(&mut self.tokens[slot]);
                self.ids.remove(&old);
                self.notes.push(format!("token {slot} is {}, not {}", quote(&token.text), quote(&old)));
                self.types[slot] = TokenType::Unused;
            }
            scores[slot] = OF_ADDED;
        }
        self.pieces = Some(Pieces { scores, space_prefix: model.space_prefix });
        Ok(added)
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
            self.place(&base.place, id, text.clone(), TokenType::Normal)?;
        }
        self.check_bytes(&base.place)
    }

    /// Gives an id its token.
    fn place(&mut self, place: &str, id: u64, text: String, kind: TokenType) -> Result<()> {
        let slot = self.slot(id, &text)?;
        if self.types[slot] != TokenType::Unused {
            let first = quote(&self.tokens[slot]);
            return invalid(format!("{place}: id {id} is both {first} and {}", quote(&text)));
        }
        self.ids.insert(text.clone(), slot as u32);
        self.tokens[slot] = text;
        self.types[slot] = kind;
        Ok(())
    }

    fn check_bytes(&self, place: &str) -> Result<()> {
        // Without all 256 bytes there would be text that has no tokens.
        match (0..=255).find(|&byte| self.id(&char_of(byte).to_string()).is_none()) {
            None => Ok(()),
            Some(byte) => invalid(format!(
                "{place}: byte {byte} ({:?}) has no token: not a byte-level vocabulary",
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

    /// Without these there would be text that has no tokens.
    fn check_pieces(&self) -> Result<()> {
        let kind = |text: &str| self.id(text).map(|id| self.types[id as usize]);
        let bytes = (0..=255).map(|byte| (format!("<0x{byte:02X}>"), TokenType::Byte));
        let mut wanted = bytes.chain([(sentencepiece::SPACE.to_string(), TokenType::Normal)]);
        match wanted.find(|(text, wanted)| kind(text) != Some(*wanted)) {
            None => Ok(()),
            Some((text, TokenType::Byte)) => invalid(format!(
                "{} has no piece {text} for a byte, or an added token in its place: only models with byte_fallback convert",
                sentencepiece::FILE
            )),
            Some((text, _)) => invalid(format!(
                "{} has no piece {} for a space, or an added token in its place",
                sentencepiece::FILE,
                quote(&text)
            )),
        }
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

/// Whether a tokenizer.json is the fast form of a SentencePiece model.
fn is_sentencepiece(t: &Object) -> Result<bool> {
    let model = t.object("model")?;
    model.map_or(Ok(false), |model| Ok(model.bool("byte_fallback")? == Some(true)))
}

/// The added tokens of a vocabulary in another file.
fn added_beside(dir: &Path) -> Result<Vec<Added>> {
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
