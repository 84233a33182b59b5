//! `framewise relay`: what passes, what is spoiled, and that echo survives it.

mod support;

use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Stdio};

use framewise::ClientRequest;
use framewise::ConnectError;
use framewise::Url;
use framewise::{Client, CloseCode, Config};
use support::{PATIENCE, Peer, Serve, framewise};

struct Relay {
    child: Child,
    address: String,
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
        let stdout = child.stdout.take().expect("a pipe");
        BufReader::new(stdout).read_line(&mut line).expect("a line");
        let address = line.split(' ').nth(1).expect("an address").to_owned();
        Relay { child, address }
    }

    fn try_connect(&self) -> Result<Peer, ConnectError> {
        let url = Url::parse(&format!("ws://{}/echo", self.address)).expect("a URL");
        // The Host has to be one that the server knows.
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

/// A server that says these bytes and hears nothing until the client is gone, and a stream to it through a relay.
fn says(bytes: Vec<u8>, options: &[&str]) -> (Relay, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let relay = Relay::to(listener.local_addr().expect("bound"), options);
    std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("the relay connects");
        // The relay may end the connection before all of it was taken.
        let _ = stream.write_all(&bytes);
        let _ = stream.read(&mut [0]);
    });
    let stream = TcpStream::connect(&relay.address).expect("it listens");
    stream.set_read_timeout(Some(PATIENCE)).expect("a socket");
    (relay, stream)
}

#[test]
fn a_stream_ends_where_it_was_asked_for() {
    let (_relay, mut stream) = says(vec![7; 300], &["--from", "server", "--limit-data", "200"]);
    let mut heard = Vec::new();
    stream.read_to_end(&mut heard).expect("an end, not a reset");
    assert_eq!(heard, [7; 200]);
}

#[test]
fn a_reset_comes_with_no_end_before_it() {
    // Slices, so that more is waiting when it comes.
    for options in [&["--reset-after", "200"][..], &["--reset-after", "1", "--slice", "1"]] {
        let (_relay, mut stream) = says(vec![7; 300], options);
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
        &["--slice", "7", "--slow-close", "10", "--latency", "1"],
    ] {
        let (_relay, mut stream) = says(bytes.clone(), options);
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
        let request = format!("GET /health HTTP/1.1\r\nHost: {}\r\n\r\n", relay.address);
        stream.write_all(request.as_bytes()).expect("a socket");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("an answer");
        assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
        // Sooner it cannot be; later it may, as late as the machine is busy.
        assert!(began.elapsed().as_millis() >= milliseconds, "{options:?}");
    }
    let jitter = |options: &[&str]| {
        let (_relay, mut stream) = says(vec![7; 10], options);
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
        let (_relay, mut stream) = says(vec![6; 100_000], &["--flip-bit", &at.to_string()]);
        let mut heard = vec![0; 100_000];
        stream.read_exact(&mut heard).expect("all of it");
        let turned: Vec<usize> = (0..heard.len()).filter(|&n| heard[n] != 6).collect();
        assert_eq!((turned, heard[at]), (vec![at], 7));
    }
}

#[test]
fn one_more_than_it_carries_waits_until_another_goes() {
    let serve = Serve::start(&[]);
    let relay = Relay::start(&serve, &[]);
    let mut peers: Vec<Peer> = (0..128).map(|_| relay.connect()).collect();
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
        // An end or a reset, but nothing said.
        let mut heard = Vec::new();
        let _ = stream.read_to_end(&mut heard);
        assert_eq!(heard, b"");
        let mut line = String::new();
        stderr.read_line(&mut line).expect("a line");
        assert!(line.starts_with(&format!("error: {address}: ")), "{line}");
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
