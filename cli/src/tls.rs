//! TLS for the commands that connect to a server: their options, and the transport of a connection. Without the feature `tls`
//! there are no options, and the transport is TCP.

use std::io::{self, ErrorKind, IoSlice, Read, Write};

use framewise::lang::Lang;
use framewise::{Readiness, Stream};

#[cfg(feature = "tls")]
pub use with::{ClientStream, Dialer, Options, key_log_file, to_ourselves};
#[cfg(not(feature = "tls"))]
pub use without::{ClientStream, Dialer, Options, to_ourselves};

#[cfg(feature = "tls")]
mod with {
    use std::net::SocketAddr;
    use std::path::PathBuf;

    use framewise::{ConnectError, TlsClient, TlsStream, Url};

    use super::*;
    use crate::texts;

    /// TLS for `wss://`, TCP as it is for `ws://`.
    pub type ClientStream = Option<TlsStream>;

    /// The options of a command that connects.
    #[derive(clap::Args, Clone, Debug, Default)]
    pub struct Options {
        /// For wss://: trust only the certificates in FILE (PEM), for example that of --tls-self-signed
        #[arg(long, value_name = "FILE")]
        pub ca: Option<PathBuf>,
        /// For wss://: accept every certificate, so that somebody in between can read and change everything
        #[arg(long, conflicts_with = "ca")]
        pub insecure: bool,
        /// For wss://: the name that the certificate must have, instead of the host in the URL
        #[arg(long, value_name = "NAME")]
        pub servername: Option<String>,
        /// For wss://: write the keys of the connection to the file that SSLKEYLOGFILE names, so that Wireshark can decrypt it
        #[arg(long)]
        pub tls_key_log: bool,
    }

    /// Makes the transport of each connection.
    #[derive(Clone, Debug, Default)]
    pub struct Dialer(Option<TlsClient>);

    impl Options {
        /// Prepares connections to the URL, and prints warnings.
        ///
        /// # Errors
        ///
        /// The certificates cannot be used, as a line for the user.
        pub fn dialer(&self, url: &Url, lang: Lang) -> Result<Dialer, String> {
            if !url.is_secure() {
                return Ok(Dialer(None));
            }
            let mut client = match &self.ca {
                _ if self.insecure => {
                    texts::warn(lang, texts::INSECURE.get(lang));
                    TlsClient::insecure()
                }
                None => TlsClient::new().map_err(|error| error.text(lang))?,
                Some(file) => {
                    let complain = |why: String| format!("--ca {}: {why}", file.display());
                    let pem = std::fs::read(file).map_err(|error| complain(error.to_string()))?;
                    TlsClient::with_ca(&pem).map_err(|error| complain(error.text(lang)))?
                }
            };
            if let Some(name) = &self.servername {
                client = client.server_name(name);
            }
            if self.tls_key_log {
                let file = key_log_file(lang)?;
                texts::warn(lang, texts::KEY_LOG.with(lang, &[&file]));
                client = client.log_keys();
            }
            client.stream(url).map_err(|error| error.text(lang))?;
            Ok(Dialer(Some(client)))
        }
    }

    impl Dialer {
        /// Returns the transport of a new connection.
        ///
        /// # Errors
        ///
        /// The host cannot have a certificate, because it is no name.
        pub fn stream(&self, url: &Url) -> Result<ClientStream, ConnectError> {
            let stream = self.0.as_ref().map(|client| client.stream(url)).transpose();
            stream.map_err(|error| ConnectError::Transport(error.into()))
        }
    }

    /// Returns the transport of a connection that the server opens to itself. It needs no proof.
    pub fn to_ourselves(is_secure: bool, address: SocketAddr) -> io::Result<ClientStream> {
        if !is_secure {
            return Ok(None);
        }
        let url = Url::parse(&format!("wss://{address}")).map_err(io::Error::other)?;
        TlsClient::insecure().stream(&url).map(Some).map_err(io::Error::other)
    }

    /// Returns the name of the file for the keys.
    ///
    /// # Errors
    ///
    /// `SSLKEYLOGFILE` is not set, as a line for the user.
    pub fn key_log_file(lang: Lang) -> Result<String, String> {
        let file = std::env::var_os("SSLKEYLOGFILE").filter(|file| !file.is_empty());
        let file = file.ok_or_else(|| texts::NO_KEY_LOG.get(lang).to_owned())?;
        Ok(file.to_string_lossy().into_owned())
    }
}

#[cfg(not(feature = "tls"))]
mod without {
    use framewise::{ConnectError, Tcp, Url};

    use super::*;

    pub type ClientStream = Tcp;

    #[derive(clap::Args, Clone, Debug, Default)]
    pub struct Options {}

    #[derive(Clone, Debug, Default)]
    pub struct Dialer;

    impl Options {
        /// Refuses `wss://`.
        ///
        /// # Errors
        ///
        /// The URL needs TLS.
        pub fn dialer(&self, url: &Url, lang: Lang) -> Result<Dialer, String> {
            if url.is_secure() { Err(ConnectError::Secure.text(lang)) } else { Ok(Dialer) }
        }
    }

    impl Dialer {
        pub fn stream(&self, _: &Url) -> Result<ClientStream, ConnectError> {
            Ok(Tcp)
        }
    }

    pub fn to_ourselves(_: bool, _: std::net::SocketAddr) -> io::Result<ClientStream> {
        Ok(Tcp)
    }
}

/// A socket and its transport: reads and writes clear bytes. A handshake of the transport takes place while it is read, so
/// reading and writing return `WouldBlock` also where the socket has not.
pub struct Pipe<S> {
    pub socket: S,
    stream: ClientStream,
    /// The end was announced.
    is_ending: bool,
}

impl<S: Read + Write> Pipe<S> {
    pub fn new(socket: S, stream: ClientStream) -> Pipe<S> {
        Pipe { socket, stream, is_ending: false }
    }

    /// Reports whether the transport has failed, and why.
    pub fn failure(&self, lang: Lang) -> Option<String> {
        let error = self.stream.failure()?;
        Some(framewise::internal::transport_text(error.as_ref(), lang))
    }

    /// Writes what the transport has to say itself.
    pub fn drive(&mut self) -> io::Result<()> {
        if !self.stream.wants_write() {
            return Ok(());
        }
        match self.stream.drive(&mut self.socket, Readiness::default()) {
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(()),
            result => result,
        }
    }
}

impl Pipe<mio::net::TcpStream> {
    /// Announces that nothing more follows, and closes the sending side once the transport has written everything. Returns
    /// whether it has.
    pub fn end(&mut self) -> io::Result<bool> {
        if !self.is_ending {
            self.stream.end_output();
            self.is_ending = true;
        }
        self.drive()?;
        if !self.stream.wants_write() {
            self.socket.shutdown(std::net::Shutdown::Write)?;
        }
        Ok(!self.stream.wants_write())
    }
}

impl<S: Read + Write> Read for Pipe<S> {
    /// Reads clear bytes. `Interrupted` means that there are none yet and that the socket may have more, which no new readiness
    /// announces.
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let mut socket = Watched { socket: &mut self.socket, may_have_more: false };
        let read = self.stream.read(&mut socket, into);
        let may_have_more = socket.may_have_more;
        let driven = self.drive();
        let read = read.map_err(|error| match error.kind() {
            ErrorKind::WouldBlock if may_have_more => ErrorKind::Interrupted.into(),
            _ => error,
        })?;
        driven.map(|()| read.count)
    }
}

/// Notes how the last read of a socket ended.
struct Watched<'s, S> {
    socket: &'s mut S,
    /// It delivered bytes.
    may_have_more: bool,
}

impl<S: Read> Read for Watched<'_, S> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let result = self.socket.read(into);
        self.may_have_more = matches!(result, Ok(1..));
        result
    }
}

impl<S: Read + Write> Write for Pipe<S> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.write_vectored(&[IoSlice::new(bytes)])
    }

    fn write_vectored(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        let written = self.stream.write(&mut self.socket, slices)?;
        self.drive()?;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.drive()
    }
}
