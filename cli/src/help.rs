//! Help and usage errors in Portuguese: clap holds the English ones, the help beside each option.

use std::borrow::Cow;
use std::error::Error;

use clap::error::{ContextKind, ErrorKind};
use clap::{Arg, Command};

use crate::connect::options;
use crate::replay;
use crate::serve::settings;

/// What a command does, and its options by their ids.
type Page = (&'static str, &'static str, &'static [(&'static str, &'static str)]);

#[rustfmt::skip]
const PAGES: &[Page] = &[
    ("framewise", "WebSocket para a sala de aula: sirva, conecte e veja cada byte", &[
        ("lang", "Idioma: en ou pt [padrão: de LC_ALL, LC_MESSAGES ou LANG]"),
        ("version", "Mostra a versão"),
        ("help", "Mostra esta ajuda"),
    ]),
    ("help", "Mostra esta ajuda, ou a de um comando", &[]),
    ("serve", "Inicia o servidor da turma", &[
        ("host", "Em que endereço escutar; 0.0.0.0 compartilha com a rede"),
        ("port", "Porta TCP, 0 para qualquer uma livre"),
        ("allow_origin", "Páginas que podem se conectar além das do próprio servidor: local, null, same-host (nenhuma), any (todas) ou uma origem como https://example.org (repetível) [padrão: local; com --token, any]"),
        ("allow_host", "Mais um nome pelo qual os clientes podem chamar este servidor, como chat.example.org (repetível)"),
        ("public_url", "O endereço em que os clientes encontram este servidor, como https://escola.example/turma, se há um proxy reverso na frente dele"),
        ("behind_proxy", "O endereço ou a rede de um proxy reverso, como 10.0.0.0/8, cujos campos Forwarded e X-Forwarded-* valem (repetível)"),
        ("token", "O que os clientes precisam saber, como ?token=… ou Authorization: Bearer …"),
        ("teacher_token", "O que abre /wire e /metrics, como ?token=… ou Authorization: Bearer …; sem ele, só esta máquina abre; --token nunca abre"),
        ("tls_cert", "Fala TLS (https:// e wss://) com os certificados de ARQUIVO (PEM, o do servidor primeiro); lido de novo com SIGUSR1 e quando muda"),
        ("tls_key", "A chave privada de --tls-cert (PEM)"),
        ("tls_self_signed", "Fala TLS com um certificado feito ao iniciar, para todos os nomes e endereços desta máquina; os navegadores avisam"),
        ("tls_key_log", "Escreve as chaves de todas as conexões TLS no arquivo que SSLKEYLOGFILE indica, para que o Wireshark consiga decifrá-las"),
        ("rate", "Mensagens por segundo de cada cliente, e o dobro de uma só vez; acima disso ele é lido mais devagar; 0 = sem limite"),
        ("rate_bytes", "Bytes de mensagens por segundo de cada cliente, e a maior mensagem de uma só vez; acima disso ele é lido mais devagar; 0 = sem limite"),
        ("max_connections", "Conexões ao mesmo tempo [padrão: quantas os descritores permitirem]"),
        ("max_per_ip", "Conexões ao mesmo tempo de um endereço IP, das quais um navegador precisa de até seis para a página [padrão: qualquer número]"),
        ("strict_key", "Recusa um Sec-WebSocket-Key que não tem 16 bytes; sem esta opção ele é aceito, com uma nota e um aviso"),
        ("lenient_key", "Sem efeito: é o padrão"),
        ("deflate", "Comprime mensagens (permessage-deflate) se o cliente oferecer: on para cada mensagem sozinha, takeover para lembrar das anteriores, com cerca de 420 KiB por cliente; sem esta opção os bytes continuam legíveis"),
        ("history", "Mensagens de cada sala guardadas na memória para quem chega depois ou volta; 0 não guarda nenhuma"),
        ("history_memory", "Memória máxima para as mensagens de todas as salas; acima disso a sala calada há mais tempo perde as suas"),
        ("log_messages", "Põe no log o texto de todas as mensagens, que são privadas; sem esta opção, só quem entra, sai ou é recusado"),
        ("lessons", "Mostra as aulas em /lessons; elas fazem parte do programa, então não é preciso internet"),
        ("wire", "Mostra os bytes de todas as conexões em /wire, para o professor projetar: com as mensagens, e sem tokens e cookies"),
        ("record", "Grava todos os bytes de todas as conexões neste arquivo, que não pode existir; tokens e cookies viram asteriscos, as mensagens não"),
        ("record_limit", "Maior gravação em bytes; acima disso ela termina, e a aula continua"),
        ("log", "Como o log é escrito"),
        ("log_level", "O que entra no log, no mínimo"),
        ("max_memory", "Memória máxima de todas as conexões juntas; acima disso a maior é fechada [padrão: um quarto da que o processo pode usar]"),
        ("max_message", "Maior mensagem em bytes; acima disso 1009"),
        ("max_fragments", "Máximo de fragmentos por mensagem; acima disso 1008"),
        ("max_control_rate", "Frames de controle por segundo de um cliente; acima disso ele é lido mais devagar"),
        ("max_fragment_rate", "Fragmentos por segundo de um cliente; acima disso ele é lido mais devagar"),
        ("max_output", "Máximo de saída à espera de um cliente; acima disso 1008"),
        ("max_request_line", "Maior linha de requisição; acima disso 414"),
        ("max_head", "Maior cabeçalho de requisição; acima disso 431"),
        ("max_headers", "Máximo de campos de cabeçalho; acima disso 431"),
        ("max_handshakes", "Máximo de conexões em handshake de abertura; acima disso uma antiga é fechada"),
        ("handshake_timeout", "Tempo para o handshake de abertura"),
        ("ping_interval", "De quanto em quanto tempo os clientes recebem um ping; 0 para nunca"),
        ("pong_timeout", "Tempo para o pong; acima disso 1008"),
        ("write_timeout", "Por quanto tempo um cliente pode deixar de ler o que o espera"),
        ("congestion_timeout", "Por quanto tempo mais da metade da saída pode ficar à espera de um cliente; acima disso 1008"),
        ("idle_timeout", "Por quanto tempo um cliente pode ficar calado; 0 = sem limite"),
        ("close_timeout", "Tempo para o handshake de fechamento"),
    ]),
    ("connect", "Conecta a um servidor WebSocket e conversa com ele", &[
        ("url", "A que se conectar: ws://host:porta/caminho, wss://… ou host:porta/caminho"),
        ("header", "Um cabeçalho da requisição, como 'Nome: valor' (repetível)"),
        ("subprotocol", "Um subprotocolo a oferecer (repetível)"),
        ("origin", "O Origin a enviar"),
        ("binary", "Envia as linhas como mensagens binárias"),
        ("hex", "As linhas são hexadecimais e vão como mensagens binárias, que também são mostradas assim"),
        ("execute", "Envia isto e não lê linhas (repetível)"),
        ("wait", "Espera tantos segundos por mais quando não há mais o que enviar"),
        ("one", "Fecha depois de uma resposta; sem ela o código de saída é 3"),
        ("ping", "Envia um ping a cada tantos segundos; se nada chegar durante --pong-timeout depois de um deles, a conexão está perdida (código de saída 3)"),
        ("pong_timeout", "Por quantos segundos pode não chegar nada depois de um ping de --ping"),
        ("no_pong", "Não responde aos pings, para ver o que o servidor faz"),
        ("close", "O código e o motivo do fechamento"),
        ("max_message", "A maior mensagem que é aceita, em bytes"),
        ("max_head", "O maior cabeçalho da resposta do servidor que é aceito, em bytes"),
        ("deflate", "Oferece a compressão de mensagens (permessage-deflate): on para cada mensagem sozinha, takeover para lembrar das anteriores"),
        ("trace", "Explica cada byte do handshake e dos frames"),
        ("ts", "Põe a hora na frente de cada linha"),
        ("rtt", "Diz quanto tempo cada resposta levou"),
        ("reconnect", "Reconecta quando a conexão se perde ou não pode ser aberta, depois de 1 s, 2 s e assim por diante até 30 s, e até um segundo a mais; não depois de um Close 1000"),
        ("json", "Mostra cada evento como uma linha de JSON"),
    ]),
    ("explain", "Explica cada bit de uma requisição, de uma resposta ou de frames", &[
        ("input", "Um arquivo com dígitos hexadecimais ou bytes, ou os próprios dígitos; - é a entrada padrão"),
        ("from", "Que lado enviou os bytes [padrão: conforme a requisição, a resposta ou o bit MASK]"),
        ("deflate", "Como as mensagens estão comprimidas (permessage-deflate), se a entrada não tem uma resposta que o diga: on para cada mensagem sozinha, takeover para lembrar das anteriores"),
        ("hex", "A entrada são dígitos hexadecimais"),
        ("raw", "A entrada são bytes, mesmo que pareça dígitos"),
    ]),
    ("export", "Converte uma gravação de framewise serve --record para o Wireshark, para as ferramentas de um navegador ou para uma página", &[
        ("recording", "A gravação; - é a entrada padrão"),
        ("pcap", "Escreve uma captura de pacotes com IP e TCP inventados, para o Wireshark e o tshark"),
        ("har", "Escreve um arquivo HTTP (HAR 1.2), para as ferramentas de desenvolvedor de um navegador"),
        ("html", "Escreve uma página que explica cada byte, sem nenhum acesso à rede"),
        ("output", "Escreve neste arquivo, que não pode existir, em vez da saída padrão"),
    ]),
    ("load", "Põe carga em um servidor seu e mostra como ele se sai", &[
        ("url", "O servidor: ws://host:porta/caminho, ou wss://…"),
        ("peers", "Conexões"),
        ("rate", "Mensagens por segundo de cada cliente; 0 para a próxima assim que a última for respondida"),
        ("broadcast", "Só conta o que volta, sem medir tempo: para /ws, onde uma mensagem vai a todos os outros"),
        ("size", "Bytes de cada mensagem"),
        ("deflate", "Oferece a compressão de mensagens (permessage-deflate): on para cada mensagem sozinha, takeover para lembrar das anteriores"),
        ("duration", "Por quanto tempo"),
        ("json", "Mostra o resultado como JSON"),
        ("yes_i_own_this_server", "Mesmo que o servidor não esteja nesta máquina"),
    ]),
    ("relay", "Inicia um proxy que injeta falhas entre os clientes e um servidor", &[
        ("listen", "Onde os clientes se conectam, como host:porta"),
        ("target", "O servidor, como host:porta; com wss://host:porta o relay fala TLS com ele, e as falhas atingem os bytes em claro"),
        ("from", "De quem são os bytes que as falhas atingem"),
        ("slice", "Envia segmentos de no máximo tantos bytes, com TCP_NODELAY e uma pausa entre eles"),
        ("pause", "A pausa entre os segmentos de --slice, em milissegundos, para que o receptor leia cada um separadamente; com uma rede lenta ou um receptor ocupado ela precisa ser maior"),
        ("latency", "Segura cada leitura por tantos milissegundos"),
        ("jitter", "Segura cada leitura por até tantos milissegundos a mais"),
        ("rate", "Passa adiante no máximo tantos bytes por segundo"),
        ("limit_data", "Encerra o fluxo depois de tantos bytes e descarta o resto"),
        ("drop_pong", "Descarta os pongs"),
        ("slow_close", "Passa o fim do fluxo adiante com tantos milissegundos de atraso"),
        ("flip_bit", "Inverte o bit mais baixo deste byte, contado a partir de 0"),
        ("reset_after", "Derruba as duas conexões (RST) depois de tantos bytes"),
        ("quiet", "Mostra só como se conectar, sem uma linha por falha"),
    ]),
    ("replay", "Envia uma gravação de novo a um servidor e mostra a primeira diferença no que ele responde", &[
        ("recording", "A gravação; - é a entrada padrão"),
        ("url", "O servidor, como ws://host:porta ou wss://host:porta; os caminhos são os da gravação"),
        ("speed", "Tantas vezes a velocidade da gravação"),
        ("fast", "Espera só pelas respostas, não pelos tempos da gravação"),
        ("token", "Põe este token onde a gravação tem asteriscos"),
        ("ignore", "Um campo de JSON que não é comparado, como timestamp (repetível)"),
        ("timeout", "Quanto uma resposta pode atrasar"),
        ("json", "Mostra o resultado como JSON"),
        ("yes_i_own_this_server", "Mesmo que o servidor não esteja nesta máquina"),
    ]),
    ("completions", "Escreve o arquivo de autocompletar de um shell", &[
        ("shell", "O shell"),
    ]),
    ("settings", "Mostra as configurações do servidor como uma página", &[]),
    ("man", "Escreve as páginas de manual em uma pasta", &[
        ("folder", "A pasta"),
    ]),
];

/// The options of every command that connects over TLS.
#[rustfmt::skip]
const TLS: &[(&str, &str)] = &[
    ("ca", "Para wss://: confia só nos certificados de ARQUIVO (PEM), por exemplo no de --tls-self-signed"),
    ("insecure", "Para wss://: aceita qualquer certificado, então alguém no meio do caminho pode ler e alterar tudo"),
    ("servername", "Para wss://: o nome que o certificado precisa ter, em vez do host da URL"),
    ("tls_key_log", "Para wss://: escreve as chaves da conexão no arquivo que SSLKEYLOGFILE indica, para que o Wireshark consiga decifrá-la"),
];

/// What stands for a value, where it is a word.
#[rustfmt::skip]
const VALUES: &[(&str, &str)] = &[
    ("SECONDS", "SEGUNDOS"), ("HEADER", "CABEÇALHO"), ("NAME", "NOME"), ("TEXT", "TEXTO"), ("LEVEL", "NÍVEL"),
    ("ORIGIN", "ORIGEM"), ("CODE[:REASON]", "CÓDIGO[:MOTIVO]"), ("LANG", "IDIOMA"), ("PORT", "PORTA"), ("FILE", "ARQUIVO"), ("FIELD", "CAMPO"), ("LISTEN", "ESCUTA"), ("TARGET", "ALVO"),
    ("FOLDER", "PASTA"), ("[CODE [REASON]]", "[CÓDIGO [MOTIVO]]"),
];

/// What an option of a command does.
pub fn portuguese(command: &str, option: &str) -> Option<&'static str> {
    let page = PAGES.iter().find(|page| page.0 == command);
    // The language may be chosen behind every command.
    let options = page.into_iter().chain(PAGES.first()).flat_map(|page| page.2);
    options.chain(TLS).copied().find(|(id, _)| *id == option).map(|(_, help)| help)
}

/// The same command with help in Portuguese.
pub fn in_portuguese(mut command: Command) -> Command {
    // Only now clap's own options are there too.
    command.build();
    translated(command)
}

fn translated(mut command: Command) -> Command {
    let name = command.get_name().to_owned();
    let usage = command.render_usage().to_string();
    let usage = usage.trim_start_matches("Usage: ").replace("[OPTIONS]", "[OPÇÕES]");
    let usage = usage.replace("[COMMAND]", "[COMANDO]").replace("<COMMAND>", "<COMANDO>");
    let after = command.get_after_help().map(ToString::to_string).unwrap_or_default();
    let after = after.replace("Example:", "Exemplo:").replace("Commands:", "Comandos:").replace("Exit code 1: the input is incomplete. Exit code 3: it breaks a rule of the standard.", "Código de saída 1: a entrada está incompleta. Código de saída 3: ela viola uma regra do padrão.");
    let after = after.replace("Exit code 0: no difference. Exit code 1: the recording could not be replayed. Exit code 3: a difference.", "Código de saída 0: nenhuma diferença. Código de saída 1: a gravação não pôde ser reproduzida. Código de saída 3: uma diferença.");
    let [usage, after] =
        [usage, after].map(|text| VALUES.iter().fold(text, |text, (en, pt)| text.replace(en, pt)));
    if let Some((_, about, _)) = PAGES.iter().find(|page| page.0 == name) {
        command = command.about(*about);
    }
    command
        .mut_args(|option| translated_option(option, &name))
        .help_template("{about-with-newline}\nUso: {usage}\n\n{all-args}{after-help}")
        .override_usage(usage)
        .subcommand_help_heading("Comandos")
        .after_help(after)
        .mut_subcommands(translated)
}

fn translated_option(option: Arg, command: &str) -> Arg {
    let Some(help) = portuguese(command, option.get_id().as_str()) else { return option };
    let mut help = help.to_owned();
    let heading = match (option.is_positional(), option.get_help_heading()) {
        (true, _) => "Argumentos",
        (false, None) => "Opções",
        (false, Some(_)) => "Limites",
    };
    if option.get_action().takes_values() {
        let defaults = option.get_default_values().iter().map(|value| value.to_string_lossy());
        let possible = option.get_possible_values();
        let possible = possible.iter().map(|value| value.get_name().into());
        help += &in_brackets("padrão", defaults.collect());
        help += &in_brackets("valores", possible.collect());
    }
    let name = option.get_value_names().and_then(|names| names.first()).map(|name| name.as_str());
    let name = VALUES.iter().find(|(en, _)| Some(*en) == name);
    let option = option.help(help).help_heading(heading);
    let option = option.hide_default_value(true).hide_possible_values(true);
    match name {
        Some((_, name)) => option.value_name(*name),
        None => option,
    }
}

fn in_brackets(word: &str, values: Vec<Cow<'_, str>>) -> String {
    if values.is_empty() { String::new() } else { format!(" [{word}: {}]", values.join(", ")) }
}

/// Why a value is refused, where the value alone does not say it.
#[rustfmt::skip]
const REASONS: &[(&str, &str)] = &[
    (options::NOT_A_NUMBER, "não é um número"),
    (options::NO_SUCH_TIME, "precisa ser maior que zero e no máximo um ano"),
    (options::NO_SUCH_CLOSE, "este código não pode ser enviado, ou o motivo é longo demais"),
    (replay::NO_SUCH_SPEED, "use um número maior que 0, no máximo 1000000"),
    (settings::NO_SUCH_HOST, "use um nome como chat.example.org, sem esquema, caminho e *"),
    (settings::NO_SUCH_URL, "use um endereço como https://escola.example/turma, sem ? e sem #"),
    (settings::NO_SUCH_NETWORK, "use um endereço IP ou uma rede como 10.0.0.0/8"),
    (settings::NO_SUCH_ORIGIN, "use local, null, same-host, any ou uma origem como https://example.org ou http://localhost:3000"),
    (settings::NO_SUCH_TOKEN, "use só caracteres ASCII, sem espaços em volta, e pelo menos um"),
];

/// How clap writes that there is no upper bound of ours.
const NO_MOST: &str = "18446744073709551615";

/// The reason in Portuguese, if it is known.
fn reason(error: &clap::Error) -> Option<String> {
    let reason = error.source()?.to_string();
    if let Some((_, range)) = reason.split_once(" is not in ") {
        let (least, most) = range.split_once("..=").or_else(|| range.split_once(".."))?;
        return Some(match (least, most) {
            ("", most) => format!("o máximo é {most}"),
            (least, most) if most.is_empty() || most == NO_MOST => format!("o mínimo é {least}"),
            (least, most) => format!("precisa estar entre {least} e {most}"),
        });
    }
    REASONS.iter().find(|(en, _)| *en == reason).map(|(_, pt)| (*pt).to_owned())
}

/// Returns a usage error in Portuguese, or `None` if it is no error or there is no translation.
pub fn error_in_portuguese(error: &clap::Error) -> Option<String> {
    let get = |kind| error.get(kind).map(ToString::to_string).unwrap_or_default();
    let option = get(ContextKind::InvalidArg);
    let what = match error.kind() {
        ErrorKind::UnknownArgument => format!("não existe a opção '{option}'"),
        ErrorKind::InvalidValue
            if get(ContextKind::InvalidValue).is_empty() && error.source().is_none() =>
        {
            format!("falta um valor para '{option}'")
        }
        ErrorKind::InvalidValue | ErrorKind::ValueValidation => {
            let why = reason(error).map(|why| format!(": {why}")).unwrap_or_default();
            format!("'{}' não serve como valor de '{option}'{why}", get(ContextKind::InvalidValue))
        }
        ErrorKind::InvalidSubcommand => {
            format!("não existe o comando '{}'", get(ContextKind::InvalidSubcommand))
        }
        ErrorKind::MissingSubcommand => "falta um comando".to_owned(),
        ErrorKind::MissingRequiredArgument => format!("falta: {option}"),
        ErrorKind::ArgumentConflict => {
            format!("'{option}' não combina com '{}'", get(ContextKind::PriorArg))
        }
        ErrorKind::InvalidUtf8 => "um valor não é texto UTF-8".to_owned(),
        ErrorKind::TooManyValues => {
            format!("'{}' é um valor a mais para '{option}'", get(ContextKind::InvalidValue))
        }
        _ => return None,
    };
    let tips = [
        ("talvez", get(ContextKind::SuggestedArg)),
        ("talvez", get(ContextKind::SuggestedSubcommand)),
        ("valores", get(ContextKind::ValidValue)),
    ];
    let tips = tips.iter().filter(|(_, tip)| !tip.is_empty());
    let tips: String = tips.map(|(word, tip)| format!("\n  {word}: {tip}")).collect();
    Some(format!("{what}{tips}\n\nPara ver as opções: --help"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[cfg(feature = "tls")]
    #[test]
    fn commands_that_connect_have_all_options_of_tls() {
        let framewise = crate::Cli::command();
        for name in ["connect", "load", "relay", "replay"] {
            let command = framewise.find_subcommand(name).expect("a command");
            for (id, _) in TLS {
                let mut options = command.get_arguments();
                assert!(options.any(|option| option.get_id() == id), "{name}: {id} is gone");
            }
        }
    }

    #[test]
    fn no_option_is_left_in_english() {
        let mut framewise = crate::Cli::command();
        framewise.build();
        let mut commands = vec![framewise];
        while let Some(command) = commands.pop() {
            let name = command.get_name();
            let page = PAGES.iter().find(|page| page.0 == name);
            let (_, _, options) = page.unwrap_or_else(|| panic!("{name} has no page"));
            for option in command.get_arguments() {
                assert!(portuguese(name, option.get_id().as_str()).is_some(), "{name} {option}");
            }
            for (id, _) in *options {
                assert!(
                    command.get_arguments().any(|option| option.get_id() == id),
                    "{id} is gone"
                );
            }
            // Below `help` stand the names of the others.
            if name != "help" {
                commands.extend(command.get_subcommands().cloned());
            }
        }
    }

    #[test]
    fn no_word_of_clap_is_left_in_english() {
        let mut commands = vec![in_portuguese(crate::Cli::command())];
        while let Some(mut command) = commands.pop() {
            let help = command.render_long_help().to_string();
            for word in [
                "Usage",
                "Options",
                "OPTIONS",
                "Commands",
                "Arguments",
                "Print",
                "default:",
                "values:",
                "Example",
            ] {
                assert!(!help.contains(word), "{word} in\n{help}");
            }
            commands.extend(command.get_subcommands().cloned());
        }
    }

    #[test]
    fn usage_errors_have_words_of_ours() {
        for (arguments, words) in [
            (&["serve", "--prt", "1"][..], "não existe a opção '--prt'\n  talvez: --port"),
            (&["serve", "--port", "x"], "'x' não serve como valor de '--port <PORTA>'"),
            (&["serve", "--token", ""], "use só caracteres ASCII"),
            (&["serve", "--port", "70000"], "precisa estar entre 0 e 65535"),
            (&["load", "x", "--peers", "0"], "precisa estar entre 1 e 20000"),
            (&["relay", "a", "b", "--slice", "0"], "o mínimo é 1"),
            (&["connect", "x", "--close", "1005"], "este código não pode ser enviado"),
            (&["connect", "x", "-w", "0"], "precisa ser maior que zero"),
            (&["serve", "--log", "xml"], "\n  valores: text, json"),
            (&["serve", "--port"], "falta um valor para '--port <PORTA>'"),
            (&["sirva"], "não existe o comando 'sirva'"),
            (&["connect"], "falta: <URL>"),
            (&["connect", "a", "b"], "não existe a opção 'b'"),
        ] {
            let arguments = ["framewise"].iter().chain(arguments);
            let error = in_portuguese(crate::Cli::command()).try_get_matches_from(arguments);
            let text = error_in_portuguese(&error.expect_err(words)).unwrap_or_default();
            assert!(text.contains(words), "{text}");
        }
    }
}
