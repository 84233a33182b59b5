//! The last attempts of pages to open a WebSocket, and what became of them.
//!
//! A browser does not tell a page why its WebSocket failed. Therefore the page gives each attempt an id of its own. After a
//! failure it asks over plain HTTP what the server saw of that attempt:
//!
//! ```text
//! WebSocket   ws/events?attempt=4711     a proxy drops Upgrade; the server refuses the request, and keeps the reason
//! GET         ws/events?failed=4711      the server responds with the reason
//! ```

use std::cell::RefCell;
use std::collections::VecDeque;

use framewise::lang::Lang;
use framewise::{Request, Response};

use crate::serve::routes::parameter;

/// The maximum number of attempts that are kept. Beyond it the oldest is forgotten.
const MAX_ATTEMPTS: usize = 128;

/// The maximum length of an id in bytes. Longer ids are ignored.
const MAX_ID: usize = 32;

/// What became of an attempt.
#[derive(Debug)]
pub enum Fate {
    Accepted,
    /// It was refused with this response, in both languages.
    Refused {
        en: Response,
        pt: Response,
    },
}

/// The last attempts, by their ids.
#[derive(Debug, Default)]
pub struct Attempts(RefCell<VecDeque<(String, Fate)>>);

impl Fate {
    /// A refusal with the response that `of` returns for a language.
    pub fn refused(of: impl Fn(Lang) -> Response) -> Fate {
        Fate::Refused { en: of(Lang::En), pt: of(Lang::Pt) }
    }

    /// Returns the response of a refusal.
    pub fn response(self, lang: Lang) -> Option<Response> {
        match self {
            Fate::Accepted => None,
            Fate::Refused { en, pt } => Some(if lang == Lang::Pt { pt } else { en }),
        }
    }
}

impl Attempts {
    /// Keeps what became of an attempt.
    pub fn keep(&self, id: String, fate: Fate) {
        let mut attempts = self.0.borrow_mut();
        attempts.retain(|(known, _)| *known != id);
        attempts.push_back((id, fate));
        if attempts.len() > MAX_ATTEMPTS {
            attempts.pop_front();
        }
    }

    /// Returns what became of an attempt, and forgets it.
    pub fn take(&self, id: &str) -> Option<Fate> {
        let mut attempts = self.0.borrow_mut();
        let at = attempts.iter().position(|(known, _)| known == id)?;
        attempts.remove(at).map(|(_, fate)| fate)
    }
}

/// Returns the id of the attempt that this request is.
pub fn attempt(request: &Request<'_>) -> Option<String> {
    id(request, "attempt")
}

/// Returns the id of the attempt that this request asks about.
pub fn failed(request: &Request<'_>) -> Option<String> {
    id(request, "failed")
}

fn id(request: &Request<'_>, name: &str) -> Option<String> {
    let id = parameter(request, name)?.ok()?;
    (!id.is_empty() && id.len() <= MAX_ID).then_some(id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_attempt_is_forgotten() {
        let attempts = Attempts::default();
        for n in 0..=MAX_ATTEMPTS {
            attempts.keep(n.to_string(), Fate::Accepted);
            attempts.keep(n.to_string(), Fate::Accepted);
        }
        assert_eq!(attempts.0.borrow().len(), MAX_ATTEMPTS);
        assert!(attempts.take("0").is_none() && attempts.take("1").is_some());
        assert!(attempts.take("1").is_none(), "it is told once");
    }

    #[test]
    fn an_id_is_short() {
        let id_of = |query: &str| {
            let head = format!("GET /ws?{query} HTTP/1.1\r\nHost: h\r\n\r\n");
            attempt(&Request::parse(head.as_bytes()).expect("valid"))
        };
        assert_eq!(id_of("attempt=4711-1"), Some("4711-1".to_owned()));
        assert_eq!(id_of("attempt="), None);
        assert_eq!(id_of(&format!("attempt={}", "1".repeat(MAX_ID + 1))), None);
    }

    #[test]
    fn a_refusal_is_repeated_in_the_language_that_is_asked_for() {
        let fate = || {
            Fate::refused(|lang| {
                Response::new(if lang == Lang::En { 400 } else { 401 }, "text/plain", "")
            })
        };
        let status = |lang| fate().response(lang).expect("a refusal").status();
        assert_eq!((status(Lang::En), status(Lang::Pt)), (400, 401));
        assert!(Fate::Accepted.response(Lang::En).is_none());
    }
}
