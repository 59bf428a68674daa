//! Endpoints of players: one handler for each, of the name of its method.

use actix_web::HttpResponse;
use omgservers_api::{
    Problem, Role,
    entrypoint::{
        CreateTokenRequest, CreateTokenResponse, DeletedResponse, Empty,
        developer::GetTicketDetailsResponse,
        player::{
            CreateClientRequest, CreateClientResponse, CreateConnectTokenRequest, CreateConnectTokenResponse,
            CreateUserResponse, Interchange, PingServiceRequest, PingServiceResponse, TicketRequest,
        },
    },
    interchange::PlayerInterchangeRequest,
};
use omgservers_core::Caller;
use omgservers_messaging::problems::CLIENT_NOT_FOUND;

use crate::{
    Api,
    auth::Authenticated,
    body::{RawBody, decode},
    interchange::{client_messages, wait},
    interchange_body,
    problem::HttpProblem,
    token::create,
};

pub(crate) async fn ping_service(_: Api, _: PingServiceRequest) -> Result<PingServiceResponse, Problem> {
    Ok(PingServiceResponse { message: "pong".to_owned() })
}

pub(crate) async fn create_user(api: Api, _: Empty) -> Result<CreateUserResponse, Problem> {
    let made = api.accounts.create(&Caller::System("sign-up"), Role::Player).await?;
    Ok(CreateUserResponse { user_id: made.id, password: made.password })
}

pub(crate) async fn create_token(
    api: Api,
    request: CreateTokenRequest,
) -> Result<CreateTokenResponse, Problem> {
    create(&api, Role::Player, &request).await
}

pub(crate) async fn create_client(
    api: Api,
    caller: Caller,
    request: CreateClientRequest,
) -> Result<CreateClientResponse, Problem> {
    let client_id =
        api.matchmaking.create_client(&caller, &request.tenant, &request.project, &request.stage).await?;
    Ok(CreateClientResponse { client_id })
}

pub(crate) async fn get_ticket_details(
    api: Api,
    caller: Caller,
    request: TicketRequest,
) -> Result<GetTicketDetailsResponse, Problem> {
    let details = api.matchmaking.own_ticket(&caller, request.client_id).await?;
    Ok(GetTicketDetailsResponse { details })
}

pub(crate) async fn cancel_matchmaking(
    api: Api,
    caller: Caller,
    request: TicketRequest,
) -> Result<DeletedResponse, Problem> {
    let deleted = api.matchmaking.cancel_own_ticket(&caller, request.client_id).await?;
    Ok(DeletedResponse { deleted })
}

pub(crate) async fn create_connect_token(
    api: Api,
    caller: Caller,
    request: CreateConnectTokenRequest,
) -> Result<CreateConnectTokenResponse, Problem> {
    let found = api.matchmaking.direct_connection(&caller, request.client_id).await?;
    let (runtime_id, direct) =
        found.ok_or_else(|| Problem::from(omgservers_matchmaking::problems::NO_DIRECT_CONNECTION))?;
    Ok(CreateConnectTokenResponse { runtime_id, direct })
}

pub(crate) async fn interchange(
    api: Api,
    who: Authenticated<Interchange>,
    body: RawBody,
) -> Result<HttpResponse, HttpProblem> {
    let request: PlayerInterchangeRequest<'_> = decode(&body.0)?;
    let user = who.caller.user(Role::Player)?;
    let messages = client_messages(&request.outgoing_messages)?;
    let (client, mut consumed) = (request.client_id, request.consumed_messages.as_slice());
    let wait = wait(request.wait);
    let mut incoming = Vec::new();
    if !messages.is_empty() {
        incoming = api.mail.client_exchange(user, client, &messages, consumed).await?;
        consumed = &[];
    }
    if messages.is_empty() || (incoming.is_empty() && wait.is_some()) {
        // The messages are safe; only the wait may be cancelled.
        tokio::select! {
            biased;
            received = api.mail.client_receive(user, client, None, consumed, wait.unwrap_or_default()) => {
                // A session that is over, and whose client knows it, is gone.
                incoming = received?.ok_or(CLIENT_NOT_FOUND).map_err(Problem::from)?;
            }
            () = api.draining.cancelled() => {}
        }
    }
    Ok(interchange_body::answer("incoming_messages", &incoming, ""))
}
