//! Adds what the current task works for to each log line: the request, the run of a worker, the
//! trace.

use std::fmt::{self, Write as _};

use omgservers_core::context::{self, Context, Origin};
use tracing::{Event, Subscriber};
use tracing_subscriber::{
    fmt::{FmtContext, FormatEvent, FormatFields, format::Writer},
    registry::LookupSpan,
};

/// A format of log lines with the fields of the context at the end of the line.
pub(super) struct WithContext<F> {
    inner: F,
    add: fn(&mut String, &Context) -> fmt::Result,
}

impl<F> WithContext<F> {
    /// For lines that are JSON objects.
    pub(super) fn json(inner: F) -> Self {
        Self { inner, add: add_json }
    }

    /// For lines of text with `name=value` pairs.
    pub(super) fn text(inner: F) -> Self {
        Self { inner, add: add_text }
    }
}

impl<S, N, F> FormatEvent<S, N> for WithContext<F>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
    F: FormatEvent<S, N>,
{
    fn format_event(
        &self,
        fields: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let mut line = String::with_capacity(256);
        self.inner.format_event(fields, Writer::new(&mut line), event)?;
        line.truncate(line.trim_end_matches('\n').len());
        context::read_current(|context| (self.add)(&mut line, context)).unwrap_or(Ok(()))?;
        line.push('\n');
        writer.write_str(&line)
    }
}

/// Every value is of letters, digits and `-_.`, so none needs an escape.
fn add_json(line: &mut String, context: &Context) -> fmt::Result {
    if line.pop() != Some('}') {
        return Err(fmt::Error);
    }
    match &context.origin {
        Origin::Request(id) => write!(line, r#","request.id":"{id}""#)?,
        Origin::Worker { name, run } => write!(line, r#","worker.name":"{name}","worker.run":{run}"#)?,
    }
    if let Some(trace) = &context.trace {
        write!(line, r#","trace.id":"{:032x}""#, trace.trace_id)?;
    }
    line.push('}');
    Ok(())
}

fn add_text(line: &mut String, context: &Context) -> fmt::Result {
    match &context.origin {
        Origin::Request(id) => write!(line, " request.id={id}")?,
        Origin::Worker { name, run } => write!(line, " worker.name={name} worker.run={run}")?,
    }
    if let Some(trace) = &context.trace {
        write!(line, " trace.id={:032x}", trace.trace_id)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::{
        io::{self, Write},
        sync::{Arc, Mutex},
    };

    use omgservers_core::{RequestId, TraceParent};
    use tracing_subscriber::{fmt::format::Format, fmt::format::JsonFields, layer::SubscriberExt as _};

    use super::*;

    #[derive(Clone, Default)]
    struct Written(Arc<Mutex<Vec<u8>>>);

    impl Write for Written {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl Written {
        fn text(&self) -> String {
            String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
        }
    }

    fn in_a_request() -> Context {
        let trace = TraceParent { trace_id: 0xabc, span_id: 1, flags: 1 };
        Context::request(RequestId::given("r-1").unwrap(), Some(trace))
    }

    #[test]
    fn a_line_of_json_stays_valid_and_names_its_request_and_its_trace() {
        let written = Written::default();
        let target = written.clone();
        let lines = tracing_subscriber::fmt::layer()
            .with_writer(move || target.clone())
            .event_format(WithContext::json(Format::default().json().flatten_event(true)))
            .fmt_fields(JsonFields::new());
        tracing::subscriber::with_default(tracing_subscriber::registry().with(lines), || {
            in_a_request().sync_scope(|| tracing::info!(count = 3, "with \"quotes\""));
            tracing::info!("outside");
        });
        let text = written.text();
        let lines: Vec<serde_json::Value> =
            text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(lines[0]["request.id"], "r-1");
        assert_eq!(lines[0]["trace.id"], "00000000000000000000000000000abc");
        assert_eq!(lines[0]["message"], "with \"quotes\"");
        assert_eq!(lines[0]["count"], 3);
        assert_eq!(lines[1].get("request.id"), None);
    }

    #[test]
    fn a_line_of_text_names_the_run_of_the_worker() {
        let written = Written::default();
        let target = written.clone();
        let lines = tracing_subscriber::fmt::layer()
            .with_writer(move || target.clone())
            .event_format(WithContext::text(Format::default().with_ansi(false)));
        tracing::subscriber::with_default(tracing_subscriber::registry().with(lines), || {
            let context =
                Context { origin: Origin::Worker { name: "core.renew_blocks", run: 7 }, trace: None };
            context.sync_scope(|| tracing::warn!("slow"));
        });
        assert!(written.text().ends_with("slow worker.name=core.renew_blocks worker.run=7\n"));
    }
}
