//! What the page `/explain` asks for over `/explain/ws`: bytes, labelled by the library, and bytes sent to this server itself.
//!
//! ```text
//! {"type": "explain", "input": "81 05 …"}                       labels.rs: the items and lines of `framewise explain`
//! {"type": "send", "input": "81 05 …", "path": "/echo"}         sending.rs: a thread with a connection to this server
//! ```
//!
//! `docs/explain.md` describes the questions, the responses and the limits.
//!
//! Rules of this file: the browser decodes nothing. Every question gets a response, and is paid for. The target of `send` is
//! one of this server's own listeners and one of [`SendPath`]; nothing that comes from the page can change that.

mod labels;
mod sending;

use framewise::lang::Lang;
use framewise::{Message, Outbox};
use serde::{Deserialize, Serialize};

use crate::compression::Compression;
use crate::explain::{Decoded, Known, Side, decode};
use crate::serve::classroom::{Classroom, MOVE_COST};
use crate::serve::events::{Pong, json};
use crate::serve::shorten::shortened;
use crate::serve::stepper::labels::Explained;
use crate::serve::stepper::sending::Sending;
pub use crate::serve::stepper::sending::{Stepper, Target};
use crate::texts;

/// The most bytes that are explained or sent at once.
pub const MAX_BYTES: usize = 64 * 1024;

/// The items that cost as much as one step of other work.
const ITEMS_PER_STEP: usize = 10;

/// The maximum number of characters of a fault that a response quotes.
const MAX_FAULT: usize = 200;

/// What a page asks for.
#[derive(Deserialize)]
#[serde(tag = "type", rename_all = "lowercase")]
enum Question {
    /// A sign of life.
    Ping,
    Explain {
        /// Appears in the response.
        id: Option<u64>,
        #[serde(flatten)]
        input: Input,
    },
    Send {
        id: Option<u64>,
        #[serde(flatten)]
        input: Input,
        path: SendPath,
    },
}

/// Bytes, as `framewise explain` takes them.
#[derive(Deserialize)]
struct Input {
    input: String,
    /// How to take the input. By default, digits are hexadecimal, and everything else is taken as it is.
    #[serde(rename = "as")]
    form: Option<Form>,
    /// Who sends the bytes. By default, that follows from them.
    from: Option<Side>,
    /// How messages are compressed, if the input has no response. For `send`: what is offered.
    #[serde(default)]
    deflate: Compression,
    /// The language of the page, if it is not that of the browser.
    lang: Option<Tongue>,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Tongue {
    En,
    Pt,
}

#[derive(Clone, Copy, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
enum Form {
    Hex,
    Raw,
}

/// The WebSocket paths that bytes can be sent to: all but `/explain/ws`, so that no connection opens a further one.
#[derive(Clone, Copy, Debug, Deserialize, Serialize, PartialEq, Eq)]
pub enum SendPath {
    #[serde(rename = "/")]
    Root,
    #[serde(rename = "/echo")]
    Echo,
    #[serde(rename = "/ws")]
    Raw,
    #[serde(rename = "/ws/events")]
    Events,
}

impl SendPath {
    fn as_str(self) -> &'static str {
        match self {
            SendPath::Root => "/",
            SendPath::Echo => "/echo",
            SendPath::Raw => "/ws",
            SendPath::Events => "/ws/events",
        }
    }
}

/// The response to `explain`.
#[derive(Serialize)]
struct Answer<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<u64>,
    /// A line about what may have been meant by the input instead.
    #[serde(skip_serializing_if = "Option::is_none")]
    note: Option<&'static str>,
    #[serde(flatten)]
    explained: &'a Explained,
}

/// Why a question was not answered.
#[derive(Serialize)]
struct Refused<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<u64>,
    error: Fault<'a>,
}

#[derive(Serialize)]
struct Fault<'a> {
    code: &'static str,
    message: &'a str,
}

impl Input {
    fn lang(&self, other: Lang) -> Lang {
        match self.lang {
            Some(Tongue::En) => Lang::En,
            Some(Tongue::Pt) => Lang::Pt,
            None => other,
        }
    }

    /// Decodes the input.
    fn decoded(self, lang: Lang) -> Result<Decoded, (&'static str, String)> {
        let (is_raw, is_hex) = (self.form == Some(Form::Raw), self.form == Some(Form::Hex));
        let decoded = decode(self.input.into_bytes(), is_raw, is_hex, lang);
        let decoded = decoded.map_err(|text| ("invalid_input", text))?;
        match decoded.bytes.len() {
            0..=MAX_BYTES => Ok(decoded),
            length => Err(("too_long", texts::STEP_TOO_LONG.with(lang, &[&length, &MAX_BYTES]))),
        }
    }
}

impl Classroom {
    /// Answers a question of the page.
    pub(super) fn explain(&mut self, outbox: &mut Outbox<'_>, message: Message<'_>, lang: Lang) {
        let text = if let Message::Text(text) = message { text.as_str() } else { "" };
        let (id, refusal) = match serde_json::from_str(text) {
            Ok(Question::Ping) => return self.reply(outbox, &json(&Pong::default())),
            Ok(Question::Explain { id, input }) => {
                let known = Known { from: input.from, deflate: input.deflate };
                let lang = input.lang(lang);
                match input.decoded(lang) {
                    Ok(Decoded { bytes, note }) => {
                        let note = note.map(|note| note.get(lang));
                        let (explained, work) = Explained::of(&bytes, known, lang);
                        let answer = Answer { kind: "explained", id, note, explained: &explained };
                        let answer = json(&answer);
                        // An item is far less work than a recipient.
                        self.add_steps(work.items / ITEMS_PER_STEP);
                        self.add_cost(0, answer.len() + work.decompressed);
                        return self.reply(outbox, &answer);
                    }
                    Err(refusal) => (id, refusal),
                }
            }
            Ok(Question::Send { id, input, path }) => {
                let (deflate, lang) = (input.deflate, input.lang(lang));
                self.add_cost(MOVE_COST, 0);
                let peer = outbox.peer();
                let Some(client) = self.sessions.get(peer).map(|session| session.client) else {
                    return;
                };
                let sent = input.decoded(lang).and_then(|Decoded { bytes, .. }| {
                    let sending = Sending { id, path, bytes, deflate, lang };
                    self.stepper.send(peer, client, sending)
                });
                match sent {
                    Ok(()) => return,
                    Err(refusal) => (id, refusal),
                }
            }
            Err(fault) => {
                let fault = fault.to_string();
                let text = texts::STEP_QUESTION.with(lang, &[&shortened(&fault, MAX_FAULT)]);
                (None, ("invalid_question", text))
            }
        };
        let (code, text) = refusal;
        let refused = json(&Refused { kind: "error", id, error: Fault { code, message: &text } });
        self.add_cost(0, refused.len());
        self.reply(outbox, &refused);
    }
}
