//! Asks a service whether passwords stood in breaches: that of Have I Been Pwned, or one that
//! answers as it does. The rules are:
//!  - only the first 5 of the 40 hexadecimal digits of a password's SHA-1 hash leave this machine.
//!    Each such begin is that of hundreds of breached passwords, and the service answers with all;
//!  - the service is asked to pad its answer, so that its length tells nothing on the way;
//!  - the way is encrypted, unless the service is on this machine; a redirection is an error;
//!  - an answer is read up to a limit, and each wait has an end.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use data_encoding::HEXUPPER;
use ureq::tls::{RootCerts, TlsConfig, TlsProvider};

use super::Hash;
use crate::escape::escape;
use crate::net::describe;
use crate::problem::{Problem, ProblemKind};
use crate::settings::breach_service::host_of;

/// Digits of a hash that are sent.
const SENT: usize = 5;
/// The longest answer, in bytes. Those of Have I Been Pwned have some 40 KiB.
const ANSWER_LEN_MAX: u64 = 1 << 20;
/// How long one answer may take.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long all of them may take: a client of an agent waits a little longer.
const PATIENCE_IN_ALL: Duration = Duration::from_mins(12);
/// How many questions are open at once.
const AT_ONCE: usize = 8;

/// A service that knows breached passwords.
pub(crate) struct RangeService {
    /// What stands before the digits.
    address: String,
    host: String,
    agent: ureq::Agent,
}

impl RangeService {
    pub(crate) fn new(address: &str) -> Result<Self, Problem> {
        let (host, is_here) = host_of(address).map_err(|expected| {
            Problem::usage(
                format!(
                    "{} names no service for breached passwords",
                    escape(address)
                ),
                format!("`passmate config set audit.breach-url` takes {expected}"),
            )
        })?;
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let tls = TlsConfig::builder()
            .provider(TlsProvider::Rustls)
            .root_certs(RootCerts::PlatformVerifier)
            .unversioned_rustls_crypto_provider(provider);
        let config = ureq::Agent::config_builder()
            .tls_config(tls.build())
            .https_only(!is_here)
            .http_status_as_error(false)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .max_idle_connections_per_host(AT_ONCE)
            .user_agent("passmate")
            .timeout_global(Some(PATIENCE));
        // A service on this machine is behind no proxy.
        let config = match is_here {
            true => config.proxy(None),
            false => config,
        };
        let slash = if address.ends_with('/') { "" } else { "/" };
        Ok(Self {
            address: format!("{address}{slash}"),
            host,
            agent: config.build().new_agent(),
        })
    }

    /// How often the passwords with these hashes stood in breaches; those that did not are left out.
    pub(crate) fn counts(&self, hashes: &BTreeSet<Hash>) -> Result<BTreeMap<Hash, u64>, Problem> {
        let mut begins: BTreeMap<String, Vec<Hash>> = BTreeMap::new();
        for hash in hashes {
            let mut digits = HEXUPPER.encode(hash);
            digits.truncate(SENT);
            begins.entry(digits).or_default().push(*hash);
        }
        let ends = Instant::now() + PATIENCE_IN_ALL;
        let open = Mutex::new(begins.into_iter());
        let found = Mutex::new(Ok(BTreeMap::new()));
        let work = || {
            loop {
                let next = open.lock().unwrap_or_else(PoisonError::into_inner).next();
                let Some((begin, hashes)) = next else { break };
                let answer = match Instant::now() < ends {
                    true => self.ask(&begin),
                    false => Err(self.problem("it takes longer than 12 minutes")),
                };
                let mut found = found.lock().unwrap_or_else(PoisonError::into_inner);
                match (&mut *found, answer) {
                    (Ok(found), Ok(known)) => found.extend(hashes.into_iter().filter_map(|hash| {
                        let count = *known.get(&hash)?;
                        Some((hash, count))
                    })),
                    (Ok(_), Err(problem)) => *found = Err(problem),
                    // Another one failed.
                    (Err(_), _) => break,
                }
            }
        };
        thread::scope(|scope| {
            for _ in 0..AT_ONCE {
                scope.spawn(work);
            }
        });
        found.into_inner().unwrap_or_else(PoisonError::into_inner)
    }

    /// The hashes with this begin that the service knows, and how often each stood in a breach.
    fn ask(&self, begin: &str) -> Result<BTreeMap<Hash, u64>, Problem> {
        let failed = |error: ureq::Error| match error {
            ureq::Error::Io(error) => self.problem(&describe(&error)),
            ureq::Error::Timeout(_) => self.problem("no answer in time"),
            error => self.problem(&error.to_string()),
        };
        let request = self.agent.get(format!("{}{begin}", self.address));
        let mut response = request
            .header("Add-Padding", "true")
            .call()
            .map_err(failed)?;
        if response.status() != 200 {
            return Err(self.problem(&format!("it answers with status {}", response.status())));
        }
        let body = response.body_mut().with_config().limit(ANSWER_LEN_MAX);
        let body = body.read_to_vec().map_err(failed)?;
        read(begin, &body).ok_or_else(|| self.problem("its answer is no list of hashes"))
    }

    fn problem(&self, why: &str) -> Problem {
        Problem::new(
            ProblemKind::Network,
            format!(
                "{} cannot be asked about breached passwords: {}",
                escape(&self.host),
                escape(why)
            ),
            "nothing was judged; leave out --online, or look the passwords up in a file with \
             --breached",
        )
    }
}

/// The lines of an answer: the rest of a hash, a colon, and a number, which is 0 in padding.
fn read(begin: &str, answer: &[u8]) -> Option<BTreeMap<Hash, u64>> {
    let text = std::str::from_utf8(answer).ok()?;
    let lines = text.lines().filter(|line| !line.is_empty());
    let line = |line: &str| {
        let (rest, count) = line.split_once(':')?;
        let digits = format!("{begin}{rest}").to_ascii_uppercase();
        let hash = HEXUPPER.decode(digits.as_bytes()).ok()?;
        Some((hash.try_into().ok()?, count.trim().parse().ok()?))
    };
    let mut known: BTreeMap<_, _> = lines.map(line).collect::<Option<_>>()?;
    known.retain(|_, count| *count > 0);
    Some(known)
}

#[cfg(test)]
mod tests;
