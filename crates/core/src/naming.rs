//! Which record a person may have meant by a path that is none. The rules are:
//!  - a call takes a path exactly as it is given, or an id. What follows is for a person alone, who
//!    sees which record was taken: a script must not read another record because one was moved;
//!  - the paths that end with what was typed, at the begin of a part, are candidates: `shop` for
//!    `web/shop`, and never for `workshop`. Those with the same case go before the others. A slash
//!    at the begin or the end of what was typed does not count;
//!  - without candidates there is what else has this name, and paths that are alike, for an error.

use passmate_vault::Vault;
use passmate_vault::view::View;

use crate::answer::{Namesake, Need};
use crate::escape::{escape, unescape_path};

/// How many candidates are named.
const CANDIDATES_MAX: usize = 50;
/// In how many ways a path goes on at most: nobody reads more.
const CONTINUATIONS_MAX: usize = 1000;
/// How many paths that hold the last part of another one are compared with it.
const HOLDING_MAX: usize = 1000;
/// How many paths that are alike are named.
const ALIKE_MAX: usize = 3;
/// How alike two paths are that one may have been meant for the other; 1 is the same.
const ALIKE: f64 = 0.8;
/// Comparing takes as long as both paths are; nobody mistypes a kilobyte.
const COMPARED_MAX: usize = 1024;

/// What to ask a person who typed a path at which no record is, but perhaps a deleted one.
pub(crate) fn no_such_record(view: &View<'_>, typed: &str, deleted: Option<String>) -> Need {
    let paths: Vec<_> = view
        .records()
        .iter()
        .map(|record| record.path.to_string_lossy())
        .collect();
    let paths = paths.iter().map(AsRef::as_ref);
    let plain = unescape_path(typed);
    let plain = plain.trim_matches('/');
    let candidates = ending_with(plain, paths.clone());
    let (namesake, alike) = match candidates.is_empty() {
        true => (
            deleted
                .map(|path| Namesake::Deleted { path })
                .or_else(|| folder(plain, paths.clone())),
            alike(plain, paths),
        ),
        false => (None, Vec::new()),
    };
    Need::OtherPath {
        path: typed.to_owned(),
        candidates,
        namesake,
        alike,
    }
}

/// The folder of this name.
fn folder<'p>(name: &str, paths: impl Iterator<Item = &'p str>) -> Option<Namesake> {
    let is_below = |path: &str| {
        let rest = path.strip_prefix(name);
        !name.is_empty() && rest.is_some_and(|rest| rest.starts_with('/'))
    };
    let records = paths.filter(|path| is_below(path)).count();
    (records > 0).then(|| Namesake::Folder {
        path: name.to_owned(),
        records,
    })
}

/// How a path goes on that was begun: up to the end of its next part, with a slash if it is a
/// folder. In the order of the paths; for the Tab key of a shell.
pub(crate) fn continuations(vault: &Vault, begin: &str) -> Vec<String> {
    let lookup = vault.lookup();
    let mut found = Vec::new();
    let mut next = lookup.first_from(begin.as_bytes());
    while let Some(record) = next.filter(|_| found.len() < CONTINUATIONS_MAX) {
        let path = record.path.as_bytes();
        let Some(rest) = path.strip_prefix(begin.as_bytes()) else {
            break;
        };
        let slash = rest.iter().position(|byte| *byte == b'/');
        let end = slash.map_or(path.len(), |slash| begin.len() + slash);
        let mut behind = path.get(..end).unwrap_or_default().to_vec();
        // What comes next has another part: a digit is right behind a slash.
        behind.push(if slash.is_some() { b'0' } else { 0 });
        let end = end + usize::from(slash.is_some());
        let part = path.get(..end).and_then(|part| str::from_utf8(part).ok());
        // What acts on a terminal would do so in the shell's list.
        if let Some(part) = part.filter(|part| part.len() <= COMPARED_MAX && escape(part) == *part)
        {
            found.push(part.to_owned());
        }
        next = lookup.first_from(&behind);
    }
    found
}

/// The paths that end with what was typed, at the begin of a part.
fn ending_with<'p>(typed: &str, paths: impl Iterator<Item = &'p str> + Clone) -> Vec<String> {
    if typed.is_empty() {
        return Vec::new();
    }
    let lower = typed.to_lowercase();
    let is_end = |path: &str, end: &str| {
        let above = path.strip_suffix(end);
        above.is_some_and(|above| above.is_empty() || above.ends_with('/'))
    };
    let found = |is_meant: &dyn Fn(&str) -> bool| -> Vec<String> {
        let meant = paths.clone().filter(|path| is_meant(path));
        meant.take(CANDIDATES_MAX).map(str::to_owned).collect()
    };
    let same_case = found(&|path| is_end(path, typed));
    if !same_case.is_empty() {
        return same_case;
    }
    found(&|path| path.len() >= typed.len() && is_end(&path.to_lowercase(), &lower))
}

/// Up to three paths that may have been meant: of those that hold the last part of what was typed
/// the ones most like it, else the one most like it of all.
fn alike<'p>(typed: &str, paths: impl Iterator<Item = &'p str> + Clone) -> Vec<String> {
    let typed = typed.to_lowercase();
    if typed.len() >= COMPARED_MAX {
        return Vec::new();
    }
    let last = typed.rsplit('/').next().unwrap_or_default();
    let with_likeness = paths
        .filter(|path| path.len() < COMPARED_MAX)
        .map(|path| (path, path.to_lowercase()));
    let likeness = |path: &str| strsim::normalized_damerau_levenshtein(&typed, path);
    let holds = |(_, lower): &(&str, String)| !last.is_empty() && lower.contains(last);
    let mut holding: Vec<_> = with_likeness
        .clone()
        .filter(holds)
        .take(HOLDING_MAX)
        .map(|(path, lower)| (likeness(&lower), path))
        .collect();
    if !holding.is_empty() {
        holding.sort_by(|(a, _), (b, _)| b.total_cmp(a));
        let most = holding.into_iter().take(ALIKE_MAX);
        return most.map(|(_, path)| path.to_owned()).collect();
    }
    let most = with_likeness
        .map(|(path, lower)| (likeness(&lower), path))
        .filter(|(likeness, _)| *likeness >= ALIKE)
        .max_by(|(a, _), (b, _)| a.total_cmp(b));
    most.into_iter().map(|(_, path)| path.to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn candidates_end_with_whole_parts_of_a_path() {
        let paths = [
            "web/shop",
            "old/web/shop",
            "workshop",
            "Bank/Giro",
            "a/bank/giro",
            "shop/x",
        ];
        let ending = |typed: &str| ending_with(typed, paths.into_iter());
        assert_eq!(ending("shop"), ["web/shop", "old/web/shop"]);
        assert_eq!(ending("web/shop"), ["web/shop", "old/web/shop"]);
        assert_eq!(ending("WEB/shop"), ["web/shop", "old/web/shop"]);
        assert_eq!(ending("bank/giro"), ["a/bank/giro"]);
        assert_eq!(ending("GIRO"), ["Bank/Giro", "a/bank/giro"]);
        for typed in ["hop", "sho", "", "/", "/shop", "shop/"] {
            assert_eq!(ending(typed), [""; 0], "{typed}");
        }
    }

    #[test]
    fn a_path_goes_on_part_by_part() {
        let paths = [
            "web/shop",
            "web/shopping/x",
            "web/shopping/y",
            "wifi",
            "a\u{202e}b",
            "a b/c",
        ];
        let mut vault = Vault::new();
        for (id, path) in paths.into_iter().enumerate() {
            let id = format!("{id}");
            vault.create_record(id.as_str().into(), path, 1).unwrap();
        }
        let next = |begin: &str| continuations(&vault, begin);
        assert_eq!(next(""), ["a b/", "web/", "wifi"]);
        assert_eq!(next("w"), ["web/", "wifi"]);
        assert_eq!(next("web/sh"), ["web/shop", "web/shopping/"]);
        assert_eq!(next("web/shopping/"), ["web/shopping/x", "web/shopping/y"]);
        assert_eq!(next("web/shop"), ["web/shop", "web/shopping/"]);
        assert_eq!(next("Web"), [""; 0]);
    }

    #[test]
    fn what_may_have_been_meant_holds_the_last_part_or_is_most_alike() {
        let paths = ["bank/giro", "mail/work", "web/shop", "web/shopping"];
        let alike = |typed| alike(typed, paths.into_iter());
        assert_eq!(alike("Shop"), ["web/shop", "web/shopping"]);
        assert_eq!(alike("mail/wrok"), ["mail/work"]);
        assert_eq!(alike("web"), ["web/shop", "web/shopping"]);
        // One letter of the folder is wrong.
        let paths = ["Private/shop", "Work/shop", "web/shop 38", "web/shop"];
        let near = super::alike("webb/shop", paths.into_iter());
        assert_eq!(near, ["web/shop", "Work/shop", "web/shop 38"]);
        assert_eq!(alike("something else"), [""; 0]);
    }
}
