//! How `framewise connect` shows what happens: for people, for pipes, and as JSON.

use std::collections::VecDeque;
use std::io::{self, IsTerminal, Write};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use framewise::lang::{Bilingual, Lang};
use framewise::protocol::handshake::client::Rejection;
use framewise::protocol::refusal::Rule;
use framewise::trace::{escaped, hex, is_active, printable};
use framewise::{CloseCode, ConnectError, Message};
use rustyline::ExternalPrinter;
use serde_json::{Value, json};

use crate::clock::timestamp_millis;
use crate::texts;

/// The bytes of lines that may wait for the line editor to print them. It prints nothing while the person searches the
/// history. Beyond the limit, nothing more is received.
const MAX_UNPRINTED: usize = 1 << 20;

/// Moves the cursor up and down again. The editor redraws the line that is being typed, and nothing else changes.
const REDRAW: &str = "\x1b[A\n";

/// What the prompt of a terminal without a line editor looks like.
const PROMPT: &str = "> ";

/// Where lines for a person who types are printed.
pub enum Place {
    /// Above the line of the line editor.
    Editor(Printing),
    /// On a terminal without a line editor, whose cursor never moves up.
    Plain(Plain),
}

/// Lines for the line editor to print. A thread hands them over, because the editor may take them late.
pub struct Printing(Arc<Queue>);

/// The lines that the editor has not printed yet, as far as is known.
#[derive(Default)]
struct Queue {
    lines: Mutex<Unprinted>,
    changed: Condvar,
}

#[derive(Default)]
struct Unprinted {
    lines: VecDeque<String>,
    /// The size of the lines in bytes.
    bytes: usize,
    /// How many of the lines the editor has, 0 or 1. It takes a line only when it has printed the one before it, so a line
    /// is printed for sure when the next one is handed over.
    handed_over: usize,
}

impl Printing {
    fn new(mut printer: impl ExternalPrinter + Send + 'static) -> Printing {
        let queue: Arc<Queue> = Arc::default();
        let shared = Arc::clone(&queue);
        thread::spawn(move || {
            loop {
                let all_handed_over =
                    |queue: &mut Unprinted| queue.lines.len() <= queue.handed_over;
                let waited = shared.changed.wait_while(lock(&shared.lines), all_handed_over);
                let queue = waited.unwrap_or_else(PoisonError::into_inner);
                let line = queue.lines[queue.handed_over].clone();
                drop(queue);
                let printed = printer.print(line);
                let mut queue = lock(&shared.lines);
                if queue.handed_over == 1
                    && let Some(line) = queue.lines.pop_front()
                {
                    queue.bytes -= line.len();
                }
                queue.handed_over = queue.lines.len().min(1);
                shared.changed.notify_all();
                if printed.is_err() {
                    // The editor has ended.
                    return;
                }
            }
        });
        Printing(queue)
    }

    fn print(&self, line: String) {
        let Queue { lines, changed } = &*self.0;
        let full = changed.wait_while(lock(lines), |queue| queue.bytes > MAX_UNPRINTED);
        let mut queue = full.unwrap_or_else(PoisonError::into_inner);
        queue.bytes += line.len();
        queue.lines.push_back(line);
        changed.notify_all();
    }

    /// Waits until the editor has printed all lines, for at most a second. Returns those that it has not printed.
    fn flush(&self) -> Vec<String> {
        self.print(REDRAW.to_owned());
        let Queue { lines, changed } = &*self.0;
        let wait = |queue: &mut Unprinted| queue.lines.len() > queue.handed_over;
        let waited = changed.wait_timeout_while(lock(lines), Duration::from_secs(1), wait);
        let (mut queue, timeout) = waited.unwrap_or_else(PoisonError::into_inner);
        let left = std::mem::take(&mut *queue).lines;
        if timeout.timed_out() {
            left.into_iter().filter(|line| line != REDRAW).collect()
        } else {
            Vec::new()
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A terminal whose lines the kernel edits.
pub struct Plain {
    /// The person's terminal. Standard output if it is a terminal, otherwise standard error.
    out: Box<dyn Write + Send>,
    /// There is a terminal to show a prompt on.
    has_prompts: bool,
    /// The cursor is behind a prompt.
    is_prompting: bool,
}

impl Place {
    /// Returns the place above the line of a line editor.
    pub fn editor(printer: impl ExternalPrinter + Send + 'static) -> Place {
        Place::Editor(Printing::new(printer))
    }

    /// Returns the place for a terminal without a line editor.
    pub fn plain() -> Place {
        let is_stdout = io::stdout().is_terminal();
        let out: Box<dyn Write + Send> =
            if is_stdout { Box::new(io::stdout()) } else { Box::new(io::stderr()) };
        let has_prompts = is_stdout || io::stderr().is_terminal();
        Place::Plain(Plain { out, has_prompts, is_prompting: false })
    }
}

impl Plain {
    fn prompt(&mut self) {
        if self.has_prompts {
            self.is_prompting = true;
            self.write(PROMPT);
        }
    }

    /// Ends the line of the prompt, if the cursor is there.
    fn leave_prompt(&mut self) -> bool {
        let was_prompting = std::mem::take(&mut self.is_prompting);
        if was_prompting {
            self.write("\n");
        }
        was_prompting
    }

    fn print(&mut self, line: &str) {
        let was_prompting = self.leave_prompt();
        self.write(&format!("{line}\n"));
        if was_prompting {
            self.prompt();
        }
    }

    fn write(&mut self, text: &str) {
        // The terminal may have gone, and the program ends soon.
        let _ = self.out.write_all(text.as_bytes()).and_then(|()| self.out.flush());
    }
}

/// The place for lines while a person types. The trace is printed there too.
#[derive(Clone, Default)]
pub struct Above(Arc<Mutex<Option<Place>>>);

impl Above {
    /// Sets the place. `None` means that nobody types any more.
    pub fn set(&self, place: Option<Place>) {
        *self.place() = place;
    }

    /// Reports whether a person types.
    pub fn is_there(&self) -> bool {
        self.place().is_some()
    }

    /// Prints a line. Returns false if nobody types.
    pub fn print(&self, line: &str) -> bool {
        match self.place().as_mut() {
            Some(Place::Editor(printing)) => printing.print(format!("{line}\n")),
            Some(Place::Plain(plain)) => plain.print(line),
            None => return false,
        }
        true
    }

    /// Shows a prompt on a terminal without a line editor.
    pub fn prompt(&self) {
        if let Some(Place::Plain(plain)) = self.place().as_mut() {
            plain.prompt();
        }
    }

    /// Shows the prompt and the line that is being typed again.
    pub fn redraw(&self) {
        match self.place().as_mut() {
            Some(Place::Editor(printing)) => printing.print(REDRAW.to_owned()),
            Some(Place::Plain(plain)) if plain.is_prompting => plain.prompt(),
            _ => {}
        }
    }

    /// Waits until everything is printed. Returns the lines that the line editor could not print, because it is busy.
    pub fn flush(&self) -> Vec<String> {
        match self.place().as_ref() {
            Some(Place::Editor(printing)) => printing.flush(),
            _ => Vec::new(),
        }
    }

    /// Notes that Enter has moved the cursor to a new line.
    pub fn line_was_typed(&self) {
        if let Some(Place::Plain(plain)) = self.place().as_mut() {
            plain.is_prompting = false;
        }
    }

    /// Ends it: from now on lines go where the cursor is. Prints the lines that the line editor could not print. If an
    /// empty prompt of the editor is left above the cursor, removes it.
    fn leave(&self, is_empty: bool, unprinted: &[String]) {
        match self.place().take() {
            Some(Place::Editor(_)) => {
                let before = match (is_empty, unprinted) {
                    (true, _) => "\x1b[A\r\x1b[2K",
                    (false, []) => "",
                    // The cursor is still in the line that is being typed.
                    (false, _) => "\n",
                };
                let text = format!("{before}{}", unprinted.concat());
                // The terminal may have gone.
                let _ = io::stdout().write_all(text.as_bytes()).and_then(|()| io::stdout().flush());
            }
            Some(Place::Plain(mut plain)) => drop(plain.leave_prompt()),
            None => {}
        }
    }

    fn place(&self) -> MutexGuard<'_, Option<Place>> {
        lock(&self.0)
    }
}

/// Where lines go, and what they look like.
pub struct Show {
    pub lang: Lang,
    /// The place for lines while a person types. Messages are marked there, and nothing may move the cursor.
    pub above: Above,
    /// Standard output is a terminal. No message may move its cursor.
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
            if self.is_terminal { self.line(&line) } else { self.remark(&line) }
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
        let mark = if self.is_terminal && self.above.is_there() { "< " } else { "" };
        self.line(&format!("{mark}{shown}{}", self.took(took)));
    }

    /// Ends the place above the line that is being typed, as [`Above::leave`] does.
    pub fn leave_terminal(&mut self, is_empty: bool, unprinted: &[String]) {
        self.above.leave(is_empty, unprinted);
    }

    /// A connection could not be opened. Shows why: for a refused handshake the status, the fields that matter, and the
    /// body, which may explain the refusal.
    pub fn refused(&mut self, error: &ConnectError, max_head: usize) {
        let lang = self.lang;
        let ConnectError::Rejected(rejected) = error else {
            return self.note(texts::ERROR, &[&escaped(&error.text(lang))]);
        };
        let is_too_long = matches!(&rejected.rejection, Rejection::Malformed(refusal)
            if matches!(refusal.rule, Rule::HeadTooLarge | Rule::RequestLineTooLong));
        if is_too_long {
            self.note(texts::ERROR, &[&texts::HEAD_TOO_LONG.with(lang, &[&max_head])]);
        } else {
            self.note(texts::ERROR, &[&escaped(&error.text(lang))]);
        }
        let answer = String::from_utf8_lossy(&rejected.response);
        let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
        let is_shown = |line: &&str| match rejected.rejection {
            // Only the first line is sure to be complete.
            _ if is_too_long => false,
            Rejection::Redirect { .. } => is_field(line, "location"),
            // The fields of a 101 are what is wrong.
            Rejection::Upgrade
            | Rejection::Connection
            | Rejection::Accept
            | Rejection::Extension
            | Rejection::Subprotocol => true,
            _ => false,
        };
        let mut lines = head.lines();
        let status = lines.next().map(printable);
        // A cut address would be of no use.
        let fields = lines.filter(is_shown).map(escaped);
        for line in status.into_iter().chain(fields).chain(body.lines().map(printable)) {
            self.remark(&format!("  {line}"));
        }
    }

    /// A ping or a pong arrived. Servers ping all the time, so pings are only reported in JSON. A pong was asked for.
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
        let line = format!("{}{}", format!("< {kind} {text}").trim_end(), self.took(took));
        if self.is_terminal || self.round_trips { self.line(&line) } else { self.remark(&line) }
    }

    /// The connection is closed.
    pub fn closed(&mut self, code: CloseCode, reason: &str) {
        if self.json {
            return self.event("close", json!({"code": code.0, "reason": reason}));
        }
        self.note(texts::CLOSED_WITH, &[&code.0, &printable(reason)]);
    }

    /// Prints a note of this program. It goes to standard error, so that a pipe has messages only.
    pub fn note(&mut self, text: Bilingual, values: &[&dyn std::fmt::Display]) {
        self.remark(text.with(self.lang, values).trim_end());
    }

    /// Prints a line as [`note`](Show::note) does.
    pub fn remark(&mut self, line: &str) {
        if !self.above.print(line) {
            let _ = writeln!(io::stderr(), "{line}");
        }
    }

    /// Prints a line about what arrived: above the line being typed if standard output is that terminal.
    fn line(&mut self, line: &str) {
        let time = if self.timestamps { format!("{} ", timestamp_millis()) } else { String::new() };
        if !(self.is_terminal && self.above.print(&format!("{time}{line}"))) {
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
        fields["time"] = json!(timestamp_millis());
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

/// Reports whether this line of a head is a field with this name.
fn is_field(line: &str, name: &str) -> bool {
    line.split_once(':').is_some_and(|(found, _)| found.eq_ignore_ascii_case(name))
}
