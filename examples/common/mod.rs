//! Modules that the examples share: options, texts, the console, and errors of the command line.

#![allow(dead_code)] // No example uses everything.

pub mod client;
pub mod console;
pub mod server;
pub mod texts;
pub mod tls;

use std::fmt::Display;
use std::io::{self, Write};
use std::process::exit;
use std::str::FromStr;

use framewise::config::HandshakePolicy;
use framewise::lang::{Bilingual, Lang};
use framewise::trace::printable;

/// A help text in both languages.
#[derive(Debug)]
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

/// The options that are followed by a value, of all examples.
const WITH_VALUE: &[&str] = &[
    "--from",
    "--host",
    "--lang",
    "--max-fragments",
    "--max-memory",
    "--max-message",
    "--max-output",
    "--port",
    "--prefix",
    "--tls-ca",
    "--tls-cert",
    "--tls-key",
];

/// Turns compression on, with contexts that last from message to message or without. Ends the program if it was built without the
/// feature.
pub fn compress(policy: &mut HandshakePolicy, with_contexts: bool, lang: Lang) {
    #[cfg(feature = "deflate")]
    {
        let deflate = framewise::config::Deflate::default();
        let deflate = if with_contexts { deflate.with_context_takeover() } else { deflate };
        policy.deflate = Some(deflate);
        let _ = lang;
    }
    #[cfg(not(feature = "deflate"))]
    {
        let _ = (policy, with_contexts);
        fail(lang, texts::NO_DEFLATE.get(lang))
    }
}

/// An argument of the command line, as [`Values::next_argument`] returns it.
#[derive(Debug)]
pub enum Argument {
    /// It begins with `-`. It does not include the value of `--name=value`.
    Option(String),
    /// Any other argument, and every argument after `--`.
    Word(String),
}

/// A parser of command lines: the remaining arguments, and the current option.
#[derive(Debug)]
pub struct Values {
    pub lang: Lang,
    name: String,
    /// The value of `--name=value`.
    inline: Option<String>,
    /// There was a `--`: only words follow.
    only_words: bool,
    rest: std::vec::IntoIter<String>,
}

impl Values {
    /// Returns a parser of the arguments of this program.
    pub fn of_program() -> Values {
        // An argument that is not UTF-8 is never a valid option or value, so it may be changed: the error shows it.
        let arguments = std::env::args_os().skip(1);
        let arguments: Vec<String> =
            arguments.map(|argument| argument.to_string_lossy().into_owned()).collect();
        let lang = wanted_lang(&arguments);
        let (name, rest) = (String::new(), arguments.into_iter());
        Values { lang, name, inline: None, only_words: false, rest }
    }

    /// Returns the next argument. An option that needs a value takes it with [`Values::value`].
    pub fn next_argument(&mut self) -> Option<Argument> {
        let mut argument = self.rest.next()?;
        if argument == "--" && !self.only_words {
            self.only_words = true;
            argument = self.rest.next()?;
        }
        if self.only_words || !argument.starts_with('-') {
            return Some(Argument::Word(argument));
        }
        (self.name, self.inline) = match argument.split_once('=') {
            Some((name, value)) if name.starts_with("--") => {
                (name.to_owned(), Some(value.to_owned()))
            }
            _ => (argument, None),
        };
        Some(Argument::Option(self.name.clone()))
    }

    /// Returns the value of the current option: `--name value` or `--name=value`.
    pub fn value(&mut self) -> String {
        let value = self.inline.take().or_else(|| self.rest.next());
        value
            .unwrap_or_else(|| fail(self.lang, texts::MISSING_VALUE.with(self.lang, &[&self.name])))
    }

    /// Parses the value of the current option as a number. `wanted` is the text of the error.
    pub fn number<N: FromStr>(&mut self, wanted: Bilingual) -> N {
        let (name, value) = (self.name.clone(), self.value());
        self.parsed(&name, &value, wanted)
    }

    /// Parses a value that is not from the command line. `name` is its name in the error.
    pub fn parsed<N: FromStr>(&self, name: &str, value: &str, wanted: Bilingual) -> N {
        value.parse().unwrap_or_else(|_| {
            let why = texts::BAD_VALUE.with(self.lang, &[&value, &name, &wanted.get(self.lang)]);
            fail(self.lang, why)
        })
    }

    /// Ends the program if the current option has a value that it does not take, as in `--quiet=yes`.
    pub fn check_used_up(&self) {
        if let Some(value) = &self.inline {
            let option = format!("{}={value}", self.name);
            fail(self.lang, texts::UNKNOWN_OPTION.with(self.lang, &[&option]));
        }
    }
}

/// Prints a help text and ends the program.
pub fn print_help(lang: Lang, parts: &[&Help]) -> ! {
    let written = parts.iter().try_for_each(|part| writeln!(io::stdout(), "{}", part.get(lang)));
    exit(i32::from(written.is_err()));
}

/// Ends the program because an argument is unknown.
pub fn unknown(lang: Lang, argument: &str) -> ! {
    fail(lang, texts::UNKNOWN_OPTION.with(lang, &[&argument]))
}

/// Prints an error of one line and ends the program.
pub fn fail(lang: Lang, why: impl Display) -> ! {
    // The error repeats arguments, which may have line breaks and escape sequences.
    eprintln!("{}", texts::ERROR.with(lang, &[&printable(&why.to_string())]));
    exit(2)
}

/// Returns the language that `--lang` or the environment asks for. Looks at all arguments, because an error in an
/// earlier one is printed in that language too.
fn wanted_lang(arguments: &[String]) -> Lang {
    let from_env = Lang::from_env();
    let mut arguments = arguments.iter();
    // After `--` there are no options.
    while let Some(argument) = arguments.next().filter(|argument| *argument != "--") {
        if argument != "--lang" && WITH_VALUE.contains(&argument.as_str()) {
            arguments.next();
            continue;
        }
        let tag = match argument.strip_prefix("--lang") {
            Some("") => match arguments.next() {
                Some(tag) => tag,
                None => fail(from_env, texts::MISSING_VALUE.with(from_env, &[&"--lang"])),
            },
            Some(value) if value.starts_with('=') => &value[1..],
            _ => continue,
        };
        return match Lang::from_tag(tag) {
            Some(lang) => lang,
            None => {
                let wanted = texts::WANTED_LANG.get(from_env);
                fail(from_env, texts::BAD_VALUE.with(from_env, &[&tag, &"--lang", &wanted]))
            }
        };
    }
    from_env
}

/// Returns an environment variable, if it is set and not empty.
pub fn env(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}
