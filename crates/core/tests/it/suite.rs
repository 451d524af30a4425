//! What holds for everything that implements [`VaultApi`].

// The paths are named, because the tests of other crates include this file.
#[path = "suite/undo.rs"]
pub(crate) mod undo;

use std::path::PathBuf;

use passmate_core::answer::{Consent, Halt, Need, Place, Question};
use passmate_core::api::{OneTimeCode, VaultApi};
use passmate_core::edit::{Edit, RecordText};
use passmate_core::export::ExportForm;
use passmate_core::history::{At, PurgeScope};
use passmate_core::interchange::{ExportFormat, Format, ReadOptions, parse};
use passmate_core::log_n::LogN;
use passmate_core::net::Address;
use passmate_core::problem::{Problem, ProblemKind};
use passmate_core::settings::SyncSettings;
use passmate_core::shared_folder::Sealing;
use passmate_core::sync::Reason;
use passmate_core::sync_all::SyncRequest;
use passmate_core::sync_setup::{ServerSetup, Untie, Untied};
use passmate_vault::Passphrase;

#[path = "suite/secrets.rs"]
mod secrets;
#[path = "suite/syncs.rs"]
mod syncs;

pub(crate) use secrets::{
    a_counter_is_used_once, a_password_and_its_rule_are_one_change,
    a_record_is_added_in_one_change_by_the_rule_of_its_site, a_reference_reads_a_value_or_a_code,
    an_audit_names_what_should_be_changed, records_of_a_kind_and_secret_values_come_in_one_call,
};
use syncs::sharing;
pub(crate) use syncs::{
    a_change_is_reported_before_its_sync, a_held_back_sync_goes_on_when_agreed_to,
    a_large_deletion_is_held_back_until_a_person_decides, a_shared_folder_syncs_two_vaults,
    a_vault_without_a_place_to_sync_says_so, changes_sync_only_where_the_settings_say_so,
    offline_forbids_every_call_that_needs_the_network,
};

/// A way to reach a vault.
pub(crate) trait Implementation {
    /// With an empty vault under [`passphrase`].
    fn new() -> Self;

    /// The vault, unlocked. Several may be open at once.
    fn open(&self, passphrase: Passphrase, settings: SyncSettings) -> Box<dyn VaultApi>;
}

/// Makes one test of each claim for an implementation.
macro_rules! for_implementation {
    ($name:ident, $implementation:ty) => {
        mod $name {
            use crate::suite;

            #[test]
            fn an_edit_is_stored_and_seen_by_the_next_to_open() {
                suite::an_edit_is_stored_and_seen_by_the_next_to_open::<$implementation>();
            }

            #[test]
            fn a_change_that_fails_changes_nothing() {
                suite::a_change_that_fails_changes_nothing::<$implementation>();
            }

            #[test]
            fn what_needs_a_person_comes_back_as_a_value() {
                suite::what_needs_a_person_comes_back_as_a_value::<$implementation>();
            }

            #[test]
            fn a_record_is_read_searched_and_shown() {
                suite::a_record_is_read_searched_and_shown::<$implementation>();
            }

            #[test]
            fn records_of_a_kind_and_secret_values_come_in_one_call() {
                suite::records_of_a_kind_and_secret_values_come_in_one_call::<$implementation>();
            }

            #[test]
            fn a_reference_reads_a_value_or_a_code() {
                suite::a_reference_reads_a_value_or_a_code::<$implementation>();
            }

            #[test]
            fn a_password_and_its_rule_are_one_change() {
                suite::a_password_and_its_rule_are_one_change::<$implementation>();
            }

            #[test]
            fn a_record_is_added_in_one_change_by_the_rule_of_its_site() {
                suite::a_record_is_added_in_one_change_by_the_rule_of_its_site::<$implementation>();
            }

            #[test]
            fn a_counter_is_used_once() {
                suite::a_counter_is_used_once::<$implementation>();
            }

            #[test]
            fn an_audit_names_what_should_be_changed() {
                suite::an_audit_names_what_should_be_changed::<$implementation>();
            }

            #[test]
            fn the_past_is_listed_and_comes_back() {
                suite::the_past_is_listed_and_comes_back::<$implementation>();
            }

            #[test]
            fn an_update_stores_only_what_a_person_changed() {
                suite::an_update_stores_only_what_a_person_changed::<$implementation>();
            }

            #[test]
            fn an_import_can_be_previewed_and_repeated() {
                suite::an_import_can_be_previewed_and_repeated::<$implementation>();
            }

            #[test]
            fn an_export_opens_with_the_same_passphrase() {
                suite::an_export_opens_with_the_same_passphrase::<$implementation>();
            }

            #[test]
            fn a_new_passphrase_opens_the_vault() {
                suite::a_new_passphrase_opens_the_vault::<$implementation>();
            }

            #[test]
            fn a_shared_folder_syncs_two_vaults() {
                suite::a_shared_folder_syncs_two_vaults::<$implementation>();
            }

            #[test]
            fn changes_sync_only_where_the_settings_say_so() {
                suite::changes_sync_only_where_the_settings_say_so::<$implementation>();
            }

            #[test]
            fn undo_takes_back_a_change_and_not_what_its_sync_received() {
                suite::undo::undo_takes_back_a_change_and_not_what_its_sync_received::<
                    $implementation,
                >();
            }

            #[test]
            fn undo_goes_back_step_by_step_and_redo_forward() {
                suite::undo::undo_goes_back_step_by_step_and_redo_forward::<$implementation>();
            }

            #[test]
            fn the_steps_of_two_programs_are_undone_in_turn() {
                suite::undo::the_steps_of_two_programs_are_undone_in_turn::<$implementation>();
            }

            #[test]
            fn a_change_is_reported_before_its_sync() {
                suite::a_change_is_reported_before_its_sync::<$implementation>();
            }

            #[test]
            fn a_large_deletion_is_held_back_until_a_person_decides() {
                suite::a_large_deletion_is_held_back_until_a_person_decides::<$implementation>();
            }

            #[test]
            fn an_import_passes_the_gate_and_is_undone() {
                suite::an_import_passes_the_gate_and_is_undone::<$implementation>();
            }

            #[test]
            fn a_purge_asks_first_and_nothing_brings_its_values_back() {
                suite::a_purge_asks_first_and_nothing_brings_its_values_back::<$implementation>();
            }

            #[test]
            fn a_held_back_sync_goes_on_when_agreed_to() {
                suite::a_held_back_sync_goes_on_when_agreed_to::<$implementation>();
            }

            #[test]
            fn a_vault_without_a_place_to_sync_says_so() {
                suite::a_vault_without_a_place_to_sync_says_so::<$implementation>();
            }

            #[test]
            fn offline_forbids_every_call_that_needs_the_network() {
                suite::offline_forbids_every_call_that_needs_the_network::<$implementation>();
            }
        }
    };
}
pub(crate) use for_implementation;

pub(crate) fn passphrase() -> Passphrase {
    Passphrase::from("correct horse".to_owned())
}

fn open<I: Implementation>(implementation: &I) -> Box<dyn VaultApi> {
    implementation.open(passphrase(), SyncSettings::default())
}

fn set(path: &str, field: &str, value: &str) -> Edit {
    Edit::Set {
        path: path.to_owned(),
        field: field.to_owned(),
        value: value.to_owned().into(),
    }
}

fn change(vault: &mut dyn VaultApi, edit: &Edit) -> usize {
    vault
        .change(edit, &Consent::to_everything(), &mut |_| {})
        .unwrap()
        .edited
        .changes
}

fn value(vault: &mut dyn VaultApi, path: &str, field: &str) -> Option<String> {
    let record = vault.record(path).ok()?;
    Some(record.field(field).ok()?.value.to_string())
}

fn paths(vault: &mut dyn VaultApi) -> Vec<String> {
    let entries = vault.list().unwrap().into_iter();
    entries.map(|entry| entry.path).collect()
}

#[track_caller]
fn kind_of<T>(reply: Result<T, Halt>) -> ProblemKind {
    match reply {
        Err(Halt::Failed(problem)) => problem.kind,
        Err(Halt::Needs(need @ Need::OtherPath { .. })) => Problem::from(need).kind,
        Err(Halt::Needs(need)) => panic!("{need:?}"),
        Ok(_) => panic!("it succeeded"),
    }
}

pub(crate) fn an_edit_is_stored_and_seen_by_the_next_to_open<I: Implementation>() {
    let implementation = I::new();
    let mut vault = open(&implementation);
    assert_eq!(change(&mut *vault, &Edit::Create { path: "a".into() }), 1);
    change(&mut *vault, &set("a", "user", "bob"));
    change(&mut *vault, &set("new", "password", "one"));
    let mut second = open(&implementation);
    assert_eq!(paths(&mut *second), ["a", "new"]);
    assert_eq!(value(&mut *second, "a", "user").as_deref(), Some("bob"));
    let moved = Edit::Move {
        from: vec!["new".into()],
        to: "b/c".into(),
    };
    change(&mut *second, &moved);
    let unset = Edit::Unset {
        path: "a".into(),
        field: "user".into(),
    };
    change(&mut *second, &unset);
    // The first one saw none of that, and undoes none of it.
    change(&mut *vault, &set("a", "url", "https://a.example"));
    assert_eq!(paths(&mut *vault), ["a", "b/c"]);
    assert_eq!(value(&mut *vault, "a", "user"), None);
}

pub(crate) fn a_change_that_fails_changes_nothing<I: Implementation>() {
    let implementation = I::new();
    let mut vault = open(&implementation);
    change(&mut *vault, &set("a", "user", "bob"));
    change(&mut *vault, &set("b", "user", "eve"));
    let before = vault.record("a").unwrap();
    let failing = [
        (Edit::Create { path: "a".into() }, ProblemKind::Exists),
        (set("a", "", "x"), ProblemKind::Usage),
        (
            Edit::Move {
                from: vec!["a".into()],
                to: "b".into(),
            },
            ProblemKind::Exists,
        ),
        (
            Edit::Move {
                from: vec!["a".into()],
                to: "a".into(),
            },
            ProblemKind::Usage,
        ),
        (
            Edit::Unset {
                path: "a".into(),
                field: "none".into(),
            },
            ProblemKind::NotFound,
        ),
        (
            Edit::Delete {
                paths: vec!["none".into()],
            },
            ProblemKind::NotFound,
        ),
        (
            Edit::Undelete {
                path: "a".into(),
                to: None,
            },
            ProblemKind::Usage,
        ),
        // A part of it could be done; none of it is.
        (
            Edit::Update {
                path: "a".into(),
                before: RecordText::default(),
                after: RecordText::new("", [("fine", "x"), ("not\u{7}fine", "x")]),
            },
            ProblemKind::Usage,
        ),
    ];
    for (edit, kind) in failing {
        let reply = vault.change(&edit, &Consent::to_everything(), &mut |_| {});
        assert_eq!(kind_of(reply), kind, "{edit:?}");
        assert_eq!(vault.record("a").unwrap(), before, "{edit:?}");
        assert_eq!(
            open(&implementation).record("a").unwrap(),
            before,
            "{edit:?}"
        );
    }
    change(&mut *vault, &set("c", "user", "x"));
    assert_eq!(open(&implementation).record("a").unwrap(), before);
}

pub(crate) fn what_needs_a_person_comes_back_as_a_value<I: Implementation>() {
    let implementation = I::new();
    let mut vault = open(&implementation);
    change(&mut *vault, &set("web/shop", "user", "bob"));
    change(&mut *vault, &set("old/shop", "user", "bob"));
    let delete = Edit::Delete {
        paths: vec!["web/shop".into()],
    };
    let Err(Halt::Needs(Need::Confirmation(question))) =
        vault.change(&delete, &Consent::none(), &mut |_| {})
    else {
        panic!("a deletion asks first");
    };
    assert_eq!(
        question,
        Question::Delete {
            paths: vec!["web/shop".into()]
        }
    );
    let other = |reply: Result<(), Halt>| match reply {
        Err(Halt::Needs(Need::OtherPath {
            path,
            candidates,
            alike,
            ..
        })) => (path, candidates.len(), alike.len()),
        _ => panic!("no record has this path"),
    };
    assert_eq!(
        other(vault.record("Shop").map(drop)),
        ("Shop".to_owned(), 2, 0)
    );
    // A slash too many.
    for typed in ["web/shop/", "/web/shop"] {
        let history = vault.history(typed, None).map(drop);
        assert_eq!(other(history).1, 1, "{typed}");
    }
    let problem_of = |reply: Result<(), Halt>| reply.map_err(Halt::into_problem).unwrap_err();
    let problem = problem_of(vault.record("web/").map(drop));
    assert!(problem.message.ends_with("; it is a folder with 1 record"));
    assert!(problem.hint.contains("`passmate ls web/`"));
    assert_eq!(other(vault.record("web/shpo").map(drop)).2, 1);
    // Nothing is changed that was not named exactly.
    let unset = Edit::Unset {
        path: "eb/shop".into(),
        field: "user".into(),
    };
    let reply = vault.change(&unset, &Consent::to_everything(), &mut |_| {});
    assert!(matches!(reply, Err(Halt::Needs(Need::OtherPath { .. }))));
    // A yes to something else is none to this.
    let mut consent = Consent::none();
    consent.give(Question::Delete {
        paths: vec!["old/shop".into()],
    });
    assert!(matches!(
        vault.change(&delete, &consent, &mut |_| {}),
        Err(Halt::Needs(_))
    ));
    consent.give(question);
    vault.change(&delete, &consent, &mut |_| {}).unwrap();
    assert_eq!(paths(&mut *vault), ["old/shop"]);
    let problem = problem_of(vault.record("old/shop/x").map(drop));
    assert!(!problem.message.contains("deleted"));
    let problem = problem_of(vault.fields("web/shop").map(drop));
    assert!(problem.hint.contains("`passmate restore web/shop`"));
    // A person who sees no question says with a slash that they mean a folder.
    let all = Consent::to_everything();
    let folder = |name: &str| Edit::Delete {
        paths: vec![name.to_owned()],
    };
    let reply = vault.change(&folder("old"), &all, &mut |_| {});
    assert_eq!(kind_of(reply), ProblemKind::NotFound);
    let question = Question::Delete {
        paths: vec!["old/shop".into()],
    };
    let mut seen = Consent::none();
    seen.give(question);
    vault.change(&folder("old"), &seen, &mut |_| {}).unwrap();
    change(&mut *vault, &set("old/shop", "user", "bob"));
    vault.change(&folder("old/"), &all, &mut |_| {}).unwrap();
    assert!(paths(&mut *vault).is_empty());
}

pub(crate) fn a_record_is_read_searched_and_shown<I: Implementation>() {
    let implementation = I::new();
    let mut vault = open(&implementation);
    change(&mut *vault, &set("web/shop", "user", "bob"));
    change(&mut *vault, &set("web/shop", "password", "se;cret"));
    change(&mut *vault, &set("web/shop", "otp", "GEZDGNBVGY3TQOJQ"));
    change(&mut *vault, &set("home", "ssid", "net"));
    let record = vault.record("web/shop").unwrap();
    let secrets: Vec<_> = record
        .fields
        .iter()
        .map(|field| (field.name.as_str(), field.is_secret))
        .collect();
    assert_eq!(
        secrets,
        [("user", false), ("password", true), ("otp", true)]
    );
    let found = vault.search("bob", 5).unwrap();
    assert_eq!((found.len(), found[0].in_path), (1, false));
    assert!(vault.search("secret", 5).unwrap().is_empty(), "no secrets");
    assert!(vault.search("wshop", 5).unwrap()[0].in_path);
    assert_eq!(vault.search("", 1).unwrap().len(), 1);
    assert_eq!(vault.continuations("").unwrap(), ["home", "web/"]);
    assert_eq!(vault.continuations("web/s").unwrap(), ["web/shop"]);
    let Ok(OneTimeCode::Timed(code)) = vault.one_time_code("web/shop", None) else {
        panic!("its codes follow the time");
    };
    assert_eq!((code.digits.len(), code.period), (6, 30));
    assert_eq!(
        kind_of(vault.one_time_code("home", None)),
        ProblemKind::NotFound
    );
    assert_eq!(*vault.qr_text("web/shop", None).unwrap(), "se;cret");
    assert_eq!(
        *vault.qr_text("home", None).unwrap(),
        "WIFI:T:nopass;S:net;;"
    );
    let address = vault.qr_text("web/shop", Some("otp")).unwrap();
    assert!(address.starts_with("otpauth://totp/"), "{}", *address);
}

pub(crate) fn the_past_is_listed_and_comes_back<I: Implementation>() {
    let implementation = I::new();
    let mut vault = open(&implementation);
    for password in ["one", "two", "three"] {
        change(&mut *vault, &set("a", "password", password));
    }
    let history = vault.history("a", Some("password")).unwrap();
    let values: Vec<_> = history
        .iter()
        .map(|entry| (entry.number, entry.value.as_ref().unwrap().as_str()))
        .collect();
    assert_eq!(values, [(1, "three"), (2, "two"), (3, "one")]);
    let restore = |at| Edit::RestoreField {
        path: "a".into(),
        field: "password".into(),
        at,
    };
    change(&mut *vault, &restore(None));
    assert_eq!(value(&mut *vault, "a", "password").as_deref(), Some("two"));
    change(&mut *vault, &restore(Some(At::Number(4))));
    assert_eq!(value(&mut *vault, "a", "password").as_deref(), Some("one"));
    let reply = vault.change(&restore(Some(At::Number(9))), &Consent::none(), &mut |_| {});
    assert_eq!(kind_of(reply), ProblemKind::NotFound);

    change(&mut *vault, &Edit::Undo);
    assert_eq!(value(&mut *vault, "a", "password").as_deref(), Some("two"));
    change(
        &mut *vault,
        &Edit::Delete {
            paths: vec!["a".into()],
        },
    );
    assert!(paths(&mut *vault).is_empty());
    assert_eq!(vault.trash().unwrap()[0].path, "a");
    change(
        &mut *vault,
        &Edit::Undelete {
            path: "a".into(),
            to: None,
        },
    );
    let mut second = open(&implementation);
    assert_eq!(value(&mut *second, "a", "password").as_deref(), Some("two"));

    let undelete = Edit::Undelete {
        path: "a".into(),
        to: None,
    };
    change(
        &mut *vault,
        &Edit::Delete {
            paths: vec!["a".into()],
        },
    );
    change(&mut *vault, &set("a", "password", "of another"));
    let reply = vault.change(&undelete, &Consent::none(), &mut |_| {});
    assert_eq!(kind_of(reply), ProblemKind::Exists);
    let (from, to) = (vec!["a".into()], "b".into());
    change(&mut *vault, &Edit::Move { from, to });
    change(&mut *vault, &undelete);
    assert_eq!(value(&mut *vault, "a", "password").as_deref(), Some("two"));
    let long_ago = Edit::RestoreRecord {
        path: "a".into(),
        seconds: 1,
    };
    assert_eq!(
        kind_of(vault.change(&long_ago, &Consent::none(), &mut |_| {})),
        ProblemKind::NotFound
    );
}

pub(crate) fn an_update_stores_only_what_a_person_changed<I: Implementation>() {
    let implementation = I::new();
    let mut vault = open(&implementation);
    change(&mut *vault, &set("a", "user", "bob"));
    change(&mut *vault, &set("a", "url", "https://a.example"));
    let before = RecordText::new("a", [("user", "bob"), ("url", "https://a.example")]);
    // Meanwhile another program changes a field that the person leaves alone.
    change(
        &mut *open(&implementation),
        &set("a", "url", "https://b.example"),
    );
    let after = RecordText::new(
        "b",
        [("user", ""), ("url", "https://a.example"), ("note", "new")],
    );
    let update = Edit::Update {
        path: "a".into(),
        before: before.clone(),
        after,
    };
    assert_eq!(change(&mut *vault, &update), 3);
    assert_eq!(value(&mut *vault, "b", "user"), None);
    assert_eq!(value(&mut *vault, "b", "note").as_deref(), Some("new"));
    let url = value(&mut *vault, "b", "url");
    assert_eq!(url.as_deref(), Some("https://b.example"));
    let same = Edit::Update {
        path: "b".into(),
        before: before.clone(),
        after: before,
    };
    assert_eq!(change(&mut *vault, &same), 0);
}

pub(crate) fn an_import_can_be_previewed_and_repeated<I: Implementation>() {
    let implementation = I::new();
    let mut vault = open(&implementation);
    let csv = b"name,url,username,password,note\nbank,https://bank.example,alice,one,\n";
    let imported = parse(Format::ChromeCsv, csv, ReadOptions::default()).unwrap();
    let preview = vault.preview_import(Format::ChromeCsv, &imported).unwrap();
    assert_eq!(preview.records.len(), 1);
    assert!(paths(&mut *vault).is_empty(), "a preview changes nothing");
    let import = Edit::Import {
        format: Format::ChromeCsv,
        imported,
    };
    assert!(change(&mut *vault, &import) > 0);
    assert_eq!(paths(&mut *vault).len(), 1);
    assert_eq!(change(&mut *vault, &import), 0, "a second time nothing");
}

pub(crate) fn an_export_opens_with_the_same_passphrase<I: Implementation>() {
    let implementation = I::new();
    let mut vault = open(&implementation);
    change(&mut *vault, &set("a", "password", "one"));
    let form = ExportForm::File(ExportFormat::Passmate);
    let exported = vault.export(form).unwrap();
    assert_eq!((exported.records, exported.losses.len()), (1, 0));
    let imported = parse(
        Format::Passmate2,
        &exported.bytes,
        ReadOptions::with_secret(Some(&passphrase())),
    )
    .unwrap();
    assert_eq!(imported.vault.view().records().len(), 1);
    let paper = vault.export(ExportForm::Paper);
    assert_eq!(kind_of(paper), ProblemKind::NotFound, "there is no account");
}

pub(crate) fn a_new_passphrase_opens_the_vault<I: Implementation>() {
    let implementation = I::new();
    let mut vault = open(&implementation);
    change(&mut *vault, &set("a", "password", "one"));
    let same = vault.change_passphrase(Some(&passphrase()), None);
    assert_eq!(kind_of(same), ProblemKind::Usage);
    let new = Passphrase::from("new".to_owned());
    vault.change_passphrase(Some(&new), None).unwrap();
    let mut second = implementation.open(new.clone(), SyncSettings::default());
    assert_eq!(paths(&mut *second), ["a"]);
    // The same passphrase at a higher price, which is never lowered.
    let log_n = |log_n: u8| Some(LogN::try_from(log_n).unwrap());
    second.change_passphrase(None, log_n(19)).unwrap();
    for lower in [18, 19] {
        let lower = second.change_passphrase(None, log_n(lower));
        assert_eq!(kind_of(lower), ProblemKind::Usage);
    }
}

pub(crate) fn an_import_passes_the_gate_and_is_undone<I: Implementation>() {
    let implementation = I::new();
    let mut vault = open(&implementation);
    let pmate = |password: &str, time: u64| {
        let records = (0..20).map(|number| {
            format!(
                "\"{number}\": [[\"PATH\", {time}, \"r{number}\"], \
                 [\"_password\", {time}, \"{password}\"]]"
            )
        });
        let text = format!("{{{}}}", records.collect::<Vec<_>>().join(","));
        let format = Format::Pmate;
        let imported = parse(format, text.as_bytes(), ReadOptions::default()).unwrap();
        Edit::Import { format, imported }
    };
    change(&mut *vault, &pmate("mine", 1_700_000_000));
    // The same records, stamped at the end of the year 9999.
    let evil = pmate("evil", 253_402_300_799);
    let reply = vault.change(&evil, &Consent::none(), &mut |_| {});
    let Err(Halt::Needs(Need::Confirmation(question @ Question::HeldBack { .. }))) = reply else {
        panic!("{reply:?}");
    };
    let password = |vault: &mut dyn VaultApi| {
        let record = vault.record("r7").unwrap();
        record
            .fields
            .iter()
            .find(|field| field.name == "password")
            .unwrap()
            .value
            .to_string()
    };
    assert_eq!(password(&mut *vault), "mine");
    let mut consent = Consent::none();
    consent.give(question);
    let changed = vault.change(&evil, &consent, &mut |_| {}).unwrap();
    assert_eq!(changed.edited.applied.unwrap().clamped, 20);
    assert_eq!(password(&mut *vault), "evil");
    change(&mut *vault, &Edit::Undo);
    assert_eq!(password(&mut *vault), "mine");
    change(&mut *vault, &set("r7", "password", "later"));
    assert_eq!(password(&mut *vault), "later");
}

pub(crate) fn a_purge_asks_first_and_nothing_brings_its_values_back<I: Implementation>() {
    let implementation = I::new();
    let mut vault = open(&implementation);
    for value in ["one", "two", "three"] {
        change(&mut *vault, &set("mail", "password", value));
    }
    let purge = |scope: PurgeScope| Edit::Purge {
        path: "mail".into(),
        scope,
    };
    let values = |vault: &mut dyn VaultApi| {
        let history = vault.history("mail", Some("password")).unwrap();
        let values = history.into_iter().filter_map(|entry| entry.value);
        values.map(|value| value.to_string()).collect::<Vec<_>>()
    };
    let second = purge(PurgeScope::Value("password".into(), 2));
    let reply = vault.change(&second, &Consent::none(), &mut |_| {});
    let question = Question::Purge {
        path: "mail".into(),
        field: Some("password".into()),
        values: 1,
    };
    assert!(
        matches!(&reply, Err(Halt::Needs(Need::Confirmation(asked))) if *asked == question),
        "{reply:?}"
    );
    change(&mut *vault, &second);
    assert_eq!(values(&mut *vault), ["three", "one"]);
    // No undo brings it back, and each goes one step further all the same.
    for (word, left) in [("set", 1), ("set", 1), ("set", 2)] {
        let changed = vault.change(&Edit::Undo, &Consent::none(), &mut |_| {});
        let edited = changed.unwrap().edited;
        let step = edited.step.unwrap();
        assert_eq!((step.kind.word(), step.left), (word, left));
        assert_eq!(edited.changes, 0);
        assert_eq!(values(&mut *vault), ["three", "one"]);
    }
    let undone = vault.change(&Edit::Undo, &Consent::none(), &mut |_| {});
    assert_eq!(kind_of(undone), ProblemKind::NotFound);
    change(&mut *vault, &purge(PurgeScope::Earlier("password".into())));
    assert_eq!(values(&mut *vault), ["three"]);
    let wrong = purge(PurgeScope::Value("password".into(), 2));
    let reply = vault.change(&wrong, &Consent::to_everything(), &mut |_| {});
    assert_eq!(kind_of(reply), ProblemKind::NotFound);
    change(
        &mut *vault,
        &Edit::Delete {
            paths: vec!["mail".into()],
        },
    );
    change(&mut *vault, &purge(PurgeScope::Record));
    assert!(vault.trash().unwrap().is_empty());
    assert!(open(&implementation).trash().unwrap().is_empty());
}
