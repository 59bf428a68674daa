//! Endpoints of game servers: one handler for each, of the name of its method.

use std::time::Duration;

use actix_web::HttpResponse;
use omgservers_api::{
    Problem,
    entrypoint::runtime::{CreateRuntimeTokenRequest, CreateRuntimeTokenResponse, Interchange},
    interchange::RuntimeInterchangeRequest,
};

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
    let gone = || Problem::from(omgservers_messaging::problems::RUNTIME_NOT_FOUND);
    let open = api.messaging.runtime(runtime).ok_or_else(gone)?;
    Ok(CreateRuntimeTokenResponse {
        api_token: api.tokens.runtime(runtime)?,
        ws_token: api.tokens.ws_runtime(runtime, open.opened)?,
    })
}

pub(crate) async fn interchange(
    api: Api,
    who: Authenticated<Interchange>,
    body: RawBody,
) -> Result<HttpResponse, HttpProblem> {
    let request: RuntimeInterchangeRequest<'_> = decode(&body.0)?;
    let (commands, consumed) = (&request.outgoing_commands, &request.consumed_commands);
    let mut answer = api.matchmaking.exchange(&who.caller, commands, consumed, Duration::ZERO).await?;
    if answer.incoming.is_empty()
        && let Some(wait) = wait(request.wait)
    {
        // The commands are carried out; only the waiting may be broken off.
        tokio::select! {
            biased;
            waited = api.matchmaking.exchange(&who.caller, &[], &[], wait) => answer.incoming = waited?.incoming,
            () = api.draining.cancelled() => {}
        }
    }
    let rest = if answer.rejected.is_empty() {
        String::new()
    } else {
        let list = serde_json::to_string(&answer.rejected).map_err(Problem::internal)?;
        format!(",\"rejected_commands\":{list}")
    };
    Ok(interchange_body::answer("incoming_commands", &answer.incoming, &rest))
}
