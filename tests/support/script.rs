#![allow(dead_code)] // Each test file uses its own part of this.

//! A scripted socket and a clock that a test is in charge of: the whole logic of the loop, without a kernel.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::io::{self, ErrorKind, Read, Write};
use std::rc::Rc;
use std::time::{Duration, Instant};

use framewise::config::ValidConfig;
use framewise::net::sockets::{Readiness, Stream};
use framewise::net::turns::Turns;
use framewise::{Dispatcher, PeerId};

/// One end of a scripted connection; the other is in the hands of the test.
#[derive(Clone, Default)]
pub struct Script(Rc<RefCell<Wire>>);

#[derive(Default)]
struct Wire {
    to_read: VecDeque<u8>,
    /// No more will be read.
    finished: bool,
    /// Everything fails.
    reset: bool,
    written: Vec<u8>,
    /// Bytes that it takes before it refuses; `None` for any number.
    room: Option<usize>,
    /// The loop has shut its side.
    output_ended: bool,
}

impl Read for Script {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut wire = self.0.borrow_mut();
        if wire.reset {
            return Err(ErrorKind::ConnectionReset.into());
        }
        if wire.to_read.is_empty() && !wire.finished {
            return Err(ErrorKind::WouldBlock.into());
        }
        wire.to_read.read(buffer)
    }
}

impl Write for Script {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut wire = self.0.borrow_mut();
        if wire.reset {
            return Err(ErrorKind::BrokenPipe.into());
        }
        assert!(!wire.output_ended, "nothing is written after the end of the output");
        let taken = bytes.len().min(wire.room.unwrap_or(usize::MAX));
        if taken == 0 && !bytes.is_empty() {
            return Err(ErrorKind::WouldBlock.into());
        }
        wire.room = wire.room.map(|room| room - taken);
        wire.written.extend_from_slice(&bytes[..taken]);
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Stream for Script {
    fn end_output(&mut self) -> io::Result<()> {
        self.0.borrow_mut().output_ended = true;
        Ok(())
    }
}

/// A loop without a kernel.
pub struct Stage<D> {
    pub turns: Turns<D, Script>,
    pub now: Instant,
}

/// A connection of the stage, seen from the client's side.
#[derive(Clone)]
pub struct Actor {
    pub id: PeerId,
    script: Script,
}

impl<D: Dispatcher> Stage<D> {
    pub fn new(config: ValidConfig, dispatcher: D) -> Stage<D> {
        let now = Instant::now();
        Stage { turns: Turns::new(config, 10_000, dispatcher, (), now), now }
    }

    /// A TCP connection comes in.
    pub fn connect(&mut self) -> Actor {
        let (id, script) = (self.turns.reserve(), Script::default());
        self.turns.add(id, script.clone(), ([127, 0, 0, 1], 1).into());
        Actor { id, script }
    }

    /// The client sends bytes; the loop hears of it in its next pass.
    pub fn send(&mut self, actor: &Actor, bytes: &[u8]) {
        actor.script.0.borrow_mut().to_read.extend(bytes);
        self.tell(actor, Readiness { readable: true, ..Readiness::default() });
    }

    /// The client ends its side of TCP.
    pub fn finish(&mut self, actor: &Actor) {
        actor.script.0.borrow_mut().finished = true;
        self.tell(actor, Readiness { readable: true, ends: true, writable: false });
    }

    /// The connection breaks.
    pub fn reset(&mut self, actor: &Actor) {
        actor.script.0.borrow_mut().reset = true;
        self.tell(actor, Readiness { readable: true, ends: true, writable: true });
    }

    /// The client's side takes `room` more bytes, or any number of them, before it refuses.
    pub fn make_room(&mut self, actor: &Actor, room: Option<usize>) {
        actor.script.0.borrow_mut().room = room;
        self.tell(actor, Readiness { writable: true, ..Readiness::default() });
    }

    /// Passes until no turn is due, then deadlines.
    pub fn pass(&mut self) {
        self.turns.begin_pass(self.now);
        self.turns.take_all();
        while self.turns.are_due() {
            self.turns.take_all();
        }
        self.turns.judge_deadlines();
    }

    /// Time goes by, then there is a pass.
    pub fn wait(&mut self, time: Duration) {
        self.now += time;
        self.pass();
    }

    /// What was written to the client since this was asked last.
    pub fn heard(&self, actor: &Actor) -> Vec<u8> {
        std::mem::take(&mut actor.script.0.borrow_mut().written)
    }

    /// The loop has shut its side of the connection.
    pub fn is_shut(&self, actor: &Actor) -> bool {
        actor.script.0.borrow().output_ended
    }

    /// The loop still holds the connection.
    pub fn holds(&self, actor: &Actor) -> bool {
        self.turns.peers().get(actor.id).is_some()
    }

    fn tell(&mut self, actor: &Actor, readiness: Readiness) {
        // As with a kernel, news of a descriptor that is closed does not exist.
        if self.turns.peers().get(actor.id).is_some() {
            self.turns.note_readiness(actor.id.slot(), readiness);
        }
    }
}
