//! One connection of a client that this project did not write: tungstenite over a TCP socket that never blocks.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

use socket2::{Domain, SockRef, Socket as RawSocket, Type};
use tungstenite::client::ClientRequestBuilder;
use tungstenite::error::ProtocolError;
use tungstenite::protocol::CloseFrame;
use tungstenite::protocol::frame::Frame;
use tungstenite::protocol::frame::coding::{Data, OpCode};
use tungstenite::{Error, Message, WebSocket};

/// The time for the opening handshake.
const PATIENCE: Duration = Duration::from_secs(30);

/// The receive buffer of a client that gets little into its kernel.
const SMALL: usize = 8 * 1024;

/// What a client asks for.
#[derive(Clone, Copy, Debug)]
pub struct Wanted<'a> {
    /// Path and query.
    pub target: &'a str,
    /// A subprotocol that the server must choose.
    pub subprotocol: Option<&'a str>,
    /// Whether the kernel keeps little of what is not read.
    pub is_small: bool,
}

/// What arrived.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Incoming {
    /// A message.
    Message {
        /// Its payload.
        payload: Vec<u8>,
        /// Whether it is binary.
        is_binary: bool,
    },
    /// A pong.
    Pong,
    /// A Close with this code, 1005 without one.
    Close(u16),
    /// A rule of the protocol was broken.
    Broken(String),
    /// The end of the stream, or a reset.
    End,
}

/// TCP, without the sending side after a half-close.
#[derive(Debug)]
struct Tcp {
    stream: TcpStream,
    is_half_closed: bool,
}

impl Read for Tcp {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        self.stream.read(into)
    }
}

impl Write for Tcp {
    /// After a half-close, pongs that tungstenite sends by itself go nowhere.
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.is_half_closed { Ok(bytes.len()) } else { self.stream.write(bytes) }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// One connection.
#[derive(Debug)]
pub struct Socket {
    socket: WebSocket<Tcp>,
    /// Everything that was sent is in the kernel.
    is_flushed: bool,
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.get_ref().stream.as_fd()
    }
}

impl Socket {
    /// Connects, and completes the opening handshake.
    ///
    /// # Errors
    ///
    /// The server does not accept it in time.
    pub fn open(address: SocketAddr, wanted: &Wanted<'_>) -> Result<Socket, String> {
        let socket = RawSocket::new(Domain::for_address(address), Type::STREAM, None);
        let socket = socket.map_err(|error| error.to_string())?;
        let connect = || -> io::Result<TcpStream> {
            if wanted.is_small {
                // Before the connection, because it decides the window that is announced.
                socket.set_recv_buffer_size(SMALL)?;
            }
            socket.connect_timeout(&address.into(), PATIENCE)?;
            let stream = TcpStream::from(socket);
            stream.set_nodelay(true)?;
            stream.set_read_timeout(Some(PATIENCE))?;
            Ok(stream)
        };
        let stream = connect().map_err(|error| format!("no connection: {error}"))?;
        let uri = format!("ws://{address}{}", wanted.target).parse();
        let mut request = ClientRequestBuilder::new(uri.map_err(|_| "no URL".to_owned())?);
        if let Some(subprotocol) = wanted.subprotocol {
            request = request.with_sub_protocol(subprotocol);
        }
        let tcp = Tcp { stream, is_half_closed: false };
        let (socket, _) = tungstenite::client::client(request, tcp)
            .map_err(|error| format!("no handshake: {error}"))?;
        let nonblocking = socket.get_ref().stream.set_nonblocking(true);
        nonblocking.map_err(|error| error.to_string())?;
        Ok(Socket { socket, is_flushed: true })
    }

    /// Reports whether everything that was sent is in the kernel.
    pub fn is_flushed(&self) -> bool {
        self.is_flushed
    }

    /// Sends a message, in fragments that end at these places. There is a ping between fragments if `pings` is true.
    pub fn send(&mut self, payload: &[u8], is_binary: bool, ends: &[usize], pings: bool) {
        if ends.is_empty() {
            let message = match (is_binary, std::str::from_utf8(payload)) {
                (false, Ok(text)) => Message::text(text),
                _ => Message::binary(payload.to_vec()),
            };
            return self.write(message);
        }
        let mut from = 0;
        for (n, &end) in ends.iter().chain([&payload.len()]).enumerate() {
            let opcode = match (n, is_binary) {
                (0, true) => Data::Binary,
                (0, false) => Data::Text,
                _ => Data::Continue,
            };
            if n > 0 && pings {
                // Nobody waits for its pong, which is not told from others: it repeats this payload.
                self.write(Message::Ping(BETWEEN.into()));
            }
            let is_last = n == ends.len();
            let piece = payload[from..end].to_vec();
            self.write(Message::Frame(Frame::message(piece, OpCode::Data(opcode), is_last)));
            from = end;
        }
    }

    /// Sends a ping.
    pub fn ping(&mut self) {
        self.write(Message::Ping(FENCE.into()));
    }

    /// Sends a Close.
    pub fn close(&mut self, code: u16) {
        let result = self.socket.close(Some(CloseFrame { code: code.into(), reason: "".into() }));
        self.note(result);
    }

    /// Sends the header of a masked text frame, and a part of its payload: 126 to 65,534 bytes.
    pub fn tear(&mut self, payload: &[u8]) {
        // FIN and text; masked, two bytes of length; more than what follows; a key of zeros.
        let mut bytes = vec![0x81, 0x80 | 126];
        bytes.extend((payload.len() as u16 + 1).to_be_bytes());
        bytes.extend([0; 4]);
        bytes.extend(payload);
        // What the kernel does not take is torn off as well.
        let _ = self.socket.get_mut().write(&bytes);
    }

    /// Shuts down the sending side without a Close.
    pub fn half_close(&mut self) {
        let tcp = self.socket.get_mut();
        tcp.is_half_closed = true;
        let _ = tcp.stream.shutdown(Shutdown::Write);
        self.is_flushed = true;
    }

    /// Resets the connection.
    pub fn reset(self) {
        let _ = SockRef::from(&self.socket.get_ref().stream).set_linger(Some(Duration::ZERO));
    }

    /// Sends what the kernel did not take before.
    pub fn flush(&mut self) {
        let result = self.socket.flush();
        self.note(result);
    }

    fn write(&mut self, message: Message) {
        let result = self.socket.write(message).and_then(|()| self.socket.flush());
        self.note(result);
    }

    /// A connection that is gone is noticed when it is read.
    fn note(&mut self, result: Result<(), Error>) {
        self.is_flushed =
            !matches!(result, Err(Error::Io(error)) if error.kind() == ErrorKind::WouldBlock);
    }

    /// Returns the next thing that has arrived.
    pub fn read(&mut self) -> Option<Incoming> {
        loop {
            return Some(match self.socket.read() {
                Ok(Message::Text(text)) => {
                    Incoming::Message { payload: text.as_bytes().to_vec(), is_binary: false }
                }
                Ok(Message::Binary(bytes)) => {
                    Incoming::Message { payload: bytes.to_vec(), is_binary: true }
                }
                Ok(Message::Pong(payload)) if payload == FENCE => Incoming::Pong,
                Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_)) => continue,
                Ok(Message::Close(frame)) => {
                    Incoming::Close(frame.map_or(1005, |frame| frame.code.into()))
                }
                Err(Error::Io(error)) if error.kind() == ErrorKind::WouldBlock => return None,
                // Of a server that has sent its Close, tungstenite takes no pong any more, although the server must send pongs
                // until it has received a Close (RFC 6455 §5.5.2-2).
                Err(
                    Error::Io(_)
                    | Error::ConnectionClosed
                    | Error::AlreadyClosed
                    | Error::Protocol(
                        ProtocolError::ResetWithoutClosingHandshake
                        | ProtocolError::ReceivedAfterClosing,
                    ),
                ) => Incoming::End,
                Err(error) => Incoming::Broken(error.to_string()),
            });
        }
    }
}

/// The payload of a ping between fragments.
const BETWEEN: &[u8] = b"between fragments";

/// The payload of a ping whose pong is awaited.
const FENCE: &[u8] = b"so far?";
