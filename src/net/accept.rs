//! Accepting connections, and what to do after each error of `accept`.

use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use mio::net::{TcpListener, TcpStream};
use mio::{Interest, Registry, Token};

use crate::net::bind::Listeners;

/// What to do after an error of `accept`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum AcceptFailure {
    /// No connection is waiting: continue when the listener becomes ready again.
    Drained,
    /// The connection was aborted, or a signal interrupted the call: try again at once.
    TryNext,
    /// File descriptors or memory are short, or the error is unknown: try again after a pause. Waiting for readiness
    /// would not help, because the kernel does not report the waiting connections a second time.
    Pause,
}

/// Decides what to do after an error of `accept`.
fn classify(error: &io::Error) -> AcceptFailure {
    match error.kind() {
        io::ErrorKind::WouldBlock => AcceptFailure::Drained,
        io::ErrorKind::Interrupted | io::ErrorKind::ConnectionAborted => AcceptFailure::TryNext,
        _ => AcceptFailure::Pause,
    }
}

/// How long accepting is paused after an error.
const PAUSE: Duration = Duration::from_millis(100);

/// The token of the first listener. The tokens of peers are their slots, from 0.
const FIRST_TOKEN: usize = usize::MAX - 1;

/// The listeners of a server, and whether a connection is waiting.
#[derive(Debug)]
pub(crate) struct Acceptor {
    listeners: Vec<Listener>,
    without_ipv6: bool,
    /// The time at which the pause ends, or `None` if accepting is not paused.
    paused_until: Option<Instant>,
}

#[derive(Debug)]
struct Listener {
    socket: TcpListener,
    /// A connection may be waiting.
    ready: bool,
}

impl Acceptor {
    pub(crate) fn new(bound: Listeners, registry: &Registry) -> io::Result<Acceptor> {
        let mut listeners = Vec::new();
        for (i, mut socket) in bound.sockets.into_iter().enumerate() {
            registry.register(&mut socket, Token(FIRST_TOKEN + i), Interest::READABLE)?;
            listeners.push(Listener { socket, ready: false });
        }
        Ok(Acceptor { listeners, without_ipv6: bound.without_ipv6, paused_until: None })
    }

    /// Returns the addresses that the listeners are bound to.
    pub(crate) fn local_addrs(&self) -> impl Iterator<Item = SocketAddr> + '_ {
        self.listeners.iter().filter_map(|listener| listener.socket.local_addr().ok())
    }

    /// Reports whether the host is `localhost` and this machine has no ::1.
    pub(crate) fn is_without_ipv6(&self) -> bool {
        self.without_ipv6
    }

    /// Notes that a listener is ready. Returns false if the token does not belong to a listener.
    pub(crate) fn note_readiness(&mut self, token: usize) -> bool {
        let which = token.checked_sub(FIRST_TOKEN);
        let listener = which.and_then(|which| self.listeners.get_mut(which));
        listener.map(|listener| listener.ready = true).is_some()
    }

    /// Reports whether a connection may be waiting and accepting is not paused.
    pub(crate) fn is_ready(&self) -> bool {
        self.paused_until.is_none() && self.listeners.iter().any(|listener| listener.ready)
    }

    /// Stops listening and frees the port.
    pub(crate) fn stop(&mut self) {
        self.listeners.clear();
        self.paused_until = None;
    }

    /// Returns the time at which the pause ends, or `None` if accepting is not paused.
    pub(crate) fn paused_until(&self) -> Option<Instant> {
        self.paused_until
    }

    /// Ends the pause, because a file descriptor was closed and accepting may work again.
    pub(crate) fn descriptor_freed(&mut self) {
        self.paused_until = None;
    }

    /// Accepts the next connection, if one is waiting.
    ///
    /// # Errors
    ///
    /// File descriptors or memory are short. Accepting is paused for 100 ms or until a file descriptor is free.
    pub(crate) fn accept(&mut self, now: Instant) -> io::Result<Option<(TcpStream, SocketAddr)>> {
        if self.paused_until.is_some_and(|until| now < until) {
            return Ok(None);
        }
        self.paused_until = None;
        for listener in &mut self.listeners {
            while listener.ready {
                match listener.socket.accept() {
                    Ok(connection) => return Ok(Some(connection)),
                    Err(error) => match classify(&error) {
                        AcceptFailure::Drained => listener.ready = false,
                        AcceptFailure::TryNext => {}
                        AcceptFailure::Pause => {
                            self.paused_until = Some(now + PAUSE);
                            return Err(error);
                        }
                    },
                }
            }
        }
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classifies_errors_of_accept() {
        let kind = |kind: io::ErrorKind| classify(&kind.into());
        assert_eq!(kind(io::ErrorKind::WouldBlock), AcceptFailure::Drained);
        assert_eq!(kind(io::ErrorKind::Interrupted), AcceptFailure::TryNext);
        assert_eq!(kind(io::ErrorKind::ConnectionAborted), AcceptFailure::TryNext);
        assert_eq!(kind(io::ErrorKind::OutOfMemory), AcceptFailure::Pause);
        // EMFILE and ENFILE on Unix, for which there is no `ErrorKind`.
        assert_eq!(classify(&io::Error::from_raw_os_error(24)), AcceptFailure::Pause);
        assert_eq!(classify(&io::Error::from_raw_os_error(23)), AcceptFailure::Pause);
    }
}
