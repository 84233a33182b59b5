//! Every setting: limits, time-outs and policies.
//!
//! A [`Config`] is plain data. [`Config::validate`] checks it and returns a [`ValidConfig`]. The rest of the library
//! uses only that type, so no other file has to check a setting again.

use std::fmt;
use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

use crate::lang::{Bilingual, Lang};
#[cfg(feature = "deflate")]
pub use crate::protocol::deflate::settings::Deflate;
pub use crate::protocol::http::origin::{InvalidOrigin, Origin, OriginPolicy, OriginRule};
use crate::texts;

/// The settings of a server, or of one side of a connection.
///
/// Start from [`Config::default`] and change what you need:
///
/// ```
/// use std::time::Duration;
/// use framewise::Config;
///
/// let config = Config::default()
///     .listen("0.0.0.0", 8765)
///     .limits(|limits| limits.max_message = 64 * 1024)
///     .timeouts(|timeouts| timeouts.handshake = Duration::from_secs(5));
/// assert!(config.validate().is_ok());
/// ```
///
/// [Limits](https://github.com/framewise/framewise/blob/main/docs/limits.md) lists every setting, with its default and what happens beyond it.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Config {
    /// Host name or IP address to listen on. `localhost` means both 127.0.0.1 and ::1, because browsers may try either
    /// one.
    pub host: String,
    /// TCP port. 0 lets the operating system choose a free one.
    pub port: u16,
    /// The language of a refusal if the request does not ask for one.
    pub lang: Lang,
    /// What the opening handshake accepts.
    pub handshake: HandshakePolicy,
    /// Limits, in bytes or as counts.
    pub limits: Limits,
    /// How long each step may take.
    pub timeouts: Timeouts,
    /// Whether a ping gets a pong, as the standard requires (§5.5.2). Set it to false only to observe how the other
    /// side reacts when it receives no pong.
    pub send_pongs: bool,
}

/// What the opening handshake accepts (§4.2).
///
/// ```
/// use framewise::Config;
/// use framewise::config::OriginPolicy;
///
/// let origins = OriginPolicy::AnyOf(vec!["https://example.org".parse()?]);
/// let config = Config::default().handshake(|handshake| {
///     handshake.origins = origins;
///     handshake.subprotocols = vec!["chat".to_owned()];
/// });
/// assert!(config.validate().is_ok());
/// # Ok::<(), framewise::config::InvalidOrigin>(())
/// ```
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct HandshakePolicy {
    /// Which `Sec-WebSocket-Key` values are accepted.
    pub keys: KeyPolicy,
    /// Which web pages may connect.
    pub origins: OriginPolicy,
    /// Subprotocols that the server supports. It chooses the first entry of the client's list that is also in this
    /// list.
    pub subprotocols: Vec<String>,
    /// Whether and how messages are compressed, if the peer agrees. `None` means that the extension is neither offered nor
    /// accepted. Needs the feature `deflate`.
    #[cfg(feature = "deflate")]
    pub deflate: Option<Deflate>,
    /// Whether to offer and accept the extension of the unit tests.
    #[cfg(test)]
    pub(crate) reverse: bool,
}

/// Limits, which [`Config::limits`] changes. Sizes are in bytes.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Limits {
    /// Longest request line, without its CR LF. A longer one gets 414.
    pub max_request_line: usize,
    /// Longest head of a request or response. A longer request head gets 431.
    pub max_head: usize,
    /// Most header fields. A request with more gets 431.
    pub max_headers: usize,
    /// Most connections that have not opened a WebSocket: those in their opening handshake, and those that are kept after
    /// a plain request. One more replaces another one, which is closed: the kept connection that has been idle for
    /// longest, or if there is none, of the 64 oldest handshakes the first one from the address that has the most of
    /// them.
    pub max_handshakes: usize,
    /// Most plain requests on one connection. After the last response it is closed. 1 closes it after each response, and
    /// a browser then connects again for each file of a page.
    pub max_requests: usize,

    /// Longest message, in one frame or in fragments. A longer one gets 1009.
    pub max_message: usize,
    /// Most fragments of one message. A message with more gets 1008. Even a short fragment costs work.
    pub max_fragments: usize,
    /// Most control frames per second from one peer. Beyond it, the peer is not read until the next second.
    pub max_control_rate: u32,
    /// Most fragments per second from one peer. Beyond it, the peer is not read until the next second.
    pub max_fragment_rate: u32,

    /// Most output that is queued for one peer whose socket is full. Beyond it, the peer gets 1008. A peer is not read
    /// while replies to it fill half of its output, or while it sends to a peer whose output is more than half full.
    pub max_output: usize,
    /// Most memory that all connections of a server hold together: heads, partial messages, unprocessed input and
    /// output. Beyond it, the connection that holds the most is closed, with 1009 if that is mainly input and 1008 if
    /// it is mainly output. `None` means a quarter of the memory that the process may use, which
    /// [`Server::bind`](crate::Server::bind) determines.
    pub max_memory: Option<usize>,
    /// Most bytes that are read and discarded after our last byte was sent, so that the peer can read the Close before
    /// TCP is closed.
    pub max_discard: usize,

    /// Most connections at once. An excess connection gets 503 and is closed. `None` means the file
    /// descriptor limit minus 64.
    pub max_connections: Option<usize>,
    /// Most connections at once from one IP address. An excess connection gets 429 and is closed. `None` means no
    /// limit, which is the default because a class often shares one address.
    /// [`Application::counted_as`](crate::Application::counted_as) names the address that a connection counts as.
    pub max_per_address: Option<usize>,
    /// Most groups that one peer may join.
    pub max_groups_per_peer: usize,
    /// Longest group name, in bytes of UTF-8.
    pub max_group_name: usize,
    /// Size of the one buffer that an event loop reads into. It is also the most that is read from one peer in one
    /// turn, and the most unprocessed input that is kept for a paused peer.
    pub read_buffer: usize,
}

/// How long each step may take. [`Config::timeouts`] changes it.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Timeouts {
    /// From the TCP accept to the end of the request. Bytes that arrive do not extend it. It is shortened to a quarter
    /// while more than half of [`Limits::max_handshakes`] are in use.
    pub handshake: Duration,
    /// How long a connection is kept after the response to a plain request, until the client has received the response
    /// and begins the next request. That request may then take as long as [`handshake`](Timeouts::handshake).
    pub keep_alive: Duration,
    /// How long a full socket may accept no bytes before the connection is closed.
    pub write: Duration,
    /// How long a peer that others send to may be congested, with more than half of [`Limits::max_output`] queued,
    /// before it gets 1008. Its senders are paused until then.
    pub congestion: Duration,
    /// How often an open connection is pinged. `None` means never. Only a ping reveals a peer that has disappeared
    /// without a Close.
    pub ping_interval: Option<Duration>,
    /// How long the pong may take before the connection is closed with 1008. Output that was sent before the ping gives the
    /// peer more time: as much as it takes at 16 KiB per second, for at most 4 MiB.
    pub pong: Duration,
    /// How long a peer may send no message before its connection is closed with 1001. `None` means no limit.
    pub idle: Option<Duration>,
    /// How long closing may take, from the first Close to the close of TCP.
    pub close: Duration,
}

/// Which `Sec-WebSocket-Key` values a server accepts (§4.2.1). A part of [`HandshakePolicy`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum KeyPolicy {
    /// Exactly 16 bytes in base64, as the standard requires.
    #[default]
    Strict,
    /// Any length except zero. The response has a header field that names the fault. Intended for classes that type
    /// keys by hand.
    Lenient,
}

impl Default for Config {
    fn default() -> Config {
        Config {
            host: "localhost".to_owned(),
            port: 8765,
            lang: Lang::En,
            handshake: HandshakePolicy::default(),
            limits: Limits::default(),
            timeouts: Timeouts::default(),
            send_pongs: true,
        }
    }
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            max_request_line: 4 * 1024,
            max_head: 32 * 1024,
            max_headers: 64,
            max_handshakes: 1024,
            max_requests: 100,
            max_message: 1 << 20,
            max_fragments: 4096,
            max_control_rate: 10_000,
            max_fragment_rate: 100_000,
            max_output: 1 << 20,
            max_memory: None,
            max_discard: 16 << 20,
            max_connections: None,
            max_per_address: None,
            max_groups_per_peer: 64,
            max_group_name: 64,
            read_buffer: 512 * 1024,
        }
    }
}

impl Default for Timeouts {
    fn default() -> Timeouts {
        Timeouts {
            handshake: Duration::from_secs(10),
            keep_alive: Duration::from_secs(15),
            write: Duration::from_secs(20),
            congestion: Duration::from_secs(5),
            ping_interval: Some(Duration::from_secs(20)),
            pong: Duration::from_secs(20),
            idle: None,
            close: Duration::from_secs(5),
        }
    }
}

impl Config {
    /// Sets the host name or IP address and the TCP port to listen on.
    #[must_use]
    pub fn listen(self, host: impl Into<String>, port: u16) -> Config {
        Config { host: host.into(), port, ..self }
    }

    /// Changes what the opening handshake accepts.
    #[must_use]
    pub fn handshake(mut self, change: impl FnOnce(&mut HandshakePolicy)) -> Config {
        change(&mut self.handshake);
        self
    }

    /// Changes limits.
    #[must_use]
    pub fn limits(mut self, change: impl FnOnce(&mut Limits)) -> Config {
        change(&mut self.limits);
        self
    }

    /// Changes time-outs.
    #[must_use]
    pub fn timeouts(mut self, change: impl FnOnce(&mut Timeouts)) -> Config {
        change(&mut self.timeouts);
        self
    }

    /// Checks every setting.
    ///
    /// # Errors
    ///
    /// A setting is invalid. The error names the first one and explains what is wrong with it.
    pub fn validate(self) -> Result<ValidConfig, ConfigError> {
        if self.host.is_empty() {
            return Err(ConfigError::new("host", texts::WANTED_NOT_EMPTY));
        }
        self.limits.validate()?;
        self.timeouts.validate()?;
        self.handshake.validate()?;
        Ok(ValidConfig(Arc::new(self)))
    }
}

impl Limits {
    fn validate(&self) -> Result<(), ConfigError> {
        in_range("limits.max_request_line", self.max_request_line, 16, self.max_head)?;
        in_range("limits.max_head", self.max_head, 128, 1 << 20)?;
        in_range("limits.max_headers", self.max_headers, 8, 4096)?;
        in_range("limits.max_handshakes", self.max_handshakes, 1, usize::MAX)?;
        in_range("limits.max_requests", self.max_requests, 1, u32::MAX as usize)?;
        // The upper limits ensure that the sum of two of these cannot overflow on 32-bit machines.
        in_range("limits.max_message", self.max_message, 1, 1 << 30)?;
        in_range("limits.max_fragments", self.max_fragments, 1, u32::MAX as usize)?;
        in_range("limits.max_control_rate", self.max_control_rate as usize, 1, u32::MAX as usize)?;
        in_range(
            "limits.max_fragment_rate",
            self.max_fragment_rate as usize,
            1,
            u32::MAX as usize,
        )?;
        in_range("limits.max_output", self.max_output, 1024, 1 << 30)?;
        in_range(
            "limits.max_memory",
            self.max_memory.unwrap_or(usize::MAX),
            64 * 1024,
            usize::MAX,
        )?;
        in_range("limits.max_discard", self.max_discard, 0, 1 << 30)?;
        in_range("limits.max_connections", self.max_connections.unwrap_or(1), 1, MAX_CONNECTIONS)?;
        in_range("limits.max_per_address", self.max_per_address.unwrap_or(1), 1, MAX_CONNECTIONS)?;
        in_range("limits.max_groups_per_peer", self.max_groups_per_peer, 1, 1 << 16)?;
        // A name such as `everyone`, the group of `Broadcast`, must be possible.
        in_range("limits.max_group_name", self.max_group_name, 8, 1 << 16)?;
        in_range("limits.read_buffer", self.read_buffer, 1024, 64 << 20)
    }
}

impl Timeouts {
    fn validate(&self) -> Result<(), ConfigError> {
        possible_time("timeouts.handshake", self.handshake)?;
        possible_time("timeouts.keep_alive", self.keep_alive)?;
        possible_time("timeouts.write", self.write)?;
        possible_time("timeouts.congestion", self.congestion)?;
        possible_time("timeouts.close", self.close)?;
        possible_time("timeouts.pong", self.pong)?;
        possible_time("timeouts.ping_interval", self.ping_interval.unwrap_or(LONGEST))?;
        possible_time("timeouts.idle", self.idle.unwrap_or(LONGEST))
    }
}

impl HandshakePolicy {
    fn validate(&self) -> Result<(), ConfigError> {
        for (i, name) in self.subprotocols.iter().enumerate() {
            if !is_token(name.as_bytes()) {
                return Err(ConfigError::about(
                    "handshake.subprotocols",
                    texts::WANTED_TOKEN,
                    name,
                ));
            }
            if self.subprotocols[..i].contains(name) {
                return Err(ConfigError::about("handshake.subprotocols", texts::WANTED_ONCE, name));
            }
        }
        #[cfg(feature = "deflate")]
        if let Some(deflate) = &self.deflate {
            let bits = |setting, bits| in_range(setting, usize::from(bits), 9, 15);
            in_range("handshake.deflate.level", usize::from(deflate.level), 1, 9)?;
            in_range("handshake.deflate.min_length", deflate.min_length, 0, 1 << 30)?;
            bits("handshake.deflate.server_max_window_bits", deflate.server_max_window_bits)?;
            bits("handshake.deflate.client_max_window_bits", deflate.client_max_window_bits)?;
        }
        Ok(())
    }
}

/// Slot numbers have 24 bits (`peers.rs`), and some slots are reserved for excess connections.
const MAX_CONNECTIONS: usize = (1 << 24) - 64;

/// The longest time-out, one year. Adding it to the current time cannot overflow on any platform.
pub(crate) const LONGEST: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// A [`Config`] whose settings were checked. It is cheap to clone and dereferences to the config.
#[derive(Clone, Debug)]
pub struct ValidConfig(Arc<Config>);

impl Deref for ValidConfig {
    type Target = Config;

    #[inline]
    fn deref(&self) -> &Config {
        &self.0
    }
}

/// An invalid setting.
///
/// ```
/// use framewise::Config;
///
/// let config = Config::default().limits(|limits| limits.max_message = 0);
/// let error = config.validate().expect_err("no message fits");
/// assert_eq!(error.setting(), "limits.max_message");
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError {
    setting: &'static str,
    text: Bilingual,
    value: String,
}

impl ConfigError {
    fn new(setting: &'static str, text: Bilingual) -> ConfigError {
        ConfigError { setting, text, value: String::new() }
    }

    fn about(setting: &'static str, text: Bilingual, value: impl ToString) -> ConfigError {
        ConfigError { setting, text, value: value.to_string() }
    }

    /// Returns the name of the setting, for example `limits.max_message`.
    pub fn setting(&self) -> &'static str {
        self.setting
    }

    /// Returns one line that names the setting and explains what is wrong with it.
    pub fn text(&self, lang: Lang) -> String {
        let why = self.text.with(lang, &[&self.value]);
        texts::BAD_SETTING.with(lang, &[&self.setting, &why])
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.text(Lang::En))
    }
}

impl std::error::Error for ConfigError {}

/// Reports whether `bytes` is an HTTP token (RFC 9110 5.6.2), as the names of header fields and subprotocols must be.
#[inline]
pub(crate) fn is_token(bytes: &[u8]) -> bool {
    !bytes.is_empty() && bytes.iter().all(|&byte| is_token_byte(byte))
}

#[inline]
pub(crate) fn is_token_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

fn in_range(
    setting: &'static str,
    value: usize,
    least: usize,
    most: usize,
) -> Result<(), ConfigError> {
    if value < least {
        Err(ConfigError::about(setting, texts::WANTED_AT_LEAST, least))
    } else if value > most {
        Err(ConfigError::about(setting, texts::WANTED_AT_MOST, most))
    } else {
        Ok(())
    }
}

fn possible_time(setting: &'static str, value: Duration) -> Result<(), ConfigError> {
    if value.is_zero() {
        Err(ConfigError::new(setting, texts::WANTED_LONGER_THAN_ZERO))
    } else if value > LONGEST {
        Err(ConfigError::about(setting, texts::WANTED_AT_MOST, format_args!("{LONGEST:?}")))
    } else {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_valid() {
        assert!(Config::default().validate().is_ok());
    }

    #[cfg(feature = "deflate")]
    #[test]
    fn a_window_that_the_compressor_does_not_have_is_an_error() {
        type Break = fn(&mut Deflate);
        let broken: [(&str, Break); 7] = [
            ("level", |deflate| deflate.level = 0),
            ("level", |deflate| deflate.level = 10),
            ("min_length", |deflate| deflate.min_length = (1 << 30) + 1),
            ("server_max_window_bits", |deflate| deflate.server_max_window_bits = 8),
            ("server_max_window_bits", |deflate| deflate.server_max_window_bits = 16),
            ("client_max_window_bits", |deflate| deflate.client_max_window_bits = 8),
            ("client_max_window_bits", |deflate| deflate.client_max_window_bits = 16),
        ];
        for (setting, make_wrong) in broken {
            let mut deflate = Deflate::default();
            make_wrong(&mut deflate);
            let config = Config::default().handshake(|handshake| handshake.deflate = Some(deflate));
            let error = config.validate().expect_err(setting);
            assert_eq!(error.setting(), format!("handshake.deflate.{setting}"));
        }
    }

    #[test]
    fn an_error_names_its_setting_in_both_languages() {
        type Break = fn(&mut Config);
        let broken: [(&str, Break); 13] = [
            ("host", |c| c.host.clear()),
            ("limits.max_request_line", |c| c.limits.max_request_line = c.limits.max_head + 1),
            ("limits.max_head", |c| (c.limits.max_head, c.limits.max_request_line) = (64, 32)),
            ("limits.max_requests", |c| c.limits.max_requests = 0),
            ("limits.max_message", |c| c.limits.max_message = 0),
            ("limits.max_fragments", |c| c.limits.max_fragments = 0),
            ("limits.max_control_rate", |c| c.limits.max_control_rate = 0),
            ("limits.max_output", |c| c.limits.max_output = 0),
            ("limits.max_memory", |c| c.limits.max_memory = Some(1)),
            ("limits.read_buffer", |c| c.limits.read_buffer = 0),
            ("timeouts.keep_alive", |c| c.timeouts.keep_alive = Duration::ZERO),
            ("timeouts.close", |c| c.timeouts.close = Duration::ZERO),
            ("handshake.subprotocols", |c| c.handshake.subprotocols = vec!["a b".to_owned()]),
        ];
        for (setting, make_wrong) in broken {
            let mut config = Config::default();
            make_wrong(&mut config);
            let error = config.validate().expect_err(setting);
            assert_eq!(error.setting(), setting);
            for lang in [Lang::En, Lang::Pt] {
                assert!(error.text(lang).contains(setting), "{}", error.text(lang));
            }
        }
    }
}
