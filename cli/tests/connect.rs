//! `framewise connect` in a pipe, with plain shell around it.

mod support;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::process::{Child, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;
use support::{Serve, framewise, line_with};

/// Starts the client, with a pipe for each of its streams.
fn start(arguments: &[&str]) -> Child {
    let mut command = framewise(&["connect"]);
    let command = command.args(arguments).stdin(Stdio::piped());
    command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it starts")
}

/// Runs the client with this standard input.
fn connect(arguments: &[&str], input: impl AsRef<[u8]>) -> Output {
    let mut child = start(arguments);
    let mut stdin = child.stdin.take().expect("a pipe");
    let input = input.as_ref().to_vec();
    let writer = std::thread::spawn(move || drop(stdin.write_all(&input)));
    let output = child.wait_with_output().expect("it ends");
    writer.join().expect("the writer ends");
    output
}

fn stdout(output: &Output) -> &str {
    str::from_utf8(&output.stdout).expect("text")
}

fn stderr(output: &Output) -> &str {
    str::from_utf8(&output.stderr).expect("text")
}

#[test]
fn a_pipe_is_read_to_its_end_and_every_answer_is_there() {
    let serve = Serve::start(&["--rate", "0", "--rate-bytes", "0"]);
    let url = format!("{}/echo", serve.address);
    let output = connect(&[&url], "um\ndois\n\n/ping\ntrês");
    assert_eq!(stdout(&output), "Echo: um\nEcho: dois\nEcho: \nEcho: /ping\nEcho: três\n");
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let many: String = (0..20_000).map(|n| format!("linha {n}\n")).collect();
    let output = connect(&[&url], &many);
    let wanted: String = (0..20_000).map(|n| format!("Echo: linha {n}\n")).collect();
    assert_eq!(stdout(&output), wanted);
}

#[test]
fn sends_what_is_given_and_stops_after_one() {
    let serve = Serve::start(&[]);
    let url = format!("ws://{}/echo", serve.address);
    assert_eq!(stdout(&connect(&[&url, "-x", "a", "-x", "b"], "")), "Echo: a\nEcho: b\n");
    assert_eq!(stdout(&connect(&[&url, "-1", "-x", "a", "-x", "b"], "")), "Echo: a\n");
    assert_eq!(stdout(&connect(&[&url, "--hex", "-x", "00 ff 7f"], "")), "00 ff 7f\n");
    assert_eq!(connect(&[&url, "--binary", "-x", "a"], "").stdout, b"a\n");
}

#[test]
fn json_is_one_event_a_line() {
    let serve = Serve::start(&[]);
    let url = format!("ws://{}/ws/events", serve.address);
    let output = connect(&[&url, "--json", "--rtt", "-s", "framewise.classroom"], "{}\n");
    let events: Vec<Value> =
        stdout(&output).lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    let kinds: Vec<&str> =
        events.iter().map(|event| event["event"].as_str().expect("a kind")).collect();
    assert_eq!(kinds, ["open", "message", "close"]);
    assert_eq!(events[0]["subprotocol"], "framewise.classroom");
    assert!(events[1]["data"].as_str().expect("text").contains("missing_message"));
    assert!(events[1]["rtt_ms"].as_f64().expect("a time") >= 0.0);
    assert_eq!(events[2]["code"], 1000);
}

#[test]
fn the_trace_explains_both_ways() {
    let serve = Serve::start(&[]);
    let output = connect(&[&format!("{}/echo", serve.address), "--trace", "-x", "oi"], "");
    let trace = stderr(&output);
    for words in [
        "> GET /echo HTTP/1.1",
        "< HTTP/1.1 101",
        "opcode=1 (text) MASK=1 length=2",
        "payload data 'Echo: oi'",
        "opcode=8 (close)",
    ] {
        assert!(trace.contains(words), "{words} is not in\n{trace}");
    }
    assert_eq!(stdout(&output), "Echo: oi\n");
}

#[test]
fn exit_codes_tell_how_it_ended() {
    let serve = Serve::start(&["--max-message", "1024"]);
    let url = format!("ws://{}/echo", serve.address);
    let code = |output: &Output| output.status.code().expect("a code");
    assert_eq!(code(&connect(&[&url], "")), 0);
    assert_eq!(code(&connect(&[&url, "--close", "1001:tchau"], "")), 0);
    assert_eq!(code(&connect(&[&url, "--close", "4000:tchau"], "")), 3);
    let too_big = connect(&[&url], "a".repeat(2_000));
    assert_eq!(code(&too_big), 3);
    assert!(stderr(&too_big).contains("1009"), "{}", stderr(&too_big));
    let refused = connect(&[&format!("ws://{}/nothing", serve.address)], "");
    assert_eq!(code(&refused), 1);
    assert!(stderr(&refused).contains("HTTP/1.1 404") && stderr(&refused).contains("fix: "));
    let nobody = TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("bound");
    assert_eq!(code(&connect(&[&nobody.to_string()], "")), 1);
    for usage in [
        ["--close", "1005"],
        ["--close", "x"],
        ["-w", "0"],
        ["-w", "1e19"],
        ["--ping", "nan"],
        ["-s", "a b"],
        ["-H", "none"],
    ] {
        assert_eq!(code(&connect(&[&url, usage[0], usage[1]], "")), 2, "{usage:?}");
    }
}

#[test]
fn headers_and_origin_are_sent() {
    let serve = Serve::start(&["--token", "segredo"]);
    let url = format!("ws://{}/echo", serve.address);
    let output = connect(&[&url, "-H", "Authorization: Bearer segredo", "-x", "a"], "");
    assert_eq!(stdout(&output), "Echo: a\n");
    let serve = Serve::start(&[]);
    let url = format!("ws://{}/echo", serve.address);
    let output = connect(&[&url, "-o", "https://evil.example", "-x", "a"], "");
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("403"), "{}", stderr(&output));
}

#[test]
fn silence_after_a_ping_is_what_no_pong_shows() {
    let serve = Serve::start(&["--ping-interval", "1", "--pong-timeout", "1"]);
    let url = format!("ws://{}/echo", serve.address);
    let output = connect(&[&url, "--no-pong", "-w", "20", "-x", "a"], "");
    assert_eq!(output.status.code(), Some(3));
    assert!(
        stderr(&output).contains("1008 RFC 6455 5.5.2: no pong in time"),
        "{}",
        stderr(&output)
    );
}

#[test]
fn a_lost_connection_comes_back_when_that_was_asked_for() {
    let mut serve = Serve::start(&[]);
    let port = serve.address.port().to_string();
    let url = format!("{}/echo", serve.address);
    let mut child = start(&[&url, "--reconnect", "--json"]);
    let mut events = BufReader::new(child.stdout.take().expect("a pipe")).lines();
    let mut next = || -> Value {
        let line = events.next().expect("another event").expect("text");
        serde_json::from_str(&line).expect("JSON")
    };
    assert_eq!(next()["event"], "open");
    serve.signal("TERM");
    let close = next();
    assert_eq!((&close["event"], &close["code"]), (&"close".into(), &1001.into()));
    serve.wait();
    // What is written meanwhile waits in the pipe.
    let mut stdin = child.stdin.take().expect("a pipe");
    stdin.write_all("um\ndois\n".as_bytes()).expect("a pipe");
    let arguments = ["serve", "--host", "127.0.0.1", "--port", &port];
    let _again = Serve::start_with(&mut framewise(&arguments));
    assert_eq!(next()["event"], "open");
    stdin.write_all("três\n".as_bytes()).expect("a pipe");
    for line in ["um", "dois", "três"] {
        assert_eq!(next()["data"], format!("Echo: {line}"));
    }
    drop(stdin);
    assert_eq!(next()["code"], 1000);
    assert!(child.wait().expect("it ends").success());
}

#[test]
fn lines_have_their_time_and_their_round_trip_when_that_was_asked_for() {
    let serve = Serve::start(&[]);
    let url = format!("{}/echo", serve.address);
    let output = connect(&[&url, "--ts", "--rtt", "-w", "1", "--ping", "0.2", "-x", "a"], "");
    let first = stdout(&output).lines().next().expect("a line");
    let (time, rest) = first.split_once(' ').expect("a time");
    assert!(time.len() == 24 && time.ends_with('Z'), "{first}");
    assert!(rest.starts_with("Echo: a  (") && rest.ends_with(" ms)"), "{first}");
    assert!(stdout(&output).contains("< pong  ("), "{}", stdout(&output));
    // Each answer has the time of its own message, also when several were under way.
    let output = connect(&[&url, "--json", "--rtt"], "um\ndois\ntrês\n");
    let timed = stdout(&output).lines().filter(|line| line.contains("rtt_ms")).count();
    assert_eq!(timed, 3, "{}", stdout(&output));
}

#[test]
fn a_line_that_is_no_text_is_an_error_and_what_came_before_is_answered() {
    let serve = Serve::start(&[]);
    let output = connect(&[&format!("{}/echo", serve.address)], b"um\n\xff\xfe\ndois\n");
    assert_eq!(stdout(&output), "Echo: um\n");
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("not UTF-8"), "{}", stderr(&output));
}

#[test]
fn bytes_of_a_pipe_are_any_bytes() {
    let serve = Serve::start(&[]);
    let url = format!("{}/echo", serve.address);
    let output = connect(&[&url, "--binary"], b"um\n\xff\xfe\r\n\n\x00");
    assert_eq!(output.stdout, b"um\n\xff\xfe\n\n\x00\n");
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let output = connect(&[&url, "--hex", "--lang", "pt"], "ff\nzz\n00\n");
    assert_eq!((stdout(&output), output.status.code()), ("ff\n", Some(2)));
    assert!(stderr(&output).contains("erro: os dígitos hexadecimais"), "{}", stderr(&output));
}

#[test]
fn lines_have_a_longest_one() {
    let serve = Serve::start(&["--max-message", "16777216"]);
    let url = format!("{}/echo", serve.address);
    let longest = "a".repeat(16 << 20);
    let output = connect(&[&url, "--binary"], format!("{longest}\n{longest}"));
    assert_eq!(output.stdout.len(), 2 * (longest.len() + 1), "{}", stderr(&output));
    let output = connect(&[&url, "--binary"], format!("um\n{longest}a\ndois\n"));
    assert_eq!((stdout(&output), output.status.code()), ("um\n", Some(2)));
    assert!(stderr(&output).contains("16777216"), "{}", stderr(&output));
}

#[test]
fn a_server_that_answers_while_much_is_sent_is_read() {
    // Each answer is larger than what may wait for a client: who only wrote and did not read would wait for ever.
    let serve = Serve::start(&["--max-message", "4000000", "--rate", "0", "--rate-bytes", "0"]);
    let line = "a".repeat(3_000_000);
    let input = [line.as_str(); 12].join("\n");
    let output = connect(&[&format!("{}/echo", serve.address), "--binary"], &input);
    assert!(output.stdout == format!("{input}\n").as_bytes(), "{}", stderr(&output));
}

#[test]
fn a_message_is_as_long_as_was_allowed() {
    let serve = Serve::start(&[]);
    let url = format!("{}/echo", serve.address);
    // "Echo: " and a message of the longest kind that the server takes.
    let longest = "a".repeat(1 << 20);
    assert_eq!(stdout(&connect(&[&url], &longest)), format!("Echo: {longest}\n"));
    let output = connect(&[&url, "--max-message", "10", "-x", "cinco"], "");
    assert_eq!(output.status.code(), Some(3));
    assert!(stderr(&output).contains("1009"), "{}", stderr(&output));
}

/// The longest message that a server takes by default comes back with its prefix.
#[test]
fn an_echo_may_be_longer_than_the_longest_message() {
    let serve = Serve::start(&[]);
    let longest = "é".repeat(512 * 1024);
    let output = connect(&[&format!("{}/echo", serve.address)], &longest);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert!(stdout(&output) == format!("Echo: {longest}\n"), "{} bytes", output.stdout.len());
}

#[test]
fn pings_do_not_keep_a_pipe_open() {
    let serve = Serve::start(&["--ping-interval", "1"]);
    let url = format!("{}/ws", serve.address);
    // Nobody else is there, so nothing comes but pings and pongs, more often than it waits for a message.
    assert_eq!(connect(&[&url, "--ping", "0.2", "-x", "a"], "").status.code(), Some(0));
    assert_eq!(
        connect(&[&url, "--ping", "0.2", "-1", "-w", "2", "-x", "a"], "").status.code(),
        Some(3)
    );
}

#[test]
fn what_cannot_be_written_is_an_error() {
    let serve = Serve::start(&[]);
    let full = std::fs::File::options().write(true).open("/dev/full").expect("a device");
    let output = framewise(&["connect", &format!("{}/echo", serve.address), "-x", "a"])
        .stdout(full)
        .output()
        .expect("it runs");
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).starts_with("error: "), "{}", stderr(&output));
}

#[test]
fn nobody_who_reads_ends_it() {
    let serve = Serve::start(&[]);
    let url = format!("{}/echo", serve.address);
    let mut child = start(&[&url]);
    let mut stdin = child.stdin.take().expect("a pipe");
    let mut stdout = BufReader::new(child.stdout.take().expect("a pipe"));
    stdin.write_all(b"um\n").expect("a pipe");
    let mut line = String::new();
    stdout.read_line(&mut line).expect("a line");
    drop(stdout);
    stdin.write_all(b"dois\n").expect("a pipe");
    // Standard input is still open.
    let output = child.wait_with_output().expect("it ends");
    assert_eq!((line.as_str(), output.status.code()), ("Echo: um\n", Some(0)));
    assert_eq!(stderr(&output), "Closed: 1001\n");
}

#[test]
fn a_refusal_is_in_the_language_of_whoever_reads_it() {
    let serve = Serve::start(&["--lang", "en"]);
    let url = format!("{}/nothing", serve.address);
    let refused = connect(&[&url, "--lang", "pt"], "");
    assert!(stderr(&refused).contains("  regra: "), "{}", stderr(&refused));
    let refused = connect(&[&url, "--lang", "pt", "-H", "accept-language: en"], "");
    assert!(stderr(&refused).contains("  rule: "), "{}", stderr(&refused));
}

#[test]
fn one_answer_is_not_waited_for_longer_than_that() {
    let serve = Serve::start(&[]);
    // Nobody else is in the room, so nothing will come.
    let output = connect(&[&format!("{}/ws", serve.address), "-1", "-w", "0.2", "-x", "a"], "");
    assert_eq!((stdout(&output), output.status.code()), ("", Some(3)));
    assert_eq!(stderr(&output), "Closed: 1000\nNo answer came in time.\n");
}

/// A connection that closes before the answer has come says so, and not that the time was over.
#[test]
fn one_answer_cannot_come_after_the_end() {
    for (lang, closed, text) in [
        ("en", "Closed: 1001 the server stops", "The connection closed before an answer came."),
        (
            "pt",
            "Fechado: 1001 the server stops",
            "A conexão foi fechada antes de chegar uma resposta.",
        ),
    ] {
        let (serve, log) = Serve::start_logged(&[]);
        let url = format!("{}/ws", serve.address);
        let mut child = start(&["--lang", lang, &url, "-1"]);
        let stdin = child.stdin.take();
        line_with(&log, "path=\"/ws\"");
        serve.signal("TERM");
        let output = child.wait_with_output().expect("it ends");
        drop(stdin);
        assert_eq!((stdout(&output), output.status.code()), ("", Some(3)));
        assert_eq!(stderr(&output), format!("{closed}\n{text}\n"));
    }
}

/// Runs the client against a server that sends this answer and leaves TCP open. The client must not wait for more.
/// Returns the lines of standard error.
fn refused(arguments: &[&str], answer: &str) -> Vec<String> {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("bound").to_string();
    let answer = answer.to_owned();
    let server = thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("a client");
        let mut request = BufReader::new(stream.try_clone().expect("a socket"));
        let mut line = String::new();
        while line != "\r\n" {
            line.clear();
            request.read_line(&mut line).expect("a request");
        }
        stream.write_all(answer.as_bytes()).expect("it reads");
        // The client closes TCP.
        let _ = stream.read(&mut [0]);
    });
    let began = Instant::now();
    let output = connect(&[&[address.as_str()], arguments].concat(), "");
    // The client waits for at most ten seconds.
    assert!(began.elapsed() < Duration::from_secs(5), "it waited");
    server.join().expect("no panic");
    assert_eq!((stdout(&output), output.status.code()), ("", Some(1)));
    stderr(&output).lines().map(str::to_owned).collect()
}

const REJECTED: &str = "error: the response does not open a WebSocket (RFC 6455 4.1): ";

#[test]
fn a_refusal_is_final_at_its_end() {
    let refused = |answer: &str| refused(&[], answer);
    let error = |why: &str| format!("{REJECTED}{why}");
    assert_eq!(
        refused("HTTP/1.1 204 No Content\r\n\r\n"),
        [error("the status is 204, not 101"), "  HTTP/1.1 204 No Content".to_owned()]
    );
    let chunked = "HTTP/1.1 404 Not Found\r\nTransfer-Encoding: chunked\r\n\r\n\
        8\r\nno such \r\n4\r\nroom\r\n0\r\n\r\n";
    assert_eq!(
        refused(chunked)[1..],
        ["  HTTP/1.1 404 Not Found".to_owned(), "  no such room".to_owned()]
    );
    let upgrade = "HTTP/1.1 101 x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n";
    let accept = format!("{upgrade}Sec-WebSocket-Accept: AAAA\r\n\r\n");
    assert_eq!(
        refused(&accept),
        [
            error("Sec-WebSocket-Accept does not match the key").as_str(),
            "  HTTP/1.1 101 x",
            "  Upgrade: websocket",
            "  Connection: Upgrade",
            "  Sec-WebSocket-Accept: AAAA",
        ]
    );
    // Other protocols, and an older HTTP.
    for greeting in ["SSH-2.0-OpenSSH_9.6", "220 mail.example ESMTP", "\u{15}\u{3}\u{1}"] {
        let lines = refused(&format!("{greeting}\r\n"));
        assert_eq!(lines[0], error("the first line is not a status line of HTTP/1.1"));
        assert_eq!(lines[1], format!("  {}", framewise::trace::printable(greeting)));
    }
    let old = refused("HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\nhello");
    assert_eq!(old[1..], ["  HTTP/1.0 200 OK".to_owned(), "  hello".to_owned()]);
}

#[test]
fn a_redirection_shows_where_it_leads() {
    let location = format!("https://class.example/{}?q=1", "x".repeat(400));
    let answer = format!(
        "HTTP/1.1 302 Found\r\nServer: x\r\nLocation: {location}\r\nContent-Length: 0\r\n\r\n"
    );
    let lines = refused(&[], &answer);
    assert!(lines[0].starts_with(&format!("{REJECTED}the status is 302, which redirects to")));
    assert!(lines[0].ends_with("does not follow that: connect to the new address"), "{}", lines[0]);
    assert_eq!(lines[1..], ["  HTTP/1.1 302 Found".to_owned(), format!("  Location: {location}")]);
    let lines = refused(&["--lang", "pt"], &answer.replace(&location, "/novo"));
    assert!(lines[0].contains("redireciona para /novo; um cliente WebSocket não segue"));
}

#[test]
fn the_head_of_an_answer_has_a_longest_one() {
    let answer = |length: usize| {
        let head = "HTTP/1.1 400 Bad Request\r\nContent-Length: 2\r\nX-Padding: \r\n\r\n";
        let padding = format!("X-Padding: {}", "x".repeat(length - head.len()));
        head.replace("X-Padding: ", &padding) + "no"
    };
    let body = |lines: Vec<String>| lines.last().is_some_and(|line| line == "  no");
    for (flags, longest) in [(&[][..], 65_536), (&["--max-head", "1000"], 1000)] {
        let lines = refused(flags, &answer(longest));
        assert_eq!(lines[0], format!("{REJECTED}the status is 400, not 101"));
        let lines = refused(flags, &answer(longest + 1));
        let wanted = format!(
            "error: the head of the server's answer has more than {longest} bytes; --max-head sets a higher limit"
        );
        assert_eq!(lines[..2], [wanted, "  HTTP/1.1 400 Bad Request".to_owned()]);
    }
    // Many fields, and a long first line, are no reason to refuse it.
    let fields: String = (0..300).map(|n| format!("X-{n}: y\r\n")).collect();
    let reason = "x".repeat(10_000);
    let answer = format!("HTTP/1.1 403 {reason}\r\n{fields}Content-Length: 2\r\n\r\nno");
    assert!(body(refused(&[], &answer)));
    for wrong in ["127", "1048577", "x"] {
        assert_eq!(connect(&["x", "--max-head", wrong], "").status.code(), Some(2));
    }
}

#[test]
fn a_server_that_has_stopped_is_given_up() {
    let serve = Serve::start(&[]);
    let url = format!("{}/echo", serve.address);
    let ping = ["--ping", "0.1", "--pong-timeout", "1.5", "--json"];
    let mut child = start(&[&[url.as_str()], &ping[..]].concat());
    let stdin = child.stdin.take().expect("a pipe");
    let mut events = BufReader::new(child.stdout.take().expect("a pipe")).lines();
    let mut next = || events.next().expect("another event").expect("text");
    // The server answers at first.
    while !next().contains(r#""event":"pong""#) {}
    serve.signal("STOP");
    while !next().contains(r#""code":1006"#) {}
    let output = child.wait_with_output().expect("it ends");
    assert_eq!(output.status.code(), Some(3));
    assert!(
        stderr(&output).contains("Nothing arrived for 1.5 s after a ping"),
        "{}",
        stderr(&output)
    );
    drop(stdin);
    serve.signal("CONT");
}

#[test]
fn a_stopped_server_is_connected_to_again() {
    let serve = Serve::start(&[]);
    let url = format!("{}/echo", serve.address);
    let ping = ["--ping", "0.1", "--pong-timeout", "1", "--json", "--reconnect"];
    let mut child = start(&[&[url.as_str()], &ping[..]].concat());
    let mut events = BufReader::new(child.stdout.take().expect("a pipe")).lines();
    let mut next = || events.next().expect("another event").expect("text");
    assert!(next().contains(r#""event":"open""#));
    serve.signal("STOP");
    while !next().contains(r#""code":1006"#) {}
    serve.signal("CONT");
    assert!(next().contains(r#""event":"open""#));
    child.stdin.take().expect("a pipe").write_all(b"um\n").expect("a pipe");
    while !next().contains("Echo: um") {}
    while !next().contains(r#""code":1000"#) {}
    assert!(child.wait().expect("it ends").success());
}

/// A pong has to wait behind a message that is longer than the time without a pong.
#[test]
fn a_slow_message_is_a_sign_of_life() {
    let serve = Serve::start(&[]);
    let mut relay = framewise(&["relay", "127.0.0.1:0", &serve.address.to_string()])
        .args(["--from", "server", "--rate", "50000", "--lang", "en"])
        .stdout(Stdio::piped())
        .spawn()
        .expect("it starts");
    let mut line = String::new();
    BufReader::new(relay.stdout.take().expect("a pipe")).read_line(&mut line).expect("a line");
    let address = line.split_whitespace().nth(1).expect("an address");
    // 150 kB take 3 s.
    let text = "a".repeat(150_000);
    let arguments = ["--ping", "0.1", "--pong-timeout", "0.5"];
    let output = connect(&[&[format!("{address}/echo").as_str()], &arguments[..]].concat(), &text);
    relay.kill().expect("it runs");
    relay.wait().expect("it ends");
    assert_eq!(stdout(&output), format!("Echo: {text}\n"), "{}", stderr(&output));
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
}

#[test]
fn a_first_attempt_that_fails_is_repeated() {
    // The first answer is none.
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("bound");
    let mut child = start(&[&format!("{address}/echo"), "--reconnect", "--lang", "en"]);
    drop(listener.accept().expect("a client"));
    let mut errors = BufReader::new(child.stderr.take().expect("a pipe")).lines();
    let mut next = || errors.next().expect("another line").expect("text");
    assert!(next().starts_with("error: "));
    assert_eq!(next(), "Connecting again in 1 s");
    drop(listener.accept().expect("a client"));
    assert!(next().starts_with("error: "));
    assert_eq!(next(), "Connecting again in 2 s");
    drop(listener);
    let port = address.port().to_string();
    let _serve =
        Serve::start_with(&mut framewise(&["serve", "--host", "127.0.0.1", "--port", &port]));
    child.stdin.take().expect("a pipe").write_all(b"um\n").expect("a pipe");
    assert_eq!(stdout(&child.wait_with_output().expect("it ends")), "Echo: um\n");
    // Without the flag it is not repeated. (tls.rs: with it neither, if the server cannot be verified.)
    let nobody = TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("bound");
    assert_eq!(connect(&[nobody.to_string().as_str()], "").status.code(), Some(1));
}

#[test]
fn lines_without_a_connection_are_reported() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("bound").to_string();
    let mut child = start(&[&address, "--lang", "en", "-x", "um", "-x", "dois"]);
    drop(child.stdin.take());
    drop(listener.accept().expect("a client"));
    let output = child.wait_with_output().expect("it ends");
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("lines: 2 or more"));
}

/// Lines that were sent may be lost together with the connection. Nobody knows, so the client says so and fails.
#[test]
fn lines_that_nobody_has_confirmed_are_reported() {
    for options in [&[][..], &["--reconnect"]] {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("bound").to_string();
        let mut child = start(&[&[address.as_str(), "--lang", "en"], options].concat());
        child.stdin.take().expect("piped").write_all(b"um\ndois\n").expect("it reads");
        let (mut stream, _) = listener.accept().expect("a client");
        let mut request = Vec::new();
        while !request.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            stream.read_exact(&mut byte).expect("a request");
            request.push(byte[0]);
        }
        let request = String::from_utf8(request).expect("text");
        let key = request.split("Sec-WebSocket-Key: ").nth(1).expect("a key");
        let accept = framewise::protocol::handshake::key::accept_key(&key[..24]);
        let response = format!(
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Accept: {accept}\r\n\r\n"
        );
        stream.write_all(response.as_bytes()).expect("a client");
        // Both lines and the ping after them, of which the server takes no notice.
        let mut lines = [0; 8 + 10 + 29];
        stream.read_exact(&mut lines).expect("two lines and a ping");
        drop(stream);
        let output = child.wait_with_output().expect("it ends");
        let said = stderr(&output);
        assert!(said.contains("The server has not confirmed that it read everything"), "{said}");
        assert_eq!(output.status.code(), Some(3), "{said}");
    }
}
