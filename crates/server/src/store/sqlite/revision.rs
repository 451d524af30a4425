//! How a row says which revision of its btoken it holds, and how damage is found.

use rusqlite::Row;
use sha2::{Digest, Sha256};

use super::schema::REVISIONS;
use crate::store::Checksum;

/// The revision of a row. One that was stored before there were revisions has the begin of its hash.
pub(super) const REVISION: &str = "coalesce(revision, substr(btoken_hash, 1, 16))";

/// The column of the checksum, in a database of this schema.
pub(super) const fn checksum_column(schema: i64) -> &'static str {
    if schema >= REVISIONS {
        "checksum"
    } else {
        "NULL"
    }
}

/// A checksum as SQLite stores it: a signed number.
pub(super) const fn stored(checksum: Checksum) -> i64 {
    checksum.0.cast_signed()
}

/// What a row keeps to find damage of its btoken.
pub(super) enum StoredChecksum {
    Crc(Checksum),
    /// The row was stored before there were checksums.
    Sha256([u8; 32]),
}

impl StoredChecksum {
    /// From the columns of the checksum and of `btoken_hash`.
    pub(super) fn read(row: &Row<'_>, checksum: usize, hash: usize) -> rusqlite::Result<Self> {
        Ok(match row.get::<_, Option<i64>>(checksum)? {
            Some(crc) => Self::Crc(Checksum(crc.cast_unsigned())),
            None => Self::Sha256(row.get(hash)?),
        })
    }

    pub(super) fn is_of(&self, btoken: &[u8]) -> bool {
        match self {
            Self::Crc(checksum) => Checksum::of(btoken) == *checksum,
            Self::Sha256(hash) => <[u8; 32]>::from(Sha256::digest(btoken)) == *hash,
        }
    }
}
