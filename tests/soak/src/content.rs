//! What the messages say: their own id, and then characters that follow from it, so that each message differs from all
//! others and nothing has to be kept to recognise it.

use std::hash::{DefaultHasher, Hasher};

use crate::event::{Content, MessageId};

/// One to four bytes each in UTF-8, and some that JSON escapes.
const CHARACTERS: [char; 12] =
    ['a', 'é', '"', '\\', '✓', '\n', '😀', '/', '\u{1}', 'z', '\u{2028}', 'ß'];

/// Returns a text with the id and so many more characters.
pub fn text(id: MessageId, length: usize) -> String {
    let characters = CHARACTERS.iter().cycle().skip((id.sender + id.number) % CHARACTERS.len());
    format!("{id} {}", characters.take(length).collect::<String>())
}

/// Returns bytes with the id and so many more.
pub fn binary(id: MessageId, length: usize) -> Vec<u8> {
    let bytes = (id.sender + id.number..).map(|n| n as u8);
    format!("{id} ").into_bytes().into_iter().chain(bytes.take(length)).collect()
}

/// Returns what identifies a payload.
pub fn content(payload: &[u8], is_binary: bool) -> Content {
    let mut hasher = DefaultHasher::new();
    hasher.write(payload);
    Content { digest: hasher.finish(), is_binary }
}

/// Returns the id that a payload begins with.
pub fn id_of(payload: &[u8]) -> Option<MessageId> {
    let end = payload.iter().position(|byte| *byte == b' ')?;
    let (sender, number) = std::str::from_utf8(&payload[..end]).ok()?.split_once('.')?;
    Some(MessageId { sender: sender.parse().ok()?, number: number.parse().ok()? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_payload_begins_with_its_id() {
        let id = MessageId { sender: 12, number: 345 };
        assert_eq!(id_of(text(id, 0).as_bytes()), Some(id));
        assert_eq!(id_of(&binary(id, 300)), Some(id));
        for wrong in ["", "12.345", "12 345", "a.b c", "-1.2 "] {
            assert_eq!(id_of(wrong.as_bytes()), None, "{wrong}");
        }
        assert_eq!(text(id, 20).chars().count(), "12.345 ".len() + 20);
    }
}
