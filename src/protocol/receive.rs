//! RFC 6455 §5.4, §5.5, §6.2: assembles messages and control frames from the received bytes.
//!
//! ```text
//! unread   | header | complete payload  | header | start of payload |
//!                     unmasked in place,           unmasked and checked at once, then stored
//!                     borrowed by the caller       until the rest arrives in a later read
//! ```
//!
//! Rules of this file:
//!
//! - A message that lies entirely in the caller's buffer is not copied.
//! - Only incomplete messages are stored. Their buffer grows with the bytes that arrive, never with the length that a
//!   header announces.
//! - A limit is checked at the header that exceeds it, before the payload arrives.

use std::borrow::Cow;
use std::mem;

use crate::config::Config;
use crate::protocol::extension::Decoder;
use crate::protocol::frame::{Header, MAX_CONTROL, MAX_HEADER, Opcode, Role, Rsv};
use crate::protocol::mask;
use crate::protocol::message::{Message, MessageBuf};
use crate::protocol::utf8::{Text, Utf8Check};
use crate::protocol::violation::Violation;

/// What a [`MessageReader`] returns: a message assembled from its frames, a fragment, or a control frame.
#[derive(Debug, PartialEq, Eq)]
pub enum Incoming<'b> {
    /// A whole message.
    Message(MessageBuf<'b>),
    /// A fragment is complete, and more fragments of its message follow.
    Fragment,
    /// A ping and its payload data, which the pong must repeat.
    Ping(Cow<'b, [u8]>),
    /// A pong and its payload data.
    Pong(Cow<'b, [u8]>),
    /// A Close frame and its body, which is not checked yet.
    Close(Cow<'b, [u8]>),
}

/// Reads the frames of one peer and assembles its messages.
///
/// ```
/// use framewise::protocol::frame::Role;
/// use framewise::protocol::receive::{Incoming, MessageReader};
/// use framewise::{Config, Message};
///
/// let config = Config::default();
/// let mut reader = MessageReader::new(Role::Server);
/// // Two fragments with a ping between them.
/// let mut bytes = *b"\x01\x03Hel\x89\x00\x80\x02lo";
/// let mut unread = bytes.as_mut_slice();
/// assert_eq!(reader.next(&mut unread, &config)?, Some(Incoming::Fragment));
/// assert_eq!(reader.next(&mut unread, &config)?, Some(Incoming::Ping(b"".into())));
/// match reader.next(&mut unread, &config)? {
///     Some(Incoming::Message(message)) => assert_eq!(message.as_str(), Some("Hello")),
///     other => panic!("{other:?}"),
/// }
/// assert_eq!(reader.next(&mut unread, &config)?, None);
/// # Ok::<(), framewise::protocol::violation::Violation>(())
/// ```
#[derive(Debug)]
pub struct MessageReader {
    /// The side that sends the frames.
    sender: Role,
    /// The bytes of an incomplete header.
    header: [u8; MAX_HEADER],
    header_len: u8,
    /// The frame whose payload data is incomplete.
    frame: Option<OpenFrame>,
    /// The incomplete message.
    assembly: Option<Box<Assembly>>,
    /// The incomplete payload data of a control frame.
    control: Option<Box<ControlPayload>>,
    decoder: Decoder,
}

/// An incomplete frame: its header, and how many bytes of its payload have been processed.
#[derive(Clone, Copy, Debug)]
struct OpenFrame {
    header: Header,
    taken: u64,
}

/// The payload data of a control frame that arrives in pieces.
#[derive(Debug)]
struct ControlPayload {
    bytes: [u8; MAX_CONTROL],
    len: usize,
}

impl MessageReader {
    /// Creates a reader for the frames that `sender` sends.
    pub fn new(sender: Role) -> MessageReader {
        MessageReader {
            sender,
            header: [0; MAX_HEADER],
            header_len: 0,
            frame: None,
            assembly: None,
            control: None,
            decoder: Decoder::None,
        }
    }

    /// Sets the decoder for all messages that follow.
    pub(crate) fn set_decoder(&mut self, decoder: Decoder) {
        self.decoder = decoder;
    }

    /// Reads the next message or control frame from `unread`, and advances `unread` past the consumed bytes.
    ///
    /// `None` means that all bytes were consumed and more are needed. One read may contain many frames, so call this
    /// until it returns `None`.
    ///
    /// # Errors
    ///
    /// The peer broke a rule. The bytes that follow have no defined meaning, so do not call this again.
    #[inline]
    pub fn next<'b>(
        &mut self,
        unread: &mut &'b mut [u8],
        config: &Config,
    ) -> Result<Option<Incoming<'b>>, Violation> {
        if let Some(message) = self.next_whole(unread, config)? {
            return Ok(Some(Incoming::Message(message.into())));
        }
        self.next_piece(unread, config)
    }

    /// Fast path: returns an unfragmented data frame that lies entirely in `unread`.
    ///
    /// `None` only means that the fast path did not apply.
    ///
    /// # Errors
    ///
    /// The peer broke a rule.
    #[inline(always)]
    pub(crate) fn next_whole<'b>(
        &mut self,
        unread: &mut &'b mut [u8],
        config: &Config,
    ) -> Result<Option<Message<'b>>, Violation> {
        if self.is_mid_message() {
            return Ok(None);
        }
        if self.sender == Role::Client
            && let Some((opcode, length, key)) = Header::decode_short(unread)
            && 6 + length <= unread.len()
            && length <= config.limits.max_message
        {
            let (frame, rest) = mem::take(unread).split_at_mut(6 + length);
            *unread = rest;
            return whole_message(opcode, Some(key), &mut frame[6..]).map(Some);
        }
        if !matches!(unread.first(), Some(0x81 | 0x82)) {
            return Ok(None);
        }
        // The call gets a pointer to a copy of the slice, so that `unread` itself can stay in registers.
        let mut lent = mem::take(unread);
        let message = self.next_whole_of_any_length(&mut lent, config);
        *unread = lent;
        message
    }

    /// Does the same as [`next_whole`](MessageReader::next_whole), for a header of any length.
    #[inline(never)]
    fn next_whole_of_any_length<'b>(
        &self,
        unread: &mut &'b mut [u8],
        config: &Config,
    ) -> Result<Option<Message<'b>>, Violation> {
        let allowed = self.decoder.allowed();
        let Some((header, at)) = Header::decode(unread, self.sender, allowed)? else {
            return Ok(None);
        };
        let is_here = header.length <= (unread.len() - at) as u64;
        if !is_here || header.length > config.limits.max_message as u64 {
            return Ok(None);
        }
        let (frame, rest) = mem::take(unread).split_at_mut(at + header.length as usize);
        *unread = rest;
        whole_message(header.opcode, header.key, &mut frame[at..]).map(Some)
    }

    /// Slow path of [`next`](MessageReader::next): reads control frames, fragments and incomplete frames (§6.2-1, §10.7-1).
    pub(crate) fn next_piece<'b>(
        &mut self,
        unread: &mut &'b mut [u8],
        config: &Config,
    ) -> Result<Option<Incoming<'b>>, Violation> {
        let open = match self.frame.take() {
            Some(open) => open,
            None => {
                let Some(header) = self.next_header(unread)? else { return Ok(None) };
                self.check_against_message(&header, config)?;
                OpenFrame { header, taken: 0 }
            }
        };
        let OpenFrame { header, taken } = open;
        let missing = header.length - taken;
        let here = missing.min(unread.len() as u64) as usize;
        let (payload, rest) = mem::take(unread).split_at_mut(here);
        *unread = rest;
        // RFC 6455 §6.2-7, §5.3
        let is_ascii = header.key.is_some_and(|key| mask::apply(payload, key, taken));
        let is_last = here as u64 == missing;
        if !is_last {
            self.frame = Some(OpenFrame { header, taken: taken + here as u64 });
        }
        if header.opcode.is_control() {
            return Ok(self.control_frame(header.opcode, payload, taken == 0, is_last));
        }
        let assembly = self.assembly.as_mut().expect("the first header created it");
        let ends = is_last && header.fin;
        assembly.push(payload, is_ascii, ends, &mut self.decoder, config)?;
        // RFC 6455 §6.2-4: the next data frame begins a new message.
        if ends {
            let assembly = self.assembly.take().expect("the first header created it");
            return assembly.finish().map(|message| Some(Incoming::Message(message)));
        }
        Ok(is_last.then_some(Incoming::Fragment))
    }

    /// Reports whether a frame is incomplete. No other frame can arrive before its last byte.
    pub fn is_mid_frame(&self) -> bool {
        self.frame.is_some() || self.header_len > 0
    }

    /// Returns the reserved bits that the first frame of a message may set.
    pub(crate) fn allowed(&self) -> Rsv {
        self.decoder.allowed()
    }

    /// Returns how many bytes an extension has decoded since the last call.
    #[inline]
    pub(crate) fn take_work(&mut self) -> u32 {
        self.decoder.take_work()
    }

    /// Returns the capacity in bytes of the buffers for an incomplete message, and the memory of the extension.
    #[inline]
    pub(crate) fn held(&self) -> usize {
        let assembly = self.assembly.as_ref();
        assembly.map_or(0, |assembly| assembly.bytes.capacity()) + self.decoder.held()
    }

    #[inline]
    fn is_mid_message(&self) -> bool {
        self.frame.is_some() || self.assembly.is_some() || self.header_len > 0
    }

    /// Reads the next header from `unread`, after the bytes of it that earlier reads left over. Returns `None` while
    /// the header is incomplete.
    fn next_header(&mut self, unread: &mut &mut [u8]) -> Result<Option<Header>, Violation> {
        if self.header_len == 0
            && let Some((header, length)) =
                Header::decode(unread, self.sender, self.decoder.allowed())?
        {
            *unread = &mut mem::take(unread)[length..];
            return Ok(Some(header));
        }
        self.complete_header(unread)
    }

    /// Slow path: reads a header that is split between reads, byte by byte.
    #[cold]
    fn complete_header(&mut self, unread: &mut &mut [u8]) -> Result<Option<Header>, Violation> {
        while let Some((&mut byte, rest)) = mem::take(unread).split_first_mut() {
            *unread = rest;
            self.header[usize::from(self.header_len)] = byte;
            self.header_len += 1;
            let so_far = &self.header[..usize::from(self.header_len)];
            if let Some((header, _)) = Header::decode(so_far, self.sender, self.decoder.allowed())?
            {
                self.header_len = 0;
                return Ok(Some(header));
            }
        }
        Ok(None)
    }

    /// Checks that a data frame may follow the frames before it (§5.4), and that its message stays within the limits.
    /// The first frame of a message creates the assembly.
    fn check_against_message(&mut self, header: &Header, config: &Config) -> Result<(), Violation> {
        if header.opcode.is_control() {
            // RFC 6455 §5.4-1, §5.4-5: control frames may come between fragments.
            return Ok(());
        }
        // RFC 6455 §5.4-7: every other combination is valid.
        match (&self.assembly, header.opcode) {
            // RFC 6455 §5.4-4, §5.4-12
            (None, Opcode::Continuation) => return Err(Violation::NothingToContinue),
            (Some(_), Opcode::Text | Opcode::Binary) => return Err(Violation::MessageInterrupted),
            _ => {}
        }
        let assembly = self.assembly.get_or_insert_with(|| Box::new(Assembly::new(header)));
        // RFC 6455 §10.4-1, §10.4-2: the subtraction cannot wrap, because `on_wire` never exceeds the limit.
        if header.length > config.limits.max_message as u64 - assembly.on_wire {
            return Err(Violation::MessageTooBig);
        }
        assembly.on_wire += header.length;
        assembly.fragments += 1;
        // RFC 6455 §10.4-2: an unfragmented message does not count as a fragment.
        let is_fragment = !header.fin || assembly.fragments > 1;
        if is_fragment && assembly.fragments as usize > config.limits.max_fragments {
            return Err(Violation::TooManyFragments);
        }
        Ok(())
    }

    /// Returns the control frame once its payload is complete. A payload in one piece is borrowed. Otherwise its pieces
    /// are copied until the last one arrives.
    fn control_frame<'b>(
        &mut self,
        opcode: Opcode,
        payload: &'b [u8],
        is_first: bool,
        is_last: bool,
    ) -> Option<Incoming<'b>> {
        let payload = if is_first && is_last {
            Cow::Borrowed(payload)
        } else {
            let control = self.control.get_or_insert_with(|| {
                Box::new(ControlPayload { bytes: [0; MAX_CONTROL], len: 0 })
            });
            control.bytes[control.len..][..payload.len()].copy_from_slice(payload);
            control.len += payload.len();
            if !is_last {
                return None;
            }
            let control = self.control.take().expect("collected above");
            Cow::Owned(control.bytes[..control.len].to_vec())
        };
        Some(match opcode {
            Opcode::Ping => Incoming::Ping(payload),
            Opcode::Pong => Incoming::Pong(payload),
            _ => Incoming::Close(payload),
        })
    }
}

/// Unmasks and checks the payload of a complete, unfragmented frame and returns the message.
#[inline(always)]
fn whole_message(
    opcode: Opcode,
    key: Option<[u8; 4]>,
    payload: &mut [u8],
) -> Result<Message<'_>, Violation> {
    // RFC 6455 §6.2-7, §5.3
    let is_ascii = match key {
        Some(key) => mask::apply(payload, key, 0),
        None => payload.is_ascii(),
    };
    if opcode == Opcode::Binary {
        return Ok(Message::Binary(payload));
    }
    // RFC 6455 §8.1-1, §5.6-1
    match Text::after_unmasking(payload, is_ascii) {
        Ok(text) => Ok(Message::Text(text)),
        Err(_) => Err(Violation::InvalidUtf8),
    }
}

/// An incomplete message. The bytes that have arrived are unmasked, decoded and checked.
#[derive(Debug)]
struct Assembly {
    is_text: bool,
    /// Whether the first frame has the bit of the extension, so that the message must be decoded.
    is_encoded: bool,
    bytes: Vec<u8>,
    utf8: Utf8Check,
    /// Number of frames so far.
    fragments: u32,
    /// Sum of the payload lengths in the headers of these frames, in bytes.
    on_wire: u64,
}

impl Assembly {
    fn new(first: &Header) -> Assembly {
        Assembly {
            // RFC 6455 §6.2-3
            is_text: first.opcode == Opcode::Text,
            is_encoded: !first.rsv.is_empty(),
            bytes: Vec::new(),
            utf8: Utf8Check::default(),
            fragments: 0,
            on_wire: 0,
        }
    }

    /// Decodes and adds a piece of payload data. If `is_ascii` is true, the UTF-8 check may be skipped.
    fn push(
        &mut self,
        payload: &[u8],
        is_ascii: bool,
        ends: bool,
        decoder: &mut Decoder,
        config: &Config,
    ) -> Result<(), Violation> {
        if !self.is_encoded {
            return self.keep(payload, is_ascii, config);
        }
        decoder.decode(payload, ends, |decoded| self.keep(decoded, false, config))
    }

    /// Checks and stores a decoded piece of the message.
    fn keep(&mut self, piece: &[u8], is_ascii: bool, config: &Config) -> Result<(), Violation> {
        // RFC 6455 §10.4-1: decoded data can be longer than the headers announced.
        if piece.len() > config.limits.max_message - self.bytes.len() {
            return Err(Violation::MessageTooBig);
        }
        // RFC 6455 §8.1-1, §5.6-1
        if self.is_text && self.utf8.push_after_unmasking(piece, is_ascii).is_err() {
            return Err(Violation::InvalidUtf8);
        }
        if self.bytes.try_reserve(piece.len()).is_err() {
            return Err(Violation::MessageMemory);
        }
        // RFC 6455 §5.4-3
        self.bytes.extend_from_slice(piece);
        Ok(())
    }

    fn finish(self) -> Result<MessageBuf<'static>, Violation> {
        if self.is_text && self.utf8.finish().is_err() {
            return Err(Violation::InvalidUtf8);
        }
        Ok(MessageBuf::assembled(self.is_text, self.bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(text: &'static str) -> Incoming<'static> {
        Incoming::Message(text.into())
    }

    /// RFC 6455 §5.7: an unfragmented, then a fragmented "Hello" from a server, split at every position.
    #[test]
    fn the_examples_of_the_standard_arrive_whole_at_every_cut() {
        let wire = b"\x81\x05Hello\x01\x03Hel\x89\x02hi\x80\x02lo";
        for cut in 0..=wire.len() {
            let mut reader = MessageReader::new(Role::Server);
            let (mut first, mut second) = (wire[..cut].to_vec(), wire[cut..].to_vec());
            let mut seen = Vec::new();
            for bytes in [&mut first, &mut second] {
                let mut unread = bytes.as_mut_slice();
                while let Some(incoming) =
                    reader.next(&mut unread, &Config::default()).expect("valid")
                {
                    seen.push(format!("{incoming:?}"));
                }
                assert!(unread.is_empty());
            }
            let ping = Incoming::Ping(Cow::Borrowed(b"hi"));
            let expected = [text("Hello"), Incoming::Fragment, ping, text("Hello")];
            assert_eq!(seen, expected.map(|incoming| format!("{incoming:?}")), "cut at {cut}");
            assert!(!reader.is_mid_frame());
            assert_eq!(reader.held(), 0);
        }
    }

    /// CVE-2022-35922: memory grows with the bytes that arrive, not with the length that a header announces.
    #[test]
    fn cve_2022_35922_an_announced_length_allocates_nothing() {
        let config = Config::default().limits(|limits| limits.max_message = 1 << 30);
        let mut reader = MessageReader::new(Role::Server);
        let mut wire = *b"\x82\x7f\x00\x00\x00\x00\x3f\xff\xff\xffabc";
        assert_eq!(reader.next(&mut wire.as_mut_slice(), &config), Ok(None));
        assert!((3..64).contains(&reader.held()), "{}", reader.held());
    }

    /// CVE-2020-27813: the running total of fragments cannot wrap past the limit.
    #[test]
    fn cve_2020_27813_the_sum_of_fragments_cannot_wrap() {
        let mut wire = *b"\x02\x01a\x80\x7f\x7f\xff\xff\xff\xff\xff\xff\xff";
        let mut reader = MessageReader::new(Role::Server);
        let mut unread = wire.as_mut_slice();
        assert_eq!(reader.next(&mut unread, &Config::default()), Ok(Some(Incoming::Fragment)));
        let too_big = reader.next(&mut unread, &Config::default());
        assert_eq!(too_big, Err(Violation::MessageTooBig));
    }
}
