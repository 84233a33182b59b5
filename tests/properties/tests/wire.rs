//! Arbitrary bytes: their meaning does not depend on how they are split, and each byte has exactly one label.

use std::mem;

use flate2::{Compress, Compression, FlushCompress};
use framewise::config::{Config, Deflate, OriginPolicy};
use framewise::labels::{Item, Label, Labeller, What};
use framewise::protocol::connection::{Connection, Event, State};
use framewise::protocol::dissect::{Dissector, Fault, Finding};
use framewise::protocol::frame::{Opcode, Role};
use framewise::protocol::handshake::client::Rejection;
use framewise::protocol::handshake::server::Outcome;
use framewise::{Cause, ClientRequest, Closed, Decision, Message, MessageBuf, Response, Url};
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

/// One message of [`compressed`].
#[derive(Clone, Debug)]
struct Said {
    data: Vec<u8>,
    is_text: bool,
    /// Whether it is compressed, and whether the first frame has RSV1.
    is_compressed: bool,
    rsv1: bool,
    /// Whether the other fragments and the control frame between them have RSV1, which breaks a rule.
    rsv1_later: bool,
    rsv1_control: bool,
    /// How many bytes each fragment has.
    fragment: usize,
    control: Option<u8>,
    /// The position of a byte of the payload to change, and the bits to flip in it.
    spoiled: Option<(usize, u8)>,
    /// How many bytes to leave out at the end of the payload.
    left_out: usize,
    key: Option<[u8; 4]>,
}

/// Generates messages, most of them compressed, with fragments, control frames between them, and faults: RSV1 where it is not
/// allowed, invalid payload data, text that is not UTF-8, and messages that are over the limit once they are decompressed.
/// `takeover` says whether they refer to earlier messages. Most frames to a server have a key, and few to a client.
fn compressed(to: Role, takeover: bool) -> impl Strategy<Value = Vec<u8>> {
    let data = prop_oneof![
        6 => text().prop_map(String::into_bytes),
        2 => select(vec![b"a lesson and a lesson and a lesson".to_vec(), vec![b'a'; 300], vec![]]),
        1 => select(vec![vec![b'a'; 301], vec![0; 100_000]]),
        1 => proptest::collection::vec(any::<u8>(), 0..150),
    ];
    let rarely = || proptest::bool::weighted(0.03);
    let flags = (
        proptest::bool::weighted(0.8),
        proptest::bool::weighted(0.8),
        proptest::bool::weighted(0.95),
        rarely(),
        rarely(),
    );
    let fragment = prop_oneof![2 => Just(usize::MAX), 1 => 1usize..100];
    let control = proptest::option::weighted(0.2, select(vec![9u8, 9, 10, 8]));
    let spoiled = proptest::option::weighted(0.05, (any::<usize>(), 1u8..));
    let left_out = prop_oneof![20 => Just(0), 1 => 1usize..5];
    let masked = if to == Role::Server { 0.97 } else { 0.03 };
    let key = proptest::option::weighted(masked, any::<[u8; 4]>());
    let one = (data, flags, fragment, control, spoiled, left_out, key).prop_map(
        |(data, flags, fragment, control, spoiled, left_out, key)| {
            let (is_text, is_compressed, is_marked, rsv1_later, rsv1_control) = flags;
            let rsv1 = is_compressed == is_marked;
            Said {
                data,
                is_text,
                is_compressed,
                rsv1,
                rsv1_later,
                rsv1_control,
                fragment,
                control,
                spoiled,
                left_out,
                key,
            }
        },
    );
    proptest::collection::vec(one, 0..6).prop_map(move |said| {
        let mut compressor = Compress::new_with_window_bits(Compression::new(6), false, 15);
        said.iter().flat_map(|said| said.frames(&mut compressor, takeover)).collect()
    })
}

impl Said {
    fn frames(&self, compressor: &mut Compress, takeover: bool) -> Vec<u8> {
        let mut payload = self.data.clone();
        if self.is_compressed {
            if !takeover {
                compressor.reset();
            }
            payload = Vec::with_capacity(self.data.len() * 2 + 100);
            compressor
                .compress_vec(&self.data, &mut payload, FlushCompress::Sync)
                .expect("it works");
            // RFC 7692 7.2.1: the end of an empty block is not sent.
            payload.truncate(payload.len().saturating_sub(4));
        }
        payload.truncate(payload.len().saturating_sub(self.left_out));
        if let Some((at, by)) = self.spoiled
            && !payload.is_empty()
        {
            let at = at % payload.len();
            payload[at] ^= by;
        }
        let mut fragments: Vec<&[u8]> = payload.chunks(self.fragment.min(1 << 20)).collect();
        if fragments.is_empty() {
            fragments.push(&[]);
        }
        let marked = |mut frame: Vec<u8>, rsv1: bool| {
            frame[0] |= u8::from(rsv1) << 6;
            frame
        };
        let mut wire = Vec::new();
        for (n, fragment) in fragments.iter().enumerate() {
            let opcode = if n > 0 { 0 } else { 2 - u8::from(self.is_text) };
            let rsv1 = if n > 0 { self.rsv1_later } else { self.rsv1 };
            let fin = n + 1 == fragments.len();
            wire.extend(marked(frame(fin, opcode, fragment, self.key), rsv1));
            if let Some(opcode) = self.control
                && n == 0
            {
                wire.extend(marked(frame(true, opcode, b"", self.key), self.rsv1_control));
            }
        }
        wire
    }
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

/// Returns the messages that the labels show, and the first broken rule.
fn shown(mut labeller: Labeller, wire: &[u8], cuts: &[usize]) -> (Vec<String>, Option<Fault>) {
    let (mut messages, mut broken) = (Vec::new(), None);
    let (mut payload, mut decoded, mut is_text, mut is_encoded) = (Vec::new(), None, false, false);
    let mut show = |item: &Item<'_>| match item {
        Item::Label(Label { what: What::Payload { header, clear, .. }, .. })
            if !header.opcode.is_control() =>
        {
            payload.extend_from_slice(clear);
        }
        Item::Decoded(message) => {
            assert!(decoded.is_none());
            decoded = Some(MessageBuf::from(*message).into_owned());
        }
        Item::Valid(header) if !header.opcode.is_control() => {
            if header.opcode != Opcode::Continuation {
                (is_text, is_encoded) = (header.opcode == Opcode::Text, !header.rsv.is_empty());
            }
            if !header.fin {
                return;
            }
            let payload = mem::take(&mut payload);
            messages.push(match decoded.take() {
                _ if !is_encoded && is_text => {
                    format!("{:?}", Message::from(str::from_utf8(&payload).expect("UTF-8")))
                }
                _ if !is_encoded => format!("{:?}", Message::Binary(&payload)),
                Some(message) => format!("{:?}", message.as_message()),
                None => "nothing is shown".to_owned(),
            });
        }
        Item::Broken { fault, .. } if broken.is_none() => broken = Some(fault.clone()),
        _ => {}
    };
    pieces(wire, cuts).into_iter().for_each(|piece| labeller.feed(piece, &mut show));
    labeller.finish(&mut show);
    (messages, broken)
}

/// Returns the messages that a connection receives.
fn received(mut end: Connection, wire: &[u8]) -> Vec<String> {
    let (mut bytes, mut messages) = (wire.to_vec(), Vec::new());
    end.receive(&mut bytes, |event, _| {
        if let Event::Message(message) = &event {
            messages.push(format!("{:?}", message.as_message()));
        }
    });
    messages
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

    /// RFC 7692: the same with permessage-deflate. The labels show the messages that the connection receives.
    #[test]
    fn labels_agree_about_compressed_messages(
        (role, wire) in (select(vec![Role::Client, Role::Server]), any::<bool>())
            .prop_flat_map(|(role, takeover)| (Just(role), compressed(role, takeover))),
        takeover: bool,
        cuts in cuts(),
    ) {
        let deflate = match takeover {
            true => Deflate::default().with_context_takeover(),
            false => Deflate::default(),
        };
        let config = (*small()).clone().handshake(|handshake| handshake.deflate = Some(deflate));
        let config = config.validate().expect("valid");
        let labeller = || {
            let mut labeller = Labeller::of_frames(role.other(), config.clone());
            assert!(labeller.set_extensions(match takeover {
                true => "permessage-deflate",
                false => "permessage-deflate; server_no_context_takeover; client_no_context_takeover",
            }));
            labeller
        };
        let (labelled, broken) = bits(labeller(), &wire, &cuts);
        prop_assert!(labelled.into_iter().eq(0..wire.len() as u64 * 8));
        let refused = refused(open(role, &config), &wire);
        prop_assert_eq!(&broken, &refused);
        let (messages, broken) = shown(labeller(), &wire, &cuts);
        prop_assert_eq!(broken, refused);
        prop_assert_eq!(messages, received(open(role, &config), &wire));
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
