//! What every request passes through. It is on the way of each message, so it costs one load, one look at the path
//! and one count, and keeps no log: faults are logged where they are answered.

use std::{rc::Rc, sync::Arc, time::Instant};

use actix_web::{
    Error, HttpResponse,
    body::{BoxBody, EitherBody, MessageBody},
    dev::{ServiceRequest, ServiceResponse},
    http::{ConnectionType, StatusCode, header},
    middleware::Next,
};
use omgservers_api::problem::codes::RATE_LIMITED;

use super::{AddressLimit, Drain, meters::Meters};

/// One for each worker.
pub(super) struct Shell {
    pub(super) drain: Drain,
    pub(super) limit: Option<Arc<AddressLimit>>,
    pub(super) meters: Meters,
}

pub(super) async fn pass<B: MessageBody>(
    shell: Rc<Shell>,
    request: ServiceRequest,
    next: Next<B>,
) -> Result<ServiceResponse<EitherBody<B, BoxBody>>, Error> {
    // The path that the router reads, not the one that was written: `%6E` is an `n`.
    let refused = shell.limit.as_ref().and_then(|limit| {
        let cost = omgservers_http::anonymous(request.match_info().as_str())?;
        limit.refuses(&request, cost)
    });
    let mut response = match refused {
        // An interchange may wait for as long as it was asked to: its time says nothing.
        None if omgservers_http::is_interchange(request.path()) => {
            omgservers_http::finish(next.call(request).await?)
        }
        None => {
            let begun = Instant::now();
            let answered = omgservers_http::finish(next.call(request).await?);
            shell.meters.seconds.record(begun.elapsed());
            answered
        }
        Some(pause) => {
            shell.meters.limited.increment(1);
            request.into_response(too_many(pause.as_secs() + 1)).map_into_right_body()
        }
    };
    shell.meters.answered(response.status());
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
