//! What is tried again, how often, and after what pause.

use std::time::Duration;

use passmate_proto::{Failure, UnknownCause};
use rand_core::CryptoRng;

use super::{RemoteError, StreamEnd};
use crate::net::ConnectError;

/// Uploads that were not confirmed: with many devices at once only one wins each attempt.
const UNKNOWN_MAX: u32 = 16;
/// Of these, those that were no plain cut: a silence, or an answer that makes no sense.
const STRANGE_MAX: u32 = 3;
/// Connections that broke.
const BROKEN_MAX: u32 = 6;
/// Refusals of the credentials.
const REFUSED_MAX: u32 = 2;
/// The first pause, before jitter.
const PAUSE_MIN: Duration = Duration::from_millis(100);
/// The longest pause, before jitter.
const PAUSE_MAX: Duration = Duration::from_secs(3);

/// What to do after an exchange that did not come through.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// Try again after a pause.
    Again,
    /// Fetch once more and send nothing: it tells whether the last upload arrived.
    LastLook,
    GiveUp(RemoteError),
}

/// Counts what went wrong.
#[derive(Debug, Default)]
pub(super) struct Retries {
    unknown: u32,
    strange: u32,
    broken: u32,
    refused: u32,
}

impl Retries {
    /// Uploads that were sent whole and not confirmed.
    pub(super) const fn unknown(&self) -> u32 {
        self.unknown
    }

    /// All was sent and nothing confirmed it.
    pub(super) fn after_unknown(&mut self, cause: UnknownCause, end: &StreamEnd) -> Next {
        // The credentials were good a moment ago.
        self.refused = 0;
        self.unknown += 1;
        if cause != UnknownCause::Cut || *end != StreamEnd::Cut {
            self.strange += 1;
        }
        if self.unknown < UNKNOWN_MAX && self.strange < STRANGE_MAX {
            Next::Again
        } else {
            Next::LastLook
        }
    }

    /// The exchange is known to have had no effect.
    pub(super) fn after_failure(&mut self, failure: Failure, end: &StreamEnd) -> Next {
        match failure {
            // Only a plain cut is the server's answer; after a silence nobody knows.
            Failure::CutAfterCredentials if *end == StreamEnd::Cut => {
                self.refused += 1;
                again_if(self.refused < REFUSED_MAX, || RemoteError::Refused)
            }
            Failure::CutBeforeHello if *end == StreamEnd::Cut => {
                self.broken += 1;
                again_if(self.broken < BROKEN_MAX, || RemoteError::Busy)
            }
            Failure::CutBeforeHello
            | Failure::CutDuringGreeting
            | Failure::CutAfterCredentials
            | Failure::CutDuringFetch
            | Failure::CutDuringUpload => {
                self.broken += 1;
                // Who was silent once has cost half a minute.
                let again = *end == StreamEnd::Cut && self.broken < BROKEN_MAX;
                again_if(again, || RemoteError::Broken {
                    failure,
                    end: end.clone(),
                })
            }
            Failure::NotPassmate => Next::GiveUp(RemoteError::NotPassmate),
            Failure::VersionUnsupported(version) => {
                Next::GiveUp(RemoteError::VersionUnsupported(version))
            }
            Failure::ClosedTooEarly => Next::GiveUp(RemoteError::TlsEnded),
            Failure::BtokenTooLong { announced, limit } => {
                Next::GiveUp(RemoteError::RemoteTooLarge { announced, limit })
            }
            Failure::Unannounceable(len) => Next::GiveUp(RemoteError::TooLarge {
                len,
                limit: u32::MAX,
                known: true,
            }),
            Failure::BannerTooLong { .. } | Failure::ZeroAccountNumber => {
                Next::GiveUp(RemoteError::Misbehaved(failure))
            }
        }
    }

    /// Nothing was asked of the server.
    pub(super) fn after_no_connection(&mut self, error: &ConnectError) -> Next {
        match error {
            // What an overloaded server does.
            ConnectError::Handshake(StreamEnd::Cut) => {
                self.broken += 1;
                again_if(self.broken < BROKEN_MAX, || {
                    RemoteError::NoConnection(error.clone())
                })
            }
            _ => Next::GiveUp(RemoteError::NoConnection(error.clone())),
        }
    }

    /// How long to wait before the next try: twice as long each time up to a bound, and never the
    /// same for two devices, so that those which collided once do not again.
    pub(super) fn pause(&self, rng: &mut dyn CryptoRng) -> Duration {
        let tries = self.unknown + self.broken + self.refused;
        let doubled = PAUSE_MIN.saturating_mul(2_u32.saturating_pow(tries.saturating_sub(1)));
        let pause = doubled.min(PAUSE_MAX);
        // From a half to three halves of it.
        pause / 2 + pause.mul_f64(f64::from(rng.next_u32()) / f64::from(u32::MAX))
    }
}

fn again_if(again: bool, error: impl FnOnce() -> RemoteError) -> Next {
    if again {
        Next::Again
    } else {
        Next::GiveUp(error())
    }
}
