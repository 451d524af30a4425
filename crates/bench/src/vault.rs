//! The cost of a vault on a device.

use std::fs::{self, DirBuilder};
use std::net::SocketAddr;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use getrandom::SysRng;
use passmate_vault::format::container::{Params, make_container, open_container};
use passmate_vault::format::{decode_vault_file, encode_v3};
use passmate_vault::{Document, Passphrase, RecordId, Vault};

use crate::handshake::thread_time;
use crate::process::{sibling, status_kib};

pub(crate) const TIME: i64 = 1_700_000_000;

pub(crate) fn passphrase() -> Passphrase {
    Passphrase::from("correct horse battery staple".to_owned())
}

fn id(index: usize) -> RecordId {
    RecordId::from(format!("{index:016X}"))
}

/// A vault with typical records: each has a path, a user, a password and a note.
pub(crate) fn make_vault(records: usize) -> Vault {
    let mut vault = Vault::new();
    for index in 0..records {
        let id = id(index);
        let path = format!("folder {}/site {index}.example.org", index % 50);
        vault
            .create_record(id.clone(), path, TIME)
            .expect("the id is new");
        for (name, value) in [
            ("user", "somebody@example.org"),
            ("password", "battery-staple-42"),
            ("note", "made by the harness"),
        ] {
            vault
                .set(&id, name, value, TIME)
                .expect("the record exists");
        }
    }
    vault
}

pub(crate) fn write_vault(path: &Path, records: usize) -> anyhow::Result<()> {
    write_document(path, &Document::new(make_vault(records)))
}

fn write_document(path: &Path, document: &Document) -> anyhow::Result<()> {
    let plaintext = encode_v3(document)?;
    let mut rng = rand_of_system();
    fs::write(
        path,
        make_container(&plaintext, &passphrase(), Params::STANDARD, &mut rng)?,
    )?;
    Ok(())
}

fn rand_of_system() -> rand_core::UnwrapErr<SysRng> {
    rand_core::UnwrapErr(SysRng)
}

/// CPU time to open and decode a vault file.
pub(crate) fn unlock(container: &[u8]) -> anyhow::Result<Duration> {
    let begun = thread_time();
    let document = decode_vault_file(&open_container(container, &passphrase())?)?;
    let spent = thread_time() - begun;
    anyhow::ensure!(!document.vault.is_empty(), "the vault is empty");
    Ok(spent)
}

/// CPU time of the key derivation that every unlock needs.
pub(crate) fn bare_scrypt() -> anyhow::Result<Duration> {
    let params = scrypt::Params::new(17, 8, 1, 64).map_err(anyhow::Error::msg)?;
    let mut derived = [0; 64];
    let begun = thread_time();
    scrypt::scrypt(
        b"correct horse battery staple",
        &[7; 32],
        &params,
        &mut derived,
    )
    .map_err(anyhow::Error::msg)?;
    Ok(thread_time() - begun)
}

/// The hidden command `unlock`: opens a vault as `passmate ls` does, and prints the peak memory of
/// the process in KiB.
pub(crate) fn unlock_once(vault: &Path) -> anyhow::Result<()> {
    unlock(&fs::read(vault)?)?;
    println!("{}", status_kib("/proc/self/status", "VmHWM:")?);
    Ok(())
}

/// Peak memory of an unlock in a fresh process, in bytes.
pub(crate) fn unlock_memory(vault: &Path) -> anyhow::Result<u64> {
    let output = Command::new(crate::process::itself()?)
        .arg("unlock")
        .arg(vault)
        .output()?;
    Ok(String::from_utf8(output.stdout)?.trim().parse::<u64>()? * 1024)
}

/// Two copies of one vault, each with changes to one half of the records.
pub(crate) fn make_diverged(records: usize) -> (Vault, Vault) {
    let base = make_vault(records);
    let (mut ours, mut theirs) = (base.clone(), base);
    for index in 0..records {
        let side = if index % 2 == 0 {
            &mut ours
        } else {
            &mut theirs
        };
        side.set(&id(index), "password", "changed", TIME + 5)
            .expect("the record exists");
    }
    (ours, theirs)
}

/// The duration of one merge, without that of a copy.
pub(crate) fn merge(ours: &Vault, theirs: &Vault) -> Duration {
    let mut ours = ours.clone();
    // A clone is copied when it is first changed, also by what it has already.
    let known = ours.records().next().and_then(|(id, record)| {
        let change = record.changes().first()?;
        Some((id.clone(), change.clone()))
    });
    let (id, change) = known.expect("a record");
    assert!(!ours.insert(&id, change), "it is known");
    let begun = Instant::now();
    let summary = ours.merge(theirs);
    let spent = begun.elapsed();
    assert!(!summary.is_empty(), "the merge changed nothing");
    spent
}

/// Where the vault of a home directory is.
const FOLDER: &str = ".local/share/passmate";
const VAULT: &str = "vault.pmdb";

/// A home directory with a vault.
pub(crate) struct Home {
    dir: tempfile::TempDir,
}

impl Home {
    pub(crate) fn new(records: usize) -> anyhow::Result<Self> {
        Self::with(&Document::new(make_vault(records)))
    }

    pub(crate) fn with(document: &Document) -> anyhow::Result<Self> {
        let home = Self {
            dir: tempfile::tempdir()?,
        };
        fs::write(
            home.dir.path().join("passphrase"),
            "correct horse battery staple\n",
        )?;
        for runtime in ["agent", "no-agent"] {
            DirBuilder::new()
                .mode(0o700)
                .create(home.path().join(runtime))?;
        }
        fs::create_dir_all(home.path().join(FOLDER))?;
        write_document(&home.path().join(FOLDER).join(VAULT), document)?;
        Ok(home)
    }

    /// With a vault that is in sync with a server.
    pub(crate) fn synced_with(
        server: &crate::process::Server,
        records: usize,
    ) -> anyhow::Result<Self> {
        let home = Self::new(records)?;
        home.sync_with(&server.pem, server.address)?;
        Ok(home)
    }

    /// Makes an account at the server with this certificate and syncs with it.
    pub(crate) fn sync_with(&self, pem: &str, address: SocketAddr) -> anyhow::Result<()> {
        fs::write(self.path().join("ca.pem"), pem)?;
        let address = format!("localhost:{}", address.port());
        self.passmate(&["sync", "setup", &address, "--ca-file", "ca.pem"])?;
        self.passmate(&["sync"])?;
        Ok(())
    }

    /// The bytes of its vault file.
    pub(crate) fn vault(&self) -> anyhow::Result<Vec<u8>> {
        Ok(fs::read(self.path().join(FOLDER).join(VAULT))?)
    }

    /// A folder of it.
    pub(crate) fn path(&self) -> &Path {
        self.dir.path()
    }

    /// A call of the real program, which uses the agent in the folder `runtime` if one runs there.
    pub(crate) fn command(&self, runtime: &str, words: &[&str]) -> anyhow::Result<Command> {
        let mut command = Command::new(sibling("bench-passmate")?);
        command
            .args(words)
            .current_dir(self.path())
            .env_clear()
            .env("HOME", self.path())
            .env("XDG_RUNTIME_DIR", self.path().join(runtime))
            .env("PASSMATE_PASSPHRASE_FILE", "passphrase");
        Ok(command)
    }

    /// Runs the real program without an agent and returns its duration.
    pub(crate) fn passmate(&self, words: &[&str]) -> anyhow::Result<Duration> {
        timed(&mut self.command("no-agent", words)?)
    }
}

/// Runs a program that must succeed, and returns its duration.
pub(crate) fn timed(command: &mut Command) -> anyhow::Result<Duration> {
    let begun = Instant::now();
    let output = command.stdin(Stdio::null()).output()?;
    let spent = begun.elapsed();
    anyhow::ensure!(
        output.status.success(),
        "{command:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(spent)
}
