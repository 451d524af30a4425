//! JSON of other programs: typed and limited in depth. Errors hold no values.

use std::fmt;
use std::marker::PhantomData;

use serde::de::{Deserialize, DeserializeOwned, Deserializer, Error as _, SeqAccess, Visitor};

use crate::error::ImportError;
use crate::limits::ITEMS_MAX;

/// Reads a document. Skips unknown members unless `T` collects them.
pub(crate) fn read<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, ImportError> {
    serde_json::from_slice(text_of(bytes)?.as_bytes()).map_err(|error| error_of(&error))
}

/// The text, without the byte order mark that some programs write.
pub(crate) fn text_of(bytes: &[u8]) -> Result<&str, ImportError> {
    let text = std::str::from_utf8(bytes).map_err(|error| {
        let good = bytes.get(..error.valid_up_to()).unwrap_or_default();
        ImportError::NotUtf8 {
            line: 1 + good.iter().filter(|byte| **byte == b'\n').count(),
        }
    })?;
    Ok(text.strip_prefix('\u{feff}').unwrap_or(text))
}

/// A list of at most [`ITEMS_MAX`] items. A longer list is an error, and only as many are
/// allocated.
pub(crate) struct Items<T>(pub(crate) Vec<T>);

/// The message of serde's error for a longer list.
const TOO_MANY: &str = "too many items";

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Items<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Counting<T>(PhantomData<T>);
        impl<'de, T: Deserialize<'de>> Visitor<'de> for Counting<T> {
            type Value = Items<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list of items")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Items<T>, A::Error> {
                let mut items = Vec::new();
                while let Some(item) = list.next_element()? {
                    if items.len() >= ITEMS_MAX {
                        return Err(A::Error::custom(TOO_MANY));
                    }
                    items.push(item);
                }
                Ok(Items(items))
            }
        }
        deserializer.deserialize_seq(Counting(PhantomData))
    }
}

/// Keeps only the position of an error, because serde's message may quote a value.
pub(crate) fn error_of(error: &serde_json::Error) -> ImportError {
    let (line, column) = (error.line(), error.column());
    if error.to_string().starts_with(TOO_MANY) {
        return ImportError::TooMany {
            what: "items",
            limit: ITEMS_MAX,
        };
    }
    match error.classify() {
        serde_json::error::Category::Data => ImportError::WrongJson { line, column },
        _ => ImportError::NotJson { line, column },
    }
}
