use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use passmate_core::export::write_new;
use passmate_core::exposure::is_written_for_others;
use passmate_core::problem::Problem;
use serde_json::json;
use zeroize::Zeroizing;

use crate::app::App;
use crate::commands::qr;
use crate::report::plain;

/// Show the key that other devices join with
///
/// Anyone who has the key can read and change every record. On a terminal, asks before it shows the
/// key.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Print a link with server, pin and key, for `passmate sync setup --key-file`
    #[arg(long)]
    link: bool,
    /// Print the link as a QR code, for the camera of another device
    #[arg(long, conflicts_with = "out")]
    qr: bool,
    /// Show the key of the shared folder, for `passmate sync setup --folder`
    #[arg(long, conflicts_with_all = ["link", "qr"])]
    folder: bool,
    /// Write it to this new file, which only you can read
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

pub(super) fn run(app: &App, args: &Args) -> Result<(), Problem> {
    let mut vault = app.open()?;
    let (member, text) = if args.folder {
        ("key", plain(vault.folder_key())?.to_text())
    } else {
        let link = plain(vault.sync_key())?;
        match args.link || args.qr {
            true => ("link", link.to_text()),
            false => ("key", link.key_text()),
        }
    };
    if let Some(file) = &args.out {
        return write(app, file, &text);
    }
    if is_stdout_open() {
        app.out.warn(
            "other users can read the file that the key is written to; `passmate sync key --out \
             FILE` makes one that only you can read",
        );
    }
    if app.out.is_terminal() {
        app.ask
            .confirm("Anyone who sees this key can read and change all your passwords. Show it?")?;
    }
    if args.qr {
        return qr::show_secret(app, &text);
    }
    if app.out.json {
        return app.out.object(json!({ member: *text }));
    }
    app.out.value(&text)
}

fn write(app: &App, file: &Path, text: &str) -> Result<(), Problem> {
    let mut line = Zeroizing::new(Vec::with_capacity(text.len() + 1));
    line.extend_from_slice(text.as_bytes());
    line.push(b'\n');
    write_new(file, &line)?;
    if app.out.json {
        return app.out.object(json!({ "file": file.to_string_lossy() }));
    }
    app.out.note(&format!("the key is in {}", file.display()));
    Ok(())
}

/// Whether the answer goes to a file that other users can read.
fn is_stdout_open() -> bool {
    let stdout = io::stdout().as_fd().try_clone_to_owned();
    stdout.is_ok_and(|stdout| is_written_for_others(&File::from(stdout)))
}
