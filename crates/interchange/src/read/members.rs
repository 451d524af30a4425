//! Items of JSON whose members may have another type than the format says: what cannot be read is a
//! loss that names its place, and the rest of the item is imported.

use serde_json::Value;

use super::item::{Builder, Collector, text_of, words_of};
use crate::error::ImportError;
use crate::syntax::json::{Members, Node};

/// How many characters of a member's place a loss shows.
const PLACE_LEN: usize = 120;

impl Collector {
    /// The members of an item. An item that is no object, or is nested too deeply, is a loss.
    pub(crate) fn members_of(&mut self, item: &Node<'_>) -> Result<Option<Members>, ImportError> {
        match item.read_members() {
            Ok(members) => Ok(Some(members)),
            Err(ImportError::WrongJson { .. }) => {
                self.lose_item(&format!("{}, which cannot be read", item.place()))?;
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }
}

impl Builder<'_> {
    /// Takes a list of objects. Elements of another type are lost, unless they are null.
    pub(crate) fn take_objects(
        &mut self,
        members: &mut Members,
        name: &str,
    ) -> Result<Vec<Members>, ImportError> {
        let mut objects = Vec::new();
        for (number, element) in members.list(name).into_iter().enumerate() {
            match element {
                Value::Object(members) => objects.push(Members::new(members)),
                Value::Null => {}
                _ => self.lose(unknown_form(&format!("{name}[{number}]")))?,
            }
        }
        Ok(objects)
    }

    /// Takes a list of texts. Other values are texts too.
    pub(crate) fn take_texts(members: &mut Members, name: &str) -> Vec<String> {
        let list = members.list(name).into_iter();
        list.map(text_from)
            .filter(|text| !text.is_empty())
            .collect()
    }

    /// Adds all members that are left as fields, with names of words: `bankName` is `bank name`.
    pub(crate) fn add_rest(&mut self, mut members: Members) -> Result<(), ImportError> {
        for (name, value) in members.rest() {
            self.add(&words_of(&name), text_from(value))?;
        }
        Ok(())
    }

    /// Loses a member by its name.
    pub(crate) fn lose_member(&mut self, name: &str) -> Result<(), ImportError> {
        self.lose(unknown_form(name))
    }

    /// Loses all members that are left, each by its name.
    pub(crate) fn lose_rest(
        &mut self,
        mut members: Members,
        place: &str,
    ) -> Result<(), ImportError> {
        let mut rest = members.rest();
        rest.try_for_each(|(name, _)| self.lose_member(&format!("{place}{name}")))
    }
}

/// The text of a value that is not needed any more.
pub(crate) fn text_from(value: Value) -> String {
    match value {
        Value::String(text) => text,
        value => text_of(&value),
    }
}

fn unknown_form(place: &str) -> String {
    let place: String = place.chars().take(PLACE_LEN).collect();
    format!("the member {place}, which has an unknown form")
}
