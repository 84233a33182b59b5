//! Where a server listens, how it accepts, and what an error of `accept` means.

use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs};
use std::time::{Duration, Instant};

use mio::net::{TcpListener, TcpStream};
use mio::{Interest, Registry, Token};

use crate::config::{Config, ConfigError};
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

/// Why a server could not start.
#[derive(Debug)]
#[non_exhaustive]
pub enum StartError {
    /// A setting cannot work.
    Config(ConfigError),
    /// It cannot listen where it should.
    Listen(ListenError),
    /// The system has no readiness queue to give.
    Poll(io::Error),
}

impl StartError {
    /// One line that names what is wrong.
    pub fn text(&self, lang: Lang) -> String {
        match self {
            StartError::Config(error) => error.text(lang),
            StartError::Listen(error) => error.text(lang),
            StartError::Poll(error) => lang::CANNOT_LISTEN.with(lang, &[&"epoll", error]),
        }
    }
}

impl fmt::Display for StartError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.text(Lang::En))
    }
}

impl std::error::Error for StartError {}

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

/// How long accepting rests after an error that no new readiness follows.
const PAUSE: Duration = Duration::from_millis(100);

/// Listeners have the tokens from here up; slots of peers have those from 0.
const FIRST_TOKEN: usize = usize::MAX - 1;

/// Takes connections from the listeners until none waits.
pub(crate) struct Acceptor {
    listeners: Vec<Listener>,
    without_ipv6: bool,
    /// Accepting rests until then.
    rests_until: Option<Instant>,
}

struct Listener {
    socket: TcpListener,
    /// Connections may be waiting.
    ready: bool,
}

impl Acceptor {
    pub(crate) fn new(bound: Listeners, registry: &Registry) -> io::Result<Acceptor> {
        let mut listeners = Vec::new();
        for (i, mut socket) in bound.sockets.into_iter().enumerate() {
            registry.register(&mut socket, Token(FIRST_TOKEN + i), Interest::READABLE)?;
            listeners.push(Listener { socket, ready: false });
        }
        Ok(Acceptor { listeners, without_ipv6: bound.without_ipv6, rests_until: None })
    }

    pub(crate) fn local_addrs(&self) -> impl Iterator<Item = SocketAddr> + '_ {
        self.listeners.iter().filter_map(|listener| listener.socket.local_addr().ok())
    }

    pub(crate) fn is_without_ipv6(&self) -> bool {
        self.without_ipv6
    }

    /// Remembers that a listener is ready; false if the token is not one of a listener.
    pub(crate) fn note_readiness(&mut self, token: usize) -> bool {
        let which = token.checked_sub(FIRST_TOKEN);
        let listener = which.and_then(|which| self.listeners.get_mut(which));
        listener.map(|listener| listener.ready = true).is_some()
    }

    /// A connection may be waiting, and nothing keeps it from being accepted.
    pub(crate) fn is_ready(&self) -> bool {
        self.rests_until.is_none() && self.listeners.iter().any(|listener| listener.ready)
    }

    /// Listens no more; the port is free again.
    pub(crate) fn stop(&mut self) {
        self.listeners.clear();
        self.rests_until = None;
    }

    pub(crate) fn rests_until(&self) -> Option<Instant> {
        self.rests_until
    }

    /// A descriptor is free again, so accepting may work again.
    pub(crate) fn descriptor_freed(&mut self) {
        self.rests_until = None;
    }

    /// The next connection, if one waits.
    ///
    /// # Errors
    ///
    /// Accepting has to rest for a while.
    pub(crate) fn accept(&mut self, now: Instant) -> io::Result<Option<(TcpStream, SocketAddr)>> {
        if self.rests_until.is_some_and(|until| now < until) {
            return Ok(None);
        }
        self.rests_until = None;
        for listener in &mut self.listeners {
            while listener.ready {
                match listener.socket.accept() {
                    Ok(connection) => return Ok(Some(connection)),
                    Err(error) => match classify(&error) {
                        AcceptFailure::Drained => listener.ready = false,
                        AcceptFailure::TryNext => {}
                        AcceptFailure::Pause => {
                            self.rests_until = Some(now + PAUSE);
                            return Err(error);
                        }
                    },
                }
            }
        }
        Ok(None)
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
