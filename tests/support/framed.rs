//! A transport that changes every byte on its way, as TLS does, and a raw client that speaks it.
//!
//! ```text
//! client  "hello\n"   03 47 45 54 ...   00          FIN
//! server  "welcome\n" 7f 48 54 54 ...   00          FIN
//!         greeting    chunks            goodbye
//! ```
//!
//! Both sides greet at once, and no clear byte is sent or delivered before the peer's greeting is complete. A chunk is
//! a length of 1 to 255 and that many bytes; it is delivered once it is complete. Length 0 is the goodbye.

use std::collections::VecDeque;
use std::io::{self, ErrorKind, IoSlice, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};

use framewise::{Drained, ReadOutcome, Readiness, Stream, Transport};

use super::{Client, SWITCHING, frame, request, show};

pub const HELLO: &[u8] = b"hello\n";
pub const WELCOME: &[u8] = b"welcome\n";

/// Bytes on the wire that a stream holds before it takes no more clear bytes.
pub const BOUND: usize = 2_000;

/// The most bytes that one call gives to the socket.
const PIECE: usize = 700;

/// The transport of a server.
#[derive(Clone, Copy, Debug)]
pub struct Framing;

impl Transport for Framing {
    type Stream = Framed;

    fn accept(&mut self) -> Framed {
        Framed::new(WELCOME, HELLO)
    }
}

/// One side of a connection.
#[derive(Debug)]
pub struct Framed {
    /// The part of the peer's greeting that has not arrived yet.
    awaited: VecDeque<u8>,
    /// Bytes from the wire, not yet delivered: the rest of a chunk that is being delivered, then whole or cut chunks.
    from_wire: VecDeque<u8>,
    /// How many bytes of the chunk that is being delivered are left.
    in_chunk: usize,
    to_wire: VecDeque<u8>,
    socket_ended: bool,
}

impl Framed {
    pub fn new(greeting: &[u8], awaited: &[u8]) -> Framed {
        Framed {
            awaited: awaited.iter().copied().collect(),
            from_wire: VecDeque::new(),
            in_chunk: 0,
            to_wire: greeting.iter().copied().collect(),
            socket_ended: false,
        }
    }

    /// Returns the client's side.
    pub fn client() -> Framed {
        Framed::new(HELLO, WELCOME)
    }

    fn is_greeted(&self) -> bool {
        self.awaited.is_empty()
    }

    /// Checks and removes the peer's greeting.
    fn take_greeting(&mut self) -> io::Result<()> {
        while !self.from_wire.is_empty() && !self.awaited.is_empty() {
            if self.from_wire.pop_front() != self.awaited.pop_front() {
                return Err(ErrorKind::InvalidData.into());
            }
        }
        Ok(())
    }

    /// Reports whether a whole chunk or the goodbye has arrived.
    fn has_chunk(&self) -> bool {
        self.is_greeted()
            && (self.in_chunk > 0
                || self.from_wire.front().is_some_and(|&n| usize::from(n) < self.from_wire.len()))
    }

    fn flush(&mut self, io: &mut impl Write) -> io::Result<()> {
        while !self.to_wire.is_empty() {
            let (front, _) = self.to_wire.as_slices();
            match io.write(&front[..front.len().min(PIECE)]) {
                Ok(0) => return Err(ErrorKind::WriteZero.into()),
                Ok(count) => drop(self.to_wire.drain(..count)),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

impl Stream for Framed {
    fn read(&mut self, io: &mut impl Read, into: &mut [u8]) -> io::Result<ReadOutcome> {
        while !self.has_chunk() && !self.socket_ended {
            let mut bytes = [0; 300];
            match io.read(&mut bytes)? {
                0 => self.socket_ended = true,
                count => self.from_wire.extend(&bytes[..count]),
            }
            self.take_greeting()?;
        }
        if !self.has_chunk() {
            // TCP closed without a goodbye. What is left is an incomplete chunk.
            return Ok(ReadOutcome::new(0, Drained::Yes));
        }
        if self.in_chunk == 0 {
            self.in_chunk = usize::from(self.from_wire.pop_front().expect("a chunk"));
        }
        let count = self.in_chunk.min(into.len());
        for (byte, from) in into.iter_mut().zip(self.from_wire.drain(..count)) {
            *byte = from;
        }
        self.in_chunk -= count;
        let drained = if self.has_chunk() { Drained::No } else { Drained::Unknown };
        Ok(ReadOutcome::new(count, drained))
    }

    fn write(&mut self, io: &mut impl Write, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        let mut taken = 0;
        for piece in slices.iter().flat_map(|slice| slice.chunks(255)) {
            if !self.is_greeted() || self.to_wire.len() >= BOUND {
                break;
            }
            self.to_wire.push_back(piece.len() as u8);
            self.to_wire.extend(piece);
            taken += piece.len();
            self.flush(io)?;
        }
        if taken == 0 { Err(ErrorKind::WouldBlock.into()) } else { Ok(taken) }
    }

    fn queued(&self) -> usize {
        self.to_wire.len()
    }

    fn drive(&mut self, io: &mut (impl Read + Write), _: Readiness) -> io::Result<()> {
        self.flush(io)
    }

    fn end_output(&mut self) {
        self.to_wire.push_back(0);
    }
}

/// Encodes clear bytes in chunks of `size`.
pub fn chunks(size: usize, clear: &[u8]) -> Vec<u8> {
    clear.chunks(size).flat_map(|chunk| [&[chunk.len() as u8], chunk].concat()).collect()
}

/// Decodes what a peer sent. Returns the clear bytes, and whether a goodbye came after them.
///
/// # Panics
///
/// The bytes are not a greeting and chunks, or bytes come after the goodbye. The last chunk may be incomplete.
#[track_caller]
pub fn clear(greeting: &[u8], wire: &[u8]) -> (Vec<u8>, bool) {
    let mut rest = wire.strip_prefix(greeting).unwrap_or_else(|| {
        assert!(greeting.starts_with(wire), "no greeting: {}", show(wire));
        &[]
    });
    let mut clear = Vec::new();
    while let [length, after @ ..] = rest {
        let length = usize::from(*length);
        if length == 0 {
            assert_eq!(show(after), "", "nothing comes after the goodbye");
            return (clear, true);
        }
        let here = length.min(after.len());
        clear.extend_from_slice(&after[..here]);
        rest = &after[here..];
    }
    (clear, false)
}

/// A client that speaks literal bytes through the transport.
pub struct FramedClient {
    pub tcp: TcpStream,
    /// Clear bytes that were received and not yet expected.
    unread: VecDeque<u8>,
}

impl FramedClient {
    /// Connects and sends nothing.
    pub fn connect(address: SocketAddr) -> FramedClient {
        FramedClient { tcp: Client::connect(address).stream, unread: VecDeque::new() }
    }

    /// Exchanges greetings.
    pub fn greet(&mut self) {
        self.tcp.write_all(HELLO).expect("the server reads");
        self.expect_greeting();
    }

    #[track_caller]
    pub fn expect_greeting(&mut self) {
        let mut greeting = [0; WELCOME.len()];
        self.tcp.read_exact(&mut greeting).expect("the server greets");
        assert_eq!(show(&greeting), show(WELCOME));
    }

    /// Connects, exchanges greetings and completes the opening handshake.
    pub fn open(address: SocketAddr) -> FramedClient {
        let mut client = FramedClient::connect(address);
        client.greet();
        client.send(&request(""));
        client.expect(SWITCHING);
        client
    }

    /// Sends clear bytes in the largest chunks.
    pub fn send(&mut self, bytes: &[u8]) {
        self.tcp.write_all(&chunks(255, bytes)).expect("the server reads");
    }

    /// Reads one chunk. `None` is the goodbye.
    fn chunk(&mut self) -> Option<Vec<u8>> {
        let mut length = [0];
        self.tcp.read_exact(&mut length).expect("a chunk or the goodbye");
        let mut chunk = vec![0; usize::from(length[0])];
        self.tcp.read_exact(&mut chunk).expect("the rest of the chunk");
        (!chunk.is_empty()).then_some(chunk)
    }

    /// Reads exactly these clear bytes.
    #[track_caller]
    pub fn expect(&mut self, expected: &[u8]) {
        while self.unread.len() < expected.len() {
            let Some(chunk) = self.chunk() else { break };
            self.unread.extend(chunk);
        }
        let here = self.unread.len().min(expected.len());
        let bytes: Vec<u8> = self.unread.drain(..here).collect();
        assert_eq!(show(&bytes), show(expected));
    }

    /// Reads clear bytes up to the goodbye. Expects that TCP closes after it.
    #[track_caller]
    pub fn read_to_end(&mut self) -> Vec<u8> {
        while let Some(chunk) = self.chunk() {
            self.unread.extend(chunk);
        }
        let mut rest = Vec::new();
        self.tcp.read_to_end(&mut rest).expect("the server ends TCP cleanly");
        assert_eq!(show(&rest), "", "nothing comes after the goodbye");
        self.unread.drain(..).collect()
    }

    /// Sends the goodbye and closes the sending side of TCP.
    pub fn finish(&mut self) {
        self.tcp.write_all(&[0]).expect("the server reads");
        self.tcp.shutdown(Shutdown::Write).expect("TCP is open");
    }

    /// Closes with 1000. Expects the server's Close, its goodbye, and that TCP closes.
    #[track_caller]
    pub fn leave(mut self) {
        self.send(&frame(0x88, &1000u16.to_be_bytes()));
        assert_eq!(show(&self.read_to_end()), show(b"\x88\x02\x03\xe8"));
        self.finish();
    }
}
