//! The system's randomness, and waiting.

use std::thread;
use std::time::Duration;

use getrandom::SysRng;
use passmate_sync::Env;
use rand_core::{CryptoRng, UnwrapErr};

/// The system's source of randomness and the system's timer.
#[derive(Debug, Default)]
pub struct SystemEnv {
    rng: UnwrapErr<SysRng>,
}

impl Env for SystemEnv {
    fn rng(&mut self) -> &mut dyn CryptoRng {
        &mut self.rng
    }

    fn sleep(&mut self, time: Duration) {
        thread::sleep(time);
    }
}
