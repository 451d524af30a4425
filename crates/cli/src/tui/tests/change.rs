//! Changing records.

use insta::assert_snapshot;

use super::*;

#[test]
fn a_new_record_is_made_beside_the_selected_one_and_filled() {
    let mut pilot = Pilot::new(SMALL);
    pilot.go_to("web/shop");
    pilot.typed("n");
    assert_snapshot!(pilot.screen());
    pilot.typed("wiki\n");
    pilot.press(KeyCode::End);
    pilot.typed("\n");
    assert_eq!(pilot.state.tree.record(), Some("web/wiki"));
    pilot.typed("auser\nalice\n");
    assert_eq!(pilot.value("web/wiki", "user").unwrap(), "alice");
    pilot.shows("alice");
    pilot.typed("apassword\n");
    pilot.typed("open sesame");
    pilot.hides("sesame");
    pilot.shows("•••••••••••");
    pilot.control('r');
    pilot.shows("open sesame");
    pilot.press(KeyCode::Enter);
    assert_eq!(pilot.value("web/wiki", "password").unwrap(), "open sesame");
    pilot.hides("sesame");
}

#[test]
fn a_new_login_is_typed_field_by_field_and_made_at_once() {
    let mut pilot = Pilot::new(SMALL);
    pilot.go_to("web/shop");
    pilot.typed("nwiki\n");
    assert_snapshot!(pilot.screen());
    pilot.typed("\n");
    pilot.shows("url of web/wiki");
    pilot.typed("https://wiki.example\n\n");
    pilot.shows("password of web/wiki");
    pilot.typed("open sesame");
    pilot.hides("sesame");
    assert!(pilot.value("web/wiki", "url").is_none());
    // A secret of one-time codes that is none is told, and stays to be mended.
    pilot.typed("\nno secret!\n");
    pilot.shows("makes no one-time codes");
    pilot.control('u');
    pilot.typed("\n");
    assert_eq!(pilot.state.tree.record(), Some("web/wiki"));
    assert_eq!(
        pilot.value("web/wiki", "url").unwrap(),
        "https://wiki.example"
    );
    assert_eq!(pilot.value("web/wiki", "password").unwrap(), "open sesame");
    assert!(pilot.value("web/wiki", "user").is_none());
    pilot.typed("u");
    assert!(
        pilot.value("web/wiki", "url").is_none(),
        "it was one change"
    );
    // Without a value nothing is made.
    pilot.typed("nnone\n\n\n\n\n\n");
    pilot.shows("nothing was made");
}

#[test]
fn a_paste_with_a_line_feed_ends_no_line() {
    let mut pilot = Pilot::new(SMALL);
    pilot.go_to("mail");
    pilot.typed("e");
    pilot.feed(Event::Paste("one\n\ntwo\n".to_owned().into()));
    assert_eq!(pilot.value("mail", "password").unwrap(), "hunter2");
    pilot.press(KeyCode::Enter);
    assert_eq!(pilot.value("mail", "password").unwrap(), "one  two");
}

#[test]
fn a_field_is_edited_in_its_place() {
    let mut pilot = Pilot::new(SMALL);
    pilot.go_to("mail");
    pilot.press(KeyCode::Enter);
    pilot.press(KeyCode::Home);
    // What everybody may see is there to be changed.
    pilot.typed("e.uk\n");
    assert_eq!(pilot.value("mail", "user").unwrap(), "bob@example.org.uk");
    // A secret is typed anew.
    pilot.press(KeyCode::Down);
    pilot.typed("e");
    assert_snapshot!(pilot.screen());
    pilot.typed("\n");
    pilot.shows("x does that");
    pilot.press(KeyCode::Esc);
    assert_eq!(pilot.value("mail", "password").unwrap(), "hunter2");
    // One that is revealed is there to be changed too.
    pilot.press(KeyCode::Enter);
    pilot.typed("e3\n");
    assert_eq!(pilot.value("mail", "password").unwrap(), "hunter23");
    // It is of the vault, so a lock takes it away, unlike what was typed.
    pilot.typed("e");
    pilot.shows("hunter23");
    pilot.feed(Event::Locked);
    pilot.hides("What you typed");
    pilot.feed(Event::Unlocked);
    pilot.hides("password of mail");
}

#[test]
fn what_was_typed_stays_when_the_vault_refuses_it() {
    let mut pilot = Pilot::new(SMALL);
    pilot.go_to("mail");
    pilot.typed("aotp\nno secret!\n");
    pilot.shows("makes no one-time codes");
    pilot.shows("••••••••••");
    pilot.press(KeyCode::Esc);
    pilot.typed("n\n");
    pilot.shows("type a name");
    pilot.typed("mail\n");
    pilot.shows("already a record mail");
    pilot.typed("2\n");
    pilot.press(KeyCode::End);
    pilot.typed("\n");
    pilot.shows("made mail2");
}

#[test]
fn a_deletion_wants_a_yes_and_is_undone() {
    let mut pilot = Pilot::new(SMALL);
    pilot.go_to("web/shop");
    pilot.typed("d");
    assert_snapshot!(pilot.screen());
    pilot.typed("n");
    pilot.go_to("web/shop");
    pilot.typed("dy");
    assert!(pilot.value("web/shop", "user").is_none());
    pilot.shows("deleted web/shop");
    pilot.hides("shop.example");
    pilot.typed("u");
    pilot.shows("undid: delete web/shop");
    assert!(pilot.value("web/shop", "user").is_some());
    pilot.typed("U");
    pilot.shows("redid: delete web/shop");
    for _ in 0..10 {
        pilot.typed("u");
    }
    pilot.shows("nothing to undo");
}

#[test]
fn a_folder_moves_with_its_records() {
    let mut pilot = Pilot::new(SMALL);
    pilot.go_to("web/shop");
    pilot.press(KeyCode::Left);
    pilot.typed("m");
    pilot.shows("New path of web/");
    pilot.typed("site\n");
    assert!(pilot.value("website/shop", "user").is_some());
    assert_eq!(pilot.state.tree.record(), Some("website/forum"));
    pilot.typed("dy");
    assert!(pilot.value("website/forum", "user").is_none());
}

#[test]
fn a_field_is_unset_and_comes_back() {
    let mut pilot = Pilot::new(SMALL);
    pilot.go_to("bank/giro");
    pilot.typed("xy");
    assert!(
        pilot.value("bank/giro", "user").is_some(),
        "no field is selected"
    );
    pilot.press(KeyCode::Enter);
    pilot.press(KeyCode::End);
    pilot.typed("xy");
    assert!(pilot.value("bank/giro", "pin").is_none());
    pilot.typed("u");
    assert_eq!(pilot.value("bank/giro", "pin").unwrap(), "4711");
}

#[test]
fn a_generated_password_is_masked_and_follows_the_rule_of_its_record() {
    let mut pilot = Pilot::new(SMALL);
    pilot.go_to("mail");
    pilot.typed("g");
    pilot.shows("********");
    pilot.shows("bits of entropy");
    pilot.typed("\t");
    pilot.shows("20 characters of all kinds");
    pilot.typed("++-");
    pilot.shows("21 characters");
    pilot.typed("\t\t");
    pilot.shows("letters and a digit");
    pilot.press(KeyCode::Enter);
    assert_eq!(pilot.value("mail", "password").unwrap().len(), 15);
    pilot.typed("apassword rule\nmaxlength: 8; required: digit;\n");
    pilot.typed("g");
    pilot.shows("by the rule of this record");
    pilot.typed("r\n");
    let made = pilot.value("mail", "password").unwrap();
    assert_eq!(made.len(), 8);
    pilot.hides(&made);
    // Not into a field that is none.
    pilot.go_to("web/shop");
    pilot.press(KeyCode::Enter);
    pilot.typed("jjg");
    pilot.shows("Generate password");
}

#[test]
fn a_code_that_counts_is_used_up_after_a_yes() {
    const OTP: &str = "otpauth://hotp/x?secret=GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ&counter=0";
    let mut pilot = Pilot::with(SMALL, &[("bank", &[("otp", OTP)])]);
    pilot.typed("t");
    pilot.shows("follow a counter");
    pilot.typed("n");
    assert_eq!(pilot.value("bank", "otp").unwrap(), OTP);
    pilot.typed("ty");
    pilot.shows("755 224");
    assert!(pilot.value("bank", "otp").unwrap().contains("counter=1"));
    pilot.typed("t");
    pilot.hides("755 224");
}

#[test]
fn the_program_ends_after_a_change_is_saved() {
    let mut pilot = Pilot::new(SMALL);
    pilot.go_to("mail");
    pilot.typed("e1");
    let calls = pilot.without_answers("\n");
    pilot.control('c');
    assert!(!pilot.has_ended());
    pilot.answer(calls);
    assert!(pilot.has_ended());
    assert_eq!(pilot.value("mail", "password").unwrap(), "1");
    // Who wants it at once gets it at once.
    let mut pilot = Pilot::new(SMALL);
    pilot.go_to("mail");
    pilot.typed("e1");
    pilot.without_answers("\n");
    pilot.control('c');
    pilot.control('c');
    assert!(pilot.has_ended());
}

#[test]
fn the_editor_gets_the_vault_once_it_is_free() {
    let mut pilot = Pilot::new(SMALL);
    pilot.go_to("mail");
    let calls = pilot.without_answers("sE");
    assert!(pilot.effects.is_empty());
    pilot.answer(calls);
    assert!(matches!(pilot.effects.as_slice(), [Effect::Edit(path)] if path == "mail"));
    pilot.feed(Event::Edited(Ok("1 change of mail".to_owned())));
    pilot.shows("1 change of mail");
}
