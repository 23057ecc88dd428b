//! `qwip serve`: models for other programs, over HTTP, and a page to chat on.

mod library;
mod values;

use std::io;
use std::net::{SocketAddr, TcpListener, ToSocketAddrs};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::Arc;

use anyhow::{Context, anyhow};
use clap::builder::FalseyValueParser;
use clap::{Args, ValueEnum};
use qwip_server::chat::KeepAlive;
use qwip_server::http::{self, HttpSettings};
use qwip_server::models::{Models, Settings};

use crate::args::{ComputeArgs, HubArgs};
use crate::output::{bytes, note, usage};
use crate::running::{self, Facts};
use crate::{interrupt, machine, places};
use library::Shelf;

const AFTER_HELP: &str = "\
The page is at /, the APIs are OpenAI's below /v1, Anthropic's at /v1/messages and Ollama's below /api; /health says that the \
server lives, /metrics what it does. docs/server.md tells more.

Only programs on this computer are answered unless --host names another address, which needs a key or --no-auth.

Exit status: 0 ended by Ctrl-C, 1 failed, 2 wrong call.";

#[derive(Args, Debug)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct ServeArgs {
    /// Models to serve: GGUF files, names that `list` shows, OWNER/REPO[:QUANT] or `builtin` [default: QWIP_MODEL, else
    /// every model on this computer]
    #[arg(value_name = "MODEL")]
    pub(crate) models: Vec<PathBuf>,
    /// The same
    #[arg(short = 'm', long = "model", value_name = "MODEL")]
    pub(crate) model: Vec<PathBuf>,
    #[command(flatten)]
    pub(crate) hub: HubArgs,
    /// Address to listen on
    #[arg(long, env = "QWIP_HOST", value_name = "HOST", default_value = "127.0.0.1")]
    pub(crate) host: String,
    /// Port to listen on; 0: one that is free
    #[arg(long, env = "QWIP_PORT", value_name = "PORT", default_value_t = 8080)]
    pub(crate) port: u16,
    /// Key that requests must carry (may be given several times)
    #[arg(long, env = "QWIP_API_KEY", value_name = "KEY", hide_env_values = true)]
    pub(crate) api_key: Vec<String>,
    /// Answer whoever can reach the address
    #[arg(long, env = "QWIP_NO_AUTH", value_parser = FalseyValueParser::new())]
    pub(crate) no_auth: bool,
    /// Further name by which requests may call this computer, as containers do; `*`: any (several with commas between them)
    #[arg(long, env = "QWIP_ALLOW_HOST", value_name = "NAME", value_delimiter = ',')]
    pub(crate) allow_host: Vec<String>,
    /// Origin of web pages that may use the server, as https://chat.example; `*`: any (several with commas between them)
    #[arg(long, env = "QWIP_ALLOW_ORIGIN", value_name = "ORIGIN", value_delimiter = ',')]
    pub(crate) allow_origin: Vec<String>,
    /// Answers of a model that are computed at the same time; -c is for each of them
    #[arg(long, env = "QWIP_PARALLEL", value_name = "N", default_value_t = 4, value_parser = values::parallel)]
    pub(crate) parallel: usize,
    /// Most memory for the keys and values of all answers and of conversations that are kept for their next turn, as 2GB
    /// [default: a quarter of what is available]
    #[arg(long, env = "QWIP_KV_MEMORY", value_name = "SIZE", value_parser = values::size)]
    pub(crate) kv_memory: Option<u64>,
    /// Most memory for models and --kv-memory together; models that nobody uses make room for others [default: four fifths of
    /// the computer's, if models are loaded on demand]
    #[arg(long, env = "QWIP_MEMORY", value_name = "SIZE", value_parser = values::size)]
    pub(crate) memory: Option<u64>,
    /// How long a model stays loaded when nobody uses it, as 30s, 5m or 2h; -1: until the server ends
    #[arg(long, env = "QWIP_KEEP_ALIVE", value_name = "TIME", default_value = "5m", allow_hyphen_values = true,
          value_parser = values::keep_alive)]
    pub(crate) keep_alive: KeepAlive,
    /// Requests of a model that may wait beside those that are answered
    #[arg(long, env = "QWIP_QUEUE", value_name = "N", default_value_t = 64, value_parser = values::queue)]
    pub(crate) queue: usize,
    /// Open the page in the browser
    #[arg(long, env = "QWIP_OPEN", value_parser = FalseyValueParser::new())]
    pub(crate) open: bool,
    /// How requests are logged on standard error, never with their text
    #[arg(long, env = "QWIP_LOG", value_enum, default_value_t = Log::Text)]
    pub(crate) log: Log,
    /// Say which limits are in effect
    #[arg(short = 'v', long, env = "QWIP_VERBOSE", value_parser = FalseyValueParser::new())]
    pub(crate) verbose: bool,
    #[command(flatten)]
    pub(crate) compute: ComputeArgs,
}

#[derive(ValueEnum, Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Log {
    Off,
    /// A line for each request
    Text,
    /// A JSON object for each request
    Json,
}

/// For memory, where the system does not say how much there is.
const UNKNOWN: u64 = 8_000_000_000;

pub(crate) fn run(args: ServeArgs) -> anyhow::Result<()> {
    let address = address(&args.host, args.port)?;
    let http = http_settings(&args, address)?;
    let armed = interrupt::arm();
    let shelf = Arc::new(Shelf::new(named(&args), &args.hub, &args.compute)?);
    let settings = settings(&args, shelf.is_open());
    let listener = listen(address)?;
    log(args.log);
    if args.verbose {
        let memory = settings.memory.map_or("unlimited".into(), bytes);
        note(format_args!(
            "qwip: {} models; keys and values up to {}, memory {memory}, {} answers at the same time, {} waiting",
            shelf.count(),
            bytes(settings.kv_memory),
            settings.parallel,
            settings.queue
        ));
    }
    if shelf.is_demonstration() {
        note(format_args!("qwip: note: {}", crate::builtin::NOTICE));
    }
    let mut registered = None;
    let ready = |address: SocketAddr| {
        let url = format!("http://{}", reachable(address));
        registered = running::register_as(&Facts {
            command: "serve",
            model: &url,
            file: None,
            weights: 0,
            context: 0,
            device: "-",
        });
        note(format_args!("qwip: serving on http://{address} (Ctrl-C ends it)"));
        if args.open {
            open(&url);
        }
    };
    let models = || Models::new(shelf, settings);
    let result = http::run(listener, models, http, || interrupt::flag().is_cancelled(), ready);
    drop((registered, armed));
    result.with_context(|| format!("serving on {address}"))
}

/// The models that are asked for; none: all.
fn named(args: &ServeArgs) -> Vec<PathBuf> {
    let mut named: Vec<PathBuf> = args.models.iter().chain(&args.model).cloned().collect();
    if named.is_empty() && args.hub.hf_repo.is_none() {
        named.extend(places::variable("QWIP_MODEL").map(PathBuf::from));
    }
    named
}

fn address(host: &str, port: u16) -> anyhow::Result<SocketAddr> {
    let name = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(host);
    let found = (name, port).to_socket_addrs().ok().and_then(|mut all| all.next());
    found.ok_or_else(|| usage(format!("--host {host}: this is no address of this computer")))
}

fn http_settings(args: &ServeArgs, address: SocketAddr) -> anyhow::Result<HttpSettings> {
    if args.api_key.iter().any(|key| key.is_empty() || !key.bytes().all(|byte| byte.is_ascii_graphic())) {
        return Err(usage("--api-key: a key consists of letters, digits and signs, without spaces"));
    }
    if let (Some(memory), Some(kv)) = (args.memory, args.kv_memory)
        && kv >= memory
    {
        return Err(usage(format!(
            "--kv-memory {} leaves nothing of --memory {} for a model",
            bytes(kv),
            bytes(memory)
        )));
    }
    if args.no_auth && !args.api_key.is_empty() {
        return Err(usage("--no-auth and --api-key (or QWIP_API_KEY) contradict each other"));
    }
    let is_local = address.ip().is_loopback();
    if !is_local && args.api_key.is_empty() && !args.no_auth {
        return Err(usage(format!(
            "--host {}: others can reach this address, so it needs --api-key KEY (or QWIP_API_KEY), or --no-auth if anybody may \
             use it",
            args.host
        )));
    }
    if !is_local && args.no_auth {
        note(format_args!("qwip: note: whoever can reach {} can use the models", address.ip()));
    }
    Ok(HttpSettings {
        api_keys: args.api_key.clone(),
        allow_hosts: args.allow_host.clone(),
        allow_origins: args.allow_origin.clone(),
        ..HttpSettings::default()
    })
}

/// The limits. `on_demand`: whatever is on this computer may be loaded.
fn settings(args: &ServeArgs, on_demand: bool) -> Settings {
    let memory = machine::memory();
    let available = memory.available.or(memory.total).unwrap_or(UNKNOWN);
    let share = memory.total.filter(|_| on_demand).map(|total| total / 5 * 4);
    // Of a small limit on everything the models need their part.
    let quarter = args.memory.map_or(available / 4, |memory| (available / 4).min(memory / 2));
    let kv_memory = args.kv_memory.unwrap_or(quarter);
    Settings {
        parallel: args.parallel,
        kv_memory,
        // What is said about keys and values is done.
        memory: args.memory.or(share.map(|share| share.max(kv_memory))),
        keep_alive: args.keep_alive,
        queue: args.queue,
        ..Settings::default()
    }
}

fn listen(address: SocketAddr) -> anyhow::Result<TcpListener> {
    TcpListener::bind(address).map_err(|error| match error.kind() {
        io::ErrorKind::AddrInUse => {
            anyhow!(
                "{address}: port {} is in use (--port N takes another, --port 0 a free one)",
                address.port()
            )
        }
        io::ErrorKind::AddrNotAvailable => anyhow!("{address}: this is no address of this computer"),
        _ => anyhow!("{address}: {error}"),
    })
}

/// One line for each request.
fn log(kind: Log) {
    let builder = tracing_subscriber::fmt()
        .with_max_level(tracing_subscriber::filter::LevelFilter::INFO)
        .with_ansi(false)
        .with_target(false)
        .with_writer(io::stderr);
    // It fails if there is a log already, which then serves.
    let _ = match kind {
        Log::Off => Ok(()),
        Log::Text => builder.try_init(),
        Log::Json => builder.json().try_init(),
    };
}

/// The address as a browser on this computer calls it.
fn reachable(address: SocketAddr) -> SocketAddr {
    let ip = match address {
        SocketAddr::V4(v4) if v4.ip().is_unspecified() => std::net::Ipv4Addr::LOCALHOST.into(),
        SocketAddr::V6(v6) if v6.ip().is_unspecified() => std::net::Ipv6Addr::LOCALHOST.into(),
        other => other.ip(),
    };
    SocketAddr::new(ip, address.port())
}

/// Shows an address in the browser.
fn open(url: &str) {
    let (program, before): (&str, &[&str]) = match () {
        () if cfg!(windows) => ("cmd", &["/C", "start", ""]),
        () if cfg!(target_os = "macos") => ("open", &[]),
        () => ("xdg-open", &[]),
    };
    let mut command = Command::new(program);
    command.args(before).arg(url).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let started = command.spawn().map_err(anyhow::Error::from).and_then(|mut child| {
        // It hands the address over and ends; not to wait would leave a zombie.
        std::thread::Builder::new().spawn(move || child.wait())?;
        Ok(())
    });
    if let Err(error) = started {
        note(format_args!("qwip: note: the browser was not opened: {program}: {error}"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args::{Cli, Command as Sub};
    use crate::output::one_line;
    use clap::Parser;

    fn args(words: &[&str]) -> ServeArgs {
        let cli = Cli::try_parse_from([&["qwip", "serve"], words].concat()).unwrap();
        let Some(Sub::Serve(args)) = cli.command else { panic!("not serve") };
        args
    }

    fn checked(words: &[&str]) -> Result<HttpSettings, String> {
        let args = args(words);
        let settings = address(&args.host, args.port).and_then(|address| http_settings(&args, address));
        settings.map_err(|error| one_line(&error))
    }

    #[test]
    fn other_addresses_need_a_key_or_a_word() {
        assert!(checked(&[]).is_ok());
        assert!(checked(&["--host", "[::1]"]).is_ok());
        let error = checked(&["--host", "0.0.0.0"]).unwrap_err();
        assert!(error.contains("--api-key") && error.contains("--no-auth"), "{error}");
        assert!(checked(&["--host", "0.0.0.0", "--no-auth"]).unwrap().api_keys.is_empty());
        let keyed = checked(&["--host", "0.0.0.0", "--api-key", "a", "--api-key", "b"]).unwrap();
        assert_eq!(keyed.api_keys, ["a", "b"]);
        let named =
            checked(&["--allow-host", "a,b", "--allow-host", "c", "--allow-origin", "https://d,null"]);
        let named = named.unwrap();
        assert_eq!(
            (named.allow_hosts.join(" "), named.allow_origins.join(" ")),
            ("a b c".into(), "https://d null".into())
        );
        assert!(checked(&["--api-key", ""]).is_err() && checked(&["--api-key", "a b"]).is_err());
        assert!(checked(&["--api-key", "a", "--no-auth"]).is_err());
        assert!(checked(&["--host", "no such host"]).unwrap_err().contains("no such host"));
    }

    #[test]
    fn limits_come_from_flags_or_from_the_computer() {
        let given = settings(&args(&["--kv-memory", "1GB", "--memory", "3GB", "--parallel", "2"]), true);
        assert_eq!((given.kv_memory, given.memory, given.parallel), (1_000_000_000, Some(3_000_000_000), 2));
        assert_eq!(settings(&args(&[]), false).memory, None);
        assert_eq!(settings(&args(&["--memory", "1MB"]), false).kv_memory, 500_000);
        let own = settings(&args(&[]), true);
        assert!(own.kv_memory > 0 && own.memory.is_none_or(|memory| memory >= own.kv_memory), "{own:?}");
        let kv = settings(&args(&["--kv-memory", "9000000GB"]), true);
        assert!(kv.memory.is_none_or(|memory| memory >= kv.kv_memory));
    }

    #[test]
    fn a_browser_is_given_an_address_that_it_can_reach() {
        let of = |address: &str| reachable(address.parse().unwrap()).to_string();
        assert_eq!(of("0.0.0.0:80"), "127.0.0.1:80");
        assert_eq!(of("[::]:80"), "[::1]:80");
        assert_eq!(of("10.0.0.1:80"), "10.0.0.1:80");
    }
}
