//! The program as its operator uses it: output, log, signals and exit codes.

use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::support::{Program, command, start};
use passmate_testkit::wait::until;
use passmate_testkit::wire::{Client, End, TLS13, TOKEN, create, update, upload};
use rustix::process::{Resource, Rlimit, Signal, prlimit};

/// Runs a command that must fail, and returns its error text and exit code.
fn refused(mut command: Command) -> (String, i32) {
    let output = command.output().unwrap();
    assert!(output.stdout.is_empty(), "{output:?}");
    (
        String::from_utf8(output.stderr).unwrap(),
        output.status.code().unwrap(),
    )
}

/// Its error is one line, its hint another.
#[track_caller]
fn has_two_lines(said: &str) {
    let lines: Vec<_> = said.lines().collect();
    assert!(
        matches!(lines.as_slice(), [error, hint]
            if error.starts_with("passmate-server: error: ")
                && hint.starts_with("passmate-server: hint: ")),
        "{said}"
    );
}

#[test]
fn arguments_and_variables_that_are_no_text_are_two_lines() {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;
    let dir = tempfile::tempdir().unwrap();
    let bytes = OsStr::from_bytes(b"\xff\xfe");
    let program = || {
        let mut command = Command::new(env!("CARGO_BIN_EXE_passmate-server"));
        command.env_clear().env("HOME", dir.path());
        command
    };
    for words in [
        &["serve", "--listen"][..],
        &["serve", "--registration"],
        &["check", "--btoken-max"],
        &["account", "show"],
        &["account"],
        &["invite", "add"],
        &["config", "show"],
        &["no-such-command"],
    ] {
        let mut command = program();
        command.args(words).arg(bytes);
        let (said, code) = refused(command);
        assert_eq!(code, 2, "{said}");
        has_two_lines(&said);
    }
    for name in [
        "CONFIG",
        "LISTEN",
        "DATA_DIR",
        "STORE",
        "STORE_FILE",
        "BANNER",
        "BTOKEN_MAX",
    ] {
        let mut command = program();
        command
            .args(["config", "show"])
            .env(format!("PASSMATE_SERVER_{name}"), bytes);
        let (said, code) = refused(command);
        assert_eq!(code, 2, "{said}");
        has_two_lines(&said);
    }
}

#[test]
fn a_data_dir_of_another_user_is_named_with_a_remedy() {
    if !rustix::process::geteuid().is_root() {
        eprintln!("not run: needs root");
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    std::fs::set_permissions(dir.path(), PermissionsExt::from_mode(0o755)).unwrap();
    let mut serve = command(dir.path());
    let (said, code) = refused({
        serve.uid(65_534).gid(65_534);
        serve
    });
    assert_eq!(code, 1);
    has_two_lines(&said);
    assert!(said.contains("belongs to another user (uid 0)"), "{said}");
}

#[test]
fn the_greeting_has_address_pin_and_setup_command() {
    let dir = tempfile::tempdir().unwrap();
    let data_dir = dir.path().join("made/by/it");
    let program = start(&data_dir, &["--listen-v2", "127.0.0.1:0"]);
    let text = &program.greeting;
    let pin = text
        .lines()
        .find_map(|line| line.strip_prefix("pin "))
        .unwrap();
    assert!(pin.starts_with("sha256:") && pin.len() == 71, "{text}");
    let port = program.addresses[0].port();
    let line = format!("    passmate sync setup 127.0.0.1:{port} --pin {pin}\n");
    assert!(text.ends_with(&line), "{text}");
    assert!(
        text.contains("(layout 1)\n") && text.contains("(layout 2)\n"),
        "{text}"
    );
    let mode = std::fs::metadata(&data_dir).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o700);
    for entry in std::fs::read_dir(&data_dir).unwrap() {
        let entry = entry.unwrap();
        let mode = entry.metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{:?}", entry.path());
    }
    // A restart keeps the pin.
    let pin = pin.to_owned();
    drop(program);
    assert!(start(&data_dir, &[]).greeting.contains(&pin));
}

#[test]
fn it_listens_in_both_ip_versions_where_there_are_two() {
    let dir = tempfile::tempdir().unwrap();
    let mut command = command(dir.path());
    command.args(["--listen", "[::]:0"]);
    let program = Program::spawn(command, dir.path());
    let port = program.addresses[0].port();
    std::net::TcpStream::connect(("127.0.0.1", port)).unwrap();
    if std::net::TcpListener::bind("[::1]:0").is_ok() {
        std::net::TcpStream::connect(("::1", port)).unwrap();
    }
}

#[test]
fn a_second_server_on_the_same_data_dir_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let first = start(dir.path(), &[]);
    let mut second = command(dir.path());
    second.args(["--listen", "127.0.0.1:0"]);
    let (text, code) = refused(second);
    assert_eq!(code, 1, "{text}");
    assert!(text.starts_with("passmate-server: error: "), "{text}");
    assert!(
        text.lines()
            .nth(1)
            .unwrap()
            .starts_with("passmate-server: hint: "),
        "{text}"
    );
    first.create(b"the first goes on");
}

#[test]
fn mistakes_end_it_with_two_lines_and_code_2() {
    let dir = tempfile::tempdir().unwrap();
    let check = |args: &[&str], part: &str| {
        let mut command = command(dir.path());
        command.args(args);
        let (text, code) = refused(command);
        assert_eq!(code, 2, "{text}");
        assert!(text.contains(part), "{text}");
        assert!(text.contains("passmate-server: hint: "), "{text}");
    };
    check(
        &["--store", "postgres://u:secret@h/d?sslmode=prefer"],
        "--store has a wrong value of sslmode",
    );
    check(
        &["--idle-timeout", "30"],
        "--idle-timeout is not a duration",
    );
    check(&["--listen", "none"], "nothing to listen on");
    let mut unknown = command(dir.path());
    unknown.env("PASSMATE_SERVER_IDLE_TIMEOT", "1s");
    let (text, code) = refused(unknown);
    assert_eq!(code, 2);
    assert!(text.contains("`PASSMATE_SERVER_IDLE_TIMEOUT`"), "{text}");
    let mut unknown = command(dir.path());
    unknown.arg("--lisen");
    let (text, code) = refused(unknown);
    assert_eq!(code, 2);
    assert!(text.contains("--listen"), "{text}");
}

#[test]
fn a_port_that_is_taken_is_named_with_a_remedy() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let dir = tempfile::tempdir().unwrap();
    let mut command = command(dir.path());
    command.args(["--listen", &address]);
    let (text, code) = refused(command);
    assert_eq!(code, 1);
    assert!(
        text.contains(&format!("cannot listen on {address}")),
        "{text}"
    );
    assert!(text.contains("uses that port"), "{text}");
}

#[test]
fn it_does_not_start_where_it_could_serve_nobody() {
    let dir = tempfile::tempdir().unwrap();
    let program = env!("CARGO_BIN_EXE_passmate-server");
    let output = Command::new("sh")
        .env_clear()
        .env("PASSMATE_SERVER_DATA_DIR", dir.path())
        .args([
            "-c",
            "ulimit -n 20; exec \"$0\" serve --listen 127.0.0.1:0",
            program,
        ])
        .output()
        .unwrap();
    passmate_testkit::process::failed(&output, 1, "allows this process 20 file descriptors");
    let script = "ulimit -n 64; exec \"$0\" serve --listen 127.0.0.1:0";
    let mut shell = Command::new("sh");
    shell
        .env_clear()
        .env("PASSMATE_SERVER_DATA_DIR", dir.path())
        .args(["-c", script, program]);
    let program = Program::spawn(shell, dir.path());
    let account = program.create(b"x");
    assert_eq!(program.fetch(account).unwrap(), b"x");
    program.stop();
}

#[test]
fn sigterm_lets_a_running_exchange_finish_and_ends_with_0() {
    let dir = tempfile::tempdir().unwrap();
    let mut program = start(dir.path(), &[]);
    let account = program.create(b"old");
    let mut client = program.greeted();
    client.send(&update(account, TOKEN));
    client.take_btoken().unwrap();
    let silent = [program.connect(), program.greeted()];
    program.signal(Signal::TERM);
    for mut silent in silent {
        assert_eq!(
            silent.end(),
            End::cut(),
            "a client that has not begun is cut"
        );
    }
    assert!(program.try_connect().is_err(), "no new client is accepted");
    client.send(&[upload(b"new").as_slice(), &account].concat());
    assert_eq!(client.end(), End::clean());
    assert_eq!(program.wait(Duration::from_secs(5)).code(), Some(0));
    let program = start(dir.path(), &[]);
    assert_eq!(program.fetch(account).unwrap(), b"new");
}

#[test]
fn a_second_signal_ends_it_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let mut program = start(dir.path(), &[]);
    let mut client = program.greeted();
    client.send(b"c");
    // The server obeys the first signal as soon as it accepts no client.
    program.signal(Signal::INT);
    until("no client is accepted", || program.try_connect().is_err());
    assert!(
        program.child.try_wait().unwrap().is_none(),
        "an exchange is running"
    );
    let begun = Instant::now();
    program.signal(Signal::INT);
    program.wait(Duration::from_secs(3));
    assert!(begun.elapsed() < Duration::from_secs(2));
    assert_ne!(client.end(), End::clean());
}

#[test]
fn sigterm_works_while_the_database_is_held() {
    let dir = tempfile::tempdir().unwrap();
    let mut program = start(dir.path(), &["--session-timeout", "1s"]);
    let account = program.create(b"old");
    let holder = rusqlite::Connection::open(dir.path().join("passmate.db")).unwrap();
    holder.execute_batch("BEGIN IMMEDIATE").unwrap();
    let mut client = program.greeted();
    client.send(&update(account, TOKEN));
    client.take_btoken().unwrap();
    client.send(&[upload(b"new").as_slice(), &account].concat());
    assert_eq!(client.end(), End::cut());
    program.signal(Signal::TERM);
    assert_eq!(program.wait(Duration::from_secs(15)).code(), Some(0));
    holder.execute_batch("ROLLBACK").unwrap();
    drop(holder);
    assert_eq!(start(dir.path(), &[]).fetch(account).unwrap(), b"old");
}

#[test]
fn a_file_size_limit_refuses_only_what_does_not_fit() {
    let dir = tempfile::tempdir().unwrap();
    // A quota needs a file system of its own. The limit on the length of a file fails in the same
    // place, if its signal is ignored.
    let served = command(dir.path());
    let mut command = Command::new("sh");
    command
        .args(["-c", r#"trap "" XFSZ; exec "$@""#, "sh"])
        .arg(served.get_program())
        .args(served.get_args());
    command
        .args(["--listen", "127.0.0.1:0"])
        .env_clear()
        .env("PASSMATE_SERVER_DATA_DIR", dir.path());
    let mut program = Program::spawn(command, dir.path());
    let account = program.create(b"old");
    let pid = rustix::process::Pid::from_child(&program.child);
    let limit = |bytes: Option<u64>| {
        let limit = Rlimit {
            current: bytes,
            maximum: None,
        };
        prlimit(Some(pid), Resource::Fsize, limit).unwrap();
    };
    limit(Some(1 << 20));
    let mut client = program.greeted();
    client.send(&create(&vec![1; 2 << 20]));
    assert_eq!(client.end(), End::cut());
    let mut client = program.greeted();
    client.send(&update(account, TOKEN));
    assert_eq!(client.take_btoken().unwrap(), b"old");
    client.send(&[upload(b"new").as_slice(), &account].concat());
    assert_eq!(client.end(), End::clean());
    limit(None);
    program.create(&vec![1; 2 << 20]);
    assert_eq!(program.fetch(account).unwrap(), b"new");
    assert!(program.child.try_wait().unwrap().is_none());
    let log = program.log();
    assert!(log.contains("disk_full") && !log.contains("ERROR"), "{log}");
}

#[test]
fn its_memory_is_in_no_core_file() {
    let dir = tempfile::tempdir().unwrap();
    let mut program = start(dir.path(), &[]);
    let limits = std::fs::read_to_string(format!("/proc/{}/limits", program.child.id())).unwrap();
    let core = limits
        .lines()
        .find(|line| line.starts_with("Max core file size"))
        .unwrap();
    let values: Vec<&str> = core.split_whitespace().skip(4).take(2).collect();
    assert_eq!(values, ["0", "0"], "{core}");
    // A process that must not be dumped belongs to root in /proc, which other users notice.
    if !rustix::process::geteuid().is_root() {
        assert!(std::fs::read_link(format!("/proc/{}/exe", program.child.id())).is_err());
    }
    program.signal(Signal::ABORT);
    let status = program.wait(Duration::from_secs(5));
    assert!(!status.core_dumped(), "{status}");
}

#[test]
fn what_was_confirmed_survives_kill_9() {
    let dir = tempfile::tempdir().unwrap();
    let mut kept = Vec::new();
    for round in 0_u8..5 {
        let mut program = start(dir.path(), &[]);
        for (account, btoken) in &kept {
            assert_eq!(program.fetch(*account).as_ref(), Some(btoken));
        }
        kept.push((program.create(&[round; 1000]), vec![round; 1000]));
        program.child.kill().unwrap();
        program.child.wait().unwrap();
    }
}

#[test]
fn sighup_reloads_all_settings_or_none() {
    let dir = tempfile::tempdir().unwrap();
    let banner = dir.path().join("banner");
    std::fs::write(&banner, "one").unwrap();
    let file = dir.path().join("server.toml");
    let write = |max: &str| {
        let text = format!("banner-file = {banner:?}\nbtoken-max = \"{max}\"\n");
        std::fs::write(&file, text).unwrap();
    };
    write("1000");
    let data_dir = dir.path().join("data");
    let program = start(&data_dir, &["--config", file.to_str().unwrap()]);
    let old_pin = program
        .greeting
        .lines()
        .find(|line| line.starts_with("pin "))
        .unwrap();
    assert_eq!(program.connect().greet(), b"one");

    std::fs::write(&banner, "two").unwrap();
    write("2000");
    std::fs::remove_file(data_dir.join("cert.pem")).unwrap();
    program.signal(Signal::HUP);
    until("a new certificate is made", || {
        data_dir.join("cert.pem").exists()
    });
    until("the banner is reloaded", || {
        program
            .try_connect()
            .is_ok_and(|mut client| client.greet() == b"two")
    });
    program.create(&[0; 2000]);

    // With a pair that does not match, all settings stay.
    let certificate = std::fs::read(data_dir.join("cert.pem")).unwrap();
    let other = tempfile::tempdir().unwrap();
    drop(start(other.path(), &[]));
    std::fs::copy(other.path().join("cert.pem"), data_dir.join("cert.pem")).unwrap();
    std::fs::write(&banner, "three").unwrap();
    program.signal(Signal::HUP);
    program.wait_for_log("nothing was reloaded");
    std::fs::write(data_dir.join("cert.pem"), certificate).unwrap();
    assert_eq!(program.connect().greet(), b"two");
    let old_pin = old_pin.to_owned();
    let log = program.log();
    assert!(log.contains("is not the key of the certificate"), "{log}");
    assert!(log.contains(old_pin.strip_prefix("pin ").unwrap()), "{log}");
}

#[test]
fn a_connection_is_one_log_line_without_account_or_address() {
    let dir = tempfile::tempdir().unwrap();
    let program = start(dir.path(), &["--log", "json"]);
    let account = program.create(b"12345");
    let mut client = program.greeted();
    client.send(&update(account, [1; 32]));
    assert_eq!(client.end(), End::cut());
    drop(std::net::TcpStream::connect(program.addresses[0]).unwrap());
    let log = program.log();
    let lines: Vec<&str> = log
        .lines()
        .filter(|line| line.contains("\"action\""))
        .collect();
    assert_eq!(lines.len(), 2, "{log}");
    assert!(
        lines[0].contains("\"action\":\"create\",\"result\":\"confirmed\""),
        "{log}"
    );
    assert!(lines[0].contains("\"bytes_in\":66"), "{log}");
    assert!(
        lines[1].contains("\"action\":\"update\",\"result\":\"unknown"),
        "{log}"
    );
    let number: String = account.iter().map(|byte| format!("{byte:02X}")).collect();
    assert!(!log.to_uppercase().contains(&number), "{log}");
    assert!(!lines.concat().contains("127.0.0.1"), "{log}");
    assert!(!log.contains("ERROR") && !log.contains("WARN"), "{log}");
}

#[test]
fn addresses_are_logged_if_the_operator_wants_them() {
    let dir = tempfile::tempdir().unwrap();
    let program = start(dir.path(), &["--log-addresses"]);
    program.create(b"x");
    let log = program.log();
    assert!(log.contains("address=127.0.0.1:"), "{log}");
}

#[test]
fn the_log_has_the_address_that_the_proxy_names() {
    let dir = tempfile::tempdir().unwrap();
    let program = start(
        dir.path(),
        &["--log-addresses", "--proxy-from", "127.0.0.1/32"],
    );
    let mut tcp = std::net::TcpStream::connect(program.addresses[0]).unwrap();
    tcp.write_all(b"PROXY TCP6 2001:db8::7 2001:db8::1 4711 29556\r\n")
        .unwrap();
    let mut client = Client::over(tcp, &dir.path().join("cert.pem"), 1, &TLS13).unwrap();
    client.greet();
    client.send(&create(b"x"));
    client.take(8);
    assert_eq!(client.end(), End::clean());
    assert!(program.try_connect().is_err(), "without a header");
    let log = program.log();
    assert!(log.contains("address=[2001:db8::7]:4711"), "{log}");
    assert!(log.contains("no_proxy_header"), "{log}");
}

#[test]
fn help_and_version_go_to_standard_output() {
    let run = |args: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_passmate-server"));
        let output = command.args(args).output().unwrap();
        assert!(output.status.success());
        String::from_utf8(output.stdout).unwrap()
    };
    assert!(run(&["--version"]).starts_with("passmate-server "));
    let help = run(&["serve", "--help"]);
    for name in [
        "--listen-v2",
        "PASSMATE_SERVER_STORE",
        "--confirm-grace",
        "SIGHUP",
    ] {
        assert!(help.contains(name), "{help}");
    }
}

#[test]
fn the_fail2ban_filter_finds_only_offenders() {
    let sample = std::fs::read_to_string(format!(
        "{}/../../deploy/fail2ban/filter.conf",
        env!("CARGO_MANIFEST_DIR")
    ))
    .unwrap();
    let rules: Vec<&str> = sample
        .lines()
        .filter_map(|line| {
            line.trim()
                .strip_prefix("failregex = ")
                .or(line.strip_prefix("            "))
        })
        .collect();
    assert_eq!(rules.len(), 2);
    let jail = std::fs::read_to_string(format!(
        "{}/../../deploy/fail2ban/jail.conf",
        env!("CARGO_MANIFEST_DIR")
    ))
    .unwrap();
    assert!(
        jail.contains("filter   = passmate-server") && jail.contains("port     = 29556"),
        "{jail}"
    );
    let dir = tempfile::tempdir().unwrap();
    let program = start(dir.path(), &["--log-addresses"]);
    let account = program.create(b"sealed");
    program.fetch(account).unwrap();
    let mut stranger = program.greeted();
    stranger.send(&update(account, [1; 32]));
    stranger.end();
    let log = program.log();
    assert!(log.contains("address=127.0.0.1:"), "{log}");
    // The filter as fail2ban expands it, for both IP versions. It uses the regex syntax of Python.
    let script = "import re, sys
rules = [rule.replace('<HOST>', r'(?:::f{4,6}:)?(?P<host>[\\w\\-.^_]*\\w|[0-9a-fA-F:]+)') for rule in sys.argv[1:]]
for line in sys.stdin:
    found = [match.group('host') for match in (re.search(rule, line) for rule in rules) if match]
    if found: print(found[0])";
    let mut python = Command::new("python3");
    let mut child = match python
        .arg("-c")
        .arg(script)
        .args(&rules)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
    {
        Ok(child) => child,
        Err(_) => return eprintln!("not run: there is no python3"),
    };
    let six = log.replace("127.0.0.1:", "[2001:db8::7]:");
    child
        .stdin
        .take()
        .unwrap()
        .write_all(format!("{log}{six}").as_bytes())
        .unwrap();
    let found = String::from_utf8(child.wait_with_output().unwrap().stdout).unwrap();
    assert_eq!(
        found, "127.0.0.1\n2001:db8::7\n",
        "one refusal, in two forms: {log}"
    );
}

/// A server whose standard error goes where the shell says.
fn start_with_log_to(data_dir: &std::path::Path, redirection: &str) -> Program {
    let program = env!("CARGO_BIN_EXE_passmate-server");
    let script = format!("exec \"$0\" serve --listen 127.0.0.1:0 {redirection}");
    let mut shell = Command::new("sh");
    shell
        .env_clear()
        .env("PASSMATE_SERVER_DATA_DIR", data_dir)
        .args(["-c", &script, program]);
    Program::spawn(shell, data_dir)
}

#[test]
fn it_goes_on_without_its_log() {
    for redirection in ["2>/dev/full", "2>&-"] {
        let dir = tempfile::tempdir().unwrap();
        let program = start_with_log_to(dir.path(), redirection);
        let account = program.create(b"12345");
        let mut client = program.greeted();
        client.send(&update(account, [1; 32]));
        assert_eq!(client.end(), End::cut());
        assert_eq!(program.fetch(account).unwrap(), b"12345");
        program.stop();
    }
}

#[test]
fn the_journal_gets_levels_and_no_times() {
    let dir = tempfile::tempdir().unwrap();
    let (reading, writing) = rustix::pipe::pipe().unwrap();
    let inode = rustix::fs::fstat(&writing).unwrap();
    let mut command = command(dir.path());
    command
        .args(["--listen", "127.0.0.1:0"])
        .env("RUST_LOG", "no=such=level")
        .env(
            "JOURNAL_STREAM",
            format!("{}:{}", inode.st_dev, inode.st_ino),
        )
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(writing);
    let mut child = command.spawn().unwrap();
    drop(command);
    let mut log = std::io::BufReader::new(std::fs::File::from(reading));
    let mut line = String::new();
    std::io::BufRead::read_line(&mut log, &mut line).unwrap();
    assert!(line.starts_with("<4>RUST_LOG is invalid"), "{line}");
    assert!(line.contains("no=such=level"), "{line}");
    child.kill().unwrap();
    child.wait().unwrap();
}
