//! A recording as an HTTP archive (HAR 1.2), which the developer tools of browsers open. The messages of a WebSocket are in
//! `_webSocketMessages`, as Chromium writes them.
//!
//! Each request is one entry, and the messages of a WebSocket are on that of its handshake. An archive has messages, not frames:
//! fragments are joined, compressed messages are decompressed, and pings, pongs and Closes are left out.

use std::io::{self, Write};
use std::time::{Duration, UNIX_EPOCH};

use data_encoding::BASE64;
use framewise::lang::Lang;
use framewise::observe::Direction;
use framewise::protocol::frame::Opcode;
use serde_json::{Value, json};

use crate::export::pcap::server_for;
use crate::recording::parts::{Conversation, Fields, Part};
use crate::recording::reader::{Connection, Event, Whole};
use crate::texts;

/// Writes the archive, one entry after the other, so that they need not all fit into memory.
///
/// # Errors
///
/// `out` takes no bytes.
pub fn export(recording: &Whole, lang: Lang, out: &mut impl Write) -> io::Result<()> {
    let creator = json!({"name": "framewise", "version": env!("CARGO_PKG_VERSION")});
    write!(
        out,
        "{{\"log\": {{\"version\": \"1.2\", \"creator\": {creator}, \"pages\": [], \"entries\": ["
    )?;
    let (mut count, mut without) = (0, 0);
    for connection in &recording.connections {
        let before = count;
        write_entries(recording, connection, &mut |entry| {
            let comma = if count == 0 { "" } else { "," };
            count += 1;
            write!(out, "{comma}\n{entry}")
        })?;
        without += usize::from(count == before);
    }
    write!(out, "\n]")?;
    if without > 0 {
        let comment = texts::HAR_WITHOUT_REQUEST.with(lang, &[&without]);
        write!(out, ", \"comment\": {}", json!(comment))?;
    }
    writeln!(out, "}}}}")
}

/// The parts of one side, each with its time.
type Timed = Vec<(u64, Part)>;

/// A response: its head, its body, and when they were complete.
struct Answer<'a> {
    at: u64,
    until: u64,
    /// Whether it opens a WebSocket.
    opens: bool,
    head: &'a [u8],
    body: Vec<u8>,
}

/// Writes an entry for each request of a connection.
fn write_entries(
    recording: &Whole,
    connection: &Connection,
    write: &mut impl FnMut(Value) -> io::Result<()>,
) -> io::Result<()> {
    let mut conversation = Conversation::new();
    let (mut client, mut server) = (Timed::new(), Timed::new());
    let mut last = 0;
    for (us, event) in &connection.events {
        if let Event::Bytes(direction, bytes) = event {
            last = *us;
            let parts = if *direction == Direction::In { &mut client } else { &mut server };
            conversation.feed(*direction, bytes, &mut |part| parts.push((last, part)));
        }
    }
    conversation.finish(Direction::In, &mut |part| client.push((last, part)));
    conversation.finish(Direction::Out, &mut |part| server.push((last, part)));
    let mut answers = answers(&server).into_iter();
    for (asked, head) in client.iter().filter_map(head) {
        let answer = answers.next();
        let mut entry = entry(recording, connection, (asked, head), answer.as_ref());
        if answer.is_some_and(|answer| answer.opens) {
            let mut messages = messages(recording, &client, "send");
            messages.extend(self::messages(recording, &server, "receive"));
            messages.sort_by_key(|(us, _)| *us);
            let messages: Vec<Value> = messages.into_iter().map(|(_, message)| message).collect();
            entry["_resourceType"] = "websocket".into();
            entry["_webSocketMessages"] = messages.into();
        }
        write(entry)?;
    }
    Ok(())
}

/// Returns the response to each request. Interim responses are left out, unless nothing comes after them.
fn answers(server: &Timed) -> Vec<Answer<'_>> {
    let mut answers = Vec::<Answer<'_>>::new();
    let mut is_interim = false;
    for (us, part) in server {
        match part {
            Part::Head(head) => {
                if is_interim {
                    answers.pop();
                }
                is_interim = Fields::parse(head).is_interim();
                answers.push(Answer { at: *us, until: *us, opens: false, head, body: Vec::new() });
            }
            Part::Opens => {
                if let Some(answer) = answers.last_mut() {
                    answer.opens = true;
                }
            }
            Part::Body(bytes) => {
                if let Some(answer) = answers.last_mut() {
                    answer.until = *us;
                    answer.body.extend_from_slice(bytes);
                }
            }
            _ => {}
        }
    }
    answers
}

fn entry(
    recording: &Whole,
    connection: &Connection,
    (asked, head): (u64, &[u8]),
    answer: Option<&Answer<'_>>,
) -> Value {
    let (request, response) = (Fields::parse(head), response(answer));
    let address = server_for(connection.address, &recording.head.listening);
    let host = request.get("host").map_or_else(|| address.to_string(), str::to_owned);
    let target = &request.start[1];
    let scheme = if answer.is_some_and(|answer| answer.opens) { "ws" } else { "http" };
    let url = match target.contains("://") {
        true => target.clone(),
        false => format!("{scheme}://{host}{target}"),
    };
    let millis = |from: u64, to: u64| to.saturating_sub(from) as f64 / 1e3;
    let (wait, receive) = answer
        .map_or((0.0, 0.0), |answer| (millis(asked, answer.at), millis(answer.at, answer.until)));
    json!({
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
    })
}

fn head((us, part): &(u64, Part)) -> Option<(u64, &[u8])> {
    if let Part::Head(head) = part { Some((*us, head)) } else { None }
}

fn rfc3339(recording: &Whole, us: u64) -> String {
    humantime::format_rfc3339_micros(recording.time(us)).to_string()
}

/// Returns the response of a server, with the status 0 if there was none.
fn response(answer: Option<&Answer<'_>>) -> Value {
    let fields = answer.map(|answer| Fields::parse(answer.head));
    let [version, status, reason] = fields.as_ref().map(|f| f.start.clone()).unwrap_or_default();
    let body = answer.map_or(&[][..], |answer| &answer.body);
    let field = |name| fields.as_ref().and_then(|fields| fields.get(name)).unwrap_or_default();
    let mut content = json!({"size": body.len(), "mimeType": field("content-type")});
    match str::from_utf8(body) {
        Ok("") => {}
        Ok(text) => content["text"] = text.into(),
        Err(_) => {
            content["text"] = BASE64.encode(body).into();
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
        "headersSize": answer.map_or(-1, |answer| answer.head.len() as i64),
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
