//! `docs/settings.md`, made from the options of `framewise serve`: a test compares the two.

use clap::{Arg, CommandFactory};

use crate::Cli;
use crate::help;

/// The page.
pub fn page() -> String {
    let mut page = "# Settings of `framewise serve`\n\n\
        A flag wins over the environment, the environment over a file [`.env`](env-file.md) in the working directory, the \
        file over the default. An empty variable counts as if it were not set, but an empty token is an error.\n\n\
        *Uma flag vale mais que o ambiente, o ambiente mais que um arquivo [`.env`](env-file.pt-BR.md) na pasta, o arquivo \
        mais que o padrão. Uma variável vazia é como se não existisse, mas um token vazio é um erro.*\n\n\
        | flag | environment | default | |\n|---|---|---|---|\n"
        .to_owned();
    let framewise = Cli::command();
    let serve = framewise.find_subcommand("serve").expect("a subcommand");
    let language = framewise.get_arguments().filter(|option| option.get_id() == "lang");
    for option in serve.get_arguments().chain(language).filter(|option| !option.is_hide_set()) {
        page += &row(option);
    }
    page
}

fn row(option: &Arg) -> String {
    let flag = option.get_long().unwrap_or_default();
    let takes_value = option.get_action().takes_values();
    let value = option.get_value_names().filter(|_| takes_value).and_then(|names| names.first());
    let value = value.map(|name| format!(" {name}")).unwrap_or_default();
    let variable =
        option.get_env().map(|name| format!("`{}`", name.to_string_lossy())).unwrap_or_default();
    let defaults: Vec<_> = option.get_default_values().iter().filter(|_| takes_value).collect();
    let default =
        defaults.first().map(|value| format!("`{}`", value.to_string_lossy())).unwrap_or_default();
    let en = option.get_help().map(ToString::to_string).unwrap_or_default();
    let pt = help::portuguese("serve", option.get_id().as_str()).unwrap_or_default();
    format!("| `--{flag}{value}` | {variable} | {default} | {en}<br>*{pt}* |\n")
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
