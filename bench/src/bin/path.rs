//! One path of the library, over and over, for tools that count instructions: `path echo 20 1000`.
//!
//! `bench/instructions` runs it under callgrind with two counts and prints the difference for each message.

use std::io::{self, IoSlice, Read, Write};
use std::process::exit;
use std::time::Instant;

use framewise::config::{Config, OriginPolicy};
use framewise::net::sockets::{Readiness, Stream};
use framewise::net::turns::Turns;
use framewise::protocol::frame::Role;
use framewise::protocol::receive::Receiver;
use framewise::protocol::send::Sender;
use framewise::protocol::{mask, utf8};
use framewise::{Echo, Message};
use framewise_bench::REQUEST;
use framewise_bench::shape::{Payload, Shape, Traffic};

/// Bytes in one read of the echo path, about; at most 100 frames.
const BATCH: usize = 200_000;

/// Bytes of the longest message: it lies in one read.
const MAX_SIZE: usize = 131_072;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [path, size, count] = arguments.as_slice() else { usage() };
    let (Ok(size), Ok(count)) = (size.parse::<usize>(), count.parse::<usize>()) else { usage() };
    if !(1..=MAX_SIZE).contains(&size) {
        usage();
    }
    let payload = if path == "utf8" { Payload::MultiByte } else { Payload::Text };
    let shape =
        Shape { name: "", traffic: Traffic::ClosedLoop, peers: 1, silent: 0, size, payload };
    let (mut frame, mut bytes) =
        (shape.frame(), shape.reply().split_off(shape.reply().len() - size));
    match path.as_str() {
        "encode" => {
            let mut sender = Sender::new(None);
            for _ in 0..count {
                sender.message(Message::Binary(&bytes));
                let queued = sender.queued();
                sender.advance(queued);
            }
        }
        "decode" => {
            let config = Config::default();
            let mut receiver = Receiver::new(Role::Client);
            // A key of zero, so that the bytes stay what they are.
            let at = frame.len() - size;
            frame[at - 4..at].fill(0);
            frame[at..].copy_from_slice(&bytes);
            for _ in 0..count {
                let mut unread = frame.as_mut_slice();
                assert!(receiver.next(&mut unread, &config).is_ok_and(|event| event.is_some()));
            }
        }
        "mask" => (0..count).for_each(|_| mask::apply(&mut bytes, [1, 2, 3, 4], 0)),
        "utf8" => (0..count).for_each(|_| assert!(utf8::validate(&bytes).is_ok())),
        "echo" => echo(&frame, (BATCH / frame.len()).clamp(1, 100), count),
        "turn" => echo(&frame, 1, count),
        "tape-of-echo" => tape(&frame, (BATCH / frame.len()).clamp(1, 100), count),
        "tape-of-turn" => tape(&frame, 1, count),
        _ => usage(),
    }
}

fn usage() -> ! {
    eprintln!(
        "path NAME SIZE COUNT: encode, decode, mask, utf8, echo (100 messages in a read), turn (one), \
         tape-of-echo, tape-of-turn (what the harness itself takes); sizes up to {MAX_SIZE}"
    );
    exit(2)
}

/// The harness alone: the bytes that a kernel would copy.
fn tape(frame: &[u8], batch: usize, count: usize) {
    let mut tape = Tape { frames: frame.repeat(batch), opened: true };
    let mut buffer = vec![0; 2 * MAX_SIZE];
    for _ in 0..=count.div_ceil(batch) {
        assert!(tape.read(&mut buffer).is_ok_and(|count| count > 0));
    }
}

/// The whole way through the loop's logic, without a kernel: reads of so many frames each, and what goes out.
fn echo(frame: &[u8], batch: usize, count: usize) {
    let config = Config { origin_policy: OriginPolicy::Any, ..Config::default() };
    let config = config.validate().expect("valid");
    let mut turns = Turns::new(config, 1, Echo::default(), (), Instant::now());
    let id = turns.reserve();
    let tape = Tape { frames: frame.repeat(batch), opened: false };
    turns.add(id, tape, ([127, 0, 0, 1], 1).into());
    for _ in 0..=count.div_ceil(batch) {
        turns.note_readiness(id.slot(), Readiness { readable: true, ..Readiness::default() });
        turns.take_all();
    }
    assert_eq!(turns.snapshot().open, 1);
}

/// A request, then a batch of frames for each readiness; what is written is gone.
struct Tape {
    frames: Vec<u8>,
    opened: bool,
}

impl Read for Tape {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let bytes = if self.opened { self.frames.as_slice() } else { REQUEST };
        self.opened = true;
        buffer[..bytes.len()].copy_from_slice(bytes);
        Ok(bytes.len())
    }
}

impl Write for Tape {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Ok(bytes.len())
    }

    fn write_vectored(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        Ok(slices.iter().map(|slice| slice.len()).sum())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Stream for Tape {
    fn end_output(&mut self) -> io::Result<()> {
        Ok(())
    }
}
