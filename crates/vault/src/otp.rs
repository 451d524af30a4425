//! The secrets of one-time codes, in the forms that sites and programs give. This module reads and
//! writes them; it makes no codes.
//!
//! Codes change with the time (TOTP, RFC 6238) or count (HOTP, RFC 4226). The rules are:
//!  - every part of Passmate reads a secret with [`OtpAuth::parse`], so that the same text makes the
//!    same codes everywhere;
//!  - a text that is not understood is an error. It never becomes a secret that makes other codes
//!    than those of the site;
//!  - no error holds a part of the text.

use std::fmt;

use data_encoding::{BASE32_NOPAD, BASE64, Encoding, HEXLOWER_PERMISSIVE, Specification};
use percent_encoding::{NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use zeroize::Zeroizing;

/// A counter is less than this.
pub const COUNTER_MAX: u64 = 1 << 62;
/// The most seconds for which a code may be valid.
const PERIOD_MAX: u64 = 3600;
/// The seconds for which a code is valid if nothing else is said.
const PERIOD: u64 = 30;
/// The number of digits if nothing else is said.
const DIGITS: u32 = 6;
/// Steam's codes have as many letters.
const STEAM_DIGITS: u32 = 5;
/// Steam's codes are made for this issuer.
const STEAM: &str = "Steam";

/// What one-time codes are made of.
#[derive(Clone, PartialEq, Eq)]
pub struct OtpAuth {
    /// What the codes follow.
    pub kind: OtpKind,
    /// The secret, not empty.
    pub secret: Zeroizing<Vec<u8>>,
    /// The hash of the HMAC.
    pub algorithm: OtpAlgorithm,
    /// The digits of a code, 6 to 8; the letters of a code of Steam, 5.
    pub digits: u32,
    /// The account, without the issuer; empty if the text does not name one.
    pub label: String,
    /// The site or company; empty if the text does not name one.
    pub issuer: String,
}

/// What one-time codes follow.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum OtpKind {
    /// The time: each code is valid for some seconds.
    Timed {
        /// The seconds for which a code is valid.
        period: u64,
    },
    /// A counter: each code is valid once.
    Counted {
        /// The counter of the next code.
        counter: u64,
    },
    /// The time, as five letters of Steam's own alphabet that are valid for 30 seconds.
    Steam,
}

/// The hash of the HMAC that makes codes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum OtpAlgorithm {
    /// HMAC-SHA-1.
    Sha1,
    /// HMAC-SHA-256.
    Sha256,
    /// HMAC-SHA-512.
    Sha512,
}

/// Why a text makes no one-time codes. It never holds the text itself.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum OtpError {
    /// The address is for codes of another kind.
    #[error("its address begins with neither otpauth://totp/ nor otpauth://hotp/")]
    Kind,
    /// The address is an export of Google Authenticator.
    #[error("it is an export of Google Authenticator, which may hold several secrets")]
    Migration,
    /// The codes count, and the text has no counter, two, or one that is no number.
    #[error("its codes follow a counter, and its address does not have one good counter=N")]
    Counter,
    /// There is no secret.
    #[error("it has no secret")]
    NoSecret,
    /// The secret is not base32.
    #[error("its secret is not base32 (A to Z and 2 to 7)")]
    NotBase32,
    /// The secret is not in the encoding that the text names.
    #[error("its secret is not in the encoding that it names")]
    Encoding,
    /// An unknown algorithm.
    #[error("its algorithm is none of SHA1, SHA256 and SHA512")]
    Algorithm,
    /// Too few digits or too many.
    #[error("its codes have less than 6 or more than 8 digits")]
    Digits,
    /// A period of 0 seconds, or of more than an hour.
    #[error("its codes are valid for less than a second or more than an hour")]
    Period,
}

/// Without the secret and the names.
impl fmt::Debug for OtpAuth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OtpAuth")
            .field("kind", &self.kind)
            .field("algorithm", &self.algorithm)
            .field("digits", &self.digits)
            .finish_non_exhaustive()
    }
}

impl OtpAuth {
    /// Codes with the usual settings: SHA-1, six digits, and no names.
    #[must_use]
    pub fn new(kind: OtpKind, secret: Zeroizing<Vec<u8>>) -> Self {
        Self {
            kind,
            secret,
            algorithm: OtpAlgorithm::Sha1,
            digits: match kind {
                OtpKind::Steam => STEAM_DIGITS,
                _ => DIGITS,
            },
            label: String::new(),
            issuer: String::new(),
        }
    }

    /// Reads any of these forms. The case of names does not matter, and unknown parameters are
    /// ignored.
    ///  - `otpauth://totp/LABEL?secret=…`, with `issuer`, `algorithm`, `digits`, `period` and
    ///    `encoder=steam`. The slash may be missing, and `&` may be written `&amp;`;
    ///  - `otpauth://hotp/LABEL?secret=…&counter=N`;
    ///  - `otpauth://steam/LABEL?secret=…` and `steam://SECRET`;
    ///  - `key=…&step=…&size=…` of KeeOtp, a plugin of KeePass, with `type`, `counter`,
    ///    `otpHashMode` and `encoding`;
    ///  - a secret in base32, with blanks and dashes.
    ///
    /// # Errors
    /// See [`OtpError`].
    pub fn parse(text: &str) -> Result<Self, OtpError> {
        let text = unescape(text.trim());
        let text = strip_prefix(&text, "apple-").unwrap_or(&text);
        if let Some(secret) = strip_prefix(text, "steam://") {
            return Ok(Self::new(OtpKind::Steam, decode_base32(secret)?));
        }
        if let Some(rest) = strip_prefix(text, "otpauth://") {
            return read_address(rest);
        }
        if strip_prefix(text, "otpauth-migration:").is_some() {
            return Err(OtpError::Migration);
        }
        let is_key = |pair: &str| strip_prefix(pair, "key=").is_some();
        if text.split('&').any(is_key) {
            return read_keeotp(text);
        }
        let kind = OtpKind::Timed { period: PERIOD };
        Ok(Self::new(kind, decode_base32(text)?))
    }

    /// Refuses values that [`parse`](Self::parse) does not return.
    ///
    /// # Errors
    /// See [`OtpError`].
    pub fn check(&self) -> Result<(), OtpError> {
        if self.secret.is_empty() {
            return Err(OtpError::NoSecret);
        }
        match self.kind {
            OtpKind::Timed { period } if !(1..=PERIOD_MAX).contains(&period) => {
                return Err(OtpError::Period);
            }
            // The last counter has no next one.
            OtpKind::Counted { counter } if counter >= COUNTER_MAX => {
                return Err(OtpError::Counter);
            }
            _ => {}
        }
        let is_good = match self.kind {
            OtpKind::Steam => self.digits == STEAM_DIGITS,
            _ => (6..=8).contains(&self.digits),
        };
        if is_good {
            Ok(())
        } else {
            Err(OtpError::Digits)
        }
    }

    /// The `otpauth://` address that KeePassXC, authenticators and others read.
    #[must_use]
    pub fn to_address(&self) -> Zeroizing<String> {
        let encode = |text| utf8_percent_encode(text, NON_ALPHANUMERIC).to_string();
        let secret = self.secret_in_base32();
        let (word, setting) = match self.kind {
            OtpKind::Timed { period } => ("totp", format!("period={period}")),
            OtpKind::Counted { counter } => ("hotp", format!("counter={counter}")),
            OtpKind::Steam => ("totp", format!("period={PERIOD}")),
        };
        let (mut label, mut rest) = (encode(&self.label), String::new());
        if !self.issuer.is_empty() {
            let issuer = encode(&self.issuer);
            label = format!("{issuer}:{label}");
            rest = format!("&issuer={issuer}");
        }
        match self.algorithm {
            OtpAlgorithm::Sha1 => {}
            algorithm => rest.push_str(&format!("&algorithm={}", algorithm.name())),
        }
        if self.kind == OtpKind::Steam {
            rest.push_str("&encoder=steam");
        }
        let (secret, digits) = (secret.as_str(), self.digits);
        Zeroizing::new(format!(
            "otpauth://{word}/{label}?secret={secret}&{setting}&digits={digits}{rest}"
        ))
    }

    /// The secret in base32, without padding.
    #[must_use]
    pub fn secret_in_base32(&self) -> Zeroizing<String> {
        Zeroizing::new(BASE32_NOPAD.encode(&self.secret))
    }
}

impl OtpAlgorithm {
    /// The name in an `otpauth://` address.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Sha1 => "SHA1",
            Self::Sha256 => "SHA256",
            Self::Sha512 => "SHA512",
        }
    }

    /// Reads `SHA1`, `sha-256`, `HmacSHA512`, `HMAC-SHA-1` and so on.
    ///
    /// # Errors
    /// [`OtpError::Algorithm`] for any other.
    pub fn parse(name: &str) -> Result<Self, OtpError> {
        let name: String = name
            .chars()
            .filter(char::is_ascii_alphanumeric)
            .map(|letter| letter.to_ascii_uppercase())
            .collect();
        match name.trim_start_matches("HMAC") {
            "SHA1" => Ok(Self::Sha1),
            "SHA256" => Ok(Self::Sha256),
            "SHA512" => Ok(Self::Sha512),
            _ => Err(OtpError::Algorithm),
        }
    }
}

/// An `otpauth://` address with another counter, and otherwise as it is.
#[must_use]
pub fn with_counter(address: &str, counter: u64) -> Zeroizing<String> {
    let address = unescape(address.trim());
    let (begin, rest) = address.split_once('?').unwrap_or((&address, ""));
    let (query, fragment) = match rest.split_once('#') {
        Some((query, fragment)) => (query, Some(fragment)),
        None => (rest, None),
    };
    let mut changed = Zeroizing::new(String::with_capacity(address.len() + 20));
    changed.push_str(begin);
    for (index, pair) in query.split('&').enumerate() {
        changed.push(if index == 0 { '?' } else { '&' });
        match pair.split_once('=') {
            Some((name, _)) if name.eq_ignore_ascii_case("counter") => {
                changed.push_str(&format!("{name}={counter}"));
            }
            _ => changed.push_str(pair),
        }
    }
    if let Some(fragment) = fragment {
        changed.push('#');
        changed.push_str(fragment);
    }
    changed
}

/// Decodes base32 as authenticators do: in any case, with blanks, dashes and padding. Bits beyond
/// the last whole byte are ignored.
///
/// # Errors
/// [`OtpError::NotBase32`], or [`OtpError::NoSecret`] for an empty text.
pub fn decode_base32(text: &str) -> Result<Zeroizing<Vec<u8>>, OtpError> {
    let is_blank = |letter: char| letter.is_whitespace() || letter == '-';
    let text = text.trim_end_matches(|letter| is_blank(letter) || letter == '=');
    let mut letters = Zeroizing::new(String::with_capacity(text.len()));
    letters.extend(
        text.chars()
            .filter(|letter| !is_blank(*letter))
            .map(|letter| letter.to_ascii_uppercase()),
    );
    // These lengths have a last letter without a whole bit of a byte.
    if matches!(letters.len() % 8, 1 | 3 | 6) && letters.is_ascii() {
        let last = letters.pop().unwrap_or('A');
        if !matches!(last, 'A'..='Z' | '2'..='7') {
            return Err(OtpError::NotBase32);
        }
    }
    let bytes = lenient_base32()
        .decode(letters.as_bytes())
        .map_err(|_| OtpError::NotBase32)?;
    let bytes = Zeroizing::new(bytes);
    if bytes.is_empty() {
        return Err(OtpError::NoSecret);
    }
    Ok(bytes)
}

fn lenient_base32() -> Encoding {
    let mut specification: Specification = BASE32_NOPAD.specification();
    specification.check_trailing_bits = false;
    specification
        .encoding()
        .expect("BASE32_NOPAD is valid, whether or not trailing bits are checked")
}

/// Reads the part of an address after `otpauth://`.
fn read_address(rest: &str) -> Result<OtpAuth, OtpError> {
    let (place, query) = rest.split_once('?').unwrap_or((rest, ""));
    let query = query.split('#').next().unwrap_or_default();
    let (kind, label) = place.split_once('/').unwrap_or((place, ""));
    let is_counted = kind.eq_ignore_ascii_case("hotp");
    let mut is_steam = kind.eq_ignore_ascii_case("steam");
    if !is_counted && !is_steam && !kind.eq_ignore_ascii_case("totp") {
        return Err(OtpError::Kind);
    }
    let (mut secret, mut algorithm, mut counter, mut period) =
        (None, OtpAlgorithm::Sha1, None, PERIOD);
    let mut digits = None;
    for (name, value) in pairs_of(query) {
        match name.to_ascii_lowercase().as_str() {
            "secret" => secret = Some(value),
            "counter" if is_counted => read_counter(&value, &mut counter)?,
            "encoder" => is_steam |= value.eq_ignore_ascii_case("steam"),
            _ if value.is_empty() => {}
            "algorithm" => algorithm = OtpAlgorithm::parse(&value)?,
            "digits" => digits = Some(value.parse().map_err(|_| OtpError::Digits)?),
            "period" if !is_counted => period = value.parse().map_err(|_| OtpError::Period)?,
            _ => {}
        }
    }
    let label = percent_decode_str(label).decode_utf8_lossy();
    let (label, issuer) = split_names(&label, &issuer_of(query, &label));
    // Steam is the only one that has five.
    is_steam |= digits == Some(STEAM_DIGITS) && issuer.eq_ignore_ascii_case(STEAM);
    let kind = if is_counted {
        OtpKind::Counted {
            counter: counter.ok_or(OtpError::Counter)?,
        }
    } else if is_steam {
        OtpKind::Steam
    } else {
        OtpKind::Timed { period }
    };
    let secret = decode_base32(&secret.ok_or(OtpError::NoSecret)?)?;
    let mut auth = OtpAuth {
        label,
        issuer,
        ..OtpAuth::new(kind, secret)
    };
    if kind != OtpKind::Steam {
        auth.algorithm = algorithm;
        auth.digits = digits.unwrap_or(DIGITS);
    }
    auth.check()?;
    Ok(auth)
}

/// The issuer in a query. Some programs write a blank as `+` there, others write `+` as it is, which
/// the issuer in the label tells.
fn issuer_of(query: &str, label: &str) -> String {
    let is_issuer = |name: &str| name.eq_ignore_ascii_case("issuer");
    let mut pairs = query.split('&').filter_map(|pair| pair.split_once('='));
    let issuer = pairs.rfind(|(name, _)| is_issuer(name));
    let Some((_, issuer)) = issuer else {
        return String::new();
    };
    let decode = |text: &str| percent_decode_str(text).decode_utf8_lossy().into_owned();
    let as_it_is = decode(issuer);
    match label.split_once(':') {
        Some((prefix, _)) if prefix.trim() == as_it_is.trim() => as_it_is,
        _ => decode(&issuer.replace('+', " ")),
    }
}

/// The account and the issuer, of which a label `ISSUER:ACCOUNT` has both.
#[must_use]
pub fn split_names(label: &str, issuer: &str) -> (String, String) {
    let (label, issuer) = (label.trim(), issuer.trim());
    match label.split_once(':') {
        Some((prefix, account)) if issuer.is_empty() || prefix.trim() == issuer => {
            (account.trim().to_owned(), prefix.trim().to_owned())
        }
        _ => (label.to_owned(), issuer.to_owned()),
    }
}

/// Reads the settings of KeeOtp. Values may be percent-encoded.
fn read_keeotp(text: &str) -> Result<OtpAuth, OtpError> {
    let (mut key, mut encoding, mut kind) = (None, String::new(), String::new());
    let (mut algorithm, mut counter, mut period) = (OtpAlgorithm::Sha1, None, PERIOD);
    let mut digits = DIGITS;
    for (name, value) in pairs_of(text) {
        match name.to_ascii_lowercase().as_str() {
            "key" => key = Some(value),
            _ if value.is_empty() => {}
            "encoding" => encoding = value.to_ascii_lowercase(),
            "type" => kind = value.to_ascii_lowercase(),
            "otphashmode" => algorithm = OtpAlgorithm::parse(&value)?,
            "size" => digits = value.parse().map_err(|_| OtpError::Digits)?,
            "step" => period = value.parse().map_err(|_| OtpError::Period)?,
            "counter" => read_counter(&value, &mut counter)?,
            _ => {}
        }
    }
    let key = key.ok_or(OtpError::NoSecret)?;
    let secret = match encoding.as_str() {
        "" | "base32" => decode_base32(&key)?,
        "base64" => Zeroizing::new(
            BASE64
                .decode(key.as_bytes())
                .map_err(|_| OtpError::Encoding)?,
        ),
        "hex" => {
            let key = HEXLOWER_PERMISSIVE.decode(key.as_bytes());
            Zeroizing::new(key.map_err(|_| OtpError::Encoding)?)
        }
        "utf8" | "utf-8" => Zeroizing::new(key.as_bytes().to_vec()),
        _ => return Err(OtpError::Encoding),
    };
    let kind = match kind.as_str() {
        "" | "totp" => OtpKind::Timed { period },
        // KeeOtp leaves out a counter of 0.
        "hotp" => OtpKind::Counted {
            counter: counter.unwrap_or(0),
        },
        "steam" => OtpKind::Steam,
        _ => return Err(OtpError::Kind),
    };
    let mut auth = OtpAuth::new(kind, secret);
    if kind != OtpKind::Steam {
        auth.algorithm = algorithm;
        auth.digits = digits;
    }
    auth.check()?;
    Ok(auth)
}

/// Of two counters nobody knows which is meant.
fn read_counter(value: &str, counter: &mut Option<u64>) -> Result<(), OtpError> {
    let is_number = value.bytes().all(|byte| byte.is_ascii_digit()) && counter.is_none();
    let number = is_number.then(|| value.parse().ok()).flatten();
    *counter = Some(number.ok_or(OtpError::Counter)?);
    Ok(())
}

/// The names and decoded values of a query.
fn pairs_of(query: &str) -> impl Iterator<Item = (&str, Zeroizing<String>)> {
    let pairs = query.split('&').filter_map(|pair| pair.split_once('='));
    pairs.map(|(name, value)| {
        let value = percent_decode_str(value).decode_utf8_lossy().into_owned();
        (name, Zeroizing::new(value))
    })
}

/// Undoes the escapes of an address that was copied out of HTML or XML.
fn unescape(text: &str) -> Zeroizing<String> {
    let escapes = ["&amp;", "&#38;", "&#038;", "&#x26;"];
    let mut text = Zeroizing::new(text.to_owned());
    for escape in escapes {
        if text.contains(escape) {
            text = Zeroizing::new(text.replace(escape, "&"));
        }
    }
    text
}

/// The rest of a text that begins so, whatever the case.
fn strip_prefix<'a>(text: &'a str, prefix: &str) -> Option<&'a str> {
    let (begin, rest) = text.split_at_checked(prefix.len())?;
    begin.eq_ignore_ascii_case(prefix).then_some(rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &[u8] = b"Hello!\xDE\xAD\xBE\xEF";

    fn auth(kind: OtpKind) -> OtpAuth {
        OtpAuth::new(kind, Zeroizing::new(SECRET.to_vec()))
    }

    fn timed() -> OtpAuth {
        auth(OtpKind::Timed { period: 30 })
    }

    #[track_caller]
    fn check(text: &str, expected: &OtpAuth) {
        let parsed = OtpAuth::parse(text);
        let names = |auth: &OtpAuth| (auth.label.clone(), auth.issuer.clone());
        let parsed = parsed.unwrap_or_else(|error| panic!("{text}: {error}"));
        assert_eq!(names(&parsed), names(expected), "{text}");
        assert_eq!(*parsed.secret, *expected.secret, "{text}");
        assert!(parsed == *expected, "{text}: {parsed:?}");
    }

    #[test]
    fn every_form_is_read() {
        let bob = OtpAuth {
            label: "bob".to_owned(),
            issuer: "Shop".to_owned(),
            ..timed()
        };
        let steam = OtpAuth {
            label: "u".to_owned(),
            issuer: "Steam".to_owned(),
            ..auth(OtpKind::Steam)
        };
        let other = OtpAuth {
            algorithm: OtpAlgorithm::Sha512,
            digits: 8,
            ..auth(OtpKind::Timed { period: 60 })
        };
        for (text, expected) in [
            ("JBSWY3DPEHPK3PXP", timed()),
            (" jbsw y3dp-ehpk\t3pxp==\n", timed()),
            (
                "otpauth://totp/Shop:bob?secret=JBSWY3DPEHPK3PXP",
                bob.clone(),
            ),
            (
                "otpauth://totp/Shop%3A%20bob?secret=JBSWY3DPEHPK3PXP&issuer=Shop",
                bob.clone(),
            ),
            (
                "OTPAUTH://TOTP/bob?SECRET=jbswy3dpehpk3pxp&Issuer=Shop&image=x",
                bob.clone(),
            ),
            (
                "apple-otpauth://totp/bob?secret=JBSWY3DPEHPK3PXP&issuer=Shop&digits=#x",
                bob,
            ),
            ("otpauth://totp?secret=JBSWY3DPEHPK3PXP&digits=6", timed()),
            ("otpauth://totp/?secret=JBSW%20Y3DP EHPK3PXP%3D", timed()),
            (
                "otpauth://totp?secret=JBSWY3DPEHPK3PXP&amp;digits=8&#38;period=60&algorithm=SHA-512",
                other.clone(),
            ),
            (
                "otpauth://totp/Steam:u?secret=JBSWY3DPEHPK3PXP&digits=5&encoder=steam",
                steam.clone(),
            ),
            (
                "otpauth://totp/u?secret=JBSWY3DPEHPK3PXP&digits=5&issuer=Steam",
                steam.clone(),
            ),
            (
                "otpauth://steam/Steam:u?secret=JBSWY3DPEHPK3PXP&digits=6&issuer=Steam",
                steam,
            ),
            ("steam://JBSWY3DPEHPK3PXP", auth(OtpKind::Steam)),
            ("key=JBSWY3DPEHPK3PXP", timed()),
            (
                "key=JBSWY3DPEHPK3PXP%3d&step=60&size=8&otpHashMode=Sha512",
                other.clone(),
            ),
            (
                "type=Totp&step=60&size=8&otpHashMode=Sha512&key=jbsw y3dp ehpk 3pxp",
                other,
            ),
            ("key=SGVsbG8h3q2%2B7w==&encoding=Base64", timed()),
            ("key=48656c6c6f21DEADBEEF&encoding=hex", timed()),
            ("key=JBSWY3DPEHPK3PXP&type=Steam", auth(OtpKind::Steam)),
            (
                "key=JBSWY3DPEHPK3PXP&type=Hotp",
                auth(OtpKind::Counted { counter: 0 }),
            ),
            (
                "otpauth://hotp?secret=JBSWY3DPEHPK3PXP&counter=7&period=0",
                auth(OtpKind::Counted { counter: 7 }),
            ),
        ] {
            check(text, &expected);
        }
    }

    #[test]
    fn a_plus_in_an_issuer_is_a_blank_unless_the_label_has_it() {
        for (address, issuer) in [
            (
                "otpauth://totp/Air%20Canada:u?secret=JBSWY3DP&issuer=Air+Canada",
                "Air Canada",
            ),
            (
                "otpauth://totp/u?secret=JBSWY3DP&issuer=Air+Canada",
                "Air Canada",
            ),
            ("otpauth://totp/A+:u?secret=JBSWY3DP&issuer=A+", "A+"),
            ("otpauth://totp/A+:u?secret=JBSWY3DP&issuer=A%2B", "A+"),
            ("otpauth://totp/u?secret=JBSWY3DP&issuer=A%2B", "A+"),
        ] {
            let auth = OtpAuth::parse(address).unwrap();
            assert_eq!((auth.label.as_str(), auth.issuer.as_str()), ("u", issuer));
        }
    }

    #[test]
    fn an_address_is_read_as_it_was_written() {
        let names = [
            ("", ""),
            ("bob", ""),
            ("", "A&B"),
            ("b:c/d?e=f#g", "Ünï côde %"),
            ("Steam", "Steam"),
        ];
        for kind in [
            OtpKind::Timed { period: 1 },
            OtpKind::Timed { period: PERIOD_MAX },
            OtpKind::Counted { counter: 0 },
            OtpKind::Counted {
                counter: COUNTER_MAX - 1,
            },
            OtpKind::Steam,
        ] {
            for (label, issuer) in names {
                for algorithm in [
                    OtpAlgorithm::Sha1,
                    OtpAlgorithm::Sha256,
                    OtpAlgorithm::Sha512,
                ] {
                    let mut auth = auth(kind);
                    (auth.label, auth.issuer) = (label.to_owned(), issuer.to_owned());
                    if kind != OtpKind::Steam {
                        (auth.algorithm, auth.digits) = (algorithm, 7);
                    }
                    assert_eq!(auth.check(), Ok(()));
                    check(&auth.to_address(), &auth);
                }
            }
        }
        let address = "otpauth://totp/Steam:u?secret=JBSWY3DPEHPK3PXP&period=30&digits=5&issuer=Steam&encoder=steam";
        assert_eq!(*OtpAuth::parse(address).unwrap().to_address(), address);
    }

    #[test]
    fn other_texts_are_no_secrets() {
        for (text, error) in [
            ("otpauth-migration://offline?data=CjEK", OtpError::Migration),
            ("otpauth://totpx/?secret=JBSWY3DP", OtpError::Kind),
            ("otpauth://?secret=JBSWY3DP", OtpError::Kind),
            ("key=JBSWY3DP&type=motp", OtpError::Kind),
            ("key=JBSWY3DP&encoding=rot13", OtpError::Encoding),
            ("key=xyz&encoding=hex", OtpError::Encoding),
            ("key=x&encoding=Base64", OtpError::Encoding),
            ("key=&size=6", OtpError::NoSecret),
            ("key=JBSWY3DP&size=9", OtpError::Digits),
            ("key=JBSWY3DP&step=0", OtpError::Period),
            ("secret=JBSWY3DP", OtpError::NotBase32),
            ("JBSW=Y3DP", OtpError::NotBase32),
            ("JBSWY3DP1", OtpError::NotBase32),
            ("JBSWY3DP\u{e9}", OtpError::NotBase32),
            ("====", OtpError::NoSecret),
            ("A", OtpError::NoSecret),
            ("steam://", OtpError::NoSecret),
            (
                "otpauth://totp/x?secret=JBSWY3DP&digits=5",
                OtpError::Digits,
            ),
            (
                "otpauth://hotp/x?secret=JBSWY3DP&counter=1&digits=5",
                OtpError::Digits,
            ),
            (
                "otpauth://hotp/x?secret=JBSWY3DP&counter=1&counter=1",
                OtpError::Counter,
            ),
        ] {
            assert_eq!(OtpAuth::parse(text).unwrap_err(), error, "{text}");
        }
    }

    #[test]
    fn a_secret_of_any_length_is_read_to_its_last_whole_byte() {
        for (text, bytes) in [
            ("MY", &b"f"[..]),
            ("MYA", b"f"),
            ("MZ", b"f"),
            ("MZXW6YTB", b"fooba"),
            ("MZXW6YTBA", b"fooba"),
            ("MZXW6Y", b"foo"),
        ] {
            assert_eq!(decode_base32(text).unwrap().as_slice(), bytes, "{text}");
        }
    }

    #[test]
    fn debug_shows_neither_secret_nor_names() {
        let auth = OtpAuth::parse("otpauth://totp/Shop:bob?secret=JBSWY3DP").unwrap();
        assert_eq!(
            format!("{auth:?}"),
            "OtpAuth { kind: Timed { period: 30 }, algorithm: Sha1, digits: 6, .. }"
        );
    }
}
