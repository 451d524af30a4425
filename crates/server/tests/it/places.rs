//! Commands find the operator's server, and say so when they do not.

use std::path::Path;
use std::process::{Command, Output};

use crate::support::{failed, ok, operate, start, text};

/// Runs a command that no option or variable tells where the store is.
fn at_home(home: &Path, words: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_passmate-server"));
    command.env_clear().env("HOME", home).args(words);
    command.output().unwrap()
}

#[test]
fn every_command_names_its_store() {
    let (dir, place) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let file = place.path().join("backup");
    start(dir.path(), &[]).stop();
    let store = format!(
        "passmate-server: store {}/passmate.db\n",
        dir.path().display()
    );
    for words in [
        &["account", "list"] as &[&str],
        &["invite", "list"],
        &["log"],
        &["check"],
        &["verify"],
        &["backup", text(&file)],
        &["restore", text(&file), "--force"],
        &["import-spr", text(place.path())],
    ] {
        let said = operate(dir.path(), words).stderr;
        let said = String::from_utf8(said).unwrap();
        assert!(said.starts_with(&store), "{words:?}: {said}");
        let quiet = operate(dir.path(), &[words, &["--json"]].concat()).stderr;
        let quiet = String::from_utf8(quiet).unwrap();
        assert!(!quiet.contains(&store), "{words:?}: {quiet}");
    }
    for words in [&["check"] as &[&str], &["restore", text(&file), "--force"]] {
        let said = operate(dir.path(), &[words, &["--json"]].concat()).stdout;
        let said: serde_json::Value = serde_json::from_slice(&said).unwrap();
        let store = format!("sqlite:{}/passmate.db", dir.path().display());
        assert_eq!(said["store"], store.as_str(), "{words:?}");
    }
    let said = operate(dir.path(), &["cert", "show"]).stderr;
    let data_dir = format!("passmate-server: data dir {}\n", dir.path().display());
    assert_eq!(String::from_utf8(said).unwrap(), data_dir);
    let of_file = operate(dir.path(), &["verify", text(&file)]).stderr;
    assert_eq!(String::from_utf8(of_file).unwrap(), "");
}

#[test]
fn a_command_at_the_wrong_place_says_where_a_server_runs() {
    let (dir, home) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let file = home.path().join("backup");
    let program = start(dir.path(), &[]);
    let account = program.create(b"sealed");
    ok(operate(dir.path(), &["backup", text(&file)]));
    failed(
        &at_home(home.path(), &["account", "list"]),
        10,
        "hint: a server runs with another data dir",
    );
    let other = home.path().join("other");
    std::fs::create_dir(&other).unwrap();
    let checked = operate(&other, &["check"]).stdout;
    let checked = String::from_utf8(checked).unwrap();
    assert!(checked.contains("; one runs with another, "), "{checked}");
    let checked = String::from_utf8(operate(dir.path(), &["check"]).stdout).unwrap();
    assert!(!checked.contains("one runs with another"), "{checked}");
    // A restore that nobody can mean is refused, and another one is named.
    failed(
        &at_home(home.path(), &["restore", text(&file)]),
        8,
        "nothing says which store is to be restored",
    );
    assert!(!home.path().join(".local").exists());
    let restored = operate(&other, &["restore", text(&file)]);
    let warning = String::from_utf8_lossy(&restored.stderr).into_owned();
    assert!(
        warning.contains("one runs with another data dir"),
        "{warning}"
    );
    let said = ok(restored);
    assert!(
        said.contains(&format!("in sqlite:{}/passmate.db", other.display())),
        "{said}"
    );
    program.replace(account, b"newer");
}
