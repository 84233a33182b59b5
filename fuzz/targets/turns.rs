//! The event loop over scripted sockets and a scripted clock: whatever clients, kernel and clock do, no client gets
//! bytes that are not meant for it, and everything is released in the end.
#![no_main]

#[path = "../../tests/support/script.rs"]
mod script;

use std::time::Duration;

use framewise::Snapshot;
use framewise::config::{Config, OriginPolicy};
use framewise::{CloseCode, Closed, Dispatcher, Message, Opened, Outbox, PeerId};
use libfuzzer_sys::fuzz_target;
use script::{Actor, Stage};

/// The input as a list of steps: one byte for the action, one for the client or an amount, and for some actions a
/// length and bytes.
struct Script<'a>(&'a [u8]);

impl<'a> Script<'a> {
    fn byte(&mut self) -> Option<u8> {
        let (&byte, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(byte)
    }

    /// At most 125 bytes, so that they fit a short frame.
    fn bytes(&mut self) -> &'a [u8] {
        let length = usize::from(self.byte().unwrap_or(0)) % 126;
        let (bytes, rest) = self.0.split_at(length.min(self.0.len()));
        self.0 = rest;
        bytes
    }
}

/// Echoes, publishes, leaves, closes or pings, depending on the first byte of a message.
#[derive(Default)]
struct Moody {
    open: Vec<PeerId>,
}

impl Dispatcher for Moody {
    fn on_open(&mut self, outbox: &mut Outbox<'_>, _: &Opened<'_>) {
        outbox.join("all").expect("joins");
        self.open.push(outbox.peer());
    }

    fn on_message(&mut self, outbox: &mut Outbox<'_>, message: Message<'_>) {
        assert!(self.open.contains(&outbox.peer()), "a message arrives between open and close");
        match message.bytes().first() {
            Some(0) => drop(outbox.publish("all", message, &[outbox.peer()])),
            Some(1) => drop(outbox.leave("all")),
            Some(2) => drop(outbox.close(CloseCode(4000), "as told").expect("valid")),
            Some(3) => {
                for &peer in &self.open {
                    outbox.close_peer(peer, CloseCode(4001), "all").expect("valid");
                }
            }
            Some(4) => drop(outbox.ping(b"?")),
            _ => drop(outbox.reply(message)),
        }
    }

    fn on_close(&mut self, outbox: &mut Outbox<'_>, _: &Closed) {
        let place = self.open.iter().position(|&peer| peer == outbox.peer());
        self.open.swap_remove(place.expect("on_close is called once, for an open peer"));
    }
}

fuzz_target!(|script: &[u8]| {
    let config = Config::default()
        .handshake(|handshake| handshake.origins = OriginPolicy::Any)
        .limits(|limits| {
            limits.max_message = 2000;
            limits.max_output = 1024;
            limits.read_buffer = 1024;
            limits.max_discard = 4096;
        })
        .timeouts(|timeouts| timeouts.idle = Some(Duration::from_secs(100)));
    let mut stage = Stage::new(config.validate().expect("valid"), Moody::default());
    let mut actors: Vec<(Actor, Vec<u8>)> = Vec::new();
    let mut script = Script(script);
    while let (Some(what), Some(which)) = (script.byte(), script.byte()) {
        act(&mut stage, &mut actors, what, which, &mut script);
        for (actor, heard) in &mut actors {
            heard.extend(stage.heard(actor));
        }
        assert!(stage.event_loop.snapshot().queued <= actors.len() * 8 * 1024, "output is limited");
    }
    for (_, heard) in &actors {
        is_a_stream(heard);
    }
    for _ in 0..2 {
        stage.event_loop.close_all();
        stage.wait(Duration::from_secs(5));
    }
    stage.wait(Duration::from_secs(20));
    assert_eq!(stage.event_loop.snapshot(), Snapshot::default());
    assert!(stage.event_loop.next_deadline().is_none() && !stage.event_loop.has_turns());
});

fn act(
    stage: &mut Stage<Moody>,
    actors: &mut Vec<(Actor, Vec<u8>)>,
    what: u8,
    which: u8,
    script: &mut Script<'_>,
) {
    let actor =
        actors.get(usize::from(which) % actors.len().max(1)).map(|(actor, _)| actor.clone());
    match (what % 14, actor) {
        (0 | 1, _) if actors.len() >= 30 => {}
        (0, _) => actors.push((stage.connect(), Vec::new())),
        (1, _) => {
            let actor = stage.connect();
            stage.send(&actor, REQUEST);
            actors.push((actor, Vec::new()));
        }
        (2, _) => stage.pass(),
        (3, _) => stage.wait(Duration::from_secs(u64::from(which))),
        (4, _) if which < 8 => stage.event_loop.close_all(),
        (5, _) => {
            let message = Message::Binary(script.bytes());
            stage.event_loop.act(|_, outbox| outbox.publish("all", message, &[]));
        }
        (6, Some(actor)) => stage.send(&actor, script.bytes()),
        (7 | 8, Some(actor)) => {
            let first = script.byte().unwrap_or(0x82);
            let payload = script.bytes();
            let mut frame = vec![first, 0x80 | payload.len() as u8, 0, 0, 0, 0];
            frame.extend(payload);
            stage.send(&actor, &frame);
        }
        (9, Some(actor)) => stage.finish(&actor),
        (10, Some(actor)) => stage.reset(&actor),
        (11, Some(actor)) => {
            let room = usize::from(script.byte().unwrap_or(0));
            stage.make_room(&actor, Some(room));
        }
        (12, Some(actor)) => stage.make_room(&actor, None),
        (13, Some(actor)) => {
            let close = |_: &mut Moody, outbox: &mut Outbox<'_>| {
                outbox.close_peer(actor.id, CloseCode::NORMAL, "").expect("valid")
            };
            stage.event_loop.act(close);
        }
        _ => {}
    }
}

const REQUEST: &[u8] =
    b"GET / HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
    Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

/// Checks the bytes of a client: a response, then complete frames, and at most one incomplete frame. Only pongs follow
/// a Close.
fn is_a_stream(heard: &[u8]) {
    let Some(end) = heard.windows(4).position(|four| four == b"\r\n\r\n") else { return };
    if !heard.starts_with(b"HTTP/1.1 101") {
        return;
    }
    let mut rest = &heard[end + 4..];
    let mut is_closed = false;
    while let [first, second, after @ ..] = rest {
        assert!([0x81, 0x82, 0x88, 0x89, 0x8a].contains(first), "{first:02x}");
        assert!(!is_closed || *first == 0x8a, "{first:02x} follows a Close");
        is_closed |= *first == 0x88;
        let (length, at) = match (second, after) {
            (126, [high, low, ..]) => (usize::from(u16::from_be_bytes([*high, *low])), 2),
            (126 | 127, _) => return,
            (short, _) => (usize::from(*short), 0),
        };
        let Some(after) = after.get(at + length..) else { return };
        rest = after;
    }
}
