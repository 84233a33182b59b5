//! What a server does with messages: the [`Dispatcher`] trait, its [`Outbox`], and two dispatchers.
//!
//! A dispatcher is called with one borrowed [`Message`] at a time, straight from the read buffer, and acts
//! through an [`Outbox`] over the table of peers. It never sees a socket. [`Echo`] and [`Broadcast`] below
//! are the two shortest useful ones.

use std::net::SocketAddr;

use crate::peers::{GroupId, JoinError, PeerId, Peers};
use crate::protocol::close::{CloseCode, InvalidClose};
use crate::protocol::connection::{Closed, Connection, State};
use crate::protocol::handshake::server::Answer;
use crate::protocol::http::request::Request;
use crate::protocol::message::Message;
use crate::protocol::send::{EncodedFrame, MAX_SLICES, server_header};
use crate::protocol::violation::Violation;

/// The application of a server. One loop has one, so no locks are needed.
///
/// A callback that panics costs its own peer the connection (1011) and nobody else's.
pub trait Dispatcher {
    /// Decides a request: open a WebSocket, or answer over HTTP. Invalid handshakes never come here. `from` is the
    /// other end of the TCP connection, which may be a proxy.
    ///
    /// By default every WebSocket is opened and every plain GET is answered 426.
    fn on_request(&mut self, request: &Request<'_>, from: SocketAddr) -> Answer {
        let _ = (request, from);
        Answer::Accept
    }

    /// A WebSocket was opened. [`Outbox::peer`] names it from now on; `request` is what it came with.
    fn on_open(&mut self, outbox: &mut Outbox<'_>, request: &Request<'_>) {
        let _ = (outbox, request);
    }

    /// A whole message arrived.
    fn on_message(&mut self, outbox: &mut Outbox<'_>, message: Message<'_>);

    /// The connection ended, however it did. Called once for each `on_open`. The peer has left its groups,
    /// and nothing can be sent to it any more.
    fn on_close(&mut self, outbox: &mut Outbox<'_>, closed: &Closed) {
        let _ = (outbox, closed);
    }
}

/// Sends every message back to whoever sent it.
#[derive(Clone, Debug, Default)]
pub struct Echo {
    prefix: String,
    reply: String,
}

impl Echo {
    /// Text comes back behind `prefix`; binary comes back as it is.
    pub fn new(prefix: impl Into<String>) -> Echo {
        Echo { prefix: prefix.into(), reply: String::new() }
    }
}

impl Dispatcher for Echo {
    #[inline]
    fn on_message(&mut self, outbox: &mut Outbox<'_>, message: Message<'_>) {
        match message {
            Message::Text(text) if !self.prefix.is_empty() => {
                self.reply.clear();
                self.reply.push_str(&self.prefix);
                self.reply.push_str(text);
                outbox.reply(Message::Text(&self.reply));
            }
            verbatim => {
                outbox.reply(verbatim);
            }
        }
    }
}

/// Sends every message to all others.
#[derive(Clone, Copy, Debug, Default)]
pub struct Broadcast;

impl Dispatcher for Broadcast {
    fn on_open(&mut self, outbox: &mut Outbox<'_>, _request: &Request<'_>) {
        outbox.join("everyone").expect("a short name, and the only group");
    }

    fn on_message(&mut self, outbox: &mut Outbox<'_>, message: Message<'_>) {
        outbox.publish("everyone", message, &[outbox.peer()]);
    }
}

/// The sockets, as far as sending needs them. The loop implements it; tests can too.
pub trait Wire {
    /// Writes the slices, one after the other, as far as the peer's socket takes them now.
    fn write(&mut self, peer: PeerId, slices: &[&[u8]]) -> Written;
}

/// What became of a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Written {
    /// The socket took this many bytes, at least one.
    Bytes(usize),
    /// The socket takes nothing now; the loop hears when it does again.
    Refused,
    /// The socket is of no use any more.
    Broken,
}

/// A sender that holds this much is written out at once, not at the end of the turn.
const FLUSH_AT: usize = 128 * 1024;

/// A payload of at least this size is written from where it lies when nothing waits before it. For shorter ones a
/// copy costs less than a write of two slices.
const WRITE_THROUGH: usize = 64 * 1024;

/// What a dispatcher can do: send, join, leave, close. Handed to each callback for one peer.
pub struct Outbox<'a> {
    peers: &'a mut Peers,
    wire: &'a mut dyn Wire,
    peer: PeerId,
    /// More of what the peer sent waits to be dispatched, so what is sent, to whomever, need not go out at once.
    pub(crate) more_to_come: bool,
}

impl<'a> Outbox<'a> {
    /// An outbox for a callback about `peer`.
    #[inline]
    pub fn new(peers: &'a mut Peers, wire: &'a mut dyn Wire, peer: PeerId) -> Outbox<'a> {
        Outbox { peers, wire, peer, more_to_come: false }
    }

    /// The peer that the callback is about.
    #[inline]
    pub fn peer(&self) -> PeerId {
        self.peer
    }

    /// All peers, to look at.
    pub fn peers(&self) -> &Peers {
        self.peers
    }

    // Sending. False, or fewer, where a connection is not open any more: nothing was queued there.

    /// Sends a message to the peer of this callback.
    #[inline]
    pub fn reply(&mut self, message: Message<'_>) -> bool {
        self.send(self.peer, message)
    }

    /// Sends a message to one peer.
    #[inline]
    pub fn send(&mut self, to: PeerId, message: Message<'_>) -> bool {
        let length = message.bytes().len();
        let Some(connection) = self.peers.with_buffer(to) else { return false };
        if !has_room(connection, to == self.peer, length) {
            self.peers.mark(to);
            return false;
        }
        let sender = connection.sender_mut();
        let is_large = length >= WRITE_THROUGH;
        if is_large && sender.is_empty() && !self.more_to_come && !sender.is_masking() {
            write_through(connection, self.wire, to, message);
        } else {
            sender.message(message);
            flush_if_full(connection, self.wire, to);
        }
        if to != self.peer {
            self.peers.mark(to);
        }
        true
    }

    /// Sends a message to every member of a group but those in `except`; answers to how many.
    ///
    /// The frame is encoded once.
    pub fn publish(&mut self, group: &str, message: Message<'_>, except: &[PeerId]) -> usize {
        match self.peers.group(group) {
            Some(group) => self.publish_to(group, &EncodedFrame::new(message), except),
            None => 0,
        }
    }

    /// As [`publish`](Outbox::publish), for a frame that is encoded already.
    pub fn publish_encoded(
        &mut self,
        group: &str,
        frame: &EncodedFrame,
        except: &[PeerId],
    ) -> usize {
        self.peers.group(group).map_or(0, |group| self.publish_to(group, frame, except))
    }

    /// Sends a frame that is encoded already to one peer.
    pub fn send_encoded(&mut self, to: PeerId, frame: &EncodedFrame) -> bool {
        let Some(connection) = self.peers.with_buffer(to) else { return false };
        if !has_room(connection, to == self.peer, frame.len()) {
            self.peers.mark(to);
            return false;
        }
        connection.sender_mut().encoded(frame);
        flush_if_full(connection, self.wire, to);
        if to != self.peer {
            self.peers.mark(to);
        }
        true
    }

    fn publish_to(&mut self, group: GroupId, frame: &EncodedFrame, except: &[PeerId]) -> usize {
        let mut sent = 0;
        // Nothing in this walk joins or leaves, so places stay what they are.
        for place in 0.. {
            let Some(member) = self.peers.member(group, place) else { break };
            if !except.contains(&member) && self.send_encoded(member, frame) {
                sent += 1;
            }
        }
        sent
    }

    /// Pings the peer of this callback with at most 125 bytes; the pong is handled by the protocol.
    pub fn ping(&mut self, payload: &[u8]) -> bool {
        let Some(connection) = self.peers.with_buffer(self.peer) else { return false };
        has_room(connection, true, payload.len()) && connection.sender_mut().ping(payload)
    }

    // Groups.

    /// Adds the peer of this callback to a group. True if it was not in it before.
    ///
    /// # Errors
    ///
    /// The peer is gone, is in too many groups, or the name is too long.
    pub fn join(&mut self, group: &str) -> Result<bool, JoinError> {
        self.join_peer(self.peer, group)
    }

    /// Adds any peer to a group, as [`join`](Outbox::join) does.
    ///
    /// # Errors
    ///
    /// The peer is gone, is in too many groups, or the name is too long.
    pub fn join_peer(&mut self, peer: PeerId, group: &str) -> Result<bool, JoinError> {
        // A peer that has closed has left its groups and stays out of them.
        match self.peers.get(peer).map(Connection::state) {
            None | Some(State::Closed) => Err(JoinError::NoSuchPeer),
            Some(_) => self.peers.join(peer, group),
        }
    }

    /// Takes the peer of this callback out of a group. True if it was in it.
    pub fn leave(&mut self, group: &str) -> bool {
        self.peers.leave(self.peer, group)
    }

    /// Takes any peer out of a group. True if it was in it.
    pub fn leave_peer(&mut self, peer: PeerId, group: &str) -> bool {
        self.peers.leave(peer, group)
    }

    // Closing.

    /// Starts the closing handshake with the peer of this callback. False if it was closing already.
    ///
    /// # Errors
    ///
    /// The code may not be sent, or the reason is longer than 123 bytes; nothing was queued.
    pub fn close(&mut self, code: CloseCode, reason: &str) -> Result<bool, InvalidClose> {
        self.close_peer(self.peer, code, reason)
    }

    /// Starts the closing handshake with any peer. False if it was closing already, or is gone.
    ///
    /// # Errors
    ///
    /// The code may not be sent, or the reason is longer than 123 bytes; nothing was queued.
    pub fn close_peer(
        &mut self,
        peer: PeerId,
        code: CloseCode,
        reason: &str,
    ) -> Result<bool, InvalidClose> {
        let Some(connection) = self.peers.get_mut(peer) else { return Ok(false) };
        let closing = connection.close(code, reason)?;
        self.peers.mark(peer);
        Ok(closing)
    }
}

/// Whether a connection is open and may hold `length` bytes more.
///
/// One that others have filled beyond its bound is failed here: a gap in its stream would be worse than
/// its end. Its own replies may go over it by one, since it is not read while half of it is full.
#[inline]
fn has_room(connection: &mut Connection, own: bool, length: usize) -> bool {
    if connection.state() != State::Open {
        return false;
    }
    let sender = connection.sender();
    if !sender.is_blocked() {
        return true;
    }
    let wanted = if own { sender.queued() } else { sender.queued() + length };
    let fits = wanted <= connection.config().max_output;
    if !fits {
        connection.fail(Violation::OutputLimit);
    }
    fits
}

/// A full sender is written out at once; what is left the loop sees to at the end of a turn or pass.
#[inline]
fn flush_if_full(connection: &mut Connection, wire: &mut dyn Wire, to: PeerId) {
    if connection.sender().queued() >= FLUSH_AT {
        flush(connection, wire, to);
    }
}

/// Writes header and payload from where they lie; only what the socket refuses is copied.
fn write_through(
    connection: &mut Connection,
    wire: &mut dyn Wire,
    to: PeerId,
    message: Message<'_>,
) {
    let (header, length) = server_header(message);
    let (header, payload) = (&header[..length], message.bytes());
    let written = wire.write(to, &[header, payload]);
    let sender = connection.sender_mut();
    match written {
        Written::Bytes(taken) if taken == length + payload.len() => {}
        Written::Bytes(taken) => {
            sender.message(message);
            sender.advance(taken);
        }
        Written::Refused => {
            sender.message(message);
            sender.block();
        }
        Written::Broken => connection.broken(),
    }
}

/// Writes what waits until nothing does or the socket refuses; true if it took anything.
#[inline]
pub(crate) fn flush<W: Wire + ?Sized>(
    connection: &mut Connection,
    wire: &mut W,
    peer: PeerId,
) -> bool {
    let mut progress = false;
    while !connection.sender().is_empty() && !connection.sender().is_blocked() {
        let written = match connection.sender().only_slice() {
            Some(slice) => wire.write(peer, &[slice]),
            None => {
                let mut slices = [&[][..]; MAX_SLICES];
                let filled = connection.sender().pending(&mut slices);
                wire.write(peer, &slices[..filled])
            }
        };
        match written {
            Written::Bytes(taken) => {
                connection.sender_mut().advance(taken);
                progress = true;
            }
            Written::Refused => connection.sender_mut().block(),
            Written::Broken => connection.broken(),
        }
    }
    progress
}
