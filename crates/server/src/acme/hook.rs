//! The operator's program that publishes the answer to a check in the DNS.

use std::convert::Infallible;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::io::AsyncReadExt;
use tokio::process::{ChildStderr, Command};

use crate::text::printable;

/// How long the program may take, for one record.
const TIME_MAX: Duration = Duration::from_secs(120);
/// How long what it started may keep its standard error open after it.
const DRAIN_TIME_MAX: Duration = Duration::from_secs(1);
/// How much is kept of what it writes to standard error, in bytes: the end.
const SAID_LEN_MAX: usize = 400;

/// Why the program did not publish a record.
#[derive(Debug, thiserror::Error)]
pub(super) enum HookError {
    #[error("the DNS hook cannot be run: {0}")]
    NotRun(std::io::Error),
    #[error("the DNS hook ended with {status}{said}")]
    Failed {
        status: std::process::ExitStatus,
        /// What it wrote to standard error, after a colon.
        said: String,
    },
    #[error("the DNS hook took longer than {} s", TIME_MAX.as_secs())]
    TookTooLong,
}

/// Publishes a TXT record. The program returns when the name servers have it.
pub(super) async fn set(program: &Path, name: &str, value: &str) -> Result<(), HookError> {
    run(program, &["set", &record(name), value]).await
}

/// Removes the TXT records of these names. What fails is only logged.
pub(super) async fn clear_all(program: &Path, names: &[String]) {
    for name in names {
        if let Err(error) = run(program, &["clear", &record(name)]).await {
            tracing::warn!(%error, name, "a TXT record was not removed");
        }
    }
}

fn record(name: &str) -> String {
    format!("_acme-challenge.{name}.")
}

async fn run(program: &Path, words: &[&str]) -> Result<(), HookError> {
    let mut child = Command::new(program)
        .args(words)
        .stdin(Stdio::null())
        // Standard output may be a pipe that nobody reads.
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .process_group(0)
        .spawn()
        .map_err(HookError::NotRun)?;
    let mut group = Group::of(child.id());
    let mut said = Said::of(child.stderr.take());
    let ended = tokio::time::timeout(TIME_MAX, async {
        tokio::select! {
            ended = child.wait() => ended,
            never = said.read() => match never {},
        }
    });
    let ended = ended.await.map_err(|_| HookError::TookTooLong)?;
    group.forget();
    let status = ended.map_err(HookError::NotRun)?;
    if status.success() {
        return Ok(());
    }
    Err(HookError::Failed {
        status,
        said: said.rest().await,
    })
}

/// The program with everything that it started. Dropping it kills them.
struct Group(Option<Pid>);

impl Group {
    fn of(id: Option<u32>) -> Self {
        let id = id.and_then(|id| i32::try_from(id).ok());
        Self(id.and_then(Pid::from_raw))
    }

    /// The program has ended, so that its number may soon be that of another one.
    fn forget(&mut self) {
        self.0 = None;
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(group) = self.0 {
            let _ = kill_process_group(group, Signal::KILL);
        }
    }
}

/// Reads what the program writes to standard error, and keeps the end of it.
struct Said {
    from: Option<ChildStderr>,
    end: Vec<u8>,
}

impl Said {
    fn of(from: Option<ChildStderr>) -> Self {
        Self {
            from,
            end: Vec::new(),
        }
    }

    /// Reads until it is dropped.
    async fn read(&mut self) -> Infallible {
        self.read_to_end().await;
        std::future::pending().await
    }

    async fn read_to_end(&mut self) {
        while let Some(from) = &mut self.from {
            match from.read_buf(&mut self.end).await {
                Ok(1..) => {
                    let surplus = self.end.len().saturating_sub(SAID_LEN_MAX);
                    self.end.drain(..surplus);
                }
                Ok(0) | Err(_) => self.from = None,
            }
        }
    }

    /// What it said, after a colon.
    async fn rest(mut self) -> String {
        let _ = tokio::time::timeout(DRAIN_TIME_MAX, self.read_to_end()).await;
        let text = String::from_utf8_lossy(&self.end);
        match text.trim() {
            "" => String::new(),
            text => format!(": {}", printable(text)),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[tokio::test]
    async fn the_hook_gets_the_record_and_its_failure_is_seen() {
        let dir = tempfile::tempdir().unwrap();
        let (program, said) = (dir.path().join("hook"), dir.path().join("said"));
        let script = format!(
            "#!/bin/sh\necho \"$@\" >> {}\n[ \"$1\" = set ]\n",
            said.display()
        );
        fs::write(&program, script).unwrap();
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
        set(&program, "a.example", "value").await.unwrap();
        clear_all(&program, &["a.example".to_owned()]).await;
        assert_eq!(
            fs::read_to_string(&said).unwrap(),
            "set _acme-challenge.a.example. value\nclear _acme-challenge.a.example.\n"
        );
        assert!(matches!(
            run(&program, &["clear"]).await,
            Err(HookError::Failed { .. })
        ));
        assert!(matches!(
            set(&dir.path().join("none"), "a.example", "value").await,
            Err(HookError::NotRun(_))
        ));
    }

    /// A program in a folder of its own.
    fn program(script: &str) -> (tempfile::TempDir, std::path::PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let program = dir.path().join("hook");
        fs::write(&program, format!("#!/bin/sh\n{script}\n")).unwrap();
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
        (dir, program)
    }

    #[tokio::test]
    async fn the_end_of_what_a_failing_hook_says_is_kept() {
        let noise = "head -c 1000000 /dev/zero | tr '\\0' x >&2";
        let (_dir, program) = program(&format!("{noise}; printf '\\033[31mno key\\n' >&2; exit 3"));
        let said = run(&program, &["set"]).await.unwrap_err().to_string();
        assert!(said.contains("exit status: 3: xxx"), "{said}");
        assert!(said.ends_with(r"x\u{1b}[31mno key"), "{said}");
        assert!(said.len() < 2 * SAID_LEN_MAX, "{}", said.len());
    }

    #[tokio::test]
    async fn a_hook_that_is_given_up_ends_with_what_it_started() {
        let (dir, program) = program("(sleep 600; :) & echo $! > \"$2\"; wait");
        let note = dir.path().join("started");
        let words = ["set", note.to_str().unwrap()];
        let started = async {
            loop {
                match fs::read_to_string(&note) {
                    Ok(text) if text.ends_with('\n') => break text.trim().to_owned(),
                    _ => tokio::task::yield_now().await,
                }
            }
        };
        let started = tokio::select! {
            _ = run(&program, &words) => panic!("it waits"),
            started = started => started,
        };
        let status = Path::new("/proc").join(started).join("stat");
        let is_over = || match fs::read_to_string(&status) {
            Ok(stat) => stat.contains(") Z "),
            Err(_) => true,
        };
        while !is_over() {
            tokio::task::yield_now().await;
        }
    }
}
