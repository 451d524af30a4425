//! A program that was built without support for object stores.

use std::path::{Path, PathBuf};

use super::super::{App, Failure};
use super::BackupArgs;
use super::place::ObjectUrl;
use crate::backup::Staging;
use crate::exit::Code;

pub(super) fn back_up(_: &App, _: &BackupArgs, url: &ObjectUrl, _: i64) -> Result<(), Failure> {
    Err(unsupported(url))
}

pub(super) fn fetch(url: &ObjectUrl, _: &Path) -> Result<(Staging, PathBuf), Failure> {
    Err(unsupported(url))
}

fn unsupported(url: &ObjectUrl) -> Failure {
    Failure::new(
        Code::NotSupported,
        format_args!("{url}: this program was built without support for object stores"),
        "the packages have it; or build it with `cargo build --release --locked -p \
         passmate-server --features s3`, or give the backup to another program with \
         `passmate-server backup -`",
    )
}
