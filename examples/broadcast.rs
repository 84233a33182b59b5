//! The broadcast server: `cargo run --example broadcast`, then open two or more clients.
//!
//! Each message goes, unchanged, to everybody but its sender.

mod common;

use common::Help;
use common::server::Options;
use framewise::Broadcast;
use framewise::lang::BROADCAST_STARTED;

const HELP: Help = Help {
    en: "Broadcast server: each message goes to all others.

Usage: cargo run --example broadcast -- [options]
",
    pt: "Servidor de broadcast: cada mensagem vai para todos os outros.

Uso: cargo run --example broadcast -- [opções]
",
};

fn main() {
    Options::parse(&HELP, |_, _| false).serve(
        || Broadcast,
        Some(BROADCAST_STARTED),
        |console| console,
    )
}
