import java.io.FileInputStream;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.WebSocket;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.security.KeyStore;
import java.security.cert.CertificateFactory;
import java.util.concurrent.CompletionStage;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.TimeUnit;
import javax.net.ssl.SSLContext;
import javax.net.ssl.TrustManagerFactory;

/**
 * The WebSocket of the JDK, which offers no extension, against the echo server: java Client.java NAME URL [CA]. It refuses a server
 * that chooses an extension.
 */
public class Client {
    interface Check {
        void run(Session session) throws Exception;
    }

    static int failed = 0;

    /** One connection, and what has arrived on it. */
    static class Session implements WebSocket.Listener {
        final LinkedBlockingQueue<String> heard = new LinkedBlockingQueue<>();
        final StringBuilder text = new StringBuilder();
        int parts = 0;
        WebSocket socket;

        @Override
        public CompletionStage<?> onText(WebSocket socket, CharSequence data, boolean isLast) {
            text.append(data);
            if (isLast) {
                heard.add("text " + text);
                text.setLength(0);
            }
            socket.request(1);
            return null;
        }

        @Override
        public CompletionStage<?> onBinary(WebSocket socket, ByteBuffer data, boolean isLast) {
            parts += data.remaining();
            if (isLast) {
                heard.add("binary " + parts);
                parts = 0;
            }
            socket.request(1);
            return null;
        }

        @Override
        public CompletionStage<?> onPong(WebSocket socket, ByteBuffer data) {
            heard.add("pong " + StandardCharsets.UTF_8.decode(data));
            socket.request(1);
            return null;
        }

        @Override
        public CompletionStage<?> onClose(WebSocket socket, int code, String reason) {
            heard.add("close " + code + " " + reason);
            return null;
        }

        @Override
        public void onError(WebSocket socket, Throwable error) {
            heard.add("error " + error);
        }

        void expect(String expected) throws Exception {
            String found = heard.poll(30, TimeUnit.SECONDS);
            if (!expected.equals(found)) {
                throw new AssertionError(found + " instead of " + expected);
            }
        }
    }

    static SSLContext trusting(String file) throws Exception {
        KeyStore store = KeyStore.getInstance(KeyStore.getDefaultType());
        store.load(null);
        try (FileInputStream pem = new FileInputStream(file)) {
            store.setCertificateEntry("ca", CertificateFactory.getInstance("X.509").generateCertificate(pem));
        }
        TrustManagerFactory trust = TrustManagerFactory.getInstance(TrustManagerFactory.getDefaultAlgorithm());
        trust.init(store);
        SSLContext context = SSLContext.getInstance("TLS");
        context.init(null, trust.getTrustManagers(), null);
        return context;
    }

    public static void main(String[] arguments) throws Exception {
        String name = arguments[0], url = arguments[1];
        HttpClient.Builder builder = HttpClient.newBuilder();
        if (arguments.length > 2) {
            builder.sslContext(trusting(arguments[2]));
        }
        HttpClient http = builder.build();
        check(http, name + ": text", url, session -> {
            for (String text : new String[] {"hello", "Olá, turma! 😀", ""}) {
                session.socket.sendText(text, true).get(30, TimeUnit.SECONDS);
                session.expect("text " + text);
            }
        });
        check(http, name + ": a text in fragments", url, session -> {
            session.socket.sendText("Olá, ", false).get(30, TimeUnit.SECONDS);
            session.socket.sendText("turma!", true).get(30, TimeUnit.SECONDS);
            session.expect("text Olá, turma!");
        });
        check(http, name + ": 100,000 bytes", url, session -> {
            session.socket.sendBinary(ByteBuffer.allocate(100_000), true).get(30, TimeUnit.SECONDS);
            session.expect("binary 100000");
        });
        check(http, name + ": a ping", url, session -> {
            ByteBuffer payload = ByteBuffer.wrap("é".getBytes(StandardCharsets.UTF_8));
            session.socket.sendPing(payload).get(30, TimeUnit.SECONDS);
            session.expect("pong é");
        });
        System.exit(failed);
    }

    /** Runs a check on a connection of its own, which then closes. */
    static void check(HttpClient http, String name, String url, Check check) {
        try {
            Session session = new Session();
            session.socket = http.newWebSocketBuilder().buildAsync(URI.create(url), session).get(30, TimeUnit.SECONDS);
            check.run(session);
            session.socket.sendClose(1000, "bye").get(30, TimeUnit.SECONDS);
            session.expect("close 1000 bye");
            System.out.println("ok     " + name);
        } catch (Exception | AssertionError error) {
            failed = 1;
            System.out.println("FAILED " + name + ": " + error);
        }
    }
}
