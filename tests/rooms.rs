//! A room whose members have slow links (T7). The server reads the talker more slowly. It does not close a member
//! because of what others send, unless that member has stopped reading.

mod support;

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use framewise::config::Config;
use framewise::{Broadcast, Dispatcher, Echo, Message, Opened, Outbox, PeerId, Readiness};
use support::stage::*;
use support::*;

/// Half of `max_output` is eight messages of 1 KiB.
fn narrow() -> Config {
    without_pings().limits(|limits| (limits.max_output, limits.read_buffer) = (16 * 1024, 4 * 1024))
}

// T7: a room on slow links.

/// T7: one peer sends faster than the room can read. It is read more slowly, and every member gets every message.
#[test]
fn t7_a_talker_is_slowed_and_nobody_is_closed() {
    slow_a_talker(narrow());
}

/// T7: the same if one read brings far more than the output of a member may hold.
#[test]
fn t7_a_long_read_does_not_exceed_a_small_output() {
    slow_a_talker(narrow().limits(|limits| limits.read_buffer = 512 * 1024));
}

fn slow_a_talker(config: Config) {
    const MESSAGES: u16 = 400;
    let mut stage = stage(config, Broadcast);
    let (talker, readers) = (open(&mut stage), open_all(&mut stage, 5));
    for reader in &readers {
        stage.make_room(reader, Some(0));
    }
    let payload = |n: u16| n.to_be_bytes().repeat(250);
    let said: Vec<u8> = (0..MESSAGES).flat_map(|n| frame(0x82, &payload(n))).collect();
    let expected: Vec<u8> = (0..MESSAGES).flat_map(|n| server_frame(0x82, &payload(n))).collect();
    stage.send(&talker, &said);
    let mut heard = vec![Vec::new(); readers.len()];
    let mut steps = 0;
    while heard.iter().any(|heard| heard.len() < expected.len()) {
        stage.wait(Duration::from_millis(10));
        assert_eq!(stage.event_loop.snapshot().open, 6, "no peer is closed, after {steps} steps");
        let queued = stage.event_loop.snapshot().queued;
        assert!(queued <= readers.len() * 16 * 1024, "{queued} bytes wait");
        for (reader, heard) in readers.iter().zip(&mut heard) {
            heard.extend(stage.heard(reader));
            stage.make_room(reader, Some(700));
        }
        steps += 1;
        assert!(steps < 3_000, "the talker is read again when the room has read");
    }
    assert!(heard.iter().all(|heard| *heard == expected), "whole, in order, without a gap");
    // The talker is still served, and its next message is delivered at once.
    for reader in &readers {
        stage.make_room(reader, None);
    }
    stage.send(&talker, &[frame(0x89, b"?"), frame(0x81, b"end")].concat());
    stage.pass();
    assert_eq!(show(&stage.heard(&talker)), "\\x8a\\x01?");
    assert!(readers.iter().all(|reader| stage.heard(reader) == b"\x81\x03end"));
}

/// T7: a member that stops reading pauses the talker for five seconds at most. If its output stays above half of the
/// limit for that long, it is closed with 1008.
#[test]
fn t7_a_stalled_reader_stops_the_room_for_five_seconds_at_most() {
    let mut stage = stage(narrow(), Broadcast);
    let (talker, reader, stalled) = (open(&mut stage), open(&mut stage), open(&mut stage));
    stage.make_room(&stalled, Some(0));
    stage.send(&talker, &frame(0x82, &[7; 500]).repeat(200));
    stage.pass();
    let before = stage.heard(&reader).len();
    assert!(before < 200 * 504, "the talker is paused");
    assert_eq!(stage.event_loop.snapshot().open, 3);
    stage.wait(5 * SECOND - Duration::from_millis(100));
    assert_eq!(stage.event_loop.snapshot().open, 3, "it has five seconds");
    for _ in 0..10 {
        stage.wait(Duration::from_millis(100));
    }
    assert_eq!(before + stage.heard(&reader).len(), 200 * 504, "the others lose nothing");
    assert_eq!(stage.event_loop.snapshot().open, 2);
    stage.make_room(&stalled, None);
    stage.pass();
    let stream = stage.heard(&stalled);
    at_most_one_close(&stream);
    assert!(stream.windows(4).any(|four| four[0] == 0x88 && four[2..] == 1008u16.to_be_bytes()));
}

/// T7: the pause of the talker ends as soon as the connection of the stalled reader is lost.
#[test]
fn t7_a_reader_that_goes_frees_the_talker() {
    let mut stage = stage(narrow(), Broadcast);
    let (talker, reader, stalled) = (open(&mut stage), open(&mut stage), open(&mut stage));
    stage.make_room(&stalled, Some(0));
    stage.send(&talker, &frame(0x82, &[7; 500]).repeat(200));
    stage.pass();
    let before = stage.heard(&reader).len();
    assert!(before < 200 * 504, "the talker is paused");
    stage.reset(&stalled);
    stage.pass();
    assert_eq!(before + stage.heard(&reader).len(), 200 * 504);
}

/// Publishes to a room. The message `remove` removes the peer that joined last.
#[derive(Default)]
struct Moderated(Option<PeerId>);

impl Dispatcher for Moderated {
    fn on_open(&mut self, outbox: &mut Outbox<'_>, _: &Opened<'_>) {
        outbox.join("room").expect("joins");
        self.0 = Some(outbox.peer());
    }

    fn on_message(&mut self, outbox: &mut Outbox<'_>, message: Message<'_>) {
        match (message.bytes(), self.0) {
            (b"remove", Some(last)) => assert!(outbox.leave_peer(last, "room")),
            _ => assert!(outbox.publish("room", message, &[outbox.peer()]) > 0),
        }
    }
}

/// T7: the pause of the talker ends as soon as the stalled reader is removed from the room.
#[test]
fn t7_a_reader_that_leaves_the_room_frees_the_talker() {
    let mut stage = stage(narrow(), Moderated::default());
    let (talker, reader, stalled) = (open(&mut stage), open(&mut stage), open(&mut stage));
    stage.make_room(&stalled, Some(0));
    stage.send(&talker, &frame(0x82, &[7; 500]).repeat(200));
    stage.pass();
    let before = stage.heard(&reader).len();
    assert!(before < 200 * 504, "the talker is paused");
    stage.send(&reader, &frame(0x81, b"remove"));
    stage.pass();
    stage.pass();
    assert_eq!(before + stage.heard(&reader).len(), 200 * 504);
    assert_eq!(stage.event_loop.snapshot().open, 3);
}

/// T7: the time for which a stalled reader may pause the room can be configured.
#[test]
fn t7_the_time_of_a_congested_reader_can_be_set() {
    let config = narrow().timeouts(|timeouts| timeouts.congestion = SECOND);
    let mut stage = stage(config, Broadcast);
    let (talker, reader, stalled) = (open(&mut stage), open(&mut stage), open(&mut stage));
    stage.make_room(&stalled, Some(0));
    stage.send(&talker, &frame(0x82, &[7; 500]).repeat(100));
    stage.pass();
    stage.wait(SECOND - Duration::from_millis(1));
    assert_eq!(stage.event_loop.snapshot().open, 3);
    stage.wait(Duration::from_millis(1));
    stage.pass();
    assert_eq!(stage.event_loop.snapshot().open, 2);
    assert_eq!(stage.heard(&reader).len(), 100 * 504);
}

/// Publishes to a room. The message `drain` empties the socket of the reader, as if it read in the middle of a pass.
struct Draining(Rc<RefCell<Option<Script>>>);

impl Dispatcher for Draining {
    fn on_open(&mut self, outbox: &mut Outbox<'_>, _: &Opened<'_>) {
        outbox.join("room").expect("joins");
    }

    fn on_message(&mut self, outbox: &mut Outbox<'_>, message: Message<'_>) {
        match (message.bytes(), &*self.0.borrow()) {
            (b"drain", Some(reader)) => reader.make_room(None),
            _ => assert!(outbox.publish("room", message, &[outbox.peer()]) > 0),
        }
    }
}

/// T7: a reader that becomes congested and catches up within one pass is not congested after it: its sender goes on, and
/// it is not closed when the time of a congested reader is over.
#[test]
fn t7_a_reader_that_catches_up_within_a_pass_is_not_congested() {
    let script = Rc::new(RefCell::new(None));
    let mut stage = stage(without_pings(), Draining(Rc::clone(&script)));
    let (talker, other, reader) = (open(&mut stage), open(&mut stage), open(&mut stage));
    stage.make_room(&reader, Some(0));
    *script.borrow_mut() = Some(reader.script.clone());
    // More than half of `max_output` in one message, whose last bytes arrive in the pass of interest.
    let message = frame(0x82, &[7; 600_000]);
    stage.send(&talker, &message[..400_000]);
    stage.pass();
    // In one pass: the reader becomes congested, its socket is emptied, and its own turn writes its output.
    stage.send(&talker, &message[400_000..]);
    stage.send(&other, &frame(0x81, b"drain"));
    stage.event_loop.note_readiness(reader.id.slot(), Readiness::WRITABLE);
    stage.pass();
    assert_eq!(stage.heard(&reader), server_frame(0x82, &[7; 600_000]));
    stage.send(&talker, &frame(0x81, b"next"));
    stage.pass();
    assert_eq!(stage.heard(&reader), server_frame(0x81, b"next"));
    stage.wait(6 * SECOND);
    assert_eq!(stage.event_loop.snapshot().open, 3);
}

/// T7: a reader that keeps reading is not closed, however many talkers send to it.
#[test]
fn t7_many_talkers_do_not_close_a_reader() {
    for (count, size) in [(2, 600_000), (40, 20_000), (200, 4_000)] {
        let mut stage = stage(without_pings(), Broadcast);
        let (reader, talkers) = (open(&mut stage), open_all(&mut stage, count));
        stage.make_room(&reader, Some(200_000));
        let message = frame(0x82, &vec![7; size]);
        let mut heard = 0;
        for _ in 0..300 {
            for talker in &talkers {
                if stage.unread(talker) < 2 * size {
                    stage.send(talker, &message);
                }
            }
            stage.wait(Duration::from_millis(10));
            talkers.iter().for_each(|talker| drop(stage.heard(talker)));
            heard += stage.heard(&reader).len();
            stage.make_room(&reader, Some(200_000));
            assert_eq!(stage.event_loop.snapshot().open, count + 1, "{count} x {size}: {heard}");
        }
        assert!(heard > 10_000_000, "{count} x {size}: the reader got {heard} bytes");
    }
}

/// A peer that does not read its own replies is held back, also if one read brings far more than its output may hold.
#[test]
fn replies_to_a_long_read_do_not_exceed_a_small_output() {
    for size in [10, 100, 1000] {
        let config = narrow().limits(|limits| limits.read_buffer = 512 * 1024);
        let mut stage = stage(config, Echo::default());
        let client = open(&mut stage);
        stage.make_room(&client, Some(0));
        let message = frame(0x82, &vec![7; size]);
        let reply = server_frame(0x82, &vec![7; size]);
        let count = 400_000 / message.len();
        stage.send(&client, &message.repeat(count));
        let mut heard = 0;
        while heard < count * reply.len() {
            stage.wait(Duration::from_millis(10));
            let (open, queued) =
                (stage.event_loop.snapshot().open, stage.event_loop.snapshot().queued);
            assert!(open == 1 && queued <= 16 * 1024 + reply.len(), "{size}: {queued} bytes wait");
            heard += stage.heard(&client).len();
            stage.make_room(&client, Some(5_000));
        }
    }
}
