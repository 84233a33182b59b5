//! RFC 6455 §5.2: the bits of a frame header, with the names that the standard gives them.
//!
//! ```text
//! 81         85            37 fa 21 3d
//! 1000 0001  1 0000101     masking key
//! F    opc   M length
//! ```

use std::ops::Range;

/// One field of a frame header, as [`fields`] returns it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Field {
    /// Its name in the standard.
    pub name: &'static str,
    /// Its bits. Bit 0 is the most significant bit of the first byte, as in the drawing of §5.2.
    pub bits: Range<usize>,
    /// The value of its bits as an unsigned number.
    pub value: u64,
    /// The section of RFC 6455 that defines it, for example `5.2`.
    pub section: &'static str,
}

/// Returns the fields of a complete frame header, in order. Together they cover each of its bits exactly once.
///
/// Missing bits count as 0, so pass complete headers only.
///
/// ```
/// use framewise::protocol::header_bits::fields;
///
/// let fields = fields(b"\x81\x05");
/// let opcode = fields.iter().find(|field| field.name == "opcode").expect("every header has one");
/// assert_eq!((opcode.bits.clone(), opcode.value, opcode.section), (4..8, 1, "5.2"));
/// ```
pub fn fields(wire: &[u8]) -> Vec<Field> {
    let mut fields = Vec::new();
    let mut at = 0;
    let mut add = |name, width, section| {
        let bits = at..at + width;
        at = bits.end;
        let value = bits.clone().fold(0, |value, bit| {
            let bit = wire.get(bit / 8).map_or(0, |byte| byte >> (7 - bit % 8) & 1);
            value << 1 | u64::from(bit)
        });
        fields.push(Field { name, bits, value, section });
        value
    };
    add("FIN", 1, "5.2");
    add("RSV1", 1, "5.2");
    add("RSV2", 1, "5.2");
    add("RSV3", 1, "5.2");
    add("opcode", 4, "5.2");
    let masked = add("MASK", 1, "5.2");
    match add("payload length", 7, "5.2") {
        126 => drop(add("extended payload length", 16, "5.2")),
        127 => drop(add("extended payload length", 64, "5.2")),
        _ => {}
    }
    if masked == 1 {
        add("masking key", 32, "5.3");
    }
    fields
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 6455 §5.2: each bit of a header belongs to one field.
    #[test]
    fn the_fields_cover_the_header() {
        for wire in [
            &b"\x81\x85\x37\xfa\x21\x3d"[..],
            b"\x82\x7e\x01\x00",
            b"\x02\xff\0\0\0\0\0\x01\0\0\x01\x02\x03\x04",
        ] {
            let fields = fields(wire);
            let mut at = 0;
            for field in &fields {
                assert_eq!(field.bits.start, at);
                at = field.bits.end;
            }
            assert_eq!(at, wire.len() * 8);
        }
        let hello = fields(b"\x81\x85\x37\xfa\x21\x3d");
        let value = |name| hello.iter().find(|field| field.name == name).map(|field| field.value);
        assert_eq!((value("FIN"), value("opcode"), value("MASK")), (Some(1), Some(1), Some(1)));
        assert_eq!((value("payload length"), value("masking key")), (Some(5), Some(0x37fa_213d)));
    }
}
