//! Tests of the redactor: what it hides in which place, that splits make no difference, and that it agrees with the server about
//! where heads, bodies and frames begin.

use framewise::protocol::connection::{Connection, Event, State};
use framewise::{Cause, Config, Decision, Response};
use proptest::prelude::*;
use proptest::sample::Index;

use super::*;

/// Bytes of one direction, in the order in which they pass.
type Step = (Direction, Vec<u8>);

fn client(bytes: impl AsRef<[u8]>) -> Step {
    (Direction::In, bytes.as_ref().to_vec())
}

fn server(bytes: impl AsRef<[u8]>) -> Step {
    (Direction::Out, bytes.as_ref().to_vec())
}

/// Redacts the steps in pieces of `size` bytes, and returns them in one text.
fn redacted_in(size: usize, steps: &[Step]) -> String {
    let mut redactor = Redactor::default();
    let mut all = Vec::new();
    for (direction, bytes) in steps {
        for piece in bytes.chunks(size) {
            let shown = redactor.redact(*direction, piece);
            assert_eq!(shown.len(), piece.len());
            all.extend(shown);
        }
    }
    String::from_utf8_lossy(&all).into_owned()
}

fn redacted(steps: &[Step]) -> String {
    let whole = redacted_in(usize::MAX, steps);
    for size in 1..8 {
        assert_eq!(redacted_in(size, steps), whole);
    }
    whole
}

/// Asserts that exactly the text between `{` and `}` is replaced.
fn check(steps: &[Step]) {
    let (mut wire, mut expected) = (Vec::new(), Vec::new());
    for (direction, bytes) in steps {
        let mut is_secret = false;
        let mut piece = Vec::new();
        for &byte in bytes {
            match byte {
                b'{' => is_secret = true,
                b'}' => is_secret = false,
                _ => {
                    piece.push(byte);
                    expected.push(if is_secret { MARK } else { byte });
                }
            }
        }
        wire.push((*direction, piece));
    }
    assert_eq!(redacted(&wire), String::from_utf8_lossy(&expected));
}

const GET: &str = "GET / HTTP/1.1\r\nHost: h\r\n\r\n";
const HANDSHAKE: &str = "GET /ws HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
    Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
const SWITCHING: &str =
    "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n";
/// Frames, or bytes that stand for some, which must not change.
const FRAMES: &str = "\u{1}\r\nCookie: a\r\nGET /?token=b HTTP/1.1\r\n\r\nAuthorization: c\r\n";

#[test]
fn secrets_become_asterisks_and_nothing_else_changes() {
    check(&[
        client(
            "GET /ws?token={segredo}&room=7a HTTP/1.1\r\nHost: h\r\nCOOKIE:  {id=42; a}\r\n\
             authorization: {Bearer segredo}\r\nProxy-Authorization:{Basic eA==}\r\n\
             X-API-Key: {a}\r\nX-Auth-Token: {b}\r\nReferer: http://h/?a=1&token={segredo}&b=2\r\n\
             X-Url: /?access_token={s;x} y\r\nX-Biscuit: yes\r\nUpgrade: websocket\r\n\r\n",
        ),
        server("HTTP/1.1 103 Early Hints\r\nSet-Cookie: {a}\r\n\r\n"),
        server("HTTP/1.1 101 x\r\nset-cookie: {b=1}\r\nLocation: /?token={x}\r\n\r\n"),
        client(FRAMES),
        server(FRAMES),
        client(FRAMES),
    ]);
}

/// The name of a field decides. What only asks for credentials, or has a name of the handshake, stays.
#[test]
fn fields_with_a_secret_in_their_name_become_asterisks() {
    for name in [
        "X-Access-Token",
        "Token",
        "X-CSRF-Token",
        "Api-Key",
        "apikey",
        "X_Api_Key",
        "X-Amz-Security-Token",
        "X-Forwarded-Authorization",
        "Authentication-Info",
        "Cookie2",
        "X-Client-Secret",
        "X-Password",
        "X-Some-Very-Long-Name-That-Has-A-Token-In-It",
        "JWT-Assertion",
    ] {
        for name in [name.to_owned(), name.to_ascii_uppercase()] {
            let fields = format!("{name}: {{segredo; a=b}}\r\nA: b\r\n");
            check(&[
                client(format!("GET / HTTP/1.1\r\nHost: h\r\n{fields}\r\n")),
                server(format!("HTTP/1.1 200 x\r\nContent-Length: 0\r\n{fields}\r\n")),
            ]);
        }
    }
    check(&[
        client(
            "GET / HTTP/1.1\r\nHost: token.auth.example\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
             Sec-WebSocket-Extensions: permessage-deflate; a=b\r\nTok-en: a\r\nVary: Cookie, Authorization\r\n\r\n",
        ),
        server(
            "HTTP/1.1 401 x\r\nWWW-Authenticate: Bearer realm=\"a\", error=\"invalid_token\"\r\n\
             Proxy-Authenticate: Basic realm=\"b\"\r\nContent-Length: 0\r\n\r\n",
        ),
    ]);
}

/// The name of a parameter decides in the same way, in a request line and in a field, also in a URL within a URL.
#[test]
fn parameters_with_a_secret_in_their_name_become_asterisks() {
    for name in [
        "password",
        "passwd",
        "senha",
        "jwt",
        "auth",
        "authToken",
        "token_id",
        "client_secret",
        "api_key",
        "api-key",
        "apikey",
        "cookie",
        "%70assword",
        "pass%77ord",
        "x.token[0]",
    ] {
        check(&[client(format!(
            "GET /?a=1&{name}={{segredo}}&b=2 HTTP/1.1\r\nHost: h\r\n\
             Referer: http://h/?{name}={{segredo}}&b=2\r\n\
             X-Next: http://h/?next=%2F%3Fa%3D1%26{name}%3D{{segredo%26b}}&room=7a\r\n\r\n"
        ))]);
    }
    // The name of one parameter has nothing to do with the value of another one.
    for query in ["token&a=b", "token;a=b", "author/x=1", "pasword=1", "a=b", "pass=1,word=2"] {
        check(&[client(format!("GET /?{query} HTTP/1.1\r\nHost: h\r\n\r\n"))]);
    }
    // A line without a colon.
    check(&[client("GET / HTTP/1.1\r\nHost: h\r\nCookie={segredo}\r\n\r\n")]);
}

/// RFC 3986 3.2.1: what precedes the host in a URL. A port is no password, whatever host it belongs to.
#[test]
fn passwords_in_urls_become_asterisks() {
    for url in [
        "http://ana:{segredo}@h:8765/a?b=c:d@e",
        "http://ana:{segredo:x}@[::1]:8765/",
        "https://:{segredo}@h",
        "ws://ana:1{segredo/1?x#}@h/",
        "http://ana:6553{61}@h:65535",
        "http://ana@h:80/a:b",
        "http://ana:{,}@h:80,x:y;z",
        "http://localhost:8765/a:b",
        "http://127.0.0.1:8765?a:b",
        "http://[2001:db8::1]:8765/",
        "http://[::1{zz}@h",
        "http://h",
        "http://h?a:b",
        "http:/h:a",
        "http%3A%2F%2Fh%3A{%38765%2Fa}&b:c",
        "/?next=http%3A%2F%2Fana%3A{segredo%40h%2Fa}&b=c:d",
        "/?next=http%3a//ana:{segredo}@h&b=c:d",
    ] {
        check(&[client(format!("GET / HTTP/1.1\r\nHost: h\r\nReferer: {url}\r\nA: b:c\r\n\r\n"))]);
        check(&[client(format!("GET {url} HTTP/1.1\r\nHost: h\r\nA: b:c\r\n\r\n"))]);
    }
}

/// The heads of all requests and responses of a connection are found, whatever bodies are between them.
#[test]
fn secrets_of_later_requests_and_responses_become_asterisks() {
    let with_body = "HTTP/1.1 200 OK\r\nContent-Length: 22\r\nSet-Cookie: {a}\r\n\r\n";
    // The body of a page is no secret, even if it looks like one.
    let body = "Cookie: a\r\n?token=b\r\n\r\n";
    let page = format!("{with_body}{body}");
    check(&[
        client("GET /?token={a} HTTP/1.1\r\nHost: h\r\nCookie: {b}\r\n\r\n"),
        server(&page),
        client("HEAD /?token={c} HTTP/1.1\r\nHost: h\r\nCookie: {d}\r\n\r\n"),
        server(with_body),
        // Several at once, which may have an empty line before them.
        client(
            "\r\nGET /?token={e} HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n\r\n\
             HEAD / HTTP/1.1\r\nHost: h\r\nReferer: http://h/?token={f}\r\n\r\n\
             GET / HTTP/1.1\r\nHost: h\r\nAuthorization: {g}\r\n\r\n",
        ),
        server(format!("{page}{with_body}")),
        server("HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\nSet-Cookie: {h}\r\n\r\n"),
        client(GET.repeat(3)),
        server("HTTP/1.1 204 No Content\r\nLocation: /?token={i}\r\n\r\n"),
        server("HTTP/1.1 301 x\r\nContent-Length: 0\r\nLocation: /?token={j}\r\n\r\n"),
        server(
            "HTTP/1.1 404 x\r\nContent-Length: 17\r\nSet-Cookie: {k}\r\n\r\nno /?token={k} here\n",
        ),
        client("GET / HTTP/1.1\r\nHost: h\r\nCookie: {l}\r\nSec-WebSocket-Key: x\r\n\r\n"),
        server(SWITCHING),
        server(FRAMES),
        client(FRAMES),
    ]);
}

/// Nobody knows whether the server accepts when bytes follow the handshake at once.
#[test]
fn what_follows_a_handshake_too_early_is_searched_by_line() {
    let early = "\u{1}\r\nCookie: {a}\r\nGET /?token={b} HTTP/1.1\r\n\r\nAuthorization: {c}\r\n";
    for handshake in [
        HANDSHAKE,
        "GET / HTTP/1.1\r\nupgrade: h2c,\twebSocket \r\n\r\n",
        "GET / HTTP/1.1\r\nSEC-websocket-foo: 1\r\n\r\n",
    ] {
        let with_early = format!("{handshake}{early}");
        check(&[client(&with_early), server(SWITCHING), client(FRAMES), server(FRAMES)]);
        // Without a 101, it stays so.
        let refusal = "HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n";
        check(&[client(&with_early), server(refusal), client(early)]);
    }
    // These ask for no WebSocket, so that another request follows.
    for plain in
        ["Upgrade: websocket2", "Upgrade: web socket", "Upgrade: x", "X-Sec-WebSocket-Key: x"]
    {
        let request = format!("GET / HTTP/1.1\r\n{plain}\r\n\r\n");
        check(&[client(&request), client("{\u{1}\r\nCookie: a\r\n}")]);
    }
}

#[test]
fn tokens_in_subprotocols_become_asterisks() {
    for value in [
        "chat, mqtt",
        "chat, bearer, {segredo}",
        "Bearer.{segredo},{chat}",
        "base64url.bearer.{authorization.k8s.io.c2VncmVkbw}, {base64.binary.k8s.io}",
        "access_token-{-segredo}",
        "eyJ{hbGciOiJIUzI1NiJ9.e30.c2VncmVkbw}",
        "bearer\r\nHost: h\r\nSec-WebSocket-Protocol:{segredo}",
    ] {
        let head = format!("GET / HTTP/1.1\r\nsec-WebSocket-protocol: {value}\r\nA: b\r\n\r\n");
        check(&[client(&head)]);
    }
    check(&[
        client(HANDSHAKE),
        server("HTTP/1.1 101 x\r\nSec-WebSocket-Protocol: bearer.{segredo}\r\n\r\n"),
        server(FRAMES),
    ]);
}

/// The server accepts no body, so nobody reads what follows.
#[test]
fn what_cannot_be_a_request_is_replaced() {
    let rest =
        "{{\"token\":\"a\"}\r\n\r\nGET / HTTP/1.1\r\n\r\n}".replace("{{", "{").replace("\"}", "\"");
    for head in [
        "POST / HTTP/1.1\r\n\r\n",
        "GET / HTTP/1.1\r\nContent-Length: 5\r\n\r\n",
        "GET / HTTP/1.1\r\nContent-Length: x\r\n\r\n",
        "GET / HTTP/1.1\r\nContent-Length: 0\r\nContent-length: 0\r\n\r\n",
        "GET / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n",
        "PRI * HTTP/2.0\r\n\r\n",
        "GET  / HTTP/1.1\r\n\r\n",
        "GET / HTTP/1.1 \r\n\r\n",
        "GET / HTTP/1.1\n\n",
        "GET / HTTP/1.1\r\nA: \0\r\n\r\n",
        "GET / HTTP/1.1\r\nA: b\rc\r\n\r\n",
        "GET / HTTP/1.1\r\nA: b\r\n c\r\n\r\n",
        "GET / HTTP/1.1\r\nno colon\r\n\r\n",
    ] {
        check(&[client(head), client(&rest), server("HTTP/1.1 400 x\r\n\r\n"), client(&rest)]);
    }
    check(&[client(GET), client("{\u{16}\u{3}\r\n\r\nGET / HTTP/1.1\r\n\r\n}")]);
}

/// Each of these is a head that the server refuses or reads in a way of its own.
#[test]
fn secrets_do_not_show_in_heads_that_are_written_otherwise() {
    for head in [
        "GET /?%74oken=SECRET HTTP/1.1\r\n",
        "GET /?Token=SECRET HTTP/1.1\r\n",
        "GET /?%zztoken=SECRET HTTP/1.1\r\n",
        "GET /?%%74oken=SECRET HTTP/1.1\r\n",
        "GET /?ttoken=SECRET HTTP/1.1\r\n",
        "GET /?totoken=SECRET HTTP/1.1\r\n",
        "GET /?token=SECRET SECRET HTTP/1.1\r\n",
        "GET /?token=SECRET  SECRET\tSECRET\r\n",
        "GET /?token=#SECRET HTTP/1.1\r\n",
        "GET /?token=a HTTPSECRET\r\n",
        "GET /?token=a HTTP/SECRET HTTP/1.1\r\n",
        "GET /?token=a\nSECRET HTTP/1.1\r\n",
        "GET / HTTP/1.1\r\nCookie : SECRET\r\n",
        "GET / HTTP/1.1\r\nCookie SECRET\r\n",
        "GET / HTTP/1.1\r\nCookie: a\r\n SECRET\r\n\tSECRET\r\n",
        "GET / HTTP/1.1\r\nCookie: a\nSECRET\r\n",
        "GET / HTTP/1.1\r\n Cookie: SECRET\r\n",
        "GET / HTTP/1.1\nCookie: SECRET\n",
        "GET / HTTP/1.1\rCookie: SECRET\r",
        "GET / HTTP/1.1\nUpgrade: websocket\n\nCookie: SECRET\n",
        "GET / HTTP/1.1\nUpgrade: websocket\n\r\nCookie: SECRET\n",
        "GET / HTTP/1.1\r\nA: b\n\r\n\r\nCookie: SECRET\n",
        "GET / HTTP/1.1\nUpgrade: x\r\n\r\n\x01\r\nCookie: SECRET\r\n",
        "GET / HTTP/1.1\r\nCookie: \rSECRET\rSECRET\r\n",
        "GET /?token=a\rSECRET HTTP/1.1\r\n",
        "GET / HTTP/1.1\r\nReferer: /?token=a\rSECRET\r\n",
        "GET / HTTP/1.1\r\nReferer: http://h/?next=%2F%3Ftoken%3DSECRET\r\n",
        "GET /?token%zz=SECRET HTTP/1.1\r\n",
        "GET / HTTP/1.1\r\nX-Token : SECRET\r\n",
        "GET / HTTP/1.1\r\nX-Password SECRET\r\n",
        "GET / HTTP/1.1\r\nX-Tokens: a\r\n SECRET\r\n",
        "GET / HTTP/1.1\r\nReferer: http://ana:\rSECRET@h\r\n",
        "GET http://ana:\nSECRET@h HTTP/1.1\r\n",
        "GET / HTTP/1.1\r\n\r\nGET / HTTP/1.1\r\nCookie: SECRET\r\n",
        "GET / HTTP/1.1\r\nUpgrade: x\r\n\r\nGET /?token=SECRET HTTP/1.1\r\nCookie: SECRET\r\n",
        "GET / HTTP/1.1\r\nUpgrade: x\r\n\r\nAuthorization: SECRET\r\n",
        "GET / HTTP/1.1\r\nUpgrade: websocket\r\n\r\nAuthorization: SECRET\r\n",
        "\r\n\r\nCookie: SECRET\r\n",
        "Cookie: SECRET",
    ] {
        let shown = redacted(&[client(head)]);
        assert!(!shown.contains("SECRET") && shown.len() == head.len(), "{shown}");
        let marks = shown.bytes().filter(|&byte| byte == MARK).count();
        assert!(marks >= "SECRET".len(), "{shown}");
    }
}

/// A refusal quotes what it refuses, and examples are no secrets.
#[test]
fn quotes_in_the_bodies_of_errors_become_asterisks() {
    for (status, body) in [
        (426, "rule: a\nsection: b\nfound: /\nfix: open ws://h/?token={SECRET} there\n"),
        (400, "rule: a\nsection: b\nfound: GET /?token{=a SECRET HTTP/1.1}\nfix: c\n"),
        (400, "rule: a token\nsection: b\nfound: Cookie{ : SECRET}\nfix: c\n"),
        (400, "rule: a\nsection: b\nfound: Proxy-Auth{orization SECRET}\r\nfix: bearer\n"),
        (400, "rule: a\nsection: b\nfound: bearer{.SECRET, bearer.SECRET}\nfix: c\n"),
        (403, "rule: a\nsection: b\nfound: http://h/?token={SECRET} {SECRET}&a\nfix: c\n"),
        (403, "rule: a\nsection: b\nfound: http://ana:{SECRET}@h:80\nfix: ws://HOST:PORT/\n"),
        (400, "rule: a\nsection: b\nfound: X-Api_Key{ : SECRET}\nfix: c\n"),
        (
            401,
            "rule: a token\nsection: b\nfound: another token\nfix: ?token=…, or Authorization: Bearer …\n",
        ),
        (301, "<a href=/?token={SECRET}&a>"),
        (200, "/?token=example"),
    ] {
        let length = body.bytes().filter(|byte| !matches!(byte, b'{' | b'}')).count();
        let head = format!("HTTP/1.1 {status} x\r\nContent-Length: {length}\r\n\r\n");
        let next = "HTTP/1.1 200 x\r\nSet-Cookie: {a}\r\nContent-Length: 0\r\n\r\n";
        check(&[client(GET.repeat(2)), server([&head, body, next].concat())]);
    }
}

/// What follows a blank in a target may be part of the secret, and is quoted alone.
#[test]
fn any_word_of_a_refused_request_line_may_be_secret() {
    let refusal = "HTTP/1.1 400 x\r\nContent-Length: 44\r\n\r\nrule: a\nsection: b\nfound:";
    check(&[
        client("GET /?token={a} {SECRET}\r\n"),
        server(format!("{refusal}{{ SECRET}}\nfix: use this: a")),
    ]);
    check(&[
        client("GET /?a SECRET\r\nCookie: {b}\r\n"),
        server(format!("{refusal} SECRET\nfix: use this: a")),
    ]);
}

/// More requests than the server answers do not make the state larger. What it then cannot tell apart is searched by line.
#[test]
fn a_flood_of_requests_takes_no_memory() {
    assert!(size_of::<Redactor>() <= 400, "{}", size_of::<Redactor>());
    let head = "HEAD / HTTP/1.1\r\nHost: h\r\n\r\n";
    let answer = "HTTP/1.1 200 x\r\nContent-Length: 9\r\nSet-Cookie: {a}\r\n\r\n";
    let many = u128::BITS as usize;
    check(&[
        client(head.repeat(many)),
        server(answer.repeat(many)),
        client(GET),
        server(answer),
        server("?token=a;"),
    ]);
    check(&[client(head.repeat(many + 1)), server(answer.repeat(many + 5)), server("?token={a}")]);
}

/// A line of a head: what stands before a secret, the secret, and what stands after it.
type Parts = (String, String, String);

fn any_case(word: &'static str) -> impl Strategy<Value = String> {
    proptest::collection::vec(any::<bool>(), word.len()).prop_map(move |upper| {
        let letters = word.chars().zip(upper);
        letters.map(|(c, up)| if up { c.to_ascii_uppercase() } else { c }).collect()
    })
}

fn request_line() -> impl Strategy<Value = Parts> {
    let secret = "[!-%'-~]{0,20}";
    let name = proptest::sample::select(&["token", "password", "api_key", "id_token2"][..]);
    (name.prop_flat_map(any_case), secret, "(&[a-d]{1,5}=[0-9]{0,3})?").prop_map(
        |(name, secret, after)| (format!("?a=1&{name}="), secret, format!("{after} HTTP/1.1\r\n")),
    )
}

fn field() -> impl Strategy<Value = Parts> {
    let names = [
        "cookie",
        "set-cookie",
        "authorization",
        "x-api-key",
        "x-auth-token",
        "token",
        "x-password-2",
    ];
    let secret = proptest::sample::select(names.to_vec()).prop_flat_map(any_case);
    let secret = (secret, "[ \t]{0,2}", "([!-~][ -~]{0,30})?")
        .prop_map(|(name, blank, value)| (format!("{name}:{blank}"), value, "\r\n".into()));
    let url = ("(Referer|Location)", "[!-%'-~]{0,20}", "(&[a-z]{0,5})?").prop_map(
        |(name, value, after)| (format!("{name}: http://h/?token="), value, format!("{after}\r\n")),
    );
    let password = ("(Referer|Location)", "[!-?A-~&&[^0-9/?#]][!-?A-~]{0,20}")
        .prop_map(|(name, value)| (format!("{name}: http://ana:"), value, "@h:80/\r\n".into()));
    // These have no letters a and t and no colon, and so no name of a secret and no URL.
    let other = ("[B-EX-Z][b-s-]{0,4}", "[ -9;-@B-SU-`b-su-~]{0,30}")
        .prop_map(|(name, value)| (format!("X-{name}: {value}\r\n"), String::new(), String::new()));
    prop_oneof![secret, url, password, other]
}

/// Bytes and what they become.
#[derive(Clone, Debug, Default)]
struct Pair(Vec<u8>, Vec<u8>);

impl Pair {
    fn plain(&mut self, bytes: impl AsRef<[u8]>) {
        self.0.extend_from_slice(bytes.as_ref());
        self.1.extend_from_slice(bytes.as_ref());
    }

    fn lines(&mut self, lines: &[Parts]) {
        for (before, secret, after) in lines {
            self.plain(before);
            self.0.extend_from_slice(secret.as_bytes());
            self.1.extend(vec![MARK; secret.len()]);
            self.plain(after);
        }
    }
}

/// A request and its response.
fn exchange() -> impl Strategy<Value = (Pair, Pair)> {
    let fields = || proptest::collection::vec(field(), 0..4);
    let status = prop_oneof![Just(200), Just(204), Just(304), Just(404), Just(301)];
    let body =
        proptest::collection::vec(any::<u8>().prop_filter("no token", |b| *b != b't'), 0..40);
    (any::<bool>(), request_line(), fields(), any::<bool>(), status, fields(), body).prop_map(
        |(is_head, line, of_request, has_interim, status, of_response, body)| {
            let (mut request, mut response) = (Pair::default(), Pair::default());
            request.plain(if is_head { "HEAD /" } else { "GET /" });
            request.lines(&[line]);
            request.lines(&of_request);
            request.plain("\r\n");
            if has_interim {
                response.plain("HTTP/1.1 103 x\r\n");
                response.lines(&of_response);
                response.plain("\r\n");
            }
            response.plain(format!("HTTP/1.1 {status} x\r\nContent-Length: {}\r\n", body.len()));
            response.lines(&of_response);
            response.plain("\r\n");
            if !is_head && !matches!(status, 204 | 304) {
                response.plain(
                    body.iter().map(|b| if *b == b'T' { b'x' } else { *b }).collect::<Vec<u8>>(),
                );
            }
            (request, response)
        },
    )
}

/// Redacts the steps, each split at some places, and returns both directions.
fn split(steps: &[Step], cuts: &[Index]) -> [Vec<u8>; 2] {
    let mut redactor = Redactor::default();
    let mut shown = [Vec::new(), Vec::new()];
    for (direction, bytes) in steps {
        let mut places: Vec<usize> =
            cuts.iter().filter(|_| !bytes.is_empty()).map(|cut| cut.index(bytes.len())).collect();
        places.extend([0, bytes.len()]);
        places.sort_unstable();
        for pair in places.windows(2) {
            let piece = redactor.redact(*direction, &bytes[pair[0]..pair[1]]);
            shown[usize::from(*direction == Direction::Out)].extend(piece);
        }
    }
    shown
}

fn cuts() -> impl Strategy<Value = Vec<Index>> {
    proptest::collection::vec(any::<Index>(), 0..6)
}

/// Passes `wire` to a server that keeps connections, in pieces, and returns what passes in both directions.
fn served(wire: &[u8], piece: usize) -> Vec<Step> {
    let mut connection = Connection::server(Config::default().validate().expect("valid"));
    let mut steps = Vec::new();
    for piece in wire.chunks(piece) {
        steps.push(client(piece));
        let mut bytes = piece.to_vec();
        let mut unread = bytes.as_mut_slice();
        while let Some(event) = connection.next(&mut unread) {
            if let Event::Request(head) = event {
                connection.decide(&head, None, |request| match request.path() {
                    "/page" => Decision::Respond(Response::new(200, "text/plain", "a page")),
                    "/none" => Decision::Respond(Response::new(204, "text/plain", "")),
                    _ => Decision::Accept(()),
                });
            }
            steps.push(server(connection.output_mut().take()));
        }
        match connection.state() {
            State::Connecting => {}
            State::Closed if connection.closed().is_some_and(|c| c.cause == Cause::NotOpened) => {
                steps.push(client("\r\nCookie: SECRET\r\n\r\n"));
                break;
            }
            // What follows are frames.
            _ => break,
        }
    }
    steps
}

/// A request, which is often malformed. Every secret in it is the word SECRET.
fn any_request() -> impl Strategy<Value = String> {
    let method =
        prop_oneof![8 => Just("GET "), 4 => Just("HEAD "), 1 => Just("POST "), 1 => Just("GET  ")];
    let path = proptest::sample::select(vec![
        "/page",
        "/none",
        "/ws",
        "http://h/page",
        "/%",
        "page",
        "http://ana:SECRET@h/page",
    ]);
    let query = proptest::sample::select(vec![
        "",
        "?token=SECRET",
        "?a=b&%74oKen=SECRET&c=d",
        "?token=a SECRET",
        "?token=#SECRET",
        "?PASSWORD=SECRET",
        "?u=http://ana:SECRET@h",
    ]);
    let version = prop_oneof![12 => Just(" HTTP/1.1"), 1 => Just(" HTTP/1.0"), 1 => Just(" HTTP/2.0"), 1 => Just("")];
    let field = proptest::sample::select(vec![
        "Host: h",
        "Cookie: SECRET",
        "authorization:Bearer SECRET",
        "Referer: http://h/?token=SECRET",
        "Referer: http://ana:SECRET@h/",
        "X-Access-Token: SECRET",
        "Sec-WebSocket-Protocol: bearer.SECRET",
        "Upgrade: websocket",
        "Connection: close",
    ]);
    let odd = proptest::sample::select(vec![
        "Cookie : SECRET",
        "Cookie SECRET",
        "Authorization Bearer SECRET",
        "Proxy-Authorization\t: SECRET",
        "Origin: http://x/?token=SECRET",
        "Origin: http://ana:SECRET@x",
        "X-Secret : SECRET",
        "Api-Key SECRET",
        "Sec-WebSocket-Protocol: bearer, SECRET, SECRET",
        "Sec-WebSocket-Protocol: bearer SECRET",
        "Content-Length: 20",
        "Content-Length: 0",
        "Transfer-Encoding: chunked",
        "",
        "\0",
        " folded",
    ]);
    let field = prop_oneof![8 => field, 1 => odd];
    let end = prop_oneof![30 => Just("\r\n"), 1 => Just("\n"), 1 => Just("\r")];
    let handshake = "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
        Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
    let handshake = prop_oneof![4 => Just(""), 1 => Just(handshake)];
    let line = (method, path, query, version, end.clone());
    let fields = proptest::collection::vec((field, end), 0..4);
    (line, any::<bool>(), fields, handshake).prop_map(
        |((method, path, query, version, end), has_host, fields, handshake)| {
            let fields: String =
                fields.iter().map(|(field, end)| format!("{field}{end}")).collect();
            let host = if has_host { "Host: h\r\n" } else { "" };
            format!("{method}{path}{query}{version}{end}{host}{fields}{handshake}\r\n")
        },
    )
}

proptest! {
    /// Whatever requests, responses and frames a connection consists of and however reads split them: exactly the secrets
    /// are replaced.
    #[test]
    fn only_secrets_are_redacted_however_reads_split_them(
        exchanges in proptest::collection::vec(exchange(), 0..5),
        is_pipelined in any::<bool>(),
        frames in proptest::collection::vec(any::<u8>(), 0..40),
        cuts in cuts(),
    ) {
        let mut steps = Vec::new();
        let mut expected = [Vec::new(), Vec::new()];
        for (request, response) in &exchanges {
            steps.push(client(&request.0));
            steps.push(server(&response.0));
            expected[0].extend(&request.1);
            expected[1].extend(&response.1);
        }
        if is_pipelined {
            steps.sort_by_key(|(direction, _)| *direction == Direction::Out);
        }
        for step in [client(HANDSHAKE), server(SWITCHING), client(&frames), server(&frames)] {
            expected[usize::from(step.0 == Direction::Out)].extend(&step.1);
            steps.push(step);
        }
        let shown = split(&steps, &cuts);
        for (shown, expected) in shown.iter().zip(&expected) {
            prop_assert_eq!(String::from_utf8_lossy(shown), String::from_utf8_lossy(expected));
        }
    }

    /// Any bytes at all: nothing panics, the length stays, a byte is either unchanged or replaced, and splits do not matter.
    #[test]
    fn any_bytes_keep_their_length_and_any_split_gives_the_same(
        steps in proptest::collection::vec((any::<bool>(), prop_oneof![
            proptest::collection::vec(any::<u8>(), 0..100),
            "([Cc]ookie ?:|X-Token|token=|%74oken=|passw|://|ana:|@|HTTP/1.1|GET |HEAD / |Upgrade:|websocket|Sec-WebSocket-Protocol: |bearer|Content-Length: 3|\r\n|\r\n\r\n|[a-z &%\r\n\t]){0,40}".prop_map(String::into_bytes),
            "HTTP/1.1 (101|200|204|400|426|103) x\r\n(Content-Length: [0-9]{1,2}\r\n)?\r\n[ -~\n]{0,50}".prop_map(String::into_bytes),
        ]), 0..8),
        cuts in cuts(),
    ) {
        let steps: Vec<Step> = steps
            .into_iter()
            .map(|(is_client, bytes)| if is_client { client(bytes) } else { server(bytes) })
            .collect();
        let whole = split(&steps, &[]);
        for (direction, whole) in [Direction::In, Direction::Out].into_iter().zip(&whole) {
            let wire = steps.iter().filter(|step| step.0 == direction).flat_map(|step| &step.1);
            prop_assert!(wire.clone().count() == whole.len());
            prop_assert!(wire.zip(whole).all(|(a, b)| a == b || *b == MARK));
        }
        prop_assert_eq!(split(&steps, &cuts), whole);
    }

    /// Whatever a client sends to the server itself, well-formed or not: neither the requests nor the responses, which quote
    /// them, show a secret, and frames are never touched.
    #[test]
    fn the_real_server_and_the_redactor_agree(
        requests in proptest::collection::vec(any_request(), 1..6),
        heads in proptest::collection::vec(proptest::sample::select(vec!["GET /page", "HEAD /page", "GET /none"]), 0..4),
        piece in 1..200_usize,
        frames in proptest::collection::vec(any::<u8>(), 0..20),
    ) {
        let steps = served(requests.concat().as_bytes(), piece);
        let shown = split(&steps, &[]).concat();
        let shown = String::from_utf8_lossy(&shown);
        prop_assert!(!shown.contains("SECRET"), "{shown}");

        // After any requests that it answers, the server accepts a handshake, and every byte of the frames is kept.
        let rest = "?token=SECRET HTTP/1.1\r\nHost: h\r\nCookie: SECRET\r\n\r\n";
        let requests: String = heads.iter().map(|head| format!("{head}{rest}")).collect();
        let mut steps = served(format!("{requests}{HANDSHAKE}").as_bytes(), piece);
        steps.extend([client(&frames), server(&frames)]);
        let [of_client, of_server] = split(&steps, &[]);
        prop_assert!(of_client.ends_with(&frames) && of_server.ends_with(&frames));
        prop_assert!(!String::from_utf8_lossy(&of_client).contains("SECRET"));
        prop_assert_eq!(of_client.len(), requests.len() + HANDSHAKE.len() + frames.len());
    }
}
