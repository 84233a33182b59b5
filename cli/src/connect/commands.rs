//! What a typed line means: text to send, or a command behind a slash.

use framewise::CloseCode;
use framewise::lang::Lang;
use framewise::protocol::close;
use framewise::protocol::frame::{Header, MAX_CONTROL, MAX_HEADER, Opcode, Rsv};
use framewise::protocol::mask;
use framewise::trace::printable;

use crate::texts;

/// What to do with a line.
#[derive(Debug, PartialEq, Eq)]
pub enum Action {
    /// Send a text message.
    Text(String),
    /// Send a binary message.
    Binary(Vec<u8>),
    /// Send a ping with these bytes.
    Ping(Vec<u8>),
    /// Send the frames of one message.
    Frames(Vec<u8>),
    /// Send bytes as they are, framed or not.
    Raw(Vec<u8>),
    /// Begin the closing handshake.
    Close(CloseCode, String),
    /// Show the commands.
    Help,
    /// Close with 1000 and leave.
    Leave,
    /// Nothing was typed.
    Nothing,
}

/// Why a line means nothing.
#[derive(Debug, PartialEq, Eq)]
pub enum Mistake {
    /// There is no such command.
    Unknown(String),
    /// Not an even number of hexadecimal digits.
    Hex,
    /// A ping or pong with more than 125 bytes.
    TooLong,
    /// `/frag` without a number above zero and a text.
    Frag,
    /// A code that may not be sent, or a reason that is too long.
    Close,
    /// Text that is not UTF-8.
    NotText,
}

impl Mistake {
    /// For whoever typed it.
    pub fn text(&self, lang: Lang) -> String {
        match self {
            Mistake::Unknown(name) => texts::UNKNOWN_COMMAND.with(lang, &[&printable(name)]),
            Mistake::Hex => texts::NOT_HEX.get(lang).to_owned(),
            Mistake::TooLong => texts::CONTROL_TOO_LONG.get(lang).to_owned(),
            Mistake::Frag => texts::FRAG_USAGE.get(lang).to_owned(),
            Mistake::Close => texts::BAD_CLOSE.get(lang).to_owned(),
            Mistake::NotText => texts::NOT_TEXT.get(lang).to_owned(),
        }
    }
}

/// Produces masking keys.
type Keys<'k> = &'k mut dyn FnMut() -> [u8; 4];

/// Parses a line that was typed. `keys` produces a masking key for each frame that is built here.
pub fn parse(line: &[u8], binary: bool, hex: bool, keys: Keys<'_>) -> Result<Action, Mistake> {
    match line {
        [] => Ok(Action::Nothing),
        // Two slashes send what begins with one.
        [b'/', rest @ ..] if rest.first() == Some(&b'/') => data(rest, binary, hex),
        [b'/', command @ ..] => command_of(text(command)?, keys),
        _ => data(line, binary, hex),
    }
}

/// Reads a line that is sent whatever it says; an empty one is an empty message.
pub fn data(line: &[u8], binary: bool, hex: bool) -> Result<Action, Mistake> {
    match () {
        () if hex && !line.trim_ascii().is_empty() => bytes(text(line)?).map(Action::Binary),
        () if hex => Ok(Action::Binary(Vec::new())),
        () if binary => Ok(Action::Binary(line.to_vec())),
        () => Ok(Action::Text(text(line)?.to_owned())),
    }
}

fn text(line: &[u8]) -> Result<&str, Mistake> {
    str::from_utf8(line).map_err(|_| Mistake::NotText)
}

/// Parses a command without its slash.
fn command_of(command: &str, keys: Keys<'_>) -> Result<Action, Mistake> {
    let (name, rest) = command.split_once(' ').unwrap_or((command, ""));
    match name {
        "ping" if rest.len() > MAX_CONTROL => Err(Mistake::TooLong),
        "ping" => Ok(Action::Ping(rest.as_bytes().to_vec())),
        "pong" if rest.len() > MAX_CONTROL => Err(Mistake::TooLong),
        "pong" => Ok(Action::Raw(frame(true, Opcode::Pong, rest.as_bytes(), keys()))),
        "close" => close_of(rest).map(|(code, reason)| Action::Close(code, reason)),
        "frag" => fragments(rest, keys).map(Action::Frames),
        "hex" => bytes(rest).map(Action::Binary),
        "raw" => bytes(rest).map(Action::Raw),
        "help" | "ajuda" => Ok(Action::Help),
        "sair" | "exit" | "quit" => Ok(Action::Leave),
        other => Err(Mistake::Unknown(other.to_owned())),
    }
}

/// `CODE[ REASON]` or `CODE[:REASON]`; 1000 if nothing is said.
pub fn close_of(text: &str) -> Result<(CloseCode, String), Mistake> {
    let text = text.trim();
    let (code, reason) = text.split_once([' ', ':']).unwrap_or((text, ""));
    let code = match code {
        "" => CloseCode::NORMAL,
        code => CloseCode(code.parse().map_err(|_| Mistake::Close)?),
    };
    close::encode(code, reason, &mut [0; close::MAX_BODY]).map_err(|_| Mistake::Close)?;
    Ok((code, reason.to_owned()))
}

/// Bytes from hexadecimal digits, with white space and `0x` where one likes.
pub fn bytes(text: &str) -> Result<Vec<u8>, Mistake> {
    let words = || text.split_whitespace().map(|word| (word.strip_prefix("0x"), word));
    let digits: String = words().map(|(digits, word)| digits.unwrap_or(word)).collect();
    let is_cut =
        words().any(|(digits, _)| digits.is_some_and(|digits| !digits.len().is_multiple_of(2)));
    if is_cut
        || digits.is_empty()
        || !digits.len().is_multiple_of(2)
        || !digits.bytes().all(|digit| digit.is_ascii_hexdigit())
    {
        return Err(Mistake::Hex);
    }
    let pairs = (0..digits.len()).step_by(2).map(|at| u8::from_str_radix(&digits[at..at + 2], 16));
    pairs.collect::<Result<_, _>>().map_err(|_| Mistake::Hex)
}

/// Encodes one message as the given number of frames, cut between bytes.
fn fragments(rest: &str, keys: Keys<'_>) -> Result<Vec<u8>, Mistake> {
    let (count, text) = rest.split_once(' ').ok_or(Mistake::Frag)?;
    let count: usize = count.parse().ok().filter(|&count| count > 0).ok_or(Mistake::Frag)?;
    let mut left = text.as_bytes();
    let count = count.min(left.len().max(1));
    let mut wire = Vec::new();
    for n in 0..count {
        let (piece, rest) = left.split_at(left.len() / (count - n));
        left = rest;
        let opcode = if n == 0 { Opcode::Text } else { Opcode::Continuation };
        // RFC 6455 §5.4-6, §6.1-5. §5.3-2, §10.3-1: a fresh key for each frame.
        wire.extend(frame(n + 1 == count, opcode, piece, keys()));
    }
    Ok(wire)
}

fn frame(fin: bool, opcode: Opcode, payload: &[u8], key: [u8; 4]) -> Vec<u8> {
    let mut header = [0; MAX_HEADER];
    let frame =
        Header { fin, rsv: Rsv::NONE, opcode, key: Some(key), length: payload.len() as u64 };
    let length = frame.encode(&mut header);
    let mut wire = [&header[..length], payload].concat();
    mask::apply(&mut wire[length..], key, 0);
    wire
}

#[cfg(test)]
mod tests {
    use super::*;

    fn no_mask() -> [u8; 4] {
        [0; 4]
    }

    fn read(line: &str) -> Result<Action, Mistake> {
        parse(line.as_bytes(), false, false, &mut no_mask)
    }

    #[test]
    fn lines_are_text_unless_told_otherwise() {
        assert_eq!(read("olá"), Ok(Action::Text("olá".to_owned())));
        assert_eq!(read("//help"), Ok(Action::Text("/help".to_owned())));
        assert_eq!(parse(b"//a", true, false, &mut no_mask), Ok(Action::Binary("/a".into())));
        assert_eq!(data(b"/a", false, true), Err(Mistake::Hex));
        assert_eq!(read(""), Ok(Action::Nothing));
        assert_eq!(data(b"", false, false), Ok(Action::Text(String::new())));
        assert_eq!(data(b"", true, false), Ok(Action::Binary(vec![])));
        assert_eq!(data(b" ", false, true), Ok(Action::Binary(vec![])));
        assert_eq!(data(b"\xff", true, false), Ok(Action::Binary(vec![255])));
        assert_eq!(data(b"\xff", false, false), Err(Mistake::NotText));
        let parse = |line: &[u8], binary, hex| parse(line, binary, hex, &mut no_mask);
        assert_eq!(parse("olá".as_bytes(), true, false), Ok(Action::Binary("olá".into())));
        assert_eq!(parse(b"00 ff", false, true), Ok(Action::Binary(vec![0, 255])));
        assert_eq!(parse(b"0", false, true), Err(Mistake::Hex));
    }

    #[test]
    fn reads_every_command() {
        assert_eq!(read("/ping"), Ok(Action::Ping(vec![])));
        assert_eq!(read("/ping oi"), Ok(Action::Ping(b"oi".to_vec())));
        assert_eq!(read("/pong oi"), Ok(Action::Raw(b"\x8a\x82\0\0\0\0oi".to_vec())));
        assert_eq!(read("/hex 0x81 05"), Ok(Action::Binary(vec![0x81, 5])));
        assert_eq!(read("/raw 8105"), Ok(Action::Raw(vec![0x81, 5])));
        assert_eq!(read("/close"), Ok(Action::Close(CloseCode(1000), String::new())));
        assert_eq!(
            read("/close 4000 até já"),
            Ok(Action::Close(CloseCode(4000), "até já".to_owned()))
        );
        assert_eq!(close_of("1001:x"), Ok((CloseCode(1001), "x".to_owned())));
        assert_eq!(read("/sair"), Ok(Action::Leave));
        assert_eq!(read("/help"), Ok(Action::Help));
    }

    /// RFC 6455 §5.3-2, §10.3-1: each fragment has a masking key of its own.
    #[test]
    fn each_fragment_has_a_key_of_its_own() {
        let mut next = 0;
        let mut keys = || {
            next += 1;
            [next, 0, 0, 0]
        };
        let wire = b"\x01\x81\x01\0\0\0\x60\x80\x81\x02\0\0\0\x60".to_vec();
        assert_eq!(parse(b"/frag 2 ab", false, false, &mut keys), Ok(Action::Frames(wire)));
    }

    /// RFC 6455 §5.4-6, §6.1-5
    #[test]
    fn fragments_carry_the_text_in_order() {
        let wire = b"\x01\x81\0\0\0\0a\x00\x81\0\0\0\0b\x80\x82\0\0\0\0cd";
        assert_eq!(read("/frag 3 abcd"), Ok(Action::Frames(wire.to_vec())));
        // Never more frames than bytes, so a large number builds nothing large.
        assert_eq!(read("/frag 1000000000 a"), Ok(Action::Frames(b"\x81\x81\0\0\0\0a".to_vec())));
    }

    #[test]
    fn mistakes_are_named() {
        assert_eq!(read("/dance"), Err(Mistake::Unknown("dance".to_owned())));
        assert_eq!(read("/raw xyz"), Err(Mistake::Hex));
        assert_eq!(read("/raw 0x1 0x2"), Err(Mistake::Hex));
        assert_eq!(read("/raw é"), Err(Mistake::Hex));
        assert_eq!(read("/frag 0 a"), Err(Mistake::Frag));
        assert_eq!(read("/frag a"), Err(Mistake::Frag));
        assert_eq!(read("/close 1005"), Err(Mistake::Close));
        assert_eq!(read(&format!("/close 1000 {}", "a".repeat(124))), Err(Mistake::Close));
        assert_eq!(read(&format!("/ping {}", "a".repeat(126))), Err(Mistake::TooLong));
    }
}
