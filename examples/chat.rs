//! A console client: `cargo run --example chat`, while the broadcast server runs in another terminal.
//!
//! Type a line to send it; what the others say appears above the line being typed. `sair` or `exit` leaves.

mod common;

use std::io::{self, BufRead, IsTerminal, Write};
use std::process::{Command, Stdio, exit};
use std::sync::mpsc::{Receiver, SyncSender, TryRecvError, sync_channel};
use std::thread;

use common::Help;
use common::client::Options;
use framewise::lang;
use framewise::net::client::Interrupter;
use framewise::protocol::connection::Event;
use framewise::trace::{escaped, printable};
use framewise::{CloseCode, Message};

const HELP: Help = Help {
    en: "Console client: type to send; messages appear above the line being typed. 'exit' leaves.

Usage: cargo run --example chat -- [URL] [options]
",
    pt: "Cliente de console: digite para enviar; as mensagens aparecem acima da linha que você digita.
'sair' encerra.

Uso: cargo run --example chat -- [URL] [opções]
",
};

/// Lines that may wait to be sent.
const MAX_WAITING: usize = 16;

fn main() {
    let options = Options::parse(&HELP);
    let mut client = options.connect();
    let screen = Screen::new();
    screen.line(lang::CHAT_CONNECTED.get(options.lang));
    let typed = read_lines(client.interrupter());
    loop {
        match typed.try_recv() {
            Ok(line) if line == "sair" || line == "exit" => break,
            Ok(line) if line.is_empty() => continue,
            Ok(line) => {
                // If it cannot be sent any more, the next event says why.
                let _ = client.send(Message::Text(&line));
                continue;
            }
            Err(TryRecvError::Disconnected) => break,
            Err(TryRecvError::Empty) => {}
        }
        match client.next(None) {
            Ok(Some(Event::Message(message))) => match message.as_message() {
                Message::Text(text) => screen.above(&escaped(text)),
                Message::Binary(bytes) => {
                    screen.above(&lang::BINARY_MESSAGE.with(options.lang, &[&bytes.len()]));
                }
            },
            Ok(Some(Event::Closed(closed))) => {
                let values: [&dyn std::fmt::Display; 2] =
                    [&closed.code, &printable(&closed.reason)];
                screen.above(&lang::CLIENT_LOST.with(options.lang, &values));
                exit(i32::from(
                    closed.code != CloseCode::NORMAL && closed.code != CloseCode::GOING_AWAY,
                ));
            }
            Ok(_) => {}
            Err(error) => {
                eprintln!("{}", lang::ERROR.with(options.lang, &[&error]));
                exit(1);
            }
        }
    }
    client.close(CloseCode::NORMAL, "").expect("a valid code and no reason");
    screen.line(lang::CLIENT_CLOSED.get(options.lang));
}

/// Reads lines in a thread of its own, so that typing and listening go on at the same time. Each line, and the
/// end of them, interrupts the client.
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

/// Where messages appear.
struct Screen {
    /// Standard output is a terminal, where somebody types.
    is_terminal: bool,
}

impl Screen {
    fn new() -> Screen {
        Screen { is_terminal: io::stdout().is_terminal() }
    }

    /// Writes a line where the cursor is.
    fn line(&self, text: &str) {
        let _ = writeln!(io::stdout(), "{text}");
    }

    /// Writes a line above the one being typed, row by row.
    fn above(&self, text: &str) {
        if !self.is_terminal {
            return self.line(text);
        }
        let mut out = io::stdout().lock();
        for row in rows(text, columns() - 1) {
            // Make room below, go back, remember the place, open a row above it and write there, return to the
            // place, which is one row further down now.
            let _ = write!(out, "\x1bD\x1b[A\x1b7\r\x1b[L{row}\x1b8\x1b[B");
        }
        let _ = out.flush();
    }
}

/// How wide the terminal is now, as the system's own tool tells; 80 where it cannot.
fn columns() -> usize {
    let size = Command::new("stty").arg("size").stdin(Stdio::inherit()).output();
    let size = size.map(|output| String::from_utf8_lossy(&output.stdout).into_owned());
    let columns = size.ok().and_then(|size| size.split_whitespace().nth(1)?.parse().ok());
    columns.filter(|&columns| columns > 1).unwrap_or(80)
}

/// Cuts a text into rows; characters of East Asian scripts and emoji take two columns.
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
        rows.last_mut().expect("there is always one").push(character);
    }
    rows
}
