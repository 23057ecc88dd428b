//! Who may ask. Any page that a browser shows can send requests to this computer, by its own name (DNS rebinding) or
//! across origins; so the names of host and origin are looked at before anything else, then the key.

use std::net::IpAddr;

use axum::extract::Request;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};

use super::error::Refusal;
use super::{HttpSettings, page};
use crate::engine::FailureKind;

pub(super) struct Guard {
    keys: Vec<String>,
    /// In small letters.
    hosts: Vec<String>,
    origins: Vec<String>,
    bound: IpAddr,
}

/// What a page of another origin, which is named, is told.
pub(super) struct Cors {
    origin: HeaderValue,
    asked: Option<HeaderValue>,
}

const FORMS: [&str; 3] = ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data"];

impl Guard {
    pub(super) fn new(settings: &HttpSettings, bound: IpAddr) -> Guard {
        let small = |names: &[String]| names.iter().map(|name| name.trim().to_ascii_lowercase()).collect();
        let mut origins: Vec<String> = small(&settings.allow_origins);
        origins.iter_mut().for_each(|origin| origin.truncate(origin.trim_end_matches('/').len()));
        Guard { keys: settings.api_keys.clone(), hosts: small(&settings.allow_hosts), origins, bound }
    }

    /// Whether the request may go on.
    pub(super) fn check(&self, request: &Request) -> Result<(), Refusal> {
        let headers = request.headers();
        self.check_host(request)?;
        self.check_origin(headers)?;
        // A browser asks first, without the key.
        if is_preflight(request) || is_open(request.uri().path()) {
            return Ok(());
        }
        self.check_key(headers)
    }

    fn check_host(&self, request: &Request) -> Result<(), Refusal> {
        let mut values = request.headers().get_all(header::HOST).iter();
        let (named, second) = (values.next(), values.next());
        let named = named.and_then(|host| host.to_str().ok());
        // A target with a host of its own would say something else.
        let target = request.uri().authority().map(axum::http::uri::Authority::as_str);
        let host = named.filter(|host| second.is_none() && target.is_none_or(|target| target == *host));
        let Some(host) = host else {
            return Err(Refusal::new(
                StatusCode::BAD_REQUEST,
                FailureKind::Invalid,
                "a request needs one Host header",
            ));
        };
        if self.is_ours(&host.to_ascii_lowercase()) {
            return Ok(());
        }
        Err(forbidden(format!(
            "the header Host says {host}, which this server does not answer to (qwip serve --allow-host {host} lets it)"
        )))
    }

    fn is_ours(&self, host: &str) -> bool {
        let name = without_port(host);
        if self.hosts.iter().any(|known| known == "*" || known == host || known == name) {
            return true;
        }
        let bare = name.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(name);
        match bare.parse::<IpAddr>() {
            // No page can have an address that is not this computer's as its name.
            Ok(ip) => self.bound.is_unspecified() || ip == self.bound || ip.is_loopback(),
            Err(_) => name == "localhost" || name.ends_with(".localhost"),
        }
    }

    fn check_origin(&self, headers: &HeaderMap) -> Result<(), Refusal> {
        let Some(origin) = headers.get(header::ORIGIN) else { return Ok(()) };
        let shown = origin.to_str().unwrap_or("something unreadable");
        let named = shown.to_ascii_lowercase();
        if !self.is_named(&named) && !is_same(&named, headers) {
            return Err(forbidden(format!(
                "pages of {shown} may not use this server (qwip serve --allow-origin {shown} lets them)"
            )));
        }
        // What forms send needs no preflight.
        let ty = headers.get(header::CONTENT_TYPE).and_then(|ty| ty.to_str().ok()).unwrap_or_default();
        let ty = ty.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
        if FORMS.contains(&ty.as_str()) {
            return Err(Refusal::new(
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                FailureKind::Invalid,
                format!("the content type is {ty}; a page sends application/json"),
            ));
        }
        Ok(())
    }

    fn is_named(&self, origin: &str) -> bool {
        self.origins.iter().any(|known| known == "*" || known == origin)
    }

    fn check_key(&self, headers: &HeaderMap) -> Result<(), Refusal> {
        if self.keys.is_empty() {
            return Ok(());
        }
        let bearer = headers.get(header::AUTHORIZATION).and_then(|value| {
            let (scheme, key) = value.to_str().ok()?.split_once(' ')?;
            scheme.eq_ignore_ascii_case("bearer").then(|| key.trim())
        });
        let given = bearer.or_else(|| headers.get("x-api-key")?.to_str().ok());
        let message = match given {
            Some(given) if self.is_key(given) => return Ok(()),
            Some(_) => "the API key is not one of this server's",
            None => "this server needs an API key: Authorization: Bearer KEY, or x-api-key: KEY",
        };
        Err(Refusal::new(StatusCode::UNAUTHORIZED, FailureKind::Unauthorized, message))
    }

    /// The time that it takes says nothing but the lengths.
    fn is_key(&self, given: &str) -> bool {
        let equal = |key: &String| {
            let pairs = key.bytes().zip(given.bytes());
            (key.len() == given.len())
                & (pairs.fold(0u8, |all, (a, b)| std::hint::black_box(all | (a ^ b))) == 0)
        };
        self.keys.iter().fold(false, |found, key| found | equal(key))
    }

    /// For a page of a named origin: what its browser must be told.
    pub(super) fn cors(&self, headers: &HeaderMap) -> Option<Cors> {
        let origin = headers.get(header::ORIGIN)?;
        let named = self.is_named(&origin.to_str().ok()?.to_ascii_lowercase());
        let asked = headers.get(header::ACCESS_CONTROL_REQUEST_HEADERS).cloned();
        named.then(|| Cors { origin: origin.clone(), asked })
    }
}

impl Cors {
    pub(super) fn put(self, headers: &mut HeaderMap, preflight: bool) {
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, self.origin);
        headers.insert(header::VARY, HeaderValue::from_static("origin"));
        let expose = HeaderValue::from_static("x-request-id, retry-after");
        headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, expose);
        if preflight {
            let methods = HeaderValue::from_static("GET, POST, OPTIONS");
            headers.insert(header::ACCESS_CONTROL_ALLOW_METHODS, methods);
            let usual = HeaderValue::from_static("authorization, content-type, x-api-key");
            headers.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, self.asked.unwrap_or(usual));
            headers.insert(header::ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("600"));
            // A page of the internet asks for a computer of the home.
            let private = HeaderName::from_static("access-control-allow-private-network");
            headers.insert(private, HeaderValue::from_static("true"));
        }
    }
}

fn forbidden(message: String) -> Refusal {
    Refusal::new(StatusCode::FORBIDDEN, FailureKind::Forbidden, message)
}

/// Whether a browser asks what it may ask.
pub(super) fn is_preflight(request: &Request) -> bool {
    request.method() == Method::OPTIONS
        && request.headers().contains_key(header::ORIGIN)
        && request.headers().contains_key(header::ACCESS_CONTROL_REQUEST_METHOD)
}

/// What needs no key.
fn is_open(path: &str) -> bool {
    path == "/health" || page::has(path)
}

/// `name`, `name:80`, `[::1]` and `[::1]:80` without what comes after the name.
fn without_port(host: &str) -> &str {
    let name = match host.rfind(']') {
        Some(end) => &host[..=end],
        None => host.split(':').next().unwrap_or_default(),
    };
    name.strip_suffix('.').unwrap_or(name)
}

/// Whether a page of `origin` came from here.
fn is_same(origin: &str, headers: &HeaderMap) -> bool {
    let authority = origin.strip_prefix("http://").or_else(|| origin.strip_prefix("https://"));
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok());
    matches!((authority, host), (Some(authority), Some(host)) if authority.eq_ignore_ascii_case(host))
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::body::Body;

    fn guard(bound: &str, edit: impl FnOnce(&mut HttpSettings)) -> Guard {
        let mut settings = HttpSettings::default();
        edit(&mut settings);
        Guard::new(&settings, bound.parse().unwrap())
    }

    fn status(guard: &Guard, path: &str, headers: &[(&str, &str)]) -> u16 {
        let mut request = Request::builder().uri(path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let checked = guard.check(&request.body(Body::empty()).unwrap());
        checked.map_or_else(|refusal| refusal.status.unwrap().as_u16(), |()| 200)
    }

    #[test]
    fn other_names_of_this_computer_are_refused() {
        let local = guard("127.0.0.1", |_| ());
        let of = |guard: &Guard, host: &str| status(guard, "/v1/models", &[("host", host)]);
        for host in [
            "localhost",
            "LOCALHOST:8080",
            "127.0.0.1:1",
            "127.9.9.9",
            "[::1]:8080",
            "a.localhost",
            "localhost.",
        ] {
            assert_eq!(of(&local, host), 200, "{host}");
        }
        for host in [
            "evil.example",
            "evil.example:8080",
            "10.0.0.1",
            "localhost.evil.example",
            "[::2]",
            "",
            "127.0.0.1.nip.io",
        ] {
            assert_eq!(of(&local, host), 403, "{host}");
        }
        assert_eq!(status(&local, "/v1/models", &[]), 400);
        assert_eq!(status(&local, "/v1/models", &[("host", "localhost"), ("host", "localhost")]), 400);
        assert_eq!(status(&local, "http://evil.example/health", &[("host", "localhost")]), 400);
        let open = guard("0.0.0.0", |settings| settings.allow_hosts = vec!["Qwip.example".into()]);
        for host in ["10.0.0.1:8080", "localhost", "qwip.example:8080", "[fe80::1]"] {
            assert_eq!(of(&open, host), 200, "{host}");
        }
        assert_eq!(of(&open, "evil.example"), 403);
        assert_eq!(of(&guard("10.0.0.7", |_| ()), "10.0.0.8"), 403);
        assert_eq!(of(&guard("127.0.0.1", |settings| settings.allow_hosts = vec!["*".into()]), "x.y"), 200);
    }

    #[test]
    fn pages_of_other_origins_are_refused_unless_named() {
        let of = |guard: &Guard, origin: &str| {
            status(guard, "/v1/models", &[("host", "localhost:8080"), ("origin", origin)])
        };
        let local = guard("127.0.0.1", |_| ());
        assert_eq!(of(&local, "http://localhost:8080"), 200);
        for origin in ["http://localhost:3000", "https://evil.example", "null", "", "file://localhost:8080"] {
            assert_eq!(of(&local, origin), 403, "{origin}");
        }
        let named =
            guard("127.0.0.1", |s| s.allow_origins = vec!["https://Chat.example/".into(), "null".into()]);
        assert_eq!((of(&named, "https://chat.example"), of(&named, "null")), (200, 200));
        assert_eq!(of(&named, "http://chat.example"), 403);
        let form =
            [("host", "localhost"), ("origin", "http://localhost"), ("content-type", "text/plain; a=b")];
        assert_eq!(status(&local, "/v1/models", &form), 415);
    }

    #[test]
    fn a_key_is_asked_for_except_for_health() {
        let keyed = guard("127.0.0.1", |settings| settings.api_keys = vec!["one".into(), "two".into()]);
        let of = |path: &str, name: &str, value: &str| {
            status(&keyed, path, &[("host", "localhost"), (name, value)])
        };
        assert_eq!(of("/v1/models", "authorization", "Bearer two"), 200);
        assert_eq!(of("/v1/models", "authorization", "bearer one"), 200);
        assert_eq!(of("/v1/models", "x-api-key", "one"), 200);
        assert_eq!(of("/v1/models", "authorization", "Bearer on"), 401);
        assert_eq!(of("/v1/models", "authorization", "Basic one"), 401);
        assert_eq!(of("/v1/models", "a", "b"), 401);
        assert_eq!(of("/health", "a", "b"), 200);
        assert_eq!(of("/metrics", "a", "b"), 401);
    }
}
