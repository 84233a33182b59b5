//! The actions of an application: send, join, leave, pause, close.
//!
//! ```text
//! your callback ── Outbox ──┬── own: the connection that has its turn
//!                           └── board: all other peers ── groups ── peers ── Output of each
//! ```
//!
//! An [`Outbox`] only queues, and the event loop writes. Output for the peer of the turn is written at the end of the
//! turn, and output for other peers at the end of the pass, so that many messages become one write. There are three
//! exceptions. An output that reaches 256 KiB is written at once. A large message for an empty output is written
//! directly, without a copy. Once 4 MiB are queued for other peers, their further output is written at once, and the turn
//! ends with the current message.

use std::fmt;
use std::time::Instant;

use crate::flow::Recipients;
use crate::groups::{GroupId, JoinError};
use crate::peers::PeerId;
use crate::protocol::close::{CloseCode, InvalidClose};
use crate::protocol::connection::{Connection, State};
use crate::protocol::encode::{EncodedFrame, SharedCount};
use crate::protocol::extension::EncoderKind;
use crate::protocol::message::{Message, Payload};
use crate::protocol::output::{COPY_UP_TO, FLUSH_AT, Output};
use crate::protocol::violation::Violation;
use crate::switchboard::{Switchboard, Wire};

/// Sends messages, joins groups, pauses reading and closes connections. Each callback gets an outbox for the peer that
/// it is about.
///
/// ```
/// use framewise::{Dispatcher, Message, Outbox};
///
/// struct Shout;
///
/// impl Dispatcher for Shout {
///     fn on_message(&mut self, outbox: &mut Outbox<'_>, message: Message<'_>) {
///         if let Some(text) = message.as_str() {
///             outbox.reply(text.to_uppercase());
///         }
///     }
/// }
/// ```
pub struct Outbox<'a> {
    /// The connection of `peer`, which is out of the table during its turn.
    own: Option<&'a mut Connection>,
    board: &'a mut Switchboard,
    wire: &'a mut dyn Wire,
    peer: PeerId,
}

impl<'a> Outbox<'a> {
    /// Returns an outbox for a callback about a peer, whose connection is out of the table during its turn.
    #[inline(always)]
    pub(crate) fn about(
        peer: PeerId,
        own: &'a mut Connection,
        board: &'a mut Switchboard,
        wire: &'a mut dyn Wire,
    ) -> Outbox<'a> {
        Outbox { own: Some(own), board, wire, peer }
    }

    /// Returns an outbox for a command from another thread, which is about no peer.
    pub(crate) fn from_outside(board: &'a mut Switchboard, wire: &'a mut dyn Wire) -> Outbox<'a> {
        Outbox { own: None, board, wire, peer: PeerId::NOBODY }
    }

    /// Returns the peer that the callback is about. In a closure of a [`Handle`](crate::Handle) there is none: the id
    /// belongs to no connection, so everything that is done for it has no effect.
    #[inline]
    pub fn peer(&self) -> PeerId {
        self.peer
    }

    /// Returns the number of connections, in any state.
    pub fn connections(&self) -> usize {
        self.board.peers.len()
    }

    /// Reports whether the connection of a peer is open, so that messages can be sent to it.
    pub fn is_open(&self, peer: PeerId) -> bool {
        let is_open = |own: &Connection| own.state() == State::Open && own.output().is_open();
        self.look(peer).is_some_and(is_open)
    }

    /// Returns how many bytes of output are queued for a peer.
    pub fn queued(&self, peer: PeerId) -> usize {
        self.look(peer).map_or(0, |connection| connection.output().queued())
    }

    // Sending.

    /// Sends a message to the peer of this callback. Returns false if the connection is not open, or if its output is
    /// full. In the second case the connection is closed with 1008, because a message is never skipped.
    #[inline(always)]
    pub fn reply(&mut self, message: impl Payload) -> bool {
        let message = message.as_message();
        let own = self.own.as_mut();
        own.is_some_and(|own| own.output_mut().send_fast(message))
            || self.send_message(self.peer, message)
    }

    /// Sends a message to one peer. Returns false if its connection is not open, or if its output is full. In the second
    /// case its connection is closed with 1008, because a message is never skipped.
    ///
    /// If the recipient reads too slowly, reading from the peer of this callback is paused until the recipient has caught
    /// up or was closed.
    pub fn send(&mut self, to: PeerId, message: impl Payload) -> bool {
        self.send_message(to, message.as_message())
    }

    #[inline(never)]
    fn send_message(&mut self, to: PeerId, message: Message<'_>) -> bool {
        let length = message.bytes().len();
        let is_own = to == self.peer;
        let writes_at_once = !is_own && self.board.has_much_unsettled();
        let Some((connection, wire)) = self.prepare(to, length) else { return false };
        let output = connection.output();
        // A payload of this length is written at once in any case, and without a copy if no other output is queued.
        let is_sent = if length >= FLUSH_AT && output.sends_plain() && !output.is_masking() {
            wire.flush(to, connection);
            wire.write_through(to, connection, message)
        } else {
            connection.output_mut().send(message)
        };
        if connection.output().queued() >= flush_at(connection) || writes_at_once {
            wire.flush(to, connection);
        }
        if !is_own {
            let is_congested = is_congested(connection);
            self.board.note_recipient(to, length.min(FLUSH_AT), is_congested);
            self.wait_for(Recipients::Peer(to), is_congested);
        }
        is_sent
    }

    /// Sends a message to every member of a group except those in `except`. Returns the number of members for which it
    /// was queued. A member whose output is full is closed with 1008.
    ///
    /// The frame is encoded once. If a member reads too slowly, reading from the peer of this callback is paused until
    /// that member has caught up or was closed.
    pub fn publish(&mut self, group: &str, message: impl Payload, except: &[PeerId]) -> usize {
        let Some(group) = self.board.groups.find(group) else { return 0 };
        match EncodedFrame::counted(message.as_message(), &self.board.shared) {
            Some(frame) => self.publish_to(group, &frame, except),
            None => self.fail_for_memory(),
        }
    }

    /// Fails the connection of the peer of this callback, because there is no memory for its message. Otherwise the
    /// recipients would miss the message without noticing.
    #[cold]
    fn fail_for_memory(&mut self) -> usize {
        if let Some(own) = &mut self.own {
            own.fail(Violation::MessageMemory);
        }
        0
    }

    /// Sends a frame that is encoded and not counted yet, as [`publish`](Outbox::publish) does.
    pub(crate) fn publish_encoded(
        &mut self,
        group: &str,
        mut frame: EncodedFrame,
        except: &[PeerId],
    ) -> usize {
        let Some(group) = self.board.groups.find(group) else { return 0 };
        frame.count_in(&self.board.shared);
        self.publish_to(group, &frame, except)
    }

    /// Sends a frame that is encoded and not counted yet, as [`send`](Outbox::send) does.
    pub(crate) fn send_encoded(&mut self, to: PeerId, mut frame: EncodedFrame) -> bool {
        frame.count_in(&self.board.shared);
        self.deliver(to, &frame, &mut Vec::new())
    }

    fn publish_to(&mut self, group: GroupId, frame: &EncodedFrame, except: &[PeerId]) -> usize {
        let mut sent = 0;
        let mut encoded = Vec::new();
        // No peer joins or leaves during this loop, so the places do not change.
        for place in 0.. {
            let Some(member) = self.board.groups.member(group, place) else { break };
            if !except.contains(&member) && self.deliver(member, frame, &mut encoded) {
                sent += 1;
            }
        }
        if sent > 0 && frame.bytes().len() > COPY_UP_TO {
            self.board.note_unsettled(frame.bytes().len());
        }
        let is_congested = self.board.groups.has_congested(group);
        self.wait_for(Recipients::Group(group), is_congested);
        sent
    }

    /// Queues a frame for one recipient. `encoded` holds the frames that extensions have encoded for earlier
    /// recipients.
    #[inline]
    fn deliver(
        &mut self,
        to: PeerId,
        frame: &EncodedFrame,
        encoded: &mut Vec<(EncoderKind, EncodedFrame)>,
    ) -> bool {
        let is_own = to == self.peer;
        let shared = self.board.shared.clone();
        let writes_at_once = !is_own && self.board.has_much_unsettled();
        let Some((connection, wire)) = self.prepare(to, frame.bytes().len()) else {
            return false;
        };
        let output = connection.output_mut();
        let is_queued = if output.sends_plain() {
            output.send_encoded(frame)
        } else {
            send_through_extension(output, frame, encoded, &shared)
        };
        if connection.output().queued() >= flush_at(connection) || writes_at_once {
            wire.flush(to, connection);
        }
        if !is_own {
            let is_congested = is_congested(connection);
            self.board.note_recipient(to, frame.bytes().len().min(COPY_UP_TO), is_congested);
        }
        is_queued
    }

    /// Sends a ping with a payload of at most 125 bytes to the peer of this callback. Returns false if it was not
    /// queued. The event loop handles the pong.
    pub fn ping(&mut self, payload: &[u8]) -> bool {
        match self.prepare(self.peer, payload.len()) {
            Some((connection, _)) => connection.output_mut().ping(payload),
            None => false,
        }
    }

    // Groups.

    /// Adds the peer of this callback to a group. Returns false if it was already a member.
    ///
    /// # Errors
    ///
    /// The peer is no longer connected or is in too many groups, or the name is too long.
    pub fn join(&mut self, group: &str) -> Result<bool, JoinError> {
        self.join_peer(self.peer, group)
    }

    /// Adds any peer to a group, as [`join`](Outbox::join) does.
    ///
    /// # Errors
    ///
    /// The peer is no longer connected or is in too many groups, or the name is too long.
    pub fn join_peer(&mut self, peer: PeerId, group: &str) -> Result<bool, JoinError> {
        // A peer whose connection has closed has left its groups and cannot join again.
        match self.connection(peer).map(|connection| connection.state()) {
            None | Some(State::Closed) => Err(JoinError::NoSuchPeer),
            Some(_) => self.board.groups.join(peer, group),
        }
    }

    /// Removes the peer of this callback from a group. Returns false if it was not a member.
    pub fn leave(&mut self, group: &str) -> bool {
        self.leave_peer(self.peer, group)
    }

    /// Removes any peer from a group. Returns false if it was not a member.
    pub fn leave_peer(&mut self, peer: PeerId, group: &str) -> bool {
        let has_left = self.board.peers.contains(peer) && self.board.groups.leave(peer, group);
        if has_left && self.board.groups.is_congested(peer) {
            // The peers that wait for this group may continue.
            self.board.flow.relieve();
        }
        has_left
    }

    /// Returns the members of a group, in no particular order.
    pub fn members(&self, group: &str) -> &[PeerId] {
        self.board.groups.members(group)
    }

    // Pausing and closing.

    /// Pauses reading from a peer until the given time, so that TCP slows it down. No data is lost.
    ///
    /// If it is the peer of this callback, no message after the current one is processed until then. Unprocessed input
    /// stays within [`read_buffer`](crate::config::Limits::read_buffer). A paused peer is not closed because of a late
    /// pong or idleness. The pause ends if we send a Close, so that the peer's Close is read. A peer that leaves keeps its
    /// place until the pause is over, because what it sent before is still processed. Only if it resets the connection and the
    /// pause lasts longer than [the close time-out](crate::config::Timeouts::close), its place is free at once.
    pub fn pause_reading(&mut self, peer: PeerId, until: Instant) {
        // A closing connection is read up to the peer's Close, and a closed one to the end of the stream.
        if self.look(peer).is_some_and(|own| own.state() == State::Open) {
            self.board.flow.pause(peer, until);
            if peer == self.peer {
                self.board.budget = 0;
            }
        }
    }

    /// Ends a pause that [`pause_reading`](Outbox::pause_reading) has begun, before its time. What the peer has sent meanwhile is
    /// processed in a later turn. A peer that is not paused stays as it is.
    pub fn resume_reading(&mut self, peer: PeerId) {
        // Before it is open, a pause delays its response.
        if self.look(peer).is_some_and(|own| own.state() == State::Open) {
            self.board.flow.resume(peer);
        }
    }

    /// Starts the closing handshake with the peer of this callback. Returns false if it was already closing.
    ///
    /// # Errors
    ///
    /// The code must not be sent, or the reason is longer than 123 bytes. Nothing was queued.
    pub fn close(&mut self, code: CloseCode, reason: &str) -> Result<bool, InvalidClose> {
        self.close_peer(self.peer, code, reason)
    }

    /// Starts the closing handshake with any peer. Returns false if it was already closing or is no longer connected.
    ///
    /// # Errors
    ///
    /// The code must not be sent, or the reason is longer than 123 bytes. Nothing was queued.
    pub fn close_peer(
        &mut self,
        peer: PeerId,
        code: CloseCode,
        reason: &str,
    ) -> Result<bool, InvalidClose> {
        let Some(connection) = self.connection(peer) else { return Ok(false) };
        let closing = connection.close(code, reason)?;
        self.board.dirty.mark(peer);
        Ok(closing)
    }

    // Finding connections.

    /// Returns the connection with this id, which is the one of this callback or is in the table.
    fn look(&self, id: PeerId) -> Option<&Connection> {
        match &self.own {
            Some(own) if id == self.peer => Some(own),
            _ => self.board.peers.get(id),
        }
    }

    /// As [`look`](Outbox::look), to change the connection.
    fn connection(&mut self, id: PeerId) -> Option<&mut Connection> {
        match &mut self.own {
            Some(own) if id == self.peer => Some(own),
            _ => self.board.peers.get_mut(id),
        }
    }

    /// Prepares a connection for `length` more bytes of output: lends it a buffer, and returns it with the other parts that
    /// sending needs. Fails the connection and returns `None` if its output is full.
    #[inline]
    fn prepare(&mut self, to: PeerId, length: usize) -> Option<(&mut Connection, &mut dyn Wire)> {
        let Switchboard { peers, pool, dirty, .. } = &mut *self.board;
        let is_own = to == self.peer;
        let connection = match &mut self.own {
            Some(own) if is_own => own,
            _ => peers.get_mut(to)?,
        };
        if !has_room(connection, is_own, length) {
            if connection.state() == State::Open {
                connection.fail(Violation::OutputLimit);
            }
            dirty.mark(to);
            return None;
        }
        pool.lend(connection.output_mut());
        Some((connection, self.wire))
    }

    /// Pauses the peer of this callback if the recipients of its message are congested.
    #[inline]
    fn wait_for(&mut self, recipients: Recipients, are_congested: bool) {
        let goes_on = |own: &&mut Connection| own.state() != State::Closed;
        if self.own.as_ref().is_some_and(goes_on) {
            self.board.flow.sent(self.peer, recipients);
            if are_congested {
                self.board.flow.wait_for(self.peer, recipients);
                self.board.budget = 0;
            }
        }
    }
}

/// Queues a frame through the extension of an output. Each kind of encoder encodes the frame only once. Returns false if
/// there is not enough memory.
#[cold]
fn send_through_extension(
    output: &mut Output,
    frame: &EncodedFrame,
    encoded: &mut Vec<(EncoderKind, EncodedFrame)>,
    shared: &SharedCount,
) -> bool {
    let kind = output.encoder_kind();
    let found = encoded.iter().find(|(other, _)| Some(*other) == kind);
    let frame = match found {
        Some((_, frame)) => Some(frame.clone()),
        None => output.encode_shared(frame, shared),
    };
    let Some(frame) = frame else { return output.exhaust() };
    let is_queued = output.send_encoded(&frame);
    if let Some(kind) = kind
        && encoded.iter().all(|(other, _)| *other != kind)
    {
        encoded.push((kind, frame));
    }
    is_queued
}

/// Returns how many bytes may be queued until they are written in the middle of a turn: [`FLUSH_AT`], or with a small
/// `max_output` half of that. Only a write shows that a peer is congested.
#[inline]
fn flush_at(connection: &Connection) -> usize {
    FLUSH_AT.min(connection.config().limits.max_output / 2)
}

/// Reports whether a peer is congested: its socket is full, and more than half of its output limit is queued.
#[inline]
pub(crate) fn is_congested(connection: &Connection) -> bool {
    let output = connection.output();
    output.is_blocked() && output.queued() > connection.config().limits.max_output / 2
}

/// Reports whether a peer is *held back*: its socket is full, and at least half of its output limit is queued. The
/// server does not read from it until it has read its own replies, so TCP slows it down.
#[inline]
pub(crate) fn is_held_back(connection: &Connection) -> bool {
    let output = connection.output();
    output.is_blocked() && output.queued() >= connection.config().limits.max_output / 2
}

/// Reports whether a connection is open and its output has space for `length` more bytes.
///
/// A reply to the peer itself may exceed the limit by one message, because a peer whose output is half full is held
/// back. A message from another peer may exceed it only while the output is at most half full, because beyond that the
/// senders are paused.
#[inline]
fn has_room(connection: &Connection, is_own: bool, length: usize) -> bool {
    if connection.state() != State::Open {
        return false;
    }
    let output = connection.output();
    if !output.is_blocked() {
        return true;
    }
    let bound = connection.config().limits.max_output;
    let queued = output.queued();
    if is_own { queued <= bound } else { queued <= bound / 2 || queued + length <= bound }
}

impl fmt::Debug for Outbox<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Outbox").field("peer", &self.peer).finish_non_exhaustive()
    }
}
