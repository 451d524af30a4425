//! What goes through the socket.
//!
//! Each side sends a hello: 8 bytes name and 4 bytes version, which no version changes. Then the
//! client sends one byte: [`GO_ON`], or [`END`], by which the agent locks all vaults and ends. An
//! agent of another version is only ever sent [`END`]. After [`GO_ON`] come frames: a length of 4
//! bytes, and a value of that many bytes in the form of `postcard`, which has neither names nor
//! types of its own. A call that takes long is answered with [`Answer::Alive`] every few seconds.
//! The rules are:
//!  - a length is checked before memory is used, and memory is used as bytes arrive;
//!  - frames are wiped, also where they lay before they grew.

use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use passmate_core::answer::{Consent, Reply};
use passmate_core::audit::AuditRules;
use passmate_core::edit::{Edit, Edited};
use passmate_core::export::ExportForm;
use passmate_core::interchange::{Format, Imported};
use passmate_core::log_n::LogN;
use passmate_core::records::Which;
use passmate_core::settings::{Holding, SyncSettings};
use passmate_core::shared_folder::Sealing;
use passmate_core::sync::Reason;
use passmate_core::sync_all::{SyncOutcome, SyncRequest};
use passmate_core::sync_setup::{ServerSetup, Untie};
use passmate_vault::{Passphrase, Pin, Trust};
use postcard::ser_flavors::Flavor;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use zeroize::{Zeroize, Zeroizing};

use crate::consent::Question;
use crate::dialogs::Decision;

/// Tells apart programs whose frames differ. A frame has no names, so one that is read as another
/// type may look right. Therefore programs of two releases never exchange frames, and within a
/// release the number is raised whenever a type that crosses is changed.
pub const VERSION: u32 = version_of(env!("CARGO_PKG_VERSION"), 12);
/// The byte of a client that speaks the agent's version.
pub const GO_ON: u8 = b'g';
/// The byte of a client that speaks another one: lock all vaults, and end.
pub const END: u8 = b'e';
/// How often a client gets [`Answer::Alive`] while its call runs.
pub(crate) const SIGN_EVERY: Duration = Duration::from_secs(2);
/// How long a client may wait for the next part of an answer: an agent that is stopped gives none.
pub(crate) const SILENCE_MAX: Duration = Duration::from_secs(10);
/// The longest frame, in bytes.
pub const FRAME_LEN_MAX: usize = 256 << 20;

const NAME: [u8; 8] = *b"passmate";
const CHUNK_LEN: usize = 16 << 10;

/// The FNV-1a hash of a release's number and the number of its frames.
const fn version_of(release: &str, frames: u8) -> u32 {
    const fn add(hash: u32, byte: u8) -> u32 {
        (hash ^ byte as u32).wrapping_mul(0x0100_0193)
    }
    let mut hash = add(0x811C_9DC5, frames);
    let mut rest = release.as_bytes();
    while let [first, after @ ..] = rest {
        hash = add(hash, *first);
        rest = after;
    }
    hash
}

/// What a client asks for. After an answer it may ask again.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Request {
    /// Hold this vault from now on.
    Unlock {
        vault: PathBuf,
        passphrase: Passphrase,
        holding: Holding,
    },
    /// Lock this vault, or all.
    Lock { vault: Option<PathBuf> },
    /// Say what is held.
    Status,
    /// Say how this vault is held, if it is.
    Look { vault: PathBuf },
    /// Count this vault as used, and say whether it is held.
    Use { vault: PathBuf },
    /// Lock all and end.
    End,
    /// The questions that wait for a person.
    Questions,
    /// A person's answer to a question, with the master passphrase of its vault unless they refuse.
    Answer {
        number: u64,
        decision: Decision,
        passphrase: Option<Passphrase>,
    },
    /// A call of a vault that is unlocked.
    Call {
        vault: PathBuf,
        settings: SyncSettings,
        /// Why, for the person who is asked.
        reason: Option<String>,
        call: Box<Call>,
    },
}

/// One variant for each method of [`VaultApi`](passmate_core::api::VaultApi).
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Call {
    List,
    Uses,
    Trash,
    Record {
        path: String,
    },
    Fields {
        path: String,
    },
    Search {
        query: String,
        max: usize,
    },
    Continuations {
        begin: String,
    },
    History {
        path: String,
        field: Option<String>,
    },
    OneTimeCode {
        path: String,
        field: Option<String>,
    },
    PasswordRule {
        path: String,
    },
    Records {
        which: Which,
    },
    SecretValues {
        with_former: bool,
    },
    QrText {
        path: String,
        field: Option<String>,
    },
    Audit {
        rules: AuditRules,
    },
    /// Answered with [`Answer::Saved`] too, before the sync.
    Change {
        change: Edit,
        consent: Consent,
    },
    PreviewImport {
        format: Format,
        imported: Imported,
    },
    Export {
        form: ExportForm,
    },
    ChangePassphrase {
        passphrase: Option<Passphrase>,
        log_n: Option<LogN>,
    },
    Sync {
        request: SyncRequest,
    },
    PreviewSync,
    LastSyncs,
    Standing,
    Ties,
    SetUpServer {
        setup: ServerSetup,
    },
    SetUpAgain {
        trust: Option<Trust>,
    },
    RequestAccount {
        setup: ServerSetup,
    },
    SetUpFolder {
        folder: PathBuf,
        sealing: Sealing,
        request: SyncRequest,
    },
    FolderKey,
    SyncKey,
    TrustNext {
        pin: Pin,
    },
    Rotate {
        reason: Reason,
        keep_since: Option<i64>,
        consent: Consent,
    },
    Upgrade {
        consent: Consent,
    },
    Untie {
        what: Untie,
        delete: bool,
        consent: Consent,
    },
}

/// What the agent answers.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Answer<T> {
    /// The call runs.
    Alive,
    /// A person is asked first.
    Asking(Question),
    /// A change is saved, and its sync begins.
    Saved(Box<Edited>),
    /// The call is over.
    Done(Reply<T>),
}

/// An [`Answer`] without a copy of what it tells of. Its variants have the places that they have
/// there.
#[derive(Debug, Serialize)]
pub(crate) enum Told<'a> {
    Alive,
    Asking(&'a Question),
    Saved(&'a Edited),
}

/// What an agent holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// The agent's process.
    pub pid: u32,
    /// The unlocked vaults, by their paths.
    pub vaults: Vec<VaultStatus>,
    /// What the desktop tells the agent.
    pub desktop: DesktopStatus,
}

/// What the desktop tells an agent.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DesktopStatus {
    /// That the machine is about to sleep.
    pub tells_of_sleep: bool,
    /// That the screen is locked.
    pub tells_of_screen_lock: bool,
}

/// An unlocked vault.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VaultStatus {
    /// The vault's file.
    pub path: PathBuf,
    /// Seconds until it is locked if nothing uses it.
    pub locks_in: u64,
    /// How the agent syncs it.
    pub sync: SyncStatus,
    /// Why its uses are not logged, if they are not. Not escaped.
    pub log_fault: Option<String>,
}

/// How an agent syncs a vault in the background.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SyncStatus {
    /// Whether it does.
    pub is_on: bool,
    /// A sync is under way.
    pub is_running: bool,
    /// Seconds until the next sync.
    pub next_in: Option<u64>,
    /// The last sync: how many seconds ago it ended, and how.
    pub last: Option<(u64, SyncOutcome)>,
}

impl Status {
    /// Whether the vault of this file is unlocked.
    #[must_use]
    pub fn holds(&self, path: &Path) -> bool {
        self.vaults.iter().any(|vault| vault.path == path)
    }
}

pub(crate) fn write_hello(stream: &mut impl Write, version: u32) -> io::Result<()> {
    let mut hello = [0; NAME.len() + 4];
    let (name, number) = hello.split_at_mut(NAME.len());
    name.copy_from_slice(&NAME);
    number.copy_from_slice(&version.to_be_bytes());
    stream.write_all(&hello)
}

/// The version of the other side.
pub(crate) fn read_hello(stream: &mut impl Read) -> io::Result<u32> {
    let (mut name, mut number) = ([0; NAME.len()], [0; 4]);
    stream.read_exact(&mut name)?;
    stream.read_exact(&mut number)?;
    if name != NAME {
        return Err(invalid("the other side is no Passmate program"));
    }
    Ok(u32::from_be_bytes(number))
}

pub(crate) fn write_frame(stream: &mut impl Write, value: &impl Serialize) -> io::Result<()> {
    let frame = Frame::default();
    let frame = postcard::serialize_with_flavor(value, frame).map_err(unwritable)?;
    let len = u32::try_from(frame.0.len()).map_err(|_| invalid("the frame is too long"))?;
    stream.write_all(&len.to_be_bytes())?;
    stream.write_all(&frame.0)
}

/// The length of the next frame; `None` if the other side has ended.
pub(crate) fn read_len(stream: &mut impl Read) -> io::Result<Option<usize>> {
    let mut len = [0; 4];
    let [first, rest @ ..] = &mut len;
    let first = std::slice::from_mut(first);
    let count = loop {
        // A signal, such as that of Ctrl-C or of `fg`, ends a read and not the frame.
        match stream.read(first) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            read => break read?,
        }
    };
    if count == 0 {
        return Ok(None);
    }
    stream.read_exact(rest)?;
    match usize::try_from(u32::from_be_bytes(len)) {
        Ok(len) if len <= FRAME_LEN_MAX => Ok(Some(len)),
        _ => Err(invalid("the frame is too long")),
    }
}

pub(crate) fn read_frame<T: DeserializeOwned>(stream: &mut impl Read, len: usize) -> io::Result<T> {
    let mut frame = Frame::default();
    let mut chunk = Zeroizing::new([0; CHUNK_LEN]);
    let mut left = len;
    while left > 0 {
        let (part, _) = chunk.split_at_mut(left.min(CHUNK_LEN));
        stream.read_exact(part)?;
        frame.try_extend(part).map_err(unwritable)?;
        left -= part.len();
    }
    match postcard::take_from_bytes(&frame.0) {
        Ok((value, [])) => Ok(value),
        Ok(_) => Err(invalid("the frame has more than a value")),
        Err(error) => Err(invalid(&error.to_string())),
    }
}

fn unwritable(error: postcard::Error) -> io::Error {
    match error {
        postcard::Error::SerializeBufferFull => invalid("the frame is too long"),
        // A path is the only value that may have no form.
        error => invalid(&format!(
            "a value has no form in a frame, such as a path that is not UTF-8 ({error})"
        )),
    }
}

fn invalid(why: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why)
}

/// Bytes that are wiped, also where they lay before they grew.
#[derive(Default)]
struct Frame(Zeroizing<Vec<u8>>);

impl Flavor for Frame {
    type Output = Self;

    fn try_push(&mut self, byte: u8) -> postcard::Result<()> {
        self.try_extend(&[byte])
    }

    fn try_extend(&mut self, bytes: &[u8]) -> postcard::Result<()> {
        let len = self.0.len() + bytes.len();
        if len > FRAME_LEN_MAX {
            return Err(postcard::Error::SerializeBufferFull);
        }
        if len > self.0.capacity() {
            let mut grown = Vec::with_capacity(len.max(2 * self.0.capacity()).max(CHUNK_LEN));
            grown.extend_from_slice(&self.0);
            self.0.zeroize();
            self.0 = Zeroizing::new(grown);
        }
        self.0.extend_from_slice(bytes);
        Ok(())
    }

    fn finalize(self) -> postcard::Result<Self> {
        Ok(self)
    }
}

#[cfg(test)]
mod tests {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;

    use super::*;

    #[test]
    fn a_frame_survives_its_way_and_a_wrong_one_is_refused() {
        let mut bytes = Vec::new();
        let text = "x".repeat(3 * CHUNK_LEN);
        write_frame(&mut bytes, &text).unwrap();
        let read = |mut bytes: &[u8]| {
            let len = read_len(&mut bytes)?.unwrap();
            read_frame::<String>(&mut bytes, len)
        };
        assert_eq!(read(&bytes).unwrap(), text);
        assert!(read_len(&mut &b""[..]).unwrap().is_none());
        for wrong in [
            &b"\0"[..],
            b"\xff\xff\xff\xff",
            b"\0\0\0\x05abc",
            b"\0\0\0\x01\x01",
            // The text "a", and one byte more.
            b"\0\0\0\x03\x01ab",
        ] {
            assert!(read(wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn a_signal_ends_no_frame() {
        /// Each byte comes after a signal.
        struct Interrupted<'a>(&'a [u8], bool);
        impl Read for Interrupted<'_> {
            fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
                self.1 = !self.1;
                match self.1 {
                    true => Err(io::ErrorKind::Interrupted.into()),
                    false => self.0.read(buffer.get_mut(..1).unwrap_or_default()),
                }
            }
        }
        let mut bytes = Vec::new();
        write_frame(&mut bytes, &"text").unwrap();
        let mut stream = Interrupted(&bytes, false);
        let len = read_len(&mut stream).unwrap().unwrap();
        assert_eq!(read_frame::<String>(&mut stream, len).unwrap(), "text");
        assert!(read_len(&mut stream).unwrap().is_none());
    }

    #[test]
    fn what_is_told_is_read_as_an_answer() {
        let edited = Edited {
            // A file beside the vault has such a name.
            archives: vec![OsStr::from_bytes(b"vault.pmdb.\xff").into()],
            ..Edited::default()
        };
        let told = |told: &Told<'_>| {
            let mut bytes = Vec::new();
            write_frame(&mut bytes, told).unwrap();
            let len = bytes.len() - 4;
            read_frame::<Answer<u64>>(&mut &bytes[4..], len).unwrap()
        };
        assert!(matches!(told(&Told::Alive), Answer::Alive));
        assert!(matches!(told(&Told::Saved(&edited)), Answer::Saved(_)));
    }

    #[test]
    fn each_release_has_a_version_of_its_own() {
        let versions = [
            version_of("0.1.0", 12),
            version_of("0.1.0", 13),
            version_of("0.1.1", 12),
            version_of("0.11.0", 12),
            version_of("1.0.0", 12),
        ];
        for (place, version) in versions.iter().enumerate() {
            assert!(!versions[..place].contains(version), "{place}");
        }
    }

    #[test]
    fn a_hello_tells_the_version_and_nothing_else_is_one() {
        let mut hello = Vec::new();
        write_hello(&mut hello, 7).unwrap();
        assert_eq!(read_hello(&mut hello.as_slice()).unwrap(), 7);
        assert!(read_hello(&mut &b"GET / HTTP/1.1"[..]).is_err());
        assert!(read_hello(&mut &hello[..11]).is_err());
    }
}
