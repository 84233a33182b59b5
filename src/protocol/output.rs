//! RFC 6455 §5.5.1, §6.1: the output of one connection, a queue of bytes that the socket has not accepted yet.
//!
//! ```text
//! chunks (oldest first)                          tail
//! | owned bytes | shared frame | owned bytes |   | frames are appended here |
//!   ^ the kernel has accepted the first `written` bytes
//! ```
//!
//! Rules of this file:
//!
//! - Only pongs follow a Close frame, and only until the peer's Close has arrived.
//! - Queued bytes are written in order and without a gap.
//! - Limits apply to the capacity of the buffers, not only to the bytes in them. Therefore the bytes of a blocked
//!   output are kept in buffers that fit them.
//!
//! The tail uses two kinds of buffers. While the socket accepts bytes, the event loop lends the output a buffer for one
//! turn and gets it back empty. When the socket is full (the output is *blocked*), the queued bytes move into memory
//! that the output owns, and the lent buffer is returned.

use std::collections::VecDeque;
use std::fmt;
use std::mem;

use crate::protocol::close::{self, CloseCode, InvalidClose};
use crate::protocol::encode::{
    EncodedFrame, MAX_SHORT, SharedCount, append_frame, append_short_frame,
};
use crate::protocol::extension::{Encoder, EncoderKind};
use crate::protocol::frame::{MAX_CONTROL, MAX_HEADER, Opcode, Rsv};
use crate::protocol::mask::MaskingKeys;
use crate::protocol::message::{Message, Payload};

/// Shared frames up to this many bytes are copied into the tail of an output that is not blocked.
pub(crate) const COPY_UP_TO: usize = 256;

/// Shared frames below this many bytes are copied even into a blocked output. A reference would cost as much memory.
const ALWAYS_COPY_BELOW: usize = 64;

/// The maximum number of slices that [`Output::pending`] fills.
pub const MAX_SLICES: usize = 16;

/// An output that holds this many bytes is written at once, not at the end of the turn.
pub(crate) const FLUSH_AT: usize = 256 * 1024;

/// The written part of a tail is removed once it has this many bytes.
const COMPACT_AT: usize = 64 * 1024;

/// The smallest and the largest buffer for the tail of a blocked output, in bytes. A longer frame gets a larger one.
const BLOCKED_TAIL: (usize, usize) = (512, 64 * 1024);

enum Chunk {
    Owned(Vec<u8>),
    Shared(EncodedFrame),
}

impl Chunk {
    fn bytes(&self) -> &[u8] {
        match self {
            Chunk::Owned(bytes) => bytes,
            Chunk::Shared(frame) => frame.bytes(),
        }
    }
}

/// The chunks before the tail. Most outputs never have any.
#[derive(Default)]
struct Backlog {
    chunks: VecDeque<Chunk>,
    /// Bytes in `chunks`.
    bytes: usize,
    /// Capacity of the owned chunks in bytes.
    owned: usize,
}

/// Whether frames may be queued.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Gate {
    /// Not yet, because the opening handshake is not complete.
    Opening,
    Open,
    /// No longer, because the socket accepts no more output. Input that has arrived can still be read.
    Failed,
    /// Only pongs, because a Close frame was queued and the peer's Close has not arrived.
    Closing,
    /// No longer, because the connection closed.
    Closed,
}

/// The output of one connection.
///
/// ```
/// use framewise::protocol::output::{MAX_SLICES, Output};
///
/// let mut output = Output::new(None);
/// output.send("Hello");
///
/// // A socket takes three of the seven bytes, and later the rest.
/// let mut slices = [&[][..]; MAX_SLICES];
/// assert_eq!(output.pending(&mut slices), 1);
/// assert_eq!(slices[0], b"\x81\x05Hello");
/// output.advance(3);
/// assert_eq!(output.take(), b"ello");
/// ```
pub struct Output {
    backlog: Option<Box<Backlog>>,
    tail: Vec<u8>,
    /// The event loop has lent the tail for this turn.
    is_lent: bool,
    /// The kernel has accepted this many bytes of the first chunk, or of the tail if there is no chunk.
    written: usize,
    /// The fast path may fill the tail up to this length. It is 0 if the fast path does not apply: while blocked, after
    /// a Close, with an extension, and for a client, which must mask.
    fast_until: usize,
    /// Bytes that the transport has accepted but not passed on to the kernel.
    in_transport: usize,
    /// The socket refused bytes and has not become writable since.
    blocked: bool,
    /// Whether frames may be queued.
    gate: Gate,
    /// Memory ran out, and the queued bytes were dropped.
    exhausted: bool,
    /// The pong to send once the socket is writable again.
    pong: Option<Box<[u8]>>,
    /// Produces the masking keys of a client.
    keys: Option<MaskingKeys>,
    encoder: Encoder,
}

impl Output {
    /// Creates an empty output, for a client if there are masking keys, otherwise for a server.
    pub fn new(keys: Option<MaskingKeys>) -> Output {
        Output {
            backlog: None,
            tail: Vec::new(),
            is_lent: false,
            written: 0,
            fast_until: 0,
            in_transport: 0,
            blocked: false,
            gate: Gate::Open,
            exhausted: false,
            pong: None,
            keys,
            encoder: Encoder::None,
        }
    }

    /// Creates the output of a connection whose opening handshake is not complete. It refuses frames until
    /// [`open`](Output::open).
    pub(crate) fn opening(keys: Option<MaskingKeys>) -> Output {
        Output { gate: Gate::Opening, ..Output::new(keys) }
    }

    /// Accepts frames, because the opening handshake is complete, and sets the encoder for their messages.
    pub(crate) fn open(&mut self, encoder: Encoder) {
        if self.gate == Gate::Opening {
            self.gate = Gate::Open;
        }
        self.set_encoder(encoder);
    }

    /// Sets the encoder for all messages that follow.
    pub(crate) fn set_encoder(&mut self, encoder: Encoder) {
        self.encoder = encoder;
        self.check_fast_path();
    }

    // State.

    /// Returns how many bytes are queued and not yet accepted by the kernel.
    #[inline]
    pub fn queued(&self) -> usize {
        self.in_backlog() + self.tail.len() - self.written + self.in_transport
    }

    #[inline]
    fn in_backlog(&self) -> usize {
        self.backlog.as_ref().map_or(0, |backlog| backlog.bytes)
    }

    /// Reports whether there is nothing to write.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.in_backlog() + self.tail.len() == self.written
    }

    /// Reports whether the socket refused bytes and has not become writable since.
    #[inline]
    pub fn is_blocked(&self) -> bool {
        self.blocked
    }

    /// Reports whether a Close frame was queued or the connection closed. No more frames may be queued then, except for
    /// the pongs that respond to pings before the peer's Close.
    #[inline]
    pub fn is_closed(&self) -> bool {
        matches!(self.gate, Gate::Closing | Gate::Closed)
    }

    /// Reports whether frames may be queued.
    #[inline]
    pub(crate) fn is_open(&self) -> bool {
        self.gate == Gate::Open
    }

    /// Reports whether memory ran out. The queued bytes were dropped, so the connection cannot continue.
    #[inline]
    pub fn is_exhausted(&self) -> bool {
        self.exhausted
    }

    /// Reports whether frames are masked, as a client's must be (§5.1-1).
    pub fn is_masking(&self) -> bool {
        self.keys.is_some()
    }

    /// Returns the capacity of the buffers in bytes, and the memory of the extension. Frames that are shared with other
    /// outputs do not count.
    #[inline]
    pub(crate) fn held(&self) -> usize {
        let backlog = self.backlog.as_ref().map_or(0, |backlog| {
            backlog.owned + backlog.chunks.capacity() * mem::size_of::<Chunk>()
        });
        self.tail.capacity() + backlog + self.encoder.held()
    }

    /// Frees memory of the extension that it can do without. Returns false if there was none.
    pub(crate) fn shed(&mut self) -> bool {
        let is_held = self.encoder.held() > 0;
        self.encoder.shed();
        is_held
    }

    // Queueing.

    /// Queues a message as one frame (§6.1-1). Returns false after a Close, or if memory ran out.
    #[inline]
    pub fn send(&mut self, message: impl Payload) -> bool {
        let message = message.as_message();
        self.send_fast(message) || self.send_checked(message.opcode(), message.bytes())
    }

    /// Fast path: queues a short message if the tail has room for it and no other check is needed.
    ///
    /// `false` only means that the fast path did not apply.
    #[inline(always)]
    pub(crate) fn send_fast(&mut self, message: Message<'_>) -> bool {
        let payload = message.bytes();
        let applies = payload.len() <= MAX_SHORT
            && self.tail.len() + MAX_HEADER + payload.len() <= self.fast_until;
        if applies {
            append_short_frame(&mut self.tail, message.opcode(), payload);
        }
        applies
    }

    #[inline(never)]
    fn send_checked(&mut self, opcode: Opcode, payload: &[u8]) -> bool {
        // RFC 6455 §5.2-2, §5.2-9 to §5.2-11: without an extension, no reserved bit is set.
        if self.gate != Gate::Open || self.encoder.is_none() {
            return self.frame(opcode, Rsv::NONE, payload);
        }
        match self.encoder.encode(payload) {
            Some(encoded) => self.frame(opcode, Rsv::RSV1, &encoded),
            None => self.frame(opcode, Rsv::NONE, payload),
        }
    }

    /// Queues a frame that was encoded for many peers. Returns false after a Close, or if memory ran out.
    ///
    /// # Panics
    ///
    /// The output belongs to a client, which must mask each frame with its own key.
    #[inline]
    pub fn send_encoded(&mut self, frame: &EncodedFrame) -> bool {
        assert!(self.keys.is_none(), "a client masks every frame with a key of its own");
        // RFC 6455 §5.5.1-5, §6.1-3
        if self.gate != Gate::Open {
            return false;
        }
        let bytes = frame.bytes();
        let copy_below = if self.blocked { ALWAYS_COPY_BELOW } else { COPY_UP_TO + 1 };
        if bytes.len() < copy_below {
            return self.append(bytes.len(), |tail| tail.extend_from_slice(bytes));
        }
        if !self.seal_tail() || !self.push(Chunk::Shared(frame.clone())) {
            return self.exhaust();
        }
        true
    }

    /// Adds a chunk to the backlog. Returns false if there is not enough memory.
    fn push(&mut self, chunk: Chunk) -> bool {
        let backlog = self.backlog.get_or_insert_default();
        if backlog.chunks.try_reserve(1).is_err() {
            return false;
        }
        backlog.bytes += chunk.bytes().len();
        if let Chunk::Owned(bytes) = &chunk {
            backlog.owned += bytes.capacity();
        }
        backlog.chunks.push_back(chunk);
        true
    }

    /// Returns `frame`, encoded with the extension of this output if that applies. `None` means not enough memory.
    pub(crate) fn encode_shared(
        &mut self,
        frame: &EncodedFrame,
        count: &SharedCount,
    ) -> Option<EncodedFrame> {
        match self.encoder.encode(frame.payload()) {
            Some(encoded) => EncodedFrame::with_rsv(frame.opcode(), Rsv::RSV1, &encoded, count),
            None => Some(frame.clone()),
        }
    }

    /// Returns the [kind](Encoder::kind) of this output's encoder.
    #[inline]
    pub(crate) fn encoder_kind(&self) -> Option<EncoderKind> {
        self.encoder.kind()
    }

    /// Reports whether messages are sent unchanged, without an extension.
    #[inline]
    pub(crate) fn sends_plain(&self) -> bool {
        self.encoder.is_none()
    }

    /// Queues a ping (§5.5.2-1, §5.5.2-4). Returns false if the payload is longer than 125 bytes, after a Close, or if memory ran
    /// out.
    pub fn ping(&mut self, payload: &[u8]) -> bool {
        payload.len() <= MAX_CONTROL && self.frame(Opcode::Ping, Rsv::NONE, payload)
    }

    /// Queues a pong (§5.5.3-2). While the output is blocked, a new pong replaces the previous one. Returns false if the
    /// payload is longer than 125 bytes, once the connection has closed, or if memory ran out.
    pub fn pong(&mut self, payload: &[u8]) -> bool {
        if payload.len() > MAX_CONTROL || !self.accepts(Opcode::Pong) {
            return false;
        }
        if self.blocked {
            // RFC 6455 §5.5.3-1: only the most recent ping needs a pong.
            self.pong = Some(payload.into());
            return true;
        }
        self.frame(Opcode::Pong, Rsv::NONE, payload)
    }

    /// Queues a Close frame with a code and a reason of at most 123 bytes. Returns false if one was queued before, or
    /// if memory ran out.
    ///
    /// # Errors
    ///
    /// The code must not be sent, or the reason is too long. Nothing was queued.
    pub fn close(&mut self, code: CloseCode, reason: &str) -> Result<bool, InvalidClose> {
        let mut body = [0; close::MAX_BODY];
        let length = close::encode(code, reason, &mut body)?;
        Ok(self.close_frame(&body[..length]))
    }

    /// Queues a Close frame without a body. Returns false if one was queued before, or if memory ran out.
    pub fn close_without_code(&mut self) -> bool {
        self.close_frame(&[])
    }

    /// Queues raw bytes: those of the opening handshake, or bytes that a user sends to see their effect.
    pub(crate) fn raw(&mut self, bytes: &[u8]) -> bool {
        self.append(bytes.len(), |tail| tail.extend_from_slice(bytes))
    }

    /// Queues the rest of a frame that the socket has accepted in part.
    pub(crate) fn raw_parts(&mut self, header: &[u8], payload: &[u8]) -> bool {
        self.append(header.len() + payload.len(), |tail| {
            tail.extend_from_slice(header);
            tail.extend_from_slice(payload);
        })
    }

    fn close_frame(&mut self, body: &[u8]) -> bool {
        match self.gate {
            Gate::Open => {}
            Gate::Opening | Gate::Closing | Gate::Closed => return false,
            Gate::Failed => {
                self.end();
                return false;
            }
        }
        self.release_pong();
        // RFC 6455 §5.5.1-8: it comes after the messages that are queued already.
        let queued = self.frame(Opcode::Close, Rsv::NONE, body);
        self.gate = if queued { Gate::Closing } else { Gate::Closed };
        // No message follows, so the memory of the extension is not needed any longer.
        self.set_encoder(Encoder::None);
        queued
    }

    /// Accepts no more frames. The queued bytes may still be written.
    pub(crate) fn end(&mut self) {
        self.gate = Gate::Closed;
        self.set_encoder(Encoder::None);
    }

    /// Reports whether a frame with this opcode may be queued.
    #[inline]
    fn accepts(&self, opcode: Opcode) -> bool {
        match self.gate {
            Gate::Open => true,
            // RFC 6455 §5.5.2-2: a ping gets its pong until the peer's Close arrives.
            Gate::Closing => opcode == Opcode::Pong,
            // RFC 6455 §4.1-40, §5.1-7
            Gate::Opening | Gate::Failed | Gate::Closed => false,
        }
    }

    #[inline]
    fn frame(&mut self, opcode: Opcode, rsv: Rsv, payload: &[u8]) -> bool {
        // RFC 6455 §5.5.1-5, §6.1-2, §6.1-3
        if !self.accepts(opcode) {
            return false;
        }
        // RFC 6455 §5.1-1, §5.3-2, §6.1-8: a fresh key for each frame.
        let key = self.keys.as_mut().map(|next_key| next_key());
        let mut appended = Ok(());
        let has_room = self.append(MAX_HEADER + payload.len(), |tail| {
            appended = append_frame(tail, opcode, rsv, payload, key);
        });
        has_room && (appended.is_ok() || self.exhaust())
    }

    /// Calls `write` to append up to `length` bytes to the tail. Returns false if there is not enough memory.
    #[inline]
    fn append(&mut self, length: usize, write: impl FnOnce(&mut Vec<u8>)) -> bool {
        if self.gate == Gate::Failed {
            return false;
        }
        self.compact();
        if self.tail.capacity() - self.tail.len() < length && !self.make_room(length) {
            return self.exhaust();
        }
        write(&mut self.tail);
        self.check_fast_path();
        true
    }

    /// Makes room for `length` bytes: grows the tail or, while blocked, turns it into a chunk and starts a new one.
    /// Returns false if there is not enough memory.
    #[cold]
    fn make_room(&mut self, length: usize) -> bool {
        if !self.blocked {
            return self.tail.try_reserve(length).is_ok();
        }
        // Doubling could allocate twice as many bytes as are queued, so a blocked output grows in pieces.
        let (least, most) = BLOCKED_TAIL;
        let wanted = length.max(self.queued().clamp(least, most));
        self.seal_tail() && self.tail.try_reserve_exact(wanted).is_ok()
    }

    fn check_fast_path(&mut self) {
        let is_slow = self.blocked
            || self.gate != Gate::Open
            || self.keys.is_some()
            || !self.encoder.is_none();
        self.fast_until = if is_slow { 0 } else { self.tail.capacity().min(FLUSH_AT) };
    }

    /// Removes the written part of a long tail. Otherwise the tail of a slow peer could grow forever.
    #[inline]
    fn compact(&mut self) {
        if self.written >= COMPACT_AT
            && self.written * 2 >= self.tail.len()
            && self.backlog.is_none()
        {
            self.tail.drain(..self.written);
            self.written = 0;
        }
    }

    /// Appends the queued bytes of the tail to the chunks. If the buffer is lent or much larger than the bytes, they
    /// are copied into one that fits. Returns false if there is not enough memory.
    fn seal_tail(&mut self) -> bool {
        if self.tail.is_empty() {
            return true;
        }
        let starts_at = if self.backlog.is_none() { mem::take(&mut self.written) } else { 0 };
        let rest = &self.tail[starts_at..];
        let sealed = if !self.is_lent && starts_at == 0 && fits(rest.len(), self.tail.capacity()) {
            mem::take(&mut self.tail)
        } else {
            let mut copy = Vec::new();
            if copy.try_reserve_exact(rest.len()).is_err() {
                return false;
            }
            copy.extend_from_slice(rest);
            self.tail.clear();
            copy
        };
        self.check_fast_path();
        sealed.is_empty() || self.push(Chunk::Owned(sealed))
    }

    fn release_pong(&mut self) {
        if let Some(payload) = self.pong.take() {
            self.frame(Opcode::Pong, Rsv::NONE, &payload);
        }
    }

    /// Drops all queued bytes because memory ran out, and returns false. Closing the connection is better than leaving a
    /// gap in the stream.
    #[cold]
    pub(crate) fn exhaust(&mut self) -> bool {
        self.discard();
        self.exhausted = true;
        false
    }

    // Writing.

    /// Fills `slices` with queued bytes, oldest first, and returns how many slices it filled. More bytes may be queued.
    #[inline]
    pub fn pending<'s>(&'s self, slices: &mut [&'s [u8]; MAX_SLICES]) -> usize {
        let mut filled = 0;
        let mut skip = self.written;
        let chunks =
            self.backlog.iter().flat_map(|backlog| backlog.chunks.iter().map(Chunk::bytes));
        let chunks = chunks.chain([self.tail.as_slice()]);
        for (slice, bytes) in slices.iter_mut().zip(chunks) {
            *slice = &bytes[mem::take(&mut skip)..];
            filled += usize::from(!slice.is_empty());
        }
        filled
    }

    /// Returns all queued bytes if they lie in one slice.
    #[inline]
    pub(crate) fn only_slice(&self) -> Option<&[u8]> {
        self.backlog.is_none().then(|| &self.tail[self.written..])
    }

    /// Removes the first `count` queued bytes after the socket has accepted them.
    ///
    /// # Panics
    ///
    /// Fewer than `count` bytes are queued.
    #[inline]
    pub fn advance(&mut self, count: usize) {
        self.written += count;
        if self.backlog.is_some() && !self.advance_backlog() {
            return;
        }
        assert!(self.written <= self.tail.len(), "more bytes were removed than are queued");
        if self.written == self.tail.len() {
            self.tail.clear();
            self.written = 0;
        }
    }

    /// Drops the chunks that the socket has accepted entirely. Returns whether no chunk is left.
    #[cold]
    fn advance_backlog(&mut self) -> bool {
        while let Some(backlog) = &mut self.backlog {
            let length = backlog.chunks.front().map_or(0, |front| front.bytes().len());
            if self.written < length {
                return false;
            }
            self.written -= length;
            backlog.bytes -= length;
            if let Some(Chunk::Owned(bytes)) = backlog.chunks.pop_front() {
                backlog.owned -= bytes.capacity();
            }
            if backlog.chunks.is_empty() {
                self.backlog = None;
            }
        }
        true
    }

    /// Marks the output as blocked after the socket refused bytes. It stays blocked until [`unblock`](Output::unblock).
    pub fn block(&mut self) {
        self.blocked = true;
        self.check_fast_path();
    }

    /// Marks the output as writable again, and queues the pong that was stored while it was blocked.
    pub fn unblock(&mut self) {
        self.blocked = false;
        self.check_fast_path();
        self.release_pong();
    }

    /// Removes and returns all queued bytes, for callers that do not write them piece by piece.
    pub fn take(&mut self) -> Vec<u8> {
        let mut all = Vec::with_capacity(self.queued());
        let mut slices = [&[][..]; MAX_SLICES];
        while !self.is_empty() {
            let filled = self.pending(&mut slices);
            let taken = slices[..filled].iter().map(|slice| slice.len()).sum();
            slices[..filled].iter().for_each(|slice| all.extend_from_slice(slice));
            slices = [&[][..]; MAX_SLICES];
            self.advance(taken);
        }
        all
    }

    /// Drops all queued bytes and accepts no more frames.
    pub(crate) fn discard(&mut self) {
        let exhausted = self.exhausted;
        *self = Output { gate: Gate::Closed, exhausted, ..Output::new(self.keys.take()) };
    }

    /// Records that the socket accepts no more output: drops the queued bytes, and accepts no more frames.
    #[cold]
    pub(crate) fn fail(&mut self) {
        let is_closed = self.is_closed();
        self.discard();
        if !is_closed {
            self.gate = Gate::Failed;
        }
    }

    /// Records how many bytes the transport has accepted but not passed on to the kernel.
    #[inline]
    pub(crate) fn note_in_transport(&mut self, bytes: usize) {
        self.in_transport = bytes;
    }

    // Lent buffers.

    /// Lends a buffer to an output that [wants one](Output::wants_buffer), so that the output need not allocate.
    #[inline]
    pub(crate) fn lend(&mut self, buffer: Vec<u8>) {
        self.tail = buffer;
        self.is_lent = true;
        self.check_fast_path();
    }

    /// Reports whether the output can use a lent buffer: it has no buffer and is not blocked.
    #[inline]
    pub(crate) fn wants_buffer(&self) -> bool {
        self.tail.capacity() == 0 && !self.blocked
    }

    /// Gives back a buffer at the end of a turn. An empty output gives back any buffer. An output with queued bytes
    /// gives back only a lent buffer, after moving the bytes into its own memory.
    #[inline]
    pub(crate) fn reclaim(&mut self) -> Option<Vec<u8>> {
        if self.tail.capacity() == 0 {
            return None;
        }
        if self.is_empty() {
            self.fast_until = 0;
            self.is_lent = false;
            return Some(mem::take(&mut self.tail));
        }
        if self.is_lent { self.give_back() } else { None }
    }

    #[cold]
    fn give_back(&mut self) -> Option<Vec<u8>> {
        if !self.seal_tail() {
            self.exhaust();
            return None;
        }
        self.fast_until = 0;
        self.is_lent = false;
        Some(mem::take(&mut self.tail))
    }
}

/// Reports whether a buffer of this capacity wastes so little memory that `length` bytes can stay in it.
fn fits(length: usize, capacity: usize) -> bool {
    capacity <= length + length / 4 + BLOCKED_TAIL.0
}

impl fmt::Debug for Output {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Output")
            .field("queued", &self.queued())
            .field("blocked", &self.blocked)
            .field("gate", &self.gate)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server() -> Output {
        Output::new(None)
    }

    /// RFC 6455 §5.5.1-5, §5.5.2-2, §6.1-3: no data after a Close, and no second Close, but pongs until the connection has
    /// closed.
    #[test]
    fn only_pongs_follow_a_close() {
        let mut output = server();
        assert!(output.send("a"));
        assert_eq!(output.close(CloseCode::NORMAL, "bye"), Ok(true));
        assert!(!output.send("b") && !output.ping(b""));
        assert!(!output.send_encoded(&EncodedFrame::new("c".into()).expect("memory")));
        assert_eq!(output.close(CloseCode::NORMAL, ""), Ok(false));
        assert!(!output.close_without_code());
        assert_eq!(output.take(), b"\x81\x01a\x88\x05\x03\xe8bye");
        assert!(output.is_closed() && output.pong(b"?"));
        assert_eq!(output.take(), b"\x8a\x01?");
        output.block();
        assert!(output.pong(b"1") && output.pong(b"2"));
        output.unblock();
        assert_eq!(output.take(), b"\x8a\x012");
        output.end();
        assert!(output.is_closed() && !output.pong(b"!"));
        assert!(output.is_empty());
    }

    /// RFC 6455 §5.1-1, §5.3-1, §5.3-2, §6.1-8: a client masks with the keys that it was given.
    #[test]
    fn a_client_masks_each_frame_with_its_own_key() {
        let mut next = 0;
        let mut output = Output::new(Some(Box::new(move || {
            next += 1;
            [next, 0, 0, 0]
        })));
        output.send(b"\x00\x00");
        output.ping(b"\x00");
        assert_eq!(output.take(), b"\x82\x82\x01\0\0\0\x01\x00\x89\x81\x02\0\0\0\x02");
    }

    /// RFC 6455 §5.5.3-1, CVE-2021-3690 and CVE-2026-11586: pings from a peer that does not read queue only one pong.
    #[test]
    fn cve_2021_3690_one_pong_waits_while_the_socket_refuses() {
        let mut output = server();
        output.send("first");
        output.block();
        for n in 0..100_000u32 {
            assert!(output.pong(&n.to_be_bytes()));
        }
        assert_eq!(output.queued(), 7);
        output.unblock();
        assert_eq!(output.take(), b"\x81\x05first\x8a\x04\x00\x01\x86\x9f");
    }

    /// The output is one stream without gaps, no matter which frames are copied or shared and how it is drained.
    #[test]
    fn the_stream_is_contiguous_at_every_step() {
        let messages: Vec<String> = (0..200).map(|n| format!("{n}").repeat(n * 7 % 300)).collect();
        let expected: Vec<u8> = messages.iter().fold(Vec::new(), |mut all, text| {
            append_frame(&mut all, Opcode::Text, Rsv::NONE, text.as_bytes(), None).expect("memory");
            all
        });
        for step in [1, 2, 3, 7, 64, 1000, 1 << 20] {
            let mut output = server();
            let mut seen = Vec::new();
            for (n, text) in messages.iter().enumerate() {
                match n % 3 {
                    0 => output.send(text),
                    _ => output.send_encoded(&EncodedFrame::new(text.into()).expect("memory")),
                };
                if n % 50 == 20 {
                    output.block();
                } else if n % 50 == 40 {
                    output.unblock();
                }
                drain(&mut output, step, &mut seen);
                if n % 7 == 0 {
                    drop(output.reclaim());
                }
            }
            while !output.is_empty() {
                drain(&mut output, step, &mut seen);
            }
            assert!(seen == expected, "step {step}");
        }
    }

    fn drain(output: &mut Output, step: usize, seen: &mut Vec<u8>) {
        let mut slices = [&[][..]; MAX_SLICES];
        let filled = output.pending(&mut slices);
        let before = seen.len();
        for slice in &slices[..filled] {
            let room = step - (seen.len() - before);
            seen.extend_from_slice(&slice[..room.min(slice.len())]);
        }
        output.advance(seen.len() - before);
    }

    /// A peer that reads but never catches up does not make the tail grow forever.
    #[test]
    fn a_slow_reader_keeps_a_bounded_tail() {
        let mut output = server();
        let payload = [0; 1000];
        for _ in 0..100 {
            output.send(payload);
        }
        for _ in 0..10_000 {
            output.send(payload);
            output.advance(1004);
        }
        assert_eq!(output.queued(), 100 * 1004);
        assert!(output.tail.capacity() < 1 << 20, "{}", output.tail.capacity());
    }

    /// T1: the capacity of a blocked output stays close to its queued bytes, whatever buffers were lent.
    #[test]
    fn a_blocked_output_holds_what_waits_and_little_more() {
        for size in [1, 63, 64, 100, 257, 5_000, 70_000] {
            let mut output = server();
            let payload = vec![0; size];
            output.lend(Vec::with_capacity(1 << 20));
            output.send(&payload);
            output.block();
            let frame = EncodedFrame::new(Message::from(&payload)).expect("memory");
            let is_shared = frame.bytes().len() >= ALWAYS_COPY_BELOW;
            let mut shared = 0;
            while output.queued() < 1 << 20 {
                output.send_encoded(&frame);
                shared += if is_shared { frame.bytes().len() } else { 0 };
                output.send(&payload);
                drop(output.reclaim());
                assert!(!output.wants_buffer(), "a blocked output is lent nothing");
            }
            let (held, own) = (output.held(), output.queued() - shared);
            let entries = output.backlog.as_ref().map_or(0, |backlog| backlog.chunks.capacity());
            let entries = entries * mem::size_of::<Chunk>();
            assert!(held - entries <= own * 5 / 4 + 128 * 1024, "{size}: {held} for {own}");
            assert!(entries <= output.queued() * 3 / 4 + 4096, "{size}: {entries} for the list");
            output.advance(output.queued());
            drop(output.reclaim());
            assert_eq!(output.held(), 0);
        }
    }
}
