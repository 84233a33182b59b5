//! `Header::decode` agrees with a decoder that reads one bit at a time.
#![no_main]

use framewise::protocol::frame::{Header, MAX_HEADER, Role, Rsv};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    for sender in [Role::Client, Role::Server] {
        let decoded = Header::decode(bytes, sender, Rsv::NONE);
        match &decoded {
            Ok(Some((header, taken))) => {
                assert!(valid(bytes, sender) && *taken <= bytes.len());
                let mut again = [0; MAX_HEADER];
                assert_eq!(header.encode(&mut again), *taken);
                assert_eq!(again[..*taken], bytes[..*taken]);
                for short in 0..*taken {
                    assert_eq!(Header::decode(&bytes[..short], sender, Rsv::NONE), Ok(None));
                }
            }
            Ok(None) => assert!(bytes.len() < MAX_HEADER),
            // More bytes do not change the result.
            Err(violation) => {
                assert!(!valid(bytes, sender));
                let longer = [bytes, &[0; MAX_HEADER]].concat();
                assert_eq!(Header::decode(&longer, sender, Rsv::NONE).as_ref(), Err(violation));
            }
        }
    }
});

/// Reports whether `sender` may send a complete header, according to the drawing in §5.2.
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
