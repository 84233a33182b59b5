//! The JSON events of `/ws/events`: what a client may say, and what it hears.
//!
//! ```text
//! {"message": "Olá"}                        to all others in the room
//! {"message": "Olá", "to": "ana"}           to ana alone, wherever she is
//! {"type": "join", "room": "7a", "name": "ana"}    {"type": "leave"}    {"type": "who"}
//! ```
//!
//! Rules of this file: an event is parsed once, into a type that allows nothing impossible; every fault has a code
//! that a program can act on and a text that a student can.

use std::borrow::Cow;

use framewise::lang::{Bilingual, Lang};
use serde::Serialize;
use serde_json::{Map, Value};

use crate::serve::names::{self, MAX_NAME};
use crate::texts;

/// Longest message in characters.
pub const MAX_MESSAGE: usize = 16_384;

/// What a client asks for.
#[derive(Debug, PartialEq, Eq)]
pub enum Event {
    /// Say something to the room, or to one person.
    Message {
        /// What is said.
        text: String,
        /// Who alone shall hear it.
        to: Option<String>,
    },
    /// Change room, name, or both.
    Join {
        /// The room; the same one if absent.
        room: Option<String>,
        /// The name; the same one if absent.
        name: Option<String>,
    },
    /// Go back to the lobby.
    Leave,
    /// Ask who is here.
    Who,
}

/// Why an event was not carried out.
#[derive(Debug, PartialEq, Eq)]
pub enum Fault {
    /// Not JSON: where it stops being JSON.
    InvalidJson {
        /// From 1.
        line: usize,
        /// From 1, in bytes.
        column: usize,
    },
    /// A binary frame, something other than an object, or a field of the wrong type.
    InvalidMessage,
    /// An object without `message` and without `type`.
    MissingMessage,
    /// A `type` that is none of ours.
    UnknownType(String),
    /// Nobody has this name.
    NoSuchPeer(String),
    /// Somebody else has this name.
    NameTaken(String),
    /// It cannot be a name.
    InvalidName,
    /// A message of so many characters.
    TooLong(usize),
    /// More messages in a second than allowed.
    RateLimited(u32),
}

impl Fault {
    /// For programs.
    pub fn code(&self) -> &'static str {
        match self {
            Fault::InvalidJson { .. } => "invalid_json",
            Fault::InvalidMessage => "invalid_message",
            Fault::MissingMessage => "missing_message",
            Fault::UnknownType(_) => "unknown_type",
            Fault::NoSuchPeer(_) => "no_such_peer",
            Fault::NameTaken(_) => "name_taken",
            Fault::InvalidName => "invalid_name",
            Fault::TooLong(_) => "too_long",
            Fault::RateLimited(_) => "rate_limited",
        }
    }

    /// For people.
    pub fn text(&self, lang: Lang) -> String {
        let say = |text: Bilingual, values: &[&dyn std::fmt::Display]| text.with(lang, values);
        match self {
            Fault::InvalidJson { line, column } => say(texts::INVALID_JSON, &[line, column]),
            Fault::InvalidMessage => say(texts::INVALID_MESSAGE, &[]),
            Fault::MissingMessage => say(texts::MISSING_MESSAGE, &[]),
            Fault::UnknownType(kind) => say(texts::UNKNOWN_TYPE, &[&shortened(kind, MAX_NAME)]),
            Fault::NoSuchPeer(name) => say(texts::NO_SUCH_PEER, &[&shortened(name, MAX_NAME)]),
            Fault::NameTaken(name) => say(texts::NAME_TAKEN, &[name]),
            Fault::InvalidName => say(texts::INVALID_NAME, &[&MAX_NAME]),
            Fault::TooLong(length) => say(texts::TOO_LONG, &[length, &MAX_MESSAGE]),
            Fault::RateLimited(rate) => say(texts::RATE_LIMITED, &[rate]),
        }
    }

    /// The event that tells the client.
    pub fn event(&self, lang: Lang) -> String {
        let (line, column) = match *self {
            Fault::InvalidJson { line, column } => (Some(line), Some(column)),
            _ => (None, None),
        };
        let error = ErrorBody { code: self.code(), message: self.text(lang), line, column };
        json(&ErrorEvent { kind: "error", error })
    }
}

/// Reads one event.
///
/// # Errors
///
/// It is none.
pub fn parse(text: &str) -> Result<Event, Fault> {
    let value: Value = serde_json::from_str(text).map_err(|error| Fault::InvalidJson {
        line: error.line().max(1),
        column: error.column().max(1),
    })?;
    let Value::Object(fields) = value else { return Err(Fault::InvalidMessage) };
    match fields.get("type") {
        None if !fields.contains_key("message") => Err(Fault::MissingMessage),
        None => message(&fields),
        Some(Value::String(kind)) => match kind.as_str() {
            "message" if !fields.contains_key("message") => Err(Fault::MissingMessage),
            "message" => message(&fields),
            "join" => {
                Ok(Event::Join { room: name(&fields, "room")?, name: name(&fields, "name")? })
            }
            "leave" => Ok(Event::Leave),
            "who" => Ok(Event::Who),
            other => Err(Fault::UnknownType(other.to_owned())),
        },
        Some(_) => Err(Fault::InvalidMessage),
    }
}

fn message(fields: &Map<String, Value>) -> Result<Event, Fault> {
    let Some(Value::String(text)) = fields.get("message") else {
        return Err(Fault::InvalidMessage);
    };
    let length = text.chars().count();
    if length > MAX_MESSAGE {
        return Err(Fault::TooLong(length));
    }
    Ok(Event::Message { text: text.clone(), to: string(fields, "to")? })
}

fn name(fields: &Map<String, Value>, field: &str) -> Result<Option<String>, Fault> {
    let name = string(fields, field)?;
    name.map(|name| names::parse(&name).ok_or(Fault::InvalidName)).transpose()
}

fn string(fields: &Map<String, Value>, field: &str) -> Result<Option<String>, Fault> {
    match fields.get(field) {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.clone())),
        Some(_) => Err(Fault::InvalidMessage),
    }
}

/// A chat message, as the server sends it to event clients.
#[derive(Serialize)]
pub struct RoomMessage<'a> {
    /// What was said.
    pub message: &'a str,
    /// When, by the server's clock: UTC with six decimals.
    pub timestamp: String,
    /// Who, if they have a name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<&'a str>,
    /// Where; absent if it was said to one person.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub room: Option<&'a str>,
    /// The one who alone hears it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub to: Option<&'a str>,
}

/// Somebody came or went: the answer to who did, news to the others.
#[derive(Serialize)]
pub struct Moved<'a> {
    /// `joined` or `left`.
    #[serde(rename = "type")]
    pub kind: &'a str,
    /// The room that it is about.
    pub room: &'a str,
    /// Who, if they have a name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<&'a str>,
}

/// Who is in a room.
#[derive(Serialize)]
pub struct Present<'a> {
    /// `who`.
    #[serde(rename = "type")]
    pub kind: &'a str,
    /// The room.
    pub room: &'a str,
    /// Those with a name, sorted; the first thousand.
    pub names: Vec<&'a str>,
    /// How many more have a name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub more: Option<usize>,
    /// How many have none.
    pub unnamed: usize,
}

#[derive(Serialize)]
struct ErrorEvent<'a> {
    #[serde(rename = "type")]
    kind: &'a str,
    error: ErrorBody<'a>,
}

#[derive(Serialize)]
struct ErrorBody<'a> {
    code: &'a str,
    message: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    line: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    column: Option<usize>,
}

/// An event as text.
pub fn json(event: &impl Serialize) -> String {
    serde_json::to_string(event).expect("strings and numbers are always JSON")
}

/// A text of at most so many characters; one that is longer ends in three dots.
pub fn shortened(text: &str, max: usize) -> Cow<'_, str> {
    if text.chars().nth(max).is_none() {
        return text.into();
    }
    let cut: String = text.chars().take(max - 1).collect();
    format!("{cut}…").into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_every_kind_of_event() {
        let said = |text: &str, to: Option<&str>| Event::Message {
            text: text.to_owned(),
            to: to.map(str::to_owned),
        };
        assert_eq!(parse(r#"{"message":"Olá"}"#), Ok(said("Olá", None)));
        assert_eq!(
            parse(r#"{"type":"message","message":"","to":"ana"}"#),
            Ok(said("", Some("ana")))
        );
        assert_eq!(parse(r#"{"type":"join"}"#), Ok(Event::Join { room: None, name: None }));
        assert_eq!(parse(r#"{"type":"leave"}"#), Ok(Event::Leave));
        assert_eq!(parse(r#"{"type":"who","extra":1}"#), Ok(Event::Who));
    }

    #[test]
    fn names_every_fault() {
        let long = format!(r#"{{"message":"{}"}}"#, "é".repeat(MAX_MESSAGE + 1));
        for (text, code) in [
            ("{", "invalid_json"),
            ("", "invalid_json"),
            ("[]", "invalid_message"),
            ("\"a\"", "invalid_message"),
            (r#"{"message":7}"#, "invalid_message"),
            (r#"{"type":7}"#, "invalid_message"),
            (r#"{"message":"a","to":7}"#, "invalid_message"),
            // What was meant for one must not reach all.
            (r#"{"message":"a","to":null}"#, "invalid_message"),
            ("{}", "missing_message"),
            (r#"{"type":"message"}"#, "missing_message"),
            (r#"{"type":"dance"}"#, "unknown_type"),
            (r#"{"type":"join","name":""}"#, "invalid_name"),
            (r#"{"type":"join","room":"a\u0007"}"#, "invalid_name"),
            (r#"{"type":"join","name":"\u202eana"}"#, "invalid_name"),
            (&long, "too_long"),
        ] {
            assert_eq!(parse(text).expect_err(text).code(), code, "{text}");
        }
        assert_eq!(parse("{\"a\":\n x}"), Err(Fault::InvalidJson { line: 2, column: 2 }));
    }

    #[test]
    fn a_message_of_the_longest_kind_is_read() {
        let text = "é".repeat(MAX_MESSAGE);
        let event = parse(&format!(r#"{{"message":"{text}"}}"#)).expect("short enough");
        assert_eq!(event, Event::Message { text, to: None });
    }

    #[test]
    fn a_long_text_is_cut_between_characters() {
        assert_eq!(shortened("éé", 2), "éé");
        assert_eq!(shortened("ééé", 2), "é…");
    }

    #[test]
    fn an_error_is_an_event_with_a_code_and_a_place() {
        let fault = Fault::InvalidJson { line: 1, column: 2 };
        let event: Value = serde_json::from_str(&fault.event(Lang::En)).expect("JSON");
        assert_eq!(event["type"], "error");
        assert_eq!(event["error"]["code"], "invalid_json");
        assert_eq!((&event["error"]["line"], &event["error"]["column"]), (&1.into(), &2.into()));
    }
}
