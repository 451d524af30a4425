//! An agent that runs holds the vault for the commands of its user.

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::thread;
use std::time::Duration;

use passmate_core::session::{Session, VaultLocation};
use passmate_vault::Passphrase;
use passmate_vault::format::container::{Params, container_params};
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use crate::typed::{self, Terminal};

/// A person with a vault, and a folder for the agent's socket.
struct Home {
    dir: TempDir,
}

impl Home {
    fn new() -> Self {
        let home = Self {
            dir: tempfile::tempdir().unwrap(),
        };
        fs::write(home.path().join("passphrase"), "correct horse battery\n").unwrap();
        fs::create_dir(home.path().join("run")).unwrap();
        home.with_passphrase(&["init"]);
        home
    }

    fn path(&self) -> &Path {
        self.dir.path()
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_passmate"));
        command
            .args(args)
            .current_dir(self.path())
            .env_clear()
            .env("HOME", self.path())
            .env("XDG_RUNTIME_DIR", self.path().join("run"))
            .env("PATH", std::env::var_os("PATH").unwrap())
            .stdin(Stdio::null());
        command
    }

    /// With nobody to ask.
    fn run(&self, args: &[&str]) -> Output {
        self.command(args).output().unwrap()
    }

    #[track_caller]
    fn with_passphrase(&self, args: &[&str]) -> Output {
        let mut command = self.command(args);
        let output = command
            .env("PASSMATE_PASSPHRASE_FILE", "passphrase")
            .output();
        let output = output.unwrap();
        assert!(output.status.success(), "{args:?}: {output:?}");
        output
    }

    fn status(&self) -> serde_json::Value {
        let output = self.run(&["agent", "status", "--json"]);
        serde_json::from_slice(&output.stdout).unwrap()
    }
}

/// No agent outlives its test.
impl Drop for Home {
    fn drop(&mut self) {
        let _ = self.command(&["agent", "stop"]).output();
    }
}

/// However a vault is written, and however cheap it was before.
#[test]
fn whatever_the_program_writes_costs_the_standard_to_guess() {
    let home = Home::new();
    let file = home.path().join(".local/share/passmate/vault.pmdb");
    let cost = || container_params(&fs::read(&file).unwrap()).unwrap();
    let cheap = Params::new(4, 1, 1).unwrap();
    let make_cheap = || {
        let folder = file.parent().unwrap();
        fs::remove_dir_all(folder).unwrap();
        fs::create_dir(folder).unwrap();
        let location = VaultLocation::new(&file).with_params(cheap);
        Session::create(
            location,
            Passphrase::from("correct horse battery".to_owned()),
        )
        .unwrap();
        assert_eq!(cost(), cheap);
    };
    assert_eq!(cost(), Params::STANDARD);
    make_cheap();
    home.with_passphrase(&["new", "web/shop"]);
    assert_eq!(cost(), Params::STANDARD);
    make_cheap();
    home.with_passphrase(&["unlock"]);
    assert!(home.run(&["new", "web/shop"]).status.success());
    assert_eq!(cost(), Params::STANDARD);
}

#[test]
fn an_unlocked_vault_asks_nobody_until_it_is_locked() {
    const LOCKED: Option<i32> = Some(4);
    let home = Home::new();
    assert_eq!(home.status()["running"], false);
    assert_eq!(home.run(&["ls"]).status.code(), LOCKED);
    assert!(home.run(&["lock"]).status.success());
    home.with_passphrase(&["unlock"]);
    let status = home.status();
    assert_eq!(status["running"], true);
    assert_eq!(status["unlocked"].as_array().unwrap().len(), 1);
    if cfg!(target_os = "linux") {
        let limits = fs::read_to_string(format!("/proc/{}/limits", status["pid"])).unwrap();
        let core = limits.lines().find(|line| line.contains("core file size"));
        let words: Vec<_> = core.unwrap().split_whitespace().collect();
        assert_eq!(words[4..6], ["0", "0"], "it writes no core file");
    }
    assert!(home.run(&["new", "web/shop"]).status.success());
    assert!(home.run(&["gen", "web/shop"]).status.success());
    assert_eq!(home.run(&["ls", "--flat"]).stdout, b"web/shop\n");
    // What a command without the agent stores is there.
    home.with_passphrase(&["agent", "stop"]);
    assert_eq!(home.run(&["ls"]).status.code(), LOCKED);
    home.with_passphrase(&["new", "web/other"]);
    home.with_passphrase(&["unlock"]);
    let list = home.run(&["ls", "--flat"]).stdout;
    assert_eq!(list, b"web/other\nweb/shop\n");
    assert!(home.run(&["lock"]).status.success());
    assert_eq!(home.run(&["ls"]).status.code(), LOCKED);
    assert_eq!(home.status()["unlocked"].as_array().unwrap().len(), 0);
    // A passphrase for one command does not unlock the vault for others.
    home.with_passphrase(&["ls"]);
    assert_eq!(home.run(&["ls"]).status.code(), LOCKED);
}

#[test]
fn a_new_passphrase_wants_the_old_one_though_the_vault_is_unlocked() {
    let home = Home::new();
    home.with_passphrase(&["unlock"]);
    assert!(home.run(&["ls"]).status.success());
    assert_eq!(home.run(&["passwd"]).status.code(), Some(4));
}

/// As systemd does: it listens, and starts the agent when somebody connects.
const ACTIVATE: &str = r#"
import os, select, socket, sys
folder = os.environ["XDG_RUNTIME_DIR"] + "/passmate"
os.mkdir(folder, 0o700)
s = socket.socket(socket.AF_UNIX)
s.bind(folder + "/agent.sock")
os.chmod(folder + "/agent.sock", 0o600)
s.listen()
print("listening", flush=True)
select.select([s], [], [])
os.dup2(s.fileno(), 3)
os.set_inheritable(3, True)
os.environ.update(LISTEN_FDS="1", LISTEN_PID=str(os.getpid()))
os.execv(sys.argv[1], [sys.argv[1], "agent", "run"])
"#;

#[test]
fn the_first_command_starts_an_agent_for_which_systemd_listens() {
    let home = Home::new();
    let mut activated = home.command(&[]);
    activated = {
        let mut python = Command::new("python3");
        python
            .args(["-c", ACTIVATE, env!("CARGO_BIN_EXE_passmate")])
            .env_clear()
            .envs(
                activated
                    .get_envs()
                    .filter_map(|(name, value)| Some((name, value?))),
            )
            .stdout(Stdio::piped());
        python
    };
    let Ok(mut activated) = activated.spawn() else {
        eprintln!("not run: there is no python3");
        return;
    };
    let mut line = String::new();
    let output = activated.stdout.as_mut().unwrap();
    BufReader::new(output).read_line(&mut line).unwrap();
    home.with_passphrase(&["unlock"]);
    assert_eq!(home.status()["pid"], activated.id());
    assert!(home.run(&["ls"]).status.success());
    assert!(home.run(&["agent", "stop"]).status.success());
    assert!(activated.wait().unwrap().success());
    let socket = home.path().join("run/passmate/agent.sock");
    assert!(socket.exists(), "it is systemd's");
}

/// A pinentry program that a person who types this passphrase would use.
fn pinentry(home: &Home, passphrase: &str) {
    let script = format!(
        "#!/bin/sh\necho OK\nwhile read -r command rest; do\n  case $command in\n  GETPIN) echo 'D \
         {passphrase}'; echo OK;;\n  BYE) echo OK; exit;;\n  *) echo OK;;\n  esac\ndone\n"
    );
    let program = home.path().join("pinentry");
    fs::write(&program, script).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    fs::create_dir_all(home.path().join(".config/passmate")).unwrap();
    let settings = format!("pinentry.program = '{}'\n", program.display());
    fs::write(home.path().join(".config/passmate/config.toml"), settings).unwrap();
}

#[test]
fn without_a_terminal_a_window_asks_for_the_passphrase() {
    let home = Home::new();
    // A terminal of whoever runs the test is not the command's.
    let run = |args: &[&str]| {
        let mut command = Command::new("setsid");
        let command = command.arg("--wait").arg(env!("CARGO_BIN_EXE_passmate"));
        let environment = home.command(&[]);
        let variables = environment.get_envs();
        let variables = variables.filter_map(|(name, value)| Some((name, value?)));
        let command = command.args(args).env_clear().envs(variables);
        command.stdin(Stdio::null()).output().unwrap()
    };
    pinentry(&home, "wrong");
    let refused = run(&["ls"]);
    assert_eq!(refused.status.code(), Some(5), "{refused:?}");
    pinentry(&home, "correct horse battery");
    assert_eq!(run(&["ls", "--no-input"]).status.code(), Some(4));
    let opened = run(&["ls"]);
    assert!(opened.status.success(), "{opened:?}");
    assert_eq!(home.status()["unlocked"].as_array().unwrap().len(), 1);
}

fn pid_of(status: &serde_json::Value) -> Pid {
    Pid::from_raw(status["pid"].as_i64().unwrap().try_into().unwrap()).unwrap()
}

#[test]
fn a_killed_agent_loses_nothing_that_it_confirmed() {
    let home = Home::new();
    let mut confirmed = Vec::new();
    for round in 0..5 {
        home.with_passphrase(&["unlock"]);
        let pid = pid_of(&home.status());
        let killer = thread::spawn(move || {
            // At another moment each time.
            thread::sleep(Duration::from_millis(170 * round));
            kill_process(pid, Signal::KILL).unwrap();
        });
        for number in 0..20 {
            let path = format!("{round}/{number}");
            if !home.run(&["new", &path]).status.success() {
                break;
            }
            confirmed.push(path);
        }
        killer.join().unwrap();
    }
    let list = home.with_passphrase(&["ls", "--flat"]).stdout;
    let list = String::from_utf8(list).unwrap();
    for path in &confirmed {
        assert!(
            list.lines().any(|line| line == path),
            "{path} of {confirmed:?}"
        );
    }
}

#[test]
fn a_stopped_agent_keeps_no_command_for_long() {
    let home = Home::new();
    home.with_passphrase(&["unlock"]);
    let pid = pid_of(&home.status());
    kill_process(pid, Signal::STOP).unwrap();
    let without = home.with_passphrase(&["ls"]);
    let said = String::from_utf8_lossy(&without.stderr).into_owned();
    let locked = home.run(&["lock"]);
    kill_process(pid, Signal::CONT).unwrap();
    assert!(said.contains("does without the agent"), "{said}");
    assert_eq!(locked.status.code(), Some(1), "{locked:?}");
    let process = pid.as_raw_nonzero();
    let said = String::from_utf8(locked.stderr).unwrap();
    assert!(said.contains(&format!("the agent (process {process}) does not answer")));
    assert!(said.contains(&format!("`kill -9 {process}`")), "{said}");
    assert!(home.run(&["ls"]).status.success());
}

#[test]
fn an_agent_that_cannot_start_says_why() {
    let home = Home::new();
    let folder = home.path().join("run/passmate");
    fs::create_dir_all(folder.join("agent.sock/x")).unwrap();
    fs::set_permissions(&folder, fs::Permissions::from_mode(0o700)).unwrap();
    let mut unlock = home.command(&["unlock"]);
    let output = unlock
        .env("PASSMATE_PASSPHRASE_FILE", "passphrase")
        .output();
    let said = String::from_utf8(output.unwrap().stderr).unwrap();
    assert!(
        said.contains("the agent did not start: cannot remove"),
        "{said}"
    );
}

#[test]
fn a_folder_that_others_can_enter_is_not_used() {
    let home = Home::new();
    let folder = home.path().join("run/passmate");
    fs::create_dir(&folder).unwrap();
    fs::set_permissions(&folder, fs::Permissions::from_mode(0o777)).unwrap();
    let mut unlock = home.command(&["unlock"]);
    let output = unlock
        .env("PASSMATE_PASSPHRASE_FILE", "passphrase")
        .output();
    assert_eq!(output.unwrap().status.code(), Some(21));
    // Every command works without an agent.
    home.with_passphrase(&["ls"]);
}

#[test]
fn a_vault_can_be_locked_whatever_the_settings_say() {
    let home = Home::new();
    let config = home.path().join(".config/passmate");
    fs::create_dir_all(&config).unwrap();
    let locks = |args: &[&str], set: &dyn Fn(&mut Command)| {
        home.with_passphrase(&["unlock"]);
        let run = |args: &[&str]| {
            let mut command = home.command(args);
            set(&mut command);
            command.output().unwrap()
        };
        let status = run(&["agent", "status"]);
        assert!(status.status.success(), "{status:?}");
        let locked = run(args);
        assert!(locked.status.success(), "{args:?}: {locked:?}");
        let said = String::from_utf8_lossy(&locked.stderr);
        assert!(said.contains("the settings are at fault"), "{said}");
        let examined = run(&["doctor"]);
        assert_eq!(examined.status.code(), Some(31), "{examined:?}");
    };
    let faults: [&dyn Fn(&mut Command); 3] = [
        &|command| {
            command.envs([
                ("PASSMATE_PASSPHRASE_COMMAND", "true"),
                ("PASSMATE_PASSPHRASE_FILE", "x"),
            ]);
        },
        &|command| {
            command.env("PASSMATE_PROFILE", "../x");
        },
        &|command| {
            command.env("PASSMATE_CONFIG", "/nope");
        },
    ];
    for set in faults {
        locks(&["lock"], set);
        let unlocked = home.status();
        assert_eq!(unlocked["unlocked"].as_array().unwrap().len(), 0);
    }
    locks(&["agent", "stop"], faults[0]);
    assert_eq!(home.status()["running"], false);
    home.with_passphrase(&["unlock"]);
    fs::write(config.join("config.toml"), "agent.start = flase\n").unwrap();
    assert!(home.run(&["lock"]).status.success());
    assert_eq!(home.status()["unlocked"].as_array().unwrap().len(), 0);
}

#[test]
fn a_passphrase_is_typed_once() {
    const NEW: &str = "another horse battery";
    let home = typed::Home::new();
    // From a terminal, where the variable names a file otherwise.
    let start = |args: &[&str]| {
        let args = [args, &["--passphrase-file", "-"]].concat();
        Terminal::start(&home, &args)
    };
    #[track_caller]
    fn ends(mut terminal: Terminal) -> String {
        let (text, code) = terminal.finish();
        assert_eq!(code, 0, "{text}");
        text
    }
    let mut init = start(&["init", "--vault", "other.pmdb"]);
    init.answer("New master passphrase: ", NEW);
    init.answer("The same again: ", NEW);
    ends(init);
    ends(start(&["ls", "--vault", "other.pmdb"]));

    let mut unlock = start(&["unlock"]);
    unlock.answer("Master passphrase: ", "correct horse battery");
    ends(unlock);
    let again = ends(start(&["unlock"]));
    assert!(again.contains("unlocked already"), "{again}");
    let mut passwd = start(&["passwd"]);
    passwd.answer("Master passphrase: ", "correct horse battery");
    passwd.answer("New master passphrase: ", NEW);
    passwd.answer("The same again: ", NEW);
    ends(passwd);
    ends(start(&["ls"]));
    home.ok(&["agent", "stop"]);
}
