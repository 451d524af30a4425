//! How large a vault is for its server, and what takes most of it.

use passmate_sync::{RemoteError, Replica, SyncError};
use passmate_vault::record::{Record, Value};
use passmate_vault::{Vault, format};

use crate::answer::{Consent, Question, Reply};
use crate::command::command;
use crate::escape::escape;
use crate::records::text;
use crate::session::Session;
use crate::state::State;
use crate::sync_status::{Quota, btoken_len};
use crate::units::readable;

/// A change that makes the vault too large for its server needs a person's consent: no sync can
/// send anything after it.
pub(crate) fn check(session: &Session, before: &Vault, consent: &Consent) -> Reply<()> {
    let Some(account) = Replica::account(session).filter(|account| !account.is_pending()) else {
        return Ok(());
    };
    let stated = State::load(session.path()).last_sync;
    let stated = stated.and_then(|last| last.btoken_len_max);
    let limit = Quota::new(0, stated).left();
    let fits = |vault: &Vault| -> Result<bool, SyncError> {
        let fits = format::fits_as(account.shape, vault, &account.devices, limit);
        Ok(fits.map_err(RemoteError::Unsealable)?)
    };
    if fits(session.vault())? || !fits(before)? {
        return Ok(());
    }
    let len = btoken_len(session.vault(), account, &account.devices)?;
    let after = Quota::new(len, stated);
    consent.require(Question::TooLarge {
        host: account.host.clone(),
        len: after.used,
        limit: after.limit,
    })
}

/// What a person can do about a vault that is too large: it names the field that takes most.
pub(crate) fn advice(vault: &Vault, has_account: bool) -> String {
    let rest = if has_account {
        "keep less history with `passmate sync rotate --keep-history 1y`, or ask the operator for a \
         higher --btoken-max"
    } else {
        "ask the operator for a higher --btoken-max"
    };
    let Some(Largest {
        path,
        field,
        len,
        earlier,
    }) = largest(vault)
    else {
        return rest.to_owned();
    };
    let purge = command(["passmate", "purge"]).arg(&path).arg(&field);
    let way = if earlier * 2 > len {
        format!("{} removes its earlier values", purge.word("--earlier"))
    } else {
        format!("export it first if you need it, then {purge} removes it for good")
    };
    let (path, field, len) = (escape(&path), escape(&field), readable(len));
    format!("{field} of {path} takes most, {len}: {way}; or {rest}")
}

/// The field whose values take most.
#[derive(Debug, PartialEq, Eq)]
struct Largest {
    path: String,
    field: String,
    /// The bytes of all its values.
    len: usize,
    /// Of these, the bytes of all but the newest value.
    earlier: usize,
}

fn largest(vault: &Vault) -> Option<Largest> {
    let fields = vault.records().flat_map(|(_, record)| {
        let own = record.fields().filter_map(|history| {
            let newest = history.last()?;
            let len = history.iter().map(|change| len_of(&change.value)).sum();
            (!newest.key.is_path()).then_some((len, newest, record))
        });
        own.collect::<Vec<_>>()
    });
    let (len, newest, record): (usize, _, &Record) = fields.max_by_key(|(len, _, _)| *len)?;
    Some(Largest {
        path: text(&record.last_path()?),
        field: text(&newest.key.name),
        len,
        earlier: len - len_of(&newest.value),
    })
}

fn len_of(value: &Value) -> usize {
    value.shown().map_or(0, |text| text.as_bytes().len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_largest_field_is_named_with_the_command_that_removes_it() {
        let mut vault = Vault::new();
        assert!(advice(&vault, true).starts_with("keep less history"));
        for path in ["a b", "c"] {
            vault.create_record(path.into(), path, 1).unwrap();
            vault.set(&path.into(), "user", "bob", 2).unwrap();
        }
        vault
            .set(&"a b".into(), "notes", "x".repeat(3000), 3)
            .unwrap();
        let said = advice(&vault, false);
        assert!(
            said.starts_with(
                "notes of a b takes most, 2.9 KiB: export it first if you need it, then `passmate purge \
                 'a b' notes` removes it for good"
            ),
            "{said}"
        );
        for second in 4..20 {
            vault
                .set(
                    &"c".into(),
                    "password",
                    second.to_string().repeat(200),
                    second,
                )
                .unwrap();
        }
        let said = advice(&vault, false);
        assert!(
            said.contains("`passmate purge c password --earlier` removes its earlier values"),
            "{said}"
        );
    }
}
