//! Measures this machine with Passmate, and Passmate on this machine.
//!
//! A figure never stands alone: its baseline is taken in the same round, right before or after it,
//! and what is compared is the ratio. Attempts are interleaved, so that what else the machine does
//! falls on both.
//!
//! `bench run` does everything. The other commands are the processes that it starts: load
//! generators and the bare servers that are the baselines.
#![forbid(unsafe_code)]

mod accounts;
mod baseline;
mod chart;
mod crowd;
mod delay;
mod disk;
mod duration;
mod growth;
mod handshake;
mod instructions;
mod keep;
mod load;
mod process;
mod report;
mod run;
mod soak;
mod vault;

use std::path::PathBuf;

use clap::{Parser, Subcommand};

#[derive(Debug, Parser)]
#[command(
    name = "bench",
    about = "Measures Passmate beside its baselines, in the same run"
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Everything: a table, and JSON and plots where they are wanted
    Run(run::Args),
    /// An hour of mixed load: memory, descriptors and latency must stay flat
    Soak(soak::Args),
    /// Counts instructions of the hot paths with valgrind, which no other work on the machine can
    /// disturb
    Instructions(instructions::Args),
    /// Honest clients beside thousands of silent and slow ones
    Crowd(crowd::Args),
    /// What a backup, and a look at the whole store, cost those who sync meanwhile
    Keep(keep::Args),
    /// How large a vault becomes in ten years of one edit a day for each record
    Growth,
    #[command(hide = true)]
    Load(load::Args),
    /// Fill a data dir with accounts, to look at a server by hand
    Fill {
        data_dir: PathBuf,
        accounts: u64,
        size: usize,
    },
    #[command(hide = true)]
    BareTls,
    #[command(hide = true)]
    BareTcp,
    #[command(hide = true)]
    HotPath { name: String },
    #[command(hide = true)]
    Unlock { vault: PathBuf },
}

fn main() -> anyhow::Result<()> {
    match Cli::parse().command {
        Command::Run(args) => run::run(&args),
        Command::Soak(args) => soak::run(&args),
        Command::Instructions(args) => instructions::run(&args),
        Command::Crowd(args) => crowd::run(&args),
        Command::Keep(args) => keep::run(&args),
        Command::Growth => growth::run(),
        Command::Load(args) => load::run(&args),
        Command::Fill {
            data_dir,
            accounts,
            size,
        } => accounts::fill(&data_dir, accounts, size),
        Command::BareTls => baseline::serve_tls(),
        Command::BareTcp => baseline::serve_tcp(),
        Command::HotPath { name } => instructions::hot_path(&name),
        Command::Unlock { vault } => vault::unlock_once(&vault),
    }
}
