//! TLS for a server: its certificate and key, and a stream for each connection.
//!
//! Rules of this file: A connection keeps the certificate that it began with. A pair that cannot be used is never taken
//! into use.

use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};

use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{Connection, KeyLogFile, ServerConfig, ServerConnection};

use crate::net::tls::error::TlsError;
use crate::net::tls::stream::TlsStream;
use crate::net::transport::Transport;

/// The protocol inside of TLS (ALPN). HTTP/2 has another way to open a WebSocket, which this library does not have.
pub(crate) const ALPN: &[u8] = b"http/1.1";

/// TLS for a server, TLS 1.2 and 1.3: the [`Transport`] that [`Server::over`](crate::Server::over) takes.
///
/// ```no_run
/// use framewise::{Config, Echo, Server, TlsServer};
///
/// let tls = TlsServer::from_pem(&std::fs::read("chain.pem")?, &std::fs::read("key.pem")?)?;
/// let mut server = Server::bind(Config::default(), Echo::default())?.over(tls.clone());
/// // Another thread can replace the certificate later: tls.replace(...)
/// server.run()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// Clones share the certificate. Clients that return resume their session, without another exchange of certificates.
#[derive(Clone)]
pub struct TlsServer {
    config: Arc<RwLock<Arc<ServerConfig>>>,
    logs_keys: bool,
}

impl TlsServer {
    /// Returns a server that identifies itself with a chain of certificates and its private key, both in PEM. The server's
    /// own certificate is the first one in the chain.
    ///
    /// # Errors
    ///
    /// The PEM is malformed or has no certificate or no key, the two do not belong together, or their kind is not
    /// supported.
    pub fn from_pem(chain: &[u8], key: &[u8]) -> Result<TlsServer, TlsError> {
        let config = Arc::new(RwLock::new(configured(chain, key, false)?));
        Ok(TlsServer { config, logs_keys: false })
    }

    /// Also writes the keys of each connection to the file that the environment variable `SSLKEYLOGFILE` names, so that
    /// Wireshark can decrypt a capture. With that file, anyone who has captured the connection can read all of it.
    #[must_use]
    pub fn log_keys(mut self) -> TlsServer {
        self.logs_keys = true;
        let mut shared = self.config.write().unwrap_or_else(PoisonError::into_inner);
        Arc::make_mut(&mut shared).key_log = Arc::new(KeyLogFile::new());
        drop(shared);
        self
    }

    /// Replaces the certificate and the key for new connections, from any thread. Connections keep theirs.
    ///
    /// # Errors
    ///
    /// As for [`from_pem`](TlsServer::from_pem). The old pair stays in use.
    pub fn replace(&self, chain: &[u8], key: &[u8]) -> Result<(), TlsError> {
        let config = configured(chain, key, self.logs_keys)?;
        *self.config.write().unwrap_or_else(PoisonError::into_inner) = config;
        Ok(())
    }
}

/// Returns the configuration for a certificate and its key.
fn configured(chain: &[u8], key: &[u8], logs_keys: bool) -> Result<Arc<ServerConfig>, TlsError> {
    let chain = certificates(chain)?;
    let key = PrivateKeyDer::from_pem_slice(key).map_err(|error| match error {
        pem::Error::NoItemsFound => TlsError::NoKey,
        other => TlsError::Pem(other.to_string()),
    })?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(TlsError::of_pair)?
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .map_err(TlsError::of_pair)?;
    config.alpn_protocols = vec![ALPN.to_vec()];
    // A session is in its ticket, which the client keeps, so that clients that never return cost the server no memory.
    config.ticketer = rustls::crypto::ring::Ticketer::new().map_err(TlsError::of_pair)?;
    if logs_keys {
        config.key_log = Arc::new(KeyLogFile::new());
    }
    let config = Arc::new(config);
    // Shows that `accept` cannot fail.
    ServerConnection::new(Arc::clone(&config)).map_err(TlsError::of_pair)?;
    Ok(config)
}

/// Parses the certificates of a PEM file.
pub(crate) fn certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let parsed: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    let certificates = parsed.map_err(|error| TlsError::Pem(error.to_string()))?;
    if certificates.is_empty() { Err(TlsError::NoCertificate) } else { Ok(certificates) }
}

impl Transport for TlsServer {
    type Stream = TlsStream;

    fn accept(&mut self) -> TlsStream {
        let config = self.config.read().unwrap_or_else(PoisonError::into_inner);
        let connection = ServerConnection::new(Arc::clone(&config));
        TlsStream::new(Connection::Server(connection.expect("the configuration was tried")))
    }
}

impl fmt::Debug for TlsServer {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("TlsServer").finish_non_exhaustive()
    }
}
