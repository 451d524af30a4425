//! One order: the account, the proof that the names are ours, and the certificate.

use std::error::Error;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use instant_acme::{
    Account, AccountBuilder, AccountCredentials, AuthorizationStatus, ChallengeType, Identifier,
    KeyAuthorization, NewAccount, NewOrder, Order, OrderStatus, RetryPolicy,
};
use serde::{Deserialize, Serialize};

use super::challenge::Challenges;
use super::hook::{self, HookError};
use super::http::AcmeHttp;
use crate::config::Acme;
use crate::files;
use crate::listen::ListenError;
use crate::text::printable;
use crate::tls::{self, TlsError};

/// The file with the key of the account at the authority.
const ACCOUNT: &str = "acme-account.json";
const ACCOUNT_LEN_MAX: u64 = 1 << 16;
/// How long the authority may take to check the names, and to issue.
const CHECK_TIME_MAX: Duration = Duration::from_secs(120);
/// How long one part of an order may take. The program of the operator has its own time.
const PART_TIME_MAX: Duration = Duration::from_secs(300);
/// The type of the error for an account that the authority does not have.
const NO_ACCOUNT: &str = "urn:ietf:params:acme:error:accountDoesNotExist";
/// The longest text of an authority that is logged, in characters.
const CAUSE_LEN_MAX: usize = 500;

/// Why no certificate was issued.
#[derive(Debug, thiserror::Error)]
pub(super) enum OrderError {
    #[error("the ACME server cannot be used: {}", causes(.0))]
    Server(#[from] instant_acme::Error),
    #[error("the ACME server asks for a proof of {}, which was not ordered", printable(.0))]
    NotOrdered(String),
    #[error("the ACME server does not check names by {0}")]
    NoChallenge(&'static str),
    #[error("the ACME server did not accept that {name} is this server: {cause}")]
    NotProved { name: String, cause: String },
    #[error("the order was not finished in time")]
    TookTooLong,
    #[error("the authority's checks cannot arrive: {0}")]
    Listen(#[from] ListenError),
    #[error(transparent)]
    Hook(#[from] HookError),
    #[error(transparent)]
    Tls(#[from] TlsError),
    #[error("{}: {error}", path.display())]
    File { path: PathBuf, error: io::Error },
    #[error("no certificate can be read from --acme-ca-file {}: {error}", path.display())]
    CaFile {
        path: PathBuf,
        error: instant_acme::Error,
    },
    #[error("a certificate request cannot be made: {0}")]
    Request(#[from] rcgen::Error),
}

impl OrderError {
    /// What the operator can do about it.
    pub(super) fn hint(&self) -> &'static str {
        match self {
            Self::Server(_) | Self::TookTooLong => {
                "check --acme-directory, --acme-ca-file and the network of this machine"
            }
            Self::NotOrdered(_) => "use another authority (--acme-directory)",
            Self::NoChallenge(_) => "use another way (--acme-dns-hook), or another authority",
            Self::NotProved { .. } => {
                "check that the name leads to this machine, and that port 443 there reaches \
                 --acme-listen; or use --acme-dns-hook"
            }
            Self::Listen(_) => {
                "stop what uses that port, or let the system give it to the server; or give another \
                 --acme-listen that port 443 of the names reaches; or use --acme-dns-hook"
            }
            Self::Hook(_) => "run the program of --acme-dns-hook by hand, as the server's user",
            Self::Tls(error) => error.hint(),
            Self::File { .. } => {
                "check that the server's user may write to the data dir, and the disk"
            }
            Self::CaFile { .. } => {
                "give the certificate, in PEM, of the authority that issued the directory's own; \
                 the server's user must be able to read it"
            }
            Self::Request(_) => "check the names of --acme",
        }
    }
}

/// The account of this server at an authority, as it is kept in the data dir.
#[derive(Serialize, Deserialize)]
struct Known {
    directory: String,
    credentials: AccountCredentials,
}

/// Orders a certificate for the key in the data dir, and puts it there.
pub(super) async fn order(acme: &Acme, data_dir: &Path) -> Result<(), OrderError> {
    let mut order = in_time(begin(acme, &data_dir.join(ACCOUNT))).await?;
    let proved = prove(acme, &mut order).await;
    if let Some(program) = &acme.dns_hook {
        hook::clear_all(program, &acme.names).await;
    }
    proved?;
    in_time(finish(acme, data_dir, &mut order)).await
}

async fn in_time<T>(part: impl Future<Output = Result<T, OrderError>>) -> Result<T, OrderError> {
    let done = tokio::time::timeout(PART_TIME_MAX, part).await;
    done.map_err(|_| OrderError::TookTooLong)?
}

async fn begin(acme: &Acme, account: &Path) -> Result<Order, OrderError> {
    let names = acme.names.iter().cloned().map(Identifier::Dns);
    let names: Vec<Identifier> = names.collect();
    let wanted = NewOrder::new(&names);
    if let Some(account) = known_account(acme, account).await? {
        match account.new_order(&wanted).await {
            Err(instant_acme::Error::Api(problem))
                if problem.r#type.as_deref() == Some(NO_ACCOUNT) =>
            {
                tracing::warn!("the ACME server has lost this server's account; a new one is made");
            }
            ordered => return Ok(ordered?),
        }
    }
    let account = make_account(acme, account).await?;
    Ok(account.new_order(&wanted).await?)
}

async fn finish(acme: &Acme, data_dir: &Path, order: &mut Order) -> Result<(), OrderError> {
    let key = tls::own_key(data_dir)?;
    let request = rcgen::CertificateParams::new(acme.names.clone())?.serialize_request(&key)?;
    order.finalize_csr(request.der()).await?;
    let chain = order.poll_certificate(&retries()).await?;
    tls::put_own_chain(data_dir, chain.as_bytes())?;
    tracing::info!(names = acme.names.join(", "), "a certificate was issued");
    Ok(())
}

fn retries() -> RetryPolicy {
    RetryPolicy::new().timeout(CHECK_TIME_MAX)
}

/// The account at this authority that is kept in the data dir.
async fn known_account(acme: &Acme, path: &Path) -> Result<Option<Account>, OrderError> {
    let known = match files::read(path, ACCOUNT_LEN_MAX) {
        Ok(bytes) => serde_json::from_slice::<Known>(&bytes).ok(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(error) => return Err(unusable(path)(error)),
    };
    Ok(match known {
        Some(known) if known.directory == acme.directory => {
            Some(builder(acme)?.from_credentials(known.credentials).await?)
        }
        _ => None,
    })
}

/// Makes an account at the authority, and keeps it in the data dir. With `--acme` the operator
/// agrees to the terms of the authority.
async fn make_account(acme: &Acme, path: &Path) -> Result<Account, OrderError> {
    let contact: Vec<String> = acme
        .contact
        .iter()
        .map(|mail| format!("mailto:{mail}"))
        .collect();
    let contact: Vec<&str> = contact.iter().map(String::as_str).collect();
    let new = NewAccount {
        contact: &contact,
        terms_of_service_agreed: true,
        only_return_existing: false,
    };
    let created = builder(acme)?.create(&new, acme.directory.clone(), None);
    let (account, credentials) = created.await?;
    let known = Known {
        directory: acme.directory.clone(),
        credentials,
    };
    let bytes = serde_json::to_vec(&known).map_err(instant_acme::Error::from)?;
    files::replace(path, &bytes).map_err(unusable(path))?;
    Ok(account)
}

fn unusable(path: &Path) -> impl FnOnce(io::Error) -> OrderError {
    let path = path.to_owned();
    move |error| OrderError::File { path, error }
}

fn builder(acme: &Acme) -> Result<AccountBuilder, OrderError> {
    let http = match &acme.ca_file {
        Some(path) => AcmeHttp::trusting(path).map_err(|error| OrderError::CaFile {
            path: path.clone(),
            error,
        })?,
        None => AcmeHttp::trusting_system()?,
    };
    Ok(Account::builder_with_http(Box::new(http)))
}

/// Proves to the authority that all names are this server's.
async fn prove(acme: &Acme, order: &mut Order) -> Result<(), OrderError> {
    let answers = in_time(answers(acme, order)).await?;
    // Dropping them closes the listener.
    let _listening = match acme.dns_hook.as_deref() {
        Some(program) => {
            for (name, answer) in &answers {
                hook::set(program, name, &answer.dns_value()).await?;
            }
            None
        }
        None if answers.is_empty() => None,
        None => {
            let answers = answers
                .iter()
                .map(|(name, answer)| (name.as_str(), answer.digest()));
            Some(Challenges::listen(&acme.listen, answers)?)
        }
    };
    in_time(have_checked(acme, order)).await
}

/// How the names are proved.
fn kind_of(acme: &Acme) -> ChallengeType {
    match acme.dns_hook {
        Some(_) => ChallengeType::Dns01,
        None => ChallengeType::TlsAlpn01,
    }
}

/// The names that are not proved yet, each with what proves it.
async fn answers(
    acme: &Acme,
    order: &mut Order,
) -> Result<Vec<(String, KeyAuthorization)>, OrderError> {
    let mut answers = Vec::new();
    let mut authorizations = order.authorizations();
    while let Some(authorization) = authorizations.next().await {
        let mut authorization = authorization?;
        if authorization.status == AuthorizationStatus::Valid {
            continue;
        }
        let name = authorization.identifier().to_string();
        let asked: Vec<&str> = answers
            .iter()
            .map(|(name, _): &(String, _)| name.as_str())
            .collect();
        if !is_ordered(&name, &acme.names, &asked) {
            return Err(OrderError::NotOrdered(shown(&name)));
        }
        let challenge = authorization.challenge(kind_of(acme));
        let challenge = challenge.ok_or(OrderError::NoChallenge(match acme.dns_hook {
            Some(_) => "DNS (dns-01)",
            None => "TLS (tls-alpn-01)",
        }))?;
        answers.push((name, challenge.key_authorization()));
    }
    Ok(answers)
}

/// Whether the authority may ask for a proof of this name: it is of the order, and the first time.
fn is_ordered(name: &str, ordered: &[String], asked: &[&str]) -> bool {
    let is_it = |other: &str| other.eq_ignore_ascii_case(name);
    ordered.iter().any(|other| is_it(other)) && !asked.iter().any(|other| is_it(other))
}

/// Lets the authority check the answers.
async fn have_checked(acme: &Acme, order: &mut Order) -> Result<(), OrderError> {
    let mut authorizations = order.authorizations();
    while let Some(authorization) = authorizations.next().await {
        let mut authorization = authorization?;
        if authorization.status == AuthorizationStatus::Valid {
            continue;
        }
        if let Some(mut challenge) = authorization.challenge(kind_of(acme)) {
            challenge.set_ready().await?;
        }
    }
    match order.poll_ready(&retries()).await {
        Ok(OrderStatus::Invalid) | Err(instant_acme::Error::Api(_)) => Err(refusal(order).await),
        Ok(_) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// The name that the authority did not accept, with what it says about it.
async fn refusal(order: &mut Order) -> OrderError {
    let mut authorizations = order.authorizations();
    while let Some(authorization) = authorizations.next().await {
        let mut authorization = match authorization {
            Ok(authorization) => authorization,
            Err(error) => return error.into(),
        };
        if let Err(error) = authorization.refresh().await {
            return error.into();
        }
        let problem = authorization
            .challenges
            .iter()
            .find_map(|one| one.error.as_ref());
        if let Some(problem) = problem {
            let detail = problem.detail.clone().or_else(|| problem.r#type.clone());
            return OrderError::NotProved {
                name: authorization.identifier().to_string(),
                cause: shown(&detail.unwrap_or_default()),
            };
        }
    }
    OrderError::NotProved {
        name: "a name".to_owned(),
        cause: "no reason was given".to_owned(),
    }
}

/// The error with what caused it: libraries of HTTP and TLS name only the outermost step.
fn causes(error: &instant_acme::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let next = error.to_string();
        if !text.contains(&next) {
            text.push_str(": ");
            text.push_str(&next);
        }
        cause = error.source();
    }
    shown(&text)
}

/// A text of the authority, as it is logged.
fn shown(text: &str) -> String {
    let text: String = text.chars().take(CAUSE_LEN_MAX).collect();
    printable(&text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_ordered_names_are_proved_and_each_once() {
        let ordered = ["a.example".to_owned(), "b.example".to_owned()];
        assert!(is_ordered("A.example", &ordered, &["b.example"]));
        assert!(!is_ordered("a.example", &ordered, &["a.example"]));
        for foreign in ["example", "c.example", "*.a.example", "a.example.", ""] {
            assert!(!is_ordered(foreign, &ordered, &[]), "{foreign}");
        }
    }
}
