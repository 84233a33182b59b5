//! RFC 9112, RFC 9110: plain HTTP/1.1 requests, as literal bytes. The library answers GET and HEAD as an ordinary server
//! does, and keeps the connection for the next request.

mod support;

use std::net::SocketAddr;
use std::time::Duration;

use framewise::config::Config;
use framewise::protocol::refusal::{Found, Refusal, Rule};
use framewise::{Decision, Dispatcher, Message, Outbox, Request, Response};
use support::stage::*;
use support::*;

/// The length of `/large` in bytes.
const LARGE: usize = 300_000;

/// Responds to plain requests according to their path, and echoes over WebSockets.
struct Site;

impl Dispatcher for Site {
    fn on_request(&mut self, request: &Request<'_>, _: SocketAddr) -> Decision {
        let text = |status, body: &str| {
            Decision::Respond(Response::new(status, "text/plain; charset=utf-8", body))
        };
        let path = request.path();
        match path.strip_prefix("/status/").and_then(|status| status.parse().ok()) {
            Some(status) => text(status, "as asked for"),
            None if request.is_handshake() => Decision::ACCEPT,
            None if path == "/large" => text(200, &"x".repeat(LARGE)),
            None if path == "/fail" => Decision::Fail,
            None if path == "/refuse" => {
                Decision::Refuse(Refusal::measured(Rule::Origin, Found::Nothing))
            }
            None if path == "/ws" => Decision::ACCEPT,
            None => text(200, path),
        }
    }

    fn on_message(&mut self, outbox: &mut Outbox<'_>, message: Message<'_>) {
        outbox.reply(message);
    }
}

fn site() -> TestServer<Site> {
    TestServer::start(any_origin(), Site)
}

/// Returns a plain GET of HTTP/1.1, with `more` header lines, each with its CR LF.
fn get(path: &str, more: &str) -> Vec<u8> {
    format!("GET {path} HTTP/1.1\r\nHost: h\r\n{more}\r\n").into_bytes()
}

/// Splits bytes into the responses that they consist of. Each has a `Content-Length` and a body.
#[track_caller]
fn responses(bytes: &[u8]) -> Vec<Answer> {
    let (mut rest, mut answers) = (bytes, Vec::new());
    while !rest.is_empty() {
        let head = rest.windows(4).position(|four| four == b"\r\n\r\n").expect("a head") + 4;
        let length: usize =
            Answer::parse(&rest[..head]).header("Content-Length").parse().expect("a number");
        let (response, after) = rest.split_at(head + length);
        answers.push(Answer::parse(response));
        rest = after;
    }
    answers
}

/// The statuses and `Connection` fields of responses.
fn outline(answers: &[Answer]) -> Vec<(u16, &str)> {
    answers.iter().map(|answer| (answer.status, answer.header("Connection"))).collect()
}

// The list of h1spec (https://github.com/uNetworking/h1spec), 33 requests.

/// RFC 9112 §2.1, §3: an incomplete request is waited for, wherever it ends. (15 requests of h1spec.)
#[test]
fn h1spec_an_incomplete_request_is_waited_for() {
    let whole = b"GET /hello HTTP/1.1\r\nHost: localhost\r\n\r\n";
    let prefixes: [&[u8]; 15] = [
        b"G",
        b"GET ",
        b"GET /hello",
        b"GET /hello ",
        b"GET /hello HTTP",
        b"GET /hello HTTP/1.1",
        b"GET /hello HTTP/1.1\r",
        b"GET /hello HTTP/1.1\r\n",
        b"GET /hello HTTP/1.1\r\nHos",
        b"GET /hello HTTP/1.1\r\nHost:",
        b"GET /hello HTTP/1.1\r\nHost: ",
        b"GET /hello HTTP/1.1\r\nHost: localhost",
        b"GET /hello HTTP/1.1\r\nHost: localhost\r",
        b"GET /hello HTTP/1.1\r\nHost: localhost\r\n",
        b"GET /hello HTTP/1.1\r\nHost: localhost\r\n\r",
    ];
    for prefix in prefixes {
        let mut stage = stage(any_origin(), Site);
        let client = stage.connect();
        stage.send(&client, prefix);
        stage.pass();
        assert_eq!(show(&stage.heard(&client)), "", "after {}", show(prefix));
        assert!(stage.holds(&client) && !stage.is_shut(&client));
        stage.send(&client, whole.strip_prefix(prefix).expect("a prefix of the whole"));
        stage.pass();
        let answer = Answer::parse(&stage.heard(&client));
        assert_eq!((answer.status, answer.body.as_str()), (200, "/hello"));
    }
}

/// The complete requests of h1spec, each with the status of the response. 31 of its 33 requests get a status that h1spec
/// expects. The other two are POST requests with a body, for which it expects 200: `Valid POST request with body` and
/// `Chunked Transfer-Encoding`. This server has no resource that accepts a POST, so it answers 405, and it reads no body
/// (RFC 9110 §15.5.6).
#[test]
fn h1spec_complete_requests() {
    let server = site();
    let list: [(&[u8], u16, &str); 18] = [
        (b"GET / \r\n\r\n", 400, "RFC 9112 3: a request line has a version"),
        (
            b"GET / HTTP/1.1\r\nHost: example.com\r\nExpect: 100-continue\r\n\r\n",
            200,
            "RFC 9110 10.1.1: without a body there is nothing to continue with",
        ),
        (b"GET / HTTP/1.1\r\nHost: example.com\r\n\r\n", 200, "RFC 9112 3: a valid request"),
        (
            b"GET / HTTP/1.1\r\nhoSt:\texample.com\r\nempty:\r\n\r\n",
            200,
            "RFC 9112 5: names without regard to case, a tab before a value, an empty value",
        ),
        (
            b"GET / HTTP/1.1\r\nHost: example.com\r\nX-Invalid[]: test\r\n\r\n",
            400,
            "RFC 9110 5.1: a field name is a token",
        ),
        (b"GET / HTTP/1.1\r\nContent-Length: 5\r\n\r\n", 400, "RFC 9112 3.2: Host is required"),
        (
            b"GET / HTTP/1.1\r\nHost: example.com\r\nHost: example.org\r\n\r\n",
            400,
            "RFC 9112 3.2: one Host",
        ),
        (
            b"GET / HTTP/1.1\r\nHost: example.com\r\n\
              Content-Length: -123456789123456789123456789\r\n\r\n",
            400,
            "RFC 9110 8.6: a length has only digits",
        ),
        (
            b"GET / HTTP/1.1\r\nHost: example.com\r\nContent-Length: -1234\r\n\r\n",
            400,
            "RFC 9110 8.6: a length has only digits",
        ),
        (
            b"GET / HTTP/1.1\r\nHost: example.com\r\nContent-Length: abc\r\n\r\n",
            400,
            "RFC 9110 8.6: a length has only digits",
        ),
        (
            b"GET / HTTP/1.1\r\nHost: example.com\r\nX-Empty-Header: \r\n\r\n",
            200,
            "RFC 9112 5: a value may be empty",
        ),
        (
            b"GET / HTTP/1.1\r\nHost: example.com\r\nX-Bad-Control-Char: test\x07\r\n\r\n",
            400,
            "RFC 9110 5.5: a value has no control character",
        ),
        (
            b"GET / HTTP/9.9\r\nHost: example.com\r\n\r\n",
            505,
            "RFC 9110 15.6.6: another major version",
        ),
        (
            b"Extra lineGET / HTTP/1.1\r\nHost: example.com\r\n\r\n",
            400,
            "RFC 9112 3: three words in a request line",
        ),
        (
            b"GET / HTTP/1.1\r\nHost: example.com\r\n\rSome-Header: Test\r\n\r\n",
            400,
            "RFC 9112 2.2: a CR without its LF",
        ),
        (
            b"POST / HTTP/1.1\r\nHost: example.com\r\nContent-Length: 5\r\n\r\nhello",
            405,
            "RFC 9110 15.5.6; h1spec expects 200 or 404",
        ),
        (
            b"POST / HTTP/1.1\r\nHost: example.com\r\nTransfer-Encoding: chunked\r\n\r\n\
              c\r\nHellO world1\r\n0\r\n\r\n",
            405,
            "RFC 9110 15.5.6; h1spec expects 200",
        ),
        (
            b"POST / HTTP/1.1\r\nHost: example.com\r\ncontent-LengtH: 5\r\n\
              TransFer-Encoding: chunked\r\n\r\nc\r\nHellO world1\r\n0\r\n\r\n",
            405,
            "RFC 9112 6.1: two lengths; any error will do",
        ),
    ];
    for (input, status, why) in list {
        for how in How::all(input.len()) {
            let mut client = Client::connect(server.address);
            client.send_as(how, input);
            // A bare CR is an error at once, and the rest of that request cannot be read.
            client.finish();
            let answers = responses(&client.read_to_end());
            let connection = if status == 200 { "keep-alive" } else { "close" };
            assert_eq!(outline(&answers), [(status, connection)], "{how:?} {why}");
        }
    }
    server.is_back_to_baseline();
}

// Which connections are kept.

/// RFC 9112 §9.3: the connection is kept until the client or the server asks to close it.
#[test]
fn a_client_sends_requests_one_after_the_other() {
    let server = site();
    let mut client = Client::connect(server.address);
    for path in ["/a", "/b", "/status/404", "/status/302", "/c"] {
        client.send(&get(path, ""));
        let answer = client.response();
        assert_eq!(answer.header("Connection"), "keep-alive", "{path}");
        assert_eq!(answer.body, if path.len() > 2 { "as asked for" } else { path });
    }
    client.send(&get("/last", "Connection: close\r\n"));
    let answer = client.answer();
    assert_eq!((answer.body.as_str(), answer.header("Connection")), ("/last", "close"));
    drop(client);
    server.is_back_to_baseline();
}

/// RFC 9112 §9.3.2: pipelined requests are answered in order, however they are split.
#[test]
fn pipelined_requests_are_answered_in_order() {
    let server = site();
    let input = [
        get("/1", ""),
        get("/2", "Connection: keep-alive\r\n"),
        // An old client sends an empty line after a request (RFC 9112 2.2).
        b"\r\n".to_vec(),
        get("/3", "Content-Length: 0\r\n"),
        get("/4", "Connection: TE, Close\r\n"),
        get("/5", ""),
    ]
    .concat();
    for how in How::all(input.len()) {
        let mut client = Client::connect(server.address);
        client.send_as(how, &input);
        let answers = responses(&client.read_to_end());
        let bodies: Vec<&str> = answers.iter().map(|answer| answer.body.as_str()).collect();
        assert_eq!(bodies, ["/1", "/2", "/3", "/4"], "{how:?}");
        assert_eq!(answers[3].header("Connection"), "close");
    }
    server.is_back_to_baseline();
}

/// Most errors close the connection. So does every response to an opening handshake, and to HTTP/1.0, where
/// `keep-alive` is not supported.
#[test]
fn what_closes_the_connection() {
    let server = site();
    let handshake = String::from_utf8(request("")).expect("ASCII");
    let handshake = handshake.replacen("GET / ", "GET /status/200 ", 1).into_bytes();
    for (input, status) in [
        (get("/status/400", ""), 400),
        (get("/status/401", ""), 401),
        (get("/status/403", ""), 403),
        (get("/status/429", ""), 429),
        (get("/status/500", ""), 500),
        (get("/fail", ""), 500),
        (get("/refuse", ""), 403),
        (get("/ws", ""), 426),
        (handshake, 200),
        (b"GET / HTTP/1.0\r\n\r\n".to_vec(), 200),
        (b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n".to_vec(), 200),
    ] {
        let mut client = Client::connect(server.address);
        client.send(&[input, get("/never", "")].concat());
        let answers = responses(&client.read_to_end());
        assert_eq!(answers.len(), 1, "{status}");
        let connection = if status == 426 { "Upgrade, close" } else { "close" };
        assert_eq!(outline(&answers), [(status, connection)]);
    }
    server.is_back_to_baseline();
}

/// RFC 9110 §9.3.2, §8.6: the response to a HEAD has the length of the body, but no body. Neither has a 304.
#[test]
fn responses_without_a_body_are_followed_by_the_next_one() {
    let server = site();
    let mut client = Client::connect(server.address);
    client.send(b"HEAD /hello HTTP/1.1\r\nHost: h\r\n\r\n");
    client.send(&get("/status/304", ""));
    client.send(&get("/status/204", "Connection: close\r\n"));
    let text = String::from_utf8(client.read_to_end()).expect("text");
    let heads: Vec<&str> = text.split_terminator("\r\n\r\n").collect();
    let lines: Vec<&str> = heads.iter().filter_map(|head| head.lines().next()).collect();
    assert_eq!(lines, ["HTTP/1.1 200 OK", "HTTP/1.1 304 Not Modified", "HTTP/1.1 204 No Content"]);
    assert!(heads[0].contains("\r\nContent-Length: 6\r\nConnection: keep-alive"), "{text}");
    assert!(heads[1].ends_with("\r\nConnection: keep-alive") && !heads[1].contains("Length"));
    drop(client);
    server.is_back_to_baseline();
}

/// H14 on a connection that was kept: a request with a body is refused, and no request that hides in the body is
/// answered.
#[test]
fn a_second_request_with_a_body_smuggles_nothing() {
    let server = site();
    let hidden = get("/hidden", "");
    for lines in [
        "Content-Length: 36\r\n",
        "Content-Length: 0\r\nContent-Length: 36\r\n",
        "Transfer-Encoding: chunked\r\n",
        "Content-Length: 36\r\nTransfer-Encoding: chunked\r\n",
        "Content-Length: +0\r\n",
        "Transfer-Encoding: identity\r\n",
    ] {
        let input = [get("/first", ""), get("/second", lines), hidden.clone()].concat();
        for how in How::all(input.len()) {
            let mut client = Client::connect(server.address);
            client.send_as(how, &input);
            let answers = responses(&client.read_to_end());
            assert_eq!(outline(&answers), [(200, "keep-alive"), (400, "close")], "{lines}");
        }
    }
    server.is_back_to_baseline();
}

/// A request that is malformed or too long gets the same refusal as on a new connection, and closes this one.
#[test]
fn a_second_request_is_checked_like_the_first() {
    let server = site();
    let long = format!("GET /{} HTTP/1.1\r\nHost: h\r\n\r\n", "x".repeat(5000));
    let large = get("/", &format!("A: {}\r\n", "x".repeat(40_000)));
    let frame = frame(0x81, b"hi");
    for (second, status) in [
        (&b"GET / HTTP/1.1\r\n\r\n"[..], 400),
        (b"GET / HTTP/1.1\nHost: h\n\n", 400),
        (b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n\r\n", 405),
        (b"PURGE / HTTP/1.1\r\nHost: h\r\n\r\n", 501),
        (b"\x16\x03\x01", 400),
        (long.as_bytes(), 414),
        (&large, 431),
        // No WebSocket is open.
        (&frame, 400),
    ] {
        let mut client = Client::connect(server.address);
        client.send(&get("/first", ""));
        assert_eq!(client.response().status, 200);
        client.send(second);
        assert_eq!(outline(&responses(&client.read_to_end())), [(status, "close")]);
    }
    server.is_back_to_baseline();
}

/// The client closes its side after its requests. It gets all responses, and then the server closes too.
#[test]
fn a_client_that_has_no_more_requests() {
    let server = site();
    let mut client = Client::connect(server.address);
    client.send(&[get("/1", ""), get("/large", ""), get("/3", "")].concat());
    client.finish();
    let answers = responses(&client.read_to_end());
    let lengths: Vec<usize> = answers.iter().map(|answer| answer.body.len()).collect();
    assert_eq!(lengths, [2, LARGE, 2]);
    drop(client);
    server.is_back_to_baseline();
}

// WebSockets on connections that were kept.

/// RFC 6455 §4.1: an opening handshake may follow plain requests on their connection, with frames glued to it.
#[test]
fn a_websocket_opens_after_plain_requests() {
    let server = site();
    let input = [get("/1", ""), get("/2", ""), request(""), frame(0x81, b"hi"), frame(0x88, b"")];
    let input = input.concat();
    for how in How::all(input.len()) {
        let mut client = Client::connect(server.address);
        client.send_as(how, &input);
        assert_eq!((client.response().body, client.response().body), ("/1".into(), "/2".into()));
        client.expect_end(&[SWITCHING, b"\x81\x02hi\x88\0"].concat());
    }
    server.is_back_to_baseline();
}

/// An invalid opening handshake closes the connection, as the first request or as a later one.
#[test]
fn a_refused_handshake_closes_a_kept_connection() {
    let server = site();
    let mut client = Client::connect(server.address);
    client.send(&get("/1", ""));
    assert_eq!(client.response().status, 200);
    let handshake = String::from_utf8(request("")).expect("ASCII");
    client.send(handshake.replace("Version: 13", "Version: 8").as_bytes());
    client.send(&get("/never", ""));
    assert_eq!(outline(&responses(&client.read_to_end())), [(426, "Upgrade, close")]);
    drop(client);
    server.is_back_to_baseline();
}

/// The socket is full after any number of bytes while a WebSocket opens: the stream has no gap, and the new WebSocket
/// has its own deadlines.
#[test]
fn a_websocket_opens_while_a_response_is_still_being_written() {
    let input = [get("/1", ""), request(""), frame(0x81, b"hi")].concat();
    let mut whole = stage(any_origin(), Site);
    let client = whole.connect();
    whole.send(&client, &input);
    whole.pass();
    let expected = whole.heard(&client).len();
    for cut in 0..expected {
        let mut stage = stage(any_origin(), Site);
        let client = stage.connect();
        stage.make_room(&client, Some(cut));
        stage.send(&client, &input);
        stage.pass();
        let mut heard = stage.heard(&client);
        assert_eq!(heard.len(), cut);
        stage.make_room(&client, None);
        stage.pass();
        heard.extend(stage.heard(&client));
        let end = [SWITCHING, b"\x81\x02hi"].concat();
        assert!(heard.ends_with(&end), "cut at {cut}: {}", show(&heard));
        assert_eq!(responses(&heard[..heard.len() - end.len()]).len(), 1);
        stage.wait(20 * SECOND);
        assert_eq!(show(&stage.heard(&client)), r"\x89\x00", "the first ping");
        leave_all(&mut stage, &[&client]);
    }
}

// Bounds.

/// H24: the server answers pipelined requests in order up to its limit, and reads no more of them.
#[test]
fn h24_pipelined_requests_are_answered_up_to_the_limit() {
    let server = site();
    let mut client = Client::connect(server.address);
    let input: Vec<u8> = (1..=10_000).flat_map(|n| get(&format!("/{n}"), "")).collect();
    client.send(&input);
    client.finish();
    let answers = responses(&client.read_to_end());
    let bodies: Vec<String> = answers.iter().map(|answer| answer.body.clone()).collect();
    assert_eq!(bodies, (1..=100).map(|n| format!("/{n}")).collect::<Vec<_>>());
    let outline = outline(&answers);
    assert!(outline[..99].iter().all(|answer| *answer == (200, "keep-alive")));
    assert_eq!(outline[99], (200, "close"));
    drop(client);
    server.is_back_to_baseline();
}

/// H24: a client that pipelines requests and reads no response is not read. It holds a limited amount of memory, and its
/// connection is closed.
#[test]
fn h24_responses_that_are_never_read() {
    let mut stage = stage(without_pings(), Site);
    let client = stage.connect();
    stage.make_room(&client, Some(1000));
    stage.send(&client, &get("/large", "").repeat(10_000));
    stage.pass();
    let max_output = Config::default().limits.max_output;
    let held = stage.event_loop.snapshot();
    assert!(held.queued <= max_output / 2 + 2 * LARGE, "{held:?}");
    assert!(held.held <= 2 * max_output + Config::default().limits.read_buffer, "{held:?}");
    for _ in 0..14 {
        stage.wait(SECOND);
        assert_eq!(stage.event_loop.snapshot().held, held.held);
    }
    stage.wait(SECOND);
    assert!(!stage.holds(&client));
    is_back_to_baseline(&stage);
}

/// H24: while responses wait, requests are not read. When the client reads, they are.
#[test]
fn h24_requests_are_read_as_the_responses_are() {
    let mut stage = stage(without_pings(), Site);
    let client = stage.connect();
    let input = [get("/large", "").repeat(20), get("/last", "Connection: close\r\n")].concat();
    let mut heard = Vec::new();
    stage.make_room(&client, Some(0));
    stage.send(&client, &input);
    stage.pass();
    while !stage.is_shut(&client) {
        let before = heard.len();
        stage.make_room(&client, Some(100_000));
        stage.pass();
        heard.extend(stage.heard(&client));
        assert!(heard.len() > before, "after {before} bytes");
        assert!(stage.event_loop.snapshot().queued <= 1 << 20);
    }
    let answers = responses(&heard);
    assert_eq!(answers.len(), 21);
    assert_eq!(answers[20].body, "/last");
    stage.finish(&client);
    stage.pass();
    is_back_to_baseline(&stage);
}

/// Many requests in one read do not delay other peers: a turn answers a few of them.
#[test]
fn a_turn_answers_a_few_requests() {
    let mut stage = stage(without_pings(), Site);
    let (busy, other) = (stage.connect(), open(&mut stage));
    stage.send(&busy, &get("/hello", "").repeat(100));
    stage.send(&other, &frame(0x81, b"hi"));
    stage.event_loop.begin_pass(stage.now);
    stage.event_loop.take_turns();
    assert_eq!(responses(&stage.heard(&busy)).len(), 8);
    assert_eq!(stage.heard(&other), b"\x81\x02hi");
    stage.pass();
    assert_eq!(responses(&stage.heard(&busy)).len(), 92);
}

/// A connection is kept for 15 s after a response, and each further request has 10 s to arrive. There are no pings.
#[test]
fn a_kept_connection_has_deadlines() {
    let mut stage = stage(any_origin(), Site);
    let client = stage.connect();
    stage.send(&client, &get("/a", ""));
    stage.pass();
    stage.heard(&client);
    for _ in 0..3 {
        stage.wait(14 * SECOND);
        stage.send(&client, &get("/a", "")[..10]);
        stage.pass();
        stage.wait(9 * SECOND);
        stage.send(&client, &get("/a", "")[10..]);
        stage.pass();
        assert_eq!(responses(&stage.heard(&client)).len(), 1, "and no ping");
    }
    stage.wait(14 * SECOND);
    assert!(!stage.is_shut(&client));
    stage.wait(SECOND);
    assert!(stage.is_shut(&client), "15 s without a request");
    assert_eq!(show(&stage.heard(&client)), "");
    stage.wait(5 * SECOND);
    assert!(!stage.holds(&client), "the client has not closed its side");

    let client = stage.connect();
    stage.send(&client, &get("/a", ""));
    stage.pass();
    stage.wait(SECOND);
    stage.send(&client, &get("/a", "")[..10]);
    stage.pass();
    stage.wait(9 * SECOND);
    assert!(stage.holds(&client));
    stage.wait(SECOND);
    assert!(!stage.holds(&client), "10 s for a request");
    is_back_to_baseline(&stage);
}

/// When all places for opening handshakes are taken, the connection that has been idle for longest makes room. A
/// handshake in progress does so only if no connection is idle.
#[test]
fn idle_connections_make_room_first() {
    let config = without_pings().limits(|limits| limits.max_handshakes = 4);
    let mut stage = stage(config, Site);
    let silent = stage.connect();
    let kept: Vec<Actor> = (0..3).map(|_| stage.connect()).collect();
    for actor in &kept {
        stage.send(actor, &get("/a", ""));
        stage.pass();
    }
    // The first one is used again, so the second has been idle for longest.
    stage.send(&kept[0], &get("/a", ""));
    stage.pass();
    // The third one owes a response.
    stage.make_room(&kept[2], Some(0));
    stage.send(&kept[2], &get("/a", ""));
    stage.pass();
    let mut newcomers = Vec::new();
    for still_there in [[true, false, true], [false, false, true]] {
        newcomers.push(stage.connect());
        assert_eq!([0, 1, 2].map(|n: usize| stage.holds(&kept[n])), still_there);
        assert!(stage.holds(&silent));
    }
    newcomers.push(stage.connect());
    assert!(!stage.holds(&silent), "no connection is idle any longer");
    assert_eq!(stage.event_loop.snapshot().connecting, 4);
    // Its place is taken only when nothing else is left.
    assert!(stage.holds(&kept[2]));
}

/// Idle connections do not shorten the time of opening handshakes.
#[test]
fn idle_connections_are_no_crowd() {
    let config = without_pings().limits(|limits| limits.max_handshakes = 4);
    let mut stage = stage(config, Site);
    let kept: Vec<Actor> = (0..3).map(|_| stage.connect()).collect();
    for actor in &kept {
        stage.send(actor, &get("/a", ""));
    }
    stage.pass();
    let slow = stage.connect();
    stage.wait(9 * SECOND);
    assert!(stage.holds(&slow), "it has 10 s");
    for actor in &kept {
        stage.send(actor, b"GET");
    }
    stage.pass();
    assert!(!stage.holds(&slow), "four handshakes in progress: each has 2.5 s");
    assert!(stage.holds(&kept[0]));
    stage.wait(Duration::from_millis(2500));
    assert!(!stage.holds(&kept[0]));
    // Now there are fewer.
    stage.wait(Duration::from_millis(7499));
    assert!(stage.holds(&kept[1]) && stage.holds(&kept[2]));
    stage.wait(Duration::from_millis(1));
    is_back_to_baseline(&stage);
}

/// R8: idle connections count against the limits of connections, and give way to new ones.
#[test]
fn idle_connections_make_room_below_the_limits_of_connections() {
    let one_address = |limits: &mut framewise::config::Limits| limits.max_per_address = Some(2);
    let in_total = |limits: &mut framewise::config::Limits| limits.max_connections = Some(3);
    for (config, kept_survives) in
        [(any_origin().limits(one_address), true), (any_origin().limits(in_total), false)]
    {
        let mut stage = stage(config, Site);
        let elsewhere = stage.connect_from([127, 0, 0, 2]);
        let (open, kept) = (open(&mut stage), stage.connect());
        for actor in [&elsewhere, &kept] {
            stage.send(actor, &get("/a", ""));
        }
        stage.pass();
        stage.heard(&kept);
        let next = stage.connect();
        assert_eq!(stage.holds(&elsewhere), kept_survives);
        assert_eq!(stage.holds(&kept), !kept_survives);
        stage.send(&next, &request(""));
        stage.pass();
        assert_eq!(show(&stage.heard(&next)), show(SWITCHING));
        if !kept_survives {
            stage.connect();
            assert!(!stage.holds(&kept));
        }
        let excess = stage.connect();
        stage.pass();
        let status = if kept_survives { 429 } else { 503 };
        assert_eq!(Answer::parse(&stage.heard(&excess)).status, status);
        assert!(stage.holds(&open) && stage.holds(&next));
    }
}

/// R13: a server that stops closes idle connections at once. A client that is still receiving a response gets all of it.
#[test]
fn a_stop_closes_kept_connections() {
    let mut stage = stage(any_origin(), Site);
    let (idle, slow) = (stage.connect(), stage.connect());
    stage.make_room(&slow, Some(1000));
    stage.send(&idle, &get("/a", ""));
    stage.send(&slow, &get("/large", ""));
    stage.pass();
    stage.event_loop.close_all();
    assert!(!stage.holds(&idle));
    let mut heard = stage.heard(&slow);
    stage.make_room(&slow, None);
    stage.pass();
    heard.extend(stage.heard(&slow));
    assert_eq!(responses(&heard)[0].body.len(), LARGE);
    assert!(stage.is_shut(&slow));
    stage.finish(&slow);
    stage.pass();
    is_back_to_baseline(&stage);
}

/// R13, over real sockets: a stop is not delayed by connections that are kept.
#[test]
fn a_server_stops_with_kept_connections() {
    let server = site();
    let mut clients: Vec<Client> = (0..10).map(|_| Client::connect(server.address)).collect();
    for client in &mut clients {
        client.send(&get("/a", ""));
        assert_eq!(client.response().status, 200);
    }
    assert_eq!(server.snapshot().peers, 10);
    server.handle.shutdown(Duration::from_secs(1000)).expect("it runs");
    server.wait_for("it has stopped", |now| now.stopped);
    for client in &mut clients {
        client.expect_end(b"");
    }
}

/// `max_requests` is a setting. With 1, every response is the last one.
#[test]
fn the_number_of_requests_is_a_setting() {
    for most in [1, 2] {
        let server =
            TestServer::start(any_origin().limits(|limits| limits.max_requests = most), Site);
        let mut client = Client::connect(server.address);
        client.send(&get("/a", "").repeat(3));
        let answers = responses(&client.read_to_end());
        assert_eq!(answers.len(), most);
        assert_eq!(answers[most - 1].header("Connection"), "close");
        drop(client);
        server.is_back_to_baseline();
    }
}
