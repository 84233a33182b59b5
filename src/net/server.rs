//! The loop: readiness, accepting, turns, deadlines.
//!
//! ```text
//! ┌─> poll ──> note who is ready ──> accept ──> one turn for each ──> deadlines ─┐
//! └──────────────────────────────────────────────────────────────────────────────┘
//! ```
//!
//! Rules of this file: the loop sleeps unless a turn is due, a deadline has come, or the kernel has news;
//! deadlines are judged after everything that is ready was read, so that a loop that wakes up late closes
//! nobody who has spoken in time.

use std::fmt;
use std::io::{self, ErrorKind};
use std::mem;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};

use crate::config::{Config, ValidConfig};
use crate::dispatch::Dispatcher;
use crate::net::listen::{Acceptor, StartError, bind, connections_that_fit};
use crate::net::turn::Turns;
use crate::observe::{Notice, Observer};
use crate::peers::Peers;

/// A WebSocket server on one thread.
///
/// Its [`Dispatcher`] decides what happens to messages; its [`Observer`] watches, `()` by default.
pub struct Server<D, O = ()> {
    config: ValidConfig,
    poll: Poll,
    events: Events,
    acceptor: Acceptor,
    max_connections: usize,
    turns: Turns<D, O>,
}

impl<D: Dispatcher> Server<D> {
    /// Listens as the config says. `dispatchers` makes the dispatcher of each loop; there is one loop.
    ///
    /// # Errors
    ///
    /// A setting cannot work, or the address is not to be had.
    pub fn bind(config: Config, dispatchers: impl FnMut() -> D) -> Result<Server<D>, StartError> {
        Server::bind_observed(config, dispatchers, ())
    }
}

impl<D: Dispatcher, O: Observer> Server<D, O> {
    /// As [`bind`](Server::bind), with an observer.
    ///
    /// # Errors
    ///
    /// A setting cannot work, or the address is not to be had.
    pub fn bind_observed(
        config: Config,
        mut dispatchers: impl FnMut() -> D,
        observer: O,
    ) -> Result<Server<D, O>, StartError> {
        let config = config.validate().map_err(StartError::Config)?;
        let bound = bind(&config).map_err(StartError::Listen)?;
        let poll = Poll::new().map_err(StartError::Poll)?;
        let acceptor = Acceptor::new(bound, poll.registry()).map_err(StartError::Poll)?;
        Ok(Server {
            poll,
            events: Events::with_capacity(1024),
            acceptor,
            max_connections: config.max_connections.unwrap_or_else(connections_that_fit),
            turns: Turns::new(config.clone(), dispatchers(), observer),
            config,
        })
    }

    /// The addresses it listens on.
    pub fn local_addrs(&self) -> impl Iterator<Item = SocketAddr> + '_ {
        self.acceptor.local_addrs()
    }

    /// `localhost` was asked for and this machine has no ::1.
    pub fn is_without_ipv6(&self) -> bool {
        self.acceptor.is_without_ipv6()
    }

    /// The connections, to look at.
    pub fn peers(&self) -> &Peers {
        &self.turns.peers
    }

    /// Serves until the process ends.
    ///
    /// # Errors
    ///
    /// The readiness queue of the system failed.
    pub fn run(&mut self) -> io::Result<()> {
        loop {
            self.pass(None)?;
        }
    }

    /// One pass of the loop: waits at most `wait` for something to do, and does it.
    ///
    /// # Errors
    ///
    /// The readiness queue of the system failed.
    pub fn pass(&mut self, wait: Option<Duration>) -> io::Result<()> {
        let timeout = self.timeout(wait);
        match self.poll.poll(&mut self.events, timeout) {
            Err(error) if error.kind() == ErrorKind::Interrupted => return Ok(()),
            result => result?,
        }
        self.turns.now = Instant::now();
        for event in &self.events {
            let Token(token) = event.token();
            if !self.acceptor.note_readiness(token) {
                self.turns.note_readiness(token, event);
            }
        }
        self.accept();
        self.turns.take_all();
        self.turns.judge_deadlines();
        if mem::take(&mut self.turns.descriptor_freed) {
            self.acceptor.descriptor_freed();
        }
        Ok(())
    }

    /// How long to wait for readiness: not at all while turns are due.
    fn timeout(&self, wait: Option<Duration>) -> Option<Duration> {
        let may_accept = self.may_accept();
        if self.turns.are_due() || (may_accept && self.acceptor.is_ready()) {
            return Some(Duration::ZERO);
        }
        let accept_again = self.acceptor.rests_until().filter(|_| may_accept);
        let next = self.turns.timers.next().into_iter().chain(accept_again).min();
        let until = next.map(|at| at.saturating_duration_since(Instant::now()));
        until.into_iter().chain(wait).min()
    }

    /// There is room for one more connection, and for one more opening handshake.
    fn may_accept(&self) -> bool {
        self.turns.peers.len() < self.max_connections
            && self.turns.opening < self.config.max_handshakes
    }

    fn accept(&mut self) {
        while self.may_accept() {
            match self.acceptor.accept(self.turns.now) {
                Ok(Some((stream, address))) => self.add(stream, address),
                Ok(None) => return,
                Err(error) => {
                    self.turns.sockets.observer.notice(None, &Notice::AcceptPaused(&error));
                    return;
                }
            }
        }
    }

    fn add(&mut self, mut stream: TcpStream, address: SocketAddr) {
        // Small frames are not held back to be sent together: what can be is gathered before the write.
        let _ = stream.set_nodelay(true);
        let id = self.turns.reserve();
        let interest = Interest::READABLE | Interest::WRITABLE;
        match self.poll.registry().register(&mut stream, Token(id.slot()), interest) {
            Ok(()) => self.turns.add(id, stream, address),
            Err(_) => drop(self.turns.peers.remove(id)),
        }
    }
}

impl<D, O> fmt::Debug for Server<D, O> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Server").field("peers", &self.turns.peers).finish_non_exhaustive()
    }
}
