//! `framewise serve --record`, and what `export` and `replay` make of the recording.

mod support;

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;
use support::{KEY, PATIENCE, SERVE, Serve, framewise, handshake, line_with};

/// Returns the path of a file that does not exist yet.
fn new_file(name: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    let _ = fs::remove_file(&path);
    path
}

fn text(path: &Path) -> &str {
    path.to_str().expect("a path in UTF-8")
}

/// Stops a server, so that its recording is whole.
fn stop(mut serve: Serve) {
    serve.signal("TERM");
    assert!(serve.wait().success());
}

/// The lines of a recording.
fn lines(path: &Path) -> Vec<Value> {
    let recording = fs::read_to_string(path).expect("a recording");
    let line = |line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{line}: {error}"));
    recording.lines().map(line).collect()
}

fn bytes(line: &Value) -> Vec<u8> {
    let hex = line["hex"].as_str().expect("bytes");
    assert_eq!(line["length"], hex.len() / 2);
    (0..hex.len() / 2)
        .map(|at| u8::from_str_radix(&hex[2 * at..2 * at + 2], 16).expect("digits"))
        .collect()
}

/// All bytes of one direction of a connection.
fn all(lines: &[Value], connection: u64, event: &str) -> Vec<u8> {
    let of_it = lines.iter().filter(|line| line["connection"] == connection);
    of_it.filter(|line| line["event"] == event).flat_map(bytes).collect()
}

/// A client that sends these bytes as they are.
fn open(serve: &Serve, bytes: &[u8]) -> TcpStream {
    let mut stream = TcpStream::connect(serve.address).expect("it listens");
    stream.set_read_timeout(Some(PATIENCE)).expect("a socket");
    stream.set_nodelay(true).expect("a socket");
    stream.write_all(bytes).expect("a socket");
    stream
}

/// Reads until what was read ends with `end`.
fn read_until(stream: &mut TcpStream, end: &[u8]) -> Vec<u8> {
    let mut read = Vec::new();
    while !read.ends_with(end) {
        let mut byte = [0];
        assert_eq!(stream.read(&mut byte).expect("a socket"), 1, "{}", read.escape_ascii());
        read.push(byte[0]);
    }
    read
}

const HELLO: &[u8] = b"\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58";

/// Waits until so many connections were closed in a recording.
fn wait_for_closed(path: &Path, count: usize) {
    let deadline = std::time::Instant::now() + PATIENCE;
    loop {
        let recording = fs::read_to_string(path).expect("a recording");
        if recording.matches(r#""event":"close""#).count() >= count {
            return;
        }
        assert!(std::time::Instant::now() < deadline, "{recording}");
        std::thread::yield_now();
    }
}

/// Every read and every write is there, in order, with the bytes that went over the wire, except for the secrets.
#[test]
fn a_recording_has_every_byte_and_no_secret() {
    let file = new_file("every-byte.jsonl");
    let (serve, log) =
        Serve::start_logged(&["--record", text(&file), "--token", "segredo", "--lang", "en"]);
    line_with(&log, "--record: the recording has the text of all messages");
    let request = handshake("/echo?token=segredo&a=b", serve.address, KEY).replace(
        "\r\n\r\n",
        "\r\nCookie: id=segredo\r\nReferer: http://h/?token=segredo\r\nOrigin: http://h\r\n\r\n",
    );
    // The name of the field and its value are in different reads.
    let (start, end) = request.split_at(request.find("okie").expect("a cookie") + 2);
    let mut stream = open(&serve, start.as_bytes());
    let mut other = open(&serve, b"GET /nowhere?token=segredo HTTP/1.1\r\nHost: ");
    // The server has read both beginnings when it has answered something else.
    let host = serve.address;
    write!(other, "{host}\r\nAuthorization: Bearer segredo\r\n\r\n").expect("a socket");
    let mut refusal = Vec::new();
    other.read_to_end(&mut refusal).expect("a socket");
    drop(other);
    stream.write_all(end.as_bytes()).expect("a socket");
    let mut received = read_until(&mut stream, b"\r\n\r\n");
    stream.write_all(&HELLO[..3]).expect("a socket");
    assert!(serve.json("/health")["status"] == "ok");
    stream.write_all(&HELLO[3..]).expect("a socket");
    received.extend(read_until(&mut stream, b"Echo: Hello"));
    stream.write_all(b"\x88\x82\0\0\0\0\x03\xe8").expect("a socket");
    stream.read_to_end(&mut received).expect("a socket");
    let address = stream.local_addr().expect("an address");
    drop(stream);
    wait_for_closed(&file, 3);
    stop(serve);

    let lines = lines(&file);
    assert_eq!(lines[0]["framewise_recording"], 1);
    assert!(lines[0]["started"].as_str().is_some_and(|time| time.ends_with('Z')));
    assert_eq!(lines[0]["listening"][0], host.to_string());
    assert_eq!(lines[lines.len() - 1]["reason"], "stopped");
    let times: Vec<u64> =
        lines[1..].iter().map(|line| line["us"].as_u64().expect("a time")).collect();
    assert!(times.is_sorted());
    let opened = lines.iter().find(|line| line["event"] == "open").expect("a connection");
    assert_eq!(opened["address"], address.to_string());
    let marked = request
        .replace("token=segredo", "token=*******")
        .replace("Cookie: id=segredo", "Cookie: **********");
    let frames = [HELLO, b"\x88\x82\0\0\0\0\x03\xe8"].concat();
    assert_eq!(all(&lines, 1, "in"), [marked.as_bytes(), &frames].concat());
    assert_eq!(all(&lines, 1, "out"), received);
    assert_eq!(all(&lines, 2, "out"), refusal);
    let reads: Vec<_> = lines
        .iter()
        .filter(|line| line["connection"] == 1 && line["event"] == "in")
        .map(bytes)
        .collect();
    assert!(reads.contains(&HELLO[..3].to_vec()) && reads.contains(&HELLO[3..].to_vec()));
    let closed = lines.iter().find(|line| line["event"] == "close" && line["connection"] == 1);
    assert_eq!(closed.expect("it closed")["code"], 1000);
    for event in ["in", "out"] {
        for connection in 1..=3 {
            let bytes = all(&lines, connection, event);
            let shown = String::from_utf8_lossy(&bytes);
            assert!(!shown.is_empty() && !shown.contains("segredo"), "{shown}");
        }
    }
}

#[cfg(unix)]
#[test]
fn a_recording_is_private_and_overwrites_nothing() {
    use std::os::unix::fs::PermissionsExt;

    let file = new_file("private.jsonl");
    let mut command = Command::new("sh");
    command.args(["-c", "umask 0; exec \"$0\" \"$@\""]).arg(framewise(&[]).get_program());
    let command = command.args(SERVE).args(["--record", text(&file)]);
    stop(Serve::start_with(command));
    let mode = fs::metadata(&file).expect("a file").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);

    let before = fs::read(&file).expect("a file");
    let link = new_file("link.jsonl");
    std::os::unix::fs::symlink(new_file("elsewhere.jsonl"), &link).expect("a link");
    for path in [&file, &link] {
        for (lang, expected) in [("en", "exists already"), ("pt", "já existe")] {
            let output = framewise(&SERVE)
                .args(["--record", text(path), "--lang", lang])
                .output()
                .expect("it ends");
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            assert!(said.contains(expected) && said.contains(text(path)), "{said}");
            assert_eq!(output.status.code(), Some(1));
        }
    }
    assert_eq!(fs::read(&file).expect("a file"), before);
    assert!(!new_file("elsewhere.jsonl").exists());
    let output = framewise(&SERVE).args(["--record", "/nowhere/at/all"]).output().expect("it ends");
    assert_eq!(output.status.code(), Some(1));
}

/// Sends messages until the log says that the recording has ended, and then some more. Returns how often it says so.
fn warnings(serve: Serve, log: &std::sync::mpsc::Receiver<String>, words: &str) -> usize {
    let mut peer = serve.connect("/echo");
    let mut said = Vec::new();
    for _ in 0..1_000 {
        assert_eq!(peer.send(&"x".repeat(500)).text().len(), 506);
        said.extend(log.try_iter());
        if said.iter().any(|line| line.contains(words)) {
            break;
        }
    }
    for _ in 0..20 {
        assert_eq!(peer.send("still here").text(), "Echo: still here");
    }
    drop(peer);
    stop(serve);
    said.extend(log.iter());
    said.iter().filter(|line| line.contains("recording") && line.contains(words)).count()
}

#[test]
fn a_recording_ends_at_its_limit_and_the_class_goes_on() {
    let file = new_file("limit.jsonl");
    let (serve, log) = Serve::start_logged(&[
        "--record",
        text(&file),
        "--record-limit",
        "20000",
        "--rate",
        "0",
        "--lang",
        "en",
    ]);
    assert_eq!(warnings(serve, &log, "has reached --record-limit"), 1);
    let length = fs::metadata(&file).expect("a file").len();
    assert!((18_000..=20_000).contains(&length), "{length}");
    assert_eq!(lines(&file).last().expect("lines")["reason"], "limit");
}

/// A limit of the operating system fails the write as a full disk does.
#[cfg(unix)]
#[test]
fn a_full_disk_ends_the_recording_and_the_class_goes_on() {
    let file = new_file("full.jsonl");
    let mut command = Command::new("sh");
    command.args(["-c", "trap '' XFSZ; ulimit -f 16; exec \"$0\" \"$@\""]);
    command.arg(framewise(&[]).get_program()).args(SERVE);
    command.args(["--record", text(&file), "--rate", "0", "--lang", "en"]);
    let (serve, log) = Serve::start_logged_with(&mut command);
    assert_eq!(warnings(serve, &log, "cannot be written any more"), 1);
    let length = fs::metadata(&file).expect("a file").len();
    assert!((4_000..=16_384).contains(&length), "{length}");
}
