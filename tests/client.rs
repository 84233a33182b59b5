//! The blocking client: against this library's server, and against servers that misbehave.

mod support;

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use framewise::protocol::handshake::client::Rejection;
use framewise::protocol::handshake::key::{accept_key, decode_key};
use framewise::protocol::violation::Violation;
use framewise::{
    Application, Broadcast, Cause, Client as WsClient, ClientRequest, CloseCode, Config,
    ConnectError, Dispatcher, Echo, Event, Message, Outbox, Url,
};
use support::*;

fn connect<A: Application + Send>(server: &TestServer<A>) -> WsClient {
    WsClient::connect(&format!("ws://{}/", server.address)).expect("the server answers")
}

/// Returns the next event. Fails the test if none arrives in time.
fn next(client: &mut WsClient) -> Event<'static> {
    client.recv_timeout(Duration::from_secs(30)).expect("it works").expect("it comes in time")
}

#[track_caller]
fn expect_message(client: &mut WsClient, expected: Message<'_>) {
    match next(client) {
        Event::Message(message) => assert!(message.as_message() == expected),
        other => panic!("{other:?}"),
    }
}

#[track_caller]
fn expect_closed(client: &mut WsClient, code: u16, cause: &Cause) {
    // Once the connection is closed, every call returns the same event.
    for _ in 0..2 {
        match next(client) {
            Event::Closed(closed) => {
                assert_eq!((closed.code, &closed.cause), (CloseCode(code), cause));
            }
            other => panic!("{other:?}"),
        }
    }
}

/// Replies as the echo example does.
struct Prefixed;

impl Dispatcher for Prefixed {
    fn on_message(&mut self, outbox: &mut Outbox<'_>, message: Message<'_>) {
        outbox.reply(format!("Echo: {}", message.as_str().expect("text")));
    }
}

/// A client takes a reply that is longer than the longest message of a server with the same defaults.
#[test]
fn a_reply_may_be_longer_than_the_longest_message() {
    let server = TestServer::start(any_origin(), Prefixed);
    let mut client = connect(&server);
    let longest = "x".repeat(Config::default().limits.max_message);
    assert!(client.send(&*longest).expect("it sends"));
    expect_message(&mut client, Message::from(&format!("Echo: {longest}")));
    assert!(client.send(format!("{longest}x")).expect("it sends"));
    expect_closed(&mut client, 1009, &Cause::Peer);
}

/// Starts a server for one client: it reads the request, sends `response` with ACCEPT replaced by the expected value,
/// then calls `then`. Returns its URL.
fn odd_server(
    response: &'static str,
    then: impl FnOnce(TcpStream) + Send + 'static,
) -> (String, JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let url = format!("ws://{}/", listener.local_addr().expect("bound"));
    let thread = thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("a client");
        let accept = accept_key(key(&read_request(&mut stream)));
        stream.write_all(response.replace("ACCEPT", &accept).as_bytes()).expect("it reads");
        then(stream);
    });
    (url, thread)
}

const OPENS: &str = "HTTP/1.1 101 x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
    Sec-WebSocket-Accept: ACCEPT\r\n\r\n";

/// RFC 6455 §4.1-2, §4.1-18, §6.1-1, §6.1-9, §6.2-1
#[test]
fn messages_of_any_size_come_back() {
    let server = TestServer::echo();
    let mut client = connect(&server);
    let large: Vec<u8> = (0..1 << 20).map(|n| (n % 251) as u8).collect();
    for message in
        [Message::from("olá"), Message::from(""), Message::Binary(&large), Message::Binary(b"\0")]
    {
        assert!(client.send(message).expect("it is taken"));
        expect_message(&mut client, message);
    }
    assert!(client.ping(b"there?"));
    assert!(matches!(next(&mut client), Event::Pong(payload) if *payload == *b"there?"));
    let closed = client.close(CloseCode(4000), "até logo").expect("a valid close");
    assert_eq!((closed.code, closed.reason.as_str()), (CloseCode(4000), "até logo"));
    assert_eq!(closed.cause, Cause::Local);
    assert!(!client.send(Message::from("too late")).expect("no error"));
    assert!(!client.ping(b""));
    server.is_back_to_baseline();
}

#[test]
fn a_request_has_subprotocols_and_headers_and_the_client_has_limits() {
    let config =
        any_origin().handshake(|handshake| handshake.subprotocols = vec!["chat".to_owned()]);
    let server = TestServer::start(config, Broadcast);
    let url = Url::parse(&format!("ws://{}/x?y=z", server.address)).expect("valid");
    let request = ClientRequest::new(url)
        .subprotocol("other")
        .and_then(|request| request.subprotocol("chat"))
        .and_then(|request| request.header("Origin", "http://example.org"))
        .expect("valid");
    let small = Config::default().limits(|limits| limits.max_message = 10);
    let mut ana = WsClient::open(&request, small).expect("it opens");
    assert_eq!(ana.subprotocol(), Some("chat"));
    assert_eq!(ana.server_addr().expect("connected"), server.address);
    let mut rui = connect(&server);
    server.wait_for("both are members", |now| now.memberships == 2);
    rui.send(Message::from("short")).expect("it is taken");
    expect_message(&mut ana, Message::from("short"));
    rui.send(Message::from("longer than ten")).expect("it is taken");
    expect_closed(&mut ana, 1009, &Cause::Violation(Violation::MessageTooBig));
    rui.close(CloseCode::NORMAL, "").expect("a valid close");
    server.is_back_to_baseline();
}

/// RFC 6455 §7.1.7-8, §7.2.1-3: a client closes nothing by itself. `recv_timeout` returns when time is up, and every call that waits returns when another thread interrupts it.
#[test]
fn waiting_ends_after_a_timeout_or_an_interruption() {
    let server = TestServer::echo();
    let mut client = connect(&server);
    assert!(client.try_recv().expect("it works").is_none());
    assert!(client.recv_timeout(Duration::from_millis(5)).expect("it works").is_none());
    let interrupter = client.interrupter();
    let thread = thread::spawn(move || interrupter.interrupt());
    let interrupted = client.recv().expect_err("another thread interrupts");
    assert_eq!(interrupted.kind(), std::io::ErrorKind::Interrupted);
    thread.join().expect("no panic").expect("it is passed on");
    // An interruption between two calls is not lost, and no message is either.
    client.interrupter().interrupt().expect("it is passed on");
    client.send(Message::from("hi")).expect("it is taken");
    assert!(client.recv_timeout(Duration::MAX).expect("it works").is_none());
    expect_message(&mut client, Message::from("hi"));
    client.close(CloseCode::NORMAL, "").expect("a valid close");
    server.is_back_to_baseline();
}

/// F16. RFC 6455 §5.1-5, §5.1-6, §7.1.7-1, §7.1.7-5: the client fails the connection, and its Close names the broken rule.
#[test]
fn a_masked_frame_from_a_server_fails_the_connection() {
    let (url, server) = odd_server(OPENS, |mut stream| {
        stream.write_all(b"\x81\x05first\x81\x82\0\0\0\0hi").expect("it reads");
        let mut rest = Vec::new();
        stream.read_to_end(&mut rest).expect("the client ends TCP cleanly");
        assert_eq!(rest[0], 0x88);
        assert_eq!(rest[1] & 0x80, 0x80, "a client also masks its Close");
        let key: Vec<u8> = rest[2..6].to_vec();
        let clear: Vec<u8> =
            rest[6..].iter().enumerate().map(|(i, byte)| byte ^ key[i % 4]).collect();
        assert_eq!(clear[..2], 1002u16.to_be_bytes());
        assert_eq!(&clear[2..], Violation::MaskedFrame.reason().as_bytes());
    });
    let mut client = WsClient::connect(&url).expect("it opens");
    expect_message(&mut client, Message::from("first"));
    expect_closed(&mut client, 1002, &Cause::Violation(Violation::MaskedFrame));
    server.join().expect("the server saw what it should");
}

/// F17. RFC 6455 §4.1-41, §4.1-44 to §4.1-47, §7.1.7-2, §7.2.1-1: the error names what is wrong with the response, and contains the response.
#[test]
fn a_wrong_response_is_rejected() {
    let rejected = |response: &'static str| {
        let (url, server) = odd_server(response, |_| {});
        let error = WsClient::connect(&url).expect_err("it is rejected");
        server.join().expect("no panic");
        match error {
            ConnectError::Rejected(rejected) => (rejected.rejection, rejected.response),
            other => panic!("{other}"),
        }
    };
    let (why, response) = rejected("HTTP/1.1 403 Forbidden\r\nContent-Length: 3\r\n\r\nno!");
    assert_eq!(why, Rejection::Status(403));
    assert!(response.ends_with(b"\r\n\r\nno!"));
    let (why, response) = rejected("HTTP/1.1 200 OK\r\n\r\n<p>hello</p>");
    assert_eq!((why, response.ends_with(b"<p>hello</p>")), (Rejection::Status(200), true));
    let wrong = "HTTP/1.1 101 x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
        Sec-WebSocket-Accept: AAAAAAAAAAAAAAAAAAAAAAAAAAA=\r\n\r\n";
    assert_eq!(rejected(wrong).0, Rejection::Accept);
    let extension = "HTTP/1.1 101 x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
        Sec-WebSocket-Accept: ACCEPT\r\nSec-WebSocket-Extensions: permessage-deflate\r\n\r\n";
    assert_eq!(rejected(extension).0, Rejection::Extension);
    let subprotocol = "HTTP/1.1 101 x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
        Sec-WebSocket-Accept: ACCEPT\r\nSec-WebSocket-Protocol: chat\r\n\r\n";
    assert_eq!(rejected(subprotocol).0, Rejection::Subprotocol);
    assert!(matches!(rejected("SSH-2.0-x\r\n\r\n").0, Rejection::StatusLine));
}

/// RFC 6455 §10.7-2. RFC 9110 15.2, 15.3.5, 15.4.5, RFC 9112 6.3, 7.1: interim responses are skipped. A response is complete when its body
/// is, also if the server keeps TCP open.
#[test]
fn a_refusal_is_reported_at_its_end() {
    let rejected = |response: &'static str| {
        // The server keeps the connection open until the client closes it.
        let (url, server) = odd_server(response, |mut stream| drop(stream.read(&mut [0])));
        let began = std::time::Instant::now();
        let error = WsClient::connect(&url).expect_err("it is rejected");
        assert!(began.elapsed() < Config::default().timeouts.handshake / 2, "it did not wait");
        server.join().expect("no panic");
        match error {
            ConnectError::Rejected(rejected) => {
                let text = String::from_utf8(rejected.response).expect("ASCII");
                (rejected.rejection, text.split_once("\r\n\r\n").unwrap_or_default().1.to_owned())
            }
            error => panic!("{error}"),
        }
    };
    let status = |status, body: &str| (Rejection::Status(status), body.to_owned());
    assert_eq!(rejected("HTTP/1.1 204 No Content\r\n\r\n"), status(204, ""));
    assert_eq!(rejected("HTTP/1.1 304 x\r\nContent-Length: 9\r\n\r\n"), status(304, ""));
    let chunked = "HTTP/1.1 404 Not Found\r\nTransfer-Encoding: chunked\r\n\r\n\
        8\r\nno such \r\n4;a=b\r\nroom\r\n0\r\nA: b\r\n\r\n";
    assert_eq!(rejected(chunked), status(404, "no such room"));
    let wrong_accept = "HTTP/1.1 101 x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
        Sec-WebSocket-Accept: AAAAAAAAAAAAAAAAAAAAAAAAAAA=\r\n\r\n";
    assert_eq!(rejected(wrong_accept), (Rejection::Accept, String::new()));
    let interim = "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 403 x\r\nContent-Length: 2\r\n\r\nno";
    assert_eq!(rejected(interim), status(403, "no"));
    let moved = "HTTP/1.1 302 Found\r\nLocation: ws://h/caf\u{e9}\r\nContent-Length: 0\r\n\r\n";
    let redirect = Rejection::Redirect { status: 302, location: "ws://h/caf\\xc3\\xa9".to_owned() };
    assert!(redirect.to_string().contains("redirects to ws://h/caf\\xc3\\xa9"));
    assert_eq!(rejected(moved), (redirect, String::new()));
    let unsaid = "HTTP/1.1 307 x\r\nContent-Length: 0\r\n\r\n";
    assert_eq!(rejected(unsaid), status(307, ""));
    // Older HTTP, a malformed head, and servers of other protocols, which speak first.
    let old = "HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nno";
    assert_eq!(rejected(old), (Rejection::StatusLine, "no".to_owned()));
    assert!(matches!(rejected("HTTP/1.1 400 x\n\n").0, Rejection::Malformed(_)));
    for greeting in ["SSH-2.0-x\r\n", "220 x ESMTP\r\n", "\x15"] {
        assert_eq!(rejected(greeting), (Rejection::StatusLine, String::new()));
    }
    let too_many = "HTTP/1.1 102 x\r\n\r\n".repeat(11).leak();
    assert_eq!(rejected(too_many), (Rejection::TooManyInterim, String::new()));
}

/// RFC 9110 15.2: interim responses come before the response that opens the WebSocket.
#[test]
fn interim_responses_before_the_101_are_skipped() {
    let interim = "HTTP/1.1 103 Early Hints\r\nLink: </style.css>; rel=preload\r\n\r\n";
    let response = format!("{}HTTP/1.1 100 Continue\r\n\r\n{OPENS}", interim.repeat(9)).leak();
    let (url, server) = odd_server(response, |mut stream| {
        stream.write_all(b"\x81\x02hi").expect("it reads");
    });
    let mut client = WsClient::connect(&url).expect("it opens");
    expect_message(&mut client, Message::from("hi"));
    server.join().expect("no panic");
}

/// Of a response that never ends, the first 64 KiB are kept.
#[test]
fn an_endless_response_is_cut() {
    let (url, server) =
        odd_server(
            "HTTP/1.1 500 x\r\n\r\n",
            |mut stream| {
                while stream.write_all(&[b'x'; 10_000]).is_ok() {}
            },
        );
    let error = WsClient::connect(&url).expect_err("it is rejected");
    let ConnectError::Rejected(rejected) = error else { panic!("{error}") };
    assert_eq!(rejected.response.len(), 64 * 1024);
    server.join().expect("no panic");
}

/// RFC 6455 §4.1-4, §4.1-13: `connect` fails with the reason if the server does not respond, does not exist or closes the connection in the
/// middle of its response, and if the URL is not supported.
#[test]
fn a_failed_connect_says_why() {
    let hasty =
        Config::default().timeouts(|timeouts| timeouts.handshake = Duration::from_millis(50));
    let silent = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = silent.local_addr().expect("bound");
    let request = ClientRequest::new(Url::parse(&format!("ws://{address}")).expect("valid"));
    let error = WsClient::open(&request, hasty).expect_err("the server does not respond");
    assert!(matches!(error, ConnectError::TimedOut), "{error}");
    drop(silent);
    let error = WsClient::open(&request, Config::default()).expect_err("no server listens");
    assert!(matches!(error, ConnectError::Unreachable { .. }), "{error}");
    assert!(error.to_string().contains(&address.to_string()));
    let (url, server) = odd_server("HTTP/1.1 10", drop);
    let error = WsClient::connect(&url).expect_err("the response is incomplete");
    assert!(matches!(error, ConnectError::Lost), "{error}");
    server.join().expect("no panic");
    assert!(matches!(WsClient::connect("wss://localhost"), Err(ConnectError::Secure)));
    assert!(matches!(WsClient::connect("http://localhost"), Err(ConnectError::Url(_))));
}

/// Reads a request byte by byte, so that nothing after it is lost. Returns it as text.
fn read_request(stream: &mut TcpStream) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).expect("a request");
        head.push(byte[0]);
    }
    String::from_utf8(head).expect("text")
}

/// Returns the key of a request.
fn key(request: &str) -> &str {
    request.lines().find_map(|line| line.strip_prefix("Sec-WebSocket-Key: ")).expect("a key")
}

/// RFC 6455 §4.1-5 to §4.1-7: clients that connect to one address at the same time do so one after the other. §4.1-29,
/// §4.1-30: each of them has a key of its own, of 16 bytes.
#[test]
fn clients_open_one_connection_to_an_address_at_a_time() {
    const CLIENTS: usize = 8;
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let url = format!("ws://{}/", listener.local_addr().expect("bound"));
    let server = thread::spawn(move || {
        let (mut keys, mut streams) = (std::collections::HashSet::new(), Vec::new());
        for _ in 0..CLIENTS {
            listener.set_nonblocking(false).expect("a socket");
            let (mut stream, _) = listener.accept().expect("a client");
            let request = read_request(&mut stream);
            let key = key(&request).to_owned();
            assert_eq!(decode_key(key.as_bytes()).map(|bytes| bytes.len()), Some(16));
            // This client has no response yet, so no other one has connected.
            listener.set_nonblocking(true).expect("a socket");
            let another = listener.accept().expect_err("nobody else connects");
            assert_eq!(another.kind(), std::io::ErrorKind::WouldBlock);
            stream.set_nonblocking(false).expect("a socket");
            let response = OPENS.replace("ACCEPT", &accept_key(&key));
            stream.write_all(response.as_bytes()).expect("it reads");
            keys.insert(key);
            streams.push(stream);
        }
        assert_eq!(keys.len(), CLIENTS);
    });
    let connect = || {
        thread::spawn({
            let url = url.clone();
            move || WsClient::connect(&url).map(drop)
        })
    };
    let clients: Vec<_> = (0..CLIENTS).map(|_| connect()).collect();
    for client in clients {
        client.join().expect("no panic").expect("it opens");
    }
    server.join().expect("the server saw what it should");
}

/// RFC 6455 §7.2.1-2, §7.1.5: the code is 1006 if TCP is closed without a Close, and if the server does not answer the client's
/// Close in time.
#[test]
fn a_connection_without_a_closing_handshake_is_lost() {
    let (url, server) = odd_server(OPENS, |mut stream| {
        stream.write_all(b"\x81\x02hi").expect("it reads");
    });
    let mut client = WsClient::connect(&url).expect("it opens");
    expect_message(&mut client, Message::from("hi"));
    expect_closed(&mut client, 1006, &Cause::Lost);
    server.join().expect("no panic");

    let (url, server) = odd_server(OPENS, |mut stream| {
        // This server does not answer the Close. It waits until the client closes TCP.
        let mut rest = Vec::new();
        let _ = stream.read_to_end(&mut rest);
    });
    let hasty = Config::default().timeouts(|timeouts| timeouts.close = Duration::from_millis(50));
    let request = ClientRequest::new(Url::parse(&url).expect("valid"));
    let mut client = WsClient::open(&request, hasty).expect("it opens");
    let closed = client.close(CloseCode::NORMAL, "").expect("a valid close");
    assert_eq!((closed.code, closed.cause), (CloseCode::ABNORMAL, Cause::Lost));
    drop(client);
    server.join().expect("no panic");
}

/// RFC 6455 §7.1.1-3, §7.1.1-6, §5.5.1-6, §5.5.1-12: the client answers the server's Close, and the server closes TCP.
#[test]
fn the_servers_close_is_answered() {
    let (url, server) = odd_server(OPENS, |mut stream| {
        stream.write_all(b"\x81\x02hi\x88\x05\x03\xe9bye\x81\x05never").expect("it reads");
        let mut answer = [0; 11];
        stream.read_exact(&mut answer).expect("a Close");
        assert_eq!(answer[..2], [0x88, 0x85]);
        // The client waits until the server has closed TCP, which happens only now.
        stream.shutdown(Shutdown::Write).expect("it is still open");
        assert_eq!(stream.read(&mut answer).expect("the client closes TCP cleanly"), 0);
    });
    let mut client = WsClient::connect(&url).expect("it opens");
    expect_message(&mut client, Message::from("hi"));
    expect_closed(&mut client, 1001, &Cause::Peer);
    drop(client);
    server.join().expect("the server saw what it should");
}

/// If the server does not read, the client's output stays within its limit: `send` waits, and fails after the time-out.
#[test]
fn the_output_of_a_client_is_limited() {
    let (done, is_done) = std::sync::mpsc::channel::<()>();
    let (url, server) = odd_server(OPENS, move |stream| {
        let _ = is_done.recv();
        drop(stream);
    });
    let config = Config::default()
        .limits(|limits| limits.max_output = 64 * 1024)
        .timeouts(|timeouts| timeouts.write = Duration::from_millis(50));
    let request = ClientRequest::new(Url::parse(&url).expect("valid"));
    let mut client = WsClient::open(&request, config).expect("it opens");
    let start = Instant::now();
    let error = loop {
        match client.send(Message::Binary(&[0; 32 * 1024])) {
            Ok(sent) => assert!(sent && start.elapsed() < Duration::from_secs(30)),
            Err(error) => break error,
        }
    };
    assert_eq!(error.kind(), std::io::ErrorKind::TimedOut);
    expect_closed(&mut client, 1006, &Cause::Lost);
    drop(done);
    server.join().expect("no panic");
}

/// F18, CVE-2025-10148. RFC 6455 §5.3-2 to §5.3-4, §10.3-1: each frame has a new masking key, which cannot be predicted
/// from earlier ones.
#[test]
fn cve_2025_10148_masking_keys_are_fresh() {
    let (url, server) = odd_server(OPENS, |mut stream| {
        let mut keys = Vec::new();
        for _ in 0..10_000 {
            let mut frame = [0; 7];
            stream.read_exact(&mut frame).expect("a frame of one byte");
            keys.push([frame[2], frame[3], frame[4], frame[5]]);
        }
        let differences = keys.windows(2).map(|pair| {
            let [a, b] = [pair[0], pair[1]].map(u32::from_be_bytes);
            b.wrapping_sub(a)
        });
        let mut differences: Vec<u32> = differences.collect();
        for list in
            [&mut keys.iter().map(|&key| u32::from_be_bytes(key)).collect(), &mut differences]
        {
            list.sort_unstable();
            list.dedup();
            // 10,000 random values of 32 bits have 0.01 collisions on average; 20 are practically impossible.
            assert!(list.len() > 9_980, "{} different ones", list.len());
        }
    });
    let mut client = WsClient::connect(&url).expect("it opens");
    for _ in 0..10_000 {
        client.send(Message::from("x")).expect("it is taken");
    }
    server.join().expect("the keys are fresh");
}

/// RFC 6455 §4.1-11: `localhost` may resolve to ::1 first while the server only listens on 127.0.0.1, so every address is tried.
#[test]
fn a_client_tries_every_address_of_localhost() {
    let server = TestServer::start(any_origin(), Echo::default());
    let url = format!("ws://localhost:{}", server.address.port());
    let mut client = WsClient::connect(&url).expect("the server listens on one of them");
    client.close(CloseCode::NORMAL, "").expect("a valid close");
    server.is_back_to_baseline();
}

/// RFC 6455 §5.5.1-13, §7.1.1-4: a server that has sent its Close and leaves TCP open delays no call beyond its own time.
/// After the close time-out, the client closes TCP.
#[test]
fn a_server_that_keeps_tcp_open_delays_no_timed_call() {
    let (done, is_done) = std::sync::mpsc::channel::<()>();
    let (url, server) = odd_server(OPENS, move |mut stream| {
        stream.write_all(b"\x88\x02\x03\xe8").expect("it reads");
        let mut answer = [0; 8];
        stream.read_exact(&mut answer).expect("a Close");
        let _ = is_done.recv();
    });
    let mut client = WsClient::connect(&url).expect("it opens");
    while client.closed().is_none() {
        assert!(client.recv_timeout(Duration::from_millis(5)).expect("it works").is_none());
    }
    assert!(client.try_recv().expect("it works").is_none(), "TCP is still open");
    drop(done);
    expect_closed(&mut client, 1000, &Cause::Peer);
    server.join().expect("no panic");

    let (url, server) = odd_server(OPENS, |mut stream| {
        stream.write_all(b"\x88\x02\x03\xe8").expect("it reads");
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).expect("the client closes TCP");
        assert_eq!(answer[..2], [0x88, 0x82]);
    });
    let hasty = Config::default().timeouts(|timeouts| timeouts.close = Duration::from_millis(50));
    let request = ClientRequest::new(Url::parse(&url).expect("valid"));
    let mut client = WsClient::open(&request, hasty).expect("it opens");
    expect_closed(&mut client, 1000, &Cause::Peer);
    server.join().expect("the server saw what it should");
}

/// What arrived before a send failed is still received: messages, and the server's Close with its code.
#[test]
fn a_failed_send_loses_no_received_message() {
    for taken_first in [false, true] {
        let (url, server) = odd_server(OPENS, |mut stream| {
            stream.write_all(b"\x81\x01a\x81\x01b\x88\x05\x03\xe9bye").expect("it reads");
        });
        let mut client = WsClient::connect(&url).expect("it opens");
        server.join().expect("no panic");
        if taken_first {
            expect_message(&mut client, Message::from("a"));
        }
        // The first bytes to a closed socket are answered with a reset. After that, sending fails.
        while client.send("x").expect("it is not full") {}
        if !taken_first {
            expect_message(&mut client, Message::from("a"));
        }
        expect_message(&mut client, Message::from("b"));
        expect_closed(&mut client, 1001, &Cause::Peer);
    }
}

/// Calls `call` with the client of a server that sends `first`, and then `flood` for as long as it can. Fails if the call
/// does not return.
fn returns_although_flooded(
    first: &'static [u8],
    flood: &'static [u8],
    call: impl FnOnce(&mut WsClient) + Send + 'static,
) {
    let (url, server) = odd_server(OPENS, |mut stream| {
        let flood = flood.repeat(10_000);
        let mut is_open = stream.write_all(first).is_ok();
        while is_open {
            is_open = stream.write_all(&flood).is_ok();
        }
    });
    let (done, is_done) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let request = ClientRequest::new(Url::parse(&url).expect("valid"));
        let config = Config::default()
            .limits(|limits| limits.max_fragments = u32::MAX as usize)
            .timeouts(|timeouts| timeouts.close = Duration::from_millis(50));
        let mut client = WsClient::open(&request, config).expect("it opens");
        call(&mut client);
        done.send(()).expect("the test waits");
    });
    is_done.recv_timeout(Duration::from_secs(30)).expect("the call returns");
    server.join().expect("no panic");
}

/// A server that never stops sending delays no call beyond its time: neither `close`, after which messages are dropped,
/// nor a call in the middle of an endless message, nor the wait for the end of TCP.
#[test]
fn a_server_that_never_stops_sending_delays_no_timed_call() {
    returns_although_flooded(b"", b"\x81\x01a", |client| {
        let closed = client.close(CloseCode::NORMAL, "").expect("a valid close");
        assert_eq!(closed.cause, Cause::Lost);
    });
    returns_although_flooded(b"\x01\0", b"\0\0", |client| {
        let wait = Duration::from_millis(5);
        assert!(client.recv_timeout(wait).expect("it works").is_none());
        assert!(client.try_recv().expect("it works").is_none());
    });
    returns_although_flooded(b"\x01\0", b"\0\0", |client| {
        client.interrupter().interrupt().expect("it works");
        let error = client.recv().expect_err("it is interrupted");
        assert_eq!(error.kind(), std::io::ErrorKind::Interrupted);
    });
    returns_although_flooded(b"\x88\0", b"\0\0", |client| {
        expect_closed(client, 1005, &Cause::Peer);
    });
}

/// Pings count towards the output limit as messages do.
#[test]
fn pings_to_a_server_that_does_not_read_are_limited() {
    let (done, is_done) = std::sync::mpsc::channel::<()>();
    let (url, server) = odd_server(OPENS, move |stream| {
        let _ = is_done.recv();
        drop(stream);
    });
    let config = Config::default().limits(|limits| limits.max_output = 64 * 1024);
    let request = ClientRequest::new(Url::parse(&url).expect("valid"));
    let mut client = WsClient::open(&request, config).expect("it opens");
    while client.ping(&[7; 125]) {
        assert!(client.queued() <= 64 * 1024 + 131);
    }
    drop(done);
    drop(client);
    server.join().expect("no panic");
}

/// RFC 6455 §4.1-14: a request for a `wss://` URL, whose query may be a secret, is never sent over a transport that does not encrypt.
#[test]
fn a_wss_url_needs_a_transport_that_is_secure() {
    let request = ClientRequest::new(Url::parse("wss://localhost:1/?token=secret").expect("valid"));
    let error = WsClient::open_over(&request, Config::default(), framewise::Tcp, ());
    assert!(matches!(error, Err(ConnectError::Secure)), "{error:?}");
}
