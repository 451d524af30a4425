//! What git asks a credential helper. The rules are:
//!  - `get` gives the login of a record whose address has the protocol, host and port that git
//!    names. If git names a path too, the record's address has that path or none. If git names a
//!    user, the record has that user or none;
//!  - records below `git/` come first, then exact paths, then exact users. If several logins are
//!    left, none is given: the wrong one might be sent. None is given either if a record below
//!    `git/` names another user than the only login of a person: it may come from elsewhere;
//!  - `store` changes nothing if a record has the login already. It writes below `git/` only: git
//!    may have been given a token, which is not the password of the site;
//!  - `erase` unsets the password of records below `git/` that have the login which git says was
//!    rejected. It stays in their history.

use std::fmt;

use passmate_vault::login::FieldRole;
use zeroize::Zeroizing;

use super::site::Site;
use super::{addresses, free_path, password, user};
use crate::answer::Reply;
use crate::api::VaultApi;
use crate::edit::{Edit, RecordText};
use crate::escape::escape_path;
use crate::problem::{Problem, ProblemKind};
use crate::records::{RecordContent, Which};

/// The folder of the records that git writes.
const FOLDER: &str = "git";

/// What git says about a login.
#[derive(Clone, Default)]
pub struct Request {
    protocol: String,
    /// With the port.
    host: String,
    path: Option<String>,
    user: Option<String>,
    password: Option<Zeroizing<String>>,
    /// It is valid for a time only.
    expires: bool,
}

/// Without the password.
impl fmt::Debug for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Request")
            .field("host", &self.host)
            .finish_non_exhaustive()
    }
}

/// What a helper answers to `get`.
pub enum Answer {
    /// A login.
    Found {
        /// The user, if the record names one.
        user: Option<String>,
        /// The password.
        password: Zeroizing<String>,
    },
    /// There is none.
    Nothing,
    /// There are several; the paths of their records.
    Several(Vec<String>),
}

/// What `erase` does.
#[derive(Debug, Default)]
pub struct Erasure {
    /// The changes to make.
    pub edits: Vec<Edit>,
    /// The paths of records that have the login, and keep it because git did not write them.
    pub kept: Vec<String>,
}

impl Request {
    /// Reads the lines that git writes to a helper. Unknown ones are left out.
    ///
    /// # Errors
    /// A line is no assignment.
    pub fn parse(text: &str) -> Result<Self, Problem> {
        let mut request = Self::default();
        for line in text.split('\n').take_while(|line| !line.is_empty()) {
            let (key, value) = line.split_once('=').ok_or_else(|| {
                Problem::usage(
                    "a line of the request is no assignment",
                    "git calls this command; see docs/scripts.md for the setting",
                )
            })?;
            let value = || value.to_owned();
            match key {
                "protocol" => request.protocol = value(),
                "host" => request.host = value(),
                "path" => request.path = Some(value()),
                "username" => request.user = Some(value()),
                "password" => request.password = Some(Zeroizing::new(value())),
                "password_expiry_utc" => request.expires = true,
                _ => {}
            }
        }
        Ok(request)
    }

    /// The protocol and the host, as a person knows them.
    #[must_use]
    pub fn address(&self) -> String {
        format!("{}://{}", self.protocol, self.host)
    }

    fn site(&self) -> Option<Site> {
        let path = self.path.as_deref().unwrap_or_default();
        Site::new(&self.protocol, &self.host, path)
    }

    /// The records with a login that may be meant, each with how well it fits.
    fn candidates(&self, vault: &mut dyn VaultApi) -> Reply<Vec<(Fit, RecordContent)>> {
        let Some(site) = self.site() else {
            return Ok(Vec::new());
        };
        let records = vault.records(&Which::OfHost(site.host.clone()))?;
        let records = records.into_iter();
        let fitting = records.filter_map(|record| Some((self.fit(&site, &record)?, record)));
        Ok(fitting.collect())
    }

    /// How well a record fits; `None` if it is for another site or user.
    fn fit(&self, site: &Site, record: &RecordContent) -> Option<Fit> {
        let sites = addresses(record).filter_map(|field| Site::parse(&field.value));
        let fitting = sites.filter(|found| site.is_same_host(found));
        let paths = fitting.map(|found| match &self.path {
            None => Some(true),
            Some(_) if found.path == site.path => Some(true),
            Some(_) => found.path.is_empty().then_some(false),
        });
        let has_path = paths.max().flatten()?;
        let has_user = match (&self.user, user(record)) {
            (None, _) => true,
            (Some(wanted), Some(user)) if wanted == user => true,
            (Some(_), Some(_)) => return None,
            (Some(_), None) => false,
        };
        Some(Fit {
            is_of_git: is_of_git(record),
            has_path,
            has_user,
        })
    }
}

/// How well a record fits, the greater the better.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Fit {
    is_of_git: bool,
    /// It has the path, not just none.
    has_path: bool,
    /// It has the user, not just none.
    has_user: bool,
}

fn is_of_git(record: &RecordContent) -> bool {
    let rest = record.path.strip_prefix(FOLDER);
    rest.is_some_and(|rest| rest.starts_with('/'))
}

/// The login that git asks for.
///
/// # Errors
/// The vault cannot be read, or the login cannot be told to git.
pub fn get(vault: &mut dyn VaultApi, request: &Request) -> Reply<Answer> {
    let mut candidates = request.candidates(vault)?;
    candidates.retain(|(_, record)| password(record).is_some());
    let best = candidates.iter().map(|(fit, _)| *fit).max();
    let is_best = |fit: &Fit| Some(*fit) == best;
    let found = candidates.iter().find(|(fit, _)| is_best(fit));
    if let (Some((_, found)), Some(own)) = (found, only_login(&candidates))
        && is_of_git(found)
        && user(found).is_some_and(|user| user != own.1)
    {
        return Ok(Answer::Several(vec![found.path.clone(), own.0]));
    }
    candidates.retain(|(fit, _)| is_best(fit));
    let logins = candidates.iter().filter_map(|(_, record)| {
        let user = user(record).map(str::to_owned);
        Some((record.path.clone(), user, password(record)?.clone()))
    });
    let logins: Vec<_> = logins.collect();
    let Some((path, user, password)) = logins.first() else {
        return Ok(Answer::Nothing);
    };
    if logins.iter().any(|(_, u, p)| (u, p) != (user, password)) {
        let paths = logins.into_iter().map(|(path, ..)| path);
        return Ok(Answer::Several(paths.collect()));
    }
    let is_line = |text: &str| !text.contains(['\n', '\0']);
    if !is_line(password) || !user.as_deref().is_none_or(is_line) {
        return Err(Problem::new(
            ProblemKind::NotSupported,
            format!("the login of {path} has several lines, and git takes one"),
            "store it in one line",
        )
        .into());
    }
    Ok(Answer::Found {
        user: user.clone(),
        password: password.clone(),
    })
}

/// The login of a person that fits, if there is just one: the path and the user.
fn only_login(candidates: &[(Fit, RecordContent)]) -> Option<(String, &str)> {
    let own = candidates.iter().filter(|(fit, _)| !fit.is_of_git);
    let best = own.clone().map(|(fit, _)| *fit).max()?;
    let mut own = own.filter(|(fit, _)| *fit == best);
    let (_, record) = own.next()?;
    let user_of = user(record)?;
    let is_only = own.all(|(_, other)| user(other) == Some(user_of));
    is_only.then(|| (record.path.clone(), user_of))
}

/// The change that stores a login which worked; `None` if there is nothing to store.
///
/// # Errors
/// The vault cannot be read.
pub fn store(vault: &mut dyn VaultApi, request: &Request) -> Reply<Option<Edit>> {
    let (Some(site), Some(name), Some(secret)) = (request.site(), &request.user, &request.password)
    else {
        return Ok(None);
    };
    // A token for an hour is of no use on another device, or in a history.
    if request.expires || name.is_empty() || secret.is_empty() {
        return Ok(None);
    }
    let candidates = request.candidates(vault)?;
    let mut known = candidates.iter().map(|(_, record)| record);
    if known.any(|record| password(record) == Some(secret)) {
        return Ok(None);
    }
    let own = candidates
        .iter()
        .find(|(fit, _)| fit.is_of_git && fit.has_path && fit.has_user);
    if let Some((_, record)) = own {
        let field = record.with_role(FieldRole::Password);
        return Ok(Some(Edit::Set {
            path: escape_path(&record.path),
            field: field.map_or_else(|| "password".to_owned(), |field| field.name.clone()),
            value: secret.clone(),
        }));
    }
    let path = request.path.as_deref().unwrap_or_default();
    let mut address = request.address();
    if !site.path.is_empty() {
        address = format!("{address}/{}", site.path);
    }
    let record = free_path(vault, FOLDER, &[&request.host, path, name])?;
    let fields = [
        ("password", secret.as_str()),
        ("url", &address),
        ("user", name),
    ];
    Ok(Some(Edit::Add {
        record: RecordText::new(record, fields),
    }))
}

/// What to change for a login that was rejected. Without a password, every login that git wrote for
/// the site and user is meant.
///
/// # Errors
/// The vault cannot be read.
pub fn erase(vault: &mut dyn VaultApi, request: &Request) -> Reply<Erasure> {
    let mut erasure = Erasure::default();
    for (fit, record) in request.candidates(vault)? {
        let rejected = request.password.as_ref();
        let is_meant = password(&record).is_some_and(|has| rejected.is_none_or(|no| no == has));
        if !is_meant {
            continue;
        }
        let field = record.with_role(FieldRole::Password);
        match field {
            Some(field) if fit.is_of_git => erasure.edits.push(Edit::Unset {
                path: escape_path(&record.path),
                field: field.name.clone(),
            }),
            _ if rejected.is_some() => erasure.kept.push(record.path),
            _ => {}
        }
    }
    Ok(erasure)
}
