use std::path::PathBuf;

use passmate_vault::{Pin, SyncKey, Trust};
use serde_json::json;

use crate::cli::App;
use crate::cli::ask::read_small;
use crate::cli::error::{Code, Failure, not_trusted};
use passmate_core::env::SystemEnv;
use passmate_core::link::{Link, LinkError};
use passmate_core::net::{Address, Server};
use passmate_core::session::Session;
use passmate_core::sync::{
    ConnectError, Endpoint, Probed, RemoteError, Replica, SyncError, probe, request,
};
use passmate_core::trust::{
    CA_FILE_LEN_MAX, CertificateProblem as Problem, TlsTrust, TrustProblem, read_ca,
};

/// Tie this vault to a server, or to a shared folder
///
/// The first device makes an account there. Every other device joins it with the key that `passmate
/// sync key` shows on the first one. In a shared folder each device keeps a copy that the others
/// merge; the original Passmate program (0.4) can take part.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The server; its port is 29556 unless another one is given
    #[arg(value_name = "HOST[:PORT]", required_unless_present_any = ["folder", "key_file"])]
    server: Option<Address>,
    /// A folder that all devices have, carried by a sync program or on a network drive; beside a
    /// server or instead
    #[arg(long, value_name = "DIR", conflicts_with_all = ["server", "key_file", "request", "pin", "ca_file"])]
    folder: Option<PathBuf>,
    /// Join the account of another device, whose key is in this file, or the link of `passmate sync
    /// key --link`, which names server and pin too; `-` is standard input
    #[arg(long, value_name = "FILE")]
    key_file: Option<PathBuf>,
    /// For a server that admits devices one by one: make this device's key and print the code that
    /// its operator needs; afterwards the same command without --request goes through
    #[arg(long, conflicts_with = "key_file")]
    request: bool,
    /// With --request: the code as a QR code too
    #[arg(long, requires = "request")]
    qr: bool,
    /// Trust the server by its pin, as it prints it when it starts
    #[arg(long, value_name = "PIN", conflicts_with = "ca_file")]
    pin: Option<Pin>,
    /// Trust servers with a certificate from this authority
    #[arg(long, value_name = "PEM")]
    ca_file: Option<PathBuf>,
}

/// How often a person may mistype what the operator said.
const TRIES: usize = 3;
/// Digits of a pin that are typed in.
const TYPED_DIGITS: usize = 8;

pub(super) fn run(app: &App, args: &Args) -> Result<(), Failure> {
    if let Some(folder) = &args.folder {
        return super::set_up_folder(app, &mut app.open()?, folder);
    }
    if !args.request {
        super::refuse_offline(app)?;
    }
    let mut trust = trust_of(args)?;
    let mut joined = args
        .key_file
        .as_ref()
        .map(|path| parse_key(&read_small(path)?))
        .transpose()?;
    let address = &address_of(args, joined.as_ref())?;
    let mut session = app.open()?;
    let mut is_pending = false;
    if let Some(association) = session.association() {
        let is_there = (&*association.host, association.port) == (address.host(), address.port());
        is_pending = association.is_pending() && is_there && joined.is_none();
        if !is_pending {
            let host = association.host.clone();
            return Err(SyncError::AlreadySetUp { host }.into());
        }
        if args.pin.is_none() && args.ca_file.is_none() {
            trust = association.trust.clone();
        }
    }
    if args.request {
        return ask_operator(app, args, address, &mut session, trust);
    }
    if joined.is_none() && !is_pending && app.ask.has_person() && !app.ask.yes {
        joined = ask_key(app)?;
        // A link that is typed is for the same server.
        address_of(args, joined.as_ref())?;
    }
    if let Some(pin) = joined.as_ref().and_then(|joined| joined.pin)
        && trust == Trust::System
    {
        trust = Trust::Pins {
            current: pin,
            next: None,
        };
    }
    let key = joined.map(|joined| joined.key);

    let mut env = SystemEnv::default();
    let mut reached = reach(app, address, trust, &mut env)?;
    let Reached {
        server,
        probed,
        trust,
    } = &mut reached;
    let is_first = key.is_none();
    let endpoint = endpoint(address, trust.clone());
    let mut client = super::client(&mut session, server, &mut env);
    let result = match key {
        Some(key) => client.join(probed, &endpoint, key),
        None => client.create(probed, &endpoint),
    };
    if let Err(SyncError::Remote(error @ RemoteError::CreateRefused)) = &result
        && is_pending
    {
        let hint = format!(
            "its operator has not let this device in yet: send them the code of `passmate sync setup {address} --request`, \
             and try again when they have added it"
        );
        return Err(Failure::new(Code::Refused, error.to_string(), hint));
    }
    super::finish(app, &session, result)?;
    if is_first {
        app.out.note(
            "to join another device, run `passmate sync key` here and `passmate sync setup` there",
        );
    }
    Ok(())
}

fn endpoint(address: &Address, trust: Trust) -> Endpoint {
    Endpoint {
        host: address.host().to_owned(),
        port: address.port(),
        trust,
    }
}

/// Keeps a key for the account to come, and shows its code.
fn ask_operator(
    app: &App,
    args: &Args,
    address: &Address,
    session: &mut Session,
    trust: Trust,
) -> Result<(), Failure> {
    let code = request(
        session,
        &mut SystemEnv::default(),
        &endpoint(address, trust),
    )?;
    if app.out.json {
        return app
            .out
            .object(json!({ "host": address.host(), "code": code.to_string() }));
    }
    app.out.line(&code.to_string())?;
    if args.qr {
        crate::cli::qr::show(app, &code.to_string())?;
    }
    app.out.note(&format!(
        "send this code to the operator of {address}; when they have added it, run `passmate sync setup {address}`"
    ));
    Ok(())
}

fn trust_of(args: &Args) -> Result<Trust, Failure> {
    if let Some(pin) = args.pin {
        return Ok(Trust::Pins {
            current: pin,
            next: None,
        });
    }
    let Some(path) = &args.ca_file else {
        return Ok(Trust::System);
    };
    let pem = read_small(path)?;
    let unusable = |error: &dyn std::fmt::Display| {
        Failure::usage(
            format!("{}: {error}", path.display()),
            "give a PEM file with the authority's certificate",
        )
    };
    if pem.len() > CA_FILE_LEN_MAX {
        return Err(unusable(&"it is longer than 64 KiB"));
    }
    Ok(Trust::Ca(read_ca(&pem).map_err(|error| unusable(&error))?))
}

/// The account that is joined: a key, and what a link says of its server.
struct Joined {
    key: SyncKey,
    address: Option<Address>,
    pin: Option<Pin>,
}

impl Joined {
    /// Reads a key or a link.
    fn parse(text: &str) -> Result<Self, LinkError> {
        if Link::is_meant(text) {
            let Link { address, pin, key } = Link::parse(text)?;
            return Ok(Self {
                key,
                address: Some(address),
                pin,
            });
        }
        Ok(Self {
            key: SyncKey::parse(text)?,
            address: None,
            pin: None,
        })
    }
}

fn parse_key(bytes: &[u8]) -> Result<Joined, Failure> {
    let text = std::str::from_utf8(bytes).map_err(|_| {
        Failure::new(
            Code::KeyMistyped,
            "the sync key is not text",
            "`passmate sync key` on another device shows it",
        )
    })?;
    Joined::parse(text).map_err(mistyped)
}

fn mistyped(error: LinkError) -> Failure {
    match error {
        LinkError::Key(error) => error.into(),
        error => Failure::new(
            Code::KeyMistyped,
            error.to_string(),
            "`passmate sync key --link` on another device shows it; nothing was sent",
        ),
    }
}

/// The server that was named, by the person, a link, or both.
fn address_of(args: &Args, joined: Option<&Joined>) -> Result<Address, Failure> {
    let linked = joined.and_then(|joined| joined.address.as_ref());
    match (&args.server, linked) {
        (Some(named), Some(linked)) if named != linked => Err(Failure::usage(
            format!("the link is for {linked}, and {named} was named"),
            "leave out the host to take the link's, or take the link of the right account",
        )),
        (Some(address), _) | (None, Some(address)) => Ok(address.clone()),
        (None, None) => Err(Failure::usage(
            "no server was named, and the key is no link that names one",
            "name its host: `passmate sync setup HOST --key-file FILE`",
        )),
    }
}

/// Most people who set up a second device forget that it is the second one.
fn ask_key(app: &App) -> Result<Option<Joined>, Failure> {
    for tries_left in (0..TRIES).rev() {
        let typed = app.ask.line(
            "If another device syncs this vault already, type the key or link that `passmate sync key` shows there.\n\
             If this is the first one, just press Enter.\nSync key: ",
        )?;
        if typed.is_empty() {
            return Ok(None);
        }
        match Joined::parse(&typed) {
            Ok(joined) => return Ok(Some(joined)),
            Err(error) if tries_left == 0 => return Err(mistyped(error)),
            Err(error) => app.out.warn(&error.to_string()),
        }
    }
    Ok(None)
}

/// A server that answers as it should, and why it is trusted.
struct Reached {
    server: Server,
    probed: Probed,
    trust: Trust,
}

fn reach(
    app: &App,
    address: &Address,
    trust: Trust,
    env: &mut SystemEnv,
) -> Result<Reached, Failure> {
    let mut server = server_at(address, &trust)?;
    match probe(&mut server, env) {
        Ok(probed) => Ok(Reached {
            server,
            probed,
            trust,
        }),
        Err(RemoteError::NoConnection(ConnectError::NotTrusted(problem))) => {
            let pin = ask_pin(app, address, &trust, &problem)?;
            let trust = Trust::Pins {
                current: pin,
                next: None,
            };
            let mut server = server_at(address, &trust)?;
            let probed = probe(&mut server, env)?;
            Ok(Reached {
                server,
                probed,
                trust,
            })
        }
        Err(error) => Err(error.into()),
    }
}

fn server_at(address: &Address, trust: &Trust) -> Result<Server, Failure> {
    let trust = TlsTrust::new(trust).map_err(|error| {
        Failure::usage(
            format!("the authority's certificate cannot be used: {error}"),
            "give another --ca-file, or --pin",
        )
    })?;
    Ok(Server::new(address.clone(), trust))
}

/// Lets a person compare a certificate that nobody vouches for with what the operator says. A mere
/// yes would be given without looking.
fn ask_pin(
    app: &App,
    address: &Address,
    trust: &Trust,
    problem: &TrustProblem,
) -> Result<Pin, Failure> {
    let failure = match &problem.problem {
        Problem::PinMismatch { .. } => Failure::new(
            Code::NotTrusted,
            not_trusted(problem).message,
            "check the pin with the operator, and whether this is the right host; nothing was sent",
        ),
        _ => not_trusted(problem),
    };
    let may_be_pinned = *trust == Trust::System
        && problem.self_signed
        && matches!(
            problem.problem,
            Problem::UnknownIssuer
                | Problem::CaUsedAsLeaf
                | Problem::NoTrustStore
                | Problem::WrongName { .. }
        );
    if !may_be_pinned || !app.ask.has_person() || app.ask.yes {
        return Err(failure);
    }
    let shown = problem.shown.to_string();
    let digits = shown
        .strip_prefix("sha256:")
        .and_then(|digits| digits.get(..TYPED_DIGITS))
        .unwrap_or_default();
    app.out
        .warn(&format!("nobody vouches for the key that {address} shows:"));
    app.out.warn(&format!("    {shown}"));
    app.out.warn("the server printed its pin when it started; get it from its operator, not from this screen");
    for _ in 0..TRIES {
        let typed = app
            .ask
            .line("The first 8 digits of the pin that the operator gave you: ")?;
        if typed.is_empty() {
            break;
        }
        let typed = typed
            .strip_prefix("sha256:")
            .unwrap_or(&typed)
            .to_ascii_lowercase();
        if typed.get(..TYPED_DIGITS) == Some(digits) && shown.contains(&typed) {
            return Ok(problem.shown);
        }
        app.out
            .warn("these are not the digits that the server shows");
    }
    Err(Failure::new(
        Code::NotTrusted,
        "the server's key was not confirmed",
        "nothing was sent; ask the operator for the pin",
    ))
}
