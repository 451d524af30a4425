//! The Tab key completes records and fields from the agent, and asks nothing without it.

use std::process::{Command, Stdio};

use crate::support::PROGRAM;
use crate::typed::Home;

/// A person with an agent, which ends with them.
struct Person(Home);

impl Person {
    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(PROGRAM);
        command
            .args(args)
            .current_dir(self.0.path())
            .env_clear()
            .env("HOME", self.0.path())
            .env("XDG_RUNTIME_DIR", self.0.path().join("run"))
            .stdin(Stdio::null());
        command
    }

    /// What a shell gets for these words; the last is completed.
    #[track_caller]
    fn complete(&self, shell: &str, words: &[&str]) -> Vec<String> {
        let mut command = self.command(&["--", "passmate"]);
        command.args(words).env("PASSMATE_COMPLETE", shell);
        if shell != "fish" {
            command
                .env("_CLAP_COMPLETE_INDEX", words.len().to_string())
                .env("_CLAP_IFS", "\n");
        }
        if shell == "bash" {
            command.env("_CLAP_COMPLETE_COMP_TYPE", "9");
        }
        let output = command.output().unwrap();
        assert!(output.status.success(), "{words:?}: {output:?}");
        assert_eq!(output.stderr, b"", "{words:?}");
        let mut text = String::from_utf8(output.stdout).unwrap();
        if shell == "zsh" {
            // Behind a colon zsh takes a description.
            text = text.replace("\\:", ":");
        }
        // Options are completed too, where nothing else is found.
        let found = text.lines().filter(|line| !line.starts_with('-'));
        found.map(str::to_owned).collect()
    }
}

impl Drop for Person {
    fn drop(&mut self) {
        let _ = self.command(&["agent", "stop"]).output();
    }
}

fn person() -> Person {
    let home = Home::new();
    for (path, field) in [
        ("web/shop", "password"),
        ("web/shop", "user"),
        ("web/forum", "pin code"),
        ("my bank/giro", "password"),
    ] {
        home.ok_with(&["set", path, field], "hunter2");
    }
    std::fs::create_dir(home.path().join("run")).unwrap();
    Person(home)
}

#[test]
fn a_locked_agent_or_none_completes_nothing_and_asks_nothing() {
    let person = person();
    for shell in ["bash", "zsh", "fish"] {
        assert_eq!(person.complete(shell, &["show", "we"]), [""; 0]);
        assert_eq!(person.complete(shell, &["show", "web/shop", ""]), [""; 0]);
        // Commands are completed all the same.
        let commands = person.complete(shell, &["sho"]);
        assert!(
            commands.iter().any(|line| line.starts_with("show")),
            "{commands:?}"
        );
    }
    let status = person
        .command(&["agent", "status", "--json"])
        .output()
        .unwrap();
    assert!(String::from_utf8_lossy(&status.stdout).contains("\"running\":false"));
}

#[test]
fn an_unlocked_agent_completes_records_and_fields_and_no_value() {
    let person = person();
    let unlocked = person
        .command(&["unlock", "--passphrase-file", "passphrase"])
        .status();
    assert!(unlocked.unwrap().success());
    for shell in ["bash", "zsh", "fish"] {
        assert_eq!(person.complete(shell, &["show", "we"]), ["web/"]);
        assert_eq!(
            person.complete(shell, &["copy", "--otp", "web/"]),
            ["web/forum", "web/shop"]
        );
        assert_eq!(
            person.complete(shell, &["rm", "web/shop", "web/f"]),
            ["web/forum"]
        );
        assert_eq!(
            person.complete(shell, &["show", "web/shop", ""]),
            ["password", "user"]
        );
        assert_eq!(person.complete(shell, &["set", "web/shop", "u"]), ["user"]);
        let other = ["--profile", "other", "show", "we"];
        assert_eq!(person.complete(shell, &other), [""; 0]);
        let all = person.complete(shell, &["show", "web/shop", "h"]);
        assert_eq!(all, [""; 0]);
    }
    for shell in ["zsh", "fish"] {
        let reference = |typed| person.complete(shell, &["read", typed]);
        assert_eq!(reference("passmate://we"), ["passmate://web/"]);
        assert_eq!(
            reference("passmate://web/shop/"),
            ["passmate://web/shop/password", "passmate://web/shop/user"]
        );
        assert_eq!(reference("passmate://my"), ["passmate://my%20bank/"]);
        // A record to be has a folder at most.
        assert_eq!(person.complete(shell, &["add", "we"]), ["web/"]);
        assert_eq!(person.complete(shell, &["new", "web/s"]), [""; 0]);
    }
    // Options are only in the way of records.
    let mut command = person.command(&["--", "passmate", "show", ""]);
    let output = command.env("PASSMATE_COMPLETE", "fish").output().unwrap();
    assert_eq!(output.stdout, b"my bank/\nweb/\n");
    // bash writes candidates to the line as they stand.
    assert_eq!(person.complete("bash", &["show", "my"]), ["my\\ bank/"]);
    assert_eq!(
        person.complete("bash", &["show", "my\\ bank/"]),
        ["my\\ bank/giro"]
    );
    assert_eq!(person.complete("zsh", &["show", "my\\ b"]), ["my bank/"]);
    // Within a quote, bash gives the word without it.
    let mut command = person.command(&["--", "passmate", "show", "my b"]);
    command
        .env("PASSMATE_COMPLETE", "bash")
        .env("_CLAP_COMPLETE_INDEX", "2")
        .env("_CLAP_COMPLETE_COMP_TYPE", "9")
        .env("_PASSMATE_WORD", "'my b");
    assert_eq!(command.output().unwrap().stdout, b"'my bank/");
    let status = person.command(&["lock"]).status();
    assert!(status.unwrap().success());
    assert_eq!(person.complete("bash", &["show", "we"]), [""; 0]);
    assert_eq!(person.complete("fish", &["read", "passmate://"]), [""; 0]);
}

#[test]
fn settings_are_completed_with_their_values_where_they_are_few() {
    let home = Home::new();
    std::fs::create_dir(home.path().join("run")).unwrap();
    let person = Person(home);
    for shell in ["bash", "zsh", "fish"] {
        for command in ["get", "set", "unset"] {
            let keys = person.complete(shell, &["config", command, "lock.on"]);
            assert_eq!(keys, ["lock.on-sleep", "lock.on-screen-lock"], "{command}");
        }
        let values = |key| person.complete(shell, &["config", "set", key, ""]);
        assert_eq!(values("sync.auto"), ["true", "false"]);
        assert_eq!(values("color"), ["auto", "always", "never"]);
        assert_eq!(values("lock.at-most"), [""; 0]);
        assert_eq!(values("no.such"), [""; 0]);
        assert_eq!(
            person.complete(shell, &["config", "set", "color", "al"]),
            ["always"]
        );
    }
}

#[test]
fn bash_completes_references_although_it_breaks_them_at_the_colon() {
    let person = person();
    let unlock = ["unlock", "--passphrase-file", "passphrase"];
    assert!(person.command(&unlock).status().unwrap().success());
    let folder = person.0.path();
    let programs = std::path::Path::new(env!("CARGO_BIN_EXE_passmate"));
    let programs = programs.parent().unwrap().display();
    let path = std::env::var("PATH").unwrap();
    // What bash does for a word, in its words and variables.
    let candidates = |words: &[&str], word: &str| {
        let script = "source <(passmate completions bash); word=$1; shift; COMP_WORDS=(\"$@\"); \
                      COMP_CWORD=$(($# - 1)); COMP_TYPE=9; \
                      _clap_complete_passmate passmate \"$word\" 2>/dev/null; \
                      printf '%s\\n' \"${COMPREPLY[@]}\"";
        let mut bash = Command::new("bash");
        bash.args(["--norc", "-c", script, "bash", word, "passmate"]);
        bash.args(words).current_dir(folder).env_clear();
        bash.env("HOME", folder)
            .env("PATH", format!("{programs}:{path}"));
        bash.env("XDG_RUNTIME_DIR", folder.join("run"));
        let output = bash.stdin(Stdio::null()).output().unwrap();
        String::from_utf8(output.stdout).unwrap()
    };
    assert_eq!(
        candidates(&["read", "pass"], "pass"),
        "passmate://my%20bank/\npassmate://web/\n"
    );
    assert_eq!(
        candidates(&["read", "passmate", ":"], ""),
        "//my%20bank/\n//web/\n"
    );
    assert_eq!(
        candidates(&["read", "passmate", ":", "//we"], "//we"),
        "//web/\n"
    );
    assert_eq!(
        candidates(&["read", "passmate", ":", "//web/shop/p"], "//web/shop/p"),
        "//web/shop/password\n"
    );
    assert_eq!(candidates(&["show", "my\\ b"], "my\\ b"), "my\\ bank/\n");
}

#[test]
fn zsh_completes_references_although_a_colon_ends_a_candidate() {
    let person = person();
    let unlock = ["unlock", "--passphrase-file", "passphrase"];
    assert!(person.command(&unlock).status().unwrap().success());
    let folder = person.0.path();
    let programs = std::path::Path::new(env!("CARGO_BIN_EXE_passmate"));
    let programs = programs.parent().unwrap().display();
    let path = std::env::var("PATH").unwrap();
    // What zsh has for its completions, as far as the script needs it.
    let candidates = |words: &[&str]| {
        let script = "compdef() {}; _describe() { print -rl -- \"${(@P)3}\"; }; \
                      source <(passmate completions zsh); words=(passmate \"$@\"); \
                      CURRENT=$#words; _clap_dynamic_completer_passmate";
        let mut zsh = Command::new("zsh");
        zsh.args(["-f", "-c", script, "zsh"]).args(words);
        zsh.current_dir(folder).env_clear().env("HOME", folder);
        zsh.env("PATH", format!("{programs}:{path}"));
        zsh.env("XDG_RUNTIME_DIR", folder.join("run"));
        let output = zsh.stdin(Stdio::null()).output().ok()?;
        Some(String::from_utf8(output.stdout).unwrap())
    };
    let Some(found) = candidates(&["read", "passmate://we"]) else {
        eprintln!("not run: zsh is not installed");
        return;
    };
    // zsh puts the slash behind a folder.
    assert_eq!(found, "passmate\\://web\n");
    assert_eq!(
        candidates(&["read", "passmate://web/shop/p"]).unwrap(),
        "passmate\\://web/shop/password\n"
    );
    assert_eq!(candidates(&["show", "my"]).unwrap(), "my bank\n");
}

#[test]
fn each_shell_takes_its_script() {
    let person = person();
    for shell in ["bash", "zsh", "fish"] {
        let output = person.command(&["completions", shell]).output().unwrap();
        let file = person.0.path().join(shell);
        std::fs::write(&file, &output.stdout).unwrap();
        let Ok(status) = Command::new(shell).arg("-n").arg(&file).status() else {
            eprintln!("not run: {shell} is not installed");
            continue;
        };
        assert!(status.success(), "{shell}");
    }
}

#[test]
fn fish_completes_records_and_fields() {
    let person = person();
    let unlock = ["unlock", "--passphrase-file", "passphrase"];
    assert!(person.command(&unlock).status().unwrap().success());
    let folder = person.0.path();
    let programs = std::path::Path::new(env!("CARGO_BIN_EXE_passmate"));
    let path = std::env::var("PATH").unwrap();
    let candidates = |line: &str| {
        let script = "passmate completions fish | source; complete -C $argv[1]";
        let mut fish = Command::new("fish");
        fish.args(["--no-config", "-c", script, line]);
        fish.current_dir(folder).env_clear().env("HOME", folder);
        fish.env("XDG_RUNTIME_DIR", folder.join("run"));
        let programs = programs.parent().unwrap().display();
        fish.env("PATH", format!("{programs}:{path}"));
        let output = fish.stdin(Stdio::null()).output().unwrap();
        String::from_utf8(output.stdout).unwrap()
    };
    assert_eq!(candidates("passmate show we"), "web/\n");
    assert_eq!(candidates("passmate show my\\ b"), "my bank/\n");
    assert_eq!(candidates("passmate copy web/shop us"), "user\n");
}
