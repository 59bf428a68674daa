//! What the game wants the backend to do, as values; and the one task that exchanges.

use std::time::Duration;

use omgservers_client::{
    Command, Runtime,
    api::{ClientId, Kind, Problem},
};
use serde_json::{Map, Value, json};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender};

use crate::log::log;

/// How long an exchange waits: well below the time after which a silent runtime counts as dead.
const WAIT: Duration = Duration::from_secs(10);

/// A command to the backend.
#[derive(Debug, Clone, PartialEq)]
pub enum GameRequest {
    /// RESPOND_CLIENT.
    Respond(ClientId, Value),
    /// BROADCAST_MESSAGE.
    Broadcast(Value),
    /// SET_PROFILE.
    Profile(ClientId, Map<String, Value>),
    /// REQUEST_MATCHMAKING.
    Match {
        /// Who wants to play.
        client: ClientId,
        /// What.
        mode: String,
        /// What the mode's rules may look at.
        skill: Option<f64>,
    },
    /// KICK_CLIENT.
    Kick(ClientId),
    /// UPGRADE_CONNECTION.
    Upgrade(ClientId),
    /// STOP_MATCHMAKING.
    Stop,
}

fn queue(runtime: &mut Runtime, request: GameRequest) -> Result<(), Problem> {
    match request {
        GameRequest::Respond(client, message) => runtime.respond(client, &message),
        GameRequest::Broadcast(message) => runtime.broadcast(&message),
        GameRequest::Profile(client, profile) => runtime.set_profile(client, &profile),
        GameRequest::Match { client, mode, skill: None } => runtime.request_matchmaking(client, &mode),
        GameRequest::Match { client, mode, skill: Some(skill) } => {
            runtime.matchmaking(client, &mode).number("skill", skill).request()
        }
        GameRequest::Kick(client) => runtime.kick(client),
        GameRequest::Upgrade(client) => runtime.upgrade_connection(client),
        GameRequest::Stop => runtime.stop_matchmaking(),
    }
    .map(drop)
}

/// Exchanges until the game drops its end of `requests`, and then until every request is sent. A
/// waiting exchange is cancelled only when there is something to send. Problems: the backend
/// refuses the runtime for good.
pub async fn exchange(
    mut runtime: Runtime,
    mut requests: UnboundedReceiver<GameRequest>,
    commands: UnboundedSender<Command>,
) -> Result<(), Problem> {
    let mut goes_on = true;
    while goes_on || runtime.has_unsent() {
        // What came up together goes together.
        while let Ok(request) = requests.try_recv() {
            queue(&mut runtime, request)?;
        }
        goes_on = !requests.is_closed();
        let wait = if goes_on && !runtime.has_unsent() { WAIT } else { Duration::ZERO };
        let exchanged = tokio::select! {
            exchanged = runtime.exchange(wait) => exchanged,
            request = requests.recv(), if !wait.is_zero() => {
                match request {
                    Some(request) => queue(&mut runtime, request)?,
                    None => goes_on = false,
                }
                continue;
            }
        };
        let exchanged = match exchanged {
            // A match whose players are gone is stopped by the backend, which is what its game
            // server wants too.
            Err(problem) if !goes_on && problem.kind() == Kind::NotFound => return Ok(()),
            exchanged => exchanged?,
        };
        for rejected in exchanged.rejected {
            log("rejected", &json!(rejected.command));
        }
        for command in exchanged.commands {
            // A game that is over hears nothing more.
            let _over = commands.send(command);
        }
    }
    Ok(())
}
