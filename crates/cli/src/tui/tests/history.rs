//! Earlier values and deleted records.

use super::*;
use crate::tui::dialog::Dialog;

#[test]
fn an_earlier_value_is_seen_when_asked_for_and_comes_back() {
    let mut pilot = Pilot::new(SMALL);
    pilot.go_to("mail");
    pilot.press(KeyCode::Enter);
    pilot.typed("jebattery\n");
    pilot.typed("h");
    pilot.shows("History of password of mail");
    pilot.hides("hunter2");
    pilot.hides("battery");
    pilot.typed("j ");
    pilot.shows("hunter2");
    pilot.typed("c");
    assert_eq!(pilot.copied(), ["hunter2"]);
    pilot.wait(120);
    pilot.hides("hunter2");
    pilot.typed("\n");
    pilot.shows("Set password of mail to its value");
    pilot.typed("y");
    assert_eq!(pilot.value("mail", "password").unwrap(), "hunter2");
    // The present value does not come back.
    pilot.typed("h\n");
    pilot.shows("this is the present value");
    pilot.press(KeyCode::Esc);
    pilot.hides("History of");
}

#[test]
fn the_history_of_a_record_names_its_fields() {
    let mut pilot = Pilot::new(SMALL);
    pilot.go_to("web/shop");
    pilot.typed("h");
    pilot.shows("History of web/shop");
    pilot.shows("  user: bob");
    pilot.shows("  password: ********");
    pilot.shows("  path: web/shop");
    for secret in ["battery", "GEZDG"] {
        pilot.hides(secret);
    }
    let Some(Dialog::History(history)) = &pilot.state.dialog else {
        panic!("{}", pilot.screen());
    };
    let lines = history.lines(200);
    let path = lines.iter().position(|line| line.text.contains("path: "));
    for _ in 0..path.unwrap() {
        pilot.press(KeyCode::Down);
    }
    pilot.typed("\n");
    pilot.shows("m moves a record");
}

#[test]
fn a_deleted_record_is_brought_back() {
    let mut pilot = Pilot::new(SMALL);
    pilot.typed("D");
    pilot.shows("no record was deleted");
    for path in ["mail", "web/shop"] {
        pilot.go_to(path);
        pilot.typed("dy");
    }
    pilot.typed("D");
    pilot.shows("Deleted records");
    // Both are of one second, or not.
    let Some(Dialog::Trash(trash)) = &mut pilot.state.dialog else {
        panic!("{}", pilot.screen());
    };
    let place = trash.entries.iter().position(|entry| entry.path == "mail");
    trash.selected = place.unwrap();
    pilot.typed("\n");
    pilot.shows("mail is a record again");
    assert_eq!(pilot.state.tree.record(), Some("mail"));
    assert!(pilot.value("web/shop", "user").is_none());
}
