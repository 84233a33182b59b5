//! The items of the library's labeller as JSON, with the lines that `framewise explain` prints for each.
//!
//! Rules of this file: positions are bits of the input. Labels cover each bit once, until [`MAX_ITEMS`] or [`MAX_LINES`] is
//! reached; then only what breaks a rule or is incomplete follows, and `shortened` is set.

use std::ops::Range;

use framewise::labels::{Item, Label, Place, What};
use framewise::lang::Lang;
use framewise::protocol::dissect::Fault;
use framewise::protocol::frame::Role;
use framewise::protocol::{header_bits, mask};
use serde::Serialize;

use crate::explain::{Known, Parts, Side, label, lines};

/// Returns digits without spaces.
fn hex(bytes: &[u8]) -> String {
    data_encoding::HEXLOWER.encode(bytes)
}

/// The most items of a response.
const MAX_ITEMS: usize = 1_024;

/// The most bytes of lines in a response.
const MAX_LINES: usize = 64 * 1024;

/// The most frames whose fields are in a response.
const MAX_FRAMES: usize = 200;

/// The most unmasked bytes of one payload in a response.
const MAX_CLEAR: usize = 4_096;

/// What some bytes mean.
#[derive(Clone, Debug, Serialize)]
pub struct Explained {
    /// The side that sent the bytes.
    from: Side,
    /// The first line of `framewise explain`.
    sender: String,
    /// The exit code of `framewise explain`: 0, 1 for incomplete, 3 for broken.
    code: u8,
    /// The bytes.
    hex: String,
    items: Vec<Drawn>,
    /// The fields of the first [`MAX_FRAMES`] frames, whether they break a rule or not.
    frames: Vec<Fields>,
    /// Whether items are missing.
    shortened: bool,
}

/// The work of labelling bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Work {
    /// The number of items, also of those that are not in the response.
    pub items: usize,
    /// How many bytes were decompressed, which can be a thousand times the input.
    pub decompressed: usize,
}

/// The fields of a frame for the stepper, which encodes it again after a change.
#[derive(Clone, Debug, Serialize)]
struct Fields {
    /// Its first byte, the first byte of its payload, and the byte after it, as far as the bytes go.
    start: usize,
    payload: usize,
    end: usize,
    /// The first byte: FIN, RSV1 to RSV3, and the opcode.
    first: u8,
    masked: bool,
    /// How many bits have the length: 7, 16 or 64.
    form: u8,
    /// The masking key in hexadecimal, if all of it is there.
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<String>,
    /// The unmasked bytes in hexadecimal. Absent if there are more than [`MAX_CLEAR`].
    #[serde(skip_serializing_if = "Option::is_none")]
    clear: Option<String>,
}

/// One item.
#[derive(Clone, Debug, Default, Serialize)]
struct Drawn {
    /// `bits`, `payload`, `head`, `body` or `unread` for labels; `decoded` for a decompressed message; `valid`, `broken` or
    /// `incomplete` for verdicts.
    kind: &'static str,
    /// Its bits.
    #[serde(skip_serializing_if = "Option::is_none")]
    bits: Option<[u64; 2]>,
    /// The name of a field of a frame header.
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<&'static str>,
    /// Its value as a decimal number, because JSON in a browser has no 64 bits.
    #[serde(skip_serializing_if = "Option::is_none")]
    value: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    section: Option<&'static str>,
    /// The clause, the status code of the Close or of the response, and the bits that break a rule.
    #[serde(skip_serializing_if = "Option::is_none")]
    clause: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    code: Option<u16>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    places: Vec<[u64; 2]>,
    /// What `framewise explain` prints.
    lines: Vec<String>,
}

/// Where the current frame is, in bits.
#[derive(Default)]
struct Frame {
    start: u64,
    payload: u64,
}

impl Explained {
    /// Labels bytes. Returns what that took as well.
    pub fn of(bytes: &[u8], known: Known, lang: Lang) -> (Explained, Work) {
        let parts = Parts::of(bytes, known);
        let (mut items, mut shortened) = (Vec::new(), false);
        let (mut work, mut length, mut frame) = (Work::default(), 0, Frame::default());
        let mut starts = Vec::new();
        let code = label(bytes, known, &mut |item| {
            work.items += 1;
            if let Item::Decoded(message) = item {
                work.decompressed += message.bytes().len();
            }
            frame.follow(item);
            if let Item::Label(Label { at, what: What::Bits { field, .. }, .. }) = item
                && field.bits.start == 0
                && starts.len() < MAX_FRAMES
            {
                starts.push(*at as usize);
            }
            let is_last = matches!(
                item,
                Item::Broken { .. }
                    | Item::HeadEnds
                    | Item::BodyEnds
                    | Item::HeaderEnds { .. }
                    | Item::PayloadEnds { .. }
            );
            if shortened && !is_last {
                return;
            }
            let mut drawn = frame.draw(item);
            drawn.lines = lines(item, lang);
            length += drawn.lines.iter().map(|line| line.len() + 1).sum::<usize>();
            if !is_last && (length > MAX_LINES || items.len() >= MAX_ITEMS) {
                shortened = true;
                return;
            }
            items.push(drawn);
        });
        let from = if parts.sender == Role::Client { Side::Client } else { Side::Server };
        let (sender, hex) = (parts.title(lang), hex(bytes));
        let frames = starts.into_iter().map(|start| Fields::of(bytes, start)).collect();
        (Explained { from, sender, code, hex, items, frames, shortened }, work)
    }
}

impl Fields {
    /// Returns the fields of the frame at `start`. The parser of the connection stops at the first broken rule; here the frame
    /// goes as far as its length says.
    fn of(bytes: &[u8], start: usize) -> Fields {
        let wire = &bytes[start..];
        let fields = header_bits::fields(wire);
        let value = |name| fields.iter().rev().find(|field| field.name.ends_with(name));
        let masked = value("MASK").is_some_and(|field| field.value == 1);
        let length = value("payload length");
        let form = length.map_or(7, |field| field.bits.len() as u8);
        let header = fields.last().map_or(0, |field| field.bits.end / 8).min(wire.len());
        let length = length.map_or(0, |field| usize::try_from(field.value).unwrap_or(usize::MAX));
        let payload = &wire[header..];
        let payload = &payload[..length.min(payload.len())];
        let key = value("masking key").filter(|field| field.bits.end <= wire.len() * 8);
        let key = key.map(|field| (field.value as u32).to_be_bytes());
        let clear = (payload.len() <= MAX_CLEAR).then(|| {
            let mut clear = payload.to_vec();
            if let Some(key) = key {
                mask::apply(&mut clear, key, 0);
            }
            hex(&clear)
        });
        Fields {
            start,
            payload: start + header,
            end: start + header + payload.len(),
            first: wire.first().copied().unwrap_or_default(),
            masked,
            form,
            key: key.map(|key| hex(&key)),
            clear,
        }
    }
}

impl Frame {
    fn follow(&mut self, item: &Item<'_>) {
        let Item::Label(label) = item else { return };
        match &label.what {
            What::Bits { field, header } => {
                if field.bits.start == 0 {
                    self.start = label.at * 8;
                }
                self.payload = self.start + header.len() as u64 * 8;
            }
            What::Payload { at, .. } => self.payload = (label.at - at) * 8,
            _ => {}
        }
    }

    fn draw(&self, item: &Item<'_>) -> Drawn {
        let of = |kind| Drawn { kind, ..Drawn::default() };
        match item {
            Item::Label(label) => drawn_label(label, self.start),
            Item::Broken { fault, places } => {
                let places = places.iter().map(|place| self.bits(place)).collect();
                match fault {
                    Fault::Violation(rule) => Drawn {
                        section: Some(rule.section()),
                        clause: Some(rule.clause()),
                        code: Some(rule.code()),
                        places,
                        ..of("broken")
                    },
                    Fault::Refusal(refusal) => Drawn {
                        section: Some(refusal.rule.section()),
                        code: Some(refusal.rule.status()),
                        ..of("broken")
                    },
                    Fault::Rejection(_) => Drawn { section: Some("RFC 6455 4.1"), ..of("broken") },
                    _ => of("broken"),
                }
            }
            Item::Valid(_) | Item::ValidHead { .. } => of("valid"),
            Item::Decoded(_) => of("decoded"),
            _ => of("incomplete"),
        }
    }

    fn bits(&self, place: &Place) -> [u64; 2] {
        match place {
            Place::Header(bits, _) => {
                [self.start + bits.start as u64, self.start + bits.end as u64]
            }
            Place::Payload(bytes) => [self.payload + bytes.start * 8, self.payload + bytes.end * 8],
        }
    }
}

fn drawn_label(label: &Label<'_>, frame: u64) -> Drawn {
    let bytes: Range<u64> = label.at..label.at + label.wire.len() as u64;
    let all = Some([bytes.start * 8, bytes.end * 8]);
    let of = |kind| Drawn { kind, bits: all, ..Drawn::default() };
    match &label.what {
        What::Bits { field, .. } => {
            let end = (frame + field.bits.end as u64).min(bytes.end * 8);
            let is_whole = end == frame + field.bits.end as u64;
            Drawn {
                bits: Some([frame + field.bits.start as u64, end]),
                name: Some(field.name),
                value: is_whole.then(|| field.value.to_string()),
                section: Some(field.section),
                ..of("bits")
            }
        }
        What::Payload { .. } => of("payload"),
        What::NotRead => of("unread"),
        What::Body => of("body"),
        _ => of("head"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn by(side: Side) -> Known {
        Known { from: Some(side), ..Known::default() }
    }

    /// The labels of anything cover each bit once and in order, and the lines are those of `framewise explain`.
    #[test]
    fn the_bits_are_covered_once() {
        let request = b"GET / HTTP/1.1\r\nHost: h\r\n\r\n";
        for bytes in [
            &b"\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58"[..],
            b"\x8a\x00\x81\x05Hello\x82\x7e\x00",
            b"\x81\xfe\x00\x05\x37",
            b"\x82\x7f\x00\x00\x00\x00\x00\x01\x00\x00",
            b"\xf1\x05Hello",
            request,
            b"GET / HTTP/1.1\r\n",
            b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nbody",
            b"GET / HTTP/1.1\r\nHost: h\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nbody\x81",
        ] {
            for from in [None, Some(Side::Client), Some(Side::Server)] {
                let known = Known { from, ..Known::default() };
                let (explained, work) = Explained::of(bytes, known, Lang::En);
                assert!(!explained.shortened && work.items == explained.items.len());
                let mut at = 0;
                for bits in explained.items.iter().filter_map(|item| item.bits) {
                    assert_eq!(bits[0], at, "{bytes:x?}");
                    at = bits[1];
                }
                assert_eq!(at, bytes.len() as u64 * 8, "{bytes:x?}");
            }
        }
    }

    /// The places of a broken rule are those of the frame that breaks it, not of the first one.
    #[test]
    fn places_are_bits_of_the_input() {
        let places = |bytes: &[u8], from| {
            let (explained, _) = Explained::of(bytes, by(from), Lang::En);
            explained.items.into_iter().find(|item| item.kind == "broken").expect("broken").places
        };
        assert_eq!(places(b"\x8a\x00\x89\x80", Side::Server), [[24, 25]]);
        assert_eq!(places(b"\x8a\x00\xe1\x00", Side::Server), [[17, 18], [18, 19]]);
        assert_eq!(places(b"\x8a\x00\x88\x02\x03\xed", Side::Server), [[32, 48]]);
        assert_eq!(places(b"\x8a\x00\x81\x02a\xff", Side::Server), [[40, 48]]);
    }

    /// A frame that breaks a rule in its header has all its fields, so that it can be mended.
    #[test]
    fn a_broken_frame_has_its_fields() {
        let frames = |bytes| Explained::of(bytes, by(Side::Client), Lang::En).0.frames;
        let all =
            frames(b"\x89\x80\x00\x00\x00\x00\xf1\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58rest");
        assert_eq!(all.len(), 2);
        assert_eq!((all[1].start, all[1].payload, all[1].end), (6, 12, 17));
        assert_eq!((all[1].first, all[1].masked, all[1].form), (0xf1, true, 7));
        assert_eq!(all[1].key.as_deref(), Some("37fa213d"));
        assert_eq!(all[1].clear.as_deref(), Some("48656c6c6f"));
        let long = &frames(b"\x81\x7f\xff\xff\xff\xff\xff\xff\xff\xffab")[0];
        assert_eq!((long.form, long.end, long.clear.as_deref()), (64, 12, Some("6162")));
        let short = &frames(b"\x81\xfe\x00")[0];
        assert_eq!((short.form, short.payload, short.end), (16, 3, 3));
        assert_eq!((short.key.as_deref(), short.clear.as_deref()), (None, Some("")));
    }

    /// However many frames there are, the response is limited, and what breaks a rule is in it.
    #[test]
    fn a_response_is_limited() {
        let mut bytes = b"\x8a\x00".repeat(20_000);
        bytes.extend(b"\x8a\x80");
        let (explained, work) = Explained::of(&bytes, by(Side::Server), Lang::En);
        assert!(explained.shortened && work.items > 100_000);
        assert!(explained.items.len() <= MAX_ITEMS + 2);
        let last = explained.items.last().expect("items");
        assert_eq!((last.kind, explained.code), ("broken", 3));
        assert_eq!(last.places, [[320_008, 320_009]]);
        let lines = explained.items.iter().flat_map(|item| &item.lines);
        assert!(lines.map(|line| line.len() + 1).sum::<usize>() <= MAX_LINES + 1_024);
        let mut long = b"\x82\x7e\xff\x00".to_vec();
        long.resize(4 + 0xff00, 0);
        let (explained, _) = Explained::of(&long, Known::default(), Lang::En);
        assert!(explained.shortened && explained.frames[0].clear.is_none());
        assert_eq!(explained.frames[0].end, long.len());
    }
}
