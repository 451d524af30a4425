//! The Tab key in zsh. The rules are:
//!  - a colon of a candidate comes behind a backslash, because a description follows another one:
//!    the script must not end the candidate there;
//!  - a script that zsh loads at the first Tab answers that Tab.

use std::ffi::OsString;
use std::io;
use std::path::Path;

use clap::Command;
use clap_complete::env::{self, EnvCompleter};

/// The lines of the script before candidates are taken, that takes one apart, and that gives them to
/// zsh.
const BEGIN: &str = "        local completion\n";
const APART: &str = "            local value=\"${completion%%:*}\"\n";
const GIVE: &str = "        [[ -n $dirs ]]";
/// What hides the colons that end nothing, and shows them again.
const HIDDEN: &str = "        local hidden=$'\\1'\n";
const HIDE: &str = "            completion=${completion//\\\\:/$hidden}\n";
const SHOW: &str = "        dirs=(\"${(@)dirs//$hidden/\\\\:}\")\n        \
                    other=(\"${(@)other//$hidden/\\\\:}\")\n";

/// The Tab key in zsh.
#[derive(Debug)]
pub(crate) struct Zsh;

impl EnvCompleter for Zsh {
    fn name(&self) -> &'static str {
        env::Zsh.name()
    }

    fn is(&self, name: &str) -> bool {
        env::Zsh.is(name)
    }

    fn write_registration(
        &self,
        variable: &str,
        name: &str,
        program: &str,
        completer: &str,
        script: &mut dyn io::Write,
    ) -> io::Result<()> {
        let mut plain = Vec::new();
        env::Zsh.write_registration(variable, name, program, completer, &mut plain)?;
        let plain = String::from_utf8_lossy(&plain);
        let whole = plain.replace(BEGIN, &format!("{BEGIN}{HIDDEN}"));
        let whole = whole.replace(APART, &format!("{HIDE}{APART}"));
        let whole = whole.replace(GIVE, &format!("{SHOW}{GIVE}"));
        let function = format!("_clap_dynamic_completer_{}", name.replace('-', "_"));
        write!(
            script,
            "{}\nif [[ $funcstack[1] == _{name} ]]; then\n    {function} \"$@\"\nfi\n",
            whole.trim()
        )
    }

    fn write_complete(
        &self,
        command: &mut Command,
        words: Vec<OsString>,
        folder: Option<&Path>,
        answer: &mut dyn io::Write,
    ) -> io::Result<()> {
        env::Zsh.write_complete(command, words, folder, answer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_script_has_the_lines_that_are_extended() {
        let mut script = Vec::new();
        let plain = env::Zsh.write_registration("V", "p", "p", "p", &mut script);
        plain.unwrap();
        let plain = String::from_utf8(script).unwrap();
        for line in [BEGIN, APART, GIVE] {
            assert_eq!(plain.matches(line).count(), 1, "{plain}");
        }
    }
}
