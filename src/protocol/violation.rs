//! RFC 6455 §7.1.7, §7.4.1: every rule that the peer can break on an open connection, each a [`Violation`].
//!
//! The table below is the only place that maps a broken rule to its section, its normative clause, its close code, the reason in the
//! Close frame and the same in Portuguese. Code that fails a connection uses one of these variants.

use std::fmt;

use crate::lang::Lang;

/// A rule that the peer broke, so that the connection fails.
///
/// ```
/// use framewise::lang::Lang;
/// use framewise::protocol::violation::Violation;
///
/// let rule = Violation::UnmaskedFrame;
/// assert_eq!((rule.section(), rule.code()), ("5.1", 1002));
/// assert_eq!(rule.to_string(), "RFC 6455 5.1: a client must mask every frame");
/// assert_eq!(rule.describe(Lang::Pt), "RFC 6455 5.1: um cliente deve mascarar cada frame");
/// assert_eq!(Violation::InvalidDeflate.standard(), "RFC 7692");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Violation {
    /// RSV1, RSV2 or RSV3 is set, and no negotiated extension defines it.
    ReservedBits,
    /// The opcode is one of 3-7 or B-F.
    ReservedOpcode,
    /// A client sent a frame without the MASK bit.
    UnmaskedFrame,
    /// A server sent a frame with the MASK bit.
    MaskedFrame,
    /// The payload length uses a longer form than it needs.
    LengthNotMinimal,
    /// The top bit of a 64-bit payload length is set.
    LengthTopBit,
    /// A control frame without FIN.
    FragmentedControl,
    /// A control frame with more than 125 bytes of payload data.
    ControlTooLong,
    /// A continuation frame without a message to continue.
    NothingToContinue,
    /// A new text or binary frame in the middle of a fragmented message.
    MessageInterrupted,
    /// A text message that is not UTF-8.
    InvalidUtf8,
    /// A compressed message whose payload data is not in the format of permessage-deflate.
    InvalidDeflate,
    /// A Close frame whose body is a single byte: half a status code.
    TruncatedCloseCode,
    /// A Close frame with a status code that must not be sent.
    InvalidCloseCode,
    /// A Close frame whose reason is not UTF-8.
    InvalidCloseReason,
    /// A message longer than this endpoint accepts.
    MessageTooBig,
    /// A message in more fragments than this endpoint accepts.
    TooManyFragments,
    /// The peer reads too slowly, and its queued output has reached the limit.
    OutputLimit,
    /// There is not enough memory for a message that the peer is sending.
    MessageMemory,
    /// There is not enough memory for the output to the peer.
    OutputMemory,
    /// The peer did not respond to a ping in time.
    PingUnanswered,
}

/// One row of the table of violations.
struct ViolationRow {
    section: &'static str,
    clause: &'static str,
    code: u16,
    text: &'static str,
    portuguese: &'static str,
}

const PROTOCOL_ERROR: u16 = 1002;
const INVALID_DATA: u16 = 1007;
const POLICY: u16 = 1008;
const TOO_BIG: u16 = 1009;

impl Violation {
    /// Every variant, in the order of the table.
    pub const ALL: &'static [Violation] = &[
        Violation::ReservedBits,
        Violation::ReservedOpcode,
        Violation::UnmaskedFrame,
        Violation::MaskedFrame,
        Violation::LengthNotMinimal,
        Violation::LengthTopBit,
        Violation::FragmentedControl,
        Violation::ControlTooLong,
        Violation::NothingToContinue,
        Violation::MessageInterrupted,
        Violation::InvalidUtf8,
        Violation::InvalidDeflate,
        Violation::TruncatedCloseCode,
        Violation::InvalidCloseCode,
        Violation::InvalidCloseReason,
        Violation::MessageTooBig,
        Violation::TooManyFragments,
        Violation::OutputLimit,
        Violation::MessageMemory,
        Violation::OutputMemory,
        Violation::PingUnanswered,
    ];

    /// Returns the standard that states the rule: `RFC 6455`, or that of an extension.
    pub fn standard(self) -> &'static str {
        match self {
            Violation::InvalidDeflate => "RFC 7692",
            _ => "RFC 6455",
        }
    }

    /// Returns the section of the [standard](Violation::standard) that states the rule, for example `5.1`.
    pub fn section(self) -> &'static str {
        self.row().section
    }

    /// Returns the normative clause, for example `5.1-2`: the second normative keyword in §5.1. For a rule of an extension,
    /// this is its standard and section.
    pub fn clause(self) -> &'static str {
        self.row().clause
    }

    /// Returns the status code of the Close frame (§7.4.1).
    pub fn code(self) -> u16 {
        self.row().code
    }

    /// Returns the rule in a few words, without its section.
    pub fn text(self) -> &'static str {
        self.row().text
    }

    /// Returns the rule in a few words, without its section, for people who read `lang`.
    pub fn text_in(self, lang: Lang) -> &'static str {
        match lang {
            Lang::En => self.row().text,
            Lang::Pt => self.row().portuguese,
        }
    }

    /// Returns the rule in a few words, with its section, for people who read `lang`. In English, this is what `Display` writes.
    pub fn describe(self, lang: Lang) -> String {
        format!("{} {}: {}", self.standard(), self.section(), self.text_in(lang))
    }

    /// Returns the reason of the Close frame: ASCII, at most 123 bytes (§5.5.1).
    pub fn reason(self) -> String {
        self.describe(Lang::En)
    }

    #[rustfmt::skip]
    fn row(self) -> ViolationRow {
        use Violation::*;
        let (section, clause, code, text, portuguese) = match self {
            ReservedBits       => ("5.2",   "5.2-3",   PROTOCOL_ERROR, "RSV bits must be 0 without an extension",         "sem extensão, os bits RSV devem ser 0"),
            ReservedOpcode     => ("5.2",   "5.2-4",   PROTOCOL_ERROR, "reserved opcode",                                 "opcode reservado"),
            UnmaskedFrame      => ("5.1",   "5.1-2",   PROTOCOL_ERROR, "a client must mask every frame",                  "um cliente deve mascarar cada frame"),
            MaskedFrame        => ("5.1",   "5.1-5",   PROTOCOL_ERROR, "a server must not mask a frame",                  "um servidor não deve mascarar nenhum frame"),
            LengthNotMinimal   => ("5.2",   "5.2-6",   PROTOCOL_ERROR, "the length must use the fewest bytes",            "o comprimento deve usar o menor número de bytes"),
            LengthTopBit       => ("5.2",   "5.2-5",   PROTOCOL_ERROR, "the top bit of a 64-bit length must be 0",        "o primeiro bit de um comprimento de 64 bits deve ser 0"),
            FragmentedControl  => ("5.5",   "5.5-2",   PROTOCOL_ERROR, "a control frame must not be fragmented",          "um frame de controle não deve ser fragmentado"),
            ControlTooLong     => ("5.5",   "5.5-1",   PROTOCOL_ERROR, "a control frame has at most 125 bytes",           "um frame de controle tem no máximo 125 bytes"),
            NothingToContinue  => ("5.4",   "5.4-12",  PROTOCOL_ERROR, "continuation without a message to continue",      "continuação sem mensagem para continuar"),
            MessageInterrupted => ("5.4",   "5.4-4",   PROTOCOL_ERROR, "new message before the last one ended",           "mensagem nova antes do fim da anterior"),
            InvalidUtf8        => ("8.1",   "8.1-1",   INVALID_DATA,   "text must be valid UTF-8",                        "o texto deve ser UTF-8 válido"),
            InvalidDeflate     => ("7.2.2", "RFC 7692 7.2.2", INVALID_DATA,   "a compressed message must be valid DEFLATE data",  "uma mensagem comprimida deve ser DEFLATE válido"),
            TruncatedCloseCode => ("5.5.1", "5.5.1-2", PROTOCOL_ERROR, "a close body starts with a 2-byte code",          "o corpo de um Close começa com um código de 2 bytes"),
            InvalidCloseCode   => ("7.4",   "7.4.1-3", PROTOCOL_ERROR, "this close code must not be sent",                "este código de fechamento não deve ser enviado"),
            InvalidCloseReason => ("8.1",   "8.1-1",   INVALID_DATA,   "a close reason must be valid UTF-8",              "o motivo de um Close deve ser UTF-8 válido"),
            MessageTooBig      => ("10.4",  "10.4-1",  TOO_BIG,        "message larger than the limit",                   "mensagem maior que o limite"),
            TooManyFragments   => ("10.4",  "10.4-2",  POLICY,         "more fragments than the limit",                   "mais fragmentos que o limite"),
            OutputLimit        => ("10.4",  "10.4-1",  POLICY,         "output limit reached, the peer reads too slowly", "limite de saída atingido: o outro lado lê devagar demais"),
            MessageMemory      => ("10.4",  "10.4-1",  TOO_BIG,        "no memory left for this message",                 "não há mais memória para esta mensagem"),
            OutputMemory       => ("10.4",  "10.4-1",  POLICY,         "no memory left, the peer reads too slowly",       "não há mais memória: o outro lado lê devagar demais"),
            PingUnanswered     => ("5.5.2", "5.5.2-2", POLICY,         "no pong in time",                                 "nenhum pong a tempo"),
        };
        ViolationRow { section, clause, code, text, portuguese }
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.describe(Lang::En))
    }
}

impl std::error::Error for Violation {}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 6455 §5.5-1: the reason shares the 125 bytes of a control frame with the 2-byte code.
    #[test]
    fn every_reason_fits_a_close_frame_and_is_ascii() {
        for &violation in Violation::ALL {
            let reason = violation.reason();
            assert!(reason.is_ascii() && reason.len() <= 123, "{reason}");
            let rule = format!("{} {}: ", violation.standard(), violation.section());
            assert!(reason.starts_with(&rule), "{reason}");
            let base = match violation.standard() {
                "RFC 6455" => violation.clause().rsplit_once('-').expect("section-ordinal").0,
                standard => violation.clause().strip_prefix(standard).expect("its name").trim(),
            };
            assert!(base.starts_with(violation.section()), "{violation:?}");
        }
    }
}
