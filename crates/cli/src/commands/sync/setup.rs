use std::path::{Path, PathBuf};

use passmate_core::answer::{Halt, Need};
use passmate_core::api::VaultApi;
use passmate_core::command::command;
use passmate_core::net::Address;
use passmate_core::net::trust::{CA_FILE_LEN_MAX, read_ca};
use passmate_core::problem::Problem;
use passmate_core::shared_folder::Sealing;
use passmate_core::sync::SameKey;
use passmate_core::sync_setup::{ServerSetup, look_at_server};
use passmate_vault::{Pin, Trust};
use serde_json::json;

use crate::app::{Answer, App};
use crate::commands::qr;
use crate::commands::sync::refuse_offline;
use crate::joining::{Joined, ask_key, ask_pin, parse_folder_key, parse_key};
use crate::prompt::{read_small, warn_if_open};
use crate::report::{self, plain};

/// Connect this vault to a server or a shared folder
///
/// The first device creates an account on the server. Every other device joins it with the key that
/// `passmate sync key` shows on the first one. In a shared folder, each device keeps a copy that
/// the others merge. The first device makes the folder's key; every other one needs it too, from
/// `passmate sync key --folder`. With --with-original, the original Passmate program (0.4) can take
/// part, and the copies are under the passphrases of their devices.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The server [default port: 29556]
    #[arg(value_name = "HOST[:PORT]", required_unless_present_any = ["folder", "key_file", "again"])]
    server: Option<Address>,
    /// A folder on a network drive or carried by a file sync program, beside a server or instead of
    /// one
    #[arg(long, value_name = "DIR", conflicts_with_all = ["server", "request", "pin", "ca_file"])]
    folder: Option<PathBuf>,
    /// Make a new key for the folder, although it has copies already: they are not read any more
    #[arg(long, requires = "folder", conflicts_with_all = ["key_file", "with_original"])]
    new_key: bool,
    /// Let an original program take part in the folder: each copy is under the passphrase of its
    /// device
    #[arg(long, requires = "folder", conflicts_with = "key_file")]
    with_original: bool,
    /// Join the account whose key, or whose link from `passmate sync key --link`, is in this file;
    /// a link names server and pin too; with --folder the folder's key; `-` is standard input
    #[arg(long, value_name = "FILE")]
    key_file: Option<PathBuf>,
    /// Store this vault anew on its server, which lost its data, in a new account. The other devices
    /// join it with its new key, unless the server gives it the number that it had
    #[arg(long, conflicts_with_all = ["server", "folder", "key_file", "request"])]
    again: bool,
    /// Create this device's key and print the code by which the operator of an invite-only server
    /// admits it; then run the same command without --request
    #[arg(long, conflicts_with = "key_file")]
    request: bool,
    /// Print the code as a QR code too
    #[arg(long, requires = "request")]
    qr: bool,
    /// Trust the server by the pin that it prints when it starts
    #[arg(long, value_name = "PIN", conflicts_with = "ca_file")]
    pin: Option<Pin>,
    /// Trust servers with a certificate from the authority in this file
    #[arg(long, value_name = "PEM")]
    ca_file: Option<PathBuf>,
}

pub(super) fn run(app: &App, args: &Args) -> Result<(), Problem> {
    if let Some(folder) = &args.folder {
        let sealing = sealing_of(app, args)?;
        return super::set_up_folder(app, &mut *app.open_to_change()?, folder, sealing);
    }
    if !args.request {
        refuse_offline(app)?;
    }
    if args.again {
        return again(app, args);
    }
    let mut setup = Setup::of(app, args)?;
    let mut vault = app.open_to_change()?;
    if args.request {
        return ask_operator(app, args, &mut *vault, &setup.server);
    }
    let is_tied = plain(vault.ties())?.server.is_some();
    if !is_tied && setup.server.key.is_none() && app.ask.has_person() && !app.ask.yes {
        // Nobody should look for a key for a server that is not there.
        look_at_server(&setup.server.address, setup.server.trust.as_ref())?;
        setup.join(args, ask_key(app)?)?;
    }
    let is_first = setup.server.key.is_none();
    report::server(app, set_up(app, &mut *vault, setup.server)?)?;
    if is_first {
        app.out
            .note("to add a device, run `passmate sync key` here and `passmate sync setup` there");
    }
    Ok(())
}

/// How the copies in the folder are encrypted.
fn sealing_of(app: &App, args: &Args) -> Result<Sealing, Problem> {
    if let Some(file) = &args.key_file {
        warn_if_open(&app.out, file, "key file");
    }
    Ok(match &args.key_file {
        Some(path) => Sealing::Key(parse_folder_key(&read_small(path)?)?),
        None if args.new_key => Sealing::NewKey,
        None if args.with_original => Sealing::Passphrases,
        None => Sealing::AsFound,
    })
}

/// What the command line asks for, before anybody is asked.
struct Setup {
    server: ServerSetup,
}

impl Setup {
    fn of(app: &App, args: &Args) -> Result<Self, Problem> {
        let trust = trust_of(args)?;
        if let Some(file) = &args.key_file {
            warn_if_open(&app.out, file, "key file");
        }
        let joined = match &args.key_file {
            // A person who types it should not see it.
            Some(path) if path == Path::new("-") && app.ask.has_person() => {
                if let Some(address) = &args.server {
                    look_at_server(address, trust.as_ref())?;
                }
                let typed = app.ask.hidden("Sync key: ", "sync key")?;
                Some(parse_key(typed.as_bytes())?)
            }
            Some(path) => Some(parse_key(&read_small(path)?)?),
            None => None,
        };
        let mut setup = Self {
            server: ServerSetup {
                address: address_of(args, joined.as_ref())?,
                trust,
                key: None,
                consent: app.consent(),
            },
        };
        setup.join(args, joined)?;
        Ok(setup)
    }

    /// Joins the account of a key or a link, which brings its server's pin.
    fn join(&mut self, args: &Args, joined: Option<Joined>) -> Result<(), Problem> {
        // A link that is typed must be for the same server.
        address_of(args, joined.as_ref())?;
        if let Some(joined) = joined {
            if let (Some(pin), None) = (joined.pin, &self.server.trust) {
                self.server.trust = Some(pinned(pin));
            }
            self.server.key = Some(joined.key);
        }
        Ok(())
    }
}

/// Makes the account anew.
fn again(app: &App, args: &Args) -> Result<(), Problem> {
    let trust = trust_of(args)?;
    let (same_key, synced) = plain(app.open_to_change()?.set_up_again(trust.as_ref()))?;
    report::server(app, synced)?;
    match same_key {
        SameKey::Yes => app
            .out
            .note("the other devices of the account go on with the key that they have"),
        SameKey::No => app.out.warn(
            "the server gave the account another number: on every other device run `passmate sync \
             leave`, then `passmate sync setup` with the key of `passmate sync key`",
        ),
    }
    Ok(())
}

/// Sets the server up, and lets a person compare the pin of a self-signed certificate.
fn set_up(
    app: &App,
    vault: &mut dyn VaultApi,
    mut server: ServerSetup,
) -> Result<passmate_core::sync_all::Synced<passmate_core::sync::Report>, Problem> {
    loop {
        match vault.set_up_server(&server) {
            Err(Halt::Needs(Need::UnknownPin(problem))) if server.trust.is_none() => {
                let pin = ask_pin(app, &server.address, *problem)?;
                server.trust = Some(pinned(pin));
            }
            Err(Halt::Needs(Need::Confirmation(question))) => match app.ask_about(&question)? {
                Answer::Agreed => server.consent.give(question),
                Answer::Refused => server.consent.refuse(question),
            },
            reply => return plain(reply),
        }
    }
}

fn pinned(pin: Pin) -> Trust {
    Trust::Pins {
        current: pin,
        next: None,
    }
}

/// Makes a key for the account to come, and shows its code.
fn ask_operator(
    app: &App,
    args: &Args,
    vault: &mut dyn VaultApi,
    server: &ServerSetup,
) -> Result<(), Problem> {
    let code = plain(vault.request_account(server))?.to_string();
    let address = &server.address;
    if app.out.json {
        return app
            .out
            .object(json!({ "host": address.host(), "code": code }));
    }
    app.out.line(&code)?;
    if args.qr {
        qr::show(app, &code)?;
    }
    app.out.note(&format!(
        "send this code to the operator of {address}; when they have added it, run {}",
        command(["passmate", "sync", "setup"]).arg(address.to_string())
    ));
    Ok(())
}

/// How the server is trusted, if the command line says so.
fn trust_of(args: &Args) -> Result<Option<Trust>, Problem> {
    if let Some(pin) = args.pin {
        return Ok(Some(pinned(pin)));
    }
    let Some(path) = &args.ca_file else {
        return Ok(None);
    };
    let pem = read_small(path)?;
    let unusable = |error: &dyn std::fmt::Display| {
        Problem::usage(
            format!("{}: {error}", path.display()),
            "give a PEM file with the authority's certificate",
        )
    };
    if pem.len() > CA_FILE_LEN_MAX {
        return Err(unusable(&"it is longer than 64 KiB"));
    }
    let pem = read_ca(&pem).map_err(|error| unusable(&error))?;
    Ok(Some(Trust::Ca(pem)))
}

/// The server that was named, by the person, a link, or both.
fn address_of(args: &Args, joined: Option<&Joined>) -> Result<Address, Problem> {
    let linked = joined.and_then(|joined| joined.address.as_ref());
    match (&args.server, linked) {
        (Some(named), Some(linked)) if named != linked => Err(Problem::usage(
            format!("the link is for {linked}, and {named} was named"),
            "leave out the host to take the link's, or take the link of the right account",
        )),
        (Some(address), _) | (None, Some(address)) => Ok(address.clone()),
        (None, None) => Err(Problem::usage(
            "no server was named, and the key is not a link that names one",
            "name its host: `passmate sync setup HOST --key-file FILE`",
        )),
    }
}
