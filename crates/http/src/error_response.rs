//! The last step of every request: a problem gets its body, with the id of the request, and is
//! logged. It is on the path of every interchange, so it does nothing for an answer that is fine.

use actix_web::{
    body::{BoxBody, EitherBody, MessageBody},
    dev::{ServiceRequest, ServiceResponse},
    http::header::HeaderName,
};
use omgservers_api::{Kind, Problem};
use omgservers_core::{
    Context, RequestId, TraceParent,
    context::{self, Origin},
};

use crate::problem::{HttpProblem, answer};

/// The header with the id of a request.
pub const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const TRACE_PARENT: HeaderName = HeaderName::from_static("traceparent");

/// Finishes an answer.
pub fn finish<B: MessageBody>(response: ServiceResponse<B>) -> ServiceResponse<EitherBody<B, BoxBody>> {
    let Some(HttpProblem(problem)) = response.response().error().and_then(|it| it.as_error::<HttpProblem>())
    else {
        return response.map_into_left_body();
    };
    let request = response.request();
    let id = request_id();
    let status = problem.kind().status();
    let (method, path) = (request.method().as_str(), request.path());
    if matches!(problem.kind(), Kind::Internal | Kind::Unavailable) {
        tracing::error!(method, path, status, ?problem, "a request failed");
    } else {
        tracing::debug!(method, path, status, code = problem.code(), %problem, "a request was refused");
    }
    metrics::counter!("omgservers_http_problems_total", "code" => problem.code().to_owned()).increment(1);
    let answered = answer(problem, &id);
    response.into_response(answered).map_into_right_body()
}

/// Refuses a request before any handler, in the same way as a handler's problem.
pub fn refuse(request: ServiceRequest, problem: Problem) -> ServiceResponse<EitherBody<BoxBody, BoxBody>> {
    finish(request.error_response(HttpProblem(problem)))
}

/// The context that `request` runs in: its id, which is the client's or a random one, and the
/// caller's position in a trace. A middleware reads it and runs the rest of the request in its
/// scope.
pub fn request_context(request: &ServiceRequest) -> Context {
    let given = request.headers().get(REQUEST_ID).and_then(|id| RequestId::given(id.to_str().ok()?));
    let id = given.unwrap_or_else(|| RequestId::Random(rand::random()));
    // Two such headers count as none.
    let mut parents = request.headers().get_all(TRACE_PARENT);
    let parent = parents.next().filter(|_| parents.next().is_none());
    Context::request(id, parent.and_then(|parent| TraceParent::parse(parent.to_str().ok()?)))
}

/// The id of the current request; a random one outside of a request's context, as in tests of the
/// bare API.
pub fn request_id() -> String {
    let id = context::read_current(|context| match &context.origin {
        Origin::Request(id) => Some(id.to_string()),
        Origin::Worker { .. } => None,
    });
    id.flatten().unwrap_or_else(|| RequestId::Random(rand::random()).to_string())
}
