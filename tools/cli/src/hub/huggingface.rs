//! What Hugging Face says about a repository.

use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use serde_json::Value;

use super::http::{Client, TokenIs, check_token, encode};
use super::layout::is_sha256;
use super::name::Name;
use super::{Listing, Remote};
use crate::output;
use crate::places::{home, variable};

const SITE: &str = "https://huggingface.co";
const HOST: &str = "huggingface.co";
/// Files of one repository.
const MAX_FILES: usize = 100_000;
/// Pages of a list of them, which may lead to each other for ever.
const MAX_PAGES: usize = 1000;
/// How long all of them may take.
const LONGEST_LIST: Duration = Duration::from_secs(300);

/// A client for the site or the mirror in HF_ENDPOINT.
pub(crate) fn client() -> anyhow::Result<Client> {
    let endpoint = variable("HF_ENDPOINT").map_or(SITE.into(), |value| value.to_string_lossy().into_owned());
    let advice =
        "where it is blocked, --source modelscope fetches from ModelScope, and HF_ENDPOINT names a mirror";
    let mut client = Client::new(&endpoint, advice).context("HF_ENDPOINT")?;
    if let Some((token, from)) = token()? {
        if client.is_at(HOST) {
            client.set_token(token, from);
        } else {
            client.token_is = TokenIs::Withheld(from);
            output::note(format_args!(
                "qwip: note: your Hugging Face token is for {HOST} alone and is not sent to {}",
                client.endpoint
            ));
        }
    }
    Ok(client)
}

/// The token, and where it is from: HF_TOKEN, else the file in HF_TOKEN_PATH, else the one where `hf auth login` puts it.
fn token() -> anyhow::Result<Option<(String, String)>> {
    // Who sets this wants to be unknown unless a program is told a token, which we never are.
    let is_set = |value: std::ffi::OsString| {
        ["1", "ON", "YES", "TRUE"].contains(&value.to_string_lossy().to_ascii_uppercase().as_str())
    };
    if variable("HF_HUB_DISABLE_IMPLICIT_TOKEN").is_some_and(is_set) {
        return Ok(None);
    }
    let checked = |text: &str, from: String| Ok(Some((check_token(text, &from)?, from)));
    if let Some(token) = variable("HF_TOKEN") {
        return checked(&token.to_string_lossy(), "HF_TOKEN".into());
    }
    let hf_home = || {
        let cache = || variable("XDG_CACHE_HOME").map(Into::into).or_else(|| Some(home()?.join(".cache")));
        let own = || cache().map(|cache: std::path::PathBuf| cache.join("huggingface"));
        variable("HF_HOME").map(Into::into).or_else(own)
    };
    let path = variable("HF_TOKEN_PATH").map(Into::into).or_else(|| Some(hf_home()?.join("token")));
    let Some(path) = path else { return Ok(None) };
    match std::fs::read_to_string(&path) {
        Ok(text) if text.trim().is_empty() => Ok(None),
        Ok(text) => checked(&text, output::visible(path.display())),
        Err(_) => Ok(None),
    }
}

/// The commit that `main` names, and its files.
pub(crate) fn list(client: &Client, name: &Name) -> anyhow::Result<Listing> {
    let api = format!("{}/api/models/{}", client.endpoint, name.id());
    let (info, _) = client.json(&format!("{api}/revision/main"))?;
    let commit = info["sha"].as_str().unwrap_or_default();
    if commit.len() != 40 || !commit.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b)) {
        bail!("{} does not say which commit of {name} is the last one", client.endpoint);
    }
    let mut files = Vec::new();
    let mut page = Some(format!("{api}/tree/{commit}?recursive=true"));
    let (mut pages, mut seen, started) = (0, 0, Instant::now());
    while let Some(url) = page {
        pages += 1;
        if pages > MAX_PAGES {
            bail!("{}: the list of files of {name} has more than {MAX_PAGES} pages", client.endpoint);
        }
        if started.elapsed() > LONGEST_LIST {
            let (seconds, at) = (LONGEST_LIST.as_secs(), &client.endpoint);
            bail!(
                "{at}: the list of files of {name} was not at its end after {pages} pages and {seconds} s; try again later"
            );
        }
        let (entries, next) = client.json(&url)?;
        let Value::Array(entries) = entries else { bail!("{url} does not answer with a list of files") };
        // A page without files that leads to itself or to another one could go on for ever.
        page = next.filter(|next| !entries.is_empty() && *next != url);
        // What is no file counts as well: a list of folders is as long.
        seen += entries.len();
        if seen > MAX_FILES {
            bail!("{name} has more than {MAX_FILES} files and folders");
        }
        files.extend(entries.iter().filter_map(file));
    }
    Ok(Listing { revision: commit.to_string(), files })
}

fn file(entry: &Value) -> Option<Remote> {
    if entry["type"].as_str() != Some("file") {
        return None;
    }
    let path = entry["path"].as_str()?.to_string();
    let lfs = &entry["lfs"];
    let sha256 = lfs["oid"].as_str().filter(|hash| is_sha256(hash)).map(str::to_string);
    // Small files lie in Git itself, which hashes them in its own way.
    let blob = sha256.clone().or_else(|| entry["oid"].as_str().map(str::to_string))?;
    let size = lfs["size"].as_u64().or_else(|| entry["size"].as_u64())?;
    let sound = !blob.is_empty() && blob.len() <= 64 && blob.bytes().all(|b| b.is_ascii_hexdigit());
    sound.then_some(Remote { path, size, sha256, blob })
}

/// Where a file of a commit is.
pub(crate) fn url(client: &Client, name: &Name, commit: &str, path: &str) -> String {
    format!("{}/{}/resolve/{commit}/{}", client.endpoint, name.id(), encode(path))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_file_of_a_list_is_read() {
        let hash = "0a".repeat(32);
        let entry = json!({"type": "file", "path": "a/m.gguf", "size": 7, "oid": "12ab",
                           "lfs": {"oid": hash, "size": 7, "pointerSize": 134}});
        let found = file(&entry).unwrap();
        assert_eq!((found.size, found.sha256.as_ref(), &found.blob), (7, Some(&hash), &hash));
        let plain = json!({"type": "file", "path": "b", "size": 3, "oid": "12ab"});
        assert_eq!(file(&plain).unwrap().blob, "12ab");
        for wrong in [
            json!({"type": "directory", "path": "a", "oid": "12", "size": 0}),
            json!({"type": "file", "path": "a", "oid": "../x", "size": 0}),
            json!({"type": "file", "path": "a", "oid": "12", "size": -1}),
            json!([]),
        ] {
            assert!(file(&wrong).is_none(), "{wrong}");
        }
    }
}
