//! Reads the lines of a head, one byte at a time: which bytes are secret, where the head ends, and what follows it.

use std::mem;

use super::IN_WINDOW;
use super::token::{Context, NAMES, Token, Window};

/// The fields that matter besides those whose names contain one of [`NAMES`], in lower case.
const FIELDS: [(&str, Kind); 6] = [
    ("sec-websocket-protocol", Kind::Subprotocol),
    ("upgrade", Kind::Upgrade),
    ("content-length", Kind::ContentLength),
    ("transfer-encoding", Kind::TransferEncoding),
    // These ask for credentials and contain none.
    ("www-authenticate", Kind::Other),
    ("proxy-authenticate", Kind::Other),
];

/// A request is a handshake if the name of one of its fields begins with the first bytes of the first of [`FIELDS`].
const OF_HANDSHAKE: (&str, u8) = ("sec-websocket-", 1);

/// The protocol that a handshake asks for in `Upgrade`, in lower case.
const WEBSOCKET: &[u8] = b"websocket";

/// The lines of a head.
#[derive(Clone, Copy, Debug, Default)]
pub struct Lines {
    head: Head,
    has_begun: bool,
    has_start_line: bool,
    /// The last line end was an LF without CR.
    after_bare_lf: bool,
    line: Line,
    kind: Kind,
    token: Token,
    has_odd_secret: bool,
}

/// What a byte is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Taken {
    Plain,
    Secret,
    /// The last byte of the head.
    End,
}

/// What is known of a head.
#[derive(Clone, Copy, Debug, Default)]
pub struct Head {
    pub start: StartLine,
    /// The head breaks a rule of HTTP, so that the server and other readers may disagree about its end.
    pub is_malformed: bool,
    /// The request asks for a WebSocket.
    pub is_handshake: bool,
    pub has_transfer_encoding: bool,
    pub length: Length,
    /// A `Sec-WebSocket-Protocol` had one of [`WORDS`](super::WORDS).
    has_word: bool,
    /// It was the last thing before this byte.
    after_word: bool,
}

/// The values of `Content-Length`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Length {
    #[default]
    Absent,
    Is(u64),
    /// There are several, or one that is no number.
    Unclear,
}

/// The words of a request line or status line.
#[derive(Clone, Copy, Debug, Default)]
pub struct StartLine {
    /// The line so far is that of a request: `GET` or `HEAD`, a target, and `HTTP/1.x`.
    is_request: bool,
    /// The first word is `HEAD`.
    pub is_to_head: bool,
    /// The second word as a number: the status of a response, or 0.
    pub status: u16,
    /// The words that are complete, at most 255.
    words: u8,
    /// The current word, as far as it fits, and its length, at most 255.
    word: [u8; 9],
    length: u8,
    has_secret: bool,
}

/// What is known of the current line.
#[derive(Clone, Copy, Debug, Default)]
struct Line {
    /// Bytes so far, at most 255.
    length: u8,
    last_was_cr: bool,
    has_colon: bool,
    is_of_handshake: bool,
    name: Name,
    item: Item,
    number: Number,
    window: Window,
}

/// What a field is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Kind {
    #[default]
    Other,
    Secret,
    Subprotocol,
    Upgrade,
    ContentLength,
    TransferEncoding,
}

/// The name of a field, as far as it has been read.
#[derive(Clone, Copy, Debug)]
enum Name {
    /// As many bytes of it have been read, at most 255, and the [`FIELDS`] with these bits begin with them. It contains one of
    /// [`NAMES`], or it does not.
    Reading { length: u8, candidates: u8, is_secret: bool },
    /// The name is complete, but the value has not begun.
    Complete,
    /// The value has begun, or the name is that of another field.
    Over,
}

impl Default for Name {
    fn default() -> Name {
        Name::Reading { length: 0, candidates: (1 << FIELDS.len()) - 1, is_secret: false }
    }
}

/// An item of `Upgrade`, as far as it has been read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Item {
    /// As many bytes of it are those of [`WEBSOCKET`].
    Matches(usize),
    /// It is [`WEBSOCKET`], and blanks follow.
    IsWebsocket,
    Differs,
}

impl Default for Item {
    fn default() -> Item {
        Item::Matches(0)
    }
}

/// The value of `Content-Length`, as far as it has been read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Number {
    #[default]
    Nothing,
    Digits(u64),
    /// Blanks follow it.
    Over(u64),
    Bad,
}

impl Lines {
    /// Reports whether the first byte of a head has arrived. Empty lines before it do not count.
    pub fn has_begun(&self) -> bool {
        self.has_begun
    }

    /// Takes the next byte. After [`Taken::End`], call [`Lines::end`].
    pub fn take(&mut self, byte: u8, is_request: bool) -> Taken {
        if !self.has_begun && matches!(byte, b'\r' | b'\n') {
            return Taken::Plain;
        }
        self.has_begun = true;
        if byte == b'\n' {
            return if self.end_line() { Taken::End } else { Taken::Plain };
        }
        if mem::take(&mut self.line.last_was_cr) {
            self.head.is_malformed = true;
            // Another reader may see a line end in a CR alone. A secret value goes on.
            if !self.kind.may_be_secret() {
                self.line = Line::default();
            }
        }
        if self.line.length == 0 {
            self.begin_line(byte);
        }
        self.head.is_malformed |= byte.is_ascii_control() && !matches!(byte, b'\r' | b'\t');
        if !self.has_start_line && byte != b'\r' {
            self.head.start.take(byte);
        }
        let is_value = self.take_name(byte);
        let is_secret = match self.kind {
            _ if byte == b'\r' => false,
            Kind::Secret => is_value,
            Kind::Subprotocol => is_value && self.take_subprotocol(byte),
            _ => {
                // A line of a malformed head may be the next request.
                let is_request_line =
                    is_request && (!self.has_start_line || self.head.is_malformed);
                let context = if is_request_line { Context::RequestLine } else { Context::Field };
                self.token.take(byte, context)
            }
        };
        match self.kind {
            Kind::Upgrade if is_value => self.take_upgrade(byte),
            Kind::ContentLength if is_value => self.line.number.take(byte),
            _ => {}
        }
        self.line.length = self.line.length.saturating_add(1);
        self.line.last_was_cr = byte == b'\r';
        self.head.start.has_secret |= is_secret && !self.has_start_line;
        if is_secret { Taken::Secret } else { Taken::Plain }
    }

    /// Ends the head. The next byte is the first one after it.
    pub fn end(&mut self) -> Head {
        let has_odd_secret = self.has_odd_secret;
        mem::replace(self, Lines { has_odd_secret, ..Lines::default() }).head
    }

    /// Reports whether any head so far had a secret in a request line that the server refuses. It may quote any word of it.
    pub fn has_odd_secret(&self) -> bool {
        self.has_odd_secret
    }

    fn begin_line(&mut self, byte: u8) {
        let is_folded = self.has_start_line && matches!(byte, b' ' | b'\t');
        self.head.is_malformed |= is_folded;
        if self.kind.may_be_secret() && (is_folded || self.after_bare_lf) {
            // The value of the line before goes on.
            self.line.name = Name::Complete;
        } else {
            self.kind = Kind::Other;
        }
    }

    /// Takes the next byte as part of a name. Returns whether it is part of a value instead.
    fn take_name(&mut self, byte: u8) -> bool {
        let is_blank = matches!(byte, b' ' | b'\t');
        let is_colon = byte == b':' && !mem::replace(&mut self.line.has_colon, true);
        self.head.is_handshake |= is_colon && self.line.is_of_handshake;
        let Name::Reading { length, candidates, is_secret } = self.line.name else {
            let has_begun = !is_blank && !is_colon && byte != b'\r';
            if has_begun || matches!(self.line.name, Name::Over) {
                self.line.name = Name::Over;
                return true;
            }
            return false;
        };
        let at = usize::from(length);
        let filtered = |test: &dyn Fn(&str) -> bool| {
            let bits = FIELDS.iter().enumerate().filter(|(_, (name, _))| test(name));
            bits.fold(0, |bits, (bit, _)| bits | 1 << bit) & candidates
        };
        self.line.name = match byte {
            b' ' | b'\t' if length == 0 => Name::Reading { length, candidates, is_secret },
            // Blanks before the colon are not allowed, nor is a line without one, but what follows is a secret all the same.
            b':' | b' ' | b'\t' => {
                self.line.window = Window::default();
                let found = filtered(&|name| name.len() == at).trailing_zeros();
                let field = FIELDS.get(found as usize).map(|field| field.1);
                match field.or(is_secret.then_some(Kind::Secret)) {
                    Some(kind) => {
                        self.kind = kind;
                        self.head.has_transfer_encoding |= kind == Kind::TransferEncoding;
                        Name::Complete
                    }
                    None => Name::Over,
                }
            }
            _ => {
                let byte = byte.to_ascii_lowercase();
                self.line.window.push(byte);
                let candidates = filtered(&|name| name.as_bytes().get(at) == Some(&byte));
                let (prefix, bit) = OF_HANDSHAKE;
                self.line.is_of_handshake |= candidates & bit != 0 && at + 1 == prefix.len();
                let is_secret = is_secret || self.line.window.ends_with(&NAMES);
                Name::Reading { length: length.saturating_add(1), candidates, is_secret }
            }
        };
        false
    }

    /// Takes the next byte of a `Sec-WebSocket-Protocol`. Returns whether it is secret.
    fn take_subprotocol(&mut self, byte: u8) -> bool {
        if self.head.has_word {
            // The dot of `bearer.segredo` is no secret.
            let is_dot = mem::take(&mut self.head.after_word) && matches!(byte, b'.' | b'-' | b'_');
            return !is_dot && !matches!(byte, b',' | b' ' | b'\t');
        }
        self.line.window.push(byte);
        self.head.has_word = self.line.window.ends_with(&IN_WINDOW);
        self.head.after_word = self.head.has_word;
        false
    }

    /// Takes the next byte of an `Upgrade`.
    fn take_upgrade(&mut self, byte: u8) {
        let is_blank = matches!(byte, b' ' | b'\t');
        self.line.item = match self.line.item {
            item if byte == b',' => {
                self.head.is_handshake |= item.is_websocket();
                Item::default()
            }
            item if byte == b'\r' => item,
            Item::Matches(0) if is_blank => Item::Matches(0),
            item if is_blank && item.is_websocket() => Item::IsWebsocket,
            Item::Matches(at) if WEBSOCKET.get(at) == Some(&byte.to_ascii_lowercase()) => {
                Item::Matches(at + 1)
            }
            _ => Item::Differs,
        };
    }

    /// Ends a line. Returns whether it was the empty line, which ends the head.
    fn end_line(&mut self) -> bool {
        let line = mem::take(&mut self.line);
        let is_empty = line.length == u8::from(line.last_was_cr);
        self.after_bare_lf = !line.last_was_cr;
        self.head.is_malformed |= self.after_bare_lf;
        self.head.is_malformed |= self.has_start_line && !is_empty && !line.has_colon;
        self.token.end_line(self.after_bare_lf);
        match self.kind {
            Kind::Upgrade => self.head.is_handshake |= line.item.is_websocket(),
            Kind::ContentLength if !is_empty => {
                self.head.length = match (self.head.length, line.number) {
                    (Length::Absent, Number::Digits(length) | Number::Over(length)) => {
                        Length::Is(length)
                    }
                    _ => Length::Unclear,
                };
            }
            _ => {}
        }
        if !mem::replace(&mut self.has_start_line, true) {
            self.head.start.end_word();
            self.has_odd_secret |= self.head.start.has_secret && !self.head.start.is_request();
        }
        is_empty
    }
}

impl Kind {
    fn may_be_secret(self) -> bool {
        matches!(self, Kind::Secret | Kind::Subprotocol)
    }
}

impl Item {
    fn is_websocket(self) -> bool {
        self == Item::IsWebsocket || self == Item::Matches(WEBSOCKET.len())
    }
}

impl Number {
    fn take(&mut self, byte: u8) {
        let digit = char::from(byte).to_digit(10).map(u64::from);
        *self = match (*self, digit) {
            (number, None) if byte == b'\r' => number,
            (Number::Nothing, Some(digit)) => Number::Digits(digit),
            (Number::Digits(number), Some(digit)) => {
                let next = number.checked_mul(10).and_then(|number| number.checked_add(digit));
                next.map_or(Number::Bad, Number::Digits)
            }
            (Number::Digits(number) | Number::Over(number), None)
                if matches!(byte, b' ' | b'\t') =>
            {
                Number::Over(number)
            }
            _ => Number::Bad,
        };
    }
}

impl StartLine {
    /// Reports whether the line is that of a request that the server accepts: `GET` or `HEAD`, a target, and `HTTP/1.x`.
    pub fn is_request(&self) -> bool {
        self.is_request && self.words == 3
    }

    fn take(&mut self, byte: u8) {
        if byte == b' ' {
            return self.end_word();
        }
        if let Some(place) = self.word.get_mut(usize::from(self.length)) {
            *place = byte;
        }
        self.length = self.length.saturating_add(1);
    }

    fn end_word(&mut self) {
        let word = &self.word[..usize::from(self.length).min(self.word.len())];
        match self.words {
            0 => {
                self.is_to_head = word == b"HEAD";
                self.is_request = self.is_to_head || word == b"GET";
            }
            1 => {
                let digits = Some(word).filter(|word| word.len() == 3);
                let digits = digits.and_then(|word| str::from_utf8(word).ok());
                self.status = digits.and_then(|digits| digits.parse().ok()).unwrap_or(0);
                self.is_request &= !word.is_empty();
            }
            2 => {
                self.is_request &=
                    matches!(word, [b'H', b'T', b'T', b'P', b'/', b'1', b'.', b'0'..=b'9'])
            }
            _ => {}
        }
        self.words = self.words.saturating_add(1);
        self.length = 0;
    }
}
