//! A scripted client: `cargo run --example client`, while the echo server runs in another terminal.
//!
//! It sends three messages, shows the reply to each, and closes the connection.

mod common;

use std::process::exit;
use std::time::{Duration, Instant};

use common::Help;
use common::client::Options;
use framewise::lang::{self, Lang, Text};
use framewise::protocol::connection::Event;
use framewise::trace::printable;
use framewise::{Client, CloseCode, Message};

const HELP: Help = Help {
    en: "Scripted client: sends three messages and shows the replies.

Usage: cargo run --example client -- [URL] [options]
",
    pt: "Cliente roteirizado: envia três mensagens e mostra as respostas.

Uso: cargo run --example client -- [URL] [opções]
",
};

/// How long a reply may take.
const PATIENCE: Duration = Duration::from_secs(10);

const LINE: &str = "============================================================";

fn main() {
    let options = Options::parse(&HELP);
    let say = |text: Text| println!("{}", text.get(options.lang));
    println!("{LINE}");
    say(lang::CLIENT_TITLE);
    println!("{LINE}\n");
    println!("{}", lang::CLIENT_CONNECTING.with(options.lang, &[&printable(&options.url)]));
    let mut client = options.connect();
    say(lang::CLIENT_CONNECTED);
    say(lang::CLIENT_HANDSHAKE_DONE);

    let messages = [lang::CLIENT_HELLO, lang::CLIENT_SECOND, lang::CLIENT_THIRD];
    for (number, message) in (1..).zip(messages) {
        let message = message.get(options.lang);
        println!("\n{}", lang::CLIENT_SENDING.with(options.lang, &[&number, &message]));
        // If it cannot be sent any more, the missing reply says why.
        let _ = client.send(Message::Text(message));
        println!(
            "   {}",
            lang::CLIENT_REPLY.with(options.lang, &[&reply(&mut client, options.lang)])
        );
    }

    println!("\n{LINE}");
    say(lang::CLIENT_DONE);
    println!("{LINE}\n");
    client.close(CloseCode::NORMAL, "").expect("a valid code and no reason");
    say(lang::CLIENT_CLOSED);
}

/// The next message, as text to show; without one the program ends.
fn reply(client: &mut Client, lang: Lang) -> String {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let why = match client.next(Some(left)) {
            Ok(Some(Event::Message(message))) => {
                return match message.as_message() {
                    Message::Text(text) => printable(text),
                    Message::Binary(bytes) => lang::BINARY_MESSAGE.with(lang, &[&bytes.len()]),
                };
            }
            Ok(Some(Event::Closed(closed))) => {
                lang::CLIENT_LOST.with(lang, &[&closed.code, &printable(&closed.reason)])
            }
            Ok(None) if left.is_zero() => lang::NO_ANSWER_IN_TIME.get(lang).to_owned(),
            Ok(_) => continue,
            Err(error) => error.to_string(),
        };
        eprintln!("{}", lang::ERROR.with(lang, &[&why]));
        exit(1);
    }
}
