//! The secrets of one-time codes in the strings of an entry.
//!
//! | program | strings |
//! | --- | --- |
//! | KeePassXC, KeeOtp | `otp`: an `otpauth:` address, or `key=…&step=…&size=…` |
//! | KeePass 2 | `TimeOtp-Secret`, `-Hex`, `-Base32`, `-Base64`, `-Length`, `-Period`, `-Algorithm` |
//! | KeePass 2 | `HmacOtp-Secret` in the same four forms, `HmacOtp-Counter` |
//! | TrayTotp, older KeePassXC | `TOTP Seed`, and `TOTP Settings` as `30;6` or `30;S` for Steam |
//! | Passmate | [`EXACT`]: the text of the field `otp`, if the strings above cannot hold it |

use data_encoding::{BASE64, HEXLOWER_PERMISSIVE};
use passmate_vault::otp::{OtpAlgorithm, OtpAuth, OtpError, OtpKind, decode_base32, with_counter};
use zeroize::Zeroizing;

use crate::syntax::kdbx::OTP_EXACT as EXACT;

/// The strings of an entry: names and values.
pub(super) type Strings<'a> = Vec<(&'a str, Zeroizing<String>)>;

/// Takes the strings that make one-time codes, and returns an `otpauth:` address for each secret.
/// Strings that make no codes stay, with a loss. Addresses without a name get the label.
pub(super) fn take(
    strings: &mut Strings<'_>,
    label: &str,
    losses: &mut Vec<String>,
) -> Vec<Zeroizing<String>> {
    let mut found: Vec<(OtpAuth, Zeroizing<String>)> = Vec::new();
    for form in [Form::Otp, Form::KeePass, Form::Tray, Form::Counted] {
        let read = match form.read(strings) {
            None => continue,
            Some(read) => read,
        };
        match read {
            Ok(auth) => {
                let address = form.address(strings, &auth, label);
                strings.retain(|(key, _)| !form.owns(key));
                if !found.iter().any(|(other, _)| is_same(other, &auth)) {
                    found.push((auth, address));
                }
            }
            Err(error) => losses.push(format!(
                "the one-time codes: {error}; the text of {} is kept",
                form.name()
            )),
        }
    }
    if let Some(place) = strings.iter().position(|(key, _)| *key == EXACT) {
        let (_, exact) = strings.remove(place);
        take_exact(exact, &mut found)
    } else {
        found.into_iter().map(|(_, address)| address).collect()
    }
}

/// Puts the text that Passmate wrote in the place of what it wrote for other programs, unless these
/// have changed it.
fn take_exact(
    exact: Zeroizing<String>,
    found: &mut Vec<(OtpAuth, Zeroizing<String>)>,
) -> Vec<Zeroizing<String>> {
    let mut parsed = OtpAuth::parse(&exact).ok();
    let same = found.iter().position(|(other, _)| {
        let has_secret = |exact: &OtpAuth| exact.secret == other.secret;
        parsed.as_ref().is_some_and(has_secret)
    });
    let mut first = exact;
    if let (Some(place), Some(exact)) = (same, &mut parsed) {
        let (other, address) = found.remove(place);
        // KeePass may have used the counter since.
        if let (
            OtpKind::Counted { counter },
            OtpKind::Counted {
                counter: exact_counter,
            },
        ) = (other.kind, &mut exact.kind)
            && counter > *exact_counter
        {
            first = with_counter(&first, counter);
            *exact_counter = counter;
        }
        if !is_same(&other, exact) {
            first = address;
        }
    }
    let others = found.drain(..).map(|(_, address)| address);
    std::iter::once(first).chain(others).collect()
}

/// Whether both make the same codes.
fn is_same(one: &OtpAuth, other: &OtpAuth) -> bool {
    one.secret == other.secret
        && one.kind == other.kind
        && one.algorithm == other.algorithm
        && one.digits == other.digits
}

#[derive(Clone, Copy)]
enum Form {
    Otp,
    KeePass,
    Tray,
    Counted,
}

impl Form {
    fn name(self) -> &'static str {
        match self {
            Self::Otp => "otp",
            Self::KeePass => "TimeOtp",
            Self::Tray => "TOTP Seed",
            Self::Counted => "HmacOtp",
        }
    }

    fn owns(self, key: &str) -> bool {
        match self {
            Self::Otp => key == "otp",
            Self::KeePass => key.starts_with("TimeOtp-"),
            Self::Tray => matches!(key, "TOTP Seed" | "TOTP Settings"),
            Self::Counted => key.starts_with("HmacOtp-"),
        }
    }

    /// Reads the strings of this form; `None` if there is no secret.
    fn read(self, strings: &Strings<'_>) -> Option<Result<OtpAuth, OtpError>> {
        let value = |key: &str| {
            let found = strings.iter().find(|(found, _)| *found == key);
            found.map(|(_, value)| value.as_str().trim())
        };
        match self {
            Self::Otp => value("otp").map(OtpAuth::parse),
            Self::Tray => {
                let seed = value("TOTP Seed")?;
                Some(read_tray(seed, value("TOTP Settings").unwrap_or_default()))
            }
            Self::KeePass => read_secret("TimeOtp", value).map(|secret| {
                let period = number(value("TimeOtp-Period"), 30, OtpError::Period)?;
                let mut auth = OtpAuth::new(OtpKind::Timed { period }, secret?);
                auth.digits = number(value("TimeOtp-Length"), auth.digits, OtpError::Digits)?;
                if let Some(algorithm) = value("TimeOtp-Algorithm") {
                    auth.algorithm = OtpAlgorithm::parse(algorithm)?;
                }
                Ok(auth)
            }),
            Self::Counted => read_secret("HmacOtp", value).map(|secret| {
                let counter = number(value("HmacOtp-Counter"), 0, OtpError::Counter)?;
                Ok(OtpAuth::new(OtpKind::Counted { counter }, secret?))
            }),
        }
        .map(|read| {
            let auth = read?;
            auth.check()?;
            Ok(auth)
        })
    }

    fn address(self, strings: &Strings<'_>, auth: &OtpAuth, label: &str) -> Zeroizing<String> {
        let written = strings.iter().find(|(key, _)| *key == "otp");
        match (self, written) {
            (Self::Otp, Some((_, address))) if is_plain_address(address) => address.clone(),
            _ if auth.label.is_empty() => OtpAuth {
                label: label.to_owned(),
                ..auth.clone()
            }
            .to_address(),
            _ => auth.to_address(),
        }
    }
}

/// Whether other programs read the address as it is.
fn is_plain_address(text: &str) -> bool {
    let begins_with = |begin: &str| {
        text.get(..begin.len())
            .is_some_and(|found| found.eq_ignore_ascii_case(begin))
    };
    (begins_with("otpauth://totp/") || begins_with("otpauth://hotp/")) && !text.contains("&amp;")
}

/// The secret in the first of four forms that is there.
fn read_secret<'s>(
    program: &str,
    value: impl Fn(&str) -> Option<&'s str>,
) -> Option<Result<Zeroizing<Vec<u8>>, OtpError>> {
    let value = |form: &str| value(&format!("{program}-Secret{form}"));
    let decoded = |bytes: Option<Vec<u8>>| bytes.map(Zeroizing::new).ok_or(OtpError::Encoding);
    let unbroken = |text: &str| -> Zeroizing<String> {
        let letters = text.chars().filter(|letter| !letter.is_whitespace());
        Zeroizing::new(letters.collect())
    };
    if let Some(text) = value("") {
        return Some(Ok(Zeroizing::new(text.as_bytes().to_vec())));
    }
    if let Some(text) = value("-Hex") {
        let bytes = HEXLOWER_PERMISSIVE.decode(unbroken(text).as_bytes());
        return Some(decoded(bytes.ok()));
    }
    if let Some(text) = value("-Base32") {
        return Some(decode_base32(text));
    }
    let text = value("-Base64")?;
    Some(decoded(BASE64.decode(unbroken(text).as_bytes()).ok()))
}

fn read_tray(seed: &str, settings: &str) -> Result<OtpAuth, OtpError> {
    let mut parts = settings.split(';').map(str::trim);
    let (period, digits) = (parts.next(), parts.next().unwrap_or_default());
    let secret = decode_base32(seed)?;
    if digits.eq_ignore_ascii_case("S") {
        return Ok(OtpAuth::new(OtpKind::Steam, secret));
    }
    let period = number(period, 30, OtpError::Period)?;
    let mut auth = OtpAuth::new(OtpKind::Timed { period }, secret);
    auth.digits = number(Some(digits), auth.digits, OtpError::Digits)?;
    Ok(auth)
}

fn number<N: std::str::FromStr>(
    text: Option<&str>,
    default: N,
    error: OtpError,
) -> Result<N, OtpError> {
    match text {
        None | Some("") => Ok(default),
        Some(text) => text.parse().map_err(|_| error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The addresses, the names of the strings that stay, and the number of losses.
    fn taken(strings: &[(&'static str, &str)]) -> (Vec<String>, Vec<&'static str>, usize) {
        let mut strings: Strings<'static> = strings
            .iter()
            .map(|(key, value)| (*key, Zeroizing::new((*value).to_owned())))
            .collect();
        let mut losses = Vec::new();
        let addresses = take(&mut strings, "x", &mut losses);
        let addresses = addresses.iter().map(|address| address.to_string());
        let left = strings.iter().map(|(key, _)| *key).collect();
        (addresses.collect(), left, losses.len())
    }

    #[test]
    fn every_form_becomes_an_address_with_its_settings() {
        for (strings, address) in [
            (
                &[("otp", "otpauth://totp/a?secret=JBSWY3DPEHPK3PXP&x=1")][..],
                "otpauth://totp/a?secret=JBSWY3DPEHPK3PXP&x=1",
            ),
            (
                &[(
                    "otp",
                    "key=JBSWY3DPEHPK3PXP&step=60&size=8&otpHashMode=Sha256",
                )],
                "otpauth://totp/x?secret=JBSWY3DPEHPK3PXP&period=60&digits=8&algorithm=SHA256",
            ),
            (
                &[("otp", "jbsw y3dp ehpk 3pxp")],
                "otpauth://totp/x?secret=JBSWY3DPEHPK3PXP&period=30&digits=6",
            ),
            (
                &[("otp", "otpauth://totp?secret=JBSWY3DPEHPK3PXP&amp;digits=8")],
                "otpauth://totp/x?secret=JBSWY3DPEHPK3PXP&period=30&digits=8",
            ),
            (
                &[
                    ("TimeOtp-Length", "8"),
                    ("TimeOtp-Period", "60"),
                    ("TimeOtp-Algorithm", "HMAC-SHA-512"),
                    ("TimeOtp-Secret-Base32", "JBSWY3DPEHPK3PXP"),
                ],
                "otpauth://totp/x?secret=JBSWY3DPEHPK3PXP&period=60&digits=8&algorithm=SHA512",
            ),
            (
                &[("TimeOtp-Secret-Hex", "48656c6c6f21DEADBEEF")],
                "otpauth://totp/x?secret=JBSWY3DPEHPK3PXP&period=30&digits=6",
            ),
            (
                &[("TimeOtp-Secret-Base64", "SGVsbG8h3q2+7w==")],
                "otpauth://totp/x?secret=JBSWY3DPEHPK3PXP&period=30&digits=6",
            ),
            (
                &[("TimeOtp-Secret", "12345678901234567890")],
                "otpauth://totp/x?secret=GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ&period=30&digits=6",
            ),
            (
                &[("TOTP Seed", "jbsw y3dp ehpk 3pxp")],
                "otpauth://totp/x?secret=JBSWY3DPEHPK3PXP&period=30&digits=6",
            ),
            (
                &[("TOTP Settings", "60;8"), ("TOTP Seed", "JBSWY3DPEHPK3PXP")],
                "otpauth://totp/x?secret=JBSWY3DPEHPK3PXP&period=60&digits=8",
            ),
            (
                &[("TOTP Settings", "30;S"), ("TOTP Seed", "JBSWY3DPEHPK3PXP")],
                "otpauth://totp/x?secret=JBSWY3DPEHPK3PXP&period=30&digits=5&encoder=steam",
            ),
            (
                &[
                    ("HmacOtp-Secret-Base32", "JBSWY3DPEHPK3PXP"),
                    ("HmacOtp-Counter", "7"),
                ],
                "otpauth://hotp/x?secret=JBSWY3DPEHPK3PXP&counter=7&digits=6",
            ),
        ] {
            assert_eq!(taken(strings), (vec![address.to_owned()], vec![], 0));
        }
    }

    #[test]
    fn what_makes_no_codes_stays() {
        for strings in [
            &[("otp", "otpauth://motp/x?secret=JBSWY3DPEHPK3PXP")][..],
            &[("otp", "not base32!")],
            &[("TimeOtp-Secret-Hex", "4")],
            &[
                ("TimeOtp-Secret-Base32", "JBSWY3DPEHPK3PXP"),
                ("TimeOtp-Length", "12"),
            ],
            &[
                ("TimeOtp-Secret-Base32", "JBSWY3DPEHPK3PXP"),
                ("TimeOtp-Period", "-1"),
            ],
            &[("TOTP Seed", "1")],
            &[("TOTP Seed", "JBSWY3DPEHPK3PXP"), ("TOTP Settings", "30;x")],
            &[("HmacOtp-Secret", "x"), ("HmacOtp-Counter", "x")],
        ] {
            let left: Vec<_> = strings.iter().map(|(key, _)| *key).collect();
            assert_eq!(taken(strings), (vec![], left, 1));
        }
        // Settings without a secret are ordinary strings.
        let settings = [("TimeOtp-Period", "60"), ("TOTP Settings", "60;8")];
        assert_eq!(taken(&settings).1.len(), 2);
        assert_eq!(taken(&settings).2, 0);
    }

    #[test]
    fn one_secret_in_two_forms_is_one_address() {
        let seed = ("TOTP Seed", "JBSWY3DPEHPK3PXP");
        let same = ("otp", "otpauth://totp/a?secret=JBSWY3DPEHPK3PXP");
        let other = ("otp", "otpauth://totp/a?secret=GEZDGNBV");
        assert_eq!(taken(&[seed, same]).0, [same.1]);
        assert_eq!(taken(&[seed, other]).0.len(), 2);
    }

    #[test]
    fn the_text_that_was_exported_comes_back() {
        let exact = "otpauth://hotp/a?secret=JBSWY3DPEHPK3PXP&counter=3&issuer=b";
        let with = |counter| {
            let secret = ("HmacOtp-Secret-Base32", "JBSWY3DPEHPK3PXP");
            taken(&[secret, ("HmacOtp-Counter", counter), (EXACT, exact)]).0
        };
        assert_eq!(with("3"), [exact]);
        assert_eq!(with("5"), [exact.replace("counter=3", "counter=5")]);
        // The counter was set back, or the settings were changed.
        assert_eq!(
            with("1"),
            ["otpauth://hotp/x?secret=JBSWY3DPEHPK3PXP&counter=1&digits=6"]
        );
        let timed = "otpauth://totp/a?secret=JBSWY3DPEHPK3PXP&period=90&issuer=b";
        let with = |period| {
            let secret = ("TimeOtp-Secret-Base32", "JBSWY3DPEHPK3PXP");
            taken(&[secret, ("TimeOtp-Period", period), (EXACT, timed)]).0
        };
        assert_eq!(with("90"), [timed]);
        assert_eq!(
            with("120"),
            ["otpauth://totp/x?secret=JBSWY3DPEHPK3PXP&period=120&digits=6"]
        );
        assert_eq!(taken(&[(EXACT, "no codes")]).0, ["no codes"]);
    }
}
