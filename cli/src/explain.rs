//! `framewise explain`: the meaning of every bit of a request, a response or frames, and the verdict on each frame.
//!
//! Rules of this file: the library decides what the bytes mean. This file only finds out what was meant by the input:
//! digits or raw bytes, a head or frames, a client or a server, or the handshake of both.

use std::fs::File;
use std::io::{self, BufWriter, Read, Write};
use std::path::Path;
use std::process::ExitCode;

use clap::ValueEnum;
use framewise::Config;
use framewise::config::OriginPolicy;
use framewise::labels::{Item, Label, Labeller};
use framewise::lang::{Bilingual, Lang};
use framewise::protocol::dissect::Fault;
use framewise::protocol::frame::Role;
use framewise::protocol::refusal::{Found, Refusal, Rule};
use framewise::rows::rows;
use serde::{Deserialize, Serialize};

use crate::compression::Compression;
use crate::texts::{self, complain};

/// What ends a head.
const HEAD_END: &[u8] = b"\r\n\r\n";

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
    /// How messages are compressed (permessage-deflate), if the input has no response that says it: on for each message alone,
    /// takeover to remember earlier messages
    #[arg(
        long,
        value_enum,
        value_name = "off|on|takeover",
        default_value = "off",
        hide_possible_values = true
    )]
    pub deflate: Compression,
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

impl Side {
    fn role(self) -> Role {
        match self {
            Side::Client => Role::Client,
            Side::Server => Role::Server,
        }
    }
}

/// Explains the input and returns the exit code.
pub fn run(args: Args, lang: Lang) -> ExitCode {
    match bytes(&args, lang) {
        Ok(Decoded { bytes, note }) => {
            if let Some(note) = note {
                let _ = writeln!(io::stderr(), "{}", note.get(lang));
            }
            let mut out = BufWriter::new(io::stdout().lock());
            let known = Known { from: args.from, deflate: args.deflate };
            let explained = explain(&bytes, known, lang, &mut out);
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
fn explain(bytes: &[u8], known: Known, lang: Lang, out: &mut impl Write) -> io::Result<u8> {
    writeln!(out, "{}\n", Parts::of(bytes, known).title(lang))?;
    let mut result = Ok(());
    let code = label(bytes, known, &mut |item| {
        for line in lines(item, lang) {
            if result.is_ok() {
                result = writeln!(out, "{line}");
            }
        }
    });
    result.map(|()| code)
}

/// What the user says about the bytes.
#[derive(Clone, Copy, Debug, Default)]
pub struct Known {
    /// Which side sent them, or those after the handshake of both sides.
    pub from: Option<Side>,
    /// How messages are compressed. A response in the input overrides it.
    pub deflate: Compression,
}

/// What the bytes consist of.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Parts {
    /// Who sent the bytes, or those after the request and the response.
    pub sender: Role,
    /// Whether they begin with a head.
    has_head: bool,
    /// Where the response begins and where the bytes after it begin, if the input begins with the request of a client and the
    /// response to it.
    handshake: Option<(usize, usize)>,
    /// Whether there are bytes after the response.
    has_more: bool,
    /// The negotiated extension, unless a response in the input says it.
    extensions: Option<&'static str>,
}

impl Parts {
    pub fn of(bytes: &[u8], known: Known) -> Parts {
        let (sender, has_head) = sender_of(bytes, known.from);
        let (first, is_request) = sender_of(bytes, None);
        let handshake =
            (is_request && first == Role::Client).then(|| handshake_of(bytes)).flatten();
        let sender = match handshake {
            // After another response comes its body.
            Some((start, _)) if !bytes[start..].starts_with(b"HTTP/1.1 1") => {
                known.from.map_or(Role::Server, Side::role)
            }
            Some((_, end)) => sender_of(&bytes[end..], known.from).0,
            None => sender,
        };
        let has_more = handshake.is_some_and(|(_, end)| end < bytes.len());
        let has_response = handshake.is_some() || bytes.starts_with(b"HTTP/");
        let extensions = known.deflate.agreed().filter(|_| !has_response);
        Parts { sender, has_head, handshake, has_more, extensions }
    }

    /// Returns the words for the side that has sent the bytes, and for the extension.
    pub fn title(&self, lang: Lang) -> String {
        let side = match self.sender {
            Role::Client => texts::EXPLAIN_CLIENT,
            Role::Server => texts::EXPLAIN_SERVER,
        };
        match (self.handshake, self.extensions) {
            (Some(_), _) if !self.has_more => texts::EXPLAIN_BOTH.get(lang).to_owned(),
            (Some(_), _) => match self.sender {
                Role::Client => texts::EXPLAIN_BOTH_CLIENT.get(lang).to_owned(),
                Role::Server => texts::EXPLAIN_BOTH_SERVER.get(lang).to_owned(),
            },
            (None, Some(extensions)) => format!("{} {extensions}", side.get(lang)),
            (None, None) => side.get(lang).to_owned(),
        }
    }
}

/// Returns where the response to a request begins, and where it ends: after the last of its heads.
fn handshake_of(bytes: &[u8]) -> Option<(usize, usize)> {
    let start = head_end(bytes)?;
    let mut end = start;
    while bytes[end..].starts_with(b"HTTP/") {
        end = head_end(&bytes[end..]).map_or(bytes.len(), |length| end + length);
    }
    (end > start).then_some((start, end))
}

/// Returns the length of a head, with the empty line that ends it.
fn head_end(bytes: &[u8]) -> Option<usize> {
    let end = bytes.windows(HEAD_END.len()).position(|window| window == HEAD_END)?;
    Some(end + HEAD_END.len())
}

/// Labels all bytes and returns the exit code. Positions count from the start of the input, in both directions.
pub fn label(bytes: &[u8], known: Known, show: &mut impl FnMut(&Item<'_>)) -> u8 {
    // The rules of the standard apply, and limits with their defaults. Who may connect is a matter of each server.
    let config = Config::default().handshake(|handshake| handshake.origins = OriginPolicy::Any);
    let config = config.validate().expect("the defaults are valid");
    let mut code = 0;
    let mut show = |item: &Item<'_>, before: usize| {
        match item {
            Item::Label(Label { at, wire, what }) => {
                let (at, what) = (at + before as u64, what.clone());
                show(&Item::Label(Label { at, wire, what }));
            }
            item => show(item),
        }
        match item {
            Item::Broken { .. } => code = BROKEN,
            Item::HeadEnds
            | Item::BodyEnds
            | Item::HeaderEnds { .. }
            | Item::PayloadEnds { .. } => code = code.max(INCOMPLETE),
            _ => {}
        }
    };
    let Parts { sender, has_head, handshake, extensions, .. } = Parts::of(bytes, known);
    if let Some((start, end)) = handshake {
        let mut client = Labeller::new(Role::Client, config.clone());
        let mut server = Labeller::new(Role::Server, config);
        client.feed(&bytes[..start], &mut |item| show(item, 0));
        server.responds_to(&mut client);
        server.feed(&bytes[start..end], &mut |item| show(item, start));
        let (after, before) = match sender {
            Role::Client => (&mut client, end - start),
            Role::Server => (&mut server, start),
        };
        after.feed(&bytes[end..], &mut |item| show(item, before));
        after.finish(&mut |item| show(item, before));
        return code;
    }
    let mut labeller = match has_head {
        true => Labeller::new(sender, config),
        false => Labeller::of_frames(sender, config),
    };
    if let Some(extensions) = extensions {
        labeller.set_extensions(extensions);
    }
    labeller.feed(bytes, &mut |item| show(item, 0));
    labeller.finish(&mut |item| show(item, 0));
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

/// Returns which side has sent the bytes, and whether they begin with a head.
fn sender_of(bytes: &[u8], from: Option<Side>) -> (Role, bool) {
    let start = bytes.trim_ascii_start();
    let word = start.split(|&byte| byte == b' ').next().unwrap_or_default();
    let is_method =
        word.len() < start.len() && !word.is_empty() && word.iter().all(u8::is_ascii_uppercase);
    let is_response = start.starts_with(b"HTTP/");
    let is_masked = bytes.get(1).is_some_and(|second| second & 0x80 != 0);
    let sender = match from {
        Some(side) => side.role(),
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

/// Decodes the digits of an input. An input that is not digits is taken as it is, unless it `is_hex`. Digits after heads stand for
/// frames: as characters they could not be valid ones, because the bits RSV2 and RSV3 of each digit are set.
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
            let (heads, after) = input.split_at(heads_of(&input));
            match digits(after) {
                Some(digits) if heads.is_empty() || digits.is_empty() => {}
                Some(digits) if digits.len() % 2 == 0 => {
                    let bytes = [heads, &pairs(&digits)].concat();
                    return Ok(Decoded { bytes, note: None });
                }
                Some(digits) => return Err(texts::EXPLAIN_ODD.with(lang, &[&digits.len()])),
                None => {}
            }
            let is_unclear = is_text(&input) && !sender_of(&input, None).1;
            Ok(Decoded { bytes: input, note: is_unclear.then_some(texts::EXPLAIN_TEXT) })
        }
    }
}

/// Returns where the heads at the beginning of an input end. A response that does not open a WebSocket has a body, so no frame
/// comes after it.
fn heads_of(input: &[u8]) -> usize {
    let mut end = 0;
    loop {
        let rest = &input[end..];
        let is_other = rest.starts_with(b"HTTP/") && !rest.starts_with(b"HTTP/1.1 1");
        match head_end(rest) {
            Some(length) if sender_of(rest, None).1 && !is_other => end += length,
            _ => return end,
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

    /// Digits after a request, or after a response that opens a WebSocket, are frames; after another one they are its body.
    #[test]
    fn digits_after_heads_are_frames() {
        let decoded = |input: &[u8]| decode(input.to_vec(), false, false, Lang::En);
        let bytes = |input: &[u8]| decoded(input).expect("bytes").bytes;
        let request = b"GET / HTTP/1.1\r\nHost: h\r\n\r\n";
        let switching = b"HTTP/1.1 101 x\r\nA: b\r\n\r\n";
        for heads in [&request[..], switching, &[&request[..], switching].concat()] {
            let with = |after: &[u8]| [heads, after].concat();
            assert_eq!(bytes(&with(b"89 00\r\n0x8a00\n")), with(b"\x89\0\x8a\0"));
            assert!(decoded(&with(b"890")).expect_err("odd").starts_with("3 hexadecimal digits"));
            for raw in [&b"\x89\0"[..], b"89 zz", b"", b"\r\n"] {
                assert_eq!(bytes(&with(raw)), with(raw));
            }
            let raw = decode(with(b"8900"), true, false, Lang::En).expect("bytes");
            assert_eq!(raw.bytes, with(b"8900"));
        }
        let other = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n8900";
        assert_eq!(bytes(other), other);
    }

    /// The bytes after a request and the response to it are those of one side.
    #[test]
    fn a_handshake_has_two_sides() {
        let request = &b"GET / HTTP/1.1\r\n\r\n"[..];
        let switching = &b"HTTP/1.1 101 x\r\n\r\n"[..];
        let ok = &b"HTTP/1.1 200 x\r\n\r\n"[..];
        let both = [request, switching].concat();
        let parts = |parts: &[&[u8]], from| {
            let parts = Parts::of(&parts.concat(), Known { from, deflate: Compression::On });
            (parts.sender, parts.handshake, parts.extensions.is_some())
        };
        let ends = Some((request.len(), both.len()));
        let (client, server) = (Role::Client, Role::Server);
        assert_eq!(parts(&[&both, b"\x89\x80"], None), (client, ends, false));
        assert_eq!(parts(&[&both, b"\x89\x00"], None), (server, ends, false));
        assert_eq!(parts(&[&both, b"\x89\x00"], Some(Side::Client)), (client, ends, false));
        assert_eq!(parts(&[request, ok, b"\xc3\xa9"], None), (server, ends, false));
        assert_eq!(parts(&[request, b"\x89\x80"], None), (client, None, true));
        assert_eq!(parts(&[switching, b"\x89\x80"], None), (server, None, false));
        assert_eq!(parts(&[b"\x89\x00"], None), (server, None, true));
        let interim = b"HTTP/1.1 103 x\r\n\r\n";
        let ends = Some((request.len(), both.len() + interim.len()));
        assert_eq!(parts(&[request, interim, switching, b"\x89\x80"], None), (client, ends, false));
        let short = Some((request.len(), both.len() - 1));
        assert_eq!(parts(&[&both[..both.len() - 1]], None), (server, short, false));
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
