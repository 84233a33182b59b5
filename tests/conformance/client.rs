//! The client under test: runs every case of an Autobahn server and sends back each message that it gets.
//!
//! `conformance_client ws://127.0.0.1:9001`

use framewise::config::Config;
use framewise::net::client::Client;
use framewise::protocol::connection::Event;
use framewise::protocol::handshake::client::ClientRequest;
use framewise::protocol::url::Url;

type Error = Box<dyn std::error::Error>;

fn main() -> Result<(), Error> {
    let server = std::env::args().nth(1).ok_or("usage: conformance_client URL")?;
    let mut cases = open(&format!("{server}/getCaseCount"))?;
    let count = loop {
        match cases.next(None)? {
            Some(Event::Message(message)) => {
                break std::str::from_utf8(message.as_message().bytes())?.parse::<u32>()?;
            }
            Some(Event::Closed(closed)) => return Err(format!("no case count: {closed:?}").into()),
            _ => {}
        }
    };
    drop(cases);
    for case in 1..=count {
        echo(open(&format!("{server}/runCase?case={case}&agent=framewise"))?)?;
    }
    echo(open(&format!("{server}/updateReports?agent=framewise"))?)
}

/// Limits for this test, not defaults: group 9 sends up to 16 MiB in up to 262,144 fragments.
fn open(url: &str) -> Result<Client, Error> {
    let config = Config {
        max_message: 32 << 20,
        max_fragments: 1 << 20,
        max_output: 64 << 20,
        ..Config::default()
    };
    Ok(Client::open(&ClientRequest::new(Url::parse(url)?), config, ())?)
}

fn echo(mut client: Client) -> Result<(), Error> {
    loop {
        match client.next(None)? {
            Some(Event::Message(message)) => drop(client.send(message.as_message())?),
            Some(Event::Closed(_)) => return Ok(()),
            _ => {}
        }
    }
}
