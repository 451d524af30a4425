//! The form in which an account's btoken is written.

use std::borrow::Cow;

use super::seen::SeenChanges;
use crate::compat::Original;
use crate::record::Vault;

/// The form in which an account's btoken is written, and so who can take part in it.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub enum Shape {
    /// Ours.
    #[default]
    Modern,
    /// The original desktop client's, which shares the account.
    Desktop,
    /// Ours, and the desktop client's before.
    Upgraded,
}

impl Shape {
    /// What of a vault is written to an account of this shape.
    pub fn part_of(self, vault: &Vault) -> Cow<'_, Vault> {
        match self {
            Self::Modern | Self::Upgraded => Cow::Borrowed(vault),
            Self::Desktop => Cow::Owned(vault.part_for(Original::Desktop)),
        }
    }

    /// The changes that what was fetched from an account of this shape holds, or holds something in
    /// the place of.
    pub fn seen_of(self, fetched: &Vault) -> SeenChanges {
        match self {
            Self::Modern => SeenChanges::of(fetched),
            Self::Desktop | Self::Upgraded => SeenChanges::of_resolved(fetched),
        }
    }

    /// The number of changes of a vault that belong into an account of this shape and are not in
    /// what was fetched.
    pub fn count_missing(self, vault: &Vault, fetched: &Vault) -> usize {
        match self {
            Self::Modern | Self::Upgraded => vault.missing_from(fetched),
            Self::Desktop => SeenChanges::of(&self.part_of(vault))
                .without(&self.seen_of(fetched))
                .len(),
        }
    }

    /// What is equal on two devices of an account of this shape that hold the same.
    pub fn common_part_of(self, vault: &Vault) -> Cow<'_, Vault> {
        match self {
            Self::Modern | Self::Upgraded => Cow::Borrowed(vault),
            Self::Desktop => Cow::Owned(Original::Desktop.common_part_of(vault)),
        }
    }
}
