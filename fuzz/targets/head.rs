//! A request head, whole and in pieces, and the answer that it gets.
#![no_main]

use framewise::config::{Config, KeyPolicy, ValidConfig};
use framewise::protocol::handshake::server::{Answer, Outcome, respond};
use framewise::protocol::http::head::HeadReader;
use framewise::protocol::refusal::Refusal;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: (u8, Vec<u8>)| {
    let (seed, bytes) = input;
    let policy = if seed & 1 == 0 { KeyPolicy::Strict } else { KeyPolicy::Lenient };
    let config = Config { key_policy: policy, ..Config::default() };
    let config = config.validate().expect("valid");

    let whole = read(&bytes, bytes.len().max(1), &config);
    for step in [1, 2 + usize::from(seed)] {
        assert_eq!(read(&bytes, step, &config), whole, "in steps of {step}");
    }
    let Some((head, taken)) = whole else {
        assert!(bytes.len() <= config.max_head);
        return;
    };
    assert!(taken <= bytes.len() && taken <= config.max_head + 1);

    let (answer, outcome) = respond(head.as_deref(), &config, Some(0), |_| Answer::Accept);
    let end = answer.windows(4).position(|four| four == b"\r\n\r\n").expect("a whole head");
    let text = std::str::from_utf8(&answer[..end]).expect("an answer's head is ASCII");
    let mut lines = text.split("\r\n");
    let status = lines.next().expect("a status line").strip_prefix("HTTP/1.1 ").expect("HTTP/1.1");
    assert_eq!(matches!(outcome, Outcome::Opened(_)), status.starts_with("101 "));
    // Nothing of the request becomes a line of the answer (CVE-2026-47072).
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

/// The head, or why there is none, and how many bytes that took; `None` while more are needed.
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
