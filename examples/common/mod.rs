//! What the examples share: how they read their arguments, and how they say what is wrong.

#![allow(dead_code)] // Each example uses its own part of this.

pub mod client;
pub mod server;

use std::fmt::Display;
use std::io::{self, Write};
use std::process::exit;
use std::str::FromStr;

use framewise::lang::{self, Lang, Text};
use framewise::trace::printable;

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

/// Every option of any example that is followed by a value.
const WITH_VALUE: &[&str] = &[
    "--from",
    "--host",
    "--lang",
    "--max-fragments",
    "--max-message",
    "--max-output",
    "--port",
    "--prefix",
];

/// The arguments that are left, and the option whose value is asked for.
pub struct Values {
    pub lang: Lang,
    name: String,
    /// The value of `--name=value`.
    inline: Option<String>,
    rest: std::vec::IntoIter<String>,
}

impl Values {
    /// The arguments of this program.
    pub fn of_program() -> Values {
        // What is not UTF-8 is no option and no value here; it is named in the error like any other.
        let arguments = std::env::args_os().skip(1);
        let arguments: Vec<String> =
            arguments.map(|argument| argument.to_string_lossy().into_owned()).collect();
        let lang = wanted_lang(&arguments);
        Values { lang, name: String::new(), inline: None, rest: arguments.into_iter() }
    }

    /// The next argument: an option, or a word.
    pub fn next_option(&mut self) -> Option<String> {
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

    /// The value of the option just read, as a number.
    pub fn number<N: FromStr>(&mut self, wanted: Text) -> N {
        let (name, value) = (self.name.clone(), self.value());
        self.parsed(&name, &value, wanted)
    }

    /// A value from elsewhere, which `name` stands for in the error.
    pub fn parsed<N: FromStr>(&self, name: &str, value: &str, wanted: Text) -> N {
        value.parse().unwrap_or_else(|_| {
            let why = lang::BAD_VALUE.with(self.lang, &[&value, &name, &wanted.get(self.lang)]);
            fail(self.lang, why)
        })
    }

    /// `--quiet=yes`: an option that takes no value was given one.
    pub fn check_used_up(&self) {
        if let Some(value) = &self.inline {
            let option = format!("{}={value}", self.name);
            fail(self.lang, lang::UNKNOWN_OPTION.with(self.lang, &[&option]));
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
    fail(lang, lang::UNKNOWN_OPTION.with(lang, &[&argument]))
}

/// Ends the program with one clear line.
pub fn fail(lang: Lang, why: impl Display) -> ! {
    // What was typed may hold line breaks and escapes; the error stays one harmless line.
    eprintln!("{}", lang::ERROR.with(lang, &[&printable(&why.to_string())]));
    exit(2)
}

/// The language has to be known before the first error can be told.
fn wanted_lang(arguments: &[String]) -> Lang {
    let from_env = Lang::from_env();
    let mut arguments = arguments.iter();
    while let Some(argument) = arguments.next() {
        if argument != "--lang" && WITH_VALUE.contains(&argument.as_str()) {
            arguments.next();
            continue;
        }
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

/// A variable of the environment, if it says something.
pub fn env(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}
