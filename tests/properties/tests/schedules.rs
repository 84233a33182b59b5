//! Random sequences of events: clients open, send, stop reading, close and reset, while the server publishes.

#[path = "../../support/script.rs"]
mod script;

use std::time::Duration;

use framewise::Snapshot;
use framewise::config::{Config, OriginPolicy};
use framewise::{CloseCode, Dispatcher, Message, Opened, Outbox};
use framewise_properties::{cases, frame, request};
use proptest::prelude::*;
use script::{Actor, Stage};

/// Every peer is in one group until it sends a message.
struct Group;

impl Dispatcher for Group {
    fn on_open(&mut self, outbox: &mut Outbox<'_>, _: &Opened<'_>) {
        outbox.join("all").expect("joins");
    }

    fn on_message(&mut self, outbox: &mut Outbox<'_>, _: Message<'_>) {
        outbox.leave("all");
    }
}

#[derive(Clone, Debug)]
enum Step {
    Open,
    Publish(u16),
    /// The client sends a message, and the server removes it from the group.
    Leave(usize),
    /// The client sends a Close.
    Close(usize),
    /// The server sends a Close.
    Dismiss(usize),
    Finish(usize),
    Reset(usize),
    /// The socket of the client takes this many more bytes, or any number.
    Room(usize, Option<usize>),
    Wait(u64),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let who = 0usize..40;
    let step = prop_oneof![
        4 => Just(Step::Open),
        8 => (0u16..1500).prop_map(Step::Publish),
        1 => who.clone().prop_map(Step::Leave),
        1 => who.clone().prop_map(Step::Close),
        1 => who.clone().prop_map(Step::Dismiss),
        1 => who.clone().prop_map(Step::Finish),
        1 => who.clone().prop_map(Step::Reset),
        4 => (who, proptest::option::of(0usize..3000)).prop_map(|(who, room)| Step::Room(who, room)),
        1 => (0u64..30).prop_map(Step::Wait),
    ];
    proptest::collection::vec(step, 0..120)
}

/// A client, the bytes that it got, and the number of the first message that is published after it opened.
struct Member {
    actor: Actor,
    first: u32,
    heard: Vec<u8>,
}

proptest! {
    #![proptest_config(cases(400))]

    /// R2, C8 to C10, CVE-2022-25762: whatever happens to the others, each member gets every message from its opening
    /// on, in order and without a gap, until it leaves or its connection closes. In the end everything is released.
    #[test]
    fn every_stream_is_contiguous_and_everything_is_released(steps in steps()) {
        let config = Config::default().handshake(|handshake| handshake.origins = OriginPolicy::Any).limits(|limits| limits.max_output = 4096);
        let mut stage = Stage::new(config.validate().expect("valid"), Group);
        let (mut members, mut number) = (Vec::<Member>::new(), 0u32);
        for step in steps {
            act(&mut stage, &mut members, &mut number, step);
            for member in &mut members {
                member.heard.extend(stage.heard(&member.actor));
            }
        }
        for member in &members {
            is_contiguous(&member.heard, member.first, number);
        }
        stage.event_loop.close_all();
        stage.wait(Duration::from_secs(20));
        stage.wait(Duration::from_secs(20));
        prop_assert_eq!(stage.event_loop.snapshot(), Snapshot::default());
        prop_assert_eq!(stage.event_loop.next_deadline(), None);
    }
}

fn act(stage: &mut Stage<Group>, members: &mut Vec<Member>, number: &mut u32, step: Step) {
    let of = |n: usize| members.get(n % members.len().max(1)).map(|member| member.actor.clone());
    match step {
        Step::Open => {
            let actor = stage.connect();
            stage.send(&actor, &request("/"));
            stage.pass();
            members.push(Member { actor, first: *number, heard: Vec::new() });
        }
        Step::Publish(length) => {
            let mut payload = number.to_be_bytes().to_vec();
            payload.resize(4 + usize::from(length), *number as u8);
            *number += 1;
            stage.event_loop.act(|_, outbox| outbox.publish("all", &payload, &[]));
        }
        Step::Leave(n) => {
            with(of(n), |actor| stage.send(actor, &frame(true, 1, b"go", Some([0; 4]))))
        }
        Step::Close(n) => {
            with(of(n), |actor| stage.send(actor, &frame(true, 8, b"", Some([0; 4]))))
        }
        Step::Dismiss(n) => with(of(n), |actor| {
            stage.event_loop.act(|_, outbox| {
                outbox.close_peer(actor.id, CloseCode::NORMAL, "").expect("a valid close")
            });
        }),
        Step::Finish(n) => with(of(n), |actor| stage.finish(actor)),
        Step::Reset(n) => with(of(n), |actor| stage.reset(actor)),
        Step::Room(n, room) => with(of(n), |actor| stage.make_room(actor, room)),
        Step::Wait(seconds) => stage.wait(Duration::from_secs(seconds)),
    }
    stage.pass();
}

fn with(actor: Option<Actor>, act: impl FnOnce(&Actor)) {
    if let Some(actor) = actor {
        act(&actor);
    }
}

/// Checks the bytes of a client: a response to the handshake, then messages `first`, `first + 1`, ..., with pings
/// between them. There may be a Close, and nothing after it.
fn is_contiguous(heard: &[u8], first: u32, end: u32) {
    let Some(head) = heard.windows(4).position(|four| four == b"\r\n\r\n") else { return };
    let (mut rest, mut expected) = (&heard[head + 4..], first);
    while let [opcode, second, after @ ..] = rest {
        let (length, at) = match (second, after) {
            (126, [high, low, ..]) => (usize::from(u16::from_be_bytes([*high, *low])), 2),
            (126, _) => return,
            (short, _) => (usize::from(*short), 0),
        };
        let Some(payload) = after.get(at..at + length) else {
            return; // The socket has not taken the rest of this frame.
        };
        rest = &after[at + length..];
        match opcode {
            0x82 => {
                assert_eq!(payload[..4], expected.to_be_bytes(), "no gap and nothing twice");
                assert!(expected < end && payload[4..].iter().all(|&byte| byte == expected as u8));
                expected += 1;
            }
            0x88 => assert!(rest.is_empty(), "nothing follows a Close"),
            0x89 => assert!(payload.is_empty()),
            other => panic!("{other:02x}"),
        }
    }
}
