//! A guard that another device takes away.

use passmate_core::answer::{Consent, Need, Question};
use passmate_core::api::VaultApi;
use passmate_core::edit::Edit;
use passmate_core::problem::{Problem, ProblemKind};
use passmate_core::settings::SyncSettings;
use passmate_core::shared_folder::Sealing;
use passmate_core::sync_all::SyncRequest;

use crate::InProcess;
use crate::suite::{Implementation, passphrase};

fn set(vault: &mut dyn VaultApi, field: &str, value: &str) {
    let edit = Edit::Set {
        path: "bank".to_owned(),
        field: field.to_owned(),
        value: value.to_owned().into(),
    };
    vault.change(&edit, &Consent::none(), &mut |_| {}).unwrap();
}

fn tags(vault: &mut dyn VaultApi) -> Option<String> {
    let record = vault.record("bank").unwrap();
    Some(record.field("tags").ok()?.value.to_string())
}

#[test]
fn a_yes_beforehand_takes_no_guard_from_a_record() {
    let folder = tempfile::tempdir().unwrap();
    let devices = [InProcess::new(), InProcess::new()];
    let mut sealing = Sealing::AsFound;
    let mut vaults = devices.each_ref().map(|device| {
        let mut vault = device.open(passphrase(), SyncSettings::default());
        let synced = vault.set_up_folder(folder.path(), &sealing, &SyncRequest::default());
        synced.unwrap().result.unwrap();
        sealing = Sealing::Key(vault.folder_key().unwrap());
        vault
    });
    let [one, two] = &mut vaults;
    set(&mut **one, "password", "x");
    set(&mut **one, "tags", "ask");
    one.sync(&SyncRequest::default()).unwrap();
    two.sync(&SyncRequest::default()).unwrap();
    set(&mut **one, "tags", "");
    one.sync(&SyncRequest::default()).unwrap();
    let mut request = SyncRequest {
        consent: Consent::to_everything(),
        ..SyncRequest::default()
    };
    let answer = two.sync(&request).unwrap();
    let Some(Need::Confirmation(question @ Question::HeldBack { .. })) = answer.need() else {
        panic!("{answer:?}");
    };
    assert_eq!(tags(&mut **two).as_deref(), Some("ask"));
    let problem = Problem::from(Need::Confirmation(question.clone()));
    assert_eq!(problem.kind, ProblemKind::HeldBack);
    assert!(!problem.hint.contains("--yes"), "{}", problem.hint);
    let preview = two.preview_sync().unwrap().folder.unwrap().unwrap();
    assert!(preview.held.unwrap().takes_guard());
    // Only a yes to just this does.
    assert!(!request.consent.takes_guard());
    request.consent.give(question.clone());
    assert!(request.consent.takes_guard());
    assert!(two.sync(&request).unwrap().need().is_none());
    assert_eq!(tags(&mut **two), None);
}
