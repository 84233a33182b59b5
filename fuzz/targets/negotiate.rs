//! The negotiation of permessage-deflate: no offer and no answer breaks it, a client and a server that agree understand each other, and
//! no answer has a window that the compressor does not have.
#![no_main]

use framewise::config::{Config, Deflate, ValidConfig};
use framewise::protocol::connection::{Connection, Event, State};
use framewise::protocol::handshake::key::{accept_key, encode_key};
use framewise::protocol::http::fields::extension_list;
use framewise::{ClientRequest, Url};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: (u16, u16, Vec<u8>)| {
    let (client, server, value) = input;
    let (client, server) = (config(client), config(server));
    agree(&client, &server);
    // A line end would begin another field.
    if value.iter().any(|byte| byte.is_ascii_control() && *byte != b'\t') {
        return;
    }
    offered(&server, &value);
    answered(&client, &value);
});

/// Returns settings that depend on each bit of `seed`.
fn config(seed: u16) -> ValidConfig {
    let mut deflate = Deflate::default();
    deflate.server_no_context_takeover = seed & 1 != 0;
    deflate.client_no_context_takeover = seed & 2 != 0;
    deflate.server_max_window_bits = 9 + (seed >> 2 & 7) as u8 % 7;
    deflate.client_max_window_bits = 9 + (seed >> 5 & 7) as u8 % 7;
    deflate.level = 1 + (seed >> 8 & 7) as u8;
    deflate.min_length = usize::from(seed >> 11);
    let config = Config::default().handshake(|handshake| handshake.deflate = Some(deflate));
    config.validate().expect("valid")
}

fn client(config: &ValidConfig) -> Connection {
    let request = ClientRequest::new(Url::parse("ws://h/").expect("valid"));
    Connection::client(config.clone(), &request, [0; 16], Box::new(|| [1, 2, 3, 4]))
}

/// A client and a server always agree, whatever their settings, and each decompresses what the other has compressed.
fn agree(client_config: &ValidConfig, server_config: &ValidConfig) {
    let (mut client, mut server) =
        (client(client_config), Connection::server(server_config.clone()));
    let mut extensions = Vec::new();
    let mut note = |event: Event<'_>, _: &mut _| match event {
        Event::Opened(negotiated) => extensions.push(negotiated.extensions),
        other => panic!("{other:?}"),
    };
    server.receive(&mut client.output_mut().take(), &mut note);
    client.receive(&mut server.output_mut().take(), &mut note);
    let [Some(by_server), Some(by_client)] = &extensions[..] else { panic!("{extensions:?}") };
    assert_eq!(by_server, by_client);
    for text in ["aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaab", "a"] {
        exchange(&mut client, &mut server, text);
        exchange(&mut server, &mut client, text);
    }
}

fn exchange(from: &mut Connection, to: &mut Connection, text: &str) {
    assert!(from.output_mut().send(text));
    let mut received = Vec::new();
    to.receive(&mut from.output_mut().take(), |event, _| match event {
        Event::Message(message) => received.push(message.as_str().expect("text").to_owned()),
        other => panic!("{other:?}"),
    });
    assert_eq!(received, [text]);
}

/// A server answers any value, or refuses a malformed one.
fn offered(config: &ValidConfig, value: &[u8]) {
    let mut server = Connection::server(config.clone());
    let mut request = b"GET / HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
        Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
        Sec-WebSocket-Extensions: "
        .to_vec();
    request.extend_from_slice(value);
    request.extend_from_slice(b"\r\n\r\n");
    let mut chosen = None;
    server.receive(&mut request, |event, _| {
        if let Event::Opened(negotiated) = event {
            chosen = Some(negotiated.extensions);
        }
    });
    assert_eq!(server.state() == State::Open, chosen.is_some());
    let items = extension_list(value.trim_ascii());
    if let Some(answer) = chosen.flatten() {
        let offers = items.expect("a malformed value is refused");
        assert!(offers.iter().any(|offer| offer.name == "permessage-deflate"), "it was offered");
        let answer = extension_list(answer.as_bytes()).expect("well-formed");
        assert_eq!((answer.len(), answer[0].name), (1, "permessage-deflate"));
        for (name, value) in &answer[0].params {
            let bits = value.as_ref().map(|value| value.parse::<u8>().expect("a number"));
            assert_eq!(bits.is_some(), name.ends_with("_bits"), "{name}");
            assert!(bits.is_none_or(|bits| (9..=15).contains(&bits)), "{bits:?}");
        }
    }
}

/// A client accepts any answer or refuses it, and can then compress and decompress.
fn answered(config: &ValidConfig, value: &[u8]) {
    let mut client = client(config);
    client.output_mut().take();
    let mut response = format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Accept: {}\r\nSec-WebSocket-Extensions: ",
        accept_key(&encode_key([0; 16]))
    )
    .into_bytes();
    response.extend_from_slice(value);
    response.extend_from_slice(b"\r\n\r\n");
    client.receive(&mut response, |_, _| {});
    assert!(matches!(client.state(), State::Open | State::Closed));
    if client.state() == State::Open {
        assert!(client.output_mut().send("aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"));
        client.receive(&mut b"\xc1\x07\xf2\x48\xcd\xc9\xc9\x07\x00".to_vec(), |event, _| {
            assert!(matches!(event, Event::Message(message) if message.as_str() == Some("Hello")));
        });
    }
}
