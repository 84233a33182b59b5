//! The event loop over TLS and scripted sockets: whatever a client sends before, during and after the handshake of TLS, memory is
//! limited, a client that keeps to TLS loses nothing, and everything is released in the end.
#![no_main]

#[path = "../../tests/support/script.rs"]
mod script;

use std::io::{Read, Write};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use framewise::config::{Config, OriginPolicy};
use framewise::{Echo, Snapshot, TlsServer};
use libfuzzer_sys::fuzz_target;
use rustls::pki_types::ServerName;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, ClientConnection, RootCertStore};
use script::{Actor, Stage};

/// TLS of the server, and of clients with TLS 1.2 and 1.3.
struct Sides {
    server: TlsServer,
    clients: [Arc<ClientConfig>; 2],
}

fn sides() -> &'static Sides {
    static SIDES: OnceLock<Sides> = OnceLock::new();
    SIDES.get_or_init(|| {
        let certified =
            rcgen::generate_simple_self_signed(["h".to_owned()]).expect("a certificate");
        let (chain, key) = (certified.cert.pem(), certified.signing_key.serialize_pem());
        let server = TlsServer::from_pem(chain.as_bytes(), key.as_bytes()).expect("a pair");
        let clients = [&rustls::version::TLS12, &rustls::version::TLS13].map(|version| {
            let mut roots = RootCertStore::empty();
            let root = rustls::pki_types::CertificateDer::from_pem_slice(chain.as_bytes());
            roots.add(root.expect("a certificate")).expect("it is valid");
            let provider = Arc::new(rustls::crypto::ring::default_provider());
            let config = ClientConfig::builder_with_provider(provider)
                .with_protocol_versions(&[version])
                .expect("a known version")
                .with_root_certificates(roots)
                .with_no_client_auth();
            Arc::new(config)
        });
        Sides { server, clients }
    })
}

/// A client, and what happened to it.
struct Client {
    actor: Actor,
    tls: ClientConnection,
    /// Clear bytes from the server.
    heard: Vec<u8>,
    /// Payloads of messages that it has sent.
    said: Vec<Vec<u8>>,
    /// It has sent something that is not TLS, its connection has ended, or it was kept waiting.
    is_spoilt: bool,
    has_failed: bool,
}

impl Client {
    fn records(&mut self) -> Vec<u8> {
        let mut records = Vec::new();
        while self.tls.wants_write() {
            self.tls.write_tls(&mut records).expect("a vector takes everything");
        }
        records
    }

    fn receive(&mut self, records: &[u8]) {
        let mut rest = records;
        while !rest.is_empty() && !self.has_failed {
            if !matches!(self.tls.read_tls(&mut rest), Ok(1..)) {
                break;
            }
            self.has_failed = self.tls.process_new_packets().is_err();
            let _ = self.tls.reader().read_to_end(&mut self.heard);
        }
    }
}

const MAX_OUTPUT: usize = 4096;

/// Sends bytes. Without bytes, there is no readiness that could hide that some were left unread.
fn send(stage: &mut Stage<Echo, TlsServer>, actor: &Actor, bytes: &[u8]) {
    if !bytes.is_empty() {
        stage.send(actor, bytes);
    }
}

fuzz_target!(|input: &[u8]| {
    let [setup, steps @ ..] = input else { return };
    let config = Config::default()
        .handshake(|handshake| handshake.origins = OriginPolicy::Any)
        .limits(|limits| {
            limits.max_output = MAX_OUTPUT;
            limits.read_buffer = if setup & 1 == 0 { 1024 } else { 64 * 1024 };
        })
        .timeouts(|timeouts| timeouts.ping_interval = None);
    let config = config.validate().expect("valid");
    let mut stage = Stage::over(config, Echo::default(), sides().server.clone());
    let mut clients: Vec<Client> = (0..2)
        .map(|n| {
            let name = ServerName::try_from("h").expect("a name");
            let config = Arc::clone(&sides().clients[usize::from(setup >> (n + 1) & 1)]);
            let mut tls = ClientConnection::new(config, name).expect("a valid configuration");
            tls.writer().write_all(REQUEST).expect("it is buffered");
            let (actor, heard, said) = (stage.connect(), Vec::new(), Vec::new());
            Client { actor, tls, heard, said, is_spoilt: false, has_failed: false }
        })
        .collect();
    let mut rest = steps;
    while let [what, which, amount, after @ ..] = rest {
        rest = after;
        let client = &mut clients[usize::from(which & 1)];
        let (bytes, after) = rest.split_at(usize::from(*amount).min(rest.len()));
        match what % 12 {
            // What the client has to say, whole.
            0 | 1 => {
                let records = client.records();
                send(&mut stage, &client.actor, &records);
            }
            // The same in two parts.
            2 => {
                let records = client.records();
                let (first, second) = records.split_at(usize::from(*amount).min(records.len()));
                send(&mut stage, &client.actor, first);
                stage.pass();
                send(&mut stage, &client.actor, second);
            }
            3 | 4 => {
                let length = usize::from(*amount).min(125);
                let payload = vec![*which; length];
                let mut frame = vec![0x82, 0x80 | length as u8, 0, 0, 0, 0];
                frame.extend(&payload);
                client.tls.writer().write_all(&frame).ok();
                client.said.push(payload);
            }
            // Bytes that are not TLS.
            5 => {
                client.is_spoilt = true;
                send(&mut stage, &client.actor, bytes);
                rest = after;
            }
            // A record of any type and length.
            6 => {
                client.is_spoilt = true;
                let record = [&[20 + what % 5, 3, 3, *which, *amount], bytes].concat();
                stage.send(&client.actor, &record);
                rest = after;
            }
            // A changed byte.
            7 => {
                let mut records = client.records();
                if let Some(byte) = records.get_mut(usize::from(*amount)) {
                    *byte ^= which | 1;
                    client.is_spoilt = true;
                }
                send(&mut stage, &client.actor, &records);
            }
            8 => stage.make_room(&client.actor, Some(usize::from(*amount))),
            9 => stage.make_room(&client.actor, None),
            10 if amount % 4 == 0 => {
                client.is_spoilt = true;
                stage.reset(&client.actor);
            }
            10 => {
                client.is_spoilt = true;
                stage.finish(&client.actor);
            }
            _ => stage.pass(),
        }
        for client in &mut clients {
            let records = stage.heard(&client.actor);
            client.receive(&records);
        }
        let now = stage.event_loop.snapshot();
        assert!(now.queued <= 2 * (MAX_OUTPUT + 80 * 1024), "{now:?}");
        assert!(now.held <= 1024 * 1024, "{now:?}");
    }
    // A client that has kept to TLS gets all its echoes.
    for _ in 0..20 {
        for client in &mut clients {
            stage.make_room(&client.actor, None);
            let records = client.records();
            send(&mut stage, &client.actor, &records);
            stage.pass();
            let records = stage.heard(&client.actor);
            client.receive(&records);
        }
    }
    for client in clients.iter().filter(|client| !client.is_spoilt) {
        assert!(!client.has_failed);
        let end = client.heard.windows(4).position(|four| four == b"\r\n\r\n").expect("a response");
        let echoes: Vec<u8> = client
            .said
            .iter()
            .flat_map(|payload| [&[0x82, payload.len() as u8], &payload[..]].concat())
            .collect();
        assert_eq!(client.heard[end + 4..], echoes);
    }
    for _ in 0..2 {
        stage.event_loop.close_all();
        stage.wait(Duration::from_secs(5));
    }
    stage.wait(Duration::from_secs(20));
    assert_eq!(stage.event_loop.snapshot(), Snapshot::default());
    assert!(stage.event_loop.next_deadline().is_none() && !stage.event_loop.has_turns());
});

const REQUEST: &[u8] =
    b"GET / HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
    Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
