//! The texts of the command line and the classroom server that a person reads, English beside Portuguese.

use std::fmt::Display;
use std::io::{self, ErrorKind, Write};
use std::process::ExitCode;

use framewise::lang::{Bilingual, Lang};

/// A line on standard output. Whoever read it may have gone, which costs the line and nothing else.
pub fn say(line: impl Display) {
    let _ = writeln!(io::stdout(), "{line}");
}

/// A line on standard error that says what went wrong.
pub fn complain(lang: Lang, why: impl Display) {
    let _ = writeln!(io::stderr(), "{}", ERROR.with(lang, &[&why]));
}

/// Prints the result of a command. Returns `code`, or a failure if the result cannot be written.
pub fn print_result(lang: Lang, result: &[u8], code: ExitCode) -> ExitCode {
    let mut out = io::stdout().lock();
    match out.write_all(result).and_then(|()| out.flush()) {
        Err(error) if !is_gone(&error) => {
            complain(lang, format_args!("-: {error}"));
            ExitCode::FAILURE
        }
        _ => code,
    }
}

/// Reports whether standard output cannot be written because its reader has ended, as `head` does. That is no fault.
pub fn is_gone(error: &io::Error) -> bool {
    error.kind() == ErrorKind::BrokenPipe
}

/// A line on standard error that says what may be dangerous.
#[cfg(feature = "tls")]
pub fn warn(lang: Lang, why: impl Display) {
    let _ = writeln!(io::stderr(), "{}", WARNING.with(lang, &[&why]));
}

macro_rules! table {
    ($($name:ident: $en:literal, $pt:literal;)*) => {
        $(pub const $name: Bilingual = Bilingual::new($en, $pt);)*
        #[cfg(test)]
        const ALL: &[(&str, Bilingual)] = &[$((stringify!($name), $name)),*];
    };
}

#[rustfmt::skip]
mod all {
use super::Bilingual;
table! {
    // The first lines of the server.
    SERVING: "Classroom server on {}", "Servidor da turma em {}";
    SHARE: "Others on the network open {}", "Outras pessoas na rede abrem {}";
    SHARE_PUBLIC: "Others open {}", "Outras pessoas abrem {}";
    SHARE_VPN: "Others in the same VPN open {} ({})", "Outras pessoas na mesma VPN abrem {} ({})";
    SHARE_ALSO: "Also at {} ({})", "Também em {} ({})";
    SHARE_MORE: "Addresses that are not listed here: {}", "Endereços que não aparecem aqui: {}";
    NO_NETWORK: "No network was found: for now only this machine can connect, at {}",
                "Nenhuma rede foi encontrada: por enquanto só esta máquina consegue se conectar, em {}";
    OTHER_FAMILY: "No {} network was found, but an {} one: the server listens on it with --host {}",
                  "Nenhuma rede {} foi encontrada, mas há uma {}: o servidor escuta nela com --host {}";
    NO_INTERFACES: "The network interfaces cannot be listed, so the address may be missing or wrong: {}",
                   "Não foi possível listar as interfaces de rede, então o endereço pode faltar ou estar errado: {}";
    IN_VPN: "{}: VPN", "{}: VPN";
    IN_MOBILE: "{}: mobile data", "{}: dados móveis";
    IN_CONTAINERS: "{}: containers or virtual machines", "{}: contêineres ou máquinas virtuais";
    QR_HAS_TOKEN: "The QR code contains the token: show it only to the class. The addresses in text do not contain it.",
                  "O QR code contém o token: mostre-o só à turma. Os endereços em texto não o contêm.";
    QR_TOO_WIDE: "The terminal is too narrow for the QR code: it needs {} columns",
                 "O terminal é estreito demais para o QR code: são necessárias {} colunas";
    QR_TOO_LONG: "The URL with the token is too long for a QR code", "A URL com o token é longa demais para um QR code";
    TOKEN_HINT: "Clients need the token: the page asks for it, others add ?token=… to the address",
                "Os clientes precisam do token: a página o pede, os demais acrescentam ?token=… ao endereço";
    LESSONS_AT: "Lessons: {}", "Aulas: {}";
    WIRE_LOCAL: "The wire page is {}/wire, on this machine only; --teacher-token opens it elsewhere",
                "A página wire é {}/wire, só nesta máquina; --teacher-token a abre em outro lugar";
    WIRE_TOKEN: "The wire page is {}/wire; it asks for the teacher's token", "A página wire é {}/wire; ela pede o token do professor";
    STOP_HINT: "Ctrl+C stops it", "Ctrl+C encerra";
    STOPPING: "Stopping: everybody gets a Close 1001. Ctrl+C again stops at once.",
              "Encerrando: todos recebem um Close 1001. Ctrl+C de novo encerra na hora.";
    WELCOME: "Welcome to the WebSocket server", "Bem-vindo ao servidor WebSocket";

    // The log.
    LOG_CONNECTED: "connected", "conectou";
    LOG_UPGRADED: "WebSocket opened", "WebSocket aberto";
    LOG_OPENED: "opened", "abriu o WebSocket";
    LOG_JOINED: "joined", "entrou";
    LOG_HAS_MESSAGES: "--log-messages: this log has the text of all messages, private ones included", "--log-messages: este log contém o texto de todas as mensagens, inclusive as particulares";
    LOG_REFUSED: "refused", "recusado";
    LOG_GUESSES: "wrong tokens since the last such line; further ones are answered late", "tokens errados desde a última linha como esta; os próximos são respondidos com atraso";
    LOG_NOT_FOUND: "no such path", "caminho inexistente";
    LOG_SHORT_KEY: "opened with a Sec-WebSocket-Key of {} bytes instead of 16; --strict-key refuses it", "aberto com um Sec-WebSocket-Key de {} bytes em vez de 16; --strict-key o recusa";
    LOG_SLOWED: "over its budget (--rate, --rate-bytes): read more slowly", "acima do seu orçamento (--rate, --rate-bytes): lido mais devagar";
    LOG_ANSWERED: "answered over HTTP", "respondido por HTTP";
    LOG_MESSAGE: "message", "mensagem";
    LOG_BROKEN: "closed: a rule was broken", "fechado: uma regra foi quebrada";
    LOG_CLOSED: "closed", "fechado";
    LOG_DISCONNECTED: "disconnected", "desconectou";
    LOG_MEMORY: "memory limit of all connections together", "limite de memória de todas as conexões juntas";
    BINARY_MESSAGE: "[binary, {} bytes]", "[binário, {} bytes]";
    LOG_WIRE: "--wire: /wire shows the text of all messages, private ones included", "--wire: /wire mostra o texto de todas as mensagens, inclusive as particulares";
    LOG_WATCHES: "watches the class at /wire", "acompanha a turma em /wire";
    LOG_WATCHED: "no longer watches the class at /wire", "não acompanha mais a turma em /wire";
    LOG_RECORDS: "--record: the recording has the text of all messages, private ones included", "--record: a gravação contém o texto de todas as mensagens, inclusive as particulares";
    RECORD_LIMIT: "the recording has reached --record-limit and ends here; the class goes on",
                  "a gravação atingiu --record-limit e termina aqui; a aula continua";
    RECORD_FAILED: "the recording cannot be written any more and ends here; the class goes on",
                   "não é mais possível escrever a gravação, que termina aqui; a aula continua";
    RECORD_SLOW: "the recording ends here, because the disk is slower than the class, which goes on",
                 "a gravação termina aqui, porque o disco é mais lento que a turma; a aula continua";
    RECORD_UNFINISHED: "the last lines of the recording may be missing, because the disk is slow",
                       "podem faltar as últimas linhas da gravação, porque o disco está lento";
    LOG_PAUSED: "accepting is paused for a moment", "a aceitação de conexões está pausada por um momento";

    // The pages of the lessons.
    COPY: "Copy", "Copiar";
    COPIED: "Copied", "Copiado";
    NOT_COPIED: "Selected: press Ctrl+C", "Selecionado: aperte Ctrl+C";
    ALL_LESSONS: "All lessons", "Todas as aulas";
    BACK: "To the class", "Para a sala da turma";

    // Errors in events.
    INVALID_JSON: "this is not JSON: line {}, column {}", "isto não é JSON: linha {}, coluna {}";
    JSON_INCOMPLETE: "the JSON ends too early, at line {}, column {}", "o JSON termina antes da hora, na linha {}, coluna {}";
    JSON_TRAILING: "something follows the JSON at line {}, column {}; send each event in a message of its own",
                   "há algo depois do JSON, na linha {}, coluna {}; envie cada evento em uma mensagem própria";
    JSON_CONTROL: "a JSON string has no line breaks or other control characters as they are (line {}, column {}); write \\n for a line break",
                  "uma string JSON não contém quebras de linha nem outros caracteres de controle diretamente (linha {}, coluna {}); escreva \\n para quebrar a linha";
    JSON_SURROGATE: "an escape before line {}, column {} is only half of a character (a lone surrogate); write both halves, such as \\ud83d\\ude00",
                    "um escape antes da linha {}, coluna {} é só a metade de um caractere (um surrogate isolado); escreva as duas metades, como em \\ud83d\\ude00";
    JSON_NUMBER: "the number at line {}, column {} is too large: its absolute value can be at most about 1.8e308",
                 "o número na linha {}, coluna {} é grande demais: o valor absoluto máximo é de cerca de 1,8e308";
    JSON_DEPTH: "the JSON is nested too deeply at line {}, column {}: at most {} arrays and objects in one another",
                "o JSON tem níveis demais na linha {}, coluna {}: no máximo {} arrays e objetos um dentro do outro";
    INVALID_MESSAGE: "an event is a JSON object in a text frame, and its fields are strings",
                     "um evento é um objeto JSON em um frame de texto, e seus campos são strings";
    MISSING_MESSAGE: "say {\"message\": \"…\"}, or name a \"type\"", "diga {\"message\": \"…\"}, ou informe um \"type\"";
    UNKNOWN_TYPE: "there is no type '{}'; known are message, join, leave, who, history and ping",
                  "não existe o tipo '{}'; os conhecidos são message, join, leave, who, history e ping";
    INVALID_ID: "the id of an event is a string of 1 to {} characters", "o id de um evento é uma string de 1 a {} caracteres";
    TOO_MANY_ROOMS: "there are {} rooms with people in them, and there may be no more; join one of these",
                    "já há {} salas com gente, e não pode haver mais; entre em uma delas";
    HISTORY_GAP: "what was said after your last message is not kept any more; the oldest message that is kept has the number {}",
                 "o que foi dito depois da sua última mensagem não está mais guardado; a mensagem mais antiga guardada tem o número {}";
    NO_SUCH_PEER: "nobody here is called '{}'", "ninguém aqui se chama '{}'";
    NAME_TAKEN: "somebody else is called '{}'; '{}' is free", "outra pessoa já se chama '{}'; '{}' está livre";
    NAME_SIMILAR: "this name is too similar to '{}', which somebody else has; '{}' is free",
                  "este nome é parecido demais com '{}', que é de outra pessoa; '{}' está livre";
    NAME_LENGTH: "a name has 1 to {} characters", "um nome tem de 1 a {} caracteres";
    NAME_SPACE: "a name has no space before or after it, and no two spaces in a row",
                "um nome não tem espaço antes nem depois, nem dois espaços seguidos";
    NAME_INVISIBLE: "a name cannot contain the character {}, which is invisible or cannot be told from others",
                    "um nome não pode conter o caractere {}, que é invisível ou não se distingue de outros";
    NAME_BLANK: "a name needs at least one visible character", "um nome precisa de pelo menos um caractere visível";
    NAME_MARKS: "a name has at most {} accents (combining marks) in a row", "um nome tem no máximo {} acentos (sinais combinantes) seguidos";
    TOO_LONG: "the message has {} characters; {} are allowed", "a mensagem tem {} caracteres; o limite é {}";

    // Refusals over HTTP.
    LINE_RULE: "rule", "regra";
    LINE_SECTION: "section", "seção";
    LINE_FOUND: "found", "encontrado";
    LINE_FIX: "fix", "correção";
    HOST_RULE: "the Host of a request is a name or an address of this server",
               "o Host de uma requisição é um nome ou endereço deste servidor";
    HOST_FIX: "open the address that the server printed, or start it with --allow-host {}",
              "abra o endereço que o servidor mostrou, ou inicie-o com --allow-host {}";
    ORIGIN_RULE: "this server only accepts pages from certain origins", "este servidor só aceita páginas de certas origens";
    ORIGIN_FIX: "start the server with --allow-origin {}", "inicie o servidor com --allow-origin {}";
    PROXY_RULE: "Forwarded and X-Forwarded-For name the same client", "Forwarded e X-Forwarded-For indicam o mesmo cliente";
    PROXY_FIX: "configure the proxy to set only one of them", "configure o proxy para enviar só um deles";
    HTTP_1_0_RULE: "a WebSocket needs HTTP/1.1, and the proxy speaks HTTP/1.0", "um WebSocket exige HTTP/1.1, e o proxy fala HTTP/1.0";
    HTTP_1_0_FIX: "add proxy_http_version 1.1; to the configuration of nginx, and pass on Upgrade and Connection (docs/deploy.md)",
                  "acrescente proxy_http_version 1.1; à configuração do nginx, e repasse Upgrade e Connection (docs/deploy.pt-BR.md)";
    DROPPED_RULE: "a handshake has Upgrade: websocket and Connection: Upgrade, and a proxy in front of the server has dropped them",
                  "um handshake tem Upgrade: websocket e Connection: Upgrade, e um proxy na frente do servidor os descartou";
    DROPPED_FIX: "let the proxy pass them on (docs/deploy.md). nginx: proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection \"upgrade\"; Apache: upgrade=websocket at the end of ProxyPass",
                 "faça o proxy repassá-los (docs/deploy.pt-BR.md). nginx: proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection \"upgrade\"; Apache: upgrade=websocket no fim de ProxyPass";
    NOT_ARRIVED_RULE: "the WebSocket of this page has to arrive at the server, which has seen nothing of it",
                      "o WebSocket desta página precisa chegar ao servidor, que não viu nada dele";
    NOT_ARRIVED_FIX: "let WebSockets through: a proxy, firewall or virus scanner between this browser and the server keeps them",
                     "libere WebSockets: um proxy, firewall ou antivírus entre este navegador e o servidor os retém";
    ANSWER_LOST_RULE: "the server has accepted the WebSocket of this page, but its response has not arrived",
                      "o servidor aceitou o WebSocket desta página, mas a resposta não chegou";
    ANSWER_LOST_FIX: "let 101 Switching Protocols through: a proxy, firewall or virus scanner between this browser and the server keeps it",
                     "libere 101 Switching Protocols: um proxy, firewall ou antivírus entre este navegador e o servidor a retém";
    MANY_RULE: "the number of connections from one address is limited", "o número de conexões de um mesmo endereço é limitado";
    MANY_FIX: "close another connection, or start the server with a larger --max-per-ip", "feche outra conexão ou inicie o servidor com um --max-per-ip maior";
    TOKEN_RULE: "a token is asked for here", "aqui é preciso informar um token";
    TOKEN_NONE: "no token", "nenhum token";
    TOKEN_OTHER: "another token", "um token diferente";
    TOKEN_FIX: "add ?token=… to the address, or the header Authorization: Bearer …",
               "acrescente ?token=… ao endereço, ou o cabeçalho Authorization: Bearer …";
    GUESSES_RULE: "the number of wrong tokens from one address is limited", "o número de tokens errados vindos de um mesmo endereço é limitado";
    GUESSES_FIX: "wait a few seconds, then use the right token", "espere alguns segundos e use o token certo";
    VIEWERS_RULE: "the number of wire pages that are open at the same time is limited", "o número de páginas wire abertas ao mesmo tempo é limitado";
    VIEWERS_FIX: "close another one", "feche outra";
    LOCAL_RULE: "this page is for the machine that the server runs on", "esta página é só para a máquina do servidor";
    LOCAL_FIX: "open it there, or start the server with --teacher-token", "abra-a lá, ou inicie o servidor com --teacher-token";
    TEACHER_RULE: "the teacher's token is asked for here", "aqui é preciso informar o token do professor";
    TEACHER_FIX: "add ?token=… with the value of --teacher-token to the address, or the header Authorization: Bearer …",
                 "acrescente ?token=… ao endereço com o valor de --teacher-token, ou o cabeçalho Authorization: Bearer …";
    TOKEN_OF_CLASS: "the token of the class", "o token da turma";
    WIRE_NEEDS_ALL: "--wire can begin in the middle of a connection, where --deflate takeover cannot be decompressed: use --deflate on", "--wire pode começar no meio de uma conexão, onde --deflate takeover não pode ser descomprimido: use --deflate on";
    TOKENS_SAME: "--teacher-token is the same as --token, so the whole class could open what is the teacher's: choose another one",
                 "--teacher-token é igual a --token, e a turma inteira poderia abrir o que é do professor: escolha outro";
    OWN_PAGE_FIX: "open the address itself, and not from a page of another site", "abra o próprio endereço, e não a partir de uma página de outro site";
    FORWARDED: "{}, forwarded by a proxy", "{}, encaminhado por um proxy";
    PATH_RULE: "there is nothing at this path", "não há nada neste caminho";
    PATH_FIX: "WebSocket: /, /echo, /ws, /ws/events, /explain/ws; pages: /, /docs, /explain, /health, /metrics",
              "WebSocket: /, /echo, /ws, /ws/events, /explain/ws; páginas: /, /docs, /explain, /health, /metrics";
    LESSONS_OFF: "the lessons are shown if the server is started with --lessons", "as aulas aparecem se o servidor for iniciado com --lessons";
    LESSONS_ARE_AT: "all lessons are listed at /lessons", "todas as aulas estão listadas em /lessons";
    WIRE_FIX: "start the server with --wire", "inicie o servidor com --wire";
    PATH_MEANT: "did you mean {}?", "você quis dizer {}?";
    ROOM_RULE: "a room has a name of 1 to 64 characters, all of them visible, with no space around it and at most three accents in a row",
               "o nome de uma sala tem de 1 a 64 caracteres, todos visíveis, sem espaços em volta e com no máximo três acentos seguidos";
    CLIENT_RULE: "client is a random text of 16 to 64 letters, digits, hyphens and underscores",
                 "client é um texto aleatório de 16 a 64 letras, dígitos, hifens e sublinhados";
    CLIENT_FIX: "leave it out, or choose a new one, such as that of `openssl rand -hex 16`",
                "omita-o, ou escolha um novo, como o de `openssl rand -hex 16`";
    UPGRADE_RULE: "at this path there is a WebSocket and no page: Upgrade has to be websocket",
                  "neste caminho há um WebSocket e nenhuma página: Upgrade precisa ser websocket";
    UPGRADE_FIX: "connect with a WebSocket client to ws://, or open / in a browser",
                 "conecte-se a ws:// com um cliente WebSocket, ou abra / no navegador";
    ROOM_FIX: "connect to /ws?room=7a, for example", "conecte-se a /ws?room=7a, por exemplo";

    // The terminal client.
    CONNECTED_TO: "Connected to {}. /help shows the commands, /exit leaves.",
                  "Conectado a {}. /help mostra os comandos, /sair encerra.";
    CLOSED_WITH: "Closed: {} {}", "Fechado: {} {}";
    AGAIN_IN: "Connecting again in {} s", "Conectando de novo em {} s";
    NOT_SENT_LINES: "Lines not sent, because the connection is closed: {}", "Linhas não enviadas, porque a conexão está fechada: {}";
    NOT_SENT_REST: "Rest of the input not sent, because the connection is closed; lines: {} or more",
                   "Resto da entrada não enviado, porque a conexão está fechada; linhas: {} ou mais";
    NOT_SENT_FULL: "Not sent: {} MiB of lines wait to be sent already.", "Não enviado: {} MiB de linhas já esperam para ser enviados.";
    NOT_SENT_CUT: "Not sent: this terminal passes on at most {} bytes of a line, so the end of the line is missing.",
                  "Não enviado: este terminal entrega no máximo {} bytes de uma linha, por isso falta o fim dela.";
    NOT_SENT_UTF8: "Not sent: what was typed is not UTF-8 (RFC 6455 5.6).", "Não enviado: o que foi digitado não é UTF-8 (RFC 6455 5.6).";
    NO_PONG: "Nothing arrived for {} s after a ping: the connection is lost.", "Nada chegou durante {} s depois de um ping: a conexão está perdida.";
    HEAD_TOO_LONG: "the head of the server's answer has more than {} bytes; --max-head sets a higher limit",
                   "o cabeçalho da resposta do servidor tem mais de {} bytes; --max-head define um limite maior";
    COMMANDS: "/ping [text]   /pong [text]   /close [code [reason]]   /frag N text   /hex 81 05 …   /raw 81 05 …   /exit\n//text sends /text",
              "/ping [texto]   /pong [texto]   /close [código [motivo]]   /frag N texto   /hex 81 05 …   /raw 81 05 …   /sair\n//texto envia /texto";
    UNKNOWN_COMMAND: "there is no command /{}; /help shows them", "não existe o comando /{}; /help mostra todos";
    NOT_HEX: "hexadecimal digits come in pairs: 81 05", "os dígitos hexadecimais vêm em pares: 81 05";
    CONTROL_TOO_LONG: "a ping or pong has at most 125 bytes (RFC 6455 5.5)", "um ping ou pong tem no máximo 125 bytes (RFC 6455 5.5)";
    FRAG_USAGE: "/frag 3 text sends the text in 3 frames", "/frag 3 texto envia o texto em 3 frames";
    BAD_CLOSE: "this code may not be sent (RFC 6455 7.4), or the reason has more than 123 bytes",
               "este código não pode ser enviado (RFC 6455 7.4), ou o motivo tem mais de 123 bytes";
    NOT_TEXT: "this line is not UTF-8, which text has to be (RFC 6455 5.6); --binary sends any bytes",
              "esta linha não é UTF-8, como todo texto precisa ser (RFC 6455 5.6); --binary envia quaisquer bytes";
    LINE_TOO_LONG: "a line has more than {} bytes", "uma linha tem mais de {} bytes";
    NOT_SENDABLE: "'{}' cannot stand in a request", "'{}' não pode estar em uma requisição";
    NO_ANSWER: "No answer came in time.", "Nenhuma resposta chegou a tempo.";
    CLOSED_UNANSWERED: "The connection closed before an answer came.", "A conexão foi fechada antes de chegar uma resposta.";
    NOT_CONFIRMED: "The server has not confirmed that it read everything that was sent.",
                   "O servidor não confirmou que leu tudo o que foi enviado.";
    BAD_HEADER: "a header is written 'Name: value', not '{}'", "um cabeçalho se escreve 'Nome: valor', não '{}'";

    // The explanation of bytes.
    EXPLAIN_CLIENT: "From the client:", "Do cliente:";
    EXPLAIN_SERVER: "From the server:", "Do servidor:";
    EXPLAIN_BOTH: "A request and the response:", "Uma requisição e a resposta:";
    EXPLAIN_BOTH_CLIENT: "A request and the response, then from the client:", "Uma requisição e a resposta, depois do cliente:";
    EXPLAIN_BOTH_SERVER: "A request and the response, then from the server:", "Uma requisição e a resposta, depois do servidor:";
    EXPLAIN_NEITHER: "'{}' is neither a file nor hexadecimal digits", "'{}' não é um arquivo nem dígitos hexadecimais";
    EXPLAIN_EMPTY: "there is nothing to explain: the input is empty", "não há o que explicar: a entrada está vazia";
    EXPLAIN_SHORT_KEY: "   framewise serve accepts such a key, unless it is started with --strict-key.",
                       "   framewise serve aceita uma chave assim, a menos que seja iniciado com --strict-key.";
    EXPLAIN_TEXT: "note: this text is neither hexadecimal digits nor a request or response, so its characters are taken as raw bytes; write digits like 81 05 or 0x8105",
                  "nota: este texto não é dígitos hexadecimais nem uma requisição ou resposta, então os caracteres valem como bytes crus; escreva os dígitos como 81 05 ou 0x8105";
    EXPLAIN_ODD: "{} hexadecimal digits make no whole bytes; with --raw, the input is taken as it is",
                 "{} dígitos hexadecimais não formam bytes inteiros; com --raw, a entrada vale como está";
    EXPLAIN_NOT_HEX: "the input has something other than hexadecimal digits", "a entrada tem algo que não é dígito hexadecimal";
    EXPLAIN_TOO_LONG: "the input is longer than {} bytes", "a entrada tem mais de {} bytes";

    // The page that explains bytes.
    STEP_QUESTION: "this is no question of the page: {}", "isto não é uma pergunta da página: {}";
    STEP_TOO_LONG: "the input has {} bytes; at most {} are explained or sent", "a entrada tem {} bytes; no máximo {} são explicados ou enviados";
    STEP_BUSY: "the bytes before are still being sent: wait until that is over, at most 5 seconds",
               "os bytes anteriores ainda estão sendo enviados: espere até isso terminar, no máximo 5 segundos";
    STEP_FULL: "{} visitors are sending already: try again in a few seconds", "{} visitantes já estão enviando: tente de novo em alguns segundos";
    STEP_UNREACHABLE: "the server could not connect to itself: {}", "o servidor não conseguiu se conectar a si mesmo: {}";

    // Recordings.
    FILE_EXISTS: "{} exists already, and is not overwritten: name another file, or remove this one",
                 "{} já existe e não é sobrescrito: escolha outro arquivo ou remova este";
    NO_RECORDING: "{} is not a recording of framewise serve --record", "{} não é uma gravação de framewise serve --record";
    OTHER_RECORDING: "{} is a recording of version {}; this program reads version {}", "{} é uma gravação da versão {}; este programa lê a versão {}";
    BAD_RECORDING: "{}, line {}: {}", "{}, linha {}: {}";
    RECORDING_NOT_HEX: "hex has something other than pairs of hexadecimal digits", "hex contém algo que não é um par de dígitos hexadecimais";
    RECORDING_LENGTH: "length is not the number of bytes in hex", "length não é o número de bytes em hex";
    RECORDING_OPEN_TWICE: "a connection has a higher number than those before it", "uma conexão tem um número maior que as anteriores";
    RECORDING_NOT_OPEN: "the connection is not open", "a conexão não está aberta";
    RECORDING_LONG_LINE: "the line has more than {} bytes", "a linha tem mais de {} bytes";
    RECORDING_TOO_LARGE: "{} has more than {} MiB of bytes, which is too much here; --pcap takes any size, and jq selects connections",
                         "{} tem mais de {} MiB de bytes, o que é demais aqui; --pcap aceita qualquer tamanho, e o jq seleciona conexões";
    RECORDING_LIMITED: "note: the recording ends at its --record-limit", "nota: a gravação termina no seu --record-limit";
    RECORDING_SLOW: "note: the recording ends early, because the disk was slower than the class",
                    "nota: a gravação termina antes da hora, porque o disco era mais lento que a turma";
    RECORDING_BREAKS_OFF: "note: the recording breaks off, so its last lines may be missing",
                          "nota: a gravação é interrompida, então podem faltar as últimas linhas";

    // What a recording is converted to.
    EXPORT_TERMINAL: "a capture is not text: write it to a file with -o class.pcap, or into a pipe",
                     "uma captura não é texto: escreva-a em um arquivo com -o aula.pcap ou em um pipe";
    HAR_WITHOUT_REQUEST: "{} connections without a whole request are not in this archive", "{} conexões sem uma requisição completa não estão neste arquivo";
    HTML_TITLE: "Recording of {}", "Gravação de {}";
    HTML_LEGEND: "Blue: what a client sent, as the server read it. Brown: what the server wrote. A read is not a frame: the labels of a frame stand below the read that completes them. A red frame marks the bits that break a rule.",
                 "Azul: o que um cliente enviou, como o servidor o leu. Marrom: o que o servidor escreveu. Uma leitura não é um frame: os rótulos de um frame aparecem abaixo da leitura que os completa. Uma moldura vermelha marca os bits que violam uma regra.";
    HTML_CONNECTION: "Connection {}: {} to {}", "Conexão {}: {} para {}";
    HTML_OPENED: "TCP connection accepted", "conexão TCP aceita";
    HTML_READ: "client to server: a read of {} bytes", "cliente para servidor: uma leitura de {} bytes";
    HTML_WRITTEN: "server to client: a write of {} bytes", "servidor para cliente: uma escrita de {} bytes";
    HTML_CLOSED: "TCP connection closed", "conexão TCP fechada";
    HTML_CLOSED_WITH: "TCP connection closed; the WebSocket closed with {}", "conexão TCP fechada; o WebSocket fechou com {}";
    HTML_PAYLOAD: "payload data", "dados (payload)";
    HTML_KEY: "masking key, repeated", "masking key, repetida";
    HTML_CLEAR: "XOR: payload unmasked", "XOR: payload sem máscara";
    HTML_CLOSE_CODE: "close code {}", "código de fechamento {}";
    HTML_CLOSE: "close code {}, reason '{}'", "código de fechamento {}, motivo '{}'";
    HTML_DECOMPRESSED: "decompressed (RFC 7692): {}", "descomprimido (RFC 7692): {}";
    HTML_MORE: "{} more bytes are not shown", "mais {} bytes não são mostrados";

    // The replay of a recording.
    REPLAY_PATH: "the paths are those of the recording: write the URL without '{}'", "os caminhos são os da gravação: escreva a URL sem '{}'";
    REPLAY_NOT_YOURS: "{} is not this machine: replay only to a server of your own, with --yes-i-own-this-server",
                      "{} não é esta máquina: só reproduza em um servidor seu, com --yes-i-own-this-server";
    REPLAY_SAME: "No difference: {} connections, {} bytes sent, {} answers compared",
                 "Nenhuma diferença: {} conexões, {} bytes enviados, {} respostas comparadas";
    REPLAY_WENT_AWAY: "{} connections end in the recording with a Close 1001, because the server stopped; that is not compared",
                      "{} conexões terminam na gravação com um Close 1001, porque o servidor parou; isso não é comparado";
    REPLAY_LEFT_OUT: "{} connections of the page /explain are left out",
        "{} conexões da página /explain ficam de fora";
    REPLAY_DIFFERENCE: "Difference on connection {} (client {}), {} s after the start of the recording",
                       "Diferença na conexão {} (cliente {}), {} s depois do início da gravação";
    REPLAY_RECORDED: "recorded: {}", "gravado:  {}";
    REPLAY_RECEIVED: "received: {}", "recebido: {}";
    REPLAY_FROM: "they differ from byte {} on", "eles diferem a partir do byte {}";
    REPLAY_HEAD: "a response with status {}", "uma resposta com status {}";
    REPLAY_NO_FIELD: "no field {}", "nenhum campo {}";
    REPLAY_NOTHING: "nothing more", "nada mais";
    REPLAY_LONG: "{} with {} bytes", "{} com {} bytes";
    REPLAY_END: "the server closes the connection", "o servidor fecha a conexão";
    REPLAY_CLOSED: "nothing: the server has closed the connection", "nada: o servidor fechou a conexão";
    REPLAY_LATE: "nothing within {} s", "nada em {} s";
    REPLAY_NOT_READ: "the server has not read what was sent within {} s", "o servidor não leu em {} s o que foi enviado";
    REPLAY_STAYS_OPEN: "the server has not closed the connection within {} s", "o servidor não fechou a conexão em {} s";
    REPLAY_NEEDS_TOKEN: "note: of the token, this recording has only asterisks; --token fills it in",
                        "nota: do token, esta gravação só tem asteriscos; --token o preenche";

    // The load generator.
    NOT_YOURS: "{} is not this machine: load only a server of your own, with --yes-i-own-this-server",
               "{} não é esta máquina: só ponha carga em um servidor seu, com --yes-i-own-this-server";
    LOAD_COUNTS: "{} peers, {} s: {} messages sent, {} received, {} a second",
                 "{} clientes, {} s: {} mensagens enviadas, {} recebidas, {} por segundo";
    LOAD_SKIPPED: "{} messages not sent, because too many were under way", "{} mensagens não enviadas, porque já havia muitas a caminho";
    LOAD_UNANSWERED: "{} messages without an answer: has this path an echo (for /ws there is --broadcast), and does the server limit the rate (serve --rate)?",
                     "{} mensagens sem resposta: este caminho faz eco (para /ws há --broadcast), e o servidor limita a taxa (serve --rate)?";
    LOAD_NEEDS_RATE: "with --broadcast nothing is answered, so --rate has to be above 0",
                     "com --broadcast nada é respondido, então --rate precisa ser maior que 0";
    LOAD_TIMED_OUT: "the server did not answer the handshakes in time", "o servidor não respondeu aos handshakes a tempo";
    LOAD_CONNECT: "cannot connect: {}", "não foi possível conectar: {}";
    LOAD_LOST: "connection lost (1006)", "conexão perdida (1006)";
    LOAD_NO_CLOSE: "no answer to our Close", "nenhuma resposta ao nosso Close";
    LOAD_FAULT: "{} x {}", "{} x {}";

    // The relay.
    RELAYING: "Relaying {} to {}", "Retransmitindo {} para {}";
    RELAY_TO_SERVER: "{} -> server: {}", "{} -> servidor: {}";
    RELAY_TO_CLIENT: "server -> {}: {}", "servidor -> {}: {}";
    RELAY_SLICED: "{} bytes sliced into {} segments, {} ms apart", "{} bytes divididos em {} segmentos, a cada {} ms";
    RELAY_DELAYED: "{} bytes held back for {} ms", "{} bytes retidos por {} ms";
    RELAY_END_DELAYED: "end of the stream held back for {} ms", "fim do fluxo retido por {} ms";
    RELAY_SLOWED: "{} bytes slowed to {} bytes per second", "{} bytes desacelerados para {} bytes por segundo";
    RELAY_FLIPPED: "lowest bit of byte {} flipped: {} became {}", "bit mais baixo do byte {} invertido: {} virou {}";
    RELAY_PONG: "pong with {} bytes of payload dropped", "pong com {} bytes de payload descartado";
    RELAY_NO_FRAME: "these bytes are not a frame: from here on pongs are not recognised and pass",
                    "estes bytes não são um frame: daqui em diante os pongs não são reconhecidos e passam";
    RELAY_ENDED: "stream ended after {} bytes, the rest is discarded", "fluxo encerrado depois de {} bytes, o resto é descartado";
    RELAY_RESET: "both connections reset after {} bytes", "as duas conexões derrubadas (RST) depois de {} bytes";
    RELAY_FAILED: "{}; the connection from {} is closed", "{}; a conexão de {} foi fechada";
    RELAY_FULL: "{} connections, the most that the relay carries: the next one waits until one closes",
                "{} conexões, o máximo que o relay atende: a próxima espera até que uma feche";
    RELAY_DROPPED_LINES: "[{} lines not shown: the terminal was slower than the relay]",
                         "[{} linhas não mostradas: o terminal foi mais lento que o relay]";

    // `.env`, and other variables.
    BAD_ENV: "in .env line {}: {}", "em .env, linha {}: {}";
    BAD_ENV_VALUE: "in .env line {}, {}: {}", "em .env, linha {}, {}: {}";
    BAD_ENV_FILE: ".env: {}", ".env: {}";
    LARGE_ENV_FILE: ".env: the file has more than {} bytes", ".env: o arquivo tem mais de {} bytes";
    ENV_NOT_A_PAIR: "this is not NAME=value", "isto não é NOME=valor";
    ENV_BLANK: "a value with spaces needs quotes around it: NAME='a value'",
               "um valor com espaços precisa de aspas em volta: NOME='um valor'";
    ENV_QUOTE: "quotes belong around the whole value: NAME='value'; if they are part of it, use the other kind of quotes",
               "as aspas ficam em volta do valor inteiro: NOME='valor'; se fazem parte dele, use o outro tipo de aspas";
    ENV_UNCLOSED: "the closing quote is missing in this line", "falta fechar as aspas nesta linha";
    ENV_AFTER_QUOTE: "after the closing quote there can only be a comment, with a space before its #",
                     "depois de fechar as aspas só pode haver um comentário, com um espaço antes do #";
    ENV_ESCAPE: "in double quotes, \\ comes before \\, \", $, n, r or t; in single quotes it is an ordinary character",
                "entre aspas duplas, \\ vem antes de \\, \", $, n, r ou t; entre aspas simples é um caractere comum";
    ENV_NOT_UTF8: "this is not UTF-8 text", "isto não é texto UTF-8";
    ENV_CONTROL: "this line contains a control character, such as NUL", "esta linha contém um caractere de controle, como NUL";
    UNKNOWN_IN_FILE: "in .env line {}: there is no setting {}; the nearest one is {}",
                     "em .env, linha {}: não existe a configuração {}; a mais parecida é {}";
    TWICE_IN_FILE: "in .env line {}: {} is already set in line {}", "em .env, linha {}: {} já aparece na linha {}";
    UNKNOWN_VARIABLE: "environment variable {}: there is no such setting; the nearest one is {}",
                      "variável de ambiente {}: não existe essa configuração; a mais parecida é {}";
    VARIABLE_NOT_UTF8: "the environment variable {} is not UTF-8 text", "a variável de ambiente {} não é texto UTF-8";
    FROM_FILE: "the value comes from .env, line {}: {}; to override it: {}",
               "o valor vem de .env, linha {}: {}; para usar outro: {}";
    FROM_ENVIRONMENT: "the value comes from the environment variable {}; to override it: {}",
                      "o valor vem da variável de ambiente {}; para usar outro: {}";
    FROM_SHARED: "the value comes from the environment variable {}, which other programs set too; to override it: {}",
                 "o valor vem da variável de ambiente {}, que outros programas também definem; para usar outro: {}";
    LOG_INJECTED: "ignored variables that Kubernetes or Docker has injected",
                  "variáveis injetadas por Kubernetes ou Docker foram ignoradas";

    // Errors of the command line.
    ERROR: "error: {}", "erro: {}";
    LOG_TLS_FAILED: "TLS failed", "o TLS falhou";
    FINGERPRINT: "Self-signed certificate, SHA-256: {}", "Certificado autoassinado, SHA-256: {}";
    ACCEPT_CHROME: "  Chrome, Edge: Advanced, then Proceed; \"Not secure\" in the address bar shows the certificate and its SHA-256",
                   "  Chrome, Edge: Avançado, depois Continuar; \"Não seguro\" na barra de endereços mostra o certificado e seu SHA-256";
    ACCEPT_FIREFOX: "  Firefox: Advanced, View Certificate to compare, then Accept the Risk and Continue",
                    "  Firefox: Avançado, Ver certificado para comparar, depois Aceitar o risco e continuar";
    ACCEPT_SAFARI: "  Safari: Show Details, view the certificate to compare, then visit this website",
                   "  Safari: Mostrar Detalhes, veja o certificado para comparar, depois visite o site";
    ACCEPT_CONNECT: "  framewise connect: --insecure", "  framewise connect: --insecure";
}

#[cfg(test)]
mod tests {
    use super::*;
    use framewise::lang::Lang;

    #[test]
    fn every_text_is_there_in_both_languages_with_as_many_places() {
        let texts = ALL.iter();
        #[cfg(feature = "tls")]
        let texts = texts.chain(crate::texts::tls::all());
        for (name, text) in texts {
            let [en, pt] = [Lang::En, Lang::Pt].map(|lang| text.get(lang));
            assert!(!en.is_empty() && !pt.is_empty(), "{name}");
            assert_eq!(en.matches("{}").count(), pt.matches("{}").count(), "{name}");
        }
    }
}
}

pub use all::*;

#[cfg(feature = "tls")]
#[rustfmt::skip]
mod tls {
use super::Bilingual;
table! {
    // The options of TLS, and the certificate of the server.
    WARNING: "warning: {}", "aviso: {}";
    INSECURE: "--insecure: the server's certificate is not checked, so somebody in between can read and change everything",
              "--insecure: o certificado do servidor não é verificado, então alguém no meio do caminho pode ler e alterar tudo";
    KEY_LOG: "--tls-key-log: whoever has the file {} can decrypt these connections", "--tls-key-log: quem tiver o arquivo {} consegue decifrar estas conexões";
    KEY_LOG_ALONE: "--tls-key-log is only useful with TLS: use --tls-cert and --tls-key, or --tls-self-signed",
                   "--tls-key-log só serve com TLS: use --tls-cert e --tls-key, ou --tls-self-signed";
    TLS_WANTS_KEY: "--tls-cert needs --tls-key, the private key of the certificate", "--tls-cert precisa de --tls-key, a chave privada do certificado";
    TLS_WANTS_CERT: "--tls-key needs --tls-cert, the certificate of the key", "--tls-key precisa de --tls-cert, o certificado da chave";
    TLS_TWO_CERTIFICATES: "--tls-self-signed makes a certificate of its own: leave --tls-cert and --tls-key out, or this option",
                          "--tls-self-signed faz um certificado próprio: omita --tls-cert e --tls-key, ou esta opção";
    LOG_TLS_REPLACED: "the TLS certificate was read again and is used for new connections", "o certificado TLS foi lido de novo e vale para as novas conexões";
    LOG_TLS_KEPT: "the TLS certificate cannot be used; the old one stays in use", "o certificado TLS não pode ser usado; o antigo continua em uso";
    NO_KEY_LOG: "--tls-key-log: set the environment variable SSLKEYLOGFILE to the name of the file", "--tls-key-log: defina a variável de ambiente SSLKEYLOGFILE com o nome do arquivo";
}

#[cfg(test)]
pub fn all() -> &'static [(&'static str, Bilingual)] { ALL }
}

#[cfg(feature = "tls")]
pub use tls::*;
