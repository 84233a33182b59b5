//! The JSON events of `/ws/events`: what a client may say, and what it hears.
//!
//! ```text
//! {"message": "Olá"}                        to all others in the room
//! {"message": "Olá", "to": "ana"}           to ana alone, wherever she is
//! {"type": "join", "room": "7a", "name": "ana"}    {"type": "leave"}    {"type": "who"}    {"type": "ping"}
//! {"type": "history", "after": 17, "epoch": "…", "limit": 100}    what was said in the room
//! ```
//!
//! Each may have an `"id"`. After the event was carried out, its client gets `{"type": "ack"}` with the same id. If it was
//! not, the error has the id.
//!
//! Rules of this file: an event is parsed into a type that allows nothing impossible; every fault has a code that a program
//! can act on and a text that a student can.

use std::borrow::Cow;
use std::fmt;
use std::rc::Rc;

use framewise::lang::{Bilingual, Lang};
use serde::Serialize;
use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::{Map, Value};

use crate::serve::class::engine::{After, Mark, Present, Recalled, Receipt, Refusal};
use crate::serve::class::names::{self, MAX_MARKS, MAX_NAME, NameFault};
use crate::serve::class::utterance::{Body, MAX_TEXT, Sender, Utterance};
use crate::serve::shorten::shortened;
use crate::texts;

/// The maximum number of characters of an id.
const MAX_ID: usize = 64;

/// The number of messages in an answer to `history`: the most, and without a `limit`.
const MAX_HISTORY: u64 = 200;
const DEFAULT_HISTORY: u64 = 100;

/// How many arrays and objects may lie in one another: the limit of `serde_json`, whose stack is bounded.
const MAX_DEPTH: usize = 127;

/// An event of a client, and the id that its answer has.
#[derive(Debug, PartialEq, Eq)]
pub struct Received {
    /// `None` if the event has no id, or none that could be read.
    pub id: Option<String>,
    /// What the client asks for, or why it cannot be done.
    pub event: Result<Event, Fault>,
}

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
    /// Ask for what was said in the room.
    History {
        /// The last message that the client has seen.
        after: Option<After>,
        /// How many messages the client wants at most.
        limit: usize,
    },
    /// Ask whether the server still answers.
    Ping,
}

/// Why an event was not carried out.
#[derive(Debug, PartialEq, Eq)]
pub enum Fault {
    /// JSON that cannot be read, and where the parser stopped.
    InvalidJson {
        /// What is wrong.
        kind: JsonFault,
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
    /// The engine has refused it.
    Refused(Refusal),
    /// Messages that the client has not seen are not kept. The number of the oldest message that is kept, or of the next one.
    HistoryGap(u64),
    /// The id is no string, empty, or too long.
    InvalidId,
    /// It cannot be a name.
    InvalidName(NameFault),
    /// A message of so many characters.
    TooLong(usize),
}

/// What is wrong with a text that should be JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JsonFault {
    /// Something that JSON does not have.
    Syntax,
    /// It ends inside a value, or is empty.
    Incomplete,
    /// Something follows the first value.
    Trailing,
    /// A line break or another control character in a string.
    ControlCharacter,
    /// An escape that is half of a character, such as `\ud83d` alone.
    LoneSurrogate,
    /// A number that no double can hold.
    NumberOutOfRange,
    /// More than [`MAX_DEPTH`] arrays and objects in one another.
    TooDeep,
}

impl JsonFault {
    /// Returns what the parser complains about. `serde_json` has no public type for it, only its messages, which the
    /// tests compare.
    fn of(error: &serde_json::Error) -> JsonFault {
        let message = error.to_string();
        let begins = |start: &str| message.starts_with(start);
        if error.is_eof() {
            JsonFault::Incomplete
        } else if begins("trailing characters") {
            JsonFault::Trailing
        } else if begins("control character") {
            JsonFault::ControlCharacter
        } else if begins("lone leading surrogate") || begins("unexpected end of hex escape") {
            JsonFault::LoneSurrogate
        } else if begins("number out of range") {
            JsonFault::NumberOutOfRange
        } else if begins("recursion limit") {
            JsonFault::TooDeep
        } else {
            JsonFault::Syntax
        }
    }

    fn code(self) -> &'static str {
        match self {
            JsonFault::LoneSurrogate => "lone_surrogate",
            JsonFault::NumberOutOfRange => "number_out_of_range",
            JsonFault::TooDeep => "too_deep",
            _ => "invalid_json",
        }
    }

    fn text(self) -> Bilingual {
        match self {
            JsonFault::Syntax => texts::INVALID_JSON,
            JsonFault::Incomplete => texts::JSON_INCOMPLETE,
            JsonFault::Trailing => texts::JSON_TRAILING,
            JsonFault::ControlCharacter => texts::JSON_CONTROL,
            JsonFault::LoneSurrogate => texts::JSON_SURROGATE,
            JsonFault::NumberOutOfRange => texts::JSON_NUMBER,
            JsonFault::TooDeep => texts::JSON_DEPTH,
        }
    }
}

impl Fault {
    /// Returns the code, for programs.
    pub fn code(&self) -> &'static str {
        match self {
            Fault::InvalidJson { kind, .. } => kind.code(),
            Fault::InvalidMessage => "invalid_message",
            Fault::MissingMessage => "missing_message",
            Fault::UnknownType(_) => "unknown_type",
            Fault::Refused(Refusal::NoSuchMember(_)) => "no_such_peer",
            Fault::Refused(Refusal::NameTaken { .. }) => "name_taken",
            Fault::Refused(Refusal::TooManyRooms(_)) => "too_many_rooms",
            Fault::HistoryGap(_) => "history_gap",
            Fault::InvalidId => "invalid_id",
            Fault::InvalidName(_) => "invalid_name",
            Fault::TooLong(_) => "too_long",
        }
    }

    /// Returns the text for people.
    pub fn text(&self, lang: Lang) -> String {
        let say = |text: Bilingual, values: &[&dyn std::fmt::Display]| text.with(lang, values);
        match self {
            // Only the text about the depth has a third place.
            Fault::InvalidJson { kind, line, column } => {
                say(kind.text(), &[line, column, &MAX_DEPTH])
            }
            Fault::InvalidMessage => say(texts::INVALID_MESSAGE, &[]),
            Fault::MissingMessage => say(texts::MISSING_MESSAGE, &[]),
            Fault::UnknownType(kind) => say(texts::UNKNOWN_TYPE, &[&shortened(kind, MAX_NAME)]),
            Fault::Refused(refusal) => match refusal {
                Refusal::NoSuchMember(name) => {
                    say(texts::NO_SUCH_PEER, &[&shortened(name, MAX_NAME)])
                }
                Refusal::NameTaken { wanted, existing, free, .. } if wanted == existing => {
                    say(texts::NAME_TAKEN, &[existing, free])
                }
                Refusal::NameTaken { existing, free, .. } => {
                    say(texts::NAME_SIMILAR, &[existing, free])
                }
                Refusal::TooManyRooms(count) => say(texts::TOO_MANY_ROOMS, &[count]),
            },
            Fault::HistoryGap(oldest) => say(texts::HISTORY_GAP, &[oldest]),
            Fault::InvalidId => say(texts::INVALID_ID, &[&MAX_ID]),
            Fault::InvalidName(fault) => match fault {
                NameFault::Length => say(texts::NAME_LENGTH, &[&MAX_NAME]),
                NameFault::Space => say(texts::NAME_SPACE, &[]),
                NameFault::Invisible(c) => {
                    say(texts::NAME_INVISIBLE, &[&format!("U+{:04X}", u32::from(*c))])
                }
                NameFault::Blank => say(texts::NAME_BLANK, &[]),
                NameFault::Marks => say(texts::NAME_MARKS, &[&MAX_MARKS]),
            },
            Fault::TooLong(length) => say(texts::TOO_LONG, &[length, &MAX_TEXT]),
        }
    }

    /// Returns the error event for the client, with the id of the event that it is about.
    pub fn event(&self, lang: Lang, id: Option<&str>) -> String {
        let mut error = ErrorBody {
            code: self.code(),
            message: self.text(lang),
            line: None,
            column: None,
            existing: None,
            free: None,
        };
        match self {
            Fault::InvalidJson { line, column, .. } => {
                (error.line, error.column) = (Some(*line), Some(*column));
            }
            Fault::Refused(Refusal::NameTaken { existing, free, .. }) => {
                error.existing = Some(existing);
                error.free = Some(free);
            }
            _ => {}
        }
        json(&ErrorEvent { kind: "error", id, error })
    }
}

/// Parses one event. A byte order mark before it is skipped.
pub fn parse(text: &str) -> Received {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    match serde_json::from_str(text) {
        Ok(Value::Object(fields)) => match id(&fields) {
            Ok(id) => Received { id, event: event(&fields) },
            Err(fault) => Received { id: None, event: Err(fault) },
        },
        Ok(_) => Received { id: None, event: Err(Fault::InvalidMessage) },
        Err(error) => {
            let fault = Fault::InvalidJson {
                kind: JsonFault::of(&error),
                line: error.line().max(1),
                column: error.column().max(1),
            };
            Received { id: id_before_fault(text), event: Err(fault) }
        }
    }
}

fn id(fields: &Map<String, Value>) -> Result<Option<String>, Fault> {
    match fields.get("id") {
        None => Ok(None),
        Some(Value::String(id)) if is_id(id) => Ok(Some(id.clone())),
        Some(_) => Err(Fault::InvalidId),
    }
}

fn is_id(text: &str) -> bool {
    !text.is_empty() && text.chars().nth(MAX_ID).is_none()
}

/// Returns the id of an object that is not valid JSON, if the id comes before the point where reading stops. A lone
/// surrogate, a number out of range and deep nesting do not stop it, because all values but the id are skipped.
fn id_before_fault(text: &str) -> Option<String> {
    struct Search<'a>(&'a mut Option<String>);

    impl<'de> DeserializeSeed<'de> for Search<'_> {
        type Value = ();

        fn deserialize<D: Deserializer<'de>>(self, object: D) -> Result<(), D::Error> {
            object.deserialize_map(self)
        }
    }

    impl<'de> Visitor<'de> for Search<'_> {
        type Value = ();

        fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
            formatter.write_str("an object")
        }

        fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<(), A::Error> {
            while let Some(field) = fields.next_key::<Cow<'de, str>>()? {
                match &*field {
                    "id" => *self.0 = Some(fields.next_value()?),
                    _ => drop(fields.next_value::<IgnoredAny>()?),
                }
            }
            Ok(())
        }
    }

    let mut found = None;
    // How the search ends is of no interest: the fault in the text is known already.
    let _ = Search(&mut found).deserialize(&mut serde_json::Deserializer::from_str(text));
    found.filter(|id| is_id(id))
}

fn event(fields: &Map<String, Value>) -> Result<Event, Fault> {
    match fields.get("type") {
        None if !fields.contains_key("message") => Err(Fault::MissingMessage),
        None => message(fields),
        Some(Value::String(kind)) => match kind.as_str() {
            "message" if !fields.contains_key("message") => Err(Fault::MissingMessage),
            "message" => message(fields),
            "join" => Ok(Event::Join { room: name(fields, "room")?, name: name(fields, "name")? }),
            "leave" => Ok(Event::Leave),
            "who" => Ok(Event::Who),
            "history" => history(fields),
            "ping" => Ok(Event::Ping),
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
    if length > MAX_TEXT {
        return Err(Fault::TooLong(length));
    }
    Ok(Event::Message { text: text.clone(), to: string(fields, "to")? })
}

fn name(fields: &Map<String, Value>, field: &str) -> Result<Option<String>, Fault> {
    let name = string(fields, field)?;
    name.map(|name| names::parse(&name).map_err(Fault::InvalidName)).transpose()
}

fn history(fields: &Map<String, Value>) -> Result<Event, Fault> {
    let (after, epoch) = (number(fields, "after")?, string(fields, "epoch")?);
    let limit = number(fields, "limit")?.unwrap_or(DEFAULT_HISTORY).min(MAX_HISTORY);
    let after = after.map(|seq| After { seq, epoch });
    Ok(Event::History { after, limit: limit as usize })
}

fn number(fields: &Map<String, Value>, field: &str) -> Result<Option<u64>, Fault> {
    let Some(value) = fields.get(field) else { return Ok(None) };
    value.as_u64().map(Some).ok_or(Fault::InvalidMessage)
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
pub struct Said<'a> {
    /// What was said.
    message: Cow<'a, str>,
    /// When, by the server's clock: UTC with six decimals.
    timestamp: &'a str,
    /// Who, if they have a name.
    #[serde(skip_serializing_if = "Option::is_none")]
    from: Option<&'a str>,
    /// Where; absent if it was said to one person.
    #[serde(skip_serializing_if = "Option::is_none")]
    room: Option<&'a str>,
    /// The one who alone hears it.
    #[serde(skip_serializing_if = "Option::is_none")]
    to: Option<&'a str>,
    /// The number in the room, for clients that want it.
    #[serde(skip_serializing_if = "Option::is_none")]
    seq: Option<u64>,
    /// The id that the client gave to it, for this client.
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<&'a str>,
}

impl Said<'_> {
    /// Returns the message as an event, with the number if it `is_numbered`. Bytes are no event.
    pub fn of(utterance: &Utterance, is_numbered: bool) -> Option<Said<'_>> {
        let Body::Text(text) = &utterance.body else { return None };
        Some(Said {
            // Event clients are promised no longer messages than they may send.
            message: shortened(text, MAX_TEXT),
            timestamp: &utterance.at,
            from: utterance.from.as_deref(),
            room: utterance.room.as_deref(),
            to: utterance.to.as_deref(),
            seq: utterance.seq.filter(|_| is_numbered),
            id: None,
        })
    }

    /// Returns the message as a part of the history. Its author learns which of its own messages it is.
    fn of_history<'a>(utterance: &'a Utterance, reader: &Sender) -> Option<Said<'a>> {
        let author = &utterance.author;
        let id = author.id.as_deref().filter(|_| author.sender == *reader);
        Some(Said { id, ..Said::of(utterance, true)? })
    }
}

/// What was said in a room, from the oldest to the newest message.
#[derive(Serialize)]
pub struct History<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    room: &'a str,
    /// The history that the numbers belong to.
    epoch: &'a str,
    /// The number of the room's last message; 0 if there was none.
    seq: u64,
    messages: Vec<Said<'a>>,
    /// Whether more was said after the last one of these.
    #[serde(skip_serializing_if = "is_false")]
    more: bool,
}

fn is_false(value: &bool) -> bool {
    !value
}

impl History<'_> {
    /// Returns the event for a reader.
    pub fn of<'a>(recalled: &'a Recalled, reader: &Sender) -> History<'a> {
        let said = |utterance: &'a Rc<Utterance>| Said::of_history(utterance, reader);
        History {
            kind: "history",
            room: &recalled.room,
            epoch: &recalled.last.epoch,
            seq: recalled.last.seq,
            messages: recalled.utterances.iter().filter_map(said).collect(),
            more: recalled.is_cut,
        }
    }
}

/// A member came or went.
#[derive(Serialize)]
pub struct Moved<'a> {
    /// `joined` or `left` for the member itself, `peer_joined` or `peer_left` for the others.
    #[serde(rename = "type")]
    pub kind: &'a str,
    /// The room that it is about.
    pub room: &'a str,
    /// Who, if they have a name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<&'a str>,
}

/// Tells a client that its event was carried out, or that a message with this id was delivered before.
#[derive(Serialize)]
pub struct Ack<'a> {
    /// `ack`.
    #[serde(rename = "type")]
    kind: &'static str,
    id: &'a str,
    /// The number of a message in its room, and the history that the number belongs to.
    #[serde(skip_serializing_if = "Option::is_none")]
    seq: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    epoch: Option<&'a str>,
}

impl Ack<'_> {
    /// Returns the acknowledgement of an id, with the place of the message if it is one of a room.
    pub fn of<'a>(id: &'a str, receipt: &'a Receipt) -> Ack<'a> {
        let place = receipt.place.as_ref();
        let (seq, epoch) = place.map(|Mark { epoch, seq }| (*seq, &**epoch)).unzip();
        Ack { kind: "ack", id, seq, epoch }
    }
}

/// The answer to `ping`.
#[derive(Serialize)]
pub struct Pong {
    /// `pong`.
    #[serde(rename = "type")]
    kind: &'static str,
}

impl Default for Pong {
    fn default() -> Pong {
        Pong { kind: "pong" }
    }
}

/// Tells a client that it is read more slowly, because it is beyond its budget.
#[derive(Serialize)]
pub struct SlowedDown {
    /// `slowed_down`.
    #[serde(rename = "type")]
    kind: &'static str,
}

impl Default for SlowedDown {
    fn default() -> SlowedDown {
        SlowedDown { kind: "slowed_down" }
    }
}

/// Who is in a room.
#[derive(Serialize)]
pub struct Who<'a> {
    /// `who`.
    #[serde(rename = "type")]
    kind: &'static str,
    room: &'a str,
    /// Those with a name, sorted; the first thousand.
    names: &'a [String],
    /// How many more have a name.
    #[serde(skip_serializing_if = "Option::is_none")]
    more: Option<usize>,
    /// How many have none.
    unnamed: usize,
}

impl Who<'_> {
    pub fn of(present: &Present) -> Who<'_> {
        Who {
            kind: "who",
            room: &present.room,
            names: &present.names,
            more: Some(present.more).filter(|more| *more > 0),
            unnamed: present.unnamed,
        }
    }
}

#[derive(Serialize)]
struct ErrorEvent<'a> {
    #[serde(rename = "type")]
    kind: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<&'a str>,
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
    /// The name that the wanted one collides with.
    #[serde(skip_serializing_if = "Option::is_none")]
    existing: Option<&'a str>,
    /// A name to ask for instead.
    #[serde(skip_serializing_if = "Option::is_none")]
    free: Option<&'a str>,
}

/// An event as text.
pub fn json(event: &impl Serialize) -> String {
    serde_json::to_string(event).expect("strings and numbers are always JSON")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Parses an event that has no id.
    fn parse(text: &str) -> Result<Event, Fault> {
        let Received { id, event } = super::parse(text);
        assert_eq!(id, None, "{text}");
        event
    }

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
        assert_eq!(parse(r#"{"type":"ping"}"#), Ok(Event::Ping));
        let history = |after, limit| Ok(Event::History { after, limit });
        assert_eq!(parse(r#"{"type":"history"}"#), history(None, 100));
        let after = After { seq: 17, epoch: Some("ab".to_owned()) };
        assert_eq!(
            parse(r#"{"type":"history","after":17,"epoch":"ab","limit":1000}"#),
            history(Some(after), 200)
        );
        let after = After { seq: 0, epoch: None };
        assert_eq!(parse(r#"{"type":"history","after":0,"limit":0}"#), history(Some(after), 0));
    }

    #[test]
    fn names_every_fault() {
        let long = format!(r#"{{"message":"{}"}}"#, "é".repeat(MAX_TEXT + 1));
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
            (r#"{"type":"history","after":-1}"#, "invalid_message"),
            (r#"{"type":"history","after":"17"}"#, "invalid_message"),
            (r#"{"type":"history","after":1,"epoch":7}"#, "invalid_message"),
            (r#"{"type":"history","limit":1.5}"#, "invalid_message"),
            (r#"{"type":"join","name":""}"#, "invalid_name"),
            (r#"{"type":"join","room":"a\u0007"}"#, "invalid_name"),
            (r#"{"type":"join","name":"\u202eana"}"#, "invalid_name"),
            (&long, "too_long"),
        ] {
            assert_eq!(parse(text).expect_err(text).code(), code, "{text}");
        }
    }

    #[test]
    fn a_fault_in_the_json_is_named() {
        use JsonFault::*;
        let nested = |levels: usize| {
            format!(r#"{{"a":{}{}}}"#, "[".repeat(levels - 1), "]".repeat(levels - 1))
        };
        let deep = nested(MAX_DEPTH + 1);
        for (text, kind, code, line, column) in [
            ("{\"a\":\n x}", Syntax, "invalid_json", 2, 2),
            (r#"{"a":NaN}"#, Syntax, "invalid_json", 1, 6),
            (r#"{"a":"\ud83x"}"#, Syntax, "invalid_json", 1, 12),
            ("\u{feff}\u{feff}{}", Syntax, "invalid_json", 1, 1),
            ("", Incomplete, "invalid_json", 1, 1),
            ("\u{feff}", Incomplete, "invalid_json", 1, 1),
            (r#"{"message":"a"#, Incomplete, "invalid_json", 1, 13),
            (r#"{"message":"\ud83d"#, Incomplete, "invalid_json", 1, 18),
            ("{} {}", Trailing, "invalid_json", 1, 4),
            ("{\"message\":\"a\nb\"}", ControlCharacter, "invalid_json", 2, 1),
            (r#"{"message":"\ud83d"}"#, LoneSurrogate, "lone_surrogate", 1, 19),
            (r#"{"message":"\ud83d\n"}"#, LoneSurrogate, "lone_surrogate", 1, 20),
            (r#"{"message":"\ud83d\ud83d"}"#, LoneSurrogate, "lone_surrogate", 1, 24),
            (r#"{"message":"\ude00"}"#, LoneSurrogate, "lone_surrogate", 1, 18),
            (r#"{"\uD83D":1}"#, LoneSurrogate, "lone_surrogate", 1, 9),
            (r#"{"message":1e999}"#, NumberOutOfRange, "number_out_of_range", 1, 16),
            (r#"{"message":-1e999}"#, NumberOutOfRange, "number_out_of_range", 1, 17),
            (&deep, TooDeep, "too_deep", 1, 132),
        ] {
            let fault = parse(text).expect_err(text);
            assert_eq!(fault, Fault::InvalidJson { kind, line, column }, "{text}");
            assert_eq!(fault.code(), code);
        }
        assert_eq!(parse(&nested(MAX_DEPTH)), Err(Fault::MissingMessage));
        assert_eq!(
            parse("\u{feff}{\"message\":\"\\ud83d\\ude00\"}"),
            Ok(Event::Message { text: "😀".to_owned(), to: None })
        );
    }

    #[test]
    fn an_id_is_read_whatever_else_is_wrong() {
        let longest = "é".repeat(MAX_ID);
        let nested = format!(r#"{{"a":{}{},"id":"c1"}}"#, "[".repeat(500), "]".repeat(500));
        for (text, id, code) in [
            (r#"{"message":"a","id":"c1"}"#, Some("c1"), None),
            (r#"{"type":"ping","id":"\ud83d\ude00 \u0000"}"#, Some("😀 \0"), None),
            (&format!(r#"{{"type":"who","id":"{longest}"}}"#), Some(&*longest), None),
            (r#"{"id":"c1"}"#, Some("c1"), Some("missing_message")),
            (r#"{"id":"c1","type":7}"#, Some("c1"), Some("invalid_message")),
            (r#"{"id":"c1","type":"dance"}"#, Some("c1"), Some("unknown_type")),
            (r#"{"id":"c1","type":"join","name":""}"#, Some("c1"), Some("invalid_name")),
            // JSON that cannot be read as a whole. JavaScript sends half a character as such an escape.
            (r#"{"message":"\ud83d","id":"c1"}"#, Some("c1"), Some("lone_surrogate")),
            (r#"{"message":1e999,"id":"c1"}"#, Some("c1"), Some("number_out_of_range")),
            (&nested, Some("c1"), Some("too_deep")),
            (r#"{"id":"c1"} {}"#, Some("c1"), Some("invalid_json")),
            (r#"{"id":"c1","message":"#, Some("c1"), Some("invalid_json")),
            (r#"{"id":"c1","message":nonsense}"#, Some("c1"), Some("invalid_json")),
            (r#"{"message":nonsense,"id":"c1"}"#, None, Some("invalid_json")),
            (r#"{"\ud83d":1,"id":"c1"}"#, None, Some("lone_surrogate")),
            (r#"["id","c1""#, None, Some("invalid_json")),
            // The id itself is at fault.
            (r#"{"message":"a","id":""}"#, None, Some("invalid_id")),
            (r#"{"message":"a","id":7}"#, None, Some("invalid_id")),
            (r#"{"message":"a","id":null}"#, None, Some("invalid_id")),
            (r#"{"type":"dance","id":["c1"]}"#, None, Some("invalid_id")),
            (&format!(r#"{{"message":"a","id":"{longest}é"}}"#), None, Some("invalid_id")),
            (&format!(r#"{{"id":"{longest}é","message":"#), None, Some("invalid_json")),
            (r#"{"message":"a","id":"\ud83d"}"#, None, Some("lone_surrogate")),
        ] {
            let Received { id: found, event } = super::parse(text);
            assert_eq!(found.as_deref(), id, "{text}");
            assert_eq!(event.as_ref().err().map(Fault::code), code, "{text}");
            if let Err(fault) = event {
                let error: Value =
                    serde_json::from_str(&fault.event(Lang::En, id)).expect("an event");
                assert_eq!(error.get("id").and_then(Value::as_str), id, "{text}");
            }
        }
    }

    /// Each fault has a text of its own, so that nobody is told the wrong thing.
    #[test]
    fn no_two_faults_have_the_same_text() {
        let mut faults: Vec<Fault> = [
            JsonFault::Syntax,
            JsonFault::Incomplete,
            JsonFault::Trailing,
            JsonFault::ControlCharacter,
            JsonFault::LoneSurrogate,
            JsonFault::NumberOutOfRange,
            JsonFault::TooDeep,
        ]
        .into_iter()
        .map(|kind| Fault::InvalidJson { kind, line: 1, column: 2 })
        .collect();
        faults.extend(
            [
                NameFault::Length,
                NameFault::Space,
                NameFault::Invisible('\u{200b}'),
                NameFault::Blank,
                NameFault::Marks,
            ]
            .map(Fault::InvalidName),
        );
        for lang in [Lang::En, Lang::Pt] {
            let texts: std::collections::BTreeSet<_> =
                faults.iter().map(|fault| fault.text(lang)).collect();
            assert_eq!(texts.len(), faults.len(), "{texts:#?}");
            assert!(texts.iter().all(|text| !text.contains("{}")), "{texts:#?}");
        }
        assert!(faults[9].text(Lang::En).contains("U+200B"));
    }

    #[test]
    fn a_taken_name_comes_with_a_free_one() {
        let taken = |wanted: &str| {
            Fault::Refused(Refusal::NameTaken {
                wanted: wanted.to_owned(),
                existing: "ana".to_owned(),
                free: format!("{wanted} 2"),
                tried: 1,
            })
        };
        for (wanted, text) in [
            ("ana", "somebody else is called 'ana'; 'ana 2' is free"),
            ("Ana", "this name is too similar to 'ana', which somebody else has; 'Ana 2' is free"),
        ] {
            let event: Value =
                serde_json::from_str(&taken(wanted).event(Lang::En, None)).expect("JSON");
            let error = &event["error"];
            assert_eq!((&error["code"], &error["message"]), (&"name_taken".into(), &text.into()));
            assert_eq!(error["existing"], "ana");
            assert_eq!(error["free"], format!("{wanted} 2"));
        }
    }

    #[test]
    fn a_message_of_the_longest_kind_is_read() {
        let text = "é".repeat(MAX_TEXT);
        let event = parse(&format!(r#"{{"message":"{text}"}}"#)).expect("short enough");
        assert_eq!(event, Event::Message { text, to: None });
    }

    #[test]
    fn an_error_is_an_event_with_a_code_and_a_place() {
        let fault = Fault::InvalidJson { kind: JsonFault::Syntax, line: 1, column: 2 };
        let event: Value = serde_json::from_str(&fault.event(Lang::En, None)).expect("JSON");
        assert_eq!(event["type"], "error");
        assert_eq!(event["error"]["code"], "invalid_json");
        assert_eq!((&event["error"]["line"], &event["error"]["column"]), (&1.into(), &2.into()));
    }
}
