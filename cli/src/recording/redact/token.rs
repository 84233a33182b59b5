//! Finds the values after `token=`, and words, in bytes that arrive one at a time.

/// What comes before the value.
const NAME: &[u8] = b"token=";

/// What follows the target in a request line, after a space.
const VERSION: &[u8] = b"HTTP/1.";

/// Where the bytes are. This decides where a value ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Context {
    /// A request line: a value ends before `&` and before the version.
    RequestLine,
    /// A field: a value ends before `&` and before a blank.
    Field,
    /// A line of an explanation: likewise. It may contain `?token=…` as an example, whose dots are not ASCII.
    Text,
    /// A line that quotes part of a request, whatever that is: a value ends before `&`.
    Quote,
}

/// The search for a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Token {
    /// As many bytes of the name have been read, and then the beginning of a percent-encoded byte.
    Search { matched: u8, encoded: Encoded },
    /// Before the first byte of the value.
    Begins,
    /// In the value.
    Value,
    /// In the value, unless it has ended before these bytes of [`VERSION`].
    Version { matched: u8 },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoded {
    Nothing,
    Percent,
    High(u8),
}

const SEARCH: Token = Token::Search { matched: 0, encoded: Encoded::Nothing };

impl Default for Token {
    fn default() -> Token {
        SEARCH
    }
}

impl Token {
    /// Takes the next byte of a line. Returns whether it belongs to a value.
    pub fn take(&mut self, byte: u8, context: Context) -> bool {
        let is_blank = matches!(byte, b' ' | b'\t');
        let (next, is_value) = match *self {
            Token::Search { matched, encoded } => (search(matched, encoded, byte), false),
            _ if byte == b'&' => (SEARCH, false),
            _ if byte == b'\r' => (Token::Value, false),
            Token::Begins if context == Context::Text && !byte.is_ascii() => (SEARCH, false),
            _ if is_blank => match context {
                // If something else than a version follows, the value has not ended.
                Context::RequestLine => (Token::Version { matched: 0 }, false),
                Context::Field | Context::Text => (SEARCH, false),
                Context::Quote => (Token::Value, false),
            },
            Token::Version { matched } if VERSION[usize::from(matched)] == byte => {
                let matched = matched + 1;
                let is_whole = usize::from(matched) == VERSION.len();
                (if is_whole { SEARCH } else { Token::Version { matched } }, false)
            }
            Token::Begins | Token::Value | Token::Version { .. } => (Token::Value, true),
        };
        *self = next;
        is_value
    }

    /// Ends a line. A value goes on after a line end that is none for the server.
    pub fn end_line(&mut self, is_malformed: bool) {
        *self = match *self {
            Token::Begins | Token::Value | Token::Version { .. } if is_malformed => Token::Value,
            _ => SEARCH,
        };
    }
}

/// Takes the next byte in the search for [`NAME`].
fn search(matched: u8, encoded: Encoded, byte: u8) -> Token {
    let digit = char::from(byte).to_digit(16).map(|digit| digit as u8);
    let encoded = match (encoded, digit) {
        (_, _) if byte == b'%' => Encoded::Percent,
        (Encoded::Percent, Some(digit)) => Encoded::High(digit),
        (Encoded::High(high), Some(low)) => return next_of_name(matched, high << 4 | low),
        // This was no percent-encoding, so the match is broken by the percent sign.
        (Encoded::Percent | Encoded::High(_), None) => return next_of_name(0, byte),
        (Encoded::Nothing, _) => return next_of_name(matched, byte),
    };
    Token::Search { matched, encoded }
}

fn next_of_name(matched: u8, byte: u8) -> Token {
    let byte = byte.to_ascii_lowercase();
    let matched = match byte {
        _ if NAME[usize::from(matched)] == byte => matched + 1,
        // The first letter occurs only once in the name.
        _ => u8::from(byte == NAME[0]),
    };
    if usize::from(matched) == NAME.len() {
        return Token::Begins;
    }
    Token::Search { matched, encoded: Encoded::Nothing }
}

/// The last 8 bytes, in lower case, in which words are searched.
#[derive(Clone, Copy, Debug, Default)]
pub struct Window(u64);

impl Window {
    pub fn push(&mut self, byte: u8) {
        self.0 = self.0 << 8 | u64::from(byte.to_ascii_lowercase());
    }

    /// Reports whether the bytes so far end with one of `words`, which have at most 7 bytes.
    pub fn ends_with(self, words: &[&str]) -> bool {
        words.iter().any(|word| {
            let bits = word.bytes().fold(0, |bits, byte| bits << 8 | u64::from(byte));
            self.0 & ((1 << (8 * word.len())) - 1) == bits
        })
    }
}
