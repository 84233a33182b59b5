//! Reads a recording, line by line, and checks that the lines fit together.

use std::collections::HashSet;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::time::{Duration, SystemTime};

use data_encoding::HEXLOWER_PERMISSIVE;
use framewise::lang::Lang;
use framewise::observe::Direction;
use framewise::trace::printable;

use crate::recording::format::{Head, Line, MAX_LINE, Reason, VERSION};
use crate::texts;

/// An event of a recording.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Microseconds since the start.
    pub us: u64,
    pub connection: u64,
    pub event: Event,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    Open(SocketAddr),
    Bytes(Direction, Vec<u8>),
    Close(Option<u16>),
}

/// How a recording ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    Reason(Reason),
    /// There is no last line, or only a part of it: the server was killed, its disk was full, or it still runs.
    BreaksOff,
}

/// Reads a recording.
pub struct Reader {
    name: String,
    input: Box<dyn BufRead>,
    lang: Lang,
    /// The number of the last line.
    number: u64,
    line: Vec<u8>,
    head: Head,
    /// The connections that are open, and the highest number so far.
    open: HashSet<u64>,
    highest: u64,
    end: Option<End>,
}

impl Reader {
    /// Opens a recording and reads its first line; `-` is the standard input.
    ///
    /// # Errors
    ///
    /// The file cannot be read, or is not a recording. The error is one line that names it.
    pub fn open(name: &str, lang: Lang) -> Result<Reader, String> {
        let input: Box<dyn BufRead> = match name {
            "-" => Box::new(BufReader::new(io::stdin())),
            _ => {
                let file = File::open(name).map_err(|error| format!("{name}: {error}"))?;
                Box::new(BufReader::with_capacity(1 << 16, file))
            }
        };
        Reader::new(name, input, lang)
    }

    fn new(name: &str, input: Box<dyn BufRead>, lang: Lang) -> Result<Reader, String> {
        let head = Head {
            framewise_recording: 0,
            program: String::new(),
            started: String::new(),
            listening: Vec::new(),
        };
        let mut reader = Reader {
            name: name.to_owned(),
            input,
            lang,
            number: 0,
            line: Vec::new(),
            head,
            open: HashSet::new(),
            highest: 0,
            end: None,
        };
        let no_recording = || texts::NO_RECORDING.with(lang, &[&name]);
        reader.next_line().map_err(|_| no_recording())?;
        // The version comes first, because the rest of the line may differ in another version.
        let line: serde_json::Value =
            serde_json::from_slice(&reader.line).map_err(|_| no_recording())?;
        let version = line.get("framewise_recording").ok_or_else(no_recording)?;
        if *version != VERSION {
            let version = printable(&version.to_string());
            return Err(texts::OTHER_RECORDING.with(lang, &[&name, &version, &VERSION]));
        }
        reader.head = serde_json::from_value(line).map_err(|error| reader.fault(&error))?;
        reader.started()?;
        Ok(reader)
    }

    /// Returns the first line.
    pub fn head(&self) -> &Head {
        &self.head
    }

    /// Returns the time at which the recording started.
    ///
    /// # Errors
    ///
    /// The first line has another text in its place.
    pub fn started(&self) -> Result<SystemTime, String> {
        humantime::parse_rfc3339(&self.head.started).map_err(|error| self.fault(&error))
    }

    /// Returns how the recording ended, once [`Reader::next`] has returned `None`.
    pub fn end(&self) -> Option<End> {
        self.end
    }

    /// Returns the next event, or `None` at the end.
    ///
    /// # Errors
    ///
    /// One line that names the line of the recording that is wrong.
    pub fn next(&mut self) -> Result<Option<Entry>, String> {
        if self.end.is_some() {
            return Ok(None);
        }
        let is_whole = self.next_line()?;
        let line = match serde_json::from_slice::<Line<'_>>(&self.line) {
            _ if self.line.is_empty() && !is_whole => {
                self.end = Some(End::BreaksOff);
                return Ok(None);
            }
            Ok(line) => line,
            Err(_) if !is_whole => {
                self.end = Some(End::BreaksOff);
                return Ok(None);
            }
            Err(error) => return Err(self.fault(&error)),
        };
        let fault = |why: &str| {
            let values: [&dyn std::fmt::Display; 3] = [&self.name, &self.number, &why];
            texts::BAD_RECORDING.with(self.lang, &values)
        };
        let of = |text: framewise::lang::Bilingual| fault(text.get(self.lang));
        let decoded = |length: usize, hex: &str| {
            let bytes = HEXLOWER_PERMISSIVE.decode(hex.as_bytes());
            let bytes = bytes.map_err(|_| of(texts::RECORDING_NOT_HEX))?;
            if bytes.len() == length { Ok(bytes) } else { Err(of(texts::RECORDING_LENGTH)) }
        };
        let (us, connection, event) = match line {
            Line::Open { us, connection, address } => {
                // Numbers are counted, so they are never used again.
                if connection <= self.highest {
                    return Err(of(texts::RECORDING_OPEN_TWICE));
                }
                self.highest = connection;
                self.open.insert(connection);
                return Ok(Some(Entry { us, connection, event: Event::Open(address) }));
            }
            Line::In { us, connection, length, hex } => {
                (us, connection, Event::Bytes(Direction::In, decoded(length, &hex)?))
            }
            Line::Out { us, connection, length, hex } => {
                (us, connection, Event::Bytes(Direction::Out, decoded(length, &hex)?))
            }
            Line::Close { us, connection, code } => (us, connection, Event::Close(code)),
            Line::End { reason, .. } => {
                self.end = Some(End::Reason(reason));
                return Ok(None);
            }
        };
        if !self.open.contains(&connection) {
            return Err(of(texts::RECORDING_NOT_OPEN));
        }
        if let Event::Close(_) = event {
            self.open.remove(&connection);
        }
        Ok(Some(Entry { us, connection, event }))
    }

    /// Reads the next line. Returns whether it is complete. At the end of the file, the line is empty.
    fn next_line(&mut self) -> Result<bool, String> {
        self.line.clear();
        self.number += 1;
        let mut limited = (&mut self.input).take(MAX_LINE as u64 + 1);
        let read = limited.read_until(b'\n', &mut self.line);
        read.map_err(|error| format!("{}: {error}", self.name))?;
        if self.line.len() > MAX_LINE {
            let why = texts::RECORDING_LONG_LINE.with(self.lang, &[&MAX_LINE]);
            return Err(texts::BAD_RECORDING.with(self.lang, &[&self.name, &self.number, &why]));
        }
        Ok(self.line.ends_with(b"\n"))
    }

    fn fault(&self, why: &dyn std::fmt::Display) -> String {
        // The reason may repeat a part of the line.
        let why = printable(&why.to_string());
        texts::BAD_RECORDING.with(self.lang, &[&self.name, &self.number, &why])
    }
}

/// All of a recording that fits into memory.
pub struct Whole {
    pub head: Head,
    pub started: SystemTime,
    pub connections: Vec<Connection>,
    /// All events of all connections in their order: the index of the connection, and the index of the event in it.
    pub order: Vec<(usize, usize)>,
    pub end: End,
}

/// What happened on one connection.
pub struct Connection {
    pub number: u64,
    pub address: SocketAddr,
    /// Microseconds since the start of the recording, and what happened.
    pub events: Vec<(u64, Event)>,
}

impl Whole {
    /// Reads a whole recording.
    ///
    /// # Errors
    ///
    /// As [`Reader::next`]; also if the recording has more than `most` bytes of reads and writes.
    pub fn read(mut reader: Reader, most: usize) -> Result<Whole, String> {
        let mut connections = Vec::<Connection>::new();
        let mut order = Vec::new();
        let mut by_number = std::collections::HashMap::new();
        let mut bytes = 0;
        while let Some(Entry { us, connection, event }) = reader.next()? {
            // An event takes memory too, also if it has no bytes.
            bytes += size_of::<(u64, Event)>();
            if let Event::Bytes(_, read) = &event {
                bytes += read.len();
            }
            if bytes > most {
                let values: [&dyn std::fmt::Display; 2] = [&reader.name, &(most >> 20)];
                return Err(texts::RECORDING_TOO_LARGE.with(reader.lang, &values));
            }
            if let Event::Open(address) = event {
                by_number.insert(connection, connections.len());
                connections.push(Connection { number: connection, address, events: Vec::new() });
            }
            let index = by_number[&connection];
            order.push((index, connections[index].events.len()));
            connections[index].events.push((us, event));
        }
        let (started, end) = (reader.started()?, reader.end.unwrap_or(End::BreaksOff));
        Ok(Whole { head: reader.head, started, connections, order, end })
    }

    /// Returns the time of an event.
    pub fn time(&self, us: u64) -> SystemTime {
        self.started.checked_add(Duration::from_micros(us)).unwrap_or(self.started)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &str = r#"{"framewise_recording":1,"program":"p","started":"2026-01-16T14:30:00.123456Z","listening":[]}"#;

    fn read(text: &str) -> Result<(Vec<Entry>, Option<End>), String> {
        let input = Box::new(io::Cursor::new(text.as_bytes().to_vec()));
        let mut reader = Reader::new("r", input, Lang::En)?;
        let mut entries = Vec::new();
        while let Some(entry) = reader.next()? {
            entries.push(entry);
        }
        Ok((entries, reader.end()))
    }

    #[test]
    fn a_recording_is_read_to_its_end() {
        let lines = [
            HEAD,
            r#"{"event":"open","us":1,"connection":1,"address":"[::1]:9","more":0}"#,
            r#"{"us":2,"connection":1,"length":2,"hex":"81aF","event":"in"}"#,
            r#"{"event":"out","us":3,"connection":1,"length":0,"hex":""}"#,
            r#"{"event":"close","us":4,"connection":1}"#,
            r#"{"event":"end","us":5,"reason":"limit"}"#,
            "",
        ];
        let (entries, end) = read(&lines.join("\n")).expect("a recording");
        assert_eq!(entries.len(), 4);
        assert_eq!(entries[1].event, Event::Bytes(Direction::In, vec![0x81, 0xaf]));
        assert_eq!(end, Some(End::Reason(Reason::Limit)));
        // Cut anywhere, it breaks off, and what is whole is read.
        let whole = lines.join("\n");
        for cut in HEAD.len()..whole.len() - 1 {
            let (entries, end) = read(&whole[..cut]).expect("a recording");
            assert!(entries.len() <= 4);
            let is_whole = cut + 1 >= whole.len() - 1;
            let expected = if is_whole { End::Reason(Reason::Limit) } else { End::BreaksOff };
            assert!(end == Some(expected) || end == Some(End::BreaksOff), "{cut}");
        }
    }

    #[test]
    fn what_is_no_recording_is_refused_with_its_line() {
        let open = r#"{"event":"open","us":1,"connection":1,"address":"1.2.3.4:9"}"#;
        let close = r#"{"event":"close","us":1,"connection":1}"#;
        let bytes = |length, hex| {
            format!(r#"{{"event":"in","us":2,"connection":1,"length":{length},"hex":"{hex}"}}"#)
        };
        for (lines, expected) in [
            (vec!["".to_owned()], "r is not a recording"),
            (vec!["{}".into()], "r is not a recording"),
            (vec!["\u{1f}\u{8b}".into()], "r is not a recording"),
            (vec![HEAD.replace(":1,", ":2,")], "version 2"),
            (vec![HEAD.replace("2026-01-16T", "yesterday")], "line 1"),
            (vec![HEAD.into(), "{".into()], "line 2"),
            (vec![HEAD.into(), bytes(1, "81")], "line 2: the connection is not open"),
            (vec![HEAD.into(), open.into(), open.into()], "line 3"),
            (vec![HEAD.into(), open.into(), close.into(), close.into()], "line 4"),
            (vec![HEAD.into(), open.into(), close.into(), open.into()], "line 4"),
            (vec![HEAD.into(), open.into(), bytes(2, "81")], "line 3: length"),
            (vec![HEAD.into(), open.into(), bytes(1, "8")], "line 3: hex"),
            (vec![HEAD.into(), open.into(), bytes(1, "zz")], "line 3: hex"),
            (vec![HEAD.into(), open.replace("open", "opened")], "line 2"),
            (vec![HEAD.into(), open.replace("open", "\\u001b[2J")], "line 2"),
            (vec![HEAD.into(), bytes(1, &"81".repeat(MAX_LINE))], "line 2: the line has more"),
        ] {
            let error = read(&(lines.join("\n") + "\n")).expect_err(expected);
            assert!(error.contains(expected), "{error}");
            assert!(!error.contains('\u{1b}'), "a terminal acts on it: {error}");
        }
    }
}
