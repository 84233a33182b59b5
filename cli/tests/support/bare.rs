//! Clients with one file descriptor and no thread each, so that a test can have thousands of them, and a receive buffer of any
//! size.

use std::io::{ErrorKind, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream};

use serde_json::Value;
use socket2::{Domain, Socket, Type};

use super::{KEY, PATIENCE, handshake};

/// One client. It answers no pings, so its server must not send any.
pub struct Bare {
    stream: TcpStream,
    /// Bytes that have arrived, and how many of them were used.
    input: Vec<u8>,
    used: usize,
    /// How many bytes one read takes.
    at_once: usize,
}

/// How a client connects.
#[derive(Clone, Copy, Default)]
pub struct Options {
    /// Offers the subprotocol with which the server reports who comes and goes.
    pub presence: bool,
    /// The size of the receive buffer of the socket, instead of the default of the operating system.
    pub receive_buffer: Option<usize>,
    /// The address to connect from, instead of the choice of the operating system.
    pub from: Option<IpAddr>,
}

impl Bare {
    /// Opens a WebSocket.
    pub fn open(address: SocketAddr, path: &str, options: Options) -> Bare {
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, None);
        let socket = socket.expect("a descriptor");
        if let Some(size) = options.receive_buffer {
            socket.set_recv_buffer_size(size).expect("a size");
        }
        if let Some(from) = options.from {
            socket.bind(&SocketAddr::new(from, 0).into()).expect("an address of this machine");
        }
        socket.connect(&address.into()).expect("it listens");
        socket.set_tcp_nodelay(true).expect("a socket");
        let stream = TcpStream::from(socket);
        stream.set_read_timeout(Some(PATIENCE)).expect("a socket");
        let mut bare = Bare { stream, input: Vec::new(), used: 0, at_once: 64 * 1024 };
        let mut request = handshake(path, address, KEY);
        if options.presence {
            request
                .insert_str(request.len() - 2, "Sec-WebSocket-Protocol: framewise.classroom\r\n");
        }
        bare.stream.write_all(request.as_bytes()).expect("a socket");
        let end = loop {
            if let Some(at) = bare.input.windows(4).position(|bytes| bytes == b"\r\n\r\n") {
                break at + 4;
            }
            assert!(bare.read_more(), "a response was due");
        };
        assert!(bare.input.starts_with(b"HTTP/1.1 101 "), "{:?}", bare.input);
        bare.used = end;
        bare
    }

    /// Sends text messages in one write.
    pub fn send(&mut self, texts: &[&str]) {
        let frames: Vec<u8> = texts.iter().flat_map(|text| masked(text)).collect();
        self.stream.write_all(&frames).expect("a socket");
    }

    /// Returns the next text message.
    pub fn text(&mut self) -> String {
        let (opcode, payload) = self.frame().expect("a message was due");
        assert_eq!(opcode, 1, "text was due, not {:?}", String::from_utf8_lossy(&payload));
        String::from_utf8(payload).expect("UTF-8")
    }

    /// Returns the next message, which is JSON.
    pub fn json(&mut self) -> Value {
        serde_json::from_str(&self.text()).expect("JSON")
    }

    /// Takes at most so many bytes in one read.
    pub fn read_at_once(&mut self, bytes: usize) {
        self.at_once = bytes;
    }

    /// Returns opcode and payload of the next frame. Returns `None` at the end of the stream.
    pub fn frame(&mut self) -> Option<(u8, Vec<u8>)> {
        loop {
            let buffered = self.buffered();
            if buffered.is_some() || !self.read_more() {
                return buffered;
            }
        }
    }

    /// Returns opcode and payload of the next frame, if it has been read already.
    pub fn buffered(&mut self) -> Option<(u8, Vec<u8>)> {
        let bytes = &self.input[self.used..];
        let (header, length) = header(bytes)?;
        let opcode = bytes[0] & 15;
        let payload = bytes.get(header..header + length)?.to_vec();
        self.used += header + length;
        Some((opcode, payload))
    }

    /// Reads once. Returns false at the end of the stream.
    pub fn read_more(&mut self) -> bool {
        self.input.drain(..self.used);
        self.used = 0;
        let length = self.input.len();
        self.input.resize(length + self.at_once, 0);
        let count = match self.stream.read(&mut self.input[length..]) {
            Ok(count) => count,
            Err(error) if error.kind() == ErrorKind::ConnectionReset => 0,
            Err(error) => panic!("bytes were due: {error}"),
        };
        self.input.truncate(length + count);
        count > 0
    }
}

/// Returns the lengths of a frame's header and payload, if the header is complete.
fn header(bytes: &[u8]) -> Option<(usize, usize)> {
    match bytes.get(1)? {
        126 => Some((4, u16::from_be_bytes(bytes.get(2..4)?.try_into().ok()?).into())),
        127 => Some((10, u64::from_be_bytes(bytes.get(2..10)?.try_into().ok()?) as usize)),
        length => Some((2, (*length).into())),
    }
}

/// Encodes a text message as one frame whose masking key is zero.
fn masked(text: &str) -> Vec<u8> {
    let mut frame = vec![0x81];
    match text.len() {
        length @ 0..126 => frame.push(0x80 | length as u8),
        length => {
            frame.push(0x80 | 126);
            frame.extend(u16::try_from(length).expect("short enough").to_be_bytes());
        }
    }
    frame.extend([0; 4]);
    frame.extend(text.as_bytes());
    frame
}
