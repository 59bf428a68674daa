//! `matchmaking`: sessions of players, the lobbies that they wait in and the matches that they
//! play.

use std::sync::Arc;

use omgservers_api::{ClientId, Problem, Role, UserId};
use omgservers_auth::{TokenConfig, Tokens};
use omgservers_core::Caller;
use omgservers_deployments::Deployments;
use omgservers_matchmaking::{Matchmaking, MatchmakingConfig, MatchmakingParts, PgMatchmaking};
use omgservers_messaging::Messaging;
use omgservers_players::Players;
use omgservers_projects::Projects;
use omgservers_runtimes::Runtimes;
use omgservers_versions::Versions;

use crate::{Base, StageIds};

/// The services to the left of matchmaking.
pub struct Left {
    /// Permissions.
    pub projects: Arc<dyn Projects>,
    /// Modes and images.
    pub versions: Arc<dyn Versions>,
    /// What takes players.
    pub deployments: Arc<dyn Deployments>,
    /// Mailboxes and assignments.
    pub messaging: Arc<dyn Messaging>,
    /// Game servers.
    pub runtimes: Arc<dyn Runtimes>,
    /// Profiles.
    pub players: Arc<dyn Players>,
}

/// Makes the service. A program runs its workers, too: `omgservers_server::wiring` has the list.
pub fn build(base: &Base, left: Left) -> Arc<dyn Matchmaking> {
    let Left { projects, versions, deployments, messaging, runtimes, players } = left;
    let tokens = Tokens::new(Arc::clone(&base.keys), Arc::clone(&base.clock), TokenConfig::default());
    PgMatchmaking::new(MatchmakingParts {
        db: base.db.clone(),
        clock: Arc::clone(&base.clock),
        mint: base.mint.clone(),
        ownership: base.ownership.clone(),
        projects,
        versions,
        deployments,
        messaging,
        runtimes,
        players,
        tokens: Arc::new(tokens),
        changed: base.changed.clone(),
        config: MatchmakingConfig::default(),
    })
}

/// A session for a player. Its mailbox has the welcome when this returns.
pub async fn open_session(
    matchmaking: &dyn Matchmaking,
    user: UserId,
    at: StageIds,
) -> Result<ClientId, Problem> {
    let caller = Caller::User { id: user, role: Role::Player };
    matchmaking.create_client(&caller, &at.tenant.into(), &at.project.into(), &at.stage.into()).await
}
