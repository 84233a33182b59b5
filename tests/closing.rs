//! RFC 6455 §5.5.1, §7: the closing handshake, and every other way a connection ends.

mod support;

use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use framewise::config::Config;
use framewise::dispatch::{Wire, Written};
use framewise::peers::Peers;
use framewise::protocol::close::InvalidClose;
use framewise::protocol::connection::Cause;
use framewise::{CloseCode, Closed, Connection, Dispatcher, Message, Outbox, PeerId, Request};
use support::*;

/// Joins everyone to one group and reports what it is told.
struct Recorder {
    opened: Sender<PeerId>,
    closed: Sender<Closed>,
}

impl Dispatcher for Recorder {
    fn on_open(&mut self, outbox: &mut Outbox<'_>, _: &Request<'_>) {
        outbox.join("all").expect("joins");
        let _ = self.opened.send(outbox.peer());
    }

    fn on_message(&mut self, outbox: &mut Outbox<'_>, message: Message<'_>) {
        outbox.publish("all", message, &[]);
    }

    fn on_close(&mut self, outbox: &mut Outbox<'_>, closed: &Closed) {
        assert!(!outbox.peers().members("all").contains(&outbox.peer()), "it has left its groups");
        assert!(!outbox.reply(Message::Text("too late")), "nothing can be sent to it");
        let _ = self.closed.send(closed.clone());
    }
}

fn recorded(config: Config) -> (TestServer, Receiver<PeerId>, Receiver<Closed>) {
    let ((opened, opens), (closed, closes)) = (channel(), channel());
    (TestServer::start(config, Recorder { opened, closed }), opens, closes)
}

fn next<T>(events: &Receiver<T>) -> T {
    events.recv_timeout(Duration::from_secs(30)).expect("it is told")
}

/// C1. RFC 6455 §5.5.1-6, §7.1.1-3: no body is answered with no body, and the server ends TCP first.
#[test]
fn an_empty_close() {
    ends_with(&TestServer::echo(), &frame(0x88, b""), b"\x88\0");
}

/// C2. RFC 6455 §5.5.1-2, §7.4.1-3, §7.4.1-4, §7.4.1-6, §8.1-1
#[test]
fn broken_closes() {
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

/// C3, C4. RFC 6455 §5.5.1-6: code and reason come back as they were, up to the longest reason.
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

/// CVE-2016-10518, CVE-2026-45736: pong and close carry the peer's own bytes and nothing else.
#[test]
fn cve_2016_10518_and_cve_2026_45736_no_memory_but_the_peers_own() {
    let server = TestServer::echo();
    let input = [frame(0x81, &[b's'; 100]), frame(0x89, b"p"), frame(0x88, b"\x03\xe8r")].concat();
    let output =
        [server_frame(0x81, &[b's'; 100]), b"\x8a\x01p\x88\x03\x03\xe8r".to_vec()].concat();
    ends_with(&server, &input, &output);
}

/// C4. RFC 6455 §5.5-1: a reason that does not fit is the caller's error, and nothing is sent.
#[test]
fn a_reason_that_is_too_long_is_an_error_of_the_api() {
    struct Long;
    impl Dispatcher for Long {
        fn on_message(&mut self, outbox: &mut Outbox<'_>, _: Message<'_>) {
            let refused = outbox.close(CloseCode::NORMAL, &"x".repeat(124));
            assert_eq!(refused, Err(InvalidClose::ReasonTooLong(124)));
            let reserved = outbox.close(CloseCode::ABNORMAL, "");
            assert_eq!(reserved, Err(InvalidClose::Code(CloseCode::ABNORMAL)));
            assert_eq!(outbox.close(CloseCode(4000), &"y".repeat(123)), Ok(true));
            assert_eq!(outbox.close(CloseCode::NORMAL, ""), Ok(false), "one Close is enough");
        }
    }
    let server = TestServer::start(any_origin(), Long);
    let body = [&4000u16.to_be_bytes()[..], &[b'y'; 123]].concat();
    let input = [frame(0x81, b"go"), frame(0x88, b"\x03\xe8")].concat();
    ends_with(&server, &input, &server_frame(0x88, &body));
}

/// C5. RFC 6455 §5.5.1-5, §7.1.7-7: what follows a Close means nothing, not even a broken rule.
#[test]
fn nothing_after_a_close_is_answered() {
    let server = TestServer::echo();
    let close = frame(0x88, b"\x03\xe8");
    for after in [frame(0x81, b"data"), frame(0x89, b"ping"), close.clone(), b"\xff\xff".to_vec()] {
        ends_with(&server, &[close.clone(), after].concat(), b"\x88\x02\x03\xe8");
    }
}

/// C6. RFC 6455 §5.5.1-6: a message that was under way is dropped.
#[test]
fn a_close_inside_a_message() {
    let server = TestServer::echo();
    let input = [frame(0x01, b"half"), frame(0x88, b"\x03\xe8")].concat();
    ends_with(&server, &input, b"\x88\x02\x03\xe8");
}

/// Closes the connection of whoever speaks.
struct Closer;

impl Dispatcher for Closer {
    fn on_message(&mut self, outbox: &mut Outbox<'_>, _: Message<'_>) {
        outbox.close(CloseCode(4001), "enough").expect("a valid close");
    }
}

/// C6. RFC 6455 §5.5.1-10: both ends close at once; each sends one Close.
#[test]
fn both_sides_close_at_once() {
    let server = TestServer::start(any_origin(), Closer);
    let mut client = Client::open(server.address);
    client.send(&[frame(0x81, b"go"), frame(0x89, b"?"), frame(0x88, b"\x03\xe8")].concat());
    client.expect_end(&failure(4001, "enough"));
    drop(client);
    server.is_back_to_baseline();
}

/// C7: a peer that never answers our Close does not keep the descriptor.
#[test]
fn an_unanswered_close_ends_at_its_deadline() {
    let config = Config { close_timeout: Duration::from_millis(200), ..any_origin() };
    let server = TestServer::start(config, Closer);
    let mut client = Client::open(server.address);
    client.send(&frame(0x81, b"go"));
    client.expect_end(&failure(4001, "enough"));
    server.wait_for("the slot is given back", |now| now.peers == 0);
}

/// C8. RFC 6455 §7.2.1-2: TCP that ends without a Close is reported as 1006, and the group is left once.
/// CVE-2017-2670, ws-rs#181: the loop does not spin on it.
#[test]
fn cve_2017_2670_and_ws_rs_181_tcp_ends_without_a_close() {
    let (server, opens, closes) = recorded(any_origin());
    let half_a_frame = &frame(0x81, b"half a frame")[..9];
    for sent_before in [&b""[..], half_a_frame, &frame(0x01, b"half a message")] {
        let mut client = Client::open(server.address);
        next(&opens);
        client.send(sent_before);
        client.finish();
        client.expect_end(b"");
        let closed = next(&closes);
        assert_eq!((closed.code, closed.cause), (CloseCode::ABNORMAL, Cause::Lost));
    }
    // A socket dropped with unread bytes ends with a reset; here while a broadcast goes to it.
    for _ in 0..20 {
        let mut client = Client::open(server.address);
        next(&opens);
        client.send(&frame(0x82, &[1; 50_000]));
        client.expect(&server_frame(0x82, &[1; 50_000])[..1000]);
        drop(client);
        assert_eq!(next(&closes).code, CloseCode::ABNORMAL);
    }
    server.is_back_to_baseline();
    assert!(closes.recv_timeout(Duration::from_secs(30)).is_ok(), "the visitor's own");
    assert!(closes.try_recv().is_err(), "each end is told once");
}

/// Takes all output and remembers whose it was.
#[derive(Default)]
struct Tape(Vec<(PeerId, Vec<u8>)>);

impl Wire for Tape {
    fn write(&mut self, peer: PeerId, slices: &[&[u8]]) -> Written {
        let bytes = slices.concat();
        let taken = bytes.len();
        self.0.push((peer, bytes));
        Written::Bytes(taken)
    }
}

/// C9, CVE-2022-25762: a slot is reused while somebody still holds the old id; no byte reaches the new peer.
#[test]
fn cve_2022_25762_a_reused_slot_gets_nothing_that_was_meant_for_the_last_one() {
    let config = any_origin().validate().expect("valid");
    let open = || {
        let mut connection = Connection::server(config.clone());
        connection.receive(&mut request(""), |_, _| {});
        connection.sender_mut().take();
        connection
    };
    let (mut peers, mut tape) = (Peers::new(config.clone()), Tape::default());
    let witness = peers.insert(open());
    for round in 0..100_000u32 {
        let old = peers.insert(open());
        peers.join(old, "room").expect("joins");
        peers.remove(old).expect("it lived");
        let new = peers.insert(open());
        let mut outbox = Outbox::new(&mut peers, &mut tape, witness);
        let text = round.to_string();
        assert!(!outbox.send(old, Message::Text(&text)));
        assert!(!outbox.send(old, Message::Binary(&[0; 20_000])), "nor past the buffer");
        assert_eq!(outbox.publish("room", Message::Text(&text), &[]), 0);
        assert_eq!(outbox.close_peer(old, CloseCode::NORMAL, ""), Ok(false));
        assert!(outbox.join_peer(old, "room").is_err() && !outbox.leave_peer(old, "room"));
        let connection = peers.remove(new).expect("it lives");
        assert!(connection.sender().is_empty() && connection.closed().is_none());
    }
    assert!(tape.0.is_empty());
    assert_eq!((peers.len(), peers.memberships()), (1, 0));
}

/// C9 over sockets: broadcasts go on while others come and go; everyone hears whole frames or the end.
#[test]
fn a_broadcast_races_with_closes() {
    let (server, opens, _closes) = recorded(any_origin());
    let mut speaker = Client::open(server.address);
    next(&opens);
    for round in 0..200 {
        let mut other = Client::open(server.address);
        next(&opens);
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

/// C10: callbacks that close and leave themselves and others, at every moment.
#[test]
fn a_handler_may_end_anyone_in_any_callback() {
    #[derive(Default)]
    struct Unruly {
        everyone: Vec<PeerId>,
    }
    impl Dispatcher for Unruly {
        fn on_open(&mut self, outbox: &mut Outbox<'_>, request: &Request<'_>) {
            outbox.join("all").expect("joins");
            self.everyone.push(outbox.peer());
            if request.path() == "/leave" {
                outbox.leave("all");
                outbox.close(CloseCode(4000), "at once").expect("valid");
                assert!(!outbox.reply(Message::Text("never")));
            }
        }

        fn on_message(&mut self, outbox: &mut Outbox<'_>, _: Message<'_>) {
            for &peer in &self.everyone {
                outbox.leave_peer(peer, "all");
                outbox.close_peer(peer, CloseCode(4001), "all of you").expect("valid");
            }
        }

        fn on_close(&mut self, outbox: &mut Outbox<'_>, _: &Closed) {
            assert!(outbox.join("all").is_err(), "who is gone joins nothing");
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
