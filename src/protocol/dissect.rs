//! RFC 6455 §5.2, §4: labels each byte with its meaning, according to the parsers that the connection uses.
//!
//! ```text
//! 81      85      37 fa 21 3d    7f 9f 4d 51 58    |  81 05 ...
//! '-- header --'  '- its key -'  '- payload -'     |  '- breaks a rule -'  then: not read
//! FIN opcode MASK length          clear: Hello     |
//! ```
//!
//! Rules of this file:
//!
//! - This file contains no protocol rules of its own. `frame.rs` decides where a frame ends. `receive.rs` and
//!   `close.rs` get the same bytes and decide whether a rule is broken. `handshake/` decides about requests and responses.
//! - Every byte belongs to exactly one finding, and the findings are in order.
//! - After a broken rule, the remaining bytes are reported as not read.

use std::collections::VecDeque;
use std::mem;
use std::sync::{Arc, OnceLock};

use crate::config::ValidConfig;
use crate::protocol::close;
use crate::protocol::extension::Seen;
use crate::protocol::frame::{Header, Opcode, Role};
use crate::protocol::handshake::client::{Expected, Rejection, is_http_1_0, judge};
use crate::protocol::handshake::server::validate;
use crate::protocol::http::fields::Fields;
use crate::protocol::http::head::HeadReader;
use crate::protocol::http::request::Request;
use crate::protocol::message::{Message, MessageBuf};
use crate::protocol::receive::{Incoming, MessageReader};
use crate::protocol::refusal::Refusal;
use crate::protocol::violation::Violation;

/// The meaning of some bytes, as [`Dissector::feed`] reports it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Finding<'a> {
    /// An empty line before a request line, which a server skips.
    EmptyLine(&'a [u8]),
    /// The first line of a head, with its line end.
    StartLine(&'a [u8]),
    /// A header field, with its line end.
    Field(&'a [u8]),
    /// The empty line that ends a head.
    HeadEnd(&'a [u8]),
    /// Part of the body of a response that does not open a WebSocket. The head of the next response may follow it.
    Body(&'a [u8]),
    /// A frame header. [`header_bits::fields`](crate::protocol::header_bits::fields) labels its bits.
    Header {
        /// The decoded header.
        header: Header,
        /// Its bytes.
        wire: &'a [u8],
    },
    /// Payload data, or the next piece of it if it arrives in pieces.
    Payload {
        /// The header of its frame.
        header: Header,
        /// Offset of this piece in the payload, in bytes.
        at: u64,
        /// The bytes as they arrived.
        wire: &'a [u8],
        /// The unmasked bytes, as many as in `wire`.
        clear: &'a [u8],
    },
    /// No bytes: the message that an extension has decoded from the payload data up to here. Only messages whose first frame
    /// has RSV1 set have one.
    Decoded(Message<'a>),
    /// No bytes: the frame with this header is complete and breaks no rule.
    Valid(Header),
    /// No bytes: the head is complete and breaks no rule. A `handshake` opens a WebSocket, other heads are plain HTTP. Whether
    /// a response fits its request is only checked after [`Dissector::responds_to`].
    ValidHead {
        /// Whether it is part of an opening handshake.
        handshake: bool,
    },
    /// A head, up to and including the byte that breaks a rule.
    BadHead(&'a [u8]),
    /// A frame header, up to and including the byte that breaks a rule.
    BadHeader(&'a [u8]),
    /// No bytes: the rule that the preceding bytes break.
    Broken(Fault),
    /// Bytes that a receiver does not read, because they follow a broken rule, a Close, or the last request or response of
    /// a connection that does not open a WebSocket.
    NotRead(&'a [u8]),
    /// An incomplete head at the end of the input.
    IncompleteHead(&'a [u8]),
    /// An incomplete frame header at the end of the input.
    IncompleteHeader(&'a [u8]),
    /// No bytes: the input ends in the middle of a payload.
    IncompletePayload,
    /// No bytes: the input ends in the middle of the body of a response.
    IncompleteBody,
}

/// The broken rule of a [`Finding::Broken`], as a [`Dissector`] reports it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fault {
    /// A rule of the opening handshake that a request breaks (§4.2.1).
    Refusal(Refusal),
    /// A rule of the opening handshake that a response breaks (§4.1).
    Rejection(Rejection),
    /// A rule of frames and messages (§5).
    Violation(Violation),
}

impl<'a> Finding<'a> {
    /// Returns the bytes of the finding as they arrived.
    pub fn wire(&self) -> &'a [u8] {
        match *self {
            Finding::EmptyLine(wire)
            | Finding::StartLine(wire)
            | Finding::Field(wire)
            | Finding::HeadEnd(wire)
            | Finding::Body(wire)
            | Finding::BadHead(wire)
            | Finding::BadHeader(wire)
            | Finding::NotRead(wire)
            | Finding::IncompleteHead(wire)
            | Finding::IncompleteHeader(wire)
            | Finding::Header { wire, .. }
            | Finding::Payload { wire, .. } => wire,
            Finding::Decoded(_)
            | Finding::Valid(_)
            | Finding::ValidHead { .. }
            | Finding::Broken(_)
            | Finding::IncompletePayload
            | Finding::IncompleteBody => &[],
        }
    }
}

/// Labels the bytes of one direction of a connection. How the bytes are split into pieces does not matter.
///
/// ```
/// use framewise::Config;
/// use framewise::protocol::dissect::{Dissector, Finding};
/// use framewise::protocol::frame::Role;
///
/// let config = Config::default().validate()?;
/// let mut dissector = Dissector::of_frames(Role::Client, config);
/// let mut text = Vec::new();
/// dissector.feed(b"\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58", &mut |finding| {
///     if let Finding::Payload { clear, .. } = finding {
///         text.extend_from_slice(clear);
///     }
/// });
/// assert_eq!(text, b"Hello");
/// # Ok::<(), framewise::config::ConfigError>(())
/// ```
#[derive(Debug)]
pub struct Dissector {
    sender: Role,
    config: ValidConfig,
    reading: Reading,
    /// The bytes of an incomplete head or frame header.
    kept: Vec<u8>,
    reader: MessageReader,
    /// The last bytes of the current message, at most three, because a code point may be split between pieces.
    last: Vec<u8>,
    /// The extension that the handshake negotiated, which the server's response names. Both directions share it.
    extension: Arc<OnceLock<Seen>>,
    /// Whether the reader has the decoder of the extension.
    can_decode: bool,
    /// Whether the current message is encoded.
    is_encoded: bool,
    /// Plain requests so far.
    requests: usize,
    /// For each plain request that has no response yet, whether it is a HEAD. At most `max_requests`.
    unanswered: VecDeque<bool>,
    /// What the response to the opening handshake must contain, if the request is known.
    expected: Option<Expected>,
    /// Interim responses before the response that comes next.
    interim: usize,
}

#[derive(Debug)]
enum Reading {
    Head(HeadReader),
    Header,
    Payload {
        header: Header,
        taken: u64,
    },
    /// The body of a response.
    Body {
        /// How many bytes follow, or `None` for all that follow.
        left: Option<u64>,
        /// Whether it is the last response.
        is_last: bool,
    },
    Nothing,
}

impl Dissector {
    /// Creates a dissector for everything that `sender` sends: a head, then frames. The limits are those of `config`.
    #[must_use]
    pub fn new(sender: Role, config: ValidConfig) -> Dissector {
        let mut dissector = Dissector::of_frames(sender, config);
        dissector.reading = Reading::Head(HeadReader::default());
        dissector
    }

    /// Creates a dissector for the frames that `sender` sends on an open connection.
    #[must_use]
    pub fn of_frames(sender: Role, config: ValidConfig) -> Dissector {
        let reader = MessageReader::new(sender);
        let (kept, last, unanswered) = (Vec::new(), Vec::new(), VecDeque::new());
        Dissector {
            sender,
            config,
            reading: Reading::Header,
            kept,
            reader,
            last,
            extension: Arc::default(),
            can_decode: false,
            is_encoded: false,
            requests: 0,
            unanswered,
            expected: None,
            interim: 0,
        }
    }

    /// Tells the dissector of a server's bytes which requests the client has sent. It then finds the end of each response,
    /// because the response to a HEAD has no body, whatever its `Content-Length` says. It also checks that the response to an
    /// opening handshake matches the key and the offered subprotocols; an offer with an asterisk may stand for any name,
    /// because recordings have asterisks in place of secrets. In turn, `requests`, the dissector of the client's bytes, learns
    /// from the response which extension was negotiated. Call this before [`feed`](Dissector::feed) gets the responses.
    ///
    /// ```
    /// use framewise::Config;
    /// use framewise::protocol::dissect::{Dissector, Finding};
    /// use framewise::protocol::frame::Role;
    ///
    /// let config = Config::default().validate()?;
    /// let mut client = Dissector::new(Role::Client, config.clone());
    /// let mut server = Dissector::new(Role::Server, config);
    /// client.feed(b"HEAD / HTTP/1.1\r\nHost: h\r\n\r\n", &mut |_| {});
    /// server.responds_to(&mut client);
    /// let mut heads = 0;
    /// let response = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n";
    /// server.feed(&response.repeat(2), &mut |finding| {
    ///     heads += usize::from(matches!(finding, Finding::HeadEnd(_)));
    /// });
    /// assert_eq!(heads, 2);
    /// # Ok::<(), framewise::config::ConfigError>(())
    /// ```
    pub fn responds_to(&mut self, requests: &mut Dissector) {
        self.unanswered.append(&mut requests.unanswered);
        self.expected = requests.expected.take().or(self.expected.take());
        requests.extension = Arc::clone(&self.extension);
    }

    /// Sets the extension that the opening handshake has negotiated, for input without the response. `value` is that of the
    /// response's `Sec-WebSocket-Extensions`.
    ///
    /// Returns `false` and changes nothing if no client of this library can have offered that, or if an extension is known
    /// already. Without the feature `deflate`, no extension is known.
    ///
    /// ```
    /// # #[cfg(feature = "deflate")] {
    /// use framewise::protocol::dissect::{Dissector, Finding};
    /// use framewise::protocol::frame::Role;
    /// use framewise::{Config, Message};
    ///
    /// let mut dissector = Dissector::of_frames(Role::Server, Config::default().validate()?);
    /// assert!(dissector.set_extensions("permessage-deflate"));
    /// let mut is_shown = false;
    /// dissector.feed(b"\xc1\x07\xf2\x48\xcd\xc9\xc9\x07\x00", &mut |finding| {
    ///     is_shown |= *finding == Finding::Decoded(Message::from("Hello"));
    /// });
    /// assert!(is_shown);
    /// # }
    /// # Ok::<(), framewise::config::ConfigError>(())
    /// ```
    pub fn set_extensions(&mut self, value: &str) -> bool {
        Seen::in_value(value.as_bytes()).is_some_and(|seen| self.extension.set(seen).is_ok())
    }

    /// Begins again with the next message, because bytes are missing before it. Only what the opening handshake has negotiated is
    /// kept. If the sender compresses with a context, its messages cannot be decompressed from here on.
    pub fn resume(&mut self) {
        let extension = Arc::clone(&self.extension);
        *self = Dissector { extension, ..Dissector::of_frames(self.sender, self.config.clone()) };
    }

    /// Labels the next bytes and calls `show` with each finding. A head or a frame header is only shown once it is
    /// complete.
    pub fn feed(&mut self, mut bytes: &[u8], show: &mut impl FnMut(&Finding<'_>)) {
        while !bytes.is_empty() {
            let used = match &self.reading {
                Reading::Head(_) => self.feed_head(bytes, show),
                Reading::Header => self.feed_header(bytes, show),
                Reading::Payload { .. } => self.feed_payload(bytes, show),
                Reading::Body { .. } => self.feed_body(bytes, show),
                Reading::Nothing => {
                    show(&Finding::NotRead(bytes));
                    bytes.len()
                }
            };
            bytes = &bytes[used..];
        }
    }

    /// Ends the input. Calls `show` with the incomplete head or frame, if there is one.
    pub fn finish(&mut self, show: &mut impl FnMut(&Finding<'_>)) {
        let kept = mem::take(&mut self.kept);
        match self.reading {
            Reading::Head(_) if !kept.is_empty() => show(&Finding::IncompleteHead(&kept)),
            Reading::Header if !kept.is_empty() => show(&Finding::IncompleteHeader(&kept)),
            Reading::Payload { .. } => show(&Finding::IncompletePayload),
            Reading::Body { left: Some(_), .. } => show(&Finding::IncompleteBody),
            _ => {}
        }
    }

    fn feed_head(&mut self, bytes: &[u8], show: &mut impl FnMut(&Finding<'_>)) -> usize {
        let Reading::Head(reader) = &mut self.reading else { return 0 };
        let before = reader.examined();
        let end = reader.find_end(bytes, &self.config);
        let used = reader.examined() - before;
        self.kept.extend_from_slice(&bytes[..used]);
        match end {
            Ok(None) => {}
            Ok(Some(_)) => {
                let head = mem::take(&mut self.kept);
                show_lines(&head, show);
                self.reading = match self.sender {
                    Role::Client => self.check_request(&head, show),
                    Role::Server => self.check_response(&head, show),
                };
            }
            Err(refusal) => {
                show(&Finding::BadHead(&mem::take(&mut self.kept)));
                let fault = match self.sender {
                    Role::Client => Fault::Refusal(refusal),
                    Role::Server => Fault::Rejection(Rejection::Malformed(refusal)),
                };
                self.end(fault, show);
            }
        }
        used
    }

    fn check_request(&mut self, head: &[u8], show: &mut impl FnMut(&Finding<'_>)) -> Reading {
        let request = Request::parse(head).and_then(|request| {
            let is_handshake = request.is_handshake();
            let handshake = is_handshake.then(|| validate(&request, &self.config)).transpose()?;
            Ok((handshake.map(|handshake| handshake.expected()), request))
        });
        match request {
            Ok((Some(expected), _)) => {
                self.expected = Some(expected);
                show(&Finding::ValidHead { handshake: true });
                Reading::Header
            }
            Ok((None, request)) => {
                show(&Finding::ValidHead { handshake: false });
                self.requests += 1;
                self.unanswered.push_back(request.method() == "HEAD");
                match request.keeps_alive() && self.requests < self.config.limits.max_requests {
                    true => Reading::Head(HeadReader::default()),
                    false => Reading::Nothing,
                }
            }
            Err(refusal) => {
                show(&Finding::Broken(Fault::Refusal(refusal)));
                Reading::Nothing
            }
        }
    }

    fn check_response(&mut self, head: &[u8], show: &mut impl FnMut(&Finding<'_>)) -> Reading {
        let expected = self.expected.as_ref();
        let may_extend = expected.is_none_or(|expected| expected.may_extend);
        let check = |fields: &Fields<'_>| Seen::in_response(fields, may_extend);
        let Some(judged) = judge(Ok(head), &mut self.interim, expected, check) else {
            show(&Finding::ValidHead { handshake: false });
            return Reading::Head(HeadReader::default());
        };
        self.interim = 0;
        match judged {
            Ok((_, seen)) => {
                self.expected = None;
                if let Some(seen) = seen {
                    // A connection has one opening handshake.
                    let _ = self.extension.set(seen);
                }
                show(&Finding::ValidHead { handshake: true });
                Reading::Header
            }
            // A WebSocket client has no use for plain HTTP, but it breaks no rule.
            Err(Rejection::Status(_) | Rejection::Redirect { .. }) => {
                self.after_response(head, show)
            }
            Err(Rejection::StatusLine) if is_http_1_0(head) => self.after_response(head, show),
            Err(rejection) => {
                show(&Finding::Broken(Fault::Rejection(rejection)));
                Reading::Nothing
            }
        }
    }

    /// Returns what comes after the head of a final response that does not open a WebSocket (RFC 9112 6.3, 9.3).
    fn after_response(&mut self, head: &[u8], show: &mut impl FnMut(&Finding<'_>)) -> Reading {
        show(&Finding::ValidHead { handshake: false });
        let is_to_head = self.unanswered.pop_front().unwrap_or(false);
        let (line, lines) = match head.iter().position(|&byte| byte == b'\n') {
            Some(end) => head.split_at(end + 1),
            None => (head, &[][..]),
        };
        let fields = Fields::parse(lines).unwrap_or_default();
        let status = line.split(|&byte| byte == b' ').nth(1).map(<[u8]>::trim_ascii_end);
        let has_body = !is_to_head && !matches!(status, Some(b"204" | b"304"));
        let length = fields.only("content-length").ok().flatten();
        let length = length.and_then(|length| str::from_utf8(length).ok()?.parse().ok());
        let left = match length {
            _ if !has_body => Some(0),
            Some(length) if fields.first("transfer-encoding").is_none() => Some(length),
            _ => None,
        };
        let is_last = line.starts_with(b"HTTP/1.0") || fields.has_token("connection", "close");
        Reading::after_body(left, is_last)
    }

    fn feed_body(&mut self, bytes: &[u8], show: &mut impl FnMut(&Finding<'_>)) -> usize {
        let Reading::Body { left, is_last } = self.reading else { return 0 };
        let here = left.map_or(bytes.len(), |left| left.min(bytes.len() as u64) as usize);
        show(&Finding::Body(&bytes[..here]));
        self.reading = Reading::after_body(left.map(|left| left - here as u64), is_last);
        here
    }

    fn feed_header(&mut self, bytes: &[u8], show: &mut impl FnMut(&Finding<'_>)) -> usize {
        if !self.can_decode
            && let Some(seen) = self.extension.get()
        {
            self.can_decode = true;
            self.reader.set_decoder(seen.decoder(self.sender));
        }
        // One byte at a time, so that a broken rule is found at the byte that breaks it.
        for (at, &byte) in bytes.iter().enumerate() {
            self.kept.push(byte);
            match Header::decode(&self.kept, self.sender, self.reader.allowed()) {
                Ok(None) => continue,
                Ok(Some((header, _))) => {
                    let wire = mem::take(&mut self.kept);
                    show(&Finding::Header { header, wire: &wire });
                    self.reading = Reading::Payload { header, taken: 0 };
                    if matches!(header.opcode, Opcode::Text | Opcode::Binary) {
                        self.last.clear();
                        self.is_encoded = !header.rsv.is_empty();
                    }
                    let verdict = self.receive(&mut wire.clone(), show);
                    self.show_verdict(header, verdict, header.length == 0, show);
                }
                Err(violation) => {
                    show(&Finding::BadHeader(&mem::take(&mut self.kept)));
                    self.end(Fault::Violation(violation), show);
                }
            }
            return at + 1;
        }
        bytes.len()
    }

    fn feed_payload(&mut self, bytes: &[u8], show: &mut impl FnMut(&Finding<'_>)) -> usize {
        let Reading::Payload { header, taken: at } = self.reading else { return 0 };
        let here = (header.length - at).min(bytes.len() as u64) as usize;
        let mut clear = bytes[..here].to_vec();
        // The receiver unmasks the copy in place. The decoded message, if there is one, is shown after its payload.
        let mut decoded = None;
        let verdict = self.receive(&mut clear, &mut |finding| {
            if let Finding::Decoded(message) = finding {
                decoded = Some(MessageBuf::from(*message).into_owned());
            }
        });
        let used = match verdict {
            Err(Violation::InvalidUtf8) if !self.is_encoded => {
                read_until_broken(&self.last, &clear)
            }
            _ => here,
        };
        if !header.opcode.is_control() {
            self.last.extend_from_slice(&clear[here.saturating_sub(3)..]);
            self.last.drain(..self.last.len().saturating_sub(3));
        }
        let (wire, clear) = (&bytes[..used], &clear[..used]);
        show(&Finding::Payload { header, at, wire, clear });
        if let Some(message) = &decoded {
            show(&Finding::Decoded(message.as_message()));
        }
        let taken = at + used as u64;
        self.reading = Reading::Payload { header, taken };
        self.show_verdict(header, verdict, taken == header.length, show);
        used
    }

    /// Passes bytes to the receiver. Returns whether they complete a Close frame, after which nothing is read. Calls `show` if
    /// they complete a message that is encoded.
    fn receive(
        &mut self,
        mut bytes: &mut [u8],
        show: &mut impl FnMut(&Finding<'_>),
    ) -> Result<bool, Violation> {
        match self.reader.next(&mut bytes, &self.config)? {
            Some(Incoming::Message(message)) if self.is_encoded => {
                show(&Finding::Decoded(message.as_message()));
                Ok(false)
            }
            Some(Incoming::Close(body)) => close::decode(&body).map(|_| true),
            _ => Ok(false),
        }
    }

    fn show_verdict(
        &mut self,
        header: Header,
        verdict: Result<bool, Violation>,
        last: bool,
        show: &mut impl FnMut(&Finding<'_>),
    ) {
        match verdict {
            Err(violation) => self.end(Fault::Violation(violation), show),
            Ok(closes) if last => {
                show(&Finding::Valid(header));
                // RFC 6455 §5.5.1-5: no data follows a Close, and the receiver ignores whatever else does.
                self.reading = if closes { Reading::Nothing } else { Reading::Header };
            }
            Ok(_) => {}
        }
    }

    fn end(&mut self, fault: Fault, show: &mut impl FnMut(&Finding<'_>)) {
        show(&Finding::Broken(fault));
        self.reading = Reading::Nothing;
    }
}

impl Reading {
    /// Returns what is read when `left` bytes of the body of a response follow.
    fn after_body(left: Option<u64>, is_last: bool) -> Reading {
        match left {
            Some(0) if is_last => Reading::Nothing,
            Some(0) => Reading::Head(HeadReader::default()),
            left => Reading::Body { left, is_last },
        }
    }
}

/// Returns how many bytes of `piece` it takes to see that the text is not UTF-8. `last` are the bytes before `piece`.
fn read_until_broken(last: &[u8], piece: &[u8]) -> usize {
    let text = [last, piece].concat();
    // If `last` begins in the middle of a code point, that code point was already checked.
    let start = last.iter().take_while(|byte| (0x80..=0xbf).contains(*byte)).count();
    let Err(error) = str::from_utf8(&text[start..]) else { return piece.len() };
    let Some(length) = error.error_len() else { return piece.len() };
    let from = start + error.valid_up_to();
    let end = from + length;
    // If these bytes could start a code point, the next byte is the one that makes them invalid.
    let could_begin =
        str::from_utf8(&text[from..end]).is_err_and(|error| error.error_len().is_none());
    end + usize::from(could_begin) - last.len()
}

/// Calls `show` with each line of a complete head.
fn show_lines(head: &[u8], show: &mut impl FnMut(&Finding<'_>)) {
    let last = head.split_inclusive(|&byte| byte == b'\n').count() - 1;
    let mut has_begun = false;
    for (number, line) in head.split_inclusive(|&byte| byte == b'\n').enumerate() {
        show(&match line {
            _ if number == last => Finding::HeadEnd(line),
            b"\r\n" if !has_begun => Finding::EmptyLine(line),
            _ if has_begun => Finding::Field(line),
            _ => Finding::StartLine(line),
        });
        has_begun |= line != b"\r\n";
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    /// The response to the key of the standard's example.
    const SWITCHING: &str = "HTTP/1.1 101 x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
        Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";

    fn dissected(mut dissector: Dissector, pieces: &[&[u8]]) -> (Vec<u8>, Vec<String>) {
        let (mut covered, mut told) = (Vec::new(), Vec::new());
        let mut show = |finding: &Finding<'_>| {
            covered.extend_from_slice(finding.wire());
            told.push(match finding {
                Finding::Header { header, .. } => format!("Header({})", header.opcode.name()),
                Finding::Payload { clear, .. } => format!("Payload({})", clear.escape_ascii()),
                Finding::ValidHead { handshake: true } => "Handshake".to_owned(),
                Finding::ValidHead { handshake: false } => "Plain".to_owned(),
                Finding::Valid(header) => format!("Valid({})", header.opcode.name()),
                Finding::Broken(Fault::Violation(violation)) => format!("Broken({violation:?})"),
                Finding::Broken(Fault::Refusal(refusal)) => format!("Broken({:?})", refusal.rule),
                Finding::Broken(Fault::Rejection(why)) => format!("Broken({why:?})"),
                other => format!("{other:?}"),
            });
        };
        pieces.iter().for_each(|piece| dissector.feed(piece, &mut show));
        dissector.finish(&mut show);
        (covered, told)
    }

    fn frames(wire: &[u8]) -> Vec<String> {
        let config = Config::default().validate().expect("valid");
        let (covered, told) = dissected(Dissector::of_frames(Role::Client, config), &[wire]);
        assert_eq!(covered, wire, "every byte once, in order");
        told
    }

    /// RFC 6455 §5.7, §5.1-2
    #[test]
    fn labels_the_example_of_the_standard_and_what_follows_it() {
        let hello = b"\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58";
        let told = ["Header(text)", "Payload(Hello)", "Valid(text)"];
        assert_eq!(frames(hello), told);
        let unmasked = [&hello[..], b"\x81\x05Hello"].concat();
        let more = [
            r#"BadHeader([129, 5])"#,
            "Broken(UnmaskedFrame)",
            r#"NotRead([72, 101, 108, 108, 111])"#,
        ];
        assert_eq!(frames(&unmasked), [&told[..], &more[..]].concat());
    }

    #[test]
    fn agrees_with_the_receiver() {
        assert_eq!(
            frames(b"\x80\x80\0\0\0\0"),
            ["Header(continuation)", "Broken(NothingToContinue)"]
        );
        assert_eq!(
            frames(b"\x81\x81\0\0\0\0\xff"),
            ["Header(text)", r"Payload(\xff)", "Broken(InvalidUtf8)"]
        );
        assert_eq!(
            frames(b"\x88\x81\0\0\0\0\x03"),
            ["Header(close)", r"Payload(\x03)", "Broken(TruncatedCloseCode)"]
        );
        assert_eq!(
            frames(b"\x88\x80\0\0\0\0\x81"),
            ["Header(close)", "Valid(close)", "NotRead([129])"]
        );
        assert_eq!(frames(b"\x81\xfe\x01"), ["IncompleteHeader([129, 254, 1])"]);
        assert_eq!(frames(b"\x81\x82\0\0\0\0h")[1..], ["Payload(h)", "IncompletePayload"]);
    }

    /// A server skips empty lines before a request, and a client skips interim responses before the 101.
    #[test]
    fn labels_what_comes_before_a_head() {
        let config = Config::default().validate().expect("valid");
        let labels = |sender, wire: &[u8]| {
            let (covered, labels) = dissected(Dissector::new(sender, config.clone()), &[wire]);
            assert_eq!(covered, wire);
            let name = |label: String| label.split('(').next().unwrap_or_default().to_owned();
            labels.into_iter().map(name).collect::<Vec<_>>().join(" ")
        };
        let request = b"\r\n\r\nGET / HTTP/1.1\r\nHost: h\r\n\r\n";
        assert_eq!(
            labels(Role::Client, request),
            "EmptyLine EmptyLine StartLine Field HeadEnd Plain"
        );
        let interim = "HTTP/1.1 103 x\r\nA: b\r\n\r\n";
        let response = [interim.as_bytes(), SWITCHING.as_bytes(), b"\x89\x00"].concat();
        assert_eq!(
            labels(Role::Server, &response),
            "StartLine Field HeadEnd Plain StartLine Field Field Field HeadEnd Handshake Header Valid"
        );
    }

    /// The labels of both directions of a connection, without their bytes.
    fn exchange(requests: &[u8], responses: &[u8]) -> [String; 2] {
        let config = Config::default().limits(|limits| limits.max_requests = 3);
        let config = config.validate().expect("valid");
        let mut client = Dissector::new(Role::Client, config.clone());
        let mut server = Dissector::new(Role::Server, config);
        let label = |dissector: &mut Dissector, wire: &[u8], step: usize| {
            let (mut covered, mut labels) = (Vec::new(), Vec::new());
            for piece in wire.chunks(step) {
                dissector.feed(piece, &mut |finding| {
                    covered.extend_from_slice(finding.wire());
                    let label = format!("{finding:?}");
                    let name = label.split(['(', ' ']).next().unwrap_or_default().to_owned();
                    if labels.last() != Some(&name) {
                        labels.push(name);
                    }
                });
            }
            assert_eq!(covered, wire, "every byte once, in order");
            labels.join(" ")
        };
        let requests = label(&mut client, requests, 1);
        server.responds_to(&mut client);
        [requests, label(&mut server, responses, 3)]
    }

    /// RFC 9112 9.3: after a plain request comes the next one, and after a response of the announced length too.
    #[test]
    fn labels_several_requests_and_their_responses() {
        let head = "StartLine Field HeadEnd ValidHead";
        let get = "GET / HTTP/1.1\r\nHost: h\r\n\r\n";
        let ok = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n";
        let [requests, responses] = exchange(
            [get, &get.replace("GET", "HEAD"), get, get].concat().as_bytes(),
            [ok, "hello", ok, ok, "hello"].concat().as_bytes(),
        );
        assert_eq!(requests, format!("{head} {head} {head} NotRead"), "the third is the last");
        assert_eq!(responses, format!("{head} Body {head} {head} Body"));

        // A WebSocket opens after a plain request.
        let handshake = "GET / HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
            Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
        let [requests, responses] = exchange(
            [get.as_bytes(), handshake.as_bytes(), b"\x89\x80\0\0\0\0"].concat().as_slice(),
            [ok.as_bytes(), b"hello", SWITCHING.as_bytes(), b"\x8a\0"].concat().as_slice(),
        );
        assert_eq!(requests, format!("{head} {head} Header Valid"));
        assert_eq!(responses, format!("{head} Body {head} Header Valid"));
    }

    /// RFC 9112 6.3, 9.3: what has no body, and what comes last on a connection.
    #[test]
    fn labels_the_end_of_a_response() {
        let head = "StartLine Field HeadEnd ValidHead";
        for (lines, body, then) in [
            ("200 OK\r\nContent-Length: 0", "", format!(" {head}")),
            ("304 \r\nContent-Length: 5", "", format!(" {head}")),
            ("204 No Content\r\nA: b", "", format!(" {head}")),
            ("200 OK\r\nConnection: close", "all of it is the body", " Body".to_owned()),
            ("200 OK\r\nTransfer-Encoding: chunked", "5\r\nhello", " Body".to_owned()),
        ] {
            let next = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
            let wire = format!("HTTP/1.1 {lines}\r\n\r\n{body}{next}");
            let labels = &exchange(b"", wire.as_bytes())[1];
            assert_eq!(*labels, format!("{head}{then}"), "{lines}");
        }
        let last = b"HTTP/1.1 404 x\r\nContent-Length: 2\r\nConnection: close\r\n\r\nno more";
        let labels = &exchange(b"", last)[1];
        assert_eq!(*labels, "StartLine Field HeadEnd ValidHead Body NotRead");
        for last in
            ["GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n", "GET / HTTP/1.0\r\n\r\n"]
        {
            let labels = &exchange([last, "more"].concat().as_bytes(), b"")[0];
            assert!(labels.ends_with("HeadEnd ValidHead NotRead"), "{labels}");
        }
    }

    /// RFC 6455 §4.1-41 to §4.1-47: a 101 is judged as the client judges it, without a request or with it. Nothing after a
    /// broken one is read.
    #[test]
    fn judges_a_response_as_the_client_does() {
        let config = Config::default().validate().expect("valid");
        let verdict = |response: &str, request: Option<&str>| {
            let mut dissector = Dissector::new(Role::Server, config.clone());
            if let Some(request) = request {
                let mut client = Dissector::new(Role::Client, config.clone());
                client.feed(request.as_bytes(), &mut |_| {});
                dissector.responds_to(&mut client);
            }
            let wire = [response.as_bytes(), b"\x8a\0"].concat();
            let (covered, told) = dissected(dissector, &[&wire]);
            assert_eq!(covered, wire, "every byte once, in order");
            told.join(" ")
        };
        let upgrade = "Upgrade: websocket\r\nConnection: Upgrade\r\n";
        for (response, why) in [
            ("HTTP/1.1 101\r\nUpgrade: h2c\r\n\r\n", "Upgrade"),
            ("HTTP/1.1 101 x\r\n\r\n", "Upgrade"),
            ("HTTP/1.1 101 x\r\nUpgrade: websocket\r\n\r\n", "Connection"),
            (&format!("HTTP/1.1 101 x\r\n{upgrade}\r\n"), "Accept"),
            (&format!("HTTP/1.1 101 x\r\n{upgrade}Sec-WebSocket-Accept: no\r\n\r\n"), "Accept"),
            (&SWITCHING.replace("Sec", "Sec-WebSocket-Extensions: a\r\nSec"), "Extension"),
            (&SWITCHING.replace("Sec", "Sec-WebSocket-Protocol: a b\r\nSec"), "Subprotocol"),
            ("HTTP/1.1 1010 x\r\n\r\n", "StatusLine"),
            ("HTTP/1.0 101 x\r\n\r\n", "StatusLine"),
            ("hello\r\n\r\n", "StatusLine"),
            (&"HTTP/1.1 100 x\r\n\r\n".repeat(11), "TooManyInterim"),
        ] {
            let told = verdict(response, None);
            assert!(
                told.ends_with(&format!("Broken({why}) NotRead([138, 0])")),
                "{response}: {told}"
            );
        }
        let request = "GET / HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
            Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
        let offers = |names: &str| format!("{request}Sec-WebSocket-Protocol: {names}\r\n\r\n");
        let chat = SWITCHING.replace("Sec", "Sec-WebSocket-Protocol: chat\r\nSec");
        let opens = "Handshake Header(pong) Valid(pong)";
        for (response, request, told) in [
            (SWITCHING, None, opens),
            (SWITCHING, Some(offers("chat")), opens),
            (&chat, None, opens),
            (&chat, Some(offers("a, chat")), opens),
            (&chat, Some(offers("a, b")), "Broken(Subprotocol) NotRead([138, 0])"),
            (&chat, Some(offers("bearer, ****")), opens),
            (
                SWITCHING,
                Some(offers("chat").replace("dGhl", "DGhl")),
                "Broken(Accept) NotRead([138, 0])",
            ),
        ] {
            let labels = verdict(response, request.as_deref());
            assert!(labels.ends_with(told), "{request:?}: {labels}");
        }
        assert!(verdict("HTTP/1.0 200 OK\r\n\r\n", None).contains("Plain"));
        assert!(verdict("HTTP/1.1 302 x\r\nLocation: /\r\n\r\n", None).contains("Plain"));
        assert!(verdict("HTTP/1.1 200 OK\nA", None).contains("Broken(Malformed"));
    }

    #[test]
    fn labels_a_handshake_and_the_frames_after_it() {
        let config = Config::default().validate().expect("valid");
        let head = b"GET / HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
            Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
        let wire = [&head[..], b"\x89\x80\0\0\0\0"].concat();
        let (_, whole) = dissected(Dissector::new(Role::Client, config.clone()), &[&wire]);
        assert_eq!(whole.len(), 10);
        assert_eq!(whole[6..], ["HeadEnd([13, 10])", "Handshake", "Header(ping)", "Valid(ping)"]);
        for cut in 0..wire.len() {
            let dissector = Dissector::new(Role::Client, config.clone());
            let (covered, told) = dissected(dissector, &[&wire[..cut], &wire[cut..]]);
            assert_eq!((covered, told), (wire.clone(), whole.clone()), "cut at {cut}");
        }
        let broken = b"GET / HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\n\r\nmore";
        let (_, told) = dissected(Dissector::new(Role::Client, config), &[broken]);
        assert_eq!(told[4..], ["Broken(Connection)", "NotRead([109, 111, 114, 101])"]);
    }

    /// RFC 7692: what the response agrees to counts for both directions. Invalid data breaks a rule.
    #[cfg(feature = "deflate")]
    #[test]
    fn a_negotiated_extension_is_decoded() {
        let config = Config::default().validate().expect("valid");
        let both = |answer: &str| {
            let mut client = Dissector::new(Role::Client, config.clone());
            let mut server = Dissector::new(Role::Server, config.clone());
            client.reading = Reading::Header;
            server.responds_to(&mut client);
            let head = format!(
                "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                 Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n{answer}\r\n"
            );
            server.feed(head.as_bytes(), &mut |_| {});
            (client, server)
        };
        let seen = |dissector: &mut Dissector, wire: &[u8], step: usize| {
            let (mut told, mut covered) = (Vec::new(), Vec::new());
            for piece in wire.chunks(step) {
                dissector.feed(piece, &mut |finding| {
                    covered.extend_from_slice(finding.wire());
                    match finding {
                        Finding::Decoded(message) => told.push(format!("{message:?}")),
                        Finding::Broken(fault) => told.push(format!("{fault:?}")),
                        _ => {}
                    }
                });
            }
            assert_eq!(covered, wire);
            told
        };
        let answer = "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits=9\r\n";
        let hello = b"\xc1\x87\0\0\0\0\xf2\x48\xcd\xc9\xc9\x07\0";
        let unmasked = b"\x41\x07\xf2\x48\xcd\xc9\xc9\x07\0\x89\x00\x80\x00\x81\x01x";
        let invalid = b"\xc1\x82\0\0\0\0\x07\x00\x81\x80\0\0\0\0";
        for step in [1, 3, 100] {
            let (mut client, mut server) = both(answer);
            assert_eq!(seen(&mut client, hello, step), ["Text(\"Hello\")"]);
            assert_eq!(seen(&mut server, unmasked, step), ["Text(\"Hello\")"]);
            assert_eq!(seen(&mut client, invalid, step), ["Violation(InvalidDeflate)"]);
            // Without an answer, or with one that nobody can offer, RSV1 breaks a rule.
            for answer in ["", "Sec-WebSocket-Extensions: permessage-deflate; x\r\n"] {
                let (mut client, _) = both(answer);
                assert_eq!(seen(&mut client, hello, step), ["Violation(ReservedBits)"]);
            }
        }
    }
}
