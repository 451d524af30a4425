//! The state of the sync, as far as this device knows without asking the server.

use passmate_proto::BTOKEN_LEN_MAX_DEFAULT;
pub use passmate_sync::Content;
use passmate_sync::{RemoteError, Replica, SyncError};
use passmate_vault::{Account, RollCall, Shape, Trust, Vault, format};
use serde::{Deserialize, Serialize};

use crate::state::{LastSync, LastTry, State};

/// The state of the sync with a server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// The server's host.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// How it is trusted.
    pub trust: Trust,
    /// The form of its btoken.
    pub shape: Shape,
    /// Whether the device still waits to be admitted.
    pub pending: bool,
    /// False if it is not known yet that the account is there.
    pub confirmed: bool,
    /// The last sync that came through, if this device remembers one.
    pub last_sync: Option<LastSync>,
    /// The last try, whatever became of it.
    pub last_try: Option<LastTry>,
    /// What the vault holds.
    pub content: Content,
    /// Changes that the server has not got from this device; `None` if this device does not
    /// remember.
    pub unsent: Option<usize>,
    /// Quota on the server.
    pub quota: Quota,
    /// Whether a device was lost and the next sync makes a new account.
    pub lost: bool,
    /// The number of accounts from before a rotation that are not deleted yet.
    pub retired: usize,
    /// The devices of the account as this device last saw them, the latest sync first.
    pub devices: Vec<DeviceStatus>,
}

/// A device of the account.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeviceStatus {
    /// Its name; not trusted, to be escaped before it is shown.
    pub name: String,
    /// The first 8 digits of its id, which tell two devices of one name apart.
    pub id: String,
    /// When it last stored its vault, within a day, in seconds since 1970, by its own clock.
    pub time: i64,
    /// The version of its program; not trusted.
    pub version: String,
    /// Whether it is this device.
    pub is_this: bool,
    /// Whether nothing was heard of it for [`SILENT_DAYS`].
    pub is_silent: bool,
}

/// A device that did not sync for so many days is named: it may be lost, or the server may show it
/// another history.
pub const SILENT_DAYS: i64 = 30;

/// The devices of an account, without those that a later one of their name replaced.
fn devices(account: &Account, now: i64) -> Vec<DeviceStatus> {
    let own = account.device.as_ref().map(|device| device.id);
    let named = account.devices.iter();
    let mut devices: Vec<DeviceStatus> = named
        .filter(|(_, entry)| !entry.name.as_str().is_empty())
        .map(|(id, entry)| DeviceStatus {
            name: entry.name.to_string(),
            id: id.to_string().chars().take(8).collect(),
            time: entry.time,
            version: entry.version.to_string(),
            is_this: own == Some(id),
            is_silent: now.saturating_sub(entry.time) > SILENT_DAYS * 24 * 3600,
        })
        .collect();
    devices.sort_by_key(|device| std::cmp::Reverse(device.time));
    devices
}

/// How much of the server's limit the vault needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Quota {
    /// The length of the vault as a btoken, in bytes.
    pub used: usize,
    /// The longest btoken that the server takes, in bytes.
    pub limit: u32,
    /// Whether the server stated the limit; otherwise it is assumed.
    pub stated: bool,
}

impl Quota {
    /// Quota for a btoken of so many bytes, with the limit that the server stated, if it did.
    #[must_use]
    pub fn new(used: usize, stated: Option<u32>) -> Self {
        Self {
            used,
            limit: stated.unwrap_or(BTOKEN_LEN_MAX_DEFAULT),
            stated: stated.is_some(),
        }
    }

    /// How much is used, in parts of a hundred.
    #[must_use]
    pub fn percent(&self) -> usize {
        let limit = usize::try_from(self.limit).unwrap_or(usize::MAX).max(1);
        self.used.saturating_mul(100) / limit
    }

    /// Whether the vault is larger than what the server takes.
    #[must_use]
    pub fn is_exceeded(&self) -> bool {
        u32::try_from(self.used).map_or(true, |used| used > self.limit)
    }

    /// Bytes left; 0 if the vault is too large already.
    #[must_use]
    pub fn left(&self) -> usize {
        usize::try_from(self.limit)
            .unwrap_or(usize::MAX)
            .saturating_sub(self.used)
    }
}

/// How the vault and its server stand, without network; `state` is what this device remembers of
/// them.
///
/// # Errors
/// The vault is not set up to sync, or is larger than what can be sealed.
pub fn status(replica: &dyn Replica, state: &State) -> Result<Status, SyncError> {
    let account = replica.account().ok_or(SyncError::NotSetUp)?;
    let vault = replica.vault();
    let shape = account.shape;
    let len = btoken_len(vault, account, &account.devices)?;
    let stated = state.last_sync.and_then(|last| last.btoken_len_max);
    Ok(Status {
        host: account.host.clone(),
        port: account.port,
        trust: account.trust.clone(),
        shape,
        pending: account.is_pending(),
        confirmed: account.confirmed,
        last_sync: state.last_sync,
        last_try: state.last_try,
        content: Content::of(vault, shape)?,
        // A vault only grows: what it has more than after the last sync was not sent. One that has
        // less is another one, from a backup say.
        unsent: state
            .last_sync
            .and_then(|last| vault.change_count().checked_sub(last.common)),
        lost: account.is_lost,
        retired: account.retired.len(),
        devices: devices(account, replica.now()),
        quota: Quota::new(len, stated),
    })
}

/// The length of a vault as the btoken of an account.
pub(crate) fn btoken_len(
    vault: &Vault,
    account: &Account,
    devices: &RollCall,
) -> Result<usize, SyncError> {
    let plaintext = format::encode_btoken_as(account.shape, vault, devices);
    let plaintext = plaintext.map_err(RemoteError::Unsealable)?;
    Ok(plaintext.len() + format::btoken::BTOKEN_OVERHEAD)
}

/// How a server is trusted, in words.
#[must_use]
pub fn trust_text(trust: &Trust) -> String {
    match trust {
        Trust::System => "the authorities that this system trusts".to_owned(),
        Trust::Ca(_) => "an authority of its own (--ca-file)".to_owned(),
        Trust::Pins {
            current,
            next: None,
        } => format!("pin {current}"),
        Trust::Pins {
            current,
            next: Some(next),
        } => format!("pin {current}, next {next}"),
    }
}

#[cfg(test)]
mod tests {
    use passmate_sync::{Greeting, Report};
    use passmate_vault::format::container::Params;
    use passmate_vault::{Account, AccountKey, Passphrase, RollCall, Secret, SeenChanges, SyncKey};

    use super::*;
    use crate::session::{Session, VaultLocation};

    fn device(dir: &tempfile::TempDir, name: &str) -> Session {
        let location =
            VaultLocation::new(dir.path().join(name)).with_params(Params::new(4, 1, 1).unwrap());
        let mut session = Session::create(location, Passphrase::from("a".to_owned())).unwrap();
        let key = SyncKey::from_parts([1; 8], Secret::from_bytes([1; 32]));
        session.set_account(Some(Account {
            host: "cloud.example".to_owned(),
            port: 1,
            key: AccountKey::Granted(key),
            trust: Trust::System,
            confirmed: true,
            seen: SeenChanges::new(),
            last: None,
            retired: Vec::new(),
            is_lost: false,
            shape: Shape::Modern,
            device: None,
            devices: RollCall::new(),
        }));
        session
    }

    fn set(session: &mut Session, field: &str, value: &str) {
        session.edit(|vault, _| {
            if vault.record(&"A".into()).is_none() {
                vault.create_record("A".into(), "mail", 100).unwrap();
            }
            vault.set(&"A".into(), field, value, 200).unwrap();
        });
    }

    fn synced(session: &Session) -> Report {
        Report {
            common: session.vault().change_count(),
            greeting: Greeting {
                layout: None,
                banner: b"x\nbtoken-max 10000\n".to_vec(),
            },
            ..Report::default()
        }
    }

    #[test]
    fn the_status_tells_unsent_changes_and_the_quota() {
        let dir = tempfile::tempdir().unwrap();
        let mut session = device(&dir, "one");
        let mut state = State::default();
        let before = status(&session, &state).unwrap();
        assert_eq!((before.unsent, before.quota.stated), (None, false));
        state.note_synced(5, &synced(&session));
        set(&mut session, "user", "me");
        let after = status(&session, &state).unwrap();
        let quota = Quota {
            used: 4096 + 48,
            limit: 10_000,
            stated: true,
        };
        assert_eq!((after.unsent, after.quota), (Some(2), quota));
        assert_eq!((quota.left(), quota.percent()), (10_000 - 4096 - 48, 41));
        state.note_synced(6, &synced(&session));
        assert_eq!(status(&session, &state).unwrap().unsent, Some(0));
    }

    #[test]
    fn equal_vaults_have_one_fingerprint_and_others_another() {
        let dir = tempfile::tempdir().unwrap();
        let [mut one, mut two] = ["one", "two"].map(|name| device(&dir, name));
        let fingerprint = |session: &Session| {
            let status = status(session, &State::default()).unwrap();
            status.content.fingerprint
        };
        set(&mut one, "user", "me");
        assert_eq!(fingerprint(&one).len(), 32);
        assert_ne!(fingerprint(&one), fingerprint(&two));
        set(&mut two, "user", "me");
        assert_eq!(fingerprint(&one), fingerprint(&two));
    }
}
