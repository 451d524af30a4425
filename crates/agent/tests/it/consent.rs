//! A guarded record is handed out after a person agreed, and each use is logged.

use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::mpsc::channel;
use std::thread;
use std::time::{Duration, Instant};

use passmate_agent::client::Client;
use passmate_agent::dialogs::Decision;
use passmate_core::answer::{Consent, Halt, Need, Reply};
use passmate_core::api::VaultApi;
use passmate_core::audit::AuditRules;
use passmate_core::edit::Edit;
use passmate_core::export::ExportForm;
use passmate_core::interchange::ExportFormat;
use passmate_core::problem::ProblemKind;
use passmate_core::records::RecordContent;
use passmate_core::session::Session;
use passmate_core::settings::{Holding, SyncSettings};
use passmate_core::shared_folder::Sealing;
use passmate_core::sync_all::SyncRequest;
use passmate_vault::Passphrase;

use crate::{OfAgent, location, suite};

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
            let wrong = client.answer(
                question.number,
                Decision::Once,
                Some(&"wrong".to_owned().into()),
            );
            assert_eq!(wrong.unwrap_err().kind, ProblemKind::WrongPassphrase);
            client
                .answer(question.number, decision, Some(&suite::passphrase()))
                .unwrap();
            let again = client.answer(question.number, decision, Some(&suite::passphrase()));
            drop(again);
            true
        });
        let reply = call(&mut vault);
        drop(vault);
        (reply, answerer.join().unwrap())
    })
}

/// Lets the agent ask by a program that does this for the question, after it told its process through
/// the pipe that is returned.
fn with_window(agent: &OfAgent, confirm: &str) -> PathBuf {
    let consent_passphrase = false;
    with_window_for(agent, "CONFIRM", confirm, consent_passphrase)
}

/// The same for another request of the agent.
fn with_window_for(
    agent: &OfAgent,
    request: &str,
    confirm: &str,
    consent_passphrase: bool,
) -> PathBuf {
    let pipe = agent.dir.path().join("pid");
    let made = Command::new("mkfifo").arg(&pipe).status().unwrap();
    assert!(made.success());
    let program = agent.dir.path().join("pinentry");
    let script = format!(
        "#!/bin/sh\necho OK\nwhile read -r command rest; do case $command in\n{request}) echo $$ > \
         '{}'; {confirm};;\nBYE) echo OK; exit;;\n*) echo OK;;\nesac done\n",
        pipe.display()
    );
    fs::write(&program, script).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    let holding = Holding {
        pinentry: Some(program),
        consent_passphrase,
        ..Holding::default()
    };
    let mut client = agent.connect();
    client
        .unlock(&agent.path(), &suite::passphrase(), &holding)
        .unwrap();
    pipe
}

/// Reads the guarded record, while `meanwhile` gets the process that asks.
fn read_while(agent: &OfAgent, pipe: &Path, meanwhile: impl FnOnce(&str)) -> Reply<RecordContent> {
    thread::scope(|scope| {
        let reader = scope.spawn(|| agent.vault().record("web/bank"));
        let process = fs::read_to_string(pipe).unwrap();
        meanwhile(process.trim());
        reader.join().unwrap()
    })
}

fn refuse_waiting(agent: &OfAgent) {
    let mut client = agent.connect();
    let number = client.questions().unwrap().first().unwrap().number;
    let answered = client.answer(number, Decision::Refused, None);
    answered.unwrap();
}

#[test]
fn a_window_answers_and_is_named_in_the_question() {
    let agent = agent_with_guarded();
    let pipe = with_window(&agent, "echo OK");
    let read = read_while(&agent, &pipe, |_| {
        let waiting = agent.connect().questions().unwrap();
        assert!(waiting.iter().all(|question| question.has_window));
    });
    assert!(read.is_ok());
}

#[test]
fn a_window_that_wants_the_passphrase_takes_no_other_yes() {
    let agent = agent_with_guarded();
    let typed = String::from_utf8(suite::passphrase().as_bytes().to_vec()).unwrap();
    let pipe = with_window_for(
        &agent,
        "GETPIN",
        &format!("echo 'D {typed}'; echo OK"),
        true,
    );
    assert!(read_while(&agent, &pipe, |_| {}).is_ok());
    let agent = agent_with_guarded();
    let pipe = with_window_for(&agent, "GETPIN", "echo 'D wrong'; echo OK", true);
    let read = read_while(&agent, &pipe, |_| {
        for _ in 0..2 {
            fs::read_to_string(&pipe).unwrap();
        }
        refuse_waiting(&agent);
    });
    assert!(is_refused(read));
}

#[test]
fn nobody_answers_in_the_place_of_the_window() {
    let agent = agent_with_guarded();
    let pipe = with_window(&agent, "exec sleep 1000");
    let read = read_while(&agent, &pipe, |process| {
        for number in [0, 1] {
            let place = format!("/proc/{process}/fd/{number}");
            if let Ok(mut file) = fs::File::options().write(true).open(place) {
                let _ = file.write_all(b"OK\n");
            }
        }
        let killed = Command::new("kill").args(["-9", process]).status();
        assert!(killed.unwrap().success());
        refuse_waiting(&agent);
    });
    assert!(is_refused(read));
}

#[test]
fn an_answer_of_a_window_that_fails_counts_for_nothing() {
    let agent = agent_with_guarded();
    let pipe = with_window(&agent, "echo OK; exit 1");
    let read = read_while(&agent, &pipe, |_| refuse_waiting(&agent));
    assert!(is_refused(read));
}

#[test]
fn a_window_closes_when_its_question_was_answered_elsewhere() {
    let agent = agent_with_guarded();
    let pipe = with_window(&agent, "exec sleep 1000");
    let mut program = String::new();
    let read = read_while(&agent, &pipe, |process| {
        program = format!("/proc/{process}");
        refuse_waiting(&agent);
    });
    assert!(is_refused(read));
    let until = Instant::now() + Duration::from_secs(30);
    while Path::new(&program).exists() {
        assert!(Instant::now() < until);
        thread::yield_now();
    }
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
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
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
fn a_change_whose_client_has_gone_is_logged() {
    let agent = agent_with_guarded();
    let lock = fs::File::create(agent.path().with_extension("pmdb.lock")).unwrap();
    let uses = || agent.vault().uses().unwrap().entries;
    // On a slow machine, the client may have gone before the agent noticed the agreement.
    let is_logged = (0..10).any(|number| {
        let before = uses().len();
        // The save waits for the lock, so that the client has gone before it can be told.
        lock.lock().unwrap();
        let (asked, questions) = channel();
        let client = agent.connect();
        let mut vault = client
            .vault(&agent.path(), SyncSettings::default())
            .unwrap()
            .with_reason(None, move |question| asked.send(question.number).unwrap());
        let breaker = vault.breaker().unwrap();
        let edit = Edit::Set {
            path: "web/bank".to_owned(),
            field: "password".to_owned(),
            value: format!("value {number}").into(),
        };
        thread::scope(|scope| {
            let call = scope.spawn(move || vault.change(&edit, &Consent::none(), &mut |_| {}));
            let question = questions.recv().unwrap();
            let mut client = agent.connect();
            client
                .answer(question, Decision::Once, Some(&suite::passphrase()))
                .unwrap();
            thread::sleep(Duration::from_millis(300));
            breaker.break_off();
            assert!(call.join().unwrap().is_err());
        });
        lock.unlock().unwrap();
        let begun = Instant::now();
        while begun.elapsed() < Duration::from_secs(3) && uses().len() == before {
            thread::sleep(Duration::from_millis(20));
        }
        uses().last().is_some_and(|entry| entry.allowed)
    });
    assert!(is_logged);
}

#[test]
fn each_use_is_in_the_log_of_this_device() {
    let agent = agent_with_guarded();
    let (reply, _) = with_answer(&agent, Decision::Refused, |vault| vault.record("web/bank"));
    assert!(is_refused(reply));
    agent.vault().record("web/shop").unwrap();
    // What was not handed out is not told of, and a record goes by its path.
    assert!(agent.vault().record("web/never").is_err());
    assert!(agent.vault().one_time_code("web/shop", None).is_err());
    assert!(agent.vault().one_time_code("web/never", None).is_err());
    let id = agent.vault().record("web/shop").unwrap().id;
    agent.vault().history(&id, None).unwrap();
    let undo = |vault: &mut Client| vault.change(&Edit::Undo, &Consent::none(), &mut |_| {});
    assert!(is_refused(with_answer(&agent, Decision::Refused, undo).0));
    let export = |vault: &mut Client| vault.export(ExportForm::File(ExportFormat::Csv));
    assert!(with_answer(&agent, Decision::Once, export).0.is_ok());
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
            ("read", "web/shop".to_owned(), true),
            ("read the history of", "web/shop".to_owned(), true),
            (
                "undo something that may concern",
                "web/bank".to_owned(),
                false
            ),
            ("export the whole vault with", "web/bank".to_owned(), true),
        ]
    );
    let log = fs::read(passmate_core::use_log::log_of(&agent.path())).unwrap();
    assert!(!log.windows(8).any(|window| window == b"web/bank"));
}

#[test]
fn a_call_that_asks_something_else_first_needs_one_agreement() {
    let agent = agent_with_guarded();
    let delete = Edit::Delete {
        paths: vec!["web/".to_owned()],
    };
    let without = |vault: &mut Client| vault.change(&delete, &Consent::none(), &mut |_| {});
    let (reply, was_asked) = with_answer(&agent, Decision::Once, without);
    assert!(matches!(reply, Err(Halt::Needs(_))) && was_asked);
    let sure = Consent::to_everything();
    let with = |vault: &mut Client| vault.change(&delete, &sure, &mut |_| {});
    let (reply, was_asked) = with_answer(&agent, Decision::Refused, with);
    assert!(reply.is_ok() && !was_asked);
    // It is used up.
    let (reply, was_asked) = with_answer(&agent, Decision::Refused, |vault| {
        vault.history("web/bank", None)
    });
    assert!(is_refused(reply) && was_asked);
    let undelete = Edit::Undelete {
        path: "web/bank".to_owned(),
        to: None,
    };
    let undelete = |vault: &mut Client| vault.change(&undelete, &sure, &mut |_| {});
    let (reply, was_asked) = with_answer(&agent, Decision::Refused, undelete);
    assert!(is_refused(reply) && was_asked);
}

#[test]
fn whoever_lets_a_sync_take_a_guard_is_asked() {
    let agent = agent_with_guarded();
    let folder = tempfile::tempdir().unwrap();
    let set_up = |vault: &mut Client| {
        vault.set_up_folder(folder.path(), &Sealing::NewKey, &SyncRequest::default())
    };
    assert!(with_answer(&agent, Decision::Once, set_up).0.is_ok());
    let key = with_answer(&agent, Decision::Once, |vault| vault.folder_key());
    // Another device, on which nobody guards anything.
    let dir = tempfile::tempdir().unwrap();
    let other = location(dir.path().join("other.pmdb"));
    let mut other = Session::create(other, suite::passphrase()).unwrap();
    let (sealing, request) = (Sealing::Key(key.0.unwrap()), SyncRequest::default());
    let synced = other.set_up_folder(folder.path(), &sealing, &request);
    synced.unwrap().result.unwrap();
    let unset = Edit::Unset {
        path: "web/bank".to_owned(),
        field: "tags".to_owned(),
    };
    VaultApi::change(&mut other, &unset, &Consent::none(), &mut |_| {}).unwrap();
    VaultApi::sync(&mut other, &request).unwrap();
    let answer = agent.vault().sync(&request).unwrap();
    let Some(Need::Confirmation(question)) = answer.need() else {
        panic!("{answer:?}");
    };
    let mut request = SyncRequest::default();
    request.consent.give(question.clone());
    let sync = |vault: &mut Client| vault.sync(&request);
    let (reply, was_asked) = with_answer(&agent, Decision::Refused, sync);
    assert!(is_refused(reply) && was_asked);
    let is_guarded = || {
        let mut list = agent.vault().list().unwrap().into_iter();
        list.any(|entry| entry.guarded)
    };
    assert!(is_guarded());
    let (reply, was_asked) = with_answer(&agent, Decision::Once, sync);
    assert!(reply.unwrap().need().is_none() && was_asked);
    assert!(!is_guarded());
}

#[test]
fn the_passphrase_of_another_vault_in_the_place_of_the_file_agrees_to_nothing() {
    let agent = agent_with_guarded();
    let (asked, questions) = channel();
    let vault = agent
        .connect()
        .vault(&agent.path(), SyncSettings::default());
    let mut vault = vault.unwrap().with_reason(None, move |question| {
        asked.send(question.clone()).unwrap();
    });
    let dir = tempfile::tempdir().unwrap();
    let (own, saved) = (dir.path().join("own.pmdb"), dir.path().join("saved.pmdb"));
    let passphrase = || Passphrase::from("of the attacker".to_owned());
    drop(Session::create(location(own.clone()), passphrase()).unwrap());
    let agent = &agent;
    let reply = thread::scope(|scope| {
        let answerer = scope.spawn(move || {
            let question = questions.recv().unwrap();
            fs::rename(agent.path(), &saved).unwrap();
            fs::copy(&own, agent.path()).unwrap();
            let mut client = agent.connect();
            let attacker = passphrase();
            let agreed = client.answer(question.number, Decision::Once, Some(&attacker));
            fs::rename(&saved, agent.path()).unwrap();
            let _ = client.answer(question.number, Decision::Refused, None);
            agreed
        });
        let reply = vault.record("web/bank");
        assert!(answerer.join().unwrap().is_err());
        reply
    });
    assert!(reply.is_err());
}
