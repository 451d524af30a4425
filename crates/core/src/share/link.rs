//! A sync key together with where it is for: what `passmate sync key --link` writes and `passmate
//! sync setup --key-file` reads.
//!
//! `passmate-sync://HOST[:PORT]/[?pin=sha256:…]#KEY`. The key stands behind the `#`, which no
//! program sends to a server even if somebody opens the link in one.

use std::fmt::Write;

use passmate_vault::{Pin, Shape, SyncKey, SyncKeyError, Trust};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::net::{Address, AddressError};

const SCHEME: &str = "passmate-sync://";

/// A sync key, its server, and the pin by which that is trusted, if it is by one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Link {
    /// The server.
    pub address: Address,
    /// The pin of its key.
    pub pin: Option<Pin>,
    /// The key.
    pub key: SyncKey,
    /// The shape of its account; [`Shape::Modern`] if only the link is known.
    pub shape: Shape,
}

/// Why a text is no link. It never holds the key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LinkError {
    /// Its host or port.
    #[error("the link's server cannot be: {0}")]
    Address(AddressError),
    /// Something between server and key that this program does not know.
    #[error("the link has a part that is not known here")]
    UnknownPart,
    /// Its pin is invalid.
    #[error("the link's pin is damaged")]
    Pin,
    /// There is no key in it.
    #[error("the link has no key")]
    NoKey,
    /// Its key.
    #[error(transparent)]
    Key(#[from] SyncKeyError),
}

impl Link {
    /// Whether a text is meant to be one.
    #[must_use]
    pub fn is_meant(text: &str) -> bool {
        text.trim_start()
            .get(..SCHEME.len())
            .is_some_and(|begin| begin.eq_ignore_ascii_case(SCHEME))
    }

    /// The link of an account.
    #[must_use]
    pub fn new(address: Address, trust: &Trust, key: SyncKey, shape: Shape) -> Self {
        let pin = match trust {
            Trust::Pins { current, .. } => Some(*current),
            Trust::System | Trust::Ca(_) => None,
        };
        Self {
            address,
            pin,
            key,
            shape,
        }
    }

    /// The key alone, as every program of its account accepts it.
    #[must_use]
    pub fn key_text(&self) -> Zeroizing<String> {
        self.shape.key_text(&self.key)
    }

    /// Reads what [`to_text`](Self::to_text) wrote; blanks around it do not count, nor do line ends
    /// that a mail put into it.
    ///
    /// # Errors
    /// See [`LinkError`].
    pub fn parse(text: &str) -> Result<Self, LinkError> {
        let text: Zeroizing<String> =
            Zeroizing::new(text.chars().filter(|c| !c.is_whitespace()).collect());
        let rest = text
            .get(SCHEME.len()..)
            .filter(|_| Self::is_meant(&text))
            .ok_or(LinkError::UnknownPart)?;
        let (place, key) = rest.split_once('#').ok_or(LinkError::NoKey)?;
        let (host, query) = place.split_once('/').ok_or(LinkError::UnknownPart)?;
        let address = host.parse().map_err(LinkError::Address)?;
        let pin = match query.strip_prefix("?pin=") {
            Some(pin) => Some(pin.parse().map_err(|_| LinkError::Pin)?),
            None if query.is_empty() => None,
            None => return Err(LinkError::UnknownPart),
        };
        Ok(Self {
            address,
            pin,
            key: SyncKey::parse(key)?,
            shape: Shape::Modern,
        })
    }

    /// The link as text.
    #[must_use]
    pub fn to_text(&self) -> Zeroizing<String> {
        let mut text = Zeroizing::new(String::with_capacity(512));
        let host = self.address.to_string();
        // An IPv6 address stands in brackets, as in other links.
        let is_bare = self.address.host().contains(':') && !host.starts_with('[');
        let host = if is_bare { format!("[{host}]") } else { host };
        let pin = self
            .pin
            .map_or_else(String::new, |pin| format!("?pin={pin}"));
        write!(text, "{SCHEME}{host}/{pin}#{}", *self.key.to_text())
            .expect("a String takes everything");
        text
    }
}

#[cfg(test)]
mod tests {
    use passmate_vault::Secret;

    use super::*;

    fn key() -> SyncKey {
        SyncKey::from_parts([1, 2, 3, 4, 5, 6, 7, 8], Secret::from_bytes([9; 32]))
    }

    #[test]
    fn a_link_comes_back_as_it_was() {
        let pin = Trust::Pins {
            current: Pin::from_bytes([0xAB; 32]),
            next: None,
        };
        for host in [
            "home.example.org",
            "home.example.org:1234",
            "192.0.2.7",
            "[2001:db8::1]",
            "[2001:db8::1]:5",
        ] {
            for trust in [&pin, &Trust::System] {
                let link = Link::new(host.parse().unwrap(), trust, key(), Shape::Modern);
                let text = link.to_text();
                assert!(
                    text.starts_with(&format!("passmate-sync://{host}/")) && Link::is_meant(&text),
                    "{}",
                    *text
                );
                assert_eq!(Link::parse(&text), Ok(link.clone()));
                let broken: String = text.chars().flat_map(|c| [c, '\n']).collect();
                assert_eq!(Link::parse(&broken), Ok(link));
            }
        }
    }

    #[test]
    fn what_is_no_link_is_named() {
        let key = key().to_text();
        let check = |text: &str, expected: LinkError| {
            assert_eq!(Link::parse(text), Err(expected), "{text}")
        };
        check("https://home.example.org/#x", LinkError::UnknownPart);
        check("passmate-sync://home.example.org/", LinkError::NoKey);
        check(
            &format!("passmate-sync://home.example.org#{}", *key),
            LinkError::UnknownPart,
        );
        check(
            &format!("passmate-sync://home.example.org/?pin=abc#{}", *key),
            LinkError::Pin,
        );
        check(
            &format!("passmate-sync://home.example.org/?q=1#{}", *key),
            LinkError::UnknownPart,
        );
        check(
            &format!("passmate-sync://a:0/#{}", *key),
            LinkError::Address(AddressError::Port),
        );
        let mistyped = key.replacen('0', "1", 1);
        assert!(matches!(
            Link::parse(&format!("passmate-sync://a/#{mistyped}")),
            Err(LinkError::Key(_))
        ));
        assert!(!Link::is_meant("010203-040506") && !Link::is_meant("passmate"));
    }
}
