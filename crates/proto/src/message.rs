//! The words of the protocol: hellos, account numbers, auth tokens, layouts, limits.

use alloc::format;
use alloc::string::String;
use core::fmt;
use core::str::FromStr;

use serde::{Deserialize, Serialize};
use subtle::ConstantTimeEq;
use zeroize::{Zeroize, ZeroizeOnDrop};

/// TCP port of the protocol, from ASCII `st`.
pub const PORT: u16 = 29556;
/// The first 24 bytes that a client sends.
pub const CLIENT_HELLO: &[u8; 24] = b"passmate-server-protocol";
/// The first 24 bytes that a server sends, after the whole client hello.
pub const SERVER_HELLO: &[u8; 24] = b"passmate-protocol-server";
/// The longest banner that either side allows, in bytes.
pub const BANNER_LEN_MAX: u32 = 32 * 1024;
/// The longest btoken that a server accepts by default, in bytes.
pub const BTOKEN_LEN_MAX_DEFAULT: u32 = 2 * 1024 * 1024;
/// The longest btoken that a client accepts by default, in bytes.
pub const CLIENT_BTOKEN_LEN_MAX_DEFAULT: u32 = 32 * 1024 * 1024;
/// The two byte layouts of the protocol.
///
/// A server has one layout for each listener. A client recognises the layout by the two bytes after
/// the server's hello.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Layout {
    /// The layout of the protocol document, without a version field.
    One,
    /// The layout of the released programs. It has a version field, and the server repeats the
    /// account number to confirm *update* and *reset*.
    Two,
}

/// A row of the table of layouts: everything in which they differ.
struct LayoutRow {
    /// The version field between the server's hello and the banner length.
    version: Option<u16>,
    /// Whether the server repeats the account number to confirm *update* and *reset*. Otherwise the
    /// client sends it as the last row of *update*, and a `close_notify` confirms.
    server_repeats_number: bool,
}

impl Layout {
    const fn row(self) -> LayoutRow {
        match self {
            Self::One => LayoutRow {
                version: None,
                server_repeats_number: false,
            },
            Self::Two => LayoutRow {
                version: Some(2),
                server_repeats_number: true,
            },
        }
    }

    pub(crate) const fn version(self) -> Option<u16> {
        self.row().version
    }

    pub(crate) const fn server_repeats_number(self) -> bool {
        self.row().server_repeats_number
    }
}

/// The three actions of the protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum ActionKind {
    /// `c`: store a btoken under a new account number.
    Create,
    /// `u`: fetch the btoken, then store another.
    Update,
    /// `r`: delete the btoken.
    Reset,
}

impl ActionKind {
    /// The byte that requests this action.
    #[must_use]
    pub const fn byte(self) -> u8 {
        match self {
            Self::Create => b'c',
            Self::Update => b'u',
            Self::Reset => b'r',
        }
    }

    pub(crate) const fn from_byte(byte: u8) -> Option<Self> {
        match byte {
            b'c' => Some(Self::Create),
            b'u' => Some(Self::Update),
            b'r' => Some(Self::Reset),
            _ => None,
        }
    }
}

impl fmt::Display for ActionKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Create => "create",
            Self::Update => "update",
            Self::Reset => "reset",
        })
    }
}

/// Identifies an account on a server: 8 random bytes, never all zero.
///
/// Displayed as 16 upper-case hex digits, parsed in either case. It is no secret, but does not
/// appear in logs.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "[u8; 8]", into = "[u8; 8]")]
pub struct AccountNumber([u8; 8]);

impl AccountNumber {
    /// The account number with these bytes; `None` if they are all zero, which original clients
    /// take for an error.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 8]) -> Option<Self> {
        if u64::from_be_bytes(bytes) == 0 {
            None
        } else {
            Some(Self(bytes))
        }
    }

    /// The bytes as they go over the wire.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 8] {
        &self.0
    }
}

impl fmt::Display for AccountNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016X}", u64::from_be_bytes(self.0))
    }
}

impl fmt::Debug for AccountNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "AccountNumber({self})")
    }
}

/// The text is not an account number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an account number is 16 hex digits, not all zero")]
pub struct ParseAccountNumberError;

impl TryFrom<[u8; 8]> for AccountNumber {
    type Error = &'static str;

    fn try_from(bytes: [u8; 8]) -> Result<Self, Self::Error> {
        Self::from_bytes(bytes).ok_or("no account has a number of zeros")
    }
}

impl From<AccountNumber> for [u8; 8] {
    fn from(number: AccountNumber) -> Self {
        number.0
    }
}

impl FromStr for AccountNumber {
    type Err = ParseAccountNumberError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.len() != 16 || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(ParseAccountNumberError);
        }
        let number = u64::from_str_radix(text, 16).map_err(|_| ParseAccountNumberError)?;
        Self::from_bytes(number.to_be_bytes()).ok_or(ParseAccountNumberError)
    }
}

/// Proves to a server that a client may use an account; 32 secret bytes.
///
/// Wiped when dropped, redacted in `Debug`, compared in constant time only.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct AuthToken([u8; 32]);

impl AuthToken {
    /// The token with these bytes.
    #[must_use]
    pub const fn new(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The bytes as they go over the wire.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// Compares in constant time.
    #[must_use]
    pub fn ct_eq(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl fmt::Debug for AuthToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AuthToken([redacted])")
    }
}

/// The default banner: the name of the program, and a line that tells clients the limit.
#[must_use]
pub fn default_banner(program: &str, btoken_len_max: u32) -> String {
    format!("{program}\nbtoken-max {btoken_len_max}\n")
}

/// The limit in a banner's line `btoken-max N`, in bytes, if there is such a line.
///
/// The first valid line counts. A line whose number does not fit into 32 bits is ignored.
#[must_use]
pub fn banner_btoken_max(banner: &[u8]) -> Option<u32> {
    banner.split(|byte| *byte == b'\n').find_map(|line| {
        let digits = line.strip_prefix(b"btoken-max ")?;
        let digits = digits.strip_suffix(b"\r").unwrap_or(digits);
        if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
            return None;
        }
        core::str::from_utf8(digits).ok()?.parse().ok()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;

    #[test]
    fn an_account_number_is_upper_case_and_parsed_in_any_case() {
        let number = AccountNumber::from_bytes([0, 1, 2, 0xab, 0xcd, 0xef, 0, 9]).unwrap();
        assert_eq!(number.to_string(), "000102ABCDEF0009");
        assert_eq!("000102abcdef0009".parse(), Ok(number));
        assert_eq!("000102ABCDEF0009".parse(), Ok(number));
        for bad in [
            "",
            "000102ABCDEF000",
            "000102ABCDEF00090",
            "+00102ABCDEF0009",
            "0000000000000000",
        ] {
            assert_eq!(
                bad.parse::<AccountNumber>(),
                Err(ParseAccountNumberError),
                "{bad}"
            );
        }
    }

    #[test]
    fn debug_redacts_an_auth_token() {
        let token = AuthToken::new([0x5a; 32]);
        assert_eq!(format!("{token:?}"), "AuthToken([redacted])");
        assert!(token.ct_eq(&token.clone()));
        assert!(!token.ct_eq(&AuthToken::new([0x5b; 32])));
    }

    #[test]
    fn a_client_learns_the_limit_from_the_default_banner() {
        assert_eq!(
            banner_btoken_max(default_banner("x 1.0", 4096).as_bytes()),
            Some(4096)
        );
        assert_eq!(
            banner_btoken_max(b"welcome\r\nbtoken-max 17\r\nbtoken-max 18"),
            Some(17)
        );
        for none in [
            "",
            "btoken-max",
            "btoken-max ",
            "btoken-max -1",
            " btoken-max 1",
            "btoken-max 4294967296",
        ] {
            assert_eq!(banner_btoken_max(none.as_bytes()), None, "{none}");
        }
    }
}
