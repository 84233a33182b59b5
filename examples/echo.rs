//! The echo server: `cargo run --example echo`, then `wscat -c ws://localhost:8765`.
//!
//! It sends each message back to its sender: text with the prefix `Echo: `, binary data unchanged.

mod common;

use common::Help;
use common::console::Console;
use common::server::Options;
use framewise::Echo;
use framewise::config::KeyPolicy;

const HELP: Help = Help {
    en: "Echo server: sends each message back, text with a prefix, binary data unchanged.

Usage: cargo run --example echo -- [options]

  --prefix P           the prefix of text replies (default: 'Echo: ')
  --raw                send text back unchanged, without a prefix
  --strict             refuse a Sec-WebSocket-Key that is not 16 bytes long",
    pt: "Servidor de eco: devolve cada mensagem, o texto com um prefixo, os dados binários sem alteração.

Uso: cargo run --example echo -- [opções]

  --prefix P           prefixo das respostas de texto (padrão: 'Echo: ')
  --raw                devolve o texto sem alteração, sem prefixo
  --strict             recusa um Sec-WebSocket-Key que não tenha 16 bytes",
};

fn main() {
    let (mut prefix, mut strict) = ("Echo: ".to_owned(), false);
    let mut options = Options::parse(&HELP, |name, values| {
        match name {
            "--prefix" => prefix = values.value(),
            "--raw" => prefix.clear(),
            "--strict" => strict = true,
            _ => return false,
        }
        true
    });
    if !strict {
        options.config.handshake.keys = KeyPolicy::Lenient;
    }
    options.serve(Echo::new(prefix), None, Console::with_replies)
}
