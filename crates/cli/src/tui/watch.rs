//! Whether the agent still holds the vault. Looking counts as no use of it: an idle vault is locked
//! though a screen shows it.

use std::path::Path;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;
use std::time::Duration;

use passmate_agent::client::Agent;
use passmate_agent::place::AgentPlace;

/// How often the agent is asked.
const EVERY: Duration = Duration::from_secs(2);

/// Tells once when the agent has let the vault go. `None` if it does not hold it.
pub(super) fn watch(vault: &Path) -> Option<Receiver<()>> {
    let place = AgentPlace::of_user()?;
    let vault = vault.canonicalize().ok()?;
    if !is_held(&place, &vault) {
        return None;
    }
    let (locked, is_locked) = sync_channel(1);
    let thread = thread::Builder::new().name("watch".to_owned());
    // Without the thread, the next call tells.
    let _ = thread.spawn(move || wait(&place, &vault, &locked));
    Some(is_locked)
}

/// Lets the agent let a vault go, if one runs.
pub(super) fn lock(vault: &Path) {
    let agent = AgentPlace::of_user().and_then(|place| Agent::connect(&place).ok().flatten());
    if let Some(mut agent) = agent {
        // An agent that does not answer holds nothing for long.
        let _ = agent.lock(Some(vault));
    }
}

fn wait(place: &AgentPlace, vault: &Path, locked: &SyncSender<()>) {
    while is_held(place, vault) {
        thread::sleep(EVERY);
    }
    // Nobody may be there any more.
    let _ = locked.send(());
}

fn is_held(place: &AgentPlace, vault: &Path) -> bool {
    let agent = Agent::connect(place).ok().flatten();
    let status = agent.and_then(|mut agent| agent.status().ok());
    status.is_some_and(|status| status.holds(vault))
}
