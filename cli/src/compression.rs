//! The option `--deflate`, which `serve`, `connect` and `load` have in common.

use clap::ValueEnum;
use framewise::config::Deflate;

/// Whether messages are compressed, if the other side agrees: not at all, each one alone, or with what both sides remember of
/// earlier ones.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Compression {
    #[default]
    Off,
    On,
    Takeover,
}

impl Compression {
    /// Returns the settings of the library.
    pub fn settings(self) -> Option<Deflate> {
        match self {
            Compression::Off => None,
            Compression::On => Some(Deflate::default()),
            Compression::Takeover => Some(Deflate::default().with_context_takeover()),
        }
    }
}
