//! The settings of permessage-deflate.

/// Settings of permessage-deflate (RFC 7692), the extension that compresses messages. It is a part of
/// [`HandshakePolicy`](crate::config::HandshakePolicy), and needs the feature `deflate`.
///
/// A client offers the extension with these settings. A server accepts the first offer that it can fulfil, with these settings or
/// stricter ones that the client asks for.
///
/// By default, neither side keeps a *context*, which is what it remembers of earlier messages. Then all connections of an event
/// loop share one compressor and one decompressor, and an idle connection holds none. With a context, messages that resemble
/// earlier ones become shorter, and each connection in use holds about 420 KiB more.
///
/// Do not compress secrets together with text that somebody else can choose: the length of the result tells whether the two
/// are alike.
///
/// ```
/// use framewise::Config;
/// use framewise::config::Deflate;
///
/// let mut deflate = Deflate::default();
/// deflate.level = 6;
/// let config = Config::default().handshake(|handshake| handshake.deflate = Some(deflate));
/// assert!(config.validate().is_ok());
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Deflate {
    /// How much work compression may do, from 1, the fastest, to 9, the shortest output.
    pub level: u8,
    /// The shortest message that is compressed, in bytes. A message that compression does not shorten is sent as it is.
    pub min_length: usize,
    /// Whether the server compresses each message without the context of earlier ones.
    pub server_no_context_takeover: bool,
    /// Whether the client compresses each message without the context of earlier ones.
    pub client_no_context_takeover: bool,
    /// The largest window of the server, as a power of two: from 9 for 512 bytes to 15 for 32 KiB. How far back in the
    /// message, or in earlier ones, its compressor refers.
    pub server_max_window_bits: u8,
    /// The largest window of the client. A server cannot limit the window of a client that does not offer the parameter.
    pub client_max_window_bits: u8,
}

impl Default for Deflate {
    fn default() -> Deflate {
        Deflate {
            level: 1,
            min_length: 64,
            server_no_context_takeover: true,
            client_no_context_takeover: true,
            server_max_window_bits: 15,
            client_max_window_bits: 15,
        }
    }
}

impl Deflate {
    /// Lets both sides keep their contexts, unless the peer asks for something else.
    #[must_use]
    pub fn with_context_takeover(mut self) -> Deflate {
        self.server_no_context_takeover = false;
        self.client_no_context_takeover = false;
        self
    }
}
