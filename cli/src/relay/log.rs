//! Prints what the relay does.
//!
//! ```text
//! threads of all connections ── line ──> [ queue of at most 1,024 lines ] ──> printing thread ──> stdout
//!                                 '── queue full: the line is dropped and counted
//! ```
//!
//! Rule of this file: no connection waits for a slow terminal, which would be a fault that nobody asked for.

use std::fmt::Display;
use std::io::{self, Write};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;

use framewise::lang::{Bilingual, Lang};
use framewise::protocol::frame::Role;

use crate::texts;

/// The most lines that wait for a slow terminal.
const MAX_WAITING: usize = 1024;

/// Queues lines for a thread that prints them.
pub struct Log {
    /// `None` prints nothing.
    lines: Option<SyncSender<String>>,
    dropped: Arc<AtomicUsize>,
}

impl Log {
    /// Starts the printing thread.
    pub fn start(lang: Lang) -> Log {
        let (log, waiting) = Log::new();
        let dropped = Arc::clone(&log.dropped);
        thread::spawn(move || print_lines(&waiting, &dropped, lang, &mut io::stdout()));
        log
    }

    /// Returns a log that prints nothing.
    pub fn quiet() -> Log {
        Log { lines: None, dropped: Arc::default() }
    }

    /// Returns a log and the receiver of its lines.
    pub fn new() -> (Log, Receiver<String>) {
        let (lines, waiting) = sync_channel(MAX_WAITING);
        (Log { lines: Some(lines), dropped: Arc::default() }, waiting)
    }

    /// Queues a line. If the queue is full, counts it as dropped.
    pub fn line(&self, line: String) {
        if let Some(lines) = &self.lines
            && lines.try_send(line).is_err()
        {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// Prints the lines from the queue, and how many were dropped. Ignores errors: if stdout is closed the lines are lost, and
/// the relay goes on.
fn print_lines(waiting: &Receiver<String>, dropped: &AtomicUsize, lang: Lang, out: &mut dyn Write) {
    while let Ok(line) = waiting.recv() {
        let _ = writeln!(out, "{line}");
        let missed = dropped.swap(0, Ordering::Relaxed);
        if missed > 0 {
            let _ = writeln!(out, "{}", texts::RELAY_DROPPED_LINES.with(lang, &[&missed]));
        }
        let _ = out.flush();
    }
}

/// Reports the faults of one direction of one connection.
#[derive(Clone, Copy)]
pub struct Reporter<'a> {
    pub log: &'a Log,
    pub lang: Lang,
    /// The address of the client.
    pub client: SocketAddr,
    /// The side whose bytes are affected.
    pub sender: Role,
}

impl Reporter<'_> {
    /// Prints a line with the client, the direction and the fault.
    pub fn report(&self, fault: Bilingual, values: &[&dyn Display]) {
        if self.log.lines.is_none() {
            return;
        }
        let direction = match self.sender {
            Role::Client => texts::RELAY_TO_SERVER,
            Role::Server => texts::RELAY_TO_CLIENT,
        };
        let fault = fault.with(self.lang, values);
        self.log.line(direction.with(self.lang, &[&self.client, &fault]));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_beyond_the_limit_are_counted_and_reported() {
        let (log, waiting) = Log::new();
        (0..MAX_WAITING + 10).for_each(|n| log.line(n.to_string()));
        let dropped = Arc::clone(&log.dropped);
        drop(log);
        let mut out = Vec::new();
        print_lines(&waiting, &dropped, Lang::En, &mut out);
        let text = String::from_utf8(out).expect("text");
        assert_eq!(text.lines().count(), MAX_WAITING + 1);
        let expected = "[10 lines not shown: the terminal was slower than the relay]";
        assert_eq!(text.lines().nth(1), Some(expected));
    }
}
