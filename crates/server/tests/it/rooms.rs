//! The rooms of the server (its top-level modules) import each other in one direction only.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

type Edges = BTreeMap<String, BTreeSet<String>>;

fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

/// The rooms that a source file names after `crate::`, without its unit tests.
fn imports(text: &str) -> BTreeSet<String> {
    let code = text.split("\n#[cfg(test)]\nmod tests {").next().unwrap();
    let code: String = code
        .lines()
        .filter(|line| !line.trim_start().starts_with("//"))
        .collect();
    let mut found = BTreeSet::new();
    for rest in code.split("crate::").skip(1) {
        let end = if rest.starts_with('{') { '}' } else { ';' };
        let group = rest.split(end).next().unwrap_or_default();
        let words = group.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
        let words = words.filter(|word| !word.is_empty());
        match end {
            '}' => found.extend(words.map(str::to_owned)),
            _ => found.extend(words.take(1).map(str::to_owned)),
        }
    }
    found
}

fn edges() -> Edges {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    sources(&src, &mut files);
    let room_of = |path: &Path| {
        let first = path.strip_prefix(&src).unwrap().iter().next().unwrap();
        let name = first.to_str().unwrap();
        name.strip_suffix(".rs").unwrap_or(name).to_owned()
    };
    let rooms: BTreeSet<String> = files.iter().map(|path| room_of(path)).collect();
    let mut edges = Edges::new();
    for path in files.iter().filter(|path| !path.ends_with("tests.rs")) {
        let room = room_of(path);
        if room == "lib" || room == "main" {
            continue;
        }
        let text = fs::read_to_string(path).unwrap();
        let others = imports(&text).into_iter();
        let others = others.filter(|other| rooms.contains(other) && *other != room);
        edges.entry(room.clone()).or_default().extend(others);
    }
    edges
}

fn reachable(edges: &Edges, from: &str, seen: &mut BTreeSet<String>) {
    for next in edges.get(from).into_iter().flatten() {
        if seen.insert(next.clone()) {
            reachable(edges, next, seen);
        }
    }
}

#[test]
fn no_rooms_import_each_other_in_a_circle() {
    let edges = edges();
    assert!(edges["server"].contains("listen"), "{edges:?}");
    for room in edges.keys() {
        let mut seen = BTreeSet::new();
        reachable(&edges, room, &mut seen);
        assert!(!seen.contains(room), "{room} imports itself: {edges:?}");
    }
}

#[test]
fn only_the_room_of_an_engine_uses_its_database() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    sources(&src, &mut files);
    for path in files {
        let is_test = path.ends_with("tests.rs");
        let text = fs::read_to_string(&path).unwrap();
        for (driver, room) in [("rusqlite::", "sqlite"), ("tokio_postgres::", "postgres")] {
            let is_room = path.starts_with(src.join("store").join(room));
            let uses = text.contains(driver);
            assert!(is_room || is_test || !uses, "{}", path.display());
        }
    }
}
