//! Labels the bits of a frame: `cargo run --example dissect -- 81 85 37 fa 21 3d 7f 9f 4d 51 58`
//!
//! The labels come from the parser that the server uses. A header that is broken or incomplete is labelled up to the
//! last bit that was read. Then follows the bit that breaks the rule, or the first bit that is missing.

mod common;

use std::io::{self, BufWriter, ErrorKind, Write};
use std::process::exit;

use common::{Argument, Help, Values, fail, print_help, texts, unknown};
use framewise::Config;
use framewise::labels::{Item, Labeller};
use framewise::lang::Lang;
use framewise::protocol::frame::Role;
use framewise::rows::rows;

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
                digits += &hex.replace("0x", "").replace("0X", "").replace(char::is_whitespace, "")
            }
        }
        values.check_used_up();
    }
    let bytes = bytes(&digits).unwrap_or_else(|| fail(lang, texts::WANTED_HEX.get(lang)));
    // RFC 6455 §5.1: clients mask, servers do not.
    let masked = bytes.get(1).is_some_and(|second| second & 0x80 != 0);
    let sender = sender.unwrap_or(if masked { Role::Client } else { Role::Server });

    let config = Config::default().validate().expect("the defaults are valid");
    let mut labeller = Labeller::of_frames(sender, config);
    let (mut exit_code, mut out, mut written) = (0, BufWriter::new(io::stdout().lock()), Ok(()));
    let mut show = |item: &Item<'_>| {
        let mut lines = rows(item, lang);
        if matches!(item, Item::Valid(_)) {
            lines.push(String::new());
        }
        for line in lines {
            if written.is_ok() {
                written = writeln!(out, "{line}");
            }
        }
        match item {
            Item::Broken { .. } => exit_code = 3,
            Item::HeaderEnds { .. } | Item::PayloadEnds { .. } => exit_code = 1,
            _ => {}
        }
    };
    labeller.feed(&bytes, &mut show);
    labeller.finish(&mut show);
    match written.and_then(|()| out.flush()) {
        // The reader has ended, as `head` does.
        Err(error) if error.kind() == ErrorKind::BrokenPipe => exit(0),
        Err(error) => fail(lang, error.to_string()),
        Ok(()) => exit(exit_code),
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
