//! The HTTP library as we use it: proxies of the environment, the system's root certificates, time limits.

use std::io;
use std::time::Duration;

use anyhow::anyhow;
use ureq::tls::TlsConfig;
use ureq::{Agent, Error, Proxy, Timeout};

use super::http::Failure;
use crate::output;

const RESOLVE: Duration = Duration::from_secs(4);
const CONNECT: Duration = Duration::from_secs(5);

/// The agent for https or for http, each with its own proxy, and where that is.
pub(crate) struct Way {
    pub(crate) agent: Agent,
    proxy: Option<Proxy>,
}

impl Way {
    /// Over which proxy `url` is reached, in words.
    pub(crate) fn over(&self, url: &str) -> String {
        let none = |proxy: &&Proxy| url.parse().is_ok_and(|uri| proxy.is_no_proxy(&uri));
        match self.proxy.as_ref().filter(|proxy| !none(proxy)) {
            Some(proxy) => format!(" over the proxy {}:{}", proxy.host(), proxy.port()),
            None => String::new(),
        }
    }
}

/// How a client reaches others.
pub(crate) struct Ways {
    pub(crate) secure: Way,
    pub(crate) plain: Way,
    /// To this computer: a proxy would be another one, and would see what is meant for nobody else.
    pub(crate) direct: Way,
}

pub(crate) fn ways(patience: Duration) -> anyhow::Result<Ways> {
    let way = |proxy: Option<Proxy>| {
        let agent = Agent::config_builder()
            .http_status_as_error(false)
            // We follow them ourselves: each may lead to another host.
            .max_redirects(0)
            .user_agent(concat!("qwip/", env!("CARGO_PKG_VERSION")))
            .accept_encoding("identity")
            .proxy(proxy.clone())
            .tls_config(tls())
            .timeout_resolve(Some(RESOLVE))
            .timeout_connect(Some(CONNECT))
            .timeout_send_request(Some(patience))
            // Every connection of a download, to the hub and to where it redirects.
            .max_idle_connections(32)
            .max_idle_connections_per_host(16)
            .build()
            .new_agent();
        Way { agent, proxy }
    };
    Ok(Ways { secure: way(proxy("HTTPS_PROXY")?), plain: way(proxy("HTTP_PROXY")?), direct: way(None) })
}

/// The proxy in a variable of the environment, else in ALL_PROXY; capital letters win over small ones. `NO_PROXY` names
/// hosts that are reached without.
fn proxy(name: &'static str) -> anyhow::Result<Option<Proxy>> {
    let set = |name: &str| {
        let value = |name: &str| std::env::var(name).ok().filter(|value| !value.trim().is_empty());
        value(name).or_else(|| value(&name.to_lowercase()))
    };
    let Some((name, text)) = [name, "ALL_PROXY"].iter().find_map(|name| Some((*name, set(name)?))) else {
        return Ok(None);
    };
    // A program that fell back to no proxy would go around what was ordered.
    let wrong =
        || anyhow!("the proxy in {name} is no address: http://HOST:PORT or socks5://HOST:PORT is expected");
    let found = Proxy::new(text.trim()).map_err(|_| wrong())?;
    let mut builder = Proxy::builder(found.protocol()).host(found.host()).port(found.port());
    if let Some(user) = found.username() {
        builder = builder.username(user);
    }
    if let Some(password) = found.password() {
        builder = builder.password(password);
    }
    for host in set("NO_PROXY").unwrap_or_default().split(',').map(str::trim).filter(|host| !host.is_empty())
    {
        builder = builder.no_proxy(host);
    }
    builder.build().map(Some).map_err(|_| wrong())
}

#[cfg(any(windows, target_vendor = "apple"))]
fn tls() -> TlsConfig {
    use ureq::tls::{RootCerts, TlsProvider};
    TlsConfig::builder().provider(TlsProvider::NativeTls).root_certs(RootCerts::PlatformVerifier).build()
}

#[cfg(not(any(windows, target_vendor = "apple")))]
fn tls() -> TlsConfig {
    use std::sync::Arc;
    use ureq::tls::{RootCerts, TlsProvider};
    TlsConfig::builder()
        .provider(TlsProvider::Rustls)
        .root_certs(RootCerts::PlatformVerifier)
        .unversioned_rustls_crypto_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .build()
}

/// What an error of the library means for us; `host` is who was asked.
pub(crate) fn failure(error: Error, host: &str) -> Failure {
    match error {
        Error::Timeout(Timeout::Resolve) => {
            Failure::Broken(format!("the name of {host} is not answered for"))
        }
        Error::Timeout(Timeout::Connect) => Failure::Broken(format!("no connection to {host} in time")),
        Error::Timeout(_) => Failure::Broken(format!("{host} does not answer")),
        Error::HostNotFound => Failure::Broken(format!("the name of {host} is unknown")),
        // What the check of a certificate says comes as such data.
        Error::Io(error) if error.kind() == io::ErrorKind::InvalidData => untrusted(host, &error.to_string()),
        Error::Io(error) => Failure::Broken(error.to_string()),
        // A line that garbles, or a box in between that speaks something else.
        Error::Protocol(error) => Failure::Broken(format!("{host} gives no answer in HTTP ({error})")),
        Error::LargeResponseHeader(..) | Error::BodyStalled => Failure::Broken(format!("{host}: {error}")),
        Error::ConnectionFailed => Failure::Broken(format!("no connection to {host}")),
        Error::ConnectProxyFailed(why) => {
            Failure::Broken(format!("the proxy does not lead to {host}: {}", output::visible(why)))
        }
        Error::Tls(why) => untrusted(host, why),
        #[cfg(any(windows, target_vendor = "apple"))]
        Error::NativeTls(error) => untrusted(host, &error.to_string()),
        #[cfg(not(any(windows, target_vendor = "apple")))]
        Error::Rustls(error) => untrusted(host, &error.to_string()),
        error => Failure::Wrong(format!("{host}: {error}")),
    }
}

fn untrusted(host: &str, why: &str) -> Failure {
    Failure::Wrong(format!(
        "no safe connection to {host}: {why}; the system's root certificates count (on Linux also SSL_CERT_FILE)"
    ))
}
