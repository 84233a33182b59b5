//! The wire page of `framewise serve --wire`: who may open it, what it shows, and what it does not.

mod support;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Instant;

use framewise::ClientRequest;
use framewise::lang::Lang;
use framewise::protocol::violation::Violation;
use serde_json::{Value, json};
use support::bare::{Bare, Options};
use support::{
    HELLO, KEY, PATIENCE, Peer, Serve, framewise, handshake, line_with, open, read_until,
};

fn status(answer: &str) -> &str {
    answer.split(' ').nth(1).expect("a status line")
}

/// Sends the request of a WebSocket client. Returns the head of the response.
fn ask(serve: &Serve, path: &str, fields: &str) -> String {
    let request = handshake(path, serve.address, KEY);
    let mut stream = open(serve, format!("{}\r\n{fields}\r\n", request.trim_end()).as_bytes());
    let head = read_until(&mut stream, b"\r\n\r\n");
    String::from_utf8(head).expect("text")
}

/// An open wire page.
struct Viewer {
    peer: Peer,
    /// The first message.
    hello: Value,
    /// All events so far.
    events: Vec<Value>,
    /// Events that it has missed.
    missed: u64,
}

impl Viewer {
    fn open(serve: &Serve) -> Viewer {
        Viewer::of(serve.connect("/wire"))
    }

    fn of(mut peer: Peer) -> Viewer {
        let hello = peer.json();
        assert_eq!(hello["type"], "hello");
        Viewer { peer, hello, events: Vec::new(), missed: 0 }
    }

    /// Reads one message.
    fn read(&mut self) -> Value {
        let message = self.peer.json();
        match message["type"].as_str() {
            Some("wire") => {
                self.events.extend(message["events"].as_array().expect("events").clone())
            }
            Some("missed") => self.missed += message["events"].as_u64().expect("a number"),
            _ => {}
        }
        message
    }

    /// Reads until there is an event like this. Returns the first one.
    fn wait(&mut self, is_it: impl Fn(&Value) -> bool) -> Value {
        // Other events may come without end.
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline {
            if let Some(found) = self.events.iter().find(|event| is_it(event)) {
                return found.clone();
            }
            self.read();
        }
        panic!("no such event among {}", self.events.len());
    }

    /// Reads until a frame has this text in this direction.
    fn frame(&mut self, direction: &str, text: &str) -> Value {
        self.wait(|event| event["k"] == "frame" && event["d"] == direction && event["text"] == text)
    }

    /// Asks for something, and waits for the answer.
    fn ask(&mut self, question: &Value) -> Value {
        self.peer.send(&question.to_string());
        loop {
            let message = self.read();
            if message["type"] == question["type"] {
                return message;
            }
        }
    }

    fn events_of(&self, lane: &Value) -> Vec<&Value> {
        self.events.iter().filter(|event| event["c"] == *lane).collect()
    }
}

/// A member of the class, under a name.
fn member(serve: &Serve, path: &str, name: &str) -> Peer {
    let mut peer = serve.connect(path);
    peer.send(&format!(r#"{{"type": "join", "name": "{name}"}}"#));
    assert_eq!(peer.json()["type"], "joined");
    peer
}

#[test]
fn without_the_option_there_is_nothing() {
    for options in
        [&["--lang", "en"][..], &["--lang", "en", "--token", "t", "--teacher-token", "u"]]
    {
        let serve = Serve::start(options);
        for (path, fields) in [
            ("/wire", ""),
            ("/wire/", "Accept: text/html\r\n"),
            ("/wire?token=u", ""),
            ("/wire", "X-Forwarded-For: 203.0.113.9\r\n"),
        ] {
            let answer = serve.http(path, fields);
            assert_eq!(status(&answer), "404", "{path} {fields}");
            assert!(answer.contains("start the server with --wire"), "{answer}");
        }
        assert_eq!(status(&ask(&serve, "/wire", "")), "404");
        assert_eq!(status(&ask(&serve, "/wire?token=u", "")), "404");
        assert!(!serve.greeting.iter().any(|line| line.contains("/wire")), "{:?}", serve.greeting);
    }
}

#[test]
fn it_opens_on_this_machine_and_elsewhere_with_the_teachers_token() {
    let proxied = "X-Forwarded-For: 203.0.113.9\r\n";
    let html = "Accept: text/html\r\n";
    let (serve, log) = Serve::start_logged(&["--wire", "--lang", "en", "--token", "turma"]);
    let line = serve.greeting.iter().find(|line| line.contains("/wire")).expect("a line");
    assert!(line.contains(&format!("http://{}/wire", serve.address)), "{line}");
    line_with(&log, "--wire: /wire shows the text of all messages");
    let page = serve.http("/wire", html);
    assert_eq!(status(&page), "200");
    let moved = serve.http("/wire/?token=a", html);
    assert!(
        status(&moved) == "308" && moved.contains("\r\nLocation: ../wire?token=a\r\n"),
        "{moved}"
    );
    assert!(page.contains("Content-Security-Policy: default-src 'none'"), "{page}");
    Viewer::open(&serve);
    line_with(&log, "watches the class at /wire");
    line_with(&log, "no longer watches");
    // The token of the class opens nothing that is closed.
    for (answer, help) in [
        (serve.http("/wire", proxied), "--teacher-token"),
        (serve.http("/wire?token=turma", proxied), "--teacher-token"),
        (ask(&serve, "/wire?token=turma", proxied), ""),
        (ask(&serve, "/wire", "Origin: https://evil.example\r\n"), ""),
        (ask(&serve, "/wire", "Origin: null\r\n"), ""),
        (ask(&serve, "/wire", "Origin: http://localhost:1\r\n"), ""),
    ] {
        assert_eq!(status(&answer), "403", "{answer}");
        assert!(answer.contains(help), "{answer}");
        assert!(line_with(&log, "status=403").contains("refused"));
    }

    let options = ["--wire", "--lang", "en", "--token", "turma", "--teacher-token", "professor"];
    let (serve, log) = Serve::start_logged(&options);
    for (path, found) in [
        ("/wire", "no token"),
        ("/wire?token=turma", "the token of the class"),
        ("/wire?token=outro", "another token"),
    ] {
        assert_eq!(status(&ask(&serve, path, "")), "401", "{path}");
        let answer = serve.http(path, "");
        assert_eq!(status(&answer), "401", "{path}");
        assert!(answer.contains(&format!("found: {found}\n")), "{answer}");
        // A browser gets the page, which asks for the token, with the same status.
        let page = serve.http(path, html);
        assert_eq!(status(&page), "401", "{path}");
        assert!(
            page.contains("</html>") && page.contains("WWW-Authenticate: Bearer\r\n"),
            "{page}"
        );
        assert!(page.contains("Content-Security-Policy: default-src 'none'"), "{page}");
        for _ in 0..3 {
            let line = line_with(&log, "status=401");
            assert!(line.contains(found) && !line.contains("turma"), "{line}");
        }
    }
    assert_eq!(status(&serve.http("/wire?token=professor", &[proxied, html].concat())), "200");
    assert_eq!(status(&ask(&serve, "/wire?token=professor", proxied)), "101");
    let own = format!("Origin: http://{}\r\n", serve.address);
    assert_eq!(status(&ask(&serve, "/wire?token=professor", &own)), "101");
    assert_eq!(status(&ask(&serve, "/wire", "Authorization: Bearer professor\r\n")), "101");
    assert_eq!(status(&ask(&serve, "/wire?token=professor", "Origin: null\r\n")), "403");
}

/// Behind a proxy that replaces Host, the page of the public address is the server's own.
#[test]
fn the_page_of_the_public_url_may_open_it() {
    let serve = Serve::start(&[
        "--wire",
        "--public-url",
        "https://school.example/class",
        "--teacher-token",
        "professor",
    ]);
    let answer = ask(&serve, "/wire?token=professor", "Origin: https://school.example\r\n");
    assert_eq!(status(&answer), "101");
    let answer = ask(&serve, "/wire?token=professor", "Origin: https://other.example\r\n");
    assert_eq!(status(&answer), "403");
}

/// RFC 6455 §1.3, §5.7: the key of the standard, and its masked "Hello".
#[test]
fn a_handshake_and_a_frame_are_shown_field_by_field() {
    let serve = Serve::start(&["--wire"]);
    let mut viewer = Viewer::open(&serve);
    let mut stream = open(&serve, handshake("/echo", serve.address, KEY).as_bytes());
    read_until(&mut stream, b"\r\n\r\n");
    stream.write_all(HELLO).expect("a socket");
    let request = viewer.wait(|event| event["k"] == "head" && event["d"] == "in");
    let response = viewer.wait(|event| event["k"] == "head" && event["d"] == "out");
    assert_eq!(
        request["accept"],
        json!({
            "key": KEY,
            "guid": "258EAFA5-E914-47DA-95CA-C5AB0DC85B11",
            "sha1": "b37a4f2cc0624f1690f64606cf385945b2bec4ea",
            "base64": "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=",
        })
    );
    assert_eq!(request["lines"][0], json!(["", "GET /echo HTTP/1.1"]));
    assert_eq!(request["handshake"], true);
    let accept = json!(["Sec-WebSocket-Accept", "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="]);
    assert!(response["lines"].as_array().expect("lines").contains(&accept), "{response}");

    let sent = viewer.frame("in", "Hello");
    assert_eq!(sent["head"], "818537fa213d");
    assert_eq!((&sent["key"], &sent["wire"]), (&json!("37fa213d"), &json!("7f9f4d5158")));
    assert_eq!((&sent["clear"], &sent["length"]), (&json!("48656c6c6f"), &json!(5)));
    assert_eq!((&sent["opcode"], &sent["fin"]), (&json!("text"), &json!(true)));
    assert_eq!(sent["fields"][4], json!(["opcode", 4, 8, "1", "5.2"]));
    assert_eq!(sent["fields"][7], json!(["masking key", 16, 48, "939139389", "5.3"]));
    assert_eq!(sent["read"], json!([11, 1, 1]));
    let back = viewer.frame("out", "Echo: Hello");
    assert_eq!((&back["head"], back.get("key")), (&json!("810b"), None));
    // The answer is of the message that has caused it.
    assert_eq!(back["cause"], json!([sent["c"], sent["message"]]));
    let lane = viewer.wait(|event| event["k"] == "lane");
    let address = stream.local_addr().expect("an address").to_string();
    assert_eq!((&lane["address"], &lane["path"]), (&json!(address), &json!("/echo")));

    // Ping, pong and close, which browsers hide.
    stream.write_all(b"\x89\x82\0\0\0\0hi\x88\x82\0\0\0\0\x03\xe8").expect("a socket");
    assert_eq!(viewer.frame("in", "hi")["opcode"], "ping");
    assert_eq!(viewer.frame("out", "hi")["opcode"], "pong");
    let close = viewer.wait(|event| event["opcode"] == "close" && event["d"] == "out");
    assert_eq!(close["code"], 1000);
    assert_eq!(viewer.wait(|event| event["k"] == "closed")["code"], 1000);
    let closed = viewer.wait(|event| event["k"] == "lane" && event["open"] == false);
    assert_eq!(closed["code"], 1000);
}

/// A read is not a frame: several reads may hold one frame, and one read several.
#[test]
fn reads_are_shown_as_they_split() {
    let serve = Serve::start(&["--wire"]);
    let mut viewer = Viewer::open(&serve);
    let mut stream = open(&serve, handshake("/echo", serve.address, KEY).as_bytes());
    read_until(&mut stream, b"\r\n\r\n");
    let mut at = 0;
    for end in [1, 4, 8] {
        stream.write_all(&HELLO[at..end]).expect("a socket");
        let length = end - at;
        viewer.wait(|event| event["k"] == "read" && event["bytes"] == length);
        viewer.events.retain(|event| event["k"] != "read");
        at = end;
    }
    stream.write_all(&HELLO[8..]).expect("a socket");
    let frame = viewer.frame("in", "Hello");
    assert_eq!((&frame["cuts"], &frame["read"]), (&json!([1, 4, 8]), &json!([3, 1, 1])));
    // Two and a half frames in one read.
    viewer.events.clear();
    let (one, two) = (&b"\x81\x81\0\0\0\0a"[..], &b"\x81\x81\0\0\0\0b"[..]);
    stream.write_all(&[one, two, &HELLO[..7]].concat()).expect("a socket");
    assert_eq!(viewer.frame("in", "a")["read"], json!([21, 1, 2]));
    let second = viewer.frame("in", "b");
    assert_eq!((&second["read"], second.get("cuts")), (&json!([21, 2, 2]), None));
    stream.write_all(&HELLO[7..]).expect("a socket");
    assert_eq!(viewer.frame("in", "Hello")["cuts"], json!([7]));
}

/// Secrets are redacted in every request of a connection, however reads split them.
#[test]
fn no_secret_is_shown() {
    let serve = Serve::start(&["--wire", "--token", "segredo", "--teacher-token", "professor"]);
    let mut viewer = Viewer::of(serve.connect("/wire?token=professor"));
    let host = serve.address;
    let first = format!(
        "GET /health?token=segredo HTTP/1.1\r\nHost: {host}\r\nCookie: id=segredo\r\n\
        Authorization: Bearer segredo\r\nX-CSRF-Token: segredo\r\n\
        Referer: http://ana:segredo@h/?password=segredo\r\n\r\n"
    );
    let mut stream = open(&serve, first.as_bytes());
    read_until(&mut stream, b"}");
    let second = format!(
        "HEAD /health HTTP/1.1\r\nHost: {host}\r\nProxy-Authorization: Basic segredo\r\n\
        Referer: http://h/?token=segredo\r\n\r\n"
    );
    stream.write_all(second.as_bytes()).expect("a socket");
    read_until(&mut stream, b"\r\n\r\n");
    let third = handshake("/echo?token=segredo", host, KEY);
    let third = third.replace("\r\n\r\n", "\r\nCookie: id=segredo\r\n\r\n");
    let (start, end) = third.split_at(third.rfind("segredo").expect("a cookie") + 3);
    stream.write_all(start.as_bytes()).expect("a socket");
    // The server has read the start once it has answered something else.
    assert_eq!(serve.json("/health")["status"], "ok");
    stream.write_all(end.as_bytes()).expect("a socket");
    read_until(&mut stream, b"\r\n\r\n");
    stream.write_all(HELLO).expect("a socket");
    let frame = viewer.frame("in", "Hello");
    let lane = &frame["c"];
    let heads: Vec<&Value> =
        viewer.events_of(lane).into_iter().filter(|event| event["k"] == "head").collect();
    assert_eq!(heads.len(), 6, "{heads:#?}");
    assert!(heads.iter().all(|head| head.get("broken").is_none()), "{heads:#?}");
    assert_eq!(heads[0]["lines"][0][1], "GET /health?token=******* HTTP/1.1");
    assert_eq!(heads[0]["lines"][2], json!(["Cookie", "**********"]));
    assert_eq!((&heads[4]["handshake"], &heads[4]["reads"]), (&json!(true), &json!(2)));
    // The response to HEAD has a length and no body.
    let bodies = viewer.events_of(lane).into_iter().filter(|event| event["k"] == "body").count();
    assert_eq!(bodies, 1);
    let kept = viewer.ask(&json!({"type": "lane", "lane": lane}));
    for shown in [&Value::from(viewer.events.clone()), &kept, &viewer.hello] {
        let text = shown.to_string();
        assert!(!text.contains("segredo") && !text.contains("professor"), "{text}");
    }
}

/// Viewers see neither themselves nor each other, nor the requests for the page.
#[test]
fn viewers_are_not_shown() {
    let serve = Serve::start(&["--wire"]);
    let mut viewer = Viewer::open(&serve);
    let mut other = Viewer::open(&serve);
    let host = serve.address;
    // A connection of a browser, which asks for something else before, and whose request arrives in two reads.
    let mut browser = open(&serve, format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n").as_bytes());
    read_until(&mut browser, b"}");
    let before = viewer.wait(|event| event["k"] == "head" && event["d"] == "out");
    browser.write_all(b"GET /%77ire HTTP/1.1\r\nX-Note: hidden\r\n").expect("a socket");
    assert_eq!(serve.json("/health")["status"], "ok");
    browser.write_all(format!("Host: {host}\r\n\r\n").as_bytes()).expect("a socket");
    read_until(&mut browser, b"</html>");
    viewer.wait(|event| event["k"] == "forget" && event["c"] == before["c"]);
    assert_eq!(status(&serve.http("/wire?a=b", "")), "200");
    assert_eq!(status(&ask(&serve, "/wire", "Origin: null\r\n")), "403");
    let third = Viewer::open(&serve);
    other.ask(&json!({"type": "event", "id": 1}));

    let mut stream = open(&serve, handshake("/echo", host, KEY).as_bytes());
    read_until(&mut stream, b"\r\n\r\n");
    stream.write_all(HELLO).expect("a socket");
    viewer.frame("out", "Echo: Hello");
    let text = Value::from(viewer.events.clone()).to_string();
    assert!(
        !text.contains("/wire") && !text.contains("hidden") && !text.contains("ire/"),
        "{text}"
    );
    assert!(!third.hello.to_string().contains("/wire"), "{}", third.hello);
    // They are no members of the class either.
    assert_eq!(serve.json("/health")["connections"], 1);
    let lanes = viewer.events.iter().filter(|event| event["k"] == "lane" && event["ws"] == true);
    let mut lanes: Vec<&Value> = lanes.map(|lane| &lane["c"]).collect();
    lanes.dedup();
    assert_eq!(lanes.len(), 1, "{lanes:?}");
}

/// One message is followed from its sender to all who receive it, as an event or as it was sent.
#[test]
fn a_message_is_followed_to_its_receivers() {
    let serve = Serve::start(&["--wire"]);
    let mut viewer = Viewer::open(&serve);
    let mut ana = member(&serve, "/ws/events?room=7a", "ana");
    let mut bia = member(&serve, "/ws/events?room=7a", "bia");
    let mut raw = serve.connect("/ws?room=7a");
    let mut elsewhere = serve.connect("/ws?room=7b");
    // The same text twice, from two senders.
    ana.send(r#"{"message": "oi"}"#);
    bia.text();
    raw.text();
    raw.send("oi");
    ana.text();
    bia.text();
    bia.send(r#"{"message": "segredo", "to": "ana"}"#);
    ana.text();
    elsewhere.hears_nothing();
    let private = viewer.wait(|event| {
        event["d"] == "out" && event["text"].as_str().is_some_and(|text| text.contains("segredo"))
    });
    let lane = |viewer: &Viewer, name: &str| {
        let named =
            viewer.events.iter().find(|event| event["k"] == "lane" && event["name"] == name);
        named.expect("a lane")["c"].clone()
    };
    let (ana, bia) = (lane(&viewer, "ana"), lane(&viewer, "bia"));
    let sent = |viewer: &Viewer, text: &str| {
        let is_it = |event: &&Value| event["d"] == "in" && event["text"] == text;
        let frame = viewer.events.iter().find(is_it).expect("a frame");
        json!([frame["c"], frame["message"]])
    };
    let receivers = |viewer: &Viewer, cause: &Value| -> Vec<Value> {
        let caused = viewer.events.iter().filter(|event| event["cause"] == *cause);
        let mut lanes: Vec<Value> = caused.map(|event| event["c"].clone()).collect();
        lanes.sort_by_key(Value::as_u64);
        lanes
    };
    let of_ana = sent(&viewer, r#"{"message": "oi"}"#);
    assert_eq!(of_ana, json!([ana, 2]), "her second message");
    let of_raw = sent(&viewer, "oi");
    let raw = of_raw[0].clone();
    assert_eq!(receivers(&viewer, &of_ana), [bia.clone(), raw]);
    assert_eq!(receivers(&viewer, &of_raw), [ana.clone(), bia.clone()]);
    let of_bia = sent(&viewer, r#"{"message": "segredo", "to": "ana"}"#);
    assert_eq!((&of_bia[0], &private["cause"]), (&bia, &of_bia));
    assert_eq!(receivers(&viewer, &of_bia), [ana]);
}

/// Each broken rule of frames is shown with its clause and close code, and with words in both languages.
#[test]
fn a_violation_is_shown_with_its_rule_clause_and_code() {
    let serve = Serve::start(&["--wire"]);
    let mut viewer = Viewer::open(&serve);
    for (bytes, violation, places) in [
        (&b"\x81\x05Hello"[..], Violation::UnmaskedFrame, json!([["bits", 8, 9]])),
        (b"\xc1\x80\0\0\0\0", Violation::ReservedBits, json!([["bits", 1, 2]])),
        (b"\x83\x80\0\0\0\0", Violation::ReservedOpcode, json!([["bits", 4, 8]])),
        (b"\x81\x82\0\0\0\0\xc0\x80", Violation::InvalidUtf8, json!([["bytes", 0, 1]])),
        (b"\x88\x82\0\0\0\0\x03\xed", Violation::InvalidCloseCode, json!([["bytes", 0, 2]])),
    ] {
        let mut stream = open(&serve, handshake("/echo", serve.address, KEY).as_bytes());
        read_until(&mut stream, b"\r\n\r\n");
        stream.write_all(bytes).expect("a socket");
        stream.read_to_end(&mut Vec::new()).expect("a socket");
        let name = format!("{violation:?}");
        let frame = viewer.wait(|event| event["k"] == "frame" && event["broken"]["rule"] == name);
        let broken = &frame["broken"];
        assert_eq!(broken["clause"], violation.clause(), "{broken}");
        assert_eq!(broken["code"], violation.code(), "{broken}");
        assert_eq!(broken["section"], format!("RFC 6455 {}", violation.section()), "{broken}");
        assert_eq!(broken["places"], places, "{broken}");
        let both = [Lang::En, Lang::Pt].map(|lang| violation.text_in(lang));
        assert_eq!(broken["text"], json!(both), "{broken}");
        let close = viewer.wait(|event| {
            event["c"] == frame["c"] && event["opcode"] == "close" && event["d"] == "out"
        });
        assert_eq!(close["code"], violation.code());
        let closed = viewer.wait(|event| event["c"] == frame["c"] && event["k"] == "closed");
        assert_eq!(closed["broken"]["rule"], name);
    }
    // A handshake that breaks a rule.
    let request = handshake("/echo", serve.address, KEY).replace("Version: 13", "Version: 8");
    open(&serve, request.as_bytes()).read_to_end(&mut Vec::new()).expect("a socket");
    let head = viewer.wait(|event| event["k"] == "head" && event["broken"]["rule"] == "Version");
    assert_eq!((&head["broken"]["code"], head["broken"].get("clause")), (&json!(426), None));
    let both = &head["broken"]["text"];
    assert!(both[0] != both[1] && both[0].is_string(), "{both}");
    for violation in Violation::ALL {
        let (en, pt) = (violation.text_in(Lang::En), violation.text_in(Lang::Pt));
        assert!(!en.is_empty() && !pt.is_empty() && en != pt, "{violation:?}");
    }
}

/// Who opens the page later sees the handshake, and everything from the next message on, with a mark where something is
/// missing.
#[test]
fn a_page_that_is_opened_later_begins_with_the_next_message() {
    let serve = Serve::start(&["--wire"]);
    let mut stream = open(&serve, handshake("/echo", serve.address, KEY).as_bytes());
    read_until(&mut stream, b"\r\n\r\n");
    stream.write_all(HELLO).expect("a socket");
    read_until(&mut stream, b"Echo: Hello");
    // A fragmented message has begun, and then a frame, when the page is opened.
    stream.write_all(b"\x01\x81\0\0\0\0a\x80").expect("a socket");
    assert_eq!(serve.json("/health")["connections"], 1);
    let mut viewer = Viewer::open(&serve);
    assert_eq!(viewer.hello["lanes"][0]["path"], "/echo");
    let request = viewer.wait(|event| event["k"] == "head" && event["d"] == "in");
    assert_eq!(request["handshake"], true);
    stream.write_all(b"\x82\0\0\0\0bc").expect("a socket");
    read_until(&mut stream, b"Echo: abc");
    stream.write_all(HELLO).expect("a socket");
    read_until(&mut stream, b"Echo: Hello");
    let frame = viewer.frame("in", "Hello");
    assert_eq!(frame["message"], 3);
    assert_eq!(viewer.frame("out", "Echo: Hello")["cause"], json!([frame["c"], 3]));
    let gap = viewer.wait(|event| event["k"] == "gap" && event["d"] == "in");
    assert_eq!(gap["bytes"], HELLO.len() + 8 + 7);
    // Nothing is called broken that is not.
    assert!(
        viewer.events.iter().all(|event| event.get("broken").is_none()),
        "{:#?}",
        viewer.events
    );
    // Nobody watches for a while, and then somebody does again.
    drop(viewer);
    let mut seen = String::new();
    for n in 0.. {
        stream.write_all(HELLO).expect("a socket");
        read_until(&mut stream, b"Echo: Hello");
        let mut viewer = Viewer::open(&serve);
        stream.write_all(HELLO).expect("a socket");
        read_until(&mut stream, b"Echo: Hello");
        viewer.wait(|event| event["k"] == "frame" && event["message"] == 5 + 2 * n);
        let gaps = viewer.events.iter().filter(|event| event["k"] == "gap" && event["d"] == "in");
        seen = format!("{:?}", gaps.collect::<Vec<_>>());
        assert!(viewer.events.iter().all(|event| event.get("broken").is_none()));
        // The server may not have noticed at once that the page before was closed.
        if seen.matches("gap").count() >= 2 {
            break;
        }
    }
    assert!(seen.contains(&format!("Number({})", HELLO.len())), "{seen}");
}

/// RFC 7692: a compressed message is shown with its bytes and its text, also on a page that is opened later. The copies of it that
/// the server sends name their cause.
#[test]
fn a_compressed_message_is_shown_with_its_text() {
    let serve = Serve::start(&["--wire", "--deflate", "on"]);
    let offer = "\r\nSec-WebSocket-Extensions: permessage-deflate\r\n\r\n";
    let request = handshake("/echo", serve.address, KEY).replace("\r\n\r\n", offer);
    let mut stream = open(&serve, request.as_bytes());
    read_until(&mut stream, b"\r\n\r\n");
    // "Hello", as in RFC 7692 7.2.3.1, in one frame and in two.
    let whole = b"\xc1\x87\0\0\0\0\xf2\x48\xcd\xc9\xc9\x07\x00";
    let fragments = b"\x41\x83\0\0\0\0\xf2\x48\xcd\x80\x84\0\0\0\0\xc9\xc9\x07\x00";
    for _ in 0..2 {
        let mut viewer = Viewer::open(&serve);
        for (wire, frames) in [(&whole[..], 1), (fragments, 2)] {
            stream.write_all(wire).expect("a socket");
            read_until(&mut stream, b"Echo: Hello");
            let rsv1 = ["1", "0"][frames - 1];
            let frame = viewer.wait(|event| {
                event["d"] == "in" && event["text"] == "Hello" && event["fields"][1][3] == rsv1
            });
            assert_eq!((&frame["inflated"], &frame["compressed"]), (&json!(5), &json!(true)));
            let cause = json!([frame["c"], frame["message"]]);
            let reply = viewer.wait(|event| event["d"] == "out" && event["cause"] == cause);
            assert_eq!(reply["text"], "Echo: Hello");
        }
        // A long reply is compressed, too.
        let text =
            b"the quick brown fox jumps over the lazy dog, and the lazy dog jumps over the fox";
        let mut long = vec![0x81, 0x80 | text.len() as u8, 0, 0, 0, 0];
        long.extend_from_slice(text);
        stream.write_all(&long).expect("a socket");
        let frame = viewer.frame("out", &format!("Echo: {}", String::from_utf8_lossy(text)));
        assert_eq!(
            (&frame["inflated"], &frame["opcode"]),
            (&json!(text.len() + 6), &json!("text"))
        );
        assert!(frame["cause"].is_array(), "{frame}");
        let length = frame["length"].as_u64().expect("a number") as usize;
        stream.read_exact(&mut vec![0; 2 + length]).expect("the reply");
        assert!(viewer.events.iter().all(|event| event.get("broken").is_none()));
    }
}

/// With a context, a page that is opened later could not decompress anything.
#[test]
fn contexts_and_the_page_exclude_each_other() {
    let mut command = framewise(&["serve", "--port", "0", "--wire", "--deflate", "takeover"]);
    let output = command.output().expect("it runs");
    let error = String::from_utf8(output.stderr).expect("text");
    assert!(!output.status.success() && error.contains("use --deflate on"), "{error}");
}

/// A link leads back to a frame for as long as it is kept, also from another page.
#[test]
fn a_frame_is_kept_for_a_while() {
    let serve = Serve::start(&["--wire", "--rate", "0"]);
    let mut viewer = Viewer::open(&serve);
    let mut peer = serve.connect("/echo");
    peer.send("first").text();
    let first = viewer.frame("in", "first");
    let mut other = Viewer::open(&serve);
    let again = other.ask(&json!({"type": "event", "id": first["id"]}));
    assert_eq!(again["event"], first);
    for n in 0..300 {
        peer.send(&n.to_string()).text();
    }
    viewer.frame("out", "Echo: 299");
    let gone = other.ask(&json!({"type": "event", "id": first["id"]}));
    assert_eq!((&gone["id"], &gone["event"]), (&first["id"], &Value::Null));
    let kept = other.ask(&json!({"type": "lane", "lane": first["c"]}));
    let kept = kept["events"].as_array().expect("events");
    // Two of the handshake, and the last ones.
    assert_eq!(kept.len(), 2 + 256);
    assert!(kept[..2].iter().all(|event| event["k"] == "head"));
    assert_eq!(kept[257]["text"], "Echo: 299");
    assert!(kept.iter().map(|event| event["id"].as_u64()).is_sorted());
    let nothing = other.ask(&json!({"type": "lane", "lane": 999}));
    assert_eq!(nothing["events"], json!([]));
    other.peer.send("nonsense");
    while other.read()["type"] != "error" {}
    other.peer.send(r#"{"type":"ping"}"#);
    while other.read()["type"] != "pong" {}
}

/// Only the beginning of a long payload is shown, and that there is more.
#[test]
fn a_long_frame_is_shown_in_part() {
    let serve = Serve::start(&["--wire", "--rate", "0", "--rate-bytes", "0"]);
    let mut viewer = Viewer::open(&serve);
    let mut peer = serve.connect("/echo");
    let long = "á".repeat(100_000);
    assert_eq!(peer.send(&long).text().len(), 200_006);
    let sent = viewer.wait(|event| event["k"] == "frame" && event["d"] == "in");
    assert_eq!((&sent["length"], &sent["more"]), (&json!(200_000), &json!(200_000 - 256)));
    assert_eq!(sent["wire"].as_str().map(str::len), Some(512));
    assert_eq!(sent["text"], "á".repeat(128));
    assert!(sent["cuts"].as_array().is_none_or(|cuts| cuts.len() <= 32));
    let back = viewer.wait(|event| event["k"] == "frame" && event["d"] == "out");
    // 256 bytes end in the middle of a character, which is left out.
    assert_eq!(
        (&back["text"], &back["length"]),
        (&json!(format!("Echo: {}", "á".repeat(125))), &json!(200_006))
    );
    assert_eq!(back["cause"], json!([sent["c"], 1]));
}

#[test]
fn the_number_of_viewers_is_limited() {
    let (serve, log) = Serve::start_logged(&["--wire", "--lang", "en"]);
    let mut viewers: Vec<Viewer> = (0..8).map(|_| Viewer::open(&serve)).collect();
    let answer = ask(&serve, "/wire", "");
    assert_eq!(status(&answer), "503");
    assert!(answer.contains("\r\nRetry-After: 10\r\n"), "{answer}");
    assert!(line_with(&log, "status=503").contains("close another one"));
    // The class is not concerned.
    assert_eq!(serve.connect("/echo").send("a").text(), "Echo: a");
    viewers.pop();
    line_with(&log, "no longer watches");
    Viewer::open(&serve);
    // The limit for one client counts viewers as well.
    let serve = Serve::start(&[
        "--wire",
        "--behind-proxy",
        "127.0.0.1",
        "--max-per-ip",
        "1",
        "--teacher-token",
        "p",
    ]);
    let from = |address: &'static str| {
        move |request: ClientRequest| request.header("X-Forwarded-For", address).expect("a header")
    };
    let _one = serve.connect_as("/wire?token=p", from("203.0.113.9"));
    let more = "X-Forwarded-For: 203.0.113.9\r\n";
    assert_eq!(status(&ask(&serve, "/wire?token=p", more)), "429");
    let _other = serve.connect_as("/wire?token=p", from("203.0.113.10"));
}

/// A viewer that does not read misses events, is told how many, and slows down neither the class nor other viewers.
#[test]
fn a_slow_viewer_misses_events_and_is_told() {
    let serve = Serve::start(&["--wire", "--rate", "0", "--rate-bytes", "0"]);
    let options = Options { receive_buffer: Some(4096), ..Options::default() };
    let mut slow = Bare::open(serve.address, "/wire", options);
    let mut fast = Viewer::open(&serve);
    let mut peer = serve.connect("/echo");
    // More than fits the sockets and what the server lets wait: each message is two events of a kilobyte or more.
    let text = "x".repeat(256);
    for n in 0..60 {
        for _ in 0..40 {
            peer.send(&text).text();
        }
        peer.send(&n.to_string()).text();
        fast.frame("out", &format!("Echo: {n}"));
        fast.events.clear();
    }
    assert_eq!(fast.missed, 0);
    let (mut seen, mut missed) = (0, 0);
    let mut asked = false;
    loop {
        let message = slow.json();
        match message["type"].as_str() {
            Some("wire") => {
                let events = message["events"].as_array().expect("events");
                seen += events.iter().filter(|event| event["k"] == "frame").count();
                let is_last = |event: &Value| event["text"] == "Echo: now you can";
                if events.iter().any(is_last) {
                    break;
                }
            }
            Some("missed") => missed += message["events"].as_u64().expect("a number") as usize,
            _ => {}
        }
        // Once it reads, there is room for what happens then.
        if !asked && seen > 100 {
            asked = true;
            slow.send(&[r#"{"type":"ping"}"#]);
        }
        if asked && message["type"] == "pong" {
            peer.send("now you can").text();
        }
    }
    assert!(missed > 0, "{seen} seen");
    // Two frames of each message; the events about the connection itself are missed or seen.
    let frames = 2 * (60 * 41 + 1);
    assert!((frames..frames + 10).contains(&(seen + missed)), "{seen} + {missed}");
}

/// No more connections are followed than the limit, and the page says how many are not.
#[test]
fn the_number_of_connections_is_limited() {
    let serve = Serve::start(&["--wire"]);
    let mut viewer = Viewer::open(&serve);
    // These are open WebSockets: 520 unfinished handshakes, more than half of `max_handshakes`, would soon be closed.
    let request = handshake("/echo", serve.address, KEY);
    let idle: Vec<TcpStream> = (0..520).map(|_| open(&serve, request.as_bytes())).collect();
    viewer.wait(|event| event["k"] == "more" && event["n"] == 8);
    assert_eq!(Viewer::open(&serve).hello["more"], 9, "the page itself is not followed either");
    drop(idle);
    // Places that become free are used.
    for _ in 0..1_000 {
        let mut stream = open(&serve, handshake("/echo", serve.address, KEY).as_bytes());
        read_until(&mut stream, b"\r\n\r\n");
        stream.write_all(HELLO).expect("a socket");
        read_until(&mut stream, b"Echo: Hello");
        viewer.ask(&json!({"type": "lane", "lane": 0}));
        if viewer.events.iter().any(|event| event["text"] == "Hello") {
            return;
        }
    }
    panic!("no connection is followed any more");
}
