//! Lesson 8 lists every violation, and what it gets. Here each row is sent to a real server, and `framewise explain` is asked
//! about it.

mod support;

use std::collections::BTreeSet;
use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;

use framewise::Closed;
use framewise::protocol::violation::Violation;
use support::bare::{Bare, Options};
use support::{KEY, PATIENCE, Serve, framewise, handshake, line_with};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// A table of the lesson: the cells of its rows, without the backquotes around code.
type Table = Vec<Vec<String>>;

/// The tables of part 4: frames, frames beyond a limit, requests, requests that this server does not want, and the rest.
struct Lesson {
    /// The options of the server that the lesson starts first.
    options: Vec<String>,
    tables: [Table; 5],
}

impl Lesson {
    fn read(lang: &str) -> Lesson {
        let page = root().join("docs/lessons").join(lang).join("08-breaking.md");
        let page = fs::read_to_string(page).expect("a page");
        let command = page.lines().find_map(|line| line.strip_prefix("$ framewise serve "));
        let options = command.expect("a server").split(' ').map(str::to_owned).collect();
        let (_, part) = page.split_once("\n## 4. ").expect("part 4");
        let (part, _) = part.split_once("\n## ").expect("its end");
        let mut tables = Vec::<Table>::new();
        let mut is_in_table = false;
        for line in part.lines() {
            let row = line.strip_prefix("| ").and_then(|line| line.strip_suffix(" |"));
            match row {
                // The first row names the columns.
                Some(_) if !is_in_table => tables.push(Vec::new()),
                Some(row) => {
                    let cells = row.split(" | ").map(|cell| cell.trim_matches('`').to_owned());
                    tables.last_mut().expect("a table").push(cells.collect());
                }
                None => {}
            }
            is_in_table = line.starts_with('|');
        }
        let tables = tables.try_into().unwrap_or_else(|all: Vec<_>| panic!("{} tables", all.len()));
        Lesson { options, tables }
    }

    fn serve(&self) -> Serve {
        Serve::start(&self.options.iter().map(String::as_str).collect::<Vec<_>>())
    }
}

const LANGUAGES: [&str; 2] = ["en", "pt"];

/// Returns the clause to which a cell such as `[§5.1-2](../../clauses.md#5.1-2)` links, which has to exist.
fn clause<'a>(cell: &'a str, lang: &str) -> &'a str {
    let (name, link) = cell.trim_start_matches("[§").split_once("](../../").expect("a link");
    let page = if lang == "pt" { "clauses.pt-BR.md" } else { "clauses.md" };
    assert_eq!(link, format!("{page}#{name})"));
    let page = fs::read_to_string(root().join("docs").join(page)).expect("a page");
    assert!(page.contains(&format!("<a id=\"{name}\"></a>")), "{name}");
    name
}

fn bytes(hex: &str) -> Vec<u8> {
    let byte = |digits| u8::from_str_radix(digits, 16).expect("a byte");
    hex.split(' ').map(byte).collect()
}

/// Returns what `framewise explain` prints about these bytes of a client.
fn explain(bytes: &[u8]) -> String {
    let mut command = framewise(&["explain", "--raw", "--from", "client"]);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("a child");
    child.stdin.take().expect("a pipe").write_all(bytes).expect("it reads");
    let output = child.wait_with_output().expect("it ends");
    String::from_utf8(output.stdout).expect("text")
}

fn violation(closed: &Closed) -> Violation {
    let is_it = |violation: &&Violation| violation.reason() == closed.reason;
    *Violation::ALL.iter().find(is_it).unwrap_or_else(|| panic!("{closed:?}"))
}

/// Sends the frames of a table. Each has to get the code and the clause of its row. Returns the rules that they break.
fn send_frames(lesson: &Lesson, table: &Table, lang: &str) -> BTreeSet<String> {
    let serve = lesson.serve();
    let mut broken = BTreeSet::new();
    for row in table {
        let mut peer = serve.connect("/echo");
        assert!(peer.0.send_raw(&bytes(&row[1])).expect("it takes bytes"));
        let closed = peer.closed();
        let violation = violation(&closed);
        assert_eq!(closed.code.0.to_string(), row[2], "{row:?}");
        assert_eq!(violation.clause(), clause(&row[3], lang), "{row:?}");
        broken.insert(format!("{violation:?}"));
    }
    assert_eq!(serve.json("/health")["connections"], 0);
    broken
}

/// Every violation of an open connection is in one of the tables of frames, or in the last table. `explain` agrees about those
/// that the standard forbids.
#[test]
fn each_frame_of_the_lesson_gets_its_code_and_clause() {
    for lang in LANGUAGES {
        let lesson = Lesson::read(lang);
        let mut broken = send_frames(&lesson, &lesson.tables[0], lang);
        for row in &lesson.tables[0] {
            let explained = explain(&bytes(&row[1]));
            let code = format!("(close code {})\n", row[2]);
            assert!(explained.contains("=> broken at ") && explained.contains(&code), "{row:?}");
            let rules = Violation::ALL.iter().filter(|rule| explained.contains(&rule.reason()));
            let rules: Vec<_> = rules.map(|rule| rule.clause()).collect();
            assert_eq!(rules, [clause(&row[3], lang)], "{explained}");
        }
        broken.extend(send_frames(&lesson, &lesson.tables[1], lang));
        for row in &lesson.tables[1] {
            assert!(!explain(&bytes(&row[1])).contains("=> broken"), "{row:?}");
        }
        // The tests below are about these.
        let others =
            ["PingUnanswered", "OutputLimit", "MessageMemory", "OutputMemory", "MaskedFrame"];
        broken.extend(others.map(str::to_owned));
        // Only with an extension; `deflate.rs` is about it.
        broken.insert("InvalidDeflate".to_owned());
        let all: BTreeSet<_> = Violation::ALL.iter().map(|rule| format!("{rule:?}")).collect();
        assert_eq!(broken, all);
    }
}

/// Returns the request of the students' file after `sed`.
fn edited(script: &str) -> Vec<u8> {
    let file = root().join("docs/lessons/files/request.http");
    let sed = Command::new("sed").arg(script).arg(file).output().expect("sed");
    assert!(sed.status.success(), "{script}: {sed:?}");
    sed.stdout
}

/// Sends bytes and reads up to the end of the stream.
fn send(serve: &Serve, request: &[u8]) -> String {
    let mut stream = TcpStream::connect(serve.address).expect("it listens");
    stream.set_read_timeout(Some(PATIENCE)).expect("a socket");
    stream.write_all(request).expect("a socket");
    let mut response = Vec::new();
    stream.read_to_end(&mut response).expect("a response");
    String::from_utf8(response).expect("text")
}

/// Returns the text after a label of a refusal.
fn line<'a>(response: &'a str, label: &str) -> Option<&'a str> {
    response.lines().find_map(|line| line.strip_prefix(label))
}

/// Every rule for requests is in one of the tables of requests, or in the last table.
#[test]
fn each_request_of_the_lesson_gets_its_status_and_section() {
    for lang in LANGUAGES {
        let lesson = Lesson::read(lang);
        let serve = lesson.serve();
        let mut broken = BTreeSet::new();
        for (table, is_against_the_standard) in [(2, true), (3, false)] {
            for row in &lesson.tables[table] {
                let request = edited(&row[1]);
                let response = send(&serve, &request);
                let status = format!("HTTP/1.1 {} ", row[2]);
                assert!(response.starts_with(&status), "{row:?}: {response}");
                clause(&row[4], lang);
                let explained = explain(&request);
                let verdict = format!("=> refused with {}: ", row[2]);
                let verdict = line(&explained, &verdict);
                assert_eq!(verdict.is_some(), is_against_the_standard, "{row:?}: {explained}");
                let section = format!(" ({})", row[3]);
                let explained =
                    verdict.map(|verdict| verdict.strip_suffix(&section).expect(verdict));
                // A response to HEAD has no body.
                if let Some(rule) = line(&response, "rule: ") {
                    assert_eq!(line(&response, "section: "), Some(row[3].as_str()), "{row:?}");
                    assert!(explained.is_none_or(|explained| explained == rule), "{row:?}");
                    broken.insert(rule.to_owned());
                }
                broken.extend(explained.map(str::to_owned));
            }
        }
        let texts = fs::read_to_string(root().join("src/texts.rs")).expect("a file");
        for text in texts.lines() {
            let Some((name, text)) = text.trim().split_once("_RULE: \"") else { continue };
            if name == "LABEL" {
                continue;
            }
            // The last table has the first three. `framewise serve` has texts of its own for a plain request, and the last rule
            // is the server's fault.
            let others = [
                "TLS",
                "TOO_MANY_CONNECTIONS",
                "TOO_MANY_FROM_ADDRESS",
                "UPGRADE_REQUIRED",
                "INTERNAL",
            ];
            let text = text.split('"').next().expect("a text");
            assert_ne!(others.contains(&name), broken.contains(text), "{name}: {broken:#?}");
        }
    }
}

/// Connects to a room of the server, and never reads.
fn lazy(serve: &Serve) -> Bare {
    Bare::open(serve.address, "/ws", Options { receive_buffer: Some(4096), ..Options::default() })
}

/// Reads up to the Close, and returns its code and its reason.
fn close_of(bare: &mut Bare) -> (u16, String) {
    loop {
        let (opcode, payload) = bare.frame().expect("a Close was due");
        if opcode == 8 {
            let (code, reason) = payload.split_at(2);
            let code = u16::from_be_bytes(code.try_into().expect("two bytes"));
            return (code, String::from_utf8(reason.to_vec()).expect("UTF-8"));
        }
    }
}

/// One client never reads what another one sends it, until the server closes it. Returns the server, the line of its log about it,
/// and the client.
fn unread(options: &[&str]) -> (Serve, String, Bare) {
    let unlimited = ["--ping-interval", "0", "--rate", "0", "--rate-bytes", "0"];
    let (serve, log) = Serve::start_logged(&[&unlimited, options].concat());
    let silent = lazy(&serve);
    let mut talker = serve.connect("/ws");
    let text = "m".repeat(50_000);
    // The server reads the talker more slowly, so `send` takes a while.
    while serve.json("/health")["connections"] == 2 {
        talker.send(&text);
    }
    let line = line_with(&log, "a rule was broken");
    (serve, line, silent)
}

/// Returns the code and the clause in a line of the log.
fn logged(line: &str, violation: Violation) -> (u16, &'static str) {
    let (code, clause) = (violation.code(), violation.clause());
    let end = format!(" code={code} clause=\"{clause}\"");
    assert!(line.contains(violation.text()) && line.ends_with(&end), "{line}");
    (code, clause)
}

/// A message that is not complete, of a client that holds more than the server has memory for.
fn half_message(options: &[&str]) -> Closed {
    let serve = Serve::start(options);
    let mut peer = serve.connect("/echo");
    let mut frame = bytes("02 ff 00 00 00 00 00 10 00 00 00 00 00 00");
    frame.resize(frame.len() + 1_000_000, 0);
    assert!(peer.0.send_raw(&frame).expect("it takes bytes"));
    peer.closed()
}

/// A server that masks its frames. Returns the code and the reason of the client's Close.
fn masked_frame() -> (u16, String) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    let mut connect = framewise(&["connect", "--wait", "30", &format!("{address}")]);
    connect.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let client = thread::spawn(move || connect.output().expect("it runs"));
    let (mut stream, _) = listener.accept().expect("a client");
    stream.set_read_timeout(Some(PATIENCE)).expect("a socket");
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).expect("a request");
        head.push(byte[0]);
    }
    let head = String::from_utf8(head).expect("text");
    let key = line(&head, "Sec-WebSocket-Key: ").expect("a key");
    let accept = framewise::protocol::handshake::key::accept_key(key);
    let response =
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n";
    write!(stream, "{response}Sec-WebSocket-Accept: {accept}\r\n\r\n").expect("a socket");
    stream.write_all(&bytes("81 82 00 00 00 00 48 69")).expect("a socket");
    let mut frame = Vec::new();
    stream.read_to_end(&mut frame).expect("a Close");
    drop(stream);
    client.join().expect("no panic");
    let payload = frame[6..].iter().zip(frame[2..6].iter().cycle()).map(|(byte, key)| byte ^ key);
    let payload: Vec<u8> = payload.collect();
    assert_eq!(frame[0], 0x88);
    let code = u16::from_be_bytes([payload[0], payload[1]]);
    (code, String::from_utf8(payload[2..].to_vec()).expect("UTF-8"))
}

/// Another request while one connection is open. Returns the status.
fn second_request(options: &[&str]) -> u16 {
    let serve = Serve::start(options);
    let _first = serve.connect("/echo");
    let response = send(&serve, handshake("/echo", serve.address, KEY).as_bytes());
    response.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status")
}

/// The last table: what needs time, a crowd or a wrong server.
#[test]
fn the_rest_of_the_lesson_is_true() {
    let impatient = Serve::start(&["--ping-interval", "1", "--pong-timeout", "1"]);
    let mut silent = Bare::open(impatient.address, "/echo", Options::default());
    let closed = half_message(&["--max-memory", "600000"]);
    let tls = send(&impatient, b"\x16\x03\x01");
    assert_eq!(line(&tls, "rule: "), Some("wss:// was used, this port speaks ws://"));
    let (_serve, log, mut reader) = unread(&["--congestion-timeout", "1"]);
    let limit = logged(&log, Violation::OutputLimit);
    assert_eq!(close_of(&mut reader), (limit.0, Violation::OutputLimit.reason()));
    // The memory ends before the server reads the talker more slowly. The queued messages are dropped, so no Close can follow
    // them.
    let (_serve, log, mut reader) =
        unread(&["--max-memory", "300000", "--congestion-timeout", "30"]);
    let memory = logged(&log, Violation::OutputMemory);
    while let Some((opcode, _)) = reader.frame() {
        assert_ne!(opcode, 8);
    }
    let with_reason = [
        (close_of(&mut silent), Violation::PingUnanswered),
        ((closed.code.0, closed.reason.clone()), Violation::MessageMemory),
        (masked_frame(), Violation::MaskedFrame),
    ];
    let with_reason = with_reason.map(|((code, reason), violation)| {
        assert_eq!(reason, violation.reason());
        (code, violation.clause())
    });
    let [ping, message, masked] = with_reason;
    let mut found = vec![ping, limit, message, memory, masked];
    found.push((tls[9..12].parse().expect("a status"), "4.2.1-1"));
    found.push((second_request(&["--max-connections", "1"]), "4.2.1-1"));
    found.push((second_request(&["--max-per-ip", "1"]), "4.2.1-1"));
    for lang in LANGUAGES {
        let lesson = Lesson::read(lang);
        let rows = lesson.tables[4].iter().map(|row| {
            let code = row[row.len() - 2].split(',').next().expect("a first word");
            (code.parse().expect("a number"), clause(row.last().expect("a cell"), lang))
        });
        assert_eq!(rows.collect::<Vec<(u16, &str)>>(), found, "{lang}");
    }
}
