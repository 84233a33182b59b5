//! Which requests are refused, and why: the proxy, the Host, the Origin, the token, and where the client is.
//!
//! Rules of this file: each check is one function. A refusal says which rule was broken, what was found and how to mend it,
//! to the client and in the log, and names the option that would admit the request. A token is compared in constant time,
//! and appears neither in a response nor in the log.

use std::cell::RefCell;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::time::Instant;

use framewise::config::{OriginPolicy, OriginRule};
use framewise::lang::{Bilingual, Lang};
use framewise::protocol::refusal::{Refusal, Rule};
use framewise::trace::printable;
use framewise::{Request, Response};
use subtle::ConstantTimeEq;
use tracing::warn;

use crate::recording::redact;
use crate::serve::attempts::{self, Attempts, Fate};
use crate::serve::forwarded::{Contradiction, Proxies, Requester};
use crate::serve::guesses::{Guesses, LONGEST_DELAY, Verdict};
use crate::serve::hosts::{Hosts, name_of};
use crate::serve::routes::parameter;
use crate::serve::shorten::shortened;
use crate::serve::teach::{MAX_FOUND, teach, upgrade};
use crate::texts;

/// How many seconds a client that has too many connections should wait.
const RETRY_AFTER: &str = "10";

/// The checks that every request has to pass.
#[derive(Clone, Debug)]
pub struct Guard {
    pub hosts: Rc<Hosts>,
    pub proxies: Proxies,
    /// What became of the WebSockets that pages tried to open.
    pub attempts: Rc<Attempts>,
    pub origins: OriginPolicy,
    /// The origins that may open what is the teacher's.
    pub own_pages: OriginPolicy,
    /// What the WebSocket paths of the class ask for.
    pub token: Option<String>,
    /// What opens the private pages. Without it, they open on this machine.
    pub teacher_token: Option<String>,
    /// The clients that have sent a wrong token.
    pub guesses: Rc<RefCell<Guesses>>,
    pub log_lang: Lang,
}

/// The kind of resource that a request asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanted {
    WebSocket,
    Page,
    /// What is the teacher's, because it concerns the whole class: `/metrics` and `/wire`.
    Private,
}

/// What the guard knows of a refusal by the library.
#[derive(Clone, Copy, Debug, Default)]
pub struct Noted {
    /// The client, if it is not the one that the connection comes from.
    pub client: Option<IpAddr>,
    pub is_logged: bool,
}

/// The reason for a refusal.
struct Reason {
    status: u16,
    rule: Bilingual,
    section: &'static str,
    found: String,
    /// What to do about it, and the value that it names.
    fix: Bilingual,
    value: String,
}

impl Guard {
    /// Returns the address of the client of an admitted request.
    ///
    /// # Errors
    ///
    /// The request is refused with this response, which is delayed if the client seems to guess the token.
    pub fn admit(
        &self,
        request: &Request<'_>,
        wanted: Wanted,
        from: SocketAddr,
        lang: Lang,
    ) -> Result<IpAddr, Response> {
        let requester = match self.proxies.requester(request, from) {
            Ok(requester) => requester,
            Err(contradiction) => {
                return Err(self.refuse(request, from.ip(), &contradicts(contradiction), lang));
            }
        };
        let reason = self
            .check_host(request, &requester)
            .or_else(|| self.check_origin(request, &requester, wanted))
            .or_else(|| self.check_token(request, &requester, wanted, lang));
        match reason {
            None => Ok(requester.address),
            Some(reason) if reason.status == 401 && gives_token(request) => {
                Err(self.refuse_guess(request, requester.address, &reason, lang))
            }
            Some(reason) => Err(self.refuse(request, requester.address, &reason, lang)),
        }
    }

    /// Responds to a plain request for a WebSocket path if it comes from the page: it is either a handshake from which a proxy
    /// has removed all fields, or the question why a handshake has failed.
    pub fn explain(&self, request: &Request<'_>, client: IpAddr, lang: Lang) -> Option<Response> {
        if attempts::attempt(request).is_some() {
            return Some(self.refuse(request, client, &Reason::mangled(request), lang));
        }
        let fate = self.attempts.take(&attempts::failed(request)?);
        let (rule, found, fix) = match fate {
            Some(Fate::Refused { .. }) => return fate.and_then(|fate| fate.response(lang)),
            Some(Fate::Accepted) => (texts::ANSWER_LOST_RULE, "101", texts::ANSWER_LOST_FIX),
            None => (texts::NOT_ARRIVED_RULE, "-", texts::NOT_ARRIVED_FIX),
        };
        Some(upgrade(teach(426, rule, "RFC 6455 4.1", found, fix.get(lang), lang)))
    }

    /// Keeps the refusal of a handshake by the library for the page. Also logs it if a proxy is to blame.
    pub fn note_refused(
        &self,
        request: &Request<'_>,
        refusal: &Refusal,
        from: SocketAddr,
    ) -> Noted {
        let requester = self.proxies.requester(request, from);
        let client = requester.as_ref().map_or(from.ip(), |requester| requester.address);
        let attempt = attempts::attempt(request);
        // Browsers send Origin and all fields of a handshake. A client without a browser, to which the server speaks
        // directly, has made the mistake itself.
        let was_complete = attempt.is_some()
            || request.fields().first("origin").is_some()
            || requester.is_ok_and(|requester| requester.is_forwarded);
        let lacks_upgrade =
            matches!(refusal.rule, Rule::Upgrade | Rule::Connection | Rule::HttpTooOld);
        if was_complete && lacks_upgrade {
            let reason = Reason::mangled(request);
            self.log(client, &reason);
            self.keep(attempt, |lang| reason.response(lang));
            return Noted { client: Some(client), is_logged: true };
        }
        self.keep(attempt, |lang| {
            let (rule, found) = (refusal.rule, refusal.found_text(lang));
            let fix = refusal.fix_text(lang);
            teach(rule.status(), rule.text(), rule.section(), &found, &fix, lang)
        });
        // The address of the connection has a port.
        Noted { client: Some(client).filter(|client| *client != from.ip()), is_logged: false }
    }

    /// Refuses a request whose parameter `name` has a value that it must not have.
    pub fn bad_parameter(
        &self,
        request: &Request<'_>,
        client: IpAddr,
        (name, rule, fix): (&str, Bilingual, Bilingual),
        lang: Lang,
    ) -> Response {
        let found = parameter(request, name).and_then(Result::ok).unwrap_or_default();
        let (section, value) = ("RFC 9110 15.5.1", String::new());
        let reason = Reason { status: 400, rule, section, found, fix, value };
        self.refuse(request, client, &reason, lang)
    }

    /// Refuses a WebSocket to a client that has `open` of them already.
    pub fn too_many(
        &self,
        request: &Request<'_>,
        client: IpAddr,
        open: usize,
        lang: Lang,
    ) -> Response {
        let (section, found, value) = ("RFC 6585 4", format!("{client}: {open}"), String::new());
        let (rule, fix) = (texts::MANY_RULE, texts::MANY_FIX);
        let reason = Reason { status: 429, rule, section, found, fix, value };
        self.refuse(request, client, &reason, lang)
    }

    /// Refuses one more viewer of the wire page.
    pub fn too_many_viewers(
        &self,
        request: &Request<'_>,
        client: IpAddr,
        open: usize,
        lang: Lang,
    ) -> Response {
        let (section, found, value) = ("RFC 9110 15.6.4", open.to_string(), String::new());
        let (rule, fix) = (texts::VIEWERS_RULE, texts::VIEWERS_FIX);
        let reason = Reason { status: 503, rule, section, found, fix, value };
        self.refuse(request, client, &reason, lang)
    }

    /// Keeps the response to an attempt of the page.
    pub fn keep(&self, attempt: Option<String>, response: impl Fn(Lang) -> Response) {
        if let Some(id) = attempt {
            self.attempts.keep(id, Fate::refused(response));
        }
    }

    /// Refuses a page from elsewhere whose name was made to resolve to this server (DNS rebinding).
    fn check_host(&self, request: &Request<'_>, requester: &Requester) -> Option<Reason> {
        let hosts = [Some(request.host()), requester.host.as_deref()];
        let host = hosts.into_iter().flatten().find(|host| !self.hosts.allow(host))?;
        Some(Reason {
            status: 403,
            rule: texts::HOST_RULE,
            section: "RFC 6455 10.2",
            found: host.to_owned(),
            fix: texts::HOST_FIX,
            value: Some(name_of(host)).filter(|name| !name.is_empty()).unwrap_or("NAME".to_owned()),
        })
    }

    /// Refuses pages of other origins: those that the policy does not allow. What is private opens only for pages of the
    /// server itself.
    fn check_origin(
        &self,
        request: &Request<'_>,
        requester: &Requester,
        wanted: Wanted,
    ) -> Option<Reason> {
        let page = request.fields().first("origin")?;
        let host = requester.host.as_deref().unwrap_or(request.host());
        let is_allowed = match wanted {
            Wanted::WebSocket => self.origins.allows(page, host),
            Wanted::Private => self.own_pages.allows(page, host),
            Wanted::Page => true,
        };
        if is_allowed {
            return None;
        }
        let page = String::from_utf8_lossy(page).into_owned();
        let can_be_named = page.parse::<OriginRule>().is_ok();
        Some(Reason {
            status: 403,
            rule: texts::ORIGIN_RULE,
            section: "RFC 6455 10.2",
            fix: if wanted == Wanted::WebSocket { texts::ORIGIN_FIX } else { texts::OWN_PAGE_FIX },
            value: if can_be_named { page.clone() } else { "any".to_owned() },
            found: page,
        })
    }

    /// Refuses a request without the token that it needs: a WebSocket of the class needs `--token`, and what is private
    /// needs `--teacher-token`. Without a `--teacher-token`, what is private opens only on this machine.
    fn check_token(
        &self,
        request: &Request<'_>,
        requester: &Requester,
        wanted: Wanted,
        lang: Lang,
    ) -> Option<Reason> {
        let (token, rule, fix) = match wanted {
            Wanted::Page => return None,
            Wanted::WebSocket => (&self.token, texts::TOKEN_RULE, texts::TOKEN_FIX),
            Wanted::Private => (&self.teacher_token, texts::TEACHER_RULE, texts::TEACHER_FIX),
        };
        match token {
            Some(token) if knows(request, token) => None,
            Some(_) => {
                let is_of_class = || self.token.as_ref().is_some_and(|token| knows(request, token));
                let found = match gives_token(request) {
                    true if wanted == Wanted::Private && is_of_class() => texts::TOKEN_OF_CLASS,
                    true => texts::TOKEN_OTHER,
                    false => texts::TOKEN_NONE,
                };
                let (found, value) = (found.get(lang).to_owned(), String::new());
                Some(Reason { status: 401, rule, section: "RFC 6750 2", found, fix, value })
            }
            None if wanted == Wanted::Private
                && (!requester.is_this_machine() || self.hosts.is_public(request.host())) =>
            {
                Some(Reason {
                    status: 403,
                    rule: texts::LOCAL_RULE,
                    section: "RFC 9110 15.5.4",
                    found: match requester.is_forwarded {
                        true => texts::FORWARDED.with(lang, &[&requester.address]),
                        false => requester.address.to_string(),
                    },
                    fix: texts::LOCAL_FIX,
                    value: String::new(),
                })
            }
            None => None,
        }
    }

    /// Logs a refusal, keeps it for the page, and returns the response.
    fn refuse(
        &self,
        request: &Request<'_>,
        address: IpAddr,
        reason: &Reason,
        lang: Lang,
    ) -> Response {
        self.log(address, reason);
        self.keep(attempts::attempt(request), |lang| reason.response(lang));
        reason.response(lang)
    }

    /// Refuses a wrong token. The first ones from a client are refused as everything else, and further ones with a delay
    /// and one line in the log for each minute.
    fn refuse_guess(
        &self,
        request: &Request<'_>,
        address: IpAddr,
        reason: &Reason,
        lang: Lang,
    ) -> Response {
        let guess = self.guesses.borrow_mut().wrong(address, Instant::now());
        if let Some(count) = guess.report {
            warn!(%address, count, "{}", texts::LOG_GUESSES.get(self.log_lang));
        }
        match guess.verdict {
            Verdict::AtOnce => self.refuse(request, address, reason, lang),
            Verdict::Late(delay) => {
                self.keep(attempts::attempt(request), |lang| reason.response(lang));
                reason.response(lang).delayed(delay)
            }
            Verdict::TooMany => {
                let response = |lang| {
                    let fix = texts::GUESSES_FIX.get(lang);
                    teach(429, texts::GUESSES_RULE, "RFC 6585 4", &reason.found, fix, lang)
                        .header("Retry-After", &LONGEST_DELAY.as_secs().to_string())
                        .expect("a number")
                };
                self.keep(attempts::attempt(request), response);
                response(lang)
            }
        }
    }

    fn log(&self, address: IpAddr, reason: &Reason) {
        let (lang, status) = (self.log_lang, reason.status);
        let short =
            |text: &str| shortened(&printable(&redact::value(text)), MAX_FOUND).into_owned();
        let (found, value) = (short(&reason.found), short(&reason.value));
        let (rule, fix) = (reason.rule.get(lang), reason.fix.with(lang, &[&value]));
        warn!(%address, status, found, "{}: {rule}; {fix}", texts::LOG_REFUSED.get(lang));
    }
}

fn contradicts(contradiction: Contradiction) -> Reason {
    Reason {
        status: 400,
        rule: texts::PROXY_RULE,
        section: "RFC 7239 5.2",
        found: format!("{}, {}", contradiction.forwarded, contradiction.x_forwarded_for),
        fix: texts::PROXY_FIX,
        value: String::new(),
    }
}

impl Reason {
    /// The reason to refuse a handshake that a proxy has changed on its way: the proxy speaks HTTP/1.0, or does not pass on
    /// the fields that a browser always sends.
    fn mangled(request: &Request<'_>) -> Reason {
        let field = |name| request.header(name).unwrap_or("-");
        let (rule, fix, found) = match request.is_http_1_0() {
            true => (texts::HTTP_1_0_RULE, texts::HTTP_1_0_FIX, "HTTP/1.0".to_owned()),
            false => {
                let found =
                    format!("Upgrade: {}, Connection: {}", field("upgrade"), field("connection"));
                (texts::DROPPED_RULE, texts::DROPPED_FIX, found)
            }
        };
        Reason { status: 400, rule, section: "RFC 6455 4.2.1", found, fix, value: String::new() }
    }

    fn response(&self, lang: Lang) -> Response {
        let value = shortened(&printable(&self.value), MAX_FOUND).into_owned();
        let fix = self.fix.with(lang, &[&value]);
        let response = teach(self.status, self.rule, self.section, &self.found, &fix, lang);
        match self.status {
            401 => response.header("WWW-Authenticate", "Bearer").expect("one word"),
            429 | 503 => response.header("Retry-After", RETRY_AFTER).expect("a number"),
            _ => response,
        }
    }
}

impl Requester {
    /// Reports whether the client is on this machine. A request that was forwarded by an unknown proxy is not, although
    /// its connection may come from loopback.
    fn is_this_machine(&self) -> bool {
        self.address.is_loopback() && !self.is_forwarded
    }
}

/// Reports whether a request has the token, in its Authorization field or in its query.
fn knows(request: &Request<'_>, token: &str) -> bool {
    let is_same = |given: &str, token: &str| given.as_bytes().ct_eq(token.as_bytes()).into();
    match (bearer(request), parameter(request, "token")) {
        (Some(given), _) => is_same(given, token),
        (None, Some(Ok(given))) => is_same(&spaced(&given), &spaced(token)),
        (None, _) => false,
    }
}

/// Returns a token with spaces for its plus signs. In a query, a plus may stand for a space, so there the two are the same.
pub fn spaced(token: &str) -> String {
    token.replace('+', " ")
}

/// Reports whether a request has a token, right or wrong.
fn gives_token(request: &Request<'_>) -> bool {
    bearer(request).is_some() || parameter(request, "token").is_some()
}

fn bearer<'a>(request: &Request<'a>) -> Option<&'a str> {
    let (scheme, token) = request.header("authorization")?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then_some(token.trim())
}
