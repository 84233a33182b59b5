//! `framewise serve`: the classroom server.
//!
//! ```text
//! settings.rs   flags and the environment, turned into a config
//! classroom.rs  the dispatcher ── rooms.rs (who is where), names.rs, events.rs (JSON), rate.rs (how much)
//!               ├─ guard.rs     who may ask for what
//!               └─ pages.rs     the page, health, the description of the events
//! watch.rs      the observer: log lines, metrics.rs
//! ```

mod classroom;
mod events;
mod guard;
mod metrics;
mod names;
mod pages;
mod rate;
mod rooms;
mod settings;
mod watch;

use std::io::{self, IsTerminal};
use std::net::SocketAddr;
use std::process::{ExitCode, exit};
use std::rc::Rc;
use std::thread;
use std::time::{Duration, Instant};

use framewise::lang::Lang;
use framewise::net::listen::{StartError, lan_address};
use framewise::{Handle, Server};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use crate::serve::classroom::Classroom;
use crate::serve::guard::Guard;
use crate::serve::metrics::Metrics;
use crate::serve::pages::Pages;
pub use crate::serve::settings::Args;
use crate::serve::watch::Watch;
use crate::texts::{self, complain, say};

/// How long clients may take to answer our Close when the server stops.
const DRAIN: Duration = Duration::from_secs(5);

/// How old what the metrics say of output that waits may be: to add it up looks at every connection.
const ADD_UP_EVERY: Duration = Duration::from_secs(1);

/// Runs the server until it is stopped.
pub fn run(args: Args, lang: Lang) -> ExitCode {
    let _flushes = args.start_logging();
    match serve(args, lang) {
        Ok(()) => ExitCode::SUCCESS,
        Err(text) => {
            complain(lang, text);
            ExitCode::FAILURE
        }
    }
}

fn serve(args: Args, lang: Lang) -> Result<(), String> {
    let config = args.config(lang);
    let metrics = Rc::new(Metrics::new());
    let guard = Guard { loopback_only: args.is_loopback(), token: args.token.clone() };
    let dispatchers =
        || Classroom::new(guard.clone(), Pages::new(lang), Rc::clone(&metrics), args.rate);
    let server = Server::bind_observed(config, dispatchers, Watch::new(Rc::clone(&metrics)));
    let mut server = server.map_err(|error: StartError| error.text(lang))?;
    stop_on_signals(server.handle(), lang).map_err(|error| error.to_string())?;
    greet(&server.local_addrs().collect::<Vec<_>>(), args.token.is_some(), lang);
    let mut added_up = Instant::now();
    let mut has_changed = false;
    while !server.has_stopped() {
        // Before a long silence it is added up once more.
        let wait = has_changed.then_some(ADD_UP_EVERY);
        let began = server.pass(wait).map_err(|error| error.to_string())?;
        has_changed = began < added_up + ADD_UP_EVERY;
        if !has_changed {
            metrics.queued(server.snapshot().queued);
            added_up = began;
        }
        metrics.pass(began.elapsed());
    }
    Ok(())
}

/// The first lines: where to find the server, for this machine and for the class.
fn greet(addresses: &[SocketAddr], token: bool, lang: Lang) {
    for address in addresses {
        say(texts::SERVING.with(lang, &[address]));
        if address.ip().is_unspecified()
            && let Some(ip) = lan_address()
        {
            let shared = SocketAddr::new(ip, address.port());
            say(texts::SHARE.with(lang, &[&shared]));
            if io::stdout().is_terminal() {
                say(qr_code(&format!("http://{shared}/")));
            }
        }
    }
    if token {
        say(texts::TOKEN_HINT.get(lang));
    }
    say(texts::STOP_HINT.get(lang));
}

/// An address that a telephone's camera reads, two modules in each character.
fn qr_code(address: &str) -> String {
    let code = qrcode::QrCode::new(address).map(|code| {
        code.render::<qrcode::render::unicode::Dense1x2>()
            .dark_color(qrcode::render::unicode::Dense1x2::Light)
            .light_color(qrcode::render::unicode::Dense1x2::Dark)
            .build()
    });
    code.unwrap_or_default()
}

/// The first signal stops the server gently, the second one at once.
fn stop_on_signals(handle: Handle, lang: Lang) -> io::Result<()> {
    let mut signals = Signals::new([SIGINT, SIGTERM])?;
    thread::spawn(move || {
        for (count, _) in signals.forever().enumerate() {
            if count > 0 || handle.shutdown(DRAIN).is_err() {
                exit(130);
            }
            say(texts::STOPPING.get(lang));
        }
    });
    Ok(())
}
