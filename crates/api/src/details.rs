//! What the `get-…-details` endpoints show.

mod matches;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::{
    AliasId, DeploymentId, ImageId, LobbyId, MatchId, MatchmakerId, PermissionId, ProjectId,
    ProjectPermission, RuntimeId, StageId, StagePermission, TenantId, TenantPermission, UserId, VersionId,
    config::DeploymentConfig,
    interchange::DirectPort,
    roles::{AliasQualifier, ImageQualifier, RuntimeQualifier},
};

pub use self::matches::{MatchDetails, MatchPlayer, TicketDetails};

macro_rules! details {
    ($($(#[$doc:meta])* $name:ident { $($(#[$fdoc:meta])* $field:ident: $type:ty),* $(,)? })*) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
        #[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
        pub struct $name { $($(#[$fdoc])* pub $field: $type),* }
    )*};
}

details! {
    /// A second name of an entity.
    Alias {
        /// Its id.
        id: AliasId,
        /// When it was made.
        #[serde(with = "crate::time")] created: DateTime<Utc>,
        /// What it stands for.
        qualifier: AliasQualifier,
        /// The id of what it stands for.
        #[serde(with = "entity")] #[cfg_attr(feature = "schema", schema(value_type = String))] entity_id: i64,
        /// The name.
        value: String,
    }
    /// A tenant.
    Tenant {
        /// Its id.
        id: TenantId,
        /// When it was made.
        #[serde(with = "crate::time")] created: DateTime<Utc>,
        /// Its other names.
        aliases: Vec<Alias>,
    }
    /// A permission in a tenant.
    TenantGrant {
        /// Its id.
        id: PermissionId,
        /// The tenant.
        tenant_id: TenantId,
        /// When it was given.
        #[serde(with = "crate::time")] created: DateTime<Utc>,
        /// Who holds it.
        user_id: UserId,
        /// What it allows.
        permission: TenantPermission,
    }
    /// A permission in a project.
    ProjectGrant {
        /// Its id.
        id: PermissionId,
        /// The tenant.
        tenant_id: TenantId,
        /// The project.
        project_id: ProjectId,
        /// When it was given.
        #[serde(with = "crate::time")] created: DateTime<Utc>,
        /// Who holds it.
        user_id: UserId,
        /// What it allows.
        permission: ProjectPermission,
    }
    /// A permission in a stage.
    StageGrant {
        /// Its id.
        id: PermissionId,
        /// The tenant.
        tenant_id: TenantId,
        /// The stage.
        stage_id: StageId,
        /// When it was given.
        #[serde(with = "crate::time")] created: DateTime<Utc>,
        /// Who holds it.
        user_id: UserId,
        /// What it allows.
        permission: StagePermission,
    }
    /// A project.
    Project {
        /// Its id.
        id: ProjectId,
        /// Its tenant.
        tenant_id: TenantId,
        /// When it was made.
        #[serde(with = "crate::time")] created: DateTime<Utc>,
        /// Its other names.
        aliases: Vec<Alias>,
    }
    /// A stage.
    Stage {
        /// Its id.
        id: StageId,
        /// Its tenant.
        tenant_id: TenantId,
        /// Its project.
        project_id: ProjectId,
        /// When it was made.
        #[serde(with = "crate::time")] created: DateTime<Utc>,
        /// Its other names.
        aliases: Vec<Alias>,
    }
    /// A version in the list of a project.
    VersionItem {
        /// Its id.
        id: VersionId,
        /// When it was made.
        #[serde(with = "crate::time")] created: DateTime<Utc>,
        /// Its project.
        project_id: ProjectId,
    }
    /// A version.
    Version {
        /// Its id.
        id: VersionId,
        /// Its tenant.
        tenant_id: TenantId,
        /// Its project.
        project_id: ProjectId,
        /// When it was made.
        #[serde(with = "crate::time")] created: DateTime<Utc>,
    }
    /// A build that a files archive started: never one here, for the builder is left out.
    BuildRequest {
        /// The number of the build.
        build_number: i32,
    }
    /// An image of a version.
    Image {
        /// Its id.
        id: ImageId,
        /// The tenant.
        tenant_id: TenantId,
        /// The version.
        version_id: VersionId,
        /// When it was pushed.
        #[serde(with = "crate::time")] created: DateTime<Utc>,
        /// Which runtimes it is for.
        qualifier: ImageQualifier,
        /// Repository and tag, without the host.
        image_id: String,
        /// The digest of its manifest, `sha256:…`.
        digest: String,
    }
    /// A deployment.
    Deployment {
        /// Its id.
        id: DeploymentId,
        /// Its tenant.
        tenant_id: TenantId,
        /// The stage that it is in.
        stage_id: StageId,
        /// The version that runs.
        version_id: VersionId,
        /// When it was made.
        #[serde(with = "crate::time")] created: DateTime<Utc>,
    }
    /// A lobby of a deployment.
    LobbyRef {
        /// The id of this reference: the lobby's.
        id: LobbyId,
        /// When it was made.
        #[serde(with = "crate::time")] created: DateTime<Utc>,
        /// The lobby.
        lobby_id: LobbyId,
    }
    /// A matchmaker of a deployment.
    MatchmakerRef {
        /// The id of this reference: the matchmaker's.
        id: MatchmakerId,
        /// When it was made.
        #[serde(with = "crate::time")] created: DateTime<Utc>,
        /// The matchmaker.
        matchmaker_id: MatchmakerId,
    }
    /// A match of a deployment.
    MatchRef {
        /// The id of this reference: the match's.
        id: MatchId,
        /// When it was made.
        #[serde(with = "crate::time")] created: DateTime<Utc>,
        /// The match.
        match_id: MatchId,
        /// Who made it.
        matchmaker_id: MatchmakerId,
        /// The name of its mode.
        mode: String,
        /// The runtime that it is.
        runtime_id: RuntimeId,
        /// How many players are in it or will be when its game server polls.
        players: u64,
    }
    /// A runtime of a deployment and what became of its container.
    RuntimeDetails {
        /// Its id.
        id: RuntimeId,
        /// Lobby or match.
        qualifier: RuntimeQualifier,
        /// Where it stands: `pending`, `starting`, `running`, `stopping` or `failed`.
        state: String,
        /// When it was made.
        #[serde(with = "crate::time")] created: DateTime<Utc>,
        /// When its container started.
        #[serde(with = "crate::time::option")] started: Option<DateTime<Utc>>,
        /// How many clients it has.
        clients: u64,
        /// How often its container was tried to start without success, or came to an end.
        failures: u32,
        /// The last failure of a container of it.
        last_failure: Option<ContainerFailure>,
        /// Where players connect to it directly, if its version names ports and it runs.
        #[serde(default, skip_serializing_if = "Option::is_none")] address: Option<String>,
        /// The ports there.
        #[serde(default, skip_serializing_if = "Vec::is_empty")] ports: Vec<DirectPort>,
    }
    /// How a container failed.
    ContainerFailure {
        /// When it was seen.
        #[serde(with = "crate::time")] at: DateTime<Utc>,
        /// What happened, for people.
        reason: String,
        /// The exit code of the process, if it ran.
        exit_code: Option<i64>,
        /// Whether the kernel ended it for lack of memory.
        out_of_memory: bool,
        /// The end of its log.
        log_tail: String,
    }
    /// A tenant with everything that a viewer may see.
    TenantDetails {
        /// The tenant.
        tenant: Tenant,
        /// Who may do what.
        permissions: Vec<TenantGrant>,
        /// Its projects.
        projects: Vec<Project>,
    }
    /// A project with everything that a viewer may see.
    ProjectDetails {
        /// The project.
        project: Project,
        /// Who may do what.
        permissions: Vec<ProjectGrant>,
        /// Its stages.
        stages: Vec<Stage>,
        /// Its versions.
        versions: Vec<VersionItem>,
    }
    /// A stage with everything that a viewer may see.
    StageDetails {
        /// The stage.
        stage: Stage,
        /// Who may do what.
        permissions: Vec<StageGrant>,
        /// What is deployed in it.
        deployments: Vec<Deployment>,
    }
    /// A version with everything that a viewer may see.
    VersionDetails {
        /// The version.
        version: Version,
        /// Always empty: the builder is left out.
        build_requests: Vec<BuildRequest>,
        /// Its images.
        images: Vec<Image>,
    }
    /// A deployment with everything that a viewer may see.
    DeploymentDetails {
        /// The deployment.
        deployment: Deployment,
        /// Its lobbies.
        lobby_refs: Vec<LobbyRef>,
        /// Its matchmakers.
        matchmaker_refs: Vec<MatchmakerRef>,
        /// Its matches, oldest first; at most 1,000.
        #[serde(default)] match_refs: Vec<MatchRef>,
        /// Tickets that wait for a match.
        #[serde(default)] waiting_tickets: u64,
        /// Whether it takes new clients: it is the newest of its stage.
        active: bool,
        /// How it runs.
        config: DeploymentConfig,
        /// Its runtimes and their containers.
        runtimes: Vec<RuntimeDetails>,
        /// Clients that wait for a runtime.
        waiting_clients: u64,
        /// Failures of runtimes that are gone meanwhile, newest first; at most 20.
        failures: Vec<ContainerFailure>,
    }
}

/// The id of any entity, as a string.
mod entity {
    use serde::{Deserialize as _, Deserializer, Serializer, de::Error as _};

    pub(super) fn serialize<S: Serializer>(id: &i64, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(id)
    }
    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<i64, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}
