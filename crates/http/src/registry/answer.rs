//! Answers that are not fine, in the form of the distribution specification.

use actix_web::{
    HttpRequest, HttpResponse, HttpResponseBuilder,
    http::{
        StatusCode,
        header::{self, HeaderName, HeaderValue},
    },
};
use omgservers_api::{Kind, Problem};
use omgservers_registry::problems::oci_word;
use serde::Serialize;

use crate::error_response::{REQUEST_ID, request_id};

pub(super) const CONTENT_DIGEST: HeaderName = HeaderName::from_static("docker-content-digest");
pub(super) const UPLOAD_ID: HeaderName = HeaderName::from_static("docker-upload-uuid");
const API_VERSION: HeaderName = HeaderName::from_static("docker-distribution-api-version");

/// The answer of an endpoint.
pub(super) type Answered = Result<HttpResponse, Refused>;

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

/// The body of a refusal.
#[derive(Serialize)]
struct OciErrors {
    errors: [OciError; 1],
    request_id: String,
}

/// What registry clients read of a problem.
pub(super) fn errors(problem: &Problem) -> [OciError; 1] {
    [OciError { code: oci_word(problem), message: problem.sentence().to_owned(), detail: None }]
}

/// An answer with the status of a problem and the id of the request, without a body yet. Unexpected
/// problems go to the log under the same id.
pub(super) fn refusal(problem: &Problem, request: &HttpRequest, id: &str) -> HttpResponseBuilder {
    let status = StatusCode::from_u16(problem.kind().status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let (method, path) = (request.method().as_str(), request.path());
    if matches!(problem.kind(), Kind::Internal | Kind::Unavailable) {
        tracing::error!(request.id = %id, method, path, ?problem, "a request to the registry failed");
    } else {
        let code = problem.code();
        tracing::debug!(request.id = %id, method, path, code, %problem, "a request to the registry was refused");
    }
    metrics::counter!("omgservers_http_problems_total", "code" => problem.code().to_owned()).increment(1);
    let mut response = HttpResponse::build(status);
    response.insert_header((REQUEST_ID, id));
    response
}

impl Refused {
    pub(super) fn answer(self, request: &HttpRequest) -> HttpResponse {
        let request_id = request_id();
        let mut response = refusal(&self.problem, request, &request_id);
        if let Some(challenge) = self.challenge {
            response.insert_header((header::WWW_AUTHENTICATE, challenge));
        }
        response.json(OciErrors { errors: errors(&self.problem), request_id })
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
