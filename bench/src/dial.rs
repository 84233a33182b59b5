//! Opens the connections of the load: TCP, perhaps TLS, and the opening handshake.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, HandshakeKind};
use socket2::{Domain, Socket, Type};

use crate::load::{Count, PATIENCE};
use crate::shape::{Compression, Shape, Transport};
use crate::wire::{Certificate, Stream};
use crate::{ACCEPT, REQUEST};

/// How connections to a server are opened.
pub struct Dialer {
    address: SocketAddr,
    request: Vec<u8>,
    compression: Compression,
    /// Whether the server has to speak the protocol, and not only to respond with 101.
    verifies: bool,
    tls: Option<Arc<ClientConfig>>,
    /// The handshake of TLS that every connection has to make.
    expected: HandshakeKind,
}

impl Dialer {
    /// Returns how to open the connections of a shape. If they resume a session of TLS, opens the connection that begins it.
    ///
    /// # Errors
    ///
    /// The certificate of the harness cannot be used, or that connection fails.
    pub fn new(address: SocketAddr, shape: &Shape, verifies: bool) -> io::Result<Dialer> {
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
        let resumes = shape.transport == Transport::ResumedTls;
        let tls = match shape.transport {
            Transport::Tcp => None,
            _ => {
                let config = Certificate::of_harness().client(resumes);
                Some(config.map_err(|error| io::Error::other(error.to_string()))?)
            }
        };
        let (compression, expected) = (shape.compression, HandshakeKind::Full);
        let mut dialer = Dialer { address, request, compression, verifies, tls, expected };
        if resumes {
            dialer.connect(0)?;
            dialer.expected = HandshakeKind::Resumed;
        }
        Ok(dialer)
    }

    /// Connects and completes the opening handshake. Many connections use several local addresses, because the number of
    /// ports of one address is limited. The socket blocks.
    ///
    /// # Errors
    ///
    /// The connection or one of its handshakes fails, the server does not compress although the shape says so, or a session of
    /// TLS is resumed or not, against what the shape says.
    pub fn connect(&self, number: usize) -> io::Result<Dialed> {
        let mut stream = Dialed { socket: self.tcp(number)?, tls: self.tls()? };
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
        if let Some(tls) = &stream.tls {
            let (kind, expected) = (tls.handshake_kind(), self.expected);
            if kind != Some(expected) {
                let text = format!("the handshake of TLS is {kind:?}, and not {expected:?}");
                return Err(io::Error::other(text));
            }
        }
        Ok(stream)
    }

    fn tls(&self) -> io::Result<Option<ClientConnection>> {
        let Some(config) = &self.tls else { return Ok(None) };
        let name = ServerName::try_from("localhost").map_err(io::Error::other)?;
        let tls = ClientConnection::new(Arc::clone(config), name).map_err(io::Error::other)?;
        Ok(Some(tls))
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

/// A new connection, whose socket blocks.
pub struct Dialed {
    socket: TcpStream,
    tls: Option<ClientConnection>,
}

impl Dialed {
    /// Returns the connection without blocking.
    ///
    /// # Errors
    ///
    /// The operating system refuses it.
    pub fn into_stream(self) -> io::Result<Stream> {
        self.socket.set_nonblocking(true)?;
        let socket = mio::net::TcpStream::from_std(self.socket);
        Ok(match self.tls {
            None => Stream::Tcp(socket),
            Some(tls) => Stream::over_tls(socket, tls.into()),
        })
    }
}

impl Read for Dialed {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        match &mut self.tls {
            None => self.socket.read(into),
            Some(tls) => rustls::Stream::new(tls, &mut self.socket).read(into),
        }
    }
}

impl Write for Dialed {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match &mut self.tls {
            None => self.socket.write(bytes),
            Some(tls) => rustls::Stream::new(tls, &mut self.socket).write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match &mut self.tls {
            None => self.socket.flush(),
            Some(tls) => rustls::Stream::new(tls, &mut self.socket).flush(),
        }
    }
}

/// Returns the value of a header field.
fn field<'a>(head: &'a str, wanted: &str) -> Option<&'a str> {
    let fields = head.lines().filter_map(|line| line.split_once(':'));
    let mut named = fields.filter(|(name, _)| name.eq_ignore_ascii_case(wanted));
    named.next().map(|(_, value)| value.trim())
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;
    use std::thread;

    use rustls::ServerConnection;

    use super::*;
    use crate::ANSWER;
    use crate::shape::Traffic;

    /// Serves opening handshakes inside of TLS, and gives each connection this many tickets. Returns its address.
    fn server(tickets: usize) -> SocketAddr {
        let certificate = Certificate::of_harness();
        certificate.make().expect("files in target");
        let mut config = certificate.server().expect("a certificate").as_ref().clone();
        config.send_tls13_tickets = tickets;
        let config = Arc::new(config);
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("bound");
        thread::spawn(move || {
            for mut socket in listener.incoming().map_while(Result::ok) {
                let mut tls = ServerConnection::new(Arc::clone(&config)).expect("valid");
                let mut stream = rustls::Stream::new(&mut tls, &mut socket);
                let mut request = [0; REQUEST.len()];
                // The client may leave early.
                let _ = stream.read_exact(&mut request).and_then(|()| stream.write_all(ANSWER));
                let _ = stream.flush();
            }
        });
        address
    }

    fn shape(transport: Transport) -> Shape {
        let wanted =
            |shape: &Shape| shape.transport == transport && shape.traffic == Traffic::Handshakes;
        Shape::all().into_iter().find(wanted).expect("a shape")
    }

    #[test]
    fn only_a_resumed_session_counts_as_one() {
        for transport in [Transport::Tls, Transport::ResumedTls] {
            let dialer = Dialer::new(server(2), &shape(transport), true).expect("a connection");
            for _ in 0..5 {
                assert!(dialer.connect(0).is_ok());
            }
        }
        let dialer = Dialer::new(server(0), &shape(Transport::ResumedTls), true);
        let error = dialer.and_then(|dialer| dialer.connect(0)).err().expect("no ticket");
        assert_eq!(error.to_string(), "the handshake of TLS is Some(Full), and not Resumed");
    }
}
