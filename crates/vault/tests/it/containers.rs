//! `vectors/scrypt_cli`: good and bad containers of the `scrypt` utility, and the way back.

use std::io::Write;
use std::process::{Command, Stdio};

use getrandom::SysRng;
use passmate_vault::Passphrase;
use passmate_vault::format::container::{
    ContainerError, Params, SCRYPT_MEMORY_MAX, container_params, make_container, open_container,
};
use rand_core::UnwrapErr;
use sha2::{Digest, Sha256};

use crate::{members, text, vector, vector_json};

#[test]
fn a_container_of_the_scrypt_utility_opens() {
    let index = vector_json("scrypt_cli/index.json");
    let mut opened = 0;
    for (name, container) in members(&index["containers"]) {
        let bytes = vector(&format!("scrypt_cli/{name}.scrypt"));
        let passphrase = Passphrase::from(text(container, "passphrase").to_owned());
        let number = |key: &str| u32::try_from(container[key].as_u64().unwrap()).unwrap();
        let params = Params::new(
            u8::try_from(number("logN")).unwrap(),
            number("r"),
            number("p"),
        )
        .unwrap();
        assert_eq!(container_params(&bytes), Ok(params), "{name}");
        let payload = vector(&format!(
            "scrypt_cli/payload_{}.bin",
            text(container, "payload")
        ));
        assert_eq!(
            *open_container(&bytes, &passphrase).unwrap(),
            payload,
            "{name}"
        );
        opened += 1;
    }
    assert_eq!(opened, 21);
}

#[test]
fn every_damaged_container_has_its_error() {
    let index = vector_json("scrypt_cli/index.json");
    let mut refused = 0;
    for (name, bad) in members(&index["bad"]) {
        let bytes = vector(&format!("scrypt_cli/bad_{name}.scrypt"));
        let passphrase = Passphrase::from(text(bad, "passphrase").to_owned());
        let error = open_container(&bytes, &passphrase).unwrap_err();
        use ContainerError::{
            Damaged, HeaderDamaged, NotAContainer, ParamsInvalid, TooExpensive, Truncated,
            VersionUnknown, WrongPassphrase,
        };
        let is_expected = match name.as_str() {
            "wrong_passphrase" | "salt_flip_fixed" | "header_mac" => error == WrongPassphrase,
            "magic" | "empty" => error == NotAContainer,
            "version1" => error == VersionUnknown { version: 1 },
            "logN_flip" | "salt_flip" | "header_sum" => error == HeaderDamaged,
            "data" | "final_mac" | "trunc_1" | "trunc_128" | "trailing" => error == Damaged,
            "trunc_127" | "trunc_95" | "six" => error == Truncated { len: bytes.len() },
            "logN0" | "logN64" | "r0" | "p0" | "rp_2_30" => matches!(error, ParamsInvalid { .. }),
            "logN63" | "logN30" => matches!(error, TooExpensive { .. }),
            other => panic!("a new vector: {other}"),
        };
        assert!(is_expected, "{name}: {error:?}");
        refused += 1;
    }
    assert_eq!(refused, 24);
}

#[test]
fn the_scrypt_utility_opens_our_containers() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("vault.scrypt");
    let passphrase = "correct horse 🔑";
    let plaintext = vector("scrypt_cli/payload_pmdb.bin");
    let container = make_container(
        &plaintext,
        &Passphrase::from(passphrase.to_owned()),
        Params::STANDARD,
        &mut UnwrapErr(SysRng),
    );
    std::fs::write(&file, container.unwrap()).unwrap();
    let scrypt = Command::new("scrypt")
        .args(["dec", "--passphrase", "dev:stdin-once"])
        .arg(&file)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn();
    let mut scrypt = match scrypt {
        Ok(scrypt) => scrypt,
        Err(error)
            if error.kind() == std::io::ErrorKind::NotFound && std::env::var_os("CI").is_none() =>
        {
            eprintln!("not run: needs the scrypt utility");
            return;
        }
        Err(error) => panic!("scrypt: {error}"),
    };
    writeln!(scrypt.stdin.take().unwrap(), "{passphrase}").unwrap();
    let output = scrypt.wait_with_output().unwrap();
    assert!(output.status.success());
    assert_eq!(output.stdout, plaintext);
}

/// The most resident memory that this process ever had, in bytes.
fn memory_peak() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib = line.and_then(|line| line.split_whitespace().next());
    kib.unwrap().parse::<u64>().unwrap() * 1024
}

/// A container whose header asks for these parameters and has a right checksum.
fn container_asking_for(log_n: u8, r: u32, p: u32) -> Vec<u8> {
    let mut container = b"scrypt\0".to_vec();
    container.push(log_n);
    container.extend_from_slice(&r.to_be_bytes());
    container.extend_from_slice(&p.to_be_bytes());
    container.extend_from_slice(&[7; 32]);
    let sum = Sha256::digest(&container);
    container.extend_from_slice(&sum[..16]);
    container.resize(264, 0);
    container
}

#[test]
fn the_peak_of_a_derivation_with_its_scratch_is_within_the_limit() {
    const NAME: &str = "containers::the_peak_of_a_derivation_with_its_scratch_is_within_the_limit";
    const PARAMS: &str = "PASSMATE_TEST_PARAMS";
    // What the program takes besides.
    const PROGRAM: u64 = 48 << 20;
    if let Ok(params) = std::env::var(PARAMS) {
        let numbers: Vec<u32> = params.split(',').map(|n| n.parse().unwrap()).collect();
        let [log_n, r, p] = numbers.try_into().unwrap();
        let container = container_asking_for(u8::try_from(log_n).unwrap(), r, p);
        let error = open_container(&container, &Passphrase::from("x".to_owned())).unwrap_err();
        println!("{error}: {} bytes", memory_peak());
        return;
    }
    // Each in a process of its own, because a peak never falls.
    for (params, is_accepted, least) in [
        ("1,2097152,1", true, 1 << 30),
        ("1,1677721,2", true, 1_000_000_000),
        ("1,2097152,2", false, 0),
        ("1,4194304,1", false, 0),
        ("1,4194304,2", false, 0),
    ] {
        let child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", NAME, "--nocapture"])
            .env(PARAMS, params)
            .output()
            .unwrap();
        let output = String::from_utf8(child.stdout).unwrap();
        let line = output.lines().find(|line| line.ends_with(" bytes"));
        let (error, peak) = line
            .and_then(|line| line.rsplit_once(": "))
            .unwrap_or_else(|| panic!("{params}: {output}"));
        assert_eq!(
            error.ends_with("wrong passphrase"),
            is_accepted,
            "{params}: {error}"
        );
        let peak: u64 = peak.strip_suffix(" bytes").unwrap().parse().unwrap();
        let most = if is_accepted { SCRYPT_MEMORY_MAX } else { 0 };
        assert!((least..=most + PROGRAM).contains(&peak), "{params}: {peak}");
    }
}
