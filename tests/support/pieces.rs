//! Every way to split bytes into writes, and the two checks that try all of them.

use framewise::Application;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::{Client, TestServer, at_most_one_close, frame, show};

/// How bytes are split into writes.
#[derive(Clone, Copy, Debug)]
pub enum How {
    Whole,
    ByteByByte,
    /// In random pieces, which are the same for the same seed.
    Random(u64),
}

impl How {
    /// Returns all ways. Inputs of more than 4 KiB are not sent byte by byte.
    pub fn all(length: usize) -> Vec<How> {
        let mut ways = vec![How::Whole, How::Random(1), How::Random(2)];
        if length <= 4096 {
            ways.push(How::ByteByByte);
        }
        ways
    }

    /// Splits bytes into pieces.
    pub fn pieces(self, bytes: &[u8]) -> Vec<&[u8]> {
        match self {
            How::Whole => vec![bytes],
            How::ByteByByte => bytes.chunks(1).collect(),
            How::Random(seed) => {
                let mut random = StdRng::seed_from_u64(seed);
                let mut pieces = Vec::new();
                let mut rest = bytes;
                while !rest.is_empty() {
                    let most = if bytes.len() > 4096 { 65_536 } else { 32 };
                    let (piece, after) =
                        rest.split_at(random.random_range(1..=most).min(rest.len()));
                    pieces.push(piece);
                    rest = after;
                }
                pieces
            }
        }
    }
}

/// Opens a connection, sends `input` and expects exactly `output` and the end of TCP, once for each way to split the
/// input. Then checks the invariants.
#[track_caller]
pub fn ends_with<A: Application + Send + 'static>(
    server: &TestServer<A>,
    input: &[u8],
    output: &[u8],
) {
    for how in How::all(input.len()) {
        let mut client = Client::open(server.address);
        client.send_as(how, input);
        let seen = client.read_to_end();
        assert_eq!(show(&seen), show(output), "{how:?}, input {}", show(input));
        at_most_one_close(&seen);
    }
    server.is_back_to_baseline();
}

/// As [`ends_with`], for input that leaves the connection open. Sends a Close after it.
#[track_caller]
pub fn answers_with<A: Application + Send + 'static>(
    server: &TestServer<A>,
    input: &[u8],
    output: &[u8],
) {
    let closed = [output, b"\x88\x02\x03\xe8"].concat();
    ends_with(server, &[input, &frame(0x88, &1000u16.to_be_bytes())].concat(), &closed);
}
