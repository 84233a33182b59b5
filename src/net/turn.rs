//! One peer's turn: flush what waited, read once, process, settle. And its end.
//!
//! ```text
//!           blocked and half full: wait for the socket
//!                 |
//! turn ── flush ──┴─> read ──> process ──> settle ──> next turn, if there is more to read
//!                     once     dispatch    flush, arm deadlines; if the WebSocket is over:
//!                              each event  on_close, shut the write side, discard, remove
//! ```
//!
//! Rules of this file: a turn is one read of the loop's one buffer, so nobody waits for a peer that never
//! stops; a socket is read until the kernel has no more, which a short read says on Linux, and what is
//! left waits in the queue of turns, because no second readiness will come; whatever a turn queued goes
//! out in one write at its end.

use std::collections::VecDeque;
use std::io::{ErrorKind, Read};
use std::mem;
use std::net::{Shutdown, SocketAddr};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use mio::event::Event as Readiness;
use mio::net::TcpStream;

use crate::config::ValidConfig;
use crate::dispatch::{Dispatcher, Outbox, flush};
use crate::net::sockets::{Socket, Sockets, Stage};
use crate::net::timers::{Deadline, Timers};
use crate::observe::{Direction, Notice, Observer};
use crate::peers::{PeerId, Peers};
use crate::protocol::connection::{Connection, Event, Head, State};
use crate::protocol::handshake::server::{Answer, Outcome};

/// The peers of one loop, and everything that serving them takes.
pub(crate) struct Turns<D, O> {
    config: ValidConfig,
    dispatcher: D,
    pub(crate) peers: Peers,
    pub(crate) sockets: Sockets<O>,
    pub(crate) timers: Timers,
    /// Connections in their opening handshake.
    pub(crate) opening: usize,
    /// Slots that have something to read or write, in the order in which they get their turn.
    queue: VecDeque<usize>,
    /// The one buffer that everything is read into.
    buffer: Box<[u8]>,
    /// The time of this pass.
    pub(crate) now: Instant,
    /// A descriptor was closed since the loop last asked.
    pub(crate) descriptor_freed: bool,
}

impl<D: Dispatcher, O: Observer> Turns<D, O> {
    pub(crate) fn new(config: ValidConfig, dispatcher: D, observer: O) -> Turns<D, O> {
        Turns {
            dispatcher,
            peers: Peers::new(config.clone()),
            sockets: Sockets::new(observer),
            timers: Timers::new(|kind| match kind {
                Deadline::Handshake => config.handshake_timeout,
                Deadline::Write => config.write_timeout,
                Deadline::Close => config.close_timeout,
            }),
            opening: 0,
            queue: VecDeque::new(),
            buffer: vec![0; config.read_buffer].into_boxed_slice(),
            now: Instant::now(),
            descriptor_freed: false,
            config,
        }
    }

    /// Some peer has its turn yet to come.
    pub(crate) fn are_due(&self) -> bool {
        !self.queue.is_empty()
    }

    /// A place for a connection just accepted.
    pub(crate) fn reserve(&mut self) -> PeerId {
        self.peers.insert(Connection::server(self.config.clone()))
    }

    /// Serves an accepted connection from now on.
    pub(crate) fn add(&mut self, id: PeerId, stream: TcpStream, address: SocketAddr) {
        self.sockets.insert(id, Socket::new(stream));
        self.opening += 1;
        self.timers.arm(id.slot(), Deadline::Handshake, self.now);
        self.sockets.observer.notice(Some(id), &Notice::Connected(address));
    }

    /// Remembers what a socket is ready for; its peer gets a turn.
    pub(crate) fn note_readiness(&mut self, slot: usize, event: &Readiness) {
        let Some(socket) = self.sockets.in_slot(slot) else { return };
        socket.readable |= event.is_readable() || event.is_error();
        socket.writable |= event.is_writable() || event.is_error();
        socket.end_announced |= event.is_read_closed() || event.is_error();
        if !mem::replace(&mut socket.in_turns, true) {
            self.queue.push_back(slot);
        }
    }

    /// One turn for each peer that is due now; whoever has more to read is due again.
    pub(crate) fn take_all(&mut self) {
        for _ in 0..self.queue.len() {
            if let Some(slot) = self.queue.pop_front() {
                self.turn(slot);
            }
        }
        self.settle_marked();
    }

    /// Closes every connection whose deadline has passed.
    pub(crate) fn judge_deadlines(&mut self) {
        while let Some((slot, _)) = self.timers.expired(self.now) {
            if let Some(id) = self.peers.in_slot(slot) {
                self.abandon(id);
            }
        }
        self.settle_marked();
    }

    /// What a peer gets to do in one pass: its output first, then one read.
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
            self.queue.push_back(slot);
        }
    }

    fn is_held_back(&self, id: PeerId) -> bool {
        self.peers.get(id).is_some_and(is_held_back)
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
        let mut unread = bytes;
        loop {
            let Some(connection) = self.peers.with_buffer(id) else { return };
            if is_held_back(connection) {
                if let Some(socket) = self.sockets.get(id) {
                    socket.unprocessed = unread.to_vec();
                }
                return;
            }
            let Some(event) = connection.next(&mut unread) else { return };
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
            // One that began to close earlier keeps the deadline that it has.
            if self.timers.armed(id.slot()) != Some(Deadline::Close) {
                self.timers.arm(id.slot(), Deadline::Close, self.now);
            }
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
        drop(self.sockets.remove(id));
        self.peers.remove(id);
        self.descriptor_freed = true;
        self.sockets.observer.notice(Some(id), &Notice::Disconnected);
    }
}

/// A peer that does not read its replies is not read either: TCP passes the pressure on to it.
#[inline]
fn is_held_back(connection: &Connection) -> bool {
    let sender = connection.sender();
    sender.is_blocked() && sender.queued() >= connection.config().max_output / 2
}

fn unix_seconds() -> Option<u64> {
    SystemTime::now().duration_since(UNIX_EPOCH).ok().map(|since| since.as_secs())
}
