//! The address of one value of a vault, for scripts, environments and templates.
//!
//! `passmate://PATH/FIELD` is the field of that name: the last part is always the field, so that a
//! reference means the same whatever records there are. `passmate://PATH/FIELD?code` is the present
//! one-time code of the secret in that field. The rules are:
//!  - any byte may be written as `%` and two hexadecimal digits. A slash in the name of a field,
//!    `%`, `?`, `#` and control characters must be;
//!  - PATH is the record's path or its id, never a part of either;
//!  - FIELD is the field of exactly this name; if there is none and the name is that of a role, such
//!    as `password` or `user`, it is the field that has the role;
//!  - reading a reference changes nothing: a code that follows a counter has none.
//!
//! | room | what it reads |
//! | --- | --- |
//! | [`complete`] | how a reference goes on that a person began |
//! | [`template`] | a text with references in double braces |
//! | [`dotenv`] | the variables of a `.env` file |
//! | [`environment`] | the variables of a program, some of which are references |

pub mod complete;
pub mod dotenv;
pub mod environment;
pub mod template;

use std::collections::BTreeMap;
use std::fmt::{self, Write as _};
use std::str::FromStr;

use passmate_vault::login::role_of;
use thiserror::Error;
use zeroize::Zeroizing;

use crate::answer::{Halt, Need, Reply};
use crate::api::{OneTimeCode, VaultApi};
use crate::command::command;
use crate::escape::{escape, escape_path};
use crate::problem::{Problem, ProblemKind};
use crate::records::{FieldContent, RecordContent};

/// What every reference begins with.
pub const SCHEME: &str = "passmate://";

/// The query of a one-time code.
const CODE: &str = "code";

/// The address of one value of a vault.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Reference {
    /// The record's path or id.
    pub path: String,
    /// The field's name.
    pub field: String,
    /// What of the field is meant.
    pub part: Part,
}

/// What of a field a reference means.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Part {
    /// Its value.
    Value,
    /// The present one-time code of the secret that it holds.
    Code,
}

/// Why a text is no reference.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum ReferenceError {
    /// It begins with something else.
    #[error("it does not begin with {SCHEME}")]
    Scheme,
    /// Its last part is empty, or the only one.
    #[error("it names no field")]
    NoField,
    /// `%` stands without two hexadecimal digits behind it.
    #[error("% must be followed by two hexadecimal digits; write % itself as %25")]
    Percent,
    /// It is not UTF-8 once it is decoded.
    #[error("it is not UTF-8 text")]
    NotText,
    /// A character that must be written by its number.
    #[error("{0:?} must be written as % and its hexadecimal number")]
    Character(char),
    /// Behind `?` stands something else than `code`.
    #[error("behind ? only `code` is known; write ? itself as %3F")]
    Query,
}

impl From<ReferenceError> for Problem {
    fn from(error: ReferenceError) -> Self {
        Self::usage(
            format!("this is no reference: {error}"),
            format!("write {SCHEME}PATH/FIELD, for example {SCHEME}web/shop/password"),
        )
    }
}

impl FromStr for Reference {
    type Err = ReferenceError;

    fn from_str(text: &str) -> Result<Self, ReferenceError> {
        let rest = text.strip_prefix(SCHEME).ok_or(ReferenceError::Scheme)?;
        let (names, part) = match rest.split_once('?') {
            None => (rest, Part::Value),
            Some((names, CODE)) => (names, Part::Code),
            Some(_) => return Err(ReferenceError::Query),
        };
        let bare = |c: &char| *c == '#' || c.is_control();
        if let Some(character) = names.chars().find(bare) {
            return Err(ReferenceError::Character(character));
        }
        let (path, field) = names.rsplit_once('/').ok_or(ReferenceError::NoField)?;
        if field.is_empty() {
            return Err(ReferenceError::NoField);
        }
        Ok(Self {
            path: decode(path)?,
            field: decode(field)?,
            part,
        })
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(SCHEME)?;
        encode(f, &self.path, true)?;
        f.write_char('/')?;
        encode(f, &self.field, false)?;
        match self.part {
            Part::Value => Ok(()),
            Part::Code => write!(f, "?{CODE}"),
        }
    }
}

fn decode(text: &str) -> Result<String, ReferenceError> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('%') {
        bytes.extend_from_slice(before.as_bytes());
        let digits = after.get(..2).filter(|digits| is_hex(digits));
        let byte = digits.and_then(|digits| u8::from_str_radix(digits, 16).ok());
        bytes.push(byte.ok_or(ReferenceError::Percent)?);
        rest = after.get(2..).unwrap_or_default();
    }
    bytes.extend_from_slice(rest.as_bytes());
    String::from_utf8(bytes).map_err(|_| ReferenceError::NotText)
}

fn is_hex(digits: &str) -> bool {
    digits.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// Writes a name such that it needs no quotes in a shell, in a template or in a `.env` file.
fn encode(f: &mut fmt::Formatter<'_>, name: &str, is_path: bool) -> fmt::Result {
    for c in name.chars() {
        if c.is_alphanumeric() || "-._~+@:,=".contains(c) || (is_path && c == '/') {
            f.write_char(c)?;
        } else {
            for byte in c.encode_utf8(&mut [0; 4]).bytes() {
                write!(f, "%{byte:02X}")?;
            }
        }
    }
    Ok(())
}

/// A path as it stands in a reference.
fn encoded(path: &str) -> String {
    struct Path<'p>(&'p str);
    impl fmt::Display for Path<'_> {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            encode(f, self.0, true)
        }
    }
    Path(path).to_string()
}

/// What a reference means in a vault.
#[derive(Clone, PartialEq, Eq)]
pub struct Resolved {
    /// The value or the code.
    pub value: Zeroizing<String>,
    /// Whether it is to be masked where it is shown.
    pub is_secret: bool,
}

/// Reads references in a vault, each once.
#[derive(Debug, Default)]
pub struct Resolver {
    read: BTreeMap<Reference, Resolved>,
}

impl Resolver {
    /// Reads what a reference means.
    ///
    /// # Errors
    /// See [`Reference::resolve`].
    pub fn resolve(&mut self, vault: &mut dyn VaultApi, reference: &Reference) -> Reply<&Resolved> {
        if !self.read.contains_key(reference) {
            let resolved = reference.resolve(vault)?;
            self.read.insert(reference.clone(), resolved);
        }
        let missing = || Problem::no_field(&reference.path, &reference.field);
        Ok(self.read.get(reference).ok_or_else(missing)?)
    }

    /// The secret values that were read.
    pub fn secrets(&self) -> impl Iterator<Item = (&Reference, &str)> {
        let secret = self.read.iter().filter(|(_, read)| read.is_secret);
        secret.map(|(reference, read)| (reference, read.value.as_str()))
    }
}

/// Without the value.
impl fmt::Debug for Resolved {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Resolved")
            .field("is_secret", &self.is_secret)
            .finish_non_exhaustive()
    }
}

impl Reference {
    /// Reads what this means.
    ///
    /// # Errors
    /// There is no such record or field, or the field makes no code that follows the time.
    pub fn resolve(&self, vault: &mut dyn VaultApi) -> Reply<Resolved> {
        // A path is read as a person types it, with escapes.
        let path = escape_path(&self.path);
        let record = vault
            .record(&path)
            .map_err(|halt| self.explain(vault, halt))?;
        let field = self.field_of(&record)?;
        if self.part == Part::Value {
            return Ok(Resolved {
                value: field.value.clone(),
                is_secret: field.is_secret,
            });
        }
        match vault.one_time_code(&path, Some(&field.name))? {
            OneTimeCode::Timed(code) => Ok(Resolved {
                value: code.digits,
                is_secret: true,
            }),
            OneTimeCode::Counted => Err(Problem::usage(
                format!("the codes of {self} follow a counter, and a reference changes nothing"),
                format!(
                    "{} uses up the next one",
                    command(["passmate", "code"]).arg(&path)
                ),
            )
            .into()),
        }
    }

    /// The field that this names in its record.
    fn field_of<'r>(&self, record: &'r RecordContent) -> Result<&'r FieldContent, Problem> {
        let by_role = || record.with_role(role_of(&self.field)?);
        match record.field(&self.field) {
            Ok(field) => Ok(field),
            Err(problem) => by_role().ok_or(problem),
        }
    }

    /// A person who left out the field is told so.
    fn explain(&self, vault: &mut dyn VaultApi, halt: Halt) -> Halt {
        // Other records are no matter of a person's choice here.
        let missing = match halt {
            Halt::Needs(need @ Need::OtherPath { .. }) => need.into(),
            Halt::Failed(problem) if problem.kind == ProblemKind::NotFound => problem,
            other => return other,
        };
        let whole = format!("{}/{}", self.path, self.field);
        if vault.record(&escape_path(&whole)).is_err() {
            return missing.into();
        }
        let meant = Self {
            path: whole,
            field: "password".to_owned(),
            part: Part::Value,
        };
        Problem::new(
            ProblemKind::NotFound,
            format!("there is no record {}", escape(&self.path)),
            format!("the last part of a reference is a field: did you mean {meant}?"),
        )
        .into()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn reference(path: &str, field: &str, part: Part) -> Reference {
        Reference {
            path: path.to_owned(),
            field: field.to_owned(),
            part,
        }
    }

    #[test]
    fn a_reference_is_a_path_a_field_and_a_part() {
        use Part::{Code, Value};
        for (text, path, field, part) in [
            (
                "passmate://web/shop/password",
                "web/shop",
                "password",
                Value,
            ),
            ("passmate://web/shop/otp?code", "web/shop", "otp", Code),
            (
                "passmate://mail/private%20key",
                "mail",
                "private key",
                Value,
            ),
            ("passmate://bücher/größe", "bücher", "größe", Value),
            ("passmate://a/100%25%3F%23%0A", "a", "100%?#\n", Value),
            ("passmate://a/x%2Fy", "a", "x/y", Value),
            ("passmate:///password", "", "password", Value),
        ] {
            let reference = reference(path, field, part);
            assert_eq!(text.parse(), Ok(reference.clone()), "{text}");
            assert_eq!(reference.to_string(), text);
        }
        for (text, path, field) in [
            ("passmate://my bank/the pin", "my bank", "the pin"),
            ("passmate://a%2fb/%c3%bc", "a/b", "ü"),
        ] {
            assert_eq!(text.parse(), Ok(reference(path, field, Value)), "{text}");
        }
    }

    #[test]
    fn what_is_no_reference_says_why() {
        use ReferenceError::{Character, NoField, NotText, Percent, Query, Scheme};
        for (text, error) in [
            ("", Scheme),
            ("web/shop", Scheme),
            ("Passmate://a/b", Scheme),
            ("passmate://", NoField),
            ("passmate://web", NoField),
            ("passmate://web/", NoField),
            ("passmate://web/100%", Percent),
            ("passmate://web/%+1", Percent),
            ("passmate://web/%4ü", Percent),
            ("passmate://web/%ff", NotText),
            ("passmate://web/x#y", Character('#')),
            ("passmate://web\n/x", Character('\n')),
            ("passmate://web/otp?", Query),
            ("passmate://web/otp?codes", Query),
        ] {
            assert_eq!(text.parse::<Reference>(), Err(error), "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn a_reference_is_read_as_it_was_written(
            path in any::<String>(),
            field in any::<String>().prop_filter("a name", |field| !field.is_empty()),
            is_code in any::<bool>(),
        ) {
            let part = if is_code { Part::Code } else { Part::Value };
            let reference = Reference { path, field, part };
            let text = reference.to_string();
            prop_assert_eq!(text.parse(), Ok(reference));
            let is_plain = |c: char| !c.is_whitespace() && !"{}'\"`$\\#;&|<>".contains(c);
            prop_assert!(text.chars().all(is_plain));
            prop_assert_eq!(escape(&text), text);
        }

        #[test]
        fn no_text_panics(text in "(passmate://)?[ -~%/?ü]{0,40}") {
            if let Ok(reference) = text.parse::<Reference>() {
                prop_assert_eq!(reference.to_string().parse(), Ok(reference));
            }
        }
    }
}
