//! What players ask.

use std::time::Duration;

use actix_web::{
    HttpResponse,
    web::{Data, Json},
};
use omgservers_api::{
    Problem, Role,
    entrypoint::{
        CreateTokenRequest, CreateTokenResponse, DeletedResponse, Empty,
        developer::GetTicketDetailsResponse,
        player::{
            CreateClientRequest, CreateClientResponse, CreateConnectTokenRequest, CreateConnectTokenResponse,
            CreateUserResponse, PingServiceRequest, PingServiceResponse, TicketRequest,
        },
    },
    interchange::{ClientOutgoing, MOST_WAIT, Outgoing, PlayerInterchangeRequest, message},
    problem::{Code, Kind, codes},
};
use omgservers_core::Caller;
use omgservers_messaging::FromClient;

use crate::{
    Services,
    auth::{As, Player},
    body::{Body, RawBody, decode},
    entries,
    mount::Mount,
    problem::{Answer, HttpProblem},
};

const ROLE: &str = "player";

/// A qualifier that only the backend sends.
const WRONG_BODY_TYPE: Code = Code::new(
    "messaging.wrong_qualifier",
    "WRONG_CLIENT_MESSAGE_BODY_TYPE",
    Kind::Invalid,
    "only CLIENT_OUTGOING_MESSAGE can be sent",
);

/// There is nothing to connect to.
const NO_DIRECT_CONNECTION: Code = Code::new(
    "player.no_direct_connection",
    "OBJECT_NOT_FOUND",
    Kind::NotFound,
    "the client is with no game server that players connect to directly",
);

pub(crate) fn mount(mount: &mut Mount<'_>) {
    mount.post::<schema::PlayerInterchange, schema::PlayerInterchangeAnswer, _, _>(
        ROLE,
        "interchange",
        true,
        interchange,
    );
    mount.post::<Empty, CreateUserResponse, _, _>(ROLE, "create-user", false, create_user);
    mount.post::<CreateTokenRequest, CreateTokenResponse, _, _>(ROLE, "create-token", false, create_token);
    mount.post::<CreateClientRequest, CreateClientResponse, _, _>(ROLE, "create-client", true, create_client);
    mount.post::<TicketRequest, GetTicketDetailsResponse, _, _>(ROLE, "get-ticket-details", true, ticket);
    mount.post::<TicketRequest, DeletedResponse, _, _>(ROLE, "cancel-matchmaking", true, cancel_matchmaking);
    mount.post::<CreateConnectTokenRequest, CreateConnectTokenResponse, _, _>(
        ROLE,
        "create-connect-token",
        true,
        create_connect_token,
    );
    mount.post::<PingServiceRequest, PingServiceResponse, _, _>(ROLE, "ping-service", false, ping_service);
}

async fn ping_service(_: Body<PingServiceRequest>) -> Answer<PingServiceResponse> {
    Ok(Json(PingServiceResponse { message: "pong".to_owned() }))
}

async fn create_user(services: Data<Services>, _: Body<Empty>) -> Answer<CreateUserResponse> {
    let made = services.accounts.create(&Caller::System("sign-up"), Role::Player).await?;
    Ok(Json(CreateUserResponse { user_id: made.id, password: made.password }))
}

async fn create_token(
    services: Data<Services>,
    Body(request): Body<CreateTokenRequest>,
) -> Answer<CreateTokenResponse> {
    token(&services, Role::Player, &request).await
}

/// A token for a user of one role.
pub(crate) async fn token(
    services: &Services,
    role: Role,
    request: &CreateTokenRequest,
) -> Answer<CreateTokenResponse> {
    let user = services.accounts.verify(&[role], &request.user, &request.password).await?;
    Ok(Json(CreateTokenResponse { raw_token: services.tokens.user(user.id, user.role)? }))
}

async fn create_client(
    services: Data<Services>,
    who: As<Player>,
    Body(request): Body<CreateClientRequest>,
) -> Answer<CreateClientResponse> {
    let client_id = services
        .matchmaking
        .create_client(&who.caller, &request.tenant, &request.project, &request.stage)
        .await?;
    Ok(Json(CreateClientResponse { client_id }))
}

async fn ticket(
    services: Data<Services>,
    who: As<Player>,
    Body(request): Body<TicketRequest>,
) -> Answer<GetTicketDetailsResponse> {
    let details = services.matchmaking.own_ticket(&who.caller, request.client_id).await?;
    Ok(Json(GetTicketDetailsResponse { details }))
}

async fn cancel_matchmaking(
    services: Data<Services>,
    who: As<Player>,
    Body(request): Body<TicketRequest>,
) -> Answer<DeletedResponse> {
    let deleted = services.matchmaking.cancel_own_ticket(&who.caller, request.client_id).await?;
    Ok(Json(DeletedResponse { deleted }))
}

async fn create_connect_token(
    services: Data<Services>,
    who: As<Player>,
    Body(request): Body<CreateConnectTokenRequest>,
) -> Answer<CreateConnectTokenResponse> {
    let found = services.matchmaking.direct_connection(&who.caller, request.client_id).await?;
    let (runtime_id, direct) = found.ok_or_else(|| Problem::from(NO_DIRECT_CONNECTION))?;
    Ok(Json(CreateConnectTokenResponse { runtime_id, direct }))
}

async fn interchange(
    services: Data<Services>,
    who: As<Player>,
    body: RawBody,
) -> Result<HttpResponse, HttpProblem> {
    let request: PlayerInterchangeRequest<'_> = decode(&body.0)?;
    let user = who.caller.user(Role::Player)?;
    let said = said(&request.outgoing_messages)?;
    let (client, mut consumed) = (request.client_id, request.consumed_messages.as_slice());
    if !said.is_empty() {
        if let Some(commit) = services.messaging.speak(user, client, &said, consumed)? {
            commit.wait().await?;
        }
        consumed = &[];
    }
    // What was said is done; only the waiting may be broken off.
    let wait = wait(request.wait).unwrap_or_default();
    let incoming = tokio::select! {
        biased;
        incoming = services.messaging.exchange_client(user, client, &[], consumed, wait) => incoming?,
        () = services.draining.cancelled() => Vec::new(),
    };
    Ok(entries::answer("incoming_messages", &incoming, ""))
}

pub(crate) fn said<'a>(messages: &[Outgoing<'a>]) -> Result<Vec<FromClient<'a>>, Problem> {
    let read = |(index, it): (usize, &Outgoing<'a>)| {
        if it.qualifier != message::CLIENT_OUTGOING {
            let known = message::FROM_SERVER.contains(&it.qualifier.as_ref());
            let code = if known { WRONG_BODY_TYPE } else { codes::WRONG_REQUEST };
            return Err(code
                .detail(format!("`outgoing_messages[{index}].qualifier` {:?} can't be sent", it.qualifier)));
        }
        let wrong =
            |why: &str| codes::WRONG_REQUEST.detail(format!("`outgoing_messages[{index}].body`: {why}"));
        let body = it.body.ok_or_else(|| wrong("is missing"))?;
        let body: ClientOutgoing<'a> =
            serde_json::from_str(body.get()).map_err(|error| wrong(&error.to_string()))?;
        Ok(FromClient { seq: it.id, data: body.data })
    };
    messages.iter().enumerate().map(read).collect()
}

/// How long an answer may be held until something arrives.
pub(crate) fn wait(milliseconds: Option<u32>) -> Option<Duration> {
    milliseconds.filter(|it| *it > 0).map(|it| Duration::from_millis(u64::from(it.min(MOST_WAIT))))
}

/// The interchange as the OpenAPI document shows it.
#[expect(dead_code, reason = "shapes for the document; requests are decoded without copies")]
pub(crate) mod schema {
    use omgservers_api::{ClientId, EntryId};
    use utoipa::ToSchema;

    /// A player's exchange.
    #[derive(ToSchema)]
    pub(crate) struct PlayerInterchange {
        client_id: ClientId,
        outgoing_messages: Vec<OutgoingMessage>,
        consumed_messages: Vec<EntryId>,
        /// Milliseconds to wait when nothing waits; at most 25000.
        wait: Option<u32>,
    }
    /// What a player says.
    #[derive(ToSchema)]
    pub(crate) struct OutgoingMessage {
        /// The client's own counter, from 0.
        id: Option<u64>,
        /// `CLIENT_OUTGOING_MESSAGE`.
        qualifier: String,
        /// `{"data": anything}`.
        #[schema(value_type = Object)]
        body: String,
    }
    /// What waits for a player.
    #[derive(ToSchema)]
    pub(crate) struct PlayerInterchangeAnswer {
        incoming_messages: Vec<IncomingEntry>,
    }
    /// A message or a command.
    #[derive(ToSchema)]
    pub(crate) struct IncomingEntry {
        id: EntryId,
        qualifier: String,
        #[schema(value_type = Object)]
        body: String,
    }
    /// A runtime's exchange.
    #[derive(ToSchema)]
    pub(crate) struct RuntimeInterchange {
        outgoing_commands: Vec<OutgoingCommand>,
        consumed_commands: Vec<EntryId>,
        /// Milliseconds to wait when nothing waits; at most 25000.
        wait: Option<u32>,
    }
    /// What a runtime wants done.
    #[derive(ToSchema)]
    pub(crate) struct OutgoingCommand {
        /// The runtime's own counter; a repeated one is not carried out again.
        id: Option<u64>,
        qualifier: String,
        #[schema(value_type = Option<Object>)]
        body: Option<String>,
    }
    /// What waits for a runtime.
    #[derive(ToSchema)]
    pub(crate) struct RuntimeInterchangeAnswer {
        incoming_commands: Vec<IncomingEntry>,
        /// Absent when all were carried out.
        rejected_commands: Option<Vec<Rejected>>,
    }
    /// A command that was not carried out.
    #[derive(ToSchema)]
    pub(crate) struct Rejected {
        index: u32,
        qualifier: String,
        code: String,
        detail: String,
    }
}
