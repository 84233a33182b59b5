//! An allocator that refuses (T5). The test runs in a process of its own, because the limit applies to the whole
//! process.

#[path = "../../support/script.rs"]
mod script;

use std::alloc::System;

use cap::Cap;
use framewise::Echo;
use framewise::config::{Config, OriginPolicy};
use framewise_properties::{frame, request};
use script::{Actor, Stage};

#[global_allocator]
static ALLOCATOR: Cap<System> = Cap::new(System, usize::MAX);

fn open(stage: &mut Stage<Echo>) -> Actor {
    let actor = stage.connect();
    stage.send(&actor, &request("/"));
    stage.pass();
    assert!(stage.heard(&actor).starts_with(b"HTTP/1.1 101 "));
    actor
}

/// T5: if a buffer cannot grow, the connection of its peer is closed, and the others are still served. The buffer holds
/// an unfinished message, or the output of a peer that does not read.
#[test]
fn t5_a_buffer_that_cannot_grow_costs_one_peer() {
    let key = Some([0; 4]);
    let half_binary = frame(false, 2, &vec![7; 900_000], key);
    let half_text = frame(false, 1, &vec![b'x'; 900_000], key);
    let unread = frame(true, 2, &vec![7; 100_000], key).repeat(9);
    let hello = frame(true, 1, b"hello", key);
    for (what, bytes, reads) in [
        ("half a message", half_binary, true),
        ("half a text", half_text, true),
        ("replies that nobody reads", unread, false),
    ] {
        let config = Config::default()
            .handshake(|handshake| handshake.origins = OriginPolicy::Any)
            .limits(|limits| limits.max_output = 16 << 20)
            .timeouts(|timeouts| timeouts.ping_interval = None);
        let mut stage = Stage::new(config.validate().expect("valid"), Echo::default());
        let (victim, other) = (open(&mut stage), open(&mut stage));
        if !reads {
            stage.make_room(&victim, Some(0));
        }
        // Allocate the memory of the scripted sockets before the limit is set.
        stage.send(&victim, &bytes);
        stage.send(&other, &hello);
        ALLOCATOR.set_limit(ALLOCATOR.allocated() + 300_000).expect("more than there is");
        stage.pass();
        let open_now = stage.event_loop.snapshot().open;
        let heard = stage.heard(&other);
        stage.send(&other, &hello);
        stage.pass();
        let still = stage.heard(&other);
        ALLOCATOR.set_limit(usize::MAX).expect("no limit");
        assert_eq!(open_now, 1, "{what}: the victim is closed and nobody else");
        assert_eq!(heard, b"\x81\x05hello", "{what}");
        assert_eq!(still, b"\x81\x05hello", "{what}");
        // A peer that still reads gets a Close.
        let said = stage.heard(&victim);
        assert!(!reads || said.first() == Some(&0x88), "{what}: {}", said.escape_ascii());
        stage.finish(&victim);
        stage.pass();
        let new = open(&mut stage);
        stage.send(&new, &hello);
        stage.pass();
        assert_eq!(stage.heard(&new), b"\x81\x05hello", "{what}: new connections are served");
    }
}
