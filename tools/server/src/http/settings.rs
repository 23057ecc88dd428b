//! Who may ask, and how much.

use std::time::Duration;

/// What the server lets in. `Default` is for this computer alone, without a key.
#[derive(Clone, Debug)]
pub struct HttpSettings {
    /// Keys, one of which each request must carry; none: no key is asked for.
    pub api_keys: Vec<String>,
    /// Names by which requests may call this server, besides those of this computer and the address that it listens on;
    /// `*`: any.
    pub allow_hosts: Vec<String>,
    /// Origins of web pages that may use it, as `https://chat.example`, besides its own; `*`: any.
    pub allow_origins: Vec<String>,
    /// Most bytes of a request's body.
    pub max_body: usize,
    /// Most bytes of memory for all bodies that are being read or answered: for a text twice its size, for JSON of many small
    /// values far more.
    pub max_bodies: usize,
    /// Most connections.
    pub max_connections: usize,
    /// Most bytes of a request's head (at least 8192).
    pub max_head: usize,
    /// How long a client may take to send the head of a request, or to begin the next one.
    pub head_timeout: Duration,
    /// How long it may take to send a body.
    pub body_timeout: Duration,
    /// How long a client may read nothing of an answer.
    pub stall_timeout: Duration,
    /// How long a stream may be silent before a comment says that it lives.
    pub ping: Duration,
    /// How long answers may go on after the server was told to end.
    pub grace: Duration,
}

impl Default for HttpSettings {
    fn default() -> HttpSettings {
        HttpSettings {
            api_keys: Vec::new(),
            allow_hosts: Vec::new(),
            allow_origins: Vec::new(),
            max_body: 16 << 20,
            max_bodies: 256 << 20,
            max_connections: 256,
            max_head: 64 << 10,
            head_timeout: Duration::from_secs(30),
            body_timeout: Duration::from_secs(60),
            stall_timeout: Duration::from_secs(60),
            ping: Duration::from_secs(15),
            grace: Duration::from_secs(5),
        }
    }
}
