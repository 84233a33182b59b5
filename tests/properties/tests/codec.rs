//! Encoding, decoding, masking and UTF-8: decoding reverses encoding, and fast routines agree with simple ones.

use framewise::Event;
use framewise::Message;
use framewise::config::Config;
use framewise::protocol::close::{self, CloseCode};
use framewise::protocol::frame::{Header, MAX_HEADER, Opcode, Role, Rsv};
use framewise::protocol::mask;
use framewise::protocol::utf8::Utf8Check;
use framewise_properties::{bytes, cases, cuts, frame, open, pieces, text};
use proptest::prelude::*;
use proptest::sample::select;

fn role() -> impl Strategy<Value = Role> {
    select(vec![Role::Client, Role::Server])
}

proptest! {
    #![proptest_config(cases(500))]

    /// RFC 6455 §5.2: decoding an encoded header returns it, and an incomplete header returns nothing.
    #[test]
    fn decoding_reverses_encoding_a_header(
        fin: bool,
        opcode in select(vec![Opcode::Continuation, Opcode::Text, Opcode::Binary]),
        key: Option<[u8; 4]>,
        length in prop_oneof![0u64..200, 65_000u64..66_000, 0u64..1 << 63],
    ) {
        let header = Header { fin, rsv: Rsv::NONE, opcode, key, length };
        let sender = if key.is_some() { Role::Client } else { Role::Server };
        let mut wire = [0; MAX_HEADER];
        let taken = header.encode(&mut wire);
        prop_assert_eq!(Header::decode(&wire[..taken], sender, Rsv::NONE), Ok(Some((header, taken))));
        for short in 0..taken {
            prop_assert_eq!(Header::decode(&wire[..short], sender, Rsv::NONE), Ok(None));
        }
    }

    /// RFC 6455 §5.5.1: decoding an encoded body returns its code and reason.
    #[test]
    fn decoding_reverses_encoding_a_close_body(code in 0u16..6000, reason in text()) {
        let mut body = [0; close::MAX_BODY];
        match close::encode(CloseCode(code), &reason, &mut body) {
            Ok(length) => {
                let decoded = close::decode(&body[..length]);
                prop_assert_eq!(decoded, Ok(Some((CloseCode(code), reason.as_str()))));
            }
            Err(_) => prop_assert!(!CloseCode(code).may_be_sent() || reason.len() > close::MAX_REASON),
        }
    }

    /// RFC 6455 §5.3: masking agrees with a loop over single bytes, at any offset of a payload.
    #[test]
    fn masking_agrees_with_a_simple_loop(
        mut fast in bytes(), key: [u8; 4], before in 0u64..1000, cuts in cuts(),
    ) {
        let slow: Vec<u8> = (before..)
            .zip(&fast)
            .map(|(at, byte)| byte ^ key[(at % 4) as usize])
            .collect();
        let (mut at, whole) = (0, fast.clone());
        for piece in pieces(&whole, &cuts) {
            let here = at..at + piece.len();
            let is_ascii = mask::apply(&mut fast[here.clone()], key, before + at as u64);
            prop_assert_eq!(is_ascii, slow[here].is_ascii());
            at += piece.len();
        }
        prop_assert!(fast == slow);
    }

    /// RFC 6455 §8.1: the check reports an error at the first piece after which the text cannot become valid any more.
    #[test]
    fn checking_pieces_of_text_agrees_with_the_standard_library(
        good in text(),
        spoil in proptest::option::of((any::<prop::sample::Index>(), any::<u8>())),
        cuts in proptest::collection::vec(1usize..9, 1..5),
    ) {
        let mut wire = good.into_bytes();
        if let Some((place, byte)) = spoil {
            wire.insert(place.index(wire.len() + 1), byte);
        }
        let mut check = Utf8Check::default();
        let mut so_far = Vec::new();
        for piece in pieces(&wire, &cuts) {
            so_far.extend_from_slice(piece);
            let hopeless = std::str::from_utf8(&so_far).is_err_and(|error| error.error_len().is_some());
            prop_assert_eq!(check.push(piece).is_err(), hopeless);
            if hopeless {
                return Ok(());
            }
        }
        prop_assert_eq!(check.finish().is_ok(), String::from_utf8(wire).is_ok());
    }

    /// RFC 6455 §5.4, §6.2: a message arrives once and complete, with any fragments, control frames between them,
    /// masking keys and reads.
    #[test]
    fn a_message_arrives_once_and_complete(
        receiver in role(),
        text in proptest::option::of(text()),
        binary in bytes(),
        fragments in cuts(),
        keys in proptest::collection::vec(any::<[u8; 4]>(), 1..4),
        pings: bool,
        reads in cuts(),
    ) {
        let message = match &text {
            Some(text) => Message::from(text),
            None => Message::Binary(&binary),
        };
        let mut parts = pieces(message.bytes(), &fragments);
        if parts.is_empty() {
            parts.push(&[]);
        }
        let mut keys = keys.into_iter().cycle();
        let mut key = || keys.next().filter(|_| receiver == Role::Server);
        let (mut wire, last) = (Vec::new(), parts.len() - 1);
        for (n, part) in parts.iter().enumerate() {
            let opcode = if n == 0 { message.opcode() as u8 } else { 0 };
            wire.extend(frame(n == last, opcode, part, key()));
            if pings && n != last {
                wire.extend(frame(true, 9, b"between", key()));
            }
        }
        let config = Config::default().limits(|limits| limits.max_fragments = 100_000);
        let mut end = open(receiver, &config.validate().expect("valid"));
        let (mut arrived, mut pinged) = (0, 0);
        for read in pieces(&wire, &reads) {
            end.receive(&mut read.to_vec(), |event, _| match event {
                Event::Message(received) => {
                    assert!(received.as_message() == message);
                    arrived += 1;
                }
                Event::Ping(payload) => {
                    assert_eq!(&*payload, b"between");
                    pinged += 1;
                }
                other => panic!("{other:?}"),
            });
        }
        prop_assert_eq!((arrived, pinged), (1, if pings { last } else { 0 }));
    }

    /// RFC 6455 §6: all messages that one side sends arrive at the other, in both directions.
    #[test]
    fn all_sent_messages_are_received(
        sender in role(),
        messages in proptest::collection::vec(prop_oneof![
            text().prop_map(Ok),
            bytes().prop_map(Err),
        ], 0..6),
        reads in cuts(),
    ) {
        let config = Config::default().validate().expect("valid");
        let (mut from, mut to) = (open(sender, &config), open(sender.other(), &config));
        for message in &messages {
            from.output_mut().send(match message {
                Ok(text) => Message::from(text),
                Err(bytes) => Message::Binary(bytes),
            });
        }
        let wire = from.output_mut().take();
        let mut seen = Vec::new();
        for read in pieces(&wire, &reads) {
            to.receive(&mut read.to_vec(), |event, _| match event {
                Event::Message(message) => seen.push(match message.as_message() {
                    Message::Text(text) => Ok(text.as_str().to_owned()),
                    Message::Binary(bytes) => Err(bytes.to_vec()),
                }),
                other => panic!("{other:?}"),
            });
        }
        prop_assert!(seen == messages);
    }
}
