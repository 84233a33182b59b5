//! A label for every bit of one direction of a connection, in the order of the bits.
//!
//! ```text
//! 81                  85                 37 fa 21 3d   7f 9f 4d 51 58
//! 1   000  0001       1    0000101       masking key   payload data: Hello
//! FIN RSV  opcode     MASK length
//! ```
//!
//! `protocol/dissect.rs` finds out what the bytes mean and whether they break a rule. This file splits its findings into
//! labels of bits, counts positions, and names the place in a frame that breaks a rule. What shows labels, such as
//! `dissect` and `framewise explain`, only has to print them.

use std::ops::Range;

use crate::config::ValidConfig;
use crate::protocol::dissect::{Dissector, Fault, Finding};
use crate::protocol::frame::{Header, MAX_CONTROL, Opcode, Role};
use crate::protocol::header_bits::{self, Field};
use crate::protocol::message::Message;
use crate::protocol::violation::Violation;

/// What a labeller reports: a label, or what its parser concludes from the bytes before.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Item<'a> {
    /// The meaning of some bits. The labels cover all bits, each exactly once.
    Label(Label<'a>),
    /// The message that an extension has decoded from the payload data before.
    Decoded(Message<'a>),
    /// The frame before is complete and breaks no rule.
    Valid(Header),
    /// The head before is complete and breaks no rule.
    ValidHead {
        /// Whether it is part of an opening handshake. Other heads are plain HTTP.
        handshake: bool,
    },
    /// The bytes before break a rule.
    Broken {
        /// The rule.
        fault: Fault,
        /// Which bits of the frame break it. Empty if the rule does not concern certain bits.
        places: Vec<Place>,
    },
    /// The input ends in the middle of a head.
    HeadEnds,
    /// The input ends in the middle of the body of a response.
    BodyEnds,
    /// The input ends in the middle of a frame header, before this bit.
    HeaderEnds {
        /// The first bit of the frame that is missing.
        bit: usize,
        /// The name of its field.
        field: &'static str,
    },
    /// The input ends in the middle of a payload.
    PayloadEnds {
        /// How many bytes of the payload have arrived.
        arrived: u64,
        /// The length of the payload in bytes.
        length: u64,
    },
}

/// The meaning of some bits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Label<'a> {
    /// The position of the first byte of `wire` in the input.
    pub at: u64,
    /// The bytes that hold the bits. Several labels share a byte if each of them has only some of its bits.
    pub wire: &'a [u8],
    /// What the bits are.
    pub what: What<'a>,
}

/// What a label says about its bits.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum What<'a> {
    /// An empty line before a request.
    EmptyLine,
    /// The request line or the status line.
    StartLine,
    /// A header field of HTTP.
    HeadField,
    /// The empty line that ends a head.
    HeadEnd,
    /// Part of the body of a response.
    Body,
    /// A head, up to and including the byte that breaks a rule.
    BadHead,
    /// An incomplete head.
    IncompleteHead,
    /// A field of a frame header. Its bits are counted from the first bit of the frame. If the input ends in the middle of
    /// the field, its value is 0.
    Bits {
        /// The field.
        field: Field,
        /// All bytes of the header that were read.
        header: &'a [u8],
    },
    /// Payload data, or a piece of it.
    Payload {
        /// The header of its frame.
        header: Header,
        /// The position of the piece in the payload, in bytes.
        at: u64,
        /// The unmasked bytes.
        clear: &'a [u8],
        /// Whether an extension has encoded the message of the frame. [`Item::Decoded`] has what it decodes to.
        encoded: bool,
    },
    /// Bytes that a receiver does not read.
    NotRead,
}

/// The place in a frame that breaks a rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// Bits of the frame, which belong to the field with this name.
    Header(Range<usize>, &'static str),
    /// Bytes of the payload.
    Payload(Range<u64>),
}

/// Labels the bits of one direction of a connection. How the bytes are split into pieces makes no difference to the labels
/// of headers.
///
/// ```
/// use framewise::Config;
/// use framewise::labels::{Item, Labeller, What};
/// use framewise::protocol::frame::Role;
///
/// let mut labeller = Labeller::of_frames(Role::Client, Config::default().validate()?);
/// let mut names = Vec::new();
/// labeller.feed(b"\x81\x80\x37\xfa\x21\x3d", &mut |item| {
///     if let Item::Label(label) = item
///         && let What::Bits { field, .. } = &label.what
///     {
///         names.push(field.name);
///     }
/// });
/// assert_eq!(names[..2], ["FIN", "RSV1"]);
/// assert_eq!(names[6..], ["payload length", "masking key"]);
/// # Ok::<(), framewise::config::ConfigError>(())
/// ```
#[derive(Debug)]
pub struct Labeller {
    dissector: Dissector,
    frame: Frame,
}

/// What is known of the current position.
#[derive(Debug, Default)]
struct Frame {
    /// How many bytes of the input have been labelled.
    at: u64,
    /// The header of the last frame.
    header: Vec<u8>,
    /// How many bytes of its payload have been labelled.
    arrived: u64,
    /// The first of these bytes, unmasked, as many as a control frame can have.
    start: Vec<u8>,
    /// Whether the current message is encoded. Its later frames do not say so themselves.
    is_encoded: bool,
}

impl Labeller {
    /// Creates a labeller for everything that `sender` sends: a head, then frames. The limits are those of `config`.
    #[must_use]
    pub fn new(sender: Role, config: ValidConfig) -> Labeller {
        Labeller { dissector: Dissector::new(sender, config), frame: Frame::default() }
    }

    /// Creates a labeller for the frames that `sender` sends on an open connection.
    #[must_use]
    pub fn of_frames(sender: Role, config: ValidConfig) -> Labeller {
        Labeller { dissector: Dissector::of_frames(sender, config), frame: Frame::default() }
    }

    /// Tells the labeller of a server's bytes which requests the client has sent, because the response to a HEAD has no body,
    /// and the response to an opening handshake must match it. `requests` is the labeller of the client's bytes. [`Dissector::responds_to`] has an example.
    pub fn responds_to(&mut self, requests: &mut Labeller) {
        self.dissector.responds_to(&mut requests.dissector);
    }

    /// Sets the extension that the opening handshake has negotiated, for input without the response. Returns whether the
    /// extension is known. [`Dissector::set_extensions`] has an example.
    pub fn set_extensions(&mut self, value: &str) -> bool {
        self.dissector.set_extensions(value)
    }

    /// Begins again with the next message, because bytes are missing before it. [`Dissector::resume`] says what is kept.
    pub fn resume(&mut self) {
        self.dissector.resume();
        self.frame = Frame::default();
    }

    /// Labels the next bytes and calls `show` with each item. A head or a frame header is only labelled once it is complete.
    pub fn feed(&mut self, bytes: &[u8], show: &mut impl FnMut(&Item<'_>)) {
        let Labeller { dissector, frame } = self;
        dissector.feed(bytes, &mut |finding| frame.label(finding, show));
    }

    /// Ends the input. Labels an incomplete head or header.
    pub fn finish(&mut self, show: &mut impl FnMut(&Item<'_>)) {
        let Labeller { dissector, frame } = self;
        dissector.finish(&mut |finding| frame.label(finding, show));
    }
}

impl Frame {
    fn label(&mut self, finding: &Finding<'_>, show: &mut impl FnMut(&Item<'_>)) {
        match finding {
            Finding::EmptyLine(wire) => self.show(wire, What::EmptyLine, show),
            Finding::StartLine(wire) => self.show(wire, What::StartLine, show),
            Finding::Field(wire) => self.show(wire, What::HeadField, show),
            Finding::HeadEnd(wire) => self.show(wire, What::HeadEnd, show),
            Finding::Body(wire) => self.show(wire, What::Body, show),
            Finding::BadHead(wire) => self.show(wire, What::BadHead, show),
            Finding::NotRead(wire) => self.show(wire, What::NotRead, show),
            Finding::Header { wire, header } => {
                if matches!(header.opcode, Opcode::Text | Opcode::Binary) {
                    self.is_encoded = !header.rsv.is_empty();
                }
                self.show_bits(wire, show);
            }
            Finding::BadHeader(wire) => self.show_bits(wire, show),
            Finding::Payload { header, at, wire, clear } => {
                let room = MAX_CONTROL - self.start.len();
                self.start.extend_from_slice(&clear[..clear.len().min(room)]);
                self.arrived += clear.len() as u64;
                let encoded = self.is_encoded && !header.opcode.is_control();
                self.show(wire, What::Payload { header: *header, at: *at, clear, encoded }, show);
            }
            Finding::Decoded(message) => show(&Item::Decoded(*message)),
            Finding::Valid(header) => show(&Item::Valid(*header)),
            Finding::ValidHead { handshake } => show(&Item::ValidHead { handshake: *handshake }),
            Finding::IncompleteBody => show(&Item::BodyEnds),
            Finding::Broken(fault) => {
                let places = match fault {
                    Fault::Violation(violation) => self.places(*violation),
                    Fault::Refusal(_) | Fault::Rejection(_) => Vec::new(),
                };
                show(&Item::Broken { fault: fault.clone(), places });
            }
            Finding::IncompletePayload => {
                let length = length_of(&header_bits::fields(&self.header)).map_or(0, |f| f.value);
                show(&Item::PayloadEnds { arrived: self.arrived, length });
            }
            Finding::IncompleteHead(wire) => {
                self.show(wire, What::IncompleteHead, show);
                show(&Item::HeadEnds);
            }
            Finding::IncompleteHeader(wire) => {
                self.show_bits(wire, show);
                let bit = wire.len() * 8;
                let missing = header_bits::fields(wire).into_iter().find(|f| f.bits.end > bit);
                show(&Item::HeaderEnds { bit, field: missing.map_or("", |field| field.name) });
            }
        }
    }

    fn show(&mut self, wire: &[u8], what: What<'_>, show: &mut impl FnMut(&Item<'_>)) {
        show(&Item::Label(Label { at: self.at, wire, what }));
        self.at += wire.len() as u64;
    }

    /// Labels the fields of a frame header that was read as far as `header`.
    fn show_bits(&mut self, header: &[u8], show: &mut impl FnMut(&Item<'_>)) {
        (self.header, self.arrived) = (header.to_vec(), 0);
        self.start.clear();
        for mut field in header_bits::fields(header) {
            if field.bits.start >= header.len() * 8 {
                break;
            }
            let (first, end) = (field.bits.start / 8, field.bits.end.div_ceil(8));
            if end > header.len() {
                field.value = 0;
            }
            let wire = &header[first..end.min(header.len())];
            let at = self.at + first as u64;
            show(&Item::Label(Label { at, wire, what: What::Bits { field, header } }));
        }
        self.at += header.len() as u64;
    }

    /// Returns the places in the frame that break a rule.
    fn places(&self, violation: Violation) -> Vec<Place> {
        let fields = header_bits::fields(&self.header);
        let place = |field: &Field| Place::Header(field.bits.clone(), field.name);
        let named = |name| fields.iter().find(|field| field.name == name).map(place);
        let at = |start, end| Some(Place::Payload(start..end)).filter(|_| end <= self.arrived);
        let one = match violation {
            Violation::ReservedBits => {
                let set = |field: &&Field| field.name.starts_with("RSV") && field.value == 1;
                return fields.iter().filter(set).map(place).collect();
            }
            Violation::FragmentedControl => named("FIN"),
            Violation::ReservedOpcode
            | Violation::NothingToContinue
            | Violation::MessageInterrupted => named("opcode"),
            Violation::UnmaskedFrame | Violation::MaskedFrame => named("MASK"),
            Violation::ControlTooLong => named("payload length"),
            Violation::LengthNotMinimal | Violation::MessageTooBig => length_of(&fields).map(place),
            Violation::LengthTopBit => length_of(&fields)
                .map(|field| Place::Header(field.bits.start..field.bits.start + 1, field.name)),
            // The payload was labelled up to the byte that breaks the rule.
            Violation::InvalidUtf8 => at(self.arrived.saturating_sub(1), self.arrived.max(1)),
            Violation::TruncatedCloseCode => at(0, 1),
            Violation::InvalidCloseCode => at(0, 2),
            Violation::InvalidCloseReason => {
                let reason = self.start.get(2..).unwrap_or_default();
                let valid =
                    str::from_utf8(reason).map_or_else(|error| error.valid_up_to(), str::len);
                at(2 + valid as u64, 3 + valid as u64)
            }
            _ => None,
        };
        one.into_iter().collect()
    }
}

/// Returns the field that holds the length: the last one with this name.
fn length_of(fields: &[Field]) -> Option<&Field> {
    fields.iter().rev().find(|field| field.name.ends_with("payload length"))
}
