//! The echo server: `cargo run --example echo`, then `wscat -c ws://localhost:8765`.
//!
//! Whatever a client sends comes back: text behind `Echo: `, binary as it is.

mod common;

use common::Help;
use common::server::Options;
use framewise::Echo;
use framewise::config::KeyPolicy;
use framewise::console::Console;

const HELP: Help = Help {
    en: "Echo server: text comes back behind a prefix, binary as it is.

Usage: cargo run --example echo -- [options]

  --prefix P           what text replies begin with (default: 'Echo: ')
  --raw                reply with exactly what came: no prefix
  --strict             refuse a Sec-WebSocket-Key that is not 16 bytes long",
    pt: "Servidor de eco: o texto volta com um prefixo, o binário volta como veio.

Uso: cargo run --example echo -- [opções]

  --prefix P           como começam as respostas de texto (padrão: 'Echo: ')
  --raw                responde exatamente o que veio, sem prefixo
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
        options.config.key_policy = KeyPolicy::Lenient;
    }
    options.serve(|| Echo::new(prefix.clone()), None, Console::with_replies)
}
