//! `framewise`: a classroom server, a terminal client and tools for lessons, on the library's public API.

#![forbid(unsafe_code)]

mod clock;
mod compression;
mod connect;
mod env_file;
mod escape;
mod explain;
mod export;
mod help;
mod load;
mod reach;
mod recording;
mod relay;
mod replay;
mod serve;
mod settings_page;
mod texts;
mod tls;
mod variables;

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::error::ErrorKind;
use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};
use clap_complete::Shell;
use framewise::lang::Lang;

use crate::variables::Variables;

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
    Explain(explain::Args),
    Export(export::Args),
    Load(load::Args),
    Relay(relay::Args),
    Replay(replay::Args),
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

/// Lets a write beyond the file-size limit of the process (`ulimit -f`) fail, as one to a full disk does. SIGXFSZ comes with it, and
/// ends a process that does not handle it.
fn survive_file_limit() {
    #[cfg(unix)]
    {
        let is_over = std::sync::Arc::default();
        // Without a handler, the limit ends the process, as it did before.
        let _ = signal_hook::flag::register(signal_hook::consts::SIGXFSZ, is_over);
    }
}

fn main() -> ExitCode {
    survive_file_limit();
    let variables = Variables::read();
    let wanted = wanted_lang(&variables);
    let matches = variables.apply(command_in(wanted)).try_get_matches();
    let parsed = matches.and_then(|matches| Ok((Cli::from_arg_matches(&matches)?, matches)));
    let (cli, matches) = match parsed {
        Ok(parsed) => parsed,
        Err(error) => return usage_error(error, &variables, wanted),
    };
    let lang = cli.lang.unwrap_or(wanted);
    let injected = match check_variables(&cli.command, &variables, lang) {
        Ok(injected) => injected,
        Err(fault) => {
            texts::complain(lang, fault);
            return ExitCode::FAILURE;
        }
    };
    match cli.command {
        Command::Serve(mut args) => {
            args.injected = injected;
            let command = Cli::command();
            if let (Some(command), Some(matches)) =
                (command.find_subcommand("serve"), matches.subcommand_matches("serve"))
            {
                args.sources = variables.sources(command, matches);
            }
            serve::run(*args, lang)
        }
        Command::Connect(args) => connect::run(args, lang),
        Command::Explain(args) => explain::run(args, lang),
        Command::Export(args) => export::run(args, lang),
        Command::Load(args) => load::run(args, lang),
        Command::Relay(args) => relay::run(args, lang),
        Command::Replay(args) => replay::run(args, lang),
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut command_in(lang), "framewise", &mut script);
            texts::print_result(lang, &script, ExitCode::SUCCESS)
        }
        Command::Settings => texts::print_result(
            lang,
            settings_page::page().to_string().as_bytes(),
            ExitCode::SUCCESS,
        ),
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
    match lang {
        Lang::Pt => help::in_portuguese(Cli::command()),
        Lang::En => Cli::command(),
    }
}

fn write_man_pages(mut command: clap::Command, folder: &Path) -> io::Result<()> {
    command.build();
    // What explains the others has no page of its own.
    let command = command.mut_subcommand("help", |help| help.hide(true));
    std::fs::create_dir_all(folder)?;
    clap_mangen::generate_to(command, folder)
}

/// Checks the variables that a command reads: of the server also those in `.env`, which for the other commands may be the
/// file of another program. Returns the variables that Kubernetes or Docker has injected.
fn check_variables(
    command: &Command,
    variables: &Variables,
    lang: Lang,
) -> Result<Vec<String>, String> {
    let known = Cli::command();
    match command {
        Command::Serve(_) => variables.check_file(&known, lang)?,
        Command::Connect(_) | Command::Load(_) | Command::Relay(_) | Command::Replay(_) => {}
        Command::Explain(_)
        | Command::Export(_)
        | Command::Completions { .. }
        | Command::Man { .. }
        | Command::Settings => {
            return Ok(Vec::new());
        }
    }
    variables::check_environment(&known, lang)
}

/// Prints the help, the version, or a usage error.
fn usage_error(mut error: clap::Error, variables: &Variables, lang: Lang) -> ExitCode {
    let code = ExitCode::from(error.exit_code() as u8);
    if matches!(
        error.kind(),
        ErrorKind::DisplayHelp | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand
    ) {
        // The help shows the defaults of the program, and not those of a file.
        error = command_in(lang).try_get_matches().err().unwrap_or(error);
    }
    let source = variables.explain(&mut error, Cli::command(), lang);
    let text = help::error_in_portuguese(&error).filter(|_| lang == Lang::Pt);
    match text {
        Some(text) => texts::complain(lang, text),
        None => match error.print().and_then(|()| io::stdout().flush()) {
            Err(error) if !texts::is_gone(&error) => {
                texts::complain(lang, format_args!("-: {error}"));
                return ExitCode::FAILURE;
            }
            _ => {}
        },
    }
    if let Some(source) = source {
        let _ = writeln!(io::stderr(), "  {source}");
    }
    code
}

/// Returns the language of the help, which is shown before the options are parsed.
fn wanted_lang(variables: &Variables) -> Lang {
    let arguments: Vec<String> =
        std::env::args_os().map(|argument| argument.to_string_lossy().into_owned()).collect();
    let pairs = arguments.iter().zip(arguments.iter().skip(1));
    let separate = pairs.filter(|(name, _)| *name == "--lang").map(|(_, value)| value.as_str());
    let joined = arguments.iter().filter_map(|argument| argument.strip_prefix("--lang="));
    let flag = separate.chain(joined).next().and_then(Lang::from_tag);
    flag.or_else(|| variables.lang()).unwrap_or_else(Lang::from_env)
}
