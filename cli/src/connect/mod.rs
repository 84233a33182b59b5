//! `framewise connect`: the terminal client.
//!
//! ```text
//! input.rs      what is typed ──┐
//! commands.rs   what it means   ├─> this file: one connection after the other ──> show.rs
//! library       what comes in ──┘
//! ```
//!
//! Rules of this file: on a terminal it goes on until it is told to stop; in a pipe everything is sent, every answer is
//! waited for, and then it closes: a ping behind the last line comes back behind the last answer.

mod commands;
mod input;
mod show;

use std::process::ExitCode;
use std::sync::mpsc::{RecvTimeoutError, TryRecvError};
use std::time::{Duration, Instant};

use framewise::lang::Lang;
use framewise::net::connect::ConnectError;
use framewise::observe::{Direction, Observer};
use framewise::protocol::connection::{Closed, Event};
use framewise::protocol::handshake::client::ClientRequest;
use framewise::protocol::mask::{MaskingKeys, random_keys};
use framewise::protocol::url::Url;
use framewise::trace::{ClientTrace, printable};
use framewise::{Client, CloseCode, Config, Message, PeerId};

use crate::connect::commands::{Action, Mistake};
use crate::connect::input::{Bell, Input, Lines};
use crate::connect::show::Show;
use crate::texts;

/// Connect to a WebSocket server and talk to it
#[derive(clap::Args, Clone, Debug)]
#[command(after_help = "Example: framewise connect localhost:8765/ws/events
         echo '{\"message\": \"oi\"}' | framewise connect localhost:8765/ws/events

Commands: /ping [TEXT]  /pong [TEXT]  /close [CODE [REASON]]  /frag N TEXT  /hex BYTES  /raw BYTES  /help  /sair")]
pub struct Args {
    /// Where to connect: ws://host:port/path, or host:port/path
    pub url: String,
    /// A header of the request, as 'Name: value' (repeatable)
    #[arg(short = 'H', long, value_name = "HEADER")]
    pub header: Vec<String>,
    /// A subprotocol to offer (repeatable)
    #[arg(short = 's', long, value_name = "NAME")]
    pub subprotocol: Vec<String>,
    /// The Origin to send
    #[arg(short = 'o', long)]
    pub origin: Option<String>,
    /// Send lines as binary messages
    #[arg(long)]
    pub binary: bool,
    /// Lines are hexadecimal and sent as binary messages; binary messages are shown so
    #[arg(long)]
    pub hex: bool,
    /// Send this and read no lines (repeatable)
    #[arg(short = 'x', long, value_name = "TEXT")]
    pub execute: Vec<String>,
    /// Wait so many seconds for more when there is no more to send
    #[arg(short = 'w', long, value_name = "SECONDS", value_parser = seconds)]
    pub wait: Option<Duration>,
    /// Close after one answer
    #[arg(short = '1', long)]
    pub one: bool,
    /// Send a ping every so many seconds
    #[arg(long, value_name = "SECONDS", value_parser = seconds)]
    pub ping: Option<Duration>,
    /// Do not answer pings, to see what the server makes of it
    #[arg(long)]
    pub no_pong: bool,
    /// The code and reason to close with
    #[arg(long, value_name = "CODE[:REASON]", value_parser = close)]
    pub close: Option<(CloseCode, String)>,
    /// Explain every byte of handshake and frames
    #[arg(long)]
    pub trace: bool,
    /// Put the time in front of each line
    #[arg(long)]
    pub ts: bool,
    /// Say how long each answer took
    #[arg(long)]
    pub rtt: bool,
    /// Connect again when the connection is lost
    #[arg(long)]
    pub reconnect: bool,
    /// Print every event as a line of JSON
    #[arg(long)]
    pub json: bool,
}

fn seconds(text: &str) -> Result<Duration, String> {
    let seconds: f64 = text.parse().map_err(|_| "not a number".to_owned())?;
    let duration = Duration::try_from_secs_f64(seconds).map_err(|error| error.to_string())?;
    Some(duration)
        .filter(|duration| !duration.is_zero() && *duration <= LONGEST)
        .ok_or_else(|| "not above zero, or more than a year".to_owned())
}

fn close(text: &str) -> Result<(CloseCode, String), String> {
    commands::close_of(text)
        .map_err(|_| "this code may not be sent, or the reason is too long".to_owned())
}

/// A year.
const LONGEST: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// Closed with 1000, 1001 or no code.
const FINE: u8 = 0;
/// Could not connect.
const NOT_CONNECTED: u8 = 1;
/// The command line makes no sense.
const USAGE: u8 = 2;
/// Any other close.
const CLOSED_OTHERWISE: u8 = 3;

/// The first pause before connecting again, and the longest.
const AGAIN_AFTER: [Duration; 2] = [Duration::from_secs(1), Duration::from_secs(30)];

/// The ping behind the last line of a pipe.
const LAST: &[u8] = b"framewise: that was all";

/// How long its pong may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// Connects and talks until one end has had enough.
pub fn run(args: Args, lang: Lang) -> ExitCode {
    let request = match request(&args, lang) {
        Ok(request) => request,
        Err(why) => {
            eprintln!("{}", texts::ERROR.with(lang, &[&why]));
            return USAGE.into();
        }
    };
    let bell = Bell::default();
    let interactive = args.execute.is_empty() && input::is_terminal();
    let mut show = Show {
        lang,
        terminal: None,
        json: args.json,
        hex: args.hex,
        timestamps: args.ts,
        round_trips: args.rtt,
    };
    // The first connection comes first: whoever cannot connect need not type.
    let client = match open(&args, &request, lang) {
        Ok(client) => client,
        Err(error) => return refused(&error, lang),
    };
    let settings = interactive.then(Terminal::save);
    let lines = if !args.execute.is_empty() {
        input::given(args.execute.clone())
    } else if interactive {
        match input::edited(bell.clone()) {
            Ok(lines) => lines,
            Err(_) => input::piped(bell.clone()),
        }
    } else {
        input::piped(bell.clone())
    };
    let Lines { typed, printer } = lines;
    show.terminal = printer;
    let keys = match random_keys() {
        Ok(keys) => keys,
        Err(error) => {
            eprintln!("{}", texts::ERROR.with(lang, &[&error]));
            return NOT_CONNECTED.into();
        }
    };
    let mut session =
        Session { args, request, show, typed, bell, keys, settings, over: false, failed: false };
    session.talk(client).into()
}

fn open(args: &Args, request: &ClientRequest, lang: Lang) -> Result<Client<Watch>, ConnectError> {
    let config = Config { answer_pings: !args.no_pong, ping_interval: None, ..Config::default() };
    // A terminal that is being edited does not return to the margin by itself.
    let trace = args.trace.then(|| ClientTrace::new(lang, (|line| eprintln!("{line}\r")) as Print));
    Client::open(request, config, Watch(trace))
}

/// The trace, if it was asked for.
struct Watch(Option<ClientTrace<Print>>);

type Print = fn(&str);

impl Observer for Watch {
    fn bytes(&mut self, peer: PeerId, direction: Direction, bytes: &[u8]) {
        if let Some(trace) = &mut self.0 {
            trace.bytes(peer, direction, bytes);
        }
    }
}

fn request(args: &Args, lang: Lang) -> Result<ClientRequest, String> {
    let url = match args.url.contains("://") {
        true => args.url.clone(),
        false => format!("ws://{}", args.url),
    };
    let url = Url::parse(&url).map_err(|why| why.text(lang).to_owned())?;
    let mut request = ClientRequest::new(url);
    for name in &args.subprotocol {
        request = request.subprotocol(name).map_err(|error| error.to_string())?;
    }
    for header in &args.header {
        let (name, value) =
            header.split_once(':').ok_or_else(|| texts::BAD_HEADER.with(lang, &[header]))?;
        request = request.header(name.trim(), value.trim()).map_err(|error| error.to_string())?;
    }
    if let Some(origin) = &args.origin {
        request = request.header("Origin", origin).map_err(|error| error.to_string())?;
    }
    Ok(request)
}

/// Shows why there is no connection: for a refused handshake the status and the body, which teaches.
fn refused(error: &ConnectError, lang: Lang) -> ExitCode {
    eprintln!("{}", texts::ERROR.with(lang, &[&printable(&error.text(lang))]));
    if let ConnectError::Rejected(rejected) = error {
        let answer = String::from_utf8_lossy(&rejected.answer);
        let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
        for line in head.lines().take(1).chain(body.lines()) {
            eprintln!("  {}", printable(line));
        }
    }
    NOT_CONNECTED.into()
}

struct Session {
    args: Args,
    request: ClientRequest,
    show: Show,
    typed: std::sync::mpsc::Receiver<Input>,
    bell: Bell,
    keys: MaskingKeys,
    /// The settings that the terminal had.
    settings: Option<Terminal>,
    /// Nothing more will be typed.
    over: bool,
    /// Because it could not be read.
    failed: bool,
}

/// How a connection ended.
enum End {
    /// This end wanted it.
    Left(Closed),
    /// The other end, or nobody.
    Lost(Closed),
}

impl Session {
    /// One connection, or one after the other.
    fn talk(&mut self, client: Client<Watch>) -> u8 {
        let mut client = client;
        loop {
            self.bell.set(client.interrupter());
            self.show.opened(&self.args.url, client.subprotocol());
            let (closed, left) = match self.converse(&mut client) {
                End::Left(closed) => (closed, true),
                End::Lost(closed) => (closed, false),
            };
            let fine = matches!(
                closed.code,
                CloseCode::NORMAL | CloseCode::GOING_AWAY | CloseCode::NO_STATUS
            );
            let code = match (fine, self.failed) {
                (true, false) => FINE,
                (true, true) => USAGE,
                (false, _) => CLOSED_OTHERWISE,
            };
            if left || !self.args.reconnect || self.over {
                self.leave_terminal();
                self.show.closed(&closed);
                return code;
            }
            self.show.closed(&closed);
            match self.again() {
                Some(next) => client = next,
                None => {
                    self.leave_terminal();
                    return code;
                }
            }
        }
    }

    /// The line editor may be in the middle of a line: the terminal is put back first.
    fn leave_terminal(&mut self) {
        self.settings = None;
        self.show.leave_terminal();
    }

    /// Connects again, in longer and longer intervals; `None` if it shall stop.
    fn again(&mut self) -> Option<Client<Watch>> {
        let [mut pause, longest] = AGAIN_AFTER;
        loop {
            self.show.note(texts::AGAIN_IN, &[&pause.as_secs()]);
            let until = Instant::now() + pause;
            loop {
                match self.typed.recv_timeout(until.saturating_duration_since(Instant::now())) {
                    Ok(Input::Line(line))
                        if matches!(line.as_str(), "/sair" | "/exit" | "/quit") =>
                    {
                        return None;
                    }
                    Ok(Input::Line(_)) => self.show.note(texts::NOT_SENT, &[]),
                    Ok(_) | Err(RecvTimeoutError::Disconnected) => return None,
                    Err(RecvTimeoutError::Timeout) => break,
                }
            }
            match open(&self.args, &self.request, self.show.lang) {
                Ok(client) => return Some(client),
                Err(error) => {
                    let why = printable(&error.text(self.show.lang));
                    self.show.note(texts::ERROR, &[&why]);
                }
            }
            pause = (pause * 2).min(longest);
        }
    }

    /// Sends what is typed and shows what comes, until one end closes.
    fn converse(&mut self, client: &mut Client<Watch>) -> End {
        let mut talk = Talk::new(&self.args);
        loop {
            while !self.over {
                match self.typed.try_recv() {
                    Ok(Input::Line(line)) => {
                        if let Some(closed) = self.act(client, &line, &mut talk) {
                            return End::Left(closed);
                        }
                    }
                    Ok(Input::End) => self.over = true,
                    Ok(Input::Stop) => return End::Left(self.leave(client)),
                    Ok(Input::Failed(why)) => {
                        self.show.note(texts::ERROR, &[&why]);
                        (self.over, self.failed) = (true, true);
                    }
                    Err(TryRecvError::Empty) => break,
                    Err(TryRecvError::Disconnected) => self.over = true,
                }
            }
            if self.over && talk.ends_at.is_none() {
                if self.show.terminal.is_some() {
                    return End::Left(self.leave(client));
                }
                talk.ends_at = Some(Instant::now() + self.args.wait.unwrap_or(PATIENCE));
                // One answer is worth waiting for, also when it comes behind the pong.
                if self.args.wait.is_none() && !self.args.one {
                    client.ping(LAST);
                }
            }
            match client.next(talk.wait()) {
                Ok(Some(Event::Message(message))) => {
                    let took = talk.asked.take().map(|at: Instant| at.elapsed());
                    self.show.message(message.as_message(), took);
                    if self.args.one {
                        return End::Left(self.leave(client));
                    }
                }
                Ok(Some(Event::Pong(payload))) if *payload == *LAST => {
                    return End::Left(self.leave(client));
                }
                Ok(Some(Event::Pong(payload))) => {
                    let took = talk.pinged.take().map(|at| at.elapsed());
                    self.show.control("pong", &payload, took);
                }
                Ok(Some(Event::Ping(payload))) => self.show.control("ping", &payload, None),
                Ok(Some(Event::Closed(closed))) => return End::Lost(closed),
                Ok(_) => {}
                Err(error) => {
                    self.show.note(texts::ERROR, &[&error]);
                    return End::Left(self.leave(client));
                }
            }
            let now = Instant::now();
            if talk.ends_at.is_some_and(|at| now >= at) {
                return End::Left(self.leave(client));
            }
            if let (Some(every), Some(at)) = (self.args.ping, talk.next_ping)
                && now >= at
            {
                client.ping(b"");
                (talk.pinged, talk.next_ping) = (Some(now), Some(now + every));
            }
        }
    }

    /// Carries out one line; how it ended, if it has.
    fn act(&mut self, client: &mut Client<Watch>, line: &str, talk: &mut Talk) -> Option<Closed> {
        let is_terminal = self.show.terminal.is_some();
        // What comes through a pipe is data: only who types has commands.
        let action = if is_terminal {
            commands::parse(line, self.args.binary, self.args.hex, (self.keys)())
        } else {
            commands::data(line, self.args.binary, self.args.hex)
        };
        let sent = match action {
            Ok(Action::Text(text)) => {
                talk.asked = Some(Instant::now());
                client.send(Message::Text(&text))
            }
            Ok(Action::Binary(bytes)) => {
                talk.asked = Some(Instant::now());
                client.send(Message::Binary(&bytes))
            }
            Ok(Action::Ping(payload)) => {
                talk.pinged = Some(Instant::now());
                Ok(client.ping(&payload))
            }
            Ok(Action::Raw(bytes)) => {
                talk.asked = Some(Instant::now());
                client.send_raw(&bytes)
            }
            Ok(Action::Close(code, reason)) => {
                return client.close(code, &reason).ok();
            }
            Ok(Action::Leave) => return Some(self.leave(client)),
            Ok(Action::Help) => {
                self.show.note(texts::COMMANDS, &[]);
                Ok(true)
            }
            Ok(Action::Nothing) => {
                // An empty line of a pipe is an empty message; an empty line that was typed is nothing.
                if is_terminal { Ok(true) } else { client.send(Message::Text("")) }
            }
            Err(mistake) => {
                self.say_mistake(&mistake);
                Ok(true)
            }
        };
        // Whatever keeps it from being sent ends the connection, which tells why.
        if matches!(sent, Ok(false)) {
            self.show.note(texts::NOT_SENT, &[]);
        }
        None
    }

    fn say_mistake(&mut self, mistake: &Mistake) {
        match mistake {
            Mistake::Unknown(name) => self.show.note(texts::UNKNOWN_COMMAND, &[&printable(name)]),
            Mistake::Hex => self.show.note(texts::NOT_HEX, &[]),
            Mistake::TooLong => self.show.note(texts::CONTROL_TOO_LONG, &[]),
            Mistake::Frag => self.show.note(texts::FRAG_USAGE, &[]),
            Mistake::Close => self.show.note(texts::BAD_CLOSE, &[]),
        }
    }

    fn leave(&mut self, client: &mut Client<Watch>) -> Closed {
        let (code, reason) = self.args.close.clone().unwrap_or((CloseCode::NORMAL, String::new()));
        client.close(code, &reason).expect("checked when it was read")
    }
}

/// What one connection waits for.
struct Talk {
    /// When the last message was sent that is not answered yet.
    asked: Option<Instant>,
    /// When the last ping was sent that is not answered yet.
    pinged: Option<Instant>,
    next_ping: Option<Instant>,
    /// When it closes, because there is nothing more to send.
    ends_at: Option<Instant>,
}

impl Talk {
    fn new(args: &Args) -> Talk {
        let next_ping = args.ping.map(|every| Instant::now() + every);
        Talk { asked: None, pinged: None, next_ping, ends_at: None }
    }

    fn wait(&self) -> Option<Duration> {
        let next = self.next_ping.into_iter().chain(self.ends_at).min();
        next.map(|at| at.saturating_duration_since(Instant::now()))
    }
}

/// The settings of the terminal, put back when the line editor is left in the middle of a line.
struct Terminal(Option<rustix::termios::Termios>);

impl Terminal {
    fn save() -> Terminal {
        Terminal(rustix::termios::tcgetattr(std::io::stdin()).ok())
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        if let Some(settings) = &self.0 {
            let when = rustix::termios::OptionalActions::Now;
            let _ = rustix::termios::tcsetattr(std::io::stdin(), when, settings);
        }
    }
}
