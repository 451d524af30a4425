//! A table with the columns that KeePassXC and most other programs read. Fields without a column
//! are appended to the notes, as `name: value`.

use std::borrow::Cow;

use passmate_vault::otp::{OtpAuth, OtpKind};
use passmate_vault::view::View;
use zeroize::Zeroizing;

use super::{entries, value_of};
use crate::loss::Loss;
use crate::syntax::csv::Table;

/// The group around all others. KeePassXC writes it, and leaves it out when it reads.
const ROOT: &str = "Root";

pub(super) fn write(view: &View<'_>, warnings: &mut Vec<Loss>) -> Zeroizing<Vec<u8>> {
    let mut table = Table::new(&[
        "Group", "Title", "Username", "Password", "URL", "Notes", "TOTP",
    ]);
    let mut formulas = 0;
    for entry in entries(view) {
        let login = &entry.login;
        let mut notes = Zeroizing::new(value_of(&login.notes).into_owned());
        let further_urls = login.further_urls.iter();
        let further_urls =
            further_urls.map(|field| (field.name.to_string_lossy(), field.value.to_string_lossy()));
        let otp = login.otp.as_ref();
        let otp = otp.map(|field| (field.name.to_string_lossy(), field.value.to_string_lossy()));
        let (totp, other_otp) = match otp {
            None => (Zeroizing::new(String::new()), None),
            Some((name, value)) => match totp_of(&value) {
                Some(totp) => (totp, None),
                None => (Zeroizing::new(String::new()), Some((name, value))),
            },
        };
        for (name, value) in further_urls.chain(entry.other_fields(&[])).chain(other_otp) {
            if !notes.is_empty() {
                notes.push('\n');
            }
            notes.push_str(&name);
            notes.push_str(": ");
            notes.push_str(&value);
        }
        let group: Cow<'_, str> = match entry.folder.as_str() {
            "" => ROOT.into(),
            folder => format!("{ROOT}/{folder}").into(),
        };
        let cells: [&str; 7] = [
            &group,
            &entry.name,
            &value_of(&login.user),
            &value_of(&login.password),
            &value_of(&login.url),
            &notes,
            &totp,
        ];
        formulas += cells.iter().filter(|cell| is_formula(cell)).count();
        table.push(cells);
    }
    if formulas > 0 {
        let (count, verb) = match formulas {
            1 => ("1 cell".to_owned(), "begins"),
            count => (format!("{count} cells"), "begin"),
        };
        warnings.push(Loss::of_file(format!(
            "{count} {verb} with =, +, -, @ or a tab: a spreadsheet program would run them as \
             formulas, so do not open the file with one"
        )));
    }
    table.into_bytes()
}

/// The text for the column of codes that follow the time; `None` if others would be made of it.
fn totp_of(otp: &str) -> Option<Zeroizing<String>> {
    let auth = OtpAuth::parse(otp).ok()?;
    let is_address = otp.starts_with("otpauth://totp/") && !otp.contains("&amp;");
    let is_letters = otp.bytes().all(|byte| byte.is_ascii_alphanumeric());
    match auth.kind {
        OtpKind::Counted { .. } => None,
        OtpKind::Timed { .. } if is_address || is_letters => Some(Zeroizing::new(otp.to_owned())),
        OtpKind::Steam if is_address && otp.contains("encoder=steam") => {
            Some(Zeroizing::new(otp.to_owned()))
        }
        _ => Some(auth.to_address()),
    }
}

/// Whether spreadsheet programs take a cell for a formula.
fn is_formula(cell: &str) -> bool {
    cell.starts_with(['=', '+', '-', '@', '\t', '\r'])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::write::tests::vault;

    #[test]
    fn a_table_survives_commas_quotes_and_lines() {
        let mut warnings = Vec::new();
        let csv = write(&vault().view(), &mut warnings);
        assert_eq!(warnings, []);
        let mut reader = csv::Reader::from_reader(csv.as_slice());
        let rows: Vec<Vec<String>> = reader
            .records()
            .map(|row| row.unwrap().iter().map(str::to_owned).collect())
            .collect();
        assert_eq!(rows.len(), 2);
        let shop = rows.iter().find(|row| row[0] == "Root/web").unwrap();
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

    #[test]
    fn cells_that_look_like_formulas_are_counted_and_stay() {
        let mut vault = vault();
        let id = "B".into();
        for (name, value) in [("password", "=1+1"), ("user", "@bob"), ("url", "a=b")] {
            vault.set(&id, name, value, 3).unwrap();
        }
        let mut warnings = Vec::new();
        let csv = write(&vault.view(), &mut warnings);
        assert!(String::from_utf8_lossy(&csv).contains("\"Root\",\"top\",\"@bob\",\"=1+1\""));
        assert!(warnings[0].what.starts_with("2 cells begin with ="));
    }

    #[test]
    fn only_codes_that_follow_the_time_are_in_their_column() {
        for (otp, totp) in [
            ("JBSWY3DP", Some("JBSWY3DP")),
            (
                "otpauth://totp/a?secret=JBSWY3DP",
                Some("otpauth://totp/a?secret=JBSWY3DP"),
            ),
            ("otpauth://hotp/a?secret=JBSWY3DP&counter=1", None),
            ("no codes!", None),
            (
                "steam://JBSWY3DP",
                Some("otpauth://totp/?secret=JBSWY3DP&period=30&digits=5&encoder=steam"),
            ),
            (
                "key=JBSWY3DP&size=8",
                Some("otpauth://totp/?secret=JBSWY3DP&period=30&digits=8"),
            ),
        ] {
            assert_eq!(totp_of(otp).as_deref().map(String::as_str), totp, "{otp}");
        }
    }
}
