//! An event loop over scripted sockets and a clock that the test controls: everything except the kernel.

#![allow(dead_code)] // No test file uses everything.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::io::{self, ErrorKind, Read, Write};
use std::rc::Rc;
use std::time::{Duration, Instant};

use framewise::config::ValidConfig;
use framewise::internal::{EventLoop, Socket};
use framewise::{Application, PeerId, Readiness, Tcp, Transport};

/// The server's side of a scripted connection. The test controls the other side.
#[derive(Clone, Default)]
pub struct Script(Rc<RefCell<Wire>>);

#[derive(Default)]
struct Wire {
    to_read: VecDeque<u8>,
    /// The client has closed its side.
    finished: bool,
    /// Writes fail, and so do reads once everything that arrived before has been read.
    reset: bool,
    /// Writes fail, although no reset was reported.
    output_broken: bool,
    written: Vec<u8>,
    /// How many bytes can be written until the socket is full; `None` for any number.
    room: Option<usize>,
    /// The loop has closed its side.
    output_ended: bool,
}

impl Read for Script {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut wire = self.0.borrow_mut();
        if wire.reset && wire.to_read.is_empty() {
            return Err(ErrorKind::ConnectionReset.into());
        }
        if wire.to_read.is_empty() && !wire.finished {
            return Err(ErrorKind::WouldBlock.into());
        }
        // Reading a ring buffer stops at its end, and a short read means that the socket is empty.
        wire.to_read.make_contiguous();
        wire.to_read.read(buffer)
    }
}

impl Write for Script {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut wire = self.0.borrow_mut();
        if wire.reset || wire.output_broken {
            return Err(ErrorKind::BrokenPipe.into());
        }
        assert!(!wire.output_ended, "nothing is written after the loop has closed its side");
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

impl Socket for Script {
    fn end_output(&mut self) -> io::Result<()> {
        self.0.borrow_mut().output_ended = true;
        Ok(())
    }
}

impl Script {
    /// Makes room for `room` more bytes in the socket, or for any number of them. The loop is not notified.
    pub fn make_room(&self, room: Option<usize>) {
        self.0.borrow_mut().room = room;
    }
}

/// An event loop without a kernel, and its clock.
pub struct Stage<A, T: Transport = Tcp> {
    pub event_loop: EventLoop<A, Script, T>,
    pub now: Instant,
}

/// A connection of a [`Stage`], from the client's point of view.
#[derive(Clone)]
pub struct Actor {
    pub id: PeerId,
    pub script: Script,
}

impl<A: Application> Stage<A> {
    /// Returns a stage without connections, over plain TCP.
    pub fn new(config: ValidConfig, application: A) -> Stage<A> {
        Stage::over(config, application, Tcp)
    }
}

impl<A: Application, T: Transport> Stage<A, T> {
    pub fn over(config: ValidConfig, application: A, transport: T) -> Stage<A, T> {
        let now = Instant::now();
        Stage { event_loop: EventLoop::new(config, 10_000, application, transport, (), now), now }
    }

    /// Adds a TCP connection from 127.0.0.1.
    pub fn connect(&mut self) -> Actor {
        self.connect_from([127, 0, 0, 1])
    }

    /// Adds a TCP connection from an IPv4 address.
    pub fn connect_from(&mut self, address: [u8; 4]) -> Actor {
        let (id, script) = (self.event_loop.reserve(), Script::default());
        self.event_loop.add(id, script.clone(), (address, 1).into());
        Actor { id, script }
    }

    /// Sends bytes from the client. The loop reads them in its next pass.
    pub fn send(&mut self, actor: &Actor, bytes: &[u8]) {
        actor.script.0.borrow_mut().to_read.extend(bytes);
        self.tell(actor, Readiness::READABLE);
    }

    /// Closes the client's side of TCP.
    pub fn finish(&mut self, actor: &Actor) {
        actor.script.0.borrow_mut().finished = true;
        self.tell(actor, Readiness::ENDED);
    }

    /// Resets the connection. The loop can still read what the client has sent before.
    pub fn reset(&mut self, actor: &Actor) {
        actor.script.0.borrow_mut().reset = true;
        self.tell(actor, Readiness::RESET);
    }

    /// Makes every write fail from now on. The loop is not notified.
    pub fn break_output(&mut self, actor: &Actor) {
        actor.script.0.borrow_mut().output_broken = true;
    }

    /// Makes room for `room` more bytes in the socket, or for any number of them.
    pub fn make_room(&mut self, actor: &Actor, room: Option<usize>) {
        actor.script.make_room(room);
        self.tell(actor, Readiness::WRITABLE);
    }

    /// Runs a pass: turns until no peer has more to read, then deadlines.
    pub fn pass(&mut self) {
        self.event_loop.begin_pass(self.now);
        self.event_loop.take_turns();
        while self.event_loop.has_turns() {
            self.event_loop.take_turns();
        }
        self.event_loop.expire_deadlines();
    }

    /// Advances the clock, then runs a pass.
    pub fn wait(&mut self, time: Duration) {
        self.now += time;
        self.pass();
    }

    /// Returns the bytes that were written to the client since the last call.
    pub fn heard(&self, actor: &Actor) -> Vec<u8> {
        std::mem::take(&mut actor.script.0.borrow_mut().written)
    }

    /// Returns how many bytes of this client the server has not read yet.
    pub fn unread(&self, actor: &Actor) -> usize {
        actor.script.0.borrow().to_read.len()
    }

    /// Reports whether the loop has closed its side of the connection.
    pub fn is_shut(&self, actor: &Actor) -> bool {
        actor.script.0.borrow().output_ended
    }

    /// Reports whether the loop still has the connection.
    pub fn holds(&self, actor: &Actor) -> bool {
        self.event_loop.contains(actor.id)
    }

    fn tell(&mut self, actor: &Actor, readiness: Readiness) {
        // A kernel reports no readiness for a closed file descriptor.
        if self.event_loop.contains(actor.id) {
            self.event_loop.note_readiness(actor.id.slot(), readiness);
        }
    }
}
