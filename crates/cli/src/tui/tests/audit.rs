//! What an audit finds, and the way from there to the records.

use insta::assert_snapshot;

use super::*;
use crate::tui::state::Focus;

fn pilot(size: (u16, u16)) -> Pilot {
    let strong = "Kx7-vTq2-mWz9-pLd4";
    Pilot::with(
        size,
        &[
            (
                "bank/giro",
                &[("password", strong), ("url", "https://bank.example")],
            ),
            ("mail", &[("password", strong), ("user", "bob")]),
            (
                "web/forum",
                &[("password", "hunter2"), ("url", "http://forum.example/")],
            ),
            ("web/guarded", &[("password", "letmein"), ("tags", "ask")]),
            (
                "web/shop",
                &[("password", "aJ8-uRf3-nBc6-yHs1"), ("password 2", "shop")],
            ),
        ],
    )
}

#[test]
fn the_findings_at_80_columns() {
    let mut pilot = pilot(SMALL);
    pilot.typed("A");
    assert_snapshot!(pilot.screen());
}

#[test]
fn the_findings_at_200_columns() {
    let mut pilot = pilot(LARGE);
    pilot.typed("A");
    pilot.press(KeyCode::End);
    assert_snapshot!(pilot.screen());
}

#[test]
fn enter_goes_from_a_finding_to_its_field() {
    let mut pilot = pilot(SMALL);
    pilot.typed("/mail");
    pilot.press(KeyCode::Enter);
    pilot.typed("A");
    pilot.shows("reused");
    for secret in ["Kx7", "hunter2", "letmein"] {
        pilot.hides(secret);
    }
    let is_at = |pilot: &Pilot, path, field| {
        let open = pilot.state.open.as_ref().unwrap();
        assert_eq!(
            (open.path(), open.field().unwrap().name.as_str()),
            (path, field)
        );
        assert_eq!(pilot.state.focus, Focus::Record);
    };
    pilot.press(KeyCode::Enter);
    is_at(&pilot, "bank/giro", "password");
    pilot.typed("A");
    pilot.press(KeyCode::End);
    pilot.press(KeyCode::Enter);
    is_at(&pilot, "web/forum", "url");
    // A person is asked for a guarded one.
    pilot.typed("A");
    let place = pilot.screen();
    let place = place.lines().position(|line| line.contains("web/guarded"));
    assert!(place.is_some());
    while !pilot.is_guarded_selected() {
        pilot.press(KeyCode::Down);
    }
    let calls = pilot.begin(Event::Key(KeyEvent::from(KeyCode::Enter)));
    assert!(pilot.state.open.is_none());
    pilot.answer(calls);
    is_at(&pilot, "web/guarded", "password");
    pilot.press(KeyCode::Esc);
    pilot.typed("A");
    pilot.press(KeyCode::Esc);
    pilot.hides("finding");
}

#[test]
fn an_audit_that_finds_nothing_says_so() {
    let mut pilot = Pilot::with(SMALL, &[("mail", &[("user", "bob")])]);
    pilot.typed("A");
    pilot.shows("nothing was found in 0 passwords of 1 record");
}

impl Pilot {
    fn is_guarded_selected(&self) -> bool {
        let Some(crate::tui::dialog::Dialog::Findings(findings)) = &self.state.dialog else {
            panic!("no findings");
        };
        let line = findings.lines(findings.selected()).next();
        line.unwrap().contains("web/guarded")
    }
}
