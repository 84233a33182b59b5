//! RFC 9110 §15: an HTTP [`Response`] to a request that does not open a WebSocket.

use std::fmt;
use std::time::Duration;

use crate::config::is_token;
use crate::protocol::http::fields::is_field_value;

/// A complete HTTP response that is not an upgrade.
///
/// After a response to a plain request of HTTP/1.1, the server waits for the next request, unless the client has asked it
/// to close the connection. [`Limits::max_requests`](crate::config::Limits::max_requests) and
/// [`Timeouts::keep_alive`](crate::config::Timeouts::keep_alive) limit that. The server closes the connection after an
/// error (a status of 400 or more, except 404), after a response to an opening handshake, and after any response to
/// HTTP/1.0.
///
/// ```
/// use framewise::Response;
///
/// let response = Response::new(404, "text/plain; charset=utf-8", "no such room\n")
///     .header("Cache-Control", "no-store")?;
/// assert_eq!(response.status(), 404);
/// # Ok::<(), framewise::protocol::http::response::InvalidHeader>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Response {
    status: u16,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
    delay: Duration,
}

/// The error of [`Response::header`]: the name is not a token, or the value has a line break or another control
/// character.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct InvalidHeader {
    /// The name of the field.
    pub name: String,
}

/// Fields that describe the connection and the length of the body.
const RESERVED: [&str; 4] = ["Connection", "Content-Length", "Date", "Transfer-Encoding"];

impl fmt::Display for InvalidHeader {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            out,
            "header {:?} cannot be set: name or value is malformed, or the server writes it",
            self.name
        )
    }
}

impl std::error::Error for InvalidHeader {}

impl Response {
    /// Creates a response with a status code from 200 to 599, the value of `Content-Type`, and a body.
    ///
    /// # Panics
    ///
    /// `status` is not from 200 to 599, or `content_type` has a control character.
    #[must_use]
    pub fn new(status: u16, content_type: &str, body: impl Into<Vec<u8>>) -> Response {
        assert!((200..600).contains(&status), "status {status} is not from 200 to 599");
        let response =
            Response { status, headers: Vec::new(), body: body.into(), delay: Duration::ZERO };
        response.header("Content-Type", content_type).expect("a content type is one line")
    }

    /// Adds a header field.
    ///
    /// # Errors
    ///
    /// The name is not a token, the value has a control character, or [`encode`](Response::encode) writes this field
    /// itself.
    pub fn header(mut self, name: &str, value: &str) -> Result<Response, InvalidHeader> {
        let is_reserved = RESERVED.iter().any(|reserved| reserved.eq_ignore_ascii_case(name));
        if is_reserved || !is_token(name.as_bytes()) || !is_field_value(value) {
            return Err(InvalidHeader { name: name.to_owned() });
        }
        self.headers.push((name.to_owned(), value.to_owned()));
        Ok(self)
    }

    /// Delays the response, for example after several wrong passwords. The server reads nothing from the client meanwhile,
    /// and closes the connection after the response.
    ///
    /// The connection keeps its place among the opening handshakes
    /// ([`Limits::max_handshakes`](crate::config::Limits::max_handshakes)) and has the deadline of one, so a crowd of new
    /// connections replaces it. A delay is cut to half of
    /// [`Timeouts::handshake`](crate::config::Timeouts::handshake). An application should limit how many responses to one
    /// client it delays at a time.
    ///
    /// ```
    /// use std::time::Duration;
    /// use framewise::{Decision, Response};
    ///
    /// fn wrong_password(failures: u32) -> Decision {
    ///     let response = Response::new(401, "text/plain", "wrong password\n");
    ///     Decision::Respond(match failures {
    ///         0..10 => response,
    ///         _ => response.delayed(Duration::from_secs(2)),
    ///     })
    /// }
    /// # wrong_password(10);
    /// ```
    #[must_use]
    pub fn delayed(self, delay: Duration) -> Response {
        Response { delay, ..self }
    }

    /// Returns for how long the response is delayed.
    pub fn delay(&self) -> Duration {
        self.delay
    }

    /// Returns the status code.
    pub fn status(&self) -> u16 {
        self.status
    }

    /// Reports whether the connection can be kept after this response. After most errors it is closed, because the
    /// client and the server may disagree about what comes next, and after a delay, because input was dropped.
    pub(crate) fn permits_more(&self) -> bool {
        (self.status < 400 || self.status == 404) && self.delay.is_zero()
    }

    /// Encodes the response, as the last one on its connection. `unix_seconds` becomes its `Date` field, which is omitted
    /// for `None`. If `to_head` is true, the request was a HEAD, and the response has all header fields but no body.
    pub fn encode(&self, unix_seconds: Option<u64>, to_head: bool) -> Vec<u8> {
        self.encode_with(unix_seconds, to_head, false)
    }

    /// As [`encode`](Response::encode). If `keeps_alive` is true, the client may send another request.
    pub(crate) fn encode_with(
        &self,
        unix_seconds: Option<u64>,
        to_head: bool,
        keeps_alive: bool,
    ) -> Vec<u8> {
        let mut text = format!("HTTP/1.1 {} {}\r\n", self.status, reason_phrase(self.status));
        if let Some(seconds) = unix_seconds {
            text += &format!("Date: {}\r\n", http_date(seconds));
        }
        for (name, value) in &self.headers {
            text += &format!("{name}: {value}\r\n");
        }
        // RFC 9112 9.3, 9.6
        let connection = match self.status {
            426 => "Upgrade, close",
            _ if keeps_alive => "keep-alive",
            _ => "close",
        };
        // RFC 9110 8.6, 15.4.5: a 204 or a 304 has no body, and a 204 no length.
        let has_body = !matches!(self.status, 204 | 304);
        if has_body {
            text += &format!("Content-Length: {}\r\n", self.body.len());
        }
        text += &format!("Connection: {connection}\r\n\r\n");
        let mut bytes = text.into_bytes();
        if has_body && !to_head {
            bytes.extend_from_slice(&self.body);
        }
        bytes
    }
}

/// The last second of the year 9999, in seconds since 1970-01-01 (UTC). HTTP dates have years of four digits.
pub(crate) const LAST_SECOND: u64 = 253_402_300_799;

/// Formats seconds since 1970-01-01 (UTC) as an HTTP date (RFC 9110 5.6.7). A year has four digits, so every time after
/// 9999 becomes the last second of that year.
///
/// ```
/// use framewise::protocol::http::response::http_date;
///
/// assert_eq!(http_date(784_111_777), "Sun, 06 Nov 1994 08:49:37 GMT");
/// ```
pub fn http_date(unix_seconds: u64) -> String {
    const DAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
    const MONTHS: [&str; 12] =
        ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let unix_seconds = unix_seconds.min(LAST_SECOND);
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
        304 => "Not Modified",
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
    fn formats_dates() {
        assert_eq!(http_date(784_111_777), "Sun, 06 Nov 1994 08:49:37 GMT");
        assert_eq!(http_date(0), "Thu, 01 Jan 1970 00:00:00 GMT");
        assert_eq!(http_date(951_782_400), "Tue, 29 Feb 2000 00:00:00 GMT");
        assert_eq!(http_date(4_107_542_399), "Sun, 28 Feb 2100 23:59:59 GMT");
        for late in [LAST_SECOND, LAST_SECOND + 1, u64::MAX] {
            assert_eq!(http_date(late), "Fri, 31 Dec 9999 23:59:59 GMT");
        }
    }

    #[test]
    fn a_response_to_head_has_the_length_but_not_the_body() {
        let response = Response::new(200, "text/plain", "hello");
        let get = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 5\r\n\
            Connection: close\r\n\r\nhello";
        assert_eq!(response.encode(None, false), get);
        assert_eq!(response.encode(None, true), get[..get.len() - 5]);
    }

    /// RFC 9110 8.6: a 204 has neither a body nor its length.
    #[test]
    fn a_204_has_no_body() {
        let bytes = Response::new(204, "text/plain", "hello").encode(None, false);
        let expected =
            "HTTP/1.1 204 No Content\r\nContent-Type: text/plain\r\nConnection: close\r\n\r\n";
        assert_eq!(String::from_utf8_lossy(&bytes), expected);
    }

    /// A second length or `Transfer-Encoding` would let two readers see different bodies.
    #[test]
    fn fields_of_the_server_cannot_be_set() {
        for name in ["content-length", "Transfer-Encoding", "Connection", "Date"] {
            assert!(Response::new(200, "text/plain", "").header(name, "1").is_err(), "{name}");
        }
    }

    /// CVE-2026-47072: a value with CR LF could inject a header field or a whole response.
    #[test]
    fn cve_2026_47072_a_line_break_in_a_header_is_an_error() {
        let response = Response::new(200, "text/plain", "");
        for value in ["a\r\nSet-Cookie: x", "a\n", "a\rb", "\0"] {
            assert!(response.clone().header("X-A", value).is_err(), "{value:?}");
        }
        assert!(response.clone().header("X A", "b").is_err());
        assert!(response.header("X-A", "b").is_ok());
    }
}
