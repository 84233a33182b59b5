//! `framewise connect`: the terminal client.
//!
//! ```text
//! options.rs    what is asked for
//! input.rs      what is typed ──┐
//! commands.rs   what it means   ├─> session.rs: one connection after the other ──> show.rs
//! talk.rs       what is due     │
//! library       what comes in ──┘
//! terminal.rs   the mode of the terminal while a person types
//! ```

mod commands;
mod input;
pub mod options;
mod session;
mod show;
mod talk;
#[cfg(unix)]
mod terminal;

use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use framewise::lang::Lang;
use framewise::observe::{Direction, Observer};
use framewise::protocol::mask::random_keys;
use framewise::trace::ClientTrace;
use framewise::{Client, ClientRequest, ConnectError, PeerId};

pub use crate::connect::options::Args;
use crate::connect::session::Session;
use crate::connect::show::{Above, Show};
use crate::texts::complain;
use crate::tls::{ClientStream, Dialer};

/// Closed with 1000, 1001 or no code.
const FINE: u8 = 0;
/// Could not connect.
const NOT_CONNECTED: u8 = 1;
/// The command line makes no sense, or what came through the pipe.
const USAGE: u8 = 2;
/// Any other close.
const CLOSED_OTHERWISE: u8 = 3;

/// Connects, and talks until one end closes. Returns the exit code.
pub fn run(args: Args, lang: Lang) -> ExitCode {
    let request = match args.request(lang) {
        Ok(request) => request,
        Err(why) => {
            complain(lang, why);
            return USAGE.into();
        }
    };
    let dialer = match args.tls.dialer(request.url(), lang) {
        Ok(dialer) => dialer,
        Err(why) => {
            complain(lang, why);
            return NOT_CONNECTED.into();
        }
    };
    let keys = match random_keys() {
        Ok(keys) => keys,
        Err(error) => {
            complain(lang, error);
            return NOT_CONNECTED.into();
        }
    };
    let above = Above::default();
    // A person may type before the connection is open.
    let lines = match () {
        () if !args.execute.is_empty() => input::given(args.execute.clone()),
        () if !input::is_terminal() => input::piped(),
        () if !io::stdout().is_terminal() => input::plain(&above, lang),
        () => input::edited(&above, lang).unwrap_or_else(|_| input::plain(&above, lang)),
    };
    let show = Show {
        lang,
        above,
        is_terminal: io::stdout().is_terminal(),
        json: args.json,
        hex: args.hex,
        timestamps: args.ts,
        round_trips: args.rtt,
        unwritten: None,
    };
    Session::new(args, request, dialer, show, lines, keys).run().into()
}

/// Opens a connection. `received` counts the bytes that arrive on it.
fn open(
    args: &Args,
    request: &ClientRequest,
    dialer: &Dialer,
    above: &Above,
    lang: Lang,
    received: Arc<AtomicU64>,
) -> Result<Client<ClientStream, Watched>, ConnectError> {
    let above = above.clone();
    let print = move |line: &str| {
        // A trace that goes into a file goes there whole.
        if !(io::stderr().is_terminal() && above.print(line)) {
            let _ = writeln!(io::stderr(), "{line}");
        }
    };
    let trace = args.trace.then(|| ClientTrace::new(lang, Box::new(print) as Print));
    let stream = dialer.stream(request.url())?;
    Client::open_over(request, args.config(), stream, Watched { trace, received })
}

/// Observes the bytes of a connection: counts those that arrive, and explains all if that was asked for.
struct Watched {
    trace: Option<ClientTrace<Print>>,
    received: Arc<AtomicU64>,
}

type Print = Box<dyn FnMut(&str) + Send>;

impl Observer for Watched {
    fn bytes(&mut self, peer: PeerId, direction: Direction, bytes: &[u8]) {
        if direction == Direction::In {
            self.received.fetch_add(bytes.len() as u64, Ordering::Relaxed);
        }
        if let Some(trace) = &mut self.trace {
            trace.bytes(peer, direction, bytes);
        }
    }
}
