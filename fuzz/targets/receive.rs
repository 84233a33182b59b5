//! Bytes after the opening handshake, received by a client or a server: how they are split makes no difference.
#![no_main]

#[path = "support/pieces.rs"]
mod pieces;

use framewise::ClientRequest;
use framewise::Url;
use framewise::config::{Config, ValidConfig};
use framewise::protocol::connection::{Connection, State};
use libfuzzer_sys::fuzz_target;

/// The longest message. Limits are small, so that inputs exceed them.
const MAX_MESSAGE: usize = 300;

fuzz_target!(|input: (bool, Vec<u8>, Vec<u8>)| {
    let (server, cuts, bytes) = input;
    let config = Config::default().limits(|limits| {
        limits.max_message = MAX_MESSAGE;
        limits.max_fragments = 4;
    });
    let config = config.validate().expect("valid");
    let whole = run(server, &config, &bytes, &[]);
    assert_eq!(run(server, &config, &bytes, &[1]), whole);
    assert_eq!(run(server, &config, &bytes, &cuts), whole);
});

/// Passes bytes to a connection, in pieces of the lengths in `cuts`. Returns its events and its output.
fn run(server: bool, config: &ValidConfig, bytes: &[u8], cuts: &[u8]) -> (Vec<String>, Vec<u8>) {
    let mut connection = open(server, config);
    let seen = pieces::receive(&mut connection, bytes, cuts, MAX_MESSAGE);
    let ends = seen.iter().filter(|event| event.starts_with("Closed")).count();
    assert_eq!(ends, usize::from(connection.state() == State::Closed));
    let said = connection.output_mut().take();
    assert!(said.len() <= bytes.len() * 130 + 200, "the output only answers the input");
    at_most_one_close(&said);
    (seen, said)
}

/// Returns one side of an open connection. The masking keys are all zero.
fn open(server: bool, config: &ValidConfig) -> Connection {
    let request = ClientRequest::new(Url::parse("ws://h/").expect("valid"));
    let mut client =
        Connection::client(config.clone(), &request, [0; 16], Box::new(|| [0, 0, 0, 0]));
    let mut other = Connection::server(config.clone());
    other.receive(&mut client.output_mut().take(), |_, _| {});
    client.receive(&mut other.output_mut().take(), |_, _| {});
    if server { other } else { client }
}

fn at_most_one_close(mut bytes: &[u8]) {
    while let [first, second, after @ ..] = bytes {
        let key = if second & 0x80 == 0 { 0 } else { 4 };
        let length = usize::from(second & 0x7f);
        assert!(length <= 125, "without an application there are only control frames");
        bytes = &after[key + length..];
        assert!(*first != 0x88 || bytes.is_empty(), "a Close is the last frame");
    }
}
