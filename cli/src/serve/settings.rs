//! The settings of `framewise serve`: a flag, else the environment, else `.env`, else the default.

use std::error::Error;
use std::io::{self, ErrorKind};
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::ValueEnum;
use clap::builder::{PossibleValuesParser, RangedU64ValueParser, TypedValueParser};
use framewise::Config;
use framewise::StartError;
use framewise::config::{KeyPolicy, Origin, OriginPolicy, OriginRule};
use framewise::lang::Lang;
use ipnet::IpNet;
use tracing::Level;
use tracing_appender::non_blocking::{NonBlockingBuilder, WorkerGuard};

use crate::compression::Compression;
use crate::recording::recorder;
use crate::serve::budget;
use crate::serve::class::rooms::Keeping;
use crate::serve::guard::spaced;
use crate::serve::routes::SUBPROTOCOL;
use crate::serve::session::MAX_GROUP_NAME;
use crate::variables::Sources;

/// Lines of the log that may wait for a slow reader; what is more is dropped, never waited for.
const MAX_LOG_LINES: usize = 1_024;

/// How many messages of each room are kept without `--history`.
const HISTORY: u16 = 200;

/// How many bytes the messages of all rooms take at most without `--history-memory`.
const HISTORY_MEMORY: usize = 64 << 20;

/// Start the classroom server
#[derive(clap::Args, Clone, Debug)]
#[command(after_help = "Example: framewise serve --host 0.0.0.0 --token segredo")]
pub struct Args {
    /// Where to listen; 0.0.0.0 shares it with the network
    #[arg(long, env = "HOST", default_value = "localhost")]
    pub host: String,
    /// TCP port, 0 for any free one
    #[arg(long, env = "PORT", default_value_t = 8765)]
    pub port: u16,
    /// Pages that may connect besides the server's own: local, null, same-host (none), any, or an origin like https://example.org (repeatable) [default: local; with --token any]
    #[arg(long, env = "FRAMEWISE_ALLOW_ORIGIN", value_name = "ORIGIN", value_delimiter = ',', value_parser = allowed_origin)]
    pub allow_origin: Vec<AllowedOrigin>,
    /// A further name by which clients may ask for this server, as chat.example.org (repeatable)
    #[arg(long, env = "FRAMEWISE_ALLOW_HOST", value_name = "NAME", value_delimiter = ',', value_parser = host_name)]
    pub allow_host: Vec<String>,
    /// The address at which clients reach this server, as https://school.example/class, if a reverse proxy is in front of it
    #[arg(long, env = "FRAMEWISE_PUBLIC_URL", value_name = "URL", value_parser = public_url)]
    pub public_url: Option<PublicUrl>,
    /// The address or network of a reverse proxy, as 10.0.0.0/8, whose Forwarded and X-Forwarded-* fields count (repeatable)
    #[arg(long, env = "FRAMEWISE_BEHIND_PROXY", value_name = "CIDR", value_delimiter = ',', value_parser = network)]
    pub behind_proxy: Vec<IpNet>,
    /// What clients have to know, as ?token=… or Authorization: Bearer …
    #[arg(long, env = "FRAMEWISE_TOKEN", hide_env_values = true, value_parser = token)]
    pub token: Option<String>,
    /// What opens /wire and /metrics, as ?token=… or Authorization: Bearer …; without it, only this machine can; --token never does
    #[arg(long, env = "FRAMEWISE_TEACHER_TOKEN", value_name = "TOKEN", hide_env_values = true, value_parser = token)]
    pub teacher_token: Option<String>,
    /// Speak TLS (https:// and wss://) with the certificates in FILE (PEM, that of the server first); read again on SIGUSR1 and when it changes
    #[cfg(feature = "tls")]
    #[arg(long, env = "FRAMEWISE_TLS_CERT", value_name = "FILE")]
    pub tls_cert: Option<PathBuf>,
    /// The private key of --tls-cert (PEM)
    #[cfg(feature = "tls")]
    #[arg(long, env = "FRAMEWISE_TLS_KEY", value_name = "FILE")]
    pub tls_key: Option<PathBuf>,
    /// Speak TLS with a certificate that is made at the start, for all names and addresses of this machine; browsers warn
    #[cfg(feature = "tls")]
    #[arg(long, env = "FRAMEWISE_TLS_SELF_SIGNED")]
    pub tls_self_signed: bool,
    /// Write the keys of all TLS connections to the file that SSLKEYLOGFILE names, so that Wireshark can decrypt them
    #[cfg(feature = "tls")]
    #[arg(long, env = "FRAMEWISE_TLS_KEY_LOG")]
    pub tls_key_log: bool,
    /// Messages per second of each client, and twice as many at once; beyond it the client is read more slowly; 0 for no limit
    #[arg(long, env = "FRAMEWISE_RATE", value_name = "N", default_value_t = 100)]
    pub rate: u32,
    /// Bytes of messages per second of each client, and the longest message at once; beyond it the client is read more slowly; 0 for no limit
    #[arg(long, env = "FRAMEWISE_RATE_BYTES", value_name = "BYTES", default_value_t = 256 * 1024)]
    pub rate_bytes: u32,
    /// Connections at once [default: as many as descriptors allow]
    #[arg(long, env = "FRAMEWISE_MAX_CONNECTIONS", value_name = "N", value_parser = at_least_one())]
    pub max_connections: Option<usize>,
    /// Connections at once from one IP address, of which a browser needs up to six for the page [default: any number]
    #[arg(long, env = "FRAMEWISE_MAX_PER_IP", value_name = "N", value_parser = at_least_one())]
    pub max_per_ip: Option<usize>,
    /// Refuse a Sec-WebSocket-Key that does not decode to 16 bytes; without it the key is accepted, with a note and a warning
    #[arg(long, env = "FRAMEWISE_STRICT_KEY")]
    pub strict_key: bool,
    /// No effect: this is the default
    #[arg(long, env = "FRAMEWISE_LENIENT_KEY", hide = true)]
    pub lenient_key: bool,
    /// Compress messages (permessage-deflate) if the client offers it: on for each message alone, takeover to remember earlier messages, for about 420 KiB a client; without it the bytes stay readable
    #[arg(long, env = "FRAMEWISE_DEFLATE", value_enum, default_value_t = Compression::Off)]
    pub deflate: Compression,
    /// Log the text of all messages, which are private; without it only who joins, leaves and is refused is logged
    #[arg(long, env = "FRAMEWISE_LOG_MESSAGES")]
    pub log_messages: bool,
    /// Messages of each room that are kept in memory for those who come later or again; 0 keeps none
    #[arg(long, env = "FRAMEWISE_HISTORY", value_name = "N", default_value_t = HISTORY, value_parser = clap::value_parser!(u16).range(..=10_000))]
    pub history: u16,
    /// Most memory for the messages of all rooms; beyond it the room that was quiet for the longest time loses its messages
    #[arg(long, env = "FRAMEWISE_HISTORY_MEMORY", value_name = "BYTES", default_value_t = HISTORY_MEMORY)]
    pub history_memory: usize,
    /// Show the lessons at /lessons; they are part of the program, so no internet is needed
    #[arg(long, env = "FRAMEWISE_LESSONS")]
    pub lessons: bool,
    /// Show the bytes of all connections at /wire, for the teacher to project: with the messages, and without tokens and cookies
    #[arg(long, env = "FRAMEWISE_WIRE")]
    pub wire: bool,
    /// Record all bytes of all connections into this file, which must not exist; tokens and cookies are replaced by asterisks, the messages are not
    #[arg(long, env = "FRAMEWISE_RECORD", value_name = "FILE")]
    pub record: Option<PathBuf>,
    /// Longest recording in bytes; beyond it the recording ends and the class goes on
    #[arg(long, env = "FRAMEWISE_RECORD_LIMIT", value_name = "BYTES", default_value_t = 1 << 30, value_parser = clap::value_parser!(u64).range(recorder::MIN_LIMIT..))]
    pub record_limit: u64,
    /// How the log is written
    #[arg(long, env = "FRAMEWISE_LOG", value_enum, default_value_t = Log::Text)]
    pub log: Log,
    /// What is logged, at least
    #[arg(long, env = "FRAMEWISE_LOG_LEVEL", value_name = "LEVEL", default_value = "info", value_parser = log_level())]
    pub log_level: Level,

    /// Most memory of all connections together; beyond it the largest is closed (without it a quarter of what the process may use)
    #[arg(long, env = "FRAMEWISE_MAX_MEMORY", value_name = "BYTES", help_heading = LIMITS)]
    pub max_memory: Option<usize>,
    /// Longest message in bytes; beyond it 1009
    #[arg(long, env = "FRAMEWISE_MAX_MESSAGE", value_name = "BYTES", default_value_t = 1 << 20, help_heading = LIMITS)]
    pub max_message: usize,
    /// Most fragments of one message; beyond it 1008
    #[arg(long, env = "FRAMEWISE_MAX_FRAGMENTS", value_name = "N", default_value_t = 4_096, help_heading = LIMITS)]
    pub max_fragments: usize,
    /// Control frames per second of one client; beyond it the client is read more slowly
    #[arg(long, env = "FRAMEWISE_MAX_CONTROL_RATE", value_name = "N", default_value_t = 10_000, help_heading = LIMITS)]
    pub max_control_rate: u32,
    /// Fragments per second of one client; beyond it the client is read more slowly
    #[arg(long, env = "FRAMEWISE_MAX_FRAGMENT_RATE", value_name = "N", default_value_t = 100_000, help_heading = LIMITS)]
    pub max_fragment_rate: u32,
    /// Most output that waits for one client; beyond it 1008
    #[arg(long, env = "FRAMEWISE_MAX_OUTPUT", value_name = "BYTES", default_value_t = 1 << 20, help_heading = LIMITS)]
    pub max_output: usize,
    /// Longest request line; beyond it 414
    #[arg(long, env = "FRAMEWISE_MAX_REQUEST_LINE", value_name = "BYTES", default_value_t = 4_096, help_heading = LIMITS)]
    pub max_request_line: usize,
    /// Longest request head; beyond it 431
    #[arg(long, env = "FRAMEWISE_MAX_HEAD", value_name = "BYTES", default_value_t = 32_768, help_heading = LIMITS)]
    pub max_head: usize,
    /// Most header fields; beyond it 431
    #[arg(long, env = "FRAMEWISE_MAX_HEADERS", value_name = "N", default_value_t = 64, help_heading = LIMITS)]
    pub max_headers: usize,
    /// Most connections in their opening handshake; beyond it an old one is closed
    #[arg(long, env = "FRAMEWISE_MAX_HANDSHAKES", value_name = "N", default_value_t = 1_024, help_heading = LIMITS)]
    pub max_handshakes: usize,
    /// Time for the opening handshake
    #[arg(long, env = "FRAMEWISE_HANDSHAKE_TIMEOUT", value_name = "SECONDS", default_value_t = 10, help_heading = LIMITS)]
    pub handshake_timeout: u64,
    /// How often clients are pinged; 0 for never
    #[arg(long, env = "FRAMEWISE_PING_INTERVAL", value_name = "SECONDS", default_value_t = 20, help_heading = LIMITS)]
    pub ping_interval: u64,
    /// Time for the pong; beyond it 1008
    #[arg(long, env = "FRAMEWISE_PONG_TIMEOUT", value_name = "SECONDS", default_value_t = 20, help_heading = LIMITS)]
    pub pong_timeout: u64,
    /// How long a client may read nothing of what waits for it
    #[arg(long, env = "FRAMEWISE_WRITE_TIMEOUT", value_name = "SECONDS", default_value_t = 20, help_heading = LIMITS)]
    pub write_timeout: u64,
    /// How long more than half of the output may wait for one client; beyond it 1008
    #[arg(long, env = "FRAMEWISE_CONGESTION_TIMEOUT", value_name = "SECONDS", default_value_t = 5, help_heading = LIMITS)]
    pub congestion_timeout: u64,
    /// How long a client may say nothing; 0 for no limit
    #[arg(long, env = "FRAMEWISE_IDLE_TIMEOUT", value_name = "SECONDS", default_value_t = 0, help_heading = LIMITS)]
    pub idle_timeout: u64,
    /// Time for the closing handshake
    #[arg(long, env = "FRAMEWISE_CLOSE_TIMEOUT", value_name = "SECONDS", default_value_t = 5, help_heading = LIMITS)]
    pub close_timeout: u64,

    /// Where the values come from that are not flags.
    #[arg(skip)]
    pub sources: Sources,
    /// Variables that Kubernetes or Docker has injected, and that are ignored.
    #[arg(skip)]
    pub injected: Vec<String>,
}

const LIMITS: &str = "Limits";

/// Why a token is refused; the help has the Portuguese.
pub const NO_SUCH_TOKEN: &str = "use ASCII characters, at least one, and no space around them";

/// What every client can send, in a header as well as in an address.
fn token(text: &str) -> Result<String, &'static str> {
    let is_fine = !text.is_empty() && text.trim() == text;
    let is_plain = text.bytes().all(|byte| byte.is_ascii_graphic() || byte == b' ');
    if is_fine && is_plain { Ok(text.to_owned()) } else { Err(NO_SUCH_TOKEN) }
}

/// A value of `--allow-origin`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AllowedOrigin {
    /// Every page.
    Any,
    Rule(OriginRule),
}

/// Why a host is refused; the help has the Portuguese.
pub const NO_SUCH_HOST: &str = "use a name like chat.example.org, without a scheme, a path and *";

fn host_name(text: &str) -> Result<String, &'static str> {
    let origin = format!("http://{text}").parse::<Origin>();
    origin.map(|_| text.to_owned()).map_err(|_| NO_SUCH_HOST)
}

/// The value of `--public-url`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublicUrl {
    /// The whole address, with a slash at its end.
    pub text: String,
    /// The origin of the pages there.
    pub origin: Origin,
    /// Host and port.
    pub host: String,
}

/// Why a public address is refused; the help has the Portuguese.
pub const NO_SUCH_URL: &str = "use an address like https://school.example/class, without ? and #";

fn public_url(text: &str) -> Result<PublicUrl, &'static str> {
    let (scheme, rest) = text.split_once("://").ok_or(NO_SUCH_URL)?;
    let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
    let origin: Origin = format!("{scheme}://{host}").parse().map_err(|_| NO_SUCH_URL)?;
    let is_http = ["http", "https"].contains(&scheme);
    if !is_http || path.contains(['?', '#', ' ']) {
        return Err(NO_SUCH_URL);
    }
    let slash = if text.ends_with('/') { "" } else { "/" };
    Ok(PublicUrl { text: format!("{text}{slash}"), origin, host: host.to_owned() })
}

/// Why a network is refused; the help has the Portuguese.
pub const NO_SUCH_NETWORK: &str = "use an IP address or a network like 10.0.0.0/8";

fn network(text: &str) -> Result<IpNet, &'static str> {
    let address = || text.parse::<IpAddr>().map(IpNet::from);
    text.parse().or_else(|_| address()).map_err(|_| NO_SUCH_NETWORK)
}

/// Why an origin is refused; the help has the Portuguese.
pub const NO_SUCH_ORIGIN: &str = "use local, null, same-host, any, or an origin like https://example.org or http://localhost:3000";

fn allowed_origin(text: &str) -> Result<AllowedOrigin, &'static str> {
    match text {
        "any" => Ok(AllowedOrigin::Any),
        text => text.parse().map(AllowedOrigin::Rule).map_err(|_| NO_SUCH_ORIGIN),
    }
}

fn log_level() -> impl TypedValueParser<Value = Level> {
    PossibleValuesParser::new(["error", "warn", "info", "debug"])
        .try_map(|name| name.parse::<Level>())
}

/// Returns the id of the option that sets a setting of the library, for example `limits.max_message`.
fn option_of(setting: &str) -> &str {
    match setting.split_once('.') {
        Some(("limits", "max_per_address")) => "max_per_ip",
        Some(("handshake", "origins")) => "allow_origin",
        Some(("timeouts", "handshake")) => "handshake_timeout",
        Some(("timeouts", "pong")) => "pong_timeout",
        Some(("timeouts", "write")) => "write_timeout",
        Some(("timeouts", "congestion")) => "congestion_timeout",
        Some(("timeouts", "idle")) => "idle_timeout",
        Some(("timeouts", "close")) => "close_timeout",
        Some((_, name)) => name,
        None => setting,
    }
}

/// How the log is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Log {
    Text,
    Json,
}

fn at_least_one() -> impl TypedValueParser<Value = usize> {
    RangedU64ValueParser::<usize>::new().range(1..)
}

impl Args {
    /// The library's settings.
    pub fn config(&self, lang: Lang) -> Config {
        let seconds = Duration::from_secs;
        let unless_zero = |value: u64| (value > 0).then(|| seconds(value));
        let mut config = Config::default()
            .listen(&self.host, self.port)
            .handshake(|handshake| {
                handshake.keys =
                    if self.strict_key { KeyPolicy::Strict } else { KeyPolicy::Lenient };
                // The guard judges origins, because it knows about proxies.
                handshake.origins = OriginPolicy::Any;
                handshake.subprotocols = vec![SUBPROTOCOL.to_owned()];
                handshake.deflate = self.deflate.settings();
            })
            .limits(|limits| {
                limits.max_connections = self.max_connections;
                // Behind a proxy, all connections come from its address, so the classroom counts clients itself.
                limits.max_per_address =
                    if self.behind_proxy.is_empty() { self.max_per_ip } else { None };
                limits.max_memory = self.max_memory;
                limits.max_message = self.max_message;
                limits.max_fragments = self.max_fragments;
                limits.max_control_rate = self.max_control_rate;
                limits.max_fragment_rate = self.max_fragment_rate;
                limits.max_output = self.max_output;
                limits.max_request_line = self.max_request_line;
                limits.max_head = self.max_head;
                limits.max_headers = self.max_headers;
                limits.max_handshakes = self.max_handshakes;
                limits.max_group_name = MAX_GROUP_NAME;
            })
            .timeouts(|timeouts| {
                timeouts.handshake = seconds(self.handshake_timeout);
                timeouts.ping_interval = unless_zero(self.ping_interval);
                timeouts.pong = seconds(self.pong_timeout);
                timeouts.write = seconds(self.write_timeout);
                timeouts.congestion = seconds(self.congestion_timeout);
                timeouts.idle = unless_zero(self.idle_timeout);
                timeouts.close = seconds(self.close_timeout);
            });
        config.lang = lang;
        config
    }

    /// Returns how much is kept of what is said.
    pub fn keeping(&self) -> Keeping {
        Keeping { messages: self.history.into(), bytes: self.history_memory }
    }

    /// Returns how much each client may send.
    pub fn budget(&self) -> budget::Limits {
        budget::Limits {
            messages: self.rate,
            bytes: self.rate_bytes,
            burst_bytes: self.max_message,
        }
    }

    /// Reports whether the two tokens are the same, so that the class could open what is the teacher's.
    pub fn has_one_token_for_all(&self) -> bool {
        let tokens = [&self.token, &self.teacher_token].map(|token| token.as_deref().map(spaced));
        tokens[0].is_some() && tokens[0] == tokens[1]
    }

    /// Returns which pages may open what is the teacher's: only those of the server itself, by whatever name.
    pub fn own_pages(&self) -> OriginPolicy {
        let mut rules = vec![OriginRule::SameHost];
        rules.extend(self.public_url.as_ref().map(|url| OriginRule::Exact(url.origin.clone())));
        OriginPolicy::AnyOf(rules)
    }

    /// Returns which pages may connect. Pages of the server itself always may.
    pub fn origin_policy(&self) -> OriginPolicy {
        let allowed = match (self.allow_origin.as_slice(), &self.token) {
            // The token decides who may connect, wherever the page comes from.
            ([], Some(_)) => &[AllowedOrigin::Any][..],
            ([], None) => &[AllowedOrigin::Rule(OriginRule::Local)],
            (allowed, _) => allowed,
        };
        let OriginPolicy::AnyOf(mut rules) = self.own_pages() else { return OriginPolicy::Any };
        for origin in allowed {
            match origin {
                AllowedOrigin::Any => return OriginPolicy::Any,
                // A page that was opened from a file is a local page as well.
                AllowedOrigin::Rule(OriginRule::Local) => {
                    rules.extend([OriginRule::Local, OriginRule::Null]);
                }
                AllowedOrigin::Rule(rule) => rules.push(rule.clone()),
            }
        }
        OriginPolicy::AnyOf(rules)
    }

    /// Returns the text of an error of the start, and where the value came from that caused it.
    pub fn explain(&self, error: &StartError, lang: Lang) -> String {
        let option = match error {
            StartError::Config(error) => Some(option_of(error.setting())),
            StartError::Listen(error) => {
                let cause = error.source().and_then(|cause| cause.downcast_ref::<io::Error>());
                Some(match cause.map(io::Error::kind) {
                    Some(ErrorKind::AddrInUse | ErrorKind::PermissionDenied) => "port",
                    _ => "host",
                })
            }
            _ => None,
        };
        self.sources.explain(error.text(lang), option, lang)
    }

    /// The language of the log: machines are spoken to in English.
    pub fn log_lang(&self, lang: Lang) -> Lang {
        if self.log == Log::Json { Lang::En } else { lang }
    }

    /// Writes the log to standard error, from a thread of its own, for as long as the guard lives.
    pub fn start_logging(&self) -> WorkerGuard {
        let builder = NonBlockingBuilder::default().lossy(true).buffered_lines_limit(MAX_LOG_LINES);
        let (writer, guard) = builder.finish(io::stderr());
        let format = tracing_subscriber::fmt().with_writer(writer).with_max_level(self.log_level);
        let format = format.with_target(false);
        match self.log {
            Log::Text => format.with_ansi(io::IsTerminal::is_terminal(&io::stderr())).init(),
            Log::Json => format.json().flatten_event(true).init(),
        }
        guard
    }
}
