//! Tests the client of the library with other servers: `interop_client NAME ws://127.0.0.1:PORT`. With the name `stay` it opens
//! one connection and reads until the server closes it.

use std::process::exit;
use std::time::Duration;

use framewise::Client;
use framewise::ClientRequest;
use framewise::Url;
use framewise::config::Config;
use framewise::protocol::connection::{Cause, Event};
use framewise::{CloseCode, Message};

type Check = fn(&str) -> Result<(), Box<dyn std::error::Error>>;

const CHECKS: [(&str, Check); 7] = [
    ("text and binary", text_and_binary),
    ("1 MiB there and back", one_mebibyte),
    ("messages in fragments", fragments),
    ("ping and pong", ping_and_pong),
    ("our close is answered", our_close),
    ("the server's closes", the_servers_closes),
    ("subprotocols", subprotocols),
];

fn main() {
    let mut arguments = std::env::args().skip(1);
    let (Some(name), Some(server)) = (arguments.next(), arguments.next()) else {
        eprintln!("usage: interop_client NAME URL");
        exit(2);
    };
    if name == "stay" {
        return stay(&server);
    }
    let mut failed = false;
    for (what, check) in CHECKS {
        match check(&server) {
            Ok(()) => println!("ok     client with {name}: {what}"),
            Err(error) => {
                failed = true;
                println!("FAILED client with {name}: {what}: {error}");
            }
        }
    }
    exit(i32::from(failed));
}

/// A client, over TLS if it is built with the feature `tls` and the URL asks for it.
#[cfg(not(feature = "tls"))]
type Connected = Client;
#[cfg(feature = "tls")]
type Connected = Client<Option<framewise::TlsStream>>;

fn connect(url: &str) -> Result<Connected, Box<dyn std::error::Error>> {
    let config = Config::default().limits(|limits| limits.max_message = 2 << 20);
    open(&ClientRequest::new(Url::parse(url)?), config)
}

#[cfg(not(feature = "tls"))]
fn open(request: &ClientRequest, config: Config) -> Result<Connected, Box<dyn std::error::Error>> {
    Ok(Client::open(request, config)?)
}

#[cfg(feature = "tls")]
fn open(request: &ClientRequest, config: Config) -> Result<Connected, Box<dyn std::error::Error>> {
    let url = request.url();
    let stream = match url.is_secure() {
        true => Some(framewise::TlsClient::new()?.stream(url)?),
        false => None,
    };
    Ok(Client::open_over(request, config, stream, ())?)
}

/// Reads until the connection closes, so that `limits.py` can see what this client refuses.
fn stay(url: &str) {
    let Ok(mut client) = connect(url) else { return };
    while let Ok(event) = client.recv() {
        if let Event::Closed(_) = event {
            return;
        }
    }
}

fn text_and_binary(server: &str) -> Result<(), Box<dyn std::error::Error>> {
    let mut client = connect(&format!("{server}/echo"))?;
    for message in [
        Message::from("hello"),
        Message::from("Olá, turma! 😀"),
        Message::from(""),
        Message::Binary(b"\0\xff\x80"),
        Message::Binary(b""),
    ] {
        client.send(message)?;
        expect(&mut client, message)?;
    }
    our_end(client)
}

fn one_mebibyte(server: &str) -> Result<(), Box<dyn std::error::Error>> {
    let bytes: Vec<u8> = (0..1 << 20).map(|n| (n % 251) as u8).collect();
    let mut client = connect(&format!("{server}/echo"))?;
    client.send(Message::Binary(&bytes))?;
    expect(&mut client, Message::Binary(&bytes))?;
    our_end(client)?;
    let mut client = connect(&format!("{server}/big"))?;
    expect(&mut client, Message::Binary(&bytes))?;
    our_end(client)
}

fn fragments(server: &str) -> Result<(), Box<dyn std::error::Error>> {
    let mut client = connect(&format!("{server}/fragments"))?;
    for message in [Message::from("in many fragments"), Message::Binary(&[200; 100])] {
        client.send(message)?;
        expect(&mut client, message)?;
    }
    our_end(client)
}

fn ping_and_pong(server: &str) -> Result<(), Box<dyn std::error::Error>> {
    let mut client = connect(&format!("{server}/ping"))?;
    match next(&mut client)? {
        Event::Ping(payload) if *payload == *b"are you there" => {}
        other => return Err(format!("{other:?} where a ping should be").into()),
    }
    expect(&mut client, Message::from("pong seen"))?;
    client.ping(b"and you?");
    match next(&mut client)? {
        Event::Pong(payload) if *payload == *b"and you?" => our_end(client),
        other => Err(format!("{other:?} where a pong should be").into()),
    }
}

fn our_close(server: &str) -> Result<(), Box<dyn std::error::Error>> {
    for (code, reason) in [(1000, ""), (3000, "até logo"), (4999, "bye")] {
        let closed = connect(&format!("{server}/echo"))?.close(CloseCode(code), reason)?;
        if closed.code != CloseCode(code) || closed.cause != Cause::Local {
            return Err(format!("{closed:?}").into());
        }
    }
    Ok(())
}

fn the_servers_closes(server: &str) -> Result<(), Box<dyn std::error::Error>> {
    for code in [1000, 1001, 1011, 4000] {
        let mut client = connect(&format!("{server}/close/{code}"))?;
        match next(&mut client)? {
            Event::Closed(closed)
                if closed.code == CloseCode(code)
                    && closed.reason == "because"
                    && closed.cause == Cause::Peer => {}
            other => return Err(format!("{other:?} where {code} should be").into()),
        }
    }
    Ok(())
}

fn subprotocols(server: &str) -> Result<(), Box<dyn std::error::Error>> {
    for (offers, chosen) in [(["other", "chat"], Some("chat")), (["other", "superchat"], None)] {
        let request = ClientRequest::new(Url::parse(&format!("{server}/echo"))?);
        let request = request.subprotocol(offers[0])?.subprotocol(offers[1])?;
        let client = open(&request, Config::default())?;
        if client.subprotocol() != chosen {
            return Err(format!("{:?} was chosen", client.subprotocol()).into());
        }
        our_end(client)?;
    }
    Ok(())
}

fn next(client: &mut Connected) -> Result<Event<'static>, Box<dyn std::error::Error>> {
    client.recv_timeout(Duration::from_secs(30))?.ok_or_else(|| "nothing came".into())
}

/// Expects a message. Ignores pings before it.
fn expect(client: &mut Connected, expected: Message<'_>) -> Result<(), Box<dyn std::error::Error>> {
    loop {
        match next(client)? {
            Event::Message(message) if message.as_message() == expected => return Ok(()),
            Event::Ping(_) => {}
            Event::Message(_) => return Err("another message than was expected".into()),
            other => return Err(format!("{other:?} where a message should be").into()),
        }
    }
}

/// Closes the connection and expects the code of the server's Close to be 1000.
fn our_end(mut client: Connected) -> Result<(), Box<dyn std::error::Error>> {
    match client.close(CloseCode::NORMAL, "")? {
        closed if closed.code == CloseCode::NORMAL => Ok(()),
        closed => Err(format!("{closed:?}").into()),
    }
}
