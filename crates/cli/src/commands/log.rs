use passmate_core::clock::local_time;
use passmate_core::escape::escape;
use passmate_core::problem::Problem;
use passmate_core::use_log::UseEntry;
use serde_json::json;

use crate::app::App;
use crate::report::plain;

/// Show what the agent handed out, and to which program
///
/// The newest first. The log is a file beside the vault, encrypted, and stays on this device. It has
/// no values. A program that runs as you can delete it.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Show so many entries at most
    #[arg(long, short = 'n', default_value_t = 50)]
    number: usize,
}

pub(crate) fn run(app: &App, args: &Args) -> Result<(), Problem> {
    let log = plain(app.open()?.uses())?;
    let shown: Vec<_> = log.entries.iter().rev().take(args.number).collect();
    if log.unread_len > 0 {
        app.out.warn(&format!(
            "{} bytes of the log cannot be read: they are damaged, or of another vault",
            log.unread_len
        ));
    }
    if app.out.json {
        return app
            .out
            .object(json!({ "uses": shown, "unread": log.unread_len }));
    }
    if shown.is_empty() {
        app.out.note("the agent has handed out nothing yet");
    }
    shown
        .into_iter()
        .try_for_each(|entry| app.out.sentence(&text(entry)))
}

fn text(entry: &UseEntry) -> String {
    let records: Vec<_> = entry.records.iter().map(|path| escape(path)).collect();
    let records = match records.as_slice() {
        [] => String::new(),
        records => format!(" {}", records.join(", ")),
    };
    let refused = if entry.allowed { "" } else { "refused to " };
    let reason = entry.reason.as_deref().map(escape);
    let reason = reason.map_or_else(String::new, |reason| format!("; reason: {reason}"));
    format!(
        "{}  {refused}{}{records}; {}{reason}",
        local_time(entry.time),
        escape(&entry.what),
        escape(&entry.by),
    )
}
