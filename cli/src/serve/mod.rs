//! `framewise serve`: the classroom server.
//!
//! ```text
//! settings.rs   flags and the environment, turned into a config
//! classroom.rs  the dispatcher ── session.rs (the open WebSockets), budget.rs (how much), class_log.rs
//!               ├─ class/        the class as values: members, names, rooms, what is said, and the engine that orders it
//!               ├─ actions.rs    what clients ask of the class, and what they hear ── events.rs (JSON)
//!               ├─ stepper/      what the page /explain asks for: labels of bytes, and bytes sent to this server itself
//!               └─ admission.rs  what becomes of a request
//!                  ├─ routes.rs  what it asks for
//!                  ├─ guard.rs   which requests are refused: hosts.rs (names), forwarded.rs (proxies), own.rs (the server
//!                  │             itself); guesses.rs (tokens); attempts.rs keeps the reasons for the page
//!                  ├─ pages.rs   the page, health, the description of the events;
//!                  │             lessons.rs, markdown.rs: the lessons
//!                  └─ teach.rs   responses that explain a refusal
//! addresses.rs  the first lines: the addresses of the server, and a QR code
//! watch.rs      the observer: log lines, metrics.rs; with --record also recording/recorder.rs
//! tls.rs        the certificate, and its replacement while the server runs
//! wire/         with --wire: an observer that shows the bytes of the class to its teacher, at /wire
//! ```

mod actions;
mod addresses;
mod admission;
mod attempts;
mod budget;
mod class;
mod class_log;
mod classroom;
mod events;
mod forwarded;
mod guard;
mod guesses;
mod hosts;
mod lessons;
mod markdown;
mod metrics;
mod own;
mod pages;
mod routes;
mod session;
pub mod settings;
mod shorten;
mod stepper;
mod teach;
#[cfg(feature = "tls")]
mod tls;
mod watch;
mod wire;

use std::cell::RefCell;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::process::{ExitCode, exit};
use std::rc::Rc;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use framewise::lang::Lang;
use framewise::{Handle, Outbox, Server, StartError};
use tracing::{debug, info, warn};
use tracing_appender::non_blocking::WorkerGuard;

use crate::compression::Compression;
use crate::recording::recorder::{LeftOut, Recorder};
use crate::serve::addresses::Greeting;
use crate::serve::admission::Admission;
use crate::serve::class::memory::Memory;
use crate::serve::class_log::ClassLog;
use crate::serve::classroom::Classroom;
use crate::serve::forwarded::Proxies;
use crate::serve::guard::Guard;
use crate::serve::guesses::Guesses;
use crate::serve::hosts::Hosts;
use crate::serve::lessons::Lessons;
use crate::serve::metrics::Metrics;
use crate::serve::pages::Pages;
pub use crate::serve::settings::Args;
use crate::serve::stepper::Target;
use crate::serve::watch::Watch;
use crate::serve::wire::Wire;
use crate::texts::{self, complain, say};

/// How long clients may take to answer our Close when the server stops. Together with [`LAST_WORDS`] this is less than
/// the five seconds that the documentation promises.
const DRAIN: Duration = Duration::from_secs(4);

/// How long a stop takes at most, besides the work of the machine. `framewise.service` and `compose.yaml` wait for longer.
const STOP_TAKES: Duration = Duration::from_secs(5);

const _: () = assert!(
    DRAIN.as_millis() + 4 * LAST_WORDS.as_millis() < STOP_TAKES.as_millis(),
    "the server drains, and then waits for the recording, for standard output and for the log"
);

/// Lines that wait for somebody who reads standard output.
const MAX_LINES: usize = 64;

/// How long the server waits for standard output, and then for the log, to take the last lines.
const LAST_WORDS: Duration = Duration::from_millis(200);

/// How old what the metrics say of output that waits may be: to add it up looks at every connection.
const ADD_UP_EVERY: Duration = Duration::from_secs(1);

/// Runs the server until it is stopped.
pub fn run(args: Args, lang: Lang) -> ExitCode {
    let log = args.start_logging();
    let code = match serve(args, lang) {
        Ok(()) => ExitCode::SUCCESS,
        Err(text) => {
            complain(lang, text);
            ExitCode::FAILURE
        }
    };
    finish_log(log);
    code
}

/// Waits a moment until the log is written. Dropping the guard here would wait for more than a second if nobody reads
/// standard error.
fn finish_log(log: WorkerGuard) {
    let (done, is_done) = sync_channel(1);
    thread::spawn(move || {
        drop(log);
        let _ = done.send(());
    });
    let _ = is_done.recv_timeout(LAST_WORDS);
}

fn serve(args: Args, lang: Lang) -> Result<(), String> {
    if args.has_one_token_for_all() {
        let fault = texts::TOKENS_SAME.get(lang).to_owned();
        return Err(args.sources.explain(fault, Some("teacher_token"), lang));
    }
    if args.wire && args.deflate == Compression::Takeover {
        let fault = texts::WIRE_NEEDS_ALL.get(lang).to_owned();
        return Err(args.sources.explain(fault, Some("deflate"), lang));
    }
    #[cfg(feature = "tls")]
    let tls = tls::Tls::of(&args, lang)
        .map_err(|(option, fault)| args.sources.explain(fault, Some(option), lang))?;
    let config = args.config(lang);
    let metrics = Rc::new(Metrics::new());
    let public = args.public_url.as_ref().map(|url| url.host.as_str());
    let names = [args.host.clone()].into_iter().chain(args.allow_host.iter().cloned());
    // An address to listen on is no name: the rules of hosts.rs apply to it.
    let names = names.filter(|name| name.parse::<IpAddr>().is_err());
    let guard = Guard {
        hosts: Rc::new(Hosts::new(public, names)),
        proxies: Proxies::new(args.behind_proxy.clone()),
        attempts: Rc::default(),
        origins: args.origin_policy(),
        own_pages: args.own_pages(),
        token: args.token.clone(),
        teacher_token: args.teacher_token.clone(),
        guesses: Rc::new(RefCell::new(Guesses::new(args.max_per_ip))),
        log_lang: args.log_lang(lang),
    };
    let pages = Pages::new(lang, args.lessons.then(Lessons::new), args.keeping().messages);
    let limits = args.budget();
    if args.log_messages {
        warn!("{}", texts::LOG_HAS_MESSAGES.get(args.log_lang(lang)));
    }
    // A configuration that is not valid is an error of `Server::bind`.
    let valid = args.config(lang).validate().ok().filter(|_| args.wire);
    let is_left_out = wire::is_of_viewer;
    let left_out = valid.clone().map(|config| LeftOut { config, is_left_out });
    let (wire, hub) = valid.map(Wire::new).unzip();
    let wire = wire.unwrap_or_default();
    let max_per_client = args.max_per_ip;
    let (counts, shown) = (Rc::clone(&metrics), wire.clone());
    let admission = Admission::new(guard.clone(), pages, counts, max_per_client, shown);
    let (engine, counts) = (Box::new(Memory::new(args.keeping())), Rc::clone(&metrics));
    let log = ClassLog::new(guard.log_lang, args.log_messages);
    let classroom = Classroom::new(engine, admission, counts, limits, log, wire.clone());
    let watch = Watch::new(Rc::clone(&metrics), guard.clone());
    let server =
        Server::bind(config, classroom).map_err(|error: StartError| args.explain(&error, lang))?;
    let addresses: Vec<SocketAddr> = server.local_addrs().collect();
    let (recorder, recording) = match &args.record {
        Some(path) => {
            let (listening, log_lang) = (addresses.clone(), args.log_lang(lang));
            Recorder::start(path, args.record_limit, listening, left_out, lang, log_lang)
                .map_err(|error| args.sources.explain(error, Some("record"), lang))?
        }
        None => Default::default(),
    };
    let server = server.observed_by((watch, (recorder, wire)));
    #[cfg(feature = "tls")]
    let mut server = server.over(tls.as_ref().map(|tls| tls.server.clone()));
    #[cfg(not(feature = "tls"))]
    let mut server = server;
    if let Some(hub) = hub {
        hub.start(server.handle()).map_err(|error| error.to_string())?;
        warn!("{}", texts::LOG_WIRE.get(args.log_lang(lang)));
    }
    if !args.injected.is_empty() {
        let names = args.injected.join(" ");
        debug!(names, "{}", texts::LOG_INJECTED.get(args.log_lang(lang)));
    }
    info!(bytes = server.max_memory(), "{}", texts::LOG_MEMORY.get(args.log_lang(lang)));
    #[cfg(feature = "tls")]
    let is_secure = tls.is_some();
    #[cfg(not(feature = "tls"))]
    let is_secure = false;
    let stepper =
        Target::new(addresses.clone(), is_secure, args.token.clone(), &guard, server.handle());
    let start =
        move |classroom: &mut Classroom, _: &mut Outbox<'_>| classroom.stepper.start(stepper);
    server.handle().run(start).map_err(|error| error.to_string())?;
    guard.hosts.loopback_only.set(addresses.iter().all(|address| address.ip().is_loopback()));
    if let Some(path) = &args.record {
        warn!(file = %path.display(), "{}", texts::LOG_RECORDS.get(args.log_lang(lang)));
    }
    let voice = Voice::new();
    #[cfg(feature = "tls")]
    let (fingerprint, reload) = (
        tls.as_ref().and_then(|tls| tls.fingerprint.as_deref()),
        tls.as_ref().and_then(|tls| tls.watch(args.log_lang(lang))),
    );
    #[cfg(not(feature = "tls"))]
    let (fingerprint, reload) = (None, None);
    stop_on_signals(server.handle(), voice.clone(), reload, lang)
        .map_err(|error| error.to_string())?;
    let columns = addresses::terminal_columns();
    let greeting = Greeting {
        listening: &addresses,
        token: args.token.as_deref(),
        wire: args.wire.then_some(args.teacher_token.is_some()),
        public_url: args.public_url.as_ref().map(|url| url.text.as_str()),
        columns,
        lessons: args.lessons,
        is_secure,
        fingerprint,
        lang,
    };
    greeting.lines().into_iter().for_each(|line| voice.say(line));
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
    // The recording ends with its observer.
    drop(server);
    recording.wait(2 * LAST_WORDS);
    voice.finish();
    Ok(())
}

/// Shuts the server down gracefully on the first signal. Another SIGINT or SIGTERM ends the process at once. Another
/// SIGHUP does not, because a terminal that closes may send it more than once. SIGUSR1 asks for the certificate to be read again;
/// without files it does nothing, so that a reload never ends the server.
#[cfg(unix)]
fn stop_on_signals(
    handle: Handle<Classroom>,
    voice: Voice,
    reload: Option<SyncSender<()>>,
    lang: Lang,
) -> io::Result<()> {
    use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGUSR1};

    let mut signals = signal_hook::iterator::Signals::new([SIGINT, SIGTERM, SIGUSR1])?;
    if !is_hangup_ignored() {
        signals.add_signal(SIGHUP)?;
    }
    thread::spawn(move || {
        let mut is_stopping = false;
        for signal in signals.forever() {
            if signal == SIGUSR1 {
                // One request that waits is enough.
                if let Some(reload) = &reload {
                    let _ = reload.try_send(());
                }
                continue;
            }
            if is_stopping && signal == SIGHUP {
                continue;
            }
            if is_stopping || handle.shutdown(DRAIN).is_err() {
                exit(130);
            }
            is_stopping = true;
            voice.say(texts::STOPPING.get(lang));
        }
    });
    Ok(())
}

/// Reports whether the process was started with SIGHUP ignored, as `nohup` does, so that it survives its terminal. Linux
/// lists the ignored signals as a mask in `/proc`; elsewhere the answer is no.
#[cfg(unix)]
fn is_hangup_ignored() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    // Bit 0 is signal 1, which is SIGHUP.
    mask.is_some_and(|mask| mask & 1 == 1)
}

/// Without Unix signals, Ctrl+C ends the process at once.
#[cfg(not(unix))]
fn stop_on_signals(
    _: Handle<Classroom>,
    _: Voice,
    _: Option<SyncSender<()>>,
    _: Lang,
) -> io::Result<()> {
    Ok(())
}

/// Prints lines on a thread of its own, so that a terminal that is not read does not delay the server.
#[derive(Clone)]
struct Voice(SyncSender<PrintJob>);

/// What the printer thread is asked to do.
enum PrintJob {
    Line(String),
    /// Reports that everything before it was printed.
    Flush(SyncSender<()>),
}

impl Voice {
    fn new() -> Voice {
        let (sender, said) = sync_channel(MAX_LINES);
        thread::spawn(move || {
            said.iter().for_each(|said| match said {
                PrintJob::Line(line) => say(line),
                PrintJob::Flush(waits) => drop(waits.try_send(())),
            });
        });
        Voice(sender)
    }

    /// Too many lines at once are lost.
    fn say(&self, line: impl Into<String>) {
        let _ = self.0.try_send(PrintJob::Line(line.into()));
    }

    /// Waits a moment for somebody to take the last lines.
    fn finish(&self) {
        let (done, is_done) = sync_channel(1);
        let _ = self.0.try_send(PrintJob::Flush(done));
        let _ = is_done.recv_timeout(LAST_WORDS);
    }
}
