//! Records that are named by a part of their path.

use crate::typed::{Home, Terminal};

fn home() -> Home {
    let home = Home::new();
    for (path, user) in [
        ("web/shop", "bob"),
        ("old/shop", "eve"),
        ("bank/Giro", "ann"),
        ("giro2", "ann"),
    ] {
        home.ok_with(&["set", path, "user"], user);
    }
    home
}

#[test]
fn a_script_gets_the_record_of_exactly_its_path_or_none() {
    let home = home();
    for command in ["show", "history", "code", "qr"] {
        let told = home.fails(11, &[command, "shop"], "");
        assert!(
            told.contains("there is no record shop, and 2 end with it"),
            "{told}"
        );
        assert!(
            told.contains("did you mean old/shop or web/shop?"),
            "{told}"
        );
        let told = home.fails(10, &[command, "giro"], "");
        assert!(told.contains("did you mean bank/Giro?"), "{told}");
    }
    let told = home.fails(11, &["show", "shop", "--json"], "");
    let object: serde_json::Value = serde_json::from_str(&told).unwrap();
    assert_eq!(
        object["candidates"],
        serde_json::json!(["old/shop", "web/shop"])
    );
    // What deletes names what is near, and takes nothing.
    for args in [
        &["rm", "shop", "--yes"][..],
        &["purge", "shop", "--yes"],
        &["mv", "shop", "x"],
        &["unset", "shop", "user"],
        &["restore", "shop", "user"],
    ] {
        let told = home.fails(11, args, "");
        assert!(told.contains("old/shop"), "{told}");
    }
    // A script that sets a field means the path that it says.
    home.ok_with(&["set", "shop", "user"], "new");
    assert_eq!(home.ok(&["show", "shop", "user"]), "new\n");
    assert_eq!(home.ok(&["show", "web/shop", "user"]), "bob\n");
}

#[test]
fn a_person_gets_the_only_record_that_ends_with_what_they_typed() {
    let home = home();
    let mut terminal = Terminal::start(&home, &["show", "GIRO", "user"]);
    let (text, code) = terminal.finish();
    assert_eq!(code, 0, "{text}");
    assert_eq!(text.trim(), "passmate: this is bank/Giro\nann");
    for args in [
        &["rm", "GIRO"][..],
        &["show", "GIRO", "-q"],
        &["show", "GIRO", "--no-input"],
    ] {
        let mut terminal = Terminal::start(&home, args);
        assert_eq!(terminal.finish().1, 10, "{args:?}");
    }
}

#[test]
fn a_person_picks_one_of_several_and_nothing_is_left_on_the_screen() {
    let home = home();
    let mut terminal = Terminal::start(&home, &["show", "shop", "user"]);
    terminal.wait_for("record: shop\n> old/shop\n  web/shop");
    terminal.type_keys("\x1b[B");
    terminal.wait_for("> web/shop");
    terminal.type_keys("\r");
    let (text, code) = terminal.finish();
    assert_eq!(code, 0, "{text}");
    assert_eq!(text.trim(), "passmate: this is web/shop\nbob");

    // What is typed narrows the list, also by fields.
    let mut terminal = Terminal::start(&home, &["show", "shp", "user"]);
    terminal.wait_for("record: shp\n> ");
    terminal.type_keys("\u{15}eve");
    terminal.wait_for("record: eve\n> old/shop");
    terminal.type_keys("x");
    terminal.wait_for("(no record matches)");
    terminal.type_keys("\u{7f}\r");
    assert_eq!(
        terminal.finish().0.trim(),
        "passmate: this is old/shop\neve"
    );

    for end in ["\u{3}", "\u{1b}"] {
        let mut terminal = Terminal::start(&home, &["show", "shop"]);
        terminal.wait_for("> old/shop");
        terminal.type_keys(end);
        let (text, code) = terminal.finish();
        assert_eq!(code, 3, "{text}");
        assert!(!text.contains("old/shop"), "{text}");
    }
    let mut terminal = Terminal::start(&home, &["show", "nothing like it"]);
    assert_eq!(terminal.finish().1, 10);
}

#[test]
fn a_person_who_changes_a_record_says_whether_it_is_a_new_one() {
    let home = home();
    let mut terminal = Terminal::start(&home, &["set", "giro", "user"]);
    terminal.wait_for("> bank/Giro\n  (make a new record giro)");
    terminal.type_keys("\r");
    terminal.answer("user of bank/Giro: ", "amy");
    assert_eq!(terminal.finish().1, 0);
    assert_eq!(home.ok(&["show", "bank/Giro", "user"]), "amy\n");
    let mut terminal = Terminal::start(&home, &["gen", "giro"]);
    terminal.wait_for("> bank/Giro");
    terminal.type_keys("\u{e}\r");
    assert_eq!(terminal.finish().1, 0);
    assert_eq!(home.ok(&["show", "giro", "password"]).len(), 16);
}
