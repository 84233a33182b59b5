//! RFC 6455 §4: the opening handshake, as literal bytes over real sockets.

mod support;

use std::net::SocketAddr;
use std::time::Duration;

use framewise::config::{Config, KeyPolicy, OriginPolicy, OriginRule};
use framewise::{
    Application, Decision, Dispatcher, Echo, Message, Opened, Outbox, Request, Response, Tcp,
};
use support::{Answer as Reply, *};

/// Returns the valid request with one header line replaced, or left out if `line` is empty.
fn with(name: &str, line: &str) -> Vec<u8> {
    let text = String::from_utf8(request("")).expect("ASCII");
    let (mut replaced, mut kept) = (false, String::new());
    for original in text.split_inclusive("\r\n") {
        if original.starts_with(&format!("{name}: ")) {
            replaced = true;
            kept += line;
            kept += if line.is_empty() { "" } else { "\r\n" };
        } else {
            kept += original;
        }
    }
    assert!(replaced, "the valid request has a {name}");
    kept.into_bytes()
}

/// Returns the valid request with another first line.
fn first_line(line: &str) -> Vec<u8> {
    let text = String::from_utf8(request("")).expect("ASCII");
    text.replacen("GET / HTTP/1.1", line, 1).into_bytes()
}

/// Sends a request, split in every way, and expects a refusal with its four lines. Returns the last response.
#[track_caller]
fn refused<A: Application + Send + 'static>(
    server: &TestServer<A>,
    input: &[u8],
    status: u16,
) -> Reply {
    let mut last = None;
    for how in How::all(input.len()) {
        let mut client = Client::connect(server.address);
        client.send_as(how, input);
        let answer = client.answer();
        assert_eq!(answer.status, status, "{how:?} {}: {}", show(input), answer.body);
        assert_eq!(answer.header("Content-Type"), "text/plain; charset=utf-8");
        assert_eq!(answer.header("Content-Length"), answer.body.len().to_string());
        assert_eq!(
            (answer.header("Content-Language"), answer.header("Vary")),
            ("en", "Accept-Language")
        );
        assert!(answer.header("Date").ends_with(" GMT"));
        let connection = if status == 426 { "Upgrade, close" } else { "close" };
        assert_eq!(answer.header("Connection"), connection);
        let labels: Vec<&str> =
            answer.body.lines().filter_map(|line| Some(line.split_once(": ")?.0)).collect();
        assert_eq!(labels, ["rule", "section", "found", "fix"]);
        last = Some(answer);
    }
    server.is_back_to_baseline();
    last.expect("three ways")
}

/// Sends a request, split in every way, and expects 101 and an echo. Returns the last response.
#[track_caller]
fn accepted<A: Application + Send + 'static>(server: &TestServer<A>, input: &[u8]) -> Reply {
    let mut last = None;
    for how in How::all(input.len()) {
        let mut client = Client::connect(server.address);
        client.send_as(how, input);
        client.send(&[frame(0x81, b"hi"), frame(0x88, b"")].concat());
        let bytes = client.read_to_end();
        let head = bytes.strip_suffix(b"\x81\x02hi\x88\0");
        let head = head.unwrap_or_else(|| panic!("{how:?} {}: {}", show(input), show(&bytes)));
        let answer = Reply::parse(head);
        assert_eq!((answer.status, answer.header("Sec-WebSocket-Accept")), (101, ACCEPT));
        last = Some(answer);
    }
    server.is_back_to_baseline();
    last.expect("three ways")
}

/// H1. RFC 6455 §4.2.2-1, §4.2.2-12: the response, byte for byte.
#[test]
fn the_example_of_the_standard() {
    let server = TestServer::echo();
    for how in How::all(200) {
        let mut client = Client::connect(server.address);
        client.send_as(how, &request(""));
        client.expect(SWITCHING);
        client.leave();
    }
    server.is_back_to_baseline();
}

/// H2. RFC 6455 §4.1-20, §4.2.1-1, §7.2.2-1, §10.7-4
#[test]
fn methods() {
    let server = TestServer::echo();
    for method in ["POST", "PUT", "DELETE", "OPTIONS", "PATCH", "TRACE", "CONNECT"] {
        let answer = refused(&server, &first_line(&format!("{method} / HTTP/1.1")), 405);
        assert_eq!(answer.header("Allow"), "GET, HEAD");
    }
    refused(&server, &first_line("BREW / HTTP/1.1"), 501);
    refused(&server, &first_line("get / HTTP/1.1"), 501);
}

/// H3. RFC 6455 §4.1-21
#[test]
fn versions_of_http() {
    let server = TestServer::echo();
    refused(&server, &first_line("GET / HTTP/1.0"), 400);
    refused(&server, &first_line("GET / HTTP/2.0"), 505);
    refused(&server, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505);
    refused(&server, &first_line("GET / HTTP/1.1 "), 400);
    refused(&server, &first_line("GET /"), 400);
}

/// H4, H5. RFC 6455 §4.2.1-1, §4.1-22, §4.1-23
#[test]
fn hosts_and_targets() {
    let server = TestServer::echo();
    refused(&server, &with("Host", ""), 400);
    refused(&server, &with("Host", "Host: a\r\nHost: a"), 400);
    refused(&server, &with("Host", "Host: a b"), 400);
    for target in ["http://h/chat", "https://h:99/chat", "HTTP://h", "/chat?x=%0d%0a", "//x"] {
        accepted(&server, &first_line(&format!("GET {target} HTTP/1.1")));
    }
    for target in ["ws://h/chat", "*", "h:80", "http://", "http://u@h/", "chat", "/a#b", "/\u{e9}"]
    {
        refused(&server, &first_line(&format!("GET {target} HTTP/1.1")), 400);
    }
}

/// H5, H19: an absolute target has the same path, and the query stays percent-encoded.
#[test]
fn the_dispatcher_sees_the_path_as_sent() {
    struct Route;
    impl Dispatcher for Route {
        fn on_open(&mut self, outbox: &mut Outbox<'_>, opened: &Opened<'_>) {
            let seen = format!(
                "{} {} {:?}",
                opened.request.host(),
                opened.request.path(),
                opened.request.query()
            );
            outbox.reply(Message::from(&seen));
        }
        fn on_message(&mut self, _: &mut Outbox<'_>, _: Message<'_>) {}
    }
    let server = TestServer::start(any_origin(), Route);
    for (line, seen) in [
        ("GET /chat?a=%0d%0aX:1 HTTP/1.1", "localhost /chat Some(\"a=%0d%0aX:1\")"),
        ("GET http://other:1/chat HTTP/1.1", "other:1 /chat None"),
    ] {
        let mut client = Client::connect(server.address);
        client.send(&first_line(line));
        client.expect(&[SWITCHING, &server_frame(0x81, seen.as_bytes())].concat());
        client.leave();
    }
}

/// H6: a plain GET gets 426 if the server only serves WebSockets. The response to HEAD has no body.
#[test]
fn a_plain_get_gets_426() {
    let server = TestServer::echo();
    let answer = refused(&server, b"GET / HTTP/1.1\r\nHost: h\r\n\r\n", 426);
    assert_eq!(answer.header("Upgrade"), "websocket");
    assert_eq!(answer.header("Sec-WebSocket-Version"), "13");
    assert_eq!(answer.taught("section"), "RFC 9110 15.5.22");
    refused(&server, b"GET / HTTP/1.0\r\n\r\n", 426);
    let mut client = Client::connect(server.address);
    client.send(b"HEAD / HTTP/1.1\r\nHost: h\r\n\r\n");
    let head = client.answer();
    assert_eq!((head.status, head.body.as_str()), (426, ""));
    assert_eq!(head.header("Content-Length"), answer.body.len().to_string());
}

/// RFC 9110 7.8: a server ignores an upgrade to a protocol that it does not want. Only a request that asks for `websocket`,
/// or has a field of the handshake, is a handshake; `Connection` alone makes none.
#[test]
fn other_upgrades_are_plain_requests() {
    let server = TestServer::start(any_origin(), Site);
    let get = "GET /page HTTP/1.1\r\nHost: h\r\n";
    for plain in [
        // curl --http2, and the HTTP client of the JDK
        "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAoAAAAAIAAAAA\r\n",
        // a proxy that adds the option to every request
        "Connection: upgrade\r\n",
        "Connection: Upgrade\r\nUpgrade: TLS/1.0\r\n",
        "Connection: keep-alive, Upgrade\r\nUpgrade: websockets, h2c\r\n",
        "Upgrade: \r\n",
        "Sec-Web: 1\r\nX-Sec-WebSocket-Key: a\r\n",
    ] {
        let request = format!("{get}{plain}\r\n");
        for how in How::all(request.len()) {
            let mut client = Client::connect(server.address);
            client.send_as(how, request.as_bytes());
            let answer = client.response();
            assert_eq!((answer.status, answer.body.as_str()), (200, "<p>olá</p>"), "{plain:?}");
        }
    }
    for handshake in
        ["Upgrade: h2c, WebSocket\r\n", "Sec-WebSocket-Protocol: a\r\n", "sec-websocket-x: a\r\n"]
    {
        refused(&server, format!("{get}{handshake}\r\n").as_bytes(), 400);
    }
    // Without a Host it is still a plain request of HTTP/1.0.
    let mut client = Client::connect(server.address);
    client.send(b"GET /page HTTP/1.0\r\nConnection: upgrade\r\n\r\n");
    assert_eq!(client.answer().status, 200);
}

/// RFC 9112 2.2: a server skips an empty line before the request line. More than four of them are refused.
#[test]
fn empty_lines_before_a_request_are_skipped() {
    let server = TestServer::echo();
    for lines in 1..=4 {
        accepted(&server, &["\r\n".repeat(lines).as_bytes(), &request("")].concat());
    }
    refused(&server, &["\r\n".repeat(5).as_bytes(), &request("")].concat(), 400);
    refused(&server, &[b"\n", &request("")[..]].concat(), 400);
    refused(&server, &[b"\r\n \r\n", &request("")[..]].concat(), 400);
    // The method and the language are those of the request after them.
    let mut client = Client::connect(server.address);
    client.send(b"\r\nHEAD / HTTP/1.1\r\nHost: h\r\nAccept-Language: pt\r\n\r\n");
    client.finish();
    let head = String::from_utf8(client.read_to_end()).expect("ASCII");
    assert!(head.contains("Content-Language: pt\r\n") && head.ends_with("\r\n\r\n"), "{head}");
}

/// The refusal of a plain GET shows the address that the client should have used.
#[test]
fn a_426_names_the_host_and_the_path_of_the_request() {
    let server = TestServer::echo();
    let fix = |head: &str| {
        let mut client = Client::connect(server.address);
        client.send(head.as_bytes());
        client.answer().taught("fix").to_owned()
    };
    let command = "connect with a WebSocket client, for example: wscat -c";
    let asked = fix("GET /chat?room=7a HTTP/1.1\r\nHost: example.org:9001\r\n\r\n");
    assert_eq!(asked, format!("{command} ws://example.org:9001/chat?room=7a"));
    let absolute = fix("GET http://[::1]:81 HTTP/1.1\r\nHost: other\r\n\r\n");
    assert_eq!(absolute, format!("{command} ws://[::1]:81/"));
    let without_host = fix("GET /x HTTP/1.0\r\n\r\n");
    assert_eq!(without_host, format!("{command} ws://HOST:PORT/x"));
    let long = fix(&format!("GET /{} HTTP/1.1\r\nHost: h\r\n\r\n", "x".repeat(3_000)));
    assert_eq!(long, format!("{command} ws://h/{}...", "x".repeat(70)));
}

/// H7. RFC 6455 §4.1-24 to §4.1-27
#[test]
fn upgrade_and_connection_are_lists() {
    let server = TestServer::echo();
    accepted(&server, &with("Upgrade", "Upgrade: WebSocket, foo"));
    accepted(&server, &with("Connection", "Connection: keep-alive, Upgrade"));
    accepted(&server, &with("Connection", "Connection: keep-alive\r\nconnection:UPGRADE"));
    refused(&server, &with("Connection", "Connection: keep-alive"), 400);
    refused(&server, &with("Connection", ""), 400);
    refused(&server, &with("Upgrade", "Upgrade: websockets"), 400);
    refused(&server, &with("Upgrade", ""), 400);
}

/// H8. RFC 6455 §4.1-33, §4.1-34, §4.4-1, §4.2.2-6, §11.3.5-2
#[test]
fn versions_of_websocket() {
    let server = TestServer::echo();
    for version in ["8", "14", "0", "13, 8", "013", "", "x"] {
        let line = format!("Sec-WebSocket-Version: {version}");
        let answer = refused(&server, &with("Sec-WebSocket-Version", &line), 426);
        assert_eq!(
            (answer.header("Sec-WebSocket-Version"), answer.header("Upgrade")),
            ("13", "websocket")
        );
    }
    refused(&server, &with("Sec-WebSocket-Version", ""), 426);
    let twice = "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Version: 13";
    refused(&server, &with("Sec-WebSocket-Version", twice), 400);
}

/// H9. RFC 6455 §4.1-28, §4.1-29, §11.3.1-1
#[test]
fn keys() {
    let server = TestServer::echo();
    for (key, found) in [
        ("MTIzNDU2Nzg5MDEyMzQ1", "a key of 15 bytes"),
        ("MTIzNDU2Nzg5MDEyMzQ1Njc=", "a key of 17 bytes"),
        ("", "a key of 0 bytes"),
        ("not base64", "not base64"),
        ("dGhlIHNhbXBsZSBub25jZQ", "dGhlIHNhbXBsZSBub25jZQ"),
    ] {
        let line = format!("Sec-WebSocket-Key: {key}");
        let answer = refused(&server, &with("Sec-WebSocket-Key", &line), 400);
        assert_eq!(answer.taught("found"), found);
    }
    refused(&server, &with("Sec-WebSocket-Key", ""), 400);
    let twice = format!("Sec-WebSocket-Key: {KEY}\r\nSec-WebSocket-Key: {KEY}");
    refused(&server, &with("Sec-WebSocket-Key", &twice), 400);
}

/// A lenient server accepts the key of 13 bytes of a well-known `curl` command, and adds a header field that explains
/// the error.
#[test]
fn a_lenient_server_explains_the_error_and_accepts_the_key() {
    let config = any_origin().handshake(|handshake| handshake.keys = KeyPolicy::Lenient);
    let server = TestServer::start(config, Echo::default());
    let mut client = Client::connect(server.address);
    client.send(&with("Sec-WebSocket-Key", "Sec-WebSocket-Key: SGVsbG8sIHdvcmxkIQ=="));
    client.expect(
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
          Sec-WebSocket-Accept: qGEgH3En71di5rrssAZTmtRTyFk=\r\nFramewise-Note: Sec-WebSocket-Key \
          decodes to 13 bytes; RFC 6455 section 4.2.1 asks for 16\r\n\r\n",
    );
    client.leave();
    for (line, name) in
        [("", "absent"), ("Sec-WebSocket-Key: ?", "not base64"), ("Sec-WebSocket-Key: ", "empty")]
    {
        println!("{name}");
        refused(&server, &with("Sec-WebSocket-Key", line), 400);
    }
}

/// H10: malformed lines of a head are refused.
#[test]
fn malformed_lines() {
    let server = TestServer::echo();
    let lines = [
        "A: b\nC: d",
        "A: b\rc",
        "A: b\r\n folded",
        " A: b",
        "A : b",
        "A: b\0",
        "A: \x1b[2J",
        ": b",
        "no colon",
        "A\tb: c",
    ];
    for line in lines {
        refused(&server, &request(&format!("{line}\r\n")), 400);
    }
    let bare = String::from_utf8(request("")).expect("ASCII").replace("\r\n", "\n");
    refused(&server, bare.as_bytes(), 400);
}

/// H11: non-ASCII bytes are allowed in a value and refused in a name.
#[test]
fn non_ascii_bytes() {
    let server = TestServer::echo();
    let line = |bytes: &[u8]| {
        let mut head = request("");
        head.truncate(head.len() - 2);
        [&head, bytes, b"\r\n\r\n"].concat()
    };
    accepted(&server, &line(b"X: \x80\xfe\xff"));
    refused(&server, &line(b"X\xc3\xa9: y"), 400);
}

/// H12. CVE-2024-37890: a request with more header fields than the limit is refused. The fields beyond it are not
/// dropped, because one of them may be Upgrade.
#[test]
fn cve_2024_37890_limits_of_the_head() {
    let server = TestServer::echo();
    let long = |length: usize| first_line(&format!("GET /{} HTTP/1.1", "a".repeat(length - 14)));
    accepted(&server, &long(4096));
    refused(&server, &long(4097), 414);

    let filled = |size: usize| {
        let empty = request("A: \r\n").len();
        request(&format!("A: {}\r\n", "a".repeat(size - empty)))
    };
    accepted(&server, &filled(32 * 1024));
    refused(&server, &filled(32 * 1024 + 1), 431);

    // The valid request has five header fields.
    accepted(&server, &request(&"A: b\r\n".repeat(59)));
    refused(&server, &request(&"A: b\r\n".repeat(60)), 431);
    let upgrade_last = format!(
        "GET / HTTP/1.1\r\nHost: h\r\n{}Upgrade: websocket\r\n\r\n",
        "A: b\r\n".repeat(2000)
    );
    refused(&server, upgrade_last.as_bytes(), 431);
}

/// H13: a head that exceeds the limit is refused at once, although the client keeps writing.
#[test]
fn an_endless_header_is_refused_while_it_is_sent() {
    let server = TestServer::echo();
    let mut client = Client::connect(server.address);
    client.send(b"GET / HTTP/1.1\r\nHost: h\r\nA: ");
    for _ in 0..8 * 1024 {
        client.send(&[b'a'; 1024]);
    }
    client.finish();
    assert_eq!(client.answer().status, 431);
    server.is_back_to_baseline();
}

/// H14: a request with a body is refused, and a request inside that body is not processed.
#[test]
fn smuggled_requests() {
    let server = TestServer::echo();
    let inner = "GET / HTTP/1.1\r\nHost: h\r\n\r\n";
    for lines in [
        "Content-Length: 30\r\n",
        "Transfer-Encoding: chunked\r\n",
        "Content-Length: 30\r\nTransfer-Encoding: chunked\r\n",
        "Content-Length: +1\r\n",
        "Content-Length: 0\r\nContent-Length: 0\r\n",
        "Content-Length: 00\r\n",
    ] {
        // There is one response: `refused` reads to the end and compares the length of the body.
        refused(&server, &[request(lines), inner.into()].concat(), 400);
    }
    accepted(&server, &request("Content-Length: 0\r\n"));
}

/// H15, H16, ws-rs#47: bytes that arrive together with the request are frames, and are not lost.
#[test]
fn ws_rs_47_frames_that_arrive_with_the_request() {
    let server = TestServer::echo();
    let reserved = failure(1002, "RFC 6455 5.2: reserved opcode");
    let rsv = failure(1002, "RFC 6455 5.2: RSV bits must be 0 without an extension");
    let echo = [frame(0x81, b"hi"), frame(0x88, b"")].concat();
    for (glued, expected) in [
        (echo, b"\x81\x02hi\x88\0".to_vec()),
        (b"\x83\x80\0\0\0\0".to_vec(), reserved),
        (request(""), rsv),
    ] {
        let input = [request(""), glued].concat();
        for how in How::all(input.len()) {
            let mut client = Client::connect(server.address);
            client.send_as(how, &input);
            client.expect_end(&[SWITCHING, &expected].concat());
        }
    }
    server.is_back_to_baseline();
}

/// H17, CVE-2021-32640, CVE-2020-7662. RFC 6455 §9.1-1 to §9.1-3, §4.1-36, §4.1-37, §11.3.2-1: lists are parsed in linear
/// time. Well-formed offers of unknown extensions are ignored (§4.2.2-11, §9-3), malformed ones refused.
#[test]
fn cve_2021_32640_and_cve_2020_7662_lists_in_headers() {
    let server = TestServer::echo();
    let escapes = format!("a; b=\"{}\"", "\\c".repeat(3000));
    for offer in
        ["permessage-deflate; client_max_window_bits", "constructor", "a, b; c=d", &escapes]
    {
        let answer = accepted(&server, &request(&format!("Sec-WebSocket-Extensions: {offer}\r\n")));
        assert_eq!(answer.headers("Sec-WebSocket-Extensions").count(), 0);
    }
    let two = "Sec-WebSocket-Extensions: a\r\nSec-WebSocket-Extensions: b; c\r\n";
    accepted(&server, &request(two));
    refused(&server, &request(&two.replace("; c", ";")), 400);
    let commas = ",".repeat(5000);
    let unended = format!("a; b=\"{}", "\\c".repeat(3000));
    for offer in [",;x", "a; b=\"", &commas, &unended] {
        refused(&server, &request(&format!("Sec-WebSocket-Extensions: {offer}\r\n")), 400);
    }
    let spaces = format!("b{}x", " ".repeat(7900));
    for offer in [spaces.as_str(), "a, b, a", "a/b", ""] {
        refused(&server, &request(&format!("Sec-WebSocket-Protocol: {offer}\r\n")), 400);
    }
}

/// H18. RFC 6455 §4.2.2-8, §4.2.2-9, §11.3.4-1: the server chooses the first offer that it supports, and none if it supports none.
#[test]
fn subprotocols() {
    let subprotocols = vec!["chat".to_owned(), "superchat".to_owned()];
    let server = TestServer::start(
        any_origin().handshake(|handshake| handshake.subprotocols = subprotocols),
        Echo::default(),
    );
    let chosen = |lines: &str| {
        let answer = accepted(&server, &request(lines));
        answer.headers("Sec-WebSocket-Protocol").map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(chosen("Sec-WebSocket-Protocol: superchat, chat\r\n"), ["superchat"]);
    assert_eq!(chosen("Sec-WebSocket-Protocol: x\r\nSec-WebSocket-Protocol: chat\r\n"), ["chat"]);
    assert_eq!(chosen("Sec-WebSocket-Protocol: nobody\r\n"), [""; 0]);
    assert_eq!(chosen(""), [""; 0]);
}

/// H20. RFC 6455 §10.2-1, §10.2-2, §4.2.1-2, §4.2.2-4, §4.2.2-5
#[test]
fn origins() {
    let origin = |origin: &str| request(&format!("Origin: {origin}\r\n"));
    let same = TestServer::start(Config::default(), Echo::default());
    accepted(&same, &request(""));
    accepted(&same, &origin("http://localhost"));
    accepted(&same, &origin("HTTP://LocalHost:80"));
    // Load tools leave the scheme out.
    accepted(&same, &origin("localhost"));
    for foreign in
        ["https://evil.example", "null", "http://localhost:81", "good`evil", "http://good`evil", ""]
    {
        refused(&same, &origin(foreign), 403);
    }
    refused(&same, &request("Origin: http://localhost\r\nOrigin: http://localhost\r\n"), 400);

    let list = OriginPolicy::AnyOf(vec!["https://good.example".parse().expect("an origin")]);
    let listed = TestServer::start(
        Config::default().handshake(|handshake| handshake.origins = list),
        Echo::default(),
    );
    accepted(&listed, &origin("https://good.example:443"));
    refused(&listed, &origin("http://good.example"), 403);
    refused(&listed, &origin("http://localhost"), 403);

    let both = OriginPolicy::AnyOf(vec![
        OriginRule::SameHost,
        "https://good.example".parse().expect("an origin"),
    ]);
    let both = TestServer::start(
        Config::default().handshake(|handshake| handshake.origins = both),
        Echo::default(),
    );
    accepted(&both, &origin("https://good.example"));
    accepted(&both, &origin("http://localhost"));
    refused(&both, &origin("https://evil.example"), 403);

    accepted(&TestServer::echo(), &origin("https://evil.example"));
}

/// H21: a client that closes TCP in the middle of its request leaves nothing behind.
#[test]
fn a_request_may_end_at_every_byte() {
    let server = TestServer::echo();
    let whole = request("");
    for end in 0..whole.len() {
        let mut client = Client::connect(server.address);
        client.send(&whole[..end]);
        client.finish();
        client.expect_end(b"");
    }
    for _ in 0..100 {
        drop(Client::connect(server.address));
    }
    server.is_back_to_baseline();
}

/// H22: the deadline of a handshake is absolute. Bytes that arrive do not extend it.
#[test]
fn a_handshake_has_a_deadline() {
    let config = any_origin().timeouts(|timeouts| timeouts.handshake = Duration::from_millis(200));
    let server = TestServer::start(config, Echo::default());
    let mut silent = Client::connect(server.address);
    let mut slow = Client::connect(server.address);
    slow.send(b"GET / HT");
    silent.expect_end(b"");
    slow.expect_end(b"");
    server.wait_for("both slots are released", |now| now.peers == 0);
}

/// H23: a TLS ClientHello is refused at its first byte.
#[test]
fn a_client_hello_is_refused() {
    let server = TestServer::echo();
    let answer = refused(&server, b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 400);
    assert_eq!(answer.taught("found"), "\\x16");
}

/// H24: a refusal closes the connection, so the requests that are pipelined after it are discarded. (`http1.rs` has the
/// requests that are answered.)
#[test]
fn requests_after_a_refusal_are_discarded() {
    let server = TestServer::echo();
    let mut client = Client::connect(server.address);
    client.send(&b"GET / HTTP/1.1\r\nHost: h\r\n\r\n".repeat(10_000));
    client.finish();
    let answer = client.answer();
    assert_eq!(answer.status, 426);
    assert_eq!(answer.body.len().to_string(), answer.header("Content-Length"));
    server.is_back_to_baseline();
}

/// The body is in the language that the request asks for, or in that of the server.
#[test]
fn refusals_are_in_the_language_of_the_request() {
    let server = TestServer::echo();
    let mut client = Client::connect(server.address);
    client.send(&with("Sec-WebSocket-Key", "Accept-Language: pt-BR,pt;q=0.9,en;q=0.5"));
    let answer = client.answer();
    assert_eq!((answer.status, answer.header("Content-Language")), (400, "pt"));
    let labels: Vec<&str> =
        answer.body.lines().filter_map(|line| Some(line.split_once(": ")?.0)).collect();
    assert_eq!(labels, ["regra", "seção", "encontrado", "correção"]);
    assert_eq!(answer.taught("encontrado"), "nada");
}

/// An application that makes every possible decision.
struct Site;

impl Dispatcher for Site {
    fn on_request(&mut self, request: &Request<'_>, from: SocketAddr) -> Decision {
        match request.path() {
            "/page" => Decision::Respond(Response::new(200, "text/html", "<p>olá</p>")),
            "/gone" => Decision::Respond(Response::new(404, "text/plain", "no such room")),
            "/from" => Decision::Respond(Response::new(200, "text/plain", from.to_string())),
            "/choose" => Decision::AcceptAs("b".to_owned(), ()),
            "/fail" => Decision::Fail,
            "/panic" => panic!("asked for"),
            _ => Decision::Accept(()),
        }
    }

    fn on_message(&mut self, outbox: &mut Outbox<'_>, message: Message<'_>) {
        outbox.reply(message);
    }
}

/// RFC 6455 §4.2.2-3, §4.2.2-7: the dispatcher decides about each request.
#[test]
fn the_dispatcher_decides() {
    let server = TestServer::start(any_origin(), Site);
    let ask = |head: &[u8]| {
        let mut client = Client::connect(server.address);
        client.send(head);
        client.answer()
    };
    let page = ask(b"GET /page HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n");
    assert_eq!((page.status, page.body.as_str()), (200, "<p>olá</p>"));
    assert_eq!((page.header("Content-Type"), page.header("Connection")), ("text/html", "close"));
    let head = ask(b"HEAD /page HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n");
    assert_eq!((head.status, head.body.as_str(), head.header("Content-Length")), (200, "", "11"));
    assert_eq!(ask(&first_line("GET /gone HTTP/1.1")).status, 404);
    assert_eq!(ask(&first_line("GET /fail HTTP/1.1")).status, 500);
    assert_eq!(ask(&first_line("GET /panic HTTP/1.1")).status, 500);
    assert_eq!(ask(&first_line("GET /choose HTTP/1.1")).status, 500, "it was not offered");
    let choose = first_line("GET /choose HTTP/1.1");
    let offer = String::from_utf8(choose)
        .expect("ASCII")
        .replace("Upgrade: ", "Sec-WebSocket-Protocol: a, b\r\nUpgrade: ");
    assert_eq!(accepted(&server, offer.as_bytes()).header("Sec-WebSocket-Protocol"), "b");
}

/// The dispatcher receives the address of the client.
#[test]
fn the_dispatcher_receives_the_address() {
    let server = TestServer::over(any_origin(), Site, Tcp);
    let mut client = Client::connect(server.address);
    client.send(b"GET /from HTTP/1.1\r\nHost: h\r\n\r\n");
    assert_eq!(client.response().body, client.stream.local_addr().expect("a socket").to_string());
}
