//! Endpoints of game servers: one handler for each, of the name of its method.

use actix_web::HttpResponse;
use omgservers_api::{
    Problem,
    entrypoint::runtime::{CreateRuntimeTokenRequest, CreateRuntimeTokenResponse, Interchange},
    interchange::RuntimeInterchangeRequest,
};
use omgservers_matchmaking::RuntimeTurn;

use crate::{
    Api,
    auth::Authenticated,
    body::{RawBody, decode},
    interchange::wait,
    interchange_body,
    problem::HttpProblem,
};

pub(crate) async fn create_token(
    api: Api,
    request: CreateRuntimeTokenRequest,
) -> Result<CreateRuntimeTokenResponse, Problem> {
    let runtime = request.runtime_id;
    api.runtimes.verify(runtime, &request.password).await?;
    let opened = api.mail.runtime_opened(runtime).await?;
    Ok(CreateRuntimeTokenResponse {
        api_token: api.tokens.runtime(runtime)?,
        ws_token: api.tokens.ws_runtime(runtime, opened)?,
    })
}

pub(crate) async fn interchange(
    api: Api,
    who: Authenticated<Interchange>,
    body: RawBody,
) -> Result<HttpResponse, HttpProblem> {
    let request: RuntimeInterchangeRequest<'_> = decode(&body.0)?;
    let turn = RuntimeTurn {
        commands: &request.outgoing_commands,
        consumed: &request.consumed_commands,
        wait: wait(request.wait).unwrap_or_default(),
    };
    let answer = api.matchmaking.exchange(&who.caller, turn, &api.draining).await?;
    let rest = if answer.rejected.is_empty() {
        String::new()
    } else {
        let list = serde_json::to_string(&answer.rejected).map_err(Problem::internal)?;
        format!(",\"rejected_commands\":{list}")
    };
    Ok(interchange_body::answer("incoming_commands", &answer.incoming, &rest))
}
