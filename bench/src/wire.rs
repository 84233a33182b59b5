//! The bytes of a connection: TCP as it is, or inside of TLS. The load and the limit use it.
//!
//! TLS is `rustls`, configured as the library configures it. Records are read from the socket into a buffer that all
//! connections share, and a connection keeps only what `rustls` keeps.

use std::error::Error;
use std::fs;
use std::io::{self, ErrorKind, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use mio::net::TcpStream;
use rcgen::{CertifiedKey, generate_simple_self_signed};
use rustls::client::Resumption;
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, Connection, RootCertStore, ServerConfig, ServerConnection};

/// The protocol inside of TLS (ALPN).
const ALPN: &[u8] = b"http/1.1";

/// More than one record, with what `rustls` may keep of an incomplete one. A read has this much less of records than there
/// is space for clear bytes, so that no clear bytes are left inside.
const GAP: usize = 18 * 1024;

/// The most bytes of records that wait for the socket, before clear bytes are refused.
const MAX_QUEUED: usize = 64 * 1024;

/// A connection without blocking.
pub enum Stream {
    /// The bytes are those of the socket.
    Tcp(TcpStream),
    /// The bytes are inside of TLS.
    Tls(TcpStream, Box<Connection>),
}

impl Stream {
    /// Returns the server's side of a connection, with TLS if there is a configuration.
    ///
    /// # Errors
    ///
    /// The configuration cannot be used.
    pub fn accept(socket: TcpStream, tls: Option<&Arc<ServerConfig>>) -> io::Result<Stream> {
        let Some(config) = tls else { return Ok(Stream::Tcp(socket)) };
        let connection = ServerConnection::new(Arc::clone(config)).map_err(io::Error::other)?;
        Ok(Stream::over_tls(socket, connection.into()))
    }

    /// Returns a connection inside of TLS.
    pub fn over_tls(socket: TcpStream, mut connection: Connection) -> Stream {
        // The limit of the library.
        connection.set_buffer_limit(Some(MAX_QUEUED));
        Stream::Tls(socket, Box::new(connection))
    }

    /// Returns the socket, to register it.
    pub fn socket(&mut self) -> &mut TcpStream {
        match self {
            Stream::Tcp(socket) | Stream::Tls(socket, _) => socket,
        }
    }

    /// Reads once from the socket. Returns the number of bytes, and whether the socket may have more. Inside of TLS there may
    /// be no bytes in a read. `into` and `records` are equally long.
    ///
    /// # Errors
    ///
    /// The peer has closed the connection, or TLS fails.
    #[inline]
    pub fn read(&mut self, into: &mut [u8], records: &mut [u8]) -> io::Result<(usize, bool)> {
        match self {
            Stream::Tcp(socket) => match socket.read(into)? {
                0 => Err(ErrorKind::UnexpectedEof.into()),
                count => Ok((count, count == into.len())),
            },
            Stream::Tls(socket, connection) => decrypt(socket, connection, into, records),
        }
    }

    /// Writes bytes and returns how many were taken.
    ///
    /// # Errors
    ///
    /// The socket is full, or the connection is closed.
    #[inline]
    pub fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Stream::Tcp(socket) => socket.write(bytes),
            Stream::Tls(socket, connection) => encrypt(socket, connection, bytes),
        }
    }

    /// Writes the records that wait for the socket.
    ///
    /// # Errors
    ///
    /// The socket is full, or the connection is closed.
    #[inline]
    pub fn flush(&mut self) -> io::Result<()> {
        match self {
            Stream::Tcp(_) => Ok(()),
            Stream::Tls(socket, connection) => flush(socket, connection),
        }
    }
}

// These are not inlined, so that TCP stays as short as without TLS.
#[inline(never)]
fn decrypt(
    socket: &mut TcpStream,
    connection: &mut Connection,
    into: &mut [u8],
    records: &mut [u8],
) -> io::Result<(usize, bool)> {
    let window = &mut records[..into.len() - GAP];
    let read = socket.read(window)?;
    if read == 0 {
        return Err(ErrorKind::UnexpectedEof.into());
    }
    let (mut rest, mut count) = (&window[..read], 0);
    while !rest.is_empty() {
        connection.read_tls(&mut rest)?;
        let state = connection.process_new_packets().map_err(io::Error::other)?;
        let clear = state.plaintext_bytes_to_read();
        connection.reader().read_exact(&mut into[count..count + clear])?;
        count += clear;
    }
    // The handshake of TLS has something to say, too.
    match flush(socket, connection) {
        Err(error) if error.kind() != ErrorKind::WouldBlock => Err(error),
        _ => Ok((count, read == into.len() - GAP)),
    }
}

#[inline(never)]
fn encrypt(socket: &mut TcpStream, connection: &mut Connection, bytes: &[u8]) -> io::Result<usize> {
    flush(socket, connection)?;
    let count = connection.writer().write(bytes)?;
    match flush(socket, connection) {
        Err(error) if error.kind() != ErrorKind::WouldBlock => Err(error),
        _ => Ok(count),
    }
}

#[inline(never)]
fn flush(socket: &mut TcpStream, connection: &mut Connection) -> io::Result<()> {
    while connection.wants_write() {
        connection.write_tls(socket)?;
    }
    Ok(())
}

/// The files with the certificate of the servers and its key, which the harness makes.
#[derive(Clone, Debug)]
pub struct Certificate {
    /// The certificate, in PEM.
    pub chain: PathBuf,
    /// Its private key, in PEM.
    pub key: PathBuf,
}

impl Certificate {
    /// Returns the files of the harness, in `target`. They may not exist.
    pub fn of_harness() -> Certificate {
        let of = |name| Path::new(env!("CARGO_MANIFEST_DIR")).join("../target").join(name);
        Certificate { chain: of("bench-chain.pem"), key: of("bench-key.pem") }
    }

    /// Makes a certificate for `localhost` with a key of P-256, unless there is one.
    ///
    /// # Errors
    ///
    /// The files cannot be written.
    pub fn make(&self) -> Result<(), Box<dyn Error>> {
        if !self.chain.exists() || !self.key.exists() {
            let CertifiedKey { cert, signing_key } =
                generate_simple_self_signed(["localhost".to_owned()])?;
            fs::write(&self.chain, cert.pem())?;
            fs::write(&self.key, signing_key.serialize_pem())?;
        }
        Ok(())
    }

    /// Returns the configuration of a server, which is that of the library.
    ///
    /// # Errors
    ///
    /// A file cannot be read or used.
    pub fn server(&self) -> Result<Arc<ServerConfig>, Box<dyn Error>> {
        let chain = vec![CertificateDer::from_pem_file(&self.chain)?];
        let key = PrivateKeyDer::from_pem_file(&self.key)?;
        let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_single_cert(chain, key)?;
        config.alpn_protocols = vec![ALPN.to_vec()];
        config.ticketer = ring::Ticketer::new()?;
        Ok(Arc::new(config))
    }

    /// Returns the configuration of the load. It trusts only this certificate and offers only TLS 1.3 and one cipher suite, so
    /// that all servers do the same work.
    ///
    /// # Errors
    ///
    /// The file cannot be read or used.
    pub fn client(&self, resumes: bool) -> Result<Arc<ClientConfig>, Box<dyn Error>> {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_file(&self.chain)?)?;
        let mut provider = ring::default_provider();
        provider.cipher_suites = vec![ring::cipher_suite::TLS13_AES_256_GCM_SHA384];
        let mut config = ClientConfig::builder_with_provider(Arc::new(provider))
            .with_protocol_versions(&[&rustls::version::TLS13])?
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = vec![ALPN.to_vec()];
        if !resumes {
            config.resumption = Resumption::disabled();
        }
        Ok(Arc::new(config))
    }
}
