//! What a request asks for: its route, and the parameters of its query.

use std::fmt::Display;
use std::ops::RangeInclusive;
use std::rc::Rc;

use framewise::Request;

use crate::serve::class::names;
use crate::serve::class::rooms::LOBBY;

/// The subprotocol of clients that want to hear who comes and goes.
pub const SUBPROTOCOL: &str = "framewise.classroom";

/// The minimum and the maximum number of characters of `?client=`. A short text could be that of another client.
const CLIENT_LENGTH: RangeInclusive<usize> = 16..=64;

/// What a request asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Route {
    /// The start page, and another address of [`Echo`](Route::Echo).
    Start,
    Echo,
    Raw,
    Events,
    /// The page that explains bytes, and its WebSocket.
    Explain,
    ExplainSocket,
    /// The description of the events, as a page and for programs.
    Docs,
    AsyncApi,
    Health,
    Metrics,
    /// The page that shows the bytes of the class, and its WebSocket.
    Wire,
    /// A file of a page, a lesson, or nothing.
    Other(String),
}

/// The routes that have a name.
const NAMED: [(&str, Route); 11] = [
    ("/", Route::Start),
    ("/echo", Route::Echo),
    ("/ws", Route::Raw),
    ("/ws/events", Route::Events),
    ("/explain", Route::Explain),
    ("/explain/ws", Route::ExplainSocket),
    ("/docs", Route::Docs),
    ("/asyncapi.json", Route::AsyncApi),
    ("/health", Route::Health),
    ("/metrics", Route::Metrics),
    ("/wire", Route::Wire),
];

/// What a WebSocket of the class is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Path {
    /// `/` and `/echo`.
    Echo,
    /// `/ws`.
    Raw,
    /// `/ws/events`; with the subprotocol, the client also receives news about members that come and go.
    Events {
        /// The subprotocol `framewise.classroom` was chosen.
        presence: bool,
    },
    /// `/explain/ws`, the WebSocket of the page that explains bytes.
    Explain,
}

impl Path {
    /// Returns the path as a client writes it.
    pub fn as_str(self) -> &'static str {
        match self {
            Path::Echo => "/echo",
            Path::Raw => "/ws",
            Path::Events { .. } => "/ws/events",
            Path::Explain => "/explain/ws",
        }
    }

    /// Reports whether the connection is a member of a room.
    pub fn is_in_room(self) -> bool {
        matches!(self, Path::Raw | Path::Events { .. })
    }
}

impl Route {
    /// Returns what a request asks for. Percent-encoding and one slash at the end of its path do not count.
    pub fn of(request: &Request<'_>) -> Route {
        let path = percent_encoding::percent_decode_str(request.path()).decode_utf8_lossy();
        let path = match path.strip_suffix('/') {
            None | Some("") => &path,
            Some(path) => path,
        };
        Route::named(path)
    }

    /// Returns the route of this path.
    pub fn named(path: &str) -> Route {
        let named = NAMED.iter().find(|(named, _)| *named == path);
        named.map_or_else(|| Route::Other(path.to_owned()), |(_, route)| route.clone())
    }

    /// Returns the path of the route.
    pub fn path(&self) -> &str {
        match self {
            Route::Other(path) => path,
            named => NAMED.iter().find(|(_, route)| route == named).map_or("/", |(path, _)| path),
        }
    }

    /// Returns what a WebSocket here is for, if there is one of the class.
    pub fn socket(&self, request: &Request<'_>) -> Option<Path> {
        match self {
            Route::Start | Route::Echo => Some(Path::Echo),
            Route::Raw => Some(Path::Raw),
            Route::ExplainSocket => Some(Path::Explain),
            // It is the only subprotocol here, so a client that offers it gets it.
            Route::Events => Some(Path::Events {
                presence: request.fields().has_token("sec-websocket-protocol", SUBPROTOCOL),
            }),
            _ => None,
        }
    }

    /// Returns the paths of the routes that everybody may know, which is all but the teacher's.
    pub fn public() -> impl Iterator<Item = &'static str> {
        NAMED.iter().filter(|(_, route)| *route != Route::Wire).map(|(path, _)| *path)
    }
}

/// Returns the room of `?room=`, or the lobby without it. `None` means that the value cannot be the name of a room.
pub fn room_of(request: &Request<'_>) -> Option<String> {
    match parameter(request, "room") {
        None => Some(LOBBY.to_owned()),
        Some(room) => names::parse(&room.ok()?).ok(),
    }
}

/// Returns the `?client=` by which a client is recognized on its next connection, if it has one.
///
/// # Errors
///
/// The value has the wrong length, or a character that is neither an ASCII letter or digit nor `-` or `_`.
pub fn client_of(request: &Request<'_>) -> Result<Option<Rc<str>>, BadClient> {
    let Some(client) = parameter(request, "client") else { return Ok(None) };
    let client = client.map_err(|_| BadClient)?;
    let is_allowed = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    match CLIENT_LENGTH.contains(&client.len()) && client.chars().all(is_allowed) {
        true => Ok(Some(client.into())),
        false => Err(BadClient),
    }
}

/// The value of `?client=` cannot be one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadClient;

/// Returns a parameter of the query, without percent-encoding.
///
/// # Errors
///
/// The bytes that it encodes are not UTF-8.
pub fn parameter(
    request: &Request<'_>,
    name: &str,
) -> Option<Result<String, impl Display + use<>>> {
    let pairs = request.query()?.split('&');
    let value = pairs.filter_map(|pair| pair.split_once('=')).find(|(key, _)| *key == name)?.1;
    let value = value.replace('+', " ");
    let decoded = percent_encoding::percent_decode_str(&value).decode_utf8();
    Some(decoded.map(|text| text.into_owned()))
}
