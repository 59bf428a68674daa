//! The bytes of calls and answers.

use std::io::{self, Write};

use omgservers_api::{Problem, problem::codes};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::value::RawValue;

use crate::context::{Context, Origin, RequestId, TraceParent};

#[derive(Serialize)]
struct CallEnvelope<'a, C> {
    call: &'static str,
    context: Option<ContextRecord>,
    arguments: &'a C,
}

/// A call whose arguments aren't decoded yet.
#[derive(Deserialize)]
pub(super) struct CallRecord {
    pub(super) call: String,
    pub(super) context: Option<ContextRecord>,
    pub(super) arguments: Box<RawValue>,
}

/// The context of a request. A run of a worker calls the services of its own process, so its
/// context never crosses.
#[derive(Serialize, Deserialize)]
pub(super) struct ContextRecord {
    request: RequestId,
    trace: Option<String>,
}

impl ContextRecord {
    fn of(context: Context) -> Option<Self> {
        let Origin::Request(request) = context.origin else { return None };
        Some(Self { request, trace: context.trace.map(|it| it.to_string()) })
    }
}

impl From<ContextRecord> for Context {
    fn from(record: ContextRecord) -> Self {
        Self::request(record.request, record.trace.as_deref().and_then(TraceParent::parse))
    }
}

/// Collects bytes up to a bound.
struct Bounded {
    bytes: Vec<u8>,
    max: usize,
}

impl Write for Bounded {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.bytes.len().saturating_add(bytes.len()) > self.max {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        self.bytes.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn encode(value: &impl Serialize, max: usize) -> serde_json::Result<Vec<u8>> {
    let mut bounded = Bounded { bytes: Vec::new(), max };
    serde_json::to_writer(&mut bounded, value)?;
    Ok(bounded.bytes)
}

pub(super) fn encode_call(
    call: &'static str,
    context: Option<Context>,
    arguments: &impl Serialize,
    max: usize,
) -> Result<Vec<u8>, Problem> {
    let context = context.and_then(ContextRecord::of);
    encode(&CallEnvelope { call, context, arguments }, max).map_err(|error| {
        if error.is_io() {
            codes::TOO_LARGE.detail(format!("a call between processes has at most {max} bytes"))
        } else {
            Problem::internal(error)
        }
    })
}

pub(super) fn decode_call(bytes: &[u8]) -> Result<CallRecord, Problem> {
    serde_json::from_slice(bytes).map_err(Problem::internal)
}

/// An answer that can't be sent becomes a problem, which always can.
pub(super) fn encode_answer<A: Serialize>(answer: &Result<A, Problem>, max: usize) -> Vec<u8> {
    encode(answer, max).unwrap_or_else(|error| {
        tracing::error!(%error, max, "the answer of a call can't be sent");
        let problem: Result<(), Problem> = Err(Problem::internal(error));
        serde_json::to_vec(&problem).unwrap_or_default()
    })
}

pub(super) fn decode_answer<A: DeserializeOwned>(bytes: &[u8]) -> Result<Result<A, Problem>, Problem> {
    serde_json::from_slice(bytes).map_err(Problem::internal)
}
