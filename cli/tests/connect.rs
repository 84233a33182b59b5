//! `framewise connect` in a pipe, with plain shell around it.

mod support;

use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::process::{Child, Output, Stdio};

use serde_json::Value;
use support::{Serve, framewise};

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
    let serve = Serve::start(&["--rate", "0"]);
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
    let serve = Serve::start(&["--max-message", "4000000", "--rate", "0"]);
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
