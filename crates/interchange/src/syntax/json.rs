//! JSON of other programs. Errors name the place by its members and hold no values.
//!
//! [`read`] reads a document into a type, which refuses the whole document if one member has
//! another type. Exports have such members: null for an empty list, a number for a text. So most
//! readers use [`Node`] and [`Members`] instead. A `Node` is a part of a document that is not read
//! yet, so that the items of a file are read one by one. `Members` has the members of one item, and
//! knows in the end which of them were not taken.

use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;

use serde::de::{
    Deserialize, DeserializeOwned, Deserializer, Error as _, IgnoredAny, MapAccess, SeqAccess,
    Visitor,
};
use serde_json::error::Category;
use serde_json::value::RawValue;
use serde_json::{Map, Value};
use zeroize::Zeroize;

use crate::error::ImportError;
use crate::limits::ITEMS_MAX;

/// The most values that one item may have. In memory, each takes up to 320 bytes.
const VALUES_MAX: usize = 1_000_000;
/// The most characters of a place that an error shows.
const PLACE_LEN: usize = 120;

/// Reads a document. Skips unknown members unless `T` collects them.
pub(crate) fn read<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, ImportError> {
    let text = text_of(bytes)?;
    serde_json::from_str(text).map_err(|error| match error.classify() {
        Category::Data => with_place(error_of(&error), place_of::<T>(text)),
        _ => with_place(error_of(&error), place_of::<Walk>(text)),
    })
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

/// A part of a document that is not read yet. Its syntax was checked.
#[derive(Clone)]
pub(crate) struct Node<'a> {
    text: &'a RawValue,
    place: String,
}

impl<'a> Node<'a> {
    /// A whole document.
    pub(crate) fn document(bytes: &'a [u8]) -> Result<Self, ImportError> {
        let text = text_of(bytes)?;
        let whole = serde_json::from_str(text)
            .map_err(|error| with_place(error_of(&error), place_of::<Walk>(text)))?;
        Ok(Self {
            text: whole,
            place: String::new(),
        })
    }

    /// The members of an object, without those that are null.
    pub(crate) fn members(&self) -> Result<BTreeMap<String, Self>, ImportError> {
        let members: BTreeMap<String, &RawValue> =
            serde_json::from_str(self.text.get()).map_err(|_| self.wrong())?;
        let named = members
            .into_iter()
            .filter(|(_, part)| part.get() != "null")
            .map(|(name, part)| {
                let place = match self.place.as_str() {
                    "" => name.clone(),
                    place => format!("{place}.{name}"),
                };
                (name, Self { text: part, place })
            });
        Ok(named.collect())
    }

    /// The parts of a list, at most [`ITEMS_MAX`].
    pub(crate) fn list(&self) -> Result<impl Iterator<Item = Self> + use<'a>, ImportError> {
        let parts: Items<&RawValue> = serde_json::from_str(self.text.get())
            .map_err(|error| with_place(error_of(&error), self.place.clone()))?;
        let place = self.place.clone();
        let named = move |(number, text)| Self {
            text,
            place: format!("{place}[{number}]"),
        };
        Ok(parts.0.into_iter().enumerate().map(named))
    }

    /// The members of an object, each with its whole value.
    pub(crate) fn read_members(&self) -> Result<Members, ImportError> {
        match self.read_value()? {
            Value::Object(members) => Ok(Members::new(members)),
            mut value => {
                wipe(&mut value);
                Err(self.wrong())
            }
        }
    }

    /// The value.
    pub(crate) fn read_value(&self) -> Result<Value, ImportError> {
        if values_in(self.text.get()) > VALUES_MAX {
            return Err(ImportError::TooMany {
                what: "values in one item",
                limit: VALUES_MAX,
            });
        }
        serde_json::from_str(self.text.get()).map_err(|_| self.wrong())
    }

    /// The text, if it is one.
    pub(crate) fn text(&self) -> Option<String> {
        serde_json::from_str(self.text.get()).ok()
    }

    /// Whether it is `true`.
    pub(crate) fn is_true(&self) -> bool {
        self.text.get() == "true"
    }

    /// Where it is, for people: `items[3].login`.
    pub(crate) fn place(&self) -> String {
        printable(&self.place)
    }

    /// The error for a value of another type than expected.
    pub(crate) fn wrong(&self) -> ImportError {
        ImportError::WrongJson {
            line: 0,
            column: 0,
            place: self.place(),
        }
    }
}

/// The members of an object that were not taken yet. They are wiped on drop.
///
/// A member that is missing or null has the default of its type. A member of another type is not
/// taken, except that numbers and truth values are also texts.
pub(crate) struct Members {
    members: Map<String, Value>,
}

impl Members {
    pub(crate) fn new(members: Map<String, Value>) -> Self {
        Self { members }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    /// Takes a text.
    pub(crate) fn text(&mut self, name: &str) -> String {
        match self.members.get_mut(name) {
            Some(Value::String(text)) => std::mem::take(text),
            Some(value @ (Value::Number(_) | Value::Bool(_))) => {
                let text = value.to_string();
                *value = Value::Null;
                text
            }
            _ => String::new(),
        }
    }

    /// Takes a number, which may also be a text.
    pub(crate) fn number(&mut self, name: &str) -> Option<i64> {
        let value = self.members.get(name)?;
        let number = match value {
            Value::Number(number) => number.as_i64().or_else(|| whole(number.as_f64()?)),
            Value::String(text) => text.trim().parse().ok(),
            _ => None,
        };
        if number.is_some() {
            self.members.remove(name);
        }
        number
    }

    /// Takes a truth value: `true`, a number other than 0, or the text of one of them.
    pub(crate) fn is(&mut self, name: &str) -> bool {
        match self.members.get(name) {
            Some(Value::Bool(_) | Value::Number(_) | Value::String(_)) => {
                !matches!(self.text(name).as_str(), "" | "0" | "false")
            }
            _ => false,
        }
    }

    /// Takes a list.
    pub(crate) fn list(&mut self, name: &str) -> Vec<Value> {
        match self.members.get_mut(name) {
            Some(Value::Array(list)) => std::mem::take(list),
            _ => Vec::new(),
        }
    }

    /// Takes an object.
    pub(crate) fn object(&mut self, name: &str) -> Self {
        match self.members.get_mut(name) {
            Some(Value::Object(members)) => Self::new(std::mem::take(members)),
            _ => Self::new(Map::new()),
        }
    }

    /// Takes a value of any type.
    pub(crate) fn any(&mut self, name: &str) -> Value {
        self.members.remove(name).unwrap_or_default()
    }

    /// Drops members that have no meaning for people.
    pub(crate) fn skip(&mut self, names: &[&str]) {
        for name in names {
            if let Some(mut value) = self.members.remove(*name) {
                wipe(&mut value);
            }
        }
    }

    /// Takes what is left, without what is empty.
    pub(crate) fn rest(&mut self) -> impl Iterator<Item = (String, Value)> + use<> {
        let rest = std::mem::take(&mut self.members).into_iter();
        rest.filter(|(_, value)| !is_empty(value))
    }
}

impl From<Value> for Members {
    /// A value of another type has no members.
    fn from(value: Value) -> Self {
        match value {
            Value::Object(members) => Self::new(members),
            mut value => {
                wipe(&mut value);
                Self::new(Map::new())
            }
        }
    }
}

impl Drop for Members {
    fn drop(&mut self) {
        self.members.values_mut().for_each(wipe);
    }
}

/// Whether a value says nothing: null, an empty text, or a list or object of such values.
pub(crate) fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::String(text) => text.is_empty(),
        Value::Array(list) => list.iter().all(is_empty),
        Value::Object(members) => members.values().all(is_empty),
        Value::Bool(_) | Value::Number(_) => false,
    }
}

fn wipe(value: &mut Value) {
    match value {
        Value::String(text) => text.zeroize(),
        Value::Array(list) => list.iter_mut().for_each(wipe),
        Value::Object(members) => members.values_mut().for_each(wipe),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// A number that some programs write with a fraction of 0.
#[expect(clippy::cast_possible_truncation, reason = "the range is checked")]
fn whole(number: f64) -> Option<i64> {
    const LIMIT: f64 = 9.0e15;
    (-LIMIT..LIMIT).contains(&number).then_some(number as i64)
}

/// An upper bound of the values in a text of JSON.
fn values_in(text: &str) -> usize {
    let (mut count, mut in_text, mut is_escaped) = (1, false, false);
    for byte in text.bytes() {
        match byte {
            _ if is_escaped => is_escaped = false,
            b'\\' if in_text => is_escaped = true,
            b'"' => in_text = !in_text,
            b',' | b'[' | b'{' if !in_text => count += 1,
            _ => {}
        }
    }
    count
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

/// Any document. It visits each part and keeps nothing, to find the place of an error.
struct Walk;

impl<'de> Deserialize<'de> for Walk {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Walking;
        impl<'de> Visitor<'de> for Walking {
            type Value = Walk;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("JSON")
            }

            fn visit_unit<E>(self) -> Result<Walk, E> {
                Ok(Walk)
            }

            fn visit_bool<E>(self, _: bool) -> Result<Walk, E> {
                Ok(Walk)
            }

            fn visit_i64<E>(self, _: i64) -> Result<Walk, E> {
                Ok(Walk)
            }

            fn visit_u64<E>(self, _: u64) -> Result<Walk, E> {
                Ok(Walk)
            }

            fn visit_f64<E>(self, _: f64) -> Result<Walk, E> {
                Ok(Walk)
            }

            fn visit_str<E>(self, _: &str) -> Result<Walk, E> {
                Ok(Walk)
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Walk, A::Error> {
                while list.next_element::<Walk>()?.is_some() {}
                Ok(Walk)
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Walk, A::Error> {
                while map.next_entry::<IgnoredAny, Walk>()?.is_some() {}
                Ok(Walk)
            }
        }
        deserializer.deserialize_any(Walking)
    }
}

/// Where a document cannot be read as a `T`: `items[3].login`.
fn place_of<T: DeserializeOwned>(text: &str) -> String {
    let mut reader = serde_json::Deserializer::from_str(text);
    match serde_path_to_error::deserialize::<_, T>(&mut reader) {
        Ok(_) => String::new(),
        Err(error) => match error.path().to_string() {
            // Serde does not know the name of the member.
            place if place == "." || place == "?" => String::new(),
            place => place.trim_end_matches(".?").to_owned(),
        },
    }
}

/// Keeps only the position of an error, because serde's message may quote a value.
pub(crate) fn error_of(error: &serde_json::Error) -> ImportError {
    let (line, column, place) = (error.line(), error.column(), String::new());
    if error.to_string().starts_with(TOO_MANY) {
        return ImportError::TooMany {
            what: "items",
            limit: ITEMS_MAX,
        };
    }
    match error.classify() {
        Category::Data => ImportError::WrongJson {
            line,
            column,
            place,
        },
        _ => ImportError::NotJson {
            line,
            column,
            place,
        },
    }
}

/// The error with the place at which it was found.
fn with_place(mut error: ImportError, found: String) -> ImportError {
    if let ImportError::WrongJson { place, .. } | ImportError::NotJson { place, .. } = &mut error {
        *place = printable(&found);
    }
    error
}

/// A place without characters that do not print. Names of members are not values, but anybody can
/// write them.
fn printable(place: &str) -> String {
    let escaped: String = place.escape_debug().take(PLACE_LEN).collect();
    escaped.replace("\\\"", "\"")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_names_the_place_and_no_value() {
        #[derive(serde::Deserialize)]
        struct File {
            #[expect(dead_code, reason = "only read")]
            items: Vec<BTreeMap<String, u32>>,
        }
        let place = |json: &str| match read::<File>(json.as_bytes()).err().unwrap() {
            ImportError::WrongJson { place, .. } | ImportError::NotJson { place, .. } => place,
            error => panic!("{error:?}"),
        };
        assert_eq!(
            place(r#"{"items":[{"a":1},{"b":"hunter2"}]}"#),
            "items[1].b"
        );
        assert_eq!(place(r#"{"items":[{"a":1},{"b":hunter2}]}"#), "items[1].b");
        assert_eq!(place(r#"{"items":[{"a":1},{"b":2"#), "items[1]");
        assert_eq!(place("[]x"), "");
        assert_eq!(place("{"), "");
        let long = format!("{{\"{}\u{1b}", "x".repeat(1000));
        assert!(place(&long).len() <= PLACE_LEN);
    }

    #[test]
    fn a_member_of_another_type_is_not_taken() {
        let json = br#"{"t":"x","n":"7","f":7.0,"b":1,"l":null,"o":["x"],"e":[{}]}"#;
        let mut members = Node::document(json).unwrap().read_members().unwrap();
        assert_eq!(members.text("t"), "x");
        assert_eq!(
            (members.number("n"), members.number("f")),
            (Some(7), Some(7))
        );
        assert!(members.is("b") && !members.is("missing"));
        assert!(members.list("l").is_empty());
        members.object("o");
        let rest: Vec<_> = members.rest().collect();
        assert_eq!(rest, [("o".to_owned(), serde_json::json!(["x"]))]);
    }

    #[test]
    fn an_item_has_a_limited_number_of_values() {
        let item = format!("[{}0]", "0,".repeat(VALUES_MAX));
        let node = Node::document(item.as_bytes()).unwrap();
        assert!(matches!(
            node.read_value(),
            Err(ImportError::TooMany { .. })
        ));
        assert_eq!(values_in(r#"{"a":"[,{\",","b":[1,2]}"#), 5);
    }
}
