//! The library reads downwards: a file uses only files that stand above it in the list of `src/lib.rs`.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

/// The reading order, as `src/lib.rs` shows it.
fn reading_order() -> Vec<String> {
    let map = fs::read_to_string("src/lib.rs").expect("the library has a root");
    let list = map.split("# The journey").next().expect("a first part");
    let names =
        list.lines().filter_map(|line| line.strip_prefix("//! ")?.split_whitespace().next());
    names.filter(|name| name.ends_with(".rs")).map(str::to_owned).collect()
}

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

/// The code of a file, without its comments and its unit tests.
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
    let order = reading_order();
    let listed: BTreeSet<String> = order.iter().cloned().collect();
    assert_eq!(listed.len(), order.len(), "a file is listed twice");
    assert_eq!(listed, found);
}

#[test]
fn every_import_points_upwards() {
    let order = reading_order();
    for (place, name) in order.iter().enumerate() {
        let code = code(name);
        assert!(
            !code.contains("super::"),
            "{name} names its parent; say crate:: so that the order shows"
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
            let file =
                file.unwrap_or_else(|| panic!("{name}: crate::{path} is no file of the list"));
            assert!(file <= place, "{name} uses {}, which stands below it", order[file]);
        }
    }
}

/// The protocol and the table of peers know no sockets, no files and no clock.
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
    for name in reading_order() {
        if name.starts_with("protocol/") || name == "peers.rs" {
            let code = code(&name);
            for word in outside {
                let named = code.split(|c: char| !c.is_alphanumeric() && c != '_' && c != ':');
                assert!(
                    !named.into_iter().any(|path| path.starts_with(word)),
                    "{name} names {word}"
                );
            }
        }
    }
}
