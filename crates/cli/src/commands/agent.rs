//! The agent: starting it, what it holds, and ending it.

use std::io::{self, Write};
use std::panic;
use std::thread;

use clap::Subcommand;
use passmate_agent::client::Agent;
use passmate_agent::dialogs::Decision;
use passmate_agent::serve::{Server, boot_clock};
use passmate_agent::vaults::Vaults;
use passmate_agent::wire::{DesktopStatus, SyncStatus};
use passmate_core::escape::escape;
use passmate_core::harden::keep_out_of_swap;
use passmate_core::problem::{Problem, ProblemKind};
use passmate_core::recover;
use passmate_core::session::VaultLocation;
use passmate_core::sync_all::SyncOutcome;
use passmate_vault::format::container::Params;
use serde_json::json;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use crate::agent_start::{place, start};
use crate::app::App;
use crate::output::Output;
use crate::prompt::{PassphraseSource, Typing};

/// Let the agent hold the vault, so that no command asks for the passphrase
///
/// Starts the agent if none runs. It locks the vault after 15 minutes without a command, after 8
/// hours at most, and at `passmate lock`. Of a vault that is unlocked, no passphrase is asked.
#[derive(Debug, clap::Args)]
pub(crate) struct UnlockArgs {}

/// Lock all vaults that the agent holds
#[derive(Debug, clap::Args)]
pub(crate) struct LockArgs {}

/// Show what the agent holds, end it, or run it in the foreground
///
/// The agent is a process of yours that holds unlocked vaults for your other programs. Without it
/// every command asks for the passphrase.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: AgentCommand,
}

#[derive(Debug, Subcommand)]
enum AgentCommand {
    /// Show whether the agent runs, and which vaults it holds
    Status,
    /// Lock all vaults and end the agent
    Stop,
    /// Answer the questions of programs that want a record with the tag `ask`
    ///
    /// Each answer takes the master passphrase: a program that runs as you does not know it.
    Approve,
    /// Run the agent until it is stopped, for a supervisor
    Run,
}

pub(crate) fn unlock(app: &App, _: &UnlockArgs) -> Result<(), Problem> {
    recover::check(&app.location)?;
    let place = place()?;
    let agent = match Agent::connect(&place)? {
        Some(agent) => agent,
        None => start(&place)?,
    };
    let mut vault = agent.vault(app.location.path(), app.sync.clone())?;
    // A passphrase that nobody has to type costs nobody anything.
    if app.ask.passphrase == PassphraseSource::Terminal && vault.note_use()? {
        app.out
            .note("the vault is unlocked already; `passmate lock` locks it");
        return app.done();
    }
    app.with_passphrase(|passphrase| vault.unlock(passphrase, &app.holding))?;
    app.out
        .note("the vault is unlocked; `passmate lock` locks it");
    app.done()
}

pub(crate) fn lock(out: &Output) -> Result<(), Problem> {
    match Agent::connect(&place()?)? {
        Some(mut agent) => {
            agent.lock(None)?;
            out.note("all vaults are locked");
        }
        None => out.note("no agent runs, so no vault is unlocked"),
    }
    out.done()
}

impl Args {
    /// What needs neither settings nor a vault; `None` for the other commands.
    pub(crate) fn run_without_settings(&self, out: &Output) -> Option<Result<(), Problem>> {
        match self.command {
            AgentCommand::Status => Some(status(out)),
            AgentCommand::Stop => Some(stop(out)),
            AgentCommand::Approve | AgentCommand::Run => None,
        }
    }

    /// Whether this process becomes the agent.
    pub(crate) const fn serves(&self) -> bool {
        matches!(self.command, AgentCommand::Run)
    }
}

pub(crate) fn run(app: &App, args: &Args) -> Result<(), Problem> {
    match args.command {
        AgentCommand::Status => status(&app.out),
        AgentCommand::Stop => stop(&app.out),
        AgentCommand::Approve => approve(app),
        AgentCommand::Run => serve(&app.out, app.cost),
    }
}

fn stop(out: &Output) -> Result<(), Problem> {
    match Agent::connect(&place()?)? {
        Some(mut agent) => agent.end()?,
        None => out.note("no agent runs"),
    }
    out.done()
}

/// Asks a person each question that waits.
fn approve(app: &App) -> Result<(), Problem> {
    let Some(mut agent) = Agent::connect(&place()?)? else {
        app.out.note("no agent runs");
        return app.done();
    };
    let questions = agent.questions()?;
    if app.out.json {
        let questions = questions.iter().map(|question| {
            json!({
                "vault": question.vault.to_string_lossy(),
                "question": question.text,
            })
        });
        return app
            .out
            .object(json!({ "questions": questions.collect::<Vec<_>>() }));
    }
    if questions.is_empty() {
        app.out.note("no question waits");
    }
    if !questions.is_empty() && !app.ask.has_person() {
        return Err(Problem::new(
            ProblemKind::Cancelled,
            "a question waits, and there is no terminal to ask on",
            "run `passmate agent approve` on a terminal",
        ));
    }
    for question in questions {
        app.out.sentence(&escape(&question.text))?;
        let decision = loop {
            // Whoever types the passphrase here does not see it either.
            let typed = app.ask.optional(
                "Allow it once (y), for 15 minutes (m), or refuse it (n)? ",
                Typing::Hidden,
            )?;
            match typed.trim().to_lowercase().as_str() {
                "y" | "yes" => break Decision::Once,
                "m" => break Decision::ForAWhile,
                "n" | "no" => break Decision::Refused,
                _ => app
                    .out
                    .warn("type y, m or n; the passphrase comes after that"),
            }
        };
        if decision == Decision::Refused {
            agent.answer(question.number, decision, None)?;
            app.out.note("refused");
            continue;
        }
        app.with_passphrase(|passphrase| {
            agent.answer(question.number, decision, Some(passphrase))
        })?;
        app.out.note(match decision {
            Decision::ForAWhile => "allowed for 15 minutes",
            _ => "allowed once",
        });
    }
    app.done()
}

fn status(out: &Output) -> Result<(), Problem> {
    let status = match Agent::connect(&place()?)? {
        Some(mut agent) => Some(agent.status()?),
        None => None,
    };
    let vaults = status.iter().flat_map(|status| &status.vaults);
    if out.json {
        let vaults = vaults.map(|vault| {
            json!({
                "vault": vault.path.to_string_lossy(),
                "locks_in": vault.locks_in,
                "sync": sync_object(&vault.sync),
                "log_fault": vault.log_fault,
            })
        });
        return out.object(json!({
            "running": status.is_some(),
            "pid": status.as_ref().map(|status| status.pid),
            "tells_of_sleep": status.as_ref().map(|status| status.desktop.tells_of_sleep),
            "tells_of_screen_lock": status
                .as_ref()
                .map(|status| status.desktop.tells_of_screen_lock),
            "unlocked": vaults.collect::<Vec<_>>(),
        }));
    }
    let Some(status) = &status else {
        return out.line("no agent runs");
    };
    out.sentence(&format!("the agent runs as process {}", status.pid))?;
    let DesktopStatus {
        tells_of_sleep,
        tells_of_screen_lock,
    } = status.desktop;
    for (is_told, what) in [
        (tells_of_sleep, "the machine sleeps"),
        (tells_of_screen_lock, "the screen is locked"),
    ] {
        if !is_told {
            out.sentence(&format!(
                "nothing tells it that {what}: only time and `passmate lock` lock"
            ))?;
        }
    }
    if status.vaults.is_empty() {
        return out.sentence("no vault is unlocked");
    }
    for vault in vaults {
        let path = escape(&vault.path.display().to_string());
        let minutes = vault.locks_in.div_ceil(60);
        out.sentence(&format!(
            "unlocked: {path}; without a command it locks in {minutes} minutes"
        ))?;
        out.sentence(&sync_text(&vault.sync))?;
        if let Some(fault) = &vault.log_fault {
            out.sentence(&format!("uses are not logged: {}", escape(fault)))?;
        }
    }
    Ok(())
}

/// What the agent does about syncs, in one line.
pub(crate) fn sync_text(sync: &SyncStatus) -> String {
    let minutes = |seconds: u64| match seconds / 60 {
        0 => "less than a minute".to_owned(),
        1 => "1 minute".to_owned(),
        minutes => format!("{minutes} minutes"),
    };
    let next = match sync.next_in {
        _ if matches!(sync.last, Some((_, SyncOutcome::NoPlace))) => {
            return "syncs in the background: none, there is nothing to sync with".to_owned();
        }
        _ if !sync.is_on => "none, the settings want none".to_owned(),
        _ if sync.is_running => "one is under way".to_owned(),
        Some(0) | None => "the next one begins now".to_owned(),
        Some(next) => format!("the next one in {}", minutes(next)),
    };
    let last = sync.last.as_ref().map(|(ago, outcome)| {
        let how = match outcome {
            SyncOutcome::NoPlace => "there was nothing to sync with".to_owned(),
            SyncOutcome::Done { received, sent } => {
                format!("{received} received, {sent} sent")
            }
            SyncOutcome::Waits(problem) => format!("waits for you: {}", escape(&problem.message)),
            SyncOutcome::Failed(problem) => format!("failed: {}", escape(&problem.message)),
        };
        format!("; the last one {} ago: {how}", minutes(*ago))
    });
    format!(
        "syncs in the background: {next}{}",
        last.unwrap_or_default()
    )
}

/// The same for programs.
pub(crate) fn sync_object(sync: &SyncStatus) -> serde_json::Value {
    let last = sync.last.as_ref().map(|(ago, outcome)| {
        let (result, message) = match outcome {
            SyncOutcome::NoPlace => ("no place", None),
            SyncOutcome::Done { .. } => ("done", None),
            SyncOutcome::Waits(problem) => ("waits", Some(&problem.message)),
            SyncOutcome::Failed(problem) => ("failed", Some(&problem.message)),
        };
        json!({ "seconds_ago": ago, "result": result, "message": message })
    });
    json!({
        "on": sync.is_on,
        "running": sync.is_running,
        "next_in": sync.next_in,
        "last": last,
    })
}

/// Runs the agent in this process. This one has no core dumps and cannot be debugged: see
/// [`harden`](passmate_core::harden::harden).
pub(crate) fn serve(out: &Output, cost: Params) -> Result<(), Problem> {
    // What a panic says may hold a secret.
    panic::set_hook(Box::new(|panic| {
        let place = panic.location().map(ToString::to_string);
        // The program that started this one may have closed its end.
        let _ = writeln!(
            io::stderr(),
            "passmate: agent: fault at {}",
            place.unwrap_or_default()
        );
    }));
    keep_out_of_swap();
    let place = place()?;
    let vaults = Vaults::new(move |path| VaultLocation::new(path).with_params(cost));
    let server = Server::bind(&place, vaults, boot_clock)?;
    server.watch_desktop();
    let stopper = server.stopper();
    let mut signals = Signals::new([SIGHUP, SIGINT, SIGTERM]).map_err(|error| {
        Problem::new(
            ProblemKind::Other,
            format!("the agent cannot wait for signals: {error}"),
            "try again",
        )
    })?;
    thread::spawn(move || {
        if signals.forever().next().is_some() {
            stopper.stop();
        }
    });
    let socket = escape(&place.socket().display().to_string());
    // The program that started this one waits for the line.
    if out.json {
        out.object(json!({ "socket": socket }))?;
    } else {
        out.line(&format!("the agent listens on {socket}"))?;
    }
    server.run();
    Ok(())
}
