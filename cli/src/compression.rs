//! The option `--deflate`, which `serve`, `connect`, `load` and `explain` have in common.

use clap::ValueEnum;
use framewise::config::Deflate;
use serde::Deserialize;

/// Whether messages are compressed, if the other side agrees: not at all, each one alone, or with what both sides remember of
/// earlier ones.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Compression {
    #[default]
    Off,
    On,
    Takeover,
}

impl Compression {
    /// Returns the `Sec-WebSocket-Extensions` of a server with this option, if the client offers everything.
    pub fn agreed(self) -> Option<&'static str> {
        match self {
            Compression::Off => None,
            Compression::On => {
                Some("permessage-deflate; server_no_context_takeover; client_no_context_takeover")
            }
            Compression::Takeover => Some("permessage-deflate"),
        }
    }

    /// Returns the settings of the library.
    pub fn settings(self) -> Option<Deflate> {
        match self {
            Compression::Off => None,
            Compression::On => Some(Deflate::default()),
            Compression::Takeover => Some(Deflate::default().with_context_takeover()),
        }
    }
}
