//! Push events of a registry outside. Only a sender with the secret may send them.

use actix_web::{
    HttpRequest, HttpResponse,
    http::Method,
    web::{self, Data},
};
use omgservers_api::{Problem, problem::codes};
use omgservers_registry::{Algorithm, Events, Registry};

use super::{RegistryHttpConfig, auth::bearer, manifests::read};
use crate::problem::HttpProblem;

/// Largest batch of events, bytes.
const MOST_EVENT_BYTES: usize = 4 << 20;

pub(super) async fn handle(
    request: HttpRequest,
    payload: web::Payload,
    registry: Data<Registry>,
    config: Data<RegistryHttpConfig>,
) -> Result<HttpResponse, HttpProblem> {
    if !matches!(*request.method(), Method::POST | Method::PUT) {
        return Err(Problem::from(codes::METHOD_NOT_ALLOWED).into());
    }
    authorise(&request, &config)?;
    let content = read(payload, MOST_EVENT_BYTES).await?;
    let events: Events =
        serde_json::from_slice(&content).map_err(|it| codes::WRONG_REQUEST.detail(it.to_string()))?;
    registry.attach_pushed(&events).await?;
    Ok(HttpResponse::NoContent().finish())
}

fn authorise(request: &HttpRequest, config: &RegistryHttpConfig) -> Result<(), Problem> {
    let given = bearer(request).ok_or(codes::NO_CREDENTIALS)?;
    // Digests are compared, so that the time tells nothing of the secret.
    let hash = |it: &str| Algorithm::Sha256.of(it.as_bytes());
    match &config.events_secret {
        Some(secret) if !secret.is_empty() && hash(secret) == hash(given) => Ok(()),
        _ => Err(codes::WRONG_TOKEN.detail("push events are taken from the configured registry only")),
    }
}
