//! Encoding and decoding in memory, compared with memcpy: `cargo bench -p framewise-bench`

use divan::Bencher;
use divan::counter::BytesCount;
use framewise::Config;
use framewise::protocol::frame::{Header, MAX_HEADER, Opcode, Role, Rsv};
use framewise::protocol::output::Output;
use framewise::protocol::receive::MessageReader;
use framewise::protocol::{mask, utf8};

const SIZES: [usize; 4] = [20, 1 << 10, 64 << 10, 1 << 20];

fn main() {
    divan::main();
}

/// For comparison: copies as many bytes.
#[divan::bench(args = SIZES)]
fn memcpy(bencher: Bencher<'_, '_>, size: usize) {
    let from = vec![b'a'; size];
    let mut to = vec![0; size];
    bencher.counter(BytesCount::new(size)).bench_local(|| {
        to.copy_from_slice(divan::black_box(&from));
        divan::black_box(&mut to);
    });
}

/// Encodes a frame of a server: header and payload into the output buffer.
#[divan::bench(args = SIZES)]
fn encode(bencher: Bencher<'_, '_>, size: usize) {
    let payload = vec![b'a'; size];
    let mut output = Output::new(None);
    bencher.counter(BytesCount::new(size)).bench_local(|| {
        output.send(divan::black_box(&payload));
        let queued = output.queued();
        output.advance(queued);
    });
}

fn decode(bencher: Bencher<'_, '_>, opcode: Opcode, payload: &[u8]) {
    let mut header = [0; MAX_HEADER];
    let length = payload.len() as u64;
    let at =
        Header { fin: true, rsv: Rsv::NONE, opcode, key: Some([0; 4]), length }.encode(&mut header);
    let mut wire = [&header[..at], payload].concat();
    let config = Config::default().limits(|limits| limits.max_message = 2 << 20);
    let mut reader = MessageReader::new(Role::Client);
    // The key is zero, so that unmasking in place does not change the bytes.
    bencher.counter(BytesCount::new(payload.len())).bench_local(|| {
        let mut unread = divan::black_box(wire.as_mut_slice());
        let message = reader.next(&mut unread, &config).expect("valid");
        divan::black_box(message.expect("whole"));
    });
}

/// Decodes a frame of a client: header, unmasking in place, and a borrowed message.
#[divan::bench(args = SIZES)]
fn decode_binary(bencher: Bencher<'_, '_>, size: usize) {
    decode(bencher, Opcode::Binary, &vec![b'a'; size]);
}

/// The same for text, with the check of UTF-8.
#[divan::bench(args = SIZES)]
fn decode_text(bencher: Bencher<'_, '_>, size: usize) {
    decode(bencher, Opcode::Text, &vec![b'a'; size]);
}

/// The same for text in which every character has two bytes.
#[divan::bench(args = SIZES)]
fn decode_multi_byte_text(bencher: Bencher<'_, '_>, size: usize) {
    decode(bencher, Opcode::Text, "é".repeat(size / 2).as_bytes());
}

/// Only unmasks.
#[divan::bench(args = SIZES)]
fn unmask(bencher: Bencher<'_, '_>, size: usize) {
    let mut bytes = vec![b'a'; size];
    bencher.counter(BytesCount::new(size)).bench_local(|| {
        mask::apply(divan::black_box(&mut bytes), [1, 2, 3, 4], 0);
    });
}

fn check_utf8(bencher: Bencher<'_, '_>, text: &str) {
    bencher
        .counter(BytesCount::new(text.len()))
        .bench_local(|| utf8::is_utf8(divan::black_box(text.as_bytes())));
}

/// Only checks UTF-8, of text in which every character has two bytes.
#[divan::bench(args = SIZES)]
fn check_two_byte_text(bencher: Bencher<'_, '_>, size: usize) {
    check_utf8(bencher, &"é".repeat(size / 2));
}

/// Only checks UTF-8, of text in which every character has three bytes.
#[divan::bench(args = SIZES)]
fn check_three_byte_text(bencher: Bencher<'_, '_>, size: usize) {
    check_utf8(bencher, &"世".repeat(size / 3));
}
