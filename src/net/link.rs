//! A [`Link`]: the socket of one connection, its transport and its readiness.
//!
//! Readiness is *edge-triggered*: the operating system reports it once, when it begins. A link remembers it until a read
//! shows that the socket is empty.

use std::error::Error;
use std::io::{self, ErrorKind, IoSlice, Read, Write};
use std::mem;

use crate::net::transport::{Drained, ReadOutcome, Readiness, Stream};
use crate::protocol::output::MAX_SLICES;

/// A non-blocking socket: TCP, or a script in a test.
pub trait Socket: Read + Write {
    /// Shuts down the sending side.
    ///
    /// # Errors
    ///
    /// The socket is broken.
    fn end_output(&mut self) -> io::Result<()>;
}

impl Socket for mio::net::TcpStream {
    fn end_output(&mut self) -> io::Result<()> {
        self.shutdown(std::net::Shutdown::Write)
    }
}

/// The result of a read from the link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Received {
    /// This many bytes.
    Bytes(usize),
    /// No bytes are available now.
    Nothing,
    /// The peer has closed its sending side.
    End,
    /// The transport has failed, and the socket has not. Reported once.
    Failed,
    /// The socket is broken.
    Broken,
}

/// The result of a write to the link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Written {
    /// This many bytes were accepted, at least one.
    Bytes(usize),
    /// No bytes are accepted now.
    Refused,
    /// The socket is broken.
    Broken,
}

/// The result of shutting down the sending side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OutputEnd {
    /// The sending side of TCP is shut down.
    Done,
    /// The stream still has bytes to write.
    Waits,
    /// The socket is broken.
    Broken,
}

/// Converts what the operating system reports about a socket.
pub(crate) fn readiness(event: &mio::event::Event) -> Readiness {
    // The next read or write of the socket returns the error.
    Readiness {
        readable: event.is_readable() || event.is_error(),
        writable: event.is_writable() || event.is_error(),
        ends: event.is_read_closed() || event.is_error(),
        reset: event.is_error() || event.is_write_closed(),
    }
}

/// A socket, its transport, and the readiness that was reported and not used up yet.
pub(crate) struct Link<S, L> {
    socket: S,
    stream: L,
    /// Bytes, or the end of the stream, may be available to read.
    readable: bool,
    /// The operating system has reported that the peer shut down its sending side. The socket is read until that end.
    end_announced: bool,
    /// Nothing more will be read, because the peer has closed its sending side or the socket is broken.
    ended: bool,
    /// The operating system has reported that the connection was reset.
    reset: bool,
    /// The socket is broken.
    broken: bool,
    /// The stream refused output although the socket did not. It needs input first, for example during its own
    /// handshake.
    waits_for_input: bool,
    /// `Stream::end_output` was called.
    output_ended: bool,
    /// `Stream::drop_input` was called, so what is read is not what the peer has sent.
    input_dropped: bool,
    /// The transport failed after a read. The next read reports it.
    fails: bool,
    /// `Received::Failed` was reported.
    has_failed: bool,
    /// A write failed, so the socket accepts no more output.
    write_failed: bool,
    /// `learns_of_write_failure` has reported it.
    is_failure_known: bool,
}

/// A socket wrapper that records what the socket did during one call of the transport.
struct Watched<'s, S> {
    socket: &'s mut S,
    /// It had nothing to read, or accepted no output.
    refused: bool,
    /// It delivered bytes.
    delivered: bool,
}

impl<'s, S> Watched<'s, S> {
    #[inline]
    fn new(socket: &'s mut S) -> Watched<'s, S> {
        Watched { socket, refused: false, delivered: false }
    }
}

impl<S: Read> Read for Watched<'_, S> {
    #[inline]
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let result = self.socket.read(into);
        match &result {
            Ok(count) => self.delivered |= *count > 0,
            Err(error) => self.refused |= error.kind() == ErrorKind::WouldBlock,
        }
        result
    }
}

impl<S: Write> Watched<'_, S> {
    #[inline]
    fn note(&mut self, result: io::Result<usize>) -> io::Result<usize> {
        self.refused |= matches!(&result, Err(error) if error.kind() == ErrorKind::WouldBlock);
        result
    }
}

impl<S: Write> Write for Watched<'_, S> {
    #[inline]
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let result = self.socket.write(bytes);
        self.note(result)
    }

    #[inline]
    fn write_vectored(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        let result = self.socket.write_vectored(slices);
        self.note(result)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.socket.flush()
    }
}

impl<S: Socket, L: Stream> Link<S, L> {
    pub(crate) fn new(socket: S, stream: L) -> Link<S, L> {
        Link {
            socket,
            stream,
            readable: false,
            end_announced: false,
            ended: false,
            reset: false,
            broken: false,
            waits_for_input: false,
            output_ended: false,
            input_dropped: false,
            fails: false,
            has_failed: false,
            write_failed: false,
            is_failure_known: false,
        }
    }

    pub(crate) fn socket(&self) -> &S {
        &self.socket
    }

    /// Reports whether there may be something to read.
    #[inline]
    pub(crate) fn is_readable(&self) -> bool {
        self.readable
    }

    /// Reports whether nothing more will be read.
    #[inline]
    pub(crate) fn has_ended(&self) -> bool {
        self.ended
    }

    /// Reports whether the connection was reset. Bytes that arrived before may still be read.
    #[inline]
    pub(crate) fn is_reset(&self) -> bool {
        self.reset
    }

    /// Reports whether the socket is broken.
    #[inline]
    pub(crate) fn is_broken(&self) -> bool {
        self.broken
    }

    /// Reports whether a write has failed since the last call. Bytes that arrived before may still be read.
    pub(crate) fn learns_of_write_failure(&mut self) -> bool {
        self.write_failed && !mem::replace(&mut self.is_failure_known, true)
    }

    /// Reports whether the transport refused output because it needed input, and clears the flag. After a read, such
    /// output can be tried again.
    #[inline]
    pub(crate) fn take_waits_for_input(&mut self) -> bool {
        mem::take(&mut self.waits_for_input)
    }

    /// Reports whether the transport has bytes to write.
    #[inline]
    pub(crate) fn wants_write(&self) -> bool {
        self.stream.wants_write()
    }

    /// Returns how many bytes the transport holds that the kernel has not accepted.
    #[inline]
    pub(crate) fn queued(&self) -> usize {
        self.stream.queued()
    }

    /// Returns how many bytes of memory the transport holds.
    #[inline]
    pub(crate) fn held(&self) -> usize {
        self.stream.held()
    }

    /// Returns the reason why the transport itself has failed.
    pub(crate) fn failure(&self) -> Option<Box<dyn Error + Send + Sync>> {
        self.stream.failure()
    }

    /// Records the readiness of the socket.
    #[inline]
    pub(crate) fn note(&mut self, now: Readiness) {
        self.readable |= now.readable && !self.ended;
        self.end_announced |= now.ends;
        self.reset |= now.reset;
    }

    /// Marks the socket as broken.
    pub(crate) fn give_up(&mut self) {
        (self.readable, self.ended, self.broken) = (false, true, true);
    }

    /// Reads once. Everything that is received passes through the stream (RFC 6455 §4.1-16, §4.2.2-2).
    #[inline]
    pub(crate) fn read(&mut self, into: &mut [u8]) -> Received {
        if self.fails {
            self.give_up();
            return Received::Broken;
        }
        let mut socket = Watched::new(&mut self.socket);
        let received = match self.stream.read(&mut socket, into) {
            Ok(ReadOutcome { count: 0, .. }) => {
                (self.readable, self.ended) = (false, true);
                Received::End
            }
            // The stream is faulty. Using its count would panic.
            Ok(ReadOutcome { count, .. }) if count > into.len() => {
                self.give_up();
                Received::Broken
            }
            Ok(ReadOutcome { count, drained }) => {
                self.readable = drained != Drained::Yes || self.end_announced;
                Received::Bytes(count)
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock && self.write_failed => {
                self.give_up();
                Received::Broken
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                // The stream may have read a part of a record that is longer. No new readiness announces the rest.
                self.readable = socket.delivered && !socket.refused;
                Received::Nothing
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => Received::Nothing,
            Err(_) if !self.has_failed && self.stream.failure().is_some() => {
                (self.readable, self.has_failed) = (true, true);
                Received::Failed
            }
            Err(_) => {
                self.give_up();
                Received::Broken
            }
        };
        // The transport may have to respond to what it has read.
        if self.stream.wants_write() && self.try_drive(Readiness::default()).is_err() {
            if let Received::Bytes(_) = received {
                // These bytes are processed first. The next read reports that the socket is broken.
                self.fails = true;
                self.readable = true;
            } else {
                self.give_up();
                return Received::Broken;
            }
        }
        received
    }

    /// Writes slices, one after the other, as far as the socket accepts them. Calls `taken` for each part that was
    /// accepted. Everything that is sent passes through the stream (RFC 6455 §4.1-16, §4.2.2-2).
    #[inline]
    pub(crate) fn write(&mut self, slices: &[&[u8]], mut taken: impl FnMut(&[u8])) -> Written {
        let mut vector = [IoSlice::new(&[]); MAX_SLICES];
        let filled = slices.len().min(MAX_SLICES);
        for (into, slice) in vector.iter_mut().zip(slices) {
            *into = IoSlice::new(slice);
        }
        loop {
            let mut socket = Watched::new(&mut self.socket);
            match self.stream.write(&mut socket, &vector[..filled]) {
                Ok(0) => return self.fail_write(),
                // The stream is faulty, as in `read`.
                Ok(count) if count > slices.iter().map(|slice| slice.len()).sum() => {
                    self.give_up();
                    return self.fail_write();
                }
                Ok(count) => {
                    let mut left = count;
                    for slice in slices {
                        let seen = left.min(slice.len());
                        if seen > 0 {
                            taken(&slice[..seen]);
                        }
                        left -= seen;
                    }
                    // The transport may have queued these bytes without writing them.
                    if self.stream.wants_write() && self.try_drive(Readiness::default()).is_err() {
                        self.give_up();
                        return self.fail_write();
                    }
                    return Written::Bytes(count);
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    self.waits_for_input = !socket.refused;
                    return Written::Refused;
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => return self.fail_write(),
            }
        }
    }

    /// Records that a write failed. The next reads return what arrived before, and then the end or the error.
    #[cold]
    fn fail_write(&mut self) -> Written {
        self.write_failed = true;
        self.readable = !self.ended;
        Written::Broken
    }

    /// Lets the transport make progress. Returns false if the socket is broken.
    pub(crate) fn drive(&mut self, readiness: Readiness) -> bool {
        let is_driven = self.try_drive(readiness).is_ok();
        if !is_driven {
            self.give_up();
        }
        is_driven
    }

    fn try_drive(&mut self, readiness: Readiness) -> io::Result<()> {
        loop {
            match self.stream.drive(&mut self.socket, readiness) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                result => return result,
            }
        }
    }

    /// Reports whether what is read is only to be discarded, because the transport has dropped its input.
    #[inline]
    pub(crate) fn is_input_dropped(&self) -> bool {
        self.input_dropped
    }

    /// Announces the end of the output, and frees the memory that the transport holds for input.
    pub(crate) fn drop_input(&mut self) {
        self.announce_end();
        if !mem::replace(&mut self.input_dropped, true) {
            self.stream.drop_input();
        }
    }

    fn announce_end(&mut self) {
        if !mem::replace(&mut self.output_ended, true) {
            self.stream.end_output();
        }
    }

    /// Shuts down the sending side of the socket, once the transport has written its queued bytes.
    pub(crate) fn end_output(&mut self) -> OutputEnd {
        self.announce_end();
        if self.stream.wants_write() && !self.drive(Readiness::default()) {
            return OutputEnd::Broken;
        }
        if self.stream.wants_write() {
            return OutputEnd::Waits;
        }
        match self.socket.end_output() {
            Ok(()) => OutputEnd::Done,
            Err(_) => {
                self.give_up();
                OutputEnd::Broken
            }
        }
    }
}
