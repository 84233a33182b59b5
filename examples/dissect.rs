//! Labels the bits of a frame: `cargo run --example dissect -- 81 85 37 fa 21 3d 7f 9f 4d 51 58`
//!
//! The labels come from the parser that the server uses. A header that is broken or incomplete is labelled up to the
//! last bit that was read. Then follows the bit that breaks the rule, or the first bit that is missing.

mod common;

use std::fmt::Display;
use std::process::exit;

use common::{Argument, Help, Values, fail, print_help, texts, unknown};
use framewise::Config;
use framewise::lang::Lang;
use framewise::protocol::dissect::{Dissector, Fault, Finding};
use framewise::protocol::frame::{Header, Opcode, Role};
use framewise::protocol::header_bits::{Field, fields};
use framewise::protocol::violation::Violation;
use framewise::trace::{escaped, hex};

const HELP: Help = Help {
    en: "Shows the meaning of each bit of a frame.

Usage: cargo run --example dissect -- [options] HEX...

  --from client|server which side sent the bytes (default: from the MASK bit)
  --lang en|pt         language (default: from LC_ALL, LC_MESSAGES or LANG)
  --help               print this help

HEX may have spaces and 0x. Bits are counted from 0 in each frame, bytes from 0 in each payload.
Exit code 1: the last frame is incomplete. Exit code 3: the bytes break a rule of the standard.
Example: cargo run --example dissect -- 818537fa213d7f9f4d5158",
    pt: "Mostra o significado de cada bit de um quadro (frame).

Uso: cargo run --example dissect -- [opções] HEX...

  --from client|server qual lado enviou os bytes (padrão: conforme o bit MASK)
  --lang en|pt         idioma (padrão: de LC_ALL, LC_MESSAGES ou LANG)
  --help               mostra esta ajuda

HEX pode ter espaços e 0x. Os bits são contados a partir de 0 em cada frame, os bytes a partir de 0
em cada payload. Código de saída 1: o último frame está incompleto. Código de saída 3: os bytes
violam uma regra do padrão.
Exemplo: cargo run --example dissect -- 818537fa213d7f9f4d5158",
};

/// How many payload bytes a row shows.
const ROW: usize = 16;

fn main() {
    let mut values = Values::of_program();
    let lang = values.lang;
    let (mut sender, mut digits) = (None, String::new());
    while let Some(argument) = values.next_argument() {
        match argument {
            Argument::Option(option) => match option.as_str() {
                "--from" => sender = Some(role(&values.value(), lang)),
                "--lang" => drop(values.value()),
                "-h" | "--help" => print_help(lang, &[&HELP]),
                other => unknown(lang, other),
            },
            Argument::Word(hex) => {
                digits += &hex.replace("0x", "").replace(char::is_whitespace, "")
            }
        }
        values.check_used_up();
    }
    let bytes = bytes(&digits).unwrap_or_else(|| fail(lang, texts::WANTED_HEX.get(lang)));
    // RFC 6455 §5.1: clients mask, servers do not.
    let masked = bytes.get(1).is_some_and(|second| second & 0x80 != 0);
    let sender = sender.unwrap_or(if masked { Role::Client } else { Role::Server });

    let config = Config::default().validate().expect("the defaults are valid");
    let mut dissector = Dissector::of_frames(sender, config);
    let mut frame = Frame { lang, header: Vec::new(), payload: Vec::new(), exit_code: 0 };
    let mut show = |finding: &Finding<'_>| frame.show(finding);
    dissector.feed(&bytes, &mut show);
    dissector.finish(&mut show);
    exit(frame.exit_code);
}

/// The current frame, as much of it as was shown.
struct Frame {
    lang: Lang,
    /// The bytes of its header.
    header: Vec<u8>,
    /// The bytes of its payload, unmasked.
    payload: Vec<u8>,
    /// The exit code of the program.
    exit_code: i32,
}

impl Frame {
    fn show(&mut self, finding: &Finding<'_>) {
        let lang = self.lang;
        match finding {
            Finding::Header { wire, .. } | Finding::BadHeader(wire) => self.show_header(wire),
            Finding::Payload { header, at, wire, clear } => {
                self.payload.extend_from_slice(clear);
                payload(header, *at, wire, clear, lang);
            }
            Finding::Valid(_) => println!("{}\n", texts::DISSECT_VALID.get(lang)),
            Finding::Broken(Fault::Violation(violation)) => {
                self.exit_code = 3;
                println!("{}", self.verdict(*violation));
            }
            Finding::NotRead(wire) => {
                println!("{}", texts::DISSECT_NOT_READ.with(lang, &[&hex(wire)]));
            }
            Finding::Incomplete([]) => {
                self.exit_code = 1;
                let fields = fields(&self.header);
                let length = length_field(&fields).map_or(0, |field| field.value);
                let values: [&dyn Display; 2] = [&self.payload.len(), &length];
                println!("{}", texts::DISSECT_PAYLOAD_ENDS.with(lang, &values));
            }
            Finding::Incomplete(wire) => {
                self.exit_code = 1;
                self.show_header(wire);
                let end = wire.len() * 8;
                let missing = fields(wire).into_iter().find(|field| field.bits.end > end);
                let name = missing.map_or("", |field| field.name);
                println!("{}", texts::DISSECT_HEADER_ENDS.with(lang, &[&end, &name]));
            }
            other => println!("{}", hex(other.wire())),
        }
    }

    /// Prints the fields of a header that was read as far as `wire`. The header may go on.
    fn show_header(&mut self, wire: &[u8]) {
        self.header = wire.to_vec();
        self.payload.clear();
        for field in fields(wire).iter().filter(|field| field.bits.start < wire.len() * 8) {
            println!("{}", row(field, wire, self.lang));
        }
    }

    /// Returns the line that names a broken rule and the place in the frame that breaks it.
    fn verdict(&self, violation: Violation) -> String {
        let (lang, code) = (self.lang, violation.code());
        match self.places(violation).join(", ") {
            none if none.is_empty() => texts::DISSECT_BROKEN.with(lang, &[&violation, &code]),
            places => texts::DISSECT_BROKEN_AT.with(lang, &[&places, &violation, &code]),
        }
    }

    /// Returns the places that break a rule. Empty for a rule that does not concern certain bits, such as the limit for
    /// the number of fragments.
    fn places(&self, violation: Violation) -> Vec<String> {
        let fields = fields(&self.header);
        let named = |name| fields.iter().find(|field| field.name == name);
        let field = match violation {
            Violation::ReservedBits => {
                let set = |field: &&Field| field.name.starts_with("RSV") && field.value == 1;
                return fields.iter().filter(set).map(|field| self.place(field)).collect();
            }
            Violation::FragmentedControl => named("FIN"),
            Violation::ReservedOpcode
            | Violation::NothingToContinue
            | Violation::MessageInterrupted => named("opcode"),
            Violation::UnmaskedFrame | Violation::MaskedFrame => named("MASK"),
            Violation::ControlTooLong => named("payload length"),
            Violation::LengthNotMinimal | Violation::MessageTooBig => length_field(&fields),
            Violation::LengthTopBit => {
                let mut top = length_field(&fields).cloned();
                top.iter_mut().for_each(|field| field.bits.end = field.bits.start + 1);
                return top.iter().map(|field| self.place(field)).collect();
            }
            // The payload was shown up to the byte that breaks the rule.
            Violation::InvalidUtf8 => {
                return self.payload_place(self.payload.len().wrapping_sub(1), 1);
            }
            Violation::TruncatedCloseCode => return self.payload_place(0, 1),
            Violation::InvalidCloseCode => return self.payload_place(0, 2),
            Violation::InvalidCloseReason => {
                let reason = self.payload.get(2..).unwrap_or_default();
                let valid =
                    str::from_utf8(reason).map_or_else(|error| error.valid_up_to(), str::len);
                return self.payload_place(2 + valid, 1);
            }
            _ => None,
        };
        field.map(|field| self.place(field)).into_iter().collect()
    }

    /// Returns the bits and the name of a field.
    fn place(&self, field: &Field) -> String {
        let (first, last) = (field.bits.start, field.bits.end - 1);
        if first == last {
            texts::DISSECT_BIT.with(self.lang, &[&first, &field.name])
        } else {
            texts::DISSECT_BITS.with(self.lang, &[&first, &last, &field.name])
        }
    }

    /// Returns the place of payload bytes, if the payload has them.
    fn payload_place(&self, at: usize, count: usize) -> Vec<String> {
        if at >= self.payload.len() {
            return Vec::new();
        }
        vec![match count {
            1 => texts::DISSECT_BYTE.with(self.lang, &[&at]),
            _ => texts::DISSECT_BYTES.with(self.lang, &[&at, &(at + count - 1)]),
        }]
    }
}

/// Returns the field that holds the length: the last one with this name.
fn length_field(fields: &[Field]) -> Option<&Field> {
    fields.iter().rev().find(|field| field.name.ends_with("payload length"))
}

/// Returns the row of a field: its bits within their byte, or its bytes in hexadecimal if it has several. Two dots stand
/// for a byte that is missing.
fn row(field: &Field, wire: &[u8], lang: Lang) -> String {
    let (first, last) = (field.bits.start / 8, (field.bits.end - 1) / 8);
    let place = if first == last {
        let bit = |at: usize| if field.bits.contains(&at) { digit(wire, at) } else { '.' };
        (first * 8..first * 8 + 8).map(bit).collect()
    } else {
        let byte = |at| wire.get(at).map_or("..".to_owned(), |&byte| hex(&[byte]));
        (first..=last).map(byte).collect::<Vec<_>>().join(" ")
    };
    let value = match field.name {
        _ if last >= wire.len() => String::new(),
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
            let name = opcode.map_or(texts::DISSECT_RESERVED.get(lang), |opcode| opcode.name());
            format!("{:X} ({name})", field.value)
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
