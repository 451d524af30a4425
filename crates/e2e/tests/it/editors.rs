//! `edit` with real editors whose settings files ask for copies of everything. An editor that is
//! not installed is named, and its test shows nothing.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::Stdio;

use crate::support::program::Home;
use crate::support::terminal::Terminal;

const PASSPHRASE: &str = "correct horse battery staple";
const NO_FILES: [PathBuf; 0] = [];

/// A person who uses an editor.
struct Editing {
    /// The program, and the value of `EDITOR`. `LEAK` stands for a folder.
    program: &'static str,
    editor: &'static str,
    /// A settings file that asks for copies, and its content. `LEAK` stands for that folder.
    settings: (&'static str, &'static str),
    /// Keys that change the text and save it, and what the editor says then.
    save: &'static str,
    saved: &'static str,
    quit: &'static str,
}

const VIMRC: &str = "set nocompatible undofile undodir=LEAK backup writebackup backupdir=LEAK\n\
     set swapfile updatecount=1 directory=LEAK patchmode=.orig history=100\n\
     set viminfo='100,<50,s10,h,nLEAK/viminfo viminfofile=LEAK/viminfo\n\
     autocmd BufReadPost * set undofile\n\
     autocmd BufWritePre * set undofile backup\n";
const NVIM_INIT: &str = "set undofile undodir=LEAK backup writebackup backupdir=LEAK\n\
     set swapfile updatecount=1 directory=LEAK patchmode=.orig\n\
     set shada='100,<50,s10,h shadafile=LEAK/shada\n\
     autocmd BufReadPost * set undofile\n\
     autocmd BufWritePre * set undofile backup\n";

const VIM: Editing = Editing {
    program: "vim",
    editor: "vim",
    settings: (".vimrc", VIMRC),
    save: ":%s/bob/alice/\r:%y\r:w\r",
    saved: "written",
    quit: ":q\r",
};

#[track_caller]
fn leaves_nothing_behind(editing: &Editing) {
    let Some(path) = std::env::var_os("PATH") else {
        panic!("there is no PATH")
    };
    let mut folders = std::env::split_paths(&path);
    if !folders.any(|folder| folder.join(editing.program).exists()) {
        eprintln!("not run: {} is not installed", editing.program);
        return;
    }
    let home = Home::new();
    let leak = home.path().join("leak");
    std::fs::create_dir(&leak).unwrap();
    let (name, content) = editing.settings;
    let settings = home.path().join(name);
    std::fs::create_dir_all(settings.parent().unwrap()).unwrap();
    let with_leak = |text: &str| text.replace("LEAK", leak.to_str().unwrap());
    std::fs::write(&settings, with_leak(content)).unwrap();
    home.run(&["init"]).ok();
    // Nothing else on this machine holds it.
    let secret = format!("secret-{}-{}", editing.program, std::process::id());
    home.run_with(&["set", "web/shop", "user"], "bob\n").ok();
    home.run_with(&["set", "web/shop"], &secret).ok();

    let path = std::env::var("PATH").unwrap();
    let variables = [("EDITOR", with_leak(editing.editor)), ("PATH", path)];
    let variables = variables
        .each_ref()
        .map(|(name, value)| (*name, value.as_str()));
    let mut terminal = Terminal::start_with(&home, &["edit", "web/shop"], &variables);
    terminal.wait_for("passphrase: ");
    terminal.type_line(PASSPHRASE);
    terminal.wait_for(&secret);
    terminal.type_keys(editing.save);
    terminal.wait_for(editing.saved);
    assert_eq!(copies(&home, &secret), NO_FILES, "while it runs");
    terminal.type_keys(editing.quit);
    let (text, code, _) = terminal.finish();
    assert_eq!(code, 0, "{text}");
    assert!(!text.contains("is not known here"), "{text}");
    assert_eq!(copies(&home, &secret), NO_FILES, "afterwards");
    assert_eq!(home.run(&["show", "web/shop"]).code, 0);
}

/// The files that hold a text: in the home folder, and where editors keep temporary files.
fn copies(home: &Home, text: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    search(home.path(), 9, text.as_bytes(), &mut found);
    for folder in ["/tmp", "/var/tmp", "/var/tmp/vi.recover"] {
        search(Path::new(folder), 0, text.as_bytes(), &mut found);
    }
    found
}

/// Files that vanish meanwhile hold nothing.
fn search(folder: &Path, depth: usize, text: &[u8], found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let (path, kind) = (entry.path(), entry.file_type());
        if kind.as_ref().is_ok_and(std::fs::FileType::is_dir) && depth > 0 {
            search(&path, depth - 1, text, found);
        } else if kind.is_ok_and(|kind| kind.is_file())
            && std::fs::metadata(&path).is_ok_and(|file| file.len() < 1 << 20)
            && std::fs::read(&path).is_ok_and(|bytes| has(&bytes, text))
        {
            found.push(path);
        }
    }
}

fn has(bytes: &[u8], text: &[u8]) -> bool {
    bytes.windows(text.len()).any(|window| window == text)
}

#[test]
fn vim_leaves_nothing_behind() {
    leaves_nothing_behind(&VIM);
}

#[test]
fn vim_with_arguments_leaves_nothing_behind() {
    leaves_nothing_behind(&Editing {
        editor: "vim -f -N",
        ..VIM
    });
}

#[test]
fn the_vi_of_this_machine_leaves_nothing_behind() {
    leaves_nothing_behind(&Editing {
        program: "vi",
        editor: "vi",
        ..VIM
    });
}

#[test]
fn neovim_leaves_nothing_behind() {
    leaves_nothing_behind(&Editing {
        program: "nvim",
        editor: "nvim",
        settings: (".config/nvim/init.vim", NVIM_INIT),
        ..VIM
    });
}

#[test]
fn nvi_leaves_nothing_behind() {
    leaves_nothing_behind(&Editing {
        program: "nvi",
        editor: "nvi",
        settings: (".nexrc", "set recdir=LEAK directory=LEAK backup=LEAK/copy"),
        saved: "lines",
        save: ":%s/bob/alice/\r:w\r",
        ..VIM
    });
}

#[test]
fn nano_leaves_nothing_behind() {
    leaves_nothing_behind(&Editing {
        program: "nano",
        // As root it looks for its settings in another home folder.
        editor: "nano --rcfile=LEAK/../.nanorc",
        settings: (
            ".nanorc",
            "set backup\nset backupdir \"LEAK\"\nset historylog\nset positionlog\n",
        ),
        save: "# x\u{f}\r",
        saved: "Wrote",
        quit: "\u{18}",
    });
}

#[test]
fn micro_leaves_nothing_behind() {
    leaves_nothing_behind(&Editing {
        program: "micro",
        editor: "micro",
        settings: (
            ".config/micro/settings.json",
            "{\"backup\": true, \"saveundo\": true, \"savehistory\": true, \"permbackup\": true}",
        ),
        // Cuts all and pastes it, so that what could be undone holds it.
        save: "\u{1}\u{18}\u{16}\u{13}",
        saved: "Saved",
        quit: "\u{11}",
    });
}

#[test]
fn emacs_leaves_nothing_behind() {
    leaves_nothing_behind(&Editing {
        program: "emacs",
        editor: "emacs -nw",
        settings: (
            ".emacs",
            "(setq backup-directory-alist '((\".\" . \"LEAK\")) savehist-file \"LEAK/history\"\n\
             savehist-additional-variables '(kill-ring) backup-by-copying t)\n(savehist-mode 1)\n",
        ),
        save: "# x\r\u{18}\u{13}",
        saved: "Wrote",
        quit: "\u{18}\u{3}",
    });
}

#[test]
fn an_unknown_editor_is_named_with_what_it_may_do() {
    let home = Home::new();
    home.run(&["init"]).ok();
    home.run_with(&["set", "web/shop", "user"], "bob\n").ok();
    let variables = [("EDITOR", "cat"), ("PATH", "/usr/bin:/bin")];
    let mut terminal = Terminal::start_with(&home, &["edit", "web/shop"], &variables);
    terminal.wait_for("passphrase: ");
    terminal.type_line(PASSPHRASE);
    let (text, code, _) = terminal.finish();
    assert_eq!(code, 0, "{text}");
    assert!(
        text.contains("the editor `cat` is not known here"),
        "{text}"
    );
}

#[test]
fn what_a_killed_edit_leaves_is_deleted_by_the_next_command() {
    let home = Home::new();
    home.run(&["init"]).ok();
    home.run_with(&["set", "web/shop", "user"], "bob\n").ok();
    // It says where the text is, and waits for the end of its input.
    home.write("wait.sh", "echo \"$1\"; cat > /dev/null\n");
    let mut command = home.command();
    let mut child = command
        .args(["edit", "web/shop"])
        .env(
            "EDITOR",
            format!("sh {}", home.path().join("wait.sh").display()),
        )
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut place = String::new();
    let stdout = child.stdout.take().unwrap();
    BufReader::new(stdout).read_line(&mut place).unwrap();
    let text = Path::new(place.trim_end());
    assert!(text.exists(), "{place}");
    home.run(&["ls"]).ok();
    assert!(text.exists(), "an edit that goes on keeps its text");
    child.kill().unwrap();
    child.wait().unwrap();
    home.run(&["ls"]).ok();
    assert!(!text.parent().unwrap().exists(), "{place}");
}
