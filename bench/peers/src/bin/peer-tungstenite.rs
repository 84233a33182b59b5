//! tokio-tungstenite: replies to all messages that have arrived with one flush.

use framewise_bench_peers::{read_buffer, serve, shake_hands};
use futures_util::{FutureExt, SinkExt, StreamExt};
use tokio::net::TcpStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::{Role, WebSocketConfig};

fn main() -> std::io::Result<()> {
    serve(echo)
}

async fn echo(mut stream: TcpStream) {
    if shake_hands(&mut stream).await.is_err() {
        return;
    }
    // The read buffer is only as large as the shape needs, because tungstenite fills it with zeros before each read.
    let config = WebSocketConfig::default().read_buffer_size(read_buffer());
    let mut socket = WebSocketStream::from_raw_socket(stream, Role::Server, Some(config)).await;
    while let Some(Ok(message)) = socket.next().await {
        let mut next = Some(message);
        while let Some(message) = next {
            if (message.is_text() || message.is_binary()) && socket.feed(message).await.is_err() {
                return;
            }
            next = match socket.next().now_or_never() {
                Some(Some(Ok(message))) => Some(message),
                Some(_) => return,
                None => None,
            };
        }
        if socket.flush().await.is_err() {
            return;
        }
    }
}
