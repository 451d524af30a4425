use passmate_core::problem::Problem;
use passmate_core::settings::{default_vault, profiles};
use serde_json::json;

use crate::app::App;

/// List the vaults of this user: the default one, and the profiles
///
/// `passmate --profile NAME init` makes one more; of one whose vault is missing it says so. Needs
/// no passphrase.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {}

pub(crate) fn run(app: &App, _: &Args) -> Result<(), Problem> {
    let default = default_vault()?;
    let default = default.is_file().then_some(default);
    let profiles = profiles()?;
    if app.out.json {
        let profiles = profiles.iter().map(|(name, path)| {
            json!({
                "profile": name,
                "vault": path.to_string_lossy(),
                "exists": path.is_file(),
            })
        });
        return app.out.object(json!({
            "default": default.map(|path| path.to_string_lossy().into_owned()),
            "profiles": profiles.collect::<Vec<_>>(),
        }));
    }
    if let Some(path) = default {
        app.out.line(&format!("(default)  {}", path.display()))?;
    }
    profiles.iter().try_for_each(|(name, path)| {
        let missing = if path.is_file() { "" } else { " (missing)" };
        let path = path.display();
        app.out.line(&format!("{name}  {path}{missing}"))
    })
}
