//! The life of a server in one test, with the real programs, from the first start to the last stop.

use std::io::{Read, Write};
use std::net::TcpStream;

use crate::support::program::Home;
use crate::support::{Server, operate};

const OPTIONS: [&str; 4] = ["--registration", "invite", "--admin-listen", "127.0.0.1:0"];

fn started(dir: &std::path::Path, address: &str) -> Server {
    Server::start_with(dir, &[&["--listen", address], OPTIONS.as_slice()].concat())
}

fn get(server: &Server, path: &str) -> String {
    let page = server
        .greeting
        .lines()
        .find_map(|line| line.strip_prefix("status page http://"))
        .unwrap();
    let address = page.trim_end_matches('/');
    let mut stream = TcpStream::connect(address).unwrap();
    write!(
        stream,
        "GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n"
    )
    .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

#[test]
fn no_device_loses_data_from_first_start_to_last_stop() {
    let (dir, place) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let backup = place.path().join("backup");
    let backup = backup.to_str().unwrap();
    let operator = |words: &[&str]| operate(dir.path(), words);

    // Morning: the server starts, and the operator admits a device.
    let server = started(dir.path(), "127.0.0.1:0");
    let (address, pin) = (server.address().to_string(), server.pin.to_string());
    let homes = [Home::new(), Home::new(), Home::new()];
    for home in &homes {
        home.run(&["init"]).ok();
    }
    let [first, second, third] = &homes;
    first.run_with(&["set", "mail", "password"], "morning").ok();
    first
        .run(&["sync", "setup", &address, "--pin", &pin])
        .failed(22);
    let code = first
        .run(&["sync", "setup", &address, "--pin", &pin, "--request"])
        .ok();
    operator(&["invite", "add", code.trim(), "--note", "Ada"]).ok();
    first.run(&["sync", "setup", &address, "--pin", &pin]).ok();
    let link = first.run(&["sync", "key", "--link"]).ok();
    for home in [second, third] {
        let file = home.write("link", &link);
        home.run(&["sync", "setup", "--key-file", file.to_str().unwrap()])
            .ok();
        assert_eq!(home.run(&["show", "mail", "password"]).ok(), "morning\n");
    }
    assert!(
        operator(&["account", "list"]).ok().lines().count() == 1,
        "three devices share one account"
    );

    // Noon: a new certificate and a backup, while the devices sync.
    operator(&["cert", "new"]).ok();
    operator(&["backup", backup, "--with-key"]).ok();
    operator(&["verify", backup]).ok();
    let checked = operator(&["check", "--registration", "invite"]);
    let findings = checked
        .out
        .lines()
        .filter(|line| line.starts_with("finding: "));
    // The disk of the machine that runs the tests may be nearly full.
    let others: Vec<&str> = findings
        .filter(|finding| !finding.starts_with("finding: the disk has "))
        .collect();
    assert!(others.is_empty(), "{checked:?}");
    second.run_with(&["set", "mail", "password"], "noon").ok();
    second.run(&["sync"]).ok();
    third.run_with(&["set", "bank", "pin"], "1234").ok();
    third.run(&["sync"]).ok();
    first.run(&["sync"]).ok();
    assert!(get(&server, "/health/ready").ends_with("ready\n"));
    assert!(
        get(&server, "/metrics")
            .contains("passmate_exchanges_total{action=\"update\",result=\"confirmed\"}")
    );

    // Evening: the server is killed. Everything that it confirmed is still there.
    drop(server);
    let server = started(dir.path(), &address);
    assert_eq!(
        server.pin.to_string(),
        pin,
        "the certificate is new, and its key is the same"
    );
    operator(&["verify"]).ok();
    first.run(&["sync"]).ok();
    assert_eq!(first.run(&["show", "mail", "password"]).ok(), "noon\n");
    server.stop();

    // Night: the machine burns down. The noon backup is restored on another machine, and the
    // devices send what is missing in it.
    let elsewhere = tempfile::tempdir().unwrap();
    operate(elsewhere.path(), &["restore", backup]).ok();
    let server = started(elsewhere.path(), &address);
    assert_eq!(server.pin.to_string(), pin);
    third.run_with(&["set", "bank", "pin"], "5678").ok();
    let codes: Vec<i32> = homes
        .iter()
        .chain(&homes)
        .map(|home| home.run(&["sync"]).code)
        .collect();
    assert!(
        codes[..3].contains(&25) && codes[3..] == [0, 0, 0],
        "older data are reported once, and then every sync succeeds: {codes:?}"
    );
    let fingerprint = |home: &Home| {
        let status = home.run(&["sync", "status"]).ok();
        status
            .lines()
            .find(|line| line.starts_with("fingerprint"))
            .unwrap()
            .to_owned()
    };
    assert_eq!(fingerprint(first), fingerprint(second));
    assert_eq!(fingerprint(second), fingerprint(third));
    assert_eq!(second.run(&["show", "bank", "pin"]).ok(), "5678\n");
    assert_eq!(third.run(&["show", "mail", "password"]).ok(), "noon\n");
    operate(elsewhere.path(), &["verify"]).ok();
    server.stop();
}
