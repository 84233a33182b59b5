//! Opens the connections of the load: TCP and the opening handshake.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use socket2::{Domain, Socket, Type};

use crate::load::{Count, PATIENCE};
use crate::shape::{Compression, Shape};
use crate::{ACCEPT, REQUEST};

/// How connections to a server are opened.
pub struct Dialer {
    address: SocketAddr,
    request: Vec<u8>,
    compression: Compression,
    /// Whether the server has to speak the protocol, and not only to respond with 101.
    verifies: bool,
}

impl Dialer {
    /// Returns how to open the connections of a shape.
    pub fn new(address: SocketAddr, shape: &Shape, verifies: bool) -> Dialer {
        let offer = match shape.compression {
            Compression::Off => "",
            Compression::EachAlone => {
                "Sec-WebSocket-Extensions: permessage-deflate; client_no_context_takeover; \
                 server_no_context_takeover\r\n"
            }
            Compression::WithContexts => "Sec-WebSocket-Extensions: permessage-deflate\r\n",
        };
        let end = REQUEST.len() - 2;
        let request = [&REQUEST[..end], offer.as_bytes(), b"\r\n"].concat();
        Dialer { address, request, compression: shape.compression, verifies }
    }

    /// Connects and completes the opening handshake. Many connections use several local addresses, because the number of
    /// ports of one address is limited. The socket blocks.
    ///
    /// # Errors
    ///
    /// The connection or its opening handshake fails, or the server does not compress although the shape says so.
    pub fn connect(&self, number: usize) -> io::Result<TcpStream> {
        let mut stream = self.tcp(number)?;
        stream.write_all(&self.request)?;
        let mut answer = Vec::new();
        let end = loop {
            if let Some(end) = answer.windows(4).position(|window| window == b"\r\n\r\n") {
                break end + 4;
            }
            let mut bytes = [0; 512];
            match stream.read(&mut bytes)? {
                0 => return Err(ErrorKind::UnexpectedEof.into()),
                count => answer.extend_from_slice(&bytes[..count]),
            }
        };
        let text = String::from_utf8_lossy(&answer);
        let accepted = field(&text, "sec-websocket-accept").is_some_and(|value| value == ACCEPT);
        if !text.starts_with("HTTP/1.1 101 ") || !accepted || end != answer.len() {
            return Err(io::Error::other(format!("the handshake was answered with {text:?}")));
        }
        if self.verifies && !self.is_agreed(field(&text, "sec-websocket-extensions")) {
            let offer = String::from_utf8_lossy(&self.request);
            let offer = field(&offer, "sec-websocket-extensions").unwrap_or("no extension");
            return Err(io::Error::other(format!(
                "the server does not agree to {offer}: it responds with {text:?}"
            )));
        }
        Ok(stream)
    }

    /// Reports whether the extensions of a response are what the shape needs.
    fn is_agreed(&self, extensions: Option<&str>) -> bool {
        let has = |part| extensions.is_some_and(|value| value.contains(part));
        let (deflate, alone) = (has("permessage-deflate"), has("server_no_context_takeover"));
        match self.compression {
            Compression::Off => extensions.is_none(),
            // RFC 7692 7.1.1.1: a server that accepts the parameter repeats it.
            Compression::EachAlone => deflate && alone,
            Compression::WithContexts => deflate && !alone,
        }
    }

    fn tcp(&self, number: usize) -> io::Result<TcpStream> {
        let address = self.address;
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
        if address.is_ipv4() && address.ip().is_loopback() {
            let source = [127, 0, 0, 1 + (number / 10_000) as u8];
            socket.bind(&SocketAddr::from((source, 0)).into())?;
        }
        socket.connect(&address.into())?;
        socket.set_tcp_nodelay(true)?;
        // Close with a reset. Otherwise each port would be blocked for a minute (TIME_WAIT), and there would soon be none
        // left.
        socket.set_linger(Some(Duration::ZERO))?;
        let stream = TcpStream::from(socket);
        stream.set_read_timeout(Some(PATIENCE))?;
        Ok(stream)
    }

    /// Opens connections one after the other for a time.
    ///
    /// # Errors
    ///
    /// A connection or its opening handshake fails.
    pub fn handshakes(&self, lasts: Duration) -> io::Result<Count> {
        let start = Instant::now();
        let mut done = 0;
        while start.elapsed() < lasts {
            drop(self.connect(0)?);
            done += 1;
        }
        Ok(Count { done, time: start.elapsed(), latency: None })
    }
}

/// Returns the value of a header field.
fn field<'a>(head: &'a str, wanted: &str) -> Option<&'a str> {
    let fields = head.lines().filter_map(|line| line.split_once(':'));
    let mut named = fields.filter(|(name, _)| name.eq_ignore_ascii_case(wanted));
    named.next().map(|(_, value)| value.trim())
}
