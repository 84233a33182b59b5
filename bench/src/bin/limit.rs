//! The cost of an echo server without a protocol: the same system calls, but the bytes are not looked at.
//!
//! `limit --frame N` sends N - 4 bytes back for each N bytes that a client sends: a frame less its masking key.
//! `limit --frame N --broadcast` sends them to all other clients instead, with one write per client and pass.

use std::io::{ErrorKind, Read, Write};

use clap::Parser;
use framewise_bench::{ANSWER, listen};
use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};

#[derive(Parser)]
struct Options {
    /// The length of one masked frame in bytes.
    #[arg(long)]
    frame: u64,
    #[arg(long)]
    broadcast: bool,
}

struct Peer {
    stream: TcpStream,
    open: bool,
    /// Bytes that arrived after the handshake, and bytes that have to be sent.
    came: u64,
    owed: usize,
    writable: bool,
}

fn main() -> std::io::Result<()> {
    let options = Options::parse();
    let (mut poll, listener) = (Poll::new()?, listen()?);
    let mut listener = listener;
    let (mut events, mut peers) = (Events::with_capacity(1024), Vec::<Option<Peer>>::new());
    poll.registry().register(&mut listener, Token(usize::MAX), Interest::READABLE)?;
    let mut buffer = vec![0; 256 * 1024];
    let zeros = vec![0; 1 << 20];
    loop {
        poll.poll(&mut events, None)?;
        for event in &events {
            let Token(token) = event.token();
            if token == usize::MAX {
                while let Ok((mut stream, _)) = listener.accept() {
                    stream.set_nodelay(true)?;
                    let slot = peers.iter().position(Option::is_none).unwrap_or(peers.len());
                    let interest = Interest::READABLE | Interest::WRITABLE;
                    poll.registry().register(&mut stream, Token(slot), interest)?;
                    let peer = Peer { stream, open: false, came: 0, owed: 0, writable: true };
                    if slot == peers.len() {
                        peers.push(Some(peer));
                    } else {
                        peers[slot] = Some(peer);
                    }
                }
                continue;
            }
            let Some(peer) = &mut peers[token] else { continue };
            if event.is_writable() {
                peer.writable = true;
                pay(peer, &zeros);
            }
            if event.is_readable() && !serve(&mut peers, token, &mut buffer, &zeros, &options) {
                peers[token] = None;
            }
        }
        if options.broadcast {
            peers.iter_mut().flatten().for_each(|peer| pay(peer, &zeros));
        }
    }
}

/// Reads until the socket is empty. Returns false if the peer is gone.
fn serve(
    peers: &mut [Option<Peer>],
    slot: usize,
    buffer: &mut [u8],
    zeros: &[u8],
    options: &Options,
) -> bool {
    loop {
        let Some(peer) = &mut peers[slot] else { return false };
        let count = match peer.stream.read(buffer) {
            Ok(0) => return false,
            Ok(count) => count,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return true,
            Err(_) => return false,
        };
        if !peer.open {
            peer.open = true;
            if peer.stream.write_all(ANSWER).is_err() {
                return false;
            }
        } else {
            let before = due(peer.came, options.frame);
            peer.came += count as u64;
            let owed = (due(peer.came, options.frame) - before) as usize;
            if options.broadcast {
                // The bytes are sent at the end of the pass, with one write per peer.
                for (other, peer) in peers.iter_mut().enumerate() {
                    if let Some(peer) = peer.as_mut().filter(|_| other != slot) {
                        peer.owed += owed;
                    }
                }
            } else {
                peer.owed += owed;
                pay(peer, zeros);
            }
        }
        if count < buffer.len() {
            return true;
        }
    }
}

/// Returns how many bytes to send for `came` received bytes: a frame less its key as soon as its first byte has
/// arrived.
fn due(came: u64, frame: u64) -> u64 {
    came / frame * (frame - 4) + (came % frame).min(frame - 4)
}

fn pay(peer: &mut Peer, zeros: &[u8]) {
    while peer.owed > 0 && peer.writable {
        match peer.stream.write(&zeros[..peer.owed.min(zeros.len())]) {
            Ok(count) => peer.owed -= count,
            Err(_) => peer.writable = false,
        }
    }
}
