//! The loop: readiness, accepting, turns, deadlines.
//!
//! ```text
//! ┌─> poll ──> note who is ready ──> commands ──> accept ──> one turn for each ──> deadlines ─┐
//! └───────────────────────────────────────────────────────────────────────────────────────────┘
//! ```
//!
//! Rules of this file: the loop sleeps unless a turn is due, a deadline has come, or the kernel has news;
//! deadlines are judged after everything that is ready was read, so that a loop that wakes up late closes
//! nobody who has spoken in time.

use std::fmt;
use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};

use crate::config::{Config, LONGEST};
use crate::dispatch::Dispatcher;
use crate::net::handle::{Command, Handle, Inbox, MAX_COMMANDS};
use crate::net::listen::{Acceptor, StartError, bind, connections_that_fit};
use crate::net::sockets::Readiness;
use crate::net::turns::{Snapshot, Turns};
use crate::observe::{Notice, Observer};
use crate::peers::Peers;

/// Sockets whose news one question to the kernel can bring.
const MAX_EVENTS: usize = 1024;

/// The bell of the handles; listeners have the tokens above, slots of peers those below.
const BELL: Token = Token(usize::MAX - 2);

/// A WebSocket server on one thread.
///
/// Its [`Dispatcher`] decides what happens to messages; its [`Observer`] watches, `()` by default; a [`Handle`]
/// reaches it from other threads.
pub struct Server<D, O = ()> {
    poll: Poll,
    events: Events,
    acceptor: Acceptor,
    turns: Turns<D, TcpStream, O>,
    handle: Handle,
    /// Absent once the server has stopped.
    inbox: Option<Inbox>,
    /// It is stopping, and at that time it stops whoever is left.
    stops_at: Option<Instant>,
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
        let (handle, inbox) = Inbox::new(poll.registry(), BELL).map_err(StartError::Poll)?;
        let max_connections = config.max_connections.unwrap_or_else(connections_that_fit);
        Ok(Server {
            poll,
            events: Events::with_capacity(MAX_EVENTS),
            acceptor,
            turns: Turns::new(config, max_connections, dispatchers(), observer, Instant::now()),
            handle,
            inbox: Some(inbox),
            stops_at: None,
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
        self.turns.peers()
    }

    /// How much it holds at this moment.
    pub fn snapshot(&self) -> Snapshot {
        self.turns.snapshot()
    }

    /// Reaches this server from other threads.
    pub fn handle(&self) -> Handle {
        self.handle.clone()
    }

    /// It was asked to stop and has: no connection is left.
    pub fn has_stopped(&self) -> bool {
        self.inbox.is_none()
    }

    /// Serves until [`Handle::shutdown`] has stopped it.
    ///
    /// # Errors
    ///
    /// The readiness queue of the system failed.
    pub fn run(&mut self) -> io::Result<()> {
        while !self.has_stopped() {
            self.pass(None)?;
        }
        Ok(())
    }

    /// One pass of the loop: waits at most `wait` for something to do, and does it. Answers when the waiting had
    /// ended, so that the caller can tell how long the work took.
    ///
    /// # Errors
    ///
    /// The readiness queue of the system failed.
    pub fn pass(&mut self, wait: Option<Duration>) -> io::Result<Instant> {
        let timeout = self.timeout(wait);
        self.gather_readiness(timeout)?;
        let now = Instant::now();
        self.turns.begin_pass(now);
        self.obey(now);
        self.accept(now);
        self.turns.take_all();
        self.turns.judge_deadlines();
        if self.turns.take_descriptor_freed() {
            self.acceptor.descriptor_freed();
        }
        self.stop_when_due(now);
        Ok(now)
    }

    /// How long to wait for readiness: not at all while turns are due.
    fn timeout(&self, wait: Option<Duration>) -> Option<Duration> {
        let may_add = self.turns.may_add();
        if self.turns.are_due() || (may_add && self.acceptor.is_ready()) {
            return Some(Duration::ZERO);
        }
        let accept_again = self.acceptor.rests_until().filter(|_| may_add);
        let next = [self.turns.next_deadline(), accept_again, self.stops_at];
        let next = next.into_iter().flatten().min();
        let until = next.map(|at| at.saturating_duration_since(Instant::now()));
        until.into_iter().chain(wait).min()
    }

    /// Notes who is ready. A full answer may not be the whole of it: whoever is ready must be known
    /// before any deadline is judged, so the kernel is asked again, at most once per so many peers.
    fn gather_readiness(&mut self, mut timeout: Option<Duration>) -> io::Result<()> {
        for _ in 0..=self.turns.peers().len() / MAX_EVENTS {
            match self.poll.poll(&mut self.events, timeout) {
                Err(error) if error.kind() == ErrorKind::Interrupted => return Ok(()),
                result => result?,
            }
            let mut count = 0;
            for event in &self.events {
                count += 1;
                let Token(token) = event.token();
                if event.token() == BELL {
                    if let Some(inbox) = &self.inbox {
                        inbox.heard();
                    }
                } else if !self.acceptor.note_readiness(token) {
                    self.turns.note_readiness(token, readiness(event));
                }
            }
            if count < MAX_EVENTS {
                return Ok(());
            }
            timeout = Some(Duration::ZERO);
        }
        Ok(())
    }

    /// Carries out the commands that wait, a queue full of them at most.
    fn obey(&mut self, now: Instant) {
        for _ in 0..MAX_COMMANDS {
            let Some(command) = self.inbox.as_ref().and_then(Inbox::next) else { return };
            match command {
                Command::Send(to, frame) => {
                    self.turns.act(|outbox| outbox.send_encoded(to, &frame));
                }
                Command::Publish(group, frame, except) => {
                    self.turns.act(|outbox| outbox.publish_encoded(&group, &frame, &except));
                }
                Command::Close(peer, code, reason) => {
                    let closed = self.turns.act(|outbox| outbox.close_peer(peer, code, &reason));
                    closed.expect("the handle has checked code and reason");
                }
                Command::Shutdown(deadline) => self.begin_to_stop(now, deadline),
                // Who asked may have gone without waiting for the answer.
                Command::Snapshot(answer) => drop(answer.try_send(self.turns.snapshot())),
            }
        }
        if let Some(inbox) = &self.inbox {
            inbox.ring();
        }
    }

    fn begin_to_stop(&mut self, now: Instant, deadline: Duration) {
        let at = now + deadline.min(LONGEST);
        if self.stops_at.is_none() {
            self.acceptor.stop();
            self.turns.close_all();
        }
        self.stops_at = Some(self.stops_at.map_or(at, |earlier| earlier.min(at)));
    }

    fn stop_when_due(&mut self, now: Instant) {
        let Some(at) = self.stops_at else { return };
        if now >= at {
            self.turns.abandon_all();
        }
        if self.turns.peers().is_empty() {
            self.inbox = None;
        }
    }

    fn accept(&mut self, now: Instant) {
        while self.turns.may_add() {
            match self.acceptor.accept(now) {
                Ok(Some((stream, address))) => self.add(stream, address),
                Ok(None) => return,
                Err(error) => {
                    self.turns.observer().notice(None, &Notice::AcceptPaused(&error));
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
            Err(_) => self.turns.release(id),
        }
    }
}

fn readiness(event: &mio::event::Event) -> Readiness {
    // An error shows itself when the socket is read or written.
    Readiness {
        readable: event.is_readable() || event.is_error(),
        writable: event.is_writable() || event.is_error(),
        ends: event.is_read_closed() || event.is_error(),
    }
}

impl<D: Dispatcher, O: Observer> fmt::Debug for Server<D, O> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Server").field("peers", self.turns.peers()).finish_non_exhaustive()
    }
}
