//! The codec alone, in memory: encode and decode next to memcpy. `cargo bench -p framewise-bench`

use divan::Bencher;
use divan::counter::BytesCount;
use framewise::Message;
use framewise::config::Config;
use framewise::protocol::frame::{Header, MAX_HEADER, Opcode, Role};
use framewise::protocol::receive::Receiver;
use framewise::protocol::send::Sender;
use framewise::protocol::{mask, utf8};

const SIZES: [usize; 4] = [20, 1 << 10, 64 << 10, 1 << 20];

fn main() {
    divan::main();
}

/// The yardstick: as many bytes, copied.
#[divan::bench(args = SIZES)]
fn memcpy(bencher: Bencher<'_, '_>, size: usize) {
    let from = vec![b'a'; size];
    let mut to = vec![0; size];
    bencher.counter(BytesCount::new(size)).bench_local(|| {
        to.copy_from_slice(divan::black_box(&from));
        divan::black_box(&mut to);
    });
}

/// A server's frame: header and payload into the output buffer.
#[divan::bench(args = SIZES)]
fn encode(bencher: Bencher<'_, '_>, size: usize) {
    let payload = vec![b'a'; size];
    let mut sender = Sender::new(None);
    bencher.counter(BytesCount::new(size)).bench_local(|| {
        sender.message(Message::Binary(divan::black_box(&payload)));
        let queued = sender.queued();
        sender.advance(queued);
    });
}

fn decode(bencher: Bencher<'_, '_>, opcode: Opcode, payload: &[u8]) {
    let mut header = [0; MAX_HEADER];
    let length = payload.len() as u64;
    let at = Header { fin: true, opcode, key: Some([0; 4]), length }.encode(&mut header);
    let mut wire = [&header[..at], payload].concat();
    let config = Config { max_message: 2 << 20, ..Config::default() };
    let mut receiver = Receiver::new(Role::Client);
    // The key is zero, so that the bytes stay what they are however often they are unmasked in place.
    bencher.counter(BytesCount::new(payload.len())).bench_local(|| {
        let mut unread = divan::black_box(wire.as_mut_slice());
        let message = receiver.next(&mut unread, &config).expect("valid");
        divan::black_box(message.expect("whole"));
    });
}

/// A client's frame: header, mask, and the message borrowed where it lies.
#[divan::bench(args = SIZES)]
fn decode_binary(bencher: Bencher<'_, '_>, size: usize) {
    decode(bencher, Opcode::Binary, &vec![b'a'; size]);
}

/// The same with the check of UTF-8.
#[divan::bench(args = SIZES)]
fn decode_text(bencher: Bencher<'_, '_>, size: usize) {
    decode(bencher, Opcode::Text, &vec![b'a'; size]);
}

/// The same where every character has two bytes.
#[divan::bench(args = SIZES)]
fn decode_multi_byte_text(bencher: Bencher<'_, '_>, size: usize) {
    decode(bencher, Opcode::Text, "é".repeat(size / 2).as_bytes());
}

/// The mask alone.
#[divan::bench(args = SIZES)]
fn unmask(bencher: Bencher<'_, '_>, size: usize) {
    let mut bytes = vec![b'a'; size];
    bencher.counter(BytesCount::new(size)).bench_local(|| {
        mask::apply(divan::black_box(&mut bytes), [1, 2, 3, 4], 0);
    });
}

/// The check of UTF-8 alone.
#[divan::bench(args = SIZES)]
fn check_utf8(bencher: Bencher<'_, '_>, size: usize) {
    let text = "é".repeat(size / 2);
    bencher
        .counter(BytesCount::new(size))
        .bench_local(|| utf8::validate(divan::black_box(text.as_bytes())).map(str::len));
}
