//! What a replay does, in order: made from the recording before the first connection opens.
//!
//! ```text
//! recording:  open 1   in 1   out 1      open 2   in 2     close 1
//! plan:       Open 1   Send 1   Due 1: 1   Open 2   Send 2   Close 1
//! ```
//!
//! Rules of this file:
//!
//! - The client's bytes are sent as they were read, in the same pieces. Only in the heads of requests some values change: Host, and
//!   an Origin or Referer of the same host, become those of the new server, and with `--token` redacted tokens are filled in. A
//!   line that changes is sent with the piece that ends it.
//! - The WebSockets of `/explain` are left out. What they send to the server on connections of their own is in the recording as well,
//!   so that it would be sent twice, and the responses name ports that differ each time.
//! - A Close 1001 that the server sends by itself is not waited for: the recorded server stopped, and this one does not.

use std::net::SocketAddr;

use framewise::observe::Direction;
use framewise::protocol::frame::{Opcode, Role};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

use crate::recording::parts::{Conversation, Fields, Part, Splitter};
use crate::recording::reader::{Event, Whole};
use crate::recording::redact::{MARK, WORDS};
use crate::replay::answers::{Answer, Kind, is_going_away, kind};

/// All steps of a replay.
pub struct Plan {
    pub lanes: Vec<Lane>,
    pub steps: Vec<Step>,
    /// How many connections are left out.
    pub left_out: usize,
    /// Some request has a token that was redacted and that nothing fills in.
    pub lacks_token: bool,
}

/// The path of the WebSockets that are left out.
const LEFT_OUT: &str = "/explain/ws";

/// A recorded connection. One that is left out has no steps.
pub struct Lane {
    pub number: u64,
    pub address: SocketAddr,
    /// What the server has sent, and when, in microseconds since the start.
    pub answers: Vec<(u64, Answer)>,
    /// The bodies, by the number of answers before them: one more than there are answers.
    pub bodies: Vec<Vec<u8>>,
    /// How many of the answers have to come before the connection closes.
    pub needed: usize,
    /// The recording has the connection to its end.
    pub is_closed: bool,
}

pub struct Step {
    /// When it was, in microseconds since the start.
    pub us: u64,
    /// The index of the connection.
    pub lane: usize,
    pub action: Action,
}

pub enum Action {
    Open,
    Send(Vec<u8>),
    /// By now, the recorded server had sent this many answers on the connection.
    Due(usize),
    Close,
}

/// What changes in requests.
pub struct Changes {
    /// Host and port of the new server.
    pub authority: String,
    /// The new server speaks TLS.
    pub is_secure: bool,
    pub token: Option<String>,
}

impl Plan {
    pub fn new(recording: Whole, changes: &Changes) -> Plan {
        let Whole { connections, order, .. } = recording;
        let mut plan =
            Plan { lanes: Vec::new(), steps: Vec::new(), left_out: 0, lacks_token: false };
        // The steps of each connection, in the place of its events.
        let mut actions = Vec::new();
        for connection in &connections {
            let mut lane = Lane {
                number: connection.number,
                address: connection.address,
                answers: Vec::new(),
                bodies: vec![Vec::new()],
                needed: 0,
                is_closed: false,
            };
            let reads = connection.events.iter().map(|(_, event)| match event {
                Event::Bytes(Direction::In, bytes) => bytes.as_slice(),
                _ => &[],
            });
            let reads: Vec<&[u8]> = reads.collect();
            if is_left_out(&reads) {
                plan.left_out += 1;
                plan.lanes.push(lane);
                actions.push(connection.events.iter().map(|_| None).collect());
                continue;
            }
            let mut pieces = changes.apply(&reads).into_iter();
            plan.lacks_token |= changes.token.is_none() && has_marks(&reads);
            let mut conversation = Conversation::new();
            let mut has_closed = false;
            let mut of_lane = Vec::new();
            for (us, event) in &connection.events {
                let piece = pieces.next().unwrap_or_default();
                of_lane.push(Some(match event {
                    Event::Open(_) => Action::Open,
                    Event::Bytes(Direction::In, bytes) => {
                        conversation.feed(Direction::In, bytes, &mut |part| {
                            has_closed |= matches!(part, Part::Frame(header, _) if header.opcode == Opcode::Close);
                        });
                        Action::Send(piece)
                    }
                    Event::Bytes(Direction::Out, bytes) => {
                        let expect = &mut |part| lane.expect(*us, part, has_closed);
                        conversation.feed(Direction::Out, bytes, expect);
                        Action::Due(lane.needed)
                    }
                    Event::Close(_) => {
                        lane.is_closed = true;
                        Action::Close
                    }
                }));
            }
            plan.lanes.push(lane);
            actions.push(of_lane);
        }
        for (lane, event) in order {
            let us = connections[lane].events[event].0;
            if let Some(action) = actions[lane][event].take() {
                plan.steps.push(Step { us, lane, action });
            }
        }
        plan
    }

    /// Returns the time of the first step.
    pub fn begins(&self) -> u64 {
        self.steps.first().map_or(0, |step| step.us)
    }
}

impl Lane {
    /// Returns the length of the longest recorded payload.
    pub fn longest(&self) -> usize {
        let payloads = self.answers.iter().map(|(_, answer)| match answer {
            Answer::Frame(_, payload) => payload.len(),
            Answer::Head { .. } => 0,
        });
        payloads.max().unwrap_or(0)
    }

    fn expect(&mut self, us: u64, part: Part, client_has_closed: bool) {
        match kind(part) {
            Kind::Answer(answer) => {
                let is_optional = !client_has_closed && is_going_away(&answer);
                self.answers.push((us, answer));
                self.bodies.push(Vec::new());
                if !is_optional {
                    self.needed = self.answers.len();
                }
            }
            Kind::Ping(_) | Kind::Begins(_) => {}
            Kind::Rest(bytes) => self.bodies[self.answers.len()].extend(bytes),
        }
    }
}

impl Changes {
    /// Returns the bytes to send in the place of each read of one connection.
    fn apply(&self, reads: &[&[u8]]) -> Vec<Vec<u8>> {
        let whole = reads.concat();
        // Where each changed line begins and ends, and what stands in its place.
        let mut changed = Vec::new();
        let mut start = 0;
        for head in heads(&whole) {
            let host = Fields::parse(&head).get("host").map(str::to_owned);
            for line in head.split_inclusive(|&byte| byte == b'\n') {
                let new = self.line(line, host.as_deref());
                if new != line {
                    changed.push((start..start + line.len(), new));
                }
                start += line.len();
            }
        }
        let mut changed = changed.into_iter().peekable();
        let mut at = 0;
        let piece = |read: &&[u8]| {
            let mut piece = Vec::new();
            for &byte in *read {
                match changed.peek() {
                    Some((range, _)) if range.contains(&at) => {
                        if at + 1 == range.end
                            && let Some((_, new)) = changed.next()
                        {
                            piece.extend(new);
                        }
                    }
                    _ => piece.push(byte),
                }
                at += 1;
            }
            piece
        };
        reads.iter().map(piece).collect()
    }

    /// Returns a line of a request head as it is sent.
    fn line(&self, line: &[u8], host: Option<&str>) -> Vec<u8> {
        let Ok(text) = str::from_utf8(line) else { return line.to_vec() };
        let (name, value) = text.split_once(':').unwrap_or_default();
        let (name_lower, value) = (name.to_ascii_lowercase(), value.trim());
        let of_host = ["http://", "https://"].iter().find_map(|scheme| {
            let rest = value.strip_prefix(scheme)?.strip_prefix(host?)?;
            (rest.is_empty() || rest.starts_with(['/', '?'])).then_some((scheme, rest))
        });
        let scheme = if self.is_secure { "https" } else { "http" };
        let text = match (name_lower.as_str(), of_host) {
            ("host", _) if host == Some(value) => format!("{name}: {}\r\n", self.authority),
            ("origin" | "referer", Some((_, rest))) => {
                format!("{name}: {scheme}://{}{rest}\r\n", self.authority)
            }
            _ => text.to_owned(),
        };
        let Some(token) = &self.token else { return text.into_bytes() };
        let is_value = is_marked(value);
        match name_lower.as_str() {
            "authorization" if is_value => format!("{name}: Bearer {token}\r\n"),
            "x-api-key" | "x-auth-token" if is_value => format!("{name}: {token}\r\n"),
            "sec-websocket-protocol" if has_word(value) => {
                let mut after_word = false;
                let offers = value.split(',').map(|offer| {
                    after_word |= has_word(offer);
                    let start = offer.trim_end_matches(char::from(MARK));
                    let is_redacted = after_word && start != offer;
                    if is_redacted { format!("{start}{token}") } else { offer.to_owned() }
                });
                format!("{name}: {}\r\n", offers.collect::<Vec<_>>().join(","))
            }
            _ => with_token(&text, token),
        }
        .into_bytes()
    }
}

/// Returns the heads of all requests of a connection, with which its bytes begin.
fn heads(whole: &[u8]) -> Vec<Vec<u8>> {
    let mut heads = Vec::new();
    let mut has_ended = false;
    Splitter::new(Role::Client).feed(whole, &mut |part| match part {
        Part::Head(head) if !has_ended => heads.push(head),
        _ => has_ended = true,
    });
    heads
}

/// Reports whether a connection has a request for [`LEFT_OUT`].
fn is_left_out(reads: &[&[u8]]) -> bool {
    heads(&reads.concat()).iter().any(|head| {
        let [_, target, _] = Fields::parse(head).start;
        target.split('?').next() == Some(LEFT_OUT)
    })
}

/// Reports whether a request has a redacted token.
fn has_marks(reads: &[&[u8]]) -> bool {
    let with = |token: &str| Changes {
        authority: String::new(),
        is_secure: false,
        token: Some(token.to_owned()),
    };
    let (one, other) = (with("a"), with("b"));
    // A line has one if the token makes a difference.
    heads(&reads.concat()).iter().any(|head| {
        let mut lines = head.split_inclusive(|&byte| byte == b'\n');
        lines.any(|line| one.line(line, None) != other.line(line, None))
    })
}

/// Reports whether a `Sec-WebSocket-Protocol` has a word after which it is redacted.
fn has_word(value: &str) -> bool {
    let lower = value.to_ascii_lowercase();
    WORDS.iter().any(|word| lower.contains(word))
}

fn is_marked(value: &str) -> bool {
    !value.is_empty() && value.bytes().all(|byte| byte == MARK)
}

/// Fills in the tokens of a text, of which only asterisks are left.
fn with_token(text: &str, token: &str) -> String {
    const NAME: &str = "token=";
    let encoded = utf8_percent_encode(token, NON_ALPHANUMERIC).to_string();
    let (lower, mut filled, mut from) = (text.to_ascii_lowercase(), String::new(), 0);
    while let Some(at) = lower[from..].find(NAME).map(|at| from + at + NAME.len()) {
        let marks = text[at..].bytes().take_while(|&byte| byte == MARK).count();
        filled += &text[from..at];
        if marks > 0 {
            filled += &encoded;
        }
        from = at + marks;
    }
    filled + &text[from..]
}

#[cfg(test)]
mod tests {
    use super::*;

    const REQUEST: &str = "GET /ws?token=***&a=token= HTTP/1.1\r\nOrigin: http://old:1\r\nHost: old:1\r\n\
        Authorization: ****\r\nReferer: http://old:1/?token=***\r\nX: http://old:12/\r\nCookie: **\r\n\r\n\u{81}token=***";

    fn applied(token: Option<&str>, reads: &[&[u8]]) -> Vec<Vec<u8>> {
        changes(token).apply(reads)
    }

    fn changes(token: Option<&str>) -> Changes {
        let token = token.map(str::to_owned);
        Changes { authority: "new:2".into(), is_secure: false, token }
    }

    /// RFC 6454 §4: the scheme is part of an origin.
    #[test]
    fn an_origin_has_the_scheme_of_the_new_server() {
        let head = "GET / HTTP/1.1\r\nHost: old:1\r\nOrigin: SCHEME://old:1\r\nReferer: SCHEME://old:1/?a\r\n\r\n";
        for (scheme, is_secure) in [("http", false), ("https", true)] {
            let expected = head.replace("SCHEME", scheme).replace("old:1", "new:2");
            for recorded in ["http", "https"] {
                let head = head.replace("SCHEME", recorded);
                let changes = Changes { is_secure, ..changes(None) };
                assert_eq!(changes.apply(&[head.as_bytes()]), [expected.as_bytes()]);
            }
        }
    }

    #[test]
    fn host_origin_and_token_become_those_of_the_new_server() {
        let whole = REQUEST.as_bytes();
        let head = "GET /ws?token=a%20b%26&a=token= HTTP/1.1\r\nOrigin: http://new:2\r\nHost: new:2\r\n\
            Authorization: Bearer a b&\r\nReferer: http://new:2/?token=a%20b%26\r\nX: http://old:12/\r\nCookie: **\r\n\r\n";
        let rest = "\u{81}token=***";
        let expected = [head, rest].concat().into_bytes();
        assert_eq!(applied(Some("a b&"), &[whole]).concat(), expected);
        // In whatever pieces it was read, nothing is lost, and what follows the head keeps its pieces.
        for cut in 0..whole.len() {
            assert_eq!(applied(Some("a b&"), &[&whole[..cut], &whole[cut..]]).concat(), expected);
        }
        let end = whole.len() - rest.len();
        let pieces = applied(Some("a b&"), &[&whole[..end], &whole[end..]]);
        assert_eq!(pieces, [head.as_bytes(), rest.as_bytes()]);
        let without = String::from_utf8(applied(None, &[whole]).concat()).expect("text");
        assert!(without.contains("token=***") && without.contains("Host: new:2"));
        assert!(has_marks(&[whole]) && !has_marks(&[b"GET /?token= HTTP/1.1\r\n\r\n"]));
    }

    /// A connection has many requests, each with its own host. What follows the last one is not touched.
    #[test]
    fn every_request_of_a_connection_is_changed() {
        let request = |host: &str, token: &str| {
            format!(
                "HEAD /?token={token} HTTP/1.1\r\nHost: {host}\r\nReferer: http://old:1/\r\n\r\n\r\n\
                 GET / HTTP/1.1\r\nHost: {host}\r\nX-Auth-Token: {token}\r\n\r\n"
            )
        };
        let handshake = |host: &str, token: &str| {
            format!(
                "GET / HTTP/1.1\r\nHost: {host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                 Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
                 Sec-WebSocket-Protocol: chat*, bearer, {token}\r\n\
                 Sec-WebSocket-Protocol:chat**\r\n\r\n"
            )
        };
        let frames = "\u{1}\u{0}\u{0}\u{0}GET /?token=*** HTTP/1.1\r\nHost: old:1\r\n\r\n";
        let whole = [request("old:1", "***"), handshake("old:1", "***"), frames.into()].concat();
        let expected = [
            request("new:2", "abcdef").replace("http://old:1/", "http://new:2/"),
            handshake("new:2", "abcdef"),
            frames.into(),
        ];
        let expected = expected.concat();
        let applied = |reads: &[&[u8]]| {
            String::from_utf8(applied(Some("abcdef"), reads).concat()).expect("text")
        };
        assert_eq!(applied(&[whole.as_bytes()]), expected);
        for cut in 0..whole.len() {
            let (start, end) = whole.as_bytes().split_at(cut);
            assert_eq!(applied(&[start, end]), expected);
        }
        assert!(has_marks(&[b"GET / HTTP/1.1\r\nHost: h\r\n\r\n", whole.as_bytes()]));
    }

    #[test]
    fn what_does_not_change_keeps_its_pieces() {
        for text in ["", "GET / HT", "GET / HTTP/1.1\nHost: old\n\n", "\x16\x03"] {
            for cut in 0..text.len() {
                let pieces =
                    applied(Some("t"), &[&text.as_bytes()[..cut], &text.as_bytes()[cut..]]);
                assert_eq!(pieces, [&text.as_bytes()[..cut], &text.as_bytes()[cut..]]);
            }
        }
    }
}
