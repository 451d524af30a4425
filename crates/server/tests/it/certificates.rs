//! Certificates that are renewed while the server runs, and keys that are announced first.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use crate::support::{Program, ok, operate, start};
use passmate_testkit::wire::{End, TOKEN, update, upload};

fn pin_in(text: &str, begin: &str) -> String {
    text.lines()
        .find_map(|line| line.strip_prefix(begin))
        .unwrap_or_else(|| panic!("{text}"))
        .to_owned()
}

/// Whether the server presents the certificate in this file, now or within some seconds.
fn shows(program: &Program, certificate: &Path) -> bool {
    let until = Instant::now() + Duration::from_secs(15);
    while Instant::now() < until {
        // A client that trusts only this file connects if the server presents it.
        let found = std::panic::catch_unwind(|| {
            let mut client = passmate_testkit::wire::Client::connect(
                program.addresses[0],
                certificate,
                1,
                &passmate_testkit::wire::TLS13,
            );
            client.greet();
        });
        if found.is_ok() {
            return true;
        }
        std::thread::sleep(Duration::from_millis(300));
    }
    false
}

#[test]
fn a_renewed_certificate_is_loaded_without_a_signal() {
    let (dir, place) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let pair = |name: &str| {
        let other = place.path().join(name);
        drop(start(&other, &[]));
        (
            fs::read(other.join("cert.pem")).unwrap(),
            fs::read(other.join("key.pem")).unwrap(),
        )
    };
    let ((first, first_key), (second, second_key)) = (pair("one"), pair("two"));
    let (certificate, key) = (place.path().join("cert.pem"), place.path().join("key.pem"));
    fs::write(&certificate, &first).unwrap();
    fs::write(&key, &first_key).unwrap();
    let options = [
        "--tls-cert",
        certificate.to_str().unwrap(),
        "--tls-key",
        key.to_str().unwrap(),
    ];
    fs::create_dir_all(dir.path()).unwrap();
    fs::write(dir.path().join("cert.pem"), &first).unwrap();
    fs::write(dir.path().join("key.pem"), &first_key).unwrap();
    let program = start(dir.path(), &options);
    let account = program.create(b"sealed");
    let mut early = program.greeted();
    early.send(&update(account, TOKEN));
    assert_eq!(early.take_btoken().unwrap(), b"sealed");

    // Half of a pair is not loaded, because the other half may follow.
    fs::write(&certificate, &second).unwrap();
    program.wait_for_log("the new certificate cannot be used");
    let old = place.path().join("old.pem");
    fs::write(&old, &first).unwrap();
    assert!(shows(&program, &old), "the old pair is served");
    fs::write(&key, &second_key).unwrap();
    assert!(shows(&program, &certificate), "the new pair is served");
    early.send(&[upload(b"changed").as_slice(), &account].concat());
    assert_eq!(early.end(), End::clean(), "an open connection goes on");
    let log = program.log();
    assert_eq!(
        log.matches("the new certificate cannot be used").count(),
        1,
        "{log}"
    );
    assert!(log.contains("new connections use it"), "{log}");
}

/// Replaces the pair in a data dir, the key first.
fn put_pair(data_dir: &Path, (certificate, key): &(Vec<u8>, Vec<u8>)) {
    for (name, content) in [("key.pem", key), ("cert.pem", certificate)] {
        let new = data_dir.join(format!("new-{name}"));
        fs::write(&new, content).unwrap();
        fs::rename(new, data_dir.join(name)).unwrap();
    }
}

fn pair_in(data_dir: &Path) -> (Vec<u8>, Vec<u8>) {
    let read = |name: &str| fs::read(data_dir.join(name)).unwrap();
    (read("cert.pem"), read("key.pem"))
}

#[test]
fn a_renewal_with_another_key_is_a_warning() {
    const WARNING: &str = "the certificate has another key";
    let (dir, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    drop(start(other.path(), &[]));
    let admin = dir.path().join("admin.sock");
    let options = ["--admin-listen", &format!("unix:{}", admin.display())];
    let finds = || {
        let output = operate(dir.path(), &["check"]);
        String::from_utf8_lossy(&output.stdout).contains(WARNING)
    };
    let counts = || {
        let mut stream = UnixStream::connect(&admin).unwrap();
        stream.write_all(b"GET /metrics HTTP/1.0\r\n\r\n").unwrap();
        let mut page = String::new();
        stream.read_to_string(&mut page).unwrap();
        page.contains("\npassmate_certificate_key_changed_time_seconds ")
    };
    let program = start(dir.path(), &options);
    let (first, second) = (pair_in(dir.path()), pair_in(other.path()));
    ok(operate(dir.path(), &["cert", "new"]));
    program.wait_for_log("new connections use it");
    assert!(!finds() && !counts());
    assert!(!program.log().contains(WARNING), "the key is the same");

    let program = start(dir.path(), &options);
    put_pair(dir.path(), &second);
    program.wait_for_log(WARNING);
    assert!(finds() && counts());
    let earlier = pin_in(&program.greeting, "pin ");
    let log = program.log();
    let warning = log.lines().find(|line| line.contains(WARNING)).unwrap();
    assert!(warning.contains("WARN") && warning.contains(&format!("earlier={earlier}")));

    // A restart knows which key was served before, and complains once about a change.
    let program = start(dir.path(), &options);
    assert!(finds() && counts());
    assert!(!program.log().contains(WARNING));
    put_pair(dir.path(), &first);
    let program = start(dir.path(), &options);
    assert!(!finds() && !counts());
    assert!(!program.log().contains(WARNING), "the earlier key is back");
    put_pair(dir.path(), &second);
    assert!(
        finds(),
        "check looks at the pair that the next start serves"
    );
    let program = start(dir.path(), &options);
    program.wait_for_log(WARNING);
    drop(program);
    put_pair(dir.path(), &first);

    // An announced key is expected.
    let program = start(dir.path(), &options);
    ok(operate(dir.path(), &["cert", "new", "--new-key"]));
    ok(operate(dir.path(), &["cert", "new", "--new-key", "--now"]));
    program.wait_for_log("new connections use it");
    assert!(!finds() && !counts());
    assert!(!program.log().contains(WARNING));
}

#[test]
fn a_new_certificate_keeps_the_pin_until_a_key_is_announced() {
    let dir = tempfile::tempdir().unwrap();
    let output = operate(dir.path(), &["cert", "show"]);
    assert_eq!(output.status.code(), Some(10), "{output:?}");
    let program = start(dir.path(), &[]);
    let pin = pin_in(&program.greeting, "pin ");
    let shown = ok(operate(dir.path(), &["cert", "show"]));
    assert_eq!(pin_in(&shown, "pin: "), pin);
    assert!(
        shown.contains("expires: never") && shown.contains("localhost"),
        "{shown}"
    );

    let before = fs::read(dir.path().join("cert.pem")).unwrap();
    assert!(ok(operate(dir.path(), &["cert", "new"])).contains(&pin));
    assert_ne!(fs::read(dir.path().join("cert.pem")).unwrap(), before);
    assert!(shows(&program, &dir.path().join("cert.pem")));

    assert_eq!(
        operate(dir.path(), &["cert", "new", "--new-key", "--now"])
            .status
            .code(),
        Some(10),
        "not announced yet"
    );
    let next = pin_in(
        &ok(operate(dir.path(), &["cert", "new", "--new-key"])),
        "pin ",
    );
    assert_ne!(next, pin);
    let again = ok(operate(dir.path(), &["cert", "new", "--new-key"]));
    assert!(
        again.contains("was made earlier") && pin_in(&again, "pin ") == next,
        "{again}"
    );
    let shown = ok(operate(dir.path(), &["cert", "show"]));
    assert_eq!(
        (pin_in(&shown, "pin: "), pin_in(&shown, "next pin: ")),
        (pin, next.clone())
    );
    assert!(ok(operate(dir.path(), &["cert", "new", "--new-key", "--now"])).contains(&next));
    assert!(shows(&program, &dir.path().join("cert.pem")));
    drop(program);
    assert_eq!(pin_in(&start(dir.path(), &[]).greeting, "pin "), next);

    // The server makes nothing for a pair of the operator.
    let files = [dir.path().join("cert.pem"), dir.path().join("key.pem")];
    let words = [
        "cert",
        "new",
        "--tls-cert",
        files[0].to_str().unwrap(),
        "--tls-key",
        files[1].to_str().unwrap(),
    ];
    assert_eq!(operate(dir.path(), &words).status.code(), Some(2));
}

#[test]
fn the_hook_for_renewals_copies_a_pair_for_its_owner_alone() {
    use std::os::unix::fs::PermissionsExt;
    let hook = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deploy/certificate-hook");
    let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let user = Command::new("id").arg("-un").output().unwrap();
    for (name, content) in [("fullchain.pem", "certificate"), ("privkey.pem", "key")] {
        fs::write(from.path().join(name), content).unwrap();
    }
    let run = |variables: &[(&str, String)]| {
        let mut command = Command::new(&hook);
        command.env("PASSMATE_CERTIFICATE_DIR", to.path()).env(
            "PASSMATE_USER",
            String::from_utf8_lossy(&user.stdout).trim(),
        );
        assert!(
            command
                .envs(variables.iter().map(|(name, value)| (name, value)))
                .status()
                .unwrap()
                .success()
        );
        for (name, content) in [("fullchain.pem", "certificate"), ("privkey.pem", "key")] {
            let path = to.path().join(name);
            assert_eq!(fs::read_to_string(&path).unwrap(), content);
            assert_eq!(
                fs::metadata(&path).unwrap().permissions().mode() & 0o777,
                0o600
            );
            fs::remove_file(path).unwrap();
        }
    };
    let at = |name: &str| from.path().join(name).display().to_string();
    run(&[("RENEWED_LINEAGE", from.path().display().to_string())]);
    run(&[
        ("LEGO_CERT_PATH", at("fullchain.pem")),
        ("LEGO_CERT_KEY_PATH", at("privkey.pem")),
    ]);
    run(&[
        ("CERT_FULLCHAIN_PATH", at("fullchain.pem")),
        ("CERT_KEY_PATH", at("privkey.pem")),
    ]);
    let output = Command::new(&hook).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(
        text.contains(": error: ") && text.contains(": hint: "),
        "{text}"
    );
}
