//! `--tls-cert`, `--tls-key` and `--tls-self-signed`: the certificate of the server, and its replacement while the server runs.
//!
//! ```text
//! every 2 s: have the files changed? ──> the same at the next look ──> read ──> TlsServer::replace
//! SIGUSR1    ─────────────────────────────────────────────────────────> read ──'
//! ```
//!
//! Rules of this file: a pair that cannot be used is reported, and the old one stays in use. The two files are written one after
//! the other, so a change counts once nothing has changed for one more look.

use std::fs::File;
use std::io::{self, Read};
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread;
use std::time::{Duration, SystemTime};

use framewise::TlsServer;
use framewise::lang::Lang;
use rcgen::{CertificateParams, DnType, ExtendedKeyUsagePurpose, KeyPair};
use tracing::{info, warn};

use crate::serve::settings::Args;
use crate::texts;
use crate::tls::key_log_file;

/// How often the files are looked at.
const LOOK: Duration = Duration::from_secs(2);

/// The most bytes of a file.
const MAX_FILE: u64 = 1 << 20;

/// How many days a certificate of our own is valid, from the day before.
const DAYS: u32 = 365;

/// TLS of the server.
pub struct Tls {
    pub server: TlsServer,
    /// The SHA-256 of a certificate of our own, as browsers show it.
    pub fingerprint: Option<String>,
    /// The files, unless the certificate is our own.
    files: Option<Files>,
}

/// An error of the settings: the id of the option, and what is wrong.
pub type Fault = (&'static str, String);

impl Tls {
    /// Returns TLS as the options ask for it, or `None` if they do not.
    ///
    /// # Errors
    ///
    /// The options do not fit together, or the certificate or the key cannot be used.
    pub fn of(args: &Args, lang: Lang) -> Result<Option<Tls>, Fault> {
        let mut tls = match (&args.tls_cert, &args.tls_key, args.tls_self_signed) {
            (None, None, false) if args.tls_key_log => {
                return Err(("tls_key_log", texts::KEY_LOG_ALONE.get(lang).to_owned()));
            }
            (None, None, false) => return Ok(None),
            (None, None, true) => Tls::self_signed(args),
            (Some(cert), Some(key), false) => {
                Tls::from_files(Files { cert: cert.clone(), key: key.clone() }, lang)?
            }
            (Some(_), None, false) => {
                return Err(("tls_cert", texts::TLS_WANTS_KEY.get(lang).to_owned()));
            }
            (None, Some(_), false) => {
                return Err(("tls_key", texts::TLS_WANTS_CERT.get(lang).to_owned()));
            }
            _ => {
                return Err(("tls_self_signed", texts::TLS_TWO_CERTIFICATES.get(lang).to_owned()));
            }
        };
        if args.tls_key_log {
            let file = key_log_file(lang).map_err(|why| ("tls_key_log", why))?;
            warn!("{}", texts::KEY_LOG.with(args.log_lang(lang), &[&file]));
            tls.server = tls.server.log_keys();
        }
        Ok(Some(tls))
    }

    fn from_files(files: Files, lang: Lang) -> Result<Tls, Fault> {
        let (chain, key) = files.read()?;
        let server = TlsServer::from_pem(&chain, &key).map_err(|error| {
            let option = if error == framewise::TlsError::NoKey { "tls_key" } else { "tls_cert" };
            (option, files.explain(&error.text(lang)))
        })?;
        Ok(Tls { server, fingerprint: None, files: Some(files) })
    }

    /// Makes a certificate for all names and addresses of this machine.
    fn self_signed(args: &Args) -> Tls {
        let mut names = vec!["localhost".to_owned()];
        names.extend(crate::serve::hosts::machine_name());
        names.extend(crate::serve::hosts::machine_name().map(|name| format!("{name}.local")));
        names.extend(args.allow_host.iter().cloned());
        let public = args.public_url.as_ref().map(|url| url.host.as_str());
        names.extend(public.map(crate::serve::hosts::name_of));
        if !args.host.is_empty() {
            names.push(args.host.clone());
        }
        names.extend(["127.0.0.1", "::1"].map(str::to_owned));
        names.extend(
            if_addrs::get_if_addrs().into_iter().flatten().map(|found| found.ip().to_string()),
        );
        let (chain, key, der) = sign(names);
        let server = TlsServer::from_pem(chain.as_bytes(), key.as_bytes());
        let server = server.expect("a certificate and its key");
        Tls { server, fingerprint: Some(fingerprint(&der)), files: None }
    }

    /// Replaces the certificate when its files change. Returns where to ask for it at once.
    pub fn watch(&self, lang: Lang) -> Option<SyncSender<()>> {
        let (ask, asked) = sync_channel(1);
        let (files, server) = (self.files.clone()?, self.server.clone());
        thread::spawn(move || files.watch(&server, &asked, lang));
        Some(ask)
    }
}

/// Returns a certificate for these names and addresses, its key, both in PEM, and the certificate in DER. Those that no
/// certificate can have are left out.
fn sign(mut names: Vec<String>) -> (String, String, Vec<u8>) {
    names.sort();
    names.dedup();
    names.retain(|name| {
        // An address to listen on is no address to connect to.
        let is_unspecified = name.parse::<IpAddr>().is_ok_and(|address| address.is_unspecified());
        !is_unspecified && CertificateParams::new([name.clone()]).is_ok()
    });
    let mut params = CertificateParams::new(names).expect("each of them is possible");
    params.distinguished_name.push(DnType::CommonName, "framewise");
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    let day = Duration::from_secs(24 * 60 * 60);
    let now = SystemTime::now();
    if let (Some(first), Some(last)) = (date(now - day), date(now + day * DAYS)) {
        params.not_before = rcgen::date_time_ymd(first.0, first.1, first.2);
        params.not_after = rcgen::date_time_ymd(last.0, last.1, last.2);
    }
    let key = KeyPair::generate().expect("the system has random numbers");
    let certificate = params.self_signed(&key).expect("the parameters are complete");
    (certificate.pem(), key.serialize_pem(), certificate.der().to_vec())
}

/// Returns year, month and day in UTC.
fn date(time: SystemTime) -> Option<(i32, u8, u8)> {
    let text = humantime::format_rfc3339_seconds(time).to_string();
    let mut parts = text.get(..10)?.split('-');
    let year = parts.next()?.parse().ok()?;
    Some((year, parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
}

/// Returns the SHA-256 of a certificate, as browsers show it.
fn fingerprint(der: &[u8]) -> String {
    let digest = ring::digest::digest(&ring::digest::SHA256, der);
    let bytes: Vec<String> = digest.as_ref().iter().map(|byte| format!("{byte:02X}")).collect();
    bytes.join(":")
}

/// The files of a certificate and its key.
#[derive(Clone, Debug)]
struct Files {
    cert: PathBuf,
    key: PathBuf,
}

/// What shows that a file has changed: its time and its length, or that it cannot be read.
type State = [Option<(SystemTime, u64)>; 2];

impl Files {
    fn read(&self) -> Result<(Vec<u8>, Vec<u8>), Fault> {
        let read = |option, path: &Path| {
            let bytes = read(path);
            bytes.map_err(|error| (option, format!("{}: {error}", path.display())))
        };
        Ok((read("tls_cert", &self.cert)?, read("tls_key", &self.key)?))
    }

    fn explain(&self, why: &str) -> String {
        format!("{}, {}: {why}", self.cert.display(), self.key.display())
    }

    fn state(&self) -> State {
        [&self.cert, &self.key].map(|path| {
            let found = std::fs::metadata(path).ok()?;
            Some((found.modified().ok()?, found.len()))
        })
    }

    fn watch(&self, server: &TlsServer, asked: &Receiver<()>, lang: Lang) {
        let mut used = self.state();
        let mut last = used;
        loop {
            let is_asked = match asked.recv_timeout(LOOK) {
                Ok(()) => true,
                Err(RecvTimeoutError::Timeout) => false,
                Err(RecvTimeoutError::Disconnected) => return,
            };
            let now = self.state();
            if is_asked || (now != used && now == last) {
                self.replace(server, lang);
                used = now;
            }
            last = now;
        }
    }

    /// Reads the files and uses them from now on, or reports why they cannot be used.
    fn replace(&self, server: &TlsServer, lang: Lang) {
        let replaced = self.read().map_err(|(_, why)| why).and_then(|(chain, key)| {
            server.replace(&chain, &key).map_err(|error| self.explain(&error.text(lang)))
        });
        match replaced {
            Ok(()) => info!("{}", texts::LOG_TLS_REPLACED.get(lang)),
            Err(error) => warn!(error, "{}", texts::LOG_TLS_KEPT.get(lang)),
        }
    }
}

/// Reads a file that is not longer than a certificate could be.
fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(MAX_FILE + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > MAX_FILE {
        return Err(io::ErrorKind::FileTooLarge.into());
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_certificate_of_our_own_leaves_out_what_no_certificate_can_have() {
        let names = ["localhost", "a b", "çé", "0.0.0.0", "::", "127.0.0.1", "::1", "localhost"];
        let (chain, key, der) = sign(names.map(str::to_owned).into());
        assert!(TlsServer::from_pem(chain.as_bytes(), key.as_bytes()).is_ok());
        assert!(der.windows(9).any(|bytes| bytes == b"localhost"));
    }

    /// Of the empty text, as every tool computes it.
    #[test]
    fn a_fingerprint_has_32_bytes() {
        let text = fingerprint(b"");
        assert!(text.starts_with("E3:B0:C4:42:98:FC:1C:14:") && text.len() == 32 * 3 - 1, "{text}");
    }
}
