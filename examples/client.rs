//! A scripted client: `cargo run --example client`, while the echo server runs in another terminal.
//!
//! It sends three messages, prints the reply to each, and closes the connection.

mod common;

use std::process::exit;
use std::time::{Duration, Instant};

use common::client::Options;
use common::tls::ClientTransport;
use common::{Help, texts};
use framewise::lang::{Bilingual, Lang};
use framewise::trace::printable;
use framewise::{Client, CloseCode, Event, Message};

const HELP: Help = Help {
    en: "Scripted client: sends three messages and prints the replies.

Usage: cargo run --example client -- [URL] [options]
",
    pt: "Cliente de demonstração: envia três mensagens e mostra as respostas.

Uso: cargo run --example client -- [URL] [opções]
",
};

/// The longest time to wait for a reply.
const PATIENCE: Duration = Duration::from_secs(10);

const LINE: &str = "============================================================";

fn main() {
    let options = Options::parse(&HELP);
    let say = |text: Bilingual| println!("{}", text.get(options.lang));
    println!("{LINE}");
    say(texts::CLIENT_TITLE);
    println!("{LINE}\n");
    println!("{}", texts::CLIENT_CONNECTING.with(options.lang, &[&printable(&options.url)]));
    let mut client = options.connect();
    say(texts::CLIENT_CONNECTED);
    say(texts::CLIENT_HANDSHAKE_DONE);

    let messages = [texts::CLIENT_HELLO, texts::CLIENT_SECOND, texts::CLIENT_THIRD];
    for (number, message) in (1..).zip(messages) {
        let message = message.get(options.lang);
        println!("\n{}", texts::CLIENT_SENDING.with(options.lang, &[&number, &message]));
        // If the connection is closed, `reply` prints the reason.
        let _ = client.send(message);
        println!(
            "   {}",
            texts::CLIENT_REPLY.with(options.lang, &[&reply(&mut client, options.lang)])
        );
    }

    println!("\n{LINE}");
    say(texts::CLIENT_DONE);
    println!("{LINE}\n");
    client.close(CloseCode::NORMAL, "").expect("a valid code and no reason");
    say(texts::CLIENT_CLOSED);
}

/// Returns the next message as text that is safe to print. Ends the program if there is none.
fn reply(client: &mut Client<ClientTransport>, lang: Lang) -> String {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let why = match client.recv_timeout(left) {
            Ok(Some(Event::Message(message))) => {
                return match message.as_message() {
                    Message::Text(text) => printable(text.as_str()),
                    Message::Binary(bytes) => texts::BINARY_MESSAGE.with(lang, &[&bytes.len()]),
                };
            }
            Ok(Some(Event::Closed(closed))) => {
                texts::CLIENT_LOST.with(lang, &[&closed.code, &printable(&closed.reason)])
            }
            Ok(None) if left.is_zero() => texts::NO_RESPONSE_IN_TIME.get(lang).to_owned(),
            Ok(_) => continue,
            Err(error) => error.to_string(),
        };
        eprintln!("{}", texts::ERROR.with(lang, &[&why]));
        exit(1);
    }
}
