//! Helpers of the tests: a server in a thread, a client that sends and expects literal bytes, and the invariants that
//! hold after every fault. Tests wait for events, not for time; a time limit only fails a test.

#![allow(dead_code)] // No test file uses everything.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::Duration;

use framewise::config::{Config, OriginPolicy};
use framewise::{Application, Echo, Handle, Server, Tcp, Transport};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

/// The longest time to wait for an event. A test that reaches it fails.
const PATIENCE: Duration = Duration::from_secs(30);

/// A server that runs in a thread until the test process ends.
pub struct TestServer<A = Echo> {
    pub address: SocketAddr,
    pub handle: Handle<A>,
    state: Arc<(Mutex<Snapshot>, Condvar)>,
}

/// The state of the server after a pass of its loop.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Snapshot {
    pub peers: usize,
    pub memberships: usize,
    pub passes: usize,
    pub stopped: bool,
    /// Every resource that a closed connection has to release.
    pub held: framewise::Snapshot,
}

impl TestServer {
    /// Starts an echo server with the defaults of the library that accepts any origin.
    pub fn echo() -> TestServer {
        TestServer::start(any_origin(), Echo::default())
    }
}

impl<A: Application + Send + 'static> TestServer<A> {
    /// Starts a server on a free port.
    pub fn start(config: Config, application: A) -> TestServer<A> {
        TestServer::over(config, application, Tcp)
    }

    /// Starts a server on a free port, over a transport.
    pub fn over<T>(config: Config, application: A, transport: T) -> TestServer<A>
    where
        T: Transport<Stream: Send> + Send + 'static,
    {
        let config = config.listen("127.0.0.1", 0);
        let server = Server::bind(config, application).expect("a free port");
        let mut server = server.over(transport);
        let address = server.local_addrs().next().expect("one address");
        let handle = server.handle();
        let state = Arc::new((Mutex::new(Snapshot::default()), Condvar::new()));
        let shared = Arc::clone(&state);
        thread::spawn(move || {
            let mut passes = 0;
            while !server.has_stopped() {
                server.pass(None).expect("the loop runs");
                passes += 1;
                let held = server.snapshot();
                let (peers, memberships) = (held.connections(), held.memberships);
                let stopped = server.has_stopped();
                *shared.0.lock().expect("not poisoned") =
                    Snapshot { peers, memberships, passes, stopped, held };
                shared.1.notify_all();
            }
        });
        TestServer { address, handle, state }
    }

    /// Returns the state after the last pass.
    pub fn snapshot(&self) -> Snapshot {
        *self.state.0.lock().expect("not poisoned")
    }

    /// Waits until the server's state satisfies `wanted`.
    pub fn wait_for(&self, what: &str, wanted: impl Fn(&Snapshot) -> bool) -> Snapshot {
        let guard = self.state.0.lock().expect("not poisoned");
        let (snapshot, timeout) = self
            .state
            .1
            .wait_timeout_while(guard, PATIENCE, |snapshot| !wanted(snapshot))
            .expect("not poisoned");
        assert!(!timeout.timed_out(), "never came: {what}; last seen {snapshot:?}");
        *snapshot
    }

    /// Checks invariants I2, every slot and membership has been released, and I5, the loop sleeps: one more client
    /// costs only a few passes. That client also shows that the server still works.
    pub fn is_back_to_baseline(&self) {
        let idle = self.wait_for("baseline", |now| {
            now.passes > 0 && now.held == framewise::Snapshot::default()
        });
        Client::open(self.address).leave();
        let after = self.wait_for("baseline after another client", |now| {
            now.peers == 0 && now.passes > idle.passes
        });
        let passes = after.passes - idle.passes;
        assert!(passes < 50, "the loop does not sleep: {passes} passes for one client");
    }
}

/// Returns the defaults of the library, except that any origin is accepted.
pub fn any_origin() -> Config {
    Config::default().handshake(|handshake| handshake.origins = OriginPolicy::Any)
}

/// A TCP connection that sends and expects literal bytes.
pub struct Client {
    pub stream: TcpStream,
}

/// The key of the example in the standard, and the `Sec-WebSocket-Accept` for it (RFC 6455 §1.3).
pub const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
pub const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

/// The response to [`request`].
pub const SWITCHING: &[u8] = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\
Connection: Upgrade\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";

/// Returns a valid opening handshake with `more` header lines at the end, each with its CR LF.
pub fn request(more: &str) -> Vec<u8> {
    format!(
        "GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {KEY}\r\n{more}\r\n"
    )
    .into_bytes()
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

/// Returns a client's frame. `first` is the first byte: FIN, RSV and opcode. The length has the shortest form, and the
/// masking key is 00 00 00 00, so that the payload stays readable.
pub fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut bytes = vec![first];
    match payload.len() {
        length @ 0..=125 => bytes.push(0x80 | length as u8),
        length @ 126..=65_535 => {
            bytes.push(0xfe);
            bytes.extend_from_slice(&(length as u16).to_be_bytes());
        }
        length => {
            bytes.push(0xff);
            bytes.extend_from_slice(&(length as u64).to_be_bytes());
        }
    }
    bytes.extend_from_slice(&[0; 4]);
    bytes.extend_from_slice(payload);
    bytes
}

/// Returns a server's frame: as [`frame`], but unmasked.
pub fn server_frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut bytes = frame(first, payload);
    bytes[1] &= 0x7f;
    let header = bytes.len() - payload.len();
    bytes.drain(header - 4..header);
    bytes
}

/// Returns a server's Close frame.
pub fn failure(code: u16, reason: &str) -> Vec<u8> {
    server_frame(0x88, &[&code.to_be_bytes(), reason.as_bytes()].concat())
}

/// How bytes are split into writes.
#[derive(Clone, Copy, Debug)]
pub enum How {
    Whole,
    ByteByByte,
    /// In random pieces, which are the same for the same seed.
    Random(u64),
}

impl How {
    /// Returns all ways. Inputs of more than 4 KiB are not sent byte by byte.
    pub fn all(length: usize) -> Vec<How> {
        let mut ways = vec![How::Whole, How::Random(1), How::Random(2)];
        if length <= 4096 {
            ways.push(How::ByteByByte);
        }
        ways
    }

    /// Splits bytes into pieces.
    pub fn pieces(self, bytes: &[u8]) -> Vec<&[u8]> {
        match self {
            How::Whole => vec![bytes],
            How::ByteByByte => bytes.chunks(1).collect(),
            How::Random(seed) => {
                let mut random = StdRng::seed_from_u64(seed);
                let mut pieces = Vec::new();
                let mut rest = bytes;
                while !rest.is_empty() {
                    let most = if bytes.len() > 4096 { 65_536 } else { 32 };
                    let (piece, after) =
                        rest.split_at(random.random_range(1..=most).min(rest.len()));
                    pieces.push(piece);
                    rest = after;
                }
                pieces
            }
        }
    }
}

/// Opens a connection, sends `input` and expects exactly `output` and the end of TCP, once for each way to split the
/// input. Then checks the invariants.
#[track_caller]
pub fn ends_with<A: Application + Send + 'static>(
    server: &TestServer<A>,
    input: &[u8],
    output: &[u8],
) {
    for how in How::all(input.len()) {
        let mut client = Client::open(server.address);
        client.send_as(how, input);
        let seen = client.read_to_end();
        assert_eq!(show(&seen), show(output), "{how:?}, input {}", show(input));
        at_most_one_close(&seen);
    }
    server.is_back_to_baseline();
}

/// As [`ends_with`], for input that leaves the connection open. Sends a Close after it.
#[track_caller]
pub fn answers_with<A: Application + Send + 'static>(
    server: &TestServer<A>,
    input: &[u8],
    output: &[u8],
) {
    let closed = [output, b"\x88\x02\x03\xe8"].concat();
    ends_with(server, &[input, &frame(0x88, &1000u16.to_be_bytes())].concat(), &closed);
}

/// Checks invariant I6: there is at most one Close frame, and nothing after it.
#[track_caller]
pub fn at_most_one_close(bytes: &[u8]) {
    let mut rest = bytes;
    while let [first, second, after @ ..] = rest {
        let (length, header) = match second & 0x7f {
            126 => (usize::from(u16::from_be_bytes([after[0], after[1]])), 2),
            127 => (u64::from_be_bytes(after[..8].try_into().expect("eight")) as usize, 8),
            short => (usize::from(short), 0),
        };
        rest = &after[header + length..];
        assert!(*first != 0x88 || rest.is_empty(), "bytes after a Close: {}", show(rest));
    }
    assert!(rest.is_empty(), "the last frame is incomplete");
}

/// An HTTP response, split into its parts.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub head: String,
    pub body: String,
}

impl Answer {
    /// Parses a response.
    #[track_caller]
    pub fn parse(bytes: &[u8]) -> Answer {
        let text = String::from_utf8(bytes.to_vec()).expect("a response is text");
        let (head, body) = text.split_once("\r\n\r\n").expect("a response has a head");
        let status = head.strip_prefix("HTTP/1.1 ").and_then(|rest| rest[..3].parse().ok());
        let status = status.unwrap_or_else(|| panic!("no status line: {head}"));
        Answer { status, head: format!("{head}\r\n"), body: body.to_owned() }
    }

    /// Returns the value of a header field. Fails unless there is exactly one field with this name.
    #[track_caller]
    pub fn header<'a>(&'a self, name: &'a str) -> &'a str {
        let mut values = self.headers(name);
        let value = values.next().unwrap_or_else(|| panic!("no {name} in {}", self.head));
        assert!(values.next().is_none(), "two {name} in {}", self.head);
        value
    }

    /// Returns the values of all header fields with this name.
    pub fn headers<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.head.lines().skip(1).filter_map(move |line| {
            let (other, value) = line.split_once(": ")?;
            other.eq_ignore_ascii_case(name).then_some(value)
        })
    }

    /// Returns the text after a label of the body of a refusal, such as `rule`.
    #[track_caller]
    pub fn taught<'a>(&'a self, label: &str) -> &'a str {
        let line = self.body.lines().find_map(|line| line.strip_prefix(label)?.strip_prefix(": "));
        line.unwrap_or_else(|| panic!("no {label} in {}", self.body))
    }
}

/// Returns bytes in a form that is readable in a failed assertion.
pub fn show(bytes: &[u8]) -> String {
    if bytes.len() > 600 {
        return format!("{}... ({} bytes)", bytes[..600].escape_ascii(), bytes.len());
    }
    bytes.escape_ascii().to_string()
}
