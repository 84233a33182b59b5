//! What an application can do in its callbacks: query peers, send to its own peer, and close any peer. Also the ticket
//! that `on_request` passes to `on_open`.

mod support;

use std::cell::Cell;
use std::net::SocketAddr;
use std::rc::Rc;

use framewise::{
    Application, CloseCode, Closed, Decision, Dispatcher, Message, Opened, Outbox, PeerId, Request,
    Snapshot,
};
use support::stage::*;
use support::*;

// Tickets.

/// What `on_request` found out about a request. `alive` counts the tickets that exist.
struct Ticket {
    path: String,
    alive: Rc<Cell<usize>>,
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.alive.set(self.alive.get() - 1);
    }
}

#[derive(Default)]
struct Doorman {
    alive: Rc<Cell<usize>>,
    opened: Vec<(PeerId, String)>,
}

impl Application for Doorman {
    type Ticket = Ticket;

    fn on_request(&mut self, request: &Request<'_>, _: SocketAddr) -> Decision<Ticket> {
        self.alive.set(self.alive.get() + 1);
        let ticket = Ticket { path: request.path().to_owned(), alive: Rc::clone(&self.alive) };
        match ticket.path.as_str() {
            "/refused" => Decision::Fail,
            "/chat" => Decision::AcceptAs("chat".to_owned(), ticket),
            _ => Decision::Accept(ticket),
        }
    }

    fn on_open(&mut self, outbox: &mut Outbox<'_>, opened: &Opened<'_>, ticket: Ticket) {
        assert_eq!(ticket.path, opened.request.path());
        outbox.reply(ticket.path.as_str());
        self.opened.push((outbox.peer(), ticket.path.clone()));
    }

    fn on_message(&mut self, _: &mut Outbox<'_>, _: Message<'_>) {}
}

/// The ticket of a request is passed to `on_open` for the same peer. If the WebSocket is not opened, the ticket is
/// dropped.
#[test]
fn a_ticket_reaches_on_open() {
    let config = any_origin().handshake(|handshake| handshake.subprotocols = vec!["chat".into()]);
    let mut stage = stage(config, Doorman::default());
    let ask = |stage: &mut Stage<Doorman>, path: &str, more: &str| {
        let actor = stage.connect();
        let text = String::from_utf8(request(more)).expect("ASCII");
        stage.send(&actor, text.replacen("GET / ", &format!("GET {path} "), 1).as_bytes());
        stage.pass();
        let heard = stage.heard(&actor);
        (actor, heard)
    };
    let (one, heard_one) = ask(&mut stage, "/one", "");
    let (two, heard_two) = ask(&mut stage, "/two", "");
    let (chat, heard_chat) = ask(&mut stage, "/chat", "Sec-WebSocket-Protocol: chat\r\n");
    assert!(heard_one.ends_with(b"\r\n\r\n\x81\x04/one"));
    assert!(heard_two.ends_with(b"\r\n\r\n\x81\x04/two"));
    assert!(heard_chat.ends_with(b"Sec-WebSocket-Protocol: chat\r\n\r\n\x81\x05/chat"));
    // A refusal, a subprotocol that the client did not offer, and a plain GET: none of them opens a WebSocket.
    for (path, status) in [("/refused", &b"500"[..]), ("/chat", b"500")] {
        let (actor, heard) = ask(&mut stage, path, "");
        assert_eq!(&heard[9..12], status, "{}", show(&heard));
        stage.finish(&actor);
    }
    let plain = stage.connect();
    stage.send(&plain, b"GET /plain HTTP/1.1\r\nHost: h\r\n\r\n");
    stage.pass();
    assert_eq!(&stage.heard(&plain)[9..12], b"426");
    stage.finish(&plain);
    let told = stage.event_loop.act(|doorman, _| (doorman.opened.clone(), doorman.alive.get()));
    let opened = [(&one, "/one"), (&two, "/two"), (&chat, "/chat")];
    let opened = opened.map(|(actor, path)| (actor.id, path.to_owned()));
    assert_eq!(told, Some((opened.to_vec(), 0)), "no ticket is left over");
    leave_all(&mut stage, &[&one, &two, &chat]);
}

// Querying peers, and sending to the own peer.

/// Checks what each callback can see. On `self` it sends to its own peer in four ways.
struct Looking;

impl Dispatcher for Looking {
    fn on_open(&mut self, outbox: &mut Outbox<'_>, _: &Opened<'_>) {
        let me = outbox.peer();
        assert!(outbox.is_open(me) && outbox.members("all").iter().all(|&peer| peer != me));
        assert_eq!((outbox.join("all"), outbox.join("all")), (Ok(true), Ok(false)));
        assert!(outbox.members("all").contains(&me));
        assert_eq!(outbox.members("none"), []);
    }

    fn on_message(&mut self, outbox: &mut Outbox<'_>, message: Message<'_>) {
        let me = outbox.peer();
        let before = outbox.queued(me);
        match message.as_str() {
            // Four ways to send to the own peer. The frames arrive in the order of the calls.
            Some("self") => {
                assert!(outbox.reply("reply") && outbox.send(me, "by id"));
                let sent = outbox.publish("all", "as a member", &[]);
                assert_eq!(sent, outbox.members("all").len());
                assert!(outbox.reply([1, 2]) && outbox.ping(b"?"));
                assert!(outbox.queued(me) > before);
            }
            _ => {
                outbox.publish("all", message, &[me]);
                assert_eq!(outbox.queued(me), before, "the excluded peer gets nothing");
            }
        }
    }

    fn on_close(&mut self, outbox: &mut Outbox<'_>, _: &Closed) {
        let me = outbox.peer();
        assert!(!outbox.is_open(me) && !outbox.send(me, "never") && !outbox.reply("never"));
        assert!(!outbox.members("all").contains(&me));
    }
}

/// A callback can query its own peer and send to it like to any other, although the event loop takes the connection out
/// of its table during the turn.
#[test]
fn a_peer_can_send_to_itself_in_order() {
    let mut stage = stage(any_origin(), Looking);
    let (one, two) = (open(&mut stage), open(&mut stage));
    stage.send(&one, &[frame(0x81, b"self"), frame(0x81, b"others")].concat());
    stage.pass();
    let own = [
        server_frame(0x81, b"reply"),
        server_frame(0x81, b"by id"),
        server_frame(0x81, b"as a member"),
        b"\x82\x02\x01\x02\x89\x01?".to_vec(),
    ];
    assert_eq!(show(&stage.heard(&one)), show(&own.concat()));
    let others = [server_frame(0x81, b"as a member"), server_frame(0x81, b"others")].concat();
    assert_eq!(show(&stage.heard(&two)), show(&others));

    // Others can see how much is queued for a slow peer. For a peer that is gone nothing is queued, and nothing can be
    // sent to it.
    stage.make_room(&two, Some(2));
    stage.send(&one, &frame(0x81, b"slow"));
    stage.pass();
    let look = |stage: &mut Stage<Looking>| {
        stage.event_loop.act(|_, outbox| {
            (outbox.is_open(two.id), outbox.queued(two.id), outbox.members("all").to_vec())
        })
    };
    let (is_open, queued, mut members) = look(&mut stage).expect("no panic");
    members.sort_unstable();
    assert_eq!((is_open, queued, members), (true, 4, vec![one.id, two.id]));
    stage.reset(&two);
    stage.pass();
    assert_eq!(look(&mut stage), Some((false, 0, vec![one.id])));
    let sent = stage.event_loop.act(|_, outbox| outbox.send(two.id, "too late"));
    assert_eq!(sent, Some(false));
    leave_all(&mut stage, &[&one]);
}

// Closing.

/// Closes its own peer, or all others, in one of its callbacks.
struct Closing {
    when: &'static str,
    own: bool,
    closes: Vec<(PeerId, CloseCode)>,
}

impl Closing {
    fn called(&self, when: &str, outbox: &mut Outbox<'_>) {
        if when != self.when {
            return;
        }
        let me = outbox.peer();
        for peer in outbox.members("all").to_vec() {
            if (peer == me) == self.own {
                let is_open = outbox.is_open(peer);
                assert_eq!(outbox.close_peer(peer, CloseCode(4000), "bye"), Ok(is_open));
                assert_eq!(outbox.close_peer(peer, CloseCode(4001), "again"), Ok(false));
                assert!(!outbox.is_open(peer) && !outbox.send(peer, "never"));
            }
        }
        // In `on_close` the own peer has already left the group, so the loop above did not reach it.
        if self.own {
            outbox.close(CloseCode(4002), "again").expect("valid");
        }
        let invalid = outbox.close(CloseCode::NO_STATUS, "");
        assert!(invalid.is_err(), "an invalid Close is an error in any state");
    }
}

impl Dispatcher for Closing {
    fn on_open(&mut self, outbox: &mut Outbox<'_>, _: &Opened<'_>) {
        outbox.join("all").expect("joins");
        if outbox.members("all").len() == 3 {
            self.called("open", outbox);
        }
    }

    fn on_message(&mut self, outbox: &mut Outbox<'_>, _: Message<'_>) {
        self.called("message", outbox);
    }

    fn on_close(&mut self, outbox: &mut Outbox<'_>, closed: &Closed) {
        self.closes.push((outbox.peer(), closed.code));
        self.called("close", outbox);
    }
}

/// C10: every callback may close its own peer and all others. Each gets one Close and one `on_close`.
#[test]
fn every_callback_may_close_anybody() {
    for when in ["open", "message", "close"] {
        for own in [true, false] {
            let mut stage = stage(any_origin(), Closing { when, own, closes: Vec::new() });
            let actors: Vec<Actor> = (0..2).map(|_| open(&mut stage)).collect();
            let last = stage.connect();
            let close = if when == "close" { frame(0x88, b"\x0f\xaa") } else { Vec::new() };
            let wire = [request(""), frame(0x81, b"go"), close].concat();
            stage.send(&last, &wire);
            stage.pass();
            let bye = failure(4000, "bye");
            let mut expected = vec![(last.id, CloseCode(4000))];
            for actor in &actors {
                let heard = stage.heard(actor);
                assert_eq!(heard == bye, !own, "{when}, own: {own}: {}", show(&heard));
                expected.push((actor.id, CloseCode(if own { 4005 } else { 4000 })));
                let answer = if own { b"\x0f\xa5" } else { b"\x0f\xa0" };
                stage.send(actor, &frame(0x88, answer));
            }
            let heard = stage.heard(&last);
            let heard = heard.strip_prefix(SWITCHING).expect("it was open");
            at_most_one_close(heard);
            match (when, own) {
                ("close", _) => expected[0].1 = CloseCode(4010),
                (_, true) => assert_eq!(show(heard), show(&bye)),
                (_, false) => {
                    assert_eq!(show(heard), "");
                    expected[0].1 = CloseCode(4005);
                }
            }
            if when != "close" {
                stage.send(&last, &frame(0x88, &expected[0].1.0.to_be_bytes()));
            }
            stage.pass();
            for actor in actors.iter().chain([&last]) {
                assert!(stage.is_shut(actor), "{when}, own: {own}");
                stage.finish(actor);
            }
            stage.pass();
            assert_eq!(stage.event_loop.snapshot(), Snapshot::default());
            let closes = stage.event_loop.act(|closing, _| closing.closes.clone());
            let mut closes = closes.expect("no panic");
            closes.sort_unstable_by_key(|(peer, _)| *peer);
            expected.sort_unstable_by_key(|(peer, _)| *peer);
            assert_eq!(closes, expected, "{when}, own: {own}");
        }
    }
}

// Much output from one callback.

const MANY: usize = 200;

/// Sends `MANY` messages to each member in one callback: with `send`, or with `publish` if the message is `publish`.
#[derive(Default)]
struct Flooder {
    most_queued: usize,
}

impl Dispatcher for Flooder {
    fn on_open(&mut self, outbox: &mut Outbox<'_>, _: &Opened<'_>) {
        outbox.join("all").expect("joins");
    }

    fn on_message(&mut self, outbox: &mut Outbox<'_>, message: Message<'_>) {
        let (own, members) = (outbox.peer(), outbox.members("all").to_vec());
        for n in 0..MANY as u8 {
            if message.as_str() == Some("publish") {
                outbox.publish("all", [n; 200], &[own]);
            } else {
                for &member in members.iter().filter(|&&member| member != own) {
                    outbox.send(member, [n; 200]);
                }
            }
            let queued = members.iter().map(|&member| outbox.queued(member)).sum();
            self.most_queued = self.most_queued.max(queued);
        }
    }
}

/// T4: what one callback sends to others is written before much of it is queued. Every member receives every message, in
/// order.
#[test]
fn t4_one_callback_does_not_queue_without_limit() {
    let expected: Vec<u8> = (0..MANY as u8).flat_map(|n| server_frame(0x82, &[n; 200])).collect();
    for way in ["publish", "send"] {
        let mut stage = stage(without_pings(), Flooder::default());
        let (speaker, members) = (open(&mut stage), open_all(&mut stage, 300));
        stage.send(&speaker, &frame(0x81, way.as_bytes()));
        stage.pass();
        for member in &members {
            assert!(stage.heard(member) == expected, "{way}: a member misses something");
        }
        let most = stage.event_loop.act(|flooder, _| flooder.most_queued).expect("no panic");
        assert!(most < 5 << 20, "{way}: {most} bytes were queued");
    }
}

/// Joins each peer to a room of its own. A message is published to every room.
#[derive(Default)]
struct RoomOfOne {
    peers: Vec<PeerId>,
    most_queued: usize,
}

impl Dispatcher for RoomOfOne {
    fn on_open(&mut self, outbox: &mut Outbox<'_>, _: &Opened<'_>) {
        outbox.join(&self.peers.len().to_string()).expect("joins");
        self.peers.push(outbox.peer());
    }

    fn on_message(&mut self, outbox: &mut Outbox<'_>, message: Message<'_>) {
        for room in 0..self.peers.len() {
            outbox.publish(&room.to_string(), message, &[]);
            let queued = self.peers.iter().map(|&peer| outbox.queued(peer)).sum();
            self.most_queued = self.most_queued.max(queued);
        }
    }
}

/// T4: the same for long messages, which outputs share instead of copying them.
#[test]
fn t4_one_callback_does_not_queue_long_messages_without_limit() {
    let mut stage = stage(without_pings(), RoomOfOne::default());
    let (speaker, members) = (open(&mut stage), open_all(&mut stage, 200));
    stage.send(&speaker, &frame(0x82, &[7; 100_000]));
    stage.pass();
    for member in &members {
        assert!(stage.heard(member) == server_frame(0x82, &[7; 100_000]), "a message is missing");
    }
    let most = stage.event_loop.act(|rooms, _| rooms.most_queued).expect("no panic");
    assert!(most < 5 << 20, "{most} bytes were queued");
}
