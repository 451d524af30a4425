//! What happens to the data of a server that does not run: they are lost, copied, put back, restored.
//! It is the same on either engine.

use std::fs;
use std::path::Path;

use passmate_testkit::postgres::Database;

use super::{is_on_postgres, operate};

/// All accounts are gone; the key of the server is not.
pub(crate) fn lose(data_dir: &Path) {
    if is_on_postgres() {
        return Database::of(data_dir).empty();
    }
    for entry in fs::read_dir(data_dir).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap();
        if name.starts_with("passmate.db") {
            fs::remove_file(path).unwrap();
        }
    }
}

/// Makes a data dir that is a copy of another one.
pub(crate) fn copy(from: &Path, to: &Path) {
    fs::create_dir(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        if entry.file_type().unwrap().is_file() {
            fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
        }
    }
    if is_on_postgres() {
        Database::of(to).become_copy_of(&Database::of(from));
    }
}

/// Puts a copy in the place of a data dir.
pub(crate) fn put_back(copy: &Path, data_dir: &Path) {
    if is_on_postgres() {
        Database::of(data_dir).become_copy_of(&Database::of(copy));
    }
    fs::remove_dir_all(data_dir).unwrap();
    fs::rename(copy, data_dir).unwrap();
}

/// Restores a backup over what is there. A database must be emptied before, a file is replaced.
pub(crate) fn restore(data_dir: &Path, backup: &Path) {
    if is_on_postgres() {
        Database::of(data_dir).empty();
    }
    operate(data_dir, &["restore", backup.to_str().unwrap(), "--force"]).ok();
}
