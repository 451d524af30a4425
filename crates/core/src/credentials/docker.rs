//! What docker asks a credential helper. The rules are:
//!  - a login belongs to the address of a registry exactly as docker writes it;
//!  - only records below `docker/` are seen and written, because docker may list all that a helper
//!    has;
//!  - if several of them have different logins for a registry, none is given;
//!  - `erase` unsets the password. It stays in the history.

use std::collections::BTreeMap;
use std::fmt;

use passmate_vault::login::FieldRole;
use serde::Deserialize;
use zeroize::Zeroizing;

use super::site::Site;
use super::{addresses, free_path, password, user};
use crate::answer::Reply;
use crate::api::VaultApi;
use crate::edit::{Edit, RecordText};
use crate::escape::escape_path;
use crate::problem::{Problem, ProblemKind};
use crate::records::{RecordContent, Which};

/// The folder of the records that docker writes.
const FOLDER: &str = "docker";

/// A login as docker reads and writes it.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Login {
    /// The address of the registry.
    #[serde(rename = "ServerURL")]
    pub server: String,
    /// The user.
    pub username: String,
    /// The password.
    pub secret: Zeroizing<String>,
}

/// Without the password.
impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Login")
            .field("server", &self.server)
            .finish_non_exhaustive()
    }
}

impl Login {
    /// Reads what docker writes to `store`.
    ///
    /// # Errors
    /// It is no login.
    pub fn parse(text: &str) -> Result<Self, Problem> {
        let wrong = |what: &str| {
            let hint = "docker calls this command; see docs/scripts.md for the setting";
            Problem::usage(what, hint)
        };
        // The parser's message could hold a part of the password.
        let login: Self = serde_json::from_str(text).map_err(|_| wrong("this is no login"))?;
        if login.server.trim().is_empty() {
            return Err(wrong("the address of the registry is empty"));
        }
        if login.server.chars().any(char::is_control) {
            return Err(wrong("the address of the registry has a control character"));
        }
        if login.secret.is_empty() {
            return Err(wrong("the password is empty"));
        }
        Ok(login)
    }

    /// What docker reads of `get`.
    #[must_use]
    pub fn to_json(&self) -> String {
        serde_json::json!({
            "ServerURL": self.server,
            "Username": self.username,
            "Secret": *self.secret,
        })
        .to_string()
    }
}

/// The records that docker wrote, with their passwords or without.
fn records(vault: &mut dyn VaultApi) -> Reply<Vec<RecordContent>> {
    vault.records(&Which::Below(FOLDER.to_owned()))
}

fn is_of(record: &RecordContent, server: &str) -> bool {
    addresses(record).any(|field| field.value.as_str() == server)
}

/// The login for a registry.
///
/// # Errors
/// The vault cannot be read, or several records have different logins.
pub fn get(vault: &mut dyn VaultApi, server: &str) -> Reply<Option<Login>> {
    let records = records(vault)?;
    let logins = records.iter().filter_map(|record| {
        let password = password(record).filter(|_| is_of(record, server))?;
        let login = Login {
            server: server.to_owned(),
            username: user(record).unwrap_or_default().to_owned(),
            secret: password.clone(),
        };
        Some((&record.path, login))
    });
    let logins: Vec<_> = logins.collect();
    let Some((_, first)) = logins.first() else {
        return Ok(None);
    };
    if logins.iter().any(|(_, login)| login != first) {
        let paths: Vec<_> = logins.iter().map(|(path, _)| path.as_str()).collect();
        return Err(Problem::new(
            ProblemKind::Ambiguous,
            format!("{} have different logins for {server}", paths.join(", ")),
            "delete the records that are wrong, or take their passwords away",
        )
        .into());
    }
    Ok(Some(first.clone()))
}

/// The change that stores a login; `None` if it is stored already.
///
/// # Errors
/// The vault cannot be read.
pub fn store(vault: &mut dyn VaultApi, login: &Login) -> Reply<Option<Edit>> {
    let records = records(vault)?;
    // A registry has one login.
    let own = records.iter().find(|record| is_of(record, &login.server));
    let Some(record) = own else {
        let host = Site::parse(&login.server).map(|site| site.host);
        let host = host.as_deref().unwrap_or(&login.server);
        let path = free_path(vault, FOLDER, &[host])?;
        let fields = [
            ("password", login.secret.as_str()),
            ("url", &login.server),
            ("user", &login.username),
        ];
        let record = RecordText::new(path, fields);
        return Ok(Some(Edit::Add { record }));
    };
    let name = |role: FieldRole| {
        let field = record.with_role(role);
        field.map_or_else(|| role.name().to_owned(), |field| field.name.clone())
    };
    let has_user = user(record).unwrap_or_default() == login.username;
    if has_user && password(record) == Some(&login.secret) {
        return Ok(None);
    }
    let user = Zeroizing::new(login.username.clone());
    Ok(Some(Edit::SetFields {
        path: escape_path(&record.path),
        fields: vec![
            (name(FieldRole::User), user),
            (name(FieldRole::Password), login.secret.clone()),
        ],
    }))
}

/// The changes that take away the login for a registry.
///
/// # Errors
/// The vault cannot be read.
pub fn erase(vault: &mut dyn VaultApi, server: &str) -> Reply<Vec<Edit>> {
    let records = records(vault)?;
    let edits = records.iter().filter_map(|record| {
        let field = record.with_role(FieldRole::Password)?;
        is_of(record, server).then(|| Edit::Unset {
            path: escape_path(&record.path),
            field: field.name.clone(),
        })
    });
    Ok(edits.collect())
}

/// The registries with a login, each with its user.
///
/// # Errors
/// The vault cannot be read.
pub fn list(vault: &mut dyn VaultApi) -> Reply<BTreeMap<String, String>> {
    let mut all = BTreeMap::new();
    for record in records(vault)? {
        if password(&record).is_some() {
            let user = user(&record).unwrap_or_default();
            let servers = addresses(&record).map(|field| field.value.to_string());
            all.extend(servers.map(|server| (server, user.to_owned())));
        }
    }
    Ok(all)
}
