//! `passmate-server config`: the settings in force, and an example file.

use serde_json::{Map, json};

use super::{App, Failure};
use crate::config::{Sources, example};

/// Show the settings, or print an example file
#[derive(Debug, clap::Subcommand)]
pub(super) enum Configs {
    /// Show the settings that `serve` with the same options would use
    Show {
        /// Show where each value comes from: flag, variable, file or default
        #[arg(long)]
        origin: bool,
    },
    /// Print a configuration file with all settings commented out, with defaults and explanations
    PrintExample,
}

pub(super) fn run(app: &App, sources: &Sources, command: &Configs) -> Result<(), Failure> {
    match command {
        Configs::PrintExample => {
            let example = example();
            app.answer(&example, json!({ "example": example }))
        }
        Configs::Show { origin } => {
            let settings = app.config.explain(sources)?;
            let width = settings
                .iter()
                .map(|setting| setting.name.len())
                .max()
                .unwrap_or(0);
            let mut text = String::new();
            let mut object = Map::new();
            for setting in settings {
                let from = setting
                    .origin
                    .as_ref()
                    .map_or_else(|| "default".to_owned(), ToString::to_string);
                let shown = if *origin {
                    format!("   [{from}]")
                } else {
                    String::new()
                };
                text.push_str(&format!(
                    "{:width$}  {}{shown}\n",
                    setting.name, setting.value
                ));
                object.insert(
                    setting.name.to_owned(),
                    json!({ "value": setting.value, "origin": from }),
                );
            }
            app.answer(&text, json!({ "settings": object }))
        }
    }
}
