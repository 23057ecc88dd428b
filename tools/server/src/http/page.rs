//! The page: files inside the program.

use std::sync::Arc;

use axum::Router;
use axum::http::{HeaderName, HeaderValue, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;

use super::State;

const HTML: &str = "text/html; charset=utf-8";
const STYLE: &str = "text/css; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";

/// A file of the folder `page`: path, type, bytes.
macro_rules! file {
    ($path:expr, $type:expr, $name:literal) => {
        ($path, $type, include_bytes!(concat!("../../page/", $name)).as_slice())
    };
    ($name:literal, $type:expr) => {
        file!(concat!("/", $name), $type, $name)
    };
}

/// Its files; a test compares with the folder.
const FILES: &[(&str, &str, &[u8])] = &[
    file!("/", HTML, "index.html"),
    file!("api.js", SCRIPT),
    file!("app.js", SCRIPT),
    file!("boot.js", SCRIPT),
    file!("chat.css", STYLE),
    file!("choices.js", SCRIPT),
    file!("composer.js", SCRIPT),
    file!("dom.js", SCRIPT),
    file!("files.js", SCRIPT),
    file!("icon.svg", "image/svg+xml"),
    file!("inline.js", SCRIPT),
    file!("markdown.js", SCRIPT),
    file!("messages.js", SCRIPT),
    file!("panel.js", SCRIPT),
    file!("parameters.js", SCRIPT),
    file!("run.js", SCRIPT),
    file!("sidebar.js", SCRIPT),
    file!("store.js", SCRIPT),
    file!("style.css", STYLE),
    file!("text.js", SCRIPT),
    file!("transfer.js", SCRIPT),
];

/// Nothing but its own files runs or is asked for, and nobody frames it.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; \
    img-src 'self' data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// Whether a path is one of its files.
pub(super) fn has(path: &str) -> bool {
    FILES.iter().any(|(known, ..)| *known == path)
}

pub(super) fn routes() -> Router<Arc<State>> {
    FILES.iter().fold(Router::new(), |router, &(path, ty, bytes)| {
        router.route(path, get(move || std::future::ready(file(ty, bytes))))
    })
}

fn file(ty: &'static str, bytes: &'static [u8]) -> Response {
    let headers = [
        (header::CONTENT_TYPE, ty),
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::CACHE_CONTROL, "no-cache"),
        (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
    ];
    let headers = headers.map(|(name, value)| (name, HeaderValue::from_static(value)));
    (headers, bytes).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_file_of_the_folder_is_served() {
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("page");
        let mut there: Vec<String> = std::fs::read_dir(folder)
            .unwrap()
            .map(|entry| format!("/{}", entry.unwrap().file_name().to_string_lossy()))
            .map(|name| if name == "/index.html" { "/".into() } else { name })
            .collect();
        there.sort();
        assert_eq!(there, FILES.iter().map(|(path, ..)| *path).collect::<Vec<_>>());
    }
}
