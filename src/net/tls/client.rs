//! TLS for a client: which servers it trusts, and a stream for each connection.

use std::fmt;
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{
    ClientConfig, ClientConnection, Connection, DigitallySignedStruct, Error, KeyLogFile,
    RootCertStore, SignatureScheme,
};

use crate::net::tls::error::TlsError;
use crate::net::tls::server::{ALPN, certificates};
use crate::net::tls::stream::TlsStream;
use crate::protocol::url::Url;

/// TLS for clients, TLS 1.2 and 1.3: makes the [`TlsStream`] of each connection.
///
/// ```no_run
/// use framewise::{Client, ClientRequest, Config, TlsClient, Url};
///
/// let request = ClientRequest::new(Url::parse("wss://example.org/chat")?);
/// let stream = TlsClient::new()?.stream(request.url())?;
/// let mut client = Client::open_over(&request, Config::default(), stream, ())?;
/// client.send("olá")?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// Clones share the sessions, so that a further connection to the same server resumes one.
#[derive(Clone)]
pub struct TlsClient {
    config: Arc<ClientConfig>,
    server_name: Option<String>,
}

impl TlsClient {
    /// Returns a client that trusts the certificate authorities of the operating system.
    ///
    /// # Errors
    ///
    /// The operating system has no root certificates.
    pub fn new() -> Result<TlsClient, TlsError> {
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        if roots.is_empty() { Err(TlsError::NoRoots) } else { TlsClient::trusting(roots) }
    }

    /// Returns a client that trusts only the certificate authorities in a PEM file. The file may also have the
    /// self-signed certificate of a server.
    ///
    /// # Errors
    ///
    /// The PEM is malformed or has no certificate.
    pub fn with_ca(pem: &[u8]) -> Result<TlsClient, TlsError> {
        let mut roots = RootCertStore::empty();
        for certificate in certificates(pem)? {
            roots.add(certificate).map_err(TlsError::of_pair)?;
        }
        TlsClient::trusting(roots)
    }

    /// Returns a client that accepts every certificate. The connection is encrypted, but possibly with an attacker: use
    /// it only to try things out.
    pub fn insecure() -> TlsClient {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let verifier = Arc::new(Unverified(Arc::clone(&provider)));
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("the provider has all versions")
            .dangerous()
            .with_custom_certificate_verifier(verifier)
            .with_no_client_auth();
        TlsClient::configured(config)
    }

    fn trusting(roots: RootCertStore) -> Result<TlsClient, TlsError> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(TlsError::of_pair)?
            .with_root_certificates(roots)
            .with_no_client_auth();
        Ok(TlsClient::configured(config))
    }

    fn configured(mut config: ClientConfig) -> TlsClient {
        config.alpn_protocols = vec![ALPN.to_vec()];
        TlsClient { config: Arc::new(config), server_name: None }
    }

    /// Sets the name that the server's certificate must have and that the server is asked for (SNI), instead of the host
    /// of the URL.
    #[must_use]
    pub fn server_name(mut self, name: &str) -> TlsClient {
        self.server_name = Some(name.to_owned());
        self
    }

    /// Also writes the keys of each connection to the file that the environment variable `SSLKEYLOGFILE` names, so that
    /// Wireshark can decrypt a capture. With that file, anyone who has captured the connection can read all of it.
    #[must_use]
    pub fn log_keys(mut self) -> TlsClient {
        Arc::make_mut(&mut self.config).key_log = Arc::new(KeyLogFile::new());
        self
    }

    /// Returns the stream of a new connection to the host of the URL, for [`Client::open_over`](crate::Client::open_over).
    ///
    /// # Errors
    ///
    /// The host, or the [server name](TlsClient::server_name), is neither a DNS name nor an IP address.
    pub fn stream(&self, url: &Url) -> Result<TlsStream, TlsError> {
        let name = self.server_name.as_deref().unwrap_or(url.host());
        let malformed = |_| TlsError::ServerName(name.to_owned());
        let server = ServerName::try_from(name.to_owned()).map_err(malformed)?;
        let connection = ClientConnection::new(Arc::clone(&self.config), server);
        let connection = connection.map_err(TlsError::of_connection)?;
        Ok(TlsStream::new(Connection::Client(connection)))
    }
}

impl fmt::Debug for TlsClient {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = out.debug_struct("TlsClient");
        shown.field("server_name", &self.server_name).finish_non_exhaustive()
    }
}

/// Accepts every certificate, but only from a server that has its key.
#[derive(Debug)]
struct Unverified(Arc<CryptoProvider>);

impl ServerCertVerifier for Unverified {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(
            message,
            certificate,
            signed,
            &self.0.signature_verification_algorithms,
        )
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(
            message,
            certificate,
            signed,
            &self.0.signature_verification_algorithms,
        )
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
