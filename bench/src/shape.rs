//! The shapes: the kinds of traffic that are measured, and their bytes.

use std::time::Duration;

use serde::Serialize;

use crate::deflate;

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
    /// Whether both sides compress messages.
    pub compression: Compression,
    /// What carries the bytes.
    pub transport: Transport,
}

/// What carries the bytes of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum Transport {
    /// TCP as it is.
    Tcp,
    /// TLS, and every connection exchanges certificates.
    Tls,
    /// TLS, and every connection resumes an earlier session.
    ResumedTls,
}

/// Whether messages are compressed (permessage-deflate, RFC 7692).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum Compression {
    /// The load does not offer it.
    Off,
    /// Each message is compressed without the context of earlier ones, in both directions.
    EachAlone,
    /// The load offers that both sides keep their contexts.
    WithContexts,
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
    /// Connections that are idle after one message each: measures only their memory.
    Memory,
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
    /// Lines of JSON, as an application would send them for a chat.
    Chat,
}

impl Shape {
    const fn new(
        name: &'static str,
        traffic: Traffic,
        peers: usize,
        size: usize,
        payload: Payload,
    ) -> Shape {
        let (compression, transport) = (Compression::Off, Transport::Tcp);
        Shape { name, traffic, peers, silent: 0, size, payload, compression, transport }
    }

    /// Returns a shape of chat messages that both sides compress.
    const fn deflate(
        name: &'static str,
        traffic: Traffic,
        peers: usize,
        size: usize,
        compression: Compression,
    ) -> Shape {
        Shape { compression, ..Shape::new(name, traffic, peers, size, Payload::Chat) }
    }

    /// Puts a shape on another transport.
    const fn over(self, transport: Transport) -> Shape {
        Shape { transport, ..self }
    }

    /// Adds idle connections to a shape.
    const fn beside(self, silent: usize) -> Shape {
        Shape { silent, ..self }
    }

    /// Returns all shapes of docs/performance.md.
    pub fn all() -> Vec<Shape> {
        use Compression::{EachAlone, WithContexts};
        use Payload::{Binary, Text, ThreeByte, TwoByte};
        use Traffic::{
            Broadcast, ClosedLoop, Handshakes, Idle, Latency, LatencyBesideFlood, Memory,
            Pipelined, SlowReaders,
        };
        use Transport::{ResumedTls, Tls};
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
            Shape::deflate("deflate, 100 peers x 200 B of JSON", ClosedLoop, 100, 200, EachAlone),
            Shape::deflate("deflate, 100 peers x 1 KiB of JSON", ClosedLoop, 100, 1024, EachAlone),
            Shape::deflate("deflate, 20 peers x 64 KiB of JSON", ClosedLoop, 20, 65_536, EachAlone),
            Shape::deflate("deflate, 1,000 idle peers", Memory, 1_000, 200, EachAlone),
            Shape::deflate("deflate with contexts, 200 idle peers", Memory, 200, 200, WithContexts),
            Shape::new("TLS, 100 peers x 20 B, closed loop", ClosedLoop, 100, 20, Binary).over(Tls),
            Shape::new("TLS, 20 peers x 64 KiB, closed loop", ClosedLoop, 20, 64 << 10, Binary)
                .over(Tls),
            Shape::new("TLS, 1 peer, 4 x 64 KiB binary", Pipelined(4), 1, 64 << 10, Binary)
                .over(Tls),
            Shape::new("TLS, 1,000 idle peers", Memory, 1_000, 20, Binary).over(Tls),
            Shape::new("TLS handshakes, one at a time", Handshakes, 1, 0, Binary).over(Tls),
            Shape::new("resumed TLS handshakes, one at a time", Handshakes, 1, 0, Binary)
                .over(ResumedTls),
        ]
    }

    /// Returns the shape with at most 20 peers and 20 idle ones, for a quick check of the harness.
    pub fn quick(self) -> Shape {
        Shape { peers: self.peers.min(20), silent: self.silent.min(20), ..self }
    }

    /// Reports whether the library has to be built with features for it.
    pub fn needs_features(&self) -> bool {
        self.compression != Compression::Off || self.transport != Transport::Tcp
    }

    /// Returns the size of a read buffer that has room for a batch, for servers that a larger one makes slower.
    pub fn read_buffer(&self) -> usize {
        let batch = if let Traffic::Pipelined(batch) = self.traffic { batch } else { 1 };
        (batch * self.frame().len()).next_power_of_two().clamp(4 << 10, 128 << 10)
    }

    /// Returns one message as a client encodes it.
    pub fn frame(&self) -> Vec<u8> {
        let key = [0x37, 0xfa, 0x21, 0x3d];
        let sent = self.compressed();
        let mut frame = self.header(0x80, sent.len());
        frame.extend(key);
        frame.extend(sent.iter().enumerate().map(|(at, byte)| byte ^ key[at % 4]));
        frame
    }

    /// Returns the same message as a server encodes it, if it compresses as the client does.
    pub fn reply(&self) -> Vec<u8> {
        let sent = self.compressed();
        let mut reply = self.header(0, sent.len());
        reply.extend(sent);
        reply
    }

    /// Returns the payload, compressed if the shape says so.
    fn compressed(&self) -> Vec<u8> {
        match self.compression {
            Compression::Off => self.payload(),
            _ => deflate::compress(&self.payload()),
        }
    }

    fn header(&self, mask: u8, length: usize) -> Vec<u8> {
        let opcode = if self.payload == Payload::Binary { 0x82 } else { 0x81 };
        let rsv1 = if self.compression == Compression::Off { 0 } else { 0x40 };
        let mut header = vec![opcode | rsv1];
        match length {
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

    /// Returns the payload of one message.
    pub fn payload(&self) -> Vec<u8> {
        let pattern: Vec<u8> = match self.payload {
            Payload::Binary => (0..=250).collect(),
            Payload::Text => b"framewise ".to_vec(),
            Payload::TwoByte => "κόσμε".into(),
            Payload::ThreeByte => "世界你好".into(),
            Payload::Chat => return chat(self.size),
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

/// Returns this many bytes of JSON, one line for each message of a chat. The words vary, and are the same in every run.
fn chat(size: usize) -> Vec<u8> {
    const NAMES: [&str; 8] =
        ["ana", "bruno", "carla", "davi", "elisa", "felipe", "gabriela", "henrique"];
    const WORDS: [&str; 40] = [
        "and", "answer", "at", "before", "but", "byte", "can", "class", "client", "close",
        "exercise", "first", "for", "frame", "hello", "homework", "in", "is", "it", "lesson",
        "message", "network", "not", "of", "page", "question", "room", "see", "server", "sent",
        "text", "thanks", "that", "the", "to", "today", "we", "what", "why", "you",
    ];
    let mut state = 1_u32;
    let mut random = |below: usize| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 16) as usize % below
    };
    let mut lines = Vec::with_capacity(size);
    while lines.len() < size {
        let (id, name, room) = (random(1 << 16), NAMES[random(NAMES.len())], random(4));
        let (minute, second) = (random(60), random(60));
        let begin = format!(
            "{{\"event\":\"message\",\"id\":{id},\"room\":\"class {room}\",\"from\":\"{name}\",\
             \"at\":\"2026-03-14T15:{minute:02}:{second:02}Z\",\"text\":\""
        );
        let end = "\"}\n";
        // The last message fills the rest.
        let left = (size - lines.len()).saturating_sub(begin.len() + end.len());
        let length = if left < 300 { left } else { 30 + random(100) };
        let mut text = String::new();
        while text.len() < length {
            text += WORDS[random(WORDS.len())];
            text.push(' ');
        }
        text.truncate(length);
        lines.extend(format!("{begin}{text}{end}").bytes());
    }
    lines.truncate(size);
    lines
}

/// Returns how long one run of a shape lasts.
pub fn duration(quick: bool) -> Duration {
    Duration::from_millis(if quick { 100 } else { 1500 })
}
