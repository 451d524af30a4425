use passmate_agent::client::Agent;
use passmate_agent::place::AgentPlace;
use passmate_core::answer::Reply;
use passmate_core::api::{Standing, VaultApi};
use passmate_core::clock::system_clock;
use passmate_core::doctor::Checkup;
use passmate_core::escape::escape;
use passmate_core::problem::{Problem, ProblemKind};
use serde_json::json;

use crate::app::App;
use crate::config::Global;
use crate::output::{NAME, NOTICE};
use crate::prompt::PassphraseSource;
use crate::report::plain;

/// Look for what may harm the vault or keep it from syncing, and say how to mend it
///
/// Looks at the vault's file, its rights, its disk and its copies, at the settings, the agent, the
/// clock, and at what this device remembers of its syncs. Needs no network and changes nothing. Ends
/// with exit code 31 if anything should be changed.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {}

pub(crate) fn run(app: &App, global: &Global, _: &Args) -> Result<(), Problem> {
    let mut checkup = Checkup::default();
    checkup.look_at_vault(&app.location);
    checkup.look_at_settings(&global.settings_file()?);
    if let PassphraseSource::File(file) = &app.ask.passphrase {
        checkup.look_at_file(file, "passphrase file");
    }
    look_at_agent(app, &mut checkup);
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
    show(app, &checkup)
}

/// How the vault stands; `None` if it syncs with nothing.
fn standing(vault: &mut dyn VaultApi) -> Reply<Option<Standing>> {
    let ties = vault.ties()?;
    match ties.server.is_some() || ties.folder.is_some() {
        true => vault.standing().map(Some),
        false => Ok(None),
    }
}

fn look_at_agent(app: &App, checkup: &mut Checkup) {
    let Some(place) = AgentPlace::of_user() else {
        checkup.fact("agent", "none: neither XDG_RUNTIME_DIR nor HOME is set");
        return;
    };
    match Agent::connect(&place).and_then(|agent| agent.map(|mut agent| agent.status()).transpose())
    {
        Ok(None) => checkup.fact("agent", "none runs; `passmate unlock` starts one"),
        Ok(Some(status)) => {
            let path = std::path::absolute(app.location.resolved().path()).ok();
            let holds = match path.is_some_and(|path| status.holds(&path)) {
                true => "holds this vault",
                false => "does not hold this vault",
            };
            checkup.fact("agent", format!("process {} {holds}", status.pid));
        }
        Err(problem) => checkup.problem(problem),
    }
}

fn show(app: &App, checkup: &Checkup) -> Result<(), Problem> {
    if app.out.json {
        let facts = checkup.facts.iter();
        let facts: Vec<_> = facts
            .map(|fact| json!({ "name": fact.name, "text": fact.text }))
            .collect();
        let findings = checkup.findings.iter();
        let findings: Vec<_> = findings
            .map(|found| json!({ "finding": found.message, "remedy": found.remedy }))
            .collect();
        app.out
            .object(json!({ "facts": facts, "findings": findings }))?;
    } else {
        for fact in &checkup.facts {
            let name = app.out.styled(NAME, fact.name);
            app.out.styled_line(&format!(
                "{name}: {}",
                escape(&app.out.with_vault(&fact.text))
            ))?;
        }
        for found in &checkup.findings {
            let word = app.out.styled(NOTICE, "finding");
            app.out
                .styled_line(&format!("{word}: {}", escape(&found.message)))?;
            app.out.styled_line(&format!(
                "  remedy: {}",
                escape(&app.out.with_vault(&found.remedy))
            ))?;
        }
    }
    let count = match checkup.findings.len() {
        0 => {
            app.out.note("nothing needs to be changed");
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
