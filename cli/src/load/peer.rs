//! One peer of a load: what it has sent, and what it still waits for.
//!
//! Rules of this file: a message ends in its number, where it is long enough for one, so that an answer that is missing is
//! not taken for the next.

use std::collections::VecDeque;
use std::fmt::Write as _;
use std::io::{ErrorKind, IoSlice, Write as _};
use std::time::Instant;

use framewise::protocol::connection::Connection;
use framewise::protocol::output::MAX_SLICES;
use mio::net::TcpStream;

use crate::tls::Pipe;

/// Digits of the number at the end of a message.
const NUMBER: usize = 12;

/// A connection of the crowd.
pub struct Peer {
    pub stream: Pipe<TcpStream>,
    pub connection: Connection,
    /// The messages that are not answered yet: their number, and when they were due.
    pub due: VecDeque<(u64, Instant)>,
    /// The number of the next one.
    number: u64,
    /// When the next one is due.
    pub next: Instant,
    /// A ping is not answered yet.
    pub is_pinged: bool,
}

impl Peer {
    /// Nothing was sent yet.
    pub fn new(stream: Pipe<TcpStream>, connection: Connection) -> Peer {
        let (due, next) = (VecDeque::new(), Instant::now());
        Peer { stream, connection, due, number: 0, next, is_pinged: false }
    }

    /// Sends the next message, which is due at this time; false if it could not be sent.
    pub fn send(&mut self, message: &mut String, due: Instant, is_answered: bool) -> bool {
        if let Some(rest) = message.len().checked_sub(NUMBER) {
            message.truncate(rest);
            let _ = write!(message, "{:0NUMBER$}", self.number);
        }
        let is_sent = self.connection.output_mut().send(&*message);
        if is_sent && is_answered {
            self.due.push_back((self.number, due));
        }
        self.number += u64::from(is_sent);
        is_sent
    }

    /// A message came: how many before it were never answered, and when the one was due that it answers.
    pub fn answered(&mut self, answer: &[u8]) -> (u64, Option<Instant>) {
        let number = answer.last_chunk::<NUMBER>().and_then(|number| str::from_utf8(number).ok());
        let Some(number) = number.and_then(|number| number.parse::<u64>().ok()) else {
            return (0, self.due.pop_front().map(|(_, due)| due));
        };
        let lost = self.due.iter().take_while(|(waits, _)| *waits < number).count();
        self.due.drain(..lost);
        let due = self.due.pop_front_if(|(waits, _)| *waits == number);
        (lost as u64, due.map(|(_, due)| due))
    }

    /// Writes what waits, as far as the socket takes it.
    pub fn flush(&mut self) {
        if self.stream.drive().is_err() {
            self.connection.broken();
        }
        while !self.connection.output().is_empty() && !self.connection.output().is_blocked() {
            let mut slices = [&[][..]; MAX_SLICES];
            let filled = self.connection.output().pending(&mut slices);
            let slices: Vec<IoSlice<'_>> =
                slices[..filled].iter().map(|slice| IoSlice::new(slice)).collect();
            match self.stream.write_vectored(&slices) {
                Ok(count) => self.connection.output_mut().advance(count),
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    self.connection.output_mut().block();
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => self.connection.broken(),
            }
        }
    }
}
