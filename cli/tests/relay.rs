//! `framewise relay`: bytes pass unchanged, faults are injected where they were asked for and reported, and echo survives.

mod support;

use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, ChildStdout, Stdio};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use framewise::ClientRequest;
use framewise::ConnectError;
use framewise::Url;
use framewise::{Client, CloseCode, Config};
use support::{PATIENCE, Peer, Serve, framewise};

struct Relay {
    child: Child,
    stdout: BufReader<ChildStdout>,
    address: String,
    /// The server of [`sends`], until its connection has ended.
    server: Option<JoinHandle<()>>,
}

impl Relay {
    fn start(serve: &Serve, options: &[&str]) -> Relay {
        Relay::to(serve.address, options)
    }

    fn to(target: SocketAddr, options: &[&str]) -> Relay {
        let mut command = framewise(&["relay", "127.0.0.1:0", &target.to_string()]);
        let mut child = command
            .args(options)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("it starts");
        let mut line = String::new();
        let mut stdout = BufReader::new(child.stdout.take().expect("a pipe"));
        stdout.read_line(&mut line).expect("a line");
        let address = line.split(' ').nth(1).expect("an address").to_owned();
        Relay { child, stdout, address, server: None }
    }

    /// Returns the next line that it prints, which is about a fault.
    fn line(&mut self) -> String {
        let mut line = String::new();
        self.stdout.read_line(&mut line).expect("a line");
        line.trim_end().to_owned()
    }

    /// Stops it and returns the lines that it printed and that were not read.
    fn rest(mut self) -> String {
        self.child.kill().expect("it runs");
        let mut rest = String::new();
        self.stdout.read_to_string(&mut rest).expect("text");
        rest
    }

    fn try_connect(&self) -> Result<Peer, ConnectError> {
        let url = Url::parse(&format!("ws://{}/echo", self.address)).expect("a URL");
        // The server only accepts a Host that it knows.
        Client::open(&ClientRequest::new(url), Config::default()).map(Peer)
    }

    fn connect(&self) -> Peer {
        self.try_connect().expect("it answers")
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn everything_passes_unchanged_whole_or_in_slices() {
    let serve = Serve::start(&[]);
    for options in
        [&[][..], &["--slice", "1"], &["--slice", "3", "--from", "server"], &["--jitter", "2"]]
    {
        let relay = Relay::start(&serve, options);
        let mut peer = relay.connect();
        for text in ["olá", "", &"é".repeat(300)] {
            assert_eq!(peer.send(text).text(), format!("Echo: {text}"), "{options:?}");
        }
        assert_eq!(peer.0.close(CloseCode::NORMAL, "").expect("valid").code, CloseCode::NORMAL);
    }
}

#[test]
fn a_flipped_bit_breaks_a_rule_that_is_named() {
    let serve = Serve::start(&[]);
    let relay = Relay::start(&serve, &["--from", "client", "--flip-bit", "0"]);
    // 'G' becomes 'F': FET is no method.
    match relay.try_connect() {
        Err(ConnectError::Rejected(rejected)) => {
            let answer = String::from_utf8_lossy(&rejected.response).into_owned();
            assert!(
                answer.starts_with("HTTP/1.1 501 ") && answer.contains("found: FET"),
                "{answer}"
            );
        }
        other => panic!("a refusal was due, not {:?}", other.map(|_| "a connection")),
    }
}

/// Starts a server that sends these bytes and then reads once, and a relay to it. Returns the relay and a connection.
fn sends(bytes: Vec<u8>, options: &[&str]) -> (Relay, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let mut relay = Relay::to(listener.local_addr().expect("bound"), options);
    let server = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("the relay connects");
        // The relay may end the connection before all of it was taken.
        let _ = stream.write_all(&bytes);
        let _ = stream.read(&mut [0]);
    });
    relay.server = Some(server);
    let stream = TcpStream::connect(&relay.address).expect("it listens");
    stream.set_read_timeout(Some(PATIENCE)).expect("a socket");
    (relay, stream)
}

#[test]
fn a_stream_ends_where_it_was_asked_for() {
    let (_relay, mut stream) = sends(vec![7; 300], &["--from", "server", "--limit-data", "200"]);
    let mut heard = Vec::new();
    stream.read_to_end(&mut heard).expect("an end, not a reset");
    assert_eq!(heard, [7; 200]);
}

#[test]
fn a_reset_comes_with_no_end_before_it() {
    // Slices, so that more is waiting when it comes.
    for options in [&["--reset-after", "200"][..], &["--reset-after", "1", "--slice", "1"]] {
        let (_relay, mut stream) = sends(vec![7; 300], options);
        let error = stream.read_to_end(&mut Vec::new()).expect_err("a reset, not an end");
        assert_eq!(error.kind(), ErrorKind::ConnectionReset, "{options:?}");
    }
}

#[test]
fn a_websocket_that_is_cut_off_ends_with_1006() {
    let serve = Serve::start(&[]);
    for option in ["--limit-data", "--reset-after"] {
        let relay = Relay::start(&serve, &["--from", "server", option, "200"]);
        let mut peer = relay.connect();
        // The answer to the handshake is shorter than that, the echoes are not.
        for _ in 0..20 {
            if !peer.0.send(framewise::Message::from("0123456789")).unwrap_or(false) {
                break;
            }
        }
        let closed = peer.closed();
        assert_eq!(closed.code, CloseCode::ABNORMAL, "{option}: {closed:?}");
    }
}

#[test]
fn bytes_that_are_held_back_keep_their_order() {
    let bytes: Vec<u8> = (0..100_000_u32).map(|n| n as u8).collect();
    for options in [
        &["--latency", "20", "--jitter", "20"][..],
        &["--rate", "400000"],
        &["--slice", "97", "--slow-close", "10", "--latency", "1"],
    ] {
        let (_relay, mut stream) = sends(bytes.clone(), options);
        let mut heard = vec![0; bytes.len()];
        stream.read_exact(&mut heard).expect("all of it");
        assert!(heard == bytes, "{options:?}");
    }
}

#[test]
fn what_is_held_back_comes_no_sooner() {
    for (options, milliseconds) in [
        (&["--latency", "80", "--from", "server"][..], 80),
        (&["--latency", "40", "--from", "both"], 80),
        (&["--latency", "80", "--from", "client"], 80),
        (&["--slow-close", "80", "--from", "server"], 80),
        (&["--rate", "1000", "--from", "server"], 100),
    ] {
        let serve = Serve::start(&[]);
        let relay = Relay::start(&serve, options);
        let began = std::time::Instant::now();
        let mut stream = TcpStream::connect(&relay.address).expect("it listens");
        stream.set_read_timeout(Some(PATIENCE)).expect("a socket");
        let request =
            format!("GET /health HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n", relay.address);
        stream.write_all(request.as_bytes()).expect("a socket");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("an answer");
        assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
        // Sooner it cannot be; later it may, as late as the machine is busy.
        assert!(began.elapsed().as_millis() >= milliseconds, "{options:?}");
    }
    let jitter = |options: &[&str]| {
        let (_relay, mut stream) = sends(vec![7; 10], options);
        let began = std::time::Instant::now();
        stream.read_exact(&mut [0; 10]).expect("all of it");
        began.elapsed()
    };
    // The same numbers each time, so that what happened happens again.
    assert!(jitter(&["--jitter", "1000"]).as_millis() > 10);
}

#[test]
fn one_bit_is_turned_around_wherever_it_is() {
    for at in [0_usize, 1, 70_000, 99_999] {
        let (_relay, mut stream) = sends(vec![6; 100_000], &["--flip-bit", &at.to_string()]);
        let mut heard = vec![0; 100_000];
        stream.read_exact(&mut heard).expect("all of it");
        let turned: Vec<usize> = (0..heard.len()).filter(|&n| heard[n] != 6).collect();
        assert_eq!((turned, heard[at]), (vec![at], 7));
    }
}

#[test]
fn one_more_than_it_carries_waits_until_another_goes() {
    let serve = Serve::start(&[]);
    let mut relay = Relay::start(&serve, &[]);
    let mut peers: Vec<Peer> = (0..128).map(|_| relay.connect()).collect();
    assert_eq!(
        relay.line(),
        "128 connections, the most that the relay carries: the next one waits until one closes"
    );
    let last = std::thread::scope(|scope| {
        let last = scope.spawn(|| relay.connect());
        assert_eq!(peers[0].send("um").text(), "Echo: um");
        assert_eq!(serve.json("/health")["connections"], 128);
        peers.pop();
        last.join()
    });
    assert_eq!(last.expect("it was let in").send("dois").text(), "Echo: dois");
}

#[test]
fn pongs_are_kept_back_and_the_server_notices() {
    let serve = Serve::start(&["--ping-interval", "1", "--pong-timeout", "1"]);
    let relay = Relay::start(&serve, &["--drop-pong", "--from", "client"]);
    let closed = relay.connect().closed();
    assert_eq!(closed.reason, "RFC 6455 5.5.2: no pong in time");
}

#[test]
fn a_target_that_is_not_there_ends_that_connection_and_is_named() {
    let nobody = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = nobody.local_addr().expect("bound");
    drop(nobody);
    let mut relay = Relay::to(address, &[]);
    let mut stderr = BufReader::new(relay.child.stderr.take().expect("a pipe"));
    for _ in 0..2 {
        let mut stream = TcpStream::connect(&relay.address).expect("it listens");
        let client = stream.local_addr().expect("connected");
        // An end or a reset, but no bytes.
        let mut heard = Vec::new();
        let _ = stream.read_to_end(&mut heard);
        assert_eq!(heard, b"");
        let mut line = String::new();
        stderr.read_line(&mut line).expect("a line");
        assert!(line.starts_with(&format!("error: {address}: ")), "{line}");
        assert!(line.ends_with(&format!("; the connection from {client} is closed\n")), "{line}");
    }
}

#[test]
fn an_address_that_cannot_be_is_one_clear_line() {
    for (listen, target) in
        [("256.0.0.1:1", "127.0.0.1:1"), ("127.0.0.1:0", "no.such.host.invalid:1")]
    {
        let output = framewise(&["relay", listen, target]).output().expect("it runs");
        let error = String::from_utf8(output.stderr).expect("text");
        assert_eq!((output.status.code(), error.lines().count()), (Some(1), 1), "{error}");
        assert!(
            error.contains(if target.contains("invalid") { target } else { listen }),
            "{error}"
        );
    }
}

/// With a pause, each segment is a read of its own. TCP_NODELAY alone is not enough: the segments would pile up at the
/// receiver, and one read would return many. So this receiver is a slow one, which a quick one can be at any time.
#[test]
fn each_slice_is_a_read_of_its_own() {
    for (slice, expected) in [("1", vec![1; 12]), ("5", vec![5, 5, 2])] {
        // A pause that is much longer than the receiver takes for a read, on a busy machine too.
        let options =
            ["--from", "server", "--slice", slice, "--pause", "200", "--limit-data", "12"];
        let (_relay, mut stream) = sends((0..12).collect(), &options);
        let (mut bytes, mut reads, mut buffer) = (Vec::new(), Vec::new(), [0; 1024]);
        loop {
            match stream.read(&mut buffer).expect("an end, not a reset") {
                0 => break,
                count => {
                    bytes.extend_from_slice(&buffer[..count]);
                    reads.push(count);
                    std::thread::sleep(Duration::from_millis(5));
                }
            }
        }
        assert_eq!((reads, bytes), (expected, (0..12).collect()), "--slice {slice}");
    }
}

/// The pause that the help documents: 1 ms, also between the bytes of a client.
#[test]
fn slices_have_a_pause_by_default() {
    let help = framewise(&["relay", "--help"]).output().expect("it runs");
    let help = String::from_utf8(help.stdout).expect("text");
    assert!(help.contains("--pause <MS>") && help.contains("[default: 1]"), "{help}");
    let began = Instant::now();
    let (_relay, mut stream) = sends(vec![7; 300], &["--slice", "1"]);
    stream.read_exact(&mut [0; 300]).expect("all of it");
    assert!(began.elapsed() >= Duration::from_millis(299), "{:?}", began.elapsed());
    // Without slices there is no pause to set.
    let output = framewise(&["relay", "127.0.0.1:0", "127.0.0.1:1", "--pause", "2"]).output();
    let output = output.expect("it runs");
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("--slice"));
}

/// Each fault is one line, printed when it is injected: the client, the direction and the fault.
#[test]
fn each_fault_is_one_line() {
    for (options, faults) in [
        (&["--flip-bit", "250"][..], &["lowest bit of byte 250 flipped: 06 became 07"][..]),
        (&["--limit-data", "200"], &["stream ended after 200 bytes, the rest is discarded"]),
        (&["--reset-after", "200"], &["both connections reset after 200 bytes"]),
        (&["--latency", "20"], &["300 bytes held back for 20 ms"]),
        (&["--rate", "3000"], &["300 bytes slowed to 3000 bytes per second"]),
        (&["--slice", "100", "--pause", "5"], &["300 bytes sliced into 3 segments, 5 ms apart"]),
        (
            &["--limit-data", "300", "--slow-close", "30", "--latency", "7"],
            &[
                "300 bytes held back for 7 ms",
                "stream ended after 300 bytes, the rest is discarded",
                "end of the stream held back for 30 ms",
            ],
        ),
    ] {
        let options = [&["--from", "server"], options].concat();
        let (mut relay, mut stream) = sends(vec![6; 300], &options);
        let client = stream.local_addr().expect("connected");
        for fault in faults {
            assert_eq!(relay.line(), format!("server -> {client}: {fault}"), "{options:?}");
        }
        // The end that was injected is not reported once more as an end that arrives late.
        if options.contains(&"--limit-data") || options.contains(&"--reset-after") {
            let _ = stream.read_to_end(&mut Vec::new());
            drop(stream);
            relay.server.take().expect("a thread").join().expect("it ends with the connection");
            assert_eq!(relay.rest(), "", "{options:?}");
        }
    }
}

/// The line comes while the fault happens, not once it is over: this end of the stream takes an hour.
#[test]
fn a_fault_is_printed_when_it_begins() {
    let options = ["--from", "client", "--lang", "pt", "--slow-close", "3600000"];
    let (mut relay, stream) = sends(vec![7], &options);
    let client = stream.local_addr().expect("connected");
    stream.shutdown(std::net::Shutdown::Write).expect("a socket");
    assert_eq!(relay.line(), format!("{client} -> servidor: fim do fluxo retido por 3600000 ms"));
}

/// The lines tell two clients apart, and a connection without a fault has none.
#[test]
fn the_lines_name_the_client_and_the_direction() {
    let serve = Serve::start(&[]);
    let mut relay = Relay::start(&serve, &["--flip-bit", "300"]);
    let ask = |path: &str| {
        let mut stream = TcpStream::connect(&relay.address).expect("it listens");
        stream.set_read_timeout(Some(PATIENCE)).expect("a socket");
        let request =
            format!("GET {path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n", relay.address);
        stream.write_all(request.as_bytes()).expect("a socket");
        stream.read_to_end(&mut Vec::new()).expect("an answer");
        stream.local_addr().expect("connected")
    };
    // The request and the answer are shorter than 300 bytes, the longer request is not, the page is not.
    ask("/health");
    let long = ask(&format!("/health?{}", "x".repeat(300)));
    let page = ask("/style.css");
    assert_eq!(
        relay.line(),
        format!("{long} -> server: lowest bit of byte 300 flipped: 78 became 79")
    );
    let line = relay.line();
    let expected = format!("server -> {page}: lowest bit of byte 300 flipped: ");
    assert!(line.starts_with(&expected), "{line}");
    assert_eq!(relay.rest(), "");
}

#[test]
fn dropped_pongs_are_reported() {
    let serve = Serve::start(&[]);
    let mut relay = Relay::start(&serve, &["--drop-pong", "--from", "server"]);
    let mut peer = relay.connect();
    assert!(peer.0.ping(b"hello"));
    // The echo comes although the pong before it does not.
    assert_eq!(peer.send("um").text(), "Echo: um");
    let line = relay.line();
    assert!(line.starts_with("server -> 127.0.0.1:"), "{line}");
    assert!(line.ends_with(": pong with 5 bytes of payload dropped"), "{line}");
}

#[test]
fn quiet_prints_no_faults() {
    for quiet in ["-q", "--quiet"] {
        let options = [quiet, "--slice", "50", "--latency", "1", "--limit-data", "200"];
        let (relay, mut stream) = sends(vec![7; 300], &options);
        let mut received = Vec::new();
        stream.read_to_end(&mut received).expect("an end, not a reset");
        assert_eq!(received, [7; 200], "the faults are injected all the same");
        assert_eq!(relay.rest(), "");
    }
}

/// Nobody reads the lines, more than a pipe holds. The bytes pass anyway.
#[test]
fn a_full_stdout_does_not_stop_the_relay() {
    let serve = Serve::start(&["--rate", "0", "--rate-bytes", "0"]);
    let relay = Relay::start(&serve, &["--slice", "1", "--pause", "0"]);
    let mut peer = relay.connect();
    for _ in 0..2_000 {
        assert_eq!(peer.send("x").text(), "Echo: x");
    }
}
