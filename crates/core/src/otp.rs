//! Makes one-time codes. They change with the time (TOTP, RFC 6238) or count (HOTP, RFC 4226).

use std::fmt;

pub(crate) use passmate_vault::otp::COUNTER_MAX;
pub use passmate_vault::otp::OtpError;
use passmate_vault::otp::{OtpAlgorithm, OtpAuth, OtpKind, with_counter};
use serde::{Deserialize, Serialize};
use totp_rs::{Algorithm, Builder, Totp};
use zeroize::Zeroizing;

/// Seconds for which a code of Steam is valid.
const STEAM_PERIOD: u64 = 30;

/// The hint for a value that is an export of Google Authenticator.
pub(crate) const IMPORT_MIGRATION: &str =
    "put the address into a file and import it: `passmate import google-authenticator FILE`";

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
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Code {
    /// The digits, as they are typed.
    pub digits: Zeroizing<String>,
    /// Seconds from now for which it is valid, 1 at least.
    pub valid_for: u64,
    /// Seconds for which each code is valid.
    pub period: u64,
}

/// A code that is valid once.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
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

impl Otp {
    /// Reads any form of [`OtpAuth::parse`].
    ///
    /// # Errors
    /// See [`OtpError`].
    pub fn parse(text: &str) -> Result<Self, OtpError> {
        let auth = OtpAuth::parse(text)?;
        Ok(match auth.kind {
            OtpKind::Timed { period } => Self::Timed(Timed {
                totp: totp_of(&auth, period),
                period,
            }),
            OtpKind::Steam => {
                let builder = Builder::new_steam().with_secret(auth.secret.as_slice());
                Self::Timed(Timed {
                    totp: builder.build_noncompliant(),
                    period: STEAM_PERIOD,
                })
            }
            OtpKind::Counted { counter } => Self::Counted(Counted {
                totp: totp_of(&auth, 1),
                address: if is_address(text) {
                    Zeroizing::new(text.trim().to_owned())
                } else {
                    auth.to_address()
                },
                secret: auth.secret,
                counter,
            }),
        })
    }

    /// The address that other programs take, for what makes codes: as it is if it is one, else
    /// with this label. `None` if it makes none, or only where no address says so (`steam://`).
    #[must_use]
    pub fn address_of(text: &str, label: &str) -> Option<Zeroizing<String>> {
        let mut auth = OtpAuth::parse(text).ok()?;
        if is_address(text) {
            return Some(Zeroizing::new(text.trim().to_owned()));
        }
        if auth.kind == OtpKind::Steam {
            return None;
        }
        if auth.label.is_empty() {
            auth.label = label.to_owned();
        }
        Some(auth.to_address())
    }
}

/// Whether a text is an address in the form that every program reads.
fn is_address(text: &str) -> bool {
    let text = text.trim();
    let has_kind = ["otpauth://totp/", "otpauth://hotp/"].iter().any(|kind| {
        let begin = text.get(..kind.len());
        begin.is_some_and(|begin| begin.eq_ignore_ascii_case(kind))
    });
    has_kind && !text.contains("&amp;") && !text.contains("&#")
}

fn totp_of(auth: &OtpAuth, period: u64) -> Totp {
    let algorithm = match auth.algorithm {
        OtpAlgorithm::Sha1 => Algorithm::SHA1,
        OtpAlgorithm::Sha256 => Algorithm::SHA256,
        OtpAlgorithm::Sha512 => Algorithm::SHA512,
    };
    let digits = u8::try_from(auth.digits).expect("a parsed secret has at most 8 digits");
    // Many sites give shorter secrets than the RFC wants.
    Builder::new()
        .with_algorithm(algorithm)
        .with_digits(digits)
        .with_secret(auth.secret.as_slice())
        .with_step_duration(period)
        .build_noncompliant()
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
        with_counter(&self.address, counter)
    }

    /// Whether both make codes from the same secret.
    pub(crate) fn has_secret_of(&self, other: &Self) -> bool {
        self.secret == other.secret
    }
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
    fn every_form_makes_the_codes_of_its_secret() {
        let at = |text: &str| timed(text).at(1_700_000_000).digits;
        for (text, digits) in [
            ("JBSWY3DPEHPK3PXP", "324550"),
            ("key=JBSWY3DPEHPK3PXP", "324550"),
            ("key=JBSWY3DPEHPK3PXP&step=30&size=6", "324550"),
            ("otpauth://totp?secret=JBSWY3DPEHPK3PXP&digits=6", "324550"),
            (
                "otpauth://totp/x?secret=JBSWY3DPEHPK3PXP&amp;digits=8",
                "02324550",
            ),
            (
                "otpauth://totp/Steam:u?secret=JBSWY3DPEHPK3PXP&digits=5&encoder=steam",
                "2KM2P",
            ),
            ("steam://JBSWY3DPEHPK3PXP", "2KM2P"),
        ] {
            assert_eq!(at(text).as_str(), digits, "{text}");
        }
        let keeotp = counted("key=GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ&type=Hotp&counter=1");
        assert_eq!(keeotp.code(1).digits.as_str(), "287082");
        let next = counted(&keeotp.address_with(2));
        assert_eq!(next.code(2).digits.as_str(), "359152");
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
        for text in [
            "otpauth://totp?secret=GEZDGNBV&amp;digits=8",
            "key=GEZDGNBV&size=8",
        ] {
            assert_eq!(
                *Otp::address_of(text, "x").unwrap(),
                "otpauth://totp/x?secret=GEZDGNBV&period=30&digits=8",
            );
        }
        let own = "OTPAUTH://totp/x?secret=GEZDGNBV&digits=8";
        assert_eq!(*Otp::address_of(own, "other").unwrap(), own);
        assert!(
            Otp::address_of("no secret!", "x").is_none()
                && Otp::address_of("steam://GEZDGNBV", "x").is_none()
        );
    }
}
