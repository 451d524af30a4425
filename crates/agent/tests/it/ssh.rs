//! The socket for SSH, with the real programs of OpenSSH.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use passmate_core::answer::Consent;
use passmate_core::edit::Edit;
use passmate_core::settings::Holding;

use crate::OfAgent;
use crate::suite::{self, Implementation};

/// An agent with one key of each kind, made by ssh-keygen; `None` if that is not installed.
fn with_keys(kinds: &[(&str, &str)]) -> Option<OfAgent> {
    let agent = OfAgent::start();
    let mut vault = agent.open(suite::passphrase(), Default::default());
    for (kind, bits) in kinds {
        let file = agent.dir.path().join(format!("{kind}{bits}"));
        let mut make = Command::new("ssh-keygen");
        make.args(["-q", "-N", "", "-t", kind, "-b", bits, "-f"]);
        match make.arg(&file).status() {
            Ok(status) => assert!(status.success()),
            Err(_) => {
                eprintln!("not run: ssh-keygen is not installed");
                return None;
            }
        }
        let edit = Edit::Set {
            path: format!("ssh/{kind}{bits}"),
            field: "private key".to_owned(),
            value: fs::read_to_string(&file).unwrap().into(),
        };
        fs::remove_file(&file).unwrap();
        let changed = vault.change(&edit, &Consent::none(), &mut |_| {});
        assert!(changed.is_ok());
    }
    Some(agent)
}

impl OfAgent {
    fn ssh_socket(&self) -> PathBuf {
        self.place().ssh_socket()
    }

    fn ssh(&self, program: &str, args: &[&str]) -> Output {
        let mut command = Command::new(program);
        command
            .args(args)
            .current_dir(self.dir.path())
            .env("SSH_AUTH_SOCK", self.ssh_socket())
            .env("HOME", self.dir.path())
            .stdin(Stdio::null());
        command.output().unwrap()
    }
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

const KINDS: [(&str, &str); 5] = [
    ("ecdsa", "256"),
    ("ecdsa", "384"),
    ("ecdsa", "521"),
    ("ed25519", "256"),
    ("rsa", "2048"),
];

#[test]
fn the_keys_of_unlocked_vaults_are_listed_and_sign() {
    let Some(agent) = with_keys(&KINDS) else {
        return;
    };
    let mode = fs::metadata(agent.ssh_socket())
        .unwrap()
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o600);
    let listed = said(&agent.ssh("ssh-add", &["-l"]));
    let names: Vec<_> = listed
        .lines()
        .filter_map(|line| line.split(' ').nth(2))
        .collect();
    assert_eq!(
        names,
        KINDS.map(|(kind, bits)| format!("ssh/{kind}{bits}")),
        "{listed}"
    );
    let signer = "alice@example.org";
    fs::write(agent.dir.path().join("text"), "a text").unwrap();
    for (kind, bits) in KINDS {
        let public = format!("{kind}{bits}.pub");
        let _ = fs::remove_file(agent.dir.path().join("text.sig"));
        let signed = agent.ssh(
            "ssh-keygen",
            &["-Y", "sign", "-n", "file", "-f", &public, "text"],
        );
        assert!(signed.status.success(), "{kind}{bits}: {signed:?}");
        let key = fs::read_to_string(agent.dir.path().join(&public)).unwrap();
        fs::write(agent.dir.path().join("signers"), format!("{signer} {key}")).unwrap();
        let check = [
            "-Y", "verify", "-n", "file", "-f", "signers", "-I", signer, "-s", "text.sig",
        ];
        let verified = Command::new("ssh-keygen")
            .args(check)
            .current_dir(agent.dir.path())
            .stdin(fs::File::open(agent.dir.path().join("text")).unwrap())
            .output();
        assert!(verified.unwrap().status.success(), "{kind}{bits}");
    }
    // Nothing is added or removed through the socket.
    assert!(!agent.ssh("ssh-add", &["-D"]).status.success());
    // A locked vault has no keys.
    agent.connect().lock(None).unwrap();
    let locked = agent.ssh("ssh-add", &["-l"]);
    assert_eq!(locked.status.code(), Some(1));
    assert!(said(&locked).contains("no identities"));
    let signed = ["-Y", "sign", "-n", "file", "-f", "ed25519256.pub", "text"];
    assert!(!agent.ssh("ssh-keygen", &signed).status.success());
}

#[test]
fn git_signs_commits_with_a_key_of_the_vault() {
    let Some(agent) = with_keys(&[("ed25519", "256"), ("rsa", "2048")]) else {
        return;
    };
    let git = |args: &[&str]| {
        let mut command = Command::new("git");
        command
            .args(args)
            .current_dir(agent.dir.path())
            .env("SSH_AUTH_SOCK", agent.ssh_socket())
            .env("HOME", agent.dir.path())
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .stdin(Stdio::null());
        command.output()
    };
    if git(&["init", "-q", "."]).is_err() {
        eprintln!("not run: git is not installed");
        return;
    }
    let signers = agent.dir.path().join("signers");
    for (name, value) in [
        ("user.name", "Alice"),
        ("user.email", "alice@example.org"),
        ("gpg.format", "ssh"),
        ("gpg.ssh.allowedSignersFile", signers.to_str().unwrap()),
    ] {
        assert!(git(&["config", name, value]).unwrap().status.success());
    }
    let commit = |key: &str| {
        let key = agent.dir.path().join(format!("{key}.pub"));
        let key = key.to_str().unwrap();
        git(&["config", "user.signingkey", key]).unwrap();
        git(&["commit", "-q", "--allow-empty", "-S", "-m", "signed"]).unwrap()
    };
    for key in ["ed25519256", "rsa2048"] {
        let committed = commit(key);
        assert!(committed.status.success(), "{key}: {committed:?}");
        let public = fs::read_to_string(agent.dir.path().join(format!("{key}.pub"))).unwrap();
        fs::write(&signers, format!("alice@example.org {public}")).unwrap();
        let verified = git(&["verify-commit", "HEAD"]).unwrap();
        assert!(verified.status.success(), "{key}: {verified:?}");
    }
    // Whoever is not in the file has signed nothing.
    fs::write(&signers, "").unwrap();
    assert!(!git(&["verify-commit", "HEAD"]).unwrap().status.success());
    agent.connect().lock(None).unwrap();
    assert!(!commit("ed25519256").status.success());
}

#[test]
fn what_is_no_message_harms_nobody() {
    let agent = OfAgent::start();
    let connect = || UnixStream::connect(agent.ssh_socket()).unwrap();
    for wrong in [
        &b"GET / HTTP/1.1\r\n\r\n"[..],
        &[0; 4],
        &[0xFF; 4],
        &[0, 4, 0, 1, 11],
    ] {
        let mut stream = connect();
        let _ = stream.write_all(wrong);
        let mut answer = Vec::new();
        // It is closed without an answer.
        let _ = stream.read_to_end(&mut answer);
        assert!(answer.is_empty(), "{wrong:?}");
    }
    let mut idle = connect();
    idle.write_all(&[0, 0]).unwrap();
    for message in [&[99][..], &[13, 0xFF, 0xFF, 0xFF, 0xFF], &[27]] {
        let mut stream = connect();
        let len = u32::try_from(message.len()).unwrap().to_be_bytes();
        stream.write_all(&[&len, message].concat()).unwrap();
        let mut answer = [0; 5];
        stream.read_exact(&mut answer).unwrap();
        assert_eq!(answer, [0, 0, 0, 1, 5]);
        // The connection goes on.
        stream.write_all(&[0, 0, 0, 1, 11]).unwrap();
        let mut answer = [0; 9];
        stream.read_exact(&mut answer).unwrap();
        assert_eq!(answer, [0, 0, 0, 5, 12, 0, 0, 0, 0]);
    }
}

/// A server of SSH on loopback.
struct Sshd {
    child: Child,
    port: u16,
}

impl Drop for Sshd {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Sshd {
    /// One that lets the person of this key in; `None` if it does not start here.
    fn start(folder: &Path, public: &str) -> Option<Self> {
        let program = ["/usr/sbin/sshd", "/usr/bin/sshd"].into_iter();
        let program = program.map(Path::new).find(|program| program.exists())?;
        let free = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = free.local_addr().unwrap().port();
        drop(free);
        let folder = folder.join("sshd");
        fs::create_dir(&folder).unwrap();
        let key = folder.join("key");
        let mut make = Command::new("ssh-keygen");
        let made = make
            .args(["-q", "-N", "", "-t", "ed25519", "-f"])
            .arg(&key)
            .status();
        assert!(made.unwrap().success());
        fs::write(folder.join("authorized"), public).unwrap();
        let settings = format!(
            "Port {port}\nListenAddress 127.0.0.1\nHostKey {0}/key\nPidFile none\n\
             AuthorizedKeysFile {0}/authorized\nStrictModes no\nUsePAM no\n\
             PasswordAuthentication no\nKbdInteractiveAuthentication no\n\
             PermitRootLogin prohibit-password\nAllowAgentForwarding yes\n",
            folder.display()
        );
        fs::write(folder.join("settings"), settings).unwrap();
        // Debian's wants the folder /run/sshd.
        let mut command = Command::new(program);
        command
            .args(["-D", "-e", "-f"])
            .arg(folder.join("settings"));
        let mut child = command.stderr(Stdio::piped()).spawn().ok()?;
        let mut line = Vec::new();
        let mut log = child.stderr.take().unwrap();
        let mut byte = [0];
        while !line.ends_with(b"\n") && log.read(&mut byte).unwrap_or(0) > 0 {
            line.push(byte[0]);
        }
        let line = String::from_utf8_lossy(&line).into_owned();
        if !line.contains("listening") {
            eprintln!("sshd does not start: {line}");
            let _ = child.wait();
            return None;
        }
        std::thread::spawn(move || std::io::copy(&mut log, &mut std::io::sink()));
        Some(Self { child, port })
    }
}

#[test]
fn ssh_itself_logs_in_with_a_key_of_the_vault() {
    let Some(agent) = with_keys(&[("ed25519", "256"), ("rsa", "2048")]) else {
        return;
    };
    let public = fs::read_to_string(agent.dir.path().join("rsa2048.pub")).unwrap();
    let Some(sshd) = Sshd::start(agent.dir.path(), &public) else {
        eprintln!("not run: sshd is not installed, or does not start here");
        return;
    };
    let port = sshd.port.to_string();
    let known = format!("UserKnownHostsFile={}/known", agent.dir.path().display());
    let mut args = vec![
        "-p",
        &port,
        "-o",
        &known,
        "-o",
        "StrictHostKeyChecking=accept-new",
    ];
    args.extend(["-o", "BatchMode=yes", "-F", "none", "127.0.0.1"]);
    let login = agent.ssh("ssh", &[&args[..], &["echo in"]].concat());
    assert_eq!(said(&login), "in\n", "{login:?}");
    // On the other machine the keys are seen and not used.
    let inner = format!(
        "ssh-add -l | wc -l; ssh -p {port} -o {known} -o BatchMode=yes -F none 127.0.0.1 echo in"
    );
    let forwarded = agent.ssh("ssh", &[&["-A"], &args[..], &[&inner]].concat());
    assert_eq!(said(&forwarded), "2\n", "{forwarded:?}");
    let uses = agent.vault().uses().unwrap().entries;
    let (refused, allowed): (Vec<_>, Vec<_>) = uses.iter().partition(|entry| !entry.allowed);
    assert!(!allowed.is_empty() && !refused.is_empty(), "{uses:?}");
    let reason = Some("it came from another machine");
    assert!(
        refused
            .iter()
            .all(|entry| entry.reason.as_deref() == reason)
    );
    agent.connect().lock(None).unwrap();
    assert!(
        !agent
            .ssh("ssh", &[&args[..], &["echo in"]].concat())
            .status
            .success()
    );
}

#[test]
fn a_question_ends_with_the_client_of_ssh_that_it_is_about() {
    let Some(agent) = with_keys(&[("ed25519", "256")]) else {
        return;
    };
    let holding = Holding {
        pinentry: Some("/nonexistent".into()),
        ..Holding::default()
    };
    let mut client = agent.connect();
    let unlocked = client.unlock(&agent.path(), &suite::passphrase(), &holding);
    unlocked.unwrap();
    let edit = Edit::Set {
        path: "ssh/ed25519256".to_owned(),
        field: "tags".to_owned(),
        value: "ask".to_owned().into(),
    };
    let changed = agent.vault().change(&edit, &Consent::none(), &mut |_| {});
    assert!(changed.is_ok());
    fs::write(agent.dir.path().join("text"), "a text").unwrap();
    let mut signer = Command::new("ssh-keygen")
        .args([
            "-Y",
            "sign",
            "-n",
            "file\n\u{1b}x",
            "-f",
            "ed25519256.pub",
            "text",
        ])
        .current_dir(agent.dir.path())
        .env("SSH_AUTH_SOCK", agent.ssh_socket())
        .stdin(Stdio::null())
        .spawn()
        .unwrap();
    let mut wait_for = |count: usize| {
        let until = Instant::now() + Duration::from_secs(30);
        loop {
            let waiting = client.questions().unwrap();
            if waiting.len() == count {
                return waiting;
            }
            assert!(Instant::now() < until);
        }
    };
    let waiting = wait_for(1);
    let text = &waiting.first().unwrap().text;
    assert!(text.contains("for \"file\\n\\u{1b}x\" with"), "{text}");
    signer.kill().unwrap();
    signer.wait().unwrap();
    wait_for(0);
}
