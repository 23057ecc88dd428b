//! A conversation as a file: plain JSON that people and programs can read, with the messages as OpenAI writes them.

use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, bail};
use qwip::chat::{Message, json_kind};
use serde_json::{Map, Value, json};

use crate::args::{SamplingArgs, Think};
use crate::{places, voice};

/// The version of the format that is written and read.
const VERSION: u64 = 1;
/// No conversation that fits a context is longer.
const LARGEST: u64 = 64 << 20;

/// Who said something.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Role {
    User,
    Assistant,
    Tool,
}

impl Role {
    const ALL: [(Role, &'static str); 3] =
        [(Role::User, "user"), (Role::Assistant, "assistant"), (Role::Tool, "tool")];

    fn name(self) -> &'static str {
        Role::ALL[self as usize].1
    }
}

/// What somebody said.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Turn {
    pub(crate) role: Role,
    pub(crate) text: String,
    /// What the model thought before.
    pub(crate) thinking: String,
    /// So many bytes of the text are files that were sent along.
    pub(crate) files: usize,
}

impl Turn {
    pub(crate) fn new(role: Role, text: impl Into<String>) -> Turn {
        Turn { role, text: text.into(), thinking: String::new(), files: 0 }
    }

    /// What the template sees.
    pub(crate) fn message(&self) -> Message {
        match self.role {
            Role::User => Message::user(&self.text),
            Role::Assistant => voice::said(&self.thinking, &self.text),
            Role::Tool => Message::tool(&self.text),
        }
    }

    fn to_json(&self) -> Value {
        let mut value = json!({"role": self.role.name(), "content": self.text});
        if !self.thinking.is_empty() {
            value["reasoning_content"] = json!(self.thinking);
        }
        if self.files > 0 {
            value["files"] = json!(self.files);
        }
        value
    }

    fn from_json(value: &Value, at: &str) -> anyhow::Result<Turn> {
        let map =
            value.as_object().with_context(|| format!("{at} is {}, not an object", json_kind(value)))?;
        let name = text(map, "role", at)?.with_context(|| format!("{at}.role is missing"))?;
        let Some(&(role, _)) = Role::ALL.iter().find(|(_, known)| *known == name) else {
            bail!("{at}.role is '{name}', not user, assistant or tool");
        };
        let said = text(map, "content", at)?.with_context(|| format!("{at}.content is missing"))?;
        let thinking = text(map, "reasoning_content", at)?.unwrap_or_default();
        let files = whole(map, "files", at)?.unwrap_or(0);
        if !said.is_char_boundary(files) {
            bail!(
                "{at}.files is {files}, but the content has {} bytes and no character begins there",
                said.len()
            );
        }
        Ok(Turn { thinking, files, ..Turn::new(role, said) })
    }
}

/// Everything that a file holds.
#[derive(Clone, Debug)]
pub(crate) struct Transcript {
    pub(crate) created: String,
    pub(crate) updated: String,
    /// What the model is called, and what it calls itself.
    pub(crate) model: [String; 3],
    pub(crate) system: Option<String>,
    pub(crate) think: Think,
    /// Only what somebody asked for.
    pub(crate) sampling: SamplingArgs,
    /// So many of the messages the model no longer sees.
    pub(crate) forgotten: usize,
    pub(crate) turns: Vec<Turn>,
}

const MODEL: [&str; 3] = ["name", "title", "architecture"];
const THINK: [(Think, &str); 3] = [(Think::On, "on"), (Think::Off, "off"), (Think::Auto, "auto")];

impl Transcript {
    /// Reads a file, which anybody may have written. The error names the file and the field.
    pub(crate) fn read(path: &Path) -> anyhow::Result<Transcript> {
        let name = path.display().to_string();
        Transcript::parse(&read(path).with_context(|| name.clone())?).with_context(|| name)
    }

    fn parse(bytes: &[u8]) -> anyhow::Result<Transcript> {
        let value: Value = serde_json::from_slice(bytes).context("not a session of qwip: not JSON")?;
        let map = value.as_object().context("not a session of qwip: not a JSON object")?;
        match map.get("qwip_session") {
            Some(version) if version.as_u64() == Some(VERSION) => {}
            Some(version) => {
                bail!("qwip_session is {version}, but this qwip reads sessions of version {VERSION}")
            }
            None => bail!("not a session of qwip: there is no field qwip_session"),
        }
        let mut model = [const { String::new() }; 3];
        if let Some(found) = map.get("model") {
            let found =
                found.as_object().with_context(|| format!("model is {}, not an object", json_kind(found)))?;
            for (part, name) in model.iter_mut().zip(MODEL) {
                *part = text(found, name, "model")?.unwrap_or_default();
            }
        }
        let think = match text(map, "think", "")?.as_deref() {
            None => Think::Auto,
            Some(word) => match THINK.iter().find(|(_, known)| *known == word) {
                Some(&(think, _)) => think,
                None => bail!("think is '{word}', not on, off or auto"),
            },
        };
        let messages = map.get("messages").context("messages is missing")?;
        let messages = messages
            .as_array()
            .with_context(|| format!("messages is {}, not a list", json_kind(messages)))?;
        let turns: anyhow::Result<Vec<Turn>> = messages
            .iter()
            .enumerate()
            .map(|(i, value)| Turn::from_json(value, &format!("messages[{i}]")))
            .collect();
        let turns = turns?;
        let forgotten = whole(map, "forgotten", "")?.unwrap_or(0);
        if forgotten > turns.len() {
            bail!("forgotten is {forgotten}, but there are {} messages", turns.len());
        }
        Ok(Transcript {
            created: text(map, "created", "")?.unwrap_or_default(),
            updated: text(map, "updated", "")?.unwrap_or_default(),
            model,
            system: text(map, "system", "")?,
            think,
            sampling: read_sampling(map.get("sampling"))?,
            forgotten,
            turns,
        })
    }

    /// The bytes of the file.
    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        let mut map = Map::new();
        map.insert("qwip_session".into(), json!(VERSION));
        map.insert("created".into(), json!(self.created));
        map.insert("updated".into(), json!(self.updated));
        let model: Map<_, _> =
            MODEL.iter().zip(&self.model).map(|(k, v)| (k.to_string(), json!(v))).collect();
        map.insert("model".into(), model.into());
        map.insert("system".into(), json!(self.system));
        map.insert("think".into(), json!(THINK[self.think as usize].1));
        map.insert("sampling".into(), write_sampling(&self.sampling));
        if self.forgotten > 0 {
            map.insert("forgotten".into(), json!(self.forgotten));
        }
        map.insert("messages".into(), self.turns.iter().map(Turn::to_json).collect());
        let mut bytes = serde_json::to_vec_pretty(&map).expect("text and numbers");
        bytes.push(b'\n');
        bytes
    }

    /// The beginning of what the user said first.
    pub(crate) fn title(&self) -> String {
        let first = self.turns.iter().find(|turn| turn.role == Role::User);
        first.map_or(String::new(), |turn| beginning(turn.text.get(turn.files..).unwrap_or(&turn.text), 40))
    }
}

/// The first characters of a text, on one line.
pub(crate) fn beginning(text: &str, most: usize) -> String {
    let line = text.split_whitespace().take(most).collect::<Vec<_>>().join(" ");
    match line.char_indices().nth(most) {
        Some((at, _)) => format!("{}…", &line[..at]),
        None => line,
    }
}

fn read(path: &Path) -> anyhow::Result<Vec<u8>> {
    let meta = fs::metadata(path)?;
    // Opening something else may wait for ever.
    if !meta.is_file() {
        bail!("not a file");
    }
    let mut bytes = Vec::new();
    File::open(path)?.take(LARGEST + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > LARGEST {
        bail!("{} bytes are too many for a session, which has at most {LARGEST}", meta.len());
    }
    Ok(bytes)
}

fn full(at: &str, name: &str) -> String {
    if at.is_empty() { name.to_string() } else { format!("{at}.{name}") }
}

fn text(map: &Map<String, Value>, name: &str, at: &str) -> anyhow::Result<Option<String>> {
    match map.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.clone())),
        Some(other) => bail!("{} is {}, not text", full(at, name), json_kind(other)),
    }
}

fn whole(map: &Map<String, Value>, name: &str, at: &str) -> anyhow::Result<Option<usize>> {
    match map.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(value) => {
            let n = value.as_u64().and_then(|n| usize::try_from(n).ok());
            Ok(Some(n.with_context(|| format!("{} is {value}, not a whole number", full(at, name)))?))
        }
    }
}

/// The settings that are numbers with a fraction.
fn fractions(sampling: &mut SamplingArgs) -> [(&'static str, &mut Option<f32>); 6] {
    [
        ("temperature", &mut sampling.temp),
        ("top_p", &mut sampling.top_p),
        ("min_p", &mut sampling.min_p),
        ("repeat_penalty", &mut sampling.repeat_penalty),
        ("presence_penalty", &mut sampling.presence_penalty),
        ("frequency_penalty", &mut sampling.frequency_penalty),
    ]
}

fn read_sampling(value: Option<&Value>) -> anyhow::Result<SamplingArgs> {
    let mut sampling = SamplingArgs::default();
    let Some(value) = value.filter(|value| !value.is_null()) else { return Ok(sampling) };
    let map =
        value.as_object().with_context(|| format!("sampling is {}, not an object", json_kind(value)))?;
    for (name, setting) in fractions(&mut sampling) {
        if let Some(value) = map.get(name) {
            let number =
                value.as_f64().with_context(|| format!("sampling.{name} is {value}, not a number"))?;
            *setting = Some(number as f32);
        }
    }
    sampling.top_k = whole(map, "top_k", "sampling")?;
    sampling.repeat_last_n = whole(map, "repeat_last_n", "sampling")?;
    if let Some(value) = map.get("seed") {
        let seed = value.as_i64().with_context(|| format!("sampling.seed is {value}, not a whole number"))?;
        sampling.seed = Some(seed);
    }
    Ok(sampling)
}

fn write_sampling(sampling: &SamplingArgs) -> Value {
    let mut map = Map::new();
    for (name, setting) in fractions(&mut sampling.clone()) {
        // As it is written, not as the nearest number of twice the precision.
        if let Some(number) = setting.and_then(|x| x.to_string().parse::<f64>().ok()) {
            map.insert(name.into(), json!(number));
        }
    }
    let wholes = [("top_k", sampling.top_k), ("repeat_last_n", sampling.repeat_last_n)];
    map.extend(wholes.iter().filter_map(|(name, n)| n.map(|n| (name.to_string(), json!(n)))));
    map.extend(sampling.seed.map(|seed| ("seed".to_string(), json!(seed))));
    map.into()
}

/// What `first` says, else what `second` does.
pub(crate) fn merged(first: &SamplingArgs, second: &SamplingArgs) -> SamplingArgs {
    let mut merged = first.clone();
    for ((_, to), (_, from)) in fractions(&mut merged).into_iter().zip(fractions(&mut second.clone())) {
        *to = to.or(*from);
    }
    merged.top_k = merged.top_k.or(second.top_k);
    merged.repeat_last_n = merged.repeat_last_n.or(second.repeat_last_n);
    merged.seed = merged.seed.or(second.seed);
    merged
}

/// The folder of the conversations that have no other place.
pub(crate) fn folder() -> Option<PathBuf> {
    Some(places::data_dir()?.join("sessions"))
}

/// The file that is meant by a path or by the name of a conversation in our folder.
pub(crate) fn place(name: &str) -> anyhow::Result<PathBuf> {
    let path = expand(name);
    let is_path =
        path.is_file() || name.contains(['/', '\\']) || name.to_ascii_lowercase().ends_with(".json");
    if is_path {
        return Ok(path);
    }
    let folder =
        folder().context("there is no folder for conversations: set QWIP_DATA_DIR or give a path")?;
    Ok(folder.join(format!("{name}.json")))
}

/// A path as people type it: `~/` is their home, and what a terminal put in quotes has none.
pub(crate) fn expand(name: &str) -> PathBuf {
    let quoted = |q| name.len() > 1 && name.starts_with(q) && name.ends_with(q);
    let name = if quoted('\'') || quoted('"') { &name[1..name.len() - 1] } else { name };
    match (name.strip_prefix("~/"), places::home()) {
        (Some(rest), Some(home)) => home.join(rest),
        _ => PathBuf::from(name),
    }
}

/// The conversations in our folder, the newest first.
pub(crate) fn saved() -> Vec<PathBuf> {
    let Some(entries) = folder().and_then(|dir| fs::read_dir(dir).ok()) else { return Vec::new() };
    let mut files: Vec<(SystemTime, PathBuf)> = entries
        .flatten()
        .filter_map(|entry| {
            let (path, meta) = (entry.path(), entry.metadata().ok()?);
            let ours = meta.is_file() && path.extension().is_some_and(|ending| ending == "json");
            ours.then(|| (meta.modified().unwrap_or(UNIX_EPOCH), path))
        })
        .collect();
    files.sort();
    files.into_iter().rev().map(|(_, path)| path).collect()
}

/// Now, in UTC: year, month, day, hour, minute, second.
fn now() -> [u64; 6] {
    let seconds = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let (days, of_day) = (seconds / 86_400, seconds % 86_400);
    // Counted from March, so that the day that may be missing comes last.
    let shifted = days + 719_468;
    let (era, of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let march = (5 * of_year + 2) / 153;
    let day = of_year - (153 * march + 2) / 5 + 1;
    let month = if march < 10 { march + 3 } else { march - 9 };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    [year, month, day, of_day / 3600, of_day / 60 % 60, of_day % 60]
}

/// Now, as it stands in a file.
pub(crate) fn timestamp() -> String {
    let [year, month, day, hour, minute, second] = now();
    format!("{year}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}

/// A name for a conversation that begins now; by name they are in order.
pub(crate) fn new_name() -> String {
    let [year, month, day, hour, minute, second] = now();
    format!("{year}-{month:02}-{day:02}-{hour:02}{minute:02}{second:02}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn transcript() -> Transcript {
        let mut answer = Turn::new(Role::Assistant, "四。");
        answer.thinking = "2 + 2\nis\n4\n".into();
        Transcript {
            created: "2026-01-02T03:04:05Z".into(),
            updated: timestamp(),
            model: ["m.gguf", "M", "qwen3"].map(String::from),
            system: Some("Be \"brief\".".into()),
            think: Think::On,
            sampling: SamplingArgs { temp: Some(0.7), top_k: Some(3), seed: Some(-1), ..Default::default() },
            forgotten: 1,
            turns: vec![Turn::new(Role::User, "二加二\u{1b}?"), answer, Turn::new(Role::Tool, "x")],
        }
    }

    #[test]
    fn a_file_holds_everything() {
        let before = transcript();
        let bytes = before.to_bytes();
        let text = String::from_utf8(bytes.clone()).unwrap();
        assert!(text.contains("\"temperature\": 0.7,") && text.contains("\"reasoning_content\""), "{text}");
        let after = Transcript::parse(&bytes).unwrap();
        assert_eq!((&after.turns, after.forgotten), (&before.turns, 1));
        assert_eq!((after.think, &after.system, &after.model), (Think::On, &before.system, &before.model));
        assert_eq!(after.to_bytes(), bytes);
        assert_eq!(after.title(), "二加二\u{1b}?");
    }

    #[test]
    fn what_is_wrong_with_a_file_is_named() {
        let error = |json: Value| {
            crate::output::one_line(&Transcript::parse(json.to_string().as_bytes()).unwrap_err())
        };
        let session = |name: &str, value: Value| {
            let mut json = json!({"qwip_session": 1, "messages": []});
            json[name] = value;
            error(json)
        };
        assert_eq!(error(json!({"a": 1})), "not a session of qwip: there is no field qwip_session");
        assert!(
            error(json!({"qwip_session": 2})).contains("is 2, but this qwip reads sessions of version 1")
        );
        assert_eq!(error(json!({"qwip_session": 1})), "messages is missing");
        assert_eq!(session("messages", json!({})), "messages is an object, not a list");
        assert_eq!(session("messages", json!([1])), "messages[0] is a number, not an object");
        assert_eq!(session("messages", json!([{}])), "messages[0].role is missing");
        let odd = json!([{"role": "user", "content": []}]);
        assert_eq!(session("messages", odd), "messages[0].content is a list, not text");
        let odd = json!([{"role": "boss", "content": ""}]);
        assert!(session("messages", odd).contains("'boss', not user, assistant or tool"));
        assert_eq!(session("system", json!(1)), "system is a number, not text");
        assert_eq!(session("think", json!("x")), "think is 'x', not on, off or auto");
        assert_eq!(session("model", json!(1)), "model is a number, not an object");
        assert_eq!(session("sampling", json!({"top_k": -1})), "sampling.top_k is -1, not a whole number");
        assert_eq!(session("sampling", json!({"top_p": "x"})), "sampling.top_p is \"x\", not a number");
        assert_eq!(session("forgotten", json!(3)), "forgotten is 3, but there are 0 messages");
        assert!(Transcript::parse(&[b'['; 1 << 20]).is_err());
        assert!(Transcript::parse(b"\xff").is_err());
    }

    #[test]
    fn dates_are_those_of_the_calendar() {
        let stamp = timestamp();
        assert!(stamp.len() == 20 && stamp.as_str() > "2025-01-01" && stamp.ends_with('Z'), "{stamp}");
        assert_eq!(new_name().len(), "2026-11-22-223843".len());
    }
}
