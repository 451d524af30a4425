//! Ties a vault to a server or a shared folder, and unties it.

use std::path::Path;

use passmate_proto::{AccountNumber, RequestCode};
use passmate_sync::transport::{CertificateProblem, TrustProblem};
use passmate_sync::{
    ConnectError, Endpoint, Probed, Reason, RemoteError, Replica, Report, SameKey, SyncError,
    leave, probe, request, trust_pin,
};
use passmate_vault::{Account, FolderKey, Pin, Shape, SyncKey, Trust};
use serde::{Deserialize, Serialize};

use crate::answer::{Consent, Halt, Need, Place, Question, Reply};
use crate::command::command;
use crate::env::SystemEnv;
use crate::net::trust::TlsTrust;
use crate::net::{Address, Deadlines, Server};
use crate::problem::{Problem, ProblemKind};
use crate::session::Session;
use crate::share::link::Link;
use crate::shared_folder::{self, FolderError, FolderReport, Sealing, leave_folder};
use crate::state::State;
use crate::sync_all::{
    Occasion, SyncRequest, Synced, client, conclude, held_back, host_of, options, require_online,
    server_of, sync_all, unusable,
};

/// A server to sync with.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ServerSetup {
    /// The server.
    pub address: Address,
    /// How its certificate is checked; `None` if the person named nothing.
    pub trust: Option<Trust>,
    /// The key of an account that other devices use; without one an account is made.
    pub key: Option<SyncKey>,
    /// What a person said about what the account would alter here.
    pub consent: Consent,
}

/// What a vault syncs with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ties {
    /// The server.
    pub server: Option<ServerTie>,
    /// The shared folder.
    pub folder: Option<FolderTie>,
}

/// The shared folder that a vault is tied to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FolderTie {
    /// Its path.
    pub path: String,
    /// Whether its copies are under a key; otherwise each is under the passphrase of its device.
    pub has_key: bool,
}

/// The server that a vault is tied to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServerTie {
    /// Its host.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// Whether the device still waits to be admitted.
    pub pending: bool,
}

impl ServerTie {
    /// Whether the device waits to be admitted at this server.
    #[must_use]
    pub fn is_pending_at(&self, address: &Address) -> bool {
        self.pending && (&*self.host, self.port) == (address.host(), address.port())
    }
}

/// What was forgotten.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Untie {
    /// The server, or the shared folder if there is no server.
    Any,
    /// The shared folder.
    Folder,
}

/// What a vault was untied from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Untied {
    /// A server, by its host. `not_forgotten` says why this device still remembers past syncs.
    Server {
        /// The host.
        host: String,
        /// The error of the file in which past syncs are remembered.
        not_forgotten: Option<String>,
        /// The numbers of accounts that a rotation left behind and that could not be deleted.
        retired: Vec<String>,
    },
    /// A shared folder, by its path.
    Folder {
        /// The path.
        path: String,
    },
}

/// What the vault syncs with.
pub(crate) fn ties(session: &Session) -> Ties {
    Ties {
        server: Replica::account(session).map(|account| ServerTie {
            host: account.host.clone(),
            port: account.port,
            pending: account.is_pending(),
        }),
        folder: session.folder().map(|folder| FolderTie {
            path: folder.path.clone(),
            has_key: folder.key.is_some(),
        }),
    }
}

/// Makes an account on a server, or joins one, and syncs the two.
pub(crate) fn set_up_server(session: &mut Session, setup: &ServerSetup) -> Reply<Synced<Report>> {
    require_online(session)?;
    let (trust, is_pending) = trust_of(session, setup)?;
    let (mut server, probed) = reach(&setup.address, &trust)?;
    let endpoint = endpoint(&setup.address, trust);
    let place = Place::Joined(setup.address.host().to_owned());
    let options = options(session, &setup.consent, &place);
    let mut env = SystemEnv::default();
    let mut client = client(session, &mut server, &mut env);
    let result = match &setup.key {
        Some(key) => client.join(&probed, &endpoint, key.clone(), &options),
        None => client.create(&probed, &endpoint),
    };
    if let Err(SyncError::Remote(error @ RemoteError::CreateRefused)) = &result
        && is_pending
    {
        let hint = format!(
            "its operator has not admitted this device yet: send them the code of {}, and try \
             again when they have added it",
            command(["passmate", "sync", "setup"])
                .arg(setup.address.to_string())
                .word("--request")
        );
        return Err(Problem::new(ProblemKind::Refused, error.to_string(), hint).into());
    }
    if let Err(SyncError::HeldBack(held)) = result {
        return Err(held_back(place, held));
    }
    Ok(conclude(session, result))
}

/// Makes the account anew on a server that lost it.
pub(crate) fn set_up_again(
    session: &mut Session,
    trust: Option<&Trust>,
) -> Reply<(SameKey, Synced<Report>)> {
    require_online(session)?;
    let (account, _) = tied(session)?;
    let address = Address::new(&account.host, account.port).map_err(|error| unusable(&error))?;
    let trust = trust.unwrap_or(&account.trust).clone();
    let (mut server, probed) = reach(&address, &trust).map_err(|halt| match halt {
        Halt::Failed(problem) if problem.kind == ProblemKind::NotTrusted => Halt::Failed(
            problem.with_hint(
                "if the server has a new key too, add --pin and the pin that its operator gives you",
            ),
        ),
        halt => halt,
    })?;
    let mut env = SystemEnv::default();
    let made = client(session, &mut server, &mut env).create_again(&probed, &trust);
    let (result, same_key) = match made {
        Ok((report, same_key)) => (Ok(report), same_key),
        Err(error) => (Err(error), SameKey::No),
    };
    let synced = concluded(session, result)?;
    Ok((same_key, synced))
}

/// Makes the key of an account to come, and its code for the server's operator.
pub(crate) fn request_account(session: &mut Session, setup: &ServerSetup) -> Reply<RequestCode> {
    let (trust, _) = trust_of(session, setup)?;
    let endpoint = endpoint(&setup.address, trust);
    Ok(request(session, &mut SystemEnv::default(), &endpoint)?)
}

/// How the server is trusted, and whether the vault waits to be admitted there.
fn trust_of(session: &Session, setup: &ServerSetup) -> Reply<(Trust, bool)> {
    let Some(account) = Replica::account(session) else {
        return Ok((setup.trust.clone().unwrap_or(Trust::System), false));
    };
    let address = (setup.address.host(), setup.address.port());
    let is_there = (&*account.host, account.port) == address;
    if !account.is_pending() || !is_there || setup.key.is_some() {
        let host = account.host.clone();
        return Err(SyncError::AlreadySetUp { host }.into());
    }
    let trust = setup.trust.clone().unwrap_or_else(|| account.trust.clone());
    Ok((trust, true))
}

fn endpoint(address: &Address, trust: Trust) -> Endpoint {
    Endpoint {
        host: address.host().to_owned(),
        port: address.port(),
        trust,
    }
}

/// Looks whether a server answers at an address, before a person types a key for it. One that is not
/// trusted yet counts, because a pin may come with the key.
///
/// # Errors
/// None does, or it is not the one that the person named by its pin or its authority.
pub fn look_at_server(address: &Address, trust: Option<&Trust>) -> Result<(), Problem> {
    let server = Server::new(address.clone(), tls_of(trust.unwrap_or(&Trust::System))?);
    let mut server = server.with_deadlines(Deadlines::BEFORE_QUESTION);
    match probe(&mut server, &mut SystemEnv::default()) {
        Err(RemoteError::NoConnection(ConnectError::NotTrusted(_))) if trust.is_none() => Ok(()),
        Err(RemoteError::NoConnection(ConnectError::NotTrusted(problem))) => {
            let trust = trust.unwrap_or(&Trust::System);
            Err(not_trusted(trust, *problem).into_problem())
        }
        probed => Ok(probed.map(drop)?),
    }
}

fn tls_of(trust: &Trust) -> Result<TlsTrust, Problem> {
    TlsTrust::new(trust).map_err(|error| {
        Problem::usage(
            format!("the authority's certificate cannot be used: {error}"),
            "give another --ca-file, or --pin",
        )
    })
}

/// A server that answers as it should.
fn reach(address: &Address, trust: &Trust) -> Reply<(Server, Probed)> {
    let mut server = Server::new(address.clone(), tls_of(trust)?);
    match probe(&mut server, &mut SystemEnv::default()) {
        Ok(probed) => Ok((server, probed)),
        Err(RemoteError::NoConnection(ConnectError::NotTrusted(problem))) => {
            Err(not_trusted(trust, *problem))
        }
        Err(error) => Err(error.into()),
    }
}

/// A self-signed certificate may be pinned after a comparison; all others are refused.
fn not_trusted(trust: &Trust, problem: TrustProblem) -> Halt {
    let may_be_pinned = *trust == Trust::System
        && problem.self_signed
        && matches!(
            problem.problem,
            CertificateProblem::UnknownIssuer
                | CertificateProblem::CaUsedAsLeaf
                | CertificateProblem::NoTrustStore
                | CertificateProblem::WrongName { .. }
        );
    if may_be_pinned {
        return Halt::Needs(Need::UnknownPin(Box::new(problem)));
    }
    let is_mismatch = matches!(problem.problem, CertificateProblem::PinMismatch { .. });
    let refused = Problem::from(problem);
    Halt::Failed(if is_mismatch {
        refused.with_hint(
            "check the pin with the operator, and whether this is the right host; nothing was sent",
        )
    } else {
        refused
    })
}

/// Lets a vault take part in a shared folder, and syncs the two.
pub(crate) fn set_up_folder(
    session: &mut Session,
    folder: &Path,
    sealing: &Sealing,
    request: &SyncRequest,
) -> Reply<Synced<FolderReport>> {
    let host = rustix::system::uname();
    let digits = getrandom::u32().map_err(|error| {
        Problem::new(
            ProblemKind::Other,
            format!("no randomness: {error}"),
            "try again",
        )
    })?;
    let host = host.nodename().to_string_lossy();
    match shared_folder::set_up_folder(session, folder, &host, digits, sealing) {
        Err(FolderError::KeyNeeded(path)) => return Err(Halt::Needs(Need::FolderKey(path))),
        set_up => set_up?,
    }
    let request = SyncRequest {
        folder_only: true,
        ..request.clone()
    };
    let answer = sync_all(session, &request, Occasion::Asked).folder;
    answer.ok_or_else(|| Halt::from(FolderError::NotSetUp))
}

/// The key of the shared folder.
pub(crate) fn folder_key(session: &Session) -> Reply<FolderKey> {
    let folder = session.folder().ok_or(FolderError::NotSetUp)?;
    let no_key = || FolderError::NoKey(folder.path.clone());
    Ok(folder.key.clone().ok_or_else(no_key)?)
}

/// Trusts the server's next key.
pub(crate) fn trust_next(session: &mut Session, pin: Pin) -> Reply<Trust> {
    Ok(trust_pin(session, pin)?)
}

/// The account of a vault that has one, and its key.
pub(crate) fn tied(session: &Session) -> Reply<(&Account, &SyncKey)> {
    let account = Replica::account(session).ok_or(SyncError::NoAccount)?;
    let key = account.key.granted().ok_or_else(|| SyncError::NotLetIn {
        host: account.host.clone(),
        port: account.port,
    })?;
    Ok((account, key))
}

/// The sync key with server and pin.
pub(crate) fn link(session: &Session) -> Reply<Link> {
    let (account, key) = tied(session)?;
    let address = Address::new(&account.host, account.port);
    let address = address.map_err(|error| unusable(&error))?;
    Ok(Link::new(
        address,
        &account.trust,
        key.clone(),
        account.shape,
    ))
}

/// Moves to a new account with a new key.
pub(crate) fn rotate(
    session: &mut Session,
    reason: Reason,
    keep_since: Option<i64>,
    consent: &Consent,
) -> Reply<Synced<Report>> {
    require_online(session)?;
    let (account, _) = tied(session)?;
    if account.retired.is_empty() || reason == Reason::Loss {
        consent.require(Question::Rotate {
            host: account.host.clone(),
            keep_since,
            lost: reason == Reason::Loss,
        })?;
    }
    let place = Place::Server(account.host.clone());
    let options = options(session, &consent.without_held_back(), &place);
    let mut server = server_of(session)?;
    let mut env = SystemEnv::default();
    let result = client(session, &mut server, &mut env).rotate(reason, keep_since, &options);
    if let Err(SyncError::Remote(error @ RemoteError::CreateRefused)) = &result {
        let hint = match reason {
            Reason::Loss => {
                "nothing is read from the old account any more, but it is still there: ask the \
                 operator to open a seat (`passmate-server invite open --seats 1 --for 1h`); the \
                 next `passmate sync` goes on"
            }
            Reason::Renewal => {
                "nothing was changed; it may be full, or admit only invited devices: ask its \
                 operator to open a seat (`passmate-server invite open --seats 1 --for 1h`), and \
                 try again"
            }
        };
        return Err(Problem::new(ProblemKind::Refused, error.to_string(), hint).into());
    }
    concluded(session, result)
}

/// The report of a sync that is no part of a larger answer: a question stands for itself.
fn concluded(session: &Session, result: Result<Report, SyncError>) -> Reply<Synced<Report>> {
    let synced = conclude(session, result);
    match synced.result {
        Err(halt @ Halt::Needs(_)) => Err(halt),
        result => Ok(Synced { result, ..synced }),
    }
}

/// Gives an account that is shared with the desktop client our own form.
pub(crate) fn upgrade(session: &mut Session, consent: &Consent) -> Reply<(bool, Synced<Report>)> {
    require_online(session)?;
    let account = Replica::account(session).ok_or(SyncError::NoAccount)?;
    let was_shared = account.shape == Shape::Desktop;
    if was_shared {
        consent.require(Question::Upgrade)?;
    }
    let place = Place::Server(host_of(session));
    let options = options(session, &consent.without_held_back(), &place);
    let mut server = server_of(session)?;
    let result = client(session, &mut server, &mut SystemEnv::default()).upgrade(&options);
    Ok((was_shared, concluded(session, result)?))
}

/// Forgets the server or the shared folder; with `delete` what this device has there is deleted.
pub(crate) fn untie(
    session: &mut Session,
    what: Untie,
    delete: bool,
    consent: &Consent,
) -> Reply<Untied> {
    let has_server = Replica::account(session).is_some();
    if what == Untie::Folder || (!has_server && session.folder().is_some()) {
        let path = session.folder().map(|folder| folder.path.clone());
        let path = path.unwrap_or_default();
        if session.folder().is_some() {
            consent.require(Question::ForgetFolder {
                path: path.clone(),
                deletes: delete,
                has_key: session.folder().is_some_and(|folder| folder.key.is_some()),
            })?;
        }
        leave_folder(session, delete)?;
        return Ok(Untied::Folder { path });
    }
    if delete {
        require_online(session)?;
    }
    if !has_server {
        return Err(SyncError::NotSetUp.into());
    }
    let host = host_of(session);
    let mut retired = Vec::new();
    if delete {
        consent.require(Question::DeleteAccount { host: host.clone() })?;
        let mut server = server_of(session)?;
        client(session, &mut server, &mut SystemEnv::default()).delete()?;
    } else {
        consent.require(Question::ForgetServer { host: host.clone() })?;
        retired = give_up_retired(session);
        leave(session)?;
    }
    // What is remembered of this server says nothing about the next one.
    let not_forgotten = State::forget(session.path())
        .err()
        .map(|error| error.to_string());
    Ok(Untied::Server {
        host,
        not_forgotten,
        retired,
    })
}

/// Deletes the accounts that an interrupted rotation left behind, because this vault is the last to
/// know their keys. Returns the numbers of those that could not be deleted.
fn give_up_retired(session: &mut Session) -> Vec<String> {
    let account = Replica::account(session);
    let retired = account.map_or_else(Vec::new, |account| account.retired.clone());
    let is_offline = session.sync_settings().offline;
    let mut left = Vec::new();
    for one in retired {
        let deleted = !is_offline
            && server_of(session).is_ok_and(|mut server| {
                let mut env = SystemEnv::default();
                client(session, &mut server, &mut env)
                    .delete_retired(&one)
                    .is_ok()
            });
        let number = AccountNumber::from_bytes(one.key.account());
        left.extend(number.filter(|_| !deleted).map(|number| number.to_string()));
    }
    left
}
