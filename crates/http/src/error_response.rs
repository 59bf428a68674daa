//! The last step of every request: a problem gets its body, with the id of the request, and is logged. It is on the
//! path of every interchange, so it does nothing for an answer that is fine.

use actix_web::{
    body::{BoxBody, EitherBody, MessageBody},
    dev::ServiceResponse,
};
use omgservers_api::Kind;
use omgservers_core::{
    RequestId,
    context::{self, Origin},
};

use crate::problem::{HttpProblem, answer};

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

/// The id of the current request; a random one outside of a request's context, as in tests of the bare API.
pub fn request_id() -> String {
    let id = context::read_current(|context| match &context.origin {
        Origin::Request(id) => Some(id.to_string()),
        Origin::Worker { .. } => None,
    });
    id.flatten().unwrap_or_else(|| RequestId::Random(rand::random()).to_string())
}
