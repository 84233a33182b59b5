//! What a request asks for: its route, and the parameters of its query.

use std::fmt::Display;
use std::ops::RangeInclusive;
use std::rc::Rc;

use framewise::Request;

use crate::serve::names;
use crate::serve::rooms::{LOBBY, Path};

/// The subprotocol of clients that want to hear who comes and goes.
pub const SUBPROTOCOL: &str = "framewise.classroom";

/// The minimum and the maximum number of characters of `?client=`. A short text could be that of another client.
const CLIENT_LENGTH: RangeInclusive<usize> = 16..=64;

/// Returns the path of a request, without percent-encoding and without one slash at its end.
pub fn route(request: &Request<'_>) -> String {
    let path = percent_encoding::percent_decode_str(request.path()).decode_utf8_lossy();
    match path.strip_suffix('/') {
        None | Some("") => path.into_owned(),
        Some(route) => route.to_owned(),
    }
}

/// Returns the WebSocket path of a request, if its route is one.
pub fn path_of(request: &Request<'_>, route: &str) -> Option<Path> {
    match route {
        "/" | "/echo" => Some(Path::Echo),
        "/ws" => Some(Path::Raw),
        "/explain/ws" => Some(Path::Explain),
        // It is the only subprotocol here, so a client that offers it gets it.
        "/ws/events" => Some(Path::Events {
            presence: request.fields().has_token("sec-websocket-protocol", SUBPROTOCOL),
        }),
        _ => None,
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
