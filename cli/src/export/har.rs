//! A recording as an HTTP archive (HAR 1.2), which the developer tools of browsers open. The messages of a WebSocket are in
//! `_webSocketMessages`, as Chromium writes them.
//!
//! Each connection with a request is one entry. An archive has messages, not frames: fragments are joined, and pings, pongs and
//! Closes are left out.

use std::time::{Duration, UNIX_EPOCH};

use data_encoding::BASE64;
use framewise::lang::Lang;
use framewise::observe::Direction;
use framewise::protocol::frame::{Opcode, Role};
use serde_json::{Value, json};

use crate::export::pcap::server_for;
use crate::recording::parts::{Fields, Part, Splitter};
use crate::recording::reader::{Connection, Event, Whole};
use crate::texts;

/// Returns the archive.
pub fn export(recording: &Whole, lang: Lang) -> Value {
    let connections = &recording.connections;
    let entries: Vec<Value> = connections.iter().filter_map(|c| entry(recording, c)).collect();
    let mut log = json!({
        "version": "1.2",
        "creator": {"name": "framewise", "version": env!("CARGO_PKG_VERSION")},
        "pages": [],
    });
    let without = connections.len() - entries.len();
    if without > 0 {
        log["comment"] = texts::HAR_WITHOUT_REQUEST.with(lang, &[&without]).into();
    }
    log["entries"] = entries.into();
    json!({ "log": log })
}

/// The parts of both sides, in their order, each with its time.
type Timed = Vec<(u64, Part)>;

fn entry(recording: &Whole, connection: &Connection) -> Option<Value> {
    let [client, server] =
        [(Role::Client, Direction::In), (Role::Server, Direction::Out)].map(|(role, direction)| {
            let mut splitter = Splitter::new(role);
            let mut parts: Timed = Vec::new();
            let mut last = 0;
            for (us, event) in &connection.events {
                if let Event::Bytes(of, bytes) = event
                    && *of == direction
                {
                    last = *us;
                    splitter.feed(bytes, &mut |part| parts.push((last, part)));
                }
            }
            splitter.finish(&mut |part| parts.push((last, part)));
            parts
        });
    let (asked, head) = client.iter().find_map(head)?;
    let request = Fields::parse(head);
    let response = response(&server);
    let is_open = response["status"] == 101;
    let address = server_for(connection.address, &recording.head.listening);
    let host = request.get("host").map_or_else(|| address.to_string(), str::to_owned);
    let target = &request.start[1];
    let scheme = if is_open { "ws" } else { "http" };
    let url = match target.contains("://") {
        true => target.clone(),
        false => format!("{scheme}://{host}{target}"),
    };
    let of_server =
        || server.iter().filter(|(_, part)| matches!(part, Part::Head(_) | Part::Body(_)));
    let begins = connection
        .events
        .iter()
        .find_map(|(us, event)| matches!(event, Event::Bytes(Direction::Out, _)).then_some(*us));
    let ends = of_server().map(|(us, _)| *us).max();
    let millis = |from: u64, to: Option<u64>| to.unwrap_or(from).saturating_sub(from) as f64 / 1e3;
    let wait = millis(asked, begins);
    let receive = millis(begins.unwrap_or(asked), ends);
    let mut entry = json!({
        "startedDateTime": rfc3339(recording, asked),
        "time": wait + receive,
        "connection": connection.number.to_string(),
        "serverIPAddress": address.ip().to_string(),
        "request": {
            "method": request.start[0],
            "url": url,
            "httpVersion": request.start[2],
            "cookies": [],
            "headers": headers(&request),
            "queryString": query(target),
            "headersSize": head.len(),
            "bodySize": 0,
        },
        "response": response,
        "cache": {},
        "timings": {"send": 0, "wait": wait, "receive": receive},
    });
    if is_open {
        let mut messages = messages(recording, &client, "send");
        messages.extend(self::messages(recording, &server, "receive"));
        messages.sort_by_key(|(us, _)| *us);
        let messages: Vec<Value> = messages.into_iter().map(|(_, message)| message).collect();
        entry["_resourceType"] = "websocket".into();
        entry["_webSocketMessages"] = messages.into();
    }
    Some(entry)
}

fn head((us, part): &(u64, Part)) -> Option<(u64, &[u8])> {
    if let Part::Head(head) = part { Some((*us, head)) } else { None }
}

fn rfc3339(recording: &Whole, us: u64) -> String {
    humantime::format_rfc3339_micros(recording.time(us)).to_string()
}

/// Returns the response of a server, with the status 0 if there was none.
fn response(parts: &Timed) -> Value {
    let mut heads = parts.iter().filter_map(head).map(|(_, head)| head);
    let last = heads.next_back();
    let fields = last.map(Fields::parse);
    let [version, status, reason] = fields.as_ref().map(|f| f.start.clone()).unwrap_or_default();
    let mut body = Vec::new();
    for (_, part) in parts {
        if let Part::Body(piece) = part {
            body.extend_from_slice(piece);
        }
    }
    let field = |name| fields.as_ref().and_then(|fields| fields.get(name)).unwrap_or_default();
    let mut content = json!({"size": body.len(), "mimeType": field("content-type")});
    match str::from_utf8(&body) {
        Ok("") => {}
        Ok(text) => content["text"] = text.into(),
        Err(_) => {
            content["text"] = BASE64.encode(&body).into();
            content["encoding"] = "base64".into();
        }
    }
    json!({
        "status": status.parse().unwrap_or(0_u16),
        "statusText": reason,
        "httpVersion": version,
        "cookies": [],
        "headers": fields.as_ref().map(headers).unwrap_or_else(|| json!([])),
        "content": content,
        "redirectURL": field("location"),
        "headersSize": last.map_or(-1, |head| head.len() as i64),
        "bodySize": body.len(),
    })
}

fn headers(head: &Fields) -> Value {
    let fields = head.fields.iter().map(|(name, value)| json!({"name": name, "value": value}));
    fields.collect()
}

fn query(target: &str) -> Value {
    let decoded = |text: &str| {
        let text = text.replace('+', " ");
        percent_encoding::percent_decode_str(&text).decode_utf8_lossy().into_owned()
    };
    let query = target.split_once('?').map_or("", |(_, query)| query);
    let pairs = query.split('&').filter(|pair| !pair.is_empty()).map(|pair| {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        json!({"name": decoded(name), "value": decoded(value)})
    });
    pairs.collect()
}

/// Returns the messages of one side, each with its time.
fn messages(recording: &Whole, parts: &Timed, kind: &str) -> Vec<(u64, Value)> {
    let mut messages = Vec::new();
    let mut message = Vec::new();
    let mut opcode = Opcode::Text;
    for (us, part) in parts {
        let Part::Frame(header, clear) = part else { continue };
        match header.opcode {
            Opcode::Text | Opcode::Binary => (opcode, message) = (header.opcode, clear.clone()),
            Opcode::Continuation => message.extend_from_slice(clear),
            _ => continue,
        }
        if header.fin {
            let time = recording.time(*us).duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
            let data = match opcode {
                Opcode::Text => String::from_utf8_lossy(&message).into_owned(),
                _ => BASE64.encode(&message),
            };
            let opcode = opcode as u8;
            let time = time.as_micros() as f64 / 1e6;
            messages
                .push((*us, json!({"type": kind, "time": time, "opcode": opcode, "data": data})));
        }
    }
    messages
}
