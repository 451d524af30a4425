//! A device with a vault of its own, which syncs with a server through `passmate-core`. Its key
//! derivation is cheap; no shipped program has such a setting.

use std::time::Duration;

use passmate_core::env::SystemEnv;
use passmate_core::net::Server as Remote;
use passmate_core::session::{Session, VaultLocation};
use passmate_core::sync::{
    Decision, Endpoint, Options, Policy, Replica as _, Report, SyncClient, SyncError, probe,
};
use passmate_vault::format::container::Params;
use passmate_vault::{Passphrase, SyncKey, Trust};
use tempfile::TempDir;

use super::Server;
use super::exchange::remote;

/// These devices have wrong clocks, and nobody to ask.
fn agreed() -> Options {
    Options {
        policy: Policy {
            decision: Decision::AgreeToAll,
            ..Policy::default()
        },
        ..Options::default()
    }
}

pub(crate) type SyncResult = Result<Report, SyncError>;

pub(crate) struct Device {
    pub(crate) session: Session,
    /// The vault's folder. It is deleted when the device is dropped.
    _home: TempDir,
}

impl Device {
    /// A device with an empty vault.
    pub(crate) fn new() -> Self {
        let home = tempfile::tempdir().unwrap();
        let place = VaultLocation::new(home.path().join("vault.pmdb"))
            .with_params(Params::new(4, 1, 1).unwrap());
        let session = Session::create(place, Passphrase::from("correct horse".to_owned())).unwrap();
        Self {
            session,
            _home: home,
        }
    }

    /// The first device of an account. It creates the account.
    pub(crate) fn first(server: &Server) -> Self {
        let mut device = Self::new();
        let mut env = SystemEnv::default();
        let probed = probe(&mut remote(server), &mut env).unwrap();
        device
            .client(&mut remote(server), &mut env)
            .create(&probed, &endpoint(server))
            .unwrap();
        device
    }

    /// Joins the account of another device.
    pub(crate) fn join(&mut self, server: &Server, key: SyncKey) -> SyncResult {
        let mut env = SystemEnv::default();
        let probed = probe(&mut remote(server), &mut env)?;
        self.client(&mut remote(server), &mut env)
            .join(&probed, &endpoint(server), key, &agreed())
    }

    fn client<'a>(&'a mut self, server: &'a mut Remote, env: &'a mut SystemEnv) -> SyncClient<'a> {
        SyncClient {
            replica: &mut self.session,
            transport: server,
            env,
        }
    }

    /// A further device of an account.
    pub(crate) fn joined(server: &Server, key: &SyncKey) -> Self {
        let mut device = Self::new();
        device.join(server, key.clone()).unwrap();
        device
    }

    pub(crate) fn key(&self) -> SyncKey {
        let account = self.session.account();
        let key = account.and_then(|account| account.key.granted());
        key.expect("the device has joined an account").clone()
    }

    pub(crate) fn sync(&mut self, server: &Server) -> SyncResult {
        self.client(&mut remote(server), &mut SystemEnv::default())
            .sync(&agreed())
    }

    /// Makes a record with one field, as `passmate set` does.
    pub(crate) fn add(&mut self, path: &str, value: &str) {
        let id = self.session.make_record_id();
        self.session.edit(|vault, now| {
            vault.create_record(id.clone(), path, now).unwrap();
            vault.set(&id, "password", value, now).unwrap();
        });
        self.session.save().unwrap();
    }

    pub(crate) fn paths(&self) -> Vec<String> {
        let view = self.session.vault().view();
        view.records()
            .iter()
            .map(|record| record.path.to_string_lossy().into_owned())
            .collect()
    }
}

fn endpoint(server: &Server) -> Endpoint {
    Endpoint {
        host: server.address().ip().to_string(),
        port: server.address().port(),
        trust: Trust::Pins {
            current: server.pin,
            next: None,
        },
    }
}

/// The longest time that one device may delay another one of the same account.
pub(crate) const TURN_MAX: Duration = Duration::from_secs(5);
