//! `passmate shell`, as a person types into it.

use crate::typed::{Home, Terminal};

fn home() -> Home {
    let home = Home::new();
    for (path, field, value) in [
        ("web/shop", "user", "bob"),
        ("web/shop", "password", "hunter2 of the shop"),
        ("My Bank/giro account", "user", "ann"),
    ] {
        home.ok_with(&["set", path, field], value);
    }
    home
}

#[test]
fn a_path_opens_a_record_and_an_empty_line_closes_it() {
    let home = home();
    let mut shell = Terminal::start(&home, &["shell"]);
    shell.answer("passmate> ", "My Bank/giro account");
    shell.wait_for("user: ann");
    shell.answer("My Bank/giro account> ", "rename bank/giro");
    shell.answer("bank/giro> ", "");
    shell.answer("passmate> ", "new web/new");
    shell.answer("web/new> ", "set user");
    shell.answer("user of web/new: ", "eve");
    shell.answer("web/new> ", "del");
    shell.answer("[y/N]", "y");
    shell.answer("passmate> ", "exit");
    assert_eq!(shell.finish().1, 0);
    assert_eq!(home.ok(&["ls", "--flat"]), "bank/giro\nweb/shop\n");
}

#[test]
fn the_tab_key_completes_names_paths_and_fields() {
    let home = home();
    let mut shell = Terminal::start(&home, &["shell"]);
    shell.wait_for("passmate> ");
    shell.type_keys("op\tMy\t\t");
    shell.wait_for("open My Bank/giro account");
    shell.type_keys("\n");
    shell.wait_for("My Bank/giro account> ");
    shell.type_keys("uns\tus\t");
    shell.wait_for("unset user");
    // A line that is given up changes nothing.
    shell.type_keys("\u{3}");
    shell.wait_for("unset user\nMy Bank/giro account> ");
    shell.type_keys("exit\n");
    assert_eq!(shell.finish().1, 0);
    assert_eq!(home.ok(&["show", "My Bank/giro account", "user"]), "ann\n");
}

#[test]
fn no_value_is_on_the_screen_unasked_and_mistakes_end_nothing() {
    let home = home();
    let mut shell = Terminal::start(&home, &["shell"]);
    shell.answer("passmate> ", "web/shop");
    shell.answer("web/shop> ", "");
    shell.answer("passmate> ", "nothing/here");
    shell.answer("all records\npassmate> ", "audit 'x");
    shell.answer("the commands\npassmate> ", "show");
    shell.answer("shows what it takes\npassmate> ", "shell");
    shell.answer("leaves it\npassmate> ", "ls --flat");
    shell.wait_for("web/shop\npassmate> ");
    shell.type_keys("\u{4}");
    shell.finish();
    let raw = String::from_utf8_lossy(&shell.raw).into_owned();
    assert!(!raw.contains("hunter2"), "{raw}");
}

#[test]
fn without_a_terminal_there_is_no_shell() {
    let home = Home::new();
    let told = home.fails(2, &["shell"], "ls\n");
    assert!(told.contains("the shell needs a terminal"), "{told}");
}
