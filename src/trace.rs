//! The lines that `--trace` prints: the bytes of a connection in a form that a person can read.
//!
//! ```text
//! 81 85 37 fa 21 3d | FIN=1 RSV=000 opcode=1 (text) MASK=1 length=5 key=37 fa 21 3d
//! 7f 9f 4d 51 58 | payload data, unmasked: 48 65 6c 6c 6f 'Hello'
//! ```
//!
//! `protocol/dissect.rs` decides what the bytes mean. This file turns its findings into lines.

use std::fmt::{self, Write as _};

use crate::config::{Config, ValidConfig};
use crate::lang::Lang;
use crate::observe::{Direction, Observer};
use crate::peers::PeerId;
use crate::protocol::dissect::{Dissector, Fault, Finding};
use crate::protocol::frame::{Header, Opcode, Role};
use crate::protocol::handshake::key;
use crate::protocol::message::Message;
use crate::texts;

/// The most characters of a peer's text in a line.
const MAX_SHOWN: usize = 200;

/// The most payload bytes in a line, in hexadecimal.
const MAX_HEX: usize = 32;

/// Returns text from a peer in a form that is safe to print: characters that could move the cursor, hide text or
/// reorder it are escaped, and the text is cut to 200 characters.
///
/// ```
/// use framewise::trace::printable;
///
/// assert_eq!(printable("olá\u{1b}[2J"), "olá\\u{1b}[2J");
/// assert!(printable(&"x".repeat(300)).ends_with('…'));
/// ```
pub fn printable(text: &str) -> String {
    match text.char_indices().nth(MAX_SHOWN) {
        Some((end, _)) => escaped(&text[..end]) + "…",
        None => escaped(text),
    }
}

/// Returns text from a peer with the same escapes as [`printable`], but in its whole length.
pub fn escaped(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for character in text.chars() {
        if is_active(character) {
            let _ = write!(shown, "{}", character.escape_unicode());
        } else {
            shown.push(character);
        }
    }
    shown
}

/// Reports whether a terminal acts on this character instead of showing it: a control character, or one that changes
/// the direction of the text after it. [`printable`] escapes these characters.
pub fn is_active(character: char) -> bool {
    let reorders = matches!(character,
        '\u{061c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    character.is_control() || reorders
}

/// Returns bytes in hexadecimal, with a space between them.
///
/// ```
/// assert_eq!(framewise::trace::hex(b"\x81\x05"), "81 05");
/// ```
pub fn hex(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len() * 3);
    for byte in bytes {
        let separator = if text.is_empty() { "" } else { " " };
        let _ = write!(text, "{separator}{byte:02x}");
    }
    text
}

/// Follows the bytes of one direction of a connection and splits them into the parts of a trace. How reads split the
/// bytes makes no difference.
///
/// ```
/// use framewise::Config;
/// use framewise::lang::Lang;
/// use framewise::protocol::frame::Role;
/// use framewise::trace::Lane;
///
/// let mut lane = Lane::new(Role::Server, Config::default().validate()?);
/// let mut lines = Vec::new();
/// let head = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
///     Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";
/// lane.feed(&[&head[..], b"\x81\x02hi"].concat(), |part| {
///     lines.extend(part.explained(Lang::En).into_iter().map(|line| line.text));
/// });
/// assert_eq!(lines[5], "81 02 | FIN=1 RSV=000 opcode=1 (text) MASK=0 length=2");
/// assert_eq!(lines[6], "68 69 | payload data 'hi'");
/// # Ok::<(), framewise::config::ConfigError>(())
/// ```
pub struct Lane {
    dissector: Dissector,
    /// The beginning of the current payload, as it arrived and unmasked.
    wire: Vec<u8>,
    clear: Vec<u8>,
    /// Whether the current message is compressed.
    is_encoded: bool,
}

/// A part of a trace, as [`Lane::feed`] reports it.
#[derive(Debug)]
#[non_exhaustive]
pub enum Part<'a> {
    /// A line of a head, without its line end.
    HeadLine(&'a [u8]),
    /// A frame header and its bytes.
    Header {
        /// The decoded header.
        header: Header,
        /// Its bytes.
        wire: &'a [u8],
    },
    /// The beginning of a payload, as much of it as a line can show.
    Payload {
        /// The header of its frame.
        header: Header,
        /// The bytes on the wire.
        wire: &'a [u8],
        /// The bytes without the mask.
        clear: &'a [u8],
        /// Whether they are part of a compressed message.
        is_encoded: bool,
    },
    /// The message that was decompressed from the payloads before.
    Decoded(Message<'a>),
    /// A line of the body of a response that does not open a WebSocket.
    Body(&'a [u8]),
    /// A frame header, up to and including the byte that breaks a rule.
    BadHeader(&'a [u8]),
    /// The rule that the preceding bytes break.
    Broken(&'a Fault),
}

/// One line of a trace, as [`Part::explained`] returns it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Line {
    /// Whether it was computed here. Otherwise it shows bytes of the connection.
    pub computed: bool,
    /// The line, without a line break.
    pub text: String,
}

impl fmt::Debug for Lane {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Lane").finish_non_exhaustive()
    }
}

/// How many bytes of a payload are kept. 200 characters are at most this long.
const MAX_KEPT: usize = 4 * (MAX_SHOWN + 1);

impl Lane {
    /// Returns a lane for everything that `sender` sends: a head, then frames. The limits are those of `config`.
    #[must_use]
    pub fn new(sender: Role, config: ValidConfig) -> Lane {
        let dissector = Dissector::new(sender, config);
        Lane { dissector, wire: Vec::new(), clear: Vec::new(), is_encoded: false }
    }

    /// Tells the lane of a server's bytes which requests the client has sent, because the response to a HEAD has no body,
    /// and the response to an opening handshake must match it. `requests` is the lane of the client's bytes. [`Dissector::responds_to`] has an example.
    pub fn responds_to(&mut self, requests: &mut Lane) {
        self.dissector.responds_to(&mut requests.dissector);
    }

    /// Processes the next bytes and calls `show` with each part once it is complete.
    pub fn feed(&mut self, bytes: &[u8], mut show: impl FnMut(&Part<'_>)) {
        let Lane { dissector, wire, clear, is_encoded } = self;
        dissector.feed(bytes, &mut |finding| match finding {
            Finding::EmptyLine(line)
            | Finding::StartLine(line)
            | Finding::Field(line)
            | Finding::HeadEnd(line) => {
                show(&Part::HeadLine(line.trim_ascii_end()));
            }
            Finding::BadHead(head) => {
                let lines = head.trim_ascii_end().split(|&byte| byte == b'\n');
                lines.for_each(|line| show(&Part::HeadLine(line.trim_ascii_end())));
            }
            Finding::BadHeader(wire) => show(&Part::BadHeader(wire)),
            Finding::Body(body) => {
                let lines = body.trim_ascii_end().split(|&byte| byte == b'\n');
                lines.for_each(|line| show(&Part::Body(line.trim_ascii_end())));
            }
            Finding::Header { header, wire } => {
                if matches!(header.opcode, Opcode::Text | Opcode::Binary) {
                    *is_encoded = !header.rsv.is_empty();
                }
                show(&Part::Header { header: *header, wire });
            }
            Finding::Payload { header, at, wire: new, clear: new_clear } => {
                let kept = new.len().min(MAX_KEPT - wire.len());
                wire.extend_from_slice(&new[..kept]);
                clear.extend_from_slice(&new_clear[..kept]);
                if at + new.len() as u64 == header.length {
                    let is_encoded = *is_encoded && !header.opcode.is_control();
                    show(&Part::Payload { header: *header, wire, clear, is_encoded });
                    wire.clear();
                    clear.clear();
                }
            }
            Finding::Valid(header) if header.length == 0 => {
                let (wire, clear, is_encoded) = (&[][..], &[][..], false);
                show(&Part::Payload { header: *header, wire, clear, is_encoded });
            }
            Finding::Decoded(message) => show(&Part::Decoded(*message)),
            Finding::Broken(fault) => show(&Part::Broken(fault)),
            _ => {}
        });
    }
}

/// An observer that explains every byte of a client's connection, one line at a time.
///
/// ```no_run
/// use framewise::lang::Lang;
/// use framewise::trace::ClientTrace;
/// use framewise::{Client, ClientRequest, Config, Tcp, Url};
///
/// let request = ClientRequest::new(Url::parse("ws://localhost:8765")?);
/// let trace = ClientTrace::new(Lang::En, |line| println!("{line}"));
/// let client = Client::open_over(&request, Config::default(), Tcp, trace)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct ClientTrace<F> {
    lang: Lang,
    inward: Lane,
    outward: Lane,
    print: F,
}

impl<F> fmt::Debug for ClientTrace<F> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("ClientTrace").field("lang", &self.lang).finish_non_exhaustive()
    }
}

impl<F: FnMut(&str)> ClientTrace<F> {
    /// Returns a trace that calls `print` with each line. A line begins with `<` for bytes from the server, `>` for
    /// bytes to the server, and `=` for a value that was computed.
    #[must_use]
    pub fn new(lang: Lang, print: F) -> ClientTrace<F> {
        // The client applies its own limits to the same bytes. The trace only judges the rules of the standard.
        let config = Config::default().limits(|limits| limits.max_message = 1 << 30);
        let config = config.validate().expect("these limits are possible");
        let (inward, outward) =
            (Lane::new(Role::Server, config.clone()), Lane::new(Role::Client, config));
        ClientTrace { lang, inward, outward, print }
    }
}

impl<F: FnMut(&str)> Observer for ClientTrace<F> {
    fn bytes(&mut self, _peer: PeerId, direction: Direction, bytes: &[u8]) {
        let ClientTrace { lang, inward, outward, print } = self;
        let (lane, arrow) = match direction {
            Direction::In => {
                inward.responds_to(outward);
                (inward, '<')
            }
            Direction::Out => (outward, '>'),
        };
        lane.feed(bytes, |part| {
            for line in part.explained(*lang) {
                let mark = if line.computed { '=' } else { arrow };
                print(&format!("{mark} {}", line.text));
            }
        });
    }
}

impl Part<'_> {
    /// Returns the lines that explain the part, in one language.
    pub fn explained(&self, lang: Lang) -> Vec<Line> {
        let seen = |text: String| vec![Line { computed: false, text }];
        match self {
            Part::HeadLine(line) => {
                let text = String::from_utf8_lossy(line);
                let mut lines = seen(printable(&text));
                if let Some((name, value)) = text.split_once(':')
                    && name.eq_ignore_ascii_case("sec-websocket-key")
                {
                    lines.extend(accept_computed(value.trim(), lang));
                }
                lines
            }
            Part::Header { header, wire } => seen(format!("{} | {}", hex(wire), bits(header))),
            Part::BadHeader(wire) => seen(hex(wire)),
            Part::Payload { header, .. } if header.length == 0 => Vec::new(),
            Part::Payload { header, wire, clear, is_encoded } => {
                seen(payload(*header, wire, clear, *is_encoded, lang))
            }
            Part::Decoded(message) => {
                let text = texts::TRACE_DECODED.with(lang, &[&decoded(*message)]);
                vec![Line { computed: true, text }]
            }
            Part::Body(line) => seen(printable(&String::from_utf8_lossy(line))),
            Part::Broken(Fault::Violation(violation)) => {
                seen(texts::TRACE_NOT_READ.with(lang, &[&violation.describe(lang)]))
            }
            Part::Broken(Fault::Refusal(refusal)) => {
                let (rule, section) = (refusal.rule.text().get(lang), refusal.rule.section());
                seen(texts::TRACE_NOT_READ.with(lang, &[&format_args!("{rule} ({section})")]))
            }
            Part::Broken(Fault::Rejection(rejection)) => {
                seen(texts::TRACE_NOT_READ.with(lang, &[&rejection.text(lang)]))
            }
        }
    }
}

/// Returns the line of a payload: its bytes as they arrived, unmasked, and as text.
fn payload(header: Header, wire: &[u8], clear: &[u8], is_encoded: bool, lang: Lang) -> String {
    let shown = |bytes: &[u8]| hex(&bytes[..bytes.len().min(MAX_HEX)]);
    let mut text = format!("{} | ", shown(wire));
    let meaning = if is_encoded { String::new() } else { readable(header, clear) };
    match header.key {
        Some(_) => {
            let clear = format!("{} {meaning}", shown(clear));
            text += &texts::TRACE_UNMASKED.with(lang, &[&clear]);
        }
        None => {
            let _ = write!(text, "{} {meaning}", texts::TRACE_PAYLOAD.get(lang));
        }
    }
    if header.length > MAX_HEX as u64 {
        text.push(' ');
        text += &texts::TRACE_MORE.with(lang, &[&header.length]);
    }
    text
}

/// Returns a decompressed message as it is shown: text in quotes, or bytes in hexadecimal.
pub(crate) fn decoded(message: Message<'_>) -> String {
    match message {
        Message::Text(text) => format!("'{}'", printable(text.as_str())),
        Message::Binary(bytes) if bytes.len() > MAX_HEX => {
            format!("{} …", hex(&bytes[..MAX_HEX]))
        }
        Message::Binary(bytes) => hex(bytes),
    }
}

/// Returns the lines that show how `Sec-WebSocket-Accept` is computed from a key (§4.2.2 step 5).
pub(crate) fn accept_computed(value: &str, lang: Lang) -> [Line; 3] {
    let joined = format!("{}{}", printable(value), key::GUID);
    let computed = |text| Line { computed: true, text };
    [
        computed(texts::TRACE_KEY.with(lang, &[&joined])),
        computed(format!("SHA-1: {}", hex(&key::digest(value)))),
        computed(format!("base64: {}", key::accept_key(value))),
    ]
}

/// Returns the fields of a header, with their names in §5.2.
fn bits(header: &Header) -> String {
    let (fin, mask) = (u8::from(header.fin), u8::from(header.key.is_some()));
    let (opcode, name) = (header.opcode as u8, header.opcode.name());
    let mut text = format!(
        "FIN={fin} RSV={:03b} opcode={opcode:X} ({name}) MASK={mask} length={}",
        header.rsv.bits(),
        header.length
    );
    if let Some(key) = header.key {
        let _ = write!(text, " key={}", hex(&key));
    }
    text
}

/// Returns an unmasked payload as text: the code and reason of a Close, quoted text, or nothing for binary data.
fn readable(header: Header, clear: &[u8]) -> String {
    match (header.opcode, clear) {
        (Opcode::Close, [high, low]) => u16::from_be_bytes([*high, *low]).to_string(),
        (Opcode::Close, [high, low, reason @ ..]) => {
            let reason = printable(&String::from_utf8_lossy(reason));
            format!("{} '{reason}'", u16::from_be_bytes([*high, *low]))
        }
        (Opcode::Binary, _) => String::new(),
        _ => format!("'{}'", printable(&String::from_utf8_lossy(clear))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Config, OriginPolicy};
    use crate::protocol::frame::Rsv;

    fn explained(sender: Role, pieces: &[&[u8]]) -> Vec<String> {
        let config = Config::default().handshake(|handshake| handshake.origins = OriginPolicy::Any);
        let mut lane = Lane::new(sender, config.validate().expect("valid"));
        let mut lines = Vec::new();
        for piece in pieces {
            lane.feed(piece, |part| {
                lines.extend(part.explained(Lang::En).into_iter().map(|line| line.text));
            });
        }
        lines
    }

    const WIRE: &[u8] =
        b"GET / HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
          Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n\
          \x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58\x8a\x80\0\0\0\0\x81\x02hi";

    /// A Close without a reason is its code alone.
    #[test]
    fn a_close_has_its_code_and_a_reason_if_there_is_one() {
        for (payload, meaning) in
            [(&b""[..], "''"), (&b"\x03\xe8"[..], "1000"), (b"\x03\xe9bye", "1001 'bye'")]
        {
            let length = payload.len() as u64;
            let header =
                Header { fin: true, rsv: Rsv::NONE, opcode: Opcode::Close, key: None, length };
            assert_eq!(readable(header, payload), meaning);
        }
    }

    #[test]
    fn the_lines_do_not_depend_on_how_reads_split_the_bytes() {
        let whole = explained(Role::Client, &[WIRE]);
        assert_eq!(
            whole,
            [
                "GET / HTTP/1.1",
                "Host: h",
                "Upgrade: websocket",
                "Connection: Upgrade",
                "Sec-WebSocket-Version: 13",
                "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
                "key + GUID: dGhlIHNhbXBsZSBub25jZQ==258EAFA5-E914-47DA-95CA-C5AB0DC85B11",
                "SHA-1: b3 7a 4f 2c c0 62 4f 16 90 f6 46 06 cf 38 59 45 b2 be c4 ea",
                "base64: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=",
                "",
                "81 85 37 fa 21 3d | FIN=1 RSV=000 opcode=1 (text) MASK=1 length=5 key=37 fa 21 3d",
                "7f 9f 4d 51 58 | payload data, unmasked: 48 65 6c 6c 6f 'Hello'",
                "8a 80 00 00 00 00 | FIN=1 RSV=000 opcode=A (pong) MASK=1 length=0 key=00 00 00 00",
                "81 02",
                "not read from here on: RFC 6455 5.1: a client must mask every frame",
            ]
        );
        for cut in 0..WIRE.len() {
            assert_eq!(
                explained(Role::Client, &[&WIRE[..cut], &WIRE[cut..]]),
                whole,
                "cut at {cut}"
            );
        }
    }

    /// RFC 7692: a compressed message is shown as it arrived and decompressed, in both directions, once the server has agreed.
    #[cfg(feature = "deflate")]
    #[test]
    fn a_compressed_message_is_shown_decompressed() {
        let mut lines = Vec::new();
        let mut trace = ClientTrace::new(Lang::En, |line| lines.push(line.to_owned()));
        let head = WIRE.windows(4).position(|four| four == b"\r\n\r\n").expect("a head") + 2;
        trace.bytes(PeerId::NOBODY, Direction::Out, &WIRE[..head]);
        let offer = b"Sec-WebSocket-Extensions: permessage-deflate\r\n\r\n";
        trace.bytes(PeerId::NOBODY, Direction::Out, offer);
        let response = b"HTTP/1.1 101 Switching Protocols\r\n\
            Upgrade: websocket\r\nConnection: Upgrade\r\n\
            Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\
            Sec-WebSocket-Extensions: permessage-deflate\r\n\r\n\
            \x41\x03\xf2\x48\xcd\x80\x04\xc9\xc9\x07\x00\x82\x02hi";
        trace.bytes(PeerId::NOBODY, Direction::In, response);
        trace.bytes(PeerId::NOBODY, Direction::Out, b"\xc1\x87\0\0\0\0\xf2\x48\xcd\xc9\xc9\x07\0");
        let from = lines.iter().position(|line| line.starts_with("< 41")).expect("a frame");
        assert_eq!(
            lines[from..],
            [
                "< 41 03 | FIN=0 RSV=100 opcode=1 (text) MASK=0 length=3",
                "< f2 48 cd | payload data ",
                "< 80 04 | FIN=1 RSV=000 opcode=0 (continuation) MASK=0 length=4",
                "< c9 c9 07 00 | payload data ",
                "= decompressed (RFC 7692): 'Hello'",
                "< 82 02 | FIN=1 RSV=000 opcode=2 (binary) MASK=0 length=2",
                "< 68 69 | payload data ",
                "> c1 87 00 00 00 00 | FIN=1 RSV=100 opcode=1 (text) MASK=1 length=7 key=00 00 00 00",
                "> f2 48 cd c9 c9 07 00 | payload data, unmasked: f2 48 cd c9 c9 07 00 ",
                "= decompressed (RFC 7692): 'Hello'",
            ]
        );
    }

    /// Several plain requests on one connection: the response to a HEAD has no body, so the next line is a head.
    #[test]
    fn responses_on_a_kept_connection_are_told_apart() {
        let config = Config::default().validate().expect("valid");
        let mut client = Lane::new(Role::Client, config.clone());
        let mut server = Lane::new(Role::Server, config);
        let get = "GET / HTTP/1.1\r\nHost: h\r\n\r\n";
        client.feed([get.replace("GET", "HEAD"), get.to_owned()].concat().as_bytes(), |_| {});
        server.responds_to(&mut client);
        let ok = "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n";
        let mut kinds = Vec::new();
        server.feed([ok, ok, "oi\n"].concat().as_bytes(), |part| {
            kinds.push(match part {
                Part::HeadLine(line) => String::from_utf8_lossy(line).into_owned(),
                Part::Body(line) => format!("body: {}", String::from_utf8_lossy(line)),
                other => panic!("{other:?}"),
            });
        });
        let head = ["HTTP/1.1 200 OK", "Content-Length: 3", ""];
        assert_eq!(kinds, [&head[..], &head[..], &["body: oi"]].concat());
    }

    #[test]
    fn hex_separates_bytes_by_spaces() {
        assert_eq!(hex(b""), "");
        assert_eq!(hex(b"\0"), "00");
        assert_eq!(hex(b"\x81\x05\xff"), "81 05 ff");
    }

    #[test]
    fn text_from_peers_cannot_control_the_terminal() {
        assert_eq!(printable("a\x1b[2J\u{9b}\u{202e}é"), "a\\u{1b}[2J\\u{9b}\\u{202e}é");
        assert_eq!(printable(&"x".repeat(300)).chars().count(), 201);
    }
}
