//! Which record an item becomes that the vault has from elsewhere, and what that changes.

use passmate_interchange::{Format, Outcome, Same};
use passmate_vault::Vault;
use passmate_vault::record::Change;

use crate::{NOW, import, import_chrome, paths, put, shown};

const LASTPASS: &str = "url,username,password,totp,extra,name,grouping,fav\n";

#[track_caller]
fn import_lastpass(rows: &str, vault: &mut Vault, now: i64) -> passmate_interchange::Applied {
    let table = format!("{LASTPASS}{rows}");
    import(Format::LastpassCsv, table.as_bytes(), None, vault, now)
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
        let same = Same {
            item: "a".to_owned(),
            record: "web/A".to_owned(),
            added: vec![],
        };
        assert_eq!(applied.same, [same]);
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
    let added = &applied.same.first().unwrap().added;
    assert_eq!(*added, ["url 2", "otp", "notes"]);
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

#[test]
fn who_does_not_know_the_password_adds_nothing() {
    let mut vault = Vault::new();
    import_chrome(
        "GitHub,https://github.com/,alice,s3cret,\nRouter,,,admin,\n",
        &mut vault,
        NOW,
    );
    let before = shown(&vault);
    for row in [
        // No password, another one, an address elsewhere, and one that only looks like it.
        "https://github.com/login,alice,,GEZDGNBV,,GitHub,,0\n",
        "https://github.com/login,alice,guess,GEZDGNBV,,GitHub,,0\n",
        "https://evil.example\\@github.com/,alice,s3cret,,,GitHub,,0\n",
        "evil.example/login,,,GEZDGNBV,call me,Router,,0\n",
        ",,,GEZDGNBV,call me,Router,,0\n",
    ] {
        let mut vault = vault.clone();
        let applied = import_lastpass(row, &mut vault, NOW + 9);
        assert_eq!(
            (applied.same.clone(), applied.count(Outcome::Created)),
            (vec![], 1),
            "{row}"
        );
        let after = shown(&vault);
        assert!(before.lines().all(|line| after.contains(line)), "{row}");
        assert_eq!(vault.view().records().len(), 3);
    }
}

#[test]
fn rows_alike_may_come_and_go() {
    let row = |password: &str| format!("A,https://a/,ann,{password},\n");
    let rows = |passwords: &[&str]| passwords.iter().map(|p| row(p)).collect::<String>();
    for (first, second) in [
        (&["p1", "p2"][..], &["p2", "p3"][..]),
        (&["p1", "p2"], &["p0", "p1", "p2"]),
        (&["p1", "p2"], &["p9", "p1"]),
        (&["p1", "p2", "p4"], &["p5", "p4"]),
    ] {
        let mut vault = Vault::new();
        import_chrome(&rows(first), &mut vault, NOW);
        import_chrome(&rows(second), &mut vault, NOW + 1);
        let text = shown(&vault);
        let has = |password: &&&str| text.contains(&format!("password: {password:?}"));
        assert!(second.iter().all(|password| has(&password)), "{text}");
        let before = vault.clone();
        assert_eq!(import_chrome(&rows(second), &mut vault, NOW + 2).changes, 0);
        assert_eq!(vault, before);
    }
}

#[test]
fn a_user_name_with_brackets_is_found_again() {
    let mut vault = Vault::new();
    let rows = "x,https://a/,alice,1,\nx,https://a/,alice (work),2,\nx,https://a/,a) (b,3,\n";
    import_chrome(rows, &mut vault, NOW);
    assert_eq!(paths(&vault), ["x", "x (a) (b)", "x (alice (work))"]);
    let before = vault.clone();
    assert_eq!(import_chrome(rows, &mut vault, NOW + 1).changes, 0);
    assert_eq!(vault, before);
}

#[test]
fn what_was_set_later_than_the_source_was_changed_stays() {
    let item = |password: &str, time: &str| {
        let login = format!(r#""login":{{"username":"u","password":"{password}"}}"#);
        let item = format!(r#"{{"id":"1","type":1,"name":"x","revisionDate":"{time}",{login}}}"#);
        format!(r#"{{"encrypted":false,"items":[{item}]}}"#)
    };
    let put = |vault: &mut Vault, file: &str, now| {
        import(Format::Bitwarden, file.as_bytes(), None, vault, now);
    };
    let mut vault = Vault::new();
    put(&mut vault, &item("first", "2020-01-01T00:00:00Z"), NOW);
    let id = vault.view().records().first().unwrap().id.clone();
    vault.set(&id, "password", "mine", NOW).unwrap();
    put(&mut vault, &item("theirs", "2021-01-01T00:00:00Z"), NOW + 9);
    assert!(shown(&vault).contains("password: \"mine\""));
    let history = vault.record(&id).unwrap();
    let history = history.history(passmate_vault::record::Domain::User, &"password".into());
    assert_eq!(history.len(), 3, "theirs is an earlier value");
    let later = jiff::Timestamp::from_second(NOW + 20).unwrap().to_string();
    put(&mut vault, &item("newest", &later), NOW + 30);
    assert!(shown(&vault).contains("password: \"newest\""));
}

#[test]
fn a_vault_file_purges_nothing_and_names_what_it_removes() {
    let mut vault = Vault::new();
    import_chrome(
        "Bank,https://b/,u,old,\nWiki,https://w/,u,w,\n",
        &mut vault,
        NOW,
    );
    let ids: Vec<_> = vault
        .view()
        .records()
        .iter()
        .map(|r| r.id.clone())
        .collect();
    vault.set(&ids[0], "password", "new", NOW + 1).unwrap();
    let mut theirs = vault.clone();
    let is_old = |change: &Change| change.value.shown().is_some_and(|text| *text == "old");
    theirs.purge(&ids[0], is_old, NOW + 2).unwrap();
    theirs.delete(&ids[1], NOW + 3).unwrap();
    let imported = passmate_interchange::Imported {
        vault: theirs,
        ..Default::default()
    };
    let applied = put(&imported, &mut vault, Format::Passmate2, NOW + 9);
    assert!(
        applied
            .records
            .contains(&(Outcome::Removed, "Wiki".to_owned()))
    );
    assert_eq!(applied.losses.len(), 1, "{:?}", applied.losses);
    let bank = vault.record(&ids[0]).unwrap();
    assert!(bank.changes().iter().any(is_old), "it is in the history");
}
