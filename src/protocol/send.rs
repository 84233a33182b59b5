//! RFC 6455 §5.1, §6.1: frames out, through one buffer per connection.
//!
//! ```text
//! chunks (oldest first)                          tail
//! | owned bytes | shared frame | owned bytes |   | frames are appended here |
//!   ^ `written` bytes of the first one have been taken by the kernel
//! ```
//!
//! Rules of this file: nothing follows a Close frame; what was queued goes out in order and without a gap;
//! small frames are copied together so that one write carries many, large shared ones are counted by
//! reference.

use std::collections::VecDeque;
use std::fmt;
use std::mem;
use std::sync::Arc;

use crate::protocol::close::{self, CloseCode, InvalidClose};
use crate::protocol::frame::{Header, MAX_CONTROL, MAX_HEADER, Opcode};
use crate::protocol::mask::{self, MaskingKeys};
use crate::protocol::message::Message;

/// Frames up to this many bytes are copied into the tail of a socket that takes output.
const COPY_UP_TO: usize = 256;

/// Frames below this many bytes are copied even while the socket refuses output.
const ALWAYS_COPY_BELOW: usize = 64;

/// The most slices that [`Sender::pending`] fills.
pub const MAX_SLICES: usize = 16;

/// A written part at the front of the tail is cut off once it is this long.
const COMPACT_AT: usize = 64 * 1024;

/// One message as a server's frame, encoded once for any number of peers.
#[derive(Clone, Debug)]
pub struct EncodedFrame(Arc<Vec<u8>>);

impl EncodedFrame {
    /// Encodes an unmasked frame.
    pub fn new(message: Message<'_>) -> EncodedFrame {
        let payload = message.bytes();
        let mut bytes = Vec::with_capacity(MAX_HEADER + payload.len());
        append_frame(&mut bytes, message.opcode(), payload);
        EncodedFrame(Arc::new(bytes))
    }

    /// Bytes on the wire.
    #[allow(clippy::len_without_is_empty)] // A frame is never empty.
    pub fn len(&self) -> usize {
        self.0.len()
    }
}

enum Chunk {
    Owned(Vec<u8>),
    Shared(EncodedFrame),
}

impl Chunk {
    fn bytes(&self) -> &[u8] {
        match self {
            Chunk::Owned(bytes) => bytes,
            Chunk::Shared(frame) => &frame.0,
        }
    }
}

/// The output of one connection.
pub struct Sender {
    chunks: VecDeque<Chunk>,
    tail: Vec<u8>,
    written: usize,
    /// All bytes that wait, over `chunks` and `tail`.
    queued: usize,
    /// The socket refused bytes and has not taken any since.
    blocked: bool,
    /// A Close frame was queued: the last thing this end says.
    closed: bool,
    /// The pong to send once the socket takes output again.
    pong: Option<Box<[u8]>>,
    /// Only a client masks.
    keys: Option<MaskingKeys>,
}

impl Sender {
    /// A sender without output. With masking keys it is a client's.
    pub fn new(keys: Option<MaskingKeys>) -> Sender {
        Sender {
            chunks: VecDeque::new(),
            tail: Vec::new(),
            written: 0,
            queued: 0,
            blocked: false,
            closed: false,
            pong: None,
            keys,
        }
    }

    // What waits.

    /// Bytes that wait for the socket.
    #[inline]
    pub fn queued(&self) -> usize {
        self.queued
    }

    /// Nothing waits.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.queued == 0
    }

    /// The socket refused bytes and has not taken any since.
    #[inline]
    pub fn is_blocked(&self) -> bool {
        self.blocked
    }

    /// A Close frame was queued or sent; nothing may follow it.
    #[inline]
    pub fn is_closed(&self) -> bool {
        self.closed
    }

    /// Masks its frames, as a client must (§5.1-1).
    pub fn is_masking(&self) -> bool {
        self.keys.is_some()
    }

    // What goes in.

    /// Queues one message as one frame (§6.1). False after a Close: nothing was queued.
    #[inline]
    pub fn message(&mut self, message: Message<'_>) -> bool {
        self.frame(message.opcode(), message.bytes())
    }

    /// Queues a frame that was encoded for many (servers only: a client masks each of its own).
    ///
    /// # Panics
    ///
    /// This sender masks.
    #[inline]
    pub fn encoded(&mut self, frame: &EncodedFrame) -> bool {
        assert!(self.keys.is_none(), "a client masks every frame with a key of its own");
        // RFC 6455 §5.5.1-5
        if self.closed {
            return false;
        }
        let copy_below = if self.blocked { ALWAYS_COPY_BELOW } else { COPY_UP_TO + 1 };
        if frame.len() < copy_below {
            self.compact();
            self.tail.extend_from_slice(&frame.0);
        } else {
            self.seal_tail();
            self.chunks.push_back(Chunk::Shared(frame.clone()));
        }
        self.queued += frame.len();
        true
    }

    /// Queues a ping with at most 125 bytes of payload data (§5.5.2). False if it is longer, or after a
    /// Close.
    pub fn ping(&mut self, payload: &[u8]) -> bool {
        payload.len() <= MAX_CONTROL && self.frame(Opcode::Ping, payload)
    }

    /// Queues a pong (§5.5.3). While the socket refuses output, a newer pong replaces the one that waits.
    pub fn pong(&mut self, payload: &[u8]) -> bool {
        if payload.len() > MAX_CONTROL || self.closed {
            return false;
        }
        if self.blocked {
            // RFC 6455 §5.5.3-1: only the most recent ping need be answered.
            self.pong = Some(payload.into());
            return true;
        }
        self.frame(Opcode::Pong, payload)
    }

    /// Queues a Close frame with a code and a reason of at most 123 bytes. False if one was queued before.
    ///
    /// # Errors
    ///
    /// The code may not be sent or the reason is too long; nothing was queued.
    pub fn close(&mut self, code: CloseCode, reason: &str) -> Result<bool, InvalidClose> {
        let mut body = [0; close::MAX_BODY];
        let length = close::encode(code, reason, &mut body)?;
        Ok(self.close_frame(&body[..length]))
    }

    /// Queues a Close frame without a body. False if one was queued before.
    pub fn close_without_code(&mut self) -> bool {
        self.close_frame(&[])
    }

    /// Queues bytes as they are: those of the opening handshake, or what somebody wants to see the answer to.
    pub(crate) fn raw(&mut self, bytes: &[u8]) {
        self.append(|tail| tail.extend_from_slice(bytes));
    }

    fn close_frame(&mut self, body: &[u8]) -> bool {
        self.release_pong();
        let queued = self.frame(Opcode::Close, body);
        self.closed = true;
        queued
    }

    #[inline]
    fn frame(&mut self, opcode: Opcode, payload: &[u8]) -> bool {
        // RFC 6455 §5.5.1-5, §6.1-2
        if self.closed {
            return false;
        }
        match &mut self.keys {
            None => self.append(|tail| append_frame(tail, opcode, payload)),
            Some(keys) => {
                // RFC 6455 §5.1-1, §5.3-2: a fresh key for each frame.
                let key = keys();
                self.append(|tail| append_masked_frame(tail, opcode, payload, key));
            }
        }
        true
    }

    #[inline]
    fn append(&mut self, write: impl FnOnce(&mut Vec<u8>)) {
        self.compact();
        let before = self.tail.len();
        write(&mut self.tail);
        self.queued += self.tail.len() - before;
    }

    /// Cuts off what the kernel has taken of a long tail, so that a slow reader's tail stays bounded.
    #[inline]
    fn compact(&mut self) {
        if self.written >= COMPACT_AT
            && self.written * 2 >= self.tail.len()
            && self.chunks.is_empty()
        {
            self.tail.drain(..self.written);
            self.written = 0;
        }
    }

    /// Moves the tail behind the other chunks, so that a shared frame can follow it.
    fn seal_tail(&mut self) {
        if !self.tail.is_empty() {
            self.chunks.push_back(Chunk::Owned(mem::take(&mut self.tail)));
        }
    }

    fn release_pong(&mut self) {
        if let Some(payload) = self.pong.take() {
            self.frame(Opcode::Pong, &payload);
        }
    }

    // What comes out.

    /// Fills `slices` with what waits, oldest first, and answers how many it filled. More may wait behind
    /// them.
    #[inline]
    pub fn pending<'s>(&'s self, slices: &mut [&'s [u8]; MAX_SLICES]) -> usize {
        let mut filled = 0;
        let mut skip = self.written;
        let chunks = self.chunks.iter().map(Chunk::bytes).chain([self.tail.as_slice()]);
        for (slice, bytes) in slices.iter_mut().zip(chunks) {
            *slice = &bytes[mem::take(&mut skip)..];
            filled += usize::from(!slice.is_empty());
        }
        filled
    }

    /// All that waits, if it lies in one piece: what [`pending`](Sender::pending) would fill one slice with.
    #[inline]
    pub(crate) fn only_slice(&self) -> Option<&[u8]> {
        self.chunks.is_empty().then(|| &self.tail[self.written..])
    }

    /// The first `count` bytes that wait were taken by the socket.
    ///
    /// # Panics
    ///
    /// Fewer bytes than that wait.
    #[inline]
    pub fn advance(&mut self, count: usize) {
        self.queued -= count;
        self.written += count;
        while let Some(front) = self.chunks.front() {
            let length = front.bytes().len();
            if self.written < length {
                return;
            }
            self.written -= length;
            self.chunks.pop_front();
        }
        if self.written == self.tail.len() {
            self.tail.clear();
            self.written = 0;
        }
    }

    /// The socket refused bytes: what is queued from now on waits for [`unblock`](Sender::unblock).
    pub fn block(&mut self) {
        self.blocked = true;
    }

    /// The socket takes bytes again.
    pub fn unblock(&mut self) {
        self.blocked = false;
        self.release_pong();
    }

    /// Takes everything that waits, for callers who have no socket to write to bit by bit.
    pub fn take(&mut self) -> Vec<u8> {
        let mut all = Vec::with_capacity(self.queued);
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

    /// Drops everything that waits: the socket is gone.
    pub(crate) fn discard(&mut self) {
        *self = Sender { closed: true, ..Sender::new(self.keys.take()) };
    }

    // Whose buffer it is.

    /// Gives a sender that [wants](Sender::wants_buffer) one a buffer to fill, so that it need not
    /// allocate it.
    #[inline]
    pub(crate) fn lend(&mut self, buffer: Vec<u8>) {
        self.tail = buffer;
    }

    /// Takes the buffer back once all of it was written; an idle connection owns none.
    #[inline]
    pub(crate) fn reclaim(&mut self) -> Option<Vec<u8>> {
        if self.queued > 0 || self.tail.capacity() == 0 {
            return None;
        }
        if self.chunks.capacity() > 0 {
            self.chunks = VecDeque::new();
        }
        Some(mem::take(&mut self.tail))
    }

    /// Has no buffer for its tail, so the next frame would allocate one.
    #[inline]
    pub(crate) fn wants_buffer(&self) -> bool {
        self.tail.capacity() == 0
    }
}

impl fmt::Debug for Sender {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Sender")
            .field("queued", &self.queued)
            .field("blocked", &self.blocked)
            .field("closed", &self.closed)
            .finish_non_exhaustive()
    }
}

/// The header of one whole message from a server, for a payload that is written from where it lies.
#[inline]
pub(crate) fn server_header(message: Message<'_>) -> ([u8; MAX_HEADER], usize) {
    let mut header = [0; MAX_HEADER];
    let length = header_of(message.opcode(), message.bytes().len(), None).encode(&mut header);
    (header, length)
}

/// Appends one whole frame of a server: header, then payload.
#[inline]
fn append_frame(into: &mut Vec<u8>, opcode: Opcode, payload: &[u8]) {
    let mut header = [0; MAX_HEADER];
    let length = header_of(opcode, payload.len(), None).encode(&mut header);
    into.reserve(MAX_HEADER + payload.len());
    match length {
        // The shortest header is by far the most frequent: two bytes, stored at once.
        2 => into.extend_from_slice(&[header[0], header[1]]),
        _ => into.extend_from_slice(&header[..length]),
    }
    into.extend_from_slice(payload);
}

/// Appends one whole frame of a client: header with the key, then the masked payload (§6.1-8).
#[inline(never)]
fn append_masked_frame(into: &mut Vec<u8>, opcode: Opcode, payload: &[u8], key: [u8; 4]) {
    let mut header = [0; MAX_HEADER];
    let length = header_of(opcode, payload.len(), Some(key)).encode(&mut header);
    into.extend_from_slice(&header[..length]);
    let start = into.len();
    into.extend_from_slice(payload);
    mask::apply(&mut into[start..], key, 0);
}

#[inline]
fn header_of(opcode: Opcode, length: usize, key: Option<[u8; 4]>) -> Header {
    // RFC 6455 §6.1-7: a message is one frame here, so it is its own last fragment.
    Header { fin: true, opcode, key, length: length as u64 }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server() -> Sender {
        Sender::new(None)
    }

    /// RFC 6455 §5.5.1-5: nothing after Close, and no second Close.
    #[test]
    fn nothing_follows_a_close() {
        let mut sender = server();
        assert!(sender.message(Message::Text("a")));
        assert_eq!(sender.close(CloseCode::NORMAL, "bye"), Ok(true));
        assert!(!sender.message(Message::Text("b")) && !sender.ping(b"") && !sender.pong(b""));
        assert!(!sender.encoded(&EncodedFrame::new(Message::Text("c"))));
        assert_eq!(sender.close(CloseCode::NORMAL, ""), Ok(false));
        assert!(!sender.close_without_code());
        assert_eq!(sender.take(), b"\x81\x01a\x88\x05\x03\xe8bye");
    }

    /// RFC 6455 §5.1-1, §5.3: a client masks with the keys that it was given.
    #[test]
    fn a_client_masks_each_frame_with_its_own_key() {
        let mut next = 0;
        let mut sender = Sender::new(Some(Box::new(move || {
            next += 1;
            [next, 0, 0, 0]
        })));
        sender.message(Message::Binary(b"\x00\x00"));
        sender.ping(b"\x00");
        assert_eq!(sender.take(), b"\x82\x82\x01\0\0\0\x01\x00\x89\x81\x02\0\0\0\x02");
    }

    /// RFC 6455 §5.5.3-1, CVE-2021-3690 and CVE-2026-11586: pings to a peer that reads nothing leave one pong.
    #[test]
    fn cve_2021_3690_one_pong_waits_while_the_socket_refuses() {
        let mut sender = server();
        sender.message(Message::Text("first"));
        sender.block();
        for n in 0..100_000u32 {
            assert!(sender.pong(&n.to_be_bytes()));
        }
        assert_eq!(sender.queued(), 7);
        sender.unblock();
        assert_eq!(sender.take(), b"\x81\x05first\x8a\x04\x00\x01\x86\x9f");
    }

    /// The output is one stream without gaps, whatever was copied or shared and however it is drained.
    #[test]
    fn the_stream_is_contiguous_at_every_step() {
        let messages: Vec<String> = (0..200).map(|n| format!("{n}").repeat(n * 7 % 300)).collect();
        let expected: Vec<u8> = messages.iter().fold(Vec::new(), |mut all, text| {
            append_frame(&mut all, Opcode::Text, text.as_bytes());
            all
        });
        for step in [1, 2, 3, 7, 64, 1000, 1 << 20] {
            let mut sender = server();
            let mut seen = Vec::new();
            for (n, text) in messages.iter().enumerate() {
                match n % 3 {
                    0 => sender.message(Message::Text(text)),
                    _ => sender.encoded(&EncodedFrame::new(Message::Text(text))),
                };
                if n % 50 == 20 {
                    sender.block();
                } else if n % 50 == 40 {
                    sender.unblock();
                }
                drain(&mut sender, step, &mut seen);
            }
            while !sender.is_empty() {
                drain(&mut sender, step, &mut seen);
            }
            assert!(seen == expected, "step {step}");
        }
    }

    fn drain(sender: &mut Sender, step: usize, seen: &mut Vec<u8>) {
        let mut slices = [&[][..]; MAX_SLICES];
        let filled = sender.pending(&mut slices);
        let before = seen.len();
        for slice in &slices[..filled] {
            let room = step - (seen.len() - before);
            seen.extend_from_slice(&slice[..room.min(slice.len())]);
        }
        sender.advance(seen.len() - before);
    }

    /// A reader that never quite catches up does not make the tail grow without end.
    #[test]
    fn a_slow_reader_keeps_a_bounded_tail() {
        let mut sender = server();
        let payload = [0; 1000];
        for _ in 0..100 {
            sender.message(Message::Binary(&payload));
        }
        for _ in 0..10_000 {
            sender.message(Message::Binary(&payload));
            sender.advance(1004);
        }
        assert_eq!(sender.queued(), 100 * 1004);
        assert!(sender.tail.capacity() < 1 << 20, "{}", sender.tail.capacity());
    }
}
