//! What the keys do, for the last line of the screen and for the help.

use super::dialog::Dialog;
use super::state::{Focus, State};

/// A key and what it does.
pub(super) type Hint = (&'static str, &'static str);

/// The keys that matter now, the most useful first.
pub(super) fn hints(state: &State) -> &'static [Hint] {
    if state.is_locked {
        return &[("Enter", "unlock"), ("q", "quit")];
    }
    match (&state.dialog, state.focus) {
        (Some(Dialog::Help { .. } | Dialog::Report(_)), _) => &[("↑↓", "scroll"), ("Esc", "close")],
        (Some(Dialog::Ask(ask)), _) if ask.what.is_secret() => &[
            ("Enter", "store"),
            ("Ctrl-R", "show or hide"),
            ("Esc", "leave"),
        ],
        (Some(Dialog::Ask(_)), _) => &[("Enter", "go on"), ("Esc", "leave")],
        (Some(Dialog::Confirm(confirm)), _) if confirm.topic.can_be_refused() => &[
            ("y", "accept"),
            ("r", "refuse for good, on all devices"),
            ("n", "later"),
            ("↑↓", "scroll"),
        ],
        (Some(Dialog::Confirm(_)), _) => &[("y", "yes"), ("n", "no")],
        (Some(Dialog::History(_)), _) => &[
            ("↑↓", "choose"),
            ("Space", "reveal"),
            ("c", "copy"),
            ("Enter", "restore"),
            ("Esc", "close"),
        ],
        (Some(Dialog::Trash(_)), _) => {
            &[("↑↓", "choose"), ("Enter", "bring back"), ("Esc", "close")]
        }
        (Some(Dialog::Kinds(_)), _) => &[("↑↓", "choose"), ("Enter", "go on"), ("Esc", "leave")],
        (Some(Dialog::Findings(_)), _) => {
            &[("↑↓", "choose"), ("Enter", "go to it"), ("Esc", "close")]
        }
        (Some(Dialog::Generate(_)), _) => &[
            ("Enter", "store"),
            ("Space", "another"),
            ("Tab", "other kind"),
            ("+ -", "length"),
            ("r", "reveal"),
            ("Esc", "leave"),
        ],
        (None, Focus::Search) => &[("↑↓", "choose"), ("Enter", "open"), ("Esc", "all records")],
        (None, Focus::Tree) => &[
            ("Enter", "open"),
            ("/", "search"),
            ("c", "copy"),
            ("n", "new"),
            ("d", "delete"),
            ("s", "sync"),
            ("?", "help"),
            ("q", "quit"),
        ],
        (None, Focus::Record) if !state.has_secret_selected() => &[
            ("c", "copy"),
            ("e", "edit"),
            ("a", "add"),
            ("h", "history"),
            ("?", "help"),
            ("Esc", "back"),
        ],
        (None, Focus::Record) => &[
            ("Enter", "reveal"),
            ("c", "copy"),
            ("e", "edit"),
            ("a", "add"),
            ("h", "history"),
            ("?", "help"),
            ("Esc", "back"),
        ],
    }
}

/// All keys, by the part of the screen that they act on.
pub(super) const HELP: &[(&str, &[Hint])] = &[
    (
        "Everywhere",
        &[
            ("/", "search paths and fields that are no secrets"),
            ("n", "new record, of a kind whose fields are asked for"),
            ("m", "move or rename the record or folder"),
            ("d  D", "delete it; the deleted records, to bring one back"),
            ("u  U", "undo the last change or sync; redo"),
            ("b", "copy the user name"),
            ("t  T", "show the one-time code, or hide it; copy it"),
            (
                "h",
                "history of the record or field; earlier values come back",
            ),
            ("a", "add a field"),
            ("E", "edit the record in your editor"),
            ("g", "generate a password"),
            ("s  S", "sync now; what the last syncs did"),
            (
                "A",
                "audit: weak, reused and old passwords, the worst first",
            ),
            ("F5", "read the records again"),
            ("L", "lock the vault, in the agent too"),
            ("q  Ctrl-C", "quit"),
        ],
    ),
    (
        "Records",
        &[
            ("↑ ↓  j k", "choose a record"),
            ("→  Enter", "go to the record, or open a folder"),
            ("←", "close the folder, or go to the one above"),
            ("c  e", "copy the password; type a new one"),
            ("Esc", "leave the search"),
        ],
    ),
    (
        "Record",
        &[
            ("↑ ↓  j k", "choose a field"),
            ("Enter", "reveal a secret, or hide it again"),
            ("c  e", "copy the field; edit it in its place"),
            ("x", "unset the field; its values stay in the history"),
            ("←  Esc", "go back; all secrets are hidden"),
        ],
    ),
    (
        "Mouse",
        &[
            ("click", "choose; a second click reveals a field"),
            ("wheel", "scroll"),
            ("Shift", "with it, the terminal selects text"),
        ],
    ),
];
