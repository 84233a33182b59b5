//! What is answered over HTTP: the page, the welcome, health, and the description of the events.

use std::time::Instant;

use framewise::lang::Lang;
use framewise::{Request, Response};
use serde::Serialize;

use crate::serve::classroom::parameter;
use crate::serve::events::json;
use crate::serve::guard::teach;
use crate::texts;

/// Pages may load what comes from here, and nothing else; nobody may frame them.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; \
    connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// The files of the page, embedded.
const FILES: [(&str, &str, &str); 8] = [
    ("/app.js", "text/javascript; charset=utf-8", include_str!("../../web/app.js")),
    ("/connection.js", "text/javascript; charset=utf-8", include_str!("../../web/connection.js")),
    ("/memory.js", "text/javascript; charset=utf-8", include_str!("../../web/memory.js")),
    ("/people.js", "text/javascript; charset=utf-8", include_str!("../../web/people.js")),
    ("/texts.js", "text/javascript; charset=utf-8", include_str!("../../web/texts.js")),
    ("/style.css", "text/css; charset=utf-8", include_str!("../../web/style.css")),
    ("/docs.js", "text/javascript; charset=utf-8", include_str!("../../web/docs.js")),
    ("/icon.svg", "image/svg+xml", include_str!("../../web/icon.svg")),
];

/// Everything that is not a WebSocket.
pub struct Pages {
    lang: Lang,
    started: Instant,
    asyncapi: String,
}

#[derive(Serialize)]
struct Welcome<'a> {
    message: &'a str,
}

#[derive(Serialize)]
struct Health<'a> {
    status: &'a str,
    connections: usize,
    uptime_seconds: u64,
    version: &'a str,
}

impl Pages {
    /// The pages of a server that starts now.
    pub fn new(lang: Lang) -> Pages {
        let asyncapi = include_str!("../../web/asyncapi.json")
            .replace("\"0.0.0\"", concat!("\"", env!("CARGO_PKG_VERSION"), "\""));
        Pages { lang, started: Instant::now(), asyncapi }
    }

    /// The language that a request prefers, or the server's.
    pub fn lang_of(&self, request: &Request<'_>) -> Lang {
        request.header("accept-language").and_then(Lang::from_accept_language).unwrap_or(self.lang)
    }

    /// Answers a plain GET.
    pub fn answer(&self, request: &Request<'_>, lang: Lang, connections: usize) -> Response {
        match request.path() {
            "/" if accepts_html(request) => page(include_str!("../../web/index.html")),
            "/" => {
                let welcome = as_json(&Welcome { message: texts::WELCOME.get(self.lang) });
                welcome.header("Vary", "Accept").expect("one word")
            }
            "/health" => as_json(&Health {
                status: "ok",
                connections,
                uptime_seconds: self.started.elapsed().as_secs(),
                version: env!("CARGO_PKG_VERSION"),
            }),
            "/docs" => page(include_str!("../../web/docs.html")),
            "/asyncapi.json" => plain("application/json", self.asyncapi.as_str()),
            path => match FILES.iter().find(|file| file.0 == path) {
                Some((_, content_type, body)) => plain(content_type, *body),
                None => not_found(request, lang),
            },
        }
    }
}

/// There is nothing at this path.
pub fn not_found(request: &Request<'_>, lang: Lang) -> Response {
    teach(404, texts::PATH_RULE, "RFC 9110 15.5.5", request.path(), texts::PATH_FIX, lang)
}

/// A room that cannot be.
pub fn bad_room(request: &Request<'_>, lang: Lang) -> Response {
    let found = parameter(request, "room").and_then(Result::ok).unwrap_or_default();
    teach(400, texts::ROOM_RULE, "RFC 9110 15.5.1", &found, texts::ROOM_FIX, lang)
}

/// A request for a page where only a WebSocket is.
pub fn upgrade_required(request: &Request<'_>, lang: Lang) -> Response {
    let found = request.header("upgrade").unwrap_or("-");
    teach(426, texts::UPGRADE_RULE, "RFC 6455 4.2.1", found, texts::UPGRADE_FIX, lang)
        .header("Upgrade", "websocket")
        .and_then(|response| response.header("Sec-WebSocket-Version", "13"))
        .expect("one word")
}

fn accepts_html(request: &Request<'_>) -> bool {
    request.header("accept").is_some_and(|accept| {
        accept
            .split(',')
            .any(|range| range.split(';').next().is_some_and(|kind| kind.trim() == "text/html"))
    })
}

fn page(body: &str) -> Response {
    let headers = [
        ("Content-Security-Policy", POLICY),
        ("Referrer-Policy", "no-referrer"),
        ("Vary", "Accept"),
    ];
    headers.into_iter().fold(plain("text/html; charset=utf-8", body), |response, (name, value)| {
        response.header(name, value).expect("one line")
    })
}

fn as_json(value: &impl Serialize) -> Response {
    plain("application/json", json(value))
}

fn plain(content_type: &str, body: impl Into<Vec<u8>>) -> Response {
    let headers = [("X-Content-Type-Options", "nosniff"), ("Cache-Control", "no-cache")];
    headers.into_iter().fold(Response::new(200, content_type, body), |response, (name, value)| {
        response.header(name, value).expect("one line")
    })
}
