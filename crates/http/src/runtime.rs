//! What runtimes ask.

use std::time::Duration;

use actix_web::{
    HttpResponse,
    web::{Data, Json},
};
use omgservers_api::{
    Problem,
    entrypoint::runtime::{CreateRuntimeTokenRequest, CreateRuntimeTokenResponse},
    interchange::{RuntimeInterchangeRequest, RuntimeInterchangeResponse},
};

use crate::{
    Services,
    auth::{Authenticated, Runtime},
    body::{Body, RawBody, decode},
    endpoints::Mount,
    interchange::wait,
    interchange_body,
    problem::{Answer, HttpProblem},
};

const ROLE: &str = "runtime";

pub(crate) fn mount(mount: &mut Mount<'_>) {
    mount.post::<RuntimeInterchangeRequest<'static>, RuntimeInterchangeResponse, _, _>(
        ROLE,
        "interchange",
        true,
        interchange,
    );
    mount.post::<CreateRuntimeTokenRequest, CreateRuntimeTokenResponse, _, _>(
        ROLE,
        "create-token",
        false,
        create_token,
    );
}

async fn create_token(
    services: Data<Services>,
    Body(request): Body<CreateRuntimeTokenRequest>,
) -> Answer<CreateRuntimeTokenResponse> {
    let runtime = request.runtime_id;
    services.runtimes.verify(runtime, &request.password).await?;
    let gone = || Problem::from(omgservers_messaging::problems::RUNTIME_NOT_FOUND);
    let open = services.messaging.runtime(runtime).ok_or_else(gone)?;
    Ok(Json(CreateRuntimeTokenResponse {
        api_token: services.tokens.runtime(runtime)?,
        ws_token: services.tokens.ws_runtime(runtime, open.opened)?,
    }))
}

async fn interchange(
    services: Data<Services>,
    who: Authenticated<Runtime>,
    body: RawBody,
) -> Result<HttpResponse, HttpProblem> {
    let request: RuntimeInterchangeRequest<'_> = decode(&body.0)?;
    let (commands, consumed) = (&request.outgoing_commands, &request.consumed_commands);
    let mut answer = services.matchmaking.exchange(&who.caller, commands, consumed, Duration::ZERO).await?;
    if answer.incoming.is_empty()
        && let Some(wait) = wait(request.wait)
    {
        // The commands are carried out; only the waiting may be broken off.
        tokio::select! {
            biased;
            waited = services.matchmaking.exchange(&who.caller, &[], &[], wait) => answer.incoming = waited?.incoming,
            () = services.draining.cancelled() => {}
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
