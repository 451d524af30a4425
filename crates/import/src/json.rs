//! JSON of other programs: typed, bounded in depth, and without values in errors.

use serde::de::DeserializeOwned;

use crate::ImportError;

/// Reads a document. Unknown members are skipped unless `T` collects them.
pub(crate) fn read<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, ImportError> {
    serde_json::from_slice(text_of(bytes)?.as_bytes()).map_err(|error| error_of(&error))
}

/// The text without the byte order mark that some programs write.
pub(crate) fn text_of(bytes: &[u8]) -> Result<&str, ImportError> {
    let text = std::str::from_utf8(bytes).map_err(|error| {
        let good = bytes.get(..error.valid_up_to()).unwrap_or_default();
        ImportError::NotUtf8 { line: 1 + good.iter().filter(|byte| **byte == b'\n').count() }
    })?;
    Ok(text.strip_prefix('\u{feff}').unwrap_or(text))
}

/// The place alone: serde's own message may quote what it found.
pub(crate) fn error_of(error: &serde_json::Error) -> ImportError {
    let (line, column) = (error.line(), error.column());
    match error.classify() {
        serde_json::error::Category::Data => ImportError::WrongJson { line, column },
        _ => ImportError::NotJson { line, column },
    }
}
