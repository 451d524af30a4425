//! A person with a vault that opens quickly.

use std::fs::{self, Permissions};
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use passmate_core::answer::Consent;
use passmate_core::api::VaultApi;
use passmate_core::edit::Edit;
use passmate_core::session::{Session, VaultLocation};
use passmate_vault::Passphrase;
use passmate_vault::format::container::Params;
use tempfile::TempDir;

const PASSPHRASE: &str = "correct horse battery";

/// The program. The one that the feature `cheap-keys` makes writes vaults that open quickly.
pub(crate) const PROGRAM: &str = match option_env!("CARGO_BIN_EXE_passmate-cheap-keys") {
    Some(quick) => quick,
    None => env!("CARGO_BIN_EXE_passmate"),
};

pub(crate) struct Home {
    dir: TempDir,
}

impl Home {
    /// With these fields, each with its record's path and its value.
    pub(crate) fn with(fields: &[(&str, &str, &str)]) -> Self {
        let home = Self {
            dir: tempfile::tempdir().unwrap(),
        };
        let file = home.write("passphrase", PASSPHRASE);
        fs::set_permissions(file, Permissions::from_mode(0o600)).unwrap();
        let passphrase = Passphrase::from(PASSPHRASE.to_owned());
        let mut session = Session::create(home.location(), passphrase).unwrap();
        for (path, field, value) in fields {
            let edit = Edit::Set {
                path: (*path).to_owned(),
                field: (*field).to_owned(),
                value: (*value).to_owned().into(),
            };
            let changed = VaultApi::change(&mut session, &edit, &Consent::none(), &mut |_| {});
            assert!(changed.is_ok(), "{path} {field}");
        }
        home
    }

    /// A change that is stamped in ten days.
    pub(crate) fn set_in_the_future(&self, path: &str, field: &str, value: &str) {
        let passphrase = Passphrase::from(PASSPHRASE.to_owned());
        let mut session = Session::open(self.location(), passphrase).unwrap();
        let id = VaultApi::record(&mut session, path).unwrap().id;
        let set = session.edit(|vault, now| vault.set(&id.into(), field, value, now + 864_000));
        set.unwrap();
        session.save().unwrap();
    }

    fn location(&self) -> VaultLocation {
        let path = self.path().join(".local/share/passmate/vault.pmdb");
        VaultLocation::new(path).with_params(Params::new(4, 1, 1).unwrap())
    }

    pub(crate) fn path(&self) -> &Path {
        self.dir.path()
    }

    pub(crate) fn write(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, content).unwrap();
        path
    }

    /// Any program, in this person's environment.
    pub(crate) fn program(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        let tested = Path::new(env!("CARGO_BIN_EXE_passmate")).parent().unwrap();
        let path = std::env::var("PATH").unwrap();
        command
            .current_dir(self.path())
            .env_clear()
            .env("HOME", self.path())
            .env("PATH", format!("{}:{path}", tested.display()))
            .env("PASSMATE_PASSPHRASE_FILE", self.path().join("passphrase"))
            .stdin(Stdio::null());
        command
    }

    pub(crate) fn command(&self, args: &[&str]) -> Command {
        let mut command = self.program(PROGRAM);
        command.args(args);
        command
    }

    pub(crate) fn run(&self, args: &[&str]) -> Output {
        self.command(args).output().unwrap()
    }

    /// What a command writes that succeeds.
    #[track_caller]
    pub(crate) fn answer(&self, args: &[&str]) -> String {
        answer(&mut self.command(args), "")
    }

    /// The exit code and the two lines of a command that fails.
    #[track_caller]
    pub(crate) fn failure(&self, args: &[&str]) -> (i32, String) {
        let output = self.run(args);
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(said.lines().count(), 2, "{args:?}: {said}");
        (output.status.code().unwrap(), said)
    }
}

/// What a command writes that reads this and succeeds.
#[track_caller]
pub(crate) fn answer(command: &mut Command, input: &str) -> String {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // One that reads nothing may be gone already.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{command:?}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}
