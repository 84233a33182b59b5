//! The import order: a file of the library uses only files above it in the list of `src/lib.rs`.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

/// Returns the files that a section of `src/lib.rs` lists, each with the number before it, if there is one.
fn listed(section: &str) -> Vec<(Option<usize>, String)> {
    let map = fs::read_to_string("src/lib.rs").expect("the library has a root");
    let (_, list) = map.split_once(&format!("//! # {section}\n")).expect("the section");
    let list = list.split("//! # ").next().expect("a first part");
    let mut files = Vec::new();
    for line in list.lines().filter_map(|line| line.strip_prefix("//! ")) {
        let mut words = line.split_whitespace().peekable();
        let number = words.next_if(|word| word.parse::<usize>().is_ok());
        if let Some(name) = words.next().filter(|name| name.ends_with(".rs")) {
            let name =
                name.strip_prefix('/').map_or(name.to_owned(), |name| format!("protocol/{name}"));
            files.push((number.and_then(|number| number.parse().ok()), name));
        }
    }
    files
}

/// Returns the files of the import order in `src/lib.rs`.
fn import_order() -> Vec<String> {
    listed("The import order").into_iter().map(|(_, name)| name).collect()
}

/// The reading order is numbered and lists files that exist.
#[test]
fn the_reading_order_names_files_of_the_library() {
    let order = listed("The reading order");
    let numbers: Vec<usize> = order.iter().filter_map(|(number, _)| *number).collect();
    assert_eq!(numbers, (1..=order.len()).collect::<Vec<_>>());
    let files = import_order();
    let unknown: Vec<&String> =
        order.iter().map(|(_, name)| name).filter(|name| !files.contains(name)).collect();
    assert!(unknown.is_empty(), "{unknown:?}");
}

/// Collects the names of the files in a folder and in the folders below it.
fn sources(folder: &Path, found: &mut BTreeSet<String>) {
    for entry in fs::read_dir(folder).expect("a folder of the library") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            sources(&path, found);
        } else {
            let name =
                path.strip_prefix("src").expect("below src").to_str().expect("UTF-8").to_owned();
            found.insert(name);
        }
    }
}

/// Returns the code of a file, without its comments and its unit tests.
fn code(name: &str) -> String {
    let text = fs::read_to_string(Path::new("src").join(name)).expect("a file of the library");
    let before_tests =
        text.split("\n#[cfg(test)]\nmod tests").next().expect("a first part").to_owned();
    let lines = before_tests.lines().map(|line| line.split("//").next().expect("a first part"));
    lines.collect::<Vec<_>>().join("\n")
}

#[test]
fn the_map_names_every_file_once() {
    let mut found = BTreeSet::new();
    sources(Path::new("src"), &mut found);
    found.retain(|name| name != "lib.rs" && !name.ends_with("mod.rs"));
    let order = import_order();
    let listed: BTreeSet<String> = order.iter().cloned().collect();
    assert_eq!(listed.len(), order.len(), "a file is listed twice");
    assert_eq!(listed, found);
}

#[test]
fn every_import_points_upwards() {
    let order = import_order();
    for (place, name) in order.iter().enumerate() {
        let code = code(name);
        assert!(
            !code.contains("super::"),
            "{name} uses super::, write crate:: instead, so that the import order can be checked"
        );
        for used in code.split("crate::").skip(1) {
            let path: String = used
                .chars()
                .take_while(|c| c.is_alphanumeric() || matches!(c, '_' | ':'))
                .collect();
            let file = order.iter().position(|file| {
                let module = file.trim_end_matches(".rs").replace('/', "::");
                path == module || path.starts_with(&format!("{module}::"))
            });
            // `use crate::lang::{self, ...}` and the like end in `::`.
            let trimmed = path.trim_end_matches("::");
            let file = file.or_else(|| {
                order
                    .iter()
                    .position(|file| file.trim_end_matches(".rs").replace('/', "::") == trimmed)
            });
            let file = file.unwrap_or_else(|| panic!("{name}: crate::{path} is not in the list"));
            assert!(file <= place, "{name} uses {}, which is below it", order[file]);
        }
    }
}

/// The protocol and the tables of peers and groups use no sockets, files, threads or clock.
#[test]
fn the_protocol_is_sans_io() {
    let outside = [
        "mio",
        "std::io",
        "std::net",
        "std::time",
        "Instant",
        "SystemTime",
        "std::fs",
        "std::thread",
    ];
    for name in import_order() {
        if name.starts_with("protocol/") || name == "peers.rs" || name == "groups.rs" {
            let code = code(&name);
            for word in outside {
                let named = code.split(|c: char| !c.is_alphanumeric() && c != '_' && c != ':');
                assert!(
                    // A duration is a number. It needs no clock.
                    !named
                        .into_iter()
                        .any(|path| path.starts_with(word) && path != "std::time::Duration"),
                    "{name} names {word}"
                );
            }
        }
    }
}
