//! A client that shares no code with ours checks that the server does what docs/protocol.md says.

use std::process::Command;

use crate::support::Server;

/// The client's suite has at least this many checks. If there are fewer, some did not run.
const CHECKS_MIN: usize = 57;

#[test]
fn a_client_in_plain_python_confirms_the_documented_protocol() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start_with(
        dir.path(),
        &["--listen", "127.0.0.1:0", "--listen-v2", "127.0.0.1:0"],
    );
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/python/passmate_client.py");
    let ports = server
        .addresses
        .iter()
        .map(|address| address.port().to_string());
    let output = Command::new("python3")
        .arg(script)
        .arg(server.certificate())
        .arg("127.0.0.1")
        .args(ports)
        .output()
        .expect("python3 is needed for this test: scripts/test installs it");
    let (said, complaint) = (
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
    assert!(output.status.success(), "{said}{complaint}");
    let checked = said.lines().filter(|line| line.starts_with("ok ")).count();
    assert!(checked >= CHECKS_MIN, "{checked} checks: {said}");
}
