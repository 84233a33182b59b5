//! Which requests open a WebSocket, which get a page, and which are refused.
//!
//! Rules of this file: the guard judges a request before anything else looks at it, and every refusal has a response that
//! says what to do.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::time::Instant;

use framewise::lang::Lang;
use framewise::trace::printable;
use framewise::{Decision, Request};
use tracing::info;

use crate::serve::attempts::{self, Fate};
use crate::serve::guard::{Guard, Wanted};
use crate::serve::metrics::Metrics;
use crate::serve::pages::{self, Pages};
use crate::serve::routes::{Route, client_of, room_of};
use crate::serve::shorten::shortened;
use crate::serve::wire::{MAX_VIEWERS, Wire};
use crate::texts;

/// The maximum number of characters of a path in a log line.
const MAX_SHOWN: usize = 80;

/// The checks and pages for requests, and the number of open connections from each address.
pub struct Admission {
    guard: Guard,
    pages: Pages,
    metrics: Rc<Metrics>,
    /// The maximum number of open connections from one client's address. The library counts those that come directly, but not
    /// those through a proxy.
    max_per_client: Option<usize>,
    /// The open connections from each client's address.
    by_client: HashMap<IpAddr, usize>,
    wire: Wire,
}

impl Admission {
    /// Returns the admission of a server that nobody has connected to.
    pub fn new(
        guard: Guard,
        pages: Pages,
        metrics: Rc<Metrics>,
        max_per_client: Option<usize>,
        wire: Wire,
    ) -> Admission {
        Admission { guard, pages, metrics, max_per_client, by_client: HashMap::new(), wire }
    }

    /// Returns the language that a request prefers, or the server's.
    pub fn lang_of(&self, request: &Request<'_>) -> Lang {
        self.pages.lang_of(request)
    }

    /// Returns the address that the library counts a connection from `from` as: of a connection that this server has opened to
    /// itself, that of the visitor on whose behalf it has done so.
    pub fn counted_as(&self, from: SocketAddr) -> IpAddr {
        self.guard.proxies.own.accepted(from, Instant::now()).unwrap_or(from.ip())
    }

    /// Decides about a request. `connections` is the number of open WebSockets, which `/health` reports.
    pub fn decide(
        &self,
        request: &Request<'_>,
        from: SocketAddr,
        connections: usize,
    ) -> Decision<IpAddr> {
        let (lang, route) = (self.lang_of(request), Route::of(request));
        let is_socket = route.socket(request).is_some();
        // At / there is a page as well.
        let is_page = !request.is_handshake() && (!is_socket || route == Route::Start);
        let is_wire = route == Route::Wire;
        let wanted = match (is_page, &route) {
            (_, Route::Wire) if self.wire.is_on() => Wanted::Private,
            // Nothing is there, for everybody.
            (_, Route::Wire) => Wanted::Page,
            (false, _) => Wanted::WebSocket,
            (true, Route::Metrics) => Wanted::Private,
            (true, _) => Wanted::Page,
        };
        let client = match self.guard.admit(request, wanted, from, lang) {
            Ok(client) => client,
            // In a browser, the page itself asks for the token.
            Err(refusal) if is_wire && is_page && refusal.status() == 401 => {
                return Decision::Respond(self.pages.wire_without_token(request, refusal));
            }
            Err(refusal) => return Decision::Respond(refusal),
        };
        if is_wire && self.wire.is_on() {
            return self.decide_wire(request, client, lang);
        }
        let is_known = is_socket || is_page && self.pages.has(&route);
        if !is_known {
            let found = shortened(&printable(request.path()), MAX_SHOWN).into_owned();
            let text = texts::LOG_NOT_FOUND.get(self.guard.log_lang);
            info!(address = %client, path = found, status = 404, "{text}");
            return Decision::Respond(self.pages.not_found(request, &route, lang));
        }
        if is_page {
            return Decision::Respond(match route {
                Route::Metrics => self.metrics.page(),
                _ => self.pages.answer(request, &route, lang, connections),
            });
        }
        if room_of(request).is_none() {
            let rule = ("room", texts::ROOM_RULE, texts::ROOM_FIX);
            return Decision::Respond(self.guard.bad_parameter(request, client, rule, lang));
        }
        if route == Route::Events && client_of(request).is_err() {
            let rule = ("client", texts::CLIENT_RULE, texts::CLIENT_FIX);
            return Decision::Respond(self.guard.bad_parameter(request, client, rule, lang));
        }
        if !request.is_handshake() {
            let explained = self.guard.explain(request, client, lang);
            let response = explained.unwrap_or_else(|| pages::upgrade_required(request, lang));
            return Decision::Respond(response);
        }
        let open = self.by_client.get(&client).copied().unwrap_or_default();
        if self.max_per_client.is_some_and(|most| open >= most) {
            return Decision::Respond(self.guard.too_many(request, client, open, lang));
        }
        self.accept(request, client)
    }

    /// Decides about a request for the wire page or its WebSocket, which the guard has admitted.
    fn decide_wire(&self, request: &Request<'_>, client: IpAddr, lang: Lang) -> Decision<IpAddr> {
        if !request.is_handshake() {
            let explained = self.guard.explain(request, client, lang);
            return Decision::Respond(explained.unwrap_or_else(|| self.pages.wire(request)));
        }
        let open = self.by_client.get(&client).copied().unwrap_or_default();
        if self.max_per_client.is_some_and(|most| open >= most) {
            return Decision::Respond(self.guard.too_many(request, client, open, lang));
        }
        match self.wire.has_room() {
            true => self.accept(request, client),
            false => {
                let refusal = self.guard.too_many_viewers(request, client, MAX_VIEWERS, lang);
                Decision::Respond(refusal)
            }
        }
    }

    fn accept(&self, request: &Request<'_>, client: IpAddr) -> Decision<IpAddr> {
        if let Some(id) = attempts::attempt(request) {
            self.guard.attempts.keep(id, Fate::Accepted);
        }
        Decision::Accept(client)
    }

    /// Counts a connection that has opened.
    pub fn opened(&mut self, client: IpAddr) {
        *self.by_client.entry(client).or_default() += 1;
    }

    /// Counts a connection that has closed.
    pub fn closed(&mut self, client: IpAddr) {
        if let Entry::Occupied(mut open) = self.by_client.entry(client) {
            *open.get_mut() -= 1;
            if *open.get() == 0 {
                open.remove();
            }
        }
    }
}
