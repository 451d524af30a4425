//! What exchanges cost the server, beside bare servers.

use super::{ACCOUNTS, CLIENTS, LARGE_ACCOUNTS, Plan};
use crate::load::Kind;
use crate::process::{Server, flushes};
use crate::report::{Figure, Goal};
use crate::{baseline, handshake};

impl Plan<'_> {
    /// Figure 23.
    pub(super) fn resumption(&mut self) -> anyhow::Result<()> {
        if !self.wants(&["23"]) {
            return Ok(());
        }
        let mut resumed = Figure::new(
            "23",
            "TLS handshake that resumes a session ÷ a full one, server CPU, in memory",
            "µs",
            Goal::Report,
        );
        let (tls, pem) = baseline::make_tls()?;
        let times = if self.args.short { 50 } else { 500 };
        for round in 1..=self.rounds {
            self.progress(&format!("tickets, round {round} of {}", self.rounds));
            let full = handshake::in_memory(&tls, &pem, times)?;
            let ours = handshake::resumed(&tls, &pem, times)?;
            resumed.add(ours.as_secs_f64() * 1e6, full.as_secs_f64() * 1e6);
        }
        self.figures.push(resumed);
        Ok(())
    }

    /// Figures 1 to 4, 6 and 15.
    pub(super) fn server_cost(&mut self) -> anyhow::Result<()> {
        if !self.wants(&["1", "2", "3", "4", "6", "15"]) {
            return Ok(());
        }
        let bare_tls = Server::bare("bare-tls")?;
        let bare_tcp = Server::bare("bare-tcp")?;
        let small = Server::passmate(&self.data_dir("small", ACCOUNTS, 4 << 10)?)?;
        let middle = Server::passmate(&self.data_dir("middle", ACCOUNTS, 64 << 10)?)?;
        let big = Server::passmate(&self.data_dir("big", ACCOUNTS, 256 << 10)?)?;
        let large = Server::passmate(&self.data_dir("large", LARGE_ACCOUNTS, 1 << 20)?)?;
        let (tls, pem) = baseline::make_tls()?;

        let mut listener = Figure::new(
            "1",
            "bare handshake of our listener ÷ (in-memory handshake + bare TCP), server CPU",
            "µs",
            Goal::AtMost(1.25),
        );
        let mut update_4k = Figure::new(
            "2",
            "durable update of 4 KiB ÷ bare TLS server, server CPU, 64 clients",
            "µs",
            Goal::AtMost(1.25),
        );
        let mut update_64k = Figure::new("3", "the same with 64 KiB", "µs", Goal::AtMost(1.7));
        let mut update_256k = Figure::new("3", "the same with 256 KiB", "µs", Goal::AtMost(4.0));
        let mut update_1m = Figure::new(
            "3",
            "the same with 1 MiB (16 clients)",
            "µs",
            Goal::AtMost(10.0),
        );
        let mut fetch_64k = Figure::new(
            "15",
            "fetch of 64 KiB that finds nothing new ÷ bare TLS server, server CPU, 64 clients",
            "µs",
            Goal::AtMost(1.35),
        );
        let mut fetch_256k = Figure::new("15", "the same with 256 KiB", "µs", Goal::AtMost(2.2));
        let mut rate = Figure::new(
            "4",
            "durable updates/s ÷ bare TLS connections/s, 64 clients",
            "/s",
            Goal::AtLeast(0.85),
        );
        let mut flushed = Figure::new(
            "6",
            "flushes per durable update, 64 clients",
            "",
            Goal::AtMost(0.15),
        );
        let mut flushed_one = Figure::new(
            "6",
            "flushes per durable update, 1 client",
            "",
            Goal::AtMost(1.05),
        );
        for round in 1..=self.rounds {
            self.progress(&format!("server CPU, round {round} of {}", self.rounds));
            let in_memory =
                handshake::in_memory(&tls, &pem, if self.args.short { 50 } else { 500 })?;
            let (tcp, _) = self.cost(&bare_tcp, Kind::Tcp, CLIENTS, 0)?;
            let (ours, _) = self.cost(&small, Kind::Handshake, CLIENTS, 0)?;
            listener.add(ours, in_memory.as_secs_f64() * 1e6 + tcp);

            let (bare, bare_done) = self.cost(&bare_tls, Kind::Tls, CLIENTS, 0)?;
            let before = flushes(&self.dir);
            let (cost, done) = self.cost(&small, Kind::Update, CLIENTS, 4 << 10)?;
            let after = flushes(&self.dir);
            update_4k.add(cost, bare);
            rate.add(done.per_second(), bare_done.per_second());
            if let (Some(before), Some(after)) = (before, after) {
                flushed.add((after - before) as f64 / done.count as f64, 1.0);
            }
            let (cost, _) = self.cost(&middle, Kind::Update, CLIENTS, 64 << 10)?;
            update_64k.add(cost, bare);
            let (cost, _) = self.cost(&middle, Kind::Fetch, CLIENTS, 64 << 10)?;
            fetch_64k.add(cost, bare);
            let (cost, _) = self.cost(&big, Kind::Update, CLIENTS, 256 << 10)?;
            update_256k.add(cost, bare);
            let (cost, _) = self.cost(&big, Kind::Fetch, CLIENTS, 256 << 10)?;
            fetch_256k.add(cost, bare);
            let (cost, _) = self.cost(&large, Kind::Update, 16, 1 << 20)?;
            update_1m.add(cost, bare);

            let before = flushes(&self.dir);
            let done = self.load(&small, Kind::Update, 1, 4 << 10, ACCOUNTS)?;
            if let (Some(before), Some(after)) = (before, flushes(&self.dir)) {
                flushed_one.add((after - before) as f64 / done.count as f64, 1.0);
            }
        }
        self.figures.extend([
            listener,
            update_4k,
            update_64k,
            update_256k,
            update_1m,
            rate,
            flushed,
            flushed_one,
            fetch_64k,
            fetch_256k,
        ]);
        Ok(())
    }
}
