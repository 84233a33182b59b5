//! After a turn: writing the output, arming the next deadline, and closing a connection step by step.
//!
//! ```text
//! open ──Close sent or received, rule broken, TCP lost──> on_close ──> output sent ─> write side shut
//!                                                                                      │
//!                     file descriptor closed <── peer closes, 5 s, or 16 MiB discarded ┘
//! ```
//!
//! Rules of this file: `on_close` is called once for each `on_open`. A file descriptor is closed only after the peer
//! was able to read our last bytes, or after its deadline. A deadline is armed exactly while a connection waits for
//! something. The memory that a connection holds is measured after each turn.

use std::mem;

use crate::dispatcher::Application;
use crate::net::event_loop::EventLoop;
use crate::net::link::{OutputEnd, Socket};
use crate::net::sockets::Stage;
use crate::net::timers::Deadline;
use crate::net::transport::Transport;
use crate::observe::{Notice, Observer};
use crate::outbox::is_congested;
use crate::peers::PeerId;
use crate::protocol::connection::{Connection, State};
use crate::protocol::violation::Violation;

impl<A: Application, S: Socket, T: Transport, O: Observer> EventLoop<A, S, T, O> {
    /// Settles each peer that others have sent to or closed, and enforces the memory limit. Arms a deadline for each
    /// peer that became congested. Queues the waiting senders if a congested peer has caught up.
    pub(super) fn settle_dirty(&mut self) {
        loop {
            while let Some(id) = self.board.dirty.next() {
                self.settle_peer(id);
            }
            self.board.all_settled();
            if !self.exceeds_memory() || !self.free_memory() {
                break;
            }
        }
        while let Some(id) = self.board.newly_congested.pop() {
            if self.board.groups.is_congested(id) {
                self.congestion.arm(id.slot(), Deadline::Congestion, self.now);
            }
        }
        if self.board.flow.take_relieved() {
            for peer in self.board.flow.waiting() {
                self.queue.push(peer.slot());
            }
        }
    }

    /// As [`settle`](EventLoop::settle), for a peer whose connection is in the table.
    pub(super) fn settle_peer(&mut self, id: PeerId) {
        if let Some(own) = self.board.peers.take(id) {
            self.settle(id, own);
        }
    }

    /// Writes the queued output, notifies the application if the connection has closed, and arms the next deadline.
    /// Puts the connection back into the table.
    #[inline]
    pub(super) fn settle(&mut self, id: PeerId, mut own: Box<Connection>) {
        self.sockets.flush(id, &mut own);
        self.board.pool.reclaim(own.output_mut());
        if !own.output().is_open() {
            return self.settle_unless_open(id, own);
        }
        self.measure(id, &own);
        self.board.peers.put_back(id, own);
    }

    /// Settles a connection that is in its opening handshake, whose socket accepts no more output, that has sent a Close or
    /// has closed, or that has run out of memory.
    #[cold]
    fn settle_unless_open(&mut self, id: PeerId, mut own: Box<Connection>) {
        if let Some(socket) = self.sockets.get(id)
            && socket.link.learns_of_write_failure()
        {
            if socket.link.is_broken() {
                own.broken();
            }
            // What arrived before is processed, and then the end of the input or the error of the socket is read.
            self.queue.push(id.slot());
        }
        if !own.output().is_closed() {
            self.measure(id, &own);
            return self.board.peers.put_back(id, own);
        }
        if own.output().is_exhausted() && own.state() != State::Closed {
            own.fail(Violation::OutputMemory);
        }
        self.measure(id, &own);
        if own.state() == State::Closed {
            return self.end(id, own);
        }
        if self.timers.armed(id.slot()) != Some(Deadline::Close) {
            self.timers.arm(id.slot(), Deadline::Close, self.now);
            // The peer's Close may be in input that was not processed during a pause.
            self.board.flow.forget(id);
            self.queue.push(id.slot());
        }
        self.board.peers.put_back(id, own);
    }

    /// Measures the memory that a connection holds. Updates its write deadline if its socket is or was full, and ends the
    /// congestion of its peer if the peer has caught up.
    #[inline]
    pub(super) fn measure(&mut self, id: PeerId, own: &Connection) {
        if self.board.groups.any_congested() && !is_congested(own) {
            self.relieve(id);
        }
        let Some(socket) = self.sockets.get(id) else { return };
        let held = own.held().total() + socket.unprocessed.held() + socket.link.held();
        let is_blocked = own.output().is_blocked() || socket.link.wants_write();
        self.memory.note(socket.held, held);
        socket.held = held;
        if is_blocked || socket.awaits_write {
            self.watch_output(id, is_blocked);
        }
    }

    /// Arms or disarms the write deadline of a socket.
    #[cold]
    fn watch_output(&mut self, id: PeerId, is_blocked: bool) {
        let Some(socket) = self.sockets.get(id) else { return };
        let progress = mem::take(&mut socket.took_bytes);
        socket.awaits_write = is_blocked;
        match self.timers.armed(id.slot()) {
            Some(Deadline::Close | Deadline::Handshake | Deadline::KeepAlive) => {}
            Some(Deadline::Write) if !is_blocked => self.rest(id),
            armed if is_blocked && (armed != Some(Deadline::Write) || progress) => {
                self.timers.arm(id.slot(), Deadline::Write, self.now);
            }
            _ => {}
        }
    }

    /// Ends the congestion of a peer, if it was congested, and has its waiting senders checked again.
    fn relieve(&mut self, id: PeerId) {
        if self.board.groups.is_congested(id) {
            self.board.groups.set_congested(id, false);
            self.congestion.disarm(id.slot());
            self.board.flow.relieve();
        }
    }

    /// Fails the connection of a peer that has been congested for too long, so that its senders are read again.
    pub(super) fn stays_congested(&mut self, id: PeerId) {
        if let Some(connection) = self.board.peers.get_mut(id) {
            connection.fail(Violation::OutputLimit);
            self.settle_peer(id);
        }
    }

    /// Reports whether all connections together hold more memory than their limit.
    #[inline]
    pub(super) fn exceeds_memory(&self) -> bool {
        self.total_memory() > self.memory.limit
    }

    /// Closes the connections that hold the most memory, one by one, until the total is within the limit or an `on_close`
    /// has sent messages. Output must have been written before, so that only what the sockets refused counts. Reports
    /// whether anything has changed, so that it is worth settling and comparing again.
    #[cold]
    fn free_memory(&mut self) -> bool {
        if self.shed() {
            return true;
        }
        let mut holders: Vec<(usize, PeerId)> = Vec::new();
        for id in self.board.peers.ids() {
            if let (Some(socket), Some(connection)) =
                (self.sockets.look(id), self.board.peers.get(id))
            {
                let held = connection.held();
                let output = held.output.max(connection.output().queued());
                let total = held.input + socket.input_held() + output;
                if total > 0 {
                    holders.push((total, id));
                }
            }
        }
        holders.sort_unstable();
        let before = self.total_memory();
        while self.exceeds_memory()
            && self.board.dirty.is_empty()
            && let Some((_, id)) = holders.pop()
        {
            self.close_for_memory(id);
        }
        self.total_memory() < before || !self.board.dirty.is_empty()
    }

    /// Frees what extensions remember of earlier messages, of all connections. Returns false if there was nothing.
    fn shed(&mut self) -> bool {
        let mut has_freed = false;
        for id in self.board.peers.ids().collect::<Vec<_>>() {
            let Some(connection) = self.board.peers.get_mut(id) else { continue };
            if connection.output_mut().shed()
                && let Some(own) = self.board.peers.take(id)
            {
                has_freed = true;
                self.measure(id, &own);
                self.board.peers.put_back(id, own);
            }
        }
        has_freed
    }

    /// Closes a connection to free its memory: with 1008 if it holds more output than input, otherwise with 1009.
    fn close_for_memory(&mut self, id: PeerId) {
        let (Some(mut own), Some(socket)) = (self.board.peers.take(id), self.sockets.get(id))
        else {
            return;
        };
        let input = own.held().input + socket.input_held();
        let output = own.held().output.max(own.output().queued());
        socket.unprocessed = Default::default();
        if input >= output {
            own.fail(Violation::MessageMemory);
            if socket.input_held() > 0 {
                self.free_transport(id, &mut own);
            }
        } else {
            // RFC 6455 §7.1.7-6: the socket is full, so a Close could not be written. It is dropped with the rest of the
            // output.
            own.fail(Violation::OutputMemory);
            own.broken();
            socket.link.give_up();
        }
        self.settle(id, own);
    }

    /// Has the transport of a closed connection drop the input that it holds, once it has accepted the Close. If it refuses
    /// the Close, or keeps its input, the socket is given up, and the peer gets no time to read the Close.
    fn free_transport(&mut self, id: PeerId, own: &mut Connection) {
        self.sockets.flush(id, own);
        let Some(socket) = self.sockets.get(id) else { return };
        if own.output().is_empty() {
            socket.link.drop_input();
        }
        if socket.input_held() > 0 {
            self.give_up(id, own);
        }
    }

    /// Takes the next step of closing a connection whose WebSocket has closed.
    #[cold]
    fn end(&mut self, id: PeerId, mut own: Box<Connection>) {
        let Some(socket) = self.sockets.get(id) else { return };
        if matches!(socket.stage, Stage::Opening | Stage::Open) {
            let was_open = mem::replace(&mut socket.stage, Stage::Ending) == Stage::Open;
            socket.unprocessed = Default::default();
            self.idle.disarm(id.slot());
            self.relieve(id);
            self.board.flow.forget(id);
            // The rest of its input may not have been processed during a pause.
            self.queue.push(id.slot());
            // A connection that began to close earlier keeps its deadline.
            if self.timers.armed(id.slot()) != Some(Deadline::Close) {
                self.timers.arm(id.slot(), Deadline::Close, self.now);
            }
            if was_open {
                self.tell_closed(id, &mut own);
            } else if self.opening.remove(&id.slot()).is_some() {
                self.note_opening();
            }
        }
        let Some(socket) = self.sockets.get(id) else { return };
        if own.output().is_empty() && !socket.link.is_broken() && socket.stage == Stage::Ending {
            // RFC 6455 §5.5.1-10, §5.5.1-11, §7.1.1-3, §7.1.1-5, §7.1.2-2, §7.1.7-3, §7.2.2-1: the server closes TCP first
            // and at once, and §7.1.1-1: cleanly.
            if socket.link.end_output() == OutputEnd::Done {
                socket.stage = Stage::Lingering;
            }
        }
        // The output of a broken socket was dropped. Any other socket must first accept all output, including the bytes
        // that the transport holds. The close deadline limits how long that takes.
        let is_out = socket.stage == Stage::Lingering || socket.link.is_broken();
        let is_over = own.output().is_empty() && is_out && socket.link.has_ended();
        self.measure(id, &own);
        self.board.peers.put_back(id, own);
        if is_over {
            self.remove(id);
        }
    }

    fn tell_closed(&mut self, id: PeerId, own: &mut Connection) {
        self.board.groups.leave_all(id);
        let Some(closed) = own.closed().cloned() else { return };
        self.sockets.observer.notice(Some(id), &Notice::Closed(&closed));
        self.guarded(id, own, |application, outbox| application.on_close(outbox, &closed));
    }

    /// Closes a connection at once, without a closing handshake, because a deadline has passed or another connection
    /// needs its place (RFC 6455 §7.1.1-2).
    pub(super) fn abandon(&mut self, id: PeerId) {
        if let (Some(socket), Some(mut own)) = (self.sockets.get(id), self.board.peers.take(id)) {
            socket.link.give_up();
            own.broken();
            self.end(id, own);
        }
    }

    fn remove(&mut self, id: PeerId) {
        self.timers.disarm(id.slot());
        let socket = self.sockets.remove(id);
        if let Some(socket) = &socket {
            self.memory.note(socket.held, 0);
        }
        self.admission.leave(id, socket.is_some_and(|socket| socket.is_excess));
        self.board.peers.remove(id);
        self.descriptor_freed = true;
        self.sockets.observer.notice(Some(id), &Notice::Disconnected);
    }

    /// Arms the ping deadline of an open connection that has no other deadline in `timers`.
    pub(super) fn rest(&mut self, id: PeerId) {
        match self.config.timeouts.ping_interval {
            Some(_) => self.timers.arm(id.slot(), Deadline::Ping, self.now),
            None => self.timers.disarm(id.slot()),
        }
    }
}
