//! Bad input to `framewise serve`: the rows that the library keeps are kept here too, limits as flags included.

mod support;

use std::io::{Read, Write};
use std::net::TcpStream;

use framewise::Closed;
use support::{KEY, PATIENCE, Serve, handshake};

/// What a client hears that sends these bytes in the place of frames.
fn ends_with(serve: &Serve, bytes: &[u8]) -> Closed {
    let mut peer = serve.connect("/ws/events");
    assert!(peer.0.send_raw(bytes).expect("it takes bytes"));
    peer.closed()
}

#[test]
fn a_frame_that_breaks_a_rule_gets_its_code_and_the_others_lose_nothing() {
    let serve = Serve::start(&["--max-message", "1000", "--max-fragments", "3"]);
    let mut witness = serve.connect("/ws/events");
    const M: &[u8] = &[0; 4];
    for (name, bytes, code) in [
        ("F1 unmasked", b"\x81\x02Hi".to_vec(), 1002),
        ("F2 RSV1", [b"\xc1\x80", M].concat(), 1002),
        ("F3 opcode 3", [b"\x83\xff", M].concat(), 1002),
        ("F4 length not minimal", [b"\x81\xfe\x00\x05", M, b"abcde"].concat(), 1002),
        ("F5 top bit of the length", [&b"\x82\xff\x80\0\0\0\0\0\0\0"[..], M].concat(), 1002),
        (
            "F6 2^63-1 announced",
            [&b"\x82\xff\x7f\xff\xff\xff\xff\xff\xff\xff"[..], M].concat(),
            1009,
        ),
        ("F7 one too long", [&b"\x82\xfe\x03\xe9"[..], M, &[0; 1001]].concat(), 1009),
        ("F9 ping of 126", [&b"\x89\xfe\x00\x7e"[..], M, &[0; 126]].concat(), 1002),
        ("F10 fragmented ping", [b"\x09\x80", M].concat(), 1002),
        ("F11 nothing to continue", [b"\x80\x80", M].concat(), 1002),
        (
            "F19 too many fragments",
            [b"\x01\x80", M, b"\x00\x80", M, b"\x00\x80", M, b"\x00\x80", M].concat(),
            1008,
        ),
        ("UTF-8", [b"\x81\x82", M, b"\xc0\xaf"].concat(), 1007),
        ("C2 one byte", [b"\x88\x81", M, b"\x03"].concat(), 1002),
        ("C2 code 1005", [b"\x88\x82", M, b"\x03\xed"].concat(), 1002),
        ("C3 code 4000", [b"\x88\x82", M, b"\x0f\xa0"].concat(), 4000),
    ] {
        let closed = ends_with(&serve, &bytes);
        assert_eq!(closed.code.0, code, "{name}: {closed:?}");
        assert!(code == 4000 || closed.reason.starts_with("RFC 6455 "), "{name}: {closed:?}");
        assert_eq!(witness.send("{}").json()["error"]["code"], "missing_message", "after {name}");
    }
    let metrics = serve.http("/metrics", "");
    assert!(metrics.contains("framewise_violations_total{clause=\""), "{metrics}");
    assert_eq!(serve.json("/health")["connections"], 1);
}

#[test]
fn a_request_that_breaks_a_rule_gets_its_status_and_learns_why() {
    let serve =
        Serve::start(&["--max-request-line", "300", "--max-head", "600", "--max-headers", "8"]);
    let host = serve.address;
    let key = format!("Sec-WebSocket-Key: {KEY}\r\n");
    let upgrade = "Upgrade: websocket\r\nConnection: Upgrade\r\n";
    let base = |line: &str, more: &str| format!("{line}\r\nHost: {host}\r\n{more}\r\n");
    let get = "GET /ws HTTP/1.1";
    for (name, request, status) in [
        ("H2 POST", base("POST /ws HTTP/1.1", upgrade), 405),
        ("H2 unknown method", base("DANCE /ws HTTP/1.1", upgrade), 501),
        ("H3 HTTP/2", base("GET /ws HTTP/2.0", upgrade), 505),
        ("H4 no Host", format!("{get}\r\n{upgrade}\r\n"), 400),
        ("H8 version 8", base(get, &format!("{upgrade}{key}Sec-WebSocket-Version: 8\r\n")), 426),
        ("H9 no key", base(get, &format!("{upgrade}Sec-WebSocket-Version: 13\r\n")), 400),
        ("H10 no colon", base(get, "nonsense\r\n"), 400),
        ("H12 request line", base(&format!("GET /{} HTTP/1.1", "a".repeat(300)), ""), 414),
        ("H12 head", base(get, &format!("X: {}\r\n", "a".repeat(700))), 431),
        ("H12 headers", base(get, &"X: y\r\n".repeat(9)), 431),
        ("H14 a body", base(get, "Content-Length: 3\r\n"), 400),
    ] {
        let answer = serve.raw(&request);
        let found: u16 =
            answer.split(' ').nth(1).and_then(|status| status.parse().ok()).expect(name);
        assert_eq!(found, status, "{name}: {answer}");
        for line in ["\r\nrule: ", "\nsection: ", "\nfound: ", "\nfix: "] {
            assert!(answer.contains(line), "{name}: {answer}");
        }
    }
    assert_eq!(serve.json("/health")["connections"], 0);
}

#[test]
fn deadlines_are_flags() {
    let serve =
        Serve::start(&["--handshake-timeout", "1", "--idle-timeout", "1", "--close-timeout", "1"]);
    // H22: somebody who says nothing.
    let mut silent = TcpStream::connect(serve.address).expect("it listens");
    silent.set_read_timeout(Some(PATIENCE)).expect("a socket");
    assert_eq!(silent.read(&mut [0; 1]).expect("an end"), 0);
    // Somebody who says nothing any more.
    let closed = serve.connect("/ws").closed();
    assert_eq!(closed.code.0, 1001, "{closed:?}");
    // C7: somebody who never answers the Close.
    let mut rude = TcpStream::connect(serve.address).expect("it listens");
    rude.set_read_timeout(Some(PATIENCE)).expect("a socket");
    rude.write_all(handshake("/echo", serve.address, KEY).as_bytes()).expect("a socket");
    let mut heard = Vec::new();
    rude.read_to_end(&mut heard).expect("an end");
    // No byte of the head is that large.
    let close = heard.iter().position(|&byte| byte == 0x88).expect("a Close frame");
    assert_eq!(heard[close + 2..close + 4], 1001_u16.to_be_bytes());
}
