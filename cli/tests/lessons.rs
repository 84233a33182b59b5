//! The lessons of `framewise serve --lessons`: every page, every link, and the language.

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use percent_encoding::percent_decode_str;
use support::{SERVE, Serve, framewise};

/// The repository in the links to what is no lesson.
const REPOSITORY: &str = concat!(env!("CARGO_PKG_REPOSITORY"), "/blob/main/");

fn status(answer: &str) -> &str {
    answer.split(' ').nth(1).expect("a status line")
}

fn body(answer: &str) -> &str {
    answer.split_once("\r\n\r\n").expect("a head").1
}

#[track_caller]
fn header<'a>(answer: &'a str, name: &str) -> Option<&'a str> {
    let (head, _) = answer.split_once("\r\n\r\n").expect("a head");
    head.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
}

/// Returns the files that are shown: docs/lessons, and the pages that lessons link to. Names are relative to docs.
fn files() -> BTreeMap<String, String> {
    fn add(folder: &Path, prefix: &str, files: &mut BTreeMap<String, String>) {
        for entry in fs::read_dir(folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            let name = path.file_name().expect("a name").to_string_lossy().into_owned();
            if path.is_dir() && !name.starts_with(['.', '_']) {
                add(&path, &format!("{prefix}{name}/"), files);
            } else if path.is_file() {
                files.insert(format!("{prefix}{name}"), fs::read_to_string(&path).expect("text"));
            }
        }
    }
    let mut files = BTreeMap::new();
    let docs = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs"));
    add(&docs.join("lessons"), "lessons/", &mut files);
    assert!(files.len() > 30, "the lessons are there");
    for name in ["clauses.md", "clauses.pt-BR.md", "dispatcher.md", "dispatcher.pt-BR.md"] {
        files.insert(name.to_owned(), fs::read_to_string(docs.join(name)).expect("text"));
    }
    files
}

/// Returns the values of `href` and `src` on a page, each with the name of its attribute.
fn links(html: &str) -> Vec<(&'static str, String)> {
    let of = |attribute: &'static str| {
        let parts = html.split(attribute).skip(1);
        parts.map(move |rest| {
            let value = rest.split('"').next().expect("a value").replace("&amp;", "&");
            (attribute, percent_decode_str(&value).decode_utf8_lossy().into_owned())
        })
    };
    of(" href=\"").chain(of(" src=\"")).collect()
}

/// Returns the path that a relative address leads to, as a browser resolves it.
fn resolve(base: &str, address: &str) -> String {
    let mut parts: Vec<&str> = base.split('/').collect();
    parts.pop();
    for part in address.split('/') {
        match part {
            ".." => drop(parts.pop()),
            "." => {}
            part => parts.push(part),
        }
    }
    let is_folder = address.ends_with('.');
    parts.join("/") + if is_folder { "/" } else { "" }
}

#[test]
fn without_the_option_there_is_no_lesson() {
    let serve = Serve::start(&[]);
    for path in ["/lessons", "/lessons/", "/lessons/en", "/lessons/en/00-map", "/lessons/page.css"]
    {
        let answer = serve.http(path, "Accept: text/html\r\n");
        assert_eq!(status(&answer), "404", "{path}");
        assert!(answer.contains("is started with --lessons"), "{answer}");
    }
    assert!(!serve.http("/", "Accept: text/html\r\n").contains("lessons"));
    assert!(!serve.greeting.iter().any(|line| line.starts_with("Lessons")));
}

#[test]
fn the_greeting_and_the_start_page_lead_to_the_lessons() {
    let serve = Serve::start(&["--lessons"]);
    let line = format!("Lessons: http://{}/lessons", serve.address);
    assert!(serve.greeting.contains(&line), "{:?}", serve.greeting);
    let page = serve.http("/", "Accept: text/html\r\n");
    assert!(page.contains("<a id=\"lessons\" href=\"lessons\""), "{page}");
    let mut command = framewise(&SERVE);
    let serve = Serve::start_with(command.args(["--lang", "pt"]).env("FRAMEWISE_LESSONS", "true"));
    let line = format!("Aulas: http://{}/lessons", serve.address);
    assert!(serve.greeting.contains(&line), "{:?}", serve.greeting);
}

/// Every file is at its route, and the crawler finds every page from `/lessons`, in both languages. Every link
/// and every anchor on the way leads somewhere. A lesson leads to no page of docs that the class cannot open without Internet.
#[test]
fn every_page_is_served_and_every_link_leads_somewhere() {
    let serve = Serve::start(&["--lessons"]);
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/../");
    let files = files();
    let (mut answers, mut faults) = (BTreeMap::<String, String>::new(), Vec::new());
    let mut reached = BTreeSet::new();
    let mut waiting: Vec<String> = ["/lessons/en", "/lessons/pt"].map(str::to_owned).into();
    while let Some(path) = waiting.pop() {
        if !reached.insert(path.clone()) {
            continue;
        }
        let answer = serve.http(&path, "Accept: text/html\r\n");
        let is_lesson = path.starts_with("/lessons/") && !path.starts_with("/lessons/files/");
        if is_lesson && header(&answer, "Content-Type").is_some_and(|kind| kind.contains("html")) {
            for (attribute, link) in links(body(&answer)) {
                if attribute == " src=\"" || link.ends_with(".css") || link.ends_with(".svg") {
                    assert!(!link.contains("//"), "{path}: {link} is a request to another server");
                }
                let address = link.split('#').next().expect("a first part");
                if !address.is_empty() && !address.contains("://") {
                    waiting.push(resolve(&path, address));
                }
            }
        }
        answers.insert(path, answer);
    }
    for (path, answer) in &answers {
        if status(answer) != "200" {
            faults.push(format!("{path}: {answer}"));
        }
        let is_lesson = path.starts_with("/lessons/") && !path.starts_with("/lessons/files/");
        for (_, link) in links(body(answer)).into_iter().filter(|_| is_lesson) {
            let (address, anchor) = link.split_once('#').unwrap_or((&link, ""));
            if let Some(file) = address.strip_prefix(REPOSITORY) {
                // What is shown here is not linked at the repository.
                let is_there = Path::new(root).join(file).exists();
                let name = file.strip_prefix("docs/");
                let is_cited = ["/clauses", "/dispatcher"].iter().any(|page| path.ends_with(page));
                if !is_there || name.is_some_and(|name| !is_cited || files.contains_key(name)) {
                    faults.push(format!("{path}: {link}"));
                }
            } else if !address.contains("://") {
                let to = if address.is_empty() { path.clone() } else { resolve(path, address) };
                let id = format!(" id=\"{anchor}\"");
                if !anchor.is_empty() && !answers[&to].contains(&id) {
                    faults.push(format!("{path}: {link} has no such heading"));
                }
            }
        }
    }
    for (name, content) in files {
        let route = match name.strip_suffix(".md").unwrap_or(&name) {
            "lessons/README" => "/lessons/en".to_owned(),
            "lessons/README.pt-BR" => "/lessons/pt".to_owned(),
            name if name.starts_with("lessons/") => format!("/{name}"),
            name => match name.strip_suffix(".pt-BR") {
                Some(name) => format!("/lessons/pt/{name}"),
                None => format!("/lessons/en/{name}"),
            },
        };
        let Some(answer) = answers.get(&route) else {
            faults.push(format!("{name}: no page leads to {route}"));
            continue;
        };
        if !name.ends_with(".md") {
            assert!(body(answer) == content, "{name} is served as it is");
            continue;
        }
        assert_eq!(header(answer, "Content-Type"), Some("text/html; charset=utf-8"), "{name}");
        let policy = header(answer, "Content-Security-Policy").expect("a policy");
        assert!(policy.starts_with("default-src 'none'; script-src 'self'; "), "{policy}");
        let lang = if route.starts_with("/lessons/pt") { "pt" } else { "en" };
        assert_eq!(header(answer, "Content-Language"), Some(lang), "{name}");
        // What is typed can be copied: each command of the page is marked once.
        let is_command = |line: &&str| line.trim_start().starts_with("$ ");
        let commands = content.lines().filter(is_command).count();
        assert_eq!(answer.matches("<span class=\"prompt\">$ </span>").count(), commands, "{name}");
    }
    assert!(faults.is_empty(), "{faults:#?}");
}

#[test]
fn files_have_their_types() {
    let serve = Serve::start(&["--lessons"]);
    for (path, content_type) in [
        ("/lessons/files/send.py", "text/x-python; charset=utf-8"),
        ("/lessons/files/request.http", "text/plain; charset=utf-8"),
        ("/lessons/pictures/frame-en.svg", "image/svg+xml"),
        ("/lessons/page.css", "text/css; charset=utf-8"),
        ("/lessons/page.js", "text/javascript; charset=utf-8"),
        ("/lessons/files", "text/html; charset=utf-8"),
    ] {
        let answer = serve.http(path, "");
        assert_eq!(header(&answer, "Content-Type"), Some(content_type), "{path}");
        assert_eq!(header(&answer, "X-Content-Type-Options"), Some("nosniff"), "{path}");
    }
    for path in ["/lessons/nothing", "/lessons/en/nothing", "/lessons/files/../../style.css"] {
        let answer = serve.http(path, "");
        assert_eq!(status(&answer), "404", "{path}");
        assert!(answer.contains("listed at /lessons"), "{answer}");
    }
}

/// `/lessons` leads to the language that the browser prefers, and otherwise to that of the server. So does a page without a
/// language in its path.
#[test]
fn a_visitor_gets_the_lessons_in_their_language() {
    let serve = Serve::start(&["--lessons", "--lang", "pt"]);
    for (path, accepts, location) in [
        ("/lessons", "", "lessons/pt"),
        ("/lessons", "Accept-Language: de\r\n", "lessons/pt"),
        ("/lessons", "Accept-Language: en-US, pt;q=0.5\r\n", "lessons/en"),
        ("/lessons/", "Accept-Language: en\r\n", "en"),
        ("/lessons/01-handshake", "Accept-Language: en\r\n", "en/01-handshake"),
        ("/lessons/01-handshake/", "", "../pt/01-handshake"),
    ] {
        let answer = serve.http(path, accepts);
        assert_eq!(
            (status(&answer), header(&answer, "Location")),
            ("302", Some(location)),
            "{path}"
        );
        assert_eq!(header(&answer, "Vary"), Some("Accept-Language"));
    }
    // The path decides, whatever the browser prefers.
    for (path, lang) in [("/lessons/en/00-map", "en"), ("/lessons/pt/00-map", "pt-BR")] {
        for accepts in ["en", "pt"] {
            let answer = serve.http(path, &format!("Accept-Language: {accepts}\r\n"));
            assert!(answer.contains(&format!("<html lang=\"{lang}\">")), "{answer}");
        }
    }
    // The addresses on a page are relative to it.
    for (path, location) in [("/lessons/en/", "../en"), ("/lessons/en/00-map/", "../00-map")] {
        let answer = serve.http(path, "");
        assert_eq!(
            (status(&answer), header(&answer, "Location")),
            ("308", Some(location)),
            "{path}"
        );
    }
    let list =
        |accepts: &str| serve.http("/lessons/files", &format!("Accept-Language: {accepts}\r\n"));
    assert!(list("pt").contains(">Todas as aulas<") && list("en").contains(">All lessons<"));
    assert_eq!(header(&list("en"), "Vary"), Some("Accept-Language"));
}

/// RFC 9110 13.1.2: a browser that has a page already does not get it again. The lessons are no secret, so they need no token.
#[test]
fn a_page_is_sent_once_and_without_a_token() {
    let serve = Serve::start(&["--lessons", "--token", "segredo"]);
    for path in
        ["/lessons/en/01-handshake", "/lessons/pictures/mask-pt.svg", "/lessons/files/cache.py"]
    {
        let answer = serve.http(path, "");
        assert_eq!(status(&answer), "200", "{path}");
        let tag = header(&answer, "ETag").expect("a tag");
        let again = serve.http(path, &format!("If-None-Match: {tag}\r\n"));
        assert_eq!((status(&again), body(&again)), ("304", ""), "{path}");
    }
}
