//! What the example servers share: their options, their first lines, and how they stop.

use std::fmt::Display;
use std::io::{self, Write};
use std::net::SocketAddr;
use std::process::exit;
use std::str::FromStr;

use framewise::config::{Config, OriginPolicy};
use framewise::console::{Console, Printer};
use framewise::dispatch::Dispatcher;
use framewise::lang::{self, Lang, Text};
use framewise::net::listen::{StartError, lan_address};
use framewise::net::server::Server;
use framewise::observe::Observer;
use framewise::trace::printable;

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
  -q, --quiet          print only start and stop
  --help               print this

HOST and PORT in the environment serve as defaults.",
    pt: "  --host H             onde ouvir (padrão: localhost, em 127.0.0.1 e ::1)
  --port P             porta TCP, 0 para qualquer uma livre (padrão: 8765)
  --lang en|pt         idioma (padrão: de LC_ALL, LC_MESSAGES ou LANG)
  --max-message BYTES  maior mensagem (padrão: 1048576)
  --max-fragments N    máximo de fragmentos por mensagem (padrão: 4096)
  --max-output BYTES   máximo de saída à espera de um cliente (padrão: 1048576)
  --trace              explica cada byte do handshake e dos frames
  -q, --quiet          mostra só o início e o fim
  --help               mostra esta ajuda

HOST e PORT no ambiente valem como padrão.",
};

/// A help text in both languages.
pub struct Help {
    pub en: &'static str,
    pub pt: &'static str,
}

impl Help {
    pub fn get(&self, lang: Lang) -> &'static str {
        match lang {
            Lang::En => self.en,
            Lang::Pt => self.pt,
        }
    }
}

impl Options {
    /// Reads the command line. `own` takes the options that only one example has.
    pub fn parse(help: &Help, mut own: impl FnMut(&str, &mut Values) -> bool) -> Options {
        // What is not UTF-8 is no option and no value here; it is named in the error like any other.
        let arguments = std::env::args_os().skip(1);
        let arguments: Vec<String> =
            arguments.map(|argument| argument.to_string_lossy().into_owned()).collect();
        let config = Config { origin_policy: OriginPolicy::Any, ..Config::default() };
        let mut options =
            Options { lang: wanted_lang(&arguments), config, trace: false, quiet: false };
        let mut values = Values {
            lang: options.lang,
            name: String::new(),
            inline: None,
            rest: arguments.into_iter(),
        };
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
                "-h" | "--help" => {
                    let (own, common) = (help.get(options.lang), COMMON_HELP.get(options.lang));
                    let written = writeln!(io::stdout(), "{own}\n{common}");
                    exit(i32::from(written.is_err()));
                }
                other => {
                    if !own(other, &mut values) {
                        fail(options.lang, lang::UNKNOWN_OPTION.with(options.lang, &[&other]));
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
        let printer = Printer::start(self.lang);
        let config = self.config.clone();
        if self.quiet && !self.trace {
            self.run(Server::bind(config, dispatchers), &printer, title)
        }
        let mut observer = console(Console::new(self.lang, printer.clone()));
        if self.trace {
            observer = observer.with_trace();
        }
        let server = Server::bind_observed(config, dispatchers, observer);
        self.run(server, &printer, title)
    }

    fn run<D: Dispatcher, O: Observer>(
        &self,
        server: Result<Server<D, O>, StartError>,
        printer: &Printer,
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
            printer.line(title.with(lang, &[&host]));
        }
        for address in &addresses {
            printer.line(lang::LISTENING.with(lang, &[address]));
            if address.ip().is_unspecified()
                && let Some(ip) = lan_address()
            {
                let others = SocketAddr::new(ip, address.port());
                printer.line(lang::OTHERS_CAN_CONNECT.with(lang, &[&others]));
            }
        }
        printer.line(lang::WAITING.get(lang));
        if self.trace {
            printer.line(lang::TRACE_LEGEND.get(lang));
        }
        let error = server.run().expect_err("a server stops for an error only");
        fail(lang, error)
    }
}

/// The arguments that are left, and the option whose value is asked for.
pub struct Values {
    lang: Lang,
    name: String,
    /// The value of `--name=value`.
    inline: Option<String>,
    rest: std::vec::IntoIter<String>,
}

impl Values {
    fn next_option(&mut self) -> Option<String> {
        let argument = self.rest.next()?;
        (self.name, self.inline) = match argument.split_once('=') {
            Some((name, value)) if name.starts_with("--") => {
                (name.to_owned(), Some(value.to_owned()))
            }
            _ => (argument, None),
        };
        Some(self.name.clone())
    }

    /// The value of the option just read.
    pub fn value(&mut self) -> String {
        let value = self.inline.take().or_else(|| self.rest.next());
        value.unwrap_or_else(|| fail(self.lang, lang::MISSING_VALUE.with(self.lang, &[&self.name])))
    }

    fn number<N: FromStr>(&mut self, wanted: Text) -> N {
        let (name, value) = (self.name.clone(), self.value());
        self.parsed(&name, &value, wanted)
    }

    fn parsed<N: FromStr>(&self, name: &str, value: &str, wanted: Text) -> N {
        value.parse().unwrap_or_else(|_| {
            let why = lang::BAD_VALUE.with(self.lang, &[&value, &name, &wanted.get(self.lang)]);
            fail(self.lang, why)
        })
    }

    /// `--quiet=yes`: an option that takes no value was given one.
    fn check_used_up(&self) {
        if let Some(value) = &self.inline {
            let option = format!("{}={value}", self.name);
            fail(self.lang, lang::UNKNOWN_OPTION.with(self.lang, &[&option]));
        }
    }
}

/// Ends the program with one clear line.
fn fail(lang: Lang, why: impl Display) -> ! {
    // What was typed may hold line breaks and escapes; the error stays one harmless line.
    eprintln!("{}", lang::ERROR.with(lang, &[&printable(&why.to_string())]));
    exit(2)
}

/// The language has to be known before the first error can be told.
fn wanted_lang(arguments: &[String]) -> Lang {
    let from_env = Lang::from_env();
    let mut arguments = arguments.iter();
    while let Some(argument) = arguments.next() {
        let tag = match argument.strip_prefix("--lang") {
            Some("") => match arguments.next() {
                Some(tag) => tag,
                None => fail(from_env, lang::MISSING_VALUE.with(from_env, &[&"--lang"])),
            },
            Some(value) if value.starts_with('=') => &value[1..],
            _ => continue,
        };
        return match Lang::from_tag(tag) {
            Some(lang) => lang,
            None => {
                let wanted = lang::WANTED_LANG.get(from_env);
                fail(from_env, lang::BAD_VALUE.with(from_env, &[&tag, &"--lang", &wanted]))
            }
        };
    }
    from_env
}

fn env(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}
