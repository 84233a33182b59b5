//! Replaces the secrets of a connection with asterisks, byte by byte, as the bytes pass in both directions.
//!
//! ```text
//! GET /ws?token=segredo&room=7a HTTP/1.1      GET /ws?token=*******&room=7a HTTP/1.1
//! Cookie: id=42                           ->  Cookie: *****
//! Referer: http://h/?token=segredo            Referer: http://h/?token=*******
//! ```
//!
//! A [`Redactor`] follows a connection from its first request to its frames:
//!
//! ```text
//! client   request    request           ...   handshake, lines until the 101   frames
//! server   response and body, response and body   ...   101                    frames
//! ```
//!
//! These are secrets:
//!
//! - the values of fields whose name contains one of [`NAMES`], as `Cookie`, `Authorization` and `X-Access-Token`. The challenges
//!   `WWW-Authenticate` and `Proxy-Authenticate` stay.
//! - in every other line of a head, the values of parameters whose name contains one of them, as `token=` and `client_secret=`, in
//!   any case and also if they are percent-encoded, as in a URL within a URL
//! - the password in `http://user:password@host`
//! - in `Sec-WebSocket-Protocol`, what follows one of [`WORDS`], because a page that cannot set `Authorization` sends
//!   `bearer.segredo` or `bearer, segredo` there
//! - in the body of an error, what it quotes of these
//!
//! Rules of these files:
//!
//! - Each byte is decided when it arrives, from a state of fixed size, so it makes no difference how reads split the bytes.
//! - The length never changes, and neither does a byte that is not part of a secret.
//! - What cannot be understood is redacted. After a request that is malformed or has a body, both of which this server
//!   refuses, every byte is replaced. Whatever follows a handshake before the 101 is searched line by line.

mod lines;
mod token;

use framewise::lang::Lang;
use framewise::observe::Direction;
use framewise::protocol::refusal::{Found, Refusal, Rule};

use lines::{Length, Lines, Taken};
use token::{Context, NAMES, Token, Window, Words};

/// What stands for each byte of a secret.
pub const MARK: u8 = b'*';

/// The words after which the rest of a `Sec-WebSocket-Protocol` is secret, in lower case. JSON web tokens begin with `eyJ`.
pub const WORDS: [&str; 5] = ["token", "bearer", "auth", "jwt", "eyj"];
static IN_WINDOW: Words<5> = Words::new(WORDS);

/// The line of an error that quotes the request, counted from 0. The lines are: rule, section, found, fix.
const QUOTING_LINE: u8 = 2;

/// Redacts the bytes of one connection of a server, in both directions.
///
/// ```ignore
/// let mut redactor = Redactor::default();
/// let shown = redactor.redact(Direction::In, b"GET /?token=segredo HTTP/1.1\r\nHost: h\r\n\r\n");
/// assert_eq!(shown, b"GET /?token=******* HTTP/1.1\r\nHost: h\r\n\r\n");
/// ```
#[derive(Clone, Debug, Default)]
pub struct Redactor {
    client: Side,
    server: Side,
    unanswered: Unanswered,
}

/// What is known of one direction.
#[derive(Clone, Copy, Debug, Default)]
struct Side {
    place: Place,
    lines: Lines,
    /// At least one head is complete.
    has_head: bool,
}

/// Where the next byte belongs.
#[derive(Clone, Copy, Debug, Default)]
enum Place {
    /// In a head, or before one.
    #[default]
    Head,
    /// In lines whose end is unknown.
    Lines,
    /// In the body of a response. The number is how many bytes of it are still to come.
    Body(u64, Quotes),
    /// In bytes that cannot be understood.
    Hidden,
    /// In frames.
    Frames,
}

/// What the body of a response may quote of a request.
#[derive(Clone, Copy, Debug)]
struct Quotes {
    status: u16,
    /// The current line, counted from 0, at most 255.
    line: u8,
    token: Token,
    window: Window,
    /// The rest of the line is secret.
    is_secret: bool,
    /// Any word in the line that quotes the request may be secret.
    may_be_secret: bool,
}

/// Which of the requests without a response is a HEAD, to which a response has no body.
#[derive(Clone, Copy, Debug, Default)]
struct Unanswered {
    /// One bit for each request, the lowest one for the oldest.
    heads: u128,
    count: u32,
    /// There were more than fit. `framewise serve` answers at most 100.
    is_unclear: bool,
}

impl Redactor {
    /// Returns the next bytes of one direction with their secrets replaced. It must get all bytes of a connection, in the
    /// order in which the server reads and writes them.
    pub fn redact(&mut self, direction: Direction, bytes: &[u8]) -> Vec<u8> {
        let mut redacted = bytes.to_vec();
        for byte in &mut redacted {
            let taken = match direction {
                _ if matches!(self.side(direction).place, Place::Frames) => break,
                Direction::In => self.client.take(*byte, true),
                Direction::Out => self.server.take(*byte, false),
            };
            match (taken, direction) {
                (Taken::Plain, _) => {}
                (Taken::Secret, _) => *byte = MARK,
                (Taken::End, Direction::In) => self.end_request(),
                (Taken::End, Direction::Out) => self.end_response(),
            }
        }
        redacted
    }

    fn side(&self, direction: Direction) -> &Side {
        match direction {
            Direction::In => &self.client,
            Direction::Out => &self.server,
        }
    }

    /// Decides what comes after the head of a request.
    fn end_request(&mut self) {
        let head = self.client.lines.end();
        let has_body =
            head.has_transfer_encoding || !matches!(head.length, Length::Absent | Length::Is(0));
        self.client.has_head = true;
        self.client.place = match self.client.place {
            Place::Lines => Place::Lines,
            _ if head.is_malformed || has_body || !head.start.is_request() => Place::Hidden,
            // Frames, if the server accepts it. Otherwise it reads nothing more.
            _ if head.is_handshake => Place::Lines,
            _ => {
                self.unanswered.push(head.start.is_to_head);
                Place::Head
            }
        };
    }

    /// Decides what comes after the head of a response (RFC 9112 6.3).
    fn end_response(&mut self) {
        let head = self.server.lines.end();
        let status = head.start.status;
        self.server.place = match status {
            _ if head.is_malformed || status < 100 || matches!(self.server.place, Place::Lines) => {
                Place::Lines
            }
            101 => {
                if matches!(self.client.place, Place::Lines) {
                    self.client.place = Place::Frames;
                }
                Place::Frames
            }
            100..200 => Place::Head,
            _ => match (self.unanswered.pop(), head.length) {
                (None, _) => Place::Lines,
                (Some(true), _) | (_, Length::Is(0)) => Place::Head,
                _ if matches!(status, 204 | 304) => Place::Head,
                (_, Length::Is(length)) if !head.has_transfer_encoding => {
                    Place::Body(length, Quotes::new(status, self.client.lines.has_odd_secret()))
                }
                // This server writes no such response.
                _ => Place::Lines,
            },
        };
    }
}

impl Side {
    /// Takes the next byte, which is not part of a frame.
    fn take(&mut self, byte: u8, is_request: bool) -> Taken {
        match &mut self.place {
            Place::Body(left, quotes) => {
                let is_secret = quotes.take(byte);
                *left -= 1;
                if *left == 0 {
                    self.place = Place::Head;
                }
                if is_secret { Taken::Secret } else { Taken::Plain }
            }
            // What follows a request without a body begins like a request, or with an empty line.
            Place::Head
                if self.has_head
                    && is_request
                    && !self.lines.has_begun()
                    && !byte.is_ascii_alphabetic()
                    && !matches!(byte, b'\r' | b'\n') =>
            {
                self.place = Place::Hidden;
                Taken::Secret
            }
            Place::Head | Place::Lines => self.lines.take(byte, is_request),
            Place::Hidden => Taken::Secret,
            Place::Frames => Taken::Plain,
        }
    }
}

impl Quotes {
    fn new(status: u16, may_be_secret: bool) -> Quotes {
        let (token, window) = (Token::default(), Window::default());
        Quotes { status, line: 0, token, window, is_secret: false, may_be_secret }
    }

    /// Takes the next byte of the body. Returns whether it is secret.
    fn take(&mut self, byte: u8) -> bool {
        if (200..300).contains(&self.status) {
            return false;
        }
        if byte == b'\n' {
            let line = self.line.saturating_add(1);
            *self = Quotes { line, ..Quotes::new(self.status, self.may_be_secret) };
            return false;
        }
        if self.is_secret {
            return byte != b'\r';
        }
        if self.line != QUOTING_LINE {
            return self.token.take(byte, Context::Text);
        }
        if self.status == 400 {
            self.window.push(byte);
            self.is_secret = self.window.ends_with(&IN_WINDOW)
                || self.window.ends_with(&NAMES)
                || (self.may_be_secret && byte == b':');
        }
        self.token.take(byte, Context::Quote)
    }
}

impl Unanswered {
    fn push(&mut self, is_head: bool) {
        if self.count == u128::BITS {
            self.is_unclear = true;
        } else {
            self.heads |= u128::from(is_head) << self.count;
            self.count += 1;
        }
    }

    /// Takes the oldest request, and reports whether it is a HEAD, or `None` if that is unclear. If there is none, the server
    /// refuses a connection or a malformed head, and its response has a body.
    fn pop(&mut self) -> Option<bool> {
        if self.count == 0 {
            return Some(false).filter(|_| !self.is_unclear);
        }
        let is_head = self.heads & 1 == 1;
        self.heads >>= 1;
        self.count -= 1;
        Some(is_head)
    }
}

/// Returns what a refusal has found in a request, without the secrets in it, so that a log may have it.
pub fn found(refusal: &Refusal, lang: Lang) -> String {
    let found = refusal.found_text(lang);
    match (refusal.rule, &refusal.found) {
        // This may be what follows a blank in a token.
        (Rule::RequestLine, Found::Bytes(word))
            if !word.contains(' ') && !word.to_ascii_lowercase().starts_with("http") =>
        {
            char::from(MARK).to_string().repeat(word.len())
        }
        (_, Found::Bytes(_) | Found::Plain { .. }) => {
            let mut quotes = Quotes { line: QUOTING_LINE, ..Quotes::new(400, false) };
            replaced(&found, |byte| quotes.take(byte))
        }
        _ => found,
    }
}

/// Returns a value of a request without the secrets in it, likewise.
pub fn value(text: &str) -> String {
    let mut token = Token::default();
    replaced(text, |byte| token.take(byte, Context::Quote))
}

/// Returns an explanation, which may name the URL of a request, without the secrets in it, likewise.
pub fn explanation(text: &str) -> String {
    let mut token = Token::default();
    replaced(text, |byte| token.take(byte, Context::Text))
}

fn replaced(text: &str, mut is_secret: impl FnMut(u8) -> bool) -> String {
    let bytes = text.bytes().map(|byte| if is_secret(byte) { MARK } else { byte });
    String::from_utf8_lossy(&bytes.collect::<Vec<u8>>()).into_owned()
}

#[cfg(test)]
mod tests;
