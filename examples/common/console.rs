//! The console of the example servers: one line for each event, and with `--trace` an explanation of every byte.
//!
//! ```text
//! event loop ── line ──> [ queue of at most 1,024 lines ] ──> writer thread ──> stdout
//!                  '── queue full: the line is dropped and counted, and the loop goes on
//! ```
//!
//! Sent messages are decoded from the bytes that the kernel took. So the console shows what was really sent.
//!
//! While a single client is connected, its lines need no name. While there are more, each line begins with the address
//! of its client, as in `[127.0.0.1:52512] Message received: hello`.

use std::collections::HashMap;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;

use framewise::config::{Config, ValidConfig};
use framewise::internal::transport_text;
use framewise::lang::{Bilingual, Lang};
use framewise::observe::{Direction, Notice, Observer};
use framewise::protocol::frame::{Opcode, Role};
use framewise::trace::{Lane, Part, printable};
use framewise::{Cause, Closed, Message, PeerId};

use crate::common::texts;

/// How many lines may wait for a slow terminal.
const MAX_WAITING: usize = 1024;

/// Prints lines from a separate thread, so that the event loop never waits for a terminal.
#[derive(Clone, Debug)]
pub struct Printer {
    lines: SyncSender<String>,
    dropped: Arc<AtomicUsize>,
}

impl Printer {
    /// Starts the thread, which ends after the last clone of the printer is dropped.
    pub fn start(lang: Lang) -> Printer {
        let (printer, waiting) = Printer::new();
        let dropped = Arc::clone(&printer.dropped);
        thread::spawn(move || print_lines(&waiting, &dropped, lang, &mut io::stdout()));
        printer
    }

    /// Returns a printer and the receiver of its lines.
    fn new() -> (Printer, Receiver<String>) {
        let (lines, waiting) = sync_channel(MAX_WAITING);
        (Printer { lines, dropped: Arc::default() }, waiting)
    }

    /// Queues a line, or counts it as dropped if the queue is full.
    pub fn line(&self, line: impl fmt::Display) {
        if self.lines.try_send(line.to_string()).is_err() {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// Writes the lines from the queue, and how many were dropped. Ignores errors: if stdout is closed the lines are lost,
/// and the server goes on.
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
            let _ = writeln!(out, "{}", texts::LINES_DROPPED.with(lang, &[&missed]));
        }
        let _ = out.flush();
    }
}

/// The observer of the example servers.
#[derive(Debug)]
pub struct Console {
    lang: Lang,
    printer: Printer,
    traces: bool,
    replies: bool,
    /// Every line names its client, even if only one is connected.
    always_names: bool,
    /// The addresses of the clients that are connected.
    addresses: HashMap<PeerId, SocketAddr>,
    /// The limits for what clients send.
    inward: ValidConfig,
    /// The limits for what the server sends: only those of the standard.
    outward: ValidConfig,
    lanes: HashMap<PeerId, Lanes>,
}

/// Both directions of one peer.
#[derive(Debug)]
struct Lanes {
    inward: Lane,
    outward: Lane,
}

impl Console {
    /// Returns a console that prints a line for each event.
    pub fn new(lang: Lang, printer: Printer) -> Console {
        let valid = |config: Config| config.validate().expect("these limits are possible");
        Console {
            lang,
            printer,
            traces: false,
            replies: false,
            always_names: false,
            addresses: HashMap::new(),
            inward: valid(Config::default()),
            outward: valid(Config::default().limits(|limits| limits.max_message = 1 << 30)),
            lanes: HashMap::new(),
        }
    }

    /// Also prints the messages that are sent.
    pub fn with_replies(self) -> Console {
        Console { replies: true, ..self }
    }

    /// Begins every line with the address of its client, even while only one is connected.
    pub fn with_addresses(self) -> Console {
        Console { always_names: true, ..self }
    }

    /// Also explains every byte. `config` is the server's, because the trace applies the same limits.
    pub fn with_trace(self, config: ValidConfig) -> Console {
        Console { traces: true, inward: config, ..self }
    }

    /// Prints a line about a client, or about the whole server if there is no `peer`.
    fn line(&self, peer: Option<PeerId>, text: impl fmt::Display) {
        let names = self.always_names || self.addresses.len() > 1;
        match peer.filter(|_| names).and_then(|peer| self.addresses.get(&peer)) {
            Some(address) => self.printer.line(format_args!("[{address}] {text}")),
            None => self.printer.line(text),
        }
    }

    fn say(&self, peer: Option<PeerId>, text: Bilingual, values: &[&dyn fmt::Display]) {
        self.line(peer, text.with(self.lang, values));
    }

    fn shown(&self, message: Message<'_>) -> String {
        match message {
            Message::Text(text) => printable(text.as_str()),
            Message::Binary(bytes) => texts::BINARY_MESSAGE.with(self.lang, &[&bytes.len()]),
        }
    }

    fn say_closed(&self, peer: Option<PeerId>, closed: &Closed) {
        match &closed.cause {
            Cause::Peer => self.say(peer, texts::CLOSED_BY_CLIENT, &[]),
            Cause::Lost => self.say(peer, texts::CONNECTION_LOST, &[]),
            Cause::Violation(_) | Cause::Internal => {
                self.say(peer, texts::CONNECTION_FAILED, &[&closed.reason, &closed.code]);
            }
            _ => self.say(peer, texts::CLOSED_BY_SERVER, &[]),
        }
    }

    fn say_part(&self, peer: PeerId, direction: Direction, part: &Part<'_>) {
        if self.traces {
            for line in part.explained(self.lang) {
                let arrow = if line.computed { '=' } else { arrow(direction) };
                self.line(Some(peer), format_args!("[{peer}] {arrow}   {}", line.text));
            }
        }
        if let Part::Payload { header, clear, .. } = part
            && self.replies
            && direction == Direction::Out
        {
            match header.opcode {
                Opcode::Text => {
                    self.say(
                        Some(peer),
                        texts::SENT,
                        &[&printable(&String::from_utf8_lossy(clear))],
                    );
                }
                Opcode::Binary => {
                    let size = texts::BINARY_MESSAGE.with(self.lang, &[&header.length]);
                    self.say(Some(peer), texts::SENT, &[&size]);
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
                Direction::In => texts::TRACE_READ,
                Direction::Out => texts::TRACE_WRITTEN,
            };
            let size = size.with(self.lang, &[&bytes.len()]);
            self.line(Some(peer), format_args!("[{peer}] {} {size}", arrow(direction)));
        }
        if self.traces || self.replies {
            match direction {
                Direction::In if self.traces => {
                    lanes.inward.feed(bytes, |part| self.say_part(peer, direction, part));
                }
                // Its requests say where the responses end.
                Direction::In => lanes.inward.feed(bytes, |_| {}),
                Direction::Out => {
                    lanes.outward.responds_to(&mut lanes.inward);
                    lanes.outward.feed(bytes, |part| self.say_part(peer, direction, part));
                }
            }
        }
        self.lanes.insert(peer, lanes);
    }

    fn notice(&mut self, peer: Option<PeerId>, notice: &Notice<'_>) {
        match notice {
            Notice::Connected(address) => {
                if let Some(peer) = peer {
                    self.addresses.insert(peer, *address);
                    let lanes = Lanes {
                        inward: Lane::new(Role::Client, self.inward.clone()),
                        outward: Lane::new(Role::Server, self.outward.clone()),
                    };
                    self.lanes.insert(peer, lanes);
                }
                self.say(peer, texts::CONNECTION_FROM, &[&address.ip(), &address.port()]);
            }
            Notice::Opened { key_bytes, .. } => {
                self.say(peer, texts::HANDSHAKE_DONE, &[]);
                if *key_bytes != 16 {
                    self.say(peer, texts::LENIENT_KEY, &[key_bytes]);
                }
            }
            Notice::Refused(refusal) => {
                let why = format!(
                    "{} {} ({})",
                    refusal.rule.status(),
                    refusal.rule.text().get(self.lang),
                    refusal.rule.section()
                );
                self.say(peer, texts::HANDSHAKE_REFUSED, &[&why]);
            }
            Notice::Responded(status) => self.say(peer, texts::RESPONDED, &[status]),
            Notice::Message(message) => self.say(peer, texts::RECEIVED, &[&self.shown(*message)]),
            Notice::Closed(closed) => self.say_closed(peer, closed),
            Notice::Disconnected => {
                self.say(peer, texts::CONNECTION_ENDED, &[]);
                if let Some(peer) = peer {
                    self.lanes.remove(&peer);
                    self.addresses.remove(&peer);
                }
            }
            Notice::TransportFailed(error) => {
                let why = transport_text(*error, self.lang);
                self.say(peer, texts::TRANSPORT_FAILED, &[&printable(&why)]);
            }
            Notice::AcceptPaused(error) => self.say(peer, texts::ACCEPT_PAUSED, &[error]),
            _ => {}
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
