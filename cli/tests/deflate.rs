//! `--deflate` of `framewise serve`, `connect` and `load`: what is agreed, what is shown, and what is refused.

mod support;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::Output;

use framewise::protocol::violation::Violation;
use serde_json::Value;
use support::{KEY, PATIENCE, Serve, framewise, handshake};

/// "Hello", compressed as in RFC 7692 7.2.3.1 and masked with zeros.
const HELLO: &[u8] = b"\xc1\x87\0\0\0\0\xf2\x48\xcd\xc9\xc9\x07\x00";

/// Connects and offers the extension. Returns the socket and the head of the response.
fn offer(serve: &Serve) -> (TcpStream, String) {
    let mut stream = TcpStream::connect(serve.address).expect("it listens");
    stream.set_read_timeout(Some(PATIENCE)).expect("a socket");
    let request = handshake("/echo", serve.address, KEY);
    let offer = "\r\nSec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n\r\n";
    stream.write_all(request.replace("\r\n\r\n", offer).as_bytes()).expect("a socket");
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).expect("a head");
        head.push(byte[0]);
    }
    (stream, String::from_utf8(head).expect("text"))
}

fn answer(head: &str) -> Option<&str> {
    head.lines().find_map(|line| line.strip_prefix("Sec-WebSocket-Extensions: "))
}

fn run(arguments: &[&str]) -> (String, Output) {
    let output = framewise(arguments).output().expect("it runs");
    (String::from_utf8(output.stdout.clone()).expect("text"), output)
}

/// Without the option the bytes stay readable, although a browser offers the extension.
#[test]
fn the_server_compresses_only_if_it_is_asked_to() {
    for (option, expected) in [
        (&[][..], None),
        (&["--deflate", "off"], None),
        (
            &["--deflate", "on"],
            Some("permessage-deflate; server_no_context_takeover; client_no_context_takeover"),
        ),
        (&["--deflate", "takeover"], Some("permessage-deflate")),
    ] {
        let serve = Serve::start(option);
        let (mut stream, head) = offer(&serve);
        assert_eq!(answer(&head), expected, "{option:?}");
        stream.write_all(HELLO).expect("a socket");
        let mut reply = [0; 2];
        stream.read_exact(&mut reply).expect("a frame");
        let first = if expected.is_some() { 0x81 } else { 0x88 };
        assert_eq!(
            reply[0], first,
            "a short reply is not compressed, and without the extension RSV1 is refused"
        );
    }
}

/// A compressed message that is not valid gets 1007 and the rule.
#[test]
fn invalid_data_is_refused_with_the_rule() {
    let (serve, log) = Serve::start_logged(&["--deflate", "on"]);
    let (mut stream, _) = offer(&serve);
    stream.write_all(b"\xc1\x82\0\0\0\0\x07\x00").expect("a socket");
    let mut reply = Vec::new();
    stream.read_to_end(&mut reply).expect("the end");
    let rule = Violation::InvalidDeflate;
    assert_eq!(reply[..4], [0x88, reply.len() as u8 - 2, 0x03, 0xef]);
    assert_eq!(String::from_utf8_lossy(&reply[4..]), rule.reason());
    support::line_with(&log, rule.text());
}

/// The client shows what was agreed, the compressed bytes and the message.
#[test]
fn connect_traces_compressed_messages() {
    let serve = Serve::start(&["--deflate", "takeover"]);
    let url = format!("ws://{}/echo", serve.address);
    let text = "a lesson and a lesson and a lesson and a lesson and a lesson and a lesson";
    for mode in ["on", "takeover"] {
        let (shown, output) =
            run(&["connect", &url, "--deflate", mode, "--trace", "-1", "-x", text]);
        let all = shown + &String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{all}");
        assert!(all.contains("> Sec-WebSocket-Extensions: permessage-deflate"), "{all}");
        assert!(all.contains("< Sec-WebSocket-Extensions: permessage-deflate"), "{all}");
        assert_eq!(all.matches("RSV=100 opcode=1").count(), 2, "{all}");
        assert!(all.contains(&format!("= decompressed (RFC 7692): '{text}'")), "{all}");
        assert!(all.contains(&format!("= decompressed (RFC 7692): 'Echo: {text}'")), "{all}");
        assert!(!all.contains("not read from here on"), "{all}");
    }
}

/// `load` compresses what it sends, and every answer is there.
#[test]
fn load_compresses() {
    for (server, client) in
        [("on", "on"), ("takeover", "takeover"), ("off", "on"), ("takeover", "off")]
    {
        let serve = Serve::start(&["--deflate", server, "--rate", "0", "--rate-bytes", "0"]);
        let url = format!("ws://{}/echo", serve.address);
        let (shown, output) = run(&[
            "load",
            &url,
            "--deflate",
            client,
            "--peers",
            "10",
            "--rate",
            "0",
            "--size",
            "1000",
            "--duration",
            "1",
            "--json",
        ]);
        let report: Value = serde_json::from_str(&shown).expect("JSON");
        assert!(output.status.success(), "{report}");
        assert_eq!(report["sent"], report["received"], "{report}");
        assert_eq!(report["faults"], serde_json::json!({}));
    }
}

/// The fragments of a compressed message are not shown as text; the text follows the last one. A control frame between them has
/// its own.
#[test]
fn explain_decompresses_fragments() {
    let frames = "4103f248cd 890378797a 8004c9c90700 810179";
    let (shown, output) = run(&["explain", "--from", "server", "--deflate", "on", frames]);
    assert!(output.status.success(), "{shown}");
    let quoted: Vec<&str> = shown.lines().filter(|line| line.ends_with('\'')).collect();
    let row = |name: &str, text: &str| format!("    {name:<24} '{text}'");
    let expected = [row("", "xyz"), row("decompressed (RFC 7692)", "Hello"), row("", "y")];
    assert_eq!(quoted, expected, "{shown}");
}

/// `explain` decompresses what comes after a response that agrees to the extension.
#[test]
fn explain_decompresses_after_the_response() {
    let folder = std::env::temp_dir().join(format!("framewise-deflate-{}", std::process::id()));
    let bytes =
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
        Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\
        Sec-WebSocket-Extensions: permessage-deflate\r\n\r\n\
        \xc1\x07\xf2\x48\xcd\xc9\xc9\x07\x00";
    std::fs::write(&folder, bytes).expect("a file");
    let (shown, output) = run(&["explain", folder.to_str().expect("UTF-8")]);
    std::fs::remove_file(&folder).expect("it is there");
    assert!(output.status.success(), "{shown}");
    assert!(shown.contains("RSV1                     1"), "{shown}");
    assert!(shown.contains("    decompressed (RFC 7692)  'Hello'\n=> valid\n"), "{shown}");
}
