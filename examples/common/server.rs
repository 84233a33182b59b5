//! The options of the example servers, and how they run.

use std::error::Error;
use std::io::{self, ErrorKind, Write};
use std::net::SocketAddr;

use framewise::config::{Config, OriginPolicy};
use framewise::internal::lan_address;
use framewise::lang::{Bilingual, Lang};
use framewise::observe::Observer;
use framewise::{Dispatcher, Server, StartError};

use crate::common::console::{Console, Printer};
use crate::common::tls::{ServerTransport, TlsOptions};
use crate::common::{Argument, Help, Values, compress, env, fail, print_help, texts, unknown};

/// The options of an example server.
#[derive(Debug)]
pub struct Options {
    pub config: Config,
    pub lang: Lang,
    pub trace: bool,
    pub quiet: bool,
    tls: TlsOptions,
    /// The host is that of the environment variable HOST.
    is_host_from_env: bool,
}

/// The help text of the options that all servers have.
pub const COMMON_HELP: Help = Help {
    en: "  --host H             where to listen (default: localhost, on 127.0.0.1 and ::1)
  --port P             TCP port; 0 chooses a free one (default: 8765)
  --lang en|pt         language (default: from LC_ALL, LC_MESSAGES or LANG)
  --max-message BYTES  longest message (default: 1048576)
  --max-fragments N    most fragments of one message (default: 4096)
  --max-output BYTES   most output that waits for one client (default: 1048576)
  --max-memory BYTES   most memory for all connections (default: a quarter of what the process may use)
  --deflate            compress messages (needs the feature deflate)
  --context-takeover   the same, and each connection remembers earlier messages
  --trace              explain every byte of the handshake and of the frames
  -q, --quiet          print only how to connect (and what --trace prints)
  --help               print this help

With --features tls: --tls-cert FILE and --tls-key FILE (PEM), to speak wss:// and https://.
The environment variables HOST and PORT set the defaults.",
    pt: "  --host H             onde ouvir (padrão: localhost, em 127.0.0.1 e ::1)
  --port P             porta TCP; 0 escolhe uma porta livre (padrão: 8765)
  --lang en|pt         idioma (padrão: de LC_ALL, LC_MESSAGES ou LANG)
  --max-message BYTES  maior mensagem (padrão: 1048576)
  --max-fragments N    máximo de fragmentos por mensagem (padrão: 4096)
  --max-output BYTES   máximo de saída à espera de um cliente (padrão: 1048576)
  --max-memory BYTES   memória máxima para todas as conexões (padrão: um quarto da que o processo pode usar)
  --deflate            comprime mensagens (precisa da feature deflate)
  --context-takeover   o mesmo, e cada conexão lembra das mensagens anteriores
  --trace              explica cada byte do handshake e dos frames
  -q, --quiet          mostra só como se conectar (e o que --trace mostra)
  --help               mostra esta ajuda

Com --features tls: --tls-cert ARQUIVO e --tls-key ARQUIVO (PEM), para falar wss:// e https://.
As variáveis de ambiente HOST e PORT definem os valores padrão.",
};

impl Options {
    /// Parses the command line. `own` handles the options that only one example has and returns whether it knows an
    /// option. Ends the program after `--help` and after an error.
    pub fn parse(help: &Help, mut own: impl FnMut(&str, &mut Values) -> bool) -> Options {
        let mut values = Values::of_program();
        let config = Config::default().handshake(|handshake| handshake.origins = OriginPolicy::Any);
        let mut host_from_env = env("HOST");
        let mut port_from_env = env("PORT");
        let mut options = Options {
            lang: values.lang,
            config,
            trace: false,
            quiet: false,
            tls: TlsOptions::default(),
            is_host_from_env: false,
        };
        while let Some(argument) = values.next_argument() {
            let name = match argument {
                Argument::Option(name) => name,
                Argument::Word(word) => unknown(options.lang, &word),
            };
            match name.as_str() {
                "--host" => {
                    options.config.host = values.value();
                    host_from_env = None;
                }
                "--port" => {
                    options.config.port = values.number(texts::WANTED_PORT);
                    port_from_env = None;
                }
                "--lang" => drop(values.value()),
                "--max-message" => {
                    options.config.limits.max_message = values.number(texts::WANTED_NUMBER)
                }
                "--max-fragments" => {
                    options.config.limits.max_fragments = values.number(texts::WANTED_NUMBER)
                }
                "--max-memory" => {
                    options.config.limits.max_memory = Some(values.number(texts::WANTED_NUMBER));
                }
                "--max-output" => {
                    options.config.limits.max_output = values.number(texts::WANTED_NUMBER)
                }
                "--deflate" | "--context-takeover" => {
                    let with_contexts = name == "--context-takeover";
                    compress(&mut options.config.handshake, with_contexts, options.lang);
                }
                "--trace" => options.trace = true,
                "-q" | "--quiet" => options.quiet = true,
                "-h" | "--help" => print_help(options.lang, &[help, &COMMON_HELP]),
                other => {
                    if !own(other, &mut values) && !options.tls.takes(other, &mut values) {
                        unknown(options.lang, other);
                    }
                }
            }
            values.check_used_up();
        }
        if let Some(host) = host_from_env {
            options.config.host = host;
            options.is_host_from_env = true;
        }
        if let Some(port) = port_from_env {
            options.config.port = values.parsed("PORT", &port, texts::WANTED_PORT);
        }
        options.config.lang = options.lang;
        options
    }

    /// Runs the server until the process is stopped. Prints events on the console, unless `--quiet` was given. `title`
    /// is the first line, with a `{}` for host and port.
    pub fn serve<D: Dispatcher>(
        self,
        dispatcher: D,
        title: Option<Bilingual>,
        console: impl FnOnce(Console) -> Console,
    ) -> ! {
        let config = self.config.clone();
        let transport = self.tls.server(self.lang);
        if self.quiet && !self.trace {
            // Without a console there is no second thread. In a process with a single thread system calls are faster,
            // because the C library does not have to make them cancellable.
            let say = |line: String| drop(writeln!(io::stdout(), "{line}"));
            let server = Server::bind(config, dispatcher);
            self.run(server.map(|server| server.over(transport)), say, title)
        }
        let printer = Printer::start(self.lang);
        let mut observer = console(Console::new(self.lang, printer.clone()));
        if self.trace {
            let limits = config.clone().validate();
            observer = observer
                .with_trace(limits.unwrap_or_else(|error| fail(self.lang, error.text(self.lang))));
        }
        let server = Server::bind(config, dispatcher);
        let server = server.map(|server| server.over(transport).observed_by(observer));
        self.run(server, |line| printer.line(line), title)
    }

    /// Ends the program. If the host comes from the environment, the error says so: other programs set HOST too.
    fn fail_to_start(&self, error: &StartError) -> ! {
        let text = error.text(self.lang);
        let is_about_host = match error {
            StartError::Listen(error) => {
                let cause = error.source().and_then(|cause| cause.downcast_ref::<io::Error>());
                cause.is_none_or(|cause| cause.kind() != ErrorKind::AddrInUse)
            }
            _ => false,
        };
        if is_about_host && self.is_host_from_env {
            fail(self.lang, texts::HOST_FROM_ENV.with(self.lang, &[&text]));
        }
        fail(self.lang, text)
    }

    fn run<D: Dispatcher, O: Observer>(
        &self,
        server: Result<Server<D, ServerTransport, O>, StartError>,
        say: impl Fn(String),
        title: Option<Bilingual>,
    ) -> ! {
        let lang = self.lang;
        let mut server = server.unwrap_or_else(|error| self.fail_to_start(&error));
        if server.is_without_ipv6() {
            eprintln!("{}", texts::NO_IPV6.get(lang));
        }
        let addresses: Vec<SocketAddr> = server.local_addrs().collect();
        if let (Some(title), Some(first)) = (title, addresses.first()) {
            let host = match self.config.host.as_str() {
                literal if literal.contains(':') => first.to_string(),
                name => format!("{name}:{}", first.port()),
            };
            say(title.with(lang, &[&host]));
        }
        for address in &addresses {
            say(texts::LISTENING.with(lang, &[address]));
            if address.ip().is_unspecified()
                && let Some(ip) = lan_address()
            {
                let others = SocketAddr::new(ip, address.port());
                say(texts::OTHERS_CAN_CONNECT.with(lang, &[&others]));
            }
        }
        say(texts::WAITING.get(lang).to_owned());
        if self.trace {
            say(texts::TRACE_LEGEND.get(lang).to_owned());
        }
        match server.run() {
            Ok(()) => std::process::exit(0),
            Err(error) => fail(lang, error),
        }
    }
}
