//! The last step of every request: a problem gets its body, with the id of the request, and is logged. It is on the
//! path of every interchange, so it does nothing for an answer that is fine.

use actix_web::{
    body::{BoxBody, EitherBody, MessageBody},
    dev::ServiceResponse,
};
use omgservers_api::Kind;

use crate::problem::{HttpProblem, answer};

/// Finishes an answer.
pub fn finish<B: MessageBody>(response: ServiceResponse<B>) -> ServiceResponse<EitherBody<B, BoxBody>> {
    let Some(HttpProblem(problem)) = response.response().error().and_then(|it| it.as_error::<HttpProblem>())
    else {
        return response.map_into_left_body();
    };
    let request = response.request();
    let id = request_id(request);
    let status = problem.kind().status();
    let (method, path) = (request.method().as_str(), request.path());
    if matches!(problem.kind(), Kind::Internal | Kind::Unavailable) {
        tracing::error!(request.id = %id, method, path, status, ?problem, "a request failed");
    } else {
        tracing::debug!(request.id = %id, method, path, status, code = problem.code(), %problem, "a request was refused");
    }
    metrics::counter!("omgservers_http_problems_total", "code" => problem.code().to_owned()).increment(1);
    let answered = answer(problem, &id);
    response.into_response(answered).map_into_right_body()
}

/// The client's own id of the request, if it is a sane one, else a random one.
pub(crate) fn request_id(request: &actix_web::HttpRequest) -> String {
    let sane = |it: &&str| {
        (1..=64).contains(&it.len())
            && it.bytes().all(|it| it.is_ascii_alphanumeric() || b"-_.".contains(&it))
    };
    let given = request.headers().get("X-Request-Id").and_then(|it| it.to_str().ok()).filter(sane);
    given.map_or_else(|| format!("{:016x}", rand::random::<u64>()), str::to_owned)
}
