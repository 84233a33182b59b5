//! Checks that the documentation agrees with the code.

use std::fs;

use framewise::Config;
use framewise::protocol::violation::Violation;

/// Returns the rows of the table in one section of a page, each as a list of cells.
fn rows(page: &str, section: &str) -> Vec<Vec<String>> {
    let (_, rest) = page.split_once(&format!("\n## {section}\n")).expect("the section");
    let section = rest.split("\n## ").next().expect("a first part");
    let lines = section.lines().filter_map(|line| line.strip_prefix('|')?.strip_suffix('|'));
    // The first two lines are the head of the table.
    let rows = lines.skip(2);
    rows.map(|line| line.split('|').map(|cell| cell.trim().to_owned()).collect()).collect()
}

/// Converts a value on a page to the notation of the code: `4 KiB` to `4096`, and `10 s` to `10s`.
fn plain(cell: &str) -> String {
    let number = |text: &str| text.replace(',', "").parse::<usize>().expect("a number");
    match cell.rsplit_once(' ') {
        Some((count, "KiB")) => (number(count) << 10).to_string(),
        Some((count, "MiB")) => (number(count) << 20).to_string(),
        Some((count, "s")) => format!("{count}s"),
        _ => cell.replace(',', ""),
    }
}

/// Returns the path and the default of every setting, in the order of the code, as `Debug` prints them.
fn settings() -> Vec<(String, String)> {
    let debug = format!("{:#?}", Config::default());
    let (mut parts, mut settings) = (Vec::new(), Vec::<(String, String)>::new());
    for line in debug.lines().skip(1).map(|line| line.trim().trim_end_matches(',')) {
        match line.split_once(": ") {
            Some((part, value)) if value.ends_with(" {") => parts.push(part),
            Some((name, value)) => {
                let path = parts.iter().chain([&name]).copied().collect::<Vec<_>>().join(".");
                settings.push((path, value.trim_matches('"').to_owned()));
            }
            None if line == "}" => drop(parts.pop()),
            None if line == ")" => {}
            // The value inside `Some(` is on a line of its own.
            None => settings.last_mut().expect("a setting").1 = line.to_owned(),
        }
    }
    settings
}

#[test]
fn the_page_of_limits_has_every_setting_with_its_default() {
    let page = fs::read_to_string("docs/limits.md").expect("a page");
    let is_built = |row: &Vec<String>| cfg!(feature = "deflate") || row[0] != "`handshake.deflate`";
    let on_the_page: Vec<(String, String)> = rows(&page, "Settings")
        .into_iter()
        .filter(is_built)
        .map(|cells| {
            assert_eq!(cells.len(), 4, "{cells:?}");
            let path = cells[0].trim_matches('`').to_owned();
            let default = match cells[1].as_str() {
                "none" if path == "handshake.subprotocols" => "[]".to_owned(),
                "none" => "None".to_owned(),
                value => plain(value),
            };
            (path, default)
        })
        .collect();
    assert_eq!(on_the_page, settings(), "the same settings and defaults, in the same order");
}

/// Every violation names a clause that exists, in the section that its text names.
#[test]
fn every_violation_names_a_clause_of_the_standard() {
    let list = fs::read_to_string("docs/clauses.tsv").expect("a list");
    let clauses: Vec<Vec<&str>> = list.lines().map(|line| line.split('\t').collect()).collect();
    assert_eq!((clauses[0].join(" ").as_str(), clauses.len()), ("id keyword section", 1 + 209));
    for &violation in Violation::ALL.iter().filter(|rule| rule.standard() == "RFC 6455") {
        let clause = clauses.iter().find(|clause| clause[0] == violation.clause());
        let section = clause.unwrap_or_else(|| panic!("{violation:?}"))[2];
        assert!(section.starts_with(violation.section()), "{violation:?}: {section}");
    }
}

/// Evaluates an expression such as `16 << 20`.
fn value(expression: &str) -> usize {
    let number = |text: &str| text.trim().replace('_', "").parse::<usize>().expect("a number");
    if let Some((left, right)) = expression.split_once("<<") {
        number(left) << number(right)
    } else {
        expression.split('*').map(number).product()
    }
}

#[test]
fn the_page_of_limits_has_the_constants_of_the_code() {
    let page = fs::read_to_string("docs/limits.md").expect("a page");
    let rows = rows(&page, "Fixed limits");
    assert!(rows.len() > 10);
    for cells in rows {
        let name = cells[1].split('`').nth(1).expect("the name of a constant");
        let file = cells[1].split("](../").nth(1).expect("a link").trim_end_matches(')');
        let code = fs::read_to_string(file).expect("a source file");
        let (_, rest) = code.split_once(&format!("const {name}: ")).expect("the constant");
        let (_, rest) = rest.split_once(" = ").expect("a value");
        let expression = rest.split(';').next().expect("an expression");
        assert_eq!(plain(&cells[2]), value(expression).to_string(), "{name}");
    }
}

/// Both READMEs show the same programs, with translated comments. Those in README.md are also doc tests of the library.
#[test]
fn the_readmes_have_the_same_code() {
    let code = |page: &str| {
        let page = fs::read_to_string(page).expect("a page");
        let blocks = page.split("```rust").skip(1).filter_map(|rest| rest.split("```").next());
        let lines = blocks.flat_map(str::lines);
        let lines = lines.filter(|line| !line.trim_start().starts_with("//"));
        lines.map(str::to_owned).collect::<Vec<_>>()
    };
    let english = code("README.md");
    assert!(!english.is_empty());
    assert_eq!(code("README.pt-BR.md"), english);
}

/// Every link to another page or into the code leads to a file that exists.
#[test]
fn links_lead_somewhere() {
    let docs = fs::read_dir("docs").expect("a folder").map(|entry| entry.expect("an entry").path());
    let docs = docs.filter(|path| path.extension().is_some_and(|extension| extension == "md"));
    let top = [
        "README.md",
        "README.pt-BR.md",
        "ARCHITECTURE.md",
        "CONTRIBUTING.md",
        "CHANGELOG.md",
        "SECURITY.md",
        "fuzz/README.md",
        "tests/README.md",
    ];
    for page in docs.chain(top.map(Into::into)) {
        let text = fs::read_to_string(&page).expect("a page");
        for link in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let path = link.split('#').next().expect("a first part");
            if !path.is_empty() && !path.contains("://") {
                let target = page.parent().expect("a folder").join(path);
                assert!(target.exists(), "{}: {link}", page.display());
            }
        }
    }
}

/// The tables of bits in the READMEs are the output of the example `dissect`.
#[test]
fn the_readmes_show_what_dissect_prints() {
    let test = std::env::current_exe().expect("this test is a file");
    let profile = test.ancestors().nth(2).expect("target/<profile>/deps/<test>");
    for (page, lang) in [("README.md", "en"), ("README.pt-BR.md", "pt")] {
        let output = std::process::Command::new(profile.join("examples").join("dissect"))
            .args(["--lang", lang, "818537fa213d7f9f4d5158"])
            .output()
            .expect("cargo builds the examples before it runs this");
        let printed = String::from_utf8(output.stdout).expect("text");
        assert!(fs::read_to_string(page).expect("a page").contains(printed.trim_end()), "{page}");
    }
}

/// Lesson 7 shows the server that the students find in their folder, which is also an example of this package.
#[test]
fn the_lesson_shows_the_server_of_the_students() {
    let server = fs::read_to_string("docs/lessons/files/server.rs").expect("a file");
    assert!(server.lines().count() <= 20, "the lesson promises 20 lines");
    for lang in ["en", "pt"] {
        let page = format!("docs/lessons/{lang}/07-dispatcher.md");
        let page = fs::read_to_string(page).expect("a page");
        let (_, rest) = page.split_once("\n```rust\n").expect("a program");
        assert_eq!(rest.split_once("```").expect("its end").0, server, "{lang}");
    }
}
