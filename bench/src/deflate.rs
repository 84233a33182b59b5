//! permessage-deflate as the load speaks it: the message that it sends, and the reply that it expects.
//!
//! Servers compress differently, so the reply is not known before. The load learns it from a first exchange, in which
//! it decompresses the reply and compares the text. Without contexts, a server sends the same bytes each time.

use std::io::{self, Read, Write};

use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress};

use crate::shape::{self, Shape};

/// The end of each sync flush, which is not sent (RFC 7692 7.2.1).
const TAIL: [u8; 4] = [0, 0, 0xff, 0xff];

/// A bit of the first byte of a frame: the message is compressed.
const RSV1: u8 = 0x40;

/// The text frame that is a whole message, without RSV1.
const TEXT: u8 = 0x81;

/// How many exchanges have to give the same reply, without contexts.
const EXCHANGES: usize = 3;

/// Compresses a payload with the default level, which is 6.
pub fn compress(payload: &[u8]) -> Vec<u8> {
    let mut compressed = Vec::with_capacity(payload.len() + 1024);
    let result = Compress::new(Compression::default(), false).compress_vec(
        payload,
        &mut compressed,
        FlushCompress::Sync,
    );
    assert!(result.is_ok() && compressed.ends_with(&TAIL), "the buffer has space left");
    compressed.truncate(compressed.len() - TAIL.len());
    compressed
}

/// Sends the message of a shape on a new connection and returns the reply, as it is on the wire.
///
/// # Errors
///
/// The connection fails, the reply is another message, or it changes although there are no contexts.
pub fn learn(stream: &mut (impl Read + Write), shape: &Shape) -> io::Result<Vec<u8>> {
    let (frame, text) = (shape.frame(), shape.payload());
    let with_contexts = shape.compression == shape::Compression::WithContexts;
    let mut learned = Vec::new();
    for _ in 0..if with_contexts { 1 } else { EXCHANGES } {
        stream.write_all(&frame)?;
        let (reply, header) = receive(stream, text.len())?;
        let is_same = match reply[0] {
            TEXT => reply[header..] == text,
            first if first == TEXT | RSV1 => decompress(&reply[header..], text.len())? == text,
            first => {
                return Err(wrong(format!(
                    "the reply is no text frame, but begins with {first:#04x}"
                )));
            }
        };
        if !is_same {
            return Err(wrong("the reply is another text"));
        }
        if !learned.is_empty() && learned != reply {
            return Err(wrong("without contexts, two replies to the same message differ"));
        }
        learned = reply;
    }
    Ok(learned)
}

/// Returns how many times longer the payload of a shape is than that of a reply.
pub fn ratio(shape: &Shape, reply: &[u8]) -> f64 {
    shape.size as f64 / (reply.len() - header_of(reply[1])) as f64
}

/// Returns the length of a header, by its second byte.
fn header_of(second: u8) -> usize {
    match second & 0x7f {
        126 => 4,
        127 => 10,
        _ => 2,
    }
}

/// Reads one frame without a mask. Returns it, and the length of its header. A frame that is much longer than the text is
/// an error.
fn receive(stream: &mut impl Read, text: usize) -> io::Result<(Vec<u8>, usize)> {
    let mut frame = vec![0; 2];
    stream.read_exact(&mut frame)?;
    if frame[1] & 0x80 != 0 {
        return Err(wrong("the reply is masked"));
    }
    let header = header_of(frame[1]);
    frame.resize(header, 0);
    stream.read_exact(&mut frame[2..])?;
    let length = match frame.as_slice() {
        [_, short] => usize::from(*short),
        [_, _, extended @ ..] => {
            extended.iter().fold(0, |length, byte| length << 8 | usize::from(*byte))
        }
        _ => 0,
    };
    if length > 2 * text + 1024 {
        return Err(wrong(format!("the reply has {length} bytes, for a text of {text}")));
    }
    frame.resize(header + length, 0);
    stream.read_exact(&mut frame[header..])?;
    Ok((frame, header))
}

/// Decompresses the payload of a message, up to one byte more than is expected.
fn decompress(payload: &[u8], expected: usize) -> io::Result<Vec<u8>> {
    let mut text = Vec::with_capacity(expected + 1);
    let input = [payload, &TAIL].concat();
    let mut inflate = Decompress::new(false);
    inflate.decompress_vec(&input, &mut text, FlushDecompress::Sync).map_err(io::Error::other)?;
    Ok(text)
}

fn wrong(text: impl Into<String>) -> io::Error {
    io::Error::other(text.into())
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::*;

    /// A server that sends these bytes, whatever it receives.
    struct Scripted(Cursor<Vec<u8>>);

    impl Read for Scripted {
        fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
            self.0.read(into)
        }
    }

    impl Write for Scripted {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn shape() -> Shape {
        let wanted = |shape: &Shape| {
            shape.compression == shape::Compression::EachAlone && shape.size == 65_536
        };
        Shape::all().into_iter().find(wanted).expect("a shape")
    }

    fn learned(replies: &[&[u8]]) -> Result<Vec<u8>, String> {
        let mut server = Scripted(Cursor::new(replies.concat()));
        learn(&mut server, &shape()).map_err(|error| error.to_string())
    }

    fn uncompressed() -> Vec<u8> {
        Shape { compression: shape::Compression::Off, ..shape() }.reply()
    }

    #[test]
    fn both_compressed_and_uncompressed_replies_are_learned() {
        for reply in [shape().reply(), uncompressed()] {
            assert_eq!(learned(&[reply.as_slice(); EXCHANGES]), Ok(reply));
        }
    }

    #[test]
    fn a_reply_with_another_text_is_refused() {
        let mut longer = shape().payload();
        longer.push(b' ');
        let mut other = shape().payload();
        other[shape().size / 2] ^= 1;
        for text in [longer, other] {
            let sent = compress(&text);
            let mut reply = vec![TEXT | RSV1, 126];
            reply.extend((sent.len() as u16).to_be_bytes());
            reply.extend(sent);
            assert_eq!(learned(&[&reply]), Err("the reply is another text".into()));
        }
        let mut binary = uncompressed();
        binary[0] = 0x82;
        let error = learned(&[&binary]);
        assert_eq!(error, Err("the reply is no text frame, but begins with 0x82".into()));
    }

    #[test]
    fn replies_that_change_are_refused_without_contexts() {
        let error = learned(&[&shape().reply(), &uncompressed()]);
        let expected = "without contexts, two replies to the same message differ";
        assert_eq!(error, Err(expected.into()));
    }

    #[test]
    fn a_reply_that_is_much_too_long_is_not_received() {
        let header = [TEXT, 127, 0, 0, 0, 1, 0, 0, 0, 0];
        let error = learned(&[&header]);
        let expected = "the reply has 4294967296 bytes, for a text of 65536";
        assert_eq!(error, Err(expected.into()));
    }

    #[test]
    fn chat_messages_have_the_size_of_their_shape_and_are_json() {
        for size in [200, 1024, 65_536] {
            let text = Shape { size, ..shape() }.payload();
            assert_eq!(text.len(), size);
            for line in text.split_inclusive(|byte| *byte == b'\n') {
                assert!(line.ends_with(b"}\n"), "an incomplete line");
                assert!(serde_json::from_slice::<serde_json::Value>(line).is_ok());
            }
        }
    }
}
