//! Runs `passmate` as people do, in a home directory of its own.

use std::fs::Permissions;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use tempfile::TempDir;

/// The output of a command.
#[derive(Debug)]
pub(crate) struct Said {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Said {
    /// Its standard output. Panics unless the command succeeded.
    #[track_caller]
    pub(crate) fn ok(self) -> String {
        assert_eq!(self.code, 0, "{self:?}");
        self.out
    }

    /// Its error. Panics unless the command ended with this code, an error and a hint.
    #[track_caller]
    pub(crate) fn failed(self, code: i32) -> String {
        self.failed_by("passmate", code)
    }

    /// The same for another program.
    #[track_caller]
    pub(crate) fn failed_by(self, program: &str, code: i32) -> String {
        assert_eq!(self.code, code, "{self:?}");
        assert_eq!(
            self.out, "",
            "an error comes without standard output: {self:?}"
        );
        // Commands of an operator name their store first.
        let place = format!("{program}: store ");
        let lines = self.err.lines().filter(|line| !line.starts_with(&place));
        let lines: Vec<&str> = lines.collect();
        let [error, hint] = lines.as_slice() else {
            panic!("not two lines: {self:?}")
        };
        let error = error
            .strip_prefix(&format!("{program}: error: "))
            .unwrap_or_else(|| panic!("{self:?}"));
        assert!(
            hint.strip_prefix(&format!("{program}: hint: "))
                .is_some_and(|hint| hint.len() > 10),
            "{self:?}"
        );
        error.to_owned()
    }
}

/// A folder that nobody else can look into, so that no file in it is open to others.
pub(crate) fn private_folder() -> TempDir {
    let permissions = Permissions::from_mode(0o700);
    let mut builder = tempfile::Builder::new();
    builder.permissions(permissions).tempdir().unwrap()
}

/// The home directory of one person, with a passphrase file.
pub(crate) struct Home {
    dir: TempDir,
}

impl Home {
    /// Where a typed passphrase starts no agent: each command asks for it.
    pub(crate) fn new() -> Self {
        let home = Self {
            dir: private_folder(),
        };
        home.write("passphrase", "correct horse battery staple\n");
        home.set("");
        home
    }

    /// Writes these settings, beside the one of [`new`](Self::new).
    pub(crate) fn set(&self, settings: &str) {
        let folder = self.path().join(".config/passmate");
        std::fs::create_dir_all(folder).unwrap();
        let settings = format!("{settings}agent.start = false\n");
        self.write(".config/passmate/config.toml", settings);
    }

    pub(crate) fn path(&self) -> &Path {
        self.dir.path()
    }

    /// Writes a file in the home directory.
    pub(crate) fn write(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.dir.path().join(name);
        std::fs::write(&path, content).unwrap();
        path
    }

    /// `passmate` with an environment that has only a home directory, a path and a passphrase file.
    pub(crate) fn command(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_e2e-passmate"));
        command
            .env_clear()
            .env("HOME", self.path())
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("PASSMATE_PASSPHRASE_FILE", self.path().join("passphrase"));
        command
    }

    /// Runs `passmate` with arguments and standard input.
    pub(crate) fn run_with(&self, words: &[&str], input: &str) -> Said {
        finish(self.command().args(words), input)
    }

    pub(crate) fn run(&self, words: &[&str]) -> Said {
        self.run_with(words, "")
    }
}

/// Runs a command to its end.
pub(crate) fn finish(command: &mut Command, input: &str) -> Said {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // A command that fails early does not read its input.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    let output = child.wait_with_output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Said {
        code: output.status.code().unwrap_or(-1),
        out: text(&output.stdout),
        err: text(&output.stderr),
    }
}
