//! The lines of a recording: one JSON object each, a [`Head`] and then [`Line`]s.

use std::borrow::Cow;
use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

/// The version of the format. A reader refuses any other.
pub const VERSION: u32 = 1;

/// The most bytes of a read or write in one line. A longer one is split over several lines, which only happens to writes: the
/// server reads less than this at once.
pub const MAX_BYTES: usize = 1 << 20;

/// The longest line: its bytes in hexadecimal, and the rest of it.
pub const MAX_LINE: usize = 2 * MAX_BYTES + 1024;

/// The first line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Head {
    /// The version of the format.
    pub framewise_recording: u32,
    /// The program that wrote the recording, and its version.
    pub program: String,
    /// When the recording started (RFC 3339). All other times count from here.
    pub started: String,
    /// The addresses on which the server listened.
    pub listening: Vec<SocketAddr>,
}

/// Every other line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "lowercase")]
pub enum Line<'a> {
    /// A TCP connection was accepted.
    Open {
        /// Microseconds since the start of the recording, as in every other variant.
        us: u64,
        /// The number of the connection, counted from 1.
        connection: u64,
        /// The address of the client.
        address: SocketAddr,
    },
    /// The server has read bytes.
    In {
        us: u64,
        connection: u64,
        /// How many bytes.
        length: usize,
        hex: Cow<'a, str>,
    },
    /// The server has written bytes.
    Out { us: u64, connection: u64, length: usize, hex: Cow<'a, str> },
    /// The connection was closed.
    Close {
        us: u64,
        connection: u64,
        /// The code with which the WebSocket closed, if there was a WebSocket.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        code: Option<u16>,
    },
    /// The last line of a recording that is whole.
    End { us: u64, reason: Reason },
}

/// Why a recording ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Reason {
    /// The server has stopped.
    Stopped,
    /// `--record-limit` was reached.
    Limit,
    /// The disk was slower than the class, and too much was waiting to be written.
    Slow,
}
