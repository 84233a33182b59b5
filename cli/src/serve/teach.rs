//! Responses that explain a refusal, so that the client learns the rule and what to do.

use framewise::Response;
use framewise::lang::{Bilingual, Lang};
use framewise::trace::printable;

use crate::serve::shorten::shortened;
use crate::texts;

/// The maximum number of characters of a request that a response or a log line quotes.
pub const MAX_FOUND: usize = 80;

/// Returns a response that explains a refusal in four lines: rule, section, what was found, how to mend it.
pub fn teach(
    status: u16,
    rule: Bilingual,
    section: &str,
    found: &str,
    fix: &str,
    lang: Lang,
) -> Response {
    let lines = [texts::LINE_RULE, texts::LINE_SECTION, texts::LINE_FOUND, texts::LINE_FIX];
    let found = printable(found);
    let values = [rule.get(lang), section, &shortened(&found, MAX_FOUND), fix];
    let body: String = lines
        .iter()
        .zip(values)
        .map(|(line, value)| format!("{}: {value}\n", line.get(lang)))
        .collect();
    Response::new(status, "text/plain; charset=utf-8", body)
        .header("Content-Language", lang.tag())
        .and_then(|response| response.header("Vary", "Accept-Language"))
        .expect("a language tag is one word")
}

/// Adds the fields of a response that asks for a WebSocket (RFC 9110 15.5.22).
pub fn upgrade(response: Response) -> Response {
    response
        .header("Upgrade", "websocket")
        .and_then(|response| response.header("Sec-WebSocket-Version", "13"))
        .expect("one word")
}
