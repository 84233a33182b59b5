//! Bytes as a person reads them: the lines that `--trace` prints.
//!
//! ```text
//! 81 85 37 fa 21 3d | FIN=1 RSV=000 opcode=1 (text) MASK=1 length=5 key=37 fa 21 3d
//! 7f 9f 4d 51 58 | payload data, unmasked: 48 65 6c 6c 6f 'Hello'
//! ```
//!
//! A lane follows the bytes of one direction with the library's own frame parser, however the reads
//! split them.

use std::fmt::Write as _;
use std::mem;

use crate::lang::{self, Lang};
use crate::protocol::frame::{Header, MAX_HEADER, Opcode, Role};
use crate::protocol::handshake::key;
use crate::protocol::mask;

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
        let reorders = matches!(character,
            '\u{061c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
        if character.is_control() || reorders {
            let _ = write!(shown, "{}", character.escape_unicode());
        } else {
            shown.push(character);
        }
    }
    shown
}

/// Follows the bytes of one direction: a head, then frames.
pub(crate) struct Lane {
    sender: Role,
    reading: Reading,
    /// The line of the head, or the frame header, that is not whole yet.
    partial: Vec<u8>,
}

enum Reading {
    Head,
    Headers,
    Payload {
        header: Header,
        taken: u64,
        wire: Vec<u8>,
        clear: Vec<u8>,
    },
    /// The body of a refusal.
    Body,
    /// Nothing that follows has a meaning.
    Nothing,
}

/// What a lane recognised.
pub(crate) enum Part<'a> {
    HeadLine(&'a [u8]),
    Header { header: Header, wire: &'a [u8] },
    Payload { header: Header, wire: &'a [u8], clear: &'a [u8] },
    Body(&'a [u8]),
    NotRead(String),
}

pub(crate) struct Line {
    /// Worked out here, not seen on the wire.
    pub(crate) computed: bool,
    pub(crate) text: String,
}

/// Bytes of a payload that a lane keeps to show: 200 characters have at most this many.
const MAX_KEPT: usize = 4 * (MAX_SHOWN + 1);

/// The longest line of a head that a lane keeps; servers refuse longer heads.
const MAX_LINE: usize = 16 * 1024;

impl Lane {
    pub(crate) fn new(sender: Role) -> Lane {
        Lane { sender, reading: Reading::Head, partial: Vec::new() }
    }

    /// Takes the next bytes and shows what they turn out to be.
    pub(crate) fn feed(&mut self, mut bytes: &[u8], mut show: impl FnMut(&Part<'_>)) {
        while !bytes.is_empty() {
            bytes = match &mut self.reading {
                Reading::Head => self.feed_head(bytes, &mut show),
                Reading::Headers => self.feed_header(bytes, &mut show),
                Reading::Payload { .. } => self.feed_payload(bytes, &mut show),
                Reading::Body => {
                    let lines = bytes.trim_ascii_end().split(|&byte| byte == b'\n');
                    lines.for_each(|line| show(&Part::Body(line.trim_ascii_end())));
                    return;
                }
                Reading::Nothing => return,
            };
        }
    }

    /// Nothing that follows has a meaning.
    pub(crate) fn stop(&mut self) {
        self.reading = Reading::Nothing;
    }

    fn feed_head<'b>(&mut self, bytes: &'b [u8], show: &mut impl FnMut(&Part<'_>)) -> &'b [u8] {
        let end = bytes.iter().position(|&byte| byte == b'\n').map_or(bytes.len(), |at| at + 1);
        let (line, rest) = bytes.split_at(end);
        self.partial.extend_from_slice(&line[..line.len().min(MAX_LINE - self.partial.len())]);
        if line.ends_with(b"\n") {
            let whole = mem::take(&mut self.partial);
            let text = whole.trim_ascii_end();
            if text.starts_with(b"HTTP/") && !text.starts_with(b"HTTP/1.1 101") {
                self.reading = Reading::Body;
            } else if text.is_empty() {
                self.reading = Reading::Headers;
            }
            show(&Part::HeadLine(text));
        }
        rest
    }

    fn feed_header<'b>(&mut self, bytes: &'b [u8], show: &mut impl FnMut(&Part<'_>)) -> &'b [u8] {
        let before = self.partial.len();
        self.partial.extend_from_slice(&bytes[..bytes.len().min(MAX_HEADER - before)]);
        match Header::decode(&self.partial, self.sender) {
            Ok(Some((header, length))) => {
                show(&Part::Header { header, wire: &self.partial[..length] });
                self.partial.clear();
                self.reading = match header.length {
                    0 => {
                        show(&Part::Payload { header, wire: &[], clear: &[] });
                        Reading::Headers
                    }
                    _ => Reading::Payload { header, taken: 0, wire: Vec::new(), clear: Vec::new() },
                };
                &bytes[length - before..]
            }
            Ok(None) => &[],
            Err(violation) => {
                show(&Part::NotRead(violation.to_string()));
                self.reading = Reading::Nothing;
                &[]
            }
        }
    }

    fn feed_payload<'b>(&mut self, bytes: &'b [u8], show: &mut impl FnMut(&Part<'_>)) -> &'b [u8] {
        let Reading::Payload { header, taken, wire, clear } = &mut self.reading else {
            return bytes;
        };
        let here = (header.length - *taken).min(bytes.len() as u64) as usize;
        let kept = &bytes[..here.min(MAX_KEPT - wire.len())];
        wire.extend_from_slice(kept);
        let start = clear.len();
        clear.extend_from_slice(kept);
        mask::apply(&mut clear[start..], header.key.unwrap_or_default(), start as u64);
        *taken += here as u64;
        if *taken == header.length {
            show(&Part::Payload { header: *header, wire, clear });
            self.reading = Reading::Headers;
        }
        &bytes[here..]
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
            Part::Payload { header, .. } if header.length == 0 => Vec::new(),
            Part::Payload { header, wire, clear } => {
                let shown = |bytes: &[u8]| hex(&bytes[..bytes.len().min(MAX_HEX)]);
                let mut text = format!("{} | ", shown(wire));
                let said = readable(*header, clear);
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
                seen(text)
            }
            Part::Body(line) => seen(printable(&String::from_utf8_lossy(line))),
            Part::NotRead(why) => seen(lang::TRACE_NOT_READ.with(lang, &[why])),
        }
    }
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

    fn explained(sender: Role, pieces: &[&[u8]]) -> Vec<String> {
        let mut lane = Lane::new(sender);
        let mut lines = Vec::new();
        for piece in pieces {
            lane.feed(piece, |part| {
                lines.extend(part.explained(Lang::En).into_iter().map(|line| line.text));
            });
        }
        lines
    }

    const WIRE: &[u8] = b"GET / HTTP/1.1\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n\
          \x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58\x88\x82\0\0\0\0\x03\xe8\x81\x02hi";

    #[test]
    fn explains_the_same_however_the_reads_split() {
        let whole = explained(Role::Client, &[WIRE]);
        assert_eq!(
            whole,
            [
                "GET / HTTP/1.1",
                "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
                "key + GUID: dGhlIHNhbXBsZSBub25jZQ==258EAFA5-E914-47DA-95CA-C5AB0DC85B11",
                "SHA-1: b3 7a 4f 2c c0 62 4f 16 90 f6 46 06 cf 38 59 45 b2 be c4 ea",
                "base64: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=",
                "",
                "81 85 37 fa 21 3d | FIN=1 RSV=000 opcode=1 (text) MASK=1 length=5 key=37 fa 21 3d",
                "7f 9f 4d 51 58 | payload data, unmasked: 48 65 6c 6c 6f 'Hello'",
                "88 82 00 00 00 00 | FIN=1 RSV=000 opcode=8 (close) MASK=1 length=2 key=00 00 00 00",
                "03 e8 | payload data, unmasked: 03 e8 1000 ''",
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
