//! The byte stream between a socket and a WebSocket: TCP as it is, or a transport on top of it.
//!
//! ```text
//! connection ── clear bytes ── Stream ── bytes on the wire ── socket ── kernel
//!                                '-- passes them on (TCP), or changes them on the way (TLS)
//! ```
//!
//! The event loop owns the socket and its registration, and a [`Stream`] borrows the socket for each call. A transport
//! therefore needs no polling library, and none of its types appear in the traits of this file.

use std::error::Error;
use std::io::{self, IoSlice, Read, Write};

/// Whether more bytes may be available after a read: a part of [`ReadOutcome`], where there is an example.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Drained {
    /// There is nothing more to read until the operating system reports new readiness.
    Yes,
    /// More bytes are available.
    No,
    /// The stream cannot tell, or holds bytes that no new readiness will announce. It is read again.
    Unknown,
}

/// The result of [`Stream::read`].
///
/// ```
/// use std::io::{self, IoSlice, Read, Write};
/// use framewise::{Drained, ReadOutcome, Stream};
///
/// /// Delivers one byte at a time.
/// struct Trickle;
///
/// impl Stream for Trickle {
///     fn read(&mut self, io: &mut impl Read, into: &mut [u8]) -> io::Result<ReadOutcome> {
///         let count = io.read(&mut into[..1])?;
///         // Whether the socket has another byte is not known.
///         Ok(ReadOutcome::new(count, Drained::Unknown))
///     }
///
///     fn write(&mut self, io: &mut impl Write, slices: &[IoSlice<'_>]) -> io::Result<usize> {
///         io.write_vectored(slices)
///     }
/// }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ReadOutcome {
    /// The number of bytes that were read. 0 means that the peer has closed its sending side.
    pub count: usize,
    /// Whether more bytes may be available.
    pub drained: Drained,
}

impl ReadOutcome {
    /// Returns the result of a read of `count` bytes.
    #[must_use]
    pub fn new(count: usize, drained: Drained) -> ReadOutcome {
        ReadOutcome { count, drained }
    }
}

/// What the operating system reports about a socket, as [`Stream::drive`] receives it. See
/// [A transport of your own](https://github.com/framewise/framewise/blob/main/docs/dispatcher.md#a-transport-of-your-own).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Readiness {
    /// Bytes, or the end of the stream, can be read.
    pub readable: bool,
    /// The socket accepts output again.
    pub writable: bool,
    /// The peer has shut down its sending side, so only bytes that have already arrived can be read.
    pub ends: bool,
    /// The connection was reset, or both sides are shut down, so nothing can be written any more.
    pub reset: bool,
}

impl Readiness {
    /// Bytes can be read.
    pub const READABLE: Readiness =
        Readiness { readable: true, writable: false, ends: false, reset: false };

    /// The socket accepts output again.
    pub const WRITABLE: Readiness =
        Readiness { readable: false, writable: true, ends: false, reset: false };

    /// The peer has shut down its sending side.
    pub const ENDED: Readiness =
        Readiness { readable: true, writable: false, ends: true, reset: false };

    /// The connection was reset.
    pub const RESET: Readiness =
        Readiness { readable: true, writable: true, ends: true, reset: true };
}

/// The transport of one connection, which passes bytes between the WebSocket and the socket and may change them.
/// [A transport of your own](https://github.com/framewise/framewise/blob/main/docs/dispatcher.md#a-transport-of-your-own) counts them.
///
/// The methods never block: `io` returns [`WouldBlock`](io::ErrorKind::WouldBlock) where it would have to wait.
///
/// *Unstable until 1.0:* a method may be added.
pub trait Stream {
    /// Reads clear bytes into `into`.
    ///
    /// # Errors
    ///
    /// `WouldBlock`: there are no clear bytes yet. If the stream has read bytes from `io` in this call, and `io` has not
    /// returned `WouldBlock`, it is read again without new readiness. Any other error closes the connection.
    fn read(&mut self, io: &mut impl Read, into: &mut [u8]) -> io::Result<ReadOutcome>;

    /// Writes clear bytes, one slice after the other, and returns how many the stream accepted. A stream may accept
    /// more bytes than the socket does and queue them, up to a limit of its own. [`queued`](Stream::queued) counts
    /// them, and [`drive`](Stream::drive) is called at once to write them.
    ///
    /// # Errors
    ///
    /// `WouldBlock`: nothing can be accepted now. Any other error closes the connection. A stream may refuse bytes although
    /// the socket accepts them only before it has read its first clear bytes, for example during a handshake of its own:
    /// later, the server might not read from the peer until its output is written.
    fn write(&mut self, io: &mut impl Write, slices: &[IoSlice<'_>]) -> io::Result<usize>;

    /// Returns how many bytes the stream has queued, including bytes of its own, and not written to the socket.
    fn queued(&self) -> usize {
        0
    }

    /// Reports whether the stream has queued bytes to write.
    fn wants_write(&self) -> bool {
        self.queued() > 0
    }

    /// Returns how many bytes of memory the stream holds for its input and its output, in buffers that grow with them.
    /// They count against [`max_memory`](crate::config::Limits::max_memory).
    fn held(&self) -> usize {
        self.queued()
    }

    /// Lets the stream make progress: it writes its queued bytes, for example those of its own handshake. Called while it
    /// [wants to write](Stream::wants_write): after a read or a write, and when the socket accepts output again.
    ///
    /// # Errors
    ///
    /// `WouldBlock` is not treated as an error. Any other error closes the connection.
    fn drive(&mut self, io: &mut (impl Read + Write), readiness: Readiness) -> io::Result<()> {
        let _ = (io, readiness);
        Ok(())
    }

    /// Reports whether the stream encrypts. A client connects to a `wss://` URL only over such a stream.
    fn is_secure(&self) -> bool {
        false
    }

    /// Announces that no more clear bytes will be written. A transport with its own closing message, such as
    /// `close_notify` in TLS, queues it now. Called at most once.
    fn end_output(&mut self) {}

    /// Frees the memory that is held for input, because the connection is closed and its input is not processed any more. From
    /// now on [`read`](Stream::read) reads bytes from `io` only to discard them, and returns how many there were. What the
    /// stream has queued is still to be written. Called at most once, after [`end_output`](Stream::end_output), if all
    /// connections together hold too much memory. A stream that keeps its memory is closed at once, so that the peer may not
    /// receive why.
    fn drop_input(&mut self) {}

    /// Returns the reason why the stream itself has failed, although the socket has not. Once [`read`](Stream::read) has
    /// returned an error because of it, the stream is read only to discard its input. Meanwhile the peer receives what the
    /// stream has [queued](Stream::queued), for example an alert.
    fn failure(&self) -> Option<Box<dyn Error + Send + Sync>> {
        None
    }
}

/// Makes a [`Stream`] for each connection that a server accepts.
/// [A transport of your own](https://github.com/framewise/framewise/blob/main/docs/dispatcher.md#a-transport-of-your-own) has an example.
///
/// *Unstable until 1.0:* a method may be added.
pub trait Transport {
    /// The transport of one connection.
    type Stream: Stream;

    /// Returns the stream of a connection that was just accepted.
    fn accept(&mut self) -> Self::Stream;
}

/// TCP as it is: bytes go to the socket unchanged. A transport can pass its bytes on to it, as
/// [this one](https://github.com/framewise/framewise/blob/main/docs/dispatcher.md#a-transport-of-your-own) does.
#[derive(Clone, Copy, Debug, Default)]
pub struct Tcp;

impl Transport for Tcp {
    type Stream = Tcp;

    fn accept(&mut self) -> Tcp {
        Tcp
    }
}

impl Stream for Tcp {
    #[inline]
    fn read(&mut self, io: &mut impl Read, into: &mut [u8]) -> io::Result<ReadOutcome> {
        let count = io.read(into)?;
        // On Linux a short read means that the socket is empty. The kernel reports new readiness when more bytes
        // arrive.
        let drained = match cfg!(target_os = "linux") && count < into.len() {
            true => Drained::Yes,
            false => Drained::Unknown,
        };
        Ok(ReadOutcome::new(count, drained))
    }

    #[inline]
    fn write(&mut self, io: &mut impl Write, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        match slices {
            [one] => io.write(one),
            many => io.write_vectored(many),
        }
    }
}

/// A transport that can be left out: without one, TCP as it is. So a program can decide at run time.
///
/// ```
/// use framewise::{Config, Echo, Server, Tcp};
///
/// // With the feature `tls`, this could be a `TlsServer`.
/// let transport: Option<Tcp> = None;
/// let config = Config::default().listen("127.0.0.1", 0);
/// let server = Server::bind(config, Echo::default())?.over(transport);
/// # Ok::<(), framewise::StartError>(())
/// ```
impl<T: Transport> Transport for Option<T> {
    type Stream = Option<T::Stream>;

    fn accept(&mut self) -> Option<T::Stream> {
        self.as_mut().map(T::accept)
    }
}

/// A stream that can be left out: without one, TCP as it is.
impl<S: Stream> Stream for Option<S> {
    #[inline]
    fn read(&mut self, io: &mut impl Read, into: &mut [u8]) -> io::Result<ReadOutcome> {
        match self {
            Some(stream) => stream.read(io, into),
            None => Tcp.read(io, into),
        }
    }

    #[inline]
    fn write(&mut self, io: &mut impl Write, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        match self {
            Some(stream) => stream.write(io, slices),
            None => Tcp.write(io, slices),
        }
    }

    #[inline]
    fn queued(&self) -> usize {
        self.as_ref().map_or(0, S::queued)
    }

    #[inline]
    fn wants_write(&self) -> bool {
        self.as_ref().is_some_and(S::wants_write)
    }

    #[inline]
    fn held(&self) -> usize {
        self.as_ref().map_or(0, S::held)
    }

    fn drive(&mut self, io: &mut (impl Read + Write), readiness: Readiness) -> io::Result<()> {
        self.as_mut().map_or(Ok(()), |stream| stream.drive(io, readiness))
    }

    fn is_secure(&self) -> bool {
        self.as_ref().is_some_and(S::is_secure)
    }

    fn end_output(&mut self) {
        if let Some(stream) = self {
            stream.end_output();
        }
    }

    fn drop_input(&mut self) {
        if let Some(stream) = self {
            stream.drop_input();
        }
    }

    fn failure(&self) -> Option<Box<dyn Error + Send + Sync>> {
        self.as_ref().and_then(S::failure)
    }
}
