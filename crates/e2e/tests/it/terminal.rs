//! Questions and output on a terminal.

use passmate_core::escape::escape;
use passmate_core::net::trust::words_of;

use crate::support::Server;
use crate::support::program::Home;
use crate::support::terminal::Terminal;

const PASSPHRASE: &str = "correct horse battery staple";

/// Runs a command that asks only for the passphrase.
fn unlocked(home: &Home, words: &[&str]) -> (String, u32, Vec<u8>) {
    let mut terminal = Terminal::start(home, words);
    terminal.wait_for("passphrase: ");
    terminal.type_line(PASSPHRASE);
    terminal.finish()
}

#[test]
fn init_asks_twice_and_again_if_the_two_differ() {
    let home = Home::new();
    let mut terminal = Terminal::start(&home, &["init"]);
    terminal.wait_for("New master passphrase: ");
    terminal.type_line("hunter2");
    terminal.wait_for("The same again: ");
    terminal.type_line("hunter3");
    terminal.wait_for("The two differ. New master passphrase: ");
    terminal.type_line("hunter2");
    terminal.wait_for("The same again: ");
    terminal.type_line("hunter2");
    let (text, code, raw) = terminal.finish();
    assert_eq!(code, 0, "{text}");
    assert!(
        text.contains("guess"),
        "no warning of a weak passphrase: {text}"
    );
    assert!(
        !String::from_utf8_lossy(&raw).contains("hunter"),
        "the terminal showed the passphrase"
    );
}

#[test]
fn a_passphrase_that_is_mistyped_again_and_again_makes_no_vault() {
    let home = Home::new();
    let mut terminal = Terminal::start(&home, &["init"]);
    for number in 0..3 {
        terminal.wait_for("New master passphrase: ");
        terminal.type_line("hunter2");
        terminal.wait_for("The same again: ");
        terminal.type_line(&format!("hunter2{number}"));
    }
    let (text, code, _) = terminal.finish();
    assert!(text.contains("the two passphrases differ"), "{text}");
    assert_eq!(code, 3);
    home.run(&["ls"]).failed(10);
}

/// Types a wrong passphrase, and the right one while the first is still tried.
fn type_ahead(terminal: &mut Terminal) {
    terminal.wait_for("Master passphrase: ");
    terminal.type_keys("wrong\n");
    // The line ends on the screen before the key is derived.
    terminal.wait_for_raw(b"passphrase: \r\n");
    terminal.type_keys(&format!("{PASSPHRASE}\n"));
}

#[test]
fn what_is_typed_before_its_question_is_never_on_the_screen() {
    let home = Home::new();
    home.run(&["init"]).ok();
    home.run_with(&["set", "web/shop", "user"], "bob\n").ok();
    let mut terminal = Terminal::start(&home, &["show", "web/shop", "user"]);
    type_ahead(&mut terminal);
    let (text, code, raw) = terminal.finish();
    assert_eq!(code, 0, "{text}");
    assert!(text.contains("wrong passphrase, try again"), "{text}");
    assert!(text.contains("bob"), "{text}");
    assert!(
        !String::from_utf8_lossy(&raw).contains("horse"),
        "the terminal showed the passphrase: {text}"
    );

    // So is one that is typed where it could be piped.
    let words = ["show", "web/shop", "user", "--passphrase-file", "-"];
    let mut terminal = Terminal::start(&home, &words);
    type_ahead(&mut terminal);
    let (text, code, raw) = terminal.finish();
    assert_eq!(code, 0, "{text}");
    assert!(!String::from_utf8_lossy(&raw).contains("horse"), "{text}");

    // The value that is typed while the vault opens is as secret.
    let mut terminal = Terminal::start(&home, &["set", "web/shop"]);
    type_ahead(&mut terminal);
    terminal.type_keys("battery staple\nbattery staple\n");
    let (text, code, raw) = terminal.finish();
    assert_eq!(code, 0, "{text}");
    assert!(
        !String::from_utf8_lossy(&raw).contains("staple"),
        "the terminal showed the value: {text}"
    );
    let shown = home.run(&["show", "web/shop", "password"]).ok();
    assert_eq!(shown, "battery staple\n");
}

#[test]
fn a_secret_is_typed_twice_and_another_value_once_and_visibly() {
    let home = Home::new();
    home.run(&["init"]).ok();
    let mut terminal = Terminal::start(&home, &["set", "web/shop", "pin"]);
    terminal.wait_for("passphrase: ");
    terminal.type_line(PASSPHRASE);
    terminal.wait_for("pin of web/shop: ");
    terminal.type_line("1234");
    terminal.wait_for("The same again: ");
    terminal.type_line("1243");
    terminal.wait_for("The two differ. pin of web/shop: ");
    terminal.type_line("9876");
    terminal.wait_for("The same again: ");
    terminal.type_line("9876");
    let (text, code, raw) = terminal.finish();
    assert_eq!(code, 0, "{text}");
    let raw = String::from_utf8_lossy(&raw);
    assert!(!raw.contains("1234") && !raw.contains("9876"), "{raw}");
    assert_eq!(home.run(&["show", "web/shop", "pin"]).ok(), "9876\n");

    let mut terminal = Terminal::start(&home, &["set", "web/shop", "user"]);
    terminal.wait_for("passphrase: ");
    terminal.type_line(PASSPHRASE);
    terminal.wait_for("user of web/shop: ");
    // Backspace removes a whole character, from the screen too.
    terminal.type_keys(" bob \u{fc}\u{7f}x");
    terminal.wait_for("user of web/shop:  bob x");
    terminal.type_keys("\n");
    let (text, code, _) = terminal.finish();
    assert_eq!(code, 0, "{text}");
    assert_eq!(home.run(&["show", "web/shop", "user"]).ok(), " bob x\n");
}

#[test]
fn ctrl_z_gives_the_terminal_back_and_fg_asks_again() {
    let home = Home::new();
    home.run(&["init"]).ok();
    home.run_with(&["set", "web/shop", "user"], "bob\n").ok();
    let mut shell = Terminal::start_shell(&home);
    let settings = "stty -a | tr ' ' '\\n' | grep -xE -- '-?(echo|icanon);?' | xargs echo are:";
    shell.wait_for("$ ");
    shell.type_line("\"$PASSMATE\" show web/shop user");
    shell.wait_for("Master passphrase: ");
    shell.type_keys("half of it\u{1a}");
    shell.wait_for("Stopped");
    shell.type_line(settings);
    shell.wait_for("are: icanon echo");
    shell.type_line("fg");
    shell.wait_for("Master passphrase: ");
    // What was typed before the stop is void.
    shell.type_line(PASSPHRASE);
    shell.wait_for("bob");
    shell.type_line(settings);
    shell.wait_for("are: icanon echo");
    shell.type_line("exit");
    let (text, _, raw) = shell.finish();
    let raw = String::from_utf8_lossy(&raw);
    assert!(!raw.contains("half") && !raw.contains("horse"), "{text}");
}

#[test]
fn ctrl_c_at_a_question_gives_the_terminal_back() {
    let home = Home::new();
    home.run(&["init"]).ok();
    let mut shell = Terminal::start_shell(&home);
    shell.wait_for("$ ");
    shell.type_line("\"$PASSMATE\" ls");
    shell.wait_for("Master passphrase: ");
    shell.interrupt();
    shell.wait_for("$ ");
    shell.type_line("stty -a | tr ' ' '\\n' | grep -xE -- '-?(echo|icanon);?' | xargs echo are:");
    shell.wait_for("are: icanon echo");
    shell.type_line("exit");
    let _ = shell.finish();
}

#[test]
fn secrets_are_masked_and_a_passphrase_may_be_retried() {
    let home = Home::new();
    home.run(&["init"]).ok();
    home.run_with(&["set", "web/shop", "password"], "battery staple\n")
        .ok();
    home.run_with(&["set", "web/shop", "user"], "bob\n").ok();
    let mut terminal = Terminal::start(&home, &["show", "web/shop"]);
    terminal.wait_for("Master passphrase: ");
    terminal.type_line("wrong");
    terminal.wait_for("wrong passphrase, try again");
    terminal.wait_for("Master passphrase: ");
    terminal.type_line(PASSPHRASE);
    let (text, code, raw) = terminal.finish();
    assert_eq!(code, 0, "{text}");
    assert!(
        text.contains("password: ") && text.contains("user: "),
        "{text}"
    );
    assert!(
        !String::from_utf8_lossy(&raw).contains("staple\r\n"),
        "the password was not masked"
    );
    let (text, _, _) = unlocked(&home, &["show", "web/shop", "--reveal", "--no-pager"]);
    assert!(text.contains("password: battery staple"), "{text}");
}

#[test]
fn no_record_can_control_the_terminal() {
    let home = Home::new();
    home.run(&["init"]).ok();
    let evil = "\u{1b}]0;owned\u{7}\u{1b}[2J\u{1b}[31m\u{9b}H\r\u{202e}\u{8}";
    home.run_with(&["set", "web/evil", "note"], &format!("{evil}\n"))
        .ok();
    // The value may come from another device, so every output must escape it.
    for words in [
        &["show", "web/evil", "--reveal"][..],
        &["show", "web/evil", "note", "--reveal"],
        &["ls"],
    ] {
        let (text, code, raw) = unlocked(&home, words);
        assert_eq!(code, 0, "{text}");
        let raw = String::from_utf8_lossy(&raw);
        for bad in [
            "\u{1b}]",
            "\u{1b}[2J",
            "\u{1b}[31m",
            "\u{9b}",
            "\u{202e}",
            "\u{8}",
            "\u{7}",
        ] {
            assert!(!raw.contains(bad), "{words:?} wrote {bad:?}: {raw:?}");
        }
    }
}

#[test]
fn no_banner_can_control_the_terminal() {
    let dir = tempfile::tempdir().unwrap();
    let banner = dir.path().join("banner");
    let evil = "hello \u{1b}]0;owned\u{7}\u{9b}31m\u{202e}\r\n\u{85}bye";
    std::fs::write(&banner, evil).unwrap();
    let data = dir.path().join("data");
    let options = ["--listen", "127.0.0.1:0", "--banner-file"];
    let options = [&options[..], &[banner.to_str().unwrap()]].concat();
    let server = Server::start_with(&data, &options);
    let home = Home::new();
    home.run(&["init"]).ok();
    let (address, pin) = (server.address().to_string(), server.pin.to_string());
    for words in [
        &["sync", "setup", &address, "--pin", &pin, "-v"][..],
        &["sync", "-v"],
        &["sync", "-v", "--json"],
        &["sync", "status", "-v"],
    ] {
        let said = home.run(words);
        let text = format!("{}{}", said.out, said.err);
        for line in text.split('\n') {
            assert_eq!(line, escape(line), "{words:?}");
        }
        said.ok();
    }
    let said = home.run(&["sync", "-v"]);
    assert!(said.err.contains("hello \\u{1b}]0;owned"), "{said:?}");
}

#[test]
fn an_unknown_pin_is_confirmed_by_its_words_not_by_yes() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path());
    let address = format!("localhost:{}", server.address().port());
    let pin = server.pin.to_string();
    let (digits, more) = pin["sha256:".len()..][..16].split_at(8);
    let words = words_of(&server.pin);
    let home = Home::new();
    home.run(&["init"]).ok();
    home.run_with(&["set", "web/shop", "password"], "battery staple\n")
        .ok();

    let mut terminal = Terminal::start(&home, &["sync", "setup", &address]);
    terminal.wait_for("Master passphrase: ");
    terminal.type_line(PASSPHRASE);
    terminal.wait_for("Sync key: ");
    terminal.type_line("");
    for (typed, said) in [
        ("yes", "this is not the pin"),
        (digits, "type at least the first 20 digits"),
        (&*words.replacen(' ', " x", 1), "this is not the pin"),
    ] {
        terminal.wait_for("The 7 words");
        assert!(
            !terminal.text().contains(more),
            "the pin is shown: {}",
            terminal.text()
        );
        terminal.type_line(typed);
        terminal.wait_for(said);
    }
    let (text, code, _) = terminal.finish();
    assert_eq!(code, 21, "{text}");

    let mut terminal = Terminal::start(&home, &["sync", "setup", &address]);
    terminal.wait_for("Master passphrase: ");
    terminal.type_line(PASSPHRASE);
    terminal.wait_for("Sync key: ");
    terminal.type_keys("123456-nonsense\n");
    terminal.wait_for("Sync key: \npassmate: warning");
    let shown = String::from_utf8_lossy(&terminal.raw).contains("nonsense");
    assert!(!shown, "the sync key is a secret");
    terminal.type_line("");
    terminal.wait_for("The 7 words");
    terminal.type_line(&words);
    let (text, code, _) = terminal.finish();
    assert_eq!(code, 0, "{text}");
    assert!(
        text.contains("synced with localhost: 0 received, 2 sent, 0 conflicts resolved"),
        "{text}"
    );

    let mut terminal = Terminal::start(&home, &["sync", "key"]);
    terminal.wait_for("Master passphrase: ");
    terminal.type_line(PASSPHRASE);
    terminal.wait_for("[y/N]");
    terminal.type_line("n");
    let (text, code, _) = terminal.finish();
    assert_eq!(code, 3, "the key is shown only after a yes: {text}");
}

#[test]
fn init_offers_each_original_file_and_asks_its_passphrase() {
    let home = Home::new();
    let vectors = std::path::Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../vectors/old_pmate/basic.pmate");
    home.write(".pmate", std::fs::read(vectors).unwrap());
    let sync = home.path().join(".local/share/passmate/sync");
    std::fs::create_dir_all(&sync).unwrap();
    std::fs::write(sync.join("laptop.pmdb"), "").unwrap();

    let mut terminal = Terminal::start(&home, &["init"]);
    for prompt in ["New master passphrase: ", "The same again: "] {
        terminal.wait_for(prompt);
        terminal.type_line(PASSPHRASE);
    }
    terminal.wait_for("The file is not changed. [y/N] ");
    terminal.type_line("y");
    terminal.wait_for("Passphrase of ");
    terminal.type_line("wrong");
    terminal.wait_for("try again");
    terminal.wait_for("Passphrase of ");
    terminal.type_line("correct horse");
    terminal.wait_for("imported from pmate: 2 new");
    terminal.wait_for("so that you and the original program stay synced? [y/N] ");
    terminal.type_line("n");
    let (text, code, _) = terminal.finish();
    assert_eq!(code, 0, "{text}");
    assert_eq!(home.run(&["ls", "--flat"]).ok(), "web/site\nx\n");
    home.run(&["sync"]).failed(10);
}

/// Two devices with different passphrases share a folder, so that one cannot open the copy of the
/// other.
fn with_a_locked_copy(other: &Home, home: &Home) {
    let folder = home.path().join("cloud").display().to_string();
    std::fs::create_dir(&folder).unwrap();
    other.write("passphrase", "another one altogether\n");
    for device in [other, home] {
        device.run(&["init"]).ok();
        device
            .run(&["sync", "setup", "--folder", &folder, "--with-original"])
            .ok();
    }
}

#[test]
fn a_sync_is_reported_though_its_question_is_not_answered() {
    let (other, home) = (Home::new(), Home::new());
    with_a_locked_copy(&other, &home);
    home.run_with(&["set", "web/shop", "password"], "x\n").ok();

    let mut terminal = Terminal::start(&home, &["sync"]);
    terminal.wait_for("Master passphrase: ");
    terminal.type_line(PASSPHRASE);
    terminal.wait_for("Passphrase of the copy");
    terminal.type_line("\u{4}");
    let (text, code, _) = terminal.finish();
    assert_eq!(code, 0, "{text}");
    assert!(text.contains("0 received, 2 sent"), "{text}");
    assert!(text.contains("is skipped"), "{text}");

    // With sync.auto, the copy is named after each change.
    std::fs::create_dir_all(home.path().join(".config/passmate")).unwrap();
    home.set("sync.auto = true\n");
    let said = home.run_with(&["set", "web/shop", "user"], "x\n");
    assert!(said.err.contains("is skipped"), "{said:?}");
}

#[test]
fn the_key_of_a_folder_is_asked_for_and_not_shown() {
    let (first, home) = (Home::new(), Home::new());
    let folder = home.path().join("cloud").display().to_string();
    std::fs::create_dir(&folder).unwrap();
    first.write("passphrase", "another one altogether\n");
    for device in [&first, &home] {
        device.run(&["init"]).ok();
    }
    first.run_with(&["set", "bank", "pin"], "1234\n").ok();
    first.run(&["sync", "setup", "--folder", &folder]).ok();
    let key = first.run(&["sync", "key", "--folder"]).ok();
    home.run(&["sync", "setup", "--folder", &folder]).failed(4);

    let mut terminal = Terminal::start(&home, &["sync", "setup", "--folder", &folder]);
    terminal.wait_for("Master passphrase: ");
    terminal.type_line(PASSPHRASE);
    terminal.wait_for("Folder key: ");
    terminal.type_line("folder-123456");
    terminal.wait_for("Folder key: ");
    terminal.type_line(key.trim());
    let (text, code, _) = terminal.finish();
    assert_eq!(code, 0, "{text}");
    assert!(text.contains("2 received, 0 sent"), "{text}");
    assert!(!text.contains(key.trim()), "{text}");
    assert_eq!(home.run(&["show", "bank", "pin"]).ok(), "1234\n");
}

#[test]
fn a_held_back_sync_is_asked_for_each_place() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path());
    let address = format!("localhost:{}", server.address().port());
    let pin = server.pin.to_string();
    let set_up = ["sync", "setup", &address, "--pin", &pin];
    let (by_server, by_folder, home) = (Home::new(), Home::new(), Home::new());
    let folder = home.path().join("cloud").display().to_string();
    std::fs::create_dir(&folder).unwrap();
    by_folder.run(&["init"]).ok();
    let rows = (0..21).map(|number| format!("r{number},https://shop.example,bob,x,\n"));
    let csv = format!(
        "name,url,username,password,note\n{}",
        rows.collect::<String>()
    );
    let csv = by_folder.write("logins.csv", csv);
    by_folder
        .run(&["import", "chrome-csv", csv.to_str().unwrap()])
        .ok();
    by_folder.run(&["sync", "setup", "--folder", &folder]).ok();
    home.run(&["init"]).ok();
    let key = home.write("key", by_folder.run(&["sync", "key", "--folder"]).ok());
    let key = key.to_str().unwrap();
    home.run(&["sync", "setup", "--folder", &folder, "--key-file", key])
        .ok();
    home.run(&set_up).ok();
    let key = home.run(&["sync", "key", "--yes"]).ok();
    let key = by_server.write("key", key);
    by_server.run(&["init"]).ok();
    by_server
        .run(&[&set_up[..], &["--key-file", key.to_str().unwrap()]].concat())
        .ok();
    for (device, numbers) in [(&by_server, 0..10), (&by_folder, 10..21)] {
        for number in numbers {
            device.run(&["rm", &format!("r{number}"), "--yes"]).ok();
        }
        device.run(&["sync"]).ok();
    }

    let mut terminal = Terminal::start(&home, &["sync"]);
    terminal.wait_for("Master passphrase: ");
    terminal.type_line(PASSPHRASE);
    terminal.wait_for("what comes from localhost would delete 10");
    terminal.wait_for("r9: would be deleted");
    terminal.wait_for("for later (Enter)? ");
    terminal.type_line("y");
    terminal.wait_for("would delete 11");
    terminal.wait_for("for later (Enter)? ");
    terminal.type_line("what?");
    terminal.wait_for("type y, r or Enter");
    terminal.type_line("");
    let (text, code, _) = terminal.finish();
    assert_eq!(code, 3, "{text}");
    assert!(text.contains("synced with localhost"), "{text}");
    assert_eq!(home.run(&["ls", "--flat"]).ok().lines().count(), 11);

    let said = home.run(&["sync"]);
    assert_eq!(said.code, 26);
    assert!(said.err.contains("would delete 11"), "{said:?}");
    let said = home.run(&["sync", "--held"]);
    assert_eq!(said.code, 26);
    assert!(said.out.contains("r20: would be deleted"), "{said:?}");

    // Refused, it is undone for good, on the device that did it too.
    let mut terminal = Terminal::start(&home, &["sync"]);
    terminal.wait_for("Master passphrase: ");
    terminal.type_line(PASSPHRASE);
    terminal.wait_for("for later (Enter)? ");
    terminal.type_line("r");
    let (text, code, _) = terminal.finish();
    assert_eq!(code, 0, "{text}");
    assert_eq!(home.run(&["ls", "--flat"]).ok().lines().count(), 11);
    let said = home.run(&["sync", "--held"]);
    assert_eq!(
        (said.code, said.out.as_str()),
        (0, "nothing is held back\n"),
        "{said:?}"
    );
}

/// A home with two records, and a terminal in which one of them gets the path of the other. The
/// editor says where its file was.
fn edited_to_a_taken_path() -> (Home, Terminal) {
    let home = Home::new();
    home.run(&["init"]).ok();
    for path in ["web/bank", "web/shop"] {
        home.run_with(&["set", path, "user"], "bob\n").ok();
    }
    home.write(
        "edit.sh",
        "echo \"$1\" > \"$HOME/place\"\n\
         sed -i -e s/bank/store/ -e s/shop/bank/ -e s/bob/robert/ \"$1\"\n",
    );
    let editor = [("EDITOR", "sh edit.sh")];
    let mut terminal = Terminal::start_with(&home, &["edit", "web/shop"], &editor);
    terminal.wait_for("passphrase: ");
    terminal.type_line(PASSPHRASE);
    terminal.wait_for("there is already a record web/bank");
    terminal.wait_for("Edit it again? [Y/n] ");
    (home, terminal)
}

#[test]
fn an_edit_that_is_refused_is_mended_in_the_text_as_it_was_left() {
    let (home, mut terminal) = edited_to_a_taken_path();
    terminal.type_line("");
    let (text, code, _) = terminal.finish();
    assert_eq!(code, 0, "{text}");
    assert!(text.contains("2 changes of web/store"), "{text}");
    assert_eq!(home.run(&["ls", "--flat"]).ok(), "web/bank\nweb/store\n");
    assert_eq!(home.run(&["show", "web/store", "user"]).ok(), "robert\n");
}

#[test]
fn ctrl_c_ends_the_program_after_the_editor_and_the_text_is_deleted() {
    let (home, mut terminal) = edited_to_a_taken_path();
    let place = std::fs::read_to_string(home.path().join("place")).unwrap();
    let folder = std::path::Path::new(place.trim_end()).parent().unwrap();
    assert!(!folder.exists(), "the text is still in {place}");
    terminal.interrupt();
    let (text, code, _) = terminal.finish();
    assert_eq!(code, 1, "{text}");
    assert!(!text.contains("passmate: error"), "{text}");
}

#[test]
fn the_end_of_the_input_is_no_passphrase() {
    let home = Home::new();
    home.run(&["init"]).ok();
    let mut terminal = Terminal::start(&home, &["ls"]);
    terminal.wait_for("Master passphrase: ");
    terminal.end_input();
    let (text, code, _) = terminal.finish();
    assert!(text.contains("no passphrase was typed"), "{text}");
    assert_eq!(code, 4, "{text}");
}
