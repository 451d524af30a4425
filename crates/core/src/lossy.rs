//! Paths of a report, which people read. One that is not UTF-8 crosses to another process with
//! replacement characters: the whole report would not cross otherwise.

use std::path::{Path, PathBuf};

use serde::{Serialize, Serializer};

/// Serializes paths.
pub(crate) fn paths<S: Serializer>(paths: &[PathBuf], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(paths.iter().map(|path| lossy(path)))
}

/// Serializes paths with what is said of each.
pub(crate) fn paths_with<T: Serialize, S: Serializer>(
    pairs: &[(PathBuf, T)],
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(pairs.iter().map(|(path, said)| (lossy(path), said)))
}

fn lossy(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}
