//! What a line of the shell means. With the names of the original program, the rest of the line is
//! the one argument, blanks included; any other line is a command of `passmate`.

use shell_words::split;

/// What a line asks for.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Step {
    Nothing,
    Exit,
    Help,
    /// Opens the record that this path means.
    Open(String),
    Close,
    /// A command of `passmate`, and what follows if it succeeds.
    Run(Vec<String>, Then),
    /// Why the line means nothing.
    Unclear(String),
}

/// What follows a command.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Then {
    Stay,
    Open(String),
    Close,
}

/// A name of the original program.
pub(super) struct Name {
    pub(super) name: &'static str,
    /// What stands behind it.
    pub(super) argument: &'static str,
    pub(super) about: &'static str,
    pub(super) takes: Takes,
    pub(super) place: Place,
}

/// What a name takes behind it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Takes {
    Nothing,
    Path,
    Field,
    /// A field, or nothing.
    AnyField,
    Letters,
}

/// Where a name means something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    Anywhere,
    /// With a record open.
    Record,
}

impl Name {
    /// The name, with a blank if something stands behind it.
    pub(super) fn to_go_on(&self) -> String {
        let blank = if self.argument.is_empty() { "" } else { " " };
        format!("{}{blank}", self.name)
    }
}

const fn name(
    name: &'static str,
    argument: &'static str,
    takes: Takes,
    place: Place,
    about: &'static str,
) -> Name {
    Name {
        name,
        argument,
        about,
        takes,
        place,
    }
}

/// All names, in the order of the help.
pub(super) const NAMES: &[Name] = &[
    name(
        "ls",
        "[LETTERS]",
        Takes::Letters,
        Place::Anywhere,
        "list records, or search",
    ),
    name(
        "open",
        "PATH",
        Takes::Path,
        Place::Anywhere,
        "open a record; the path alone does too",
    ),
    name(
        "new",
        "PATH",
        Takes::Path,
        Place::Anywhere,
        "make a record and open it",
    ),
    name(
        "show",
        "",
        Takes::Nothing,
        Place::Record,
        "show all its values, until a key is pressed",
    ),
    name(
        "set",
        "FIELD",
        Takes::Field,
        Place::Record,
        "ask for a value and store it",
    ),
    name(
        "unset",
        "FIELD",
        Takes::Field,
        Place::Record,
        "remove a field",
    ),
    name(
        "gen",
        "FIELD",
        Takes::Field,
        Place::Record,
        "generate a password and store it",
    ),
    name(
        "copy",
        "[FIELD]",
        Takes::AnyField,
        Place::Record,
        "copy to the clipboard",
    ),
    name(
        "code",
        "",
        Takes::Nothing,
        Place::Record,
        "show the one-time code",
    ),
    name(
        "history",
        "[FIELD]",
        Takes::AnyField,
        Place::Record,
        "show earlier values",
    ),
    name(
        "edit",
        "",
        Takes::Nothing,
        Place::Record,
        "open it in an editor",
    ),
    name(
        "rename",
        "PATH",
        Takes::Path,
        Place::Record,
        "move it to another path",
    ),
    name("del", "", Takes::Nothing, Place::Record, "delete it"),
    name(
        "close",
        "",
        Takes::Nothing,
        Place::Record,
        "close it; an empty line does too",
    ),
    name(
        "sync",
        "",
        Takes::Nothing,
        Place::Anywhere,
        "sync with the other devices",
    ),
    name(
        "undo",
        "",
        Takes::Nothing,
        Place::Anywhere,
        "undo the last change",
    ),
    name(
        "change_passphrase",
        "",
        Takes::Nothing,
        Place::Anywhere,
        "change the master passphrase",
    ),
    name(
        "help",
        "",
        Takes::Nothing,
        Place::Anywhere,
        "show this list",
    ),
    name(
        "exit",
        "",
        Takes::Nothing,
        Place::Anywhere,
        "leave; Ctrl-D does too",
    ),
];

/// The name at the begin of a line, if it means something here, and what stands behind it.
pub(super) fn named<'l>(line: &'l str, open: Option<&str>) -> Option<(&'static Name, &'l str)> {
    let line = line.trim_start();
    let (word, rest) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
    let name = NAMES.iter().find(|name| name.name == word)?;
    let means_something = name.place == Place::Anywhere || open.is_some();
    means_something.then_some((name, rest.trim()))
}

/// What a line means while this record is open.
pub(super) fn understand(
    line: &str,
    open: Option<&str>,
    is_command: impl Fn(&str) -> bool,
) -> Step {
    let line = line.trim();
    if line.is_empty() {
        return open.map_or(Step::Nothing, |_| Step::Close);
    }
    if let Some((name, rest)) = named(line, open) {
        // Options make it the command of that name.
        return match rest.starts_with('-') {
            true => other(line),
            false => of_name(name, rest, open),
        };
    }
    let first = line.split_whitespace().next().unwrap_or_default();
    match is_command(first) || open.is_some() {
        true => other(line),
        false => with_argument(line, "open", Step::Open),
    }
}

fn other(line: &str) -> Step {
    match split(line) {
        Ok(words) => Step::Run(words, Then::Stay),
        Err(_) => Step::Unclear("a quote is not closed".to_owned()),
    }
}

/// The one argument of a line; quotes around it are taken away.
fn with_argument(text: &str, name: &str, step: impl FnOnce(String) -> Step) -> Step {
    if !text.starts_with(['\'', '"']) {
        return step(text.to_owned());
    }
    match split(text).as_deref() {
        Ok([one]) => step(one.clone()),
        Ok(_) => Step::Unclear(format!("{name} takes one argument")),
        Err(_) => Step::Unclear("a quote is not closed".to_owned()),
    }
}

fn of_name(name: &Name, rest: &str, open: Option<&str>) -> Step {
    let record = open.unwrap_or_default();
    let run = |words: &[&str], then| {
        Step::Run(words.iter().map(|word| (*word).to_owned()).collect(), then)
    };
    match (name.takes, rest.is_empty()) {
        (Takes::Nothing, false) => {
            return Step::Unclear(format!("{} takes no argument", name.name));
        }
        (Takes::Path | Takes::Field, true) => {
            return Step::Unclear(format!("{} takes a {}", name.name, name.argument));
        }
        _ => {}
    }
    let of_record = |word: &str| {
        let mut words = vec![word, "--", record];
        words.extend((!rest.is_empty()).then_some(rest));
        run(&words, Then::Stay)
    };
    match name.name {
        "exit" => Step::Exit,
        "help" => Step::Help,
        "close" => Step::Close,
        "open" => with_argument(rest, "open", Step::Open),
        "new" => with_argument(rest, "new", |path| {
            run(&["new", "--", &path], Then::Open(path.clone()))
        }),
        "rename" => with_argument(rest, "rename", |path| {
            // Into a folder it keeps its name, which only the vault knows for sure.
            let then = match path.ends_with('/') {
                true => Then::Close,
                false => Then::Open(path.clone()),
            };
            run(&["mv", "--", record, &path], then)
        }),
        "del" => run(&["rm", "--", record], Then::Close),
        "ls" if rest.is_empty() => run(&["ls"], Then::Stay),
        "ls" => run(&["find", "--", rest], Then::Stay),
        "show" => run(&["show", "--reveal", "--", record], Then::Stay),
        "change_passphrase" => run(&["passwd"], Then::Stay),
        "sync" | "undo" => run(&[name.name], Then::Stay),
        other => of_record(other),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(line: &str, open: Option<&str>) -> Step {
        understand(line, open, |word| ["audit", "show"].contains(&word))
    }

    fn run(words: &[&str], then: Then) -> Step {
        Step::Run(words.iter().map(|word| (*word).to_owned()).collect(), then)
    }

    #[test]
    fn the_rest_of_a_line_is_one_argument() {
        let path = "My Bank/giro account";
        let open = || Step::Open(path.to_owned());
        assert_eq!(of("open My Bank/giro account", None), open());
        assert_eq!(of("  My Bank/giro account ", None), open());
        assert_eq!(of("open 'My Bank/giro account'", None), open());
        assert_eq!(
            of("new My Bank/x", None),
            run(
                &["new", "--", "My Bank/x"],
                Then::Open("My Bank/x".to_owned())
            )
        );
        assert_eq!(
            of("set security question", Some("a b")),
            run(&["set", "--", "a b", "security question"], Then::Stay)
        );
        assert_eq!(
            of("ls giro b", None),
            run(&["find", "--", "giro b"], Then::Stay)
        );
    }

    #[test]
    fn an_open_record_stands_in_the_place_of_the_path() {
        let open = Some("-x");
        assert_eq!(
            of("show", open),
            run(&["show", "--reveal", "--", "-x"], Then::Stay)
        );
        assert_eq!(of("copy", open), run(&["copy", "--", "-x"], Then::Stay));
        assert_eq!(
            of("copy user", open),
            run(&["copy", "--", "-x", "user"], Then::Stay)
        );
        assert_eq!(of("del", open), run(&["rm", "--", "-x"], Then::Close));
        assert_eq!(
            of("rename y", open),
            run(&["mv", "--", "-x", "y"], Then::Open("y".to_owned()))
        );
        assert_eq!(
            of("rename y/", open),
            run(&["mv", "--", "-x", "y/"], Then::Close)
        );
        assert_eq!(of("", open), Step::Close);
        assert_eq!(of("", None), Step::Nothing);
    }

    #[test]
    fn every_other_command_is_one_of_passmate() {
        assert_eq!(
            of("audit --json", None),
            run(&["audit", "--json"], Then::Stay)
        );
        assert_eq!(
            of("show 'a b' user", None),
            run(&["show", "a b", "user"], Then::Stay)
        );
        assert_eq!(
            of("sync --dry-run", None),
            run(&["sync", "--dry-run"], Then::Stay)
        );
        assert!(matches!(of("audit 'x", None), Step::Unclear(_)));
        assert!(matches!(of("set", Some("a")), Step::Unclear(_)));
        assert!(matches!(of("exit now", None), Step::Unclear(_)));
    }
}
