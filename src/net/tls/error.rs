//! Every TLS error: of certificates and keys when they are loaded, and of a connection.

use std::fmt;

use rustls::{CertificateError, Error, InvalidMessage};

use crate::lang::Lang;
use crate::texts;

/// The reason why certificates or keys cannot be used, or why TLS failed on a connection.
///
/// ```
/// use framewise::{TlsError, TlsServer};
///
/// let error = TlsServer::from_pem(b"", b"").expect_err("there is no certificate");
/// assert!(matches!(error, TlsError::NoCertificate));
/// assert_eq!(error.to_string(), "there is no certificate in the PEM file (-----BEGIN CERTIFICATE-----)");
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum TlsError {
    /// The certificates or the key are not well-formed PEM.
    Pem(String),
    /// The PEM has no certificate.
    NoCertificate,
    /// The PEM has no private key, or the key is encrypted.
    NoKey,
    /// The private key does not belong to the certificate.
    KeyMismatch,
    /// The certificate or the key is of a kind that is not supported.
    Unusable(String),
    /// The operating system has no root certificates, so that no server can be verified.
    NoRoots,
    /// The host of the URL or the server name is neither a DNS name nor an IP address.
    ServerName(String),
    /// The peer does not speak TLS.
    NotTls,
    /// The issuer of the server's certificate is not trusted.
    UnknownIssuer,
    /// The server's certificate is for other names.
    WrongName {
        /// The name that the client looked for.
        expected: String,
        /// The names in the certificate.
        presented: Vec<String>,
    },
    /// The server's certificate has expired.
    Expired,
    /// The server's certificate is not valid yet.
    NotYetValid,
    /// The server's certificate is invalid for another reason.
    Certificate(String),
    /// The peer ended TLS with this alert (RFC 8446 section 6).
    Alert(String),
    /// The peer broke another rule of TLS, or both sides have no version or algorithm in common.
    Failed(String),
}

impl TlsError {
    /// Returns one line that explains what is wrong.
    pub fn text(&self, lang: Lang) -> String {
        let with =
            |text: crate::lang::Bilingual, value: &dyn fmt::Display| text.with(lang, &[value]);
        match self {
            TlsError::Pem(why) => with(texts::TLS_PEM, why),
            TlsError::NoCertificate => texts::TLS_NO_CERTIFICATE.get(lang).to_owned(),
            TlsError::NoKey => texts::TLS_NO_KEY.get(lang).to_owned(),
            TlsError::KeyMismatch => texts::TLS_KEY_MISMATCH.get(lang).to_owned(),
            TlsError::Unusable(why) => with(texts::TLS_UNUSABLE, why),
            TlsError::NoRoots => texts::TLS_NO_ROOTS.get(lang).to_owned(),
            TlsError::ServerName(name) => with(texts::TLS_SERVER_NAME, name),
            TlsError::NotTls => texts::TLS_NOT_TLS.get(lang).to_owned(),
            TlsError::UnknownIssuer => texts::TLS_UNKNOWN_ISSUER.get(lang).to_owned(),
            TlsError::WrongName { expected, presented } => {
                texts::TLS_WRONG_NAME.with(lang, &[expected, &presented.join(", ")])
            }
            TlsError::Expired => texts::TLS_EXPIRED.get(lang).to_owned(),
            TlsError::NotYetValid => texts::TLS_NOT_YET_VALID.get(lang).to_owned(),
            TlsError::Certificate(why) => with(texts::TLS_CERTIFICATE, why),
            TlsError::Alert(alert) => with(texts::TLS_ALERT, alert),
            TlsError::Failed(why) => with(texts::TLS_FAILED, why),
        }
    }

    /// Returns the reason why TLS failed on a connection.
    pub(crate) fn of_connection(error: Error) -> TlsError {
        match error {
            Error::InvalidMessage(InvalidMessage::InvalidContentType) => TlsError::NotTls,
            Error::InvalidCertificate(error) => TlsError::of_certificate(error),
            Error::AlertReceived(alert) => TlsError::Alert(format!("{alert:?}")),
            other => TlsError::Failed(other.to_string()),
        }
    }

    fn of_certificate(error: CertificateError) -> TlsError {
        match error {
            // A bad signature means that another certificate has the name of the issuer, for example an older one.
            CertificateError::UnknownIssuer | CertificateError::BadSignature => {
                TlsError::UnknownIssuer
            }
            CertificateError::NotValidForNameContext { expected, presented } => {
                let presented = presented.iter().map(|name| bare(name)).collect();
                TlsError::WrongName { expected: expected.to_str().into_owned(), presented }
            }
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
                TlsError::Expired
            }
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
                TlsError::NotYetValid
            }
            other => TlsError::Certificate(other.to_string()),
        }
    }

    /// Returns the reason why a certificate and a key cannot be used.
    pub(crate) fn of_pair(error: Error) -> TlsError {
        match error {
            Error::InconsistentKeys(_) => TlsError::KeyMismatch,
            other => TlsError::Unusable(other.to_string()),
        }
    }
}

/// Returns the name in a text such as `DnsName("localhost")` or `IpAddress(127.0.0.1)`.
fn bare(name: &str) -> String {
    let inner = name.split_once('(').and_then(|(_, rest)| rest.strip_suffix(')'));
    inner.unwrap_or(name).trim_matches('"').to_owned()
}

impl fmt::Display for TlsError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.text(Lang::En))
    }
}

impl std::error::Error for TlsError {}
