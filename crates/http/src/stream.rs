//! The player stream: the mailbox of a client over a WebSocket, both ways. `docs/player-stream.md` tells all of it.

mod frames;
mod open;
mod serve;

use std::{sync::Arc, time::Duration};

use actix_web::{
    FromRequest as _, HttpRequest, HttpResponse,
    http::header::SEC_WEBSOCKET_PROTOCOL,
    web::{self, Data, Query, ServiceConfig},
};
use omgservers_api::{
    ClientId, Problem, Role,
    problem::codes,
    stream::{BEARER, PATH, SUB_PROTOCOL},
};
use omgservers_auth::Tokens;
use omgservers_core::context::inherit;
use omgservers_messaging::Messaging;
pub use open::Streams;
use serde::Deserialize;
use tokio_util::sync::CancellationToken;

use self::serve::Connection;
use crate::{
    auth::{Player, bearer, prove_token},
    error_response::request_id,
    problem::{self, HttpProblem},
    websocket::guarded,
};

/// What player streams stand on. Cheap to clone; one for all HTTP workers.
#[derive(Clone)]
pub struct Parts {
    /// Tokens.
    pub tokens: Arc<Tokens>,
    /// Mailboxes.
    pub messaging: Arc<dyn Messaging>,
    /// The open streams.
    pub open: Streams,
    /// Largest frame, bytes.
    pub frame_limit: usize,
    /// Fires when the server is about to stop: streams end.
    pub draining: CancellationToken,
}

/// Mounts the endpoint.
pub fn routes(parts: &Parts, config: &mut ServiceConfig) {
    let parts = Data::new(parts.clone());
    let resource = web::resource(PATH)
        .app_data(parts)
        .route(web::get().to(open))
        .default_service(web::to(problem::method_not_allowed));
    config.service(resource);
}

#[derive(Deserialize)]
struct Which {
    client_id: ClientId,
}

/// Shakes hands. Who may not is refused here; what is wrong with the client is told over the stream, because a
/// browser doesn't show the answer to a handshake that failed.
async fn open(
    request: HttpRequest,
    payload: web::Payload,
    parts: Data<Parts>,
) -> Result<HttpResponse, HttpProblem> {
    let token = token(&request)?;
    let user = prove_token::<Player>(&parts.tokens, &token)?.caller.user(Role::Player)?;
    let which = Query::<Which>::extract(&request)
        .await
        .map_err(|it| codes::WRONG_REQUEST.detail(format!("`client_id` of the query: {it}")))?;
    if parts.draining.is_cancelled() {
        return Err(Problem::unavailable("the server stops").retry_after(Duration::from_secs(1)).into());
    }
    let limit = parts.frame_limit;
    let payload = guarded(&request, payload, limit).await?;
    let (response, session, messages) =
        actix_ws::handle_with_protocols(&request, payload, &[SUB_PROTOCOL])
            .map_err(|it| codes::WRONG_REQUEST.detail(format!("no handshake of a WebSocket: {it}")))?;
    let messages = messages.max_frame_size(limit).aggregate_continuations().max_continuation_size(limit);
    let connection = Connection::new(parts, session, (user, which.client_id), token, request_id());
    actix_web::rt::spawn(inherit(connection.run(messages)));
    Ok(response)
}

/// The token of the header, or of a sub-protocol for those who can't set headers.
fn token(request: &HttpRequest) -> Result<String, Problem> {
    let carried = || {
        let offered = request.headers().get_all(SEC_WEBSOCKET_PROTOCOL);
        let mut offered = offered.filter_map(|it| it.to_str().ok()).flat_map(|it| it.split(','));
        offered.find_map(|it| it.trim().strip_prefix(BEARER))
    };
    match (bearer(request), carried()) {
        (Ok(token), _) | (Err(_), Some(token)) => Ok(token.to_owned()),
        (Err(problem), None) => Err(problem),
    }
}
