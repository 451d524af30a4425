//! A guarded record is handed out after a person agreed, and each use is logged.

use std::sync::mpsc::channel;
use std::thread;

use passmate_agent::client::Client;
use passmate_agent::dialogs::Decision;
use passmate_core::answer::{Consent, Halt, Reply};
use passmate_core::api::VaultApi;
use passmate_core::audit::AuditRules;
use passmate_core::edit::Edit;
use passmate_core::export::ExportForm;
use passmate_core::interchange::ExportFormat;
use passmate_core::problem::ProblemKind;
use passmate_core::settings::{Holding, SyncSettings};
use passmate_core::shared_folder::Sealing;
use passmate_core::sync_all::SyncRequest;

use crate::{OfAgent, suite};

const REASON: &str = "to deploy";

fn agent_with_guarded() -> OfAgent {
    let agent = OfAgent::start();
    let holding = Holding {
        // No window opens on the screen of whoever runs the tests.
        pinentry: Some("/nonexistent".into()),
        ..Holding::default()
    };
    let mut client = agent.connect();
    client
        .unlock(&agent.path(), &suite::passphrase(), &holding)
        .unwrap();
    let mut vault = agent.vault();
    for (path, field, value) in [
        ("web/shop", "password", "one"),
        ("web/bank", "password", "two"),
        ("web/bank", "tags", "ask"),
    ] {
        let edit = Edit::Set {
            path: path.to_owned(),
            field: field.to_owned(),
            value: value.to_owned().into(),
        };
        vault.change(&edit, &Consent::none(), &mut |_| {}).unwrap();
    }
    agent
}

/// Makes a call, and answers its question with this decision; whether there was one.
fn with_answer<T: Send>(
    agent: &OfAgent,
    decision: Decision,
    call: impl FnOnce(&mut Client) -> Reply<T> + Send,
) -> (Reply<T>, bool) {
    let (asked, questions) = channel();
    let vault = agent
        .connect()
        .vault(&agent.path(), SyncSettings::default());
    let mut vault = vault
        .unwrap()
        .with_reason(Some(REASON.to_owned()), move |question| {
            asked.send(question.clone()).unwrap();
        });
    thread::scope(|scope| {
        let answerer = scope.spawn(move || {
            let Ok(question) = questions.recv() else {
                return false;
            };
            assert!(question.text.contains(REASON), "{}", question.text);
            let mut client = agent.connect();
            let wrong = client.answer(question.number, Decision::Once, &"wrong".to_owned().into());
            assert_eq!(wrong.unwrap_err().kind, ProblemKind::WrongPassphrase);
            client
                .answer(question.number, decision, &suite::passphrase())
                .unwrap();
            let again = client.answer(question.number, decision, &suite::passphrase());
            drop(again);
            true
        });
        let reply = call(&mut vault);
        drop(vault);
        (reply, answerer.join().unwrap())
    })
}

fn is_refused<T>(reply: Reply<T>) -> bool {
    matches!(reply, Err(Halt::Failed(problem)) if problem.kind == ProblemKind::Cancelled)
}

#[test]
fn a_guarded_record_is_handed_out_after_a_person_agreed() {
    let agent = agent_with_guarded();
    let refused = Decision::Refused;
    let (reply, was_asked) = with_answer(&agent, refused, |vault| vault.record("web/bank"));
    assert!(is_refused(reply) && was_asked);
    let (reply, _) = with_answer(&agent, Decision::Once, |vault| vault.record("web/bank"));
    assert_eq!(*reply.unwrap().field("password").unwrap().value, "two");
    let (reply, was_asked) = with_answer(&agent, refused, |vault| vault.record("web/shop"));
    assert!(reply.is_ok() && !was_asked, "it is not guarded");
}

#[test]
fn no_other_call_gives_a_guarded_record_away() {
    let agent = agent_with_guarded();
    let refused = Decision::Refused;
    let history = |vault: &mut Client| vault.history("web/bank", None);
    assert!(is_refused(with_answer(&agent, refused, history).0));
    let qr = |vault: &mut Client| vault.qr_text("web/bank", None);
    assert!(is_refused(with_answer(&agent, refused, qr).0));
    let export = |vault: &mut Client| vault.export(ExportForm::File(ExportFormat::Csv));
    assert!(is_refused(with_answer(&agent, refused, export).0));
    let folder = tempfile::tempdir().unwrap();
    let send = |vault: &mut Client| {
        vault.set_up_folder(folder.path(), &Sealing::NewKey, &SyncRequest::default())
    };
    assert!(is_refused(with_answer(&agent, refused, send).0));
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    let guess = AuditRules {
        breached: Some("list".into()),
        ..AuditRules::default()
    };
    let audit = |vault: &mut Client| vault.audit(&guess);
    assert!(is_refused(with_answer(&agent, refused, audit).0));
    // It keeps its guard, too.
    for edit in [
        Edit::Unset {
            path: "web/bank".to_owned(),
            field: "tags".to_owned(),
        },
        Edit::Copy {
            from: vec!["web".to_owned()],
            to: "copies".to_owned(),
        },
        Edit::Undo,
    ] {
        let change = |vault: &mut Client| vault.change(&edit, &Consent::none(), &mut |_| {});
        assert!(
            is_refused(with_answer(&agent, refused, change).0),
            "{edit:?}"
        );
    }
    let search = agent.vault().search("two", 9).unwrap();
    assert!(search.is_empty(), "values are not searched");
}

#[test]
fn each_use_is_in_the_log_of_this_device() {
    let agent = agent_with_guarded();
    let (reply, _) = with_answer(&agent, Decision::Refused, |vault| vault.record("web/bank"));
    assert!(is_refused(reply));
    agent.vault().record("web/shop").unwrap();
    let uses = agent.vault().uses().unwrap().entries;
    let uses: Vec<_> = uses
        .iter()
        .map(|entry| (entry.what.as_str(), entry.records.join(","), entry.allowed))
        .collect();
    assert_eq!(
        uses,
        [
            ("read", "web/bank".to_owned(), false),
            ("read", "web/shop".to_owned(), true),
        ]
    );
    let log = std::fs::read(passmate_core::use_log::log_of(&agent.path())).unwrap();
    assert!(!log.windows(8).any(|window| window == b"web/bank"));
}
