//! What ModelScope says about a repository.

use anyhow::{Context, bail};
use serde_json::Value;

use super::http::{Client, Failure, encode};
use super::layout::is_sha256;
use super::name::Name;
use super::{Listing, Remote};
use crate::places::variable;

const SITE: &str = "https://modelscope.cn";
/// The branch that everything is on.
pub(crate) const REVISION: &str = "master";

/// A client for the site, or for the host in MODELSCOPE_ENDPOINT or MODELSCOPE_DOMAIN.
pub(crate) fn client() -> anyhow::Result<Client> {
    let names = ["MODELSCOPE_ENDPOINT", "MODELSCOPE_DOMAIN"];
    let found = names.iter().find_map(|name| Some((*name, variable(name)?.to_string_lossy().into_owned())));
    let (name, value) = found.unwrap_or(("MODELSCOPE_ENDPOINT", SITE.into()));
    let endpoint = if value.contains("://") { value } else { format!("https://{value}") };
    let advice = "--source hf fetches from Hugging Face, and MODELSCOPE_ENDPOINT names another host";
    Client::new(&endpoint, advice).context(name)
}

/// Its files.
pub(crate) fn list(client: &Client, name: &Name) -> anyhow::Result<Listing> {
    let url = format!(
        "{}/api/v1/models/{}/repo/files?Revision={REVISION}&Recursive=true",
        client.endpoint,
        name.id()
    );
    let (answer, _) = client.json(&url)?;
    if answer["Code"].as_u64().is_some_and(|code| code != 200) {
        let reason = answer["Message"].as_str().unwrap_or_default().chars().take(200).collect();
        return Err(Failure::Status { code: 404, retry_after: None, reason }.into());
    }
    let Some(entries) = answer["Data"]["Files"].as_array() else {
        bail!("{url} does not answer with a list of files");
    };
    Ok(Listing { revision: REVISION.into(), files: entries.iter().filter_map(file).collect() })
}

fn file(entry: &Value) -> Option<Remote> {
    if entry["Type"].as_str() == Some("tree") {
        return None;
    }
    let path = entry["Path"].as_str()?.to_string();
    let sha256 = entry["Sha256"].as_str().map(str::to_ascii_lowercase).filter(|hash| is_sha256(hash));
    // Its cache has no blobs; this names the unfinished file.
    let blob = sha256.clone().unwrap_or_else(|| path.replace('/', "--"));
    Some(Remote { size: entry["Size"].as_u64()?, path, sha256, blob })
}

/// Where a file is.
pub(crate) fn url(client: &Client, name: &Name, path: &str) -> String {
    format!("{}/models/{}/resolve/{REVISION}/{}", client.endpoint, name.id(), encode(path))
}
