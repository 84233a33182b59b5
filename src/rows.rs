//! The rows in which `dissect` and `framewise explain` print labels.
//!
//! ```text
//! 81  1.......                 FIN                      1                §5.2
//!     .000....                 ...
//!     37 fa 21 3d              masking key                               §5.3
//!     payload data             7f 9f 4d 51 58
//!     masking key, repeated    37 fa 21 3d 37
//!     XOR: payload unmasked    48 65 6c 6c 6f
//!                              'Hello'
//! => valid
//! ```

use crate::labels::{Item, Label, Place, What};
use crate::lang::Lang;
use crate::protocol::close::CloseCode;
use crate::protocol::dissect::Fault;
use crate::protocol::frame::{Header, Opcode};
use crate::protocol::handshake::client::Rejection;
use crate::protocol::header_bits::Field;
use crate::protocol::refusal::Refusal;
use crate::protocol::violation::Violation;
use crate::texts;
use crate::trace::{accept_computed, decoded, escaped, hex};

/// The payload bytes that a row shows.
const BYTES: usize = 16;

/// Returns the rows of an item.
///
/// ```
/// use framewise::Config;
/// use framewise::labels::Labeller;
/// use framewise::lang::Lang;
/// use framewise::protocol::frame::Role;
/// use framewise::rows::rows;
///
/// let mut labeller = Labeller::of_frames(Role::Server, Config::default().validate()?);
/// let mut lines = Vec::new();
/// labeller.feed(b"\x8a\x00", &mut |item| lines.extend(rows(item, Lang::En)));
/// assert_eq!(lines[0], "8a  1.......                 FIN                      1                §5.2");
/// assert_eq!(lines.last().map(String::as_str), Some("=> valid"));
/// # Ok::<(), framewise::config::ConfigError>(())
/// ```
pub fn rows(item: &Item<'_>, lang: Lang) -> Vec<String> {
    match item {
        Item::Label(label) => label_rows(label, lang),
        Item::Decoded(message) => {
            vec![named(texts::ROW_DECODED.get(lang), &decoded(*message))]
        }
        // RFC 6455 §7.1.5: the code that stands for the missing one.
        Item::Valid(Header { opcode: Opcode::Close, length: 0, .. }) => {
            let no_code = texts::ROW_NO_CODE.with(lang, &[&CloseCode::NO_STATUS.0]);
            vec![named("", &no_code), texts::ROW_VALID.get(lang).to_owned()]
        }
        Item::Valid(_) => vec![texts::ROW_VALID.get(lang).to_owned()],
        Item::Broken { fault: Fault::Violation(violation), places } => {
            broken(*violation, places, lang)
        }
        Item::Broken { fault: Fault::Refusal(refusal), .. } => refused(refusal, lang),
        Item::Broken { fault: Fault::Rejection(rejection), .. } => rejected(rejection, lang),
        Item::ValidHead { handshake: true } => vec![texts::ROW_OPENS.get(lang).to_owned()],
        Item::ValidHead { handshake: false } => vec![texts::ROW_PLAIN.get(lang).to_owned()],
        Item::BodyEnds => vec![texts::ROW_BODY_ENDS.get(lang).to_owned()],
        Item::HeadEnds => vec![texts::ROW_HEAD_ENDS.get(lang).to_owned()],
        Item::HeaderEnds { bit, field } => vec![texts::ROW_HEADER_ENDS.with(lang, &[bit, field])],
        Item::PayloadEnds { arrived, length } => {
            vec![texts::ROW_PAYLOAD_ENDS.with(lang, &[arrived, length])]
        }
    }
}

fn label_rows(label: &Label<'_>, lang: Lang) -> Vec<String> {
    let wire = label.wire;
    match &label.what {
        What::EmptyLine => vec![named(texts::ROW_EMPTY_LINE.get(lang), "")],
        What::StartLine => {
            let is_response = wire.starts_with(b"HTTP/");
            let name = if is_response { texts::ROW_STATUS_LINE } else { texts::ROW_REQUEST_LINE };
            vec![named(name.get(lang), &line(wire))]
        }
        What::HeadField => head_field(&line(wire), lang),
        What::HeadEnd => vec![named(texts::ROW_HEAD_END.get(lang), "")],
        What::Body => lines(wire).map(|line| named(texts::ROW_BODY.get(lang), &line)).collect(),
        What::BadHead | What::IncompleteHead => lines(wire).map(|line| named("", &line)).collect(),
        What::Bits { field, header } => vec![bits(field, header, lang)],
        What::Payload { header, at, clear, encoded } => {
            let mut rows = payload_bytes(header, *at, wire, clear, lang);
            // If the message is encoded, its text follows when it is complete.
            rows.extend((!encoded).then(|| payload_text(header, *at, clear, lang)).flatten());
            rows
        }
        What::NotRead => {
            let rows = wire.chunks(BYTES);
            rows.map(|row| texts::ROW_NOT_READ.with(lang, &[&hex(row)])).collect()
        }
    }
}

/// Returns a row of a name and a value.
fn named(name: &str, value: &str) -> String {
    format!("    {name:<24} {value}").trim_end().to_owned()
}

/// Returns a line of a head as text without its line end.
fn line(wire: &[u8]) -> String {
    escaped(String::from_utf8_lossy(wire).trim_end_matches(['\r', '\n']))
}

fn lines(wire: &[u8]) -> impl Iterator<Item = String> {
    wire.split_inclusive(|&byte| byte == b'\n').map(line)
}

/// Returns the row of a header field of HTTP. Below a key stands how the server computes its response to it.
fn head_field(line: &str, lang: Lang) -> Vec<String> {
    let Some((name, value)) = line.split_once(':') else { return vec![named("", line)] };
    let row = format!("    {:<24} {:<41} {}", format!("{name}:"), value.trim(), section(name));
    let mut rows = vec![row.trim_end().to_owned()];
    if name.eq_ignore_ascii_case("sec-websocket-key") {
        let computed = accept_computed(value.trim(), lang);
        rows.extend(computed.into_iter().map(|line| named("", &line.text)));
    }
    rows
}

/// Returns the section that describes a header field of the opening handshake, or nothing for other fields.
fn section(name: &str) -> &'static str {
    let sections = [
        ("host", "§4.1"),
        ("upgrade", "§4.1"),
        ("connection", "§4.1"),
        ("origin", "§10.2"),
        ("sec-websocket-key", "§11.3.1"),
        ("sec-websocket-extensions", "§11.3.2"),
        ("sec-websocket-accept", "§11.3.3"),
        ("sec-websocket-protocol", "§11.3.4"),
        ("sec-websocket-version", "§11.3.5"),
    ];
    sections.iter().find(|entry| name.eq_ignore_ascii_case(entry.0)).map_or("", |entry| entry.1)
}

/// Returns the row of a field of a frame header: its bits within their byte, or its bytes in hexadecimal if it has several.
/// Two dots stand for a byte that is missing.
fn bits(field: &Field, header: &[u8], lang: Lang) -> String {
    let (first, last) = (field.bits.start / 8, (field.bits.end - 1) / 8);
    let place = if first == last {
        let bit = |at: usize| if field.bits.contains(&at) { digit(header, at) } else { '.' };
        (first * 8..first * 8 + 8).map(bit).collect()
    } else {
        let byte = |at| header.get(at).map_or("..".to_owned(), |&byte| hex(&[byte]));
        (first..=last).map(byte).collect::<Vec<_>>().join(" ")
    };
    let value = match field.name {
        _ if last >= header.len() => String::new(),
        "opcode" => {
            let opcode = Opcode::ALL.iter().find(|&&opcode| opcode as u64 == field.value);
            let name = opcode.map_or(texts::ROW_RESERVED.get(lang), |opcode| opcode.name());
            format!("{:X} ({name})", field.value)
        }
        "masking key" => String::new(),
        _ => field.value.to_string(),
    };
    let begins_byte = first == last && field.bits.start.is_multiple_of(8);
    let byte = if begins_byte { hex(&header[first..=first]) } else { String::new() };
    let row = format!("{byte:2}  {place:24} {:24} {value:16} §{}", field.name, field.section);
    row.trim_end().to_owned()
}

fn digit(header: &[u8], bit: usize) -> char {
    if header[bit / 8] >> (7 - bit % 8) & 1 == 1 { '1' } else { '0' }
}

/// Returns the rows of payload data, of the key below it, and of their XOR (§5.3).
fn payload_bytes(header: &Header, at: u64, wire: &[u8], clear: &[u8], lang: Lang) -> Vec<String> {
    let mut rows = Vec::new();
    for (n, (wire, clear)) in wire.chunks(BYTES).zip(clear.chunks(BYTES)).enumerate() {
        let start = at as usize + n * BYTES;
        rows.push(named(texts::TRACE_PAYLOAD.get(lang), &hex(wire)));
        let Some(key) = header.key else { continue };
        let key: Vec<u8> = (start..start + wire.len()).map(|i| key[i % 4]).collect();
        rows.push(named(texts::ROW_KEY.get(lang), &hex(&key)));
        rows.push(named(texts::ROW_CLEAR.get(lang), &hex(clear)));
    }
    rows
}

/// Returns the row of unmasked payload data as text, unless it is binary.
fn payload_text(header: &Header, at: u64, clear: &[u8], lang: Lang) -> Option<String> {
    let text = match (header.opcode, clear) {
        (Opcode::Binary, _) => return None,
        (Opcode::Close, [high, low]) if at == 0 => {
            texts::ROW_CLOSE_CODE.with(lang, &[&u16::from_be_bytes([*high, *low])])
        }
        (Opcode::Close, [high, low, reason @ ..]) if at == 0 => {
            let code = u16::from_be_bytes([*high, *low]);
            let reason = escaped(&String::from_utf8_lossy(reason));
            texts::ROW_CLOSE.with(lang, &[&code, &reason])
        }
        _ => format!("'{}'", escaped(&String::from_utf8_lossy(clear))),
    };
    Some(named("", &text))
}

/// Returns the row that names a broken rule and the places in the frame that break it.
fn broken(violation: Violation, places: &[Place], lang: Lang) -> Vec<String> {
    let (rule, code) = (violation.describe(lang), violation.code());
    let places: Vec<String> = places.iter().map(|place| named_place(place, lang)).collect();
    let mut rows = vec![match places.join(", ") {
        none if none.is_empty() => texts::ROW_BROKEN.with(lang, &[&rule, &code]),
        places => texts::ROW_BROKEN_AT.with(lang, &[&places, &rule, &code]),
    }];
    if violation.section() == "10.4" {
        rows.push(texts::ROW_OUR_LIMIT.get(lang).to_owned());
    }
    rows
}

fn refused(refusal: &Refusal, lang: Lang) -> Vec<String> {
    let (rule, found) = (refusal.rule, refusal.found_text(lang));
    let values: [&dyn std::fmt::Display; 3] =
        [&rule.status(), &rule.text().get(lang), &rule.section()];
    vec![texts::ROW_REFUSED.with(lang, &values), texts::ROW_FOUND.with(lang, &[&found])]
}

fn rejected(rejection: &Rejection, lang: Lang) -> Vec<String> {
    let mut rows = vec![texts::ROW_REJECTED.with(lang, &[&rejection.text(lang)])];
    if let Rejection::Malformed(refusal) = rejection {
        rows.push(texts::ROW_FOUND.with(lang, &[&refusal.found_text(lang)]));
    }
    rows
}

/// Returns the words for a place in a frame.
fn named_place(place: &Place, lang: Lang) -> String {
    match place {
        Place::Header(bits, name) if bits.len() == 1 => {
            texts::ROW_BIT.with(lang, &[&bits.start, name])
        }
        Place::Header(bits, name) => {
            texts::ROW_BITS.with(lang, &[&bits.start, &(bits.end - 1), name])
        }
        Place::Payload(bytes) if bytes.end - bytes.start == 1 => {
            texts::ROW_BYTE.with(lang, &[&bytes.start])
        }
        Place::Payload(bytes) => texts::ROW_BYTES.with(lang, &[&bytes.start, &(bytes.end - 1)]),
    }
}
