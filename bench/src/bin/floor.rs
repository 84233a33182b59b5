//! The least work of a correct echo server in safe Rust: parse in place, unmask, check UTF-8, append to one output
//! buffer, write once per read. It has no fragments, limits, timers, dispatcher or closing handshake.
//!
//! `floor --deflate` decompresses each message and compresses its reply, without contexts, with level 1.

use std::io::{ErrorKind, Read, Write};

use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress};
use framewise_bench::{ANSWER, listen};
use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};

struct Peer {
    stream: TcpStream,
    open: bool,
    /// The beginning of an incomplete frame.
    rest: Vec<u8>,
    out: Vec<u8>,
    written: usize,
}

/// The compressor and the decompressor of all connections.
struct Deflate {
    compress: Compress,
    decompress: Decompress,
    text: Vec<u8>,
    compressed: Vec<u8>,
}

/// The most bytes of a decompressed message.
const MAX_TEXT: usize = 1 << 20;

/// The end of each sync flush, which is not sent (RFC 7692 7.2.1).
const TAIL: [u8; 4] = [0, 0, 0xff, 0xff];

/// The extension, with which all messages are compressed alone.
const ACCEPTED: &[u8] =
    b"Sec-WebSocket-Extensions: permessage-deflate; server_no_context_takeover; \
    client_no_context_takeover\r\n\r\n";

fn main() -> std::io::Result<()> {
    let compresses = std::env::args().any(|argument| argument == "--deflate");
    let mut deflate = compresses.then(Deflate::new);
    let (mut poll, mut listener) = (Poll::new()?, listen()?);
    let (mut events, mut peers) = (Events::with_capacity(1024), Vec::<Option<Peer>>::new());
    poll.registry().register(&mut listener, Token(usize::MAX), Interest::READABLE)?;
    let mut buffer = vec![0; 256 * 1024];
    loop {
        poll.poll(&mut events, None)?;
        for event in &events {
            let Token(token) = event.token();
            if token == usize::MAX {
                while let Ok((mut stream, _)) = listener.accept() {
                    stream.set_nodelay(true)?;
                    let interest = Interest::READABLE | Interest::WRITABLE;
                    poll.registry().register(&mut stream, Token(peers.len()), interest)?;
                    let (rest, out) = (Vec::new(), Vec::new());
                    peers.push(Some(Peer { stream, open: false, rest, out, written: 0 }));
                }
            } else if let Some(peer) = &mut peers[token]
                && !serve(peer, &mut buffer, &mut deflate)
            {
                peers[token] = None;
            }
        }
    }
}

/// Reads, echoes and writes. Returns false if the peer is gone.
fn serve(peer: &mut Peer, buffer: &mut Vec<u8>, deflate: &mut Option<Deflate>) -> bool {
    loop {
        if !flush(peer) {
            return true; // While the socket is full, the peer is not read.
        }
        // Put the rest of the last read first, so that each frame is in one piece.
        let kept = peer.rest.len();
        if buffer.len() < kept + 256 * 1024 {
            buffer.resize(kept + 256 * 1024, 0);
        }
        buffer[..kept].copy_from_slice(&peer.rest);
        let room = buffer.len();
        let count = match peer.stream.read(&mut buffer[kept..room]) {
            Ok(0) => return false,
            Ok(count) => count,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return true,
            Err(_) => return false,
        };
        if !peer.open {
            peer.open = true;
            peer.out.extend_from_slice(ANSWER);
            if deflate.is_some() {
                peer.out.truncate(ANSWER.len() - 2);
                peer.out.extend_from_slice(ACCEPTED);
            }
            continue;
        }
        let read = &mut buffer[..kept + count];
        let Some(used) = echo(read, &mut peer.out, deflate) else { return false };
        peer.rest.clear();
        peer.rest.extend_from_slice(&buffer[used..kept + count]);
        // A read that does not fill the buffer has emptied the socket.
        if kept + count < room {
            flush(peer);
            return true;
        }
    }
}

/// Echoes every complete frame. Returns how many bytes they have, or `None` after an invalid frame or a Close.
fn echo(bytes: &mut [u8], out: &mut Vec<u8>, deflate: &mut Option<Deflate>) -> Option<usize> {
    let mut at = 0;
    while let [first, second, rest @ ..] = &mut bytes[at..] {
        // FIN without RSV2 and RSV3, and a mask.
        if *first & 0xb0 != 0x80 || *second & 0x80 == 0 {
            return None;
        }
        let (length, header) = match (*second & 0x7f, &*rest) {
            (126, [a, b, ..]) => (usize::from(u16::from_be_bytes([*a, *b])), 2),
            (127, [a, b, c, d, e, f, g, h, ..]) => {
                (u64::from_be_bytes([*a, *b, *c, *d, *e, *f, *g, *h]) as usize, 8)
            }
            (126 | 127, _) => return Some(at),
            (short, _) => (usize::from(short), 0),
        };
        let Some(frame) = rest.get_mut(header..header + 4 + length) else { return Some(at) };
        let (key, payload) = frame.split_at_mut(4);
        unmask(payload, [key[0], key[1], key[2], key[3]]);
        if *first & 0x40 != 0 {
            deflate.as_mut()?.echo(*first, payload, out)?;
            at += 2 + header + 4 + length;
            continue;
        }
        match *first & 0x0f {
            1 if simdutf8::basic::from_utf8(payload).is_err() => return None,
            1 | 2 => {}
            _ => return None,
        }
        out.extend_from_slice(&[*first, *second & 0x7f]);
        out.extend_from_slice(&rest[..header]);
        out.extend_from_slice(&rest[header + 4..header + 4 + length]);
        at += 2 + header + 4 + length;
    }
    Some(at)
}

impl Deflate {
    fn new() -> Deflate {
        Deflate {
            compress: Compress::new(Compression::new(1), false),
            decompress: Decompress::new(false),
            text: Vec::with_capacity(MAX_TEXT),
            compressed: Vec::with_capacity(2 * MAX_TEXT),
        }
    }

    /// Echoes a compressed message. Returns `None` if it is invalid.
    fn echo(&mut self, first: u8, payload: &[u8], out: &mut Vec<u8>) -> Option<()> {
        self.text.clear();
        self.compressed.clear();
        self.decompress.reset(false);
        self.compress.reset();
        for piece in [payload, &TAIL] {
            self.decompress.decompress_vec(piece, &mut self.text, FlushDecompress::Sync).ok()?;
        }
        if first & 0x0f == 1 && simdutf8::basic::from_utf8(&self.text).is_err() {
            return None;
        }
        let Deflate { compress, text, compressed, .. } = self;
        compress.compress_vec(text, compressed, FlushCompress::Sync).ok()?;
        let shorter = compressed.strip_suffix(&TAIL)?;
        out.push(first);
        match shorter.len() {
            short @ 0..=125 => out.push(short as u8),
            medium @ 126..=0xffff => {
                out.push(126);
                out.extend_from_slice(&(medium as u16).to_be_bytes());
            }
            long => {
                out.push(127);
                out.extend_from_slice(&(long as u64).to_be_bytes());
            }
        }
        out.extend_from_slice(shorter);
        Some(())
    }
}

fn unmask(payload: &mut [u8], key: [u8; 4]) {
    let wide = u64::from_ne_bytes([key[0], key[1], key[2], key[3], key[0], key[1], key[2], key[3]]);
    let mut words = payload.chunks_exact_mut(8);
    for word in &mut words {
        let masked = u64::from_ne_bytes((&*word).try_into().expect("eight bytes")) ^ wide;
        word.copy_from_slice(&masked.to_ne_bytes());
    }
    for (byte, key) in words.into_remainder().iter_mut().zip(key) {
        *byte ^= key;
    }
    // A remainder of five to seven bytes needs the key twice.
    let rest = payload.len() % 8;
    if rest > 4 {
        let start = payload.len() - rest + 4;
        payload[start..].iter_mut().zip(key).for_each(|(byte, key)| *byte ^= key);
    }
}

/// Writes the output. Returns whether everything was written.
fn flush(peer: &mut Peer) -> bool {
    while peer.written < peer.out.len() {
        match peer.stream.write(&peer.out[peer.written..]) {
            Ok(count) => peer.written += count,
            Err(_) => return false,
        }
    }
    peer.out.clear();
    peer.written = 0;
    true
}
