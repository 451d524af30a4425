//! The Tab key in the shell: names, paths of records, and names of fields.

use passmate_core::api::VaultApi;
use passmate_core::escape::escape;
use rustyline::Context;
use rustyline::completion::{Completer, Pair};
use rustyline::highlight::Highlighter;
use rustyline::hint::Hinter;
use rustyline::validate::Validator;

use super::line::{NAMES, Place, Takes, named};

/// What the Tab key looks into.
pub(super) struct Completing {
    pub(super) vault: Box<dyn VaultApi>,
    /// The path of the record that is open.
    pub(super) open: Option<String>,
    /// The commands of `passmate`.
    pub(super) commands: Vec<String>,
}

impl Completing {
    /// Where the word that is completed begins, and how it may go on.
    fn find(&mut self, line: &str) -> (usize, Vec<String>) {
        let open = self.open.as_deref();
        if let Some((name, rest)) = named(line, open)
            && line.contains(char::is_whitespace)
        {
            let begin = line.len() - line.trim_start().len() + name.name.len();
            let begin = line.len() - line.get(begin..).unwrap_or_default().trim_start().len();
            let found = match name.takes {
                Takes::Path => self.paths(rest),
                Takes::Field | Takes::AnyField => self.fields(rest),
                Takes::Nothing | Takes::Letters => Vec::new(),
            };
            return (begin, found);
        }
        let names = NAMES.iter();
        let names = names.filter(|name| name.place == Place::Anywhere || open.is_some());
        let names = names.filter(|name| name.name.starts_with(line));
        let mut found: Vec<_> = names.map(|name| name.to_go_on()).collect();
        if open.is_none() {
            // A path alone opens its record.
            found.extend(self.paths(line));
        }
        let others = self.commands.iter().filter(|name| name.starts_with(line));
        let others = others.filter(|other| NAMES.iter().all(|name| name.name != **other));
        let others: Vec<_> = others.map(|name| format!("{name} ")).collect();
        found.extend(others);
        (0, found)
    }

    fn paths(&mut self, begin: &str) -> Vec<String> {
        self.vault.continuations(begin).unwrap_or_default()
    }

    fn fields(&mut self, begin: &str) -> Vec<String> {
        let Some(open) = &self.open else {
            return Vec::new();
        };
        let fields = self.vault.fields(open).unwrap_or_default();
        let is_meant = |name: &String| name.starts_with(begin) && escape(name) == *name;
        fields.into_iter().filter(is_meant).collect()
    }
}

/// Of the editor of lines: it only reads, and a vault is asked for what it knows.
pub(super) struct Helper(pub(super) std::cell::RefCell<Completing>);

impl Completer for Helper {
    type Candidate = Pair;

    fn complete(
        &self,
        line: &str,
        place: usize,
        _: &Context<'_>,
    ) -> rustyline::Result<(usize, Vec<Pair>)> {
        let begun = line.get(..place).unwrap_or_default();
        let (begin, found) = self.0.borrow_mut().find(begun);
        let pairs = found.into_iter().map(|found| Pair {
            display: found.clone(),
            replacement: found,
        });
        Ok((begin, pairs.collect()))
    }
}

impl Hinter for Helper {
    type Hint = String;
}

impl Highlighter for Helper {}
impl Validator for Helper {}
impl rustyline::Helper for Helper {}
