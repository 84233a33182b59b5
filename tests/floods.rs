//! Fairness between all connections together: new connections (T2) and floods of small frames (T3) must not slow down
//! other peers.

mod support;

use std::net::{Ipv6Addr, SocketAddr};
use std::thread;
use std::time::Duration;

use framewise::{CloseCode, Dispatcher, Echo, Message, Outbox, Server};
use support::stage::*;
use support::*;

/// A time-out that never expires during a test, so that no test passes because of one.
const NEVER: Duration = Duration::from_secs(24 * 60 * 60);

/// The most frames of one peer between two turns of another. 40 peers with so many each take about 10 ms in a release
/// build, which keeps the median below 20 ms.
const FRAMES_A_TURN: usize = 4_096;

// T2: new connections.

/// T2: many silent connections from one address do not keep out a client with another address. Here the other address
/// is the one of IPv6.
#[test]
fn t2_silent_connections_of_one_address_keep_nobody_else_out() {
    let config = without_pings()
        .listen("localhost", 0)
        .limits(|limits| limits.max_per_address = Some(6))
        .timeouts(|timeouts| (timeouts.handshake, timeouts.close) = (NEVER, NEVER));
    let mut server = Server::bind(config, Echo::default()).expect("a free port");
    if server.is_without_ipv6() {
        return; // Without IPv6, every client here has the same address.
    }
    let addresses: Vec<SocketAddr> = server.local_addrs().collect();
    let find = |v6| *addresses.iter().find(|address| address.is_ipv6() == v6).expect("both");
    let (here, there) = (find(false), find(true));
    let handle = server.handle();
    let running = thread::spawn(move || server.run());
    let mut silent: Vec<Client> = (0..80).map(|_| Client::connect(here)).collect();
    let mut newcomers: Vec<Client> = (0..6).map(|_| Client::open(there)).collect();
    assert!(newcomers[0].stream.peer_addr().is_ok_and(|peer| peer.ip() == Ipv6Addr::LOCALHOST));
    for newcomer in &mut newcomers {
        newcomer.send(&frame(0x81, b"hi"));
        newcomer.expect(b"\x81\x02hi");
    }
    // All but the first six are refused with the reason, although they have not sent anything.
    for client in &mut silent[6..] {
        assert_eq!(client.answer().status, 429);
    }
    silent[5].send(&request(""));
    silent[5].expect(SWITCHING);
    drop((silent, newcomers));
    handle.shutdown(Duration::ZERO).expect("it runs");
    running.join().expect("no panic").expect("the loop runs");
}

/// T2: when the limit of unfinished handshakes is reached, the oldest silent one is closed to make room for a new
/// connection.
#[test]
fn t2_the_oldest_silent_handshake_makes_room() {
    const CAP: usize = 16;
    let config = without_pings()
        .limits(|limits| limits.max_handshakes = CAP)
        .timeouts(|timeouts| timeouts.handshake = NEVER);
    let server = TestServer::start(config, Echo::default());
    let mut silent: Vec<Client> = (0..3 * CAP).map(|_| Client::connect(server.address)).collect();
    let mut newcomer = Client::open(server.address);
    newcomer.send(&frame(0x81, b"hi"));
    newcomer.expect(b"\x81\x02hi");
    assert!(server.snapshot().held.connecting <= CAP);
    // The newest silent connection can still complete its handshake. The oldest was closed, with or without a reset.
    let mut last = silent.pop().expect("48 of them");
    last.send(&request(""));
    last.expect(SWITCHING);
    let mut byte = [0; 1];
    let end = std::io::Read::read(&mut silent[0].stream, &mut byte);
    let is_reset = |kind| kind == std::io::ErrorKind::ConnectionReset;
    assert!(end.as_ref().is_ok_and(|&count| count == 0) || end.is_err_and(|e| is_reset(e.kind())));
    newcomer.leave();
    last.leave();
    drop(silent);
    server.is_back_to_baseline();
}

/// T2: while one address keeps opening silent connections, its own handshakes are replaced. A client with another address
/// has time to send its request.
#[test]
fn t2_an_endless_flood_from_one_address_replaces_its_own_handshakes() {
    const CAP: usize = 200;
    let config = without_pings().limits(|limits| limits.max_handshakes = CAP);
    let mut stage = stage(config, Echo::default());
    let mut flood: Vec<Actor> = (0..CAP).map(|_| stage.connect()).collect();
    let newcomer = stage.connect_from([127, 0, 0, 2]);
    flood.extend((0..10 * CAP).map(|_| stage.connect()));
    // A second newcomer replaces one of them too.
    let second = stage.connect_from([127, 0, 0, 3]);
    assert!(stage.holds(&second));
    assert_eq!(stage.event_loop.snapshot().connecting, CAP);
    stage.send(&newcomer, &[request(""), frame(0x81, b"hi")].concat());
    stage.pass();
    assert_eq!(show(&stage.heard(&newcomer)), show(&[SWITCHING, b"\x81\x02hi"].concat()));
    let held = flood.iter().filter(|actor| stage.holds(actor)).count();
    assert_eq!(held, CAP - 2, "only the newest of them are left");
    assert!(flood[flood.len() - held..].iter().all(|actor| stage.holds(actor)));
}

/// T2, R8: an excess connection gets its refusal at once, before it sends a request. A fixed number of places is
/// reserved for refusals; when all are taken, a further excess connection replaces the oldest. The server keeps
/// accepting all the time.
#[test]
fn t2_an_excess_connection_is_answered_without_a_request() {
    let config = without_pings()
        .limits(|limits| limits.max_connections = Some(1))
        .timeouts(|timeouts| (timeouts.handshake, timeouts.close) = (NEVER, NEVER));
    let server = TestServer::start(config, Echo::default());
    let mut first = Client::open(server.address);
    let mut silent: Vec<Client> = (0..40).map(|_| Client::connect(server.address)).collect();
    for client in &mut silent {
        let answer = client.answer();
        assert_eq!((answer.status, answer.header("Retry-After")), (503, "5"));
    }
    assert!(server.handle.snapshot().expect("it runs").connections() <= 1 + 32);
    first.send(&frame(0x81, b"hi"));
    first.expect(b"\x81\x02hi");
    first.leave();
    drop(silent);
    server.wait_for("all of them are gone", |now| now.peers == 0);
    let mut next = Client::open(server.address);
    next.send(&frame(0x81, b"hi"));
    next.expect(b"\x81\x02hi");
    next.leave();
    server.is_back_to_baseline();
}

// T3: floods. Latency is measured in frames that the server processes before it replies to the honest peer, so the
// result does not depend on the speed of the machine.

/// Runs one pass in which every flooder has far more to read than one turn allows, and an honest peer sends last.
/// Returns how many frames of the flooders were processed in that pass, in which the honest peer gets its reply.
fn one_pass_among(flooders: usize, unit: &[u8], answer: usize) -> usize {
    let mut stage = stage(without_pings(), Echo::default());
    let honest = open(&mut stage);
    let flooders = open_all(&mut stage, flooders);
    for flooder in &flooders {
        stage.send(flooder, &unit.repeat(20_000));
    }
    stage.send(&honest, &frame(0x81, b"hi"));
    stage.event_loop.begin_pass(stage.now);
    stage.event_loop.take_turns();
    assert_eq!(
        show(&stage.heard(&honest)),
        "\\x81\\x02hi",
        "the honest peer has its turn in this pass"
    );
    let handled = flooders.iter().map(|flooder| stage.heard(flooder).len() / answer).sum();
    assert_eq!(stage.event_loop.snapshot().open, 1 + flooders.len(), "a flooder is not closed");
    handled
}

/// T3: the limit applies to pings and to empty messages, from one peer and from forty.
#[test]
fn t3_a_turn_ends_after_a_number_of_frames() {
    for (what, unit) in [("pings", frame(0x89, b"")), ("empty messages", frame(0x82, b""))] {
        for flooders in [1, 40] {
            let handled = one_pass_among(flooders, &unit, 2);
            let most = flooders * FRAMES_A_TURN;
            assert!((flooders..=most).contains(&handled), "{what}: {handled}, at most {most}");
        }
    }
}

/// Starts to close its peers when they speak.
struct Dismiss;

impl Dispatcher for Dismiss {
    fn on_message(&mut self, outbox: &mut Outbox<'_>, _: Message<'_>) {
        outbox.close(CloseCode::NORMAL, "enough").expect("a valid reason");
    }
}

/// T3: the limit also applies to what a peer sends after our Close, although it is dropped.
#[test]
fn t3_a_turn_ends_after_a_number_of_dropped_frames() {
    const FRAMES: usize = 20_000;
    for unit in [frame(0x82, b""), frame(0x81, b"x")] {
        let mut stage = stage(without_pings(), Dismiss);
        let flooder = open(&mut stage);
        stage.send(&flooder, &frame(0x81, b"hi"));
        stage.pass();
        assert_eq!(stage.event_loop.snapshot().closing, 1);
        stage.send(&flooder, &[unit.repeat(FRAMES), frame(0x88, b"\x03\xe8")].concat());
        stage.event_loop.begin_pass(stage.now);
        let mut turns = 0;
        while stage.event_loop.has_turns() {
            stage.event_loop.take_turns();
            turns += 1;
        }
        assert!(turns >= FRAMES / FRAMES_A_TURN, "{turns} turns");
        assert_eq!(stage.event_loop.snapshot().closing, 0, "the Close behind them is read");
    }
}

/// T3: the server does not reply to a fragment, so the test counts replies to messages of 100 fragments each.
#[test]
fn t3_a_turn_ends_after_a_number_of_fragments() {
    let message = [frame(0x02, b"x"), frame(0x00, b"x").repeat(98), frame(0x80, b"x")].concat();
    for flooders in [1, 10] {
        let mut stage = stage(without_pings(), Echo::default());
        let honest = open(&mut stage);
        let flooders = open_all(&mut stage, flooders);
        for flooder in &flooders {
            stage.send(flooder, &message.repeat(400));
        }
        stage.send(&honest, &frame(0x81, b"hi"));
        stage.event_loop.begin_pass(stage.now);
        stage.event_loop.take_turns();
        assert_eq!(show(&stage.heard(&honest)), "\\x81\\x02hi");
        let replies: usize = flooders.iter().map(|flooder| stage.heard(flooder).len() / 102).sum();
        let most = flooders.len() * FRAMES_A_TURN / 100;
        assert!(replies <= most, "{replies} messages of 100 fragments, at most {most}");
    }
}

/// Advances the clock and returns how many bytes the actor received in each second. Checks that no connection is
/// closed.
fn heard_second_by_second(stage: &mut Stage<Echo>, actor: &Actor, seconds: usize) -> Vec<usize> {
    let mut heard = Vec::new();
    for _ in 0..seconds {
        let mut bytes = 0;
        for _ in 0..10 {
            stage.wait(SECOND / 10);
            bytes += stage.heard(actor).len();
        }
        heard.push(bytes);
        assert_eq!(
            stage.event_loop.snapshot().open,
            2,
            "a flooder is read more slowly, not closed"
        );
    }
    heard
}

/// T3, F15: a peer that sends more than 10,000 control frames per second is read more slowly. In the end every ping is
/// answered.
#[test]
fn t3_pings_have_a_budget_per_second() {
    const PINGS: usize = 60_000;
    let mut stage = stage(without_pings(), Echo::default());
    let (flooder, honest) = (open(&mut stage), open(&mut stage));
    stage.send(&flooder, &frame(0x89, b"").repeat(PINGS));
    let heard = heard_second_by_second(&mut stage, &flooder, 12);
    let pongs: Vec<usize> = heard.iter().map(|bytes| bytes / 2).collect();
    // A second may also use what the previous one left of its budget.
    assert!(pongs.iter().all(|&pongs| pongs <= 2 * 10_000), "pongs a second: {pongs:?}");
    assert_eq!(pongs.iter().sum::<usize>(), PINGS, "{pongs:?}");
    stage.send(&honest, &frame(0x81, b"hi"));
    stage.pass();
    assert_eq!(show(&stage.heard(&honest)), "\\x81\\x02hi");
}

/// T3: the same for more than 100,000 fragments per second. (The Autobahn suite sends messages of 65,536 fragments.)
#[test]
fn t3_fragments_have_a_budget_per_second() {
    let message = [frame(0x02, b"x"), frame(0x00, b"x").repeat(3_998), frame(0x80, b"x")].concat();
    let mut stage = stage(without_pings(), Echo::default());
    let (flooder, _honest) = (open(&mut stage), open(&mut stage));
    stage.send(&flooder, &message.repeat(100));
    let heard = heard_second_by_second(&mut stage, &flooder, 10);
    let replies: Vec<usize> = heard.iter().map(|bytes| bytes / 4_004).collect();
    assert!(replies.iter().all(|&replies| replies <= 2 * 25 + 1), "messages a second: {replies:?}");
    assert_eq!(replies.iter().sum::<usize>(), 100, "{replies:?}");
}

/// T3: a peer that stays below the budget is never delayed.
#[test]
fn t3_pings_below_the_budget_are_answered_in_the_same_pass() {
    let mut stage = stage(without_pings(), Echo::default());
    let honest = open(&mut stage);
    for _ in 0..30 {
        stage.send(&honest, &frame(0x89, b"").repeat(900));
        stage.wait(SECOND / 10);
        assert_eq!(stage.heard(&honest).len(), 2 * 900);
    }
}

/// T3: both budgets can be configured.
#[test]
fn t3_the_budgets_can_be_set() {
    let config = without_pings()
        .limits(|limits| (limits.max_control_rate, limits.max_fragment_rate) = (100, 100));
    let mut stage = stage(config, Echo::default());
    let message = [frame(0x02, b"x"), frame(0x00, b"x").repeat(8), frame(0x80, b"x")].concat();
    // Pings; then pongs, which count although they get no reply; then messages of ten fragments.
    for (bytes, answer, in_all, a_second) in [
        (frame(0x89, b"").repeat(1_000), 2, 1_000, 2 * 100),
        ([frame(0x8a, b"").repeat(99), frame(0x89, b"")].concat().repeat(10), 2, 10, 2),
        (message.repeat(100), 12, 100, 2 * 10 + 1),
    ] {
        let flooder = open(&mut stage);
        stage.send(&flooder, &bytes);
        let mut answers = Vec::new();
        for _ in 0..12 {
            stage.wait(SECOND);
            // A pass ends with the deadlines, among them the end of this pause, so the peer is read in the next pass.
            stage.pass();
            answers.push(stage.heard(&flooder).len() / answer);
        }
        assert!(answers.iter().all(|&answers| answers <= a_second), "{answers:?}");
        assert_eq!(answers.iter().sum::<usize>(), in_all, "{answers:?}");
    }
    assert_eq!(stage.event_loop.snapshot().open, 3, "no flooder is closed");
}
