//! The client under test: runs every case of an Autobahn server and echoes each message.
//!
//! `conformance_client [--deflate | --context-takeover] ws://127.0.0.1:9001`

use framewise::Client;
use framewise::ClientRequest;
use framewise::Event;
use framewise::Url;
use framewise::config::{Config, Deflate, HandshakePolicy};

type Error = Box<dyn std::error::Error>;

fn main() -> Result<(), Error> {
    let mut handshake = HandshakePolicy::default();
    let mut arguments = std::env::args().skip(1).peekable();
    if let Some(option) = arguments.next_if(|argument| argument.starts_with("--")) {
        handshake.deflate = Some(match option.as_str() {
            "--deflate" => Deflate::default(),
            "--context-takeover" => Deflate::default().with_context_takeover(),
            _ => return Err(format!("unknown option {option}").into()),
        });
    }
    let server = arguments.next().ok_or("usage: conformance_client [OPTION] URL")?;
    let open = |path: &str| open(&format!("{server}/{path}"), handshake.clone());
    let mut cases = open("getCaseCount")?;
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
        echo(open(&format!("runCase?case={case}&agent=framewise"))?)?;
    }
    echo(open("updateReports?agent=framewise")?)
}

/// Connects with higher limits than the defaults, because group 9 sends up to 16 MiB in up to 262,144 fragments.
fn open(url: &str, handshake: HandshakePolicy) -> Result<Client, Error> {
    let mut config = Config::default().limits(|limits| {
        limits.max_message = 32 << 20;
        limits.max_fragments = 1 << 20;
        limits.max_output = 64 << 20;
    });
    config.handshake = handshake;
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
