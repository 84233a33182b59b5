//! Follows the frames of one direction from header to header, without looking at what they carry.
//!
//! Without viewers, this is all that happens to the bytes of an open WebSocket. It is enough to know where the next
//! message begins, so that a labeller can start there once there is a viewer.
//!
//! Rule of this file: the library's parser reads the headers.

use framewise::protocol::frame::{Header, MAX_HEADER, Opcode, Role, Rsv};

/// Where a message begins in some bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Start {
    /// The position of its first byte.
    pub at: usize,
    /// How many messages came before it in this direction.
    pub messages: u64,
}

/// The state between two reads or writes.
#[derive(Debug)]
pub struct Follower {
    sender: Role,
    /// The beginning of an incomplete header.
    header: Vec<u8>,
    /// The frame whose payload has not ended, and how many bytes of it are left.
    frame: Option<(Header, u64)>,
    /// Whether a fragmented message has begun and not ended.
    is_in_message: bool,
    /// Complete messages so far.
    messages: u64,
    /// A Close was sent or a rule was broken, so nothing that follows is read.
    is_over: bool,
}

impl Follower {
    /// Returns a follower of the frames that `sender` sends, from the first one on.
    pub fn new(sender: Role) -> Follower {
        Follower {
            sender,
            header: Vec::new(),
            frame: None,
            is_in_message: false,
            messages: 0,
            is_over: false,
        }
    }

    /// Follows the next bytes. Returns the first place in them where a frame begins that continues no message.
    pub fn follow(&mut self, bytes: &[u8]) -> Option<Start> {
        let (mut at, mut start) = (0, None);
        while at < bytes.len() && !self.is_over {
            if let Some((header, left)) = &mut self.frame {
                let here = (*left).min((bytes.len() - at) as u64);
                *left -= here;
                at += here as usize;
                if *left == 0 {
                    let header = *header;
                    self.end_frame(header);
                }
                continue;
            }
            if self.header.is_empty() && !self.is_in_message && start.is_none() {
                start = Some(Start { at, messages: self.messages });
            }
            at += self.read_header(&bytes[at..]);
        }
        start
    }

    /// Reads the header of the next frame, as far as it is here. Returns how many bytes belong to it.
    fn read_header(&mut self, bytes: &[u8]) -> usize {
        let before = self.header.len();
        let here = bytes.len().min(MAX_HEADER - before);
        let decoded = if before == 0 {
            Header::decode(&bytes[..here], self.sender, Rsv::RSV1)
        } else {
            self.header.extend_from_slice(&bytes[..here]);
            Header::decode(&self.header, self.sender, Rsv::RSV1)
        };
        match decoded {
            Ok(Some((header, length))) => {
                self.header.clear();
                match header.length {
                    0 => self.end_frame(header),
                    left => self.frame = Some((header, left)),
                }
                length - before
            }
            Ok(None) => {
                if before == 0 {
                    self.header.extend_from_slice(&bytes[..here]);
                }
                here
            }
            Err(_) => {
                self.is_over = true;
                here
            }
        }
    }

    fn end_frame(&mut self, header: Header) {
        self.frame = None;
        match header.opcode {
            Opcode::Close => self.is_over = true,
            Opcode::Ping | Opcode::Pong => {}
            _ => {
                self.is_in_message = !header.fin;
                self.messages += u64::from(header.fin);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Follows pieces. Returns the starts, with their positions in the whole.
    fn starts(sender: Role, pieces: &[&[u8]]) -> Vec<(usize, u64)> {
        let mut follower = Follower::new(sender);
        let (mut position, mut starts) = (0, Vec::new());
        for piece in pieces {
            let start = follower.follow(piece);
            starts.extend(start.map(|start| (position + start.at, start.messages)));
            position += piece.len();
        }
        starts
    }

    #[test]
    fn a_start_is_where_no_message_goes_on() {
        // A fragmented message with a ping between its fragments, then a whole one.
        let frames: [&[u8]; 4] = [b"\x01\x02ab", b"\x89\x00", b"\x80\x01c", b"\x82\x00"];
        assert_eq!(starts(Role::Server, &frames), [(0, 0), (9, 1)]);
        assert_eq!(starts(Role::Server, &[&frames.concat()]), [(0, 0)]);
        // The first of several starts in one piece is reported, be it in its middle.
        assert_eq!(
            starts(Role::Server, &[b"\x82\x05..", b"...\x8a\x00\x82\x00"]),
            [(0, 0), (7, 1)]
        );
        // A long payload is skipped; its header may arrive byte by byte.
        let long = [&b"\x82\xfe\x01\x00....."[..], &[0; 256], b"\x88\x80....", b"\x81\x80...."];
        let long = [&long[0][..8], &long[1..].concat()].concat();
        let mut cut: Vec<&[u8]> = long[..8].chunks(1).collect();
        cut.extend([&long[8..100], &long[100..264], &long[264..]]);
        assert_eq!(starts(Role::Client, &cut), [(0, 0), (264, 1)]);
    }

    /// Nothing after a Close or a broken rule is a message.
    #[test]
    fn nothing_starts_after_the_end() {
        for end in [&b"\x88\x00"[..], b"\xf1\x00", b"\x83\x00", b"\x81\x81...."] {
            let expected = [(0, 0)];
            assert_eq!(starts(Role::Server, &[end, b"\x81\x00", b"\x81\x00"]), expected, "{end:?}");
        }
    }

    proptest! {
        /// However reads split the bytes, a start is a boundary of a frame, and every piece that begins with a message
        /// says so.
        #[test]
        fn any_split_finds_the_same_boundaries(
            lengths in proptest::collection::vec((0_usize..300, any::<bool>()), 1..12),
            cuts in proptest::collection::vec(any::<proptest::sample::Index>(), 0..20),
        ) {
            let (mut wire, mut boundaries, mut messages) = (Vec::new(), Vec::new(), 0);
            let mut goes_on = false;
            for (length, fin) in lengths {
                if !goes_on {
                    boundaries.push((wire.len(), messages));
                }
                wire.push(u8::from(fin) << 7 | if goes_on { 0 } else { 2 });
                match length {
                    0..126 => wire.push(length as u8),
                    _ => wire.extend([&[126][..], &(length as u16).to_be_bytes()].concat()),
                }
                wire.resize(wire.len() + length, 0x55);
                goes_on = !fin;
                messages += u64::from(fin);
            }
            let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(wire.len())).collect();
            cuts.extend([0, wire.len()]);
            cuts.sort_unstable();
            let pieces: Vec<&[u8]> = cuts.windows(2).map(|pair| &wire[pair[0]..pair[1]]).collect();
            let found = starts(Role::Server, &pieces);
            prop_assert!(found.iter().all(|start| boundaries.contains(start)), "{found:?}");
            for pair in cuts.windows(2) {
                let first = boundaries.iter().find(|b| (pair[0]..pair[1]).contains(&b.0));
                prop_assert!(first.is_none_or(|first| found.contains(first)), "{first:?} {found:?}");
            }
        }
    }
}
