//! What the tests of the binary share: a server that ends with the test, and clients that wait for what they ask.

#![allow(dead_code)] // Each test file uses its own part of this.

pub mod bare;

use std::fmt::Display;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use framewise::ClientRequest;
use framewise::MessageBuf;
use framewise::Url;
use framewise::protocol::connection::{Closed, Event};
use framewise::{Client, Config, Message};
use serde_json::Value;

/// Longer than anything takes; reaching it is a failure.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// A `framewise serve` that runs.
pub struct Serve {
    child: Child,
    pub address: SocketAddr,
    /// What it printed before it waited for clients.
    pub greeting: Vec<String>,
    stdout: BufReader<std::process::ChildStdout>,
}

/// The command, with an environment that says nothing of its own.
pub fn framewise(arguments: &[&str]) -> Command {
    without_settings(Command::new(env!("CARGO_BIN_EXE_framewise")), arguments)
}

/// The command as a terminal starts it, although these tests may run under `nohup`, which ignores SIGHUP.
pub fn framewise_with_hangup(arguments: &[&str]) -> Command {
    let mut command = Command::new("env");
    command.args(["--default-signal=HUP", env!("CARGO_BIN_EXE_framewise")]);
    without_settings(command, arguments)
}

fn without_settings(mut command: Command, arguments: &[&str]) -> Command {
    for (name, _) in std::env::vars() {
        let language = ["LANG", "LC_ALL", "LC_MESSAGES", "HOST", "PORT"].contains(&name.as_str());
        if language || name.starts_with("FRAMEWISE_") {
            command.env_remove(name);
        }
    }
    command.args(arguments);
    command
}

/// The request of a client that does by itself what it does.
pub fn handshake(path: &str, host: impl Display, key: &str) -> String {
    format!(
        "GET {path} HTTP/1.1\r\nHost: {host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
        Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n\r\n"
    )
}

/// Waits for the next line of a log that contains `text`.
pub fn line_with(log: &Receiver<String>, text: &str) -> String {
    let mut seen = Vec::new();
    loop {
        match log.recv_timeout(PATIENCE) {
            Ok(line) if line.contains(text) => return line,
            Ok(line) => seen.push(line),
            Err(_) => panic!("no line with {text} in {seen:#?}"),
        }
    }
}

/// The arguments of a server on a free port of 127.0.0.1.
pub const SERVE: [&str; 5] = ["serve", "--host", "127.0.0.1", "--port", "0"];

/// A key of sixteen bytes, as it should be.
pub const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";

/// RFC 6455 §5.7: a masked text frame with "Hello".
pub const HELLO: &[u8] = b"\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58";

/// Connects a client that sends these bytes as they are.
pub fn open(serve: &Serve, bytes: &[u8]) -> TcpStream {
    let mut stream = TcpStream::connect(serve.address).expect("it listens");
    stream.set_read_timeout(Some(PATIENCE)).expect("a socket");
    stream.set_nodelay(true).expect("a socket");
    stream.write_all(bytes).expect("a socket");
    stream
}

/// Reads until what was read ends with `end`.
pub fn read_until(stream: &mut TcpStream, end: &[u8]) -> Vec<u8> {
    let mut read = Vec::new();
    while !read.ends_with(end) {
        let mut byte = [0];
        assert_eq!(stream.read(&mut byte).expect("a socket"), 1, "{}", read.escape_ascii());
        read.push(byte[0]);
    }
    read
}

impl Serve {
    /// Starts on a free port of 127.0.0.1.
    pub fn start(arguments: &[&str]) -> Serve {
        Serve::start_with(
            framewise(&["serve", "--host", "127.0.0.1", "--port", "0"]).args(arguments),
        )
    }

    pub fn start_with(command: &mut Command) -> Serve {
        Serve::wait_for(command.stderr(Stdio::null()))
    }

    /// Starts on a free port of 127.0.0.1. Returns the lines of its log as well.
    pub fn start_logged(arguments: &[&str]) -> (Serve, Receiver<String>) {
        Serve::start_logged_with(framewise(&SERVE).args(arguments))
    }

    /// Starts a command. Returns the lines of its log as well.
    pub fn start_logged_with(command: &mut Command) -> (Serve, Receiver<String>) {
        let mut serve = Serve::wait_for(command.stderr(Stdio::piped()));
        let log = BufReader::new(serve.child.stderr.take().expect("a pipe"));
        let (sender, lines) = channel();
        std::thread::spawn(move || {
            log.lines().map_while(Result::ok).try_for_each(|line| sender.send(line))
        });
        (serve, lines)
    }

    /// Its log goes into a pipe that nobody reads.
    pub fn start_unread(command: &mut Command) -> Serve {
        Serve::wait_for(command.stderr(Stdio::piped()))
    }

    /// Its log goes into a file.
    pub fn start_logging_to(command: &mut Command, log: &std::path::Path) -> Serve {
        Serve::wait_for(command.stderr(std::fs::File::create(log).expect("a file")))
    }

    fn wait_for(command: &mut Command) -> Serve {
        let mut child =
            command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().expect("the binary starts");
        let stdout = BufReader::new(child.stdout.take().expect("a pipe"));
        // From here on it ends with the test.
        let mut serve =
            Serve { child, address: ([0, 0, 0, 0], 0).into(), greeting: Vec::new(), stdout };
        loop {
            let line = serve.line();
            assert!(!line.is_empty(), "it ended: {:?}", serve.greeting);
            let url = line.rsplit_once("http://").or_else(|| line.rsplit_once("https://"));
            if let Some(address) = url.and_then(|(_, url)| url.parse().ok()) {
                serve.address = address;
            }
            serve.greeting.push(line);
            if serve.greeting.last().is_some_and(|line| line.contains("Ctrl+C")) {
                return serve;
            }
        }
    }

    /// Opens a WebSocket.
    pub fn connect(&self, path: &str) -> Peer {
        self.connect_as(path, |request| request)
    }

    pub fn connect_as(
        &self,
        path: &str,
        with: impl FnOnce(ClientRequest) -> ClientRequest,
    ) -> Peer {
        let url = Url::parse(&format!("ws://{}{path}", self.address)).expect("a URL");
        let request = with(ClientRequest::new(url));
        Peer(Client::open(&request, Config::default()).expect("the server answers"))
    }

    /// Sends a request and reads the whole answer.
    pub fn http(&self, target: &str, headers: &str) -> String {
        let host = self.address;
        let request = format!("GET {target} HTTP/1.1\r\nHost: {host}\r\n{headers}");
        self.raw(&format!("{request}Connection: close\r\n\r\n"))
    }

    /// Sends requests and reads until the server closes the connection, so the last request has to make it do so.
    pub fn raw(&self, request: &str) -> String {
        let mut stream = TcpStream::connect(self.address).expect("it listens");
        stream.set_read_timeout(Some(PATIENCE)).expect("a socket");
        stream.write_all(request.as_bytes()).expect("a socket");
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).expect("an answer");
        String::from_utf8(answer).expect("text")
    }

    /// The JSON of an answer.
    pub fn json(&self, target: &str) -> Value {
        let answer = self.http(target, "");
        let (head, body) = answer.split_once("\r\n\r\n").expect("a head");
        assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
        serde_json::from_str(body).expect("JSON")
    }

    pub fn signal(&self, name: &str) {
        let kill = Command::new("kill").args(["-s", name, &self.child.id().to_string()]).status();
        assert!(kill.expect("kill").success());
    }

    /// The next line that it prints.
    pub fn line(&mut self) -> String {
        let mut line = String::new();
        self.stdout.read_line(&mut line).expect("a line");
        line.trim_end().to_owned()
    }

    /// Stops the process until it gets SIGCONT, and waits until it has stopped.
    pub fn stop(&self) {
        self.signal("STOP");
        let state = || {
            let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.child.id()));
            let stat = stat.expect("it runs");
            stat.rsplit_once(") ").map(|(_, rest)| rest.starts_with('T'))
        };
        while state() != Some(true) {
            std::thread::yield_now();
        }
    }

    /// How many descriptors it has open, where the system tells.
    pub fn descriptors(&self) -> usize {
        std::fs::read_dir(format!("/proc/{}/fd", self.child.id())).map_or(0, Iterator::count)
    }

    /// The memory in KiB that it has allocated and written to.
    pub fn memory(&self) -> usize {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id()));
        let status = status.expect("it runs");
        let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:"));
        let number = line.and_then(|line| line.split_whitespace().next());
        number.and_then(|number| number.parse().ok()).expect("a number of kB")
    }

    pub fn has_ended(&mut self) -> bool {
        self.child.try_wait().expect("a child").is_some()
    }

    pub fn wait(&mut self) -> ExitStatus {
        self.child.wait().expect("it ends")
    }
}

impl Drop for Serve {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// One client.
pub struct Peer(pub Client);

impl Peer {
    pub fn send(&mut self, text: &str) -> &mut Peer {
        assert!(
            self.0.send(Message::from(text)).expect("it takes bytes"),
            "the connection is open"
        );
        self
    }

    /// The next message.
    pub fn message(&mut self) -> MessageBuf<'static> {
        loop {
            match self.0.recv_timeout(PATIENCE).expect("a socket") {
                Some(Event::Message(message)) => return message,
                Some(Event::Ping(_) | Event::Pong(_)) => {}
                other => panic!("a message was due, not {other:?}"),
            }
        }
    }

    pub fn text(&mut self) -> String {
        let message = self.message();
        let text = message.as_str();
        text.unwrap_or_else(|| panic!("text was due, not {message:?}")).to_owned()
    }

    pub fn json(&mut self) -> Value {
        let text = self.text();
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{text}: {error}"))
    }

    pub fn closed(&mut self) -> Closed {
        loop {
            match self.0.recv_timeout(PATIENCE).expect("a socket") {
                Some(Event::Closed(closed)) => return closed,
                Some(_) => {}
                None => panic!("the end was due"),
            }
        }
    }

    /// Nothing has been sent here that was not read: the answer to a ping would come behind it.
    pub fn hears_nothing(&mut self) {
        assert!(self.0.ping(b"so far?"));
        match self.0.recv_timeout(PATIENCE).expect("a socket") {
            Some(Event::Pong(_)) => {}
            other => panic!("nothing was due, not {other:?}"),
        }
    }
}
