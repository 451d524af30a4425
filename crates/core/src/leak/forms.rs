//! The forms that a value takes in files and messages.

use std::fmt;

use data_encoding::{BASE64_NOPAD, BASE64URL_NOPAD, Encoding};
use zeroize::Zeroizing;

/// The shortest part of a base64 text that is looked for: a shorter one occurs by chance.
const BASE64_LEN_MIN: usize = 8;

/// A form of a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Form {
    /// As it is.
    Plain,
    /// As in a string of JSON, where that differs.
    Json,
    /// As in a URL, where that differs.
    Percent,
    /// In base64 of the usual or of the URL's alphabet, alone or within another text. The few bits
    /// at its ends that also depend on the neighbours are left out.
    Base64,
}

impl Form {
    /// Its name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Plain => "plain",
            Self::Json => "json",
            Self::Percent => "percent",
            Self::Base64 => "base64",
        }
    }
}

impl fmt::Display for Form {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// All forms of a value, each text once.
#[must_use]
pub fn forms(value: &str) -> Vec<(Form, Zeroizing<Vec<u8>>)> {
    let mut forms = vec![(Form::Plain, Zeroizing::new(value.as_bytes().to_vec()))];
    let mut add = |form, bytes: Zeroizing<Vec<u8>>| {
        if forms.iter().all(|(_, other)| *other != bytes) {
            forms.push((form, bytes));
        }
    };
    let json = Zeroizing::new(serde_json::Value::from(value).to_string());
    let json = json.get(1..json.len().saturating_sub(1));
    add(
        Form::Json,
        Zeroizing::new(json.unwrap_or_default().as_bytes().to_vec()),
    );
    add(Form::Percent, percent(value));
    for before in 0..3 {
        for encoding in [&BASE64_NOPAD, &BASE64URL_NOPAD] {
            let text = base64(value.as_bytes(), before, encoding);
            if text.len() >= BASE64_LEN_MIN {
                add(Form::Base64, text);
            }
        }
    }
    forms
}

fn percent(value: &str) -> Zeroizing<Vec<u8>> {
    let mut text = Zeroizing::new(Vec::with_capacity(3 * value.len()));
    for byte in value.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            text.push(byte);
        } else {
            text.push(b'%');
            text.extend([byte >> 4, byte & 15].map(|digit| match digit {
                0..10 => b'0' + digit,
                _ => b'A' + digit - 10,
            }));
        }
    }
    text
}

/// The characters that only the value decides if so many bytes, modulo 3, stand before it.
fn base64(value: &[u8], before: usize, encoding: &Encoding) -> Zeroizing<Vec<u8>> {
    let mut bytes = Zeroizing::new(Vec::with_capacity(before + value.len()));
    bytes.resize(before, 0);
    bytes.extend_from_slice(value);
    let text = Zeroizing::new(encoding.encode(&bytes));
    let (begin, end) = ((before * 8).div_ceil(6), bytes.len() * 8 / 6);
    let decided = text.as_bytes().get(begin..end).unwrap_or_default();
    Zeroizing::new(decided.to_vec())
}

#[cfg(test)]
mod tests {
    use data_encoding::{BASE64, BASE64URL};
    use proptest::prelude::*;

    use super::*;

    fn has(value: &str, form: Form, text: &str) -> bool {
        forms(value).iter().any(|(other, bytes)| {
            *other == form && text.contains(std::str::from_utf8(bytes).unwrap())
        })
    }

    #[test]
    fn a_plain_word_has_no_other_form_but_base64() {
        let all: Vec<_> = forms("password")
            .into_iter()
            .map(|(form, _)| form)
            .collect();
        assert_eq!(all, [Form::Plain, Form::Base64, Form::Base64, Form::Base64]);
        assert!(has("a \"b\"\n", Form::Json, r#"{"x":"a \"b\"\n"}"#));
        assert!(has("a/b c%", Form::Percent, "?x=a%2Fb%20c%25"));
    }

    proptest! {
        #[test]
        fn base64_is_found_whatever_stands_around(
            value in ".{8,40}",
            before in ".{0,9}",
            after in ".{0,9}",
        ) {
            let text = format!("{before}{value}{after}");
            prop_assert!(has(&value, Form::Base64, &BASE64.encode(text.as_bytes())));
            let text = BASE64URL.encode(text.as_bytes());
            let in_url = has(&value, Form::Base64, &text);
            prop_assert!(in_url);
        }
    }
}
