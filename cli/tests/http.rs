//! What is answered over HTTP, and who is let in.

mod support;

use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;

use framewise::ClientRequest;
use framewise::ConnectError;
use framewise::Url;
use framewise::{Client, Config, Message};
use serde_json::json;
use support::{KEY, Serve, framewise, handshake, line_with};

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
        ("/elements.js", "text/javascript"),
        ("/memory.js", "text/javascript"),
        ("/outbox.js", "text/javascript"),
        ("/people.js", "text/javascript"),
        ("/texts.js", "text/javascript"),
        ("/docs.js", "text/javascript"),
        ("/style.css", "text/css"),
        ("/icon.svg", "image/svg+xml"),
        ("/favicon.ico", "image/svg+xml"),
        ("/docs", "text/html"),
        ("/asyncapi.json", "application/json"),
    ] {
        let answer = serve.http(path, "");
        assert_eq!(status(&answer), "200", "{path}");
        assert!(answer.contains(&format!("Content-Type: {content_type}")), "{answer}");
        assert!(answer.contains("X-Content-Type-Options: nosniff"), "{path}");
    }
}

/// RFC 9110 13.1.2: a browser that has a file already does not get it again.
#[test]
fn a_file_that_has_not_changed_is_not_sent_again() {
    let serve = Serve::start(&[]);
    for path in ["/app.js", "/docs", "/asyncapi.json"] {
        let answer = serve.http(path, "Accept: text/html\r\n");
        let tag = answer.lines().find_map(|line| line.strip_prefix("ETag: ")).expect("a tag");
        for known in [tag, &format!("W/{tag}"), &format!("\"other\", {tag}"), "*"] {
            let again = serve.http(path, &format!("If-None-Match: {known}\r\n"));
            assert_eq!(status(&again), "304", "{path} {known}");
            assert!(again.ends_with("\r\n\r\n") && again.contains(tag), "{again}");
        }
        assert_eq!(status(&serve.http(path, "If-None-Match: \"other\"\r\n")), "200", "{path}");
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

/// A slash at the end and percent-encoding make no other path. A wrong path is named in the log, and the one that was
/// probably meant in the response.
#[test]
fn a_path_is_found_however_it_is_written() {
    let (serve, log) = Serve::start_logged(&[]);
    for path in ["/ws/", "/%77s", "/ws/events/", "/echo/?a=b"] {
        serve.connect(path);
        assert_eq!(status(&serve.http(path, "")), "426", "{path}");
    }
    let moved = serve.http("/docs/", "");
    assert_eq!(status(&moved), "308");
    assert!(
        moved.contains("\r\nLocation: ../docs\r\n"),
        "the page refers to its files by relative addresses"
    );
    for path in ["/health/", "/%68ealth", "/"] {
        assert_eq!(status(&serve.http(path, "")), "200", "{path}");
    }
    for (path, meant) in [
        ("//ws", "did you mean /ws?"),
        ("/WS", "did you mean /ws?"),
        ("/ws//events", "did you mean /ws/events?"),
        ("/healht", "did you mean /health?"),
        ("/ws/event", "did you mean /ws/events?"),
    ] {
        let answer = refused(&serve, path, |request| request);
        assert_eq!(status(&answer), "404", "{path}");
        assert!(answer.contains(meant), "{answer}");
        line_with(&log, &format!("path=\"{path}\""));
    }
    assert!(!serve.http("/nothing/like/it", "").contains("did you mean"));
    serve.http(&format!("/%1b[2J{}", "a".repeat(200)), "");
    let line = line_with(&log, "path=\"/%1b[2J");
    assert!(!line.contains(&"a".repeat(100)), "{line}");
}

/// RFC 9110 7.8: an upgrade to another protocol, as curl --http2 and the JDK ask for it, changes nothing.
#[test]
fn other_upgrades_are_ignored() {
    let serve = Serve::start(&[]);
    let h2c = "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n";
    for fields in [h2c, "Connection: upgrade\r\n"] {
        for path in ["/health", "/", "/app.js", "/asyncapi.json"] {
            assert_eq!(status(&serve.http(path, fields)), "200", "{path} {fields}");
        }
    }
}

/// Every refusal is in the log, with the option that would admit the request.
#[test]
fn a_refusal_is_logged_with_the_option_that_helps() {
    let (serve, log) = Serve::start_logged(&[]);
    let origin = |value: &'static str| {
        move |request: ClientRequest| request.header("Origin", value).expect("a header")
    };
    refused(&serve, "/ws", origin("https://evil.example"));
    let line = line_with(&log, "https://evil.example");
    assert!(line.contains("--allow-origin https://evil.example"), "{line}");
    serve.raw("GET / HTTP/1.1\r\nHost: chat.example:1\r\nConnection: close\r\n\r\n");
    let line = line_with(&log, "chat.example:1");
    assert!(line.contains("--allow-host chat.example"), "{line}");
    // A browser with wss:// at the plain port.
    let mut stream = TcpStream::connect(serve.address).expect("it listens");
    stream.write_all(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03").expect("a socket");
    line_with(&log, "wss:// was used, this port speaks ws://");
    let (token, log) = Serve::start_logged(&["--token", "segredo"]);
    refused(&token, "/ws?token=outro", |request| request);
    let line = line_with(&log, "status=401");
    assert!(!line.contains("outro") && !line.contains("segredo"), "{line}");
}

/// The names of a server that listens on loopback, and what adds to them.
#[test]
fn further_names_are_admitted_by_options() {
    let get = |serve: &Serve, host: &str| {
        let answer = serve
            .raw(&format!("GET /health HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n"));
        status(&answer).to_owned()
    };
    let serve = Serve::start(&["--allow-host", "chat.example,Sala.example"]);
    assert_eq!(
        (get(&serve, "chat.example:1"), get(&serve, "sala.example")),
        ("200".into(), "200".into())
    );
    assert_eq!(get(&serve, "evil.example"), "403");
    let serve = Serve::start(&["--public-url", "https://school.example/class"]);
    assert_eq!(get(&serve, "school.example"), "200");
    let own = |request: ClientRequest| {
        request.header("Origin", "https://school.example").expect("a header")
    };
    serve.connect_as("/ws", own);
    assert_eq!(status(&refused(&Serve::start(&[]), "/ws", own)), "403");
    // On the network, an address or a name of this machine: a name from elsewhere may be DNS rebinding.
    let mut command = framewise(&["serve", "--host", "0.0.0.0", "--port", "0"]);
    let mut serve = Serve::start_with(&mut command);
    serve.address.set_ip([127, 0, 0, 1].into());
    for host in ["192.168.0.7:8765", "localhost", "ana.local"] {
        assert_eq!(get(&serve, host), "200", "{host}");
    }
    assert_eq!(get(&serve, "evil.example"), "403");
    for wrong in [
        ["--public-url", "school.example"],
        ["--public-url", "https://h/?a"],
        ["--behind-proxy", "x"],
    ] {
        let output = framewise(&["serve", wrong[0], wrong[1]]).output().expect("it runs");
        assert_eq!(output.status.code(), Some(2), "{wrong:?}");
        assert!(String::from_utf8_lossy(&output.stderr).contains(wrong[0]), "{wrong:?}");
    }
}

/// Only the header fields of `--behind-proxy` count: for the address of the client, its host, and pages of this machine.
#[test]
fn a_trusted_proxy_names_the_client() {
    let forwarded = "X-Forwarded-For: 203.0.113.9\r\n";
    let serve = Serve::start(&[]);
    assert_eq!(status(&serve.http("/metrics", "")), "200");
    assert_eq!(status(&serve.http("/metrics", forwarded)), "403", "it is not of this machine");
    assert_eq!(status(&serve.http("/metrics", "Origin: null\r\n")), "403");
    assert_eq!(status(&serve.http("/metrics", "Origin: http://localhost:1\r\n")), "403");
    let (serve, log) = Serve::start_logged(&["--behind-proxy", "127.0.0.0/8", "--max-per-ip", "1"]);
    assert_eq!(status(&serve.http("/metrics", "")), "200");
    assert_eq!(status(&serve.http("/metrics", "X-Forwarded-For: 127.0.0.1\r\n")), "403");
    assert_eq!(status(&serve.http("/metrics", forwarded)), "403");
    let line = line_with(&log, "address=203.0.113.9");
    assert!(line.contains("status=403"), "{line}");
    let contradiction = format!("{forwarded}Forwarded: for=198.51.100.1\r\n");
    assert_eq!(status(&serve.http("/health", &contradiction)), "400");
    line_with(&log, "198.51.100.1, 203.0.113.9");
    let from = |address: &'static str| {
        move |request: ClientRequest| request.header("X-Forwarded-For", address).expect("a header")
    };
    // The cap counts clients, not connections of the proxy.
    let one = serve.connect_as("/ws", from("203.0.113.9"));
    let _other = serve.connect_as("/ws", from("203.0.113.10"));
    let excess = refused(&serve, "/ws", from("203.0.113.9"));
    assert_eq!(status(&excess), "429");
    assert!(excess.contains("\r\nRetry-After: 10\r\n"), "{excess}");
    let line = line_with(&log, "status=429");
    assert!(line.contains("address=203.0.113.9"), "{line}");
    drop(one);
    // Origin and Host as the proxy has seen them.
    let serve =
        Serve::start(&["--behind-proxy", "127.0.0.1", "--public-url", "https://school.example"]);
    let page = |request: ClientRequest| {
        let request = request.header("Origin", "https://school.example").expect("a header");
        request.header("X-Forwarded-Host", "school.example").expect("a header")
    };
    serve.connect_as("/ws/events", page);
}

/// Whoever asks by the public name comes through a proxy, even if the proxy adds no header field.
#[test]
fn a_silent_proxy_does_not_open_private_pages() {
    let serve = Serve::start(&["--public-url", "https://school.example/class"]);
    let get = |path: &str, host: &str| {
        let answer =
            serve.raw(&format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n"));
        status(&answer).to_owned()
    };
    assert_eq!(get("/health", "school.example"), "200");
    assert_eq!(get("/metrics", "School.example:443"), "403");
    assert_eq!(get("/metrics", "localhost"), "200");
}

/// A proxy that speaks HTTP/1.0 is named, to the page as well.
/// Every refusal is in the log, and names something that helps.
#[test]
fn a_hint_can_be_followed() {
    let (serve, log) = Serve::start_logged(&[]);
    for (path, found) in [("/ws?room=%01", "status=400"), ("/ws/events?client=x", "found=\"x\"")] {
        assert_eq!(status(&serve.http(path, "")), "400", "{path}");
        line_with(&log, found);
    }
    for (start, flag) in [
        ("GET / HTTP/1.1\r\nHost: [2001:db8::1]:80", "--allow-host 2001:db8::1"),
        ("GET / HTTP/1.0\r\nAccept: */*", "--allow-host NAME"),
    ] {
        let answer = serve.raw(&format!("{start}\r\n\r\n"));
        assert_eq!(status(&answer), "403", "{start}");
        line_with(&log, &format!("{flag} "));
    }
    // A private page is for the machine itself, and not for a proxy on it.
    for request in [
        "GET /metrics HTTP/1.0\r\nHost: localhost\r\n\r\n",
        "GET /metrics HTTP/1.1\r\nHost: localhost\r\nX-Forwarded-Server: a\r\n\r\n",
    ] {
        let answer = serve.raw(request);
        assert_eq!(status(&answer), "403", "{request}");
        assert!(answer.contains("127.0.0.1, forwarded by a proxy"), "{answer}");
    }
    // A token does not open it to a page of another site.
    let serve = Serve::start(&["--teacher-token", "segredo"]);
    let answer = serve.http("/metrics?token=segredo", "Origin: null\r\n");
    assert!(answer.contains("open the address itself") && !answer.contains("--token"), "{answer}");
}

#[test]
fn a_limit_of_zero_connections_is_an_error() {
    for behind_proxy in [&[][..], &["--behind-proxy", "127.0.0.1"]] {
        let output =
            framewise(&["serve", "--port", "0", "--max-per-ip", "0"]).args(behind_proxy).output();
        let output = output.expect("it runs");
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(error.contains("--max-per-ip"), "{error}");
        assert_ne!(output.status.code(), Some(0));
    }
}

#[test]
fn an_old_proxy_is_named() {
    let (serve, log) = Serve::start_logged(&[]);
    let answer = serve.raw("GET /ws/events HTTP/1.0\r\nHost: localhost\r\n\r\n");
    assert_eq!(status(&answer), "400");
    assert!(answer.contains("proxy_http_version 1.1"), "{answer}");
    serve.raw(&handshake("/ws", "localhost", KEY).replace("HTTP/1.1", "HTTP/1.0"));
    line_with(&log, "proxy_http_version 1.1");
}

/// A proxy that does not pass on the fields of a handshake is named in the log, and to the page that asks what became of its
/// attempt.
#[test]
fn a_proxy_that_drops_the_upgrade_is_named() {
    let (serve, log) = Serve::start_logged(&["--behind-proxy", "127.0.0.1"]);
    let handshake = |id: &str| handshake(&format!("/ws/events?attempt={id}"), "localhost", KEY);
    let asks = |id: &str, language: &str| {
        let target = format!("/ws/events?failed={id}");
        serve.http(&target, &format!("Accept-Language: {language}\r\n"))
    };
    let forwarded = "X-Forwarded-For: 203.0.113.9\r\n\r\n";
    let nothing = format!("GET /ws/events?attempt=none HTTP/1.1\r\nHost: localhost\r\n{forwarded}");
    let cases = [
        ("upgrade", handshake("upgrade").replace("Upgrade: websocket\r\n", ""), "Upgrade: -"),
        (
            "connection",
            handshake("connection").replace(": Upgrade", ": close"),
            "Connection: close",
        ),
        ("none", nothing, "Upgrade: -, Connection: -"),
        ("old", handshake("old").replace("HTTP/1.1", "HTTP/1.0"), "HTTP/1.0"),
    ];
    for (id, request, found) in cases {
        let request = request.replace("\r\n\r\n", &format!("\r\n{forwarded}"));
        assert_eq!(status(&serve.raw(&request)), "400", "{id}");
        let line = line_with(&log, found);
        assert!(line.contains("address=203.0.113.9"), "the client: {line}");
        let directive = if id == "old" {
            "proxy_http_version 1.1"
        } else {
            "proxy_set_header Upgrade $http_upgrade"
        };
        assert!(line.contains(directive) && line.contains("docs/deploy.md"), "{line}");
        let answer = asks(id, "en");
        assert_eq!(status(&answer), "400", "{id}");
        assert!(answer.contains(found) && answer.contains(directive), "{answer}");
        assert_eq!(status(&asks(id, "en")), "426", "it is told once");
    }
    // A student who forgets a field hears of the field, and not of a proxy.
    serve.raw(&handshake("").replace("Upgrade: websocket\r\n", "").replace("?attempt=", ""));
    let line = line_with(&log, "status=400");
    assert!(line.contains("add the line: Upgrade: websocket"), "{line}");
    // In the language of the question, not of the attempt.
    serve.raw(&handshake("pt").replace("HTTP/1.1", "HTTP/1.0"));
    assert!(asks("pt", "pt").contains("o proxy fala HTTP/1.0"));
}

/// Whatever else refuses a handshake is told to the page as well, because a plain request may be admitted: it has no Origin.
#[test]
fn a_page_learns_why_its_websocket_was_refused() {
    let (serve, log) = Serve::start_logged(&["--behind-proxy", "127.0.0.1", "--max-per-ip", "1"]);
    let asks = |id: &str| serve.http(&format!("/ws/events?failed={id}"), "");
    let origin = |value: &'static str| {
        move |request: ClientRequest| request.header("Origin", value).expect("a header")
    };
    refused(&serve, "/ws/events?attempt=page", origin("https://evil.example"));
    let answer = asks("page");
    assert_eq!(status(&answer), "403");
    assert!(answer.contains("--allow-origin https://evil.example"), "{answer}");
    let _first = serve.connect("/ws/events?attempt=first");
    refused(&serve, "/ws/events?attempt=second", |request| request);
    assert_eq!(status(&asks("second")), "429");
    // The server knows whether an attempt has arrived at all.
    let (accepted, unknown) = (asks("first"), asks("third"));
    assert_eq!((status(&accepted), status(&unknown)), ("426", "426"));
    assert!(
        accepted.contains("found: 101") && unknown.contains("seen nothing"),
        "{accepted}{unknown}"
    );
    // Only a rule of the protocol is broken: the client is named as the proxy names it.
    let from = handshake("/ws/events?attempt=version", "localhost", KEY).replace(": 13", ": 12");
    serve.raw(&from.replace("\r\n\r\n", "\r\nX-Forwarded-For: 203.0.113.9\r\n\r\n"));
    line_with(&log, "address=203.0.113.9 status=426");
    assert!(asks("version").contains("Sec-WebSocket-Version: 13"));
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
    assert!(serve.http("/", "").contains("\r\nVary: Accept, Accept-Language\r\n"));
    assert!(serve.http("/", "Accept-Language: pt\r\n").contains("Bem-vindo"));
    assert!(serve.http("/", "Accept-Language: en, pt;q=0.5\r\n").contains("Welcome"));
    assert!(serve.http("/", "Accept: text/html\r\n").contains("\r\nVary: Accept\r\n"));
    assert!(serve.http("/nothing", "").contains("\r\nVary: Accept-Language\r\n"));
}

#[test]
fn a_host_from_elsewhere_is_refused_on_loopback() {
    let serve = Serve::start(&[]);
    for host in ["evil.example", "evil.example:8765", "192.168.0.7"] {
        for path in ["/", "/health", "/metrics", "/ws"] {
            let answer = serve
                .raw(&format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n"));
            assert_eq!(status(&answer), "403", "{host} {path}");
            assert!(answer.contains(&format!("found: {host}\n")), "{answer}");
        }
    }
    let answer =
        serve.raw("GET /health HTTP/1.1\r\nHost: localhost:1\r\nConnection: close\r\n\r\n");
    assert_eq!(status(&answer), "200");
    // However loopback was spelled. Some machines have no ::1.
    let has_ipv6 = std::net::TcpListener::bind("[::1]:0").is_ok();
    for host in ["LOCALHOST", "[::1]", "::1"].iter().take(if has_ipv6 { 3 } else { 1 }) {
        let serve = Serve::start_with(&mut framewise(&["serve", "--host", host, "--port", "0"]));
        let answer =
            serve.raw("GET /health HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n");
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
    for path in ["/echo", "/ws", "/ws/events"] {
        assert_eq!(status(&serve.http(path, "")), "401", "{path}");
    }
    // The page itself can be had, and says what is missing when it connects.
    assert_eq!(status(&serve.http("/", "Accept: text/html\r\n")), "200");
    assert_eq!(status(&serve.http("/health", "")), "200");
}

/// The sender gets back what it has sent, but the log is read by others.
#[test]
fn the_log_has_no_secret_of_a_request_that_is_refused() {
    let options = ["--token", "turma", "--allow-origin", "http://school.example", "--lang", "en"];
    let (serve, log) = Serve::start_logged(&options);
    let host = serve.address;
    let fields = format!("Host: {host}\r\nConnection: close\r\n");
    let get = format!("GET / HTTP/1.1\r\n{fields}");
    let upgrade = handshake("/echo?token=turma", host, KEY);
    let upgrade = upgrade.trim_end();
    for (request, code, found) in [
        (format!("GET /?token=S3CR3T55\r\n{fields}\r\n"), 400, "found=\"GET /?token*********\""),
        (format!("GET /?token=a S3CR3T55\r\n{fields}\r\n"), 400, "found=\"********\""),
        (format!("GET /?token=S3CR3T55# HTTP/1.1\r\n{fields}\r\n"), 400, "/?token***"),
        (format!("GET /?password=S3CR3T55# HTTP/1.1\r\n{fields}\r\n"), 400, "/?passw***"),
        (format!("{get}Authorization Bearer S3CR3T55\r\n\r\n"), 400, "found=\"Auth***"),
        (format!("{get}Cookie : S3CR3T55\r\n\r\n"), 400, "found=\"Cookie***"),
        ("GET / HTTP/1.1\r\nHost: a?token=S3CR3T55\r\n\r\n".to_owned(), 400, "found=\"a?token***"),
        (
            format!("{upgrade}\r\nOrigin: http://ana:S3CR3T55@x/?jwt=S3CR3T55\r\n\r\n"),
            403,
            "x/?jwt",
        ),
        (format!("GET / HTTP/1.1 x\r\n{fields}\r\n"), 400, "found=\"GET / HTTP/1.1 x\""),
    ] {
        let answer = serve.raw(&request);
        assert_eq!(status(&answer), code.to_string(), "{request}{answer}");
        let line = line_with(&log, &format!("status={code}"));
        assert!(
            line.contains(found)
                && !["S3CR3T55", "turma"].iter().any(|secret| line.contains(secret)),
            "{request}{line}"
        );
    }
}

/// The token of the class opens nothing that is the teacher's, and the teacher's token opens it from everywhere.
#[test]
fn the_teachers_pages_open_with_the_teachers_token() {
    let forwarded = "X-Forwarded-For: 203.0.113.9\r\n";
    let options = ["--token", "turma", "--teacher-token", "a+b c", "--lang", "en"];
    let (serve, log) = Serve::start_logged(&options);
    for (target, fields, found) in [
        ("/metrics", "", "no token"),
        ("/metrics?token=turma", "", "the token of the class"),
        ("/metrics", "Authorization: Bearer turma\r\n", "the token of the class"),
        ("/metrics?token=professor", "", "another token"),
        ("/metrics?token=a", "", "another token"),
    ] {
        let answer = serve.http(target, fields);
        assert_eq!(status(&answer), "401", "{target} {fields}");
        assert!(answer.contains("\r\nWWW-Authenticate: Bearer\r\n"), "{answer}");
        assert!(answer.contains(&format!("found: {found}\n")), "{answer}");
        assert!(answer.contains("--teacher-token") && !answer.contains("a+b"), "{answer}");
        let line = line_with(&log, "status=401");
        assert!(line.contains(found) && line.contains("--teacher-token"), "{line}");
        assert!(!["turma", "professor", "a+b"].iter().any(|token| line.contains(token)), "{line}");
    }
    for (target, fields) in [
        ("/metrics?token=a+b+c", ""),
        ("/metrics?token=a%2Bb%20c", forwarded),
        ("/metrics", "Authorization: bearer a+b c\r\n"),
    ] {
        assert_eq!(status(&serve.http(target, fields)), "200", "{target} {fields}");
    }
    // It is no token of the class.
    assert_eq!(status(&refused(&serve, "/ws?token=a+b+c", |request| request)), "401");

    // With a token of the class alone, it is as if there were none: this machine, and no other.
    let serve = Serve::start(&["--token", "turma"]);
    assert_eq!(status(&serve.http("/metrics", "")), "200");
    let answer = serve.http("/metrics?token=turma", forwarded);
    assert_eq!(status(&answer), "403");
    assert!(answer.contains("--teacher-token"), "{answer}");
}

/// One token for both would open what is the teacher's to the class. In a query, a plus and a space are the same.
#[test]
fn the_two_tokens_differ() {
    for (class, teacher) in [("segredo", "segredo"), ("a+b", "a b")] {
        for (lang, expected) in [("en", "the whole class"), ("pt", "a turma inteira")] {
            let arguments = ["serve", "--port", "0", "--token", class, "--lang", lang];
            let output = framewise(&arguments).env("FRAMEWISE_TEACHER_TOKEN", teacher).output();
            let output = output.expect("it runs");
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            assert_eq!(output.status.code(), Some(1), "{said}");
            assert!(said.contains(expected) && said.contains("FRAMEWISE_TEACHER_TOKEN"), "{said}");
            assert!(!said.contains(class), "{said}");
        }
    }
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
    assert_eq!(status(&answer_of(&Serve::start(&["--strict-key"]))), "400");
    assert_eq!(status(&answer_of(&Serve::start(&["--lenient-key"]))), "101");
    let (serve, log) = Serve::start_logged(&[]);
    let answer = answer_of(&serve);
    assert_eq!(status(&answer), "101");
    line_with(&log, "13 bytes");
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
    let serve = Serve::start(&["--rate", "0", "--rate-bytes", "0"]);
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

/// The start page says how many messages the server keeps.
#[test]
fn the_start_page_says_what_is_kept() {
    for (arguments, count) in [(&[][..], 200), (&["--history", "0"], 0), (&["--history", "7"], 7)] {
        let serve = Serve::start(arguments);
        let page = serve.http("/", "Accept: text/html\r\n");
        assert!(page.contains(&format!("id=\"kept\" data-count=\"{count}\"")), "{page}");
    }
}
