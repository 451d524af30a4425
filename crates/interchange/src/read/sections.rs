//! Fields in sections: two sections may have fields of the same name.

use std::collections::BTreeMap;
use std::rc::Rc;

use passmate_vault::login::FieldRole;
use zeroize::Zeroizing;

use super::item::Builder;
use crate::error::ImportError;

/// A field that stands in a section of an item.
pub(crate) struct SectionField {
    /// The section's title, which may be empty. All fields of the section share it.
    pub(crate) section: Rc<str>,
    pub(crate) name: String,
    pub(crate) value: Zeroizing<String>,
    /// The values that it had before, each with the time at which it got it.
    pub(crate) earlier: Vec<(String, Option<i64>)>,
}

/// Adds the fields of all sections of an item. A name that is not unique in the item gets the title
/// of its section: `POP password`, `SMTP password`. Case does not count.
pub(crate) fn add_fields(
    mut fields: Vec<SectionField>,
    builder: &mut Builder<'_>,
) -> Result<(), ImportError> {
    fields.retain(|field| !field.value.is_empty() || !field.earlier.is_empty());
    // Names outside of sections count too.
    let names = builder.lower_names().into_iter();
    let mut counts: BTreeMap<String, usize> = names.map(|name| (name, 1)).collect();
    for field in &mut fields {
        // A site's user name is in such a field if the item is no login.
        if field.name.eq_ignore_ascii_case("username") {
            field.name = FieldRole::User.name().to_owned();
        }
        *counts.entry(field.name.to_lowercase()).or_insert(0) += 1;
    }
    for SectionField {
        section,
        name,
        value,
        earlier,
    } in fields
    {
        let is_unique = counts.get(&name.to_lowercase()) == Some(&1);
        // Codes are found by their name.
        let name = if is_unique || section.is_empty() || name == FieldRole::Otp.name() {
            name
        } else {
            format!("{section} {name}")
        };
        builder.add_with_earlier(&name, &value, earlier)?;
    }
    Ok(())
}
