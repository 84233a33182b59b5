//! Helpers of the peers: one thread, a listener on a free port, and an opening handshake that has no cost afterwards.

use std::future::Future;
use std::io::{self, ErrorKind};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sha1::{Digest, Sha1};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::{TcpListener, TcpStream};

/// Prints the address, then serves all connections on the only thread of this process.
pub fn serve<F: Future<Output = ()> + 'static>(connection: fn(TcpStream) -> F) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
    let local = tokio::task::LocalSet::new();
    local.block_on(&runtime, async move {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        println!("listening {}", listener.local_addr()?);
        loop {
            let (stream, _) = listener.accept().await?;
            stream.set_nodelay(true)?;
            tokio::task::spawn_local(connection(stream));
        }
    })
}

/// Reads a request and responds with 101.
pub async fn shake_hands(stream: &mut TcpStream) -> io::Result<()> {
    shake_hands_with(stream, |_| None).await
}

/// Reads a request and responds with 101, and with the extensions that `accept` returns for those of the request.
pub async fn shake_hands_with(
    stream: &mut TcpStream,
    accept: impl FnOnce(&str) -> Option<String>,
) -> io::Result<()> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        if stream.read_buf(&mut head).await? == 0 {
            return Err(ErrorKind::UnexpectedEof.into());
        }
    }
    let head = String::from_utf8_lossy(&head);
    let key = head.lines().find_map(|line| line.strip_prefix("Sec-WebSocket-Key: "));
    let mut sha1 = Sha1::new();
    sha1.update(key.unwrap_or_default());
    sha1.update("258EAFA5-E914-47DA-95CA-C5AB0DC85B11");
    let offered = head.lines().find_map(|line| line.strip_prefix("Sec-WebSocket-Extensions: "));
    let accepted = accept(offered.unwrap_or_default());
    let extensions = accepted.map(|value| format!("Sec-WebSocket-Extensions: {value}\r\n"));
    let extensions = extensions.unwrap_or_default();
    let answer = format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Accept: {}\r\n{extensions}\r\n",
        STANDARD.encode(sha1.finalize())
    );
    stream.write_all(answer.as_bytes()).await
}

/// Returns the size of the read buffer for this shape: the second argument.
pub fn read_buffer() -> usize {
    std::env::args().nth(1).and_then(|size| size.parse().ok()).unwrap_or(128 * 1024)
}

/// A stream that collects what is written until the next read, so that many replies are sent with one write.
pub struct Gathering {
    stream: TcpStream,
    out: Vec<u8>,
    written: usize,
}

/// The most bytes that are collected.
const GATHER: usize = 256 * 1024;

impl Gathering {
    /// Returns a collecting stream around another one.
    pub fn new(stream: TcpStream) -> Gathering {
        Gathering { stream, out: Vec::new(), written: 0 }
    }

    fn write_out(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.written < self.out.len() {
            let left = &self.out[self.written..];
            self.written += ready!(Pin::new(&mut self.stream).poll_write(context, left))?;
        }
        self.out.clear();
        self.written = 0;
        Poll::Ready(Ok(()))
    }
}

impl AsyncRead for Gathering {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        ready!(self.write_out(context))?;
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for Gathering {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        if self.out.len() >= GATHER {
            ready!(self.write_out(context))?;
        }
        self.out.extend_from_slice(bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.write_out(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.write_out(context))?;
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
