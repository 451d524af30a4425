//! `passmate-server account`: lists and shows accounts, changes, deletes and prunes them.

use std::cmp::Reverse;
use std::io::{self, BufRead, IsTerminal, Read, Write};

use passmate_proto::AccountNumber;
use serde_json::{Value, json};

use super::{App, Failure, parse_note};
use crate::clock::{DAY, now, utc, utc_day};
use crate::config::{parse_duration, parse_limit};
use crate::exit::{Code, warn};
use crate::health::show_bytes;
use crate::store::{Access, Account, Unused};
use crate::text::printable;

/// The most bytes that are read as a confirmation.
const TYPED_LEN_MAX: u64 = 100;

/// List accounts; disable, enable, limit, annotate, prune or delete them
#[derive(Debug, clap::Subcommand)]
pub(super) enum Accounts {
    /// List accounts: number, size, created, last change, last sync, limit, state, note
    List(ListArgs),
    /// Show one account
    Show {
        /// The account number, 16 hex digits
        account: AccountNumber,
    },
    /// Disable an account: its devices are refused like those with a wrong key, and its data stays
    Disable {
        /// The account number, 16 hex digits
        account: AccountNumber,
    },
    /// Enable a disabled account
    Enable {
        /// The account number, 16 hex digits
        account: AccountNumber,
    },
    /// Give an account a note for yourself, such as the name of its owner
    Note {
        /// The account number, 16 hex digits
        account: AccountNumber,
        /// The note, one line; an empty one removes the note
        #[arg(value_parser = parse_note)]
        text: String,
    },
    /// Limit the size of an account's btoken; an account that is larger already may not grow
    Limit {
        /// The account number, 16 hex digits
        account: AccountNumber,
        /// The limit, such as 512KiB; `none` for the settings of the server alone
        #[arg(value_parser = parse_limit_word)]
        bytes: AccountLimit,
    },
    /// Delete an account with its btoken; its devices keep their vaults
    Delete {
        /// The account number, 16 hex digits
        account: AccountNumber,
        /// Do not ask for confirmation
        #[arg(long)]
        yes: bool,
    },
    /// Delete accounts that nobody uses: never updated after their first day, and not synced since
    ///
    /// Accounts that are disabled or have a note stay. The store must have known for that long which
    /// accounts are synced.
    Prune {
        /// How long an account was not used, such as 90d; at least 1d
        #[arg(long, value_name = "TIME", value_parser = parse_age)]
        older_than: i64,
        /// Only show how many there are
        #[arg(long)]
        dry_run: bool,
        /// Do not ask for confirmation
        #[arg(long)]
        yes: bool,
    },
    /// Set times that are later than now to now: the clock was wrong when they were stored
    CorrectTimes,
}

#[derive(Debug, clap::Args)]
pub(super) struct ListArgs {
    /// Sort by this; the largest or the latest comes first
    #[arg(long, value_enum, default_value_t = Sort::Number)]
    sort: Sort,
    /// Only disabled accounts
    #[arg(long)]
    disabled: bool,
    /// Only accounts that were created longer ago than this, such as 90d
    #[arg(long, value_name = "TIME", value_parser = parse_seconds)]
    older_than: Option<i64>,
    /// Only accounts that were not updated after their first day
    #[arg(long)]
    never_updated: bool,
    /// Only accounts whose note contains this, in any case
    #[arg(long, value_name = "TEXT")]
    note: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Sort {
    Number,
    Created,
    Changed,
    Synced,
    Size,
}

/// A limit as it is typed.
#[derive(Debug, Clone, Copy)]
pub(super) struct AccountLimit(Option<u32>);

pub(super) fn run(app: &App, command: &Accounts) -> Result<(), Failure> {
    match command {
        Accounts::List(args) => list(app, args),
        Accounts::Show { account } => show(app, *account),
        Accounts::Disable { account } => set_access(app, *account, Access::Disabled),
        Accounts::Enable { account } => set_access(app, *account, Access::Enabled),
        Accounts::Note { account, text } => set_note(app, *account, text),
        Accounts::Limit { account, bytes } => set_limit(app, *account, bytes.0),
        Accounts::Delete { account, yes } => delete(app, *account, *yes),
        Accounts::Prune {
            older_than,
            dry_run: true,
            ..
        } => show_unused(app, *older_than),
        Accounts::Prune {
            older_than, yes, ..
        } => prune(app, *older_than, *yes),
        Accounts::CorrectTimes => correct_times(app),
    }
}

fn list(app: &App, args: &ListArgs) -> Result<(), Failure> {
    let mut accounts = app.inspector()?.accounts()?;
    let created_before = args.older_than.map(|age| now().saturating_sub(age));
    let note = args.note.as_ref().map(|note| note.to_lowercase());
    accounts.retain(|account| {
        (!args.disabled || account.is_disabled)
            && created_before.is_none_or(|before| account.created_at < before)
            && !(args.never_updated && account.is_updated())
            && note
                .as_ref()
                .is_none_or(|note| account.note.to_lowercase().contains(note))
    });
    match args.sort {
        Sort::Number => {}
        Sort::Created => accounts.sort_by_key(|account| Reverse(account.created_at)),
        Sort::Changed => accounts.sort_by_key(|account| Reverse(account.changed_at)),
        Sort::Synced => accounts.sort_by_key(|account| Reverse(account.synced_at)),
        Sort::Size => accounts.sort_by_key(|account| Reverse(account.btoken_len)),
    }
    let text: String = accounts.iter().map(line).collect();
    let bytes: u64 = accounts.iter().map(|account| account.btoken_len).sum();
    let objects: Vec<Value> = accounts.iter().map(object).collect();
    app.answer(&text, json!({ "accounts": objects, "size": bytes }))
}

fn show(app: &App, number: AccountNumber) -> Result<(), Failure> {
    let account = app.inspector()?.account(number)?.ok_or_else(none)?;
    let Account {
        number,
        btoken_len,
        created_at,
        changed_at,
        synced_at,
        is_disabled,
        limit,
        note,
    } = &account;
    let state = if *is_disabled { "disabled" } else { "in use" };
    let synced = synced_at.map_or_else(|| "unknown".to_owned(), utc_day);
    let limit = limit.map_or_else(|| "none".to_owned(), |limit| format!("{limit} bytes"));
    let text = format!(
        "account: {number}\nsize: {btoken_len} bytes\ncreated: {}\nlast change: {}\nlast sync: \
         {synced}\nlimit: {limit}\nstate: {state}\nnote: {}\n",
        utc(*created_at),
        utc(*changed_at),
        printable(note)
    );
    app.answer(&text, object(&account))
}

fn set_access(app: &App, number: AccountNumber, access: Access) -> Result<(), Failure> {
    if !app.operator()?.set_access(number, access)? {
        return Err(none());
    }
    let is_disabled = access == Access::Disabled;
    let text = if is_disabled { "disabled" } else { "enabled" };
    app.answer(
        &format!("{number} is {text}\n"),
        json!({ "account": number.to_string(), "disabled": is_disabled }),
    )
}

fn set_note(app: &App, number: AccountNumber, note: &str) -> Result<(), Failure> {
    if !app.operator()?.set_note(number, note)? {
        return Err(none());
    }
    let text = if note.is_empty() {
        format!("{number} has no note\n")
    } else {
        format!("{number} has the note {}\n", printable(note))
    };
    app.answer(
        &text,
        json!({ "account": number.to_string(), "note": note }),
    )
}

fn set_limit(app: &App, number: AccountNumber, limit: Option<u32>) -> Result<(), Failure> {
    let mut store = app.operator()?;
    if !store.set_limit(number, limit)? {
        return Err(none());
    }
    let btoken_len_max = app.config.limits.btoken_len_max;
    if limit.is_some_and(|limit| limit > btoken_len_max) {
        warn(&format_args!(
            "--btoken-max is {btoken_len_max} bytes in this configuration, which no account may \
             exceed"
        ));
    }
    let len = store
        .look()
        .account(number)?
        .map_or(0, |account| account.btoken_len);
    let mut text = match limit {
        None => format!("{number} has no limit of its own\n"),
        Some(limit) => format!("{number} may store {limit} bytes\n"),
    };
    if limit.is_some_and(|limit| len > u64::from(limit)) {
        text.push_str(&format!(
            "it stores {len} bytes now, and may not grow until it is below the limit\n"
        ));
    }
    app.answer(
        &text,
        json!({ "account": number.to_string(), "limit": limit, "size": len }),
    )
}

fn delete(app: &App, number: AccountNumber, yes: bool) -> Result<(), Failure> {
    let mut store = app.operator()?;
    let account = store.look().account(number)?.ok_or_else(none)?;
    if !yes {
        confirm(
            &format!(
                "{} bytes, last changed {}. Type the account's number again to delete it: ",
                account.btoken_len,
                utc(account.changed_at)
            ),
            |typed| typed.parse() == Ok(account.number),
        )?;
    }
    if !store.delete_account(number)? {
        return Err(none());
    }
    app.answer(
        &format!("{number} is deleted\n"),
        json!({ "account": number.to_string() }),
    )
}

fn show_unused(app: &App, age: i64) -> Result<(), Failure> {
    let before = now().saturating_sub(age);
    let unused = app.inspector()?.unused(before)?;
    let text = format!("{}, and nothing was deleted\n", describe(&unused, before));
    app.answer(&text, unused_object(&unused, before))
}

fn prune(app: &App, age: i64, yes: bool) -> Result<(), Failure> {
    let before = now().saturating_sub(age);
    let mut store = app.operator()?;
    let unused = store.look().unused(before)?;
    if unused.sum.accounts == 0 {
        let text = format!("{}\n", describe(&unused, before));
        return app.answer(&text, unused_object(&unused, before));
    }
    if !yes {
        let accounts = unused.sum.accounts.to_string();
        confirm(
            &format!(
                "{}. Type their number, {accounts}, to delete them: ",
                describe(&unused, before)
            ),
            |typed| typed == accounts,
        )?;
    }
    let sum = store.prune(before)?;
    let text = format!(
        "{} accounts with {} bytes are deleted\n",
        sum.accounts, sum.btoken_bytes
    );
    app.answer(&text, unused_object(&Unused { sum, ..unused }, before))
}

fn describe(unused: &Unused, before: i64) -> String {
    let Unused { sum, known_since } = unused;
    let mut text = format!(
        "{} accounts with {} ({} bytes) were not used since {}",
        sum.accounts,
        show_bytes(sum.btoken_bytes),
        sum.btoken_bytes,
        utc(before)
    );
    if *known_since > before {
        text.push_str(&format!(
            "; but this store knows only since {} which accounts are synced, so none counts as \
             unused for longer",
            utc(*known_since)
        ));
    }
    text
}

fn unused_object(unused: &Unused, before: i64) -> Value {
    json!({
        "accounts": unused.sum.accounts,
        "size": unused.sum.btoken_bytes,
        "before": before,
        "syncs_known_since": unused.known_since,
    })
}

fn correct_times(app: &App) -> Result<(), Failure> {
    let count = app.operator()?.correct_times()?;
    app.answer(
        &format!("the times of {count} accounts are corrected\n"),
        json!({ "accounts": count }),
    )
}

/// Asks before a deletion, because only a backup can undo it.
fn confirm(question: &str, is_yes: impl Fn(&str) -> bool) -> Result<(), Failure> {
    let cancelled = |message: &str, hint: &str| Err(Failure::new(Code::Cancelled, message, hint));
    if !io::stdin().is_terminal() {
        return cancelled(
            "standard input is not a terminal, so nobody can confirm the deletion",
            "nothing was deleted; give --yes to delete without a confirmation",
        );
    }
    let mut out = io::stderr().lock();
    out.write_all(question.as_bytes())?;
    out.flush()?;
    let mut typed = String::new();
    let read = io::stdin().lock().take(TYPED_LEN_MAX).read_line(&mut typed);
    if read.is_ok() && is_yes(typed.trim()) {
        return Ok(());
    }
    // The end of the input leaves the question on its line.
    if !typed.ends_with('\n') {
        out.write_all(b"\n")?;
    }
    cancelled("cancelled", "nothing was deleted")
}

fn line(account: &Account) -> String {
    let Account {
        number,
        btoken_len,
        created_at,
        changed_at,
        synced_at,
        is_disabled,
        limit,
        note,
    } = account;
    let (created, changed) = (utc(*created_at), utc(*changed_at));
    let synced = synced_at.map_or_else(|| "-".to_owned(), utc_day);
    let mut line = format!(
        "{number}  {btoken_len:>9} bytes  created {created}  changed {changed}  synced {synced}"
    );
    if let Some(limit) = limit {
        line.push_str(&format!("  limit {limit}"));
    }
    if *is_disabled {
        line.push_str("  disabled");
    }
    if !note.is_empty() {
        line.push_str(&format!("  note {}", printable(note)));
    }
    line.push('\n');
    line
}

fn object(account: &Account) -> Value {
    json!({
        "account": account.number.to_string(),
        "size": account.btoken_len,
        "created": account.created_at,
        "changed": account.changed_at,
        "synced": account.synced_at,
        "updated": account.is_updated(),
        "disabled": account.is_disabled,
        "limit": account.limit,
        "note": account.note,
    })
}

fn none() -> Failure {
    Failure::new(
        Code::NotFound,
        "there is no such account",
        "`passmate-server account list` lists the accounts",
    )
}

fn parse_limit_word(text: &str) -> Result<AccountLimit, String> {
    parse_limit(text)
        .map(AccountLimit)
        .map_err(|error| error.to_string())
}

fn parse_seconds(text: &str) -> Result<i64, String> {
    let time = parse_duration(text).map_err(|error| error.to_string())?;
    Ok(i64::try_from(time.as_secs()).unwrap_or(i64::MAX))
}

/// Reads a time that is longer than the first day of an account.
fn parse_age(text: &str) -> Result<i64, String> {
    let age = parse_seconds(text)?;
    if age < DAY {
        return Err("is out of range: at least 1d".to_owned());
    }
    Ok(age)
}
