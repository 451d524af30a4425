//! What a person should do something about: weak, reused, breached, old and expired passwords, and
//! addresses without encryption. The rules are:
//!  - every field that is a password is judged, a further one such as `password 2` too;
//!  - a finding names records and fields, and holds no part of a password;
//!  - an address on this machine or in a network of one's own may do without encryption: nobody
//!    issues certificates for it.
//!
//! Whether a site offers a second factor is not judged: no list of sites is shipped.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;

use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan};
use passmate_interchange::host_of;
use passmate_vault::Vault;
use passmate_vault::login::{FieldRole, is_further, role_of};
use passmate_vault::record::Domain;
use passmate_vault::view::ViewRecord;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;
use zxcvbn::zxcvbn;

use crate::answer::Reply;
use crate::breach::range::RangeService;
use crate::breach::{BreachList, Hash, hash_of};
use crate::records::text;

/// What is looked for.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditRules {
    /// A password that was set before this is old, in seconds since 1970; without it none is.
    pub old_before: Option<i64>,
    /// A list of the hashes of breached passwords: lines HASH:COUNT, sorted by their SHA-1 hashes.
    pub breached: Option<PathBuf>,
    /// The address of a service that knows breached passwords. It gets the first five digits of the
    /// hash of each password.
    pub online: Option<String>,
}

/// What was found.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Audit {
    /// The findings, the worst first.
    pub findings: Vec<Finding>,
    /// How many records were looked at.
    pub records: usize,
    /// How many passwords were judged.
    pub passwords: usize,
}

/// One thing that should be changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// What it is.
    pub kind: FindingKind,
    /// Where it is: several places if a password is reused.
    pub places: Vec<FieldPlace>,
}

/// A field of a record.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct FieldPlace {
    /// The path of the record.
    pub path: String,
    /// The name of the field.
    pub field: String,
}

/// What was found. The worse comes first.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum FindingKind {
    /// The password stood in a breach, so often.
    Breached {
        /// How often.
        count: u64,
    },
    /// Several records have the same password.
    Reused,
    /// The password is found by so many guesses, as a power of ten.
    Weak {
        /// The power of ten, rounded down.
        guesses: u8,
    },
    /// The record ended, in seconds since 1970.
    Expired {
        /// When.
        since: i64,
    },
    /// The address is not encrypted: what is typed there can be read on the way.
    NoTls {
        /// How it begins, such as `http`.
        scheme: String,
        /// The host.
        host: String,
    },
    /// The password was one of another record before.
    ReusedEarlier {
        /// The path of that record.
        other: String,
    },
    /// The password was set so long ago, in seconds since 1970.
    Old {
        /// When.
        since: i64,
    },
}

impl FindingKind {
    /// One word for it.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Breached { .. } => "breached",
            Self::Reused => "reused",
            Self::Weak { .. } => "weak",
            Self::Expired { .. } => "expired",
            Self::NoTls { .. } => "no-tls",
            Self::ReusedEarlier { .. } => "reused-earlier",
            Self::Old { .. } => "old",
        }
    }

    /// The order of findings: the kind, and within it the worse first.
    fn rank(&self) -> (u8, u64) {
        match self {
            Self::Breached { count } => (0, u64::MAX - count),
            Self::Reused => (1, 0),
            Self::Weak { guesses } => (2, u64::from(*guesses)),
            Self::Expired { since } => (3, since.unsigned_abs()),
            Self::NoTls { .. } => (4, 0),
            Self::ReusedEarlier { .. } => (5, 0),
            Self::Old { since } => (6, since.unsigned_abs()),
        }
    }
}

/// A password that is found by 10^8 guesses is weak: a thief who has a site's badly made hashes
/// needs no second for it.
const WEAK_BELOW: f64 = 8.0;
/// Characters that are judged first: judging takes the square of the length or longer. A begin that
/// is strong makes a strong password.
const JUDGED_CHARS: usize = 32;
/// Characters that are judged of a password whose begin is weak.
const JUDGED_CHARS_MAX: usize = 100;
/// Words of the record that make a password easy to guess, and their length.
const WORDS_MAX: usize = 20;
const WORD_LEN_MAX: usize = 40;

/// A password that a record has now.
struct Password<'a> {
    record: &'a ViewRecord<'a>,
    field: String,
    value: Zeroizing<String>,
    hash: Hash,
    set_at: Option<i64>,
}

/// Looks at all records.
pub(crate) fn audit(vault: &Vault, rules: &AuditRules, now: i64) -> Reply<Audit> {
    let list = rules
        .breached
        .as_deref()
        .map(BreachList::open)
        .transpose()?;
    let view = vault.view();
    let passwords: Vec<_> = view.records().iter().flat_map(passwords_of).collect();
    let mut findings = Vec::new();
    let mut same: BTreeMap<Hash, Vec<&Password<'_>>> = BTreeMap::new();
    for password in &passwords {
        same.entry(password.hash).or_default().push(password);
    }
    // What fails, fails before the long work.
    let online = match &rules.online {
        Some(address) => RangeService::new(address)?.counts(&same.keys().copied().collect())?,
        None => BTreeMap::new(),
    };
    let earlier = earlier_of(view.records());
    for (hash, group) in &same {
        let places = || group.iter().map(|password| password.place()).collect();
        let mut find = |kind| {
            let places = places();
            findings.push(Finding { kind, places });
        };
        let records: BTreeSet<_> = group.iter().map(|one| one.record.id).collect();
        if records.len() > 1 {
            find(FindingKind::Reused);
        } else if let Some(others) = earlier.get(hash)
            && let Some(other) = others.iter().find(|other| !records.contains(&other.id))
        {
            let other = text(&other.path);
            find(FindingKind::ReusedEarlier { other });
        }
        let in_list = list.as_ref().map_or(Ok(0), |list| list.count(*hash))?;
        let count = online.get(hash).copied().unwrap_or(0).max(in_list);
        if count > 0 {
            find(FindingKind::Breached { count });
        }
        if let Some(guesses) = group.first().and_then(|one| weakness(one)) {
            find(FindingKind::Weak { guesses });
        }
    }
    for password in &passwords {
        let old = password.set_at.zip(rules.old_before);
        if let Some((since, _)) = old.filter(|(set_at, before)| set_at < before) {
            let kind = FindingKind::Old { since };
            let places = vec![password.place()];
            findings.push(Finding { kind, places });
        }
    }
    for record in view.records() {
        findings.extend(expired(record, now));
        findings.extend(open_addresses(record));
    }
    for finding in &mut findings {
        finding.places.sort();
    }
    findings.sort_by(|a, b| {
        let many = |finding: &Finding| std::cmp::Reverse(finding.places.len());
        let order = a.kind.rank().cmp(&b.kind.rank());
        order
            .then_with(|| many(a).cmp(&many(b)))
            .then_with(|| a.places.cmp(&b.places))
    });
    Ok(Audit {
        findings,
        records: view.records().len(),
        passwords: passwords.len(),
    })
}

impl Password<'_> {
    fn place(&self) -> FieldPlace {
        FieldPlace {
            path: text(&self.record.path),
            field: self.field.clone(),
        }
    }
}

fn is_password(name: &str) -> bool {
    role_of(name) == Some(FieldRole::Password) || is_further(name, FieldRole::Password)
}

fn passwords_of<'a>(record: &'a ViewRecord<'a>) -> Vec<Password<'a>> {
    let fields = record.fields().filter_map(|field| {
        let name = text(field.name);
        let value = Zeroizing::new(text(&field.value));
        is_password(&name).then(|| Password {
            record,
            field: name,
            hash: hash_of(&value),
            value,
            set_at: field.stamp.deciding_seconds(),
        })
    });
    fields.collect()
}

/// The records that had a password before, by its hash.
fn earlier_of<'a>(records: &'a [ViewRecord<'a>]) -> BTreeMap<Hash, Vec<&'a ViewRecord<'a>>> {
    let mut earlier: BTreeMap<Hash, Vec<&ViewRecord<'_>>> = BTreeMap::new();
    for record in records {
        for change in record.record.changes() {
            let is_user = change.key.domain == Domain::User;
            if !is_user || !is_password(&change.key.name.to_string_lossy()) {
                continue;
            }
            let value = change
                .value
                .shown()
                .map(|value| Zeroizing::new(text(&value)));
            if let Some(value) = value.filter(|value| !value.is_empty()) {
                earlier.entry(hash_of(&value)).or_default().push(record);
            }
        }
    }
    earlier
}

/// The guesses that find a weak password, as a power of ten.
fn weakness(password: &Password<'_>) -> Option<u8> {
    let words = words_of(password.record);
    let words: Vec<_> = words.iter().map(String::as_str).collect();
    let judge = |chars: usize| {
        let judged: Zeroizing<String> =
            Zeroizing::new(password.value.chars().take(chars).collect());
        zxcvbn(&judged, &words).guesses_log10()
    };
    let mut guesses = judge(JUDGED_CHARS);
    if guesses < WEAK_BELOW && password.value.chars().nth(JUDGED_CHARS).is_some() {
        guesses = judge(JUDGED_CHARS_MAX);
    }
    let found = (0..=u8::MAX).take_while(|power| f64::from(*power) <= guesses);
    (guesses < WEAK_BELOW).then(|| found.last().unwrap_or(0))
}

/// The words of a record that a guesser would try: of its path, its user name and its host.
fn words_of(record: &ViewRecord<'_>) -> Vec<String> {
    let mut words = vec![text(&record.path)];
    for field in record.fields() {
        match role_of(&field.name.to_string_lossy()) {
            Some(FieldRole::User | FieldRole::Person) => words.push(text(&field.value)),
            Some(FieldRole::Url) => {
                let url = field.value.to_string_lossy();
                words.extend(host_of(&url).map(str::to_owned));
            }
            _ => {}
        }
    }
    let parts = words.iter().flat_map(|word| {
        let parts = word.split(|c: char| !c.is_alphanumeric());
        parts.filter(|part| part.len() > 2 && part.len() <= WORD_LEN_MAX)
    });
    parts.take(WORDS_MAX).map(str::to_owned).collect()
}

fn expired(record: &ViewRecord<'_>, now: i64) -> Option<Finding> {
    /// What a card's field is called, apart from the names of the role.
    const OF_CARD: &str = "expiry date";
    let of_card = || record.field(&OF_CARD.into());
    let field = FieldRole::Expires.find(record).or_else(of_card)?;
    let since = end_of(&field.value.to_string_lossy()).filter(|end| *end <= now)?;
    let place = FieldPlace {
        path: text(&record.path),
        field: text(field.name),
    };
    Some(Finding {
        kind: FindingKind::Expired { since },
        places: vec![place],
    })
}

/// When a time, a day or a month is over, in seconds since 1970. Days end as in UTC.
fn end_of(value: &str) -> Option<i64> {
    let value = value.trim();
    if let Ok(time) = value.parse::<Timestamp>() {
        return Some(time.as_second());
    }
    let next = match value.parse::<Date>() {
        Ok(day) => day.checked_add(1.day()).ok()?,
        Err(_) => {
            let month = format!("{value}-01").parse::<Date>().ok()?;
            month.checked_add(1.month()).ok()?
        }
    };
    let end = next.to_zoned(TimeZone::UTC).ok()?;
    Some(end.timestamp().as_second())
}

/// Addresses without encryption, of a record that has something to log in with.
fn open_addresses(record: &ViewRecord<'_>) -> Vec<Finding> {
    let names = || record.fields().map(|field| text(field.name));
    if !names().any(|name| is_password(&name)) {
        return Vec::new();
    }
    let is_url =
        |name: &str| role_of(name) == Some(FieldRole::Url) || is_further(name, FieldRole::Url);
    let fields = record.fields().filter_map(|field| {
        let name = text(field.name);
        let url = is_url(&name).then(|| text(&field.value))?;
        let scheme = open_scheme(&url)?;
        let host = host_of(&url).filter(|host| !is_own_network(host))?;
        let kind = FindingKind::NoTls {
            scheme: scheme.to_owned(),
            host: host.to_owned(),
        };
        let path = text(&record.path);
        let places = vec![FieldPlace { path, field: name }];
        Some(Finding { kind, places })
    });
    fields.collect()
}

/// The scheme of an address, if what is sent there is not encrypted.
fn open_scheme(url: &str) -> Option<&'static str> {
    const OPEN: [&str; 6] = ["http", "ftp", "telnet", "ws", "ldap", "vnc"];
    let (scheme, _) = url.trim().split_once(':')?;
    OPEN.into_iter()
        .find(|open| open.eq_ignore_ascii_case(scheme))
}

/// Whether a host is this machine, or in a network of one's own.
fn is_own_network(host: &str) -> bool {
    const ENDINGS: [&str; 6] = [
        ".localhost",
        ".local",
        ".lan",
        ".home.arpa",
        ".internal",
        ".onion",
    ];
    let without_port = match host.strip_prefix('[') {
        Some(rest) => rest.split(']').next(),
        None => host.split(':').next(),
    };
    let host = without_port.unwrap_or_default().to_ascii_lowercase();
    let host = host.trim_end_matches('.');
    match host.parse() {
        Ok(IpAddr::V4(address)) => is_private(address),
        Ok(IpAddr::V6(address)) => {
            address.is_loopback() || address.is_unique_local() || address.is_unicast_link_local()
        }
        Err(_) => !host.contains('.') || ENDINGS.iter().any(|ending| host.ends_with(ending)),
    }
}

fn is_private(address: Ipv4Addr) -> bool {
    address.is_loopback() || address.is_private() || address.is_link_local()
}

#[cfg(test)]
mod tests;
