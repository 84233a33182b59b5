//! One peer's turn among others, over scripted sockets: fairness, backpressure, and writes that are cut anywhere.

#[path = "support/script.rs"]
mod script;
mod support;

use framewise::config::Config;
use framewise::net::turns::Snapshot;
use framewise::{Dispatcher, Echo, Message, Outbox, Request};
use script::{Actor, Stage};
use support::{SWITCHING, any_origin, at_most_one_close, frame, request, server_frame, show};

/// Echoes, and sends everything to the group as well.
struct Both;

impl Dispatcher for Both {
    fn on_open(&mut self, outbox: &mut Outbox<'_>, _: &Request<'_>) {
        outbox.join("all").expect("joins");
    }

    fn on_message(&mut self, outbox: &mut Outbox<'_>, message: Message<'_>) {
        outbox.reply(message);
        outbox.publish("all", message, &[]);
    }
}

fn stage<D: Dispatcher>(config: Config, dispatcher: D) -> Stage<D> {
    Stage::new(config.validate().expect("valid"), dispatcher)
}

fn open(stage: &mut Stage<impl Dispatcher>) -> Actor {
    let actor = stage.connect();
    stage.send(&actor, &request(""));
    stage.pass();
    assert_eq!(show(&stage.heard(&actor)), show(SWITCHING));
    actor
}

fn leaves_nothing(stage: &mut Stage<impl Dispatcher>, actors: &[&Actor]) {
    for actor in actors {
        stage.send(actor, &frame(0x88, b""));
        stage.finish(actor);
    }
    stage.pass();
    assert_eq!(stage.turns.snapshot(), Snapshot::default());
}

/// R5: a peer that sends without end gets one read per turn; the next one is answered after it, not after everything.
#[test]
fn nobody_waits_for_a_flood() {
    let config = Config { read_buffer: 4096, ..any_origin() };
    let mut stage = stage(config, Echo::default());
    let (flood, quiet) = (open(&mut stage), open(&mut stage));
    stage.send(&flood, &frame(0x82, &[7; 100]).repeat(100_000));
    stage.send(&quiet, &frame(0x81, b"hi"));
    stage.turns.begin_pass(stage.now);
    stage.turns.take_all();
    assert_eq!(stage.heard(&quiet), b"\x81\x02hi");
    let first = stage.heard(&flood).len();
    assert!((1..=4096).contains(&first), "one buffer of it was read, not {first} bytes");
    assert!(stage.turns.are_due());
    stage.pass();
    assert_eq!(first + stage.heard(&flood).len(), 100_000 * server_frame(0x82, &[7; 100]).len());
    leaves_nothing(&mut stage, &[&flood, &quiet]);
}

/// R11: sockets that take any number of bytes before they refuse, at every place of the stream: replies, frames that
/// are shared, and payloads that are written from where they lie.
#[test]
fn a_stream_is_exact_wherever_writes_are_cut() {
    for length in [0usize, 1, 60, 126, 300, 20_000] {
        let payload: Vec<u8> = (0..length).map(|n| n as u8).collect();
        let one = server_frame(0x82, &payload);
        let expected =
            [one.clone(), one.clone(), b"\x8a\x01?".to_vec(), b"\x88\0".to_vec()].concat();
        let step = (expected.len() / 150).max(1);
        for cut in (0..expected.len()).step_by(step) {
            let mut stage = stage(any_origin(), Both);
            let actor = open(&mut stage);
            stage.make_room(&actor, Some(cut));
            stage.send(
                &actor,
                &[frame(0x82, &payload), frame(0x89, b"?"), frame(0x88, b"")].concat(),
            );
            stage.pass();
            assert_eq!(stage.heard(&actor), &expected[..cut], "length {length}, cut at {cut}");
            stage.make_room(&actor, None);
            stage.pass();
            assert_eq!(stage.heard(&actor), &expected[cut..], "length {length}, cut at {cut}");
            assert!(stage.is_shut(&actor));
            leaves_nothing(&mut stage, &[&actor]);
        }
    }
}

/// R11: the same for a socket that takes one byte at a time.
#[test]
fn a_stream_is_exact_byte_by_byte() {
    let mut stage = stage(any_origin(), Both);
    let (actor, other) = (open(&mut stage), open(&mut stage));
    stage.make_room(&actor, Some(0));
    for n in 0..20u8 {
        stage.send(&other, &frame(0x82, &vec![n; usize::from(n) * 20]));
        stage.pass();
    }
    let expected: Vec<u8> =
        (0..20u8).flat_map(|n| server_frame(0x82, &vec![n; usize::from(n) * 20])).collect();
    let mut heard = Vec::new();
    while heard.len() < expected.len() {
        stage.make_room(&actor, Some(1));
        stage.pass();
        heard.extend(stage.heard(&actor));
    }
    assert_eq!(show(&heard), show(&expected));
    stage.make_room(&actor, None);
    leaves_nothing(&mut stage, &[&actor, &other]);
}

/// R4, CVE-2026-11586, CVE-2021-3690: of a flood of pings to a socket that refuses, the last one is answered.
#[test]
fn one_pong_waits_for_a_socket_that_refuses() {
    let mut stage = stage(any_origin(), Echo::default());
    let actor = open(&mut stage);
    stage.make_room(&actor, Some(1));
    for n in 0..10_000u16 {
        stage.send(&actor, &frame(0x89, &n.to_be_bytes()));
        stage.pass();
        assert!(stage.turns.snapshot().queued <= 8);
    }
    stage.make_room(&actor, None);
    stage.pass();
    let last = [b"\x8a\x02".to_vec(), 9_999u16.to_be_bytes().to_vec()].concat();
    let first = [b"\x8a\x02".to_vec(), 0u16.to_be_bytes().to_vec()].concat();
    assert_eq!(show(&stage.heard(&actor)), show(&[first, last].concat()));
    leaves_nothing(&mut stage, &[&actor]);
}

/// R2: a peer that does not read its replies is not read either, and loses nothing.
#[test]
fn own_replies_hold_a_peer_back() {
    let config = Config { max_output: 4096, read_buffer: 1024, ..any_origin() };
    let mut stage = stage(config, Echo::default());
    let actor = open(&mut stage);
    stage.make_room(&actor, Some(0));
    let messages = (0..1000u16).flat_map(|n| frame(0x82, &n.to_be_bytes().repeat(20)));
    stage.send(&actor, &messages.collect::<Vec<u8>>());
    stage.pass();
    let queued = stage.turns.snapshot().queued;
    assert!((2048..=4096).contains(&queued), "{queued}");
    let expected: Vec<u8> =
        (0..1000u16).flat_map(|n| server_frame(0x82, &n.to_be_bytes().repeat(20))).collect();
    let mut heard = Vec::new();
    while heard.len() < expected.len() {
        stage.make_room(&actor, Some(700));
        stage.pass();
        heard.extend(stage.heard(&actor));
        assert!(stage.turns.snapshot().queued <= 4096);
    }
    assert!(heard == expected);
    stage.make_room(&actor, None);
    leaves_nothing(&mut stage, &[&actor]);
}

/// R1: filled by others, a peer that never reads is failed at its bound, and gone five seconds later.
#[test]
fn a_peer_that_others_fill_is_failed_at_its_bound() {
    let config = Config { max_output: 4096, ..any_origin() };
    let mut stage = stage(config, Both);
    let (silent, speaker) = (open(&mut stage), open(&mut stage));
    stage.make_room(&silent, Some(0));
    for n in 0..100 {
        stage.send(&speaker, &frame(0x82, &[n; 200]));
        stage.pass();
        assert!(stage.turns.snapshot().queued <= 4096 + 130, "the bound, and the Close");
    }
    assert_eq!(
        stage.heard(&speaker),
        (0..100).flat_map(|n| server_frame(0x82, &[n; 200]).repeat(2)).collect::<Vec<u8>>()
    );
    assert_eq!((stage.turns.snapshot().open, stage.turns.snapshot().closed), (1, 1));
    stage.make_room(&silent, None);
    stage.pass();
    let heard = stage.heard(&silent);
    at_most_one_close(&heard);
    assert!(heard.windows(2).any(|two| two == 1008u16.to_be_bytes()));
    leaves_nothing(&mut stage, &[&silent, &speaker]);
}

/// C8, CVE-2017-2670: a connection that breaks in any state is given back.
#[test]
fn a_reset_in_any_state_gives_everything_back() {
    let wire = [request(""), frame(0x81, b"hi"), frame(0x88, b"\x03\xe8")].concat();
    for end in 0..=wire.len() {
        for (room, clean) in [(Some(0), true), (Some(0), false), (None, true), (None, false)] {
            let mut stage = stage(any_origin(), Both);
            let actor = stage.connect();
            stage.make_room(&actor, room);
            stage.send(&actor, &wire[..end]);
            stage.pass();
            if clean {
                stage.finish(&actor);
                stage.pass();
                stage.make_room(&actor, None);
            } else {
                stage.reset(&actor);
            }
            stage.pass();
            assert_eq!(stage.turns.snapshot(), Snapshot::default(), "after {end} bytes");
            assert!(!stage.turns.are_due());
        }
    }
}
