//! KeePass' encrypted file, KDBX 4.0, which KeePass 2 and KeePassXC open with a password. The
//! content is compressed with gzip and encrypted with ChaCha20 under a key from Argon2id.
//!
//! Secret values are protected, which means encrypted once more. So are values with characters that
//! XML cannot hold: control characters and carriage returns.
//!
//! What KeePassXC has a place for is written there, so that it can be used: further addresses, tags,
//! expiry, one-time codes, a passkey, and earlier values as earlier versions of the entry. What that
//! place cannot hold of a field is in a string of its own, which a later import takes.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;

use argon2::Algorithm;
use chacha20::ChaCha20;
use chacha20::cipher::{KeyIvInit, StreamCipher};
use data_encoding::BASE64;
use flate2::Compression;
use flate2::write::GzEncoder;
use passmate_vault::login::{FieldRole, is_secret};
use passmate_vault::otp::{OtpAlgorithm, OtpAuth, OtpKind};
use passmate_vault::record::{Change, Domain, FieldKey, Stamp, Value};
use passmate_vault::view::View;
use passmate_vault::{Passphrase, Vault};
use rand_core::CryptoRng;
use zeroize::Zeroizing;

use super::{Entry, ExportError, Notices, WriteOptions, earlier_values, value_of};
use crate::crypto::{Argon2Cost, derive_argon2, hmac_sha256, sha256};
use crate::loss::Loss;
use crate::passkey::Passkey;
use crate::syntax::kdbx::{
    CIPHER_CHACHA20, FURTHER_URL, INNER_CHACHA20, InnerStream, KDF_ARGON2ID, OTP_EXACT, SIGNATURE,
    YEAR_1, entry_id, seconds_of_expiry, sha512, tags_of,
};
use crate::syntax::kpex;

/// Takes as much memory as KeePassXC's default.
const COST: Argon2Cost = Argon2Cost {
    memory_kib: 64 * 1024,
    passes: 10,
    lanes: 2,
};
/// The length of a block of the body, in bytes.
const BLOCK_LEN: usize = 1024 * 1024;

/// The most earlier versions of an entry. Each has all values of its time, so that their length
/// grows with the square of the number.
const VERSIONS_MAX: usize = 100;
/// The most bytes of all earlier versions in a file.
const VERSIONS_LEN_MAX: usize = 64 * 1024 * 1024;

/// The standard strings of a KeePass entry, and the one in which KeePassXC stores the secret of
/// one-time codes.
const KEYS: [&str; 6] = ["Title", "UserName", "Password", "URL", "Notes", "otp"];

/// The most seconds for which KeePassXC makes a code valid. Version 2.7.4 takes longer ones for this.
const PERIOD_MAX: u64 = 60;

/// The begins of KeePass' placeholders in values, which stand in braces.
const PLACEHOLDERS: [&str; 14] = [
    "REF:",
    "CMD:",
    "S:",
    "T-",
    "C:",
    "TITLE}",
    "USERNAME}",
    "PASSWORD}",
    "URL",
    "NOTES}",
    "TOTP}",
    "TIMEOTP}",
    "HMACOTP}",
    "NEWPASSWORD",
];

/// Writes a file with an entry for each live record. The folders of the paths become groups.
pub(super) fn write(
    view: &View<'_>,
    options: WriteOptions<'_>,
    notices: &mut Notices,
    rng: &mut impl CryptoRng,
) -> Result<Zeroizing<Vec<u8>>, ExportError> {
    let mut len_left = VERSIONS_LEN_MAX;
    let entries: Vec<KdbxEntry> = super::entries(view)
        .map(|entry| KdbxEntry::of(&entry, &mut len_left, &mut notices.losses))
        .collect();
    let values = entries.iter().flat_map(|entry| &entry.present.strings);
    let replaced = values
        .filter(|string| has_placeholder(&string.value))
        .count();
    if replaced > 0 {
        let (plural, verb) = if replaced == 1 {
            ("", "has")
        } else {
            ("s", "have")
        };
        notices.warnings.push(Loss::of_file(format!(
            "{replaced} value{plural} {verb} text in braces that KeePass replaces when it is used, \
             such as {{USERNAME}} or {{REF:…}}"
        )));
    }
    write_entries(&entries, options.passphrase, rng).map(Zeroizing::new)
}

struct KdbxEntry {
    /// Derived from the record's id, so it is the same in every file.
    id: [u8; 16],
    /// The names of the groups around the entry, outermost first. Empty names are skipped.
    groups: Vec<String>,
    /// In seconds since 1970, as all times.
    created: i64,
    present: Version,
    /// The oldest first.
    history: Vec<Version>,
}

/// What an entry has at a time.
#[derive(Default)]
struct Version {
    modified: i64,
    strings: Vec<KdbxString>,
    tags: Vec<String>,
    expires: Option<i64>,
}

struct KdbxString {
    key: String,
    value: Zeroizing<String>,
    is_secret: bool,
}

impl KdbxEntry {
    fn of(entry: &Entry<'_>, len_left: &mut usize, losses: &mut Vec<Loss>) -> Self {
        let (created, modified) = entry.times();
        Self {
            id: entry_id(entry.record.id),
            groups: entry.folder.split('/').map(str::to_owned).collect(),
            created,
            present: Version::of(entry, &entry.name, modified),
            history: history_of(entry, len_left, losses),
        }
    }
}

/// The versions of the times at which a field got a value that it does not have any more.
fn history_of(entry: &Entry<'_>, len_left: &mut usize, losses: &mut Vec<Loss>) -> Vec<Version> {
    let record = entry.record.record;
    let otp = entry.login.otp.as_ref();
    let counted = otp.and_then(|otp| OtpAuth::parse(&otp.value.to_string_lossy()).ok());
    let counted = counted.filter(|otp| matches!(otp.kind, OtpKind::Counted { .. }));
    // Each code that counts changes its field, which is no version that anybody misses.
    let is_used_counter = |value: &str| {
        counted.as_ref().is_some_and(|counted| {
            OtpAuth::parse(value).is_ok_and(|earlier| earlier.secret == counted.secret)
        })
    };
    let mut times = BTreeSet::new();
    for history in record.fields() {
        let is_user = |change: &Change| change.key.domain == Domain::User;
        if history.first().is_some_and(is_user) {
            let earlier = earlier_values(history).into_iter();
            let earlier = earlier.filter(|earlier| !is_used_counter(&earlier.value));
            times.extend(earlier.map(|earlier| earlier.since));
        }
    }
    let mut history = Vec::new();
    for time in times.iter().rev().take(VERSIONS_MAX) {
        let version = version_at(entry, *time);
        let lens = version.strings.iter().map(|string| string.value.len());
        let Some(left) = len_left.checked_sub(lens.sum()) else {
            break;
        };
        *len_left = left;
        history.push(version);
    }
    history.reverse();
    let skipped = times.len() - history.len();
    if skipped > 0 {
        losses.push(Loss::new(
            entry.path(),
            format!("the oldest {skipped} earlier versions of {}", entry.path()),
        ));
    }
    history
}

/// The record as it was at a time.
fn version_at(entry: &Entry<'_>, time: i64) -> Version {
    let id = entry.record.id;
    let mut vault = Vault::new();
    vault.insert(
        id,
        Change {
            key: FieldKey::path(),
            stamp: Stamp::from_seconds(time),
            value: Value::Text("entry".into()),
        },
    );
    for change in entry.record.record.changes() {
        let is_before = change.stamp.deciding_seconds().is_some_and(|at| at <= time);
        if change.key.domain == Domain::User && is_before {
            vault.insert(id, change.clone());
        }
    }
    let view = vault.view();
    let version = super::entries(&view).next();
    version.map_or_else(Version::default, |earlier| {
        Version::of(&earlier, &entry.name, time)
    })
}

impl Version {
    fn of(entry: &Entry<'_>, title: &str, modified: i64) -> Self {
        let login = &entry.login;
        let mut version = Self {
            modified,
            ..Self::default()
        };
        version.push("Title", title, false);
        let mut urls = login.url.iter().chain(&login.further_urls);
        let first_url = urls.next().map(|field| field.value.to_string_lossy());
        for (key, value, is_secret) in [
            ("UserName", value_of(&login.user), false),
            ("Password", value_of(&login.password), true),
            ("URL", first_url.unwrap_or_default(), false),
            ("Notes", value_of(&login.notes), false),
        ] {
            version.push_some(key, &value, is_secret);
        }
        for (number, url) in urls.enumerate() {
            let key = match number {
                0 => FURTHER_URL.to_owned(),
                number => format!("{FURTHER_URL}_{number}"),
            };
            version.push(&key, &url.value.to_string_lossy(), false);
        }
        if let Some(otp) = &login.otp {
            version.push_otp(&otp.value.to_string_lossy(), title);
        }
        let places = [FieldRole::Tags, FieldRole::Expires, FieldRole::Passkey]
            .map(|role| role.find(&entry.record));
        let [tags, expires, passkey] = &places;
        version.set_tags(&value_of(tags));
        version.set_expiry(&value_of(expires));
        version.push_passkey(&value_of(passkey));
        let strings = version.strings.iter().map(|string| string.key.clone());
        let mut taken: BTreeSet<String> = strings.chain(KEYS.map(str::to_owned)).collect();
        for (name, value) in entry.other_fields(&places) {
            let mut key = name.clone().into_owned();
            while !taken.insert(key.clone()) {
                key.push('_');
            }
            version.push(&key, &value, is_secret(&name));
        }
        version
    }

    fn push(&mut self, key: &str, value: &str, is_secret: bool) {
        self.strings.push(KdbxString {
            key: key.to_owned(),
            value: Zeroizing::new(value.to_owned()),
            is_secret,
        });
    }

    fn push_some(&mut self, key: &str, value: &str, is_secret: bool) {
        if !value.is_empty() {
            self.push(key, value, is_secret);
        }
    }

    /// Writes the secret of one-time codes. KeePassXC reads `otp` as one whose codes follow the time
    /// and change each minute at least, whatever it is, so nothing else may stand there. KeePass 2
    /// has strings of its own, with any period, and with a counter for six digits and SHA-1.
    fn push_otp(&mut self, otp: &str, label: &str) {
        let address_of = |mut auth: OtpAuth| {
            if auth.label.is_empty() {
                label.clone_into(&mut auth.label);
            }
            auth.to_address()
        };
        let Ok(auth) = OtpAuth::parse(otp) else {
            self.push(OTP_EXACT, otp, true);
            return;
        };
        let is_simple = auth.digits == 6 && auth.algorithm == OtpAlgorithm::Sha1;
        match auth.kind {
            OtpKind::Timed { period } if period > PERIOD_MAX => {
                self.push("TimeOtp-Secret-Base32", &auth.secret_in_base32(), true);
                self.push("TimeOtp-Period", &period.to_string(), false);
                self.push("TimeOtp-Length", &auth.digits.to_string(), false);
                let algorithm = match auth.algorithm {
                    OtpAlgorithm::Sha1 => "HMAC-SHA-1",
                    OtpAlgorithm::Sha256 => "HMAC-SHA-256",
                    OtpAlgorithm::Sha512 => "HMAC-SHA-512",
                };
                self.push("TimeOtp-Algorithm", algorithm, false);
            }
            OtpKind::Counted { counter } if is_simple => {
                self.push("HmacOtp-Secret-Base32", &auth.secret_in_base32(), true);
                self.push("HmacOtp-Counter", &counter.to_string(), false);
            }
            OtpKind::Counted { .. } => {}
            OtpKind::Timed { .. } | OtpKind::Steam => {
                let has = |part: &str| otp.to_ascii_lowercase().contains(part);
                let is_complete = otp.starts_with("otpauth://totp/")
                    && ["period=", "digits="].into_iter().all(has)
                    && !has("&amp;")
                    && (auth.kind != OtpKind::Steam || has("encoder=steam"));
                if is_complete {
                    self.push("otp", otp, true);
                } else {
                    self.push("otp", &address_of(auth), true);
                }
                return;
            }
        }
        // Those strings have no label. Without one, the address is that which an import makes.
        let without_names = OtpAuth {
            label: String::new(),
            issuer: String::new(),
            ..auth
        };
        if !is_simple || address_of(without_names).as_str() != otp {
            self.push(OTP_EXACT, otp, true);
        }
    }

    fn set_tags(&mut self, tags: &str) {
        let own: BTreeSet<&str> = tags.split(',').map(str::trim).collect();
        let is_kept = tags.chars().all(is_plain) && tags_of(tags).all(|tag| own.contains(tag));
        if is_kept {
            self.tags = tags_of(tags).map(str::to_owned).collect();
        } else {
            self.push_some(FieldRole::Tags.name(), tags, false);
        }
    }

    fn set_expiry(&mut self, expires: &str) {
        self.expires = seconds_of_expiry(expires);
        if self.expires.is_none() {
            self.push_some(FieldRole::Expires.name(), expires, false);
        }
    }

    fn push_passkey(&mut self, value: &str) {
        let name = FieldRole::Passkey.name();
        let Some(strings) = Passkey::parse(value).as_ref().and_then(kpex::write) else {
            self.push_some(name, value, true);
            return;
        };
        let read_back = kpex::read(
            strings
                .iter()
                .map(|(key, value)| (key.as_str(), value.as_str())),
        );
        let json = |text: &str| serde_json::from_str::<serde_json::Value>(text).ok();
        let read_back = read_back.and_then(|passkey| json(&passkey.to_value()));
        let is_whole = read_back.is_some() && read_back == json(value);
        for (key, value) in strings {
            let is_secret = !matches!(
                key.as_str(),
                "KPEX_PASSKEY_USERNAME" | "KPEX_PASSKEY_RELYING_PARTY"
            );
            self.push(&key, &value, is_secret);
        }
        if !is_whole {
            self.push(name, value, true);
        }
    }
}

/// Whether a value has a placeholder of KeePass. One of them runs a program, another one stands for
/// the password of any entry.
fn has_placeholder(value: &str) -> bool {
    let upper = value.to_ascii_uppercase();
    let mut words = upper.split('{').skip(1);
    words.any(|word| PLACEHOLDERS.iter().any(|known| word.starts_with(known)))
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
        argon2::Version::V0x13,
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
    // Otherwise KeePass drops all but the newest ten earlier versions when an entry is changed.
    out.element("HistoryMaxItems", "-1");
    out.element("HistoryMaxSize", "-1");
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
        self.version(entry, &entry.present);
        if !entry.history.is_empty() {
            self.text.push_str("<History>");
            for version in &entry.history {
                self.text.push_str("<Entry>");
                self.version(entry, version);
                self.text.push_str("</Entry>");
            }
            self.text.push_str("</History>");
        }
        self.text.push_str("</Entry>");
    }

    fn version(&mut self, entry: &KdbxEntry, version: &Version) {
        self.element("UUID", &BASE64.encode(&entry.id));
        if !version.tags.is_empty() {
            self.element("Tags", &version.tags.join(";"));
        }
        self.text.push_str("<Times>");
        let time = |seconds: i64| BASE64.encode(&seconds.saturating_add(YEAR_1).to_le_bytes());
        self.element("CreationTime", &time(entry.created));
        self.element("LastModificationTime", &time(version.modified));
        // Some programs want both elements in any case.
        let is_set = version.expires.is_some();
        self.element("Expires", if is_set { "True" } else { "False" });
        self.element(
            "ExpiryTime",
            &time(version.expires.unwrap_or(entry.created)),
        );
        self.text.push_str("</Times>");
        for KdbxString {
            key,
            value,
            is_secret,
        } in &version.strings
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
            created: 1_700_000_000,
            present: Version {
                modified: 1_800_000_000,
                strings: strings
                    .iter()
                    .map(|(key, value, is_secret)| KdbxString {
                        key: (*key).to_owned(),
                        value: Zeroizing::new((*value).to_owned()),
                        is_secret: *is_secret,
                    })
                    .collect(),
                ..Version::default()
            },
            history: Vec::new(),
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
    fn keepassxc_sees_no_secret_of_which_it_makes_other_codes() {
        for (otp, keys) in [
            ("JBSWY3DP", &["otp"][..]),
            ("otpauth://totp/a?secret=JBSWY3DP", &["otp"]),
            ("steam://JBSWY3DP", &["otp"]),
            ("no codes!", &[OTP_EXACT]),
            (
                "otpauth://hotp/x?secret=JBSWY3DP&counter=3&digits=6",
                &["HmacOtp-Secret-Base32", "HmacOtp-Counter"],
            ),
            (
                "otpauth://hotp/a?secret=JBSWY3DP&counter=3",
                &["HmacOtp-Secret-Base32", "HmacOtp-Counter", OTP_EXACT],
            ),
            (
                "otpauth://hotp/x?secret=JBSWY3DP&counter=3&digits=8",
                &[OTP_EXACT],
            ),
            (
                "otpauth://totp/x?secret=JBSWY3DP&period=90&digits=6",
                &[
                    "TimeOtp-Secret-Base32",
                    "TimeOtp-Period",
                    "TimeOtp-Length",
                    "TimeOtp-Algorithm",
                ],
            ),
        ] {
            let mut version = Version::default();
            version.push_otp(otp, "x");
            let strings = version.strings.iter();
            let written: Vec<_> = strings.map(|string| string.key.as_str()).collect();
            assert_eq!(written, keys, "{otp}");
        }
        let mut version = Version::default();
        version.push_otp("otpauth://totp/Steam:a?secret=JBSWY3DP", "x");
        version.push_otp("steam://JBSWY3DP", "x");
        assert_eq!(
            version.strings[1].value.as_str(),
            "otpauth://totp/x?secret=JBSWY3DP&period=30&digits=5&encoder=steam"
        );
    }

    #[test]
    fn placeholders_are_told_from_other_braces() {
        for value in [
            "{REF:P@T:x}",
            "a {username}",
            "{cmd:/calc/}",
            "{{URL:HOST}",
            "{S:pin}",
        ] {
            assert!(has_placeholder(value), "{value}");
        }
        for value in ["{}", "{\"ref\": 1}", "REF:P@T:x}", "{user}", "{ref}", ""] {
            assert!(!has_placeholder(value), "{value}");
        }
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
