//! The address of a server: a host and a port.

use std::fmt;
use std::net::Ipv6Addr;
use std::str::FromStr;

use passmate_proto::PORT;
use rustls::pki_types::ServerName;
use serde::{Deserialize, Serialize};

/// A server's host (a DNS name in lower case or an IP address, without brackets) and port.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "(String, u16)", into = "(String, u16)")]
pub struct Address {
    host: String,
    port: u16,
}

/// Why a text names no server.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    /// It has a scheme, such as `https://`.
    #[error("a server is named by HOST or HOST:PORT, without `…://` and without a path")]
    Url,
    /// The port is not a number from 1 to 65535.
    #[error("the port is not a number from 1 to 65535")]
    Port,
    /// The host is neither a DNS name nor an IP address.
    #[error("the host is neither a DNS name nor an IP address")]
    Host,
    /// The host holds characters that only its `xn--` form can carry.
    #[error("the host holds characters beyond ASCII; write its `xn--` form")]
    NotAscii,
}

impl TryFrom<(String, u16)> for Address {
    type Error = AddressError;

    fn try_from((host, port): (String, u16)) -> Result<Self, AddressError> {
        Self::new(&host, port)
    }
}

impl From<Address> for (String, u16) {
    fn from(address: Address) -> Self {
        (address.host, address.port)
    }
}

impl Address {
    /// An address from its parts, as they are kept in a vault.
    ///
    /// # Errors
    /// The host is neither a DNS name nor an IP address, or the port is 0.
    pub fn new(host: &str, port: u16) -> Result<Self, AddressError> {
        if !host.is_ascii() {
            return Err(AddressError::NotAscii);
        }
        if port == 0 {
            return Err(AddressError::Port);
        }
        let host = host.to_ascii_lowercase();
        ServerName::try_from(host.as_str()).map_err(|_| AddressError::Host)?;
        Ok(Self { host, port })
    }

    /// The DNS name, or the IP address without brackets.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The TCP port, never 0.
    #[must_use]
    pub const fn port(&self) -> u16 {
        self.port
    }

    pub(crate) fn server_name(&self) -> ServerName<'static> {
        ServerName::try_from(self.host.clone()).expect("`new` parsed the same text")
    }
}

impl FromStr for Address {
    type Err = AddressError;

    /// `HOST`, `HOST:PORT`, `[IPv6]`, `[IPv6]:PORT` or a bare IPv6 address.
    fn from_str(text: &str) -> Result<Self, AddressError> {
        if text.contains('/') {
            return Err(AddressError::Url);
        }
        if text.parse::<Ipv6Addr>().is_ok() {
            return Self::new(text, PORT);
        }
        if let Some(rest) = text.strip_prefix('[') {
            let (host, port) = rest.split_once(']').ok_or(AddressError::Host)?;
            host.parse::<Ipv6Addr>().map_err(|_| AddressError::Host)?;
            return match port.strip_prefix(':') {
                Some(port) => Self::new(host, parse_port(port)?),
                None if port.is_empty() => Self::new(host, PORT),
                None => Err(AddressError::Port),
            };
        }
        match text.split_once(':') {
            Some((_, port)) if port.contains(':') => Err(AddressError::Host),
            Some((host, port)) => Self::new(host, parse_port(port)?),
            None => Self::new(text, PORT),
        }
    }
}

/// Accept digits only: `parse` would accept a sign too.
fn parse_port(text: &str) -> Result<u16, AddressError> {
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(AddressError::Port);
    }
    text.parse().map_err(|_| AddressError::Port)
}

impl fmt::Display for Address {
    /// The shortest text that parses to the same address.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.host.contains(':'), self.port == PORT) {
            (_, true) => f.write_str(&self.host),
            (true, false) => write!(f, "[{}]:{}", self.host, self.port),
            (false, false) => write!(f, "{}:{}", self.host, self.port),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, wanted: Result<(&str, u16, &str), AddressError>) {
        let got = text.parse::<Address>();
        let got = got.map(|address| {
            (
                address.host().to_owned(),
                address.port(),
                address.to_string(),
            )
        });
        assert_eq!(
            got,
            wanted.map(|(host, port, shown)| (host.to_owned(), port, shown.to_owned())),
            "{text}"
        );
    }

    #[test]
    fn an_address_is_a_host_with_or_without_a_port() {
        check("example.org", Ok(("example.org", 29556, "example.org")));
        check(
            "Example.ORG:29556",
            Ok(("example.org", 29556, "example.org")),
        );
        check("example.org:1", Ok(("example.org", 1, "example.org:1")));
        check("192.0.2.7:443", Ok(("192.0.2.7", 443, "192.0.2.7:443")));
        check("::1", Ok(("::1", 29556, "::1")));
        check("[::1]", Ok(("::1", 29556, "::1")));
        check(
            "[2001:DB8::1]:443",
            Ok(("2001:db8::1", 443, "[2001:db8::1]:443")),
        );
    }

    #[test]
    fn what_is_no_address_is_refused_by_its_fault() {
        for text in ["https://example.org", "example.org/", "passmate://x"] {
            check(text, Err(AddressError::Url));
        }
        for text in [
            "example.org:",
            "example.org:0",
            "example.org:65536",
            "example.org:+1",
            "[::1]x",
            "[::1]:",
        ] {
            check(text, Err(AddressError::Port));
        }
        for text in [
            "",
            ":1",
            "a b",
            "[example.org]",
            "[::1",
            "1:2:3",
            "-",
            "a..b",
        ] {
            check(text, Err(AddressError::Host));
        }
        check("bücher.example", Err(AddressError::NotAscii));
    }

    #[test]
    fn what_is_shown_can_be_typed_again() {
        for text in [
            "example.org",
            "example.org:1",
            "::1",
            "[::1]:1",
            "192.0.2.7",
        ] {
            let address: Address = text.parse().unwrap();
            assert_eq!(address.to_string().parse(), Ok(address));
        }
    }
}
