use std::{collections::HashMap, sync::Arc};

use omgservers_api::{Problem, ProjectId, Ref, StageId, TenantId, UserId};
use omgservers_core::Caller;
use omgservers_deployments::DeploymentFull;
use serde_json::value::RawValue;

/// Where a player has entered.
#[derive(Debug, Clone)]
pub struct Admission {
    /// Who.
    pub user: UserId,
    /// The deployment that takes the stage's new clients.
    pub deployment: Arc<DeploymentFull>,
}

/// What other crates, the HTTP API and tools may ask of players.
#[async_trait::async_trait]
pub trait Players: Send + Sync {
    /// Lets a player into a stage: its names are looked up, and on first use the player gets the
    /// profile `{}` there. Problems: `auth.role`, `tenants.not_found`, `projects.not_found`,
    /// `projects.stage_not_found`, `deployments.none`.
    async fn enter(
        &self,
        caller: &Caller,
        tenant: &Ref<TenantId>,
        project: &Ref<ProjectId>,
        stage: &Ref<StageId>,
    ) -> Result<Admission, Problem>;

    /// The profiles of users in a stage; `{}` for those that have none.
    async fn profiles(&self, stage: StageId, users: &[UserId]) -> Result<HashMap<UserId, Arc<str>>, Problem>;

    /// Replaces a profile. An empty list, which is how Lua writes an empty table, and null become
    /// `{}`. Problems: `players.profile_too_large`.
    async fn set_profile(&self, user: UserId, stage: StageId, profile: &RawValue) -> Result<(), Problem>;
}
