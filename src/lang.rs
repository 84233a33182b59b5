//! English and Portuguese: choosing the language of a reader, and texts that exist in both.
//!
//! [`Lang`] is the language, [`Bilingual`] a text. The texts of the library are in `texts.rs`. The reasons in Close frames are neither there nor here: they are ASCII and
//! the same in every language (`protocol/violation.rs`).

use std::fmt::Display;

/// A language that framewise writes for people.
///
/// A third language would change every [`Bilingual`], so this list is complete on purpose.
///
/// ```
/// use framewise::lang::Lang;
///
/// assert_eq!(Lang::from_tag("pt_BR.UTF-8"), Some(Lang::Pt));
/// assert_eq!(Lang::from_accept_language("fr, pt;q=0.8, en;q=0.5"), Some(Lang::Pt));
/// assert_eq!(Lang::Pt.tag(), "pt");
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Lang {
    /// English.
    #[default]
    En,
    /// Portuguese, as spoken in Brazil.
    Pt,
}

impl Lang {
    /// Returns the tag that `Content-Language` and `--lang` use: `en` or `pt`.
    pub fn tag(self) -> &'static str {
        match self {
            Lang::En => "en",
            Lang::Pt => "pt",
        }
    }

    /// Returns the language of a tag such as `pt`, `pt-BR`, `pt_BR.UTF-8` or `en_US`, or `None` for any other language.
    pub fn from_tag(tag: &str) -> Option<Lang> {
        let primary = tag.trim().split(['-', '_', '.', '@']).next()?;
        match primary.to_ascii_lowercase().as_str() {
            "pt" => Some(Lang::Pt),
            "en" => Some(Lang::En),
            _ => None,
        }
    }

    /// Returns the language of the environment, from the first of `LC_ALL`, `LC_MESSAGES` and `LANG` that is not empty.
    /// The default is English.
    pub fn from_env() -> Lang {
        ["LC_ALL", "LC_MESSAGES", "LANG"]
            .iter()
            .filter_map(|name| std::env::var(name).ok())
            .find(|value| !value.is_empty())
            .and_then(|value| Lang::from_tag(&value))
            .unwrap_or_default()
    }

    /// Returns the language that an `Accept-Language` value prefers (RFC 9110 12.5.4): the one with the highest `q`,
    /// and of equal ones the first. `None` means that the value names neither language.
    pub fn from_accept_language(value: &str) -> Option<Lang> {
        let mut best: Option<(u16, Lang)> = None;
        for entry in value.split(',') {
            let mut parts = entry.split(';');
            let lang = parts.next().and_then(Lang::from_tag);
            let quality = parts.find_map(|part| part.trim().strip_prefix("q="));
            let quality = quality.map_or(Some(1000), thousandths).unwrap_or(0);
            if let Some(lang) = lang
                && quality > best.map_or(0, |(most, _)| most)
            {
                best = Some((quality, lang));
            }
        }
        best.map(|(_, lang)| lang)
    }
}

/// Parses a quality value such as `0.8`. Returns it in thousandths.
fn thousandths(quality: &str) -> Option<u16> {
    let quality: f32 = quality.trim().parse().ok()?;
    (0.0..=1.0).contains(&quality).then_some((quality * 1000.0) as u16)
}

/// One text in both languages, with a `{}` for each value that [`Bilingual::with`] fills in.
///
/// ```
/// use framewise::lang::{Lang, Bilingual};
///
/// const READ: Bilingual = Bilingual::new("{} bytes read", "{} bytes lidos");
/// assert_eq!(READ.with(Lang::Pt, &[&7]), "7 bytes lidos");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bilingual {
    en: &'static str,
    pt: &'static str,
}

impl Bilingual {
    /// Returns a text. Both languages must have the same number of `{}`.
    #[must_use]
    pub const fn new(en: &'static str, pt: &'static str) -> Bilingual {
        Bilingual { en, pt }
    }

    /// Returns the text in one language, with each `{}` as it is.
    pub fn get(self, lang: Lang) -> &'static str {
        match lang {
            Lang::En => self.en,
            Lang::Pt => self.pt,
        }
    }

    /// Returns the text with each `{}` replaced by the next of `values`. A `{}` without a value is removed.
    pub fn with(self, lang: Lang, values: &[&dyn Display]) -> String {
        let mut values = values.iter();
        let mut pieces = self.get(lang).split("{}");
        let mut filled = pieces.next().unwrap_or_default().to_owned();
        for piece in pieces {
            if let Some(value) = values.next() {
                filled.push_str(&value.to_string());
            }
            filled.push_str(piece);
        }
        filled
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parses_tags_of_environments_and_browsers() {
        assert_eq!(Lang::from_tag("pt_BR.UTF-8"), Some(Lang::Pt));
        assert_eq!(Lang::from_tag("PT"), Some(Lang::Pt));
        assert_eq!(Lang::from_tag("C"), None);
        assert_eq!(Lang::from_accept_language("pt-BR,pt;q=0.9,en;q=0.8"), Some(Lang::Pt));
        assert_eq!(Lang::from_accept_language("fr, pt;q=0.2, en;q=0.7"), Some(Lang::En));
        assert_eq!(Lang::from_accept_language("pt;q=0, *"), None);
        assert_eq!(Lang::from_accept_language(""), None);
    }

    #[test]
    fn fills_in_the_values_in_order() {
        const FROM: Bilingual =
            Bilingual::new("Connection from ('{}', {})", "Conexão de ('{}', {})");
        assert_eq!(FROM.with(Lang::Pt, &[&"::1", &9]), "Conexão de ('::1', 9)");
    }
}
