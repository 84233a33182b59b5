//! `Header::decode` against a decoder that reads the bits one by one.
#![no_main]

use framewise::protocol::frame::{Header, MAX_HEADER, Role};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    for sender in [Role::Client, Role::Server] {
        let decoded = Header::decode(bytes, sender);
        match &decoded {
            Ok(Some((header, taken))) => {
                assert!(valid(bytes, sender) && *taken <= bytes.len());
                let mut again = [0; MAX_HEADER];
                assert_eq!(header.encode(&mut again), *taken);
                assert_eq!(again[..*taken], bytes[..*taken]);
                for short in 0..*taken {
                    assert_eq!(Header::decode(&bytes[..short], sender), Ok(None));
                }
            }
            Ok(None) => assert!(bytes.len() < MAX_HEADER),
            // Whatever follows, the rule stays broken.
            Err(violation) => {
                assert!(!valid(bytes, sender));
                let longer = [bytes, &[0; MAX_HEADER]].concat();
                assert_eq!(Header::decode(&longer, sender).as_ref(), Err(violation));
            }
        }
    }
});

/// §5.2, read off the picture: whether a whole header is one that `sender` may send.
fn valid(bytes: &[u8], sender: Role) -> bool {
    let bit = |at: usize| bytes.get(at / 8).is_some_and(|byte| byte & (0x80 >> (at % 8)) != 0);
    let number =
        |from: usize, to: usize| (from..to).fold(0u64, |n, at| n << 1 | u64::from(bit(at)));
    let opcode = number(4, 8);
    let control = opcode >= 8;
    let short = number(9, 16);
    let length = match short {
        126 => number(16, 32),
        127 => number(16, 80),
        short => short,
    };
    let minimal = match short {
        126 => length >= 126,
        127 => length >= 1 << 16,
        _ => true,
    };
    !bit(1)
        && !bit(2)
        && !bit(3)
        && matches!(opcode, 0 | 1 | 2 | 8 | 9 | 10)
        && (!control || (bit(0) && short <= 125))
        && bit(8) == (sender == Role::Client)
        && minimal
        && length < 1 << 63
}
