//! Arguments that no person types.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::process::Command;

#[test]
fn an_argument_that_is_not_text_is_a_usage_error() {
    let home = tempfile::tempdir().unwrap();
    let bytes = OsStr::from_bytes(b"\xff");
    for args in [&[bytes][..], &[OsStr::new("set"), bytes, OsStr::new("f")]] {
        let output = Command::new(env!("CARGO_BIN_EXE_passmate"))
            .args(args)
            .env_clear()
            .env("HOME", home.path())
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(2), "{args:?}: {output:?}");
    }
}
