//! The lessons of docs/lessons, for `--lessons`: their pages, pictures and files for students, at `/lessons`. The pages of docs
//! that they link to are there too, so that a class without Internet can follow the links.
//!
//! ```text
//! docs/lessons/README.md, README.pt-BR.md   /lessons/en, /lessons/pt
//! docs/lessons/en/01-handshake.md           /lessons/en/01-handshake
//! docs/clauses.md, clauses.pt-BR.md         /lessons/en/clauses, /lessons/pt/clauses
//! docs/lessons/files/send.py, pictures/…    /lessons/files/send.py, /lessons/pictures/…
//!                                           /lessons/files, /lessons/pictures: a list of the folder
//! ```
//!
//! `/lessons` and `/lessons/01-handshake` lead to the page in the language that the browser prefers. All addresses on a page
//! are relative to it, so that they work under the path prefix of a proxy.

use std::collections::HashMap;

use framewise::lang::Lang;
use framewise::{Request, Response};

use crate::escape::Html;
use crate::serve::markdown::{Rendered, render};
use crate::serve::pages::{document, file, found, moved};
use crate::texts;

/// The files of docs that are shown, each with its name there. `build.rs` writes the list.
const SOURCES: &[(&str, &[u8])] = include!(concat!(env!("OUT_DIR"), "/lessons.rs"));

/// The style and the script of the pages.
const OWN: [(&str, &str, &str); 2] = [
    ("/lessons/page.css", "text/css; charset=utf-8", include_str!("../../web/lessons.css")),
    ("/lessons/page.js", "text/javascript; charset=utf-8", include_str!("../../web/lessons.js")),
];

/// Where they are in the repository.
const FOLDER: &str = "docs/";

/// The folders that have a list.
const FOLDERS: [&str; 2] = ["lessons/files", "lessons/pictures"];

/// Where the route of the lessons begins.
pub const ROUTE: &str = "/lessons";

/// A page that students change: its script is in the page, and connects to the server that the student names.
const POLICY_OF_STUDENTS: &str = "default-src 'none'; script-src 'self' 'unsafe-inline'; \
    style-src 'self' 'unsafe-inline'; img-src 'self' data:; connect-src 'self' ws: wss: http: https:; base-uri 'none'; \
    form-action 'none'; frame-ancestors 'none'";

/// The pages, rendered, and the other files.
pub struct Lessons(HashMap<String, Entry>);

/// What is at a route.
enum Entry {
    Page(String),
    /// A page that exists in both languages: here in English, here in Portuguese.
    Bilingual(String, String),
    File(&'static str, &'static [u8]),
    /// The same page in both languages; it has no language itself.
    InYourLanguage,
}

impl Lessons {
    /// Renders all pages.
    pub fn new() -> Lessons {
        let mut entries = HashMap::new();
        entries.insert(ROUTE.to_owned(), Entry::InYourLanguage);
        for &(route, content_type, body) in &OWN {
            entries.insert(route.to_owned(), Entry::File(content_type, body.as_bytes()));
        }
        for &(name, body) in SOURCES {
            let route = route_of(name);
            if let Some(lang) = lang_of(name) {
                let page = page(name, &route, &String::from_utf8_lossy(body), lang);
                if let Some(page_name) = route.strip_prefix("/lessons/en/") {
                    entries.insert(format!("{ROUTE}/{page_name}"), Entry::InYourLanguage);
                }
                entries.insert(route, Entry::Page(page));
            } else {
                entries.insert(route, Entry::File(content_type(name), body));
            }
        }
        for folder in FOLDERS {
            let list = |lang| page(folder, &route_of(folder), &list_of(folder), lang);
            let (en, pt) = (list(Lang::En), list(Lang::Pt));
            entries.insert(route_of(folder), Entry::Bilingual(en, pt));
        }
        Lessons(entries)
    }

    /// Reports whether there is something at this route.
    pub fn has(&self, route: &str) -> bool {
        self.0.contains_key(route)
    }

    /// Returns what is at a route, if there is something.
    pub fn answer(&self, request: &Request<'_>, route: &str, lang: Lang) -> Option<Response> {
        let (entry, name) = (self.0.get(route)?, route.rsplit('/').next()?);
        // The addresses on the page are relative to it.
        if request.path().ends_with('/') && !matches!(entry, Entry::InYourLanguage) {
            return Some(moved(&format!("../{name}")));
        }
        let in_language = |response: Response, lang: Lang| {
            response.header("Content-Language", lang.tag()).expect("one word")
        };
        let vary = |response: Response| response.header("Vary", "Accept-Language").expect("text");
        Some(match entry {
            Entry::Page(body) => {
                let lang = if is_portuguese(route) { Lang::Pt } else { Lang::En };
                in_language(document(request, body), lang)
            }
            Entry::Bilingual(en, pt) => {
                let body = if lang == Lang::Pt { pt } else { en };
                vary(in_language(document(request, body), lang))
            }
            Entry::File(content_type, body) => {
                let response = file(request, content_type, body);
                match content_type.starts_with("text/html") {
                    true => response
                        .header("Content-Security-Policy", POLICY_OF_STUDENTS)
                        .and_then(|response| response.header("Referrer-Policy", "no-referrer"))
                        .expect("one line"),
                    false => response,
                }
            }
            Entry::InYourLanguage => {
                let target = match route {
                    ROUTE => format!("{ROUTE}/{}", lang.tag()),
                    _ => format!("{ROUTE}/{}/{name}", lang.tag()),
                };
                // A path that ends with a slash is one level deeper.
                let slash = if request.path().ends_with('/') { "/" } else { "" };
                vary(found(&relative(&format!("{route}{slash}"), &target)))
            }
        })
    }
}

fn is_in(name: &str, folder: &str) -> bool {
    name.strip_prefix(folder).is_some_and(|rest| rest.starts_with('/'))
}

/// Returns the language of a page; `None` means that the file is no page.
fn lang_of(name: &str) -> Option<Lang> {
    let is_page = name.ends_with(".md") && !is_in(name, "lessons/files");
    is_page.then(|| if is_portuguese(&route_of(name)) { Lang::Pt } else { Lang::En })
}

fn is_portuguese(route: &str) -> bool {
    let rest = route.strip_prefix("/lessons/pt");
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// Returns the route of a file or folder of docs.
fn route_of(name: &str) -> String {
    let page = name.strip_suffix(".md").filter(|_| !is_in(name, "lessons/files")).unwrap_or(name);
    match page {
        "lessons/README" => format!("{ROUTE}/en"),
        "lessons/README.pt-BR" => format!("{ROUTE}/pt"),
        page if is_in(page, "lessons") => format!("/{page}"),
        page => match page.strip_suffix(".pt-BR") {
            Some(page) => format!("{ROUTE}/pt/{page}"),
            None => format!("{ROUTE}/en/{page}"),
        },
    }
}

/// Returns the type of a file that is no page. Files without an ending, or with an unknown one, are shown as text.
fn content_type(name: &str) -> &'static str {
    let ending = name.rsplit('/').next().and_then(|name| name.rsplit_once('.'));
    match ending.map(|(_, ending)| ending) {
        Some("svg") => "image/svg+xml",
        Some("html") => "text/html; charset=utf-8",
        Some("css") => "text/css; charset=utf-8",
        Some("js" | "mjs") => "text/javascript; charset=utf-8",
        Some("json") => "application/json",
        Some("py") => "text/x-python; charset=utf-8",
        Some("rs") => "text/x-rust; charset=utf-8",
        Some("md") => "text/markdown; charset=utf-8",
        _ => "text/plain; charset=utf-8",
    }
}

/// Returns a page with links to the files of a folder.
fn list_of(folder: &str) -> String {
    let title = folder.rsplit('/').next().unwrap_or(folder);
    let files = SOURCES.iter().filter(|(name, _)| is_in(name, folder));
    let names = files.map(|(name, _)| &name[folder.len() + 1..]);
    names.fold(format!("# {title}\n\n"), |list, name| format!("{list}- [{name}]({title}/{name})\n"))
}

/// Returns the address of one route as a page at another one gives it.
fn relative(from: &str, to: &str) -> String {
    let (mut from, mut to): (Vec<_>, Vec<_>) = (from.split('/').collect(), to.split('/').collect());
    let (_, last) = (from.pop(), to.pop().unwrap_or_default());
    let common = from.iter().zip(&to).take_while(|(one, other)| one == other).count();
    let up = "../".repeat(from.len() - common);
    let down: String = to[common..].iter().map(|part| format!("{part}/")).collect();
    match format!("{up}{down}{last}") {
        address if address.is_empty() => ".".to_owned(),
        address => address,
    }
}

/// Returns where a link on the page `name` leads, as the page at `route` gives it: to another page or file that is shown here, or
/// to the repository.
fn target_of(link: &str, name: &str, route: &str) -> String {
    let (path, anchor) = link.split_once('#').map_or((link, None), |(path, id)| (path, Some(id)));
    let is_elsewhere =
        link.contains("://") || link.starts_with("mailto:") || link.starts_with("//");
    if path.is_empty() || is_elsewhere {
        return link.to_owned();
    }
    let full = format!("{FOLDER}{name}");
    let mut parts: Vec<&str> = full.split('/').collect();
    parts.pop();
    for part in path.split('/').filter(|part| !["", "."].contains(part)) {
        match part {
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    let found = parts.join("/");
    let is_own =
        |name: &&str| SOURCES.iter().any(|(source, _)| source == name) || FOLDERS.contains(name);
    let target = match found.strip_prefix(FOLDER).filter(is_own) {
        Some(name) => relative(route, &route_of(name)),
        None => format!("{}/blob/main/{found}", env!("CARGO_PKG_REPOSITORY")),
    };
    match anchor {
        Some(anchor) => format!("{target}#{anchor}"),
        None => target,
    }
}

/// Returns a page with the frame around it.
fn page(name: &str, route: &str, markdown: &str, lang: Lang) -> String {
    let Rendered { title, html } = render(markdown, |link| target_of(link, name, route));
    let to = |target: &str| relative(route, target);
    let text = |text: framewise::lang::Bilingual| text.get(lang);
    let tag = if lang == Lang::Pt { "pt-BR" } else { "en" };
    format!(
        "<!doctype html>\n<html lang=\"{tag}\">\n<head>\n<meta charset=\"utf-8\">\n\
        <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
        <meta name=\"color-scheme\" content=\"light dark\">\n<title>{title} · framewise</title>\n\
        <link rel=\"icon\" href=\"{icon}\" type=\"image/svg+xml\">\n\
        <link rel=\"stylesheet\" href=\"{style}\">\n<link rel=\"stylesheet\" href=\"{own_style}\">\n\
        <script type=\"module\" src=\"{script}\"></script>\n</head>\n\
        <body data-copy=\"{copy}\" data-copied=\"{copied}\" data-not-copied=\"{not_copied}\">\n\
        <main class=\"docs lesson\">\n{html}</main>\n\
        <footer><a href=\"{index}\">{all}</a> <a href=\"{start}\">{back}</a></footer>\n</body>\n</html>\n",
        title = Html(&title),
        icon = to("/icon.svg"),
        style = to("/style.css"),
        own_style = to("/lessons/page.css"),
        script = to("/lessons/page.js"),
        copy = text(texts::COPY),
        copied = text(texts::COPIED),
        not_copied = text(texts::NOT_COPIED),
        index = to(&format!("{ROUTE}/{}", lang.tag())),
        all = text(texts::ALL_LESSONS),
        start = to("/"),
        back = text(texts::BACK),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_relative() {
        for (from, to, address) in [
            ("/lessons/en/a", "/lessons/en/b", "b"),
            ("/lessons/en/a", "/lessons/pt/a", "../pt/a"),
            ("/lessons/en/a", "/lessons/en", "../en"),
            ("/lessons/en", "/lessons/en/a", "en/a"),
            ("/lessons/en", "/", "../"),
            ("/lessons/en/a", "/style.css", "../../style.css"),
            ("/lessons", "/lessons/en", "lessons/en"),
            ("/lessons/", "/lessons/en", "en"),
            ("/a", "/", "."),
        ] {
            assert_eq!(relative(from, to), address, "{from} {to}");
        }
    }

    #[test]
    fn links_lead_to_lessons_or_to_the_repository() {
        let target = |link| target_of(link, "lessons/en/02-frame.md", "/lessons/en/02-frame");
        assert_eq!(target("01-handshake.md#exercises"), "01-handshake#exercises");
        assert_eq!(target("../pt/./02-frame.md"), "../pt/02-frame");
        assert_eq!(target("../README.md"), "../en");
        assert_eq!(target("../README.pt-BR.md"), "../pt");
        assert_eq!(target("../files/send.py"), "../files/send.py");
        assert_eq!(target("../files/"), "../files");
        assert_eq!(target("#exercises"), "#exercises");
        assert_eq!(target("../../clauses.md#a"), "clauses#a");
        assert_eq!(target("../../clauses.pt-BR.md"), "../pt/clauses");
        assert_eq!(target("https://example.org/#a"), "https://example.org/#a");
        let repository = env!("CARGO_PKG_REPOSITORY");
        assert_eq!(
            target("../../glossary.md#a"),
            format!("{repository}/blob/main/docs/glossary.md#a")
        );
        assert_eq!(
            target("no-such.md"),
            format!("{repository}/blob/main/docs/lessons/en/no-such.md")
        );
        let target = |link| target_of(link, "clauses.pt-BR.md", "/lessons/pt/clauses");
        assert_eq!(target("clauses.md"), "../en/clauses");
        assert_eq!(target("lessons/pt/02-frame.md"), "02-frame");
        assert_eq!(target("../src/flow.rs"), format!("{repository}/blob/main/src/flow.rs"));
    }

    /// Each kind of file has a type: a new ending needs a line in `content_type`.
    #[test]
    fn every_file_has_a_known_ending() {
        for (name, _) in SOURCES.iter().filter(|(name, _)| lang_of(name).is_none()) {
            let is_text = name.ends_with(".http")
                || name.ends_with(".txt")
                || *name == "lessons/pictures/draw";
            assert!(is_text || !content_type(name).starts_with("text/plain"), "{name}");
        }
    }
}
