//! The rule of a site for its passwords, in the syntax of Apple's `passwordrules` attribute, as in
//! `minlength: 8; maxlength: 20; required: lower; required: upper, digit; allowed: [-_.];
//! max-consecutive: 2;`.
//!
//! What it says of characters that Passmate does not make is read, and not used: `unicode` and
//! `ascii-printable` mean the printable characters of ASCII without the blank, `special` those of
//! its list without the blank. Passwords of fewer characters satisfy the rule too. A property that
//! the syntax does not have is an error, because a password that ignores it might be refused.
//!
//! A class that is `required` several times occurs as many times. Other readers of the syntax take
//! that for once.

use serde::{Deserialize, Serialize};
use std::fmt;

use super::LENGTH_MAX;
use super::characters::Characters;
use super::rule::{LENGTH_DEFAULT, Need, Rule};

/// Bytes of the longest rule.
const LEN_MAX: usize = 4096;
/// Characters of a name that an error shows.
const SHOWN_MAX: usize = 32;
/// The symbols of the class `special`, without the blank.
const SPECIAL: Characters = Characters::of(b"-~!@#$%^&*_+=`|(){}[:;\"'<>,.?]");

/// Which passwords a site accepts.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SiteRule {
    length_min: Option<usize>,
    length_max: Option<usize>,
    /// `None` if the rule says nothing of it.
    allowed: Option<Characters>,
    required: Vec<Need>,
    run_max: Option<usize>,
}

/// Why a text is no rule.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SiteRuleError {
    /// It is longer than 4096 bytes.
    #[error("it is longer than {LEN_MAX} bytes")]
    TooLong,
    /// It says nothing.
    #[error("it is empty")]
    Empty,
    /// Between properties there is something else than a semicolon, or a property has no value.
    #[error("{0:?} is not a property with a value, such as minlength: 8")]
    Syntax(String),
    /// An unknown property.
    #[error(
        "it has the property {0:?}, and can have minlength, maxlength, required, allowed and \
         max-consecutive"
    )]
    Property(String),
    /// An unknown class of characters.
    #[error(
        "it has the class {0:?}, and can have upper, lower, digit, special, ascii-printable, \
         unicode and characters in brackets, such as [-_.]"
    )]
    Class(String),
    /// Brackets that do not end, or that are empty.
    #[error("the characters in brackets are none, or do not end")]
    Brackets,
    /// A number that is none, or is too large.
    #[error("{0:?} is not a number from 0 to 65535")]
    Number(String),
}

impl SiteRule {
    /// Reads a rule. Case does not matter outside of brackets.
    ///
    /// # Errors
    /// See [`SiteRuleError`].
    pub fn parse(text: &str) -> Result<Self, SiteRuleError> {
        if text.len() > LEN_MAX {
            return Err(SiteRuleError::TooLong);
        }
        let mut rule = Self::default();
        let mut rest = text.trim_start();
        if rest.is_empty() {
            return Err(SiteRuleError::Empty);
        }
        while !rest.is_empty() {
            let (name, after) = rest.split_once(':').ok_or_else(|| syntax(rest))?;
            let name = name.trim().to_ascii_lowercase();
            let after = after.trim_start();
            rest = match name.as_str() {
                "minlength" => {
                    let (number, after) = read_number(after)?;
                    rule.length_min = rule.length_min.max(Some(number));
                    after
                }
                "maxlength" => {
                    let (number, after) = read_number(after)?;
                    rule.length_max = Some(rule.length_max.map_or(number, |max| max.min(number)));
                    after
                }
                "max-consecutive" => {
                    let (number, after) = read_number(after)?;
                    rule.run_max = Some(rule.run_max.map_or(number, |max| max.min(number)));
                    after
                }
                "required" => {
                    let (of, after) = read_classes(after)?;
                    rule.require(of);
                    after
                }
                "allowed" => {
                    let (of, after) = read_classes(after)?;
                    rule.allowed = Some(rule.allowed.unwrap_or_default().union(of));
                    after
                }
                _ => return Err(SiteRuleError::Property(shown(&name))),
            };
            rest = match rest.strip_prefix(';') {
                Some(after) => after.trim_start(),
                None if rest.is_empty() => rest,
                None => return Err(syntax(rest)),
            };
        }
        Ok(rule)
    }

    fn require(&mut self, of: Characters) {
        match self.required.iter_mut().find(|need| need.of == of) {
            Some(need) => need.min += 1,
            None => self.required.push(Need { of, min: 1 }),
        }
    }

    /// The rule for the generator: as near to 20 characters as the site accepts.
    #[must_use]
    pub fn rule(&self) -> Rule {
        let length = LENGTH_DEFAULT.max(self.length_min.unwrap_or(0));
        let length = length.min(self.length_max.unwrap_or(length));
        let required = self.required.iter();
        let required = required.fold(Characters::default(), |all, need| all.union(need.of));
        let allowed = match self.allowed {
            Some(allowed) => allowed.union(required),
            None if self.required.is_empty() => Characters::PRINTABLE,
            None => required,
        };
        let mut needs = self.required.clone();
        if let Some(min) = self.length_min.filter(|min| *min > length) {
            // The lengths contradict each other, and the generator says so.
            needs.push(Need { of: allowed, min });
        }
        Rule {
            length,
            allowed,
            needs,
            run_max: self.run_max,
        }
    }
}

/// The rule of a site that accepts exactly these passwords.
impl From<&Rule> for SiteRule {
    fn from(rule: &Rule) -> Self {
        let required = rule.needs.iter().copied().filter(|need| need.min > 0);
        Self {
            length_min: Some(rule.length),
            length_max: Some(rule.length),
            allowed: Some(rule.allowed),
            required: required.collect(),
            run_max: rule.run_max,
        }
    }
}

/// In the syntax that [`SiteRule::parse`] reads.
impl fmt::Display for SiteRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut parts = Vec::new();
        if let Some(min) = self.length_min {
            parts.push(format!("minlength: {min};"));
        }
        if let Some(max) = self.length_max {
            parts.push(format!("maxlength: {max};"));
        }
        let mut rest = self.allowed.unwrap_or_default();
        for need in &self.required {
            rest = rest.without(need.of);
            for _ in 0..need.min.min(LENGTH_MAX) {
                parts.push(format!("required: {};", classes(need.of)));
            }
        }
        if !rest.is_empty() {
            parts.push(format!("allowed: {};", classes(rest)));
        }
        if let Some(max) = self.run_max {
            parts.push(format!("max-consecutive: {max};"));
        }
        f.write_str(&parts.join(" "))
    }
}

/// The classes of a set, and what is in none of them in brackets.
fn classes(set: Characters) -> String {
    let mut rest = set;
    let mut names = Vec::new();
    for (name, class) in [
        ("upper", Characters::UPPER),
        ("lower", Characters::LOWER),
        ("digit", Characters::DIGITS),
    ] {
        if set.intersection(class) == class {
            names.push(name.to_owned());
            rest = rest.without(class);
        }
    }
    if !rest.is_empty() {
        names.push(brackets(rest));
    }
    names.join(", ")
}

/// Characters in brackets: a dash stands first, a closing bracket last.
fn brackets(set: Characters) -> String {
    let mut text = String::from("[");
    let mut is_closed_twice = false;
    if set.iter().any(|byte| byte == b'-') {
        text.push('-');
    }
    for byte in set.iter() {
        match byte {
            b'-' => {}
            b']' => is_closed_twice = true,
            byte => text.push(char::from(byte)),
        }
    }
    text.push_str(if is_closed_twice { "]]" } else { "]" });
    text
}

fn read_number(text: &str) -> Result<(usize, &str), SiteRuleError> {
    let end = text.find(|letter: char| !letter.is_ascii_digit());
    let (digits, after) = text.split_at(end.unwrap_or(text.len()));
    match digits.parse::<u16>() {
        Ok(number) => Ok((usize::from(number), after.trim_start())),
        Err(_) => {
            let wrong = text.split(';').next().unwrap_or_default();
            Err(SiteRuleError::Number(shown(wrong)))
        }
    }
}

/// Reads one class, or several with commas between them.
fn read_classes(text: &str) -> Result<(Characters, &str), SiteRuleError> {
    let (mut all, mut rest) = (Characters::default(), text);
    loop {
        let (class, after) = match rest.strip_prefix('[') {
            Some(inside) => read_brackets(inside)?,
            None => read_class(rest)?,
        };
        all = all.union(class);
        let after = after.trim_start();
        match after.strip_prefix(',') {
            Some(next) => rest = next.trim_start(),
            None => return Ok((all, after)),
        }
    }
}

fn read_class(text: &str) -> Result<(Characters, &str), SiteRuleError> {
    let end = text.find(|letter: char| !letter.is_ascii_alphabetic() && letter != '-');
    let (name, after) = text.split_at(end.unwrap_or(text.len()));
    let class = match name.to_ascii_lowercase().as_str() {
        "upper" => Characters::UPPER,
        "lower" => Characters::LOWER,
        "digit" => Characters::DIGITS,
        "special" => SPECIAL,
        "ascii-printable" | "unicode" => Characters::PRINTABLE,
        _ => {
            let wrong = text.split([';', ',']).next().unwrap_or_default();
            return Err(SiteRuleError::Class(shown(wrong)));
        }
    };
    Ok((class, after))
}

/// Reads the characters after an opening bracket. A closing bracket is one of them if another one
/// follows. A dash counts only as the first one; so readers of the syntax do.
fn read_brackets(text: &str) -> Result<(Characters, &str), SiteRuleError> {
    let (inside, mut after) = text.split_once(']').ok_or(SiteRuleError::Brackets)?;
    let mut set = Characters::of(inside.as_bytes());
    if !inside.starts_with('-') {
        set = set.without(Characters::of(b"-"));
    }
    if let Some(rest) = after.strip_prefix(']') {
        set = set.union(Characters::of(b"]"));
        after = rest;
    }
    match set.is_empty() {
        true => Err(SiteRuleError::Brackets),
        false => Ok((set, after)),
    }
}

fn syntax(text: &str) -> SiteRuleError {
    SiteRuleError::Syntax(shown(text))
}

/// The begin of a text.
fn shown(text: &str) -> String {
    text.trim().chars().take(SHOWN_MAX).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::generate::by_rule;

    fn need(of: Characters, min: usize) -> Need {
        Need { of, min }
    }

    fn rule(text: &str) -> Rule {
        SiteRule::parse(text).unwrap().rule()
    }

    #[test]
    fn the_rules_of_sites_are_read() {
        let (upper, lower, digits) = (Characters::UPPER, Characters::LOWER, Characters::DIGITS);
        let full = Rule {
            length: 16,
            allowed: Characters::of(b"-_.")
                .union(upper)
                .union(lower)
                .union(digits),
            needs: vec![need(lower, 1), need(upper.union(digits), 1)],
            run_max: Some(2),
        };
        assert_eq!(
            rule(
                "minlength: 8; maxlength: 16; required: lower; required: upper, digit; \
                 allowed: [-_.]; max-consecutive: 2;"
            ),
            full
        );
        // Without blanks and the last semicolon, with several bounds, and a class required twice.
        assert_eq!(
            rule("MinLength:24;required:DIGIT;maxlength:99;maxlength:30;required:digit"),
            Rule {
                length: 24,
                allowed: digits,
                needs: vec![need(digits, 2)],
                run_max: None,
            }
        );
        assert_eq!(rule("minlength: 8").allowed, Characters::PRINTABLE);
        assert_eq!(rule("allowed: unicode").allowed, Characters::PRINTABLE);
        assert_eq!(rule("allowed: special, [/\\]").allowed.len(), 32);
    }

    #[test]
    fn brackets_are_read_as_other_readers_do() {
        for (text, set) in [
            ("[abc]", "abc"),
            ("[-a]", "-a"),
            ("[a-z]", "az"),
            ("[]]", "]"),
            ("[-]]", "-]"),
            ("[;,:[]", ";,:["),
            ("[aä b]", "ab"),
        ] {
            let set = Characters::of(set.as_bytes());
            assert_eq!(rule(&format!("allowed: {text};")).allowed, set, "{text}");
        }
    }

    #[test]
    fn what_is_no_rule_is_named() {
        let (word, long) = ("x".repeat(1000), "minlength: 8; ".repeat(400));
        for (text, why) in [
            ("", "empty"),
            (" \n", "empty"),
            (";", "\";\" is not a property"),
            ("minlength", "is not a property"),
            (
                "minlength: 8 maxlength: 9",
                "\"maxlength: 9\" is not a property",
            ),
            ("minlength: eight; x", "\"eight\" is not a number"),
            ("minlength: ;", "\"\" is not a number"),
            ("maxlength: 65536", "is not a number"),
            ("max-consecutive: -1", "is not a number"),
            ("required: ;", "the class \"\""),
            ("required: letters, digit", "the class \"letters\""),
            ("required: upper,", "the class \"\""),
            ("allowed: [abc", "do not end"),
            ("allowed: []", "are none"),
            ("minimum: 8", "the property \"minimum\""),
            (&word, "is not a property"),
            (&long, "longer than 4096 bytes"),
        ] {
            let error = SiteRule::parse(text).unwrap_err().to_string();
            assert!(error.contains(why), "{text}: {error}");
            assert!(error.len() < 200, "{error}");
        }
    }

    #[test]
    fn lengths_that_contradict_each_other_make_no_password() {
        let problem = by_rule(&rule("minlength: 30; maxlength: 10")).unwrap_err();
        assert!(problem.message.contains("need 30"), "{}", problem.message);
        assert!(by_rule(&rule("maxlength: 0")).is_err());
        assert!(by_rule(&rule("minlength: 65535")).is_err());
        assert!(by_rule(&rule("max-consecutive: 0")).is_err());
    }

    fn set() -> impl Strategy<Value = Characters> {
        let all: Vec<u8> = Characters::PRINTABLE.iter().collect();
        let some = prop::sample::subsequence(all, 1..=40).prop_map(|bytes| Characters::of(&bytes));
        prop_oneof![
            some,
            Just(Characters::UPPER),
            Just(Characters::LOWER.union(Characters::DIGITS)),
        ]
    }

    proptest! {
        #[test]
        fn a_rule_that_is_kept_is_read_as_it_was(
            length in 1_usize..=1024,
            needs in prop::collection::vec((set(), 1_usize..=3), 0..=4),
            others in set(),
            run_max in prop::option::of(0_usize..=9),
        ) {
            let mut rule = Rule { run_max, ..Rule::of_classes(length, vec![]) };
            rule.allowed = others;
            for (of, min) in needs {
                rule.allowed = rule.allowed.union(of);
                if !rule.needs.iter().any(|need| need.of == of) {
                    rule.needs.push(Need { of, min });
                }
            }
            let text = SiteRule::from(&rule).to_string();
            prop_assert_eq!(SiteRule::parse(&text).unwrap().rule(), rule, "{}", text);
        }

        #[test]
        fn no_text_makes_the_reader_fail_otherwise(
            text in "(minlength|maxlength|required|allowed|x|max-consecutive|[:;,\\[\\]0-9a-z ü-]){0,12}",
        ) {
            if let Ok(site) = SiteRule::parse(&text) {
                let _ = by_rule(&site.rule());
                prop_assert_eq!(SiteRule::parse(&site.to_string()).ok(), Some(site));
            }
        }
    }
}
