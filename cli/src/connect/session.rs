//! One connection, or one after the other: what is typed goes out, what comes in is shown.
//!
//! Rules of this file: on a terminal it goes on until it is told to stop; in a pipe everything is sent, answers are
//! waited for, and then it closes: when a ping behind the last line is answered, and as many messages have come as were
//! sent, or none for a while (a server may answer pings before messages that it has read). No line is taken
//! while much still waits to be sent, so that reading never waits for writing. A line of a pipe that could not be sent
//! because the connection was lost is the first one of the next connection; whoever types is told.

use std::io::{self, ErrorKind};
use std::sync::mpsc::{RecvTimeoutError, TryRecvError, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use framewise::protocol::mask::MaskingKeys;
use framewise::trace::printable;
use framewise::{Client, ClientRequest, CloseCode, Closed, ConnectError, Event, Tcp};

use crate::connect::commands::{self, Action};
use crate::connect::input::{Input, Lines, MAX_LINE, is_farewell};
use crate::connect::options::Args;
use crate::connect::show::Show;
use crate::connect::talk::Talk;
use crate::connect::{CLOSED_OTHERWISE, FINE, NOT_CONNECTED, OptionalTrace, USAGE, open};
use crate::texts;

/// The first pause before connecting again, and the longest. A connection that lasted for the longest begins anew.
const AGAIN_AFTER: [Duration; 2] = [Duration::from_secs(1), Duration::from_secs(30)];

/// The ping behind the last line of a pipe.
const LAST: &[u8] = b"framewise: that was all";

/// How often somebody who waits for a connection is heard.
const LOOK_UP: Duration = Duration::from_millis(50);

/// With more than so many bytes waiting to be sent, no line is taken.
const MUCH: usize = 1 << 20;

/// What is asked for, and what is left of it.
pub struct Session {
    args: Args,
    request: ClientRequest,
    show: Show,
    lines: Lines,
    keys: MaskingKeys,
    /// A line that no connection has taken yet.
    unsent: Option<Vec<u8>>,
    /// Nothing more will be typed.
    over: bool,
    /// What the exit code says beyond how the connection ended.
    failure: Option<u8>,
    /// A message came.
    is_answered: bool,
    /// Before it connects again; longer each time.
    pause: Duration,
}

/// How a connection ended.
enum End {
    /// This end wanted it.
    Left(Closed),
    /// The other end, or nobody.
    Lost(Closed),
}

/// What became of a line.
enum Acted {
    Done,
    /// The connection is lost; the line waits for the next one.
    NotOpen,
    Ended(Closed),
}

impl Session {
    /// Nothing has been said yet.
    pub fn new(
        args: Args,
        request: ClientRequest,
        show: Show,
        lines: Lines,
        keys: MaskingKeys,
    ) -> Session {
        Session {
            args,
            request,
            show,
            lines,
            keys,
            unsent: None,
            over: false,
            failure: None,
            is_answered: false,
            pause: AGAIN_AFTER[0],
        }
    }

    /// Talks until it is over; answers with the exit code.
    pub fn talk(&mut self, client: Client<Tcp, OptionalTrace>) -> u8 {
        let mut client = client;
        loop {
            let opened = Instant::now();
            self.lines.bell.set(client.interrupter());
            self.show.opened(&self.args.url, client.subprotocol());
            let (closed, left) = match self.converse(&mut client) {
                End::Left(closed) => (closed, true),
                End::Lost(closed) => (closed, false),
            };
            if opened.elapsed() >= AGAIN_AFTER[1] {
                self.pause = AGAIN_AFTER[0];
            }
            let is_lost = !left && closed.code != CloseCode::NORMAL;
            let goes_on = is_lost && self.args.reconnect && !self.over;
            if !goes_on {
                self.leave_terminal();
            }
            self.show.closed(&closed);
            let next = if goes_on { self.again() } else { None };
            match next {
                Some(next) => client = next,
                None => {
                    self.leave_terminal();
                    if self.args.one && !self.is_answered {
                        self.show.note(texts::NO_ANSWER, &[]);
                    }
                    return self.exit_code(&closed);
                }
            }
        }
    }

    fn exit_code(&self, closed: &Closed) -> u8 {
        if let Some(failure) = self.failure {
            return failure;
        }
        match closed.code {
            _ if self.args.one && !self.is_answered => CLOSED_OTHERWISE,
            CloseCode::NORMAL | CloseCode::GOING_AWAY | CloseCode::NO_STATUS => FINE,
            _ => CLOSED_OTHERWISE,
        }
    }

    /// The line editor may be in the middle of a line: the terminal is put back first.
    fn leave_terminal(&mut self) {
        self.lines.settings = None;
        self.show.leave_terminal();
    }

    /// Connects again, in longer and longer intervals; `None` if it shall stop.
    fn again(&mut self) -> Option<Client<Tcp, OptionalTrace>> {
        loop {
            self.show.note(texts::AGAIN_IN, &[&self.pause.as_secs()]);
            if !self.rest(self.pause) {
                return None;
            }
            // Also a server that lets in and sends away at once is asked less and less often.
            self.pause = (self.pause * 2).min(AGAIN_AFTER[1]);
            match self.open()? {
                Ok(client) => return Some(client),
                Err(error) => {
                    let why = printable(&error.text(self.show.lang));
                    self.show.note(texts::ERROR, &[&why]);
                }
            }
        }
    }

    /// Connects in a thread, so that whoever types can stop meanwhile: then there is nothing.
    fn open(&mut self) -> Option<Result<Client<Tcp, OptionalTrace>, ConnectError>> {
        let (done, opened) = sync_channel(1);
        let (args, request) = (self.args.clone(), self.request.clone());
        let (above, lang) = (self.show.above.clone(), self.show.lang);
        thread::spawn(move || drop(done.send(open(&args, &request, &above, lang))));
        loop {
            match opened.recv_timeout(LOOK_UP) {
                Ok(result) => return Some(result),
                Err(RecvTimeoutError::Timeout) if self.rest(Duration::ZERO) => {}
                Err(_) => return None,
            }
        }
    }

    /// Waits; false if somebody wants to stop meanwhile. What comes through a pipe waits as well.
    fn rest(&mut self, pause: Duration) -> bool {
        if !self.show.above.is_there() {
            thread::sleep(pause);
            return true;
        }
        let until = Instant::now() + pause;
        loop {
            match self.lines.typed.recv_timeout(until.saturating_duration_since(Instant::now())) {
                Ok(Input::Line(line)) if is_farewell(&line) => return false,
                Ok(Input::Line(_)) => self.show.note(texts::NOT_SENT, &[]),
                Ok(_) | Err(RecvTimeoutError::Disconnected) => return false,
                Err(RecvTimeoutError::Timeout) => return true,
            }
        }
    }

    /// Sends what is typed and shows what comes, until one end closes.
    fn converse(&mut self, client: &mut Client<Tcp, OptionalTrace>) -> End {
        let mut talk = Talk::new(&self.args);
        loop {
            if let Some(closed) = self.take_lines(client, &mut talk) {
                return End::Left(closed);
            }
            if self.over && !talk.is_ending() {
                if self.show.above.is_there() {
                    return End::Left(self.leave(client));
                }
                talk.end(self.args.wait, client.queued());
                // One answer is worth waiting for, also when it comes behind the pong.
                if self.args.wait.is_none() && !self.args.one {
                    client.ping(LAST);
                }
            }
            let mut has_moved = false;
            let wait = talk.wait(client.queued() > MUCH).unwrap_or(Duration::MAX);
            match client.recv_timeout(wait) {
                Ok(Some(Event::Closed(closed))) => return End::Lost(closed),
                Ok(Some(Event::Pong(payload))) if *payload == *LAST => {
                    talk.all_is_read();
                    has_moved = true;
                }
                Ok(Some(event)) => {
                    let is_answer = matches!(event, Event::Message(_));
                    self.show_event(event, &mut talk);
                    if let Some(error) = self.show.unwritten.take() {
                        // Whoever reads may leave, as `head` does; a full disk is something else.
                        if error.kind() != ErrorKind::BrokenPipe {
                            self.show.note(texts::ERROR, &[&error]);
                            self.failure = Some(NOT_CONNECTED);
                        }
                        return End::Left(close(client, CloseCode::GOING_AWAY, ""));
                    }
                    // Pings and pongs go by whether anything is still to come or not.
                    self.is_answered |= is_answer;
                    has_moved = is_answer;
                    if is_answer && self.args.one {
                        return End::Left(self.leave(client));
                    }
                }
                Ok(None) => {}
                Err(error) => {
                    self.show.note(texts::ERROR, &[&error]);
                    return End::Left(self.leave(client));
                }
            }
            if talk.has_ended(has_moved, client.queued()) {
                return End::Left(self.leave(client));
            }
            if talk.is_ping_due() {
                talk.time_ping(b"");
                client.ping(b"");
            }
        }
    }

    /// Takes lines until there is none, or much waits to be sent; how it ended, if it has.
    fn take_lines(
        &mut self,
        client: &mut Client<Tcp, OptionalTrace>,
        talk: &mut Talk,
    ) -> Option<Closed> {
        while !self.over && client.queued() <= MUCH {
            let input = match self.unsent.take() {
                Some(line) => Ok(Input::Line(line)),
                None => self.lines.typed.try_recv(),
            };
            match input {
                Ok(Input::Line(line)) => match self.act(client, line, talk) {
                    Ok(Acted::Done) => {}
                    Ok(Acted::NotOpen) => return None,
                    Ok(Acted::Ended(closed)) => return Some(closed),
                    Err(error) => self.show.note(texts::ERROR, &[&error]),
                },
                Ok(Input::End) | Err(TryRecvError::Disconnected) => self.over = true,
                Ok(Input::Stop) => return Some(self.leave(client)),
                Ok(Input::TooLong) => {
                    self.fail(&texts::LINE_TOO_LONG.with(self.show.lang, &[&MAX_LINE]))
                }
                Ok(Input::Failed(why)) => self.fail(&why),
                Err(TryRecvError::Empty) => return None,
            }
        }
        None
    }

    /// What comes through the pipe makes no sense: nothing more of it is sent.
    fn fail(&mut self, why: &str) {
        self.show.note(texts::ERROR, &[&why]);
        (self.over, self.failure) = (true, Some(USAGE));
    }

    fn show_event(&mut self, event: Event<'_>, talk: &mut Talk) {
        match event {
            Event::Message(message) => {
                self.show.message(message.as_message(), talk.received());
            }
            Event::Pong(payload) => self.show.control("pong", &payload, talk.ponged(&payload)),
            Event::Ping(payload) => self.show.control("ping", &payload, None),
            // Nothing that a client hears in between.
            _ => {}
        }
    }

    /// Carries out one line.
    fn act(
        &mut self,
        client: &mut Client<Tcp, OptionalTrace>,
        line: Vec<u8>,
        talk: &mut Talk,
    ) -> io::Result<Acted> {
        let is_terminal = self.show.above.is_there();
        // What comes through a pipe is data: only who types has commands.
        let action = if is_terminal {
            commands::parse(&line, self.args.binary, self.args.hex, (self.keys)())
        } else {
            commands::data(&line, self.args.binary, self.args.hex)
        };
        let is_open = match action {
            Ok(Action::Text(text)) => {
                talk.sent();
                client.send(&text)?
            }
            Ok(Action::Binary(bytes)) => {
                talk.sent();
                client.send(&bytes)?
            }
            Ok(Action::Frames(bytes)) => {
                talk.sent();
                client.send_raw(&bytes)?
            }
            Ok(Action::Raw(bytes)) => client.send_raw(&bytes)?,
            Ok(Action::Ping(payload)) => {
                talk.time_ping(&payload);
                client.ping(&payload)
            }
            Ok(Action::Close(code, reason)) => {
                return Ok(Acted::Ended(close(client, code, &reason)));
            }
            Ok(Action::Leave) => return Ok(Acted::Ended(self.leave(client))),
            Ok(Action::Help) => {
                self.show.note(texts::COMMANDS, &[]);
                true
            }
            Ok(Action::Nothing) => true,
            Err(mistake) => {
                let why = mistake.text(self.show.lang);
                if is_terminal {
                    self.show.remark(&why)
                } else {
                    self.fail(&why)
                }
                true
            }
        };
        if is_open {
            return Ok(Acted::Done);
        }
        // Whatever keeps it from being sent ends the connection, which tells why.
        match self.args.reconnect {
            true => self.unsent = Some(line),
            false => self.show.note(texts::NOT_SENT, &[]),
        }
        Ok(Acted::NotOpen)
    }

    fn leave(&mut self, client: &mut Client<Tcp, OptionalTrace>) -> Closed {
        let (code, reason) = self.args.close.clone().unwrap_or((CloseCode::NORMAL, String::new()));
        close(client, code, &reason)
    }
}

fn close(client: &mut Client<Tcp, OptionalTrace>, code: CloseCode, reason: &str) -> Closed {
    client.close(code, reason).expect("checked when it was read")
}
