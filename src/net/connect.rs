//! Connecting a client to a server over TCP, and every error that can occur before the WebSocket is open.

use std::fmt;
use std::io::{self, ErrorKind};
use std::net::ToSocketAddrs;
use std::time::Instant;

use mio::net::TcpStream;

use crate::config::ConfigError;
use crate::lang::Lang;
use crate::protocol::handshake::client::Rejection;
use crate::protocol::url::{InvalidUrl, Url};
use crate::texts;

/// The reason why a client could not connect.
///
/// ```
/// use framewise::{Client, ConnectError};
///
/// let error = Client::connect("http://localhost").expect_err("the scheme must be ws");
/// assert!(matches!(error, ConnectError::Url(_)));
/// assert_eq!(error.to_string(), "a WebSocket URL begins with ws:// or wss:// (RFC 6455 3)");
/// ```
#[derive(Debug)]
#[non_exhaustive]
pub enum ConnectError {
    /// The URL is malformed.
    Url(InvalidUrl),
    /// The URL is `wss://`, which needs TLS, and this client has none.
    Secure,
    /// A setting is invalid.
    Config(ConfigError),
    /// No server listens at the address, or the host name has no address.
    Unreachable {
        /// Host and port.
        address: String,
        /// The error of the operating system.
        source: io::Error,
    },
    /// The server did not respond in time. The time starts when the addresses of the host name are known.
    TimedOut,
    /// The server closed the connection before it sent a complete response.
    Lost,
    /// The server's response does not open a WebSocket.
    Rejected(Box<Rejected>),
    /// The operating system did not provide the random numbers for the key and the masking keys.
    NoRandomness,
    /// Another error of the operating system.
    Io(io::Error),
}

/// A response that does not open a WebSocket, as part of [`ConnectError::Rejected`].
#[derive(Debug)]
#[non_exhaustive]
pub struct Rejected {
    /// What is wrong with the response.
    pub rejection: Rejection,
    /// The response: its head, and its body without the sizes of chunks. At most the first 64 KiB.
    pub response: Vec<u8>,
}

impl ConnectError {
    /// Returns one line that explains what is wrong.
    pub fn text(&self, lang: Lang) -> String {
        match self {
            ConnectError::Url(why) => why.text(lang).to_owned(),
            ConnectError::Secure => texts::NO_TLS.get(lang).to_owned(),
            ConnectError::Config(why) => why.text(lang),
            ConnectError::Unreachable { address, source } => {
                texts::CANNOT_CONNECT.with(lang, &[address, source])
            }
            ConnectError::TimedOut => texts::NO_RESPONSE_IN_TIME.get(lang).to_owned(),
            ConnectError::Lost => texts::NO_RESPONSE.get(lang).to_owned(),
            ConnectError::Rejected(rejected) => rejected.rejection.text(lang),
            ConnectError::NoRandomness => texts::NO_RANDOMNESS.get(lang).to_owned(),
            ConnectError::Io(error) => error.to_string(),
        }
    }
}

impl fmt::Display for ConnectError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.text(Lang::En))
    }
}

impl std::error::Error for ConnectError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            ConnectError::Unreachable { source, .. } | ConnectError::Io(source) => Some(source),
            ConnectError::Url(why) => Some(why),
            ConnectError::Config(why) => Some(why),
            ConnectError::Rejected(rejected) => Some(&rejected.rejection),
            _ => None,
        }
    }
}

impl From<InvalidUrl> for ConnectError {
    fn from(why: InvalidUrl) -> ConnectError {
        ConnectError::Url(why)
    }
}

impl From<ConfigError> for ConnectError {
    fn from(why: ConfigError) -> ConnectError {
        ConnectError::Config(why)
    }
}

impl From<io::Error> for ConnectError {
    fn from(error: io::Error) -> ConnectError {
        ConnectError::Io(error)
    }
}

/// Tries the addresses of a host one after the other until one accepts the connection.
///
/// # Errors
///
/// Returns the error of the last address that was tried.
pub(crate) fn reach(url: &Url, deadline: Instant) -> Result<TcpStream, ConnectError> {
    let unreachable = |source| ConnectError::Unreachable {
        address: format!("{}:{}", url.host(), url.port()),
        source,
    };
    let addresses = (url.host(), url.port()).to_socket_addrs().map_err(unreachable)?;
    let mut result = Err(ErrorKind::NotFound.into());
    for address in addresses {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(ConnectError::TimedOut);
        }
        result = std::net::TcpStream::connect_timeout(&address, left);
        if result.is_ok() {
            break;
        }
    }
    let stream = result.map_err(|error: io::Error| match error.kind() {
        ErrorKind::TimedOut => ConnectError::TimedOut,
        _ => unreachable(error),
    })?;
    stream.set_nonblocking(true).map_err(ConnectError::Io)?;
    // Nagle's algorithm would delay small frames.
    let _ = stream.set_nodelay(true);
    Ok(TcpStream::from_std(stream))
}
