//! The JSON events of `/ws/events`, and the echo, as [events](Event) of the model.

use serde_json::{Value, json};

use crate::content::{content, id_of};
use crate::event::{Event, News, Request, Said, Target};

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
        Request::Ping => json!({"type": "ping"}).to_string(),
        Request::Invalid("unknown_type") => json!({"type": "dance"}).to_string(),
        Request::Invalid("invalid_name") => json!({"type": "join", "name": ""}).to_string(),
        Request::Message(_) | Request::Invalid(_) => json!({}).to_string(),
    }
}

/// The errors that [`request`] can provoke.
pub const INVALID: [&str; 3] = ["unknown_type", "invalid_name", "missing_message"];

/// Returns the event that says this, with an id or without.
pub fn message(text: &str, to: &Target, id: Option<usize>) -> String {
    let mut event = json!({"message": text});
    if let Target::Name(name) = to {
        event["to"] = name.as_str().into();
    }
    if let Some(id) = id {
        event["id"] = id.to_string().into();
    }
    event.to_string()
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

/// Parses an event.
pub fn event(payload: &[u8]) -> Event {
    let event = serde_json::from_slice::<Value>(payload).ok();
    event.and_then(|event| parse(&event)).unwrap_or_else(|| nonsense(payload))
}

fn parse(event: &Value) -> Option<Event> {
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
    let number = |id: &Value| id.as_str()?.parse().ok();
    match kind {
        "joined" => Some(Event::Joined { room: text("room")?, name: text("name") }),
        "left" => Some(Event::Left { room: text("room")? }),
        "peer_joined" => news(true),
        "peer_left" => news(false),
        "pong" => Some(Event::Alive),
        "ack" => Some(Event::Acked(number(&event["id"])?)),
        "who" => {
            let names =
                event["names"].as_array()?.iter().map(|name| name.as_str().map(str::to_owned));
            Some(Event::Present {
                room: text("room")?,
                names: names.collect::<Option<_>>()?,
                unnamed: event["unnamed"].as_u64()? as usize,
            })
        }
        "error" => {
            let code = event["error"]["code"].as_str()?.to_owned();
            let message = event.get("id").map(|id| number(id).ok_or(())).transpose().ok()?;
            Some(Event::Refused { code, message })
        }
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
        let (room, name) = ("7a".to_owned(), Some("ana".to_owned()));
        let news =
            |has_joined| Event::News(News { has_joined, room: room.clone(), name: name.clone() });
        for (kind, due) in [
            ("joined", Event::Joined { room: room.clone(), name: name.clone() }),
            ("left", Event::Left { room: room.clone() }),
            ("peer_joined", news(true)),
            ("peer_left", news(false)),
        ] {
            let text = format!(r#"{{"type":"{kind}","room":"7a","name":"ana"}}"#);
            assert_eq!(event(text.as_bytes()), due);
        }
    }

    #[test]
    fn answers_name_the_message() {
        let refused = |message| Event::Refused { code: "no_such_peer".to_owned(), message };
        for (text, due) in [
            (r#"{"type":"ack","id":"7"}"#, Event::Acked(7)),
            (r#"{"type":"error","id":"7","error":{"code":"no_such_peer"}}"#, refused(Some(7))),
            (r#"{"type":"error","error":{"code":"no_such_peer"}}"#, refused(None)),
        ] {
            assert_eq!(event(text.as_bytes()), due);
        }
        let asked = message("hello", &Target::Name("ana".to_owned()), Some(7));
        let asked: Value = serde_json::from_str(&asked).expect("JSON");
        assert_eq!(asked, json!({"message": "hello", "to": "ana", "id": "7"}));
    }

    #[test]
    fn what_no_server_sends_is_nonsense() {
        for text in [
            "",
            "{",
            "{}",
            r#"{"type":"dance"}"#,
            r#"{"message":"1.2 a"}"#,
            r#"{"type":"ack","id":"x"}"#,
        ] {
            assert!(matches!(event(text.as_bytes()), Event::Nonsense(_)), "{text}");
        }
        assert!(matches!(raw(b"hello", false), Event::Nonsense(_)));
        assert!(matches!(echo(b"hello", false), Event::Nonsense(_)));
    }
}
