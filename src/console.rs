//! The console of the example servers: one line per event, and with `--trace` every byte explained.
//!
//! ```text
//! loop ── line ──> [ at most 1,024 lines wait ] ──> writer thread ──> stdout
//!            '── full: the line is dropped and counted, never waited for
//! ```
//!
//! What was sent is read back from the bytes that the kernel took: the console shows what went over the
//! wire, not what somebody meant to send.

use std::collections::HashMap;
use std::fmt;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;

use crate::config::{Config, ValidConfig};
use crate::lang::{self, Lang};
use crate::observe::{Direction, Notice, Observer};
use crate::peers::PeerId;
use crate::protocol::connection::{Cause, Closed};
use crate::protocol::frame::{Opcode, Role};
use crate::protocol::message::Message;
use crate::trace::{Lane, Part, printable};

/// Lines that may wait for a slow terminal.
const MAX_WAITING: usize = 1024;

/// Prints lines from a thread of its own, so that whoever prints never waits for a terminal.
#[derive(Clone, Debug)]
pub struct Printer {
    lines: SyncSender<String>,
    dropped: Arc<AtomicUsize>,
}

impl Printer {
    /// Starts the thread, which ends when the last clone of the printer is gone.
    pub fn start(lang: Lang) -> Printer {
        let (printer, waiting) = Printer::new();
        let dropped = Arc::clone(&printer.dropped);
        thread::spawn(move || print_lines(&waiting, &dropped, lang, &mut io::stdout()));
        printer
    }

    fn new() -> (Printer, Receiver<String>) {
        let (lines, waiting) = sync_channel(MAX_WAITING);
        (Printer { lines, dropped: Arc::default() }, waiting)
    }

    /// Prints a line, unless too many wait already: then it is counted.
    pub fn line(&self, line: impl fmt::Display) {
        if self.lines.try_send(line.to_string()).is_err() {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// Writes each line as it comes. A closed or full stdout costs lines, never the server.
fn print_lines(
    waiting: &Receiver<String>,
    dropped: &AtomicUsize,
    lang: Lang,
    out: &mut dyn io::Write,
) {
    while let Ok(line) = waiting.recv() {
        let _ = writeln!(out, "{line}");
        let missed = dropped.swap(0, Ordering::Relaxed);
        if missed > 0 {
            let _ = writeln!(out, "{}", lang::LINES_DROPPED.with(lang, &[&missed]));
        }
        let _ = out.flush();
    }
}

/// The observer that the example servers share.
pub struct Console {
    lang: Lang,
    printer: Printer,
    traces: bool,
    replies: bool,
    /// The limits of what clients send.
    inward: ValidConfig,
    /// The limits of what this server sends: none but the standard's.
    outward: ValidConfig,
    lanes: HashMap<PeerId, Lanes>,
}

/// Both directions of one peer.
struct Lanes {
    inward: Lane,
    outward: Lane,
}

impl Console {
    /// A console that prints a line per event.
    pub fn new(lang: Lang, printer: Printer) -> Console {
        let valid = |config: Config| config.validate().expect("these limits are possible");
        Console {
            lang,
            printer,
            traces: false,
            replies: false,
            inward: valid(Config::default()),
            outward: valid(Config { max_message: 1 << 30, ..Config::default() }),
            lanes: HashMap::new(),
        }
    }

    /// Also prints what is sent.
    pub fn with_replies(self) -> Console {
        Console { replies: true, ..self }
    }

    /// Also prints every byte, explained; `config` is the server's, so that its limits are the ones judged by.
    pub fn with_trace(self, config: ValidConfig) -> Console {
        Console { traces: true, inward: config, ..self }
    }

    fn say(&self, text: lang::Text, values: &[&dyn fmt::Display]) {
        self.printer.line(text.with(self.lang, values));
    }

    fn shown(&self, message: Message<'_>) -> String {
        match message {
            Message::Text(text) => printable(text),
            Message::Binary(bytes) => lang::BINARY_MESSAGE.with(self.lang, &[&bytes.len()]),
        }
    }

    fn say_closed(&self, closed: &Closed) {
        match &closed.cause {
            Cause::Peer => self.say(lang::CLOSED_BY_CLIENT, &[]),
            Cause::Lost => self.say(lang::CONNECTION_LOST, &[]),
            Cause::Violation(_) | Cause::Internal => {
                self.say(lang::CONNECTION_FAILED, &[&closed.reason, &closed.code]);
            }
            _ => self.say(lang::CLOSED_BY_SERVER, &[]),
        }
    }

    fn say_part(&self, peer: PeerId, direction: Direction, part: &Part<'_>) {
        if self.traces {
            for line in part.explained(self.lang) {
                let arrow = if line.computed { '=' } else { arrow(direction) };
                self.printer.line(format_args!("[{peer}] {arrow}   {}", line.text));
            }
        }
        if let Part::Payload { header, clear, .. } = part
            && self.replies
            && direction == Direction::Out
        {
            match header.opcode {
                Opcode::Text => {
                    self.say(lang::SENT, &[&printable(&String::from_utf8_lossy(clear))]);
                }
                Opcode::Binary => {
                    let size = lang::BINARY_MESSAGE.with(self.lang, &[&header.length]);
                    self.say(lang::SENT, &[&size]);
                }
                _ => {}
            }
        }
    }
}

impl Observer for Console {
    fn bytes(&mut self, peer: PeerId, direction: Direction, bytes: &[u8]) {
        let Some(mut lanes) = self.lanes.remove(&peer) else { return };
        if self.traces {
            let size = match direction {
                Direction::In => lang::TRACE_READ,
                Direction::Out => lang::TRACE_WRITTEN,
            };
            let size = size.with(self.lang, &[&bytes.len()]);
            self.printer.line(format_args!("[{peer}] {} {size}", arrow(direction)));
        }
        let lane = match direction {
            Direction::In => &mut lanes.inward,
            Direction::Out => &mut lanes.outward,
        };
        if self.traces || (self.replies && direction == Direction::Out) {
            lane.feed(bytes, |part| self.say_part(peer, direction, part));
        }
        self.lanes.insert(peer, lanes);
    }

    fn notice(&mut self, peer: Option<PeerId>, notice: &Notice<'_>) {
        match notice {
            Notice::Connected(address) => {
                self.say(lang::CONNECTION_FROM, &[&address.ip(), &address.port()]);
                if let Some(peer) = peer {
                    let lanes = Lanes {
                        inward: Lane::new(Role::Client, self.inward.clone()),
                        outward: Lane::new(Role::Server, self.outward.clone()),
                    };
                    self.lanes.insert(peer, lanes);
                }
            }
            Notice::Opened { key_bytes, .. } => {
                self.say(lang::HANDSHAKE_DONE, &[]);
                if *key_bytes != 16 {
                    self.say(lang::LENIENT_KEY, &[key_bytes]);
                }
            }
            Notice::Refused(refusal) => {
                let why = format!(
                    "{} {} ({})",
                    refusal.rule.status(),
                    refusal.rule.text().get(self.lang),
                    refusal.rule.section()
                );
                self.say(lang::HANDSHAKE_REFUSED, &[&why]);
            }
            Notice::Responded(status) => self.say(lang::RESPONDED, &[status]),
            Notice::Message(message) => self.say(lang::RECEIVED, &[&self.shown(*message)]),
            Notice::Closed(closed) => self.say_closed(closed),
            Notice::Disconnected => {
                self.say(lang::CONNECTION_ENDED, &[]);
                if let Some(peer) = peer {
                    self.lanes.remove(&peer);
                }
            }
            Notice::AcceptPaused(error) => self.say(lang::ACCEPT_PAUSED, &[error]),
            Notice::Ping(_) | Notice::Pong(_) => {}
        }
    }
}

fn arrow(direction: Direction) -> char {
    match direction {
        Direction::In => '<',
        Direction::Out => '>',
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_beyond_the_limit_are_counted_and_reported() {
        let (printer, waiting) = Printer::new();
        (0..MAX_WAITING + 10).for_each(|n| printer.line(n));
        let dropped = Arc::clone(&printer.dropped);
        drop(printer);
        let mut out = Vec::new();
        print_lines(&waiting, &dropped, Lang::En, &mut out);
        let text = String::from_utf8(out).expect("text");
        assert_eq!(text.lines().count(), MAX_WAITING + 1);
        assert_eq!(
            text.lines().nth(1),
            Some("[10 lines not shown: the console was slower than the server]")
        );
    }
}
