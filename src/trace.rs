//! Bytes as a person reads them: the lines that `--trace` prints.
//!
//! ```text
//! 81 85 37 fa 21 3d | FIN=1 RSV=000 opcode=1 (text) MASK=1 length=5 key=37 fa 21 3d
//! 7f 9f 4d 51 58 | payload data, unmasked: 48 65 6c 6c 6f 'Hello'
//! ```
//!
//! What the bytes are is told by `protocol/dissect.rs`; here it becomes lines.

use std::fmt::Write as _;

use crate::config::{Config, ValidConfig};
use crate::lang::{self, Lang};
use crate::observe::{Direction, Observer};
use crate::peers::PeerId;
use crate::protocol::dissect::{Dissector, Fault, Finding};
use crate::protocol::frame::{Header, Opcode, Role};
use crate::protocol::handshake::key;

/// Characters of a peer's text that a line shows.
const MAX_SHOWN: usize = 200;

/// Payload bytes that a line of the trace shows in hexadecimal.
const MAX_HEX: usize = 32;

/// Text from a peer, safe to print: what could move the cursor, hide or reorder text is escaped, and
/// beyond 200 characters it is cut.
pub fn printable(text: &str) -> String {
    match text.char_indices().nth(MAX_SHOWN) {
        Some((end, _)) => escaped(&text[..end]) + "…",
        None => escaped(text),
    }
}

/// Text from a peer, safe to print, in its whole length.
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

/// Whether a terminal acts on this character instead of showing it, or turns the text behind it around.
pub fn is_active(character: char) -> bool {
    let reorders = matches!(character,
        '\u{061c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    character.is_control() || reorders
}

/// Follows the bytes of one direction, frame by frame, however the reads cut them.
pub(crate) struct Lane {
    dissector: Dissector,
    /// The beginning of the payload that is under way, as it came and without the mask.
    wire: Vec<u8>,
    clear: Vec<u8>,
}

/// What a lane recognised.
pub(crate) enum Part<'a> {
    HeadLine(&'a [u8]),
    Header { header: Header, wire: &'a [u8] },
    Payload { header: Header, wire: &'a [u8], clear: &'a [u8] },
    Body(&'a [u8]),
    BadHeader(&'a [u8]),
    Broken(&'a Fault),
}

pub(crate) struct Line {
    /// Worked out here, not seen on the wire.
    pub(crate) computed: bool,
    pub(crate) text: String,
}

/// Bytes of a payload that a lane keeps to show: 200 characters have at most this many.
const MAX_KEPT: usize = 4 * (MAX_SHOWN + 1);

impl Lane {
    /// A lane of what `sender` sends.
    pub(crate) fn new(sender: Role, config: ValidConfig) -> Lane {
        Lane { dissector: Dissector::new(sender, config), wire: Vec::new(), clear: Vec::new() }
    }

    /// Takes the next bytes and shows what they turn out to be: a head when it is whole, a payload when it is.
    pub(crate) fn feed(&mut self, bytes: &[u8], mut show: impl FnMut(&Part<'_>)) {
        let Lane { dissector, wire, clear } = self;
        dissector.feed(bytes, &mut |finding| match finding {
            Finding::StartLine(line) | Finding::Field(line) | Finding::HeadEnd(line) => {
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
            Finding::Header { header, wire } => show(&Part::Header { header: *header, wire }),
            Finding::Payload { header, at, wire: new, clear: new_clear } => {
                let kept = new.len().min(MAX_KEPT - wire.len());
                wire.extend_from_slice(&new[..kept]);
                clear.extend_from_slice(&new_clear[..kept]);
                if at + new.len() as u64 == header.length {
                    show(&Part::Payload { header: *header, wire, clear });
                    wire.clear();
                    clear.clear();
                }
            }
            Finding::Fine(header) if header.length == 0 => {
                show(&Part::Payload { header: *header, wire: &[], clear: &[] });
            }
            Finding::Broken(fault) => show(&Part::Broken(fault)),
            Finding::Fine(_) | Finding::NotRead(_) | Finding::Incomplete(_) => {}
        });
    }
}

/// Explains every byte of a client's connection, a line at a time.
pub struct ClientTrace<F> {
    lang: Lang,
    inward: Lane,
    outward: Lane,
    print: F,
}

impl<F: FnMut(&str)> ClientTrace<F> {
    /// Hands each line to `print`; `<` in front of what came, `>` of what went, `=` of what was worked out.
    pub fn new(lang: Lang, print: F) -> ClientTrace<F> {
        // Limits are the business of whoever connects: here only the rules of the standard are judged.
        let config = Config { max_message: 1 << 30, ..Config::default() };
        let config = config.validate().expect("these limits are possible");
        let (inward, outward) =
            (Lane::new(Role::Server, config.clone()), Lane::new(Role::Client, config));
        ClientTrace { lang, inward, outward, print }
    }
}

impl<F: FnMut(&str)> Observer for ClientTrace<F> {
    fn bytes(&mut self, _peer: PeerId, direction: Direction, bytes: &[u8]) {
        let (lane, arrow) = match direction {
            Direction::In => (&mut self.inward, '<'),
            Direction::Out => (&mut self.outward, '>'),
        };
        lane.feed(bytes, |part| {
            for line in part.explained(self.lang) {
                let mark = if line.computed { '=' } else { arrow };
                (self.print)(&format!("{mark} {}", line.text));
            }
        });
    }
}

impl Part<'_> {
    /// The lines of the trace.
    pub(crate) fn explained(&self, lang: Lang) -> Vec<Line> {
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
            Part::Payload { header, wire, clear } => seen(payload(*header, wire, clear, lang)),
            Part::Body(line) => seen(printable(&String::from_utf8_lossy(line))),
            Part::Broken(Fault::Violation(violation)) => {
                seen(lang::TRACE_NOT_READ.with(lang, &[violation]))
            }
            Part::Broken(Fault::Refusal(refusal)) => {
                let (rule, section) = (refusal.rule.text().get(lang), refusal.rule.section());
                seen(lang::TRACE_NOT_READ.with(lang, &[&format_args!("{rule} ({section})")]))
            }
        }
    }
}

/// A payload: bytes as they came, without the mask, and as a person reads them.
fn payload(header: Header, wire: &[u8], clear: &[u8], lang: Lang) -> String {
    let shown = |bytes: &[u8]| hex(&bytes[..bytes.len().min(MAX_HEX)]);
    let mut text = format!("{} | ", shown(wire));
    let said = readable(header, clear);
    match header.key {
        Some(_) => {
            let clear = format!("{} {said}", shown(clear));
            text += &lang::TRACE_UNMASKED.with(lang, &[&clear]);
        }
        None => {
            let _ = write!(text, "{} {said}", lang::TRACE_PAYLOAD.get(lang));
        }
    }
    if header.length > MAX_HEX as u64 {
        text.push(' ');
        text += &lang::TRACE_MORE.with(lang, &[&header.length]);
    }
    text
}

/// How the answer to a key is made (§4.2.2 step 5).
fn accept_computed(value: &str, lang: Lang) -> [Line; 3] {
    let joined = format!("{}{}", printable(value), key::GUID);
    let computed = |text| Line { computed: true, text };
    [
        computed(lang::TRACE_KEY.with(lang, &[&joined])),
        computed(format!("SHA-1: {}", hex(&key::digest(value)))),
        computed(format!("base64: {}", key::accept_key(value))),
    ]
}

/// The fields of a header by the names of §5.2.
fn bits(header: &Header) -> String {
    let (fin, mask) = (u8::from(header.fin), u8::from(header.key.is_some()));
    let (opcode, name) = (header.opcode as u8, header.opcode.name());
    let mut text = format!(
        "FIN={fin} RSV=000 opcode={opcode:X} ({name}) MASK={mask} length={}",
        header.length
    );
    if let Some(key) = header.key {
        let _ = write!(text, " key={}", hex(&key));
    }
    text
}

/// The clear payload as a person reads it.
fn readable(header: Header, clear: &[u8]) -> String {
    match (header.opcode, clear) {
        (Opcode::Close, [high, low, reason @ ..]) => {
            let reason = printable(&String::from_utf8_lossy(reason));
            format!("{} '{reason}'", u16::from_be_bytes([*high, *low]))
        }
        (Opcode::Binary, _) => String::new(),
        _ => format!("'{}'", printable(&String::from_utf8_lossy(clear))),
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Config, OriginPolicy};

    fn explained(sender: Role, pieces: &[&[u8]]) -> Vec<String> {
        let config = Config { origin_policy: OriginPolicy::Any, ..Config::default() };
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

    #[test]
    fn explains_the_same_however_the_reads_split() {
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

    #[test]
    fn text_of_peers_cannot_touch_the_terminal() {
        assert_eq!(printable("a\x1b[2J\u{9b}\u{202e}é"), "a\\u{1b}[2J\\u{9b}\\u{202e}é");
        assert_eq!(printable(&"x".repeat(300)).chars().count(), 201);
    }
}
