//! Output for slow readers: its limits, backpressure, and streams without gaps. Also what happens when a dispatcher
//! panics.

mod support;

use framewise::{Broadcast, Dispatcher, Echo, Message, Opened, Outbox};
use support::*;

/// Sends each message to all peers, including its sender.
struct ToAll;

impl Dispatcher for ToAll {
    fn on_open(&mut self, outbox: &mut Outbox<'_>, _: &Opened<'_>) {
        outbox.join("all").expect("joins");
    }

    fn on_message(&mut self, outbox: &mut Outbox<'_>, message: Message<'_>) {
        outbox.publish("all", message, &[]);
    }
}

/// A broadcast sends each message unchanged to all other peers.
#[test]
fn a_broadcast_reaches_all_others_unchanged() {
    let server = TestServer::start(any_origin(), Broadcast);
    let mut clients: Vec<Client> = (0..4).map(|_| Client::open(server.address)).collect();
    let large = vec![7; 70_000];
    let messages: [(u8, &[u8]); 4] =
        [(0x81, "olá".as_bytes()), (0x82, b"\0\xff"), (0x82, &large), (0x81, b"")];
    for (first, payload) in messages {
        clients[0].send(&frame(first, payload));
        for client in &mut clients[1..] {
            client.expect(&server_frame(first, payload));
        }
    }
    for client in clients {
        // The sender also gets only its Close: its own messages did not come back.
        client.leave();
    }
    server.is_back_to_baseline();
}

/// R1, RUSTSEC-2020-0043: a member that never reads is closed at the output limit. The others lose nothing.
#[test]
fn rustsec_2020_0043_a_member_that_never_reads_is_disconnected() {
    let config = any_origin().limits(|limits| limits.max_output = 64 * 1024);
    let server = TestServer::start(config, ToAll);
    let mut silent = Client::open(server.address);
    let mut reader = Client::open(server.address);
    server.wait_for("both are members", |now| now.memberships == 2);
    let payload = vec![b'm'; 16 * 1024];
    let expected = server_frame(0x82, &payload);
    let mut rounds = 0;
    while server.snapshot().memberships == 2 {
        reader.send(&frame(0x82, &payload));
        reader.expect(&expected);
        rounds += 1;
        assert!(rounds < 10_000, "the limit is never reached");
    }
    for _ in 0..10 {
        reader.send(&frame(0x82, &payload));
        reader.expect(&expected);
    }
    reader.leave();
    // The silent member gets complete messages, then a Close with the reason.
    let mut stream = silent.read_to_end();
    drop(silent);
    let close = failure(1008, "RFC 6455 10.4: output limit reached, the peer reads too slowly");
    assert!(stream.ends_with(&close));
    stream.truncate(stream.len() - close.len());
    assert!(stream.chunks(expected.len()).all(|message| message == expected));
    server.is_back_to_baseline();
}

/// R2: a peer that reads its replies late gets all of them in order, and is not closed.
#[test]
fn a_peer_that_reads_late_gets_every_reply() {
    let config = any_origin().limits(|limits| {
        limits.max_output = 64 * 1024;
        limits.read_buffer = 16 * 1024;
    });
    let server = TestServer::start(config, Echo::default());
    let mut client = Client::open(server.address);
    let mut writer = Client { stream: client.stream.try_clone().expect("a second handle") };
    const MESSAGES: u32 = 100_000;
    let flood = std::thread::spawn(move || {
        // 10 MB, far more than fits into all buffers between the server and the client.
        for first in (0..MESSAGES).step_by(1000) {
            let frames =
                (first..first + 1000).flat_map(|n| frame(0x82, &n.to_be_bytes().repeat(25)));
            writer.send(&frames.collect::<Vec<u8>>());
        }
    });
    for n in 0..MESSAGES {
        if n % 10_000 == 0 {
            // A pause without a clock: the time in which another client is served.
            let mut visitor = Client::open(server.address);
            visitor.send(&frame(0x81, b"meanwhile"));
            visitor.expect(b"\x81\x09meanwhile");
        }
        client.expect(&server_frame(0x82, &n.to_be_bytes().repeat(25)));
    }
    flood.join().expect("the writer ends");
    client.leave();
    server.is_back_to_baseline();
}

/// R4. RFC 6455 §5.5.2-2: a peer that reads its replies gets a pong for each ping.
#[test]
fn ten_pings_in_one_write_get_ten_pongs() {
    let server = TestServer::echo();
    let pings: Vec<u8> = (0..10).flat_map(|n| frame(0x89, &[n])).collect();
    let pongs: Vec<u8> = (0..10).flat_map(|n| server_frame(0x8a, &[n])).collect();
    answers_with(&server, &pings, &pongs);
}

/// R4, CVE-2026-11586: a flood of pings from a peer that reads late is answered with complete pongs, within the output
/// limit. `one_pong_waits_for_a_full_socket` in `tests/turns.rs` shows that a newer pong replaces the one that waits.
#[test]
fn cve_2026_11586_a_ping_flood_is_answered_within_the_limit() {
    let server = TestServer::start(
        any_origin().limits(|limits| {
            limits.max_output = 32 * 1024;
            limits.max_control_rate = u32::MAX;
        }),
        Echo::default(),
    );
    let mut client = Client::open(server.address);
    let payload = [b'p'; 125];
    let mut writer = Client { stream: client.stream.try_clone().expect("a second handle") };
    let flood = std::thread::spawn(move || {
        for _ in 0..200 {
            writer.send(&frame(0x89, &payload).repeat(1000));
        }
        writer.send(&frame(0x88, b"\x03\xe8"));
    });
    let mut visitor = Client::open(server.address);
    visitor.send(&frame(0x81, b"meanwhile"));
    visitor.expect(b"\x81\x09meanwhile");
    visitor.leave();
    let stream = client.read_to_end();
    flood.join().expect("the writer ends");
    drop(client);
    let pong = server_frame(0x8a, &payload);
    let pongs = stream.strip_suffix(b"\x88\x02\x03\xe8").expect("the Close comes last");
    assert!(pongs.chunks(pong.len()).all(|chunk| chunk == pong), "only complete pongs");
    assert!(pongs.len() / pong.len() <= 200_000);
    server.is_back_to_baseline();
}

/// R11: large messages arrive, although sockets take them in parts.
#[test]
fn large_messages_arrive_complete() {
    let server = TestServer::echo();
    let mut client = Client::open(server.address);
    for length in [16 * 1024 - 1, 16 * 1024, 64 * 1024, 256 * 1024, 1 << 20] {
        let payload: Vec<u8> = (0..length).map(|n| (n % 253) as u8).collect();
        let mut writer = Client { stream: client.stream.try_clone().expect("a second handle") };
        let sent = frame(0x82, &payload).repeat(3);
        let flood = std::thread::spawn(move || writer.send(&sent));
        client.expect(&server_frame(0x82, &payload).repeat(3));
        flood.join().expect("the writer ends");
    }
    client.leave();
    server.is_back_to_baseline();
}

/// R18: a panic of a dispatcher closes the connection of the peer that it was called for, and no other.
#[test]
fn a_panic_closes_one_connection() {
    struct Fragile {
        closes: usize,
    }
    impl Dispatcher for Fragile {
        fn on_open(&mut self, outbox: &mut Outbox<'_>, opened: &Opened<'_>) {
            outbox.join("all").expect("joins");
            assert_ne!(opened.request.path(), "/panic", "asked for");
        }

        fn on_message(&mut self, outbox: &mut Outbox<'_>, message: Message<'_>) {
            outbox.reply(message);
            assert_ne!(message, Message::from("panic"), "asked for");
            if message == Message::from("closes") {
                outbox.reply(Message::from(&self.closes.to_string()));
            }
        }

        fn on_close(&mut self, outbox: &mut Outbox<'_>, _: &framewise::Closed) {
            self.closes += 1;
            outbox.publish("all", Message::from("one less"), &[]);
        }
    }
    let server = TestServer::start(any_origin(), Fragile { closes: 0 });
    let mut witness = Client::open(server.address);
    let internal = failure(1011, "internal error");

    let mut client = Client::open(server.address);
    client.send(&[frame(0x81, b"panic"), frame(0x81, b"never seen")].concat());
    client.expect_end(&[&b"\x81\x05panic"[..], &internal].concat());
    drop(client);
    witness.expect(b"\x81\x08one less");

    let mut client = Client::connect(server.address);
    client.send(
        String::from_utf8(request(""))
            .expect("ASCII")
            .replacen("GET /", "GET /panic", 1)
            .as_bytes(),
    );
    client.expect_end(&[SWITCHING, &internal].concat());
    drop(client);
    witness.expect(b"\x81\x08one less");

    witness.send(&frame(0x81, b"closes"));
    witness.expect(b"\x81\x06closes\x81\x012");
    witness.leave();
    server.wait_for("everyone is gone", |now| now.peers == 0 && now.memberships == 0);
}
