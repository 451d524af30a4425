//! `pass` and `gopass`, which store each entry in an encrypted file of its own. The caller decrypts
//! the files.
//!
//! The first line is the password. The following `name: value` lines are fields. All text from the
//! first other line is notes, and a user name, an address or a secret of one-time codes in it is a
//! field if there is none yet. Three kinds of entries are different:
//!  - an ASCII-armoured block, such as a private key, stays in one piece;
//!  - after a line `---`, gopass has YAML;
//!  - after a first line `GOPASS-SECRET-1.0`, an older gopass has headers, a blank line and a text.

use std::collections::BTreeSet;

use passmate_vault::login::{FieldRole, role_of};
use zeroize::Zeroizing;

use super::Imported;
use super::item::{Builder, Collector};
use crate::crypto::sha256;
use crate::error::ImportError;
use crate::syntax::yaml;

/// The first line of the deprecated form of gopass.
const GOPASS_MIME: &str = "GOPASS-SECRET-1.0";
/// The most fields that are found in the lines of one entry. Further lines are notes.
const FIELDS_MAX: usize = 1000;

/// An entry of a store.
pub struct PassEntry {
    /// Its path in the store, without `.gpg`, with `/` between the parts.
    pub path: String,
    /// The decrypted content, or why there is none: a description for people that holds no value.
    pub content: Result<Zeroizing<Vec<u8>>, String>,
}

/// Without the content.
impl std::fmt::Debug for PassEntry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PassEntry")
            .field("path", &self.path)
            .finish_non_exhaustive()
    }
}

/// Reads the entries of `pass`.
///
/// An entry without content, or one that is not UTF-8 text, is a [`Loss`](crate::Loss).
///
/// # Errors
/// [`ImportError::TooMany`] or [`ImportError::NameTooLong`], and no other.
pub fn parse_pass(entries: impl IntoIterator<Item = PassEntry>) -> Result<Imported, ImportError> {
    let mut collector = Collector::default();
    for PassEntry { path, content } in entries {
        let (folders, name) = path.rsplit_once('/').unwrap_or(("", &path));
        let mut builder = collector.begin(path.as_str(), folders.split('/'), name)?;
        let content = match content {
            Ok(content) => content,
            Err(why) => {
                builder.lose_all(&why)?;
                continue;
            }
        };
        let Ok(text) = std::str::from_utf8(&content) else {
            builder.lose_all("it is not text in UTF-8")?;
            continue;
        };
        read_entry(text.strip_prefix('\u{feff}').unwrap_or(text), &mut builder)?;
        builder.finish();
    }
    Ok(collector.into_imported())
}

fn read_entry(text: &str, builder: &mut Builder<'_>) -> Result<(), ImportError> {
    let (first, rest) = split_line(text);
    let mut fields = Fields::default();
    let mut notes = String::new();
    match first {
        GOPASS_MIME => fields.read_headers(rest, &mut notes),
        _ if is_begin(first) => {
            let (block, rest) = split_block(text);
            if first.contains("PRIVATE KEY") {
                fields.push("private key", block.trim_end());
            } else {
                notes.push_str(block);
            }
            fields.read_lines(rest, &mut notes);
        }
        "---" => fields.read_lines(text, &mut notes),
        _ if is_otp_address(first) => fields.read_lines(text, &mut notes),
        _ => {
            fields.push(FieldRole::Password.name(), first);
            fields.read_lines(rest, &mut notes);
        }
    }
    for (name, value) in fields.values {
        builder.add(&name, value.as_str())?;
    }
    builder.add(FieldRole::Notes.name(), notes.trim_end())?;
    for name in fields.links {
        builder.lose_link(&name, "value")?;
    }
    builder.lose_count(fields.comments, "comment in the YAML")
}

/// The fields of an entry.
#[derive(Default)]
struct Fields {
    values: Vec<(String, Zeroizing<String>)>,
    /// The roles and the hashes of the values. An entry may have millions of lines, and not each of
    /// them is compared with all values.
    roles: Vec<FieldRole>,
    hashes: BTreeSet<[u8; 32]>,
    /// The names of the fields that are links to other values.
    links: Vec<String>,
    comments: usize,
}

impl Fields {
    /// Adds a field, unless it has this value.
    fn push(&mut self, name: &str, value: &str) {
        if !self.hashes.insert(hash_of(name, value)) {
            return;
        }
        if let Some(role) = role_of(name)
            && !self.roles.contains(&role)
        {
            self.roles.push(role);
        }
        let value = Zeroizing::new(value.to_owned());
        self.values.push((name.to_owned(), value));
    }

    /// Appends a line to the last value. The next value is compared with what it is then.
    fn continue_last(&mut self, line: &str, is_first: bool) -> bool {
        let Some((name, value)) = self.values.last_mut() else {
            return false;
        };
        if is_first {
            self.hashes.remove(&hash_of(name, value));
        }
        value.push('\n');
        value.push_str(line);
        true
    }

    /// Adds a field under the name that its meaning has here, unless the field has this value.
    fn push_named(&mut self, name: &str, value: &str) {
        let name = name.trim();
        let role = role_of(name);
        // `otpauth: //totp/…` is an address that somebody took for a name and a value.
        let is_address = name.eq_ignore_ascii_case("otpauth") && value.starts_with("//");
        let value = if is_address {
            Zeroizing::new(format!("otpauth:{value}"))
        } else {
            Zeroizing::new(value.to_owned())
        };
        let lower = name.to_lowercase();
        let name = match role {
            _ if lower == "email" || lower == "e-mail" => "email",
            Some(
                role @ (FieldRole::User
                | FieldRole::Password
                | FieldRole::Url
                | FieldRole::Otp
                | FieldRole::Notes),
            ) => role.name(),
            _ if lower == "hotp" && is_otp_address(&value) => FieldRole::Otp.name(),
            _ => name,
        };
        self.push(name, &value);
    }

    fn has(&self, role: FieldRole) -> bool {
        self.roles.contains(&role)
    }

    /// Reads `name: value` lines, notes, and YAML after a line `---`.
    fn read_lines(&mut self, text: &str, notes: &mut String) {
        let mut rest = text;
        while !rest.is_empty() {
            if is_begin(split_line(rest).0) {
                let (block, after) = split_block(rest);
                notes.push_str(block);
                rest = after;
                continue;
            }
            let (line, after) = split_line(rest);
            if line == "---" && self.read_yaml(after) {
                return;
            }
            rest = after;
            if is_otp_address(line) && self.values.len() < FIELDS_MAX {
                self.push_named(FieldRole::Otp.name(), line.trim());
                continue;
            }
            match split_field(line) {
                Some((name, value))
                    if self.values.len() < FIELDS_MAX
                        && (notes.is_empty() || self.is_wanted(name)) =>
                {
                    self.push_named(name, value);
                }
                // Blank lines are kept only within the notes.
                _ if notes.is_empty() && line.trim().is_empty() => {}
                _ => {
                    notes.push_str(line);
                    notes.push('\n');
                }
            }
        }
    }

    /// Whether a field is taken out of the notes: it is needed to log in, and there is none.
    fn is_wanted(&self, name: &str) -> bool {
        let wanted = [FieldRole::User, FieldRole::Url, FieldRole::Otp];
        role_of(name).is_some_and(|role| wanted.contains(&role) && !self.has(role))
    }

    /// Reads the values of a document; `false` if it is no YAML.
    fn read_yaml(&mut self, text: &str) -> bool {
        let Some(entries) = yaml::read_mapping(text) else {
            return false;
        };
        let comments = text.lines().map(str::trim_start);
        let comments = comments.filter(|line| line.starts_with('#'));
        // A line that begins so may also be a line of a value.
        let values = entries.iter().filter_map(|entry| entry.value.as_ref());
        let lines: BTreeSet<&str> = values
            .flat_map(|value| value.lines())
            .map(str::trim)
            .collect();
        self.comments += comments.filter(|line| !lines.contains(line.trim())).count();
        for entry in entries {
            match entry.value {
                Some(value) => self.push_named(&entry.name, &value),
                None => self.links.push(entry.name),
            }
        }
        true
    }

    /// Reads the headers of the deprecated form of gopass, and the text after them.
    fn read_headers(&mut self, text: &str, notes: &mut String) {
        let mut rest = text;
        let mut is_yaml = false;
        let mut is_continued = false;
        while !rest.is_empty() {
            let (line, after) = split_line(rest);
            rest = after;
            if line.is_empty() {
                break;
            }
            // A line that begins with a blank continues the one before it.
            if line.starts_with([' ', '\t']) && self.continue_last(line.trim(), !is_continued) {
                is_continued = true;
                continue;
            }
            is_continued = false;
            match line.split_once(':') {
                Some((name, _)) if name.eq_ignore_ascii_case("content-type") => {
                    is_yaml = line.to_lowercase().contains("yaml");
                }
                Some((name, value)) if self.values.len() < FIELDS_MAX => {
                    self.push_named(name, value.trim());
                }
                _ => {
                    notes.push_str(line);
                    notes.push('\n');
                }
            }
        }
        if !(is_yaml && self.read_yaml(rest)) {
            notes.push_str(rest);
        }
    }
}

fn hash_of(name: &str, value: &str) -> [u8; 32] {
    sha256(&[name.as_bytes(), &[0], value.as_bytes()])
}

/// The first line without its end, and the rest.
fn split_line(text: &str) -> (&str, &str) {
    let (line, rest) = text.split_once('\n').unwrap_or((text, ""));
    (line.strip_suffix('\r').unwrap_or(line), rest)
}

/// A name and a value. Known names need no blank after the colon.
fn split_field(line: &str) -> Option<(&str, &str)> {
    let (name, value) = line.split_once(':')?;
    let is_address = value.starts_with("//");
    let is_known = role_of(name.trim()).is_some() && (value.is_empty() || !is_address);
    let is_field = !name.trim().is_empty() && (value.starts_with(' ') || is_known);
    is_field.then_some((name, value.trim()))
}

fn is_otp_address(line: &str) -> bool {
    let begin = line.trim_start().get(..10);
    begin.is_some_and(|begin| begin.eq_ignore_ascii_case("otpauth://"))
}

fn is_begin(line: &str) -> bool {
    line.starts_with("-----BEGIN ") && line.trim_end().ends_with("-----")
}

/// An ASCII-armoured block with its end, and the rest. Without an end, all is the block.
fn split_block(text: &str) -> (&str, &str) {
    let mut len = 0;
    for line in text.split_inclusive('\n') {
        len += line.len();
        if line.starts_with("-----END ") {
            return text.split_at(len);
        }
    }
    (text, "")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_with_more_lines_is_another_value_than_its_first_line() {
        let mut fields = Fields::default();
        fields.read_headers("a: x\n y\na: x\na: x\n\n", &mut String::new());
        let values: Vec<_> = fields
            .values
            .iter()
            .map(|(_, value)| value.as_str())
            .collect();
        assert_eq!(values, ["x\ny", "x"]);
    }

    fn entry(path: &str, content: &[u8]) -> PassEntry {
        PassEntry {
            path: path.to_owned(),
            content: Ok(Zeroizing::new(content.to_vec())),
        }
    }

    #[track_caller]
    fn check(content: &str, expected: &[(&str, &str)]) -> Vec<String> {
        let imported = parse_pass([entry("a/b", content.as_bytes())]).unwrap();
        let item = imported.items.first().unwrap();
        let fields: Vec<_> = item
            .fields
            .iter()
            .map(|field| (field.name.as_str(), field.value.as_str()))
            .collect();
        assert_eq!((item.path.as_str(), fields.as_slice()), ("a/b", expected));
        let losses = imported.losses.into_iter();
        losses.map(|loss| loss.what).collect()
    }

    #[test]
    fn the_password_comes_first_then_fields_then_notes() {
        check("secret\n", &[("password", "secret")]);
        check("\u{feff}secret\r\n", &[("password", "secret")]);
        check("", &[]);
        check(
            "p: w\nlogin: alice\nURL: https://example.org\nPIN: 1\n\ntext: yes\n\
             free\n\nProc-Type: 4\notpauth://totp/x\n",
            &[
                ("password", "p: w"),
                ("user", "alice"),
                ("url", "https://example.org"),
                ("PIN", "1"),
                ("text", "yes"),
                ("otp", "otpauth://totp/x"),
                ("notes", "free\n\nProc-Type: 4"),
            ],
        );
    }

    #[test]
    fn names_are_known_in_every_case_and_also_after_free_text() {
        check(
            "pw\r\nUsername:bob\r\nE-Mail: b@x\r\nWebsite: https://a\r\nlink: https://b\r\n",
            &[
                ("password", "pw"),
                ("user", "bob"),
                ("email", "b@x"),
                ("url", "https://a"),
                ("link", "https://b"),
            ],
        );
        check(
            "pw\nfree text\nhttps://x.example\nUser: bob\nuser: not taken\nurl:https://a\nNote: n\n",
            &[
                ("password", "pw"),
                ("user", "bob"),
                ("url", "https://a"),
                (
                    "notes",
                    "free text\nhttps://x.example\nuser: not taken\nNote: n",
                ),
            ],
        );
    }

    #[test]
    fn secrets_of_codes_are_found_in_every_form() {
        let address = "otpauth://totp/x:bob?secret=JBSWY3DPEHPK3PXP&issuer=x";
        check(&format!("{address}\n"), &[("otp", address)]);
        check(
            &format!("{address}\nlogin: bob\n"),
            &[("otp", address), ("user", "bob")],
        );
        check(
            &format!("pw\n{address}"),
            &[("password", "pw"), ("otp", address)],
        );
        for line in [
            "otpauth: //totp/x:bob",
            "totp: otpauth://totp/x:bob",
            "TOTP: otpauth://totp/x:bob",
        ] {
            check(
                &format!("pw\n{line}\n"),
                &[("password", "pw"), ("otp", "otpauth://totp/x:bob")],
            );
        }
        check(
            "pw\nhotp: otpauth://hotp/x?counter=1\n",
            &[("password", "pw"), ("otp", "otpauth://hotp/x?counter=1")],
        );
    }

    #[test]
    fn yaml_of_gopass_becomes_fields() {
        check(
            "pw1\n---\nusername: bob\ntotp: JBSWY3DPEHPK3PXP",
            &[
                ("password", "pw1"),
                ("user", "bob"),
                ("otp", "JBSWY3DPEHPK3PXP"),
            ],
        );
        let losses = check(
            "pw\nlogin: bob\nfree\n---\n# kept by hand\npassword: pw\npin: 0123\nnote: |\n  # no comment\n  two\n\
             server:\n  host: a\n  port: 22\nother: &x 1\nsame: *x\nnone:\n",
            &[
                ("password", "pw"),
                ("user", "bob"),
                ("pin", "0123"),
                ("notes", "# no comment\ntwo\n"),
                ("server host", "a"),
                ("server port", "22"),
                ("other", "1"),
                ("notes 2", "free"),
            ],
        );
        assert_eq!(
            losses,
            [
                "the field same, which is a link to another value",
                "1 comment in the YAML"
            ]
        );
        check(
            "---\npassword: pw\nusername: bob\n",
            &[("password", "pw"), ("user", "bob")],
        );
        check(
            "pw\n---\nno yaml: [\n",
            &[("password", "pw"), ("notes", "---\nno yaml: [")],
        );
        check(
            "pw\n---\ntext\n",
            &[("password", "pw"), ("notes", "---\ntext")],
        );
    }

    #[test]
    fn headers_of_an_older_gopass_become_fields() {
        check(
            "GOPASS-SECRET-1.0\nPassword: pw: 1\nUsername: bob\nUrl: https://a\nSafe-Content: x\n y\n\n\
             free: text\n\nmore\n",
            &[
                ("password", "pw: 1"),
                ("user", "bob"),
                ("url", "https://a"),
                ("Safe-Content", "x\ny"),
                ("notes", "free: text\n\nmore"),
            ],
        );
        check(
            "GOPASS-SECRET-1.0\nContent-Type: text/yaml\nPassword: pw\n\nlogin: bob\nzab: 123\n",
            &[("password", "pw"), ("user", "bob"), ("zab", "123")],
        );
        check("GOPASS-SECRET-1.0\n", &[]);
    }

    #[test]
    fn a_key_stays_in_one_piece() {
        let key = "-----BEGIN OPENSSH PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\n\nuser: AAAA\n\
                   -----END OPENSSH PRIVATE KEY-----";
        check(
            &format!("{key}\nlogin: bob\nfree\n"),
            &[("private key", key), ("user", "bob"), ("notes", "free")],
        );
        check(
            &format!("pw\n{key}\n"),
            &[("password", "pw"), ("notes", key)],
        );
        let certificate = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----";
        check(
            &format!("{certificate}\n{key}\n"),
            &[("notes", &format!("{certificate}\n{key}"))],
        );
        let cut = "-----BEGIN PGP MESSAGE-----\nVersion: 1\n\nAAAA";
        check(cut, &[("notes", cut)]);
    }

    #[test]
    fn an_entry_of_many_lines_stays_one_item() {
        let lines: String = (0..20_000)
            .map(|line| format!("line {line}: x\n"))
            .collect();
        for text in [
            format!("pw\n{lines}"),
            format!("GOPASS-SECRET-1.0\n{lines}"),
        ] {
            let imported = parse_pass([entry("log", text.as_bytes())]).unwrap();
            let fields = &imported.items.first().unwrap().fields;
            assert_eq!(fields.len(), FIELDS_MAX + 1);
            assert!(fields.last().unwrap().value.ends_with("line 19999: x"));
        }
    }

    #[test]
    fn an_entry_without_text_is_a_loss() {
        let locked = PassEntry {
            path: "a/locked".to_owned(),
            content: Err("gpg: No secret key".to_owned()),
        };
        let entries = [entry("key", b"caf\xe9"), locked, entry("other", b"x")];
        let imported = parse_pass(entries).unwrap();
        let losses: Vec<_> = imported
            .losses
            .iter()
            .map(|loss| (loss.path.as_str(), loss.what.as_str()))
            .collect();
        assert_eq!(imported.items.len(), 1);
        assert_eq!(
            losses,
            [
                ("key", "the whole item: it is not text in UTF-8"),
                ("a/locked", "the whole item: gpg: No secret key")
            ]
        );
    }
}
