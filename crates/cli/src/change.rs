//! The way of every command that changes records: one call, which syncs if the settings say so.

use passmate_core::answer::Halt;
use passmate_core::api::VaultApi;
use passmate_core::edit::{Edit, Edited};
use passmate_core::problem::Problem;

use crate::app::App;
use crate::meter::Meter;
use crate::report::after_change;

/// Changes records, and says what was done.
pub(crate) fn change(
    app: &App,
    vault: &mut dyn VaultApi,
    edit: &Edit,
    done: &str,
) -> Result<(), Problem> {
    change_and(app, vault, edit, |_| {
        app.out.note(done);
        app.done()
    })
}

/// What is told if an edit replaced something that would have won until a time in the future.
pub(crate) fn future_text(edited: &Edited) -> Option<String> {
    let what = match edited.from_future {
        0 => return None,
        1 => "a change that was stamped more than a day after the present has".to_owned(),
        count => {
            format!("{count} changes that were stamped more than a day after the present have")
        }
    };
    Some(format!(
        "{what} the present time now, so that this edit wins; if the clock of this device is \
         behind, set it: their times were right"
    ))
}

/// Changes records, and calls `tell` as soon as they are saved. The sync comes after it, because it
/// may take long, or be interrupted.
pub(crate) fn change_and(
    app: &App,
    vault: &mut dyn VaultApi,
    edit: &Edit,
    mut tell: impl FnMut(&Edited) -> Result<(), Problem>,
) -> Result<(), Problem> {
    let mut told = Ok(());
    let changed = app.with_consent(|consent| {
        let mut meter = Meter::start(&app.out, "saving the vault");
        let saving = app.ask.has_person().then(|| app.ask.terminal.save());
        let interrupted = |text: &str| {
            if let Some(saving) = &saving {
                saving.end(|| app.out.warn(text));
            }
        };
        let reply = vault.change(edit, consent, &mut |edited| {
            meter.stop();
            told = tell(edited);
            if let Some(text) = future_text(edited) {
                app.out.warn(&text);
            }
            interrupted("interrupted: the change is saved, and nobody waited for a sync after it");
        });
        meter.stop();
        if let Err(Halt::Needs(_)) = reply {
            interrupted("interrupted: nothing was changed");
        }
        reply
    })?;
    after_change(app, &changed);
    told
}
