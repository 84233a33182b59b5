//! What is answered over HTTP: the page, the welcome, health, and the description of the events.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::Instant;

use framewise::lang::Lang;
use framewise::{Request, Response};
use serde::Serialize;

use crate::serve::events::json;
use crate::serve::lessons::{self, Lessons};
use crate::serve::routes::Route;
use crate::serve::teach::{teach, upgrade};
use crate::texts;

const WIRE: &str = include_str!("../../web/wire.html");

/// Pages may load what comes from here, and nothing else; nobody may frame them.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; \
    connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// The files of the page, embedded.
const FILES: [(&str, &str, &str); 19] = [
    ("/app.js", "text/javascript; charset=utf-8", include_str!("../../web/app.js")),
    ("/connection.js", "text/javascript; charset=utf-8", include_str!("../../web/connection.js")),
    ("/copy.js", "text/javascript; charset=utf-8", include_str!("../../web/copy.js")),
    ("/elements.js", "text/javascript; charset=utf-8", include_str!("../../web/elements.js")),
    ("/memory.js", "text/javascript; charset=utf-8", include_str!("../../web/memory.js")),
    ("/outbox.js", "text/javascript; charset=utf-8", include_str!("../../web/outbox.js")),
    ("/people.js", "text/javascript; charset=utf-8", include_str!("../../web/people.js")),
    ("/texts.js", "text/javascript; charset=utf-8", include_str!("../../web/texts.js")),
    ("/style.css", "text/css; charset=utf-8", include_str!("../../web/style.css")),
    ("/explain.js", "text/javascript; charset=utf-8", include_str!("../../web/explain.js")),
    (
        "/explain-texts.js",
        "text/javascript; charset=utf-8",
        include_str!("../../web/explain-texts.js"),
    ),
    ("/explain.css", "text/css; charset=utf-8", include_str!("../../web/explain.css")),
    ("/docs.js", "text/javascript; charset=utf-8", include_str!("../../web/docs.js")),
    ("/wire.js", "text/javascript; charset=utf-8", include_str!("../../web/wire.js")),
    ("/wire-draw.js", "text/javascript; charset=utf-8", include_str!("../../web/wire-draw.js")),
    ("/wire-texts.js", "text/javascript; charset=utf-8", include_str!("../../web/wire-texts.js")),
    ("/wire.css", "text/css; charset=utf-8", include_str!("../../web/wire.css")),
    ("/icon.svg", "image/svg+xml", include_str!("../../web/icon.svg")),
    ("/favicon.ico", "image/svg+xml", include_str!("../../web/icon.svg")),
];

/// The line of the start page that leads to the lessons.
const LINK_TO_LESSONS: &str = "  <a id=\"lessons\" href=\"lessons\" data-text=\"lessons\"></a>\n";

/// How many messages of each room are kept, which the start page says.
const KEPT: &str = "data-count=\"200\"";

/// The pages of the server, and its other responses over plain HTTP.
pub struct Pages {
    lang: Lang,
    started: Instant,
    start_page: String,
    asyncapi: String,
    lessons: Option<Lessons>,
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
    /// Returns the pages of a server that starts now, with the lessons if it shows them. `kept` messages of each room are kept.
    pub fn new(lang: Lang, lessons: Option<Lessons>, kept: usize) -> Pages {
        let start_page = include_str!("../../web/index.html");
        let start_page = start_page.replace(KEPT, &format!("data-count=\"{kept}\""));
        let start_page = match lessons {
            Some(_) => start_page,
            None => start_page.replace(LINK_TO_LESSONS, ""),
        };
        let asyncapi = include_str!("../../web/asyncapi.json")
            .replace("\"0.0.0\"", concat!("\"", env!("CARGO_PKG_VERSION"), "\""));
        Pages { lang, started: Instant::now(), start_page, asyncapi, lessons }
    }

    /// The language that a request prefers, or the server's.
    pub fn lang_of(&self, request: &Request<'_>) -> Lang {
        request.header("accept-language").and_then(Lang::from_accept_language).unwrap_or(self.lang)
    }

    /// Reports whether there is a page at this route.
    pub fn has(&self, route: &Route) -> bool {
        match route {
            Route::Start | Route::Explain | Route::Docs | Route::AsyncApi => true,
            Route::Health | Route::Metrics => true,
            Route::Echo | Route::Raw | Route::Events | Route::ExplainSocket | Route::Wire => false,
            Route::Other(path) => {
                let is_lesson = self.lessons.as_ref().is_some_and(|lessons| lessons.has(path));
                is_lesson || FILES.iter().any(|file| file.0 == path)
            }
        }
    }

    /// Returns the page at a route.
    pub fn answer(
        &self,
        request: &Request<'_>,
        route: &Route,
        lang: Lang,
        connections: usize,
    ) -> Response {
        // The addresses on a page are relative to it, so that it works under the path prefix of a proxy.
        let ends_with_slash = request.path().ends_with('/');
        match route {
            Route::Docs if ends_with_slash => moved("../docs"),
            Route::Explain if ends_with_slash => moved("../explain"),
            Route::Start if accepts_html(request) => page(request, &self.start_page),
            Route::Start => {
                let welcome = as_json(&Welcome { message: texts::WELCOME.get(lang) });
                welcome.header("Vary", "Accept, Accept-Language").expect("one line")
            }
            Route::Health => as_json(&Health {
                status: "ok",
                connections,
                uptime_seconds: self.started.elapsed().as_secs(),
                version: env!("CARGO_PKG_VERSION"),
            }),
            Route::Explain => page(request, include_str!("../../web/explain.html")),
            Route::Docs => page(request, include_str!("../../web/docs.html")),
            Route::AsyncApi => file(request, "application/json", self.asyncapi.as_bytes()),
            other => match FILES.iter().find(|file| file.0 == other.path()) {
                Some((_, content_type, body)) => file(request, content_type, body.as_bytes()),
                None => {
                    let lesson = self.lessons.as_ref();
                    let lesson =
                        lesson.and_then(|lessons| lessons.answer(request, other.path(), lang));
                    lesson.unwrap_or_else(|| self.not_found(request, other, lang))
                }
            },
        }
    }

    /// Returns a 404 that names the path which was probably meant, or the option without which there are no lessons.
    pub fn not_found(&self, request: &Request<'_>, route: &Route, lang: Lang) -> Response {
        let list = texts::PATH_FIX.get(lang);
        let rest = route.path().strip_prefix(lessons::ROUTE);
        let is_lesson = rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
        let fix = match (&self.lessons, nearest(route.path())) {
            _ if *route == Route::Wire => texts::WIRE_FIX.get(lang).to_owned(),
            (None, _) if is_lesson => texts::LESSONS_OFF.get(lang).to_owned(),
            (Some(_), _) if is_lesson => texts::LESSONS_ARE_AT.get(lang).to_owned(),
            (_, Some(path)) => format!("{} {list}", texts::PATH_MEANT.with(lang, &[&path])),
            (_, None) => list.to_owned(),
        };
        teach(404, texts::PATH_RULE, "RFC 9110 15.5.5", request.path(), &fix, lang)
    }

    /// Returns the wire page.
    pub fn wire(&self, request: &Request<'_>) -> Response {
        // Its files are beside it, also under the path prefix of a proxy.
        if request.path().ends_with('/') {
            let query = request.query().map(|query| format!("?{query}")).unwrap_or_default();
            return moved(&format!("../wire{query}"));
        }
        page(request, WIRE)
    }

    /// Returns the response to a request for the wire page without its token: for a browser the page, which has nothing of
    /// the class and asks for the token, and for other programs the refusal.
    pub fn wire_without_token(&self, request: &Request<'_>, refusal: Response) -> Response {
        if !accepts_html(request) {
            return refusal;
        }
        let page = plain_with(refusal.status(), "text/html; charset=utf-8", WIRE);
        let page = page.header("WWW-Authenticate", "Bearer").expect("one word");
        let page = guarded(page).header("Vary", "Accept").expect("one line");
        page.delayed(refusal.delay())
    }
}

/// Returns the known path that a route probably means: the same but for case and repeated slashes, or two letters away at
/// most.
fn nearest(route: &str) -> Option<&'static str> {
    let words = route.split('/').filter(|word| !word.is_empty());
    let plain = words.fold(String::new(), |path, word| path + "/" + &word.to_lowercase());
    // The distance takes time for each pair of letters.
    if plain.len() > 40 {
        return None;
    }
    let paths = Route::public().filter(|path| path.len() > 1);
    let distances = paths.map(|path| (strsim::osa_distance(path, &plain), path));
    let is_near = |(distance, path): &(usize, &str)| *distance <= 2 && *distance < path.len() - 1;
    distances.filter(is_near).min().map(|(_, path)| path)
}

/// A request for a page where only a WebSocket is.
pub fn upgrade_required(request: &Request<'_>, lang: Lang) -> Response {
    // Many proxies speak HTTP/1.0 to the server unless they are told otherwise.
    if request.is_http_1_0() {
        let (rule, fix) = (texts::HTTP_1_0_RULE, texts::HTTP_1_0_FIX.get(lang));
        return teach(400, rule, "RFC 6455 4.2.1", "HTTP/1.0", fix, lang);
    }
    let found = request.header("upgrade").unwrap_or("-");
    let fix = texts::UPGRADE_FIX.get(lang);
    upgrade(teach(426, texts::UPGRADE_RULE, "RFC 6455 4.2.1", found, fix, lang))
}

fn accepts_html(request: &Request<'_>) -> bool {
    request.header("accept").is_some_and(|accept| {
        accept
            .split(',')
            .any(|range| range.split(';').next().is_some_and(|kind| kind.trim() == "text/html"))
    })
}

fn page(request: &Request<'_>, body: &str) -> Response {
    document(request, body).header("Vary", "Accept").expect("one line")
}

/// Returns a page in HTML with the policy of this file.
pub fn document(request: &Request<'_>, body: &str) -> Response {
    guarded(file(request, "text/html; charset=utf-8", body.as_bytes()))
}

/// Adds the fields that limit what a page may do.
fn guarded(page: Response) -> Response {
    let headers = [("Content-Security-Policy", POLICY), ("Referrer-Policy", "no-referrer")];
    headers
        .into_iter()
        .fold(page, |response, (name, value)| response.header(name, value).expect("one line"))
}

/// Returns a file, or 304 if the client has it already (RFC 9110 13.1.2).
pub fn file(request: &Request<'_>, content_type: &str, body: &[u8]) -> Response {
    let mut hasher = DefaultHasher::new();
    body.hash(&mut hasher);
    let tag = format!("\"{:016x}\"", hasher.finish());
    let mut known =
        request.fields().all("if-none-match").flat_map(|value| value.split(|&byte| byte == b','));
    let is_known = known.any(|known| {
        let known = known.trim_ascii();
        known == b"*" || known.strip_prefix(b"W/").unwrap_or(known) == tag.as_bytes()
    });
    let response = match is_known {
        true => plain_with(304, content_type, ""),
        false => plain(content_type, body),
    };
    response.header("ETag", &tag).expect("hexadecimal digits")
}

/// Returns a redirection that holds for ever.
pub fn moved(location: &str) -> Response {
    redirection(308, location)
}

/// Returns a redirection that holds for this request.
pub fn found(location: &str) -> Response {
    redirection(302, location)
}

fn redirection(status: u16, location: &str) -> Response {
    let response = plain_with(status, "text/plain; charset=utf-8", "");
    response.header("Location", location).expect("one line")
}

fn as_json(value: &impl Serialize) -> Response {
    plain("application/json", json(value))
}

fn plain(content_type: &str, body: impl Into<Vec<u8>>) -> Response {
    plain_with(200, content_type, body)
}

fn plain_with(status: u16, content_type: &str, body: impl Into<Vec<u8>>) -> Response {
    let headers = [("X-Content-Type-Options", "nosniff"), ("Cache-Control", "no-cache")];
    headers
        .into_iter()
        .fold(Response::new(status, content_type, body), |response, (name, value)| {
            response.header(name, value).expect("one line")
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `/` is another address of `/echo`.
    #[test]
    fn the_description_has_every_web_socket() {
        let api: serde_json::Value =
            serde_json::from_str(&Pages::new(Lang::En, None, 200).asyncapi).expect("JSON");
        let channels = api["channels"].as_object().expect("channels");
        let addresses: Vec<&str> =
            channels.values().filter_map(|channel| channel["address"].as_str()).collect();
        let mut described = vec!["/"];
        described.extend(addresses);
        let head = b"GET / HTTP/1.1\r\nHost: h\r\n\r\n";
        let request = Request::parse(head).expect("valid");
        let is_socket = |path: &&str| Route::named(path).socket(&request).is_some();
        let mut sockets: Vec<&str> = Route::public().filter(is_socket).collect();
        described.sort_unstable();
        sockets.sort_unstable();
        assert_eq!(described, sockets);
    }
}
