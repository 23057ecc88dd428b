//! Requests to a hub: to whom the token goes, what a redirect may lead to, how long is waited.

use std::fmt;
use std::io::{self, Read};
use std::time::Duration;

use anyhow::{Context, anyhow, bail};
use serde_json::Value;
use ureq::http::Uri;
use ureq::{Body, http};

use super::agent::{self, Way, Ways};
use crate::output::note;

/// How long it may take until a hub is called unreachable: its name, the connection, the first answer. Together they
/// stay below ten seconds where one of them fails.
const PATIENCE: Duration = Duration::from_secs(9);
const MAX_REDIRECTS: usize = 8;
/// Text beside a redirect that is worth reading.
const SHORT: u64 = 16 << 10;
/// The longest answer of an API: a page of a list of files.
const MAX_JSON: u64 = 32 << 20;
/// The longest that such an answer may take, however steadily it drips.
const LONGEST_JSON: Duration = Duration::from_secs(30);
/// The longest that a server's wish to be asked later is respected.
pub(crate) const LONGEST_WAIT: Duration = Duration::from_secs(60);
/// The longest wait of our own choice.
const LONGEST_PAUSE: Duration = Duration::from_secs(15);
/// Tries without any progress, after which it is given up; of a download only when an outage of usual length is over, too.
pub(crate) const TRIES: u32 = 5;

/// Sizes and times of downloads. The tests set smaller ones in `QWIP_HUB_TUNING`, as in `part=65536 stall=300`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Tuning {
    pub(crate) connections: usize,
    /// Bytes of one part; by the size of the file if `None`.
    pub(crate) part: Option<u64>,
    /// So long may nothing come on a connection.
    pub(crate) stall: Duration,
    /// Wait before the second try; doubled for each further one.
    pub(crate) backoff: Duration,
    /// An outage of this length does not end a download that has begun.
    pub(crate) outage: Duration,
}

impl Tuning {
    fn from_env() -> Tuning {
        let words = std::env::var("QWIP_HUB_TUNING").unwrap_or_default();
        let number = |name: &str| {
            let value = words.split(' ').find_map(|word| word.strip_prefix(name)?.strip_prefix('='))?;
            value.parse::<u64>().ok().filter(|n| *n > 0)
        };
        let millis = |name, usual| Duration::from_millis(number(name).unwrap_or(usual));
        Tuning {
            connections: number("connections").unwrap_or(4).min(16) as usize,
            part: number("part"),
            stall: millis("stall", 20_000),
            backoff: millis("backoff", 500),
            outage: millis("outage", 120_000),
        }
    }
}

/// Why a request brought nothing.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The other end cannot be reached, broke off or fell silent: another try may help.
    Broken(String),
    /// The server said no.
    Status { code: u16, retry_after: Option<Duration>, reason: String },
    /// Nothing will change by asking again.
    Wrong(String),
}

impl Failure {
    /// Whether another try can help, and after what wait of the server's choice.
    pub(crate) fn passes(&self) -> Option<Option<Duration>> {
        match self {
            Failure::Broken(_) => Some(None),
            Failure::Status { code: 408 | 429 | 500 | 502 | 503 | 504, retry_after, .. } => {
                Some(*retry_after)
            }
            Failure::Status { .. } | Failure::Wrong(_) => None,
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failure::Broken(text) | Failure::Wrong(text) => f.write_str(text),
            Failure::Status { code, reason, .. } if reason.is_empty() => {
                write!(f, "the server answers {code}")
            }
            Failure::Status { code, reason, .. } => write!(f, "the server answers {code} ({reason})"),
        }
    }
}

/// A good answer.
pub(crate) struct Answer {
    pub(crate) status: u16,
    /// Host that gave it, and what it calls this state of the file.
    pub(crate) etag: Option<(String, String)>,
    /// First and last byte and size of the whole, of a part.
    pub(crate) content_range: Option<(u64, u64, u64)>,
    /// What the hub says about the file that it redirects to.
    pub(crate) linked_etag: Option<String>,
    pub(crate) linked_size: Option<u64>,
    next: Option<String>,
    pub(crate) body: Body,
}

/// What the endpoint sees of the user's token.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum TokenIs {
    Absent,
    /// From this variable or file.
    Shown(String),
    /// The one from there is not for this endpoint.
    Withheld(String),
}

/// Talks to one hub.
pub(crate) struct Client {
    ways: Ways,
    /// Without a slash at the end.
    pub(crate) endpoint: String,
    origin: Origin,
    token: Option<String>,
    pub(crate) token_is: TokenIs,
    pub(crate) tuning: Tuning,
    /// What to do when it cannot be reached.
    advice: &'static str,
}

impl Client {
    pub(crate) fn new(endpoint: &str, advice: &'static str) -> anyhow::Result<Client> {
        let endpoint = endpoint.trim_end_matches('/').to_string();
        let origin = Origin::of(&endpoint).map_err(|error| anyhow!("{error}"))?;
        let ways = agent::ways(PATIENCE)?;
        let tuning = Tuning::from_env();
        Ok(Client { ways, endpoint, origin, token: None, token_is: TokenIs::Absent, tuning, advice })
    }

    /// Whether this is `host` itself or this computer, over a connection that nobody else reads.
    pub(crate) fn is_at(&self, host: &str) -> bool {
        self.origin.is_loopback() || (self.origin.secure && self.origin.host() == host)
    }

    /// Shows `token`, which is from the variable or file `from`, to the endpoint, and to nobody else.
    pub(crate) fn set_token(&mut self, token: String, from: String) {
        (self.token, self.token_is) = (Some(token), TokenIs::Shown(from));
    }

    /// The bytes from `range.0` up to `range.1`, or all.
    pub(crate) fn get(
        &self,
        url: &str,
        range: Option<(u64, u64)>,
        patience: Duration,
    ) -> Result<Answer, Failure> {
        self.ask(url, range, patience, None)
    }

    /// As `get`; a body may take as long as `in_all`, where that is given.
    fn ask(
        &self,
        url: &str,
        range: Option<(u64, u64)>,
        patience: Duration,
        in_all: Option<Duration>,
    ) -> Result<Answer, Failure> {
        let mut url = url.to_string();
        let mut linked = (None, None);
        for _ in 0..=MAX_REDIRECTS {
            let origin = Origin::of(&url).map_err(Failure::Wrong)?;
            let way = self.way(&origin);
            let config = way.agent.get(&url).config();
            let config = config.timeout_recv_response(Some(patience)).timeout_per_read(Some(patience));
            let mut request = config.timeout_recv_body(in_all).build();
            if let Some(token) = self.token.as_ref().filter(|_| origin == self.origin) {
                request = request.header("Authorization", format!("Bearer {token}"));
            }
            if let Some((from, to)) = range {
                request = request.header("Range", format!("bytes={from}-{}", to - 1));
            }
            let response = request.call().map_err(|error| agent::failure(error, &origin.to_string()))?;
            let header = |name: &str| response.headers().get(name)?.to_str().ok();
            if origin == self.origin {
                linked.0 = linked.0.or_else(|| header("X-Linked-Etag").map(bare_etag));
                linked.1 = linked.1.or_else(|| header("X-Linked-Size")?.parse().ok());
            }
            match response.status().as_u16() {
                status @ (200 | 206) => {
                    return Ok(Answer {
                        status,
                        etag: header("ETag").map(|etag| (origin.authority.clone(), bare_etag(etag))),
                        content_range: header("Content-Range").and_then(content_range),
                        next: header("Link").and_then(next_page),
                        linked_etag: linked.0,
                        linked_size: linked.1,
                        body: response.into_body(),
                    });
                }
                301 | 302 | 303 | 307 | 308 => {
                    let Some(to) = header("Location").filter(|to| !to.is_empty()) else {
                        return Err(Failure::Wrong(format!("{origin} redirects to nowhere")));
                    };
                    let next = join(&url, to);
                    if origin.secure && !next.starts_with("https://") {
                        let to = Origin::of(&next).map_or(next, |origin| origin.to_string());
                        return Err(Failure::Wrong(format!(
                            "{origin} redirects to {to}, which is not encrypted"
                        )));
                    }
                    // An answer that was read to its end leaves the connection for the next part.
                    if response.body().content_length().is_some_and(|length| length <= SHORT) {
                        let _ = io::copy(&mut response.into_body().into_reader(), &mut io::sink());
                    }
                    url = next;
                }
                code => {
                    let retry_after = header("Retry-After").and_then(|text| text.trim().parse().ok());
                    let reason = header("X-Error-Code").or(header("X-Error-Message")).unwrap_or_default();
                    let reason = reason.chars().take(200).collect();
                    let retry_after = retry_after.map(Duration::from_secs);
                    return Err(Failure::Status { code, retry_after, reason });
                }
            }
        }
        Err(Failure::Wrong(format!("more than {MAX_REDIRECTS} redirects from {url}")))
    }

    /// One page of an API, and the address of the next. A hub that is busy is asked again.
    pub(crate) fn json(&self, url: &str) -> anyhow::Result<(Value, Option<String>)> {
        let mut tries = 0;
        loop {
            let failure = match self.page(url) {
                Ok(page) => return Ok(page),
                Err(failure) => failure,
            };
            tries += 1;
            match (&failure, failure.passes()) {
                (Failure::Status { .. }, Some(wait)) if tries < TRIES => {
                    let pause = self.pause(tries, wait);
                    if pause >= Duration::from_secs(2) {
                        let seconds = pause.as_secs();
                        note(format_args!("qwip: note: {}: {failure}; waiting {seconds} s", self.endpoint));
                    }
                    std::thread::sleep(pause);
                }
                (Failure::Broken(why), _) => return Err(Failure::Broken(self.unreachable(why)).into()),
                _ => return Err(failure.into()),
            }
        }
    }

    fn page(&self, url: &str) -> Result<(Value, Option<String>), Failure> {
        let answer = self.ask(url, None, PATIENCE, Some(LONGEST_JSON))?;
        let mut text = Vec::new();
        let mut body = answer.body.into_reader().take(MAX_JSON + 1);
        body.read_to_end(&mut text).map_err(|error| Failure::Broken(error.to_string()))?;
        if text.len() as u64 > MAX_JSON {
            return Err(Failure::Wrong(format!("{url} answers with more than {MAX_JSON} bytes")));
        }
        let next = answer.next.map(|next| join(url, &next));
        if next.as_ref().is_some_and(|next| Origin::of(next).ok().as_ref() != Some(&self.origin)) {
            return Err(Failure::Wrong(format!("{url} goes on at another host")));
        }
        let value = serde_json::from_slice(&text)
            .map_err(|error| Failure::Wrong(format!("{url} does not answer with JSON ({error})")))?;
        Ok((value, next))
    }

    /// How long to wait before try number `tries` + 1.
    pub(crate) fn pause(&self, tries: u32, wish: Option<Duration>) -> Duration {
        let own = self.tuning.backoff * 2u32.saturating_pow(tries.saturating_sub(1).min(6));
        wish.unwrap_or(own.min(LONGEST_PAUSE)).min(LONGEST_WAIT)
    }

    /// The line for a hub that does not answer.
    pub(crate) fn unreachable(&self, why: &str) -> String {
        let over = self.way(&self.origin).over(&self.endpoint);
        format!("{} cannot be reached{over}: {why}; {}", self.endpoint, self.advice)
    }

    fn way(&self, origin: &Origin) -> &Way {
        match origin {
            origin if origin.is_loopback() => &self.ways.direct,
            origin if origin.secure => &self.ways.secure,
            _ => &self.ways.plain,
        }
    }
}

impl std::error::Error for Failure {}

/// Scheme, host and port: who it is that one talks to.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Origin {
    secure: bool,
    /// In small letters, with the port if it is not the usual one.
    authority: String,
}

impl Origin {
    fn of(url: &str) -> Result<Origin, String> {
        // What stands before an `@` may be a password.
        let shown = url.rsplit_once('@').map_or(url, |(_, rest)| rest);
        let wrong = || format!("'{shown}' is no address of a server: https://HOST is expected");
        let uri: Uri = url.parse().map_err(|_| wrong())?;
        let secure = match uri.scheme_str() {
            Some("https") => true,
            Some("http") => false,
            _ => return Err(wrong()),
        };
        let host = uri.host().filter(|host| !host.is_empty()).ok_or_else(wrong)?.to_ascii_lowercase();
        // A name before an `@` could make one host look like another.
        if uri.authority().is_some_and(|authority| authority.as_str().contains('@')) {
            return Err(format!("an address with a name or a password before '@{shown}' is not taken"));
        }
        let usual = if secure { 443 } else { 80 };
        let port = uri.port_u16().filter(|port| *port != usual);
        Ok(Origin { secure, authority: port.map_or(host.clone(), |port| format!("{host}:{port}")) })
    }

    fn host(&self) -> &str {
        match self.authority.rsplit_once(':') {
            Some((host, port)) if !port.contains(']') => host,
            _ => &self.authority,
        }
    }

    fn is_loopback(&self) -> bool {
        let host = self.host().trim_start_matches('[').trim_end_matches(']');
        host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback())
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", if self.secure { "https" } else { "http" }, self.authority)
    }
}

/// A hash without the quotes and the mark of a weak one.
fn bare_etag(etag: &str) -> String {
    etag.trim().trim_start_matches("W/").trim_matches('"').to_string()
}

fn content_range(text: &str) -> Option<(u64, u64, u64)> {
    let (range, total) = text.trim().strip_prefix("bytes")?.trim_start().split_once('/')?;
    let (first, last) = range.split_once('-')?;
    Some((first.parse().ok()?, last.parse().ok()?, total.parse().ok()?))
}

/// The address in `<address>; rel="next"`.
fn next_page(link: &str) -> Option<String> {
    link.split(',').find_map(|link| {
        let (url, rest) = link.trim().strip_prefix('<')?.split_once('>')?;
        rest.contains("rel=\"next\"").then(|| url.to_string())
    })
}

/// Where `to`, found at `url`, leads.
fn join(url: &str, to: &str) -> String {
    // An address may also stand in what follows a `?`.
    let is_scheme = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphabetic());
    if to.split_once("://").is_some_and(|(scheme, _)| is_scheme(scheme)) {
        return to.to_string();
    }
    let (scheme, rest) = url.split_once("://").unwrap_or(("https", url));
    if let Some(rest) = to.strip_prefix("//") {
        return format!("{scheme}://{rest}");
    }
    let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
    if let Some(path) = to.strip_prefix('/') {
        return format!("{scheme}://{authority}/{path}");
    }
    let path = path.split(['?', '#']).next().unwrap_or_default();
    let dir = path.rsplit_once('/').map_or(String::new(), |(dir, _)| format!("{dir}/"));
    format!("{scheme}://{authority}/{dir}{to}")
}

/// The words of a path as an address has them.
pub(crate) fn encode(path: &str) -> String {
    let mut out = String::with_capacity(path.len());
    for byte in path.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' | b'/' => {
                out.push(char::from(byte))
            }
            _ => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}

/// A token that can stand in a header.
pub(crate) fn check_token(text: &str, from: &str) -> anyhow::Result<String> {
    let token = text.trim();
    let header = http::HeaderValue::from_str(token).context("it holds characters that no token has");
    if header.is_err() || token.contains(char::is_whitespace) {
        bail!("the token in {from} holds characters that no token has");
    }
    Ok(token.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_who() {
        let of = |url| Origin::of(url).unwrap();
        assert_eq!(of("https://HuggingFace.co:443/a"), of("https://huggingface.co"));
        for other in
            ["http://huggingface.co", "https://huggingface.co:444", "https://huggingface.co.evil.org"]
        {
            assert_ne!(of(other), of("https://huggingface.co"), "{other}");
        }
        for wrong in ["huggingface.co", "ftp://a", "https://huggingface.co@evil.org/", "https://", ""] {
            assert!(Origin::of(wrong).is_err(), "{wrong}");
        }
        assert!(!Origin::of("https://me:secret@a.b").unwrap_err().contains("secret"));
        for loopback in ["http://127.0.0.1:8080", "http://localhost", "http://[::1]:80", "http://[::1]:81"] {
            assert!(of(loopback).is_loopback(), "{loopback}");
        }
        assert!(
            !of("http://127.0.0.1.evil.org").is_loopback() && !of("http://localhost.evil.org").is_loopback()
        );
    }

    #[test]
    fn redirects_and_headers_are_read() {
        let at = "https://a.b/c/d?x=/y";
        assert_eq!(join(at, "https://e/f"), "https://e/f");
        assert_eq!(join(at, "//e/f"), "https://e/f");
        assert_eq!(join(at, "/e?f"), "https://a.b/e?f");
        assert_eq!(join(at, "e"), "https://a.b/c/e");
        assert_eq!(join(at, "/e?to=http://f"), "https://a.b/e?to=http://f");
        assert_eq!(content_range("bytes 5-9/10"), Some((5, 9, 10)));
        assert_eq!(content_range("bytes */10"), None);
        assert_eq!(next_page("<u>; rel=\"first\", <v?a=1>; rel=\"next\""), Some("v?a=1".into()));
        assert_eq!((bare_etag("W/\"ab\""), encode("a b/ü.gguf")), ("ab".into(), "a%20b/%C3%BC.gguf".into()));
        assert!(check_token("hf_x\ny", "HF_TOKEN").is_err());
        assert_eq!(check_token(" hf_x\n", "HF_TOKEN").unwrap(), "hf_x");
    }
}
