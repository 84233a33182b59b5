//! Finds secrets within a line, in bytes that arrive one at a time: the values of parameters and the passwords of URLs.

/// A parameter or field whose name contains one of these is secret. They are in lower case; `senha` is Portuguese for password.
pub static NAMES: Words<10> = Words::new([
    "token", "auth", "cookie", "secret", "passw", "senha", "jwt", "api-key", "api_key", "apikey",
]);

/// What follows the target in a request line, after a space.
const VERSION: &[u8] = b"HTTP/1.";

/// What stands for a port in an explanation.
const EXAMPLE: &[u8] = b"PORT";

/// What precedes the user and the host in a URL.
const AUTHORITY: &[u8] = b"://";

/// Where the bytes are. This decides where a value ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Context {
    /// A request line: a value ends before `&` and before the version.
    RequestLine,
    /// A field: a value ends before `&` and before a blank.
    Field,
    /// A line of an explanation: likewise. It may contain `?token=…`, whose dots are not ASCII, and `ws://HOST:PORT` as examples.
    Text,
    /// A line that quotes part of a request, whatever that is: a value ends before `&`.
    Quote,
}

/// The search for secrets in a line.
#[derive(Clone, Copy, Debug, Default)]
pub struct Token {
    value: Value,
    password: Password,
}

/// The search for the value of a parameter, as `token=segredo`.
#[derive(Clone, Copy, Debug)]
enum Value {
    /// In a name, or before one. The name so far contains one of [`NAMES`], or it does not.
    Search { name: Window, is_secret: bool, encoded: Encoded },
    /// Before the first byte of the value.
    Begins,
    /// In the value.
    Within,
    /// In the value, unless it has ended before these bytes of [`VERSION`].
    Version { matched: u8 },
}

/// The search for the password of a URL, as `http://user:segredo@host:8765/`. A host has no password, but may have a port. Which
/// of them follows a colon is not known before its end, so digits are shown as long as they can be a port.
#[derive(Clone, Copy, Debug)]
enum Password {
    /// As many bytes of [`AUTHORITY`] have been read.
    Search { matched: u8, encoded: Encoded, is_encoded: bool },
    /// In the name of a user or a host.
    Name { is_first: bool, encoded: Encoded, is_encoded: bool },
    /// In an IPv6 address.
    Brackets { is_encoded: bool },
    /// In what may be a port, after the first digit of it or before.
    Port { port: Option<u16>, is_encoded: bool },
    /// After as many bytes of [`EXAMPLE`].
    Example { matched: u8 },
    /// In a password.
    Within { is_encoded: bool },
}

/// The beginning of a percent-encoded byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Encoded {
    Nothing,
    Percent,
    High(u8),
}

/// What [`Encoded::take`] has found.
enum Decoded {
    Byte(u8),
    /// The same, after a percent sign that encodes nothing.
    AfterPercent(u8),
    Incomplete(Encoded),
}

impl Default for Value {
    fn default() -> Value {
        Value::Search { name: Window::default(), is_secret: false, encoded: Encoded::Nothing }
    }
}

impl Default for Password {
    fn default() -> Password {
        Password::Search { matched: 0, encoded: Encoded::Nothing, is_encoded: false }
    }
}

impl Token {
    /// Takes the next byte of a line. Returns whether it belongs to a secret.
    pub fn take(&mut self, byte: u8, context: Context) -> bool {
        let is_password = self.password.take(byte, context);
        self.value.take(byte, context) || is_password
    }

    /// Ends a line. A secret goes on after a line end that is none for the server.
    pub fn end_line(&mut self, is_malformed: bool) {
        self.value = match self.value {
            Value::Search { .. } => Value::default(),
            _ if !is_malformed => Value::default(),
            _ => Value::Within,
        };
        self.password = match self.password {
            Password::Within { is_encoded } | Password::Port { is_encoded, .. } if is_malformed => {
                Password::Within { is_encoded }
            }
            _ => Password::default(),
        };
    }
}

impl Value {
    /// Takes the next byte of a line. Returns whether it belongs to a value.
    fn take(&mut self, byte: u8, context: Context) -> bool {
        let is_blank = matches!(byte, b' ' | b'\t');
        let (next, is_value) = match *self {
            Value::Search { name, is_secret, encoded } => {
                (search(name, is_secret, encoded, byte), false)
            }
            _ if byte == b'&' => (Value::default(), false),
            _ if byte == b'\r' => (Value::Within, false),
            Value::Begins if context == Context::Text && !byte.is_ascii() => {
                (Value::default(), false)
            }
            _ if is_blank => match context {
                // If something else than a version follows, the value has not ended.
                Context::RequestLine => (Value::Version { matched: 0 }, false),
                Context::Field | Context::Text => (Value::default(), false),
                Context::Quote => (Value::Within, false),
            },
            Value::Version { matched } if VERSION[usize::from(matched)] == byte => {
                let matched = matched + 1;
                let is_whole = usize::from(matched) == VERSION.len();
                (if is_whole { Value::default() } else { Value::Version { matched } }, false)
            }
            Value::Begins | Value::Within | Value::Version { .. } => (Value::Within, true),
        };
        *self = next;
        is_value
    }
}

/// Takes the next byte in the search for a name and the `=` after it.
fn search(mut name: Window, mut is_secret: bool, encoded: Encoded, byte: u8) -> Value {
    let byte = match encoded.take(byte) {
        Decoded::Byte(byte) => byte,
        Decoded::AfterPercent(byte) => {
            name = Window::default();
            byte
        }
        Decoded::Incomplete(encoded) => return Value::Search { name, is_secret, encoded },
    };
    match byte {
        b'=' if is_secret => return Value::Begins,
        b'=' | b'/' | b'?' | b'&' | b'#' | b';' | b',' | b' ' | b'\t' | b'"' | b'\'' | b'<' => {
            return Value::default();
        }
        _ => name.push(byte),
    }
    is_secret |= name.ends_with(&NAMES);
    Value::Search { name, is_secret, encoded: Encoded::Nothing }
}

impl Password {
    /// Takes the next byte of a line. Returns whether it belongs to a password.
    fn take(&mut self, byte: u8, context: Context) -> bool {
        let is_blank = matches!(byte, b' ' | b'\t');
        let (next, is_password) = match *self {
            Password::Search { matched, encoded, is_encoded } => {
                (search_authority(matched, encoded, is_encoded, byte), false)
            }
            Password::Within { is_encoded } => match byte {
                b'@' => (Password::name(is_encoded), false),
                // A URL within a URL ends here, where an at sign would be percent-encoded.
                b'&' if is_encoded => (Password::default(), false),
                b'\r' => (*self, false),
                _ if is_blank => (Password::default(), false),
                _ => (*self, true),
            },
            _ if is_blank || matches!(byte, b'/' | b'?' | b'#') => (Password::default(), false),
            Password::Name { is_first: true, is_encoded, .. } if byte == b'[' => {
                (Password::Brackets { is_encoded }, false)
            }
            Password::Name { encoded, is_encoded, .. } => (name(encoded, is_encoded, byte), false),
            Password::Brackets { is_encoded } => match byte {
                b']' => (Password::name(is_encoded), false),
                b':' | b'.' => (*self, false),
                _ if byte.is_ascii_hexdigit() => (*self, false),
                _ => (Password::Within { is_encoded }, true),
            },
            Password::Example { matched } if EXAMPLE.get(usize::from(matched)) == Some(&byte) => {
                (Password::Example { matched: matched + 1 }, false)
            }
            Password::Example { .. } => (Password::Within { is_encoded: false }, byte != b'\r'),
            Password::Port { port: None, .. } if context == Context::Text && byte == EXAMPLE[0] => {
                (Password::Example { matched: 1 }, false)
            }
            Password::Port { port, is_encoded } => match (byte, next_of_port(port, byte)) {
                (b'@', _) => (Password::name(is_encoded), false),
                (_, Some(port)) => (Password::Port { port: Some(port), is_encoded }, false),
                (b'"' | b'\'' | b'<' | b'>' | b',' | b';' | b'&', _) if port.is_some() => {
                    (Password::default(), false)
                }
                _ => (Password::Within { is_encoded }, byte != b'\r'),
            },
        };
        *self = next;
        is_password
    }

    fn name(is_encoded: bool) -> Password {
        Password::Name { is_first: true, encoded: Encoded::Nothing, is_encoded }
    }
}

/// Takes the next byte in the search for [`AUTHORITY`].
fn search_authority(matched: u8, encoded: Encoded, is_encoded: bool, byte: u8) -> Password {
    let (decoded, after_percent) = match encoded.take(byte) {
        Decoded::Byte(byte) => (byte, false),
        Decoded::AfterPercent(byte) => (byte, true),
        Decoded::Incomplete(encoded) => return Password::Search { matched, encoded, is_encoded },
    };
    let is_encoded = is_encoded || (encoded != Encoded::Nothing && !after_percent);
    let matched = match decoded {
        _ if !after_percent && AUTHORITY[usize::from(matched)] == decoded => matched + 1,
        _ => u8::from(decoded == AUTHORITY[0]),
    };
    if usize::from(matched) == AUTHORITY.len() {
        return Password::name(is_encoded);
    }
    let is_encoded = is_encoded && matched > 0;
    Password::Search { matched, encoded: Encoded::Nothing, is_encoded }
}

/// Returns the port with one more digit, if the byte is one and the result is still a port.
fn next_of_port(port: Option<u16>, byte: u8) -> Option<u16> {
    let digit = char::from(byte).to_digit(10)? as u16;
    port.unwrap_or(0).checked_mul(10)?.checked_add(digit)
}

/// Takes the next byte of the name of a user or a host.
fn name(encoded: Encoded, is_encoded: bool, byte: u8) -> Password {
    let next = |encoded| Password::Name { is_first: false, encoded, is_encoded };
    match encoded.take(byte) {
        Decoded::Byte(b':') | Decoded::AfterPercent(b':') => {
            Password::Port { port: None, is_encoded }
        }
        Decoded::Byte(b'@') => Password::name(is_encoded),
        Decoded::Byte(b'&') | Decoded::AfterPercent(b'&') if is_encoded => Password::default(),
        Decoded::Byte(b'/') => Password::default(),
        Decoded::Byte(_) | Decoded::AfterPercent(_) => next(Encoded::Nothing),
        Decoded::Incomplete(encoded) => next(encoded),
    }
}

impl Encoded {
    /// Takes the next byte of a text that may be percent-encoded.
    fn take(self, byte: u8) -> Decoded {
        let digit = char::from(byte).to_digit(16).map(|digit| digit as u8);
        match (self, digit) {
            (_, _) if byte == b'%' => Decoded::Incomplete(Encoded::Percent),
            (Encoded::Percent, Some(digit)) => Decoded::Incomplete(Encoded::High(digit)),
            (Encoded::High(high), Some(low)) => Decoded::Byte(high << 4 | low),
            (Encoded::Percent | Encoded::High(_), None) => Decoded::AfterPercent(byte),
            (Encoded::Nothing, _) => Decoded::Byte(byte),
        }
    }
}

/// The last 8 bytes, in lower case, in which words are searched.
#[derive(Clone, Copy, Debug, Default)]
pub struct Window(u64);

/// Words as a [`Window`] has them, each with the bits that count. They have at most 7 bytes.
pub struct Words<const N: usize>([(u64, u64); N]);

impl Window {
    pub fn push(&mut self, byte: u8) {
        self.0 = self.0 << 8 | u64::from(byte.to_ascii_lowercase());
    }

    /// Reports whether the bytes so far end with one of `words`.
    pub fn ends_with<const N: usize>(self, words: &Words<N>) -> bool {
        words.0.iter().any(|(bits, mask)| self.0 & mask == *bits)
    }
}

impl<const N: usize> Words<N> {
    pub const fn new(words: [&str; N]) -> Words<N> {
        let mut all = [(0, 0); N];
        let mut n = 0;
        while n < N {
            let word = words[n].as_bytes();
            let (mut bits, mut at) = (0, 0);
            while at < word.len() {
                bits = bits << 8 | word[at] as u64;
                at += 1;
            }
            all[n] = (bits, (1 << (8 * word.len())) - 1);
            n += 1;
        }
        Words(all)
    }
}
