//! One connection, or one after the other: what is typed goes out, what comes in is shown.
//!
//! Rules of this file: On a terminal the client continues until the person stops it. From a pipe it sends everything,
//! waits for answers, and closes: when the ping after the last line is answered, and as many messages have arrived as
//! were sent, or none for a while (a server may answer pings before messages that it has read). Many lines may take a
//! server long to read, so the client waits for that pong as long as the server shows that it is there. It takes no line while
//! much still waits to be sent, so that receiving never waits for sending. With `--reconnect`, lines that could not be sent
//! wait for the next connection. Lines that are never sent are counted at the end. If a connection is lost before the server has
//! confirmed the lines of a pipe, the client says so and fails.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{RecvTimeoutError, TryRecvError, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use framewise::protocol::mask::MaskingKeys;
use framewise::{Client, ClientRequest, CloseCode, Closed, ConnectError, Event};

use crate::connect::commands::{self, Action};
use crate::connect::input::{Input, Lines, MAX_LINE};
use crate::connect::options::Args;
use crate::connect::show::Show;
use crate::connect::talk::{Talk, Traffic};
use crate::connect::{CLOSED_OTHERWISE, FINE, NOT_CONNECTED, USAGE, Watched, open};
use crate::texts;
use crate::tls::{ClientStream, Dialer};

/// The first pause before connecting again, and the longest. A connection that lasted for the longest begins anew.
const AGAIN_AFTER: [Duration; 2] = [Duration::from_secs(1), Duration::from_secs(30)];

/// The random part of each pause is shorter than this.
const MOST_EXTRA: Duration = Duration::from_secs(1);

/// The payload of the ping after the last line of a pipe.
const LAST: &[u8] = b"framewise: that was all";

/// How often the client looks for Ctrl+C while it connects.
const LOOK_UP: Duration = Duration::from_millis(50);

/// With more than so many bytes waiting to be sent, no line is taken.
const MUCH: usize = 1 << 20;

/// What is asked for, and what is left of it.
pub struct Session {
    args: Args,
    request: ClientRequest,
    dialer: Dialer,
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
    /// The pause before the next attempt to connect. Each one is longer.
    pause: Duration,
    /// How many bytes have arrived.
    received: Arc<AtomicU64>,
}

/// What is known of a closed connection.
struct Closing {
    code: CloseCode,
    reason: String,
}

impl From<Closed> for Closing {
    fn from(closed: Closed) -> Closing {
        Closing { code: closed.code, reason: closed.reason }
    }
}

/// Who closed a connection.
enum End {
    /// The client closed it.
    Left(Closing),
    /// The client closed it, because the time in which more could arrive was over.
    TimedOut(Closing),
    /// The server closed it, or it broke.
    Lost(Closing),
}

/// What became of a line.
enum Acted {
    Done,
    /// The connection is lost; the line waits for the next one.
    NotOpen,
    Ended(Closing),
}

impl Session {
    /// Creates a session without a connection.
    pub fn new(
        args: Args,
        request: ClientRequest,
        dialer: Dialer,
        show: Show,
        lines: Lines,
        keys: MaskingKeys,
    ) -> Session {
        Session {
            args,
            request,
            dialer,
            show,
            lines,
            keys,
            unsent: None,
            over: false,
            failure: None,
            is_answered: false,
            pause: AGAIN_AFTER[0],
            received: Arc::default(),
        }
    }

    /// Connects and talks until it is over. Returns the exit code.
    pub fn run(&mut self) -> u8 {
        match self.first() {
            Some(client) => self.talk(client),
            None => NOT_CONNECTED,
        }
    }

    /// Opens the first connection. Returns `None` if that is not possible, or if the person has stopped it.
    fn first(&mut self) -> Option<Client<ClientStream, Watched>> {
        let opened = match self.open() {
            Some(Err(error)) if self.args.reconnect && may_succeed_later(&error) => {
                self.refused(&error);
                self.again()
            }
            Some(Err(error)) => {
                self.leave_terminal();
                self.refused(&error);
                None
            }
            Some(Ok(client)) => Some(client),
            None => None,
        };
        if opened.is_none() {
            self.leave_terminal();
            self.report_unsent();
        }
        opened
    }

    fn refused(&mut self, error: &ConnectError) {
        self.show.refused(error, self.args.max_head as usize);
    }

    /// Talks until it is over. Returns the exit code.
    fn talk(&mut self, client: Client<ClientStream, Watched>) -> u8 {
        let mut client = client;
        loop {
            let opened = Instant::now();
            self.lines.waker.set(client.interrupter());
            self.show.opened(&self.args.url, client.subprotocol());
            let end = self.converse(&mut client);
            let left = !matches!(end, End::Lost(_));
            let unanswered = match end {
                End::TimedOut(_) => texts::NO_ANSWER,
                End::Left(_) | End::Lost(_) => texts::CLOSED_UNANSWERED,
            };
            let (End::Left(closed) | End::TimedOut(closed) | End::Lost(closed)) = end;
            if opened.elapsed() >= AGAIN_AFTER[1] {
                self.pause = AGAIN_AFTER[0];
            }
            let is_lost = !left && closed.code != CloseCode::NORMAL;
            let goes_on = is_lost && self.args.reconnect && !self.over;
            if !goes_on {
                self.leave_terminal();
            }
            self.show.closed(closed.code, &closed.reason);
            let next = if goes_on { self.again() } else { None };
            match next {
                Some(next) => client = next,
                None => {
                    self.leave_terminal();
                    self.is_unwritten();
                    // A program that takes no more answers needs no more lines either.
                    if !left || self.lines.is_typed() {
                        self.report_unsent();
                    }
                    if self.args.one && !self.is_answered {
                        self.show.note(unanswered, &[]);
                    }
                    return self.exit_code(&closed);
                }
            }
        }
    }

    /// Reports how many lines were not sent.
    fn report_unsent(&mut self) {
        let is_typed = self.lines.is_typed();
        let count = self.lines.discard() + usize::from(self.unsent.take().is_some());
        if count > 0 {
            // Nobody knows how much more is in the pipe.
            let text = if is_typed { texts::NOT_SENT_LINES } else { texts::NOT_SENT_REST };
            self.show.note(text, &[&count]);
        }
    }

    /// Reports whether something could not be written. Anything but the end of the reader is an error.
    fn is_unwritten(&mut self) -> bool {
        let Some(error) = self.show.unwritten.take() else { return false };
        if !texts::is_gone(&error) {
            self.show.note(texts::ERROR, &[&error]);
            self.failure = Some(NOT_CONNECTED);
        }
        true
    }

    fn exit_code(&self, closed: &Closing) -> u8 {
        if let Some(failure) = self.failure {
            return failure;
        }
        match closed.code {
            _ if self.args.one && !self.is_answered => CLOSED_OTHERWISE,
            CloseCode::NORMAL | CloseCode::GOING_AWAY | CloseCode::NO_STATUS => FINE,
            _ => CLOSED_OTHERWISE,
        }
    }

    /// Ends the line editor, which may be in the middle of a line, and restores the terminal.
    fn leave_terminal(&mut self) {
        let unprinted = self.show.above.flush();
        let is_empty = self.lines.leave_terminal();
        self.show.leave_terminal(is_empty, &unprinted);
    }

    /// Connects again, after longer and longer pauses. Returns `None` if the person stops it.
    fn again(&mut self) -> Option<Client<ClientStream, Watched>> {
        loop {
            self.show.note(texts::AGAIN_IN, &[&self.pause.as_secs()]);
            // RFC 6455 §7.2.3-1 to §7.2.3-4: a class that lost its server does not come back all at once.
            let extra = fraction_of(MOST_EXTRA, (self.keys)());
            if !self.rest(self.pause + extra) {
                return None;
            }
            // A server that accepts and closes at once is also asked less and less often.
            self.pause = (self.pause * 2).min(AGAIN_AFTER[1]);
            match self.open()? {
                Ok(client) => return Some(client),
                Err(error) => self.refused(&error),
            }
        }
    }

    /// Connects in a thread, so that a person can stop it. Returns `None` then.
    fn open(&mut self) -> Option<Result<Client<ClientStream, Watched>, ConnectError>> {
        let (done, opened) = sync_channel(1);
        let (args, request) = (self.args.clone(), self.request.clone());
        let dialer = self.dialer.clone();
        let (above, lang) = (self.show.above.clone(), self.show.lang);
        let received = Arc::clone(&self.received);
        thread::spawn(move || {
            drop(done.send(open(&args, &request, &dialer, &above, lang, received)))
        });
        loop {
            match opened.recv_timeout(LOOK_UP) {
                Ok(result) => return Some(result),
                Err(RecvTimeoutError::Timeout) if self.rest(Duration::ZERO) => {}
                Err(_) => return None,
            }
        }
    }

    /// Waits, and keeps what a person types meanwhile. Returns false if the person wants to stop. A pipe is not read.
    fn rest(&mut self, pause: Duration) -> bool {
        if self.show.above.is_there() {
            return self.lines.hold(pause);
        }
        thread::sleep(pause);
        true
    }

    /// Sends what is typed and shows what arrives, until the connection is closed.
    fn converse(&mut self, client: &mut Client<ClientStream, Watched>) -> End {
        let mut talk = Talk::new(&self.args);
        loop {
            if let Some(closed) = self.take_lines(client, &mut talk) {
                return End::Left(closed);
            }
            if self.over && !talk.is_ending() {
                if self.show.above.is_there() {
                    return End::Left(self.leave(client));
                }
                talk.end(Instant::now(), self.args.wait, self.traffic(client));
                // With --one the answer is awaited, also if it arrives after the pong.
                if self.args.wait.is_none() && !self.args.one {
                    client.ping(LAST);
                }
            }
            let mut has_moved = false;
            let wait = talk.wait(client.queued() > MUCH).unwrap_or(Duration::MAX);
            match client.recv_timeout(wait) {
                Ok(Some(Event::Closed(closed))) => {
                    let closed = closed.into();
                    self.note_unconfirmed(&talk, &closed);
                    return End::Lost(closed);
                }
                Ok(Some(Event::Pong(payload))) if *payload == *LAST => {
                    talk.all_is_read();
                    has_moved = true;
                }
                Ok(Some(event)) => {
                    let is_answer = matches!(event, Event::Message(_));
                    self.show_event(event, &mut talk);
                    if self.is_unwritten() {
                        return End::Left(close(client, CloseCode::GOING_AWAY, ""));
                    }
                    // Pings and pongs are no sign that another message will arrive.
                    self.is_answered |= is_answer;
                    has_moved = is_answer;
                    if is_answer && self.args.one {
                        return End::Left(self.leave(client));
                    }
                }
                Ok(None) if talk.is_lost(self.traffic(client)) => {
                    self.show.note(texts::NO_PONG, &[&self.args.pong_timeout.as_secs_f64()]);
                    let closed = Closing { code: CloseCode::ABNORMAL, reason: String::new() };
                    self.note_unconfirmed(&talk, &closed);
                    return End::Lost(closed);
                }
                Ok(None) => {}
                Err(error) => {
                    self.show.note(texts::ERROR, &[&error]);
                    return End::Left(self.leave(client));
                }
            }
            if talk.has_ended(Instant::now(), has_moved, self.traffic(client)) {
                let closed = self.leave(client);
                if self.args.wait.is_none() {
                    self.note_unconfirmed(&talk, &closed);
                }
                return End::TimedOut(closed);
            }
            if talk.is_ping_due() {
                talk.time_ping(b"");
                client.ping(b"");
            }
        }
    }

    /// Reports that lines of a pipe may be lost with the connection. A person sees what was answered.
    fn note_unconfirmed(&mut self, talk: &Talk, closed: &Closing) {
        let is_lost = closed.code == CloseCode::ABNORMAL;
        if is_lost && talk.is_unconfirmed() && !self.show.above.is_there() {
            self.show.note(texts::NOT_CONFIRMED, &[]);
            self.failure.get_or_insert(CLOSED_OTHERWISE);
        }
    }

    fn traffic(&self, client: &Client<ClientStream, Watched>) -> Traffic {
        Traffic { received: self.received.load(Ordering::Relaxed), queued: client.queued() }
    }

    /// Sends lines until there is none, or much waits to be sent. Returns how the connection was closed, if a line did it.
    fn take_lines(
        &mut self,
        client: &mut Client<ClientStream, Watched>,
        talk: &mut Talk,
    ) -> Option<Closing> {
        while !self.over && client.queued() <= MUCH {
            let input = match self.unsent.take() {
                Some(line) => Ok(Input::Line(line)),
                None => self.lines.try_next(),
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
        // The server does not read. Lines wait, but Ctrl+C does not.
        if !self.over && self.show.above.is_there() && self.lines.is_stopped() {
            return Some(self.leave(client));
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

    /// Sends one line, or carries out its command.
    fn act(
        &mut self,
        client: &mut Client<ClientStream, Watched>,
        line: Vec<u8>,
        talk: &mut Talk,
    ) -> io::Result<Acted> {
        let is_terminal = self.show.above.is_there();
        // Lines of a pipe are data. Only a person has commands.
        let action = if is_terminal {
            commands::parse(&line, self.args.binary, self.args.hex, &mut *self.keys)
        } else {
            commands::data(&line, self.args.binary, self.args.hex)
        };
        let is_open = match action {
            Ok(Action::Text(text)) => {
                talk.sent(text.len());
                client.send(&text)?
            }
            Ok(Action::Binary(bytes)) => {
                talk.sent(bytes.len());
                client.send(&bytes)?
            }
            Ok(Action::Frames(bytes)) => {
                talk.sent(bytes.len());
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
        // The connection is closing. The next one sends the line, or it is counted at the end.
        self.unsent = Some(line);
        Ok(Acted::NotOpen)
    }

    fn leave(&mut self, client: &mut Client<ClientStream, Watched>) -> Closing {
        let (code, reason) = self.args.close.clone().unwrap_or((CloseCode::NORMAL, String::new()));
        close(client, code, &reason)
    }
}

/// Returns a random part of `most`, less than all of it.
fn fraction_of(most: Duration, random: [u8; 4]) -> Duration {
    let nanos = (most.as_nanos() * u128::from(u32::from_be_bytes(random))) >> 32;
    Duration::from_nanos(nanos as u64)
}

fn close(client: &mut Client<ClientStream, Watched>, code: CloseCode, reason: &str) -> Closing {
    client.close(code, reason).expect("checked when it was read").into()
}

/// Reports whether another attempt to connect can have another result.
fn may_succeed_later(error: &ConnectError) -> bool {
    !matches!(
        error,
        ConnectError::Url(_)
            | ConnectError::Secure
            | ConnectError::Transport(_)
            | ConnectError::Config(_)
            | ConnectError::NoRandomness
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 6455 §7.2.3-2: the random part of a pause can be anything from nothing to almost a second.
    #[test]
    fn the_random_part_of_a_pause_is_less_than_a_second() {
        let part = |random| fraction_of(MOST_EXTRA, random);
        assert_eq!(part([0; 4]), Duration::ZERO);
        assert_eq!(part([0x80, 0, 0, 0]), MOST_EXTRA / 2);
        assert!(part([0xff; 4]) < MOST_EXTRA && part([0xff; 4]) > MOST_EXTRA * 9 / 10);
    }
}
