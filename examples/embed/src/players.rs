//! `players`: who enters a stage, and the profile that a game keeps of a player.

use std::sync::Arc;

use omgservers_api::{Problem, StageId, UserId};
use omgservers_deployments::Deployments;
use omgservers_players::{MOST_PROFILE_BYTES, PgPlayers, Players, PlayersParts};
use omgservers_projects::Projects;
use omgservers_tenants::Tenants;
use serde_json::value::to_raw_value;

use crate::Base;

/// Makes the service.
pub fn build(
    base: &Base,
    tenants: &Arc<dyn Tenants>,
    projects: &Arc<dyn Projects>,
    deployments: &Arc<dyn Deployments>,
) -> Arc<dyn Players> {
    Arc::new(PgPlayers::new(PlayersParts {
        db: base.db.clone(),
        clock: Arc::clone(&base.clock),
        tenants: Arc::clone(tenants),
        projects: Arc::clone(projects),
        deployments: Arc::clone(deployments),
        most_profile_bytes: MOST_PROFILE_BYTES,
    }))
}

/// Replaces a player's profile.
pub async fn remember_level(
    players: &dyn Players,
    user: UserId,
    stage: StageId,
    level: u32,
) -> Result<(), Problem> {
    let profile = to_raw_value(&serde_json::json!({"level": level})).map_err(Problem::internal)?;
    players.set_profile(user, stage, &profile).await
}

/// The profile of a player; `{}` without one.
pub async fn profile(players: &dyn Players, user: UserId, stage: StageId) -> Result<Arc<str>, Problem> {
    Ok(players.profiles(stage, &[user]).await?.remove(&user).unwrap_or_else(|| "{}".into()))
}
