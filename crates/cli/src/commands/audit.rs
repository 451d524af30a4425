use std::path::PathBuf;

use jiff::{ToSpan, Zoned};
use passmate_core::audit::{Audit, AuditRules, Finding, FindingKind};
use passmate_core::clock::local_time;
use passmate_core::escape::escape;
use passmate_core::problem::{Problem, ProblemKind};
use serde_json::{Map, Value, json};

use crate::app::App;
use crate::commands::sync::parse_since;
use crate::meter::Meter;
use crate::output::{NAME, NOTICE};
use crate::report::plain;

/// Find weak, reused, breached, old and expired passwords
///
/// Finds addresses without encryption too. Lists the worst first, and ends with exit code 30 if
/// there is anything. No part of a password is shown, and without --online nothing goes over a
/// network.
///
/// With --breached, passwords are looked up in a list of lines HASH:COUNT that is sorted by the
/// SHA-1 hashes, as Have I Been Pwned's downloader writes it. It is searched where it is.
///
/// With --online, the service of Have I Been Pwned is asked, or the one that the setting
/// audit.breach-url names. It gets the first 5 of the 40 hexadecimal digits of the SHA-1 hash of each
/// password, and sees your network address. Hundreds of breached passwords begin with the same 5
/// digits; it cannot tell whether yours is one of them.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Look passwords up in this list of breached ones
    #[arg(long, value_name = "FILE")]
    breached: Option<PathBuf>,
    /// Ask a service about breached passwords; 5 digits of the hash of each leave this machine
    #[arg(long, conflicts_with = "offline")]
    online: bool,
    /// Passwords are old that were set before a date (2026-01-31), or 1y, 6mo or 90d ago [default:
    /// 5y]
    #[arg(long, value_name = "TIME", value_parser = parse_since)]
    older_than: Option<i64>,
}

/// After so many years a password is old, unless the person says otherwise.
const OLD_YEARS: i64 = 5;

/// How many places of one finding are shown.
const PLACES_SHOWN: usize = 10;

pub(crate) fn run(app: &App, args: &Args) -> Result<(), Problem> {
    let rules = AuditRules {
        old_before: args.older_than.or_else(|| usual_rules().old_before),
        breached: args.breached.clone(),
        online: args.online.then(|| app.breach_url.clone()),
    };
    let mut vault = app.open()?;
    let meter = Meter::start(&app.out, "judging the passwords");
    let found = plain(vault.audit(&rules));
    drop(meter);
    let found = found?;
    if app.out.json {
        let findings: Vec<_> = found.findings.iter().map(object).collect();
        app.out.object(json!({
            "records": found.records,
            "passwords": found.passwords,
            "findings": findings,
        }))?;
    } else {
        let mut findings = found.findings.iter();
        findings.try_for_each(|finding| print(app, finding))?;
    }
    end(app, &found)
}

/// What is looked for if the person says nothing.
pub(crate) fn usual_rules() -> AuditRules {
    let before = Zoned::now().checked_sub(OLD_YEARS.years()).ok();
    AuditRules {
        old_before: before.map(|before| before.timestamp().as_second()),
        breached: None,
        online: None,
    }
}

/// A number of things, for people.
pub(crate) fn count(count: usize, what: &str) -> String {
    match count {
        1 => format!("1 {what}"),
        count => format!("{count} {what}s"),
    }
}

fn end(app: &App, found: &Audit) -> Result<(), Problem> {
    let looked_at = format!(
        "{} of {}",
        count(found.passwords, "password"),
        count(found.records, "record")
    );
    if found.findings.is_empty() {
        app.out.note(&format!("nothing was found in {looked_at}"));
        return Ok(());
    }
    let findings = count(found.findings.len(), "finding");
    Err(Problem::new(
        ProblemKind::Findings,
        format!("{findings} in {looked_at}"),
        "begin at the top: `passmate gen PATH` makes a new password and stores it, and the site \
         must get it too",
    ))
}

/// What is wrong, in words that are safe to show.
pub(crate) fn why(kind: &FindingKind) -> String {
    match kind {
        FindingKind::Breached { count } => format!("the password stood in {count} breaches"),
        FindingKind::Reused => "they have the same password".to_owned(),
        FindingKind::Weak { guesses: 0 } => "the first guess finds it".to_owned(),
        FindingKind::Weak { guesses } => format!("10^{guesses} guesses find it"),
        FindingKind::Expired { since } => format!("ended {}", local_time(*since)),
        FindingKind::NoTls { scheme, host } => {
            format!("{scheme}://{} is not encrypted", escape(host))
        }
        FindingKind::ReusedEarlier { other } => {
            format!("{} had this password before", escape(other))
        }
        FindingKind::Old { since } => format!("set {}", local_time(*since)),
    }
}

fn print(app: &App, Finding { kind, places }: &Finding) -> Result<(), Problem> {
    let word = app.out.styled(NOTICE, &format!("{:<15}", kind.name()));
    let why = why(kind);
    let mut named: Vec<_> = places
        .iter()
        .take(PLACES_SHOWN)
        .map(|place| {
            let path = app.out.styled(NAME, &escape(&place.path));
            format!("{path} {}", escape(&place.field))
        })
        .collect();
    if let Some(more @ 1..) = places.len().checked_sub(PLACES_SHOWN) {
        named.push(format!("{more} more (--json names all)"));
    }
    app.out
        .styled_sentence(&format!("{word} {}: {why}", named.join(", ")))
}

fn object(Finding { kind, places }: &Finding) -> Value {
    let places: Vec<_> = places
        .iter()
        .map(|place| json!({ "path": place.path, "field": place.field }))
        .collect();
    let mut object = Map::new();
    object.insert("kind".to_owned(), kind.name().into());
    object.insert("places".to_owned(), places.into());
    let (name, value) = match kind {
        FindingKind::Breached { count } => ("count", json!(count)),
        FindingKind::Reused => return object.into(),
        FindingKind::Weak { guesses } => ("guesses_log10", json!(guesses)),
        FindingKind::Expired { since } | FindingKind::Old { since } => ("since", json!(since)),
        FindingKind::NoTls { scheme, host } => ("address", json!(format!("{scheme}://{host}"))),
        FindingKind::ReusedEarlier { other } => ("other", json!(other)),
    };
    object.insert(name.to_owned(), value);
    object.into()
}
