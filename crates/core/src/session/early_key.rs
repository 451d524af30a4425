//! A key for the next save that is derived while the vault is opened: both derivations take most of
//! half a second, and do not depend on each other.

use std::thread::{self, JoinHandle};

use getrandom::SysRng;
use passmate_vault::Passphrase;
use passmate_vault::format::container::{ContainerError, ContainerKey, Params};
use rand_core::UnwrapErr;

use crate::memory::memory_available;

/// Memory that stays free for others, in bytes.
const MEMORY_LEFT_MIN: u64 = 256 << 20;

/// A derivation that a thread does.
#[derive(Debug)]
pub(super) struct EarlyKey {
    passphrase: Passphrase,
    params: Params,
    derivation: JoinHandle<Result<ContainerKey, ContainerError>>,
}

impl EarlyKey {
    /// Begins a derivation, if the machine has a processor and the memory for it beside the one that
    /// opens the vault.
    pub(super) fn begin_beside_opening(passphrase: &Passphrase, params: Params) -> Option<Self> {
        let processors = thread::available_parallelism().map_or(1, usize::from);
        if processors < 2 {
            return None;
        }
        Self::begin(2, passphrase, params)
    }

    /// Begins a derivation, if the machine has the memory for so many at once.
    pub(super) fn begin(at_once: u64, passphrase: &Passphrase, params: Params) -> Option<Self> {
        let needed = params.memory_bytes().saturating_mul(at_once);
        let is_enough =
            memory_available().is_none_or(|free| free >= needed.saturating_add(MEMORY_LEFT_MIN));
        if !is_enough {
            return None;
        }
        let own = passphrase.clone();
        let derive = move || ContainerKey::derive(&own, params, &mut UnwrapErr(SysRng));
        let derivation = thread::Builder::new().name("key".to_owned()).spawn(derive);
        Some(Self {
            passphrase: passphrase.clone(),
            params,
            derivation: derivation.ok()?,
        })
    }

    /// The key, if it was derived from this passphrase and with these parameters.
    pub(super) fn finish(self, passphrase: &Passphrase, params: Params) -> Option<ContainerKey> {
        if self.passphrase != *passphrase || self.params != params {
            return None;
        }
        self.derivation.join().ok()?.ok()
    }
}

#[cfg(test)]
mod tests {
    use passmate_vault::format::container::open_container;

    use super::*;

    #[test]
    fn an_early_key_seals_for_its_own_passphrase_only() {
        let cheap = Params::new(4, 8, 1).unwrap();
        let passphrase = |text: &str| Passphrase::from(text.to_owned());
        let begin = || EarlyKey::begin(1, &passphrase("one"), cheap);
        if begin().is_none() {
            eprintln!("not run: little memory");
            return;
        }
        let key = begin().unwrap().finish(&passphrase("one"), cheap).unwrap();
        let container = key.seal(b"plaintext");
        assert_eq!(
            open_container(&container, &passphrase("one"))
                .unwrap()
                .as_slice(),
            b"plaintext"
        );
        assert!(begin().unwrap().finish(&passphrase("two"), cheap).is_none());
        let other = Params::new(5, 8, 1).unwrap();
        assert!(begin().unwrap().finish(&passphrase("one"), other).is_none());
    }
}
