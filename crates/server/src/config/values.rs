//! Parsers of values: durations, sizes, rates, addresses, networks, switches.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};
use std::path::Path;
use std::time::Duration;

use ipnet::IpNet;
use passmate_proto::PORT;

use super::{AdminAddress, LogFormat, Rate, Registration};
use crate::store::BadStoreUrl;

/// Why a value is wrong. The text follows the name of the setting.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ValueError {
    #[error("is not a duration: write it like 500ms, 10s, 2m, 24h or 7d")]
    NotADuration,
    #[error("is not a size: write it in bytes or like 512KiB, 2MiB, 1GiB")]
    NotASize,
    #[error("is not a whole number")]
    NotANumber,
    #[error("is not a rate: write it like 20/h, 30/m or 10/s, at most 1000000")]
    NotARate,
    #[error("is not a network: write it like 192.0.2.0/24, 2001:db8::/32 or 192.0.2.7")]
    NotANetwork,
    #[error("is not a DNS name: write it like sync.example.org")]
    NotAName,
    #[error("is not a URL that begins with https://")]
    NotHttps,
    #[error("is not a mail address")]
    NotAMailAddress,
    #[error("is neither true nor false")]
    NotASwitch,
    #[error("is not an address: write it like [::]:29556, 192.0.2.7:29556 or localhost:29556")]
    NotAnAddress,
    #[error(
        "is not an address with a port: write it like 127.0.0.1:9556, [::1]:9556 or \
         unix:/run/passmate-server/admin.sock"
    )]
    NotAnAdminAddress,
    #[error("is out of range: at least {least}, at most {most}")]
    OutOfRange { least: String, most: String },
    #[error("is not one of: {0}")]
    NotOneOf(&'static str),
    #[error(transparent)]
    Store(#[from] BadStoreUrl),
    #[error("is `none` and an address at the same time")]
    NoneAndMore,
    #[error("is empty")]
    Empty,
    #[error("is given more than once")]
    Repeated,
}

/// The address of a listener, before names are resolved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListenAddress {
    /// The interface.
    pub host: ListenHost,
    /// The TCP port; with 0 the system chooses one.
    pub port: u16,
}

/// The interface of a listener.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ListenHost {
    /// One address. `::` means all interfaces in both IP versions.
    Ip(IpAddr),
    /// A name that is resolved at start; each of its addresses gets a listener.
    Name(String),
}

impl ListenAddress {
    /// All interfaces in both IP versions, on the default port.
    #[must_use]
    pub fn everywhere() -> Self {
        Self::everywhere_on(PORT)
    }

    /// All interfaces in both IP versions.
    #[must_use]
    pub fn everywhere_on(port: u16) -> Self {
        Self {
            host: ListenHost::Ip(IpAddr::V6(Ipv6Addr::UNSPECIFIED)),
            port,
        }
    }

    /// Whether this is all interfaces in both IP versions.
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

/// Reads an address with a port, or `unix:` and an absolute path.
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

/// Reads `HOST:PORT`, `[IPV6]:PORT`, `:PORT`, or a host alone, which gets the default port.
pub(crate) fn parse_listen(text: &str) -> Result<ListenAddress, ValueError> {
    let bad = ValueError::NotAnAddress;
    // In a list it means that there is no listener.
    if text == "none" {
        return Err(bad);
    }
    if let Ok(ip) = text.parse::<IpAddr>() {
        return Ok(ListenAddress {
            host: ListenHost::Ip(ip),
            port: PORT,
        });
    }
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) if !text.ends_with(']') => {
            // `parse` alone would accept "+1".
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
    // A name whose last label is a number is a mistyped IPv4 address.
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

/// Whether `text` is a valid host name.
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

/// Reads a duration: a whole number and one of `ms`, `s`, `m`, `h`, `d`.
pub(crate) fn parse_duration(text: &str) -> Result<Duration, ValueError> {
    let (number, unit) = split_unit(text);
    let number: u64 = number.parse().map_err(|_| ValueError::NotADuration)?;
    let unit_ms: u64 = match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" | "min" => 60_000,
        "h" => 3_600_000,
        "d" => 24 * 3_600_000,
        _ => return Err(ValueError::NotADuration),
    };
    number
        .checked_mul(unit_ms)
        .map(Duration::from_millis)
        .ok_or(ValueError::NotADuration)
}

/// Reads a time as an operator types it: a day (2026-11-24), a time as in RFC 3339, or a time ago, such as
/// 24h or 7d.
pub(crate) fn parse_moment(text: &str, now: i64) -> Result<i64, String> {
    if let Ok(ago) = parse_duration(text) {
        return Ok(now.saturating_sub(i64::try_from(ago.as_secs()).unwrap_or(i64::MAX)));
    }
    if let Ok(time) = text.parse::<jiff::Timestamp>() {
        return Ok(time.as_second());
    }
    let day = text.parse::<jiff::civil::Date>().ok();
    let begin = day.and_then(|day| day.to_zoned(jiff::tz::TimeZone::UTC).ok());
    begin
        .map(|begin| begin.timestamp().as_second())
        .ok_or_else(|| "write a day like 2026-11-24, or a time ago like 24h or 7d".to_owned())
}

/// Reads a size in bytes: a whole number, bare or with `KiB`, `MiB` or `GiB`.
pub(crate) fn parse_size(text: &str) -> Result<u64, ValueError> {
    let (number, unit) = split_unit(text);
    let number: u64 = number.parse().map_err(|_| ValueError::NotASize)?;
    // MB is not accepted, because it may mean 10^6 or 2^20.
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

/// Reads a rate: a whole number, a slash, and one of `s`, `m`, `h`. The burst is the number of
/// events in `periods` periods.
pub(crate) fn parse_rate(text: &str, periods: u32) -> Result<Rate, ValueError> {
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
        burst: count.saturating_mul(periods),
    })
}

/// Reads a network: an address with the length of the prefix, or a single address.
pub(crate) fn parse_network(text: &str) -> Result<IpNet, ValueError> {
    match text.parse::<IpAddr>() {
        Ok(address) => Ok(address.to_canonical().into()),
        Err(_) => text.parse().map_err(|_| ValueError::NotANetwork),
    }
}

/// Reads a DNS name for a certificate.
pub(crate) fn parse_name(text: &str) -> Result<String, ValueError> {
    if is_host_name(text) && text.parse::<IpAddr>().is_err() {
        Ok(text.trim_end_matches('.').to_ascii_lowercase())
    } else {
        Err(ValueError::NotAName)
    }
}

/// Reads a URL of a server that speaks HTTPS.
pub(crate) fn parse_https(text: &str) -> Result<String, ValueError> {
    match text.strip_prefix("https://") {
        Some(rest) if !rest.is_empty() && text.bytes().all(|b| b.is_ascii_graphic()) => {
            Ok(text.to_owned())
        }
        _ => Err(ValueError::NotHttps),
    }
}

/// Reads a mail address, without or with `mailto:`.
pub(crate) fn parse_mail(text: &str) -> Result<String, ValueError> {
    let mail = text.strip_prefix("mailto:").unwrap_or(text);
    match mail.split_once('@') {
        Some((user, host))
            if !user.is_empty()
                && is_host_name(host)
                && user
                    .bytes()
                    .all(|b| b.is_ascii_graphic() && b != b',' && b != b'?') =>
        {
            Ok(mail.to_owned())
        }
        _ => Err(ValueError::NotAMailAddress),
    }
}

/// Reads a switch.
pub(crate) fn parse_switch(text: &str) -> Result<bool, ValueError> {
    match text.to_ascii_lowercase().as_str() {
        "true" | "yes" | "on" | "1" => Ok(true),
        "false" | "no" | "off" | "0" => Ok(false),
        _ => Err(ValueError::NotASwitch),
    }
}

/// Reads a duration between 10 ms and a day.
pub(crate) fn parse_time(text: &str) -> Result<Duration, ValueError> {
    let (least, most) = (Duration::from_millis(10), Duration::from_secs(86_400));
    within(parse_duration(text)?, least, most, |time| {
        match time.as_secs() {
            0 => format!("{}ms", time.as_millis()),
            seconds => format!("{seconds}s"),
        }
    })
}

pub(crate) fn parse_btoken_len(text: &str) -> Result<u32, ValueError> {
    let len = within(parse_size(text)?, 1, 512 << 20, show_size)?;
    Ok(u32::try_from(len).expect("512 MiB fit into 32 bits"))
}

/// Reads the limit of an account; `none` for none.
pub(crate) fn parse_limit(text: &str) -> Result<Option<u32>, ValueError> {
    if text == "none" {
        return Ok(None);
    }
    parse_btoken_len(text).map(Some)
}

pub(crate) fn parse_memory(text: &str) -> Result<u64, ValueError> {
    within(parse_size(text)?, 1, 1 << 44, show_size)
}

pub(crate) fn parse_connections(text: &str) -> Result<usize, ValueError> {
    let number = within(parse_number(text)?, 1, 1_000_000, |number| {
        number.to_string()
    })?;
    Ok(usize::try_from(number).unwrap_or(usize::MAX))
}

pub(crate) fn parse_accounts(text: &str) -> Result<u64, ValueError> {
    within(parse_number(text)?, 0, 1 << 40, |number| number.to_string())
}

/// Reads a rate for one source: as many events at once as in one period.
pub(crate) fn parse_rate_of_source(text: &str) -> Result<Rate, ValueError> {
    parse_rate(text, 1)
}

/// Reads a rate for all sources together: as many events at once as in ten periods.
pub(crate) fn parse_rate_of_all(text: &str) -> Result<Rate, ValueError> {
    parse_rate(text, 10)
}

pub(crate) fn parse_log_format(text: &str) -> Result<LogFormat, ValueError> {
    match text {
        "text" => Ok(LogFormat::Text),
        "json" => Ok(LogFormat::Json),
        _ => Err(ValueError::NotOneOf("text, json")),
    }
}

pub(crate) fn parse_registration(text: &str) -> Result<Registration, ValueError> {
    match text {
        "open" => Ok(Registration::Open),
        "invite" => Ok(Registration::Invite),
        "closed" => Ok(Registration::Closed),
        _ => Err(ValueError::NotOneOf("open, invite, closed")),
    }
}

fn show_size(bytes: u64) -> String {
    format!("{bytes} bytes")
}

fn within<T: PartialOrd>(
    value: T,
    least: T,
    most: T,
    show: impl Fn(T) -> String,
) -> Result<T, ValueError> {
    if value < least || value > most {
        return Err(ValueError::OutOfRange {
            least: show(least),
            most: show(most),
        });
    }
    Ok(value)
}

/// Splits a number from its unit; spaces between them are allowed.
fn split_unit(text: &str) -> (&str, &str) {
    let end = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    (number, unit.trim_start_matches(' '))
}

/// The known word that is nearest to `written`, if one is near.
pub(crate) fn nearest<'a>(
    written: &str,
    known: impl IntoIterator<Item = &'a str>,
) -> Option<&'a str> {
    let written = written.to_ascii_lowercase().replace('_', "-");
    // A longer text is not a slip of a known word, and would only cost time.
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
