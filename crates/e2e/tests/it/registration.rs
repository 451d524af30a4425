//! Registration modes: open, invite and closed, with the real programs of operator and device.

use crate::support::program::{Home, Said};
use crate::support::{Server, operate};

fn start(dir: &tempfile::TempDir, registration: &str) -> Server {
    Server::start_with(
        dir.path(),
        &["--listen", "127.0.0.1:0", "--registration", registration],
    )
}

fn home_with_record() -> Home {
    let home = Home::new();
    home.run(&["init"]).ok();
    home.run_with(&["set", "web/bank", "password"], "battery staple\n")
        .ok();
    home
}

fn set_up(home: &Home, server: &Server, more: &[&str]) -> Said {
    let (address, pin) = (server.address().to_string(), server.pin.to_string());
    home.run(&[&["sync", "setup", &address, "--pin", &pin], more].concat())
}

#[test]
fn open_admits_new_accounts_and_closed_admits_none() {
    let dir = tempfile::tempdir().unwrap();
    let server = start(&dir, "open");
    let (first, second) = (home_with_record(), Home::new());
    second.run(&["init"]).ok();
    set_up(&first, &server, &[]).ok();
    let address = server.address().to_string();
    server.stop();

    let server = Server::start_with(
        dir.path(),
        &["--listen", &address, "--registration", "closed"],
    );
    assert!(
        server.greeting.contains("no new accounts"),
        "{}",
        server.greeting
    );
    let said = set_up(&second, &server, &[]);
    assert!(said.err.contains("--request"), "{said:?}");
    said.failed(22);
    // On a closed server, an invite has no effect, and existing accounts go on working.
    operate(
        dir.path(),
        &["invite", "open", "--seats", "1", "--for", "1h"],
    )
    .ok();
    set_up(&second, &server, &[]).failed(22);
    first.run_with(&["set", "web/bank", "user"], "bob\n").ok();
    first.run(&["sync"]).ok();
    let key = second.write("key", first.run(&["sync", "key"]).ok());
    set_up(&second, &server, &["--key-file", key.to_str().unwrap()]).ok();
    assert_eq!(second.run(&["show", "web/bank", "user"]).ok(), "bob\n");
}

/// A rotation makes an account, which an invite-only server admits when its operator opens a seat.
#[test]
fn a_loss_on_a_server_that_admits_nobody_is_dealt_with_once_a_seat_is_open() {
    let dir = tempfile::tempdir().unwrap();
    let server = start(&dir, "open");
    let home = home_with_record();
    set_up(&home, &server, &[]).ok();
    let key = home.run(&["sync", "key"]).ok();
    let address = server.address().to_string();
    server.stop();
    let _server = Server::start_with(
        dir.path(),
        &["--listen", &address, "--registration", "invite"],
    );
    let said = home.run(&["sync", "rotate", "--lost", "--yes"]);
    assert!(said.err.contains("it is still there"), "{said:?}");
    assert!(said.err.contains("invite open --seats 1"), "{said:?}");
    said.failed(22);
    let said = home.run(&["sync"]);
    assert!(said.err.contains("invite open --seats 1"), "{said:?}");
    said.failed(22);
    let seat = ["invite", "open", "--seats", "1", "--for", "1h"];
    operate(dir.path(), &seat).ok();
    home.run(&["sync"]).ok();
    assert_ne!(home.run(&["sync", "key"]).ok(), key);
}

#[test]
fn a_code_admits_a_device_once() {
    let dir = tempfile::tempdir().unwrap();
    let server = start(&dir, "invite");
    assert!(server.greeting.contains("--request"), "{}", server.greeting);
    let home = home_with_record();
    let code = set_up(&home, &server, &["--request"]).ok();
    assert_eq!(code.trim().split('-').count(), 8, "{code}");
    assert_eq!(
        set_up(&home, &server, &["--request"]).ok(),
        code,
        "a second request has the same key"
    );
    let pictured = set_up(&home, &server, &["--request", "--qr"]).ok();
    assert!(
        pictured.starts_with(&code) && pictured.contains('▀'),
        "{pictured}"
    );

    // Before the operator admits the device, every command says what is missing.
    let said = set_up(&home, &server, &[]);
    assert!(
        said.err.contains("has not admitted this device yet"),
        "{said:?}"
    );
    said.failed(22);
    home.run(&["sync"]).failed(22);
    home.run(&["sync", "key"]).failed(22);
    home.run(&["sync", "rotate", "--yes"]).failed(22);
    assert!(
        home.run(&["sync", "status"])
            .ok()
            .contains("waits to be admitted")
    );

    // An operator may type the code in lower case, with blanks for dashes.
    let typed = code.trim().to_lowercase().replace('-', " ");
    operate(
        dir.path(),
        &["invite", "add", &typed, "--note", "Ada's laptop"],
    )
    .ok();
    let listed = operate(dir.path(), &["invite", "list"]).ok();
    assert!(
        listed.contains(code.trim()) && listed.contains("Ada's laptop"),
        "{listed}"
    );
    // Another device is still refused.
    set_up(&home_with_record(), &server, &[]).failed(22);

    // The device remembers pin and key, so the host is enough.
    let said = home
        .run(&["sync", "setup", &server.address().to_string()])
        .ok();
    assert!(said.starts_with("synced with 127.0.0.1: "), "{said}");
    assert_eq!(operate(dir.path(), &["invite", "list"]).ok(), "");
    home.run(&["sync"]).ok();
    // A second device joins the account as usual. A second account needs a second code.
    let phone = home_with_record();
    let key = phone.write("key", home.run(&["sync", "key"]).ok());
    set_up(&phone, &server, &["--key-file", key.to_str().unwrap()]).ok();
    assert_eq!(
        phone.run(&["sync", "status"]).ok().lines().next(),
        home.run(&["sync", "status"]).ok().lines().next()
    );
    home.run(&["sync", "leave", "--yes"]).ok();
    set_up(&home, &server, &[]).failed(22);
}

#[test]
fn open_seats_admit_whoever_comes_first() {
    let dir = tempfile::tempdir().unwrap();
    let server = start(&dir, "invite");
    set_up(&home_with_record(), &server, &[]).failed(22);
    let said = operate(
        dir.path(),
        &["invite", "open", "--seats", "2", "--for", "24h"],
    )
    .ok();
    assert!(
        said.starts_with("anyone may create 2 accounts until "),
        "{said}"
    );
    set_up(&home_with_record(), &server, &[]).ok();
    assert!(
        operate(dir.path(), &["invite", "list"])
            .ok()
            .starts_with("open: 1 account until ")
    );
    set_up(&home_with_record(), &server, &[]).ok();
    set_up(&home_with_record(), &server, &[]).failed(22);
    operate(
        dir.path(),
        &["invite", "open", "--seats", "5", "--for", "24h"],
    )
    .ok();
    assert_eq!(
        operate(dir.path(), &["invite", "revoke", "open"]).ok(),
        "5 open seats are revoked\n"
    );
    set_up(&home_with_record(), &server, &[]).failed(22);
}

#[test]
fn mistakes_of_an_operator_are_reported() {
    let dir = tempfile::tempdir().unwrap();
    operate(dir.path(), &["invite", "list"]).failed_by("passmate-server", 10);
    let server = start(&dir, "invite");
    let home = home_with_record();
    let code = set_up(&home, &server, &["--request"]).ok();
    let code = code.trim();
    let wrong = if code.starts_with('A') {
        code.replacen('A', "B", 1)
    } else {
        format!("A{}", &code[1..])
    };
    let error = operate(dir.path(), &["invite", "add", &wrong]).failed_by("passmate-server", 2);
    assert!(error.contains("checksum"), "{error}");
    operate(dir.path(), &["invite", "add", &code[1..]]).failed_by("passmate-server", 2);
    operate(dir.path(), &["invite", "revoke", code]).failed_by("passmate-server", 10);
    operate(dir.path(), &["invite", "add", code]).ok();
    let json = operate(dir.path(), &["invite", "list", "--json"]).ok();
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(
        (&json["version"], &json["invites"][0]["code"]),
        (&1.into(), &code.into())
    );
    operate(dir.path(), &["invite", "revoke", code]).ok();
    set_up(&home, &server, &[]).failed(22);
    // A device that stops waiting keeps its vault.
    home.run(&["sync", "leave", "--delete", "--yes"]).ok();
    assert_eq!(
        home.run(&["show", "web/bank", "password"]).ok(),
        "battery staple\n"
    );
}

#[test]
fn registration_changes_without_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("server.toml");
    std::fs::write(&file, "registration = \"closed\"\n").unwrap();
    let arguments = [
        "--listen",
        "127.0.0.1:0",
        "--config",
        file.to_str().unwrap(),
    ];
    let server = Server::start_with(dir.path(), &arguments);
    set_up(&home_with_record(), &server, &[]).failed(22);
    std::fs::write(&file, "registration = \"open\"\n").unwrap();
    rustix::process::kill_process(server.pid(), rustix::process::Signal::HUP).unwrap();
    let begun = std::time::Instant::now();
    loop {
        if set_up(&home_with_record(), &server, &[]).code == 0 {
            break;
        }
        assert!(
            begun.elapsed().as_secs() < 30,
            "registration is still closed"
        );
    }
}
