//! `pass`, which stores each entry in an encrypted file of its own. The caller decrypts the files.
//!
//! The first line is the password. The following `name: value` lines are fields. All text from the
//! first other line is notes, so that an ASCII-armoured key stays in one piece. An `otpauth:`
//! address on any line is the secret of one-time codes.

use passmate_vault::login::FieldRole;

use super::Imported;
use super::item::{Builder, Collector};
use crate::error::ImportError;

/// Reads the entries of `pass`. Each entry is its path in the store, without `.gpg`, and its
/// decrypted content.
///
/// An entry that is not UTF-8 text is a [`Loss`](crate::Loss).
///
/// # Errors
/// [`ImportError::TooMany`] or [`ImportError::NameTooLong`], and no other.
pub fn parse_pass<'a>(
    entries: impl IntoIterator<Item = (&'a str, &'a [u8])>,
) -> Result<Imported, ImportError> {
    let mut collector = Collector::default();
    for (path, content) in entries {
        let (folders, name) = path.rsplit_once('/').unwrap_or(("", path));
        let mut builder = collector.begin(path, folders.split('/'), name)?;
        let Ok(text) = std::str::from_utf8(content) else {
            builder.lose_all("it is not text")?;
            continue;
        };
        read_entry(text, &mut builder)?;
        builder.finish();
    }
    Ok(collector.into_imported())
}

fn read_entry(text: &str, builder: &mut Builder<'_>) -> Result<(), ImportError> {
    let mut lines = text.lines();
    builder.add(FieldRole::Password.name(), lines.next().unwrap_or_default())?;
    let mut notes: Vec<&str> = Vec::new();
    for line in lines {
        match line.split_once(": ") {
            _ if line.starts_with("otpauth://") => builder.add(FieldRole::Otp.name(), line)?,
            Some((name, value)) if notes.is_empty() && !name.trim().is_empty() => {
                let name = match name.to_lowercase().as_str() {
                    "login" | "user" | "username" => FieldRole::User.name(),
                    "url" => FieldRole::Url.name(),
                    _ => name,
                };
                builder.add(name, value.trim())?;
            }
            // Blank lines are kept only within the notes.
            _ if notes.is_empty() && line.trim().is_empty() => {}
            _ => notes.push(line),
        }
    }
    builder.add(FieldRole::Notes.name(), notes.join("\n").trim_end())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(content: &str, expected: &[(&str, &str)]) {
        let imported = parse_pass([("a/b", content.as_bytes())]).unwrap();
        let item = imported.items.first().unwrap();
        let fields: Vec<_> = item
            .fields
            .iter()
            .map(|field| (field.name.as_str(), field.value.as_str()))
            .collect();
        assert_eq!((item.path.as_str(), fields.as_slice()), ("a/b", expected));
    }

    #[test]
    fn the_password_comes_first_then_fields_then_notes() {
        check("secret\n", &[("password", "secret")]);
        check("secret", &[("password", "secret")]);
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
    fn an_entry_that_is_not_text_is_a_loss() {
        let imported = parse_pass([("key", b"\xff".as_slice()), ("other", b"x")]).unwrap();
        assert_eq!(
            (
                imported.items.len(),
                imported.losses.first().unwrap().path.as_str()
            ),
            (1, "key")
        );
    }
}
