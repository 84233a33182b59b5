//! `framewise explain`: the meaning of every bit of a request, a response or frames, and the verdict on each frame.
//!
//! Rules of this file: the library decides what the bytes mean. This file only finds out what was meant by the input:
//! digits or raw bytes, a head or frames, a client or a server.

use std::fs::File;
use std::io::{self, BufWriter, Read, Write};
use std::path::Path;
use std::process::ExitCode;

use clap::ValueEnum;
use framewise::Config;
use framewise::config::OriginPolicy;
use framewise::labels::{Item, Labeller};
use framewise::lang::{Bilingual, Lang};
use framewise::protocol::dissect::Fault;
use framewise::protocol::frame::Role;
use framewise::protocol::refusal::{Found, Refusal, Rule};
use framewise::rows::rows;
use serde::{Deserialize, Serialize};

use crate::texts::{self, complain};

/// The longest input in bytes.
const MAX_INPUT: u64 = 64 << 20;

/// The exit codes besides 0: the input ends too early, it cannot be read or the explanation cannot be written, it breaks a
/// rule.
const INCOMPLETE: u8 = 1;
const UNREADABLE: u8 = 2;
const BROKEN: u8 = 3;

/// Explain every bit of a request, a response or frames
#[derive(clap::Args, Clone, Debug)]
#[command(after_help = "Example: framewise explain 818537fa213d7f9f4d5158
         framewise explain --from server capture.bin

Exit code 1: the input is incomplete. Exit code 3: it breaks a rule of the standard.")]
pub struct Args {
    /// A file with hexadecimal digits or raw bytes, or the digits themselves; - is the standard input
    #[arg(value_name = "FILE|HEX", default_value = "-")]
    pub input: Vec<String>,
    /// Which side sent the bytes [default: from the request, the response or the MASK bit]
    #[arg(long, value_enum)]
    pub from: Option<Side>,
    /// The input is hexadecimal digits
    #[arg(long, conflicts_with = "raw")]
    pub hex: bool,
    /// The input is raw bytes, also if it looks like digits
    #[arg(long)]
    pub raw: bool,
}

/// One side of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Side {
    Client,
    Server,
}

/// Explains the input and returns the exit code.
pub fn run(args: Args, lang: Lang) -> ExitCode {
    match bytes(&args, lang) {
        Ok(Decoded { bytes, note }) => {
            if let Some(note) = note {
                let _ = writeln!(io::stderr(), "{}", note.get(lang));
            }
            let mut out = BufWriter::new(io::stdout().lock());
            let explained = explain(&bytes, args.from, lang, &mut out);
            match explained.and_then(|code| out.flush().map(|()| code)) {
                Ok(code) => ExitCode::from(code),
                Err(error) if texts::is_gone(&error) => ExitCode::SUCCESS,
                Err(error) => {
                    complain(lang, format_args!("-: {error}"));
                    ExitCode::from(UNREADABLE)
                }
            }
        }
        Err(fault) => {
            complain(lang, fault);
            ExitCode::from(UNREADABLE)
        }
    }
}

/// Writes the rows of all bytes. Returns the exit code.
fn explain(bytes: &[u8], from: Option<Side>, lang: Lang, out: &mut impl Write) -> io::Result<u8> {
    writeln!(out, "{}\n", sender_text(sender_of(bytes, from).0).get(lang))?;
    let mut result = Ok(());
    let code = label(bytes, from, &mut |item| {
        for line in lines(item, lang) {
            if result.is_ok() {
                result = writeln!(out, "{line}");
            }
        }
    });
    result.map(|()| code)
}

/// Labels all bytes and returns the exit code.
pub fn label(bytes: &[u8], from: Option<Side>, show: &mut impl FnMut(&Item<'_>)) -> u8 {
    // The rules of the standard apply, and limits with their defaults. Who may connect is a matter of each server.
    let config = Config::default().handshake(|handshake| handshake.origins = OriginPolicy::Any);
    let config = config.validate().expect("the defaults are valid");
    let mut labeller = match sender_of(bytes, from) {
        (sender, true) => Labeller::new(sender, config),
        (sender, false) => Labeller::of_frames(sender, config),
    };
    let mut code = 0;
    let mut show = |item: &Item<'_>| {
        show(item);
        match item {
            Item::Broken { .. } => code = BROKEN,
            Item::HeadEnds
            | Item::BodyEnds
            | Item::HeaderEnds { .. }
            | Item::PayloadEnds { .. } => code = INCOMPLETE,
            _ => {}
        }
    };
    labeller.feed(bytes, &mut show);
    labeller.finish(&mut show);
    code
}

/// Returns the lines of an item. An empty line follows a valid frame or head.
pub fn lines(item: &Item<'_>, lang: Lang) -> Vec<String> {
    let mut lines = rows(item, lang);
    match item {
        Item::Valid(_) | Item::ValidHead { .. } => lines.push(String::new()),
        Item::Broken { fault: Fault::Refusal(refusal), .. } if is_lenient_key(refusal) => {
            lines.push(texts::EXPLAIN_SHORT_KEY.get(lang).to_owned());
        }
        _ => {}
    }
    lines
}

/// Reports whether a request is refused because of a key that `framewise serve` accepts without `--strict-key`.
fn is_lenient_key(refusal: &Refusal) -> bool {
    refusal.rule == Rule::KeyLength && matches!(refusal.found, Found::KeyBytes(1..))
}

/// Returns the words for the side that has sent the bytes.
pub fn sender_text(sender: Role) -> Bilingual {
    match sender {
        Role::Client => texts::EXPLAIN_CLIENT,
        Role::Server => texts::EXPLAIN_SERVER,
    }
}

/// Returns which side has sent the bytes, and whether they begin with a head.
pub fn sender_of(bytes: &[u8], from: Option<Side>) -> (Role, bool) {
    let start = bytes.trim_ascii_start();
    let word = start.split(|&byte| byte == b' ').next().unwrap_or_default();
    let is_method =
        word.len() < start.len() && !word.is_empty() && word.iter().all(u8::is_ascii_uppercase);
    let is_response = start.starts_with(b"HTTP/");
    let is_masked = bytes.get(1).is_some_and(|second| second & 0x80 != 0);
    let sender = match from {
        Some(Side::Client) => Role::Client,
        Some(Side::Server) => Role::Server,
        None if is_response => Role::Server,
        // RFC 6455 §5.1: clients mask, servers do not.
        None if is_method || is_masked => Role::Client,
        None => Role::Server,
    };
    (sender, is_method || is_response)
}

/// What was meant by an input.
#[derive(Debug, PartialEq)]
pub struct Decoded {
    pub bytes: Vec<u8>,
    /// A line about what may have been meant instead.
    pub note: Option<Bilingual>,
}

/// Reads the input and decodes its digits.
fn bytes(args: &Args, lang: Lang) -> Result<Decoded, String> {
    let input = match &args.input[..] {
        [only] if only == "-" => read(io::stdin().lock(), "-", lang)?,
        [only] if Path::new(only).exists() => {
            let file = File::open(only).map_err(|error| format!("{only}: {error}"))?;
            read(file, only, lang)?
        }
        words => {
            let words = words.join(" ");
            if digits(words.as_bytes()).is_none() {
                return Err(texts::EXPLAIN_NEITHER.with(lang, &[&words]));
            }
            words.into_bytes()
        }
    };
    decode(input, args.raw, args.hex, lang)
}

/// Decodes the digits of an input. An input that is not digits is taken as it is, unless it `is_hex`.
///
/// # Errors
///
/// A text for people: the input is empty or white space, has an odd number of digits, or has something else than digits
/// although it `is_hex`.
pub fn decode(input: Vec<u8>, is_raw: bool, is_hex: bool, lang: Lang) -> Result<Decoded, String> {
    if input.is_empty() || !is_raw && input.trim_ascii().is_empty() {
        return Err(texts::EXPLAIN_EMPTY.get(lang).to_owned());
    }
    if is_raw {
        return Ok(Decoded { bytes: input, note: None });
    }
    match digits(&input) {
        Some(digits) if digits.len() % 2 == 0 => Ok(Decoded { bytes: pairs(&digits), note: None }),
        Some(digits) => Err(texts::EXPLAIN_ODD.with(lang, &[&digits.len()])),
        None if is_hex => Err(texts::EXPLAIN_NOT_HEX.get(lang).to_owned()),
        None => {
            let is_unclear = is_text(&input) && !sender_of(&input, None).1;
            Ok(Decoded { bytes: input, note: is_unclear.then_some(texts::EXPLAIN_TEXT) })
        }
    }
}

/// Reports whether an input looks like something that a person has typed. No valid frame does: the first byte of text is a
/// control character, or has a reserved bit set.
fn is_text(input: &[u8]) -> bool {
    let is_shown = |c: char| c.is_ascii_whitespace() || !c.is_control();
    str::from_utf8(input).is_ok_and(|text| text.chars().all(is_shown))
}

fn read(input: impl Read, name: &str, lang: Lang) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    let mut limited = input.take(MAX_INPUT + 1);
    limited.read_to_end(&mut bytes).map_err(|error| format!("{name}: {error}"))?;
    if bytes.len() as u64 > MAX_INPUT {
        return Err(texts::EXPLAIN_TOO_LONG.with(lang, &[&MAX_INPUT]));
    }
    Ok(bytes)
}

/// Returns the values of hexadecimal digits, without white space and `0x`. `None` means that there are none, or something
/// else.
fn digits(text: &[u8]) -> Option<Vec<u8>> {
    let mut digits = Vec::new();
    for word in text.split(u8::is_ascii_whitespace) {
        let prefix = word.strip_prefix(b"0x").or_else(|| word.strip_prefix(b"0X"));
        let word = prefix.unwrap_or(word);
        for &digit in word {
            digits.push(char::from(digit).to_digit(16)? as u8);
        }
    }
    Some(digits).filter(|digits| !digits.is_empty())
}

fn pairs(digits: &[u8]) -> Vec<u8> {
    digits.chunks_exact(2).map(|pair| pair[0] << 4 | pair[1]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_may_have_spaces_and_prefixes() {
        assert_eq!(digits(b" 0x81 85\n37fA "), Some(vec![8, 1, 8, 5, 3, 7, 15, 10]));
        assert_eq!(digits(b"0X8105"), Some(vec![8, 1, 0, 5]));
        assert_eq!(digits(b"8"), Some(vec![8]));
        for other in [&b""[..], b" \n", b"0x", b"GET /", b"81 zz", b"\x81\x85"] {
            assert_eq!(digits(other), None);
        }
    }

    #[test]
    fn text_that_is_neither_digits_nor_a_head_gets_a_note() {
        let note =
            |input: &[u8]| decode(input.to_vec(), false, false, Lang::En).expect("bytes").note;
        for input in [&b"hello world\n"[..], b"81 zz", b"0x81,0x05", b"GET", "ol\u{e1}".as_bytes()]
        {
            assert_eq!(note(input), Some(texts::EXPLAIN_TEXT), "{input:?}");
        }
        // The second is the digits of text, and the third an incomplete frame.
        for input in
            [&b"GET / HTTP/1.1\r\n"[..], b"48656c6c6f", b"\x01", b"\x81\x02hi", b"\x01\x02hi"]
        {
            assert_eq!(note(input), None, "{input:?}");
        }
        let raw = decode(b" \n".to_vec(), true, false, Lang::En);
        assert_eq!(raw, Ok(Decoded { bytes: b" \n".to_vec(), note: None }));
    }

    #[test]
    fn the_sender_follows_from_the_bytes() {
        for (bytes, expected) in [
            (&b"GET / HTTP/1.1\r\n"[..], (Role::Client, true)),
            (b"\r\nPOST x", (Role::Client, true)),
            (b"HTTP/1.1 101 x", (Role::Server, true)),
            (b"\x81\x85", (Role::Client, false)),
            (b"\x81\x05", (Role::Server, false)),
            (b"G", (Role::Server, false)),
        ] {
            assert_eq!(sender_of(bytes, None), expected, "{bytes:?}");
        }
        assert_eq!(sender_of(b"\x81\x05", Some(Side::Client)), (Role::Client, false));
    }
}
