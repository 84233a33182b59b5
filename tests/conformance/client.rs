//! The client under test: runs every case of an Autobahn server and echoes each message.
//!
//! `conformance_client ws://127.0.0.1:9001`

use framewise::Client;
use framewise::ClientRequest;
use framewise::Event;
use framewise::Url;
use framewise::config::Config;

type Error = Box<dyn std::error::Error>;

fn main() -> Result<(), Error> {
    let server = std::env::args().nth(1).ok_or("usage: conformance_client URL")?;
    let mut cases = open(&format!("{server}/getCaseCount"))?;
    let count = loop {
        match cases.recv()? {
            Event::Message(message) => {
                break std::str::from_utf8(message.as_message().bytes())?.parse::<u32>()?;
            }
            Event::Closed(closed) => return Err(format!("no case count: {closed:?}").into()),
            _ => {}
        }
    };
    drop(cases);
    for case in 1..=count {
        echo(open(&format!("{server}/runCase?case={case}&agent=framewise"))?)?;
    }
    echo(open(&format!("{server}/updateReports?agent=framewise"))?)
}

/// Connects with higher limits than the defaults, because group 9 sends up to 16 MiB in up to 262,144 fragments.
fn open(url: &str) -> Result<Client, Error> {
    let config = Config::default().limits(|limits| {
        limits.max_message = 32 << 20;
        limits.max_fragments = 1 << 20;
        limits.max_output = 64 << 20;
    });
    Ok(Client::open(&ClientRequest::new(Url::parse(url)?), config)?)
}

/// Echoes each message until the server closes.
fn echo(mut client: Client) -> Result<(), Error> {
    loop {
        match client.recv()? {
            Event::Message(message) => drop(client.send(&message)?),
            Event::Closed(_) => return Ok(()),
            _ => {}
        }
    }
}
