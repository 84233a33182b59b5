//! Labels the bits of a frame: `cargo run --example dissect -- 81 85 37 fa 21 3d 7f 9f 4d 51 58`
//!
//! The labels come from the parser that the server uses.

mod common;

use std::process::exit;

use common::{Help, Values, fail, print_help, texts, unknown};
use framewise::Config;
use framewise::lang::Lang;
use framewise::protocol::dissect::{Dissector, Fault, Finding};
use framewise::protocol::frame::{Header, Opcode, Role};
use framewise::protocol::header_bits::{Field, fields};
use framewise::trace::{escaped, hex};

const HELP: Help = Help {
    en: "Shows the meaning of each bit of a frame.

Usage: cargo run --example dissect -- [options] HEX...

  --from client|server which side sent the bytes (default: from the MASK bit)
  --lang en|pt         language (default: from LC_ALL, LC_MESSAGES or LANG)
  --help               print this help

HEX may have spaces and 0x. Exit code 3: the bytes break a rule of the standard.
Example: cargo run --example dissect -- 818537fa213d7f9f4d5158",
    pt: "Mostra o significado de cada bit de um quadro (frame).

Uso: cargo run --example dissect -- [opções] HEX...

  --from client|server qual lado enviou os bytes (padrão: conforme o bit MASK)
  --lang en|pt         idioma (padrão: de LC_ALL, LC_MESSAGES ou LANG)
  --help               mostra esta ajuda

HEX pode ter espaços e 0x. Código de saída 3: os bytes violam uma regra do padrão.
Exemplo: cargo run --example dissect -- 818537fa213d7f9f4d5158",
};

/// How many payload bytes a row shows.
const ROW: usize = 16;

fn main() {
    let mut values = Values::of_program();
    let lang = values.lang;
    let (mut sender, mut digits) = (None, String::new());
    while let Some(argument) = values.next_option() {
        match argument.as_str() {
            "--from" => sender = Some(role(&values.value(), lang)),
            "--lang" => drop(values.value()),
            "-h" | "--help" => print_help(lang, &[&HELP]),
            option if option.starts_with('-') => unknown(lang, option),
            hex => digits += &hex.replace("0x", "").replace(char::is_whitespace, ""),
        }
        values.check_used_up();
    }
    let bytes = bytes(&digits).unwrap_or_else(|| fail(lang, texts::WANTED_HEX.get(lang)));
    // RFC 6455 §5.1: clients mask, servers do not.
    let masked = bytes.get(1).is_some_and(|second| second & 0x80 != 0);
    let sender = sender.unwrap_or(if masked { Role::Client } else { Role::Server });

    let config = Config::default().validate().expect("the defaults are valid");
    let mut dissector = Dissector::of_frames(sender, config);
    let mut broken = false;
    let mut show = |finding: &Finding<'_>| {
        broken |= matches!(finding, Finding::Broken(_));
        explain(finding, lang);
    };
    dissector.feed(&bytes, &mut show);
    dissector.finish(&mut show);
    exit(if broken { 3 } else { 0 });
}

fn explain(finding: &Finding<'_>, lang: Lang) {
    match finding {
        Finding::Header { wire, .. } => {
            for field in fields(wire) {
                println!("{}", row(&field, wire));
            }
        }
        Finding::Payload { header, at, wire, clear } => payload(header, *at, wire, clear, lang),
        Finding::Valid(_) => println!("{}\n", texts::DISSECT_VALID.get(lang)),
        Finding::Broken(Fault::Violation(violation)) => {
            let why = violation.to_string();
            println!("{}", texts::DISSECT_BROKEN.with(lang, &[&why, &violation.code()]));
        }
        Finding::NotRead(wire) => println!("{}", texts::DISSECT_NOT_READ.with(lang, &[&hex(wire)])),
        Finding::BadHeader(wire) => {
            println!("{}", texts::DISSECT_BAD_HEADER.with(lang, &[&hex(wire)]))
        }
        Finding::Incomplete([]) => println!("{}", texts::DISSECT_MISSING.get(lang)),
        Finding::Incomplete(wire) => {
            println!("{}", texts::DISSECT_INCOMPLETE.with(lang, &[&hex(wire)]));
        }
        other => println!("{}", hex(other.wire())),
    }
}

/// Returns the row of a field: its bits within their byte, or its bytes in hexadecimal if it has several.
fn row(field: &Field, wire: &[u8]) -> String {
    let (first, last) = (field.bits.start / 8, (field.bits.end - 1) / 8);
    let place = if first == last {
        let bit = |at: usize| if field.bits.contains(&at) { digit(wire, at) } else { '.' };
        (first * 8..first * 8 + 8).map(bit).collect()
    } else {
        hex(&wire[first..=last])
    };
    let value = match field.name {
        "opcode" => {
            let opcodes = [
                Opcode::Continuation,
                Opcode::Text,
                Opcode::Binary,
                Opcode::Close,
                Opcode::Ping,
                Opcode::Pong,
            ];
            let opcode = opcodes.iter().find(|&&opcode| opcode as u64 == field.value);
            format!("{:X} ({})", field.value, opcode.map_or("", |opcode| opcode.name()))
        }
        "masking key" => String::new(),
        _ => field.value.to_string(),
    };
    let byte = if field.bits.start.is_multiple_of(8) {
        format!("{:02x}", wire[first])
    } else {
        String::new()
    };
    let byte = if first == last { byte } else { String::new() };
    format!("{byte:2}  {place:24} {:24} {value:16} §{}", field.name, field.section)
        .trim_end()
        .to_owned()
}

fn digit(wire: &[u8], bit: usize) -> char {
    if wire[bit / 8] >> (7 - bit % 8) & 1 == 1 { '1' } else { '0' }
}

/// Prints payload data, the key below it, and their XOR (§5.3).
fn payload(header: &Header, at: u64, wire: &[u8], clear: &[u8], lang: Lang) {
    for (n, (wire, clear)) in wire.chunks(ROW).zip(clear.chunks(ROW)).enumerate() {
        let start = at as usize + n * ROW;
        println!("    {:<24} {}", texts::TRACE_PAYLOAD.get(lang), hex(wire));
        let Some(key) = header.key else { continue };
        let key: Vec<u8> = (start..start + wire.len()).map(|i| key[i % 4]).collect();
        println!("    {:<24} {}", texts::DISSECT_KEY.get(lang), hex(&key));
        println!("    {:<24} {}", texts::DISSECT_CLEAR.get(lang), hex(clear));
    }
    match header.opcode {
        Opcode::Binary => {}
        Opcode::Close if clear.len() >= 2 => {
            let code = u16::from_be_bytes([clear[0], clear[1]]);
            let reason = escaped(&String::from_utf8_lossy(&clear[2..]));
            println!("    {:<24} {code} '{reason}'", "");
        }
        _ => println!("    {:<24} '{}'", "", escaped(&String::from_utf8_lossy(clear))),
    }
}

/// Returns the role with this name. Ends the program if there is none.
fn role(name: &str, lang: Lang) -> Role {
    match name {
        "client" => Role::Client,
        "server" => Role::Server,
        other => {
            let wanted = texts::WANTED_ROLE.get(lang);
            fail(lang, texts::BAD_VALUE.with(lang, &[&other, &"--from", &wanted]))
        }
    }
}

/// Parses hexadecimal digits. Returns `None` if there are none or if they do not form whole bytes.
fn bytes(digits: &str) -> Option<Vec<u8>> {
    let digits: Option<Vec<u8>> =
        digits.chars().map(|digit| digit.to_digit(16).map(|value| value as u8)).collect();
    let digits = digits.filter(|digits| !digits.is_empty() && digits.len() % 2 == 0)?;
    Some(digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect())
}
