//! One-time codes, from what sites give: an `otpauth://` address or a bare secret. They change with
//! the time (TOTP, RFC 6238) or count (HOTP, RFC 4226).

use std::fmt;

use percent_encoding::{NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use totp_rs::{Algorithm, Builder, Secret, Totp};
use zeroize::Zeroizing;

/// A counter is less than this.
pub(crate) const COUNTER_MAX: u64 = 1 << 62;
/// Seconds that a code may be valid.
const PERIOD_MAX: u64 = 3600;

/// What makes codes.
#[derive(Debug)]
pub enum Otp {
    /// Each code is valid for some seconds.
    Timed(Timed),
    /// Each code is valid once.
    Counted(Counted),
}

/// Makes codes that change with the time.
pub struct Timed {
    totp: Totp,
    period: u64,
}

impl fmt::Debug for Timed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Timed")
            .field("period", &self.period)
            .finish_non_exhaustive()
    }
}

/// Makes codes that count.
pub struct Counted {
    /// With a step of one second, so that the time is the counter.
    totp: Totp,
    secret: Zeroizing<Vec<u8>>,
    address: Zeroizing<String>,
    /// The counter of the next code, as the address says.
    pub counter: u64,
}

impl fmt::Debug for Counted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Counted")
            .field("counter", &self.counter)
            .finish_non_exhaustive()
    }
}

/// A code and how long it is good.
#[derive(Clone, PartialEq, Eq)]
pub struct Code {
    /// The digits, as they are typed.
    pub digits: Zeroizing<String>,
    /// Seconds from now for which it is valid, 1 at least.
    pub valid_for: u64,
    /// Seconds for which each code is valid.
    pub period: u64,
}

/// A code that is valid once.
#[derive(Clone, PartialEq, Eq)]
pub struct CountedCode {
    /// The digits, as they are typed.
    pub digits: Zeroizing<String>,
    /// Its counter, which is used up.
    pub counter: u64,
}

/// Without the digits.
impl fmt::Debug for CountedCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CountedCode")
            .field("counter", &self.counter)
            .finish_non_exhaustive()
    }
}

/// Why a text makes no codes. It never holds the text itself.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OtpError {
    /// Its address is for codes of another kind.
    #[error("its address begins with neither otpauth://totp/ nor otpauth://hotp/")]
    Kind,
    /// Its address is for codes that count, and has no counter, two, or one that is no number.
    #[error("its codes follow a counter, and its address does not have one good counter=N")]
    Counter,
    /// There is no secret in the address.
    #[error("its address has no secret")]
    NoSecret,
    /// The secret is not base32.
    #[error("its secret is not base32 (A to Z and 2 to 7)")]
    NotBase32,
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

impl Otp {
    /// Reads `otpauth://totp/…?secret=…`, with `algorithm`, `digits`, `period` and `encoder=steam`
    /// where they are given, `otpauth://hotp/…?secret=…&counter=…`, `steam://SECRET`, or a bare
    /// secret in base32 in any case, with blanks and dashes.
    ///
    /// # Errors
    /// See [`OtpError`].
    pub fn parse(text: &str) -> Result<Self, OtpError> {
        let text = text.trim();
        if let Some(secret) = strip_prefix(text, "steam://") {
            return Self::timed(Builder::new_steam(), secret, 30);
        }
        let Some(rest) = strip_prefix(text, "otpauth://") else {
            return Self::timed(Builder::new(), text, 30);
        };
        let is_counted = strip_prefix(rest, "hotp/").is_some();
        if !is_counted && strip_prefix(rest, "totp/").is_none() {
            return Err(OtpError::Kind);
        }
        let (mut secret, mut algorithm, mut digits, mut period, mut is_steam) =
            (None, Algorithm::SHA1, 6, 30, false);
        let mut counter = None;
        for (name, value) in query_of(text).filter_map(|pair| pair.split_once('=')) {
            let value = Zeroizing::new(percent_decode_str(value).decode_utf8_lossy().into_owned());
            match name.to_ascii_lowercase().as_str() {
                "secret" => secret = Some(value),
                "algorithm" => {
                    algorithm = match value
                        .to_ascii_uppercase()
                        .trim_start_matches("HMAC")
                        .replace('-', "")
                        .as_str()
                    {
                        "SHA1" => Algorithm::SHA1,
                        "SHA256" => Algorithm::SHA256,
                        "SHA512" => Algorithm::SHA512,
                        _ => return Err(OtpError::Algorithm),
                    }
                }
                "digits" => {
                    digits = value
                        .parse()
                        .ok()
                        .filter(|digits| (6..=8).contains(digits))
                        .ok_or(OtpError::Digits)?;
                }
                "period" if !is_counted => {
                    let is_good = |period: &u64| (1..=PERIOD_MAX).contains(period);
                    period = value.parse().ok().filter(is_good).ok_or(OtpError::Period)?;
                }
                "counter" if is_counted => {
                    let is_number = value.bytes().all(|byte| byte.is_ascii_digit());
                    let number = is_number.then(|| value.parse().ok()).flatten();
                    // The last counter has no next one, and of two nobody knows which is meant.
                    let number = number.filter(|number| *number < COUNTER_MAX && counter.is_none());
                    counter = Some(number.ok_or(OtpError::Counter)?);
                }
                "encoder" => is_steam = value.eq_ignore_ascii_case("steam"),
                _ => {}
            }
        }
        let secret = secret.ok_or(OtpError::NoSecret)?;
        if is_counted {
            let builder = Builder::new().with_algorithm(algorithm).with_digits(digits);
            let secret = read_secret(&secret)?;
            return Ok(Self::Counted(Counted {
                secret: Zeroizing::new(secret.as_bytes().to_vec()),
                totp: build(builder, secret, 1),
                address: Zeroizing::new(text.to_owned()),
                counter: counter.ok_or(OtpError::Counter)?,
            }));
        }
        let builder = if is_steam {
            Builder::new_steam()
        } else {
            Builder::new().with_algorithm(algorithm).with_digits(digits)
        };
        Self::timed(builder, &secret, period)
    }

    /// The address that other programs take, for what makes codes: as it is if it is one, else
    /// around the secret. `None` if it makes none, or only where no address says so (`steam://`).
    #[must_use]
    pub fn address_of(text: &str, label: &str) -> Option<Zeroizing<String>> {
        let text = text.trim();
        Self::parse(text).ok()?;
        if strip_prefix(text, "otpauth://").is_some() {
            return Some(Zeroizing::new(text.to_owned()));
        }
        if strip_prefix(text, "steam://").is_some() {
            return None;
        }
        let secret: Zeroizing<String> = Zeroizing::new(
            text.chars()
                .filter(char::is_ascii_alphanumeric)
                .map(|c| c.to_ascii_uppercase())
                .collect(),
        );
        let label = utf8_percent_encode(label, NON_ALPHANUMERIC);
        Some(Zeroizing::new(format!(
            "otpauth://totp/{label}?secret={}&period=30&digits=6",
            *secret
        )))
    }

    fn timed(builder: Builder, secret: &str, period: u64) -> Result<Self, OtpError> {
        let totp = build(builder, read_secret(secret)?, period);
        Ok(Self::Timed(Timed { totp, period }))
    }
}

fn read_secret(text: &str) -> Result<Secret, OtpError> {
    let is_written = |letter: &char| !matches!(letter, ' ' | '-' | '=');
    let text: Zeroizing<String> = Zeroizing::new(
        text.chars()
            .filter(is_written)
            .map(|letter| letter.to_ascii_uppercase())
            .collect(),
    );
    let secret = Secret::try_from_base32(text.as_str()).map_err(|_| OtpError::NotBase32)?;
    if secret.as_bytes().is_empty() {
        return Err(OtpError::NoSecret);
    }
    Ok(secret)
}

fn build(builder: Builder, secret: Secret, period: u64) -> Totp {
    // Many sites give shorter secrets than the RFC wants.
    builder
        .with_secret(secret)
        .with_step_duration(period)
        .build_noncompliant()
}

/// The query of an address without its fragment, pair by pair.
fn query_of(address: &str) -> impl Iterator<Item = &str> {
    let address = address.split('#').next().unwrap_or_default();
    let query = address.split_once('?').map_or("", |(_, query)| query);
    query.split('&')
}

impl Timed {
    /// The code at a time in seconds since 1970.
    #[must_use]
    pub fn at(&self, seconds: u64) -> Code {
        Code {
            digits: Zeroizing::new(self.totp.generate(seconds).to_string()),
            valid_for: self.period - seconds % self.period,
            period: self.period,
        }
    }
}

impl Counted {
    /// The code of a counter.
    #[must_use]
    pub fn code(&self, counter: u64) -> CountedCode {
        CountedCode {
            digits: Zeroizing::new(self.totp.generate(counter).to_string()),
            counter,
        }
    }

    /// The address with another counter, and else as it is.
    #[must_use]
    pub fn address_with(&self, counter: u64) -> Zeroizing<String> {
        let (before, fragment) = match self.address.split_once('#') {
            Some((before, fragment)) => (before, Some(fragment)),
            None => (self.address.as_str(), None),
        };
        let begin = before.split_once('?').map_or(before, |(begin, _)| begin);
        let mut address = Zeroizing::new(String::with_capacity(self.address.len() + 20));
        address.push_str(begin);
        for (index, pair) in query_of(before).enumerate() {
            address.push(if index == 0 { '?' } else { '&' });
            match pair.split_once('=') {
                Some((name, _)) if name.eq_ignore_ascii_case("counter") => {
                    address.push_str(&format!("{name}={counter}"));
                }
                _ => address.push_str(pair),
            }
        }
        if let Some(fragment) = fragment {
            address.push('#');
            address.push_str(fragment);
        }
        address
    }

    /// Whether both make codes from the same secret.
    pub(crate) fn has_secret_of(&self, other: &Self) -> bool {
        self.secret == other.secret
    }
}

/// The rest of a text that begins so, whatever the case.
fn strip_prefix<'a>(text: &'a str, prefix: &str) -> Option<&'a str> {
    let (begin, rest) = text.split_at_checked(prefix.len())?;
    begin.eq_ignore_ascii_case(prefix).then_some(rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn timed(text: &str) -> Timed {
        match Otp::parse(text).unwrap() {
            Otp::Timed(timed) => timed,
            Otp::Counted(_) => panic!("{text}"),
        }
    }

    fn counted(text: &str) -> Counted {
        match Otp::parse(text).unwrap() {
            Otp::Counted(counted) => counted,
            Otp::Timed(_) => panic!("{text}"),
        }
    }

    #[track_caller]
    fn check(text: &str, seconds: u64, digits: &str, valid_for: u64) {
        let code = timed(text).at(seconds);
        assert_eq!(
            (code.digits.as_str(), code.valid_for),
            (digits, valid_for),
            "{text}"
        );
    }

    #[test]
    fn the_codes_of_rfc_6238_come_out() {
        // Appendix B: the seed repeated to the length of the hash.
        const SHA1: &str = "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ";
        const SHA256: &str = "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQGEZA====";
        const SHA512: &str = "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQGEZDGNA=";
        let rows = [
            (59, "94287082", "46119246", "90693936"),
            (1_111_111_109, "07081804", "68084774", "25091201"),
            (1_234_567_890, "89005924", "91819424", "93441116"),
            (2_000_000_000, "69279037", "90698825", "38618901"),
            (20_000_000_000, "65353130", "77737706", "47863826"),
        ];
        for (seconds, sha1, sha256, sha512) in rows {
            for (algorithm, secret, digits) in [
                ("SHA1", SHA1, sha1),
                ("sha256", SHA256, sha256),
                ("HmacSHA512", SHA512, sha512),
            ] {
                let secret = secret.replace('=', "%3D");
                let text = format!(
                    "otpauth://totp/a%20b:c?secret={secret}&issuer=x&algorithm={algorithm}&digits=8"
                );
                check(&text, seconds, digits, 30 - seconds % 30);
            }
        }
    }

    #[test]
    fn the_codes_of_rfc_4226_come_out() {
        // Appendix D.
        let codes = [
            "755224", "287082", "359152", "969429", "338314", "254676", "287922", "162583",
            "399871", "520489",
        ];
        let address = "otpauth://hotp/a?secret=GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ&counter=0";
        let mut counted_one = counted(address);
        for (counter, digits) in (0..).zip(codes) {
            let code = counted_one.code(counted_one.counter);
            assert_eq!((code.counter, code.digits.as_str()), (counter, digits));
            counted_one = counted(&counted_one.address_with(counter + 1));
        }
    }

    #[test]
    fn only_the_counter_of_an_address_changes() {
        for (address, next) in [
            (
                "otpauth://hotp/a?secret=GEZDGNBV&counter=9",
                "otpauth://hotp/a?secret=GEZDGNBV&counter=10",
            ),
            (
                "OTPAUTH://HOTP/a%20b:c?Counter=3&&SECRET=gezd%20gnbv&x&issuer=a?b#q?counter=1",
                "OTPAUTH://HOTP/a%20b:c?Counter=10&&SECRET=gezd%20gnbv&x&issuer=a?b#q?counter=1",
            ),
        ] {
            assert_eq!(*counted(address).address_with(10), next);
            assert_eq!(*Otp::address_of(address, "other").unwrap(), address);
        }
        for counter in [
            "18446744073709551615",
            "4611686018427387904",
            "5&counter=9",
            "-1",
            "",
        ] {
            let address = format!("otpauth://hotp/a?secret=GEZDGNBV&counter={counter}");
            assert_eq!(
                Otp::parse(&address).err(),
                Some(OtpError::Counter),
                "{address}"
            );
        }
    }

    #[test]
    fn a_bare_secret_is_taken_as_people_type_it() {
        for text in [
            "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ",
            " gezd gnbv-gy3t qojq gezd gnbv gy3t qojq==\n",
        ] {
            check(text, 59, "287082", 1);
        }
        check(
            "OTPAUTH://TOTP/x?SECRET=gezdgnbvgy3tqojqgezdgnbvgy3tqojq&period=60",
            59,
            "755224",
            1,
        );
    }

    #[test]
    fn steam_has_letters() {
        let by_encoder = timed("otpauth://totp/x?secret=GEZDGNBVGY3TQOJQ&encoder=steam")
            .at(59)
            .digits;
        let by_scheme = timed("steam://GEZDGNBVGY3TQOJQ").at(59).digits;
        assert_eq!(by_encoder, by_scheme);
        assert_eq!(by_scheme.len(), 5);
        assert!(
            by_scheme
                .chars()
                .all(|letter| "23456789BCDFGHJKMNPQRTVWXY".contains(letter))
        );
    }

    #[test]
    fn what_makes_no_codes_is_named() {
        for (text, error) in [
            ("otpauth://motp/x?secret=GEZDGNBV", OtpError::Kind),
            ("otpauth://hotp/x?secret=GEZDGNBV", OtpError::Counter),
            (
                "otpauth://hotp/x?secret=GEZDGNBV&counter=+1",
                OtpError::Counter,
            ),
            (
                "otpauth://hotp/x?secret=GEZDGNBV&counter=18446744073709551616",
                OtpError::Counter,
            ),
            ("otpauth://hotp/x?counter=1", OtpError::NoSecret),
            (
                "otpauth://hotp/x?secret=GEZDGNBV&counter=1&digits=9",
                OtpError::Digits,
            ),
            ("otpauth://totp/x", OtpError::NoSecret),
            ("otpauth://totp/x?secret=", OtpError::NoSecret),
            ("otpauth://totp/x?secret=GEZDGNB1", OtpError::NotBase32),
            (
                "otpauth://totp/x?secret=GEZDGNBV&algorithm=MD5",
                OtpError::Algorithm,
            ),
            (
                "otpauth://totp/x?secret=GEZDGNBV&digits=10",
                OtpError::Digits,
            ),
            (
                "otpauth://totp/x?secret=GEZDGNBV&digits=-6",
                OtpError::Digits,
            ),
            (
                "otpauth://totp/x?secret=GEZDGNBV&period=0",
                OtpError::Period,
            ),
            (
                "otpauth://totp/x?secret=GEZDGNBV&period=99999999999999999999",
                OtpError::Period,
            ),
            ("ümlaut", OtpError::NotBase32),
            ("", OtpError::NoSecret),
        ] {
            assert_eq!(Otp::parse(text).unwrap_err(), error, "{text}");
        }
    }

    #[test]
    fn a_bare_secret_becomes_an_address_that_makes_the_same_codes() {
        let address = Otp::address_of("gezd gnbv-gy3tqojq", "web/my shop").unwrap();
        assert_eq!(
            *address,
            "otpauth://totp/web%2Fmy%20shop?secret=GEZDGNBVGY3TQOJQ&period=30&digits=6"
        );
        let code = |text: &str| timed(text).at(1_700_000_000).digits;
        assert_eq!(code(&address), code("gezd gnbv-gy3tqojq"));
        let own = "OTPAUTH://totp/x?secret=GEZDGNBV&digits=8";
        assert_eq!(*Otp::address_of(own, "other").unwrap(), own);
        assert!(
            Otp::address_of("no secret!", "x").is_none()
                && Otp::address_of("steam://GEZDGNBV", "x").is_none()
        );
    }
}
