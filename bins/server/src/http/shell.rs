//! What every request passes through. It is on the way of each message, so it costs one load and one look at the
//! path, and keeps no log: faults are logged where they are answered.

use std::{rc::Rc, sync::Arc};

use actix_web::{
    Error, HttpResponse,
    body::{BoxBody, EitherBody, MessageBody},
    dev::{ServiceRequest, ServiceResponse},
    http::{ConnectionType, StatusCode, header},
    middleware::Next,
};
use omgservers_api::problem::codes::RATE_LIMITED;

use super::{AddressLimit, Drain};

/// One for each worker.
pub(super) struct Shell {
    pub(super) drain: Drain,
    pub(super) limit: Option<Arc<AddressLimit>>,
}

pub(super) async fn pass<B: MessageBody>(
    shell: Rc<Shell>,
    request: ServiceRequest,
    next: Next<B>,
) -> Result<ServiceResponse<EitherBody<B, BoxBody>>, Error> {
    let refused = match &shell.limit {
        Some(limit) if omgservers_http::is_anonymous(request.path()) => limit.refuses(&request),
        _ => None,
    };
    let mut response = match refused {
        None => omgservers_http::finish(next.call(request).await?),
        Some(pause) => request.into_response(too_many(pause.as_secs() + 1)).map_into_right_body(),
    };
    if shell.drain.is_on() {
        // A WebSocket's handshake has a connection header of its own.
        if response.status() != StatusCode::SWITCHING_PROTOCOLS {
            response.response_mut().head_mut().set_connection_type(ConnectionType::Close);
        }
    }
    Ok(response)
}

fn too_many(seconds: u64) -> HttpResponse {
    let request_id = format!("{:016x}", rand::random::<u64>());
    let problem = RATE_LIMITED.detail("too many requests without a token from this address");
    HttpResponse::TooManyRequests()
        .insert_header((header::RETRY_AFTER, seconds.to_string()))
        .json(problem.body(&request_id))
}
