//! Text as HTML shows it.

use std::fmt::{self, Display, Write};

/// Writes a text with its markup characters escaped, so that it is safe between tags and in a quoted attribute.
pub struct Html<T>(pub T);

impl<T: Display> Display for Html<T> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        for character in self.0.to_string().chars() {
            match character {
                '&' => out.write_str("&amp;")?,
                '<' => out.write_str("&lt;")?,
                '>' => out.write_str("&gt;")?,
                '"' => out.write_str("&quot;")?,
                '\'' => out.write_str("&#39;")?,
                other => out.write_char(other)?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn markup_is_escaped() {
        assert_eq!(
            Html("<a b=\"c\">'&amp;é").to_string(),
            "&lt;a b=&quot;c&quot;&gt;&#39;&amp;amp;é"
        );
    }
}
