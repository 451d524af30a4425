//! What a sync needs besides a vault and a server.

use std::time::Duration;

use rand_core::CryptoRng;

/// Randomness and waiting.
pub trait Env {
    /// The source of all randomness: keys, initialisation vectors, jitter.
    fn rng(&mut self) -> &mut dyn CryptoRng;

    /// Waits before the next attempt.
    fn sleep(&mut self, time: Duration);
}
