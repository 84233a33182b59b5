//! What `framewise connect` is asked for, and what that means for the library.

use std::time::Duration;

use clap::builder::TypedValueParser;
use framewise::ClientRequest;
use framewise::Url;
use framewise::lang::Lang;
use framewise::trace::printable;
use framewise::{CloseCode, Config};

use crate::compression::Compression;
use crate::connect::commands;
use crate::connect::input::MAX_LINE;
use crate::texts;
use crate::tls;

/// Why a value is refused; the help has the Portuguese.
pub const NOT_A_NUMBER: &str = "not a number";
pub const NO_SUCH_TIME: &str = "not above zero, or more than a year";
pub const NO_SUCH_CLOSE: &str = "this code may not be sent, or the reason is too long";

/// The longest time that can be asked for: a year.
const LONGEST: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// What may wait to be sent: a longest line behind what already waits, so that nothing but the session decides when
/// to stop taking lines.
const MAX_OUTPUT: usize = 4 * MAX_LINE;

/// The most header fields that the library can be set to accept.
const MAX_HEADERS: usize = 4096;

/// Connect to a WebSocket server and talk to it
#[derive(clap::Args, Clone, Debug)]
#[command(after_help = "Example: framewise connect localhost:8765/ws/events
         echo '{\"message\": \"oi\"}' | framewise connect localhost:8765/ws/events

Commands: /ping [TEXT]  /pong [TEXT]  /close [CODE [REASON]]  /frag N TEXT  /hex BYTES  /raw BYTES  /help  /exit")]
pub struct Args {
    /// Where to connect: ws://host:port/path, wss://…, or host:port/path
    pub url: String,
    #[command(flatten)]
    pub tls: tls::Options,
    /// A header of the request, as 'Name: value' (repeatable)
    #[arg(short = 'H', long, value_name = "HEADER")]
    pub header: Vec<String>,
    /// A subprotocol to offer (repeatable)
    #[arg(short = 's', long, value_name = "NAME")]
    pub subprotocol: Vec<String>,
    /// The Origin to send
    #[arg(short = 'o', long)]
    pub origin: Option<String>,
    /// Send lines as binary messages
    #[arg(long)]
    pub binary: bool,
    /// Lines are hexadecimal and sent as binary messages; binary messages are shown so
    #[arg(long)]
    pub hex: bool,
    /// Send this and read no lines (repeatable)
    #[arg(short = 'x', long, value_name = "TEXT")]
    pub execute: Vec<String>,
    /// Wait SECONDS seconds for further messages when everything is sent
    #[arg(short = 'w', long, value_name = "SECONDS", value_parser = seconds)]
    pub wait: Option<Duration>,
    /// Close after one answer; without one the exit code is 3
    #[arg(short = '1', long)]
    pub one: bool,
    /// Send a ping every SECONDS seconds; if nothing arrives within --pong-timeout after a ping, the connection counts as lost (exit code 3)
    #[arg(long, value_name = "SECONDS", value_parser = seconds)]
    pub ping: Option<Duration>,
    /// How many seconds nothing may arrive after a ping of --ping
    #[arg(long, value_name = "SECONDS", default_value = "10", value_parser = seconds)]
    pub pong_timeout: Duration,
    /// Do not answer pings, to see what the server makes of it
    #[arg(long)]
    pub no_pong: bool,
    /// The code and reason to close with
    #[arg(long, value_name = "CODE[:REASON]", value_parser = close)]
    pub close: Option<(CloseCode, String)>,
    /// Longest message that is taken
    #[arg(long, value_name = "BYTES", default_value_t = 32 << 20, value_parser = max_message())]
    pub max_message: u64,
    /// Longest head of the server's answer that is taken
    #[arg(long, value_name = "BYTES", default_value_t = 64 << 10, value_parser = max_head())]
    pub max_head: u64,
    /// Offer to compress messages (permessage-deflate): on for each message alone, takeover to remember earlier messages
    #[arg(long, value_enum, default_value_t = Compression::Off)]
    pub deflate: Compression,
    /// Explain every byte of handshake and frames
    #[arg(long)]
    pub trace: bool,
    /// Put the time in front of each line
    #[arg(long)]
    pub ts: bool,
    /// Say how long each answer took
    #[arg(long)]
    pub rtt: bool,
    /// Connect again when the connection is lost or cannot be opened, after 1 s, 2 s and so on up to 30 s, and up to a second more; not after a Close 1000
    #[arg(long)]
    pub reconnect: bool,
    /// Print every event as a line of JSON
    #[arg(long)]
    pub json: bool,
}

fn seconds(text: &str) -> Result<Duration, String> {
    let seconds: f64 = text.parse().map_err(|_| NOT_A_NUMBER.to_owned())?;
    let duration = Duration::try_from_secs_f64(seconds).map_err(|_| NO_SUCH_TIME.to_owned())?;
    Some(duration)
        .filter(|duration| !duration.is_zero() && *duration <= LONGEST)
        .ok_or_else(|| NO_SUCH_TIME.to_owned())
}

fn close(text: &str) -> Result<(CloseCode, String), String> {
    commands::close_of(text).map_err(|_| NO_SUCH_CLOSE.to_owned())
}

impl Args {
    /// The opening handshake.
    ///
    /// # Errors
    ///
    /// Something that no request can carry, as a text for whoever typed it.
    pub fn request(&self, lang: Lang) -> Result<ClientRequest, String> {
        let scheme = self.url.split_once("://").map(|(scheme, _)| scheme);
        let has_scheme =
            scheme.is_some_and(|scheme| scheme.bytes().all(|b| b.is_ascii_alphanumeric()));
        let url = if has_scheme { self.url.clone() } else { format!("ws://{}", self.url) };
        let url = Url::parse(&url).map_err(|why| why.text(lang).to_owned())?;
        let not_sendable = |name: &str| texts::NOT_SENDABLE.with(lang, &[&printable(name)]);
        let mut request = ClientRequest::new(url);
        for name in &self.subprotocol {
            request = request.subprotocol(name).map_err(|_| not_sendable(name))?;
        }
        let mut headers = Vec::new();
        for header in &self.header {
            let (name, value) =
                header.split_once(':').ok_or_else(|| texts::BAD_HEADER.with(lang, &[header]))?;
            headers.push((name.trim(), value.trim()));
        }
        if let Some(origin) = &self.origin {
            headers.push(("Origin", origin));
        }
        // A refusal is read by whoever sits here.
        if !headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("accept-language")) {
            headers.push(("Accept-Language", lang.tag()));
        }
        for (name, value) in headers {
            request = request.header(name, value).map_err(|_| not_sendable(name))?;
        }
        Ok(request)
    }

    /// The library's settings.
    pub fn config(&self) -> Config {
        let mut config = Config::default();
        config.send_pongs = !self.no_pong;
        config.handshake.deflate = self.deflate.settings();
        config.timeouts.ping_interval = None;
        config.limits.max_message = self.max_message as usize;
        config.limits.max_output = MAX_OUTPUT;
        // The length of the whole head is the only limit.
        config.limits.max_head = self.max_head as usize;
        config.limits.max_request_line = config.limits.max_head;
        config.limits.max_headers = MAX_HEADERS;
        config
    }
}

fn max_message() -> impl TypedValueParser<Value = u64> {
    clap::value_parser!(u64).range(1..=1 << 30)
}

fn max_head() -> impl TypedValueParser<Value = u64> {
    clap::value_parser!(u64).range(128..=1 << 20)
}
