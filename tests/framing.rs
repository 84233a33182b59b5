//! RFC 6455 §5: frames, fragments and control frames, as literal bytes over real sockets.

mod support;

use framewise::{Echo, protocol::violation::Violation};
use support::*;

/// Returns the Close frame that the server sends after a violation.
fn broken(violation: Violation) -> Vec<u8> {
    failure(violation.code(), &violation.reason())
}

/// RFC 6455 §5.1-3, §7.1.7-3, §7.1.7-5, §10.7-1, §10.7-3: each row breaks a rule, and the server closes with 1002 and a reason that names the section.
#[test]
fn the_close_reason_names_the_section_of_the_broken_rule() {
    let server = TestServer::echo();
    let rows: &[(&str, &[u8], &str)] = &[
        // F1. RFC 6455 §5.1-2
        ("unmasked", b"\x81\x02Hi", "RFC 6455 5.1: a client must mask every frame"),
        // F2. RFC 6455 §5.2-3, §5.2-9 to §5.2-11
        ("RSV1", b"\xc1\x80\0\0\0\0", "RFC 6455 5.2: RSV bits must be 0 without an extension"),
        ("RSV2", b"\xa1\x80\0\0\0\0", "RFC 6455 5.2: RSV bits must be 0 without an extension"),
        ("RSV3", b"\x91\x80\0\0\0\0", "RFC 6455 5.2: RSV bits must be 0 without an extension"),
        // F4. RFC 6455 §5.2-6
        (
            "5 in two bytes",
            b"\x81\xfe\0\x05\0\0\0\0hello",
            "RFC 6455 5.2: the length must use the fewest bytes",
        ),
        (
            "125 in two bytes",
            b"\x81\xfe\0\x7d\0\0\0\0",
            "RFC 6455 5.2: the length must use the fewest bytes",
        ),
        (
            "5 in eight",
            b"\x81\xff\0\0\0\0\0\0\0\x05\0\0\0\0",
            "RFC 6455 5.2: the length must use the fewest bytes",
        ),
        (
            "65535 in eight",
            b"\x81\xff\0\0\0\0\0\0\xff\xff\0\0\0\0",
            "RFC 6455 5.2: the length must use the fewest bytes",
        ),
        // F9. RFC 6455 §5.5-1
        (
            "ping of 126",
            b"\x89\xfe\0\x7e\0\0\0\0",
            "RFC 6455 5.5: a control frame has at most 125 bytes",
        ),
        (
            "ping in the 127 form",
            b"\x89\xff\0\0\0\0\0\x01\0\0\0\0\0\0",
            "RFC 6455 5.5: a control frame has at most 125 bytes",
        ),
        // F10. RFC 6455 §5.4-2, §5.5-2
        (
            "fragmented ping",
            b"\x09\x80\0\0\0\0",
            "RFC 6455 5.5: a control frame must not be fragmented",
        ),
        (
            "fragmented close",
            b"\x08\x80\0\0\0\0",
            "RFC 6455 5.5: a control frame must not be fragmented",
        ),
        // F11. RFC 6455 §5.4-4, §5.4-12
        (
            "nothing to continue",
            b"\x80\x80\0\0\0\0",
            "RFC 6455 5.4: continuation without a message to continue",
        ),
        (
            "nothing to continue yet",
            b"\0\x80\0\0\0\0",
            "RFC 6455 5.4: continuation without a message to continue",
        ),
        (
            "new text, FIN=1",
            b"\x01\x81\0\0\0\0a\x81\x81\0\0\0\0b",
            "RFC 6455 5.4: new message before the last one ended",
        ),
        (
            "new text, FIN=0",
            b"\x01\x81\0\0\0\0a\x01\x81\0\0\0\0b",
            "RFC 6455 5.4: new message before the last one ended",
        ),
        (
            "new binary",
            b"\x01\x80\0\0\0\0\x82\x80\0\0\0\0",
            "RFC 6455 5.4: new message before the last one ended",
        ),
    ];
    for (name, input, reason) in rows {
        println!("{name}");
        ends_with(&server, input, &failure(1002, reason));
    }
}

/// F3. RFC 6455 §5.2-4: the connection fails at the first byte, whatever length follows.
#[test]
fn a_reserved_opcode_fails_at_its_first_byte() {
    let server = TestServer::echo();
    for opcode in [0x3, 0x4, 0x5, 0x6, 0x7, 0xb, 0xc, 0xd, 0xe, 0xf] {
        let close = broken(Violation::ReservedOpcode);
        ends_with(&server, &[0x80 | opcode], &close);
        ends_with(&server, &[&[0x80 | opcode, 0xff][..], &[0x7f; 8], &[0; 4]].concat(), &close);
    }
}

/// CVE-2026-19204: the opcode is checked before memory is allocated for the announced length.
#[test]
fn cve_2026_19204_a_reserved_opcode_with_a_huge_length() {
    let server = TestServer::echo();
    let input = b"\x83\xff\x7f\xff\xff\xff\xff\xff\xff\xff\0\0\0\0";
    ends_with(&server, input, &broken(Violation::ReservedOpcode));
}

/// F5, CVE-2020-13935, CVE-2026-27889. RFC 6455 §5.2-5: a length with its top bit set is not a negative number.
#[test]
fn cve_2020_13935_and_cve_2026_27889_the_top_bit_of_a_length() {
    let server = TestServer::echo();
    let close = broken(Violation::LengthTopBit);
    ends_with(&server, b"\x82\xff\x80\0\0\0\0\0\0\0\0\0\0\0", &close);
    ends_with(&server, b"\x82\xff\xff\xff\xff\xff\xff\xff\xff\xff\0\0\0\0", &close);
}

/// F6. RFC 6455 §10.4-1: the connection fails at the header, before any payload arrives.
#[test]
fn a_header_with_a_huge_length_fails_at_once() {
    let server = TestServer::echo();
    let close = broken(Violation::MessageTooBig);
    ends_with(&server, b"\x82\xff\x7f\xff\xff\xff\xff\xff\xff\xff\0\0\0\0", &close);
    let wraps = b"\x02\x81\0\0\0\0a\x80\xff\x7f\xff\xff\xff\xff\xff\xff\xff\0\0\0\0";
    ends_with(&server, wraps, &close);
}

/// F7. RFC 6455 §10.4-1, §10.4-2: a message as long as the limit is accepted, one byte more is not.
#[test]
fn the_message_limit_is_exact() {
    let server =
        TestServer::start(any_origin().limits(|limits| limits.max_message = 1000), Echo::default());
    let most = vec![b'x'; 1000];
    answers_with(&server, &frame(0x82, &most), &server_frame(0x82, &most));
    let halves = [frame(0x02, &most[..500]), frame(0x80, &most[500..])].concat();
    answers_with(&server, &halves, &server_frame(0x82, &most));
    let close = broken(Violation::MessageTooBig);
    ends_with(&server, &frame(0x82, &vec![b'x'; 1001]), &close);
    ends_with(&server, &[frame(0x02, &most[..501]), frame(0x80, &most[500..])].concat(), &close);
}

/// F8. RFC 6455 §7.1.1-1: a peer that keeps writing can read the Close, because the server does not reset the
/// connection before.
#[test]
fn a_peer_that_keeps_writing_reads_the_close() {
    let server = TestServer::echo();
    let mut client = Client::open(server.address);
    let mut writer = client.stream.try_clone().expect("a second handle");
    client.send(b"\x82\xff\0\0\0\0\0\x10\0\x01\0\0\0\0");
    let flood = std::thread::spawn(move || {
        for _ in 0..64 {
            if std::io::Write::write_all(&mut writer, &[0; 64 * 1024]).is_err() {
                return false;
            }
        }
        writer.shutdown(std::net::Shutdown::Write).is_ok()
    });
    client.expect_end(&broken(Violation::MessageTooBig));
    assert!(flood.join().expect("the writer ends"), "4 MiB were read without a reset");
    server.is_back_to_baseline();
}

/// F9. RFC 6455 §5.5.2-1, §5.5.2-2: the pong has the payload of the ping.
#[test]
fn pings_of_every_length_are_answered() {
    let server = TestServer::echo();
    for length in [0, 1, 5, 124, 125] {
        let payload: Vec<u8> = (0..length).map(|n| n as u8 | 0x80).collect();
        answers_with(&server, &frame(0x89, &payload), &server_frame(0x8a, &payload));
    }
}

/// F12. RFC 6455 §5.4-3, §5.4-5, §5.4-7, §5.5.2-3: the pong is sent before the message around the ping is complete.
#[test]
fn a_ping_inside_a_message_is_answered_at_once() {
    let server = TestServer::echo();
    let mut client = Client::open(server.address);
    client.send(&[frame(0x01, b"Hel"), frame(0x89, b"?")].concat());
    client.expect(b"\x8a\x01?");
    client.send(&frame(0x80, b"lo"));
    client.expect(b"\x81\x05Hello");
    client.leave();
    let input = [frame(0x01, b"Hel"), frame(0x89, b"?"), frame(0x80, b"lo")].concat();
    answers_with(&server, &input, b"\x8a\x01?\x81\x05Hello");
}

/// F13, CVE-2014-9374, CVE-2018-7287: a message and its fragments may be empty.
#[test]
fn cve_2014_9374_and_cve_2018_7287_empty_messages() {
    let server = TestServer::echo();
    answers_with(&server, &frame(0x81, b""), b"\x81\0");
    answers_with(&server, &frame(0x82, b""), b"\x82\0");
    answers_with(&server, &[frame(0x81, b"a"), frame(0x81, b"")].concat(), b"\x81\x01a\x81\0");
    let fragments = [frame(0x01, b""), frame(0x00, b""), frame(0x80, b"")].concat();
    answers_with(&server, &fragments, b"\x81\0");
}

/// F14. RFC 6455 §5.2-6, §6.2-1, §6.2-7: lengths around the borders of the three forms, with a masking key that is not zero.
#[test]
fn messages_of_every_form_of_length_are_echoed() {
    let server = TestServer::echo();
    let key = [0x37, 0xfa, 0x21, 0x3d];
    for length in [0, 1, 125, 126, 127, 65_535, 65_536, 300_000] {
        let clear: Vec<u8> = (0..length).map(|n| (n % 251) as u8).collect();
        let masked: Vec<u8> = clear.iter().enumerate().map(|(n, byte)| byte ^ key[n % 4]).collect();
        let mut input = frame(0x82, &masked);
        let at = input.len() - length - 4;
        input[at..at + 4].copy_from_slice(&key);
        answers_with(&server, &input, &server_frame(0x82, &clear));
    }
}

/// F14: a message arrives unchanged at whatever byte a read ends.
#[test]
fn a_message_may_be_split_at_every_byte() {
    let server = TestServer::echo();
    let input =
        [frame(0x01, b"Hel"), frame(0x89, b"?"), frame(0x80, b"lo"), frame(0x82, &[7; 126])]
            .concat();
    let output = [&b"\x8a\x01?\x81\x05Hello"[..], &server_frame(0x82, &[7; 126])].concat();
    let mut client = Client::open(server.address);
    for cut in 0..input.len() {
        client.send(&input[..cut]);
        client.send(&input[cut..]);
        client.expect(&output);
    }
    client.leave();
    server.is_back_to_baseline();
}

/// F15. RFC 6455 §5.5.3-2: unsolicited pongs are ignored. Here the rate limit allows a million; `tests/floods.rs` tests
/// what happens beyond it.
#[test]
fn a_million_unsolicited_pongs_are_ignored() {
    let config = any_origin().limits(|limits| limits.max_control_rate = u32::MAX);
    let server = TestServer::start(config, Echo::default());
    let mut client = Client::open(server.address);
    let thousand = frame(0x8a, b"hi").repeat(1000);
    for _ in 0..1000 {
        client.send(&thousand);
    }
    client.send(&frame(0x81, b"still here"));
    client.expect(b"\x81\x0astill here");
    client.leave();
    server.is_back_to_baseline();
}

/// F19, CVE-2026-48779, CVE-2026-12151. RFC 6455 §10.4-2: the number of fragments of a message is limited, not only its
/// length.
#[test]
fn cve_2026_48779_and_cve_2026_12151_the_number_of_fragments_is_limited() {
    let server = TestServer::echo();
    for payload in [&b""[..], b"a"] {
        let most = [frame(0x01, payload), frame(0x00, payload).repeat(4094), frame(0x80, payload)]
            .concat();
        let whole = payload.repeat(4096);
        let mut client = Client::open(server.address);
        client.send(&most);
        client.expect(&server_frame(0x81, &whole));
        client.leave();

        let mut client = Client::open(server.address);
        client.send(&frame(0x01, payload));
        client.send(&frame(0x00, payload).repeat(1_000_000));
        client.expect_end(&broken(Violation::TooManyFragments));
    }
    server.is_back_to_baseline();
}

/// RFC 6455 §5.5.1-8: the replies to messages before a violation are sent before the Close.
#[test]
fn earlier_replies_are_sent_before_the_close() {
    let server = TestServer::echo();
    let input = [frame(0x81, b"one"), frame(0x89, b"two"), b"\x83\x80".to_vec()].concat();
    let output = [&b"\x81\x03one\x8a\x03two"[..], &broken(Violation::ReservedOpcode)].concat();
    ends_with(&server, &input, &output);
}
