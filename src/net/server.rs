//! The loop: readiness, read, dispatch, flush, deadlines.
//!
//! ```text
//! poll ──> note who is ready ──> accept ──> one turn for each ──> settle who was marked ──> deadlines ──┐
//!   ^                                       flush what waited,     flush, say who closed,               │
//!   |                                       one read, dispatch,    shut down, arm deadlines             │
//!   |                                       settle                                                      │
//!   └───────────────────────────────────────────────────────────────────────────────────────────────────┘
//! ```
//!
//! Rules of this file: a turn is one read of the loop's one buffer, so nobody waits for a peer that never
//! stops; a socket is read until the kernel has no more, which a short read says on Linux, and what is
//! left waits in the queue of turns, because no second readiness will come; whatever a turn queued goes
//! out in one write at its end; deadlines are judged after everything that is ready was read.

use std::collections::VecDeque;
use std::fmt;
use std::io::{self, ErrorKind, Read};
use std::mem;
use std::net::{Shutdown, SocketAddr};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use mio::net::TcpListener;
use mio::{Events, Interest, Poll, Token};

use crate::config::{Config, ConfigError, ValidConfig};
use crate::dispatch::{Dispatcher, Outbox, flush};
use crate::lang::{self, Lang};
use crate::net::listen::{self, AcceptFailure, ListenError, classify, connections_that_fit};
use crate::net::sockets::{Socket, Sockets, Stage};
use crate::net::timers::{Deadline, Timers};
use crate::observe::{Direction, Notice, Observer};
use crate::peers::{PeerId, Peers};
use crate::protocol::connection::{Connection, Event, Head, State};
use crate::protocol::handshake::server::{Answer, Outcome};

/// A WebSocket server on one thread.
///
/// Its [`Dispatcher`] decides what happens to messages; its [`Observer`] watches, `()` by default.
pub struct Server<D, O = ()> {
    config: ValidConfig,
    poll: Poll,
    events: Events,
    listeners: Vec<Listener>,
    without_ipv6: bool,
    /// Accepting rests until then, after an error that no new readiness follows.
    accept_again: Option<Instant>,
    max_connections: usize,
    /// Connections in their opening handshake.
    opening: usize,
    dispatcher: D,
    peers: Peers,
    sockets: Sockets<O>,
    timers: Timers,
    /// Slots that have something to read or write, in the order in which they get their turn.
    turns: VecDeque<usize>,
    /// The one buffer that everything is read into.
    buffer: Box<[u8]>,
    now: Instant,
}

struct Listener {
    socket: TcpListener,
    /// Connections may be waiting.
    ready: bool,
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

/// Listeners have the tokens from here up, slots those below.
const FIRST_LISTENER: usize = usize::MAX - 1;

/// How long accepting rests after an error that no new readiness follows.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

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
        let bound = listen::bind(&config).map_err(StartError::Listen)?;
        let poll = Poll::new().map_err(StartError::Poll)?;
        let mut listeners = Vec::new();
        for (i, mut socket) in bound.sockets.into_iter().enumerate() {
            poll.registry()
                .register(&mut socket, Token(FIRST_LISTENER + i), Interest::READABLE)
                .map_err(StartError::Poll)?;
            listeners.push(Listener { socket, ready: false });
        }
        Ok(Server {
            poll,
            events: Events::with_capacity(1024),
            listeners,
            without_ipv6: bound.without_ipv6,
            accept_again: None,
            max_connections: config.max_connections.unwrap_or_else(connections_that_fit),
            opening: 0,
            dispatcher: dispatchers(),
            peers: Peers::new(config.clone()),
            sockets: Sockets::new(observer),
            timers: Timers::new(|kind| match kind {
                Deadline::Handshake => config.handshake_timeout,
                Deadline::Write => config.write_timeout,
                Deadline::Close => config.close_timeout,
            }),
            turns: VecDeque::new(),
            buffer: vec![0; config.read_buffer].into_boxed_slice(),
            now: Instant::now(),
            config,
        })
    }

    /// The addresses it listens on.
    pub fn local_addrs(&self) -> impl Iterator<Item = SocketAddr> + '_ {
        self.listeners.iter().filter_map(|listener| listener.socket.local_addr().ok())
    }

    /// `localhost` was asked for and this machine has no ::1.
    pub fn is_without_ipv6(&self) -> bool {
        self.without_ipv6
    }

    /// The connections, to look at.
    pub fn peers(&self) -> &Peers {
        &self.peers
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
        self.now = Instant::now();
        self.note_readiness();
        self.accept();
        for _ in 0..self.turns.len() {
            if let Some(slot) = self.turns.pop_front() {
                self.turn(slot);
            }
        }
        self.settle_marked();
        while let Some((slot, _)) = self.timers.expired(self.now) {
            if let Some(id) = self.peers.in_slot(slot) {
                self.abandon(id);
            }
        }
        self.settle_marked();
        Ok(())
    }

    /// How long to wait for readiness: not at all while turns are due.
    fn timeout(&self, wait: Option<Duration>) -> Option<Duration> {
        if !self.turns.is_empty() || (self.connection_waits() && self.accept_again.is_none()) {
            return Some(Duration::ZERO);
        }
        let next = self.timers.next().into_iter().chain(self.accept_again).min();
        let until = next.map(|at| at.saturating_duration_since(Instant::now()));
        until.into_iter().chain(wait).min()
    }

    fn note_readiness(&mut self) {
        for event in &self.events {
            let Token(token) = event.token();
            if token >= FIRST_LISTENER {
                self.listeners[token - FIRST_LISTENER].ready = true;
                continue;
            }
            let Some(socket) = self.sockets.in_slot(token) else { continue };
            socket.readable |= event.is_readable() || event.is_error();
            socket.writable |= event.is_writable() || event.is_error();
            socket.end_announced |= event.is_read_closed() || event.is_error();
            if !mem::replace(&mut socket.in_turns, true) {
                self.turns.push_back(token);
            }
        }
    }

    // Accepting.

    /// A connection may be waiting and may be accepted.
    fn connection_waits(&self) -> bool {
        self.peers.len() < self.max_connections
            && self.opening < self.config.max_handshakes
            && self.listeners.iter().any(|listener| listener.ready)
    }

    fn accept(&mut self) {
        if self.accept_again.is_some_and(|at| self.now < at) {
            return;
        }
        self.accept_again = None;
        for which in 0..self.listeners.len() {
            while self.listeners[which].ready && self.connection_waits() {
                match self.listeners[which].socket.accept() {
                    Ok((stream, address)) => self.add(stream, address),
                    Err(error) => match classify(&error) {
                        AcceptFailure::Drained => self.listeners[which].ready = false,
                        AcceptFailure::TryNext => {}
                        AcceptFailure::Pause => {
                            self.accept_again = Some(self.now + ACCEPT_PAUSE);
                            self.sockets.observer.notice(None, &Notice::AcceptPaused(&error));
                            return;
                        }
                    },
                }
            }
        }
    }

    fn add(&mut self, mut stream: mio::net::TcpStream, address: SocketAddr) {
        // Small frames are not held back to be sent together: what can be is gathered before the write.
        let _ = stream.set_nodelay(true);
        let id = self.peers.insert(Connection::server(self.config.clone()));
        let interest = Interest::READABLE | Interest::WRITABLE;
        if self.poll.registry().register(&mut stream, Token(id.slot()), interest).is_err() {
            self.peers.remove(id);
            return;
        }
        self.sockets.insert(id, Socket::new(stream));
        self.opening += 1;
        self.timers.arm(id.slot(), Deadline::Handshake, self.now);
        self.sockets.observer.notice(Some(id), &Notice::Connected(address));
    }

    // One peer's turn.

    fn turn(&mut self, slot: usize) {
        let (Some(id), Some(socket)) = (self.peers.in_slot(slot), self.sockets.in_slot(slot))
        else {
            return;
        };
        socket.in_turns = false;
        let writable = mem::take(&mut socket.writable);
        let Some(connection) = self.peers.get_mut(id) else { return };
        if writable && connection.sender().is_blocked() {
            connection.sender_mut().unblock();
            flush(connection, &mut self.sockets, id);
        }
        self.resume(id);
        if !self.is_held_back(id) {
            self.read(id);
        }
        if !self.peers.is_marked(id) {
            self.settle(id);
        }
        if !self.is_held_back(id)
            && let Some(socket) = self.sockets.get(id)
            && socket.readable
            && !mem::replace(&mut socket.in_turns, true)
        {
            self.turns.push_back(slot);
        }
    }

    /// A peer that does not read its replies is not read either: TCP passes the pressure on to it.
    fn is_held_back(&self, id: PeerId) -> bool {
        self.peers.get(id).is_some_and(|connection| {
            let sender = connection.sender();
            sender.is_blocked() && sender.queued() >= self.config.max_output / 2
        })
    }

    fn read(&mut self, id: PeerId) {
        let (Some(socket), Some(connection)) = (self.sockets.get(id), self.peers.get_mut(id))
        else {
            return;
        };
        if !socket.readable {
            return;
        }
        let mut buffer = mem::take(&mut self.buffer);
        match socket.stream.read(&mut buffer) {
            Ok(0) => {
                (socket.readable, socket.ended) = (false, true);
                connection.lost();
            }
            Ok(count) => {
                // On Linux a short read has emptied the socket, and more bytes bring new readiness.
                let emptied = count < buffer.len() && cfg!(target_os = "linux");
                socket.readable = !emptied || socket.end_announced;
                self.received(id, &mut buffer[..count]);
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => socket.readable = false,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(_) => {
                (socket.readable, socket.ended) = (false, true);
                connection.broken();
            }
        }
        self.buffer = buffer;
    }

    /// The bytes of one read.
    fn received(&mut self, id: PeerId, bytes: &mut [u8]) {
        self.sockets.observer.bytes(id, Direction::In, bytes);
        if let Some(socket) = self.sockets.get(id)
            && socket.stage == Stage::Lingering
        {
            socket.discarded += bytes.len();
            if socket.discarded > self.config.max_discard {
                self.abandon(id);
            }
            return;
        }
        self.process(id, bytes);
    }

    /// Goes on with what was read before the peer was held back.
    fn resume(&mut self, id: PeerId) {
        if !self.is_held_back(id)
            && let Some(socket) = self.sockets.get(id)
            && !socket.unprocessed.is_empty()
        {
            let mut bytes = mem::take(&mut socket.unprocessed);
            self.process(id, &mut bytes);
        }
    }

    /// Takes the events out of bytes and acts on each, until the peer has to be held back.
    fn process(&mut self, id: PeerId, bytes: &mut [u8]) {
        self.peers.lend_buffer(id);
        let mut unread = bytes;
        loop {
            if self.is_held_back(id) {
                if let Some(socket) = self.sockets.get(id) {
                    socket.unprocessed = unread.to_vec();
                }
                return;
            }
            let connection = self.peers.get_mut(id);
            let Some(event) = connection.and_then(|connection| connection.next(&mut unread)) else {
                return;
            };
            let notice = match &event {
                Event::Request(head) => {
                    self.open(id, head);
                    continue;
                }
                Event::Message(received) => {
                    let message = received.as_message();
                    self.sockets.observer.notice(Some(id), &Notice::Message(message));
                    self.guarded(id, |dispatcher, outbox| dispatcher.on_message(outbox, message));
                    continue;
                }
                Event::Ping(payload) => Notice::Ping(payload),
                Event::Pong(payload) => Notice::Pong(payload),
                // The end is told when the connection is settled, whoever brought it about.
                Event::Closed(_) | Event::Opened(_) => continue,
            };
            self.sockets.observer.notice(Some(id), &notice);
        }
    }

    /// Answers a request and, if it opened a WebSocket, introduces the peer to the dispatcher.
    fn open(&mut self, id: PeerId, head: &Head<'_>) {
        let Some(connection) = self.peers.get_mut(id) else { return };
        let dispatcher = &mut self.dispatcher;
        let outcome = connection.answer(head, unix_seconds(), |request| {
            catch_unwind(AssertUnwindSafe(|| dispatcher.on_request(request)))
                .unwrap_or(Answer::Fail)
        });
        match outcome {
            Outcome::Opened(opened) => {
                self.opening -= 1;
                self.timers.disarm(id.slot());
                if let Some(socket) = self.sockets.get(id) {
                    socket.stage = Stage::Open;
                }
                let subprotocol = opened.subprotocol.as_deref();
                let notice = Notice::Opened { key_bytes: opened.key_bytes, subprotocol };
                self.sockets.observer.notice(Some(id), &notice);
                self.guarded(id, |dispatcher, outbox| dispatcher.on_open(outbox, &opened.request));
            }
            Outcome::Responded(status) => {
                self.sockets.observer.notice(Some(id), &Notice::Responded(status));
            }
            Outcome::Refused(refusal) => {
                self.sockets.observer.notice(Some(id), &Notice::Refused(&refusal));
            }
        }
    }

    /// Calls the dispatcher about one peer; if it panics, that peer alone is failed.
    #[inline]
    fn guarded(&mut self, id: PeerId, call: impl FnOnce(&mut D, &mut Outbox<'_>)) {
        let dispatcher = &mut self.dispatcher;
        let mut outbox = Outbox::new(&mut self.peers, &mut self.sockets, id);
        if catch_unwind(AssertUnwindSafe(|| call(dispatcher, &mut outbox))).is_err()
            && let Some(connection) = self.peers.get_mut(id)
            && connection.state() != State::Closed
        {
            connection.fail_internal();
        }
    }

    // What a turn leaves behind.

    fn settle_marked(&mut self) {
        while let Some(id) = self.peers.take_marked() {
            self.settle(id);
        }
    }

    /// Writes out what waits, tells the dispatcher of an end, and arms the deadline of what comes next.
    fn settle(&mut self, id: PeerId) {
        let Some(connection) = self.peers.get_mut(id) else { return };
        flush(connection, &mut self.sockets, id);
        if connection.state() == State::Closed {
            self.end(id);
            return;
        }
        let (closing, blocked) =
            (connection.state() == State::Closing, connection.sender().is_blocked());
        let Some(socket) = self.sockets.get(id) else { return };
        let progress = mem::take(&mut socket.took_bytes);
        match self.timers.armed(id.slot()) {
            Some(Deadline::Close | Deadline::Handshake) => {}
            _ if closing => self.timers.arm(id.slot(), Deadline::Close, self.now),
            Some(Deadline::Write) if !blocked => self.timers.disarm(id.slot()),
            armed if blocked && (armed.is_none() || progress) => {
                self.timers.arm(id.slot(), Deadline::Write, self.now);
            }
            _ => {}
        }
        self.peers.reclaim_buffer(id);
    }

    /// One step further towards the end of a connection whose WebSocket is over.
    fn end(&mut self, id: PeerId) {
        let Some(socket) = self.sockets.get(id) else { return };
        if matches!(socket.stage, Stage::Opening | Stage::Open) {
            let was_open = mem::replace(&mut socket.stage, Stage::Ending) == Stage::Open;
            self.timers.arm(id.slot(), Deadline::Close, self.now);
            if was_open {
                self.tell_closed(id);
            } else {
                self.opening -= 1;
            }
        }
        let (Some(socket), Some(connection)) = (self.sockets.get(id), self.peers.get(id)) else {
            return;
        };
        if !connection.sender().is_empty() {
            // A socket of no use has discarded its output, so this one will take it or run out of time.
            return;
        }
        if !socket.ended && socket.stage == Stage::Ending {
            // RFC 6455 §7.1.1-3, §5.5.1-11: the server ends TCP first, and §7.1.1-1: cleanly.
            socket.stage = Stage::Lingering;
            socket.ended = socket.stream.shutdown(Shutdown::Write).is_err();
        }
        if socket.ended {
            self.remove(id);
        } else {
            self.peers.reclaim_buffer(id);
        }
    }

    fn tell_closed(&mut self, id: PeerId) {
        self.peers.leave_all(id);
        let Some(closed) = self.peers.get(id).and_then(|connection| connection.closed().cloned())
        else {
            return;
        };
        self.sockets.observer.notice(Some(id), &Notice::Closed(&closed));
        self.guarded(id, |dispatcher, outbox| dispatcher.on_close(outbox, &closed));
    }

    /// Closes the descriptor at once: a deadline has passed or the peer never stops sending.
    fn abandon(&mut self, id: PeerId) {
        if let (Some(socket), Some(connection)) = (self.sockets.get(id), self.peers.get_mut(id)) {
            (socket.readable, socket.ended) = (false, true);
            connection.broken();
            self.end(id);
        }
    }

    fn remove(&mut self, id: PeerId) {
        self.timers.disarm(id.slot());
        if let Some(mut socket) = self.sockets.remove(id) {
            let _ = self.poll.registry().deregister(&mut socket.stream);
        }
        self.peers.remove(id);
        // A descriptor is free again.
        self.accept_again = None;
        self.sockets.observer.notice(Some(id), &Notice::Disconnected);
    }
}

impl<D, O> fmt::Debug for Server<D, O> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Server").field("peers", &self.peers).finish_non_exhaustive()
    }
}

fn unix_seconds() -> Option<u64> {
    SystemTime::now().duration_since(UNIX_EPOCH).ok().map(|since| since.as_secs())
}
