//! Connecting a client to a server over TCP, and every error that can occur before the WebSocket is open.
//!
//! Rule of this file: the clients of a process take turns. At most one of them is opening a connection to an address.

use std::fmt;
use std::io::{self, ErrorKind};
use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
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
    /// The transport failed, for example because TLS cannot verify the server.
    Transport(Box<dyn std::error::Error + Send + Sync>),
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
            ConnectError::Transport(error) => transport_text(error.as_ref(), lang),
            ConnectError::Rejected(rejected) => rejected.rejection.text(lang),
            ConnectError::NoRandomness => texts::NO_RANDOMNESS.get(lang).to_owned(),
            ConnectError::Io(error) => error.to_string(),
        }
    }
}

/// Returns one line that explains why a transport has failed: in both languages for TLS, otherwise as the error displays itself.
pub fn transport_text(
    error: &(dyn std::error::Error + Send + Sync + 'static),
    lang: Lang,
) -> String {
    #[cfg(feature = "tls")]
    if let Some(error) = error.downcast_ref::<crate::net::tls::error::TlsError>() {
        return error.text(lang);
    }
    let _ = lang;
    error.to_string()
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
            ConnectError::Transport(error) => Some(error.as_ref()),
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

/// The addresses to which a client of this process is opening a connection.
static OPENING: Mutex<Vec<SocketAddr>> = Mutex::new(Vec::new());

/// Wakes the clients that wait for their turn.
static TURN_ENDED: Condvar = Condvar::new();

/// The turn of one client to open a connection to an address. Dropping it lets another client begin.
///
/// Without turns, a program that is told which addresses to connect to could be used to flood one of them with connections
/// that are never opened.
#[derive(Debug)]
pub(crate) struct Turn(SocketAddr);

impl Turn {
    /// Waits until no other client of this process is opening a connection to the address. Returns `None` if the
    /// deadline comes first.
    fn take(address: SocketAddr, deadline: Instant) -> Option<Turn> {
        let mut opening = Turn::opening();
        // RFC 6455 §4.1-5 to §4.1-7
        while opening.contains(&address) {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return None;
            }
            let woken = TURN_ENDED.wait_timeout(opening, left);
            opening = woken.unwrap_or_else(PoisonError::into_inner).0;
        }
        opening.push(address);
        Some(Turn(address))
    }

    fn opening() -> MutexGuard<'static, Vec<SocketAddr>> {
        OPENING.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        Turn::opening().retain(|address| *address != self.0);
        TURN_ENDED.notify_all();
    }
}

/// Tries the addresses of a host one after the other until one accepts the connection. The turn must be kept until the
/// opening handshake is over.
///
/// # Errors
///
/// Returns the error of the last address that was tried.
pub(crate) fn reach(url: &Url, deadline: Instant) -> Result<(TcpStream, Turn), ConnectError> {
    let unreachable = |source| ConnectError::Unreachable {
        address: format!("{}:{}", url.host(), url.port()),
        source,
    };
    let addresses = (url.host(), url.port()).to_socket_addrs().map_err(unreachable)?;
    let mut result = Err(ErrorKind::NotFound.into());
    for address in addresses {
        let turn = Turn::take(address, deadline).ok_or(ConnectError::TimedOut)?;
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(ConnectError::TimedOut);
        }
        // RFC 6455 §4.1-11
        result = std::net::TcpStream::connect_timeout(&address, left).map(|stream| (stream, turn));
        if result.is_ok() {
            break;
        }
    }
    // RFC 6455 §4.1-13
    let (stream, turn) = result.map_err(|error: io::Error| match error.kind() {
        ErrorKind::TimedOut => ConnectError::TimedOut,
        _ => unreachable(error),
    })?;
    stream.set_nonblocking(true).map_err(ConnectError::Io)?;
    // Nagle's algorithm would delay small frames.
    let _ = stream.set_nodelay(true);
    Ok((TcpStream::from_std(stream), turn))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    /// RFC 6455 §4.1-5 to §4.1-7: one turn per address at a time.
    #[test]
    fn a_turn_belongs_to_one_client() {
        // No other test connects to these addresses, which are reserved for documentation.
        let [first, second] =
            ["192.0.2.1:80", "192.0.2.1:81"].map(|text| text.parse().expect("an address"));
        let take = |address, wait| Turn::take(address, Instant::now() + wait);
        let turn = take(first, Duration::ZERO).expect("it is free");
        assert!(take(first, Duration::ZERO).is_none());
        assert!(take(second, Duration::ZERO).is_some());
        std::thread::scope(|scope| {
            let waits = scope.spawn(|| take(first, Duration::from_secs(600)).is_some());
            drop(turn);
            assert!(waits.join().expect("no panic"));
        });
        assert!(take(first, Duration::ZERO).is_some(), "an unused turn has ended");
    }
}
