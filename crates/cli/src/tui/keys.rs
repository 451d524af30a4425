//! What the keys do, for the last line of the screen and for the help.

use super::state::{Focus, State};

/// A key and what it does.
pub(super) type Hint = (&'static str, &'static str);

/// The keys that matter now, the most useful first.
pub(super) fn hints(state: &State) -> Vec<Hint> {
    if state.is_locked {
        return vec![("Enter", "unlock"), ("q", "quit")];
    }
    if state.dialog.is_some() {
        return vec![("↑↓", "scroll"), ("Esc", "close")];
    }
    match state.focus {
        Focus::Search => vec![("↑↓", "choose"), ("Enter", "open"), ("Esc", "all records")],
        Focus::Tree => vec![
            ("Enter", "open"),
            ("/", "search"),
            ("c", "copy"),
            ("b", "user"),
            ("t", "code"),
            ("?", "help"),
            ("q", "quit"),
        ],
        Focus::Record => vec![
            ("Enter", "reveal"),
            ("c", "copy"),
            ("t", "code"),
            ("Esc", "back"),
            ("/", "search"),
            ("?", "help"),
            ("q", "quit"),
        ],
    }
}

/// All keys, by the part of the screen that they act on.
pub(super) const HELP: &[(&str, &[Hint])] = &[
    (
        "Everywhere",
        &[
            ("/", "search paths and all fields that are no secrets"),
            ("F5", "read the records again"),
            ("q, Ctrl-C", "quit"),
        ],
    ),
    (
        "Records",
        &[
            ("↑ ↓ PgUp PgDn Home End, j k", "choose a record"),
            (
                "→ Enter Tab",
                "go to the record, or open and close a folder",
            ),
            ("←", "close the folder, or go to the one above"),
            ("Esc", "leave the search"),
            ("c", "copy the password"),
        ],
    ),
    (
        "Record",
        &[
            ("↑ ↓, j k", "choose a field"),
            ("Enter, Space", "reveal a secret, or hide it again"),
            ("c", "copy the field"),
            ("← Esc", "go back; all secrets are hidden"),
        ],
    ),
    (
        "Either",
        &[
            ("b", "copy the user name"),
            ("t", "show the one-time code, or hide it"),
            ("T", "copy the one-time code"),
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
