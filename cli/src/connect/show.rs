//! How `framewise connect` shows what happens: for people, for pipes, and as JSON.

use std::io::{self, Write};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use framewise::Closed;
use framewise::Message;
use framewise::lang::{Bilingual, Lang};
use framewise::trace::{escaped, hex, is_active, printable};
use rustyline::ExternalPrinter;
use serde_json::{Value, json};

use crate::texts;

/// Prints above a line that is being typed.
pub type Printer = Box<dyn ExternalPrinter + Send>;

/// The place above the line that somebody types, for as long as somebody does; the trace writes there too.
#[derive(Clone, Default)]
pub struct Above(Arc<Mutex<Option<Printer>>>);

impl Above {
    /// From now on somebody types, or nobody any more.
    pub fn set(&self, printer: Option<Printer>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = printer;
    }

    /// Whether somebody types.
    pub fn is_there(&self) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).is_some()
    }

    /// Prints a line there; false if nobody types.
    pub fn print(&self, line: &str) -> bool {
        let mut printer = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(printer) = printer.as_mut() else { return false };
        // An editor that has ended takes nothing more.
        let _ = printer.print(format!("{line}\n"));
        true
    }
}

/// Where lines go, and what they look like.
pub struct Show {
    pub lang: Lang,
    /// Where somebody types what comes in is marked, and nothing may move the cursor.
    pub above: Above,
    /// Standard output is a terminal, whoever types: nothing that came may move its cursor.
    pub is_terminal: bool,
    pub json: bool,
    /// Bytes in hexadecimal.
    pub hex: bool,
    /// The time in front of each line.
    pub timestamps: bool,
    /// How long answers take.
    pub round_trips: bool,
    /// Why something could not be shown.
    pub unwritten: Option<io::Error>,
}

impl Show {
    /// The connection is open.
    pub fn opened(&mut self, url: &str, subprotocol: Option<&str>) {
        if self.json {
            return self.event("open", json!({"url": url, "subprotocol": subprotocol}));
        }
        if self.above.is_there() {
            let mut line = texts::CONNECTED_TO.with(self.lang, &[&printable(url)]);
            if let Some(name) = subprotocol {
                line += &format!(" ({name})");
            }
            self.line(&line);
        }
    }

    /// A message came.
    pub fn message(&mut self, message: Message<'_>, took: Option<Duration>) {
        if self.json {
            let mut fields = match message {
                Message::Text(text) => json!({"opcode": "text", "data": text.as_str()}),
                Message::Binary(bytes) => json!({"opcode": "binary", "hex": hex(bytes)}),
            };
            self.add_round_trip(&mut fields, took);
            return self.event("message", fields);
        }
        if !self.is_terminal && self.plain() {
            // A pipe has the bytes as they came, a line for each message.
            return self.write(&[message.bytes(), b"\n"]);
        }
        let shown = match message {
            Message::Text(text) => escaped(text.as_str()),
            Message::Binary(bytes) if self.hex => hex(bytes),
            Message::Binary(bytes) => texts::BINARY_MESSAGE.with(self.lang, &[&bytes.len()]),
        };
        let mark = if self.above.is_there() { "< " } else { "" };
        self.line(&format!("{mark}{shown}{}", self.took(took)));
    }

    /// The line editor is left: from now on lines go where the cursor is.
    pub fn leave_terminal(&mut self) {
        if self.above.is_there() {
            self.above.set(None);
            // The prompt that waits for another line.
            let _ = write!(io::stdout(), "\r\x1b[2K").and_then(|()| io::stdout().flush());
        }
    }

    /// A ping came, or a pong. Servers ping all the time, so only programs are told; a pong was asked for.
    pub fn control(&mut self, kind: &str, payload: &[u8], took: Option<Duration>) {
        if self.json {
            let mut fields = json!({"hex": hex(payload)});
            self.add_round_trip(&mut fields, took);
            return self.event(kind, fields);
        }
        if kind == "ping" || (!self.above.is_there() && !self.round_trips) {
            return;
        }
        let text = printable(&String::from_utf8_lossy(payload));
        self.line(&format!("{}{}", format!("< {kind} {text}").trim_end(), self.took(took)));
    }

    /// The connection ended.
    pub fn closed(&mut self, closed: &Closed) {
        let (code, reason) = (closed.code.0, printable(&closed.reason));
        if self.json {
            return self.event("close", json!({"code": code, "reason": closed.reason}));
        }
        self.note(texts::CLOSED_WITH, &[&code, &reason]);
    }

    /// A word from this program, not from the server: to standard error, so that a pipe holds messages only.
    pub fn note(&mut self, text: Bilingual, values: &[&dyn std::fmt::Display]) {
        self.remark(text.with(self.lang, values).trim_end());
    }

    /// The same, of a text that is known already.
    pub fn remark(&mut self, line: &str) {
        if !self.above.print(line) {
            let _ = writeln!(io::stderr(), "{line}");
        }
    }

    /// A line about what came in.
    fn line(&mut self, line: &str) {
        let time = if self.timestamps { format!("{} ", now()) } else { String::new() };
        if !self.above.print(&format!("{time}{line}")) {
            self.write(&[time.as_bytes(), line.as_bytes(), b"\n"]);
        }
    }

    /// A pipe has each line as soon as it is whole.
    fn write(&mut self, pieces: &[&[u8]]) {
        let mut out = io::stdout().lock();
        let written = pieces.iter().try_for_each(|piece| out.write_all(piece));
        if let Err(error) = written.and_then(|()| out.flush()) {
            self.unwritten = Some(error);
        }
    }

    fn took(&self, took: Option<Duration>) -> String {
        match took.filter(|_| self.round_trips) {
            Some(took) => format!("  ({:.2} ms)", took.as_secs_f64() * 1e3),
            None => String::new(),
        }
    }

    fn plain(&self) -> bool {
        !self.hex && !self.timestamps && !self.round_trips
    }

    fn add_round_trip(&self, fields: &mut Value, took: Option<Duration>) {
        if let Some(took) = took.filter(|_| self.round_trips) {
            fields["rtt_ms"] = json!(took.as_secs_f64() * 1e3);
        }
    }

    fn event(&mut self, kind: &str, mut fields: Value) {
        fields["event"] = json!(kind);
        fields["time"] = json!(now());
        let line = harmless(&fields.to_string());
        let timestamps = std::mem::take(&mut self.timestamps);
        self.line(&line);
        self.timestamps = timestamps;
    }
}

/// The same JSON without characters that a terminal acts on, or that turn text around. Inside of strings they may stand
/// as escapes, and nowhere else can they be.
fn harmless(json: &str) -> String {
    let escape = |c: char| {
        if is_active(c) { format!("\\u{:04x}", u32::from(c)) } else { c.to_string() }
    };
    json.chars().map(escape).collect()
}

fn now() -> String {
    humantime::format_rfc3339_millis(SystemTime::now()).to_string()
}
