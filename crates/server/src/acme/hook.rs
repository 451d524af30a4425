//! The operator's program that publishes the answer to a check in the DNS.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use tokio::process::Command;

/// How long the program may take, for one record.
const TIME_MAX: Duration = Duration::from_secs(120);

/// Why the program did not publish a record.
#[derive(Debug, thiserror::Error)]
pub(super) enum HookError {
    #[error("the DNS hook cannot be run: {0}")]
    NotRun(std::io::Error),
    #[error("the DNS hook ended with {0}")]
    Failed(std::process::ExitStatus),
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
        .kill_on_drop(true)
        .spawn()
        .map_err(HookError::NotRun)?;
    match tokio::time::timeout(TIME_MAX, child.wait()).await {
        Err(_) => Err(HookError::TookTooLong),
        Ok(Err(error)) => Err(HookError::NotRun(error)),
        Ok(Ok(status)) if status.success() => Ok(()),
        Ok(Ok(status)) => Err(HookError::Failed(status)),
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
            Err(HookError::Failed(_))
        ));
        assert!(matches!(
            set(&dir.path().join("none"), "a.example", "value").await,
            Err(HookError::NotRun(_))
        ));
    }
}
