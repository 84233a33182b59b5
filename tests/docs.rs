//! The pages in docs/ say what the code says.

use std::fs;

use framewise::Config;

/// `| name | default | ... |` of the first table of a page.
fn rows(page: &str) -> Vec<(String, String)> {
    let table = page.split("## Fixed").next().expect("a first part");
    let rows = table.lines().filter_map(|line| line.strip_prefix("| `"));
    rows.map(|row| {
        let mut cells = row.split(" | ");
        let name = cells.next().expect("a name").trim_end_matches('`');
        (name.to_owned(), cells.next().expect("a default").to_owned())
    })
    .collect()
}

/// A default as `Debug` writes it.
fn plain(cell: &str) -> String {
    let number = |text: &str| text.replace(',', "").parse::<usize>().expect("a number");
    match cell.rsplit_once(' ') {
        Some((count, "KiB")) => (number(count) << 10).to_string(),
        Some((count, "MiB")) => (number(count) << 20).to_string(),
        Some((count, "s")) => format!("{count}s"),
        _ => cell.replace(',', ""),
    }
}

#[test]
fn the_page_of_limits_has_every_setting_with_its_default() {
    let page = fs::read_to_string("docs/limits.md").expect("a page");
    let rows = rows(&page);
    let debug = format!("{:#?}", Config::default());
    let fields: Vec<&str> = debug
        .lines()
        .filter(|line| line.starts_with("    ") && !line.starts_with("     "))
        .filter_map(|line| line.trim().split_once(':').map(|(name, _)| name))
        .collect();
    let names: Vec<&str> = rows.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, fields, "the same settings in the same order");
    let debug = format!("{:?},", Config::default());
    for (name, default) in &rows {
        let value = match default.as_str() {
            "none" if name == "subprotocols" => "[]".to_owned(),
            "none" => "None".to_owned(),
            text => plain(text),
        };
        let forms = [value.clone(), format!("Some({value})"), format!("{value:?}")];
        let stands = forms.iter().any(|form| {
            debug.contains(&format!(" {name}: {form},"))
                || debug.contains(&format!(" {name}: {form} }}"))
        });
        assert!(stands, "{name} is not {default} in {debug}");
    }
}

/// Links from page to page, and into the code, lead somewhere.
#[test]
fn links_lead_somewhere() {
    let docs = fs::read_dir("docs").expect("a folder").map(|entry| entry.expect("an entry").path());
    let docs = docs.filter(|path| path.extension().is_some_and(|extension| extension == "md"));
    let top =
        ["README.md", "README.pt-BR.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "fuzz/README.md"];
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

/// The tables of bits in the READMEs are what the example prints.
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
