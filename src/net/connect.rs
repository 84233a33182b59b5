//! How a client reaches a server over TCP, and everything that can keep it from a WebSocket.

use std::fmt;
use std::io::{self, ErrorKind};
use std::net::ToSocketAddrs;
use std::time::Instant;

use mio::net::TcpStream;

use crate::config::ConfigError;
use crate::lang::{self, Lang};
use crate::protocol::handshake::client::Rejection;
use crate::protocol::url::{InvalidUrl, Url};

/// Why a client could not connect.
#[derive(Debug)]
#[non_exhaustive]
pub enum ConnectError {
    /// The text is not a WebSocket address.
    Url(InvalidUrl),
    /// `wss` needs TLS, which this client does not speak.
    Secure,
    /// A setting cannot work.
    Config(ConfigError),
    /// Nobody listens at the address, or the host has none.
    Unreachable {
        /// Host and port.
        address: String,
        /// What the system said.
        source: io::Error,
    },
    /// Nothing came in time.
    TimedOut,
    /// The server ended the connection before it had answered.
    Lost,
    /// The server's answer does not open a WebSocket.
    Rejected(Box<Rejected>),
    /// The system has no randomness to give for the key and the masks.
    NoRandomness,
    /// The system failed.
    Io(io::Error),
}

/// An answer that does not open a WebSocket.
#[derive(Debug)]
pub struct Rejected {
    /// What is wrong with it.
    pub rejection: Rejection,
    /// The answer itself, head and body, as far as it was read: at most 64 KiB.
    pub answer: Vec<u8>,
}

impl ConnectError {
    /// One line that says what is wrong.
    pub fn text(&self, lang: Lang) -> String {
        match self {
            ConnectError::Url(why) => why.text(lang).to_owned(),
            ConnectError::Secure => lang::NO_TLS.get(lang).to_owned(),
            ConnectError::Config(why) => why.text(lang),
            ConnectError::Unreachable { address, source } => {
                lang::CANNOT_CONNECT.with(lang, &[address, source])
            }
            ConnectError::TimedOut => lang::NO_ANSWER_IN_TIME.get(lang).to_owned(),
            ConnectError::Lost => lang::NO_ANSWER.get(lang).to_owned(),
            ConnectError::Rejected(rejected) => rejected.rejection.text(lang),
            ConnectError::NoRandomness => lang::NO_RANDOMNESS.get(lang).to_owned(),
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
            _ => None,
        }
    }
}

/// Connects to one of the addresses of a host, tried one after the other.
///
/// # Errors
///
/// The last address that was tried says why it refused.
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
    // Small frames are not held back to be sent together.
    let _ = stream.set_nodelay(true);
    Ok(TcpStream::from_std(stream))
}
