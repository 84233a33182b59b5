//! What the page draws: the labels of the library as events in JSON, and the verdict on each frame.
//!
//! ```text
//! bytes ── labels.rs (library) ── Track ──> head   lines of a request or response, Accept computed
//!                                           frame  its bits by field, payload, unmasked, verdict, reads that held it
//!                                           read   bytes that complete nothing: a read is not a frame
//!                                           body, rest, gap
//! ```
//!
//! Rules of this file: the library decides what bytes mean. Each event has a limited size, however long a frame is.

use std::fmt::Debug;
use std::hash::{DefaultHasher, Hasher};

use data_encoding::HEXLOWER;
use framewise::Message;
use framewise::config::ValidConfig;
use framewise::labels::{Item, Label, Labeller, Place, What};
use framewise::lang::{Bilingual, Lang};
use framewise::protocol::dissect::Fault;
use framewise::protocol::frame::{Header, Opcode, Role};
use framewise::protocol::handshake::client::Rejection;
use framewise::protocol::handshake::key;
use framewise::protocol::refusal::Refusal;
use framewise::protocol::violation::Violation;
use serde::Serialize;

use crate::serve::wire::tap::{MAX_DIGESTED, Resumed, digest};

/// The most bytes of a payload, of a line or of a body that an event has.
pub const MAX_SHOWN: usize = 256;

/// The most lines of a head that an event has.
const MAX_LINES: usize = 64;

/// The most ends of reads within one frame that an event has.
const MAX_CUTS: usize = 32;

/// Something to draw.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "k", rename_all = "lowercase")]
pub enum Shown {
    Head(Head),
    Frame(Frame),
    /// Part of the body of a response.
    Body {
        bytes: usize,
        text: String,
    },
    /// A read or write that completes no frame.
    Read {
        bytes: usize,
    },
    /// Bytes that the receiver does not read.
    Rest {
        bytes: usize,
    },
    /// Bytes that are missing here, because there was no viewer or because it was too much.
    Gap {
        bytes: u64,
    },
    /// The WebSocket has closed.
    Closed {
        code: u16,
        reason: String,
        #[serde(skip_serializing_if = "Option::is_none")]
        broken: Option<Broken>,
    },
}

/// A request or a response.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Head {
    /// Name and value of each line. The first line has no name.
    pub lines: Vec<(String, String)>,
    /// Lines that are not here.
    #[serde(skip_serializing_if = "is_zero")]
    pub more: usize,
    pub bytes: u64,
    /// Reads or writes that it took.
    pub reads: usize,
    /// Whether it opens a WebSocket.
    pub handshake: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub accept: Option<Accept>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub broken: Option<Broken>,
    /// The connection was closed before its end.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub cut: bool,
}

/// How the server computes `Sec-WebSocket-Accept` (RFC 6455 §4.2.2).
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Accept {
    pub key: String,
    pub guid: &'static str,
    pub sha1: String,
    pub base64: String,
}

/// A frame.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Frame {
    /// The bytes of its header.
    pub head: String,
    /// Name, first bit, end, value and section of each field.
    pub fields: Vec<(&'static str, usize, usize, String, &'static str)>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub opcode: Option<&'static str>,
    pub fin: bool,
    pub length: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// The beginning of the payload as it is on the wire, unmasked, and as text.
    pub wire: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub clear: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// Whether the message of this frame is compressed.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub compressed: bool,
    /// The length of the message that was decompressed from this frame and the ones before. `text` is then its text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub inflated: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub code: Option<u16>,
    /// Bytes of the payload that are not here.
    #[serde(skip_serializing_if = "is_zero_u64")]
    pub more: u64,
    /// The message that it belongs to, by the number of the connection and its number in this direction.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<u64>,
    /// The message of a client that the server passes on with it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cause: Option<(u64, u64)>,
    /// Positions in the frame at which a further read or write began.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub cuts: Vec<u64>,
    /// The read or write that completed it: its bytes, which of the frames in it this is, and how many it completed.
    pub read: (usize, usize, usize),
    #[serde(skip_serializing_if = "Option::is_none")]
    pub broken: Option<Broken>,
    /// The connection was closed before its end.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub cut: bool,
    /// By which a message to a client is recognized.
    #[serde(skip)]
    pub digest: u64,
}

/// A broken rule.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Broken {
    /// Its name in the code, by which the page finds its words.
    pub rule: String,
    /// The standard and the section.
    pub section: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub clause: Option<&'static str>,
    /// The close code, or the status of the response to a request. A broken response has neither.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub code: Option<u16>,
    /// In English and Portuguese.
    pub text: (String, String),
    #[serde(skip_serializing_if = "Option::is_none")]
    pub found: Option<(String, String)>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fix: Option<(String, String)>,
    /// A limit of this server, which the standard allows (§10.4).
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub limit: bool,
    /// `bits` or `bytes` of the frame that break it, from the first to before the last number.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub places: Vec<(&'static str, u64, u64)>,
}

fn is_zero(count: &usize) -> bool {
    *count == 0
}

fn is_zero_u64(count: &u64) -> bool {
    *count == 0
}

impl Broken {
    /// Describes a rule of frames and messages.
    pub fn violation(violation: Violation) -> Broken {
        let both =
            |of: &dyn Fn(Lang) -> &'static str| (of(Lang::En).to_owned(), of(Lang::Pt).to_owned());
        Broken {
            rule: name_of(&violation),
            section: format!("{} {}", violation.standard(), violation.section()),
            clause: Some(violation.clause()),
            code: Some(violation.code()),
            text: both(&|lang| violation.text_in(lang)),
            found: None,
            fix: None,
            limit: violation.section() == "10.4",
            places: Vec::new(),
        }
    }

    /// Returns nothing for a kind of fault that this program does not know.
    fn of(fault: &Fault, places: &[Place]) -> Option<Broken> {
        match fault {
            Fault::Violation(violation) => {
                let places = places.iter().map(|place| match place {
                    Place::Header(bits, _) => ("bits", bits.start as u64, bits.end as u64),
                    Place::Payload(bytes) => ("bytes", bytes.start, bytes.end),
                });
                Some(Broken { places: places.collect(), ..Broken::violation(*violation) })
            }
            Fault::Refusal(refusal) => Some(Broken::refusal(refusal)),
            Fault::Rejection(rejection) => Some(Broken::rejection(rejection)),
            _ => None,
        }
    }

    fn refusal(refusal: &Refusal) -> Broken {
        let both = |of: &dyn Fn(Lang) -> String| (of(Lang::En), of(Lang::Pt));
        let rule: Bilingual = refusal.rule.text();
        Broken {
            rule: name_of(&refusal.rule),
            section: refusal.rule.section().to_owned(),
            clause: None,
            code: Some(refusal.rule.status()),
            text: both(&|lang| rule.get(lang).to_owned()),
            found: Some(both(&|lang| refusal.found_text(lang))),
            fix: Some(both(&|lang| refusal.fix_text(lang))),
            limit: false,
            places: Vec::new(),
        }
    }

    /// Describes what is wrong with the response to an opening handshake.
    fn rejection(rejection: &Rejection) -> Broken {
        Broken {
            rule: name_of(rejection),
            section: "RFC 6455 4.1".to_owned(),
            clause: None,
            code: None,
            text: (rejection.text(Lang::En), rejection.text(Lang::Pt)),
            found: None,
            fix: None,
            limit: false,
            places: Vec::new(),
        }
    }
}

fn name_of(rule: &dyn Debug) -> String {
    format!("{rule:?}")
}

/// One direction of a connection.
pub struct Track {
    labeller: Labeller,
    /// How many bytes the labeller has got.
    position: u64,
    /// The positions at which reads or writes began since the last complete frame or head.
    reads: Vec<u64>,
    draft: Draft,
}

/// What has begun and is not complete.
#[derive(Default)]
struct Draft {
    head: Head,
    frame: Option<Frame>,
    /// The position of its first byte, and how many bytes it has so far.
    began: u64,
    bytes: u64,
    /// The payload so far: its beginning on the wire and unmasked.
    wire: Vec<u8>,
    clear: Vec<u8>,
    digest: DefaultHasher,
    /// Whether the current message is compressed.
    is_compressed: bool,
    /// Whether the current frame has RSV1 set.
    has_rsv1: bool,
    /// The message that was decompressed: its digest, its length, and its text, if it is text.
    inflated: Option<(u64, usize, Option<String>)>,
    /// Messages so far.
    messages: u64,
    /// The head that opens a WebSocket is complete.
    is_open: bool,
}

impl Track {
    /// Returns the track of everything that `sender` sends. `config` is that of the server.
    pub fn new(sender: Role, config: ValidConfig) -> Track {
        let labeller = Labeller::new(sender, config);
        Track { labeller, position: 0, reads: Vec::new(), draft: Draft::default() }
    }

    /// Begins again with a message. Returns what is missing, if something is.
    pub fn resume(&mut self, resumed: Resumed) -> Option<Shown> {
        self.labeller.resume();
        (self.position, self.draft) = (0, Draft::default());
        self.reads.clear();
        (self.draft.messages, self.draft.is_open) = (resumed.messages, true);
        Some(Shown::Gap { bytes: resumed.skipped }).filter(|_| resumed.skipped > 0)
    }

    /// Tells the responses which requests they respond to.
    pub fn responds_to(&mut self, requests: &mut Track) {
        self.labeller.responds_to(&mut requests.labeller);
    }

    /// Draws the bytes of one read or write.
    pub fn feed(&mut self, bytes: &[u8]) -> Vec<Shown> {
        if self.reads.len() < MAX_CUTS {
            self.reads.push(self.position);
        }
        let Track { labeller, draft, reads, .. } = self;
        let mut shown = Vec::new();
        labeller.feed(bytes, &mut |item| draft.take(item, reads, &mut shown));
        self.position += bytes.len() as u64;
        let frames = shown.iter().filter(|shown| matches!(shown, Shown::Frame(_))).count();
        let mut nth = 0;
        for shown in &mut shown {
            if let Shown::Frame(frame) = shown {
                nth += 1;
                frame.read = (bytes.len(), nth, frames);
            }
        }
        if shown.is_empty() && self.draft.is_open {
            shown.push(Shown::Read { bytes: bytes.len() });
        }
        shown
    }

    /// Draws what is incomplete when the connection closes.
    pub fn finish(&mut self) -> Vec<Shown> {
        let Track { labeller, draft, reads, .. } = self;
        let mut shown = Vec::new();
        labeller.finish(&mut |item| draft.take(item, reads, &mut shown));
        shown
    }
}

impl Draft {
    fn take(&mut self, item: &Item<'_>, reads: &mut Vec<u64>, shown: &mut Vec<Shown>) {
        match item {
            Item::Label(label) => self.label(label, shown),
            Item::ValidHead { handshake } => {
                (self.head.handshake, self.is_open) = (*handshake, *handshake);
                self.end_head(reads, shown);
            }
            Item::HeadEnds => {
                self.head.cut = true;
                self.end_head(reads, shown);
            }
            Item::Decoded(message) => {
                let bytes = message.bytes();
                let shown = matches!(message, Message::Text(_)).then(|| text(bytes));
                self.inflated = Some((digest(bytes), bytes.len(), shown));
            }
            Item::Valid(header) => {
                self.end_message(*header);
                self.end_frame(reads, shown);
            }
            Item::Broken { fault, places } => {
                let broken = Broken::of(fault, places);
                match &mut self.frame {
                    Some(frame) => frame.broken = broken,
                    None => self.head.broken = broken,
                }
                match self.frame {
                    Some(_) => self.end_frame(reads, shown),
                    None => self.end_head(reads, shown),
                }
            }
            Item::HeaderEnds { .. } | Item::PayloadEnds { .. } => {
                if let Some(frame) = &mut self.frame {
                    frame.cut = true;
                }
                self.end_frame(reads, shown);
            }
            _ => {}
        }
    }

    fn label(&mut self, label: &Label<'_>, shown: &mut Vec<Shown>) {
        let wire = label.wire;
        match &label.what {
            What::EmptyLine | What::StartLine | What::HeadEnd => self.line("", wire, label.at),
            What::HeadField => {
                let Some(at) = wire.iter().position(|&byte| byte == b':') else {
                    return self.line("", wire, label.at);
                };
                let (name, value) = (text(&wire[..at]), &wire[at + 1..]);
                if name.eq_ignore_ascii_case("sec-websocket-key") {
                    self.head.accept = Some(Accept::of(text(value.trim_ascii())));
                }
                self.line(&name, value, label.at);
                self.bytes += at as u64 + 1;
            }
            What::BadHead | What::IncompleteHead => {
                let mut at = label.at;
                for line in wire.split_inclusive(|&byte| byte == b'\n') {
                    self.line("", line, at);
                    at += line.len() as u64;
                }
            }
            What::Body => match shown.last_mut() {
                Some(Shown::Body { bytes, .. }) => *bytes += wire.len(),
                _ => shown.push(Shown::Body { bytes: wire.len(), text: text(wire) }),
            },
            What::NotRead => match shown.last_mut() {
                Some(Shown::Rest { bytes }) => *bytes += wire.len(),
                _ => shown.push(Shown::Rest { bytes: wire.len() }),
            },
            What::Bits { field, header } => {
                if self.frame.is_none() {
                    self.begin(label.at);
                    self.bytes = header.len() as u64;
                    let head = HEXLOWER.encode(header);
                    self.frame = Some(Frame { head, ..Frame::default() });
                }
                let Some(frame) = &mut self.frame else { return };
                let is_whole = field.bits.end <= header.len() * 8;
                match field.name {
                    "FIN" => frame.fin = field.value == 1,
                    "RSV1" => self.has_rsv1 = field.value == 1,
                    "opcode" => {
                        let known = Opcode::ALL.iter().find(|&&known| known as u64 == field.value);
                        frame.opcode = known.map(|known| known.name());
                        if matches!(known, Some(Opcode::Text | Opcode::Binary)) {
                            self.is_compressed = self.has_rsv1;
                        }
                    }
                    "payload length" | "extended payload length" => frame.length = field.value,
                    "masking key" if is_whole => frame.key = Some(HEXLOWER.encode(wire)),
                    _ => {}
                }
                let value = if is_whole { field.value.to_string() } else { String::new() };
                let (first, end) = (field.bits.start, field.bits.end);
                frame.fields.push((field.name, first, end, value, field.section));
            }
            What::Payload { clear, .. } => {
                self.bytes += wire.len() as u64;
                let digested = self.clear_bytes(wire.len());
                self.digest.write(&clear[..digested]);
                let room = MAX_SHOWN.saturating_sub(self.wire.len()).min(wire.len());
                self.wire.extend_from_slice(&wire[..room]);
                self.clear.extend_from_slice(&clear[..room]);
            }
            _ => {}
        }
    }

    /// Returns how many of the next `length` bytes of payload count for the digest.
    fn clear_bytes(&self, length: usize) -> usize {
        let header = self.frame.as_ref().map_or(0, |frame| frame.head.len() / 2);
        let before = self.bytes as usize - header - length;
        MAX_DIGESTED.saturating_sub(before).min(length)
    }

    fn begin(&mut self, at: u64) {
        if self.bytes == 0 {
            self.began = at;
        }
    }

    fn line(&mut self, name: &str, value: &[u8], at: u64) {
        self.begin(at);
        self.bytes += value.len() as u64;
        if self.head.lines.len() < MAX_LINES {
            self.head.lines.push((name.to_owned(), text(value.trim_ascii())));
        } else {
            self.head.more += 1;
        }
    }

    fn end_head(&mut self, reads: &mut Vec<u64>, shown: &mut Vec<Shown>) {
        let mut head = std::mem::take(&mut self.head);
        // The empty line is there always.
        while head.lines.last().is_some_and(|(name, value)| name.is_empty() && value.is_empty()) {
            head.lines.pop();
        }
        head.bytes = self.bytes;
        head.reads = self.cuts(reads).len() + 1;
        self.bytes = 0;
        shown.push(Shown::Head(head));
    }

    /// Counts the message that a frame belongs to. Control frames belong to none.
    fn end_message(&mut self, header: Header) {
        if header.opcode.is_control() {
            return;
        }
        if let Some(frame) = &mut self.frame {
            frame.message = Some(self.messages + 1);
        }
        self.messages += u64::from(header.fin);
    }

    fn end_frame(&mut self, reads: &mut Vec<u64>, shown: &mut Vec<Shown>) {
        let Some(mut frame) = self.frame.take() else { return };
        let (wire, clear) = (std::mem::take(&mut self.wire), std::mem::take(&mut self.clear));
        let mut digest = std::mem::take(&mut self.digest);
        let payload = self.bytes - frame.head.len() as u64 / 2;
        digest.write_usize(payload as usize);
        frame.digest = digest.finish();
        let is_control = matches!(frame.opcode, Some("close" | "ping" | "pong"));
        let is_compressed = self.is_compressed && !is_control;
        frame.compressed = is_compressed;
        frame.more = payload - wire.len() as u64;
        frame.cuts = self.cuts(reads);
        self.bytes = 0;
        match (frame.opcode, clear.as_slice()) {
            _ if is_compressed => {
                if let Some((digest, length, text)) = self.inflated.take() {
                    (frame.digest, frame.inflated, frame.text) = (digest, Some(length), text);
                }
            }
            (_, []) | (Some("binary"), _) => {}
            (Some("close"), [high, low, reason @ ..]) => {
                frame.code = Some(u16::from_be_bytes([*high, *low]));
                frame.text = Some(text(reason));
            }
            (_, clear) => frame.text = Some(text(clear)),
        }
        frame.wire = HEXLOWER.encode(&wire);
        frame.clear = frame.key.as_ref().map(|_| HEXLOWER.encode(&clear));
        shown.push(Shown::Frame(frame));
    }

    /// Returns the places within what is complete now at which a read began. Forgets the reads before its end.
    fn cuts(&self, reads: &mut Vec<u64>) -> Vec<u64> {
        let (first, end) = (self.began, self.began + self.bytes);
        let within = reads.iter().filter(|&&read| read > first && read < end);
        let cuts = within.map(|read| read - first).collect();
        reads.retain(|&read| read >= end);
        cuts
    }
}

impl Accept {
    fn of(key: String) -> Accept {
        let (sha1, base64) = (HEXLOWER.encode(&key::digest(&key)), key::accept_key(&key));
        Accept { key, guid: key::GUID, sha1, base64 }
    }
}

/// Returns the beginning of some bytes as text. A character that is cut at the end is left out.
fn text(bytes: &[u8]) -> String {
    let shown = &bytes[..bytes.len().min(MAX_SHOWN)];
    match str::from_utf8(shown) {
        Err(error) if shown.len() < bytes.len() && error.error_len().is_none() => {
            String::from_utf8_lossy(&shown[..error.valid_up_to()]).into_owned()
        }
        _ => String::from_utf8_lossy(shown).into_owned(),
    }
}

#[cfg(test)]
mod tests {
    use framewise::Config;
    use proptest::prelude::*;

    use super::*;

    fn track(sender: Role) -> Track {
        Track::new(sender, Config::default().validate().expect("valid"))
    }

    /// How many bytes of the connection an event stands for.
    fn bytes(shown: &Shown) -> u64 {
        match shown {
            Shown::Head(head) => head.bytes,
            Shown::Frame(frame) => (frame.head.len() + frame.wire.len()) as u64 / 2 + frame.more,
            Shown::Body { bytes, .. } | Shown::Rest { bytes } => *bytes as u64,
            Shown::Read { .. } | Shown::Gap { .. } | Shown::Closed { .. } => 0,
        }
    }

    /// What does not depend on how reads split the bytes: frames and heads without their reads, and sums of the rest.
    fn told(shown: &[Shown]) -> (Vec<Shown>, u64) {
        let (mut whole, mut rest) = (Vec::new(), 0);
        for shown in shown {
            match shown.clone() {
                Shown::Head(head) => whole.push(Shown::Head(Head { reads: 0, ..head })),
                Shown::Frame(frame) => {
                    let (cuts, read) = (Vec::new(), (0, 0, 0));
                    whole.push(Shown::Frame(Frame { cuts, read, ..frame }));
                }
                other => rest += bytes(&other),
            }
        }
        (whole, rest)
    }

    const REQUEST: &[u8] =
        b"GET / HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
        Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

    /// Bytes of a connection: a handshake or not, then frames or anything.
    fn wire() -> impl Strategy<Value = Vec<u8>> {
        let masked = (0_u8..16, any::<bool>(), proptest::collection::vec(0x20_u8..0x7f, 0..300));
        let frame = masked.prop_map(|(opcode, fin, payload)| {
            let mut frame = vec![u8::from(fin) << 7 | opcode];
            match payload.len() {
                short @ 0..126 => frame.push(0x80 | short as u8),
                long => frame.extend([&[0xfe][..], &(long as u16).to_be_bytes()].concat()),
            }
            frame.extend([1, 2, 3, 4]);
            frame.extend(payload);
            frame
        });
        let frames = proptest::collection::vec(frame, 0..5).prop_map(|frames| frames.concat());
        let anything = proptest::collection::vec(any::<u8>(), 0..200);
        (any::<bool>(), prop_oneof![frames, anything])
            .prop_map(|(has_head, rest)| [if has_head { REQUEST } else { &[] }, &rest].concat())
    }

    proptest! {
        /// Whatever the bytes are, nothing panics, the events stand for each byte once, have a limited size, and do not
        /// depend on how reads split the bytes.
        #[test]
        fn events_cover_every_byte_once(
            wire in wire(),
            cuts in proptest::collection::vec(any::<proptest::sample::Index>(), 0..40),
            is_client in any::<bool>(),
        ) {
            let sender = if is_client { Role::Client } else { Role::Server };
            let mut whole = track(sender);
            let mut expected = whole.feed(&wire);
            expected.extend(whole.finish());
            prop_assert_eq!(expected.iter().map(bytes).sum::<u64>(), wire.len() as u64);
            for shown in &expected {
                let length = serde_json::to_string(shown).expect("JSON").len();
                prop_assert!(length < 8 * 1024, "{}", length);
            }
            let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(wire.len() + 1)).collect();
            cuts.extend([0, wire.len()]);
            cuts.sort_unstable();
            cuts.dedup();
            let mut split = track(sender);
            let mut shown = Vec::new();
            for pair in cuts.windows(2) {
                shown.extend(split.feed(&wire[pair[0]..pair[1]]));
            }
            shown.extend(split.finish());
            prop_assert_eq!(told(&shown), told(&expected));
        }
    }

    /// Such a line breaks a rule, and is shown as it is.
    #[test]
    fn a_line_without_a_colon_is_shown_whole() {
        let wire = b"GET / HTTP/1.1\r\nHost: h\r\nBiscuit=x\r\nA:\r\n\r\n";
        let mut track = track(Role::Client);
        let mut shown = track.feed(wire);
        shown.extend(track.finish());
        let Some(Shown::Head(head)) = shown.first() else { panic!("{shown:?}") };
        let line = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let lines =
            [line("", "GET / HTTP/1.1"), line("Host", "h"), line("", "Biscuit=x"), line("A", "")];
        assert_eq!(head.lines, lines);
        assert_eq!(shown.iter().map(bytes).sum::<u64>(), wire.len() as u64);
    }

    /// A long head has a limited number of lines, each of limited length.
    #[test]
    fn a_long_head_is_shown_in_part() {
        let lines: String = (0..200).map(|n| format!("X-{n}: {}\r\n", "v".repeat(140))).collect();
        let config = Config::default().limits(|limits| limits.max_headers = 300);
        let mut track = Track::new(Role::Client, config.validate().expect("valid"));
        let head = format!("GET /{} HTTP/1.1\r\nHost: h\r\n{lines}\r\n", "p".repeat(1_000));
        let shown = track.feed(head.as_bytes());
        let [Shown::Head(shown)] = shown.as_slice() else { panic!("{shown:?}") };
        assert_eq!((shown.lines.len(), shown.more), (MAX_LINES, 202 + 1 - MAX_LINES));
        assert_eq!((shown.lines[0].1.len(), shown.bytes), (MAX_SHOWN, head.len() as u64));
    }
}
