//! Every deadline, on a clock that the test controls: opening handshake, ping and pong, idle time, output, closing
//! handshake, and the shutdown of the server.

mod support;

use std::time::Duration;

use framewise::{Broadcast, Echo};
use support::stage::*;
use support::*;

const PING: &[u8] = b"\x89\0";

/// H22: an opening handshake must be complete ten seconds after accept, even if bytes keep arriving.
#[test]
fn a_slow_handshake_is_closed_at_its_deadline() {
    let mut stage = stage(any_origin(), Echo::default());
    let (drip, silent) = (stage.connect(), stage.connect());
    for byte in request("").iter().take(9) {
        stage.wait(SECOND);
        stage.send(&drip, &[*byte]);
        stage.pass();
    }
    assert!(stage.holds(&drip) && stage.holds(&silent));
    stage.wait(SECOND);
    assert!(!stage.holds(&drip) && !stage.holds(&silent));
    assert!(stage.heard(&silent).is_empty());
    is_back_to_baseline(&stage);
}

/// RFC 6455 §5.5.2-4: the server pings each open connection every 20 s.
#[test]
fn a_peer_that_answers_pings_stays_connected() {
    let mut stage = stage(any_origin(), Echo::default());
    let actor = open(&mut stage);
    for _ in 0..5 {
        stage.wait(19 * SECOND);
        assert_eq!(stage.heard(&actor), b"");
        stage.wait(SECOND);
        assert_eq!(stage.heard(&actor), PING);
        stage.send(&actor, &frame(0x8a, b""));
        stage.pass();
    }
    assert_eq!(stage.event_loop.snapshot().open, 1);
}

/// R12. RFC 6455 §5.5.2-2: a peer that does not answer a ping gets a Close, and TCP is closed five seconds later.
#[test]
fn an_unanswered_ping_closes_the_connection() {
    let mut stage = stage(any_origin(), Echo::default());
    let actor = open(&mut stage);
    stage.wait(20 * SECOND);
    // It sends a message, but no pong.
    stage.send(&actor, &frame(0x81, b"hi"));
    stage.wait(19 * SECOND);
    assert_eq!(show(&stage.heard(&actor)), show(&[PING, b"\x81\x02hi"].concat()));
    stage.wait(SECOND);
    let late = failure(1008, "RFC 6455 5.5.2: no pong in time");
    assert_eq!(show(&stage.heard(&actor)), show(&late));
    assert!(stage.is_shut(&actor) && stage.holds(&actor));
    stage.wait(5 * SECOND);
    is_back_to_baseline(&stage);
}

/// RFC 6455 §5.4-5: a peer cannot send a pong in the middle of another frame. So the pong may be late as long as bytes
/// of that frame arrive.
#[test]
fn a_pong_after_a_long_frame_may_be_late() {
    let mut stage = stage(any_origin(), Echo::default());
    let actor = open(&mut stage);
    let long = frame(0x82, &[7; 1000]);
    stage.send(&actor, &long[..100]);
    stage.wait(20 * SECOND);
    assert_eq!(stage.heard(&actor), PING);
    for piece in long[100..].chunks(300) {
        stage.wait(10 * SECOND);
        stage.send(&actor, piece);
        stage.wait(9 * SECOND);
    }
    stage.send(&actor, &frame(0x8a, b""));
    stage.pass();
    assert_eq!(stage.heard(&actor), server_frame(0x82, &[7; 1000]));

    // A peer that begins a frame and then sends nothing more gets no extra time.
    stage.send(&actor, &long[..100]);
    stage.wait(20 * SECOND);
    assert_eq!(stage.heard(&actor), PING);
    stage.wait(20 * SECOND);
    assert!(stage.is_shut(&actor));
    stage.finish(&actor);
    stage.pass();
    is_back_to_baseline(&stage);
}

/// A ping waits behind output that the kernel has accepted, and so does its pong. A peer on a slow connection, here 40 kB
/// per second, is not mistaken for a lost one. A peer that never answers is closed, only later: two seconds for each 32 KiB.
#[test]
fn a_pong_behind_much_output_may_be_late() {
    const OUTPUT: usize = 900_000;
    let config = any_origin().timeouts(|timeouts| {
        timeouts.ping_interval = Some(2 * SECOND);
        timeouts.pong = 2 * SECOND;
    });
    let late = failure(1008, "RFC 6455 5.5.2: no pong in time");
    let mut stage = stage(config, Echo::default());
    let (slow, lost) = (open(&mut stage), open(&mut stage));
    for actor in [&slow, &lost] {
        stage.event_loop.act(|_, outbox| outbox.send(actor.id, vec![7; OUTPUT]));
    }
    stage.wait(2 * SECOND);
    assert!(stage.heard(&slow).ends_with(PING) && stage.heard(&lost).ends_with(PING));
    for _ in 0..OUTPUT / 80_000 {
        stage.wait(2 * SECOND);
        assert_eq!((stage.heard(&slow), stage.heard(&lost)), (vec![], vec![]));
    }
    stage.send(&slow, &frame(0x8a, b""));
    stage.pass();
    // The pong confirms what was sent before it. From now on it has two seconds again.
    stage.wait(2 * SECOND);
    assert_eq!(stage.heard(&slow), PING);
    stage.wait(2 * SECOND);
    assert_eq!(show(&stage.heard(&slow)), show(&late));
    assert_eq!(stage.heard(&lost), b"");
    // One time-out for each 32 KiB, and the one that every ping has. Some of them are over.
    let over = OUTPUT / 80_000 + 2;
    for _ in over..OUTPUT / (32 * 1024) {
        stage.wait(2 * SECOND);
        assert_eq!(stage.heard(&lost), b"");
    }
    stage.wait(2 * SECOND);
    assert_eq!(show(&stage.heard(&lost)), show(&late));
}

/// At most 4 MiB of output count as being on their way, however much was sent.
#[test]
fn the_time_for_a_late_pong_is_limited() {
    let config = any_origin().limits(|limits| limits.max_output = 64 << 20);
    let mut stage = stage(config, Echo::default());
    let actor = open(&mut stage);
    for _ in 0..32 {
        stage.event_loop.act(|_, outbox| outbox.send(actor.id, vec![7; 1 << 20]));
    }
    // The ping, 256 s for 4 MiB at 16 KiB per second, and less than one time-out of 20 s.
    stage.wait(20 * SECOND);
    for _ in 0..12 {
        stage.wait(20 * SECOND);
        assert!(!stage.is_shut(&actor));
    }
    stage.wait(20 * SECOND);
    assert!(stage.is_shut(&actor));
}

/// R16: a loop that wakes up late reads all sockets before it checks deadlines.
#[test]
fn a_late_loop_closes_no_peer_that_has_answered() {
    let mut stage = stage(any_origin(), Echo::default());
    let actors: Vec<Actor> = (0..3000).map(|_| open(&mut stage)).collect();
    stage.wait(20 * SECOND);
    for actor in &actors[1..] {
        assert_eq!(stage.heard(actor), PING);
        stage.send(actor, &frame(0x8a, b""));
    }
    stage.wait(60 * SECOND);
    assert_eq!(stage.event_loop.snapshot().open, 2999);
    assert!(stage.is_shut(&actors[0]), "only the silent peer is closed");
}

/// Without a ping interval there are no pings.
#[test]
fn pings_can_be_switched_off() {
    let mut stage = stage(without_pings(), Echo::default());
    let actor = open(&mut stage);
    assert_eq!(stage.event_loop.next_deadline(), None);
    stage.wait(100_000 * SECOND);
    assert_eq!(stage.heard(&actor), b"");
    assert_eq!(stage.event_loop.snapshot().open, 1);
}

/// Only messages reset the idle time. A pong shows that the peer is reachable, not that it uses the connection.
#[test]
fn an_idle_peer_is_closed() {
    let mut stage =
        stage(any_origin().timeouts(|timeouts| timeouts.idle = Some(60 * SECOND)), Echo::default());
    let actor = open(&mut stage);
    for _ in 0..10 {
        stage.wait(10 * SECOND);
        stage.send(&actor, &[frame(0x8a, b""), frame(0x81, b"hi")].concat());
        stage.pass();
    }
    stage.heard(&actor);
    for _ in 0..5 {
        stage.wait(10 * SECOND);
        stage.send(&actor, &frame(0x8a, b""));
        stage.pass();
        assert!(!stage.heard(&actor).contains(&0x88));
    }
    stage.wait(10 * SECOND);
    let idle = failure(1001, "idle for too long");
    assert!(stage.heard(&actor).ends_with(&idle));
    assert_eq!(stage.event_loop.snapshot().closing, 1);
    stage.send(&actor, &frame(0x88, &idle[2..]));
    stage.pass();
    assert!(stage.is_shut(&actor));
    stage.finish(&actor);
    stage.pass();
    is_back_to_baseline(&stage);
}

/// A socket may be full for 20 s. Each byte that it takes restarts that time. No ping is sent meanwhile.
#[test]
fn a_socket_that_stays_full_is_closed() {
    let mut stage = stage(any_origin(), Echo::default());
    let actor = open(&mut stage);
    stage.make_room(&actor, Some(3));
    stage.send(&actor, &frame(0x81, b"hello"));
    stage.pass();
    for _ in 0..3 {
        stage.wait(19 * SECOND);
        stage.make_room(&actor, Some(1));
        stage.pass();
    }
    assert_eq!(stage.heard(&actor), b"\x81\x05hell");
    stage.wait(19 * SECOND);
    assert!(stage.holds(&actor));
    stage.wait(SECOND);
    is_back_to_baseline(&stage);

    let actor = open(&mut stage);
    stage.make_room(&actor, Some(0));
    stage.send(&actor, &frame(0x81, b"hello"));
    stage.wait(19 * SECOND);
    stage.make_room(&actor, None);
    stage.pass();
    assert_eq!(stage.heard(&actor), b"\x81\x05hello");
    // The socket takes output again, so pings continue.
    stage.wait(20 * SECOND);
    assert_eq!(stage.heard(&actor), PING);
}

/// C7: neither a peer that does not answer a Close nor one that answers but never closes TCP keeps the connection for
/// longer than five seconds.
#[test]
fn closing_takes_five_seconds_at_most() {
    let mut stage = stage(any_origin(), Echo::default());
    let (mute, lingering) = (open(&mut stage), open(&mut stage));
    stage.event_loop.act(|_, outbox| {
        outbox.close_peer(mute.id, framewise::CloseCode::NORMAL, "").expect("valid")
    });
    stage.send(&lingering, &frame(0x88, b"\x03\xe8"));
    stage.pass();
    assert_eq!(stage.heard(&mute), b"\x88\x02\x03\xe8");
    assert!(stage.is_shut(&lingering) && !stage.is_shut(&mute));
    stage.wait(5 * SECOND - Duration::from_millis(1));
    assert!(stage.holds(&mute) && stage.holds(&lingering));
    stage.wait(Duration::from_millis(1));
    is_back_to_baseline(&stage);
}

/// R13: on shutdown the queued output is sent, then Close 1001. Connections in their opening handshake are closed.
#[test]
fn a_server_that_shuts_down_sends_1001() {
    let mut stage = Stage::new(any_origin().validate().expect("valid"), Broadcast);
    let (reader, slow, half) = (open(&mut stage), open(&mut stage), stage.connect());
    stage.send(&half, b"GET / HT");
    stage.make_room(&slow, Some(2));
    stage.send(&reader, &frame(0x81, b"last words"));
    stage.pass();
    stage.event_loop.close_all();
    let stops = failure(1001, "the server stops");
    assert_eq!(show(&stage.heard(&reader)), show(&stops));
    assert!(!stage.holds(&half));
    stage.make_room(&slow, None);
    stage.pass();
    let all = [server_frame(0x81, b"last words"), stops.clone()].concat();
    assert_eq!(show(&stage.heard(&slow)), show(&all));
    for actor in [&reader, &slow] {
        stage.send(actor, &frame(0x88, &stops[2..]));
        stage.finish(actor);
    }
    stage.pass();
    is_back_to_baseline(&stage);

    let (stubborn, silent) = (open(&mut stage), stage.connect());
    stage.event_loop.close_all();
    stage.pass();
    stage.event_loop.abandon_all();
    assert!(!stage.holds(&stubborn) && !stage.holds(&silent));
    is_back_to_baseline(&stage);
}
