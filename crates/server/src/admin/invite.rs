//! `passmate-server invite`: who may make an account where `--registration` is `invite`.

use std::time::Duration;

use passmate_proto::RequestCode;
use serde_json::json;

use super::{App, Failure};
use crate::clock::{now, utc};
use crate::config::{Registration, parse_duration};
use crate::exit::Code;
use crate::store::{AuthHash, Invite, Opening};

/// How long a code lets its device in.
const CODE_TIME: i64 = 7 * 24 * 3600;
/// Characters of a note.
const NOTE_LEN_MAX: usize = 200;
/// The longest time for open seats.
const OPEN_TIME_MAX: Duration = Duration::from_secs(30 * 24 * 3600);

/// Let people in one by one, where `serve` has `--registration invite`
#[derive(Debug, clap::Subcommand)]
pub(super) enum Invites {
    /// Let one device make an account, within 7 days
    ///
    /// The device's owner gets the code with `passmate sync setup HOST --request` and sends it to
    /// you. It opens nothing: you need not keep it secret, but be sure that it is theirs. The note
    /// is kept until the code is used or its time is over, and not longer.
    Add {
        /// The code, as `passmate sync setup HOST --request` prints it; lower case and blanks will
        /// do
        #[arg(num_args = 1.., required = true)]
        code: Vec<String>,
        /// Whose device it is, for yourself
        #[arg(long, value_name = "TEXT", default_value = "", value_parser = parse_note)]
        note: String,
    },
    /// Let whoever comes make an account for a while
    Open {
        /// How many accounts
        #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
        seats: u32,
        /// How long, such as 24h; at most 720h
        #[arg(long = "for", value_name = "TIME", value_parser = parse_open_time)]
        time: Duration,
    },
    /// Show the codes and open seats that nobody has used yet
    List,
    /// Take back a code, or all open seats
    Revoke {
        /// The code, or the word `open` for all open seats
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
    app.store()?.invite(&invite)?;
    warn_if_not_asked(app);
    let text = format!(
        "the device with this code may make one account until {}\n",
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
    app.store()?.open_seats(Opening {
        seats,
        made_at,
        expires_at,
    })?;
    warn_if_not_asked(app);
    let text = format!(
        "whoever comes first may make {} until {}\n",
        accounts(seats),
        utc(expires_at)
    );
    app.answer(&text, json!({ "seats": seats, "expires": expires_at }))
}

fn list(app: &App) -> Result<(), Failure> {
    let (invites, openings) = app.store()?.invites(now())?;
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
            invite.note
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
    if !app.store()?.revoke_invite(&AuthHash::of_code(&code))? {
        return Err(Failure::new(
            Code::NotFound,
            "there is no such invite",
            "it was used, its time is over, or it was never there: `passmate-server invite list` shows what there is",
        ));
    }
    app.answer(
        "the code lets nobody in any more\n",
        json!({ "code": code.to_string() }),
    )
}

fn revoke_open(app: &App) -> Result<(), Failure> {
    let seats = app.store()?.revoke_openings()?;
    app.answer(
        &format!("{seats} open seats taken back\n"),
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

/// An invite that the server does not look at helps nobody. A flag of the server cannot be seen
/// from here.
fn warn_if_not_asked(app: &App) {
    if app.config.registration == Registration::Closed {
        eprintln!(
            "passmate-server: warning: `registration` is `closed` in this configuration: nobody is let in"
        );
    }
}

/// The words of a code that was typed with blanks.
fn parse_code(words: &[String]) -> Result<RequestCode, Failure> {
    words.concat().parse().map_err(|error| {
        Failure::new(
            Code::Usage,
            error,
            "have it sent again: `passmate sync setup HOST --request` shows the same code",
        )
    })
}

fn parse_note(text: &str) -> Result<String, String> {
    if text.chars().count() > NOTE_LEN_MAX {
        return Err(format!("a note has at most {NOTE_LEN_MAX} characters"));
    }
    if text.chars().any(char::is_control) {
        return Err("a note is one line without control characters".to_owned());
    }
    Ok(text.to_owned())
}

fn parse_open_time(text: &str) -> Result<Duration, String> {
    let time = parse_duration(text).map_err(|error| error.to_string())?;
    if time < Duration::from_secs(60) || time > OPEN_TIME_MAX {
        return Err("is out of range: at least 1m, at most 720h".to_owned());
    }
    Ok(time)
}
