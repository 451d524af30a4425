//! The person's editor, and what keeps it from saving copies of a text elsewhere.
//!
//! An editor leaves more behind than the file: a swap file, a backup, an undo file, a history with
//! what was last copied, the local history of a workbench. Each editor that is known here gets
//! arguments that switch this off, and that count more than its settings files. They are in one
//! table, [`Editor::arguments`].

use std::ffi::{OsStr, OsString};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

/// Editors that can be kept from it, for a note.
pub(super) const KNOWN: &str = "vi, vim, nvim, nano, micro, hx, kak, emacs and code";

/// How long an editor may take to tell what it is.
const PROBE_TIME_MAX: Duration = Duration::from_secs(2);

/// An editor that is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Editor {
    Vim,
    /// vim in a window of its own.
    Gvim,
    Neovim,
    /// The vi of BSD.
    Nvi,
    Nano,
    Micro,
    Helix,
    Kakoune,
    Emacs,
    /// Visual Studio Code and programs that were made of it.
    Code,
    /// It writes nothing but the file.
    Plain,
}

impl Editor {
    /// The editor with this file name.
    fn named(name: &str) -> Option<Self> {
        Some(match name {
            "vim" | "rvim" | "vimx" => Self::Vim,
            _ if name.starts_with("vim.") || name.starts_with("vim-") => Self::Vim,
            "gvim" | "gview" | "rgvim" | "mvim" => Self::Gvim,
            "nvim" => Self::Neovim,
            "nvi" | "nview" | "nex" | "bsd-vi" => Self::Nvi,
            "nano" | "rnano" => Self::Nano,
            "micro" => Self::Micro,
            "hx" | "helix" => Self::Helix,
            "kak" => Self::Kakoune,
            _ if name == "emacs" || name.starts_with("emacs-") => Self::Emacs,
            "code" | "code-insiders" | "code-oss" | "codium" | "vscodium" | "cursor" => Self::Code,
            "ed" | "red" | "busybox" => Self::Plain,
            _ => return None,
        })
    }

    /// What its `--version` says that it is.
    fn of_version(text: &str) -> Option<Self> {
        if text.starts_with("VIM - Vi IMproved") {
            Some(Self::Vim)
        } else if text.starts_with("NVIM") {
            Some(Self::Neovim)
        } else {
            None
        }
    }

    /// The arguments that keep the text out of every file but its own. `state` is a folder that is
    /// deleted afterwards.
    fn arguments(self, state: &Path) -> Vec<OsString> {
        let words = |words: &[&str]| words.iter().map(OsString::from).collect::<Vec<_>>();
        let in_state = |name: &str| state.join(name).into_os_string();
        match self {
            Self::Vim => vim_arguments(&VIM_OPTIONS),
            Self::Gvim => [words(&["-f"]), vim_arguments(&VIM_OPTIONS)].concat(),
            Self::Neovim => vim_arguments(&NEOVIM_OPTIONS),
            Self::Nvi | Self::Plain => Vec::new(),
            Self::Nano => words(&["--ignorercfiles"]),
            Self::Micro => vec!["-config-dir".into(), state.into()],
            Self::Helix => vec!["--log".into(), in_state("helix.log")],
            Self::Kakoune => words(&["-n"]),
            Self::Emacs => words(&["-Q", "--eval", EMACS_SETTINGS]),
            Self::Code => {
                let mut arguments = words(&["--wait", "--disable-extensions", "--user-data-dir"]);
                arguments.push(in_state("data"));
                arguments.push("--extensions-dir".into());
                arguments.push(in_state("extensions"));
                arguments
            }
        }
    }

    /// The variables of its environment that do the same.
    fn variables(self, state: &Path) -> Vec<(&'static str, OsString)> {
        let mut variables = vec![("TMPDIR", state.into())];
        match self {
            Self::Neovim => variables.push(("XDG_STATE_HOME", state.into())),
            Self::Nvi => {
                let state = escaped(&state.to_string_lossy());
                let settings = format!("set recdir={state} directory={state}");
                variables.push(("NEXINIT", settings.clone().into()));
                variables.push(("EXINIT", settings.into()));
            }
            _ => {}
        }
        variables
    }
}

/// A path as an argument of `set`.
fn escaped(path: &str) -> String {
    let mut escaped = String::with_capacity(path.len());
    for c in path.chars() {
        if !c.is_ascii_alphanumeric() && !matches!(c, '/' | '.' | '-' | '_') {
            escaped.push('\\');
        }
        escaped.push(c);
    }
    escaped
}

/// Each is set by itself: not every vim has all of them.
const VIM_OPTIONS: [&str; 10] = [
    "noswapfile",
    "updatecount=0",
    "noundofile",
    "nobackup",
    "nowritebackup",
    "patchmode=",
    "viminfo=",
    "viminfofile=NONE",
    "clipboard=",
    "nomodeline",
];
const NEOVIM_OPTIONS: [&str; 10] = [
    "noswapfile",
    "updatecount=0",
    "noundofile",
    "nobackup",
    "nowritebackup",
    "patchmode=",
    "shada=",
    "shadafile=NONE",
    "clipboard=",
    "nomodeline",
];

const EMACS_SETTINGS: &str = "(setq make-backup-files nil auto-save-default nil \
     auto-save-list-file-prefix nil create-lockfiles nil enable-local-variables nil)";

/// `-n` comes before the file is read, and `-c` after the settings files. The options are set once
/// more before each writing, in case that the settings files have commands for it. A plug-in may
/// save or send whatever it likes, so there is none.
fn vim_arguments(options: &[&str]) -> Vec<OsString> {
    let set: Vec<String> = options
        .iter()
        .map(|option| format!("silent! set {option}"))
        .collect();
    let set = set.join(" | ");
    let now = set.clone();
    let later = format!("autocmd BufWritePre,FileWritePre,VimLeavePre * {set}");
    let words = [
        "-n",
        "-i",
        "NONE",
        "--noplugin",
        "--cmd",
        "set nomodeline",
        "-c",
        &now,
        "-c",
        &later,
    ];
    words.iter().map(OsString::from).collect()
}

/// The command that runs an editor on a file.
#[derive(Debug)]
pub(super) struct Program {
    /// A line for a shell.
    line: OsString,
    editor: Option<Editor>,
    /// The person's own options may undo ours.
    has_options: bool,
}

/// How options begin that may ask for copies: backups, histories, or commands of the editor.
const ASKING: [&str; 13] = [
    "+",
    "-c",
    "-S",
    "--cmd",
    "-l",
    "--load",
    "--eval",
    "-eval",
    "--backup",
    "-backup",
    "-save",
    "-permbackup",
    "--historylog",
];
/// Short options of nano that ask for copies, alone or among others.
const ASKING_SHORT: [char; 4] = ['B', 'C', 'H', 'P'];

/// Whether a word of the person's may ask for copies.
fn asks_for_copies(word: &str) -> bool {
    let short = word
        .strip_prefix('-')
        .filter(|rest| rest.chars().all(char::is_alphabetic));
    ASKING.iter().any(|begin| word.starts_with(begin))
        || short.is_some_and(|short| short.contains(ASKING_SHORT))
}

impl Program {
    /// The editor that the person named, or vi.
    pub(super) fn of_person() -> Self {
        let set = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
        let line = set("VISUAL").or_else(|| set("EDITOR"));
        Self::of_line(line.unwrap_or_else(|| "vi".into()))
    }

    fn of_line(line: OsString) -> Self {
        let editor = line
            .to_str()
            .and_then(first_word)
            .and_then(|word| find(&word));
        let words = line.to_str().and_then(|line| shell_words::split(line).ok());
        let asks = |words: Vec<String>| words.iter().any(|word| asks_for_copies(word));
        Self {
            has_options: words.is_some_and(asks),
            line,
            editor,
        }
    }

    /// Whether it is known how to keep this editor from saving copies, and no option of the person
    /// may undo that.
    pub(super) const fn is_known(&self) -> bool {
        self.editor.is_some() && !self.has_options
    }

    /// The name that the person gave it.
    pub(super) fn name(&self) -> String {
        self.line.to_string_lossy().into_owned()
    }

    /// The command; `state` is a folder that is deleted afterwards.
    pub(super) fn command(&self, text: &Path, state: &Path) -> Command {
        let mut line = self.line.clone();
        line.push(" \"$@\"");
        let mut command = Command::new("sh");
        command.arg("-c").arg(line).arg("sh");
        match self.editor {
            Some(editor) => {
                command.args(editor.arguments(state));
                command.envs(editor.variables(state));
            }
            None => {
                command.env("TMPDIR", state);
            }
        }
        command.arg(text);
        command
    }
}

/// The word of a shell line that names its program, if the line runs one program and waits for it.
fn first_word(line: &str) -> Option<String> {
    // Arguments would be given to another part of the line, or to a program that runs already.
    if line.contains([';', '&', '|', '<', '>', '`', '$', '(', '#', '\n']) {
        return None;
    }
    let words = shell_words::split(line).ok()?;
    let is_remote = |word: &String| word.starts_with("--remote") || word == "--servername";
    if words.iter().any(is_remote) {
        return None;
    }
    let is_before =
        |word: &String| matches!(word.as_str(), "env" | "exec" | "command") || is_assignment(word);
    words.into_iter().find(|word| !is_before(word))
}

fn is_assignment(word: &str) -> bool {
    let name = word.split_once('=').map(|(name, _)| name);
    name.is_some_and(|name| {
        !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
    })
}

/// Which editor a program is. Names such as `vi` and `editor` are often links to another.
fn find(word: &str) -> Option<Editor> {
    let file_name = |path: &Path| {
        let name = path.file_name().and_then(OsStr::to_str);
        name.unwrap_or_default().to_owned()
    };
    let name = file_name(Path::new(word));
    let path = locate(word);
    let real = path.as_deref().map(file_name);
    let known = real.as_deref().and_then(Editor::named);
    known.or_else(|| Editor::named(&name)).or_else(|| {
        let is_vi = matches!(name.as_str(), "vi" | "view" | "ex");
        let version = path.filter(|_| is_vi).and_then(|path| version(&path));
        version.as_deref().and_then(Editor::of_version)
    })
}

/// The file of a program, behind all links.
fn locate(word: &str) -> Option<PathBuf> {
    if word.contains('/') {
        return Path::new(word).canonicalize().ok();
    }
    let path = std::env::var_os("PATH")?;
    let mut files = std::env::split_paths(&path).map(|folder| folder.join(word));
    files.find(|file| file.is_file())?.canonicalize().ok()
}

/// The beginning of what a program says about itself.
fn version(program: &Path) -> Option<String> {
    let mut child = Command::new(program)
        .arg("--version")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .ok()?;
    let stdout = child.stdout.take()?;
    let (sender, told) = mpsc::channel();
    thread::spawn(move || {
        let mut text = Vec::new();
        let _ = stdout.take(64).read_to_end(&mut text);
        let _ = sender.send(text);
    });
    let told = told.recv_timeout(PROBE_TIME_MAX);
    let _ = child.kill();
    let _ = child.wait();
    Some(String::from_utf8_lossy(&told.ok()?).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arguments(editor: Editor) -> Vec<String> {
        let arguments = editor.arguments(Path::new("/s"));
        arguments
            .iter()
            .map(|word| word.to_str().unwrap().to_owned())
            .collect()
    }

    #[test]
    fn each_editor_is_known_by_its_name() {
        for (name, editor) in [
            ("vim", Editor::Vim),
            ("vim.basic", Editor::Vim),
            ("vim.tiny", Editor::Vim),
            ("gvim", Editor::Gvim),
            ("nvim", Editor::Neovim),
            ("nvi", Editor::Nvi),
            ("nano", Editor::Nano),
            ("micro", Editor::Micro),
            ("hx", Editor::Helix),
            ("helix", Editor::Helix),
            ("emacs-nox", Editor::Emacs),
            ("code", Editor::Code),
            ("codium", Editor::Code),
        ] {
            assert_eq!(Editor::named(name), Some(editor), "{name}");
        }
        for name in ["emacsclient", "gedit", "vimpager", "cat", ""] {
            assert_eq!(Editor::named(name), None, "{name}");
        }
    }

    #[test]
    fn an_editor_that_is_told_to_save_copies_is_not_promised_to_save_none() {
        for line in [
            "nano",
            "nano --rcfile=x",
            "vim -f -N",
            "emacs -nw",
            "code --wait",
        ] {
            assert!(!Program::of_line(line.into()).has_options, "{line}");
        }
        for line in [
            "nano -B -C x",
            "nano -xB",
            "nano --backup --backupdir=x",
            "vim --cmd 'au BufWrite * w! x'",
            "vim -c 'w! x'",
            "vim '+w! x'",
            "emacs --eval '(x)'",
            "micro -backup true",
        ] {
            assert!(Program::of_line(line.into()).has_options, "{line}");
        }
    }

    #[test]
    fn the_first_word_of_a_line_names_the_program() {
        for (line, word) in [
            ("vim", Some("vim")),
            ("vim -f +5", Some("vim")),
            ("'/opt/my vim/vim' -f", Some("/opt/my vim/vim")),
            ("env TERM=dumb LANG=C nano -w", Some("nano")),
            ("exec vim", Some("vim")),
            ("vim; true", None),
            ("vim $OPTS", None),
            ("gvim --remote-wait", None),
            ("'vim", None),
            ("", None),
        ] {
            assert_eq!(first_word(line).as_deref(), word, "{line}");
        }
    }

    #[test]
    fn a_link_is_followed_to_the_editor_behind_it() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        std::fs::write(at("vim.basic"), "").unwrap();
        std::os::unix::fs::symlink(at("vim.basic"), at("alternative")).unwrap();
        std::os::unix::fs::symlink(at("alternative"), at("vi")).unwrap();
        assert_eq!(find(at("vi").to_str().unwrap()), Some(Editor::Vim));
        std::fs::write(at("other"), "").unwrap();
        assert_eq!(find(at("other").to_str().unwrap()), None);
        // A script that runs vim.
        std::fs::write(at("vim"), "").unwrap();
        assert_eq!(find(at("vim").to_str().unwrap()), Some(Editor::Vim));
    }

    #[test]
    fn a_vi_that_is_a_file_of_its_own_is_asked_what_it_is() {
        use std::os::unix::fs::PermissionsExt;
        for (says, editor) in [
            ("VIM - Vi IMproved 9.1", Some(Editor::Vim)),
            ("NVIM v0.10", Some(Editor::Neovim)),
            ("ex/vi: 8.0", None),
        ] {
            let folder = tempfile::tempdir().unwrap();
            let vi = folder.path().join("vi");
            std::fs::write(&vi, format!("#!/bin/sh\necho '{says}'\n")).unwrap();
            std::fs::set_permissions(&vi, std::fs::Permissions::from_mode(0o755)).unwrap();
            assert_eq!(find(vi.to_str().unwrap()), editor, "{says}");
        }
    }

    #[test]
    fn each_editor_is_kept_from_saving_copies() {
        for editor in [Editor::Vim, Editor::Gvim, Editor::Neovim] {
            let told = arguments(editor).join(" ");
            for wanted in [
                "-n ",
                "-i NONE ",
                "--noplugin ",
                "set noundofile",
                "set nobackup",
                "set nowritebackup",
                "set noswapfile",
                "autocmd BufWritePre",
            ] {
                assert!(told.contains(wanted), "{editor:?} {wanted}: {told}");
            }
        }
        assert_eq!(arguments(Editor::Gvim)[0], "-f");
        assert!(arguments(Editor::Neovim).join(" ").contains("set shada="));
        assert!(arguments(Editor::Vim).join(" ").contains("set viminfo="));
        assert_eq!(arguments(Editor::Nano), ["--ignorercfiles"]);
        assert_eq!(arguments(Editor::Micro), ["-config-dir", "/s"]);
        assert_eq!(arguments(Editor::Helix), ["--log", "/s/helix.log"]);
        assert_eq!(arguments(Editor::Emacs)[0], "-Q");
        let code = arguments(Editor::Code).join(" ");
        assert!(code.contains("--user-data-dir /s/data"), "{code}");
        let nvi = Editor::Nvi.variables(Path::new("/s x"));
        assert!(nvi.contains(&("NEXINIT", "set recdir=/s\\ x directory=/s\\ x".into())));
    }

    #[test]
    fn the_arguments_stand_between_those_of_the_person_and_the_file() {
        let command = Program::of_line("nano -w".into());
        let command = command.command(Path::new("/s/a b"), Path::new("/s"));
        let words: Vec<_> = command
            .get_args()
            .map(|word| word.to_str().unwrap())
            .collect();
        assert_eq!(
            words,
            ["-c", "nano -w \"$@\"", "sh", "--ignorercfiles", "/s/a b"]
        );
    }
}
