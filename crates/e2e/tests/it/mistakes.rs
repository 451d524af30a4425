//! Mistakes and faults that people meet, with the real programs. Each ends with its exit code, an
//! error and a hint, and no record is lost.

use std::fs::{self, File};
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::Command;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use passmate_core::net::trust::derive_pin;
use passmate_vault::Pin;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{
    ClientConfig, ClientConnection, RootCertStore, ServerConfig, ServerConnection, StreamOwned,
};

use crate::support::program::{Home, finish};
use crate::support::{Server, data};

/// A home with one record that is not on any server yet.
fn home_with_record() -> Home {
    let home = Home::new();
    home.run(&["init"]).ok();
    home.run_with(&["set", "web/bank", "password"], "battery staple\n")
        .ok();
    home
}

#[track_caller]
fn assert_nothing_lost(home: &Home) {
    assert_eq!(
        home.run(&["show", "web/bank", "password"]).ok(),
        "battery staple\n"
    );
}

fn here(server: &Server) -> String {
    server.address().to_string()
}

fn set_up(home: &Home, server: &Server) {
    let said = home
        .run(&[
            "sync",
            "setup",
            &here(server),
            "--pin",
            &server.pin.to_string(),
        ])
        .ok();
    assert!(said.starts_with("synced with 127.0.0.1: "), "{said}");
}

#[test]
fn a_self_signed_certificate_is_not_trusted() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path());
    let home = home_with_record();
    let error = home.run(&["sync", "setup", &here(&server)]).failed(21);
    assert!(
        error.contains("self-signed") || error.contains("authority"),
        "{error}"
    );
    assert_nothing_lost(&home);
}

#[test]
fn a_certificate_of_another_authority_is_not_trusted() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path());
    let home = home_with_record();
    let other = rcgen::generate_simple_self_signed(["other.example".to_owned()]).unwrap();
    let pem = home.write("ca.pem", other.cert.pem());
    home.run(&[
        "sync",
        "setup",
        &here(&server),
        "--ca-file",
        pem.to_str().unwrap(),
    ])
    .failed(21);
    assert_nothing_lost(&home);
}

#[test]
fn neither_a_wrong_pin_nor_a_changed_key_is_trusted() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path());
    let home = home_with_record();
    let wrong = format!("sha256:{}", "0".repeat(64));
    let error = home
        .run(&["sync", "setup", &here(&server), "--pin", &wrong])
        .failed(21);
    assert!(error.contains("not the pinned one"), "{error}");
    assert_nothing_lost(&home);
    set_up(&home, &server);

    // The operator loses the key, so the server at this address has a new one.
    let address = here(&server);
    server.stop();
    fs::remove_file(dir.path().join("key.pem")).unwrap();
    fs::remove_file(dir.path().join("cert.pem")).unwrap();
    let server = Server::start_with(dir.path(), &["--listen", &address]);
    let said = home.run(&["sync"]);
    assert!(said.err.contains("passmate sync trust PIN"), "{said:?}");
    assert!(
        !said.err.contains(&server.pin.to_string()),
        "a hint never contains a value that the peer supplied"
    );
    said.failed(21);
    assert_nothing_lost(&home);
    home.run(&["sync", "trust", &server.pin.to_string()]).ok();
    home.run(&["sync"]).ok();
}

#[test]
fn a_mistyped_sync_key_is_found_before_anything_is_sent() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path());
    let laptop = home_with_record();
    set_up(&laptop, &server);
    let key = laptop.run(&["sync", "key"]).ok();
    let phone = home_with_record();
    // One digit is wrong.
    let wrong: String = key
        .chars()
        .enumerate()
        .map(|(at, c)| {
            if at == 3 {
                if c == '0' { '1' } else { '0' }
            } else {
                c
            }
        })
        .collect();
    let file = phone.write("key", &wrong);
    let arguments = [
        "sync",
        "setup",
        &here(&server),
        "--pin",
        &server.pin.to_string(),
        "--key-file",
        file.to_str().unwrap(),
    ];
    phone.run(&arguments).failed(27);
    assert_nothing_lost(&phone);
    assert_eq!(
        phone.run(&["sync", "status"]).failed(10),
        "this vault is not connected to a server or folder"
    );
    // The right key works, also in lower case and with blanks.
    phone.write("key", key.to_lowercase().replace('-', " "));
    phone.run(&arguments).ok();
}

#[test]
fn a_wrong_passphrase_changes_nothing() {
    let home = home_with_record();
    let right = fs::read(home.path().join("passphrase")).unwrap();
    home.write("passphrase", "wrong\n");
    home.run(&["ls"]).failed(5);
    home.run_with(&["set", "web/bank", "password"], "other\n")
        .failed(5);
    home.write("passphrase", right);
    assert_nothing_lost(&home);
}

#[test]
fn offline_edits_work_while_the_server_is_unreachable() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path());
    let home = home_with_record();
    set_up(&home, &server);
    let address = here(&server);
    server.stop();
    home.run_with(&["set", "web/shop", "password"], "made offline\n")
        .ok();
    home.run(&["sync"]).failed(20);
    assert_nothing_lost(&home);
    let status = home.run(&["sync", "status"]).ok();
    assert!(status.contains("unsent changes: 2"), "{status}");
    let _server = Server::start_with(dir.path(), &["--listen", &address]);
    assert_eq!(
        home.run(&["sync"]).ok(),
        "synced with 127.0.0.1: 0 received, 2 sent, 0 conflicts resolved\n"
    );
}

#[test]
fn a_deleted_account_is_refused_and_no_record_is_lost() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path());
    let (laptop, phone) = (home_with_record(), Home::new());
    set_up(&laptop, &server);
    phone.run(&["init"]).ok();
    let key = phone.write("key", laptop.run(&["sync", "key"]).ok());
    let pin = server.pin.to_string();
    phone
        .run(&[
            "sync",
            "setup",
            &here(&server),
            "--pin",
            &pin,
            "--key-file",
            key.to_str().unwrap(),
        ])
        .ok();
    phone.run(&["sync", "leave", "--delete", "--yes"]).ok();
    assert_nothing_lost(&phone);
    let said = laptop.run(&["sync"]);
    assert!(said.err.contains("deleted"), "{said:?}");
    said.failed(22);
    assert_nothing_lost(&laptop);
}

#[test]
fn older_data_on_a_server_are_reported_and_repaired() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path());
    let home = home_with_record();
    set_up(&home, &server);
    let address = here(&server);
    server.stop();
    let place = tempfile::tempdir().unwrap();
    let old = place.path().join("old");
    data::copy(dir.path(), &old);
    let server = Server::start_with(dir.path(), &["--listen", &address]);
    home.run_with(&["set", "web/bank", "user"], "bob\n").ok();
    home.run(&["sync"]).ok();
    server.stop();
    data::put_back(&old, dir.path());
    let server = Server::start_with(dir.path(), &["--listen", &address]);
    let error = home.run(&["sync"]).failed(25);
    assert!(
        error.starts_with("the server returned older data: 1 change "),
        "{error}"
    );
    assert_nothing_lost(&home);
    assert_eq!(
        home.run(&["sync"]).ok(),
        "synced with 127.0.0.1: 0 received, 0 sent, 0 conflicts resolved\n"
    );
    drop(server);
}

#[test]
fn a_sync_that_received_and_sent_can_be_undone() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path());
    let (first, second) = (home_with_record(), Home::new());
    set_up(&first, &server);
    let key = second.write("key", first.run(&["sync", "key"]).ok());
    second.run(&["init"]).ok();
    second
        .run(&[
            "sync",
            "setup",
            &here(&server),
            "--pin",
            &server.pin.to_string(),
            "--key-file",
            key.to_str().unwrap(),
        ])
        .ok();
    first.run(&["rm", "web/bank", "--yes"]).ok();
    first.run(&["sync"]).ok();
    second.run_with(&["set", "mail", "user"], "bob\n").ok();
    assert_eq!(
        second.run(&["sync"]).ok(),
        "synced with 127.0.0.1: 1 received, 2 sent, 0 conflicts resolved\n"
    );
    second.run(&["show", "web/bank"]).failed(10);
    second.run(&["undo"]).ok();
    assert_nothing_lost(&second);
    assert_eq!(second.run(&["show", "mail", "user"]).ok(), "bob\n");
}

#[test]
fn passmate_writes_no_core_dump() {
    let home = home_with_record();
    let limit = r#"--passphrase-command=test "$(ulimit -H -c)" = 0 && cat "$HOME/passphrase""#;
    let mut command = home.command();
    finish(
        command
            .env_remove("PASSMATE_PASSPHRASE_FILE")
            .args([limit, "ls"]),
        "",
    )
    .ok();
}

#[test]
fn a_proxy_that_terminates_tls_is_found_at_setup() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path());
    let home = home_with_record();
    let (proxy, pin) = start_tls_proxy(&server);
    let error = home
        .run(&[
            "sync",
            "setup",
            &proxy.to_string(),
            "--pin",
            &pin.to_string(),
        ])
        .failed(21);
    assert!(error.contains("TLS"), "{error}");
    assert_nothing_lost(&home);
    assert_eq!(
        home.run(&["sync", "status"]).failed(10),
        "this vault is not connected to a server or folder"
    );
}

#[test]
fn a_full_disk_leaves_the_vault_unchanged() {
    if !rustix::process::geteuid().is_root() {
        eprintln!("not run: needs root");
        return;
    }
    let home = home_with_record();
    let mounted = home.path().join("small");
    fs::create_dir(&mounted).unwrap();
    let mount = |words: &[&str]| {
        Command::new("mount")
            .args(words)
            .arg(&mounted)
            .output()
            .unwrap()
    };
    let output = mount(&["-t", "tmpfs", "-o", "size=64k,mode=700", "tmpfs"]);
    if !output.status.success() {
        assert!(
            std::env::var_os("CI").is_none(),
            "CI must be able to mount: {output:?}"
        );
        eprintln!("not run: this system cannot mount a tmpfs");
        return;
    }
    let result = std::panic::catch_unwind(|| {
        let vault = mounted.join("vault.pmdb");
        fs::copy(home.path().join(".local/share/passmate/vault.pmdb"), &vault).unwrap();
        let before = fs::read(&vault).unwrap();
        let vault_word = vault.to_str().unwrap();
        // Fill the disk until a vault no longer fits.
        let mut filler = File::create(mounted.join("filler")).unwrap();
        while filler.write(&[0; 1024]).is_ok_and(|len| len > 0) {}
        drop(filler);
        let said = home.run_with(
            &["--vault", vault_word, "set", "web/bank", "password"],
            "lost\n",
        );
        assert!(said.err.contains("free some disk space"), "{said:?}");
        said.failed(7);
        assert_eq!(fs::read(&vault).unwrap(), before);
        assert_eq!(
            home.run(&["--vault", vault_word, "show", "web/bank", "password"])
                .ok(),
            "battery staple\n"
        );
        // After room is made, saving works again, and no temporary file is left.
        fs::remove_file(mounted.join("filler")).unwrap();
        home.run_with(
            &["--vault", vault_word, "set", "web/bank", "password"],
            "kept\n",
        )
        .ok();
        let names: Vec<_> = fs::read_dir(&mounted)
            .unwrap()
            .map(|entry| entry.unwrap().file_name())
            .collect();
        assert!(
            names
                .iter()
                .all(|name| name.to_str().unwrap().starts_with("vault.pmdb")),
            "{names:?}"
        );
    });
    Command::new("umount")
        .arg("-l")
        .arg(&mounted)
        .status()
        .unwrap();
    if let Err(panic) = result {
        std::panic::resume_unwind(panic);
    }
}

#[test]
fn each_usage_mistake_has_its_exit_code() {
    let home = home_with_record();
    home.run(&["init"]).failed(12);
    home.run(&["show", "web/none"]).failed(10);
    home.run(&["show", "web/bank", "none"]).failed(10);
    home.run_with(&["set", "web/bank", "note"], "").failed(2);
    home.run(&["new", "web/bank"]).failed(12);
    home.run(&["sync"]).failed(10);
    home.run(&["shwo", "web/bank"]).failed(2);
    home.run(&["ls", "--vault", "nowhere.pmdb"]).failed(10);
    home.run(&["--offline", "sync", "setup", "127.0.0.1"])
        .failed(20);
    assert_nothing_lost(&home);
}

#[test]
fn a_dry_run_shows_one_place_though_the_other_cannot_be_reached() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path());
    let home = home_with_record();
    set_up(&home, &server);
    let folder = home.path().join("cloud");
    fs::create_dir(&folder).unwrap();
    home.run(&["sync", "setup", "--folder", folder.to_str().unwrap()])
        .ok();
    home.run_with(&["set", "web/bank", "note"], "new\n").ok();
    server.stop();
    for words in [&["sync", "--dry-run"][..], &["sync", "--dry-run", "--json"]] {
        let said = home.run(words);
        assert_eq!(said.code, 20, "{said:?}");
        assert!(said.out.contains("web/bank"), "{said:?}");
    }
    fs::remove_dir_all(&folder).unwrap();
    let said = home.run(&["sync", "--dry-run"]);
    assert_eq!((said.code, said.out.as_str()), (20, ""), "{said:?}");
    assert!(said.err.contains("cloud"), "{said:?}");
}

/// A proxy that terminates TLS, as a load balancer with its own certificate does. However the
/// server ends the connection, the client sees a clean end.
fn start_tls_proxy(server: &Server) -> (SocketAddr, Pin) {
    let pair = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let pin = derive_pin(pair.cert.der()).unwrap();
    let key = PrivateKeyDer::Pkcs8(pair.signing_key.serialize_der().into());
    let inwards = ServerConfig::builder().with_no_client_auth();
    let inwards = Arc::new(
        inwards
            .with_single_cert(vec![pair.cert.der().clone()], key)
            .unwrap(),
    );
    let mut roots = RootCertStore::empty();
    roots
        .add(CertificateDer::from_pem_file(server.certificate()).unwrap())
        .unwrap();
    let outwards = Arc::new(
        ClientConfig::builder()
            .with_root_certificates(roots)
            .with_no_client_auth(),
    );
    let behind = server.address();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for client in listener.incoming() {
            let client = StreamOwned::new(
                ServerConnection::new(Arc::clone(&inwards)).unwrap(),
                client.unwrap(),
            );
            let name = "localhost".try_into().unwrap();
            let connection = ClientConnection::new(Arc::clone(&outwards), name).unwrap();
            let server = StreamOwned::new(connection, TcpStream::connect(behind).unwrap());
            thread::spawn(move || carry(client, server));
        }
    });
    (address, pin)
}

/// Copies plaintext both ways until one side has closed.
fn carry(
    mut client: StreamOwned<ServerConnection, TcpStream>,
    mut server: StreamOwned<ClientConnection, TcpStream>,
) {
    for tcp in [&client.sock, &server.sock] {
        tcp.set_read_timeout(Some(Duration::from_millis(5)))
            .unwrap();
    }
    while pass_on(&mut client, &mut server) && pass_on(&mut server, &mut client) {}
    client.conn.send_close_notify();
    let _ = client.flush();
}

/// Returns `false` once there is nothing more to copy.
fn pass_on(from: &mut impl Read, to: &mut impl Write) -> bool {
    let mut buffer = [0; 4096];
    match from.read(&mut buffer) {
        Ok(0) => false,
        Ok(len) => to
            .write_all(&buffer[..len])
            .and_then(|()| to.flush())
            .is_ok(),
        Err(error) => matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut),
    }
}

#[test]
fn a_change_is_not_kept_waiting_by_a_silent_server() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path());
    let home = home_with_record();
    set_up(&home, &server);
    let address = server.address();
    drop(server);
    // Connections are accepted, and nothing is ever answered.
    let _silent = TcpListener::bind(address).unwrap();
    fs::create_dir_all(home.path().join(".config/passmate")).unwrap();
    home.set("sync.auto = true\n");
    let said = home.run_with(&["set", "web/shop"], "one\n");
    let warning = "the change is saved and not synced";
    assert!(said.err.contains(warning), "{}", said.err);
    assert!(said.err.contains("silent for 2 seconds"), "{}", said.err);
    said.ok();
    assert_eq!(home.run(&["show", "web/shop", "password"]).ok(), "one\n");
    assert_nothing_lost(&home);
}
