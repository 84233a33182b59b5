//! The page `/explain` and its WebSocket: what it decodes is what `framewise explain` prints, and what it sends reaches this
//! server alone, within limits.

mod support;

use std::io::Write;
use std::process::Stdio;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use support::bare::{Bare, Options};
use support::{Peer, SERVE, Serve, framewise, line_with};

const HELLO: &str = "818537fa213d7f9f4d5158";

/// "Hello" of a client that does not mask.
const UNMASKED: &str = "810548656c6c6f";

/// "Hello" of a client, compressed as in RFC 7692 7.2.3.1.
const COMPRESSED: &str = "c18737fa213dc5b2ecf4fefd21";

/// A request and the response to it, which agree to permessage-deflate.
fn handshake_of_both() -> String {
    "GET / HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
     Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
     Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n\r\n\
     HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
     Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\
     Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits=10\r\n\r\n"
        .to_owned()
}

/// Asks a question and returns the response.
fn ask(peer: &mut Peer, question: &Value) -> Value {
    peer.send(&question.to_string()).json()
}

fn explain(peer: &mut Peer, input: &str) -> Value {
    ask(peer, &json!({"type": "explain", "id": 1, "input": input}))
}

/// Sends bytes and returns the last report, and how many there were.
fn send(peer: &mut Peer, input: &str, path: &str) -> (Value, usize) {
    let question = json!({"type": "send", "id": 7, "input": input, "as": "hex", "path": path});
    peer.send(&question.to_string());
    for count in 1.. {
        let report = peer.json();
        if report["type"] == "error" || !report["ended"].is_null() {
            assert_eq!(report["id"], 7);
            return (report, count);
        }
        assert!(report["type"] == "received", "{report}");
    }
    unreachable!("the reports end")
}

/// The lines of a response, as `framewise explain` prints them.
fn printed(explained: &Value) -> String {
    let mut text = format!("{}\n\n", explained["sender"].as_str().expect("a line"));
    for item in explained["items"].as_array().expect("items") {
        for line in item["lines"].as_array().expect("lines") {
            text += line.as_str().expect("a line");
            text.push('\n');
        }
    }
    text
}

/// What `framewise explain` prints for an input, and its exit code.
fn command(arguments: &[&str], input: &str) -> (String, i64) {
    let mut command = framewise(&["explain"]);
    command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = command.spawn().expect("it starts");
    child.stdin.take().expect("piped").write_all(input.as_bytes()).expect("it reads");
    let output = child.wait_with_output().expect("it ends");
    let code = output.status.code().expect("it exits");
    (String::from_utf8(output.stdout).expect("text"), code.into())
}

/// The lines and the verdict of the page are those of the command line, for any input, side and language.
#[test]
fn the_page_decodes_as_the_command_line_does() {
    let serve = Serve::start(&[]);
    let mut peer = serve.connect("/explain/ws");
    let request = "GET /ws HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
        Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    let handshake = handshake_of_both();
    let long = format!("827e0200{}", "5a".repeat(0x200));
    for input in [
        HELLO,
        "0x81 85 37 fa 21 3d\n7F9F4D51 58",
        UNMASKED,
        "8885 37",
        "8a008105",
        "82fe0005",
        "88020bad",
        "8102c3",
        "01026162 8900 80026364",
        "f105",
        &long,
        request,
        "GET / HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\n\r\nrest",
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokHTTP/1.1 101 S\r\n\r\nx",
        "Olá",
        COMPRESSED,
        "c106 f248cdc9c907",
        &handshake,
        &format!("{handshake}{COMPRESSED}"),
        &format!("{handshake}c103 f248cd"),
    ] {
        for (from, deflate) in [
            (None, None),
            (Some("client"), None),
            (Some("server"), Some("off")),
            (None, Some("on")),
            (Some("client"), Some("takeover")),
        ] {
            for lang in ["en", "pt"] {
                let mut question = json!({"type": "explain", "input": input, "lang": lang});
                let mut arguments = vec!["--lang", lang];
                if let Some(from) = from {
                    question["from"] = from.into();
                    arguments.extend(["--from", from]);
                }
                if let Some(deflate) = deflate {
                    question["deflate"] = deflate.into();
                    arguments.extend(["--deflate", deflate]);
                }
                let explained = ask(&mut peer, &question);
                let (text, code) = command(&arguments, input);
                assert_eq!((printed(&explained), &explained["code"]), (text, &json!(code)));
                assert_eq!(explained["shortened"], false);
            }
        }
    }
    // Text that may have been meant as digits has a note in the language of the page.
    let explained = explain(&mut peer, "hello world");
    let note = explained["note"].as_str().expect("a note");
    assert!(note.starts_with("note: this text is neither"), "{note}");
    assert_eq!(explain(&mut peer, HELLO)["note"], Value::Null);
    // A broken frame with its rule, its clause, its close code, and the bits that break it.
    let question = json!({"type": "explain", "id": 5, "input": UNMASKED, "from": "client"});
    let explained = ask(&mut peer, &question);
    assert_eq!((&explained["type"], &explained["id"]), (&json!("explained"), &json!(5)));
    let items = explained["items"].as_array().expect("items");
    let broken = items.iter().find(|item| item["kind"] == "broken").expect("broken");
    assert_eq!((&broken["section"], &broken["code"]), (&json!("5.1"), &json!(1002)));
    assert_eq!((&broken["clause"], &broken["places"]), (&json!("5.1-2"), &json!([[8, 9]])));
}

/// A compressed message is shown with its bytes, RSV1, its text and the parameters, if permessage-deflate was chosen or if the
/// response in the input agrees to it. Without either, RSV1 breaks a rule.
#[test]
fn a_compressed_message_is_decompressed() {
    let serve = Serve::start(&[]);
    let mut peer = serve.connect("/explain/ws");
    let mut explained = |input: &str, deflate: &str| {
        let question = json!({"type": "explain", "input": input, "deflate": deflate});
        let explained = ask(&mut peer, &question);
        (printed(&explained), explained)
    };
    let (text, answer) = explained(COMPRESSED, "off");
    assert_eq!((&answer["code"], text.contains("Hello")), (&json!(3), false), "{text}");
    let no_context = "; server_no_context_takeover; client_no_context_takeover";
    for (deflate, parameters) in [("on", no_context), ("takeover", "")] {
        let (text, answer) = explained(COMPRESSED, deflate);
        let title = format!("From the client: permessage-deflate{parameters}\n");
        assert!(text.starts_with(&title), "{text}");
        assert_eq!(answer["code"], 0);
        let items = answer["items"].as_array().expect("items");
        let decoded: Vec<_> = items.iter().filter(|item| item["kind"] == "decoded").collect();
        assert_eq!(decoded.len(), 1, "{text}");
        assert_eq!(decoded[0]["lines"], json!(["    decompressed (RFC 7692)  'Hello'"]));
        assert!(text.contains(".1......                 RSV1                     1"), "{text}");
        assert!(text.contains("XOR: payload unmasked    f2 48 cd c9 c9 07 00"), "{text}");
    }
    // The second message refers to the first one.
    let twice = format!("{COMPRESSED} c185 00000000 f200110000");
    for (deflate, code, messages) in [("takeover", 0, 2), ("on", 3, 1)] {
        let (text, answer) = explained(&twice, deflate);
        assert_eq!((&answer["code"], text.matches("'Hello'").count()), (&json!(code), messages));
    }
    // A response in the input decides, whatever was chosen.
    let handshake = handshake_of_both();
    let input = format!("{handshake}{COMPRESSED}\n");
    for deflate in ["off", "on"] {
        let (text, answer) = explained(&input, deflate);
        assert_eq!(answer["code"], 0, "{text}");
        assert!(text.starts_with("A request and the response, then from the client:\n"), "{text}");
        assert!(
            text.contains("Extensions: permessage-deflate; client_max_window_bits=10 "),
            "{text}"
        );
        assert!(text.contains("    decompressed (RFC 7692)  'Hello'\n"), "{text}");
        // The fields for the stepper, and every bit, lie where the frame lies in the input.
        let start = handshake.len() as u64;
        assert_eq!(answer["frames"][0]["start"], start);
        assert_eq!(answer["frames"][0]["clear"], "f248cdc9c90700");
        let items = answer["items"].as_array().expect("items");
        let rsv1 = items.iter().find(|item| item["name"] == "RSV1").expect("RSV1");
        assert_eq!(rsv1["bits"], json!([start * 8 + 1, start * 8 + 2]));
        let refused = input.replace("; client_max_window_bits=10", "; x");
        assert_eq!(explained(&refused, deflate).1["code"], 3);
        let without = input.replace(
            "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits=10\r\n",
            "",
        );
        assert_eq!(explained(&without, deflate).1["code"], 3);
    }
    // The response has to fit the request.
    let other = input.replace("s3pP", "S3pP");
    assert!(explained(&other, "off").0.contains("Sec-WebSocket-Accept"), "{other}");
    assert_eq!(explained(&other, "off").1["code"], 3);
    // There is no other word.
    let error = ask(&mut peer, &json!({"type": "explain", "input": COMPRESSED, "deflate": "yes"}));
    assert_eq!(error["error"]["code"], "invalid_question", "{error}");
}

/// With permessage-deflate chosen, sending offers it. The reply is decompressed if the server agrees; otherwise it refuses
/// RSV1.
#[test]
fn sending_offers_the_chosen_compression() {
    let text = "Hello ".repeat(20);
    let input = "c18b00000000f248cdc9c957f0a03b0900";
    for (option, is_agreed) in [("on", true), ("off", false)] {
        let serve = Serve::start(&["--deflate", option]);
        let mut peer = serve.connect("/explain/ws");
        let question =
            json!({"type": "send", "id": 7, "input": input, "path": "/echo", "deflate": "on"});
        let mut report = ask(&mut peer, &question);
        while report["ended"].is_null() {
            report = peer.json();
        }
        let request = report["request"].as_str().expect("a request");
        assert!(
            request.contains("\r\nSec-WebSocket-Extensions: permessage-deflate; "),
            "{request}"
        );
        let printed = printed(&report);
        assert_eq!(
            printed.contains("Sec-WebSocket-Extensions: permessage-deflate"),
            is_agreed,
            "{printed}"
        );
        assert_eq!(
            printed.contains(&format!("decompressed (RFC 7692)  'Echo: {text}'")),
            is_agreed,
            "{printed}"
        );
        assert_eq!(report["ended"], if is_agreed { "quiet" } else { "closed" });
    }
}

/// 64 KiB are explained, and one byte more is not. A question that cannot be understood gets an error, and so does an input
/// that `framewise explain` refuses; the connection stays open.
#[test]
fn questions_are_limited_and_faults_are_answered() {
    let serve = Serve::start(&[]);
    let mut peer = serve.connect("/explain/ws");
    let most = "8a00".repeat(32 * 1024);
    let explained = explain(&mut peer, &most);
    assert_eq!((&explained["code"], &explained["shortened"]), (&json!(0), &json!(true)));
    assert_eq!(explained["hex"].as_str().map(str::len), Some(most.len()));
    let items = explained["items"].as_array().expect("items").len();
    assert!((900..1_026).contains(&items), "{items}");
    drop(peer);
    let mut peer = serve.connect("/explain/ws");
    for (question, code) in [
        (json!({"type": "explain", "id": 2, "input": most + "8a"}), "too_long"),
        (json!({"type": "explain", "id": 2, "input": ""}), "invalid_input"),
        (json!({"type": "explain", "id": 2, "input": "818"}), "invalid_input"),
        (json!({"type": "explain", "id": 2, "input": "Olá", "as": "hex"}), "invalid_input"),
        (json!({"type": "send", "id": 2, "input": "8", "path": "/echo"}), "invalid_input"),
    ] {
        let error = ask(&mut peer, &question);
        assert_eq!((&error["error"]["code"], &error["id"]), (&json!(code), &json!(2)), "{error}");
    }
    for question in [
        json!({"type": "explain", "id": 1}),
        json!({"type": "explain", "input": "81", "from": "nobody"}),
        json!({"type": "other"}),
        json!([]),
        // No other target, and no path besides the WebSockets of the class.
        json!({"type": "send", "input": HELLO, "path": "/metrics"}),
        json!({"type": "send", "input": HELLO, "path": "/explain/ws"}),
        json!({"type": "send", "input": HELLO, "path": "http://example.org/"}),
        json!({"type": "send", "input": HELLO, "path": "/echo\r\nX: y"}),
    ] {
        let error = ask(&mut peer, &question);
        assert_eq!(error["error"]["code"], "invalid_question", "{error}");
    }
    assert_eq!(ask(&mut peer, &json!({"type": "ping"})), json!({"type": "pong"}));
}

/// The page is read as slowly as any client that sends much: a question costs as much as the work that it causes.
#[test]
fn a_page_has_the_budget_of_a_client() {
    let (serve, log) = Serve::start_logged(&["--rate", "10"]);
    let mut peer = serve.connect("/explain/ws");
    for _ in 0..40 {
        peer.send(&json!({"type": "ping"}).to_string());
    }
    assert!(!line_with(&log, "over its budget").contains("lobby"));
    let mut busy = serve.connect("/explain/ws");
    explain(&mut busy, &"8a00".repeat(32 * 1024));
    line_with(&log, "over its budget");
}

/// What is decompressed counts as bytes, because a short input can become a thousand times as long.
#[test]
fn decompressing_is_paid_for() {
    // A message of a million zeros.
    let bomb = format!("c27e03d9ecc101010000008220ffaf6e484001{}af06", "00".repeat(968));
    let input = bomb.repeat(20);
    for (deflate, is_paid) in [("off", false), ("on", true)] {
        let (serve, log) = Serve::start_logged(&[]);
        let mut busy = serve.connect("/explain/ws");
        let question =
            json!({"type": "explain", "input": input, "deflate": deflate, "from": "server"});
        let explained = ask(&mut busy, &question);
        assert_eq!(explained["code"], if is_paid { 0 } else { 3 });
        if is_paid {
            line_with(&log, "over its budget");
        } else {
            assert_eq!(ask(&mut busy, &json!({"type": "ping"})), json!({"type": "pong"}));
            assert!(log.try_iter().all(|line| !line.contains("over its budget")));
        }
    }
}

/// The page is in no room: nobody hears of it, and it hears of nobody.
#[test]
fn a_page_is_no_member_of_the_class() {
    let serve = Serve::start(&[]);
    let options = Options { presence: true, ..Options::default() };
    let mut member = Bare::open(serve.address, "/ws/events", options);
    let mut page = serve.connect("/explain/ws");
    explain(&mut page, HELLO);
    let mut raw = serve.connect("/ws");
    raw.send("oi");
    // The first that the member hears is the one who has come after the page.
    assert_eq!(member.json()["type"], "peer_joined");
    assert_eq!(member.json()["message"], "oi");
    page.hears_nothing();
    drop(page);
    raw.send("tchau");
    assert_eq!(member.json()["message"], "tchau");
}

/// The page and its files are there for everybody, in the policy of the other pages. A plain request for the WebSocket is told so.
#[test]
fn the_page_is_served() {
    let serve = Serve::start(&["--token", "segredo"]);
    let page = serve.http("/explain", "");
    assert!(page.starts_with("HTTP/1.1 200 ") && page.contains("default-src 'none'"), "{page}");
    for (path, kind) in [
        ("/explain.js", "text/javascript"),
        ("/copy.js", "text/javascript"),
        ("/explain-texts.js", "text/javascript"),
        ("/explain.css", "text/css"),
    ] {
        assert!(serve.http(path, "").contains(&format!("Content-Type: {kind}")), "{path}");
    }
    assert!(serve.http("/explain/", "").contains("\r\nLocation: ../explain\r\n"));
    assert!(serve.http("/explain/ws", "").starts_with("HTTP/1.1 401 "));
    assert!(serve.http("/explain/ws?token=segredo", "").starts_with("HTTP/1.1 426 "));
    assert!(serve.http("/explein", "").contains("/explain"));
}

/// A valid frame comes back as an echo; an unmasked one gets Close 1002 with its rule. Every byte that comes back is labelled.
#[test]
fn bytes_are_sent_to_the_server_itself() {
    let serve = Serve::start(&[]);
    let mut peer = serve.connect("/explain/ws");
    let (report, _) = send(&mut peer, HELLO, "/echo");
    assert_eq!((&report["ended"], &report["written"]), (&json!("quiet"), &json!(11)));
    let text = printed(&report);
    assert!(text.contains("HTTP/1.1 101 Switching Protocols") && text.contains("'Echo: Hello'"));
    assert_eq!((&report["from"], &report["code"]), (&json!("server"), &json!(0)));
    let request = report["request"].as_str().expect("a request");
    assert!(request.starts_with("GET /echo HTTP/1.1\r\nHost: 127.0.0.1:"), "{request}");

    let (report, _) = send(&mut peer, UNMASKED, "/");
    assert_eq!(report["ended"], "closed");
    let text = printed(&report);
    assert!(
        text.contains("close code 1002, reason 'RFC 6455 5.1: a client must mask every frame'"),
        "{text}"
    );
    assert!(report["hex"].as_str().expect("digits").contains("88"), "{report}");

    // The others of the room hear what was sent on /ws, and the log has its sender's address.
    let mut raw = serve.connect("/ws");
    send(&mut peer, HELLO, "/ws");
    assert_eq!(raw.text(), "Hello");
    let (report, _) = send(&mut peer, HELLO, "/ws/events");
    assert!(printed(&report).contains("invalid_json"), "{report}");
}

/// One page sends one thing at a time, while its questions are answered. Eight pages can send at once, and no more.
#[test]
fn sending_is_limited() {
    let serve = Serve::start(&[]);
    let mut pages: Vec<Peer> = (0..9).map(|_| serve.connect("/explain/ws")).collect();
    let question = json!({"type": "send", "id": 1, "input": HELLO, "path": "/echo"}).to_string();
    let mut last = pages.pop().expect("nine");
    for page in &mut pages {
        page.send(&question);
        // The bytes have arrived, but the second without further ones is not over.
        assert!(page.json()["ended"].is_null());
    }
    assert_eq!(ask(&mut pages[0], &json!({"type": "ping"})), json!({"type": "pong"}));
    let busy = ask(&mut pages[0], &serde_json::from_str(&question).expect("JSON"));
    assert_eq!(busy["error"]["code"], "busy");
    let full = ask(&mut last, &serde_json::from_str(&question).expect("JSON"));
    assert_eq!(full["error"]["code"], "too_many");
    for page in &mut pages {
        while page.json()["ended"].is_null() {}
    }
    // The place of a page that has gone is free as well.
    let (report, _) = send(&mut last, HELLO, "/echo");
    assert_eq!(report["ended"], "quiet");
    let (report, _) = send(&mut pages[0], HELLO, "/echo");
    assert_eq!(report["ended"], "quiet");
}

/// At most 64 KiB are shown, and sending ends after five seconds, although the server goes on.
#[test]
fn what_comes_back_is_limited() {
    let serve = Serve::start(&["--rate", "0", "--rate-bytes", "0"]);
    let mut peer = serve.connect("/explain/ws");
    // Each message of one byte gets an error of more than a hundred.
    let many = "818100000000ff".replace("ff", "78").repeat(2_000);
    let (report, _) = send(&mut peer, &many, "/ws/events");
    assert_eq!((&report["ended"], &report["shortened"]), (&json!("full"), &json!(true)));
    assert_eq!(report["hex"].as_str().map(str::len), Some(2 * 64 * 1024));

    // Somebody else in the room talks all the time.
    let serve = Serve::start(&[]);
    let mut peer = serve.connect("/explain/ws");
    let began = Instant::now();
    let mut raw = Bare::open(serve.address, "/ws", Options::default());
    let (stop, stopped) = channel::<()>();
    let talker = std::thread::spawn(move || {
        // A message every 50 ms: often enough that sending never ends for silence, and too seldom to fill 64 KiB.
        let pause = Duration::from_millis(50);
        while stopped.recv_timeout(pause) == Err(RecvTimeoutError::Timeout) {
            raw.send(&["tick"]);
        }
    });
    let (report, count) = send(&mut peer, "8980 00000000", "/ws");
    assert_eq!(report["ended"], "time");
    assert!(began.elapsed() >= Duration::from_secs(5) && count > 3);
    drop(stop);
    talker.join().expect("it ends");
}

/// With --token the page needs it, and its connection has it as well. It appears nowhere.
#[test]
fn the_token_is_passed_on_and_not_shown() {
    let serve = Serve::start(&["--token", "segredo"]);
    let mut peer = serve.connect("/explain/ws?token=segredo");
    let (report, _) = send(&mut peer, HELLO, "/echo");
    assert!(printed(&report).contains("'Echo: Hello'"), "{report}");
    assert!(report["request"].as_str().is_some_and(|head| head.contains("Bearer ***")));
    assert!(!report.to_string().contains("segredo"));
}

/// It works on whatever the server listens, and whatever names and origins it allows.
#[test]
fn every_kind_of_listener_is_reached() {
    let base = |host: &'static str| vec!["serve", "--port", "0", "--host", host];
    let mut cases = vec![base("localhost"), base("0.0.0.0"), base("127.0.0.1"), base("127.0.0.2")];
    if std::net::TcpListener::bind("[::1]:0").is_ok() {
        cases.extend([base("::1"), base("::")]);
    }
    let mut strict = base("0.0.0.0");
    strict.extend(["--allow-host", "school.example", "--allow-origin", "https://school.example"]);
    cases.push(strict);
    let mut public = base("127.0.0.1");
    public.extend(["--public-url", "https://school.example/class"]);
    cases.push(public);
    for arguments in cases {
        let mut serve = Serve::start_with(&mut framewise(&arguments));
        if serve.address.ip().is_unspecified() {
            let is_v6 = serve.address.is_ipv6();
            let text = if is_v6 { "::1" } else { "127.0.0.1" };
            serve.address.set_ip(text.parse().expect("an address"));
        }
        let mut peer = serve.connect("/explain/ws");
        let (report, _) = send(&mut peer, HELLO, "/echo");
        assert!(printed(&report).contains("'Echo: Hello'"), "{arguments:?} {report}");
    }
}

/// The connection counts as the visitor's, and not as one of this machine: by --max-per-ip, and in the log.
#[test]
fn the_connection_is_the_visitors() {
    let proxied = [&SERVE[..], &["--behind-proxy", "127.0.0.1", "--max-per-ip", "1"]].concat();
    let (serve, log) = Serve::start_logged_with(&mut framewise(&proxied));
    let visit = |address: &str| {
        let field = address.to_owned();
        serve.connect_as("/explain/ws", |request| {
            request.header("X-Forwarded-For", &field).expect("a field")
        })
    };
    let mut peer = visit("192.0.2.7");
    // The page itself is the one connection that its address may have.
    let (report, _) = send(&mut peer, HELLO, "/echo");
    assert_eq!((&report["ended"], &report["written"]), (&json!("closed"), &json!(0)));
    assert!(printed(&report).contains("HTTP/1.1 429 "), "{report}");
    assert!(line_with(&log, "status=429").contains("192.0.2.7"));

    let proxied = [&SERVE[..], &["--behind-proxy", "127.0.0.1", "--max-per-ip", "2"]].concat();
    let (serve, log) = Serve::start_logged_with(&mut framewise(&proxied));
    let visit = |address: &str| {
        let field = address.to_owned();
        serve.connect_as("/explain/ws", |request| {
            request.header("X-Forwarded-For", &field).expect("a field")
        })
    };
    let mut peer = visit("192.0.2.8");
    let (report, _) = send(&mut peer, HELLO, "/echo");
    assert!(printed(&report).contains("'Echo: Hello'"), "{report}");
    assert!(line_with(&log, "path=\"/echo\"").contains("192.0.2.8"));
    // After its end it does not count any more.
    let (report, _) = send(&mut peer, HELLO, "/echo");
    assert!(printed(&report).contains("'Echo: Hello'"), "{report}");
}

/// Without a proxy as well, what a visitor sends counts for the visitor: up to the limit, and not for the address that the
/// server connects from.
#[test]
fn what_is_sent_counts_for_its_visitor_alone() {
    let (serve, log) = Serve::start_logged(&["--max-per-ip", "2"]);
    let connect = |path: &str, last| {
        let from = Some([127, 0, 0, last].into());
        Bare::open(serve.address, path, Options { from, ..Options::default() })
    };
    let send = |page: &mut Bare| {
        let question = json!({"type": "send", "input": UNMASKED, "path": "/echo"});
        page.send(&[&question.to_string()]);
        loop {
            let report = page.json();
            if !report["ended"].is_null() {
                return report;
            }
        }
    };
    // Neither these clients nor the visitors prevent the others from connecting.
    let _clients = [connect("/echo", 1), connect("/echo", 1)];
    let mut pages = [2, 3, 4].map(|last| connect("/explain/ws", last));
    for round in 0..12 {
        let report = send(&mut pages[round % 3]);
        assert!(printed(&report).contains("1002"), "{report}");
    }
    // Two connections are open already.
    let _other = connect("/echo", 4);
    let report = send(&mut pages[2]);
    assert!(printed(&report).contains("HTTP/1.1 429 "), "{report}");
    assert_eq!(report["written"], 0);
    let line = line_with(&log, "status=429");
    assert!(line.contains("address=127.0.0.4 "), "{line}");
    assert!(printed(&send(&mut pages[1])).contains("1002"));
}

/// A visitor from the address that the server connects from is counted like any other.
#[test]
fn a_visitor_has_no_more_connections_than_allowed() {
    let serve = Serve::start(&["--max-per-ip", "1"]);
    let mut peer = serve.connect("/explain/ws");
    let (report, _) = send(&mut peer, HELLO, "/echo");
    assert!(printed(&report).contains("HTTP/1.1 429 "), "{report}");
    assert_eq!(report["written"], 0);
}

/// Bytes that look like a request are frames: they reach no page, least of all /metrics.
#[test]
fn metrics_cannot_be_reached() {
    let serve = Serve::start(&[]);
    let mut peer = serve.connect("/explain/ws");
    let request = "GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n";
    let digits: String = request.bytes().map(|byte| format!("{byte:02x}")).collect();
    for path in ["/", "/echo", "/ws", "/ws/events"] {
        let (report, _) = send(&mut peer, &digits, path);
        let text = printed(&report);
        assert!(text.contains("1002") && !text.contains("framewise_"), "{text}");
    }
}
