//! What the current task works for: a request or a run of a worker, and its trace.
//!
//! The context is a task-local value, so every log line and every service call of a request can
//! name the request without a parameter. It costs some nanoseconds for each poll and allocates
//! nothing for an id that we made. A spawned task starts without a context; [`inherit`] hands the
//! current one on.

use std::{fmt, future::Future};

use opentelemetry::trace::TraceContextExt as _;
use serde::{Deserialize, Serialize};
use tokio::task::futures::TaskLocalFuture;
use tracing::Span;
use tracing_opentelemetry::OpenTelemetrySpanExt as _;

tokio::task_local! {
    static CURRENT: Context;
}

/// What the current task works for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Context {
    /// Who caused the work.
    pub origin: Origin,
    /// The trace that the work belongs to, if there is one.
    pub trace: Option<TraceParent>,
}

/// Who caused the work.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// A request.
    Request(RequestId),
    /// A run of a worker.
    Worker {
        /// The worker's name.
        name: &'static str,
        /// The number of the run, from 1.
        run: u64,
    },
}

/// The id of a request: the client's own, or a random one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum RequestId {
    /// Made by the server; shown as 16 hexadecimal digits.
    Random(u64),
    /// From the client's `X-Request-Id`.
    Given(Box<str>),
}

impl RequestId {
    /// The longest id that is taken from a client, in bytes.
    pub const MAX_LENGTH: usize = 64;

    /// Takes a client's id of 1 to 64 letters, digits, `-`, `_` and `.`. Refuses any other with
    /// `None`: it would otherwise stand unescaped in logs and headers.
    pub fn given(text: &str) -> Option<Self> {
        let sane = (1..=Self::MAX_LENGTH).contains(&text.len())
            && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte));
        sane.then(|| Self::Given(text.into()))
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Random(number) => write!(f, "{number:016x}"),
            Self::Given(text) => f.write_str(text),
        }
    }
}

/// The position in a trace, as the header `traceparent` of W3C Trace Context carries it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TraceParent {
    /// The trace; never 0.
    pub trace_id: u128,
    /// The span that caused this work; never 0.
    pub span_id: u64,
    /// The flags; bit 0 says that the caller records the trace.
    pub flags: u8,
}

impl TraceParent {
    /// Reads a header. `None` for what the recommendation calls invalid: the trace then starts
    /// anew.
    pub fn parse(header: &str) -> Option<Self> {
        let mut parts = header.trim().split('-');
        let (version, trace, span, flags) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
        if [version.len(), trace.len(), span.len(), flags.len()] != [2, 32, 16, 2] {
            return None;
        }
        let digits = |text: &str| text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        if ![version, trace, span, flags].into_iter().all(digits) || version == "ff" {
            return None;
        }
        // Only version 00 ends here; a later one may have more parts.
        if version == "00" && parts.next().is_some() {
            return None;
        }
        let read = Self {
            trace_id: u128::from_str_radix(trace, 16).ok()?,
            span_id: u64::from_str_radix(span, 16).ok()?,
            flags: u8::from_str_radix(flags, 16).ok()?,
        };
        (read.trace_id != 0 && read.span_id != 0).then_some(read)
    }

    /// The position of `span`; `None` when no exporter records it.
    pub fn of(span: &Span) -> Option<Self> {
        if span.is_disabled() {
            return None;
        }
        let context = span.context();
        let span = context.span();
        let position = span.span_context();
        position.is_valid().then(|| Self {
            trace_id: u128::from_be_bytes(position.trace_id().to_bytes()),
            span_id: u64::from_be_bytes(position.span_id().to_bytes()),
            flags: position.trace_flags().to_u8(),
        })
    }

    /// Whether the caller records the trace.
    pub fn is_sampled(&self) -> bool {
        self.flags & 1 == 1
    }
}

impl fmt::Display for TraceParent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "00-{:032x}-{:016x}-{:02x}", self.trace_id, self.span_id, self.flags)
    }
}

impl Context {
    /// The context of a request.
    pub fn request(id: RequestId, trace: Option<TraceParent>) -> Self {
        Self { origin: Origin::Request(id), trace }
    }

    /// Runs `work` in this context.
    pub fn scope<F: Future>(self, work: F) -> TaskLocalFuture<Self, F> {
        CURRENT.scope(self, work)
    }

    /// Runs `work`, which doesn't wait, in this context.
    pub fn sync_scope<R>(self, work: impl FnOnce() -> R) -> R {
        CURRENT.sync_scope(self, work)
    }
}

/// Reads the context of the current task without a copy; `None` outside of requests and workers.
pub fn read_current<R>(read: impl FnOnce(&Context) -> R) -> Option<R> {
    CURRENT.try_with(read).ok()
}

/// A copy of the context of the current task.
pub fn current() -> Option<Context> {
    CURRENT.try_with(Context::clone).ok()
}

/// Hands the current context on to `work`, which is about to be spawned as a task of its own. The
/// context is the one of the call, not of the first poll: that happens in the new task, which has
/// none.
pub fn inherit<F: Future>(work: F) -> impl Future<Output = F::Output> {
    let context = current();
    async move {
        match context {
            Some(context) => context.scope(work).await,
            None => work.await,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_of_a_client_is_taken_only_when_it_is_harmless_in_a_log_and_a_header() {
        assert_eq!(RequestId::given("a-B_3.x").unwrap().to_string(), "a-B_3.x");
        for refused in ["", "a b", "a\nb", "é", &"x".repeat(65)] {
            assert_eq!(RequestId::given(refused), None, "{refused:?}");
        }
        assert_eq!(RequestId::Random(10).to_string(), "000000000000000a");
    }

    #[test]
    fn a_traceparent_survives_reading_and_writing() {
        let header = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        let read = TraceParent::parse(header).unwrap();
        assert_eq!(read.to_string(), header);
        assert!(read.is_sampled());
    }

    #[test]
    fn a_traceparent_of_a_later_version_is_read_and_an_invalid_one_refused() {
        let later = "01-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00-more";
        assert!(!TraceParent::parse(later).unwrap().is_sampled());
        for refused in [
            "",
            "00",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more",
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e473-00f067aa0ba902b7-01",
        ] {
            assert_eq!(TraceParent::parse(refused), None, "{refused}");
        }
    }

    #[tokio::test]
    async fn a_spawned_task_has_the_context_only_when_it_inherits_it() {
        let context = Context::request(RequestId::Random(1), None);
        let id = current;
        assert_eq!(id(), None);
        let work = async {
            let bare = tokio::spawn(async move { id() }).await.unwrap();
            let inherited = tokio::spawn(inherit(async move { id() })).await.unwrap();
            (bare, inherited)
        };
        let (bare, inherited) = context.clone().scope(work).await;
        assert_eq!((bare, inherited), (None, Some(context)));
    }
}
