//! The words of the protocol: hellos, account numbers, auth tokens, layouts, limits.

use alloc::format;
use alloc::string::String;
use core::fmt;
use core::str::FromStr;

use subtle::ConstantTimeEq;
use zeroize::{Zeroize, ZeroizeOnDrop};

/// TCP port of the protocol, from ASCII `st`.
pub const PORT: u16 = 29556;
/// What a client says first: 24 bytes.
pub const CLIENT_HELLO: &[u8; 24] = b"passmate-server-protocol";
/// What a server answers, after the whole client hello: 24 bytes.
pub const SERVER_HELLO: &[u8; 24] = b"passmate-protocol-server";
/// Longest banner in bytes, on both sides.
pub const BANNER_LEN_MAX: u32 = 32 * 1024;
/// Longest btoken in bytes that a server accepts by default; this length itself is accepted.
pub const BTOKEN_LEN_MAX_DEFAULT: u32 = 2 * 1024 * 1024;
/// Longest btoken in bytes that a client accepts by default.
pub const CLIENT_BTOKEN_LEN_MAX_DEFAULT: u32 = 32 * 1024 * 1024;
/// Which of the two byte layouts a connection speaks.
///
/// A server decides by listener; a client reads it from the two bytes after the server's hello.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Layout {
    /// The protocol document to the letter: no version field.
    One,
    /// What released programs speak: a version field, and the account number repeated by the
    /// server as confirmation of *update* and *reset*.
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
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ActionKind {
    /// `c`: store a btoken under a new account number.
    Create,
    /// `u`: fetch the btoken, store another.
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

/// Names an account at a server: 8 random bytes, never all zero.
///
/// Shown as 16 upper-case hex digits; parsed from either case. Not a secret, but kept out of logs.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AccountNumber([u8; 8]);

impl AccountNumber {
    /// The account number with these bytes, or `None` for all zero, which original clients read as
    /// an error.
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

/// A text is not 16 hex digits, or all zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an account number is 16 hex digits, not all zero")]
pub struct ParseAccountNumberError;

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

/// Proves to a server that a client may use an account: 32 secret bytes.
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

    /// Whether both are equal, in a time that does not depend on where they differ.
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

/// The banner of a server whose operator wrote none: `program` and a line that tells clients the
/// limit.
#[must_use]
pub fn default_banner(program: &str, btoken_len_max: u32) -> String {
    format!("{program}\nbtoken-max {btoken_len_max}\n")
}

/// The limit that a banner states in a line `btoken-max N` (bytes, decimal), if it has one.
///
/// The first such line counts; a number that does not fit 32 bits is no statement.
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
    fn an_account_number_is_shown_in_upper_case_and_read_in_either() {
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
    fn debug_of_an_auth_token_shows_nothing_of_it() {
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
