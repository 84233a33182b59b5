//! What is answered over HTTP, and who is let in.

mod support;

use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;

use framewise::ClientRequest;
use framewise::ConnectError;
use framewise::Url;
use framewise::{Client, Config, Message};
use serde_json::json;
use support::{Serve, framewise, handshake};

fn status(answer: &str) -> &str {
    answer.split(' ').nth(1).expect("a status")
}

/// The answer to a handshake that is refused.
fn refused(
    serve: &Serve,
    target: &str,
    with: impl FnOnce(ClientRequest) -> ClientRequest,
) -> String {
    let url = Url::parse(&format!("ws://{}{target}", serve.address)).expect("a URL");
    match Client::open(&with(ClientRequest::new(url)), Config::default()) {
        Err(ConnectError::Rejected(rejected)) => {
            String::from_utf8(rejected.response).expect("text")
        }
        other => panic!("a refusal was due, not {other:?}"),
    }
}

#[test]
fn the_root_is_a_welcome_or_the_page() {
    let serve = Serve::start(&["--lang", "pt"]);
    assert_eq!(serve.json("/"), json!({"message": "Bem-vindo ao servidor WebSocket"}));
    let page = serve.http("/", "Accept: text/html,application/xhtml+xml;q=0.9\r\n");
    assert!(page.contains("Content-Type: text/html; charset=utf-8\r\n"), "{page}");
    assert!(page.contains("Content-Security-Policy: default-src 'none'; "));
    assert!(page.contains("<title>framewise</title>"));
    let serve = Serve::start(&["--lang", "en"]);
    assert_eq!(serve.json("/"), json!({"message": "Welcome to the WebSocket server"}));
}

#[test]
fn every_file_of_the_page_is_there_with_its_type() {
    let serve = Serve::start(&[]);
    for (path, content_type) in [
        ("/app.js", "text/javascript"),
        ("/connection.js", "text/javascript"),
        ("/memory.js", "text/javascript"),
        ("/people.js", "text/javascript"),
        ("/texts.js", "text/javascript"),
        ("/docs.js", "text/javascript"),
        ("/style.css", "text/css"),
        ("/icon.svg", "image/svg+xml"),
        ("/docs", "text/html"),
        ("/asyncapi.json", "application/json"),
    ] {
        let answer = serve.http(path, "");
        assert_eq!(status(&answer), "200", "{path}");
        assert!(answer.contains(&format!("Content-Type: {content_type}")), "{answer}");
        assert!(answer.contains("X-Content-Type-Options: nosniff"), "{path}");
    }
}

#[test]
fn health_counts_open_websockets() {
    let serve = Serve::start(&[]);
    let health = serve.json("/health");
    assert_eq!((&health["status"], &health["connections"]), (&json!("ok"), &json!(0)));
    assert_eq!(health["version"], env!("CARGO_PKG_VERSION"));
    assert!(health["uptime_seconds"].is_u64());
    let peers = [serve.connect("/echo"), serve.connect("/ws"), serve.connect("/ws/events")];
    assert_eq!(serve.json("/health")["connections"], 3);
    drop(peers);
}

#[test]
fn a_path_that_is_not_there_teaches() {
    let serve = Serve::start(&[]);
    for path in ["/nothing", "/wire", "/ws/other"] {
        let answer = serve.http(path, "Accept-Language: pt\r\n");
        assert_eq!(status(&answer), "404", "{path}");
        assert!(answer.contains(&format!("encontrado: {path}\n")), "{answer}");
    }
    // What is shown of it has an end, and nothing else of the query is shown.
    let answer = serve.http(&format!("/{}?token=segredo", "a".repeat(500)), "");
    let found = answer.lines().find(|line| line.starts_with("found: ")).expect("a line");
    assert!(found.len() < 100 && found.ends_with("aaa…"), "{found}");
    let answer = refused(&serve, "/ws?room=%07&token=segredo", |request| request);
    assert!(answer.contains("found: \\u{7}\n") && !answer.contains("segredo"), "{answer}");
    assert_eq!(status(&refused(&serve, "/nothing", |request| request)), "404");
    assert_eq!(status(&refused(&serve, "/ws?room=", |request| request)), "400");
    assert_eq!(status(&refused(&serve, "/ws?room=%ff", |request| request)), "400");
    assert_eq!(status(&refused(&serve, "/ws?room=a%00", |request| request)), "400");
}

#[test]
fn a_page_is_asked_for_where_a_websocket_is() {
    let serve = Serve::start(&[]);
    for path in ["/echo", "/ws", "/ws/events", "/ws?room=7a"] {
        let answer = serve.http(path, "");
        assert_eq!(status(&answer), "426", "{path}");
        assert!(answer.contains("\r\nUpgrade: websocket\r\n"), "{answer}");
        assert!(answer.contains("\r\nConnection: Upgrade, close\r\n"), "{answer}");
        assert!(answer.contains("\r\nSec-WebSocket-Version: 13\r\n"), "{answer}");
    }
    assert_eq!(status(&serve.http("/ws?room=%00", "")), "400");
}

#[test]
fn what_depends_on_the_request_says_so_to_caches() {
    let serve = Serve::start(&[]);
    assert!(serve.http("/", "").contains("\r\nVary: Accept\r\n"));
    assert!(serve.http("/", "Accept: text/html\r\n").contains("\r\nVary: Accept\r\n"));
    assert!(serve.http("/nothing", "").contains("\r\nVary: Accept-Language\r\n"));
}

#[test]
fn a_host_from_elsewhere_is_refused_on_loopback() {
    let serve = Serve::start(&[]);
    for host in ["evil.example", "evil.example:8765", "192.168.0.7"] {
        for path in ["/", "/health", "/metrics", "/ws"] {
            let answer = serve.raw(&format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n"));
            assert_eq!(status(&answer), "403", "{host} {path}");
            assert!(answer.contains(&format!("found: {host}\n")), "{answer}");
        }
    }
    let answer = serve.raw("GET /health HTTP/1.1\r\nHost: localhost:1\r\n\r\n");
    assert_eq!(status(&answer), "200");
    // However loopback was spelled. Some machines have no ::1.
    let has_ipv6 = std::net::TcpListener::bind("[::1]:0").is_ok();
    for host in ["LOCALHOST", "[::1]", "::1"].iter().take(if has_ipv6 { 3 } else { 1 }) {
        let serve = Serve::start_with(&mut framewise(&["serve", "--host", host, "--port", "0"]));
        let answer = serve.raw("GET /health HTTP/1.1\r\nHost: evil.example\r\n\r\n");
        assert_eq!(status(&answer), "403", "{host}");
    }
}

#[test]
fn a_token_is_asked_for_where_it_matters() {
    let serve = Serve::start(&["--token", "segredo"]);
    for path in ["/", "/echo", "/ws", "/ws/events"] {
        for target in
            [path.to_owned(), format!("{path}?token=outro"), format!("{path}?token=segred")]
        {
            let answer = refused(&serve, &target, |request| request);
            assert_eq!(status(&answer), "401", "{target}");
            assert!(answer.contains("WWW-Authenticate: Bearer\r\n") && !answer.contains("segredo"));
        }
        let with_header = |request: ClientRequest| {
            request.header("Authorization", "Bearer segredo").expect("a header")
        };
        serve.connect(&format!("{path}?token=segredo"));
        serve.connect_as(path, with_header);
    }
    // An address written by hand has a plus where one was meant.
    let plus = Serve::start(&["--token", "a+b c"]);
    for token in ["a+b+c", "a%2Bb%20c", "a+b%20c"] {
        plus.connect(&format!("/ws?token={token}"));
    }
    for path in ["/metrics", "/wire", "/echo", "/ws", "/ws/events"] {
        assert_eq!(status(&serve.http(path, "")), "401", "{path}");
    }
    assert_eq!(status(&serve.http("/metrics", "Authorization: bearer segredo\r\n")), "200");
    assert_eq!(status(&serve.http("/metrics?token=segredo", "")), "200");
    // The page itself can be had, and says what is missing when it connects.
    assert_eq!(status(&serve.http("/", "Accept: text/html\r\n")), "200");
    assert_eq!(status(&serve.http("/health", "")), "200");
}

#[test]
fn pages_from_elsewhere_need_permission() {
    let origin = |value: &'static str| {
        move |request: ClientRequest| request.header("Origin", value).expect("a header")
    };
    let serve = Serve::start(&[]);
    assert_eq!(status(&refused(&serve, "/ws", origin("https://evil.example"))), "403");
    // A page from a file, from a development server, and from a classmate's machine.
    for local in ["null", "http://localhost:5500", "http://192.168.0.9:8080", "http://ana.local"] {
        serve.connect_as("/ws", origin(local));
        let strict = Serve::start(&["--allow-origin", "same-host"]);
        assert_eq!(status(&refused(&strict, "/ws", origin(local))), "403", "{local}");
    }
    let only_null = Serve::start(&["--allow-origin", "null"]);
    only_null.connect_as("/ws", origin("null"));
    assert_eq!(status(&refused(&only_null, "/ws", origin("http://localhost:5500"))), "403");
    // With a token, whoever knows it may connect.
    let token = Serve::start(&["--token", "segredo"]);
    token.connect_as("/ws?token=segredo", origin("https://evil.example"));
    let serve = Serve::start(&["--allow-origin", "https://escola.example"]);
    serve.connect_as("/ws", origin("https://escola.example"));
    let own = format!("http://{}", serve.address);
    serve.connect_as("/ws", |request| request.header("Origin", &own).expect("a header"));
    assert_eq!(status(&refused(&serve, "/ws", origin("https://evil.example"))), "403");
    let serve = Serve::start(&["--allow-origin", "any"]);
    serve.connect_as("/ws", origin("https://evil.example"));
}

/// A value that no page can have is an error that names the flag.
#[test]
fn an_origin_that_can_never_match_is_an_error() {
    for origin in ["http://*.example.org", "http://h:70000", "example.org", "https://h/path", ""] {
        let output = framewise(&["serve", "--port", "0", "--allow-origin", origin]).output();
        let output = output.expect("it runs");
        assert_eq!(output.status.code(), Some(2), "{origin}");
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(text.contains("--allow-origin"), "{text}");
    }
}

#[test]
fn a_key_of_another_length_is_taken_where_that_was_asked_for() {
    let answer_of = |serve: &Serve| {
        let mut stream = TcpStream::connect(serve.address).expect("it listens");
        let request = handshake("/echo", serve.address, "SGVsbG8sIHdvcmxkIQ==");
        stream.write_all(request.as_bytes()).expect("a socket");
        let lines = BufReader::new(stream).lines().map(|line| line.expect("text"));
        lines.take_while(|line| !line.is_empty()).collect::<Vec<String>>().join("\n")
    };
    assert_eq!(status(&answer_of(&Serve::start(&[]))), "400");
    let answer = answer_of(&Serve::start(&["--lenient-key"]));
    assert_eq!(status(&answer), "101");
    assert!(answer.contains("Sec-WebSocket-Accept: qGEgH3En71di5rrssAZTmtRTyFk="), "{answer}");
    assert!(answer.contains("Framewise-Note: Sec-WebSocket-Key decodes to 13 bytes"), "{answer}");
}

#[test]
fn caps_are_answered() {
    let serve = Serve::start(&["--max-connections", "1"]);
    let one = serve.connect("/echo");
    assert_eq!(status(&refused(&serve, "/echo", |request| request)), "503");
    drop(one);
    let serve = Serve::start(&["--max-per-ip", "1"]);
    let _one = serve.connect("/echo");
    assert_eq!(status(&refused(&serve, "/echo", |request| request)), "429");
}

#[test]
fn metrics_count_what_happened() {
    let serve = Serve::start(&[]);
    let mut peer = serve.connect("/echo");
    assert_eq!(peer.send("olá").text(), "Echo: olá");
    let mut raw = serve.connect("/ws");
    raw.0.send(Message::from("x")).expect("open");
    raw.0.close(framewise::CloseCode(4000), "").expect("a code of one's own");
    let metrics = serve.http("/metrics", "");
    assert!(metrics.contains("Content-Type: application/openmetrics-text; version=1.0.0"));
    for line in [
        "framewise_connections 1",
        "framewise_handshakes_total{result=\"opened\",status=\"101\"} 2",
        "framewise_messages_total{direction=\"in\",opcode=\"text\"} 2",
        "framewise_messages_total{direction=\"out\",opcode=\"text\"} 1",
        "framewise_message_payload_bytes_total{direction=\"in\",opcode=\"text\"} 5",
        "framewise_closes_total{code=\"other\"} 1",
        "framewise_output_queued_bytes 0",
    ] {
        assert!(metrics.lines().any(|found| found == line), "{line} is not in\n{metrics}");
    }
    assert!(metrics.contains("framewise_loop_pass_seconds_bucket{le=\""));
    assert!(metrics.ends_with("# EOF\n"));
}

#[test]
fn metrics_tell_what_waits_for_a_client_that_does_not_read() {
    let serve = Serve::start(&["--rate", "0"]);
    // It asks for more than its own socket and the server's take, and reads nothing of it.
    let mut slow = serve.connect("/echo");
    let queued = || -> u64 {
        let metrics = serve.http("/metrics", "");
        let name = "framewise_output_queued_bytes ";
        let value = metrics.lines().find_map(|line| line.strip_prefix(name));
        value.expect("a value").parse().expect("a number")
    };
    let chunk = "a".repeat(1 << 16);
    let began = std::time::Instant::now();
    while queued() == 0 {
        assert!(began.elapsed() < support::PATIENCE, "nothing is said to wait");
        // As long as the server reads.
        if slow.0.queued() == 0 {
            assert!(slow.0.send(Message::from(&chunk)).expect("it takes bytes"));
        }
    }
}
