//! Helpers of the property tests: connections in memory, a simple encoder of frames, and ways to split bytes.

use framewise::config::{Config, ValidConfig};
use framewise::protocol::connection::Connection;
use framewise::protocol::frame::Role;
use framewise::{ClientRequest, Url};
use proptest::prelude::*;

/// Returns the configuration of a property: how many random cases are tried. Failures are not written to disk.
pub fn cases(cases: u32) -> ProptestConfig {
    ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() }
}

/// Returns limits that are small enough for random input to exceed them.
pub fn small() -> ValidConfig {
    let config = Config::default().limits(|limits| {
        limits.max_message = 300;
        limits.max_fragments = 6;
    });
    config.validate().expect("valid")
}

/// Returns the `role` side of an open connection. The masking keys of a client are a fixed sequence.
pub fn open(role: Role, config: &ValidConfig) -> Connection {
    let request = ClientRequest::new(Url::parse("ws://h/").expect("valid"));
    let mut next = 0u32;
    let keys = Box::new(move || {
        next = next.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        next.to_be_bytes()
    });
    let mut client = Connection::client(config.clone(), &request, [7; 16], keys);
    let mut server = Connection::server(config.clone());
    server.receive(&mut client.output_mut().take(), |_, _| {});
    client.receive(&mut server.output_mut().take(), |_, _| {});
    match role {
        Role::Client => client,
        Role::Server => server,
    }
}

/// Returns a valid opening handshake for `path`.
pub fn request(path: &str) -> Vec<u8> {
    format!(
        "GET {path} HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    )
    .into_bytes()
}

/// Encodes a frame byte by byte, as §5.2 draws it. With a key it is a frame of a client.
pub fn frame(fin: bool, opcode: u8, payload: &[u8], key: Option<[u8; 4]>) -> Vec<u8> {
    let mut bytes = vec![u8::from(fin) << 7 | opcode];
    let mask = u8::from(key.is_some()) << 7;
    match payload.len() {
        length @ 0..=125 => bytes.push(mask | length as u8),
        length @ 126..=0xffff => {
            bytes.push(mask | 126);
            bytes.extend((length as u16).to_be_bytes());
        }
        length => {
            bytes.push(mask | 127);
            bytes.extend((length as u64).to_be_bytes());
        }
    }
    bytes.extend(key.into_iter().flatten());
    let key = key.unwrap_or_default();
    bytes.extend(payload.iter().enumerate().map(|(i, byte)| byte ^ key[i % 4]));
    bytes
}

/// Generates the lengths of pieces for [`pieces`].
pub fn cuts() -> impl Strategy<Value = Vec<usize>> {
    let length = prop_oneof![Just(1), 2usize..8, 8usize..200, 200usize..100_000];
    proptest::collection::vec(length, 1..6)
}

/// Splits bytes into pieces of these lengths, which are repeated as often as necessary.
pub fn pieces<'a>(mut bytes: &'a [u8], cuts: &[usize]) -> Vec<&'a [u8]> {
    let mut lengths = cuts.iter().cycle();
    let mut pieces = Vec::new();
    while !bytes.is_empty() {
        let length = lengths.next().copied().unwrap_or(usize::MAX).clamp(1, bytes.len());
        let (piece, rest) = bytes.split_at(length);
        pieces.push(piece);
        bytes = rest;
    }
    pieces
}

/// Generates text with code points of every length in UTF-8.
pub fn text() -> impl Strategy<Value = String> {
    proptest::collection::vec(
        prop_oneof![Just('a'), Just('é'), Just('€'), Just('😀'), any::<char>()],
        0..80,
    )
    .prop_map(|characters| characters.into_iter().collect())
}

/// Generates bytes, sometimes so many that a frame needs the longer forms of the length.
pub fn bytes() -> impl Strategy<Value = Vec<u8>> {
    let length = prop_oneof![
        8 => 0usize..300,
        1 => Just(125), 1 => Just(126), 1 => Just(65_535), 1 => Just(65_536),
    ];
    (length, any::<[u8; 8]>()).prop_map(|(length, seed)| {
        seed.iter()
            .cycle()
            .enumerate()
            .map(|(i, byte)| byte.wrapping_add(i as u8))
            .take(length)
            .collect()
    })
}
