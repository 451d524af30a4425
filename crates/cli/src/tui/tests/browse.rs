//! Looking: the tree, the search, the record, and what is never seen unasked.

use insta::assert_snapshot;
use passmate_core::escape::escape;
use passmate_vault::RecordId;
use passmate_vault::record::{Change, FieldKey, Stamp, Value};
use ratatui::crossterm::event::{MouseButton, MouseEvent, MouseEventKind};

use super::*;

/// All secrets of [`Pilot::new`].
const SECRETS: [&str; 6] = [
    "tr0ub4dor",
    "4711",
    "hunter2",
    "correct horse",
    "battery staple",
    "GEZDG",
];

#[test]
fn the_tree_and_a_record_at_80_columns() {
    let mut pilot = Pilot::new(SMALL);
    pilot.go_to("web/shop");
    assert_snapshot!(pilot.screen());
}

#[test]
fn the_tree_and_a_record_at_200_columns() {
    let mut pilot = Pilot::new(LARGE);
    pilot.go_to("web/forum");
    pilot.press(KeyCode::Enter);
    assert_snapshot!(pilot.screen());
}

#[test]
fn a_narrow_screen_shows_one_part() {
    let mut pilot = Pilot::new((40, 12));
    pilot.go_to("web/shop");
    pilot.shows("▾ web/");
    pilot.hides("shop.example");
    pilot.press(KeyCode::Enter);
    pilot.hides("▾ web/");
    pilot.shows("shop.example");
}

#[test]
fn help_lists_the_keys() {
    let mut pilot = Pilot::new(SMALL);
    pilot.typed("?");
    assert_snapshot!(pilot.screen());
    pilot.press(KeyCode::Esc);
    pilot.hides("Everywhere");
}

#[test]
fn no_secret_is_shown_that_nobody_asked_for() {
    let mut pilot = Pilot::new(LARGE);
    for _ in 0..20 {
        pilot.press(KeyCode::Down);
        pilot.press(KeyCode::Right);
        pilot.press(KeyCode::Down);
        for secret in SECRETS {
            pilot.hides(secret);
        }
        pilot.press(KeyCode::Left);
    }
}

#[test]
fn a_secret_is_hidden_when_its_record_is_left() {
    let mut pilot = Pilot::new(SMALL);
    let reveal = |pilot: &mut Pilot| {
        pilot.go_to("mail");
        pilot.press(KeyCode::Enter);
        pilot.press(KeyCode::Enter);
        pilot.shows("hunter2");
    };
    reveal(&mut pilot);
    pilot.press(KeyCode::Enter);
    pilot.hides("hunter2");
    pilot.press(KeyCode::Esc);
    reveal(&mut pilot);
    pilot.press(KeyCode::Esc);
    pilot.hides("hunter2");
    reveal(&mut pilot);
    pilot.go_to("bank/giro");
    pilot.go_to("mail");
    pilot.hides("hunter2");
}

#[test]
fn an_idle_screen_hides_what_is_revealed() {
    let mut pilot = Pilot::new(SMALL);
    pilot.go_to("mail");
    pilot.press(KeyCode::Enter);
    pilot.press(KeyCode::Down);
    pilot.press(KeyCode::Enter);
    pilot.wait(119);
    pilot.shows("hunter2");
    pilot.wait(1);
    pilot.hides("hunter2");
    pilot.shows("hidden again");
}

#[test]
fn an_idle_screen_forgets_the_vault() {
    let mut pilot = Pilot::new(SMALL);
    pilot.go_to("mail");
    pilot.wait(15 * 60 - 1);
    pilot.shows("mail");
    pilot.wait(1);
    pilot.hides("mail");
    assert!(matches!(pilot.effects.as_slice(), [Effect::Lock]));
    assert_snapshot!(pilot.screen());
}

#[test]
fn a_vault_that_was_locked_elsewhere_is_forgotten() {
    let mut pilot = Pilot::new(SMALL);
    pilot.go_to("mail");
    pilot.is_agent_locked = true;
    pilot.press(KeyCode::Up);
    assert!(matches!(pilot.effects.as_slice(), [Effect::Lock]));
    pilot.shows("The vault is locked");
    for text in ["bank", "giro", "mail", "bob"] {
        pilot.hides(text);
    }
    // Nothing is asked of it meanwhile.
    pilot.wait(1);
    pilot.press(KeyCode::Enter);
    assert!(matches!(
        pilot.effects.as_slice(),
        [Effect::Lock, Effect::Unlock]
    ));
    pilot.is_agent_locked = false;
    pilot.feed(Event::Unlocked);
    pilot.shows("mail");
    // The same record is selected.
    assert_eq!(pilot.state.tree.row().unwrap().path, "bank/giro");
}

#[test]
fn a_vault_that_the_agent_let_go_is_forgotten_at_once() {
    let mut pilot = Pilot::new(SMALL);
    pilot.go_to("mail");
    pilot.typed("n");
    pilot.feed(Event::Locked);
    pilot.hides("mail");
    pilot.shows("The vault is locked");
    pilot.feed(Event::Locked);
    assert!(matches!(pilot.effects.as_slice(), [Effect::Lock]));
}

#[test]
fn what_was_being_typed_is_there_again_when_the_vault_is_unlocked() {
    let mut pilot = Pilot::new(SMALL);
    pilot.go_to("mail");
    pilot.typed("apassword\n");
    pilot.typed("open sesame");
    pilot.control('r');
    pilot.shows("open sesame");
    pilot.feed(Event::Locked);
    pilot.hides("sesame");
    pilot.shows("What you typed is there again when you unlock it.");
    // Keys are not for it meanwhile.
    pilot.typed("x");
    pilot.feed(Event::Unlocked);
    pilot.hides("sesame");
    pilot.press(KeyCode::Enter);
    assert_eq!(pilot.value("mail", "password").unwrap(), "open sesame");
}

#[test]
fn what_the_vault_did_not_take_because_it_was_locked_is_not_lost() {
    let mut pilot = Pilot::new(SMALL);
    pilot.go_to("mail");
    pilot.typed("auser\n");
    pilot.typed("alice");
    pilot.is_agent_locked = true;
    pilot.press(KeyCode::Enter);
    pilot.shows("The vault is locked");
    pilot.is_agent_locked = false;
    pilot.feed(Event::Unlocked);
    pilot.shows("alice");
    pilot.press(KeyCode::Enter);
    assert_eq!(pilot.value("mail", "user").unwrap(), "alice");
}

#[test]
fn a_person_locks_the_vault_for_all_programs() {
    let mut pilot = Pilot::new(SMALL);
    pilot.go_to("mail");
    pilot.typed("L");
    pilot.hides("mail");
    assert!(matches!(pilot.effects.as_slice(), [Effect::LockEverywhere]));
}

#[test]
fn a_search_finds_while_it_is_typed() {
    let mut pilot = Pilot::new(SMALL);
    pilot.typed("/sh");
    assert_snapshot!(pilot.screen());
    pilot.press(KeyCode::Backspace);
    pilot.typed("hop");
    pilot.press(KeyCode::Enter);
    assert_eq!(pilot.state.open.as_ref().unwrap().path(), "web/shop");
    pilot.press(KeyCode::Esc);
    // The list of matches is left after the record.
    assert!(pilot.state.tree.is_list());
    pilot.press(KeyCode::Esc);
    assert!(!pilot.state.tree.is_list());
    assert_eq!(pilot.state.tree.record(), Some("web/shop"));
    pilot.typed("/nothing like it");
    pilot.shows("nothing is found");
    pilot.press(KeyCode::Esc);
    pilot.typed("/hunter2");
    pilot.shows("nothing is found");
    // Keys are letters while a search is typed.
    pilot.press(KeyCode::Esc);
    pilot.typed("/q?");
    assert!(!pilot.has_ended());
    pilot.control('c');
    assert!(pilot.has_ended());
}

#[test]
fn another_search_begins_anew() {
    let mut pilot = Pilot::new(SMALL);
    pilot.typed("/forum\n");
    pilot.typed("/mail\nc");
    assert_eq!(pilot.copied(), ["hunter2"]);
    // A key that types nothing goes on with the old one.
    pilot.typed("/");
    pilot.press(KeyCode::Backspace);
    pilot.shows("Search: mai");
    pilot.typed("l\n/");
    pilot.feed(Event::Paste("giro".to_owned().into()));
    pilot.shows("Search: giro");
    pilot.typed("zzz\nc");
    pilot.shows("nothing is found");
    pilot.shows("no record is selected");
}

#[test]
fn keys_before_the_first_list_wait_for_it() {
    let (dir, session) = vault();
    let mut pilot = Pilot::of(SMALL, dir, session);
    let screen = pilot.state.screen;
    pilot.state = State::new(None, screen, pilot.now);
    let edit = Edit::Add {
        record: RecordText::new("mail", [("user", "bob")]),
    };
    let changed = pilot.vault.change(&edit, &Consent::none(), &mut |_| {});
    assert!(changed.is_ok());
    let calls = pilot.begin(Event::Tick);
    assert!(pilot.without_answers("\nc").is_empty());
    pilot.answer(calls);
    assert_eq!(pilot.copied(), ["bob"]);
}

#[test]
fn a_folder_is_closed_and_opened() {
    let mut pilot = Pilot::new(SMALL);
    pilot.go_to("web/shop");
    pilot.press(KeyCode::Left);
    pilot.press(KeyCode::Left);
    pilot.shows("▸ web/");
    pilot.hides("forum");
    pilot.press(KeyCode::Right);
    pilot.shows("forum");
}

#[test]
fn names_of_records_act_on_no_terminal() {
    const HOSTILE: &str = "x\u{9b}31m\u{202e}\n\u{e0041}\u{1b}[Ay";
    let (dir, mut session) = vault();
    session.edit(|vault, now| {
        let mut insert = |key, text: &str| {
            let (value, stamp) = (Value::Text(text.into()), Stamp::from_seconds(now));
            vault.insert(&RecordId::from("A"), Change { key, value, stamp });
        };
        insert(FieldKey::path(), HOSTILE);
        insert(FieldKey::user("user"), HOSTILE);
        insert(FieldKey::user(HOSTILE), HOSTILE);
    });
    let mut pilot = Pilot::of(SMALL, dir, session);
    pilot.press(KeyCode::Enter);
    pilot.press(KeyCode::Down);
    pilot.press(KeyCode::Enter);
    pilot.shows("\\u{202e}");
    let is_harmless = |pilot: &Pilot| {
        for line in pilot.screen().lines() {
            assert_eq!(line, escape(line));
        }
    };
    is_harmless(&pilot);
    // Nor does what lies over the screen, or what is said about it.
    for keys in [
        "n", "m", "a", "e", "g", "h", " ", "d", "y", "D", "\n", "u", "c", "T", "S", "s",
    ] {
        pilot.typed(keys);
        is_harmless(&pilot);
        if !matches!(keys, "h" | "d" | "D") {
            pilot.press(KeyCode::Esc);
        }
    }
    pilot.state.tree.move_by(1);
    for keys in ["m", "d"] {
        pilot.typed(keys);
        is_harmless(&pilot);
        pilot.press(KeyCode::Esc);
    }
}

#[test]
fn a_click_chooses_and_a_second_one_reveals() {
    let mut pilot = Pilot::new(SMALL);
    let click = |pilot: &mut Pilot, column, row| {
        pilot.feed(Event::Mouse(MouseEvent {
            kind: MouseEventKind::Down(MouseButton::Left),
            column,
            row,
            modifiers: KeyModifiers::NONE,
        }));
    };
    // The third row is `mail`.
    click(&mut pilot, 5, 4);
    assert_eq!(pilot.state.tree.record(), Some("mail"));
    click(&mut pilot, 50, 3);
    pilot.hides("hunter2");
    click(&mut pilot, 50, 3);
    pilot.shows("hunter2");
    click(&mut pilot, 5, 2);
    pilot.hides("hunter2");
    for column in (0..80).step_by(7) {
        for row in 0..24 {
            click(&mut pilot, column, row);
        }
    }
}

#[test]
fn without_colours_the_selected_row_is_still_told() {
    let pilot = Pilot::new(SMALL);
    let plain = pilot.draw(Theme::new(false, Background::Dark));
    assert!(!is_colored(&plain) && is_reversed(&plain));
    let colored = pilot.draw(Theme::new(true, Background::Any));
    assert!(is_colored(&colored));
}

#[test]
fn a_screen_of_any_size_is_drawn() {
    let mut pilot = Pilot::new(SMALL);
    pilot.go_to("web/forum");
    pilot.press(KeyCode::Enter);
    for width in [0, 1, 2, 3, 10, 59, 60, 61, 300] {
        for height in [0, 1, 2, 3, 5, 30] {
            pilot.feed(Event::Resize(Rect::new(0, 0, width, height)));
            pilot.screen();
            pilot.typed("?");
            pilot.screen();
            pilot.press(KeyCode::Esc);
        }
    }
}
