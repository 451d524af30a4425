//! Undo and redo.

use passmate_core::answer::Consent;
use passmate_core::api::VaultApi;
use passmate_core::edit::{Edit, RecordText};
use passmate_core::interchange::{Format, ReadOptions, parse};
use passmate_core::problem::ProblemKind;
use passmate_core::settings::SyncSettings;
use passmate_core::sync_all::SyncRequest;

use super::{Implementation, change, kind_of, open, passphrase, paths, set, sharing, value};

pub(crate) fn undo_takes_back_a_change_and_not_what_its_sync_received<I: Implementation>() {
    let (_dir, one, two, _) = sharing::<I>();
    let auto = SyncSettings {
        auto: true,
        ..SyncSettings::default()
    };
    let mut one = one.open(passphrase(), auto.clone());
    let mut two = two.open(passphrase(), auto);
    change(&mut *two, &set("a", "user", "from two"));
    change(&mut *one, &set("b", "user", "from one"));
    assert_eq!(paths(&mut *one), ["a", "b"], "its sync brought the other's");
    change(&mut *one, &Edit::Undo);
    assert_eq!(paths(&mut *one), ["a"]);
    let reply = one.change(&Edit::Undo, &Consent::none(), &mut |_| {});
    assert_eq!(kind_of(reply), ProblemKind::NotFound);
    change(&mut *one, &Edit::Redo);
    assert_eq!(paths(&mut *one), ["a", "b"]);
    one.sync(&SyncRequest::default()).unwrap();
    // A sync that a person asks for is a step of its own.
    change(&mut *two, &set("c", "user", "from two"));
    one.sync(&SyncRequest::default()).unwrap();
    assert_eq!(paths(&mut *one), ["a", "b", "c"]);
    let undone = retrace(&mut *one, &Edit::Undo);
    assert!(undone.starts_with("sync with "), "{undone}");
    assert_eq!(paths(&mut *one), ["a", "b"]);
    change(&mut *one, &Edit::Undo);
    assert_eq!(paths(&mut *one), ["a"]);
}

/// Undoes or redoes, and returns what that was, without its time.
fn retrace(vault: &mut dyn VaultApi, edit: &Edit) -> String {
    let changed = vault.change(edit, &Consent::none(), &mut |_| {}).unwrap();
    let step = changed.edited.step.unwrap();
    assert_eq!((step.left, step.warning()), (0, None));
    let text = step.text();
    let (what, time) = text.rsplit_once(" (").unwrap();
    assert!(time.ends_with(')'), "{text}");
    what.to_owned()
}

pub(crate) fn undo_goes_back_step_by_step_and_redo_forward<I: Implementation>() {
    let implementation = I::new();
    let mut vault = open(&implementation);
    let text = |path: &str, user: &str| RecordText::new(path, [("user", user)]);
    let csv = b"name,url,username,password,note\nshop,https://shop.example,alice,one,\n";
    let imported = parse(Format::ChromeCsv, csv, ReadOptions::default()).unwrap();
    let edits = [
        (set("web/a", "password", "one"), "set password of web/a"),
        (set("web/a", "password", "two"), "set password of web/a"),
        (
            Edit::RestoreField {
                path: "web/a".into(),
                field: "password".into(),
                at: None,
            },
            "restore password of web/a",
        ),
        (
            Edit::Unset {
                path: "web/a".into(),
                field: "password".into(),
            },
            "unset password of web/a",
        ),
        (
            Edit::Create {
                path: "web/b".into(),
            },
            "new web/b",
        ),
        (
            Edit::Add {
                record: text("web/c", "bob"),
            },
            "new web/c",
        ),
        (
            Edit::Update {
                path: "web/c".into(),
                before: text("web/c", "bob"),
                after: text("web/c", "eve"),
            },
            "edit web/c",
        ),
        (
            Edit::Move {
                from: vec!["web/b".into()],
                to: "web/e".into(),
            },
            "move web/b to web/e",
        ),
        (
            Edit::Copy {
                from: vec!["web/".into()],
                to: "copies/".into(),
            },
            "copy to copies/web/a, copies/web/c, copies/web/e",
        ),
        (
            Edit::Delete {
                paths: vec!["web/".into(), "copies/web/a".into()],
            },
            "delete copies/web/a, web/a, web/c and 1 more",
        ),
        (
            Edit::Undelete {
                path: "web/a".into(),
                to: None,
            },
            "restore web/a",
        ),
        (
            Edit::Import {
                format: Format::ChromeCsv,
                imported,
            },
            "import: shop",
        ),
    ];
    let content = |vault: &mut dyn VaultApi| {
        let paths = paths(vault).into_iter();
        let records = paths.map(|path| {
            let fields = vault.record(&path).unwrap().fields.into_iter();
            let fields: Vec<_> = fields
                .map(|one| (one.name, one.value.to_string()))
                .collect();
            (path, fields)
        });
        records.collect::<Vec<_>>()
    };
    let mut states = vec![content(&mut *vault)];
    for (edit, _) in &edits {
        change(&mut *vault, edit);
        states.push(content(&mut *vault));
    }
    let last = edits.len();
    for index in (0..last).rev() {
        // Each of them in a program of its own.
        let mut vault = open(&implementation);
        let undone = retrace(&mut *vault, &Edit::Undo);
        assert_eq!(content(&mut *vault), states[index], "{undone}");
        assert_eq!(undone, edits[index].1);
    }
    for index in 0..last {
        let redone = retrace(&mut *vault, &Edit::Redo);
        assert_eq!(content(&mut *vault), states[index + 1], "{redone}");
        assert_eq!(redone, edits[index].1);
    }
    let reply = vault.change(&Edit::Redo, &Consent::none(), &mut |_| {});
    assert_eq!(kind_of(reply), ProblemKind::NotFound);
    // A new change drops what was undone.
    change(&mut *vault, &Edit::Undo);
    change(&mut *vault, &set("web/a", "user", "new"));
    let reply = vault.change(&Edit::Redo, &Consent::none(), &mut |_| {});
    assert_eq!(kind_of(reply), ProblemKind::NotFound);
    assert_eq!(retrace(&mut *vault, &Edit::Undo), "set user of web/a");
    assert_eq!(retrace(&mut *vault, &Edit::Undo), "restore web/a");
    // What was like that before is no step.
    assert_eq!(change(&mut *vault, &set("copies/web/c", "user", "eve")), 0);
    assert_eq!(retrace(&mut *vault, &Edit::Redo), "restore web/a");
}

pub(crate) fn the_steps_of_two_programs_are_undone_in_turn<I: Implementation>() {
    let implementation = I::new();
    let (mut one, mut two) = (open(&implementation), open(&implementation));
    change(&mut *one, &set("a", "user", "x"));
    change(&mut *two, &set("b", "user", "y"));
    change(&mut *one, &set("a", "user", "z"));
    // The second one has not seen the last change.
    for text in ["set user of a", "set user of b", "set user of a"] {
        assert_eq!(retrace(&mut *two, &Edit::Undo), text);
    }
    assert!(paths(&mut *two).is_empty());
    assert_eq!(retrace(&mut *one, &Edit::Redo), "set user of a");
    assert_eq!(value(&mut *one, "a", "user").as_deref(), Some("x"));
}
