//! The cost of an echo server without a protocol: the same system calls, but the bytes are not looked at.
//!
//! `limit --frame N` sends N - 4 bytes back for each N bytes that a client sends: a frame less its masking key.
//! With `--tls-cert` and `--tls-key`, this happens inside of TLS, with the library and the configuration of framewise.
//! `limit --frame N --broadcast` sends them to all other clients instead, with one write per client and pass.

use std::error::Error;
use std::io::ErrorKind;
use std::path::PathBuf;

use clap::Parser;
use framewise_bench::wire::{Certificate, Stream};
use framewise_bench::{ANSWER, listen};
use mio::{Events, Interest, Poll, Token};

#[derive(Parser)]
struct Options {
    /// The length of one masked frame in bytes.
    #[arg(long)]
    frame: u64,
    #[arg(long)]
    broadcast: bool,
    /// The certificate of the server, in PEM.
    #[arg(long, requires = "tls_key")]
    tls_cert: Option<PathBuf>,
    /// Its private key, in PEM.
    #[arg(long, requires = "tls_cert")]
    tls_key: Option<PathBuf>,
}

struct Peer {
    stream: Stream,
    open: bool,
    /// Bytes that arrived after the handshake, and bytes that have to be sent.
    came: u64,
    owed: usize,
    writable: bool,
}

fn main() -> Result<(), Box<dyn Error>> {
    let options = Options::parse();
    let tls = match (&options.tls_cert, &options.tls_key) {
        (Some(chain), Some(key)) => {
            Some(Certificate { chain: chain.clone(), key: key.clone() }.server()?)
        }
        _ => None,
    };
    let (mut poll, listener) = (Poll::new()?, listen()?);
    let mut listener = listener;
    let (mut events, mut peers) = (Events::with_capacity(1024), Vec::<Option<Peer>>::new());
    poll.registry().register(&mut listener, Token(usize::MAX), Interest::READABLE)?;
    let (mut buffer, mut records) = (vec![0; 256 * 1024], vec![0; 256 * 1024]);
    let zeros = vec![0; 1 << 20];
    loop {
        poll.poll(&mut events, None)?;
        for event in &events {
            let Token(token) = event.token();
            if token == usize::MAX {
                while let Ok((socket, _)) = listener.accept() {
                    socket.set_nodelay(true)?;
                    let mut stream = Stream::accept(socket, tls.as_ref())?;
                    let slot = peers.iter().position(Option::is_none).unwrap_or(peers.len());
                    let interest = Interest::READABLE | Interest::WRITABLE;
                    poll.registry().register(stream.socket(), Token(slot), interest)?;
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
                // If the flush fails, there is another event, or the next read fails as well.
                peer.writable = peer.stream.flush().is_ok();
                pay(peer, &zeros);
            }
            let buffers = (&mut *buffer, &mut *records);
            if event.is_readable() && !serve(&mut peers, token, buffers, &zeros, &options) {
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
    (buffer, records): (&mut [u8], &mut [u8]),
    zeros: &[u8],
    options: &Options,
) -> bool {
    loop {
        let Some(peer) = &mut peers[slot] else { return false };
        let (count, has_more) = match peer.stream.read(buffer, records) {
            Ok(read) => read,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return true,
            Err(_) => return false,
        };
        if count == 0 {
            // A part of the handshake of TLS.
        } else if !peer.open {
            peer.open = true;
            if !peer.stream.write(ANSWER).is_ok_and(|count| count == ANSWER.len()) {
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
        if !has_more {
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
