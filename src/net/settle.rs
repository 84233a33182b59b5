//! What a turn leaves behind: output to write, a deadline to arm, a callback that is owed; and the end of a
//! connection, step by step.
//!
//! ```text
//! open ──Close sent or received, rule broken, TCP lost──> on_close ──> output out ──> write side shut
//!                                                                                      │
//!                          descriptor closed <── the peer ends, 5 s, or 16 MiB discarded ┘
//! ```
//!
//! Rules of this file: `on_close` is called once for each `on_open`; a descriptor is closed only when the peer
//! could read our last bytes, or has had its time; a deadline is armed exactly while something is waited for.

use std::mem;
use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::dispatch::{Dispatcher, Outbox, flush};
use crate::net::sockets::{Stage, Stream};
use crate::net::timers::Deadline;
use crate::net::turns::Turns;
use crate::observe::{Notice, Observer};
use crate::peers::PeerId;
use crate::protocol::connection::State;

impl<D: Dispatcher, S: Stream, O: Observer> Turns<D, S, O> {
    /// Calls the dispatcher about one peer; if it panics, that peer alone is failed.
    pub(super) fn guarded(&mut self, id: PeerId, call: impl FnOnce(&mut D, &mut Outbox<'_>)) {
        let dispatcher = &mut self.dispatcher;
        let mut outbox = Outbox::new(&mut self.peers, &mut self.sockets, id);
        if catch_unwind(AssertUnwindSafe(|| call(dispatcher, &mut outbox))).is_err() {
            self.fail_internal(id);
        }
    }

    pub(super) fn fail_internal(&mut self, id: PeerId) {
        if let Some(connection) = self.peers.get_mut(id)
            && connection.state() != State::Closed
        {
            connection.fail_internal();
        }
    }

    pub(super) fn settle_marked(&mut self) {
        while let Some(id) = self.peers.take_marked() {
            self.settle(id);
        }
    }

    /// Writes out what waits, tells the dispatcher of an end, and arms the deadline of what comes next.
    pub(super) fn settle(&mut self, id: PeerId) {
        let Some(connection) = self.peers.get_mut(id) else { return };
        flush(connection, &mut self.sockets, id);
        if connection.state() == State::Closed {
            self.end(id);
            return;
        }
        let (closing, blocked) =
            (connection.state() == State::Closing, connection.sender().is_blocked());
        let buffer = connection.sender_mut().reclaim();
        self.peers.keep_buffer(buffer);
        let Some(socket) = self.sockets.get(id) else { return };
        let progress = mem::take(&mut socket.took_bytes);
        match self.timers.armed(id.slot()) {
            Some(Deadline::Close | Deadline::Handshake) => {}
            _ if closing => self.timers.arm(id.slot(), Deadline::Close, self.now),
            Some(Deadline::Write) if !blocked => self.rest(id),
            armed if blocked && (armed != Some(Deadline::Write) || progress) => {
                self.timers.arm(id.slot(), Deadline::Write, self.now);
            }
            _ => {}
        }
    }

    /// One step further towards the end of a connection whose WebSocket is over.
    fn end(&mut self, id: PeerId) {
        let Some(socket) = self.sockets.get(id) else { return };
        if matches!(socket.stage, Stage::Opening | Stage::Open) {
            let was_open = mem::replace(&mut socket.stage, Stage::Ending) == Stage::Open;
            self.idle.disarm(id.slot());
            // One that began to close earlier keeps the deadline that it has.
            if self.timers.armed(id.slot()) != Some(Deadline::Close) {
                self.timers.arm(id.slot(), Deadline::Close, self.now);
            }
            if was_open {
                self.tell_closed(id);
            } else {
                self.opening.remove(&id.slot());
            }
        }
        let (Some(socket), Some(connection)) = (self.sockets.get(id), self.peers.get_mut(id))
        else {
            return;
        };
        if !connection.sender().is_empty() {
            // A socket of no use has discarded its output, so this one will take it or run out of time.
            return;
        }
        if !socket.ended && socket.stage == Stage::Ending {
            // RFC 6455 §7.1.1-3, §5.5.1-11: the server ends TCP first, and §7.1.1-1: cleanly.
            socket.stage = Stage::Lingering;
            socket.ended = socket.stream.end_output().is_err();
        }
        let ended = socket.ended;
        let buffer = connection.sender_mut().reclaim();
        self.peers.keep_buffer(buffer);
        if ended {
            self.remove(id);
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
    pub(super) fn abandon(&mut self, id: PeerId) {
        if let (Some(socket), Some(connection)) = (self.sockets.get(id), self.peers.get_mut(id)) {
            (socket.readable, socket.ended) = (false, true);
            connection.broken();
            self.end(id);
        }
    }

    fn remove(&mut self, id: PeerId) {
        self.timers.disarm(id.slot());
        let socket = self.sockets.remove(id);
        self.admission.leave(id.slot(), socket.is_some_and(|socket| socket.surplus.is_some()));
        self.peers.remove(id);
        self.descriptor_freed = true;
        self.sockets.observer.notice(Some(id), &Notice::Disconnected);
    }

    /// The connection is open and waits for nothing: the next thing is a ping, if pings are wanted.
    pub(super) fn rest(&mut self, id: PeerId) {
        match self.config.ping_interval {
            Some(_) => self.timers.arm(id.slot(), Deadline::Ping, self.now),
            None => self.timers.disarm(id.slot()),
        }
    }
}
