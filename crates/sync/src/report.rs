//! What a sync did.

use std::collections::BTreeSet;

use passmate_proto::AccountNumber;
use passmate_vault::Delta;
use passmate_vault::merge::MergeSummary;
use passmate_vault::record::FieldKey;
use passmate_vault::{Anomaly, Baseline, RecordId, Vault};
use serde::{Deserialize, Serialize};

use crate::error::RemoteError;
use crate::exchange::Greeting;
use crate::held::HeldBack;
use crate::rollback::Rollback;

/// What a sync did.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// Changes that came from the server and were new here.
    pub received: usize,
    /// Changes that the server did not have and now has.
    pub sent: usize,
    /// Conflicts that the merge resolved.
    pub conflicts_resolved: usize,
    /// Records that were deleted on one side and changed later on the other: they live.
    pub revived: BTreeSet<RecordId>,
    /// Records whose path came with the sync and is wanted by another record too.
    pub clashing: BTreeSet<RecordId>,
    /// Records of which another device had purged values.
    pub purged: BTreeSet<RecordId>,
    /// The number of records of which changes were refused for good.
    pub refused: usize,
    /// Changes that vault and server had in common at the end: all of both.
    pub common: usize,
    /// What the server said of itself.
    pub greeting: Greeting,
    /// The server returned older data than this device had seen there.
    pub rollback: Option<Rollback>,
    /// Entries of the roll call that show an older or another history than this device knows.
    pub anomalies: Vec<Anomaly>,
    /// The changes that came and went.
    pub delta: Delta,
    /// Changes from the future, the latest first: this device's clock is behind, or another one was
    /// ahead.
    pub ahead: Vec<Ahead>,
    /// The history was truncated in the future, at this time in seconds since 1970, and that was
    /// ignored.
    pub ignored_cut: Option<i64>,
    /// Why the account from before a rotation could not be read; it was left unread.
    pub unread: Option<RemoteError>,
    /// Accounts from before a rotation that the server refuses: they are deleted already, or were
    /// disabled there.
    pub gone: Vec<AccountNumber>,
    /// Why the account from before a rotation is not deleted yet.
    pub unfinished: Option<RemoteError>,
    /// The length of the btoken that the server has, in bytes.
    pub btoken_len: usize,
    /// The first and last second of the server's certificate, in Unix time.
    pub valid: Option<(i64, i64)>,
}

impl Report {
    /// Adds what a merge brought.
    pub fn note(&mut self, summary: MergeSummary) {
        self.received += summary.received;
        self.conflicts_resolved += summary.conflicts_resolved;
        self.revived.extend(summary.revived);
        self.clashing.extend(summary.clashing);
    }

    /// Adds the counts of a later sync to this one's and takes everything else from the later one.
    pub fn add(&mut self, later: Self) {
        let earlier = std::mem::replace(self, later);
        self.received += earlier.received;
        self.refused += earlier.refused;
        self.sent += earlier.sent;
        self.conflicts_resolved += earlier.conflicts_resolved;
        self.revived.extend(earlier.revived);
        self.clashing.extend(earlier.clashing);
        self.purged.extend(earlier.purged);
        self.rollback = earlier.rollback.or(self.rollback);
        self.anomalies.splice(..0, earlier.anomalies);
        self.ignored_cut = earlier.ignored_cut.or(self.ignored_cut);
        self.unread = earlier.unread.or(self.unread.take());
        self.gone.splice(..0, earlier.gone);
    }
}

/// What a sync would do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Preview {
    /// The report that the sync would give.
    pub report: Report,
    /// The vault after it.
    pub vault: Vault,
    /// What the sync would hold back.
    pub held: Option<Box<HeldBack>>,
    /// From where alterations are counted after it.
    pub(crate) baseline: Option<Baseline>,
}

/// A change that is stamped more than a day after this device's present.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ahead {
    /// Its record.
    pub record: RecordId,
    /// Its field.
    pub field: FieldKey,
    /// Its time, in seconds since 1970.
    pub time: i64,
}
