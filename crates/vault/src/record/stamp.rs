//! The time of a change in whole seconds, an integer of any size.

use std::cmp::Ordering;
use std::fmt;

/// The first second that may decide a view (1970-01-01T00:00:01Z).
pub const TIME_MIN: i64 = 1;
/// The last second that may decide a view (9999-12-31T23:59:59Z).
pub const TIME_MAX: i64 = 253_402_300_799;

/// A change this many seconds after the present comes from a wrong clock, or from somebody who
/// wants it to win for ever.
pub const AHEAD_SECONDS: i64 = 24 * 3600;
/// The beginning of 2026. A clock that says less was never set, so it says nothing about the
/// present.
pub const PRESENT_MIN: i64 = 1_767_225_600;

/// True if a time is more than a day after the present, by a device's clock.
pub const fn is_ahead(seconds: i64, now: i64) -> bool {
    let present = if now < PRESENT_MIN { PRESENT_MIN } else { now };
    seconds > present.saturating_add(AHEAD_SECONDS)
}

/// The number of digits that a stamp may have. The original program reads no more.
pub const STAMP_DIGITS_MAX: usize = 4300;

/// Seconds since 1970: an integer of up to 4300 digits.
///
/// Ordered as a number. Only stamps within [`TIME_MIN`]`..=`[`TIME_MAX`] decide what people see.
/// Others are kept and sent to other devices, digit for digit.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Stamp(Number);

#[derive(Clone, PartialEq, Eq, Hash)]
enum Number {
    Small(i64),
    // Boxed twice to keep a stamp at two words: every change has one, and hardly any is big.
    Big(Box<Big>),
}

/// An integer outside the range of `i64`. The digits have no leading zero and no sign.
#[derive(Clone, PartialEq, Eq, Hash)]
struct Big {
    negative: bool,
    digits: Box<str>,
}

impl Stamp {
    /// A stamp of this many seconds.
    pub const fn from_seconds(seconds: i64) -> Self {
        Self(Number::Small(seconds))
    }

    /// Reads the decimal form of an integer as JSON has it: an optional `-`, then digits without a
    /// leading zero. `-0` is 0. `None` for anything else, and for more than [`STAMP_DIGITS_MAX`]
    /// digits.
    pub fn parse(text: &str) -> Option<Self> {
        let (negative, digits) = match text.strip_prefix('-') {
            Some(digits) => (true, digits),
            None => (false, text),
        };
        let leading_zero = digits.len() > 1 && digits.starts_with('0');
        let foreign = !digits.bytes().all(|byte| byte.is_ascii_digit());
        if digits.is_empty() || digits.len() > STAMP_DIGITS_MAX || leading_zero || foreign {
            return None;
        }
        // A text of digits fails to parse only if the number is outside the range of i64.
        Some(match text.parse() {
            Ok(seconds) => Self::from_seconds(seconds),
            Err(_) => Self(Number::Big(Box::new(Big {
                negative,
                digits: digits.into(),
            }))),
        })
    }

    /// True if a change with this stamp may decide what people see.
    pub fn decides(&self) -> bool {
        self.deciding_seconds().is_some()
    }

    /// The seconds, if the stamp [`decides`](Self::decides).
    pub fn deciding_seconds(&self) -> Option<i64> {
        self.seconds()
            .filter(|seconds| (TIME_MIN..=TIME_MAX).contains(seconds))
    }

    /// The seconds, if they fit an `i64`.
    pub fn seconds(&self) -> Option<i64> {
        #[cfg(test)]
        super::work::note();
        match &self.0 {
            Number::Small(seconds) => Some(*seconds),
            Number::Big(_) => None,
        }
    }
}

impl Ord for Stamp {
    fn cmp(&self, other: &Self) -> Ordering {
        #[cfg(test)]
        super::work::note();
        match (&self.0, &other.0) {
            (Number::Small(a), Number::Small(b)) => a.cmp(b),
            (Number::Big(a), Number::Small(_)) => a.against_small(),
            (Number::Small(_), Number::Big(b)) => b.against_small().reverse(),
            (Number::Big(a), Number::Big(b)) => a.cmp(b),
        }
    }
}

impl PartialOrd for Stamp {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Big {
    /// Compares with any `i64`: this number is beyond all of them.
    fn against_small(&self) -> Ordering {
        if self.negative {
            Ordering::Less
        } else {
            Ordering::Greater
        }
    }
}

impl Ord for Big {
    fn cmp(&self, other: &Self) -> Ordering {
        let by_size = || {
            self.digits
                .len()
                .cmp(&other.digits.len())
                .then_with(|| self.digits.cmp(&other.digits))
        };
        match (self.negative, other.negative) {
            (false, false) => by_size(),
            (true, true) => by_size().reverse(),
            (negative, _) => {
                if negative {
                    Ordering::Less
                } else {
                    Ordering::Greater
                }
            }
        }
    }
}

impl PartialOrd for Big {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// The decimal digits, as [`Stamp::parse`] takes them.
impl fmt::Display for Stamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Number::Small(seconds) => seconds.fmt(f),
            Number::Big(big) => write!(f, "{}{}", if big.negative { "-" } else { "" }, big.digits),
        }
    }
}

impl fmt::Debug for Stamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stamps_of_any_size_are_ordered_as_numbers() {
        let ascending = [
            "-100000000000000000000",
            "-99999999999999999999",
            "-9223372036854775809",
            "-9223372036854775808",
            "-1",
            "0",
            "1",
            "9223372036854775807",
            "9223372036854775808",
            "99999999999999999999",
            "100000000000000000000",
        ];
        let stamps: Vec<Stamp> = ascending
            .iter()
            .map(|text| Stamp::parse(text).unwrap())
            .collect();
        for (i, a) in stamps.iter().enumerate() {
            for (j, b) in stamps.iter().enumerate() {
                assert_eq!(a.cmp(b), i.cmp(&j), "{a} against {b}");
            }
        }
        for (stamp, text) in stamps.iter().zip(ascending) {
            assert_eq!(stamp.to_string(), text);
        }
    }

    #[test]
    fn each_number_has_exactly_one_text() {
        assert_eq!(Stamp::parse("-0"), Some(Stamp::from_seconds(0)));
        for text in [
            "", "-", "01", "-01", "00", "+1", "1.0", "1e3", " 1", "1 ", "١",
        ] {
            assert_eq!(Stamp::parse(text), None, "{text:?}");
        }
        assert!(Stamp::parse(&"9".repeat(STAMP_DIGITS_MAX)).is_some());
        assert!(Stamp::parse(&"9".repeat(STAMP_DIGITS_MAX + 1)).is_none());
    }

    #[test]
    fn a_time_is_ahead_from_a_day_after_the_present_on() {
        let now = PRESENT_MIN + 1000;
        assert!(!is_ahead(now + AHEAD_SECONDS, now));
        assert!(is_ahead(now + AHEAD_SECONDS + 1, now));
        assert!(is_ahead(TIME_MAX, now));
        assert!(!is_ahead(TIME_MAX, i64::MAX));
        for unset in [i64::MIN, 0, 1_000_000_000] {
            assert!(!is_ahead(PRESENT_MIN, unset), "a clock that was never set");
            assert!(is_ahead(TIME_MAX, unset));
        }
    }

    #[test]
    fn only_the_years_1970_to_9999_decide() {
        for (seconds, decides) in [
            (i64::MIN, false),
            (0, false),
            (1, true),
            (TIME_MAX, true),
            (TIME_MAX + 1, false),
            (i64::MAX, false),
        ] {
            assert_eq!(Stamp::from_seconds(seconds).decides(), decides, "{seconds}");
        }
        assert!(!Stamp::parse("1180591620717411303424").unwrap().decides());
    }
}
