//! What people do most: one change in a vault of 1,000 records, and a sync.

use std::process::Command;
use std::time::Duration;

use anyhow::Context;
use passmate_vault::Document;
use passmate_vault::format::container::open_container;

use super::{ACCOUNTS, CLIENTS, Plan};
use crate::lifelike::make_lifelike_vault;
use crate::load::Kind;
use crate::process::{Server, sibling};
use crate::proxy::Proxy;
use crate::report::{Figure, Goal};
use crate::vault::{Home, passphrase};

impl Plan<'_> {
    /// Figure 16.
    pub(super) fn one_change(&mut self) -> anyhow::Result<()> {
        if !self.wants(&["16"]) {
            return Ok(());
        }
        let records = if self.args.short { 100 } else { 1_000 };
        let mut wire = Figure::new(
            "16",
            "sync of 1,000 records, one of them new: bytes on the wire, both ways ÷ its JSON",
            "KiB",
            Goal::AtMost(0.6),
        );
        let mut cost = Figure::new(
            "16",
            "the same: server CPU, 64 clients with a btoken of that length ÷ bare TLS server",
            "µs",
            Goal::AtMost(1.8),
        );
        let dir = self.data_dir("one-change", 0, 0)?;
        let server = Server::passmate(&dir)?;
        let proxy = Proxy::start(server.address, Duration::ZERO)?;
        let home = Home::with(&Document::new(make_lifelike_vault(records)))?;
        home.sync_with(&server.pem, proxy.address)?;
        let len = self.stored_len(&dir)?;

        let bare_tls = Server::bare("bare-tls")?;
        let filled = self.data_dir("one-change-many", ACCOUNTS, len)?;
        let many = Server::passmate(&filled)?;
        for round in 1..=self.rounds {
            self.progress(&format!(
                "one change, a btoken of {len} bytes, round {round} of {}",
                self.rounds
            ));
            home.passmate(&["new", &format!("written/{round}")])?;
            let before = proxy.carried();
            home.passmate(&["sync"])?;
            let json = open_container(&home.vault()?, &passphrase())?.len();
            wire.add(
                (proxy.carried() - before) as f64 / 1024.0,
                json as f64 / 1024.0,
            );
            let (bare, _) = self.cost(&bare_tls, Kind::Tls, CLIENTS, 0)?;
            let (update, _) = self.cost(&many, Kind::Update, CLIENTS, len)?;
            cost.add(update, bare);
        }
        self.figures.extend([wire, cost]);
        Ok(())
    }

    /// The length of the only btoken in the store of a running server.
    fn stored_len(&self, data_dir: &std::path::Path) -> anyhow::Result<usize> {
        let output = Command::new(sibling("bench-passmate-server")?)
            .args(["account", "list", "--json", "--data-dir"])
            .arg(data_dir)
            .output()?;
        let listed: serde_json::Value = serde_json::from_slice(&output.stdout)?;
        let len = listed.get("size").and_then(serde_json::Value::as_u64);
        let len = len.context("the server has no account")?;
        anyhow::ensure!(len > 0, "the account has no btoken");
        Ok(usize::try_from(len)?)
    }
}
