//! Helpers of the tests of TLS: certificates, clients of `rustls`, and a tunnel.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, OnceLock};
use std::thread;

use framewise::TlsServer;
use rcgen::{CertificateParams, Issuer, KeyPair};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, SupportedProtocolVersion};

/// A certificate authority that exists only in a test.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    /// Its certificate, in PEM.
    pub pem: String,
}

/// A certificate and its key, in PEM.
pub struct Pair {
    /// The certificate.
    pub chain: String,
    /// Its private key.
    pub key: String,
}

impl Authority {
    /// Makes an authority of this name.
    pub fn new(name: &str) -> Authority {
        let mut params = CertificateParams::new(Vec::new()).expect("valid names");
        params.distinguished_name.push(rcgen::DnType::CommonName, name);
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("random numbers");
        let pem = params.self_signed(&key).expect("a certificate").pem();
        Authority { issuer: Issuer::new(params, key), pem }
    }

    /// Issues a certificate for names and addresses. `change` changes its parameters.
    pub fn issue(&self, names: &[&str], change: impl FnOnce(&mut CertificateParams)) -> Pair {
        let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
        let mut params = CertificateParams::new(names).expect("valid names");
        change(&mut params);
        let key = KeyPair::generate().expect("random numbers");
        let certificate = params.signed_by(&key, &self.issuer).expect("a certificate");
        Pair { chain: certificate.pem(), key: key.serialize_pem() }
    }
}

impl Pair {
    /// Returns a server with this certificate.
    pub fn server(&self) -> TlsServer {
        TlsServer::from_pem(self.chain.as_bytes(), self.key.as_bytes()).expect("a valid pair")
    }
}

/// Returns the authority of this process.
pub fn authority() -> &'static Authority {
    static AUTHORITY: OnceLock<Authority> = OnceLock::new();
    AUTHORITY.get_or_init(|| Authority::new("tests"))
}

/// Returns the certificate of this process for localhost and 127.0.0.1.
pub fn pair() -> &'static Pair {
    static PAIR: OnceLock<Pair> = OnceLock::new();
    PAIR.get_or_init(|| authority().issue(&["localhost", "127.0.0.1"], |_| {}))
}

/// Returns a configuration that trusts the authority of this process and speaks only these versions.
pub fn client_config(versions: &[&'static SupportedProtocolVersion]) -> ClientConfig {
    let mut roots = RootCertStore::empty();
    let root = CertificateDer::from_pem_slice(authority().pem.as_bytes()).expect("a certificate");
    roots.add(root).expect("an authority");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(versions)
        .expect("known versions")
        .with_root_certificates(roots)
        .with_no_client_auth()
}

/// Returns the client's side of a new TLS connection to `localhost`.
pub fn connection(config: &Arc<ClientConfig>) -> ClientConnection {
    let name = ServerName::try_from("localhost").expect("a name");
    ClientConnection::new(Arc::clone(config), name).expect("a valid configuration")
}

/// Starts a tunnel to a server that speaks TLS, and returns its address: each TCP connection to it is passed on through
/// TLS, until the process ends.
pub fn tunnel(server: SocketAddr) -> SocketAddr {
    let listener = TcpListener::bind((server.ip(), 0)).expect("a free port");
    let address = listener.local_addr().expect("bound");
    let config = Arc::new(client_config(&[&rustls::version::TLS13]));
    thread::spawn(move || {
        for plain in listener.incoming().map_while(Result::ok) {
            let config = Arc::clone(&config);
            thread::spawn(move || pass_on(plain, server, &config));
        }
    });
    address
}

/// One connection of a tunnel.
fn pass_on(mut plain: TcpStream, server: SocketAddr, config: &Arc<ClientConfig>) {
    let Ok(mut socket) = TcpStream::connect(server) else { return };
    let _ = (plain.set_nodelay(true), socket.set_nodelay(true));
    let mut tls = connection(config);
    while tls.is_handshaking() {
        if tls.complete_io(&mut socket).is_err() {
            return;
        }
    }
    let tls = Arc::new(Mutex::new(tls));
    let outward = Arc::clone(&tls);
    let (Ok(mut from_client), Ok(mut to_server)) = (plain.try_clone(), socket.try_clone()) else {
        return;
    };
    thread::spawn(move || {
        let mut bytes = vec![0; 16 * 1024];
        loop {
            let count = from_client.read(&mut bytes).unwrap_or(0);
            let mut records = Vec::new();
            {
                let mut tls = outward.lock().expect("not poisoned");
                match count {
                    0 => tls.send_close_notify(),
                    _ => tls.writer().write_all(&bytes[..count]).expect("it is buffered"),
                }
                while tls.wants_write() {
                    tls.write_tls(&mut records).expect("a vector takes everything");
                }
            }
            if to_server.write_all(&records).is_err() || count == 0 {
                let _ = to_server.shutdown(Shutdown::Write);
                return;
            }
        }
    });
    let mut bytes = vec![0; 64 * 1024];
    loop {
        let count = socket.read(&mut bytes).unwrap_or(0);
        let mut rest = &bytes[..count];
        let mut clear = Vec::new();
        let ends = loop {
            let mut tls = tls.lock().expect("not poisoned");
            let read = tls.read_tls(&mut rest).expect("the clear bytes were taken");
            let result = tls.process_new_packets();
            if let Err(error) = tls.reader().read_to_end(&mut clear)
                && !matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::UnexpectedEof)
            {
                break true;
            }
            if read == 0 || result.as_ref().map_or(true, |state| state.peer_has_closed()) {
                break true;
            }
            if rest.is_empty() {
                break false;
            }
        };
        if plain.write_all(&clear).is_err() || ends {
            let _ = plain.shutdown(Shutdown::Write);
            return;
        }
    }
}
