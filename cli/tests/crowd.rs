//! What happens to `framewise serve` when many come, when one does not read, and when the machine sleeps.

mod support;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::Stdio;
use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use framewise::Event;
use framewise::Message;
use framewise::MessageBuf;
use serde_json::{Value, json};
use socket2::SockRef;
use support::bare::{Bare, Options};
use support::{KEY, PATIENCE, Peer, Serve, framewise, handshake};

/// Waits until so many WebSockets are open.
fn settles_at(serve: &Serve, count: u64) {
    let began = std::time::Instant::now();
    while serve.json("/health")["connections"] != count {
        assert!(began.elapsed() < PATIENCE, "{} instead of {count}", serve.json("/health"));
    }
}

/// As many as one process has descriptors for by default, four for each client.
const CROWD: usize = 150;

#[test]
fn a_crowd_comes_talks_and_goes() {
    let serve = Serve::start(&["--rate", "0", "--rate-bytes", "0"]);
    let mut peers: Vec<Peer> = (0..CROWD).map(|_| serve.connect("/ws/events")).collect();
    settles_at(&serve, CROWD as u64);
    for (n, peer) in peers.iter_mut().enumerate() {
        peer.send(&json!({"type": "join", "name": format!("aluno {n}")}).to_string());
        assert_eq!(peer.json()["name"], format!("aluno {n}"));
    }
    let (first, others) = peers.split_first_mut().expect("a crowd");
    assert_eq!(
        first.send(r#"{"type": "who"}"#).json()["names"].as_array().map(Vec::len),
        Some(CROWD)
    );
    first.send(r#"{"message": "bom dia"}"#);
    for peer in others {
        assert_eq!(peer.json()["message"], "bom dia");
    }
    first.hears_nothing();
    drop(peers);
    settles_at(&serve, 0);
}

/// R10: nothing is kept of those who went, however they went.
#[test]
fn connections_that_break_off_leave_nothing() {
    let serve = Serve::start(&[]);
    let before = serve.descriptors();
    for n in 0..1_000 {
        let mut stream = TcpStream::connect(serve.address).expect("it listens");
        // Before, in the middle of, and after the request.
        let request = handshake("/ws/events", serve.address, KEY);
        let sent = request.len() * (n % 3) / 2;
        stream.write_all(&request.as_bytes()[..sent]).expect("a socket");
        if n % 3 == 2 {
            stream.read_exact(&mut [0; 12]).expect("an answer");
        }
        if n % 2 == 0 {
            SockRef::from(&stream).set_linger(Some(Duration::ZERO)).expect("a socket");
        }
    }
    settles_at(&serve, 0);
    let began = std::time::Instant::now();
    while serve.descriptors() > before {
        assert!(began.elapsed() < PATIENCE, "{} instead of {before}", serve.descriptors());
    }
    let who = serve.connect("/ws/events").send(r#"{"type": "who"}"#).json();
    assert_eq!((&who["names"], &who["unnamed"]), (&json!([]), &json!(1)));
}

/// R1: who does not read loses the connection, and the others lose nothing.
#[test]
fn one_who_does_not_read_does_not_hold_the_room_up() {
    let serve = Serve::start(&["--rate", "0", "--rate-bytes", "0", "--write-timeout", "60"]);
    let mut sender = serve.connect("/ws");
    let mut reader = serve.connect("/ws");
    // It shakes hands, and that is all it does.
    let _silent = serve.connect("/ws");
    let chunk = [7; 64 * 1024];
    for n in 0..400_u32 {
        let message = [&n.to_be_bytes()[..], &chunk].concat();
        assert!(sender.0.send(Message::Binary(&message)).expect("it takes bytes"));
        assert_eq!(reader.message(), MessageBuf::from(message.to_vec()), "message {n}");
    }
    settles_at(&serve, 2);
}

/// The number of clients that read from slow links.
const READERS: usize = 40;

/// The text of a message of 48 kB with a number.
fn numbered(n: usize) -> String {
    format!("{n} {}", "€".repeat(16_000))
}

/// A client in room 7a that reads 1 MB/s, through a small receive buffer. A smaller one than the segments of the loopback interface would stall.
fn slow_reader(serve: &Serve, name: &str) -> Bare {
    let options = Options { receive_buffer: Some(256 * 1024), ..Options::default() };
    let mut reader = Bare::open(serve.address, "/ws/events?room=7a", options);
    reader.send(&[&json!({"type": "join", "name": name}).to_string()]);
    assert_eq!(reader.json()["name"], name);
    reader.read_at_once(10_000);
    reader
}

/// Reads messages at 1 MB/s until one is "end", and expects their numbers in order. Returns how many there were.
fn reads_all(reader: &mut Bare) -> usize {
    for n in 0.. {
        let message = loop {
            if let Some(frame) = reader.buffered() {
                break frame;
            }
            thread::sleep(Duration::from_millis(10));
            assert!(reader.read_more(), "the connection ended before message {n}");
        };
        let (1, payload) = message else { panic!("message {n} was due, not {message:?}") };
        let event: Value = serde_json::from_slice(&payload).expect("JSON");
        if event["message"] == "end" {
            return n;
        }
        assert_eq!(event["message"], numbered(n), "message {n}");
    }
    unreachable!("the loop only returns");
}

/// Sends the last message, and waits until the server has read it.
fn say_end(talker: &mut Peer) {
    talker.send(r#"{"message": "end"}"#);
    assert!(talker.0.ping(b"read?"));
    loop {
        match talker.0.recv_timeout(PATIENCE).expect("a socket") {
            Some(Event::Pong(_)) => return,
            Some(Event::Message(_)) => {}
            other => panic!("a pong was due, not {other:?}"),
        }
    }
}

/// One talker and 40 readers on slow links, with the default budget of each client: nobody is closed, and everybody receives
/// everything in order.
#[test]
fn a_talker_within_its_budget_closes_nobody() {
    const MESSAGES: usize = 30;
    let (serve, log) = Serve::start_logged(&["--ping-interval", "0"]);
    let mut readers: Vec<Bare> =
        (0..READERS).map(|n| slow_reader(&serve, &format!("aluno {n}"))).collect();
    let mut talker = serve.connect("/ws/events?room=7a");
    thread::scope(|scope| {
        for reader in &mut readers {
            scope.spawn(|| assert_eq!(reads_all(reader), MESSAGES));
        }
        for n in 0..MESSAGES {
            talker.send(&json!({"message": numbered(n)}).to_string());
        }
        say_end(&mut talker);
    });
    settles_at(&serve, READERS as u64 + 1);
    let metrics = serve.http("/metrics", "");
    assert!(!metrics.contains("framewise_slowed_down_total 0\n"), "{metrics}");
    assert!(log.try_iter().all(|line| !line.contains("code=")));
}

/// One talker without a budget, and 40 readers on slow links: the talker is read as fast as they read, so nobody is closed.
/// When one of them stops reading, only that one is closed, and the others receive everything in order.
#[test]
fn only_a_reader_that_stops_is_closed() {
    // More than the buffers of the kernel and half of `--max-output` hold.
    const BEFORE: usize = 140;
    const AFTER: usize = 20;
    let arguments =
        ["--rate", "0", "--rate-bytes", "0", "--ping-interval", "0", "--write-timeout", "60"];
    let (serve, log) = Serve::start_logged(&arguments);
    let mut readers: Vec<Bare> =
        (1..READERS).map(|n| slow_reader(&serve, &format!("aluno {n}"))).collect();
    let mut stalls = slow_reader(&serve, "stalls");
    let mut talker = serve.connect("/ws/events?room=7a");
    let (has_stopped, is_closed) = (AtomicBool::new(false), AtomicBool::new(false));
    let sent = thread::scope(|scope| {
        let readers: Vec<_> =
            readers.iter_mut().map(|reader| scope.spawn(|| reads_all(reader))).collect();
        scope.spawn(|| {
            for n in 0..BEFORE {
                assert_eq!(stalls.json()["message"], numbered(n));
            }
            has_stopped.store(true, Ordering::SeqCst);
        });
        let talk = scope.spawn(|| {
            let mut sent = 0;
            let mut send = || {
                talker.send(&json!({"message": numbered(sent)}).to_string());
                sent += 1;
            };
            while !is_closed.load(Ordering::SeqCst) {
                send();
            }
            (0..AFTER).for_each(|_| send());
            say_end(&mut talker);
            sent
        });
        let line = std::iter::from_fn(|| log.recv_timeout(PATIENCE).ok())
            .find(|line| line.contains("code="));
        let had_stopped = has_stopped.load(Ordering::SeqCst);
        is_closed.store(true, Ordering::SeqCst);
        let line = line.expect("the log has the close");
        assert!(had_stopped, "closed while all of them read: {line}");
        assert!(line.contains("WARN") && line.contains("code=1008"), "{line}");
        assert!(line.contains("name=\"stalls\" room=\"7a\""), "{line}");
        let sent = talk.join().expect("it stays connected");
        for reader in readers {
            assert_eq!(reader.join().expect("it has received everything"), sent);
        }
        sent
    });
    assert!(sent >= BEFORE + AFTER, "{sent}");
    assert!(log.try_iter().all(|line| !line.contains("code=")), "only one is closed");
    settles_at(&serve, READERS as u64);
}

/// R16: after a stop of the whole process nobody is sent away for pongs that it could not read.
#[test]
fn nobody_is_sent_away_when_the_process_was_stopped_for_a_while() {
    const CLASS: usize = 30;
    let serve = Serve::start(&["--ping-interval", "1", "--pong-timeout", "1"]);
    let (ready, goes_on) = (Barrier::new(CLASS + 1), AtomicBool::new(false));
    std::thread::scope(|scope| {
        for _ in 0..CLASS {
            scope.spawn(|| {
                let mut peer = serve.connect("/ws/events");
                ready.wait();
                let mut pings = 0;
                // The second ping comes after the first one's pong was judged.
                while pings < 2 {
                    match peer.0.recv_timeout(PATIENCE).expect("a socket") {
                        Some(Event::Ping(_)) => {
                            pings += usize::from(goes_on.load(Ordering::SeqCst))
                        }
                        other => panic!("a ping was due, not {other:?}"),
                    }
                }
                assert_eq!(peer.send("{}").json()["error"]["code"], "missing_message");
            });
        }
        ready.wait();
        serve.signal("STOP");
        // Longer than interval and time-out together: this is what the rule is about.
        std::thread::sleep(Duration::from_secs(4));
        goes_on.store(true, Ordering::SeqCst);
        serve.signal("CONT");
    });
}

/// R17: nobody reads what it prints, and the pipe is full.
#[test]
fn a_full_stdout_costs_lines_and_not_the_server() {
    let (_unread, mut full) = std::io::pipe().expect("a pipe");
    let flags = rustix::fs::fcntl_getfl(&full).expect("a pipe");
    rustix::fs::fcntl_setfl(&full, flags | rustix::fs::OFlags::NONBLOCK).expect("a pipe");
    while full.write(&[0; 4096]).is_ok() {}
    while full.write(&[0]).is_ok() {}
    rustix::fs::fcntl_setfl(&full, flags).expect("a pipe");
    // It cannot say on which port it is, so it is told.
    let free = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = free.local_addr().expect("bound").port();
    drop(free);
    let mut child = framewise(&["serve", "--host", "127.0.0.1", "--port", &port.to_string()])
        .stdin(Stdio::null())
        .stdout(full)
        .stderr(Stdio::null())
        .spawn()
        .expect("it starts");
    let began = std::time::Instant::now();
    let mut peer = loop {
        match TcpStream::connect(("127.0.0.1", port)) {
            Ok(stream) => break stream,
            Err(error) => assert!(began.elapsed() < PATIENCE, "{error}"),
        }
    };
    peer.set_read_timeout(Some(PATIENCE)).expect("a socket");
    peer.write_all(handshake("/echo", format!("127.0.0.1:{port}"), KEY).as_bytes())
        .expect("a socket");
    let id = child.id().to_string();
    let signal = || {
        let mut kill = std::process::Command::new("kill");
        let kill = kill.args(["-s", "INT", &id]).status();
        assert!(kill.expect("kill").success());
    };
    peer.read_exact(&mut [0; 12]).expect("an answer");
    signal();
    // It says goodbye, which is never answered: the first signal alone would take five seconds.
    let mut byte = [0];
    while byte != [0x88] {
        peer.read_exact(&mut byte).expect("a Close");
    }
    signal();
    assert_eq!(child.wait().expect("it ends").code(), Some(130));
}

/// R17: whoever read the first lines may go.
#[test]
fn a_closed_stdout_costs_lines_and_not_the_server() {
    let mut child = framewise(&["serve", "--host", "127.0.0.1", "--port", "0"])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("it starts");
    let mut first = [0; 64];
    let count = child.stdout.as_mut().expect("a pipe").read(&mut first).expect("a line");
    let line = String::from_utf8_lossy(&first[..count]).into_owned();
    let address = line.split("http://").nth(1).and_then(|rest| rest.lines().next());
    drop(child.stdout.take());
    let url = format!("ws://{}/ws", address.expect("an address"));
    let mut peer = Peer(framewise::Client::connect(&url).expect("it answers"));
    // It has something to say now, to nobody.
    let stopped = std::process::Command::new("kill").arg(child.id().to_string()).status();
    assert!(stopped.expect("kill").success());
    assert_eq!(peer.closed().code, framewise::CloseCode::GOING_AWAY);
    assert!(child.wait().expect("it ends").success());
}
