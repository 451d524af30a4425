//! Backups while a server runs, restores, and the import of accounts of another server.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use sha2::Digest;

use crate::support::{PROGRAM, failed, ok, operate, start, text};
use passmate_testkit::wire::{update, upload};

#[test]
fn a_restore_never_destroys_a_store() {
    let (dir, place) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let file = place.path().join("passmate.backup");
    let program = start(dir.path(), &[]);
    let account = program.create(b"first");
    let said = ok(operate(dir.path(), &["backup", text(&file)]));
    assert!(said.contains("holds 1 accounts with 5 bytes"), "{said}");
    use std::os::unix::fs::PermissionsExt;
    assert_eq!(
        fs::metadata(&file).unwrap().permissions().mode() & 0o777,
        0o600
    );
    assert!(ok(operate(dir.path(), &["verify"])).contains("is intact: 1 accounts"));
    assert!(ok(operate(dir.path(), &["verify", text(&file)])).contains("is intact: 1 accounts"));
    program.replace(account, b"second");
    assert_eq!(
        fs::read_dir(place.path()).unwrap().count(),
        1,
        "no temporary file is left"
    );

    // A restore is refused while the server runs, over a store, and from a damaged file.
    failed(
        &operate(dir.path(), &["restore", text(&file), "--force"]),
        8,
        "in use",
    );
    program.signal(rustix::process::Signal::TERM);
    let mut program = program;
    program.wait(Duration::from_secs(10));
    drop(program);
    failed(
        &operate(dir.path(), &["restore", text(&file)]),
        12,
        "there is a store",
    );
    let mut bytes = fs::read(&file).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    let bad = place.path().join("bad");
    fs::write(&bad, &bytes).unwrap();
    failed(
        &operate(dir.path(), &["restore", text(&bad), "--force"]),
        6,
        "damaged",
    );
    failed(&operate(dir.path(), &["verify", text(&bad)]), 6, "damaged");
    failed(
        &operate(dir.path(), &["restore", "/dev/null", "--force"]),
        7,
        "not a regular file",
    );

    let said = ok(operate(dir.path(), &["restore", text(&file), "--force"]));
    assert!(
        said.contains("restored 1 accounts as of 2") && said.contains("passmate.db.replaced"),
        "{said}"
    );
    let program = start(dir.path(), &[]);
    assert_eq!(program.fetch(account).unwrap(), b"first");
    drop(program);
    // The replaced store can still be used.
    fs::rename(
        dir.path().join("passmate.db.replaced"),
        dir.path().join("passmate.db"),
    )
    .unwrap();
    assert_eq!(start(dir.path(), &[]).fetch(account).unwrap(), b"second");

    // On a new machine.
    let other = tempfile::tempdir().unwrap();
    ok(operate(other.path(), &["restore", text(&file)]));
    assert_eq!(start(other.path(), &[]).fetch(account).unwrap(), b"first");
}

#[test]
fn a_backup_has_the_key_only_on_request() {
    let (dir, place) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (without, with) = (place.path().join("without"), place.path().join("with"));
    let program = start(dir.path(), &[]);
    let pin = program
        .greeting
        .lines()
        .find(|line| line.starts_with("pin "))
        .unwrap()
        .to_owned();
    ok(operate(dir.path(), &["backup", text(&without)]));
    let said = ok(operate(dir.path(), &["backup", text(&with), "--with-key"]));
    assert!(said.contains("keep it secret"), "{said}");
    let has_key = |file: &Path| {
        fs::read(file)
            .unwrap()
            .windows(11)
            .any(|part| part == b"PRIVATE KEY")
    };
    assert_eq!((has_key(&without), has_key(&with)), (false, true));

    let other = tempfile::tempdir().unwrap();
    ok(operate(other.path(), &["restore", text(&with)]));
    assert!(
        start(other.path(), &[]).greeting.contains(&pin),
        "devices recognize the server"
    );
    let third = tempfile::tempdir().unwrap();
    drop(start(third.path(), &[]));
    fs::remove_file(third.path().join("passmate.db")).unwrap();
    failed(
        &operate(third.path(), &["restore", text(&with)]),
        12,
        "is not the key in the backup",
    );
    let key = fs::read(third.path().join("key.pem")).unwrap();
    let said = ok(operate(third.path(), &["restore", text(&with), "--force"]));
    assert!(said.contains("key.pem.replaced"), "{said}");
    assert!(start(third.path(), &[]).greeting.contains(&pin));
    // The other key is kept.
    assert_eq!(
        fs::read(third.path().join("key.pem.replaced")).unwrap(),
        key
    );
    ok(operate(third.path(), &["restore", text(&with), "--force"]));
    assert_eq!(
        fs::read(third.path().join("key.pem.replaced")).unwrap(),
        key,
        "there was nothing to replace"
    );
}

#[test]
fn a_restore_and_a_command_exclude_each_other() {
    let (dir, place) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let file = place.path().join("backup");
    drop(start(dir.path(), &[]));
    ok(operate(dir.path(), &["backup", text(&file)]));
    let lock = fs::File::open(dir.path().join("passmate.db.restore-lock")).unwrap();
    lock.lock_shared().unwrap();
    failed(
        &operate(dir.path(), &["restore", text(&file), "--force"]),
        8,
        "in use by a server or a command",
    );
    lock.unlock().unwrap();
    lock.lock().unwrap();
    failed(
        &operate(dir.path(), &["account", "list"]),
        8,
        "is being restored",
    );
}

#[test]
fn the_backup_unit_makes_a_backup() {
    let unit = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("../../deploy/passmate-server-backup.service");
    let unit = fs::read_to_string(unit).unwrap();
    let (dir, place) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let program = start(dir.path(), &[]);
    program.create(b"first");
    let value = |key: &str| {
        let mut lines = unit.lines();
        lines.find_map(|line| line.strip_prefix(key)).unwrap()
    };
    assert_eq!(value("StateDirectory="), "passmate-server");
    assert!(
        !unit.contains("Condition"),
        "a backup that is skipped is a failure"
    );
    let line = value("ExecStart=").replace("/var/backups/passmate-server", text(place.path()));
    let run = |variable: &str, value: &Path| {
        let mut words = line.split(' ');
        assert_eq!(words.next(), Some("/usr/bin/passmate-server"));
        let mut command = Command::new(env!("CARGO_BIN_EXE_passmate-server"));
        command.env_clear().env(variable, value).args(words);
        command.output().unwrap()
    };
    // systemd gives the state directory to the unit, and a configuration goes before it.
    ok(run("STATE_DIRECTORY", dir.path()));
    assert_eq!(fs::read_dir(place.path()).unwrap().count(), 1);
    let empty = tempfile::tempdir().unwrap();
    failed(
        &run("STATE_DIRECTORY", empty.path()),
        10,
        "there is no store",
    );
    let config = empty.path().join("server.toml");
    fs::write(&config, format!("data-dir = \"{}\"\n", text(empty.path()))).unwrap();
    failed(
        &run("PASSMATE_SERVER_CONFIG", &config),
        10,
        text(empty.path()),
    );
}

#[test]
fn a_backup_goes_to_no_machine_that_it_does_not_know() {
    let dir = tempfile::tempdir().unwrap();
    start(dir.path(), &[]).stop();
    for words in [
        ["backup", "https://example.org/passmate"],
        ["restore", "ftp://example.org/passmate"],
        ["verify", "file:///passmate"],
    ] {
        let output = operate(dir.path(), &words);
        failed(&output, 2, "`backup -` writes it to standard output");
    }
}

#[cfg(not(feature = "s3"))]
#[test]
fn a_program_without_object_stores_says_how_to_get_them() {
    let dir = tempfile::tempdir().unwrap();
    start(dir.path(), &[]).stop();
    for command in ["backup", "restore", "verify"] {
        let output = operate(dir.path(), &[command, "s3://bucket/passmate"]);
        failed(&output, 24, "--features s3");
    }
}

#[test]
fn a_backup_replaces_what_a_link_names() {
    let (dir, disk) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    start(dir.path(), &[]).stop();
    let (link, file) = (dir.path().join("link"), disk.path().join("file"));
    ok(operate(dir.path(), &["backup", text(&file)]));
    let earlier = fs::read(&file).unwrap();
    std::os::unix::fs::symlink(&file, &link).unwrap();
    ok(operate(
        dir.path(),
        &["invite", "open", "--seats=1", "--for=1h"],
    ));
    ok(operate(dir.path(), &["backup", text(&link)]));
    assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
    assert_ne!(fs::read(&file).unwrap(), earlier);
}

#[test]
fn a_restore_makes_the_folders_that_it_needs() {
    let (dir, place) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let file = place.path().join("backup");
    let program = start(dir.path(), &[]);
    let account = program.create(b"first");
    ok(operate(dir.path(), &["backup", text(&file), "--with-key"]));
    let (data, store) = (
        place.path().join("new/data"),
        place.path().join("other/passmate.db"),
    );
    let url = format!("sqlite:{}", text(&store));
    ok(operate(&data, &["restore", text(&file), "--store", &url]));
    use std::os::unix::fs::PermissionsExt;
    for folder in [&data, store.parent().unwrap()] {
        assert_eq!(
            fs::metadata(folder).unwrap().permissions().mode() & 0o777,
            0o700
        );
    }
    assert_eq!(
        start(&data, &["--store", &url]).fetch(account).unwrap(),
        b"first"
    );
}

#[test]
fn a_newer_schema_is_refused_and_not_changed() {
    let (dir, place) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    drop(start(dir.path(), &[]));
    let file = place.path().join("backup");
    ok(operate(dir.path(), &["backup", text(&file)]));
    let mut bytes = fs::read(&file).unwrap();
    let begin = bytes
        .windows(16)
        .position(|part| part == b"SQLite format 3\0")
        .unwrap();
    bytes[begin + 63] = 99;
    let end = bytes.len() - 32;
    let hash = sha2::Sha256::digest(&bytes[..end]);
    bytes[end..].copy_from_slice(&hash);
    fs::write(&file, bytes).unwrap();
    let other = place.path().join("other");
    for words in [
        &["verify", text(&file)] as &[&str],
        &["restore", text(&file)],
    ] {
        failed(&operate(&other, words), 24, "has schema 99");
    }
    assert!(!other.join("passmate.db").exists());
}

#[test]
fn files_that_root_makes_belong_to_the_server() {
    if !rustix::process::geteuid().is_root() {
        return;
    }
    use std::os::unix::fs::MetadataExt;
    let (dir, place) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let file = place.path().join("backup");
    drop(start(dir.path(), &[]));
    let all = |dir: &Path| -> Vec<PathBuf> {
        fs::read_dir(dir)
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .collect()
    };
    let give = |path: &Path| std::os::unix::fs::chown(path, Some(65_534), Some(65_534)).unwrap();
    all(dir.path()).iter().for_each(|path| give(path));
    give(dir.path());
    ok(operate(dir.path(), &["backup", text(&file), "--with-key"]));
    ok(operate(dir.path(), &["restore", text(&file), "--force"]));
    fs::write(dir.path().join("key.pem"), "another").unwrap();
    give(&dir.path().join("key.pem"));
    ok(operate(dir.path(), &["restore", text(&file), "--force"]));
    ok(operate(dir.path(), &["cert", "new"]));
    let new = place.path().join("new");
    fs::create_dir(&new).unwrap();
    give(&new);
    ok(operate(&new, &["restore", text(&file)]));
    for path in [all(dir.path()), all(&new)].concat() {
        let metadata = fs::metadata(&path).unwrap();
        assert_eq!(
            (metadata.uid(), metadata.gid()),
            (65_534, 65_534),
            "{}",
            path.display()
        );
    }
}

#[test]
fn a_store_that_lost_its_accounts_removes_no_backup() {
    let (dir, place) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let program = start(dir.path(), &[]);
    for _ in 0..3 {
        program.create(b"x");
    }
    program.stop();
    let file = place.path().join("nightly");
    let keep = ["backup", text(&file), "--keep", "1"];
    ok(operate(dir.path(), &keep));
    let made = || fs::read_dir(place.path()).unwrap().count();
    std::thread::sleep(Duration::from_millis(1100));
    ok(operate(dir.path(), &keep));
    assert_eq!(made(), 1);
    // The file is gone, and the server makes an empty one.
    fs::remove_file(dir.path().join("passmate.db")).unwrap();
    let program = start(dir.path(), &[]);
    program.wait_for_log("the store is empty, but there was one before");
    program.stop();
    // So it does when it is started again: the last backup had accounts.
    let program = start(dir.path(), &[]);
    program.wait_for_log("a backup with accounts");
    program.stop();
    std::thread::sleep(Duration::from_millis(1100));
    let refused = operate(dir.path(), &keep);
    failed(
        &refused,
        31,
        "the store has 0 accounts, and the newest earlier backup has 3",
    );
    assert_eq!(made(), 2, "the new one was made, and the old one stays");
    std::thread::sleep(Duration::from_millis(1100));
    ok(operate(dir.path(), &[keep.as_slice(), &["--yes"]].concat()));
    assert_eq!(made(), 1);
}

#[test]
fn a_new_server_is_not_called_emptied() {
    let dir = tempfile::tempdir().unwrap();
    start(dir.path(), &[]).stop();
    let log = start(dir.path(), &[]).log();
    assert!(!log.contains("empty"), "{log}");
}

#[test]
fn rotation_removes_only_old_backups() {
    let (dir, place) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    drop(start(dir.path(), &[]));
    let file = place.path().join("nightly");
    ok(operate(dir.path(), &["backup", text(&file)]));
    // Older backups, and files whose names only look like backups.
    for day in 1..=5 {
        fs::copy(
            &file,
            place.path().join(format!("nightly.2020-01-0{day}T000000Z")),
        )
        .unwrap();
    }
    let others = ["nightly.2019-01-01T000000Z", "nightly.2020-01-01", "mine"];
    for other in others {
        fs::write(place.path().join(other), "precious").unwrap();
    }
    let said = ok(operate(dir.path(), &["backup", text(&file), "--keep", "3"]));
    assert_eq!(said.matches("removed ").count(), 3, "{said}");
    let mut names: Vec<String> = fs::read_dir(place.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| !name.starts_with("nightly.202") || name.starts_with("nightly.2020"))
        .collect();
    names.sort();
    let left = [
        "mine",
        "nightly",
        others[0],
        others[1],
        "nightly.2020-01-04T000000Z",
        "nightly.2020-01-05T000000Z",
    ];
    assert_eq!(names, left);
    // A wrong clock makes backups with future times: they count as the oldest.
    fs::copy(&file, place.path().join("nightly.2190-01-01T000000Z")).unwrap();
    let said = ok(operate(
        dir.path(),
        &["backup", text(&file), "--keep", "1", "--json"],
    ));
    let said: serde_json::Value = serde_json::from_str(&said).unwrap();
    assert!(said["removed"].as_array().unwrap().len() >= 3, "{said}");
    assert!(
        Path::new(said["file"].as_str().unwrap()).exists()
            && !place.path().join("nightly.2190-01-01T000000Z").exists()
    );
    // A folder is not a file name.
    for folder in [
        place.path().to_owned(),
        place.path().join(""),
        place.path().join(".."),
    ] {
        failed(
            &operate(dir.path(), &["backup", text(&folder), "--keep", "3"]),
            2,
            "is a folder",
        );
    }
    // Other files are never overwritten.
    failed(
        &operate(dir.path(), &["backup", text(&place.path().join("mine"))]),
        12,
        "is not a backup",
    );
    failed(
        &operate(dir.path(), &["backup", "/nowhere/at/all"]),
        7,
        "/nowhere/at",
    );
    assert_eq!(fs::read(place.path().join("mine")).unwrap(), b"precious");
}

#[test]
fn a_backup_under_load_has_every_confirmed_change() {
    let (dir, place) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let program = start(dir.path(), &[]);
    let accounts: Vec<[u8; 8]> = (0..4)
        .map(|_| program.create(&0_u32.to_le_bytes()))
        .collect();
    let confirmed: Vec<AtomicU32> = accounts.iter().map(|_| AtomicU32::new(0)).collect();
    let is_over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for (account, confirmed) in accounts.iter().zip(&confirmed) {
            let (program, is_over) = (&program, &is_over);
            scope.spawn(move || {
                for number in 1_u32.. {
                    if is_over.load(Ordering::Relaxed) {
                        break;
                    }
                    program.replace(*account, &number.to_le_bytes());
                    confirmed.store(number, Ordering::SeqCst);
                }
            });
        }
        for round in 0..5 {
            let file = place.path().join(format!("{round}"));
            let before: Vec<u32> = confirmed
                .iter()
                .map(|number| number.load(Ordering::SeqCst))
                .collect();
            ok(operate(dir.path(), &["backup", text(&file)]));
            let after: Vec<u32> = confirmed
                .iter()
                .map(|number| number.load(Ordering::SeqCst))
                .collect();
            let restored = tempfile::tempdir().unwrap();
            ok(operate(restored.path(), &["restore", text(&file)]));
            let other = start(restored.path(), &[]);
            for ((account, before), after) in accounts.iter().zip(before).zip(after) {
                let there = u32::from_le_bytes(other.fetch(*account).unwrap().try_into().unwrap());
                assert!(
                    (before..=after + 1).contains(&there),
                    "{before} <= {there} <= {after} + 1"
                );
            }
        }
        is_over.store(true, Ordering::Relaxed);
    });
    assert!(
        confirmed
            .iter()
            .all(|number| number.load(Ordering::SeqCst) > 0),
        "the clients continued meanwhile"
    );
}

#[test]
fn damage_is_reported_and_never_served() {
    let dir = tempfile::tempdir().unwrap();
    let program = start(dir.path(), &[]);
    let (good, bad) = (program.create(b"good"), program.create(&[0xA7; 3000]));
    let place = tempfile::tempdir().unwrap();
    let (file, nightly) = (place.path().join("backup"), place.path().join("nightly"));
    ok(operate(
        dir.path(),
        &["backup", text(&nightly), "--keep", "1"],
    ));
    ok(operate(dir.path(), &["backup", text(&file)]));
    let noted = fs::read(dir.path().join("last-backup")).unwrap();
    let mut program = program;
    program.signal(rustix::process::Signal::TERM);
    program.wait(Duration::from_secs(10));
    drop(program);
    let path = dir.path().join("passmate.db");
    let mut bytes = fs::read(&path).unwrap();
    let begin = bytes
        .windows(3000)
        .position(|part| part == [0xA7; 3000])
        .unwrap();
    bytes[begin + 1500] ^= 1;
    fs::write(&path, bytes).unwrap();
    let hex: String = bad.iter().map(|byte| format!("{byte:02X}")).collect();
    // A damaged store replaces no good backup.
    for words in [
        &["backup", text(&nightly), "--keep", "1"] as &[&str],
        &["backup", text(&file)],
    ] {
        failed(
            &operate(dir.path(), words),
            6,
            &format!("account {hex}: its btoken does not match the stored checksum (1 in all)"),
        );
    }
    let kept = || ok(operate(dir.path(), &["verify", text(&file)]));
    assert!(kept().contains("2 accounts") && fs::read_dir(place.path()).unwrap().count() == 2);
    assert_eq!(fs::read(dir.path().join("last-backup")).unwrap(), noted);
    let said = operate(dir.path(), &["verify", "--json"]);
    let said: serde_json::Value = serde_json::from_slice(&said.stdout).unwrap();
    assert!(
        said["version"] == 1 && said["findings"][0].as_str().unwrap().contains(&hex),
        "{said}"
    );
    let program = start(dir.path(), &[]);
    assert!(program.fetch(bad).is_none());
    assert_eq!(program.fetch(good).unwrap(), b"good");
    failed(
        &operate(dir.path(), &["verify"]),
        6,
        &format!("account {hex}: its btoken does not match the stored checksum"),
    );
    let log = program.log();
    assert!(log.contains("damaged") && !log.contains(&hex), "{log}");
}

#[test]
fn accounts_of_an_original_server_are_imported() {
    let vectors = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../vectors/spr");
    let (dir, folder) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let mut accounts = 0;
    for entry in fs::read_dir(&vectors).unwrap() {
        let path = entry.unwrap().path();
        fs::copy(&path, folder.path().join(path.file_name().unwrap())).unwrap();
        accounts += usize::from(path.extension().is_some_and(|suffix| suffix == "spr"));
    }
    fs::write(folder.path().join("0123456789ABCDEF.spr"), [0; 31]).unwrap();
    fs::write(folder.path().join("0123.spr"), [0; 100]).unwrap();
    fs::write(
        folder.path().join("FFFFFFFFFFFFFFFF.spr"),
        vec![0; 2 * 1024 * 1024 + 33],
    )
    .unwrap();
    fs::create_dir(folder.path().join("AAAAAAAAAAAAAAAA.spr")).unwrap();
    let spr = fs::read(vectors.join("4E53DF543106BF04.spr")).unwrap();
    fs::write(folder.path().join("BBBBBBBBBBBBBBBB.spr"), &spr[..1000]).unwrap();
    let program = start(dir.path(), &[]);
    let output = operate(dir.path(), &["import-spr", text(folder.path())]);
    let warnings = String::from_utf8_lossy(&output.stderr).into_owned();
    for part in [
        "the file was cut",
        "shorter than an auth token",
        "16 hex digits",
        "longer than",
        "not a regular file",
        "README.md",
    ] {
        assert!(warnings.contains(part), "{part}: {warnings}");
    }
    assert!(ok(output).starts_with(&format!(
        "{accounts} accounts imported, 0 exist already, 6 files skipped"
    )));
    // Their devices can use them here.
    let (token, btoken) = spr.split_at(32);
    let number = [0x4E, 0x53, 0xDF, 0x54, 0x31, 0x06, 0xBF, 0x04];
    let mut client = program.greeted();
    client.send(&update(number, token.try_into().unwrap()));
    assert_eq!(client.take_btoken().unwrap(), btoken);
    client.send(&[upload(b"changed").as_slice(), &number].concat());
    assert_eq!(client.end(), passmate_testkit::wire::End::clean());
    let again = ok(operate(dir.path(), &["import-spr", text(folder.path())]));
    assert!(
        again.starts_with(&format!("0 accounts imported, {accounts} exist already")),
        "{again}"
    );
    let mut client = program.greeted();
    client.send(&update(number, token.try_into().unwrap()));
    assert_eq!(
        client.take_btoken().unwrap(),
        b"changed",
        "existing accounts are left as they are"
    );
    ok(operate(dir.path(), &["verify"]));
    failed(
        &operate(dir.path(), &["import-spr", "/nowhere"]),
        7,
        "/nowhere",
    );
}

/// A shell runs a line with the program as `$passmate_server` and the data dir as `$data`.
fn shell(data_dir: &Path, line: &str) -> std::process::Output {
    let mut shell = Command::new("bash");
    shell.args(["-euo", "pipefail", "-c", line]);
    shell.env("passmate_server", PROGRAM).env("data", data_dir);
    shell.output().unwrap()
}

#[test]
fn a_backup_goes_through_a_pipe_to_another_machine_and_back() {
    let (here, there) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let program = start(here.path(), &[]);
    program.create(b"first");
    let file = there.path().join("copy");
    let sent = shell(
        here.path(),
        &format!(
            "$passmate_server backup - --data-dir $data | cat > {}",
            text(&file)
        ),
    );
    assert_eq!(ok(sent), "", "standard output has nothing but the backup");
    let left = fs::read_dir(here.path()).unwrap();
    let mut left = left.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    assert!(left.all(|name| !name.starts_with(".passmate-")));
    let log = ok(operate(here.path(), &["log"]));
    assert!(log.contains("standard output"), "{log}");
    assert!(ok(operate(there.path(), &["verify", text(&file)])).contains("intact: 1 accounts"));

    let line = |command: &str| {
        format!(
            "cat {} | $passmate_server {command} --data-dir $data",
            text(&file)
        )
    };
    let said = ok(shell(there.path(), &line("verify -")));
    assert!(said.contains("the backup is intact: 1 accounts"), "{said}");
    let other = there.path().join("data");
    let said = ok(shell(&other, &line("restore -")));
    assert!(said.contains("restored 1 accounts"), "{said}");
    assert!(ok(operate(&other, &["log"])).contains("standard input"));

    // What is no backup is refused before anything is made of it.
    let empty = shell(
        there.path(),
        "$passmate_server restore - --data-dir $data/no < /dev/null",
    );
    failed(&empty, 6, "is not a backup");
    let cut = format!(
        "head -c 3000 {} | $passmate_server restore - --data-dir $data/no",
        text(&file)
    );
    failed(&shell(there.path(), &cut), 6, "damaged");
    assert!(!there.path().join("no/passmate.db").exists());
    for (arguments, what) in [
        ("--keep 3", "--keep names files"),
        ("--json", "no room for JSON"),
    ] {
        let line = format!("$passmate_server backup - {arguments} --data-dir $data | cat");
        failed(&shell(here.path(), &line), 2, what);
    }
    // A pipe that ends early is no backup.
    let closed = shell(
        here.path(),
        "$passmate_server backup - --data-dir $data > /dev/full",
    );
    failed(&closed, 7, "standard output");
}
