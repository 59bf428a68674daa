//! Light connections: the generator often takes its time from the same cores as the server.

mod http;
mod socket;
mod target;

use std::{fmt, time::Duration};

use omgservers_api::problem::ErrorBody;

pub(crate) use self::{
    http::{HttpConnection, RequestLine},
    socket::{ClientSocket, open},
    target::Target,
};

/// Why something wasn't done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct CallFailure {
    /// The same word for the same cause: failures are counted by it.
    pub(crate) kind: String,
    /// For people.
    pub(crate) detail: String,
    /// When to try again, if the backend said so.
    pub(crate) pause: Option<Duration>,
}

impl CallFailure {
    /// A connection that couldn't be opened.
    pub(crate) fn connect(error: impl fmt::Display) -> Self {
        Self::new("can't connect", error)
    }

    /// A connection that ended in the middle.
    pub(crate) fn broken(error: impl fmt::Display) -> Self {
        Self::new("connection broke", error)
    }

    /// No answer for too long.
    pub(crate) fn timeout() -> Self {
        Self::new("no answer in time", "the backend is silent")
    }

    /// An answer that the backend doesn't give.
    pub(crate) fn foreign(what: impl fmt::Display) -> Self {
        Self::new("not understood", what)
    }

    /// A stream or room that was closed.
    pub(crate) fn closed(code: Option<u16>) -> Self {
        let kind = code.map_or_else(|| "closed".to_owned(), |it| format!("closed with {it}"));
        Self::new(&kind, "the backend closed a WebSocket")
    }

    /// What the backend refused.
    pub(crate) fn refused(status: u16, body: &[u8], pause: Option<Duration>) -> Self {
        let (code, detail) = match serde_json::from_slice::<ErrorBody>(body) {
            Ok(body) => (body.code, body.detail),
            Err(_) => (String::new(), String::from_utf8_lossy(body).chars().take(200).collect()),
        };
        Self { kind: format!("{status} {code}").trim_end().to_owned(), detail, pause }
    }

    /// What the backend refused on a stream.
    pub(crate) fn refused_on_stream(status: u16, code: &str) -> Self {
        Self::new(&format!("{status} {code}"), "the backend refused a frame")
    }

    fn new(kind: &str, detail: impl fmt::Display) -> Self {
        Self { kind: kind.to_owned(), detail: detail.to_string(), pause: None }
    }
}

impl fmt::Display for CallFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.kind, self.detail)
    }
}

impl std::error::Error for CallFailure {}
