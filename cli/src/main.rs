//! `framewise`: a classroom server, a terminal client and tools for lessons, on the library's public API.

#![forbid(unsafe_code)]

mod clock;
mod connect;
mod help;
mod load;
mod reach;
mod relay;
mod serve;
mod settings_page;
mod texts;

use std::ffi::OsStr;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};
use clap_complete::Shell;
use framewise::lang::Lang;

/// WebSocket for the classroom: serve, connect, and look at every byte
#[derive(Parser, Debug)]
#[command(name = "framewise", version, arg_required_else_help = true)]
struct Cli {
    /// Language: en or pt [default: from LC_ALL, LC_MESSAGES or LANG]
    #[arg(long, global = true, env = "FRAMEWISE_LANG", value_name = "LANG", value_parser = lang_parser())]
    lang: Option<Lang>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand, Debug)]
enum Command {
    Serve(Box<serve::Args>),
    Connect(connect::Args),
    Load(load::Args),
    Relay(relay::Args),
    /// Write the completions of a shell
    Completions {
        /// The shell
        shell: Shell,
    },
    /// Write the manual pages into a folder
    Man {
        /// The folder
        folder: PathBuf,
    },
    /// Print the settings of the server as a page
    #[command(hide = true)]
    Settings,
}

fn lang_parser() -> impl TypedValueParser<Value = Lang> {
    PossibleValuesParser::new(["en", "pt"]).map(|tag| Lang::from_tag(&tag).unwrap_or_default())
}

fn main() -> ExitCode {
    let file = read_env_file();
    let wanted = wanted_lang();
    let matches = command_in(wanted).try_get_matches();
    let cli = match matches.and_then(|matches| Cli::from_arg_matches(&matches)) {
        Ok(cli) => cli,
        Err(error) => return explain(&error, wanted),
    };
    let lang = cli.lang.unwrap_or(wanted);
    match cli.command {
        // The others have no settings in a file, which may be another program's.
        Command::Serve(_) if let Err(error) = file => {
            texts::complain(lang, env_fault(&error, lang));
            ExitCode::FAILURE
        }
        Command::Serve(args) => serve::run(*args, lang),
        Command::Connect(args) => connect::run(args, lang),
        Command::Load(args) => load::run(args, lang),
        Command::Relay(args) => relay::run(args, lang),
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut command_in(lang), "framewise", &mut script);
            let _ = io::stdout().write_all(&script);
            ExitCode::SUCCESS
        }
        Command::Settings => {
            // Whoever reads may have gone.
            let _ = write!(io::stdout(), "{}", settings_page::page());
            ExitCode::SUCCESS
        }
        Command::Man { folder } => match write_man_pages(command_in(lang), &folder) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                texts::complain(lang, format!("{}: {error}", folder.display()));
                ExitCode::FAILURE
            }
        },
    }
}

fn command_in(lang: Lang) -> clap::Command {
    let command = without_empty_variables(Cli::command());
    match lang {
        Lang::Pt => help::in_portuguese(command),
        Lang::En => command,
    }
}

fn write_man_pages(mut command: clap::Command, folder: &Path) -> io::Result<()> {
    command.build();
    // What explains the others has no page of its own.
    let command = command.mut_subcommand("help", |help| help.hide(true));
    std::fs::create_dir_all(folder)?;
    clap_mangen::generate_to(command, folder)
}

/// Settings from `.env` in this folder, if it is there. What the environment says already wins over the file.
fn read_env_file() -> dotenvy::Result<()> {
    dotenvy::from_path(".env").or_else(|error| if error.not_found() { Ok(()) } else { Err(error) })
}

/// Where `.env` makes no sense. The line itself may be a secret.
fn env_fault(error: &dotenvy::Error, lang: Lang) -> String {
    let dotenvy::Error::LineParse(rest, _) = error else {
        return texts::BAD_ENV_FILE.with(lang, &[error]);
    };
    // The line from where it makes no sense on.
    let text = std::fs::read_to_string(".env").unwrap_or_default();
    let line = text.lines().position(|line| line.trim_end().ends_with(rest.trim_end()));
    let line = line.map_or_else(|| "?".to_owned(), |before| (before + 1).to_string());
    texts::BAD_ENV.with(lang, &[&line])
}

/// Help and version, which end well, or a usage error.
fn explain(error: &clap::Error, lang: Lang) -> ExitCode {
    let text = help::error_in_portuguese(error).filter(|_| lang == Lang::Pt);
    match text {
        Some(text) => texts::complain(lang, text),
        // Whoever reads may have gone.
        None => drop(error.print()),
    }
    ExitCode::from(error.exit_code() as u8)
}

/// A variable that is set to nothing sets nothing.
fn without_empty_variables(command: clap::Command) -> clap::Command {
    let is_empty = |name: &OsStr| std::env::var_os(name).is_some_and(|value| value.is_empty());
    let command = command.mut_args(|option| match option.get_env() {
        Some(name) if is_empty(name) => option.env(None::<&str>),
        _ => option,
    });
    command.mut_subcommands(without_empty_variables)
}

/// The language of the help, which is shown before the options are understood.
fn wanted_lang() -> Lang {
    let arguments: Vec<String> =
        std::env::args_os().map(|argument| argument.to_string_lossy().into_owned()).collect();
    let pairs = arguments.iter().zip(arguments.iter().skip(1));
    let separate = pairs.filter(|(name, _)| *name == "--lang").map(|(_, value)| value.as_str());
    let joined = arguments.iter().filter_map(|argument| argument.strip_prefix("--lang="));
    let flag = separate.chain(joined).next().and_then(Lang::from_tag);
    let variable = || std::env::var("FRAMEWISE_LANG").ok().and_then(|value| Lang::from_tag(&value));
    flag.or_else(variable).unwrap_or_else(Lang::from_env)
}
