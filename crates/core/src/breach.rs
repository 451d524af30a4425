//! A list of the SHA-1 hashes of passwords that stood in breaches, as Have I Been Pwned gives it:
//! lines of 40 hexadecimal digits, a colon and a number, in the order of the hashes. It may be as
//! large as a disk: a search reads some forty lines and keeps none.

pub(crate) mod range;

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use sha1::{Digest, Sha1};

use crate::problem::{Problem, ProblemKind};

/// The SHA-1 hash of a password.
pub(crate) type Hash = [u8; 20];

/// Digits of a hash.
const DIGITS: usize = 40;
/// The longest line that is read, in bytes.
const LINE_MAX: usize = 128;

/// How many lines are looked at before a list is searched.
const SAMPLES: u64 = 64;

const NOT_SORTED: &str = "its lines are not in the order of their hashes";

pub(crate) fn hash_of(password: &str) -> Hash {
    Sha1::digest(password).into()
}

/// A list in a file.
pub(crate) struct BreachList {
    path: PathBuf,
    file: File,
    len: u64,
}

/// A line of a list, and where it is.
struct Line {
    hash: Hash,
    count: u64,
    /// Where the next one begins.
    end: u64,
}

impl BreachList {
    pub(crate) fn open(path: &Path) -> Result<Self, Problem> {
        let open = || {
            let file = File::open(path)?;
            let metadata = file.metadata()?;
            match metadata.is_file() {
                true => Ok((file, metadata.len())),
                false => Err(io::Error::other("it is no file that can be searched")),
            }
        };
        let path = path.to_owned();
        match open() {
            Ok((file, len)) => {
                let list = Self { path, file, len };
                list.check_order()?;
                Ok(list)
            }
            Err(error) => Err(Problem::new(
                ProblemKind::File,
                format!("cannot read the list {}: {error}", path.display()),
                "name a file of lines HASH:COUNT, sorted by their SHA-1 hashes",
            )),
        }
    }

    /// Looks at a few lines in all parts of the list: one that is not sorted would be searched in
    /// vain.
    fn check_order(&self) -> Result<(), Problem> {
        let mut least = [0; 20];
        for part in 0..SAMPLES {
            let place = self.len / SAMPLES * part + self.len % SAMPLES * part / SAMPLES;
            if let Some((at, line)) = self.line_from(place, 0)? {
                if line.hash < least {
                    return Err(self.wrong(at, NOT_SORTED));
                }
                least = line.hash;
            }
        }
        Ok(())
    }

    /// How often the password with this hash stood in a breach; 0 if it did not.
    pub(crate) fn count(&self, wanted: Hash) -> Result<u64, Problem> {
        // The wanted line begins in `begin..end`, and what is outside was seen to be less or more.
        let (mut begin, mut end) = (0, self.len);
        let (mut least, mut most) = ([0; 20], [0xff; 20]);
        while begin < end {
            let middle = begin + (end - begin) / 2;
            let Some((at, line)) = self.line_from(middle, begin)? else {
                // No line begins behind the middle.
                end = middle;
                continue;
            };
            if at >= end {
                end = middle;
                continue;
            }
            if line.hash < least || line.hash > most {
                return Err(self.wrong(at, NOT_SORTED));
            }
            match line.hash.cmp(&wanted) {
                std::cmp::Ordering::Equal => return Ok(line.count.max(1)),
                std::cmp::Ordering::Less => (begin, least) = (line.end, line.hash),
                std::cmp::Ordering::Greater => (end, most) = (middle, line.hash),
            }
        }
        Ok(0)
    }

    /// The first line that begins at this place or behind it; `begin` is known to begin one.
    fn line_from(&self, place: u64, begin: u64) -> Result<Option<(u64, Line)>, Problem> {
        let at = if place == begin {
            place
        } else {
            // A line begins here if the byte before ends one.
            match self.end_of_line(place - 1)? {
                Some(at) => at,
                None => return Ok(None),
            }
        };
        if at >= self.len {
            return Ok(None);
        }
        Ok(Some((at, self.line(at)?)))
    }

    /// Where the line at this place ends: behind its line feed.
    fn end_of_line(&self, place: u64) -> Result<Option<u64>, Problem> {
        let mut bytes = [0; LINE_MAX];
        let bytes = self.read(place, &mut bytes)?;
        match bytes.iter().position(|byte| *byte == b'\n') {
            Some(len) => Ok(Some(place + len as u64 + 1)),
            None if bytes.len() < LINE_MAX => Ok(None),
            None => Err(self.wrong(place, "a line is longer than 128 bytes")),
        }
    }

    fn line(&self, at: u64) -> Result<Line, Problem> {
        let mut bytes = [0; LINE_MAX];
        let bytes = self.read(at, &mut bytes)?;
        let len = bytes.iter().position(|byte| *byte == b'\n');
        let text = bytes.get(..len.unwrap_or(bytes.len())).unwrap_or_default();
        let text = text.strip_suffix(b"\r").unwrap_or(text);
        let parsed = text.split_at_checked(DIGITS).and_then(|(digits, rest)| {
            let count = match rest {
                [] => 1,
                [b':', count @ ..] => std::str::from_utf8(count).ok()?.trim().parse().ok()?,
                _ => return None,
            };
            Some((parse_hash(digits)?, count))
        });
        let (hash, count) =
            parsed.ok_or_else(|| self.wrong(at, "a line is not a SHA-1 hash and a number"))?;
        let end = at + len.map_or(bytes.len(), |len| len + 1) as u64;
        Ok(Line { hash, count, end })
    }

    fn read<'b>(&self, at: u64, bytes: &'b mut [u8]) -> Result<&'b [u8], Problem> {
        let mut filled = 0;
        while let Some(rest) = bytes.get_mut(filled..).filter(|rest| !rest.is_empty()) {
            match self.file.read_at(rest, at + filled as u64) {
                Ok(0) => break,
                Ok(len) => filled += len,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(self.wrong(at, &error.to_string())),
            }
        }
        Ok(bytes.get(..filled).unwrap_or_default())
    }

    fn wrong(&self, at: u64, why: &str) -> Problem {
        Problem::new(
            ProblemKind::File,
            format!(
                "{} is no list that can be searched: at byte {at}, {why}",
                self.path.display()
            ),
            "it needs lines HASH:COUNT, sorted by their SHA-1 hashes; `LC_ALL=C sort` sorts one",
        )
    }
}

fn parse_hash(digits: &[u8]) -> Option<Hash> {
    let digit = |byte: u8| {
        char::from(byte)
            .to_digit(16)
            .and_then(|digit| u8::try_from(digit).ok())
    };
    let mut hash = [0; 20];
    for (byte, pair) in hash.iter_mut().zip(digits.chunks_exact(2)) {
        let [high, low] = pair else { return None };
        *byte = digit(*high)? << 4 | digit(*low)?;
    }
    (digits.len() == DIGITS).then_some(hash)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn hex(hash: Hash) -> String {
        hash.iter().map(|byte| format!("{byte:02X}")).collect()
    }

    fn list(text: &str) -> Result<BreachList, Problem> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        BreachList::open(file.path())
    }

    #[test]
    fn a_password_is_found_by_its_hash() {
        let mut lines: Vec<_> = (0..999)
            .map(|number: u32| format!("{}:{number}", hex(hash_of(&number.to_string()))))
            .collect();
        lines.sort();
        for (end, ends) in [("\n", true), ("\r\n", true), ("\n", false)] {
            let mut text = lines.join(end);
            text.push_str(if ends { end } else { "" });
            let list = list(&text).unwrap();
            for number in 0..999_u32 {
                let count = list.count(hash_of(&number.to_string())).unwrap();
                assert_eq!(count, u64::from(number.max(1)), "{number}");
            }
            for other in ["", "1000", "hunter2"] {
                assert_eq!(list.count(hash_of(other)).unwrap(), 0);
            }
        }
    }

    #[test]
    fn what_is_no_sorted_list_is_refused_and_not_searched_in_vain() {
        let [a, b, c] = [[1; 20], [2; 20], [3; 20]].map(hex);
        for text in [
            "hello\n".to_owned(),
            format!("{a}:many\n"),
            format!("{a}:1 {b}:2"),
            format!("{c}\n{b}\n{a}\n"),
            "x".repeat(1000),
            format!("{}\n", "\u{e9}".repeat(60)),
        ] {
            assert!(list(&text).is_err(), "{text}");
        }
        assert_eq!(list("").unwrap().count([1; 20]).unwrap(), 0);
        assert!(BreachList::open(Path::new("/dev/null")).is_err());
        assert!(BreachList::open(Path::new("/none")).is_err());
    }

    proptest! {
        #[test]
        fn no_file_panics_or_hangs(text in "([0-9A-F]{40}(:[0-9]{1,3})?\r?\n?|.{0,200}\n){0,8}") {
            let _ = list(&text).and_then(|list| list.count([0x80; 20]));
        }

        #[test]
        fn every_line_of_a_sorted_list_is_found(mut hashes: Vec<Hash>) {
            hashes.sort_unstable();
            hashes.dedup();
            let lines: Vec<_> = hashes.iter().map(|hash| hex(*hash)).collect();
            let list = list(&lines.join("\n")).unwrap();
            for hash in hashes {
                prop_assert_eq!(list.count(hash).unwrap(), 1);
            }
        }
    }
}
