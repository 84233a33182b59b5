//! The turns of peers, over scripted sockets: fairness, backpressure, and writes that stop after any byte.

mod support;

use std::time::Duration;

use framewise::Snapshot;
use framewise::{Dispatcher, Echo, Message, Opened, Outbox};
use support::stage::*;
use support::*;

/// Echoes each message and also sends it to all other peers.
struct Both;

impl Dispatcher for Both {
    fn on_open(&mut self, outbox: &mut Outbox<'_>, _: &Opened<'_>) {
        outbox.join("all").expect("joins");
    }

    fn on_message(&mut self, outbox: &mut Outbox<'_>, message: Message<'_>) {
        outbox.reply(message);
        outbox.publish("all", message, &[]);
    }
}

/// R5: a peer that floods the server is read once in each turn. Another peer is served after that read, not after the
/// flood.
#[test]
fn a_flood_does_not_delay_other_peers() {
    let config = any_origin().limits(|limits| limits.read_buffer = 4096);
    let mut stage = stage(config, Echo::default());
    let (flood, quiet) = (open(&mut stage), open(&mut stage));
    stage.send(&flood, &frame(0x82, &[7; 100]).repeat(100_000));
    stage.send(&quiet, &frame(0x81, b"hi"));
    stage.event_loop.begin_pass(stage.now);
    stage.event_loop.take_turns();
    assert_eq!(stage.heard(&quiet), b"\x81\x02hi");
    let first = stage.heard(&flood).len();
    assert!((1..=4096).contains(&first), "one buffer was read, not {first} bytes");
    assert!(stage.event_loop.has_turns());
    stage.pass();
    assert_eq!(first + stage.heard(&flood).len(), 100_000 * server_frame(0x82, &[7; 100]).len());
    leave_all(&mut stage, &[&flood, &quiet]);
}

/// R11: the socket is full after any number of bytes of the stream. The stream has replies, shared frames, and payloads
/// that are written without a copy.
#[test]
fn a_stream_has_no_gap_wherever_a_write_ends() {
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
            leave_all(&mut stage, &[&actor]);
        }
    }
}

/// R11: the same with a socket that takes one byte at a time.
#[test]
fn a_stream_has_no_gap_byte_by_byte() {
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
    leave_all(&mut stage, &[&actor, &other]);
}

/// R4, CVE-2026-11586, CVE-2021-3690: while the socket is full, only the most recent ping is remembered and answered
/// later.
#[test]
fn one_pong_waits_for_a_full_socket() {
    let mut stage = stage(any_origin(), Echo::default());
    let actor = open(&mut stage);
    stage.make_room(&actor, Some(1));
    for n in 0..10_000u16 {
        stage.send(&actor, &frame(0x89, &n.to_be_bytes()));
        stage.pass();
        assert!(stage.event_loop.snapshot().queued <= 8);
    }
    stage.make_room(&actor, None);
    stage.pass();
    let last = [b"\x8a\x02".to_vec(), 9_999u16.to_be_bytes().to_vec()].concat();
    let first = [b"\x8a\x02".to_vec(), 0u16.to_be_bytes().to_vec()].concat();
    assert_eq!(show(&stage.heard(&actor)), show(&[first, last].concat()));
    leave_all(&mut stage, &[&actor]);
}

/// R2: the server pauses reading from a peer that does not read its replies. The peer loses nothing.
#[test]
fn unread_replies_pause_reading_from_their_peer() {
    let config = any_origin().limits(|limits| {
        limits.max_output = 4096;
        limits.read_buffer = 1024;
    });
    let mut stage = stage(config, Echo::default());
    let actor = open(&mut stage);
    stage.make_room(&actor, Some(0));
    let messages = (0..1000u16).flat_map(|n| frame(0x82, &n.to_be_bytes().repeat(20)));
    stage.send(&actor, &messages.collect::<Vec<u8>>());
    stage.pass();
    let queued = stage.event_loop.snapshot().queued;
    assert!((2048..=4096).contains(&queued), "{queued}");
    let expected: Vec<u8> =
        (0..1000u16).flat_map(|n| server_frame(0x82, &n.to_be_bytes().repeat(20))).collect();
    let mut heard = Vec::new();
    while heard.len() < expected.len() {
        stage.make_room(&actor, Some(700));
        stage.pass();
        heard.extend(stage.heard(&actor));
        assert!(stage.event_loop.snapshot().queued <= 4096);
    }
    assert!(heard == expected);
    stage.make_room(&actor, None);
    leave_all(&mut stage, &[&actor]);
}

/// R1: the connection of a peer that never reads fails when messages of others have filled half of its output limit for
/// five seconds, and is closed five seconds later. Until then reading from the sender is paused, and it loses nothing.
#[test]
fn a_congested_peer_is_closed() {
    let config = any_origin().limits(|limits| limits.max_output = 4096);
    let mut stage = stage(config, Both);
    let (silent, speaker) = (open(&mut stage), open(&mut stage));
    stage.make_room(&silent, Some(0));
    for n in 0..100 {
        stage.send(&speaker, &frame(0x82, &[n; 200]));
        stage.pass();
        assert!(stage.event_loop.snapshot().queued <= 4096, "the output limit");
    }
    let expected: Vec<u8> =
        (0..100).flat_map(|n| server_frame(0x82, &[n; 200]).repeat(2)).collect();
    let mut heard = stage.heard(&speaker);
    assert!((4096..5000).contains(&heard.len()), "paused after {} bytes", heard.len());
    assert_eq!((stage.event_loop.snapshot().open, stage.event_loop.snapshot().paused), (2, 1));
    stage.wait(Duration::from_millis(4_900));
    assert_eq!(stage.event_loop.snapshot().open, 2);
    stage.wait(Duration::from_millis(100));
    assert_eq!((stage.event_loop.snapshot().open, stage.event_loop.snapshot().closed), (1, 1));
    stage.pass();
    heard.extend(stage.heard(&speaker));
    assert_eq!(show(&heard), show(&expected));
    assert_eq!(stage.event_loop.snapshot().paused, 0);
    stage.make_room(&silent, None);
    stage.pass();
    let heard = stage.heard(&silent);
    at_most_one_close(&heard);
    assert!(heard.windows(2).any(|two| two == 1008u16.to_be_bytes()));
    leave_all(&mut stage, &[&silent, &speaker]);
}

/// C8, CVE-2017-2670: a connection that is reset in any state releases everything.
#[test]
fn a_reset_in_any_state_releases_everything() {
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
            assert_eq!(stage.event_loop.snapshot(), Snapshot::default(), "after {end} bytes");
            assert!(!stage.event_loop.has_turns());
        }
    }
}
