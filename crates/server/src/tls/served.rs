//! The certificate of new connections, and the note that says which key was served last.
//!
//! Devices pin the key. They refuse a certificate with another one, so a change that was not
//! announced is a warning, also if the server was restarted meanwhile.

use std::io;
use std::path::Path;
use std::sync::Arc;

use super::identity::{Identity, Pin};
use crate::clock::now;
use crate::files;

/// The file that names the pin of the served key, and the pin before it with the time of the change.
const NOTE: &str = "served-pin";
const NOTE_LEN_MAX: u64 = 256;

/// The certificate of new connections. [`serve`](Self::serve) is the only way to make one, so that
/// no change of the key passes unnoticed.
#[derive(Debug, Clone)]
pub(crate) struct ServedCertificate {
    pub(crate) tls: Arc<rustls::ServerConfig>,
    /// When the certificate expires, in seconds since 1970.
    pub(crate) not_after: i64,
    /// When another key replaced the one that devices have pinned, in seconds since 1970.
    pub(crate) key_changed_at: Option<i64>,
}

impl ServedCertificate {
    /// Notes in a folder that this identity is served from now on, and warns if its key is not the
    /// one that was served before.
    pub(crate) fn serve(identity: &Identity, folder: &Path) -> Self {
        let before = read(folder);
        let after = Note::after(before, identity.pin, now());
        if before != Some(after)
            && let Err(error) = write(folder, after)
        {
            tracing::warn!(%error, file = NOTE, "the pin of the served key could not be noted");
        }
        let change = after.change;
        if let Some(KeyChange { earlier, .. }) = change
            && before.is_none_or(|before| before.change != change)
        {
            tracing::warn!(
                pin = %identity.pin,
                %earlier,
                "the certificate has another key: devices that pinned the earlier one refuse this \
                 server; bring the earlier key back, or send the new pin to your users"
            );
        }
        Self {
            tls: Arc::clone(&identity.config),
            not_after: identity.not_after,
            key_changed_at: change.map(|change| change.at),
        }
    }
}

/// When the key that devices have pinned was replaced by the key with this pin, or now if it is not
/// served yet.
pub(crate) fn key_changed_at(folder: &Path, pin: Pin) -> Option<i64> {
    let change = Note::after(read(folder), pin, now()).change;
    change.map(|change| change.at)
}

/// Notes that the key with this pin is the one that devices expect, because it was announced.
pub(crate) fn expect_key(folder: &Path, pin: Pin) -> io::Result<()> {
    write(folder, Note { pin, change: None })
}

/// What is known about the served key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Note {
    pin: Pin,
    change: Option<KeyChange>,
}

/// A change of the key that was not announced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct KeyChange {
    /// The pin of the key that was served before.
    earlier: Pin,
    /// Seconds since 1970.
    at: i64,
}

impl Note {
    /// The note when the key with this pin is served.
    fn after(before: Option<Self>, pin: Pin, now: i64) -> Self {
        match before {
            Some(before) if before.pin == pin => before,
            // The earlier key is back.
            Some(Self {
                change: Some(KeyChange { earlier, .. }),
                ..
            }) if earlier == pin => Self { pin, change: None },
            Some(before) => Self {
                pin,
                change: Some(KeyChange {
                    earlier: before.pin,
                    at: now,
                }),
            },
            None => Self { pin, change: None },
        }
    }
}

/// A note that cannot be read is none.
fn read(folder: &Path) -> Option<Note> {
    let bytes = files::read(&folder.join(NOTE), NOTE_LEN_MAX).ok()?;
    let text = String::from_utf8(bytes).ok()?;
    let mut lines = text.lines();
    let pin = Pin::parse(lines.next()?)?;
    let change = match lines.next() {
        None => None,
        Some(line) => {
            let (earlier, at) = line.split_once(' ')?;
            Some(KeyChange {
                earlier: Pin::parse(earlier)?,
                at: at.parse().ok()?,
            })
        }
    };
    Some(Note { pin, change })
}

fn write(folder: &Path, note: Note) -> io::Result<()> {
    let mut text = format!("{}\n", note.pin);
    if let Some(KeyChange { earlier, at }) = note.change {
        text.push_str(&format!("{earlier} {at}\n"));
    }
    files::replace(&folder.join(NOTE), text.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pin(byte: u8) -> Pin {
        Pin([byte; 32])
    }

    fn serve(folder: &Path, byte: u8, at: i64) -> Option<KeyChange> {
        let note = Note::after(read(folder), pin(byte), at);
        write(folder, note).unwrap();
        assert_eq!(read(folder), Some(note));
        note.change
    }

    #[test]
    fn another_key_is_a_change_until_the_earlier_one_is_back() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path();
        assert_eq!(serve(folder, 1, 10), None, "the first key");
        assert_eq!(serve(folder, 1, 20), None, "the same key");
        let change = |earlier, at| {
            let earlier = pin(earlier);
            Some(KeyChange { earlier, at })
        };
        assert_eq!(serve(folder, 2, 30), change(1, 30));
        assert_eq!(
            serve(folder, 2, 40),
            change(1, 30),
            "it is still the same change"
        );
        assert_eq!(serve(folder, 1, 50), None, "the earlier key is back");
        assert_eq!(serve(folder, 3, 60), change(1, 60));
        assert_eq!(serve(folder, 4, 70), change(3, 70));
        expect_key(folder, pin(5)).unwrap();
        assert_eq!(serve(folder, 5, 80), None, "it was announced");
    }

    #[test]
    fn a_note_that_cannot_be_read_is_none() {
        let dir = tempfile::tempdir().unwrap();
        for text in ["", "sha256:", "nonsense", "sha256:zz\n", "\u{0}"] {
            std::fs::write(dir.path().join(NOTE), text).unwrap();
            assert_eq!(read(dir.path()), None, "{text:?}");
        }
        let half = format!("{}\n{}", pin(1), pin(2));
        std::fs::write(dir.path().join(NOTE), half).unwrap();
        assert_eq!(read(dir.path()), None);
    }
}
