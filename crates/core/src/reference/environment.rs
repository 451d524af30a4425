//! The variables of a program, some of which are references.
//!
//! A variable that is inherited gives way to one of a file, that to one of a later file, and all of
//! them to one that is named for this program.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::path::Path;

use zeroize::Zeroizing;

use super::dotenv;
use super::template::{Template, TemplateError};
use super::{Reference, Resolver};
use crate::answer::Reply;
use crate::api::VaultApi;
use crate::problem::{Problem, ProblemKind};

/// Variables before their references are read.
#[derive(Debug, Default)]
pub struct Environment {
    /// Those that differ from what is inherited.
    variables: BTreeMap<String, Template>,
}

/// Variables with their values.
pub struct Filled {
    /// Their names and values.
    pub variables: Vec<(String, Zeroizing<String>)>,
    /// The values that were read, and are to be masked.
    pub resolver: Resolver,
}

/// Without the values.
impl fmt::Debug for Filled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Filled").finish_non_exhaustive()
    }
}

impl Environment {
    /// The references in variables that a program inherits. What is no text has none.
    ///
    /// # Errors
    /// What begins as a reference is none.
    pub fn inherited(
        variables: impl IntoIterator<Item = (OsString, OsString)>,
    ) -> Result<Self, Problem> {
        let mut environment = Self::default();
        for (name, value) in variables {
            let (Some(name), Some(value)) = (name.to_str(), value.to_str()) else {
                continue;
            };
            let template = Template::of_value(value).map_err(|error| in_variable(name, error))?;
            if template.has_references() {
                environment.variables.insert(name.to_owned(), template);
            }
        }
        Ok(environment)
    }

    /// Adds the variables of a file.
    ///
    /// # Errors
    /// The text is none of a `.env` file, or what begins as a reference is none.
    pub fn add_file(&mut self, file: &Path, text: &str) -> Result<(), Problem> {
        let in_file = |problem: Problem| Problem {
            message: format!("{}: {}", file.display(), problem.message),
            ..problem
        };
        let assignments = dotenv::parse(text).map_err(|error| in_file(error.into()))?;
        for one in assignments {
            let template = Template::of_value(&one.value).map_err(|error| {
                // The value begins in this line.
                let line = one.line + error.line - 1;
                in_file(TemplateError { line, ..error }.into())
            })?;
            self.variables.insert(one.name, template);
        }
        Ok(())
    }

    /// Adds a variable that is a reference: `NAME=passmate://PATH/FIELD`.
    ///
    /// # Errors
    /// It is none.
    pub fn add(&mut self, assignment: &str) -> Result<(), Problem> {
        const HINT: &str = "write NAME=passmate://PATH/FIELD";
        let (name, value) = assignment
            .split_once('=')
            .filter(|(name, _)| !name.is_empty() && !name.contains('\0'))
            .ok_or_else(|| Problem::usage("a variable needs a name and a reference", HINT))?;
        let template = Template::of_value(value).map_err(|error| in_variable(name, error))?;
        if !template.has_references() {
            // Whatever it is, it may be a secret.
            let message = format!("the value of {name} is no reference");
            return Err(Problem::usage(message, HINT));
        }
        self.variables.insert(name.to_owned(), template);
        Ok(())
    }

    /// Whether a variable holds a reference.
    #[must_use]
    pub fn has_references(&self) -> bool {
        self.variables.values().any(Template::has_references)
    }

    /// Reads all references; without any the vault is not asked for.
    ///
    /// # Errors
    /// A reference cannot be read, or its value cannot be one of a variable.
    pub fn fill<'v>(
        &self,
        open: impl FnOnce() -> Result<Box<dyn VaultApi + 'v>, Problem>,
    ) -> Reply<Filled> {
        let mut vault = self.has_references().then(open).transpose()?;
        let mut resolver = Resolver::default();
        let mut variables = Vec::with_capacity(self.variables.len());
        for (name, template) in &self.variables {
            let bytes = match &mut vault {
                Some(vault) => template.fill(&mut **vault, &mut resolver),
                None => Ok(template.text()),
            };
            let bytes = bytes.map_err(|halt| in_variable(name, halt.into_problem()))?;
            let text = std::str::from_utf8(&bytes).ok();
            let text = text.filter(|text| !text.contains('\0')).ok_or_else(|| {
                Problem::new(
                    ProblemKind::Other,
                    format!("the value of {name} has a null byte"),
                    "no variable can hold one; use `passmate read` or `passmate inject`",
                )
            })?;
            variables.push((name.clone(), Zeroizing::new(text.to_owned())));
        }
        Ok(Filled {
            variables,
            resolver,
        })
    }
}

impl Filled {
    /// The values that are to be masked.
    pub fn secrets(&self) -> impl Iterator<Item = (&Reference, &str)> {
        self.resolver.secrets()
    }

    /// The variables as the system takes them.
    pub fn pairs(&self) -> impl Iterator<Item = (&OsStr, &OsStr)> {
        let variables = self.variables.iter();
        variables.map(|(name, value)| (OsStr::new(name), OsStr::new(value.as_str())))
    }
}

/// The problem with the variable in which it is.
fn in_variable(name: &str, problem: impl Into<Problem>) -> Problem {
    let problem = problem.into();
    let message = problem.message;
    let message = message.strip_prefix("line 1: ").unwrap_or(&message);
    Problem {
        message: format!("variable {name}: {message}"),
        ..problem
    }
}
