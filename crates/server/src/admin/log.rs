//! `passmate-server log`: what operators did, with the account numbers that no other log has.

use serde_json::json;

use super::{App, Failure};
use crate::clock::{now, utc};
use crate::config::parse_moment;
use crate::store::Audited;
use crate::text::printable;

/// Show what operators did: when, who, which command, which account
///
/// The store keeps this for a year, at most 10,000 actions. The log of the server has the same
/// without account numbers.
#[derive(Debug, clap::Args)]
pub(super) struct LogArgs {
    /// Only what was done since then: a day (2026-11-24), or a time ago, such as 24h or 7d
    #[arg(long, value_name = "TIME", value_parser = |text: &str| parse_moment(text, now()))]
    since: Option<i64>,
}

pub(super) fn run(app: &App, args: &LogArgs) -> Result<(), Failure> {
    let records = app.inspector()?.audit(args.since.unwrap_or(i64::MIN))?;
    let text: String = records.iter().map(line).collect();
    let objects: Vec<_> = records
        .iter()
        .map(|record| {
            json!({
                "time": record.actor.at,
                "uid": record.actor.uid,
                "user": record.actor.user,
                "sudo_uid": record.actor.sudo_uid,
                "action": record.action,
                "account": record.account.map(|account| account.to_string()),
                "detail": record.detail,
            })
        })
        .collect();
    app.answer(&text, json!({ "actions": objects }))
}

fn line(record: &Audited) -> String {
    let actor = &record.actor;
    let mut line = format!("{}  {}", utc(actor.at), actor.uid);
    if let Some(user) = &actor.user {
        line.push_str(&format!(" ({})", printable(user)));
    }
    if let Some(uid) = actor.sudo_uid {
        line.push_str(&format!(" by sudo of {uid}"));
    }
    line.push_str(&format!("  {}", printable(&record.action)));
    if let Some(account) = record.account {
        line.push_str(&format!("  {account}"));
    }
    if !record.detail.is_empty() {
        line.push_str(&format!("  {}", printable(&record.detail)));
    }
    line.push('\n');
    line
}
