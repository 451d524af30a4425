//! The way of every command that changes records: one call, which syncs if the settings say so.

use passmate_core::api::{Changed, VaultApi};
use passmate_core::edit::Edit;
use passmate_core::problem::Problem;

use crate::app::App;
use crate::report::after_change;

/// Changes records, and says what was done.
pub(crate) fn change(
    app: &App,
    vault: &mut dyn VaultApi,
    edit: &Edit,
    done: &str,
) -> Result<(), Problem> {
    let changed = change_quietly(app, vault, edit)?;
    if !app.out.json {
        app.out.note(done);
    }
    after_change(app, &changed);
    app.done()
}

/// Changes records; telling of it, and of the sync after it, is up to the caller.
pub(crate) fn change_quietly(
    app: &App,
    vault: &mut dyn VaultApi,
    edit: &Edit,
) -> Result<Changed, Problem> {
    app.with_consent(|consent| vault.change(edit, consent))
}
