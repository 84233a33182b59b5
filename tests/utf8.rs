//! RFC 6455 §8.1, §5.6: a text message is UTF-8 as a whole, wherever frames and reads split it.

mod support;

use support::*;

const TEXT: &str = "κόσμε😀";

fn invalid() -> Vec<u8> {
    failure(1007, "RFC 6455 8.1: text must be valid UTF-8")
}

/// RFC 6455 §5.6-1: a code point may be split between fragments.
#[test]
fn text_may_be_split_between_frames_at_every_byte() {
    let server = TestServer::echo();
    let bytes = TEXT.as_bytes();
    let echo = server_frame(0x81, bytes);
    answers_with(&server, &frame(0x81, bytes), &echo);
    for cut in 0..=bytes.len() {
        let input = [frame(0x01, &bytes[..cut]), frame(0x80, &bytes[cut..])].concat();
        answers_with(&server, &input, &echo);
    }
    let bytewise: Vec<u8> = bytes.iter().flat_map(|&byte| frame(0x00, &[byte])).collect();
    let input = [frame(0x01, b""), bytewise, frame(0x80, b"")].concat();
    answers_with(&server, &input, &echo);
}

#[test]
fn text_may_be_split_between_reads_at_every_byte() {
    let server = TestServer::echo();
    let input = frame(0x81, TEXT.as_bytes());
    let mut client = Client::open(server.address);
    for cut in 0..=input.len() {
        client.send(&input[..cut]);
        client.send(&input[cut..]);
        client.expect(&server_frame(0x81, TEXT.as_bytes()));
    }
    client.leave();
    server.is_back_to_baseline();
}

/// Bytes that are not UTF-8, whatever follows them.
const INVALID: [&[u8]; 8] = [
    b"\xc0\xaf",
    b"\xed\xa0\x80",
    b"\xf4\x90\x80\x80",
    b"\x80",
    b"\xfe",
    b"fine so far \xff",
    b"\xe2\x28\xa1",
    b"\xf0\x80\x80\x80",
];

/// RFC 6455 §8.1-1
#[test]
fn invalid_text_fails_with_1007() {
    let server = TestServer::echo();
    for bytes in INVALID {
        ends_with(&server, &frame(0x81, bytes), &invalid());
    }
}

/// RFC 6455 §8.1-1: the last code point of the message is incomplete.
#[test]
fn truncated_text_fails_when_the_message_ends() {
    let server = TestServer::echo();
    for cut in [1, 3, 11, 12, 13] {
        let bytes = &TEXT.as_bytes()[..cut];
        ends_with(&server, &frame(0x81, bytes), &invalid());
        ends_with(&server, &[frame(0x01, bytes), frame(0x80, b"")].concat(), &invalid());
    }
}

/// The connection fails at the invalid byte, not at the end of its frame or message.
#[test]
fn an_invalid_byte_fails_before_its_message_ends() {
    let server = TestServer::echo();
    for bytes in INVALID {
        // The rest of the frame is never sent.
        let mut unfinished = frame(0x81, &[bytes, &[b'x'; 60]].concat());
        unfinished.truncate(unfinished.len() - 50);
        ends_with(&server, &unfinished, &invalid());
        // The frame is complete, the message is not.
        ends_with(&server, &frame(0x01, bytes), &invalid());
        ends_with(
            &server,
            &[frame(0x01, TEXT.as_bytes()), frame(0x00, bytes)].concat(),
            &invalid(),
        );
    }
}

#[test]
fn the_same_bytes_as_binary_are_echoed() {
    let server = TestServer::echo();
    for bytes in INVALID {
        answers_with(&server, &frame(0x82, bytes), &server_frame(0x82, bytes));
    }
}

/// RFC 6455 §5.4-1: a control frame may arrive between two fragments that split a code point.
#[test]
fn a_ping_between_two_fragments_of_a_code_point() {
    let server = TestServer::echo();
    let bytes = TEXT.as_bytes();
    for cut in 1..bytes.len() {
        let input =
            [frame(0x01, &bytes[..cut]), frame(0x89, b"\xff"), frame(0x80, &bytes[cut..])].concat();
        let output = [&b"\x8a\x01\xff"[..], &server_frame(0x81, bytes)].concat();
        answers_with(&server, &input, &output);
    }
}
