//! The dissector labels every byte once and in order, however the bytes are split, and finds the same broken rule as
//! the receiver.
#![no_main]

use framewise::config::{Config, OriginPolicy, ValidConfig};
use framewise::protocol::dissect::{Dissector, Fault, Finding};
use framewise::protocol::frame::Role;
use framewise::protocol::header_bits::fields;
use framewise::protocol::receive::MessageReader;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: (u8, u8, Vec<u8>)| {
    let (kind, cut, bytes) = input;
    let config = Config::default()
        .handshake(|handshake| handshake.origins = OriginPolicy::Any)
        .limits(|limits| {
            limits.max_message = 300;
            limits.max_fragments = 4;
        });
    let config = config.validate().expect("valid");
    let sender = if kind & 1 == 0 { Role::Client } else { Role::Server };
    let dissector = || match kind & 2 {
        0 => Dissector::of_frames(sender, config.clone()),
        _ => Dissector::new(sender, config.clone()),
    };
    let whole = labels(dissector(), &bytes, bytes.len().max(1));
    assert_eq!(labels(dissector(), &bytes, 1), whole);
    assert_eq!(labels(dissector(), &bytes, usize::from(cut) + 2), whole);
    if kind & 2 == 0 {
        agrees_with_the_receiver(&whole, sender, &config, &bytes);
    }
});

/// Returns the labels, without the bytes of parts that are reported in pieces.
fn labels(mut dissector: Dissector, bytes: &[u8], step: usize) -> Vec<String> {
    let (mut covered, mut told) = (Vec::new(), Vec::<String>::new());
    let mut show = |finding: &Finding<'_>| {
        covered.extend_from_slice(finding.wire());
        let label = match finding {
            Finding::Payload { .. } => "Payload".to_owned(),
            Finding::Body(_) => "Body".to_owned(),
            Finding::NotRead(_) => "NotRead".to_owned(),
            Finding::Header { wire, .. } => {
                let bits: usize = fields(wire).iter().map(|field| field.bits.len()).sum();
                assert_eq!(bits, wire.len() * 8);
                format!("{finding:?}")
            }
            other => format!("{other:?}"),
        };
        if told.last() != Some(&label) || !["Payload", "Body", "NotRead"].contains(&&*label) {
            told.push(label);
        }
    };
    bytes.chunks(step).for_each(|piece| dissector.feed(piece, &mut show));
    dissector.finish(&mut show);
    assert_eq!(covered, bytes);
    told
}

/// Checks that the broken rule in the labels is the one that the receiver reports. Stops at a Close.
fn agrees_with_the_receiver(told: &[String], sender: Role, config: &ValidConfig, bytes: &[u8]) {
    let mut copy = bytes.to_vec();
    let (mut receiver, mut unread) = (MessageReader::new(sender), copy.as_mut_slice());
    let verdict = loop {
        match receiver.next(&mut unread, config) {
            Ok(Some(framewise::protocol::receive::Incoming::Close(_))) => return,
            Ok(Some(_)) => {}
            Ok(None) => break None,
            Err(violation) => {
                break Some(format!("{:?}", Finding::Broken(Fault::Violation(violation))));
            }
        }
    };
    let broken = told.iter().find(|label| label.starts_with("Broken"));
    assert_eq!(broken, verdict.as_ref());
}
