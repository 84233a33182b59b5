//! The transport of the examples: TCP, or TLS where an option asks for it. TLS needs the feature `tls`:
//! `cargo run --features tls --example echo -- --tls-cert chain.pem --tls-key key.pem`

#[cfg(not(feature = "tls"))]
pub use without::*;

#[cfg(feature = "tls")]
pub use with::*;

#[cfg(not(feature = "tls"))]
mod without {
    use framewise::lang::Lang;
    use framewise::{Tcp, Url};

    use crate::common::Values;

    pub type ServerTransport = Tcp;
    pub type ClientTransport = Tcp;

    /// No option, because the example is built without TLS.
    #[derive(Clone, Debug, Default)]
    pub struct TlsOptions {}

    impl TlsOptions {
        /// Reports that there is no such option.
        pub fn takes(&mut self, _: &str, _: &mut Values) -> bool {
            false
        }

        pub fn server(&self, _: Lang) -> Tcp {
            Tcp
        }

        pub fn client(&self, _: &Url, _: Lang) -> Tcp {
            Tcp
        }
    }
}

#[cfg(feature = "tls")]
mod with {
    use framewise::lang::Lang;
    use framewise::{TlsClient, TlsError, TlsServer, TlsStream, Url};

    use crate::common::{Values, fail, texts};

    pub type ServerTransport = Option<TlsServer>;
    pub type ClientTransport = Option<TlsStream>;

    /// The names of files, as the options give them.
    #[derive(Clone, Debug, Default)]
    pub struct TlsOptions {
        certificate: Option<String>,
        key: Option<String>,
        authority: Option<String>,
    }

    impl TlsOptions {
        /// Handles an option. Returns false if it is not one of these.
        pub fn takes(&mut self, name: &str, values: &mut Values) -> bool {
            let value = match name {
                "--tls-cert" => &mut self.certificate,
                "--tls-key" => &mut self.key,
                "--tls-ca" => &mut self.authority,
                _ => return false,
            };
            *value = Some(values.value());
            true
        }

        /// Returns the transport of a server: TLS if there is a certificate. Ends the program if it cannot be used.
        pub fn server(&self, lang: Lang) -> Option<TlsServer> {
            let (certificate, key) = match (&self.certificate, &self.key) {
                (None, None) => return None,
                (Some(certificate), Some(key)) => (certificate, key),
                _ => fail(lang, texts::TLS_WANTS_BOTH.get(lang)),
            };
            let tls = TlsServer::from_pem(&read(certificate, lang), &read(key, lang));
            Some(tls.unwrap_or_else(|error| fail_with(&error, lang)))
        }

        /// Returns the transport of a client: TLS for a `wss://` URL.
        pub fn client(&self, url: &Url, lang: Lang) -> Option<TlsStream> {
            if !url.is_secure() {
                return None;
            }
            let tls = match &self.authority {
                Some(authority) => TlsClient::with_ca(&read(authority, lang)),
                None => TlsClient::new(),
            };
            let stream = tls.and_then(|tls| tls.stream(url));
            Some(stream.unwrap_or_else(|error| fail_with(&error, lang)))
        }
    }

    fn read(file: &str, lang: Lang) -> Vec<u8> {
        std::fs::read(file)
            .unwrap_or_else(|error| fail(lang, texts::CANNOT_READ.with(lang, &[&file, &error])))
    }

    fn fail_with(error: &TlsError, lang: Lang) -> ! {
        fail(lang, error.text(lang))
    }
}
