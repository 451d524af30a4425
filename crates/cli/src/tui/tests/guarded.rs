//! Guarded records: nobody is asked for what a person only passes, and a question keeps nothing else
//! waiting.

use passmate_core::problem::{Problem, ProblemKind};

use super::*;

const QUESTION: &str = "a person must agree: /bin/bash (process 7) wants to read web/bank.";

fn pilot() -> Pilot {
    let shop: &[_] = &[("user", "bob"), ("password", "battery staple")];
    let bank: &[_] = &[
        ("otp", "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ"),
        ("password", "hunter2"),
        ("tags", "ask"),
        ("user", "carol"),
    ];
    Pilot::with(SMALL, &[("web/bank", bank), ("web/shop", shop)])
}

/// Presses a key, by which a person is asked; the call that waits for the answer.
fn ask(pilot: &mut Pilot, code: KeyCode) -> Call {
    let mut calls = pilot.begin(Event::Key(KeyEvent::from(code)));
    let call = calls.pop().unwrap();
    assert!(calls.is_empty());
    pilot.feed(Event::Asking(QUESTION.to_owned()));
    assert!(pilot.has(|effect| matches!(effect, Effect::SetAside)));
    call
}

fn agree(pilot: &mut Pilot, call: Call) {
    let answer = call.make(&mut *pilot.vault);
    pilot.feed(Event::PendingDone(Box::new(Done { call, answer })));
}

impl Pilot {
    fn has(&self, is_it: fn(&Effect) -> bool) -> bool {
        self.effects.iter().any(is_it)
    }
}

#[test]
fn a_guarded_record_is_read_only_when_a_person_opens_it() {
    let mut pilot = pilot();
    for _ in 0..2 {
        pilot.go_to("web/bank");
        pilot.shows("guarded: Enter asks for it");
        pilot.hides("carol");
        pilot.wait(60);
        pilot.typed("mx");
        pilot.press(KeyCode::Esc);
        pilot.hides("carol");
        pilot.press(KeyCode::Enter);
        pilot.shows("carol");
        // It is not read again for its age.
        pilot.wait(60);
        let calls = pilot.begin(Event::Key(KeyEvent::from(KeyCode::Down)));
        assert!(!calls.iter().any(|call| matches!(call, Call::Record { .. })));
        pilot.answer(calls);
        pilot.press(KeyCode::Esc);
        pilot.go_to("web/shop");
        pilot.shows("bob");
    }
}

#[test]
fn a_question_is_in_the_note_and_other_records_go_on() {
    let mut pilot = pilot();
    pilot.go_to("web/bank");
    let call = ask(&mut pilot, KeyCode::Enter);
    pilot.shows("wants to read web/bank. Esc");
    pilot.shows("guarded: a person is asked");
    // It stays there whatever the person does meanwhile.
    pilot.typed("?");
    pilot.press(KeyCode::Esc);
    pilot.shows("withdraws it.");
    assert!(!pilot.has(|effect| matches!(effect, Effect::Withdraw)));
    pilot.press(KeyCode::Down);
    pilot.shows("bob");
    pilot.hides("withdraws");
    assert!(pilot.has(|effect| matches!(effect, Effect::Withdraw)));
    // An answer that comes too late opens nothing.
    agree(&mut pilot, call);
    pilot.shows("bob");
    pilot.go_to("web/bank");
    pilot.hides("carol");
}

#[test]
fn what_a_key_does_with_a_guarded_record_follows_the_agreement() {
    let mut pilot = pilot();
    pilot.go_to("web/bank");
    let call = ask(&mut pilot, KeyCode::Char('c'));
    assert!(pilot.copied().is_empty());
    agree(&mut pilot, call);
    assert_eq!(pilot.copied(), ["hunter2"]);
    pilot.go_to("web/shop");
    pilot.typed("/bank");
    let call = ask(&mut pilot, KeyCode::Enter);
    agree(&mut pilot, call);
    assert_eq!(pilot.state.focus, crate::tui::state::Focus::Record);
    pilot.press(KeyCode::Down);
    pilot.press(KeyCode::Char('c'));
    assert_eq!(pilot.copied().len(), 2);
}

#[test]
fn a_refused_or_withdrawn_question_leaves_the_record_shut() {
    let mut pilot = pilot();
    pilot.go_to("web/bank");
    let call = ask(&mut pilot, KeyCode::Enter);
    let problem = Problem::new(ProblemKind::Cancelled, "a person refused", "nothing");
    let answer = Err(Halt::Failed(problem));
    pilot.feed(Event::PendingDone(Box::new(Done { call, answer })));
    pilot.shows("a person refused");
    pilot.shows("guarded: Enter asks for it");
    ask(&mut pilot, KeyCode::Enter);
    pilot.press(KeyCode::Esc);
    pilot.shows("the question was withdrawn");
    pilot.shows("guarded: Enter asks for it");
    assert!(pilot.has(|effect| matches!(effect, Effect::Withdraw)));
    assert!(!pilot.has_ended());
}

#[test]
fn one_question_waits_at_a_time_and_nothing_typed_is_lost() {
    let mut pilot = pilot();
    pilot.go_to("web/bank");
    pilot.typed("apin\n0815");
    let call = ask(&mut pilot, KeyCode::Enter);
    assert!(call.is_change());
    pilot.press(KeyCode::Esc);
    pilot.shows("pin of web/bank");
    let call = ask(&mut pilot, KeyCode::Enter);
    // The change waits also when its record is left.
    pilot.state.dialog = None;
    pilot.press(KeyCode::Down);
    pilot.typed("d");
    pilot.begin(Event::Key(KeyEvent::from(KeyCode::Char('y'))));
    pilot.feed(Event::Asking("Another one?".to_owned()));
    pilot.shows("another question waits for an answer");
    assert!(pilot.has(|effect| matches!(effect, Effect::Replace)));
    agree(&mut pilot, call);
    assert_eq!(pilot.value("web/bank", "pin").unwrap(), "0815");
    assert!(pilot.value("web/shop", "user").is_some());
}

#[test]
fn a_late_code_of_a_guarded_record_is_hidden_and_not_asked_for() {
    let mut pilot = pilot();
    pilot.go_to("web/bank");
    pilot.press(KeyCode::Enter);
    pilot.typed("t");
    pilot.shows(" s");
    pilot.wait(40);
    assert!(!pilot.state.is_lively());
}
