//! One order: the account, the proof that the names are ours, and the certificate.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use instant_acme::{
    Account, AccountBuilder, AccountCredentials, AuthorizationStatus, ChallengeType, Identifier,
    NewAccount, NewOrder, OrderStatus, RetryPolicy,
};
use serde::{Deserialize, Serialize};

use super::challenge::Challenges;
use super::hook::{self, HookError};
use crate::config::Acme;
use crate::files;
use crate::listen::ListenError;
use crate::tls::{self, TlsError};

/// The file with the key of the account at the authority.
const ACCOUNT: &str = "acme-account.json";
const ACCOUNT_LEN_MAX: u64 = 1 << 16;
/// How long the authority may take to check the names, and to issue.
const CHECK_TIME_MAX: Duration = Duration::from_secs(120);

/// Why no certificate was issued.
#[derive(Debug, thiserror::Error)]
pub(super) enum OrderError {
    #[error("the ACME server cannot be used: {0}")]
    Server(#[from] instant_acme::Error),
    #[error("the ACME server does not check names by {0}")]
    NoChallenge(&'static str),
    #[error("the ACME server did not accept that {name} is this server: {cause}")]
    NotProved { name: String, cause: String },
    #[error("the order was not finished in time")]
    TookTooLong,
    #[error(transparent)]
    Listen(#[from] ListenError),
    #[error(transparent)]
    Hook(#[from] HookError),
    #[error(transparent)]
    Tls(#[from] TlsError),
    #[error("{}: {error}", path.display())]
    File { path: PathBuf, error: io::Error },
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
            Self::NoChallenge(_) => "use another way (--acme-dns-hook), or another authority",
            Self::NotProved { .. } => {
                "check that the name leads to this machine, and that port 443 there reaches \
                 --acme-listen; or use --acme-dns-hook"
            }
            Self::Listen(error) => error.hint(),
            Self::Hook(_) => "run the program of --acme-dns-hook by hand, as the server's user",
            Self::Tls(error) => error.hint(),
            Self::File { .. } => {
                "check that the server's user may write to the data dir, and the disk"
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
    let account = account(acme, &data_dir.join(ACCOUNT)).await?;
    let names = acme.names.iter().cloned().map(Identifier::Dns);
    let names: Vec<Identifier> = names.collect();
    let mut order = account.new_order(&NewOrder::new(&names)).await?;
    let proved = prove(acme, &mut order).await;
    if let Some(program) = &acme.dns_hook {
        hook::clear_all(program, &acme.names).await;
    }
    proved?;
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

/// The account at the authority, which is made once. With `--acme` the operator agrees to the terms
/// of the authority.
async fn account(acme: &Acme, path: &Path) -> Result<Account, OrderError> {
    let failed = |error| OrderError::File {
        path: path.to_owned(),
        error,
    };
    let known = match files::read(path, ACCOUNT_LEN_MAX) {
        Ok(bytes) => serde_json::from_slice::<Known>(&bytes).ok(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(error) => return Err(failed(error)),
    };
    if let Some(known) = known.filter(|known| known.directory == acme.directory) {
        return Ok(builder(acme)?.from_credentials(known.credentials).await?);
    }
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
    files::replace(path, &bytes).map_err(failed)?;
    Ok(account)
}

fn builder(acme: &Acme) -> Result<AccountBuilder, OrderError> {
    Ok(match &acme.ca_file {
        Some(path) => Account::builder_with_root(path)?,
        None => Account::builder()?,
    })
}

/// Proves to the authority that all names are this server's.
async fn prove(acme: &Acme, order: &mut instant_acme::Order) -> Result<(), OrderError> {
    let kind = match acme.dns_hook {
        Some(_) => ChallengeType::Dns01,
        None => ChallengeType::TlsAlpn01,
    };
    let mut answers = Vec::new();
    let mut authorizations = order.authorizations();
    while let Some(authorization) = authorizations.next().await {
        let mut authorization = authorization?;
        if authorization.status == AuthorizationStatus::Valid {
            continue;
        }
        let name = authorization.identifier().to_string();
        let challenge = authorization.challenge(kind.clone());
        let challenge = challenge.ok_or(OrderError::NoChallenge(match acme.dns_hook {
            Some(_) => "DNS (dns-01)",
            None => "TLS (tls-alpn-01)",
        }))?;
        answers.push((name, challenge.key_authorization()));
    }
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
    let mut authorizations = order.authorizations();
    while let Some(authorization) = authorizations.next().await {
        let mut authorization = authorization?;
        if authorization.status == AuthorizationStatus::Valid {
            continue;
        }
        if let Some(mut challenge) = authorization.challenge(kind.clone()) {
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
async fn refusal(order: &mut instant_acme::Order) -> OrderError {
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
                cause: crate::text::printable(&detail.unwrap_or_default()),
            };
        }
    }
    OrderError::NotProved {
        name: "a name".to_owned(),
        cause: "no reason was given".to_owned(),
    }
}
