//! fastwebsockets: unmasks in place, and collects replies until the next read, so that many are sent with one write.

use fastwebsockets::{FragmentCollector, OpCode, Role, WebSocket};
use framewise_bench_peers::{Gathering, serve, shake_hands};
use tokio::net::TcpStream;

fn main() -> std::io::Result<()> {
    serve(echo)
}

async fn echo(mut stream: TcpStream) {
    if shake_hands(&mut stream).await.is_err() {
        return;
    }
    let mut socket = WebSocket::after_handshake(Gathering::new(stream), Role::Server);
    socket.set_writev(false);
    socket.set_max_message_size(64 << 20);
    let mut socket = FragmentCollector::new(socket);
    while let Ok(frame) = tokio::task::unconstrained(socket.read_frame()).await {
        match frame.opcode {
            OpCode::Text | OpCode::Binary => {
                if socket.write_frame(frame).await.is_err() {
                    return;
                }
            }
            OpCode::Close => return,
            _ => {}
        }
    }
}
