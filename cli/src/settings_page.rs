//! `docs/settings.md`, made from the options of `framewise serve`: a test compares the two.

use clap::{Arg, Command, CommandFactory};

use crate::Cli;
use crate::help::in_portuguese;

/// The page.
pub fn page() -> String {
    let serve = |command: Command| command.find_subcommand("serve").expect("a subcommand").clone();
    let (english, portuguese) = (serve(Cli::command()), serve(in_portuguese(Cli::command())));
    let mut page = "# Settings of `framewise serve`\n\n\
        A flag wins over the environment, the environment over a file `.env` in the folder, the file over the default.\n\n\
        *Uma flag vale mais que o ambiente, o ambiente mais que um arquivo `.env` na pasta, o arquivo mais que o padrão.*\n\n\
        | flag | environment | default | |\n|---|---|---|---|\n"
        .to_owned();
    let global = Cli::command().get_arguments().find(|option| option.get_id() == "lang").cloned();
    let global_pt = in_portuguese(Cli::command())
        .get_arguments()
        .find(|option| option.get_id() == "lang")
        .cloned();
    let options = english.get_arguments().zip(portuguese.get_arguments());
    for (en, pt) in options.chain(global.as_ref().zip(global_pt.as_ref())) {
        page += &row(en, pt);
    }
    page
}

fn row(en: &Arg, pt: &Arg) -> String {
    let flag = en.get_long().unwrap_or_default();
    let takes_value = en.get_action().takes_values();
    let value = en.get_value_names().filter(|_| takes_value).and_then(|names| names.first());
    let value = value.map(|name| format!(" {name}")).unwrap_or_default();
    let variable =
        en.get_env().map(|name| format!("`{}`", name.to_string_lossy())).unwrap_or_default();
    let defaults: Vec<_> = en.get_default_values().iter().filter(|_| takes_value).collect();
    let default =
        defaults.first().map(|value| format!("`{}`", value.to_string_lossy())).unwrap_or_default();
    let text = |option: &Arg| option.get_help().map(ToString::to_string).unwrap_or_default();
    format!("| `--{flag}{value}` | {variable} | {default} | {}<br>*{}* |\n", text(en), text(pt))
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_page_is_what_the_options_say() {
        let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/settings.md");
        let written = std::fs::read_to_string(file).unwrap_or_default();
        assert_eq!(
            written,
            super::page(),
            "write it again: cargo run -p framewise-cli -- settings > docs/settings.md"
        );
    }
}
