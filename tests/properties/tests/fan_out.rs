//! The memory that one turn of a sender in a large group takes, as the allocator counts it. One test in a process of its
//! own.

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

/// Publishes every message, and records how much memory was allocated at most.
#[derive(Default)]
struct Counts {
    most: usize,
}

impl Dispatcher for Counts {
    fn on_open(&mut self, outbox: &mut Outbox<'_>, _: &Opened<'_>) {
        outbox.join("everyone").expect("joins");
    }

    fn on_message(&mut self, outbox: &mut Outbox<'_>, message: Message<'_>) {
        outbox.publish("everyone", message, &[outbox.peer()]);
        self.most = self.most.max(ALLOCATOR.allocated());
    }
}

/// T4: a read with 800 short messages for 2,000 members is not copied 2,000 times before it is written. That would be
/// 320 MB. Every member receives every message.
#[test]
fn t4_a_turn_does_not_multiply_its_input() {
    const MEMBERS: usize = 2_000;
    const MESSAGES: usize = 800;
    let config = Config::default()
        .handshake(|handshake| handshake.origins = OriginPolicy::Any)
        .limits(|limits| limits.max_connections = Some(MEMBERS + 1))
        .timeouts(|timeouts| timeouts.ping_interval = None);
    let mut stage = Stage::new(config.validate().expect("valid"), Counts::default());
    let open = |stage: &mut Stage<Counts>| {
        let actor = stage.connect();
        stage.send(&actor, &request("/"));
        stage.pass();
        assert!(stage.heard(&actor).starts_with(b"HTTP/1.1 101 "));
        actor
    };
    let speaker = open(&mut stage);
    let members: Vec<Actor> = (0..MEMBERS).map(|_| open(&mut stage)).collect();
    let mut heard = vec![0; MEMBERS];
    let input = frame(true, 2, &[7; 200], Some([0; 4])).repeat(MESSAGES);
    let before = ALLOCATOR.allocated();
    stage.send(&speaker, &input);
    while stage.event_loop.has_turns() {
        stage.event_loop.take_turns();
        // The scripted sockets keep what was written, which is not the memory of the server.
        for (member, heard) in members.iter().zip(&mut heard) {
            *heard += stage.heard(member).len();
        }
    }
    assert!(heard.iter().all(|&heard| heard == MESSAGES * 204), "every member receives everything");
    let most = stage.event_loop.act(|watch, _| watch.most).expect("no panic") - before;
    assert!(most < 24 << 20, "{most} bytes were allocated during a turn");
}
