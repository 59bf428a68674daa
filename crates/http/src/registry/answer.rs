//! Answers that are not fine, in the form of the distribution specification.

use actix_web::{
    HttpRequest, HttpResponse,
    http::{
        StatusCode,
        header::{self, HeaderName, HeaderValue},
    },
};
use omgservers_api::{Kind, Problem};
use omgservers_registry::problems::oci_word;
use serde::Serialize;

pub(super) const CONTENT_DIGEST: HeaderName = HeaderName::from_static("docker-content-digest");
pub(super) const UPLOAD_ID: HeaderName = HeaderName::from_static("docker-upload-uuid");
const API_VERSION: HeaderName = HeaderName::from_static("docker-distribution-api-version");

/// A problem, and where to get what it lacks.
pub(super) struct Refused {
    pub(super) problem: Problem,
    pub(super) challenge: Option<String>,
}

impl From<Problem> for Refused {
    fn from(problem: Problem) -> Self {
        Self { problem, challenge: None }
    }
}

/// One entry of `errors`.
#[derive(Serialize)]
pub(super) struct OciError {
    code: &'static str,
    message: String,
    detail: Option<String>,
}

/// What registry clients read of a problem.
pub(super) fn errors(problem: &Problem) -> [OciError; 1] {
    [OciError { code: oci_word(problem), message: problem.sentence().to_owned(), detail: None }]
}

/// The status of a problem; what nobody expected goes to the log.
pub(super) fn status(problem: &Problem, request: &HttpRequest) -> StatusCode {
    let status = StatusCode::from_u16(problem.kind().status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let (method, path) = (request.method().as_str(), request.path());
    if matches!(problem.kind(), Kind::Internal | Kind::Unavailable) {
        tracing::error!(method, path, ?problem, "a request to the registry failed");
    } else {
        tracing::debug!(method, path, code = problem.code(), %problem, "a request to the registry was refused");
    }
    metrics::counter!("omgservers_http_problems_total", "code" => problem.code().to_owned()).increment(1);
    status
}

impl Refused {
    pub(super) fn answer(self, request: &HttpRequest) -> HttpResponse {
        let mut response = HttpResponse::build(status(&self.problem, request));
        if let Some(challenge) = self.challenge {
            response.insert_header((header::WWW_AUTHENTICATE, challenge));
        }
        response.json(serde_json::json!({ "errors": errors(&self.problem) }))
    }
}

/// Docker's clients know a registry by this header.
pub(super) fn with_version(mut response: HttpResponse) -> HttpResponse {
    response.headers_mut().insert(API_VERSION, HeaderValue::from_static("registry/2.0"));
    response
}

/// The parameters of a query or a form, in order, repeated ones too.
pub(super) fn pairs(text: &str) -> Vec<(String, String)> {
    actix_web::web::Query::<Vec<(String, String)>>::from_query(text).map(|it| it.0).unwrap_or_default()
}

/// The first parameter of this name.
pub(super) fn first<'a>(pairs: &'a [(String, String)], name: &str) -> Option<&'a str> {
    pairs.iter().find(|it| it.0 == name).map(|it| it.1.as_str())
}
