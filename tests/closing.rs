//! RFC 6455 §5.5.1, §7: the closing handshake, and every other way in which a connection closes.

mod support;

use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use framewise::Cause;
use framewise::InvalidClose;
use framewise::config::Config;
use framewise::{CloseCode, Closed, Dispatcher, Message, Opened, Outbox, PeerId};
use support::stage::*;
use support::*;

/// Adds every peer to one group and records which callbacks are called.
struct Recorder {
    opened: Sender<PeerId>,
    closed: Sender<Closed>,
}

impl Dispatcher for Recorder {
    fn on_open(&mut self, outbox: &mut Outbox<'_>, _: &Opened<'_>) {
        outbox.join("all").expect("joins");
        let _ = self.opened.send(outbox.peer());
    }

    fn on_message(&mut self, outbox: &mut Outbox<'_>, message: Message<'_>) {
        outbox.publish("all", message, &[]);
    }

    fn on_close(&mut self, outbox: &mut Outbox<'_>, closed: &Closed) {
        assert!(!outbox.members("all").contains(&outbox.peer()), "it has left its groups");
        assert!(!outbox.reply(Message::from("too late")), "nothing can be sent to it");
        let _ = self.closed.send(closed.clone());
    }
}

fn recorded(config: Config) -> (TestServer<Recorder>, Receiver<PeerId>, Receiver<Closed>) {
    let ((opened, opens), (closed, closes)) = (channel(), channel());
    (TestServer::start(config, Recorder { opened, closed }), opens, closes)
}

/// C1. RFC 6455 §5.5.1-6, §5.5.1-11, §7.1.1-3, §7.1.1-5: the server answers a Close without a body with one without a body, and closes TCP
/// first.
#[test]
fn an_empty_close() {
    ends_with(&TestServer::echo(), &frame(0x88, b""), b"\x88\0");
}

/// C2. RFC 6455 §5.5.1-2, §7.4.1-3, §7.4.1-4, §7.4.1-6, §8.1-1
#[test]
fn an_invalid_close_fails_the_connection() {
    let server = TestServer::echo();
    let half = failure(1002, "RFC 6455 5.5.1: a close body starts with a 2-byte code");
    ends_with(&server, &frame(0x88, b"\x03"), &half);
    let code = failure(1002, "RFC 6455 7.4: this close code must not be sent");
    for invalid in [0u16, 1, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65_535] {
        ends_with(&server, &frame(0x88, &invalid.to_be_bytes()), &code);
    }
    let reason = failure(1007, "RFC 6455 8.1: a close reason must be valid UTF-8");
    ends_with(&server, &frame(0x88, b"\x03\xe8\xce\xba\xe1\xbd"), &reason);
}

/// C3, C4. RFC 6455 §5.5.1-1, §5.5.1-6, §5.5.1-7, §7.4-1, §7.4.1-1: the server repeats the code and the reason, up to the longest reason.
#[test]
fn closes_are_echoed() {
    let server = TestServer::echo();
    for code in
        [1000u16, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014, 3000, 4999]
    {
        for reason in ["", "até logo", &"x".repeat(123)] {
            let body = [&code.to_be_bytes(), reason.as_bytes()].concat();
            ends_with(&server, &frame(0x88, &body), &server_frame(0x88, &body));
        }
    }
}

/// CVE-2016-10518, CVE-2026-45736: a pong and a Close repeat the bytes of the peer and no other memory of the server.
#[test]
fn cve_2016_10518_and_cve_2026_45736_replies_leak_no_memory() {
    let server = TestServer::echo();
    let input = [frame(0x81, &[b's'; 100]), frame(0x89, b"p"), frame(0x88, b"\x03\xe8r")].concat();
    let output =
        [server_frame(0x81, &[b's'; 100]), b"\x8a\x01p\x88\x03\x03\xe8r".to_vec()].concat();
    ends_with(&server, &input, &output);
}

/// C4. RFC 6455 §5.5-1: `close` returns an error if the code or the reason is invalid, and sends nothing.
#[test]
fn an_invalid_close_is_an_error_of_the_caller() {
    struct Long;
    impl Dispatcher for Long {
        fn on_message(&mut self, outbox: &mut Outbox<'_>, _: Message<'_>) {
            let refused = outbox.close(CloseCode::NORMAL, &"x".repeat(124));
            assert_eq!(refused, Err(InvalidClose::ReasonTooLong(124)));
            let reserved = outbox.close(CloseCode::ABNORMAL, "");
            assert_eq!(reserved, Err(InvalidClose::Code(CloseCode::ABNORMAL)));
            assert_eq!(outbox.close(CloseCode(4000), &"y".repeat(123)), Ok(true));
            assert_eq!(outbox.close(CloseCode::NORMAL, ""), Ok(false), "there is only one Close");
        }
    }
    let server = TestServer::start(any_origin(), Long);
    let body = [&4000u16.to_be_bytes()[..], &[b'y'; 123]].concat();
    let input = [frame(0x81, b"go"), frame(0x88, b"\x03\xe8")].concat();
    ends_with(&server, &input, &server_frame(0x88, &body));
}

/// C5. RFC 6455 §5.5.1-5, §7.1.7-7: the server ignores everything after a Close, even a broken rule.
#[test]
fn everything_after_a_close_is_ignored() {
    let server = TestServer::echo();
    let close = frame(0x88, b"\x03\xe8");
    for after in [frame(0x81, b"data"), frame(0x89, b"ping"), close.clone(), b"\xff\xff".to_vec()] {
        ends_with(&server, &[close.clone(), after].concat(), b"\x88\x02\x03\xe8");
    }
}

/// C6. RFC 6455 §5.5.1-6: an incomplete message is dropped.
#[test]
fn a_close_inside_a_message() {
    let server = TestServer::echo();
    let input = [frame(0x01, b"half"), frame(0x88, b"\x03\xe8")].concat();
    ends_with(&server, &input, b"\x88\x02\x03\xe8");
}

/// Closes the connection of every peer that sends a message.
struct Closer;

impl Dispatcher for Closer {
    fn on_message(&mut self, outbox: &mut Outbox<'_>, _: Message<'_>) {
        outbox.close(CloseCode(4001), "enough").expect("a valid close");
    }
}

/// C6. RFC 6455 §5.5.1-10, §7.1.2-2, §7.3-1: both sides close at the same time, and each sends one Close.
#[test]
fn both_sides_close_at_once() {
    let server = TestServer::start(any_origin(), Closer);
    let mut client = Client::open(server.address);
    client.send(&[frame(0x81, b"go"), frame(0x88, b"\x03\xe8")].concat());
    client.expect_end(&failure(4001, "enough"));
    drop(client);
    server.is_back_to_baseline();
}

/// RFC 6455 §5.5.2-2: a ping gets its pong until the peer's Close has arrived, also after the server has sent its own Close.
#[test]
fn a_ping_that_crosses_the_close_is_answered() {
    let server = TestServer::start(any_origin(), Closer);
    let pings = [frame(0x81, b"go"), frame(0x89, b"1"), frame(0x89, b"2")].concat();
    let input = [pings, frame(0x88, b"\x03\xe8"), frame(0x89, b"3")].concat();
    let output = [&failure(4001, "enough")[..], b"\x8a\x011\x8a\x012"].concat();
    ends_with(&server, &input, &output);
}

/// C7. RFC 6455 §7.1.1-2: if a peer does not answer the server's Close, the file descriptor is closed at the deadline.
#[test]
fn a_connection_with_an_unanswered_close_is_closed_at_its_deadline() {
    let config = any_origin().timeouts(|timeouts| timeouts.close = Duration::from_millis(200));
    let server = TestServer::start(config, Closer);
    let mut client = Client::open(server.address);
    client.send(&frame(0x81, b"go"));
    client.expect_end(&failure(4001, "enough"));
    server.wait_for("the slot is released", |now| now.peers == 0);
}

/// C8. RFC 6455 §7.2.1-2: if TCP is closed without a Close, `on_close` is called once, with 1006, and the peer leaves
/// its groups. CVE-2017-2670, ws-rs#181: the loop does not spin on such a socket.
#[test]
fn cve_2017_2670_and_ws_rs_181_tcp_ends_without_a_close() {
    let (server, opens, closes) = recorded(any_origin());
    let half_a_frame = &frame(0x81, b"half a frame")[..9];
    for sent_before in [&b""[..], half_a_frame, &frame(0x01, b"half a message")] {
        let mut client = Client::open(server.address);
        receive(&opens);
        client.send(sent_before);
        client.finish();
        client.expect_end(b"");
        let closed = receive(&closes);
        assert_eq!((closed.code, closed.cause), (CloseCode::ABNORMAL, Cause::Lost));
    }
    // Closing a socket with unread bytes resets the connection, here while the server is sending to it.
    for _ in 0..20 {
        let mut client = Client::open(server.address);
        receive(&opens);
        client.send(&frame(0x82, &[1; 50_000]));
        client.expect(&server_frame(0x82, &[1; 50_000])[..1000]);
        drop(client);
        assert_eq!(receive(&closes).code, CloseCode::ABNORMAL);
    }
    server.is_back_to_baseline();
    assert!(
        closes.recv_timeout(Duration::from_secs(30)).is_ok(),
        "the client of the baseline check"
    );
    assert!(closes.try_recv().is_err(), "each close is reported once");
}

/// Remembers the id of the last peer that left, and uses this stale id in every possible way when a peer opens.
#[derive(Default)]
struct Stale {
    left: Option<PeerId>,
    rounds: u32,
}

impl Dispatcher for Stale {
    fn on_open(&mut self, outbox: &mut Outbox<'_>, _: &Opened<'_>) {
        outbox.join("room").expect("joins");
        let Some(old) = self.left else { return };
        assert_eq!(old.slot(), outbox.peer().slot(), "the slot is reused");
        assert!(old != outbox.peer() && !outbox.is_open(old));
        assert!(!outbox.send(old, "for the last one"));
        assert!(!outbox.send(old, [0; 200_000]), "not even a message that is written at once");
        assert_eq!(outbox.members("room"), [outbox.peer()]);
        assert_eq!(outbox.publish("room", "for others", &[outbox.peer()]), 0);
        assert_eq!(outbox.close_peer(old, CloseCode::NORMAL, ""), Ok(false));
        assert!(outbox.join_peer(old, "room").is_err() && !outbox.leave_peer(old, "room"));
        outbox.pause_reading(old, std::time::Instant::now() + Duration::from_secs(1));
        self.rounds += 1;
    }

    fn on_message(&mut self, outbox: &mut Outbox<'_>, _: Message<'_>) {
        outbox.reply(self.rounds.to_string());
    }

    fn on_close(&mut self, outbox: &mut Outbox<'_>, _: &Closed) {
        self.left = Some(outbox.peer());
    }
}

/// C9, CVE-2022-25762: a slot is reused while the application still has the id of the previous peer. Nothing that is
/// sent to that id reaches the new peer.
#[test]
fn cve_2022_25762_a_stale_id_does_not_reach_the_new_peer_of_its_slot() {
    const ROUNDS: u32 = 100_000;
    let mut stage = stage(any_origin(), Stale::default());
    for round in 0..ROUNDS {
        let actor = open(&mut stage);
        if round + 1 == ROUNDS {
            stage.send(&actor, &frame(0x81, b"how many?"));
            stage.pass();
            assert_eq!(
                stage.heard(&actor),
                server_frame(0x81, (ROUNDS - 1).to_string().as_bytes())
            );
        }
        stage.reset(&actor);
        stage.pass();
    }
    is_back_to_baseline(&stage);
}

/// C9 over real sockets: one client broadcasts while others open and close. Each of them gets complete frames.
#[test]
fn a_broadcast_during_closes_sends_complete_frames() {
    let (server, opens, _closes) = recorded(any_origin());
    let mut speaker = Client::open(server.address);
    receive(&opens);
    for round in 0..200 {
        let mut other = Client::open(server.address);
        receive(&opens);
        let text = format!("round {round}");
        speaker.send(&frame(0x81, text.as_bytes()));
        match round % 3 {
            0 => other.send(&frame(0x88, b"\x03\xe8")),
            1 => other.finish(),
            _ => {}
        }
        speaker.expect(&server_frame(0x81, text.as_bytes()));
        if round % 3 < 2 {
            let heard = other.read_to_end();
            let frames = server_frame(0x81, text.as_bytes());
            let rest = heard.strip_prefix(frames.as_slice()).unwrap_or(&heard);
            assert!(rest.is_empty() || rest == b"\x88\x02\x03\xe8", "{}", show(&heard));
        }
    }
    speaker.leave();
    server.is_back_to_baseline();
}

/// C10: callbacks close connections and leave groups, of their own peer and of others, at any time.
#[test]
fn any_callback_may_close_any_peer() {
    #[derive(Default)]
    struct Unruly {
        everyone: Vec<PeerId>,
    }
    impl Dispatcher for Unruly {
        fn on_open(&mut self, outbox: &mut Outbox<'_>, opened: &Opened<'_>) {
            outbox.join("all").expect("joins");
            self.everyone.push(outbox.peer());
            if opened.request.path() == "/leave" {
                outbox.leave("all");
                outbox.close(CloseCode(4000), "at once").expect("valid");
                assert!(!outbox.reply(Message::from("never")));
            }
        }

        fn on_message(&mut self, outbox: &mut Outbox<'_>, _: Message<'_>) {
            for &peer in &self.everyone {
                outbox.leave_peer(peer, "all");
                outbox.close_peer(peer, CloseCode(4001), "all of you").expect("valid");
            }
        }

        fn on_close(&mut self, outbox: &mut Outbox<'_>, _: &Closed) {
            assert!(outbox.join("all").is_err(), "a closed peer joins nothing");
            for &peer in &self.everyone {
                outbox.close_peer(peer, CloseCode(4002), "one was enough").expect("valid");
            }
        }
    }
    let server = TestServer::start(any_origin(), Unruly::default());
    let mut others: Vec<Client> = (0..3).map(|_| Client::open(server.address)).collect();
    let mut last = others.pop().expect("three");
    last.send(&frame(0x81, b"go"));
    for client in others.iter_mut().chain([&mut last]) {
        client.expect(&failure(4001, "all of you"));
        client.send(&frame(0x88, &[&4001u16.to_be_bytes()[..], b"all of you"].concat()));
        client.expect_end(b"");
    }
    let mut brief = Client::connect(server.address);
    let at_once = String::from_utf8(request("")).expect("ASCII").replacen("GET /", "GET /leave", 1);
    brief.send(at_once.as_bytes());
    brief.expect(SWITCHING);
    brief.expect(&failure(4000, "at once"));
    brief.send(&frame(0x88, b""));
    brief.expect_end(b"");
    drop((others, last, brief));
    server.wait_for("everyone is gone", |now| now.peers == 0 && now.memberships == 0);
}
