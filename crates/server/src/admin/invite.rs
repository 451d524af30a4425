//! `passmate-server invite`: who may create an account while `--registration` is `invite`.

use std::time::Duration;

use passmate_proto::RequestCode;
use serde_json::json;

use super::{App, Failure, parse_note};
use crate::clock::{now, utc};
use crate::config::{Registration, parse_duration};
use crate::exit::{Code, warn};
use crate::store::{AuthHash, Invite, Opening};
use crate::text::printable;

/// How long an invite is valid, in seconds.
const CODE_TIME: i64 = 7 * 24 * 3600;
/// How long seats may be open.
const OPEN_TIME_MAX: Duration = Duration::from_secs(30 * 24 * 3600);

/// Manage invites, for a server with `--registration invite`
#[derive(Debug, clap::Subcommand)]
pub(super) enum Invites {
    /// Let one device create an account within 7 days
    ///
    /// The owner of the device runs `passmate sync setup HOST --request` and sends you the code.
    /// The code is not a secret, but make sure that it comes from that person. The note is deleted
    /// when the code is used or expires.
    Add {
        /// The code, as `passmate sync setup HOST --request` prints it; case and spaces do not
        /// matter
        #[arg(num_args = 1.., required = true)]
        code: Vec<String>,
        /// A note for yourself, such as the owner of the device
        #[arg(long, value_name = "TEXT", default_value = "", value_parser = parse_note)]
        note: String,
    },
    /// Let anyone create an account for a limited time
    Open {
        /// The number of accounts
        #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
        seats: u32,
        /// The time, such as 24h; at most 720h
        #[arg(long = "for", value_name = "TIME", value_parser = parse_open_time)]
        time: Duration,
    },
    /// List unused codes and open seats
    List,
    /// Revoke a code, or all open seats
    Revoke {
        /// The code, or `open` for all open seats
        #[arg(num_args = 1.., required = true)]
        code: Vec<String>,
    },
}

pub(super) fn run(app: &App, command: &Invites) -> Result<(), Failure> {
    match command {
        Invites::Add { code, note } => add(app, parse_code(code)?, note),
        Invites::Open { seats, time } => open(app, *seats, *time),
        Invites::List => list(app),
        Invites::Revoke { code } if code.len() == 1 && code.iter().all(|word| word == "open") => {
            revoke_open(app)
        }
        Invites::Revoke { code } => revoke(app, parse_code(code)?),
    }
}

fn add(app: &App, code: RequestCode, note: &str) -> Result<(), Failure> {
    let made_at = now();
    let expires_at = made_at.saturating_add(CODE_TIME);
    let invite = Invite {
        auth: AuthHash::of_code(&code),
        note: note.to_owned(),
        made_at,
        expires_at,
    };
    app.operator()?.invite(&invite)?;
    warn_if_ignored(app);
    let text = format!(
        "the device with this code may create one account until {}\n",
        utc(expires_at)
    );
    app.answer(
        &text,
        json!({ "code": code.to_string(), "expires": expires_at }),
    )
}

fn open(app: &App, seats: u32, time: Duration) -> Result<(), Failure> {
    let made_at = now();
    let expires_at = made_at.saturating_add(i64::try_from(time.as_secs()).unwrap_or(i64::MAX));
    app.operator()?.open_seats(Opening {
        seats,
        made_at,
        expires_at,
    })?;
    warn_if_ignored(app);
    let text = format!(
        "anyone may create {} until {}\n",
        accounts(seats),
        utc(expires_at)
    );
    app.answer(&text, json!({ "seats": seats, "expires": expires_at }))
}

fn list(app: &App) -> Result<(), Failure> {
    let (invites, openings) = app.inspector()?.invites(now())?;
    let mut text = String::new();
    for Opening {
        seats, expires_at, ..
    } in &openings
    {
        text.push_str(&format!(
            "open: {} until {}\n",
            accounts(*seats),
            utc(*expires_at)
        ));
    }
    for invite in &invites {
        let blank = if invite.note.is_empty() { "" } else { "  " };
        text.push_str(&format!(
            "{}  until {}{blank}{}\n",
            invite.auth.code(),
            utc(invite.expires_at),
            printable(&invite.note)
        ));
    }
    let object = json!({
        "invites": invites.iter().map(|invite| json!({
            "code": invite.auth.code().to_string(),
            "note": invite.note,
            "made": invite.made_at,
            "expires": invite.expires_at,
        })).collect::<Vec<_>>(),
        "openings": openings.iter().map(|opening| json!({
            "seats": opening.seats,
            "made": opening.made_at,
            "expires": opening.expires_at,
        })).collect::<Vec<_>>(),
    });
    app.answer(&text, object)
}

fn revoke(app: &App, code: RequestCode) -> Result<(), Failure> {
    if !app.operator()?.revoke_invite(&AuthHash::of_code(&code))? {
        return Err(Failure::new(
            Code::NotFound,
            "there is no such invite",
            "it was used, has expired, or never existed: `passmate-server invite list` lists the \
             invites",
        ));
    }
    app.answer("the code is revoked\n", json!({ "code": code.to_string() }))
}

fn revoke_open(app: &App) -> Result<(), Failure> {
    let seats = app.operator()?.revoke_openings()?;
    app.answer(
        &format!("{seats} open seats are revoked\n"),
        json!({ "seats": seats }),
    )
}

fn accounts(seats: u32) -> String {
    if seats == 1 {
        "1 account".to_owned()
    } else {
        format!("{seats} accounts")
    }
}

/// Warns if the configuration ignores invites. The flags of a running server are not known here.
fn warn_if_ignored(app: &App) {
    if app.config.registration == Registration::Closed {
        warn(&"`registration` is `closed` in this configuration, so no one can use the invite");
    }
}

/// Joins the words of a code that was typed with spaces.
fn parse_code(words: &[String]) -> Result<RequestCode, Failure> {
    words.concat().parse().map_err(|error| {
        Failure::new(
            Code::Usage,
            error,
            "ask for it again: `passmate sync setup HOST --request` prints the same code",
        )
    })
}

fn parse_open_time(text: &str) -> Result<Duration, String> {
    let time = parse_duration(text).map_err(|error| error.to_string())?;
    if time < Duration::from_secs(60) || time > OPEN_TIME_MAX {
        return Err("is out of range: at least 1m, at most 720h".to_owned());
    }
    Ok(time)
}
