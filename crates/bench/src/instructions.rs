//! Instruction counts of the hot paths, measured with valgrind. They are the same on every run,
//! whatever else the machine does.

use std::hint::black_box;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;

use anyhow::{Context, bail};
use passmate_proto::{
    ClientAction, ClientConfig, ClientEvent, ClientMachine, Input, Layout, Request, ServerConfig,
    ServerMachine,
};
use passmate_vault::format::btoken;
use passmate_vault::format::container::{Params, make_container, open_container};
use passmate_vault::format::{decode_vault_file, encode_v3};
use passmate_vault::{Document, Secret, SyncKey};

use crate::accounts::{noise, number, token};
use crate::vault::{make_diverged, make_vault, passphrase};

/// The hot paths. Each is counted in a run with it and a run without it; the difference is its own
/// count. Short paths run many times, so that small differences between the two runs (such as the
/// length of an environment variable) do not matter.
const PATHS: [&str; 7] = [
    "proto_update_4k_100",
    "proto_update_64k_10",
    "vault_decode_1k",
    "vault_encode_1k",
    "vault_merge_10k",
    "btoken_open_64k",
    "container_open_64k",
];

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Compare with the counts in this file, and fail if one is more than a twentieth higher
    #[arg(long)]
    compare: Option<PathBuf>,
    /// Write the counts to this file
    #[arg(long)]
    json: Option<PathBuf>,
}

pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    let mut counts = serde_json::Map::new();
    for name in PATHS {
        let own = count(name)?.saturating_sub(count(&format!("{name}_without"))?);
        println!("{name:<20} {own:>14}");
        counts.insert(name.to_owned(), own.into());
    }
    if let Some(path) = &args.json {
        std::fs::write(path, serde_json::to_string_pretty(&counts)? + "\n")?;
    }
    let Some(path) = &args.compare else {
        return Ok(());
    };
    let known: serde_json::Map<String, serde_json::Value> =
        serde_json::from_slice(&std::fs::read(path)?)?;
    let mut is_worse = false;
    for (name, own) in &counts {
        let (Some(own), Some(known)) = (
            own.as_f64(),
            known.get(name).and_then(serde_json::Value::as_f64),
        ) else {
            bail!("{} has no count for {name}", path.display())
        };
        let ratio = own / known;
        println!("{name:<20} {ratio:>14.3} times the known count");
        is_worse |= ratio > 1.05;
    }
    if is_worse {
        bail!(
            "a hot path takes over 5 % more instructions; if this is intended, write new counts \
             with --json"
        );
    }
    Ok(())
}

fn count(name: &str) -> anyhow::Result<u64> {
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .arg(std::env::current_exe()?)
        .args(["hot-path", name])
        .output()
        .context("cannot run valgrind: install the package of that name")?;
    let said = String::from_utf8_lossy(&output.stderr);
    if !output.status.success() {
        bail!("{name}: {said}");
    }
    let line = said
        .lines()
        .find_map(|line| line.split("Collected :").nth(1))
        .context("valgrind counted nothing")?;
    Ok(line.trim().parse()?)
}

/// The hidden command `hot-path`: prepares a path, and runs it unless the name ends in `_without`.
pub(crate) fn hot_path(name: &str) -> anyhow::Result<()> {
    let (name, is_with) = name
        .strip_suffix("_without")
        .map_or((name, true), |name| (name, false));
    match name {
        "proto_update_4k_100" => proto_update(4 << 10, 100, is_with),
        "proto_update_64k_10" => proto_update(64 << 10, 10, is_with),
        "vault_decode_1k" => {
            let plaintext = encode_v3(&Document::new(make_vault(1000)))?;
            when(is_with, || decode_vault_file(&plaintext));
        }
        "vault_encode_1k" => {
            let document = Document::new(make_vault(1000));
            when(is_with, || encode_v3(&document));
        }
        "vault_merge_10k" => {
            let (mut ours, theirs) = make_diverged(10_000);
            when(is_with, || ours.merge(&theirs));
        }
        "btoken_open_64k" => {
            let key = SyncKey::from_parts([1; 8], Secret::from_bytes([7; 32]));
            let sealed = btoken::seal(
                &noise(64 << 10, 1),
                &key,
                &mut rand_core::UnwrapErr(getrandom::SysRng),
            );
            when(is_with, || btoken::open(&sealed, &key));
        }
        "container_open_64k" => {
            let params = Params::new(4, 1, 1)?;
            let mut rng = rand_core::UnwrapErr(getrandom::SysRng);
            let container = make_container(&noise(64 << 10, 1), &passphrase(), params, &mut rng)?;
            when(is_with, || open_container(&container, &passphrase()));
        }
        _ => bail!("no such hot path: {name}"),
    }
    Ok(())
}

fn when<T>(is_with: bool, path: impl FnOnce() -> T) {
    if is_with {
        drop(black_box(path()));
    }
}

/// Runs `times` updates between both machines, in pieces as large as a TLS record.
fn proto_update(len: usize, times: usize, is_with: bool) {
    let old: Arc<[u8]> = noise(len, 1).into();
    let uploads: Vec<_> = (0..times).map(|_| noise(len, 2)).collect();
    when(is_with, move || {
        uploads
            .into_iter()
            .for_each(|upload| one_update(&old, upload))
    });
}

fn one_update(old: &Arc<[u8]>, new: Vec<u8>) {
    let limit = u32::try_from(new.len()).expect("the lengths in PATHS fit into 32 bits");
    let config = ServerConfig {
        layout: Layout::One,
        banner: Arc::from(&b"banner"[..]),
        btoken_len_max: limit,
    };
    let mut server = ServerMachine::<()>::new(config);
    let action = ClientAction::Update {
        account: number(1),
        auth_token: token(),
    };
    let mut client = ClientMachine::new(ClientConfig::default(), action);
    let mut upload = Some(new);
    loop {
        while let Some(output) = client.poll_output() {
            for mut piece in output.as_ref().chunks(16 << 10) {
                while !piece.is_empty() {
                    let taken = server.handle_input(Input::Bytes(piece));
                    piece = piece.get(taken..).unwrap_or_default();
                    match server.poll_request() {
                        Some(Request::Fetch { .. }) => server
                            .fetched(Arc::clone(old))
                            .expect("the machine requested it"),
                        Some(Request::Replace { .. }) => {
                            server.replaced(()).expect("the machine requested it")
                        }
                        Some(Request::Create { .. } | Request::Delete { .. }) => {
                            unreachable!("the client sends an update")
                        }
                        None => {}
                    }
                }
            }
        }
        while let Some(output) = server.poll_output() {
            for piece in output.as_ref().chunks(16 << 10) {
                client.handle_input(Input::Bytes(piece));
            }
        }
        if server.poll_ending().is_some() {
            client.handle_input(Input::CloseNotify);
        }
        match client.poll_event() {
            Some(ClientEvent::Fetched(_)) => {
                client
                    .replace(upload.take().expect("an exchange has one fetch"))
                    .expect("the machine requested it");
            }
            Some(ClientEvent::Ended(outcome)) => {
                black_box(outcome);
                return;
            }
            Some(ClientEvent::Greeted { .. } | ClientEvent::Created(_)) | None => {}
        }
    }
}
