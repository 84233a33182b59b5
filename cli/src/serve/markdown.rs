//! The pages of the lessons as HTML. They are our own, so HTML in them is passed on as it is.
//!
//! The anchors of headings are those of GitHub, so that a link works in both places. `cli/tests/lessons/README.md` describes
//! the blocks of commands.

use std::collections::HashMap;

use pulldown_cmark::{CodeBlockKind, CowStr, Event, Options, Parser, Tag, TagEnd, html};

use crate::escape::Html;

/// A page without the frame around it.
pub struct Rendered {
    /// The text of the first heading.
    pub title: String,
    pub html: String,
}

/// Renders a page. `link` maps the target of each link and picture.
pub fn render(markdown: &str, link: impl Fn(&str) -> String) -> Rendered {
    let mut page = Page { events: Vec::new(), slugs: HashMap::new(), title: None };
    let mut parser = Parser::new_ext(markdown, Options::ENABLE_TABLES);
    while let Some(event) = parser.next() {
        match event {
            Event::Start(Tag::CodeBlock(kind)) => {
                let content = (&mut parser).take_while(|event| !matches!(event, Event::End(_)));
                page.add_html(code_block(&kind, &text_of(&content.collect::<Vec<_>>())));
            }
            Event::Start(Tag::Heading { level, .. }) => {
                let is_content =
                    |event: &Event<'_>| !matches!(event, Event::End(TagEnd::Heading(_)));
                let content = (&mut parser).take_while(is_content);
                let content = content.map(|event| with_target(event, &link)).collect();
                page.add_heading(level as usize, content);
            }
            // A table that is wider than a telephone scrolls by itself.
            Event::Start(Tag::Table(alignments)) => {
                page.add_html("<div class=\"table\" tabindex=\"0\">".to_owned());
                page.events.push(Event::Start(Tag::Table(alignments)));
            }
            Event::End(TagEnd::Table) => {
                page.events.push(Event::End(TagEnd::Table));
                page.add_html("</div>\n".to_owned());
            }
            event => page.events.push(with_target(event, &link)),
        }
    }
    let mut html = String::new();
    html::push_html(&mut html, page.events.into_iter());
    // A cell without a text is no heading of its column.
    let html = html.replace("<th></th>", "<td></td>");
    Rendered { title: page.title.unwrap_or_default(), html }
}

/// The page so far.
struct Page<'a> {
    events: Vec<Event<'a>>,
    /// How often each anchor occurs.
    slugs: HashMap<String, usize>,
    title: Option<String>,
}

impl<'a> Page<'a> {
    fn add_html(&mut self, html: String) {
        self.events.push(Event::Html(html.into()));
    }

    fn add_heading(&mut self, level: usize, content: Vec<Event<'a>>) {
        let text = text_of(&content);
        let slug = slug(&text);
        let earlier = self.slugs.entry(slug.clone()).or_default();
        let id = if *earlier == 0 { slug } else { format!("{slug}-{earlier}") };
        *earlier += 1;
        self.title.get_or_insert(text);
        self.add_html(format!("<h{level} id=\"{id}\">"));
        self.events.extend(content);
        self.add_html(format!(" <a class=\"anchor\" href=\"#{id}\">#</a></h{level}>\n"));
    }
}

fn with_target<'a>(event: Event<'a>, link: impl Fn(&str) -> String) -> Event<'a> {
    let map = |target: &CowStr<'_>| CowStr::from(link(target));
    match event {
        Event::Start(Tag::Link { link_type, dest_url, title, id }) => {
            Event::Start(Tag::Link { link_type, dest_url: map(&dest_url), title, id })
        }
        Event::Start(Tag::Image { link_type, dest_url, title, id }) => {
            Event::Start(Tag::Image { link_type, dest_url: map(&dest_url), title, id })
        }
        event => event,
    }
}

fn text_of(events: &[Event<'_>]) -> String {
    let texts = events.iter().filter_map(|event| match event {
        Event::Text(text) | Event::Code(text) => Some(text.as_ref()),
        _ => None,
    });
    texts.collect()
}

/// Returns the anchor that GitHub gives to a heading.
fn slug(heading: &str) -> String {
    let is_kept = |c: &char| c.is_alphanumeric() || [' ', '-', '_'].contains(c);
    heading.to_lowercase().chars().filter(is_kept).collect::<String>().replace(' ', "-")
}

/// Renders a block of code. `page.js` adds a button that copies each part of the class `typed`.
fn code_block(kind: &CodeBlockKind<'_>, text: &str) -> String {
    let info = match kind {
        CodeBlockKind::Fenced(info) => info.as_ref(),
        CodeBlockKind::Indented => "",
    };
    let option = |name: &str| info.split_whitespace().find_map(|word| word.strip_prefix(name));
    let mut html = String::from("<div class=\"block\">\n");
    if let Some(name) = option("file=") {
        html += &format!("<p class=\"file\"><code>{}</code></p>\n", Html(name));
    }
    html += "<pre tabindex=\"0\"><code>";
    if info.split_whitespace().next() == Some("console") {
        let asks_for_lines = option("input=") == Some("\">\"");
        add_console(&mut html, text, asks_for_lines);
    } else {
        html += &format!("<span class=\"typed\">{}</span>", Html(text));
    }
    html + "</code></pre>\n</div>\n"
}

/// Adds what a terminal shows, and marks what is typed: commands with their further lines, and the lines that a program asks
/// for with `> `.
fn add_console(html: &mut String, text: &str, asks_for_lines: bool) {
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        let prompts = ["$ ", "> "].into_iter().take(1 + usize::from(asks_for_lines));
        let typed = prompts.filter_map(|prompt| Some((prompt, line.strip_prefix(prompt)?))).next();
        let Some((prompt, first)) = typed else {
            *html += &Html(line).to_string();
            html.push('\n');
            continue;
        };
        let mut command = first.to_owned();
        while prompt == "$ " && command.ends_with('\\') {
            let Some(line) = lines.next() else { break };
            command = format!("{command}\n{line}");
        }
        let (prompt, command) = (Html(prompt), Html(&command));
        *html += &format!(
            "<span class=\"prompt\">{prompt}</span><span class=\"typed\">{command}</span>\n"
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn html(markdown: &str) -> String {
        render(markdown, |target| format!("to:{target}")).html
    }

    #[test]
    fn headings_have_the_anchors_of_github() {
        let page =
            render("# A & `b`: *c*, (d)\n## [A](x) b c d\n## É só isto?\n### A\n### a\n", |_| {
                "y".into()
            });
        assert_eq!(page.title, "A & b: c, (d)");
        for id in ["a--b-c-d", "a-b-c-d", "é-só-isto", "a", "a-1"] {
            assert!(page.html.contains(&format!(" id=\"{id}\">")), "{id}: {}", page.html);
        }
        assert!(
            page.html.starts_with("<h1 id=\"a--b-c-d\">A &amp; <code>b</code>: <em>c</em>, (d) ")
        );
    }

    #[test]
    fn commands_and_typed_lines_are_marked_without_their_prompts() {
        let page = html(
            "```console terminal=2 input=\">\"\n$ printf '<\\\n> a' \\\n  | nc\n< x\n> hello\n$ b\n```\n",
        );
        let typed: Vec<&str> = page.split("class=\"typed\">").skip(1).collect();
        let typed: Vec<&str> =
            typed.iter().filter_map(|rest| rest.split("</span>").next()).collect();
        assert_eq!(typed, ["printf &#39;&lt;\\\n&gt; a&#39; \\\n  | nc", "hello", "b"]);
        assert!(page.contains("\n&lt; x\n"));
        // Without the option, such a line is what the terminal shows.
        assert!(!html("```console\n> 81 05\n```\n").contains("typed"));
    }

    #[test]
    fn other_blocks_are_copied_whole_and_files_are_named() {
        let page = html("```python file=a.py\n$ = 1 < 2\n```\n");
        assert!(page.contains("<p class=\"file\"><code>a.py</code></p>"), "{page}");
        assert!(page.contains("<span class=\"typed\">$ = 1 &lt; 2\n</span>"), "{page}");
    }

    #[test]
    fn links_pictures_tables_and_folded_parts() {
        let page = html(
            "[a](b.md#c) ![p](p.svg)\n\n<details><summary>Reveal</summary>\n\n**x**\n\n</details>\n\n|a|\n|-|\n|b|\n",
        );
        assert!(
            page.contains("<a href=\"to:b.md#c\">a</a> <img src=\"to:p.svg\" alt=\"p\""),
            "{page}"
        );
        assert!(
            page.contains(
                "<details><summary>Reveal</summary>\n<p><strong>x</strong></p>\n</details>"
            ),
            "{page}"
        );
        assert!(page.contains("<div class=\"table\" tabindex=\"0\"><table>"), "{page}");
    }
}
