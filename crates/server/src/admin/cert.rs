//! `passmate-server cert`: shows the certificate, and makes a new certificate or key.

use serde_json::json;

use super::{App, Failure};
use crate::clock::{now, utc};
use crate::exit::Code;
use crate::tls::{Identity, TlsError, expect_key, next_identity, renew, switch_to_next};

/// Show the certificate, or make a new one
#[derive(Debug, clap::Subcommand)]
pub(super) enum Certs {
    /// Show pin, names and expiry, and the announced next pin
    Show,
    /// Make a new self-signed certificate, which a running server loads within seconds
    ///
    /// Without an option, the key and the pin stay, and devices notice nothing. With --new-key, the
    /// command makes the next key and prints its pin. Nothing else changes until --now, so that
    /// devices can learn the pin first (`passmate sync trust PIN`).
    New {
        /// Make the next key, or show the pin of the one that was made
        #[arg(long)]
        new_key: bool,
        /// Replace the key by the announced one
        #[arg(long, requires = "new_key")]
        now: bool,
    },
}

impl From<TlsError> for Failure {
    fn from(error: TlsError) -> Self {
        Self::new(Code::File, &error, error.hint())
    }
}

pub(super) fn run(app: &App, command: &Certs) -> Result<(), Failure> {
    match command {
        Certs::Show => show(app),
        Certs::New { new_key, now } => {
            if app.config.certificate.is_some() {
                let message =
                    "the certificate is given with --tls-cert, and was not made by this server";
                let hint = "renew it at its issuer, with the same key; the server loads it when \
                    its files change";
                return Err(Failure::new(Code::Usage, message, hint));
            }
            match (new_key, now) {
                (false, _) => same_key(app),
                (true, false) => announce(app),
                (true, true) => switch(app),
            }
        }
    }
}

/// The pair that is served.
fn identity(app: &App) -> Result<Identity, Failure> {
    let own = app.config.data_dir.join(crate::tls::OWN_KEY);
    if app.config.certificate.is_none() && !own.exists() {
        let message = format_args!("there is no key in {} yet", app.config.data_dir.display());
        return Err(Failure::new(
            Code::NotFound,
            message,
            "the server makes one at its first start",
        ));
    }
    Ok(Identity::load(
        app.config.certificate.as_ref(),
        &app.config.data_dir,
    )?)
}

fn show(app: &App) -> Result<(), Failure> {
    let identity = identity(app)?;
    let next = if app.config.certificate.is_none() {
        next_identity(&app.config.data_dir)?
    } else {
        None
    };
    let kind = if identity.is_own {
        "self-signed, made by this server"
    } else if app.config.certificate.is_none() {
        "issued by an authority (ACME), for the key of this server"
    } else {
        "given by the operator"
    };
    let expires = match identity.not_after {
        after if after - now() > 1000 * 365 * 24 * 3600 => "never".to_owned(),
        after => utc(after),
    };
    let mut text = format!(
        "pin: {}\npin in words: {}\nnames: {}\nexpires: {expires}\nkind: {kind}\n",
        identity.pin,
        identity.pin.words(),
        if identity.names.is_empty() {
            "none".to_owned()
        } else {
            identity.names.join(", ")
        }
    );
    if let Some(next) = &next {
        text.push_str(&format!("next pin: {}\n", next.pin));
    }
    for warning in &identity.warnings {
        let remedy = warning.remedy();
        text.push_str(&format!("warning: {warning}: {remedy}\n"));
    }
    let object = json!({
        "pin": identity.pin.to_string(),
        "pin_words": identity.pin.words(),
        "names": identity.names,
        "not_after": identity.not_after,
        "self_signed": identity.is_own,
        "next_pin": next.map(|next| next.pin.to_string()),
    });
    app.answer(&text, object)
}

fn same_key(app: &App) -> Result<(), Failure> {
    identity(app)?;
    let made = renew(&app.config.data_dir)?;
    let text = format!(
        "made a new certificate for the same key; the pin is still {}\n",
        made.pin
    );
    app.answer(&text, json!({ "pin": made.pin.to_string() }))
}

fn announce(app: &App) -> Result<(), Failure> {
    identity(app)?;
    let (next, is_new) = match next_identity(&app.config.data_dir)? {
        Some(next) => (next, false),
        None => (crate::tls::make_next(&app.config.data_dir)?, true),
    };
    let begin = if is_new {
        "the next key is made, and not in use yet"
    } else {
        "the next key was made earlier"
    };
    let text = format!(
        "{begin}\npin {pin}\nsend it to all users over a trusted channel; on each device they \
         run:\n    passmate sync trust {pin}\n\
         when all have done so, run: passmate-server cert new --new-key --now\n",
        pin = next.pin
    );
    app.answer(
        &text,
        json!({ "next_pin": next.pin.to_string(), "made": is_new }),
    )
}

fn switch(app: &App) -> Result<(), Failure> {
    let current = identity(app)?;
    if next_identity(&app.config.data_dir)?.is_none() {
        // Maybe an interrupted command has switched already.
        return Err(Failure::new(
            Code::NotFound,
            format!(
                "no next key is announced; the pin of the present key is {}",
                current.pin
            ),
            "`passmate-server cert new --new-key` makes one and prints its pin",
        ));
    }
    // A backup with the key holds the earlier key. If the command is interrupted, `check` had better
    // ask for one too many.
    crate::backup::forget_key_copy(app.config.notes_folder());
    let served = switch_to_next(&app.config.data_dir)?;
    // A failure only makes the server warn of a change that was meant.
    let _ = expect_key(app.config.notes_folder(), served.pin);
    let text = format!(
        "the server uses the new key from now on: pin {}\nkeep a copy of it: passmate-server \
         backup FILE --with-key\n",
        served.pin
    );
    app.answer(&text, json!({ "pin": served.pin.to_string() }))
}
