use clap_complete::Shell;
use clap_complete::env::Shells;
use passmate_core::problem::{Problem, ProblemKind};

use crate::app::App;
use crate::completing::{VARIABLE, WORD};

/// Print completions for a shell
///
/// For bash: passmate completions bash > ~/.local/share/bash-completion/completions/passmate
///
/// The Tab key completes records and fields too while the agent holds the vault. Without an agent
/// it completes commands and options alone, and asks nothing.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The shell
    shell: Shell,
}

const NAME: &str = "passmate";

/// The line of the script for bash that tells the program which word is completed.
const INDEX: &str = "_CLAP_COMPLETE_INDEX=\"$_CLAP_COMPLETE_INDEX\" \\\n";

/// The same, and how that word stands on the line: bash takes its quote away.
fn with_word() -> String {
    format!("{INDEX}        {WORD}=\"${{COMP_WORDS[COMP_CWORD]}}\" \\\n")
}

/// zsh loads a script from its `fpath` at the first Tab, and runs it as that completion.
const AUTOLOADED: &str = "\nif [[ $funcstack[1] == _passmate ]]; then\n    \
                          _clap_dynamic_completer_passmate \"$@\"\nfi";

pub(crate) fn run(app: &App, args: &Args) -> Result<(), Problem> {
    let shells = Shells::builtins();
    let shell = shells.completer(&args.shell.to_string());
    let mut script = Vec::new();
    let written =
        shell.map(|shell| shell.write_registration(VARIABLE, NAME, NAME, NAME, &mut script));
    let script = String::from_utf8_lossy(&script);
    let script = match args.shell {
        Shell::Bash => script.replace(INDEX, &with_word()),
        Shell::Zsh => format!("{}{AUTOLOADED}", script.trim()),
        _ => script.into_owned(),
    };
    match written {
        Some(Ok(())) => app.out.value(script.trim()),
        _ => Err(Problem::new(
            ProblemKind::NotSupported,
            format!("there are no completions for {}", args.shell),
            "there are some for bash, elvish, fish, powershell and zsh",
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_script_for_bash_has_the_line_that_is_extended() {
        let mut script = Vec::new();
        let shells = Shells::builtins();
        let bash = shells.completer("bash").unwrap();
        bash.write_registration(VARIABLE, NAME, NAME, NAME, &mut script)
            .unwrap();
        let script = String::from_utf8(script).unwrap();
        assert_eq!(script.matches(INDEX).count(), 1, "{script}");
    }
}
