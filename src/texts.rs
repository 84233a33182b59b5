//! The texts of the library for users, in English and Portuguese. Errors that a program handles, such as
//! [`JoinError`](crate::JoinError), are English only and stand with their types.
//!
//! [`Bilingual::with`](crate::lang::Bilingual::with) replaces each `{}` by a value, in order. The reasons in Close frames are not
//! here, because they are ASCII and the same in every language (`protocol/violation.rs`).

/// Declares the constants, and the list of all of them for the test.
macro_rules! table {
    ($($name:ident: $en:literal, $pt:literal;)*) => {
        $(pub(crate) const $name: Bilingual = Bilingual::new($en, $pt);)*
        #[cfg(test)]
        const ALL: &[(&str, Bilingual)] = &[$((stringify!($name), $name)),*];
    };
}

#[rustfmt::skip]
mod table {
use crate::lang::Bilingual;
table! {
    // Errors that prevent a server from starting.
    PORT_IN_USE: "address {} is already in use: stop the other program or choose another --port", "o endereço {} já está em uso: encerre o outro programa ou escolha outra --port";
    BAD_HOST: "host '{}' is not an address of this machine", "o host '{}' não é um endereço desta máquina";
    CANNOT_LISTEN: "cannot listen on {}: {}", "não foi possível ouvir em {}: {}";
    CANNOT_POLL: "the operating system cannot report when sockets are ready: {}", "o sistema operacional não consegue informar quando os sockets estão prontos: {}";
    BAD_SETTING: "setting '{}': {}", "configuração '{}': {}";
    WANTED_NOT_EMPTY: "it must not be empty", "não pode ser vazio";
    WANTED_AT_LEAST: "at least {} is needed", "o mínimo é {}";
    WANTED_AT_MOST: "at most {} is allowed", "o máximo é {}";
    WANTED_LONGER_THAN_ZERO: "it must be longer than zero", "deve ser maior que zero";
    WANTED_TOKEN: "'{}' is not a token (RFC 6455 4.1)", "'{}' não é um token (RFC 6455 4.1)";
    WANTED_ONCE: "'{}' is listed twice", "'{}' aparece duas vezes";

    // Errors that prevent a client from connecting.
    CANNOT_CONNECT: "cannot connect to {}: {}", "não foi possível conectar a {}: {}";
    NO_RESPONSE_IN_TIME: "the server did not respond in time", "o servidor não respondeu a tempo";
    NO_RESPONSE: "the server closed the connection without a response", "o servidor fechou a conexão sem responder";
    NO_TLS: "wss:// needs TLS, which this client does not support: use ws://", "wss:// exige TLS, que este cliente não oferece: use ws://";
    NO_RANDOMNESS: "the operating system provided no random numbers", "o sistema operacional não forneceu números aleatórios";
    URL_SCHEME: "a WebSocket URL begins with ws:// or wss:// (RFC 6455 3)", "uma URL WebSocket começa com ws:// ou wss:// (RFC 6455 3)";
    INVALID_ORIGIN: "an origin is like https://example.org or http://localhost:3000, without a path and without *", "uma origem é como https://exemplo.org ou http://localhost:3000, sem caminho e sem *";
    URL_AUTHORITY: "the host or the port of the URL is malformed (RFC 6455 3)", "o host ou a porta da URL é inválido (RFC 6455 3)";
    URL_FRAGMENT: "a WebSocket URL has no #fragment (RFC 6455 3)", "uma URL WebSocket não tem #fragmento (RFC 6455 3)";
    URL_RESOURCE: "the path or the query has a control character: percent-encode it", "o caminho ou a query tem um caractere de controle: codifique-o com %";
    RESPONSE_REJECTED: "the response does not open a WebSocket (RFC 6455 4.1): {}", "a resposta não abre um WebSocket (RFC 6455 4.1): {}";
    RESPONSE_STATUS_LINE: "the first line is not a status line of HTTP/1.1", "a primeira linha não é uma linha de status HTTP/1.1";
    RESPONSE_STATUS: "the status is {}, not 101", "o status é {}, e não 101";
    RESPONSE_REDIRECT: "the status is {}, which redirects to {}; a WebSocket client does not follow that: connect to the new address", "o status é {}, que redireciona para {}; um cliente WebSocket não segue isso: conecte-se ao novo endereço";
    RESPONSE_INTERIM: "too many interim responses (1xx) before it", "respostas provisórias (1xx) demais antes dela";
    RESPONSE_UPGRADE: "Upgrade is not websocket", "Upgrade não é websocket";
    RESPONSE_CONNECTION: "Connection does not contain Upgrade", "Connection não contém Upgrade";
    RESPONSE_ACCEPT: "Sec-WebSocket-Accept does not match the key", "Sec-WebSocket-Accept não corresponde à chave";
    RESPONSE_EXTENSION: "the server chose an extension that was not offered, or parameters that the client cannot use", "o servidor escolheu uma extensão que não foi oferecida, ou parâmetros que o cliente não pode usar";
    RESPONSE_SUBPROTOCOL: "the server chose a subprotocol that was not offered", "o servidor escolheu um subprotocolo que não foi oferecido";

    // The rows of labels.
    ROW_KEY: "masking key, repeated", "masking key, repetida";
    ROW_CLEAR: "XOR: payload unmasked", "XOR: payload sem máscara";
    ROW_DECODED: "decompressed (RFC 7692)", "descomprimido (RFC 7692)";
    ROW_CLOSE_CODE: "close code {}", "código de fechamento {}";
    ROW_CLOSE: "close code {}, reason '{}'", "código de fechamento {}, motivo '{}'";
    ROW_NO_CODE: "no close code, which a program reports as {}", "sem código de fechamento, o que um programa relata como {}";
    ROW_VALID: "=> valid", "=> válido";
    ROW_BROKEN: "=> broken: {} (close code {})", "=> violação: {} (código de fechamento {})";
    ROW_BROKEN_AT: "=> broken at {}: {} (close code {})", "=> violação {}: {} (código de fechamento {})";
    ROW_BIT: "bit {} ({})", "no bit {} ({})";
    ROW_BITS: "bits {} to {} ({})", "nos bits {} a {} ({})";
    ROW_BYTE: "payload byte {}", "no byte {} dos dados (payload)";
    ROW_BYTES: "payload bytes {} to {}", "nos bytes {} a {} dos dados (payload)";
    ROW_RESERVED: "reserved", "reservado";
    ROW_NOT_READ: "not read: {}", "não lido: {}";
    ROW_HEADER_ENDS: "=> incomplete: the input ends before bit {} ({})", "=> incompleto: a entrada termina antes do bit {} ({})";
    ROW_PAYLOAD_ENDS: "=> incomplete: the input ends after {} of {} payload bytes", "=> incompleto: a entrada termina depois de {} de {} bytes dos dados (payload)";
    ROW_REQUEST_LINE: "request line", "linha de requisição";
    ROW_STATUS_LINE: "status line", "linha de status";
    ROW_HEAD_END: "empty line: end of the head", "linha vazia: fim do cabeçalho";
    ROW_EMPTY_LINE: "empty line, skipped", "linha vazia, ignorada";
    ROW_BODY: "body", "corpo";
    ROW_OPENS: "=> valid: part of an opening handshake", "=> válido: parte de um handshake de abertura";
    ROW_PLAIN: "=> valid: plain HTTP", "=> válido: HTTP comum";
    ROW_BODY_ENDS: "=> incomplete: the input ends in the middle of the body", "=> incompleto: a entrada termina no meio do corpo";
    ROW_HEAD_ENDS: "=> incomplete: the input ends before the empty line that ends the head", "=> incompleto: a entrada termina antes da linha vazia que encerra o cabeçalho";
    ROW_REFUSED: "=> refused with {}: {} ({})", "=> recusado com {}: {} ({})";
    ROW_REJECTED: "=> broken: {}", "=> violação: {}";
    ROW_FOUND: "   found: {}", "   encontrado: {}";
    ROW_OUR_LIMIT: "   This is a limit of the server, which it may choose (RFC 6455 10.4).", "   Este é um limite do servidor, que ele pode escolher (RFC 6455 10.4).";

    // The trace.
    TRACE_KEY: "key + GUID: {}", "chave + GUID: {}";
    TRACE_PAYLOAD: "payload data", "dados (payload)";
    TRACE_UNMASKED: "payload data, unmasked: {}", "dados (payload) sem a máscara: {}";
    TRACE_MORE: "... {} bytes in total", "... {} bytes no total";
    TRACE_DECODED: "decompressed (RFC 7692): {}", "descomprimido (RFC 7692): {}";
    TRACE_NOT_READ: "not read from here on: {}", "não lido daqui em diante: {}";

    // The body of the response to a refused handshake: its labels, and what was found.
    LABEL_RULE: "rule", "regra";
    LABEL_SECTION: "section", "seção";
    LABEL_FOUND: "found", "encontrado";
    LABEL_FIX: "fix", "correção";
    FOUND_NOTHING: "nothing", "nada";
    FOUND_BYTES: "{} bytes, the limit is {}", "{} bytes; o limite é {}";
    FOUND_HEADERS: "more than {} header fields", "mais de {} campos de cabeçalho";
    FOUND_KEY_BYTES: "a key of {} bytes", "uma chave de {} bytes";
    FOUND_TIMES: "{} fields of this name", "{} campos com este nome";

    // The rule and the fix of each reason to refuse a handshake (protocol/refusal.rs).
    REQUEST_LINE_TOO_LONG_RULE: "the request line has a limited length", "a linha de requisição tem tamanho limitado";
    REQUEST_LINE_TOO_LONG_FIX: "shorten the path or the query", "encurte o caminho ou a query";
    HEAD_TOO_LARGE_RULE: "the request head has a limited length", "o cabeçalho da requisição tem tamanho limitado";
    HEAD_TOO_LARGE_FIX: "send fewer or shorter header fields (cookies are often the cause), or raise max_head (--max-head) on the server", "envie menos campos, ou campos mais curtos (cookies costumam ser a causa), ou aumente max_head (--max-head) no servidor";
    TOO_MANY_HEADERS_RULE: "the number of header fields is limited", "o número de campos de cabeçalho é limitado";
    TOO_MANY_HEADERS_FIX: "send fewer header fields", "envie menos campos de cabeçalho";
    BARE_LF_RULE: "each line of the head ends with CR LF", "cada linha do cabeçalho termina com CR LF";
    BARE_LF_FIX: "end lines with \\r\\n, not with \\n alone", "termine as linhas com \\r\\n, não só com \\n";
    BARE_CR_RULE: "a CR is only allowed before a LF", "um CR só pode vir antes de um LF";
    BARE_CR_FIX: "remove the lone CR", "remova o CR isolado";
    CONTROL_BYTE_RULE: "the head is text without control characters", "o cabeçalho é texto sem caracteres de controle";
    CONTROL_BYTE_FIX: "remove this byte; a value is text on one line", "retire este byte; um valor é texto em uma só linha";
    REQUEST_LINE_RULE: "the first line has the form: method, one space, target, one space, HTTP/1.1", "a primeira linha tem a forma: método, um espaço, alvo, um espaço, HTTP/1.1";
    REQUEST_LINE_FIX: "begin with a line like: GET /chat HTTP/1.1", "comece com uma linha como: GET /chat HTTP/1.1";
    UNKNOWN_METHOD_RULE: "the method is one that HTTP defines", "o método é um dos que o HTTP define";
    UNKNOWN_METHOD_FIX: "use GET", "use GET";
    METHOD_NOT_ALLOWED_RULE: "this server only supports GET and HEAD", "este servidor só aceita GET e HEAD";
    METHOD_NOT_ALLOWED_FIX: "use GET; a WebSocket begins with GET", "use GET; um WebSocket começa com GET";
    NOT_GET_RULE: "the opening handshake uses the method GET", "o handshake de abertura usa o método GET";
    NOT_GET_FIX: "use GET", "use GET";
    HTTP_VERSION_RULE: "this server only supports HTTP/1.1", "este servidor só aceita HTTP/1.1";
    HTTP_VERSION_FIX: "send the request as HTTP/1.1", "envie a requisição em HTTP/1.1";
    HTTP_TOO_OLD_RULE: "the opening handshake needs HTTP/1.1 or later", "o handshake de abertura exige HTTP/1.1 ou posterior";
    HTTP_TOO_OLD_FIX: "send the request as HTTP/1.1 (a proxy may have to be told so: proxy_http_version 1.1 in nginx)", "envie a requisição em HTTP/1.1 (talvez seja preciso configurar o proxy: proxy_http_version 1.1 no nginx)";
    TARGET_RULE: "the target is a path that begins with /, or an absolute http or https URL", "o alvo é um caminho que começa com /, ou uma URL absoluta http ou https";
    TARGET_FIX: "use a path such as /chat; percent-encode other characters", "use um caminho como /chat; codifique os outros caracteres com %";
    TLS_RULE: "wss:// was used, this port speaks ws://", "foi usado wss://, e esta porta fala ws://";
    TLS_FIX: "connect with ws:// or http://, without TLS", "conecte-se com ws:// ou http://, sem TLS";
    OBS_FOLD_RULE: "a header field is a single line", "um campo de cabeçalho ocupa uma só linha";
    OBS_FOLD_FIX: "join this line to the one before it", "junte esta linha à anterior";
    NO_COLON_RULE: "a header field is a name, a colon and a value", "um campo de cabeçalho é um nome, dois-pontos e um valor";
    NO_COLON_FIX: "write the line as Name: value", "escreva a linha como Nome: valor";
    HEADER_NAME_RULE: "a header name is a token, with no space before the colon", "o nome de um campo é um token, sem espaço antes dos dois-pontos";
    HEADER_NAME_FIX: "use letters, digits and hyphens in the name", "use letras, dígitos e hifens no nome";
    HOST_RULE: "a request has exactly one Host field, with a host and an optional port", "uma requisição tem exatamente um campo Host, com host e porta opcional";
    HOST_FIX: "send one line like: Host: localhost:8765", "envie uma linha como: Host: localhost:8765";
    BODY_RULE: "a request to this server has no body", "uma requisição a este servidor não tem corpo";
    BODY_FIX: "remove Content-Length and Transfer-Encoding", "remova Content-Length e Transfer-Encoding";
    UPGRADE_RULE: "Upgrade contains websocket", "Upgrade contém websocket";
    UPGRADE_FIX: "add the line: Upgrade: websocket (a proxy has to pass it on)", "acrescente a linha: Upgrade: websocket (um proxy precisa repassá-la)";
    CONNECTION_RULE: "Connection contains Upgrade", "Connection contém Upgrade";
    CONNECTION_FIX: "add the line: Connection: Upgrade (a proxy has to pass it on)", "acrescente a linha: Connection: Upgrade (um proxy precisa repassá-la)";
    VERSION_RULE: "Sec-WebSocket-Version is 13", "Sec-WebSocket-Version é 13";
    VERSION_FIX: "add the line: Sec-WebSocket-Version: 13", "acrescente a linha: Sec-WebSocket-Version: 13";
    VERSION_ONCE_RULE: "Sec-WebSocket-Version appears once", "Sec-WebSocket-Version aparece uma vez";
    VERSION_ONCE_FIX: "send the field once, with the value 13", "envie o campo uma só vez, com o valor 13";
    KEY_MISSING_RULE: "a handshake has the field Sec-WebSocket-Key", "um handshake tem o campo Sec-WebSocket-Key";
    KEY_MISSING_FIX: "add Sec-WebSocket-Key with 16 random bytes in base64, for example from: openssl rand -base64 16", "acrescente Sec-WebSocket-Key com 16 bytes aleatórios em base64, por exemplo de: openssl rand -base64 16";
    KEY_ONCE_RULE: "Sec-WebSocket-Key appears once", "Sec-WebSocket-Key aparece uma vez";
    KEY_ONCE_FIX: "send the field once", "envie o campo uma só vez";
    KEY_BASE64_RULE: "Sec-WebSocket-Key is base64", "Sec-WebSocket-Key é base64";
    KEY_BASE64_FIX: "encode 16 random bytes, for example: openssl rand -base64 16", "codifique 16 bytes aleatórios, por exemplo: openssl rand -base64 16";
    KEY_LENGTH_RULE: "Sec-WebSocket-Key decodes to 16 bytes", "Sec-WebSocket-Key decodificado tem 16 bytes";
    KEY_LENGTH_FIX: "encode 16 random bytes, for example: openssl rand -base64 16", "codifique 16 bytes aleatórios, por exemplo: openssl rand -base64 16";
    SUBPROTOCOL_RULE: "Sec-WebSocket-Protocol is a list of different tokens, separated by commas", "Sec-WebSocket-Protocol é uma lista de tokens diferentes, separados por vírgulas";
    SUBPROTOCOL_FIX: "write it like: chat, superchat", "escreva assim: chat, superchat";
    EXTENSION_RULE: "Sec-WebSocket-Extensions is a list of extensions with parameters", "Sec-WebSocket-Extensions é uma lista de extensões com parâmetros";
    EXTENSION_FIX: "write it like: name; parameter=value, or leave the field out", "escreva assim: nome; parâmetro=valor, ou omita o campo";
    ORIGIN_RULE: "this server only accepts pages from certain origins", "este servidor só aceita páginas de certas origens";
    ORIGIN_FIX: "open the page from an allowed origin, or allow this one on the server", "abra a página a partir de uma origem permitida, ou permita esta no servidor";
    ORIGIN_ONCE_RULE: "Origin appears once", "Origin aparece uma vez";
    ORIGIN_ONCE_FIX: "send the field once", "envie o campo uma só vez";
    UPGRADE_REQUIRED_RULE: "this server only speaks WebSocket", "este servidor só fala WebSocket";
    UPGRADE_REQUIRED_FIX: "connect with a WebSocket client, for example: wscat -c {}", "conecte-se com um cliente WebSocket, por exemplo: wscat -c {}";
    TOO_MANY_CONNECTIONS_RULE: "the number of connections to this server is limited", "o número de conexões a este servidor é limitado";
    TOO_MANY_CONNECTIONS_FIX: "try again in a moment", "tente de novo daqui a pouco";
    TOO_MANY_FROM_ADDRESS_RULE: "the number of connections from one address is limited", "o número de conexões de um mesmo endereço é limitado";
    TOO_MANY_FROM_ADDRESS_FIX: "close another connection, or try again in a moment", "feche outra conexão ou tente de novo daqui a pouco";
    INTERNAL_RULE: "the server failed while it handled this request", "o servidor falhou ao tratar esta requisição";
    INTERNAL_FIX: "the error is in the server, not in the request: look at the console of the server", "o erro é do servidor, e não da requisição: veja o console do servidor";
}
#[cfg(test)]
pub(crate) fn all() -> &'static [(&'static str, Bilingual)] { ALL }
}
pub(crate) use table::*;

#[cfg(feature = "tls")]
#[rustfmt::skip]
mod tls {
use crate::lang::Bilingual;
table! {
    // Certificates and keys that cannot be used.
    TLS_PEM: "the PEM is malformed: {}", "o PEM está malformado: {}";
    TLS_NO_CERTIFICATE: "there is no certificate in the PEM file (-----BEGIN CERTIFICATE-----)", "não há certificado no arquivo PEM (-----BEGIN CERTIFICATE-----)";
    TLS_NO_KEY: "there is no private key in the PEM file (-----BEGIN PRIVATE KEY-----), or it is encrypted", "não há chave privada no arquivo PEM (-----BEGIN PRIVATE KEY-----), ou ela está cifrada";
    TLS_KEY_MISMATCH: "the private key does not belong to the certificate", "a chave privada não pertence ao certificado";
    TLS_UNUSABLE: "the certificate or the key cannot be used: {}", "o certificado ou a chave não pode ser usado: {}";
    TLS_NO_ROOTS: "the operating system has no root certificates: install them, or name a CA file", "o sistema operacional não tem certificados raiz: instale-os ou indique um arquivo de CA";
    TLS_SERVER_NAME: "'{}' is neither a DNS name nor an IP address", "'{}' não é um nome DNS nem um endereço IP";

    // TLS connections that fail.
    TLS_NOT_TLS: "the other side does not speak TLS: one side uses https:// or wss://, the other http:// or ws://", "o outro lado não fala TLS: um lado usa https:// ou wss://, e o outro http:// ou ws://";
    TLS_UNKNOWN_ISSUER: "the issuer of the server's certificate is not trusted", "o emissor do certificado do servidor não é confiável";
    TLS_WRONG_NAME: "the server's certificate is not for {}, but for {}", "o certificado do servidor não é para {}, e sim para {}";
    TLS_EXPIRED: "the server's certificate has expired", "o certificado do servidor expirou";
    TLS_NOT_YET_VALID: "the server's certificate is not valid yet: compare the clocks", "o certificado do servidor ainda não é válido: compare os relógios";
    TLS_CERTIFICATE: "the server's certificate is invalid: {}", "o certificado do servidor é inválido: {}";
    TLS_ALERT: "the other side ended TLS with the alert {}", "o outro lado encerrou o TLS com o alerta {}";
    TLS_FAILED: "TLS failed: {}", "o TLS falhou: {}";
}
#[cfg(test)]
pub(crate) fn all() -> &'static [(&'static str, Bilingual)] { ALL }
}
#[cfg(feature = "tls")]
pub(crate) use tls::*;

#[cfg(test)]
mod tests {
    use crate::lang::Lang;

    #[test]
    fn every_text_exists_in_both_languages_with_the_same_values() {
        let texts = super::table::all().iter();
        #[cfg(feature = "tls")]
        let texts = texts.chain(super::tls::all());
        for (name, text) in texts {
            for lang in [Lang::En, Lang::Pt] {
                assert!(!text.get(lang).trim().is_empty(), "{name} is empty in {lang:?}");
            }
            let places = |lang| text.get(lang).matches("{}").count();
            assert_eq!(places(Lang::En), places(Lang::Pt), "{name}");
        }
    }
}
