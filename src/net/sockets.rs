//! The sockets of one event loop. Slot `n` of this table belongs to slot `n` of the table of peers.
//!
//! ```text
//! stage     Opening -> Open -> Ending -> Lingering -> (file descriptor closed)
//!              '---------------^   |         |
//!      refused, or last response   |         '- write side shut; input is still read and discarded, so that
//!                                  |            the peer can read our last bytes before TCP closes
//!                                  '- the WebSocket is closed; the rest of the output is written
//! ```

use std::mem;
use std::time::Duration;

use crate::net::link::{Link, Socket, Written};
use crate::net::transport::{Readiness, Stream};
use crate::observe::{Direction, Observer};
use crate::peers::PeerId;
use crate::protocol::connection::{Connection, State};
use crate::protocol::encode;
use crate::protocol::frame::Rsv;
use crate::protocol::message::Message;
use crate::protocol::output::MAX_SLICES;
use crate::switchboard::Wire;

/// The stage of a connection, from its acceptance to the close of its file descriptor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    /// The opening handshake is in progress, or the next plain request is awaited.
    Opening,
    /// `on_open` was called, and `on_close` was not.
    Open,
    /// No more callbacks follow. The rest of the output is being written.
    Ending,
    /// All output is written, and the write side is shut.
    Lingering,
}

/// Input that was read but not processed yet, at most one read buffer of it.
#[derive(Default)]
pub(crate) struct Unprocessed(Option<Box<Input>>);

struct Input {
    bytes: Vec<u8>,
    /// How many of the bytes have been processed since.
    done: usize,
}

impl Unprocessed {
    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    /// Returns the capacity of the buffer in bytes.
    #[inline]
    pub(crate) fn held(&self) -> usize {
        self.0.as_ref().map_or(0, |input| input.bytes.capacity())
    }

    /// Keeps input for a later turn. Returns false if there is no memory for it.
    pub(crate) fn keep(&mut self, input: &[u8]) -> bool {
        let mut bytes = Vec::new();
        if bytes.try_reserve_exact(input.len()).is_err() {
            return false;
        }
        bytes.extend_from_slice(input);
        self.0 = Some(Box::new(Input { bytes, done: 0 }));
        true
    }

    /// Takes the input out for processing. Use [`put_back`](Unprocessed::put_back) to return the rest.
    pub(crate) fn take(&mut self) -> Option<UnprocessedInput> {
        self.0.take().map(UnprocessedInput)
    }

    /// Puts the input back if its last `left` bytes have not been processed.
    pub(crate) fn put_back(&mut self, UnprocessedInput(mut input): UnprocessedInput, left: usize) {
        if left > 0 {
            input.done = input.bytes.len() - left;
            self.0 = Some(input);
        }
    }
}

/// Unprocessed input that a turn has taken out.
pub(crate) struct UnprocessedInput(Box<Input>);

impl UnprocessedInput {
    /// Returns the bytes that have not been processed.
    pub(crate) fn bytes(&mut self) -> &mut [u8] {
        &mut self.0.bytes[self.0.done..]
    }
}

/// How many control frames and fragments a peer has sent in the current second.
#[derive(Default)]
pub(crate) struct Rate {
    second: u32,
    controls: u32,
    fragments: u32,
}

impl Rate {
    /// Counts a control frame. Reports whether there were more than `limit` in this second.
    pub(crate) fn control(&mut self, second: u32, limit: u32) -> bool {
        self.begin(second);
        self.controls += 1;
        self.controls > limit
    }

    /// Counts a fragment. Reports whether there were more than `limit` in this second.
    pub(crate) fn fragment(&mut self, second: u32, limit: u32) -> bool {
        self.begin(second);
        self.fragments += 1;
        self.fragments > limit
    }

    fn begin(&mut self, second: u32) {
        if self.second != second {
            *self = Rate { second, controls: 0, fragments: 0 };
        }
    }
}

/// The slowest connection that is not mistaken for a lost one, in bytes per second.
const SLOWEST: u128 = 16 * 1024;

/// The most bytes that are assumed to be on their way to a peer. The buffers of Linux hold about as many.
const MAX_IN_FLIGHT: u32 = 4 * 1024 * 1024;

/// Output that the kernel has accepted and that may still be on its way to the peer, in bytes. A ping waits behind it.
#[derive(Default)]
pub(crate) struct InFlight {
    bytes: u32,
    /// How many of these bytes were sent before the last ping.
    before_ping: u32,
}

impl InFlight {
    #[inline]
    fn add(&mut self, count: usize) {
        self.bytes = self.bytes.saturating_add(count as u32);
    }

    /// Records that a ping was sent.
    pub(crate) fn note_ping(&mut self) {
        self.bytes = self.bytes.min(MAX_IN_FLIGHT);
        self.before_ping = self.bytes;
    }

    /// Records that the pong has arrived, so the peer has everything that was sent before the ping.
    pub(crate) fn note_pong(&mut self) {
        self.bytes -= mem::take(&mut self.before_ping);
    }

    /// Subtracts what even a slow connection delivers in the given time. Reports whether it does not deliver the ping in that
    /// time.
    pub(crate) fn pass(&mut self, time: Duration) -> bool {
        let delivered = time.as_millis() * SLOWEST / 1000;
        let delays_ping = u128::from(self.before_ping) >= delivered.max(1);
        let delivered = delivered.min(u128::from(self.before_ping)) as u32;
        self.bytes -= delivered;
        self.before_ping -= delivered;
        delays_ping
    }
}

/// The socket of one peer, and what the event loop knows about it.
pub(crate) struct PeerSocket<S, L> {
    pub(crate) link: Link<S, L>,
    pub(crate) stage: Stage,
    /// The connection was admitted only to be refused.
    pub(crate) is_excess: bool,
    /// The socket has been reported writable since the last turn.
    pub(crate) writable: bool,
    /// The socket was full at the last measurement.
    pub(crate) awaits_write: bool,
    /// The kernel has accepted bytes since the write deadline was last updated.
    pub(crate) took_bytes: bool,
    /// The peer has sent bytes since the last ping.
    pub(crate) heard: bool,
    pub(crate) in_flight: InFlight,
    /// Bytes read and discarded while lingering.
    pub(crate) discarded: u32,
    pub(crate) unprocessed: Unprocessed,
    /// The most bytes that the next turn reads, which is about as many as a turn can process.
    pub(crate) read_size: u32,
    pub(crate) rate: Rate,
    /// Bytes of memory that the peer held when it was last measured.
    pub(crate) held: usize,
}

impl<S: Socket, L: Stream> PeerSocket<S, L> {
    pub(crate) fn new(socket: S, stream: L, read_size: u32) -> PeerSocket<S, L> {
        PeerSocket {
            link: Link::new(socket, stream),
            stage: Stage::Opening,
            is_excess: false,
            writable: false,
            awaits_write: false,
            took_bytes: false,
            heard: false,
            in_flight: InFlight::default(),
            discarded: 0,
            unprocessed: Unprocessed::default(),
            read_size,
            rate: Rate::default(),
            held: 0,
        }
    }

    /// Returns how many bytes of memory the input holds that the connection has not received: what was read and not
    /// processed, and what the transport has not delivered.
    pub(crate) fn input_held(&self) -> usize {
        self.unprocessed.held() + self.link.held().saturating_sub(self.link.queued())
    }

    /// Records the readiness of the socket.
    #[inline]
    pub(crate) fn note(&mut self, now: Readiness) {
        self.link.note(now);
        self.writable |= now.writable;
    }
}

/// All sockets, and the observer that sees their bytes.
pub(crate) struct Sockets<S, L, O> {
    table: Vec<Option<PeerSocket<S, L>>>,
    pub(crate) observer: O,
}

impl<S: Socket, L: Stream, O: Observer> Sockets<S, L, O> {
    pub(crate) fn new(observer: O) -> Sockets<S, L, O> {
        Sockets { table: Vec::new(), observer }
    }

    pub(crate) fn insert(&mut self, id: PeerId, socket: PeerSocket<S, L>) {
        if self.table.len() <= id.slot() {
            self.table.resize_with(id.slot() + 1, || None);
        }
        self.table[id.slot()] = Some(socket);
    }

    pub(crate) fn remove(&mut self, id: PeerId) -> Option<PeerSocket<S, L>> {
        self.table.get_mut(id.slot())?.take()
    }

    #[inline]
    pub(crate) fn in_slot(&mut self, slot: usize) -> Option<&mut PeerSocket<S, L>> {
        self.table.get_mut(slot)?.as_mut()
    }

    #[inline]
    pub(crate) fn get(&mut self, id: PeerId) -> Option<&mut PeerSocket<S, L>> {
        self.in_slot(id.slot())
    }

    #[inline]
    pub(crate) fn look(&self, id: PeerId) -> Option<&PeerSocket<S, L>> {
        self.table.get(id.slot())?.as_ref()
    }

    #[inline]
    fn write(&mut self, peer: PeerId, slices: &[&[u8]]) -> Written {
        let Some(Some(socket)) = self.table.get_mut(peer.slot()) else { return Written::Broken };
        let written = socket.link.write(slices, |bytes| {
            self.observer.bytes(peer, Direction::Out, bytes);
        });
        if let Written::Bytes(count) = written {
            socket.took_bytes = true;
            socket.in_flight.add(count);
        }
        written
    }

    /// Writes the queued output until it is empty or the socket is full (RFC 6455 §6.1-9).
    #[inline]
    pub(crate) fn flush(&mut self, peer: PeerId, connection: &mut Connection) {
        while !connection.output().is_empty() && !connection.output().is_blocked() {
            let written = match connection.output().only_slice() {
                Some(slice) => self.write(peer, &[slice]),
                None => {
                    let mut slices = [&[][..]; MAX_SLICES];
                    let filled = connection.output().pending(&mut slices);
                    self.write(peer, &slices[..filled])
                }
            };
            note_written(connection, written);
        }
        self.note_in_transport(peer, connection);
    }

    #[inline]
    fn note_in_transport(&self, peer: PeerId, connection: &mut Connection) {
        let queued = self.look(peer).map_or(0, |socket| socket.link.queued());
        connection.output_mut().note_in_transport(queued);
    }
}

/// Updates the output of a connection after a write.
#[inline]
pub(crate) fn note_written(connection: &mut Connection, written: Written) {
    match written {
        Written::Bytes(taken) => connection.output_mut().advance(taken),
        Written::Refused => connection.output_mut().block(),
        Written::Broken => connection.output_mut().fail(),
    }
}

impl<S: Socket, L: Stream, O: Observer> Wire for Sockets<S, L, O> {
    fn flush(&mut self, peer: PeerId, connection: &mut Connection) {
        Sockets::flush(self, peer, connection);
    }

    fn write_through(
        &mut self,
        peer: PeerId,
        connection: &mut Connection,
        message: Message<'_>,
    ) -> bool {
        if connection.state() != State::Open || !connection.output().is_empty() {
            return connection.output_mut().send(message);
        }
        let payload = message.bytes();
        let (header, length) = encode::header(message.opcode(), Rsv::NONE, payload.len(), None);
        let header = &header[..length];
        let rest = match self.write(peer, &[header, payload]) {
            Written::Bytes(taken) if taken == length + payload.len() => None,
            Written::Bytes(taken) => Some(taken),
            Written::Refused => {
                connection.output_mut().block();
                Some(0)
            }
            Written::Broken => {
                connection.output_mut().fail();
                return false;
            }
        };
        let is_kept = rest.is_none_or(|taken| {
            let (header, payload) =
                (&header[taken.min(length)..], &payload[taken.saturating_sub(length)..]);
            connection.output_mut().raw_parts(header, payload)
        });
        self.note_in_transport(peer, connection);
        is_kept
    }
}
