//! The types that can be sent as a message, and the conversions of a received one.

use framewise::protocol::connection::{Connection, Event};
use framewise::protocol::mask;
use framewise::{ClientRequest, Config, Message, MessageBuf, Payload, Text, Url};

/// Types of text become text messages and types of bytes become binary ones, whether borrowed or owned.
#[test]
fn text_and_bytes_are_messages() {
    fn text(payload: impl Payload) {
        assert_eq!(payload.as_message(), Message::from("olá"));
    }
    fn binary(payload: impl Payload) {
        assert_eq!(payload.as_message(), Message::Binary(b"\xff\0"));
    }
    let (string, vector) = ("olá".to_owned(), vec![0xff, 0]);
    text("olá");
    text(&string);
    text(string.clone());
    text(Text::from("olá"));
    text(Message::from(&string));
    text(MessageBuf::from("olá"));
    let message = MessageBuf::from(string.clone());
    text(&message);
    binary(b"\xff\0");
    binary([0xff, 0]);
    binary(&vector);
    binary(&vector[..]);
    binary(vector.clone());
    binary(Message::from(&vector));
    binary(MessageBuf::from(vector.clone()));
    binary(MessageBuf::from(Message::from(&vector)));
    for from in [Message::from(&string), Message::from(&MessageBuf::from(string.clone()))] {
        assert_eq!((from.as_str(), from.bytes()), (Some("olá"), &b"ol\xc3\xa1"[..]));
    }
    for from in [Message::from(&[0xff, 0]), Message::from(&vector), Message::from(&vector[..])] {
        assert_eq!((from.as_str(), from.bytes()), (None, &vector[..]));
    }
}

/// Conversions keep the kind of a message. Bytes become text only on request, and only if they are UTF-8.
#[test]
fn a_message_gives_up_its_bytes() {
    let text = MessageBuf::from("olá").into_owned();
    assert_eq!((text.as_str(), text.bytes()), (Some("olá"), "olá".as_bytes()));
    assert_eq!(text.clone().into_bytes(), "olá".as_bytes());
    assert_eq!(text.into_text().as_deref(), Ok("olá"));
    let ascii = MessageBuf::from(b"hi".to_vec());
    assert_eq!((ascii.as_str(), ascii.clone().into_owned()), (None, ascii.clone()));
    assert_ne!(ascii, MessageBuf::from("hi"), "bytes that look like text are binary");
    assert_eq!(ascii.into_text().as_deref(), Ok("hi"));
    assert!(MessageBuf::from(vec![0xff]).into_text().is_err());
}

/// A received message is borrowed if it arrived in one piece and owned if it was assembled from several. Both are equal
/// to the sent one.
#[test]
fn a_received_message_is_the_one_that_was_sent() -> Result<(), Box<dyn std::error::Error>> {
    let config = Config::default().validate()?;
    let request = ClientRequest::new(Url::parse("ws://localhost/")?);
    let mut client = Connection::client(config.clone(), &request, [7; 16], mask::random_keys()?);
    let mut server = Connection::server(config);
    server.receive(&mut client.output_mut().take(), |_, _| {});
    client.receive(&mut server.output_mut().take(), |_, _| {});
    for step in [1, 3, 1000] {
        client.output_mut().send("olá");
        client.output_mut().send(vec![0xff, 0]);
        let mut seen = Vec::new();
        for piece in client.output_mut().take().chunks_mut(step) {
            server.receive(piece, |event, output| {
                if let Event::Message(message) = event {
                    output.send(&message);
                    seen.push(message.into_owned());
                }
            });
        }
        let sent = [MessageBuf::from("olá"), MessageBuf::from(vec![0xff, 0])];
        assert_eq!(seen, sent, "in pieces of {step}");
        assert_eq!(server.output_mut().take(), b"\x81\x04ol\xc3\xa1\x82\x02\xff\0");
    }
    Ok(())
}
