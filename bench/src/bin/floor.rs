//! The least work of a correct echo server in safe Rust: parse in place, unmask, check UTF-8, append to one output
//! buffer, write once per read. It has no fragments, limits, timers, dispatcher or closing handshake.

use std::io::{ErrorKind, Read, Write};

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

fn main() -> std::io::Result<()> {
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
                && !serve(peer, &mut buffer)
            {
                peers[token] = None;
            }
        }
    }
}

/// Reads, echoes and writes. Returns false if the peer is gone.
fn serve(peer: &mut Peer, buffer: &mut Vec<u8>) -> bool {
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
            continue;
        }
        let Some(used) = echo(&mut buffer[..kept + count], &mut peer.out) else { return false };
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
fn echo(bytes: &mut [u8], out: &mut Vec<u8>) -> Option<usize> {
    let mut at = 0;
    while let [first, second, rest @ ..] = &mut bytes[at..] {
        if *first & 0xf0 != 0x80 || *second & 0x80 == 0 {
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
