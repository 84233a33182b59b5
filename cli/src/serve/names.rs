//! What people and rooms may be called.
//!
//! Rules of this file: a name is what can be seen on one line, so that no two names look the same because of characters
//! that nobody sees; letters that can be written in two ways (é, or e with an accent behind it) are one (Unicode's NFC).

use unicode_normalization::UnicodeNormalization;
use unicode_properties::{GeneralCategory, GeneralCategoryGroup, UnicodeGeneralCategory};

/// Longest name of a person or a room in characters.
pub const MAX_NAME: usize = 64;

/// The name as it is kept, if it can be one: 1 to 64 characters, no space around them.
pub fn parse(name: &str) -> Option<String> {
    // No letter is composed of more than four characters: what is longer than this stays too long.
    let name: String = name.chars().take(4 * MAX_NAME + 1).nfc().collect();
    let fits = name.chars().count() <= MAX_NAME;
    let shown = key(&name);
    let is_mark = |c: char| c.general_category_group() == GeneralCategoryGroup::Mark;
    let is_seen = !name.chars().any(is_hidden) && shown.chars().any(|c| c != ' ' && !is_mark(c));
    let is_spaced = shown.trim() == shown && !shown.contains("  ");
    (fits && is_seen && is_spaced).then_some(name)
}

/// What two names have in common that look the same: joiners and emoji styles are left out.
pub fn key(name: &str) -> String {
    // Every message asks for the key of its room, and most rooms are called something like 7a.
    if name.is_ascii() {
        return name.to_owned();
    }
    name.chars().filter(|&c| !is_joiner(c)).nfc().collect()
}

/// They shape emoji and some scripts, and cannot be seen by themselves.
fn is_joiner(c: char) -> bool {
    matches!(c, '\u{200c}' | '\u{200d}' | '\u{fe0e}' | '\u{fe0f}')
}

/// Controls, line ends, marks that turn the direction of text around, blanks that pass for letters or for the space.
fn is_hidden(c: char) -> bool {
    use GeneralCategory::{Control, Format, PrivateUse};
    let category = c.general_category();
    let is_blank = matches!(
        c,
        '\u{034f}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}' | '\u{180b}'..='\u{180f}'
            | '\u{2065}' | '\u{2800}' | '\u{3164}' | '\u{ffa0}' | '\u{fff0}'..='\u{fff8}' | '\u{fffc}' | '\u{fe00}'..='\u{fe0d}' | '\u{e0000}'..='\u{e0fff}'
    );
    let categories = [Control, Format, PrivateUse];
    let is_other_space = c.is_whitespace() && c != ' ';
    !is_joiner(c) && (is_blank || is_other_space || categories.contains(&category))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_what_can_be_seen() {
        for name in ["ana", "José da Silva", "7ª A", "李", "👩‍🏫", "❤️", &"é".repeat(MAX_NAME)]
        {
            assert_eq!(parse(name).as_deref(), Some(name));
        }
        let too_long = "a".repeat(MAX_NAME + 1);
        for name in [
            "",
            " ",
            " ana",
            "ana ",
            "a\u{7}",
            "a\nb",
            "a\u{2028}b",
            "\u{202e}ana",
            "ana\u{200e}",
            "a\u{61c}b",
            "ana\u{200b}",
            "a\u{a0}b",
            "a\u{3000}b",
            "a  b",
            "ana \u{200d}",
            "\u{200d} ana",
            "a \u{200d} b",
            "\u{200d} \u{200d}",
            "\u{301}",
            "\u{fffc}",
            "ana\u{2065}",
            "ana\u{fff0}",
            "ana\u{ad}",
            "ana\u{3164}",
            "\u{200d}",
            "\u{feff}ana",
            "\u{e0041}",
            "\u{e000}",
            &too_long,
        ] {
            assert_eq!(parse(name), None, "{name:?}");
        }
    }

    #[test]
    fn two_ways_of_writing_a_letter_are_one_name() {
        assert_eq!(parse("Jose\u{301}").as_deref(), Some("Jos\u{e9}"));
        assert_eq!(parse(&"e\u{301}".repeat(MAX_NAME)), Some("é".repeat(MAX_NAME)));
        assert_eq!(parse(&"e\u{301}".repeat(MAX_NAME + 1)), None);
        assert_eq!(parse(&format!("{}b", "a".repeat(1 << 20))), None);
    }

    #[test]
    fn names_that_look_the_same_have_one_key() {
        assert_eq!(key("a\u{200d}na"), key("ana"));
        assert_eq!(key("Jose\u{200d}\u{301}"), key("José"));
        assert_eq!(key("❤️"), key("❤"));
        assert_ne!(key("ana"), key("Ana"));
    }
}
