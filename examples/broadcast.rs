//! The broadcast server: `cargo run --example broadcast`, then open two or more clients.
//!
//! It sends each message unchanged to all other clients. On its console, every line begins with the address of the client.

mod common;

use common::Help;
use common::console::Console;
use common::server::Options;
use common::texts::BROADCAST_STARTED;
use framewise::Broadcast;

const HELP: Help = Help {
    en: "Broadcast server: sends each message to all other clients.

Usage: cargo run --example broadcast -- [options]
",
    pt: "Servidor de broadcast: envia cada mensagem a todos os outros clientes.

Uso: cargo run --example broadcast -- [opções]
",
};

fn main() {
    let options = Options::parse(&HELP, |_, _| false);
    options.serve(Broadcast, Some(BROADCAST_STARTED), Console::with_addresses)
}
