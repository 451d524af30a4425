//! Starting the agent, for commands that unlock a vault in it.

use std::io::{BufRead, BufReader, Read};
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

use passmate_agent::client::Agent;
use passmate_agent::place::AgentPlace;
use passmate_core::problem::{Problem, ProblemKind};

/// The longest line by which a new agent says that it listens, in bytes.
const READY_LEN_MAX: u64 = 8 * 1024;

/// The longest reason why it does not, in bytes.
const SAID_LEN_MAX: u64 = 64 * 1024;

/// Starts an agent that outlives this process.
pub(crate) fn start(place: &AgentPlace) -> Result<Agent, Problem> {
    let failed = |why: String| {
        Problem::new(
            ProblemKind::Other,
            format!("the agent did not start: {why}"),
            "`passmate agent run` in another terminal shows why",
        )
    };
    let program = std::env::current_exe().map_err(|error| failed(error.to_string()))?;
    let mut child = Command::new(program)
        .args(["agent", "run", "--json"])
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        // A signal of this terminal is not for the agent.
        .process_group(0)
        .spawn()
        .map_err(|error| failed(error.to_string()))?;
    let mut line = String::new();
    if let Some(output) = child.stdout.take() {
        let read = BufReader::new(output.take(READY_LEN_MAX)).read_line(&mut line);
        read.map_err(|error| failed(error.to_string()))?;
    }
    // Another command may have started one meanwhile.
    if let Some(agent) = Agent::connect(place)? {
        return Ok(agent);
    }
    // One that listened is not waited for.
    let said = child.stderr.take().filter(|_| line.is_empty());
    Err(match said.and_then(why) {
        Some(Why { error, hint }) => Problem {
            hint,
            ..failed(error)
        },
        None => failed("it ended at once".to_owned()),
    })
}

/// What an agent says that ends at once.
#[derive(serde::Deserialize)]
struct Why {
    error: String,
    hint: String,
}

fn why(said: impl Read) -> Option<Why> {
    let mut text = String::new();
    said.take(SAID_LEN_MAX).read_to_string(&mut text).ok()?;
    let mut lines = text.lines().rev();
    lines.find_map(|line| serde_json::from_str(line).ok())
}

/// The place of this user's agent.
pub(crate) fn place() -> Result<AgentPlace, Problem> {
    AgentPlace::of_user().ok_or_else(|| {
        Problem::new(
            ProblemKind::File,
            "there is no folder for the agent's socket",
            "set XDG_RUNTIME_DIR or HOME",
        )
    })
}
