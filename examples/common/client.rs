//! What the example clients share: which server they talk to, and what they say when there is none.

use std::process::exit;

use framewise::lang::{self, Lang};
use framewise::net::client::Client;
use framewise::net::connect::ConnectError;
use framewise::trace::printable;

use crate::common::{Help, Values, env, print_help, unknown};

const COMMON_HELP: Help = Help {
    en: "  --host H             host of the server (default: localhost)
  --port P             its port (default: 8765)
  --lang en|pt         language (default: from LC_ALL, LC_MESSAGES or LANG)
  --help               print this

Without a URL it is ws://HOST:PORT; HOST and PORT in the environment serve as defaults.",
    pt: "  --host H             host do servidor (padrão: localhost)
  --port P             porta do servidor (padrão: 8765)
  --lang en|pt         idioma (padrão: de LC_ALL, LC_MESSAGES ou LANG)
  --help               mostra esta ajuda

Sem URL, vale ws://HOST:PORT; HOST e PORT no ambiente valem como padrão.",
};

/// The options of an example client.
pub struct Options {
    pub lang: Lang,
    pub url: String,
}

impl Options {
    /// Reads the command line.
    pub fn parse(help: &Help) -> Options {
        let mut values = Values::of_program();
        let lang = values.lang;
        let (mut url, mut host) = (None, env("HOST").unwrap_or_else(|| "localhost".to_owned()));
        let mut port: u16 = match env("PORT") {
            Some(port) => values.parsed("PORT", &port, lang::WANTED_PORT),
            None => 8765,
        };
        while let Some(argument) = values.next_option() {
            match argument.as_str() {
                "--host" => host = values.value(),
                "--port" => port = values.number(lang::WANTED_PORT),
                "--lang" => drop(values.value()),
                "-h" | "--help" => print_help(lang, &[help, &COMMON_HELP]),
                word if !word.starts_with('-') && url.is_none() => url = Some(word.to_owned()),
                other => unknown(lang, other),
            }
            values.check_used_up();
        }
        // An IPv6 address stands in brackets in a URL.
        let host =
            if host.contains(':') && !host.starts_with('[') { format!("[{host}]") } else { host };
        Options { lang, url: url.unwrap_or_else(|| format!("ws://{host}:{port}")) }
    }

    /// Connects, or says why not and ends the program.
    pub fn connect(&self) -> Client {
        Client::connect(&self.url).unwrap_or_else(|error| {
            let why = lang::ERROR.with(self.lang, &[&printable(&error.text(self.lang))]);
            eprintln!("{why}");
            if let ConnectError::Unreachable { .. } = error {
                eprintln!("{}", lang::START_A_SERVER.get(self.lang));
            }
            exit(1)
        })
    }
}
