//! A client that guesses the token gets its responses late. Nobody else does.

mod support;

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::sync::mpsc::Receiver;
use std::time::{Duration, Instant};

use support::{KEY, PATIENCE, Serve, handshake, line_with};

/// The longest delay of a response.
const LONGEST: Duration = Duration::from_secs(2);

/// A server behind a proxy on this machine, so that a test can have many addresses.
const OPTIONS: [&str; 6] = ["--token", "segredo", "--behind-proxy", "127.0.0.1", "--lang", "en"];

/// A part of the line about guesses.
const LATE: &str = "further ones are answered late";

/// Sends an opening handshake with this token, as the proxy of a client. Does not wait for the response.
fn ask(serve: &Serve, client: &str, token: &str) -> TcpStream {
    let mut stream = TcpStream::connect(serve.address).expect("it listens");
    stream.set_read_timeout(Some(PATIENCE)).expect("a socket");
    let request = handshake("/echo", serve.address, KEY);
    let fields = format!("X-Forwarded-For: {client}\r\nAuthorization: Bearer {token}");
    let request = format!("{}\r\n{fields}\r\n\r\n", request.trim_end());
    stream.write_all(request.as_bytes()).expect("a socket");
    stream
}

/// Reads the head of a response.
fn head(stream: &mut TcpStream) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).expect("a response");
        head.push(byte[0]);
    }
    String::from_utf8(head).expect("text")
}

fn status(head: &str) -> &str {
    head.split(' ').nth(1).expect("a status")
}

/// Sends wrong tokens one after the other. Returns the time that all responses took together.
fn guess(serve: &Serve, client: &str, count: usize) -> Duration {
    let began = Instant::now();
    for n in 0..count {
        assert_eq!(status(&head(&mut ask(serve, client, &format!("falso{n}")))), "401");
    }
    began.elapsed()
}

/// Returns the lines of the log up to the first one with this text.
fn up_to(log: &Receiver<String>, text: &str) -> Vec<String> {
    let mut lines = vec![line_with(log, "")];
    while !lines.last().is_some_and(|line| line.contains(text)) {
        lines.push(line_with(log, ""));
    }
    lines
}

/// The first wrong tokens are mistakes. The next ones are answered later and later.
#[test]
fn wrong_tokens_are_answered_late_after_some_mistakes() {
    let serve = Serve::start(&OPTIONS);
    guess(&serve, "203.0.113.9", 10);
    let late = guess(&serve, "203.0.113.9", 3);
    assert!(late >= Duration::from_millis(250 + 500 + 1000), "{late:?}");
    assert!(guess(&serve, "203.0.113.9", 1) >= LONGEST);
}

/// A school behind one address: while the response to a wrong token waits, the right token is accepted.
#[test]
fn the_right_token_is_never_delayed() {
    let serve = Serve::start(&OPTIONS);
    guess(&serve, "203.0.113.9", 13);
    loop {
        let began = Instant::now();
        let mut wrong = ask(&serve, "203.0.113.9", "falso");
        let mut right = ask(&serve, "203.0.113.9", "segredo");
        assert_eq!(status(&head(&mut right)), "101");
        wrong.set_nonblocking(true).expect("a socket");
        let early = wrong.read(&mut [0]);
        if began.elapsed() < LONGEST {
            assert_eq!(early.expect_err("it waits").kind(), ErrorKind::WouldBlock);
            wrong.set_nonblocking(false).expect("a socket");
            assert_eq!(status(&head(&mut wrong)), "401");
            return;
        }
        // This machine was too busy to tell.
    }
}

/// One address cannot hold many connections with delayed responses, and does not stop another address.
#[test]
fn guesses_in_parallel_get_429_and_stop_nobody_else() {
    let serve = Serve::start(&OPTIONS);
    guess(&serve, "203.0.113.9", 13);
    let guesses: Vec<TcpStream> =
        (0..50).map(|n| ask(&serve, "203.0.113.9", &format!("falso{n}"))).collect();
    let other = status(&head(&mut ask(&serve, "198.51.100.7", "segredo"))).to_owned();
    assert_eq!(other, "101");
    assert_eq!(status(&head(&mut ask(&serve, "198.51.100.7", "falso"))), "401");
    let mut late = 0;
    for mut guess in guesses {
        let head = head(&mut guess);
        match status(&head) {
            "401" => late += 1,
            "429" => assert!(head.contains("\r\nRetry-After: 2\r\n"), "{head}"),
            _ => panic!("{head}"),
        }
        assert!(head.contains("\r\nConnection: close\r\n"), "{head}");
    }
    assert!((8..50).contains(&late), "{late}");
}

/// An IPv6 client has a whole network of addresses.
#[test]
fn an_ipv6_client_is_known_by_its_network() {
    let serve = Serve::start(&OPTIONS);
    for n in 0..13 {
        guess(&serve, &format!("2001:db8:0:1::{n:x}"), 1);
    }
    assert!(guess(&serve, "2001:db8:0:1:ffff::1", 1) >= LONGEST);
}

/// The teacher's token cannot be guessed faster than that of the class, and the two count together.
#[test]
fn guesses_of_the_teachers_token_are_late_too() {
    let options = [&OPTIONS[..], &["--teacher-token", "professor"]].concat();
    let serve = Serve::start(&options);
    let metrics = |token: &str| {
        let fields = format!("X-Forwarded-For: 203.0.113.9\r\nAuthorization: Bearer {token}\r\n");
        status(&serve.http("/metrics", &fields)).to_owned()
    };
    guess(&serve, "203.0.113.9", 5);
    (0..5).for_each(|_| assert_eq!(metrics("falso"), "401"));
    let began = Instant::now();
    assert_eq!(metrics("falso"), "401");
    assert!(began.elapsed() >= Duration::from_millis(250), "{:?}", began.elapsed());
    assert_eq!(metrics("professor"), "200");
}

/// A missing token is not a guess: a page that was opened without it asks the user for it.
#[test]
fn a_missing_token_is_no_guess() {
    let (serve, log) = Serve::start_logged(&OPTIONS);
    for _ in 0..20 {
        let answer = serve.raw(&handshake("/echo", serve.address, KEY));
        assert_eq!(status(&answer), "401");
    }
    guess(&serve, "127.0.0.1", 11);
    let lines = up_to(&log, LATE);
    let with = |text: &str| lines.iter().filter(|line| line.contains(text)).count();
    assert_eq!((with("no token"), with("another token")), (20, 10), "{lines:#?}");
}

/// The log has a line for each of the first wrong tokens, and then one each minute. None of them has a token.
#[test]
fn the_log_has_one_line_a_minute_about_guesses() {
    let (serve, log) = Serve::start_logged(&OPTIONS);
    guess(&serve, "203.0.113.9", 12);
    let guesses: Vec<TcpStream> = (0..50).map(|_| ask(&serve, "203.0.113.9", "falso")).collect();
    guesses.into_iter().for_each(|mut guess| drop(head(&mut guess)));
    assert_eq!(status(&head(&mut ask(&serve, "198.51.100.7", "segredo"))), "101");
    let lines = up_to(&log, "198.51.100.7");
    let with = |text: &str| lines.iter().filter(|line| line.contains(text)).count();
    assert_eq!(with("a token is asked for here"), 10, "{lines:#?}");
    assert_eq!(with(LATE), 1, "{lines:#?}");
    let line = lines.iter().find(|line| line.contains(LATE)).expect("it was counted");
    assert!(line.contains("203.0.113.9") && line.contains("count=11"), "{line}");
    assert_eq!(with("falso"), 0, "{lines:#?}");
}

/// The connections of one address are limited, and at most half of them wait for late responses. (The server may not have
/// noticed yet that the connection before them was closed.)
#[test]
fn a_small_limit_of_connections_leaves_room_for_the_right_token() {
    let serve = Serve::start(&["--token", "segredo", "--max-per-ip", "3"]);
    guess(&serve, "-", 13);
    let mut wrong = ask(&serve, "-", "falso");
    assert_eq!(status(&head(&mut ask(&serve, "-", "segredo"))), "101");
    assert_eq!(status(&head(&mut wrong)), "401");
}

/// R13: a stop does not wait for late responses.
#[test]
fn a_stop_does_not_wait_for_late_responses() {
    let (mut serve, log) = Serve::start_logged(&OPTIONS);
    guess(&serve, "203.0.113.9", 13);
    let guesses: Vec<TcpStream> = (0..8).map(|_| ask(&serve, "203.0.113.9", "falso")).collect();
    // Once a later client is served, the earlier requests have been read.
    assert_eq!(status(&head(&mut ask(&serve, "198.51.100.7", "segredo"))), "101");
    serve.signal("TERM");
    assert!(serve.wait().success());
    for mut guess in guesses {
        let mut rest = Vec::new();
        // With or without a reset.
        let _ = guess.read_to_end(&mut rest);
        assert!(rest.is_empty() || rest.starts_with(b"HTTP/1.1 401 "));
    }
    drop(log);
}
