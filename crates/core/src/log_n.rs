//! How dear each guess of a master passphrase is, where a person chose more than the standard.

use std::fmt;
use std::ops::RangeInclusive;

use passmate_vault::format::container::Params;
use serde::{Deserialize, Serialize};

/// log2 of scrypt's N for a vault that is dearer than the standard of 17. One step more doubles the
/// memory and the time of each unlock, and those of each guess.
///
/// It is for the file on one device: other devices have their own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "u8", into = "u8")]
pub struct LogN(u8);

impl LogN {
    /// What can be chosen. A vault of 20 takes 1 GiB to open.
    pub const CHOICES: RangeInclusive<u8> = 18..=20;

    /// The parameters of the key derivation.
    pub(crate) fn params(self) -> Params {
        Params::new(self.0, 8, 1).unwrap_or(Params::STANDARD)
    }

    /// The memory that an unlock takes, in MiB.
    #[must_use]
    pub fn memory_mib(self) -> u64 {
        self.params().memory_bytes() >> 20
    }

    /// How many times as much work an unlock is as with the standard.
    #[must_use]
    pub fn times_standard(self) -> u64 {
        self.params().work() / Params::STANDARD.work()
    }
}

/// A logN that is not offered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("it can be 18, 19 or 20, not {0}")]
pub struct NotOffered(u8);

impl TryFrom<u8> for LogN {
    type Error = NotOffered;

    fn try_from(log_n: u8) -> Result<Self, NotOffered> {
        let is_offered = Self::CHOICES.contains(&log_n);
        is_offered.then_some(Self(log_n)).ok_or(NotOffered(log_n))
    }
}

impl From<LogN> for u8 {
    fn from(log_n: LogN) -> Self {
        log_n.0
    }
}

impl fmt::Display for LogN {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_step_doubles_memory_and_work() {
        let costs = LogN::CHOICES.map(|log_n| {
            let log_n = LogN::try_from(log_n).unwrap();
            (log_n.memory_mib(), log_n.times_standard())
        });
        assert_eq!(costs.collect::<Vec<_>>(), [(256, 2), (512, 4), (1024, 8)]);
        for log_n in [0, 16, 17, 21, 255] {
            assert!(LogN::try_from(log_n).is_err(), "{log_n}");
        }
    }
}
