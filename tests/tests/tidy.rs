//! Holds the source to what ARCHITECTURE.md says of it: who may name whom, and what every file begins with.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use bulkhead_tests::fixtures;

/// Rooms by name, without `/` and `.rs`, with their ranks.
fn ranks() -> BTreeMap<String, u32> {
    let text = fs::read_to_string(fixtures::workspace().join("ARCHITECTURE.md")).expect("ARCHITECTURE.md");
    let table = text.lines().skip_while(|line| !line.starts_with("| rank | room |")).take_while(|line| line.starts_with('|'));
    let rows = table.filter_map(|line| {
        let mut cells = line.strip_prefix('|')?.split('|').map(str::trim);
        let (rank, room) = (cells.next()?.parse().ok()?, cells.next()?.strip_prefix('`')?.strip_suffix('`')?);
        let room = room.trim_end_matches('/');
        Some((room.strip_suffix(".rs").unwrap_or(room).to_owned(), rank))
    });
    let ranks: BTreeMap<_, _> = rows.collect();
    assert!(ranks.len() > 5, "ARCHITECTURE.md lacks the table `| rank | room | … |`: {ranks:?}");
    ranks
}

fn sources(root: &Path, out: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(root).expect("a folder").flatten() {
        let (path, name) = (entry.path(), entry.file_name());
        if path.is_dir() {
            if name != "target" && !name.to_string_lossy().starts_with('.') {
                sources(&path, out);
            }
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            out.push(path);
        }
    }
}

/// Files of the host with their path below `src`, their room, and their code without comments.
fn host() -> Vec<(String, String, String)> {
    let root = fixtures::workspace().join("host/src");
    let mut files = Vec::new();
    sources(&root, &mut files);
    let read = |file: PathBuf| {
        let path = file.strip_prefix(&root).expect("below the root").to_string_lossy().into_owned();
        let room = path.split('/').next().unwrap_or_default().trim_end_matches(".rs").to_owned();
        let text = fs::read_to_string(&file).expect("source");
        let code = text.lines().filter(|line| !line.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n");
        (path, room, code)
    };
    files.into_iter().map(read).collect()
}

/// The rooms that code names: what follows `crate::`, or in the binary `bulkhead::`.
fn named<'c>(code: &'c str, root: &str) -> Vec<&'c str> {
    let mut rooms = Vec::new();
    for (at, _) in code.match_indices(root) {
        if code[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_' || c == '$' || c == ':') {
            continue;
        }
        let rest = &code[at + root.len()..];
        match rest.strip_prefix('{') {
            None => rooms.push(word(rest)),
            Some(group) => {
                let mut depth = 0;
                let mut start = true;
                for (at, c) in group.char_indices() {
                    match c {
                        '{' => depth += 1,
                        '}' if depth == 0 => break,
                        '}' => depth -= 1,
                        ',' if depth == 0 => start = true,
                        c if start && !c.is_whitespace() => {
                            rooms.push(word(&group[at..]));
                            start = false;
                        }
                        _ => {}
                    }
                }
            }
        }
    }
    rooms.retain(|room| !room.is_empty() && *room != "self");
    rooms
}

fn word(text: &str) -> &str {
    text.split(|c: char| !c.is_alphanumeric() && c != '_').next().unwrap_or_default()
}

#[test]
fn rooms_name_only_what_is_below_them() {
    let ranks = ranks();
    let mut wrong = Vec::new();
    for (path, room, code) in host() {
        let Some(rank) = ranks.get(&room) else {
            wrong.push(format!("{path}: ARCHITECTURE.md gives `{room}` no rank"));
            continue;
        };
        let mut others = named(&code, "crate::");
        if room == "cli" || room == "main" {
            others.extend(named(&code, "bulkhead::"));
        }
        for other in others.into_iter().filter(|other| *other != room) {
            match ranks.get(other) {
                Some(below) if below < rank => {}
                Some(above) => wrong.push(format!("{path} (rank {rank}) names `{other}` (rank {above})")),
                // A macro or a type of the crate's root.
                None => wrong.push(format!("{path} names `{other}`, which is no room")),
            }
        }
    }
    wrong.dedup();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_room_of_the_table_is_there() {
    let root = fixtures::workspace().join("host/src");
    let lost: Vec<_> = ranks().into_keys().filter(|room| !root.join(room).is_dir() && !root.join(format!("{room}.rs")).is_file()).collect();
    assert!(lost.is_empty(), "{lost:?}");
}

#[test]
fn one_place_names_each_foreign_runtime() {
    let rules = [("wasmtime::", "sandbox/"), ("wasmtime_wasi::", "sandbox/"), ("ort::", "engine/onnx/")];
    let mut wrong = Vec::new();
    for (path, _, code) in host() {
        for (name, place) in rules {
            let names = code.match_indices(name).any(|(at, _)| !code[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_'));
            if names && !path.starts_with(place) {
                wrong.push(format!("{path} names `{name}`"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_file_says_why_it_is_there() {
    let mut files = Vec::new();
    for folder in ["host", "registry", "sdk-guest", "plugins", "tests"] {
        sources(&fixtures::workspace().join(folder), &mut files);
    }
    let starts = |file: &PathBuf| {
        let text = fs::read_to_string(file).expect("source");
        text.starts_with("//!") || text.starts_with("#![doc = include_str!")
    };
    let silent: Vec<_> = files
        .iter()
        .filter(|file| !starts(file))
        .map(|file| file.strip_prefix(fixtures::workspace()).unwrap_or(file).display().to_string())
        .collect();
    assert!(silent.is_empty(), "no `//!` in the first line:\n{}", silent.join("\n"));
}

#[test]
fn groups_and_paths_are_both_understood() {
    let code =
        "use crate::engine::{Model, Port};\nuse crate::{api, predict::{self, Slot}, tensor};\nlet x = crate::clock::now(); $crate::not; mycrate::not";
    assert_eq!(named(code, "crate::"), ["engine", "api", "predict", "tensor", "clock"]);
}
