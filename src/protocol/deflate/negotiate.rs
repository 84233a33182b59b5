//! RFC 7692 7: finds the parameters of permessage-deflate that both sides agree on.
//!
//! ```text
//! client                                                   server
//! offer()   ── permessage-deflate; client_max_window_bits ──>  accept()   the answer, or none: try the next offer
//! confirm() <── permessage-deflate; server_no_context_takeover ──
//! ```
//!
//! | parameter | in an offer | in an answer |
//! |---|---|---|
//! | `server_no_context_takeover` | the server must keep no context | the server keeps none |
//! | `client_no_context_takeover` | the client keeps none | the client must keep none |
//! | `server_max_window_bits=N` | the server must not use a larger window | the server uses no larger one |
//! | `client_max_window_bits`, `=N` | the client can limit its window, and uses no larger one than `N` | the client must not use a larger one than `N` |
//!
//! Rules of this file:
//!
//! - An offer with an unknown, repeated or invalid parameter is declined (RFC 7692 7.1). Such an answer is refused.
//! - Our compressor has no window of 8 bits. An offer that asks the server for it is declined, and an answer that asks the client for
//!   it is refused. No answer names 8.

use std::fmt;
use std::mem;

use crate::protocol::deflate::settings::Deflate;
use crate::protocol::http::fields::ExtensionItem;

/// The name of the extension in `Sec-WebSocket-Extensions`.
pub(crate) const NAME: &str = "permessage-deflate";

const SERVER_NO_CONTEXT_TAKEOVER: &str = "server_no_context_takeover";
const CLIENT_NO_CONTEXT_TAKEOVER: &str = "client_no_context_takeover";
const SERVER_MAX_WINDOW_BITS: &str = "server_max_window_bits";
const CLIENT_MAX_WINDOW_BITS: &str = "client_max_window_bits";

/// The largest window, in bits, which is the one without a parameter.
pub(crate) const MAX_BITS: u8 = 15;

/// The smallest window that a parameter can name, in bits.
const MIN_BITS: u8 = 8;

/// The smallest window of our compressor, in bits.
const MIN_OWN_BITS: u8 = 9;

/// The parameters of an offer or of an answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Params {
    server_no_context_takeover: bool,
    client_no_context_takeover: bool,
    server_max_window_bits: Option<u8>,
    /// An offer may have the parameter without a value.
    client_max_window_bits: Option<Option<u8>>,
}

/// What both sides agreed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Agreed {
    pub(crate) server: Side,
    pub(crate) client: Side,
}

/// How one side compresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Side {
    /// Whether it keeps its context from one message to the next.
    pub(crate) takeover: bool,
    /// Its window, in bits.
    pub(crate) bits: u8,
}

impl Params {
    /// Parses the parameters of an offer or an answer. Returns `None` if one of them is unknown, repeated or invalid.
    pub(crate) fn parse(item: &ExtensionItem<'_>) -> Option<Params> {
        let mut params = Params::default();
        for (name, value) in &item.params {
            // CVE-2026-2229: a window outside of the range is refused here, and never reaches the compressor.
            let bits = value.as_deref().map(window_bits);
            let is_repeated = match (*name, bits) {
                (SERVER_NO_CONTEXT_TAKEOVER, None) => {
                    mem::replace(&mut params.server_no_context_takeover, true)
                }
                (CLIENT_NO_CONTEXT_TAKEOVER, None) => {
                    mem::replace(&mut params.client_no_context_takeover, true)
                }
                (SERVER_MAX_WINDOW_BITS, Some(Some(bits))) => {
                    params.server_max_window_bits.replace(bits).is_some()
                }
                (CLIENT_MAX_WINDOW_BITS, None) => {
                    params.client_max_window_bits.replace(None).is_some()
                }
                (CLIENT_MAX_WINDOW_BITS, Some(Some(bits))) => {
                    params.client_max_window_bits.replace(Some(bits)).is_some()
                }
                _ => return None,
            };
            if is_repeated {
                return None;
            }
        }
        Some(params)
    }

    /// Returns the offer of a client.
    pub(crate) fn offer(settings: &Deflate) -> Params {
        Params {
            server_no_context_takeover: settings.server_no_context_takeover,
            client_no_context_takeover: settings.client_no_context_takeover,
            server_max_window_bits: below_max(settings.server_max_window_bits),
            client_max_window_bits: Some(below_max(settings.client_max_window_bits)),
        }
    }

    /// Returns a server's answer to this offer and what it means, or `None` if the server cannot fulfil it.
    pub(crate) fn accept(&self, settings: &Deflate) -> Option<(Params, Agreed)> {
        let server = match self.server_max_window_bits {
            Some(bits) if bits < MIN_OWN_BITS => return None,
            Some(bits) => bits.min(settings.server_max_window_bits),
            None => settings.server_max_window_bits,
        };
        // RFC 7692 7.1.2.2: a server limits the window only of a client that has offered the parameter. A client that has
        // named 8 keeps to it without an answer.
        let client = self.client_max_window_bits.and_then(|offered| {
            let bits = offered.unwrap_or(MAX_BITS).min(settings.client_max_window_bits);
            below_max(bits).filter(|&bits| bits >= MIN_OWN_BITS)
        });
        let answer = Params {
            // RFC 7692 7.1.1.1: what the client asks for, the server must promise. It may promise more than that.
            server_no_context_takeover: self.server_no_context_takeover
                || settings.server_no_context_takeover,
            // RFC 7692 7.1.1.2: also without an offer.
            client_no_context_takeover: self.client_no_context_takeover
                || settings.client_no_context_takeover,
            // RFC 7692 7.1.2.1
            server_max_window_bits: match self.server_max_window_bits {
                Some(_) => Some(server),
                None => below_max(server),
            },
            client_max_window_bits: client.map(Some),
        };
        Some((answer, answer.agreed()))
    }

    /// Returns what a server's answer to a client's offer means, or `None` if the client must refuse it.
    pub(crate) fn confirm(&self, settings: &Deflate) -> Option<Agreed> {
        let offer = Params::offer(settings);
        // RFC 7692 7.1.1.1: the server must promise it if the client has asked for it.
        if offer.server_no_context_takeover && !self.server_no_context_takeover {
            return None;
        }
        // RFC 7692 7.1.2.1: the same or a smaller window than offered. Without an offer the server may name any.
        let asked = offer.server_max_window_bits.unwrap_or(MAX_BITS);
        if self.server_max_window_bits.unwrap_or(MAX_BITS) > asked {
            return None;
        }
        // RFC 7692 7.1.2.2: the parameter has a value, which the client has to keep.
        match self.client_max_window_bits {
            None => {}
            Some(Some(bits))
                if (MIN_OWN_BITS..=settings.client_max_window_bits).contains(&bits) => {}
            Some(_) => return None,
        }
        let mut agreed = self.agreed();
        agreed.client.bits = agreed.client.bits.min(settings.client_max_window_bits);
        // The client may do without a context of its own accord.
        agreed.client.takeover &= !settings.client_no_context_takeover;
        Some(agreed)
    }

    /// Returns what an answer means.
    pub(crate) fn agreed(&self) -> Agreed {
        Agreed {
            server: Side {
                takeover: !self.server_no_context_takeover,
                bits: self.server_max_window_bits.unwrap_or(MAX_BITS),
            },
            client: Side {
                takeover: !self.client_no_context_takeover,
                bits: self.client_max_window_bits.flatten().unwrap_or(MAX_BITS),
            },
        }
    }
}

impl fmt::Display for Params {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(NAME)?;
        if self.server_no_context_takeover {
            write!(out, "; {SERVER_NO_CONTEXT_TAKEOVER}")?;
        }
        if self.client_no_context_takeover {
            write!(out, "; {CLIENT_NO_CONTEXT_TAKEOVER}")?;
        }
        if let Some(bits) = self.server_max_window_bits {
            write!(out, "; {SERVER_MAX_WINDOW_BITS}={bits}")?;
        }
        match self.client_max_window_bits {
            None => Ok(()),
            Some(None) => write!(out, "; {CLIENT_MAX_WINDOW_BITS}"),
            Some(Some(bits)) => write!(out, "; {CLIENT_MAX_WINDOW_BITS}={bits}"),
        }
    }
}

/// Parses the size of a window: a decimal number from 8 to 15 without a leading zero (RFC 7692 7.1.2).
fn window_bits(value: &str) -> Option<u8> {
    if value.starts_with('0') || !value.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    value.parse().ok().filter(|bits| (MIN_BITS..=MAX_BITS).contains(bits))
}

/// Returns the window as a parameter, which the largest one does not need.
fn below_max(bits: u8) -> Option<u8> {
    (bits < MAX_BITS).then_some(bits)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::http::fields::extension_list;

    fn parse(text: &str) -> Option<Params> {
        let items = extension_list(text.as_bytes()).expect("well-formed");
        let [item] = &items[..] else { panic!("{text}") };
        Params::parse(item)
    }

    /// Returns the answer to an offer, and what it means: each side's context and window.
    fn answer(offer: &str, settings: &Deflate) -> Option<String> {
        let (answer, agreed) = parse(offer)?.accept(settings)?;
        let side = |side: Side| format!("{}{}", if side.takeover { "+" } else { "-" }, side.bits);
        let shown = answer.to_string();
        // The answer says what the server does.
        assert_eq!(parse(&shown).expect("valid").agreed(), agreed);
        let params =
            shown.strip_prefix(NAME).expect("the name").replace("_no_context_takeover", "");
        let params = params.replace("_max_window_bits", "");
        Some(format!("{}{} |{params}", side(agreed.server), side(agreed.client)))
    }

    fn settings(server: u8, client: u8) -> Deflate {
        let mut settings = Deflate::default().with_context_takeover();
        (settings.server_max_window_bits, settings.client_max_window_bits) = (server, client);
        settings
    }

    /// RFC 7692 7.1.1, 7.1.2: all combinations of what an offer has and what the server wants.
    #[test]
    fn a_server_answers_each_offer() {
        let (all, small, plain) = (settings(15, 15), settings(10, 11), Deflate::default());
        for (offer, to_all, to_small, to_plain) in [
            ("", "+15+15 |", "+10+15 |; server=10", "-15-15 |; server; client"),
            (
                "; server_no_context_takeover",
                "-15+15 |; server",
                "-10+15 |; server; server=10",
                "-15-15 |; server; client",
            ),
            (
                "; client_no_context_takeover",
                "+15-15 |; client",
                "+10-15 |; client; server=10",
                "-15-15 |; server; client",
            ),
            (
                "; server_max_window_bits=12",
                "+12+15 |; server=12",
                "+10+15 |; server=10",
                "-12-15 |; server; client; server=12",
            ),
            (
                "; server_max_window_bits=9",
                "+9+15 |; server=9",
                "+9+15 |; server=9",
                "-9-15 |; server; client; server=9",
            ),
            (
                "; server_max_window_bits=15",
                "+15+15 |; server=15",
                "+10+15 |; server=10",
                "-15-15 |; server; client; server=15",
            ),
            (
                "; client_max_window_bits",
                "+15+15 |",
                "+10+11 |; server=10; client=11",
                "-15-15 |; server; client",
            ),
            (
                "; client_max_window_bits=15",
                "+15+15 |",
                "+10+11 |; server=10; client=11",
                "-15-15 |; server; client",
            ),
            (
                "; client_max_window_bits=10",
                "+15+10 |; client=10",
                "+10+10 |; server=10; client=10",
                "-15-10 |; server; client; client=10",
            ),
            // The client keeps to 8 bits, which no answer names.
            (
                "; client_max_window_bits=8",
                "+15+15 |",
                "+10+15 |; server=10",
                "-15-15 |; server; client",
            ),
        ] {
            let offer = format!("{NAME}{offer}");
            for (settings, expected) in [(&all, to_all), (&small, to_small), (&plain, to_plain)] {
                assert_eq!(answer(&offer, settings).as_deref(), Some(expected), "{offer}");
            }
        }
    }

    /// RFC 7692 7.1, 7.1.2: unknown, repeated and invalid parameters. CVE-2026-2229: windows out of range.
    #[test]
    fn cve_2026_2229_an_invalid_offer_is_declined() {
        for params in [
            "x",
            "server_no_context_takeover=1",
            "client_no_context_takeover=true",
            "server_no_context_takeover; server_no_context_takeover",
            "client_no_context_takeover; x; client_no_context_takeover",
            "client_max_window_bits; client_max_window_bits",
            "client_max_window_bits; client_max_window_bits=10",
            "server_max_window_bits=10; server_max_window_bits=10",
            "server_max_window_bits",
            "server_max_window_bits=8",
            "server_max_window_bits=7",
            "server_max_window_bits=16",
            "server_max_window_bits=010",
            "server_max_window_bits=+10",
            "server_max_window_bits=-1",
            "server_max_window_bits=x",
            "server_max_window_bits=999999999999999999999",
            "client_max_window_bits=0",
            "client_max_window_bits=7",
            "client_max_window_bits=16",
            "client_max_window_bits=08",
            "client_max_window_bits=271",
            "SERVER_NO_CONTEXT_TAKEOVER",
        ] {
            assert_eq!(answer(&format!("{NAME}; {params}"), &settings(15, 15)), None, "{params}");
        }
    }

    /// RFC 7692 7.1.2: a quoted value is the same as a token.
    #[test]
    fn a_value_may_be_quoted() {
        let quoted = parse("permessage-deflate; server_max_window_bits=\"1\\0\"").expect("valid");
        assert_eq!(Some(quoted), parse("permessage-deflate; server_max_window_bits=10"));
    }

    #[test]
    fn a_client_offers_its_settings() {
        let offer = |settings: &Deflate| Params::offer(settings).to_string();
        assert_eq!(
            offer(&Deflate::default()),
            "permessage-deflate; server_no_context_takeover; client_no_context_takeover; client_max_window_bits"
        );
        assert_eq!(offer(&settings(15, 15)), "permessage-deflate; client_max_window_bits");
        assert_eq!(
            offer(&settings(9, 10)),
            "permessage-deflate; server_max_window_bits=9; client_max_window_bits=10"
        );
    }

    /// RFC 7692 7.1, 7.1.1.1, 7.1.2.1, 7.1.2.2: what the answer may be.
    #[test]
    fn a_client_refuses_an_answer_that_it_cannot_keep() {
        let confirmed = |params: &str, settings: &Deflate| {
            let agreed = parse(&format!("{NAME}{params}"))?.confirm(settings)?;
            let side =
                |side: Side| format!("{}{}", if side.takeover { "+" } else { "-" }, side.bits);
            Some(side(agreed.server) + &side(agreed.client))
        };
        let (all, small, plain) = (settings(15, 15), settings(10, 11), Deflate::default());
        for (params, to_all, to_small, to_plain) in [
            ("", Some("+15+15"), None, None),
            ("; server_no_context_takeover", Some("-15+15"), None, Some("-15-15")),
            ("; client_no_context_takeover", Some("+15-15"), None, None),
            // A server may use a smaller window without being asked. Any decompressor can follow, even with 8 bits.
            ("; server_max_window_bits=8", Some("+8+15"), Some("+8+11"), None),
            ("; server_max_window_bits=10", Some("+10+15"), Some("+10+11"), None),
            ("; server_max_window_bits=11", Some("+11+15"), None, None),
            ("; client_max_window_bits=9", Some("+15+9"), None, None),
            (
                "; server_max_window_bits=9; client_max_window_bits=11",
                Some("+9+11"),
                Some("+9+11"),
                None,
            ),
            // A larger window than offered.
            ("; server_max_window_bits=9; client_max_window_bits=12", Some("+9+12"), None, None),
            // Our compressor has no window of 8 bits.
            ("; client_max_window_bits=8", None, None, None),
            // Only an offer has the parameter without a value.
            ("; client_max_window_bits", None, None, None),
            ("; x", None, None, None),
            ("; server_max_window_bits=16", None, None, None),
            ("; server_no_context_takeover; server_no_context_takeover", None, None, None),
        ] {
            for (settings, expected) in [(&all, to_all), (&small, to_small), (&plain, to_plain)] {
                assert_eq!(
                    confirmed(params, settings).as_deref(),
                    expected,
                    "{params} {settings:?}"
                );
            }
        }
    }
}
