//! `framewise connect`: the terminal client.
//!
//! ```text
//! options.rs    what is asked for
//! input.rs      what is typed ──┐
//! commands.rs   what it means   ├─> session.rs: one connection after the other ──> show.rs
//! talk.rs       what is due     │
//! library       what comes in ──┘
//! ```

mod commands;
mod input;
pub mod options;
mod session;
mod show;
mod talk;

use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;

use framewise::lang::Lang;
use framewise::observe::{Direction, Observer};
use framewise::protocol::mask::random_keys;
use framewise::trace::{ClientTrace, printable};
use framewise::{Client, ClientRequest, ConnectError, PeerId, Tcp};

pub use crate::connect::options::Args;
use crate::connect::session::Session;
use crate::connect::show::{Above, Show};
use crate::texts::complain;

/// Closed with 1000, 1001 or no code.
const FINE: u8 = 0;
/// Could not connect.
const NOT_CONNECTED: u8 = 1;
/// The command line makes no sense, or what came through the pipe.
const USAGE: u8 = 2;
/// Any other close.
const CLOSED_OTHERWISE: u8 = 3;

/// Connects and talks until one end has had enough.
pub fn run(args: Args, lang: Lang) -> ExitCode {
    let request = match args.request(lang) {
        Ok(request) => request,
        Err(why) => {
            complain(lang, why);
            return USAGE.into();
        }
    };
    // The first connection comes first: whoever cannot connect need not type.
    let above = Above::default();
    let client = match open(&args, &request, &above, lang) {
        Ok(client) => client,
        Err(error) => return refused(&error, lang),
    };
    let keys = match random_keys() {
        Ok(keys) => keys,
        Err(error) => {
            complain(lang, error);
            return NOT_CONNECTED.into();
        }
    };
    let mut lines = match () {
        () if !args.execute.is_empty() => input::given(args.execute.clone()),
        () if is_interactive(&args) => input::edited().unwrap_or_else(|_| input::piped()),
        () => input::piped(),
    };
    above.set(lines.printer.take());
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
    Session::new(args, request, show, lines, keys).talk(client).into()
}

/// Whether somebody types the lines.
fn is_interactive(args: &Args) -> bool {
    args.execute.is_empty() && input::is_terminal()
}

fn open(
    args: &Args,
    request: &ClientRequest,
    above: &Above,
    lang: Lang,
) -> Result<Client<Tcp, OptionalTrace>, ConnectError> {
    let above = above.clone();
    let print = move |line: &str| {
        // A trace that goes into a file goes there whole.
        if !(io::stderr().is_terminal() && above.print(line)) {
            let _ = writeln!(io::stderr(), "{line}");
        }
    };
    let trace = args.trace.then(|| ClientTrace::new(lang, Box::new(print) as Print));
    if request.url().is_secure() {
        return Err(ConnectError::Secure);
    }
    Client::open_over(request, args.config(), Tcp, OptionalTrace(trace))
}

/// The trace, if it was asked for.
struct OptionalTrace(Option<ClientTrace<Print>>);

type Print = Box<dyn FnMut(&str) + Send>;

impl Observer for OptionalTrace {
    fn bytes(&mut self, peer: PeerId, direction: Direction, bytes: &[u8]) {
        if let Some(trace) = &mut self.0 {
            trace.bytes(peer, direction, bytes);
        }
    }
}

/// Shows why there is no connection: for a refused handshake the status and the body, which teaches.
fn refused(error: &ConnectError, lang: Lang) -> ExitCode {
    complain(lang, printable(&error.text(lang)));
    if let ConnectError::Rejected(rejected) = error {
        let answer = String::from_utf8_lossy(&rejected.response);
        let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
        for line in head.lines().take(1).chain(body.lines()) {
            let _ = writeln!(io::stderr(), "  {}", printable(line));
        }
    }
    NOT_CONNECTED.into()
}
