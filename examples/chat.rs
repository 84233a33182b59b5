//! A console client: `cargo run --example chat`, while the broadcast server runs in another terminal.
//!
//! Type a line to send it. The messages of others appear above the line that you are typing. `sair` or `exit` ends the
//! program.

mod common;

use std::io::{self, BufRead, IsTerminal, Write};
use std::process::{Command, Stdio, exit};
use std::sync::mpsc::{Receiver, SyncSender, TryRecvError, sync_channel};
use std::thread;
use std::time::Duration;

use common::client::Options;
use common::{Help, texts};
use framewise::trace::{escaped, printable};
use framewise::{CloseCode, Event, Interrupter, Message};

const HELP: Help = Help {
    en: "Console client: type a line to send it; messages appear above the line that you are typing.
'exit' ends the program.

Usage: cargo run --example chat -- [URL] [options]
",
    pt: "Cliente de console: digite uma linha para enviá-la; as mensagens aparecem acima da linha que
você está digitando. 'sair' encerra o programa.

Uso: cargo run --example chat -- [URL] [opções]
",
};

/// How many typed lines may wait to be sent.
const MAX_WAITING: usize = 16;

fn main() {
    let options = Options::parse(&HELP);
    let mut client = options.connect();
    let screen = Screen::new();
    screen.line(texts::CHAT_CONNECTED.get(options.lang));
    let typed = read_lines(client.interrupter());
    loop {
        match typed.try_recv() {
            Ok(line) if line == "sair" || line == "exit" => break,
            Ok(line) if line.is_empty() => continue,
            Ok(line) => {
                // If the connection is closed, the next event is the reason.
                let _ = client.send(&line);
                continue;
            }
            Err(TryRecvError::Disconnected) => break,
            Err(TryRecvError::Empty) => {}
        }
        match client.recv_timeout(Duration::MAX) {
            Ok(Some(Event::Message(message))) => match message.as_message() {
                Message::Text(text) => screen.above(&escaped(text.as_str())),
                Message::Binary(bytes) => {
                    screen.above(&texts::BINARY_MESSAGE.with(options.lang, &[&bytes.len()]));
                }
            },
            Ok(Some(Event::Closed(closed))) => {
                let values: [&dyn std::fmt::Display; 2] =
                    [&closed.code, &printable(&closed.reason)];
                screen.above(&texts::CLIENT_LOST.with(options.lang, &values));
                exit(i32::from(
                    closed.code != CloseCode::NORMAL && closed.code != CloseCode::GOING_AWAY,
                ));
            }
            Ok(_) => {}
            Err(error) => {
                eprintln!("{}", texts::ERROR.with(options.lang, &[&error]));
                exit(1);
            }
        }
    }
    client.close(CloseCode::NORMAL, "").expect("a valid code and no reason");
    screen.line(texts::CLIENT_CLOSED.get(options.lang));
}

/// Reads lines from standard input in a separate thread, because both reading a line and receiving a message block.
/// Each line, and the end of the input, interrupts the client while it waits for a message.
fn read_lines(interrupter: Interrupter) -> Receiver<String> {
    let (lines, typed) = sync_channel(MAX_WAITING);
    thread::spawn(move || {
        forward_lines(lines, &interrupter);
        let _ = interrupter.interrupt();
    });
    typed
}

fn forward_lines(lines: SyncSender<String>, interrupter: &Interrupter) {
    let mut input = io::stdin().lock();
    let mut line = Vec::new();
    while matches!(input.read_until(b'\n', &mut line), Ok(1..)) {
        let text = String::from_utf8_lossy(&line).trim().to_owned();
        if lines.send(text).is_err() || interrupter.interrupt().is_err() {
            return;
        }
        line.clear();
    }
}

/// Standard output.
#[derive(Debug)]
struct Screen {
    /// Standard output is a terminal, in which the user may be typing a line.
    is_terminal: bool,
}

impl Screen {
    fn new() -> Screen {
        Screen { is_terminal: io::stdout().is_terminal() }
    }

    /// Writes a line at the cursor.
    fn line(&self, text: &str) {
        let _ = writeln!(io::stdout(), "{text}");
    }

    /// Writes a text above the line that is being typed, row by row.
    fn above(&self, text: &str) {
        if !self.is_terminal {
            return self.line(text);
        }
        let mut out = io::stdout().lock();
        for row in rows(text, columns() - 1) {
            // ESC D: scroll if the cursor is in the last row. ESC [A: move back up. ESC 7: save the position. CR ESC
            // [L: insert a row here, which moves the typed line down. Then, after the text, ESC 8: restore the
            // position. ESC [B: follow the typed line one row down.
            let _ = write!(out, "\x1bD\x1b[A\x1b7\r\x1b[L{row}\x1b8\x1b[B");
        }
        let _ = out.flush();
    }
}

/// Returns the current width of the terminal according to `stty`, or 80 if it is unknown.
fn columns() -> usize {
    let size = Command::new("stty").arg("size").stdin(Stdio::inherit()).output();
    let size = size.map(|output| String::from_utf8_lossy(&output.stdout).into_owned());
    let columns = size.ok().and_then(|size| size.split_whitespace().nth(1)?.parse().ok());
    columns.filter(|&columns| columns > 1).unwrap_or(80)
}

/// Splits a text into rows. East Asian characters and emoji are two columns wide.
fn rows(text: &str, columns: usize) -> Vec<String> {
    let mut rows = vec![String::new()];
    let mut used = 0;
    for character in text.chars() {
        let width = if character >= '\u{1100}' { 2 } else { 1 };
        if used + width > columns && used > 0 {
            rows.push(String::new());
            used = 0;
        }
        used += width;
        rows.last_mut().expect("there is always a row").push(character);
    }
    rows
}
