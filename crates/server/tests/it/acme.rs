//! A certificate from an authority that speaks ACME: Pebble, which Let's Encrypt tests with.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use passmate_testkit::wait::until;

use crate::support::{Program, operate, start, text};

const NAMES: [&str; 2] = ["sync.example.test", "vault.example.test"];

/// Pebble, and its DNS server, for which every name is this machine.
struct Authority {
    pebble: Child,
    dns: Child,
    /// The certificate that its directory is trusted by.
    ca_file: PathBuf,
    directory: String,
    /// Where its checks by TLS arrive.
    check_port: u16,
    /// Where records are put into the DNS.
    dns_admin: u16,
}

impl Authority {
    /// `None`: Pebble is not installed.
    fn start(dir: &Path) -> Option<Self> {
        let [port, admin, check_port, dns_port, dns_admin] = free_ports();
        let mut ca = rcgen::CertificateParams::default();
        ca.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let ca_key = rcgen::KeyPair::generate().unwrap();
        let [ca_file, leaf_file, key_file] =
            ["ca.pem", "leaf.pem", "leaf.key"].map(|name| dir.join(name));
        fs::write(&ca_file, ca.self_signed(&ca_key).unwrap().pem()).unwrap();
        let issuer = rcgen::Issuer::new(ca, ca_key);
        let key = rcgen::KeyPair::generate().unwrap();
        let leaf = rcgen::CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        fs::write(&leaf_file, leaf.signed_by(&key, &issuer).unwrap().pem()).unwrap();
        fs::write(&key_file, key.serialize_pem()).unwrap();
        let config = dir.join("pebble.json");
        fs::write(
            &config,
            serde_json::json!({ "pebble": {
                "listenAddress": format!("127.0.0.1:{port}"),
                "managementListenAddress": format!("127.0.0.1:{admin}"),
                "certificate": leaf_file, "privateKey": key_file,
                "httpPort": 1, "tlsPort": check_port,
                "ocspResponderURL": "", "externalAccountBindingRequired": false,
            }})
            .to_string(),
        )
        .unwrap();
        let quiet = |command: &mut Command| {
            let command = command.stdin(Stdio::null()).stdout(Stdio::null());
            command.stderr(Stdio::null()).spawn().ok()
        };
        let mut dns = Command::new("pebble-challtestsrv");
        dns.args(["-defaultIPv4", "127.0.0.1", "-defaultIPv6", ""])
            .args(["-http01", "", "-https01", "", "-tlsalpn01", ""])
            .args(["-dns01", &format!("127.0.0.1:{dns_port}")])
            .args(["-management", &format!("127.0.0.1:{dns_admin}")]);
        let Some(dns) = quiet(&mut dns) else {
            eprintln!("not run: needs pebble");
            return None;
        };
        let mut pebble = Command::new("pebble");
        pebble
            .arg("-config")
            .arg(&config)
            .args(["-dnsserver", &format!("127.0.0.1:{dns_port}"), "-strict"])
            .env("PEBBLE_VA_NOSLEEP", "1")
            // It rejects good nonces at random, 5 in 100 by default: three in a row are too many for
            // the client, and too frequent for tests.
            .env("PEBBLE_WFE_NONCEREJECT", "1")
            .env("PEBBLE_AUTHZREUSE", "0");
        let pebble = quiet(&mut pebble).expect("pebble is there if its DNS server is");
        for port in [port, dns_admin] {
            until("the authority listens", || {
                std::net::TcpStream::connect(("127.0.0.1", port)).is_ok()
            });
        }
        Some(Self {
            pebble,
            dns,
            ca_file,
            directory: format!("https://localhost:{port}/dir"),
            check_port,
            dns_admin,
        })
    }

    fn options(&self) -> Vec<String> {
        let mut options = vec![
            format!("--acme-directory={}", self.directory),
            format!("--acme-ca-file={}", text(&self.ca_file)),
            format!("--acme-listen=127.0.0.1:{}", self.check_port),
            "--acme-contact=admin@example.test".to_owned(),
        ];
        options.extend(NAMES.map(|name| format!("--acme={name}")));
        options
    }
}

impl Drop for Authority {
    fn drop(&mut self) {
        for child in [&mut self.pebble, &mut self.dns] {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// Ports that nobody uses at the moment.
fn free_ports<const N: usize>() -> [u16; N] {
    let listeners = [(); N].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
    listeners.map(|listener| listener.local_addr().unwrap().port())
}

fn start_with(dir: &Path, options: &[String]) -> Program {
    let options: Vec<&str> = options.iter().map(String::as_str).collect();
    start(dir, &options)
}

/// What `cert show --json` says.
fn shown(dir: &Path) -> serde_json::Value {
    let output = operate(dir, &["cert", "show", "--json"]);
    serde_json::from_slice(&output.stdout).unwrap()
}

/// The names of the certificate, and whether the server made it itself.
fn names(dir: &Path) -> (String, bool) {
    let shown = shown(dir);
    (
        shown["names"].to_string(),
        shown["self_signed"].as_bool().unwrap(),
    )
}

#[test]
fn a_certificate_is_issued_for_the_pinned_key_and_served() {
    let (place, data) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let Some(authority) = Authority::start(place.path()) else {
        return;
    };
    let program = start_with(data.path(), &authority.options());
    let pin = program.pin().to_owned();
    program.wait_for_log("a certificate was issued");
    program.wait_for_log("the certificate has changed; new connections use it");
    assert_eq!(shown(data.path())["pin"], pin.as_str(), "the key stays");
    let wanted = format!("[\"{}\",\"{}\"]", NAMES[0], NAMES[1]);
    assert_eq!(names(data.path()), (wanted.clone(), false));
    let account = data.path().join("acme-account.json");
    let mode = fs::metadata(&account).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600, "the account has a key");
    // The server shows it, and serves as before.
    let served = certificate_of(&program);
    assert_eq!(served, first_der(&data.path().join("cert.pem")));
    program.stop();

    // The next start orders nothing: the certificate is good.
    let program = start_with(data.path(), &authority.options());
    assert_eq!(program.pin(), pin);
    assert_eq!(certificate_of(&program), served);
    program.stop();
    assert_eq!(names(data.path()), (wanted, false));
}

#[test]
fn a_dns_hook_proves_the_names_without_port_443() {
    let (place, data) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let Some(authority) = Authority::start(place.path()) else {
        return;
    };
    let hook = place.path().join("hook");
    let script = format!(
        r#"#!/usr/bin/env python3
import json, sys, urllib.request
path = {{"set": "set-txt", "clear": "clear-txt"}}[sys.argv[1]]
body = {{"host": sys.argv[2], "value": sys.argv[3] if len(sys.argv) > 3 else ""}}
urllib.request.urlopen("http://127.0.0.1:{}/" + path, json.dumps(body).encode())
"#,
        authority.dns_admin
    );
    fs::write(&hook, script).unwrap();
    fs::set_permissions(&hook, fs::Permissions::from_mode(0o755)).unwrap();
    let mut options = authority.options();
    options.push(format!("--acme-dns-hook={}", text(&hook)));
    let program = start_with(data.path(), &options);
    program.wait_for_log("a certificate was issued");
    program.stop();
    assert!(!names(data.path()).1);
}

#[test]
fn an_account_that_the_authority_lost_is_made_again() {
    let (place, data) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let Some(authority) = Authority::start(place.path()) else {
        return;
    };
    let program = start_with(data.path(), &authority.options());
    program.wait_for_log("a certificate was issued");
    program.stop();
    let account = data.path().join("acme-account.json");
    let kept = fs::read_to_string(&account).unwrap();
    let lost = kept.replace("/my-account/", "/my-account/0");
    assert_ne!(lost, kept);
    fs::write(&account, lost).unwrap();
    fs::remove_file(data.path().join("cert.pem")).unwrap();

    let program = start_with(data.path(), &authority.options());
    program.wait_for_log("the ACME server has lost this server's account; a new one is made");
    program.wait_for_log("a certificate was issued");
    program.stop();
    assert!(!names(data.path()).1);
}

#[test]
fn a_hook_that_hangs_does_not_hold_a_stop() {
    let (place, data) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let Some(authority) = Authority::start(place.path()) else {
        return;
    };
    let (hook, called) = (place.path().join("hook"), place.path().join("called"));
    fs::write(
        &hook,
        format!("#!/bin/sh\n: > {}\nsleep 600\n", text(&called)),
    )
    .unwrap();
    fs::set_permissions(&hook, fs::Permissions::from_mode(0o755)).unwrap();
    let mut options = authority.options();
    options.push(format!("--acme-dns-hook={}", text(&hook)));
    let program = start_with(data.path(), &options);
    until("the hook hangs", || called.exists());
    let log = program.log();
    assert!(!log.contains("does not close"), "{log}");
}

#[test]
fn without_the_authority_the_server_serves_on_and_says_why() {
    let dir = tempfile::tempdir().unwrap();
    let [port] = free_ports();
    let options = [
        "--acme=sync.example.test".to_owned(),
        format!("--acme-directory=https://127.0.0.1:{port}/dir"),
    ];
    let program = start_with(dir.path(), &options);
    program.wait_for_log("no certificate was issued; the present one is served on");
    program.wait_for_log("Connection refused");
    program.wait_for_log("check --acme-directory");
    let account = program.create(b"served");
    assert_eq!(program.fetch(account).unwrap(), b"served");
    program.stop();
}

#[test]
fn a_name_that_leads_elsewhere_is_named() {
    let (place, data) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let Some(authority) = Authority::start(place.path()) else {
        return;
    };
    let [elsewhere] = free_ports();
    let mut options = authority.options();
    options.push(format!("--acme-listen=127.0.0.1:{elsewhere}"));
    options.retain(|option| *option != format!("--acme-listen=127.0.0.1:{}", authority.check_port));
    let program = start_with(data.path(), &options);
    program.wait_for_log("the ACME server did not accept that ");
    program.wait_for_log("port 443 there reaches --acme-listen");
    assert!(names(data.path()).1, "the server's own certificate stays");
    program.stop();
}

fn first_der(path: &Path) -> Vec<u8> {
    use rustls::pki_types::CertificateDer;
    use rustls::pki_types::pem::PemObject;
    CertificateDer::from_pem_file(path).unwrap().to_vec()
}

/// The certificate that the server shows.
fn certificate_of(program: &Program) -> Vec<u8> {
    let shown = Command::new("openssl")
        .args(["s_client", "-connect", &program.address().to_string()])
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .output()
        .unwrap();
    use rustls::pki_types::CertificateDer;
    use rustls::pki_types::pem::PemObject;
    CertificateDer::from_pem_slice(&shown.stdout)
        .unwrap()
        .to_vec()
}
