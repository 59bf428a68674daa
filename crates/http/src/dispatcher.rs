//! The dispatcher's endpoint: checks tokens and connects sockets with `omgservers_dispatcher`.

mod socket;
mod ws_token;

use std::{sync::Arc, time::Duration};

use actix_web::{
    HttpRequest, HttpResponse,
    web::{self, Data, ServiceConfig},
};
use omgservers_api::{
    ClientId, Problem, RuntimeId,
    dispatcher::{PATH, PING_INTERVAL},
    problem::codes,
};
use omgservers_auth::{Tokens, WsClaims};
use omgservers_core::context::inherit;
use omgservers_dispatcher::{Assignment, Dispatcher, RoomConnection, Stopped};
use omgservers_messaging::{AssignmentStatus, Messaging};
use tokio::sync::watch;

use self::{socket::Socket, ws_token::WsToken};
use crate::{
    problem::{self, HttpProblem},
    websocket,
};

/// Dependencies of the endpoint. Cheap to clone; one for all HTTP workers.
#[derive(Clone)]
pub struct DispatcherParts {
    /// The rooms.
    pub dispatcher: Arc<Dispatcher>,
    /// Assignments of clients.
    pub messaging: Arc<dyn Messaging>,
    /// Verifies tokens.
    pub tokens: Arc<Tokens>,
    /// Intervals of a connection.
    pub times: Times,
}

/// Intervals of a connection.
#[derive(Debug, Clone, Copy)]
pub struct Times {
    /// Time between two pings.
    pub ping: Duration,
    /// Idle time after which a peer is gone; answers to pings count.
    pub max_idle: Duration,
    /// How long a reassigned player's connection stays open after the player has consumed the
    /// message. The Defold SDK ends it itself one poll later, and fails when the server is faster.
    pub grace: Duration,
    /// How long the server waits for the answer to its close frame.
    pub close_timeout: Duration,
}

impl Default for Times {
    fn default() -> Self {
        Self {
            ping: PING_INTERVAL,
            max_idle: Duration::from_secs(60),
            grace: Duration::from_secs(10),
            close_timeout: Duration::from_secs(1),
        }
    }
}

/// Mounts the endpoint.
pub fn routes(parts: &DispatcherParts, config: &mut ServiceConfig) {
    let resource = web::resource(PATH)
        .app_data(Data::new(parts.clone()))
        .route(web::get().to(open))
        .default_service(web::to(problem::method_not_allowed));
    config.service(resource);
}

/// Opens a connection. Refusals are HTTP answers: everything is checked before the handshake.
async fn open(
    request: HttpRequest,
    payload: web::Payload,
    parts: Data<DispatcherParts>,
) -> Result<HttpResponse, HttpProblem> {
    let WsToken { token, protocol } = WsToken::of(&request)?;
    websocket::verify(&request)?;
    // An attempt that comes this far uses the token up.
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
    Ok(websocket::accept(&request, protocol, socket::Frames(outgoing)))
}

impl DispatcherParts {
    fn runtime(&self, runtime: RuntimeId, assignment: u64) -> Result<RoomConnection, Problem> {
        let info = self.messaging.runtime(runtime).filter(|it| it.opened == assignment);
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

fn stopping(_: Stopped) -> Problem {
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
        // A closed channel means that the client's mailbox is gone.
        self.status.borrow().assignment == self.assignment && self.status.has_changed().is_ok()
    }
}
