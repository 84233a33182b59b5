//! The memory that one slow reader holds, as the allocator counts it (T1). The test runs in a process of its own.

#[path = "../../support/script.rs"]
mod script;

use std::alloc::System;

use cap::Cap;
use framewise::config::{Config, OriginPolicy};
use framewise::{Dispatcher, Message, Opened, Outbox};
use framewise_properties::{frame, request};
use script::{Actor, Stage};

#[global_allocator]
static ALLOCATOR: Cap<System> = Cap::new(System, usize::MAX);

/// Publishes messages that begin with `r` to the room of the slow reader, and all others elsewhere.
struct Rooms;

impl Dispatcher for Rooms {
    fn on_open(&mut self, outbox: &mut Outbox<'_>, opened: &Opened<'_>) {
        outbox.join(opened.request.path()).expect("joins");
    }

    fn on_message(&mut self, outbox: &mut Outbox<'_>, message: Message<'_>) {
        let room = if message.bytes().first() == Some(&b'r') { "/room" } else { "/elsewhere" };
        outbox.publish(room, message, &[outbox.peer()]);
    }
}

fn open(stage: &mut Stage<Rooms>, path: &str) -> Actor {
    let actor = stage.connect();
    stage.send(&actor, &request(path));
    stage.pass();
    assert!(stage.heard(&actor).starts_with(b"HTTP/1.1 101 "));
    actor
}

/// T1: one peer does not read the short and long messages that it gets by turns, while peers elsewhere fill and empty
/// large buffers. The memory held for it follows what is queued for it, not the size of the buffers that happened to be
/// free.
#[test]
fn t1_a_slow_reader_holds_its_output_bound_and_one_buffer() {
    const MAX_OUTPUT: usize = 256 * 1024;
    const BUFFER: usize = 256 * 1024;
    let config = Config::default()
        .handshake(|handshake| handshake.origins = OriginPolicy::Any)
        .limits(|limits| limits.max_output = MAX_OUTPUT)
        .timeouts(|timeouts| timeouts.ping_interval = None);
    let mut stage = Stage::new(config.validate().expect("valid"), Rooms);
    let (slow, speaker) = (open(&mut stage, "/room"), open(&mut stage, "/room"));
    let others: Vec<Actor> = (0..8).map(|_| open(&mut stage, "/elsewhere")).collect();
    stage.make_room(&slow, Some(0));
    let key = Some([0; 4]);
    // All in one pass, so that eight buffers are in use at the same time and free afterwards.
    let burst = frame(true, 2, &[b'e'; 240], key).repeat(800);
    let pair = [frame(true, 2, &[b'r'; 20], key), frame(true, 2, &[b'r'; 300], key)].concat();
    let round = |stage: &mut Stage<Rooms>, pairs: usize| {
        stage.send(&others[0], &burst);
        stage.pass();
        others.iter().for_each(|other| drop(stage.heard(other)));
        for _ in 0..pairs {
            stage.send(&speaker, &pair);
            stage.pass();
        }
    };
    round(&mut stage, 0);
    let before = ALLOCATOR.allocated();
    for _ in 0..25 {
        round(&mut stage, 6);
    }
    let queued = stage.event_loop.snapshot().queued;
    assert_eq!(queued, 25 * 6 * (22 + 304), "all of it waits");
    assert!(queued < MAX_OUTPUT / 2, "too little to pause a sender");
    let held = ALLOCATOR.allocated().saturating_sub(before);
    assert!(held <= MAX_OUTPUT + BUFFER, "{held} bytes are held where {queued} wait");
    assert!(held <= 2 * queued + 64 * 1024, "{held} bytes are held where {queued} wait");
}
