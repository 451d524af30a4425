//! What a person typed is not lost if it cannot be saved.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use crate::support::PROGRAM;
use crate::typed::{Home, Terminal};

const PASSPHRASE: &str = "correct horse battery";

/// A vault with a record, and an editor that changes its user after it ran these commands.
fn home(meanwhile: &str) -> Home {
    let mut home = Home::new();
    home.ok_with(&["set", "web/shop", "user"], "bob");
    let editor = home.path().join("editor.sh");
    let script = format!("#!/bin/sh\n{meanwhile}\nsed -i 's/bob/alice/' \"$1\"\n");
    fs::write(&editor, script).unwrap();
    fs::set_permissions(&editor, Permissions::from_mode(0o700)).unwrap();
    home.variable("EDITOR", Some(editor));
    home
}

/// The file that an error names, which is deleted.
#[track_caller]
fn kept(said: &str) -> String {
    let place = said.find("what you typed is in ").expect(said);
    let file = said[place..]
        .split([' ', ','])
        .find(|word| word.starts_with('/'));
    let file = PathBuf::from(file.unwrap());
    let mode = fs::metadata(&file).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let text = fs::read_to_string(&file).unwrap();
    fs::remove_file(file).unwrap();
    text
}

#[test]
fn without_a_person_an_edited_text_is_kept_in_a_private_file() {
    let home = home(&format!("{PROGRAM} rm web/shop --yes"));
    let said = home.fails(10, &["edit", "web/shop"], "");
    assert!(kept(&said).contains("user = \"alice\""), "{said}");
}

#[test]
fn without_a_person_a_text_that_is_no_record_is_kept_too() {
    let home = home("echo 'user alice' >> \"$1\"");
    let said = home.fails(2, &["edit", "web/shop"], "");
    assert!(kept(&said).contains("\nuser alice"), "{said}");
}

#[test]
fn a_person_tries_again_to_save_what_they_edited() {
    let home = home("");
    let (vault, aside) = (home.vault(), home.path().join("aside"));
    let break_it = format!(
        "mv '{0}' '{1}'; mkdir '{0}'",
        vault.display(),
        aside.display()
    );
    let editor = home.path().join("editor.sh");
    let script = fs::read_to_string(&editor).unwrap();
    fs::write(
        &editor,
        script.replace("#!/bin/sh", &format!("#!/bin/sh\n{break_it}")),
    )
    .unwrap();
    let mut terminal = Terminal::start(&home, &["edit", "web/shop"]);
    terminal.answer("keep the text in a file (Enter)?", "x");
    terminal.wait_for("type one of these letters");
    fs::remove_dir(&vault).unwrap();
    fs::rename(&aside, &vault).unwrap();
    terminal.answer("Try again (t)", "t");
    let (text, code) = terminal.finish();
    assert_eq!(code, 0, "{text}");
    assert_eq!(home.ok(&["show", "web/shop", "user"]), "alice\n");
}

#[test]
fn a_record_that_was_deleted_meanwhile_is_made_anew_if_a_person_wants() {
    let home = home(&format!("{PROGRAM} rm web/shop --yes"));
    let mut terminal = Terminal::start(&home, &["edit", "web/shop"]);
    terminal.answer("Make it a new record (t)", "t");
    let (text, code) = terminal.finish();
    assert_eq!(code, 0, "{text}");
    assert_eq!(home.ok(&["show", "web/shop", "user"]), "alice\n");
}

/// A home with an agent that holds the vault.
struct WithAgent(Home);

impl WithAgent {
    fn new(meanwhile: &str) -> Self {
        let mut home = home(meanwhile);
        let run = home.path().join("run");
        fs::create_dir(&run).unwrap();
        fs::set_permissions(&run, Permissions::from_mode(0o700)).unwrap();
        home.variable("XDG_RUNTIME_DIR", Some(run));
        home.ok(&["unlock"]);
        home.variable("PASSMATE_PASSPHRASE_FILE", None);
        Self(home)
    }
}

/// No agent outlives its test.
impl Drop for WithAgent {
    fn drop(&mut self) {
        self.0.run_with(&["agent", "stop"], "");
    }
}

#[test]
fn an_edit_is_saved_though_the_vault_was_locked_or_its_agent_ended() {
    for meanwhile in ["lock", "agent stop"] {
        let home = WithAgent::new(&format!("{PROGRAM} {meanwhile}"));
        let mut terminal = Terminal::start(&home.0, &["edit", "web/shop"]);
        terminal.answer("Master passphrase: ", PASSPHRASE);
        let (text, code) = terminal.finish();
        assert_eq!(code, 0, "{meanwhile}: {text}");
        assert_eq!(home.0.ok(&["show", "web/shop", "user"]), "alice\n");
    }
}

#[test]
fn an_edit_without_a_person_is_kept_if_the_vault_was_locked() {
    let home = WithAgent::new(&format!("{PROGRAM} lock"));
    let said = home.0.fails(4, &["edit", "web/shop"], "");
    assert!(kept(&said).contains("user = \"alice\""), "{said}");
}

#[test]
fn typed_values_are_saved_though_the_vault_was_locked_meanwhile() {
    let home = WithAgent::new("");
    let mut terminal = Terminal::start(&home.0, &["set", "web/shop", "password"]);
    terminal.answer("password of web/shop: ", "battery staple");
    home.0.ok(&["lock"]);
    terminal.answer("The same again: ", "battery staple");
    terminal.answer("Master passphrase: ", PASSPHRASE);
    let (text, code) = terminal.finish();
    assert_eq!(code, 0, "{text}");
    let shown = home.0.ok(&["show", "web/shop", "password"]);
    assert_eq!(shown, "battery staple\n");

    let mut terminal = Terminal::start(&home.0, &["add", "web/new"]);
    terminal.answer("url: ", "https://new.example");
    terminal.answer("user: ", "bob");
    home.0.ok(&["lock"]);
    terminal.answer("password (Enter generates one): ", "horse");
    terminal.answer("The same again: ", "horse");
    terminal.answer("otp: ", "");
    // Whoever does not know the passphrase keeps the text.
    for _ in 0..3 {
        terminal.answer("Master passphrase: ", "wrong");
    }
    terminal.answer("keep the text in a file (Enter)?", "");
    let (said, code) = terminal.finish();
    assert_eq!(code, 5, "{said}");
    let said = said.replace('\n', " ");
    assert!(kept(&said).contains("user = \"bob\""), "{said}");
}

#[test]
fn ctrl_c_at_the_question_for_the_passphrase_leaves_the_text() {
    for options in [&[][..], &["-q"]] {
        let home = WithAgent::new(&format!("{PROGRAM} lock"));
        let args = [options, &["edit", "web/shop"]].concat();
        let mut terminal = Terminal::start(&home.0, &args);
        terminal.wait_for("Master passphrase: ");
        assert!(terminal.text().contains("until it is saved or given up"));
        terminal.type_keys("\u{3}");
        let (said, code) = terminal.finish();
        assert_ne!(code, 0, "{said}");
        let said = said.replace('\n', " ");
        assert!(kept(&said).contains("user = \"alice\""), "{said}");
    }
}

#[test]
fn the_secret_of_codes_is_typed_once_and_checked_at_once() {
    let home = home("");
    let mut terminal = Terminal::start(&home, &["set", "web/shop", "otp"]);
    terminal.answer("otp of web/shop: ", "no base32!");
    terminal.wait_for("makes no one-time codes");
    terminal.answer("otp of web/shop: ", "JBSWY3DPEHPK3PXP");
    let (text, code) = terminal.finish();
    assert_eq!(code, 0, "{text}");
}
