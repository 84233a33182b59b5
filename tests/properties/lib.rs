//! What the properties share: both ends of a connection in memory, frames written the slow way, and cuts.

use framewise::Connection;
use framewise::config::{Config, ValidConfig};
use framewise::protocol::frame::Role;
use framewise::protocol::handshake::client::ClientRequest;
use framewise::protocol::url::Url;
use proptest::prelude::*;

/// How many random cases a property is tried with; nothing is written to disk.
pub fn cases(cases: u32) -> ProptestConfig {
    ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() }
}

/// Limits small enough to be met by random input.
pub fn small() -> ValidConfig {
    let config = Config { max_message: 300, max_fragments: 6, ..Config::default() };
    config.validate().expect("valid")
}

/// The end of `role` of a connection that is open; a client's masking keys count up.
pub fn open(role: Role, config: &ValidConfig) -> Connection {
    let request = ClientRequest::new(Url::parse("ws://h/").expect("valid"));
    let mut next = 0u32;
    let keys = Box::new(move || {
        next = next.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        next.to_be_bytes()
    });
    let mut client = Connection::client(config.clone(), &request, [7; 16], keys);
    let mut server = Connection::server(config.clone());
    server.receive(&mut client.sender_mut().take(), |_, _| {});
    client.receive(&mut server.sender_mut().take(), |_, _| {});
    match role {
        Role::Client => client,
        Role::Server => server,
    }
}

/// One frame, written byte by byte as §5.2 draws it; with a key it is a client's.
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

/// Lengths of pieces, to cut something into: used over and over until it is used up.
pub fn cuts() -> impl Strategy<Value = Vec<usize>> {
    let length = prop_oneof![Just(1), 2usize..8, 8usize..200, 200usize..100_000];
    proptest::collection::vec(length, 1..6)
}

/// Cuts bytes into pieces of these lengths, from the first again when they are used up.
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

/// Any text, with code points of every length.
pub fn text() -> impl Strategy<Value = String> {
    proptest::collection::vec(
        prop_oneof![Just('a'), Just('é'), Just('€'), Just('😀'), any::<char>()],
        0..80,
    )
    .prop_map(|characters| characters.into_iter().collect())
}

/// Any bytes, sometimes enough for the longer forms of the length.
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
