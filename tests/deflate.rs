//! RFC 7692: permessage-deflate, over real sockets. The bytes of compressed messages are literal, or of the crate `flate2`, whose
//! decompressor also judges what the server sends.

mod support;

use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress};
use framewise::config::{Config, Deflate};
use framewise::internal::compressions;
use framewise::protocol::violation::Violation;
use framewise::{Broadcast, Client as WsClient, ClientRequest, Echo, Url};
use support::stage::stage;
use support::*;

/// "Hello", compressed as in RFC 7692 7.2.3.1.
const HELLO: &[u8] = b"\xf2\x48\xcd\xc9\xc9\x07\x00";

/// A text that becomes shorter.
const TEXT: &str =
    "the quick brown fox jumps over the lazy dog, and the lazy dog jumps over the fox";

/// Returns a config that compresses every message, however short.
fn with(change: impl FnOnce(&mut Deflate)) -> Config {
    let mut deflate = Deflate::default();
    deflate.min_length = 0;
    change(&mut deflate);
    without_pings().handshake(|handshake| handshake.deflate = Some(deflate))
}

fn takeover(deflate: &mut Deflate) {
    *deflate = deflate.clone().with_context_takeover();
}

/// Starts an echo server that compresses.
fn echo(change: impl FnOnce(&mut Deflate)) -> TestServer {
    TestServer::start(with(change), Echo::default())
}

/// Connects with offers, one in each field, and returns the client and the answer.
fn offer(address: std::net::SocketAddr, fields: &[&str]) -> (Client, Option<String>) {
    let mut client = Client::connect(address);
    let lines: String =
        fields.iter().map(|value| format!("Sec-WebSocket-Extensions: {value}\r\n")).collect();
    client.send(&request(&lines));
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        std::io::Read::read_exact(&mut client.stream, &mut byte).expect("a head");
        head.push(byte[0]);
    }
    let answer = Answer::parse(&head);
    assert_eq!(answer.status, 101, "{}", answer.head);
    let value = answer.headers("Sec-WebSocket-Extensions").next().map(str::to_owned);
    (client, value)
}

/// Connects with the shortest offer that the server accepts.
fn open(address: std::net::SocketAddr) -> Client {
    let (client, answer) = offer(address, &["permessage-deflate"]);
    assert!(answer.is_some());
    client
}

fn reason(violation: Violation) -> Vec<u8> {
    failure(violation.code(), &violation.reason())
}

/// Connects, sends frames, and expects that the server fails the connection.
#[track_caller]
fn fails(server: &TestServer, frames: &[Vec<u8>], violation: Violation) {
    let mut client = open(server.address);
    for frame in frames {
        client.send(frame);
    }
    client.expect_end(&reason(violation));
}

/// A compressor and a decompressor of a peer.
struct Peer {
    compressor: Compress,
    decompressor: Decompress,
}

impl Peer {
    fn new() -> Peer {
        Peer {
            compressor: Compress::new_with_window_bits(Compression::new(6), false, 15),
            decompressor: Decompress::new_with_window_bits(false, 15),
        }
    }

    /// Returns the payload data of a message.
    fn compress(&mut self, message: &[u8]) -> Vec<u8> {
        let mut into = Vec::with_capacity(message.len() + message.len() / 8 + 1024);
        self.compressor.compress_vec(message, &mut into, FlushCompress::Sync).expect("it works");
        assert!(into.ends_with(b"\0\0\xff\xff"));
        into.truncate(into.len() - 4);
        into
    }

    /// Returns the message of payload data.
    fn decompress(&mut self, payload: &[u8]) -> Vec<u8> {
        let mut into = Vec::with_capacity(1 << 21);
        let wire = [payload, b"\0\0\xff\xff"].concat();
        self.decompressor.decompress_vec(&wire, &mut into, FlushDecompress::Sync).expect("valid");
        into
    }
}

/// Reads one frame of the server: its first byte and its payload.
fn read_frame(client: &mut Client) -> (u8, Vec<u8>) {
    use std::io::Read;
    let mut header = [0; 2];
    client.stream.read_exact(&mut header).expect("a frame");
    let length = match header[1] {
        126 => {
            let mut long = [0; 2];
            client.stream.read_exact(&mut long).expect("a frame");
            usize::from(u16::from_be_bytes(long))
        }
        127 => {
            let mut long = [0; 8];
            client.stream.read_exact(&mut long).expect("a frame");
            u64::from_be_bytes(long) as usize
        }
        short => usize::from(short),
    };
    let mut payload = vec![0; length];
    client.stream.read_exact(&mut payload).expect("a frame");
    (header[0], payload)
}

// Negotiation.

/// RFC 7692 5.1, 7.1: of several offers in one or several fields, the first that can be fulfilled is accepted.
#[test]
fn the_first_acceptable_offer_is_accepted() {
    let server = echo(takeover);
    for (fields, answer) in [
        (&[][..], None),
        (&["x-webkit-deflate-frame"], None),
        (&["permessage-deflate"], Some("permessage-deflate")),
        (&["x, permessage-deflate; client_max_window_bits"], Some("permessage-deflate")),
        (&["x", "permessage-deflate"], Some("permessage-deflate")),
        // The compressor has no window of 8 bits.
        (&["permessage-deflate; server_max_window_bits=8"], None),
        (
            &[
                "permessage-deflate; server_max_window_bits=8, permessage-deflate; server_max_window_bits=9",
            ],
            Some("permessage-deflate; server_max_window_bits=9"),
        ),
        (
            &[
                "permessage-deflate; unknown",
                "permessage-deflate; server_max_window_bits=\"10\"; server_no_context_takeover, permessage-deflate",
            ],
            Some("permessage-deflate; server_no_context_takeover; server_max_window_bits=10"),
        ),
        (
            &[
                "permessage-deflate; client_max_window_bits; client_max_window_bits, permessage-deflate; client_max_window_bits=10",
            ],
            Some("permessage-deflate; client_max_window_bits=10"),
        ),
        (&["permessage-deflate; server_max_window_bits=16"], None),
        (&["Permessage-Deflate"], None),
    ] {
        let (client, chosen) = offer(server.address, fields);
        assert_eq!(chosen.as_deref(), answer, "{fields:?}");
        client.leave();
    }
    server.is_back_to_baseline();
}

/// A server without the setting does not compress, whatever a client offers. CVE-2026-59881: RSV1 without negotiation.
#[test]
fn cve_2026_59881_rsv1_without_negotiation_is_refused() {
    let plain = TestServer::echo();
    let (mut client, answer) = offer(plain.address, &["permessage-deflate"]);
    assert_eq!(answer, None);
    client.send(&frame(0xc1, HELLO));
    client.expect_end(&reason(Violation::ReservedBits));
    // A client that does not offer it does not get it.
    let server = echo(takeover);
    ends_with(&server, &frame(0xc1, HELLO), &reason(Violation::ReservedBits));
}

/// RFC 7692 6, 6.1: RSV1 belongs to the first frame of a message.
#[test]
fn rsv1_on_other_frames_is_refused() {
    let server = echo(|_| {});
    for wire in [
        [frame(0x41, HELLO), frame(0xc0, b"")].concat(),
        [frame(0x01, b"a"), frame(0xc0, b"")].concat(),
        frame(0xc9, b""),
        frame(0xca, b""),
        frame(0xc8, b""),
        frame(0xe1, HELLO),
        frame(0xd1, HELLO),
    ] {
        fails(&server, &[wire], Violation::ReservedBits);
    }
    server.is_back_to_baseline();
}

// Receiving.

/// RFC 7692 7.2.3: the examples of the standard, in all its ways to compress "Hello". They get the same reply however the
/// bytes are split.
#[test]
fn the_examples_of_the_standard_are_decompressed() {
    let mut config = with(|_| {});
    // Replies stay readable.
    config.handshake.deflate.as_mut().expect("set").min_length = 1000;
    let server = TestServer::start(config, Echo::default());
    let hello: &[u8] = b"\x81\x05Hello";
    let rows: &[(&str, Vec<u8>, &[u8])] = &[
        ("7.2.3.1: one block", frame(0xc1, HELLO), hello),
        (
            "7.2.3.1: fragments",
            [frame(0x41, &HELLO[..3]), frame(0x80, &HELLO[3..])].concat(),
            hello,
        ),
        (
            "fragments with a ping between them",
            [frame(0x41, &HELLO[..3]), frame(0x89, b"x"), frame(0, b""), frame(0x80, &HELLO[3..])]
                .concat(),
            b"\x8a\x01x\x81\x05Hello",
        ),
        ("7.2.3.3: a stored block", frame(0xc1, b"\x00\x05\x00\xfa\xffHello\x00"), hello),
        ("7.2.3.4: BFINAL", frame(0xc1, b"\xf3\x48\xcd\xc9\xc9\x07\x00\x00"), hello),
        (
            "7.2.3.5: two blocks",
            frame(0xc1, b"\xf2\x48\x05\x00\x00\x00\xff\xff\xca\xc9\xc9\x07\x00"),
            hello,
        ),
        (
            "BFINAL in the middle",
            frame(0xc1, b"\xf3\x48\x05\x00\x4b\xcd\xc9\xc9\x07\x00\x00"),
            b"\x81\x06Heello",
        ),
        ("7.2.3.6: an empty message", frame(0xc1, b"\x00"), b"\x81\x00"),
        ("an empty block", frame(0xc2, b"\x02\x00"), b"\x82\x00"),
        ("many empty blocks", frame(0xc2, &[0, 0, 0, 0xff, 0xff].repeat(100)[..496]), b"\x82\x00"),
        ("no RSV1: not compressed", frame(0x81, b"Hello"), hello),
        ("binary", frame(0xc2, HELLO), b"\x82\x05Hello"),
    ];
    for (what, wire, reply) in rows {
        let close = frame(0x88, &1000u16.to_be_bytes());
        for how in How::all(wire.len()) {
            let mut client = open(server.address);
            client.send_as(how, &[&wire[..], &close].concat());
            let expected = [reply, &b"\x88\x02\x03\xe8"[..]].concat();
            assert_eq!(show(&client.read_to_end()), show(&expected), "{what}, {how:?}");
        }
    }
    server.is_back_to_baseline();
}

/// Payload data that is no compressed message, with a context and without: 1007, however the bytes are split.
#[test]
fn invalid_data_fails_the_connection() {
    let rows: &[(&str, &[u8])] = &[
        ("nothing at all", b""),
        ("a reserved block type", b"\x07\x00"),
        ("garbage", b"\xff\xff\xff\xff\xff"),
        ("a truncated block", &HELLO[..4]),
        ("a stored block without the end of an empty one", b"\x00\x05\x00\xfa\xffHello"),
        ("a stored block of which a part is missing", b"\x00\x05\x00\xfa\xffHel"),
        ("a stored block whose length is wrong", b"\x00\x05\x00\xfa\xfeHello\x00"),
        ("a distance too far back", b"\x02\x07\x40\x00"),
        ("garbage after the end", b"\xf2\x48\xcd\xc9\xc9\x07\x00\x07"),
        ("BFINAL without the end of an empty block", b"\xf3\x48\xcd\xc9\xc9\x07\x00"),
        ("garbage after BFINAL", b"\xf3\x48\xcd\xc9\xc9\x07\x00\x07"),
        ("the tail, which is not sent", b"\xf2\x48\xcd\xc9\xc9\x07\x00\x00\x00\xff\xff"),
    ];
    for change in [|_: &mut Deflate| {}, takeover] {
        let server = echo(change);
        for (what, payload) in rows {
            let wire = frame(0xc1, payload);
            for how in How::all(wire.len()) {
                let mut client = open(server.address);
                client.send_as(how, &wire);
                let seen = client.read_to_end();
                assert_eq!(
                    show(&seen),
                    show(&reason(Violation::InvalidDeflate)),
                    "{what}, {how:?}"
                );
            }
        }
        server.is_back_to_baseline();
    }
}

/// RFC 6455 §8.1-1: UTF-8 is checked after decompressing, and before the message has ended.
#[test]
fn text_is_checked_while_it_is_decompressed() {
    let server = echo(|_| {});
    let mut peer = Peer::new();
    let invalid = peer.compress(b"ol\xe1 ol\xe1");
    fails(&server, &[frame(0xc1, &invalid)], Violation::InvalidUtf8);
    // The message never ends, and its first fragment is enough.
    let fragment = frame(0x41, &[&invalid[..], b"\0\0\xff\xff"].concat());
    fails(&server, &[fragment], Violation::InvalidUtf8);
    // The same bytes are fine as binary data.
    let mut client = open(server.address);
    client.send(&frame(0xc2, &invalid));
    let (first, payload) = read_frame(&mut client);
    let message = if first == 0xc2 { Peer::new().decompress(&payload) } else { payload };
    assert_eq!(message, b"ol\xe1 ol\xe1");
    client.leave();
    // A code point that is split between fragments, and between pieces of decompressed data.
    let mut client = open(server.address);
    let text = "é".repeat(40_000) + "x" + &"é".repeat(40_000);
    let payload = Peer::new().compress(text.as_bytes());
    let (start, end) = payload.split_at(payload.len() / 2);
    client.send(&[frame(0x41, start), frame(0x80, end)].concat());
    let (first, payload) = read_frame(&mut client);
    assert_eq!((first, &*Peer::new().decompress(&payload)), (0xc1, text.as_bytes()));
    client.leave();
    server.is_back_to_baseline();
}

/// CVE-2018-1000518, CVE-2026-39804: the limit applies to decompressed data while it is decompressed. A message of 1 GiB gets 1009, in
/// one frame and in many. `tests/properties` measures the memory.
#[test]
fn cve_2018_1000518_a_bomb_is_too_big() {
    let megabyte = [&Peer::new().compress(&vec![0; 1 << 20])[..], b"\0\0\xff\xff"].concat();
    let mut bomb = megabyte.repeat(1024);
    bomb.truncate(bomb.len() - 4);
    for change in [|_: &mut Deflate| {}, takeover] {
        let server = TestServer::start(
            with(change).limits(|limits| limits.max_message = 2 << 20),
            Echo::default(),
        );
        fails(&server, &[frame(0xc2, &bomb)], Violation::MessageTooBig);
        let first = |at| if at == 0 { 0x42 } else { 0 };
        let fragments = bomb.chunks(1000).enumerate().map(|(at, piece)| frame(first(at), piece));
        fails(&server, &fragments.collect::<Vec<_>>(), Violation::MessageTooBig);
        server.is_back_to_baseline();
    }
    // Exactly the limit, and one byte more.
    let server = TestServer::start(
        with(|_| {}).limits(|limits| limits.max_message = 100_000),
        Echo::default(),
    );
    let mut client = open(server.address);
    client.send(&frame(0xc2, &Peer::new().compress(&[7; 100_000])));
    let (first, payload) = read_frame(&mut client);
    assert_eq!((first, Peer::new().decompress(&payload)), (0xc2, vec![7; 100_000]));
    client.send(&frame(0xc2, &Peer::new().compress(&[7; 100_001])));
    client.expect_end(&reason(Violation::MessageTooBig));
}

/// RFC 7692 7.1.1, 7.2.3.2: with a context, a message refers to earlier ones. Messages that are not compressed are not part of it.
#[test]
fn a_context_lasts_from_message_to_message() {
    let server = echo(takeover);
    let mut client = open(server.address);
    let mut peer = Peer::new();
    let text = TEXT;
    let mut lengths = Vec::new();
    for round in 0..5 {
        let payload = peer.compress(text.as_bytes());
        client.send(&frame(0xc1, &payload));
        let (first, reply) = read_frame(&mut client);
        assert_eq!(first, 0xc1);
        assert_eq!(peer.decompress(&reply), text.as_bytes(), "round {round}");
        lengths.push((payload.len(), reply.len()));
        // This one does not shrink, so the server sends it as it is and forgets it.
        if round == 2 {
            let noise: Vec<u8> =
                (0..=255u8).map(|byte| byte.wrapping_mul(167) ^ (byte >> 3)).collect();
            client.send(&frame(0xc2, &peer.compress(&noise)));
            assert_eq!(read_frame(&mut client), (0x82, noise));
        }
    }
    let (first, second) = (lengths[0], lengths[1]);
    assert!(second.0 < first.0 / 2 && second.1 < first.1 / 2, "{lengths:?}");
    // After the noise the context begins anew.
    assert_eq!(lengths[3].1, first.1, "{lengths:?}");
    assert_eq!(lengths[4].1, second.1, "{lengths:?}");
    client.leave();
    server.is_back_to_baseline();
}

/// Without a context on the server's side, each reply can be decompressed alone, although a client may keep its own context.
#[test]
fn each_side_has_its_own_rule_about_contexts() {
    let server = echo(|deflate| deflate.client_no_context_takeover = false);
    let (mut client, answer) = offer(server.address, &["permessage-deflate"]);
    assert_eq!(answer.as_deref(), Some("permessage-deflate; server_no_context_takeover"));
    let text = TEXT;
    let mut peer = Peer::new();
    for _ in 0..3 {
        client.send(&frame(0xc1, &peer.compress(text.as_bytes())));
        let (first, reply) = read_frame(&mut client);
        assert_eq!((first, &*Peer::new().decompress(&reply)), (0xc1, text.as_bytes()));
    }
    client.leave();
    // Here the client must not keep a context, and a message that refers to an earlier one is refused.
    let server = echo(|_| {});
    let mut client = open(server.address);
    let mut peer = Peer::new();
    client.send(&frame(0xc1, &peer.compress(text.as_bytes())));
    read_frame(&mut client);
    client.send(&frame(0xc1, &peer.compress(text.as_bytes())));
    client.expect_end(&reason(Violation::InvalidDeflate));
}

/// T3: a few bytes can be a long message, so a turn also ends after what it has decompressed. What it leaves is decompressed later.
#[test]
fn t3_a_turn_ends_after_a_number_of_decompressed_bytes() {
    const MESSAGES: usize = 200;
    let mut stage = stage(with(|_| {}), Echo::default());
    let open = |stage: &mut support::stage::Stage<Echo>| {
        let actor = stage.connect();
        stage.send(&actor, &request("Sec-WebSocket-Extensions: permessage-deflate\r\n"));
        stage.pass();
        assert!(stage.heard(&actor).starts_with(b"HTTP/1.1 101 "));
        actor
    };
    let (flooder, honest) = (open(&mut stage), open(&mut stage));
    let message = frame(0xc2, &Peer::new().compress(&[7; 65_536]));
    stage.send(&flooder, &message.repeat(MESSAGES));
    stage.send(&honest, &frame(0x81, b"hi"));
    stage.event_loop.begin_pass(stage.now);
    stage.event_loop.take_turns();
    assert_eq!(show(&stage.heard(&honest)), "\\x81\\x02hi");
    let reply = stage.heard(&flooder);
    // All replies are the same.
    assert_eq!(reply[..2], [0xc2, 126], "{}", show(&reply));
    let length = 4 + usize::from(u16::from_be_bytes([reply[2], reply[3]]));
    assert!(reply.len().is_multiple_of(length));
    assert_eq!(reply.len() / length, (1 << 20) / 65_536, "a turn decompresses 1 MiB");
    stage.pass();
    assert_eq!(stage.heard(&flooder).len(), (MESSAGES - 16) * length);
}

// Sending.

/// A message below the threshold is sent as it is, and so is one that does not become shorter.
#[test]
fn what_does_not_become_shorter_is_sent_as_it_is() {
    let server = echo(|deflate| deflate.min_length = 50);
    let mut client = open(server.address);
    let noise: Vec<u8> =
        (0..200u32).map(|n| ((n * n).wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    for (message, is_compressed) in [
        (&[7; 49][..], false),
        (&[7; 50], true),
        (&noise, false),
        (&[], false),
        (&[7; 70_000], true),
    ] {
        client.send(&frame(0x82, message));
        let (first, payload) = read_frame(&mut client);
        assert_eq!(first, if is_compressed { 0xc2 } else { 0x82 }, "{} bytes", message.len());
        let received = if is_compressed { Peer::new().decompress(&payload) } else { payload };
        assert!(received == message);
    }
    client.leave();
    server.is_back_to_baseline();
}

/// A message to a group is compressed once for each distinct set of parameters, and once for each member that has a context.
#[test]
fn a_message_to_a_group_is_compressed_once_for_each_kind() {
    let server = TestServer::start(with(takeover), Broadcast);
    let wide = "permessage-deflate; server_no_context_takeover";
    let narrow = "permessage-deflate; server_no_context_takeover; server_max_window_bits=9";
    let keeps = "permessage-deflate";
    // The first one speaks.
    let offers = [
        &[][..],
        &[],
        &[wide],
        &[wide],
        &[narrow],
        &[wide],
        &[narrow],
        &[narrow],
        &[keeps],
        &[keeps],
    ];
    let mut clients: Vec<Client> =
        offers.iter().map(|fields| offer(server.address, fields).0).collect();
    let mut peers: Vec<Peer> = clients.iter().map(|_| Peer::new()).collect();
    server.wait_for("everybody", |now| now.memberships == offers.len());
    let count = |server: &TestServer<Broadcast>| {
        server.handle.call(|_, _| compressions()).expect("it runs")
    };
    let before = count(&server);
    for (round, text) in [TEXT.to_owned(), TEXT.repeat(2000), TEXT.to_owned()].iter().enumerate() {
        if round == 1 {
            // From another thread, and to everybody.
            server.handle.publish("everyone", text.as_str(), &[]).expect("it runs");
        } else {
            clients[0].send(&frame(0x81, text.as_bytes()));
        }
        for (at, client) in clients.iter_mut().enumerate().skip(usize::from(round != 1)) {
            let (first, payload) = read_frame(client);
            let is_plain = offers[at].is_empty();
            assert_eq!(first, if is_plain { 0x81 } else { 0xc1 });
            if offers[at].first() == Some(&wide) || offers[at].first() == Some(&narrow) {
                peers[at] = Peer::new();
            }
            let received = if is_plain { payload } else { peers[at].decompress(&payload) };
            assert!(received == text.as_bytes());
        }
    }
    assert_eq!(
        count(&server) - before,
        3 * (2 + 2),
        "two kinds without a context, two members with one"
    );
    clients.into_iter().for_each(Client::leave);
    server.is_back_to_baseline();
}

/// T4: when memory is short, the contexts of the server go before any connection does. Later messages are compressed without what
/// was before, and the peers can still read them.
#[test]
fn t4_contexts_give_way_when_memory_is_short() {
    const LIMIT: usize = 2 << 20;
    let config = with(takeover).limits(|limits| limits.max_memory = Some(LIMIT));
    let mut stage = stage(config, Echo::default());
    let message = TEXT.repeat(10);
    let mut peers = Vec::new();
    for _ in 0..20 {
        let actor = stage.connect();
        stage.send(&actor, &request("Sec-WebSocket-Extensions: permessage-deflate\r\n"));
        stage.pass();
        assert!(stage.heard(&actor).starts_with(b"HTTP/1.1 101 "));
        peers.push((actor, Peer::new()));
    }
    for round in 0..5 {
        for (actor, peer) in &mut peers {
            stage.send(actor, &frame(0xc1, &peer.compress(message.as_bytes())));
            stage.pass();
            let reply = stage.heard(actor);
            assert_eq!((reply[0], usize::from(reply[1])), (0xc1, reply.len() - 2), "round {round}");
            assert!(peer.decompress(&reply[2..]) == message.as_bytes());
            let held = stage.event_loop.snapshot().held;
            assert!((40 * 1024..=LIMIT).contains(&held), "{held} bytes are held");
        }
    }
    assert_eq!(stage.event_loop.snapshot().open, 20);
}

// The client of the library.

/// Every combination of contexts and windows on both sides, with messages of many sizes, in both directions.
#[test]
fn client_and_server_agree() {
    let settings = |bits: u8| -> Vec<Deflate> {
        [(false, false), (false, true), (true, false), (true, true)]
            .map(|(server, client)| {
                let mut deflate = Deflate::default();
                deflate.server_no_context_takeover = server;
                deflate.client_no_context_takeover = client;
                deflate.server_max_window_bits = bits;
                deflate.client_max_window_bits = bits;
                deflate.min_length = 0;
                deflate
            })
            .to_vec()
    };
    let texts: Vec<String> = [0, 1, 5, 100, 1000, 20_000]
        .iter()
        .map(|&length| (0..length).map(|n| ["{\"a\": ", "é", "1, ", "x"][n % 4]).collect())
        .collect();
    for server_settings in [settings(15), settings(9)].concat() {
        let config = without_pings()
            .handshake(|handshake| handshake.deflate = Some(server_settings.clone()));
        let server = TestServer::start(config, Echo::default());
        for client_settings in [settings(15), settings(10)].concat() {
            let request = ClientRequest::new(
                Url::parse(&format!("ws://{}/", server.address)).expect("valid"),
            );
            let config = Config::default()
                .handshake(|handshake| handshake.deflate = Some(client_settings.clone()));
            let mut client = WsClient::open(&request, config).expect("it opens");
            assert!(client.negotiated().extensions.is_some());
            for text in texts.iter().chain(&texts) {
                client.send(text).expect("it is sent");
                let reply = client.recv_message().expect("it works").expect("a message");
                assert!(reply.as_str() == Some(text), "{server_settings:?} {client_settings:?}");
            }
            client.close(framewise::CloseCode::NORMAL, "").expect("a valid close");
        }
        server.is_back_to_baseline();
    }
}
