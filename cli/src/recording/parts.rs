//! Splits what the two sides of a recorded connection have sent into heads, frames and bodies.
//!
//! Rule of this file: the library's parser decides. The rules of the standard apply, but no limit of a server, because the
//! recording shows what the server did about its limits.

use std::mem;

use framewise::Config;
use framewise::config::{KeyPolicy, OriginPolicy, ValidConfig};
use framewise::observe::Direction;
use framewise::protocol::dissect::{Dissector, Finding};
use framewise::protocol::frame::{Header, Opcode, Role};

/// A part of what one side has sent.
#[derive(Clone, Debug, PartialEq)]
pub enum Part {
    /// A request or response, up to and including the empty line.
    Head(Vec<u8>),
    /// The head before is part of an opening handshake, and breaks no rule of it.
    Opens,
    /// The header of a frame that breaks no rule so far.
    Begins(Header),
    /// A frame that breaks no rule, with its unmasked payload, or with the beginning of it ([`Splitter::keeping`]). Of a compressed
    /// message, the last frame has the whole decompressed message, and the frames before have nothing.
    Frame(Header, Vec<u8>),
    /// A piece of the body of a response.
    Body(Vec<u8>),
    /// Bytes that break a rule, that a receiver does not read, or that are incomplete.
    Other(Vec<u8>),
}

/// Splits the bytes of one direction.
pub struct Splitter {
    dissector: Dissector,
    head: Vec<u8>,
    /// The wire bytes and the unmasked payload of the current frame.
    wire: Vec<u8>,
    clear: Vec<u8>,
    /// Whether the current message is compressed.
    is_compressed: bool,
    /// The most bytes of a payload that are kept.
    most: usize,
}

/// Splits the bytes of both directions.
pub struct Conversation {
    client: Splitter,
    server: Splitter,
}

impl Conversation {
    pub fn new() -> Conversation {
        Conversation { client: Splitter::new(Role::Client), server: Splitter::new(Role::Server) }
    }

    /// Splits the next bytes of one direction, and calls `show` with each part that is complete.
    pub fn feed(&mut self, direction: Direction, bytes: &[u8], show: &mut impl FnMut(Part)) {
        match direction {
            Direction::In => {
                self.client.feed(bytes, show);
                self.server.responds_to(&mut self.client.dissector);
            }
            Direction::Out => self.server.feed(bytes, show),
        }
    }

    /// Ends the input of one direction.
    pub fn finish(&mut self, direction: Direction, show: &mut impl FnMut(Part)) {
        match direction {
            Direction::In => self.client.finish(show),
            Direction::Out => self.server.finish(show),
        }
    }
}

/// Returns a configuration that knows no limits.
pub fn without_limits() -> ValidConfig {
    let config = Config::default()
        .handshake(|handshake| {
            handshake.origins = OriginPolicy::Any;
            handshake.keys = KeyPolicy::Lenient;
        })
        .limits(|limits| {
            limits.max_message = 1 << 30;
            limits.max_fragments = u32::MAX as usize;
            limits.max_head = 1 << 20;
            limits.max_request_line = 1 << 20;
            limits.max_headers = 4_096;
            limits.max_requests = u32::MAX as usize;
        });
    config.validate().expect("it is valid")
}

impl Splitter {
    /// Returns a splitter for everything that `sender` sends.
    pub fn new(sender: Role) -> Splitter {
        let dissector = Dissector::new(sender, without_limits());
        let (head, wire, clear) = (Vec::new(), Vec::new(), Vec::new());
        Splitter { dissector, head, wire, clear, is_compressed: false, most: usize::MAX }
    }

    /// Keeps at most the first `most` bytes of each payload.
    #[must_use]
    pub fn keeping(self, most: usize) -> Splitter {
        Splitter { most, ..self }
    }

    /// Tells the splitter of a server's bytes which requests were sent, because the response to a HEAD has no body. `requests`
    /// is the dissector of the client's bytes.
    pub fn responds_to(&mut self, requests: &mut Dissector) {
        self.dissector.responds_to(requests);
    }

    /// Splits the next bytes, and calls `show` with each part that is complete.
    pub fn feed(&mut self, bytes: &[u8], show: &mut impl FnMut(Part)) {
        let Splitter { dissector, head, wire, clear, is_compressed, most } = self;
        let mut parts = Parts { head, wire, clear, is_compressed, most: *most };
        dissector.feed(bytes, &mut |finding| parts.take(finding, show));
    }

    /// Ends the input.
    pub fn finish(&mut self, show: &mut impl FnMut(Part)) {
        let Splitter { dissector, head, wire, clear, is_compressed, most } = self;
        let mut parts = Parts { head, wire, clear, is_compressed, most: *most };
        dissector.finish(&mut |finding| parts.take(finding, show));
    }
}

/// What a splitter keeps, without its dissector.
struct Parts<'a> {
    head: &'a mut Vec<u8>,
    wire: &'a mut Vec<u8>,
    clear: &'a mut Vec<u8>,
    is_compressed: &'a mut bool,
    most: usize,
}

impl Parts<'_> {
    fn take(&mut self, finding: &Finding<'_>, show: &mut impl FnMut(Part)) {
        match finding {
            Finding::EmptyLine(line) | Finding::StartLine(line) | Finding::Field(line) => {
                self.head.extend_from_slice(line);
            }
            Finding::HeadEnd(line) => {
                self.head.extend_from_slice(line);
                show(Part::Head(mem::take(self.head)));
            }
            Finding::Header { wire, header, .. } => {
                *self.wire = wire.to_vec();
                if matches!(header.opcode, Opcode::Text | Opcode::Binary) {
                    *self.is_compressed = !header.rsv.is_empty();
                }
                show(Part::Begins(*header));
            }
            Finding::Payload { header, wire, clear, .. } => {
                let kept = if *self.is_compressed { self.wire.len() } else { self.clear.len() };
                let room = self.most.saturating_sub(kept).min(wire.len());
                self.wire.extend_from_slice(&wire[..room]);
                if !*self.is_compressed || header.opcode.is_control() {
                    self.clear.extend_from_slice(&clear[..room]);
                }
            }
            Finding::Decoded(message) => {
                let bytes = message.bytes();
                self.clear.extend_from_slice(&bytes[..bytes.len().min(self.most)]);
            }
            Finding::Valid(header) => {
                self.wire.clear();
                show(Part::Frame(*header, mem::take(self.clear)));
            }
            Finding::ValidHead { handshake: true } => show(Part::Opens),
            Finding::Body(bytes) => show(Part::Body(bytes.to_vec())),
            Finding::BadHeader(bytes)
            | Finding::BadHead(bytes)
            | Finding::NotRead(bytes)
            | Finding::IncompleteHead(bytes)
            | Finding::IncompleteHeader(bytes) => show(Part::Other(bytes.to_vec())),
            // A frame that has begun: its bytes were not shown yet.
            Finding::Broken(_) | Finding::IncompletePayload => {
                self.clear.clear();
                if !self.wire.is_empty() {
                    show(Part::Other(mem::take(self.wire)));
                }
            }
            _ => {}
        }
    }
}

/// A request or response head, split into its lines.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fields {
    /// The three words of the first line. Missing ones are empty.
    pub start: [String; 3],
    pub fields: Vec<(String, String)>,
}

impl Fields {
    /// Parses a head. Bytes that are no UTF-8 become replacement characters.
    pub fn parse(head: &[u8]) -> Fields {
        let text = String::from_utf8_lossy(head);
        let mut lines = text.split("\r\n").filter(|line| !line.is_empty());
        let mut words = lines.next().unwrap_or_default().splitn(3, ' ');
        let start = std::array::from_fn(|_| words.next().unwrap_or_default().to_owned());
        let fields = lines.map(|line| {
            let (name, value) = line.split_once(':').unwrap_or((line, ""));
            (name.to_owned(), value.trim().to_owned())
        });
        Fields { start, fields: fields.collect() }
    }

    /// Reports whether this is an interim response, after which another one follows (RFC 9110 15.2).
    pub fn is_interim(&self) -> bool {
        self.start[1].starts_with('1') && self.start[1] != "101"
    }

    /// Returns the value of the first field with this name.
    pub fn get(&self, name: &str) -> Option<&str> {
        let field = self.fields.iter().find(|field| field.0.eq_ignore_ascii_case(name));
        field.map(|field| field.1.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(sender: Role, pieces: &[&[u8]]) -> Vec<String> {
        let mut splitter = Splitter::new(sender);
        let mut shown = Vec::new();
        let mut show = |part: Part| {
            shown.push(match part {
                // The frame, or what is left of it, comes as well.
                Part::Begins(_) | Part::Opens => return,
                Part::Head(head) => format!("head {}", Fields::parse(&head).start.join(" ")),
                Part::Frame(header, clear) => {
                    format!("{} {}", header.opcode.name(), clear.escape_ascii())
                }
                Part::Body(bytes) => format!("body {}", bytes.escape_ascii()),
                Part::Other(bytes) => format!("other {}", bytes.escape_ascii()),
            });
        };
        pieces.iter().for_each(|piece| splitter.feed(piece, &mut show));
        splitter.finish(&mut show);
        shown
    }

    const REQUEST: &[u8] = b"GET /?token=*** HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
        Cookie: *\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

    #[test]
    fn heads_frames_and_bodies_are_told_apart_however_reads_split_them() {
        let client = [REQUEST, b"\x81\x82\x01\x02\x03\x04ik\x81\x01x..."].concat();
        let expected =
            ["head GET /?token=*** HTTP/1.1", "text hi", "other \\x81\\x01", "other x..."];
        assert_eq!(parts(Role::Client, &[&client]), expected);
        let single: Vec<&[u8]> = client.chunks(1).collect();
        assert_eq!(parts(Role::Client, &single)[..3], expected[..3]);
        assert_eq!(
            parts(Role::Server, &[b"HTTP/1.1 404 Not Found\r\nA: b\r\n\r\nno", b"thing"]),
            ["head HTTP/1.1 404 Not Found", "body no", "body thing"]
        );
        let cut = [REQUEST, b"\x82\x83\0\0\0\0ab"].concat();
        assert_eq!(parts(Role::Client, &[&cut])[1..], ["other \\x82\\x83\\x00\\x00\\x00\\x00ab"]);
        let no_text = [REQUEST, b"\x81\x82\0\0\0\0\xff."].concat();
        assert_eq!(
            parts(Role::Client, &[&no_text])[1..],
            ["other \\x81\\x82\\x00\\x00\\x00\\x00\\xff", "other ."]
        );
    }

    /// A connection has many requests and responses. Those to a HEAD have no body, and a WebSocket may come last.
    #[test]
    fn all_requests_and_responses_of_a_connection_are_told_apart() {
        let plain = "GET / HTTP/1.1\r\nHost: h\r\n\r\n";
        let page = "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n";
        let many = 500;
        let requests = [plain.replace("GET", "HEAD").repeat(2), plain.repeat(many)].concat();
        let responses = [page.repeat(2), format!("{page}page").repeat(many)].concat();
        let switching =
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
            Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n\x8a\0";
        let mut conversation = Conversation::new();
        let mut shown = [Vec::new(), Vec::new()];
        for (direction, bytes) in [
            (Direction::In, [requests.as_bytes(), REQUEST].concat()),
            (Direction::Out, [responses.as_bytes(), switching].concat()),
            (Direction::In, b"\x89\x80\0\0\0\0".to_vec()),
        ] {
            let shown = &mut shown[usize::from(direction == Direction::Out)];
            conversation.feed(direction, &bytes, &mut |part| {
                shown.push(match part {
                    Part::Begins(_) | Part::Opens => return,
                    Part::Head(head) => Fields::parse(&head).start[1].clone(),
                    Part::Frame(header, _) => header.opcode.name().to_owned(),
                    Part::Body(bytes) | Part::Other(bytes) => bytes.escape_ascii().to_string(),
                });
            });
        }
        let [client, server] = shown;
        assert_eq!(client.len(), many + 4);
        assert_eq!(client[many + 2..], ["/?token=***", "ping"]);
        assert_eq!(server.len(), 2 * many + 4);
        assert_eq!(server[..4], ["200", "200", "200", "page"]);
        assert_eq!(server[2 * many + 2..], ["101", "pong"]);
    }

    /// A server may allow more than the defaults of this program.
    #[test]
    fn limits_of_a_server_are_no_rules() {
        let mut wire = [REQUEST, b"\x82\xff\0\0\0\0\0\x20\0\0\0\0\0\0"].concat();
        wire.resize(wire.len() + (2 << 20), 7);
        for (most, expected) in [(usize::MAX, 2 << 20), (100, 100)] {
            let mut shown = Vec::new();
            let mut splitter = Splitter::new(Role::Client).keeping(most);
            splitter.feed(&wire, &mut |part| match part {
                Part::Begins(header) => shown.push(header.length as usize),
                Part::Frame(_, clear) => shown.push(clear.len()),
                _ => {}
            });
            assert_eq!(shown, [2 << 20, expected]);
        }
    }
}
