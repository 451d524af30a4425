//! Under systemd: notifications, passed sockets, and the units of this repository.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use crate::support::{Program, command};
use passmate_testkit::wait::until;
use passmate_testkit::wire::{TOKEN, create, update};

fn told(socket: &UnixDatagram) -> String {
    let mut buffer = [0; 512];
    let len = socket.recv(&mut buffer).unwrap();
    String::from_utf8_lossy(&buffer[..len]).into_owned()
}

#[test]
fn the_service_manager_hears_of_every_step() {
    let dir = tempfile::tempdir().unwrap();
    let place = dir.path().join("notify");
    let socket = UnixDatagram::bind(&place).unwrap();
    socket
        .set_read_timeout(Some(Duration::from_secs(10)))
        .unwrap();
    let data_dir = dir.path().join("data");
    let mut serve = command(&data_dir);
    serve
        .args(["--listen", "127.0.0.1:0"])
        .env("NOTIFY_SOCKET", &place)
        .env("WATCHDOG_USEC", "200000");
    let mut program = Program::spawn(serve, &data_dir);
    let ready = told(&socket);
    assert!(
        ready.starts_with("READY=1\nSTATUS=listening on 127.0.0.1:"),
        "{ready}"
    );
    for _ in 0..3 {
        assert_eq!(told(&socket), "WATCHDOG=1");
    }
    let next = || {
        std::iter::repeat_with(|| told(&socket))
            .find(|text| text != "WATCHDOG=1")
            .unwrap()
    };
    program.signal(rustix::process::Signal::HUP);
    assert!(next().starts_with("RELOADING=1\nMONOTONIC_USEC="));
    assert!(next().starts_with("READY=1"));
    program.signal(rustix::process::Signal::TERM);
    assert!(next().starts_with("STOPPING=1"));
    assert!(program.wait(Duration::from_secs(10)).success());
}

#[test]
fn a_store_that_hangs_fails_the_watchdog() {
    let dir = tempfile::tempdir().unwrap();
    let place = dir.path().join("notify");
    let socket = UnixDatagram::bind(&place).unwrap();
    let data_dir = dir.path().join("data");
    let mut serve = command(&data_dir);
    serve
        .args(["--listen", "127.0.0.1:0"])
        .env("NOTIFY_SOCKET", &place)
        .env("WATCHDOG_USEC", "200000");
    let program = Program::spawn(serve, &data_dir);
    program.create(b"sealed");
    let Some(mut hanging) = hang_flushes(&program) else {
        return;
    };
    let mut client = program.greeted();
    client.send(&create(b"never confirmed"));
    program.wait_for_log("the store thread hangs");
    // From now on there is no sign of life.
    socket.set_nonblocking(true).unwrap();
    while socket.recv(&mut [0; 512]).is_ok() {}
    socket.set_nonblocking(false).unwrap();
    let silence = Duration::from_secs(1);
    socket.set_read_timeout(Some(silence)).unwrap();
    assert!(socket.recv(&mut [0; 512]).is_err());
    let _ = hanging.kill();
    let _ = hanging.wait();
    socket
        .set_read_timeout(Some(Duration::from_secs(10)))
        .unwrap();
    assert_eq!(told(&socket), "WATCHDOG=1", "the disk answers again");
}

/// Makes each flush of the store thread take a minute. `None`: strace is not available here.
fn hang_flushes(program: &Program) -> Option<Child> {
    let tasks = std::fs::read_dir(format!("/proc/{}/task", program.child.id())).unwrap();
    let mut tasks = tasks.map(|task| task.unwrap().path());
    let is_store = |task: &Path| std::fs::read_to_string(task.join("comm")).unwrap() == "store\n";
    let store = tasks.find(|task| is_store(task)).unwrap();
    let inject = "inject=fsync,fdatasync:delay_enter=60000000";
    let strace = Command::new("strace")
        .args(["-e", "trace=fsync,fdatasync", "-e", inject, "-p"])
        .arg(store.file_name().unwrap())
        .stdin(Stdio::null())
        .stderr(Stdio::piped())
        .spawn();
    let mut strace = strace.ok()?;
    let mut line = String::new();
    let mut said = BufReader::new(strace.stderr.take()?);
    said.read_line(&mut line).ok()?;
    if line.contains("attached") {
        std::thread::spawn(move || said.lines().map_while(Result::ok).for_each(drop));
        return Some(strace);
    }
    eprintln!("not run: needs strace, and leave to use it: {line}");
    let _ = strace.wait();
    None
}

/// Starts a server with a socket as descriptor 3, as systemd passes it.
fn start_on(socket: &TcpListener, data_dir: &Path, name: &str) -> Program {
    // The shell moves the descriptor, and keeps its process id when it becomes the server.
    let script = format!(
        "exec 3<&{fd}; export LISTEN_FDS=1 LISTEN_PID=$$ LISTEN_FDNAMES={name}; exec \"$@\"",
        fd = socket.as_raw_fd()
    );
    let mut shell = Command::new("/bin/sh");
    shell
        .args([
            "-c",
            &script,
            "sh",
            env!("CARGO_BIN_EXE_passmate-server"),
            "serve",
            "--data-dir",
        ])
        .arg(data_dir);
    // Keep the log short.
    shell
        .env_clear()
        .env("RUST_LOG", "error")
        .stdin(Stdio::null());
    // Rust opens sockets with close-on-exec, which the program must not inherit.
    rustix::io::fcntl_setfd(socket, rustix::io::FdFlags::empty()).unwrap();
    Program::spawn(shell, data_dir)
}

#[test]
fn a_restart_through_a_held_socket_loses_no_connection() {
    let dir = tempfile::tempdir().unwrap();
    let socket = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap();
    let mut program = start_on(&socket, dir.path(), "layout1");
    assert_eq!(program.addresses, [address]);
    let account = program.create(b"sealed");
    let certificate = dir.path().join("cert.pem");
    let (done, is_over) = (
        Arc::new(AtomicU32::new(0)),
        Arc::new(AtomicBool::new(false)),
    );
    let (counted, told) = (Arc::clone(&done), Arc::clone(&is_over));
    let fetches = std::thread::spawn(move || {
        while !told.load(Ordering::SeqCst) {
            let mut client = passmate_testkit::wire::Client::connect(
                address,
                &certificate,
                1,
                &passmate_testkit::wire::TLS13,
            );
            client.greet();
            client.send(&update(account, TOKEN));
            assert_eq!(
                client.take_btoken().unwrap(),
                b"sealed",
                "after {}",
                counted.load(Ordering::SeqCst)
            );
            drop(client);
            counted.fetch_add(1, Ordering::SeqCst);
        }
    });
    for _ in 0..3 {
        let before = done.load(Ordering::SeqCst);
        until("clients are served", || {
            done.load(Ordering::SeqCst) > before + 5
        });
        program.signal(rustix::process::Signal::TERM);
        assert!(program.wait(Duration::from_secs(15)).success());
        program = start_on(&socket, dir.path(), "layout1");
    }
    is_over.store(true, Ordering::SeqCst);
    fetches.join().unwrap();
    drop(program);
}

#[test]
fn an_unsuitable_socket_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let run = |redirect: &str, name: &str| {
        let script = format!(
            "{redirect}; export LISTEN_FDS=1 LISTEN_PID=$$ LISTEN_FDNAMES={name}; exec \"$@\""
        );
        let mut shell = Command::new("/bin/sh");
        shell
            .args([
                "-c",
                &script,
                "sh",
                env!("CARGO_BIN_EXE_passmate-server"),
                "serve",
                "--data-dir",
            ])
            .arg(dir.path());
        shell.env_clear().stdin(Stdio::null()).output().unwrap()
    };
    let output = run("exec 3</dev/null", "layout1");
    assert_eq!(output.status.code(), Some(1));
    assert!(
        String::from_utf8_lossy(&output.stderr).contains("is not a listening TCP socket"),
        "{output:?}"
    );
    let output = run("exec 3</dev/null", "layout7");
    assert!(
        String::from_utf8_lossy(&output.stderr).contains("layout7"),
        "{output:?}"
    );
}

fn deployed(name: &str) -> String {
    std::fs::read_to_string(format!(
        "{}/../../deploy/{name}",
        env!("CARGO_MANIFEST_DIR")
    ))
    .unwrap()
}

#[test]
fn the_units_are_consistent() {
    let known: BTreeSet<&str> = ["[Unit]", "[Service]", "[Socket]", "[Timer]", "[Install]"].into();
    for name in [
        "passmate-server.service",
        "passmate-server.socket",
        "passmate-server-backup.service",
        "passmate-server-backup.timer",
    ] {
        let text = deployed(name);
        for line in text
            .lines()
            .filter(|line| !line.is_empty() && !line.starts_with('#'))
        {
            assert!(
                known.contains(line)
                    || line
                        .split_once('=')
                        .is_some_and(|(key, _)| key.chars().all(char::is_alphanumeric)),
                "{name}: {line}"
            );
        }
        // The program accepts the command of a unit.
        let starts = text.lines().filter_map(|line| {
            line.strip_prefix("ExecStart=/usr/bin/passmate-server ")
                .or(line.strip_prefix("ExecStartPost=/usr/bin/passmate-server "))
        });
        for words in starts {
            let mut help = Command::new(env!("CARGO_BIN_EXE_passmate-server"));
            let output = help
                .env_clear()
                .args(words.split(' '))
                .arg("--help")
                .output()
                .unwrap();
            assert!(output.status.success(), "{name}: {words}: {output:?}");
        }
        // A unit that is skipped looks like one that succeeded, and nothing here needs a network
        // that is up.
        for absent in ["Condition", "network-online", "--data-dir"] {
            let is_in = |line: &str| !line.starts_with('#') && line.contains(absent);
            assert!(!text.lines().any(is_in), "{name}: {absent}");
        }
    }
    let service = deployed("passmate-server.service");
    for needed in [
        "Type=notify",
        "StateDirectory=passmate-server",
        "NoNewPrivileges=yes",
        "ProtectSystem=strict",
        "WatchdogSec=",
    ] {
        assert!(service.contains(needed), "{needed}");
    }
    assert!(
        deployed("sysusers.conf").contains("u passmate ")
            && deployed("tmpfiles.conf").contains("/var/backups/passmate-server")
    );
    // If systemd is installed, it verifies the units.
    let units = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deploy/passmate-server.socket");
    if let Ok(output) = Command::new("systemd-analyze")
        .arg("verify")
        .arg(units)
        .output()
    {
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        let is_about_us = |line: &&str| line.contains("Unknown") && line.contains("deploy/");
        assert_eq!(text.lines().find(is_about_us), None, "{text}");
    }
}

/// The paths of the manual and of the packaged configuration are those that the units may write to.
#[test]
fn units_settings_and_manual_name_the_same_folders() {
    let manual = format!("{}/../../docs/operating.md", env!("CARGO_MANIFEST_DIR"));
    let manual = std::fs::read_to_string(manual).unwrap();
    let value = |unit: &str, key: &str| {
        let unit = deployed(unit);
        let value = unit.lines().find_map(|line| line.strip_prefix(key));
        value.unwrap_or_else(|| panic!("{key}")).to_owned()
    };
    let state = value("passmate-server.service", "StateDirectory=");
    assert_eq!(
        value("passmate-server-backup.service", "StateDirectory="),
        state
    );
    let data_dir = format!("/var/lib/{state}");
    let settings = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deploy/server.toml");
    let shown = Command::new(env!("CARGO_BIN_EXE_passmate-server"))
        .env_clear()
        .args(["config", "show", "--config"])
        .arg(settings)
        .output()
        .unwrap();
    let shown = String::from_utf8(shown.stdout).unwrap();
    assert!(
        shown.contains(&format!("sqlite:{data_dir}/passmate.db")),
        "{shown}"
    );
    assert!(manual.contains(&data_dir));

    let run = value("passmate-server.service", "RuntimeDirectory=");
    let sockets: BTreeSet<&str> = manual
        .split("unix:")
        .skip(1)
        .filter_map(|rest| rest.split(['`', ' ', '\n']).next())
        .filter(|path| path.starts_with('/'))
        .collect();
    assert!(!sockets.is_empty());
    for socket in sockets {
        assert!(socket.starts_with(&format!("/run/{run}/")), "{socket}");
    }
}

#[test]
fn package_and_container_name_existing_files() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    for manifest in ["crates/server/Cargo.toml", "crates/cli/Cargo.toml"] {
        let text = std::fs::read_to_string(root.join(manifest)).unwrap();
        let named = text
            .lines()
            .filter_map(|line| line.trim().strip_prefix("[\"../../"))
            .map(|rest| rest.split('"').next().unwrap());
        let mut count = 0;
        for path in named {
            assert!(
                root.join(path.trim_end_matches("/*")).exists(),
                "{manifest} names {path}"
            );
            count += 1;
        }
        assert!(count >= 4, "{manifest}");
    }
    for script in ["postinst", "prerm", "postrm"] {
        let path = root.join("deploy/debian").join(script);
        assert!(
            Command::new("/bin/sh")
                .arg("-n")
                .arg(&path)
                .status()
                .unwrap()
                .success(),
            "{script}"
        );
        assert!(
            deployed(&format!("debian/{script}")).contains("set -e"),
            "{script}"
        );
    }
    let container = std::fs::read_to_string(root.join("Containerfile")).unwrap();
    // Kubernetes refuses a name where it must know that the user is not root.
    assert!(container.contains("\nUSER 10556:10556\n"));
    assert!(container.contains("CMD [\"passmate-health\"]"));
    for line in container
        .lines()
        .filter(|line| line.starts_with("COPY deploy/"))
    {
        let path = line.split_whitespace().nth(1).unwrap();
        assert!(root.join(path).exists(), "{path}");
    }
    assert!(deployed("compose.yml").contains("test: [\"CMD\", \"passmate-health\"]"));
    let ignored = std::fs::read_to_string(root.join(".dockerignore")).unwrap();
    assert!(ignored.lines().any(|line| line == "target"));
    let manual = std::fs::read_to_string(root.join("docs/operating/container.md")).unwrap();
    let all = [container, deployed("compose.yml"), manual].concat();
    let variables = all
        .split(|c: char| !c.is_ascii_uppercase() && c != '_' && !c.is_ascii_digit())
        .filter(|word| word.len() > "PASSMATE_SERVER_".len());
    for name in variables.filter(|name| name.starts_with("PASSMATE_SERVER_")) {
        let option = name
            .trim_start_matches("PASSMATE_SERVER_")
            .to_lowercase()
            .replace('_', "-");
        let help = Command::new(env!("CARGO_BIN_EXE_passmate-server"))
            .env_clear()
            .args(["serve", "--help"])
            .output()
            .unwrap();
        assert!(
            String::from_utf8_lossy(&help.stdout).contains(&format!("--{option} ")),
            "{name}"
        );
    }
}
