//! sockudo-ws: its protocol without its stream, so that the replies to one read are sent with one write. `--deflate`:
//! compresses with level 1, as framewise does.

use bytes::BytesMut;
use framewise_bench_peers::{serve, shake_hands, shake_hands_with};
use sockudo_ws::Role;
use sockudo_ws::deflate::DeflateConfig;
use sockudo_ws::protocol::{CompressedProtocol, Message, Protocol};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// The most bytes of a frame and of a message.
const MOST: usize = 64 << 20;

fn main() -> std::io::Result<()> {
    if std::env::args().any(|argument| argument == "--deflate") {
        serve(echo_compressed)
    } else {
        serve(echo)
    }
}

/// Replies to messages until the connection ends. A macro, because the two protocols have no trait in common.
macro_rules! reply {
    ($stream:ident, $protocol:ident) => {
        let mut unread = BytesMut::with_capacity(256 * 1024);
        let (mut out, mut messages) = (BytesMut::with_capacity(256 * 1024), Vec::new());
        loop {
            unread.reserve(64 * 1024);
            match $stream.read_buf(&mut unread).await {
                Ok(0) | Err(_) => return,
                Ok(_) => {}
            }
            if $protocol.process_into(&mut unread, &mut messages).is_err() {
                return;
            }
            for message in messages.drain(..) {
                match &message {
                    Message::Text(_) | Message::Binary(_) => {
                        if $protocol.encode_message(&message, &mut out).is_err() {
                            return;
                        }
                    }
                    Message::Ping(payload) => $protocol.encode_pong(payload, &mut out),
                    Message::Close(_) => return,
                    Message::Pong(_) => {}
                }
            }
            if $stream.write_all(&out).await.is_err() {
                return;
            }
            out.clear();
        }
    };
}

async fn echo(mut stream: TcpStream) {
    if shake_hands(&mut stream).await.is_err() {
        return;
    }
    let mut protocol = Protocol::new(Role::Server, MOST, MOST);
    reply!(stream, protocol);
}

async fn echo_compressed(mut stream: TcpStream) {
    let mut config = DeflateConfig { compression_level: 1, ..DeflateConfig::default() };
    config.compression_threshold = 64;
    let opened = shake_hands_with(&mut stream, |offer| {
        config.server_no_context_takeover = offer.contains("server_no_context_takeover");
        config.client_no_context_takeover = offer.contains("client_no_context_takeover");
        offer.contains("permessage-deflate").then(|| config.to_response_header())
    });
    if opened.await.is_err() {
        return;
    }
    let mut protocol = CompressedProtocol::server(MOST, MOST, config);
    reply!(stream, protocol);
}
