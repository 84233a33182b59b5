//! `framewise serve --record`, and what `export` and `replay` make of the recording.

mod support;

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::Command;

use framewise::lang::Lang;
use framewise::protocol::violation::Violation;
use serde_json::Value;
use support::{
    HELLO, KEY, PATIENCE, SERVE, Serve, framewise, handshake, line_with, open, read_until,
};

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
    write!(other, "{host}\r\nAuthorization: Bearer segredo\r\nConnection: close\r\n\r\n")
        .expect("a socket");
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

/// The teacher watches the class while it is recorded. That is no second copy of the class in the recording.
#[test]
fn wire_pages_are_left_out() {
    let file = new_file("watched.jsonl");
    let serve = Serve::start(&["--record", text(&file), "--wire", "--lang", "en"]);
    let host = serve.address;
    // A browser asks for something else on the same connection before.
    let mut browser =
        open(&serve, format!("GET /health HTTP/1.1\r\nHost: {host}\r\n\r\n").as_bytes());
    read_until(&mut browser, b"}");
    let request = format!("GET /wire/?secret HTTP/1.1\r\nHost: {host}\r\n\r\n");
    browser.write_all(request.as_bytes()).expect("a socket");
    read_until(&mut browser, b"\r\n\r\n");
    let mut viewer = serve.connect("/wire");
    assert_eq!(viewer.json()["type"], "hello");
    let mut member = serve.connect("/echo");
    for n in 0..50 {
        assert_eq!(member.send(&format!("olá {n}")).text(), format!("Echo: olá {n}"));
    }
    while !viewer.text().contains("Echo: olá 49") {}
    // A request that arrives in two reads, of which the first one could be any.
    let (start, end) = request.split_at(7);
    let mut slow = open(&serve, start.as_bytes());
    assert_eq!(serve.json("/health")["status"], "ok");
    slow.write_all(end.as_bytes()).expect("a socket");
    read_until(&mut slow, b"\r\n\r\n");
    drop((browser, viewer, member, slow));
    wait_for_closed(&file, 5);
    stop(serve);
    let lines = lines(&file);
    let of = |connection: u64| -> Vec<&str> {
        let of_it = lines.iter().filter(|line| line["connection"] == connection);
        of_it.map(|line| line["event"].as_str().expect("an event")).collect()
    };
    let response = all(&lines, 1, "out");
    assert!(response.starts_with(b"HTTP/1.1 200 OK\r\n") && response.ends_with(b"}"));
    assert!(all(&lines, 1, "in").starts_with(b"GET /health HTTP/1.1\r\n"));
    assert!(!String::from_utf8_lossy(&all(&lines, 1, "in")).contains("wire"));
    assert_eq!((of(2), of(4)), (vec!["open", "close"], vec!["open", "in", "close"]));
    assert_eq!(all(&lines, 4, "in"), start.as_bytes());
    assert!(String::from_utf8_lossy(&all(&lines, 3, "out")).contains("Echo: olá 49"));
    let size = fs::metadata(&file).expect("a file").len();
    assert!(size < 50_000, "{size} bytes are more than the class has said");
    // What is left is whole for the other commands.
    let serve = Serve::start(&["--lang", "en"]);
    let ignored = ["--fast", "--ignore", "uptime_seconds", "--ignore", "connections"];
    let (code, said, errors) = replay(&file, serve.address, &ignored);
    assert_eq!(code, 0, "{said}{errors}");
}

/// On a connection that is kept, every head is found: those of later requests, also if several arrive at once or a secret is
/// split, and those of responses without a body.
#[test]
fn secrets_of_later_requests_of_a_connection_are_not_recorded() {
    let file = new_file("kept.jsonl");
    let serve = Serve::start(&["--record", text(&file), "--token", "segredo", "--lang", "en"]);
    let host = serve.address;
    let request = |method: &str| {
        format!(
            "{method} /health?token=segredo HTTP/1.1\r\nHost: {host}\r\nCookie: id=segredo\r\n\
             Authorization: Bearer segredo\r\nReferer: http://{host}/?token=segredo\r\n\r\n"
        )
    };
    // A HEAD and a GET at once, then a GET in two pieces, then a WebSocket.
    let both = [request("HEAD"), request("GET")].concat();
    let mut stream = open(&serve, both.as_bytes());
    let mut received = read_until(&mut stream, b"\r\n\r\n");
    received.extend(read_until(&mut stream, b"\"}"));
    let third = request("GET");
    let (start, end) = third.split_at(third.find("gredo").expect("a token"));
    stream.write_all(start.as_bytes()).expect("a socket");
    // The server has read the beginning when it has answered something else.
    assert!(serve.http("/health?token=segredo", "").contains("200 OK"));
    stream.write_all(end.as_bytes()).expect("a socket");
    received.extend(read_until(&mut stream, b"\"}"));
    let fourth = handshake("/echo?token=segredo", host, KEY)
        .replace("\r\n\r\n", "\r\nSec-WebSocket-Protocol: bearer, segredo\r\n\r\n");
    stream.write_all(fourth.as_bytes()).expect("a socket");
    received.extend(read_until(&mut stream, b"\r\n\r\n"));
    // What a person writes is no head.
    let message = b"\x81\x8c\0\0\0\0Cookie: a\r\n\n";
    stream.write_all(message).expect("a socket");
    received.extend(read_until(&mut stream, b"Echo: Cookie: a\r\n\n"));
    drop(stream);
    // A refusal quotes the target.
    let mut other = open(&serve, request("GET").as_bytes());
    let mut refused = read_until(&mut other, b"\"}");
    let plain = format!("GET /echo?token=segredo# HTTP/1.1\r\nHost: {host}\r\n\r\n");
    other.write_all(plain.as_bytes()).expect("a socket");
    other.read_to_end(&mut refused).expect("a socket");
    drop(other);
    wait_for_closed(&file, 3);
    stop(serve);

    let lines = lines(&file);
    let marked = |text: &str| {
        text.replace("token=segredo", "token=*******")
            .replace("id=segredo", "**********")
            .replace("Bearer segredo", "**************")
            .replace("bearer, segredo", "bearer, *******")
    };
    let sent = marked(&format!("{both}{third}{fourth}"));
    assert_eq!(all(&lines, 1, "in"), [sent.as_bytes(), message].concat());
    // The reads are as long as without redaction.
    let of_kept = lines.iter().filter(|line| line["connection"] == 1 && line["event"] == "in");
    let lengths: Vec<_> = of_kept.map(|line| bytes(line).len()).collect();
    assert!(lengths.contains(&start.len()) && lengths.contains(&end.len()), "{lengths:?}");
    assert_eq!(all(&lines, 1, "out"), received);
    let refused = String::from_utf8(refused).expect("text");
    let (quoted, hidden) = ("found: /echo?token=segredo#\n", "found: /echo?token*********\n");
    assert!(refused.contains(quoted), "{refused}");
    let recorded = all(&lines, 3, "out");
    assert_eq!(String::from_utf8_lossy(&recorded), refused.replace(quoted, hidden));
    let whole = fs::read_to_string(&file).expect("a recording");
    assert!(!whole.contains("7365677265646f"), "segredo in hexadecimal");
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
    assert_eq!(warnings(serve, &log, "the class goes on bytes=20000"), 1);
    let length = fs::metadata(&file).expect("a file").len();
    assert!((18_000..=20_000).contains(&length), "{length}");
    assert_eq!(lines(&file).last().expect("lines")["reason"], "limit");
}

/// Returns framewise, which the operating system lets write files of 8 KiB or, in some shells, 16 KiB. What is longer fails as on
/// a full disk, and also sends SIGXFSZ, which ends a process that does not handle it.
#[cfg(unix)]
fn with_short_files(arguments: &[&str]) -> Command {
    let mut command = Command::new("sh");
    command.args(["-c", "ulimit -f 16; exec \"$0\" \"$@\""]);
    command.arg(framewise(&[]).get_program()).args(arguments);
    command
}

#[cfg(unix)]
#[test]
fn a_full_disk_ends_the_recording_and_the_class_goes_on() {
    let file = new_file("full.jsonl");
    let mut command = with_short_files(&SERVE);
    command.args(["--record", text(&file), "--rate", "0", "--lang", "en"]);
    let (serve, log) = Serve::start_logged_with(&mut command);
    assert_eq!(warnings(serve, &log, "cannot be written any more"), 1);
    let length = fs::metadata(&file).expect("a file").len();
    assert!((4_000..=16_384).contains(&length), "{length}");
}

#[cfg(unix)]
#[test]
fn an_export_to_a_full_disk_fails_and_leaves_nothing() {
    let file = conversation("full-export.jsonl");
    for format in ["--pcap", "--har", "--html"] {
        let target = new_file("target.full");
        let mut command = with_short_files(&["export", format, text(&file), "-o", text(&target)]);
        let output = command.output().expect("it ends");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(1), "{format} {said}");
        assert!(said.contains("target.full: File too large"), "{said}");
        assert!(!target.exists(), "{format}");
    }
}

/// Runs `framewise export`.
fn export(arguments: &[&str]) -> std::process::Output {
    framewise(&["export"]).args(arguments).output().expect("it ends")
}

fn exported(arguments: &[&str]) -> Vec<u8> {
    let output = export(arguments);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

/// A frame from a client, masked.
fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let key = [1, 2, 3, 4];
    let mut frame = vec![first];
    match payload.len() {
        short @ 0..=125 => frame.push(0x80 | short as u8),
        long => frame.extend([&[0xfe][..], &(long as u16).to_be_bytes()].concat()),
    }
    frame.extend(key);
    frame.extend(payload.iter().zip(key.iter().cycle()).map(|(byte, key)| byte ^ key));
    frame
}

const SCRIPT: &str = "<script>alert('x')</script><img src=x onerror=\"alert(1)\">&amp;";

/// Records a conversation: fragments, pings, a binary message, markup, a long message, a request for a page, a broken frame,
/// and a connection that says nothing.
fn conversation(name: &str) -> PathBuf {
    let file = new_file(name);
    let serve = Serve::start(&["--record", text(&file)]);
    let request = handshake("/echo?q=%C3%A1+b&<b>", serve.address, KEY);
    let request = request.replace("\r\n\r\n", &format!("\r\nX-Note: {SCRIPT}\r\n\r\n"));
    let mut stream = open(&serve, request.as_bytes());
    read_until(&mut stream, b"\r\n\r\n");
    stream.write_all(&frame(0x01, b"Ol")).expect("a socket");
    stream.write_all(&frame(0x89, b"ping")).expect("a socket");
    read_until(&mut stream, b"\x8a\x04ping");
    stream.write_all(&frame(0x80, "á".as_bytes())).expect("a socket");
    read_until(&mut stream, "Echo: Olá".as_bytes());
    stream.write_all(&frame(0x82, b"\x00\xff")).expect("a socket");
    read_until(&mut stream, b"\x82\x02\x00\xff");
    stream.write_all(&frame(0x81, SCRIPT.as_bytes())).expect("a socket");
    read_until(&mut stream, SCRIPT.as_bytes());
    let long = "á<".repeat(2_000);
    stream.write_all(&frame(0x81, long.as_bytes())).expect("a socket");
    read_until(&mut stream, long.as_bytes());
    stream.write_all(b"\x81\x05Hello").expect("a socket");
    stream.read_to_end(&mut Vec::new()).expect("a socket");
    drop(stream);
    assert!(serve.http("/", "Accept: text/html\r\n").contains("</html>"));
    drop(open(&serve, b""));
    wait_for_closed(&file, 3);
    stop(serve);
    file
}

/// RFC 791, RFC 9293: the packets of a capture are whole, and hold exactly the bytes of the recording.
#[test]
fn a_capture_has_the_bytes_of_the_recording_in_correct_packets() {
    let file = conversation("capture.jsonl");
    let capture = exported(&["--pcap", text(&file)]);
    let word = |at: usize| u32::from_le_bytes(capture[at..at + 4].try_into().expect("4 bytes"));
    assert_eq!((word(0), word(20)), (0xa1b2_c3d4, 101));
    let mut at = 24;
    let mut packets = Vec::new();
    while at < capture.len() {
        let length = word(at + 8) as usize;
        assert_eq!(word(at + 12) as usize, length);
        packets.push(&capture[at + 16..at + 16 + length]);
        at += 16 + length;
    }
    let sum = |bytes: &[u8]| {
        let words =
            bytes.chunks(2).map(|w| u64::from(w[0]) << 8 | u64::from(*w.get(1).unwrap_or(&0)));
        words.sum::<u64>() % 0xffff
    };
    // The ports of a segment are its direction; each has the number of its next byte.
    let mut streams = std::collections::HashMap::<[u8; 4], (u32, Vec<u8>)>::new();
    let mut flags = Vec::new();
    for packet in packets {
        assert_eq!((packet[0], packet[9], sum(&packet[..20])), (0x45, 6, 0));
        assert_eq!(u16::from_be_bytes([packet[2], packet[3]]) as usize, packet.len());
        let tcp = &packet[20..];
        let pseudo = [&packet[12..20], &[0, 6], &(tcp.len() as u16).to_be_bytes()].concat();
        assert_eq!(sum(&[&pseudo[..], tcp].concat()), 0);
        let number = |at: usize| u32::from_be_bytes(tcp[at..at + 4].try_into().expect("4 bytes"));
        let ports: [u8; 4] = tcp[..4].try_into().expect("4 bytes");
        let payload = &tcp[usize::from(tcp[12] >> 4) * 4..];
        assert!(payload.len() <= 1_460);
        let back = [ports[2], ports[3], ports[0], ports[1]];
        if tcp[13] & 0x10 != 0 {
            assert_eq!(Some(number(8)), streams.get(&back).map(|stream| stream.0));
        }
        let stream = streams.entry(ports).or_insert((number(4), Vec::new()));
        assert_eq!(stream.0, number(4));
        let counts = u32::from(tcp[13] & 0x03 != 0);
        stream.0 = stream.0.wrapping_add(payload.len() as u32 + counts);
        stream.1.extend(payload);
        flags.push(tcp[13]);
    }
    assert_eq!(flags.iter().filter(|&&flags| flags == 0x02).count(), 3);
    assert_eq!(flags.iter().filter(|&&flags| flags == 0x11).count(), 6);
    let lines = lines(&file);
    for connection in 1..=3 {
        let opened = lines.iter().find(|line| line["connection"] == connection).expect("it opens");
        let port: u16 = opened["address"]
            .as_str()
            .and_then(|a| a.rsplit_once(':'))
            .expect("a port")
            .1
            .parse()
            .expect("a port");
        for (ports, (_, bytes)) in &streams {
            let [from, to] = [0, 2].map(|at| u16::from_be_bytes([ports[at], ports[at + 1]]));
            if from == port {
                assert_eq!(*bytes, all(&lines, connection, "in"));
            } else if to == port {
                assert_eq!(*bytes, all(&lines, connection, "out"));
            }
        }
    }
}

#[test]
fn an_archive_has_requests_responses_and_messages() {
    let file = conversation("archive.jsonl");
    let archive: Value = serde_json::from_slice(&exported(&["--har", text(&file)])).expect("JSON");
    let log = &archive["log"];
    assert_eq!(log["version"], "1.2");
    assert!(log["comment"].as_str().is_some_and(|comment| comment.starts_with("1 connections")));
    let entries = log["entries"].as_array().expect("entries");
    assert_eq!(entries.len(), 2);
    let [socket, page] = [&entries[0], &entries[1]];
    assert_eq!(socket["response"]["status"], 101);
    let url = socket["request"]["url"].as_str().expect("a URL");
    assert!(url.starts_with("ws://127.0.0.1:") && url.ends_with("/echo?q=%C3%A1+b&<b>"), "{url}");
    assert_eq!(
        socket["request"]["queryString"][0],
        serde_json::json!({"name": "q", "value": "á b"})
    );
    let messages = socket["_webSocketMessages"].as_array().expect("messages");
    let message = |at: usize| {
        let message = &messages[at];
        let string = |field: &str| message[field].as_str().expect("a string").to_owned();
        (string("type"), message["opcode"].as_u64().expect("a number"), string("data"))
    };
    assert_eq!(message(0), ("send".into(), 1, "Olá".into()));
    assert_eq!(message(1), ("receive".into(), 1, "Echo: Olá".into()));
    assert_eq!(message(2), ("send".into(), 2, "AP8=".into()));
    assert_eq!(message(4), ("send".into(), 1, SCRIPT.into()));
    assert_eq!(messages.len(), 8);
    assert!(
        messages.is_sorted_by_key(|message| message["time"].as_f64().expect("a time").to_bits())
    );
    assert_eq!(page["response"]["status"], 200);
    let content = &page["response"]["content"];
    assert!(content["mimeType"].as_str().is_some_and(|kind| kind.starts_with("text/html")));
    assert!(content["text"].as_str().is_some_and(|text| text.contains("</html>")));
    assert_eq!(content["size"], content["text"].as_str().expect("text").len());
}

/// Records a connection with a HEAD, a page that is not there, a refused path and an echo, in this order.
fn kept_connection(name: &str) -> PathBuf {
    let file = new_file(name);
    let serve = Serve::start(&["--record", text(&file), "--token", "segredo", "--lang", "en"]);
    let host = serve.address;
    let request = |method: &str, path: &str| {
        format!("{method} {path} HTTP/1.1\r\nHost: {host}\r\nCookie: id=segredo\r\n\r\n")
    };
    let mut stream = open(&serve, request("HEAD", "/health?token=segredo").as_bytes());
    read_until(&mut stream, b"\r\n\r\n");
    for path in ["/nowhere", "/asyncapi.json?token=segredo"] {
        // The other one is sent before the response to this one is read.
        stream.write_all(request("GET", path).as_bytes()).expect("a socket");
    }
    read_until(&mut stream, b" 404 Not Found\r\n");
    read_until(&mut stream, b" 200 OK\r\n");
    let handshake = handshake("/echo?token=segredo", host, KEY);
    stream.write_all(handshake.as_bytes()).expect("a socket");
    read_until(&mut stream, b"HTTP/1.1 101 Switching Protocols\r\n");
    read_until(&mut stream, b"\r\n\r\n");
    stream.write_all(HELLO).expect("a socket");
    read_until(&mut stream, b"Echo: Hello");
    stream.write_all(b"\x88\x82\0\0\0\0\x03\xe8").expect("a socket");
    stream.read_to_end(&mut Vec::new()).expect("a socket");
    drop(stream);
    wait_for_closed(&file, 1);
    stop(serve);
    file
}

/// Each request of a connection has an entry of its own, with its own response, and the messages are on that of the handshake.
#[test]
fn an_archive_has_every_request_of_a_connection() {
    let file = kept_connection("kept-archive.jsonl");
    let archive: Value = serde_json::from_slice(&exported(&["--har", text(&file)])).expect("JSON");
    let entries = archive["log"]["entries"].as_array().expect("entries");
    let shown: Vec<_> = entries
        .iter()
        .map(|entry| {
            let text = |value: &Value| value.as_str().expect("text").to_owned();
            let url = text(&entry["request"]["url"]);
            let path = url.splitn(4, '/').nth(3).expect("a path").to_owned();
            let (method, status) =
                (text(&entry["request"]["method"]), &entry["response"]["status"]);
            let messages = entry["_webSocketMessages"].as_array().map(Vec::len);
            (method, path, status.as_u64().expect("a status"), messages)
        })
        .collect();
    let entry = |method: &str, path: &str, status, messages| {
        (method.to_owned(), path.to_owned(), status, messages)
    };
    let expected = [
        entry("HEAD", "health?token=*******", 200, None),
        entry("GET", "nowhere", 404, None),
        entry("GET", "asyncapi.json?token=*******", 200, None),
        entry("GET", "echo?token=*******", 101, Some(2)),
    ];
    assert_eq!(shown, expected);
    let body = |at: usize| entries[at]["response"]["content"]["text"].as_str().unwrap_or_default();
    assert_eq!(body(0), "", "the response to a HEAD has no body");
    assert!(!body(1).contains("HTTP/1.1"), "{}", body(1));
    let document: Value = serde_json::from_str(body(2)).expect("one JSON document and no more");
    assert!(document["asyncapi"].is_string(), "{document}");
    assert_eq!(entries[3]["_webSocketMessages"][1]["data"], "Echo: Hello");
}

#[test]
fn a_page_explains_every_request_of_a_connection() {
    let file = kept_connection("kept-page.jsonl");
    let page = exported(&["--html", text(&file), "--lang", "en"]);
    let page = String::from_utf8(page).expect("text");
    // A head that breaks no rule looks like a frame that breaks none.
    for (verdict, count) in [
        ("=&gt; valid: plain HTTP", 6),
        ("=&gt; valid: part of an opening handshake", 2),
        ("=&gt; valid", 12),
    ] {
        let found = page.matches(&format!("<p class=\"valid\">{verdict}")).count();
        assert_eq!(found, count, "{verdict}: {page}");
    }
    assert!(!page.contains("not read") && !page.contains("class=\"broken\""), "{page}");
    // The response to the HEAD has no body, so the next response is none.
    assert!(!page.contains("<pre class=\"body\">HTTP/1.1"), "{page}");
    // It has a WebSocket, so it is open.
    assert!(page.contains("<details id=\"c1\" open>"), "{page}");
    let hello = page.rfind("&#39;Echo: Hello&#39;").expect("a message");
    assert!(page.find("&quot;asyncapi&quot;").is_some_and(|at| at < hello), "{page}");
}

/// Several requests on one connection are replayed on one connection, and each body is compared with its own.
#[test]
fn every_request_of_a_connection_is_replayed() {
    let file = kept_connection("kept-replay.jsonl");
    let serve = Serve::start(&["--token", "o utro&", "--lang", "en"]);
    let options = ["--fast", "--token", "o utro&"];
    let (code, said, errors) = replay(&file, serve.address, &options);
    assert_eq!(code, 0, "{said}{errors}");
    assert!(said.starts_with("No difference: 1 connections, "), "{said}");
    assert!(said.ends_with(" 6 answers compared\n"), "{said}");
    // Without a token, the handshake is refused. The pages before it need none.
    let (code, said, errors) = replay(&file, serve.address, &["--fast"]);
    assert_eq!(code, 3, "{said}");
    assert!(
        said.contains(
            "recorded: a response with status 101\n  received: a response with status 401"
        ),
        "{said}"
    );
    assert!(errors.contains("--token fills it in"), "{errors}");

    // A server that differs in a body in the middle: that is the first difference, although another one follows.
    let requests = b"GET /a HTTP/1.1\r\nHost: h\r\n\r\nGET /b HTTP/1.1\r\nHost: h\r\n\r\n\
        GET /c HTTP/1.1\r\nHost: h\r\n\r\n";
    let pages = |bodies: [&str; 3]| {
        let page =
            |body: &str| format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len());
        bodies.map(page).concat().into_bytes()
    };
    let plain = recording(
        "kept-bodies.jsonl",
        &[
            (0, 1, "open", b""),
            (1, 1, "in", requests),
            (2, 1, "out", &pages(["one", "two", "three"])),
            (3, 1, "close", b""),
        ],
    );
    for (bodies, code, found) in [
        (["one", "two", "three"], 0, "No difference"),
        (
            ["one", "tow", "other"],
            3,
            "recorded: 'wo'\n  received: 'ow'\n  they differ from byte 1 on",
        ),
        (
            ["one", "twoo", "three"],
            3,
            "recorded: ''\n  received: 'o'\n  they differ from byte 3 on",
        ),
        (["one", "two", "thre"], 3, "recorded: 'e'\n  received: ''\n  they differ from byte 4 on"),
    ] {
        let address = fake_server(pages(bodies), false);
        let (status, said, errors) = replay(&plain, address, &["--fast", "--timeout", "5"]);
        assert_eq!(status, code, "{said}{errors}");
        assert!(said.contains(found), "{said}");
    }
}

/// The body of an error quotes a token, which has another length in the replay.
#[test]
fn quotes_of_secrets_are_not_compared() {
    let file = new_file("quoted.jsonl");
    let record = ["--record", text(&file), "--token", "segredo", "--lang", "en"];
    let serve = Serve::start(&record);
    assert!(serve.http("/?token=segredo&a#", "").contains("found: /?token=segredo&a#"));
    wait_for_closed(&file, 1);
    stop(serve);
    let serve = Serve::start(&["--token", "outro", "--lang", "en"]);
    let (code, said, errors) = replay(&file, serve.address, &["--fast", "--token", "outro"]);
    assert_eq!(code, 0, "{said}{errors}");
}

#[test]
fn a_page_explains_every_frame_and_runs_nothing_that_a_peer_has_sent() {
    let file = conversation("page.jsonl");
    let page = |lang| {
        let page = exported(&["--html", text(&file), "--lang", lang]);
        String::from_utf8(page).expect("text")
    };
    let english = page("en");
    for needed in [
        "default-src 'none'; style-src 'unsafe-inline'",
        "<html lang=\"en\">",
        "&lt;script&gt;alert(&#39;x&#39;)&lt;/script&gt;",
        "base64: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=",
        "<span class=\"cell opcode\" title=\"RFC 6455 §5.2\">0001 <b>1 text</b><i>opcode</i></span>",
        "<th scope=\"row\">masking key, repeated</th><td class=\"cell key\">01</td>",
        "<p class=\"valid\">=&gt; valid</p>",
        // The frame that is not masked, and the bit that says so.
        "<span class=\"cell mask wrong\"",
        "RFC 6455 5.1: a client must mask every frame (close code 1002)",
        "not read: 48 65 6c 6c 6f",
        "the WebSocket closed with 1002",
        "more bytes are not shown",
    ] {
        assert!(english.contains(needed), "{needed}");
    }
    let portuguese = page("pt");
    for needed in ["<html lang=\"pt-BR\">", "Gravação de ", "=&gt; válido", "uma leitura de"] {
        assert!(portuguese.contains(needed), "{needed}");
    }
    for page in [english, portuguese] {
        let lower = page.to_lowercase();
        for forbidden in
            ["<script", "<img", "<b>&", "http://www", "src=\"", "url(", "@import", "<link"]
        {
            assert!(!lower.contains(forbidden), "{forbidden}");
        }
    }
}

#[test]
fn what_cannot_be_exported_is_explained() {
    let file = new_file("small.jsonl");
    let serve = Serve::start(&["--record", text(&file)]);
    assert_eq!(serve.json("/health")["status"], "ok");
    wait_for_closed(&file, 1);
    stop(serve);
    let failure = |arguments: &[&str], code: i32, expected: &str| {
        let output = export(arguments);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(said.contains(expected), "{said}");
        assert_eq!(output.status.code(), Some(code), "{said}");
        assert!(output.stdout.is_empty());
    };
    failure(&["--pcap", "/nowhere.jsonl"], 1, "/nowhere.jsonl");
    failure(&["--har", "Cargo.toml"], 1, "Cargo.toml is not a recording");
    failure(&["--har", "Cargo.toml", "--lang", "pt"], 1, "Cargo.toml não é uma gravação");
    failure(&[text(&file)], 2, "required");
    failure(&["--har", "--pcap", text(&file)], 2, "cannot be used");
    failure(&[text(&file), "--lang", "pt"], 2, "erro: falta");
    let target = new_file("target.har");
    exported(&["--har", text(&file), "-o", text(&target)]);
    failure(&["--har", text(&file), "-o", text(&target)], 1, "exists already");
    failure(&["--pcap", text(&file), "-o", text(&file)], 1, "exists already");

    // A line that is wrong leaves no half of a result, and is named.
    let recording = fs::read_to_string(&file).expect("a recording");
    let broken = new_file("broken.jsonl");
    fs::write(&broken, recording.replacen("\"length\":", "\"length\":1", 1)).expect("a file");
    for format in ["--pcap", "--har", "--html"] {
        let target = new_file("target.broken");
        failure(&[format, text(&broken), "-o", text(&target)], 1, "broken.jsonl, line 3: length");
        assert!(!target.exists());
    }
    // A recording without an end is exported as far as it goes, which is said.
    let cut = recording.rfind("{\"event\":\"close\"").expect("a close") + 5;
    fs::write(&broken, &recording[..cut]).expect("a file");
    for format in ["--pcap", "--har", "--html"] {
        let output = export(&[format, text(&broken)]);
        assert!(output.status.success() && output.stdout.len() > 100);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(said.contains("the recording breaks off"), "{said}");
    }
    // A page has a limit, which a capture does not have.
    let read =
        format!("{{\"event\":\"in\",\"us\":1,\"connection\":1,\"length\":{0},\"hex\":\"", 1 << 20);
    let read = format!("{read}{}\"}}\n", "00".repeat(1 << 20));
    let end = recording.rfind("{\"event\":\"close\"").expect("a close");
    fs::write(&broken, format!("{}{}", &recording[..end], read.repeat(5))).expect("a file");
    failure(&["--html", text(&broken)], 1, "more than 4 MiB");
    assert!(exported(&["--pcap", text(&broken)]).len() > 5 << 20);
}

/// The result of a replay is not lost without an error.
#[test]
fn a_result_that_cannot_be_written_is_an_error() {
    let serve = Serve::start(&[]);
    let file = kept_connection("full-replay.jsonl");
    for options in [&["--fast"][..], &["--fast", "--json"]] {
        let full = fs::File::options().write(true).open("/dev/full").expect("a device");
        let output = framewise(&["replay", text(&file), &format!("ws://{}", serve.address)])
            .args(options)
            .stdout(full)
            .output()
            .expect("it runs");
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(error.starts_with("error: -: "), "{error}");
        assert_eq!(output.status.code(), Some(1));
    }
}

/// Runs `framewise replay`.
fn replay(file: &Path, address: impl std::fmt::Display, options: &[&str]) -> (i32, String, String) {
    let output = framewise(&["replay", text(file), &format!("ws://{address}")])
        .args(options)
        .env("FRAMEWISE_LANG", "en")
        .output()
        .expect("it ends");
    let text = |bytes| String::from_utf8(bytes).expect("text");
    (output.status.code().expect("a code"), text(output.stdout), text(output.stderr))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Writes a recording by hand: the time of each event in microseconds, its connection, its name and its bytes.
fn recording(name: &str, events: &[(u64, u64, &str, &[u8])]) -> PathBuf {
    let file = new_file(name);
    let mut text = r#"{"framewise_recording":1,"program":"a test","started":"2026-01-16T14:30:00Z","listening":["127.0.0.1:8765"]}"#.to_owned();
    for (us, connection, event, bytes) in events {
        let more = match *event {
            "open" => r#","address":"127.0.0.1:5000""#.to_owned(),
            "close" => String::new(),
            _ => format!(r#","length":{},"hex":"{}""#, bytes.len(), hex(bytes)),
        };
        text +=
            &format!("\n{{\"event\":\"{event}\",\"us\":{us},\"connection\":{connection}{more}}}");
    }
    text += "\n{\"event\":\"end\",\"us\":99999999999,\"reason\":\"stopped\"}\n";
    fs::write(&file, text).expect("a file");
    file
}

const RESPONSE: &[u8] =
    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
    Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";

/// An echo of "Hello", with some time between the handshake and the message.
fn echo_after(name: &str, us: u64) -> PathBuf {
    let request = handshake("/echo", "localhost:8765", KEY);
    recording(
        name,
        &[
            (0, 1, "open", b""),
            (1, 1, "in", request.as_bytes()),
            (2, 1, "out", RESPONSE),
            (us, 1, "in", HELLO),
            (us + 1, 1, "out", b"\x81\x0bEcho: Hello"),
            (us + 2, 1, "in", b"\x88\x82\0\0\0\0\x03\xe8"),
            (us + 3, 1, "out", b"\x88\x02\x03\xe8"),
            (us + 4, 1, "close", b""),
        ],
    )
}

/// A class with names, rooms, private messages, somebody who vanishes, a page and a stop: replayed on a new server, it is
/// the same, at any pace.
#[test]
fn a_class_is_replayed_without_a_difference() {
    let file = new_file("class.jsonl");
    let options = ["--token", "segredo", "--lang", "en"];
    let serve = Serve::start(&[&options[..], &["--record", text(&file)]].concat());
    let join = |name: &str| {
        let mut peer = serve.connect_as("/ws/events?token=segredo", |request| {
            request.subprotocol("framewise.classroom").expect("a name")
        });
        peer.send(&format!(r#"{{"type":"join","room":"7a","name":"{name}"}}"#));
        assert_eq!(peer.json()["type"], "joined");
        peer
    };
    let mut ana = join("ana");
    let mut bia = join("bia");
    assert_eq!(ana.json()["type"], "peer_joined");
    let mut raw = serve.connect("/ws?room=7a&token=segredo");
    assert_eq!(
        [ana.json()["type"].as_str(), bia.json()["type"].as_str()],
        [Some("peer_joined"); 2]
    );
    for round in 0..20 {
        ana.send(&format!(r#"{{"message":"olá {round}"}}"#));
        assert_eq!(bia.json()["message"], format!("olá {round}"));
        assert_eq!(raw.text(), format!("olá {round}"));
        bia.send(&format!(r#"{{"message":"só para você {round}","to":"ana"}}"#));
        assert_eq!(ana.json()["from"], "bia");
        raw.send("bruto");
        assert_eq!(ana.json()["message"], "bruto");
        assert_eq!(bia.json()["message"], "bruto");
    }
    assert!(serve.http("/asyncapi.json?token=segredo", "").contains("200 OK"));
    assert!(serve.http("/ws/events", "").starts_with("HTTP/1.1 4"));
    drop(raw);
    wait_for_closed(&file, 3);
    assert_eq!([ana.json()["type"].as_str(), bia.json()["type"].as_str()], [Some("peer_left"); 2]);
    drop(bia);
    assert_eq!(ana.json()["type"], "peer_left");
    // Ana is still there, and is told that the server goes away.
    stop_while_open(serve, ana);

    for options in [&["--fast"][..], &[], &["--speed", "4"]] {
        let serve = Serve::start(&["--token", "outro", "--lang", "en"]);
        // The second time, the messages have higher numbers.
        let ignored = ["--ignore", "timestamp", "--ignore", "seq"];
        let options = [&["--token", "outro"], &ignored[..], options].concat();
        let (code, said, errors) = replay(&file, serve.address, &options);
        assert_eq!(code, 0, "{said}{errors}");
        assert!(said.starts_with("No difference: 5 connections, "), "{said}");
        let (_, said, _) = replay(&file, serve.address, &[&options[..], &["--json"]].concat());
        let result: Value = serde_json::from_str(&said).expect("JSON");
        assert_eq!((&result["same"], &result["connections"]), (&true.into(), &5.into()));
    }
    let serve = Serve::start(&["--lang", "en"]);
    let (code, said, _) = replay(&file, serve.address, &["--fast"]);
    assert_eq!(code, 3, "without --ignore, the times differ: {said}");
    assert!(said.contains("timestamp") && said.contains("they differ from byte "), "{said}");
    let serve = Serve::start(&["--token", "outro", "--lang", "en"]);
    let (code, said, errors) = replay(&file, serve.address, &["--fast"]);
    assert_eq!(code, 3);
    assert!(said.contains("received: a response with status 401"), "{said}");
    assert!(errors.contains("--token fills it in"), "{errors}");
}

/// The page /explain sends bytes to the server on a connection of the server itself, whose port is another one each time.
#[test]
fn what_the_explain_page_has_sent_is_replayed_once() {
    let file = new_file("explain.jsonl");
    let serve = Serve::start(&["--record", text(&file), "--lang", "en"]);
    let mut page = serve.connect("/explain/ws");
    page.send(r#"{"type": "send", "id": 1, "path": "/echo", "input": "81 85 37 fa 21 3d 7f 9f 4d 51 58"}"#);
    loop {
        let received = page.json();
        assert_eq!(received["type"], "received", "{received}");
        if !received["ended"].is_null() {
            assert!(received["request"].to_string().contains(&serve.address.to_string()));
            break;
        }
    }
    drop(page);
    wait_for_closed(&file, 2);
    stop(serve);
    let serve = Serve::start(&["--lang", "en"]);
    let (code, said, errors) = replay(&file, serve.address, &["--fast"]);
    assert_eq!(code, 0, "{said}{errors}");
    assert!(said.starts_with("No difference: 1 connections, "), "{said}");
    assert!(
        said.ends_with(" 2 answers compared\n1 connections of the page /explain are left out\n"),
        "{said}"
    );
    let (_, said, _) = replay(&file, serve.address, &["--fast", "--json"]);
    assert!(said.contains(r#""left_out":1"#), "{said}");
}

/// Stops a server and then closes a client, which does not know about it.
fn stop_while_open(mut serve: Serve, peer: support::Peer) {
    serve.signal("TERM");
    let mut peer = peer;
    assert_eq!(peer.closed().code.0, 1001);
    assert!(serve.wait().success());
}

/// A server that differs in one thing, which the report names.
#[test]
fn the_first_difference_is_reported() {
    let file = echo_after("difference.jsonl", 10);
    let serve = Serve::start(&[]);
    let (code, said, _) = replay(&file, serve.address, &["--fast"]);
    assert_eq!(code, 0, "{said}");
    assert!(said.starts_with("No difference: 1 connections, "), "{said}");
    assert!(said.ends_with(" bytes sent, 3 answers compared\n"), "{said}");

    let response = String::from_utf8(RESPONSE.to_vec()).expect("text");
    let other_field = response.replace("Connection: Upgrade", "Connection: upgrade");
    let hello = b"\x81\x0bEcho: Hello";
    let close = b"\x88\x02\x03\xe8";
    let server = |parts: &[&[u8]], stays: bool| fake_server(parts.concat(), stays);
    for (answer, stays, recorded, received) in [
        (
            (vec![RESPONSE, b"\x81\x0bEcho: Hallo"]),
            true,
            "text 'Echo: Hello'",
            "text 'Echo: Hallo'\n  they differ from byte 7 on",
        ),
        (
            (vec![RESPONSE, b"\x82\x0bEcho: Hello"]),
            true,
            "text 'Echo: Hello'",
            "binary 45 63 68 6f",
        ),
        (
            (vec![RESPONSE, b"\x01\x0bEcho: Hello"]),
            true,
            "text 'Echo: Hello'",
            "FIN=0 text 'Echo: Hello'",
        ),
        ((vec![RESPONSE, hello, b"\x88\x02\x03\xe9"]), true, "close 1000", "close 1001"),
        ((vec![RESPONSE, hello, hello]), true, "close 1000", "text 'Echo: Hello'"),
        ((vec![other_field.as_bytes()]), true, "connection: Upgrade", "connection: upgrade"),
        (
            (vec![b"HTTP/1.1 403 Forbidden\r\n\r\n".as_slice()]),
            false,
            "a response with status 101",
            "a response with status 403",
        ),
        (
            (vec![RESPONSE]),
            false,
            "text 'Echo: Hello'",
            "nothing: the server has closed the connection",
        ),
        ((vec![RESPONSE]), true, "text 'Echo: Hello'", "nothing within 1 s"),
        (
            (vec![RESPONSE, hello, close]),
            true,
            "the server closes the connection",
            "the server has not closed the connection within 1 s",
        ),
        (
            (vec![RESPONSE, hello, close, b"more"]),
            false,
            "''",
            "'more'\n  they differ from byte 0 on",
        ),
    ] {
        let address = server(&answer, stays);
        let (code, said, errors) = replay(&file, address, &["--fast", "--timeout", "1"]);
        assert_eq!(code, 3, "{received}: {said}{errors}");
        let lines = format!("  recorded: {recorded}\n  received: {received}");
        assert!(
            said.starts_with("Difference on connection 1 (client 127.0.0.1:5000), 0.0000"),
            "{said}"
        );
        assert!(said.contains(&lines), "{said} is not\n{lines}");
    }
    let address = server(&[RESPONSE, b"\x81\x0bEcho: Hallo"], true);
    let (code, said, _) = replay(&file, address, &["--fast", "--lang", "pt"]);
    assert_eq!(code, 3);
    assert!(
        said.contains(
            "  gravado:  text 'Echo: Hello'\n  recebido: text 'Echo: Hallo'\n  eles diferem"
        ),
        "{said}"
    );
    let address = server(&[RESPONSE, b"\x81\x0bEcho: Hallo"], true);
    let (code, said, _) = replay(&file, address, &["--fast", "--json"]);
    let result: Value = serde_json::from_str(&said).expect("JSON");
    assert_eq!((code, &result["same"], &result["at"]), (3, &false.into(), &7.into()));

    // The server sends something where the recording has nothing.
    let request = handshake("/echo", "localhost:8765", KEY);
    let silent = recording(
        "silent.jsonl",
        &[
            (0, 1, "open", b""),
            (1, 1, "in", request.as_bytes()),
            (2, 1, "out", RESPONSE),
            (3, 1, "close", b""),
        ],
    );
    let address = server(&[RESPONSE, hello], true);
    let (code, said, _) = replay(&silent, address, &["--fast", "--timeout", "1"]);
    assert_eq!(code, 3);
    assert!(said.contains("  recorded: nothing more\n  received: text 'Echo: Hello'"), "{said}");
}

/// A server that answers every connection with the same bytes, and then closes it or waits for the client's end of the
/// process.
fn fake_server(answer: Vec<u8>, stays: bool) -> std::net::SocketAddr {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("a client");
        read_until(&mut stream, b"\r\n\r\n");
        stream.write_all(&answer).expect("a socket");
        if stays {
            // Until the replay is over: nobody else connects.
            let _ = listener.accept();
        } else {
            let _ = stream.shutdown(std::net::Shutdown::Write);
            let _ = stream.read_to_end(&mut Vec::new());
        }
    });
    address
}

/// A server that answers a request and then sends the same bytes again and again, at most 256 MiB of them. Returns its address, and
/// whether it was cut off before.
fn endless_server(
    answer: Vec<u8>,
    again: &[u8],
) -> (std::net::SocketAddr, std::thread::JoinHandle<bool>) {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    let again = again.repeat((64 << 10) / again.len());
    let server = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("a client");
        read_until(&mut stream, b"\r\n\r\n");
        stream.write_all(&answer).expect("a socket");
        (0..(256 << 20) / again.len()).any(|_| stream.write_all(&again).is_err())
    });
    (address, server)
}

/// A server that never stops sending is late, or too long, like any other.
#[test]
fn a_server_that_never_stops_sending_ends_a_replay() {
    let file = echo_after("endless.jsonl", 10);
    let start = b"HTTP/1.1 101 Switching Protocols\r\n".to_vec();
    let refusal = b"HTTP/1.1 403 Forbidden\r\n\r\n".to_vec();
    let plain = recording(
        "endless-body.jsonl",
        &[
            (0, 1, "open", b""),
            (1, 1, "in", b"GET / HTTP/1.1\r\nHost: h\r\n\r\n"),
            (2, 1, "out", &refusal),
            (3, 1, "close", b""),
        ],
    );
    for (file, answer, again, received) in [
        (&file, start, &b"X-Note: a\r\n"[..], "'"),
        (&file, RESPONSE.to_vec(), b"\x89\x00", "nothing within 1 s"),
        (&plain, refusal, b"body", "'bodybody"),
    ] {
        let (address, server) = endless_server(answer, again);
        let (code, said, errors) = replay(file, address, &["--fast", "--timeout", "1"]);
        assert_eq!(code, 3, "{said}{errors}");
        assert!(said.contains(&format!("  received: {received}")), "{said}");
        assert!(server.join().expect("no panic"), "it has sent everything: {said}");
    }
}

/// A frame that is much longer than the recorded one is a difference when its header arrives.
#[test]
fn a_frame_that_is_too_long_need_not_arrive() {
    let file = echo_after("long.jsonl", 10);
    let header = b"\x82\x7f\0\0\0\0\x40\0\0\0";
    let address = fake_server([RESPONSE, header].concat(), true);
    let (code, said, errors) = replay(&file, address, &["--fast", "--timeout", "1"]);
    assert_eq!(code, 3, "{said}{errors}");
    let expected = "  recorded: text 'Echo: Hello'\n  received: binary with 1073741824 bytes";
    assert!(said.contains(expected), "{said}");
}

/// The recording has asterisks where the server sends another secret each time.
#[test]
fn secrets_of_the_server_are_not_compared() {
    let response = |cookie: &str| {
        let fields =
            format!("HTTP/1.1 404 Not Found\r\nSet-Cookie: {cookie}\r\nDate: {cookie}\r\n");
        [fields.as_bytes(), b"Location: /?token=", cookie.as_bytes(), b"\r\n\r\nno"].concat()
    };
    let file = recording(
        "cookie.jsonl",
        &[
            (0, 1, "open", b""),
            (1, 1, "in", b"GET / HTTP/1.1\r\nHost: h\r\n\r\n"),
            (2, 1, "out", &response("*****")),
            (3, 1, "close", b""),
        ],
    );
    let address = fake_server(response("id=42;secret"), false);
    let (code, said, errors) = replay(&file, address, &["--fast"]);
    assert_eq!(code, 0, "{said}{errors}");
    // But whether there is one.
    let address =
        fake_server(b"HTTP/1.1 404 Not Found\r\nLocation: /?token=a\r\n\r\nno".to_vec(), false);
    let (code, said, _) = replay(&file, address, &["--fast"]);
    assert_eq!(code, 3);
    assert!(said.contains("  recorded: set-cookie: *\n  received: no field set-cookie"), "{said}");
}

/// After the response to a HEAD, which has no body, the next response of the connection has a secret.
#[test]
fn secrets_of_later_responses_are_not_compared() {
    let responses = |cookie: &str| {
        let head = "HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n";
        let next =
            format!("HTTP/1.1 200 OK\r\nSet-Cookie: {cookie}\r\nContent-Length: 2\r\n\r\nhi");
        [head, &next].concat().into_bytes()
    };
    let requests = b"HEAD / HTTP/1.1\r\nHost: h\r\n\r\nGET / HTTP/1.1\r\nHost: h\r\n\r\n";
    let file = recording(
        "cookies.jsonl",
        &[
            (0, 1, "open", b""),
            (1, 1, "in", requests),
            (2, 1, "out", &responses("*****")),
            (3, 1, "close", b""),
        ],
    );
    let address = fake_server(responses("id=42;secret"), false);
    let (code, said, errors) = replay(&file, address, &["--fast"]);
    assert_eq!(code, 0, "{said}{errors}");
}

/// The recorded server stopped. The server of the replay does not, which is no difference.
#[test]
fn a_stop_is_not_compared() {
    let request = handshake("/echo", "localhost:8765", KEY);
    let file = recording(
        "stop.jsonl",
        &[
            (0, 1, "open", b""),
            (1, 1, "in", request.as_bytes()),
            (2, 1, "out", RESPONSE),
            (3, 1, "out", b"\x88\x02\x03\xe9"),
            (4, 1, "close", b""),
        ],
    );
    let serve = Serve::start(&[]);
    let (code, said, errors) = replay(&file, serve.address, &["--fast"]);
    assert_eq!(code, 0, "{said}{errors}");
    assert!(said.contains("1 connections end in the recording with a Close 1001"), "{said}");
}

#[test]
fn a_replay_keeps_the_pace_of_the_recording() {
    let serve = Serve::start(&[]);
    let slow = echo_after("slow.jsonl", 600_000);
    let took = |file: &Path, options: &[&str]| {
        let began = std::time::Instant::now();
        let (code, said, errors) = replay(file, serve.address, options);
        assert_eq!(code, 0, "{said}{errors}");
        began.elapsed().as_millis()
    };
    assert!(took(&slow, &[]) >= 600);
    assert!(took(&slow, &["--speed", "2"]) >= 300);
    assert!(took(&slow, &["--speed", "0.5"]) >= 1_200);
    // An hour.
    took(&echo_after("hour.jsonl", 3_600_000_000), &["--fast"]);
}

/// A replay that takes longer than the server waits for a pong.
#[test]
fn a_replay_answers_pings() {
    let serve = Serve::start(&["--ping-interval", "1", "--pong-timeout", "1"]);
    let file = echo_after("idle.jsonl", 3_500_000);
    let (code, said, errors) = replay(&file, serve.address, &[]);
    assert_eq!(code, 0, "{said}{errors}");
}

#[test]
fn what_cannot_be_replayed_is_explained() {
    let file = echo_after("refused.jsonl", 10);
    let free =
        std::net::TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr()).expect("a port");
    for (address, options, code, expected) in [
        (format!("{free}/ws"), &[][..], 1, "without '/ws'"),
        (free.to_string(), &[], 1, "cannot connect"),
        ("192.0.2.1:9".into(), &[], 1, "192.0.2.1 is not this machine"),
        ("192.0.2.1:9".into(), &["--lang", "pt"], 1, "--yes-i-own-this-server"),
        (free.to_string(), &["--speed", "0"], 2, "use a number above 0"),
        (free.to_string(), &["--speed", "x", "--lang", "pt"], 2, "use um número maior que 0"),
        (free.to_string(), &["--speed", "2", "--fast"], 2, "cannot be used with"),
    ] {
        let (found, said, errors) = replay(&file, &address, options);
        assert!(errors.contains(expected) && said.is_empty(), "{said}{errors}");
        assert_eq!(found, code, "{errors}");
    }
    let (code, _, errors) = replay(Path::new("Cargo.toml"), free, &[]);
    assert!(errors.contains("Cargo.toml is not a recording"), "{errors}");
    assert_eq!(code, 1);
}

/// Payload data of RFC 7692. Where contexts are kept, the second one only refers to the first one.
const HELLOS: &[u8] = b"\xf2\x48\xcd\xc9\xc9\x57\xf0\xa0\x3b\x09\x00";
const HELLOS_AGAIN: &[u8] = b"\x1a\x28\x12\x00";
const MARKUP: &[u8] = b"\xb2\x49\xb2\xcb\xcf\x39\xbc\xd0\x46\x3f\xc9\x4e\xc1\x86\x8e\x6c\x00\x00";
const ZEROS: &[u8] = b"\x62\x60\x18\x1e\x00\x00";
const EVENT: &[u8] =
    b"\xaa\x56\xca\x4d\x2d\x2e\x4e\x4c\x4f\x55\xb2\x52\xca\x49\x54\x18\x10\xa4\x54\x0b\x00";

/// Opens a connection that offers compression, with contexts if the server wants to keep them.
fn compressing(serve: &Serve, path: &str) -> TcpStream {
    let offer = "\r\nSec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n\r\n";
    let request = handshake(path, serve.address, KEY).replace("\r\n\r\n", offer);
    let mut stream = open(serve, request.as_bytes());
    read_until(&mut stream, b"\r\n\r\n");
    stream
}

/// Sends bytes, and reads until the server has answered a ping after them.
fn exchange(stream: &mut TcpStream, bytes: &[u8]) {
    stream.write_all(&[bytes, &frame(0x89, b"done?")].concat()).expect("a socket");
    read_until(stream, b"\x8a\x05done?");
}

/// Records compressed messages: a text twice, one with markup in three fragments with a ping between them, a binary one, a plain
/// one, and one that is invalid; and a message of the class.
fn compressed_conversation(name: &str, mode: &str) -> PathBuf {
    let file = new_file(name);
    let serve = Serve::start(&["--deflate", mode, "--record", text(&file)]);
    let mut stream = compressing(&serve, "/echo");
    exchange(&mut stream, &frame(0xc1, HELLOS));
    exchange(&mut stream, &frame(0xc1, if mode == "takeover" { HELLOS_AGAIN } else { HELLOS }));
    exchange(&mut stream, &[frame(0x41, &MARKUP[..5]), frame(0x89, b"between")].concat());
    exchange(&mut stream, &[frame(0x00, &MARKUP[5..9]), frame(0x80, &MARKUP[9..])].concat());
    exchange(&mut stream, &frame(0xc2, ZEROS));
    exchange(&mut stream, &frame(0x81, b"plain"));
    stream.write_all(&frame(0xc1, b"\x07\x00")).expect("a socket");
    stream.read_to_end(&mut Vec::new()).expect("a socket");
    drop(stream);
    let mut listener = compressing(&serve, "/ws/events");
    let mut events = compressing(&serve, "/ws/events");
    exchange(&mut events, &frame(0xc1, EVENT));
    exchange(&mut listener, &[]);
    for stream in [&mut events, &mut listener] {
        stream.write_all(&frame(0x88, b"\x03\xe8")).expect("a socket");
        stream.read_to_end(&mut Vec::new()).expect("a socket");
    }
    drop((events, listener));
    wait_for_closed(&file, 3);
    stop(serve);
    file
}

/// RFC 7692: a recording has the compressed bytes, in both modes. The archive and the page show the messages.
#[test]
fn compressed_messages_are_recorded_and_shown() {
    let hellos = "Hello ".repeat(20);
    let markup = "<b>olá</b> ".repeat(10);
    for mode in ["on", "takeover"] {
        let file = compressed_conversation(&format!("compressed-{mode}.jsonl"), mode);
        let recorded = all(&lines(&file), 1, "in");
        let key = [1u8, 2, 3, 4];
        let masked: Vec<u8> = HELLOS.iter().zip(key.iter().cycle()).map(|(a, b)| a ^ b).collect();
        assert!(recorded.windows(masked.len()).any(|window| window == masked), "as it arrived");

        let archive: Value =
            serde_json::from_slice(&exported(&["--har", text(&file)])).expect("JSON");
        let entries = archive["log"]["entries"].as_array().expect("entries");
        let messages = entries[0]["_webSocketMessages"].as_array().expect("messages");
        let data: Vec<(&str, &str)> = messages
            .iter()
            .map(|message| {
                (message["type"].as_str().expect("text"), message["data"].as_str().expect("text"))
            })
            .collect();
        let zeros = data_encoding::BASE64.encode(&[0; 200]);
        let echo = |text: &str| format!("Echo: {text}");
        let expected = [
            ("send", hellos.clone()),
            ("receive", echo(&hellos)),
            ("send", hellos.clone()),
            ("receive", echo(&hellos)),
            ("send", markup.clone()),
            ("receive", echo(&markup)),
            ("send", zeros.clone()),
            ("receive", zeros),
            ("send", "plain".to_owned()),
            ("receive", echo("plain")),
        ];
        let expected: Vec<(&str, &str)> =
            expected.iter().map(|(kind, data)| (*kind, data.as_str())).collect();
        assert_eq!(data, expected);
        let answer = entries[0]["response"]["headers"].as_array().expect("fields");
        assert!(answer.iter().any(|field| field["name"] == "Sec-WebSocket-Extensions"));

        for (lang, decompressed) in
            [("en", "decompressed (RFC 7692): "), ("pt", "descomprimido (RFC 7692): ")]
        {
            let page = exported(&["--html", text(&file), "--lang", lang]);
            let page = String::from_utf8(page).expect("text");
            let shown = |text: &str| {
                let text = text.replace('<', "&lt;").replace('>', "&gt;");
                format!("<pre class=\"text\">{decompressed}{text}</pre>")
            };
            let quoted = |text: &str| shown(&format!("&#39;{text}&#39;"));
            assert_eq!(page.matches(&quoted(&hellos)).count(), 2, "{page}");
            assert_eq!(page.matches(&quoted(&markup)).count(), 1);
            assert_eq!(page.matches(&quoted(&echo(&markup))).count(), 1);
            assert_eq!(page.matches(&shown(&["00"; 200].join(" "))).count(), 2);
            let rsv1 =
                "<span class=\"cell rsv\" title=\"RFC 6455 §5.2\">1 <b>1</b><i>RSV1</i></span>";
            assert!(page.contains(rsv1));
            assert!(page.contains("<td class=\"cell payload\">f2</td>"));
            assert!(page.contains("Sec-WebSocket-Extensions: permessage-deflate"), "{page}");
            // Compressed bytes are not shown as if they were text.
            assert!(!page.contains('\u{fffd}'), "{page}");
            assert!(page.contains("<td class=\"cell payload\">07</td>"));
            let rule =
                Violation::InvalidDeflate.describe(Lang::from_tag(lang).expect("a language"));
            assert!(page.contains(&rule), "{rule} in {page}");
            assert!(!page.to_lowercase().contains("<b>ol"));
        }
    }
}

/// The same server sends the same again. What is compared is what messages decompress to, so that `--ignore` works as well. A
/// server that does not compress differs.
#[test]
fn compressed_messages_are_replayed() {
    for mode in ["on", "takeover"] {
        let file = compressed_conversation(&format!("replayed-{mode}.jsonl"), mode);
        for options in [&["--fast"][..], &[]] {
            let serve = Serve::start(&["--deflate", mode]);
            let options = [&["--ignore", "timestamp"], options].concat();
            let (code, said, errors) = replay(&file, serve.address, &options);
            assert_eq!(code, 0, "{said}{errors}");
            assert!(said.starts_with("No difference: 3 connections, "), "{said}");
        }
        let serve = Serve::start(&["--deflate", mode]);
        let (code, said, _) = replay(&file, serve.address, &["--fast"]);
        assert_eq!(code, 3, "without --ignore, the times differ: {said}");
        assert!(
            said.contains("recorded: text '{\"message\":\"la la ") && said.contains("timestamp"),
            "{said}"
        );
        let serve = Serve::start(&[]);
        let (code, said, _) = replay(&file, serve.address, &["--fast"]);
        assert_eq!(code, 3, "{said}");
        assert!(said.contains("permessage-deflate"), "{said}");
    }
}

/// An archive has messages only where a client would see a WebSocket: a status of 101 alone opens none.
#[test]
fn a_response_that_opens_no_websocket_has_no_messages() {
    let request = handshake("/echo", "localhost:8765", KEY);
    let valid = String::from_utf8(RESPONSE.to_vec()).expect("text");
    for (response, opens) in [
        (valid.clone(), true),
        (valid.replace("s3pP", "S3pP"), false),
        (valid.replace("Upgrade: websocket\r\n", "Upgrade: h2c\r\n"), false),
        (valid.replace("\r\n\r\n", "\r\nSec-WebSocket-Extensions: x\r\n\r\n"), false),
    ] {
        let file = recording(
            "opens-no-websocket.jsonl",
            &[
                (0, 1, "open", b""),
                (1, 1, "in", request.as_bytes()),
                (2, 1, "out", response.as_bytes()),
                (3, 1, "in", HELLO),
                (4, 1, "close", b""),
            ],
        );
        let archive: Value =
            serde_json::from_slice(&exported(&["--har", text(&file)])).expect("JSON");
        let entry = &archive["log"]["entries"][0];
        assert_eq!(entry["response"]["status"], 101);
        assert_eq!(entry["_resourceType"] == "websocket", opens, "{response}");
        assert_eq!(entry["_webSocketMessages"].is_array(), opens, "{response}");
        let url = entry["request"]["url"].as_str().expect("a URL");
        assert_eq!(url.starts_with("ws://"), opens, "{url}");
        fs::remove_file(&file).expect("it is there");
    }
}
