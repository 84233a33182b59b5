//! RFC 6455 §9: extensions, which may change messages when they are sent and received.
//!
//! ```text
//! client                              server
//! offer()   ── Sec-WebSocket-Extensions: a, b; x=1 ──>  accept()   the first offer that the server supports
//! confirm() <── Sec-WebSocket-Extensions: b; x=1 ─────
//!
//! out:  message ── Encoder ──> payload data, RSV1 set        in:  payload data ── Decoder ──> message
//! ```
//!
//! Rules of this file:
//!
//! - The set of extensions is fixed at compile time. A connection without one only pays for a comparison.
//! - The message reader owns the [`Decoder`], and the output owns the [`Encoder`].
//! - Limits and UTF-8 are checked on decoded data.

use crate::config::HandshakePolicy;
#[cfg(feature = "deflate")]
use crate::protocol::deflate::codec;
#[cfg(feature = "deflate")]
use crate::protocol::deflate::negotiate::{self, Params, Side};
#[cfg(feature = "deflate")]
use crate::protocol::deflate::settings::Deflate;
use crate::protocol::frame::{Role, Rsv};
use crate::protocol::http::fields::{Fields, extension_list};
use crate::protocol::violation::Violation;

/// The header field in which the client offers extensions and the server accepts them (§11.3.2).
pub(crate) const FIELD: &str = "sec-websocket-extensions";

/// Both halves of a negotiated extension.
#[derive(Debug, Default)]
pub(crate) struct Extension {
    pub(crate) decoder: Decoder,
    pub(crate) encoder: Encoder,
}

/// The subprotocol and the extensions that the opening handshake negotiated. A server finds them in
/// [`Opened`](crate::Opened), a client in [`Client::negotiated`](crate::Client::negotiated).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Negotiated {
    /// The subprotocol that the server chose, if any.
    pub subprotocol: Option<String>,
    /// The accepted extensions with their parameters, as listed in the response.
    pub extensions: Option<String>,
}

/// Restores messages that the peer's encoder has changed.
#[derive(Debug, Default)]
pub(crate) enum Decoder {
    /// Messages are received unchanged.
    #[default]
    None,
    #[cfg(feature = "deflate")]
    Deflate(codec::Decoder),
    #[cfg(test)]
    Reverse(Box<reverse::Decoder>),
}

impl Decoder {
    /// Returns the reserved bits that the first frame of a message may set.
    #[inline]
    pub(crate) fn allowed(&self) -> Rsv {
        match self {
            Decoder::None => Rsv::NONE,
            // RFC 7692 6
            #[cfg(feature = "deflate")]
            Decoder::Deflate(_) => Rsv::RSV1,
            #[cfg(test)]
            Decoder::Reverse(_) => Rsv::RSV1,
        }
    }

    /// Decodes the next piece of a message (§6.2-6) whose first frame has RSV1 set, and calls `emit` with the decoded data.
    /// `last` marks the last piece.
    ///
    /// # Errors
    ///
    /// The payload data cannot be decoded, or `emit` fails because the decoded data exceeds a limit or is not UTF-8.
    pub(crate) fn decode(
        &mut self,
        piece: &[u8],
        last: bool,
        emit: impl FnMut(&[u8]) -> Result<(), Violation>,
    ) -> Result<(), Violation> {
        match self {
            Decoder::None => {
                let _ = (piece, last, emit);
                Err(Violation::ReservedBits)
            }
            #[cfg(feature = "deflate")]
            Decoder::Deflate(deflate) => deflate.decode(piece, last, emit),
            #[cfg(test)]
            Decoder::Reverse(reverse) => reverse.decode(piece, last, emit),
        }
    }

    /// Returns how many bytes were decoded since the last call. A peer can cause much more of this work than it sends bytes.
    #[inline]
    pub(crate) fn take_work(&mut self) -> u32 {
        match self {
            Decoder::None => 0,
            #[cfg(feature = "deflate")]
            Decoder::Deflate(deflate) => deflate.take_work(),
            #[cfg(test)]
            Decoder::Reverse(_) => 0,
        }
    }

    /// Returns the memory in bytes that the decoder holds for an incomplete message, or between messages.
    #[inline]
    pub(crate) fn held(&self) -> usize {
        match self {
            Decoder::None => 0,
            #[cfg(feature = "deflate")]
            Decoder::Deflate(deflate) => deflate.held(),
            #[cfg(test)]
            Decoder::Reverse(reverse) => reverse.held(),
        }
    }
}

/// Changes messages before they are sent.
#[derive(Debug, Default)]
pub(crate) enum Encoder {
    /// Messages are sent unchanged.
    #[default]
    None,
    #[cfg(feature = "deflate")]
    Deflate(codec::Encoder),
    #[cfg(test)]
    Reverse(reverse::Encoder),
}

/// Identifies encoders that produce the same bytes for the same message. A message to many peers is encoded once for
/// each kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct EncoderKind(u64);

impl Encoder {
    /// Reports whether messages are sent unchanged.
    #[inline]
    pub(crate) fn is_none(&self) -> bool {
        matches!(self, Encoder::None)
    }

    /// Returns the payload data to send with RSV1 set, or `None` if the message should be sent unchanged.
    pub(crate) fn encode(&mut self, payload: &[u8]) -> Option<Vec<u8>> {
        match self {
            Encoder::None => {
                let _ = payload;
                None
            }
            #[cfg(feature = "deflate")]
            Encoder::Deflate(deflate) => deflate.encode(payload),
            #[cfg(test)]
            Encoder::Reverse(reverse) => Some(reverse.encode(payload)),
        }
    }

    /// Returns the kind, or `None` if the encoded bytes depend on earlier messages.
    pub(crate) fn kind(&self) -> Option<EncoderKind> {
        match self {
            Encoder::None => Some(EncoderKind(0)),
            #[cfg(feature = "deflate")]
            Encoder::Deflate(deflate) => deflate.kind().map(|kind| EncoderKind(kind.number())),
            #[cfg(test)]
            Encoder::Reverse(reverse) => Some(EncoderKind(1 + u64::from(reverse.times()))),
        }
    }

    /// Frees the memory that the encoder holds between messages. It works without, but later messages become longer.
    pub(crate) fn shed(&mut self) {
        #[cfg(feature = "deflate")]
        if let Encoder::Deflate(deflate) = self {
            deflate.shed();
        }
    }

    /// Returns the memory in bytes that the encoder holds between messages.
    #[inline]
    pub(crate) fn held(&self) -> usize {
        match self {
            Encoder::None => 0,
            #[cfg(feature = "deflate")]
            Encoder::Deflate(deflate) => deflate.held(),
            #[cfg(test)]
            Encoder::Reverse(_) => 0,
        }
    }
}

/// Returns the client's offers (§9-1) as the value of the header field, or `None` if it offers nothing.
pub(crate) fn offer(policy: &HandshakePolicy) -> Option<String> {
    #[cfg(test)]
    if policy.reverse {
        return Some(reverse::OFFER.to_owned());
    }
    #[cfg(feature = "deflate")]
    if let Some(settings) = &policy.deflate {
        return Some(Params::offer(settings).to_string());
    }
    let _ = policy;
    None
}

/// Reports whether a client offers an extension that this library knows.
pub(crate) fn is_offered(fields: &Fields<'_>) -> bool {
    #[cfg(feature = "deflate")]
    {
        let mut offers = fields.all(FIELD).filter_map(extension_list).flatten();
        offers.any(|offer| offer.name == negotiate::NAME)
    }
    #[cfg(not(feature = "deflate"))]
    {
        let _ = fields;
        false
    }
}

/// Accepts the first of a client's offers that the server supports (§9-2, §4.2.2-10). Returns the extension and the value of the
/// response's header field.
pub(crate) fn accept(fields: &Fields<'_>, policy: &HandshakePolicy) -> Option<(Extension, String)> {
    #[cfg(test)]
    if policy.reverse {
        return fields.all(FIELD).find_map(reverse::accept);
    }
    #[cfg(feature = "deflate")]
    if let Some(settings) = &policy.deflate {
        // RFC 6455 §9.1-3, §11.3.2-1: several fields are one list.
        let offers = fields.all(FIELD).filter_map(extension_list).flatten();
        let mut offers = offers.filter(|offer| offer.name == negotiate::NAME);
        // RFC 7692 5.1: an offer that cannot be fulfilled is declined, and the next one is examined.
        return offers.find_map(|offer| {
            let (answer, agreed) = Params::parse(&offer)?.accept(settings)?;
            Some((deflate(agreed.server, agreed.client, settings), answer.to_string()))
        });
    }
    let _ = (fields, policy);
    None
}

/// Returns the extension of one side of a connection.
#[cfg(feature = "deflate")]
fn deflate(own: Side, peer: Side, settings: &Deflate) -> Extension {
    Extension {
        decoder: Decoder::Deflate(codec::Decoder::new(peer)),
        encoder: Encoder::Deflate(codec::Encoder::new(own, settings)),
    }
}

/// Checks the server's choice against the client's offers. Returns the extension and the value of the response's header
/// field.
///
/// Returns `None` if the response contains an extension or a parameter that the client did not offer (§4.1-45), or if its
/// field is malformed.
pub(crate) fn confirm(
    fields: &Fields<'_>,
    policy: &HandshakePolicy,
) -> Option<(Extension, Option<String>)> {
    let value = match fields.only(FIELD) {
        Ok(None) => return Some((Extension::default(), None)),
        Ok(Some(value)) => value,
        // RFC 6455 §11.3.2-2: more than one field.
        Err(_) => return None,
    };
    // RFC 6455 §9.1-1: an empty field is malformed, too.
    let items = extension_list(value)?;
    #[cfg(test)]
    if policy.reverse {
        let (extension, value) = reverse::accept(value)?;
        return Some((extension, Some(value)));
    }
    #[cfg(feature = "deflate")]
    if let (Some(settings), [answer]) = (&policy.deflate, &items[..]) {
        if answer.name != negotiate::NAME {
            return None;
        }
        let agreed = Params::parse(answer)?.confirm(settings)?;
        let value = str::from_utf8(value).ok()?.to_owned();
        return Some((deflate(agreed.client, agreed.server, settings), Some(value)));
    }
    let _ = (items, policy);
    None
}

/// What a server's response agrees to, for a dissector, which reads both directions and does not negotiate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Seen {
    #[cfg(feature = "deflate")]
    agreed: negotiate::Agreed,
}

impl Seen {
    /// Returns what the fields of a response agree to, and the value of the header field. `may_extend` says whether the client
    /// may have offered an extension that this library knows.
    ///
    /// Returns `None` if the field is malformed, or if it has an extension or a parameter that no client of this library has
    /// offered.
    pub(crate) fn in_response(
        fields: &Fields<'_>,
        may_extend: bool,
    ) -> Option<(Option<Seen>, Option<String>)> {
        let Some(value) = fields.only(FIELD).ok()? else { return Some((None, None)) };
        let seen = Some(Seen::in_value(value)?).filter(|_| may_extend)?;
        Some((Some(seen), Some(str::from_utf8(value).ok()?.to_owned())))
    }

    /// Returns what the value of the header field agrees to, or `None` if no client of this library can have offered that.
    pub(crate) fn in_value(value: &[u8]) -> Option<Seen> {
        let items = extension_list(value)?;
        #[cfg(feature = "deflate")]
        if let [answer] = &items[..]
            && answer.name == negotiate::NAME
        {
            return Some(Seen { agreed: Params::parse(answer)?.agreed() });
        }
        let _ = items;
        None
    }

    /// Returns a decoder for the messages of one side.
    pub(crate) fn decoder(self, sender: Role) -> Decoder {
        match sender {
            #[cfg(feature = "deflate")]
            Role::Client => Decoder::Deflate(codec::Decoder::new(self.agreed.client)),
            #[cfg(feature = "deflate")]
            Role::Server => Decoder::Deflate(codec::Decoder::new(self.agreed.server)),
            #[cfg(not(feature = "deflate"))]
            _ => Decoder::None,
        }
    }
}

/// The extension of the unit tests: the encoder reverses the payload, and the decoder repeats it.
///
/// It resembles compression: it uses RSV1 and parameters, a message is only decoded at its end, and the decoded message
/// is longer than its payload data.
#[cfg(test)]
mod reverse {
    use crate::protocol::extension::{self, Extension};
    use crate::protocol::violation::Violation;

    pub(crate) const OFFER: &str = "reverse; times=3, reverse";

    #[derive(Debug)]
    pub(crate) struct Decoder {
        times: u32,
        kept: Vec<u8>,
    }

    impl Decoder {
        pub(crate) fn decode(
            &mut self,
            piece: &[u8],
            last: bool,
            mut emit: impl FnMut(&[u8]) -> Result<(), Violation>,
        ) -> Result<(), Violation> {
            self.kept.extend_from_slice(piece);
            if !last {
                return Ok(());
            }
            let mut clear = std::mem::take(&mut self.kept);
            clear.reverse();
            (0..self.times).try_for_each(|_| emit(&clear))
        }

        pub(crate) fn held(&self) -> usize {
            self.kept.capacity()
        }
    }

    #[derive(Debug)]
    pub(crate) struct Encoder {
        times: u32,
    }

    impl Encoder {
        pub(crate) fn times(&self) -> u32 {
            self.times
        }

        pub(crate) fn encode(&self, payload: &[u8]) -> Vec<u8> {
            payload.iter().rev().copied().collect()
        }
    }

    /// Accepts `reverse` and `reverse; times=N` for N up to 9.
    pub(crate) fn accept(value: &[u8]) -> Option<(Extension, String)> {
        let value = str::from_utf8(value).ok()?;
        value.split(',').map(str::trim).find_map(|offer| {
            let times = match offer.split_once(';') {
                None if offer == "reverse" => 1,
                Some(("reverse", parameter)) => {
                    parameter.trim().strip_prefix("times=")?.parse().ok().filter(|n| *n < 10)?
                }
                _ => return None,
            };
            let decoder = Box::new(Decoder { times, kept: Vec::new() });
            let encoder = Encoder { times };
            let extension = Extension {
                decoder: extension::Decoder::Reverse(decoder),
                encoder: extension::Encoder::Reverse(encoder),
            };
            Some((extension, offer.to_owned()))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 6455 §9.1-1, §11.3.2-2: a response has at most one field, and it is well-formed.
    #[test]
    fn a_response_has_one_well_formed_field() {
        let policy = HandshakePolicy { reverse: true, ..HandshakePolicy::default() };
        let agreed = |lines: &str| {
            let fields = Fields::parse(lines.as_bytes()).expect("well-formed lines");
            confirm(&fields, &policy).map(|(_, value)| value)
        };
        assert_eq!(agreed("\r\n"), Some(None));
        let one = "Sec-WebSocket-Extensions: reverse\r\n";
        assert_eq!(agreed(one), Some(Some("reverse".to_owned())));
        assert_eq!(agreed(&format!("{one}{one}")), None);
        assert_eq!(agreed(&format!("{one}Sec-WebSocket-Extensions:\r\n")), None);
        assert_eq!(agreed("Sec-WebSocket-Extensions:\r\n"), None);
        assert_eq!(agreed("Sec-WebSocket-Extensions: reverse, a;\r\n"), None);
    }
}
