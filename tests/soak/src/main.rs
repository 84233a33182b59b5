//! `cargo run --release -p soak`: a crowd of clients against a server of its own, and what came of it.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use clap::builder::{PossibleValuesParser, TypedValueParser};
use soak::crowd::{Outcome, Plan, run};
use soak::server;
use soak::spoil::Spoil;

/// Lets a crowd of clients talk, move and vanish on a framewise serve of its own, and checks that each client sees exactly what
/// it must see: each message once, in order, only in its room, private ones only at one client
///
/// The first half of the time runs without rate limits, the second half with the defaults. Each server is stopped by SIGTERM
/// while messages are under way. The seed decides what the clients do; the network decides how their messages interleave.
/// The exit code is 1 if the server did something wrong.
#[derive(Parser)]
#[command(
    name = "soak",
    after_help = "Example: cargo run --release -p soak -- --seconds 60 --clients 200 --seed 7"
)]
struct Options {
    /// How long the clients talk, in both halves together
    #[arg(long, value_name = "N", default_value_t = 60, value_parser = clap::value_parser!(u64).range(2..=86_400))]
    seconds: u64,
    /// How many clients there are
    #[arg(long, value_name = "N", default_value_t = 200, value_parser = clap::value_parser!(u64).range(10..=900))]
    clients: u64,
    /// What decides what the clients do [default: a random number, which is printed]
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    /// Spoil some of the received messages before they are checked, to see that this is noticed
    #[arg(long, value_name = "KIND", value_parser = spoil())]
    spoil: Option<Spoil>,
    /// The program framewise [default: built from this checkout]
    #[arg(long, value_name = "FILE")]
    server: Option<PathBuf>,
}

fn spoil() -> impl TypedValueParser<Value = Spoil> {
    PossibleValuesParser::new(Spoil::ALL.map(Spoil::name)).map(|name| {
        let named = Spoil::ALL.into_iter().find(|spoil| spoil.name() == name);
        named.expect("one of the possible values")
    })
}

fn main() -> ExitCode {
    let options = Options::parse();
    let program = match options.server.map_or_else(server::build, Ok) {
        Ok(program) => program,
        Err(failure) => {
            eprintln!("soak: {failure}");
            return ExitCode::FAILURE;
        }
    };
    let seed = options.seed.unwrap_or_else(|| fastrand::u64(..1_000_000));
    let plan = Plan {
        program: &program,
        time: Duration::from_secs(options.seconds),
        clients: options.clients as usize,
        seed,
        spoil: options.spoil,
    };
    println!("seed {seed}, {} clients, {} s", options.clients, options.seconds);
    let outcome = run(&plan, |line| println!("{line}"));
    print(&outcome, seed);
    match (&outcome.failures[..], &outcome.violations[..]) {
        ([], []) => ExitCode::SUCCESS,
        _ => ExitCode::FAILURE,
    }
}

fn print(outcome: &Outcome, seed: u64) {
    let (counts, deeds) = (&outcome.counts, &outcome.deeds);
    let lines = [
        ("connections", counts.connections),
        ("joins and leaves", counts.moves),
        ("names refused", counts.refused_names),
        ("messages sent", counts.sent),
        ("  in fragments", deeds.fragmented),
        ("  private", counts.private),
        ("  not completed", deeds.torn),
        ("  repeated", deeds.repeated),
        ("messages received", counts.received),
        ("  certain to arrive", counts.certain),
        ("news about others", counts.news),
        ("pings", deeds.pings),
        ("closes", deeds.closes),
        ("half-closes", deeds.half_closes),
        ("resets", deeds.resets),
        ("stalled", deeds.stalls),
        ("  closed for that", counts.closed_stalled),
        ("slowed down", counts.slowed_down),
        ("goodbyes (1001)", counts.goodbyes),
        ("fences checked", counts.fences),
        ("views compared", counts.views),
        ("violations", counts.violations),
    ];
    println!();
    lines.iter().for_each(|(name, count)| println!("{name:<20} {count:>12}"));
    if outcome.spoiled > 0 {
        println!("{:<20} {:>12}", "spoiled on purpose", outcome.spoiled);
    }
    for violation in &outcome.violations {
        println!(
            "\nseed {seed}, connection #{}: {}: {}",
            violation.connection, violation.kind, violation.text
        );
        violation.history.iter().for_each(|line| println!("  {line}"));
    }
    for failure in &outcome.failures {
        println!("\nseed {seed}: {failure}");
    }
}
