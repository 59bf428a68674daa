//! Endpoints of players.

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
    interchange::{PlayerInterchangeRequest, PlayerInterchangeResponse},
};
use omgservers_core::Caller;

use crate::{
    Services,
    auth::{Authenticated, Player},
    body::{Body, RawBody, decode},
    endpoints::Mount,
    interchange::{client_messages, wait},
    interchange_body,
    problem::{Answer, HttpProblem},
    token::token,
};

const ROLE: &str = "player";

pub(crate) fn mount(mount: &mut Mount<'_>) {
    mount.post::<PlayerInterchangeRequest<'static>, PlayerInterchangeResponse, _, _>(
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

async fn create_client(
    services: Data<Services>,
    who: Authenticated<Player>,
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
    who: Authenticated<Player>,
    Body(request): Body<TicketRequest>,
) -> Answer<GetTicketDetailsResponse> {
    let details = services.matchmaking.own_ticket(&who.caller, request.client_id).await?;
    Ok(Json(GetTicketDetailsResponse { details }))
}

async fn cancel_matchmaking(
    services: Data<Services>,
    who: Authenticated<Player>,
    Body(request): Body<TicketRequest>,
) -> Answer<DeletedResponse> {
    let deleted = services.matchmaking.cancel_own_ticket(&who.caller, request.client_id).await?;
    Ok(Json(DeletedResponse { deleted }))
}

async fn create_connect_token(
    services: Data<Services>,
    who: Authenticated<Player>,
    Body(request): Body<CreateConnectTokenRequest>,
) -> Answer<CreateConnectTokenResponse> {
    let found = services.matchmaking.direct_connection(&who.caller, request.client_id).await?;
    let (runtime_id, direct) =
        found.ok_or_else(|| Problem::from(omgservers_matchmaking::problems::NO_DIRECT_CONNECTION))?;
    Ok(Json(CreateConnectTokenResponse { runtime_id, direct }))
}

async fn interchange(
    services: Data<Services>,
    who: Authenticated<Player>,
    body: RawBody,
) -> Result<HttpResponse, HttpProblem> {
    let request: PlayerInterchangeRequest<'_> = decode(&body.0)?;
    let user = who.caller.user(Role::Player)?;
    let said = client_messages(&request.outgoing_messages)?;
    let (client, mut consumed) = (request.client_id, request.consumed_messages.as_slice());
    if !said.is_empty() {
        if let Some(ack) = services.messaging.client_send(user, client, &said, consumed)? {
            ack.wait().await?;
        }
        consumed = &[];
    }
    // What was said is done; only the waiting may be broken off.
    let wait = wait(request.wait).unwrap_or_default();
    let incoming = tokio::select! {
        biased;
        incoming = services.messaging.client_receive(user, client, None, consumed, wait) => {
            incoming?.unwrap_or_default()
        }
        () = services.draining.cancelled() => Vec::new(),
    };
    Ok(interchange_body::answer("incoming_messages", &incoming, ""))
}
