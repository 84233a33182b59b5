//! Replaces the secrets in the heads of a connection with asterisks, byte by byte, as the bytes pass.
//!
//! ```text
//! GET /ws?token=segredo&room=7a HTTP/1.1      GET /ws?token=*******&room=7a HTTP/1.1
//! Cookie: id=42                           ->  Cookie: *****
//! Referer: http://h/?token=segredo            Referer: http://h/?token=*******
//! ```
//!
//! Secrets are the values of the fields in [`SECRET_FIELDS`], and the value after `token=` in every other line of a head, in
//! any case and also if it is percent-encoded, so that `access_token=` and a URL within a URL are covered.
//!
//! Rules of this file:
//!
//! - Each byte is decided when it arrives, from a state of fixed size, so it makes no difference how reads split the bytes.
//! - The length never changes, and neither does any byte that is not part of a secret.
//! - When in doubt whether a head has ended, it has not.

use framewise::protocol::frame::Role;

/// What stands for each byte of a secret.
pub const MARK: u8 = b'*';

/// The fields whose values are secrets, in lower case.
pub const SECRET_FIELDS: [&str; 4] =
    ["cookie", "set-cookie", "authorization", "proxy-authorization"];

/// The names that are looked for at the beginning of a line. The last one is no secret: it tells that frames may follow.
const NAMES: [&str; 5] =
    [SECRET_FIELDS[0], SECRET_FIELDS[1], SECRET_FIELDS[2], SECRET_FIELDS[3], "upgrade"];

/// One bit for each of [`NAMES`].
const ALL_NAMES: u8 = (1 << NAMES.len()) - 1;
const UPGRADE: u8 = 1 << (NAMES.len() - 1);

/// What comes before the value of a parameter.
const TOKEN: &[u8] = b"token=";

/// What follows the target in a request line, after a space.
const VERSION: &[u8] = b"HTTP/";

/// Redacts the bytes of one direction of a connection.
#[derive(Clone, Debug)]
pub struct Redactor {
    sender: Role,
    place: Place,
    line: Line,
    /// The value of the field is a secret. Lines that continue the field share it.
    is_secret: bool,
    /// The head has a field Upgrade.
    has_upgrade: bool,
    /// A line has ended without CR, so that the receiver refuses the head. Nobody knows where it ends.
    is_malformed: bool,
    /// The digits of a status code, which a response has after the first space.
    status: u16,
    parameter: Parameter,
}

/// Where the next byte belongs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// Before a head, where empty lines may stand.
    BeforeHead,
    StartLine,
    Field,
    /// After a request for an upgrade: frames, or another request if the server has refused.
    AfterRequest,
    /// After a head, for good: frames or a body.
    Rest,
}

/// What is known of the current line.
#[derive(Clone, Copy, Debug, Default)]
struct Line {
    /// Bytes so far, at most 255.
    length: u8,
    last_was_cr: bool,
    /// Spaces so far, at most two.
    spaces: u8,
    name: Name,
}

/// The name of a field, as far as it has been read.
#[derive(Clone, Copy, Debug)]
enum Name {
    /// As many bytes of it have been read, and these names begin with them.
    Reading { length: u8, candidates: u8 },
    /// The name is complete, but the value has not begun.
    Complete,
    /// The name is over, or it is none of [`NAMES`].
    Over,
}

impl Default for Name {
    fn default() -> Name {
        Name::Reading { length: 0, candidates: ALL_NAMES }
    }
}

/// The search for [`TOKEN`], and its value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Parameter {
    /// As many bytes of [`TOKEN`] have been read, and then the beginning of a percent-encoded byte.
    Search { matched: u8, encoded: Encoded },
    /// In the value.
    Value,
    /// In the value, unless it has ended before these bytes of [`VERSION`].
    Version { matched: u8 },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Encoded {
    Nothing,
    Percent,
    High(u8),
}

const SEARCH: Parameter = Parameter::Search { matched: 0, encoded: Encoded::Nothing };

impl Redactor {
    /// Returns a redactor for all that `sender` sends, from its first byte on.
    pub fn new(sender: Role) -> Redactor {
        Redactor {
            sender,
            place: Place::BeforeHead,
            line: Line::default(),
            is_secret: false,
            has_upgrade: false,
            is_malformed: false,
            status: 0,
            parameter: SEARCH,
        }
    }

    /// Redacts the next bytes in place.
    pub fn redact(&mut self, bytes: &mut [u8]) {
        for byte in bytes {
            if self.place == Place::Rest {
                return;
            }
            if self.is_secret_byte(*byte) {
                *byte = MARK;
            }
        }
    }

    /// Takes the next byte. Returns whether it is part of a secret.
    fn is_secret_byte(&mut self, byte: u8) -> bool {
        match self.place {
            Place::Rest => return false,
            Place::BeforeHead | Place::AfterRequest if matches!(byte, b'\r' | b'\n') => {
                return false;
            }
            // No frame of a client begins with a letter: they are reserved opcodes, or frames without a mask.
            Place::AfterRequest if !byte.is_ascii_alphabetic() => {
                self.place = Place::Rest;
                return false;
            }
            Place::BeforeHead | Place::AfterRequest => *self = self.at_next_head(),
            Place::StartLine | Place::Field => {}
        }
        if byte == b'\n' {
            self.end_line();
            return false;
        }
        let is_blank = matches!(byte, b' ' | b'\t');
        if self.line.length == 0 && !is_blank {
            self.is_secret = false;
        }
        let is_secret = match self.line.name {
            // A line that begins with a blank continues the last field.
            _ if self.line.length == 0 && is_blank && self.is_secret => {
                self.line.name = Name::Complete;
                false
            }
            Name::Reading { length, candidates } => {
                self.line.name = self.read_name(length, candidates, byte);
                false
            }
            Name::Complete if is_blank || byte == b'\r' => false,
            Name::Complete | Name::Over => {
                self.line.name = Name::Over;
                self.is_secret && byte != b'\r'
            }
        };
        let is_value = if self.is_secret { is_secret } else { self.read_parameter(byte) };
        if self.place == Place::StartLine && self.line.spaces == 1 && byte.is_ascii_digit() {
            self.status = (self.status * 10 + u16::from(byte - b'0')).min(999);
        }
        self.line.spaces = (self.line.spaces + u8::from(byte == b' ')).min(2);
        self.line.length = self.line.length.saturating_add(1);
        self.line.last_was_cr = byte == b'\r';
        is_value
    }

    /// Returns the state at the first byte of a head.
    fn at_next_head(&self) -> Redactor {
        let mut next = Redactor::new(self.sender);
        next.place = Place::StartLine;
        next
    }

    fn end_line(&mut self) {
        let is_empty = self.line.length == 1 && self.line.last_was_cr;
        self.is_malformed |= !self.line.last_was_cr;
        self.line = Line::default();
        self.parameter = SEARCH;
        self.place = match (self.place, self.sender) {
            (place, _) if !is_empty || self.is_malformed => {
                if place == Place::StartLine {
                    Place::Field
                } else {
                    place
                }
            }
            (_, Role::Client) if self.has_upgrade => Place::AfterRequest,
            // Without an upgrade, only another request can follow.
            (_, Role::Client) => Place::BeforeHead,
            // An interim response comes before the response.
            (_, Role::Server) if (100..200).contains(&self.status) && self.status != 101 => {
                Place::BeforeHead
            }
            (_, Role::Server) => Place::Rest,
        };
    }

    /// Takes a byte of the beginning of a line, and returns what is known of the name now.
    fn read_name(&mut self, length: u8, candidates: u8, byte: u8) -> Name {
        let at = usize::from(length);
        let is = |test: &dyn Fn(&str) -> bool| {
            let bits = NAMES.iter().enumerate().filter(|(_, name)| test(name));
            bits.fold(0, |bits, (bit, _)| bits | 1 << bit) & candidates
        };
        match byte {
            b' ' | b'\t' if length == 0 => Name::Reading { length, candidates },
            b':' => {
                let found = is(&|name| name.len() == at);
                self.has_upgrade |= found & UPGRADE != 0;
                self.is_secret |= found & !UPGRADE != 0;
                Name::Complete
            }
            // Blanks before the colon are not allowed, but what follows is a secret all the same.
            b' ' | b'\t' => match is(&|name| name.len() == at) {
                0 => Name::Over,
                found => Name::Reading { length, candidates: found },
            },
            _ => {
                let byte = byte.to_ascii_lowercase();
                match is(&|name| name.as_bytes().get(at) == Some(&byte)) {
                    0 => Name::Over,
                    candidates => Name::Reading { length: length + 1, candidates },
                }
            }
        }
    }

    /// Takes a byte of a line that is no secret as a whole. Returns whether it belongs to the value of a token.
    fn read_parameter(&mut self, byte: u8) -> bool {
        let (next, is_value) = match self.parameter {
            Parameter::Search { matched, encoded } => (search(matched, encoded, byte), false),
            Parameter::Value | Parameter::Version { .. } if byte == b'&' => (SEARCH, false),
            Parameter::Value | Parameter::Version { .. } if byte == b'\r' => {
                (Parameter::Value, false)
            }
            // A request line has a space before the version. If something else follows, the value has not ended.
            Parameter::Value | Parameter::Version { .. } if matches!(byte, b' ' | b'\t') => {
                let is_request_line = self.place == Place::StartLine;
                let version = Parameter::Version { matched: 0 };
                (if is_request_line { version } else { SEARCH }, false)
            }
            Parameter::Version { matched } if VERSION[usize::from(matched)] == byte => {
                let matched = matched + 1;
                let is_whole = usize::from(matched) == VERSION.len();
                (if is_whole { SEARCH } else { Parameter::Version { matched } }, false)
            }
            Parameter::Value | Parameter::Version { .. } => (Parameter::Value, true),
        };
        self.parameter = next;
        is_value
    }
}

/// Takes the next byte in the search for [`TOKEN`].
fn search(matched: u8, encoded: Encoded, byte: u8) -> Parameter {
    let digit = char::from(byte).to_digit(16).map(|digit| digit as u8);
    let encoded = match (encoded, digit) {
        (_, _) if byte == b'%' => Encoded::Percent,
        (Encoded::Percent, Some(digit)) => Encoded::High(digit),
        (Encoded::High(high), Some(low)) => return next_of_token(matched, high << 4 | low),
        // This was no percent-encoding, so the match is broken by the percent sign.
        (Encoded::Percent | Encoded::High(_), None) => return next_of_token(0, byte),
        (Encoded::Nothing, _) => return next_of_token(matched, byte),
    };
    Parameter::Search { matched, encoded }
}

fn next_of_token(matched: u8, byte: u8) -> Parameter {
    let byte = byte.to_ascii_lowercase();
    let matched = match byte {
        _ if TOKEN[usize::from(matched)] == byte => matched + 1,
        // The first letter occurs only once in the word.
        _ => u8::from(byte == TOKEN[0]),
    };
    if usize::from(matched) == TOKEN.len() {
        return Parameter::Value;
    }
    Parameter::Search { matched, encoded: Encoded::Nothing }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn redacted(sender: Role, pieces: &[&[u8]]) -> String {
        let mut redactor = Redactor::new(sender);
        let mut all = Vec::new();
        for piece in pieces {
            let mut piece = piece.to_vec();
            redactor.redact(&mut piece);
            all.extend(piece);
        }
        String::from_utf8_lossy(&all).into_owned()
    }

    #[test]
    fn secrets_become_asterisks_and_nothing_else_changes() {
        let request = "GET /ws?token=segredo&room=7a HTTP/1.1\r\nHost: h\r\nCOOKIE:  id=42; a\r\n\
            authorization: Bearer segredo\r\nProxy-Authorization:Basic eA==\r\n\
            Referer: http://h/?a=1&token=segredo&b=2\r\nX-Url: /?access_token=s;x y\r\n\
            X-Cookie: yes\r\nUpgrade: websocket\r\n\r\n\x01Cookie: no\r\ntoken=no\r\n";
        let expected = "GET /ws?token=*******&room=7a HTTP/1.1\r\nHost: h\r\nCOOKIE:  ********\r\n\
            authorization: **************\r\nProxy-Authorization:**********\r\n\
            Referer: http://h/?a=1&token=*******&b=2\r\nX-Url: /?access_token=*** y\r\n\
            X-Cookie: yes\r\nUpgrade: websocket\r\n\r\n\x01Cookie: no\r\ntoken=no\r\n";
        assert_eq!(redacted(Role::Client, &[request.as_bytes()]), expected);
        let response = "HTTP/1.1 103 Early Hints\r\nSet-Cookie: a\r\n\r\n\
            HTTP/1.1 200 OK\r\nset-cookie: b=1\r\nLocation: /?token=x\r\n\r\nSet-Cookie: c token=d";
        let expected = "HTTP/1.1 103 Early Hints\r\nSet-Cookie: *\r\n\r\n\
            HTTP/1.1 200 OK\r\nset-cookie: ***\r\nLocation: /?token=*\r\n\r\nSet-Cookie: c token=d";
        assert_eq!(redacted(Role::Server, &[response.as_bytes()]), expected);
    }

    /// Each line is a head that a server refuses or reads in a way of its own.
    #[test]
    fn secrets_do_not_show_in_heads_that_are_written_otherwise() {
        for head in [
            "GET /?%74oken=SECRET HTTP/1.1\r\n",
            "GET /?Token=SECRET HTTP/1.1\r\n",
            "GET /?%zztoken=SECRET HTTP/1.1\r\n",
            "GET /?%%74oken=SECRET HTTP/1.1\r\n",
            "GET /?ttoken=SECRET HTTP/1.1\r\n",
            "GET /?totoken=SECRET HTTP/1.1\r\n",
            "GET /?token=SECRET SECRET HTTP/1.1\r\n",
            "GET /?token=SECRET  SECRET\tSECRET\r\n",
            "GET /?token=#SECRET HTTP/1.1\r\n",
            "GET /?token=a HTTPSECRET\r\n",
            "GET / HTTP/1.1\r\nCookie : SECRET\r\n",
            "GET / HTTP/1.1\r\nCookie: a\r\n SECRET\r\n\tSECRET\r\n",
            "GET / HTTP/1.1\r\n Cookie: SECRET\r\n",
            "GET / HTTP/1.1\nCookie: SECRET\n",
            "GET / HTTP/1.1\nUpgrade: websocket\n\nCookie: SECRET\n",
            "GET / HTTP/1.1\nUpgrade: websocket\n\r\nCookie: SECRET\n",
            "GET / HTTP/1.1\r\nA: b\n\r\n\r\nCookie: SECRET\n",
            "GET / HTTP/1.1\nUpgrade: x\r\n\r\n\x01\r\nCookie: SECRET\r\n",
            "GET / HTTP/1.1\r\nCookie: \rSECRET\rSECRET\r\n",
            "GET /?token=a\rSECRET HTTP/1.1\r\n",
            "GET / HTTP/1.1\r\nReferer: /?token=a\rSECRET\r\n",
            "GET / HTTP/1.1\r\nReferer: http://h/?next=%2F%3Ftoken%3DSECRET\r\n",
            "GET / HTTP/1.1\r\n\r\nGET / HTTP/1.1\r\nCookie: SECRET\r\n",
            "GET / HTTP/1.1\r\nUpgrade: x\r\n\r\nGET /?token=SECRET HTTP/1.1\r\nCookie: SECRET\r\n",
            "GET / HTTP/1.1\r\nUpgrade: x\r\n\r\nAuthorization: SECRET\r\n",
            "\r\n\r\nCookie: SECRET\r\n",
            "Cookie: SECRET",
        ] {
            let shown = redacted(Role::Client, &[head.as_bytes()]);
            assert!(!shown.contains("SECRET") && shown.len() == head.len(), "{shown}");
            let marks = shown.bytes().filter(|&byte| byte == MARK).count();
            assert!(marks >= "SECRET".len(), "{shown}");
        }
    }

    /// A line of a head: what stands before a secret, the secret, and what stands after it.
    type Parts = (String, String, String);

    fn any_case(word: &'static str) -> impl Strategy<Value = String> {
        proptest::collection::vec(any::<bool>(), word.len()).prop_map(move |upper| {
            let letters = word.chars().zip(upper);
            letters.map(|(c, up)| if up { c.to_ascii_uppercase() } else { c }).collect()
        })
    }

    fn request_line() -> impl Strategy<Value = Parts> {
        let secret = "[!-%'-~]{0,20}";
        (any_case("token"), secret, "(&[a-d]{1,5}=[0-9]{0,3})?").prop_map(
            |(name, secret, after)| {
                (format!("GET /ws?a=1&{name}="), secret, format!("{after} HTTP/1.1\r\n"))
            },
        )
    }

    fn field() -> impl Strategy<Value = Parts> {
        let secret = proptest::sample::select(&SECRET_FIELDS[..]).prop_flat_map(any_case);
        let secret = (secret, "[ \t]{0,2}", "([!-~][ -~]{0,30})?")
            .prop_map(|(name, blank, value)| (format!("{name}:{blank}"), value, "\r\n".into()));
        let referer = ("[!-%'-~]{0,20}", "(&[a-z]{0,5})?").prop_map(|(value, after)| {
            ("Referer: http://h/?token=".to_owned(), value, format!("{after}\r\n"))
        });
        // These have no letter t, and so no token.
        let other = ("[A-EX-Z][a-s-]{0,12}", "[ -su-~&&[^T]]{0,30}").prop_map(|(name, value)| {
            (format!("X-{name}: {value}\r\n"), String::new(), String::new())
        });
        prop_oneof![secret, referer, other]
    }

    proptest! {
        /// Any split gives the same result, which has the length of the input, no secret, and every other byte.
        #[test]
        fn only_secrets_are_redacted_however_reads_split_them(
            first in request_line(),
            fields in proptest::collection::vec(field(), 0..6),
            frames in proptest::collection::vec(any::<u8>(), 0..40),
            cuts in proptest::collection::vec(any::<proptest::sample::Index>(), 0..8),
        ) {
            let (mut wire, mut expected) = (Vec::new(), Vec::new());
            let upgrade = ("Upgrade: websocket\r\n\r\n".to_owned(), String::new(), String::new());
            for (before, secret, after) in [vec![first], fields, vec![upgrade]].concat() {
                wire.extend([before.as_bytes(), secret.as_bytes(), after.as_bytes()].concat());
                let marks = vec![MARK; secret.len()];
                expected.extend([before.as_bytes(), &marks, after.as_bytes()].concat());
            }
            let frames = [&b"\x81\x80\0\0\0\0"[..], &frames].concat();
            wire.extend(&frames);
            expected.extend(&frames);
            let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(wire.len())).collect();
            cuts.extend([0, wire.len()]);
            cuts.sort_unstable();
            let mut redactor = Redactor::new(Role::Client);
            let mut whole = Vec::new();
            for pair in cuts.windows(2) {
                let mut piece = wire[pair[0]..pair[1]].to_vec();
                redactor.redact(&mut piece);
                whole.extend(piece);
            }
            prop_assert_eq!(
                String::from_utf8_lossy(&whole),
                String::from_utf8_lossy(&expected)
            );
        }

        /// Any bytes at all: nothing panics, the length stays, and a byte is either unchanged or redacted.
        #[test]
        fn any_bytes_keep_their_length_and_any_split_gives_the_same(
            wire in prop_oneof![
                proptest::collection::vec(any::<u8>(), 0..200),
                "([Cc]ookie ?:|token=|%74oken=|HTTP/|GET |Upgrade:|[a-z &%\r\n\t]){0,60}".prop_map(String::into_bytes),
            ],
            cut in any::<proptest::sample::Index>(),
            is_client in any::<bool>(),
        ) {
            let sender = if is_client { Role::Client } else { Role::Server };
            let mut whole = wire.clone();
            Redactor::new(sender).redact(&mut whole);
            prop_assert!(wire.iter().zip(&whole).all(|(&a, &b)| a == b || b == MARK));
            let cut = if wire.is_empty() { 0 } else { cut.index(wire.len()) };
            let (mut start, mut end) = (wire[..cut].to_vec(), wire[cut..].to_vec());
            let mut redactor = Redactor::new(sender);
            redactor.redact(&mut start);
            redactor.redact(&mut end);
            prop_assert_eq!([start, end].concat(), whole);
        }
    }
}
