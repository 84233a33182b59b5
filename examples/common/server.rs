//! What the example servers share: their options, their first lines, and how they run.

use std::io::{self, Write};
use std::net::SocketAddr;

use framewise::config::{Config, OriginPolicy};
use framewise::console::{Console, Printer};
use framewise::dispatch::Dispatcher;
use framewise::lang::{self, Lang, Text};
use framewise::net::listen::{StartError, lan_address};
use framewise::net::server::Server;
use framewise::observe::Observer;

use crate::common::{Help, Values, env, fail, print_help, unknown};

/// The options of an example server.
pub struct Options {
    pub config: Config,
    pub lang: Lang,
    pub trace: bool,
    pub quiet: bool,
}

/// The options that every server has, for `--help`.
pub const COMMON_HELP: Help = Help {
    en: "  --host H             where to listen (default: localhost, on 127.0.0.1 and ::1)
  --port P             TCP port, 0 for any free one (default: 8765)
  --lang en|pt         language (default: from LC_ALL, LC_MESSAGES or LANG)
  --max-message BYTES  longest message (default: 1048576)
  --max-fragments N    most fragments of one message (default: 4096)
  --max-output BYTES   most output that waits for one peer (default: 1048576)
  --trace              explain every byte of handshake and frames
  -q, --quiet          print only start and stop (and what --trace shows)
  --help               print this

HOST and PORT in the environment serve as defaults.",
    pt: "  --host H             onde ouvir (padrão: localhost, em 127.0.0.1 e ::1)
  --port P             porta TCP, 0 para qualquer uma livre (padrão: 8765)
  --lang en|pt         idioma (padrão: de LC_ALL, LC_MESSAGES ou LANG)
  --max-message BYTES  maior mensagem (padrão: 1048576)
  --max-fragments N    máximo de fragmentos por mensagem (padrão: 4096)
  --max-output BYTES   máximo de saída à espera de um cliente (padrão: 1048576)
  --trace              explica cada byte do handshake e dos frames
  -q, --quiet          mostra só o início e o fim (e o que --trace mostra)
  --help               mostra esta ajuda

HOST e PORT no ambiente valem como padrão.",
};

impl Options {
    /// Reads the command line. `own` takes the options that only one example has.
    pub fn parse(help: &Help, mut own: impl FnMut(&str, &mut Values) -> bool) -> Options {
        let mut values = Values::of_program();
        let config = Config { origin_policy: OriginPolicy::Any, ..Config::default() };
        let mut options = Options { lang: values.lang, config, trace: false, quiet: false };
        if let Some(host) = env("HOST") {
            options.config.host = host;
        }
        if let Some(port) = env("PORT") {
            options.config.port = values.parsed("PORT", &port, lang::WANTED_PORT);
        }
        while let Some(name) = values.next_option() {
            match name.as_str() {
                "--host" => options.config.host = values.value(),
                "--port" => options.config.port = values.number(lang::WANTED_PORT),
                "--lang" => drop(values.value()),
                "--max-message" => options.config.max_message = values.number(lang::WANTED_NUMBER),
                "--max-fragments" => {
                    options.config.max_fragments = values.number(lang::WANTED_NUMBER)
                }
                "--max-output" => options.config.max_output = values.number(lang::WANTED_NUMBER),
                "--trace" => options.trace = true,
                "-q" | "--quiet" => options.quiet = true,
                "-h" | "--help" => print_help(options.lang, &[help, &COMMON_HELP]),
                other => {
                    if !own(other, &mut values) {
                        unknown(options.lang, other);
                    }
                }
            }
            values.check_used_up();
        }
        options.config.lang = options.lang;
        options
    }

    /// Serves until the process is stopped, with a console unless `--quiet` was given. `title` is the
    /// first line, with a place for host and port.
    pub fn serve<D: Dispatcher>(
        self,
        dispatchers: impl FnMut() -> D,
        title: Option<Text>,
        console: impl FnOnce(Console) -> Console,
    ) -> ! {
        let config = self.config.clone();
        if self.quiet && !self.trace {
            // One thread, and system calls cost less: the C library makes them cancellable once there are two.
            let say = |line: String| drop(writeln!(io::stdout(), "{line}"));
            self.run(Server::bind(config, dispatchers), say, title)
        }
        let printer = Printer::start(self.lang);
        let mut observer = console(Console::new(self.lang, printer.clone()));
        if self.trace {
            let limits = config.clone().validate();
            observer = observer
                .with_trace(limits.unwrap_or_else(|error| fail(self.lang, error.text(self.lang))));
        }
        let server = Server::bind_observed(config, dispatchers, observer);
        self.run(server, |line| printer.line(line), title)
    }

    fn run<D: Dispatcher, O: Observer>(
        &self,
        server: Result<Server<D, O>, StartError>,
        say: impl Fn(String),
        title: Option<Text>,
    ) -> ! {
        let lang = self.lang;
        let mut server = server.unwrap_or_else(|error| fail(lang, error.text(lang)));
        if server.is_without_ipv6() {
            eprintln!("{}", lang::NO_IPV6.get(lang));
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
            say(lang::LISTENING.with(lang, &[address]));
            if address.ip().is_unspecified()
                && let Some(ip) = lan_address()
            {
                let others = SocketAddr::new(ip, address.port());
                say(lang::OTHERS_CAN_CONNECT.with(lang, &[&others]));
            }
        }
        say(lang::WAITING.get(lang).to_owned());
        if self.trace {
            say(lang::TRACE_LEGEND.get(lang).to_owned());
        }
        match server.run() {
            Ok(()) => std::process::exit(0),
            Err(error) => fail(lang, error),
        }
    }
}
