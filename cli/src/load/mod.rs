//! `framewise load`: many clients at once against a class's own server.
//!
//! ```text
//! crowd.rs    one thread, mio:  peer.rs  send ──> wait for the answer, or for its time ──> send ...
//!                               peer.rs  ...
//! report.rs   what came of it
//! ```

mod crowd;
mod peer;
mod report;

use std::io::{self, IsTerminal};
use std::net::{SocketAddr, ToSocketAddrs};
use std::process::ExitCode;

use framewise::ClientRequest;
use framewise::Config;
use framewise::Url;
use framewise::lang::Lang;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::compression::Compression;
use crate::load::crowd::Crowd;
use crate::load::report::Report;
use crate::reach;
use crate::texts::{self, complain, print_result};
use crate::tls;

/// The most peers: what one process has descriptors and ports for.
const MAX_PEERS: u64 = 20_000;

/// What an echo may put in front of a message.
const ROOM_FOR_PREFIX: usize = 1_024;

/// Put load on a server of your own, and see how it takes it
#[derive(clap::Args, Clone, Debug)]
#[command(
    after_help = "Example: framewise load ws://localhost:8765/echo --peers 100 --rate 10 --duration 10"
)]
pub struct Args {
    /// The server: ws://host:port/path, or wss://…
    pub url: String,
    #[command(flatten)]
    pub tls: tls::Options,
    /// Connections
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=MAX_PEERS))]
    pub peers: u64,
    /// Messages a second from each peer; 0 for the next one as soon as the last was answered
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u32).range(..=100_000))]
    pub rate: u32,
    /// Only count what comes back, and time nothing: for /ws, where a message goes to all others
    #[arg(long)]
    pub broadcast: bool,
    /// Bytes of each message
    #[arg(long, value_name = "BYTES", default_value_t = 20, value_parser = clap::value_parser!(u64).range(..=1 << 20))]
    pub size: u64,
    /// Offer to compress messages (permessage-deflate): on for each message alone, takeover to remember earlier messages
    #[arg(long, value_enum, default_value_t = Compression::Off)]
    pub deflate: Compression,
    /// How long
    #[arg(long, value_name = "SECONDS", default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..=3_600))]
    pub duration: u64,
    /// Print the result as JSON
    #[arg(long)]
    pub json: bool,
    /// Also when the server is not on this machine
    #[arg(long)]
    pub yes_i_own_this_server: bool,
}

/// Loads, and tells what came of it.
pub fn run(args: Args, lang: Lang) -> ExitCode {
    match load(&args, lang) {
        Ok(report) => {
            let code = if report.is_fine() { ExitCode::SUCCESS } else { ExitCode::FAILURE };
            print_result(lang, report.text(args.json, lang).as_bytes(), code)
        }
        Err(why) => {
            complain(lang, why);
            ExitCode::FAILURE
        }
    }
}

fn load(args: &Args, lang: Lang) -> Result<Report, String> {
    if args.broadcast && args.rate == 0 {
        return Err(texts::LOAD_NEEDS_RATE.get(lang).to_owned());
    }
    let url = Url::parse(&args.url).map_err(|why| why.text(lang).to_owned())?;
    let addresses =
        (url.host(), url.port()).to_socket_addrs().map_err(|error| error.to_string())?;
    let addresses: Vec<SocketAddr> = addresses.collect();
    let dialer = args.tls.dialer(&url, lang)?;
    if !args.yes_i_own_this_server && !reach::are_here(&addresses) {
        return Err(texts::NOT_YOURS.with(lang, &[&url.host()]));
    }
    let default = Config::default();
    let max_message = default.limits.max_message.max(args.size as usize + ROOM_FOR_PREFIX);
    let config = default
        .handshake(|handshake| handshake.deflate = args.deflate.settings())
        .limits(|limits| limits.max_message = max_message)
        .timeouts(|timeouts| timeouts.ping_interval = None);
    let config = config.validate().map_err(|error| error.text(lang))?;
    // Programs read the faults by name.
    let fault_lang = if args.json { Lang::En } else { lang };
    let crowd = Crowd::new(args, ClientRequest::new(url), dialer, config, fault_lang);
    let mut crowd = crowd.map_err(|error| error.to_string())?;
    crowd.open(&addresses)?;
    let bar = ProgressBar::with_draw_target(
        Some(args.duration * 10),
        if io::stderr().is_terminal() && !args.json {
            ProgressDrawTarget::stderr()
        } else {
            ProgressDrawTarget::hidden()
        },
    );
    bar.set_style(
        ProgressStyle::with_template("{bar:30} {msg}").map_err(|error| error.to_string())?,
    );
    crowd.run(&bar).map_err(|error| error.to_string())?;
    bar.finish_and_clear();
    Ok(crowd.into_report())
}
