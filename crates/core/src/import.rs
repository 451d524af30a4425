//! What can go wrong with a file of another program.

use passmate_interchange::{Format, ImportError};
use passmate_vault::format::container::ContainerError;

use crate::problem::{Problem, ProblemKind};

/// The two lines for a file that cannot be imported as this format.
#[must_use]
pub fn problem_of(error: &ImportError, format: Format) -> Problem {
    let other = "the file may be another program's: `passmate import --help` lists the formats; \
                 nothing was changed";
    let (kind, hint) = match error {
        ImportError::TooLong { .. } | ImportError::TooMany { .. } => (
            ProblemKind::TooLarge,
            "import it in parts; nothing was changed",
        ),
        ImportError::NameTooLong { .. } => (
            ProblemKind::TooLarge,
            "shorten the name in the program that wrote the file, or import it in parts; nothing \
             was changed",
        ),
        ImportError::Unreadable { .. } => (
            ProblemKind::File,
            "check the disk and the path; nothing was changed",
        ),
        ImportError::SecretNeeded => (
            ProblemKind::Locked,
            "give --file-passphrase-file, or run it on a terminal",
        ),
        ImportError::WrongSecret => (
            ProblemKind::WrongPassphrase,
            "the file has a password of its own; check caps lock and keyboard layout",
        ),
        ImportError::WrongSecretOrKeyFile => (
            ProblemKind::WrongPassphrase,
            "the file has a password and a key file of its own; check caps lock, keyboard layout \
             and that the key file is the one of this file",
        ),
        ImportError::KeyFile { .. } => (
            ProblemKind::File,
            "name the key file with which the file is opened in KeePass; nothing was changed",
        ),
        ImportError::TooExpensive { .. }
        | ImportError::NotEnoughMemory
        | ImportError::Container(
            ContainerError::TooExpensive { .. } | ContainerError::NotEnoughMemory,
        ) => (
            ProblemKind::Other,
            "save it anew with cheaper settings in the program that wrote it",
        ),
        ImportError::NotSupported { .. } | ImportError::WrongExport { .. } => (
            ProblemKind::NotSupported,
            "export it in another way; nothing was changed",
        ),
        ImportError::UnknownColumns | ImportError::NoSuchColumn { .. } => (
            ProblemKind::Usage,
            "say what the columns mean, by name or number: `passmate import FILE --map \
             name=1,user=2,password=3`, with --no-header if the first line is a row",
        ),
        ImportError::Codec(error) if error.is_newer() => (
            ProblemKind::NotSupported,
            match format {
                Format::Passmate2 => "update passmate on this device",
                _ => "a vault file of this program or of Passmate 2 is imported as passmate2",
            },
        ),
        ImportError::Damaged { .. } | ImportError::OpenQuote { .. } | ImportError::Container(_) => {
            (
                ProblemKind::Damaged,
                "make the file anew with the program that wrote it; nothing was changed",
            )
        }
        _ => (ProblemKind::Damaged, other),
    };
    Problem::new(
        kind,
        format!("cannot import this as {}: {error}", format.word()),
        hint,
    )
}
