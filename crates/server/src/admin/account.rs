//! `passmate-server account`: lists, disables, enables and deletes accounts.

use std::io::{self, BufRead, IsTerminal, Read, Write};

use passmate_proto::AccountNumber;
use serde_json::{Value, json};

use super::{App, Failure};
use crate::clock::utc;
use crate::exit::Code;
use crate::store::{Access, Account};

/// The most bytes that are read as a confirmation.
const TYPED_LEN_MAX: u64 = 100;

/// List accounts; disable, enable or delete one
#[derive(Debug, clap::Subcommand)]
pub(super) enum Accounts {
    /// List all accounts with number, size, time of creation and of the last change
    List,
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
    /// Delete an account with its btoken; its devices keep their vaults
    Delete {
        /// The account number, 16 hex digits
        account: AccountNumber,
        /// Do not ask for confirmation
        #[arg(long)]
        yes: bool,
    },
}

pub(super) fn run(app: &App, command: &Accounts) -> Result<(), Failure> {
    match command {
        Accounts::List => list(app),
        Accounts::Show { account } => show(app, *account),
        Accounts::Disable { account } => set_access(app, *account, Access::Disabled),
        Accounts::Enable { account } => set_access(app, *account, Access::Enabled),
        Accounts::Delete { account, yes } => delete(app, *account, *yes),
    }
}

fn list(app: &App) -> Result<(), Failure> {
    let accounts = app.inspector()?.accounts()?;
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
        is_disabled,
    } = account;
    let state = if is_disabled { "disabled" } else { "in use" };
    let text = format!(
        "account: {number}\nsize: {btoken_len} bytes\ncreated: {}\nlast change: {}\nstate: \
         {state}\n",
        utc(created_at),
        utc(changed_at)
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

fn delete(app: &App, number: AccountNumber, yes: bool) -> Result<(), Failure> {
    let mut store = app.operator()?;
    let account = store.look().account(number)?.ok_or_else(none)?;
    if !yes {
        confirm(&account)?;
    }
    if !store.delete_account(number)? {
        return Err(none());
    }
    app.answer(
        &format!("{number} is deleted\n"),
        json!({ "account": number.to_string() }),
    )
}

/// Asks for the account number, because only a backup can undo the deletion.
fn confirm(account: &Account) -> Result<(), Failure> {
    let cancelled = |message: &str, hint: &str| Err(Failure::new(Code::Cancelled, message, hint));
    if !io::stdin().is_terminal() {
        return cancelled(
            "standard input is not a terminal, so nobody can confirm the deletion",
            "nothing was deleted; give --yes to delete without a confirmation",
        );
    }
    let mut out = io::stderr().lock();
    let day = utc(account.changed_at);
    write!(
        out,
        "{} bytes, last changed {day}. Type the account's number again to delete it: ",
        account.btoken_len
    )?;
    out.flush()?;
    let mut typed = String::new();
    let read = io::stdin().lock().take(TYPED_LEN_MAX).read_line(&mut typed);
    if read.is_ok() && typed.trim().parse() == Ok(account.number) {
        return Ok(());
    }
    cancelled("cancelled", "nothing was deleted")
}

fn line(account: &Account) -> String {
    let Account {
        number,
        btoken_len,
        created_at,
        changed_at,
        is_disabled,
    } = account;
    let (created, changed) = (utc(*created_at), utc(*changed_at));
    let disabled = if *is_disabled { "  disabled" } else { "" };
    format!("{number}  {btoken_len:>9} bytes  created {created}  changed {changed}{disabled}\n")
}

fn object(account: &Account) -> Value {
    json!({
        "account": account.number.to_string(),
        "size": account.btoken_len,
        "created": account.created_at,
        "changed": account.changed_at,
        "disabled": account.is_disabled,
    })
}

fn none() -> Failure {
    Failure::new(
        Code::NotFound,
        "there is no such account",
        "`passmate-server account list` lists the accounts",
    )
}
