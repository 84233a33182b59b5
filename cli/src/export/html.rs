//! A recording as one page that explains every byte, in the order in which the server read and wrote.
//!
//! Rules of this file:
//!
//! - The labels are the library's. This file only gives them colours.
//! - Everything that a peer has sent is escaped by [`Html`]. The page has no script, and its policy allows none, nor any
//!   request.

use std::fmt::Display;
use std::io::{self, Write};

use framewise::Message;
use framewise::labels::{Item, Labeller, Place, What};
use framewise::lang::{Bilingual, Lang};
use framewise::observe::Direction;
use framewise::protocol::dissect::{Dissector, Finding};
use framewise::protocol::frame::{Header, Opcode, Role};
use framewise::protocol::header_bits::Field;
use framewise::rows::rows;
use framewise::trace::escaped;

use crate::escape::Html;
use crate::export::pcap::server_for;
use crate::recording::format::Reason;
use crate::recording::parts::without_limits;
use crate::recording::reader::{Connection, End, Event, Whole};
use crate::texts;

/// The bytes in a row of a payload.
const ROW: usize = 16;

/// The most bytes of one piece of a payload that are shown in rows, and of text or a body.
const MAX_BYTES: usize = 256;
const MAX_TEXT: usize = 4_096;

const STYLE: &str = "
:root{color-scheme:light dark;--line:#8886;--in:#2563eb;--out:#b45309}
body{font:16px/1.5 system-ui,sans-serif;margin:1rem auto;max-width:70rem;padding:0 1rem}
code,pre,.cell,table{font-family:ui-monospace,monospace;font-size:.85rem}
details{border:1px solid var(--line);border-radius:.5rem;margin:.75rem 0;padding:.5rem .75rem}
summary{cursor:pointer;font-weight:600}
pre{white-space:pre-wrap;overflow-wrap:anywhere;margin:.25rem 0}
.event{border-left:.25rem solid var(--in);margin:.75rem 0;padding-left:.75rem}
.event.out{border-color:var(--out)}
h3{font-size:.9rem;margin:.25rem 0}
.frame{display:flex;flex-wrap:wrap;gap:.25rem;margin:.5rem 0}
.byte{display:flex;flex-direction:column;border:1px solid var(--line);border-radius:.25rem;padding:.15rem}
.byte>b{text-align:center;font-size:.8rem}
.bits{display:flex;gap:.15rem}
.cell{border-radius:.2rem;padding:.1rem .35rem;text-align:center;color:#111}
.cell i{display:block;font-size:.7rem}
.fin{background:#fde68a}.rsv{background:#e5e7eb}.opcode{background:#a7f3d0}.mask{background:#fbcfe8}
.length{background:#bfdbfe}.key{background:#f9a8d4}.payload{background:#ddd6fe}
.wrong{outline:.2rem solid #dc2626}
table{border-collapse:collapse;margin:.25rem 0}th{font-weight:400;text-align:left;padding-right:.75rem}
td{padding:0 .25rem;text-align:center}
.valid{color:#15803d}.broken{color:#dc2626;font-weight:600}
@media(prefers-color-scheme:dark){.valid{color:#4ade80}.broken{color:#f87171}}
";

/// Writes the page.
///
/// # Errors
///
/// `out` takes no bytes.
pub fn export(recording: &Whole, lang: Lang, out: &mut impl Write) -> io::Result<()> {
    let tag = if lang == Lang::Pt { "pt-BR" } else { "en" };
    let title = texts::HTML_TITLE.with(lang, &[&recording.head.started]);
    write!(
        out,
        "<!DOCTYPE html>\n<html lang=\"{tag}\">\n<head>\n<meta charset=\"utf-8\">\n\
        <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\n\
        <meta name=\"viewport\" content=\"width=device-width\">\n<title>{0}</title>\n<style>{STYLE}</style>\n</head>\n\
        <body>\n<h1>{0}</h1>\n<p>{1}",
        Html(&title),
        Html(&recording.head.program),
    )?;
    let end = match recording.end {
        End::Reason(Reason::Stopped) => None,
        End::Reason(Reason::Limit) => Some(texts::RECORDING_LIMITED),
        End::Reason(Reason::Slow) => Some(texts::RECORDING_SLOW),
        End::BreaksOff => Some(texts::RECORDING_BREAKS_OFF),
    };
    if let Some(end) = end {
        write!(out, ". {}", Html(end.get(lang)))?;
    }
    writeln!(out, "</p>\n<p>{}</p>", Html(texts::HTML_LEGEND.get(lang)))?;
    for connection in &recording.connections {
        write_connection(recording, connection, lang, out)?;
    }
    writeln!(out, "</body>\n</html>")
}

fn write_connection(
    recording: &Whole,
    connection: &Connection,
    lang: Lang,
    out: &mut impl Write,
) -> io::Result<()> {
    let server = server_for(connection.address, &recording.head.listening);
    let values: [&dyn Display; 3] = [&connection.number, &connection.address, &server];
    // Requests for the files of the page would hide the WebSockets.
    let open = if opens_websocket(connection) { " open" } else { "" };
    writeln!(
        out,
        "<details id=\"c{}\"{open}>\n<summary>{}</summary>",
        connection.number,
        Html(texts::HTML_CONNECTION.with(lang, &values))
    )?;
    let labeller = |sender| Labeller::new(sender, without_limits());
    let (mut client, mut server) = (labeller(Role::Client), labeller(Role::Server));
    for (us, event) in &connection.events {
        let time = format!("{}.{:06} s", us / 1_000_000, us % 1_000_000);
        let (class, text, pieces) = match event {
            Event::Open(_) => ("open", texts::HTML_OPENED.get(lang).to_owned(), Vec::new()),
            Event::Bytes(Direction::In, bytes) => {
                let pieces = pieces(lang, |show| client.feed(bytes, &mut |item| show(item)));
                server.responds_to(&mut client);
                ("in", texts::HTML_READ.with(lang, &[&bytes.len()]), pieces)
            }
            Event::Bytes(Direction::Out, bytes) => {
                let pieces = pieces(lang, |show| server.feed(bytes, &mut |item| show(item)));
                ("out", texts::HTML_WRITTEN.with(lang, &[&bytes.len()]), pieces)
            }
            Event::Close(code) => {
                let text = match code {
                    Some(code) => texts::HTML_CLOSED_WITH.with(lang, &[code]),
                    None => texts::HTML_CLOSED.get(lang).to_owned(),
                };
                let mut rest = pieces(lang, |show| client.finish(&mut |item| show(item)));
                rest.extend(pieces(lang, |show| server.finish(&mut |item| show(item))));
                ("close", text, rest)
            }
        };
        writeln!(out, "<section class=\"event {class}\">\n<h3>{time} · {}</h3>", Html(text))?;
        write_pieces(&pieces, lang, out)?;
        writeln!(out, "</section>")?;
    }
    // What is incomplete when the recording ends. After a close, nothing is left.
    let mut rest = pieces(lang, |show| client.finish(&mut |item| show(item)));
    rest.extend(pieces(lang, |show| server.finish(&mut |item| show(item))));
    let is_closed = matches!(connection.events.last(), Some((_, Event::Close(_))));
    if !is_closed {
        write_pieces(&rest, lang, out)?;
    }
    writeln!(out, "</details>")
}

/// Reports whether a response opens a WebSocket.
fn opens_websocket(connection: &Connection) -> bool {
    let mut client = Dissector::new(Role::Client, without_limits());
    let mut server = Dissector::new(Role::Server, without_limits());
    let mut opens = false;
    for (_, event) in &connection.events {
        match event {
            Event::Bytes(Direction::In, bytes) => client.feed(bytes, &mut |_| {}),
            Event::Bytes(Direction::Out, bytes) => {
                server.responds_to(&mut client);
                server.feed(bytes, &mut |finding| {
                    opens |= matches!(finding, Finding::ValidHead { handshake: true });
                });
            }
            _ => {}
        }
    }
    opens
}

/// A piece of the page. It owns its bytes, because what comes next may mark some of them as wrong.
enum Piece {
    Bits {
        at: u64,
        wire: Vec<u8>,
        field: Field,
        value: String,
    },
    Payload {
        header: Header,
        at: u64,
        wire: Vec<u8>,
        clear: Vec<u8>,
        is_encoded: bool,
    },
    /// The text of a decompressed message.
    Decoded(String),
    Rows(Vec<String>),
    Body(Vec<u8>),
    Valid(Vec<String>),
    Broken(Vec<String>, Vec<Place>),
}

/// Collects the items that `feed` reports.
fn pieces(lang: Lang, feed: impl FnOnce(&mut dyn FnMut(&Item<'_>))) -> Vec<Piece> {
    let mut pieces = Vec::new();
    feed(&mut |item| {
        let rows = || rows(item, lang);
        pieces.push(match item {
            Item::Label(label) => match &label.what {
                What::Bits { field, header } => Piece::Bits {
                    at: label.at,
                    wire: label.wire.to_vec(),
                    field: field.clone(),
                    value: value(field, header),
                },
                What::Payload { header, at, clear, encoded } => Piece::Payload {
                    header: *header,
                    at: *at,
                    wire: label.wire.to_vec(),
                    clear: clear.to_vec(),
                    is_encoded: *encoded,
                },
                What::Body => Piece::Body(label.wire.to_vec()),
                _ => Piece::Rows(rows()),
            },
            Item::Decoded(message) => Piece::Decoded(decompressed(*message, lang)),
            Item::Valid(_) | Item::ValidHead { .. } => Piece::Valid(rows()),
            Item::Broken { places, .. } => Piece::Broken(rows(), places.clone()),
            _ => Piece::Rows(rows()),
        });
    });
    pieces
}

/// Returns the value of a field in words.
fn value(field: &Field, header: &[u8]) -> String {
    match field.name {
        _ if field.bits.end > header.len() * 8 => String::new(),
        "opcode" => match Opcode::ALL.iter().find(|&&opcode| opcode as u64 == field.value) {
            Some(opcode) => format!("{:X} {}", field.value, opcode.name()),
            None => format!("{:X}", field.value),
        },
        "masking key" => String::new(),
        _ => field.value.to_string(),
    }
}

fn write_pieces(pieces: &[Piece], lang: Lang, out: &mut impl Write) -> io::Result<()> {
    let mut rest = pieces;
    while let Some(piece) = rest.first() {
        let bits = rest.iter().take_while(|piece| matches!(piece, Piece::Bits { .. })).count();
        // What ends this frame, if it is known, says which bits are wrong.
        let ends = |piece: &&Piece| matches!(piece, Piece::Valid(_) | Piece::Broken(..));
        let places = match rest.iter().find(ends) {
            Some(Piece::Broken(_, places)) => places.as_slice(),
            _ => &[],
        };
        match piece {
            Piece::Bits { .. } => write_header(&rest[..bits], places, out)?,
            Piece::Payload { header, at, wire, clear, is_encoded } => {
                write_payload(header, *at, wire, clear, places, lang, out)?;
                // The text of a compressed message follows when it is complete.
                if !is_encoded {
                    write_text(header, clear, lang, out)?;
                }
            }
            Piece::Decoded(text) => writeln!(out, "<pre class=\"text\">{}</pre>", Html(text))?,
            Piece::Rows(rows) => write_rows("pre", "", rows, out)?,
            Piece::Body(bytes) => write_body(bytes, lang, out)?,
            Piece::Valid(rows) => write_rows("p", "valid", rows, out)?,
            Piece::Broken(rows, _) => write_rows("p", "broken", rows, out)?,
        }
        rest = &rest[bits.max(1)..];
    }
    Ok(())
}

fn write_rows(tag: &str, class: &str, rows: &[String], out: &mut impl Write) -> io::Result<()> {
    writeln!(out, "<{tag} class=\"{class}\">{}</{tag}>", Html(rows.join("\n")))
}

/// Writes the fields of a frame header: fields that share a byte stand side by side below it.
fn write_header(pieces: &[Piece], places: &[Place], out: &mut impl Write) -> io::Result<()> {
    write!(out, "<div class=\"frame\">")?;
    let mut byte = None;
    for piece in pieces {
        let Piece::Bits { at, wire, field, value } = piece else { continue };
        if byte != Some(*at) {
            let end = if byte.is_some() { "</div></div>" } else { "" };
            write!(out, "{end}<div class=\"byte\"><b>{}</b><div class=\"bits\">", hex(wire))?;
            byte = Some(*at);
        }
        let is_wrong = places.iter().any(|place| match place {
            Place::Header(bits, _) => bits.start < field.bits.end && field.bits.start < bits.end,
            Place::Payload(_) => false,
        });
        let class = match field.name {
            "FIN" => "fin",
            "RSV1" | "RSV2" | "RSV3" => "rsv",
            "opcode" => "opcode",
            "MASK" => "mask",
            "masking key" => "key",
            _ => "length",
        };
        let wrong = if is_wrong { " wrong" } else { "" };
        // The header begins at a whole byte, so its bits have the same place in the byte as in the field.
        let bits = if field.bits.len() > 8 { String::new() } else { in_byte(wire, field) };
        write!(
            out,
            "<span class=\"cell {class}{wrong}\" title=\"RFC 6455 §{}\">{bits} <b>{}</b><i>{}</i></span>",
            field.section,
            Html(value),
            Html(field.name),
        )?;
    }
    let end = if byte.is_some() { "</div></div>" } else { "" };
    writeln!(out, "{end}</div>")
}

/// Returns the bits of a field that lies within one byte.
fn in_byte(wire: &[u8], field: &Field) -> String {
    let Some(byte) = wire.first() else { return String::new() };
    let bit = |at: usize| if byte >> (7 - at % 8) & 1 == 1 { '1' } else { '0' };
    field.bits.clone().map(bit).collect()
}

fn hex(bytes: &[u8]) -> String {
    framewise::trace::hex(bytes)
}

/// Writes payload data, below it the key that masks it, and below that the result (RFC 6455 §5.3).
fn write_payload(
    header: &Header,
    start: u64,
    wire: &[u8],
    clear: &[u8],
    places: &[Place],
    lang: Lang,
    out: &mut impl Write,
) -> io::Result<()> {
    let shown = wire.len().min(MAX_BYTES);
    let is_wrong = |at: u64| {
        let holds = |place: &Place| matches!(place, Place::Payload(bytes) if bytes.contains(&at));
        places.iter().any(holds)
    };
    writeln!(out, "<table>")?;
    for (row, (wire, clear)) in wire[..shown].chunks(ROW).zip(clear.chunks(ROW)).enumerate() {
        let at = start + (row * ROW) as u64;
        let name = |text: Bilingual| Html(text.get(lang));
        let mut write_row = |name: Html<&str>, class: &str, bytes: &[u8]| {
            write!(out, "<tr><th scope=\"row\">{name}</th>")?;
            for (at, byte) in (at..).zip(bytes) {
                let wrong = if is_wrong(at) { " wrong" } else { "" };
                write!(out, "<td class=\"cell {class}{wrong}\">{byte:02x}</td>")?;
            }
            writeln!(out, "</tr>")
        };
        write_row(name(texts::HTML_PAYLOAD), "payload", wire)?;
        if let Some(key) = header.key {
            let key: Vec<u8> = (at..).map(|at| key[(at % 4) as usize]).take(wire.len()).collect();
            write_row(name(texts::HTML_KEY), "key", &key)?;
            write_row(name(texts::HTML_CLEAR), "payload", clear)?;
        }
    }
    writeln!(out, "</table>")?;
    if wire.len() > shown {
        let more = wire.len() - shown;
        writeln!(out, "<p>{}</p>", Html(texts::HTML_MORE.with(lang, &[&more])))?;
    }
    Ok(())
}

/// Writes an unmasked payload as text, unless it is binary.
fn write_text(header: &Header, clear: &[u8], lang: Lang, out: &mut impl Write) -> io::Result<()> {
    let text = match (header.opcode, clear) {
        (Opcode::Binary, _) | (_, []) => return Ok(()),
        (Opcode::Close, [high, low]) => {
            texts::HTML_CLOSE_CODE.with(lang, &[&u16::from_be_bytes([*high, *low])])
        }
        (Opcode::Close, [high, low, reason @ ..]) => {
            let code = u16::from_be_bytes([*high, *low]);
            let reason = escaped(&String::from_utf8_lossy(reason));
            texts::HTML_CLOSE.with(lang, &[&code, &reason])
        }
        _ => format!("'{}'", text_of(clear, lang)),
    };
    writeln!(out, "<pre class=\"text\">{}</pre>", Html(text))
}

/// Returns what a compressed message decompresses to, as far as it is shown.
fn decompressed(message: Message<'_>, lang: Lang) -> String {
    let text = match message {
        Message::Text(text) => format!("'{}'", text_of(text.as_bytes(), lang)),
        Message::Binary(bytes) => {
            let shown = hex(&bytes[..bytes.len().min(MAX_BYTES)]);
            match bytes.len().saturating_sub(MAX_BYTES) {
                0 => shown,
                more => format!("{shown} … {}", texts::HTML_MORE.with(lang, &[&more])),
            }
        }
    };
    texts::HTML_DECOMPRESSED.with(lang, &[&text])
}

/// Returns bytes as text, as far as they are shown.
fn text_of(bytes: &[u8], lang: Lang) -> String {
    let shown = &bytes[..bytes.len().min(MAX_TEXT)];
    let mut text = escaped(&String::from_utf8_lossy(shown));
    if shown.len() < bytes.len() {
        text += " … ";
        text += &texts::HTML_MORE.with(lang, &[&(bytes.len() - shown.len())]);
    }
    text
}

fn write_body(bytes: &[u8], lang: Lang, out: &mut impl Write) -> io::Result<()> {
    let lines: Vec<String> = bytes[..bytes.len().min(MAX_TEXT)]
        .split(|&byte| byte == b'\n')
        .map(|line| escaped(String::from_utf8_lossy(line).trim_end_matches('\r')))
        .collect();
    writeln!(out, "<pre class=\"body\">{}</pre>", Html(lines.join("\n")))?;
    if bytes.len() > MAX_TEXT {
        let more = bytes.len() - MAX_TEXT;
        writeln!(out, "<p>{}</p>", Html(texts::HTML_MORE.with(lang, &[&more])))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The page shows a connection unfolded if it has a WebSocket, which not every response with a 101 opens.
    #[test]
    fn a_connection_with_a_websocket_is_found() {
        let opens = |response: &str| {
            let address = ([127, 0, 0, 1], 5_000).into();
            let bytes = Event::Bytes(Direction::Out, response.as_bytes().to_vec());
            let events = vec![(0, Event::Open(address)), (1, bytes)];
            opens_websocket(&Connection { number: 1, address, events })
        };
        let valid = "HTTP/1.1 101 x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
            Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";
        assert!(opens(valid));
        for other in ["HTTP/1.1 101 x\r\n\r\n", &valid.replace("101", "1010"), &valid[..40]] {
            assert!(!opens(other), "{other}");
        }
    }
}
