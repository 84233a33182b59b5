//! Compressed frames after the opening handshake, received by a client or a server: how they are split makes no difference,
//! and limits hold. What one side compresses, the other decompresses to the same.
#![no_main]

#[path = "support/pieces.rs"]
mod pieces;

use framewise::config::{Config, Deflate, ValidConfig};
use framewise::protocol::connection::{Connection, Event};
use framewise::{ClientRequest, Url};
use libfuzzer_sys::fuzz_target;

/// The longest message, so that inputs exceed it.
const MAX_MESSAGE: usize = 40_000;

fuzz_target!(|input: (u8, Vec<u8>, Vec<u8>)| {
    let (seed, cuts, bytes) = input;
    let config = config(seed);
    let server = seed & 4 == 0;
    // The bytes as they are, and as the payload of one frame that keeps the other rules.
    let mut framed = vec![if seed & 8 == 0 { 0xc1 } else { 0xc2 }, if server { 0xfe } else { 126 }];
    framed.extend_from_slice(&u16::try_from(bytes.len()).expect("short").to_be_bytes());
    framed.extend_from_slice(if server { &[0; 4] } else { &[] });
    framed.extend_from_slice(&bytes);
    for wire in [&bytes, &framed] {
        let whole = run(server, &config, wire, &[]);
        assert_eq!(run(server, &config, wire, &[1]), whole);
        assert_eq!(run(server, &config, wire, &cuts), whole);
    }
    round_trip(&config, &bytes);
});

fn config(seed: u8) -> ValidConfig {
    let mut deflate = Deflate::default();
    if seed & 1 != 0 {
        deflate = deflate.with_context_takeover();
    }
    deflate.level = if seed & 2 != 0 { 1 } else { 6 };
    deflate.min_length = 0;
    let config = Config::default().handshake(|handshake| handshake.deflate = Some(deflate));
    config.limits(|limits| limits.max_message = MAX_MESSAGE).validate().expect("valid")
}

/// Passes bytes to a connection, in pieces of the lengths in `cuts`. Returns its events and its output.
fn run(server: bool, config: &ValidConfig, bytes: &[u8], cuts: &[u8]) -> (Vec<String>, Vec<u8>) {
    let mut connection = open(server, config);
    let seen = pieces::receive(&mut connection, bytes, cuts, MAX_MESSAGE);
    (seen, connection.output_mut().take())
}

/// Sends pieces of the input as messages, from one side to the other.
fn round_trip(config: &ValidConfig, bytes: &[u8]) {
    let (mut client, mut server) = pair(config);
    for message in bytes.chunks(700) {
        assert!(client.output_mut().send(message) && server.output_mut().send(message));
        receives(&mut server, &mut client, message);
        receives(&mut client, &mut server, message);
    }
}

/// Checks that `to` receives exactly this message from `from`.
fn receives(to: &mut Connection, from: &mut Connection, message: &[u8]) {
    let mut received = Vec::new();
    to.receive(&mut from.output_mut().take(), |event, _| match event {
        Event::Message(message) => received.push(message.into_bytes()),
        other => panic!("{other:?}"),
    });
    assert_eq!(received, [message]);
}

fn open(server: bool, config: &ValidConfig) -> Connection {
    let (client, other) = pair(config);
    if server { other } else { client }
}

/// Returns both sides of an open connection that compresses. The masking keys are all zero.
fn pair(config: &ValidConfig) -> (Connection, Connection) {
    let request = ClientRequest::new(Url::parse("ws://h/").expect("valid"));
    let mut client =
        Connection::client(config.clone(), &request, [0; 16], Box::new(|| [0, 0, 0, 0]));
    let mut server = Connection::server(config.clone());
    server.receive(&mut client.output_mut().take(), |_, _| {});
    client.receive(&mut server.output_mut().take(), |event, _| {
        assert!(matches!(event, Event::Opened(negotiated) if negotiated.extensions.is_some()));
    });
    (client, server)
}
