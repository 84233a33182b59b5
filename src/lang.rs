//! The one table of texts that a person reads, English beside Portuguese.
//!
//! A `{}` is a place that [`Text::with`] fills, in order. Texts that travel in Close frames are not here:
//! they are ASCII and the same for everybody (`protocol/violation.rs`).

/// The languages that framewise speaks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Lang {
    /// English.
    #[default]
    En,
    /// Portuguese, as spoken in Brazil.
    Pt,
}

impl Lang {
    /// The tag that `Content-Language` and `--lang` use.
    pub fn tag(self) -> &'static str {
        match self {
            Lang::En => "en",
            Lang::Pt => "pt",
        }
    }

    /// The language of a tag such as `pt`, `pt-BR`, `pt_BR.UTF-8` or `en_US`; `None` for any other.
    pub fn from_tag(tag: &str) -> Option<Lang> {
        let primary = tag.trim().split(['-', '_', '.', '@']).next()?;
        match primary.to_ascii_lowercase().as_str() {
            "pt" => Some(Lang::Pt),
            "en" => Some(Lang::En),
            _ => None,
        }
    }

    /// The language of the environment: the first of `LC_ALL`, `LC_MESSAGES` and `LANG` that is not empty.
    pub fn from_env() -> Lang {
        ["LC_ALL", "LC_MESSAGES", "LANG"]
            .iter()
            .filter_map(|name| std::env::var(name).ok())
            .find(|value| !value.is_empty())
            .and_then(|value| Lang::from_tag(&value))
            .unwrap_or_default()
    }

    /// The language that an `Accept-Language` value likes best among ours (RFC 9110 12.5.4).
    ///
    /// A higher `q` wins, then the earlier entry; `None` when it names none of ours.
    pub fn from_accept_language(value: &str) -> Option<Lang> {
        let mut best: Option<(u16, Lang)> = None;
        for entry in value.split(',') {
            let mut parts = entry.split(';');
            let lang = parts.next().and_then(Lang::from_tag);
            let quality = parts.find_map(|part| part.trim().strip_prefix("q="));
            let quality = quality.map_or(Some(1000), thousandths).unwrap_or(0);
            if let Some(lang) = lang
                && quality > best.map_or(0, |(most, _)| most)
            {
                best = Some((quality, lang));
            }
        }
        best.map(|(_, lang)| lang)
    }
}

/// A quality value such as `0.8`, in thousandths.
fn thousandths(quality: &str) -> Option<u16> {
    let quality: f32 = quality.trim().parse().ok()?;
    (0.0..=1.0).contains(&quality).then_some((quality * 1000.0) as u16)
}

/// One text in both languages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Text {
    en: &'static str,
    pt: &'static str,
}

impl Text {
    /// A text of one's own. As many `{}` in one language as in the other.
    pub const fn new(en: &'static str, pt: &'static str) -> Text {
        Text { en, pt }
    }

    /// The text in one language.
    pub fn get(self, lang: Lang) -> &'static str {
        match lang {
            Lang::En => self.en,
            Lang::Pt => self.pt,
        }
    }

    /// The text with each `{}` replaced by the next value.
    pub fn with(self, lang: Lang, values: &[&dyn std::fmt::Display]) -> String {
        let mut values = values.iter();
        let mut pieces = self.get(lang).split("{}");
        let mut filled = pieces.next().unwrap_or_default().to_owned();
        for piece in pieces {
            if let Some(value) = values.next() {
                filled.push_str(&value.to_string());
            }
            filled.push_str(piece);
        }
        filled
    }
}

/// Declares the constants and the list that the test walks.
macro_rules! table {
    ($($(#[$doc:meta])* $name:ident: $en:literal, $pt:literal;)*) => {
        $($(#[$doc])* pub const $name: Text = Text { en: $en, pt: $pt };)*
        #[cfg(test)]
        const ALL: &[(&str, Text)] = &[$((stringify!($name), $name)),*];
    };
}

#[rustfmt::skip]
#[allow(missing_docs)] // Each text is its own documentation.
mod table {
use crate::lang::Text;
table! {
    // The console of the example servers.
    LISTENING: "WebSocket listening on {}", "WebSocket ouvindo em {}";
    WAITING: "Waiting for messages... (Ctrl+C to stop)", "Aguardando mensagens... (Ctrl+C para encerrar)";
    CONNECTION_FROM: "Connection from ('{}', {})", "Conexão de ('{}', {})";
    HANDSHAKE_DONE: "WebSocket handshake complete!", "Handshake WebSocket concluído!";
    HANDSHAKE_REFUSED: "Handshake refused: {}", "Handshake recusado: {}";
    RECEIVED: "Message received: {}", "Mensagem recebida: {}";
    SENT: "Reply sent: {}", "Resposta enviada: {}";
    BINARY_MESSAGE: "[binary, {} bytes]", "[binário, {} bytes]";
    CLOSED_BY_CLIENT: "Connection closed by the client", "Conexão fechada pelo cliente";
    CONNECTION_FAILED: "Connection failed: {} (close code {})", "A conexão falhou: {} (código de fechamento {})";
    CONNECTION_LOST: "Connection lost without a closing handshake (1006)", "Conexão perdida sem handshake de fechamento (1006)";
    CLOSED_BY_SERVER: "Connection closed by the server", "Conexão fechada pelo servidor";
    ACCEPT_PAUSED: "Accepting connections rests for a moment: {}", "A aceitação de conexões descansa por um momento: {}";
    RESPONDED: "Answered over HTTP: {}", "Respondido por HTTP: {}";
    CONNECTION_ENDED: "Connection ended", "Conexão encerrada";
    BROADCAST_STARTED: "WebSocket server started on ws://{}", "Servidor WebSocket iniciado em ws://{}";
    OTHERS_CAN_CONNECT: "Others on the network can connect to ws://{}", "Outras pessoas na rede podem se conectar a ws://{}";
    LENIENT_KEY: "Warning: Sec-WebSocket-Key decodes to {} bytes; RFC 6455 section 4.2.1 asks for 16",
                 "Aviso: o Sec-WebSocket-Key decodificado tem {} bytes; a RFC 6455, seção 4.2.1, pede 16";
    LINES_DROPPED: "[{} lines not shown: the console was slower than the server]",
                   "[{} linhas não mostradas: o console foi mais lento que o servidor]";
    NO_IPV6: "Warning: this machine has no ::1 (IPv6); listening on IPv4 only", "Aviso: esta máquina não tem ::1 (IPv6); ouvindo somente em IPv4";

    // What stops a program at its start.
    PORT_IN_USE: "address {} is already in use: stop the other program or choose another --port",
                 "o endereço {} já está em uso: encerre o outro programa ou escolha outra --port";
    BAD_HOST: "host '{}' is not an address of this machine", "o host '{}' não é um endereço desta máquina";
    CANNOT_LISTEN: "cannot listen on {}: {}", "não foi possível ouvir em {}: {}";
    BAD_SETTING: "setting '{}': {}", "configuração '{}': {}";
    BAD_VALUE: "value '{}' for {}: {}", "valor '{}' para {}: {}";
    MISSING_VALUE: "{} needs a value", "{} precisa de um valor";
    UNKNOWN_OPTION: "unknown option '{}' (--help lists them)", "opção desconhecida '{}' (veja --help)";
    ERROR: "error: {}", "erro: {}";
    WANTED_NUMBER: "a whole number is wanted", "é preciso um número inteiro";
    WANTED_PORT: "a port is a number from 0 to 65535", "uma porta é um número de 0 a 65535";
    WANTED_LANG: "the languages are en and pt", "os idiomas são en e pt";
    WANTED_NOT_EMPTY: "it must not be empty", "não pode ser vazio";
    WANTED_AT_LEAST: "at least {} is needed", "o mínimo é {}";
    WANTED_AT_MOST: "at most {} is possible", "o máximo é {}";
    WANTED_LONGER_THAN_ZERO: "it must be longer than zero", "deve ser maior que zero";
    WANTED_TOKEN: "'{}' is not a token (RFC 6455 4.1)", "'{}' não é um token (RFC 6455 4.1)";
    WANTED_ONCE: "'{}' is named twice", "'{}' aparece duas vezes";
    WANTED_ORIGIN: "'{}' is not an origin such as https://example.org", "'{}' não é uma origem como https://exemplo.org";

    // The example clients.
    CLIENT_TITLE: "WebSocket Client - Testing the Connection", "Cliente WebSocket - Testando Conexão";
    CLIENT_CONNECTING: "Connecting to the server {}...", "Conectando ao servidor {}...";
    CLIENT_CONNECTED: "✓ WebSocket connection established!", "✓ Conexão WebSocket estabelecida!";
    CLIENT_HANDSHAKE_DONE: "✓ WebSocket handshake completed successfully!", "✓ Handshake WebSocket concluído com sucesso!";
    CLIENT_HELLO: "Hello, server!", "Olá, servidor!";
    CLIENT_SECOND: "This is a test message", "Esta é uma mensagem de teste";
    CLIENT_THIRD: "WebSocket works!", "WebSocket funcionando!";
    CLIENT_SENDING: "{}. Sending message: {}", "{}. Enviando mensagem: {}";
    CLIENT_REPLY: "Reply received: {}", "Resposta recebida: {}";
    CLIENT_DONE: "Test completed successfully!", "Teste concluído com sucesso!";
    CLIENT_CLOSED: "Connection closed.", "Conexão fechada.";
    CLIENT_LOST: "the server closed the connection: {} {}", "o servidor fechou a conexão: {} {}";
    CHAT_CONNECTED: "Connected to the WebSocket server!", "Conectado ao servidor WebSocket!";
    START_A_SERVER: "Start a server first, in another terminal: cargo run --example echo",
                    "Inicie antes um servidor, em outro terminal: cargo run --example echo";

    // The bits of a frame.
    DISSECT_KEY: "masking key, repeated", "masking key, repetida";
    DISSECT_CLEAR: "XOR: payload unmasked", "XOR: payload sem máscara";
    DISSECT_FINE: "=> fine", "=> correto";
    DISSECT_BROKEN: "=> broken: {} (close code {})", "=> violação: {} (código de fechamento {})";
    DISSECT_NOT_READ: "not read: {}", "não lido: {}";
    DISSECT_BAD_HEADER: "header, up to the byte at fault: {}", "cabeçalho, até o byte com erro: {}";
    DISSECT_MISSING: "incomplete: payload data is missing", "incompleto: faltam dados (payload)";
    DISSECT_INCOMPLETE: "incomplete, more bytes are needed: {}", "incompleto, faltam bytes: {}";
    WANTED_HEX: "pairs of hexadecimal digits are wanted, for example: 81 05 48 65 6c 6c 6f", "são necessários pares de dígitos hexadecimais, por exemplo: 81 05 48 65 6c 6c 6f";
    WANTED_END: "the ends are client and server", "os lados são client e server";

    // What keeps a client from connecting.
    CANNOT_CONNECT: "cannot connect to {}: {}", "não foi possível conectar a {}: {}";
    NO_ANSWER_IN_TIME: "the server did not answer in time", "o servidor não respondeu a tempo";
    NO_ANSWER: "the server ended the connection without an answer", "o servidor encerrou a conexão sem responder";
    NO_TLS: "wss:// needs TLS, which this client does not speak: use ws://", "wss:// exige TLS, que este cliente não fala: use ws://";
    NO_RANDOMNESS: "the system has no randomness to give", "o sistema não tem aleatoriedade para oferecer";

    URL_SCHEME: "a WebSocket address begins with ws:// or wss:// (RFC 6455 3)", "um endereço WebSocket começa com ws:// ou wss:// (RFC 6455 3)";
    URL_AUTHORITY: "the host or port of the address is impossible (RFC 6455 3)", "o host ou a porta do endereço é impossível (RFC 6455 3)";
    URL_FRAGMENT: "a WebSocket address has no #fragment (RFC 6455 3)", "um endereço WebSocket não tem #fragmento (RFC 6455 3)";
    URL_RESOURCE: "the path or query has a space or control character", "o caminho ou a query tem um espaço ou caractere de controle";
    ANSWER_REJECTED: "the answer does not open a WebSocket (RFC 6455 4.1): {}", "a resposta não abre um WebSocket (RFC 6455 4.1): {}";
    ANSWER_STATUS_LINE: "the status line is not one of HTTP/1.1", "a linha de status não é de HTTP/1.1";
    ANSWER_STATUS: "its status is {}, not 101", "o status é {}, e não 101";
    ANSWER_UPGRADE: "Upgrade is not websocket", "Upgrade não é websocket";
    ANSWER_CONNECTION: "Connection does not contain Upgrade", "Connection não contém Upgrade";
    ANSWER_ACCEPT: "Sec-WebSocket-Accept does not answer the key", "Sec-WebSocket-Accept não corresponde à chave";
    ANSWER_EXTENSION: "the server chose an extension that was not asked for", "o servidor escolheu uma extensão que não foi pedida";
    ANSWER_SUBPROTOCOL: "the server chose a subprotocol that was not offered", "o servidor escolheu um subprotocolo que não foi oferecido";

    // The trace.
    TRACE_LEGEND: "Trace: < from the client, > to the client, = computed here", "Rastro: < vindo do cliente, > enviado ao cliente, = calculado aqui";
    TRACE_READ: "{} bytes read", "{} bytes lidos";
    TRACE_WRITTEN: "{} bytes written", "{} bytes escritos";
    TRACE_KEY: "key + GUID: {}", "chave + GUID: {}";
    TRACE_PAYLOAD: "payload data", "dados (payload)";
    TRACE_UNMASKED: "payload data, unmasked: {}", "dados (payload) sem a máscara: {}";
    TRACE_MORE: "... {} bytes in all", "... {} bytes ao todo";
    TRACE_NOT_READ: "not read from here on: {}", "não lido daqui em diante: {}";

    // Labels of the body of a refused handshake.
    LABEL_RULE: "rule", "regra";
    LABEL_SECTION: "section", "seção";
    LABEL_FOUND: "found", "encontrado";
    LABEL_FIX: "fix", "correção";
    FOUND_NOTHING: "nothing", "nada";
    FOUND_BYTES: "{} bytes, the limit is {}", "{} bytes; o limite é {}";
    FOUND_HEADERS: "more than {} header fields", "mais de {} campos de cabeçalho";
    FOUND_KEY_BYTES: "a key of {} bytes", "uma chave de {} bytes";
    FOUND_TIMES: "{} of them", "{} deles";

    // One rule and one fix for each way to refuse a handshake (protocol/refusal.rs).
    REQUEST_LINE_TOO_LONG_RULE: "the request line has a limit", "a linha de requisição tem um limite";
    REQUEST_LINE_TOO_LONG_FIX: "shorten the path or the query", "encurte o caminho ou a query";
    HEAD_TOO_LARGE_RULE: "the request head has a limit", "o cabeçalho da requisição tem um limite";
    HEAD_TOO_LARGE_FIX: "send fewer or shorter header fields (cookies are often the cause)", "envie menos campos, ou campos mais curtos (cookies costumam ser a causa)";
    TOO_MANY_HEADERS_RULE: "the number of header fields has a limit", "o número de campos de cabeçalho tem um limite";
    TOO_MANY_HEADERS_FIX: "send fewer header fields", "envie menos campos de cabeçalho";
    BARE_LF_RULE: "each line of the head ends with CR LF", "cada linha do cabeçalho termina com CR LF";
    BARE_LF_FIX: "end lines with \\r\\n, not with \\n alone", "termine as linhas com \\r\\n, não só com \\n";
    BARE_CR_RULE: "a CR stands only before a LF", "um CR só pode vir antes de um LF";
    BARE_CR_FIX: "remove the lone CR", "remova o CR isolado";
    CONTROL_BYTE_RULE: "the head is text without control characters", "o cabeçalho é texto sem caracteres de controle";
    CONTROL_BYTE_FIX: "speak HTTP/1.1 in clear text here: ws://, not wss://", "fale HTTP/1.1 em texto claro aqui: ws://, e não wss://";
    REQUEST_LINE_RULE: "the first line is: method, one space, target, one space, HTTP/1.1", "a primeira linha é: método, um espaço, alvo, um espaço, HTTP/1.1";
    REQUEST_LINE_FIX: "begin with a line like: GET /chat HTTP/1.1", "comece com uma linha como: GET /chat HTTP/1.1";
    UNKNOWN_METHOD_RULE: "the method is one that HTTP defines", "o método é um dos que o HTTP define";
    UNKNOWN_METHOD_FIX: "use GET", "use GET";
    METHOD_NOT_ALLOWED_RULE: "only GET and HEAD are answered here", "aqui só se responde a GET e HEAD";
    METHOD_NOT_ALLOWED_FIX: "use GET; a WebSocket begins with GET", "use GET; um WebSocket começa com GET";
    NOT_GET_RULE: "the opening handshake uses the method GET", "o handshake de abertura usa o método GET";
    NOT_GET_FIX: "use GET", "use GET";
    HTTP_VERSION_RULE: "this server speaks HTTP/1.1", "este servidor fala HTTP/1.1";
    HTTP_VERSION_FIX: "send the request as HTTP/1.1", "envie a requisição em HTTP/1.1";
    HTTP_TOO_OLD_RULE: "the opening handshake needs HTTP/1.1 or later", "o handshake de abertura exige HTTP/1.1 ou posterior";
    HTTP_TOO_OLD_FIX: "send the request as HTTP/1.1", "envie a requisição em HTTP/1.1";
    TARGET_RULE: "the target is a path that begins with /, or an absolute http or https address", "o alvo é um caminho que começa com /, ou um endereço http ou https absoluto";
    TARGET_FIX: "ask for a path such as /chat; percent-encode other characters", "peça um caminho como /chat; codifique os outros caracteres com %";
    OBS_FOLD_RULE: "a header field stays on one line", "um campo de cabeçalho fica em uma só linha";
    OBS_FOLD_FIX: "join the continued line to the one before", "junte a linha continuada à anterior";
    NO_COLON_RULE: "a header field is a name, a colon and a value", "um campo de cabeçalho é um nome, dois-pontos e um valor";
    NO_COLON_FIX: "write the line as Name: value", "escreva a linha como Nome: valor";
    HEADER_NAME_RULE: "a header name is a token, with no space before the colon", "o nome de um campo é um token, sem espaço antes dos dois-pontos";
    HEADER_NAME_FIX: "use letters, digits and hyphens in the name", "use letras, dígitos e hifens no nome";
    HOST_RULE: "a request has exactly one Host with a host and an optional port", "uma requisição tem exatamente um Host, com host e porta opcional";
    HOST_FIX: "send one line like: Host: localhost:8765", "envie uma linha como: Host: localhost:8765";
    BODY_RULE: "a request to this server has no body", "uma requisição a este servidor não tem corpo";
    BODY_FIX: "remove Content-Length and Transfer-Encoding", "remova Content-Length e Transfer-Encoding";
    UPGRADE_RULE: "Upgrade contains websocket", "Upgrade contém websocket";
    UPGRADE_FIX: "add the line: Upgrade: websocket", "acrescente a linha: Upgrade: websocket";
    CONNECTION_RULE: "Connection contains Upgrade", "Connection contém Upgrade";
    CONNECTION_FIX: "add the line: Connection: Upgrade", "acrescente a linha: Connection: Upgrade";
    VERSION_RULE: "Sec-WebSocket-Version is 13", "Sec-WebSocket-Version é 13";
    VERSION_FIX: "add the line: Sec-WebSocket-Version: 13", "acrescente a linha: Sec-WebSocket-Version: 13";
    VERSION_ONCE_RULE: "Sec-WebSocket-Version appears once", "Sec-WebSocket-Version aparece uma vez";
    VERSION_ONCE_FIX: "send the field once, with the value 13", "envie o campo uma só vez, com o valor 13";
    KEY_MISSING_RULE: "a handshake has a Sec-WebSocket-Key", "um handshake tem um Sec-WebSocket-Key";
    KEY_MISSING_FIX: "add Sec-WebSocket-Key with 16 random bytes in base64", "acrescente Sec-WebSocket-Key com 16 bytes aleatórios em base64";
    KEY_ONCE_RULE: "Sec-WebSocket-Key appears once", "Sec-WebSocket-Key aparece uma vez";
    KEY_ONCE_FIX: "send the field once", "envie o campo uma só vez";
    KEY_BASE64_RULE: "Sec-WebSocket-Key is base64", "Sec-WebSocket-Key é base64";
    KEY_BASE64_FIX: "encode 16 random bytes, for example: openssl rand -base64 16", "codifique 16 bytes aleatórios, por exemplo: openssl rand -base64 16";
    KEY_LENGTH_RULE: "Sec-WebSocket-Key decodes to 16 bytes", "Sec-WebSocket-Key decodificado tem 16 bytes";
    KEY_LENGTH_FIX: "encode 16 random bytes, for example: openssl rand -base64 16", "codifique 16 bytes aleatórios, por exemplo: openssl rand -base64 16";
    SUBPROTOCOL_RULE: "Sec-WebSocket-Protocol lists different tokens, separated by commas", "Sec-WebSocket-Protocol lista tokens diferentes, separados por vírgulas";
    SUBPROTOCOL_FIX: "write it like: chat, superchat", "escreva assim: chat, superchat";
    EXTENSION_RULE: "Sec-WebSocket-Extensions lists extensions with parameters", "Sec-WebSocket-Extensions lista extensões com parâmetros";
    EXTENSION_FIX: "write it like: name; parameter=value, or leave it out", "escreva assim: nome; parâmetro=valor, ou omita o campo";
    ORIGIN_RULE: "this server accepts browsers from certain origins only", "este servidor só aceita navegadores de certas origens";
    ORIGIN_FIX: "open the page from an allowed origin, or allow this one on the server", "abra a página a partir de uma origem permitida, ou permita esta no servidor";
    ORIGIN_ONCE_RULE: "Origin appears once", "Origin aparece uma vez";
    ORIGIN_ONCE_FIX: "send the field once", "envie o campo uma só vez";
    UPGRADE_REQUIRED_RULE: "only WebSocket is served here", "aqui só se serve WebSocket";
    UPGRADE_REQUIRED_FIX: "connect with a WebSocket client, for example: wscat -c ws://localhost:8765", "conecte-se com um cliente WebSocket, por exemplo: wscat -c ws://localhost:8765";
    TOO_MANY_CONNECTIONS_RULE: "this server has a limit of connections", "este servidor tem um limite de conexões";
    TOO_MANY_CONNECTIONS_FIX: "try again in a moment", "tente de novo daqui a pouco";
    TOO_MANY_FROM_ADDRESS_RULE: "this server has a limit of connections from one address", "este servidor tem um limite de conexões por endereço";
    TOO_MANY_FROM_ADDRESS_FIX: "close another connection, or try again in a moment", "feche outra conexão ou tente de novo daqui a pouco";
    INTERNAL_RULE: "the server must be able to answer", "o servidor precisa conseguir responder";
    INTERNAL_FIX: "the fault is on the server's side: its console tells more", "a falha é do servidor: o console dele diz mais";
}
#[cfg(test)]
pub(crate) fn all() -> &'static [(&'static str, Text)] { ALL }
}
pub use table::*;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_text_is_missing_and_both_languages_take_the_same_values() {
        for (name, text) in table::all() {
            for lang in [Lang::En, Lang::Pt] {
                assert!(!text.get(lang).trim().is_empty(), "{name} is empty in {lang:?}");
            }
            let places = |lang| text.get(lang).matches("{}").count();
            assert_eq!(places(Lang::En), places(Lang::Pt), "{name}");
        }
    }

    #[test]
    fn reads_the_tags_that_environments_and_browsers_send() {
        assert_eq!(Lang::from_tag("pt_BR.UTF-8"), Some(Lang::Pt));
        assert_eq!(Lang::from_tag("PT"), Some(Lang::Pt));
        assert_eq!(Lang::from_tag("C"), None);
        assert_eq!(Lang::from_accept_language("pt-BR,pt;q=0.9,en;q=0.8"), Some(Lang::Pt));
        assert_eq!(Lang::from_accept_language("fr, pt;q=0.2, en;q=0.7"), Some(Lang::En));
        assert_eq!(Lang::from_accept_language("pt;q=0, *"), None);
        assert_eq!(Lang::from_accept_language(""), None);
    }

    #[test]
    fn fills_the_places_in_order() {
        assert_eq!(CONNECTION_FROM.with(Lang::Pt, &[&"::1", &9]), "Conexão de ('::1', 9)");
    }
}
