//! The JSON events of `/ws/events`, and the echo, as [events](Event) of the model.

use serde_json::{Value, json};

use crate::content::{content, id_of};
use crate::event::{Event, News, Request, Said, Target};

/// Whether only `peer_joined` and `peer_left` are news about others. A server of an earlier version calls them `joined` and
/// `left`, as the answers: a client that hears news then recognises an answer by its own name. Both are parsed while this is
/// false, which is the only place to change.
pub const NEWS_HAS_OWN_NAMES: bool = false;

/// What stands before an echoed text.
const ECHO: &str = "Echo: ";

/// Returns the event that asks for this.
pub fn request(request: &Request) -> String {
    match request {
        Request::Join { room, name } => {
            let mut event = json!({"type": "join"});
            if let Some(room) = room {
                event["room"] = room.as_str().into();
            }
            if let Some(name) = name {
                event["name"] = name.as_str().into();
            }
            event.to_string()
        }
        Request::Leave => json!({"type": "leave"}).to_string(),
        Request::Who => json!({"type": "who"}).to_string(),
        Request::Invalid("unknown_type") => json!({"type": "dance"}).to_string(),
        Request::Invalid("invalid_name") => json!({"type": "join", "name": ""}).to_string(),
        Request::Invalid(_) => json!({}).to_string(),
    }
}

/// The errors that [`request`] can provoke.
pub const INVALID: [&str; 3] = ["unknown_type", "invalid_name", "missing_message"];

/// Returns the event that says this.
pub fn message(text: &str, to: &Target) -> String {
    match to {
        Target::Name(name) => json!({"message": text, "to": name}).to_string(),
        _ => json!({"message": text}).to_string(),
    }
}

/// Parses a message of `/ws`.
pub fn raw(payload: &[u8], is_binary: bool) -> Event {
    let Some(id) = id_of(payload) else { return nonsense(payload) };
    let content = content(payload, is_binary);
    Event::Said(Said { id, content, room: None, from: None, to: None })
}

/// Parses a message of `/echo`.
pub fn echo(payload: &[u8], is_binary: bool) -> Event {
    let payload = match is_binary {
        true => Some(payload),
        false => payload.strip_prefix(ECHO.as_bytes()),
    };
    payload.map_or(Event::Nonsense("an echo without its prefix".to_owned()), |payload| {
        Event::Echoed(content(payload, is_binary))
    })
}

/// Parses an event for a client that calls itself `own`, a dash and a number.
///
/// A client that hears no news never mistakes one for an answer: `hears_news` is false.
pub fn event(payload: &[u8], own: &str, hears_news: bool) -> Event {
    let event = serde_json::from_slice::<Value>(payload).ok();
    event.and_then(|event| parse(&event, own, hears_news)).unwrap_or_else(|| nonsense(payload))
}

fn parse(event: &Value, own: &str, hears_news: bool) -> Option<Event> {
    let text = |field: &str| event[field].as_str().map(str::to_owned);
    let Some(kind) = event["type"].as_str() else {
        let message = event["message"].as_str()?;
        event["timestamp"].as_str()?;
        return Some(Event::Said(Said {
            id: id_of(message.as_bytes())?,
            content: content(message.as_bytes(), false),
            room: text("room"),
            from: text("from"),
            to: text("to"),
        }));
    };
    let news = |has_joined| {
        Some(Event::News(News { has_joined, room: text("room")?, name: text("name") }))
    };
    let name = text("name");
    let is_own = name.as_ref().and_then(|name| name.strip_prefix(own));
    let is_answer =
        NEWS_HAS_OWN_NAMES || !hears_news || is_own.is_some_and(|rest| rest.starts_with('-'));
    match kind {
        "joined" if is_answer => Some(Event::Joined { room: text("room")?, name }),
        "left" if is_answer => Some(Event::Left { room: text("room")? }),
        "joined" | "peer_joined" => news(true),
        "left" | "peer_left" => news(false),
        "who" => {
            let names =
                event["names"].as_array()?.iter().map(|name| name.as_str().map(str::to_owned));
            Some(Event::Present {
                room: text("room")?,
                names: names.collect::<Option<_>>()?,
                unnamed: event["unnamed"].as_u64()? as usize,
            })
        }
        "error" => Some(Event::Refused(event["error"]["code"].as_str()?.to_owned())),
        "slowed_down" => Some(Event::SlowedDown),
        _ => None,
    }
}

fn nonsense(payload: &[u8]) -> Event {
    let shown = &payload[..payload.len().min(200)];
    Event::Nonsense(String::from_utf8_lossy(shown).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_and_news_are_told_apart() {
        let joined = r#"{"type":"joined","room":"7a","name":"s1-2"}"#.as_bytes();
        let answer = Event::Joined { room: "7a".to_owned(), name: Some("s1-2".to_owned()) };
        let news = |has_joined| {
            let name = Some("s1-2".to_owned());
            Event::News(News { has_joined, room: "7a".to_owned(), name })
        };
        assert_eq!(event(joined, "s1", true), answer);
        assert_eq!(event(joined, "s9", false), answer);
        if !NEWS_HAS_OWN_NAMES {
            assert_eq!(event(joined, "s9", true), news(true));
            assert_eq!(event(joined, "s", true), news(true));
        }
        for own in ["s1", "s9"] {
            let peer_joined = r#"{"type":"peer_joined","room":"7a","name":"s1-2"}"#.as_bytes();
            assert_eq!(event(peer_joined, own, true), news(true));
            let peer_left = r#"{"type":"peer_left","room":"7a","name":"s1-2"}"#.as_bytes();
            assert_eq!(event(peer_left, own, true), news(false));
        }
    }

    #[test]
    fn what_no_server_sends_is_nonsense() {
        for text in ["", "{", "{}", r#"{"type":"dance"}"#, r#"{"message":"1.2 a"}"#] {
            assert!(matches!(event(text.as_bytes(), "s1", true), Event::Nonsense(_)), "{text}");
        }
        assert!(matches!(raw(b"hello", false), Event::Nonsense(_)));
        assert!(matches!(echo(b"hello", false), Event::Nonsense(_)));
    }
}
