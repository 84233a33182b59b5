//! One peer's turn: write pending output, read once, process, settle.
//!
//! ```text
//!           held back or paused: read nothing
//!                 |
//! turn ── flush ──┴─> read ──> process ──> settle ──> queued again, if there is more to read
//!                     once     dispatch    flush, arm deadlines; if the WebSocket is closed:
//!                              each event  on_close, shut the write side, discard, remove
//! ```
//!
//! Rules of this file: A turn is at most one read and a limited number of frames, so that no peer delays the others for
//! long. During the turn the connection is out of the table, and the functions here own it. The output of the turn is
//! written at its end, in one system call.

use std::mem;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::dispatcher::Application;
use crate::net::event_loop::{EventLoop, Opening};
use crate::net::link::{Received, Socket};
use crate::net::sockets::Stage;
use crate::net::timers::Deadline;
use crate::net::transport::{Readiness, Transport};
use crate::observe::{Direction, Notice, Observer};
use crate::outbox::{Outbox, is_held_back};
use crate::peers::PeerId;
use crate::protocol::connection::{Connection, Event, Head, State};
use crate::protocol::handshake::server::{Decision, Outcome};
use crate::protocol::http::request::Request;
use crate::protocol::http::response::LAST_SECOND;
use crate::protocol::message::Message;
use crate::protocol::output::FLUSH_AT;
use crate::protocol::refusal::{Found, Refusal, Rule};
use crate::protocol::violation::Violation;

/// The most frames that a turn processes. An unfragmented message counts as one frame.
const FRAMES: u32 = 4096;

/// The additional cost of a control frame, which thus counts as 8 frames.
const CONTROL_COST: u32 = 7;

/// The additional cost of a fragment, which thus counts as 4 frames.
const FRAGMENT_COST: u32 = 3;

/// The additional cost of a plain request, which thus counts as 512 frames: the application may send a whole file.
const REQUEST_COST: u32 = 511;

/// How many bytes that an extension has decoded count as one frame. A turn may thus decode 1 MiB, and one message more: a few
/// bytes of compressed data can be a long message.
const DECODED_A_FRAME: u32 = 256;

/// The smallest size of a read, in bytes.
const MIN_READ: usize = 4096;

impl<A: Application, S: Socket, T: Transport, O: Observer> EventLoop<A, S, T, O> {
    /// Gives a peer its turn: writes its pending output, then reads once.
    #[inline]
    pub(super) fn turn(&mut self, slot: usize) {
        let Some(socket) = self.sockets.in_slot(slot) else { return };
        let Some((id, mut own)) = self.board.peers.take_slot(slot) else { return };
        let socket_is_reset = socket.link.is_reset();
        if mem::take(&mut socket.writable)
            && (own.output().is_blocked() || socket.link.wants_write())
        {
            self.resume(id, &mut own);
        }
        if self.may_read(id, &own) {
            self.take_in(id, &mut own);
        }
        if socket_is_reset && self.is_paused_in_vain(id) {
            self.give_up(id, &mut own);
        }
        let goes_on = self.has_input(id) && self.may_read(id, &own);
        if self.board.dirty.is_marked(slot) {
            // Its output is written when all dirty peers are settled. Its input counts now.
            self.measure(id, &own);
            self.board.peers.put_back(id, own);
        } else {
            self.settle(id, own);
        }
        if goes_on {
            self.queue.push(slot);
        }
    }

    /// Writes pending output to a socket that was full and is writable again.
    #[cold]
    fn resume(&mut self, id: PeerId, own: &mut Connection) {
        let Some(socket) = self.sockets.get(id) else { return };
        let before = socket.link.queued();
        if !socket.link.drive(Readiness::WRITABLE) {
            return own.broken();
        }
        socket.took_bytes |= socket.link.queued() < before;
        own.output_mut().unblock();
        self.sockets.flush(id, own);
    }

    /// Reports whether a peer is paused for longer than the closing handshake may take, or waits for a delayed response, which
    /// it can no longer receive.
    #[cold]
    fn is_paused_in_vain(&self, id: PeerId) -> bool {
        let latest = self.now + self.config.timeouts.close;
        let is_opening = self.opening.contains_key(&id.slot());
        self.board.flow.pause_ends(id).is_some_and(|end| end > latest || is_opening)
    }

    /// Gives up a socket that was reset, because the place of its peer is worth more than its input.
    /// What arrived before the reset is dropped.
    #[cold]
    pub(super) fn give_up(&mut self, id: PeerId, own: &mut Connection) {
        if let Some(socket) = self.sockets.get(id) {
            socket.link.give_up();
            socket.unprocessed = Default::default();
        }
        own.broken();
    }

    /// Reports whether reading from a peer is allowed now.
    #[inline]
    fn may_read(&mut self, id: PeerId, own: &Connection) -> bool {
        !is_held_back(own) && !self.board.flow.is_paused(id, &self.board.groups)
    }

    /// Reports whether a peer has input, either in its socket or read but not processed yet.
    #[inline]
    fn has_input(&mut self, id: PeerId) -> bool {
        let socket = self.sockets.get(id);
        socket.is_some_and(|socket| socket.link.is_readable() || !socket.unprocessed.is_empty())
    }

    /// Processes the rest of an earlier read, or reads once if there is none.
    #[inline]
    fn take_in(&mut self, id: PeerId, own: &mut Connection) {
        let Some(socket) = self.sockets.get(id) else { return };
        if !socket.unprocessed.is_empty() {
            return self.take_in_unprocessed(id, own);
        }
        if !socket.link.is_readable() {
            return;
        }
        let (stage, size) = (socket.stage, socket.read_size as usize);
        let mut memory = mem::take(&mut self.buffer);
        let buffer = &mut memory.bytes()[..size];
        let received = socket.link.read(buffer);
        if own.output().is_blocked() && socket.link.take_waits_for_input() {
            own.output_mut().unblock();
        }
        match received {
            Received::Bytes(count) => {
                socket.heard = true;
                let bytes = &mut buffer[..count];
                let is_dropped = socket.link.is_input_dropped();
                if !is_dropped {
                    self.sockets.observer.bytes(id, Direction::In, bytes);
                }
                if is_dropped || stage == Stage::Lingering {
                    self.discard(id, own, count);
                } else {
                    let left = self.process(id, own, bytes);
                    if left > 0 || count == size {
                        self.keep(id, own, &bytes[count - left..], count, size);
                    }
                }
            }
            Received::Nothing => {}
            Received::End => own.lost(),
            Received::Failed => self.transport_failed(id, own),
            Received::Broken => own.broken(),
        }
        self.buffer = memory;
    }

    /// Closes the WebSocket of a peer whose transport has failed. Its socket then ends as every other does, so that the peer
    /// can read what the transport says about the failure.
    #[cold]
    fn transport_failed(&mut self, id: PeerId, own: &mut Connection) {
        if let Some(error) = self.sockets.get(id).and_then(|socket| socket.link.failure()) {
            self.sockets.observer.notice(Some(id), &Notice::TransportFailed(error.as_ref()));
        }
        own.broken();
    }

    /// Keeps the bytes that this turn has read but not processed. Adapts the size of the next read to the number of
    /// bytes that this turn has processed.
    #[cold]
    fn keep(&mut self, id: PeerId, own: &mut Connection, left: &[u8], read: usize, size: usize) {
        let most = self.config.limits.read_buffer;
        let Some(socket) = self.sockets.get(id) else { return };
        if left.is_empty() {
            socket.read_size = (size * 2).min(most) as u32;
        } else {
            socket.read_size = (read - left.len()).clamp(MIN_READ.min(most), most) as u32;
            if !socket.unprocessed.keep(left) {
                own.fail(Violation::MessageMemory);
            }
        }
    }

    #[cold]
    fn take_in_unprocessed(&mut self, id: PeerId, own: &mut Connection) {
        let Some(socket) = self.sockets.get(id) else { return };
        let Some(mut input) = socket.unprocessed.take() else { return };
        let left = self.process(id, own, input.bytes());
        if let Some(socket) = self.sockets.get(id) {
            socket.unprocessed.put_back(input, left);
        }
    }

    /// Counts bytes that arrive after the closing handshake. They are read and discarded, so that TCP can close without
    /// a reset. Gives the socket up after `max_discard` bytes.
    fn discard(&mut self, id: PeerId, own: &mut Connection, count: usize) {
        let Some(socket) = self.sockets.get(id) else { return };
        socket.discarded += count as u32;
        if socket.discarded as usize > self.config.limits.max_discard {
            socket.link.give_up();
            own.broken();
        }
    }

    /// Processes bytes until none are left, the peer is held back or paused, or the frame budget of the turn is used
    /// up. Returns how many bytes are left.
    ///
    /// If the application panics, only this peer's connection is failed. The rest of its bytes is dropped.
    #[inline]
    fn process(&mut self, id: PeerId, own: &mut Connection, bytes: &mut [u8]) -> usize {
        let mut spoke = false;
        self.board.budget = FRAMES;
        self.board.pool.lend(own.output_mut());
        let events = AssertUnwindSafe(|| self.process_events(id, own, bytes, &mut spoke));
        let left = catch_unwind(events).unwrap_or_else(|_| {
            own.fail_internal();
            0
        });
        if spoke && self.config.timeouts.idle.is_some() {
            self.idle.arm(id.slot(), Deadline::Idle, self.now);
        }
        left
    }

    fn process_events(
        &mut self,
        id: PeerId,
        own: &mut Connection,
        bytes: &mut [u8],
        spoke: &mut bool,
    ) -> usize {
        let mut unread = bytes;
        while !unread.is_empty() && self.board.budget > 0 && !is_held_back(own) {
            self.board.budget -= 1;
            if let Some(message) = own.next_whole(&mut unread) {
                *spoke = true;
                self.dispatch(id, own, message);
                continue;
            }
            // The call borrows a copy of the slice, so that `unread` itself can stay in registers.
            let mut lent = mem::take(&mut unread);
            let event = own.next_piece(&mut lent);
            unread = lent;
            self.board.budget = self.board.budget.saturating_sub(own.take_work() / DECODED_A_FRAME);
            match event {
                Some(Event::Message(message)) => {
                    *spoke = true;
                    self.dispatch(id, own, message.as_message());
                }
                Some(event) => self.handle(id, own, event),
                None => {
                    if own.state() == State::Connecting {
                        self.note_head(id);
                    }
                    return 0;
                }
            }
        }
        unread.len()
    }

    #[inline(always)]
    fn dispatch(&mut self, id: PeerId, own: &mut Connection, message: Message<'_>) {
        self.sockets.observer.notice(Some(id), &Notice::Message(message));
        let mut outbox = Outbox::about(id, own, &mut self.board, &mut self.sockets);
        self.application.on_message(&mut outbox, message);
    }

    /// Handles an event that is not a message.
    fn handle(&mut self, id: PeerId, own: &mut Connection, event: Event<'_>) {
        match &event {
            Event::Request(head) => self.open(id, own, head),
            Event::Fragment => self.count(id, FRAGMENT_COST),
            Event::Ping(payload) => {
                self.count(id, CONTROL_COST);
                self.sockets.observer.notice(Some(id), &Notice::Ping(payload));
            }
            Event::Pong(payload) => {
                self.count(id, CONTROL_COST);
                if self.timers.armed(id.slot()) == Some(Deadline::Pong) {
                    self.timers.arm(id.slot(), Deadline::Ping, self.now);
                    if let Some(socket) = self.sockets.get(id) {
                        socket.in_flight.note_pong();
                    }
                }
                self.sockets.observer.notice(Some(id), &Notice::Pong(payload));
            }
            // The close is reported when the connection is settled, whatever caused it.
            Event::Closed(_) | Event::Opened(_) | Event::Message(_) => {}
        }
    }

    /// Counts a control frame or a fragment. A peer that sends too many in one second is paused until the next second,
    /// unless its connection was reset: the rest of its input is finite, and then its place is free.
    fn count(&mut self, id: PeerId, cost: u32) {
        let (second, next_second) = self.second;
        let Some(socket) = self.sockets.get(id) else { return };
        let limits = &self.config.limits;
        let is_too_fast = match cost {
            CONTROL_COST => socket.rate.control(second, limits.max_control_rate),
            _ => socket.rate.fragment(second, limits.max_fragment_rate),
        };
        self.board.budget = self.board.budget.saturating_sub(cost);
        if is_too_fast && !socket.link.is_reset() {
            self.board.flow.pause(id, next_second);
            self.board.budget = 0;
        }
    }

    /// Responds to a request, and calls `on_open` if the response opens a WebSocket. Keeps the connection if another
    /// request may follow.
    #[cold]
    fn open(&mut self, id: PeerId, own: &mut Connection, head: &Head<'_>) {
        let (Some(socket), Some(&Opening { from, .. })) =
            (self.sockets.get(id), self.opening.get(&id.slot()))
        else {
            return;
        };
        let application = &mut self.application;
        let outcome = own.decide(head, unix_seconds(), |request| {
            catch_unwind(AssertUnwindSafe(|| application.on_request(request, from)))
                .unwrap_or(Decision::Fail)
        });
        match outcome {
            Outcome::Opened(opened, ticket) => {
                socket.stage = Stage::Open;
                self.opening.remove(&id.slot());
                self.rest(id);
                self.note_opening();
                if self.config.timeouts.idle.is_some() {
                    self.idle.arm(id.slot(), Deadline::Idle, self.now);
                }
                let key_bytes = opened.key_bytes;
                let notice = Notice::Opened { key_bytes, negotiated: &opened.negotiated };
                self.sockets.observer.notice(Some(id), &notice);
                self.guarded(id, own, |application, outbox| {
                    application.on_open(outbox, &opened, ticket);
                });
            }
            Outcome::Responded(status) => {
                self.sockets.observer.notice(Some(id), &Notice::Responded(status));
                if let Some(delay) = own.delay() {
                    self.hold_response(id, delay);
                } else if own.state() == State::Connecting {
                    self.keep_alive(id, own);
                }
            }
            Outcome::Refused(refusal) => {
                let request = head.as_ref().ok().and_then(|head| Request::parse(head).ok());
                if let Some(request) = &request {
                    let notice = Notice::RefusedRequest { request, refusal: &refusal };
                    self.sockets.observer.notice(Some(id), &notice);
                }
                self.sockets.observer.notice(Some(id), &Notice::Refused(&refusal));
            }
        }
    }

    /// Keeps a connection for the next plain request. A client may send many requests and read no response, so the output
    /// is written before it becomes long. Once the socket is full and half of `max_output` is queued, the client is held
    /// back.
    fn keep_alive(&mut self, id: PeerId, own: &mut Connection) {
        self.timers.arm(id.slot(), Deadline::KeepAlive, self.now);
        self.note_opening();
        self.board.budget = self.board.budget.saturating_sub(REQUEST_COST);
        if own.output().queued() >= FLUSH_AT {
            self.sockets.flush(id, own);
        }
    }

    /// Delays a response. The client is not read meanwhile. The deadline of a handshake begins again, so that the connection
    /// is among those that are replaced when there are too many.
    fn hold_response(&mut self, id: PeerId, delay: Duration) {
        self.timers.arm(id.slot(), Deadline::Handshake, self.now);
        self.note_opening();
        let longest = self.config.timeouts.handshake / 2;
        self.board.flow.pause(id, self.now + delay.min(longest));
    }

    /// Limits the time for a head that has arrived in part, if the connection was kept for it. The head of the first
    /// request has its deadline from the start.
    #[cold]
    fn note_head(&mut self, id: PeerId) {
        if self.timers.armed(id.slot()) == Some(Deadline::KeepAlive) {
            self.timers.arm(id.slot(), Deadline::Handshake, self.now);
            self.note_opening();
        }
    }

    /// Refuses an excess connection at once, before its request has arrived.
    pub(super) fn refuse(&mut self, id: PeerId, rule: Rule) {
        let Some(mut own) = self.board.peers.take(id) else { return };
        let refusal = Refusal::measured(rule, Found::Nothing);
        own.refuse(&refusal, unix_seconds());
        self.sockets.observer.notice(Some(id), &Notice::Refused(&refusal));
        self.settle(id, own);
    }

    /// Calls the application on behalf of one peer. If it panics, only that peer's connection is failed.
    pub(super) fn guarded(
        &mut self,
        id: PeerId,
        own: &mut Connection,
        call: impl FnOnce(&mut A, &mut Outbox<'_>),
    ) {
        let application = &mut self.application;
        let mut outbox = Outbox::about(id, own, &mut self.board, &mut self.sockets);
        if catch_unwind(AssertUnwindSafe(|| call(application, &mut outbox))).is_err() {
            own.fail_internal();
        }
    }
}

/// Returns the time for a `Date` field, or `None` if the clock is so wrong that HTTP cannot express its time (RFC 9110
/// 6.6.1: a server without a usable clock sends no date).
fn unix_seconds() -> Option<u64> {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).ok()?;
    Some(since.as_secs()).filter(|&seconds| seconds <= LAST_SECOND)
}
