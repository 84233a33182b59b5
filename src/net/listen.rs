//! Where a server listens, and what an error of `accept` means.

use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs};

use mio::net::TcpListener;

use crate::config::Config;
use crate::lang::{self, Lang};

/// The sockets that a server listens on.
#[derive(Debug)]
pub struct Listeners {
    /// One per address.
    pub sockets: Vec<TcpListener>,
    /// `localhost` was asked for and this machine has no ::1.
    pub without_ipv6: bool,
}

/// Why a server cannot listen.
#[derive(Debug)]
pub struct ListenError {
    host: String,
    address: String,
    source: io::Error,
}

impl ListenError {
    /// One line that names the address and says what to do.
    pub fn text(&self, lang: Lang) -> String {
        match self.source.kind() {
            io::ErrorKind::AddrInUse => lang::PORT_IN_USE.with(lang, &[&self.address]),
            io::ErrorKind::AddrNotAvailable | io::ErrorKind::NotFound => {
                lang::BAD_HOST.with(lang, &[&self.host])
            }
            _ => lang::CANNOT_LISTEN.with(lang, &[&self.address, &self.source]),
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

/// How often a free port of IPv4 may turn out to be taken on IPv6 before it is an error.
const PORT_TRIES: usize = 10;

/// Binds the host and port of the config. `localhost` is both 127.0.0.1 and ::1, on one port.
///
/// # Errors
///
/// The host is no address of this machine, or the port is in use on any of them.
pub fn bind(config: &Config) -> Result<Listeners, ListenError> {
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
    unreachable!("the last try returns")
}

/// The first address of a host, or of a literal address with or without brackets.
fn resolve(host: &str, port: u16) -> io::Result<SocketAddr> {
    let literal = host.trim_start_matches('[').trim_end_matches(']');
    if let Ok(address) = literal.parse() {
        return Ok(SocketAddr::new(address, port));
    }
    let not_found = || io::Error::from(io::ErrorKind::NotFound);
    (host, port).to_socket_addrs().map_err(|_| not_found())?.next().ok_or_else(not_found)
}

/// What to do after `accept` failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AcceptFailure {
    /// No connection waits: go on when the listener is ready again.
    Drained,
    /// That connection is gone, or a signal came: try the next one at once.
    TryNext,
    /// Descriptors or memory are short, or something unknown: wait, because no new readiness will come
    /// for the connections that wait already.
    Pause,
}

/// Sorts an error of `accept`.
pub fn classify(error: &io::Error) -> AcceptFailure {
    match error.kind() {
        io::ErrorKind::WouldBlock => AcceptFailure::Drained,
        io::ErrorKind::Interrupted | io::ErrorKind::ConnectionAborted => AcceptFailure::TryNext,
        _ => AcceptFailure::Pause,
    }
}

/// How many connections fit into the descriptor limit of this process, less 64 for everything else.
pub fn connections_that_fit() -> usize {
    const RESERVED: usize = 64;
    let limits = std::fs::read_to_string("/proc/self/limits").unwrap_or_default();
    let files = limits.lines().find_map(|line| line.strip_prefix("Max open files"));
    let soft = files.and_then(|line| line.split_whitespace().next()?.parse::<usize>().ok());
    soft.unwrap_or(960 + RESERVED).saturating_sub(RESERVED).clamp(1, (1 << 24) - 1)
}

/// The address of this machine on its local network, as others would see it; no packet is sent.
pub fn lan_address() -> Option<IpAddr> {
    let socket = std::net::UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).ok()?;
    // To connect a UDP socket only looks the route up. 192.0.2.1 is reserved for documentation.
    socket.connect((Ipv4Addr::new(192, 0, 2, 1), 9)).ok()?;
    Some(socket.local_addr().ok()?.ip()).filter(|address| !address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sorts_the_errors_of_accept() {
        let kind = |kind: io::ErrorKind| classify(&kind.into());
        assert_eq!(kind(io::ErrorKind::WouldBlock), AcceptFailure::Drained);
        assert_eq!(kind(io::ErrorKind::Interrupted), AcceptFailure::TryNext);
        assert_eq!(kind(io::ErrorKind::ConnectionAborted), AcceptFailure::TryNext);
        assert_eq!(kind(io::ErrorKind::OutOfMemory), AcceptFailure::Pause);
        // EMFILE and ENFILE have no kind of their own.
        assert_eq!(classify(&io::Error::from_raw_os_error(24)), AcceptFailure::Pause);
        assert_eq!(classify(&io::Error::from_raw_os_error(23)), AcceptFailure::Pause);
    }

    #[test]
    fn localhost_is_one_port_on_every_family() {
        let config = Config { port: 0, ..Config::default() };
        let listeners = bind(&config).expect("a free port");
        let ports: Vec<u16> = listeners
            .sockets
            .iter()
            .map(|socket| socket.local_addr().expect("bound").port())
            .collect();
        assert!(ports.iter().all(|&port| port == ports[0] && port != 0));
        assert_eq!(ports.len(), if listeners.without_ipv6 { 1 } else { 2 });

        let taken = Config { port: ports[0], ..Config::default() };
        let error = bind(&taken).expect_err("in use");
        assert!(error.text(Lang::Pt).contains(&format!("127.0.0.1:{}", ports[0])), "{error}");
    }

    #[test]
    fn a_host_that_is_not_ours_is_named() {
        let config = Config { host: "192.0.2.1".to_owned(), port: 0, ..Config::default() };
        let error = bind(&config).expect_err("not an address of this machine");
        assert!(error.to_string().contains("'192.0.2.1'"), "{error}");
    }
}
