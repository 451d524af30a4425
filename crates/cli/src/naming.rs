//! Which record a person means. The rule is in [`Need::OtherPath`]: only a person who sees it gets
//! another record than the one whose path they typed. Commands that delete take whole paths alone.

use passmate_core::answer::{Halt, Need, Reply};
use passmate_core::api::VaultApi;
use passmate_core::escape::{escape, escape_path};
use passmate_core::problem::Problem;

use crate::app::App;
use crate::picker::{Pick, pick};
use crate::report::plain;

/// How many records a query finds.
const FOUND_MAX: usize = 50;

/// Makes a call that reads a record. Whoever typed a part of its path gets the one that ends with
/// it, or picks one.
pub(crate) fn with_record<T>(
    app: &App,
    vault: &mut dyn VaultApi,
    path: &str,
    mut call: impl FnMut(&mut dyn VaultApi, &str) -> Reply<T>,
) -> Result<T, Problem> {
    let need = match call(vault, path) {
        Err(Halt::Needs(need @ Need::OtherPath { .. })) if can_pick(app) => need,
        reply => return plain(reply),
    };
    let picked = match candidates_of(&need) {
        [only] => only.clone(),
        candidates => {
            let mut search = |query: &str| search(vault, query);
            let first = match candidates {
                [] => search(path)?,
                several => several.to_vec(),
            };
            if first.is_empty() {
                return Err(need.into());
            }
            let pick_record = Pick {
                prompt: "record: ",
                query: path,
                first,
                search: &mut search,
            };
            pick(app, pick_record)?
        }
    };
    app.out.note(&format!("this is {}", escape(&picked)));
    plain(call(vault, &escape_path(&picked)))
}

/// The path of a record that is about to be changed, or made if it is new. Whoever typed a part of
/// the path of another one says which of the two they mean.
pub(crate) fn path_to_change(
    app: &App,
    vault: &mut dyn VaultApi,
    path: &str,
) -> Result<String, Problem> {
    if !can_pick(app) {
        return Ok(path.to_owned());
    }
    let need = match vault.record(path) {
        Err(Halt::Needs(need @ Need::OtherPath { .. })) => need,
        _ => return Ok(path.to_owned()),
    };
    let candidates = candidates_of(&need);
    if candidates.is_empty() {
        return Ok(path.to_owned());
    }
    let new = format!("(make a new record {path})");
    let mut first = candidates.to_vec();
    first.push(new.clone());
    let mut search = |query: &str| {
        let mut found = search(vault, query)?;
        found.push(new.clone());
        Ok(found)
    };
    let pick_record = Pick {
        prompt: "record: ",
        query: path,
        first,
        search: &mut search,
    };
    let picked = pick(app, pick_record)?;
    if picked == new {
        return Ok(path.to_owned());
    }
    app.out.note(&format!("this is {}", escape(&picked)));
    Ok(escape_path(&picked))
}

/// Whether there is a person who sees which record is taken, and a terminal on which they can pick.
fn can_pick(app: &App) -> bool {
    app.ask.has_person() && app.out.is_watched() && is_movable()
}

/// Whether the terminal knows how to move its cursor.
pub(crate) fn is_movable() -> bool {
    std::env::var_os("TERM").is_some_and(|term| !term.is_empty() && term != "dumb")
}

fn candidates_of(need: &Need) -> &[String] {
    match need {
        Need::OtherPath { candidates, .. } => candidates,
        _ => &[],
    }
}

fn search(vault: &mut dyn VaultApi, query: &str) -> Result<Vec<String>, Problem> {
    let found = plain(vault.search(query, FOUND_MAX))?;
    Ok(found.into_iter().map(|found| found.path).collect())
}
