//! `passmate-server config`: what is in force, and a file to begin with.

use serde_json::{Map, json};

use super::{App, Failure};
use crate::config::{Sources, example};

/// See the settings, or a file with all of them
#[derive(Debug, clap::Subcommand)]
pub(super) enum Configs {
    /// Show every setting as `serve` with the same options would have it
    Show {
        /// Where each was written: flag, variable, file, or default
        #[arg(long)]
        origin: bool,
    },
    /// Print a configuration file with every setting, commented out, with its default and meaning
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
