//! How the server stops: on which signals, and how soon.

#![cfg(unix)]

mod support;

use std::io::{ErrorKind, Write};
use std::net::TcpStream;
use std::process::Command;
use std::time::{Duration, Instant};

use framewise::CloseCode;
use support::{KEY, PATIENCE, SERVE, Serve, framewise, framewise_with_hangup, handshake};

/// A client that never reads.
struct Deaf(TcpStream);

impl Deaf {
    fn open(serve: &Serve) -> Deaf {
        let mut stream = TcpStream::connect(serve.address).expect("it listens");
        let request = handshake("/echo", serve.address, KEY);
        stream.write_all(request.as_bytes()).expect("a socket");
        stream.set_nonblocking(true).expect("a socket");
        Deaf(stream)
    }

    /// Sends frames until the socket is full, or the server has closed it.
    fn send(&mut self, frames: &[u8], count: usize) {
        for _ in 0..count {
            match self.0.write(frames) {
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(_) => return,
            }
        }
    }
}

/// An empty pong, masked with zeros.
const PONG: &[u8] = b"\x8a\x80\0\0\0\0";

/// Neither clients that answer pings but do not read, nor outputs that nobody reads, prevent the end. (`serve/mod.rs` adds up
/// how long it may take.)
#[test]
fn a_stop_ends_although_nobody_reads() {
    let mut command = framewise(&SERVE);
    command.args([
        "--log-level",
        "debug",
        "--ping-interval",
        "1",
        "--rate",
        "0",
        "--rate-bytes",
        "0",
    ]);
    let mut serve = Serve::start_unread(&mut command);
    // The log fills its pipe, and waits with some lines in its queue: with a full queue the writer would be given up sooner.
    let mut peer = serve.connect("/echo");
    for _ in 0..1_200 {
        assert_eq!(peer.send("a").text(), "Echo: a");
    }
    let mut deaf: Vec<Deaf> = (0..20).map(|_| Deaf::open(&serve)).collect();
    let message = [&b"\x82\xfe\xff\xff\0\0\0\0"[..], &[b'a'; 65_535]].concat();
    for client in &mut deaf[..10] {
        // Its own echoes fill its socket.
        client.send(&message, 100);
    }
    // All of them are known to the server.
    assert_eq!(peer.send("b").text(), "Echo: b");
    let before = Instant::now();
    serve.signal("TERM");
    while !serve.has_ended() && before.elapsed() < PATIENCE {
        deaf.iter_mut().for_each(|client| client.send(PONG, 1));
        std::thread::sleep(Duration::from_millis(20));
    }
    assert!(serve.has_ended(), "it still runs after {PATIENCE:?}");
    assert!(serve.wait().success());
}

/// The terminal of the server is closed: clients get a Close, even if the signal comes twice.
#[test]
fn a_hangup_drains() {
    let mut serve = Serve::start_with(&mut framewise_with_hangup(&SERVE));
    let mut peer = serve.connect("/ws");
    // It keeps the server from ending at once.
    let silent = Deaf::open(&serve);
    peer.hears_nothing();
    serve.signal("HUP");
    assert!(serve.line().starts_with("Stopping"));
    serve.signal("HUP");
    assert_eq!(peer.closed().code, CloseCode::GOING_AWAY);
    assert!(!serve.has_ended());
    drop(silent);
    assert!(serve.wait().success());
}

/// After a hangup, Ctrl+C still stops at once.
#[test]
fn an_interrupt_after_a_hangup_stops_at_once() {
    let mut serve = Serve::start_with(&mut framewise_with_hangup(&SERVE));
    let _silent = serve.connect("/ws");
    serve.signal("HUP");
    assert!(serve.line().starts_with("Stopping"));
    serve.signal("INT");
    assert_eq!(serve.wait().code(), Some(130));
}

/// `nohup framewise serve` survives its terminal.
#[cfg(target_os = "linux")]
#[test]
fn an_ignored_hangup_stays_ignored() {
    let binary = framewise(&[]).get_program().to_owned();
    let mut command = Command::new("sh");
    command.args(["-c", "trap '' HUP; exec \"$0\" serve --host 127.0.0.1 --port 0"]).arg(binary);
    let mut serve = Serve::start_with(command.env_remove("LANG").env("LC_ALL", "C"));
    let mut peer = serve.connect("/echo");
    serve.signal("HUP");
    assert_eq!(peer.send("still here?").text(), "Echo: still here?");
    serve.signal("TERM");
    // The Close is that of SIGTERM.
    assert!(serve.line().starts_with("Stopping"));
    assert_eq!(peer.closed().code, CloseCode::GOING_AWAY);
    assert!(serve.wait().success());
}
