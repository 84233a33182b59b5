//! The stream of one TLS connection, on a server or a client.
//!
//! ```text
//! buffer of the loop, before:  |  gap  | records from the socket ...                |
//!                     during:  | clear bytes ->| free | records that are left ...   |
//! ```
//!
//! Rules of this file: A read takes bytes from the socket once, into the end of the caller's buffer, and the clear bytes
//! are written to its beginning. Records need more space than the bytes inside of them, so the two never meet, if the gap
//! has space for what an earlier read has left. A write is encrypted up to a limit; the rest stays with the caller. After
//! a failure the alert is sent, and input is discarded, so that the peer can read the alert before TCP closes. To free the memory
//! for input, the state of `rustls` is dropped, and only records that wait for the socket are kept.

use std::error::Error;
use std::fmt;
use std::io::{self, ErrorKind, IoSlice, Read, Write};

use rustls::Connection;

use crate::net::tls::error::TlsError;
use crate::net::transport::{Drained, ReadOutcome, Readiness, Stream, Tcp};
use crate::protocol::output::MAX_SLICES;

/// The most bytes of records that wait for the socket, before clear bytes are refused.
const MAX_QUEUED: usize = 64 * 1024;

/// The space before the records in the caller's buffer: one record of the maximum length, with its header and its tag.
const GAP: usize = 18 * 1024 + 512;

/// The smallest buffer that is worth a gap.
const MIN_BUFFER: usize = 2 * GAP;

/// The most bytes of a message of the TLS handshake that are kept until it is complete: the limit of `rustls`.
const MAX_JOINED: usize = 64 * 1024;

/// The most bytes that are discarded after a failure.
const MAX_DISCARD: usize = 1 << 20;

/// The [`Stream`] of one TLS connection: a [`TlsServer`](crate::TlsServer) makes it for each connection that is accepted,
/// a [`TlsClient`](crate::TlsClient) for each connection that is opened.
///
/// At most 64 KiB of encrypted output wait inside for the socket.
pub struct TlsStream(Phase);

enum Phase {
    Open(Box<State>),
    /// `Stream::drop_input` was called.
    Ended(Box<Ended>),
}

/// What is left once the input was dropped.
struct Ended {
    /// Records that wait for the socket: at most [`MAX_QUEUED`], a Close and an alert.
    output: Vec<u8>,
    failure: Option<TlsError>,
}

struct State {
    tls: Connection,
    /// Bytes of records that wait for the socket, as last reported.
    queued: usize,
    /// Clear bytes that are decrypted and not delivered.
    undelivered: usize,
    records: Records,
    /// The peer has sent its `close_notify`.
    closed: bool,
    failure: Option<TlsError>,
    /// A read has reported the failure.
    is_failure_known: bool,
    /// Bytes discarded since the failure.
    discarded: usize,
}

/// How many bytes `rustls` keeps of its input: an incomplete record, and records that have led to no clear bytes, which
/// may be parts of a long message of the handshake.
#[derive(Default)]
struct Records {
    header: [u8; 5],
    /// Bytes of the current record, with its header.
    partial: usize,
    /// Bytes of whole records since the last clear byte.
    silent: usize,
}

impl Records {
    /// Follows the bytes that were passed on.
    fn feed(&mut self, mut bytes: &[u8]) {
        while let Some(&first) = bytes.first() {
            if self.partial < self.header.len() {
                self.header[self.partial] = first;
                self.partial += 1;
                bytes = &bytes[1..];
            } else {
                let taken = self.left().min(bytes.len());
                self.partial += taken;
                bytes = &bytes[taken..];
            }
            if self.partial >= self.header.len() && self.left() == 0 {
                self.silent = MAX_JOINED.min(self.silent + self.partial);
                self.partial = 0;
            }
        }
    }

    /// Returns how many bytes of the current record are still to come. Its header is complete.
    fn left(&self) -> usize {
        let length = usize::from(u16::from_be_bytes([self.header[3], self.header[4]]));
        self.header.len() + length - self.partial
    }

    fn held(&self) -> usize {
        self.partial + self.silent
    }
}

/// Passes what it reads on to [`Records`].
struct Followed<'a, R> {
    io: &'a mut R,
    records: &'a mut Records,
}

impl<R: Read> Read for Followed<'_, R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let count = self.io.read(into)?;
        self.records.feed(&into[..count]);
        Ok(count)
    }
}

impl TlsStream {
    pub(crate) fn new(mut tls: Connection) -> TlsStream {
        // RFC 6455 §10.6-1
        tls.set_buffer_limit(Some(MAX_QUEUED));
        TlsStream(Phase::Open(Box::new(State {
            tls,
            queued: 0,
            undelivered: 0,
            records: Records::default(),
            closed: false,
            failure: None,
            is_failure_known: false,
            discarded: 0,
        })))
    }
}

impl State {
    /// Decrypts the records that were passed on.
    fn process(&mut self) {
        match self.tls.process_new_packets() {
            Ok(state) => {
                self.queued = state.tls_bytes_to_write();
                self.undelivered = state.plaintext_bytes_to_read();
                self.closed |= state.peer_has_closed();
                if self.undelivered > 0 {
                    self.records.silent = 0;
                }
            }
            // What was decrypted before is delivered first.
            Err(error) => self.failure = Some(TlsError::of_connection(error)),
        }
    }

    /// Moves decrypted bytes into `into` and returns their number.
    fn deliver(&mut self, into: &mut [u8]) -> usize {
        // The errors only mean that there are no more bytes.
        let count = self.tls.reader().read(into).unwrap_or(0);
        self.undelivered = self.undelivered.saturating_sub(count);
        count
    }

    /// Returns the result of a read that has delivered `count` bytes. `is_drained`: the socket is empty.
    fn outcome(&mut self, count: usize, is_drained: bool) -> io::Result<ReadOutcome> {
        if count > 0 {
            let is_drained =
                is_drained && self.undelivered == 0 && !self.closed && self.failure.is_none();
            let drained = if is_drained { Drained::Yes } else { Drained::Unknown };
            return Ok(ReadOutcome::new(count, drained));
        }
        match &self.failure {
            Some(error) => {
                self.is_failure_known = true;
                Err(io::Error::new(ErrorKind::InvalidData, error.clone()))
            }
            None if self.closed => Ok(ReadOutcome::new(0, Drained::Yes)),
            None => Err(ErrorKind::WouldBlock.into()),
        }
    }

    /// Passes records from the beginning of `io` on to `rustls`, which takes about 4 KiB at a time. Returns 0 at the end.
    fn pass_on(&mut self, io: &mut impl Read) -> io::Result<usize> {
        let mut followed = Followed { io, records: &mut self.records };
        let count = self.tls.read_tls(&mut followed)?;
        if count > 0 {
            self.process();
        }
        Ok(count)
    }

    /// Reads from the socket once, into a buffer that has space for a gap.
    fn read_much(&mut self, io: &mut impl Read, into: &mut [u8]) -> io::Result<ReadOutcome> {
        let read = io.read(&mut into[GAP..])?;
        if read == 0 {
            // The peer has closed TCP, perhaps without `close_notify`. The Close of the WebSocket shows whether something is
            // missing.
            return Ok(ReadOutcome::new(0, Drained::Yes));
        }
        let is_drained = cfg!(target_os = "linux") && GAP + read < into.len();
        let (mut clear, mut next, end) = (0, GAP, GAP + read);
        while next < end && self.failure.is_none() {
            let passed_on = self.pass_on(&mut &into[next..end])?;
            if passed_on == 0 {
                // Bytes after `close_notify` mean nothing.
                break;
            }
            next += passed_on;
            clear += self.deliver(&mut into[clear..next]);
        }
        self.outcome(clear, is_drained)
    }

    /// Reads records one after the other until there are clear bytes.
    fn read_little(&mut self, io: &mut impl Read, into: &mut [u8]) -> io::Result<ReadOutcome> {
        let mut taken = 0;
        // Records may be empty. A read ends after a number of bytes in any case.
        while taken < MIN_BUFFER {
            let passed_on = self.pass_on(io)?;
            if passed_on == 0 {
                return Ok(ReadOutcome::new(0, Drained::Yes));
            }
            taken += passed_on;
            let clear = self.deliver(into);
            // The peer may wait for what rustls has to say, and then sends nothing more.
            let has_to_write = self.tls.wants_write();
            if clear > 0 || self.closed || self.failure.is_some() || has_to_write {
                return self.outcome(clear, false);
            }
        }
        Err(ErrorKind::WouldBlock.into())
    }

    /// Reads and discards what arrives after a failure.
    fn discard(&mut self, io: &mut impl Read, into: &mut [u8]) -> io::Result<ReadOutcome> {
        loop {
            match io.read(into)? {
                0 => return Ok(ReadOutcome::new(0, Drained::Yes)),
                count => self.discarded += count,
            }
            if self.discarded > MAX_DISCARD {
                return Err(ErrorKind::ConnectionAborted.into());
            }
        }
    }

    /// Writes records to the socket, as many as it accepts.
    fn flush(&mut self, io: &mut impl Write) -> io::Result<()> {
        while self.tls.wants_write() {
            match self.tls.write_tls(io) {
                Ok(0) => return Err(ErrorKind::WriteZero.into()),
                Ok(count) => self.queued = self.queued.saturating_sub(count),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        self.queued = 0;
        Ok(())
    }
}

impl Ended {
    fn flush(&mut self, io: &mut impl Write) -> io::Result<()> {
        while !self.output.is_empty() {
            match io.write(&self.output) {
                Ok(0) => return Err(ErrorKind::WriteZero.into()),
                Ok(count) => drop(self.output.drain(..count)),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        self.output = Vec::new();
        Ok(())
    }
}

impl Stream for TlsStream {
    fn read(&mut self, io: &mut impl Read, into: &mut [u8]) -> io::Result<ReadOutcome> {
        let state = match &mut self.0 {
            Phase::Open(state) => state,
            // Records that are discarded need no decryption.
            Phase::Ended(_) => return Tcp.read(io, into),
        };
        let left = state.deliver(into);
        if state.is_failure_known {
            return state.discard(io, into);
        }
        if left > 0 || state.failure.is_some() || state.closed {
            return state.outcome(left, false);
        }
        if into.len() < MIN_BUFFER {
            return state.read_little(io, into);
        }
        state.read_much(io, into)
    }

    fn write(&mut self, io: &mut impl Write, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        let Phase::Open(state) = &mut self.0 else { return Err(ErrorKind::BrokenPipe.into()) };
        if state.failure.is_some() {
            // The next read reports the failure, and then no more is written.
            return Err(ErrorKind::WouldBlock.into());
        }
        state.flush(io)?;
        if state.tls.is_handshaking() {
            return Err(ErrorKind::WouldBlock.into());
        }
        let mut copies = [IoSlice::new(&[]); MAX_SLICES];
        let filled = slices.len().min(MAX_SLICES);
        copies[..filled].copy_from_slice(&slices[..filled]);
        let mut rest = &mut copies[..filled];
        let mut taken = 0;
        while !rest.is_empty() && !state.tls.wants_write() {
            let count = state.tls.writer().write_vectored(rest)?;
            IoSlice::advance_slices(&mut rest, count);
            taken += count;
            state.flush(io)?;
        }
        if state.tls.wants_write() {
            // Nothing is read: this only updates the count.
            state.process();
        }
        if taken == 0 { Err(ErrorKind::WouldBlock.into()) } else { Ok(taken) }
    }

    fn queued(&self) -> usize {
        match &self.0 {
            // What rustls has queued since the last count, for example an alert, is at least one byte.
            Phase::Open(state) => state.queued.max(usize::from(state.tls.wants_write())),
            Phase::Ended(ended) => ended.output.len(),
        }
    }

    fn wants_write(&self) -> bool {
        match &self.0 {
            Phase::Open(state) => state.tls.wants_write(),
            Phase::Ended(ended) => !ended.output.is_empty(),
        }
    }

    fn held(&self) -> usize {
        let input = match &self.0 {
            Phase::Open(state) => state.undelivered + state.records.held(),
            Phase::Ended(_) => 0,
        };
        self.queued() + input
    }

    fn drive(&mut self, io: &mut (impl Read + Write), _: Readiness) -> io::Result<()> {
        match &mut self.0 {
            Phase::Open(state) => state.flush(io),
            Phase::Ended(ended) => ended.flush(io),
        }
    }

    fn is_secure(&self) -> bool {
        true
    }

    fn end_output(&mut self) {
        let Phase::Open(state) = &mut self.0 else { return };
        // Before the handshake is complete, the client could only send the alert in clear, and the server may expect encrypted
        // records already. There are no clear bytes yet that a missing alert could cut off.
        let is_too_early = state.tls.is_handshaking() && matches!(state.tls, Connection::Client(_));
        if state.failure.is_none() && !is_too_early {
            state.tls.send_close_notify();
        }
    }

    fn drop_input(&mut self) {
        let Phase::Open(state) = &mut self.0 else { return };
        let mut output = Vec::new();
        // A vector accepts everything.
        while state.tls.wants_write() && state.tls.write_tls(&mut output).is_ok() {}
        output.shrink_to_fit();
        self.0 = Phase::Ended(Box::new(Ended { output, failure: state.failure.take() }));
    }

    fn failure(&self) -> Option<Box<dyn Error + Send + Sync>> {
        let failure = match &self.0 {
            Phase::Open(state) => &state.failure,
            Phase::Ended(ended) => &ended.failure,
        };
        failure.clone().map(Into::into)
    }
}

impl fmt::Debug for TlsStream {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = out.debug_struct("TlsStream");
        if let Phase::Open(state) = &self.0 {
            shown.field("version", &state.tls.protocol_version());
        }
        shown.field("queued", &self.queued()).field("failure", &self.failure());
        shown.finish_non_exhaustive()
    }
}
