//! The server: an event loop connected to the operating system.
//!
//! ```text
//! ┌─> poll ──> note readiness ──> commands ──> accept ──> one turn per peer ──> deadlines ────┐
//! └───────────────────────────────────────────────────────────────────────────────────────────┘
//! ```
//!
//! Rules of this file: The loop sleeps until the kernel reports readiness or a deadline is due, unless a peer is queued
//! for a turn. Deadlines are checked after reading from every ready socket, so that a loop that wakes up late closes no
//! peer that has sent in time.

use std::fmt;
use std::io::{self, ErrorKind};
use std::net::{SocketAddr, TcpListener as StdListener, TcpStream as StdStream};
use std::time::{Duration, Instant};

use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token};

use crate::config::{Config, LONGEST};
use crate::dispatcher::Application;
use crate::net::accept::Acceptor;
use crate::net::bind::{Listeners, StartError, bind};
use crate::net::event_loop::{EventLoop, Snapshot};
use crate::net::handle::{Command, Handle, Inbox, MAX_COMMANDS};
use crate::net::link::readiness;
use crate::net::process;
use crate::net::transport::{Tcp, Transport};
use crate::observe::{Notice, Observer};

/// The most sockets that one poll reports.
const MAX_EVENTS: usize = 1024;

/// The most connections that are accepted in one pass.
const MAX_ACCEPTS: usize = 256;

/// The token of the waker. Listeners have the tokens above it, and peers have their slots, below it.
const WAKER: Token = Token(usize::MAX - 2);

/// A WebSocket server on one thread.
///
/// ```no_run
/// use framewise::{Config, Echo, Server};
///
/// let mut server = Server::bind(Config::default(), Echo::new("Echo: "))?;
/// server.run()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// Its [`Dispatcher`](crate::Dispatcher) handles the messages. Its [`Observer`] watches what happens; the default `()`
/// does nothing. A [`Handle`] acts on the server from other threads.
pub struct Server<A, T: Transport = Tcp, O = ()> {
    poll: Poll,
    events: Events,
    acceptor: Acceptor,
    event_loop: EventLoop<A, TcpStream, T, O>,
    handle: Handle<A>,
    /// `None` once the server has stopped.
    inbox: Option<Inbox<A>>,
    /// The deadline of the shutdown, if the server is stopping. It then closes the connections that are left.
    stops_at: Option<Instant>,
}

impl<A: Application> Server<A> {
    /// Binds the host and port of the config.
    ///
    /// # Errors
    ///
    /// A setting is invalid, or the server cannot listen on the address.
    pub fn bind(config: Config, application: A) -> Result<Server<A>, StartError> {
        // The host is checked with the other settings, before it is used.
        let config = config.validate()?;
        let listeners = bind(&config)?;
        Server::start(Config::clone(&config), listeners, application)
    }

    /// Uses a listener that is already bound. The host and port of the config are ignored.
    ///
    /// # Errors
    ///
    /// A setting is invalid, or the listener cannot be used.
    pub fn from_listener(
        listener: StdListener,
        config: Config,
        application: A,
    ) -> Result<Server<A>, StartError> {
        listener.set_nonblocking(true).map_err(StartError::Poll)?;
        let sockets = vec![TcpListener::from_std(listener)];
        Server::start(config, Listeners { sockets, without_ipv6: false }, application)
    }

    /// Returns a server that serves only the connections passed to [`Handle::adopt`], for example as one of several
    /// event loops that share one listener.
    ///
    /// # Errors
    ///
    /// A setting is invalid.
    pub fn without_listener(config: Config, application: A) -> Result<Server<A>, StartError> {
        let none = Listeners { sockets: Vec::new(), without_ipv6: false };
        Server::start(config, none, application)
    }

    fn start(
        mut config: Config,
        listeners: Listeners,
        application: A,
    ) -> Result<Server<A>, StartError> {
        config.limits.max_memory.get_or_insert_with(process::max_memory);
        let config = config.validate()?;
        let poll = Poll::new().map_err(StartError::Poll)?;
        let acceptor = Acceptor::new(listeners, poll.registry()).map_err(StartError::Poll)?;
        let (connections, now) = (process::max_connections(), Instant::now());
        let event_loop = EventLoop::new(config, connections, application, Tcp, (), now);
        let (handle, inbox) = Inbox::new(poll.registry(), WAKER).map_err(StartError::Poll)?;
        Ok(Server {
            poll,
            events: Events::with_capacity(MAX_EVENTS),
            acceptor,
            event_loop,
            handle,
            inbox: Some(inbox),
            stops_at: None,
        })
    }
}

impl<A: Application, T: Transport, O: Observer> Server<A, T, O> {
    /// Sets the observer. Call this before the server runs.
    #[must_use]
    pub fn observed_by<O2: Observer>(self, observer: O2) -> Server<A, T, O2> {
        self.rebuild(|transport| transport, |_| observer)
    }

    /// Sets the transport between the sockets and the connections. Call this before the server runs.
    #[must_use]
    pub fn over<T2: Transport>(self, transport: T2) -> Server<A, T2, O> {
        self.rebuild(|_| transport, |observer| observer)
    }

    fn rebuild<T2: Transport, O2: Observer>(
        self,
        transport: impl FnOnce(T) -> T2,
        observer: impl FnOnce(O) -> O2,
    ) -> Server<A, T2, O2> {
        Server {
            poll: self.poll,
            events: self.events,
            acceptor: self.acceptor,
            event_loop: self.event_loop.rebuild(transport, observer),
            handle: self.handle,
            inbox: self.inbox,
            stops_at: self.stops_at,
        }
    }

    // State.

    /// Returns the first address that the server listens on.
    ///
    /// # Errors
    ///
    /// The server has no listener, or has stopped listening.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.local_addrs().next().ok_or_else(|| ErrorKind::AddrNotAvailable.into())
    }

    /// Returns all addresses that the server listens on.
    pub fn local_addrs(&self) -> impl Iterator<Item = SocketAddr> + '_ {
        self.acceptor.local_addrs()
    }

    /// Reports whether the server listens on `localhost` without ::1, because this machine does not have that address.
    pub fn is_without_ipv6(&self) -> bool {
        self.acceptor.is_without_ipv6()
    }

    /// Returns the memory limit of all connections together, in bytes. If the config sets none, it depends on this
    /// machine.
    pub fn max_memory(&self) -> usize {
        self.event_loop.max_memory()
    }

    /// Returns the resources that the connections hold at this moment.
    pub fn snapshot(&self) -> Snapshot {
        self.event_loop.snapshot()
    }

    /// Returns a handle to act on this server from other threads.
    pub fn handle(&self) -> Handle<A> {
        self.handle.clone()
    }

    /// Reports whether the server has stopped after [`Handle::shutdown`]: no connection is left.
    pub fn has_stopped(&self) -> bool {
        self.inbox.is_none()
    }

    // Running.

    /// Serves connections until [`Handle::shutdown`] has stopped the server.
    ///
    /// # Errors
    ///
    /// The operating system cannot report readiness.
    pub fn run(&mut self) -> io::Result<()> {
        while !self.has_stopped() {
            self.pass(None)?;
        }
        Ok(())
    }

    /// Runs one pass of the loop: waits for readiness, a command or a deadline, at most `wait`, and does the work.
    /// Returns the time at which the wait was over, so that the caller can measure how long the work took.
    ///
    /// # Errors
    ///
    /// The operating system cannot report readiness.
    pub fn pass(&mut self, wait: Option<Duration>) -> io::Result<Instant> {
        let timeout = self.timeout(wait);
        self.gather_readiness(timeout)?;
        let now = Instant::now();
        let calling = self.inbox.as_ref().map(Inbox::calling);
        self.event_loop.begin_pass(now);
        self.obey(now);
        self.accept(now);
        self.event_loop.take_turns();
        self.event_loop.expire_deadlines();
        if self.event_loop.take_descriptor_freed() {
            self.acceptor.descriptor_freed();
        }
        self.stop_when_due(now);
        drop(calling);
        Ok(now)
    }

    /// Returns how long to wait for readiness: zero if there is work already, or `None` for no limit.
    fn timeout(&self, wait: Option<Duration>) -> Option<Duration> {
        if self.event_loop.has_turns() || self.acceptor.is_ready() {
            return Some(Duration::ZERO);
        }
        let deadline = self.event_loop.next_deadline();
        let next = [deadline, self.acceptor.paused_until(), self.stops_at];
        let next = next.into_iter().flatten().min();
        let until = next.map(|at| at.saturating_duration_since(Instant::now()));
        until.into_iter().chain(wait).min()
    }

    /// Waits until sockets are ready, and records their readiness. If one poll fills `events`, more sockets may be
    /// ready. They must be known before deadlines are checked, so the loop polls again, at most once for each
    /// `MAX_EVENTS` peers.
    fn gather_readiness(&mut self, mut timeout: Option<Duration>) -> io::Result<()> {
        for _ in 0..=self.event_loop.connections() / MAX_EVENTS {
            match self.poll.poll(&mut self.events, timeout) {
                Err(error) if error.kind() == ErrorKind::Interrupted => return Ok(()),
                result => result?,
            }
            let mut count = 0;
            for event in &self.events {
                count += 1;
                let Token(token) = event.token();
                if event.token() == WAKER {
                    if let Some(inbox) = &self.inbox {
                        inbox.awake();
                    }
                } else if !self.acceptor.note_readiness(token) {
                    self.event_loop.note_readiness(token, readiness(event));
                }
            }
            if count < MAX_EVENTS {
                return Ok(());
            }
            timeout = Some(Duration::ZERO);
        }
        Ok(())
    }

    /// Carries out the queued commands, at most `MAX_COMMANDS` in one pass.
    fn obey(&mut self, now: Instant) {
        for _ in 0..MAX_COMMANDS {
            let Some(command) = self.inbox.as_ref().and_then(Inbox::next) else { return };
            match command {
                Command::Run { action, .. } => drop(self.event_loop.act(action)),
                Command::Adopt(stream) => self.adopt(stream),
                Command::Shutdown(deadline) => self.begin_to_stop(now, deadline),
                // The caller may no longer wait for the result.
                Command::Snapshot(reply) => drop(reply.try_send(self.event_loop.snapshot())),
            }
        }
        if let Some(inbox) = &self.inbox {
            inbox.wake();
        }
    }

    fn begin_to_stop(&mut self, now: Instant, deadline: Duration) {
        let at = now + deadline.min(LONGEST);
        if self.stops_at.is_none() {
            self.acceptor.stop();
            self.event_loop.close_all();
        }
        self.stops_at = Some(self.stops_at.map_or(at, |earlier| earlier.min(at)));
    }

    fn stop_when_due(&mut self, now: Instant) {
        let Some(at) = self.stops_at else { return };
        if now >= at {
            self.event_loop.abandon_all();
        }
        if self.event_loop.connections() == 0 {
            self.inbox = None;
        }
    }

    fn accept(&mut self, now: Instant) {
        for _ in 0..MAX_ACCEPTS {
            match self.acceptor.accept(now) {
                Ok(Some((stream, address))) => self.add(stream, address),
                Ok(None) => return,
                Err(error) => {
                    self.event_loop.observer().notice(None, &Notice::AcceptPaused(&error));
                    return;
                }
            }
        }
    }

    /// Serves a connection from another thread, unless the server is stopping or the connection is closed already.
    fn adopt(&mut self, stream: StdStream) {
        if self.stops_at.is_none()
            && stream.set_nonblocking(true).is_ok()
            && let Ok(address) = stream.peer_addr()
        {
            self.add(TcpStream::from_std(stream), address);
        }
    }

    fn add(&mut self, mut stream: TcpStream, address: SocketAddr) {
        // Nagle's algorithm would delay small frames. The server gathers output before each write instead.
        let _ = stream.set_nodelay(true);
        let id = self.event_loop.reserve();
        let interest = Interest::READABLE | Interest::WRITABLE;
        match self.poll.registry().register(&mut stream, Token(id.slot()), interest) {
            Ok(()) => self.event_loop.add(id, stream, address),
            Err(_) => self.event_loop.release(id),
        }
    }
}

impl<A: Application, T: Transport, O: Observer> fmt::Debug for Server<A, T, O> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let connections = self.event_loop.connections();
        out.debug_struct("Server").field("connections", &connections).finish_non_exhaustive()
    }
}
