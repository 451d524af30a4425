//! Measures Passmate in comparison with baselines.
//!
//! Each figure is a ratio: its baseline is measured in the same round, right before or after it.
//! Rounds are interleaved, so that other work on the machine affects both.
//!
//! `bench run` measures everything. The hidden commands are the processes that it starts: load
//! generators, and the bare servers that are the baselines.
#![forbid(unsafe_code)]

mod accounts;
mod attack;
mod baseline;
mod chart;
mod crowd;
mod daily;
mod delay;
mod disk;
mod duration;
mod first_build;
mod growth;
mod handshake;
mod instructions;
mod keep;
mod lifelike;
mod load;
mod peers;
mod process;
mod prompt;
mod proxy;
mod report;
mod run;
mod soak;
mod vault;
mod versions;

use std::path::PathBuf;

use clap::{Parser, Subcommand};

#[derive(Debug, Parser)]
#[command(
    name = "bench",
    about = "Measure Passmate and its baselines in the same run"
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Measure all figures and print a table; optionally write JSON and plots
    Run(run::Args),
    /// Run mixed load for a long time and watch memory, descriptors and latency
    Soak(soak::Args),
    /// Count the instructions of the hot paths with valgrind; other work on the machine does not
    /// affect the counts
    Instructions(instructions::Args),
    /// Measure updating clients beside thousands of silent and slow ones
    Crowd(crowd::Args),
    /// Attack a server in several ways, and measure what that costs it and its honest clients
    Attack(attack::Args),
    /// Measure how much `backup` and `verify` slow down clients that update meanwhile
    Keep(keep::Args),
    /// Measure how large a vault becomes in ten years if each record is edited once a day
    Growth,
    /// Measure servers of several versions beside each other, and draw them in one plot
    Versions(versions::Args),
    /// Measure how long a newcomer waits for the first build; takes minutes, and both processors
    FirstBuild(first_build::Args),
    #[command(hide = true)]
    Load(load::Args),
    /// Fill a data dir with accounts, for experiments with a server
    Fill {
        /// Data dir of a server that is not running
        data_dir: PathBuf,
        /// Number of accounts
        accounts: u64,
        /// Length of each btoken, in bytes
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
        Command::Attack(args) => attack::run(&args),
        Command::Keep(args) => keep::run(&args),
        Command::Growth => growth::run(),
        Command::Versions(args) => versions::run(&args),
        Command::FirstBuild(args) => first_build::run(&args),
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
