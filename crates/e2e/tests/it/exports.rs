//! Exports can be used: other programs open them, and an import gives back the same records.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::support::Server;
use crate::support::program::{Home, finish};

const PASSPHRASE: &str = "correct horse battery staple";

/// A vault with values that are difficult for export formats.
fn home_with_records() -> Home {
    let home = Home::new();
    home.run(&["init"]).ok();
    for (path, field, value) in [
        ("web/shop & more/best", "user", "bob <b@x>"),
        ("web/shop & more/best", "password", "before"),
        ("web/shop & more/best", "password", " p\"w,d;ü🔑 "),
        (
            "web/shop & more/best",
            "url",
            "https://shop.example/?a=1&b=2",
        ),
        ("web/shop & more/best", "url 2", "https://other.example"),
        ("web/shop & more/best", "tags", "home,work"),
        ("web/shop & more/best", "expires", "2030-01-02"),
        ("web/shop & more/best", "favourite", "yes"),
        ("web/shop & more/best", "notes", "one\n\ttwo\n"),
        (
            "web/shop & more/best",
            "otp",
            "otpauth://totp/shop?secret=GEZDGNBVGY3TQOJQ&period=30&digits=6",
        ),
        ("web/shop & more/best", "recovery code", "1234-5678"),
        ("top", "password", "x"),
        (
            "top",
            "otp",
            "otpauth://hotp/top?secret=GEZDGNBVGY3TQOJQ&counter=1&digits=6",
        ),
        ("web/bank", "pin", "0000"),
    ] {
        home.run_with(&["set", path, field], &format!("{value}\n"))
            .ok();
    }
    home
}

/// All records with all fields.
fn content(home: &Home) -> Vec<(String, String)> {
    let paths = home.run(&["ls", "--flat"]).ok();
    paths
        .lines()
        .map(|path| (path.to_owned(), fields(home, path)))
        .collect()
}

fn fields(home: &Home, path: &str) -> String {
    let shown: serde_json::Value =
        serde_json::from_str(&home.run(&["show", path, "--json"]).ok()).unwrap();
    let mut fields: Vec<String> = shown["fields"]
        .as_object()
        .unwrap_or_else(|| panic!("{shown}"))
        .iter()
        .map(|(name, value)| format!("{name}={value}"))
        .collect();
    fields.sort();
    fields.join("\n")
}

fn exported(home: &Home, format: &str) -> PathBuf {
    let file = home.path().join(format!("export.{format}"));
    home.run(&["export", format, file.to_str().unwrap(), "--yes"])
        .ok();
    file
}

#[track_caller]
fn check_import(home: &Home, file: &Path, format: &str, is_encrypted: bool) {
    let again = Home::new();
    again.run(&["init"]).ok();
    let (file, passphrase) = (file.to_str().unwrap(), home.path().join("passphrase"));
    let mut words = vec!["import", format, file];
    if is_encrypted {
        words.extend(["--file-passphrase-file", passphrase.to_str().unwrap()]);
    }
    again.run(&words).ok();
    assert_eq!(content(&again), content(home), "{format}");
    let twice = again.run(&words).ok();
    assert!(twice.contains("0 new, 0 changed"), "{twice}");
}

/// A file that another program has written from our export has all records, and changes none.
#[track_caller]
fn check_round_trip(home: &Home, file: &Path, format: &str, is_encrypted: bool) {
    check_import(home, file, format, is_encrypted);
    let (file, passphrase) = (file.to_str().unwrap(), home.path().join("passphrase"));
    let mut words = vec!["import", format, file];
    if is_encrypted {
        words.extend(["--file-passphrase-file", passphrase.to_str().unwrap()]);
    }
    let said = home.run(&words).ok();
    assert!(said.contains("0 new, 0 changed"), "{said}");
}

#[test]
fn complete_formats_import_what_they_exported() {
    let home = home_with_records();
    for (format, import, is_encrypted) in [
        ("passmate", "passmate2", true),
        ("passmate2", "passmate2", true),
        ("kdbx", "keepass", true),
        ("bitwarden", "bitwarden", false),
    ] {
        check_import(&home, &exported(&home, format), import, is_encrypted);
    }
}

#[test]
fn keepass_opens_our_kdbx_files() {
    let home = home_with_records();
    let file = exported(&home, "kdbx");
    let venv = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/original/bin/python");
    let is_there = |program: &Path, words: &[&str]| {
        Command::new(program)
            .args(words)
            .output()
            .is_ok_and(|output| output.status.success())
    };
    let has_pykeepass = is_there(&venv, &["-c", "import pykeepass"]);
    let has_keepassxc = is_there(Path::new("keepassxc-cli"), &["--version"]);
    if has_pykeepass {
        let script = "import pykeepass, sys
k = pykeepass.PyKeePass(sys.argv[1], password=sys.argv[2])
for e in sorted(k.entries, key=lambda e: e.title):
    print('/'.join(e.group.path + [e.title]), repr(e.username), repr(e.password), repr(e.url), repr(e.notes), e.otp, sorted(e.custom_properties.items()))
    print(e.title, sorted(e.tags or []), e.expires and e.expiry_time.date(), [old.password for old in e.history])";
        let said = finish(
            Command::new(&venv)
                .args(["-c", script])
                .arg(&file)
                .arg(PASSPHRASE),
            "",
        )
        .ok();
        for part in [
            "web/shop & more/best 'bob <b@x>' ' p\"w,d;ü🔑 ' 'https://shop.example/?a=1&b=2' 'one\\n\\ttwo\\n' otpauth://totp/shop",
            "[('KP2A_URL', 'https://other.example'), ('favourite', 'yes'), ('recovery code', '1234-5678')]",
            "best ['home', 'work'] 2030-01-02 ['before']",
            "top None 'x' None None None [('HmacOtp-Counter', '1'), ('HmacOtp-Secret-Base32', 'GEZDGNBVGY3TQOJQ')]",
            "web/bank None None None None None [('pin', '0000')]",
        ] {
            assert!(said.contains(part), "{part}\n{said}");
        }
        // What the other program has read and written again comes back the same.
        let saved = home.path().join("saved.kdbx");
        let script = "import pykeepass, sys
pykeepass.PyKeePass(sys.argv[1], password=sys.argv[2]).save(sys.argv[3])";
        let mut save = Command::new(&venv);
        save.args(["-c", script])
            .arg(&file)
            .arg(PASSPHRASE)
            .arg(&saved);
        finish(&mut save, "").ok();
        check_round_trip(&home, &saved, "keepass", true);
    }
    if has_keepassxc {
        let ask = |words: &[&str]| {
            let mut command = Command::new("keepassxc-cli");
            finish(command.args(words), &format!("{PASSPHRASE}\n")).ok()
        };
        let path = file.to_str().unwrap();
        for (format, import) in [("xml", "keepass-xml"), ("csv", "keepass-csv")] {
            let saved = home.path().join(format!("saved.{format}"));
            std::fs::write(&saved, ask(&["export", "-q", "-f", format, path])).unwrap();
            // A table has no columns for most fields, so it is only imported where they are.
            if format == "xml" {
                check_round_trip(&home, &saved, import, false);
            } else {
                let said = home.run(&["import", import, saved.to_str().unwrap()]).ok();
                assert!(said.contains("0 new, 0 changed"), "{said}");
            }
        }
        let shown = ask(&["show", "-q", "-s", path, "web/shop & more/best"]);
        assert!(
            shown.contains("UserName: bob <b@x>") && shown.contains("Password:  p\"w,d;ü🔑 "),
            "{shown}"
        );
        let code = ask(&["show", "-q", "-t", path, "web/shop & more/best"]);
        assert_eq!(code.trim().len(), 6, "{code}");
        let mut counting = Command::new("keepassxc-cli");
        counting.args(["show", "-q", "-t", path, "top"]);
        // It makes no codes that count, so it must make none.
        let said = finish(&mut counting, &format!("{PASSPHRASE}\n"));
        assert!(said.code != 0 && said.out.is_empty(), "{said:?}");
    }
    if !has_pykeepass && !has_keepassxc {
        assert!(std::env::var_os("CI").is_none(), "CI must have pykeepass");
        eprintln!(
            "not run: neither pykeepass nor keepassxc-cli is installed; scripts/test installs the first"
        );
    }
}

#[test]
fn unencrypted_exports_ask_first_and_files_are_private() {
    use std::os::unix::fs::PermissionsExt;
    let home = home_with_records();
    let file = home.path().join("out");
    for format in ["bitwarden", "csv", "cxf", "paper"] {
        home.run(&["export", format, file.to_str().unwrap(), "--no-input"])
            .failed(3);
        assert!(!file.exists());
    }
    for format in ["kdbx", "csv", "cxf"] {
        home.run(&["export", format, file.to_str().unwrap(), "--yes"])
            .ok();
        assert_eq!(
            std::fs::metadata(&file).unwrap().permissions().mode() & 0o777,
            0o600
        );
        home.run(&["export", format, file.to_str().unwrap(), "--yes"])
            .failed(12);
        std::fs::remove_file(&file).unwrap();
    }
    // Without a server, a sheet of paper could not bring the vault back.
    let said = home.run(&["export", "paper", file.to_str().unwrap(), "--yes"]);
    assert!(said.err.contains("sync setup"), "{said:?}");
    said.failed(10);
    assert!(!file.exists());
}

#[test]
fn a_link_or_a_paper_sheet_brings_a_vault_to_a_new_device() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path());
    let (address, pin) = (server.address().to_string(), server.pin.to_string());
    let home = home_with_records();
    home.run(&["sync", "key", "--link"]).failed(10);
    home.run(&["sync", "setup", &address, "--pin", &pin]).ok();
    let link = home.run(&["sync", "key", "--link"]).ok();
    assert!(
        link.starts_with(&format!("passmate-sync://{address}/?pin={pin}#")),
        "{link}"
    );

    let other = Home::new();
    other.run(&["init"]).ok();
    let setup = |content: &str, more: &[&str]| {
        let file = other.write("link", content);
        other.run(
            &[
                &["sync", "setup", "--key-file", file.to_str().unwrap()],
                more,
            ]
            .concat(),
        )
    };
    // A host that is not the link's, a key without a host, a mistyped pin and a mistyped key.
    setup(&link, &["example.org"]).failed(2);
    setup(&home.run(&["sync", "key"]).ok(), &[]).failed(2);
    setup(&link.replace("pin=sha256:", "pin=sha256:zz"), &[]).failed(27);
    let (begin, key) = link.trim().split_once('#').unwrap();
    let other_digit = if key.starts_with('0') { '1' } else { '0' };
    setup(&format!("{begin}#{other_digit}{}", &key[1..]), &[]).failed(27);
    setup(&link, &[]).ok();
    assert_eq!(content(&other), content(&home));

    // The sheet has the same link as a QR code. The test uses its key only.
    let sheet = home.path().join("sheet.html");
    home.run(&["export", "paper", sheet.to_str().unwrap(), "--yes"])
        .ok();
    let html = std::fs::read_to_string(&sheet).unwrap();
    let lines = html
        .split("groups\">")
        .nth(1)
        .unwrap()
        .split("</div>\n</div>")
        .next()
        .unwrap();
    let key = lines
        .replace("<div>", "")
        .replace("</div>", " ")
        .replace(['\n', '\r'], "");
    let third = Home::new();
    third.run(&["init"]).ok();
    let file = third.write("key", key.replace(' ', "-").trim_matches('-'));
    third
        .run(&[
            "sync",
            "setup",
            &address,
            "--pin",
            &pin,
            "--key-file",
            file.to_str().unwrap(),
        ])
        .ok();
    assert_eq!(content(&third), content(&home));
}

#[test]
fn a_qr_code_holds_the_requested_field_or_fails() {
    let home = home_with_records();
    let shown: serde_json::Value = serde_json::from_str(
        &home
            .run(&["qr", "web/shop & more/best", "otp", "--json"])
            .ok(),
    )
    .unwrap();
    assert!(
        shown["text"]
            .as_str()
            .unwrap()
            .starts_with("otpauth://totp/shop?secret=GEZDGNBVGY3TQOJQ")
    );
    let rows = shown["rows"].as_array().unwrap();
    assert!(
        rows.iter()
            .all(|row| row.as_str().unwrap().len() == rows.len())
    );
    let blocks = home.run(&["qr", "top"]).ok();
    assert!(
        blocks.contains('▀') && !blocks.contains('\u{1b}'),
        "{blocks}"
    );
    home.run(&["qr", "web/bank"]).failed(10);
    home.run(&["qr", "nowhere"]).failed(10);
    home.run_with(&["set", "top", "long"], &"x".repeat(3000))
        .ok();
    home.run(&["qr", "top", "long"]).failed(23);
}
