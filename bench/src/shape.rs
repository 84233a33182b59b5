//! The shapes: the kinds of traffic that are measured, and their bytes.

use std::time::Duration;

use serde::Serialize;

/// One kind of traffic.
#[derive(Clone, Debug, Serialize)]
pub struct Shape {
    /// The name in the tables.
    pub name: &'static str,
    /// How messages follow each other.
    pub traffic: Traffic,
    /// How many connections send and receive.
    pub peers: usize,
    /// How many more connections are idle.
    pub silent: usize,
    /// The length of each payload in bytes.
    pub size: usize,
    /// The content of each payload.
    pub payload: Payload,
}

/// How messages follow each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum Traffic {
    /// Closed loop: each peer sends a message when the previous one has come back.
    ClosedLoop,
    /// Each peer writes this many messages at once, and keeps several such batches in flight.
    Pipelined(usize),
    /// Rounds in which every peer sends one message and all others receive it.
    Broadcast,
    /// Opening handshakes, one at a time.
    Handshakes,
    /// Only idle connections: measures their memory, and the processor time for their pings.
    Idle,
    /// This many messages per second, each at its scheduled time, whether or not the previous one has come back.
    Latency(u32),
    /// The same, next to one more connection that sends and receives as fast as possible.
    LatencyBesideFlood(u32),
    /// The first peer publishes. Half of the others read, and half do not.
    SlowReaders,
}

/// The content of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum Payload {
    /// Binary data.
    Binary,
    /// ASCII text.
    Text,
    /// Greek text: two bytes per character.
    TwoByte,
    /// Chinese text: three bytes per character.
    ThreeByte,
}

impl Shape {
    const fn new(
        name: &'static str,
        traffic: Traffic,
        peers: usize,
        size: usize,
        payload: Payload,
    ) -> Shape {
        Shape { name, traffic, peers, silent: 0, size, payload }
    }

    /// Adds idle connections to a shape.
    const fn beside(self, silent: usize) -> Shape {
        Shape { silent, ..self }
    }

    /// Returns all shapes of docs/performance.md.
    pub fn all() -> Vec<Shape> {
        use Payload::{Binary, Text, ThreeByte, TwoByte};
        use Traffic::{
            Broadcast, ClosedLoop, Handshakes, Idle, Latency, LatencyBesideFlood, Pipelined,
            SlowReaders,
        };
        vec![
            Shape::new("100 peers x 20 B, closed loop", ClosedLoop, 100, 20, Binary),
            Shape::new("100 peers x 20 B beside 15,000 idle", ClosedLoop, 100, 20, Binary)
                .beside(15_000),
            Shape::new("200 peers x 16 KiB, closed loop", ClosedLoop, 200, 16 << 10, Binary),
            Shape::new("1 peer, 1,000 x 20 B per write, binary", Pipelined(1000), 1, 20, Binary),
            Shape::new("1 peer, 1,000 x 20 B per write, text", Pipelined(1000), 1, 20, Text),
            Shape::new("1 peer, 100 x 1 KiB two-byte text", Pipelined(100), 1, 1 << 10, TwoByte),
            Shape::new(
                "1 peer, 100 x 1 KiB three-byte text",
                Pipelined(100),
                1,
                1 << 10,
                ThreeByte,
            ),
            Shape::new("1 peer, 4 x 64 KiB binary", Pipelined(4), 1, 64 << 10, Binary),
            Shape::new("1 peer, 1 MiB binary", Pipelined(1), 1, 1 << 20, Binary),
            Shape::new("broadcast rounds, 100 peers x 20 B", Broadcast, 100, 20, Text),
            Shape::new("handshakes, one at a time", Handshakes, 1, 0, Binary),
            Shape::new("latency, 20 peers, 20,000 messages/s", Latency(20_000), 20, 20, Text),
            Shape::new(
                "latency beside a peer at full speed",
                LatencyBesideFlood(2_000),
                20,
                20,
                Text,
            ),
            Shape::new("500 slow readers, 500 fast, 1 KiB", SlowReaders, 1_001, 1 << 10, Binary),
            Shape::new("15,000 idle peers", Idle, 15_000, 0, Binary),
        ]
    }

    /// Returns the shape with at most 20 peers and 20 idle ones, for a quick check of the harness.
    pub fn quick(self) -> Shape {
        Shape { peers: self.peers.min(20), silent: self.silent.min(20), ..self }
    }

    /// Returns the size of a read buffer that has room for a batch, for servers that a larger one makes slower.
    pub fn read_buffer(&self) -> usize {
        let batch = if let Traffic::Pipelined(batch) = self.traffic { batch } else { 1 };
        (batch * self.frame().len()).next_power_of_two().clamp(4 << 10, 128 << 10)
    }

    /// Returns one message as a client encodes it.
    pub fn frame(&self) -> Vec<u8> {
        let key = [0x37, 0xfa, 0x21, 0x3d];
        let mut frame = self.header(0x80);
        frame.extend(key);
        frame.extend(self.payload().iter().enumerate().map(|(at, byte)| byte ^ key[at % 4]));
        frame
    }

    /// Returns the same message as a server encodes it.
    pub fn reply(&self) -> Vec<u8> {
        let mut reply = self.header(0);
        reply.extend(self.payload());
        reply
    }

    fn header(&self, mask: u8) -> Vec<u8> {
        let mut header = vec![if self.payload == Payload::Binary { 0x82 } else { 0x81 }];
        match self.size {
            short @ 0..=125 => header.push(mask | short as u8),
            medium @ 126..=0xffff => {
                header.push(mask | 126);
                header.extend((medium as u16).to_be_bytes());
            }
            long => {
                header.push(mask | 127);
                header.extend((long as u64).to_be_bytes());
            }
        }
        header
    }

    fn payload(&self) -> Vec<u8> {
        let pattern: Vec<u8> = match self.payload {
            Payload::Binary => (0..=250).collect(),
            Payload::Text => b"framewise ".to_vec(),
            Payload::TwoByte => "κόσμε".into(),
            Payload::ThreeByte => "世界你好".into(),
        };
        let whole = self.size / pattern.len() * pattern.len();
        let mut payload: Vec<u8> = pattern.iter().copied().cycle().take(whole).collect();
        // A text must not end within a character.
        match self.payload {
            Payload::Binary => payload.extend(&pattern[..self.size - whole]),
            _ => payload.resize(self.size, b' '),
        }
        payload
    }
}

/// Returns how long one run of a shape lasts.
pub fn duration(quick: bool) -> Duration {
    Duration::from_millis(if quick { 100 } else { 1500 })
}
