//! Arbitrary bytes: their meaning does not depend on how they are split, and each byte has exactly one label.

use framewise::config::{Config, Deflate, OriginPolicy};
use framewise::labels::{Item, Labeller, What};
use framewise::protocol::connection::{Connection, Event, State};
use framewise::protocol::dissect::{Dissector, Fault, Finding};
use framewise::protocol::frame::Role;
use framewise::protocol::handshake::client::Rejection;
use framewise::protocol::handshake::server::Outcome;
use framewise::{Cause, ClientRequest, Closed, Decision, Response, Url};
use framewise_properties::{cases, cuts, frame, open, pieces, small, text};
use proptest::prelude::*;
use proptest::sample::select;

/// Generates frames: most of them valid, some that break a rule, and a few random bytes between them.
fn frames() -> impl Strategy<Value = Vec<u8>> {
    let opcode = prop_oneof![6 => select(vec![0u8, 1, 2, 9, 10]), 1 => Just(8), 1 => 0u8..16];
    let payload = prop_oneof![
        3 => text().prop_map(String::into_bytes),
        1 => proptest::collection::vec(any::<u8>(), 0..150),
        1 => select(vec![vec![3, 0xe8], vec![3], vec![3, 0xec], b"\x0f\xa0ok".to_vec()]),
    ];
    let one = prop_oneof![
        12 => (any::<bool>(), opcode, payload, proptest::option::weighted(0.9, any::<[u8; 4]>()))
            .prop_map(|(fin, opcode, payload, key)| frame(fin || opcode > 7, opcode, &payload, key)),
        1 => proptest::collection::vec(any::<u8>(), 0..20),
    ];
    proptest::collection::vec(one, 0..12).prop_map(|frames| frames.concat())
}

/// Generates request heads, most of them almost valid, with frames after them.
fn heads() -> impl Strategy<Value = Vec<u8>> {
    let line = select(vec![
        "Host: h",
        "Upgrade: websocket",
        "Connection: Upgrade",
        "Sec-WebSocket-Version: 13",
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
        "Origin: null",
        "Content-Length: 3",
        " folded",
        "no colon",
        "X: \u{e9}",
        "Sec-WebSocket-Protocol: a, b",
    ]);
    let good = "Host: h\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
        Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
    let first =
        select(vec!["GET / HTTP/1.1", "GET /é HTTP/1.1", "POST / HTTP/1.1", "GET  / HTTP/1.1", ""]);
    (first, any::<bool>(), proptest::collection::vec(line, 0..4), frames()).prop_map(
        move |(first, complete, lines, rest)| {
            let good = if complete { good } else { "" };
            let more: String = lines.iter().map(|line| format!("{line}\r\n")).collect();
            [format!("{first}\r\n{good}{more}\r\n").as_bytes(), &rest].concat()
        },
    )
}

/// Generates response heads to the key of the standard's example, most of them almost a valid 101, with interim responses
/// before and frames after them.
fn responses() -> impl Strategy<Value = Vec<u8>> {
    let first = prop_oneof![
        8 => Just("HTTP/1.1 101 Switching Protocols"),
        1 => Just("HTTP/1.1 101"),
        2 => select(vec![
            "HTTP/1.1 1010 x", "HTTP/1.1 101x", "HTTP/1.1 10", "HTTP/1.0 101 x", "HTTP/1.0 200 x", "HTTP/1.1 200 OK",
            "HTTP/1.1 302 x", "HTTP/2 101 x", "http/1.1 101 x", "", "hello",
        ]),
    ];
    let one = |good: &'static str, bad: Vec<&'static str>| prop_oneof![12 => Just(good), 1 => select(bad), 1 => Just("")];
    let upgrade =
        one("Upgrade: WebSocket\r\n", vec!["Upgrade: h2c\r\n", "Upgrade: websocket, h2c\r\n"]);
    let connection = one("Connection: a, upgrade\r\n", vec!["Connection: close\r\n"]);
    let accept = one(
        "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n",
        vec![
            "Sec-WebSocket-Accept: S3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n",
            "Sec-WebSocket-Accept: nonsense\r\n",
        ],
    );
    let more = select(vec![
        "Sec-WebSocket-Protocol: chat\r\n",
        "Sec-WebSocket-Protocol: other\r\n",
        "Sec-WebSocket-Protocol: a b\r\n",
        "Sec-WebSocket-Protocol:\r\n",
        "Sec-WebSocket-Extensions: permessage-deflate\r\n",
        "Sec-WebSocket-Extensions: permessage-deflate; server_no_context_takeover\r\n",
        "Sec-WebSocket-Extensions: permessage-deflate; x\r\n",
        "Upgrade: websocket\r\n",
        "Location: /\r\n",
        "no colon\r\n",
        "A : b\r\n",
        " folded\r\n",
        "A: b\n",
        "X: \u{e9}\r\n",
    ]);
    let more = proptest::collection::vec(more, 0..2);
    let interim = prop_oneof![6 => 0usize..3, 1 => 9usize..12];
    (interim, first, upgrade, connection, accept, more, frames()).prop_map(
        |(interim, first, upgrade, connection, accept, more, rest)| {
            let before = "HTTP/1.1 103 x\r\nA: b\r\n\r\n".repeat(interim);
            let more = more.concat();
            let head = format!("{before}{first}\r\n{upgrade}{connection}{accept}{more}\r\n");
            [head.as_bytes(), &rest].concat()
        },
    )
}

/// Returns everything that a connection makes of some bytes: its events, its output and its final state.
fn run(mut end: Connection, wire: &[u8], cuts: &[usize]) -> (Vec<String>, Vec<u8>, State) {
    let mut seen = Vec::new();
    for piece in pieces(wire, cuts) {
        end.receive(&mut piece.to_vec(), |event, sender| {
            if let Event::Message(message) = &event {
                sender.send(message.as_message());
            }
            seen.push(format!("{:?}", event.into_owned()));
        });
    }
    let state = end.state();
    (seen, end.output_mut().take(), state)
}

/// Returns the labelled bytes and the labels. Consecutive labels of parts that are reported in pieces are joined.
fn labels(mut dissector: Dissector, wire: &[u8], cuts: &[usize]) -> (Vec<u8>, Vec<String>) {
    let (mut covered, mut told) = (Vec::new(), Vec::<String>::new());
    let mut show = |finding: &Finding<'_>| {
        covered.extend_from_slice(finding.wire());
        let label = match finding {
            Finding::Payload { header, .. } => format!("Payload of {header:?}"),
            Finding::Body(_) => "Body".to_owned(),
            Finding::NotRead(_) => "NotRead".to_owned(),
            other => format!("{other:?}"),
        };
        let goes_on = ["Payload of", "Body", "NotRead"].iter().any(|kind| label.starts_with(kind));
        if !goes_on || told.last() != Some(&label) {
            told.push(label);
        }
    };
    pieces(wire, cuts).into_iter().for_each(|piece| dissector.feed(piece, &mut show));
    dissector.finish(&mut show);
    (covered, told)
}

/// Returns the position of each labelled bit, in order, and the first broken rule.
fn bits(mut labeller: Labeller, wire: &[u8], cuts: &[usize]) -> (Vec<u64>, Option<Fault>) {
    let (mut labelled, mut broken) = (Vec::new(), None);
    let mut show = |item: &Item<'_>| match item {
        Item::Label(label) => {
            let end = (label.at as usize + label.wire.len()).min(wire.len());
            assert_eq!(&wire[label.at as usize..end], label.wire);
            let bits = match &label.what {
                // Bits of a frame are counted from its first one, and the label begins in the byte of its first bit.
                What::Bits { field, header } => {
                    let start = label.at * 8 + field.bits.start as u64 % 8;
                    let read = field.bits.end.min(header.len() * 8) - field.bits.start;
                    start..start + read as u64
                }
                _ => label.at * 8..end as u64 * 8,
            };
            labelled.extend(bits);
        }
        Item::Broken { fault, .. } if broken.is_none() => broken = Some(fault.clone()),
        _ => {}
    };
    pieces(wire, cuts).into_iter().for_each(|piece| labeller.feed(piece, &mut show));
    labeller.finish(&mut show);
    (labelled, broken)
}

/// Returns the first rule that a connection finds broken.
fn refused(mut end: Connection, wire: &[u8]) -> Option<Fault> {
    let mut bytes = wire.to_vec();
    let mut unread = bytes.as_mut_slice();
    while let Some(event) = end.next(&mut unread) {
        match event {
            Event::Request(head) => {
                // A request that asks for no WebSocket breaks no rule, and another one may follow.
                let outcome = end.decide(&head, None, |request| match request.is_handshake() {
                    true => Decision::ACCEPT,
                    false => Decision::Respond(Response::new(200, "text/plain", "")),
                });
                if let Outcome::Refused(refusal) = outcome {
                    return Some(Fault::Refusal(refusal));
                }
            }
            Event::Closed(Closed { cause: Cause::Violation(rule), .. }) => {
                return Some(Fault::Violation(rule));
            }
            Event::Closed(Closed { cause: Cause::Rejected(rejection), .. }) => {
                return Some(Fault::Rejection(rejection));
            }
            _ => {}
        }
    }
    None
}

proptest! {
    #![proptest_config(cases(600))]

    /// RFC 6455 §5, §7: how reads split the bytes makes no difference.
    #[test]
    fn frames_mean_the_same_however_they_are_split(
        role in select(vec![Role::Client, Role::Server]), wire in frames(), cuts in cuts(),
    ) {
        let whole = run(open(role, &small()), &wire, &[usize::MAX]);
        prop_assert_eq!(run(open(role, &small()), &wire, &cuts), whole.clone());
        prop_assert_eq!(run(open(role, &small()), &wire, &[1]), whole);
    }

    /// RFC 6455 §4.2: the same for the opening handshake and the frames that arrive with it.
    #[test]
    fn heads_mean_the_same_however_they_are_split(wire in heads(), cuts in cuts()) {
        let config = Config::default().limits(|limits| limits.max_message = 300).validate().expect("valid");
        let whole = run(Connection::server(config.clone()), &wire, &[usize::MAX]);
        prop_assert_eq!(run(Connection::server(config.clone()), &wire, &cuts), whole.clone());
        prop_assert_eq!(run(Connection::server(config), &wire, &[1]), whole);
    }

    /// Every byte has one label, and the labels do not depend on how the bytes are split.
    #[test]
    fn labels_cover_every_byte_once(
        sender in select(vec![Role::Client, Role::Server]),
        wire in prop_oneof![frames(), heads(), responses(), proptest::collection::vec(any::<u8>(), 0..300)],
        with_head: bool,
        cuts in cuts(),
    ) {
        let config = Config::default().handshake(|handshake| handshake.origins = OriginPolicy::Any).limits(|limits| limits.max_message = 300);
        let config = config.validate().expect("valid");
        let dissector = || match with_head {
            true => Dissector::new(sender, config.clone()),
            false => Dissector::of_frames(sender, config.clone()),
        };
        let (covered, told) = labels(dissector(), &wire, &[usize::MAX]);
        prop_assert_eq!(&covered, &wire);
        prop_assert_eq!(labels(dissector(), &wire, &cuts), (covered, told));
    }

    /// Every bit has one label, and a rule is reported as broken exactly if a connection refuses the bytes because of it.
    #[test]
    fn labels_agree_with_the_connection(
        role in select(vec![Role::Client, Role::Server]), wire in frames(), cuts in cuts(),
    ) {
        let config = small();
        let labeller = Labeller::of_frames(role.other(), config.clone());
        let (labelled, broken) = bits(labeller, &wire, &cuts);
        prop_assert!(labelled.into_iter().eq(0..wire.len() as u64 * 8));
        prop_assert_eq!(broken, refused(open(role, &config), &wire));
    }

    /// The same for a request and the frames after it.
    #[test]
    fn labels_agree_about_a_request(wire in heads(), cuts in cuts()) {
        let config = Config::default().limits(|limits| limits.max_message = 300).validate().expect("valid");
        let labeller = Labeller::new(Role::Client, config.clone());
        let (labelled, broken) = bits(labeller, &wire, &cuts);
        prop_assert!(labelled.into_iter().eq(0..wire.len() as u64 * 8));
        prop_assert_eq!(broken, refused(Connection::server(config), &wire));
    }

    /// The same for a response and the frames after it. A plain HTTP response opens no WebSocket, but breaks no rule. Without
    /// the request, the key and the offers are not known.
    #[test]
    fn labels_agree_about_a_response(wire in responses(), compresses: bool, cuts in cuts()) {
        let deflate = compresses.then(|| Deflate::default().with_context_takeover());
        let config = Config::default()
            .limits(|limits| limits.max_message = 300)
            .handshake(|handshake| handshake.deflate = deflate);
        let config = config.validate().expect("valid");
        let request = ClientRequest::new(Url::parse("ws://h/").expect("valid"));
        let request = request.subprotocol("chat").expect("a token");
        let keys = Box::new(|| [1, 2, 3, 4]);
        let mut client = Connection::client(config.clone(), &request, *b"the sample nonce", keys);
        let mut requests = Labeller::new(Role::Client, config.clone());
        requests.feed(&client.output_mut().take(), &mut |_| {});
        let expected = refused(client, &wire).filter(|fault| match fault {
            Fault::Rejection(Rejection::Status(_) | Rejection::Redirect { .. }) => false,
            Fault::Rejection(Rejection::StatusLine) => !contains(&wire, b"HTTP/1.0 200"),
            _ => true,
        });

        let mut labeller = Labeller::new(Role::Server, config.clone());
        labeller.responds_to(&mut requests);
        let (labelled, broken) = bits(labeller, &wire, &cuts);
        prop_assert!(labelled.into_iter().eq(0..wire.len() as u64 * 8));
        prop_assert_eq!(&broken, &expected);

        let (_, broken) = bits(Labeller::new(Role::Server, config), &wire, &cuts);
        match expected {
            Some(Fault::Rejection(Rejection::Accept | Rejection::Subprotocol | Rejection::Extension)) => {}
            expected => prop_assert_eq!(broken, expected),
        }
    }
}

fn contains(bytes: &[u8], part: &[u8]) -> bool {
    bytes.windows(part.len()).any(|bytes| bytes == part)
}
