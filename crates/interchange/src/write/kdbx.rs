//! KeePass' encrypted file, KDBX 4.0, which KeePass 2 and KeePassXC open with a password. The
//! content is compressed with gzip and encrypted with ChaCha20 under a key from Argon2id.
//!
//! Secret values are protected, which means encrypted once more. So are values with characters that
//! XML cannot hold: control characters and carriage returns.

use std::collections::BTreeMap;
use std::io::Write;

use argon2::{Algorithm, Version};
use chacha20::ChaCha20;
use chacha20::cipher::{KeyIvInit, StreamCipher};
use data_encoding::BASE64;
use flate2::Compression;
use flate2::write::GzEncoder;
use passmate_vault::login::is_secret;
use passmate_vault::view::View;
use passmate_vault::{Passphrase, RecordId};
use rand_core::CryptoRng;
use zeroize::Zeroizing;

use super::{Entry, ExportError, WriteOptions, other_fields, value_of};
use crate::crypto::{Argon2Cost, derive_argon2, hmac_sha256, sha256};
use crate::syntax::kdbx::{
    CIPHER_CHACHA20, INNER_CHACHA20, InnerStream, KDF_ARGON2ID, SIGNATURE, YEAR_1, sha512,
};

/// Takes as much memory as KeePassXC's default.
const COST: Argon2Cost = Argon2Cost {
    memory_kib: 64 * 1024,
    passes: 10,
    lanes: 2,
};
/// The length of a block of the body, in bytes.
const BLOCK_LEN: usize = 1024 * 1024;

/// The standard strings of a KeePass entry, and the one in which KeePassXC stores the secret of
/// one-time codes.
const KEYS: [&str; 6] = ["Title", "UserName", "Password", "URL", "Notes", "otp"];

/// Writes a file with an entry for each live record. The folders of the paths become groups.
pub(super) fn write(
    view: &View<'_>,
    options: WriteOptions<'_>,
    rng: &mut impl CryptoRng,
) -> Result<Zeroizing<Vec<u8>>, ExportError> {
    let entries: Vec<KdbxEntry> = super::entries(view)
        .map(|entry| KdbxEntry::of(&entry, options))
        .collect();
    write_entries(&entries, options.passphrase, rng).map(Zeroizing::new)
}

struct KdbxEntry {
    /// Derived from the record's id, so it is the same in every file.
    id: [u8; 16],
    /// The names of the groups around the entry, outermost first. Empty names are skipped.
    groups: Vec<String>,
    strings: Vec<KdbxString>,
    /// The times of creation and of the last change, in seconds since 1970.
    times: (i64, i64),
}

struct KdbxString {
    key: String,
    value: Zeroizing<String>,
    is_secret: bool,
}

impl KdbxEntry {
    fn of(entry: &Entry<'_>, options: WriteOptions<'_>) -> Self {
        let login = &entry.login;
        let otp = value_of(&login.otp);
        let address = (options.otp_address)(&otp, &entry.name);
        let otp = address.unwrap_or_else(|| Zeroizing::new(otp.into_owned()));
        let mut strings: Vec<KdbxString> = KEYS
            .into_iter()
            .zip([
                entry.name.as_str(),
                &value_of(&login.user),
                &value_of(&login.password),
                &value_of(&login.url),
                &value_of(&login.notes),
                &otp,
            ])
            .filter(|(key, value)| *key == "Title" || !value.is_empty())
            .map(|(key, value)| KdbxString {
                key: key.to_owned(),
                value: Zeroizing::new(value.to_owned()),
                is_secret: matches!(key, "Password" | "otp"),
            })
            .collect();
        for (name, value) in other_fields(login) {
            let mut key = name.clone().into_owned();
            while KEYS.contains(&key.as_str()) || strings.iter().any(|string| string.key == key) {
                key.push('_');
            }
            strings.push(KdbxString {
                key,
                value: Zeroizing::new(value.into_owned()),
                is_secret: is_secret(&name),
            });
        }
        let changes = entry.record.record.changes().iter();
        let times = changes.filter_map(|change| change.stamp.deciding_seconds());
        Self {
            id: entry_id(entry.record.id),
            groups: entry.folder.split('/').map(str::to_owned).collect(),
            strings,
            times: (
                times.clone().min().unwrap_or_default(),
                times.max().unwrap_or_default(),
            ),
        }
    }
}

/// The UUID of a record's entry, which is the same in every file.
pub(super) fn entry_id(id: &RecordId) -> [u8; 16] {
    let hash = sha256(&[id.as_text().as_bytes()]);
    *hash.first_chunk().expect("32 bytes have 16 at their head")
}

fn write_entries(
    entries: &[KdbxEntry],
    passphrase: &Passphrase,
    rng: &mut impl CryptoRng,
) -> Result<Vec<u8>, ExportError> {
    let (mut seed, mut nonce, mut salt, mut inner_key) =
        ([0; 32], [0; 12], [0; 32], Zeroizing::new([0; 64]));
    for part in [
        seed.as_mut_slice(),
        &mut nonce,
        &mut salt,
        inner_key.as_mut_slice(),
    ] {
        rng.fill_bytes(part);
    }
    let header = header(&seed, &nonce, &salt);
    let composite = Zeroizing::new(sha256(&[&sha256(&[passphrase.as_bytes()])]));
    let transformed = derive_argon2(
        Algorithm::Argon2id,
        Version::V0x13,
        composite.as_slice(),
        &salt,
        COST,
    )?;
    let key = Zeroizing::new(sha256(&[&seed, transformed.as_slice()]));
    let base = Zeroizing::new(sha512(&[&seed, transformed.as_slice(), &[1]]));
    let tag = |index: u64, parts: &[&[u8]]| {
        hmac_sha256(
            Zeroizing::new(sha512(&[&index.to_le_bytes(), base.as_slice()])).as_slice(),
            parts,
        )
    };

    let mut payload = Zeroizing::new(Vec::new());
    put(&mut payload, 1, &INNER_CHACHA20.to_le_bytes());
    put(&mut payload, 2, inner_key.as_slice());
    put(&mut payload, 0, &[]);
    let mut stream = InnerStream::chacha20(inner_key.as_slice());
    payload.extend_from_slice(&xml(entries, &mut stream));
    let mut body = compress(&payload);
    let mut cipher = <ChaCha20 as KeyIvInit>::new((&*key).into(), (&nonce).into());
    cipher
        .try_apply_keystream(&mut body)
        .map_err(|_| ExportError::TooLong)?;

    let mut file = header.clone();
    file.extend_from_slice(&sha256(&[&header]));
    file.extend_from_slice(&tag(u64::MAX, &[&header]));
    let last = std::iter::once(&[][..]);
    for (index, block) in (0_u64..).zip(body.chunks(BLOCK_LEN).chain(last)) {
        let len = u32::try_from(block.len())
            .expect("a block is at most 1 MiB long")
            .to_le_bytes();
        file.extend_from_slice(&tag(index, &[&index.to_le_bytes(), &len, block]));
        file.extend_from_slice(&len);
        file.extend_from_slice(block);
    }
    Ok(file)
}

/// Appends a part of a header: id (1), length (4), value.
fn put(out: &mut Vec<u8>, id: u8, value: &[u8]) {
    out.push(id);
    put_value(out, value);
}

fn put_value(out: &mut Vec<u8>, value: &[u8]) {
    // All values are shorter than 100 bytes.
    out.extend_from_slice(&u32::try_from(value.len()).unwrap_or(u32::MAX).to_le_bytes());
    out.extend_from_slice(value);
}

fn header(seed: &[u8; 32], nonce: &[u8; 12], salt: &[u8; 32]) -> Vec<u8> {
    let mut kdf = vec![0x00, 0x01];
    let mut entry = |kind: u8, key: &[u8], value: &[u8]| {
        kdf.push(kind);
        put_value(&mut kdf, key);
        put_value(&mut kdf, value);
    };
    // The types are 0x04 and 0x05 for unsigned numbers of 4 and 8 bytes, and 0x42 for bytes.
    entry(0x42, b"$UUID", &KDF_ARGON2ID);
    entry(0x42, b"S", salt);
    entry(0x05, b"I", &COST.passes.to_le_bytes());
    entry(0x05, b"M", &(COST.memory_kib * 1024).to_le_bytes());
    entry(0x04, b"P", &COST.lanes.to_le_bytes());
    entry(0x04, b"V", &0x13_u32.to_le_bytes());
    kdf.push(0);

    let mut header = SIGNATURE.to_vec();
    header.extend_from_slice(&[0, 0, 4, 0]);
    put(&mut header, 2, &CIPHER_CHACHA20);
    put(&mut header, 3, &1_u32.to_le_bytes());
    put(&mut header, 4, seed);
    put(&mut header, 7, nonce);
    put(&mut header, 11, &kdf);
    put(&mut header, 0, b"\r\n\r\n");
    header
}

fn compress(payload: &[u8]) -> Zeroizing<Vec<u8>> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    let written = encoder.write_all(payload).and_then(|()| encoder.finish());
    Zeroizing::new(written.expect("a Vec takes all bytes"))
}

/// The content of a group.
#[derive(Default)]
struct Group<'a> {
    groups: BTreeMap<&'a str, Group<'a>>,
    entries: Vec<&'a KdbxEntry>,
}

fn xml(entries: &[KdbxEntry], stream: &mut InnerStream) -> Zeroizing<Vec<u8>> {
    let mut root = Group::default();
    for entry in entries {
        let mut group = &mut root;
        for name in entry.groups.iter().filter(|name| !name.is_empty()) {
            group = group.groups.entry(name).or_default();
        }
        group.entries.push(entry);
    }
    let mut out = Xml {
        text: Zeroizing::new(String::new()),
        stream,
    };
    out.text.push_str(
        "<?xml version=\"1.0\" encoding=\"utf-8\" standalone=\"yes\"?>\n<KeePassFile><Meta>",
    );
    out.element("Generator", "Passmate");
    out.element("DatabaseName", "Passmate");
    out.text.push_str("</Meta><Root>");
    out.group("Passmate", "", &root);
    out.text.push_str("</Root></KeePassFile>\n");
    Zeroizing::new(out.text.as_bytes().to_vec())
}

/// Writes elements. Protected values must be written in the order of the document, because they
/// share one key stream.
struct Xml<'a> {
    text: Zeroizing<String>,
    stream: &'a mut InnerStream,
}

impl Xml<'_> {
    fn group(&mut self, name: &str, path: &str, group: &Group<'_>) {
        self.text.push_str("<Group>");
        let path = format!("{path}/{name}");
        let [id @ .., _, _, _, _, _, _, _, _, _, _, _, _, _, _, _, _] = sha256(&[path.as_bytes()]);
        self.element("UUID", &BASE64.encode(&id));
        self.element("Name", name);
        for entry in &group.entries {
            self.entry(entry);
        }
        for (name, group) in &group.groups {
            self.group(name, &path, group);
        }
        self.text.push_str("</Group>");
    }

    fn entry(&mut self, entry: &KdbxEntry) {
        self.text.push_str("<Entry>");
        self.element("UUID", &BASE64.encode(&entry.id));
        self.text.push_str("<Times>");
        let time = |seconds: i64| BASE64.encode(&seconds.saturating_add(YEAR_1).to_le_bytes());
        self.element("CreationTime", &time(entry.times.0));
        self.element("LastModificationTime", &time(entry.times.1));
        self.text.push_str("</Times>");
        for KdbxString {
            key,
            value,
            is_secret,
        } in &entry.strings
        {
            self.text.push_str("<String>");
            self.element("Key", key);
            if *is_secret || !value.chars().all(is_plain) {
                let mut bytes = Zeroizing::new(value.as_bytes().to_vec());
                self.stream.apply(&mut bytes);
                self.text.push_str("<Value Protected=\"True\">");
                self.text.push_str(&BASE64.encode(&bytes));
                self.text.push_str("</Value>");
            } else {
                self.element("Value", value);
            }
            self.text.push_str("</String>");
        }
        self.text.push_str("</Entry>");
    }

    /// Writes an element with a text. Characters that XML cannot hold become U+FFFD.
    fn element(&mut self, name: &str, text: &str) {
        let text: Zeroizing<String> = Zeroizing::new(
            text.chars()
                .map(|c| if is_plain(c) { c } else { '\u{FFFD}' })
                .collect(),
        );
        self.text.push_str(&format!("<{name}>"));
        self.text
            .push_str(&quick_xml::escape::escape(text.as_str()));
        self.text.push_str(&format!("</{name}>"));
    }
}

/// Whether XML keeps a character as it is.
fn is_plain(c: char) -> bool {
    let is_control = matches!(c, '\0'..='\u{8}' | '\u{B}'..='\u{1F}' | '\u{7F}'..='\u{9F}');
    !is_control && !matches!(c, '\u{FFFE}' | '\u{FFFF}')
}

#[cfg(test)]
mod tests {
    use rand_core::UnwrapErr;

    use super::*;
    use crate::error::ImportError;
    use crate::read::{ReadOptions, kdbx};

    fn passphrase() -> Passphrase {
        Passphrase::from("correct horse".to_owned())
    }

    fn entry(number: u8, groups: &[&str], strings: &[(&str, &str, bool)]) -> KdbxEntry {
        KdbxEntry {
            id: [number; 16],
            groups: groups.iter().map(|&name| name.to_owned()).collect(),
            strings: strings
                .iter()
                .map(|(key, value, is_secret)| KdbxString {
                    key: (*key).to_owned(),
                    value: Zeroizing::new((*value).to_owned()),
                    is_secret: *is_secret,
                })
                .collect(),
            times: (1_700_000_000, 1_800_000_000),
        }
    }

    #[test]
    fn written_entries_are_read_back() {
        let odd = "<&\"'>]]>\r\n\u{1}\u{7F} ü🔑 \u{FFFF} ";
        let entries = [
            entry(
                1,
                &[],
                &[("Title", "top", false), ("Password", "secret", true)],
            ),
            entry(
                2,
                &["web", "a & b"],
                &[
                    ("Title", "site", false),
                    ("UserName", odd, false),
                    ("Notes", " x\n\ty ", false),
                ],
            ),
            entry(
                3,
                &["web"],
                &[
                    ("Title", "other", false),
                    ("Password", odd, true),
                    ("pin", "1234", true),
                ],
            ),
        ];
        let file =
            write_entries(&entries, &passphrase(), &mut UnwrapErr(getrandom::SysRng)).unwrap();
        let imported = kdbx::read(&file, ReadOptions::with_secret(Some(&passphrase()))).unwrap();
        assert!(imported.losses.is_empty(), "{:?}", imported.losses);
        let mut read: Vec<(String, Vec<(String, String)>)> = imported
            .items
            .iter()
            .map(|item| {
                (
                    item.path.clone(),
                    item.fields
                        .iter()
                        .map(|field| (field.name.clone(), field.value.to_string()))
                        .collect(),
                )
            })
            .collect();
        read.sort();
        let field = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let expected = [
            ("top".to_owned(), vec![field("password", "secret")]),
            (
                "web/a & b/site".to_owned(),
                vec![field("user", odd), field("notes", " x\n\ty ")],
            ),
            (
                "web/other".to_owned(),
                vec![field("password", odd), field("pin", "1234")],
            ),
        ];
        assert_eq!(read, expected);
        assert_eq!(
            kdbx::read(
                &file,
                ReadOptions::with_secret(Some(&Passphrase::from("wrong".to_owned())))
            )
            .unwrap_err(),
            ImportError::WrongSecret
        );
    }

    #[test]
    fn a_body_may_have_many_blocks() {
        let long: String = (0..400_000_u32)
            .map(|number| format!("{:08x}", number.wrapping_mul(0x9E37_79B9)))
            .collect();
        let entries = [entry(
            1,
            &[],
            &[("Title", "long", false), ("Notes", &long, false)],
        )];
        let mut rng = UnwrapErr(getrandom::SysRng);
        let file = write_entries(&entries, &passphrase(), &mut rng).unwrap();
        assert!(file.len() > BLOCK_LEN);
        assert_eq!(
            kdbx::read(&file, ReadOptions::with_secret(Some(&passphrase())))
                .unwrap()
                .items
                .len(),
            1
        );
        let again = write_entries(&entries, &passphrase(), &mut rng).unwrap();
        assert_ne!(file.get(..200), again.get(..200));
    }
}
