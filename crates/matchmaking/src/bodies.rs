//! The bodies of the entries that the backend sends to clients and runtimes.

use omgservers_api::{
    ClientId, LobbyId, MatchId, MatchmakerId, Problem, RuntimeId, RuntimeQualifier, UserId,
    interchange::{
        AddClient, ClientRef, DirectConnection, DisconnectionReason, InitRuntime, LobbyRuntimeConfig,
        MatchRuntimeConfig, MatchmakerAssignment, MatchmakingFailure, Reason, RuntimeAssignment,
        RuntimeConfig, RuntimeVersionConfig, ServerWelcome,
    },
};
use omgservers_messaging::Body;
use omgservers_versions::VersionFull;
use serde_json::value::RawValue;

fn body(fields: &impl serde::Serialize) -> Result<Body, Problem> {
    serde_json::to_string(fields).map(Body::from).map_err(Problem::internal)
}

pub(crate) fn welcome(version: &VersionFull) -> Result<Body, Problem> {
    body(&ServerWelcome {
        tenant_id: version.tenant_id,
        version_id: version.id,
        version_created: version.created,
    })
}

pub(crate) fn matchmaker(matchmaker_id: MatchmakerId) -> Result<Body, Problem> {
    body(&MatchmakerAssignment { matchmaker_id })
}

fn version_config(version: &VersionFull, user_data: bool) -> RuntimeVersionConfig {
    RuntimeVersionConfig {
        modes: version.config.modes.clone(),
        user_data: version.config.user_data.clone().filter(|_| user_data),
    }
}

fn lobby_config(lobby_id: LobbyId, version: &VersionFull, user_data: bool) -> RuntimeConfig {
    RuntimeConfig {
        lobby_config: Some(LobbyRuntimeConfig { lobby_id }),
        match_config: None,
        version_config: version_config(version, user_data),
    }
}

/// A match as its game server and its players know it.
pub(crate) struct MatchRef<'a> {
    pub(crate) matchmaker_id: MatchmakerId,
    pub(crate) match_id: MatchId,
    pub(crate) mode: &'a str,
    pub(crate) version: &'a VersionFull,
}

impl MatchRef<'_> {
    fn config(&self, user_data: bool) -> RuntimeConfig {
        let (matchmaker_id, match_id, mode) = (self.matchmaker_id, self.match_id, self.mode.to_owned());
        RuntimeConfig {
            lobby_config: None,
            match_config: Some(MatchRuntimeConfig { matchmaker_id, match_id, mode }),
            version_config: version_config(self.version, user_data),
        }
    }

    pub(crate) fn init(&self) -> Result<Body, Problem> {
        body(&InitRuntime { runtime_config: self.config(true) })
    }

    /// The same for all clients of a match, but for their direct connections.
    pub(crate) fn assignment(
        &self,
        runtime_id: RuntimeId,
        direct: Option<DirectConnection>,
    ) -> Result<Body, Problem> {
        let (runtime_qualifier, runtime_config) = (RuntimeQualifier::Match, self.config(false));
        body(&RuntimeAssignment { runtime_id, runtime_qualifier, runtime_config, direct })
    }
}

pub(crate) fn matchmaking_failure(failure: &MatchmakingFailure) -> Result<Body, Problem> {
    body(failure)
}

pub(crate) fn init_lobby(lobby: LobbyId, version: &VersionFull) -> Result<Body, Problem> {
    body(&InitRuntime { runtime_config: lobby_config(lobby, version, true) })
}

/// The same for all clients of a lobby, but for their direct connections. Players don't get the
/// developer's own configuration.
pub(crate) fn lobby_assignment(
    runtime_id: RuntimeId,
    lobby: LobbyId,
    version: &VersionFull,
    direct: Option<DirectConnection>,
) -> Result<Body, Problem> {
    let (runtime_qualifier, runtime_config) = (RuntimeQualifier::Lobby, lobby_config(lobby, version, false));
    body(&RuntimeAssignment { runtime_id, runtime_qualifier, runtime_config, direct })
}

/// ADD_CLIENT, and with a group ADD_MATCH_CLIENT.
pub(crate) fn add_client(
    user_id: UserId,
    client_id: ClientId,
    group: Option<&str>,
    profile: &str,
) -> Result<Body, Problem> {
    let profile = RawValue::from_string(profile.to_owned()).map_err(Problem::internal)?;
    body(&AddClient { user_id, client_id, group_name: group.map(str::to_owned), profile })
}

pub(crate) fn client(client_id: ClientId) -> Result<Body, Problem> {
    body(&ClientRef { client_id })
}

pub(crate) fn disconnection(reason: Reason) -> Result<Body, Problem> {
    body(&DisconnectionReason { reason })
}

/// With a token for the dispatcher.
pub(crate) fn upgrade(client_id: ClientId, ws_token: String) -> Result<Body, Problem> {
    use omgservers_api::interchange::{ConnectionUpgrade, DISPATCHER, WebSocketConfig};
    let web_socket_config = WebSocketConfig { ws_token };
    body(&ConnectionUpgrade { client_id, protocol: DISPATCHER.into(), web_socket_config })
}
