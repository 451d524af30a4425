//! The clipboard and one-time codes.

use insta::assert_snapshot;

use super::*;

#[test]
fn a_password_is_copied_without_being_shown() {
    let mut pilot = Pilot::new(SMALL);
    pilot.go_to("mail");
    pilot.typed("c");
    assert_eq!(pilot.copied(), ["hunter2"]);
    pilot.hides("hunter2");
    assert_snapshot!(pilot.screen());
    pilot.wait(44);
    pilot.shows("for 1 s");
    assert!(!pilot.has_cleared());
    pilot.wait(1);
    pilot.hides("clipboard");
    assert!(pilot.has_cleared());
}

#[test]
fn the_screen_counts_the_time_that_the_clipboard_keeps_a_value() {
    let mut pilot = Pilot::new(SMALL);
    pilot.keeps = Duration::from_secs(120);
    pilot.go_to("mail");
    pilot.typed("c");
    pilot.shows("taken away in 120 s");
    pilot.wait(119);
    pilot.shows("for 1 s");
    pilot.wait(1);
    pilot.hides("clipboard");
}

#[test]
fn what_was_copied_is_taken_away_at_the_end() {
    let mut pilot = Pilot::new(SMALL);
    pilot.go_to("mail");
    pilot.typed("bq");
    assert_eq!(pilot.copied(), ["bob@example.org"]);
    assert!(pilot.has_cleared() && pilot.has_ended());
}

#[test]
fn the_selected_field_is_copied() {
    let mut pilot = Pilot::new(SMALL);
    pilot.go_to("bank/giro");
    pilot.press(KeyCode::Enter);
    pilot.press(KeyCode::End);
    pilot.typed("c");
    assert_eq!(pilot.copied(), ["4711"]);
    pilot.go_to("web/forum");
    pilot.typed("T");
    pilot.shows("no field for one-time codes");
}

#[test]
fn a_one_time_code_is_shown_with_its_ring_and_follows_the_time() {
    let mut pilot = Pilot::new(SMALL);
    pilot.go_to("web/shop");
    let line = |pilot: &Pilot| {
        let screen = pilot.screen();
        let line = screen.lines().find(|line| line.contains("code  "));
        line.unwrap()
            .split("code")
            .nth(1)
            .unwrap()
            .trim()
            .to_owned()
    };
    assert!(line(&pilot).starts_with("********"));
    pilot.typed("t");
    let shown = line(&pilot);
    let digits: String = shown.chars().filter(char::is_ascii_digit).take(6).collect();
    assert_eq!(digits.len(), 6, "{shown}");
    assert!(
        shown.contains(['◔', '◑', '◕', '●']) && shown.contains(" s"),
        "{shown}"
    );
    // The next one comes by itself.
    pilot.wait(40);
    assert!(line(&pilot).contains(" s"));
    pilot.typed("t");
    assert!(line(&pilot).starts_with("********"));
    pilot.typed("T");
    assert_eq!(pilot.copied()[0].len(), 6);
}

#[test]
fn keys_that_are_typed_ahead_wait_for_what_they_act_on() {
    let mut pilot = Pilot::new(SMALL);
    // The vault answers nothing meanwhile.
    let calls = pilot.without_answers("/shop");
    let more = pilot.without_answers("\nc");
    assert!(pilot.copied().is_empty() && more.is_empty());
    pilot.answer(calls);
    assert_eq!(pilot.copied(), ["battery staple"]);
    // Escape is for now, and not for later.
    pilot.press(KeyCode::Esc);
    pilot.press(KeyCode::Esc);
    let calls = pilot.without_answers("/mail");
    pilot.without_answers("\nc");
    pilot.press(KeyCode::Esc);
    pilot.answer(calls);
    assert_eq!(pilot.copied().len(), 1);
}
