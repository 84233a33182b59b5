//! The sockets of one loop, beside the table of peers: slot `n` here belongs to slot `n` there.
//!
//! ```text
//! stage     Opening -> Open -> Ending -> Lingering -> (descriptor closed)
//!              '---------------^   |         |
//!            handshake refused     |         '- write side shut; what still comes is discarded, so that
//!                                  |            the peer can read our last bytes before TCP ends
//!                                  '- the WebSocket is over; output still goes out
//! ```

use std::io::{self, ErrorKind, IoSlice, Read, Write};
use std::net::Shutdown;

use mio::net::TcpStream;

use crate::dispatch::{Wire, Written};
use crate::observe::{Direction, Observer};
use crate::peers::PeerId;
use crate::protocol::refusal::Rule;
use crate::protocol::send::MAX_SLICES;

/// A byte stream that never blocks: a TCP socket, or a script in a test.
pub trait Stream: Read + Write {
    /// Says that nothing more will be written.
    ///
    /// # Errors
    ///
    /// The stream is of no use any more.
    fn end_output(&mut self) -> io::Result<()>;
}

impl Stream for TcpStream {
    fn end_output(&mut self) -> io::Result<()> {
        self.shutdown(Shutdown::Write)
    }
}

/// What the system says of a socket.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Readiness {
    /// Bytes, or the end of them, wait to be read.
    pub readable: bool,
    /// Output that was refused may be taken now.
    pub writable: bool,
    /// The peer will send no more than what waits already.
    pub ends: bool,
}

/// How far a connection has come, as seen from its socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    /// The opening handshake is under way.
    Opening,
    /// `on_open` was called and `on_close` is owed.
    Open,
    /// Nothing is owed to the application; output still goes out.
    Ending,
    /// All output is out and the write side is shut.
    Lingering,
}

/// One socket and what the last readiness said of it.
///
/// Readiness is reported once, when it begins (edge-triggered): these flags remember it until the kernel
/// answers that there is no more.
pub(crate) struct Socket<S> {
    pub(crate) stream: S,
    pub(crate) stage: Stage,
    /// Accepted only to be told why it cannot stay.
    pub(crate) surplus: Option<Rule>,
    /// Bytes, or the end, may be waiting to be read.
    pub(crate) readable: bool,
    /// The kernel may take output that it refused before.
    pub(crate) writable: bool,
    /// The end of the peer's bytes was announced: read on until it shows.
    pub(crate) end_announced: bool,
    /// Nothing will be read any more: the peer's bytes have ended, or the socket is of no use.
    pub(crate) ended: bool,
    /// Has its place in the queue of turns.
    pub(crate) in_turns: bool,
    /// Took bytes since the loop last looked at its write deadline.
    pub(crate) took_bytes: bool,
    /// Sent bytes since the last ping.
    pub(crate) heard: bool,
    /// Bytes read and thrown away while lingering.
    pub(crate) discarded: usize,
    /// What was read when the peer had to be held back: at most one buffer of it. Each time the peer takes a
    /// little and is held back again, what is left is copied again.
    pub(crate) unprocessed: Vec<u8>,
}

impl<S> Socket<S> {
    pub(crate) fn new(stream: S, surplus: Option<Rule>) -> Socket<S> {
        Socket {
            stream,
            stage: Stage::Opening,
            surplus,
            readable: false,
            writable: false,
            end_announced: false,
            ended: false,
            in_turns: false,
            took_bytes: false,
            heard: false,
            discarded: 0,
            unprocessed: Vec::new(),
        }
    }
}

/// All sockets, and the observer that sees their bytes.
pub(crate) struct Sockets<S, O> {
    table: Vec<Option<Socket<S>>>,
    pub(crate) observer: O,
}

impl<S, O> Sockets<S, O> {
    pub(crate) fn new(observer: O) -> Sockets<S, O> {
        Sockets { table: Vec::new(), observer }
    }

    pub(crate) fn insert(&mut self, id: PeerId, socket: Socket<S>) {
        if self.table.len() <= id.slot() {
            self.table.resize_with(id.slot() + 1, || None);
        }
        self.table[id.slot()] = Some(socket);
    }

    pub(crate) fn remove(&mut self, id: PeerId) -> Option<Socket<S>> {
        self.table.get_mut(id.slot())?.take()
    }

    #[inline]
    pub(crate) fn in_slot(&mut self, slot: usize) -> Option<&mut Socket<S>> {
        self.table.get_mut(slot)?.as_mut()
    }

    #[inline]
    pub(crate) fn get(&mut self, id: PeerId) -> Option<&mut Socket<S>> {
        self.in_slot(id.slot())
    }
}

impl<S: Stream, O: Observer> Wire for Sockets<S, O> {
    fn write(&mut self, peer: PeerId, slices: &[&[u8]]) -> Written {
        let Some(Some(socket)) = self.table.get_mut(peer.slot()) else { return Written::Broken };
        let written = write_slices(&mut socket.stream, slices, |bytes| {
            self.observer.bytes(peer, Direction::Out, bytes);
        });
        socket.took_bytes |= matches!(written, Written::Bytes(_));
        written
    }
}

/// Writes slices, one after the other, as far as a stream takes them; `taken` sees what it took.
pub(crate) fn write_slices(
    stream: &mut impl Write,
    slices: &[&[u8]],
    mut taken: impl FnMut(&[u8]),
) -> Written {
    loop {
        let result = match slices {
            [one] => stream.write(one),
            many => {
                let mut vector = [IoSlice::new(&[]); MAX_SLICES];
                for (into, slice) in vector.iter_mut().zip(many) {
                    *into = IoSlice::new(slice);
                }
                stream.write_vectored(&vector[..many.len().min(MAX_SLICES)])
            }
        };
        match result {
            Ok(0) => return Written::Broken,
            Ok(count) => {
                let mut left = count;
                for slice in slices {
                    let seen = left.min(slice.len());
                    if seen > 0 {
                        taken(&slice[..seen]);
                    }
                    left -= seen;
                }
                return Written::Bytes(count);
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Written::Refused,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(_) => return Written::Broken,
        }
    }
}
