//! What a person brings to join an account: a key or a link, and the pin of a server that no
//! authority vouches for.

use passmate_core::net::Address;
use passmate_core::net::trust::TrustProblem;
use passmate_core::problem::{Problem, ProblemKind};
use passmate_core::share::link::{Link, LinkError};
use passmate_vault::{Pin, SyncKey};

use crate::app::App;

/// How often a person may mistype what the operator said.
const TRIES: usize = 3;
/// Digits of a pin that are typed in.
const TYPED_DIGITS: usize = 8;

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
            let Link { address, pin, key } = Link::parse(text)?;
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

/// Most people who set up a second device forget that it is the second one.
pub(crate) fn ask_key(app: &App) -> Result<Option<Joined>, Problem> {
    for tries_left in (0..TRIES).rev() {
        let typed = app.ask.line(
            "If another device already syncs this vault, type the key or link that `passmate sync \
             key` shows there.\n\
             If this is the first device, press Enter.\nSync key: ",
        )?;
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
    let shown = problem.shown.to_string();
    let digits = shown
        .strip_prefix("sha256:")
        .and_then(|digits| digits.get(..TYPED_DIGITS))
        .unwrap_or_default();
    app.out.warn(&format!(
        "no authority vouches for the key that {address} shows:"
    ));
    app.out.warn(&format!("    {shown}"));
    app.out.warn(
        "the server prints its pin when it starts; get the pin from its operator, not \
        from this screen",
    );
    for _ in 0..TRIES {
        let typed = app
            .ask
            .line("The first 8 digits of the pin that the operator gave you: ")?;
        if typed.is_empty() {
            break;
        }
        let typed = typed
            .strip_prefix("sha256:")
            .unwrap_or(&typed)
            .to_ascii_lowercase();
        if typed.get(..TYPED_DIGITS) == Some(digits) && shown.contains(&typed) {
            return Ok(problem.shown);
        }
        app.out.warn("these digits do not match the server's key");
    }
    Err(Problem::new(
        ProblemKind::NotTrusted,
        "the server's key was not confirmed",
        "nothing was sent; ask the operator for the pin",
    ))
}
