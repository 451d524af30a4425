use passmate_agent::client::Agent;
use passmate_agent::place::AgentPlace;
use passmate_core::answer::Reply;
use passmate_core::api::{Standing, VaultApi};
use passmate_core::clock::system_clock;
use passmate_core::doctor::Checkup;
use passmate_core::escape::escape;
use passmate_core::problem::{Problem, ProblemKind};
use passmate_core::session::VaultLocation;
use serde_json::json;

use crate::app::App;
use crate::config::Global;
use crate::output::{NAME, NOTICE, Output};
use crate::prompt::PassphraseSource;
use crate::report::plain;

/// Look for what may harm the vault or keep it from syncing, and say how to mend it
///
/// Looks at the vault's file, its rights, its disk and its copies, at the settings, the agent, the
/// clock, and at what this device remembers of its syncs. Needs no network and changes nothing. Where
/// the settings are at fault, that is a finding, and the vault is not looked at. Ends with exit code
/// 31 if anything should be changed.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {}

pub(crate) fn run(app: &App, global: &Global, _: &Args) -> Result<(), Problem> {
    let mut checkup = Checkup::default();
    checkup.look_at_vault(&app.location);
    checkup.look_at_settings(&global.settings_file()?);
    if let PassphraseSource::File(file) = &app.ask.passphrase {
        checkup.look_at_file(file, "passphrase file");
    }
    look_at_agent(Some(&app.location), &mut checkup);
    let now = system_clock();
    if !app.location.exists() {
        checkup.look_at_clock(now, None);
    } else {
        match app.open() {
            Ok(mut vault) => {
                let standing = plain(standing(&mut *vault))?;
                checkup.look_at_standing(standing.as_ref(), now);
                if standing.is_none() {
                    checkup.look_at_clock(now, None);
                }
            }
            Err(problem) if problem.kind == ProblemKind::Locked => {
                checkup.fact("sync", "not looked at, because the vault is locked");
                checkup.look_at_clock(now, None);
            }
            Err(problem) if problem.kind == ProblemKind::WrongPassphrase => return Err(problem),
            // Nothing else is said of a vault that is damaged, and it may be said already.
            Err(problem) => {
                if !checkup
                    .findings
                    .iter()
                    .any(|found| found.message == problem.message)
                {
                    checkup.problem(problem);
                }
                checkup.look_at_clock(now, None);
            }
        }
    }
    checkup.look_at_originals(&app.originals());
    show(&app.out, &checkup)
}

/// What can be looked at although the settings or the environment are at fault: nothing says then
/// which vault is meant.
pub(crate) fn run_without_settings(
    out: &Output,
    global: &Global,
    problem: Problem,
) -> Result<(), Problem> {
    let mut checkup = Checkup::default();
    checkup.fact("vault", "not looked at, because the settings are at fault");
    match global.settings_file() {
        Ok(file) => checkup.look_at_settings(&file),
        Err(_) => checkup.fact("settings", "no folder for them is known"),
    }
    checkup.problem(problem);
    look_at_agent(None, &mut checkup);
    checkup.look_at_clock(system_clock(), None);
    show(out, &checkup)
}

/// How the vault stands; `None` if it syncs with nothing.
fn standing(vault: &mut dyn VaultApi) -> Reply<Option<Standing>> {
    let ties = vault.ties()?;
    match ties.server.is_some() || ties.folder.is_some() {
        true => vault.standing().map(Some),
        false => Ok(None),
    }
}

fn look_at_agent(vault: Option<&VaultLocation>, checkup: &mut Checkup) {
    let Some(place) = AgentPlace::of_user() else {
        checkup.fact("agent", "none: neither XDG_RUNTIME_DIR nor HOME is set");
        return;
    };
    match Agent::connect(&place).and_then(|agent| agent.map(|mut agent| agent.status()).transpose())
    {
        Ok(None) => checkup.fact("agent", "none runs; `passmate unlock` starts one"),
        Ok(Some(status)) => {
            let path = vault.map(|vault| std::path::absolute(vault.resolved().path()).ok());
            let what = match path {
                Some(Some(path)) if status.holds(&path) => "holds this vault".to_owned(),
                Some(_) => "does not hold this vault".to_owned(),
                None => format!("holds unlocked vaults: {}", status.vaults.len()),
            };
            checkup.fact("agent", format!("process {} {what}", status.pid));
            for fault in status
                .vaults
                .iter()
                .filter_map(|vault| vault.log_fault.as_ref())
            {
                checkup.finding(
                    format!("the agent cannot log what it hands out: {fault}"),
                    "make room on the disk, or mend the rights of the file and its folder",
                );
            }
        }
        Err(problem) => checkup.problem(problem),
    }
}

fn show(out: &Output, checkup: &Checkup) -> Result<(), Problem> {
    if out.json {
        let facts = checkup.facts.iter();
        let facts: Vec<_> = facts
            .map(|fact| json!({ "name": fact.name, "text": fact.text }))
            .collect();
        let findings = checkup.findings.iter();
        let findings: Vec<_> = findings
            .map(|found| json!({ "finding": found.message, "remedy": found.remedy }))
            .collect();
        out.object(json!({ "facts": facts, "findings": findings }))?;
    } else {
        for fact in &checkup.facts {
            let name = out.styled(NAME, fact.name);
            out.styled_sentence(&format!("{name}: {}", escape(&out.with_vault(&fact.text))))?;
        }
        for found in &checkup.findings {
            let word = out.styled(NOTICE, "finding");
            out.styled_sentence(&format!("{word}: {}", escape(&found.message)))?;
            out.styled_sentence(&format!(
                "  remedy: {}",
                escape(&out.with_vault(&found.remedy))
            ))?;
        }
    }
    let count = match checkup.findings.len() {
        0 => {
            out.note("nothing needs to be changed");
            return Ok(());
        }
        1 => "1 finding".to_owned(),
        count => format!("{count} findings"),
    };
    Err(Problem::new(
        ProblemKind::DoctorFindings,
        count,
        "each finding has its remedy; run `passmate doctor` again afterwards",
    ))
}
