//! The memory that all connections hold together (T1 and T4). `tests/properties` compares it with what the allocator
//! counts (T1 and T5), and `tests/resources.rs` measures the process after all peers have left (T6).

mod support;

use std::sync::mpsc::{Receiver, Sender, channel};

use framewise::config::Config;
use framewise::{Broadcast, CloseCode, Closed, Dispatcher, Echo, Message, Opened, Outbox};
use support::stage::*;
use support::*;

const KIB: usize = 1024;

fn limited(max_memory: usize) -> Config {
    without_pings().limits(|limits| limits.max_memory = Some(max_memory))
}

/// Returns the code of the Close at the end of the received bytes.
fn close_code(heard: &[u8]) -> Option<u16> {
    at_most_one_close(heard);
    let at = heard.windows(2).rposition(|two| two[0] == 0x88 && two[1] < 126)?;
    let code = heard.get(at + 2..at + 4)?;
    Some(u16::from_be_bytes(code.try_into().expect("two bytes")))
}

/// T4: many peers send half a message each. After every pass the sum is within the limit, and the peer that holds most
/// is closed first, with 1009.
#[test]
fn t4_half_sent_messages_have_a_bound_in_total() {
    const LIMIT: usize = 1024 * KIB;
    let mut stage = stage(limited(LIMIT), Echo::default());
    let largest = open(&mut stage);
    stage.send(&largest, &frame(0x02, &[7; 300_000]));
    stage.pass();
    let held = stage.event_loop.snapshot().held;
    assert!((300_000..=LIMIT).contains(&held), "the unfinished message counts: {held}");
    let mut others = Vec::new();
    while stage.event_loop.snapshot().open == 1 + others.len() {
        let other = open(&mut stage);
        stage.send(&other, &frame(0x02, &[7; 50_000]));
        stage.pass();
        others.push(other);
        let held = stage.event_loop.snapshot().held;
        assert!(held <= LIMIT, "{held} bytes are held");
        assert!(others.len() < 100, "the limit is never reached");
    }
    assert!(
        others.len() >= 4,
        "no peer is closed before the limit, but only {} opened",
        others.len()
    );
    assert_eq!(close_code(&stage.heard(&largest)), Some(1009), "the largest is closed");
    assert!(others.iter().all(|other| stage.heard(other).is_empty()), "and no other peer");
    // The unfinished messages of the other peers can still be completed.
    stage.send(&others[0], &frame(0x80, b"!"));
    stage.pass();
    let expected = server_frame(0x82, &[&[7; 50_000][..], b"!"].concat());
    assert!(stage.heard(&others[0]) == expected);
    // However many peers arrive: each closes one of those that hold most, and a new client is served.
    for _ in 0..100 {
        let other = open(&mut stage);
        stage.send(&other, &frame(0x02, &[7; 60_000]));
        stage.pass();
        assert!(stage.event_loop.snapshot().held <= LIMIT);
        others.push(other);
    }
    let honest = open(&mut stage);
    stage.send(&honest, &frame(0x81, b"hi"));
    stage.pass();
    assert_eq!(show(&stage.heard(&honest)), "\\x81\\x02hi");
    for actor in others.iter().chain([&honest, &largest]) {
        stage.reset(actor);
    }
    stage.pass();
    assert_eq!(stage.event_loop.snapshot(), Default::default(), "everything is released");
}

/// T4: many peers do not read their replies. The unread replies count, and so does input that the server has read but
/// not processed yet.
#[test]
fn t4_unread_replies_have_a_bound_in_total() {
    const LIMIT: usize = 1024 * KIB;
    let config = limited(LIMIT)
        .limits(|limits| (limits.max_output, limits.read_buffer) = (256 * KIB, 64 * KIB));
    let mut stage = stage(config, Echo::default());
    let honest = open(&mut stage);
    let mut lazy = Vec::new();
    for n in 0..40 {
        let peer = open(&mut stage);
        stage.make_room(&peer, Some(0));
        stage.send(&peer, &frame(0x82, &[n; 10_000]).repeat(40));
        stage.pass();
        let held = stage.event_loop.snapshot().held;
        assert!(held <= LIMIT, "{held} bytes are held by {n} peers");
        lazy.push(peer);
        stage.send(&honest, &frame(0x81, b"hi"));
        stage.pass();
        assert_eq!(show(&stage.heard(&honest)), "\\x81\\x02hi", "the honest peer is served");
    }
    assert!(stage.event_loop.snapshot().open < 41, "some are closed");
    // A closed peer whose socket is full cannot get a Close. The peers that remain lose nothing.
    let mut served = 0;
    for (n, peer) in lazy.iter().enumerate() {
        stage.make_room(peer, None);
        stage.pass();
        let heard = stage.heard(peer);
        served += usize::from(heard == server_frame(0x82, &[n as u8; 10_000]).repeat(40));
    }
    assert!(served >= 1, "peers that were not closed get everything");
    for actor in lazy.iter().chain([&honest]) {
        stage.reset(actor);
    }
    stage.pass();
    assert_eq!(stage.event_loop.snapshot(), Default::default());
}

/// Sends every message to all others, and records the close code of each connection.
#[derive(Default)]
struct Recorder {
    ends: Vec<CloseCode>,
}

impl Dispatcher for Recorder {
    fn on_open(&mut self, outbox: &mut Outbox<'_>, _: &Opened<'_>) {
        outbox.join("everyone").expect("joins");
    }

    fn on_message(&mut self, outbox: &mut Outbox<'_>, message: Message<'_>) {
        outbox.publish("everyone", message, &[outbox.peer()]);
    }

    fn on_close(&mut self, _: &mut Outbox<'_>, closed: &Closed) {
        self.ends.push(closed.code);
    }
}

/// T4. RFC 6455 §7.1.7-6: messages that wait for a peer that does not read count against that peer, not against their
/// senders. It is closed with 1008, which it could not receive.
#[test]
fn t4_a_member_that_others_fill_goes_first() {
    const LIMIT: usize = 512 * KIB;
    let config = limited(LIMIT).limits(|limits| limits.max_output = 4096 * KIB);
    let mut stage = stage(config, Recorder::default());
    let (slow, speaker, reader) = (open(&mut stage), open(&mut stage), open(&mut stage));
    stage.make_room(&slow, Some(0));
    let mut said = 0;
    while stage.event_loop.snapshot().open == 3 {
        stage.send(&speaker, &frame(0x82, &[7; 5_000]));
        stage.pass();
        said += 1;
        let held = stage.event_loop.snapshot().held;
        assert!(held <= LIMIT, "{held} bytes are held");
        assert!(said < 1_000, "the limit is never reached");
    }
    assert!(said > 50, "no peer is closed before the limit: {said} messages");
    assert_eq!(stage.heard(&reader).len(), said * 5_004, "the reader got everything");
    assert!(stage.heard(&speaker).is_empty(), "the speaker stays");
    let ends = stage.event_loop.act(|recorder, _| recorder.ends.clone());
    assert_eq!(ends, Some(vec![CloseCode(1008)]));
    // Its queued output was dropped. A Close after that would follow an incomplete stream, so none is sent.
    assert_eq!(stage.event_loop.snapshot().queued, 0);
    stage.make_room(&slow, None);
    stage.wait(5 * SECOND);
    assert_eq!(stage.heard(&slow), b"");
    assert!(!stage.holds(&slow) && stage.holds(&speaker) && stage.holds(&reader));
}

/// T4: frames that a `Handle` sends count in the same way as those of a callback.
#[test]
fn t4_frames_from_other_threads_count() {
    let config = without_pings().limits(|limits| limits.max_output = 64 * KIB * KIB);
    let server = TestServer::start(config, Broadcast);
    let _silent = Client::open(server.address);
    server.wait_for("it is a member", |now| now.memberships == 1);
    let message = vec![7; 1 << 20];
    // More than fits into the buffers of the kernel.
    for _ in 0..32 {
        server.handle.publish("everyone", &message, &[]).expect("it runs");
        server.handle.snapshot().expect("the queue is empty again");
    }
    let now = server.handle.snapshot().expect("it runs");
    assert!(now.queued > 4 << 20, "{now:?}");
    assert!(now.held >= now.queued, "{now:?}");
}

/// Replies to each message. After `wait` it blocks the event loop until the test lets it go on.
struct Busy {
    begins: Sender<()>,
    go_on: Receiver<()>,
}

impl Dispatcher for Busy {
    fn on_message(&mut self, outbox: &mut Outbox<'_>, message: Message<'_>) {
        outbox.reply(message);
        if message.as_str() == Some("wait") {
            self.begins.send(()).expect("the test waits");
            self.go_on.recv().expect("the test says so");
        }
    }
}

/// T4: messages that wait in the queue of a `Handle` do not count as memory of the connections. They close no
/// connection, even if they exceed the memory limit.
#[test]
fn t4_the_queue_of_a_handle_closes_nobody() {
    let ((begins, busy), (go, go_on)) = (channel(), channel());
    let server = TestServer::start(limited(1 << 20), Busy { begins, go_on });
    let (mut one, mut two) = (Client::open(server.address), Client::open(server.address));
    one.send(&frame(0x81, b"wait"));
    busy.recv().expect("the loop is busy");
    for _ in 0..8 {
        server.handle.publish("nobody", vec![7; 1 << 20], &[]).expect("there is room");
    }
    go.send(()).expect("the loop waits");
    one.expect(b"\x81\x04wait");
    assert_eq!(server.handle.snapshot().map(|now| (now.open, now.held)), Ok((2, 0)));
    two.send(&frame(0x81, b"hi"));
    two.expect(b"\x81\x02hi");
    one.leave();
    two.leave();
    server.is_back_to_baseline();
}

/// T1: the memory held for a slow reader follows what is queued for it, whatever the size of the buffers that happen to
/// be free. `t1_...` in `tests/properties` checks the same with the allocator.
#[test]
fn t1_held_is_the_capacity_of_a_slow_reader() {
    let config = without_pings()
        .limits(|limits| limits.max_output = 256 * KIB)
        .timeouts(|timeouts| timeouts.write = 3600 * SECOND);
    let mut stage = stage(config, Broadcast);
    let slow = open(&mut stage);
    let others: Vec<Actor> = (0..8).map(|_| open(&mut stage)).collect();
    assert_eq!(stage.event_loop.snapshot().held, 0, "idle connections hold nothing");
    stage.make_room(&slow, Some(0));
    for _ in 0..100 {
        stage.send(&others[0], &[frame(0x82, &[1; 20]), frame(0x82, &[2; 300])].concat());
        // The other peers use large buffers for their pongs and give them back.
        for other in &others[1..] {
            stage.send(other, &frame(0x89, &[3; 125]).repeat(1_000));
        }
        stage.wait(SECOND);
        others.iter().for_each(|other| drop(stage.heard(other)));
        let now = stage.event_loop.snapshot();
        assert!(now.held <= 2 * now.queued + 128 * KIB, "{now:?}");
    }
    assert_eq!(stage.event_loop.snapshot().queued, 100 * (22 + 304));
}

/// `max_memory: None` lets `bind` choose a limit, which the server then reports as a number.
#[test]
fn t4_a_server_knows_its_limit_of_memory() {
    let config = without_pings().listen("127.0.0.1", 0);
    let server = framewise::Server::bind(config, Echo::default()).expect("a free port");
    assert!(server.max_memory() >= 1 << 20);
}

/// Joins each peer to a room of its own, named by the order of opening. `to ROOM` is forwarded to that room, and `hi` to
/// everybody. Counts the peers that have closed, and how many of them had when the last message arrived.
#[derive(Default)]
struct Rooms {
    opened: usize,
    closed: usize,
    closed_before_last: usize,
}

impl Dispatcher for Rooms {
    fn on_open(&mut self, outbox: &mut Outbox<'_>, _: &Opened<'_>) {
        outbox.join(&self.opened.to_string()).expect("joins");
        outbox.join("all").expect("joins");
        self.opened += 1;
    }

    fn on_message(&mut self, outbox: &mut Outbox<'_>, message: Message<'_>) {
        self.closed_before_last = self.closed;
        match message {
            Message::Binary(bytes) => {
                outbox.publish(&bytes[0].to_string(), bytes, &[]);
            }
            Message::Text(text) => {
                outbox.publish("all", text, &[]);
            }
        }
    }

    fn on_close(&mut self, _: &mut Outbox<'_>, _: &Closed) {
        self.closed += 1;
    }
}

/// T4: the limit holds within a pass, also for peers that have output to write at its end.
#[test]
fn t4_input_counts_in_the_turn_that_brings_it() {
    let mut stage = stage(limited(4096 * KIB), Rooms::default());
    let first = open(&mut stage);
    let members = open_all(&mut stage, 30);
    let last = open(&mut stage);
    stage.send(&first, &frame(0x81, b"hi"));
    for member in &members {
        stage.send(member, &frame(0x02, &[1; 450_000]));
    }
    stage.send(&last, &frame(0x81, b"hi"));
    stage.pass();
    let closed = stage.event_loop.act(|rooms, _| rooms.closed_before_last).expect("no panic");
    assert!(closed >= 20, "{closed} of 30 were closed before the last turn");
}

/// T4: output that the sockets accept is written before anybody is closed for memory.
#[test]
fn t4_no_fast_reader_is_closed_for_memory() {
    const ROOMS: usize = 60;
    let mut stage = stage(limited(2048 * KIB), Rooms::default());
    let (readers, talkers) = (open_all(&mut stage, ROOMS), open_all(&mut stage, ROOMS));
    for (room, talker) in talkers.iter().enumerate() {
        stage.send(talker, &frame(0x82, &vec![room as u8; 200_000]));
    }
    stage.pass();
    for (room, reader) in readers.iter().enumerate() {
        assert!(stage.heard(reader) == server_frame(0x82, &vec![room as u8; 200_000]), "{room}");
    }
    assert_eq!(stage.event_loop.snapshot().open, 2 * ROOMS);
}

/// Publishes this text to everybody when a peer has closed.
struct Farewell(String);

impl Dispatcher for Farewell {
    fn on_message(&mut self, _: &mut Outbox<'_>, _: Message<'_>) {}

    fn on_open(&mut self, outbox: &mut Outbox<'_>, _: &Opened<'_>) {
        outbox.join("all").expect("joins");
    }

    fn on_close(&mut self, outbox: &mut Outbox<'_>, _: &Closed) {
        outbox.publish("all", &self.0, &[]);
    }
}

/// T4: what `on_close` sends for a peer that was closed for memory is written at once.
#[test]
fn t4_others_learn_at_once_who_was_closed_for_memory() {
    let mut stage = stage(limited(256 * KIB), Farewell("left".to_owned()));
    let (slow, other) = (open(&mut stage), open(&mut stage));
    stage.make_room(&slow, Some(0));
    stage.event_loop.act(|_, outbox| assert!(outbox.send(slow.id, [7; 300_000])));
    assert_eq!(stage.event_loop.snapshot().open, 1, "the slow reader is closed");
    assert_eq!(show(&stage.heard(&other)), "\\x81\\x04left");
}

/// T4: what `on_close` sends to peers that read it does not cause more of them to be closed.
#[test]
fn t4_a_farewell_closes_nobody_else() {
    let farewell = "x".repeat(30_000);
    let mut stage = stage(limited(1024 * KIB), Farewell(farewell.clone()));
    let mut members: Vec<Actor> = Vec::new();
    while stage.event_loop.snapshot().open == members.len() {
        let member = open(&mut stage);
        stage.send(&member, &frame(0x02, &[7; 20_000]));
        stage.pass();
        members.push(member);
        assert!(members.len() < 100, "the limit is never reached");
    }
    assert_eq!(stage.event_loop.snapshot().open, members.len() - 1, "one is enough");
    let expected = server_frame(0x81, farewell.as_bytes());
    let informed = members.iter().filter(|member| stage.heard(member) == expected).count();
    assert_eq!(informed, members.len() - 1, "all others hear of it");
}
