//! sockudo-ws: its protocol without its stream, so that the replies to one read are sent with one write.

use bytes::BytesMut;
use framewise_bench_peers::{serve, shake_hands};
use sockudo_ws::Role;
use sockudo_ws::protocol::{Message, Protocol};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

fn main() -> std::io::Result<()> {
    serve(echo)
}

async fn echo(mut stream: TcpStream) {
    if shake_hands(&mut stream).await.is_err() {
        return;
    }
    let mut protocol = Protocol::new(Role::Server, 64 << 20, 64 << 20);
    let mut unread = BytesMut::with_capacity(256 * 1024);
    let (mut out, mut messages) = (BytesMut::with_capacity(256 * 1024), Vec::new());
    loop {
        unread.reserve(64 * 1024);
        match stream.read_buf(&mut unread).await {
            Ok(0) | Err(_) => return,
            Ok(_) => {}
        }
        if protocol.process_into(&mut unread, &mut messages).is_err() {
            return;
        }
        for message in messages.drain(..) {
            match &message {
                Message::Text(_) | Message::Binary(_) => {
                    if protocol.encode_message(&message, &mut out).is_err() {
                        return;
                    }
                }
                Message::Ping(payload) => protocol.encode_pong(payload, &mut out),
                Message::Close(_) => return,
                Message::Pong(_) => {}
            }
        }
        if stream.write_all(&out).await.is_err() {
            return;
        }
        out.clear();
    }
}
