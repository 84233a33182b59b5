//! Binding a server to its addresses.

use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs};

use mio::net::TcpListener;

use crate::config::{Config, ConfigError};
use crate::lang::Lang;
use crate::texts;

/// The sockets that a server listens on.
#[derive(Debug)]
pub(crate) struct Listeners {
    /// One socket per address.
    pub(crate) sockets: Vec<TcpListener>,
    /// The host is `localhost`, and this machine has no ::1.
    pub(crate) without_ipv6: bool,
}

/// The reason why a server cannot listen on an address. See [`StartError`] for an example.
#[derive(Debug)]
#[non_exhaustive]
pub struct ListenError {
    host: String,
    address: String,
    source: io::Error,
}

impl ListenError {
    /// Returns one line that names the address and explains what to do.
    pub fn text(&self, lang: Lang) -> String {
        match self.source.kind() {
            io::ErrorKind::AddrInUse => texts::PORT_IN_USE.with(lang, &[&self.address]),
            io::ErrorKind::AddrNotAvailable | io::ErrorKind::NotFound => {
                texts::BAD_HOST.with(lang, &[&self.host])
            }
            _ => texts::CANNOT_LISTEN.with(lang, &[&self.address, &self.source]),
        }
    }
}

impl fmt::Display for ListenError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.text(Lang::En))
    }
}

impl std::error::Error for ListenError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.source)
    }
}

/// The reason why [`Server::bind`](crate::Server::bind) failed.
///
/// ```
/// use framewise::{Config, Echo, Server, StartError};
///
/// // An address that belongs to no machine (RFC 5737).
/// let config = Config::default().listen("192.0.2.1", 8765);
/// let error = Server::bind(config, Echo::default()).err().expect("it is not an address of this machine");
/// assert!(matches!(error, StartError::Listen(_)));
/// println!("{error}");
/// ```
#[derive(Debug)]
#[non_exhaustive]
pub enum StartError {
    /// A setting is invalid.
    Config(ConfigError),
    /// The server cannot listen on its address.
    Listen(ListenError),
    /// The operating system cannot report when the sockets are ready (epoll or its equivalent), or a listener cannot be
    /// made non-blocking.
    Poll(io::Error),
}

impl StartError {
    /// Returns one line that explains what is wrong.
    pub fn text(&self, lang: Lang) -> String {
        match self {
            StartError::Config(error) => error.text(lang),
            StartError::Listen(error) => error.text(lang),
            StartError::Poll(error) => texts::CANNOT_POLL.with(lang, &[error]),
        }
    }
}

impl fmt::Display for StartError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.text(Lang::En))
    }
}

impl std::error::Error for StartError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(match self {
            StartError::Config(error) => error,
            StartError::Listen(error) => error,
            StartError::Poll(error) => error,
        })
    }
}

impl From<ConfigError> for StartError {
    fn from(error: ConfigError) -> StartError {
        StartError::Config(error)
    }
}

impl From<ListenError> for StartError {
    fn from(error: ListenError) -> StartError {
        StartError::Listen(error)
    }
}

/// The most IPv4 ports to try, in order to find one that is also free on IPv6.
const PORT_TRIES: usize = 10;

/// Binds the host and port of the config. `localhost` means both 127.0.0.1 and ::1, with the same port.
///
/// # Errors
///
/// The host is not an address of this machine, or the port is in use on one of its addresses.
pub(crate) fn bind(config: &Config) -> Result<Listeners, ListenError> {
    let error =
        |address: String, source| ListenError { host: config.host.clone(), address, source };
    if !config.host.eq_ignore_ascii_case("localhost") {
        let address = resolve(&config.host, config.port)
            .map_err(|source| error(config.host.clone(), source))?;
        let socket =
            TcpListener::bind(address).map_err(|source| error(address.to_string(), source))?;
        return Ok(Listeners { sockets: vec![socket], without_ipv6: false });
    }
    for tries_left in (0..PORT_TRIES).rev() {
        let v4 = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), config.port);
        let first = TcpListener::bind(v4).map_err(|source| error(v4.to_string(), source))?;
        let port = first.local_addr().map_err(|source| error(v4.to_string(), source))?.port();
        let v6 = SocketAddr::new(IpAddr::V6(Ipv6Addr::LOCALHOST), port);
        match TcpListener::bind(v6) {
            Ok(second) => {
                return Ok(Listeners { sockets: vec![first, second], without_ipv6: false });
            }
            Err(source) if source.kind() == io::ErrorKind::AddrInUse => {
                if config.port != 0 || tries_left == 0 {
                    return Err(error(v6.to_string(), source));
                }
            }
            Err(_) => return Ok(Listeners { sockets: vec![first], without_ipv6: true }),
        }
    }
    unreachable!("the last iteration returns")
}

/// Parses `host` as an IP address, with or without brackets, or else returns the first address of that host name.
fn resolve(host: &str, port: u16) -> io::Result<SocketAddr> {
    let literal = host.trim_start_matches('[').trim_end_matches(']');
    if let Ok(address) = literal.parse() {
        return Ok(SocketAddr::new(address, port));
    }
    let not_found = || io::Error::from(io::ErrorKind::NotFound);
    (host, port).to_socket_addrs().map_err(|_| not_found())?.next().ok_or_else(not_found)
}

/// Returns the IPv4 address from which this machine would send to the internet: the one that other machines on the local
/// network can most likely reach. Sends no packets.
///
/// This asks the kernel for a route and does not list the network interfaces, which the standard library cannot do. So it
/// finds one address at most, and never an IPv6 address. It returns `None` on a network without a route to the internet,
/// such as a hotspot without one. While a VPN takes all traffic, it returns the address in the VPN, which the local
/// network cannot reach.
///
/// ```
/// if let Some(address) = framewise::internal::lan_address() {
///     println!("others can connect to ws://{address}:8765");
/// }
/// ```
pub fn lan_address() -> Option<IpAddr> {
    let socket = std::net::UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).ok()?;
    // Connecting a UDP socket only looks up a route. 192.0.2.1 is reserved for documentation (RFC 5737).
    socket.connect((Ipv4Addr::new(192, 0, 2, 1), 9)).ok()?;
    Some(socket.local_addr().ok()?.ip()).filter(|address| !address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn localhost_has_the_same_port_on_ipv4_and_ipv6() {
        let config = Config::default().listen("localhost", 0);
        let listeners = bind(&config).expect("a free port");
        let ports: Vec<u16> = listeners
            .sockets
            .iter()
            .map(|socket| socket.local_addr().expect("bound").port())
            .collect();
        assert!(ports.iter().all(|&port| port == ports[0] && port != 0));
        assert_eq!(ports.len(), if listeners.without_ipv6 { 1 } else { 2 });

        let taken = Config::default().listen("localhost", ports[0]);
        let error = bind(&taken).expect_err("in use");
        assert!(error.text(Lang::Pt).contains(&format!("127.0.0.1:{}", ports[0])), "{error}");
    }

    #[test]
    fn the_error_names_a_host_of_another_machine() {
        let config = Config::default().listen("192.0.2.1", 0);
        let error = bind(&config).expect_err("not an address of this machine");
        assert!(error.to_string().contains("'192.0.2.1'"), "{error}");
    }
}
