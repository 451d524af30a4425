//! What a person brings to join an account: a key or a link, and the pin of a server that no
//! authority vouches for.

use passmate_core::net::Address;
use passmate_core::net::trust::{TrustProblem, Typed, compare_pin};
use passmate_core::problem::{Problem, ProblemKind};
use passmate_core::share::link::{Link, LinkError};
use passmate_vault::{FolderKey, FolderKeyError, Pin, SyncKey};
use zeroize::Zeroizing;

use crate::app::App;

/// How often a person may mistype what the operator said.
const TRIES: usize = 3;

/// The account that is joined: a key, and what a link says of its server.
pub(crate) struct Joined {
    pub(crate) key: SyncKey,
    pub(crate) address: Option<Address>,
    pub(crate) pin: Option<Pin>,
}

impl Joined {
    /// Reads a key or a link.
    fn parse(text: &str) -> Result<Self, LinkError> {
        if Link::is_meant(text) {
            let Link {
                address, pin, key, ..
            } = Link::parse(text)?;
            return Ok(Self {
                key,
                address: Some(address),
                pin,
            });
        }
        Ok(Self {
            key: SyncKey::parse(text)?,
            address: None,
            pin: None,
        })
    }
}

pub(crate) fn parse_key(bytes: &[u8]) -> Result<Joined, Problem> {
    let text = std::str::from_utf8(bytes).map_err(|_| {
        Problem::new(
            ProblemKind::KeyMistyped,
            "the sync key is not text",
            "`passmate sync key` on another device shows it",
        )
    })?;
    Ok(Joined::parse(text)?)
}

/// The key of a shared folder.
pub(crate) fn parse_folder_key(bytes: &[u8]) -> Result<FolderKey, Problem> {
    let text = std::str::from_utf8(bytes).map_err(|_| FolderKeyError::NoFolderKey)?;
    Ok(FolderKey::parse(text)?)
}

/// Asks for the key of a shared folder in which other devices have copies under one. `needed` is
/// what to say if there is nobody to ask.
pub(crate) fn ask_folder_key(app: &App, needed: Problem) -> Result<FolderKey, Problem> {
    if !app.ask.has_person() || app.ask.yes {
        return Err(needed);
    }
    app.out.note(
        "the copies in this folder are under a key, which `passmate sync key --folder` shows on \
         another device",
    );
    for _ in 0..TRIES {
        let typed = app.ask.hidden("Folder key: ", "folder key")?;
        if typed.is_empty() {
            break;
        }
        match parse_folder_key(typed.as_bytes()) {
            Ok(key) => return Ok(key),
            Err(problem) => app.out.warn(&problem.message),
        }
    }
    Err(needed)
}

/// Most people who set up a second device forget that it is the second one.
pub(crate) fn ask_key(app: &App) -> Result<Option<Joined>, Problem> {
    app.out.note(
        "if another device already syncs this vault, type the key or link that `passmate sync key` \
         shows there; if this is the first device, press Enter",
    );
    for tries_left in (0..TRIES).rev() {
        let typed = app.ask.hidden("Sync key: ", "sync key")?;
        let typed = String::from_utf8_lossy(typed.as_bytes());
        let typed = Zeroizing::new(typed.trim().to_owned());
        if typed.is_empty() {
            return Ok(None);
        }
        match Joined::parse(&typed) {
            Ok(joined) => return Ok(Some(joined)),
            Err(error) if tries_left == 0 => return Err(error.into()),
            Err(error) => app.out.warn(&error.to_string()),
        }
    }
    Ok(None)
}

/// Lets a person compare a certificate that nobody vouches for with what the operator says. A mere
/// yes would be given without looking.
pub(crate) fn ask_pin(app: &App, address: &Address, problem: TrustProblem) -> Result<Pin, Problem> {
    if !app.ask.has_person() || app.ask.yes {
        return Err(problem.into());
    }
    // What is not shown cannot be copied from the screen.
    app.out.warn(&format!(
        "no authority vouches for the key that {address} shows. The server prints the pin of its \
         key when it starts, in digits and in words; get it from the server's operator"
    ));
    for _ in 0..TRIES {
        let typed = app
            .ask
            .line("The 7 words of the pin, or all of the pin: ")?;
        if typed.is_empty() {
            break;
        }
        app.out.warn(match compare_pin(&problem.shown, &typed) {
            Typed::Matches => return Ok(problem.shown),
            Typed::TooShort => "type at least the first 20 digits",
            Typed::Differs => {
                "this is not the pin of the key that the server shows: it is mistyped, or somebody \
                 else answers in the server's place"
            }
        });
    }
    Err(Problem::new(
        ProblemKind::NotTrusted,
        "the server's key was not confirmed",
        "nothing was sent; ask the operator for the pin",
    ))
}
