//! Repeats one path of the library, for tools that count instructions: `path echo 20 1000`.
//!
//! `bench/instructions` runs it under callgrind with two counts and prints the difference per message.

use std::hint::black_box;
use std::io::{self, IoSlice, Read, Write};
use std::process::exit;
use std::time::Instant;

use framewise::config::{Config, OriginPolicy};
use framewise::internal::{EventLoop, Socket};
use framewise::protocol::frame::Role;
use framewise::protocol::output::Output;
use framewise::protocol::receive::MessageReader;
use framewise::protocol::{mask, utf8};
use framewise::{Echo, Readiness, Tcp};
use framewise_bench::REQUEST;
use framewise_bench::shape::{Compression, Payload, Shape, Traffic, Transport};

/// About how many bytes one read has on the paths through the whole event loop. A read has at most 100 messages.
const BATCH: usize = 200_000;

/// The length of the longest message in bytes: it must fit into one read.
const MAX_SIZE: usize = 131_072;

/// The length of the longest control frame in bytes (§5.5).
const MAX_PING: usize = 125;

/// The length of each fragment in bytes.
const FRAGMENT: usize = 20;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [path, size, count] = arguments.as_slice() else { usage() };
    let (Ok(size), Ok(count)) = (size.parse::<usize>(), count.parse::<usize>()) else { usage() };
    if !(1..=MAX_SIZE).contains(&size) {
        usage();
    }
    let (harness_only, path) =
        path.strip_prefix("tape-of-").map_or((false, path.as_str()), |path| (true, path));
    let run = if harness_only { tape } else { echo };
    let payload = match path {
        "utf8" => Payload::TwoByte,
        "binary" | "ping" => Payload::Binary,
        _ => Payload::Text,
    };
    let shape = Shape {
        name: "",
        traffic: Traffic::ClosedLoop,
        peers: 1,
        silent: 0,
        size,
        payload,
        compression: Compression::Off,
        transport: Transport::Tcp,
    };
    let (mut frame, mut bytes) =
        (shape.frame(), shape.reply().split_off(shape.reply().len() - size));
    match path {
        "encode" => {
            let mut output = Output::new(None);
            for _ in 0..count {
                output.send(&bytes);
                let queued = output.queued();
                output.advance(queued);
            }
        }
        "decode" => {
            let config = Config::default();
            let mut receiver = MessageReader::new(Role::Client);
            // The key is zero, so that masking does not change the bytes.
            let at = frame.len() - size;
            frame[at - 4..at].fill(0);
            frame[at..].copy_from_slice(&bytes);
            for _ in 0..count {
                let mut unread = frame.as_mut_slice();
                assert!(receiver.next(&mut unread, &config).is_ok_and(|event| event.is_some()));
            }
        }
        "mask" => (0..count).for_each(|_| assert!(mask::apply(&mut bytes, [1, 2, 3, 4], 0))),
        "utf8" => (0..count).for_each(|_| assert!(utf8::is_utf8(&bytes))),
        "echo" | "binary" => run(&frame, batch(&frame), count),
        "turn" => run(&frame, 1, count),
        "ping" if size <= MAX_PING => {
            frame[0] = 0x89;
            run(&frame, batch(&frame), count);
        }
        "fragments" => {
            let message = fragments(&shape);
            run(&message, batch(&message), count);
        }
        _ => usage(),
    }
}

fn usage() -> ! {
    eprintln!(
        "path NAME SIZE COUNT: encode, decode, mask, utf8; through the whole loop echo (text, 100 messages in a \
         read), binary, ping, fragments (text in fragments of {FRAGMENT} B), turn (text, one message in a read); \
         tape-of-echo and so on (the harness's own part of these); sizes up to {MAX_SIZE}, of a ping up to {MAX_PING}"
    );
    exit(2)
}

/// Returns how many messages one read holds.
fn batch(message: &[u8]) -> usize {
    (BATCH / message.len()).clamp(1, 100)
}

/// Returns the message of a shape as a client sends it in fragments.
fn fragments(shape: &Shape) -> Vec<u8> {
    let mut message = Vec::new();
    let count = shape.size.div_ceil(FRAGMENT);
    for n in 0..count {
        let size = FRAGMENT.min(shape.size - n * FRAGMENT);
        let mut frame = Shape { size, ..shape.clone() }.frame();
        let fin = if n + 1 == count { 0x80 } else { 0 };
        let opcode = if n == 0 { frame[0] & 0x0f } else { 0 };
        frame[0] = fin | opcode;
        message.extend(frame);
    }
    message
}

/// Runs only the harness: the copy that a kernel would make.
fn tape(message: &[u8], batch: usize, count: usize) {
    let mut tape = Tape::new(message.repeat(batch), true);
    let mut buffer = vec![0; 2 * MAX_SIZE];
    for _ in 0..=count.div_ceil(batch) {
        assert!(tape.read(&mut buffer).is_ok_and(|count| count > 0));
    }
}

/// Runs the whole event loop without a kernel, with this many messages in each read.
fn echo(message: &[u8], batch: usize, count: usize) {
    let config =
        Config::default().handshake(|handshake| handshake.origins = OriginPolicy::Any).limits(
            |limits| (limits.max_control_rate, limits.max_fragment_rate) = (u32::MAX, u32::MAX),
        );
    let config = config.validate().expect("valid");
    let mut event_loop = EventLoop::new(config, 1, Echo::default(), Tcp, (), Instant::now());
    let id = event_loop.reserve();
    let tape = Tape::new(message.repeat(batch), false);
    event_loop.add(id, tape, ([127, 0, 0, 1], 1).into());
    for _ in 0..=count.div_ceil(batch) {
        event_loop.note_readiness(id.slot(), Readiness::READABLE);
        while event_loop.has_turns() {
            event_loop.take_turns();
        }
    }
    assert_eq!(event_loop.snapshot().open, 1);
}

/// A scripted socket: a request, then a batch of frames for each readiness. Discards what is written.
struct Tape {
    frames: Vec<u8>,
    opened: bool,
    /// Where the next read begins.
    at: usize,
    /// The last read ended with the batch, and filled the buffer, so that another one follows.
    ended: bool,
}

impl Tape {
    fn new(frames: Vec<u8>, opened: bool) -> Tape {
        Tape { frames, opened, at: 0, ended: false }
    }
}

impl Read for Tape {
    /// The copy is not inlined, and its result counts as used. Otherwise the compiler removes it from [`tape`], which
    /// does not use the bytes, and the difference to `tape` attributes the copy to the library.
    #[inline(never)]
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if std::mem::take(&mut self.ended) {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let bytes = if self.opened { &self.frames[self.at..] } else { REQUEST };
        let count = bytes.len().min(buffer.len());
        buffer[..count].copy_from_slice(&bytes[..count]);
        if self.opened {
            self.at = (self.at + count) % self.frames.len();
            self.ended = self.at == 0 && count == buffer.len();
        }
        self.opened = true;
        black_box(buffer);
        Ok(count)
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

impl Socket for Tape {
    fn end_output(&mut self) -> io::Result<()> {
        Ok(())
    }
}
