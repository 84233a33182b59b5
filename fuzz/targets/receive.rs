//! Everything that arrives after the opening handshake, at either end: whole and in pieces it means the same.
#![no_main]

use framewise::config::{Config, ValidConfig};
use framewise::protocol::connection::{Connection, Event, State};
use framewise::protocol::handshake::client::ClientRequest;
use framewise::protocol::url::Url;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: (bool, Vec<u8>, Vec<u8>)| {
    let (server, cuts, bytes) = input;
    // Small limits, so that they are met.
    let config = Config { max_message: 300, max_fragments: 4, ..Config::default() };
    let config = config.validate().expect("valid");
    let whole = run(server, &config, &bytes, &[]);
    assert_eq!(run(server, &config, &bytes, &[1]), whole);
    assert_eq!(run(server, &config, &bytes, &cuts), whole);
});

/// Feeds bytes in pieces as long as `cuts` says, and tells everything that was seen and said.
fn run(server: bool, config: &ValidConfig, bytes: &[u8], cuts: &[u8]) -> (Vec<String>, Vec<u8>) {
    let mut connection = open(server, config);
    let mut seen = Vec::new();
    let mut cuts = cuts.iter().map(|&cut| usize::from(cut).max(1)).cycle();
    let mut rest = bytes;
    while !rest.is_empty() {
        let length = cuts.next().unwrap_or(rest.len()).min(rest.len());
        let (piece, after) = rest.split_at(length);
        rest = after;
        let was_closed = connection.state() == State::Closed;
        connection.receive(&mut piece.to_vec(), |event, _| {
            assert!(!was_closed, "nothing comes after the end");
            if let Event::Message(message) = &event {
                assert!(message.as_message().bytes().len() <= 300, "the limit holds");
            }
            seen.push(format!("{event:?}"));
        });
    }
    let ends = seen.iter().filter(|event| event.starts_with("Closed")).count();
    assert_eq!(ends, usize::from(connection.state() == State::Closed));
    let said = connection.sender_mut().take();
    assert!(said.len() <= bytes.len() * 130 + 200, "what is said answers what was heard");
    at_most_one_close(&said);
    (seen, said)
}

/// One end of an open connection, with masking keys that are all zero.
fn open(server: bool, config: &ValidConfig) -> Connection {
    let request = ClientRequest::new(Url::parse("ws://h/").expect("valid"));
    let mut client =
        Connection::client(config.clone(), &request, [0; 16], Box::new(|| [0, 0, 0, 0]));
    let mut other = Connection::server(config.clone());
    other.receive(&mut client.sender_mut().take(), |_, _| {});
    client.receive(&mut other.sender_mut().take(), |_, _| {});
    if server { other } else { client }
}

fn at_most_one_close(mut bytes: &[u8]) {
    while let [first, second, after @ ..] = bytes {
        let key = if second & 0x80 == 0 { 0 } else { 4 };
        let length = usize::from(second & 0x7f);
        assert!(length <= 125, "an end that is not asked to send says control frames only");
        bytes = &after[key + length..];
        assert!(*first != 0x88 || bytes.is_empty(), "a Close is the last thing that is said");
    }
}
