//! What a request asks for: its route, and the parameters of its query.

use std::fmt::Display;

use framewise::Request;

use crate::serve::names;
use crate::serve::rooms::{LOBBY, Path};

/// The subprotocol of clients that want to hear who comes and goes.
pub const SUBPROTOCOL: &str = "framewise.classroom";

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
