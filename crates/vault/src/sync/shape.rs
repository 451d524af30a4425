//! The form in which an account's btoken is written.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::seen::SeenChanges;
use crate::compat::Original;
use crate::record::Vault;
use crate::sync_key::SyncKey;

/// The form in which an account's btoken is written. It decides which programs can take part.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, Serialize, Deserialize)]
pub enum Shape {
    /// Passmate's own.
    #[default]
    Modern,
    /// That of the original desktop client, which shares the account.
    Desktop,
    /// Passmate's own, in an account that was once shared with the desktop client.
    Upgraded,
}

impl Shape {
    /// A sync key as text that every program of an account of this shape accepts.
    pub fn key_text(self, key: &SyncKey) -> Zeroizing<String> {
        match self {
            Self::Modern | Self::Upgraded => key.to_text(),
            Self::Desktop => key.to_desktop_text(),
        }
    }

    /// The part of a vault that is written to an account of this shape.
    pub fn part_of(self, vault: &Vault) -> Cow<'_, Vault> {
        match self {
            Self::Modern | Self::Upgraded => Cow::Borrowed(vault),
            Self::Desktop => Cow::Owned(vault.part_for(Original::Desktop)),
        }
    }

    /// The changes that a vault fetched from an account of this shape holds, or may have replaced
    /// by others.
    pub fn seen_of(self, fetched: &Vault) -> SeenChanges {
        match self {
            Self::Modern => SeenChanges::of(fetched),
            Self::Desktop | Self::Upgraded => SeenChanges::of_resolved(fetched),
        }
    }

    /// The number of changes of a vault that an account of this shape should have and that the
    /// fetched vault lacks.
    pub fn count_missing(self, vault: &Vault, fetched: &Vault) -> usize {
        match self {
            Self::Modern | Self::Upgraded => vault.missing_from(fetched),
            Self::Desktop => SeenChanges::of(&self.part_of(vault))
                .without(&self.seen_of(fetched))
                .len(),
        }
    }

    /// The part of a vault that is equal on all devices of an account of this shape that are in
    /// sync.
    pub fn common_part_of(self, vault: &Vault) -> Cow<'_, Vault> {
        match self {
            Self::Modern | Self::Upgraded => Cow::Borrowed(vault),
            Self::Desktop => Cow::Owned(Original::Desktop.common_part_of(vault)),
        }
    }
}
