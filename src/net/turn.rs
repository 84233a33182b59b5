//! One peer's turn: flush what waited, read once, process, settle.
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

use std::io::ErrorKind;
use std::mem;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{SystemTime, UNIX_EPOCH};

use crate::dispatch::{Dispatcher, Outbox, flush};
use crate::net::sockets::{Stage, Stream};
use crate::net::timers::Deadline;
use crate::net::turns::Turns;
use crate::observe::{Direction, Notice, Observer};
use crate::peers::PeerId;
use crate::protocol::connection::{Connection, Event, Head};
use crate::protocol::handshake::server::{Answer, Outcome};
use crate::protocol::message::Message;
use crate::protocol::refusal::{Found, Refusal};

impl<D: Dispatcher, S: Stream, O: Observer> Turns<D, S, O> {
    /// What a peer gets to do in one pass: its output first, then one read.
    pub(super) fn turn(&mut self, slot: usize) {
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
        if !is_held_back(connection) {
            self.take_in(id);
        }
        if !self.peers.is_marked(id) {
            self.settle(id);
        }
        if let Some(socket) = self.sockets.get(id)
            && socket.readable
            && !self.peers.get(id).is_some_and(is_held_back)
            && !mem::replace(&mut socket.in_turns, true)
        {
            self.queue.push_back(slot);
        }
    }

    /// What was left of an earlier read when the peer had to be held back, or else one read.
    fn take_in(&mut self, id: PeerId) {
        let (Some(socket), Some(connection)) = (self.sockets.get(id), self.peers.get_mut(id))
        else {
            return;
        };
        if !socket.unprocessed.is_empty() {
            let mut bytes = mem::take(&mut socket.unprocessed);
            return self.process(id, &mut bytes);
        }
        if !socket.readable {
            return;
        }
        let stage = socket.stage;
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
                socket.heard = true;
                let bytes = &mut buffer[..count];
                self.sockets.observer.bytes(id, Direction::In, bytes);
                if stage == Stage::Lingering {
                    self.discard(id, count);
                } else {
                    self.process(id, bytes);
                }
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

    /// Bytes that have no meaning any more: only so many are read for the sake of a clean end.
    fn discard(&mut self, id: PeerId, count: usize) {
        let Some(socket) = self.sockets.get(id) else { return };
        socket.discarded += count;
        if socket.discarded > self.config.max_discard {
            self.abandon(id);
        }
    }

    /// Takes the events out of bytes and acts on each, until the peer has to be held back. If the dispatcher
    /// panics, this peer alone is failed, and what it sent after that message has no meaning any more.
    fn process(&mut self, id: PeerId, bytes: &mut [u8]) {
        let mut spoke = false;
        let events = AssertUnwindSafe(|| self.process_events(id, bytes, &mut spoke));
        if catch_unwind(events).is_err() {
            self.fail_internal(id);
        }
        if spoke && self.config.idle_timeout.is_some() {
            self.idle.arm(id.slot(), Deadline::Idle, self.now);
        }
    }

    fn process_events(&mut self, id: PeerId, bytes: &mut [u8], spoke: &mut bool) {
        let mut unread = bytes;
        while !unread.is_empty() {
            let Some(connection) = self.peers.with_buffer(id) else { return };
            if is_held_back(connection) {
                if let Some(socket) = self.sockets.get(id) {
                    socket.unprocessed = unread.to_vec();
                }
                return;
            }
            if let Some(message) = connection.next_whole(&mut unread) {
                *spoke = true;
                self.dispatch(id, message, !unread.is_empty());
                continue;
            }
            let Some(event) = connection.next(&mut unread) else { return };
            let notice = match &event {
                Event::Message(received) => {
                    *spoke = true;
                    self.dispatch(id, received.as_message(), !unread.is_empty());
                    continue;
                }
                Event::Request(head) => {
                    self.open(id, head);
                    continue;
                }
                Event::Ping(payload) => Notice::Ping(payload),
                Event::Pong(payload) => {
                    if self.timers.armed(id.slot()) == Some(Deadline::Pong) {
                        self.timers.arm(id.slot(), Deadline::Ping, self.now);
                    }
                    Notice::Pong(payload)
                }
                // The end is told when the connection is settled, whoever brought it about.
                Event::Closed(_) | Event::Opened(_) => continue,
            };
            self.sockets.observer.notice(Some(id), &notice);
        }
    }

    #[inline(always)]
    fn dispatch(&mut self, id: PeerId, message: Message<'_>, more_to_come: bool) {
        self.sockets.observer.notice(Some(id), &Notice::Message(message));
        let mut outbox = Outbox::new(&mut self.peers, &mut self.sockets, id);
        outbox.more_to_come = more_to_come;
        self.dispatcher.on_message(&mut outbox, message);
    }

    /// Answers a request and, if it opened a WebSocket, introduces the peer to the dispatcher.
    fn open(&mut self, id: PeerId, head: &Head<'_>) {
        let (Some(connection), Some(socket), Some(&from)) =
            (self.peers.get_mut(id), self.sockets.get(id), self.opening.get(&id.slot()))
        else {
            return;
        };
        let dispatcher = &mut self.dispatcher;
        let outcome = connection.answer(head, unix_seconds(), |request| match socket.surplus {
            Some(rule) => Answer::Refuse(Refusal::measured(rule, Found::Nothing)),
            None => catch_unwind(AssertUnwindSafe(|| dispatcher.on_request(request, from)))
                .unwrap_or(Answer::Fail),
        });
        match outcome {
            Outcome::Opened(opened) => {
                socket.stage = Stage::Open;
                self.opening.remove(&id.slot());
                self.rest(id);
                if self.config.idle_timeout.is_some() {
                    self.idle.arm(id.slot(), Deadline::Idle, self.now);
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
