use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::path::PathBuf;

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
    /// Write it to this new file, which only you can read
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

pub(super) fn run(app: &App, args: &Args) -> Result<(), Problem> {
    let link = plain(app.open()?.sync_key())?;
    if let Some(file) = &args.out {
        let text = if args.link {
            link.to_text()
        } else {
            link.key.to_text()
        };
        let mut line = Zeroizing::new(Vec::with_capacity(text.len() + 1));
        line.extend_from_slice(text.as_bytes());
        line.push(b'\n');
        write_new(file, &line)?;
        if app.out.json {
            return app.out.object(json!({ "file": file.to_string_lossy() }));
        }
        app.out.note(&format!("the key is in {}", file.display()));
        return Ok(());
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
        return qr::show(app, &link.to_text());
    }
    let (member, text) = if args.link {
        ("link", link.to_text())
    } else {
        ("key", link.key.to_text())
    };
    if app.out.json {
        return app.out.object(json!({ member: *text }));
    }
    app.out.value(&text)
}

/// Whether the answer goes to a file that other users can read.
fn is_stdout_open() -> bool {
    let stdout = io::stdout().as_fd().try_clone_to_owned();
    stdout.is_ok_and(|stdout| is_written_for_others(&File::from(stdout)))
}
