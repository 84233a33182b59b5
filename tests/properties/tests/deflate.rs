//! The memory that permessage-deflate takes, as the allocator counts it. The test runs in a process of its own.

#[path = "../../support/script.rs"]
mod script;

use std::alloc::System;
use std::iter;

use cap::Cap;
use flate2::{Compress, Compression, FlushCompress};
use framewise::Echo;
use framewise::config::{Config, Deflate, OriginPolicy};
use framewise_properties::frame;
use script::{Actor, Stage};

#[global_allocator]
static ALLOCATOR: Cap<System> = Cap::new(System, usize::MAX);

const KIB: usize = 1024;

const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\n\
    Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
    Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n\r\n";

fn stage(deflate: Option<Deflate>) -> Stage<Echo> {
    let config = Config::default()
        .handshake(|handshake| {
            handshake.origins = OriginPolicy::Any;
            handshake.deflate = deflate;
        })
        .timeouts(|timeouts| timeouts.ping_interval = None);
    Stage::new(config.validate().expect("valid"), Echo::default())
}

fn open(stage: &mut Stage<Echo>) -> Actor {
    let actor = stage.connect();
    stage.send(&actor, REQUEST);
    stage.pass();
    assert!(stage.heard(&actor).starts_with(b"HTTP/1.1 101 "));
    actor
}

/// Returns a message as one compressed frame of a client.
fn compressed(message: &[u8]) -> Vec<u8> {
    let mut compressor = Compress::new_with_window_bits(Compression::new(6), false, 15);
    let mut payload = Vec::with_capacity(message.len() + message.len() / 8 + 1024);
    compressor.compress_vec(message, &mut payload, FlushCompress::Sync).expect("it works");
    payload.truncate(payload.len() - 4);
    with_rsv1(frame(true, 2, &payload, Some([0; 4])))
}

fn with_rsv1(mut frame: Vec<u8>) -> Vec<u8> {
    frame[0] |= 0x40;
    frame
}

/// Returns how many bytes a connection holds after it has received and sent one message of 1,000 bytes, as the allocator and the
/// server count them.
fn per_peer(deflate: Option<Deflate>) -> (usize, usize) {
    const PEERS: usize = 64;
    let message = match deflate {
        Some(_) => compressed(&[7; 1000]),
        // As long, because the script of the peer keeps it.
        None => frame(true, 2, &compressed(&[7; 1000])[6..], Some([0; 4])),
    };
    let mut stage = stage(deflate);
    let talk = |stage: &mut Stage<Echo>| {
        let actor = open(stage);
        stage.send(&actor, &message);
        stage.pass();
        assert!(!stage.heard(&actor).is_empty());
        actor
    };
    // The tables have room for more peers, and what the loop shares exists.
    let first: Vec<Actor> = (0..PEERS).map(|_| talk(&mut stage)).collect();
    let (allocated, held) = (ALLOCATOR.allocated(), stage.event_loop.snapshot().held);
    let more: Vec<Actor> = (0..PEERS).map(|_| talk(&mut stage)).collect();
    let held = stage.event_loop.snapshot().held - held;
    let allocated = ALLOCATOR.allocated() - allocated;
    drop((first, more));
    (allocated / PEERS, held / PEERS)
}

/// One test, because the allocator counts everything in the process.
#[test]
fn memory() {
    // The first measurement includes what the process needs only once.
    per_peer(None);
    let (plain, _) = per_peer(None);

    // Without contexts an idle connection holds nothing besides its record.
    let (shared, held) = per_peer(Some(Deflate::default()));
    println!("idle: {plain} bytes without the extension, {shared} with it");
    assert!(shared <= plain + 16, "{shared} against {plain}");
    assert_eq!(held, 0);

    // A context counts as what the allocator says.
    for (server, client, bits) in [
        (false, true, 9),
        (false, true, 12),
        (false, true, 15),
        (true, false, 15),
        (false, false, 15),
    ] {
        let mut deflate = Deflate::default();
        deflate.server_no_context_takeover = server;
        deflate.client_no_context_takeover = client;
        deflate.server_max_window_bits = bits;
        let (allocated, held) = per_peer(Some(deflate));
        let allocated = allocated - plain;
        println!("no context {server} {client}, {bits} bits: {allocated} bytes, counted as {held}");
        assert!(allocated.abs_diff(held) <= allocated / 50, "{allocated} bytes, counted as {held}");
    }

    // CVE-2018-1000518, CVE-2026-39804: a bomb costs at most `max_message` and one buffer. The allocator refuses more, which
    // the peer would see as another reason.
    let mut stage = stage(Some(Deflate::default()));
    let warm = open(&mut stage);
    stage.send(&warm, &compressed(&[7; 1000]));
    stage.pass();
    let actor = open(&mut stage);
    let megabyte = &compressed(&vec![0; 1024 * KIB])[14..];
    let end = [0, 0, 0xff, 0xff];
    let wire: Vec<u8> = iter::repeat_n([megabyte, &end].concat(), 1024)
        .flatten()
        .chain(megabyte.to_vec())
        .collect();
    let wire = with_rsv1(frame(true, 2, &wire, Some([0; 4])));
    // The script has a copy of what it sends.
    stage.send(&actor, &wire);
    ALLOCATOR.set_limit(ALLOCATOR.allocated() + 1024 * KIB + 512 * KIB).expect("more than now");
    stage.pass();
    ALLOCATOR.set_limit(usize::MAX).expect("no limit");
    let heard = stage.heard(&actor);
    let reason = b"message larger than the limit";
    assert_eq!(heard[..4], [0x88, heard[1], 0x03, 0xf1], "{heard:?}");
    assert!(heard.ends_with(reason), "{}", heard.escape_ascii());
}
