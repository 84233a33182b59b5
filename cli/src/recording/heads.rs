//! Reads the heads of one direction of a connection, to find out where its frames begin, and whether it is of a kind that is left
//! out.
//!
//! Rule of this file: the library's parser decides, with the limits of the server.

use framewise::Request;
use framewise::config::ValidConfig;
use framewise::protocol::dissect::{Dissector, Finding};
use framewise::protocol::frame::Role;

/// The requests or responses of one direction.
pub struct Heads {
    dissector: Dissector,
    /// The lines of the head that is being reported.
    head: Vec<u8>,
    /// Bytes that the dissector got, and bytes that it has reported. A head is reported when it is complete.
    fed: usize,
    reported: usize,
}

/// What [`Heads::read`] has found.
pub enum Found {
    /// No head of a WebSocket has ended here.
    Heads,
    /// Frames begin at this position in the bytes.
    Frames(usize),
    /// A request of a connection that is left out.
    LeftOut,
}

impl Heads {
    /// Returns a reader of what `sender` sends. `config` is that of the server.
    pub fn new(sender: Role, config: ValidConfig) -> Heads {
        Heads { dissector: Dissector::new(sender, config), head: Vec::new(), fed: 0, reported: 0 }
    }

    /// Tells the responses which requests they respond to.
    pub fn responds_to(&mut self, requests: &mut Heads) {
        self.dissector.responds_to(&mut requests.dissector);
    }

    /// Reads the next bytes.
    pub fn read(&mut self, bytes: &[u8], is_left_out: impl Fn(&Request<'_>) -> bool) -> Found {
        let Heads { dissector, head, fed, reported } = self;
        let mut found = Found::Heads;
        dissector.feed(bytes, &mut |finding| {
            if !matches!(found, Found::Heads) {
                return;
            }
            *reported += finding.wire().len();
            match finding {
                Finding::StartLine(line) => *head = line.to_vec(),
                Finding::Field(line) | Finding::HeadEnd(line) => head.extend_from_slice(line),
                Finding::ValidHead { handshake } => {
                    let request = Request::parse(head).ok();
                    if request.is_some_and(|request| is_left_out(&request)) {
                        found = Found::LeftOut;
                    } else if *handshake {
                        found = Found::Frames(*reported - *fed);
                    }
                    head.clear();
                }
                _ => {}
            }
        });
        *fed += bytes.len();
        found
    }
}

#[cfg(test)]
mod tests {
    use framewise::Config;
    use proptest::prelude::*;

    use super::*;

    fn heads(sender: Role) -> Heads {
        Heads::new(sender, Config::default().validate().expect("valid"))
    }

    const REQUESTS: [&str; 3] = [
        "GET /health HTTP/1.1\r\nHost: h\r\n\r\n",
        "\r\nHEAD / HTTP/1.1\r\nHost: h\r\n\r\n",
        "GET /ws HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
        Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
    ];

    /// Feeds pieces. Returns the first thing that is found, with its position in the whole.
    fn first(heads: &mut Heads, pieces: &[&[u8]]) -> Option<(usize, bool)> {
        let mut position = 0;
        for piece in pieces {
            match heads.read(piece, |request| request.path() == "/wire") {
                Found::Heads => position += piece.len(),
                Found::Frames(at) => return Some((position + at, false)),
                Found::LeftOut => return Some((position, true)),
            }
        }
        None
    }

    proptest! {
        /// However reads split several requests on one connection, the frames begin after the handshake.
        #[test]
        fn frames_begin_after_the_handshake(
            cuts in proptest::collection::vec(any::<proptest::sample::Index>(), 0..12),
            before in 0_usize..3,
            frames in proptest::collection::vec(any::<u8>(), 0..20),
        ) {
            let heads_length = REQUESTS[..before].concat().len() + REQUESTS[2].len();
            let requests = [REQUESTS[..before].concat().as_bytes(), REQUESTS[2].as_bytes()].concat();
            let wire = [&requests[..], &frames].concat();
            let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(wire.len())).collect();
            cuts.extend([0, wire.len()]);
            cuts.sort_unstable();
            let pieces: Vec<&[u8]> = cuts.windows(2).map(|pair| &wire[pair[0]..pair[1]]).collect();
            prop_assert_eq!(first(&mut heads(Role::Client), &pieces), Some((heads_length, false)));
        }
    }

    #[test]
    fn a_request_that_is_left_out_is_found() {
        for request in REQUESTS {
            let left_out =
                request.replace("/health", "/").replace("/ws", "/").replace(" / ", " /wire ");
            for requests in [left_out.clone(), [REQUESTS[0], &left_out].concat()] {
                let pieces: Vec<&[u8]> = requests.as_bytes().chunks(7).collect();
                let found = first(&mut heads(Role::Client), &pieces);
                assert!(found.is_some_and(|(_, is_left_out)| is_left_out), "{requests}");
            }
        }
        let plain = [REQUESTS[0], REQUESTS[1]].concat();
        assert_eq!(first(&mut heads(Role::Client), &[plain.as_bytes()]), None);
    }
}
