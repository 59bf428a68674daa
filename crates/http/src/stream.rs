//! The player stream: a client's mailbox over a WebSocket. `docs/player-stream.md` specifies it.

mod frames;
mod open;
mod serve;

use std::{sync::Arc, time::Duration};

use actix_web::{
    FromRequest as _, HttpRequest, HttpResponse,
    web::{self, Data, Query, ServiceConfig},
};
use omgservers_api::{
    ClientId, Problem, Role,
    entrypoint::EntrypointRole,
    problem::codes,
    stream::{BEARER, PATH, SUB_PROTOCOL},
};
use omgservers_auth::Tokens;
use omgservers_core::context::inherit;
use omgservers_messaging::Mail;
use omgservers_ws::Limits;
pub use open::Streams;
use serde::Deserialize;
use tokio_util::sync::CancellationToken;

use self::serve::StreamConnection;
use crate::{
    auth::{bearer, verify},
    error_response::request_id,
    problem::{self, HttpProblem},
    websocket::{self, IncomingMessages},
};

/// Dependencies of player streams. Cheap to clone; one for all HTTP workers.
#[derive(Clone)]
pub struct StreamParts {
    /// Tokens.
    pub tokens: Arc<Tokens>,
    /// Mailboxes of players.
    pub mail: Arc<dyn Mail>,
    /// The open streams.
    pub open: Streams,
    /// Largest frame, bytes.
    pub frame_limit: usize,
    /// Fires when the server is about to stop: streams end.
    pub draining: CancellationToken,
}

/// Mounts the endpoint.
pub fn routes(parts: &StreamParts, config: &mut ServiceConfig) {
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

/// Opens a stream. Refusals about the token are HTTP answers. Problems with the client come over
/// the stream, because a browser doesn't show the answer to a failed handshake.
async fn open(
    request: HttpRequest,
    payload: web::Payload,
    parts: Data<StreamParts>,
) -> Result<HttpResponse, HttpProblem> {
    let token = token(&request)?;
    let user = verify(&parts.tokens, &token, EntrypointRole::Player)?.user(Role::Player)?;
    let which = Query::<Which>::extract(&request)
        .await
        .map_err(|it| codes::WRONG_REQUEST.detail(format!("`client_id` of the query: {it}")))?;
    if parts.draining.is_cancelled() {
        return Err(Problem::unavailable("the server stops").retry_after(Duration::from_secs(1)).into());
    }
    websocket::verify(&request)?;
    let limits = Limits { frame: parts.frame_limit, message: parts.frame_limit };
    let incoming = IncomingMessages::new(payload.into_inner(), limits);
    let (outgoing, body) = websocket::outgoing();
    let protocol = websocket::offered(&request).any(|it| it == SUB_PROTOCOL).then_some(SUB_PROTOCOL);
    let client = (user, which.client_id);
    let connection = StreamConnection::new(parts, (incoming, outgoing), client, token, request_id());
    actix_web::rt::spawn(inherit(connection.run()));
    Ok(websocket::accept(&request, protocol, body))
}

/// Returns the token of the header, or of a sub-protocol for clients that can't set headers.
fn token(request: &HttpRequest) -> Result<String, Problem> {
    let carried = || websocket::offered(request).find_map(|it| it.strip_prefix(BEARER));
    match (bearer(request), carried()) {
        (Ok(token), _) | (Err(_), Some(token)) => Ok(token.to_owned()),
        (Err(problem), None) => Err(problem),
    }
}
