use passmate_core::problem::Problem;
use passmate_core::settings::{default_vault, profiles};
use serde_json::json;

use crate::app::App;

/// List the vaults of this user: the default one, and the profiles
///
/// Lists what has a vault; `passmate --profile NAME init` makes one more. Needs no passphrase.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {}

pub(crate) fn run(app: &App, _: &Args) -> Result<(), Problem> {
    let default = default_vault()?;
    let default = default.is_file().then_some(default);
    let profiles = profiles()?;
    if app.out.json {
        let profiles = profiles
            .iter()
            .map(|(name, path)| json!({ "profile": name, "vault": path.to_string_lossy() }));
        return app.out.object(json!({
            "default": default.map(|path| path.to_string_lossy().into_owned()),
            "profiles": profiles.collect::<Vec<_>>(),
        }));
    }
    if let Some(path) = default {
        app.out.line(&format!("(default)  {}", path.display()))?;
    }
    profiles
        .iter()
        .try_for_each(|(name, path)| app.out.line(&format!("{name}  {}", path.display())))
}
