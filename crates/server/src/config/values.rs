//! What people write for a value: durations, sizes, addresses, switches, where the store is.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};
use std::path::Path;
use std::time::Duration;

use ipnet::IpNet;
use passmate_proto::PORT;

use super::{AdminAddress, Rate};
use crate::store::BadStoreUrl;

/// Why a value cannot be what it was given for; reads on after the name of the setting.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ValueError {
    /// Not a number with a unit.
    #[error("is not a duration: write it like 500ms, 10s, 2m or 24h")]
    NotADuration,
    /// Not bytes and not a number with a binary unit.
    #[error("is not a size: write it in bytes or like 512KiB, 2MiB, 1GiB")]
    NotASize,
    /// Not a whole number.
    #[error("is not a whole number")]
    NotANumber,
    /// Not a number for a stretch of time.
    #[error("is not a rate: write it like 20/h, 30/m or 10/s, at most 1000000")]
    NotARate,
    /// Neither an address nor a network.
    #[error("is not a network: write it like 192.0.2.0/24, 2001:db8::/32 or 192.0.2.7")]
    NotANetwork,
    /// Neither true nor false.
    #[error("is neither true nor false")]
    NotASwitch,
    /// Not an address to listen on.
    #[error("is not an address: write it like [::]:29556, 192.0.2.7:29556 or localhost:29556")]
    NotAnAddress,
    /// Not an address for the operator's page.
    #[error(
        "is not an address with a port: write it like 127.0.0.1:9556, [::1]:9556 or unix:/run/passmate/admin.sock"
    )]
    NotAnAdminAddress,
    /// The value is a number outside of what works.
    #[error("is out of range: at least {least}, at most {most}")]
    OutOfRange {
        /// The least accepted value, as one would write it.
        least: String,
        /// The greatest accepted value, as one would write it.
        most: String,
    },
    /// Not one of a few words.
    #[error("is not one of: {0}")]
    NotOneOf(&'static str),
    #[error(transparent)]
    Store(#[from] BadStoreUrl),
    /// `none` together with addresses.
    #[error("is `none` and an address at the same time")]
    NoneAndMore,
    /// Nothing was written where something is needed.
    #[error("is empty")]
    Empty,
    /// Given more than once.
    #[error("is given more than once")]
    Repeated,
}

/// Where a listener takes connections, before names are looked up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListenAddress {
    /// The interface.
    pub host: ListenHost,
    /// The TCP port; 0 lets the system choose.
    pub port: u16,
}

/// The interface of a listener.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ListenHost {
    /// One address. `::` means every interface in both IP versions.
    Ip(IpAddr),
    /// A name, looked up when the server starts; each of its addresses gets a listener.
    Name(String),
}

impl ListenAddress {
    /// Every interface, both IP versions, the protocol's port.
    #[must_use]
    pub fn everywhere() -> Self {
        Self {
            host: ListenHost::Ip(IpAddr::V6(Ipv6Addr::UNSPECIFIED)),
            port: PORT,
        }
    }

    /// Whether this is every interface in both IP versions.
    #[must_use]
    pub fn is_everywhere(&self) -> bool {
        self.host == ListenHost::Ip(IpAddr::V6(Ipv6Addr::UNSPECIFIED))
    }
}

impl fmt::Display for ListenAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.host {
            ListenHost::Ip(IpAddr::V6(ip)) => write!(f, "[{ip}]:{}", self.port),
            ListenHost::Ip(IpAddr::V4(ip)) => write!(f, "{ip}:{}", self.port),
            ListenHost::Name(name) => write!(f, "{name}:{}", self.port),
        }
    }
}

/// Reads `HOST:PORT`, `[IPV6]:PORT`, `:PORT` or a host alone, which gets the protocol's port.
/// An address with its port, or `unix:` and a path.
pub(crate) fn parse_admin(text: &str) -> Result<AdminAddress, ValueError> {
    if let Some(path) = text.strip_prefix("unix:") {
        let path = Path::new(path);
        return if path.is_absolute() {
            Ok(AdminAddress::Unix(path.to_owned()))
        } else {
            Err(ValueError::NotAnAdminAddress)
        };
    }
    let text = text
        .strip_prefix("localhost:")
        .map_or_else(|| text.to_owned(), |port| format!("127.0.0.1:{port}"));
    text.parse()
        .map(AdminAddress::Tcp)
        .map_err(|_| ValueError::NotAnAdminAddress)
}

pub(crate) fn parse_listen(text: &str) -> Result<ListenAddress, ValueError> {
    let bad = ValueError::NotAnAddress;
    if let Ok(ip) = text.parse::<IpAddr>() {
        return Ok(ListenAddress {
            host: ListenHost::Ip(ip),
            port: PORT,
        });
    }
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) if !text.ends_with(']') => {
            // `parse` alone would take "+1".
            if port.is_empty() || !port.bytes().all(|b| b.is_ascii_digit()) {
                return Err(bad);
            }
            (host, port.parse().map_err(|_| bad.clone())?)
        }
        _ => (text, PORT),
    };
    if host.is_empty() || host == "*" {
        return Ok(ListenAddress {
            port,
            ..ListenAddress::everywhere()
        });
    }
    if let Some(inner) = host
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'))
    {
        let ip: Ipv6Addr = inner.parse().map_err(|_| bad)?;
        return Ok(ListenAddress {
            host: ListenHost::Ip(IpAddr::V6(ip)),
            port,
        });
    }
    if let Ok(ip) = host.parse::<std::net::Ipv4Addr>() {
        return Ok(ListenAddress {
            host: ListenHost::Ip(IpAddr::V4(ip)),
            port,
        });
    }
    // A last label of digits alone is a mistyped IPv4 address, not a name.
    let last_is_number = host
        .rsplit('.')
        .next()
        .is_some_and(|label| label.bytes().all(|b| b.is_ascii_digit()));
    if last_is_number || !is_host_name(host) {
        return Err(bad);
    }
    Ok(ListenAddress {
        host: ListenHost::Name(host.to_owned()),
        port,
    })
}

/// Whether `text` can be a host's name: letters, digits, hyphens and dots.
pub(crate) fn is_host_name(text: &str) -> bool {
    text.len() <= 253
        && text
            .strip_suffix('.')
            .unwrap_or(text)
            .split('.')
            .all(|label| {
                (1..=63).contains(&label.len())
                    && label
                        .bytes()
                        .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
                    && !label.starts_with('-')
                    && !label.ends_with('-')
            })
}

/// Reads a duration: a whole number and one of `ms`, `s`, `m`, `h`.
pub(crate) fn parse_duration(text: &str) -> Result<Duration, ValueError> {
    let (number, unit) = split_unit(text);
    let number: u64 = number.parse().map_err(|_| ValueError::NotADuration)?;
    let unit_ms: u64 = match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" | "min" => 60_000,
        "h" => 3_600_000,
        _ => return Err(ValueError::NotADuration),
    };
    number
        .checked_mul(unit_ms)
        .map(Duration::from_millis)
        .ok_or(ValueError::NotADuration)
}

/// Reads a size in bytes: a whole number, bare or with `KiB`, `MiB` or `GiB`.
pub(crate) fn parse_size(text: &str) -> Result<u64, ValueError> {
    let (number, unit) = split_unit(text);
    let number: u64 = number.parse().map_err(|_| ValueError::NotASize)?;
    // No MB: whether it is 10^6 or 2^20 depends on whom one asks.
    let unit_bytes: u64 = match unit {
        "" | "B" => 1,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        _ => return Err(ValueError::NotASize),
    };
    number.checked_mul(unit_bytes).ok_or(ValueError::NotASize)
}

/// Reads a whole number; `_` may group its digits.
pub(crate) fn parse_number(text: &str) -> Result<u64, ValueError> {
    if !text.starts_with(|c: char| c.is_ascii_digit()) {
        return Err(ValueError::NotANumber);
    }
    text.replace('_', "")
        .parse()
        .map_err(|_| ValueError::NotANumber)
}

/// Reads a rate: a whole number, a slash, and one of `s`, `m`, `h`. As many as come in so many of
/// these at once.
pub(crate) fn parse_rate(text: &str, stretches: u32) -> Result<Rate, ValueError> {
    let (count, per) = text.split_once('/').ok_or(ValueError::NotARate)?;
    let seconds = match per {
        "s" => 1,
        "m" | "min" => 60,
        "h" => 3600,
        _ => return Err(ValueError::NotARate),
    };
    let count = parse_number(count).map_err(|_| ValueError::NotARate)?;
    let count = u32::try_from(count)
        .ok()
        .filter(|count| (1..=1_000_000).contains(count))
        .ok_or(ValueError::NotARate)?;
    Ok(Rate {
        count,
        per: Duration::from_secs(seconds),
        burst: count.saturating_mul(stretches),
    })
}

/// Reads a network as address and length of the prefix, or one address.
pub(crate) fn parse_network(text: &str) -> Result<IpNet, ValueError> {
    match text.parse::<IpAddr>() {
        Ok(address) => Ok(address.to_canonical().into()),
        Err(_) => text.parse().map_err(|_| ValueError::NotANetwork),
    }
}

/// Reads a switch as people write one in a file or a variable.
pub(crate) fn parse_switch(text: &str) -> Result<bool, ValueError> {
    match text.to_ascii_lowercase().as_str() {
        "true" | "yes" | "on" | "1" => Ok(true),
        "false" | "no" | "off" | "0" => Ok(false),
        _ => Err(ValueError::NotASwitch),
    }
}

/// The number in front and what follows it, blanks between them allowed.
fn split_unit(text: &str) -> (&str, &str) {
    let end = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    (number, unit.trim_start_matches(' '))
}

/// The word of `known` that `written` was most likely meant to be, if any is near.
pub(crate) fn nearest<'a>(
    written: &str,
    known: impl IntoIterator<Item = &'a str>,
) -> Option<&'a str> {
    let written = written.to_ascii_lowercase().replace('_', "-");
    // What is longer than every name by far is no slip of one, and comparing costs its length.
    let written: String = written.chars().take(64).collect();
    known
        .into_iter()
        .map(|word| (strsim::levenshtein(&written, word), word))
        .min_by_key(|(distance, _)| *distance)
        .filter(|(distance, word)| *distance <= word.len().max(6) / 2)
        .map(|(_, word)| word)
}

#[cfg(test)]
mod tests;
