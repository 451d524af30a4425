//! The variables of a `.env` file.
//!
//! Each line is `NAME=VALUE`, and `export` may stand before it. A value in single quotes is as it
//! stands there; in double quotes `\n`, `\r`, `\t`, `\"`, `\\` and `\$` are escapes; both may have
//! several lines. Without quotes a value ends at the end of its line or at ` #`. Nothing is
//! expanded: a `$` is a `$`, also in what a reference brings. That is why no crate reads the file:
//! they expand.

use std::fmt;

use zeroize::Zeroizing;

use crate::problem::Problem;

/// A variable of a file.
#[derive(Clone, PartialEq, Eq)]
pub struct Assignment {
    /// Its name.
    pub name: String,
    /// Its value.
    pub value: Zeroizing<String>,
    /// The line in which it begins, counted from 1.
    pub line: usize,
}

/// Without the value.
impl fmt::Debug for Assignment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Assignment")
            .field("name", &self.name)
            .field("line", &self.line)
            .finish_non_exhaustive()
    }
}

/// Why a text is no `.env` file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DotenvError {
    /// The line, counted from 1.
    pub line: usize,
    /// What is wrong there.
    pub fault: DotenvFault,
}

/// What is wrong in a `.env` file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DotenvFault {
    /// No `NAME=` stands there.
    Name,
    /// Quotes are not closed.
    Quotes,
    /// Something stands behind the closing quotes.
    Behind,
}

impl From<DotenvError> for Problem {
    fn from(DotenvError { line, fault }: DotenvError) -> Self {
        let (what, hint) = match fault {
            DotenvFault::Name => (
                "this is no variable",
                "write NAME=VALUE; a name has letters, digits and underscores",
            ),
            DotenvFault::Quotes => ("the quotes are not closed", "close them"),
            DotenvFault::Behind => (
                "something stands behind the closing quotes",
                "put the whole value into the quotes, or begin a comment with #",
            ),
        };
        Self::usage(format!("line {line}: {what}"), hint)
    }
}

/// Reads the variables of a file, in its order.
///
/// # Errors
/// A line is no variable, no comment, and not empty.
pub fn parse(text: &str) -> Result<Vec<Assignment>, DotenvError> {
    let mut assignments = Vec::new();
    let mut rest = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut line = 1;
    while !rest.is_empty() {
        let end = rest.find('\n').map_or(rest.len(), |end| end + 1);
        let (first, behind) = rest.split_at(end);
        let bare = first.trim();
        if bare.is_empty() || bare.starts_with('#') {
            rest = behind;
        } else {
            let fail = |fault| DotenvError { line, fault };
            let (name, value) = name(rest).ok_or_else(|| fail(DotenvFault::Name))?;
            let (value, behind) = read_value(value).map_err(fail)?;
            let name = name.to_owned();
            assignments.push(Assignment { name, value, line });
            let len = rest.len() - behind.len();
            line += rest.get(..len).map_or(0, |read| read.matches('\n').count());
            rest = behind;
            continue;
        }
        line += 1;
    }
    Ok(assignments)
}

/// The name of a variable, and what stands behind its `=`.
fn name(text: &str) -> Option<(&str, &str)> {
    let text = text.trim_start();
    let exported = text.strip_prefix("export").map(str::trim_start);
    let text = match exported {
        Some(rest) if text.starts_with("export ") || text.starts_with("export\t") => rest,
        _ => text,
    };
    let (name, value) = text.split_once('=')?;
    let name = name.trim_end();
    let mut bytes = name.bytes();
    let begins = bytes.next()?;
    let is_name = (begins.is_ascii_alphabetic() || begins == b'_')
        && bytes.all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    is_name.then_some((name, value))
}

/// A value, and the lines behind it.
fn read_value(text: &str) -> Result<(Zeroizing<String>, &str), DotenvFault> {
    let text = text.trim_start_matches([' ', '\t']);
    let (value, behind) = match text.chars().next() {
        Some('\'') => {
            let inner = text.get(1..).unwrap_or_default();
            let (value, behind) = inner.split_once('\'').ok_or(DotenvFault::Quotes)?;
            (Zeroizing::new(value.to_owned()), behind)
        }
        Some('"') => read_quoted(text.get(1..).unwrap_or_default())?,
        _ => {
            let end = text.find('\n').unwrap_or(text.len());
            let (line, behind) = text.split_at(end);
            let comment = [" #", "\t#"]
                .iter()
                .filter_map(|mark| line.find(mark))
                .min();
            let comment = comment.or_else(|| line.starts_with('#').then_some(0));
            let value = line.get(..comment.unwrap_or(end)).unwrap_or_default();
            (Zeroizing::new(value.trim_end().to_owned()), behind)
        }
    };
    let end = behind.find('\n').map_or(behind.len(), |end| end + 1);
    let (comment, behind) = behind.split_at(end);
    match comment.trim() {
        "" => Ok((value, behind)),
        comment if comment.starts_with('#') => Ok((value, behind)),
        _ => Err(DotenvFault::Behind),
    }
}

/// A value in double quotes, and what stands behind it.
fn read_quoted(text: &str) -> Result<(Zeroizing<String>, &str), DotenvFault> {
    let mut value = Zeroizing::new(String::with_capacity(text.len()));
    let mut chars = text.chars();
    loop {
        match chars.next().ok_or(DotenvFault::Quotes)? {
            '"' => return Ok((value, chars.as_str())),
            '\\' => match chars.next().ok_or(DotenvFault::Quotes)? {
                'n' => value.push('\n'),
                'r' => value.push('\r'),
                't' => value.push('\t'),
                escaped @ ('"' | '\\' | '$') => value.push(escaped),
                other => value.extend(['\\', other]),
            },
            other => value.push(other),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(text: &str) -> Vec<(String, String, usize)> {
        let assignments = parse(text).unwrap().into_iter();
        assignments
            .map(|one| (one.name, one.value.to_string(), one.line))
            .collect()
    }

    #[test]
    fn values_are_as_they_stand_there() {
        let text = "\u{feff}# comment\r\nA=one\r\n\n export B = two words # comment\nC='$x #\n\\n' # c\n\
                    D=\"a\\n\\\"b\\\" \\$x \\q\"\nE=\nF=a#b\nexported=1\nG= # c\n\
                    H={{ passmate://a/b }}!\n_9=\"\"";
        let expected = [
            ("A", "one", 2),
            ("B", "two words", 4),
            ("C", "$x #\n\\n", 5),
            ("D", "a\n\"b\" $x \\q", 7),
            ("E", "", 8),
            ("F", "a#b", 9),
            ("exported", "1", 10),
            ("G", "", 11),
            ("H", "{{ passmate://a/b }}!", 12),
            ("_9", "", 13),
        ];
        let expected = expected.map(|(name, value, line)| (name.into(), value.into(), line));
        assert_eq!(read(text), expected);
    }

    #[test]
    fn a_wrong_line_is_named() {
        for (text, line, fault) in [
            ("A=1\nB", 2, DotenvFault::Name),
            ("1A=x", 1, DotenvFault::Name),
            ("a-b=x", 1, DotenvFault::Name),
            ("=x", 1, DotenvFault::Name),
            ("A='x\ny", 1, DotenvFault::Quotes),
            ("\nA=\"x\\", 2, DotenvFault::Quotes),
            ("A='x' y", 1, DotenvFault::Behind),
        ] {
            assert_eq!(parse(text), Err(DotenvError { line, fault }), "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn any_text_ends(text in "[A='\"\\\\ \n#$x]{0,30}") {
            if let Ok(all) = parse(&text) {
                prop_assert!(all.iter().all(|one| one.line <= text.lines().count()));
            }
        }

        #[test]
        fn what_single_quotes_hold_is_read_as_it_was(value in "[^']{0,20}") {
            let all = parse(&format!("A='{value}'\n")).unwrap();
            prop_assert_eq!(all.len(), 1);
            prop_assert_eq!(all[0].value.as_str(), value);
        }
    }
}
