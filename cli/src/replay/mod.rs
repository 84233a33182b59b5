//! `framewise replay`: sends what recorded clients have sent to a server, and reports the first difference in its answers.
//!
//! ```text
//! plan.rs      the steps, made from the recording: connect, send, wait for answers, close
//! session.rs   carries them out on one thread
//! answers.rs   what is compared, and a difference in words
//! ```

mod answers;
mod plan;
mod session;

use std::io::{self, Write};
use std::net::ToSocketAddrs;
use std::process::ExitCode;
use std::time::Duration;

use framewise::Url;
use framewise::lang::Lang;
use serde_json::json;

use crate::export::note_end;
use crate::reach;
use crate::recording::reader::{Reader, Whole};
use crate::replay::plan::{Changes, Plan};
use crate::replay::session::{Counts, Difference, Pace, Server, Session, Settings, Stop};
use crate::texts::{self, complain, print_result};
use crate::tls;

/// The most bytes of reads and writes in a recording, which is kept in memory.
const MAX_RECORDING: usize = 256 << 20;

/// The exit code for a difference.
const DIFFERENT: u8 = 3;

/// Send a recording to a server again, and report the first difference in what the server sends
#[derive(clap::Args, Clone, Debug)]
#[command(
    after_help = "Example: framewise replay class.jsonl ws://localhost:8765 --fast --ignore timestamp

Exit code 0: no difference. Exit code 1: the recording could not be replayed. Exit code 3: a difference."
)]
pub struct Args {
    /// The recording; - is the standard input
    #[arg(value_name = "FILE")]
    pub recording: String,
    /// The server, as ws://host:port or wss://host:port; the paths are those of the recording
    pub url: String,
    #[command(flatten)]
    pub tls: tls::Options,
    /// So many times as fast as the recording
    #[arg(long, value_name = "N", default_value_t = 1.0, value_parser = speed)]
    pub speed: f64,
    /// Wait for answers only, not for the times of the recording
    #[arg(long, conflicts_with = "speed")]
    pub fast: bool,
    /// Fill in this token where the recording has asterisks
    #[arg(long)]
    pub token: Option<String>,
    /// A field of JSON that is not compared, as timestamp (repeatable)
    #[arg(long, value_name = "FIELD")]
    pub ignore: Vec<String>,
    /// How late an answer may be
    #[arg(long, value_name = "SECONDS", default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=3_600))]
    pub timeout: u64,
    /// Print the result as JSON
    #[arg(long)]
    pub json: bool,
    /// Also when the server is not on this machine
    #[arg(long)]
    pub yes_i_own_this_server: bool,
}

/// Why a speed is refused; the help has the Portuguese.
pub const NO_SUCH_SPEED: &str = "use a number above 0, at most 1000000";

fn speed(text: &str) -> Result<f64, &'static str> {
    let speed = text.parse().ok().filter(|&speed| speed > 0.0 && speed <= 1e6);
    speed.ok_or(NO_SUCH_SPEED)
}

/// Replays a recording, and prints the result.
pub fn run(args: Args, lang: Lang) -> ExitCode {
    match replay(&args, lang) {
        Ok(code) => code,
        Err(why) => {
            complain(lang, why);
            ExitCode::FAILURE
        }
    }
}

fn replay(args: &Args, lang: Lang) -> Result<ExitCode, String> {
    let server = server(args, lang)?;
    let recording = Whole::read(Reader::open(&args.recording, lang)?, MAX_RECORDING)?;
    note_end(recording.end, lang);
    let changes = Changes {
        authority: server.url.authority().to_owned(),
        is_secure: server.url.is_secure(),
        token: args.token.clone(),
    };
    let plan = Plan::new(recording, &changes);
    let settings = Settings {
        server,
        pace: if args.fast { Pace::Fast } else { Pace::Times(args.speed) },
        timeout: Duration::from_secs(args.timeout),
        ignored: args.ignore.clone(),
        // Programs read English.
        lang: if args.json { Lang::En } else { lang },
    };
    let session = Session::new(&plan, &settings).map_err(|error| error.to_string())?;
    match session.run() {
        Ok(counts) => {
            let result = if args.json { same_as_json(counts) } else { same(counts, lang) };
            Ok(print_result(lang, format!("{result}\n").as_bytes(), ExitCode::SUCCESS))
        }
        Err(Stop::Difference(difference)) => {
            let result = if args.json { as_json(&difference) } else { in_words(&difference, lang) };
            let code =
                print_result(lang, format!("{result}\n").as_bytes(), ExitCode::from(DIFFERENT));
            if plan.lacks_token && difference.is_unauthorized {
                let _ = writeln!(io::stderr(), "{}", texts::REPLAY_NEEDS_TOKEN.get(lang));
            }
            Ok(code)
        }
        Err(Stop::Failed(why)) => Err(why),
    }
}

/// Returns the server, and prints warnings about TLS.
fn server(args: &Args, lang: Lang) -> Result<Server, String> {
    let url = Url::parse(&args.url).map_err(|why| why.text(lang).to_owned())?;
    if url.resource() != "/" {
        return Err(texts::REPLAY_PATH.with(lang, &[&url.resource()]));
    }
    let addresses = (url.host(), url.port()).to_socket_addrs();
    let addresses: Vec<_> = addresses.map_err(|error| error.to_string())?.collect();
    if !args.yes_i_own_this_server && !reach::are_here(&addresses) {
        return Err(texts::REPLAY_NOT_YOURS.with(lang, &[&url.host()]));
    }
    let dialer = args.tls.dialer(&url, lang)?;
    Ok(Server { url, addresses, dialer })
}

fn same(counts: Counts, lang: Lang) -> String {
    let Counts { connections, left_out, sent, answers, went_away } = counts;
    let mut text = texts::REPLAY_SAME.with(lang, &[&connections, &sent, &answers]);
    for (count, note) in [(went_away, texts::REPLAY_WENT_AWAY), (left_out, texts::REPLAY_LEFT_OUT)]
    {
        if count > 0 {
            text += "\n";
            text += &note.with(lang, &[&count]);
        }
    }
    text
}

fn in_words(difference: &Difference, lang: Lang) -> String {
    let Difference { number, address, us, recorded, received, at, .. } = difference;
    let time = format!("{}.{:06}", us / 1_000_000, us % 1_000_000);
    let mut text = texts::REPLAY_DIFFERENCE.with(lang, &[number, address, &time]);
    for line in [
        texts::REPLAY_RECORDED.with(lang, &[recorded]),
        texts::REPLAY_RECEIVED.with(lang, &[received]),
    ] {
        text += "\n  ";
        text += &line;
    }
    if let Some(at) = at {
        text += "\n  ";
        text += &texts::REPLAY_FROM.with(lang, &[at]);
    }
    text
}

fn same_as_json(counts: Counts) -> String {
    let Counts { connections, left_out, sent, answers, went_away } = counts;
    json!({
        "same": true, "connections": connections, "left_out": left_out, "bytes_sent": sent, "answers": answers,
        "went_away": went_away,
    })
    .to_string()
}

fn as_json(difference: &Difference) -> String {
    let Difference { number, address, us, recorded, received, at, .. } = difference;
    json!({
        "same": false, "connection": number, "address": address, "us": us,
        "recorded": recorded, "received": received, "at": at,
    })
    .to_string()
}
