//! Where a backup is: a file, standard input or output, or an object in an object store.

use std::fmt;
use std::path::{Path, PathBuf};

/// The longest key of an object, in bytes.
const KEY_LEN_MAX: usize = 1024;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::admin) enum Place {
    File(PathBuf),
    /// Standard input or output.
    Stream,
    Object(ObjectUrl),
}

impl Place {
    /// Reads a word of the command line.
    pub(in crate::admin) fn parse(path: PathBuf) -> Result<Self, &'static str> {
        if path == Path::new("-") {
            return Ok(Self::Stream);
        }
        let text = path.to_string_lossy();
        if let Some(object) = text.strip_prefix("s3://") {
            return ObjectUrl::parse(object).map(Self::Object);
        }
        if text.contains("://") {
            return Err(
                "a backup is a file of this machine, or s3://BUCKET/NAME; `backup -` writes it to \
                 standard output, for a program that copies it elsewhere",
            );
        }
        Ok(Self::File(path))
    }

    /// What `log` and errors call it.
    pub(super) fn name(&self, stream: &str) -> String {
        match self {
            Self::Stream => stream.to_owned(),
            Self::File(path) => {
                let absolute = std::path::absolute(path);
                absolute.as_deref().unwrap_or(path).display().to_string()
            }
            Self::Object(url) => url.to_string(),
        }
    }
}

/// An object in a bucket: `s3://BUCKET/KEY`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::admin) struct ObjectUrl {
    pub(super) bucket: String,
    pub(super) key: String,
}

impl ObjectUrl {
    /// Reads what follows `s3://`.
    fn parse(text: &str) -> Result<Self, &'static str> {
        let (bucket, key) = text.split_once('/').unwrap_or((text, ""));
        let is_of_bucket = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
        if !(3..=255).contains(&bucket.len()) || !bucket.bytes().all(is_of_bucket) {
            return Err(
                "a bucket has a name of at least 3 letters, digits, dots and hyphens: \
                 s3://BUCKET/NAME",
            );
        }
        if key.is_empty() || key.ends_with('/') {
            return Err(
                "name the backup in the bucket: s3://BUCKET/NAME or s3://BUCKET/FOLDER/NAME",
            );
        }
        let is_wrong = |part: &str| matches!(part, "" | "." | "..");
        if key.chars().any(char::is_control) || key.split('/').any(is_wrong) {
            return Err("the name of a backup in a bucket has no empty part, `.` or `..`");
        }
        // With room for the time that --keep appends.
        if key.len() > KEY_LEN_MAX - 32 {
            return Err("the name of a backup in a bucket has at most 992 bytes");
        }
        Ok(Self {
            bucket: bucket.to_owned(),
            key: key.to_owned(),
        })
    }

    #[cfg(feature = "s3")]
    pub(super) fn with_key(&self, key: String) -> Self {
        Self {
            bucket: self.bucket.clone(),
            key,
        }
    }
}

impl fmt::Display for ObjectUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "s3://{}/{}", self.bucket, self.key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_a_file_a_stream_or_an_object() {
        let parse = |text: &str| Place::parse(text.into());
        assert_eq!(parse("-"), Ok(Place::Stream));
        for file in ["a", "./-", "/a/b", "s3:/a", "S3"] {
            assert_eq!(parse(file), Ok(Place::File(file.into())));
        }
        let Ok(Place::Object(url)) = parse("s3://my.bucket-1/a/b c.backup") else {
            panic!("an object");
        };
        assert_eq!(
            (url.bucket.as_str(), url.key.as_str()),
            ("my.bucket-1", "a/b c.backup")
        );
        assert_eq!(url.to_string(), "s3://my.bucket-1/a/b c.backup");
        let long = format!("s3://bucket/{}", "x".repeat(993));
        for wrong in [
            "https://host/x",
            "S3://bucket/x",
            "s3://",
            "s3://b/x",
            "s3://bucket",
            "s3://bucket/",
            "s3://bucket/a/",
            "s3://bucket//a",
            "s3://bucket/a/../b",
            "s3://bucket/./b",
            "s3://bucket/a\nb",
            "s3://user:word@bucket/a",
            "s3://buck\u{e9}t/a",
            &long,
        ] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }
}
