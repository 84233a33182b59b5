//! RFC 6455 §5.4, §5.5, §6.2: bytes in, whole messages and control frames out.
//!
//! ```text
//! unread   | header | payload, all here | header | payload, begun |
//!                     unmasked in place,           unmasked and checked at once, then kept
//!                     borrowed by the caller       until the rest arrives in a later read
//! ```
//!
//! Rules of this file: the caller's buffer is the only one as long as a message is whole in it; only
//! leftovers are stored, and they grow by what has arrived, never by what a header announces; every limit
//! is judged at the header that crosses it.

use std::borrow::Cow;
use std::mem;

use crate::config::Config;
use crate::protocol::frame::{Header, MAX_HEADER, Opcode, Role};
use crate::protocol::mask;
use crate::protocol::message::{Message, Partial, Received};
use crate::protocol::utf8;
use crate::protocol::violation::Violation;

/// What a peer sent: a message put together from its frames, or one control frame.
#[derive(Debug, PartialEq, Eq)]
pub enum Incoming<'b> {
    /// A whole message.
    Message(Received<'b>),
    /// A ping and its payload data, which the pong repeats.
    Ping(Cow<'b, [u8]>),
    /// A pong and its payload data.
    Pong(Cow<'b, [u8]>),
    /// A Close frame and its body, not yet checked.
    Close(Cow<'b, [u8]>),
}

/// Reads the frames of one peer.
#[derive(Debug)]
pub struct Receiver {
    /// The end whose frames arrive here.
    sender: Role,
    /// The first bytes of a header that is not whole yet.
    header: [u8; MAX_HEADER],
    header_len: u8,
    /// The frame whose payload data has not all arrived.
    frame: Option<Begun>,
    /// The message that is being put together.
    message: Option<Partial>,
    /// Frames of that message so far.
    fragments: u32,
    /// Payload data of a control frame that has not all arrived: at most 124 bytes.
    control: Vec<u8>,
}

/// A frame whose header is known and of whose payload `taken` bytes have gone by.
#[derive(Clone, Copy, Debug)]
struct Begun {
    header: Header,
    taken: u64,
}

impl Receiver {
    /// A receiver of the frames that `sender` sends.
    pub fn new(sender: Role) -> Receiver {
        Receiver {
            sender,
            header: [0; MAX_HEADER],
            header_len: 0,
            frame: None,
            message: None,
            fragments: 0,
            control: Vec::new(),
        }
    }

    /// Takes the next message or control frame from `unread`, which shrinks by the bytes that were used.
    ///
    /// `None` means that all bytes were used and more are needed. Call again until then: one read may
    /// hold many frames.
    ///
    /// # Errors
    ///
    /// The peer broke a rule. Nothing after that byte has a meaning, so do not call again.
    #[inline]
    pub fn next<'b>(
        &mut self,
        unread: &mut &'b mut [u8],
        config: &Config,
    ) -> Result<Option<Incoming<'b>>, Violation> {
        if let Some(message) = self.next_whole(unread, config)? {
            return Ok(Some(Incoming::Message(Received::borrowed(message))));
        }
        self.next_piece(unread, config)
    }

    /// What most reads are made of: a message of one frame, all of it here. `None` if there is anything else.
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
        if self.frame.is_some() || self.message.is_some() || self.header_len > 0 {
            return Ok(None);
        }
        let Some((header, at)) = Header::decode(unread, self.sender)? else { return Ok(None) };
        let is_message = header.fin && matches!(header.opcode, Opcode::Text | Opcode::Binary);
        let is_here = header.length <= (unread.len() - at) as u64;
        if !is_message || !is_here || header.length > config.max_message as u64 {
            return Ok(None);
        }
        let (frame, rest) = mem::take(unread).split_at_mut(at + header.length as usize);
        *unread = rest;
        let payload = &mut frame[at..];
        // RFC 6455 §6.2-7, §5.3
        if let Some(key) = header.key {
            mask::apply(payload, key, 0);
        }
        if header.opcode == Opcode::Binary {
            return Ok(Some(Message::Binary(payload)));
        }
        // RFC 6455 §8.1-1, §5.6-1
        match utf8::validate(payload) {
            Ok(text) => Ok(Some(Message::Text(text))),
            Err(_) => Err(Violation::InvalidUtf8),
        }
    }

    /// Anything else: control frames, fragments, and frames that have not all arrived.
    fn next_piece<'b>(
        &mut self,
        unread: &mut &'b mut [u8],
        config: &Config,
    ) -> Result<Option<Incoming<'b>>, Violation> {
        loop {
            let begun = match self.frame.take() {
                Some(begun) => begun,
                None => {
                    let Some(header) = self.next_header(unread)? else { return Ok(None) };
                    self.check_against_message(&header, config)?;
                    Begun { header, taken: 0 }
                }
            };
            let Begun { header, taken } = begun;
            let missing = header.length - taken;
            let here = missing.min(unread.len() as u64) as usize;
            let (payload, rest) = mem::take(unread).split_at_mut(here);
            *unread = rest;
            // RFC 6455 §6.2-7, §5.3
            if let Some(key) = header.key {
                mask::apply(payload, key, taken);
            }
            let last = here as u64 == missing;
            if header.opcode.is_control() {
                let Some(payload) = self.control_payload(payload, begun, last) else {
                    return Ok(None);
                };
                return Ok(Some(match header.opcode {
                    Opcode::Ping => Incoming::Ping(payload),
                    Opcode::Pong => Incoming::Pong(payload),
                    _ => Incoming::Close(payload),
                }));
            }
            let message = self.message.get_or_insert_with(|| Partial::new(header.opcode));
            message.push(payload).map_err(|_| Violation::InvalidUtf8)?;
            if !last {
                self.frame = Some(Begun { header, taken: taken + here as u64 });
                return Ok(None);
            }
            if header.fin {
                self.fragments = 0;
                let message = self.message.take().expect("a piece was just added to it").finish();
                let message = message.map_err(|_| Violation::InvalidUtf8)?;
                return Ok(Some(Incoming::Message(message)));
            }
        }
    }

    /// Whether a frame has begun and not ended: nothing else can arrive before its last byte.
    pub fn is_mid_frame(&self) -> bool {
        self.frame.is_some() || self.header_len > 0
    }

    /// A whole header, from `unread` alone or from what earlier reads left over.
    fn next_header(&mut self, unread: &mut &mut [u8]) -> Result<Option<Header>, Violation> {
        if self.header_len == 0
            && let Some((header, length)) = Header::decode(unread, self.sender)?
        {
            *unread = &mut mem::take(unread)[length..];
            return Ok(Some(header));
        }
        self.complete_header(unread)
    }

    /// The slow way: a header that straddles reads, byte by byte.
    #[cold]
    fn complete_header(&mut self, unread: &mut &mut [u8]) -> Result<Option<Header>, Violation> {
        while let Some((&mut byte, rest)) = mem::take(unread).split_first_mut() {
            *unread = rest;
            self.header[usize::from(self.header_len)] = byte;
            self.header_len += 1;
            let so_far = &self.header[..usize::from(self.header_len)];
            if let Some((header, _)) = Header::decode(so_far, self.sender)? {
                self.header_len = 0;
                return Ok(Some(header));
            }
        }
        Ok(None)
    }

    /// What a data frame may be after the ones before it (§5.4), and how large the message may grow.
    fn check_against_message(&mut self, header: &Header, config: &Config) -> Result<(), Violation> {
        if header.opcode.is_control() {
            // RFC 6455 §5.4-1, §5.4-5: control frames may stand between fragments.
            return Ok(());
        }
        let so_far = match (&self.message, header.opcode) {
            // RFC 6455 §5.4-4, §5.4-12
            (None, Opcode::Continuation) => return Err(Violation::NothingToContinue),
            (None, _) => 0,
            (Some(message), Opcode::Continuation) => message.len(),
            (Some(_), _) => return Err(Violation::MessageInterrupted),
        };
        // RFC 6455 §10.4-1, §10.4-2: by subtraction, which cannot wrap: `so_far` is within the limit.
        if header.length > (config.max_message - so_far) as u64 {
            return Err(Violation::MessageTooBig);
        }
        if !header.fin || self.message.is_some() {
            self.fragments += 1;
            if self.fragments as usize > config.max_fragments {
                return Err(Violation::TooManyFragments);
            }
        }
        Ok(())
    }

    /// The payload of a control frame: borrowed when it is whole here, else collected.
    fn control_payload<'b>(
        &mut self,
        payload: &'b [u8],
        begun: Begun,
        last: bool,
    ) -> Option<Cow<'b, [u8]>> {
        if last && begun.taken == 0 {
            return Some(Cow::Borrowed(payload));
        }
        self.control.extend_from_slice(payload);
        if last {
            return Some(Cow::Owned(mem::take(&mut self.control)));
        }
        self.frame = Some(Begun { taken: begun.taken + payload.len() as u64, ..begun });
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(text: &'static str) -> Incoming<'static> {
        Incoming::Message(Received::Text(Cow::Borrowed(text)))
    }

    /// RFC 6455 §5.7: an unfragmented, then a fragmented "Hello" from a server, at every cut.
    #[test]
    fn the_examples_of_the_standard_arrive_whole_at_every_cut() {
        let wire = b"\x81\x05Hello\x01\x03Hel\x89\x02hi\x80\x02lo";
        for cut in 0..=wire.len() {
            let mut receiver = Receiver::new(Role::Server);
            let (mut first, mut second) = (wire[..cut].to_vec(), wire[cut..].to_vec());
            let mut seen = Vec::new();
            for bytes in [&mut first, &mut second] {
                let mut unread = bytes.as_mut_slice();
                while let Some(incoming) =
                    receiver.next(&mut unread, &Config::default()).expect("valid")
                {
                    seen.push(format!("{incoming:?}"));
                }
                assert!(unread.is_empty());
            }
            let expected = [text("Hello"), Incoming::Ping(Cow::Borrowed(b"hi")), text("Hello")];
            assert_eq!(seen, expected.map(|incoming| format!("{incoming:?}")), "cut at {cut}");
            assert!(!receiver.is_mid_frame());
        }
    }

    /// CVE-2022-35922: memory follows what arrives, not what a header announces.
    #[test]
    fn cve_2022_35922_an_announced_length_allocates_nothing() {
        let config = Config { max_message: 1 << 30, ..Config::default() };
        let mut receiver = Receiver::new(Role::Server);
        let mut wire = *b"\x82\x7f\x00\x00\x00\x00\x3f\xff\xff\xffabc";
        assert_eq!(receiver.next(&mut wire.as_mut_slice(), &config), Ok(None));
        let Some(Partial::Binary(bytes)) = &receiver.message else { panic!("a message has begun") };
        assert!(bytes.capacity() < 64, "{}", bytes.capacity());
    }

    /// CVE-2020-27813: the running total of fragments cannot wrap past the limit.
    #[test]
    fn cve_2020_27813_the_sum_of_fragments_cannot_wrap() {
        let mut wire = *b"\x02\x01a\x80\x7f\x7f\xff\xff\xff\xff\xff\xff\xff";
        let mut receiver = Receiver::new(Role::Server);
        let answer = receiver.next(&mut wire.as_mut_slice(), &Config::default());
        assert_eq!(answer, Err(Violation::MessageTooBig));
    }
}
