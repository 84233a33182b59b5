//! A client that sends and expects literal bytes over TCP.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};

use super::{Answer, How, PATIENCE, SWITCHING, frame, request, show};

/// A TCP connection that sends and expects literal bytes.
pub struct Client {
    pub stream: TcpStream,
}

impl Client {
    /// Connects and sends nothing.
    pub fn connect(address: SocketAddr) -> Client {
        let stream = TcpStream::connect(address).expect("the server listens");
        stream.set_nodelay(true).expect("a TCP option");
        stream.set_read_timeout(Some(PATIENCE)).expect("a TCP option");
        stream.set_write_timeout(Some(PATIENCE)).expect("a TCP option");
        Client { stream }
    }

    /// Connects and completes the opening handshake.
    pub fn open(address: SocketAddr) -> Client {
        let mut client = Client::connect(address);
        client.send(&request(""));
        client.expect(SWITCHING);
        client
    }

    /// Sends bytes. Ignores that the server has closed the connection, because the bytes that it sent before can still
    /// be read.
    pub fn send(&mut self, bytes: &[u8]) {
        match self.stream.write_all(bytes) {
            Err(error)
                if matches!(error.kind(), ErrorKind::BrokenPipe | ErrorKind::ConnectionReset) => {}
            result => result.expect("the socket takes bytes"),
        }
    }

    /// Sends bytes in pieces.
    pub fn send_as(&mut self, how: How, bytes: &[u8]) {
        for piece in how.pieces(bytes) {
            self.send(piece);
        }
    }

    /// Reads as many bytes as `expected` has and compares them.
    #[track_caller]
    pub fn expect(&mut self, expected: &[u8]) {
        let mut bytes = vec![0; expected.len()];
        let read = read_up_to(&mut self.stream, &mut bytes);
        assert_eq!(show(&bytes[..read]), show(expected));
    }

    /// Reads until the server closes TCP. A reset fails the test.
    #[track_caller]
    pub fn read_to_end(&mut self) -> Vec<u8> {
        let mut bytes = Vec::new();
        self.stream.read_to_end(&mut bytes).expect("the server closes TCP cleanly");
        bytes
    }

    /// Reads until the server closes TCP and compares the bytes.
    #[track_caller]
    pub fn expect_end(&mut self, expected: &[u8]) {
        let bytes = self.read_to_end();
        assert_eq!(show(&bytes), show(expected));
    }

    /// Reads until the server closes TCP and parses the bytes as one HTTP response.
    #[track_caller]
    pub fn answer(&mut self) -> Answer {
        Answer::parse(&self.read_to_end())
    }

    /// Reads one response, up to the end that its `Content-Length` announces.
    #[track_caller]
    pub fn response(&mut self) -> Answer {
        let mut bytes = Vec::new();
        while !bytes.ends_with(b"\r\n\r\n") {
            self.read_more(&mut bytes, 1);
        }
        let length = Answer::parse(&bytes).header("Content-Length").parse().expect("a number");
        self.read_more(&mut bytes, length);
        Answer::parse(&bytes)
    }

    #[track_caller]
    fn read_more(&mut self, bytes: &mut Vec<u8>, count: usize) {
        let before = bytes.len();
        bytes.resize(before + count, 0);
        let read = read_up_to(&mut self.stream, &mut bytes[before..]);
        assert_eq!(read, count, "TCP ends after {}", show(&bytes[..before + read]));
    }

    /// Closes the sending side of TCP.
    pub fn finish(&mut self) {
        let _ = self.stream.shutdown(Shutdown::Write);
    }

    /// Closes with 1000 and waits for the server's Close and for the end of TCP.
    #[track_caller]
    pub fn leave(mut self) {
        self.send(&frame(0x88, &1000u16.to_be_bytes()));
        self.expect_end(b"\x88\x02\x03\xe8");
    }
}

/// Reads until `bytes` is full or TCP is closed. Returns how many bytes were read.
fn read_up_to(stream: &mut TcpStream, bytes: &mut [u8]) -> usize {
    let mut read = 0;
    while read < bytes.len() {
        match stream.read(&mut bytes[read..]) {
            Ok(0) => break,
            Ok(count) => read += count,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => panic!("after {} bytes {:?}: {error}", read, show(&bytes[..read])),
        }
    }
    read
}
