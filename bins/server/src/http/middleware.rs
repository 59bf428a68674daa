//! The middleware of every request: its id and span, the limit of its address, its count and time.
//! It is on the path of each message, so it allocates nothing and logs nothing: a handler's problem
//! is logged where it is answered.

use std::{
    rc::Rc,
    sync::Arc,
    time::{Duration, Instant},
};

use actix_web::{
    Error,
    body::{BoxBody, EitherBody, MessageBody},
    dev::{ServiceRequest, ServiceResponse},
    http::{ConnectionType, StatusCode, header::HeaderValue},
    middleware::Next,
};
use omgservers_api::problem::codes::RATE_LIMITED;
use omgservers_core::TraceParent;
use tracing::Instrument as _;

use super::{AddressLimit, Drain, meters::Meters};
use crate::telemetry::request_span;

/// One for each worker.
pub(super) struct Middleware {
    pub(super) drain: Drain,
    pub(super) limit: Option<Arc<AddressLimit>>,
    pub(super) meters: Meters,
}

pub(super) async fn pass<B: MessageBody>(
    middleware: Rc<Middleware>,
    request: ServiceRequest,
    next: Next<B>,
) -> Result<ServiceResponse<EitherBody<B, BoxBody>>, Error> {
    let mut context = omgservers_http::request_context(&request);
    let span = request_span(&request, &context);
    if let Some(position) = TraceParent::of(&span) {
        context.trace = Some(position);
    }
    let mut response = context.scope(answer(&middleware, request, next).instrument(span.clone())).await?;
    span.record("http.response.status_code", response.status().as_u16());
    middleware.meters.answered(response.status());
    if middleware.drain.is_on() {
        // A WebSocket's handshake has a connection header of its own.
        if response.status() != StatusCode::SWITCHING_PROTOCOLS {
            response.response_mut().head_mut().set_connection_type(ConnectionType::Close);
        }
    }
    Ok(response)
}

async fn answer<B: MessageBody>(
    middleware: &Middleware,
    request: ServiceRequest,
    next: Next<B>,
) -> Result<ServiceResponse<EitherBody<B, BoxBody>>, Error> {
    // The router reads the decoded path, in which `%6E` is an `n`.
    let refused = middleware.limit.as_ref().and_then(|limit| {
        let cost = omgservers_http::anonymous(request.match_info().as_str())?;
        limit.refuses(&request, cost)
    });
    if let Some(pause) = refused {
        middleware.meters.limited.increment(1);
        let problem = RATE_LIMITED
            .detail("too many requests without a token from this address")
            .retry_after(Duration::from_secs(pause.as_secs() + 1));
        let refused = omgservers_http::refuse(request, problem);
        return Ok(refused.map_into_boxed_body().map_into_right_body());
    }
    // An interchange waits for as long as its request says, so its time is no measure of the
    // server.
    if omgservers_http::is_interchange(request.path()) {
        return Ok(omgservers_http::finish(next.call(request).await?));
    }
    let begun = Instant::now();
    let mut response = omgservers_http::finish(next.call(request).await?);
    middleware.meters.seconds.record(begun.elapsed());
    if let Ok(id) = HeaderValue::try_from(omgservers_http::request_id()) {
        response.headers_mut().insert(omgservers_http::REQUEST_ID, id);
    }
    Ok(response)
}
