//! Rules that the compiler cannot hold, looked for in the source text of the crates.

use std::path::{Path, PathBuf};

/// The source files of these crates.
fn sources(crates: &[&str]) -> Vec<(PathBuf, String)> {
    let mut files = Vec::new();
    for name in crates {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(name);
        collect(&folder.join("src"), &mut files);
    }
    assert!(files.len() > crates.len(), "there are sources");
    files
}

fn collect(folder: &Path, files: &mut Vec<(PathBuf, String)>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(&path, files);
        } else if path.extension().is_some_and(|suffix| suffix == "rs")
            && !path.ends_with("tests.rs")
        {
            let text = std::fs::read_to_string(&path).unwrap();
            files.push((path, text));
        }
    }
}

/// Types whose own `Debug` shows what they hold, and which hold secrets here.
const SECRETS: [&str; 3] = [
    "Zeroizing<",
    "BTreeMap<String, String>",
    "HashMap<String, String>",
];

/// The types of a file that derive `Debug` over a secret.
fn debug_over_secrets(source: &str) -> Vec<String> {
    let mut found = Vec::new();
    for (begin, _) in source.match_indices("#[derive(") {
        let rest = &source[begin..];
        let derived = &rest[..rest.find(")]").unwrap_or(rest.len())];
        if !derived.contains("Debug") {
            continue;
        }
        let Some(item) = ["struct ", "enum "]
            .iter()
            .filter_map(|kind| rest.find(kind))
            .min()
        else {
            continue;
        };
        let item = &rest[item..];
        let body = &item[..end_of_item(item)];
        let code = body
            .lines()
            .filter(|line| !line.trim_start().starts_with("//"));
        let code = code.collect::<Vec<_>>().join("\n");
        if SECRETS.iter().any(|secret| code.contains(secret)) {
            found.push(code.lines().next().unwrap_or_default().to_owned());
        }
    }
    found
}

/// Where the body of a struct or an enum ends.
fn end_of_item(item: &str) -> usize {
    let mut depth = 0_usize;
    for (at, c) in item.char_indices() {
        match c {
            '{' | '(' => depth += 1,
            '}' | ')' => {
                depth -= 1;
                if depth == 0 {
                    return at;
                }
            }
            ';' if depth == 0 => return at,
            _ => {}
        }
    }
    item.len()
}

#[test]
fn no_type_shows_a_secret_in_its_debug_output() {
    let crates = [
        "proto",
        "vault",
        "interchange",
        "sync",
        "core",
        "agent",
        "cli",
        "server",
    ];
    for (path, source) in sources(&crates) {
        let found = debug_over_secrets(&source);
        assert!(
            found.is_empty(),
            "{}: {found:?}: write Debug by hand",
            path.display()
        );
    }
    let bad = "#[derive(Clone, Debug)]\npub struct A {\n    x: Zeroizing<String>,\n}\n";
    assert_eq!(debug_over_secrets(bad), ["struct A {"]);
    let good = "#[derive(Debug)]\nstruct A {\n    x: u8,\n}\nfn f(x: Zeroizing<String>) {}\n";
    assert_eq!(debug_over_secrets(good), [""; 0]);
}

/// The commands in backticks, in the string literals of a file, into which something is formatted.
fn formatted_commands(source: &str) -> Vec<String> {
    let program = source.split("#[cfg(test)]").next().unwrap_or_default();
    let without_breaks = program.replace("\\\n", " ");
    let lines = without_breaks.lines();
    let lines = lines.filter(|line| !line.trim_start().starts_with("//"));
    let code = lines.collect::<Vec<_>>().join("\n");
    let mut found = Vec::new();
    for (begin, _) in code.match_indices("`passmate ") {
        let rest = &code[begin + 1..];
        let end = rest.find(['`', '"', '\n']).unwrap_or(rest.len());
        if rest[..end].contains('{') {
            found.push(rest[..end].to_owned());
        }
    }
    found
}

#[test]
fn every_command_to_paste_is_quoted_by_the_one_way_to_make_it() {
    for (path, source) in sources(&["vault", "interchange", "sync", "core", "cli"]) {
        let found = formatted_commands(&source);
        assert!(
            found.is_empty(),
            "{}: {found:?}: use passmate_core::command",
            path.display()
        );
    }
    let bad = "format!(\"`passmate history {path} \\\n     {field}` lists them\")";
    assert_eq!(formatted_commands(bad).len(), 1);
    assert_eq!(
        formatted_commands("\"`passmate history PATH` lists them\"").len(),
        0
    );
}
