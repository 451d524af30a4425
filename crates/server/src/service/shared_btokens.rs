//! Btokens in memory: one copy for all devices that fetch the same account at the same time.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Weak};

use parking_lot::Mutex;
use passmate_proto::AccountNumber;

use crate::limits::memory::Lease;
use crate::store::{Head, Revision, Stored};

/// The map is swept when it has twice as many entries as are in use, but not below this number.
const SWEEP_LEN_MIN: usize = 64;

/// A btoken in memory, with the lease for it.
pub(super) struct SharedBtoken {
    stored: Stored,
    lease: Lease,
}

impl SharedBtoken {
    pub(super) fn bytes(&self) -> Arc<[u8]> {
        Arc::clone(&self.stored.btoken)
    }

    pub(super) fn revision(&self) -> Revision {
        self.stored.revision
    }

    pub(super) fn len(&self) -> usize {
        self.stored.btoken.len()
    }

    pub(super) fn lease(&self) -> &Lease {
        &self.lease
    }
}

impl fmt::Debug for SharedBtoken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SharedBtoken")
    }
}

/// The btokens that are in memory now.
#[derive(Debug, Default)]
pub(super) struct SharedBtokens(Mutex<HashMap<AccountNumber, Weak<SharedBtoken>>>);

impl SharedBtokens {
    /// The copy in memory, if it is still the stored btoken.
    pub(super) fn find(&self, account: AccountNumber, head: &Head) -> Option<Arc<SharedBtoken>> {
        let shared = self.0.lock().get(&account)?.upgrade()?;
        let is_usable =
            shared.stored.revision == head.revision && !shared.lease.revoked().is_cancelled();
        is_usable.then_some(shared)
    }

    pub(super) fn insert(
        &self,
        account: AccountNumber,
        stored: Stored,
        lease: Lease,
    ) -> Arc<SharedBtoken> {
        let shared = Arc::new(SharedBtoken { stored, lease });
        let mut map = self.0.lock();
        if map.len() >= 2 * SWEEP_LEN_MIN {
            let in_use = map.values().filter(|one| one.strong_count() > 0).count();
            if map.len() >= 2 * in_use.max(SWEEP_LEN_MIN) {
                map.retain(|_, one| one.strong_count() > 0);
            }
        }
        map.insert(account, Arc::downgrade(&shared));
        shared
    }
}
