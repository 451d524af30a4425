//! What is tried again, how often, and after what pause.

use std::time::Duration;

use passmate_proto::{Failure, UnknownCause};
use rand_core::CryptoRng;

use crate::env::Env;
use crate::error::RemoteError;
use crate::exchange::Ended;
use crate::transport::ConnectError;
use crate::wire::StreamEnd;

/// Uploads that were not confirmed: of many devices at once only one wins each race.
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

/// Repeats `step`, with pauses, until it returns a value or an error. `None` means: try again. The
/// step asks the [`Retries`] whether it may.
pub(crate) fn retry<T, E>(
    env: &mut dyn Env,
    mut step: impl FnMut(&mut Retries, &mut dyn Env) -> Result<Option<T>, E>,
) -> Result<T, E> {
    let mut retries = Retries::default();
    loop {
        if let Some(done) = step(&mut retries, env)? {
            return Ok(done);
        }
        let pause = retries.pause(env.rng());
        env.sleep(pause);
    }
}

/// What to do about an upload whose outcome is unknown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum AfterUnknown {
    /// Try again.
    Again,
    /// Fetch once more and send nothing: the fetch tells whether the last upload arrived.
    LastLook,
}

/// Counts what went wrong.
#[derive(Debug, Default)]
pub(crate) struct Retries {
    unknown: u32,
    strange: u32,
    broken: u32,
    refused: u32,
}

impl Retries {
    /// Uploads that were sent whole and not confirmed.
    pub(crate) const fn unknown(&self) -> u32 {
        self.unknown
    }

    /// Everything was sent and nothing confirmed it.
    pub(crate) fn after_unknown(&mut self, cause: UnknownCause, end: &StreamEnd) -> AfterUnknown {
        // The credentials were accepted a moment ago.
        self.refused = 0;
        self.unknown += 1;
        if cause != UnknownCause::Cut || *end != StreamEnd::Cut {
            self.strange += 1;
        }
        if self.unknown < UNKNOWN_MAX && self.strange < STRANGE_MAX {
            AfterUnknown::Again
        } else {
            AfterUnknown::LastLook
        }
    }

    /// The exchange ended early and had no effect.
    ///
    /// # Errors
    /// The error to give up with; otherwise it may be tried again.
    pub(crate) fn after_end(&mut self, ended: &Ended) -> Result<(), RemoteError> {
        self.after_failure(ended.failure(), &ended.stream)
    }

    /// The exchange is known to have had no effect.
    ///
    /// # Errors
    /// The error to give up with; otherwise it may be tried again.
    pub(crate) fn after_failure(
        &mut self,
        failure: Failure,
        end: &StreamEnd,
    ) -> Result<(), RemoteError> {
        match failure {
            // Only a plain cut is the server's answer; a silence tells nothing.
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
                // A server that was silent once has cost half a minute already.
                let again = *end == StreamEnd::Cut && self.broken < BROKEN_MAX;
                again_if(again, || RemoteError::Broken {
                    failure,
                    end: end.clone(),
                })
            }
            Failure::NotPassmate => Err(RemoteError::NotPassmate),
            Failure::VersionUnsupported(version) => Err(RemoteError::VersionUnsupported(version)),
            Failure::ClosedTooEarly => Err(RemoteError::TlsEnded),
            Failure::BtokenTooLong { announced, limit } => {
                Err(RemoteError::RemoteTooLarge { announced, limit })
            }
            Failure::Unannounceable(len) => Err(RemoteError::TooLarge {
                len,
                limit: u32::MAX,
                known: true,
            }),
            Failure::BannerTooLong { .. } | Failure::ZeroAccountNumber => {
                Err(RemoteError::Misbehaved(failure))
            }
        }
    }

    /// The server was asked nothing.
    ///
    /// # Errors
    /// The error to give up with; otherwise it may be tried again.
    pub(crate) fn after_no_connection(&mut self, error: ConnectError) -> Result<(), RemoteError> {
        match error {
            // As an overloaded server does.
            ConnectError::Handshake(StreamEnd::Cut) => {
                self.broken += 1;
                again_if(self.broken < BROKEN_MAX, || {
                    RemoteError::NoConnection(error)
                })
            }
            _ => Err(RemoteError::NoConnection(error)),
        }
    }

    /// The wait before the next attempt: twice as long each time up to a bound, and random, so that
    /// two devices that collided once do not collide again.
    fn pause(&self, rng: &mut dyn CryptoRng) -> Duration {
        let tries = self.unknown + self.broken + self.refused;
        let doubled = PAUSE_MIN.saturating_mul(2_u32.saturating_pow(tries.saturating_sub(1)));
        let pause = doubled.min(PAUSE_MAX);
        // From a half to three halves of it.
        pause / 2 + pause.mul_f64(f64::from(rng.next_u32()) / f64::from(u32::MAX))
    }
}

fn again_if(again: bool, error: impl FnOnce() -> RemoteError) -> Result<(), RemoteError> {
    if again { Ok(()) } else { Err(error()) }
}
