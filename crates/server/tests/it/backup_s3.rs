//! Backups in an object store: moto, which `scripts/test` installs, with faults on demand. A test
//! fails if it is not installed.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use passmate_testkit::wait::until;
use rustix::process::{Pid, Signal, kill_process};

use crate::support::{PROGRAM, failed, ok, operate, start, text};

/// What the faults of the store say in their messages, and a secret that no request shows.
const SECRETS: [&str; 3] = ["wJalr", "qiZzuCTQLPYi9Mte8sr", "secret-token"];

/// An object store with the bucket `vaults`. It ends with the test.
struct Store {
    child: Child,
    dir: tempfile::TempDir,
    port: u16,
    is_tls: bool,
    key: [String; 2],
}

impl Store {
    fn start(more: &[&str]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let python = root.join("../../target/s3/bin/python");
        assert!(
            python.is_file(),
            "needs moto from PyPI in {}: scripts/test installs it",
            python.display()
        );
        let mut child = Command::new(python)
            .arg("-B")
            .arg(root.join("tests/it/s3_store.py"))
            .arg(dir.path())
            .args(more)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let lines: Vec<String> = lines
            .map_while(Result::ok)
            .take_while(|line| line != "ready")
            .collect();
        let port = lines.first().expect("it has started").parse().unwrap();
        let given = |at: usize, other: &str| lines.get(at).map_or(other, String::as_str).to_owned();
        Self {
            child,
            dir,
            port,
            is_tls: more.contains(&"--tls"),
            key: [given(1, "AKIAEXAMPLE"), given(2, SECRETS[1])],
        }
    }

    /// From now on some requests are answered so.
    fn fault(&self, faults: &str) {
        let _ = fs::remove_file(self.dir.path().join("hit"));
        fs::write(self.dir.path().join("fault"), faults).unwrap();
    }

    fn mend(&self) {
        fs::remove_file(self.dir.path().join("fault")).unwrap();
    }

    fn wait_for_hit(&self) {
        until("a request meets the fault", || {
            self.dir.path().join("hit").exists()
        });
    }

    fn command(&self, data_dir: &Path, words: &[&str]) -> Command {
        let mut command = Command::new(PROGRAM);
        let scheme = if self.is_tls { "https" } else { "http" };
        command
            .env_clear()
            .env(
                "AWS_ENDPOINT_URL",
                format!("{scheme}://127.0.0.1:{}", self.port),
            )
            .env("AWS_ACCESS_KEY_ID", &self.key[0])
            .env("AWS_SECRET_ACCESS_KEY", &self.key[1])
            .env("RUST_LOG", "trace")
            .args(words)
            .arg("--data-dir")
            .arg(data_dir);
        command
    }

    fn run(&self, data_dir: &Path, words: &[&str]) -> Output {
        let output = self.command(data_dir, words).output().unwrap();
        self.check_secrets(&output);
        output
    }

    fn check_secrets(&self, output: &Output) {
        let said = [output.stdout.as_slice(), &output.stderr].concat();
        let said = String::from_utf8_lossy(&said);
        for secret in SECRETS.iter().chain([&self.key[1].as_str()]) {
            assert!(!said.contains(secret), "{said}");
        }
    }

    fn http(&self, method: &str, target: &str, body: &[u8]) -> Vec<u8> {
        self.exchange(method, target, body).1
    }

    /// The head of an answer and its body.
    fn exchange(&self, method: &str, target: &str, body: &[u8]) -> (Vec<u8>, Vec<u8>) {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        let head = format!(
            "{method} {target} HTTP/1.1\r\nhost: 127.0.0.1:{}\r\nconnection: close\r\n\
             content-length: {}\r\nauthorization: AWS4-HMAC-SHA256 Credential=AKIAEXAMPLE/20261127/\
             us-east-1/s3/aws4_request, SignedHeaders=host, Signature=0\r\n\r\n",
            self.port,
            body.len()
        );
        stream.write_all(&[head.as_bytes(), body].concat()).unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
        let at = answer
            .windows(4)
            .position(|four| four == b"\r\n\r\n")
            .unwrap();
        assert!(answer.starts_with(b"HTTP/1.1 200"), "{method} {target}");
        let body = answer.split_off(at + 4);
        (answer, body)
    }

    fn head(&self, key: &str) -> Vec<u8> {
        self.exchange("GET", &format!("/vaults/{key}"), b"").0
    }

    fn put(&self, key: &str, body: &[u8]) {
        self.http("PUT", &format!("/vaults/{key}"), body);
    }

    fn get(&self, key: &str) -> Vec<u8> {
        self.http("GET", &format!("/vaults/{key}"), b"")
    }

    fn named(&self, target: &str, tag: &str) -> Vec<String> {
        let listed = String::from_utf8(self.http("GET", target, b"")).unwrap();
        let tag = format!("<{tag}>");
        let parts = listed.split(&tag).skip(1);
        parts
            .map(|part| part.split('<').next().unwrap().to_owned())
            .collect()
    }

    fn objects(&self) -> Vec<String> {
        self.named("/vaults?list-type=2", "Key")
    }

    /// Uploads that were neither completed nor aborted.
    fn uploads(&self) -> Vec<String> {
        self.named("/vaults?uploads", "UploadId")
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A data dir with one small account, and no server.
fn small() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let program = start(dir.path(), &[]);
    program.create(b"first");
    program.stop();
    dir
}

/// An account and its btoken.
type Account = ([u8; 8], Vec<u8>);

/// A data dir with so much that a backup has two parts, and its accounts.
fn large() -> (tempfile::TempDir, Vec<Account>) {
    let dir = tempfile::tempdir().unwrap();
    let program = start(dir.path(), &[]);
    let accounts = (0..6_u8).map(|number| {
        let btoken = vec![number; 1_900_000];
        (program.create(&btoken), btoken)
    });
    let accounts = accounts.collect();
    program.stop();
    (dir, accounts)
}

#[test]
fn the_sample_sends_the_nightly_backup_to_an_object_store() {
    let store = Store::start(&[]);
    let dir = small();
    let deploy = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deploy");
    let sample = fs::read_to_string(deploy.join("samples/backup-s3.conf")).unwrap();
    let unit = fs::read_to_string(deploy.join("passmate-server-backup.service")).unwrap();
    // The unit has no network, and an empty `ExecStart=` takes its command away.
    assert!(unit.contains("\nPrivateNetwork=yes\n") && sample.contains("\nPrivateNetwork=no\n"));
    let mut lines = sample
        .lines()
        .filter_map(|line| line.strip_prefix("ExecStart="));
    assert_eq!(lines.next(), Some(""));
    let line = lines.next().unwrap().replace("my-backups", "vaults");
    let mut words = line.split(' ');
    assert_eq!(words.next(), Some("/usr/bin/passmate-server"));
    let words: Vec<&str> = words.collect();
    let said = ok(store.run(dir.path(), &words));
    assert!(said.starts_with("s3://vaults/passmate.2"), "{said}");
}

/// No temporary folder is left beside the store.
fn check_nothing_left(dir: &Path) {
    for entry in fs::read_dir(dir).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        assert!(!name.starts_with(".passmate-"), "{name}");
    }
}

#[test]
fn a_backup_in_an_object_store_comes_back() {
    let store = Store::start(&[]);
    let (dir, accounts) = large();
    let url = "s3://vaults/our server/nightly";
    let said = ok(store.run(dir.path(), &["backup", url]));
    assert!(
        said.starts_with("s3://vaults/our server/nightly holds 6 accounts with 11400000 bytes"),
        "{said}"
    );
    assert_eq!((store.objects().len(), store.uploads().len()), (1, 0));
    let there = store.get("our%20server/nightly");
    assert!(there.starts_with(b"passmate-server backup\n") && there.len() > (8 << 20));
    let said = ok(operate(dir.path(), &["log"]));
    assert!(said.contains(url), "{said}");
    let checked = operate(dir.path(), &["check", "--json"]).stdout;
    assert!(!String::from_utf8(checked).unwrap().contains("no backup"));
    check_nothing_left(dir.path());

    let said = ok(store.run(dir.path(), &["verify", url]));
    assert!(
        said.starts_with("s3://vaults/our server/nightly is intact: 6"),
        "{said}"
    );
    let other = tempfile::tempdir().unwrap();
    let new = other.path().join("new");
    let said = ok(store.run(&new, &["restore", url]));
    assert!(said.contains("restored 6 accounts as of 2"), "{said}");
    check_nothing_left(&new);
    let said = ok(operate(&new, &["log"]));
    assert!(said.contains(url), "{said}");
    let program = start(&new, &[]);
    for (account, btoken) in &accounts {
        assert_eq!(program.fetch(*account).as_ref(), Some(btoken));
    }
    // An object from the store is a file like any other, and the other way round.
    let file = other.path().join("file");
    fs::write(&file, &there).unwrap();
    ok(operate(dir.path(), &["verify", text(&file)]));
    ok(operate(&new, &["backup", text(&file)]));
    store.put("by-hand", &fs::read(&file).unwrap());
    let said = ok(store.run(dir.path(), &["verify", "s3://vaults/by-hand", "--json"]));
    assert!(said.contains("\"accounts\":6"), "{said}");
    let words = ["restore", "s3://vaults/by-hand"];
    failed(&store.run(dir.path(), &words), 12, "there is a store");
    check_nothing_left(dir.path());
}

#[test]
fn only_a_backup_is_replaced_and_the_key_stays_here() {
    let store = Store::start(&[]);
    let dir = small();
    let run = |words: &[&str]| store.run(dir.path(), words);
    for (key, body) in [
        ("text", &b"precious"[..]),
        ("empty", b""),
        ("long", &[7; 9000]),
    ] {
        store.put(key, body);
        let url = format!("s3://vaults/{key}");
        failed(&run(&["backup", &url]), 12, "exists and is not a backup");
        assert_eq!(store.get(key), body);
        failed(
            &run(&["verify", &url]),
            6,
            &format!("{url} is not a backup"),
        );
    }
    ok(run(&["backup", "s3://vaults/x"]));
    let earlier = store.get("x");
    ok(run(&["invite", "open", "--seats=1", "--for=1h"]));
    ok(run(&["backup", "s3://vaults/x"]));
    assert_ne!(store.get("x"), earlier);

    let words = ["backup", "s3://vaults/key", "--with-key"];
    let refused = run(&words);
    failed(&refused, 2, "the TLS key would lie readable");
    let wrong = ["backup", "s3://vaults/folder/"];
    failed(&run(&wrong), 2, "s3://BUCKET/FOLDER/NAME");
    assert_eq!(store.objects().len(), 4);
    failed(
        &run(&["verify", "s3://vaults/none"]),
        10,
        "there is no s3://vaults/none",
    );
    store.put("none.2026-01-02T030405Z", b"x");
    store.put("none.2026-01-01T030405Z", b"x");
    let said = run(&["restore", "s3://vaults/none", "--force"]);
    failed(
        &said,
        10,
        "the newest of that name is s3://vaults/none.2026-01-02T030405Z",
    );
}

#[test]
fn rotation_in_an_object_store_removes_only_old_backups() {
    let store = Store::start(&[]);
    let dir = small();
    let run = |words: &[&str]| store.run(dir.path(), words);
    ok(run(&["backup", "s3://vaults/a/nightly"]));
    let whole = store.get("a/nightly");
    for day in 1..=5 {
        store.put(&format!("a/nightly.2020-01-0{day}T000000Z"), &whole);
    }
    let others = [
        "a/nightly.2019-01-01T000000Z",
        "a/nightly.2020-01-01",
        "a/nightly.2020-01-01T000000Z/x",
        "a/nightly2.2020-01-01T000000Z",
        "nightly.2020-01-01T000000Z",
        "mine",
    ];
    others.iter().for_each(|key| store.put(key, b"precious"));
    store.put("a/nightly.2190-01-01T000000Z", &whole);
    let said = ok(run(&["backup", "s3://vaults/a/nightly", "--keep", "3"]));
    assert_eq!(
        said.matches("removed s3://vaults/a/nightly.2").count(),
        4,
        "{said}"
    );
    let mut left = store.objects();
    left.retain(|key| !others.contains(&key.as_str()));
    // The new one, whose time is now, is the last.
    assert_eq!(left.len(), 4);
    assert_eq!(
        left[..3],
        [
            "a/nightly",
            "a/nightly.2020-01-04T000000Z",
            "a/nightly.2020-01-05T000000Z"
        ]
    );
    assert_eq!(store.objects().len(), left.len() + others.len());

    // A store that has lost its accounts removes nothing.
    let other = tempfile::tempdir().unwrap();
    start(other.path(), &[]).stop();
    std::thread::sleep(std::time::Duration::from_millis(1100));
    let words = ["backup", "s3://vaults/a/nightly", "--keep", "1"];
    let refused = store.run(other.path(), &words);
    failed(
        &refused,
        31,
        "has 0 accounts, and the newest earlier backup has 1",
    );
    assert_eq!(store.objects().len(), left.len() + others.len() + 1);
    // One is in an archive, from which nobody reads. It stays, and the others go.
    store.fault("answer GET nightly.2020-01-04 403 InvalidObjectState");
    std::thread::sleep(std::time::Duration::from_millis(1100));
    failed(&run(&words), 22, "InvalidObjectState");
    let mut left = store.objects();
    left.retain(|key| key.starts_with("a/nightly.20") && !others.contains(&key.as_str()));
    assert_eq!(left.len(), 2, "{left:?}");
    assert_eq!(left[0], "a/nightly.2020-01-04T000000Z");
    store.fault("answer DELETE nightly 403 AccessDenied");
    std::thread::sleep(std::time::Duration::from_millis(1100));
    let refused = run(&words);
    failed(&refused, 22, "--keep also needs s3:DeleteObject");
}

#[test]
fn an_interrupted_upload_leaves_nothing() {
    let store = Store::start(&[]);
    let (dir, _) = large();
    let words = ["backup", "s3://vaults/nightly", "--keep", "3"];
    for signal in [Signal::TERM, Signal::INT, Signal::HUP] {
        store.fault("hang PUT partNumber=2");
        let mut command = store.command(dir.path(), &words);
        let child = command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let child = child.spawn().unwrap();
        store.wait_for_hit();
        assert_eq!(store.uploads().len(), 1);
        kill_process(Pid::from_child(&child), signal).unwrap();
        let output = child.wait_with_output().unwrap();
        store.check_secrets(&output);
        failed(&output, 3, "there is no backup s3://vaults/nightly.2");
        assert_eq!((store.objects(), store.uploads()), (vec![], vec![]));
        check_nothing_left(dir.path());
    }
    // A part that the store refuses, or that it cannot take, whatever it is asked.
    for (fault, code, what) in [
        (
            "answer PUT partNumber=1 400 BadDigest",
            6,
            "not what was sent",
        ),
        (
            "answer PUT partNumber=2 503 SlowDown",
            20,
            "fails (503 SlowDown)",
        ),
        ("answer POST uploadId= 403 AccessDenied", 22, "s3:PutObject"),
        (
            "answer POST uploadId= 200",
            20,
            "not that of an object store",
        ),
    ] {
        store.fault(fault);
        failed(&store.run(dir.path(), &words), code, what);
        assert_eq!(
            (store.objects(), store.uploads()),
            (vec![], vec![]),
            "{fault}"
        );
    }
    store.fault("answer PUT partNumber=2 400 X\nanswer DELETE uploadId= 403 AccessDenied");
    let output = store.run(dir.path(), &words);
    failed(
        &output,
        22,
        "a lifecycle rule for incomplete uploads removes them",
    );
    assert_eq!((store.objects().len(), store.uploads().len()), (0, 1));
    // None of them was noted as a backup.
    store.mend();
    assert!(!dir.path().join("last-backup").exists());
    ok(store.run(dir.path(), &words));
    assert!(dir.path().join("last-backup").exists());
}

#[test]
fn a_signal_ends_the_removal_of_old_backups() {
    let store = Store::start(&[]);
    let dir = small();
    ok(store.run(dir.path(), &["backup", "s3://vaults/x"]));
    store.put("x.2020-01-01T000000Z", &store.get("x"));
    store.fault("hang DELETE /vaults/x");
    let mut command = store.command(dir.path(), &["backup", "s3://vaults/x", "--keep", "1"]);
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let child = child.spawn().unwrap();
    store.wait_for_hit();
    kill_process(Pid::from_child(&child), Signal::INT).unwrap();
    let output = child.wait_with_output().unwrap();
    failed(
        &output,
        3,
        "the backup is made, and surplus ones may be left",
    );
    assert_eq!(store.objects().len(), 3);
}

#[test]
fn accounts_in_postgres_go_through_an_object_store_too() {
    let store = Store::start(&[]);
    let dir = tempfile::tempdir().unwrap();
    let cluster = passmate_testkit::postgres::Cluster::new();
    let here = cluster.url();
    let program = start(dir.path(), &["--store", &here]);
    let account = program.create(b"first");
    let backup = ["backup", "s3://vaults/x", "--store", &here];
    let said = ok(store.run(dir.path(), &backup));
    assert!(said.contains("holds 1 accounts with 5 bytes"), "{said}");
    program.replace(account, b"later");
    program.stop();
    cluster.sql_of("postgres", "CREATE DATABASE other");
    let other = here.replace("/passmate", "/other");
    ok(store.run(dir.path(), &["restore", "s3://vaults/x", "--store", &other]));
    let program = start(dir.path(), &["--store", &other]);
    assert_eq!(program.fetch(account).unwrap(), b"first");
}

#[test]
fn an_upload_is_complete_or_absent_whatever_is_heard_of_it() {
    let store = Store::start(&[]);
    let dir = small();
    let words = ["backup", "s3://vaults/x"];
    // The answer to the last request is lost, and its repetition finds no upload any more.
    store.fault("lost POST uploadId=");
    ok(store.run(dir.path(), &words));
    store.wait_for_hit();
    store.mend();
    let whole = store.get("x");
    fs::remove_file(dir.path().join("last-backup")).unwrap();

    // What cannot be read again is neither called damaged nor removed.
    let complete_then = |fault: &str| {
        store.fault("hang POST uploadId=");
        let mut command = store.command(dir.path(), &words);
        let child = command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let child = child.spawn().unwrap();
        store.wait_for_hit();
        store.fault(fault);
        child
    };
    let output = complete_then("answer GET /vaults/x? 503 SlowDown").wait_with_output();
    let output = output.unwrap();
    failed(&output, 20, "cannot read s3://vaults/x again");
    failed(&output, 20, "the upload is complete");
    let child = complete_then("hang GET /vaults/x?");
    store.wait_for_hit();
    kill_process(Pid::from_child(&child), Signal::TERM).unwrap();
    let output = child.wait_with_output().unwrap();
    failed(&output, 3, "s3://vaults/x was not read again");
    store.mend();
    assert_eq!(store.get("x").len(), whole.len());
    ok(store.run(dir.path(), &["verify", "s3://vaults/x"]));
    assert_eq!(store.uploads(), Vec::<String>::new());
    assert!(!dir.path().join("last-backup").exists());
}

#[test]
fn what_the_object_store_damages_is_found() {
    let store = Store::start(&[]);
    let dir = small();
    let run = |words: &[&str]| store.run(dir.path(), words);
    let words = ["backup", "s3://vaults/x"];
    store.fault("flip PUT partNumber=1");
    failed(
        &run(&words),
        6,
        "s3://vaults/x is not what was sent there, and it was removed",
    );
    assert_eq!((store.objects(), store.uploads()), (vec![], vec![]));
    store.fault("flip GET /vaults/x?");
    failed(&run(&words), 6, "it was removed");
    store.mend();
    ok(run(&words));
    let whole = store.get("x");

    let restore = ["restore", "s3://vaults/x", "--force"];
    let verify = ["verify", "s3://vaults/x"];
    let before = fs::read(dir.path().join("passmate.db")).unwrap();
    for (fault, code, what) in [
        ("flip GET /vaults/x?", 6, "s3://vaults/x is damaged"),
        ("short GET /vaults/x?", 6, "s3://vaults/x is damaged"),
        ("cut GET /vaults/x?", 20, "cannot read s3://vaults/x"),
        (
            "huge GET /vaults/x?",
            7,
            "bytes free, but needs 2000000000000000",
        ),
    ] {
        store.fault(fault);
        failed(&run(&verify), code, what);
        failed(&run(&restore), code, what);
    }
    store.mend();
    for cut in [0, 10, 30, 1000, whole.len() - 1] {
        store.put("x", &whole[..cut]);
        failed(&run(&verify), 6, "s3://vaults/x is");
        failed(&run(&restore), 6, "s3://vaults/x is");
    }
    store.put("x", &[whole.as_slice(), b"x"].concat());
    failed(&run(&restore), 6, "its length does not match its header");
    assert_eq!(fs::read(dir.path().join("passmate.db")).unwrap(), before);
    check_nothing_left(dir.path());
    store.put("x", &whole);
    ok(run(&restore));
}

#[test]
fn each_refusal_of_an_object_store_names_cause_and_next_step() {
    let store = Store::start(&["--auth"]);
    let dir = small();
    let words = ["backup", "s3://vaults/x"];
    ok(store.run(dir.path(), &words));
    let other = ["backup", "s3://none/x"];
    failed(
        &store.run(dir.path(), &other),
        10,
        "there is no bucket none",
    );
    failed(
        &store.run(dir.path(), &["backup", "s3://vaults/denied"]),
        22,
        "denies access (403 AccessDenied)",
    );
    let with = |name: &str, value: &str| {
        let mut command = store.command(dir.path(), &words);
        let output = command.env(name, value).output().unwrap();
        store.check_secrets(&output);
        output
    };
    let wrong = with("AWS_SECRET_ACCESS_KEY", SECRETS[1]);
    failed(
        &wrong,
        22,
        "does not accept the credentials (403 SignatureDoesNotMatch)",
    );
    let wrong = with("AWS_ACCESS_KEY_ID", "AKIAOTHER");
    failed(
        &wrong,
        22,
        "does not accept the credentials (403 InvalidAccessKeyId)",
    );
    let half = with("AWS_ACCESS_KEY_ID", "");
    failed(&half, 2, "AWS_ACCESS_KEY_ID is not set");
    let token = with("AWS_SESSION_TOKEN", "secret-token\u{e9}");
    failed(&token, 2, "AWS_SESSION_TOKEN has characters");
    let far = with("AWS_ENDPOINT_URL", "http://s3.example.org");
    failed(&far, 2, "AWS_ALLOW_HTTP=true");
    for (fault, code, what) in [
        ("403 RequestTimeTooSkewed", 22, "timedatectl"),
        (
            "301 PermanentRedirect",
            22,
            "set AWS_REGION to the region of the bucket",
        ),
        (
            "400 AuthorizationHeaderMalformed",
            22,
            "not in the region us-east-1",
        ),
        ("401", 22, "does not accept the credentials (401)"),
        ("503 SlowDown", 20, "fails (503 SlowDown)"),
        ("200", 20, "it names the service that speaks S3"),
    ] {
        store.fault(&format!("answer GET /vaults/x? {fault}"));
        failed(&store.run(dir.path(), &words), code, what);
    }
}

#[test]
fn credentials_come_from_the_machine_or_its_container_too() {
    let store = Store::start(&[]);
    let dir = small();
    let without = |more: &[(&str, &str)]| {
        let mut command = store.command(dir.path(), &["backup", "s3://vaults/x"]);
        command.env_remove("AWS_ACCESS_KEY_ID");
        command.env_remove("AWS_SECRET_ACCESS_KEY");
        let output = command.envs(more.iter().copied()).output().unwrap();
        store.check_secrets(&output);
        output
    };
    let here = format!("http://127.0.0.1:{}", store.port);
    ok(without(&[("AWS_EC2_METADATA_SERVICE_ENDPOINT", &here)]));
    let nowhere = format!("{here}/no");
    let none = without(&[("AWS_EC2_METADATA_SERVICE_ENDPOINT", &nowhere)]);
    failed(&none, 2, "there are no credentials for the object store");

    let token = dir.path().join("token");
    let url = format!("{here}/credentials");
    let container = [
        ("AWS_CONTAINER_CREDENTIALS_FULL_URI", url.as_str()),
        ("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", text(&token)),
    ];
    for wrong in ["other", "line\nbreak"] {
        fs::write(&token, wrong).unwrap();
        failed(&without(&container), 2, "there are no credentials");
    }
    fs::write(&token, "container-token").unwrap();
    ok(without(&container));
}

#[test]
fn the_way_to_an_object_store_can_be_changed() {
    let store = Store::start(&[]);
    let dir = small();
    let here = format!("http://127.0.0.1:{}", store.port);
    let run = |key: &str, more: &[(&str, &str)]| {
        let url = format!("s3://vaults/{key}");
        let mut command = store.command(dir.path(), &["backup", &url]);
        let said = ok(command.envs(more.iter().copied()).output().unwrap());
        assert!(store.objects().contains(&key.to_owned()), "{said}");
    };
    let far = "http://store.invalid";
    run(
        "proxy",
        &[
            ("AWS_ENDPOINT_URL", far),
            ("AWS_ALLOW_HTTP", "true"),
            ("HTTP_PROXY", &here),
        ],
    );
    run(
        "no-proxy",
        &[("HTTP_PROXY", far), ("NO_PROXY", "127.0.0.1")],
    );
    run(
        "hosted",
        &[
            ("AWS_ENDPOINT_URL", &format!("{here}/vaults")),
            ("AWS_VIRTUAL_HOSTED_STYLE_REQUEST", "true"),
        ],
    );
    run(
        "s3",
        &[("AWS_ENDPOINT_URL", far), ("AWS_ENDPOINT_URL_S3", &here)],
    );
    run("encrypted", &[("AWS_SERVER_SIDE_ENCRYPTION", "AES256")]);
    let head = String::from_utf8(store.head("encrypted")).unwrap();
    let head = head.to_ascii_lowercase();
    assert!(
        head.contains("x-amz-server-side-encryption: aes256"),
        "{head}"
    );
}

#[test]
fn no_object_store_makes_a_command_wait_for_ever() {
    let store = Store::start(&[]);
    let dir = small();
    let run = |words: &[&str]| {
        let mut command = store.command(dir.path(), words);
        let output = command.env("AWS_READ_TIMEOUT", "500ms").output().unwrap();
        store.check_secrets(&output);
        output
    };
    let words = ["backup", "s3://vaults/x"];
    for fault in [
        "hang GET /vaults/x?",
        "hang POST uploads=",
        "hang PUT partNumber=1",
        "hang POST uploadId=",
    ] {
        store.fault(fault);
        failed(&run(&words), 20, "did not answer in time");
        store.mend();
        assert!(store.objects().is_empty(), "{fault}");
    }
    store.fault("endless GET /vaults/x?");
    failed(
        &store.run(dir.path(), &words),
        20,
        "is not that of an object store",
    );
    store.mend();
    // Nobody listens.
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = nobody.local_addr().unwrap();
    drop(nobody);
    let mut command = store.command(dir.path(), &words);
    command.env("AWS_ENDPOINT_URL", format!("http://{address}"));
    failed(
        &command.output().unwrap(),
        20,
        &format!("cannot reach http://{address}"),
    );
    // No credentials, and no machine that has some.
    let mut command = store.command(dir.path(), &words);
    command
        .env_remove("AWS_ACCESS_KEY_ID")
        .env_remove("AWS_SECRET_ACCESS_KEY")
        .env("AWS_EC2_METADATA_DISABLED", "true");
    failed(&command.output().unwrap(), 2, "there are no credentials");
}

#[test]
fn an_object_store_is_trusted_by_the_authority_that_is_named() {
    let place = tempfile::tempdir().unwrap();
    let path = |name: &str| -> PathBuf { place.path().join(name) };
    let mut ca = rcgen::CertificateParams::default();
    ca.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let ca_key = rcgen::KeyPair::generate().unwrap();
    fs::write(path("ca.pem"), ca.self_signed(&ca_key).unwrap().pem()).unwrap();
    let issuer = rcgen::Issuer::new(ca, ca_key);
    let key = rcgen::KeyPair::generate().unwrap();
    let leaf = rcgen::CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
    fs::write(
        path("leaf.pem"),
        leaf.signed_by(&key, &issuer).unwrap().pem(),
    )
    .unwrap();
    fs::write(path("leaf.key"), key.serialize_pem()).unwrap();
    let [leaf, key] = ["leaf.pem", "leaf.key"].map(path);
    let store = Store::start(&["--tls", text(&leaf), text(&key)]);
    let dir = small();
    let words = ["backup", "s3://vaults/x", "--keep", "2"];
    failed(&store.run(dir.path(), &words), 21, "AWS_CA_BUNDLE=FILE");
    let mut command = store.command(dir.path(), &words);
    ok(command
        .env("AWS_CA_BUNDLE", path("ca.pem"))
        .output()
        .unwrap());
    // A web identity is changed into credentials over the same connection.
    fs::write(path("identity"), "secret-token").unwrap();
    let mut command = store.command(dir.path(), &words);
    command
        .env_remove("AWS_ACCESS_KEY_ID")
        .env_remove("AWS_SECRET_ACCESS_KEY")
        .env("AWS_CA_BUNDLE", path("ca.pem"))
        .env("AWS_WEB_IDENTITY_TOKEN_FILE", path("identity"))
        .env("AWS_ROLE_ARN", "arn:aws:iam::123456789012:role/backup")
        .env(
            "AWS_ENDPOINT_URL_STS",
            format!("https://127.0.0.1:{}", store.port),
        );
    std::thread::sleep(std::time::Duration::from_millis(1100));
    ok(command.output().unwrap());
    let mut command = store.command(dir.path(), &words);
    command.env("AWS_CA_BUNDLE", path("leaf.key"));
    failed(&command.output().unwrap(), 7, "it holds no certificate");
}
