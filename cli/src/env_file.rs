//! Parses `.env`, a file of lines `NAME=value`.
//!
//! Rules of this file: Nothing is substituted. What a line means is in docs/env-file.md, whose table is a test of this file.
//! A line that other programs read in another way is an error and not a guess. A fault never repeats the line, because the
//! line may contain a secret.

use framewise::lang::Bilingual;

use crate::texts;

/// A variable of the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Variable {
    pub name: String,
    pub value: String,
    /// The number of its line, from 1.
    pub line: usize,
}

/// The first line that cannot be understood.
#[derive(Debug)]
pub struct Fault {
    /// The number of the line, from 1.
    pub line: usize,
    /// The name before the `=`, if there is one.
    pub name: Option<String>,
    pub why: Bilingual,
}

/// Space and tab. Others, such as the no-break space, belong to the value.
const BLANK: [char; 2] = [' ', '\t'];

/// Characters that a shell does not read as themselves at the end of an unquoted word.
const QUOTES: [char; 3] = ['\'', '"', '`'];

/// Parses the file into its variables, in the order of its lines.
///
/// # Errors
///
/// A line is not text, or can be read in more than one way.
pub fn parse(file: &[u8]) -> Result<Vec<Variable>, Fault> {
    let mut variables = Vec::new();
    // Some editors begin a file with a byte order mark.
    let file = file.strip_prefix(b"\xef\xbb\xbf").unwrap_or(file);
    for (index, line) in file.split(|&byte| byte == b'\n').enumerate() {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let number = index + 1;
        let fault =
            |name: Option<&str>, why| Fault { line: number, name: name.map(str::to_owned), why };
        let line = str::from_utf8(line).map_err(|_| fault(None, texts::ENV_NOT_UTF8))?;
        if line.contains(|c: char| c.is_control() && c != '\t') {
            return Err(fault(None, texts::ENV_CONTROL));
        }
        let line = line.trim_matches(BLANK);
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let (name, value) = split(line).ok_or_else(|| fault(None, texts::ENV_NOT_A_PAIR))?;
        let value = parse_value(value).map_err(|why| fault(Some(name), why))?;
        variables.push(Variable { name: name.to_owned(), value, line: number });
    }
    Ok(variables)
}

/// Splits a line at its first `=`. Returns `None` if there is no name before it.
fn split(line: &str) -> Option<(&str, &str)> {
    let (name, value) = line.split_once('=')?;
    let exported = name.strip_prefix("export").filter(|rest| rest.starts_with(BLANK));
    let name = exported.unwrap_or(name).trim_matches(BLANK);
    let is_name = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && name.chars().all(|c| c.is_ascii_alphanumeric() || "_-.".contains(c));
    is_name.then_some((name, value))
}

/// Parses what comes after the `=`.
fn parse_value(text: &str) -> Result<String, Bilingual> {
    let trimmed = text.trim_start_matches(BLANK);
    let (value, rest) = if let Some(quoted) = trimmed.strip_prefix('\'') {
        let (value, rest) = quoted.split_once('\'').ok_or(texts::ENV_UNCLOSED)?;
        (value.to_owned(), rest)
    } else if let Some(quoted) = trimmed.strip_prefix('"') {
        parse_double_quoted(quoted)?
    } else {
        return parse_unquoted(text);
    };
    // `"a"b` and `"a"#b` are one word for a shell.
    let is_comment = rest.starts_with(BLANK) && rest.trim_start_matches(BLANK).starts_with('#');
    if rest.is_empty() || is_comment { Ok(value) } else { Err(texts::ENV_AFTER_QUOTE) }
}

/// Parses a value without quotes: every character stands for itself. A `#` after a blank begins a comment.
fn parse_unquoted(text: &str) -> Result<String, Bilingual> {
    let comment = text.match_indices('#').find(|&(at, _)| text[..at].ends_with(BLANK));
    let value = comment.map_or(text, |(at, _)| &text[..at]).trim_matches(BLANK);
    if value.contains(QUOTES) {
        return Err(texts::ENV_QUOTE);
    }
    if value.contains(BLANK) {
        return Err(texts::ENV_BLANK);
    }
    Ok(value.to_owned())
}

/// Parses a value after its opening `"`. Returns it and what comes after the closing one.
fn parse_double_quoted(text: &str) -> Result<(String, &str), Bilingual> {
    let mut value = String::new();
    let mut rest = text.chars();
    while let Some(next) = rest.next() {
        value.push(match next {
            '"' => return Ok((value, rest.as_str())),
            '\\' => match rest.next() {
                Some(escaped @ ('\\' | '"' | '$')) => escaped,
                Some('n') => '\n',
                Some('r') => '\r',
                Some('t') => '\t',
                _ => return Err(texts::ENV_ESCAPE),
            },
            other => other,
        });
    }
    Err(texts::ENV_UNCLOSED)
}

#[cfg(test)]
mod tests {
    use framewise::lang::Lang;
    use proptest::prelude::*;

    use super::*;

    /// Returns the only value of a file, or the fault in English.
    fn value(file: &str) -> Result<String, &'static str> {
        match parse(file.as_bytes()) {
            Ok(variables) => {
                let [variable] = variables.try_into().expect("one variable");
                Ok(variable.value)
            }
            Err(fault) => Err(fault.why.get(Lang::En)),
        }
    }

    /// The rows `| `line` | `value` |` of the pages that describe the file, in both languages. A row whose second cell is
    /// not code describes a line that is refused.
    #[test]
    fn the_pages_say_what_the_parser_does() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs");
        let mut tables = Vec::new();
        for page in ["env-file.md", "env-file.pt-BR.md"] {
            let page = std::fs::read_to_string(format!("{folder}/{page}")).expect("a page");
            let rows = page.lines().filter_map(|line| line.strip_prefix("| `` "));
            let rows = rows.filter_map(|row| row.split_once(" `` | "));
            let mut table = Vec::new();
            for (line, meaning) in rows {
                let meaning = meaning.trim_end_matches(" |");
                // An empty value has no characters to show.
                let expected = match meaning.strip_prefix("`` ") {
                    Some(code) => Some(code.strip_suffix(" ``").expect("closed").to_owned()),
                    None => meaning.starts_with("—").then(String::new),
                };
                assert_eq!(value(line).ok(), expected, "{line}");
                table.push((line.to_owned(), expected));
            }
            assert!(table.len() > 20, "{} rows", table.len());
            tables.push(table);
        }
        assert_eq!(tables[0], tables[1]);
    }

    #[test]
    fn lines_end_and_files_begin_in_several_ways() {
        let file = "\u{feff}# class\r\nA=1\r\n\r\n\texport B='2'\nC=3";
        let found = parse(file.as_bytes()).expect("well-formed");
        let found: Vec<_> =
            found.iter().map(|v| (v.line, v.name.as_str(), v.value.as_str())).collect();
        assert_eq!(found, [(2, "A", "1"), (4, "B", "2"), (5, "C", "3")]);
        assert_eq!(parse(b"").expect("empty"), []);
    }

    #[test]
    fn bytes_that_are_not_text_are_faults_with_their_line() {
        for (bytes, why) in [
            (&b"A=1\nB=\0\n"[..], texts::ENV_CONTROL),
            (b"A=1\nB='\x1b[31m'\n", texts::ENV_CONTROL),
            // A lone carriage return does not end a line.
            (b"A=1\nB=2\rC=3\n", texts::ENV_CONTROL),
            (b"A=1\nB=\xff\n", texts::ENV_NOT_UTF8),
        ] {
            let fault = parse(bytes).expect_err("a fault");
            assert_eq!((fault.line, fault.why.get(Lang::En)), (2, why.get(Lang::En)));
        }
        // UTF-16, as some editors save it.
        assert_eq!(parse(b"\xff\xfeA\0=\x001\0").expect_err("a fault").line, 1);
    }

    #[test]
    fn a_fault_names_the_variable() {
        let fault = parse(b"A=1\nFRAMEWISE_TOKEN=\"se\n").expect_err("a fault");
        assert_eq!((fault.line, fault.name.as_deref()), (2, Some("FRAMEWISE_TOKEN")));
    }

    /// Writes a value in double quotes.
    fn double_quoted(value: &str) -> String {
        let escapes = [('\\', "\\\\"), ('"', "\\\""), ('\n', "\\n"), ('\r', "\\r"), ('\t', "\\t")];
        let escape = |c: char| {
            let escape = escapes.iter().find(|(from, _)| *from == c);
            escape.map_or_else(|| c.to_string(), |(_, to)| (*to).to_owned())
        };
        format!("\"{}\"", value.chars().map(escape).collect::<String>())
    }

    proptest! {
        /// No file makes the parser panic, and each variable is in a line of its own.
        #[test]
        fn any_bytes_are_variables_or_a_fault(bytes: Vec<u8>) {
            let lines = bytes.split(|&byte| byte == b'\n').count();
            match parse(&bytes) {
                Ok(variables) => {
                    prop_assert!(variables.windows(2).all(|pair| pair[0].line < pair[1].line));
                    prop_assert!(variables.iter().all(|variable| variable.line <= lines));
                }
                Err(fault) => prop_assert!((1..=lines).contains(&fault.line)),
            }
        }

        /// Lines of the characters that have a meaning.
        #[test]
        fn any_line_is_a_variable_or_a_fault(line in "[A= \t#'\"`$\\\\{}nx]{0,12}") {
            if let Ok(variables) = parse(line.as_bytes()) {
                prop_assert!(variables.len() <= 1);
                for variable in variables {
                    prop_assert_eq!(variable.name.trim_matches(['A', 'n', 'x']), "");
                }
            }
        }

        /// In single quotes every character stands for itself.
        #[test]
        fn single_quotes_keep_everything(value in "[^'\\p{Cc}]*", comment in "( +#[^\\p{Cc}]*)?") {
            prop_assert_eq!(self::value(&format!("A='{value}'{comment}")), Ok(value));
        }

        /// In double quotes every text can be written.
        #[test]
        fn double_quotes_take_every_text(value in "[^\\p{Cc}]*[\n\r\t]?[^\\p{Cc}]*") {
            prop_assert_eq!(self::value(&format!("A = {}", double_quoted(&value))), Ok(value));
        }

        /// Without quotes a value is what it looks like, or the line is a fault.
        #[test]
        fn unquoted_values_are_kept(value in "[^'\"`\\p{Cc} ]*") {
            prop_assert_eq!(self::value(&format!("export A={value}")), Ok(value.clone()));
            prop_assert_eq!(self::value(&format!("A={value} # {value}\r\n#")), Ok(value));
        }

        /// A value is never cut short: what is not a comment is in the value.
        #[test]
        fn an_unquoted_value_is_never_cut(first in "[a$\\\\#]{1,4}", second in "[a$'\"`\\\\]{1,4}") {
            let line = format!("A={first} {second}");
            prop_assert!(value(&line).is_err());
        }
    }
}
