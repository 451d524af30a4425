//! What `deploy/` offers to other programs is what those programs accept. A test whose program is not
//! installed checks nothing; `scripts/test` installs them where it can, and says what is missing.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use crate::support::{ok, operate, start};
use passmate_testkit::wait::until;
use passmate_testkit::wire::{Client, End, TLS13, TOKEN, connect_from, create, update, upload};

fn deploy() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deploy")
}

fn deployed(name: &str) -> String {
    let path = deploy().join(name);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Whether a program of another project can be run. Debian keeps some where users do not look.
fn has(program: &str) -> bool {
    let is_there = find(program).is_some();
    if !is_there {
        eprintln!("NOT CHECKED: {program} is not installed");
    }
    is_there
}

fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&path).chain(["/usr/sbin".into(), "/sbin".into()]);
    folders
        .map(|folder| folder.join(program))
        .find(|path| path.is_file())
}

#[test]
fn promtool_agrees_when_each_alert_fires() {
    let tests = deployed("prometheus-alerts.test.yml");
    let alerts = deployed("prometheus-alerts.yml");
    let mut count = 0;
    for name in alerts
        .lines()
        .filter_map(|line| line.trim().strip_prefix("- alert: "))
    {
        let fires = format!("        alertname: {name}\n        exp_alerts:");
        assert!(tests.contains(&fires), "no test in which {name} fires");
        count += 1;
    }
    assert!(count > 8);
    if has("promtool") {
        let output = Command::new("promtool")
            .args(["test", "rules", "prometheus-alerts.test.yml"])
            .current_dir(deploy())
            .output()
            .unwrap();
        let text =
            String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{text}");
    }
}

#[test]
fn the_recipes_name_every_sample() {
    let recipes = deploy().join("../docs/operating/recipes.md");
    let recipes = fs::read_to_string(recipes).unwrap();
    let mut count = 0;
    for sample in fs::read_dir(deploy().join("samples")).unwrap() {
        let name = sample.unwrap().file_name().into_string().unwrap();
        assert!(
            recipes.contains(&format!("deploy/samples/{name}")),
            "{name}"
        );
        count += 1;
    }
    assert!(count > 10);
}

#[test]
fn the_server_accepts_the_samples_of_its_settings() {
    let dir = tempfile::tempdir().unwrap();
    for (name, expected) in [
        ("server-behind-proxy.toml", "127.0.0.1, ::1"),
        ("server-small.toml", "64MiB"),
    ] {
        let path = deploy().join("samples").join(name);
        let shown = ok(operate(
            dir.path(),
            &["config", "show", "--config", path.to_str().unwrap()],
        ));
        assert!(shown.contains(expected), "{name}: {shown}");
    }
}

#[test]
fn the_drop_ins_of_units_have_known_settings() {
    for name in [
        "data-dir.conf",
        "log-file.conf",
        "memory.conf",
        "port-443.conf",
    ] {
        let text = deployed(&format!("samples/{name}"));
        let unit = if text.contains("[Socket]") {
            "socket"
        } else {
            "service"
        };
        assert!(
            text.contains(&format!("passmate-server.{unit}.d/{name}")),
            "{name}: its path"
        );
        for line in text
            .lines()
            .filter(|line| !line.is_empty() && !line.starts_with('#'))
        {
            let is_known = ["[Unit]", "[Service]", "[Socket]"].contains(&line)
                || [
                    "ListenStream=",
                    "MemoryHigh=",
                    "MemoryMax=",
                    "OOMPolicy=",
                    "ReadWritePaths=",
                    "RequiresMountsFor=",
                    "StandardError=append:",
                ]
                .iter()
                .any(|key| line.starts_with(key));
            assert!(is_known, "{name}: {line}");
        }
    }
}

#[test]
fn prometheus_accepts_its_sample() {
    if !has("promtool") {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let alerts = deploy().join("prometheus-alerts.yml");
    let packaged = "/usr/share/passmate-server/prometheus-alerts.yml";
    let sample = deployed("samples/prometheus.yml");
    assert!(sample.contains(packaged));
    let path = dir.path().join("prometheus.yml");
    fs::write(&path, sample.replace(packaged, alerts.to_str().unwrap())).unwrap();
    accepts(
        Command::new("promtool")
            .args(["check", "config"])
            .arg(&path),
    );
}

#[test]
fn logrotate_accepts_its_sample() {
    let path = deployed("samples/log-file.conf");
    let log = path
        .lines()
        .find_map(|line| line.strip_prefix("StandardError=append:"));
    let sample = deployed("samples/logrotate");
    assert!(sample.contains(log.unwrap()), "both name the same file");
    let Some(logrotate) = find("logrotate") else {
        eprintln!("NOT CHECKED: logrotate is not installed");
        return;
    };
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("logrotate");
    fs::write(&path, sample).unwrap();
    accepts(Command::new(logrotate).arg("--debug").arg(&path));
}

#[track_caller]
fn accepts(command: &mut Command) {
    let output = command.output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{text}");
}

/// A program that is killed when the test ends.
struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Creates and updates an account through a proxy, whose sample is changed only in addresses, and
/// checks that the server knows where the client is.
fn serves_behind(sample: &str, port: &str, run: impl FnOnce(&Path, &str) -> Command) {
    let dir = tempfile::tempdir().unwrap();
    let settings = deploy().join("samples/server-behind-proxy.toml");
    let options = ["--log-addresses", "--config", settings.to_str().unwrap()];
    let program = start(&dir.path().join("data"), &options);
    // Free when the listener is dropped.
    let free = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
    let proxy: SocketAddr = free.unwrap();
    let mut sample = deployed(sample);
    for (from, to) in [
        (port, format!("{} {proxy}", port.split(' ').next().unwrap())),
        ("127.0.0.1:29556", program.address().to_string()),
        ("sync.example.org", "localhost".to_owned()),
    ] {
        assert!(sample.contains(from), "{from}");
        sample = sample.replace(from, &to);
    }
    let proxy_dir = dir.path().join("proxy");
    fs::create_dir(&proxy_dir).unwrap();
    let running = run(&proxy_dir, &sample)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .spawn();
    let _running = Killed(running.unwrap());
    until("the proxy listens", || TcpStream::connect(proxy).is_ok());

    let source = Ipv4Addr::new(127, 0, 0, 9);
    let mut addresses = Vec::new();
    let mut connect = || {
        let tcp = connect_from(source.into(), proxy).unwrap();
        addresses.push(tcp.local_addr().unwrap());
        let mut client = Client::over(tcp, &program.certificate(), 1, &TLS13).unwrap();
        client.greet();
        client
    };
    let mut client = connect();
    client.send(&create(b"sealed"));
    let account = client.take(8).try_into().unwrap();
    assert_eq!(client.end(), End::clean());
    let mut client = connect();
    client.send(&update(account, TOKEN));
    assert_eq!(client.take_btoken().unwrap(), b"sealed");
    client.send(&[upload(b"changed").as_slice(), &account].concat());
    assert_eq!(client.end(), End::clean());
    for address in addresses {
        program.wait_for_log(&format!("address={address}"));
    }
    let log = program.log();
    assert_eq!(log.matches("result=\"confirmed\"").count(), 2, "{log}");
}

#[test]
fn clients_are_served_through_haproxy() {
    let Some(haproxy) = find("haproxy") else {
        eprintln!("NOT CHECKED: haproxy is not installed");
        return;
    };
    let sample = deploy().join("samples/haproxy.cfg");
    accepts(Command::new(&haproxy).arg("-c").arg("-f").arg(sample));
    serves_behind("samples/haproxy.cfg", "bind :::443 v4v6", |dir, text| {
        let path = dir.join("haproxy.cfg");
        fs::write(&path, text).unwrap();
        let mut command = Command::new(haproxy);
        command.args(["-db", "-f"]).arg(path);
        command
    });
}

#[test]
fn clients_are_served_through_nginx() {
    let module = "/usr/lib/nginx/modules/ngx_stream_module.so";
    let (Some(nginx), true) = (find("nginx"), Path::new(module).exists()) else {
        eprintln!("NOT CHECKED: nginx or its stream module is not installed");
        return;
    };
    serves_behind(
        "samples/nginx-stream.conf",
        "listen [::]:443 ipv6only=off",
        |dir, text| {
            let path = dir.join("nginx.conf");
            let place = dir.display();
            let begin = format!(
                "load_module {module};\ndaemon off;\nmaster_process off;\npid {place}/pid;\nerror_log \
             stderr;\nevents {{}}\n"
            );
            fs::write(&path, begin + text).unwrap();
            let mut command = Command::new(nginx);
            command
                .arg("-e")
                .arg("stderr")
                .arg("-p")
                .arg(dir)
                .arg("-c")
                .arg(path);
            command
        },
    );
}

/// Litestream keeps tables of its own in a database, and a transaction that reads.
#[test]
fn a_program_that_replicates_the_store_does_no_harm() {
    let sample = deployed("samples/litestream.yml");
    assert!(sample.contains("path: /var/lib/passmate-server/passmate.db"));
    let dir = tempfile::tempdir().unwrap();
    let program = start(dir.path(), &[]);
    let account = program.create(b"sealed");
    let database = rusqlite::Connection::open(dir.path().join("passmate.db")).unwrap();
    database
        .execute_batch(
            "PRAGMA wal_autocheckpoint = 0;
             CREATE TABLE _litestream_seq (id INTEGER PRIMARY KEY, seq INTEGER);
             CREATE TABLE _litestream_lock (id INTEGER);
             INSERT INTO _litestream_seq VALUES (1, 1);
             BEGIN;
             SELECT count(*) FROM _litestream_seq;",
        )
        .unwrap();
    for _ in 0..9 {
        program.replace(account, b"changed");
    }
    ok(operate(dir.path(), &["verify"]));
    let backup = dir.path().join("backup");
    ok(operate(dir.path(), &["backup", backup.to_str().unwrap()]));
    ok(operate(dir.path(), &["verify", backup.to_str().unwrap()]));
    database
        .execute_batch("ROLLBACK; PRAGMA wal_checkpoint(RESTART)")
        .unwrap();
    program.stop();
    let program = start(dir.path(), &[]);
    assert_eq!(program.fetch(account).unwrap(), b"changed");
}
