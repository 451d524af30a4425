//! Which records a person means by a path, and where they go. A path names a record; with a slash
//! at its end, or where there is no such record, it names the folder of all records below it.

use std::collections::BTreeSet;

use passmate_vault::view::View;
use passmate_vault::{RecordId, Vault};

use crate::answer::Reply;
use crate::command::command;
use crate::escape::unescape_path;
use crate::history::check_new_path;
use crate::problem::{Problem, ProblemKind};
use crate::records::{find, get, get_deleted, text};

/// A record that was meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Selected {
    pub(crate) id: RecordId,
    pub(crate) path: String,
    /// The length of the folders above what the person named, with their slash: that part of the
    /// path does not move along.
    above_len: usize,
    /// What the person named is this record, and not a folder above it.
    is_named: bool,
}

/// A record and its path to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Moved {
    pub(crate) id: RecordId,
    pub(crate) from: String,
    pub(crate) to: String,
}

/// The records that are meant by these paths, each once, in the order of the paths.
pub(crate) fn select(vault: &Vault, names: &[String]) -> Reply<Vec<Selected>> {
    let view = vault.view();
    let mut selected: Vec<Selected> = Vec::new();
    let mut known = BTreeSet::new();
    for name in names {
        let named = select_one(&view, name)?;
        selected.extend(named.into_iter().filter(|one| known.insert(one.id.clone())));
    }
    Ok(selected)
}

/// Refuses a folder without a slash at its end: its name may have been meant for that of a record
/// that is gone, and a person who sees no question sees no difference.
pub(crate) fn check_folders_meant(vault: &Vault, names: &[String]) -> Result<(), Problem> {
    let view = vault.view();
    let mut names = names.iter();
    let Some(name) = names.find(|name| !name.ends_with('/') && get(&view, name).is_none()) else {
        return Ok(());
    };
    let records = match below(&view, &unescape_path(name)).count() {
        1 => "1 record".to_owned(),
        count => format!("{count} records"),
    };
    let remove = command(["passmate", "rm"]).arg(format!("{name}/"));
    Err(Problem::new(
        ProblemKind::NotFound,
        format!("there is no record {name}, but a folder with {records}"),
        format!("nothing was deleted; {remove} deletes all in the folder"),
    ))
}

fn select_one(view: &View<'_>, name: &str) -> Reply<Vec<Selected>> {
    if let Some(record) = get(view, name) {
        let path = text(&record.path);
        return Ok(vec![Selected {
            id: record.id.clone(),
            above_len: above_len(&path),
            path,
            is_named: true,
        }]);
    }
    let folder = unescape_path(name);
    let folder = folder.trim_end_matches('/');
    let below = below(view, folder).map(|(id, path)| Selected {
        id,
        path,
        above_len: above_len(folder),
        is_named: false,
    });
    let below: Vec<_> = below.collect();
    if below.is_empty() {
        // The error names what may have been meant.
        find(view, name)?;
    }
    Ok(below)
}

/// All records that any call may mean by a name: the one that has it, the deleted one that had it,
/// and those in the folder of that name.
pub(crate) fn meant(view: &View<'_>, name: &str) -> BTreeSet<RecordId> {
    let named = get(view, name).map(|record| record.id.clone());
    let deleted = get_deleted(view, name).map(|record| record.id.clone());
    let plain = name.trim_end_matches('/').to_owned();
    let folders = [unescape_path(name).trim_end_matches('/').to_owned(), plain];
    let below = folders.iter().flat_map(|folder| below(view, folder));
    let all = named.into_iter().chain(deleted);
    all.chain(below.map(|(id, _)| id)).collect()
}

/// The records below a folder.
fn below<'a>(
    view: &'a View<'_>,
    folder: &'a str,
) -> impl Iterator<Item = (RecordId, String)> + use<'a> {
    let all = view
        .records()
        .iter()
        .map(|record| (record.id.clone(), text(&record.path)));
    all.filter(move |(_, path)| {
        let rest = path.strip_prefix(folder);
        !folder.is_empty() && rest.is_some_and(|rest| rest.starts_with('/'))
    })
}

/// The length of a path without its last part.
fn above_len(path: &str) -> usize {
    path.rfind('/').map_or(0, |slash| slash + 1)
}

/// Where the records go. They go into the folder `to` if it ends with a slash, if there is a folder
/// but no record of that name, or if several paths are named; else `to` is the new path of the one
/// record or folder.
///
/// # Errors
/// A path is taken, or two records would get the same one.
pub(crate) fn move_to(vault: &Vault, names: &[String], to: &str) -> Reply<Vec<Moved>> {
    let selected = select(vault, names)?;
    let view = vault.view();
    let target = to.trim_end_matches('/');
    let is_folder = get(&view, target).is_none() && below(&view, target).next().is_some();
    let goes_into = to.ends_with('/') || is_folder || names.len() > 1;
    let mut taken = BTreeSet::new();
    let mut moved = Vec::with_capacity(selected.len());
    for one in selected {
        let rest = one.path.get(one.above_len..).unwrap_or_default();
        let new = match (goes_into, one.is_named) {
            (true, _) if target.is_empty() => rest.to_owned(),
            (true, _) => format!("{target}/{rest}"),
            (false, true) => to.to_owned(),
            // The folder itself gets another name.
            (false, false) => {
                let inner = rest.split_once('/').map_or("", |(_, inner)| inner);
                format!("{target}/{inner}")
            }
        };
        if new == one.path {
            return Err(
                Problem::usage("old and new path are the same", "choose another path").into(),
            );
        }
        check_new_path(vault, &new)?;
        if !taken.insert(new.clone()) {
            return Err(Problem::usage(
                format!("two records would get the path {new}"),
                "move them one by one, to different paths",
            )
            .into());
        }
        moved.push(Moved {
            id: one.id,
            from: one.path,
            to: new,
        });
    }
    Ok(moved)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vault(paths: &[&str]) -> Vault {
        let mut vault = Vault::new();
        for path in paths {
            vault.create_record((*path).into(), *path, 1).unwrap();
        }
        vault
    }

    #[track_caller]
    fn check(names: &[&str], to: &str, moved: &[(&str, &str)]) {
        let vault = vault(&["a/b/one", "a/b/two", "a/b", "c/one", "d", "e f/x"]);
        let names: Vec<_> = names.iter().map(|name| (*name).to_owned()).collect();
        let found = move_to(&vault, &names, to).unwrap();
        let found: Vec<_> = found
            .iter()
            .map(|one| (one.from.as_str(), one.to.as_str()))
            .collect();
        assert_eq!(found, moved);
    }

    #[test]
    fn a_record_or_a_folder_gets_another_name_or_goes_into_a_folder() {
        check(&["d"], "new", &[("d", "new")]);
        check(&["a/b"], "new", &[("a/b", "new")]);
        check(
            &["a/b/"],
            "new",
            &[("a/b/one", "new/one"), ("a/b/two", "new/two")],
        );
        check(
            &["a"],
            "z/y",
            &[
                ("a/b", "z/y/b"),
                ("a/b/one", "z/y/b/one"),
                ("a/b/two", "z/y/b/two"),
            ],
        );
        check(&["d"], "c", &[("d", "c/d")]);
        check(&["d"], "x/", &[("d", "x/d")]);
        check(&["a/b/one"], "/", &[("a/b/one", "one")]);
        check(&["d", "c"], "x", &[("d", "x/d"), ("c/one", "x/c/one")]);
        check(
            &["a/b/", "a/b/one"],
            "x",
            &[("a/b/one", "x/b/one"), ("a/b/two", "x/b/two")],
        );
    }

    #[test]
    fn no_record_takes_the_place_of_another() {
        let vault = vault(&["a/one", "b/one", "c", "d"]);
        let refused = |names: &[&str], to: &str| {
            let names: Vec<_> = names.iter().map(|name| (*name).to_owned()).collect();
            move_to(&vault, &names, to).is_err()
        };
        assert!(refused(&["a/one", "b/one"], "x"));
        assert!(refused(&["c"], "d"));
        assert!(refused(&["c"], "c"));
        assert!(refused(&["a/one"], "b"));
        assert!(refused(&["c"], "x//y"));
        assert!(refused(&["c"], "/x"));
        assert!(refused(&["nothing"], "x"));
        assert!(refused(&[""], "x"));
        assert!(refused(&["/"], "x"));
    }
}
