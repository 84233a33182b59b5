//! Every limit and every policy, each with the reason for its default; checked once.
//!
//! A [`Config`] is plain data. [`Config::validate`] turns it into a [`ValidConfig`], which everything below
//! takes, so that no line of the protocol has to doubt a setting again.

use std::fmt;
use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

use crate::lang::{self, Lang, Text};

/// The settings of a server, or of one end of a connection.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where to listen. `localhost` means both 127.0.0.1 and ::1, because browsers try either.
    pub host: String,
    /// TCP port; 0 lets the system choose one.
    pub port: u16,
    /// The language of refusals when the request does not ask for one.
    pub lang: Lang,

    /// Longest request line in bytes, without its CR LF; beyond it 414. Long paths are attacks or bugs.
    pub max_request_line: usize,
    /// Longest request head in bytes; beyond it 431. What browsers send fits with room for cookies.
    pub max_head: usize,
    /// Most header fields; beyond it 431.
    pub max_headers: usize,
    /// Time from TCP accept to the end of the request, absolute: a slow drip does not extend it.
    pub handshake_timeout: Duration,
    /// Most connections that may be in their opening handshake; beyond it accepting pauses.
    pub max_handshakes: usize,
    /// Which `Sec-WebSocket-Key` values are accepted.
    pub key_policy: KeyPolicy,
    /// Which web pages may connect.
    pub origin_policy: OriginPolicy,
    /// Subprotocols that this server speaks; the first one of the client's list that is here is chosen.
    pub subprotocols: Vec<String>,

    /// Longest message in bytes, whole or in fragments; beyond it 1009.
    pub max_message: usize,
    /// Most fragments of one message; beyond it 1008. Each costs work, however short it is.
    pub max_fragments: usize,

    /// Most output in bytes that waits for one peer whose socket refuses more. A peer that others fill
    /// beyond it gets 1008; a peer whose own replies fill half of it is not read until it drains.
    pub max_output: usize,
    /// How long a socket may refuse output without taking a byte before the connection is closed.
    pub write_timeout: Duration,
    /// How often an open connection is pinged; `None` never. A peer that vanished without a word shows
    /// only when it is asked.
    pub ping_interval: Option<Duration>,
    /// How long the pong may take; beyond it 1008.
    pub pong_timeout: Duration,
    /// Whether pings are answered, as the standard wants it (§5.5.2). False only to see what the other end makes of
    /// silence.
    pub answer_pings: bool,
    /// How long a peer may send no message before its connection is closed with 1001; `None` for ever.
    pub idle_timeout: Option<Duration>,
    /// How long a closing connection may take, from the first Close to the end of TCP.
    pub close_timeout: Duration,
    /// Most bytes that are read and discarded after the last byte was sent, so that the peer can read
    /// the Close before the connection disappears.
    pub max_discard: usize,

    /// Most connections at once; `None` is the descriptor limit of the process less 64. Up to 32 more are
    /// accepted only to be answered 503, then accepting pauses.
    pub max_connections: Option<usize>,
    /// Most connections at once from one IP address, the others are answered 429; `None` for no limit: a
    /// class often shares one address.
    pub max_per_address: Option<usize>,
    /// Most groups that one peer may join.
    pub max_groups_per_peer: usize,
    /// Longest group name in bytes.
    pub max_group_name: usize,
    /// Size in bytes of the one buffer that a loop reads into; also the most that one peer may take in
    /// one turn before the others have theirs, and the most that is kept unprocessed of a peer that is
    /// held back.
    pub read_buffer: usize,
}

/// Which `Sec-WebSocket-Key` values a server accepts (§4.2.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum KeyPolicy {
    /// Exactly 16 bytes in base64, as the standard says.
    #[default]
    Strict,
    /// Any length but zero, with a header that names the fault. For classes that type keys by hand.
    Lenient,
}

/// Which web pages may connect (§10.2). A request without `Origin` does not come from a page and is
/// always allowed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum OriginPolicy {
    /// Pages from the host and port that the request itself names.
    #[default]
    SameHost,
    /// Every page.
    Any,
    /// These origins, each like `https://example.org` or `http://localhost:3000`.
    List(Vec<String>),
    /// Pages from the host and port that the request itself names, and from these origins.
    SameHostAnd(Vec<String>),
}

impl Default for Config {
    fn default() -> Config {
        Config {
            host: "localhost".to_owned(),
            port: 8765,
            lang: Lang::En,
            max_request_line: 4 * 1024,
            max_head: 8 * 1024,
            max_headers: 64,
            handshake_timeout: Duration::from_secs(10),
            max_handshakes: 1024,
            key_policy: KeyPolicy::Strict,
            origin_policy: OriginPolicy::SameHost,
            subprotocols: Vec::new(),
            max_message: 1 << 20,
            max_fragments: 4096,
            max_output: 1 << 20,
            write_timeout: Duration::from_secs(20),
            ping_interval: Some(Duration::from_secs(20)),
            pong_timeout: Duration::from_secs(20),
            answer_pings: true,
            idle_timeout: None,
            close_timeout: Duration::from_secs(5),
            max_discard: 16 << 20,
            max_connections: None,
            max_per_address: None,
            max_groups_per_peer: 64,
            max_group_name: 64,
            read_buffer: 256 * 1024,
        }
    }
}

impl Config {
    /// Checks every setting.
    ///
    /// # Errors
    ///
    /// Names the first setting that cannot work, and why.
    pub fn validate(self) -> Result<ValidConfig, ConfigError> {
        if self.host.is_empty() {
            return Err(ConfigError::new("host", lang::WANTED_NOT_EMPTY));
        }
        in_range("max_request_line", self.max_request_line, 16, self.max_head)?;
        in_range("max_head", self.max_head, 128, 1 << 20)?;
        in_range("max_headers", self.max_headers, 8, 4096)?;
        in_range("max_handshakes", self.max_handshakes, 1, usize::MAX)?;
        // The upper bounds keep every sum of two of these far from wrapping on 32-bit machines.
        in_range("max_message", self.max_message, 1, 1 << 30)?;
        in_range("max_fragments", self.max_fragments, 1, u32::MAX as usize)?;
        in_range("max_output", self.max_output, 1024, 1 << 30)?;
        in_range("max_discard", self.max_discard, 0, 1 << 30)?;
        in_range("max_connections", self.max_connections.unwrap_or(1), 1, MAX_CONNECTIONS)?;
        in_range("max_per_address", self.max_per_address.unwrap_or(1), 1, MAX_CONNECTIONS)?;
        in_range("max_groups_per_peer", self.max_groups_per_peer, 1, 1 << 16)?;
        in_range("max_group_name", self.max_group_name, 1, 1 << 16)?;
        in_range("read_buffer", self.read_buffer, 1024, 64 << 20)?;
        possible_time("handshake_timeout", self.handshake_timeout)?;
        possible_time("write_timeout", self.write_timeout)?;
        possible_time("close_timeout", self.close_timeout)?;
        possible_time("pong_timeout", self.pong_timeout)?;
        possible_time("ping_interval", self.ping_interval.unwrap_or(LONGEST))?;
        possible_time("idle_timeout", self.idle_timeout.unwrap_or(LONGEST))?;
        for (i, name) in self.subprotocols.iter().enumerate() {
            if !is_token(name.as_bytes()) {
                return Err(ConfigError::about("subprotocols", lang::WANTED_TOKEN, name));
            }
            if self.subprotocols[..i].contains(name) {
                return Err(ConfigError::about("subprotocols", lang::WANTED_ONCE, name));
            }
        }
        if let OriginPolicy::List(origins) | OriginPolicy::SameHostAnd(origins) =
            &self.origin_policy
        {
            for origin in origins {
                if !origin.split_once("://").is_some_and(|(scheme, rest)| {
                    is_token(scheme.as_bytes()) && !rest.is_empty() && !rest.contains(['/', '@'])
                }) {
                    return Err(ConfigError::about("origin_policy", lang::WANTED_ORIGIN, origin));
                }
            }
        }
        Ok(ValidConfig(Arc::new(self)))
    }
}

/// Slot numbers have 24 bits (`peers.rs`), and some are for connections that are refused.
const MAX_CONNECTIONS: usize = (1 << 24) - 64;

/// No time-out is longer: a moment that far away can still be told on every clock.
pub(crate) const LONGEST: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// A [`Config`] that was checked; cheap to clone, read like the config itself.
#[derive(Clone, Debug)]
pub struct ValidConfig(Arc<Config>);

impl Deref for ValidConfig {
    type Target = Config;

    #[inline]
    fn deref(&self) -> &Config {
        &self.0
    }
}

/// A setting that cannot work.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError {
    setting: &'static str,
    text: Text,
    value: String,
}

impl ConfigError {
    fn new(setting: &'static str, text: Text) -> ConfigError {
        ConfigError { setting, text, value: String::new() }
    }

    fn about(setting: &'static str, text: Text, value: impl ToString) -> ConfigError {
        ConfigError { setting, text, value: value.to_string() }
    }

    /// The field of [`Config`] that is wrong.
    pub fn setting(&self) -> &'static str {
        self.setting
    }

    /// One line that names the setting and says what is wrong with it.
    pub fn text(&self, lang: Lang) -> String {
        let why = self.text.with(lang, &[&self.value]);
        lang::BAD_SETTING.with(lang, &[&self.setting, &why])
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.text(Lang::En))
    }
}

impl std::error::Error for ConfigError {}

/// Whether `bytes` is a token of HTTP (RFC 9110 5.6.2): what names of headers and subprotocols are made of.
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
        Err(ConfigError::about(setting, lang::WANTED_AT_LEAST, least))
    } else if value > most {
        Err(ConfigError::about(setting, lang::WANTED_AT_MOST, most))
    } else {
        Ok(())
    }
}

fn possible_time(setting: &'static str, value: Duration) -> Result<(), ConfigError> {
    if value.is_zero() {
        Err(ConfigError::new(setting, lang::WANTED_LONGER_THAN_ZERO))
    } else if value > LONGEST {
        Err(ConfigError::about(setting, lang::WANTED_AT_MOST, format_args!("{LONGEST:?}")))
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

    #[test]
    fn an_error_names_its_setting_in_both_languages() {
        type Break = fn(&mut Config);
        let broken: [(&str, Break); 10] = [
            ("host", |c| c.host.clear()),
            ("max_request_line", |c| c.max_request_line = c.max_head + 1),
            ("max_head", |c| (c.max_head, c.max_request_line) = (64, 32)),
            ("max_message", |c| c.max_message = 0),
            ("max_fragments", |c| c.max_fragments = 0),
            ("max_output", |c| c.max_output = 0),
            ("read_buffer", |c| c.read_buffer = 0),
            ("close_timeout", |c| c.close_timeout = Duration::ZERO),
            ("subprotocols", |c| c.subprotocols = vec!["a b".to_owned()]),
            ("origin_policy", |c| c.origin_policy = OriginPolicy::List(vec!["x".to_owned()])),
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
