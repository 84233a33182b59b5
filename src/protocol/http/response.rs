//! RFC 9110 §15: what a server answers over HTTP, whole and with its length known.

use std::fmt;

use crate::config::is_token;

/// An answer that is not an upgrade. The connection closes after it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Response {
    status: u16,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
}

/// A header that would not arrive as it was meant: a line break or another control byte in its value, or
/// a name that is no token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidHeader(String);

impl fmt::Display for InvalidHeader {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "header {:?} cannot be sent", self.0)
    }
}

impl std::error::Error for InvalidHeader {}

impl Response {
    /// An answer with a body; `status` from 200 to 599.
    ///
    /// # Panics
    ///
    /// `status` is outside that range: such an answer cannot have a body.
    pub fn new(status: u16, content_type: &str, body: impl Into<Vec<u8>>) -> Response {
        assert!((200..600).contains(&status), "status {status} cannot answer a request");
        let response = Response { status, headers: Vec::new(), body: body.into() };
        response.header("Content-Type", content_type).expect("a content type is one line")
    }

    /// Adds a header.
    ///
    /// # Errors
    ///
    /// The name is not a token, or the value has a control byte.
    pub fn header(mut self, name: &str, value: &str) -> Result<Response, InvalidHeader> {
        if !is_token(name.as_bytes()) || value.bytes().any(|byte| byte < b' ' || byte == 0x7f) {
            return Err(InvalidHeader(name.to_owned()));
        }
        self.headers.push((name.to_owned(), value.to_owned()));
        Ok(self)
    }

    /// The status code.
    pub fn status(&self) -> u16 {
        self.status
    }

    /// The answer as bytes. `unix_seconds` becomes the `Date`; without a clock there is none. The answer
    /// to HEAD has every header and no body.
    pub fn encode(&self, unix_seconds: Option<u64>, to_head: bool) -> Vec<u8> {
        let mut text = format!("HTTP/1.1 {} {}\r\n", self.status, reason_phrase(self.status));
        if let Some(seconds) = unix_seconds {
            text += &format!("Date: {}\r\n", http_date(seconds));
        }
        for (name, value) in &self.headers {
            text += &format!("{name}: {value}\r\n");
        }
        let connection = if self.status == 426 { "Upgrade, close" } else { "close" };
        text += &format!("Content-Length: {}\r\nConnection: {connection}\r\n\r\n", self.body.len());
        let mut bytes = text.into_bytes();
        if !to_head {
            bytes.extend_from_slice(&self.body);
        }
        bytes
    }
}

/// The date as HTTP writes it (RFC 9110 5.6.7), for example `Sun, 06 Nov 1994 08:49:37 GMT`.
pub fn http_date(unix_seconds: u64) -> String {
    const DAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
    const MONTHS: [&str; 12] =
        ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let (days, second) = (unix_seconds / 86_400, unix_seconds % 86_400);
    let is_leap = |year: u64| {
        year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400))
    };
    let (mut year, mut day) = (1970, days);
    while day >= 365 + u64::from(is_leap(year)) {
        day -= 365 + u64::from(is_leap(year));
        year += 1;
    }
    let mut month = 0;
    loop {
        let length = match month {
            1 => 28 + u64::from(is_leap(year)),
            3 | 5 | 8 | 10 => 30,
            _ => 31,
        };
        if day < length {
            break;
        }
        day -= length;
        month += 1;
    }
    let (weekday, month) = (DAYS[(days % 7) as usize], MONTHS[month]);
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    format!("{weekday}, {:02} {month} {year} {hour:02}:{minute:02}:{second:02} GMT", day + 1)
}

fn reason_phrase(status: u16) -> &'static str {
    match status {
        200 => "OK",
        204 => "No Content",
        301 => "Moved Permanently",
        302 => "Found",
        307 => "Temporary Redirect",
        308 => "Permanent Redirect",
        400 => "Bad Request",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        414 => "URI Too Long",
        426 => "Upgrade Required",
        429 => "Too Many Requests",
        431 => "Request Header Fields Too Large",
        500 => "Internal Server Error",
        501 => "Not Implemented",
        503 => "Service Unavailable",
        505 => "HTTP Version Not Supported",
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writes_dates() {
        assert_eq!(http_date(784_111_777), "Sun, 06 Nov 1994 08:49:37 GMT");
        assert_eq!(http_date(0), "Thu, 01 Jan 1970 00:00:00 GMT");
        assert_eq!(http_date(951_782_400), "Tue, 29 Feb 2000 00:00:00 GMT");
        assert_eq!(http_date(4_107_542_399), "Sun, 28 Feb 2100 23:59:59 GMT");
    }

    #[test]
    fn an_answer_to_head_has_the_length_but_not_the_body() {
        let response = Response::new(200, "text/plain", "hello");
        let get = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 5\r\n\
            Connection: close\r\n\r\nhello";
        assert_eq!(response.encode(None, false), get);
        assert_eq!(response.encode(None, true), get[..get.len() - 5]);
    }

    /// CVE-2026-47072: a value with CR LF would add a header, or a whole response.
    #[test]
    fn cve_2026_47072_no_line_break_in_an_emitted_header() {
        let response = Response::new(200, "text/plain", "");
        for value in ["a\r\nSet-Cookie: x", "a\n", "a\rb", "\0"] {
            assert!(response.clone().header("X-A", value).is_err(), "{value:?}");
        }
        assert!(response.clone().header("X A", "b").is_err());
        assert!(response.header("X-A", "b").is_ok());
    }
}
