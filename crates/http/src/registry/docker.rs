//! The token service, for `docker login`, `push` and `pull`, and for containerd.

use actix_web::{
    HttpRequest, HttpResponse,
    http::{Method, header},
    web::{self, Data},
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use omgservers_api::{
    Kind, Problem,
    entrypoint::docker::DockerTokenResponse,
    problem::{ErrorBody, codes},
};
use omgservers_registry::{RegistryTokens, problems};
use serde::Serialize;

use super::{
    answer::{OciError, errors, first, pairs, refusal},
    auth::credentials,
    manifests::read,
};
use crate::error_response::request_id;

/// Longest form, bytes.
const MOST_FORM_BYTES: usize = 64 << 10;

/// A problem as both our clients and Docker's read it.
#[derive(Serialize)]
struct TokenErrors {
    errors: [OciError; 1],
    #[serde(flatten)]
    body: ErrorBody,
}

pub(super) async fn token(
    request: HttpRequest,
    payload: web::Payload,
    tokens: Data<RegistryTokens>,
) -> HttpResponse {
    let made = match *request.method() {
        Method::GET => by_query(&request, &tokens).await,
        Method::POST => by_form(payload, &tokens).await,
        _ => Err(codes::METHOD_NOT_ALLOWED.into()),
    };
    match made {
        Ok(token) => HttpResponse::Ok().insert_header((header::CACHE_CONTROL, "no-store")).json(token),
        Err(problem) => refused(&problem, &request),
    }
}

fn refused(problem: &Problem, request: &HttpRequest) -> HttpResponse {
    let id = request_id();
    let mut response = refusal(problem, request, &id);
    if problem.kind() == Kind::Unauthenticated {
        response.insert_header((header::WWW_AUTHENTICATE, "Basic realm=\"omgservers\""));
    }
    if let Some(pause) = problem.pause() {
        response.insert_header((header::RETRY_AFTER, pause.as_secs().max(1).to_string()));
    }
    response.json(TokenErrors { errors: errors(problem), body: problem.body(&id) })
}

/// Docker's way: Basic credentials, the rest in the query.
async fn by_query(request: &HttpRequest, tokens: &RegistryTokens) -> Result<DockerTokenResponse, Problem> {
    let query = pairs(request.query_string());
    let (user, password) = basic(request)
        .ok_or_else(|| codes::WRONG_CREDENTIALS.detail("log in first: no user and password were sent"))?;
    let offline = first(&query, "offline_token").is_some_and(|it| it == "true" || it == "1");
    tokens.by_password(&user, &password, &scopes(query), offline).await
}

/// The OAuth2 way: everything in a form.
async fn by_form(payload: web::Payload, tokens: &RegistryTokens) -> Result<DockerTokenResponse, Problem> {
    let form = read(payload, MOST_FORM_BYTES).await?;
    let form = pairs(&String::from_utf8_lossy(&form));
    let field = |name: &str| first(&form, name).filter(|it| !it.is_empty()).map(str::to_owned);
    match field("grant_type").as_deref() {
        Some("refresh_token") => {
            let refresh = field("refresh_token")
                .ok_or_else(|| problems::GRANT_INVALID.detail("`refresh_token` is missing"))?;
            tokens.by_refresh(&refresh, &scopes(form)).await
        }
        Some("password") => {
            let (user, password) = field("username")
                .zip(field("password"))
                .ok_or_else(|| problems::GRANT_INVALID.detail("`username` or `password` is missing"))?;
            let offline = field("access_type").as_deref() == Some("offline");
            tokens.by_password(&user, &password, &scopes(form), offline).await
        }
        _ => Err(problems::GRANT_INVALID.detail("`grant_type` must be `refresh_token` or `password`")),
    }
}

fn scopes(pairs: Vec<(String, String)>) -> Vec<String> {
    pairs.into_iter().filter(|it| it.0 == "scope").map(|it| it.1).collect()
}

fn basic(request: &HttpRequest) -> Option<(String, String)> {
    let text = STANDARD.decode(credentials(request, "basic")?).ok()?;
    let text = String::from_utf8(text).ok()?;
    let (user, password) = text.split_once(':')?;
    (!user.is_empty()).then(|| (user.to_owned(), password.to_owned()))
}
