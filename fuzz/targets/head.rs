//! A request head, in one piece and in several, and the response to it.
#![no_main]

use framewise::Decision;
use framewise::config::{Config, KeyPolicy, ValidConfig};
use framewise::internal::HeadReader;
use framewise::protocol::connection::{Connection, Event, State};
use framewise::protocol::refusal::Refusal;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: (u8, Vec<u8>)| {
    let (seed, bytes) = input;
    let policy = if seed & 1 == 0 { KeyPolicy::Strict } else { KeyPolicy::Lenient };
    let config = Config::default().handshake(|handshake| handshake.keys = policy);
    let config = config.validate().expect("valid");

    let whole = read(&bytes, bytes.len().max(1), &config);
    for step in [1, 2 + usize::from(seed)] {
        assert_eq!(read(&bytes, step, &config), whole, "in steps of {step}");
    }
    let Some((_, taken)) = whole else {
        assert!(bytes.len() <= config.limits.max_head);
        return;
    };
    assert!(taken <= bytes.len() && taken <= config.limits.max_head + 1);

    let mut connection = Connection::server(config);
    let mut copy = bytes.clone();
    let Some(Event::Request(head)) = connection.next(&mut copy.as_mut_slice()) else {
        panic!("a complete head is a request")
    };
    connection.decide(&head, Some(0), |_| Decision::Accept(()));
    let response = connection.output_mut().take();
    let end = response.windows(4).position(|four| four == b"\r\n\r\n").expect("a complete head");
    let text = std::str::from_utf8(&response[..end]).expect("the head of a response is ASCII");
    let mut lines = text.split("\r\n");
    let status = lines.next().expect("a status line").strip_prefix("HTTP/1.1 ").expect("HTTP/1.1");
    assert_eq!(connection.state() == State::Open, status.starts_with("101 "));
    // No part of the request becomes a header field of the response (CVE-2026-47072).
    for line in lines {
        let name = line.split(": ").next().expect("a name");
        assert!(KNOWN.contains(&name) && !line.contains(['\r', '\n', '\0']), "{line:?}");
    }
});

const KNOWN: &[&str] = &[
    "Allow",
    "Connection",
    "Content-Language",
    "Content-Length",
    "Content-Type",
    "Date",
    "Framewise-Note",
    "Sec-WebSocket-Accept",
    "Sec-WebSocket-Version",
    "Upgrade",
    "Vary",
];

/// Reads a head in pieces of `step` bytes. Returns the head or the refusal, and how many bytes were examined, or `None`
/// if the head is incomplete.
fn read(
    bytes: &[u8],
    step: usize,
    config: &ValidConfig,
) -> Option<(Result<Vec<u8>, Refusal>, usize)> {
    let mut reader = HeadReader::default();
    for piece in bytes.chunks(step) {
        let mut copy = piece.to_vec();
        match reader.read(&mut copy.as_mut_slice(), config) {
            Ok(None) => {}
            Ok(Some(head)) => return Some((Ok(head.into_owned()), reader.examined())),
            Err(refusal) => return Some((Err(refusal), reader.examined())),
        }
    }
    None
}
