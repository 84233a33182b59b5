//! A pass of the loop, as far as it needs no readiness queue: who has news, turns, deadlines, and what the
//! loop is told from outside.
//!
//! ```text
//! begin_pass ──> note_readiness, for each socket with news ──> add, for each new one
//!                   ──> take_all: a turn for each that is due ──> judge_deadlines
//! ```

use std::mem;
use std::net::SocketAddr;
use std::time::Instant;

use crate::dispatch::{Dispatcher, Outbox};
use crate::net::sockets::{Readiness, Socket, Stream};
use crate::net::timers::Deadline;
use crate::net::turns::Turns;
use crate::observe::{Notice, Observer};
use crate::peers::PeerId;
use crate::protocol::close::CloseCode;
use crate::protocol::connection::{Connection, State};
use crate::protocol::violation::Violation;

impl<D: Dispatcher, S: Stream, O: Observer> Turns<D, S, O> {
    // The parts of a pass.

    /// Says what time it is.
    pub fn begin_pass(&mut self, now: Instant) {
        self.now = now;
    }

    /// A place for a connection just accepted, whose slot its readiness will be reported for.
    pub fn reserve(&mut self) -> PeerId {
        self.peers.insert(Connection::server(self.config.clone()))
    }

    /// Gives a reserved place back.
    pub(crate) fn release(&mut self, id: PeerId) {
        self.peers.remove(id);
    }

    /// Serves an accepted connection from now on.
    pub fn add(&mut self, id: PeerId, stream: S, address: SocketAddr) {
        let surplus = self.admission.enter(id.slot(), address.ip());
        self.sockets.insert(id, Socket::new(stream, surplus));
        self.opening.insert(id.slot(), address);
        self.timers.arm(id.slot(), Deadline::Handshake, self.now);
        self.sockets.observer.notice(Some(id), &Notice::Connected(address));
    }

    /// Remembers what a socket is ready for; its peer gets a turn.
    pub fn note_readiness(&mut self, slot: usize, now: Readiness) {
        let Some(socket) = self.sockets.in_slot(slot) else { return };
        socket.readable |= now.readable;
        socket.writable |= now.writable;
        socket.end_announced |= now.ends;
        if !mem::replace(&mut socket.in_turns, true) {
            self.queue.push_back(slot);
        }
    }

    /// One turn for each peer that is due now; whoever has more to read is due again.
    pub fn take_all(&mut self) {
        for _ in 0..self.queue.len() {
            if let Some(slot) = self.queue.pop_front() {
                self.turn(slot);
            }
        }
        self.settle_marked();
    }

    /// Acts on every deadline that has passed.
    pub fn judge_deadlines(&mut self) {
        while let Some((slot, deadline)) = self.timers.expired(self.now) {
            let Some(id) = self.peers.in_slot(slot) else { continue };
            match deadline {
                Deadline::Ping => self.ping(id),
                Deadline::Pong => self.pong_is_late(id),
                _ => self.abandon(id),
            }
        }
        while let Some((slot, _)) = self.idle.expired(self.now) {
            if let Some(id) = self.peers.in_slot(slot) {
                self.close(id, "idle for too long");
            }
        }
        self.settle_marked();
    }

    // What the loop can be told to do.

    /// Acts on behalf of somebody outside of the loop. What that queues goes out at once.
    pub fn act<R>(&mut self, action: impl FnOnce(&mut Outbox<'_>) -> R) -> R {
        let result = action(&mut Outbox::new(&mut self.peers, &mut self.sockets, PeerId::NOBODY));
        self.settle_marked();
        result
    }

    /// Begins to end every connection: Close 1001 to those that are open (§7.4.1), nothing to those that
    /// are not yet. Each has [`close_timeout`](crate::config::Config::close_timeout) to answer.
    pub fn close_all(&mut self) {
        for id in self.peers.ids().collect::<Vec<_>>() {
            match self.peers.get(id).map(Connection::state) {
                Some(State::Connecting) => self.abandon(id),
                Some(State::Open) => self.close(id, "the server stops"),
                _ => {}
            }
        }
        self.settle_marked();
    }

    /// Closes every descriptor that is left.
    pub fn abandon_all(&mut self) {
        for id in self.peers.ids().collect::<Vec<_>>() {
            self.abandon(id);
        }
        self.settle_marked();
    }

    /// Starts the closing handshake because this end goes away or has waited long enough.
    fn close(&mut self, id: PeerId, reason: &str) {
        if let Some(connection) = self.peers.get_mut(id) {
            connection.close(CloseCode::GOING_AWAY, reason).expect("a valid code and reason");
            self.settle(id);
        }
    }

    // Whether a silent peer is still there.

    fn ping(&mut self, id: PeerId) {
        let (Some(socket), Some(connection)) = (self.sockets.get(id), self.peers.with_buffer(id))
        else {
            return;
        };
        socket.heard = false;
        connection.sender_mut().ping(b"");
        self.timers.arm(id.slot(), Deadline::Pong, self.now);
        self.settle(id);
    }

    /// A peer in the middle of a long frame cannot answer, and one whose bytes wait to be read may have:
    /// either gets more time for as long as bytes arrive.
    fn pong_is_late(&mut self, id: PeerId) {
        let (Some(socket), Some(connection)) = (self.sockets.get(id), self.peers.get_mut(id))
        else {
            return;
        };
        if mem::take(&mut socket.heard) && (connection.is_mid_frame() || socket.in_turns) {
            self.timers.arm(id.slot(), Deadline::Pong, self.now);
        } else {
            connection.fail(Violation::PingUnanswered);
            self.settle(id);
        }
    }
}
