//! The one place where a problem becomes an answer.

use std::fmt;

use actix_web::{
    HttpRequest, HttpResponse, ResponseError,
    http::{StatusCode, header},
};
use omgservers_api::{Kind, Problem, problem::codes};

/// A problem on its way out. [`finish`](crate::finish) writes its body, with the id of the request.
#[derive(Debug)]
pub(crate) struct HttpProblem(pub(crate) Problem);

impl From<Problem> for HttpProblem {
    fn from(problem: Problem) -> Self {
        Self(problem)
    }
}

impl fmt::Display for HttpProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl ResponseError for HttpProblem {
    fn status_code(&self) -> StatusCode {
        StatusCode::from_u16(self.0.kind().status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
    }
    fn error_response(&self) -> HttpResponse {
        answer(&self.0, "")
    }
}

/// The answer to a problem.
pub(crate) fn answer(problem: &Problem, request_id: &str) -> HttpResponse {
    let status = StatusCode::from_u16(problem.kind().status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut response = HttpResponse::build(status);
    if !request_id.is_empty() {
        response.insert_header(("X-Request-Id", request_id));
    }
    if problem.kind() == Kind::Unauthenticated {
        response.insert_header((header::WWW_AUTHENTICATE, "Bearer"));
    }
    if let Some(pause) = problem.pause() {
        // Whole seconds, rounded up.
        let seconds = pause.as_secs() + u64::from(pause.subsec_nanos() > 0);
        response.insert_header((header::RETRY_AFTER, seconds.max(1).to_string()));
    }
    response.json(problem.body(request_id))
}

pub(crate) async fn unknown_path(request: HttpRequest) -> Result<HttpResponse, HttpProblem> {
    Err(codes::UNKNOWN_PATH.detail(format!("there is nothing at {}", request.path())).into())
}

/// Answers 405 to every method.
pub fn wrong_method() -> actix_web::Route {
    actix_web::web::to(method_not_allowed)
}

pub(crate) async fn method_not_allowed(request: HttpRequest) -> Result<HttpResponse, HttpProblem> {
    Err(codes::METHOD_NOT_ALLOWED
        .detail(format!("{} is not a method of this endpoint", request.method()))
        .into())
}
