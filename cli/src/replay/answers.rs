//! What a server sends, in a form in which two runs can be compared.
//!
//! Of a compressed message, what it decompresses to is compared. Left out is what differs between two runs of the same server: pings, which depend on the time; the fields Date and
//! Content-Length (the body is compared itself) and the order of fields; how long a redacted value was; and the fields of JSON
//! that `--ignore` names.

use framewise::lang::Lang;
use framewise::protocol::frame::{Header, Opcode};
use framewise::trace::{hex, printable};
use serde_json::Value;

use crate::recording::parts::{Fields, Part};
use crate::recording::redact::MARK;
use crate::texts;

/// The most bytes of a payload that a difference shows in hexadecimal.
const MAX_HEX: usize = 32;

/// Header fields that are not compared.
const NOT_COMPARED: [&str; 2] = ["date", "content-length"];

/// One thing that a server has sent.
#[derive(Clone, Debug)]
pub enum Answer {
    /// The status code, and the fields in an order of their own.
    Head {
        status: String,
        fields: Vec<(String, String)>,
    },
    Frame(Header, Vec<u8>),
}

/// What a part of a stream is for the comparison.
pub enum Kind {
    Answer(Answer),
    /// A ping, which is only to be answered.
    Ping(Vec<u8>),
    /// The header of a frame.
    Begins(Header),
    /// Part of a body, or of whatever else stands after an answer.
    Rest(Vec<u8>),
}

/// Sorts a part.
pub fn kind(part: Part) -> Kind {
    match part {
        Part::Frame(header, payload) if header.opcode == Opcode::Ping => Kind::Ping(payload),
        Part::Frame(header, payload) => Kind::Answer(Answer::Frame(header, payload)),
        Part::Begins(header) => Kind::Begins(header),
        Part::Body(bytes) | Part::Other(bytes) => Kind::Rest(bytes),
        // The head itself is compared.
        Part::Opens => Kind::Rest(Vec::new()),
        Part::Head(head) => {
            let Fields { start: [_, status, _], fields } = Fields::parse(&head);
            let fields = fields.into_iter().map(|(name, value)| {
                let value = without_lengths(value.as_bytes());
                (name.to_ascii_lowercase(), String::from_utf8_lossy(&value).into_owned())
            });
            let mut fields: Vec<_> =
                fields.filter(|(name, _)| !NOT_COMPARED.contains(&name.as_str())).collect();
            fields.sort();
            Kind::Answer(Answer::Head { status, fields })
        }
    }
}

/// Reports whether two answers are the same, apart from these fields of JSON.
pub fn is_same(recorded: &Answer, received: &Answer, ignored: &[String]) -> bool {
    match (recorded, received) {
        (Answer::Head { status, fields }, Answer::Head { status: other, fields: others }) => {
            status == other && fields == others
        }
        (Answer::Frame(header, payload), Answer::Frame(other, others)) => {
            let bits = |header: &Header| (header.fin, header.rsv.bits(), header.opcode);
            bits(header) == bits(other) && are_same_bytes(payload, others, ignored)
        }
        _ => false,
    }
}

/// Reports whether the bodies after an answer are the same, as [`are_same_bytes`]. An error may quote the request, so that its
/// body has asterisks, whose number does not matter.
pub fn are_same_bodies(
    answer: Option<&Answer>,
    recorded: &[u8],
    received: &[u8],
    ignored: &[String],
) -> bool {
    if !matches!(answer, Some(Answer::Head { status, .. }) if !status.starts_with('2')) {
        return are_same_bytes(recorded, received, ignored);
    }
    are_same_bytes(&without_lengths(recorded), &without_lengths(received), ignored)
}

/// Returns bytes with one asterisk in the place of several.
fn without_lengths(bytes: &[u8]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    bytes.dedup_by(|one, other| *one == MARK && *other == MARK);
    bytes
}

/// Reports whether bytes are the same, or the same JSON apart from these fields.
pub fn are_same_bytes(recorded: &[u8], received: &[u8], ignored: &[String]) -> bool {
    if recorded == received {
        return true;
    }
    let without = |bytes: &[u8]| {
        let mut value: Value = serde_json::from_slice(bytes).ok()?;
        remove(&mut value, ignored);
        Some(value)
    };
    !ignored.is_empty() && without(recorded).is_some_and(|value| Some(value) == without(received))
}

/// Removes fields from JSON, at any depth.
fn remove(value: &mut Value, names: &[String]) {
    match value {
        Value::Object(fields) => {
            fields.retain(|name, _| !names.contains(name));
            fields.values_mut().for_each(|value| remove(value, names));
        }
        Value::Array(values) => values.iter_mut().for_each(|value| remove(value, names)),
        _ => {}
    }
}

/// Reports whether the server asks for a token.
pub fn is_unauthorized(answer: &Answer) -> bool {
    matches!(answer, Answer::Head { status, .. } if status == "401")
}

/// Reports whether this is a Close.
pub fn is_close(answer: &Answer) -> bool {
    matches!(answer, Answer::Frame(header, _) if header.opcode == Opcode::Close)
}

/// Reports whether this is the Close of a server that stops (RFC 6455 §7.4.1: 1001).
pub fn is_going_away(answer: &Answer) -> bool {
    let Answer::Frame(_, payload) = answer else { return false };
    is_close(answer) && payload.starts_with(&1001_u16.to_be_bytes())
}

/// Returns two answers in words, as far as they differ.
pub fn in_words(recorded: &Answer, received: &Answer, lang: Lang) -> (String, String) {
    let (
        Answer::Head { status, fields },
        Answer::Head { status: other_status, fields: other_fields },
    ) = (recorded, received)
    else {
        return (shown(recorded, lang), shown(received, lang));
    };
    if status != other_status {
        return (shown(recorded, lang), shown(received, lang));
    }
    // The first field that only one of them has.
    let only = |fields: &[(String, String)], others: &[(String, String)]| {
        fields.iter().find(|field| !others.contains(field)).cloned()
    };
    let (here, there) = (only(fields, other_fields), only(other_fields, fields));
    let name = match (&here, &there) {
        (Some(here), Some(there)) => (&here.0).min(&there.0),
        (Some((name, _)), None) | (None, Some((name, _))) => name,
        // The same fields, but not as often.
        (None, None) => return (shown(recorded, lang), shown(received, lang)),
    };
    let in_words = |fields: &[(String, String)]| {
        let values: Vec<_> = fields.iter().filter(|field| field.0 == *name).collect();
        match values.first() {
            Some((name, value)) => printable(&format!("{name}: {value}")),
            None => texts::REPLAY_NO_FIELD.with(lang, &[name]),
        }
    };
    (in_words(fields), in_words(other_fields))
}

/// Returns an answer in words.
pub fn shown(answer: &Answer, lang: Lang) -> String {
    match answer {
        Answer::Head { status, .. } => texts::REPLAY_HEAD.with(lang, &[&printable(status)]),
        Answer::Frame(header, payload) => {
            let payload = match (header.opcode, payload.as_slice()) {
                (Opcode::Close, [high, low]) => u16::from_be_bytes([*high, *low]).to_string(),
                (Opcode::Close, [high, low, reason @ ..]) => {
                    let reason = String::from_utf8_lossy(reason);
                    format!("{} '{}'", u16::from_be_bytes([*high, *low]), printable(&reason))
                }
                (Opcode::Binary, bytes) => shown_bytes(bytes),
                (_, bytes) => match str::from_utf8(bytes) {
                    Ok(text) => format!("'{}'", printable(text)),
                    Err(_) => shown_bytes(bytes),
                },
            };
            let fin = if header.fin { "" } else { "FIN=0 " };
            format!("{fin}{} {payload}", header.opcode.name())
        }
    }
}

fn shown_bytes(bytes: &[u8]) -> String {
    let more = if bytes.len() > MAX_HEX { " …" } else { "" };
    format!("{}{more}", hex(&bytes[..bytes.len().min(MAX_HEX)]))
}

/// Returns where two payloads or bodies begin to differ, with some of what follows there.
pub fn excerpts(recorded: &[u8], received: &[u8]) -> (usize, String, String) {
    let pairs = recorded.iter().zip(received);
    let at = pairs.take_while(|(one, other)| one == other).count();
    let excerpt = |bytes: &[u8]| {
        // Not from the middle of a character.
        let start = (0..=at.min(bytes.len()))
            .rev()
            .find(|&at| bytes.get(at).is_none_or(|byte| byte & 0xc0 != 0x80));
        let rest = &bytes[start.unwrap_or_default()..];
        let text = String::from_utf8_lossy(&rest[..rest.len().min(60)]);
        format!("'{}'", printable(&text))
    };
    (at, excerpt(recorded), excerpt(received))
}

#[cfg(test)]
mod tests {
    use framewise::protocol::frame::Role;

    use super::*;
    use crate::recording::parts::Splitter;

    fn answers(wire: &[u8]) -> Vec<Answer> {
        let mut answers = Vec::new();
        Splitter::new(Role::Server).feed(wire, &mut |part| {
            if let Kind::Answer(answer) = kind(part) {
                answers.push(answer);
            }
        });
        answers
    }

    const HEAD: &[u8] =
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
        Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\nSet-Cookie: ****\r\n\r\n";

    fn same(one: &[u8], other: &[u8], ignored: &[&str]) -> bool {
        let (one, other) = (answers(one), answers(other));
        let ignored: Vec<String> = ignored.iter().map(|name| (*name).to_owned()).collect();
        let pairs = one.iter().zip(&other);
        one.len() == other.len() && pairs.fold(true, |all, (a, b)| all & is_same(a, b, &ignored))
    }

    #[test]
    fn what_differs_from_run_to_run_is_not_compared() {
        let other =
            b"HTTP/1.1 101 OK\r\nset-cookie: *\r\nDate: today\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
            Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";
        assert!(same(HEAD, other, &[]));
        let ping = [HEAD, b"\x89\x00\x81\x02hi"].concat();
        assert!(same(&ping, &[HEAD, b"\x81\x02hi"].concat(), &[]));
        let event = |time: &str| {
            let text =
                format!(r#"{{"message":"a","timestamp":"{time}","of":[{{"timestamp":1}}]}}"#);
            [HEAD, &[0x81, text.len() as u8], text.as_bytes()].concat()
        };
        assert!(same(&event("10:00"), &event("11:00:00"), &["timestamp"]));
        assert!(!same(&event("10:00"), &event("11:00:00"), &[]));
        assert!(!same(&event("10:00"), &event("11:00:00"), &["message"]));
    }

    #[test]
    fn everything_else_is_compared() {
        for (before, after) in [
            ("101 Switching Protocols", "403 Forbidden"),
            ("Upgrade: websocket", "Upgrade: other"),
            ("Set-Cookie: ****\r\n", ""),
        ] {
            let other = String::from_utf8_lossy(HEAD).replace(before, after);
            assert!(!same(HEAD, other.as_bytes(), &[]));
            let (one, other) = (answers(HEAD), answers(other.as_bytes()));
            let (here, there) = in_words(&one[0], &other[0], Lang::En);
            assert_ne!(here, there);
        }
        let frame = |frame: &[u8]| [HEAD, frame].concat();
        for other in [&b"\x82\x02hi"[..], b"\x01\x02hi", b"\x81\x02ha", b"\x81\x01h", b"\x88\x00"] {
            assert!(!same(&frame(b"\x81\x02hi"), &frame(other), &[]), "{other:?}");
        }
    }

    #[test]
    fn an_excerpt_begins_where_two_texts_differ() {
        let (at, here, there) = excerpts("olá".as_bytes(), "olà".as_bytes());
        assert_eq!((at, here.as_str(), there.as_str()), (3, "'á'", "'à'"));
        assert_eq!(excerpts(b"ab", b"abc"), (2, "''".to_owned(), "'c'".to_owned()));
    }
}
