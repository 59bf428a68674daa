//! Direct connections, once more: an assignment says how to connect, but its token doesn't live as long as it does.

use omgservers_api::{
    ClientId, Problem, UserId,
    entrypoint::player::CreateConnectTokenResponse,
    interchange::DirectConnection,
    problem::{Code, Kind},
};
use omgservers_messaging::problems::{CLIENT_NOT_FOUND, FOREIGN_CLIENT};
use omgservers_runtimes::RuntimeState;

use crate::Services;

/// There is nothing to connect to.
const NO_DIRECT_CONNECTION: Code = Code::new(
    "player.no_direct_connection",
    "OBJECT_NOT_FOUND",
    Kind::NotFound,
    "the client is with no game server that players connect to directly",
);

/// How a client connects to the game server that it is with, with a token of its own. Problems:
/// `messaging.client_not_found`, `messaging.foreign_client`, `player.no_direct_connection`.
pub(crate) async fn connect(
    services: &Services,
    user: UserId,
    client: ClientId,
) -> Result<CreateConnectTokenResponse, Problem> {
    let info = services.messaging.client(client).ok_or(CLIENT_NOT_FOUND)?;
    if info.user != user {
        return Err(FOREIGN_CLIENT.into());
    }
    let runtime_id = info.route.filter(|_| !info.closed).ok_or(NO_DIRECT_CONNECTION)?;
    let mut states = services.runtimes.states(&[runtime_id]).await?;
    let Some(RuntimeState::Running { published: Some(published), .. }) = states.remove(&runtime_id) else {
        return Err(NO_DIRECT_CONNECTION.into());
    };
    let token = services.tokens.connect(client, user, runtime_id, &published.connect_key)?;
    let (address, ports) = (published.address.clone(), published.ports.clone());
    Ok(CreateConnectTokenResponse { runtime_id, direct: DirectConnection { address, ports, token } })
}
