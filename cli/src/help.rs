//! The help in Portuguese: clap holds the English one beside each option, this table the other.

use clap::Command;

/// What a command does, and its options by their ids.
type Page = (&'static str, &'static str, &'static [(&'static str, &'static str)]);

#[rustfmt::skip]
const PAGES: &[Page] = &[
    ("framewise", "WebSocket para a sala de aula: sirva, conecte e veja cada byte", &[
        ("lang", "Idioma: en ou pt [padrão: de LC_ALL, LC_MESSAGES ou LANG]"),
    ]),
    ("serve", "Inicia o servidor da turma", &[
        ("host", "Onde ouvir; 0.0.0.0 compartilha com a rede"),
        ("port", "Porta TCP, 0 para qualquer uma livre"),
        ("allow_origin", "Uma página de fora que pode conectar, como https://example.org; 'any' para todas (repetível)"),
        ("token", "O que os clientes precisam saber, como ?token=… ou Authorization: Bearer …"),
        ("rate", "Mensagens por segundo e cliente; 0 para qualquer número"),
        ("max_connections", "Conexões ao mesmo tempo [padrão: quantas os descritores permitirem]"),
        ("max_per_ip", "Conexões ao mesmo tempo de um endereço IP [padrão: qualquer número]"),
        ("lenient_key", "Aceita um Sec-WebSocket-Key que não tem 16 bytes, com uma nota"),
        ("log", "Como o log é escrito"),
        ("log_level", "O que entra no log, no mínimo: error, warn, info ou debug"),
        ("max_message", "Maior mensagem em bytes; acima disso 1009"),
        ("max_fragments", "Máximo de fragmentos por mensagem; acima disso 1008"),
        ("max_output", "Máximo de saída à espera de um cliente; acima disso 1008"),
        ("max_request_line", "Maior linha de requisição; acima disso 414"),
        ("max_head", "Maior cabeçalho de requisição; acima disso 431"),
        ("max_headers", "Máximo de campos de cabeçalho; acima disso 431"),
        ("max_handshakes", "Máximo de conexões em handshake de abertura; acima disso a aceitação pausa"),
        ("handshake_timeout", "Tempo para o handshake de abertura"),
        ("ping_interval", "De quanto em quanto tempo os clientes recebem um ping; 0 para nunca"),
        ("pong_timeout", "Tempo para o pong; acima disso 1008"),
        ("write_timeout", "Quanto tempo um cliente pode não receber nada do que o espera"),
        ("idle_timeout", "Quanto tempo um cliente pode ficar calado; 0 para sempre"),
        ("close_timeout", "Tempo para o handshake de fechamento"),
    ]),
    ("connect", "Conecta a um servidor WebSocket e conversa com ele", &[
        ("url", "Onde conectar: ws://host:porta/caminho, ou host:porta/caminho"),
        ("header", "Um cabeçalho da requisição, como 'Nome: valor' (repetível)"),
        ("subprotocol", "Um subprotocolo a oferecer (repetível)"),
        ("origin", "O Origin a enviar"),
        ("binary", "Envia as linhas como mensagens binárias"),
        ("hex", "As linhas são hexadecimais e vão como mensagens binárias, que também são mostradas assim"),
        ("execute", "Envia isto e não lê linhas (repetível)"),
        ("wait", "Espera tantos segundos por mais quando não há mais o que enviar"),
        ("one", "Fecha depois de uma resposta"),
        ("ping", "Envia um ping a cada tantos segundos"),
        ("no_pong", "Não responde aos pings, para ver o que o servidor faz"),
        ("close", "O código e o motivo do fechamento"),
        ("max_message", "A maior mensagem que é aceita, em bytes"),
        ("trace", "Explica cada byte do handshake e dos frames"),
        ("ts", "Põe a hora na frente de cada linha"),
        ("rtt", "Diz quanto tempo cada resposta levou"),
        ("reconnect", "Conecta de novo quando a conexão se perde"),
        ("json", "Mostra cada evento como uma linha de JSON"),
    ]),
    ("load", "Põe carga em um servidor seu e mostra como ele se sai", &[
        ("url", "O servidor: ws://host:porta/caminho"),
        ("peers", "Conexões"),
        ("rate", "Mensagens por segundo de cada cliente; 0 para a próxima assim que a última for respondida"),
        ("broadcast", "Só conta o que volta, sem medir tempo: para /ws, onde uma mensagem vai a todos os outros"),
        ("size", "Bytes de cada mensagem"),
        ("duration", "Por quanto tempo"),
        ("json", "Mostra o resultado como JSON"),
        ("yes_i_own_this_server", "Mesmo que o servidor não esteja nesta máquina"),
    ]),
    ("relay", "Fica entre um cliente e um servidor e estraga os bytes no caminho", &[
        ("listen", "Onde os clientes conectam, como host:porta"),
        ("target", "O servidor, como host:porta"),
        ("from", "Qual direção é estragada"),
        ("slice", "No máximo tantos bytes por segmento"),
        ("latency", "Segura cada segmento por tantos milissegundos"),
        ("jitter", "E por até tantos a mais"),
        ("rate", "No máximo tantos bytes por segundo"),
        ("limit_data", "Termina o fluxo depois de tantos bytes"),
        ("drop_pong", "Segura os pongs"),
        ("slow_close", "Passa o fim do fluxo adiante com tantos milissegundos de atraso"),
        ("flip_bit", "Inverte o bit mais baixo deste byte, contado a partir de 0"),
        ("reset_after", "Reseta as duas conexões depois de tantos bytes"),
    ]),
    ("completions", "Escreve o arquivo de autocompletar de um shell", &[
        ("shell", "O shell"),
    ]),
    ("settings", "Mostra as configurações do servidor como uma página", &[]),
    ("man", "Escreve as páginas de manual em uma pasta", &[
        ("folder", "A pasta"),
    ]),
];

/// The same command with help in Portuguese.
pub fn in_portuguese(command: Command) -> Command {
    let name = command.get_name().to_owned();
    let command = match PAGES.iter().find(|page| page.0 == name) {
        Some((_, about, options)) => command.about(*about).mut_args(|option| {
            let id = option.get_id().as_str();
            match options.iter().find(|(name, _)| *name == id) {
                Some((_, help)) => {
                    let option = option.help(*help);
                    if option.get_help_heading().is_some() {
                        option.help_heading("Limites")
                    } else {
                        option
                    }
                }
                None => option,
            }
        }),
        None => command,
    };
    command.mut_subcommands(in_portuguese)
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn no_option_is_left_in_english() {
        let mut commands = vec![crate::Cli::command()];
        while let Some(command) = commands.pop() {
            let page = PAGES.iter().find(|page| page.0 == command.get_name());
            let (_, _, options) =
                page.unwrap_or_else(|| panic!("{} has no page", command.get_name()));
            for option in command.get_arguments() {
                let id = option.get_id().as_str();
                assert!(options.iter().any(|(name, _)| *name == id), "{} {id}", command.get_name());
            }
            for (id, _) in *options {
                assert!(
                    command.get_arguments().any(|option| option.get_id() == id),
                    "{id} is gone"
                );
            }
            commands.extend(command.get_subcommands().cloned());
        }
    }
}
