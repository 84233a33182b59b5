//! Every text of the examples that a person reads, in English and Portuguese. Each `{}` is replaced by a value.

/// Declares the constants, and the list of all of them for the test.
macro_rules! table {
    ($($name:ident: $en:literal, $pt:literal;)*) => {
        $(pub const $name: Bilingual = Bilingual::new($en, $pt);)*
        #[cfg(test)]
        pub const ALL: &[(&str, Bilingual)] = &[$((stringify!($name), $name)),*];
    };
}

#[rustfmt::skip]
mod table {
use framewise::lang::Bilingual;
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
    ACCEPT_PAUSED: "Accepting connections is paused for a moment: {}", "Novas conexões ficam em espera por um momento: {}";
    TRANSPORT_FAILED: "The connection failed: {}", "A conexão falhou: {}";
    RESPONDED: "HTTP response sent: {}", "Resposta HTTP enviada: {}";
    CONNECTION_ENDED: "Connection ended", "Conexão encerrada";
    BROADCAST_STARTED: "WebSocket server started on ws://{}", "Servidor WebSocket iniciado em ws://{}";
    OTHERS_CAN_CONNECT: "Others on the network can connect to ws://{}", "Outras pessoas na rede podem se conectar a ws://{}";
    LENIENT_KEY: "Warning: Sec-WebSocket-Key decodes to {} bytes; RFC 6455 section 4.2.1 asks for 16", "Aviso: o Sec-WebSocket-Key decodificado tem {} bytes; a RFC 6455, seção 4.2.1, pede 16";
    LINES_DROPPED: "[{} lines not shown: the console was slower than the server]", "[{} linhas não mostradas: o console foi mais lento que o servidor]";
    NO_IPV6: "Warning: this machine has no ::1 (IPv6); listening on IPv4 only", "Aviso: esta máquina não tem ::1 (IPv6); ouvindo somente em IPv4";

    // Errors of the command line.
    BAD_VALUE: "value '{}' for {}: {}", "valor '{}' para {}: {}";
    CANNOT_READ: "cannot read {}: {}", "não foi possível ler {}: {}";
    TLS_WANTS_BOTH: "--tls-cert and --tls-key belong together", "--tls-cert e --tls-key só funcionam juntos";
    MISSING_VALUE: "{} needs a value", "{} precisa de um valor";
    UNKNOWN_OPTION: "unknown option '{}' (--help lists them)", "opção desconhecida '{}' (veja --help)";
    HOST_FROM_ENV: "{} (the host comes from the environment variable HOST; --host localhost overrides it)",
                   "{} (o host vem da variável de ambiente HOST; --host localhost usa outro)";
    ERROR: "error: {}", "erro: {}";
    WANTED_NUMBER: "it must be a whole number", "deve ser um número inteiro";
    NO_DEFLATE: "this program was built without compression: add --features deflate after 'cargo run'", "este programa foi compilado sem compressão: acrescente --features deflate depois de 'cargo run'";
    WANTED_PORT: "a port is a number from 0 to 65535", "uma porta é um número de 0 a 65535";
    WANTED_LANG: "the languages are en and pt", "os idiomas são en e pt";

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
    START_A_SERVER: "Start a server first, in another terminal: cargo run --example echo", "Inicie antes um servidor, em outro terminal: cargo run --example echo";

    WANTED_HEX: "type pairs of hexadecimal digits, for example: 81 05 48 65 6c 6c 6f", "digite pares de dígitos hexadecimais, por exemplo: 81 05 48 65 6c 6c 6f";
    WANTED_ROLE: "it must be client or server", "deve ser client ou server";

    NO_RESPONSE_IN_TIME: "the server did not reply in time", "o servidor não respondeu a tempo";

    // The trace.
    TRACE_LEGEND: "Trace: < from the client, > to the client, = computed here, [0.0] names the connection", "Rastro: < vindo do cliente, > enviado ao cliente, = calculado aqui, [0.0] identifica a conexão";
    TRACE_READ: "{} bytes read", "{} bytes lidos";
    TRACE_WRITTEN: "{} bytes written", "{} bytes escritos";
}
}
pub use table::*;

#[cfg(test)]
mod tests {
    use framewise::lang::Lang;

    #[test]
    fn every_text_exists_in_both_languages_with_the_same_values() {
        for (name, text) in super::ALL {
            for lang in [Lang::En, Lang::Pt] {
                assert!(!text.get(lang).trim().is_empty(), "{name} is empty in {lang:?}");
            }
            let places = |lang| text.get(lang).matches("{}").count();
            assert_eq!(places(Lang::En), places(Lang::Pt), "{name}");
        }
    }
}
