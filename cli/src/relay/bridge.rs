//! A target that speaks TLS: the relay handles clear bytes, and a thread carries them to the server through TLS.
//!
//! ```text
//! client ── ws:// ── relay, with its faults ── pair of sockets ── bridge ── wss:// ── server
//! ```
//!
//! Rules of this file: at most one buffer waits in each direction. An end passes from one side to the other, and a side that breaks
//! breaks the other one.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream as StdStream};
use std::time::Duration;

use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};

use crate::tls::{ClientStream, Pipe};

/// The most bytes that wait in one direction.
const BUFFER: usize = 64 * 1024;

/// Returns two ends of a TCP connection within this process.
///
/// # Errors
///
/// The operating system has no port or file descriptor left.
pub fn pair() -> io::Result<(StdStream, StdStream)> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let one = StdStream::connect(listener.local_addr()?)?;
    loop {
        let (other, from) = listener.accept()?;
        // Another program may have connected to the port in the meantime.
        if from == one.local_addr()? {
            return Ok((one, other));
        }
    }
}

/// Carries bytes between the clear side and a server, until both directions have ended. Returns why TLS failed, if it did.
pub fn carry(clear: StdStream, server: StdStream, transport: ClientStream) -> io::Result<()> {
    for stream in [&clear, &server] {
        stream.set_nonblocking(true)?;
        stream.set_nodelay(true)?;
    }
    let (mut clear, mut server) = (TcpStream::from_std(clear), TcpStream::from_std(server));
    let mut poll = Poll::new()?;
    let interest = Interest::READABLE | Interest::WRITABLE;
    poll.registry().register(&mut clear, Token(0), interest)?;
    poll.registry().register(&mut server, Token(1), interest)?;
    let mut bridge =
        Bridge { clear, server: Pipe::new(server, transport), out: Flow::new(), back: Flow::new() };
    let mut events = Events::with_capacity(4);
    let result = loop {
        match bridge.advance() {
            Ok(()) if bridge.out.is_over && bridge.back.is_over => break Ok(()),
            Ok(()) => {}
            Err(error) => break Err(error),
        }
        match poll.poll(&mut events, Some(Duration::from_secs(1))) {
            Err(error) if error.kind() != ErrorKind::Interrupted => break Err(error),
            _ => {}
        }
    };
    if result.is_err() {
        // The relay sees a reset, and passes it on.
        let socket = socket2::SockRef::from(&bridge.clear);
        let _ = socket.set_linger(Some(Duration::ZERO));
    }
    result
}

/// One direction: what was read and not written yet.
struct Flow {
    bytes: Vec<u8>,
    /// The sender has ended.
    ends: bool,
    /// The end was passed on.
    is_over: bool,
}

impl Flow {
    fn new() -> Flow {
        Flow { bytes: Vec::new(), ends: false, is_over: false }
    }

    /// Moves bytes until neither side continues. `end` passes the end on, and returns false as long as it cannot.
    fn advance<F: Read, T: Write>(
        &mut self,
        from: &mut F,
        to: &mut T,
        end: impl FnOnce(&mut T) -> io::Result<bool>,
    ) -> io::Result<bool> {
        let mut has_moved = false;
        if self.bytes.is_empty() && !self.ends {
            let mut buffer = vec![0; BUFFER];
            match from.read(&mut buffer) {
                // There may be more, which no new readiness announces.
                Err(error) if error.kind() == ErrorKind::Interrupted => has_moved = true,
                result => {
                    if let Some(count) = unless_blocked(result)? {
                        self.ends = count == 0;
                        buffer.truncate(count);
                        self.bytes = buffer;
                        has_moved = true;
                    }
                }
            }
        }
        if !self.bytes.is_empty()
            && let Some(count) = unless_blocked(to.write(&self.bytes))?
        {
            self.bytes.drain(..count);
            has_moved = true;
        }
        if self.ends && self.bytes.is_empty() && !self.is_over {
            self.is_over = end(to)?;
        }
        Ok(has_moved)
    }
}

struct Bridge {
    clear: TcpStream,
    server: Pipe<TcpStream>,
    out: Flow,
    back: Flow,
}

impl Bridge {
    /// Moves bytes in both directions until the sockets have to be waited for.
    fn advance(&mut self) -> io::Result<()> {
        loop {
            self.server.drive()?;
            let out = self.out.advance(&mut self.clear, &mut self.server, Pipe::end)?;
            let back = self.back.advance(&mut self.server, &mut self.clear, |clear| {
                clear.shutdown(Shutdown::Write).map(|()| true)
            })?;
            if !out && !back {
                return Ok(());
            }
        }
    }
}

/// Returns `None` if a socket has to be waited for.
fn unless_blocked(result: io::Result<usize>) -> io::Result<Option<usize>> {
    match result {
        Ok(count) => Ok(Some(count)),
        Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {
            Ok(None)
        }
        Err(error) => Err(error),
    }
}
