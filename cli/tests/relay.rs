//! `framewise relay`: what passes, what is spoiled, and that echo survives it.

mod support;

use std::io::{BufRead, BufReader};
use std::process::{Child, Stdio};

use framewise::net::connect::ConnectError;
use framewise::protocol::handshake::client::ClientRequest;
use framewise::protocol::url::Url;
use framewise::{Client, CloseCode, Config};
use support::{Peer, Serve, framewise};

struct Relay {
    child: Child,
    address: String,
}

impl Relay {
    fn start(serve: &Serve, options: &[&str]) -> Relay {
        let mut command = framewise(&["relay", "127.0.0.1:0", &serve.address.to_string()]);
        let mut child = command
            .args(options)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
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
        Client::open(&ClientRequest::new(url), Config::default(), ()).map(Peer)
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
    // The request takes its length; the second byte of the first frame says how long it is, and its lowest
    // bit is turned around: the server waits for one byte more, which never comes, or takes one of the next.
    let plain = Relay::start(&serve, &["--from", "client", "--flip-bit", "0"]);
    // 'G' becomes 'F': FET is no method.
    match plain.try_connect() {
        Err(ConnectError::Rejected(rejected)) => {
            let answer = String::from_utf8_lossy(&rejected.answer).into_owned();
            assert!(
                answer.starts_with("HTTP/1.1 501 ") && answer.contains("found: FET"),
                "{answer}"
            );
        }
        other => panic!("a refusal was due, not {:?}", other.map(|_| "a connection")),
    }
}

#[test]
fn a_stream_ends_or_is_reset_where_it_was_asked_for() {
    let serve = Serve::start(&[]);
    for option in ["--limit-data", "--reset-after"] {
        let relay = Relay::start(&serve, &["--from", "server", option, "200"]);
        let mut peer = relay.connect();
        // The answer to the handshake is shorter than that, the echoes are not.
        for _ in 0..20 {
            if !peer.0.send(framewise::Message::Text("0123456789")).unwrap_or(false) {
                break;
            }
        }
        let closed = peer.closed();
        assert_eq!(closed.code, CloseCode::ABNORMAL, "{option}: {closed:?}");
    }
}

#[test]
fn pongs_are_kept_back_and_the_server_notices() {
    let serve = Serve::start(&["--ping-interval", "1", "--pong-timeout", "1"]);
    let relay = Relay::start(&serve, &["--drop-pong", "--from", "client"]);
    let closed = relay.connect().closed();
    assert_eq!(closed.reason, "RFC 6455 5.5.2: no pong in time");
}

#[test]
fn a_target_that_is_not_there_is_an_error_of_that_connection() {
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = nobody.local_addr().expect("bound").to_string();
    drop(nobody);
    let output = framewise(&["relay", "256.0.0.1:1", &address]).output().expect("it runs");
    assert_eq!(output.status.code(), Some(1));
}
