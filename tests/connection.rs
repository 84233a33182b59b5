//! The protocol without sockets and without a clock: a client and a server exchange bytes in memory.

use framewise::Url;
use framewise::config::Config;
use framewise::protocol::connection::{Cause, Connection, Event, State};
use framewise::protocol::handshake::client::{ClientRequest, Rejection};
use framewise::protocol::handshake::server::Outcome;
use framewise::protocol::mask::random_keys;
use framewise::protocol::violation::Violation;
use framewise::{CloseCode, Message};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

const NONCE: [u8; 16] = *b"the sample nonce";

/// Returns a client and a server before the request is sent. The masking keys count up from 1.
fn ends() -> (Connection, Connection) {
    let config =
        Config::default().handshake(|handshake| handshake.subprotocols = vec!["chat".to_owned()]);
    let config = config.validate().expect("valid");
    let url = Url::parse("ws://server.example.com/chat").expect("valid");
    let request = ClientRequest::new(url).subprotocol("chat").expect("a token");
    let mut next = 0u32;
    let keys = Box::new(move || {
        next += 1;
        next.to_be_bytes()
    });
    (Connection::client(config.clone(), &request, NONCE, keys), Connection::server(config))
}

/// Returns a client and a server with an open connection.
fn open() -> (Connection, Connection) {
    let (mut client, mut server) = ends();
    assert_eq!(events(&mut client, &mut server), ["Opened(Some(\"chat\"))"]);
    assert_eq!(events(&mut server, &mut client), ["Opened(Some(\"chat\"))"]);
    assert_eq!((client.state(), server.state()), (State::Open, State::Open));
    (client, server)
}

/// Moves the output of one side to the other. Returns the events of the other side.
fn events(from: &mut Connection, to: &mut Connection) -> Vec<String> {
    let mut seen = Vec::new();
    to.receive(&mut from.output_mut().take(), |event, _| seen.push(told(&event)));
    seen
}

/// Returns an event as text, for assertions.
fn told(event: &Event<'_>) -> String {
    match event {
        Event::Opened(negotiated) => format!("Opened({:?})", negotiated.subprotocol),
        Event::Message(message) => format!("{:?}", message.as_message()),
        Event::Closed(closed) => {
            format!("Closed({}, {:?}, {:?})", closed.code, closed.reason, closed.cause)
        }
        other => format!("{other:?}"),
    }
}

/// RFC 6455 §5.1-1, §5.1-4, §6.1-6, §6.2-3, §6.2-4, §6.2-7: the frames of a client are masked, those of a server are not.
#[test]
fn messages_go_both_ways() {
    let (mut client, mut server) = open();
    assert!(client.output_mut().send(Message::from("olá")));
    assert!(client.output_mut().send(Message::Binary(b"\0\xff")));
    let mut wire = client.output_mut().take();
    assert_eq!(wire, b"\x81\x84\0\0\0\x01ol\xc3\xa0\x82\x82\0\0\0\x02\0\xff");
    let mut seen = Vec::new();
    server.receive(&mut wire, |event, sender| {
        seen.push(told(&event));
        if let Event::Message(message) = event {
            sender.send(message.as_message());
        }
    });
    assert_eq!(seen, ["Text(\"olá\")", "Binary([0, 255])"]);
    assert_eq!(events(&mut server, &mut client), seen);
}

/// RFC 6455 §5.5.2-2, §6.2-2: both sides answer pings without the application.
#[test]
fn both_sides_answer_pings() {
    let (mut client, mut server) = open();
    client.output_mut().ping(b"a");
    server.output_mut().ping(b"b");
    assert_eq!(events(&mut client, &mut server), ["Ping([97])"]);
    assert_eq!(events(&mut server, &mut client), ["Ping([98])", "Pong([97])"]);
    assert_eq!(events(&mut client, &mut server), ["Pong([98])"]);
    assert!(!client.output_mut().ping(&[0; 126]), "a control frame has at most 125 bytes");
}

/// RFC 6455 §5.5.1-6, §6.1-2, §7.1.2-1, §7.3-1: the closing handshake, started by one side and by both at the same time.
#[test]
fn the_closing_handshake() {
    let (mut client, mut server) = open();
    assert_eq!(client.close(CloseCode::NORMAL, "bye"), Ok(true));
    assert_eq!(client.state(), State::Closing);
    assert!(!client.output_mut().send(Message::from("too late")));
    assert_eq!(events(&mut client, &mut server), ["Closed(1000, \"bye\", Peer)"]);
    assert_eq!(events(&mut server, &mut client), ["Closed(1000, \"bye\", Local)"]);
    assert_eq!((client.state(), server.state()), (State::Closed, State::Closed));

    let (mut client, mut server) = open();
    client.close(CloseCode(4000), "").expect("valid");
    server.close(CloseCode(4001), "").expect("valid");
    assert_eq!(events(&mut client, &mut server), ["Closed(4000, \"\", Local)"]);
    assert_eq!(events(&mut server, &mut client), ["Closed(4001, \"\", Local)"]);
    assert!(client.output().is_empty() && server.output().is_empty(), "one Close each");

    let (client, mut server) = open();
    server.lost();
    let closed = server.closed().expect("it is closed");
    assert_eq!((closed.code, &closed.cause), (CloseCode::ABNORMAL, &Cause::Lost));
    drop(client);
}

/// RFC 6455 §5.5.2-2: a side that has sent its Close still responds to pings, until the other Close arrives.
#[test]
fn a_closing_side_answers_pings() {
    let (mut client, mut server) = open();
    client.close(CloseCode::NORMAL, "").expect("valid");
    let close = client.output_mut().take();
    server.output_mut().ping(b"?");
    assert_eq!(events(&mut server, &mut client), ["Ping([63])"]);
    server.receive(&mut close.clone(), |_, _| {});
    let pong = client.output_mut().take();
    assert_eq!((pong[0], pong.len()), (0x8a, 7));
    assert_eq!(events(&mut server, &mut client), ["Closed(1000, \"\", Local)"]);
    assert!(!client.output_mut().pong(b"too late") && client.output().is_empty());
}

/// Messages that arrive after a side has sent its Close are read, but not passed to the application.
#[test]
fn messages_that_arrive_after_the_own_close_are_dropped() {
    let (mut client, mut server) = open();
    client.output_mut().send(Message::from("crossing"));
    client.close(CloseCode::NORMAL, "").expect("valid");
    server.close(CloseCode::GOING_AWAY, "").expect("valid");
    assert_eq!(events(&mut client, &mut server), ["Closed(1000, \"\", Local)"]);
}

/// F16. RFC 6455 §5.1-5: a masked frame from a server fails the connection. The Close of the client is masked.
#[test]
fn a_masked_frame_fails_the_connection_of_a_client() {
    let (mut client, mut server) = open();
    let mut seen = Vec::new();
    client.receive(&mut b"\x81\x82\0\0\0\0hi".to_vec(), |event, _| seen.push(told(&event)));
    let reason = Violation::MaskedFrame.reason();
    let failed = format!("Closed(1002, {reason:?}, Violation(MaskedFrame))");
    assert_eq!(seen, [failed]);
    assert_eq!(events(&mut client, &mut server), [format!("Closed(1002, {reason:?}, Peer)")]);
}

/// RFC 6455 §4.1-41, §4.1-44, §4.1-47: a response that does not match the request never opens the connection.
#[test]
fn a_client_rejects_a_wrong_response() {
    let cause = |text: &str| {
        let (mut client, _) = ends();
        client.output_mut().take();
        client.receive(&mut text.as_bytes().to_vec(), |_, _| {});
        assert!(client.output().is_empty(), "a server that does not speak WebSocket gets no frame");
        client.closed().map(|closed| closed.cause.clone())
    };
    let wrong_key = "HTTP/1.1 101 x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
        Sec-WebSocket-Accept: AAAAAAAAAAAAAAAAAAAAAAAAAAA=\r\n\r\n";
    assert_eq!(cause(wrong_key), Some(Cause::Rejected(Rejection::Accept)));
    assert_eq!(cause("HTTP/1.1 200 OK\r\n\r\n"), Some(Cause::Rejected(Rejection::Status(200))));
    assert!(matches!(cause("HTTP/1.1 101 x\n\n"), Some(Cause::Rejected(Rejection::Malformed(_)))));
    assert_eq!(cause("HTTP/1.1 101 x\r\n"), None, "not complete yet");
}

/// The bytes of random messages are split at random places: each message arrives once, complete and in order.
#[test]
fn random_messages_arrive_however_their_bytes_are_split() {
    for seed in 0..40 {
        let mut random = StdRng::seed_from_u64(seed);
        let (mut client, mut server) = open();
        let mut sent = Vec::new();
        for _ in 0..20 {
            let length = [0, 1, 125, 126, 127, 1000, 70_000][random.random_range(0..7)];
            let text: String =
                "aé€😀".chars().cycle().skip(random.random_range(0..4)).take(length / 2).collect();
            let message = match random.random_range(0..3) {
                0 => Message::Binary(text.as_bytes()),
                _ => Message::from(&text),
            };
            client.output_mut().send(message);
            sent.push(format!("{message:?}"));
            if random.random_range(0..4) == 0 {
                client.output_mut().ping(b"?");
            }
        }
        let wire = client.output_mut().take();
        let (mut rest, mut seen) = (wire.as_slice(), Vec::new());
        while !rest.is_empty() {
            let most = [1, 3, 20, 5000, 100_000][random.random_range(0..5)];
            let (piece, after) = rest.split_at(random.random_range(1..=most).min(rest.len()));
            rest = after;
            server.receive(&mut piece.to_vec(), |event, _| {
                if let Event::Message(message) = event {
                    seen.push(format!("{:?}", message.as_message()));
                }
            });
        }
        assert!(seen == sent, "seed {seed}");
    }
}

/// RFC 6455 §5.3-1, §5.3-3: with random masking keys, the same message looks different each time.
#[test]
fn random_keys_mask_the_frames_of_a_client() {
    let config = Config::default().validate().expect("valid");
    let request = ClientRequest::new(Url::parse("ws://h/").expect("valid"));
    let keys = random_keys().expect("the operating system has random numbers");
    let mut client = Connection::client(config.clone(), &request, NONCE, keys);
    let mut server = Connection::server(config);
    events(&mut client, &mut server);
    events(&mut server, &mut client);
    let mut wires = Vec::new();
    for _ in 0..10 {
        client.output_mut().send(Message::from("the same text"));
        wires.push(client.output_mut().take());
    }
    assert!(wires.windows(2).all(|pair| pair[0] != pair[1]), "no two frames look alike");
    assert!(wires.iter().all(|wire| wire[1] == 0x80 | 13));
}

/// RFC 6455 §4.1-40, §5.1-7, §6.1-2, §7.1.2: no frame is sent before the opening handshake is complete, and the handshake is decided once.
#[test]
fn a_connection_sends_no_frame_before_it_is_open() {
    let (mut client, mut server) = ends();
    let request = client.output_mut().take();
    for connection in [&mut client, &mut server] {
        let output = connection.output_mut();
        assert!(!output.send("x") && !output.ping(b"") && !output.pong(b""));
        assert_eq!(output.close(CloseCode::NORMAL, ""), Ok(false));
        assert!(!output.close_without_code());
        assert_eq!((output.is_closed(), output.is_empty()), (false, true));
        assert_eq!(connection.close(CloseCode::NORMAL, ""), Ok(false));
    }
    let mut bytes = request.clone();
    let mut unread = bytes.as_mut_slice();
    let Some(Event::Request(head)) = server.next(&mut unread) else { panic!("a request") };
    assert!(!server.output_mut().send("x"), "the request is not decided");
    let accept = |_: &framewise::Request<'_>| framewise::Decision::Accept(());
    assert!(matches!(server.decide(&head, None, accept), Outcome::Opened(..)));
    assert!(server.output_mut().take().starts_with(b"HTTP/1.1 101 "));
    assert!(matches!(server.decide(&head, None, accept), Outcome::Refused(_)));
    assert!(server.output().is_empty(), "nothing is sent into the open connection");
    assert_eq!(server.state(), State::Open);
    assert!(server.output_mut().send("x"));
}
