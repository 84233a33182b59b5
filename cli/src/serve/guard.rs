//! Who may ask for what: the Host that they name, the token that they know, where they come from.
//!
//! Rules of this file: each guard is one function; a refusal says which rule, what was found and how to mend it; a
//! token is compared in a time that does not tell how much of it was right, and never appears in an answer.

use std::cell::Cell;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;

use framewise::lang::{Bilingual, Lang};
use framewise::trace::printable;
use framewise::{Request, Response};
use subtle::ConstantTimeEq;

use crate::serve::classroom::parameter;
use crate::serve::events::shortened;
use crate::texts;

/// Characters of a request that an answer shows.
const MAX_FOUND: usize = 80;

/// What every request has to pass.
#[derive(Clone, Debug)]
pub struct Guard {
    /// Only this machine can reach the server, so only its names make sense as a Host. Known once it is bound.
    pub loopback_only: Rc<Cell<bool>>,
    /// What WebSocket paths, /wire and /metrics ask for.
    pub token: Option<String>,
}

impl Guard {
    /// Why a request is refused, if it is. `is_page` if it asks for a page, and not for a WebSocket.
    pub fn refuse(
        &self,
        request: &Request<'_>,
        is_page: bool,
        from: SocketAddr,
        lang: Lang,
    ) -> Option<Response> {
        if self.loopback_only.get() && !names_loopback(request.host()) {
            // A page from elsewhere whose name was made to point here (DNS rebinding).
            return Some(teach(
                403,
                texts::HOST_RULE,
                "RFC 6455 10.2",
                request.host(),
                texts::HOST_FIX,
                lang,
            ));
        }
        let is_private = matches!(request.path(), "/wire" | "/metrics");
        if is_page && !is_private {
            return None;
        }
        match &self.token {
            Some(token) if knows(request, token) => None,
            Some(_) => {
                let found = if bearer(request).is_some() || parameter(request, "token").is_some() {
                    texts::TOKEN_OTHER
                } else {
                    texts::TOKEN_NONE
                };
                let response = teach(
                    401,
                    texts::TOKEN_RULE,
                    "RFC 6750 2",
                    found.get(lang),
                    texts::TOKEN_FIX,
                    lang,
                );
                Some(response.header("WWW-Authenticate", "Bearer").expect("one word"))
            }
            None if is_private && !from.ip().to_canonical().is_loopback() => {
                let from = from.ip().to_string();
                Some(teach(
                    403,
                    texts::LOCAL_RULE,
                    "RFC 9110 15.5.4",
                    &from,
                    texts::LOCAL_FIX,
                    lang,
                ))
            }
            None => None,
        }
    }
}

/// A refusal in four lines: rule, section, what was found, how to mend it.
pub fn teach(
    status: u16,
    rule: Bilingual,
    section: &str,
    found: &str,
    fix: Bilingual,
    lang: Lang,
) -> Response {
    let (rule, fix) = (rule.get(lang), fix.get(lang));
    let lines = [texts::LINE_RULE, texts::LINE_SECTION, texts::LINE_FOUND, texts::LINE_FIX];
    let found = printable(found);
    let values = [rule, section, &shortened(&found, MAX_FOUND), fix];
    let body: String = lines
        .iter()
        .zip(values)
        .map(|(line, value)| format!("{}: {value}\n", line.get(lang)))
        .collect();
    Response::new(status, "text/plain; charset=utf-8", body)
        .header("Content-Language", lang.tag())
        .and_then(|response| response.header("Vary", "Accept-Language"))
        .expect("a language tag is one word")
}

fn knows(request: &Request<'_>, token: &str) -> bool {
    let is_same = |said: &str, token: &str| said.as_bytes().ct_eq(token.as_bytes()).into();
    // In an address a plus may stand for a space: there the two are one.
    let spaced = |text: &str| text.replace('+', " ");
    match (bearer(request), parameter(request, "token")) {
        (Some(said), _) => is_same(said, token),
        (None, Some(Ok(said))) => is_same(&spaced(&said), &spaced(token)),
        (None, _) => false,
    }
}

fn bearer<'a>(request: &Request<'a>) -> Option<&'a str> {
    let (scheme, token) = request.header("authorization")?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then_some(token.trim())
}

/// Whether a Host names this machine, as seen from itself.
fn names_loopback(host: &str) -> bool {
    let name = match host.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => host.rsplit_once(':').map_or(host, |(name, _)| name),
    };
    let name = name.trim_end_matches('.');
    name.eq_ignore_ascii_case("localhost")
        || name.to_ascii_lowercase().ends_with(".localhost")
        || name.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn knows_the_names_of_this_machine() {
        for host in [
            "localhost",
            "LOCALHOST:8765",
            "127.0.0.1:1",
            "127.9.9.9",
            "[::1]:8765",
            "[::1]",
            "a.localhost",
            "localhost.",
        ] {
            assert!(names_loopback(host), "{host}");
        }
        for host in [
            "",
            "example.org",
            "localhost.example.org:8765",
            "192.168.0.7:8765",
            "[::2]",
            "127.0.0.1.example.org",
        ] {
            assert!(!names_loopback(host), "{host}");
        }
    }
}
