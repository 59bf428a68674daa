//! Rooms over WebSockets: who may in, and the way of frames between sockets and `omgservers_dispatcher`.

mod socket;
mod ws_token;

use std::{sync::Arc, time::Duration};

use actix_http::ws;
use actix_web::{
    HttpRequest, HttpResponse,
    http::{StatusCode, header},
    web::{self, Data, ServiceConfig},
};
use omgservers_api::{
    ClientId, Problem, RuntimeId,
    dispatcher::{PATH, PING_INTERVAL},
    problem::codes,
};
use omgservers_auth::{Tokens, WsClaims};
use omgservers_core::context::inherit;
use omgservers_dispatcher::{Assignment, Connection, Dispatcher, Refused};
use omgservers_messaging::{AssignmentStatus, Messaging};
use tokio::sync::watch;

use self::{socket::Socket, ws_token::WsToken};
use crate::problem::{self, HttpProblem};

/// What rooms stand on. Cheap to clone; one for all HTTP workers.
#[derive(Clone)]
pub struct Parts {
    /// The rooms.
    pub dispatcher: Arc<Dispatcher>,
    /// Says who is with whom.
    pub messaging: Arc<dyn Messaging>,
    /// Says who it is.
    pub tokens: Arc<Tokens>,
    /// When connections are looked after.
    pub times: Times,
}

/// When connections are looked after.
#[derive(Debug, Clone, Copy)]
pub struct Times {
    /// Between two pings.
    pub ping: Duration,
    /// A peer of which nothing was heard for so long, no answer to a ping either, is gone.
    pub silence: Duration,
    /// How long the connection of a player that was moved stays after the player has consumed the news. The SDK handles
    /// them a poll later, ends its connection itself, and fails when the server is quicker.
    pub grace: Duration,
    /// How long the peer's answer to a close frame is waited for.
    pub farewell: Duration,
}

impl Default for Times {
    fn default() -> Self {
        Self {
            ping: PING_INTERVAL,
            silence: Duration::from_secs(60),
            grace: Duration::from_secs(10),
            farewell: Duration::from_secs(1),
        }
    }
}

/// Mounts the endpoint.
pub fn routes(parts: &Parts, config: &mut ServiceConfig) {
    let resource = web::resource(PATH)
        .app_data(Data::new(parts.clone()))
        .route(web::get().to(open))
        .default_service(web::to(problem::method_not_allowed));
    config.service(resource);
}

/// Shakes hands. Everything is checked before, so that whoever may not in gets an answer of HTTP.
async fn open(
    request: HttpRequest,
    payload: web::Payload,
    parts: Data<Parts>,
) -> Result<HttpResponse, HttpProblem> {
    let WsToken { token, protocol } = WsToken::of(&request)?;
    ws::verify_handshake(request.head())
        .map_err(|it| codes::WRONG_REQUEST.detail(format!("no handshake of a WebSocket: {it}")))?;
    // It is used up by an attempt that comes this far.
    let (connection, bound) = match parts.tokens.redeem_ws(&token)? {
        WsClaims::Runtime { runtime, assignment } => (parts.runtime(runtime, assignment)?, None),
        WsClaims::Player { client, runtime, assignment } => {
            let bound = parts.bound(client, runtime, assignment)?;
            let assignment = Box::new(bound.clone());
            (parts.dispatcher.player(client, runtime, assignment).map_err(stopping)?, Some(bound))
        }
    };
    let outgoing = connection.outgoing();
    let limits = *parts.dispatcher.bounds();
    let socket = Socket::new(payload.into_inner(), connection, &limits, parts.times);
    actix_web::rt::spawn(inherit(socket.run(bound)));
    Ok(answer(&request, protocol, outgoing))
}

/// The engine of the SDK wants the whole value to be `Upgrade`, as it is written here.
fn answer(
    request: &HttpRequest,
    protocol: Option<&'static str>,
    outgoing: omgservers_dispatcher::Outgoing,
) -> HttpResponse {
    let key = request.headers().get(header::SEC_WEBSOCKET_KEY).map(header::HeaderValue::as_bytes);
    let accept = ws::hash_key(key.unwrap_or_default());
    let mut response = HttpResponse::build(StatusCode::SWITCHING_PROTOCOLS);
    response.upgrade("websocket").insert_header((header::SEC_WEBSOCKET_ACCEPT, &accept[..]));
    if let Some(protocol) = protocol {
        response.insert_header((header::SEC_WEBSOCKET_PROTOCOL, protocol));
    }
    let mut response = response.body(socket::Frames(outgoing));
    response.head_mut().set_camel_case_headers(true);
    response
}

impl Parts {
    fn runtime(&self, runtime: RuntimeId, assignment: u64) -> Result<Connection, Problem> {
        let info = self.messaging.runtime(runtime).filter(|it| it.epoch == assignment);
        info.ok_or_else(|| codes::WRONG_TOKEN.detail("the runtime isn't open any more"))?;
        self.dispatcher.runtime(runtime).map_err(stopping)
    }

    /// Follows the assignment that a token was made for.
    fn bound(&self, client: ClientId, runtime: RuntimeId, assignment: u64) -> Result<Bound, Problem> {
        let status = self.messaging.client_watch(client);
        let here = self.messaging.client(client).filter(|it| !it.closed && it.route == Some(runtime));
        let bound = status.zip(here).map(|it| Bound { status: it.0, assignment });
        bound
            .filter(Assignment::holds)
            .ok_or_else(|| codes::WRONG_TOKEN.detail("the client isn't with this runtime any more"))
    }
}

fn stopping(_: Refused) -> Problem {
    Problem::unavailable("the server stops").retry_after(Duration::from_secs(1))
}

/// One assignment of a client.
#[derive(Clone)]
struct Bound {
    status: watch::Receiver<AssignmentStatus>,
    assignment: u64,
}

impl Assignment for Bound {
    fn holds(&self) -> bool {
        // Without a mailbox there is no client.
        self.status.borrow().assignment == self.assignment && self.status.has_changed().is_ok()
    }
}
