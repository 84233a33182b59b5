//! The options of the example clients, and how they connect.

use std::process::exit;

use framewise::config::HandshakePolicy;
use framewise::lang::Lang;
use framewise::trace::printable;
use framewise::{Client, ClientRequest, Config, ConnectError, Url};

use crate::common::tls::{ClientTransport, TlsOptions};
use crate::common::{Argument, Help, Values, compress, env, print_help, texts, unknown};

/// The longest message that a client accepts: the longest one that a server accepts by default, and a prefix.
const MAX_REPLY: usize = 2 << 20;

const COMMON_HELP: Help = Help {
    en: "  --host H             host of the server (default: localhost)
  --port P             its port (default: 8765)
  --deflate            compress messages (needs the feature deflate)
  --context-takeover   the same, and the connection remembers earlier messages
  --lang en|pt         language (default: from LC_ALL, LC_MESSAGES or LANG)
  --help               print this help

With --features tls: wss:// URLs, and --tls-ca FILE for a server that the system does not trust.
The default URL is ws://HOST:PORT. The environment variables HOST and PORT set the defaults.",
    pt: "  --host H             host do servidor (padrão: localhost)
  --port P             porta do servidor (padrão: 8765)
  --deflate            comprime mensagens (precisa da feature deflate)
  --context-takeover   o mesmo, e a conexão lembra das mensagens anteriores
  --lang en|pt         idioma (padrão: de LC_ALL, LC_MESSAGES ou LANG)
  --help               mostra esta ajuda

Com --features tls: URLs wss://, e --tls-ca ARQUIVO para um servidor em que o sistema não confia.
A URL padrão é ws://HOST:PORT. As variáveis de ambiente HOST e PORT definem os valores padrão.",
};

/// The options of an example client.
#[derive(Debug)]
pub struct Options {
    pub lang: Lang,
    pub url: String,
    tls: TlsOptions,
    handshake: HandshakePolicy,
    /// The host of the URL is that of the environment variable HOST.
    is_host_from_env: bool,
}

impl Options {
    /// Parses the command line. Ends the program after `--help` and after an error.
    pub fn parse(help: &Help) -> Options {
        let mut values = Values::of_program();
        let lang = values.lang;
        let (mut url, mut host, mut port) = (None, None, None);
        let mut tls = TlsOptions::default();
        let mut handshake = HandshakePolicy::default();
        while let Some(argument) = values.next_argument() {
            let option = match argument {
                Argument::Option(option) => option,
                Argument::Word(word) if url.is_none() => {
                    url = Some(word);
                    continue;
                }
                Argument::Word(word) => unknown(lang, &word),
            };
            match option.as_str() {
                "--host" => host = Some(values.value()),
                "--port" => port = Some(values.number(texts::WANTED_PORT)),
                "--deflate" => compress(&mut handshake, false, lang),
                "--context-takeover" => compress(&mut handshake, true, lang),
                "--lang" => drop(values.value()),
                "-h" | "--help" => print_help(lang, &[help, &COMMON_HELP]),
                other if tls.takes(other, &mut values) => {}
                other => unknown(lang, other),
            }
            values.check_used_up();
        }
        if let Some(url) = url {
            return Options { lang, url, tls, handshake, is_host_from_env: false };
        }
        let from_env = env("HOST").filter(|_| host.is_none());
        let is_host_from_env = from_env.is_some();
        let host = host.or(from_env).unwrap_or_else(|| "localhost".to_owned());
        let port: u16 = match (port, env("PORT")) {
            (Some(port), _) => port,
            (None, Some(port)) => values.parsed("PORT", &port, texts::WANTED_PORT),
            (None, None) => 8765,
        };
        // RFC 3986 §3.2.2: an IPv6 address is in brackets in a URL.
        let host =
            if host.contains(':') && !host.starts_with('[') { format!("[{host}]") } else { host };
        Options { lang, url: format!("ws://{host}:{port}"), tls, handshake, is_host_from_env }
    }

    /// Connects to the server. If that fails, prints the reason and ends the program.
    pub fn connect(&self) -> Client<ClientTransport> {
        self.try_to_connect().unwrap_or_else(|error| {
            let mut text = error.text(self.lang);
            if self.is_host_from_env {
                text = texts::HOST_FROM_ENV.with(self.lang, &[&text]);
            }
            let why = texts::ERROR.with(self.lang, &[&printable(&text)]);
            eprintln!("{why}");
            if let ConnectError::Unreachable { .. } = error {
                eprintln!("{}", texts::START_A_SERVER.get(self.lang));
            }
            exit(1)
        })
    }

    fn try_to_connect(&self) -> Result<Client<ClientTransport>, ConnectError> {
        let url = Url::parse(&self.url)?;
        let transport = self.tls.client(&url, self.lang);
        let mut config = Config::default().limits(|limits| limits.max_message = MAX_REPLY);
        config.handshake = self.handshake.clone();
        Client::open_over(&ClientRequest::new(url), config, transport, ())
    }
}
