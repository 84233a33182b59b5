//! The names of people and rooms.
//!
//! Rules of this file: a name consists of what people can see on one line. Names that look alike, or that differ only in
//! case, collide: two people cannot have them at the same time, and as rooms they are one room. A name is kept in
//! Unicode's NFC, so that é is one character however it was typed.

use std::collections::HashMap;

use caseless::Caseless;
use unicode_normalization::UnicodeNormalization;
use unicode_normalization::char::canonical_combining_class;
use unicode_properties::{GeneralCategory, GeneralCategoryGroup, UnicodeGeneralCategory};
use unicode_security::skeleton;

/// The maximum length of the name of a person or a room, in characters.
pub const MAX_NAME: usize = 64;

/// The maximum number of nonspacing marks in a row, counted in NFD. More than these pile up over the lines around them.
pub const MAX_MARKS: usize = 3;

/// The maximum number of joiners and emoji styles in a row. No script needs more than two.
const MAX_JOINERS: usize = 3;

/// Why a text cannot be a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NameFault {
    /// Empty, or longer than [`MAX_NAME`].
    Length,
    /// A space at the start or the end, or two in a row.
    Space,
    /// A character that is invisible or blank, or that no font can show; or too many joiners.
    Invisible(char),
    /// Only joiners and marks.
    Blank,
    /// More than [`MAX_MARKS`] marks in a row.
    Marks,
}

/// Returns the name in NFC.
///
/// # Errors
///
/// The text cannot be a name.
pub fn parse(name: &str) -> Result<String, NameFault> {
    // NFC composes at most four characters into one, so a longer text remains too long after this cut.
    let typed = name.chars().take(4 * MAX_NAME + 1);
    let name: String = typed.clone().nfc().collect();
    if name.is_empty() || name.chars().count() > MAX_NAME {
        return Err(NameFault::Length);
    }
    if let Some(hidden) = typed.clone().find(|&c| is_hidden(c)) {
        return Err(NameFault::Invisible(hidden));
    }
    let seen: String = name.chars().filter(|&c| !is_joiner(c)).collect();
    if seen.trim() != seen || seen.contains("  ") {
        return Err(NameFault::Space);
    }
    if seen.chars().all(|c| c.general_category_group() == GeneralCategoryGroup::Mark) {
        return Err(NameFault::Blank);
    }
    let mut joiners = 0;
    for c in name.chars() {
        joiners = if is_joiner(c) { joiners + 1 } else { 0 };
        if joiners > MAX_JOINERS {
            return Err(NameFault::Invisible(c));
        }
    }
    let mut marks = 0;
    for c in seen.nfd() {
        marks = if is_nonspacing(c) { marks + 1 } else { 0 };
        if marks > MAX_MARKS {
            return Err(NameFault::Marks);
        }
    }
    Ok(name)
}

/// Reports whether people read both as the same name: they differ at most in case and in the way of typing the same
/// letters. Look-alikes made of other letters are different names.
pub fn is_same(name: &str, other: &str) -> bool {
    let read = |name: &str| -> String {
        // Skipping the joiners may bring a letter and its mark together.
        let folded: String = name.nfkc().default_case_fold().filter(|&c| !is_joiner(c)).collect();
        without_second_dots(folded.nfd()).collect()
    };
    read(name) == read(other)
}

/// What two names have in common if they collide: the skeletons of UTS #39. Neither of the two can replace the other:
/// `l` and `I` only look alike as they are written, `Ana` and `ana` only in the same case.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Keys {
    /// skeleton(NFKC(name))
    look: String,
    /// skeleton(casefold(NFKC(name)))
    folded: String,
}

impl Keys {
    fn of(name: &str) -> Keys {
        let name: String = name.nfkc().collect();
        let folded: String = name.chars().default_case_fold().collect();
        let key = |text: &str| without_second_dots(skeleton(text)).collect();
        Keys { look: key(&name), folded: key(&folded) }
    }

    /// Returns the keys of the name with this text after it, which has to begin with a space: no letter of the name
    /// combines with a space, so both parts have the keys that they have alone.
    fn followed_by(&self, text: &str) -> Keys {
        let Keys { look, folded } = Keys::of(text);
        Keys { look: format!("{}{look}", self.look), folded: format!("{}{folded}", self.folded) }
    }
}

/// Values by name. At most one of several colliding names is in the table.
#[derive(Debug)]
pub struct Table<T> {
    by_look: HashMap<String, T>,
    by_folded: HashMap<String, T>,
}

impl<T> Default for Table<T> {
    fn default() -> Table<T> {
        Table { by_look: HashMap::new(), by_folded: HashMap::new() }
    }
}

impl<T: Clone> Table<T> {
    /// Adds a name that does not collide with any other.
    pub fn insert(&mut self, name: &str, value: T) {
        let Keys { look, folded } = Keys::of(name);
        self.by_look.insert(look, value.clone());
        self.by_folded.insert(folded, value);
    }

    /// Removes a name that is in the table.
    pub fn remove(&mut self, name: &str) {
        let Keys { look, folded } = Keys::of(name);
        self.by_look.remove(&look);
        self.by_folded.remove(&folded);
    }

    /// Returns the values of the names that this one collides with. The first one looks like this name as it is
    /// written, the second one looks like it in lower case; they may be the same.
    pub fn colliding(&self, name: &str) -> impl Iterator<Item = &T> {
        self.with_keys(&Keys::of(name))
    }

    fn with_keys(&self, keys: &Keys) -> impl Iterator<Item = &T> + use<'_, T> {
        let found = [self.by_look.get(&keys.look), self.by_folded.get(&keys.folded)];
        found.into_iter().flatten()
    }

    /// Returns a name like this one that collides with none, with a number after it, and how many numbers were tried.
    pub fn free(&self, name: &str) -> (String, usize) {
        // Each name has two keys, so it takes at most two numbers, and this many digits are enough.
        let digits = (2 * self.by_look.len() + 2).to_string().len();
        let start: String = name.chars().take(MAX_NAME - 1 - digits).collect();
        let start = start.trim_end_matches(|c| c == ' ' || is_joiner(c));
        let keys = Keys::of(start);
        let is_free = |end: &String| self.with_keys(&keys.followed_by(end)).next().is_none();
        let ends = (2_usize..).map(|number| format!(" {number}"));
        let mut tried = (1..).zip(ends);
        let (count, end) =
            tried.find(|(_, end)| is_free(end)).expect("there are more numbers than names");
        (format!("{start}{end}"), count)
    }
}

/// Leaves out a dot above i and j, which have one already: it is drawn over their own.
fn without_second_dots(decomposed: impl Iterator<Item = char>) -> impl Iterator<Item = char> {
    let mut is_dotted = false;
    decomposed.filter(move |&c| {
        let is_second = is_dotted && c == '\u{307}';
        // A mark elsewhere, such as an ogonek, leaves the place above the letter free.
        let is_elsewhere = !matches!(canonical_combining_class(c), 0 | 230);
        is_dotted = matches!(c, 'i' | 'j') || is_dotted && (is_elsewhere || is_second);
        !is_second
    })
}

/// Reports whether the character joins others or selects an emoji style. Names of some scripts and emoji need these
/// characters, which are invisible by themselves; names that differ only in them collide.
fn is_joiner(c: char) -> bool {
    matches!(c, '\u{200c}' | '\u{200d}' | '\u{fe0e}' | '\u{fe0f}')
}

fn is_nonspacing(c: char) -> bool {
    matches!(c.general_category(), GeneralCategory::NonspacingMark | GeneralCategory::EnclosingMark)
}

/// Reports whether people cannot see the character, or cannot tell it from a space or from other characters: controls,
/// line ends, marks that change the direction of text, fillers, and code points without a meaning.
fn is_hidden(c: char) -> bool {
    use GeneralCategory::{Control, Format, PrivateUse, Unassigned};
    let is_meaningless = matches!(c.general_category(), Control | Format | PrivateUse | Unassigned);
    // Skeletons leave out Unicode's default ignorable code points.
    let is_ignorable = skeleton(c.encode_utf8(&mut [0; 4])).next().is_none();
    // Unicode gives these no property that says that they are blank or a filler.
    let is_blank = matches!(
        c,
        '\u{2800}' // Braille pattern without dots
            | '\u{2d7f}' // Tifinagh consonant joiner
            | '\u{303f}' // ideographic half fill space
            | '\u{fffc}' // placeholder of an object
            | '\u{1107f}' // Brahmi number joiner
            | '\u{13441}' | '\u{13442}' // blanks among the Egyptian hieroglyphs
            | '\u{16fe4}' // Khitan filler
            | '\u{1d159}' // musical null notehead
    );
    let is_other_space = c.is_whitespace() && c != ' ';
    !is_joiner(c) && (is_meaningless || is_ignorable || is_blank || is_other_space)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Reports whether nobody can have one name while somebody else has the other.
    fn collide(name: &str, other: &str) -> bool {
        let mut table = Table::default();
        table.insert(name, ());
        table.colliding(other).next().is_some()
    }

    /// Names that people have, in many scripts.
    const USABLE: &[&str] = &[
        "ana",
        "Zoë",
        "José da Silva",
        "João",
        "Nguyễn Thị Thuỷ",
        "Ağca",
        "7ª A",
        "Weiß",
        "Łukasz",
        "O’Neill",
        // Arabic and Persian, which needs the joiner.
        "محمد",
        "فاطمة",
        "عائشة",
        "علی",
        "خديجة",
        "يوسف",
        "مُحَمَّد",
        "آرش",
        "مهدی\u{200c}پور",
        // Devanagari, Bengali, Tamil, Sinhala.
        "अनन्या",
        "आरव",
        "प्रिया",
        "लक्ष्मी",
        "ज़ोया",
        "श्रीकृष्ण",
        "ऋतु",
        "অনন্যা",
        "தமிழ்ச்செல்வி",
        "ශ්‍රීමාලි",
        // Chinese, Japanese, Korean.
        "李",
        "王芳",
        "张伟",
        "張偉",
        "欧阳娜娜",
        "玉",
        "さくら",
        "サクラ",
        "がぎ",
        "박지성",
        // Hebrew with its points, Thai, Burmese, Khmer, Tibetan.
        "שָׁלוֹם",
        "สมชาย",
        "น้ำผึ้ง",
        "ဖြိုး",
        "မျိုးမြင့်",
        "សុខា",
        "བསྒྲུབས",
        // Cyrillic, Greek, Georgian, Armenian.
        "Юлия",
        "Σωκράτης",
        "ნინო",
        "Արմեն",
        // Emoji.
        "👩‍🏫",
        "❤️",
        "1️⃣",
        "🇧🇷",
    ];

    #[test]
    fn names_of_many_scripts_are_usable() {
        for name in USABLE {
            assert_eq!(parse(name), Ok(name.nfc().collect()), "{name}");
        }
        let longest = "é".repeat(MAX_NAME);
        assert_eq!(parse(&longest), Ok(longest));
        for (at, name) in USABLE.iter().enumerate() {
            for other in &USABLE[at + 1..] {
                assert!(!collide(name, other), "{name} and {other}");
            }
        }
    }

    #[test]
    fn a_text_that_cannot_be_a_name_is_refused_for_its_fault() {
        let too_long = "a".repeat(MAX_NAME + 1);
        let is_length = ["", &too_long].map(|name| (name, NameFault::Length));
        let is_space = [
            " ",
            " ana",
            "ana ",
            "a  b",
            "ana \u{200d}",
            "\u{200d} ana",
            "a \u{200d} b",
            "\u{200d} \u{200d}",
        ];
        let is_blank = ["\u{301}", "\u{200d}", "\u{fe0f}\u{301}"];
        let is_marks = [
            "a\u{301}\u{301}\u{301}\u{301}",
            "\u{e9}\u{302}\u{303}\u{304}",
            "x\u{20dd}\u{200d}\u{20dd}\u{20dd}\u{20dd}",
        ];
        let faults = is_length
            .into_iter()
            .chain(is_space.map(|name| (name, NameFault::Space)))
            .chain(is_blank.map(|name| (name, NameFault::Blank)))
            .chain(is_marks.map(|name| (name, NameFault::Marks)));
        for (name, fault) in faults {
            assert_eq!(parse(name), Err(fault), "{name:?}");
        }
        for name in [
            "a\u{301}\u{302}\u{303}",
            "\u{e9}\u{302}\u{303}",
            "\u{301}\u{301}\u{301}a\u{301}\u{301}\u{301}",
        ] {
            assert!(parse(name).is_ok(), "{name:?}");
        }
    }

    #[test]
    fn a_character_that_nobody_sees_is_refused() {
        let known = "\u{0}\u{7}\n\r\t\u{7f}\u{85}\u{a0}\u{ad}\u{34f}\u{61c}\u{115f}\u{1160}\u{1680}\u{17b4}\u{17b5}\
            \u{180b}\u{180e}\u{180f}\u{2000}\u{200a}\u{200b}\u{200e}\u{200f}\u{2028}\u{2029}\u{202a}\u{202e}\u{202f}\
            \u{205f}\u{2060}\u{2061}\u{2065}\u{2066}\u{2069}\u{206f}\u{2800}\u{2d7f}\u{3000}\u{303f}\u{3164}\u{e000}\
            \u{fdd0}\u{fe00}\u{fe0d}\u{feff}\u{ffa0}\u{fff0}\u{fff9}\u{fffb}\u{fffc}\u{ffff}\u{1107f}\u{13430}\
            \u{13441}\u{13442}\u{16fe4}\u{1bca0}\u{1d159}\u{1d173}\u{1d17a}\u{e0001}\u{e0041}\u{e0100}\u{e01ef}\
            \u{f0000}\u{10ffff}";
        for hidden in known.chars() {
            for name in [format!("ana{hidden}"), format!("a{hidden}na"), hidden.to_string()] {
                assert_eq!(parse(&name), Err(NameFault::Invisible(hidden)), "{name:?}");
            }
        }
        assert!(parse("a\u{200d}\u{200d}\u{200d}na").is_ok());
        let many = "a\u{200d}\u{200d}\u{200d}\u{200c}na";
        assert_eq!(parse(many), Err(NameFault::Invisible('\u{200c}')));
    }

    #[test]
    fn two_ways_of_typing_a_letter_are_one_name() {
        assert_eq!(parse("Jose\u{301}").as_deref(), Ok("Jos\u{e9}"));
        assert_eq!(parse(&"e\u{301}".repeat(MAX_NAME)), Ok("é".repeat(MAX_NAME)));
        assert_eq!(parse(&"e\u{301}".repeat(MAX_NAME + 1)), Err(NameFault::Length));
        assert_eq!(parse(&format!("{}b", "a".repeat(1 << 20))), Err(NameFault::Length));
    }

    #[test]
    fn names_that_look_alike_or_differ_in_case_collide() {
        for (name, other) in [
            ("ana", "Ana"),
            ("ana", "ANA"),
            // Cyrillic, in both cases; Greek.
            ("ana", "\u{430}na"),
            ("Ana", "\u{410}na"),
            ("ana", "\u{410}na"),
            ("ANA", "\u{430}n\u{430}"),
            ("caxop", "\u{441}\u{430}\u{445}\u{43e}\u{440}"),
            ("OTTO", "\u{39f}\u{3a4}\u{3a4}\u{39f}"),
            // Full-width, mathematical, in circles.
            ("ana", "\u{ff41}\u{ff4e}\u{ff41}"),
            ("ana", "\u{ff21}\u{ff2e}\u{ff21}"),
            ("ana", "\u{1d41a}\u{1d427}\u{1d41a}"),
            ("ana", "\u{24d0}\u{24dd}\u{24d0}"),
            ("maria", "rnaria"),
            ("Maria", "rnaria"),
            ("will", "wi11"),
            ("will", "wiI1"),
            ("1l", "Il"),
            ("Weiß", "weiss"),
            ("WEISS", "weiß"),
            ("WEI\u{1e9e}", "weiß"),
            ("ﬁona", "Fiona"),
            ("Σωκράτης", "ΣΩΚΡΆΤΗΣ"),
            // The four letters i of Turkish, and the dot that nobody sees.
            ("inci", "İnci"),
            ("inci", "ınci"),
            ("inci", "INCI"),
            ("İnci", "ınci"),
            ("İNCİ", "inci"),
            ("inci", "i\u{307}nci"),
            ("inci", "\u{131}\u{307}nci"),
            ("\u{12f}", "\u{12f}\u{307}"),
            ("jo", "j\u{307}o"),
            // Joiners and emoji styles.
            ("ana", "a\u{200d}na"),
            ("José", "Jose\u{200d}\u{301}"),
            ("❤️", "❤"),
            // Letters of Arabic and Hebrew that are the same to the eye.
            ("علی", "على"),
            ("يوسف", "یوسف"),
        ] {
            assert!(collide(name, other), "{name} and {other}");
            assert!(collide(other, name), "{other} and {name}");
        }
        for (name, other) in [
            ("ana", "anna"),
            ("ana", "aná"),
            ("Jose", "José"),
            ("ana", "ana 2"),
            ("7a", "7b"),
            ("i", "í"),
            ("a\u{307}", "a"),
            // Only their skeletons in different cases are the same.
            ("Il", "LL"),
        ] {
            assert!(!collide(name, other), "{name} and {other}");
            assert!(!collide(other, name), "{other} and {name}");
        }
    }

    #[test]
    fn a_name_is_the_same_in_any_case_but_not_in_other_letters() {
        for (name, other) in [
            ("ana", "Ana"),
            ("ana", "\u{ff21}na"),
            ("José", "JOSE\u{200d}\u{301}"),
            ("weiß", "WEISS"),
            ("inci", "İNCİ"),
            ("❤️", "❤"),
        ] {
            assert!(is_same(name, other), "{name} and {other}");
        }
        for (name, other) in
            [("ana", "\u{430}na"), ("maria", "rnaria"), ("will", "wi11"), ("inci", "ınci")]
        {
            assert!(!is_same(name, other), "{name} and {other}");
        }
    }

    #[test]
    fn a_free_name_is_one() {
        let mut table = Table::default();
        for wanted in
            ["ana", "Ana", "\u{430}na", &"é".repeat(MAX_NAME), &"👩\u{200d}".repeat(32), "l", "a b"]
        {
            // More of them than one digit can count.
            for _ in 0..12 {
                let (free, _) = table.free(wanted);
                assert_eq!(parse(&free).as_ref(), Ok(&free), "{wanted}");
                assert_eq!(table.colliding(&free).next(), None, "{free}");
                table.insert(&free, ());
            }
        }
        assert!(!collide("ana 1", "ana 2"));
        let mut table = Table::default();
        table.insert("Ana", ());
        table.insert("ana 2", ());
        assert_eq!(table.free("ana"), ("ana 3".to_owned(), 2));
    }

    #[test]
    fn a_removed_name_is_free() {
        let mut table = Table::default();
        table.insert("ana", 1);
        table.insert("bia", 2);
        table.remove("ana");
        assert_eq!(table.colliding("Ana").next(), None);
        assert_eq!(table.colliding("BIA").next(), Some(&2));
        table.remove("bia");
        assert!(table.by_look.is_empty() && table.by_folded.is_empty());
    }

    /// The ligature that stands for most letters is the longest name that people can choose.
    #[test]
    fn the_keys_of_the_longest_name_have_a_limit() {
        let Keys { look, folded } = Keys::of(&"\u{fdfa}".repeat(MAX_NAME));
        assert!(look.len().max(folded.len()) <= 40 * MAX_NAME, "{} {}", look.len(), folded.len());
    }
}
