//! The values of options that the command line does not set: from the environment, else from `.env`.
//!
//! ```text
//! flag ──> environment ──> .env ──> default
//! ```
//!
//! Rules of this file: The process's environment is never changed. clap reads it, and gets the values of `.env` as defaults.
//! A variable that is set to nothing sets nothing, except a secret: an empty token is a fault, because the server would
//! start without one. A fault in a value says where the value came from.

use std::env;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, ErrorKind, Read};

use clap::error::ContextKind;
use clap::parser::ValueSource;
use clap::{Arg, ArgMatches, Command};
use framewise::lang::Lang;

use crate::env_file::{self, Variable};
use crate::texts;

/// The file, in the working directory.
const FILE: &str = ".env";

/// Most bytes of the file.
const MAX_FILE: u64 = 64 * 1024;

/// Names that begin with this belong to framewise, and must be known.
const PREFIX: &str = "FRAMEWISE_";

/// Names that Kubernetes and Docker links inject for a service that is called `framewise`.
const INJECTED: [&str; 4] =
    ["FRAMEWISE_SERVICE_", "FRAMEWISE_PORT", "FRAMEWISE_ENV_", "FRAMEWISE_NAME"];

/// The file `.env`, or why it cannot be used.
pub struct Variables(Result<Vec<Variable>, FileFault>);

enum FileFault {
    TooLarge,
    Unreadable(io::Error),
    Malformed(env_file::Fault),
}

/// Where the value of an option came from, other than the command line.
#[derive(Clone, Debug)]
pub struct Source {
    /// The id of the option, for example `max_per_ip`.
    option: String,
    variable: String,
    /// The line of `.env`, or `None` for the environment.
    line: Option<usize>,
    /// A flag that takes the place of the value, for example `--host localhost`.
    flag: String,
}

/// The sources of all options that the command line does not set.
#[derive(Clone, Debug, Default)]
pub struct Sources(Vec<Source>);

impl Variables {
    /// Reads `.env` in the working directory, if it is there.
    pub fn read() -> Variables {
        let mut bytes = Vec::new();
        let read =
            File::open(FILE).and_then(|file| file.take(MAX_FILE + 1).read_to_end(&mut bytes));
        Variables(match read {
            // A folder of this name is no file of settings, but often a virtual environment of Python.
            Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::IsADirectory) => {
                Ok(Vec::new())
            }
            Err(error) => Err(FileFault::Unreadable(error)),
            Ok(count) if count as u64 > MAX_FILE => Err(FileFault::TooLarge),
            Ok(_) => env_file::parse(&bytes).map_err(FileFault::Malformed),
        })
    }

    /// Returns the language that the environment or the file asks for.
    pub fn lang(&self) -> Option<Lang> {
        const NAME: &str = "FRAMEWISE_LANG";
        let from_environment = env::var(NAME).ok().filter(|value| !value.is_empty());
        let value = from_environment.or_else(|| self.get(NAME).map(|found| found.value.clone()));
        value.and_then(|value| Lang::from_tag(&value))
    }

    fn all(&self) -> &[Variable] {
        self.0.as_deref().unwrap_or_default()
    }

    fn get(&self, name: impl AsRef<OsStr>) -> Option<&Variable> {
        self.all().iter().find(|variable| OsStr::new(&variable.name) == name.as_ref())
    }

    /// Makes the values of the file the defaults of a command and its subcommands.
    pub fn apply(&self, command: Command) -> Command {
        let command = command.mut_args(|option| self.apply_to(option));
        command.mut_subcommands(|command| self.apply(command))
    }

    fn apply_to(&self, option: Arg) -> Arg {
        let Some(name) = option.get_env().map(OsStr::to_owned) else { return option };
        if option.is_global_set() && is_on_command_line(&option) {
            // clap would check the other values too, because the flag may stand after the subcommand.
            return option.env(None::<&str>);
        }
        let has_value = has_value(&option);
        let in_file = self.get(&name).filter(|found| has_value(OsStr::new(&found.value)));
        let is_set = env::var_os(&name).is_some_and(|value| has_value(&value));
        let option = if is_set { option } else { option.env(None::<&str>) };
        match in_file {
            Some(found) => option.default_value(found.value.clone()),
            None => option,
        }
    }

    /// Checks the file: it is readable and well-formed, each name of framewise is known, and stands there once.
    ///
    /// # Errors
    ///
    /// One line that explains the first fault.
    pub fn check_file(&self, command: &Command, lang: Lang) -> Result<(), String> {
        let variables = match &self.0 {
            Ok(variables) => variables,
            Err(FileFault::Unreadable(error)) => {
                return Err(texts::BAD_ENV_FILE.with(lang, &[error]));
            }
            Err(FileFault::TooLarge) => return Err(texts::LARGE_ENV_FILE.with(lang, &[&MAX_FILE])),
            Err(FileFault::Malformed(fault)) => {
                let why = fault.why.get(lang);
                return Err(match &fault.name {
                    Some(name) => texts::BAD_ENV_VALUE.with(lang, &[&fault.line, name, &why]),
                    None => texts::BAD_ENV.with(lang, &[&fault.line, &why]),
                });
            }
        };
        let known = names(command);
        for (index, Variable { name, line, .. }) in variables.iter().enumerate() {
            if is_ours(name) && !known.contains(name) {
                let nearest = nearest(name, &known);
                return Err(texts::UNKNOWN_IN_FILE.with(lang, &[line, name, &nearest]));
            }
            let earlier = variables[..index].iter().find(|earlier| earlier.name == *name);
            if let Some(earlier) = earlier.filter(|_| known.contains(name)) {
                return Err(texts::TWICE_IN_FILE.with(lang, &[line, name, &earlier.line]));
            }
        }
        Ok(())
    }

    /// Returns where the values come from that the command line does not set.
    pub fn sources(&self, command: &Command, matches: &ArgMatches) -> Sources {
        let set_by_others = |option: &&Arg| {
            let source = matches.value_source(option.get_id().as_str());
            source != Some(ValueSource::CommandLine)
        };
        let options = command.get_arguments().filter(|option| option.get_env().is_some());
        Sources(options.filter(set_by_others).filter_map(|option| self.source(option)).collect())
    }

    /// Returns the source of an option that the command line does not set.
    fn source(&self, option: &Arg) -> Option<Source> {
        let variable = option.get_env()?;
        let has_value = has_value(option);
        let is_in_environment = env::var_os(variable).is_some_and(|value| has_value(&value));
        let in_file = self.get(variable).filter(|found| has_value(OsStr::new(&found.value)));
        let line = match (is_in_environment, in_file) {
            (true, _) => None,
            (false, Some(found)) => Some(found.line),
            (false, None) => return None,
        };
        Some(Source {
            option: option.get_id().to_string(),
            variable: variable.to_string_lossy().into_owned(),
            line,
            flag: flag(option),
        })
    }

    /// Completes a usage error: removes a secret from it, and returns a line that says where the value came from if it did
    /// not come from the command line. `command` has no values of the environment or the file yet.
    pub fn explain(&self, error: &mut clap::Error, command: Command, lang: Lang) -> Option<String> {
        if error.kind() == clap::error::ErrorKind::InvalidUtf8 {
            let is_no_text = |name: &&String| {
                env::var_os(name).is_some_and(|value| value.into_string().is_err())
            };
            let names = names(&command);
            let name = names.iter().find(is_no_text)?;
            return Some(texts::VARIABLE_NOT_UTF8.with(lang, &[name]));
        }
        let shown = error.get(ContextKind::InvalidArg)?.to_string();
        let long = shown.split(' ').next()?.strip_prefix("--")?.to_owned();
        let options = command.get_subcommands().flat_map(Command::get_arguments);
        let option =
            options.chain(command.get_arguments()).find(|o| o.get_long() == Some(&long))?;
        let option = option.clone();
        if option.is_hide_env_values_set()
            && let Some(value) = error.get(ContextKind::InvalidValue)
            && !value.to_string().is_empty()
        {
            error.insert(ContextKind::InvalidValue, clap::error::ContextValue::String("…".into()));
        }
        // clap looks at the command line first, so a fault in it would occur here too.
        let flags_alone = without_variables(command).try_get_matches();
        let source = flags_alone.ok().and_then(|_| self.source(&option))?;
        Some(source.text(lang))
    }
}

impl Source {
    /// Returns one line that says where the value came from, and what overrides it.
    fn text(&self, lang: Lang) -> String {
        let Source { variable, flag, .. } = self;
        match self.line {
            Some(line) => texts::FROM_FILE.with(lang, &[&line, variable, flag]),
            None if is_ours(variable) => texts::FROM_ENVIRONMENT.with(lang, &[variable, flag]),
            None => texts::FROM_SHARED.with(lang, &[variable, flag]),
        }
    }
}

impl Sources {
    /// Appends to the text of an error where the value of this option came from, if it is not a flag.
    pub fn explain(&self, error: String, option: Option<&str>, lang: Lang) -> String {
        match self.0.iter().find(|source| Some(source.option.as_str()) == option) {
            Some(source) => format!("{error}\n  {}", source.text(lang)),
            None => error,
        }
    }
}

/// Checks the names in the environment. Returns those that Kubernetes or Docker has injected.
///
/// # Errors
///
/// One line that names a variable of framewise that does not exist.
pub fn check_environment(command: &Command, lang: Lang) -> Result<Vec<String>, String> {
    let known = names(command);
    let set = env::vars_os().map(|(name, _)| name.to_string_lossy().into_owned());
    let unknown = set.filter(|name| is_ours(name) && !known.contains(name));
    let (injected, unknown): (Vec<String>, Vec<String>) =
        unknown.partition(|name| INJECTED.iter().any(|start| name.starts_with(start)));
    match unknown.first() {
        Some(name) => {
            let nearest = nearest(name, &known);
            Err(texts::UNKNOWN_VARIABLE.with(lang, &[&name.escape_debug(), &nearest]))
        }
        None => Ok(injected),
    }
}

/// Returns whether a value of an option counts: an empty one only does if the option is a secret.
fn has_value(option: &Arg) -> impl Fn(&OsStr) -> bool + use<> {
    let is_secret = option.is_hide_env_values_set();
    move |value| is_secret || !value.is_empty()
}

/// Reports whether an option is among the arguments of the program, at any place.
fn is_on_command_line(option: &Arg) -> bool {
    let flag = format!("--{}", option.get_long().unwrap_or_default());
    let mut arguments = env::args_os().map(|argument| argument.to_string_lossy().into_owned());
    arguments.any(|argument| argument.split('=').next() == Some(&flag))
}

/// Returns a flag that takes the place of a value, for example `--port 8765`.
fn flag(option: &Arg) -> String {
    let long = option.get_long().unwrap_or_default();
    if !option.get_action().takes_values() {
        return format!("--{long}");
    }
    let default = option.get_default_values().first();
    let default = default.map(|value| value.to_string_lossy().into_owned());
    let possible = option.get_possible_values();
    let possible = || possible.first().map(|value| value.get_name().to_owned());
    format!("--{long} {}", default.or_else(possible).unwrap_or_else(|| "…".to_owned()))
}

/// Returns the same command without values from the environment.
fn without_variables(command: Command) -> Command {
    let command = command.mut_args(|option| option.env(None::<&str>));
    command.mut_subcommands(without_variables)
}

/// Returns the names of all variables that are options of a command or its subcommands.
fn names(command: &Command) -> Vec<String> {
    let own = command.get_arguments().filter_map(Arg::get_env).map(OsStr::to_owned);
    let own = own.map(OsString::into_string).filter_map(Result::ok);
    own.chain(command.get_subcommands().flat_map(names)).collect()
}

/// Reports whether a name looks like one of framewise, in any case and with any separator.
fn is_ours(name: &str) -> bool {
    name.to_ascii_uppercase().replace(['-', '.'], "_").starts_with(PREFIX)
}

/// Returns the known name that is the most similar.
fn nearest<'n>(name: &str, known: &'n [String]) -> &'n str {
    // The prefix is no difference: who writes FRAMEWISE_PORT means PORT.
    let bare = |name: &str| {
        let name = name.to_ascii_uppercase().replace(['-', '.'], "_");
        name.strip_prefix(PREFIX).map(str::to_owned).unwrap_or(name)
    };
    let name = bare(name);
    let distance = |known: &&String| strsim::damerau_levenshtein(&name, &bare(known));
    known.iter().min_by_key(distance).map_or("", String::as_str)
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn a_name_with_an_error_is_near_the_right_one() {
        let known = names(&crate::Cli::command());
        for (wrong, right) in [
            ("FRAMEWISE_TOKN", "FRAMEWISE_TOKEN"),
            ("FRAMEWISE_TOEKN", "FRAMEWISE_TOKEN"),
            ("framewise_token", "FRAMEWISE_TOKEN"),
            ("FRAMEWISE-RATE", "FRAMEWISE_RATE"),
            ("FRAMEWISE_PORT", "PORT"),
            ("FRAMEWISE_HOST", "HOST"),
            ("FRAMEWISE_MAX_CONECTION", "FRAMEWISE_MAX_CONNECTIONS"),
            ("FRAMEWISE_LANGUAGE", "FRAMEWISE_LANG"),
        ] {
            assert!(is_ours(wrong) && !known.contains(&wrong.to_owned()), "{wrong}");
            assert_eq!(nearest(wrong, &known), right, "{wrong}");
        }
        assert!(!is_ours("FRAMEWORK_PORT") && !is_ours("TOKEN"));
    }
}
