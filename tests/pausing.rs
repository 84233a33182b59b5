//! `Outbox::pause_reading`: where processing stops, how much is buffered, which deadlines are suspended, and that no
//! pause outlives its peer.

mod support;

use std::time::{Duration, Instant};

use framewise::config::Config;
use framewise::{CloseCode, Closed, Dispatcher, Message, Opened, Outbox, PeerId, Snapshot};
use support::stage::*;
use support::*;

/// Echoes each message. `pause` also pauses its sender and `pause all` every peer, both until the time in `until`.
struct Pausing {
    until: Instant,
}

impl Dispatcher for Pausing {
    fn on_open(&mut self, outbox: &mut Outbox<'_>, _: &Opened<'_>) {
        outbox.join("all").expect("joins");
    }

    fn on_message(&mut self, outbox: &mut Outbox<'_>, message: Message<'_>) {
        outbox.reply(message);
        match message.as_str() {
            Some("pause") => outbox.pause_reading(outbox.peer(), self.until),
            Some("pause all") => {
                for peer in outbox.members("all").to_vec() {
                    outbox.pause_reading(peer, self.until);
                }
            }
            _ => {}
        }
    }
}

/// Returns a stage whose pauses end `pause` from now.
fn pausing(config: Config, pause: Duration) -> Stage<Pausing> {
    let mut stage = stage(config, Pausing { until: Instant::now() });
    let until = stage.now + pause;
    stage.event_loop.act(|pausing, _| pausing.until = until);
    stage
}

/// A pause takes effect after the message that is being processed, even if more input was read already. That input
/// stays within the read buffer. After the pause it is processed in order, a Close included.
#[test]
fn a_pause_begins_after_the_message_at_hand() {
    const BUFFER: usize = 4096;
    let config = any_origin().limits(|limits| limits.read_buffer = BUFFER);
    let mut stage = pausing(config, 10 * SECOND);
    let (paused, other) = (open(&mut stage), open(&mut stage));
    let backlog = frame(0x82, &[7; 100]).repeat(1_000);
    let wire = [frame(0x81, b"one"), frame(0x81, b"pause"), frame(0x89, b"?"), backlog].concat();
    stage.send(&paused, &[wire, frame(0x88, b"\x03\xe8")].concat());
    stage.pass();
    let before = b"\x81\x03one\x81\x05pause";
    assert_eq!(show(&stage.heard(&paused)), show(before));
    let now = stage.event_loop.snapshot();
    assert_eq!((now.paused, now.open), (1, 2));
    assert!((BUFFER - 500..=BUFFER).contains(&now.held), "{} bytes are kept", now.held);
    // Later input stays in the kernel.
    stage.send(&paused, b"");
    stage.wait(10 * SECOND - Duration::from_millis(1));
    assert_eq!(stage.event_loop.snapshot().held, now.held);
    assert_eq!(stage.heard(&paused), b"");
    stage.send(&other, &frame(0x81, b"hi"));
    stage.pass();
    assert_eq!(stage.heard(&other), b"\x81\x02hi", "nobody else is paused");

    stage.wait(Duration::from_millis(1));
    stage.pass();
    let backlog = server_frame(0x82, &[7; 100]).repeat(1_000);
    let after = [b"\x8a\x01?".to_vec(), backlog, b"\x88\x02\x03\xe8".to_vec()].concat();
    assert!(stage.heard(&paused) == after, "everything, in order");
    assert!(stage.is_shut(&paused));
    stage.finish(&paused);
    leave_all(&mut stage, &[&other]);
}

/// Any peer can be paused. A longer pause replaces a shorter one, and not the other way round.
#[test]
fn anybody_can_be_paused() {
    let config = without_pings();
    let mut stage = pausing(config, 10 * SECOND);
    let (one, two) = (open(&mut stage), open(&mut stage));
    stage.send(&one, &frame(0x81, b"pause all"));
    stage.pass();
    assert_eq!(stage.heard(&one), b"\x81\x09pause all");
    let (longer, shorter) = (stage.now + 20 * SECOND, stage.now + SECOND);
    stage.event_loop.act(|_, outbox| {
        outbox.pause_reading(two.id, longer);
        outbox.pause_reading(two.id, shorter);
        outbox.pause_reading(one.id, shorter);
    });
    for actor in [&one, &two] {
        stage.send(actor, &frame(0x81, b"hi"));
    }
    for (wait, heard) in [(1, [0, 0]), (9, [4, 0]), (9, [0, 0]), (1, [0, 4])] {
        stage.wait(wait * SECOND);
        stage.pass();
        assert_eq!([&one, &two].map(|actor| stage.heard(actor).len()), heard);
    }
    // A pause until a time in the past ends with the pass.
    let past = stage.now - SECOND;
    stage.event_loop.act(|_, outbox| outbox.pause_reading(one.id, past));
    stage.send(&one, &frame(0x81, b"hi"));
    stage.wait(Duration::ZERO);
    stage.pass();
    assert_eq!(stage.heard(&one), b"\x81\x02hi");
    leave_all(&mut stage, &[&one, &two]);
}

/// A pause can end before its time, and may begin again at once.
#[test]
fn reading_resumes_before_the_end_of_the_pause() {
    let mut stage = pausing(without_pings(), 1_000 * SECOND);
    let (one, two) = (open(&mut stage), open(&mut stage));
    stage.send(&one, &frame(0x81, b"pause all"));
    stage.pass();
    stage.heard(&one);
    for actor in [&one, &two] {
        stage.send(actor, &frame(0x81, b"hi"));
    }
    let later = stage.now + SECOND;
    stage.event_loop.act(|_, outbox| {
        for peer in [one.id, two.id] {
            outbox.resume_reading(peer);
            outbox.resume_reading(peer);
        }
        outbox.pause_reading(two.id, later);
    });
    let soon = Duration::from_millis(100);
    assert!(stage.event_loop.next_deadline().is_some_and(|next| next <= stage.now + soon));
    for (wait, heard) in [(soon, [4, 0]), (SECOND, [0, 4])] {
        stage.wait(wait);
        stage.pass();
        assert_eq!([&one, &two].map(|actor| stage.heard(actor).len()), heard);
    }
    // Neither a peer that is not paused nor one that is gone is affected.
    stage.event_loop.act(|_, outbox| outbox.resume_reading(one.id));
    assert_eq!(stage.event_loop.snapshot().paused, 0);
    leave_all(&mut stage, &[&one, &two]);
    stage.event_loop.act(|_, outbox| outbox.resume_reading(one.id));
    assert_eq!(stage.event_loop.snapshot().paused, 0);
}

/// While a peer is not read, neither the deadline of its pong nor its idle time runs. Both run again after the pause.
#[test]
fn no_deadline_runs_against_a_paused_peer() {
    let config = any_origin().timeouts(|timeouts| timeouts.idle = Some(60 * SECOND));
    let mut stage = pausing(config, 1_000 * SECOND);
    let (silent, alive) = (open(&mut stage), open(&mut stage));
    for actor in [&silent, &alive] {
        stage.send(actor, &frame(0x81, b"pause"));
    }
    stage.pass();
    stage.heard(&silent);
    for _ in 0..33 {
        stage.wait(20 * SECOND);
        assert_eq!(stage.event_loop.snapshot().open, 2);
        assert_eq!(stage.heard(&silent), b"\x89\0", "it learns that the server is there");
    }
    for _ in 0..33 {
        stage.wait(10 * SECOND);
        assert_eq!(stage.event_loop.snapshot().open, 2);
    }
    // The pong to a ping that was sent during the pause, and a message, wait to be read.
    stage.send(&alive, &[frame(0x8a, b""), frame(0x81, b"hi")].concat());
    stage.wait(10 * SECOND);
    stage.pass();
    let heard = stage.heard(&alive);
    assert!(heard.ends_with(b"\x81\x02hi") && heard.windows(2).any(|two| two == b"\x89\0"));
    for _ in 0..4 {
        stage.wait(10 * SECOND);
        stage.send(&alive, &[frame(0x8a, b""), frame(0x81, b"hi")].concat());
        stage.pass();
    }
    let late = failure(1008, "RFC 6455 5.5.2: no pong in time");
    assert!(stage.heard(&silent).ends_with(&late), "its deadline runs again");
    stage.finish(&silent);
    leave_all(&mut stage, &[&alive]);
}

/// A peer that reads its own replies too slowly is not read, so no deadline of its input runs.
#[test]
fn no_deadline_runs_against_a_peer_that_is_held_back() {
    let config = any_origin().timeouts(|timeouts| {
        timeouts.idle = Some(60 * SECOND);
        timeouts.write = 3600 * SECOND;
    });
    let mut stage = pausing(config, Duration::ZERO);
    let slow = open(&mut stage);
    stage.make_room(&slow, Some(0));
    stage.send(&slow, &frame(0x82, &[7; 100_000]).repeat(30));
    stage.send(&slow, &frame(0x8a, b""));
    let mut heard = Vec::new();
    for _ in 0..30 {
        stage.make_room(&slow, Some(1_000));
        stage.wait(10 * SECOND);
        stage.pass();
        heard.extend(stage.heard(&slow));
        assert_eq!(stage.event_loop.snapshot().open, 1, "{} bytes were read", heard.len());
    }
    stage.make_room(&slow, None);
    stage.pass();
    heard.extend(stage.heard(&slow));
    let echoes = heard.len() - 30 * server_frame(0x82, &[7; 100_000]).len();
    assert!(echoes <= 2 * 3, "all echoes and some pings, but {echoes} bytes more");
    stage.wait(60 * SECOND);
    let late = stage.heard(&slow);
    assert!(late.ends_with(&failure(1001, "idle for too long")), "{}", show(&late));
}

/// Publishes a goodbye in `on_close`, and tries to pause the peer that is closed.
struct Farewell;

impl Dispatcher for Farewell {
    fn on_open(&mut self, outbox: &mut Outbox<'_>, _: &Opened<'_>) {
        outbox.join("all").expect("joins");
    }

    fn on_message(&mut self, outbox: &mut Outbox<'_>, message: Message<'_>) {
        outbox.publish("all", message, &[outbox.peer()]);
    }

    fn on_close(&mut self, outbox: &mut Outbox<'_>, _: &Closed) {
        outbox.publish("all", "somebody left", &[]);
        outbox.pause_reading(outbox.peer(), Instant::now() + 3_600 * SECOND);
    }
}

/// After `on_close` the connection is read until TCP closes, even if `on_close` published to a congested group or
/// paused its own peer. No pause outlives its peer.
#[test]
fn a_connection_that_is_over_is_not_paused() {
    let config = any_origin()
        .limits(|limits| limits.max_output = 4096)
        .timeouts(|timeouts| timeouts.congestion = 3_600 * SECOND);
    let mut stage = stage(config, Farewell);
    let (slow, speaker, leaver) = (open(&mut stage), open(&mut stage), open(&mut stage));
    stage.make_room(&slow, Some(0));
    for _ in 0..30 {
        stage.send(&speaker, &frame(0x82, &[7; 200]));
        stage.pass();
    }
    assert_eq!(stage.event_loop.snapshot().paused, 1, "the speaker waits for the slow one");
    stage.send(&leaver, &frame(0x88, b""));
    stage.pass();
    let later = stage.now + 3_600 * SECOND;
    stage.event_loop.act(|_, outbox| outbox.pause_reading(leaver.id, later));
    assert_eq!(stage.event_loop.snapshot().paused, 1);
    stage.finish(&leaver);
    stage.pass();
    assert!(!stage.holds(&leaver), "the end of its input is read at once");
    stage.reset(&slow);
    stage.reset(&speaker);
    stage.pass();
    assert_eq!(stage.event_loop.snapshot(), Snapshot::default());
    assert_eq!(stage.event_loop.next_deadline(), None);
}

/// Records how connections closed.
#[derive(Default)]
struct Closings {
    closed: Vec<(CloseCode, String)>,
}

impl Dispatcher for Closings {
    fn on_message(&mut self, _: &mut Outbox<'_>, _: Message<'_>) {}

    fn on_close(&mut self, _: &mut Outbox<'_>, closed: &Closed) {
        self.closed.push((closed.code, format!("{:?}", closed.cause)));
    }
}

/// A pause does not delay the closing handshake: the peer's Close is read at once, whether it arrives after our Close or has
/// been waiting behind the pause. Messages before it are dropped, so reading them needs no consent.
#[test]
fn a_close_is_read_in_spite_of_a_pause() {
    for is_first in [false, true] {
        for stops in [false, true] {
            let mut stage = stage(without_pings(), Closings::default());
            let peer = open(&mut stage);
            let until = stage.now + 3600 * SECOND;
            stage.event_loop.act(|_, outbox| outbox.pause_reading(peer.id, until));
            let wire = [frame(0x81, b"hi").repeat(10), frame(0x88, b"\x03\xe8")].concat();
            if is_first {
                stage.send(&peer, &wire);
                stage.pass();
                assert_eq!(stage.event_loop.snapshot().open, 1, "the pause holds");
            }
            if stops {
                stage.event_loop.close_all();
            } else {
                stage.event_loop.act(|_, outbox| {
                    outbox.close_peer(peer.id, CloseCode::NORMAL, "").expect("a valid code")
                });
            }
            if !is_first {
                stage.send(&peer, &wire);
            }
            stage.pass();
            let closed = stage.event_loop.act(|closings, _| closings.closed.clone());
            let expected = vec![(CloseCode::NORMAL, "Local".to_owned())];
            assert_eq!(closed, Some(expected), "first: {is_first}, stops: {stops}");
            assert!(stage.is_shut(&peer));
            assert_eq!(stage.event_loop.snapshot().paused, 0);
        }
    }
}

/// Sends each message to the peer that its first byte counts to, in the order of opening, and replies to an empty one.
#[derive(Default)]
struct Relay {
    peers: Vec<PeerId>,
}

impl Dispatcher for Relay {
    fn on_open(&mut self, outbox: &mut Outbox<'_>, _: &Opened<'_>) {
        self.peers.push(outbox.peer());
    }

    fn on_message(&mut self, outbox: &mut Outbox<'_>, message: Message<'_>) {
        match message.bytes() {
            [] => outbox.reply(message),
            [to, ..] => outbox.send(self.peers[usize::from(*to)], message),
        };
    }
}

/// A peer whose last recipient has left does not wait for the next peer that gets its slot.
#[test]
fn a_recipient_that_left_pauses_nobody() {
    let mut stage = stage(without_pings(), Relay::default());
    let (first, leaver, second) = (open(&mut stage), open(&mut stage), open(&mut stage));
    stage.send(&first, &frame(0x82, &[1]));
    stage.pass();
    stage.heard(&leaver);
    stage.send(&leaver, &frame(0x88, b""));
    stage.finish(&leaver);
    stage.pass();
    let next = open(&mut stage);
    stage.make_room(&next, Some(0));
    stage.send(&second, &frame(0x82, &[3; 700_000]));
    stage.pass();
    assert_eq!(stage.event_loop.snapshot().paused, 1, "the sender to the slow reader");
    stage.send(&first, &frame(0x82, b""));
    stage.pass();
    assert_eq!(show(&stage.heard(&first)), "\\x82\\x00");
}

/// If a pause ends because its recipient is closed, and the sender's idle deadline passes at the same moment, what the sender
/// has sent counts.
#[test]
fn a_pause_that_ends_with_an_idle_deadline_loses_nothing() {
    let config = without_pings().timeouts(|timeouts| {
        (timeouts.write, timeouts.idle) = (60 * SECOND, Some(60 * SECOND));
        timeouts.congestion = 3600 * SECOND;
    });
    let mut stage = stage(config, Relay::default());
    let (sender, slow) = (open(&mut stage), open(&mut stage));
    stage.make_room(&slow, Some(0));
    stage.send(&sender, &frame(0x82, &[1; 700_000]));
    stage.pass();
    stage.send(&sender, &frame(0x82, b""));
    stage.pass();
    assert_eq!((stage.event_loop.snapshot().paused, stage.heard(&sender).len()), (1, 0));
    stage.wait(60 * SECOND);
    stage.pass();
    assert_eq!(show(&stage.heard(&sender)), "\\x82\\x00");
}

/// Pauses its peer and panics.
struct Paralysed;

impl Dispatcher for Paralysed {
    fn on_message(&mut self, outbox: &mut Outbox<'_>, _: Message<'_>) {
        outbox.pause_reading(outbox.peer(), Instant::now() + 3_600 * SECOND);
        panic!("on purpose");
    }
}

/// A connection that fails while its peer is paused is read to the end of the stream, even if that had arrived before.
#[test]
fn a_paused_connection_that_fails_is_read_to_its_end() {
    let mut stage = stage(without_pings(), Paralysed);
    let peer = open(&mut stage);
    stage.send(&peer, &[frame(0x81, b"x"), frame(0x88, b"")].concat());
    stage.finish(&peer);
    stage.pass();
    assert!(stage.heard(&peer).starts_with(b"\x88\x10\x03\xf3"), "1011");
    is_back_to_baseline(&stage);
}

/// A peer that resets its connection during a long pause gives its place back at once. One that only closes its side keeps
/// it until the pause is over, because what it sent before has to be processed.
#[test]
fn a_reset_ends_a_pause() {
    let config = without_pings().timeouts(|timeouts| timeouts.idle = Some(SECOND));
    let mut stage = pausing(config, 3_600 * SECOND);
    let (resets, ends) = (open(&mut stage), open(&mut stage));
    for peer in [&resets, &ends] {
        stage.send(peer, &[frame(0x81, b"pause"), frame(0x81, b"later")].concat());
    }
    stage.pass();
    assert_eq!(stage.event_loop.snapshot().paused, 2);
    stage.reset(&resets);
    stage.finish(&ends);
    stage.pass();
    assert_eq!((stage.holds(&resets), stage.holds(&ends)), (false, true));
    let now = stage.event_loop.snapshot();
    assert_eq!((now.open, now.paused), (1, 1));
    stage.wait(3_600 * SECOND);
    stage.pass();
    assert_eq!(show(&stage.heard(&ends)), "\\x81\\x05pause\\x81\\x05later");
    is_back_to_baseline(&stage);
}

/// Counts messages, and how connections closed. Responds to each message, and pauses its sender for a second.
#[derive(Default)]
struct Slow {
    started: Option<Instant>,
    messages: usize,
    closed: Vec<CloseCode>,
}

impl Dispatcher for Slow {
    fn on_message(&mut self, outbox: &mut Outbox<'_>, message: Message<'_>) {
        self.messages += 1;
        outbox.reply(message);
        let later = self.started.expect("set") + SECOND * self.messages as u32;
        outbox.pause_reading(outbox.peer(), later);
    }

    fn on_close(&mut self, _: &mut Outbox<'_>, closed: &Closed) {
        self.closed.push(closed.code);
    }
}

/// What arrived before a reset is processed, in spite of short pauses and although no reply can be written any more. A
/// Close among it is the peer's Close.
#[test]
fn input_is_processed_after_a_reset() {
    for (last, code) in [(&b""[..], CloseCode::ABNORMAL), (b"\x03\xe8", CloseCode::NORMAL)] {
        let config = any_origin().timeouts(|timeouts| timeouts.close = 2 * SECOND);
        let mut stage = stage(config, Slow::default());
        let started = stage.now;
        stage.event_loop.act(|slow, _| slow.started = Some(started));
        let peer = open(&mut stage);
        let mut wire = frame(0x81, b"one of five").repeat(5);
        if !last.is_empty() {
            wire.extend(frame(0x88, last));
        }
        stage.send(&peer, &wire);
        stage.reset(&peer);
        stage.pass();
        for _ in 0..5 {
            assert!(stage.holds(&peer));
            stage.wait(SECOND);
            stage.pass();
        }
        let seen = stage.event_loop.act(|slow, _| (slow.messages, slow.closed.clone()));
        assert_eq!(seen, Some((5, vec![code])));
        is_back_to_baseline(&stage);
    }
}

/// A write can fail before the loop learns of the reset. The input is still processed, and nothing can be sent.
#[test]
fn input_is_processed_after_a_failed_write() {
    let mut stage = stage(any_origin(), Slow::default());
    let started = stage.now;
    stage.event_loop.act(|slow, _| slow.started = Some(started));
    let peer = open(&mut stage);
    stage.send(&peer, &frame(0x81, b"one of three").repeat(3));
    stage.pass();
    stage.break_output(&peer);
    let send = |stage: &mut Stage<Slow>, to: &Actor| {
        stage.event_loop.act(|_, outbox| (outbox.send(to.id, "?"), outbox.is_open(to.id)))
    };
    // The failure shows when the output of this command is written.
    assert_eq!(send(&mut stage, &peer), Some((true, true)));
    assert_eq!(send(&mut stage, &peer), Some((false, false)));
    assert!(stage.holds(&peer));
    stage.wait(SECOND);
    stage.pass();
    let seen = stage.event_loop.act(|slow, _| (slow.messages, slow.closed.len()));
    assert_eq!(seen, Some((2, 0)));
    stage.wait(SECOND);
    stage.pass();
    stage.wait(SECOND);
    stage.pass();
    // The socket has nothing more to read, and it accepts no output.
    let seen = stage.event_loop.act(|slow, _| (slow.messages, slow.closed.clone()));
    assert_eq!(seen, Some((3, vec![CloseCode::ABNORMAL])));
    is_back_to_baseline(&stage);

    // The application can close such a connection, although no Close can be sent. A stop ends it in any case.
    for stops in [false, true] {
        let peer = open(&mut stage);
        stage.send(&peer, &frame(0x81, b"first").repeat(3));
        stage.pass();
        stage.break_output(&peer);
        send(&mut stage, &peer);
        if stops {
            stage.event_loop.close_all();
        } else {
            let closes =
                stage.event_loop.act(|_, outbox| outbox.close_peer(peer.id, CloseCode::NORMAL, ""));
            assert_eq!(closes, Some(Ok(false)));
        }
        stage.pass();
        assert!(
            !stage.holds(&peer),
            "messages after our Close are dropped, so nothing is left to read"
        );
        is_back_to_baseline(&stage);
    }
}
