//! A text with references in double braces: `{{ passmate://web/shop/password }}`.
//!
//! Braces around anything else are text, so that a template of another program may hold references.

use std::fmt;

use zeroize::Zeroizing;

use super::{Reference, ReferenceError, Resolver, SCHEME};
use crate::answer::{Halt, Reply};
use crate::api::VaultApi;
use crate::problem::{Problem, ProblemKind};

const OPEN: &[u8] = b"{{";
const CLOSE: &[u8] = b"}}";
/// The longest text that a template may become, in bytes.
const FILLED_LEN_MAX: usize = 64 * 1024 * 1024;

/// A text with references.
#[derive(Clone, Default)]
pub struct Template {
    parts: Vec<Part>,
}

#[derive(Clone)]
enum Part {
    Text(Zeroizing<Vec<u8>>),
    Reference { reference: Reference, line: usize },
}

/// Without the text, which may be a secret.
impl fmt::Debug for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Template").finish_non_exhaustive()
    }
}

/// Why a text is no template.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TemplateError {
    /// The line, counted from 1.
    pub line: usize,
    /// What is wrong there; `None` if the braces are not closed.
    pub error: Option<ReferenceError>,
}

impl fmt::Display for TemplateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.error {
            None => f.write_str("braces with a reference are not closed by }}"),
            Some(error) => write!(f, "this is no reference: {error}"),
        }
    }
}

impl From<TemplateError> for Problem {
    fn from(error: TemplateError) -> Self {
        Self::usage(
            format!("line {}: {error}", error.line),
            format!("write {{{{ {SCHEME}PATH/FIELD }}}}"),
        )
    }
}

impl Template {
    /// Reads a text with references in braces.
    ///
    /// # Errors
    /// What stands in braces begins as a reference and is none.
    pub fn parse(text: &[u8]) -> Result<Self, TemplateError> {
        let mut parts = Vec::new();
        let (mut rest, mut line) = (text, 1);
        // The text that has no reference so far is the begin of `rest`, of this length.
        let mut bare = 0;
        while let Some(open) = rest.get(bare..).and_then(|rest| find(rest, OPEN)) {
            let open = bare + open;
            // Of three braces the last two count.
            let inner = rest.get(open + OPEN.len()..).unwrap_or_default();
            if !inner.trim_ascii_start().starts_with(SCHEME.as_bytes()) {
                bare = open + 1;
                continue;
            }
            let before = rest.get(..open).unwrap_or_default();
            line += lines(before);
            let fail = |error| TemplateError { line, error };
            let close = find(inner, CLOSE).ok_or_else(|| fail(None))?;
            let name = inner.get(..close).unwrap_or_default().trim_ascii();
            let name =
                std::str::from_utf8(name).map_err(|_| fail(Some(ReferenceError::NotText)))?;
            let reference = name.parse().map_err(|error| fail(Some(error)))?;
            parts.push(Part::Text(Zeroizing::new(before.to_vec())));
            parts.push(Part::Reference { reference, line });
            line += lines(inner.get(..close).unwrap_or_default());
            rest = inner.get(close + CLOSE.len()..).unwrap_or_default();
            bare = 0;
        }
        parts.push(Part::Text(Zeroizing::new(rest.to_vec())));
        Ok(Self { parts })
    }

    /// Reads the value of a variable: a reference without braces is one too, if it is all of it.
    ///
    /// # Errors
    /// What begins as a reference is none.
    pub fn of_value(value: &str) -> Result<Self, TemplateError> {
        if !value.starts_with(SCHEME) {
            return Self::parse(value.as_bytes());
        }
        let fail = |error| TemplateError {
            line: 1,
            error: Some(error),
        };
        let reference = value.parse().map_err(fail)?;
        Ok(Self {
            parts: vec![Part::Reference { reference, line: 1 }],
        })
    }

    /// Whether it holds a reference.
    #[must_use]
    pub fn has_references(&self) -> bool {
        let mut parts = self.parts.iter();
        parts.any(|part| matches!(part, Part::Reference { .. }))
    }

    /// The text before the first reference.
    pub(super) fn text(&self) -> Zeroizing<Vec<u8>> {
        match self.parts.first() {
            Some(Part::Text(text)) => text.clone(),
            _ => Zeroizing::default(),
        }
    }

    /// The text with the values of the references.
    ///
    /// # Errors
    /// A reference cannot be read, or the text becomes too long.
    pub fn fill(
        &self,
        vault: &mut dyn VaultApi,
        resolver: &mut Resolver,
    ) -> Reply<Zeroizing<Vec<u8>>> {
        let mut len = 0_usize;
        for part in &self.parts {
            len = len.saturating_add(match part {
                Part::Text(text) => text.len(),
                Part::Reference { reference, line } => {
                    let resolved = resolver.resolve(vault, reference);
                    resolved.map_err(|halt| in_line(*line, halt))?.value.len()
                }
            });
        }
        if len > FILLED_LEN_MAX {
            return Err(Problem::new(
                ProblemKind::TooLarge,
                format!(
                    "with its values the text is longer than {} MiB",
                    FILLED_LEN_MAX >> 20
                ),
                "name fewer references, or shorter values",
            )
            .into());
        }
        let mut filled = Zeroizing::new(Vec::with_capacity(len));
        for part in &self.parts {
            match part {
                Part::Text(text) => filled.extend_from_slice(text),
                Part::Reference { reference, .. } => {
                    let resolved = resolver.resolve(vault, reference)?;
                    filled.extend_from_slice(resolved.value.as_bytes());
                }
            }
        }
        Ok(filled)
    }
}

/// The problem with the line in which it is.
fn in_line(line: usize, halt: Halt) -> Halt {
    let problem = halt.into_problem();
    let message = format!("line {line}: {}", problem.message);
    Halt::Failed(Problem { message, ..problem })
}

fn lines(text: &[u8]) -> usize {
    text.iter().filter(|byte| **byte == b'\n').count()
}

fn find(text: &[u8], part: &[u8]) -> Option<usize> {
    text.windows(part.len()).position(|window| window == part)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The text with each reference in angle brackets.
    fn shown(text: &str) -> Result<String, TemplateError> {
        let template = Template::parse(text.as_bytes())?;
        let parts = template.parts.iter().map(|part| match part {
            Part::Text(text) => String::from_utf8_lossy(text).into_owned(),
            Part::Reference { reference, line } => format!("<{line} {reference}>"),
        });
        Ok(parts.collect())
    }

    #[test]
    fn a_reference_in_braces_is_one_and_everything_else_is_text() {
        for (text, is) in [
            ("", ""),
            ("a\n{{passmate://b/c}}\n", "a\n<2 passmate://b/c>\n"),
            (
                "{{ passmate://b/c }}{{ passmate://b/d?code }}",
                "<1 passmate://b/c><1 passmate://b/d?code>",
            ),
            ("{{{ passmate://b/c }}}", "{<1 passmate://b/c>}"),
            (
                "{{\n passmate://b/c\n}}\n{{passmate://b/c}}",
                "<1 passmate://b/c>\n<4 passmate://b/c>",
            ),
            (
                "{{ .Values.x }} passmate://b/c {{",
                "{{ .Values.x }} passmate://b/c {{",
            ),
            ("{ {passmate://b/c} }", "{ {passmate://b/c} }"),
        ] {
            assert_eq!(shown(text).as_deref(), Ok(is), "{text}");
        }
        for (text, line, error) in [
            ("\n{{ passmate://b/c", 2, None),
            ("\n\n{{ passmate://b }}", 3, Some(ReferenceError::NoField)),
            ("{{ passmate://b/{{ c }}", 1, None),
        ] {
            let found = shown(text);
            if error.is_some() {
                assert_eq!(found, Err(TemplateError { line, error }), "{text}");
            } else {
                assert!(found.is_err() || text.contains("{{ c"), "{text}");
            }
        }
        assert!(shown("{{ passmate://b/\u{ff} }}").is_ok());
        assert!(Template::parse(b"{{ passmate://b/\xff }}").is_err());
    }

    #[test]
    fn the_value_of_a_variable_may_be_a_reference_without_braces() {
        for (value, has) in [
            ("passmate://a/b", true),
            ("x{{passmate://a/b}}", true),
            ("xpassmate://a/b", false),
        ] {
            assert_eq!(Template::of_value(value).unwrap().has_references(), has);
        }
        assert!(Template::of_value("passmate://a").is_err());
    }

    proptest! {
        #[test]
        fn a_text_without_references_stays_as_it_is(text in "[{} a\n]{0,30}") {
            prop_assert_eq!(shown(&text), Ok(text));
        }
    }
}
