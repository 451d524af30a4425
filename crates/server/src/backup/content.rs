//! The bytes of a backup, and the check of a copy that is elsewhere.

use std::io::{self, Read};

use sha2::{Digest, Sha256};

#[cfg(feature = "s3")]
use super::HASH_LEN;

/// The bytes of a backup, one after the other. The hash is computed on the way.
pub(crate) struct Content<'a> {
    body: Box<dyn Read + 'a>,
    hash: Sha256,
    /// The hash, after everything else was read.
    end: Option<io::Cursor<[u8; 32]>>,
    len: u64,
}

impl<'a> Content<'a> {
    /// Everything before the hash, and the length of both.
    pub(super) fn new(body: impl Read + 'a, len: u64) -> Self {
        Self {
            body: Box::new(body),
            hash: Sha256::new(),
            end: None,
            len,
        }
    }

    /// The number of all bytes.
    pub(crate) const fn len(&self) -> u64 {
        self.len
    }

    /// Checks a copy of what was read, all of it.
    #[cfg(feature = "s3")]
    pub(crate) fn check_copy(&self) -> CopyCheck {
        CopyCheck {
            left: self.len,
            hash: Sha256::new(),
            end: Vec::new(),
            expected: self.end.as_ref().map(|end| *end.get_ref()),
        }
    }
}

impl Read for Content<'_> {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        if let Some(end) = &mut self.end {
            return end.read(bytes);
        }
        let read = self.body.read(bytes)?;
        if read > 0 || bytes.is_empty() {
            self.hash.update(bytes.get(..read).unwrap_or_default());
            return Ok(read);
        }
        let hash = std::mem::take(&mut self.hash).finalize().into();
        self.end.insert(io::Cursor::new(hash)).read(bytes)
    }
}

/// Compares the bytes of a copy with the backup that was sent there: their number, their hash, and
/// the hash at their end.
#[cfg(feature = "s3")]
pub(crate) struct CopyCheck {
    /// How many bytes are to come.
    left: u64,
    hash: Sha256,
    /// The last bytes, up to the length of a hash.
    end: Vec<u8>,
    /// `None`: the backup was not sent as a whole.
    expected: Option<[u8; 32]>,
}

#[cfg(feature = "s3")]
impl CopyCheck {
    /// Takes the next bytes. False: there are more than there should be.
    pub(crate) fn take(&mut self, bytes: &[u8]) -> bool {
        let Some(left) = self.left.checked_sub(bytes.len() as u64) else {
            return false;
        };
        let hashed = self.left.saturating_sub(HASH_LEN);
        let hashed = usize::try_from(hashed).unwrap_or(usize::MAX);
        let (body, end) = bytes.split_at(hashed.min(bytes.len()));
        self.hash.update(body);
        self.end.extend_from_slice(end);
        self.left = left;
        true
    }

    /// Whether the copy is the backup.
    pub(crate) fn matches(self) -> bool {
        let hash: [u8; 32] = self.hash.finalize().into();
        self.left == 0 && self.end == hash && self.expected == Some(hash)
    }
}

#[cfg(test)]
#[cfg(feature = "s3")]
mod tests {
    use super::*;

    /// What is read of a content, and a check for copies of it.
    fn sent(body: &[u8]) -> (Vec<u8>, CopyCheck) {
        let mut content = Content::new(body, body.len() as u64 + HASH_LEN);
        let mut bytes = Vec::new();
        content.read_to_end(&mut bytes).unwrap();
        assert_eq!(bytes.len() as u64, content.len());
        (bytes, content.check_copy())
    }

    fn is_same(body: &[u8], copy: &[u8], step: usize) -> bool {
        let (_, mut check) = sent(body);
        copy.chunks(step).all(|bytes| check.take(bytes)) && check.matches()
    }

    #[test]
    fn a_copy_is_the_backup_or_it_is_found() {
        for len in [0, 1, 31, 32, 33, 100] {
            let body: Vec<u8> = (0..len).collect();
            let (bytes, _) = sent(&body);
            for step in [1, 7, 32, 33, 1000] {
                assert!(is_same(&body, &bytes, step), "{len} {step}");
            }
            for at in 0..bytes.len() {
                let mut other = bytes.clone();
                other[at] ^= 1;
                assert!(!is_same(&body, &other, 7), "{len} {at}");
                assert!(!is_same(&body, &bytes[..at], 7), "{len} {at}");
            }
            let longer = [bytes.as_slice(), b"x"].concat();
            assert!(!is_same(&body, &longer, 7));
        }
        // Another backup of the same length, with a hash that is right.
        assert!(!is_same(b"one", &sent(b"two").0, 7));
    }

    #[test]
    fn a_backup_of_which_a_part_was_sent_has_no_copy() {
        let mut content = Content::new(&b"body"[..], 4 + HASH_LEN);
        content.read_exact(&mut [0; 4]).unwrap();
        let mut check = content.check_copy();
        assert!(check.take(&sent(b"body").0));
        assert!(!check.matches());
    }
}
