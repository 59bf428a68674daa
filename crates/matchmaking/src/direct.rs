//! How players connect to a game server without the backend in between.

use std::sync::Arc;

use omgservers_api::{ClientId, Problem, RuntimeId, UserId, interchange::DirectConnection};
use omgservers_core::Caller;
use omgservers_runtimes::{Published, RuntimeState};

use crate::PgMatchmaking;

/// Where a game server is connected to directly, if it runs and has ports.
pub(crate) fn published(state: Option<&RuntimeState>) -> Option<Arc<Published>> {
    match state? {
        RuntimeState::Running { published, .. } => published.clone(),
        _ => None,
    }
}

impl PgMatchmaking {
    /// See [`Matchmaking::direct_connection`](crate::Matchmaking::direct_connection).
    pub(crate) async fn connect_directly(
        &self,
        caller: &Caller,
        client: ClientId,
    ) -> Result<Option<(RuntimeId, DirectConnection)>, Problem> {
        let info = self.own(caller, client)?;
        let Some(runtime) = info.route.filter(|_| !info.closed) else { return Ok(None) };
        let states = self.parts.runtimes.states(&[runtime]).await?;
        let published = published(states.get(&runtime));
        let direct = self.direct(published.as_deref(), runtime, client, info.user)?;
        Ok(direct.map(|it| (runtime, it)))
    }

    /// What an assignment says about it. The token is the client's own.
    pub(crate) fn direct(
        &self,
        published: Option<&Published>,
        runtime: RuntimeId,
        client: ClientId,
        user: UserId,
    ) -> Result<Option<DirectConnection>, Problem> {
        let Some(Published { address, ports, connect_key }) = published else { return Ok(None) };
        let token = self.parts.tokens.connect(client, user, runtime, connect_key)?;
        Ok(Some(DirectConnection { address: address.clone(), ports: ports.clone(), token }))
    }
}
