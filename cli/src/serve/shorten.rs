//! Texts cut to a length.

use std::borrow::Cow;

/// Returns the text with at most `max` characters. A longer one is cut, and then ends with `…`.
pub fn shortened(text: &str, max: usize) -> Cow<'_, str> {
    if text.chars().nth(max).is_none() {
        return text.into();
    }
    let cut: String = text.chars().take(max - 1).collect();
    format!("{cut}…").into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_text_is_cut_between_characters() {
        assert_eq!(shortened("éé", 2), "éé");
        assert_eq!(shortened("ééé", 2), "é…");
    }
}
