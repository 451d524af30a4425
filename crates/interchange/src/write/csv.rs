//! A table with the columns that KeePassXC and most other programs read. Fields without a column
//! are appended to the notes, as `name: value`.

use passmate_vault::view::View;
use zeroize::Zeroizing;

use super::{entries, other_fields, value_of};
use crate::syntax::csv::Table;

pub(super) fn write(view: &View<'_>) -> Zeroizing<Vec<u8>> {
    let mut table = Table::new(&[
        "Group", "Title", "Username", "Password", "URL", "Notes", "TOTP",
    ]);
    for entry in entries(view) {
        let login = &entry.login;
        let mut notes = Zeroizing::new(value_of(&login.notes).into_owned());
        for (name, value) in other_fields(login) {
            if !notes.is_empty() {
                notes.push('\n');
            }
            notes.push_str(&name);
            notes.push_str(": ");
            notes.push_str(&value);
        }
        table.push([
            &entry.folder,
            &entry.name,
            &value_of(&login.user),
            &value_of(&login.password),
            &value_of(&login.url),
            &notes,
            &value_of(&login.otp),
        ]);
    }
    table.into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::write::tests::vault;

    #[test]
    fn a_table_survives_commas_quotes_and_lines() {
        let csv = write(&vault().view());
        let mut reader = csv::Reader::from_reader(csv.as_slice());
        let rows: Vec<Vec<String>> = reader
            .records()
            .map(|row| row.unwrap().iter().map(str::to_owned).collect())
            .collect();
        assert_eq!(rows.len(), 2);
        let shop = rows.iter().find(|row| row[0] == "web").unwrap();
        assert_eq!(
            shop[1..],
            [
                "shop, \"best\"",
                "bob",
                "p\"w,d",
                "https://shop.example",
                "one\ntwo\nemail: b@x\npin: 1234",
                "GEZDGNBV"
            ]
        );
    }
}
