//! The listener for an operator: what it shows, to whom, and what it never shows.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::Command;

use crate::support::{Program, start};
use passmate_testkit::wait::until;
use passmate_testkit::wire::update;

struct Page {
    status: u16,
    head: String,
    body: String,
}

fn ask(mut stream: impl Read + Write, request: &str) -> Page {
    stream.write_all(request.as_bytes()).unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
    let status = head
        .split(' ')
        .nth(1)
        .and_then(|status| status.parse().ok())
        .unwrap_or(0);
    Page {
        status,
        head: head.to_lowercase(),
        body: body.to_owned(),
    }
}

fn address(program: &Program) -> String {
    let line = program
        .greeting
        .lines()
        .find_map(|line| line.strip_prefix("status page http://"))
        .unwrap();
    line.trim_end_matches('/').to_owned()
}

fn get(program: &Program, path: &str) -> Page {
    let address = address(program);
    ask(
        TcpStream::connect(&address).unwrap(),
        &format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n"),
    )
}

#[test]
fn an_operator_sees_what_happens_and_never_to_whom() {
    let dir = tempfile::tempdir().unwrap();
    let program = start(dir.path(), &["--admin-listen", "127.0.0.1:0"]);
    let account = program.create(b"sealed");
    program.fetch(account).unwrap();
    let mut stranger = program.greeted();
    stranger.send(&update(account, [1; 32]));
    stranger.end();
    // The server counts a connection after its client has seen the end.
    let refused =
        "passmate_exchanges_total{action=\"update\",result=\"unknown_account_or_token\"} 1";
    until("the refusal is counted", || {
        get(&program, "/metrics").body.contains(refused)
    });
    // The server looks at its store after it has started.
    until("the store is looked at", || {
        get(&program, "/metrics")
            .body
            .contains("passmate_accounts ")
    });
    let counts = get(&program, "/metrics").body;
    assert!(
        counts.contains("passmate_exchanges_total{action=\"create\",result=\"confirmed\"} 1\n"),
        "{counts}"
    );
    assert!(counts.contains("passmate_certificate_not_after_seconds "));
    let page = get(&program, "/");
    assert_eq!(page.status, 200);
    assert!(
        page.body.contains("How exchanges ended") && page.body.contains("unknown account or token")
    );
    let hex: String = account.iter().map(|byte| format!("{byte:02X}")).collect();
    for text in [&page.body, &counts] {
        assert!(!text.contains(&hex) && !text.to_lowercase().contains(&hex.to_lowercase()));
    }
    for header in [
        "content-security-policy: default-src 'none'",
        "x-content-type-options: nosniff",
        "cache-control: no-store",
    ] {
        assert!(page.head.contains(header), "{header}: {}", page.head);
    }
    assert_eq!(get(&program, "/health/live").body, "alive\n");
    assert_eq!(get(&program, "/health/ready").body, "ready\n");
    assert_eq!(get(&program, "/metrics/").status, 404);
    assert_eq!(
        program.fetch(account).unwrap(),
        b"sealed",
        "a probe changes nothing"
    );
}

#[test]
fn the_admin_listener_is_read_only_and_same_site() {
    let dir = tempfile::tempdir().unwrap();
    let program = start(dir.path(), &["--admin-listen", "127.0.0.1:0"]);
    let address = address(&program);
    let ask_as = |method: &str, host: &str| {
        let request = format!(
            "{method} / HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
        );
        ask(TcpStream::connect(&address).unwrap(), &request).status
    };
    assert_eq!(ask_as("GET", "localhost:1"), 200);
    assert_eq!(ask_as("GET", "evil.example"), 403);
    assert_eq!(ask_as("GET", "localhost.evil.example"), 403);
    assert_eq!(ask_as("GET", "odd host"), 403);
    // What a load balancer asks without a name is not from a browser.
    for bare in [
        "GET /health/live HTTP/1.0\r\n\r\n",
        "GET /health/live HTTP/1.1\r\nConnection: close\r\n\r\n",
    ] {
        assert_eq!(ask(TcpStream::connect(&address).unwrap(), bare).status, 200);
    }
    for method in ["POST", "PUT", "DELETE"] {
        assert_eq!(ask_as(method, "localhost"), 405);
    }
    // An endless head and silent connections do not block others.
    let mut endless = TcpStream::connect(&address).unwrap();
    let _ = endless.write_all(format!("GET / HTTP/1.1\r\nx: {}", "y".repeat(100_000)).as_bytes());
    let _silent: Vec<TcpStream> = (0..40)
        .map(|_| TcpStream::connect(&address).unwrap())
        .collect();
    assert_eq!(ask_as("GET", "localhost"), 200);
}

#[test]
fn half_open_connections_do_not_delay_a_health_check() {
    let dir = tempfile::tempdir().unwrap();
    let program = start(dir.path(), &["--admin-listen", "127.0.0.1:0"]);
    let address = address(&program);
    let half_open: Vec<TcpStream> = (0..33)
        .map(|_| {
            let mut stream = TcpStream::connect(&address).unwrap();
            stream.write_all(b"GET /health/live HTTP/1.1\r\n").unwrap();
            stream
        })
        .collect();
    assert_eq!(get(&program, "/health/live").status, 200);
    // The answer came before the deadline of those that were first, so they are still open.
    let is_open = |stream: &&TcpStream| {
        stream.set_nonblocking(true).unwrap();
        let read = stream.peek(&mut [0]);
        read.is_err_and(|error| error.kind() == std::io::ErrorKind::WouldBlock)
    };
    assert!(half_open.iter().filter(is_open).count() > 16);
}

#[test]
fn only_an_unused_admin_socket_is_replaced() {
    let (dir, place) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let socket: PathBuf = place.path().join("admin.sock");
    let option = format!("unix:{}", socket.display());
    for _ in 0..2 {
        let program = start(dir.path(), &["--admin-listen", &option]);
        let page = ask(
            UnixStream::connect(&socket).unwrap(),
            "GET /health/ready HTTP/1.1\r\nConnection: close\r\n\r\n",
        );
        assert_eq!((page.status, page.body.as_str()), (200, "ready\n"));
        use std::os::unix::fs::PermissionsExt;
        assert_eq!(
            std::fs::metadata(&socket).unwrap().permissions().mode() & 0o777,
            0o660
        );
        // The server is killed, so the socket stays, and no process listens on it.
        drop(program);
    }
    std::fs::remove_file(&socket).unwrap();
    std::fs::write(&socket, "mine").unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_passmate-server"))
        .env_clear()
        .args([
            "serve",
            "--listen",
            "127.0.0.1:0",
            "--admin-listen",
            &option,
            "--data-dir",
        ])
        .arg(dir.path())
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert_eq!(std::fs::read(&socket).unwrap(), b"mine");
    for bad in ["9556", "localhost", "unix:relative", "example.org:9556"] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_passmate-server"));
        let output = command
            .env_clear()
            .args(["serve", "--admin-listen", bad, "--data-dir"])
            .arg(dir.path())
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(2), "{bad}: {output:?}");
    }
}

#[test]
fn a_server_that_cannot_write_is_not_ready_and_says_why() {
    let dir = tempfile::tempdir().unwrap();
    let program = start(dir.path(), &["--admin-listen", "127.0.0.1:0"]);
    // Another program holds the database, as a backup with a lock would.
    let held = rusqlite::Connection::open(dir.path().join("passmate.db")).unwrap();
    held.execute_batch("BEGIN IMMEDIATE").unwrap();
    let page = get(&program, "/health/ready");
    assert_eq!(page.status, 503);
    assert!(page.body.contains("not ready: the store"), "{}", page.body);
    assert_eq!(get(&program, "/health/live").status, 200);
    assert_eq!(get(&program, "/").status, 200, "looking goes on");
}

#[test]
fn a_browser_shows_the_page_without_a_complaint() {
    let Some(browser) = ["chromium", "chromium-browser", "google-chrome"]
        .into_iter()
        .find(|name| {
            Command::new(name)
                .arg("--version")
                .output()
                .is_ok_and(|output| output.status.success())
        })
    else {
        eprintln!("not run: there is no Chromium");
        return;
    };
    let dir = tempfile::tempdir().unwrap();
    let program = start(dir.path(), &["--admin-listen", "127.0.0.1:0"]);
    program.create(b"sealed");
    let picture = dir.path().join("page.png");
    let output = Command::new(browser)
        .args([
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-quic",
            "--no-first-run",
            "--enable-logging=stderr",
        ])
        .args([
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            "--dump-dom",
        ])
        .arg(format!(
            "--user-data-dir={}",
            dir.path().join("browser").display()
        ))
        .arg(format!("--screenshot={}", picture.display()))
        .arg(format!("http://{}/", address(&program)))
        .output()
        .unwrap();
    let (dom, log) = (
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
    assert!(
        dom.contains("<h1>Passmate server</h1>") && dom.contains("How exchanges ended"),
        "{dom}"
    );
    // What the policy of the page forbids, and what it asks for from elsewhere, is told on the
    // console.
    assert!(!log.contains(":CONSOLE"), "{log}");
}
