//! Which record an item becomes that the vault has from elsewhere, and what that changes.

use passmate_interchange::{Format, Outcome};
use passmate_vault::Vault;
use passmate_vault::record::Change;

use crate::{NOW, import, import_chrome, shown};

const LASTPASS: &str = "url,username,password,totp,extra,name,grouping,fav\n";

#[track_caller]
fn import_lastpass(rows: &str, vault: &mut Vault, now: i64) -> passmate_interchange::Applied {
    let table = format!("{LASTPASS}{rows}");
    import(Format::LastpassCsv, table.as_bytes(), None, vault, now)
}

fn paths(vault: &Vault) -> Vec<String> {
    let view = vault.view();
    let paths = view.records().iter().map(|record| &record.path);
    paths
        .map(|path| path.to_string_lossy().into_owned())
        .collect()
}

#[test]
fn the_same_login_from_another_program_changes_nothing() {
    let mut vault = Vault::new();
    let rows = "https://a/x,bob,p1,,hi,A,web,0\nhttps://b/,bob,p1,,,B,,0\n";
    import_lastpass(rows, &mut vault, NOW);
    let before = vault.clone();
    let rows = "a,https://a/x,bob,p1,hi\nB,https://b/,bob,p1,\n";
    for round in 0..2 {
        let applied = import_chrome(rows, &mut vault, NOW + round);
        assert_eq!((applied.changes, applied.count(Outcome::Unchanged)), (0, 2));
        // The other one is where it would be imported, with all its values.
        assert_eq!(applied.same, [("a".to_owned(), "web/A".to_owned())]);
        assert_eq!(vault, before);
    }
}

#[test]
fn what_the_record_never_had_is_added_and_nothing_is_replaced() {
    let mut vault = Vault::new();
    import_chrome("A,https://a/,bob,p1,\n", &mut vault, NOW);
    let applied = import_lastpass(
        "https://a/login,bob,p1,GEZDGNBV,hi,A,,0\n",
        &mut vault,
        NOW + 9,
    );
    assert_eq!((applied.changes, applied.count(Outcome::Changed)), (3, 1));
    let expected = "A\n  notes: \"hi\"\n  otp: \"GEZDGNBV\"\n  password: \"p1\"\n  \
                    url: \"https://a/\"\n  url 2: \"https://a/login\"\n  user: \"bob\"\n";
    assert_eq!(shown(&vault), expected);
    let before = vault.clone();
    import_chrome("A,https://a/,bob,p1,\n", &mut vault, NOW + 10);
    import_lastpass(
        "https://a/login,bob,p1,GEZDGNBV,hi,A,,0\n",
        &mut vault,
        NOW + 10,
    );
    assert_eq!(vault, before);
}

#[test]
fn a_login_that_does_not_agree_becomes_a_record_of_its_own() {
    let mut vault = Vault::new();
    import_chrome("A,https://a/,bob,p1,note\n", &mut vault, NOW);
    for (row, path) in [
        ("https://a/,bob,p2,,,A,,0\n", "A (bob)"),
        ("https://a/,bob,p1,,other,A,,0\n", "A (bob)"),
        ("https://b/,eve,p1,,note,A,,0\n", "A (eve)"),
    ] {
        let mut vault = vault.clone();
        let applied = import_lastpass(row, &mut vault, NOW + 9);
        assert_eq!(applied.records, [(Outcome::Created, path.to_owned())]);
        assert_eq!(
            (applied.same, paths(&vault)),
            (vec![], vec!["A".to_owned(), path.to_owned()])
        );
    }
}

#[test]
fn a_former_password_agrees_and_stays_a_former_one() {
    let mut vault = Vault::new();
    import_chrome("A,https://a/,bob,old,\n", &mut vault, NOW);
    import_chrome("A,https://a/,bob,new,\n", &mut vault, NOW + 1);
    let before = vault.clone();
    let applied = import_lastpass("https://a/,bob,old,,,A,x,0\n", &mut vault, NOW + 2);
    assert_eq!((applied.changes, applied.same.len()), (0, 1));
    assert_eq!(vault, before);
}

#[test]
fn names_that_meet_are_told_apart_by_the_user() {
    let mut vault = Vault::new();
    let rows = "GitHub,https://g,john,1,\nGitHub,https://g,ann/x,2,\nGitHub,https://g,ann/x,3,\n\
                me,,me,4,\nme,,me,5,\nGitHub,https://g,,6,\n";
    let applied = import_chrome(rows, &mut vault, NOW);
    let paths: Vec<&str> = applied
        .records
        .iter()
        .map(|(_, path)| path.as_str())
        .collect();
    let expected = [
        "GitHub",
        "GitHub (ann\u{2215}x)",
        "GitHub (2)",
        "me",
        "me (2)",
        "GitHub (3)",
    ];
    assert_eq!(paths, expected);
    let before = vault.clone();
    assert_eq!(import_chrome(rows, &mut vault, NOW + 5).changes, 0);
    assert_eq!(vault, before);
}

#[test]
fn what_was_purged_does_not_come_back_as_the_present_value() {
    let mut vault = Vault::new();
    let row = "A,https://a/,bob,leaked,\n";
    import_chrome(row, &mut vault, NOW);
    let id = vault.view().records().first().unwrap().id.clone();
    vault.set(&id, "password", "new", NOW + 5).unwrap();
    let is_old = |change: &Change| change.value.shown().is_some_and(|text| *text == "leaked");
    vault.purge(&id, is_old, NOW + 9).unwrap();
    let before = vault.clone();
    let applied = import_chrome(row, &mut vault, NOW + 20);
    assert_eq!(applied.changes, 0);
    assert_eq!(vault, before);
    let losses: Vec<_> = applied
        .losses
        .iter()
        .map(|loss| loss.what.as_str())
        .collect();
    assert_eq!(losses, ["the field password, whose history was purged"]);
}
